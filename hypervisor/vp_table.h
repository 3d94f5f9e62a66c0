// Virtual processors of the whole machine by name, without a search. Partitions have small numbers that follow one
// another, and processors of a partition likewise.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "hypervisor/ready_queue.h"

namespace hypervisor {

template <class T>
class VpTable final {
public:
    // Null: there is none.
    T* find(VpRef ref) const {
        if (ref.partition >= rows_.size() || ref.vp >= rows_[ref.partition].count) return nullptr;
        return cells_[rows_[ref.partition].first + ref.vp];
    }
    void set(VpRef ref, T* value) {
        if (ref.partition >= rows_.size()) rows_.resize(ref.partition + 1);
        Row& row = rows_[ref.partition];
        if (ref.vp >= row.count) grow(row, ref.vp + std::size_t{1});
        cells_[row.first + ref.vp] = value;
    }
    void clear() {
        rows_.clear();
        cells_.clear();
    }

private:
    struct Row {
        std::uint32_t first = 0;
        std::uint32_t count = 0;
    };

    // The last row grows where it is, another one moves behind it.
    void grow(Row& row, std::size_t count) {
        if (row.first + row.count != cells_.size()) {
            const auto first = static_cast<std::uint32_t>(cells_.size());
            cells_.resize(cells_.size() + row.count);
            std::copy_n(cells_.begin() + row.first, row.count, cells_.begin() + first);
            row.first = first;
        }
        cells_.resize(row.first + count);
        row.count = static_cast<std::uint32_t>(count);
    }

    // Those of a thousand partitions lie in a few pages.
    std::vector<Row> rows_;
    std::vector<T*> cells_;
};

}  // namespace hypervisor
