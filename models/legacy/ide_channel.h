// One IDE channel: up to two drives on a cable, the registers that both share, and the channel's bus master with its
// table of memory pieces (ATA-6, 7 and 9.16; SFF-8038i; 82371AB data sheet, 6.5).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "models/interrupt_line.h"
#include "models/legacy/ide_drive.h"
#include "pci/function.h"
#include "sim/scope.h"

namespace models {

class IdeChannel final : private IdeCable {
public:
    IdeChannel(const sim::Scope& scope, pci::BusMaster& memory, InterruptLine& interrupt);
    IdeChannel(const IdeChannel&) = delete;

    // Position 0 or 1; the drive must outlive the channel. Before the machine runs.
    void attach(unsigned position, IdeDrive& drive);
    bool has(unsigned position) const { return drives_[position] != nullptr; }

    // The command block (offset 0 to 7, `size` above 1 at the data port only), the control block's one register, and
    // the bus master's eight bytes.
    std::uint32_t read_command_block(unsigned offset, unsigned size);
    void write_command_block(unsigned offset, unsigned size, std::uint32_t value);
    std::uint8_t read_control() const;
    void write_control(std::uint8_t value);
    std::uint32_t read_bus_master(unsigned offset, unsigned size) const;
    void write_bus_master(unsigned offset, unsigned size, std::uint32_t value);

    void reset();
    // The function may master the bus again.
    void pump();

    struct State {
        std::uint8_t selected = 0;
        std::uint8_t control = 0;
        std::uint8_t bus_command = 0;
        std::uint8_t bus_status = 0;
        std::uint32_t table = 0;
        // Of the transfer that is under way: the next descriptor, and what is left of the present piece.
        std::uint32_t next_descriptor = 0;
        std::uint32_t piece_address = 0;
        std::uint32_t piece_left = 0;
        bool last_piece = false;
        bool line = false;

        bool operator==(const State&) const = default;
        template <class Archive>
        void fields(Archive& archive) {
            archive(selected, control, bus_command, bus_status, table, next_descriptor, piece_address, piece_left,
                    last_piece, line);
        }
    };
    const State& state() const { return state_; }
    template <class Archive>
    void fields(Archive& archive) {
        archive(state_);
    }

private:
    void interrupt_changed() override { update_interrupt(); }
    std::size_t dma_to_host(std::span<const std::byte> data) override;
    std::size_t dma_from_host(std::span<std::byte> data) override;

    IdeDrive* selected() const { return drives_[state_.selected]; }
    IdeDrive* answering() const;
    void write_command(std::uint8_t value);
    void write_bus_command(std::uint8_t value);
    void update_interrupt();
    bool next_piece();
    void bus_error();
    template <class Move>
    std::size_t move(std::size_t bytes, Move move_part);

    sim::Scope scope_;
    pci::BusMaster& memory_;
    InterruptLine& interrupt_;
    sim::Counter& failed_dma_;
    std::array<IdeDrive*, 2> drives_{};
    State state_;
};

}  // namespace models
