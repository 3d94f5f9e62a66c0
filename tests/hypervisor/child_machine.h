// A machine for tests of what a child sees of the hypervisor: real partitions, hypercalls, ports and synthetic
// processors on a small memory; the processors around them only record.
#pragma once

#include <doctest/doctest.h>

#include <array>
#include <cstring>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "hypervisor/root_client.h"
#include "hypervisor/synthetic_processor.h"
#include "partition_machine.h"
#include "sim/simulation.h"

namespace hypervisor::test {

// The registers of a processor, and what its Hyper-V interface asks of the rest of it.
struct RecordingPort final : SyntheticPort {
    RecordingPort() : guest(cpu::EngineState{}, 1) { set_mode(64); }

    // Ring 0 of 64-bit or 32-bit code.
    void set_mode(unsigned bits) {
        namespace s = cpu::segment;
        cpu::Registers r;
        r.cr0 = cpu::cr0::pe | cpu::cr0::pg;
        r.cr4 = cpu::cr4::pae;
        if (bits == 64) r.efer = cpu::efer::lme | cpu::efer::lma;
        r[cpu::SegmentName::cs].attributes = static_cast<cpu::u16>(s::present | s::not_system | s::code | s::readable |
                                                                   (bits == 64 ? s::long_mode : s::default_big));
        guest.set_registers(r);
    }

    cpu::GuestContext& context() override { return guest; }
    void request_interrupt(std::uint8_t vector, bool auto_eoi) override { interrupts.emplace_back(vector, auto_eoi); }
    bool interrupt_waiting() const override { return waiting; }
    void apic_eoi() override { ++eois; }
    std::uint64_t apic_icr() const override { return icr; }
    void apic_write_icr(std::uint64_t value) override { icr = value; }
    std::uint8_t apic_tpr() const override { return tpr; }
    void apic_write_tpr(std::uint8_t value) override { tpr = value; }
    sim::Time vp_run_time() const override { return run_time; }
    void idle() override { ++idles; }
    void send_ipis(VpMask targets, std::uint8_t vector) override { ipis.emplace_back(targets, vector); }
    void flush_translations(VpMask targets) override { flushes.push_back(targets); }
    void yield() override { ++yields; }
    void charge_hypercall_reps(std::uint32_t reps) override { reps_charged += reps; }

    cpu::GuestContext guest;
    std::vector<std::pair<std::uint8_t, bool>> interrupts;
    bool waiting = false;
    int eois = 0;
    std::uint64_t icr = 0;
    std::uint8_t tpr = 0;
    sim::Time run_time;
    int idles = 0;
    std::vector<std::pair<VpMask, std::uint8_t>> ipis;
    std::vector<VpMask> flushes;
    int yields = 0;
    std::uint64_t reps_charged = 0;
};

struct ChildVp final : VpControl {
    ChildVp(const sim::Scope& scope, SyntheticPartition& partition, RootHypercalls& calls, std::uint32_t vp_index)
        : index(vp_index), synthetic(scope, partition, port, calls, vp_index) {}

    HvStatus get_register(HvRegister name, HvRegisterValue& value) override {
        if (name == HvRegister::vp_index) {
            value = {index, 0};
            return HvStatus::success;
        }
        return synthetic.get_register(name, value);
    }
    HvStatus set_register(HvRegister name, const HvRegisterValue& value) override {
        return synthetic.set_register(name, value);
    }
    bool accepts_destination(std::uint64_t address, bool) const override { return address == index; }
    HvStatus assert_interrupt(const InterruptRequest&) override { return HvStatus::success; }
    HvStatus post_message(std::uint32_t sint, const HvMessage& message) override {
        return synthetic.post_message(sint, message);
    }
    HvStatus signal_event(std::uint32_t sint, std::uint16_t flag) override {
        return synthetic.signal_event(sint, flag);
    }
    HvOutputTranslateVirtualAddress translate(std::uint64_t, std::uint64_t) override { return {}; }

    std::uint32_t index;
    RecordingPort port;
    SyntheticProcessor synthetic;
};

struct ChildMachine : PartitionHost {
    static constexpr std::uint64_t pages = 1024;
    static constexpr std::uint64_t first_guest_spa_page = 512;
    static constexpr std::uint64_t guest_pages = 256;  // guest physical 0 to 1 MiB
    static constexpr std::uint64_t tsc_hz = 2'500'000'000;
    static constexpr std::uint64_t apic_hz = 200'000'000;

