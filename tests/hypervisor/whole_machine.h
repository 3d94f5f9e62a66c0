// The whole hypervisor on small memory, with guests of a few bytes of machine code and costs in round numbers: an
// instruction takes 1 ns and the TSC runs at 1 GHz, so what RDTSC reads is nanoseconds.
#pragma once

#include <doctest/doctest.h>

#include <array>
#include <cstring>
#include <functional>
#include <initializer_list>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "hypervisor/hypervisor.h"
#include "hypervisor/root_client.h"
#include "hypervisor/vp_registers.h"
#include "partition_machine.h"
#include "sim/simulation.h"

namespace hypervisor::test {

using sim::Time;

// What each exit costs besides its instruction.
namespace cost {
inline constexpr Time exit = Time::ns(100);
inline constexpr Time cpuid = Time::ns(110);         // exit + 10
inline constexpr Time msr = Time::ns(120);           // exit + 20
inline constexpr Time x2apic = Time::ns(150);        // msr + 30
inline constexpr Time hypercall = Time::ns(140);     // exit + 40
inline constexpr Time nested_fault = Time::ns(150);  // exit + 50
inline constexpr Time halt = Time::ns(170);          // exit + 70
inline constexpr Time root = Time::us(1);
inline constexpr Time delivery = Time::ns(60);
inline constexpr Time context_switch = Time::ns(500);
inline constexpr Time ipi = Time::ns(200);
}  // namespace cost

inline HypervisorConfig round_numbers(std::uint32_t lps) {
    HypervisorConfig config;
    config.logical_processors = lps;
    config.quantum = Time::us(100);
    config.instruction_costs.ps.fill(1000);
    config.instruction_costs.ps[static_cast<std::size_t>(cpu::InstructionClass::load)] = 0;
    config.instruction_costs.ps[static_cast<std::size_t>(cpu::InstructionClass::store)] = 0;
    config.exit_costs = {.exit = cost::exit,
                         .cpuid = cost::cpuid - cost::exit,
                         .msr = cost::msr - cost::exit,
                         .apic_register = cost::x2apic - cost::msr,
                         .hypercall = cost::hypercall - cost::exit,
                         .hypercall_rep = Time::ns(1),
                         .nested_fault = cost::nested_fault - cost::exit,
                         .root_round_trip = cost::root,
                         .interrupt_delivery = cost::delivery,
                         .halt = cost::halt - cost::exit,
                         .context_switch = cost::context_switch,
                         .ipi_latency = cost::ipi};
    config.tsc_hz = 1'000'000'000;
    config.apic_hz = 100'000'000;  // a tick of the APIC timer, undivided, is 10 ns
    return config;
}

// Machine code, as far as the tests speak it.
struct Code {
    std::vector<std::uint8_t> bytes;

