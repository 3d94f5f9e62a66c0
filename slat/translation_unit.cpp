// TLB misses: the cached two-dimensional walk. See translation_unit.h.
#include "slat/translation_unit.h"

#include <algorithm>

namespace slat {

// The guest walk's port and recorder, over the nested caches. `use_caches` false walks from both roots and only fills.
struct TranslationUnit::Walker {
    TranslationUnit& unit;
    bool use_caches;
    bool leave_flags;
    bool used_caches = false;
    u64 tag = mmu::TlbContext{unit.context_.slat, 0, 0}.tag();  // of the second level alone
    Translation nested{};
    u16 references = 0;  // nested
    u16 updates = 0;     // nested
    // The table that the paging-structure cache led to: its place is known without the second level.
    u64 known_gpa = ~u64{0};
    u64 known_spa = 0;
    // The guest entries of this walk, for filling the paging-structure cache.
    struct Visited {
        int level;
        u64 spa;
        u64 entry;
    };
    std::array<Visited, 6> visited{};
    unsigned visited_count = 0;
    u64 entry_spa = 0;

    bool load(u64 gpa, unsigned bytes, u64& entry) {
        if ((gpa & ~u64{0xfff}) == known_gpa) {
            entry_spa = known_spa | (gpa & 0xfff);
        } else {
            if (!translate(gpa, {.purpose = Purpose::guest_table})) return false;
            entry_spa = nested.spa;
        }
        unit.note({entry_spa, static_cast<u8>(bytes), false, false});
        entry = bytes == 4 ? unit.memory_.load<u32>(entry_spa) : unit.memory_.load<u64>(entry_spa);
        return true;
    }

    mmu::EntryUpdate update(u64 gpa, unsigned bytes, u64 expected, u64 desired) {
        const Translation write = slat::look_up(unit.second_, unit.memory_, gpa, {.purpose = Purpose::table_update});
        if (!write.ok()) {
            nested = write;
            return mmu::EntryUpdate::fault;
        }
        const mmu::EntryUpdate done = mmu::PhysicalPort(unit.memory_).update(write.spa, bytes, expected, desired);
        if (done == mmu::EntryUpdate::done) unit.note({write.spa, static_cast<u8>(bytes), true, false});
        return done;
    }

    // The guest walk's recorder.
    void entry(int level, u64 /*gpa*/, unsigned /*bytes*/, u64 value) {
        // A walk that starts again (an entry changed under it) records again from its first level.
        if (visited_count == visited.size() || (visited_count > 0 && level >= visited[visited_count - 1].level)) {
            visited_count = 0;
        }
        visited[visited_count++] = {level, entry_spa, value};
    }

    bool translate(u64 gpa, const Request& request) {
        if (unit.second_.format == Format::none) {
            nested = slat::look_up(unit.second_, unit.memory_, gpa, request);
            return true;
        }
        if (use_caches && unit.nested_.find(unit.second_, tag, gpa, request, nested)) {
            ++unit.counts_.nested_hits;
            used_caches = true;
            return true;
        }
        ++unit.counts_.nested_walks;
        const Start root = root_of(unit.second_);
        const Start start = use_caches ? unit.nested_.start(unit.second_, tag, gpa) : root;
        run(start, gpa, request);
        if (!nested.ok() && start.level != root.level) run(root, gpa, request);
        if (nested.ok()) unit.nested_.insert(tag, nested);
        return nested.ok();
    }

