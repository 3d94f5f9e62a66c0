// Who owns each page of host memory. A page belongs to the root, or to the hypervisor on behalf of one partition
// (deposited: its pool, in use: tables and objects), or is mapped into the guest physical address space of one
// partition. This table is what keeps two partitions apart: no page enters a second-level table without it.
#pragma once

#include <cstdint>
#include <iterator>
#include <map>
#include <span>
#include <vector>

#include "hypervisor/tlfs_status.h"
#include "slat/table_writer.h"

namespace hypervisor {

// Partition identifiers are handed out upward from the root's and never again.
using PartitionId = std::uint64_t;
inline constexpr PartitionId root_partition = 1;
// The owner of pages that serve no partition in particular.
inline constexpr PartitionId hypervisor_itself = 0xffff'ffff;

enum class PageUse : std::uint8_t {
    root,       // the root's own memory: may be deposited or mapped
    deposited,  // in a partition's pool, unused
    in_use,     // taken from a partition's pool
    mapped,     // in a partition's guest physical address space, any number of times; the root can still reach it
};

// Pages by use, of one partition.
struct PageTotals {
    std::uint64_t deposited = 0;
    std::uint64_t in_use = 0;
    std::uint64_t mapped = 0;

    bool none() const { return deposited == 0 && in_use == 0 && mapped == 0; }
    friend bool operator==(const PageTotals&, const PageTotals&) = default;
    template <class Archive>
    void fields(Archive& archive) {
        archive(deposited, in_use, mapped);
    }
};

// Kept by runs of pages that are alike: a host's memory may be larger than what a table with a row for each page would
// leave of the computer's.
class PageOwnership final {
public:
    explicit PageOwnership(std::uint64_t page_count) : page_count_(page_count) {
        if (page_count != 0) state_.runs[0] = {page_count, PageUse::root, 0, 0};
    }

    std::uint64_t page_count() const { return page_count_; }
    // A page outside of memory has no use at all, and every change of it is refused.
    bool exists(std::uint64_t page) const { return page < page_count(); }
    PageUse use_of(std::uint64_t page) const { return run_of(page)->second.use; }
    PartitionId owner_of(std::uint64_t page) const { return run_of(page)->second.owner; }
    PageTotals totals(PartitionId partition) const;

    // Each returns false, and does nothing, if a page is not in the state that the change starts from.
    [[nodiscard]] bool deposit(std::uint64_t page, PartitionId partition);   // root -> deposited
    [[nodiscard]] bool withdraw(std::uint64_t page, PartitionId partition);  // deposited -> root
    [[nodiscard]] bool take(std::uint64_t page, PartitionId partition);      // deposited -> in use
    [[nodiscard]] bool put_back(std::uint64_t page, PartitionId partition);  // in use -> deposited
    // root, or mapped in the same -> mapped
    [[nodiscard]] bool map(std::uint64_t page, PartitionId partition, std::uint64_t count = 1);
    // mapped -> once less; at last root
    [[nodiscard]] bool unmap(std::uint64_t page, PartitionId partition, std::uint64_t count = 1);
    bool may_map(std::uint64_t page, PartitionId partition, std::uint64_t count = 1) const;

    // Counts the table anew and compares it with the totals: for tests.
    [[nodiscard]] bool consistent() const;

    template <class Archive>
    void fields(Archive& archive) {
        archive(page_count_, state_);
    }
    friend bool operator==(const PageOwnership& a, const PageOwnership& b) { return a.state_ == b.state_; }

private:
    struct Run {
        std::uint64_t end = 0;
        PageUse use = PageUse::root;
        std::uint32_t owner = 0;      // 0: the root's own
        std::uint32_t map_count = 0;  // of each page

        bool alike(const Run& other) const {
            return use == other.use && owner == other.owner && map_count == other.map_count;
        }
        friend bool operator==(const Run&, const Run&) = default;
        template <class Archive>
        void fields(Archive& archive) {
            archive(end, use, owner, map_count);
        }
    };
    using Runs = std::map<std::uint64_t, Run>;  // by first page; they cover all there are, and neighbours differ
    struct State {
        Runs runs;
        std::map<PartitionId, PageTotals> totals;

        friend bool operator==(const State&, const State&) = default;
        template <class Archive>
        void fields(Archive& archive) {
            archive(runs, totals);
        }
    };

    Runs::const_iterator run_of(std::uint64_t page) const { return std::prev(state_.runs.upper_bound(page)); }
    bool in_memory(std::uint64_t page, std::uint64_t count) const {
        return count <= page_count_ && page <= page_count_ - count;
    }
    template <class Predicate>
    bool all(std::uint64_t page, std::uint64_t count, Predicate predicate) const;
    template <class Change>
    void change(std::uint64_t page, std::uint64_t count, Change change);
    void split(std::uint64_t page);
    void join(std::uint64_t page);
    [[nodiscard]] bool move(std::uint64_t page, PageUse from, PageUse to, PartitionId partition);
    void add_total(const Run& run, std::uint64_t pages, bool more);

    std::uint64_t page_count_ = 0;
    State state_;
};

// A partition's pool of deposited pages (TLFS 1.0, "memory pools"): what the hypervisor needs on behalf of the
// partition comes from here, or the call fails with HV_STATUS_INSUFFICIENT_MEMORY and the root deposits more.
class MemoryPool final : public slat::TablePages {
public:
    MemoryPool(PartitionId partition, PageOwnership& ownership, mmu::SystemMemory memory)
        : partition_(partition), ownership_(ownership), memory_(memory) {}

    [[nodiscard]] bool deposit(std::uint64_t page);
    // The page deposited last, given back to the root.
    [[nodiscard]] std::optional<std::uint64_t> withdraw();

    // A zeroed page in use, by page number; nothing if the pool is empty.
    [[nodiscard]] std::optional<std::uint64_t> take();
    void put_back(std::uint64_t page);
    // All or nothing.
    [[nodiscard]] bool take(std::uint64_t count, std::vector<std::uint64_t>& pages);
    void put_back(std::vector<std::uint64_t>& pages);

    std::uint64_t available() const { return state_.free.size(); }
    std::uint64_t in_use() const { return state_.in_use; }

    std::optional<std::uint64_t> allocate_table() override;
    void free_table(std::uint64_t spa) override;

    template <class Archive>
    void fields(Archive& archive) {
        archive(state_);
    }

private:
    struct State {
        std::vector<std::uint64_t> free;  // page numbers; the last is the next to go
        std::uint64_t in_use = 0;

        friend bool operator==(const State&, const State&) = default;
        template <class Archive>
        void fields(Archive& archive) {
            archive(free, in_use);
        }
    };

    PartitionId partition_;
    PageOwnership& ownership_;
    mmu::SystemMemory memory_;
    State state_;
};

}  // namespace hypervisor
