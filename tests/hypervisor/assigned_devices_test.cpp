// Devices of a partition: attached and detached, their interrupts mapped and retargeted, their registers.
#include <doctest/doctest.h>

#include "sim/archive.h"
#include "synthetic_machine.h"
#include "whole_machine.h"

namespace assigned_devices_test {

using namespace hypervisor;
using namespace hypervisor::test;

namespace {

constexpr std::uint64_t nic = device_id::of_pci(0x0110);
constexpr std::uint64_t disk = device_id::of_pci(0x0200);
constexpr std::uint64_t in = 0x30'000;
using Interrupts = std::vector<InterruptRequest>;

Interrupts& interrupts_of(SyntheticMachine& m, std::uint32_t vp) {
    return m.host.vp(m.id, vp).interrupts;
}

HvInputRetargetDeviceInterrupt request(std::uint64_t device, const DeviceMessage& message, std::uint32_t vector,
                                       std::uint64_t mask) {
    HvInputRetargetDeviceInterrupt input{};
    input.partition_id = hv_partition_id_self;
    input.device_id = device;
    input.entry = {interrupt_source_msi, 0, message.address, message.data};
    input.vector = vector;
    input.mask_or_format = mask;
    return input;
}

}  // namespace

TEST_CASE("a device is in one partition at most, under a name that is its only one there") {
    SyntheticMachine m;
    const PartitionId other = m.child(1, child_privileges);
    struct Row {
        const char* reason;
        PartitionId partition;
        std::uint64_t device;
        std::uint64_t logical;
        HvStatus status;
    };
    const Row rows[] = {
        {"no PCI function", m.id, 0x0110, 1, HvStatus::invalid_device_id},
        {"a name that is none", m.id, nic, nic, HvStatus::invalid_parameter},
        {"the root", root_partition, nic, 1, HvStatus::operation_denied},
        {"nobody", 77, nic, 1, HvStatus::invalid_partition_id},
        {"good", m.id, nic, 1, HvStatus::success},
        {"again", m.id, nic, 2, HvStatus::invalid_device_state},
        {"elsewhere", other, nic, 1, HvStatus::invalid_device_state},
        {"the name is taken", m.id, disk, 1, HvStatus::invalid_device_state},
        {"the same name in another partition", other, disk, 1, HvStatus::success},
    };
    for (const Row& row : rows) {
        CAPTURE(row.reason);
        CHECK(m.client.attach_device(row.partition, row.device, row.logical) == row.status);
    }
    CHECK(m.client.detach_device(m.id, 2) == HvStatus::invalid_device_id);
    CHECK(m.client.detach_device(m.id, 1) == HvStatus::success);
    CHECK(m.client.attach_device(other, nic, 2) == HvStatus::success);
    // What ends with its partition is free again.
    REQUIRE(m.client.finalize_partition(other) == HvStatus::success);
    CHECK_FALSE(m.device_interrupt(nic, {}));
    REQUIRE(m.client.delete_partition(other) == HvStatus::success);
    CHECK(m.client.attach_device(m.id, nic, 1) == HvStatus::success);
}

TEST_CASE("interrupts: what may be mapped, and what each message looks like") {
    SyntheticMachine m;
    CHECK(m.client.map_device_interrupt(m.id, 1, {0x40, 1, false}).status == HvStatus::invalid_device_id);
    REQUIRE(m.client.attach_device(m.id, nic, 1) == HvStatus::success);
    struct Row {
        const char* reason;
        InterruptTarget target;
        std::uint32_t count;
        HvStatus status;
        DeviceMessage message;
    };
    const Row rows[] = {
        {"one", {0x40, 0b010, false}, 1, HvStatus::success, {0xfee0'0010, 0}},
        {"another", {0x40, 0b100, false}, 1, HvStatus::success, {0xfee0'0030, 0}},
        {"four", {0x50, 0b001, false}, 4, HvStatus::success, {0xfee0'0058, 0}},
        {"an exception's vector", {0x0f, 1, false}, 1, HvStatus::invalid_parameter, {}},
        {"the last vector", {0xff, 1, false}, 1, HvStatus::success, {0xfee0'00d0, 0}},
        {"beyond the last", {0xff, 1, false}, 2, HvStatus::invalid_parameter, {}},
        {"a vector of more than eight bits", {0xffff'fff0, 1, false}, 32, HvStatus::invalid_parameter, {}},
        {"nobody", {0x40, 0, false}, 1, HvStatus::invalid_parameter, {}},
        {"processors that don't exist", {0x40, 0b1000, false}, 1, HvStatus::invalid_parameter, {}},
        {"none", {0x40, 1, false}, 0, HvStatus::invalid_parameter, {}},
        {"too many", {0x40, 1, false}, 33, HvStatus::invalid_parameter, {}},
    };
    for (const Row& row : rows) {
        CAPTURE(row.reason);
        const auto result = m.client.map_device_interrupt(m.id, 1, row.target, row.count);
        CHECK(result.status == row.status);
        if (result) CHECK(*result == row.message);
    }
    CHECK(m.partition.devices().message_count() == 7);
    CHECK(m.client.unmap_device_interrupt(m.id, 1, {0xfee0'0050, 0}) == HvStatus::not_found);
    CHECK(m.client.unmap_device_interrupt(m.id, 1, {0xfee0'0058, 0}) == HvStatus::success);
    CHECK(m.client.unmap_device_interrupt(m.id, 1, {0xfee0'0058, 0}) == HvStatus::not_found);
    CHECK(m.client.unmap_device_interrupt(m.id, 2, {0xfee0'0010, 0}) == HvStatus::invalid_device_id);
    CHECK(m.partition.devices().message_count() == 3);
    // The handle that came free is the next one's.
    CHECK(m.client.map_device_interrupt(m.id, 1, {0x40, 1, false})->address == 0xfee0'0050);
    REQUIRE(m.client.detach_device(m.id, 1) == HvStatus::success);
    CHECK(m.partition.devices().message_count() == 0);
}

TEST_CASE("a message reaches the processors that it is for, and nobody with a false one") {
    SyntheticMachine m;
    REQUIRE(m.client.attach_device(m.id, nic, 1) == HvStatus::success);
    REQUIRE(m.client.attach_device(m.id, disk, 2) == HvStatus::success);
    const DeviceMessage one = *m.client.map_device_interrupt(m.id, 1, {0x41, 0b110, false});
    const DeviceMessage many = *m.client.map_device_interrupt(m.id, 1, {0x50, 0b110, true}, 2);
    struct Row {
        const char* reason;
        std::uint64_t device;
        DeviceMessage message;
        bool known;
        std::array<std::uint32_t, 3> vectors;
    };
    const Row rows[] = {
        {"one of two, the first", nic, one, true, {0, 0x41, 0}},
        {"all", nic, many, true, {0, 0x50, 0x50}},
        {"the second of two messages", nic, {many.address, 1}, true, {0, 0x51, 0x51}},
        {"a third", nic, {many.address, 2}, false, {}},
        {"another data", nic, {one.address, 0x41}, false, {}},
        {"a plain message of old", nic, {0xfee0'0000, 0x41}, false, {}},
        {"another device", disk, one, false, {}},
        {"a device that is nobody's", device_id::of_pci(0x0300), one, false, {}},
    };
    for (const Row& row : rows) {
        CAPTURE(row.reason);
        for (std::uint32_t vp = 0; vp < 3; ++vp) interrupts_of(m, vp).clear();
        CHECK(m.device_interrupt(row.device, row.message) == row.known);
        for (std::uint32_t vp = 0; vp < 3; ++vp) {
            CAPTURE(vp);
            const Interrupts expected(row.vectors[vp] != 0 ? 1 : 0,
                                      InterruptRequest{.vector = row.vectors[vp], .device = true});
            CHECK(interrupts_of(m, vp) == expected);
        }
    }
}

TEST_CASE("retargeting, with a mask and with a set of processors") {
    constexpr std::uint32_t set = interrupt_target_flag::processor_set;
    struct Row {
        const char* reason;
        std::uint64_t device;
        std::uint32_t vector;
        std::uint32_t flags;
        std::uint64_t mask_or_format;
        std::vector<std::uint64_t> words;
        HvStatus status;
        std::uint32_t vp;
    };
    const Row rows[] = {
        {"a mask", 1, 0x61, 0, 0b100, {}, HvStatus::success, 2},
        {"two processors: the first", 1, 0x61, 0, 0b110, {}, HvStatus::success, 1},
        {"a set", 1, 0x61, set, vp_set_sparse_4k, {1, 0b010}, HvStatus::success, 1},
        {"a set of all", 1, 0x61, set, vp_set_all, {0}, HvStatus::success, 0},
        {"a bank that was not given", 1, 0x61, set, vp_set_sparse_4k, {1}, HvStatus::invalid_parameter, 0},
        {"no mask of banks", 1, 0x61, set, vp_set_sparse_4k, {}, HvStatus::invalid_parameter, 0},
        {"an empty set", 1, 0x61, set, vp_set_sparse_4k, {0}, HvStatus::invalid_parameter, 0},
        {"an unknown format", 1, 0x61, set, 5, {1, 1}, HvStatus::invalid_parameter, 0},
        {"an unknown flag", 1, 0x61, 4, 1, {}, HvStatus::invalid_parameter, 0},
        {"processors that don't exist", 1, 0x61, 0, 0b1000, {}, HvStatus::invalid_parameter, 0},
        {"an exception's vector", 1, 0x0e, 0, 1, {}, HvStatus::invalid_parameter, 0},
        {"another device", 2, 0x61, 0, 1, {}, HvStatus::invalid_device_id, 0},
    };
    for (const Row& row : rows) {
        CAPTURE(row.reason);
        SyntheticMachine m;
        REQUIRE(m.client.attach_device(m.id, nic, 1) == HvStatus::success);
        const DeviceMessage message = *m.client.map_device_interrupt(m.id, 1, {0x41, 1, false});
        auto input = request(row.device, message, row.vector, row.mask_or_format);
        input.flags = row.flags;
        m.store(in, input);
        for (std::size_t n = 0; n < row.words.size(); ++n) m.store(in + sizeof input + 8 * n, row.words[n]);
        const std::uint64_t code = code_of(HvCall::retarget_device_interrupt) | variable_header(row.words.size());
        CHECK(call(m, {code, in}).status == row.status);
        const bool done = row.status == HvStatus::success;
        REQUIRE(m.device_interrupt(nic, message));
        CHECK(interrupts_of(m, done ? row.vp : 0) == Interrupts{{.vector = done ? row.vector : 0x41, .device = true}});
    }
    SyntheticMachine m;
    REQUIRE(m.client.attach_device(m.id, nic, 1) == HvStatus::success);
    m.store(in, request(1, {0xfee0'0010, 0}, 0x41, 1));
    CHECK(call(m, {code_of(HvCall::retarget_device_interrupt), in}).status == HvStatus::invalid_parameter);
}

TEST_CASE("handles are of the whole machine, and come back with their device") {
    SyntheticMachine m;
    const PartitionId other = m.child(1, child_privileges);
    REQUIRE(m.client.attach_device(m.id, nic, 1) == HvStatus::success);
    REQUIRE(m.client.attach_device(other, disk, 1) == HvStatus::success);
    const auto one = [&](PartitionId id) { return m.client.map_device_interrupt(id, 1, {0x40, 1, false})->address; };
    const auto four = [&](PartitionId id) {
        return m.client.map_device_interrupt(id, 1, {0x50, 1, false}, 4)->address;
    };
    CHECK(one(m.id) == 0xfee0'0010);
    CHECK(four(other) == 0xfee0'0038);  // handles 1 to 4
    CHECK(one(m.id) == 0xfee0'00b0);
    REQUIRE(m.client.detach_device(other, 1) == HvStatus::success);
    CHECK(m.partitions.interrupt_handles().used() == 2);
    CHECK_FALSE(m.device_interrupt(disk, {0xfee0'0038, 0}));
    CHECK(four(m.id) == 0xfee0'0038);
    CHECK(four(m.id) == 0xfee0'00d8);
    CHECK(m.device_interrupt(nic, {0xfee0'0038, 3}));
    CHECK_FALSE(m.device_interrupt(disk, {0xfee0'0038, 3}));
    REQUIRE(m.client.finalize_partition(m.id) == HvStatus::success);
    CHECK(m.partitions.interrupt_handles().used() == 0);
    CHECK(m.host.entries.empty());
}

TEST_CASE("no partition takes all handles, and there are no more than the table has") {
    SyntheticMachine m;
    const auto fill = [&](PartitionId id) {
        std::uint32_t n = 0;
        while (m.client.map_device_interrupt(id, 1, {0x40, 1, false}, 16).status == HvStatus::success) ++n;
        return 16 * n;
    };
    REQUIRE(m.client.attach_device(m.id, nic, 1) == HvStatus::success);
    CHECK(fill(m.id) == AssignedDevices::most_messages);
    const PartitionId second = m.child(1, child_privileges), third = m.child(1, child_privileges);
    REQUIRE(m.client.attach_device(second, disk, 1) == HvStatus::success);
    REQUIRE(m.client.attach_device(third, device_id::of_pci(0x0300), 1) == HvStatus::success);
    CHECK(fill(second) == 512);
    CHECK(m.partitions.interrupt_handles().used() == m.partitions.interrupt_handles().count());
    CHECK(m.client.map_device_interrupt(third, 1, {0x40, 1, false}).status == HvStatus::no_resources);
    REQUIRE(m.client.detach_device(second, 1) == HvStatus::success);
    CHECK(fill(third) == 512);
}

TEST_CASE("what a partition has of devices is part of its state") {
    FakeHost host;
    InterruptHandles handles{64, host}, other{64, host};
    AssignedDevices a{2, handles};
    DeviceMessage message;
    REQUIRE(a.attach(1, nic) == HvStatus::success);
    REQUIRE(a.map_interrupt(1, {0x41, 1, true}, 2, message) == HvStatus::success);
    a.map_page(0xf9000, first_device_spa >> 12);
    AssignedDevices b{2, other};
    const auto bytes = sim::save_to_bytes(a);
    sim::restore_from_bytes(other, sim::save_to_bytes(handles));
    sim::restore_from_bytes(b, bytes);
    CHECK(b.physical(1) == nic);
    CHECK(*b.find(1, {message.address, 1}) == InterruptTarget{0x42, 1, true});
    CHECK(b.translate(0xf900'0123) == first_device_spa + 0x123);
    CHECK(sim::save_to_bytes(b) == bytes);
}

namespace {

// Registers that take 300 ns to read, and 20 ns to write.
struct Registers final : DevicePort {
    std::vector<std::array<std::uint64_t, 4>> log;  // write?, address, size, value
    std::uint64_t read(std::uint64_t spa, unsigned size, Time& cost) override {
        cost = Time::ns(300);
        log.push_back({0, spa - first_device_spa, size, 0});
        return 0x1122'3344'5566'7788;
    }
    void write(std::uint64_t spa, unsigned size, std::uint64_t value, Time& cost) override {
        cost = Time::ns(20);
        log.push_back({1, spa - first_device_spa, size, value});
    }
};

constexpr std::uint32_t window = 0x40'0000;  // beyond the guest's memory

}  // namespace

TEST_CASE("registers are reached without an exit, in the time of the device's bus") {
    constexpr auto here = static_cast<std::uint32_t>(place::data);
    WholeMachine m;
    Registers registers;
    m.hypervisor->connect_devices(registers);
    const PartitionId id = m.guest();
    REQUIRE(m.client->map_range(id, window >> 12, (first_device_spa >> 12) + 7, 2,
                                map_gpa_flag::readable | map_gpa_flag::writable) == HvStatus::success);
    m.start(0, Code{}
                   .stamp(here)
                   .mov_eax(0x1234'5678)
                   .store_eax(window + 0x10)
                   .stamp(here + 4)
                   .load_eax(window + 0x1008)
                   .store_eax(here + 8)
                   .stamp(here + 12)
                   .hlt());
    m.run();
    CHECK(m.halted());
    CHECK(registers.log == std::vector<std::array<std::uint64_t, 4>>{{1, 0x7010, 4, 0x1234'5678}, {0, 0x8008, 4, 0}});
    CHECK(m.data(8) == 0x5566'7788);
    // RDTSC's own MOV, two instructions, and the write; then MOV, the read, MOV.
    CHECK(m.data(4) - m.data(0) == 3 + 20);
    CHECK(m.data(12) - m.data(4) == 3 + 300);
    CHECK(m.root.intercepts.empty());
    CHECK(m.simulation.statistics().all().at("hypervisor.partitions.2.vp0.exits").counter.value() == 1);  // HLT
    // Taken away, it is the root's matter again.
    REQUIRE(m.client->unmap_range(id, window >> 12, 2) == HvStatus::success);
    m.start(0, Code{}.load_eax(window).hlt());
    m.run();
    CHECK(registers.log.size() == 2);
    CHECK(m.root.intercepts.size() == 1);
}

namespace {

// The host's IOMMU: entries as they were written last.
struct Unit final : DeviceRemapping {
    std::map<std::uint32_t, RemappedInterrupt> entries;
    bool join_domain(std::uint64_t, std::uint64_t, const slat::SecondLevel&) override { return true; }
    void leave_domain(std::uint64_t) override {}
    void domain_changed(std::uint64_t, std::uint64_t, std::uint64_t) override {}
    void set_interrupt(std::uint32_t handle, const RemappedInterrupt& entry) override { entries[handle] = entry; }
    void clear_interrupt(std::uint32_t handle) override { entries.erase(handle); }
};

}  // namespace

TEST_CASE("a device's interrupt wakes a processor that waits") {
    constexpr auto here = static_cast<std::uint32_t>(place::data);
    WholeMachine m;
    Registers registers;
    Unit unit;
    m.hypervisor->connect_devices(registers, &unit);
    const PartitionId id = m.guest();
    m.handler(0x41, Code{}.inc_at(here).x2apic_eoi().iretq());
    m.start(0, Code{}.x2apic_on().sti().hlt().hlt().hlt());
    REQUIRE(m.client->attach_device(id, nic, 1) == HvStatus::success);
    const DeviceMessage message = *m.client->map_device_interrupt(id, 1, {0x41, 1, false});
    CHECK(unit.entries.at(handle_of(message)) == RemappedInterrupt{nic, 0, first_device_vector, std::nullopt});
    m.run();
    CHECK(m.data() == 0);
    CHECK(m.hypervisor->device_interrupt(0, first_device_vector));
    m.run();
    CHECK(m.data() == 1);
    CHECK_FALSE(m.hypervisor->device_interrupt(0, first_device_vector + 1));
    CHECK_FALSE(m.hypervisor->device_interrupt(77, first_device_vector));
    CHECK_FALSE(m.hypervisor->device_interrupt(0, 3));
    CHECK_FALSE(m.hypervisor->device_interrupt(0, notification_vector));
    REQUIRE(m.client->detach_device(id, 1) == HvStatus::success);
    CHECK(unit.entries.empty());
    CHECK_FALSE(m.hypervisor->device_interrupt(0, first_device_vector));
    m.run();
    CHECK(m.data() == 1);
}

TEST_CASE("posted interrupts: one notification for all of them, which the hypervisor delivers") {
    constexpr auto here = static_cast<std::uint32_t>(place::data);
    constexpr std::uint64_t descriptors = 0x800;  // in the first page, which is nobody's
    HypervisorConfig config = round_numbers(1);
    config.posted_descriptors = descriptors;
    config.posted_descriptor_count = 1;
    WholeMachine m{1, config};
    Registers registers;
    Unit unit;
    m.hypervisor->connect_devices(registers, &unit);
    const PartitionId id = m.guest(2);
    m.handler(0x41, Code{}.inc_at(here).x2apic_eoi().iretq());
    m.handler(0x91, Code{}.inc_at(here + 4).x2apic_eoi().iretq());
    m.start(0, Code{}.x2apic_on().sti().hlt().hlt().hlt().hlt());
    REQUIRE(m.client->attach_device(id, nic, 1) == HvStatus::success);
    const auto map = [&](std::uint32_t vector, std::uint64_t processors, bool multicast) {
        return unit.entries.at(handle_of(*m.client->map_device_interrupt(id, 1, {vector, processors, multicast})));
    };
    CHECK(map(0x41, 0b01, false) == RemappedInterrupt{nic, 0, 0x41, descriptors});
    CHECK(map(0x91, 0b11, false) == RemappedInterrupt{nic, 0, 0x91, descriptors});
    // For all: remapped. And there is no second descriptor.
    CHECK(map(0x42, 0b11, true) == RemappedInterrupt{nic, 0, first_device_vector + 2, std::nullopt});
    CHECK(map(0x43, 0b10, false) == RemappedInterrupt{nic, 0, first_device_vector + 3, std::nullopt});
    m.run();
    const mmu::SystemMemory memory{m.bytes.data(), m.bytes.size()};
    CHECK(memory.load<std::uint64_t>(descriptors + 32) == std::uint64_t{notification_vector} << 16);
    // As the unit does it: two requests, one notification.
    memory.store<std::uint64_t>(descriptors + 8, std::uint64_t{1} << (0x41 - 64));
    memory.store<std::uint64_t>(descriptors + 16, std::uint64_t{1} << (0x91 - 128));
    memory.store<std::uint64_t>(descriptors + 32, std::uint64_t{notification_vector} << 16 | 1);
    CHECK(m.hypervisor->device_interrupt(0, notification_vector));
    CHECK(memory.load<std::uint64_t>(descriptors + 32) == std::uint64_t{notification_vector} << 16);
    CHECK(memory.load<std::uint64_t>(descriptors + 8) == 0);
    m.run();
    CHECK(m.data(0) == 1);
    CHECK(m.data(4) == 1);
    CHECK_FALSE(m.hypervisor->device_interrupt(0, notification_vector));
    // The descriptor is free with its last handle.
    REQUIRE(m.client->detach_device(id, 1) == HvStatus::success);
    REQUIRE(m.client->attach_device(id, nic, 1) == HvStatus::success);
    CHECK(map(0x43, 0b10, false) == RemappedInterrupt{nic, 0, 0x43, descriptors});
}

TEST_CASE("a running processor leaves its guest for a device's interrupt, but not for a posted one") {
    constexpr auto here = static_cast<std::uint32_t>(place::data);
    constexpr std::uint64_t descriptors = 0x800;
    struct Row {
        const char* why;
        bool posted, masked;  // the guest has its interrupts off at first
        std::uint64_t exits, windows;
        std::uint32_t taken;  // in nanoseconds, by the handler's clock
    };
    const Row rows[] = {
        {"remapped", false, false, 1, 0, 1340},
        {"posted", true, false, 0, 0, 1240},
        {"remapped, and the guest lets it in later", false, true, 1, 1, 1440},
        {"posted, and the guest lets it in later", true, true, 0, 0, 1240},
    };
    for (const Row& row : rows) {
        CAPTURE(row.why);
        HypervisorConfig config = round_numbers(1);
        config.posted_descriptors = row.posted ? descriptors : 0;
        config.posted_descriptor_count = row.posted ? 1 : 0;
        WholeMachine m{1, config};
        Registers registers;
        Unit unit;
        m.hypervisor->connect_devices(registers, &unit);
        const PartitionId id = m.guest();
        m.handler(0x41, Code{}.stamp(here).inc_at(here + 4).x2apic_eoi().iretq());
        Code code = Code{}.x2apic_on();
        if (!row.masked) code.sti();
        code.nops(900);
        if (row.masked) code.sti();
        m.start(0, code.spin());
        REQUIRE(m.client->attach_device(id, nic, 1) == HvStatus::success);
        REQUIRE(m.client->map_device_interrupt(id, 1, {0x41, 1, false}));
        sim::Timer device{
            m.simulation.agenda(), "device", [&] {
                mmu::SystemMemory memory{m.bytes.data(), m.bytes.size()};
                if (row.posted) {
                    memory.store<std::uint64_t>(descriptors + 8, std::uint64_t{1} << (0x41 - 64));
                    memory.store<std::uint64_t>(descriptors + 32, std::uint64_t{notification_vector} << 16 | 1);
                }
                CHECK(m.hypervisor->device_interrupt(0, row.posted ? notification_vector : first_device_vector));
            }};
        device.arm(Time::us(1));
        m.run(Time::us(20));
        const auto count = [&](const char* name) {
            return m.simulation.statistics()
                .all()
                .at(std::string{"hypervisor.partitions.2.vp0."} + name)
                .counter.value();
        };
        CHECK(m.data(4) == 1);
        CHECK(m.data() == row.taken);
        CHECK(count("exits.interrupt") == row.exits);
        CHECK(count("exits.interrupt_window") == row.windows);
    }
}

TEST_CASE("register pages that cannot be") {
    SyntheticMachine m;
    constexpr std::uint64_t device_page = first_device_spa >> 12;
    const auto map = [&](std::uint64_t gpa_page, std::uint64_t spa_page) {
        return m.client.map_pages(m.id, gpa_page, std::array{spa_page}, map_gpa_flag::readable);
    };
    CHECK(map(0x400, device_page) == HvStatus::success);
    CHECK(map(0x10, device_page) == HvStatus::invalid_parameter);  // memory is there
    CHECK(map(0x400, std::uint64_t{1} << 40) == HvStatus::access_denied);
    CHECK(map(std::uint64_t{1} << 36, device_page) == HvStatus::invalid_parameter);
    CHECK(map(0x401, device_page - 1) == HvStatus::access_denied);  // neither memory nor a device
    CHECK(m.partition.devices().translate(0x400'123) == first_device_spa + 0x123);
    CHECK_FALSE(m.partition.devices().translate(0x401'000));
}

}  // namespace assigned_devices_test
