// What an ATA disk and an ATAPI device have in common at the cable: the registers of the command block, the data port
// in PIO, the interrupt, and DMA in pieces as the host's side takes them. What commands do is the drives' own.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "models/legacy/ata_registers.h"

namespace models {

// The host's end of the cable.
class IdeCable {
public:
    // A drive's interrupt changed.
    virtual void interrupt_changed() = 0;
    // Moves as many bytes as the bus master takes now; the drive goes on when it is told that more can go.
    virtual std::size_t dma_to_host(std::span<const std::byte> data) = 0;
    virtual std::size_t dma_from_host(std::span<std::byte> data) = 0;

protected:
    ~IdeCable() = default;
};

class IdeDrive {
public:
    IdeDrive(const IdeDrive&) = delete;
    virtual ~IdeDrive() = default;
    void connect(IdeCable& cable) { cable_ = &cable; }

    // Registers 1 to 6 with the value written before the last one, which 48-bit commands use.
    std::uint8_t read(unsigned reg, bool high_order) const;
    void write(unsigned reg, std::uint8_t value);
    std::uint8_t status() const { return state_.status; }
    // Reading the status register takes the interrupt back.
    std::uint8_t read_status();
    void write_command(std::uint8_t command);
    std::uint16_t read_data();
    void write_data(std::uint16_t value);
    bool interrupt() const { return state_.interrupt; }
    // The bus master has been started, or has more room.
    void pump_dma();
    // The cable's reset line or the software reset bit; it ends whatever is going on.
    void reset();
    // EXECUTE DEVICE DIAGNOSTIC, which both drives carry out and the first one announces.
    void diagnose(bool announce);

    enum class Phase : std::uint8_t { idle, data_in, data_out, dma_in, dma_out, waiting };
    struct State {
        std::array<std::uint8_t, 8> now{};
        std::array<std::uint8_t, 8> before{};
        std::uint8_t status = ata::status::ready | ata::status::seek_complete;
        bool interrupt = false;
        Phase phase = Phase::idle;
        std::vector<std::byte> buffer;
        std::uint64_t position = 0;  // in the buffer

        bool operator==(const State&) const = default;
        template <class Archive>
        void fields(Archive& archive) {
            archive(now, before, status, interrupt, phase, buffer, position);
        }
    };

protected:
    IdeDrive() = default;

    // For the drive.
    virtual void execute(std::uint8_t command) = 0;
    virtual void transfer_done() = 0;  // all of the buffer has passed
    virtual void drive_reset() = 0;
    virtual ata::Signature signature() const = 0;

    std::uint8_t& reg(unsigned number) { return state_.now[number]; }
    std::uint8_t reg(unsigned number) const { return state_.now[number]; }
    std::uint8_t old(unsigned number) const { return state_.before[number]; }
    // What the registers' high-order bytes show after a 48-bit command.
    void set_old_address(std::uint64_t high) {
        for (const unsigned number : {ata::lba_low, ata::lba_mid, ata::lba_high}) {
            state_.before[number] = static_cast<std::uint8_t>(high);
            high >>= 8;
        }
    }
    std::vector<std::byte>& buffer() { return state_.buffer; }
    void put_signature();
    // Data for the host, or room for the host's, through the data port; with an interrupt or without.
    enum class Announce : std::uint8_t { silently, interrupt };
    void begin_data_in(std::vector<std::byte> data, Announce announce);
    void begin_data_out(std::size_t bytes, Announce announce);
    void begin_dma_in(std::vector<std::byte> data);
    void begin_dma_out(std::size_t bytes);
    void begin_waiting();
    void finish();
    void finish_error(std::uint8_t error, std::uint8_t further_status = 0);

    template <class Archive>
    void common_fields(Archive& archive) {
        archive(state_);
    }

private:
    void set_interrupt(bool asserted);
    void end_of_data();

    IdeCable* cable_ = nullptr;
    State state_;
};

}  // namespace models
