// The packets of the synthetic storage controller. There is no published specification: layouts and order are those of
// the Linux driver (drivers/scsi/storvsc_drv.c) and of the public provider that serves it. All fields little-endian.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace vmbus::vstor {

enum class Operation : std::uint32_t {
    complete_io = 1,
    remove_device = 2,
    execute_srb = 3,
    reset_lun = 4,
    reset_adapter = 5,
    reset_bus = 6,
    begin_initialization = 7,
    end_initialization = 8,
    query_protocol_version = 9,
    query_properties = 10,
    enumerate_bus = 11,
    fibre_channel_data = 12,
    create_sub_channels = 13,
};

// Major version in the upper byte. What the guest's Windows generation, or a Linux of its time, asks for.
inline constexpr std::uint16_t version_server_2008 = 0x0200;
inline constexpr std::uint16_t version_server_2008_r2 = 0x0402;
inline constexpr std::uint16_t version_server_2012 = 0x0501;
inline constexpr std::uint16_t version_server_2012_r2 = 0x0600;
inline constexpr std::uint16_t version_server_2016 = 0x0602;
inline constexpr std::array<std::uint16_t, 5> versions{version_server_2016, version_server_2012_r2, version_server_2012,
                                                       version_server_2008_r2, version_server_2008};

// NTSTATUS values in Packet::status.
namespace status {
inline constexpr std::uint32_t success = 0;
inline constexpr std::uint32_t buffer_overflow = 0x8000'0005;
inline constexpr std::uint32_t invalid_parameter = 0xc000'000d;
inline constexpr std::uint32_t invalid_device_request = 0xc000'0010;
inline constexpr std::uint32_t revision_mismatch = 0xc000'0059;
inline constexpr std::uint32_t device_does_not_exist = 0xc000'00c0;
inline constexpr std::uint32_t invalid_device_state = 0xc000'0184;
inline constexpr std::uint32_t io_device_error = 0xc000'0185;
}  // namespace status

// How a SCSI request ended for the port driver.
namespace srb {
inline constexpr std::uint8_t success = 0x01;
inline constexpr std::uint8_t aborted = 0x02;
inline constexpr std::uint8_t error = 0x04;
inline constexpr std::uint8_t invalid_request = 0x06;
inline constexpr std::uint8_t data_overrun = 0x12;
inline constexpr std::uint8_t invalid_lun = 0x20;
inline constexpr std::uint8_t autosense_valid = 0x80;

inline constexpr std::uint8_t data_to_device = 0;
inline constexpr std::uint8_t data_from_device = 1;
inline constexpr std::uint8_t no_data = 2;

inline constexpr std::uint32_t flag_disable_autosense = 0x20;
}  // namespace srb

#pragma pack(push, 1)
struct Header {
    Operation operation;
    std::uint32_t flags;  // bit 0: a completion is wanted
    std::uint32_t status;
};

inline constexpr std::uint32_t flag_completion_wanted = 1;

struct ScsiRequest {
    std::uint16_t length;
    std::uint8_t srb_status;
    std::uint8_t scsi_status;
    std::uint8_t port;
    std::uint8_t path;
    std::uint8_t target;
    std::uint8_t lun;
    std::uint8_t cdb_length;
    std::uint8_t sense_length;
    std::uint8_t data_in;
    std::uint8_t reserved;
    std::uint32_t transfer_length;
    std::array<std::uint8_t, 20> cdb_or_sense;
    // From version 5.1 on.
    std::uint16_t reserved_2012;
    std::uint8_t queue_tag;
    std::uint8_t queue_action;
    std::uint32_t srb_flags;
    std::uint32_t time_out_s;
    std::uint32_t queue_sort_key;
};

struct ChannelProperties {
    std::uint32_t reserved;
    std::uint16_t max_sub_channels;
    std::uint16_t reserved2;
    std::uint32_t flags;
    std::uint32_t max_transfer_bytes;
    std::uint64_t reserved3;
};

struct ProtocolVersion {
    std::uint16_t major_minor;
    std::uint16_t revision;
};