    Code& raw(std::initializer_list<std::uint8_t> more) {
        bytes.insert(bytes.end(), more);
        return *this;
    }
    Code& imm32(std::uint32_t value) {
        for (unsigned i = 0; i < 32; i += 8) bytes.push_back(static_cast<std::uint8_t>(value >> i));
        return *this;
    }
    Code& mov_eax(std::uint32_t v) { return raw({0xb8}).imm32(v); }
    Code& mov_ecx(std::uint32_t v) { return raw({0xb9}).imm32(v); }
    Code& mov_edx(std::uint32_t v) { return raw({0xba}).imm32(v); }
    Code& mov_ebx(std::uint32_t v) { return raw({0xbb}).imm32(v); }
    Code& store_eax(std::uint32_t at) { return raw({0x89, 0x04, 0x25}).imm32(at); }
    Code& store_ebx(std::uint32_t at) { return raw({0x89, 0x1c, 0x25}).imm32(at); }
    Code& store_edx(std::uint32_t at) { return raw({0x89, 0x14, 0x25}).imm32(at); }
    Code& load_eax(std::uint32_t at) { return raw({0x8b, 0x04, 0x25}).imm32(at); }
    Code& inc_at(std::uint32_t at) { return raw({0xff, 0x04, 0x25}).imm32(at); }
    Code& rdtsc() { return raw({0x0f, 0x31}); }
    // RDTSC; MOV: two instructions, of which the first reads its own time.
    Code& stamp(std::uint32_t at) { return rdtsc().store_eax(at); }
    Code& cpuid() { return raw({0x0f, 0xa2}); }
    Code& rdmsr(std::uint32_t number) { return mov_ecx(number).raw({0x0f, 0x32}); }
    // Four instructions.
    Code& wrmsr(std::uint32_t number, std::uint64_t value) {
        return mov_ecx(number)
            .mov_eax(static_cast<std::uint32_t>(value))
            .mov_edx(static_cast<std::uint32_t>(value >> 32))
            .raw({0x0f, 0x30});
    }
    Code& nops(std::size_t n) {
        bytes.insert(bytes.end(), n, 0x90);
        return *this;
    }
    Code& sti() { return raw({0xfb}); }
    Code& cli() { return raw({0xfa}); }
    Code& hlt() { return raw({0xf4}); }
    Code& iretq() { return raw({0x48, 0xcf}); }
    Code& spin() { return raw({0xeb, 0xfe}); }
    Code& out(std::uint8_t port) { return raw({0xe6, port}); }
    Code& in(std::uint8_t port) { return raw({0xe4, port}); }
    Code& x2apic_on() { return wrmsr(0x1b, 0xfee0'0c00).wrmsr(0x80f, 0x1ff); }
    Code& x2apic_eoi() { return wrmsr(0x80b, 0); }
};

// Guest-physical places. Everything below 2 MiB is memory.
namespace place {
inline constexpr std::uint64_t code = 0x1000;       // 0x400 for each processor
inline constexpr std::uint64_t real_mode = 0x2000;  // what a start-up IPI of vector 2 starts
inline constexpr std::uint64_t data = 0x3000;
inline constexpr std::uint64_t handlers = 0x4000;  // 64 bytes for each vector
inline constexpr std::uint64_t idt = 0x8000;
inline constexpr std::uint64_t gdt = 0x9000;
inline constexpr std::uint64_t tss = 0x9800;
inline constexpr std::uint64_t pml4 = 0xa000;
inline constexpr std::uint64_t pdpt = 0xb000;
inline constexpr std::uint64_t stacks = 0x10000;  // one ends at each further 0x1000
inline constexpr std::uint64_t nmi_stack = 0x20000;
inline constexpr std::uint64_t pages = 512;
}  // namespace place

// Records intercepts with their times; a test may answer them.
struct RecordingRoot final : RootReceiver {
    void message(PortId, const HvMessage&) override {}
    void event(PortId, std::uint16_t) override {}
    void intercept(const HvMessage& message) override {
        intercepts.push_back(message);
        if (answer) answer(message);
    }
    std::vector<HvMessage> intercepts;
    std::function<void(const HvMessage&)> answer;
};

struct WholeMachine {
    static constexpr std::uint64_t pages = 4096;
    static constexpr std::uint64_t source_pages = 512;  // from the second on; then 512 for each guest

    explicit WholeMachine(std::uint32_t lps = 1, HypervisorConfig config = round_numbers(1)) {
        config.logical_processors = lps;
        hypervisor = std::make_unique<Hypervisor>(simulation.scope("hypervisor"),
                                                  mmu::SystemMemory{bytes.data(), bytes.size(), &watch}, config, root);
        client = std::make_unique<RootClient>(hypervisor->root_interface(), source);
    }

    // A partition with 2 MiB of memory, tables for 64-bit mode one to one, and its processors, all suspended.
    PartitionId guest(std::uint32_t vps = 1) {
        const PartitionId id = *client->create_partition();
        REQUIRE(client->deposit(id, 64 + 16 * vps) == HvStatus::success);
        REQUIRE(client->set_property(id, HvPartitionProperty::processors_per_socket, vps) == HvStatus::success);
        REQUIRE(client->initialize_partition(id) == HvStatus::success);
        spa[id] = (source_pages + place::pages * guests++) << hv_page_shift;
        REQUIRE(client->map_range(id, 0, spa[id] >> hv_page_shift, place::pages, map_gpa_flag::permissions_mask) ==
                HvStatus::success);
        write_tables(id);
        for (std::uint32_t vp = 0; vp < vps; ++vp) REQUIRE(client->create_vp(id, vp) == HvStatus::success);
        return id;
    }
    // Page tables, descriptors, gates to the handlers.
    void write_tables(PartitionId id) {
        store<std::uint64_t>(place::pml4, place::pdpt | 7, id);
        for (std::uint64_t i = 0; i < 4; ++i) store<std::uint64_t>(place::pdpt + 8 * i, i << 30 | 0x87, id);
        store<std::uint64_t>(place::gdt + 8, 0x00af'9b00'0000'ffff, id);
        store<std::uint64_t>(place::gdt + 16, 0x00cf'9300'0000'ffff, id);
        store<std::uint64_t>(place::tss + 0x24, place::nmi_stack, id);  // IST1
        for (std::uint64_t v = 0; v < 256; ++v) {
            const std::uint64_t handler = place::handlers + 64 * v;
            const std::uint64_t ist = v == 2 ? 1 : 0;
            store<std::uint64_t>(place::idt + 16 * v,
                                 (handler & 0xffff) | 8 << 16 | ist << 32 | 0x8eull << 40 | (handler >> 16) << 48, id);
        }
    }
    void load(std::uint64_t gpa, const Code& code, PartitionId id = 2) {
        REQUIRE(mmu::SystemMemory(bytes.data(), bytes.size(), &watch)
                    .write(spa.at(id) + gpa, std::as_bytes(std::span{code.bytes})));
    }
    void handler(std::uint8_t vector, const Code& code, PartitionId id = 2) {
        REQUIRE(code.bytes.size() <= 64);
        load(place::handlers + 64ull * vector, code, id);
    }
    // Lets a processor go in 64-bit mode at its code.
    void start(std::uint32_t vp, const Code& code, PartitionId id = 2) {
        const std::uint64_t entry = place::code + 0x400ull * vp;
        load(entry, code, id);
        using R = HvRegister;
        namespace s = cpu::segment;
        const auto segment = [](const cpu::Segment& value) {
            HvRegisterValue v{};
            const HvX64SegmentRegister layout = to_hv(value);
            std::memcpy(&v, &layout, sizeof v);
            return v;
        };
        const auto table = [](std::uint64_t base, std::uint16_t limit) {
            return HvRegisterValue{std::uint64_t{limit} << 48, base};
        };
        constexpr auto flat = static_cast<cpu::u16>(s::present | s::not_system | s::writable | s::accessed |
                                                    s::default_big | s::granularity);
        constexpr auto code64 = static_cast<cpu::u16>(s::present | s::not_system | s::code | s::readable | s::accessed |
                                                      s::long_mode | s::granularity);
        std::vector<std::pair<R, HvRegisterValue>> registers{
            {R::x64_rip, {entry, 0}},
            {R::x64_rsp, {place::stacks + 0x1000ull * (vp + 1), 0}},
            {R::x64_rflags, {2, 0}},
            {R::x64_cr0, {cpu::cr0::pe | cpu::cr0::pg | cpu::cr0::ne | cpu::cr0::et, 0}},
            {R::x64_cr3, {place::pml4, 0}},
            {R::x64_cr4, {cpu::cr4::pae | cpu::cr4::osfxsr, 0}},
            {R::x64_efer, {cpu::efer::lme | cpu::efer::lma, 0}},
            {R::x64_idtr, table(place::idt, 0xfff)},
            {R::x64_gdtr, table(place::gdt, 0x17)},
            {R::x64_cs, segment({8, code64, 0xffff'ffff, 0})},
            {R::x64_tr, segment({0x18, static_cast<cpu::u16>(s::present | s::tss32_busy), 0x67, place::tss})},
        };
        for (const R name : {R::x64_ss, R::x64_ds, R::x64_es}) {
            registers.emplace_back(name, segment({16, flat, 0xffff'ffff, 0}));
        }
        registers.emplace_back(R::internal_activity_state, HvRegisterValue{});
        registers.emplace_back(R::explicit_suspend, HvRegisterValue{});
        REQUIRE(client->set_registers(id, vp, registers) == HvStatus::success);
    }
    // Lets a processor wait for its start-up IPI, as the hardware does.
    void wait_for_startup(std::uint32_t vp, PartitionId id = 2) {
        REQUIRE(client->set_register(id, vp, HvRegister::explicit_suspend, {}) == HvStatus::success);
    }

    template <class T>
    T load(std::uint64_t gpa, PartitionId id = 2) {
        T value{};
        std::memcpy(&value, bytes.data() + spa.at(id) + gpa, sizeof value);
        return value;
    }
    template <class T>
    void store(std::uint64_t gpa, const T& value, PartitionId id = 2) {
        std::memcpy(bytes.data() + spa.at(id) + gpa, &value, sizeof value);
    }
    std::uint32_t data(std::uint64_t offset = 0, PartitionId id = 2) {
        return load<std::uint32_t>(place::data + offset, id);
    }
    std::uint64_t reg(HvRegister name, std::uint32_t vp = 0, PartitionId id = 2) {
        const auto value = client->get_register(id, vp, name);
        REQUIRE(value);
        return value->low;
    }
    void set(HvRegister name, std::uint64_t value, std::uint32_t vp = 0, PartitionId id = 2) {
        REQUIRE(client->set_register(id, vp, name, {value, 0}) == HvStatus::success);
    }
    bool halted(std::uint32_t vp = 0, PartitionId id = 2) {
        return (reg(HvRegister::internal_activity_state, vp, id) & activity_state::halt_suspend) != 0;
    }

    // Until nothing is left to do, or for so long, what happens then not included.
    void run(Time longest = Time::ms(10)) {
        const Time end = simulation.agenda().now() + longest;
        while (simulation.agenda().next_event() < end && simulation.agenda().run_next()) {
        }
    }

    std::vector<std::byte> bytes = std::vector<std::byte>(pages * hv_page_size);
    mmu::WriteWatch watch{pages * hv_page_size};
    sim::Simulation simulation{1};
    RecordingRoot root;
    RangeSource source{1, source_pages};
    std::unique_ptr<Hypervisor> hypervisor;
    std::unique_ptr<RootClient> client;
    std::map<PartitionId, std::uint64_t> spa;
    std::uint64_t guests = 0;
};

}  // namespace hypervisor::test
