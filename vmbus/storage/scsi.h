// SCSI as far as the disk and the DVD drive speak it: commands (SPC-4, SBC-3, MMC-6), status, sense. Big-endian.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace vmbus::scsi {

using Cdb = std::array<std::uint8_t, 16>;

// SAM-5 5.3.1.
enum class Status : std::uint8_t { good = 0x00, check_condition = 0x02, reservation_conflict = 0x18 };

// What came of a command for sense data: key, additional code and qualifier (SPC-4 4.5.6).
struct Sense {
    std::uint8_t key = 0;
    std::uint8_t code = 0;
    std::uint8_t qualifier = 0;

    bool operator==(const Sense&) const = default;
    template <class Archive>
    void fields(Archive& archive) {
        archive(key, code, qualifier);
    }
};

namespace sense {
inline constexpr Sense none{0x0, 0x00, 0x00};
inline constexpr Sense becoming_empty{0x2, 0x3a, 0x00};
inline constexpr Sense no_medium_tray_closed{0x2, 0x3a, 0x01};
inline constexpr Sense no_medium_tray_open{0x2, 0x3a, 0x02};
inline constexpr Sense write_error{0x3, 0x0c, 0x00};
inline constexpr Sense unrecovered_read_error{0x3, 0x11, 0x00};
inline constexpr Sense parameter_list_length{0x5, 0x1a, 0x00};
inline constexpr Sense invalid_opcode{0x5, 0x20, 0x00};
inline constexpr Sense lba_out_of_range{0x5, 0x21, 0x00};
inline constexpr Sense invalid_field_in_cdb{0x5, 0x24, 0x00};
inline constexpr Sense lun_not_supported{0x5, 0x25, 0x00};
inline constexpr Sense invalid_field_in_parameters{0x5, 0x26, 0x00};
inline constexpr Sense invalid_release{0x5, 0x26, 0x04};
inline constexpr Sense saving_not_supported{0x5, 0x39, 0x00};
inline constexpr Sense medium_removal_prevented{0x5, 0x53, 0x02};
inline constexpr Sense insufficient_registrations{0x5, 0x55, 0x04};
inline constexpr Sense medium_changed{0x6, 0x28, 0x00};
inline constexpr Sense mode_parameters_changed{0x6, 0x2a, 0x01};
inline constexpr Sense reservations_preempted{0x6, 0x2a, 0x03};
inline constexpr Sense reservations_released{0x6, 0x2a, 0x04};
inline constexpr Sense registrations_preempted{0x6, 0x2a, 0x05};
inline constexpr Sense capacity_changed{0x6, 0x2a, 0x09};
inline constexpr Sense write_protected{0x7, 0x27, 0x00};
inline constexpr Sense aborted{0xb, 0x00, 0x00};
inline constexpr Sense miscompare{0xe, 0x1d, 0x00};
}  // namespace sense

inline constexpr std::size_t fixed_sense_bytes = 18;

// Fixed format, current error (SPC-4 4.5.3).
constexpr std::array<std::uint8_t, fixed_sense_bytes> to_fixed_format(const Sense& s) {
    return {0x70, 0, s.key, 0, 0, 0, 0, fixed_sense_bytes - 8, 0, 0, 0, 0, s.code, s.qualifier, 0, 0, 0, 0};
}

enum class Opcode : std::uint8_t {
    test_unit_ready = 0x00,
    request_sense = 0x03,
    read_6 = 0x08,
    write_6 = 0x0a,
    inquiry = 0x12,
    mode_select_6 = 0x15,
    reserve_6 = 0x16,
    release_6 = 0x17,
    mode_sense_6 = 0x1a,
    start_stop_unit = 0x1b,
    send_diagnostic = 0x1d,
    prevent_allow_medium_removal = 0x1e,
    read_capacity_10 = 0x25,
    read_10 = 0x28,
    write_10 = 0x2a,
    write_and_verify_10 = 0x2e,
    verify_10 = 0x2f,
    synchronize_cache_10 = 0x35,
    write_same_10 = 0x41,
    unmap = 0x42,
    read_toc = 0x43,
    get_configuration = 0x46,
    get_event_status = 0x4a,
    log_sense = 0x4d,
    read_disc_information = 0x51,
    read_track_information = 0x52,
    mode_select_10 = 0x55,
    reserve_10 = 0x56,
    release_10 = 0x57,
    mode_sense_10 = 0x5a,
    persistent_reserve_in = 0x5e,
    persistent_reserve_out = 0x5f,
    read_16 = 0x88,
    write_16 = 0x8a,
    write_and_verify_16 = 0x8e,
    verify_16 = 0x8f,
    synchronize_cache_16 = 0x91,
    write_same_16 = 0x93,
    service_action_in_16 = 0x9e,
    report_luns = 0xa0,
    read_12 = 0xa8,
    write_12 = 0xaa,
    write_and_verify_12 = 0xae,
    verify_12 = 0xaf,
};

inline constexpr std::uint8_t action_read_capacity_16 = 0x10;

// What somebody else's reservation does to a command (SPC-4 table 66, SBC-3 table 13): `always` is never in conflict,
// `reads` conflicts with exclusive access, `changes` with write exclusive as well, `decides` looks for itself.
enum class Access : std::uint8_t { always, reads, changes, decides };

// Which way data goes, from the disk's side.
enum class Transfer : std::uint8_t { none, in, out };

struct CommandRow {
    Opcode opcode;
    std::string_view name;
    std::uint8_t cdb_length;
    Transfer transfer;
    Access access;
};