// In the user-defined part of the offer of an IDE accelerator's channel; old guests look there for their device.
struct OfferProperties {
    std::uint16_t reserved;
    std::uint8_t path;
    std::uint8_t target;
    std::uint32_t reserved2;
    std::uint32_t flags;
    std::array<std::uint32_t, 3> reserved3;
};
#pragma pack(pop)

inline constexpr std::uint32_t supports_multi_channel = 1;
inline constexpr std::uint32_t offer_is_ide_device = 2;

static_assert(sizeof(Header) == 12);
static_assert(sizeof(ScsiRequest) == 52);
static_assert(offsetof(ScsiRequest, cdb_length) == 8);
static_assert(offsetof(ScsiRequest, transfer_length) == 12);
static_assert(offsetof(ScsiRequest, cdb_or_sense) == 16);
static_assert(offsetof(ScsiRequest, reserved_2012) == 36);
static_assert(offsetof(ScsiRequest, srb_flags) == 40);
static_assert(sizeof(ChannelProperties) == 24);
static_assert(sizeof(ProtocolVersion) == 4);
static_assert(sizeof(OfferProperties) == 24);

// A whole packet, and one as it was before version 5.1. A guest's packets are never longer, and each answer is as long
// as its request: Windows wants exactly its version's size, Linux takes no more than that from the ring.
inline constexpr std::size_t packet_bytes = sizeof(Header) + sizeof(ScsiRequest);
inline constexpr std::size_t packet_bytes_before_2012 = packet_bytes - 16;
inline constexpr std::size_t sense_bytes = 20;
inline constexpr std::size_t sense_bytes_before_2012 = 18;
inline constexpr std::size_t cdb_bytes = 16;
static_assert(packet_bytes == 64 && packet_bytes_before_2012 == 48);

enum class Direction : std::uint8_t { to_host, to_guest, none };

// The protocol's messages: number, name, who sends them, how many bytes after the header its sender means, first
// version. The parser, the tracer and the fuzzer read it.
struct OperationRow {
    Operation operation;
    std::string_view name;
    Direction direction;
    std::uint8_t body_bytes;
    std::uint16_t first_version;
};

inline constexpr std::array<OperationRow, 13> operations{{
    {Operation::complete_io, "complete_io", Direction::to_guest, 36, version_server_2008},
    {Operation::remove_device, "remove_device", Direction::to_guest, 0, version_server_2008},
    {Operation::execute_srb, "execute_srb", Direction::to_host, 36, version_server_2008},
    {Operation::reset_lun, "reset_lun", Direction::to_host, 8, version_server_2008},
    {Operation::reset_adapter, "reset_adapter", Direction::to_host, 0, version_server_2008},
    {Operation::reset_bus, "reset_bus", Direction::to_host, 0, version_server_2008},
    {Operation::begin_initialization, "begin_initialization", Direction::to_host, 0, version_server_2008},
    {Operation::end_initialization, "end_initialization", Direction::to_host, 0, version_server_2008},
    {Operation::query_protocol_version, "query_protocol_version", Direction::to_host, 4, version_server_2008},
    {Operation::query_properties, "query_properties", Direction::to_host, 0, version_server_2008},
    {Operation::enumerate_bus, "enumerate_bus", Direction::to_guest, 0, version_server_2008},
    {Operation::fibre_channel_data, "fibre_channel_data", Direction::none, 0, version_server_2012},
    {Operation::create_sub_channels, "create_sub_channels", Direction::to_host, 2, version_server_2012},
}};

// Null for a number that is no operation.
constexpr const OperationRow* find_operation(std::uint32_t number) {
    return number >= 1 && number <= operations.size() ? &operations[number - 1] : nullptr;
}

static_assert([] {
    for (std::uint32_t n = 1; n <= operations.size(); ++n) {
        if (static_cast<std::uint32_t>(find_operation(n)->operation) != n) return false;
    }
    return find_operation(0) == nullptr && find_operation(14) == nullptr;
}());

}  // namespace vmbus::vstor