    // One second-level walk, and the paging-structure cache entries it makes.
    void run(const Start& start, u64 gpa, const Request& request) {
        struct Recorder {
            TranslationUnit& unit;
            std::array<u64, 5> entries{};
            void entry(int level, u64 spa, unsigned bytes, u64 value) {
                unit.note({spa, static_cast<u8>(bytes), false, true});
                entries[static_cast<unsigned>(level)] = value;
            }
        } recorder{unit};
        nested = leave_flags ? translate_from<TranslateOptions{.leave_flags = true}>(unit.second_, unit.memory_, start,
                                                                                     gpa, request, recorder)
                             : translate_from(unit.second_, unit.memory_, start, gpa, request, recorder);
        references = static_cast<u16>(references + nested.references);
        updates = static_cast<u16>(updates + nested.updates);
        if (!nested.ok()) return;
        const bool ept = unit.second_.format == Format::ept;
        PageRights rights = start.rights;
        for (int level = start.level; level > nested.level; --level) {
            const u64 value = recorder.entries[static_cast<unsigned>(level)];
            rights.readable = rights.readable && (value & (ept ? ept::read : mmu::pte::user));
            rights.writable = rights.writable && (value & (ept ? ept::write : mmu::pte::writable));
            rights.executable =
                rights.executable && (ept ? (value & ept::execute) != 0 : !(value & mmu::pte::no_execute));
            unit.nested_.insert_table(tag, gpa, level, value & ept::address, rights);
        }
    }

