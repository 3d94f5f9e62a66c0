#include "vmbus/storage/scsi_disk.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

#include "sim/check.h"

namespace vmbus {

using scsi::Opcode;

const std::array<ScsiDisk::HandlerRow, 38> ScsiDisk::handlers{{
    {Opcode::test_unit_ready, &ScsiDisk::test_unit_ready},
    {Opcode::request_sense, &ScsiDisk::request_sense},
    {Opcode::read_6, &ScsiDisk::read},
    {Opcode::write_6, &ScsiDisk::write},
    {Opcode::inquiry, &ScsiDisk::inquiry},
    {Opcode::mode_select_6, &ScsiDisk::mode_select},
    {Opcode::reserve_6, &ScsiDisk::reserve},
    {Opcode::release_6, &ScsiDisk::release},
    {Opcode::mode_sense_6, &ScsiDisk::mode_sense},
    {Opcode::start_stop_unit, &ScsiDisk::start_stop},
    {Opcode::send_diagnostic, &ScsiDisk::send_diagnostic},
    {Opcode::prevent_allow_medium_removal, &ScsiDisk::prevent_allow},
    {Opcode::read_capacity_10, &ScsiDisk::read_capacity_10},
    {Opcode::read_10, &ScsiDisk::read},
    {Opcode::write_10, &ScsiDisk::write},
    {Opcode::write_and_verify_10, &ScsiDisk::write_and_verify},
    {Opcode::verify_10, &ScsiDisk::verify},
    {Opcode::synchronize_cache_10, &ScsiDisk::synchronize_cache},
    {Opcode::write_same_10, &ScsiDisk::write_same},
    {Opcode::unmap, &ScsiDisk::unmap},
    {Opcode::mode_select_10, &ScsiDisk::mode_select},
    {Opcode::reserve_10, &ScsiDisk::reserve},
    {Opcode::release_10, &ScsiDisk::release},
    {Opcode::mode_sense_10, &ScsiDisk::mode_sense},
    {Opcode::persistent_reserve_in, &ScsiDisk::persistent_reserve_in},
    {Opcode::persistent_reserve_out, &ScsiDisk::persistent_reserve_out},
    {Opcode::read_16, &ScsiDisk::read},
    {Opcode::write_16, &ScsiDisk::write},
    {Opcode::write_and_verify_16, &ScsiDisk::write_and_verify},
    {Opcode::verify_16, &ScsiDisk::verify},
    {Opcode::synchronize_cache_16, &ScsiDisk::synchronize_cache},
    {Opcode::write_same_16, &ScsiDisk::write_same},
    {Opcode::service_action_in_16, &ScsiDisk::service_action_in},
    {Opcode::report_luns, &ScsiDisk::report_luns},
    {Opcode::read_12, &ScsiDisk::read},
    {Opcode::write_12, &ScsiDisk::write},
    {Opcode::write_and_verify_12, &ScsiDisk::write_and_verify},
    {Opcode::verify_12, &ScsiDisk::verify},
}};

ScsiDisk::ScsiDisk(const sim::Scope& scope, BlockDevice& blocks, ScsiDiskConfig config)
    : scope_(scope),
      blocks_(blocks),
      config_(std::move(config)),
      geometry_(blocks.geometry()),
      commands_(scope.counter("commands", "count", "SCSI commands taken")),
      refused_(scope.counter("refused", "count", "commands that ended with sense data")),
      conflicts_(scope.counter("reservation_conflicts", "count", "commands that another's reservation kept out")),
      medium_errors_(scope.counter("medium_errors", "count", "block requests that failed for the medium")),
      registration_(scope.register_state(*this)) {
    VG_CHECK(std::has_single_bit(geometry_.logical_sector_bytes) && geometry_.logical_sector_bytes >= 512);
    VG_CHECK(std::has_single_bit(geometry_.physical_sector_bytes) &&
             geometry_.physical_sector_bytes >= geometry_.logical_sector_bytes);
    VG_CHECK(block_count() >= 1);
    state_.size_bytes = geometry_.size_bytes;
    state_.write_cache = config_.write_cache;
    blocks_.attach(this);
}

ScsiDevice::InitiatorId ScsiDisk::attach(ScsiInitiator& initiator) {
    initiators_.push_back(&initiator);
    if (state_.initiators.size() < initiators_.size()) state_.initiators.emplace_back();
    return static_cast<InitiatorId>(initiators_.size() - 1);
}

void ScsiDisk::detach(InitiatorId id) {
    VG_CHECK(id < initiators_.size());
    initiators_[id] = nullptr;
}

void ScsiDisk::reset() {
    state_.reservations.reset();
}

ScsiDisk::Result ScsiDisk::execute(InitiatorId initiator, const ScsiCommand& command) {
    VG_CHECK(initiator < initiators_.size() && initiators_[initiator] != nullptr);
    ++commands_;
    notice_size();
    Result result = dispatch({initiator, command, command.cdb});
    if (result) {
        const bool check = result->status == scsi::Status::check_condition;
        if (check) ++refused_;
        if (result->status == scsi::Status::reservation_conflict) ++conflicts_;
        if (check || command.cdb[0] != static_cast<std::uint8_t>(Opcode::request_sense)) {
            state_.initiators[initiator].kept = check ? result->sense : scsi::sense::none;
        }
    }
    return result;
}

// Unit attentions come before reservations, those before what the command itself has to object to (SAM-5 5.3.3).
ScsiDisk::Result ScsiDisk::dispatch(const Call& call) {
    const auto opcode = static_cast<Opcode>(call.cdb[0]);
    const scsi::CommandRow* row = scsi::find_command(call.cdb[0]);
    const bool asks_only =
        opcode == Opcode::inquiry || opcode == Opcode::report_luns || opcode == Opcode::request_sense;
    auto& attentions = state_.initiators[call.initiator].attentions;
    if (!asks_only && !attentions.empty()) {
        const scsi::Sense sense = attentions.front();
        attentions.pop_front();
        return refuse(sense);
    }
    const bool releases = opcode == Opcode::release_6 || opcode == Opcode::release_10;
    if (!asks_only && !releases && state_.reservations.reserved_by_other(call.initiator)) {
        return ScsiResult{.status = scsi::Status::reservation_conflict};
    }
    if (row != nullptr && row->access != scsi::Access::decides &&
        state_.reservations.conflicts(call.initiator, row->access)) {
        return ScsiResult{.status = scsi::Status::reservation_conflict};
    }
    for (const HandlerRow& entry : handlers) {
        if (entry.opcode != opcode) continue;
        // NACA and LINK: contingent allegiance and linked commands are not supported.
        if ((call.cdb[row->cdb_length - 1] & 0x05) != 0) return refuse(scsi::sense::invalid_field_in_cdb);
        return (this->*entry.handler)(call);
    }
    return refuse(scsi::sense::invalid_opcode);
}

ScsiDisk::Result ScsiDisk::begin(Active active) {
    const std::uint64_t number = state_.next_number++;
    state_.active.emplace(number, std::move(active));
    if (!state_.active.at(number).extents.empty()) submit_next(number);
    return std::nullopt;
}

void ScsiDisk::submit_next(std::uint64_t number) {
    Active& active = state_.active.at(number);
    const Extent extent = active.extents.front();
    BlockRequest request{.tag = number,
                         .operation = active.operation,
                         .offset_bytes = extent.offset,
                         .length_bytes = extent.length,
                         .force_unit_access = active.force_unit_access};
    if (active.operation == BlockRequest::Operation::write) {
        if (active.data.size() == extent.length) {
            request.data = active.extents.size() == 1 ? std::move(active.data) : active.data;
        } else {
            request.data.resize(extent.length);
            for (std::size_t at = 0; at < extent.length; at += active.data.size()) {
                std::memcpy(request.data.data() + at, active.data.data(), active.data.size());
            }
        }
    }
    blocks_.submit(std::move(request));
}

void ScsiDisk::block_done(std::uint64_t number, BlockStatus status, std::vector<std::byte> data) {
    const auto found = state_.active.find(number);
    VG_CHECK(found != state_.active.end());
    Active& active = found->second;
    const bool reads = active.operation == BlockRequest::Operation::read;
    if (status == BlockStatus::medium_error) ++medium_errors_;
    if (active.aborted) return finish(number, refuse(scsi::sense::aborted));
    switch (status) {
        case BlockStatus::success:
            break;
        case BlockStatus::out_of_range:
            return finish(number, refuse(scsi::sense::lba_out_of_range));
        case BlockStatus::read_only:
            return finish(number, refuse(scsi::sense::write_protected));
        case BlockStatus::medium_error:
            return finish(number, refuse(reads ? scsi::sense::unrecovered_read_error : scsi::sense::write_error));
    }
    if (reads) {
        VG_CHECK(data.size() == active.extents.front().length);
        if (active.compares) {
            if (data != active.data) return finish(number, refuse(scsi::sense::miscompare));
        } else {
            active.result.moved_bytes = static_cast<std::uint32_t>(data.size());
            active.result.data_in = std::move(data);
        }
    }
    active.extents.pop_front();
    if (active.extents.empty()) return finish(number, std::move(active.result));
    submit_next(number);
}

void ScsiDisk::finish(std::uint64_t number, ScsiResult result) {
    const auto node = state_.active.extract(number);
    const Active& ended = node.mapped();
    const bool check = result.status == scsi::Status::check_condition;
    if (check) ++refused_;
    state_.initiators[ended.initiator].kept = check ? result.sense : scsi::sense::none;
    std::vector<std::uint64_t> freed;
    for (auto& [other, active] : state_.active) {
        if (std::erase(active.waits_for, number) != 0 && active.waits_for.empty()) freed.push_back(other);
    }
    if (ScsiInitiator* initiator = initiators_[ended.initiator]) initiator->scsi_done(ended.tag, std::move(result));
    for (const std::uint64_t other : freed) finish(other, std::move(state_.active.at(other).result));
}

void ScsiDisk::notice_size() {
    geometry_ = blocks_.geometry();
    if (geometry_.size_bytes == state_.size_bytes) return;
    state_.size_bytes = geometry_.size_bytes;
    for (InitiatorId id = 0; id < initiators_.size(); ++id) attention(id, scsi::sense::capacity_changed);
}

void ScsiDisk::attention(InitiatorId initiator, const scsi::Sense& sense) {
    auto& all = state_.initiators[initiator].attentions;
    if (std::find(all.begin(), all.end(), sense) == all.end()) all.push_back(sense);
}

void ScsiDisk::attention_others(InitiatorId except, const scsi::Sense& sense) {
    for (InitiatorId id = 0; id < initiators_.size(); ++id) {
        if (id != except) attention(id, sense);
    }
}

ScsiResult ScsiDisk::refuse(const scsi::Sense& sense) {
    return {.status = scsi::Status::check_condition, .sense = sense};
}

ScsiResult ScsiDisk::data_in(const Call& call, std::vector<std::byte> data, std::uint64_t allocation) {
    if (data.size() > allocation) data.resize(allocation);
    ScsiResult result;
    result.overrun = data.size() > call.command.buffer_bytes;
    if (result.overrun) data.resize(call.command.buffer_bytes);
    result.moved_bytes = static_cast<std::uint32_t>(data.size());
    result.data_in = std::move(data);
    return result;
}

}  // namespace vmbus
