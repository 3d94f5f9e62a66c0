// How software makes the IOMMU forget: the invalidation queue (VT-d 6.5.2). What it says is carried out at once; a wait
// descriptor tells that all before it is done.
#include "pci/iommu.h"

namespace pci {

namespace inv = invalidation;

void Iommu::invalidate_contexts(std::optional<std::uint16_t> domain) {
    caches_.drop_contexts(
        [&](std::uint16_t, const IommuContext& context) { return !domain || context.domain == *domain; });
}

void Iommu::invalidate_context(RequesterId requester) {
    caches_.drop_contexts([&](std::uint16_t of, const IommuContext&) { return of == requester.value; });
}

void Iommu::invalidate_translations(std::optional<std::uint16_t> domain) {
    caches_.drop_translations([&](std::uint16_t of, std::uint64_t, std::uint64_t) { return !domain || of == *domain; });
}

void Iommu::invalidate_pages(std::uint16_t domain, std::uint64_t address, std::uint64_t bytes) {
    const std::uint64_t end = address + (bytes - 1);
    caches_.drop_translations([&](std::uint16_t of, std::uint64_t first, std::uint64_t last) {
        return of == domain && first <= end && last >= address;
    });
}

void Iommu::set_queue(std::uint64_t spa, unsigned size_log2) {
    state_.queue = spa & dma_remapping::address_mask;
    state_.queue_entries = 1u << (size_log2 & 15);
    state_.queue_head = 0;
    state_.queue_error = false;
}

void Iommu::set_queue_tail(std::uint32_t index) {
    if (index >= state_.queue_entries) {
        state_.queue_error = true;
        return;
    }
    while (state_.queue_head != index && !state_.queue_error) {
        std::uint64_t low = 0;
        std::uint64_t high = 0;
        const std::uint64_t at = state_.queue + inv::descriptor_bytes * state_.queue_head;
        if (!memory_.try_load(at, low) || !memory_.try_load(at + 8, high) || !carry_out(low, high)) {
            state_.queue_error = true;
            scope_.trace("queue_error", state_.queue_head, low, high);
            return;
        }
        state_.queue_head = (state_.queue_head + 1) & (state_.queue_entries - 1);
    }
}

bool Iommu::carry_out(std::uint64_t low, std::uint64_t high) {
    const auto domain = static_cast<std::uint16_t>(low >> inv::domain_shift);
    const std::uint64_t granularity = low >> inv::granularity_shift & 3;
    switch (low & inv::type_mask) {
        case inv::context: {
            if (granularity == inv::global) {
                invalidate_contexts();
            } else if (granularity == inv::domain) {
                invalidate_contexts(domain);
            } else if (granularity == inv::specific) {
                static constexpr std::uint16_t ignored[] = {0, 4, 6, 7};
                const std::uint16_t mask = ignored[low >> inv::function_mask_shift & 3];
                const auto source = static_cast<std::uint16_t>(low >> inv::source_shift);
                caches_.drop_contexts(
                    [&](std::uint16_t of, const IommuContext&) { return ((of ^ source) & ~mask & 0xffff) == 0; });
            } else {
                return false;
            }
            return true;
        }
        case inv::iotlb: {
            if (granularity == inv::global) {
                invalidate_translations();
            } else if (granularity == inv::domain) {
                invalidate_translations(domain);
            } else if (granularity == inv::specific) {
                const std::uint64_t order = high & 0x3f;
                if (order > 36) return false;
                const std::uint64_t bytes = std::uint64_t{4096} << order;
                invalidate_pages(domain, high & ~(bytes - 1), bytes);
            } else {
                return false;
            }
            return true;
        }
        case inv::device_tlb:         // no device here keeps translations
        case inv::interrupt_entries:  // entries are read anew for each interrupt
            return true;
        case inv::wait:
            if ((low & inv::wait_status_write) != 0) {
                memory_.store<std::uint32_t>(high & ~std::uint64_t{3}, static_cast<std::uint32_t>(low >> 32));
            }
            return true;
        default:
            return false;
    }
}

}  // namespace pci
