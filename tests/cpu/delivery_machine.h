// A machine for the tests of event delivery: descriptor tables, a TSS and stacks in a flat megabyte, and registers that
// point at them.
#pragma once

#include <array>
#include <vector>

#include "cpu/event_delivery.h"
#include "tests/cpu/linear_memory_fake.h"

namespace cpu::testing {

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

inline Event software(u8 v, u8 length = 2) {
    Event e;
    e.vector = v;
    e.type = EventType::software_interrupt;
    e.instruction_length = length;
    return e;
}

using Items = std::vector<u64>;

}  // namespace cpu::testing
