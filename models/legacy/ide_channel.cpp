#include "models/legacy/ide_channel.h"

#include <algorithm>
#include <cstring>

#include "sim/bits.h"
#include "sim/check.h"

namespace models {

namespace bm = ata::bus_master;

IdeChannel::IdeChannel(const sim::Scope& scope, pci::BusMaster& memory, InterruptLine& interrupt)
    : scope_(scope),
      memory_(memory),
      interrupt_(interrupt),
      failed_dma_(scope.counter("failed_dma", "count", "transfers that ended at memory which is not there")) {}

void IdeChannel::attach(unsigned position, IdeDrive& drive) {
    VG_CHECK(position < drives_.size() && drives_[position] == nullptr);
    drives_[position] = &drive;
    drive.connect(*this);
}

// A first drive answers for an absent second one, a second drive for nobody (ATA-6, 9.16.1).
IdeDrive* IdeChannel::answering() const {
    return selected() != nullptr ? selected() : state_.selected == 1 ? drives_[0] : nullptr;
}

std::uint32_t IdeChannel::read_command_block(unsigned offset, unsigned size) {
    const auto floating = static_cast<std::uint32_t>(sim::mask_of(8 * size - 1, 0));
    IdeDrive* drive = answering();
    if (drive == nullptr) return floating;
    if (offset == ata::data) {
        if (drive != selected()) return floating;
        const std::uint32_t low = drive->read_data();
        return size == 4 ? low | std::uint32_t{drive->read_data()} << 16 : low & floating;
    }
    if (size != 1) return floating;
    if (offset == ata::status_command) return drive == selected() ? drive->read_status() : 0;
    const std::uint8_t value = drive->read(offset, (state_.control & ata::control::high_order_byte) != 0);
    if (offset != ata::device) return value;
    return static_cast<std::uint32_t>((value & ~ata::device_bits::second) | state_.selected << 4);
}

// Both drives take what is written; only the selected one acts on a command.
void IdeChannel::write_command_block(unsigned offset, unsigned size, std::uint32_t value) {
    if (offset == ata::data) {
        if (selected() == nullptr) return;
        selected()->write_data(static_cast<std::uint16_t>(value));
        if (size == 4) selected()->write_data(static_cast<std::uint16_t>(value >> 16));
        return;
    }
    if (size != 1) return;
    const auto byte = static_cast<std::uint8_t>(value);
    state_.control &= static_cast<std::uint8_t>(~ata::control::high_order_byte);
    if (offset == ata::status_command) return write_command(byte);
    for (IdeDrive* drive : drives_) {
        if (drive != nullptr) drive->write(offset, byte);
    }
    if (offset != ata::device) return;
    state_.selected = (byte & ata::device_bits::second) != 0 ? 1 : 0;
    update_interrupt();
}

void IdeChannel::write_command(std::uint8_t command) {
    if ((state_.control & ata::control::software_reset) != 0) return;
    if (command == ata::command::diagnostic) {
        for (unsigned position = 0; position < drives_.size(); ++position) {
            if (drives_[position] != nullptr) drives_[position]->diagnose(position == 0);
        }
        state_.selected = 0;
        return update_interrupt();
    }
    if (selected() != nullptr) selected()->write_command(command);
}

std::uint8_t IdeChannel::read_control() const {
    const IdeDrive* drive = answering();
    if (drive == nullptr) return 0xff;
    return drive == selected() ? drive->status() : 0;
}

void IdeChannel::write_control(std::uint8_t value) {
    const bool was_reset = (state_.control & ata::control::software_reset) != 0;
    state_.control =
        value & (ata::control::no_interrupt | ata::control::software_reset | ata::control::high_order_byte);
    if (!was_reset && (value & ata::control::software_reset) != 0) {
        for (IdeDrive* drive : drives_) {
            if (drive != nullptr) drive->reset();
        }
        state_.selected = 0;
    }
    update_interrupt();
}

void IdeChannel::reset() {
    for (IdeDrive* drive : drives_) {
        if (drive != nullptr) drive->reset();
    }
    const bool line = state_.line;
    state_ = {};
    state_.line = line;
    update_interrupt();
}

void IdeChannel::update_interrupt() {
    const bool wanted =
        selected() != nullptr && selected()->interrupt() && (state_.control & ata::control::no_interrupt) == 0;
    if (wanted == state_.line) return;
    state_.line = wanted;
    if (wanted) state_.bus_status |= bm::interrupt;
    interrupt_.set(wanted);
}

std::uint32_t IdeChannel::read_bus_master(unsigned offset, unsigned size) const {
    const std::uint64_t all = state_.bus_command | std::uint64_t{state_.bus_status} << 8 * bm::status |
                              std::uint64_t{state_.table} << 8 * bm::table;
    return static_cast<std::uint32_t>(all >> 8 * offset & sim::mask_of(8 * size - 1, 0));
}

void IdeChannel::write_bus_master(unsigned offset, unsigned size, std::uint32_t value) {
    for (unsigned i = 0; i < size && offset + i < bm::channel_bytes; ++i) {
        const auto byte = static_cast<std::uint8_t>(value >> 8 * i);
        const unsigned at = offset + i;
        if (at == bm::status) {
            const auto cleared = static_cast<std::uint8_t>(byte & (bm::error | bm::interrupt));
            state_.bus_status = static_cast<std::uint8_t>((state_.bus_status & ~cleared & ~bm::drive_capable) |
                                                          (byte & bm::drive_capable));
        } else if (at >= bm::table) {
            const unsigned low = 8 * (at - bm::table);
            state_.table = static_cast<std::uint32_t>(sim::with_bits(state_.table, low + 7, low, byte)) & ~3u;
        }
    }
    if (offset == bm::command) write_bus_command(static_cast<std::uint8_t>(value));
}

void IdeChannel::write_bus_command(std::uint8_t value) {
    const bool was_started = (state_.bus_command & bm::start) != 0;
    state_.bus_command = value & (bm::start | bm::to_memory);
    if ((value & bm::start) == 0) {
        // What is left of the transfer is lost (6.5.1).
        state_.bus_status &= static_cast<std::uint8_t>(~bm::active);
        state_.piece_left = 0;
    } else if (!was_started) {
        state_.bus_status |= bm::active;
        state_.next_descriptor = state_.table;
        state_.piece_left = 0;
        state_.last_piece = false;
        scope_.trace("bus_master", state_.bus_command, state_.table);
        pump();
    }
}

void IdeChannel::pump() {
    if (selected() != nullptr) selected()->pump_dma();
}

// 6.5.3: eight bytes each; a count of 0 is 64 KiB; the last one says so.
bool IdeChannel::next_piece() {
    if (state_.last_piece) {
        state_.bus_status &= static_cast<std::uint8_t>(~bm::active);
        return false;
    }
    std::array<std::uint32_t, 2> words{};
    if (memory_.read(state_.next_descriptor, std::as_writable_bytes(std::span{words})) != pci::DmaStatus::ok) {
        bus_error();
        return false;
    }
    state_.next_descriptor += bm::descriptor_bytes;
    state_.piece_address = words[0] & ~1u;
    state_.piece_left = words[1] & 0xfffe;
    if (state_.piece_left == 0) state_.piece_left = 0x10000;
    state_.last_piece = (words[1] & bm::end_of_table) != 0;
    return true;
}

void IdeChannel::bus_error() {
    ++failed_dma_;
    state_.bus_status = static_cast<std::uint8_t>((state_.bus_status & ~bm::active) | bm::error);
    state_.piece_left = 0;
    scope_.trace("bus_master_error", state_.next_descriptor, state_.piece_address);
}

template <class Move>
std::size_t IdeChannel::move(std::size_t bytes, Move move_part) {
    std::size_t done = 0;
    while (done < bytes && (state_.bus_status & bm::active) != 0 && memory_.enabled()) {
        if (state_.piece_left == 0 && !next_piece()) break;
        const std::size_t part = std::min<std::size_t>(state_.piece_left, bytes - done);
        if (move_part(state_.piece_address, done, part) != pci::DmaStatus::ok) {
            bus_error();
            break;
        }
        state_.piece_address += static_cast<std::uint32_t>(part);
        state_.piece_left -= static_cast<std::uint32_t>(part);
        done += part;
    }
    // With its last piece the bus master is no longer active (6.5.2).
    if (state_.last_piece && state_.piece_left == 0) state_.bus_status &= static_cast<std::uint8_t>(~bm::active);
    return done;
}

std::size_t IdeChannel::dma_to_host(std::span<const std::byte> data) {
    if ((state_.bus_command & bm::to_memory) == 0) return 0;
    return move(data.size(), [&](std::uint32_t address, std::size_t at, std::size_t bytes) {
        return memory_.write(address, data.subspan(at, bytes));
    });
}

std::size_t IdeChannel::dma_from_host(std::span<std::byte> data) {
    if ((state_.bus_command & bm::to_memory) != 0) return 0;
    return move(data.size(), [&](std::uint32_t address, std::size_t at, std::size_t bytes) {
        return memory_.read(address, data.subspan(at, bytes));
    });
}

}  // namespace models
