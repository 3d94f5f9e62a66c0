// An allocator for tables with a row for each page of memory: all zeros, and the computer provides what is written. A
// table for terabytes costs what is used of it.
#pragma once

#include <cstddef>
#include <cstdlib>

#include "sim/check.h"

namespace cpu {

template <class T>
struct LazyZeros {
    using value_type = T;

    LazyZeros() = default;
    template <class U>
    LazyZeros(const LazyZeros<U>&) {}

    T* allocate(std::size_t n) {
        auto* const at = static_cast<T*>(std::calloc(n, sizeof(T)));
        VG_CHECK(at != nullptr, "no memory for a table of pages");
        return at;
    }
    void deallocate(T* at, std::size_t) { std::free(at); }
    // It is zero already: writing that would be the cost to be spared.
    template <class U>
    void construct(U*) {}

    friend bool operator==(const LazyZeros&, const LazyZeros&) { return true; }
};

}  // namespace cpu
