// A partition's guest physical address space: which page of host memory stands at which guest physical page, with which
// rights. Its truth is the second-level table itself, built from pages of the partition's memory pool, and nothing is
// mapped that the ownership table does not grant.
//
// Pages become 2 MiB and 1 GiB mappings as soon as they are aligned, contiguous and alike, whatever the order of the
// calls that mapped them; a change to a part splits them again.
#pragma once

#include <array>
#include <cstddef>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <vector>

#include "hypervisor/guest_memory.h"
#include "hypervisor/page_ownership.h"
#include "slat/table_writer.h"

namespace hypervisor {

// Whoever caches translations of a partition drops those of [gpa, gpa + length).
class MappingListener {
public:
    virtual ~MappingListener() = default;
    virtual void mapping_changed(std::uint64_t gpa, std::uint64_t length) = 0;
};

enum class GpaEdit : std::uint8_t {
    ok,
    insufficient_memory,  // no pool page for a table; nothing was changed
    not_owned,            // a page of host memory that the root may not give to this partition, or that doesn't exist
    invalid,              // an address, alignment or combination of rights that no table can express
};

struct GpaMapping {
    std::uint64_t spa = 0;  // of the byte asked for
    std::uint8_t page_shift = mmu::shift_4k;
    slat::PageRights rights;
    bool overlay = false;

    friend bool operator==(const GpaMapping&, const GpaMapping&) = default;
};

// What the root, or an overlay, puts at one guest page.
struct GpaBacking {
    std::uint64_t spa_page = 0;
    slat::PageRights rights;
    slat::MemoryType type = slat::MemoryType::write_back;

    friend bool operator==(const GpaBacking&, const GpaBacking&) = default;
    template <class Archive>
    void fields(Archive& archive) {
        archive(spa_page, rights, type);
    }
};

class GpaSpace final : public GuestMemory {
public:
    // Format and capabilities come from `second`; its root becomes ours.
    GpaSpace(PartitionId partition, const slat::SecondLevel& second, mmu::SystemMemory memory, MemoryPool& pool,
             PageOwnership& ownership, MappingListener& listener);

    // The root table takes one page of the pool. Everything else needs it.
    [[nodiscard]] GpaEdit create();
    bool created() const { return state_.created; }
    // Before it is created.
    void set_format(slat::Format format);
    // Unmaps everything and gives the tables back to the pool.
    void destroy();

    const slat::SecondLevel& second_level() const { return writer_.second_level(); }
    std::uint64_t mapped_pages() const { return ownership_.totals(partition_).mapped; }
    std::uint64_t table_pages() const { return writer_.table_pages(); }

    // Page numbers are of 4 KiB. One page of 4 KiB, 2 MiB or 1 GiB, in place of what was there.
    [[nodiscard]] GpaEdit map(std::uint64_t gpa_page, std::uint64_t spa_page, std::uint8_t shift,
                              slat::PageRights rights, slat::MemoryType type = slat::MemoryType::write_back);
    // What is not mapped in the range stays so.
    [[nodiscard]] GpaEdit unmap(std::uint64_t gpa_page, std::uint64_t count);
    [[nodiscard]] GpaEdit protect(std::uint64_t gpa_page, std::uint64_t count, slat::PageRights rights);

    // An overlay (TLFS 5.2.1) hides what the root maps at a guest page, which goes on changing beneath it. Of several
    // at one page the last placed is seen. The system page must be in use by this partition or by the hypervisor
    // itself.
    [[nodiscard]] GpaEdit place_overlay(std::uint64_t gpa_page, std::uint64_t spa_page, slat::PageRights rights);
    void remove_overlay(std::uint64_t gpa_page, std::uint64_t spa_page);
    bool has_overlay(std::uint64_t gpa_page) const { return state_.overlays.contains(gpa_page); }
    // A zeroed page of the pool to serve as an overlay.
    std::optional<std::uint64_t> allocate_overlay_page() { return pool_.take(); }
    void free_overlay_page(std::uint64_t spa_page) { pool_.put_back(spa_page); }

