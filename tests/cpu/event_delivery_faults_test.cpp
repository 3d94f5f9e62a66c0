// Event delivery that fails: each fault on the way to a handler with its error code, double and triple faults, random
// machines.
#include <doctest/doctest.h>

#include <functional>
#include <string>

#include "cpu/event_delivery.h"
#include "cpu/fast_system_call.h"
#include "tests/cpu/delivery_machine.h"

namespace event_delivery_faults_test {

using namespace cpu;
using namespace cpu::testing;

namespace {
struct FaultRow {
    std::string name;
    std::function<void(Machine&)> set_up;
    Event event;
    u8 vector;
    u32 error_code;
};
const Event hardware = external_interrupt_event(0x40);
constexpr unsigned ig = segment::interrupt_gate32;

const FaultRow fault_rows[] = {
    {"gate beyond the IDT", [](Machine& m) { m.r.idtr.limit = 0x40 * 8 + 6; }, hardware, 13, 0x203},
    {"the same for INT n: no EXT", [](Machine& m) { m.r.idtr.limit = 0x40 * 8 + 6; }, software(0x40), 13, 0x202},
    {"call gate in the IDT", [](Machine& m) { m.gate(0x40, kernel_code, 0, segment::call_gate32); }, hardware, 13,
     0x203},
    {"code segment in the IDT", [](Machine& m) { m.gate(0x40, kernel_code, 0, 0x1e); }, hardware, 13, 0x203},
    {"INT n from user through a gate of DPL 0",
     [](Machine& m) {
         m.user();
         m.gate(0x40, kernel_code, 0, ig);
     },
     software(0x40), 13, 0x202},
    {"gate not present", [](Machine& m) { m.gate(0x40, kernel_code, 0, ig, 0, false); }, hardware, 11, 0x203},
    {"privilege is checked before presence",
     [](Machine& m) {
         m.user();
         m.gate(0x40, kernel_code, 0, ig, 0, false);
     },
     software(0x40), 13, 0x202},
    {"task gate", [](Machine& m) { m.gate(0x40, task, 0, segment::task_gate); }, hardware, 10, task | 1},
    {"null code selector", [](Machine& m) { m.gate(0x40, 3, 0, ig); }, hardware, 13, 1},
    {"null code selector, INT n", [](Machine& m) { m.gate(0x40, 0, 0, ig, 3); }, software(0x40), 13, 0},
    {"code selector beyond the GDT", [](Machine& m) { m.gate(0x40, outside, 0, ig); }, hardware, 13, outside | 1},
    {"code selector in an LDT that is not there", [](Machine& m) { m.gate(0x40, 0x0c, 0, ig); }, hardware, 13, 0x0d},
    {"data segment as code", [](Machine& m) { m.gate(0x40, kernel_data, 0, ig); }, hardware, 13, kernel_data | 1},
    {"code less privileged than we are", [](Machine& m) { m.gate(0x40, user_code, 0, ig); }, hardware, 13, 0x19},
    {"code segment not present", [](Machine& m) { m.gate(0x40, absent_code, 0, ig); }, hardware, 11, absent_code | 1},
    {"offset beyond the code segment", [](Machine& m) { m.gate(0x40, short_code, 0x1000, ig); }, hardware, 13, 1},
    {"no room on the stack",
     [](Machine& m) {
         m.run_at(kernel_code, short_stack, 0x10b);
         m.gate(0x40, kernel_code, 0, ig);
     },
     hardware, 12, 1},
    {"no room on the stack, INT n",
     [](Machine& m) {
         m.run_at(kernel_code, short_stack, 8);
         m.gate(0x40, kernel_code, 0, ig);
     },
     software(0x40), 12, 0},
    {"an expand-down stack ends at its limit",
     [](Machine& m) {
         m.run_at(kernel_code, down_stack, 0x8008);
         m.gate(0x40, kernel_code, 0, ig);
     },
     hardware, 12, 1},
    {"TSS too short",
     [](Machine& m) {
         m.user();
         m.r.tr.limit = 8;
         m.gate(0x40, kernel_code, 0, ig);
     },
     hardware, 10, task | 1},
    {"no TSS at all",
     [](Machine& m) {
         m.user();
         m.r.tr = {};
         m.gate(0x40, kernel_code, 0, ig);
     },
     hardware, 10, 1},
    {"null stack selector",
     [](Machine& m) {
         m.user();
         m.put_tss32(0, 0, kernel_stack);
         m.gate(0x40, kernel_code, 0, ig);
     },
     hardware, 10, 1},
    {"stack selector beyond the GDT",
     [](Machine& m) {
         m.user();
         m.put_tss32(0, outside, kernel_stack);
         m.gate(0x40, kernel_code, 0, ig);
     },
     hardware, 10, outside | 1},
    {"stack selector with the wrong RPL",
     [](Machine& m) {
         m.user();
         m.put_tss32(0, kernel_data | 1, kernel_stack);
         m.gate(0x40, kernel_code, 0, ig);
     },
     hardware, 10, kernel_data | 1},
    {"stack with the wrong DPL",
     [](Machine& m) {
         m.user();
         m.put_tss32(0, user_data & ~3, kernel_stack);
         m.gate(0x40, kernel_code, 0, ig);
     },
     hardware, 10, 0x21},
    {"read-only stack",
     [](Machine& m) {
         m.user();
         m.put_tss32(0, read_only_data, kernel_stack);
         m.gate(0x40, kernel_code, 0, ig);
     },
     hardware, 10, read_only_data | 1},
    {"stack segment not present",
     [](Machine& m) {
         m.user();
         m.put_tss32(0, absent_stack, kernel_stack);
         m.gate(0x40, kernel_code, 0, ig);
     },
     hardware, 12, absent_stack | 1},
    {"no room on the inner stack names its selector",
     [](Machine& m) {
         m.user();
         m.put_tss32(0, short_stack, 16);
         m.gate(0x40, kernel_code, 0, ig);
     },
     hardware, 12, short_stack | 1},
    {"long mode: gate beyond the IDT",
     [](Machine& m) {
         m.long_mode();
         m.r.idtr.limit = 0x40 * 16 + 14;
     },
     hardware, 13, 0x203},
    {"long mode: 16-bit gate",
     [](Machine& m) {
         m.long_mode();
         m.gate(0x40, long_code, 0, segment::interrupt_gate16);
     },
     hardware, 13, 0x203},
    {"long mode: 32-bit code",
     [](Machine& m) {
         m.long_mode();
         m.gate(0x40, kernel_code, 0, ig);
     },
     hardware, 13, kernel_code | 1},
    {"long mode: handler address not canonical",
     [](Machine& m) {
         m.long_mode();
         m.gate(0x40, long_code, 0x8000'0000'0000, ig);
     },
     hardware, 13, 1},
    {"long mode: stack not canonical",
     [](Machine& m) {
         m.long_mode();
         m.r[Gpr::rsp] = 0x8000'0000'0100;
         m.gate(0x40, long_code, 0, ig);
     },
     hardware, 12, 1},
    {"long mode: IST entry beyond the TSS",
     [](Machine& m) {
         m.long_mode();
         m.r.tr.limit = 28 + 8 * 7 + 6;
         m.gate(0x40, long_code, 0, ig, 0, true, 7);
     },
     hardware, 10, task | 1},
    {"page fault on the gate", [](Machine& m) { m.memory.pages[1] = FlatMemory::Page::absent; }, hardware, 14, 0},
    {"page fault on the stack at user privilege",
     [](Machine& m) {
         m.user();
         m.gate(0x40, conforming_code, 0, ig);
         m.memory.pages[(user_stack - 12) >> 12] = FlatMemory::Page::supervisor_only;
     },
     hardware, 14, 7},
    {"the tables are read as supervisor whatever the level",
     [](Machine& m) {
         m.user();
         m.gate(0x40, outside, 0, ig);
         for (u64 page : {1, 2, 3}) m.memory.pages[page] = FlatMemory::Page::supervisor_only;
     },
     hardware, 13, outside | 1},
    {"accessed flag in a read-only table",
     [](Machine& m) {
         m.user();
         m.gate(0x40, high_code, 0, ig);
         m.memory.pages[2] = FlatMemory::Page::read_only;
     },
     hardware, 14, 3},
};
}  // namespace

TEST_CASE("faults on the way to the handler: vector, error code, registers unchanged") {
    for (const FaultRow& row : fault_rows) {
        CAPTURE(row.name);
        Machine m;
        row.set_up(m);
        const Registers before = m.r;
        const auto result = deliver_once(m.r, m.memory, row.event);
        CHECK(result.outcome == Delivery::exception);
        CHECK(result.event == row.event);
        CHECK(result.raised.vector == row.vector);
        CHECK(result.raised.error_code == row.error_code);
        CHECK(result.raised.has_error_code);
        CHECK(m.r == before);
    }
}

TEST_CASE("combining exceptions (table 6-5)") {
    struct Row {
        u8 first, second;
        Combined expected;
    };
    for (const Row& row :
         {Row{1, 13, Combined::second}, Row{6, 14, Combined::second}, Row{13, 1, Combined::second},
          Row{13, 14, Combined::second}, Row{0, 13, Combined::double_fault}, Row{10, 11, Combined::double_fault},
          Row{12, 12, Combined::double_fault}, Row{14, 13, Combined::double_fault}, Row{14, 14, Combined::double_fault},
          Row{14, 6, Combined::second}, Row{8, 13, Combined::triple_fault}, Row{8, 14, Combined::triple_fault},
          Row{8, 1, Combined::second}, Row{18, 13, Combined::second}}) {
        CAPTURE(int{row.first});
        CAPTURE(int{row.second});
        CHECK(combine(exception_event(row.first), exception_event(row.second)) == row.expected);
    }
    // An interrupt is benign whatever its number.
    CHECK(combine(software(13), exception_event(13)) == Combined::second);
    CHECK(combine(external_interrupt_event(14), exception_event(14)) == Combined::second);
}

TEST_CASE("chains of faults") {
    Machine m;
    m.long_mode();
    m.gate(8, long_code, 0x8888, ig, 0, true, 1);
    m.gate(13, long_code, 0x1313, ig);
    m.gate(14, long_code, 0x1414, ig);
    SUBCASE("INT n without a gate is #GP at the INT") {
        CHECK(deliver(m.r, m.memory, software(0x40)).outcome == Delivery::delivered);
        CHECK(m.r.rip == 0x1313);
        CHECK(m.stack<u64>(m.r[Gpr::rsp], 2) == Items{0x202, 0x1'0000});
    }
    SUBCASE("page fault with a bad stack is a double fault; CR2 is of the push") {
        m.r[Gpr::rsp] = 0x20'0010;
        CHECK(deliver(m.r, m.memory, page_fault_event(0, 0x77)).outcome == Delivery::delivered);
        CHECK(m.r.rip == 0x8888);
        CHECK(m.r[Gpr::rsp] == interrupt_stack + 0x100 - 48);
        CHECK(m.stack<u64>(m.r[Gpr::rsp], 2) == Items{0, 0x1'0000});
        CHECK(m.r.cr2 == 0x1f'fff8);
    }
    SUBCASE("and without a stack for that either, shutdown") {
        m.r[Gpr::rsp] = 0x20'0010;
        m.memory.put<u64>(tss + 36, 0x30'0000);
        CHECK(deliver(m.r, m.memory, page_fault_event(0, 0x77)).outcome == Delivery::triple_fault);
    }
    SUBCASE("#GP then page fault is served as the page fault") {
        m.gate(13, long_code, 0x1313, ig, 0, true, 2);
        m.memory.put<u64>(tss + 44, 0x30'0000);
        CHECK(deliver(m.r, m.memory, exception_event(13, 4)).outcome == Delivery::delivered);
        CHECK(m.r.rip == 0x1414);
    }
    SUBCASE("an intercepted exception ends the delivery of the event it interrupts") {
        m.r[Gpr::rsp] = 0x20'0010;
        const auto result = deliver(m.r, m.memory, external_interrupt_event(0x40), 1u << 13);
        CHECK(result.outcome == Delivery::exception);
        CHECK(result.event == external_interrupt_event(0x40));
        CHECK(result.raised == exception_event(13, 0x203));
    }
    SUBCASE("an intercepted double fault") {
        m.r[Gpr::rsp] = 0x20'0010;
        const auto result = deliver(m.r, m.memory, page_fault_event(0, 0x77), 1u << 8);
        CHECK(result.outcome == Delivery::exception);
        CHECK(result.event == page_fault_event(0, 0x77));
        CHECK(result.raised == exception_event(8));
    }
    SUBCASE("a nested fault names the event to repeat, and repeating it succeeds") {
        m.memory.pages[(m.r[Gpr::rsp] - 40) >> 12] = FlatMemory::Page::nested;
        const Registers before = m.r;
        const auto result = deliver(m.r, m.memory, software(0x40));
        CHECK(result.outcome == Delivery::nested_fault);
        CHECK(result.event == exception_event(13, 0x202));
        CHECK(m.r == before);
        m.memory.pages.clear();
        CHECK(deliver(m.r, m.memory, result.event).outcome == Delivery::delivered);
        CHECK(m.r.rip == 0x1313);
    }
}

TEST_CASE("random machines never trip a check") {
    Machine base;
    FlatMemory& memory = base.memory;
    u64 seed = 0x9e37'79b9'7f4a'7c15;
    const auto draw = [&seed] {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        return seed * 0x2545'f491'4f6c'dd1dull;
    };
    u64 delivered = 0, shutdowns = 0, nested = 0;
    for (int i = 0; i < 200'000; ++i) {
        // Start from a sane machine and break several things.
        Registers r = base.r;
        const u64 kind = draw();
        if ((kind & 3) == 0) r.cr0 = 0;
        if ((kind & 3) == 1) r.efer = efer::lma | efer::lme;
        if ((kind & 0x30) == 0x30) r.rflags |= rflags::vm;
        if ((kind & 0xc0) == 0) r.cr4 |= cr4::la57;
        for (int k = 0; k < 6; ++k) {
            Segment& s = r.segments[draw() % 6];
            if ((draw() & 3) == 0)
                s = {static_cast<u16>(draw()), static_cast<u16>(draw() & 0xfff),
                     static_cast<u32>(draw() >> (draw() % 32)), draw() >> (draw() % 64)};
        }
        if ((draw() & 3) == 0) r[Gpr::rsp] = draw() >> (draw() % 64);
        if ((draw() & 7) == 0)
            r.tr = {static_cast<u16>(draw()), static_cast<u16>(draw()), static_cast<u32>(draw()), draw()};
        if ((draw() & 7) == 0)
            r.ldtr = {static_cast<u16>(draw()), static_cast<u16>(draw()), static_cast<u32>(draw()), ldt};
        if ((draw() & 15) == 0) r.idtr = {draw() >> (draw() % 64), static_cast<u32>(draw())};
        if ((draw() & 15) == 0) r.gdtr = {draw() >> (draw() % 64), static_cast<u32>(draw())};
        memory.put(0x1000 + draw() % 0x4000, draw());
        if ((draw() & 63) == 0) memory.pages[draw() % 16] = static_cast<FlatMemory::Page>(draw() % 5);
        if ((draw() & 255) == 0) memory.pages.clear();
        // Keep some gates good, so that all depths are reached.
        const u8 good = static_cast<u8>(draw());
        memory.put(idt + 8 * u64{good}, u64{0x0000'8e00'0008'5678} | (draw() & 0x6100'0000'0000));
        Event e;
        e.vector = (draw() & 1) != 0 ? good : static_cast<u8>(draw() % 32);
        e.type = static_cast<EventType>(draw() % 5);
        e.has_error_code = (draw() & 1) != 0;
        e.has_payload = (draw() & 1) != 0;
        e.error_code = static_cast<u32>(draw());
        e.payload = draw();
        e.instruction_length = static_cast<u8>(draw() & 15);
        memory.accesses = 0;
        const auto result = deliver(r, memory, e, (draw() & 7) == 0 ? static_cast<u32>(draw()) : 0);
        REQUIRE(memory.accesses < 64);
        delivered += result.outcome == Delivery::delivered;
        shutdowns += result.outcome == Delivery::triple_fault;
        nested += result.outcome == Delivery::nested_fault;
        (void)system_call(r, e.instruction_length);
        (void)system_enter(r);
    }
    // All outcomes are really met.
    CHECK(delivered > 10'000);
    CHECK(shutdowns > 10'000);
    CHECK(nested > 500);
}

}  // namespace event_delivery_faults_test
