// A hierarchy of caches as a timing model sees it: which level answers an access to a line, with true LRU in each set.
// Tags only; data is always memory's. Inclusive on the way in: a line that is fetched enters every level above.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <vector>

#include "sim/archive.h"
#include "sim/check.h"

namespace cpu {

inline constexpr unsigned cache_line_shift = 6;

struct CacheShape {
    std::uint32_t bytes = 0;
    std::uint32_t ways = 1;
};

// One set-associative array. A set is kept in order of use, most recent first.
class CacheArray final {
public:
    explicit CacheArray(CacheShape shape) : ways_(shape.ways) {
        const std::uint64_t lines = shape.bytes >> cache_line_shift;
        VG_CHECK(shape.ways > 0 && lines % shape.ways == 0);
        sets_ = lines / shape.ways;
        VG_CHECK((sets_ & (sets_ - 1)) == 0);
        tags_.assign(lines, empty);
    }

    // Whether the line was there; it is afterwards, as the most recent.
    bool access(std::uint64_t line) {
        std::uint64_t* set = tags_.data() + (line & (sets_ - 1)) * ways_;
        if (set[0] == line) [[likely]]
            return true;
        std::uint32_t way = 1;
        while (way < ways_ && set[way] != line) ++way;
        const bool hit = way < ways_;
        std::memmove(set + 1, set, (hit ? way : ways_ - 1) * sizeof(std::uint64_t));
        set[0] = line;
        return hit;
    }
    void clear() { std::fill(tags_.begin(), tags_.end(), empty); }

    template <class Archive>
    void fields(Archive& archive) {
        archive(tags_);
    }

private:
    static constexpr std::uint64_t empty = ~std::uint64_t{0};
    std::uint32_t ways_;
    std::uint64_t sets_ = 0;
    std::vector<std::uint64_t> tags_;
};

// Where an access was answered.
enum class CacheLevel : std::uint8_t { l1, l2, l3, memory };

struct CacheHierarchyConfig {
    CacheShape l1_instruction{32 << 10, 8};
    CacheShape l1_data{32 << 10, 8};
    CacheShape l2{256 << 10, 8};
    CacheShape l3{16 << 20, 16};  // shared by the logical processors of the host
    // Beyond what a hit in the first level costs, which is in the instruction's own cost.
    std::array<std::int64_t, 4> extra_ps{};  // by CacheLevel
};

// The private levels of one logical processor; the last level is the host's.
class CacheHierarchy final {
public:
    CacheHierarchy(const CacheHierarchyConfig& config, CacheArray& last_level)
        : l1_instruction_(config.l1_instruction), l1_data_(config.l1_data), l2_(config.l2), l3_(last_level) {}

    CacheLevel data(std::uint64_t line) { return l1_data_.access(line) ? CacheLevel::l1 : beyond(line); }
    CacheLevel instruction(std::uint64_t line) { return l1_instruction_.access(line) ? CacheLevel::l1 : beyond(line); }

    template <class Archive>
    void fields(Archive& archive) {
        archive(l1_instruction_, l1_data_, l2_);
    }

private:
    CacheLevel beyond(std::uint64_t line) {
        if (l2_.access(line)) return CacheLevel::l2;
        return l3_.access(line) ? CacheLevel::l3 : CacheLevel::memory;
    }

    CacheArray l1_instruction_;
    CacheArray l1_data_;
    CacheArray l2_;
    CacheArray& l3_;
};

}  // namespace cpu
