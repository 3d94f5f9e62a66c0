// What a function may not: interrupts of others, memory of others. Each attempt is a fault record, and the root reads
// them.
#include "tests/models/pci_rig.h"

namespace device_isolation_test {

using namespace pci_rig;
using pci::FaultReason;
using pci_rig::Guest;

namespace {

// A second device, in the other partition; each has an interrupt mapped.
struct Two {
    Two()
        : other(rig.host.keep(std::make_unique<ExampleFunction>(rig.machine.simulation.scope("other"),
                                                                rig.host.add_root_port().slot(0, 0)))),
          place(rig.give(rig.a)) {
        (void)rig.b.pci.assign("other", rig.host.place(other.function()));
        message = map(rig.a, 0x41);
        others = map(rig.b, 0x51);
        on(rig.device);
    }
    hypervisor::DeviceMessage map(Guest& guest, std::uint32_t vector) {
        return *rig.machine.client.map_device_interrupt(guest.id, vmbus::VirtualPci::device_id_of(1),
                                                        {vector, 1, false});
    }
    void on(ExampleFunction& device) {
        rig.host.write_config(device.function().id(), pci::header::command, 2,
                              pci::command::memory_space | pci::command::bus_master);
    }
    void send(std::uint64_t address, std::uint32_t data) {
        (void)rig.device.function().master().write(address, std::as_bytes(std::span{&data, 1}));
    }
    std::size_t interrupts() const {
        std::size_t all = 0;
        for (const auto& [where, vp] : rig.machine.host.vps) all += vp->interrupts.size();
        return all;
    }
    std::uint64_t count(const std::string& name) const { return rig.count("pci.faults." + name); }

