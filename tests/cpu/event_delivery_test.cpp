// Event delivery that succeeds: frames, stacks, flags, segments, in every mode; SYSCALL and SYSENTER.
#include "cpu/event_delivery.h"

#include <doctest/doctest.h>

#include "cpu/fast_system_call.h"
#include "tests/cpu/delivery_machine.h"

namespace event_delivery_test {

using namespace cpu;
using namespace cpu::testing;

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

}  // namespace event_delivery_test
