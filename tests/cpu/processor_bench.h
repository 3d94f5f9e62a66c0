// A logical processor on the engine, with guest-physical memory one to one below 1 MiB and tables for every mode. Each
// handler of an exception or interrupt halts, so that what it was given can be looked at.
#pragma once

#include <doctest/doctest.h>

#include <array>
#include <cstring>
#include <initializer_list>
#include <memory>
#include <vector>

#include "cpu/logical_processor.h"
#include "sim/simulation.h"
#include "slat/table_writer.h"

namespace cpu::testing {

using sim::Time;

struct ProcessorBench : slat::TablePages {
    static constexpr u64 memory_bytes = 2 << 20;
    static constexpr u64 guest_bytes = 1 << 20;

    static constexpr u64 code = 0x1000;
    static constexpr u64 stack = 0x8000;       // downwards
    static constexpr u64 user_stack = 0xa000;  // downwards
    static constexpr u64 handlers = 0x10000;   // 16 bytes for each vector
    static constexpr u64 idt = 0x20000;
    static constexpr u64 gdt = 0x21000;
    static constexpr u64 tss = 0x22000;
    static constexpr u64 pml4 = 0x30000;  // and the three tables after it: 4 KiB pages up to 2 MiB
    static constexpr u64 page_table = 0x33000;
    static constexpr u64 pae_pdpt = 0x34000;  // its first entry leads to the directory above
    static constexpr u64 data = 0x40000;

    enum Selector : u16 {
        code64 = 0x08,
        data0 = 0x10,
        code32 = 0x18,
        user_data = 0x23,
        user_code64 = 0x2b,
        user_code32 = 0x33
    };
    enum class Mode { real, protected32, pae, long64 };

    explicit ProcessorBench(Mode mode = Mode::long64)
        : engine(memory, costs(), {}, 1'000'000'000, 1), processor(simulation.scope("lp"), engine, memory) {
        slat::SecondLevel format;
        format.format = slat::Format::npt;
        writer = std::make_unique<slat::TableWriter>(format, memory, *this);
        REQUIRE(writer->create() == slat::Edit::ok);
        REQUIRE(writer->map_range(0, 0, guest_bytes, {true, true, true}) == slat::Edit::ok);
        control.second_level = writer->second_level();
        context = std::make_unique<GuestContext>(engine.pristine_state(), u16{1});
        write_tables();
        set_mode(mode);
    }
    ~ProcessorBench() override { engine.unload(*context); }

    // 1 ns for every instruction.
    static CostTable costs() {
        CostTable table;
        table.ps.fill(1000);
        table.ps[static_cast<std::size_t>(InstructionClass::load)] = 0;
        table.ps[static_cast<std::size_t>(InstructionClass::store)] = 0;
        return table;
    }

    std::optional<u64> allocate_table() override { return next_table += 4096; }
    void free_table(u64) override {}