    // After a successful guest walk: each entry above the leaf leads to the table the next entry was read from.
    void fill_structures(u64 gva, unsigned index_bits, mmu::Rights rights) const {
        const u64 context = unit.context_.tag();
        for (unsigned i = 0; i + 1 < visited_count; ++i) {
            const u64 value = visited[i].entry;
            rights.writable = rights.writable && (value & mmu::pte::writable);
            rights.user = rights.user && (value & mmu::pte::user);
            rights.executable = rights.executable && !(value & mmu::pte::no_execute);
            unit.structures_.insert(gva, context, visited[i].level, index_bits,
                                    {value & mmu::pte::address, visited[i + 1].spa & ~u64{0xfff}, rights});
        }
    }
};

TranslationUnit::TranslationUnit(const TranslationUnitConfig& config, SystemMemory memory)
    : tlb_(config.tlb),
      structures_(config.structures),
      nested_(config.nested),
      memory_(memory),
      leave_flags_(config.leave_flags) {
    set_context({}, {.format = Format::none}, 0, 0);
}

void TranslationUnit::set_context(const mmu::PagingState& state, const SecondLevel& second, u16 slat, u16 vmid) {
    state_ = state;
    second_ = second;
    context_ = {slat, vmid, state.pcid()};
    tags_ = mmu::Tlb::Tags(context_);
    masks_ = &mmu::AccessMasks::of(state);
    address_mask_ = state.mode() >= mmu::PagingMode::level4 ? ~u64{0} : 0xffff'ffff;
}

void TranslationUnit::set_ac(bool ac) {
    state_.ac = ac;
    masks_ = &mmu::AccessMasks::of(state_);
}

TranslationUnit::Result TranslationUnit::walk(u64 gva, mmu::AccessKind kind) {
    ++counts_.walks;
    reference_count_ = 0;
    const auto attempt = [&](bool& use_caches) {
        return leave_flags_ ? walk_tables<mmu::WalkOptions{.leave_accessed_dirty = true}>(gva, kind, use_caches)
                            : walk_tables<mmu::WalkOptions{}>(gva, kind, use_caches);
    };
    bool ok = false;
    bool cached = true;
    ok = attempt(cached);
    if (!ok && cached) {
        // A cached entry may be staler than the tables, and a processor walks again before it reports a fault. When
        // that only confirms the fault it costs nothing: hardware's first walk would not have been stale.
        const std::size_t first = reference_count_;
        cached = false;
        ok = attempt(cached);
        if (!ok) reference_count_ = first;
    }
    counts_.references += reference_count_;
    if (!ok) {
        ++counts_.faults;
        return {};
    }
    const mmu::Walk& guest = last_walk_.guest;
    const Translation& nested = last_walk_.nested;
    using Entry = mmu::TlbEntry;
    const u64 rights = (nested.rights.readable ? Entry::readable : 0u) |
                       (guest.rights.writable ? Entry::writable : 0u) | (guest.rights.user ? Entry::user : 0u) |
                       (guest.rights.executable && nested.rights.executable ? Entry::executable : 0u) |
                       (guest.dirty && nested.rights.writable && nested.dirty ? Entry::write_ready : 0u);
    // 4 MiB pages are held as two of 2 MiB.
    const u8 shift = last_walk_.page_shift == mmu::shift_4m ? mmu::shift_2m : last_walk_.page_shift;
    const u64 offset = mmu::bit_range(0, shift - 1u);
    const u8 host_type = static_cast<u8>((nested.memory_type & 7) | (nested.ignore_pat ? 8 : 0));
    const Entry entry(last_walk_.spa & ~offset, rights, guest.memory_type_index, host_type, guest.page_shift);
    tlb_.insert(gva, shift, context_, guest.global, entry, kind.access);
    return from_entry(LookUp::walk, gva, shift, entry);
}

// One walk into last_walk_. False: it failed; use_caches then tells whether any cache had a part in it.
template <mmu::WalkOptions options>
bool TranslationUnit::walk_tables(u64 gva, mmu::AccessKind kind, bool& use_caches) {
    Walker walker{*this, use_caches, options.leave_accessed_dirty};
    const mmu::PagingMode mode = state_.mode();
    const unsigned index_bits = mode == mmu::PagingMode::bits32 ? 10 : 9;
    TwoDimensionalWalk& result = last_walk_;
    result = {};
    mmu::PagingStructureCache::Hit hit;
    if (use_caches && mode != mmu::PagingMode::none &&
        (mode < mmu::PagingMode::level4 || mmu::is_canonical(gva, mode))) {
        const int top = mode == mmu::PagingMode::level5 ? 5 : mode == mmu::PagingMode::level4 ? 4 : 2;
        hit = structures_.find(gva, context_.tag(), top, index_bits);
    }
    mmu::Rights above;
    if (hit.level != 0) {
        walker.used_caches = true;
        walker.known_gpa = hit.table.table_gpa;
        walker.known_spa = hit.table.table_spa;
        above = hit.table.rights;
        result.guest =
            mmu::walk_from<options>(state_, {hit.level - 1, hit.table.table_gpa, above}, gva, kind, walker, walker);
    } else {
        result.guest = mmu::walk<options>(state_, gva, kind, walker, walker);
    }
    switch (result.guest.kind) {
        case mmu::WalkKind::ok:
            walker.translate(result.guest.gpa, final_request(result.guest, kind.access));
            break;
        case mmu::WalkKind::page_fault:
            result.kind = TwoDimensionalKind::page_fault;
            break;
        case mmu::WalkKind::non_canonical:
            result.kind = TwoDimensionalKind::non_canonical;
            break;
        case mmu::WalkKind::nested_fault:
            break;
    }
    result.nested = walker.nested;
    result.references = static_cast<u16>(result.guest.references + walker.references);
    result.updates = static_cast<u16>(result.guest.updates + walker.updates);
    if (result.kind == TwoDimensionalKind::ok && !result.nested.ok()) {
        result.kind = result.nested.outcome == Outcome::violation ? TwoDimensionalKind::violation
                                                                  : TwoDimensionalKind::misconfiguration;
    }
    if (result.guest.ok()) walker.fill_structures(gva, index_bits, above);
    use_caches = walker.used_caches;
    if (!result.ok()) return false;
    result.page_shift = std::min(result.guest.page_shift, result.nested.page_shift);
    result.spa = result.nested.spa;
    return true;
}

void TranslationUnit::flush(const mmu::TlbFlush& what) {
    tlb_.flush(what);
    structures_.flush(what);
}

void TranslationUnit::flush_second_level(u16 slat) {
    const mmu::TlbFlush what{.any_slat = false, .context = {.slat = slat}};
    flush(what);
    nested_.flush(what);
}

void TranslationUnit::flush_all() {
    flush({});
    nested_.flush({});
}

}  // namespace slat
