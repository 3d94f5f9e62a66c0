// Interrupt remapping and posting: which vector of whose goes where, and what is blocked.
#include <doctest/doctest.h>

#include "tests/pci/iommu_rig.h"

namespace interrupt_remapping_test {

using namespace pci_test;
using pci::FaultReason;
using pci::InterruptMessage;

namespace {

constexpr std::uint64_t verify_requester = 1ull << 18;
constexpr std::uint64_t verify_buses = 2ull << 18;

struct Remapping {
    IommuRig rig;
    Remapping() {
        rig.iommu.set_interrupt_table(rig.interrupt_table, 7);  // 256 entries
        rig.iommu.enable_interrupt_remapping(true, false);
    }
    void raise(pci::RequesterId who, std::uint64_t address, std::uint32_t data = 0) {
        rig.iommu.interrupt({address, data, who});
    }
    static std::uint64_t handle(unsigned index) { return 0xfee0'0010 | index << 5; }
    FaultReason fault() {
        const auto recorded = rig.iommu.faults().take();
        return recorded ? recorded->reason : FaultReason::none;
    }
};

}  // namespace

TEST_CASE("an entry says vector, destination and mode; the device's own data say nothing") {
    Remapping r;
    r.rig.set_interrupt(5, 1 | 0x41 << 16 | 0x3ull << 32, verify_requester | 0x10);
    r.raise(r.rig.first, r.handle(5));
    r.rig.set_interrupt(6, 1 | 4 | 8 | 1 << 5 | 0x42 << 16 | 0x1203ull << 32, 0);
    r.raise(r.rig.first, r.handle(6));
    r.raise(r.rig.first, 0xfee0'0018 | 4 << 5, 2);  // handle 4, sub-handle 2
    CHECK(r.rig.host.messages == std::vector<InterruptMessage>{{0xfee0'3000, 0x41, r.rig.first},
                                                               {0x1200'fee0'300c, 0x142, r.rig.first},
                                                               {0x1200'fee0'300c, 0x142, r.rig.first}});
    CHECK(r.fault() == FaultReason::none);
}

TEST_CASE("interrupts that are blocked") {
    struct Row {
        std::uint64_t low;
        std::uint64_t high;
        std::uint64_t address;
        std::uint32_t data;
        FaultReason reason;
    };
    constexpr std::uint64_t good = 1 | 0x41 << 16;
    for (const Row& row : {
             Row{good, verify_requester | 0x10, Remapping::handle(5), 0, FaultReason::none},
             Row{good, verify_requester | 0x90, Remapping::handle(5), 0, FaultReason::interrupt_source},
             Row{good, verify_requester | 1 << 16 | 0x14, Remapping::handle(5), 0, FaultReason::none},
             Row{good, verify_requester | 3 << 16 | 0x17, Remapping::handle(5), 0, FaultReason::none},
             Row{good, verify_requester | 3 << 16 | 0x1f, Remapping::handle(5), 0, FaultReason::interrupt_source},
             Row{good, verify_buses | 0x0003, Remapping::handle(5), 0, FaultReason::none},
             Row{good, verify_buses | 0x0103, Remapping::handle(5), 0, FaultReason::interrupt_source},
             Row{good, 3ull << 18, Remapping::handle(5), 0, FaultReason::interrupt_source},
             Row{0, 0, Remapping::handle(5), 0, FaultReason::interrupt_not_present},
             Row{good, 0, Remapping::handle(5), 7, FaultReason::interrupt_reserved},
             Row{good, 0, Remapping::handle(5) | 8, 0x10000, FaultReason::interrupt_reserved},
             Row{good, 0, Remapping::handle(256), 0, FaultReason::interrupt_index},
             Row{good, 0, Remapping::handle(5) | 4, 0, FaultReason::interrupt_index},  // bit 15 of the handle
             Row{good | 1 << 12, 0, Remapping::handle(5), 0, FaultReason::interrupt_entry_reserved},
             Row{good, 1 << 20, Remapping::handle(5), 0, FaultReason::interrupt_entry_reserved},
             Row{good, 0, 0xfee0'0000, 0x41, FaultReason::interrupt_compatibility_blocked},
             Row{good | 1 << 15, 0xffffull << 32, Remapping::handle(5), 0, FaultReason::posted_descriptor_access},
         }) {
        Remapping r;
        r.rig.set_interrupt(5, row.low, row.high);
        r.raise(r.rig.first, row.address, row.data);
        CHECK(r.fault() == row.reason);
        CHECK(r.rig.host.messages.size() == (row.reason == FaultReason::none ? 1 : 0));
        // Without fault processing the same happens, unrecorded.
        if ((row.low & 1) == 0 || row.reason == FaultReason::interrupt_index) continue;
        r.rig.set_interrupt(5, row.low | 2, row.high);
        r.raise(r.rig.first, row.address, row.data);
        const bool outside_entry =
            row.reason == FaultReason::interrupt_compatibility_blocked || row.reason == FaultReason::interrupt_reserved;
        CHECK((r.fault() == FaultReason::none) == !outside_entry);
    }
}

TEST_CASE("the old format passes where software allows it; without remapping all does") {
    Remapping r;
    r.rig.iommu.enable_interrupt_remapping(true, true);
    r.raise(r.rig.first, 0xfee0'1000, 0x55);
    r.rig.iommu.enable_interrupt_remapping(false, false);
    r.raise(r.rig.first, Remapping::handle(5), 0);
    CHECK(r.rig.host.messages.size() == 2);
    CHECK(r.fault() == FaultReason::none);
}

TEST_CASE("posted: the request bit is set, one notification is outstanding, suppression holds it back but if urgent") {
    Remapping r;
    const std::uint64_t at = r.rig.descriptor;
    const std::uint64_t entry = 1 | 1 << 15 | 0x83 << 16 | at << 32;
    r.rig.set_interrupt(5, entry, verify_requester | 0x10);
    r.rig.memory.store<std::uint64_t>(at + 32, 0xf2ull << 16 | 0x104ull << 32);
    r.raise(r.rig.first, Remapping::handle(5));
    CHECK(r.rig.memory.load<std::uint64_t>(at + 16) == 1ull << 3);
    CHECK((r.rig.memory.load<std::uint64_t>(at + 32) & 3) == 1);
    CHECK(r.rig.host.messages == std::vector<InterruptMessage>{{0x100'fee0'4000, 0xf2, {}}});
    r.raise(r.rig.first, Remapping::handle(5));
    CHECK(r.rig.host.messages.size() == 1);
    r.rig.memory.store<std::uint64_t>(at + 16, 0);
    r.rig.memory.store<std::uint64_t>(at + 32, 2 | 0xf2ull << 16 | 0x104ull << 32);
    r.raise(r.rig.first, Remapping::handle(5));
    CHECK(r.rig.memory.load<std::uint64_t>(at + 16) == 1ull << 3);
    CHECK(r.rig.host.messages.size() == 1);
    r.rig.set_interrupt(5, entry | 1 << 14, verify_requester | 0x10);
    r.raise(r.rig.first, Remapping::handle(5));
    CHECK(r.rig.host.messages.size() == 2);
    r.raise(r.rig.second, Remapping::handle(5));
    CHECK(r.fault() == FaultReason::interrupt_source);
    r.rig.memory.store<std::uint64_t>(at + 32, 4);
    r.raise(r.rig.first, Remapping::handle(5));
    CHECK(r.fault() == FaultReason::posted_descriptor_reserved);
}

}  // namespace interrupt_remapping_test
