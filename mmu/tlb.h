// Translation lookaside buffers of a logical processor: first level for instructions and for data, a shared second
// level (SDM volume 3A, 4.10; 28.4 for the tags of virtual machines).
//
// An entry belongs to a context: second level, virtual processor (VPID or ASID), process (PCID), or all processes when
// the page is global. It keeps the rights that the tables grant, not a verdict: CR0.WP, SMEP, SMAP and AC may change
// without a flush. A hit that does not allow the access is a miss, and the walk finds the exact fault.
#pragma once

#include <array>
#include <vector>

#include "mmu/associative_array.h"
#include "mmu/paging.h"
#include "mmu/tlb_flush.h"

namespace mmu {

// One translation as the TLB holds it: the frame, and in its unused bits the rights.
class TlbEntry final {
public:
    static constexpr u64 readable = 1;      // the second level lets the page be read
    static constexpr u64 writable = 2;      // the guest's tables let it be written
    static constexpr u64 user = 4;          // the guest's tables give it to user mode
    static constexpr u64 executable = 8;    // both let it be fetched from
    static constexpr u64 write_ready = 16;  // the second level lets it be written, and every dirty flag is set
    static constexpr u64 rights_mask = 31;

    TlbEntry() = default;
    // memory_type: any three bits per level the caller wants back; guest_shift: size of the guest's page.
    TlbEntry(u64 frame, u64 rights, u8 guest_type, u8 host_type, u8 guest_shift)
        : bits_((frame & pte::address) | (rights & rights_mask) | u64{guest_type & 7u} << 5 |
                u64{host_type & 15u} << 8 | u64{guest_shift} << 56) {}

    [[nodiscard]] u64 frame() const { return bits_ & pte::address; }
    [[nodiscard]] u64 rights() const { return bits_ & rights_mask; }
    [[nodiscard]] u8 guest_type() const { return bits_ >> 5 & 7; }
    [[nodiscard]] u8 host_type() const { return bits_ >> 8 & 15; }
    [[nodiscard]] u8 guest_shift() const { return static_cast<u8>(bits_ >> 56 & 63); }
    // The part of the page that one entry of the given size covers.
    [[nodiscard]] TlbEntry part(u64 gva, u8 page_shift, u8 entry_shift) const {
        TlbEntry entry = *this;
        entry.bits_ = (bits_ & ~pte::address) | (frame() + (gva & bit_range(entry_shift, page_shift - 1u)));
        return entry;
    }

    bool operator==(const TlbEntry&) const = default;
    template <class A>
    void fields(A& a) {
        a(bits_);
    }

private:
    u64 bits_ = 0;
};

// For each kind of access, which combinations of TlbEntry's rights allow it: bit r of a mask. All of it is made at
// compile time, so that a change of state picks a table and a hit costs a shift.
class AccessMasks final {
public:
    [[nodiscard]] static const AccessMasks& of(const PagingState& state);

    constexpr explicit AccessMasks(const PagingState& state) {
        for (const bool implicit : {false, true}) {
            for (const bool user : {false, true}) {
                for (const Access access : {Access::read, Access::write, Access::execute}) {
                    const AccessKind kind{access, user, implicit};
                    for (u64 rights = 0; rights <= TlbEntry::rights_mask; ++rights) {
                        masks_[index_of(kind)] |= static_cast<u32>(allows(state, rights, kind)) << rights;
                    }
                }
            }
        }
    }
    constexpr AccessMasks() = default;  // allows nothing

    [[nodiscard]] bool allow(u64 rights, AccessKind kind) const { return masks_[index_of(kind)] >> rights & 1; }

private:
    static constexpr unsigned index_of(AccessKind kind) {
        return static_cast<unsigned>(kind.access) * 4 + (kind.user ? 2u : 0u) + (kind.implicit_supervisor ? 1u : 0u);
    }
    static constexpr bool allows(const PagingState& state, u64 rights, AccessKind kind) {
        const Rights granted{(rights & TlbEntry::writable) != 0, (rights & TlbEntry::user) != 0,
                             (rights & TlbEntry::executable) != 0};
        if (!rights_allow(state, granted, kind)) return false;
        switch (kind.access) {
            case Access::read:
                return rights & TlbEntry::readable;
            case Access::write:
                return rights & TlbEntry::write_ready;
            case Access::execute:
                return rights & TlbEntry::executable;
        }
        return false;
    }

