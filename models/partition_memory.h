// The pages of host memory behind a guest's RAM: taken from the root's free pages, clean, and written by the root while
// it builds the guest.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "hypervisor/page_source.h"
#include "models/host_memory.h"
#include "models/memory_layout.h"

namespace models {

struct MemoryRun {
    std::uint64_t gpa = 0;
    std::uint64_t spa = 0;
    std::uint64_t pages = 0;

    bool operator==(const MemoryRun&) const = default;
    template <class Archive>
    void fields(Archive& archive) {
        archive(gpa, spa, pages);
    }
};

// The root's free pages, and which of them may hold somebody's old data. Hypercalls that deposit memory take from here.
class RootPages final : public hypervisor::PageSource {
public:
    RootPages(HostMemory& memory, PageAllocator& pages) : memory_(memory), pages_(pages) {}

    std::uint64_t free_pages() const { return pages_.free_pages(); }
    std::uint64_t free_pages(const AddressRange& of) const { return pages_.free_pages(of.first, of.end()); }
    // All zero. All or nothing: nothing (empty) if there are not as many.
    [[nodiscard]] std::vector<MemoryRun> allocate(const MemoryLayout& layout);
    // `from`: in equal parts of each of these host addresses; of all, if there are none.
    [[nodiscard]] std::vector<MemoryRun> allocate(std::span<const AddressRange> ranges,
                                                  std::span<const AddressRange> from = {});
    void free(std::span<const MemoryRun> runs);

    // Of any content.
    [[nodiscard]] std::optional<std::uint64_t> allocate_page() override;
    void free_page(std::uint64_t spa) override { pages_.free(spa); }

    template <class Archive>
    void fields(Archive& archive) {
        archive(used_ends_);
    }

private:
    bool take(AddressRange range, std::uint64_t pages, const AddressRange* of, std::vector<MemoryRun>& runs);
    void clean(std::uint64_t spa, std::uint64_t pages);
    std::uint64_t& used_end(std::uint64_t spa);

    HostMemory& memory_;
    PageAllocator& pages_;
    // By node: pages from here on have never been handed out. The allocator gives the lowest that fit.
    std::vector<std::uint64_t> used_ends_;
};

// The run that holds a guest address, of runs sorted by address; null if none does.
const MemoryRun* find_run(std::span<const MemoryRun> runs, std::uint64_t gpa);

// Writes into guest memory through the root's own mapping of it. False if a byte of it is not RAM.
[[nodiscard]] bool write_guest(const HostMemory& memory, std::span<const MemoryRun> runs, std::uint64_t gpa,
                               std::span<const std::byte> bytes);

}  // namespace models
