// Interrupts, NMIs and start-up of virtual processors, and how they share logical ones: to the nanosecond, which is
// what the guests' RDTSC reads.
#include "whole_machine.h"

namespace virtual_processor_events_test {

using namespace hypervisor;
using namespace hypervisor::test;

namespace {

constexpr auto here = static_cast<std::uint32_t>(place::data);

std::uint32_t ns(Time t) {
    return static_cast<std::uint32_t>(t.ps() / 1000);
}
// A vector's ICR value as an x2APIC writes it.
constexpr std::uint64_t icr(std::uint64_t destination, std::uint32_t command) {
    return destination << 32 | command;
}
constexpr std::uint32_t to_self = 1u << 18;
constexpr std::uint32_t nmi_mode = 4u << 8;
constexpr std::uint32_t init_mode = 5u << 8 | 1u << 14;
constexpr std::uint32_t startup_mode = 6u << 8;

}  // namespace

TEST_CASE("HLT until the APIC timer: the handler's first instruction has an exact time") {
    WholeMachine m;
    m.guest();
    m.handler(0x40, Code{}.stamp(here + 4).hlt());
    // 1000 ticks of 10 ns. The first stamp is two instructions before four others and the exit of the last one.
    m.start(0, Code{}.x2apic_on().wrmsr(0x83e, 0xb).wrmsr(0x832, 0x40).stamp(here).wrmsr(0x838, 1000).sti().hlt());
    m.run();
    const std::uint32_t started = m.data() + 2 + 3 + ns(cost::x2apic);
    CHECK(m.data(4) == started + 10'000 + ns(cost::delivery));
    CHECK(m.halted());
}

TEST_CASE("a timer that ends while the processor runs stops it at a block's end") {
    WholeMachine m;
    m.guest();
    m.handler(0x40, Code{}.stamp(here + 4).hlt());
    m.start(0, Code{}
                   .x2apic_on()
                   .wrmsr(0x83e, 0xb)
                   .wrmsr(0x832, 0x40)
                   .sti()
                   .stamp(here)
                   .wrmsr(0x838, 1000)
                   .nops(3)
                   .raw({0xeb, 0xfb}));  // four instructions: NOPs and the jump back to them
    m.run();
    const std::uint32_t started = m.data() + 2 + 3 + ns(cost::x2apic);
    // WRMSR itself, then whole rounds of 4 ns (the first block begins with the NOPs after WRMSR).
    const std::uint32_t rounds = (10'000 - 1 + 3) / 4;
    CHECK(m.data(4) == started + 1 + 4 * rounds + ns(cost::delivery));
}

TEST_CASE("an IPI: exit, latency, delivery") {
    WholeMachine m{2};
    m.guest(2);
    m.handler(0x55, Code{}.stamp(here + 4).x2apic_eoi().hlt());
    m.start(1, Code{}.x2apic_on().sti().hlt());
    m.start(0, Code{}.x2apic_on().nops(900).stamp(here).wrmsr(0x830, icr(1, 0x55)).hlt());
    m.run();
    CHECK(m.halted(1));
    CHECK(m.data(4) == m.data() + 2 + 3 + ns(cost::x2apic + cost::ipi + cost::delivery));
    // To a processor that has interrupts off it waits for STI and its shadow.
    HypervisorConfig config = round_numbers(2);
    config.quantum = Time::ns(100);  // so that it is there before that
    WholeMachine late{2, config};
    late.guest(2);
    late.handler(0x55, Code{}.stamp(here + 4).hlt());
    late.start(1, Code{}.x2apic_on().nops(900).nops(900).stamp(here).sti().raw({0xff, 0xc3, 0xff, 0xc3}).hlt());
    late.start(0, Code{}.x2apic_on().wrmsr(0x830, icr(1, 0x55)).hlt());
    late.run();
    CHECK(late.data(4) == late.data() + 2 + 2 + ns(cost::exit + cost::delivery));
    CHECK(late.reg(HvRegister::x64_rbx, 1) == 1);
}

TEST_CASE("INIT and SIPI start a processor in real mode") {
    WholeMachine m{2};
    m.guest(2);
    m.load(place::real_mode, Code{}.raw({0xc6, 0x06, 0x00, 0x05, 0x77, 0xf4}));  // MOV BYTE [0x500], 0x77; HLT
    m.wait_for_startup(1);
    m.start(0, Code{}
                   .x2apic_on()
                   .stamp(here)
                   .wrmsr(0x830, icr(1, init_mode))
                   .wrmsr(0x830, icr(1, startup_mode | 2))
                   .wrmsr(0x830, icr(1, startup_mode | 9))  // the second is for nobody
                   .hlt());
    m.run();
    CHECK(m.load<std::uint8_t>(0x500) == 0x77);
    CHECK(m.halted(1));
    CHECK(m.reg(HvRegister::x64_rip, 1) == 6);
    const auto cs = m.client->get_register(2, 1, HvRegister::x64_cs);
    CHECK(cs->low == place::real_mode);
    CHECK((cs->high >> 32 & 0xffff) == 0x200);
    CHECK(m.hypervisor->instructions(2) == 8 + 2 + 12 + 1 + 2);
    // INIT again: it stops where it is and waits.
    m.set(HvRegister::x64_rsi, 0x1234, 1);
    REQUIRE(m.client->assert_interrupt(2, {.type = HvInterruptType::init}, 1) == HvStatus::success);
    m.run();
    CHECK(m.reg(HvRegister::internal_activity_state, 1) == activity_state::startup_suspend);
    CHECK(m.reg(HvRegister::x64_rsi, 1) == 0);
    CHECK(m.reg(HvRegister::x64_rip, 1) == 0xfff0);
}

TEST_CASE("INIT waits until the root has answered an intercept, and an SIPI before that is for nobody") {
    WholeMachine m;
    m.guest();
    REQUIRE(m.client->install_intercept(2, intercept_access_mask::read, HvInterceptType::x64_io_port, 0x70) ==
            HvStatus::success);
    m.root.answer = [](const HvMessage&) {};
    m.start(0, Code{}.in(0x70).hlt());
    m.run();
    REQUIRE(m.reg(HvRegister::intercept_suspend) == 1);
    REQUIRE(m.client->assert_interrupt(2, {.type = HvInterruptType::init}, 0) == HvStatus::success);
    REQUIRE(m.client->assert_interrupt(2, {HvInterruptType::sipi, false, 8}, 0) == HvStatus::success);
    m.run();
    CHECK(m.reg(HvRegister::x64_rip) == place::code);
    CHECK(m.reg(HvRegister::internal_activity_state) == 0);
    m.set(HvRegister::x64_rip, place::code + 2);
    m.set(HvRegister::intercept_suspend, 0);
    m.run();
    CHECK(m.reg(HvRegister::x64_rip) == 0xfff0);
    CHECK(m.reg(HvRegister::internal_activity_state) == activity_state::startup_suspend);
}

TEST_CASE("an NMI in the handler of one waits for IRET, and finds the stack as it was") {
    WholeMachine m;
    m.guest();
    // The handler asks for another one, waits long enough for it, and counts; IST1 is the same for both.
    m.handler(2, Code{}
                     .inc_at(here)
                     .raw({0x8b, 0x04, 0x24})  // MOV EAX, [RSP]: where it returns to
                     .raw({0x8b, 0x0c, 0x25})
                     .imm32(here)
                     .raw({0x89, 0x04, 0x8d})
                     .imm32(here)                          // MOV [here + 4 * count], EAX
                     .raw({0x83, 0xf9, 0x01, 0x75, 0x0e})  // CMP ECX, 1; JNE
                     .mov_ecx(0x830)
                     .raw({0x89, 0xf0, 0x31, 0xd2, 0x0f, 0x30})  // MOV EAX, ESI; XOR EDX, EDX; WRMSR
                     .raw({0x0f, 0xa2, 0x90})                    // CPUID takes its time
                     .iretq());
    Code code;
    code.x2apic_on()
        .raw({0xbe})
        .imm32(to_self | nmi_mode)
        .raw({0x89, 0xf0})
        .mov_ecx(0x830)
        .raw({0x31, 0xd2, 0x0f, 0x30});
    m.start(0, code.raw({0x0f, 0xa2, 0x0f, 0xa2, 0x0f, 0xa2, 0x0f, 0xa2, 0xf4}));
    m.run();
    CHECK(m.data() == 2);
    CHECK(m.halted());
    CHECK(m.reg(HvRegister::interrupt_state) == 0);
    CHECK(m.reg(HvRegister::x64_rip) == place::code + code.bytes.size());
    // Both return to the same instruction: the second came when the first had returned, before that one ran.
    CHECK(m.data(4) > place::code);
    CHECK(m.data(4) < place::code + 0x400);
    CHECK(m.data(8) == m.data(4));
}

TEST_CASE("an NMI in a shadow comes after it; it wakes a halted processor with interrupts off") {
    WholeMachine m;
    m.guest();
    m.handler(2, Code{}.store_ebx(here).stamp(here + 4).iretq());
    m.start(0, Code{}
                   .mov_ebx(1)
                   .mov_eax(16)
                   .in(0x70)
                   .raw({0x8e, 0xd0, 0xff, 0xc3, 0xff, 0xc3})
                   .cli()
                   .hlt()
                   .raw({0xff, 0xc3})
                   .hlt());
    REQUIRE(m.client->install_intercept(2, intercept_access_mask::read, HvInterceptType::x64_io_port, 0x70) ==
            HvStatus::success);
    m.root.answer = [&](const HvMessage&) {
        m.set(HvRegister::x64_rax, 16);
        m.set(HvRegister::x64_rip, place::code + 12);
        m.set(HvRegister::interrupt_state, interrupt_state::interrupt_shadow);  // as if MOV SS had been done before
        REQUIRE(m.client->assert_interrupt(2, {.type = HvInterruptType::nmi}, 0) == HvStatus::success);
        m.set(HvRegister::intercept_suspend, 0);
    };
    m.run();
    // MOV SS is in the shadow, and has none of its own: no two in a row hold events up.
    CHECK(m.data() == 1);
    CHECK(m.halted());
    CHECK(m.reg(HvRegister::x64_rbx) == 3);
    REQUIRE(m.client->assert_interrupt(2, {.type = HvInterruptType::nmi}, 0) == HvStatus::success);
    const Time asserted = m.simulation.agenda().now();
    m.run();
    CHECK(m.data() == 3);
    CHECK(m.data(4) == ns(asserted + cost::delivery) + 1);
    CHECK(m.reg(HvRegister::x64_rbx) == 4);
}

TEST_CASE("priorities: CR8 holds back, EOI lets the next one in") {
    WholeMachine m;
    m.guest();
    m.handler(0x41, Code{}.store_ebx(here).x2apic_eoi().iretq());
    m.handler(0x81, Code{}.store_ebx(here + 4).raw({0xff, 0xc3}).x2apic_eoi().iretq());
    m.start(0, Code{}
                   .x2apic_on()
                   .mov_ebx(10)
                   .mov_eax(5)
                   .raw({0x44, 0x0f, 0x22, 0xc0})  // MOV CR8, RAX
                   .wrmsr(0x83f, 0x41)
                   .wrmsr(0x83f, 0x81)
                   .sti()
                   .nops(2)
                   .mov_ebx(20)
                   .mov_eax(0)
                   .raw({0x44, 0x0f, 0x22, 0xc0})
                   .mov_ebx(30)
                   .raw({0x44, 0x0f, 0x20, 0xc0})
                   .store_eax(here + 8)
                   .hlt());
    m.store<std::uint32_t>(place::data + 8, 7);
    m.run();
    CHECK(m.data(4) == 10);
    CHECK(m.data() == 20);
    CHECK(m.data(8) == 0);
    CHECK(m.reg(HvRegister::x64_rbx) == 30);
}

TEST_CASE("EOI assist: the handler that finds the bit needs no exit") {
    for (const bool assist : {false, true}) {
        CAPTURE(assist);
        WholeMachine m;
        m.guest();
        // XOR EAX, EAX; XCHG [page], EAX; TEST AL, 1; JNZ over the EOI; IRET
        m.handler(0x41, Code{}
                            .stamp(here)
                            .raw({0x31, 0xc0, 0x87, 0x04, 0x25})
                            .imm32(0x3'0000)
                            .raw({0xa8, 0x01, 0x75, 0x11})
                            .wrmsr(0x80b, 0)
                            .stamp(here + 4)
                            .iretq());
        m.start(0, Code{}
                       .x2apic_on()
                       .wrmsr(msr::vp_assist_page, assist ? 0x3'0001 : 0)
                       .sti()
                       .wrmsr(0x83f, 0x41)
                       .nops(1)
                       .wrmsr(0x83f, 0x41)  // comes again only if the first was ended
                       .inc_at(here + 8)
                       .rdmsr(0x812)  // in service: none
                       .store_eax(here + 12)
                       .hlt());
        m.run();
        CHECK(m.data(4) - m.data() == 2 + 4 + 1 + (assist ? 0 : 3 + ns(cost::x2apic) + 1) - 1);
        CHECK(m.data(8) == 1);
        CHECK(m.data(12) == 0);
        CHECK(m.halted());
    }
}

TEST_CASE("a guest that only faults still uses up its time") {
    WholeMachine m;
    m.guest();
    m.store<std::uint8_t>(place::idt + 16 * 6 + 4, 1);  // always from the top of the same stack
    m.handler(6, Code{}.raw({0x0f, 0x0b}));             // UD2, in the handler of UD2
    m.start(0, Code{}.raw({0x0f, 0x0b}));
    m.run(Time::us(50));
    CHECK(m.simulation.agenda().now() == Time::us(100));  // the quantum, at 1 ns for each delivery
    CHECK(m.hypervisor->instructions(2) == 0);
}

TEST_CASE("a stack in a page of the hypervisor's: #GP on the way is a double fault, then the end") {
    WholeMachine m;
    m.guest();
    m.start(0, Code{}.wrmsr(msr::guest_os_id, 1).wrmsr(msr::hypercall, place::stacks | 1).raw({0x0f, 0x0b}).hlt());
    m.run();
    REQUIRE(m.root.intercepts.size() == 1);
    CHECK(m.root.intercepts[0].header.message_type == 0x8000'0021);
    CHECK(m.reg(HvRegister::pending_interruption) == 0);
    // With a good stack for the double fault its handler comes.
    WholeMachine saved;
    saved.guest();
    saved.store<std::uint8_t>(place::idt + 16 * 8 + 4, 1);
    saved.handler(8, Code{}.inc_at(here).hlt());
    saved.start(0, Code{}.wrmsr(msr::guest_os_id, 1).wrmsr(msr::hypercall, place::stacks | 1).raw({0x0f, 0x0b}).hlt());
    saved.run();
    CHECK(saved.data() == 1);
    CHECK(saved.root.intercepts.empty());
}

TEST_CASE("the guest idle register waits, whatever IF says") {
    WholeMachine m;
    m.guest();
    m.start(0, Code{}
                   .x2apic_on()
                   .wrmsr(0x83e, 0xb)
                   .wrmsr(0x832, 0x40)
                   .cli()
                   .stamp(here)
                   .wrmsr(0x838, 1000)
                   .rdmsr(msr::guest_idle)
                   .stamp(here + 4)
                   .hlt());
    m.run();
    CHECK(m.data(4) == m.data() + 2 + 3 + ns(cost::x2apic) + 10'000);
}

// --- Logical processors --------------------------------------------------------------------------------------------

TEST_CASE("two processors on one logical processor take slices by turns, each change at its cost") {
    HypervisorConfig config = round_numbers(1);
    config.scheduler.time_slice = Time::us(200);
    WholeMachine m{1, config};
    m.guest(2);
    for (std::uint32_t vp : {0u, 1u}) m.start(vp, Code{}.raw({0xff, 0xc3, 0xeb, 0xfc}));  // INC EBX; JMP
    m.run(Time::us(2000));
    // Ten slices of 200 us. All but the first begin with a change, in which nothing is executed.
    const std::uint64_t first = m.reg(HvRegister::x64_rbx, 0);
    const std::uint64_t second = m.reg(HvRegister::x64_rbx, 1);
    CHECK(first == 500'000 - 4 * 250);
    CHECK(second == 500'000 - 5 * 250);
    m.run(Time::us(2000));
    CHECK(m.reg(HvRegister::x64_rbx, 0) - first == 500'000 - 5 * 250);
}

TEST_CASE("the quantum doesn't change what happens, lock-step included") {
    for (const Time quantum : {Time::zero(), Time::ns(1), Time::ns(700), Time::us(100)}) {
        CAPTURE(quantum.ps());
        HypervisorConfig config = round_numbers(2);
        config.quantum = quantum;
        WholeMachine m{2, config};
        m.guest(2);
        m.handler(0x55, Code{}.stamp(here + 4).hlt());
        m.start(1, Code{}.x2apic_on().sti().hlt());
        m.start(0, Code{}.x2apic_on().nops(500).stamp(here).wrmsr(0x830, icr(1, 0x55)).hlt());
        m.run();
        CHECK(m.data() == 500 + 4 + ns(cost::msr) + 4 + ns(cost::x2apic));
        CHECK(m.data(4) == m.data() + 2 + 3 + ns(cost::x2apic + cost::ipi + cost::delivery));
    }
}

}  // namespace virtual_processor_events_test
