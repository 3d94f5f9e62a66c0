// Who may use a logical unit: the RESERVE command's reservation (SPC-2) and persistent reservations (SPC-4 5.13).
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "vmbus/storage/scsi.h"

namespace vmbus {

class ScsiReservations {
public:
    using InitiatorId = std::uint32_t;

    // SPC-4 table 62.
    enum class Type : std::uint8_t {
        none = 0,
        write_exclusive = 1,
        exclusive_access = 3,
        write_exclusive_registrants = 5,
        exclusive_access_registrants = 6,
        write_exclusive_all = 7,
        exclusive_access_all = 8,
    };
    enum class In : std::uint8_t { read_keys = 0, read_reservation = 1, report_capabilities = 2, read_full_status = 3 };
    enum class Out : std::uint8_t {
        register_key = 0,
        reserve = 1,
        release = 2,
        clear = 3,
        preempt = 4,
        preempt_and_abort = 5,
        register_and_ignore = 6,
    };
    static constexpr std::size_t parameter_bytes = 24;
    static constexpr std::size_t max_registrations = 64;

    struct Outcome {
        scsi::Status status = scsi::Status::good;
        scsi::Sense sense;
        std::vector<std::pair<InitiatorId, scsi::Sense>> attentions;  // what others are to be told
        std::vector<InitiatorId> aborted;                             // whose commands end

        bool operator==(const Outcome&) const = default;
    };

    // Does somebody's reservation keep the initiator from a command of this access?
    bool conflicts(InitiatorId initiator, scsi::Access access) const;
    // The RESERVE command's reservation is another's; then everything but INQUIRY and the like is in conflict.
    bool reserved_by_other(InitiatorId initiator) const { return holder_ && *holder_ != initiator; }

    // RESERVE, RELEASE: false is a conflict. Neither works beside persistent registrations.
    [[nodiscard]] bool reserve(InitiatorId initiator);
    [[nodiscard]] bool release(InitiatorId initiator);
    void reset() { holder_.reset(); }

    // PERSISTENT RESERVE IN: the whole of the data. Nothing: no such action.
    std::optional<std::vector<std::byte>> in(std::uint8_t action) const;
    // PERSISTENT RESERVE OUT, with the CDB's bytes 1 and 2 and the parameter list.
    Outcome out(InitiatorId initiator, std::uint8_t action, std::uint8_t scope_and_type,
                std::span<const std::byte, parameter_bytes> parameters);

    bool operator==(const ScsiReservations&) const = default;
    template <class Archive>
    void fields(Archive& archive) {
        archive(keys_, generation_, type_, persistent_holder_, holder_);
    }

private:
    bool registered(InitiatorId initiator) const { return keys_.contains(initiator); }
    bool holds(InitiatorId initiator) const;
    static bool is_all_registrants(Type type) { return type >= Type::write_exclusive_all; }
    static bool is_for_registrants(Type type) { return type >= Type::write_exclusive_registrants; }

    Outcome register_key(InitiatorId initiator, std::uint64_t key);
    Outcome reserve_persistently(InitiatorId initiator, Type type);
    Outcome release_persistently(InitiatorId initiator, Type type);
    Outcome clear(InitiatorId initiator);
    Outcome preempt(InitiatorId initiator, std::uint64_t key, Type type);
    void end_reservation(InitiatorId by, Outcome& outcome);

    std::map<InitiatorId, std::uint64_t> keys_;  // registrations
    std::uint32_t generation_ = 0;
    Type type_ = Type::none;
    InitiatorId persistent_holder_ = 0;  // of a reservation that is not all registrants'
    std::optional<InitiatorId> holder_;  // by RESERVE
};

}  // namespace vmbus