inline constexpr std::array<CommandRow, 44> commands{{
    {Opcode::test_unit_ready, "TEST UNIT READY", 6, Transfer::none, Access::always},
    {Opcode::request_sense, "REQUEST SENSE", 6, Transfer::in, Access::always},
    {Opcode::read_6, "READ(6)", 6, Transfer::in, Access::reads},
    {Opcode::write_6, "WRITE(6)", 6, Transfer::out, Access::changes},
    {Opcode::inquiry, "INQUIRY", 6, Transfer::in, Access::always},
    {Opcode::mode_select_6, "MODE SELECT(6)", 6, Transfer::out, Access::changes},
    {Opcode::reserve_6, "RESERVE(6)", 6, Transfer::none, Access::decides},
    {Opcode::release_6, "RELEASE(6)", 6, Transfer::none, Access::decides},
    {Opcode::mode_sense_6, "MODE SENSE(6)", 6, Transfer::in, Access::changes},
    {Opcode::start_stop_unit, "START STOP UNIT", 6, Transfer::none, Access::decides},
    {Opcode::send_diagnostic, "SEND DIAGNOSTIC", 6, Transfer::none, Access::changes},
    {Opcode::prevent_allow_medium_removal, "PREVENT ALLOW MEDIUM REMOVAL", 6, Transfer::none, Access::decides},
    {Opcode::read_capacity_10, "READ CAPACITY(10)", 10, Transfer::in, Access::always},
    {Opcode::read_10, "READ(10)", 10, Transfer::in, Access::reads},
    {Opcode::write_10, "WRITE(10)", 10, Transfer::out, Access::changes},
    {Opcode::write_and_verify_10, "WRITE AND VERIFY(10)", 10, Transfer::out, Access::changes},
    {Opcode::verify_10, "VERIFY(10)", 10, Transfer::out, Access::reads},
    {Opcode::synchronize_cache_10, "SYNCHRONIZE CACHE(10)", 10, Transfer::none, Access::changes},
    {Opcode::write_same_10, "WRITE SAME(10)", 10, Transfer::out, Access::changes},
    {Opcode::unmap, "UNMAP", 10, Transfer::out, Access::changes},
    {Opcode::read_toc, "READ TOC", 10, Transfer::in, Access::reads},
    {Opcode::get_configuration, "GET CONFIGURATION", 10, Transfer::in, Access::always},
    {Opcode::get_event_status, "GET EVENT STATUS NOTIFICATION", 10, Transfer::in, Access::always},
    {Opcode::log_sense, "LOG SENSE", 10, Transfer::in, Access::always},
    {Opcode::read_disc_information, "READ DISC INFORMATION", 10, Transfer::in, Access::reads},
    {Opcode::read_track_information, "READ TRACK INFORMATION", 10, Transfer::in, Access::reads},
    {Opcode::mode_select_10, "MODE SELECT(10)", 10, Transfer::out, Access::changes},
    {Opcode::reserve_10, "RESERVE(10)", 10, Transfer::none, Access::decides},
    {Opcode::release_10, "RELEASE(10)", 10, Transfer::none, Access::decides},
    {Opcode::mode_sense_10, "MODE SENSE(10)", 10, Transfer::in, Access::changes},
    {Opcode::persistent_reserve_in, "PERSISTENT RESERVE IN", 10, Transfer::in, Access::always},
    {Opcode::persistent_reserve_out, "PERSISTENT RESERVE OUT", 10, Transfer::out, Access::decides},
    {Opcode::read_16, "READ(16)", 16, Transfer::in, Access::reads},
    {Opcode::write_16, "WRITE(16)", 16, Transfer::out, Access::changes},
    {Opcode::write_and_verify_16, "WRITE AND VERIFY(16)", 16, Transfer::out, Access::changes},
    {Opcode::verify_16, "VERIFY(16)", 16, Transfer::out, Access::reads},
    {Opcode::synchronize_cache_16, "SYNCHRONIZE CACHE(16)", 16, Transfer::none, Access::changes},
    {Opcode::write_same_16, "WRITE SAME(16)", 16, Transfer::out, Access::changes},
    {Opcode::service_action_in_16, "SERVICE ACTION IN(16)", 16, Transfer::in, Access::always},
    {Opcode::report_luns, "REPORT LUNS", 12, Transfer::in, Access::always},
    {Opcode::read_12, "READ(12)", 12, Transfer::in, Access::reads},
    {Opcode::write_12, "WRITE(12)", 12, Transfer::out, Access::changes},
    {Opcode::write_and_verify_12, "WRITE AND VERIFY(12)", 12, Transfer::out, Access::changes},
    {Opcode::verify_12, "VERIFY(12)", 12, Transfer::out, Access::reads},
}};

// Null for an opcode that nothing here implements.
constexpr const CommandRow* find_command(std::uint8_t opcode) {
    for (const CommandRow& row : commands) {
        if (static_cast<std::uint8_t>(row.opcode) == opcode) return &row;
    }
    return nullptr;
}

// Big-endian fields. The caller has checked that they lie within.
template <class Byte>
constexpr std::uint64_t be(std::span<const Byte> bytes, std::size_t at, std::size_t size) {
    std::uint64_t value = 0;
    for (std::size_t n = 0; n < size; ++n) value = value << 8 | static_cast<std::uint8_t>(bytes[at + n]);
    return value;
}
constexpr std::uint64_t be(const Cdb& cdb, std::size_t at, std::size_t size) {
    return be(std::span<const std::uint8_t>{cdb}, at, size);
}
constexpr void put_be(std::span<std::byte> bytes, std::size_t at, std::size_t size, std::uint64_t value) {
    for (std::size_t n = 0; n < size; ++n) bytes[at + n] = static_cast<std::byte>(value >> 8 * (size - 1 - n));
}

}  // namespace vmbus::scsi
