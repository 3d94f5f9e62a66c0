// Event delivery: frames, stacks, flags and nested faults, against the SDM's INT n pseudo-code.
#include "cpu/event_delivery.h"

#include <doctest/doctest.h>

#include <functional>
#include <string>

#include "cpu/fast_system_call.h"
#include "tests/cpu/linear_memory_fake.h"

using namespace cpu;
using cpu::testing::FlatMemory;

namespace {

constexpr u64 idt = 0x1000, gdt = 0x2000, tss = 0x3000, ldt = 0x4000;
constexpr u64 kernel_stack = 0x8000, user_stack = 0xa000, interrupt_stack = 0xc000;

enum Selector : u16 {
    kernel_code = 0x08,
    kernel_data = 0x10,
    user_code = 0x18 | 3,
    user_data = 0x20 | 3,
    task = 0x28,
    conforming_code = 0x30,
    long_code = 0x38,
    absent_code = 0x40,
    absent_stack = 0x48,
    read_only_data = 0x50,
    ring1_code = 0x58,
    ring1_stack = 0x60 | 1,
    short_stack = 0x68,  // limit 0xff
    data16 = 0x70,       // 16-bit stack
    down_stack = 0x78,   // expand-down, valid above 0x7fff
    short_code = 0x80,   // limit 0xfff
    user_long_code = 0x88 | 3,
    high_code = 0x90 | 3,  // ring 3, not accessed
    outside = 0xa8,
};

constexpr u64 descriptor(u32 base, u32 limit, u16 attributes) {
    return (limit & 0xffff) | u64{base & 0xff'ffff} << 16 | u64{attributes & 0xffu} << 40 |
           u64{limit >> 16 & 0xf} << 48 | u64{attributes >> 8 & 0xfu} << 52 | u64{base >> 24} << 56;
}

struct Machine {
    FlatMemory memory;
    Registers r;

    Machine() {
        const std::array<u64, 19> table{0,
                                        descriptor(0, 0xfffff, 0xc9b),
                                        descriptor(0, 0xfffff, 0xc93),
                                        descriptor(0, 0xfffff, 0xcfb),
                                        descriptor(0, 0xfffff, 0xcf3),
                                        descriptor(tss, 0x67, 0x08b),
                                        descriptor(0, 0xfffff, 0xc9f),
                                        descriptor(0, 0xfffff, 0xa9b),
                                        descriptor(0, 0xfffff, 0xc1b),
                                        descriptor(0, 0xfffff, 0xc13),
                                        descriptor(0, 0xfffff, 0xc91),
                                        descriptor(0, 0xfffff, 0xcbb),
                                        descriptor(0, 0xfffff, 0xcb3),
                                        descriptor(0, 0xff, 0x493),
                                        descriptor(0, 0xffff, 0x093),
                                        descriptor(0, 0x7, 0xc97),
                                        descriptor(0, 0xfff, 0x49b),
                                        descriptor(0, 0xfffff, 0xafb),
                                        descriptor(0, 0xfffff, 0xcfa)};
        for (std::size_t i = 0; i < table.size(); ++i) memory.put(gdt + 8 * i, table[i]);
        r.cr0 = cr0::pe | cr0::pg | cr0::et;
        r.gdtr = {gdt, 0xa7};
        r.idtr = {idt, 0x7ff};
        r.tr = {task, 0x8b, 0x67, tss};
        r.rflags = rflags::always_one | rflags::if_;
        r.rip = 0x1'0000;
        put_tss32(0, kernel_data, kernel_stack);
        put_tss32(1, ring1_stack, kernel_stack - 0x800);
        kernel();
    }
    void put_tss32(unsigned level, u16 ss, u64 esp) {
        memory.put<u32>(tss + 4 + 8 * level, static_cast<u32>(esp));
        memory.put<u16>(tss + 8 + 8 * level, ss);
    }
    Segment load(u16 selector) const {
        const u64 raw = memory.get<u64>(gdt + (selector & 0xfff8));
        u32 limit = static_cast<u32>((raw & 0xffff) | (raw >> 32 & 0xf'0000));
        if ((raw >> 55 & 1) != 0) limit = limit << 12 | 0xfff;
        return {selector, static_cast<u16>((raw >> 40 & 0xff) | (raw >> 44 & 0xf00)), limit,
                (raw >> 16 & 0xff'ffff) | (raw >> 56 << 24)};
    }
    void run_at(u16 cs, u16 ss, u64 sp) {
        r[SegmentName::cs] = load(cs);
        r[SegmentName::ss] = load(ss);
        r[Gpr::rsp] = sp;
    }
    void kernel() { run_at(kernel_code, kernel_data, kernel_stack - 0x400); }
    void user() { run_at(user_code, user_data, user_stack); }
    void long_mode() {
        r.efer = efer::lma | efer::lme | efer::sce;
        r.cr4 = cr4::pae;
        r.idtr.limit = 0xfff;
        r.idtr.base = 0xe000;
        memory.put<u64>(tss + 4, kernel_stack);
        memory.put<u64>(tss + 4 + 8, kernel_stack - 0x100);
        for (unsigned i = 1; i <= 7; ++i) memory.put<u64>(tss + 28 + 8 * i, interrupt_stack + 0x100 * i + 7);
        run_at(long_code, kernel_data, kernel_stack - 0x3f8);
    }
    void long_user() {
        long_mode();
        run_at(user_long_code, user_data, user_stack + 4);
    }
    void virtual_8086() {
        user();
        r.rflags |= rflags::vm | rflags::iopl;
        for (auto& s : r.segments) s = {0x900, 0xf3, 0xffff, 0x9000};
        r[SegmentName::gs].selector = 0x1111;
        r[SegmentName::fs].selector = 0x2222;
        r[SegmentName::ds].selector = 0x3333;
        r[SegmentName::es].selector = 0x4444;
        r[Gpr::rsp] = 0xfffe;
        r.rip = 0x123;
    }
    void gate(u8 v, u16 selector, u64 offset, unsigned type, unsigned dpl = 0, bool present = true, unsigned ist = 0) {
        const u64 low = (offset & 0xffff) | u64{selector} << 16 | u64{ist} << 32 | u64{type} << 40 | u64{dpl} << 45 |
                        u64{present} << 47 | (offset >> 16 & 0xffff) << 48;
        if (r.long_mode()) {
            memory.put(r.idtr.base + 16 * u64{v}, low);
            memory.put(r.idtr.base + 16 * u64{v} + 8, offset >> 32);
        } else {
            memory.put(r.idtr.base + 8 * u64{v}, low);
        }
    }
    template <class T>
    std::vector<u64> stack(u64 at, unsigned n) const {
        std::vector<u64> items;
        for (unsigned i = 0; i < n; ++i) items.push_back(memory.get<T>(at + i * sizeof(T)));
        return items;
    }
};

Event software(u8 v, u8 length = 2) {
    Event e;
    e.vector = v;
    e.type = EventType::software_interrupt;
    e.instruction_length = length;
    return e;
}

using Items = std::vector<u64>;

}  // namespace

TEST_CASE("real mode: interrupt vector table, six bytes, flags") {
    Machine m;
    m.r.cr0 = 0;
    m.r.idtr = {0, 0x3ff};
    m.r[SegmentName::cs] = real_mode_segment(0x1000, true);
    m.r[SegmentName::ss] = real_mode_segment(0x0800, false);
    m.r[Gpr::rsp] = 0xabcd'0100;
    m.r.rip = 0x55aa;
    m.r.rflags = 0x2 | rflags::if_ | rflags::tf | rflags::cf | rflags::ac;
    m.memory.put<u32>(0x21 * 4, 0x2000'1234);
    SUBCASE("external interrupt") {
        CHECK(deliver(m.r, m.memory, external_interrupt_event(0x21)).outcome == Delivery::delivered);
        CHECK(m.stack<u16>(0x80fa, 3) == Items{0x55aa, 0x1000, 0x0303});
        CHECK(m.r[Gpr::rsp] == 0xabcd'00fa);
        CHECK(m.r[SegmentName::cs] == Segment{0x2000, 0x9b, 0xffff, 0x2'0000});
        CHECK(m.r.rip == 0x1234);
        CHECK(m.r.rflags == (0x2 | rflags::cf));
    }
    SUBCASE("INT 21h pushes the next instruction") {
        CHECK(deliver(m.r, m.memory, software(0x21)).outcome == Delivery::delivered);
        CHECK(m.stack<u16>(0x80fa, 3) == Items{0x55ac, 0x1000, 0x0303});
    }
    SUBCASE("exceptions have no error code here") {
        m.memory.put<u32>(13 * 4, 0x2000'1234);
        CHECK(deliver(m.r, m.memory, exception_event(13, 0x99)).outcome == Delivery::delivered);
        CHECK(m.r[Gpr::rsp] == 0xabcd'00fa);
    }
    SUBCASE("the stack pointer wraps within the segment") {
        m.r[Gpr::rsp] = 2;
        CHECK(deliver(m.r, m.memory, external_interrupt_event(0x21)).outcome == Delivery::delivered);
        CHECK(m.r[Gpr::rsp] == 0xfffc);
        CHECK(m.memory.get<u16>(0x8000) == 0x0303);
        CHECK(m.memory.get<u16>(0x17ffe) == 0x1000);
        CHECK(m.memory.get<u16>(0x17ffc) == 0x55aa);
    }
    SUBCASE("an odd stack pointer at the segment's end is #SS, and so on to shutdown") {
        m.r[Gpr::rsp] = 1;
        const auto result = deliver_once(m.r, m.memory, external_interrupt_event(0x21));
        CHECK(result.raised.vector == vector::stack_fault);
        CHECK(deliver(m.r, m.memory, external_interrupt_event(0x21)).outcome == Delivery::triple_fault);
    }
    SUBCASE("beyond the table is #GP") {
        m.r.idtr.limit = 0x21 * 4 + 2;
        const auto result = deliver_once(m.r, m.memory, external_interrupt_event(0x21));
        CHECK(result.outcome == Delivery::exception);
        CHECK(result.raised.vector == vector::general_protection);
    }
}

TEST_CASE("32-bit protected mode, same privilege") {
    Machine m;
    const u64 sp = m.r[Gpr::rsp];
    m.r.rflags |= rflags::tf | rflags::nt | rflags::df;
    SUBCASE("interrupt gate, no error code") {
        m.gate(0x40, kernel_code, 0x12345678, segment::interrupt_gate32);
        CHECK(deliver(m.r, m.memory, external_interrupt_event(0x40)).outcome == Delivery::delivered);
        CHECK(m.stack<u32>(sp - 12, 3) == Items{0x1'0000, kernel_code, 0x4702});
        CHECK(m.r[Gpr::rsp] == sp - 12);
        CHECK(m.r.rip == 0x12345678);
        CHECK(m.r.rflags == (0x2 | rflags::df));
    }
    SUBCASE("trap gate keeps IF; a fault pushes RF and its error code") {
        m.gate(13, kernel_code, 0x5678, segment::trap_gate32);
        CHECK(deliver(m.r, m.memory, exception_event(13, 0x18)).outcome == Delivery::delivered);
        CHECK(m.stack<u32>(sp - 16, 4) == Items{0x18, 0x1'0000, kernel_code, 0x1'4702});
        CHECK(m.r.rflags == (0x2 | rflags::df | rflags::if_));
    }
    SUBCASE("16-bit gate pushes words and masks the offset") {
        m.gate(0x40, kernel_code, 0x12345678, segment::interrupt_gate16);
        CHECK(deliver(m.r, m.memory, external_interrupt_event(0x40)).outcome == Delivery::delivered);
        CHECK(m.stack<u16>(sp - 6, 3) == Items{0x0000, kernel_code, 0x4702});
        CHECK(m.r.rip == 0x5678);
    }
    SUBCASE("16-bit stack changes SP only") {
        m.r[SegmentName::ss] = m.load(data16);
        m.r[Gpr::rsp] = 0x1234'7000;
        m.gate(0x40, kernel_code, 0x5678, segment::interrupt_gate32);
        CHECK(deliver(m.r, m.memory, external_interrupt_event(0x40)).outcome == Delivery::delivered);
        CHECK(m.r[Gpr::rsp] == 0x1234'6ff4);
        CHECK(m.memory.get<u32>(0x6ff4) == 0x1'0000);
    }
    SUBCASE("conforming code keeps the privilege level of the interrupted code") {
        m.user();
        m.gate(0x40, conforming_code, 0x5678, segment::interrupt_gate32);
        CHECK(deliver(m.r, m.memory, external_interrupt_event(0x40)).outcome == Delivery::delivered);
        CHECK(m.r[SegmentName::cs].selector == (conforming_code | 3));
        CHECK(m.r[SegmentName::ss].selector == user_data);
        CHECK(m.r.cpl() == 3);
        CHECK(m.r[Gpr::rsp] == user_stack - 12);
    }
}

TEST_CASE("32-bit protected mode, from user to kernel") {
    Machine m;
    m.user();
    SUBCASE("SS:ESP of the TSS, five items and the error code") {
        m.gate(14, kernel_code, 0x5678, segment::interrupt_gate32);
        CHECK(deliver(m.r, m.memory, page_fault_event(6, 0xdead'0000)).outcome == Delivery::delivered);
        CHECK(m.stack<u32>(kernel_stack - 24, 6) == Items{6, 0x1'0000, user_code, 0x1'0202, user_stack, user_data});
        CHECK(m.r[Gpr::rsp] == kernel_stack - 24);
        CHECK(m.r[SegmentName::ss].selector == kernel_data);
        CHECK(m.r[SegmentName::cs].selector == kernel_code);
        CHECK(m.r.cpl() == 0);
        CHECK(m.r.cr2 == 0xdead'0000);
        CHECK(m.r.rflags == 0x2);
    }
    SUBCASE("to ring 1") {
        m.gate(0x40, ring1_code, 0x5678, segment::interrupt_gate32);
        CHECK(deliver(m.r, m.memory, external_interrupt_event(0x40)).outcome == Delivery::delivered);
        CHECK(m.r[SegmentName::cs].selector == (ring1_code | 1));
        CHECK(m.r[SegmentName::ss].selector == ring1_stack);
        CHECK(m.r[Gpr::rsp] == kernel_stack - 0x800 - 20);
        CHECK(m.r.cpl() == 1);
    }
    SUBCASE("16-bit TSS") {
        m.r.tr = {task, 0x83, 0x2b, tss};
        m.memory.put<u16>(tss + 2, 0x7ffe);
        m.memory.put<u16>(tss + 4, kernel_data);
        m.gate(0x40, kernel_code, 0x5678, segment::interrupt_gate32);
        CHECK(deliver(m.r, m.memory, external_interrupt_event(0x40)).outcome == Delivery::delivered);
        CHECK(m.r[Gpr::rsp] == 0x7ffe - 20);
    }
    SUBCASE("INT 80h through a gate of DPL 3") {
        m.gate(0x80, kernel_code, 0x5678, segment::trap_gate32, 3);
        CHECK(deliver(m.r, m.memory, software(0x80)).outcome == Delivery::delivered);
        CHECK(m.stack<u32>(kernel_stack - 20, 3) == Items{0x1'0002, user_code, 0x202});
        CHECK(m.r.rflags == 0x202);
    }
    SUBCASE("the accessed flag of the code descriptor is set in memory and in CS") {
        m.gate(0x40, high_code, 0x5678, segment::interrupt_gate32);
        CHECK(deliver(m.r, m.memory, external_interrupt_event(0x40)).outcome == Delivery::delivered);
        CHECK(m.memory.get<u8>(gdt + 0x90 + 5) == 0xfb);
        CHECK(m.r[SegmentName::cs].attributes == 0xcfb);
    }
}

TEST_CASE("virtual-8086 mode: nine items, data segments become null") {
    Machine m;
    m.virtual_8086();
    m.gate(0x40, kernel_code, 0x5678, segment::interrupt_gate32, 3);
    SUBCASE("interrupt") {
        CHECK(deliver(m.r, m.memory, external_interrupt_event(0x40)).outcome == Delivery::delivered);
        CHECK(m.stack<u32>(kernel_stack - 36, 9) ==
              Items{0x123, 0x900, 0x2'3202, 0xfffe, 0x900, 0x4444, 0x3333, 0x2222, 0x1111});
        CHECK(m.r[SegmentName::ds] == Segment{});
        CHECK(m.r[SegmentName::gs] == Segment{});
        CHECK_FALSE(m.r.virtual_8086());
        CHECK(m.r.cpl() == 0);
    }
    SUBCASE("INT n below IOPL 3 is #GP(0)") {
        m.r.rflags &= ~rflags::iopl;
        const auto result = deliver_once(m.r, m.memory, software(0x40));
        CHECK(result.raised == exception_event(13, 0));
    }
    SUBCASE("the handler must run at level 0") {
        m.gate(0x41, ring1_code, 0x5678, segment::interrupt_gate32);
        const auto result = deliver_once(m.r, m.memory, external_interrupt_event(0x41));
        CHECK(result.raised == exception_event(13, ring1_code | 1));
    }
}

TEST_CASE("long mode") {
    Machine m;
    SUBCASE("same privilege: the stack is aligned and SS:RSP is pushed all the same") {
        m.long_mode();
        m.gate(0x40, long_code, 0xffff'8000'1234'5678, segment::interrupt_gate32);
        const u64 rsp = m.r[Gpr::rsp];
        CHECK(deliver(m.r, m.memory, external_interrupt_event(0x40)).outcome == Delivery::delivered);
        const u64 top = rsp & ~15ull;
        CHECK(m.stack<u64>(top - 40, 5) == Items{0x1'0000, long_code, 0x202, rsp, kernel_data});
        CHECK(m.r[Gpr::rsp] == top - 40);
        CHECK(m.r.rip == 0xffff'8000'1234'5678);
        CHECK(m.r[SegmentName::ss].selector == kernel_data);
        CHECK(m.r.rflags == 2);
    }
    SUBCASE("from user: RSP0, SS null") {
        m.long_user();
        m.r[Gpr::rsp] = 0x7fff'ffff'fff8;
        m.gate(14, long_code, 0x5678, segment::trap_gate32);
        CHECK(deliver(m.r, m.memory, page_fault_event(7, 0x1234)).outcome == Delivery::delivered);
        CHECK(m.stack<u64>(kernel_stack - 48, 6) ==
              Items{7, 0x1'0000, user_long_code, 0x1'0202, 0x7fff'ffff'fff8, user_data});
        CHECK(m.r[SegmentName::ss] == Segment{0, 0, 0, 0});
        CHECK(m.r[SegmentName::cs] == Segment{long_code, 0xa9b, 0xffff'ffff, 0});
        CHECK(m.r.cpl() == 0);
        CHECK(m.r.cr2 == 0x1234);
        CHECK(m.r.rflags == 0x202);
    }
    SUBCASE("interrupt stack table, aligned down; SS stays when the level does") {
        m.long_mode();
        m.gate(2, long_code, 0x5678, segment::interrupt_gate32, 0, true, 7);
        CHECK(deliver(m.r, m.memory, nmi_event()).outcome == Delivery::delivered);
        CHECK(m.r[Gpr::rsp] == interrupt_stack + 0x700 - 40);
        CHECK(m.r[SegmentName::ss].selector == kernel_data);
    }
    SUBCASE("from compatibility mode") {
        m.long_user();
        m.run_at(user_code, user_data, user_stack);
        m.r.rip = 0xffff'ffff;
        m.gate(0x80, long_code, 0x5678, segment::interrupt_gate32, 3);
        CHECK(deliver(m.r, m.memory, software(0x80)).outcome == Delivery::delivered);
        CHECK(m.stack<u64>(kernel_stack - 40, 2) == Items{1, user_code});
    }
    SUBCASE("#DB sets DR6 and clears DR7.GD") {
        m.long_mode();
        m.r.dr6 |= 3;
        m.r.dr7 |= dr7::gd;
        m.gate(1, long_code, 0x5678, segment::interrupt_gate32);
        CHECK(deliver(m.r, m.memory, debug_event(dr6::bs)).outcome == Delivery::delivered);
        CHECK(m.r.dr6 == (dr6::fixed_one | dr6::bs));
        CHECK(m.r.dr7 == dr7::fixed_one);
    }
}

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
        CHECK(m.r.cr2 == 0x1f'ffe0);
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

TEST_CASE("SYSCALL and SYSENTER") {
    Machine m;
    m.r.star = 0x0023'0010'1234'5678;
    m.r.lstar = 0xffff'8000'0000'1000;
    m.r.cstar = 0xffff'8000'0000'2000;
    m.r.sfmask = rflags::if_ | rflags::tf;
    m.r.rflags = 0x2 | rflags::if_ | rflags::rf | rflags::cf;
    SUBCASE("64-bit") {
        m.long_user();
        CHECK_FALSE(system_call(m.r).has_value());
        CHECK(m.r[Gpr::rcx] == 0x1'0002);
        CHECK(m.r[Gpr::r11] == (0x2 | rflags::if_ | rflags::cf));
        CHECK(m.r.rip == 0xffff'8000'0000'1000);
        CHECK(m.r.rflags == 0x3);
        CHECK(m.r[SegmentName::cs] == Segment{0x10, 0xa9b, 0xffff'ffff, 0});
        CHECK(m.r[SegmentName::ss] == Segment{0x18, 0xc93, 0xffff'ffff, 0});
        CHECK(m.r.cpl() == 0);
    }
    SUBCASE("compatibility mode") {
        m.long_user();
        m.run_at(user_code, user_data, user_stack);
        CHECK_FALSE(system_call(m.r).has_value());
        CHECK(m.r.rip == 0xffff'8000'0000'2000);
        CHECK(m.r.code_64bit());
    }
    SUBCASE("legacy mode") {
        m.user();
        m.r.efer = efer::sce;
        CHECK_FALSE(system_call(m.r).has_value());
        CHECK(m.r.rip == 0x1234'5678);
        CHECK(m.r[Gpr::rcx] == 0x1'0002);
        CHECK(m.r.rflags == 0x3);
        CHECK(m.r[SegmentName::cs] == Segment{0x10, 0xc9b, 0xffff'ffff, 0});
    }
    SUBCASE("#UD while EFER.SCE is clear") {
        m.long_user();
        m.r.efer &= ~efer::sce;
        const Registers before = m.r;
        CHECK(system_call(m.r) == exception_event(6));
        CHECK(m.r == before);
    }
    SUBCASE("SYSENTER") {
        m.user();
        CHECK(system_enter(m.r) == exception_event(13, 0));
        m.r.sysenter_cs = 0x0b;
        m.r.sysenter_esp = 0x1'0000'5000;
        m.r.sysenter_eip = 0x6000;
        CHECK_FALSE(system_enter(m.r).has_value());
        CHECK(m.r[SegmentName::cs] == Segment{8, 0xc9b, 0xffff'ffff, 0});
        CHECK(m.r[SegmentName::ss] == Segment{0x10, 0xc93, 0xffff'ffff, 0});
        CHECK(m.r[Gpr::rsp] == 0x5000);
        CHECK(m.r.rip == 0x6000);
        CHECK((m.r.rflags & rflags::if_) == 0);
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
