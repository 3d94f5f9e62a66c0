// Where a request's time went. Every stage that handles a frame or a request says "until this instant it was mine": the
// time since the last such mark goes to that stage's cause. A stage that knows when something before it ended marks
// that first, with the earlier instant: "until the signal arrived", "until my turn on the processor". So the causes of
// a request add up to its latency exactly.
//
// It is an observer: off unless asked for, draws nothing, traces nothing, changes no time. Stages ask on() first.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "sim/agenda.h"
#include "sim/ledger.h"
#include "sim/time.h"

namespace sim {

// Of a request, which its frames carry; none is 0.
using RequestId = std::uint64_t;

// A guest's stage has two names: on the side that asked, and on the side that answers.
struct GuestCause {
    Cause client;
    Cause server;
};
enum class Travel : std::uint8_t { sent, received };

class Journeys {
public:
    // Finds a request's id in a frame that carries its last byte; else 0.
    using Identify = RequestId (*)(std::span<const std::byte> frame);
    using Group = std::uint32_t;

    struct CauseSum {
        Time time;
        std::uint64_t count = 0;  // marks that took time
        bool operator==(const CauseSum&) const = default;
        template <class Archive>
        void fields(Archive& archive) {
            archive(time, count);
        }
    };
    // Of the requests that have ended. The causes' times add up to `total`.
    struct Sums {
        std::uint64_t count = 0;
        Time total;
        std::map<std::string, CauseSum, std::less<>> causes;
        bool operator==(const Sums&) const = default;
        template <class Archive>
        void fields(Archive& archive) {
            archive(count, total, causes);
        }
    };

    explicit Journeys(const Agenda& agenda) : agenda_(agenda) {}

    bool on() const { return on_; }
    void switch_on(Identify finder) {
        on_ = true;
        identify_ = finder;
    }

    // Whose sums a request goes to.
    Group add_group() { return next_group_++; }
    Sums sums(Group group) const;
    // Forgets those that have ended.
    void reset(Group group) { ended_.erase(group); }

    void begin(RequestId id, Group group, Time at);
    // It has been answered: what follows is the way back.
    void turn(RequestId id);
    // Until that instant, which a stage may know beforehand; if earlier than the last mark, it takes nothing.
    void mark(RequestId id, Cause cause, Time until);
    void mark(RequestId id, const GuestCause& cause, Travel travel, Time until);
    void end(RequestId id, Cause rest);
    // It will never end.
    void forget(RequestId id) { open_.erase(id); }

    // The same for the request whose last byte that frame carries, if any.
    RequestId identify(std::span<const std::byte> frame) const { return on_ ? identify_(frame) : 0; }
    void mark_frame(std::span<const std::byte> frame, Cause cause, Time until) {
        if (const RequestId id = identify(frame); id != 0) mark(id, cause, until);
    }
    void mark_frame(std::span<const std::byte> frame, const GuestCause& cause, Travel travel, Time until) {
        if (const RequestId id = identify(frame); id != 0) mark(id, cause, travel, until);
    }
    std::size_t open_requests() const { return open_.size(); }

    template <class Archive>
    void fields(Archive& archive) {
        archive(names_, open_, ended_);
        if constexpr (Archive::reading) index_names();
    }

private:
    struct Part {
        std::uint32_t cause = 0;
        Time time;
        std::uint64_t count = 0;
        template <class Archive>
        void fields(Archive& archive) {
            archive(cause, time, count);
        }
    };
    struct Open {
        Group group = 0;
        bool back = false;
        Time begun;
        Time last;
        std::vector<Part> parts;  // one for each cause, in the order in which they came
        template <class Archive>
        void fields(Archive& archive) {
            archive(group, back, begun, last, parts);
        }
    };
    void add(Open& request, Cause cause, Time until);
    std::uint32_t name(Cause cause);
    void index_names();

    const Agenda& agenda_;
    bool on_ = false;
    Identify identify_ = nullptr;
    Group next_group_ = 0;
    std::vector<std::string> names_;
    std::map<std::string, std::uint32_t, std::less<>> by_name_;
    std::map<RequestId, Open> open_;
    struct Ended {
        std::uint64_t count = 0;
        Time total;
        std::vector<CauseSum> causes;  // by number of name
        template <class Archive>
        void fields(Archive& archive) {
            archive(count, total, causes);
        }
    };
    std::map<Group, Ended> ended_;
};

}  // namespace sim
