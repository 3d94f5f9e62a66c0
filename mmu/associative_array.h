// A set-associative array with tags: the storage of every TLB and paging-structure cache.
//
// Replacement is true least-recently-used within a set, an empty way first (the lowest); all of it is a function of the
// sequence of calls, so that runs repeat. Hardware mostly approximates this with a tree of bits.
#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include "mmu/system_memory.h"
#include "sim/check.h"

namespace mmu {

struct ArrayShape {
    u32 entries = 0;
    u32 ways = 0;  // entries / ways, the number of sets, is a power of two

    bool operator==(const ArrayShape&) const = default;
};

template <class Payload>
class AssociativeArray final {
public:
    static constexpr u64 empty_key = ~u64{0};

    struct Slot {
        u64 key = empty_key;
        u64 context = 0;
        u64 last_use = 0;
        Payload payload{};

        bool operator==(const Slot&) const = default;
        template <class A>
        void fields(A& a) {
            a(key, context, last_use, payload);
        }
    };

    AssociativeArray() = default;
    AssociativeArray(ArrayShape shape, const char* name) : ways_(shape.ways) {
        const u32 sets = shape.ways == 0 ? 0 : shape.entries / shape.ways;
        if (shape.entries != 0 && (shape.ways == 0 || sets * shape.ways != shape.entries || (sets & (sets - 1)) != 0)) {
            throw sim::UserError(std::string(name) + ": " + std::to_string(shape.entries) + " entries in " +
                                 std::to_string(shape.ways) +
                                 " ways do not make a power of two of sets; change one of the two");
        }
        slots_.resize(shape.entries);
        set_mask_ = sets == 0 ? 0 : sets - 1;
    }

    [[nodiscard]] u32 capacity() const { return static_cast<u32>(slots_.size()); }
    [[nodiscard]] u32 ways() const { return ways_; }
    [[nodiscard]] u32 size() const { return size_; }
    [[nodiscard]] const std::vector<Slot>& slots() const { return slots_; }

    // The slot of `key` in either context, or nullptr. Counts as a use.
    [[nodiscard]] Slot* find(u64 index, u64 key, u64 context, u64 other_context) {
        if (size_ == 0) return nullptr;
        Slot* const set = &slots_[static_cast<std::size_t>(index & set_mask_) * ways_];
        for (u32 way = 0; way < ways_; ++way) {
            if (set[way].key == key && (set[way].context == context || set[way].context == other_context)) {
                set[way].last_use = ++clock_;
                return &set[way];
            }
        }
        return nullptr;
    }

    // The slot of `key`, or nullptr, without counting as a use.
    [[nodiscard]] Slot* peek(u64 index, u64 key, u64 context) {
        if (size_ == 0) return nullptr;
        Slot* const set = &slots_[static_cast<std::size_t>(index & set_mask_) * ways_];
        for (u32 way = 0; way < ways_; ++way) {
            if (set[way].key == key && set[way].context == context) return &set[way];
        }
        return nullptr;
    }

    // A use of a slot that the caller has recognised by itself.
    void touch(Slot& slot) { slot.last_use = ++clock_; }

    // Puts an entry in, in the place of one with the same key and context, or of an empty or the least recently used
    // one. Returns the key it displaced, empty_key for none.
    u64 insert(u64 index, u64 key, u64 context, const Payload& payload) {
        if (slots_.empty()) return empty_key;
        Slot* const set = &slots_[static_cast<std::size_t>(index & set_mask_) * ways_];
        // Without a branch for each way: which is the oldest nobody can guess.
        u64 oldest = ~u64{0};
        u32 victim = 0;
        for (u32 way = 0; way < ways_; ++way) {
            const Slot& slot = set[way];
            if (slot.key == key && slot.context == context) {
                victim = way;
                break;
            }
            const u64 used = slot.key == empty_key ? 0 : slot.last_use;
            victim = used < oldest ? way : victim;
            oldest = std::min(used, oldest);
        }
        const u64 displaced = set[victim].key;
        if (displaced == empty_key) ++size_;
        set[victim] = {key, context, ++clock_, payload};
        return displaced;
    }

    // Removes the slots that the predicate names.
    template <class Predicate>
    void erase_if(Predicate&& matches) {
        if (size_ == 0) return;
        for (Slot& slot : slots_) {
            if (slot.key != empty_key && matches(slot)) {
                slot.key = empty_key;
                --size_;
            }
        }
    }
    // The same within one set.
    template <class Predicate>
    void erase_in_set_if(u64 index, Predicate&& matches) {
        if (size_ == 0) return;
        Slot* const set = &slots_[static_cast<std::size_t>(index & set_mask_) * ways_];
        for (u32 way = 0; way < ways_; ++way) {
            if (set[way].key != empty_key && matches(set[way])) {
                set[way].key = empty_key;
                --size_;
            }
        }
    }

    template <class A>
    void fields(A& a) {
        const std::size_t capacity_before = slots_.size();
        a(slots_, clock_);
        if constexpr (A::reading) {
            if (slots_.size() != capacity_before) {
                throw sim::UserError("checkpoint: a TLB has another size than the machine it is restored to");
            }
            size_ = 0;
            for (const Slot& slot : slots_) size_ += slot.key != empty_key ? 1 : 0;
        }
    }

private:
    std::vector<Slot> slots_;
    u64 set_mask_ = 0;
    u64 clock_ = 0;
    u32 ways_ = 0;
    u32 size_ = 0;
};

}  // namespace mmu
