// Registers and descriptors of the DECchip 21140 (21140A hardware reference manual, EC-QN7NC-TE, chapters 3 and 4; the
// serial ROM by "Digital Semiconductor 21X4 Serial ROM Format", version 3).
#pragma once

#include <cstdint>

namespace models::dec21140 {

inline constexpr std::uint32_t csr_spacing = 8;
constexpr std::uint32_t csr(unsigned n) {
    return n * csr_spacing;
}
inline constexpr std::uint32_t csr_bytes = 16 * csr_spacing;

namespace bus_mode {  // CSR0
inline constexpr std::uint32_t software_reset = 1u << 0;
inline constexpr unsigned skip_low = 2, skip_high = 6;  // longwords between ring descriptors
inline constexpr unsigned auto_poll_low = 17, auto_poll_high = 19;
inline constexpr std::uint32_t reset = 0xfe00'0000, writable = 0x01bf'fffe;
}  // namespace bus_mode

namespace status {  // CSR5, and CSR7 with the same places
inline constexpr std::uint32_t transmit_done = 1u << 0, transmit_stopped = 1u << 1, transmit_unavailable = 1u << 2,
                               transmit_jabber = 1u << 3, transmit_underflow = 1u << 5, receive_done = 1u << 6,
                               receive_unavailable = 1u << 7, receive_stopped = 1u << 8, receive_watchdog = 1u << 9,
                               timer_expired = 1u << 11, fatal_bus_error = 1u << 13, abnormal = 1u << 15,
                               normal = 1u << 16;
inline constexpr std::uint32_t normal_events = transmit_done | transmit_unavailable | receive_done | timer_expired;
inline constexpr std::uint32_t abnormal_events = transmit_stopped | transmit_jabber | transmit_underflow |
                                                 receive_unavailable | receive_stopped | receive_watchdog |
                                                 fatal_bus_error;
inline constexpr std::uint32_t clearable = normal_events | abnormal_events | abnormal | normal;
inline constexpr unsigned receive_state_low = 17, transmit_state_low = 20, bus_error_low = 23;
inline constexpr std::uint32_t always_one = 0xfc00'0000;
inline constexpr std::uint32_t mask_reset = 0xfffe'0000;
}  // namespace status

// CSR5 19:17 and 22:20, as they can be seen from outside.
enum class ReceiveState : std::uint8_t { stopped = 0, waiting = 3, suspended = 4 };
enum class TransmitState : std::uint8_t { stopped = 0, waiting_end = 2, suspended = 6 };
// CSR5 25:23
enum class BusError : std::uint8_t { none = 0, master_abort = 1, target_abort = 2 };

namespace mode {  // CSR6
inline constexpr std::uint32_t hash_perfect = 1u << 0, start_receive = 1u << 1, hash_only = 1u << 2, inverse = 1u << 4,
                               promiscuous = 1u << 6, all_multicast = 1u << 7, full_duplex = 1u << 9,
                               start_transmit = 1u << 13, port_select = 1u << 18, ten_megabit = 1u << 22,
                               receive_all = 1u << 30;
inline constexpr unsigned loopback_low = 10, loopback_high = 11;
inline constexpr std::uint32_t internal_loopback = 1;
inline constexpr std::uint32_t reset = 0x3200'0040, writable = 0xfdff'ffea;  // filtering type: by set-up frames only
inline constexpr std::uint32_t must_be_one = 1u << 25;
}  // namespace mode

namespace missed {  // CSR8
inline constexpr std::uint32_t counter_mask = 0xffff, overflow = 1u << 16, reset = 0xfffe'0000;
}

namespace management {  // CSR9
inline constexpr std::uint32_t rom_select = 1u << 0, rom_clock = 1u << 1, rom_data_in = 1u << 2, rom_data_out = 1u << 3,
                               rom_access = 1u << 11, mii_data_in = 1u << 19;
inline constexpr std::uint32_t writable = 0x0007'f8ff, reads_one = 0xfff0'0000;
}  // namespace management

namespace timer {  // CSR11
inline constexpr std::uint32_t count_mask = 0xffff, continuous = 1u << 16, reset = 0xfffe'0000;
inline constexpr std::int64_t tick_ns = 81'920;  // 2048 bit times of 25 MHz nibbles; ten times as long at 10 Mb/s
}  // namespace timer

namespace general_purpose {  // CSR12
inline constexpr std::uint32_t control = 1u << 8, pins = 0xff, reset = 0xffff'fe00;
}

inline constexpr std::uint32_t watchdog_reset = 0xffff'fec8;  // CSR15

// Four longwords: status, control and sizes, first buffer, second buffer or next descriptor.
inline constexpr std::uint32_t descriptor_bytes = 16;
inline constexpr std::uint32_t owned = 1u << 31;  // by the chip

namespace rdes0 {
inline constexpr std::uint32_t filtering_fail = 1u << 30, error_summary = 1u << 15, descriptor_error = 1u << 14,
                               runt = 1u << 11, multicast = 1u << 10, first = 1u << 9, last = 1u << 8,
                               too_long = 1u << 7, ethernet_type = 1u << 5;
inline constexpr unsigned length_low = 16;
inline constexpr std::uint32_t length_mask = 0x3fff;
}  // namespace rdes0
namespace tdes0 {
inline constexpr std::uint32_t error_summary = 1u << 15, jabber = 1u << 14, underflow = 1u << 1;
inline constexpr std::uint32_t after_set_up = 0x7fff'ffff;
}  // namespace tdes0
namespace rdes1 {
inline constexpr std::uint32_t end_of_ring = 1u << 25, chained = 1u << 24;
}
namespace tdes1 {
inline constexpr std::uint32_t interrupt = 1u << 31, last = 1u << 30, first = 1u << 29, filter_high = 1u << 28,
                               set_up = 1u << 27, no_crc = 1u << 26, end_of_ring = 1u << 25, chained = 1u << 24,
                               no_padding = 1u << 23, filter_low = 1u << 22;
}
namespace sizes {  // of the two buffers, in the second longword
inline constexpr unsigned first_low = 0, first_high = 10, second_low = 11, second_high = 21;
}

inline constexpr std::uint32_t set_up_frame_bytes = 192;
inline constexpr std::size_t crc_bytes = 4, least_frame_bytes = 60, most_usual_bytes = 1518;  // the last with CRC
inline constexpr std::size_t jabber_bytes = 2560;  // more than that in one go is cut off
inline constexpr std::size_t overhead_bytes = 20;  // preamble and gap between frames

// Serial ROM: places in bytes, connection types, and the fields of a compact media block.
namespace rom {
inline constexpr std::size_t bytes = 128, subsystem_vendor = 0, subsystem = 2, format_version = 18, controllers = 19,
                             address = 20, leaf_offset = 27, leaf = 30;
inline constexpr std::uint16_t symbol_full_duplex = 0x0205;  // the connection that is selected
inline constexpr std::uint8_t ten_base_t = 0, hundred_base_tx = 3, ten_base_t_full = 4, hundred_base_tx_full = 5;
// Port, threshold, coding sub-layer and scrambler for CSR6 in bits 6:4 and 0; the pin that senses the medium in 3:1.
inline constexpr std::uint16_t symbol_command = 0x006d, serial_command = 0x009e;
inline constexpr unsigned link_pin = 6;  // of CSR12: high while the cable is connected
}  // namespace rom

}  // namespace models::dec21140
