#include "models/disk/space_map.h"

#include <algorithm>

namespace models {

bool SpaceMap::take(std::uint64_t begin, std::uint64_t count) {
    if (begin + count > taken_.size()) taken_.resize(begin + count);
    for (std::uint64_t unit = begin; unit < begin + count; ++unit) {
        if (taken_[unit]) return false;
    }
    for (std::uint64_t unit = begin; unit < begin + count; ++unit) taken_[unit] = true;
    return true;
}

void SpaceMap::release(std::uint64_t begin, std::uint64_t count) {
    for (std::uint64_t unit = begin; unit < begin + count && unit < taken_.size(); ++unit) taken_[unit] = false;
    search_from_ = std::min(search_from_, begin);
}

std::optional<std::uint64_t> SpaceMap::find_free(std::uint64_t count) {
    std::uint64_t run = 0;
    bool only_taken = true;
    for (std::uint64_t unit = search_from_; unit < taken_.size(); ++unit) {
        run = taken_[unit] ? 0 : run + 1;
        if (run == count) return unit + 1 - count;
        if (run != 0) only_taken = false;
        if (only_taken) search_from_ = unit + 1;
    }
    return std::nullopt;
}

std::uint64_t SpaceMap::count_free() const {
    return static_cast<std::uint64_t>(std::count(taken_.begin(), taken_.end(), false));
}

}  // namespace models
