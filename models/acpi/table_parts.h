// What all tables of the firmware consist of: the header, checksums, register addresses (ACPI 6.4, 5.2).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "models/byte_writer.h"

namespace models::acpi::parts {

inline constexpr std::size_t header_bytes = 36;
inline constexpr std::string_view oem_id = "VRDGRS", oem_table_id = "VERDIGRS", creator_id = "VRDG";

inline std::uint8_t checksum(std::span<const std::byte> bytes) {
    unsigned sum = 0;
    for (const std::byte b : bytes) sum += std::to_integer<unsigned>(b);
    return static_cast<std::uint8_t>(0 - sum);
}

// 5.2.6, system description table header; length and checksum come last.
inline ByteWriter header(std::string_view signature, std::uint8_t revision) {
    ByteWriter out;
    out.text(signature).u32(0).u8(revision).u8(0).text(oem_id).text(oem_table_id).u32(1).text(creator_id).u32(1);
    VG_CHECK(out.size() == header_bytes);
    return out;
}

inline std::vector<std::byte> finish(ByteWriter table) {
    table.patch(4, static_cast<std::uint32_t>(table.size()));
    table.patch(9, checksum(table.data()));
    return table.take();
}

// 5.2.3.2, generic address structure of a register in I/O space: its width, and the access size as a power of two plus
// one.
inline void io_register(ByteWriter& out, std::uint16_t port, std::uint8_t bits = 8, std::uint8_t access = 1) {
    out.u8(1).u8(bits).u8(0).u8(access).u64(port);
}

}  // namespace models::acpi::parts
