// A protocol's messages as a table: its parser, its trace, its tests and its fuzzing read the same rows.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace vmbus::inband {

enum class Direction : std::uint8_t { to_guest, from_guest, both };

struct MessageRow {
    std::uint32_t type;
    std::string_view name;
    Direction direction;
    std::uint32_t least_bytes;  // of the body, after the header that holds the type
};

inline const MessageRow* find_message(std::span<const MessageRow> table, std::uint32_t type) {
    for (const MessageRow& row : table) {
        if (row.type == type) return &row;
    }
    return nullptr;
}

// A message that the guest may send, and long enough. Null: it broke the protocol.
inline const MessageRow* from_guest(std::span<const MessageRow> table, std::uint32_t type, std::size_t body_bytes) {
    const MessageRow* row = find_message(table, type);
    if (row == nullptr || row->direction == Direction::to_guest || body_bytes < row->least_bytes) return nullptr;
    return row;
}

}  // namespace vmbus::inband
