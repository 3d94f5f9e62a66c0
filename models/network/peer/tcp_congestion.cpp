#include "models/network/peer/tcp_congestion.h"

#include <algorithm>

namespace models {

void RetransmissionTimer::measured(sim::Time round_trip) {
    if (!measured_) {
        measured_ = true;
        smoothed_ = round_trip;
        variation_ = round_trip / 2;
        return;
    }
    const sim::Time off = smoothed_ > round_trip ? smoothed_ - round_trip : round_trip - smoothed_;
    variation_ = (variation_ * 3 + off) / 4;
    smoothed_ = (smoothed_ * 7 + round_trip) / 8;
}

sim::Time RetransmissionTimer::rto(sim::Time initial, sim::Time minimum, sim::Time maximum) const {
    const sim::Time granularity = sim::Time::ms(1);
    sim::Time rto = initial;
    if (measured_) rto = std::max(minimum, smoothed_ + std::max(granularity, variation_ * 4));
    return std::min(maximum, rto * (std::int64_t{1} << backoff_));
}

bool SackScoreboard::add(std::uint64_t begin, std::uint64_t end, std::uint64_t una, std::uint64_t max) {
    if (begin >= end || begin < una || end > max) return false;
    auto first = std::lower_bound(ranges_.begin(), ranges_.end(), begin,
                                  [](const auto& range, std::uint64_t at) { return range.second < at; });
    if (first != ranges_.end() && first->first <= begin && end <= first->second) return false;
    auto last = first;
    for (; last != ranges_.end() && last->first <= end; ++last) {
        begin = std::min(begin, last->first);
        end = std::max(end, last->second);
    }
    if (first == last) {
        if (ranges_.size() >= maximum_ranges) return false;
        ranges_.insert(first, {begin, end});
    } else {
        *first = {begin, end};
        ranges_.erase(first + 1, last);
    }
    return true;
}

void SackScoreboard::acknowledged(std::uint64_t una) {
    std::erase_if(ranges_, [una](const auto& range) { return range.second <= una; });
    if (!ranges_.empty()) ranges_.front().first = std::max(ranges_.front().first, una);
}

std::uint64_t SackScoreboard::bytes() const {
    std::uint64_t sum = 0;
    for (const auto& [begin, end] : ranges_) sum += end - begin;
    return sum;
}

std::vector<SackScoreboard::Gap> SackScoreboard::gaps(std::uint64_t from, std::uint64_t to, std::uint32_t mss) const {
    std::vector<Gap> gaps;
    std::uint64_t above = bytes();
    std::size_t ranges_above = ranges_.size();
    std::uint64_t at = from;
    for (const auto& [begin, end] : ranges_) {
        if (begin > at && at < to) {
            // RFC 6675, IsLost(): three ranges, or more than two full segments, lie above.
            const bool lost = ranges_above >= duplicate_threshold || above > (duplicate_threshold - 1) * mss;
            gaps.push_back({at, std::min(begin, to), lost});
        }
        at = std::max(at, end);
        above -= end - begin;
        --ranges_above;
    }
    if (at < to) gaps.push_back({at, to, false});
    return gaps;
}

std::pair<std::uint64_t, std::uint64_t> SackScoreboard::missing_from(std::uint64_t from, std::uint64_t to) const {
    for (const auto& [begin, end] : ranges_) {
        if (from < begin) return {from, std::min(begin, to)};
        from = std::max(from, end);
    }
    return {from, std::max(from, to)};
}

void CongestionState::grow(std::uint64_t acknowledged, std::uint32_t mss) {
    if (window < slow_start_threshold) {
        // RFC 5681, 3.1, with the byte counting of RFC 3465 and no limit on it.
        const std::uint64_t room = slow_start_threshold - window;
        window += std::min(acknowledged, room);
        acknowledged -= std::min(acknowledged, room);
    }
    credit += acknowledged;
    while (credit >= window) {
        credit -= window;
        window += mss;
    }
    window = std::min(window, largest_window);
}

void CongestionState::enter_recovery(std::uint64_t flight, std::uint64_t max, std::uint64_t una, std::uint32_t mss) {
    slow_start_threshold = std::max<std::uint64_t>(flight / 2, 2 * std::uint64_t{mss});
    window = slow_start_threshold;
    credit = 0;
    recovering = true;
    recover = max;
    retransmitted = una;
}

void CongestionState::time_out(std::uint64_t flight, std::uint64_t max, std::uint32_t mss, bool first) {
    if (first) slow_start_threshold = std::max<std::uint64_t>(flight / 2, 2 * std::uint64_t{mss});
    window = mss;
    credit = 0;
    duplicates = 0;
    recovering = false;
    no_retransmit_before = max;
}

}  // namespace models
