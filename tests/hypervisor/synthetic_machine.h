// The Hyper-V interface of one virtual processor without a processor around it: a partition with memory, its synthetic
// half, and a port that records what it is asked for. Guest pages 0 to 255 are memory.
#pragma once

#include <array>
#include <cstring>
#include <span>
#include <utility>
#include <vector>

#include "hypervisor/synthetic_processor.h"
#include "partition_machine.h"

namespace hypervisor::test {

struct FakePort final : SyntheticPort {
    cpu::GuestContext& context() override { return guest; }
    void request_interrupt(std::uint8_t vector, bool auto_eoi) override { interrupts.emplace_back(vector, auto_eoi); }
    bool interrupt_waiting() const override { return waiting; }
    void apic_eoi() override { ++eois; }
    std::uint64_t apic_icr() const override { return icr; }
    void apic_write_icr(std::uint64_t value) override { icr = value; }
    std::uint8_t apic_tpr() const override { return tpr; }
    void apic_write_tpr(std::uint8_t value) override { tpr = value; }
    sim::Time vp_run_time() const override { return sim::Time::us(7); }
    void idle() override { ++idles; }
    void send_ipis(VpMask targets, std::uint8_t vector) override { ipis.emplace_back(targets, vector); }
    void flush_translations(VpMask targets, const TranslationFlush& what) override {
        flushes.push_back(targets);
        flushed.push_back(what);
    }
    void yield() override { ++yields; }
    void charge_hypercall_reps(std::uint32_t reps_done) override { charged += reps_done; }

    void forget() {
        interrupts.clear();
        ipis.clear();
        flushes.clear();
        flushed.clear();
    }

    cpu::GuestContext guest{cpu::EngineState{}, 1};
    std::vector<std::pair<std::uint8_t, bool>> interrupts;
    std::vector<std::pair<VpMask, std::uint8_t>> ipis;
    std::vector<VpMask> flushes;
    std::vector<TranslationFlush> flushed;
    bool waiting = false;
    std::uint64_t icr = 0;
    std::uint8_t tpr = 0;
    unsigned eois = 0;
    unsigned idles = 0;
    unsigned yields = 0;
    std::uint64_t charged = 0;
};

// Everything that a test can ask for, and what no child gets.
inline constexpr std::uint64_t all_synthetic_privileges =
    child_privileges | privilege::access_vp_registers | privilege::access_tsc_invariant_controls |
    privilege::access_reenlightenment_controls | privilege::enable_extended_gva_ranges_flush;

struct SyntheticMachine : Machine {
    static constexpr std::uint64_t guest_pages = 256;
    static constexpr std::uint64_t first_spa_page = 1024;
    static constexpr std::uint64_t tsc_hz = 2'000'000'000;
    static constexpr std::uint64_t apic_hz = 200'000'000;

    explicit SyntheticMachine(std::uint64_t privileges = all_synthetic_privileges, std::uint32_t vps = 3)
        : id(child(vps, privileges)),
          partition(*partitions.find(id)),
          synthetic(simulation.scope("hypervisor.synthetic"), partition, {bytes.data(), bytes.size()}, tsc_hz, apic_hz,
                    HypercallInstruction::vmmcall),
          processor(simulation.scope("hypervisor.synthetic.vp0"), synthetic, port, hypercalls, 0) {
        REQUIRE(client.deposit(id, 64) == HvStatus::success);
        REQUIRE(client.map_range(id, 0, first_spa_page, guest_pages, map_gpa_flag::permissions_mask) ==
                HvStatus::success);
        set_code(true);
    }

    void set_code(bool is_64bit) {
        cpu::Registers r = port.guest.registers();
        r.cr0 = cpu::cr0::pe | cpu::cr0::pg;
        r.efer = is_64bit ? cpu::efer::lme | cpu::efer::lma : 0;
        r[cpu::SegmentName::cs].attributes = is_64bit ? cpu::segment::long_mode : 0;
        port.guest.set_registers(r);
    }

    // The guest's own view of its memory.
    template <class T>
    T load(std::uint64_t gpa) {
        T value{};
        REQUIRE(partition.gpa_space().read(gpa, std::as_writable_bytes(std::span{&value, 1})));
        return value;
    }
    template <class T>
    void store(std::uint64_t gpa, const T& value) {
        REQUIRE(partition.gpa_space().write(gpa, std::as_bytes(std::span{&value, 1})));
    }
    bool can_store(std::uint64_t gpa) {
        const std::uint8_t value = 0;
        return partition.gpa_space().write(gpa, std::as_bytes(std::span{&value, 1}));
    }

    void write(std::uint32_t number, std::uint64_t value) {
        CAPTURE(number);
        CAPTURE(value);
        REQUIRE(processor.write_msr(number, value));
    }
    std::uint64_t read(std::uint32_t number) {
        const auto value = processor.read_msr(number);
        CAPTURE(number);
        REQUIRE(value);
        return *value;
    }

    static constexpr std::uint64_t simp = 0x10'000;
    static constexpr std::uint64_t siefp = 0x11'000;
    void enable_synic() {
        write(msr::simp, simp | 1);
        write(msr::siefp, siefp | 1);
        write(msr::scontrol, 1);
    }
    static constexpr std::uint64_t slot(unsigned sint) { return simp + sint * std::uint64_t{message_bytes}; }

    void run_until(sim::Time t) { simulation.agenda().run_until(t); }

    PartitionId id;
    Partition& partition;
    FakePort port;
    SyntheticPartition synthetic;
    SyntheticProcessor processor;
};

// A hypercall as a guest in 64-bit code makes it.
struct GuestCall {
    std::uint64_t control = 0;
    std::uint64_t input = 0;   // RDX: an address, or the first eight bytes
    std::uint64_t output = 0;  // R8
};
struct GuestResult {
    HvStatus status = HvStatus::success;
    std::uint32_t done = 0;
    friend bool operator==(const GuestResult&, const GuestResult&) = default;
};

inline constexpr std::uint64_t fast_call = std::uint64_t{1} << hypercall_control::fast_bit;
constexpr std::uint64_t variable_header(std::uint64_t words) {
    return words << hypercall_control::variable_header_low;
}
constexpr std::uint64_t code_of(HvCall code) {
    return static_cast<std::uint64_t>(code);
}
inline GuestResult result_of(std::uint64_t word) {
    return {HvStatus{static_cast<std::uint16_t>(word)}, static_cast<std::uint32_t>(word >> 32)};
}

// As often as the call wants to be entered again.
inline GuestResult call(SyntheticMachine& m, const GuestCall& c, unsigned* entries = nullptr) {
    cpu::GuestContext& guest = m.port.guest;
    guest.set_gpr(cpu::Gpr::rcx, c.control);
    guest.set_gpr(cpu::Gpr::rdx, c.input);
    guest.set_gpr(cpu::Gpr::r8, c.output);
    unsigned n = 1;
    while (!m.processor.hypercall()) REQUIRE(++n < 5000);
    if (entries != nullptr) *entries = n;
    return result_of(guest.gpr(cpu::Gpr::rax));
}

}  // namespace hypervisor::test
