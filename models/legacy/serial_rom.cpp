#include "models/legacy/serial_rom.h"

namespace models {

namespace {
constexpr unsigned command_bits = 8;  // after the start bit: two of opcode, six of address
constexpr unsigned word_bits = 16;
constexpr unsigned address_mask = SerialRom::words - 1;
enum Opcode : unsigned { extended, write, read, erase };
enum Extended : unsigned { disable_writes, write_all, erase_all, enable_writes };
}  // namespace

void SerialRom::set(bool select, bool clock, bool data_in) {
    const bool rises = clock && !state_.clock;
    state_.clock = clock;
    if (!select) {
        // A write is carried out when chip select falls behind its last bit.
        if (state_.select && state_.phase == Phase::data && state_.count == word_bits) store();
        state_.phase = Phase::idle;
        state_.data_out = true;
    }
    state_.select = select;
    if (select && rises) rising_edge(data_in);
}

void SerialRom::rising_edge(bool data_in) {
    switch (state_.phase) {
        case Phase::idle:
            if (!data_in) return;  // the start bit is a 1
            state_.phase = Phase::command;
            state_.shift = 0;
            state_.count = 0;
            return;
        case Phase::command:
            state_.shift = static_cast<std::uint16_t>(state_.shift << 1 | (data_in ? 1 : 0));
            if (++state_.count == command_bits) begin_command();
            return;
        case Phase::reading:
            // Most significant bit first; the next words follow for as long as somebody clocks.
            if (state_.count == word_bits) {
                state_.address = (state_.address + 1) & address_mask;
                state_.count = 0;
            }
            ++state_.count;
            state_.data_out = (state_.content[state_.address] >> (word_bits - state_.count) & 1) != 0;
            return;
        case Phase::data:
            if (state_.count == word_bits) return;
            state_.shift = static_cast<std::uint16_t>(state_.shift << 1 | (data_in ? 1 : 0));
            ++state_.count;
            return;
        case Phase::ignoring:
            return;
    }
}

void SerialRom::begin_command() {
    state_.command = static_cast<std::uint8_t>(state_.shift);
    state_.address = state_.command & address_mask;
    state_.shift = 0;
    state_.count = 0;
    state_.phase = Phase::ignoring;
    const unsigned opcode = state_.command >> 6;
    const unsigned further = state_.address >> 4;
    if (opcode == read) {
        state_.phase = Phase::reading;
        state_.data_out = false;  // a dummy 0 goes first
    } else if (opcode == write || (opcode == extended && further == write_all)) {
        state_.phase = Phase::data;
    } else if (opcode == extended && (further == enable_writes || further == disable_writes)) {
        state_.writes_enabled = further == enable_writes;
    } else if (state_.writes_enabled && opcode == erase) {
        state_.content[state_.address] = 0xffff;
    } else if (state_.writes_enabled && opcode == extended && further == erase_all) {
        state_.content.fill(0xffff);
    }
}

void SerialRom::store() {
    if (!state_.writes_enabled) return;
    if (state_.command >> 6 == write) {
        state_.content[state_.address] = state_.shift;
    } else {
        state_.content.fill(state_.shift);
    }
}

}  // namespace models
