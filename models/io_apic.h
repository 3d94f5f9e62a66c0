// Intel 82093AA I/O APIC: 24 pins, each with a redirection entry that turns its signal into an interrupt message.
// Version 0x11 has no EOI register: the end of a level interrupt arrives from the local APIC through eoi().
// Pins are told "asserted" or not; the polarity bit is stored and means nothing, because a board wires each pin with
// the polarity that its firmware tables declare.
#pragma once

#include <array>
#include <cstdint>

#include "models/interrupt_line.h"
#include "models/io_port_map.h"
#include "sim/scope.h"

namespace models {

// Redirection entry bits 10:8. Unknown values are representable: a guest can write any.
enum class DeliveryMode : std::uint8_t { fixed, lowest_priority, smi, reserved3, nmi, init, reserved6, external };
enum class TriggerMode : std::uint8_t { edge, level };
enum class DestinationMode : std::uint8_t { physical, logical };

// What a device says to the processors; the same content as a message-signalled interrupt.
struct InterruptMessage {
    std::uint8_t vector = 0;
    DeliveryMode mode = DeliveryMode::fixed;
    DestinationMode destination_mode = DestinationMode::physical;
    TriggerMode trigger = TriggerMode::edge;
    std::uint8_t destination = 0;

    bool operator==(const InterruptMessage&) const = default;
};

class InterruptMessagePort {
public:
    virtual void deliver(const InterruptMessage& message) = 0;

protected:
    ~InterruptMessagePort() = default;
};

class IoApic final : public MmioDevice {
public:
    static constexpr std::uint64_t gpa = 0xfec0'0000;
    static constexpr std::uint64_t window_bytes = 0x1000;
    static constexpr unsigned pins = 24;
    static constexpr std::uint32_t version = 0x0017'0011;

    IoApic(const sim::Scope& scope, InterruptMessagePort& port, std::uint8_t id);
    IoApic(const IoApic&) = delete;

    // The wire into a pin, for a device to hold.
    InterruptLine& line(unsigned pin);
    void set_pin(unsigned pin, bool asserted);
    // A processor has finished a level-triggered interrupt.
    void eoi(std::uint8_t vector);

    std::uint64_t read_mmio(std::uint64_t address, unsigned size) override;
    void write_mmio(std::uint64_t address, unsigned size, std::uint64_t value) override;

    struct State {
        std::uint8_t select = 0;
        std::uint8_t id = 0;
        std::uint32_t asserted = 0;                     // one bit per pin
        std::array<std::uint64_t, pins> redirection{};  // 64-bit entries

        bool operator==(const State&) const = default;
        template <class Archive>
        void fields(Archive& archive) {
            archive(select, id, asserted, redirection);
        }
    };
    const State& state() const { return state_; }
    void reset();
    template <class Archive>
    void fields(Archive& archive) {
        archive(state_);
    }

private:
    struct Pin final : InterruptLine {
        IoApic* io_apic = nullptr;
        unsigned number = 0;
        void set(bool asserted) override { io_apic->set_pin(number, asserted); }
    };
    struct Row;
    static const Row* find(std::uint8_t index);
    std::uint32_t read_register(std::uint8_t index) const;
    void write_register(std::uint8_t index, std::uint32_t value);
    std::uint32_t read_id(unsigned) const;
    std::uint32_t read_version(unsigned) const;
    std::uint32_t read_arbitration(unsigned) const;
    std::uint32_t read_redirection(unsigned half) const;
    void write_id(unsigned, std::uint32_t value);
    void write_redirection(unsigned half, std::uint32_t value);
    bool level_sensitive(unsigned pin) const;
    void send(unsigned pin);
    void serve_level(unsigned pin);

    sim::Scope scope_;
    InterruptMessagePort& port_;
    std::uint8_t reset_id_;
    std::array<Pin, pins> lines_;
    State state_;
};

}  // namespace models