    Rig rig;
    ExampleFunction& other;
    AssignedFunction& place;
    hypervisor::DeviceMessage message, others;
};

struct Listener final : RootInterrupts {
    void message(std::uint32_t number) override { numbers.push_back(number); }
    std::vector<std::uint32_t> numbers;
};

}  // namespace

TEST_CASE("forged interrupts: a fault, and nothing else happens") {
    struct Row {
        const char* reason;
        FaultReason fault;
        std::uint64_t address;
        std::uint32_t data;
    };
    const auto handle = [](std::uint32_t n) { return 0xfee0'0010 | (n & 0x7fff) << 5 | (n >> 15) << 2; };
    for (const Row& row : {
             Row{"its own", FaultReason::none, handle(0), 0},
             Row{"the other partition's", FaultReason::interrupt_source, handle(1), 0},
             Row{"the root's own", FaultReason::interrupt_source, handle(HostPci::first_root_handle), 0},
             Row{"the root's own by a sub-handle", FaultReason::interrupt_source, handle(0) | 8,
                 HostPci::first_root_handle},
             Row{"the other's by a sub-handle", FaultReason::interrupt_source, handle(0) | 8, 1},
             Row{"nobody's", FaultReason::interrupt_not_present, handle(2), 0},
             Row{"the last of the hypervisor's", FaultReason::interrupt_not_present,
                 handle(HostPci::first_root_handle - 1), 0},
             Row{"beyond the table", FaultReason::interrupt_index, handle(HostPci::interrupt_entries), 0},
             Row{"beyond the table by a sub-handle", FaultReason::interrupt_index, handle(0) | 8, 0xffff},
             Row{"its own with data", FaultReason::interrupt_reserved, handle(0), 1},
             Row{"the old format", FaultReason::interrupt_compatibility_blocked, 0xfee0'1000, 0x4041},
             Row{"the IOMMU's own fault event", FaultReason::interrupt_compatibility_blocked, 0xfee0'0000, 0xf1},
         }) {
        CAPTURE(std::string{row.reason});
        Two two;
        Listener listener;
        const pci::RequesterId port{0x0008};
        two.rig.host.listen(port, &listener);
        CHECK(two.rig.host.root_message(port, 3).address == handle(HostPci::first_root_handle));
        REQUIRE(two.message.address == handle(0));
        REQUIRE(two.others.address == handle(1));
        two.send(row.address, row.data);
        const bool good = row.fault == FaultReason::none;
        const std::size_t before = two.rig.host.iommu().faults().size();
        CHECK(before == (good ? 0 : 1));
        if (!good) {
            auto faults = two.rig.host.iommu().faults();
            CHECK(faults.take()->reason == row.fault);
        }
        two.rig.run();
        CHECK(two.interrupts() == (good ? 1 : 0));
        CHECK(listener.numbers.empty());
        CHECK(two.rig.host.iommu().faults().size() == 0);
        CHECK(two.count("records") == before);
        CHECK(two.count("function_01_00_0") == before);
        CHECK(two.count("partition_" + std::to_string(two.rig.a.id)) == before);
        CHECK(two.count("partition_" + std::to_string(two.rig.b.id)) == 0);
        two.rig.host.listen(port, nullptr);
    }
}

TEST_CASE("an entry of the table goes with the device, and with the partition") {
    Two two;
    SUBCASE("taken") {
        two.place.take();
    }
    SUBCASE("unmapped") {
        REQUIRE(two.rig.machine.client.unmap_device_interrupt(two.rig.a.id, vmbus::VirtualPci::device_id_of(1),
                                                              two.message) == HvStatus::success);
    }
    SUBCASE("the guest closes its bus") {
        two.rig.a.start();
        two.rig.a.channel().close();
    }
    SUBCASE("the partition is finalized") {
        REQUIRE(two.rig.machine.client.finalize_partition(two.rig.a.id) == HvStatus::success);
    }
    two.on(two.rig.device);
    two.send(two.message.address, two.message.data);
    CHECK(two.rig.host.iommu().faults().take()->reason == FaultReason::interrupt_not_present);
    CHECK(two.interrupts() == 0);
    // Its handle is somebody else's next, and still not this device's.
    CHECK(two.map(two.rig.b, 0x52).address == two.message.address);
    two.send(two.message.address, two.message.data);
    CHECK(two.rig.host.iommu().faults().take()->reason == FaultReason::interrupt_source);
    CHECK(two.interrupts() == 0);
}

TEST_CASE("the root reads fault records in rounds, however many there are, and the registers never stay full") {
    Two two;
    auto& agenda = two.rig.machine.simulation.agenda();
    const auto flood = [&](unsigned n) {
        for (unsigned i = 0; i < n; ++i) two.send(0x100'0000 + 4096 * i, 0);
    };
    const auto run = [&](Time t) { agenda.run_until(agenda.now() + t); };
    auto& faults = two.rig.host.iommu().faults();
    flood(3);
    run(Time::us(9));
    CHECK(faults.size() == 3);
    run(Time::us(1));  // 1 us, and 3 us each
    CHECK(faults.size() == 0);
    CHECK(two.count("records") == 3);
    CHECK(two.count("overflows") == 0);
    const Time round = agenda.now();
    flood(100);
    CHECK(faults.size() == 8);
    CHECK(faults.overflow());
    // Not before a millisecond has passed.
    agenda.run_until(round + FaultReader::least_gap - Time::ps(1));
    CHECK(faults.size() == 8);
    run(Time::us(25) + Time::ps(1));
    CHECK(faults.size() == 0);
    CHECK_FALSE(faults.overflow());
    CHECK(two.count("records") == 11);
    CHECK(two.count("overflows") == 1);
    CHECK(two.count("function_01_00_0") == 11);
    // A long flood: one round each time.
    for (unsigned ms = 0; ms < 50; ++ms) {
        flood(100);
        run(Time::ms(1));
    }
    run(Time::ms(3));
    CHECK(two.count("records") <= 11 + 51 * 8);
    CHECK(two.count("records") >= 11 + 48 * 8);
    CHECK(faults.size() == 0);
    CHECK(two.rig.refused() == 3 + 100 + 50 * 100);
    CHECK(two.rig.count("cpu.busy") <= static_cast<std::uint64_t>(Time::us(10 + 25 * 52).ps()));
}

}  // namespace device_isolation_test
