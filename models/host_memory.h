// The simulated host's physical memory: who owns the bytes (HostMemory) and who hands out pages (PageAllocator).
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "mmu/system_memory.h"
#include "sim/archive.h"

namespace models {

inline constexpr std::uint64_t page_bytes = 4096;
inline constexpr std::uint64_t large_page_bytes = 2 * 1024 * 1024;

// RAM from system physical address 0 on. Pages cost the computer nothing until they are first written, so a simulated
// host may be larger than the computer that simulates it.
class HostMemory final {
public:
    // More than this is taken for a mistake in a size's unit.
    static constexpr std::uint64_t largest_bytes = 4ull << 40;

    // Throws sim::UserError when the size is no multiple of 4 KiB or can't be had.
    explicit HostMemory(std::uint64_t size_bytes);
    ~HostMemory();
    HostMemory(const HostMemory&) = delete;
    HostMemory& operator=(const HostMemory&) = delete;

    std::uint64_t size_bytes() const { return size_bytes_; }
    std::byte* base() const { return base_; }
    // Carries the watch by which the instruction engine hears of code that others write.
    mmu::SystemMemory view() const { return {base_, size_bytes_, watch_.get()}; }

    // All of that will be used. A large page of the computer's for it is looked up in one of its tables less, and only
    // once: where many guests take turns that is half of what an access takes. None where it would be half empty.
    void will_fill(std::uint64_t spa, std::uint64_t bytes) const;

    // A checkpoint holds the pages that are not zero.
    void save(sim::Writer& writer) const;
    void restore(sim::Reader& reader);
    // Back to zeros, as at power-on.
    void clear();

private:
    void make_large(std::byte* page) const;

    std::byte* base_ = nullptr;
    std::uint64_t size_bytes_ = 0;
    std::unique_ptr<mmu::WriteWatch> watch_;
};

// Hands out 4 KiB pages of a range, always the lowest that fit, so that the same requests get the same addresses.
class PageAllocator final {
public:
    // Owns no memory; [first, end) are addresses, both multiples of 4 KiB. `node_bytes`: of each NUMA node, from
    // address 0 on; 0: there is one.
    PageAllocator(std::uint64_t first, std::uint64_t end, std::uint64_t node_bytes = 0);

    // The lowest free page, or nothing when all are taken.
    [[nodiscard]] std::optional<std::uint64_t> allocate();
    // The lowest run of `pages` pages that starts at a multiple of `align_bytes` (a power of two).
    [[nodiscard]] std::optional<std::uint64_t> allocate_contiguous(std::uint64_t pages, std::uint64_t align_bytes);
    // `pages` pages in as few runs as possible: 2 MiB blocks first, then single pages. All or nothing (empty).
    struct Run {
        std::uint64_t spa;
        std::uint64_t pages;
        bool operator==(const Run&) const = default;
    };
    [[nodiscard]] std::vector<Run> allocate_many(std::uint64_t pages) { return allocate_many(pages, first_, end_); }
    // The same of the pages in [first, end), both multiples of 2 MiB or an end of the range.
    [[nodiscard]] std::vector<Run> allocate_many(std::uint64_t pages, std::uint64_t first, std::uint64_t end);

    // Gives pages back. Pages that are free already or foreign are a bug of the caller.
    void free(std::uint64_t spa, std::uint64_t pages = 1);

    std::uint64_t free_pages() const { return state_.free_pages; }
    std::uint64_t free_pages(std::uint64_t first, std::uint64_t end) const;
    std::size_t node_of(std::uint64_t spa) const { return node_bytes_ == 0 ? 0 : spa / node_bytes_; }
    // Where that address' node ends, but at most `end`.
    std::uint64_t same_node_until(std::uint64_t spa, std::uint64_t end) const {
        return node_bytes_ == 0 ? end : std::min(end, (node_of(spa) + 1) * node_bytes_);
    }
    std::uint64_t total_pages() const { return (end_ - first_) / page_bytes; }

    struct State {
        std::map<std::uint64_t, std::uint64_t> free_runs;  // start address -> pages; never touching one another
        std::uint64_t free_pages = 0;

        bool operator==(const State&) const = default;
        template <class Archive>
        void fields(Archive& archive) {
            archive(free_runs, free_pages);
        }
    };
    const State& state() const { return state_; }
    void reset();
    template <class Archive>
    void fields(Archive& archive) {
        archive(state_);
    }

private:
    using Place = std::map<std::uint64_t, std::uint64_t>::iterator;
    void take(Place run, std::uint64_t spa, std::uint64_t pages);

    std::uint64_t first_;
    std::uint64_t end_;
    std::uint64_t node_bytes_;
    State state_;
};

}  // namespace models
