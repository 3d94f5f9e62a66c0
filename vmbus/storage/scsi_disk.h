// A direct-access SCSI disk over a block device, as Hyper-V's virtual disk presents itself (SPC-4, SBC-3). It holds no
// clock: a command is answered at once, or when the block device has done its part.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "sim/scope.h"
#include "vmbus/storage/block_device.h"
#include "vmbus/storage/scsi_device.h"
#include "vmbus/storage/scsi_reservations.h"

namespace vmbus {

struct ScsiDiskConfig {
    std::array<std::uint8_t, 16> disk_id{};  // names it in VPD page 83h; unique in the host
    std::string serial;                      // VPD page 80h; none if empty
    std::string vendor = "Msft";             // Linux knows a Hyper-V disk by this
    std::string product = "Virtual Disk";
    std::string revision = "1.0";
    bool write_cache = true;  // at first; the mode page switches it
    bool solid_state = true;
    bool persistent_reservations = true;
};

class ScsiDisk final : public ScsiDevice, private BlockClient {
public:
    // What one WRITE SAME covers, what one UNMAP names, and the pieces that the former is cut into.
    static constexpr std::uint64_t max_write_same_bytes = 8u << 20;
    static constexpr std::size_t max_unmap_descriptors = 256;
    static constexpr std::uint64_t piece_bytes = 1u << 20;

    ScsiDisk(const sim::Scope& scope, BlockDevice& blocks, ScsiDiskConfig config);

    InitiatorId attach(ScsiInitiator& initiator) override;
    void detach(InitiatorId id) override;
    std::uint64_t data_out_bytes(const scsi::Cdb& cdb) const override;
    std::optional<ScsiResult> execute(InitiatorId initiator, const ScsiCommand& command) override;
    void reset() override;

    std::size_t outstanding() const { return state_.active.size(); }

    template <class Archive>
    void fields(Archive& archive) {
        archive(state_);
    }

private:
    using Result = std::optional<ScsiResult>;
    struct Call {
        InitiatorId initiator;
        const ScsiCommand& command;
        const scsi::Cdb& cdb;
    };
    using Handler = Result (ScsiDisk::*)(const Call&);
    struct HandlerRow {
        scsi::Opcode opcode;
        Handler handler;
    };
    static const std::array<HandlerRow, 38> handlers;

    struct Extent {
        std::uint64_t offset = 0;
        std::uint64_t length = 0;

        bool operator==(const Extent&) const = default;
        template <class Archive>
        void fields(Archive& archive) {
            archive(offset, length);
        }
    };
    // A command whose blocks are under way, one request after the other. Its number is its requests' tag.
    struct Active {
        InitiatorId initiator = 0;
        std::uint64_t tag = 0;
        BlockRequest::Operation operation = BlockRequest::Operation::read;
        bool force_unit_access = false;
        bool compares = false;  // what is read, with `data`
        bool aborted = false;
        std::deque<Extent> extents;            // to do, the first is under way
        std::vector<std::byte> data;           // what is written to each extent, repeated; what is compared with
        std::vector<std::uint64_t> waits_for;  // PREEMPT AND ABORT: commands that have to end first
        ScsiResult result;

        bool operator==(const Active&) const = default;
        template <class Archive>
        void fields(Archive& archive) {
            archive(initiator, tag, operation, force_unit_access, compares, aborted, extents, data, waits_for, result);
        }
    };
    struct PerInitiator {
        std::deque<scsi::Sense> attentions;  // each at most once
        scsi::Sense kept;                    // for REQUEST SENSE

        bool operator==(const PerInitiator&) const = default;
        template <class Archive>
        void fields(Archive& archive) {
            archive(attentions, kept);
        }
    };
    struct State {
        std::uint64_t size_bytes = 0;  // that initiators know of
        bool write_cache = true;
        bool write_protected = false;  // by the control mode page
        ScsiReservations reservations;
        std::vector<PerInitiator> initiators;
        std::map<std::uint64_t, Active> active;
        std::uint64_t next_number = 1;

        bool operator==(const State&) const = default;
        template <class Archive>
        void fields(Archive& archive) {
            archive(size_bytes, write_cache, write_protected, reservations, initiators, active, next_number);
        }
    };
    // Where READ, WRITE and their kin say what blocks they mean.
    struct Blocks {
        std::uint64_t lba = 0;
        std::uint64_t count = 0;
        std::uint8_t flags = 0;  // byte 1 of the CDB; 0 for the 6-byte ones
    };

    void block_done(std::uint64_t number, BlockStatus status, std::vector<std::byte> data) override;

    // scsi_disk.cpp: order of checks, sense, block requests
    Result dispatch(const Call& call);
    Result begin(Active active);
    void submit_next(std::uint64_t number);
    void finish(std::uint64_t number, ScsiResult result);
    void notice_size();
    void attention(InitiatorId initiator, const scsi::Sense& sense);
    void attention_others(InitiatorId except, const scsi::Sense& sense);
    static ScsiResult refuse(const scsi::Sense& sense);
    static ScsiResult data_in(const Call& call, std::vector<std::byte> data, std::uint64_t allocation);

    // scsi_disk_information.cpp
    Result test_unit_ready(const Call& call);
    Result request_sense(const Call& call);
    Result inquiry(const Call& call);
    Result report_luns(const Call& call);
    Result read_capacity_10(const Call& call);
    Result service_action_in(const Call& call);
    Result mode_sense(const Call& call);
    Result mode_select(const Call& call);
    Result start_stop(const Call& call);
    Result send_diagnostic(const Call& call);
    Result prevent_allow(const Call& call);
    std::vector<std::byte> standard_inquiry() const;
    std::optional<std::vector<std::byte>> vital_product_data(std::uint8_t page) const;
    std::optional<std::vector<std::byte>> mode_page(std::uint8_t page, std::uint8_t control) const;

    // scsi_disk_blocks.cpp
    Result read(const Call& call);
    Result write(const Call& call);
    Result write_and_verify(const Call& call);
    Result verify(const Call& call);
    Result synchronize_cache(const Call& call);
    Result unmap(const Call& call);
    Result write_same(const Call& call);
    Result reserve(const Call& call);
    Result release(const Call& call);
    Result persistent_reserve_in(const Call& call);
    Result persistent_reserve_out(const Call& call);
    static Blocks blocks_of(const scsi::Cdb& cdb);
    bool in_range(std::uint64_t lba, std::uint64_t count) const;
    bool is_read_only() const { return geometry_.read_only || state_.write_protected; }
    std::uint64_t sector() const { return geometry_.logical_sector_bytes; }
    std::uint64_t block_count() const { return geometry_.size_bytes / sector(); }

    sim::Scope scope_;
    BlockDevice& blocks_;
    ScsiDiskConfig config_;
    BlockDevice::Geometry geometry_;
    std::vector<ScsiInitiator*> initiators_;
    State state_;
    sim::Counter& commands_;
    sim::Counter& refused_;
    sim::Counter& conflicts_;
    sim::Counter& medium_errors_;
    sim::StateRegistration registration_;
};

}  // namespace vmbus