    // While accesses are tracked each page has a mapping of its own, and its flags say what was written since they were
    // cleared. From the beginning nothing was.
    [[nodiscard]] GpaEdit set_tracking(bool on);
    bool tracking() const { return state_.tracking; }
    // What each store asks, and what each access knows besides (sim/working_set.h).
    void add_needs(sim::WorkingSet& set) const { set.add(state_.tracking); }
    void add_call_needs(sim::WorkingSet& set) const {
        set.add(state_.created);
        set.add(memory_);
        set.add(known_);
    }
    // That byte's line will be read or written soon, if it is known where it is (sim/prefetch.h).
    void expect(std::uint64_t gpa) const {
        const Known& before = known(gpa);
        if (before.gpa_page == gpa / hv_page_size) {
            sim::prefetch(memory_.at(before.spa + gpa % hv_page_size, 1));
        }
    }
    // gpa_access_state of a page, whose dirty flag may be cleared; nothing: there is none. Whoever clears says at the
    // end of which pages.
    std::optional<std::uint8_t> access_state(std::uint64_t gpa_page, bool clear_dirty);
    void dirty_cleared(std::uint64_t gpa_page, std::uint64_t count) const { changed(gpa_page, count); }

    // Where a guest physical address is, without side effects.
    std::optional<GpaMapping> translate(std::uint64_t gpa) const;

    // The partition's own view: rights hold, accessed and dirty flags are set. All or nothing.
    bool read(std::uint64_t gpa, std::span<std::byte> out) override;
    bool write(std::uint64_t gpa, std::span<const std::byte> in) override;

    template <class Archive>
    void fields(Archive& archive) {
        archive(state_, writer_);
        if constexpr (Archive::reading) known_ = {};
    }

private:
    using Backing = GpaBacking;
    struct Overlay {
        std::vector<Backing> stack;  // the last is seen
        std::optional<Backing> under;

        friend bool operator==(const Overlay&, const Overlay&) = default;
        template <class Archive>
        void fields(Archive& archive) {
            archive(stack, under);
        }
    };
    struct State {
        bool created = false;
        std::map<std::uint64_t, std::uint64_t> ranges;  // backed guest pages: first -> one past the last
        std::map<std::uint64_t, Overlay> overlays;
        // Whatever flags say: pages that overlays have come to lie on, or were mapped anew.
        std::set<std::uint64_t> written;
        bool tracking = false;

        friend bool operator==(const State&, const State&) = default;
        template <class Archive>
        void fields(Archive& archive) {
            archive(created, ranges, overlays, tracking, written);
        }
    };

    bool overlays_in(std::uint64_t gpa_page, std::uint64_t count) const;
    std::optional<Backing> backing(std::uint64_t gpa_page) const;
    struct PageRun {
        std::uint64_t first = 0;  // system pages
        std::uint64_t count = 0;
    };
    std::vector<PageRun> backing_runs(std::uint64_t gpa_page, std::uint64_t count) const;
    void let_go(const std::vector<PageRun>& runs);
    void add_range(std::uint64_t first, std::uint64_t end);
    void remove_range(std::uint64_t first, std::uint64_t end);
    GpaEdit map_page_by_page(std::uint64_t gpa_page, std::uint64_t spa_page, std::uint8_t shift,
                             slat::PageRights rights, slat::MemoryType type);
    bool split_at(std::uint64_t gpa_page);
    void promote(std::uint64_t gpa_page, std::uint8_t to_shift);
    template <class Function>
    void for_each_part(std::uint64_t first, std::uint64_t end, Function function) const;
    // A page that was accessed, and what its flags say of that: an access that would change no flag needs no walk. The
    // hypervisor's pages, where a processor looks at each interrupt, follow one another.
    struct Known {
        std::uint64_t gpa_page = ~std::uint64_t{0};
        std::uint64_t spa = 0;
        bool written = false;
    };
    Known& known(std::uint64_t gpa) const { return known_[gpa / hv_page_size % known_.size()]; }

    template <class Copy>
    bool access(std::uint64_t gpa, std::uint64_t length, mmu::Access kind, Copy copy) const;
    void changed(std::uint64_t gpa_page, std::uint64_t count) const;

    PartitionId partition_;
    mmu::SystemMemory memory_;
    MemoryPool& pool_;
    PageOwnership& ownership_;
    MappingListener& listener_;
    slat::TableWriter writer_;
    mutable std::array<Known, 4> known_{};  // forgotten whenever a mapping or a flag changes
    State state_;
};

}  // namespace hypervisor
