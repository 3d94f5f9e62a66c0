#include "hypervisor/cpu_ledger.h"

#include <algorithm>

#include "sim/check.h"

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
    if (rows_.size() <= partition) rows_.resize(partition + 1);
    current_ = partition;
    VG_CHECK(start >= end_, "a processor's time goes backwards");
    idle_ += start - end_;
    end_ = start;
}

void CpuLedger::add(sim::Cause cause, sim::Time time) {
    if (time == sim::Time::zero()) return;
    VG_CHECK(current_ < rows_.size() && time > sim::Time::zero());
    const std::uint16_t number = causes_.number(cause);
    Row& row = rows_[current_];
    if (row.size() <= number) row.resize(number + std::size_t{1});
    row[number] += time;
    end_ += time;
}

std::vector<CpuLedger::Entry> CpuLedger::entries() const {
    std::vector<Entry> all;
    for (PartitionId partition = 0; partition < rows_.size(); ++partition) {
        const Row& row = rows_[partition];
        for (std::size_t n = 0; n < row.size(); ++n) {
            if (row[n] == sim::Time::zero()) continue;
            all.push_back({partition, causes_.cause(static_cast<std::uint16_t>(n)), row[n]});
        }
    }
    return all;
}

CpuLedger::Sums CpuLedger::sums(sim::Time now) const {
    Sums result;
    for (const Row& row : rows_) {
        for (const sim::Time time : row) result.busy += time;
    }
    result.end = std::max(now, end_);
    result.idle = idle_ + (result.end - end_);
    return result;
}

}  // namespace hypervisor