    std::array<u32, 12> masks_{};
};

namespace detail {

// What rights_allow() reads of the state, as an index.
[[nodiscard]] constexpr unsigned masks_index(const PagingState& state) {
    return (state.cr0 & cr0::pg ? 1u : 0u) | (state.cr0 & cr0::wp ? 2u : 0u) | (state.cr4 & cr4::smep ? 4u : 0u) |
           (state.cr4 & cr4::smap ? 8u : 0u) | (state.ac ? 16u : 0u);
}

inline constexpr std::array<AccessMasks, 32> access_masks = [] {
    std::array<AccessMasks, 32> all;
    for (unsigned i = 0; i < 32; ++i) {
        PagingState state;
        state.cr0 = (i & 1 ? cr0::pg : 0) | (i & 2 ? cr0::wp : 0);
        state.cr4 = (i & 4 ? cr4::smep : 0) | (i & 8 ? cr4::smap : 0);
        state.ac = i & 16;
        all[masks_index(state)] = AccessMasks(state);
    }
    return all;
}();

}  // namespace detail

inline const AccessMasks& AccessMasks::of(const PagingState& state) {
    return detail::access_masks[detail::masks_index(state)];
}

// One array and the page sizes it can hold.
struct TlbArrayConfig {
    ArrayShape shape;
    bool pages_4k = true;
    bool pages_2m = false;
    bool pages_1g = false;
};

class TlbArray final {
public:
    TlbArray(const TlbArrayConfig& config, const char* name) : array_(config.shape, name) {
        if (config.pages_4k) sizes_[count_++] = {shift_4k, 0};
        if (config.pages_2m) sizes_[count_++] = {shift_2m, 0};
        if (config.pages_1g) sizes_[count_++] = {shift_1g, 0};
    }

    static constexpr u64 key_of(u64 gva, u8 shift) { return gva >> shift | u64{shift} << 56; }
    static constexpr u8 shift_of(u64 key) { return static_cast<u8>(key >> 56); }

    using Slot = AssociativeArray<TlbEntry>::Slot;
    struct Hit {
        Slot* slot = nullptr;
        u8 shift = 0;

        [[nodiscard]] const TlbEntry& entry() const { return slot->payload; }
    };
    [[nodiscard]] Hit find(u64 gva, u64 tag, u64 global_tag) {
        for (unsigned i = 0; i < count_; ++i) {
            if (sizes_[i].entries == 0) continue;
            const u8 shift = sizes_[i].shift;
            if (Slot* slot = array_.find(gva >> shift, key_of(gva, shift), tag, global_tag)) return {slot, shift};
        }
        return {};
    }

    void touch(Slot& slot) { array_.touch(slot); }

    // The largest size this array can hold that is not larger than the page; 0 when there is none.
    [[nodiscard]] u8 best_size(u8 page_shift) const {
        for (unsigned i = count_; i > 0; --i) {
            if (sizes_[i - 1].shift <= page_shift) return sizes_[i - 1].shift;
        }
        return 0;
    }

    void insert(u64 gva, u8 shift, u64 tag, const TlbEntry& entry) {
        const u64 displaced = array_.insert(gva >> shift, key_of(gva, shift), tag, entry);
        count(displaced, -1);
        count(key_of(gva, shift), +1);
        if (entry.guest_shift() > shift) fractured_ = true;
    }

    void flush(const TlbFlush& what);

    [[nodiscard]] const AssociativeArray<TlbEntry>& array() const { return array_; }

    template <class A>
    void fields(A& a) {
        a(array_, fractured_);
        if constexpr (A::reading) recount();
    }

private:
    struct Size {
        u8 shift = 0;
        u32 entries = 0;  // held now
    };
    void count(u64 key, int change) {
        if (key == AssociativeArray<TlbEntry>::empty_key) return;
        for (Size& size : sizes_) {
            if (size.shift == shift_of(key)) size.entries += static_cast<u32>(change);
        }
    }
    void recount();

    AssociativeArray<TlbEntry> array_;
    std::array<Size, 3> sizes_{};
    unsigned count_ = 0;
    // Some entry may cover only a part of the guest's page: a flush by address then looks at all sets.
    bool fractured_ = false;
};

struct TlbConfig {
    std::vector<TlbArrayConfig> l1_instruction;
    std::vector<TlbArrayConfig> l1_data;
    std::vector<TlbArrayConfig> l2;

