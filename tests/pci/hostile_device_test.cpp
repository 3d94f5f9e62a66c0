// A device that asks for anything at any time, and software whose tables are noise: nothing stops the simulator, memory
// that is not the function's own never changes, and everything that was asked ends.
#include <doctest/doctest.h>

#include "pci/link.h"
#include "pci/root_complex.h"
#include "tests/pci/iommu_rig.h"

namespace hostile_device_test {

using namespace pci_test;

namespace {

struct CountingEngine final : pci::DmaClient {
    void read_done(std::uint32_t, pci::DmaStatus status, std::span<const std::byte> data) override {
        ++reads;
        if (status != pci::DmaStatus::ok) CHECK(data.empty());
    }
    void write_sent(std::uint32_t, pci::DmaStatus) override { ++writes; }
    void link_ready() override { ++ready; }
    void woken() override { ++woke; }
    std::uint64_t reads = 0;
    std::uint64_t writes = 0;
    std::uint64_t ready = 0;
    std::uint64_t woke = 0;
};

// Addresses near what is mapped, near the edges, and anywhere.
std::uint64_t address_of(sim::Random& random) {
    switch (random.below(6)) {
        case 0:
            return 0x8000 + random.below(0x2000);
        case 1:
            return 0xfee0'0000 + random.below(0x10'0000);
        case 2:
            return ~std::uint64_t{0} - random.below(0x1000);
        case 3:
            return (std::uint64_t{1} << 48) - random.below(0x2000);
        case 4:
            return random.below(0x100'0000);
        default:
            return random.next_u64();
    }
}

}  // namespace

TEST_CASE("a hostile device behind an IOMMU") {
    IommuRig rig;
    rig.map(1, 0x8000, 0x20'0000);
    rig.map(1, 0x9000, 0x21'0000);
    rig.iommu.set_interrupt_table(rig.interrupt_table, 7);
    rig.iommu.enable_interrupt_remapping(true, false);
    rig.set_interrupt(3, 1 | 0x41 << 16, 1ull << 18 | 0x10);
    pci::RootComplex root(rig.simulation.scope("root"), rig.iommu, pci::Wiring::rotated);
    RecordingDevice device(rig.simulation.scope("device"), root.bus().slot(2, 0),
                           shared(pci::device_function(identity(), {}, pci::legacy_config_bytes)));
    REQUIRE(device.function.id() == rig.first);
    pci::LinkConfig config;
    config.errors = {50, sim::Time::ns(300), sim::Time::us(5)};
    config.tags = 8;
    pci::Link link(rig.simulation.scope("link"), root.bus(), rig.iommu, config);
    CountingEngine engine;
    link.connect(engine);

    auto before = rig.bytes;
    sim::Random random(7);
    std::vector<std::byte> data(pci::DmaPort::max_bytes);
    for (std::byte& byte : data) byte = static_cast<std::byte>(random.next_u64());
    sim::Agenda& agenda = rig.simulation.agenda();
    std::uint64_t reads = 0;
    for (unsigned action = 0; action < 60'000; ++action) {
        const std::uint64_t address = address_of(random);
        const auto size = static_cast<std::uint32_t>(random.one_in(4) ? random.between(1, pci::DmaPort::max_bytes)
                                                                      : random.between(1, 300));
        pci::BusMaster& master = device.function.master();
        switch (random.below(13)) {
            case 0:
            case 1:
            case 2:
            case 3:
                if (link.read(master, address, size, action)) ++reads;
                break;
            case 4:
            case 5:
            case 6:
            case 7:
                (void)link.write(master, address, std::span{data}.first(size), action, random.one_in(2));
                break;
            case 8:
                link.message(master, random.one_in(4) ? 0xfee0'0070 : 0xfee0'0000 | (random.next_u64() & 0xf'fffc),
                             static_cast<std::uint32_t>(random.one_in(4) ? random.next_u64() : 0));
                break;
            case 9:
                if (random.one_in(20)) link.forget(master);
                (void)link.post_write(address, 1u << random.below(4), random.next_u64());
                break;
            case 10:
                device.function.write_config(pci::header::command, 2,
                                             random.one_in(8) ? 0 : std::uint32_t{pci::command::bus_master});
                break;
            case 11:
                link.wake_at(random.one_in(4)
                                 ? sim::Time::never()
                                 : agenda.now() + sim::Time::ns(static_cast<std::int64_t>(random.below(4000)) - 1000));
                break;
            default:
                agenda.run_until(agenda.now() + sim::Time::ns(static_cast<std::int64_t>(random.below(3000))));
                break;
        }
        while (rig.iommu.faults().take()) {
        }
    }
    agenda.run_until(agenda.now() + sim::Time::s(1));
    CHECK(link.idle());
    CHECK(reads > 1000);
    CHECK(engine.reads > 100);
    CHECK(engine.woke > 100);
    // Only its own two pages have changed.
    CHECK_FALSE(std::equal(before.begin() + 0x20'0000, before.begin() + 0x20'1000, rig.bytes.begin() + 0x20'0000));
    std::copy_n(rig.bytes.begin() + 0x20'0000, 0x1000, before.begin() + 0x20'0000);
    std::copy_n(rig.bytes.begin() + 0x21'0000, 0x1000, before.begin() + 0x21'0000);
    CHECK(before == rig.bytes);
    // Of interrupts only its own came through.
    CHECK(!rig.host.messages.empty());
    for (const pci::InterruptMessage& message : rig.host.messages) {
        REQUIRE(message == pci::InterruptMessage{0xfee0'0000, 0x41, rig.first});
    }
}

TEST_CASE("tables, queue and descriptors of noise") {
    sim::Random random(11);
    for (unsigned turn = 0; turn < 40; ++turn) {
        pci::IommuConfig config;
        if (random.one_in(2)) config.second.format = slat::Format::npt;
        IommuRig rig(config);
        for (std::uint64_t at = 0x1000; at < 0x10'0000; at += 8) {
            // Often present, with addresses that mostly exist.
            std::uint64_t value = random.next_u64();
            if (random.one_in(2)) value = (value & 0x7f'f000) | (random.next_u64() & 0x8f) | 1;
            if (random.one_in(8)) value = 0;
            rig.memory.store<std::uint64_t>(at, value);
        }
        rig.iommu.set_root_table(random.next_u64() & 0xf'f000);
        rig.iommu.set_queue(random.next_u64() & 0xf'f000, static_cast<unsigned>(random.below(9)));
        rig.iommu.set_interrupt_table(random.next_u64() & 0xf'f000, static_cast<unsigned>(random.below(16)));
        rig.iommu.enable_interrupt_remapping(true, random.one_in(2));
        for (unsigned action = 0; action < 500; ++action) {
            const pci::RequesterId who{static_cast<std::uint16_t>(random.below(0x300))};
            const std::uint64_t address = address_of(random);
            (void)rig.served_ns(who, address & 0xffff'ffff'f000, 0, random.one_in(2), 64);
            (void)rig.write(who, address & ~std::uint64_t{3}, 1);
            (void)rig.read(who, address & ~std::uint64_t{3});
            rig.iommu.interrupt({0xfee0'0010 | (address & 0xf'ffe0), random.one_in(2) ? 0u : 7u, who});
            rig.iommu.set_queue_tail(static_cast<std::uint32_t>(random.below(300)));
            if (random.one_in(4)) rig.iommu.clear_queue_error();
        }
        CHECK(rig.iommu.faults().size() <= 8);
    }
}

}  // namespace hostile_device_test
