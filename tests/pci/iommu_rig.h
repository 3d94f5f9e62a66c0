// An IOMMU over a small memory whose tables software has built: two functions with a domain each, one passed through.
#pragma once

#include <map>

#include "pci/iommu.h"
#include "slat/table_writer.h"
#include "tests/pci/rig.h"

namespace pci_test {

struct MemoryHost final : pci::HostPort {
    explicit MemoryHost(mmu::SystemMemory the_memory) : memory(the_memory) {}
    pci::DmaStatus read_memory(pci::RequesterId, std::uint64_t address, std::span<std::byte> out) override {
        return memory.read(address, out) ? pci::DmaStatus::ok : pci::DmaStatus::unsupported;
    }
    pci::DmaStatus write_memory(pci::RequesterId, std::uint64_t address, std::span<const std::byte> data) override {
        return memory.write(address, data) ? pci::DmaStatus::ok : pci::DmaStatus::unsupported;
    }
    void interrupt(const pci::InterruptMessage& message) override { messages.push_back(message); }
    void line(unsigned, bool) override {}
    mmu::SystemMemory memory;
    std::vector<pci::InterruptMessage> messages;
};

struct IommuRig final : slat::TablePages {
    static constexpr std::uint64_t memory_bytes = 8 << 20;
    static constexpr std::uint64_t root_table = 0x1000, context_table = 0x2000, interrupt_table = 0x3000,
                                   queue = 0x4000, descriptor = 0x5000;
    static constexpr pci::RequesterId first{0x0010}, second{0x0090}, passed{0x0018}, unknown{0x0020};

    sim::Simulation simulation;
    std::vector<std::byte> bytes = std::vector<std::byte>(memory_bytes);
    mmu::SystemMemory memory{bytes.data(), memory_bytes};
    MemoryHost host{memory};
    pci::FixedHostTiming timing{sim::Time::ns(100), sim::Time::zero()};
    pci::Iommu iommu;
    std::uint64_t next_table = 0x10'0000;
    std::map<std::uint16_t, slat::TableWriter> tables;
    std::uint32_t tail = 0;

    explicit IommuRig(const pci::IommuConfig& config = {})
        : iommu(simulation.scope("iommu"), memory, host, timing, config) {
        memory.store<std::uint64_t>(root_table, context_table | 1);
        domain(first, 1, config.second);
        domain(second, 2, config.second);
        set_context(passed, 2 << 2 | 1, 3 << 8 | 2);
        iommu.set_root_table(root_table);
        iommu.set_queue(queue, 8);
        iommu.enable_translation(true);
    }
    std::optional<std::uint64_t> allocate_table() override {
        next_table += 4096;
        return next_table - 4096;
    }
    void free_table(std::uint64_t) override {}

    void domain(pci::RequesterId who, std::uint16_t number, const slat::SecondLevel& format) {
        auto [place, added] = tables.try_emplace(number, format, memory, *this);
        REQUIRE(place->second.create() == slat::Edit::ok);
        set_context(who, place->second.second_level().root | 1, std::uint64_t{number} << 8 | 2);
    }
    void set_context(pci::RequesterId who, std::uint64_t low, std::uint64_t high) {
        memory.store<std::uint64_t>(context_table + 16 * who.devfn(), low);
        memory.store<std::uint64_t>(context_table + 16 * who.devfn() + 8, high);
    }
    void map(std::uint16_t domain, std::uint64_t from, std::uint64_t to, slat::PageRights rights = {},
             std::uint8_t shift = 12) {
        REQUIRE(tables.at(domain).map(from, to, shift, rights) == slat::Edit::ok);
    }
    void invalidate(std::uint64_t low, std::uint64_t high = 0) {
        memory.store<std::uint64_t>(queue + 16 * tail, low);
        memory.store<std::uint64_t>(queue + 16 * tail + 8, high);
        tail = (tail + 1) % 256;
        iommu.set_queue_tail(tail);
    }
    pci::DmaStatus write(pci::RequesterId who, std::uint64_t address, std::uint32_t value) {
        return iommu.write_memory(who, address, std::as_bytes(std::span{&value, 1}));
    }
    pci::DmaStatus read(pci::RequesterId who, std::uint64_t address) {
        std::uint32_t value = 0;
        return iommu.read_memory(who, address, std::as_writable_bytes(std::span{&value, 1}));
    }
    std::int64_t served_ns(pci::RequesterId who, std::uint64_t address, std::int64_t arrival_ns = 0,
                           bool is_write = false, std::uint32_t size = 64) {
        return iommu.served({who, address, size, is_write}, sim::Time::ns(arrival_ns)).ps() / 1000;
    }
    void set_interrupt(unsigned index, std::uint64_t low, std::uint64_t high) {
        memory.store<std::uint64_t>(interrupt_table + 16 * index, low);
        memory.store<std::uint64_t>(interrupt_table + 16 * index + 8, high);
    }
};

}  // namespace pci_test
