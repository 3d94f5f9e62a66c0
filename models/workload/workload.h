// Something that a guest or a host does, and how it fared: operations, bytes, latency, and where the time went. What
// was before reset() does not count; an operation counts when it ends.
#pragma once

#include <cstdint>

#include "sim/histogram.h"
#include "sim/journey.h"
#include "sim/scope.h"

namespace models {

class Workload;

// Who is told that an operation has ended.
class WorkloadObserver {
public:
    virtual void operation_ended(Workload& workload) = 0;

protected:
    ~WorkloadObserver() = default;
};

class Workload {
public:
    struct Throughput {
        std::uint64_t count = 0;
        std::uint64_t bytes = 0;
        sim::Time window;

        std::uint64_t per_second() const { return rate(count); }
        std::uint64_t bits_per_second() const { return rate(bytes * 8); }

    private:
        std::uint64_t rate(std::uint64_t n) const;
    };

    virtual ~Workload() = default;
    Workload(const Workload&) = delete;
    Workload& operator=(const Workload&) = delete;

    virtual void start() = 0;
    // No operation begins any more.
    virtual void stop() = 0;
    // One operation, now. False: it cannot be taken.
    [[nodiscard]] virtual bool issue() { return false; }
    void observe(WorkloadObserver& observer) { observer_ = &observer; }

    // Measuring begins anew.
    virtual void reset();
    virtual const sim::Histogram& latency() const { return state_.latency; }
    virtual Throughput throughput() const;
    sim::Journeys::Sums attribution() const { return scope_.journeys().sums(group_); }
    // That did not come to an end: a datagram or its answer was lost, too many waited.
    std::uint64_t failures() const { return state_.failures; }

protected:
    explicit Workload(const sim::Scope& scope) : scope_(scope), group_(scope.journeys().add_group()) {}

    sim::RequestId next_request() { return (std::uint64_t{group_} + 1) << 40 | ++state_.requests; }
    void ended(sim::Time begun, std::uint64_t bytes);
    void moved(std::uint64_t bytes) { state_.bytes += bytes; }
    void failed() {
        ++state_.failures;
        if (observer_ != nullptr) observer_->operation_ended(*this);
    }
    const sim::Scope& scope() const { return scope_; }
    sim::Journeys::Group group() const { return group_; }

    struct State {
        sim::Histogram latency;
        std::uint64_t count = 0;
        std::uint64_t bytes = 0;
        std::uint64_t failures = 0;
        std::uint64_t requests = 0;
        sim::Time since;
        template <class Archive>
        void fields(Archive& archive) {
            archive(latency, count, bytes, failures, requests, since);
        }
    };
    State state_;

private:
    sim::Scope scope_;
    sim::Journeys::Group group_;
    WorkloadObserver* observer_ = nullptr;
};

}  // namespace models