    // Intel Sandy Bridge (Optimization Reference Manual 248966, table 2-17 of the 2012 edition).
    [[nodiscard]] static TlbConfig sandy_bridge();
};

enum class TlbLevel : u8 { l1, l2, miss };

class Tlb final {
public:
    explicit Tlb(const TlbConfig& config);

    struct Result {
        TlbLevel level = TlbLevel::miss;
        u8 shift = 0;
        TlbEntry entry;
    };

    // The tags of the context that look-ups come from.
    struct Tags {
        u64 process = 0;
        u64 global = TlbContext::global_bit;

        Tags() = default;
        explicit Tags(const TlbContext& context) : process(context.tag()), global(context.global_tag()) {}
    };

    // The first level's answer on the fast path; the second level's is copied into the first. Inlined by force: a call
    // would pass `kind` through memory, which costs more than the look-up.
    [[nodiscard, gnu::always_inline]] Result find(u64 gva, const Tags& tags, const AccessMasks& masks,
                                                  AccessKind kind) {
        FirstLevel& level = kind.access == Access::execute ? l1_instruction_ : l1_data_;
        const Prediction& predicted = level.predictions.at(gva);
        TlbArray::Slot* const slot = predicted.slot;
        if (slot != nullptr && slot->key == (gva >> predicted.shift | predicted.key_size) &&
            (slot->context == tags.process || slot->context == tags.global)) [[likely]] {
            predicted.array->touch(*slot);
            if (masks.allow(slot->payload.rights(), kind)) [[likely]] {
                return {TlbLevel::l1, predicted.shift, slot->payload};
            }
            return {};
        }
        return find_slowly(level, gva, tags, masks, kind);
    }
    [[nodiscard]] Result find_in(const TlbContext& context, u64 gva, const AccessMasks& masks, AccessKind kind) {
        return find(gva, Tags(context), masks, kind);
    }

    // Puts a translation into both levels. `page_shift` is the largest size for which it holds. Larger pages than an
    // array can hold go in by parts.
    void insert(u64 gva, u8 page_shift, const TlbContext& context, bool global, const TlbEntry& entry, Access access);

    void flush(const TlbFlush& what);

    template <class Visit>
    void for_each_array(Visit&& visit) const {
        for (const auto* level : {&l1_instruction_.arrays, &l1_data_.arrays, &l2_}) {
            for (const TlbArray& array : *level) visit(array);
        }
    }

    template <class A>
    void fields(A& a) {
        for (auto* level : {&l1_instruction_.arrays, &l1_data_.arrays, &l2_}) {
            for (TlbArray& array : *level) a(array);
        }
        l1_instruction_.predictions = {};
        l1_data_.predictions = {};
    }

private:
    // Where the simulator expects to find a page: it saves looking through the ways and sizes, and has no part in what
    // is modelled. A slot that holds something else by now shows by its key.
    struct Prediction {
        TlbArray::Slot* slot = nullptr;
        TlbArray* array = nullptr;
        u64 key_size = 0;  // the key's part that tells the page size
        u8 shift = 0;
    };
    class Predictions {
    public:
        Predictions() = default;
        Predictions(const Predictions&) {}  // never point into another TLB
        Predictions& operator=(const Predictions&) {
            entries_ = {};
            return *this;
        }
        [[nodiscard]] Prediction& at(u64 gva) { return entries_[gva >> shift_4k & 63]; }

    private:
        std::array<Prediction, 64> entries_{};
    };
    struct FirstLevel {
        std::vector<TlbArray> arrays;
        Predictions predictions;
    };

    [[nodiscard]] Result find_slowly(FirstLevel& level, u64 gva, const Tags& tags, const AccessMasks& masks,
                                     AccessKind kind);
    static void insert_into(std::vector<TlbArray>& level, u64 gva, u8 page_shift, u64 tag, const TlbEntry& entry);
    static void insert_first(FirstLevel& level, u64 gva, u8 page_shift, u64 tag, const TlbEntry& entry);

    FirstLevel l1_instruction_;
    FirstLevel l1_data_;
    std::vector<TlbArray> l2_;
};

}  // namespace mmu
