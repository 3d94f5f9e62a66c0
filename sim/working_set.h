// Where that lies which somebody needs each time he acts again after a while. It is fetched into the simulating
// computer's caches all at once when he is called; what is missed line by line is waited for line by line, and of a
// thousand guests nothing is still there from the last time. The simulated machine is the same with it and without.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "sim/prefetch.h"

namespace sim {

class WorkingSet final {
public:
    // It may end before this set does: what is no more there is fetched in vain.
    void add(const void* from, std::size_t bytes) {
        const auto begin = reinterpret_cast<std::uintptr_t>(from);
        for (std::uintptr_t at = begin & ~(line_bytes - 1); at < begin + bytes && lines_.size() < most;
             at += line_bytes) {
            if (std::ranges::find(lines_, at) == lines_.end()) lines_.push_back(at);
        }
    }
    template <class T>
    void add(const T& object) {
        add(&object, sizeof object);
    }
    void clear() { lines_.clear(); }
    void fetch() const {
        for (const std::uintptr_t at : lines_) prefetch(reinterpret_cast<const void*>(at));
    }

private:
    static constexpr std::uintptr_t line_bytes = 64;
    static constexpr std::size_t most = 256;
    std::vector<std::uintptr_t> lines_;
};

}  // namespace sim
