// A logical unit as its controllers see it: commands in, results out. Several controllers may share one (a shared disk)
// and are initiators of their own.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "vmbus/storage/scsi.h"

namespace vmbus {

struct ScsiCommand {
    std::uint64_t tag = 0;  // the initiator's
    scsi::Cdb cdb{};
    std::uint32_t buffer_bytes = 0;   // how much the initiator has room for, or sends
    std::vector<std::byte> data_out;  // what it sends: buffer_bytes of it, or as much as data_out_bytes() asked for
};

struct ScsiResult {
    scsi::Status status = scsi::Status::good;
    scsi::Sense sense;              // check_condition
    std::uint32_t moved_bytes = 0;  // of the buffer
    bool overrun = false;           // there was more than the buffer holds
    std::vector<std::byte> data_in;

    bool operator==(const ScsiResult&) const = default;
    template <class Archive>
    void fields(Archive& archive) {
        archive(status, sense, moved_bytes, overrun, data_in);
    }
};

// Called at the time at which the command is done, never within execute().
class ScsiInitiator {
public:
    virtual ~ScsiInitiator() = default;
    virtual void scsi_done(std::uint64_t tag, ScsiResult result) = 0;
};

class ScsiDevice {
public:
    using InitiatorId = std::uint32_t;

    virtual ~ScsiDevice() = default;
    // Ids are given in order and not again, so that a machine that is built alike has the same ones.
    virtual InitiatorId attach(ScsiInitiator& initiator) = 0;
    // Nothing is told to it any more; its reservations stay, as on a disk whose host went away.
    virtual void detach(InitiatorId id) = 0;
    // How many bytes this command takes from its initiator; to be brought along in data_out.
    virtual std::uint64_t data_out_bytes(const scsi::Cdb& cdb) const = 0;
    // The result, if it is known at once; else scsi_done() brings it.
    virtual std::optional<ScsiResult> execute(InitiatorId initiator, const ScsiCommand& command) = 0;
    // The bus or the unit was reset: reservations of the RESERVE command end. What is under way ends as it would.
    virtual void reset() = 0;
};

}  // namespace vmbus
