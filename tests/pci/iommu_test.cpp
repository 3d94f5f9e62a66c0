// DMA remapping: who reaches what, what is recorded of the rest, what is cached and how long it all takes.
#include <doctest/doctest.h>

#include "sim/archive.h"
#include "tests/pci/iommu_rig.h"

namespace iommu_test {

using namespace pci_test;
using pci::DmaStatus;
using pci::FaultReason;
using pci::IommuFault;

TEST_CASE("each function reaches its own domain's memory, and no other") {
    IommuRig rig;
    rig.map(1, 0x8000, 0x20'0000);
    rig.map(2, 0x8000, 0x30'0000);
    CHECK(rig.write(rig.first, 0x8010, 0x11) == DmaStatus::ok);
    CHECK(rig.write(rig.second, 0x8010, 0x22) == DmaStatus::ok);
    CHECK(rig.memory.load<std::uint32_t>(0x20'0010) == 0x11);
    CHECK(rig.memory.load<std::uint32_t>(0x30'0010) == 0x22);
    CHECK(rig.write(rig.passed, 0x40'0000, 0x33) == DmaStatus::ok);
    CHECK(rig.memory.load<std::uint32_t>(0x40'0000) == 0x33);
    CHECK(rig.iommu.faults().size() == 0);
}

TEST_CASE("what is not a function's own is blocked and recorded") {
    struct Row {
        pci::RequesterId who;
        std::uint64_t address;
        bool write;
        FaultReason reason;
    };
    IommuRig rig;
    rig.map(1, 0x8000, 0x20'0000, {true, false, false});
    rig.set_context({0x28}, 1u << 4 | 1, 2);                    // a reserved bit
    rig.set_context({0x30}, 0x10'0000 | 1, 1);                  // three levels
    rig.set_context({0x38}, 3 << 2 | 1, 2);                     // a type that is none
    rig.set_context({0x40}, 0xffff'ffff'f000 | 1, 2 | 9 << 8);  // tables where no memory is
    for (const Row& row : {
             Row{rig.first, 0x8000, true, FaultReason::write_denied},
             Row{rig.first, 0x9000, false, FaultReason::read_denied},
             Row{rig.first, 0x9000, true, FaultReason::write_denied},
             Row{rig.second, 0x8000, false, FaultReason::read_denied},
             Row{rig.first, 0x1'0000'0000'8000, false, FaultReason::beyond_address_width},
             Row{rig.unknown, 0x8000, false, FaultReason::context_not_present},
             Row{{0x0100}, 0x8000, false, FaultReason::root_not_present},
             Row{{0x28}, 0x8000, false, FaultReason::context_reserved},
             Row{{0x30}, 0x8000, false, FaultReason::context_invalid},
             Row{{0x38}, 0x8000, false, FaultReason::context_invalid},
             Row{{0x40}, 0x8000, false, FaultReason::table_reserved},
         }) {
        const auto before = rig.bytes;
        CHECK((row.write ? rig.write(row.who, row.address, 1) : rig.read(row.who, row.address)) ==
              DmaStatus::unsupported);
        CHECK(rig.bytes == before);
        const auto fault = rig.iommu.faults().take();
        REQUIRE(fault.has_value());
        CHECK(*fault == IommuFault{row.reason, row.who, row.address, row.write});
    }
}

TEST_CASE("faults: a bounded list, an overflow flag, one message; silence where the context asks for it") {
    IommuRig rig;
    rig.iommu.set_fault_event(pci::InterruptMessage{0xfee0'0000, 0x30, {}});
    for (unsigned i = 0; i < 20; ++i) (void)rig.read(rig.first, 0x10'0000 + 0x1000 * i);
    CHECK(rig.iommu.faults().size() == 8);
    CHECK(rig.iommu.faults().overflow());
    CHECK(rig.host.messages.size() == 1);
    CHECK(rig.iommu.faults().take()->address == 0x10'0000);
    while (rig.iommu.faults().take()) {
    }
    (void)rig.read(rig.first, 0x10'0000);
    CHECK(rig.host.messages.size() == 2);
    (void)rig.iommu.faults().take();
    rig.set_context(rig.unknown, rig.tables.at(1).second_level().root | 3, 1 << 8 | 2);
    CHECK(rig.read(rig.unknown, 0x10'0000) == DmaStatus::unsupported);
    CHECK(rig.iommu.faults().size() == 0);
}

TEST_CASE("an access over pages that lie apart; what comes before a fault has happened") {
    IommuRig rig;
    rig.map(1, 0x8000, 0x20'0000);
    rig.map(1, 0x9000, 0x30'0000);
    std::vector<std::byte> data(8192, std::byte{7});
    CHECK(rig.iommu.write_memory(rig.first, 0x8800, std::span{data}.first(4096)) == DmaStatus::ok);
    CHECK(rig.bytes[0x20'0fff] == std::byte{7});
    CHECK(rig.bytes[0x30'0000] == std::byte{7});
    CHECK(rig.bytes[0x30'07ff] == std::byte{7});
    CHECK(rig.bytes[0x30'0800] == std::byte{0});
    CHECK(rig.iommu.write_memory(rig.first, 0x9800, std::span{data}.first(4096)) == DmaStatus::unsupported);
    CHECK(rig.bytes[0x30'0800] == std::byte{7});
    CHECK(rig.iommu.faults().take() == IommuFault{FaultReason::write_denied, rig.first, 0xa000, true});
}

TEST_CASE("time: a walk reads what the caches do not know; hits and pass-through are free") {
    IommuRig rig;
    rig.map(1, 0x8000, 0x20'0000);
    rig.map(1, 0x9000, 0x21'0000);
    rig.map(1, 0x40'0000, 0x40'0000, {}, 21);
    // 100 ns of memory in each. Context 2 references, tables 4, then 1 from the level-2 cache; 2 MiB: 2 from level 3.
    CHECK(rig.served_ns(rig.first, 0x8000, 1000) == 1000 + 200 + 6 * 98 + 100);
    CHECK(rig.served_ns(rig.first, 0x8100, 5000) == 5000 + 100);
    CHECK(rig.served_ns(rig.first, 0x9000, 6000) == 6000 + 200 + 98 + 100);
    CHECK(rig.served_ns(rig.first, 0x41'0000, 8000) == 8000 + 200 + 98 + 100);
    CHECK(rig.served_ns(rig.first, 0x5f'0000, 9000) == 9000 + 100);
    CHECK(rig.served_ns(rig.passed, 0x5f'0000, 9000) == 9000 + 100);
    CHECK(rig.served_ns(rig.first, 0x8000, 9000, true) == 9000);
    CHECK(rig.served_ns(rig.first, 0x8ff0, 20000, false, 32) == 20000 + 100);  // two pages, both known
    CHECK(rig.served_ns(rig.first, 0xb000, 30000) == 30000 + 298);             // a fault's walk, and nothing read
    CHECK(rig.iommu.faults().size() == 0);                                     // recorded when it is carried out
}

TEST_CASE("time: as many walks at once as there are walkers; who asks for the same page waits for its walk") {
    pci::IommuConfig config;
    config.walkers = 2;
    IommuRig rig(config);
    for (unsigned page = 0; page < 8; ++page) rig.map(1, 0x8000 + 0x1000 * page, 0x20'0000 + 0x1000 * page);
    CHECK(rig.served_ns(rig.first, 0x8000, 0) == 888);
    CHECK(rig.served_ns(rig.first, 0x9000, 10'000) == 10'398);
    CHECK(rig.served_ns(rig.first, 0x9000, 10'100) == 10'398);
    CHECK(rig.served_ns(rig.first, 0xa000, 10'100) == 10'498);
    CHECK(rig.served_ns(rig.first, 0xb000, 10'150) == 10'298 + 398);
    CHECK(rig.served_ns(rig.first, 0xc000, 10'150) == 10'398 + 398);
}

TEST_CASE("time: as many translations stay as the IOTLB has entries") {
    IommuRig rig;
    for (unsigned page = 0; page < 72; ++page) rig.map(1, 0x1000 * page, 0x20'0000 + 0x1000 * page);
    const auto misses = [&](unsigned pages) {
        unsigned count = 0;
        for (unsigned turn = 0; turn < 2; ++turn) {
            count = 0;
            for (unsigned page = 0; page < pages; ++page) {
                const std::int64_t at = 1'000'000 * (turn + 1) + 10'000 * page;
                if (rig.served_ns(rig.first, 0x1000 * page, at) != at + 100) ++count;
            }
        }
        return count;
    };
    CHECK(misses(64) == 0);
    CHECK(misses(72) == 72);  // least recently used goes: a cycle of nine in sets of eight never hits
}

TEST_CASE("a translation stays until it is invalidated, by page, by domain or all") {
    namespace inv = pci::invalidation;
    IommuRig rig;
    const auto reload = [&] {
        rig.map(1, 0x8000, 0x20'0000);
        (void)rig.served_ns(rig.first, 0x8000);
        REQUIRE(rig.tables.at(1).unmap(0x8000) == slat::Edit::ok);
    };
    const std::uint64_t domain1 = 1u << inv::domain_shift;
    const std::uint64_t domain2 = 2u << inv::domain_shift;
    struct Row {
        std::uint64_t low;
        std::uint64_t high;
        bool forgotten;
    };
    for (const Row& row : {
             Row{inv::iotlb | inv::global << 4, 0, true},
             Row{inv::iotlb | inv::domain << 4 | domain1, 0, true},
             Row{inv::iotlb | inv::domain << 4 | domain2, 0, false},
             Row{inv::iotlb | inv::specific << 4 | domain1, 0x8000, true},
             Row{inv::iotlb | inv::specific << 4 | domain1, 0x9000, false},
             Row{inv::iotlb | inv::specific << 4 | domain1, 0x9000 | 1, true},  // two pages from 0x8000 on
             Row{inv::iotlb | inv::specific << 4 | domain2, 0x8000, false},
             Row{inv::context | inv::global << 4, 0, false},
             Row{inv::device_tlb, 0, false},
             Row{inv::interrupt_entries, 0, false},
         }) {
        reload();
        rig.invalidate(row.low, row.high);
        CHECK_FALSE(rig.iommu.queue_error());
        CHECK((rig.read(rig.first, 0x8000) == DmaStatus::ok) == !row.forgotten);
        rig.iommu.invalidate_translations();
    }
    // A page that was not there is not remembered as such.
    CHECK(rig.read(rig.first, 0x8000) == DmaStatus::unsupported);
    rig.map(1, 0x8000, 0x20'0000);
    CHECK(rig.read(rig.first, 0x8000) == DmaStatus::ok);
}

TEST_CASE("contexts are remembered until they are invalidated") {
    namespace inv = pci::invalidation;
    for (const std::uint64_t descriptor :
         {inv::context | inv::global << 4, inv::context | inv::domain << 4 | 1u << 16,
          inv::context | inv::specific << 4 | std::uint64_t{0x10} << 32,
          inv::context | inv::specific << 4 | std::uint64_t{0x17} << 32 | std::uint64_t{3} << 48}) {
        IommuRig rig;
        rig.map(1, 0x8000, 0x20'0000);
        (void)rig.served_ns(rig.first, 0x8000);
        rig.set_context(rig.first, 0, 0);
        CHECK(rig.read(rig.first, 0x8000) == DmaStatus::ok);
        rig.invalidate(inv::context | inv::specific << 4 | std::uint64_t{0x90} << 32);
        CHECK(rig.read(rig.first, 0x8000) == DmaStatus::ok);
        rig.invalidate(descriptor);
        CHECK(rig.read(rig.first, 0x8000) == DmaStatus::unsupported);
    }
}

TEST_CASE("the queue: waits are written, nonsense stops it") {
    namespace inv = pci::invalidation;
    IommuRig rig;
    rig.invalidate(inv::wait | inv::wait_status_write | std::uint64_t{0xabcd} << 32, 0x6000);
    CHECK(rig.memory.load<std::uint32_t>(0x6000) == 0xabcd);
    rig.invalidate(0xf);
    CHECK(rig.iommu.queue_error());
    CHECK(rig.iommu.queue_head() == 1);
    rig.invalidate(inv::wait | inv::wait_status_write | std::uint64_t{1} << 32, 0x6000);
    CHECK(rig.memory.load<std::uint32_t>(0x6000) == 0xabcd);
    rig.memory.store<std::uint64_t>(rig.queue + 16, inv::device_tlb);
    rig.iommu.clear_queue_error();
    rig.iommu.set_queue_tail(3);
    CHECK(rig.memory.load<std::uint32_t>(0x6000) == 1);
    rig.iommu.set_queue_tail(256);
    CHECK(rig.iommu.queue_error());
}

TEST_CASE("nested page tables in AMD's format serve as well") {
    pci::IommuConfig config;
    config.second.format = slat::Format::npt;
    IommuRig rig(config);
    rig.map(1, 0x8000, 0x20'0000, {true, false, true});
    rig.map(1, 0x9000, 0x21'0000);
    (void)rig.served_ns(rig.first, 0x8000);
    (void)rig.served_ns(rig.first, 0x9000);
    CHECK(rig.read(rig.first, 0x8000) == DmaStatus::ok);
    CHECK(rig.write(rig.first, 0x8000, 1) == DmaStatus::unsupported);
    CHECK(rig.write(rig.first, 0x9000, 1) == DmaStatus::ok);
}

TEST_CASE("restored with all it remembers") {
    IommuRig one;
    one.map(1, 0x8000, 0x20'0000);
    (void)one.served_ns(one.first, 0x8000);
    (void)one.read(one.second, 0x8000);
    IommuRig two;
    two.bytes = one.bytes;
    two.memory = {two.bytes.data(), IommuRig::memory_bytes};
    sim::restore_from_bytes(two.iommu, sim::save_to_bytes(one.iommu));
    CHECK(two.served_ns(two.first, 0x8000, 10'000) == 10'100);
    CHECK(two.iommu.faults().take() == IommuFault{FaultReason::read_denied, two.second, 0x8000, false});
    CHECK(sim::save_to_bytes(one.iommu).size() == sim::save_to_bytes(two.iommu).size() + 12);
}

}  // namespace iommu_test
