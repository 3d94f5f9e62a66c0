// What hostile drivers once achieved, each by itself.
#include <doctest/doctest.h>

#include "tests/sriov_nic/guarded_machine.h"

namespace hostile_cases_test {

namespace {

using namespace nic_test;
using sim::Time;

constexpr std::uint32_t piece = tx::extended | tx::type_data, whole = piece | tx::end_of_packet | tx::report_status;

void put(std::span<std::byte> ring, unsigned at, const Descriptor& d) {
    std::memcpy(&ring[std::size_t{at} * descriptor_bytes], &d, sizeof d);
}

TEST_CASE("a function is reset while its frame waits for the bus: the adapter goes on") {
    Rig rig;
    QueueDriver& first = rig.open(0);
    QueueDriver& second = rig.open(1);
    rig.run(Time::us(10));
    const std::vector<std::byte> some = frame(stranger, mac_of(0), 100);
    for (unsigned i = 0; i < 3; ++i) REQUIRE(first.send(some));
    for (unsigned i = 0; i < 8; ++i)
        REQUIRE(first.put(std::span{some}.first(20), (i == 7 ? whole : piece) | 20, 160 << 14));
    rig.bus.room = 3;  // for a part of the last one's pieces
    first.notify();
    rig.run(Time::ns(700));
    rig.controller.function_reset(0);
    rig.bus.room = 64;
    rig.driver.interrupt();
    rig.run(Time::us(20));
    REQUIRE(second.send(frame(stranger, mac_of(1), 100)));
    second.notify();
    rig.run(Time::us(20));
    CHECK(rig.wire.frames.back().bytes == frame(stranger, mac_of(1), 100));
    CHECK(rig.controller.transmit_buffered() == 0);
}

TEST_CASE("after its reset nothing is written for a function that its driver has not set up again") {
    for (const VfKind kind : {VfKind::hyper_v, VfKind::mailbox}) {
        CAPTURE(static_cast<int>(kind));
        Rig rig{2, {}, kind};
        VirtualRegisters& r = *rig.registers[0];
        const auto mailbox_reset = [&] {
            rig.driver.interrupt();
            if (kind == VfKind::hyper_v) return;
            r.write_register(vf_reg::mbmem, message::reset);
            r.write_register(vf_reg::mailbox, mailbox::vf_owns | mailbox::request);
            rig.driver.interrupt();
        };
        mailbox_reset();
        QueueDriver& vf = rig.open(0);
        r.write_register(vf_reg::tdbal + 0x38, 0x800'0001);  // where the head is to be written
        rig.run(Time::us(10));
        for (unsigned i = 0; i < 3; ++i) REQUIRE(vf.send(frame(stranger, mac_of(0), 100)));
        vf.notify();
        rig.run(Time::ns(1500));  // they are read, and below the threshold of what is reported
        const std::uint64_t before = rig.bus.writes, reads = rig.bus.reads;
        r.write_register(vf_reg::ctrl, ctrl::reset);
        mailbox_reset();
        CHECK((rig.controller.read(reg::vfre) & rig.controller.read(reg::vfte) & 1) == 1);
        rig.controller.received(frame(mac_of(0), stranger, 100));
        r.write_register(vf_reg::tdbal + 0x18, 5);
        r.write_register(vf_reg::rdbal + 0x18, 5);
        rig.run(Time::us(100));
        CHECK(rig.wire.count == 3);
        CHECK(rig.bus.writes == before);
        CHECK(rig.bus.reads == reads);
        CHECK(r.read_register(vf_reg::tdbal + 8) == 0);
        CHECK(r.read_register(vf_reg::rdbal) == 0);
        CHECK(r.read_register(vf_reg::rdbal + 0x28) == (Rig::receive_control | rxdctl::enable));
        // Set up again it works.
        vf.open(Rig::transmit_control, Rig::receive_control, 0);
        rig.run(Time::us(10));
        REQUIRE(vf.send(frame(stranger, mac_of(0), 100)));
        vf.notify();
        rig.controller.received(frame(mac_of(0), stranger, 60));
        rig.run(Time::us(100));
        CHECK(rig.wire.count == 4);
        CHECK(vf.reclaim() == 1);
        CHECK(vf.receive().bytes.size() == 60);
    }
}

TEST_CASE("a threshold that cannot be reached holds up nobody who wants no reports") {
    Rig rig;
    QueueDriver& vf = rig.open(0, 127u << 16 | 32);
    rig.run(Time::us(10));
    const std::vector<std::byte> some = frame(stranger, mac_of(0), 100);
    for (unsigned i = 0; i < 100; ++i) {
        REQUIRE(vf.put(some, QueueDriver::data_command(100) & ~tx::report_status, QueueDriver::frame_options(100)));
    }
    vf.notify();
    rig.run(Time::us(200));
    CHECK(rig.wire.count == 100);
    CHECK(rig.bus.writes == 0);
}

TEST_CASE("a function without a pool is quiet as it is") {
    Rig rig{40};
    rig.controller.write(reg::mtqc, mtqc::virtualization | 2u << 2);  // 32 pools
    for (unsigned vf = 0; vf < 40; ++vf) rig.controller.quiesce(vf);
    rig.controller.set_virtual_functions(0);
    CHECK(rig.controller.virtual_functions() == 0);
}

TEST_CASE("a queue switched 256 times while its frames are on their way is another one") {
    Rig rig;
    QueueDriver& vf = rig.open(0);
    rig.run(Time::us(10));
    for (unsigned i = 0; i < 20; ++i) REQUIRE(vf.send(frame(stranger, mac_of(0), 100)));
    vf.notify();
    rig.run(Time::ns(900));  // descriptors are there, data is not
    VirtualRegisters& r = *rig.registers[0];
    r.write_register(vf_reg::tdbal + 0x18, 0);
    for (unsigned i = 0; i < 128; ++i) {
        r.write_register(vf_reg::tdbal + 0x28, 0);
        r.write_register(vf_reg::tdbal + 0x28, Rig::transmit_control | txdctl::enable);
    }
    const std::uint64_t before = rig.bus.writes;
    rig.run(Time::us(100));
    CHECK(rig.bus.writes == before);
    CHECK(rig.wire.count == 20);
}

TEST_CASE("segments of a packet whose header could not be read are not sent, least of all with another's") {
    GuardedSettings settings;
    settings.vfs = 2;
    settings.partition_bytes = 512 * 1024;
    settings.ring = 64;
    GuardedMachine machine{settings};
    const std::span<std::byte> own = machine.memory.memory_of(1);
    const std::vector<std::byte> header = frame(stranger, GuardedMachine::mac_of_vf(1), 54, 0x77);
    std::memcpy(&own[0x10000], header.data(), header.size());
    VirtualRegisters vf{machine.controller(), 1};
    constexpr std::uint64_t missing = 15 * 4096;
    const auto packet = [&](unsigned at, std::uint64_t from) {
        const std::uint64_t mss = std::uint64_t{500} << 16 | 20u << 8;
        put(own, at, {14u << 9 | 20, mss << 32 | tx::extended | tx::type_context | tx::l4_tcp});
        put(own, at + 1, {from, piece | tx::segmentation | 54 | std::uint64_t{2000} << 46});
        put(own, at + 2, {0x12000, whole | 2000});
    };
    packet(0, 0x10000);
    packet(3, missing);
    packet(6, 0x10000);
    vf.write_register(vf_reg::tdbal + 8, 128 * descriptor_bytes);
    vf.write_register(vf_reg::tdbal + 0x28, txdctl::enable | 32);
    for (const unsigned tail : {3u, 6u, 9u}) {
        vf.write_register(vf_reg::tdbal + 0x18, tail);
        machine.run(Time::us(50));
        CHECK(machine.wire.other_frames == (tail == 3 ? 4 : tail == 6 ? 4 : 8));
    }
    CHECK(machine.controller().statistics().dma_errors == 1);
    // All descriptors of all three are reported.
    CHECK(vf.read_register(vf_reg::tdbal + 0x10) == 9);
}

TEST_CASE("without bus mastering a packet of 60 000 segments fails once for what was asked, not for each") {
    GuardedSettings settings;
    settings.vfs = 2;
    settings.partition_bytes = 512 * 1024;
    settings.ring = 64;
    GuardedMachine machine{settings};
    const std::span<std::byte> own = machine.memory.memory_of(1);
    VirtualRegisters vf{machine.controller(), 1};
    for (unsigned i = 0; i < 20; ++i) {
        put(own, 2 * i,
            {14u << 9 | 20, std::uint64_t{1u << 16 | 20u << 8} << 32 | tx::extended | tx::type_context | tx::l4_tcp});
        put(own, 2 * i + 1, {0x10000, whole | tx::segmentation | 60'000 | std::uint64_t{59'946} << 46});
    }
    vf.write_register(vf_reg::tdbal + 8, 128 * descriptor_bytes);
    vf.write_register(vf_reg::tdbal + 0x28, txdctl::enable | 32);
    vf.write_register(vf_reg::tdbal + 0x18, 40);
    machine.run(Time::us(3));
    machine.function(1).write_config(pci::header::command, 2, 0);
    machine.run(Time::us(100));
    CHECK(machine.controller().statistics().dma_errors >= 20);
    CHECK(machine.controller().statistics().dma_errors <= 20 * 64);
    CHECK(machine.controller().transmit_buffered() == 0);
}

TEST_CASE("one function's flood of interrupts costs no other function one") {
    GuardedSettings settings;
    settings.vfs = 2;
    settings.partition_bytes = 512 * 1024;
    settings.ring = 64;
    GuardedMachine machine{settings};
    VirtualRegisters vf{machine.controller(), 1};
    vf.write_register(vf_reg::eims, 7);
    // Each says something else, so that none can be left out.
    for (std::uint32_t i = 0; i < 3000; ++i) {
        machine.adapter.write_virtual_bar(1, virtual_msix_bar, 8, 4, i);
        vf.write_register(vf_reg::eics, 1);
    }
    machine.registers[0]->write_register(vf_reg::eims, 7);
    machine.registers[0]->write_register(vf_reg::eics, 1);
    machine.run(Time::us(100));
    CHECK(machine.memory.counts(0).interrupts == 1);
    CHECK(machine.memory.counts(1).interrupts == 1);  // the first is its own entry's
    CHECK(machine.simulation.statistics().counter("link.lost_messages", "", "").value() > 2000);
}

}  // namespace

}  // namespace hostile_cases_test
