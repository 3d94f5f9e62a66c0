#include "hypervisor/cpu_ledger.h"

#include <algorithm>

#include "sim/check.h"
#include "sim/prefetch.h"

namespace hypervisor {

std::uint16_t Causes::number(sim::Cause cause) {
    Place& place = places_[reinterpret_cast<std::uintptr_t>(cause) / 8 % places_.size()];
    if (place.cause != cause) place = {cause, find(cause)};
    return place.number;
}

std::uint16_t Causes::find(std::string_view name) {
    const auto found = std::ranges::find(names_, name);
    if (found != names_.end()) return static_cast<std::uint16_t>(found - names_.begin());
    names_.emplace_back(name);
    return static_cast<std::uint16_t>(names_.size() - 1);
}

void CpuLedger::begin(PartitionId partition, sim::Time start) {
    current_ = partition;
    VG_CHECK(start >= end_, "a processor's time goes backwards");
    idle_ += start - end_;
    end_ = start;
}

void CpuLedger::expect(PartitionId partition) const {
    if (row_ != 0) sim::prefetch(cells_.data() + partition * row_, row_ * sizeof(sim::Time));
}

sim::Time& CpuLedger::cell(PartitionId partition, std::uint16_t cause) {
    constexpr std::uint64_t step = 8;
    if (cause >= row_) {
        const std::uint64_t longer = (cause / step + 1) * step;
        const std::uint64_t count = row_ != 0 ? cells_.size() / row_ : 0;
        std::vector<sim::Time> cells(count * longer);
        for (std::uint64_t p = 0; p < count; ++p) {
            std::copy_n(cells_.begin() + static_cast<std::ptrdiff_t>(p * row_), row_,
                        cells.begin() + static_cast<std::ptrdiff_t>(p * longer));
        }
        cells_ = std::move(cells);
        row_ = longer;
    }
    const std::uint64_t place = partition * row_ + cause;
    if (place >= cells_.size()) cells_.resize((partition + 1) * row_);
    return cells_[place];
}

void CpuLedger::add(sim::Cause cause, sim::Time time) {
    if (time == sim::Time::zero()) return;
    VG_CHECK(time > sim::Time::zero());
    cell(current_, causes_.number(cause)) += time;
    end_ += time;
}

std::vector<CpuLedger::Entry> CpuLedger::entries() const {
    std::vector<Entry> all;
    for (std::size_t place = 0; place < cells_.size(); ++place) {
        if (cells_[place] == sim::Time::zero()) continue;
        all.push_back({place / row_, causes_.cause(static_cast<std::uint16_t>(place % row_)), cells_[place]});
    }
    return all;
}

CpuLedger::Sums CpuLedger::sums(sim::Time now) const {
    Sums result;
    for (const sim::Time time : cells_) result.busy += time;
    result.end = std::max(now, end_);
    result.idle = idle_ + (result.end - end_);
    return result;
}

}  // namespace hypervisor