    explicit ChildMachine(std::uint32_t vp_count = 1, std::uint64_t privileges = child_privileges)
        : partitions(simulation.scope("hypervisor"), {}, memory(), *this),
          ports(simulation.scope("hypervisor.ports"), root_partition, partitions, receiver),
          calls(simulation.scope("hypervisor"), partitions, ports),
          client(calls, source) {
        id = *client.create_partition();
        REQUIRE(client.set_property(id, HvPartitionProperty::privilege_flags, privileges) == HvStatus::success);
        REQUIRE(client.initialize_partition(id) == HvStatus::success);
        constexpr std::uint32_t rwx = map_gpa_flag::readable | map_gpa_flag::writable |
                                      map_gpa_flag::kernel_executable | map_gpa_flag::user_executable;
        REQUIRE(client.map_range(id, 0, first_guest_spa_page, guest_pages, rwx) == HvStatus::success);
        for (std::uint32_t vp = 0; vp < vp_count; ++vp) REQUIRE(client.create_vp(id, vp) == HvStatus::success);
        REQUIRE(client.deposit(id, 64) == HvStatus::success);
    }
    ~ChildMachine() override { vps.clear(); }

    VpControl& create_vp(Partition& partition, std::uint32_t index) override {
        if (!synthetic) {
            synthetic = std::make_unique<SyntheticPartition>(partition.scope().child("synthetic"), partition, memory(),
                                                             tsc_hz, apic_hz, HypercallInstruction::vmcall);
        }
        auto& vp = vps[index];
        vp = std::make_unique<ChildVp>(partition.scope().child("vp" + std::to_string(index)), *synthetic, calls, index);
        return *vp;
    }
    void delete_vp(Partition&, std::uint32_t index) override {
        vps.erase(index);
        if (vps.empty()) synthetic.reset();
    }
    void mapping_changed(Partition&, std::uint64_t, std::uint64_t) override { ++mapping_changes; }
    HvStatus property_changed(Partition&, HvPartitionProperty, std::uint64_t) override { return HvStatus::success; }

    mmu::SystemMemory memory() { return {bytes.data(), bytes.size()}; }
    Partition& partition() { return *partitions.find(id); }
    ChildVp& vp(std::uint32_t index = 0) { return *vps.at(index); }
    SyntheticProcessor& child(std::uint32_t index = 0) { return vp(index).synthetic; }

    // A guest physical page as the guest sees it now, overlays included.
    std::byte* at(std::uint64_t gpa) {
        const auto found = partition().gpa_space().translate(gpa);
        REQUIRE(found.has_value());
        return bytes.data() + found->spa;
    }
    template <class T>
    T load(std::uint64_t gpa) {
        T value{};
        std::memcpy(&value, at(gpa), sizeof value);
        return value;
    }
    template <class T>
    void store(std::uint64_t gpa, const T& value) {
        std::memcpy(at(gpa), &value, sizeof value);
    }
    void words(std::uint64_t gpa, std::initializer_list<std::uint64_t> values) {
        for (const std::uint64_t value : values) {
            store(gpa, value);
            gpa += sizeof value;
        }
    }

    // MSRs that the test expects to work.
    void write(std::uint32_t msr, std::uint64_t value, std::uint32_t index = 0) {
        CAPTURE(msr);
        REQUIRE(child(index).write_msr(msr, value));
    }
    std::uint64_t read(std::uint32_t msr, std::uint32_t index = 0) {
        CAPTURE(msr);
        const auto value = child(index).read_msr(msr);
        REQUIRE(value.has_value());
        return *value;
    }

    // One entry of a hypercall in 64-bit code: true if it is finished.
    bool enter(std::uint64_t control, std::uint64_t input, std::uint64_t output, std::uint32_t index = 0) {
        auto& guest = vp(index).port.guest;
        guest.set_gpr(cpu::Gpr::rcx, control);
        guest.set_gpr(cpu::Gpr::rdx, input);
        guest.set_gpr(cpu::Gpr::r8, output);
        return child(index).hypercall();
    }
    // The result word of a call, with all the entries that it takes.
    std::uint64_t call(std::uint64_t control, std::uint64_t input = 0, std::uint64_t output = 0,
                       std::uint32_t index = 0) {
        bool done = enter(control, input, output, index);
        for (int entries = 1; !done && entries < 100; ++entries) done = child(index).hypercall();
        REQUIRE(done);
        return vp(index).port.guest.gpr(cpu::Gpr::rax);
    }

    sim::Time now() { return simulation.agenda().now(); }
    void run_until(sim::Time t) { simulation.agenda().run_until(t); }

    std::vector<std::byte> bytes = std::vector<std::byte>(pages * hv_page_size);
    sim::Simulation simulation{1};
    Receiver receiver;
    RangeSource source{1, first_guest_spa_page};
    Partitions partitions;
    Ports ports;
    RootHypercalls calls;
    RootClient client;
    PartitionId id = 0;
    std::unique_ptr<SyntheticPartition> synthetic;
    std::map<std::uint32_t, std::unique_ptr<ChildVp>> vps;
    std::uint64_t mapping_changes = 0;
};

// Reports of an interrupt as tables have them.
inline std::pair<std::uint8_t, bool> edge(std::uint8_t vector) {
    return {vector, false};
}

}  // namespace hypervisor::test
