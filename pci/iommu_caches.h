// What an IOMMU remembers: translations (IOTLB), the tables on the way to them, contexts, and when its page walkers are
// free again. A walk takes a fixed time and one per entry that it reads from memory.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <vector>

#include "mmu/associative_array.h"
#include "sim/time.h"
#include "slat/second_level.h"

namespace pci {

struct IommuConfig {
    mmu::ArrayShape iotlb{64, 8};
    // Paging-structure caches by the level of the entry they hold.
    mmu::ArrayShape level2{64, 4};
    mmu::ArrayShape level3{16, 4};
    mmu::ArrayShape level4{8, 4};
    mmu::ArrayShape contexts{64, 4};
    unsigned walkers = 5;
    sim::Time walk_overhead = sim::Time::ns(200);
    sim::Time reference = sim::Time::ns(98);  // each table entry read, context entries as well
    sim::Time interrupt = sim::Time::ns(60);  // remapping or posting one
    std::size_t fault_registers = 8;
    bool x2apic = true;                                 // destinations of 32 bits
    slat::SecondLevel second{.accessed_dirty = false};  // format and capabilities; the context gives the root
};

struct IotlbEntry {
    std::uint64_t frame = 0;
    sim::Time ready;  // when the walk that found it ends
    slat::PageRights rights;
    std::uint8_t page_shift = 12;

    bool operator==(const IotlbEntry&) const = default;
    template <class Archive>
    void fields(Archive& archive) {
        archive(frame, ready, rights, page_shift);
    }
};

// A function's context, as its entry said when it was read.
struct IommuContext {
    std::uint64_t root = 0;
    std::uint16_t domain = 0;
    std::uint8_t type = 0;
    bool fault_disable = false;

    bool operator==(const IommuContext&) const = default;
    template <class Archive>
    void fields(Archive& archive) {
        archive(root, domain, type, fault_disable);
    }
};

class IommuCaches final {
public:
    explicit IommuCaches(const IommuConfig& config)
        : iotlb_(config.iotlb, "IOTLB"),
          tables_{{{config.level2, "IOMMU level 2 cache"},
                   {config.level3, "IOMMU level 3 cache"},
                   {config.level4, "IOMMU level 4 cache"}}},
          contexts_(config.contexts, "context cache"),
          walkers_(config.walkers) {}

    // `used`: it counts as a use.
    const IotlbEntry* find(std::uint16_t domain, std::uint64_t address, bool used) {
        for (const std::uint8_t shift : {mmu::shift_4k, mmu::shift_2m, mmu::shift_1g}) {
            if (shift != mmu::shift_4k && !(large_pages_ & 1u << (shift == mmu::shift_1g ? 1 : 0))) continue;
            const std::uint64_t key = key_of(address, shift);
            const std::uint64_t index = index_of(address >> shift, domain);
            if (used) {
                if (const auto* slot = iotlb_.find(index, key, domain, domain)) return &slot->payload;
            } else if (const IotlbEntry* entry = peek(index, key, domain)) {
                return entry;
            }
        }
        return nullptr;
    }
    void insert(std::uint16_t domain, std::uint64_t address, const IotlbEntry& entry) {
        if (entry.page_shift != mmu::shift_4k) large_pages_ |= entry.page_shift == mmu::shift_1g ? 2 : 1;
        iotlb_.insert(index_of(address >> entry.page_shift, domain), key_of(address, entry.page_shift), domain, entry);
    }

    // What was found last for a function's page, whether or not the IOTLB still has it: a second look within an access
    // costs no walk of ours. Hardware may keep translations as long until it is told to forget; so does this.
    struct Recent {
        std::uint64_t page = ~std::uint64_t{0};
        std::uint64_t spa = 0;
        std::uint16_t requester = 0;
        bool readable = false;
        bool writable = false;
        template <class Archive>
        void fields(Archive& archive) {
            archive(page, spa, requester, readable, writable);
        }
    };
    const Recent* find_recent(std::uint16_t requester, std::uint64_t page, bool write) const {
        const Recent& it = recent_[recent_index(requester, page)];
        const bool known = it.page == page && it.requester == requester && (write ? it.writable : it.readable);
        return known ? &it : nullptr;
    }
    void keep_recent(std::uint16_t requester, std::uint64_t page, std::uint64_t spa, const slat::PageRights& rights) {
        recent_[recent_index(requester, page)] = {page, spa, requester, rights.readable, rights.writable};
    }
    void drop_recent() { recent_.assign(recent_.size(), {}); }

