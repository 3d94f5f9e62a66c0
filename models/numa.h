// A host's NUMA nodes: each has an equal share of the processors and of the memory, and every adapter stands at one of
// them. Whatever crosses from one node to another takes longer (docs/timing.md, `numa.*`). A host with one node has no
// such costs.
#pragma once

#include <cstdint>

#include "sim/time.h"

namespace models {

struct NumaNodes {
    std::uint32_t count = 1;
    std::uint32_t processors = 1;  // of the host
    std::uint64_t memory_bytes = 0;

    bool several() const { return count > 1; }
    std::uint32_t processors_of_each() const { return processors / count; }
    std::uint64_t bytes_of_each() const { return memory_bytes / count; }
    std::uint32_t of_processor(std::uint32_t lp) const { return lp / processors_of_each(); }
    // Addresses beyond the memory, which only devices answer, are the last node's.
    std::uint32_t of_address(std::uint64_t spa) const {
        const std::uint64_t node = several() ? spa / bytes_of_each() : 0;
        return node < count ? static_cast<std::uint32_t>(node) : count - 1;
    }
    std::uint32_t first_processor(std::uint32_t node) const { return node * processors_of_each(); }
    // Bit n: logical processor n.
    std::uint64_t processors_of(std::uint32_t node) const {
        const std::uint32_t each = processors_of_each();
        const std::uint64_t ones = each >= 64 ? ~std::uint64_t{0} : (std::uint64_t{1} << each) - 1;
        return ones << first_processor(node);
    }
};

struct NumaCosts {
    sim::Time memory;                // a line of another node's memory, besides what one's own takes
    std::uint32_t misses = 0;        // lines of memory that a microsecond of work waits for
    std::uint32_t fill_buffers = 1;  // lines that a processor fetches at once while it copies
    sim::Time dma_read;              // besides, a device's read of another node's memory
    sim::Time dma_write;
    sim::Time message;  // an interrupt from one node to another

    // Besides, of a microsecond's work, and of copying a KiB, where all memory is another node's.
    sim::Time per_microsecond() const { return memory * misses; }
    sim::Time per_kibibyte() const {
        constexpr int lines = 1024 / 64;
        return memory * lines / fill_buffers;
    }
};

}  // namespace models
