// A function of the host's in a partition: what the guest sees of it, what it reaches, and what is left when it goes.
#include "tests/models/pci_rig.h"

namespace assigned_function_test {

using namespace pci_rig;

TEST_CASE("what a guest sees of configuration space") {
    Rig rig;
    rig.give(rig.a);
    Guest& g = rig.a;
    g.channel().open();
    REQUIRE(g.status(Type::query_protocol_version, ByteBuilder{}.u32(0x0001'0004).take()) == 0);
    CHECK(g.ask(Type::query_resource_requirements, ByteBuilder{}.u32(0).take()) ==
          ByteBuilder{}.u32(0).u32(0xffff'f00c).u32(~0u).u32(0xffff'f00c).u32(~0u).u32(0).u32(0).u32(0).take());
    REQUIRE(g.enter() == 0);
    struct Row {
        const char* what;
        unsigned offset, size;
        std::uint64_t value;
    };
    for (const Row& row : {
             Row{"vendor", 0, 2, 0x5647},
             Row{"both ids", 0, 4, 0x0001'5647},
             Row{"the device's second byte", 3, 1, 0},
             Row{"command", 4, 2, 0},
             Row{"class and revision", 8, 4, 0x1180'0001},
             Row{"header type", 0x0e, 1, 0},
             Row{"BAR 0", 0x10, 4, 0xc},
             Row{"its upper half", 0x14, 4, 0},
             Row{"BAR 4", 0x20, 4, 0},
             Row{"subsystem", 0x2c, 4, 0x0001'5647},
             Row{"ROM", 0x30, 4, 0},
             Row{"interrupt pin", 0x3d, 1, 0},
             Row{"two dwords at once", 0x2a, 4, 0x5647'0000},
             Row{"eight bytes", 0x28, 8, 0x0001'5647'0000'0000},
             Row{"an extended capability: AER", 0x100, 2, 1},
         }) {
        CAPTURE(std::string{row.what});
        CHECK(g.config(row.offset, row.size) == row.value);
    }
    // BARs are sized; the host's own don't move.
    g.config(0x10, 4, ~0u);
    g.config(0x14, 4, ~0u);
    CHECK(g.config(0x10, 8) == 0xffff'ffff'ffff'f00c);
    CHECK(rig.host.read_config(rig.function.id, 0x14, 4) == rig.function.addresses[0] >> 32);
    // Ids, subsystem and ROM take nothing.
    for (const unsigned offset : {0x00u, 0x2cu, 0x30u, 0x3cu}) {
        const std::uint64_t before = g.config(offset, 4);
        g.config(offset, 4, 0x5555'5555);
        CHECK(g.config(offset, 4) == before);
    }
    // Of the command register memory is the guest's, mastering the function's; I/O does not exist.
    g.config(0x04, 2, 0xffff);
    CHECK(g.config(0x04, 2) == 0x0546);
    CHECK(rig.device.function().master().enabled());
    g.config(0x04, 1, 0);
    CHECK(g.config(0x04, 2) == 0x0500);
    CHECK_FALSE(rig.device.function().master().enabled());
    // Another slot has nothing.
    g.mmio.write(window, 4, 1);
    CHECK(g.mmio.read(window + 0x1000, 4) == 0xffff'ffff);
    g.mmio.write(window + 0x1004, 2, 6);
    CHECK(g.config(0x04, 2) == 0x0500);
    CHECK(g.mmio.read(window + 0x10, 4) == 0xffff'ffff);
}

TEST_CASE("registers without the root, the MSI-X table with it, and both gone with decoding") {
    Rig rig;
    AssignedFunction& place = rig.give(rig.a);
    Guest& g = rig.a;
    CHECK_FALSE(place.in_use());
    g.start();
    CHECK(place.in_use());
    CHECK(g.direct(bar0));
    CHECK_FALSE(g.direct(bar2));
    CHECK(g.read(rig.host, bar0) == ExampleFunction::identification);
    g.write(rig.host, bar0 + 4, 77);
    CHECK(g.read(rig.host, bar0 + 4) == 77);
    CHECK(g.read(rig.host, bar2 + 12) == 1);  // the first vector is masked
    // The BARs move.
    g.config(0x10, 4, 0x5000);
    CHECK_FALSE(g.direct(bar0));
    CHECK(g.read(rig.host, bar0 + 0x5000 + 4) == 77);
    g.config(0x04, 2, 0);
    CHECK_FALSE(g.direct(bar0 + 0x5000));
    CHECK(g.read(rig.host, bar2 + 12) == 0xffff'ffff);
    // Where no device can be, there is none: memory, the processor's own page, an address of its own.
    for (const std::uint64_t at : {std::uint64_t{0x10'0000}, std::uint64_t{0xfee0'0000}, std::uint64_t{1} << 45}) {
        CAPTURE(at);
        g.config(0x10, 4, at);
        g.config(0x14, 4, at >> 32);
        g.config(0x04, 2, 2);
        CHECK_FALSE(g.direct(at));
        g.config(0x04, 2, 0);
    }
}

TEST_CASE("a BAR over memory in the device window is nowhere, and the memory stays") {
    Rig rig;
    rig.give(rig.a);
    Guest& g = rig.a;
    g.bus.memory.base = 0xf800'0000;  // as a screen's
    g.start();
    REQUIRE(rig.machine.client.deposit(g.id, 8) == HvStatus::success);
    REQUIRE(rig.machine.client.map_range(g.id, 0xf8000, 2048, 16, hypervisor::map_gpa_flag::permissions_mask) ==
            HvStatus::success);
    const std::uint64_t mapped = g.partition().gpa_space().mapped_pages();
    g.config(0x10, 4, 0xf800'f000);
    g.config(0x14, 4, 0);
    CHECK_FALSE(g.direct(0xf800'f000));
    g.config(0x10, 4, 0xf801'0000);
    CHECK(g.direct(0xf801'0000));
    g.config(0x04, 2, 0);
    CHECK(g.partition().gpa_space().mapped_pages() == mapped);
}

TEST_CASE("windows that a guest may choose") {
    struct Row {
        const char* reason;
        std::uint64_t at;
        bool taken;
    };
    for (const Row& row :
         {Row{"low", 0xf900'0000, true}, Row{"high", 0x10'0000'0000, true}, Row{"not of a page", 0xf900'0800, false},
          Row{"memory", 0x10'0000, false}, Row{"over the low window's end", 0xfebf'f000, false},
          Row{"the last of it", 0xfebf'e000, true}, Row{"the I/O APIC", 0xfec0'0000, false},
          Row{"everything", ~std::uint64_t{0xfff}, false}}) {
        CAPTURE(std::string{row.reason});
        Rig rig;
        rig.give(rig.a);
        rig.a.channel().open();
        REQUIRE(rig.a.status(Type::query_protocol_version, ByteBuilder{}.u32(0x0001'0004).take()) == 0);
        CHECK((rig.a.enter(row.at) == 0) == row.taken);
    }
}

TEST_CASE("a command: the function reaches this partition's memory, its interrupt this partition's processor") {
    Rig rig;
    rig.give(rig.a);
    Guest& g = rig.a;
    g.start();
    const Bytes made = g.ask(Type::create_interrupt3,
                             ByteBuilder{}.u32(0).u32(0x41).u8(0).u8(0).u16(1).u16(1).u16(1).zeros(62).take());
    ByteReader answer{made};
    CHECK(answer.u32() == 0);
    answer.skip(6);
    CHECK(answer.u16() == 1);
    const std::uint32_t data = answer.u32();
    const std::uint64_t address = answer.u64();
    g.write(rig.host, bar2 + 0, static_cast<std::uint32_t>(address));
    g.write(rig.host, bar2 + 4, static_cast<std::uint32_t>(address >> 32));
    g.write(rig.host, bar2 + 8, data);
    g.write(rig.host, bar2 + 12, 0);
    const std::uint16_t msix = rig.host.capability(rig.function.id, pci::capability_id::msix);
    g.config(msix + 2, 2, pci::msix_cap::enable);

    for (unsigned n = 0; n < 16; ++n) g.byte(0x200 + n) = static_cast<std::byte>(n);
    const auto command = [&](std::uint64_t at, std::uint32_t length, std::uint32_t what) {
        g.write(rig.host, bar0 + ExampleFunction::reg_address, static_cast<std::uint32_t>(at));
        g.write(rig.host, bar0 + ExampleFunction::reg_address_high, static_cast<std::uint32_t>(at >> 32));
        g.write(rig.host, bar0 + ExampleFunction::reg_length, length);
        g.write(rig.host, bar0 + ExampleFunction::reg_command, what);
        rig.run();
        return g.read(rig.host, bar0 + ExampleFunction::reg_status);
    };
    CHECK(command(0x200, 16, ExampleFunction::sum) == ExampleFunction::done);
    CHECK(g.read(rig.host, bar0 + ExampleFunction::reg_result) == 120);
    CHECK(rig.vectors(g, 1) == std::vector<std::uint32_t>{0x41});
    CHECK(rig.vectors(g, 0).empty());
    // Memory that the partition has not.
    CHECK(command(0x100'0000, 16, ExampleFunction::sum) == ExampleFunction::refused);
    CHECK(command(~std::uint64_t{7}, 16, ExampleFunction::fill) == ExampleFunction::refused);
    CHECK(rig.refused() == 1);  // the second never left the root complex: it runs over the end of addresses
    g.write(rig.host, bar0 + 4, 0xab);
    CHECK(command(0x200, 4, ExampleFunction::fill) == ExampleFunction::done);
    CHECK(g.byte(0x203) == std::byte{0xab});
    CHECK(rig.b.byte(0x203) == std::byte{0});
    // A page that leaves the partition leaves the function's reach at once, and comes back as another.
    REQUIRE(rig.machine.client.unmap_range(g.id, 0, 1) == HvStatus::success);
    CHECK(command(0x200, 4, ExampleFunction::fill) == ExampleFunction::refused);
    CHECK(rig.refused() == 2);
    CHECK(rig.host.iommu().faults().size() == 0);  // the root has read them
    CHECK(rig.count("pci.faults.records") == 2);
    CHECK(rig.count("pci.faults.function_01_00_0") == 2);
    CHECK(rig.count("pci.faults.partition_" + std::to_string(g.id)) == 2);
    REQUIRE(rig.machine.client.map_range(g.id, 0, 2048, 1, hypervisor::map_gpa_flag::permissions_mask) ==
            HvStatus::success);
    g.byte(0x203) = std::byte{0};
    CHECK(command(0x200, 4, ExampleFunction::fill) == ExampleFunction::done);
    CHECK(g.byte(0x203) == std::byte{0});
    CHECK(rig.machine.bytes[2048 * 4096 + 0x203] == std::byte{0xab});
    // A message that was not handed out reaches nobody.
    rig.machine.host.vp(g.id, 1).interrupts.clear();
    g.write(rig.host, bar2 + 8, data + 1);
    CHECK(command(0x200, 4, ExampleFunction::nothing) == ExampleFunction::done);
    CHECK(rig.vectors(g, 0).empty());
    CHECK(rig.vectors(g, 1).empty());
}

TEST_CASE("a reset by the guest: its registers are as at first, the host's as the host has set them") {
    Rig rig;
    rig.give(rig.a);
    Guest& g = rig.a;
    g.start();
    g.write(rig.host, bar0 + 4, 77);
    const std::uint16_t express = rig.host.capability(rig.function.id, pci::capability_id::express);
    g.config(express + 8u, 2, pci::express::initiate_flr);
    CHECK(g.config(0x04, 2) == 0);
    CHECK(g.config(0x10, 4) == 0xc);
    CHECK_FALSE(g.direct(bar0));
    CHECK_FALSE(rig.device.function().master().enabled());
    g.config(0x10, 4, 0);
    g.config(0x14, 4, bar0 >> 32);
    g.config(0x04, 2, 2);
    CHECK(g.read(rig.host, bar0 + 4) == 0);
    CHECK(g.read(rig.host, bar0) == ExampleFunction::identification);
}

TEST_CASE("one partition at a time; what the last one did is gone for the next") {
    Rig rig;
    AssignedFunction& place = rig.give(rig.a);
    rig.a.start();
    rig.a.write(rig.host, bar0 + 4, 0x5ec4e7);
    CHECK_THROWS_AS(rig.b.pci.assign("probe", rig.function), sim::UserError);
    SUBCASE("by surprise") {
        place.take();
    }
    SUBCASE("the guest has ended") {
        rig.a.pci.take_all();
    }
    SUBCASE("asked") {
        rig.a.channel().put(ByteBuilder{}.u32(0x4249'0001).take());
        rig.run();
        rig.a.channel().sent.clear();
        place.eject();
        rig.run();
        CHECK(rig.a.channel().take().bytes == ByteBuilder{}.u32(0x4249'000b).u32(0).take());
        CHECK(place.given());
        rig.a.channel().put(ByteBuilder{}.u32(0x4249'000f).u32(0).u32(0).take());
        rig.run();
    }
    CHECK_FALSE(place.given());
    CHECK(rig.returned == 1);
    CHECK(rig.a.channel().rescinded);
    CHECK_FALSE(rig.a.direct(bar0));
    CHECK(rig.a.mmio.read(window + 0x1000, 4) == 0xffff'ffff);
    CHECK_FALSE(rig.device.function().master().enabled());
    AssignedFunction& second = rig.b.pci.assign("again", rig.function);
    rig.b.start();
    CHECK(second.in_use());
    CHECK(rig.b.read(rig.host, bar0 + 4) == 0);
    place.take();  // nothing
    CHECK(second.given());
}

TEST_CASE("a guest that closes its bus leaves nothing at work") {
    Rig rig;
    AssignedFunction& place = rig.give(rig.a);
    rig.a.start();
    rig.a.write(rig.host, bar0 + ExampleFunction::reg_command, ExampleFunction::nothing);
    rig.a.channel().close();
    CHECK(place.given());
    CHECK_FALSE(place.in_use());
    CHECK_FALSE(rig.a.direct(bar0));
    rig.run();
    CHECK(rig.machine.simulation.statistics().all().at("device.commands").counter.value() == 0);
    rig.a.start();
    CHECK(rig.a.read(rig.host, bar0) == ExampleFunction::identification);
}

TEST_CASE("a checkpoint: windows, BARs and memory are as they were") {
    Rig one;
    AssignedFunction& place = one.give(one.a);
    one.a.start();
    const auto bytes = sim::save_to_bytes(place);
    Rig other;
    AssignedFunction& restored = other.give(other.a);
    other.a.start(bar0 + 0x10'0000);
    sim::restore_from_bytes(restored, bytes);
    CHECK(sim::save_to_bytes(restored) == bytes);
    CHECK(other.a.config(0x10, 4) == 0xc);
    CHECK(other.a.mmio.read(bar2 + 12, 4) == 1);
}

// What random accesses to the window and to BARs may do: nothing outside of the device.
TEST_CASE("hostile configuration: 200,000 accesses") {
    Rig rig;
    AssignedFunction& place = rig.give(rig.a);
    rig.a.start();
    sim::Random random{42};
    const std::uint64_t places[] = {bar0, bar2, window, 0xf900'2000, 0x10'0000, ~std::uint64_t{0} << 12, 0xfebf'f000};
    for (unsigned n = 0; n < 200'000; ++n) {
        const unsigned size = 1u << random.below(4);
        const bool header = random.one_in(2);
        const std::uint64_t offset = header ? random.below(0x60) : random.below(0x1000);
        std::uint64_t value = random.one_in(3) ? places[random.below(std::size(places))] : random.next_u64();
        if (random.one_in(4)) value = random.below(8);
        if (random.one_in(3)) value >>= 32;
        if (!random.one_in(8)) rig.a.mmio.write(window, 4, 0);
        if (random.one_in(3)) {
            (void)rig.a.mmio.read(window + 0x1000 + offset, size);
        } else {
            rig.a.mmio.write(window + 0x1000 + offset, size, value);
        }
        const std::uint64_t gpa = places[random.below(std::size(places))] + random.below(0x1000 - 8);
        if (random.one_in(4)) rig.a.write(rig.host, gpa, static_cast<std::uint32_t>(value));
        if (random.one_in(5000)) {
            rig.a.channel().close();
            rig.a.start();
        }
        if (random.one_in(64)) rig.run();
    }
    CHECK(rig.host.read_config(rig.function.id, 0x14, 4) == rig.function.addresses[0] >> 32);
    place.take();
    rig.run();
    CHECK_FALSE(rig.a.partition().devices().has_pages());
    CHECK(rig.a.mmio.read(window + 0x1000, 4) == 0xffff'ffff);
}

TEST_CASE("a function that no partition has reaches nothing, and it is recorded") {
    Rig rig;
    AssignedFunction& place = rig.give(rig.a);
    rig.a.start();
    const auto fill = [&] {
        pci::BusMaster& master = rig.device.function().master();
        rig.host.write_config(rig.function.id, pci::header::command, 2,
                              pci::command::memory_space | pci::command::bus_master);
        const std::byte data{0x77};
        return master.write(0x300, {&data, 1});
    };
    CHECK(fill() == pci::DmaStatus::ok);
    CHECK(rig.a.byte(0x300) == std::byte{0x77});
    rig.a.byte(0x300) = std::byte{0};
    SUBCASE("taken") {
        place.take();
    }
    SUBCASE("the partition is finalized under it") {
        REQUIRE(rig.machine.client.finalize_partition(rig.a.id) == HvStatus::success);
    }
    CHECK(fill() == pci::DmaStatus::unsupported);
    CHECK(rig.a.byte(0x300) == std::byte{0});
    const auto fault = rig.host.iommu().faults().take();
    REQUIRE(fault);
    CHECK(*fault == pci::IommuFault{pci::FaultReason::context_not_present, rig.function.id, 0, true});
    CHECK(rig.refused() == 1);
}

}  // namespace assigned_function_test
