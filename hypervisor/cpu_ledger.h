// What each logical processor's time went to, by partition and cause. Everything that takes time of a processor names
// its cause when it takes it, so that the sums and the idle time are the time that has passed, to the picosecond.
//
// Causes are literals. The hypervisor's own begin with "hypervisor."; of any other, the partition is part of the name
// that is shown: "guest.3.network", or "root.network".
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include "hypervisor/page_ownership.h"
#include "sim/ledger.h"

namespace hypervisor {

// Causes by number, in the order of their first use.
class Causes final {
public:
    std::uint16_t number(sim::Cause cause);
    // Of a name that is no literal.
    std::uint16_t number_of(std::string_view name) { return find(name); }
    sim::Cause cause(std::uint16_t number) const { return names_[number].c_str(); }
    std::size_t count() const { return names_.size(); }

    template <class Archive>
    void fields(Archive& archive) {
        archive(names_);
        if constexpr (Archive::reading) places_ = {};
    }

private:
    std::uint16_t find(std::string_view name);

    // Where a literal lies says its number without a comparison. (Which place of this table it takes decides nothing.)
    struct Place {
        sim::Cause cause = nullptr;
        std::uint16_t number = 0;
    };
    std::deque<std::string> names_;
    std::array<Place, 256> places_{};
};

class CpuLedger final {
public:
    explicit CpuLedger(Causes& causes) : causes_(causes) {}

    // From `start` on this processor works for a partition. What passed since the end of what it did before was idle.
    void begin(PartitionId partition, sim::Time start);
    // It will soon: what is added to may be fetched meanwhile.
    void expect(PartitionId partition) const;
    void add(sim::Cause cause, sim::Time time);
    sim::Time end() const { return end_; }

    struct Entry {
        PartitionId partition = 0;
        sim::Cause cause = nullptr;
        sim::Time time;
    };
    // By partition, and in the order of first use within one.
    std::vector<Entry> entries() const;
    // All of it, and together with `idle` what has passed until `end`: the present, or later if it is ahead.
    struct Sums {
        sim::Time busy;
        sim::Time idle;
        sim::Time end;
    };
    Sums sums(sim::Time now) const;

    template <class Archive>
    void fields(Archive& archive) {
        archive(cells_, row_, end_, idle_);
        if constexpr (Archive::reading) current_ = 0;
    }

private:
    sim::Time& cell(PartitionId partition, std::uint16_t cause);

    Causes& causes_;
    // By partition, then by number of the cause: rows have room for as many causes as any has.
    std::vector<sim::Time> cells_;
    std::uint64_t row_ = 0;
    sim::Time end_;
    sim::Time idle_;
    PartitionId current_ = 0;
};

}  // namespace hypervisor
