// The legacy network adapter of a Generation 1 machine: a DECchip 21140 as Hyper-V and its forerunners emulate it
// (1011:0009 revision 0x20, symbol port, no MII management, media chosen by the serial ROM).
// Every register access is an intercept, whose cost is its bringer's. Frames take their time on the wire of 10 or 100
// Mb/s when they are sent; what arrives is stored at once. Left out: the boot ROM, collisions and all else that a
// full-duplex link does not have, big-endian data, descriptor byte ordering, burst and cache alignment.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "models/legacy/address_filter.h"
#include "models/legacy/dec21140_registers.h"
#include "models/legacy/serial_rom.h"
#include "pci/function.h"
#include "sim/agenda.h"
#include "sim/registers.h"
#include "sim/scope.h"

namespace models {

// Where an adapter's frames go: without CRC, at least 14 bytes, at the time at which the last bit is on the wire.
class FramePort {
public:
    virtual void transmit(std::span<const std::byte> frame) = 0;

protected:
    ~FramePort() = default;
};

// The content of the adapter's serial ROM: address and media.
SerialRom::Content adapter_rom(const AddressFilter::Address& address);

class Dec21140 final : private pci::FunctionModel {
public:
    Dec21140(const sim::Scope& scope, pci::Slot slot, FramePort& port, const AddressFilter::Address& address);
    Dec21140(const Dec21140&) = delete;

    // A frame arrives, without CRC. Whether the guest has it.
    bool receive(std::span<const std::byte> frame);
    // The cable is plugged in or pulled.
    void set_link(bool connected);

    pci::Function& function() { return function_; }

    struct State {
        std::uint32_t events = 0;  // CSR5, what can be cleared
        dec21140::BusError bus_error = dec21140::BusError::none;
        dec21140::ReceiveState receive_state = dec21140::ReceiveState::stopped;
        dec21140::TransmitState transmit_state = dec21140::TransmitState::stopped;
        std::uint32_t receive_descriptor = 0;
        std::uint32_t transmit_descriptor = 0;
        std::uint32_t transmit_control = 0;  // of the descriptor that is being sent
        std::uint32_t transmit_link = 0;
        bool transmit_cut = false;
        std::vector<std::byte> frame;  // what of a frame to be sent has been fetched
        std::uint32_t missed = 0;
        std::uint8_t general_output = 0;  // CSR12
        std::uint8_t general_direction = 0;
        bool link = true;

        bool operator==(const State&) const = default;
        template <class Archive>
        void fields(Archive& archive) {
            archive(events, bus_error, receive_state, transmit_state, receive_descriptor, transmit_descriptor,
                    transmit_control, transmit_link, transmit_cut, frame, missed, general_output, general_direction,
                    link);
        }
    };
    const State& state() const { return state_; }
    const AddressFilter& filter() const { return filter_; }
    const SerialRom& rom() const { return rom_; }
    template <class Archive>
    void fields(Archive& archive) {
        archive(function_, bank_, rom_, filter_, state_, transmit_timer_, poll_timer_, general_timer_);
    }

private:
    struct Descriptor {
        std::uint32_t address = 0;
        std::uint32_t status = 0;
        std::uint32_t control = 0;
        std::uint32_t buffer1 = 0;
        std::uint32_t buffer2 = 0;
    };
    static std::span<const sim::Register<Dec21140>> table();

    // pci::FunctionModel
    std::uint64_t read_bar(unsigned bar, std::uint64_t offset, unsigned size) override;
    void write_bar(unsigned bar, std::uint64_t offset, unsigned size, std::uint64_t value) override;
    void function_reset(pci::ResetKind kind) override;
    void command_changed() override;

    // One handler per register and direction (dec21140.cpp).
    std::uint64_t read_demand(std::uint64_t stored);
    std::uint64_t read_status(std::uint64_t stored);
    std::uint64_t read_mode(std::uint64_t stored);
    std::uint64_t read_missed(std::uint64_t stored);
    std::uint64_t read_management(std::uint64_t stored);
    std::uint64_t read_timer(std::uint64_t stored);
    std::uint64_t read_general(std::uint64_t stored);
    void write_bus_mode(std::uint64_t value);
    void write_transmit_demand(std::uint64_t value);
    void write_receive_demand(std::uint64_t value);
    void write_receive_list(std::uint64_t value);
    void write_transmit_list(std::uint64_t value);
    void write_status(std::uint64_t value);
    void write_mode(std::uint64_t value);
    void write_mask(std::uint64_t value);
    void write_management(std::uint64_t value);
    void write_timer(std::uint64_t value);
    void write_general(std::uint64_t value);

    std::uint32_t stored(unsigned n) const { return static_cast<std::uint32_t>(bank_.stored(dec21140::csr(n))); }
    void chip_reset();
    void raise(std::uint32_t events);
    void update_interrupt();
    void fatal(pci::DmaStatus status);
    sim::Time timer_tick() const;
    std::uint64_t bits_per_second() const;
    void general_timer_expired();

    std::optional<Descriptor> fetch(std::uint32_t address);
    std::uint32_t next(const Descriptor& descriptor, std::uint32_t list) const;
    bool write_back(std::uint32_t address, std::uint32_t status);

    // Receiving (dec21140_receive.cpp).
    void start_receive();
    void stop_receive();
    void receive_demand();
    void no_receive_buffer();
    bool takes(std::span<const std::byte> destination, std::uint32_t& status) const;
    bool store(std::span<const std::byte> frame, std::uint32_t found);
    void look_ahead();
    std::optional<std::size_t> fill(const Descriptor& descriptor, std::span<const std::byte> data);

    // Sending (dec21140_transmit.cpp).
    void start_transmit();
    void stop_transmit();
    void transmit_demand();
    void next_transmit();
    bool gather(const Descriptor& descriptor);
    void transmit_due();
    void finish_frame();
    bool finish_set_up();

    sim::Scope scope_;
    FramePort& port_;
    sim::Counter& sent_;
    sim::Counter& received_;
    sim::Counter& filtered_;
    sim::Counter& missed_;
    sim::Counter& accesses_;
    pci::Function function_;
    sim::RegisterBank<Dec21140> bank_;
    SerialRom rom_;
    AddressFilter filter_;
    sim::Timer transmit_timer_;  // the descriptor, and with the last one the frame, is through
    sim::Timer poll_timer_;      // a suspended transmitter looks again by itself
    sim::Timer general_timer_;
    State state_;
};

}  // namespace models