    // The lowest table known on the way to `address`.
    slat::Start start(const slat::SecondLevel& second, std::uint16_t domain, std::uint64_t address) {
        for (int level = 2; level <= 4; ++level) {
            const std::uint64_t page = address >> (3 + 9 * level);
            auto& cache = tables_[static_cast<unsigned>(level - 2)];
            if (const auto* slot = cache.find(index_of(page, domain), page, domain, domain)) {
                return {level - 1, slot->payload.table, slot->payload.rights};
            }
        }
        return slat::root_of(second);
    }
    void insert_table(int level, std::uint16_t domain, std::uint64_t address, std::uint64_t table,
                      const slat::PageRights& rights) {
        const std::uint64_t page = address >> (3 + 9 * level);
        tables_[static_cast<unsigned>(level - 2)].insert(index_of(page, domain), page, domain, {table, rights});
    }

    const IommuContext* find_context(std::uint16_t requester) {
        const auto* slot = contexts_.find(index_of(requester), requester, 0, 0);
        return slot != nullptr ? &slot->payload : nullptr;
    }
    void insert_context(std::uint16_t requester, const IommuContext& context) {
        contexts_.insert(index_of(requester), requester, 0, context);
    }

    // A walk of `time` that may begin at `from`: when it ends.
    sim::Time walk(sim::Time from, sim::Time time) {
        sim::Time& walker = *std::min_element(walkers_.begin(), walkers_.end());
        walker = std::max(walker, from) + time;
        return walker;
    }

    template <class Matches>
    void drop_translations(Matches&& matches) {  // matches(domain, first address, last address)
        drop_recent();
        iotlb_.erase_if([&](const auto& slot) {
            const std::uint64_t first = slot.key & ~std::uint64_t{0xfff};
            const std::uint64_t bytes = std::uint64_t{1} << slot.payload.page_shift;
            return matches(static_cast<std::uint16_t>(slot.context), first, first + (bytes - 1));
        });
        for (unsigned i = 0; i < tables_.size(); ++i) {
            tables_[i].erase_if([&](const auto& slot) {
                const unsigned shift = 3 + 9 * (i + 2);
                const std::uint64_t first = slot.key << shift;
                return matches(static_cast<std::uint16_t>(slot.context), first,
                               first + ((std::uint64_t{1} << shift) - 1));
            });
        }
    }
    template <class Matches>
    void drop_contexts(Matches&& matches) {  // matches(requester, context)
        drop_recent();
        contexts_.erase_if(
            [&](const auto& slot) { return matches(static_cast<std::uint16_t>(slot.key), slot.payload); });
    }

    template <class Archive>
    void fields(Archive& archive) {
        archive(iotlb_, tables_, contexts_, large_pages_);
        for (sim::Time& walker : walkers_) archive(walker);
        for (Recent& it : recent_) archive(it);
    }

private:
    struct Table {
        std::uint64_t table = 0;
        slat::PageRights rights;
        bool operator==(const Table&) const = default;
        template <class Archive>
        void fields(Archive& archive) {
            archive(table, rights);
        }
    };
    static constexpr std::size_t recent_entries = 1024;
    static std::size_t recent_index(std::uint16_t requester, std::uint64_t page) {
        return (page ^ requester * 37u) % recent_entries;
    }
    // Virtual functions have every second identity: they are to share all sets.
    static std::uint64_t index_of(std::uint16_t requester) { return requester ^ requester >> 1; }
    static std::uint64_t key_of(std::uint64_t address, std::uint8_t shift) { return address >> shift << shift | shift; }
    // Domains share the sets without meeting in the same ones.
    static std::uint64_t index_of(std::uint64_t page, std::uint16_t domain) { return page + domain * 0x9e37u; }
    const IotlbEntry* peek(std::uint64_t index, std::uint64_t key, std::uint16_t domain) const {
        if (iotlb_.size() == 0) return nullptr;
        const std::uint64_t sets = iotlb_.capacity() / iotlb_.ways();
        const auto* set = &iotlb_.slots()[(index & (sets - 1)) * iotlb_.ways()];
        for (std::uint32_t way = 0; way < iotlb_.ways(); ++way) {
            if (set[way].key == key && set[way].context == domain) return &set[way].payload;
        }
        return nullptr;
    }

    mmu::AssociativeArray<IotlbEntry> iotlb_;
    std::array<mmu::AssociativeArray<Table>, 3> tables_;
    mmu::AssociativeArray<IommuContext> contexts_;
    std::vector<sim::Time> walkers_;
    std::vector<Recent> recent_ = std::vector<Recent>(recent_entries);
    std::uint8_t large_pages_ = 0;  // sizes that were ever put in: bit 0 2 MiB, bit 1 1 GiB
};

}  // namespace pci
