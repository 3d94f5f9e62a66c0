// What an IOMMU remembers: translations (IOTLB), the tables on the way to them, contexts, and when its page walkers are
// free again. A walk takes a fixed time and one per entry that it reads from memory.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
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
            } else if (const auto* slot = iotlb_.peek(index, key, domain)) {
                return &slot->payload;
            }
        }
        return nullptr;
    }
    void insert(std::uint16_t domain, std::uint64_t address, const IotlbEntry& entry) {
        if (entry.page_shift != mmu::shift_4k) large_pages_ |= entry.page_shift == mmu::shift_1g ? 2 : 1;
        ++changes_;
        iotlb_.insert(index_of(address >> entry.page_shift, domain), key_of(address, entry.page_shift), domain, entry);
    }

    // The translation of a function's address as the context cache and the IOTLB have it, both used by that, where both
    // are known to be where they were the last time: no sets are searched. Nothing: they have to be asked.
    // With `used` false it counts as nobody's use, and the context may have made room for others.
    const IotlbEntry* find_known(std::uint16_t requester, std::uint64_t address, bool used) {
        const Known& it = known_[known_index(requester, address)];
        if (it.changes != changes_ || it.requester != requester) return nullptr;
        if ((address ^ it.first) >> it.entry.page_shift != 0) return nullptr;
        if (used) {
            contexts_.touch(*it.context);
            iotlb_.touch(*it.translation);
        }
        return &it.entry;
    }
    // What find_context() and find() have just found.
    void know(std::uint16_t requester, std::uint16_t domain, std::uint64_t address, std::uint8_t page_shift) {
        const std::uint64_t key = key_of(address, page_shift);
        auto* const context = contexts_.peek(index_of(requester), requester, 0);
        auto* const translation = iotlb_.peek(index_of(address >> page_shift, domain), key, domain);
        if (context == nullptr || translation == nullptr) return;
        known_[known_index(requester, address)] = {changes_,    address,   context,
                                                   translation, requester, translation->payload};
    }

    // What was found last for a function's page, whether or not the IOTLB still has it: a second look within an access
    // costs no walk of ours. Hardware may keep translations as long until it is told to forget; so does this.
    struct Recent {
        std::uint64_t first = ~std::uint64_t{0};
        std::uint64_t spa = 0;
        std::uint16_t requester = 0;
        std::uint8_t page_shift = 0;
        bool readable = false;
        bool writable = false;
        template <class Archive>
        void fields(Archive& archive) {
            archive(first, spa, requester, page_shift, readable, writable);
        }
    };
    std::optional<std::uint64_t> find_recent(std::uint16_t requester, std::uint64_t address, bool write) const {
        for (const std::uint8_t shift : {mmu::shift_2m, mmu::shift_4k}) {
            if (shift != mmu::shift_4k && large_pages_ == 0) continue;
            const Recent& it = recent_[recent_index(requester, address >> shift)];
            const bool here = (address ^ it.first) >> it.page_shift == 0 && it.requester == requester;
            if (here && (write ? it.writable : it.readable)) {
                return it.spa | (address & ((std::uint64_t{1} << it.page_shift) - 1));
            }
        }
        return std::nullopt;
    }
    // `spa` is where the page begins that is so large. Of one of 1 GiB each piece of 2 MiB is kept by itself. What is
    // returned is its place.
    const Recent* keep_recent(std::uint16_t requester, std::uint64_t address, std::uint64_t spa,
                              std::uint8_t page_shift, const slat::PageRights& rights) {
        const std::uint8_t shift = std::min(page_shift, mmu::shift_2m);
        const std::uint64_t within = (std::uint64_t{1} << page_shift) - 1, kept = (std::uint64_t{1} << shift) - 1;
        Recent& place = recent_[recent_index(requester, address >> shift)];
        place = {address & ~kept, spa | (address & within & ~kept), requester, shift, rights.readable, rights.writable};
        return &place;
    }
    void drop_recent() {
        recent_.assign(recent_.size(), {});
        ++changes_;
    }

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
        ++changes_;
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
        if constexpr (Archive::reading) ++changes_;
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
    // All in one of the simulating computer's cache lines.
    struct alignas(64) Known {
        std::uint64_t changes = 0;  // of the two arrays, until then: where something came or went all is asked anew
        std::uint64_t first = 0;    // an address of the page
        mmu::AssociativeArray<IommuContext>::Slot* context = nullptr;
        mmu::AssociativeArray<IotlbEntry>::Slot* translation = nullptr;
        std::uint16_t requester = 0;
        IotlbEntry entry;
    };
    static_assert(sizeof(Known) == 64);
    static constexpr std::size_t known_entries = 128;
    static std::size_t known_index(std::uint16_t requester, std::uint64_t address) {
        return (address >> mmu::shift_2m ^ requester >> 1) % known_entries;
    }
    static constexpr std::size_t recent_entries = 1024;
    static std::size_t recent_index(std::uint16_t requester, std::uint64_t page) {
        return (page ^ requester * 37u) % recent_entries;
    }
    // Virtual functions have every second identity: they are to share all sets.
    static std::uint64_t index_of(std::uint16_t requester) { return requester ^ requester >> 1; }
    static std::uint64_t key_of(std::uint64_t address, std::uint8_t shift) { return address >> shift << shift | shift; }
    // Domains share the sets without meeting in the same ones.
    static std::uint64_t index_of(std::uint64_t page, std::uint16_t domain) { return page + domain * 0x9e37u; }
    mmu::AssociativeArray<IotlbEntry> iotlb_;
    std::array<mmu::AssociativeArray<Table>, 3> tables_;
    mmu::AssociativeArray<IommuContext> contexts_;
    std::vector<sim::Time> walkers_;
    std::array<Known, known_entries> known_{};  // derived
    std::uint64_t changes_ = 1;
    std::vector<Recent> recent_ = std::vector<Recent>(recent_entries);
    std::uint8_t large_pages_ = 0;  // sizes that were ever put in: bit 0 2 MiB, bit 1 1 GiB
};

}  // namespace pci
