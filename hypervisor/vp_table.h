// Virtual processors of the whole machine by name, without a search. Partitions have small numbers that follow one
// another, and processors of a partition likewise.
#pragma once

#include <cstdint>
#include <vector>

#include "hypervisor/ready_queue.h"
#include "sim/working_set.h"

namespace hypervisor {

template <class T>
class VpTable final {
public:
    // Null: there is none.
    T* find(VpRef ref) const {
        if (ref.partition >= rows_.size() || ref.vp >= rows_[ref.partition].size()) return nullptr;
        return rows_[ref.partition][ref.vp];
    }
    void set(VpRef ref, T* value) {
        if (ref.partition >= rows_.size()) rows_.resize(ref.partition + 1);
        auto& row = rows_[ref.partition];
        if (ref.vp >= row.size()) row.resize(ref.vp + std::size_t{1});
        row[ref.vp] = value;
    }
    void clear() { rows_.clear(); }
    // What find() looks at. (Rows of partitions that come later move it.)
    void add_needs(VpRef ref, sim::WorkingSet& set) const {
        set.add(rows_[ref.partition]);
        set.add(rows_[ref.partition][ref.vp]);
    }

private:
    std::vector<std::vector<T*>> rows_;
};

}  // namespace hypervisor
