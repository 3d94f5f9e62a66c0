// A DVD drive with a read-only disc: a block device that holds an ISO image (SPC-4, MMC-6 as far as guests need it to
// find, mount, lock and eject a disc).
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <vector>

#include "sim/scope.h"
#include "vmbus/storage/block_device.h"
#include "vmbus/storage/scsi_device.h"

namespace vmbus {

class ScsiDvd final : public ScsiDevice, private BlockClient {
public:
    static constexpr std::uint64_t sector_bytes = 2048;

    // The disc is in the drive at first.
    ScsiDvd(const sim::Scope& scope, BlockDevice& disc, std::array<std::uint8_t, 16> disk_id);

    // By the operator's hand; the guest may as well eject the disc and load it again. True: something changed.
    bool insert();
    bool eject();
    bool has_disc() const { return state_.loaded; }

    InitiatorId attach(ScsiInitiator& initiator) override;
    void detach(InitiatorId id) override;
    std::uint64_t data_out_bytes(const scsi::Cdb& cdb) const override;
    std::optional<ScsiResult> execute(InitiatorId initiator, const ScsiCommand& command) override;
    void reset() override {}

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
    struct Row {
        scsi::Opcode opcode;
        bool needs_disc;
        Result (ScsiDvd::*handler)(const Call&);
    };
    static const std::array<Row, 18> rows;

    // The last thing that happened to the disc, for GET EVENT STATUS NOTIFICATION (MMC-6 table 342).
    enum class MediaEvent : std::uint8_t { none = 0, new_disc = 2, removed = 3 };
    struct Active {
        InitiatorId initiator = 0;
        std::uint64_t tag = 0;
        ScsiResult result;

        template <class Archive>
        void fields(Archive& archive) {
            archive(initiator, tag, result);
        }
    };
    struct PerInitiator {
        bool changed = false;  // it has not heard of the new disc
        scsi::Sense kept;

        template <class Archive>
        void fields(Archive& archive) {
            archive(changed, kept);
        }
    };
    struct State {
        bool loaded = true;
        bool tray_open = false;
        bool locked = false;
        MediaEvent event = MediaEvent::none;
        std::vector<PerInitiator> initiators;
        std::map<std::uint64_t, Active> active;
        std::uint64_t next_number = 1;

        template <class Archive>
        void fields(Archive& archive) {
            archive(loaded, tray_open, locked, event, initiators, active, next_number);
        }
    };

    void block_done(std::uint64_t number, BlockStatus status, std::vector<std::byte> data) override;
    Result dispatch(const Call& call);
    Result test_unit_ready(const Call& call);
    Result request_sense(const Call& call);
    Result inquiry(const Call& call);
    Result read_capacity(const Call& call);
    Result read(const Call& call);
    Result read_toc(const Call& call);
    Result get_configuration(const Call& call);
    Result get_event_status(const Call& call);
    Result read_disc_information(const Call& call);
    Result read_track_information(const Call& call);
    Result mode_sense(const Call& call);
    Result start_stop(const Call& call);
    Result prevent_allow(const Call& call);
    static ScsiResult refuse(const scsi::Sense& sense);
    static ScsiResult data_in(const Call& call, std::vector<std::byte> data, std::uint64_t allocation);
    std::uint64_t sector_count() const { return disc_.geometry().size_bytes / sector_bytes; }

    sim::Scope scope_;
    BlockDevice& disc_;
    std::array<std::uint8_t, 16> disk_id_;
    std::vector<ScsiInitiator*> initiators_;
    State state_;
    sim::Counter& commands_;
    sim::StateRegistration registration_;
};

}  // namespace vmbus
