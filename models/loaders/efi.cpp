#include "models/loaders/efi.h"

#include <string_view>

#include "models/byte_writer.h"
#include "sim/check.h"

namespace models::loaders {

namespace {

// UEFI 2.7, 4.3 (system table), 7.2 (memory descriptors).
constexpr std::uint64_t system_table_signature = 0x5453'5953'2049'4249;  // "IBI SYST"
constexpr std::uint32_t revision_2_70 = 2u << 16 | 70;
constexpr std::uint32_t system_table_bytes = 120;
constexpr std::size_t crc_offset = 16;
constexpr std::uint32_t descriptor_bytes = 40;
constexpr std::uint32_t descriptor_version = 1;
constexpr std::uint32_t reserved_memory = 0;
constexpr std::uint32_t conventional_memory = 7;
constexpr std::uint64_t write_back = 0x8;
constexpr std::size_t vendor_offset = 0x100;
constexpr std::size_t map_offset = 0x200;
constexpr std::string_view vendor = "Verdigris";

// CRC-32 of IEEE 802.3, as table headers have it.
std::uint32_t crc32(View bytes) {
    std::uint32_t crc = ~0u;
    for (const std::byte b : bytes) {
        crc ^= std::to_integer<std::uint32_t>(b);
        for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ ((crc & 1) != 0 ? 0xedb8'8320u : 0u);
    }
    return ~crc;
}

}  // namespace

EfiTables efi_tables(const std::vector<MemoryMapEntry>& map) {
    ByteWriter table;
    table.u64(system_table_signature).u32(revision_2_70).u32(system_table_bytes).u32(0).u32(0);
    table.u64(efi_gpa + vendor_offset).u32(1).u32(0);
    for (int n = 0; n < 6; ++n) table.u64(0);  // consoles
    table.u64(0).u64(0);                       // runtime and boot services
    table.u64(0).u64(0);                       // configuration tables: none
    VG_CHECK(table.size() == system_table_bytes);
    Bytes header = table.take();

    ByteWriter out;
    out.bytes(header);
    out.patch(crc_offset, crc32(header));
    out.pad_to(vendor_offset);
    for (const char c : vendor) out.u16(static_cast<std::uint16_t>(c));
    out.u16(0);
    out.pad_to(map_offset);
    for (const MemoryMapEntry& entry : map) {
        const bool ram = entry.type == MemoryType::ram;
        out.u32(ram ? conventional_memory : reserved_memory).u32(0).u64(entry.first).u64(0);
        out.u64(entry.length >> 12).u64(write_back);
    }
    VG_CHECK(out.size() <= efi_bytes);
    EfiTables result;
    result.bytes = out.take();
    result.system_table = efi_gpa;
    result.memory_map = efi_gpa + map_offset;
    result.memory_map_bytes = static_cast<std::uint32_t>(map.size() * descriptor_bytes);
    result.descriptor_bytes = descriptor_bytes;
    result.descriptor_version = descriptor_version;
    return result;
}

}  // namespace models::loaders
