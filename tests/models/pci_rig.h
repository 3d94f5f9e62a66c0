// Two partitions with virtual PCI buses and a host with a device behind its IOMMU: what a guest does is done by hand.
#pragma once

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "models/pci/assigned_function.h"
#include "models/pci/example_function.h"
#include "models/pci/partition_pci.h"
#include "pci/capability_registers.h"
#include "pci/config_registers.h"
#include "sim/archive.h"
#include "sim/random.h"
#include "tests/hypervisor/partition_machine.h"
#include "tests/vmbus/scripted_channel.h"
#include "vmbus/inband/bytes.h"

namespace pci_rig {

using namespace models;
using hypervisor::HvStatus;
using hypervisor::PartitionId;
using hypervisor::test::Machine;
using sim::Time;
using vmbus::ByteBuilder;
using vmbus::ByteReader;
using Type = vmbus::virtual_pci::Type;

using Bytes = std::vector<std::byte>;
inline constexpr std::uint64_t window = 0xf900'0000;
inline constexpr std::uint64_t bar0 = 0x10'0000'0000, bar2 = bar0 + 0x1000;
inline constexpr std::uint64_t tables = (Machine::pages - 192) * 4096;
inline const PciCosts costs{.mmio = {Time::ns(500), Time::ns(50)}, .iommu = {.second = {.format = slat::Format::npt}}};

// One partition: its virtual PCI bus, its memory.
struct Guest {
    Guest(Machine& m, HostPci& host, sim::Processor& processor, const std::string& name)
        : machine(m),
          id(m.child(2)),
          bus(m.simulation.agenda()),
          mmio(m.simulation.scope(name + ".mmio")),
          pci(m.simulation.scope(name + ".pci"),
              {.service = {bus, processor, {Time::zero(), Time::zero(), Time::zero(), Time::zero()}},
               .host = host,
               .client = m.client,
               .partition = id,
               .vps = 2,
               .mmio = mmio,
               .layout = MemoryLayout::of_size(std::uint64_t{64} << 20),
               .memory = bus.memory}) {
        REQUIRE(m.client.deposit(id, 8) == HvStatus::success);
        REQUIRE(m.client.map_range(id, 0, first_page(), 16, hypervisor::map_gpa_flag::permissions_mask) ==
                HvStatus::success);
    }
    // Its memory at address 0, as the host has it.
    std::uint64_t first_page() const { return 1024 + 16 * id; }
    std::byte& byte(std::uint64_t gpa) { return machine.bytes[first_page() * 4096 + gpa]; }

    vmbus::testing::ScriptedChannel& channel() { return *bus.channels.back(); }
    Bytes ask(Type type, const Bytes& body) {
        channel().put(ByteBuilder{}.u32(static_cast<std::uint32_t>(type)).bytes(body).take(), 1, true);
        machine.simulation.agenda().run_until(machine.simulation.agenda().now());
        return channel().take().bytes;
    }
    std::uint32_t status(Type type, const Bytes& body) {
        const Bytes answer = ask(type, body);
        return ByteReader{answer}.u32();
    }
    std::uint32_t enter(std::uint64_t where = window) {
        return status(Type::bus_d0_entry, ByteBuilder{}.u32(0).u64(where).take());
    }
    // As Linux does: version, D0, then BARs with decoding off.
    void start(std::uint64_t at = bar0) {
        channel().open();
        REQUIRE(status(Type::query_protocol_version, ByteBuilder{}.u32(0x0001'0004).take()) == 0);
        REQUIRE(enter() == 0);
        config(0x10, 4, at);
        config(0x14, 4, at >> 32);
        config(0x18, 4, at + 0x1000);
        config(0x1c, 4, at >> 32);
        config(0x04, 2, pci::command::memory_space | pci::command::bus_master);
    }
    std::uint64_t config(unsigned offset, unsigned size) {
        mmio.write(window, 4, 0);
        return mmio.read(window + 0x1000 + offset, size);
    }
    void config(unsigned offset, unsigned size, std::uint64_t value) {
        mmio.write(window, 4, 0);
        mmio.write(window + 0x1000 + offset, size, value);
    }
    // A register, as a processor reaches it: through the second level, or else through the root.
    bool direct(std::uint64_t gpa) const { return partition().devices().translate(gpa).has_value(); }
    std::uint64_t read(HostPci& host, std::uint64_t gpa) {
        Time cost;
        const auto spa = partition().devices().translate(gpa);
        return spa ? host.read(*spa, 4, cost) : mmio.read(gpa, 4);
    }
    void write(HostPci& host, std::uint64_t gpa, std::uint32_t value) {
        Time cost;
        const auto spa = partition().devices().translate(gpa);
        if (spa) {
            host.write(*spa, 4, value, cost);
        } else {
            mmio.write(gpa, 4, value);
        }
    }
    const hypervisor::Partition& partition() const { return *machine.partitions.find(id); }

    Machine& machine;
    PartitionId id;
    vmbus::testing::ScriptedBus bus;
    MmioMap mmio;
    PartitionPci pci;
};

struct Rig final : private DeviceInterrupts, private FunctionOwner {
    Rig()
        : host(machine.simulation.scope("pci"), costs, {machine.bytes.data(), machine.bytes.size()}, tables),
          device(host.keep(
              std::make_unique<ExampleFunction>(machine.simulation.scope("device"), host.add_root_port().slot(0, 0)))),
          function(remapped(host.place(device.function()))),
          processor(machine.simulation.scope("cpu"), Time::zero()),
          a(machine, host, processor, "a"),
          b(machine, host, processor, "b") {
        host.connect(*this, processor);
    }
    ~Rig() { host.disconnect(); }
    AssignedFunction& give(Guest& guest) {
        AssignedFunction& place = guest.pci.assign("probe", function);
        place.set_owner(this);
        return place;
    }
    void run() { machine.run(); }
    std::uint64_t refused() const { return count("pci.iommu.blocked"); }
    std::uint64_t count(const std::string& name) const {
        const auto& all = machine.simulation.statistics().all();
        const auto found = all.find(name);
        return found != all.end() ? found->second.counter.value() : 0;
    }
    std::vector<std::uint32_t> vectors(Guest& guest, std::uint32_t vp) {
        std::vector<std::uint32_t> all;
        for (const auto& request : machine.host.vp(guest.id, vp).interrupts) all.push_back(request.vector);
        return all;
    }

    HostFunction remapped(HostFunction placed) {
        machine.host.remapping = &host;
        return placed;
    }

    mutable Machine machine{{.second_level = {.format = slat::Format::npt}}};
    HostPci host;
    ExampleFunction& device;
    HostFunction function;
    sim::SerialProcessor processor;
    Guest a, b;
    unsigned returned = 0;

private:
    bool device_interrupt(std::uint32_t to, std::uint8_t vector) override {
        return machine.partitions.device_interrupt(hypervisor::test::FakeHost::handle_at(to, vector));
    }
    void function_returned(AssignedFunction&) override { ++returned; }
};

}  // namespace pci_rig
