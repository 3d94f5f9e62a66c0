#include "hypervisor/gpa_space.h"

#include <algorithm>

#include "hypervisor/tlfs_root_hypercalls.h"
#include "sim/check.h"

namespace hypervisor {

namespace {

constexpr std::uint64_t address_limit_pages = std::uint64_t{1} << (48 - hv_page_shift);

constexpr std::uint64_t pages_of(std::uint8_t shift) {
    return std::uint64_t{1} << (shift - hv_page_shift);
}

constexpr bool valid_range(std::uint64_t first, std::uint64_t count) {
    return count <= address_limit_pages && first <= address_limit_pages - count;
}

GpaEdit to_gpa_edit(slat::Edit edit) {
    switch (edit) {
        case slat::Edit::ok:
            return GpaEdit::ok;
        case slat::Edit::no_memory:
            return GpaEdit::insufficient_memory;
        case slat::Edit::misaligned:
        case slat::Edit::bad_rights:
            break;
    }
    return GpaEdit::invalid;
}

}  // namespace

GpaSpace::GpaSpace(PartitionId partition, const slat::SecondLevel& second, mmu::SystemMemory memory, MemoryPool& pool,
                   PageOwnership& ownership, MappingListener& listener)
    : partition_(partition),
      memory_(memory),
      pool_(pool),
      ownership_(ownership),
      listener_(listener),
      writer_(second, memory, pool) {}

GpaEdit GpaSpace::create() {
    VG_CHECK(!state_.created);
    const GpaEdit done = to_gpa_edit(writer_.create());
    state_.created = done == GpaEdit::ok;
    return done;
}

void GpaSpace::set_format(slat::Format format) {
    VG_CHECK(!state_.created);
    slat::SecondLevel second = writer_.second_level();
    second.format = format;
    writer_ = slat::TableWriter(second, memory_, pool_);
}

void GpaSpace::destroy() {
    if (!state_.created) return;
    for (const auto& [first, end] : state_.ranges) let_go(backing_runs(first, end - first));
    writer_.destroy();
    state_ = {};
    changed(0, address_limit_pages);
}

void GpaSpace::changed(std::uint64_t gpa_page, std::uint64_t count) const {
    known_ = {};
    listener_.mapping_changed(gpa_page << hv_page_shift, count << hv_page_shift);
}

// What is mapped
// ---------------------------------------------------------------------------------------------------------

bool GpaSpace::overlays_in(std::uint64_t gpa_page, std::uint64_t count) const {
    const auto next = state_.overlays.lower_bound(gpa_page);
    return next != state_.overlays.end() && next->first < gpa_page + count;
}

// What the root mapped at a page, be it hidden or not.
std::optional<GpaSpace::Backing> GpaSpace::backing(std::uint64_t gpa_page) const {
    const auto overlay = state_.overlays.find(gpa_page);
    if (overlay != state_.overlays.end()) return overlay->second.under;
    const std::optional<slat::Mapping> found = writer_.query(gpa_page << hv_page_shift);
    if (!found) return std::nullopt;
    slat::MemoryType type = slat::MemoryType::write_back;
    if (writer_.second_level().format == slat::Format::ept) {
        type = static_cast<slat::MemoryType>(found->memory_type);
    } else if (found->memory_type != 0) {
        type = found->memory_type == 1 ? slat::MemoryType::write_through : slat::MemoryType::uncacheable;
    }
    return Backing{found->spa >> hv_page_shift, found->rights, type};
}

// The system pages behind a range, leaf by leaf.
std::vector<GpaSpace::PageRun> GpaSpace::backing_runs(std::uint64_t gpa_page, std::uint64_t count) const {
    std::vector<PageRun> runs;
    const auto add = [&runs](std::uint64_t first, std::uint64_t pages) {
        if (!runs.empty() && runs.back().first + runs.back().count == first) {
            runs.back().count += pages;
        } else {
            runs.push_back({first, pages});
        }
    };
    for_each_part(gpa_page, gpa_page + count, [&](std::uint64_t first, std::uint64_t end) {
        for (std::uint64_t page = first; page < end;) {
            const std::optional<Backing> found = backing(page);
            VG_CHECK(found.has_value());
            std::uint64_t pages = 1;
            // Overlays have split what they lie on.
            if (!state_.overlays.contains(page)) {
                const std::uint64_t leaf = pages_of(writer_.query(page << hv_page_shift)->page_shift);
                pages = std::min(end, (page | (leaf - 1)) + 1) - page;
            }
            add(found->spa_page, pages);
            page += pages;
        }
    });
    return runs;
}

void GpaSpace::let_go(const std::vector<PageRun>& runs) {
    for (const PageRun& run : runs) VG_CHECK(ownership_.unmap(run.first, partition_, run.count));
}

// The backed parts of [first, end).
template <class Function>
void GpaSpace::for_each_part(std::uint64_t first, std::uint64_t end, Function function) const {
    auto range = state_.ranges.upper_bound(first);
    if (range != state_.ranges.begin() && std::prev(range)->second > first) --range;
    for (; range != state_.ranges.end() && range->first < end; ++range) {
        function(std::max(first, range->first), std::min(end, range->second));
    }
}

void GpaSpace::add_range(std::uint64_t first, std::uint64_t end) {
    auto next = state_.ranges.upper_bound(first);
    if (next != state_.ranges.begin() && std::prev(next)->second >= first) {
        --next;
        first = next->first;
    }
    while (next != state_.ranges.end() && next->first <= end) {
        end = std::max(end, next->second);
        next = state_.ranges.erase(next);
    }
    state_.ranges[first] = end;
}

void GpaSpace::remove_range(std::uint64_t first, std::uint64_t end) {
    auto range = state_.ranges.upper_bound(first);
    if (range != state_.ranges.begin()) --range;
    while (range != state_.ranges.end() && range->first < end) {
        const auto [range_first, range_end] = *range;
        if (range_end <= first) {
            ++range;
            continue;
        }
        range = state_.ranges.erase(range);
        if (range_first < first) state_.ranges[range_first] = first;
        if (range_end > end) state_.ranges[end] = range_end;
    }
}

// Changes
// ----------------------------------------------------------------------------------------------------------------

GpaEdit GpaSpace::map(std::uint64_t gpa_page, std::uint64_t spa_page, std::uint8_t shift, slat::PageRights rights,
                      slat::MemoryType type) {
    VG_CHECK(state_.created);
    if (shift != mmu::shift_4k && shift != mmu::shift_2m && shift != mmu::shift_1g) return GpaEdit::invalid;
    const std::uint64_t count = pages_of(shift);
    if (gpa_page % count != 0 || spa_page % count != 0 || !valid_range(gpa_page, count)) return GpaEdit::invalid;
    if (rights == slat::PageRights{false, false, false}) return GpaEdit::invalid;
    if (!ownership_.may_map(spa_page, partition_, count)) return GpaEdit::not_owned;
    if (overlays_in(gpa_page, count) || (state_.tracking && count > 1)) {
        return map_page_by_page(gpa_page, spa_page, shift, rights, type);
    }

    const std::vector<PageRun> replaced = backing_runs(gpa_page, count);
    const slat::Edit done = writer_.map(gpa_page << hv_page_shift, spa_page << hv_page_shift, shift, rights, type);
    if (done != slat::Edit::ok) return to_gpa_edit(done);
    VG_CHECK(ownership_.map(spa_page, partition_, count));
    let_go(replaced);
    add_range(gpa_page, gpa_page + count);
    if (state_.tracking) state_.written.insert(gpa_page);
    if (shift == mmu::shift_4k) promote(gpa_page, mmu::shift_2m);
    if (shift == mmu::shift_2m) promote(gpa_page, mmu::shift_1g);
    changed(gpa_page, count);
    return GpaEdit::ok;
}

// Page by page; a failure leaves the pages before it mapped.
GpaEdit GpaSpace::map_page_by_page(std::uint64_t gpa_page, std::uint64_t spa_page, std::uint8_t shift,
                                   slat::PageRights rights, slat::MemoryType type) {
    for (std::uint64_t i = 0; i < pages_of(shift); ++i) {
        const auto overlay = state_.overlays.find(gpa_page + i);
        if (overlay == state_.overlays.end()) {
            const GpaEdit done = map(gpa_page + i, spa_page + i, mmu::shift_4k, rights, type);
            if (done != GpaEdit::ok) return done;
            continue;
        }
        VG_CHECK(ownership_.map(spa_page + i, partition_));
        if (overlay->second.under) VG_CHECK(ownership_.unmap(overlay->second.under->spa_page, partition_));
        overlay->second.under = Backing{spa_page + i, rights, type};
        add_range(gpa_page + i, gpa_page + i + 1);
    }
    return GpaEdit::ok;
}

// Makes a page boundary a boundary between mappings. Splitting keeps the accessed and dirty flags.
bool GpaSpace::split_at(std::uint64_t gpa_page) {
    if (gpa_page >= address_limit_pages) return true;
    const std::uint64_t gpa = gpa_page << hv_page_shift;
    const std::optional<slat::Mapping> found = writer_.query(gpa);
    if (!found || gpa_page % pages_of(found->page_shift) == 0) return true;
    slat::PageRights other = found->rights;
    other.writable = found->rights.readable && !found->rights.writable;
    other.readable = true;
    const slat::Edit done = writer_.protect(gpa, hv_page_size, other);
    if (done == slat::Edit::no_memory) return false;
    VG_CHECK(done == slat::Edit::ok && writer_.protect(gpa, hv_page_size, found->rights) == slat::Edit::ok);
    return true;
}

GpaEdit GpaSpace::unmap(std::uint64_t gpa_page, std::uint64_t count) {
    VG_CHECK(state_.created);
    if (!valid_range(gpa_page, count)) return GpaEdit::invalid;
    if (count == 0) return GpaEdit::ok;
    const std::uint64_t end = gpa_page + count;
    if (!split_at(gpa_page) || !split_at(end)) return GpaEdit::insufficient_memory;
    const std::vector<PageRun> removed = backing_runs(gpa_page, count);
    // Overlays in the range stay; what is between them goes. No mapping crosses the ends, so no table is needed.
    std::uint64_t first = gpa_page;
    const auto remove_up_to = [&](std::uint64_t stop) {
        VG_CHECK(writer_.unmap(first << hv_page_shift, (stop - first) << hv_page_shift) == slat::Edit::ok);
    };
    for (auto overlay = state_.overlays.lower_bound(gpa_page); overlay != state_.overlays.end() && overlay->first < end;
         ++overlay) {
        remove_up_to(overlay->first);
        overlay->second.under.reset();
        first = overlay->first + 1;
    }
    remove_up_to(end);
    let_go(removed);
    remove_range(gpa_page, end);
    changed(gpa_page, count);
    return GpaEdit::ok;
}

GpaEdit GpaSpace::protect(std::uint64_t gpa_page, std::uint64_t count, slat::PageRights rights) {
    VG_CHECK(state_.created);
    if (!valid_range(gpa_page, count) || rights == slat::PageRights{false, false, false}) return GpaEdit::invalid;
    if (count == 0) return GpaEdit::ok;
    if (writer_.protect(0, 0, rights) != slat::Edit::ok) return GpaEdit::invalid;  // not expressible
    const std::uint64_t end = gpa_page + count;
    if (!split_at(gpa_page) || !split_at(end)) return GpaEdit::insufficient_memory;
    std::uint64_t first = gpa_page;
    const auto protect_up_to = [&](std::uint64_t stop) {
        VG_CHECK(writer_.protect(first << hv_page_shift, (stop - first) << hv_page_shift, rights) == slat::Edit::ok);
    };
    for (auto overlay = state_.overlays.lower_bound(gpa_page); overlay != state_.overlays.end() && overlay->first < end;
         ++overlay) {
        protect_up_to(overlay->first);
        if (overlay->second.under) overlay->second.under->rights = rights;
        first = overlay->first + 1;
    }
    protect_up_to(end);
    changed(gpa_page, count);
    return GpaEdit::ok;
}

// Makes one large mapping of the region around a page if all of it is contiguous and alike.
void GpaSpace::promote(std::uint64_t gpa_page, std::uint8_t to_shift) {
    if (state_.tracking) return;
    if (to_shift == mmu::shift_1g && !writer_.second_level().gib_pages) return;
    const auto from_shift = static_cast<std::uint8_t>(to_shift - 9);
    const std::uint64_t step = pages_of(from_shift);
    const std::uint64_t base = gpa_page & ~(pages_of(to_shift) - 1);
    if (overlays_in(base, pages_of(to_shift))) return;
    const std::optional<Backing> first = backing(base);
    if (!first || first->spa_page % pages_of(to_shift) != 0) return;
    const auto alike = [&](std::uint64_t i) {
        const std::optional<slat::Mapping> mapping = writer_.query((base + i * step) << hv_page_shift);
        return mapping && mapping->page_shift == from_shift &&
               backing(base + i * step) == Backing{first->spa_page + i * step, first->rights, first->type};
    };
    if (!alike(511)) return;  // the usual case while a region fills up
    for (std::uint64_t i = 0; i < 511; ++i) {
        if (!alike(i)) return;
    }
    VG_CHECK(writer_.map(base << hv_page_shift, first->spa_page << hv_page_shift, to_shift, first->rights,
                         first->type) == slat::Edit::ok);
    if (to_shift == mmu::shift_2m) promote(base, mmu::shift_1g);
}

// Overlays
// ---------------------------------------------------------------------------------------------------------------

GpaEdit GpaSpace::place_overlay(std::uint64_t gpa_page, std::uint64_t spa_page, slat::PageRights rights) {
    VG_CHECK(state_.created);
    if (!valid_range(gpa_page, 1)) return GpaEdit::invalid;
    VG_CHECK(ownership_.exists(spa_page) && ownership_.use_of(spa_page) == PageUse::in_use);
    VG_CHECK(ownership_.owner_of(spa_page) == partition_ || ownership_.owner_of(spa_page) == hypervisor_itself);
    const std::optional<Backing> under = backing(gpa_page);
    const std::optional<slat::Mapping> before = writer_.query(gpa_page << hv_page_shift);
    const bool was_dirty = state_.tracking && before && before->dirty && !has_overlay(gpa_page);
    const slat::Edit done = writer_.map(gpa_page << hv_page_shift, spa_page << hv_page_shift, mmu::shift_4k, rights);
    if (done != slat::Edit::ok) return to_gpa_edit(done);
    Overlay& overlay = state_.overlays[gpa_page];
    overlay.under = under;
    overlay.stack.push_back({spa_page, rights});
    if (was_dirty) state_.written.insert(gpa_page);
    changed(gpa_page, 1);
    return GpaEdit::ok;
}

void GpaSpace::remove_overlay(std::uint64_t gpa_page, std::uint64_t spa_page) {
    const auto overlay = state_.overlays.find(gpa_page);
    if (overlay == state_.overlays.end()) return;
    std::erase_if(overlay->second.stack, [&](const Backing& page) { return page.spa_page == spa_page; });
    std::optional<Backing> seen = overlay->second.under;
    if (overlay->second.stack.empty()) {
        state_.overlays.erase(overlay);
    } else {
        seen = overlay->second.stack.back();
    }
    // The page has an entry of its own by now: no table is needed.
    const std::uint64_t gpa = gpa_page << hv_page_shift;
    const slat::Edit done =
        seen ? writer_.map(gpa, seen->spa_page << hv_page_shift, mmu::shift_4k, seen->rights, seen->type)
             : writer_.unmap(gpa);
    VG_CHECK(done == slat::Edit::ok);
    changed(gpa_page, 1);
}

// Tracking
// ---------------------------------------------------------------------------------------------------------------

GpaEdit GpaSpace::set_tracking(bool on) {
    VG_CHECK(state_.created);
    constexpr std::uint64_t large = pages_of(mmu::shift_2m);
    for (const auto& [first, end] : state_.ranges) {
        if (!on) break;
        // A boundary within a large page makes small ones of all of it.
        for (std::uint64_t page = first; page < end; page = (page | (large - 1)) + 1) {
            if (page + 1 < end && !split_at(page % large == 0 ? page + 1 : page)) return GpaEdit::insufficient_memory;
        }
    }
    state_.tracking = on;
    state_.written.clear();
    for (const auto& [first, end] : state_.ranges) {
        for (std::uint64_t page = first; on && page < end; ++page) {
            (void)writer_.test_and_clear_dirty(page << hv_page_shift);
        }
        changed(first, end - first);
    }
    return GpaEdit::ok;
}

// What lies in an overlay is the hypervisor's to keep: of such a page it counts what was written beneath.
std::optional<std::uint8_t> GpaSpace::access_state(std::uint64_t gpa_page, bool clear_dirty) {
    if (gpa_page >= address_limit_pages) return std::nullopt;
    const std::uint64_t gpa = gpa_page << hv_page_shift;
    const std::optional<slat::Mapping> found = writer_.query(gpa);
    if (!found) return std::nullopt;
    const bool overlaid = has_overlay(gpa_page);
    std::uint8_t state = found->accessed && !overlaid ? gpa_access_state::accessed : 0;
    const bool under = state_.written.contains(gpa_page);
    if (under || (found->dirty && !overlaid)) state |= gpa_access_state::dirty;
    if (clear_dirty) {
        known_ = {};
        if (under) state_.written.erase(gpa_page);
        if (!overlaid) (void)writer_.test_and_clear_dirty(gpa);
    }
    return state;
}

// Access
// -----------------------------------------------------------------------------------------------------------------

std::optional<GpaMapping> GpaSpace::translate(std::uint64_t gpa) const {
    if (!state_.created) return std::nullopt;
    const std::optional<slat::Mapping> found = writer_.query(gpa);
    if (!found) return std::nullopt;
    return GpaMapping{found->spa, found->page_shift, found->rights, has_overlay(gpa >> hv_page_shift)};
}

bool GpaSpace::read(std::uint64_t gpa, std::span<std::byte> out) {
    return access(gpa, out.size(), mmu::Access::read, [&](std::uint64_t spa, std::uint64_t offset, std::uint64_t n) {
        VG_CHECK(memory_.read(spa, out.subspan(offset, n)));
    });
}

bool GpaSpace::write(std::uint64_t gpa, std::span<const std::byte> in) {
    return access(gpa, in.size(), mmu::Access::write, [&](std::uint64_t spa, std::uint64_t offset, std::uint64_t n) {
        VG_CHECK(memory_.write(spa, in.subspan(offset, n)));
    });
}

// Looks at every page first, then touches them.
template <class Copy>
bool GpaSpace::access(std::uint64_t gpa, std::uint64_t length, mmu::Access kind, Copy copy) const {
    if (length == 0) return true;
    if (!state_.created || length > (address_limit_pages << hv_page_shift) ||
        gpa > (address_limit_pages << hv_page_shift) - length) {
        return false;
    }
    const bool writes = kind == mmu::Access::write;
    const bool one_page = length <= hv_page_size - gpa % hv_page_size;
    const Known& before = known(gpa);
    if (one_page && before.gpa_page == gpa / hv_page_size && (before.written || !writes)) {
        copy(before.spa + gpa % hv_page_size, 0, length);
        return true;
    }
    const slat::Request request{.access = kind, .linear_valid = false};
    const auto for_each_page = [&](auto&& function) {
        for (std::uint64_t offset = 0; offset < length;) {
            const std::uint64_t n = std::min(length - offset, hv_page_size - (gpa + offset) % hv_page_size);
            if (!function(offset, n)) return false;
            offset += n;
        }
        return true;
    };
    const slat::SecondLevel& second = writer_.second_level();
    if (!for_each_page([&](std::uint64_t offset, std::uint64_t) {
            return slat::look_up(second, memory_, gpa + offset, request).ok();
        })) {
        return false;
    }
    return for_each_page([&](std::uint64_t offset, std::uint64_t n) {
        const slat::Translation page = slat::translate(second, memory_, gpa + offset, request);
        VG_CHECK(page.ok());
        if (one_page) known(gpa) = {gpa / hv_page_size, page.spa - gpa % hv_page_size, writes};
        copy(page.spa, offset, n);
        return true;
    });
}

}  // namespace hypervisor
