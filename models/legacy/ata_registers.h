// Registers, status bits and commands of ATA and ATAPI devices and of the PIIX bus master (ATA/ATAPI-8 ACS, T13/1699-D;
// ATA/ATAPI-6, T13/1410D, clause 7; SFF-8038i; Intel 82371AB data sheet, 290562, chapter 6).
#pragma once

#include <cstddef>
#include <cstdint>

namespace models::ata {

// Command block, by offset from its first port. Error and features, status and command share a place.
enum Register : unsigned { data, error_features, sector_count, lba_low, lba_mid, lba_high, device, status_command };

namespace status {
inline constexpr std::uint8_t error = 1u << 0, data_request = 1u << 3, seek_complete = 1u << 4, fault = 1u << 5,
                              ready = 1u << 6, busy = 1u << 7;
}
namespace error {
inline constexpr std::uint8_t aborted = 1u << 2, id_not_found = 1u << 4, interface_crc = 1u << 7,
                              uncorrectable = 1u << 6;
inline constexpr std::uint8_t diagnostic_passed = 1;
}  // namespace error
namespace control {
inline constexpr std::uint8_t no_interrupt = 1u << 1, software_reset = 1u << 2, high_order_byte = 1u << 7;
}
namespace device_bits {
inline constexpr std::uint8_t second = 1u << 4, lba = 1u << 6, head = 0x0f, always = 0xa0;
}

// What a device leaves in its registers after a reset: who it is (ATA-6, 9.12).
struct Signature {
    std::uint8_t lba_mid;
    std::uint8_t lba_high;
};
inline constexpr Signature disk_signature{0x00, 0x00}, packet_signature{0x14, 0xeb};

namespace command {
inline constexpr std::uint8_t nop = 0x00, data_set_management = 0x06, device_reset = 0x08, recalibrate = 0x10,
                              read_sectors = 0x20, read_sectors_once = 0x21, read_sectors_ext = 0x24,
                              read_dma_ext = 0x25, read_native_max_ext = 0x27, read_multiple_ext = 0x29,
                              write_sectors = 0x30, write_sectors_once = 0x31, write_sectors_ext = 0x34,
                              write_dma_ext = 0x35, write_multiple_ext = 0x39, write_dma_fua_ext = 0x3d, verify = 0x40,
                              verify_once = 0x41, verify_ext = 0x42, seek = 0x70, diagnostic = 0x90,
                              initialize_parameters = 0x91, packet = 0xa0, identify_packet = 0xa1, read_multiple = 0xc4,
                              write_multiple = 0xc5, set_multiple = 0xc6, read_dma = 0xc8, read_dma_once = 0xc9,
                              write_dma = 0xca, write_dma_once = 0xcb, write_multiple_fua_ext = 0xce,
                              standby_immediate = 0xe0, idle_immediate = 0xe1, standby = 0xe2, idle = 0xe3,
                              check_power = 0xe5, sleep = 0xe6, flush_cache = 0xe7, flush_cache_ext = 0xea,
                              identify = 0xec, set_features = 0xef, read_native_max = 0xf8;
}  // namespace command

namespace feature {  // SET FEATURES
inline constexpr std::uint8_t enable_write_cache = 0x02, set_transfer_mode = 0x03, disable_look_ahead = 0x55,
                              disable_reverting = 0x66, disable_write_cache = 0x82, enable_look_ahead = 0xaa,
                              enable_reverting = 0xcc;
}

inline constexpr std::size_t sector_bytes = 512;
inline constexpr std::uint64_t lba28_sectors = 0x0fff'ffff;
inline constexpr unsigned most_sectors_per_block = 128;  // of READ MULTIPLE and WRITE MULTIPLE

namespace packet {  // ATAPI: interrupt reason in the sector count
inline constexpr std::uint8_t command_phase = 1u << 0, to_host = 1u << 1;
inline constexpr std::uint8_t dma_feature = 1u << 0;
inline constexpr std::size_t command_bytes = 12, cd_sector_bytes = 2048;
}  // namespace packet

namespace bus_master {  // by offset from a channel's first port
inline constexpr unsigned command = 0, status = 2, table = 4, channel_bytes = 8;
inline constexpr std::uint8_t start = 1u << 0, to_memory = 1u << 3;
inline constexpr std::uint8_t active = 1u << 0, error = 1u << 1, interrupt = 1u << 2, drive_capable = 0x60;
inline constexpr std::uint32_t descriptor_bytes = 8, end_of_table = 1u << 31;
}  // namespace bus_master

}  // namespace models::ata
