// When to send again and how much may be under way: retransmission time-out (RFC 6298), which parts the other side has
// (RFC 2018), and NewReno with and without selective acknowledgements (RFC 5681, RFC 6582, RFC 6675). Offsets count the
// sequence space from the SYN, which is 0.
#pragma once

#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "sim/time.h"

namespace models {

class RetransmissionTimer final {
public:
    void measured(sim::Time round_trip);
    // What to wait, backed off.
    sim::Time rto(sim::Time initial, sim::Time minimum, sim::Time maximum) const;
    void back_off() { backoff_ += backoff_ < 16 ? 1 : 0; }
    void progress() { backoff_ = 0; }
    sim::Time smoothed() const { return smoothed_; }

    template <class Archive>
    void fields(Archive& archive) {
        archive(measured_, smoothed_, variation_, backoff_);
    }

private:
    bool measured_ = false;
    sim::Time smoothed_;
    sim::Time variation_;
    std::uint32_t backoff_ = 0;
};

// What the other side says it has beyond the acknowledgement.
class SackScoreboard final {
public:
    static constexpr std::size_t maximum_ranges = 256;
    static constexpr std::uint64_t duplicate_threshold = 3;

    // True if it told something new. A range outside [una, max) is a lie and left out.
    bool add(std::uint64_t begin, std::uint64_t end, std::uint64_t una, std::uint64_t max);
    void acknowledged(std::uint64_t una);
    void clear() { ranges_.clear(); }
    bool empty() const { return ranges_.empty(); }
    std::uint64_t bytes() const;
    std::uint64_t highest() const { return ranges_.empty() ? 0 : ranges_.back().second; }

    // Parts that the other side has not, from `from` to `to`, each with the answer whether it counts as lost: three
    // segments above it have arrived.
    struct Gap {
        std::uint64_t begin = 0;
        std::uint64_t end = 0;
        bool lost = false;
    };
    std::vector<Gap> gaps(std::uint64_t from, std::uint64_t to, std::uint32_t mss) const;
    // The first byte at or after `from` that the other side has not, and where what it has begins again.
    std::pair<std::uint64_t, std::uint64_t> missing_from(std::uint64_t from, std::uint64_t to) const;

    template <class Archive>
    void fields(Archive& archive) {
        archive(ranges_);
    }

private:
    std::vector<std::pair<std::uint64_t, std::uint64_t>> ranges_;  // sorted, apart
};

struct CongestionState {
    std::uint64_t window = 0;
    std::uint64_t slow_start_threshold = ~std::uint64_t{0};
    std::uint64_t credit = 0;  // acknowledged bytes on the way to one more segment
    std::uint32_t duplicates = 0;
    bool recovering = false;
    std::uint64_t recover = 0;               // recovery ends when this is acknowledged
    std::uint64_t retransmitted = 0;         // in recovery: up to here everything lost was sent again
    std::uint64_t no_retransmit_before = 0;  // RFC 6582, 4: after a time-out, no fast retransmit up to here

    template <class Archive>
    void fields(Archive& archive) {
        archive(window, slow_start_threshold, credit, duplicates, recovering, recover, retransmitted,
                no_retransmit_before);
    }
    static constexpr std::uint64_t largest_window = std::uint64_t{1} << 30;
    void grow(std::uint64_t acknowledged, std::uint32_t mss);
    void enter_recovery(std::uint64_t flight, std::uint64_t max, std::uint64_t una, std::uint32_t mss);
    void time_out(std::uint64_t flight, std::uint64_t max, std::uint32_t mss, bool first);
};

}  // namespace models
