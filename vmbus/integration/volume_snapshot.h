// Volume snapshot (VSS): the host has the guest's file systems quiet for a backup. Linux knows whether a backup of the
// running machine is possible, freeze and thaw; all three by a daemon.
#pragma once

#include <cstdint>

#include "vmbus/integration/ic_service.h"

namespace vmbus {

enum class SnapshotOperation : std::uint8_t {
    check_hot_backup = 2,  // may it be backed up while it runs?
    device_information = 3,
    backup_complete = 4,
    freeze = 5,
    thaw = 6,
};

struct SnapshotResult {
    SnapshotOperation operation = SnapshotOperation::freeze;
    RequestOutcome outcome = RequestOutcome::answered;
    std::uint32_t status = 0;
    std::uint32_t flags = 0;  // of a hot-backup check: 5 = yes, and no recovery is needed afterwards

    bool ok() const { return outcome == RequestOutcome::answered && status == ic::status::ok; }
};

class SnapshotListener {
public:
    virtual void snapshot_answered(const SnapshotResult& result) = 0;

protected:
    ~SnapshotListener() = default;
};

class VolumeSnapshot final : private ic::User {
public:
    static constexpr Guid instance = guid("2450ee40-33bf-4fbd-892e-9fb06e9214cf");
    // Writing back everything may take long, and Linux gives its daemon a quarter of an hour for it.
    static constexpr sim::Time freeze_timeout = sim::Time::s(15 * 60 + 60);

    VolumeSnapshot(const sim::Scope& scope, const ServiceHost& host, SnapshotListener* listener = nullptr);

    void ask(SnapshotOperation operation, sim::Time timeout = sim::Time::s(60));
    void freeze() { ask(SnapshotOperation::freeze, freeze_timeout); }
    void thaw() { ask(SnapshotOperation::thaw); }

    // Between the answers to a freeze and to a thaw.
    bool frozen() const { return state_.frozen; }
    ic::Phase phase() const { return service_.phase(); }
    ic::Version version() const { return service_.version(); }

    template <class Archive>
    void fields(Archive& archive) {
        archive(state_, service_);
    }

private:
    struct State {
        bool frozen = false;

        bool operator==(const State&) const = default;
        template <class Archive>
        void fields(Archive& archive) {
            archive(frozen);
        }
    };

    void negotiated(ic::Version) override {}
    void answered(std::uint32_t token, const ic::Answer& answer) override;
    void disconnected() override { state_.frozen = false; }

    SnapshotListener* listener_;
    State state_;
    ic::Service service_;
    sim::StateRegistration registration_;
};

}  // namespace vmbus