    void write_tables() {
        put<u64>(pml4, (pml4 + 0x1000) | 7);
        put<u64>(pml4 + 0x1000, (pml4 + 0x2000) | 7);
        put<u64>(pml4 + 0x2000, page_table | 7);
        put<u64>(pae_pdpt, (pml4 + 0x2000) | 1);
        for (u64 i = 0; i < 512; ++i) put<u64>(page_table + 8 * i, i << 12 | 7);
        const u64 descriptors[] = {0,
                                   0x00af'9b00'0000'ffff,
                                   0x00cf'9300'0000'ffff,
                                   0x00cf'9b00'0000'ffff,
                                   0x00cf'f300'0000'ffff,
                                   0x00af'fb00'0000'ffff,
                                   0x00cf'fb00'0000'ffff};
        for (u64 i = 0; i < std::size(descriptors); ++i) put(gdt + 8 * i, descriptors[i]);
    }
    // Gates of 64-bit or 32-bit mode; each handler is HLT.
    void write_idt(bool wide) {
        for (u64 v = 0; v < 256; ++v) {
            put<u8>(handlers + 16 * v, 0xf4);
            const u64 h = handlers + 16 * v;
            const u64 dpl = v == 0x80 ? 0xee00 : 0x8e00;
            const u64 gate = (h & 0xffff) | u64{wide ? code64 : code32} << 16 | dpl << 32 | (h >> 16 & 0xffff) << 48;
            put(idt + (wide ? 16 : 8) * v, gate);
            if (wide) put<u64>(idt + 16 * v + 8, 0);
        }
    }
    static Segment flat(u16 selector, u16 attributes) { return {selector, attributes, 0xffff'ffff, 0}; }
    static constexpr u16 data_attributes = segment::present | segment::not_system | segment::writable |
                                           segment::accessed | segment::default_big | segment::granularity;
    static constexpr u16 code_attributes = segment::present | segment::not_system | segment::code | segment::readable |
                                           segment::accessed | segment::granularity;

    void set_mode(Mode mode) {
        Registers r = reset_registers(0);
        r.rip = code;
        r.rflags = rflags::always_one;
        r[Gpr::rsp] = stack;
        if (mode == Mode::real) {
            for (Segment& s : r.segments) s.selector = 0, s.base = 0;
            context->set_registers(r);
            return;
        }
        const bool wide = mode == Mode::long64;
        r.cr0 = cr0::pe | cr0::ne | cr0::et;
        for (Segment& s : r.segments) s = flat(data0, data_attributes);
        r[SegmentName::cs] = wide ? flat(code64, code_attributes | segment::long_mode)
                                  : flat(code32, code_attributes | segment::default_big);
        r.gdtr = {gdt, 0x37};
        r.idtr = {idt, static_cast<u32>(wide ? 0xfff : 0x7ff)};
        r.tr = {0x38, static_cast<u16>(segment::present | segment::tss32_busy), 0x67, tss};
        put<u64>(tss + 4, stack);  // RSP0, ESP0
        put<u32>(tss + 8, wide ? 0 : data0);
        if (mode != Mode::protected32) {
            r.cr0 |= cr0::pg | cr0::wp;
            r.cr4 = cr4::pae;
            r.cr3 = wide ? pml4 : pae_pdpt;
            r.efer = efer::nxe | (wide ? efer::lme | efer::lma : 0);
            for (u64 i = 0; i < 4; ++i) r.pdpte[i] = wide ? 0 : get<u64>(pae_pdpt + 8 * i);
        }
        write_idt(wide);
        context->set_registers(r);
    }
    // CPL 3, at the same place.
    void to_user(bool wide = true) {
        Registers r = context->registers();
        r[SegmentName::cs] = wide ? flat(user_code64, code_attributes | segment::long_mode | 3 << 5)
                                  : flat(user_code32, code_attributes | segment::default_big | 3 << 5);
        for (const SegmentName s : {SegmentName::ss, SegmentName::ds, SegmentName::es}) {
            r[s] = flat(user_data, data_attributes | 3 << 5);
        }
        r[Gpr::rsp] = user_stack;
        context->set_registers(r);
    }
    template <class Change>
    void with_registers(Change change) {
        Registers r = context->registers();
        change(r);
        context->set_registers(r);
    }

    template <class T>
    void put(u64 at, T value) {
        REQUIRE(memory.try_store(at, value));
    }
    template <class T>
    T get(u64 at) const {
        T value{};
        REQUIRE(memory.try_load(at, value));
        return value;
    }
    void put_code(u64 at, std::initializer_list<u8> text) {
        REQUIRE(memory.write(at, std::as_bytes(std::span{text.begin(), text.size()})));
    }
    void map_page(u64 linear, u64 entry) { put<u64>(page_table + (linear >> 12) * 8, entry); }

    ExitCode run(std::initializer_list<u8> text) {
        put_code(context->linear_rip(), text);
        return run();
    }
    ExitCode run(Time longest = Time::us(100)) {
        processor.run(*context, control, now, now + longest);
        return control.exit_code;
    }
    // The vector whose handler halts now; -1: none.
    int handler() const {
        if (control.exit_code != ExitCode::halt) return -1;
        const u64 rip = context->linear_rip();
        if (rip < handlers || rip >= handlers + 16 * 256 || rip % 16 != 0) return -1;
        return static_cast<int>((rip - handlers) / 16);
    }
    // What is on the stack, in units of the mode.
    u64 pushed(unsigned n) const {
        const u64 rsp = context->gpr(Gpr::rsp);
        return context->code_64bit() ? get<u64>(rsp + 8 * n) : get<u32>(rsp + 4 * n);
    }

    std::vector<std::byte> bytes = std::vector<std::byte>(memory_bytes);
    mmu::WriteWatch watch{memory_bytes};
    mmu::SystemMemory memory{bytes.data(), bytes.size(), &watch};
    sim::Simulation simulation{1};
    Engine engine;
    LogicalProcessor processor;
    ControlBlock control;
    std::unique_ptr<slat::TableWriter> writer;
    std::unique_ptr<GuestContext> context;
    Time now;
    u64 next_table = guest_bytes;
};

}  // namespace cpu::testing
