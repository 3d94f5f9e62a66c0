// The disk's commands that move, compare or give up blocks, and those that say who may.
#include <algorithm>

#include "vmbus/storage/scsi_disk.h"

namespace vmbus {
namespace {

using scsi::be;
using scsi::Opcode;

constexpr std::uint8_t protect_mask = 0xe0;       // byte 1: protection information, which the disk has not
constexpr std::uint8_t force_unit_access = 0x08;  // byte 1
constexpr std::uint8_t relative_address = 0x01;   // byte 1 of 10- and 12-byte commands
constexpr std::uint8_t byte_check = 0x02;         // byte 1 of VERIFY and WRITE AND VERIFY
constexpr std::uint8_t byte_check_once = 0x06;

// WRITE SAME, byte 1.
constexpr std::uint8_t same_anchor = 0x10;
constexpr std::uint8_t same_unmap = 0x08;
constexpr std::uint8_t same_address_data = 0x06;  // PBDATA, LBDATA
constexpr std::uint8_t same_no_data_out = 0x01;   // 16-byte only

}  // namespace

// The length of a CDB follows from the upper three bits of its opcode (SPC-4 4.2.5.1).
ScsiDisk::Blocks ScsiDisk::blocks_of(const scsi::Cdb& cdb) {
    switch (cdb[0] >> 5) {
        case 0:
            return {be(cdb, 1, 3) & 0x1f'ffff, cdb[4] == 0 ? 256u : cdb[4], 0};
        case 4:
            return {be(cdb, 2, 8), be(cdb, 10, 4), cdb[1]};
        case 5:
            return {be(cdb, 2, 4), be(cdb, 6, 4), cdb[1]};
        default:
            return {be(cdb, 2, 4), be(cdb, 7, 2), cdb[1]};
    }
}

bool ScsiDisk::in_range(std::uint64_t lba, std::uint64_t count) const {
    return lba <= block_count() && count <= block_count() - lba;
}

std::uint64_t ScsiDisk::data_out_bytes(const scsi::Cdb& cdb) const {
    switch (static_cast<Opcode>(cdb[0])) {
        case Opcode::write_6:
        case Opcode::write_10:
        case Opcode::write_12:
        case Opcode::write_16:
        case Opcode::write_and_verify_10:
        case Opcode::write_and_verify_12:
        case Opcode::write_and_verify_16:
            return blocks_of(cdb).count * sector();
        case Opcode::verify_10:
        case Opcode::verify_12:
        case Opcode::verify_16:
            return (cdb[1] & byte_check) != 0 ? blocks_of(cdb).count * sector() : 0;
        case Opcode::write_same_10:
            return sector();
        case Opcode::write_same_16:
            return (cdb[1] & same_no_data_out) != 0 ? 0 : sector();
        case Opcode::unmap:
        case Opcode::mode_select_10:
            return be(cdb, 7, 2);
        case Opcode::mode_select_6:
            return cdb[4];
        case Opcode::persistent_reserve_out:
            return be(cdb, 5, 4);
        default:
            return 0;
    }
}

ScsiDisk::Result ScsiDisk::read(const Call& call) {
    const Blocks blocks = blocks_of(call.cdb);
    if ((blocks.flags & (protect_mask | relative_address)) != 0) return refuse(scsi::sense::invalid_field_in_cdb);
    if (!in_range(blocks.lba, blocks.count)) return refuse(scsi::sense::lba_out_of_range);
    // What the initiator has no room for is not read.
    const std::uint64_t count = std::min(blocks.count, call.command.buffer_bytes / sector());
    ScsiResult result{.overrun = count < blocks.count};
    if (count == 0) return result;
    return begin({.initiator = call.initiator,
                  .tag = call.command.tag,
                  .operation = BlockRequest::Operation::read,
                  .extents = {{blocks.lba * sector(), count * sector()}},
                  .result = std::move(result)});
}

ScsiDisk::Result ScsiDisk::write(const Call& call) {
    const Blocks blocks = blocks_of(call.cdb);
    if ((blocks.flags & (protect_mask | relative_address)) != 0) return refuse(scsi::sense::invalid_field_in_cdb);
    if (!in_range(blocks.lba, blocks.count)) return refuse(scsi::sense::lba_out_of_range);
    if (is_read_only()) return refuse(scsi::sense::write_protected);
    if (blocks.count == 0) return ScsiResult{};
    const std::uint64_t length = blocks.count * sector();
    if (call.command.data_out.size() < length) return refuse(scsi::sense::invalid_field_in_cdb);
    const auto first = call.command.data_out.begin();
    return begin({.initiator = call.initiator,
                  .tag = call.command.tag,
                  .operation = BlockRequest::Operation::write,
                  .force_unit_access = (blocks.flags & force_unit_access) != 0 || !state_.write_cache,
                  .extents = {{blocks.lba * sector(), length}},
                  .data = {first, first + static_cast<std::ptrdiff_t>(length)},
                  .result = {.moved_bytes = static_cast<std::uint32_t>(length)}});
}

// What is on the medium needs no second look.
ScsiDisk::Result ScsiDisk::write_and_verify(const Call& call) {
    if ((call.cdb[1] & (byte_check_once & ~byte_check)) != 0) return refuse(scsi::sense::invalid_field_in_cdb);
    ScsiCommand command = call.command;
    command.cdb[1] = static_cast<std::uint8_t>((command.cdb[1] & ~byte_check) | force_unit_access);
    return write({call.initiator, command, command.cdb});
}

// Without bytes to compare with, the medium is taken to be as good as its last access found it.
ScsiDisk::Result ScsiDisk::verify(const Call& call) {
    const Blocks blocks = blocks_of(call.cdb);
    if ((blocks.flags & (protect_mask | relative_address)) != 0) return refuse(scsi::sense::invalid_field_in_cdb);
    if ((blocks.flags & (byte_check_once & ~byte_check)) != 0) return refuse(scsi::sense::invalid_field_in_cdb);
    if (!in_range(blocks.lba, blocks.count)) return refuse(scsi::sense::lba_out_of_range);
    if ((blocks.flags & byte_check) == 0 || blocks.count == 0) return ScsiResult{};
    const std::uint64_t length = blocks.count * sector();
    if (call.command.data_out.size() < length) return refuse(scsi::sense::invalid_field_in_cdb);
    const auto first = call.command.data_out.begin();
    return begin({.initiator = call.initiator,
                  .tag = call.command.tag,
                  .operation = BlockRequest::Operation::read,
                  .compares = true,
                  .extents = {{blocks.lba * sector(), length}},
                  .data = {first, first + static_cast<std::ptrdiff_t>(length)},
                  .result = {.moved_bytes = static_cast<std::uint32_t>(length)}});
}

ScsiDisk::Result ScsiDisk::synchronize_cache(const Call& call) {
    const Blocks blocks = blocks_of(call.cdb);
    if (!in_range(blocks.lba, blocks.count)) return refuse(scsi::sense::lba_out_of_range);
    return begin({.initiator = call.initiator,
                  .tag = call.command.tag,
                  .operation = BlockRequest::Operation::flush,
                  .extents = {{0, 0}}});
}

// SBC-3 5.28. All of the list is checked before anything is given up.
ScsiDisk::Result ScsiDisk::unmap(const Call& call) {
    if (!geometry_.unmap) return refuse(scsi::sense::invalid_opcode);
    if ((call.cdb[1] & 1) != 0) return refuse(scsi::sense::invalid_field_in_cdb);  // anchored blocks
    if (is_read_only()) return refuse(scsi::sense::write_protected);
    const std::uint64_t length = data_out_bytes(call.cdb);
    if (length == 0) return ScsiResult{};
    if (length < 8 || call.command.data_out.size() < length) return refuse(scsi::sense::parameter_list_length);
    const std::span<const std::byte> list = std::span{call.command.data_out}.first(length);
    const std::uint64_t descriptors = std::min<std::uint64_t>(be(list, 2, 2), length - 8) / 16;
    if (descriptors > max_unmap_descriptors) return refuse(scsi::sense::invalid_field_in_parameters);
    Active active{.initiator = call.initiator,
                  .tag = call.command.tag,
                  .operation = BlockRequest::Operation::unmap,
                  .result = {.moved_bytes = static_cast<std::uint32_t>(length)}};
    for (std::uint64_t n = 0; n < descriptors; ++n) {
        const std::uint64_t lba = be(list, 8 + 16 * n, 8);
        const std::uint64_t count = be(list, 16 + 16 * n, 4);
        if (!in_range(lba, count)) return refuse(scsi::sense::lba_out_of_range);
        if (count != 0) active.extents.push_back({lba * sector(), count * sector()});
    }
    if (active.extents.empty()) return active.result;
    return begin(std::move(active));
}

ScsiDisk::Result ScsiDisk::write_same(const Call& call) {
    const bool long_form = call.cdb[0] == static_cast<std::uint8_t>(Opcode::write_same_16);
    Blocks blocks = blocks_of(call.cdb);
    const bool gives_up = (blocks.flags & same_unmap) != 0;
    const bool no_data = (blocks.flags & same_no_data_out) != 0;
    if ((blocks.flags & (protect_mask | same_anchor | same_address_data)) != 0 || (no_data && !long_form) ||
        (gives_up && !geometry_.unmap)) {
        return refuse(scsi::sense::invalid_field_in_cdb);
    }
    if (!in_range(blocks.lba, blocks.count)) return refuse(scsi::sense::lba_out_of_range);
    if (is_read_only()) return refuse(scsi::sense::write_protected);
    if (blocks.count == 0) blocks.count = block_count() - blocks.lba;  // to the end
    if (blocks.count > max_write_same_bytes / sector()) return refuse(scsi::sense::invalid_field_in_cdb);
    if (blocks.count == 0) return ScsiResult{};
    if (!no_data && call.command.data_out.size() < sector()) return refuse(scsi::sense::invalid_field_in_cdb);
    Active active{.initiator = call.initiator,
                  .tag = call.command.tag,
                  .operation = BlockRequest::Operation::write,
                  .force_unit_access = !state_.write_cache,
                  .data = std::vector<std::byte>(sector()),
                  .result = {.moved_bytes = static_cast<std::uint32_t>(no_data ? 0 : sector())}};
    if (!no_data) std::copy_n(call.command.data_out.begin(), sector(), active.data.begin());
    const std::uint64_t end = (blocks.lba + blocks.count) * sector();
    const bool zeros =
        std::all_of(active.data.begin(), active.data.end(), [](std::byte b) { return b == std::byte{}; });
    if (gives_up && zeros) {
        active.operation = BlockRequest::Operation::unmap;
        active.extents = {{blocks.lba * sector(), blocks.count * sector()}};
    } else {
        for (std::uint64_t at = blocks.lba * sector(); at < end; at += piece_bytes) {
            active.extents.push_back({at, std::min(piece_bytes, end - at)});
        }
    }
    return begin(std::move(active));
}

ScsiDisk::Result ScsiDisk::reserve(const Call& call) {
    // Third parties and extents are obsolete.
    if ((call.cdb[1] & 0x1f) != 0) return refuse(scsi::sense::invalid_field_in_cdb);
    if (state_.reservations.reserve(call.initiator)) return ScsiResult{};
    return ScsiResult{.status = scsi::Status::reservation_conflict};
}

ScsiDisk::Result ScsiDisk::release(const Call& call) {
    if ((call.cdb[1] & 0x1f) != 0) return refuse(scsi::sense::invalid_field_in_cdb);
    if (state_.reservations.release(call.initiator)) return ScsiResult{};
    return ScsiResult{.status = scsi::Status::reservation_conflict};
}

ScsiDisk::Result ScsiDisk::persistent_reserve_in(const Call& call) {
    if (!config_.persistent_reservations) return refuse(scsi::sense::invalid_opcode);
    auto data = state_.reservations.in(call.cdb[1] & 0x1f);
    if (!data) return refuse(scsi::sense::invalid_field_in_cdb);
    return data_in(call, std::move(*data), be(call.cdb, 7, 2));
}

ScsiDisk::Result ScsiDisk::persistent_reserve_out(const Call& call) {
    constexpr std::size_t length = ScsiReservations::parameter_bytes;
    if (!config_.persistent_reservations) return refuse(scsi::sense::invalid_opcode);
    if (data_out_bytes(call.cdb) != length || call.command.data_out.size() < length) {
        return refuse(scsi::sense::parameter_list_length);
    }
    const std::span<const std::byte> list = call.command.data_out;
    const auto outcome = state_.reservations.out(call.initiator, call.cdb[1] & 0x1f, call.cdb[2], list.first<length>());
    for (const auto& [initiator, sense] : outcome.attentions) attention(initiator, sense);
    ScsiResult result{.status = outcome.status, .sense = outcome.sense};
    if (outcome.status != scsi::Status::good) return result;
    result.moved_bytes = length;
    std::vector<std::uint64_t> waits_for;
    for (auto& [number, active] : state_.active) {
        if (std::find(outcome.aborted.begin(), outcome.aborted.end(), active.initiator) == outcome.aborted.end()) {
            continue;
        }
        active.aborted = true;
        waits_for.push_back(number);
    }
    if (waits_for.empty()) return result;
    return begin({.initiator = call.initiator,
                  .tag = call.command.tag,
                  .waits_for = std::move(waits_for),
                  .result = std::move(result)});
}

}  // namespace vmbus
