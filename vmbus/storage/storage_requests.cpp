// What a storage packet means: the initialization's order, SCSI requests, resets.
#include <algorithm>
#include <cstring>
#include <utility>

#include "sim/check.h"
#include "vmbus/storage/storage_provider.h"

namespace vmbus {
namespace {

constexpr std::size_t body_at = sizeof(vstor::Header);

template <class T>
T load(std::span<const std::byte> bytes, std::size_t at = 0) {
    T value;
    std::memcpy(&value, bytes.data() + at, sizeof value);
    return value;
}
template <class T>
void store(std::span<std::byte> bytes, std::size_t at, const T& value) {
    std::memcpy(bytes.data() + at, &value, sizeof value);
}

scsi::Cdb cdb_of(const vstor::ScsiRequest& srb) {
    scsi::Cdb cdb{};
    std::copy_n(srb.cdb_or_sense.begin(), std::min<std::size_t>(srb.cdb_length, cdb.size()), cdb.begin());
    return cdb;
}

std::uint32_t nt_status(std::uint8_t srb_status) {
    switch (srb_status) {
        case vstor::srb::success:
            return vstor::status::success;
        case vstor::srb::data_overrun:
            return vstor::status::buffer_overflow;
        case vstor::srb::invalid_lun:
            return vstor::status::device_does_not_exist;
        default:
            return vstor::status::io_device_error;
    }
}

// What INQUIRY says where there is no unit: an error would make Linux believe in one (storvsc turns it into success).
std::vector<std::byte> absent_inquiry() {
    std::vector<std::byte> data(96);
    scsi::put_be(data, 0, 1, 0x7f);  // nothing here, nor can there be as of now
    scsi::put_be(data, 2, 1, 0x05);
    scsi::put_be(data, 3, 1, 0x02);
    scsi::put_be(data, 4, 1, data.size() - 5);
    constexpr std::string_view names = "Msft    Virtual Disk    1.0 ";
    std::transform(names.begin(), names.end(), data.begin() + 8, [](char c) { return static_cast<std::byte>(c); });
    return data;
}

}  // namespace

void StorageProvider::handle(std::uint16_t slot) {
    ChannelState& c = state_.channels[slot];
    const std::uint64_t number = state_.next_number++;
    ++c.outstanding;
    Request& request = state_.requests.emplace(number, std::exchange(c.taken, {})).first->second;
    const auto header = load<vstor::Header>(request.packet);
    scope_.trace("storage_request", slot, request.transaction, static_cast<std::uint64_t>(header.operation));
    if (request.kind == Request::Kind::scsi) return execute(number);

    const vstor::OperationRow* row = vstor::find_operation(static_cast<std::uint32_t>(header.operation));
    std::uint32_t status = vstor::status::invalid_device_request;
    if (row != nullptr && row->direction == vstor::Direction::to_host) {
        if (request.answer_bytes < body_at + row->body_bytes) {
            status = vstor::status::invalid_parameter;
        } else if (request.kind == Request::Kind::reset) {
            const auto srb = load<vstor::ScsiRequest>(request.packet, body_at);
            status = state_.phase == Phase::ready ? vstor::status::success : vstor::status::invalid_device_state;
            for (const auto& [address, unit] : units_) {
                const bool meant =
                    row->operation != vstor::Operation::reset_lun ||
                    address == StorageAddress{config_.ide ? config_.ide->channel : srb.path, srb.target, srb.lun};
                if (unit.present && meant && state_.phase == Phase::ready) unit.device->reset();
            }
            std::fill(request.packet.begin() + body_at, request.packet.end(), std::byte{});
        } else {
            status = initialize(*row, request);
        }
    }
    if (status != vstor::status::success && status != vstor::status::revision_mismatch) ++malformed_;
    store(request.packet, 0, vstor::Header{.operation = vstor::Operation::complete_io, .flags = 0, .status = status});
    // A reset ends when everything before it has.
    if (request.kind != Request::Kind::reset || state_.requests.begin()->first == number) answer_ready(number);
}

// The order is fixed; each step is answered, out of order too. The body of the answer is cleared or filled in.
std::uint32_t StorageProvider::initialize(const vstor::OperationRow& row, Request& request) {
    using vstor::Operation;
    if (row.operation == Operation::create_sub_channels) return create_sub_channels(request);
    if (row.operation == Operation::query_protocol_version) return query_version(request);
    std::fill(request.packet.begin() + body_at, request.packet.end(), std::byte{});
    if (request.slot != 0) return vstor::status::invalid_device_state;
    if (row.operation == Operation::begin_initialization && state_.phase == Phase::begin) {
        state_.phase = Phase::version;
        return vstor::status::success;
    }
    if (row.operation == Operation::query_properties && state_.phase == Phase::properties) {
        const bool several = state_.version >= vstor::version_server_2012 && workers_.size() > 1;
        const vstor::ChannelProperties properties{
            .max_sub_channels = static_cast<std::uint16_t>(several ? workers_.size() - 1 : 0),
            .flags = several ? vstor::supports_multi_channel : 0,
            .max_transfer_bytes = config_.max_transfer_bytes};
        store(request.packet, body_at, properties);
        state_.phase = Phase::end;
        return vstor::status::success;
    }
    if (row.operation == Operation::end_initialization && state_.phase == Phase::end) {
        state_.phase = Phase::ready;
        state_.notice_due = false;  // it is going to look
        return vstor::status::success;
    }
    return vstor::status::invalid_device_state;
}

// Linux asks for its newest version first and goes on until one is accepted.
std::uint32_t StorageProvider::query_version(Request& request) {
    const auto asked = load<vstor::ProtocolVersion>(request.packet, body_at);
    std::fill(request.packet.begin() + body_at, request.packet.end(), std::byte{});
    store(request.packet, body_at, vstor::ProtocolVersion{.major_minor = asked.major_minor, .revision = 0});
    if (request.slot != 0 || state_.phase != Phase::version) return vstor::status::invalid_device_state;
    const bool known =
        std::find(vstor::versions.begin(), vstor::versions.end(), asked.major_minor) != vstor::versions.end();
    if (!known || asked.major_minor > config_.newest_version) return vstor::status::revision_mismatch;
    state_.version = asked.major_minor;
    state_.phase = Phase::properties;
    scope_.trace("storage_version", asked.major_minor);
    return vstor::status::success;
}

std::uint32_t StorageProvider::create_sub_channels(Request& request) {
    const auto count = load<std::uint16_t>(request.packet, body_at);
    std::fill(request.packet.begin() + body_at, request.packet.end(), std::byte{});
    if (request.slot != 0 || state_.phase != Phase::ready || state_.version < vstor::version_server_2012) {
        return vstor::status::invalid_device_state;
    }
    if (count >= workers_.size()) return vstor::status::invalid_parameter;
    request.sub_channels = count;  // offered once the guest has been told that they come
    return vstor::status::success;
}

std::uint64_t StorageProvider::bytes_to_take(const Request& request) const {
    if (request.kind != Request::Kind::scsi || request.ranges.empty()) return 0;
    const auto srb = load<vstor::ScsiRequest>(request.packet, body_at);
    const ScsiDevice* device = device_at(request.address);
    if (device == nullptr || srb.data_in != vstor::srb::data_to_device) return 0;
    return std::min<std::uint64_t>(device->data_out_bytes(cdb_of(srb)), srb.transfer_length);
}

void StorageProvider::execute(std::uint64_t number) {
    Request& request = state_.requests.at(number);
    const auto srb = load<vstor::ScsiRequest>(request.packet, body_at);
    const bool moves = srb.data_in != vstor::srb::no_data && srb.transfer_length != 0;
    const bool fits = !request.ranges.empty() && request.ranges.front().length >= srb.transfer_length;
    if (state_.phase != Phase::ready) {
        ++malformed_;
        answer_srb(number, vstor::srb::invalid_request, scsi::Status::good, nullptr);
        return;
    }
    if ((moves && !fits) || srb.transfer_length > config_.max_transfer_bytes || srb.cdb_length == 0 ||
        srb.cdb_length > vstor::cdb_bytes || srb.data_in > vstor::srb::no_data) {
        ++malformed_;
        answer_srb(number, vstor::srb::invalid_request, scsi::Status::check_condition,
                   &scsi::sense::invalid_field_in_cdb);
        return;
    }
    ScsiCommand command{.tag = number, .cdb = cdb_of(srb)};
    if (srb.data_in == vstor::srb::data_from_device) command.buffer_bytes = srb.transfer_length;
    ScsiDevice* device = device_at(request.address);
    if (device == nullptr || command.cdb[0] == static_cast<std::uint8_t>(scsi::Opcode::report_luns)) {
        return answer_absent(number, command);
    }
    if (const std::uint64_t bytes = bytes_to_take(request); bytes != 0) {
        command.data_out.resize(bytes);
        GuestMemory& memory = workers_[request.slot]->channel->memory();
        if (!read_range(memory, request.ranges.front(), 0, command.data_out)) {
            ++malformed_;
            answer_srb(number, vstor::srb::error, scsi::Status::check_condition, &scsi::sense::invalid_field_in_cdb);
            return;
        }
        bytes_written_.add(bytes);
    }
    auto result = device->execute(units_.at(request.address).initiator, command);
    if (result) answer_scsi(number, std::move(*result));
}

// What the controller answers itself: which units there are, and for those that are not there.
void StorageProvider::answer_absent(std::uint64_t number, const ScsiCommand& command) {
    const scsi::Cdb& cdb = command.cdb;
    std::vector<std::byte> data;
    std::uint64_t allocation = 0;
    const scsi::Sense* refused = nullptr;
    if (cdb[0] == static_cast<std::uint8_t>(scsi::Opcode::report_luns)) {
        const auto srb = load<vstor::ScsiRequest>(state_.requests.at(number).packet, body_at);
        allocation = scsi::be(cdb, 6, 4);
        if (cdb[2] > 2 || allocation < 16) refused = &scsi::sense::invalid_field_in_cdb;
        data.resize(8);
        if (cdb[2] != 1) data = list_units({srb.path, srb.target, 0});  // 1: well-known units, which there are none of
    } else if (cdb[0] == static_cast<std::uint8_t>(scsi::Opcode::inquiry)) {
        allocation = scsi::be(cdb, 3, 2);
        if (cdb[1] != 0 || cdb[2] != 0) refused = &scsi::sense::invalid_field_in_cdb;
        data = absent_inquiry();
    } else {
        ++absent_;
        answer_srb(number, vstor::srb::invalid_lun, scsi::Status::check_condition, nullptr);
        return;
    }
    if (refused != nullptr) {
        answer_srb(number, vstor::srb::error, scsi::Status::check_condition, refused);
        return;
    }
    ScsiResult result;
    if (data.size() > allocation) data.resize(allocation);
    result.overrun = data.size() > command.buffer_bytes;
    if (result.overrun) data.resize(command.buffer_bytes);
    result.moved_bytes = static_cast<std::uint32_t>(data.size());
    result.data_in = std::move(data);
    answer_scsi(number, std::move(result));
}

// SPC-4 6.33, each unit by its number in a single level.
std::vector<std::byte> StorageProvider::list_units(const StorageAddress& address) const {
    std::vector<std::byte> data(8);
    for (const auto& [place, unit] : units_) {
        if (!unit.present || place.path != address.path || place.target != address.target) continue;
        data.resize(data.size() + 8);
        data[data.size() - 7] = static_cast<std::byte>(place.lun);
    }
    scsi::put_be(data, 0, 4, data.size() - 8);
    return data;
}

void StorageProvider::scsi_done(std::uint64_t number, ScsiResult result) {
    const auto found = state_.requests.find(number);
    if (found == state_.requests.end() || found->second.done) return;  // its unit was taken away meanwhile
    if (found->second.orphaned) return forget(number);
    answer_scsi(number, std::move(result));
}

void StorageProvider::answer_scsi(std::uint64_t number, ScsiResult result) {
    if (result.status == scsi::Status::check_condition) {
        answer_srb(number, vstor::srb::error, result.status, &result.sense);
        return;
    }
    if (result.status != scsi::Status::good) {
        answer_srb(number, vstor::srb::error, result.status, nullptr);
        return;
    }
    Request& request = state_.requests.at(number);
    VG_CHECK(result.data_in.size() <= load<vstor::ScsiRequest>(request.packet, body_at).transfer_length);
    request.data_in = std::move(result.data_in);
    answer_srb(number, result.overrun ? vstor::srb::data_overrun : vstor::srb::success, result.status, nullptr);
    auto srb = load<vstor::ScsiRequest>(request.packet, body_at);
    srb.transfer_length = result.moved_bytes;
    store(request.packet, body_at, srb);
}

// Turns the guest's request into its answer, which moved no data, and lets it go.
void StorageProvider::answer_srb(std::uint64_t number, std::uint8_t srb_status, scsi::Status status,
                                 const scsi::Sense* sense) {
    Request& request = state_.requests.at(number);
    auto srb = load<vstor::ScsiRequest>(request.packet, body_at);
    const bool short_form = request.answer_bytes < vstor::packet_bytes;
    const std::uint32_t nt = state_.phase == Phase::ready ? nt_status(srb_status) : vstor::status::invalid_device_state;
    srb.srb_status = srb_status;
    srb.scsi_status = static_cast<std::uint8_t>(status);
    srb.transfer_length = 0;
    // Without autosense the guest asks for it by REQUEST SENSE.
    if (sense != nullptr && (short_form || (srb.srb_flags & vstor::srb::flag_disable_autosense) == 0)) {
        srb.srb_status |= vstor::srb::autosense_valid;
        srb.sense_length = static_cast<std::uint8_t>(short_form ? vstor::sense_bytes_before_2012 : vstor::sense_bytes);
        srb.cdb_or_sense = {};
        const auto bytes = scsi::to_fixed_format(*sense);
        std::copy(bytes.begin(), bytes.end(), srb.cdb_or_sense.begin());
    }
    store(request.packet, body_at, srb);
    store(request.packet, 0, vstor::Header{.operation = vstor::Operation::complete_io, .flags = 0, .status = nt});
    if (sense != nullptr) request.data_in.clear();
    answer_ready(number);
}

}  // namespace vmbus
