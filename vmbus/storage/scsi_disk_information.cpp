// The disk's answers about itself: inquiry, capacity, mode pages.
#include <algorithm>

#include "vmbus/storage/scsi_disk.h"

namespace vmbus {
namespace {

using scsi::be;
using scsi::put_be;

std::vector<std::byte> page(std::uint8_t code, std::size_t body_bytes) {
    std::vector<std::byte> data(4 + body_bytes);
    put_be(data, 1, 1, code);
    put_be(data, 2, 2, body_bytes);
    return data;
}

// Left-aligned, filled with spaces (SPC-4 4.3.1).
void put_text(std::span<std::byte> data, std::size_t at, std::size_t size, std::string_view text) {
    for (std::size_t n = 0; n < size; ++n) data[at + n] = static_cast<std::byte>(n < text.size() ? text[n] : ' ');
}

constexpr std::uint8_t caching_page = 0x08;
constexpr std::uint8_t control_page = 0x0a;
constexpr std::uint8_t all_pages = 0x3f;
constexpr std::uint8_t current_values = 0;
constexpr std::uint8_t changeable_values = 1;
constexpr std::uint8_t saved_values = 3;
constexpr std::uint8_t write_cache_enable = 0x04;      // caching page, byte 2
constexpr std::uint8_t software_write_protect = 0x08;  // control page, byte 4

}  // namespace

ScsiDisk::Result ScsiDisk::test_unit_ready(const Call&) {
    return ScsiResult{};
}

ScsiDisk::Result ScsiDisk::request_sense(const Call& call) {
    if ((call.cdb[1] & 1) != 0) return refuse(scsi::sense::invalid_field_in_cdb);  // descriptor format
    PerInitiator& own = state_.initiators[call.initiator];
    scsi::Sense sense = std::exchange(own.kept, scsi::sense::none);
    if (!own.attentions.empty()) {
        sense = own.attentions.front();
        own.attentions.pop_front();
    }
    const auto bytes = scsi::to_fixed_format(sense);
    const auto view = std::as_bytes(std::span{bytes});
    return data_in(call, {view.begin(), view.end()}, call.cdb[4]);
}

// Only this unit: a controller that knows of more answers in its stead.
ScsiDisk::Result ScsiDisk::report_luns(const Call& call) {
    const std::uint64_t allocation = be(call.cdb, 6, 4);
    if (call.cdb[2] > 2 || allocation < 16) return refuse(scsi::sense::invalid_field_in_cdb);
    std::vector<std::byte> data(16);
    put_be(data, 0, 4, 8);
    return data_in(call, std::move(data), allocation);
}

ScsiDisk::Result ScsiDisk::inquiry(const Call& call) {
    const std::uint64_t allocation = be(call.cdb, 3, 2);
    const bool vital = (call.cdb[1] & 1) != 0;
    if ((call.cdb[1] & 2) != 0 || (!vital && call.cdb[2] != 0)) return refuse(scsi::sense::invalid_field_in_cdb);
    if (!vital) return data_in(call, standard_inquiry(), allocation);
    auto data = vital_product_data(call.cdb[2]);
    if (!data) return refuse(scsi::sense::invalid_field_in_cdb);
    return data_in(call, std::move(*data), allocation);
}

std::vector<std::byte> ScsiDisk::standard_inquiry() const {
    std::vector<std::byte> data(96);
    put_be(data, 2, 1, 0x05);  // SPC-3
    put_be(data, 3, 1, 0x02);
    put_be(data, 4, 1, data.size() - 5);
    put_be(data, 7, 1, 0x02);  // CmdQue
    put_text(data, 8, 8, config_.vendor);
    put_text(data, 16, 16, config_.product);
    put_text(data, 32, 4, config_.revision);
    return data;
}

std::optional<std::vector<std::byte>> ScsiDisk::vital_product_data(std::uint8_t code) const {
    switch (code) {
        case 0x00: {  // supported pages
            std::vector<std::uint8_t> codes{0x00};
            if (!config_.serial.empty()) codes.push_back(0x80);
            codes.insert(codes.end(), {0x83, 0xb0, 0xb1});
            if (geometry_.unmap) codes.push_back(0xb2);
            auto data = page(code, codes.size());
            for (std::size_t n = 0; n < codes.size(); ++n) put_be(data, 4 + n, 1, codes[n]);
            return data;
        }
        case 0x80: {  // serial number
            if (config_.serial.empty()) return std::nullopt;
            auto data = page(code, std::min<std::size_t>(config_.serial.size(), 252));
            put_text(data, 4, data.size() - 4, config_.serial);
            return data;
        }
        case 0x83: {  // identification: by vendor and by IEEE name, both of the unit and in binary
            auto data = page(code, 28 + 20);
            put_be(data, 4, 4, 0x0101'0000 | 24);
            put_text(data, 8, 8, config_.vendor);
            std::copy_n(std::as_bytes(std::span{config_.disk_id}).begin(), 16, data.begin() + 16);
            put_be(data, 32, 4, 0x0103'0000 | 16);
            put_be(data, 36, 4, 0x6002'2480);  // NAA 6, Microsoft's number
            std::copy_n(data.begin() + 16, 6, data.begin() + 40);
            std::copy_n(data.begin() + 26, 6, data.begin() + 46);
            return data;
        }
        case 0xb0: {  // block limits
            auto data = page(code, 60);
            if (geometry_.unmap) {
                put_be(data, 20, 4, 0xffff'ffff);
                put_be(data, 24, 4, max_unmap_descriptors);
                put_be(data, 28, 4, geometry_.physical_sector_bytes / sector());
                put_be(data, 32, 4, 0x8000'0000);
            }
            put_be(data, 36, 8, max_write_same_bytes / sector());
            return data;
        }
        case 0xb1: {  // characteristics
            auto data = page(code, 60);
            put_be(data, 4, 2, config_.solid_state ? 1 : 0);
            return data;
        }
        case 0xb2: {  // logical block provisioning: UNMAP and WRITE SAME, and what is unmapped reads as zeros
            if (!geometry_.unmap) return std::nullopt;
            auto data = page(code, 4);
            put_be(data, 5, 1, 0xe4);
            put_be(data, 6, 1, 0x02);  // thin
            return data;
        }
        default:
            return std::nullopt;
    }
}

ScsiDisk::Result ScsiDisk::read_capacity_10(const Call& call) {
    // Without PMI there is no address to ask about (SBC-3 5.15.1).
    if ((call.cdb[8] & 1) == 0 && be(call.cdb, 2, 4) != 0) return refuse(scsi::sense::invalid_field_in_cdb);
    std::vector<std::byte> data(8);
    put_be(data, 0, 4, std::min<std::uint64_t>(block_count() - 1, 0xffff'ffff));
    put_be(data, 4, 4, sector());
    return data_in(call, std::move(data), 8);
}

ScsiDisk::Result ScsiDisk::service_action_in(const Call& call) {
    if ((call.cdb[1] & 0x1f) != scsi::action_read_capacity_16) return refuse(scsi::sense::invalid_field_in_cdb);
    if ((call.cdb[14] & 1) == 0 && be(call.cdb, 2, 8) != 0) return refuse(scsi::sense::invalid_field_in_cdb);
    std::vector<std::byte> data(32);
    put_be(data, 0, 8, block_count() - 1);
    put_be(data, 8, 4, sector());
    std::uint8_t exponent = 0;
    while (sector() << exponent < geometry_.physical_sector_bytes) ++exponent;
    put_be(data, 13, 1, exponent);
    put_be(data, 14, 1, geometry_.unmap ? 0xc0 : 0);
    return data_in(call, std::move(data), be(call.cdb, 10, 4));
}

// Without its block descriptors: there are none.
std::optional<std::vector<std::byte>> ScsiDisk::mode_page(std::uint8_t code, std::uint8_t control) const {
    const bool now = control == current_values;
    if (code == caching_page) {
        std::vector<std::byte> data(20);
        put_be(data, 0, 2, caching_page << 8 | 18);
        const bool set = control == changeable_values || (now ? state_.write_cache : config_.write_cache);
        put_be(data, 2, 1, set ? write_cache_enable : 0);
        return data;
    }
    if (code == control_page) {
        std::vector<std::byte> data(12);
        put_be(data, 0, 2, control_page << 8 | 10);
        put_be(data, 3, 1, control == changeable_values ? 0 : 0x10);  // the order of commands is the disk's
        const bool set = control == changeable_values || (now && state_.write_protected);
        put_be(data, 4, 1, set ? software_write_protect : 0);
        return data;
    }
    if (code != all_pages) return std::nullopt;
    std::vector<std::byte> data = *mode_page(caching_page, control);
    const std::vector<std::byte> second = *mode_page(control_page, control);
    data.insert(data.end(), second.begin(), second.end());
    return data;
}

ScsiDisk::Result ScsiDisk::mode_sense(const Call& call) {
    const bool six = call.cdb[0] == static_cast<std::uint8_t>(scsi::Opcode::mode_sense_6);
    const std::uint8_t control = call.cdb[2] >> 6;
    const std::uint8_t code = call.cdb[2] & 0x3f;
    const std::uint8_t subpage = call.cdb[3];
    if (control == saved_values) return refuse(scsi::sense::saving_not_supported);
    const auto pages = mode_page(code, control);
    if (!pages || (subpage != 0 && !(subpage == 0xff && code == all_pages))) {
        return refuse(scsi::sense::invalid_field_in_cdb);
    }
    std::vector<std::byte> data(six ? 4 : 8);
    put_be(data, six ? 2 : 3, 1, (is_read_only() ? 0x80 : 0) | 0x10);  // WP, DPOFUA
    data.insert(data.end(), pages->begin(), pages->end());
    put_be(data, 0, six ? 1 : 2, data.size() - (six ? 1 : 2));
    return data_in(call, std::move(data), six ? call.cdb[4] : be(call.cdb, 7, 2));
}

ScsiDisk::Result ScsiDisk::mode_select(const Call& call) {
    const bool six = call.cdb[0] == static_cast<std::uint8_t>(scsi::Opcode::mode_select_6);
    const std::uint64_t length = data_out_bytes(call.cdb);
    const std::size_t header = six ? 4 : 8;
    if ((call.cdb[1] & 0x01) != 0) return refuse(scsi::sense::invalid_field_in_cdb);  // saved pages
    if (length == 0) return ScsiResult{};
    if (call.command.data_out.size() < length || length < header) return refuse(scsi::sense::parameter_list_length);
    const std::span<const std::byte> list = std::span{call.command.data_out}.first(length);
    const std::size_t descriptors = six ? be(list, 3, 1) : be(list, 6, 2);
    if (descriptors != 0 && descriptors != 8) return refuse(scsi::sense::invalid_field_in_parameters);
    if (header + descriptors > length) return refuse(scsi::sense::parameter_list_length);
    if (descriptors != 0 && be(list, header + 5, 3) != sector()) {
        return refuse(scsi::sense::invalid_field_in_parameters);
    }
    bool write_cache = state_.write_cache;
    bool write_protected = state_.write_protected;
    for (std::size_t at = header + descriptors; at < length;) {
        if (length - at < 2) return refuse(scsi::sense::parameter_list_length);
        const auto code = static_cast<std::uint8_t>(list[at]) & 0x7f;  // PS is reserved here
        const auto current = code == all_pages ? std::nullopt : mode_page(static_cast<std::uint8_t>(code), 0);
        if (!current || be(list, at + 1, 1) != current->size() - 2) {
            return refuse(scsi::sense::invalid_field_in_parameters);
        }
        if (length - at < current->size()) return refuse(scsi::sense::parameter_list_length);
        const auto mask = *mode_page(static_cast<std::uint8_t>(code), changeable_values);
        for (std::size_t n = 2; n < current->size(); ++n) {
            if (((list[at + n] ^ (*current)[n]) & ~mask[n]) != std::byte{0}) {
                return refuse(scsi::sense::invalid_field_in_parameters);
            }
        }
        if (code == caching_page) write_cache = (be(list, at + 2, 1) & write_cache_enable) != 0;
        if (code == control_page) write_protected = (be(list, at + 4, 1) & software_write_protect) != 0;
        at += current->size();
    }
    if (write_cache != state_.write_cache || write_protected != state_.write_protected) {
        state_.write_cache = write_cache;
        state_.write_protected = write_protected;
        attention_others(call.initiator, scsi::sense::mode_parameters_changed);
    }
    return ScsiResult{.moved_bytes = static_cast<std::uint32_t>(length)};
}

// A virtual disk turns always. Stopping it puts on the medium what it holds.
ScsiDisk::Result ScsiDisk::start_stop(const Call& call) {
    const bool start = (call.cdb[4] & 1) != 0;
    if (!start && state_.reservations.conflicts(call.initiator, scsi::Access::changes)) {
        return ScsiResult{.status = scsi::Status::reservation_conflict};
    }
    if ((call.cdb[4] & 2) != 0) return refuse(scsi::sense::invalid_field_in_cdb);  // nothing to load or eject
    if (start || call.cdb[4] >> 4 != 0) return ScsiResult{};
    Active active{.initiator = call.initiator,
                  .tag = call.command.tag,
                  .operation = BlockRequest::Operation::flush,
                  .extents = {{0, 0}}};
    return begin(std::move(active));
}

ScsiDisk::Result ScsiDisk::send_diagnostic(const Call& call) {
    const bool self_test = (call.cdb[1] & 0xf4) == 0x04 || (call.cdb[1] & 0xf4) == 0;
    if (!self_test || be(call.cdb, 3, 2) != 0) return refuse(scsi::sense::invalid_field_in_cdb);
    return ScsiResult{};
}

ScsiDisk::Result ScsiDisk::prevent_allow(const Call& call) {
    if ((call.cdb[4] & 3) != 0 && state_.reservations.conflicts(call.initiator, scsi::Access::changes)) {
        return ScsiResult{.status = scsi::Status::reservation_conflict};
    }
    return ScsiResult{};
}

}  // namespace vmbus
