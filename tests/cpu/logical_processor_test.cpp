// The logical processor's own work: privileged registers, system calls, port permissions, software interrupts, and the
// way in and out of a guest.
#include <string>

#include "processor_bench.h"

namespace logical_processor_test {

using namespace cpu;
using cpu::testing::ProcessorBench;
using Mode = ProcessorBench::Mode;
using sim::Time;

namespace {
constexpr u64 code = ProcessorBench::code;
}

TEST_CASE("exits: what each intercepted instruction leaves") {
    struct Row {
        const char* why;
        std::initializer_list<u8> code;
        ExitCode exit;
        u8 length;
        u64 info1;
    };
    for (const Row& row :
         {Row{"CPUID", {0x0f, 0xa2}, ExitCode::cpuid, 2, 0}, Row{"HLT", {0xf4}, ExitCode::halt, 1, 0},
          Row{"RDMSR", {0x0f, 0x32}, ExitCode::msr, 2, 0}, Row{"WRMSR", {0x0f, 0x30}, ExitCode::msr, 2, 1},
          Row{"RDPMC", {0x0f, 0x33}, ExitCode::rdpmc, 2, 0},
          Row{"VMMCALL", {0x0f, 0x01, 0xd9}, ExitCode::hypercall, 3, 0},
          Row{"VMCALL", {0x0f, 0x01, 0xc1}, ExitCode::hypercall, 3, 0},
          Row{"WBINVD", {0x0f, 0x09}, ExitCode::wbinvd, 2, 0},
          Row{"INVD, which the engine takes for WBINVD", {0x0f, 0x08}, ExitCode::wbinvd, 2, 0},
          Row{"MONITOR", {0x0f, 0x01, 0xc8}, ExitCode::monitor, 3, 0},
          Row{"MOV RBX, CR8", {0x44, 0x0f, 0x20, 0xc3}, ExitCode::cr8_read, 4, 0},
          Row{"MOV CR8, RBX", {0x44, 0x0f, 0x22, 0xc3}, ExitCode::cr8_write, 4, 0},
          Row{"OUT 0x80, AL", {0xe6, 0x80}, ExitCode::io, 2, 0x80'0010},
          Row{"IN EAX, DX", {0xed}, ExitCode::io, 1, 0x1234'0041},
          Row{"REP OUTSW", {0xf3, 0x66, 0x6f}, ExitCode::io, 3, 0x1234'002c},
          Row{"INSB", {0x6c}, ExitCode::io, 1, 0x1234'0015}}) {
        const std::string why = row.why;
        CAPTURE(why);
        ProcessorBench b;
        b.context->set_gpr(Gpr::rdx, 0x1234);
        b.context->set_gpr(Gpr::rcx, row.exit == ExitCode::io ? 5 : 0);
        b.put_code(code, {0x90, 0x90});
        b.put_code(code + 2, row.code);
        CHECK(b.run() == row.exit);
        CHECK(b.context->rip() == code + 2);
        CHECK(b.control.instruction_length == row.length);
        CHECK(b.control.instruction_bytes == 15);
        CHECK(b.control.instruction[0] == *row.code.begin());
        CHECK(b.control.exit_info1 == row.info1);
        CHECK(b.now == Time::ns(2));
        CHECK(b.engine.instructions() == 2);
        b.processor.complete_instruction(*b.context, b.control, b.now);
        CHECK(b.context->rip() == code + 2 + row.length);
        CHECK(b.now == Time::ns(3));
        CHECK(b.engine.instructions() == 3);
    }
}

TEST_CASE("MOV to CR0, CR3 and CR4: taken or #GP, and nothing has changed") {
    struct Row {
        const char* why;
        Mode mode;
        u8 cr;
        u64 value;
        bool taken;
        u64 then;
    };
    constexpr u64 long_cr0 = cr0::pe | cr0::ne | cr0::et | cr0::pg | cr0::wp;
    for (const Row& row : {
             Row{"TS", Mode::long64, 0, long_cr0 | cr0::ts, true, long_cr0 | cr0::ts},
             Row{"ET stays", Mode::long64, 0, long_cr0 & ~cr0::et, true, long_cr0},
             Row{"unknown bits of the low half", Mode::long64, 0, long_cr0 | 0x1ff8'ffc0, true, long_cr0},
             Row{"the upper half", Mode::long64, 0, long_cr0 | 1ull << 32, false, long_cr0},
             Row{"paging without protection", Mode::long64, 0, long_cr0 & ~cr0::pe, false, long_cr0},
             Row{"NW without CD", Mode::long64, 0, long_cr0 | cr0::nw, false, long_cr0},
             Row{"both", Mode::long64, 0, long_cr0 | cr0::nw | cr0::cd, true, long_cr0 | cr0::nw | cr0::cd},
             Row{"paging off in 64-bit code", Mode::long64, 0, long_cr0 & ~cr0::pg, false, long_cr0},
             Row{"PAE paging off", Mode::pae, 0, cr0::pe | cr0::ne | cr0::et, true, cr0::pe | cr0::ne | cr0::et},
             Row{"CR4", Mode::long64, 4, cr4::pae | cr4::pge | cr4::osfxsr, true, cr4::pae | cr4::pge | cr4::osfxsr},
             Row{"PAE off in long mode", Mode::long64, 4, cr4::pge, false, cr4::pae},
             Row{"OSXSAVE isn't offered", Mode::long64, 4, cr4::pae | cr4::osxsave, false, cr4::pae},
             Row{"PCIDE isn't offered", Mode::long64, 4, cr4::pae | cr4::pcide, false, cr4::pae},
             Row{"LA57 isn't offered", Mode::long64, 4, cr4::pae | cr4::la57, false, cr4::pae},
             Row{"CR4's upper half", Mode::long64, 4, cr4::pae | 1ull << 40, false, cr4::pae},
             Row{"SMEP and SMAP", Mode::pae, 4, cr4::pae | cr4::pse, true, cr4::pae | cr4::pse},
             Row{"CR3", Mode::long64, 3, ProcessorBench::pml4 | 0x18, true, ProcessorBench::pml4 | 0x18},
             Row{"CR3 beyond physical addresses", Mode::long64, 3, ProcessorBench::pml4 | 1ull << 46, false,
                 ProcessorBench::pml4},
             Row{"CR3's top bit without PCIDs", Mode::long64, 3, ProcessorBench::pml4 | 1ull << 63, false,
                 ProcessorBench::pml4},
         }) {
        const std::string why = row.why;
        CAPTURE(why);
        ProcessorBench b{row.mode};
        b.context->set_gpr(Gpr::rbx, row.value);
        // MOV CRn, RBX; HLT
        CHECK(b.run({0x0f, 0x22, static_cast<u8>(0xc3 | row.cr << 3), 0xf4}) == ExitCode::halt);
        const Registers r = b.context->registers();
        CHECK((row.cr == 0 ? r.cr0 : row.cr == 3 ? r.cr3 : r.cr4) == row.then);
        if (row.taken) {
            CHECK(r.rip == code + 3);
            CHECK(b.engine.instructions() == 1);
            CHECK(b.now == Time::ns(1));
        } else {
            CHECK(b.handler() == 13);
            CHECK(b.pushed(0) == 0);
            CHECK(b.pushed(1) == code);
        }
    }
}

TEST_CASE("CLTS, LMSW, and who may write control registers") {
    ProcessorBench b;
    b.with_registers([](Registers& r) { r.cr0 |= cr0::ts; });
    CHECK(b.run({0x0f, 0x06, 0xf4}) == ExitCode::halt);
    CHECK((b.context->cr0() & cr0::ts) == 0);
    // LMSW sets MP, EM and TS; it can't clear PE.
    ProcessorBench l;
    l.context->set_gpr(Gpr::rax, 0xffff'fffe);
    CHECK(l.run({0x0f, 0x01, 0xf0, 0xf4}) == ExitCode::halt);
    CHECK((l.context->cr0() & 0xf) == 0xf);
    l.context->set_gpr(Gpr::rax, 0);
    l.context->set_rip(code);
    CHECK(l.run() == ExitCode::halt);
    CHECK((l.context->cr0() & 0xf) == 1);
    for (const auto& instruction : {std::array<u8, 3>{0x0f, 0x22, 0xc0}, std::array<u8, 3>{0x0f, 0x22, 0xd8},
                                    std::array<u8, 3>{0x0f, 0x23, 0xc0}, std::array<u8, 3>{0x0f, 0x01, 0xf0},
                                    std::array<u8, 3>{0x0f, 0x06, 0x90}, std::array<u8, 3>{0x0f, 0x30, 0x90}}) {
        CAPTURE(instruction[1]);
        ProcessorBench user;
        user.to_user();
        CHECK(user.run({instruction[0], instruction[1], instruction[2], 0xf4}) == ExitCode::halt);
        CHECK(user.handler() == 13);
    }
}

TEST_CASE("PAE paging: the four page-directory-pointer registers are loaded by MOV to CR3, and then hold") {
    ProcessorBench b{Mode::pae};
    // Cleared in memory, the entry still translates.
    b.put<u64>(ProcessorBench::pae_pdpt, 0);
    CHECK(b.run({0xa1, 0x00, 0x00, 0x04, 0x00, 0xf4}) == ExitCode::halt);
    CHECK(b.context->rip() == code + 5);
    // A reserved bit in any of them is #GP, and the old ones stay.
    b.put<u64>(ProcessorBench::pae_pdpt, (ProcessorBench::pml4 + 0x2000) | 1);
    b.put<u64>(ProcessorBench::pae_pdpt + 24, 0x5000 | 1 | 1 << 1);
    b.context->set_rip(code);
    b.context->set_gpr(Gpr::rbx, ProcessorBench::pae_pdpt);
    CHECK(b.run({0x0f, 0x22, 0xdb, 0xf4}) == ExitCode::halt);
    CHECK(b.handler() == 13);
    // Not present, it may hold anything.
    b.put<u64>(ProcessorBench::pae_pdpt + 24, ~1ull);
    b.context->set_rip(code);
    CHECK(b.run({0x0f, 0x22, 0xdb, 0xf4}) == ExitCode::halt);
    CHECK(b.context->rip() == code + 3);
    CHECK(b.context->registers().pdpte[3] == ~1ull);
    // Turning paging on loads them as well.
    ProcessorBench on{Mode::pae};
    on.with_registers([](Registers& r) {
        r.cr0 &= ~(cr0::pg | cr0::wp);
        r.pdpte = {};
        r[Gpr::rbx] = r.cr0 | cr0::pg;
    });
    CHECK(on.run({0x0f, 0x22, 0xc3, 0xf4}) == ExitCode::halt);
    CHECK(on.context->registers().pdpte[0] == ((ProcessorBench::pml4 + 0x2000) | 1));
}

TEST_CASE("MOV to debug registers") {
    struct Row {
        const char* why;
        u8 dr;
        u64 value;
        u64 cr4, dr7;
        int vector;  // -1: none
        u64 then;    // of the register
    };
    for (const Row& row :
         {Row{"an address", 2, 0x1234'5678'9abc, 0, 0x400, -1, 0x1234'5678'9abc},
          Row{"DR6 keeps its fixed bits", 6, 0xffff'ffff, 0, 0x400, -1, 0xffff'efff},
          Row{"DR6 cleared", 6, 0, 0, 0x400, -1, 0xffff'0ff0},
          Row{"DR6's upper half", 6, 1ull << 32, 0, 0x400, 13, 0xffff'0ff0},
          Row{"DR7 keeps its fixed bits", 7, 0xffff'ffff & ~0x2000u, 0, 0x400, -1, 0xffff'0fff},
          Row{"DR7's upper half", 7, 1ull << 32, 0, 0x400, 13, 0x400},
          Row{"DR4 is DR6", 4, 0, 0, 0x400, -1, 0xffff'0ff0}, Row{"DR5 is DR7", 5, 0x400, 0, 0x400, -1, 0x400},
          Row{"unless CR4.DE", 4, 0, cr4::de, 0x400, 6, 0xffff'0ff0}, Row{"general detect", 0, 5, 0, 0x2400, 1, 0}}) {
        const std::string why = row.why;
        CAPTURE(why);
        ProcessorBench b;
        b.with_registers([&](Registers& r) {
            r.cr4 |= row.cr4;
            r.dr6 = 0xffff'0ff0;
            r.dr7 = row.dr7;
            r[Gpr::rbx] = row.value;
        });
        CHECK(b.run({0x0f, 0x23, static_cast<u8>(0xc3 | row.dr << 3), 0xf4}) == ExitCode::halt);
        CHECK(b.handler() == row.vector);
        const Registers r = b.context->registers();
        const u8 dr = row.dr == 4 || row.dr == 5 ? static_cast<u8>(row.dr + 2) : row.dr;
        CHECK((dr == 6 ? r.dr6 : dr == 7 ? r.dr7 : r.dr[dr]) == row.then);
        if (row.vector == 1) {
            CHECK(r.dr6 == (0xffff'0ff0 | dr6::bd));
            CHECK((r.dr7 & dr7::gd) == 0);
        }
        if (row.vector < 0) CHECK(r.rip == code + 3);
    }
}

TEST_CASE("SYSCALL and SYSENTER, and where they don't exist") {
    const auto set_up = [](ProcessorBench& b) {
        b.with_registers([](Registers& r) {
            r.efer |= efer::sce;
            r.star = 0x0018'0008ull << 32;
            r.lstar = ProcessorBench::handlers + 16 * 0xe0;
            r.cstar = ProcessorBench::handlers + 16 * 0xe1;
            r.sfmask = rflags::if_ | rflags::df;
            r.sysenter_cs = 8;
            r.sysenter_eip = ProcessorBench::handlers + 16 * 0xe2;
            r.sysenter_esp = ProcessorBench::stack - 0x100;
            r.rflags |= rflags::if_ | rflags::cf;
        });
    };
    SUBCASE("64-bit code") {
        ProcessorBench b;
        set_up(b);
        b.to_user();
        CHECK(b.run({0x90, 0x0f, 0x05}) == ExitCode::halt);
        CHECK(b.handler() == 0xe0);
        CHECK(b.context->gpr(Gpr::rcx) == code + 3);
        CHECK(b.context->gpr(Gpr::r11) == (rflags::if_ | rflags::cf | 2));
        CHECK(b.context->rflags() == (rflags::cf | 2));
        CHECK(b.context->cpl() == 0);
        CHECK(b.engine.instructions() == 2);
    }
    SUBCASE("compatibility mode goes to CSTAR") {
        ProcessorBench b;
        set_up(b);
        b.to_user(false);
        CHECK(b.run({0x0f, 0x05}) == ExitCode::halt);
        CHECK(b.handler() == 0xe1);
        CHECK(b.context->gpr(Gpr::rcx) == code + 2);
        CHECK(b.context->code_64bit());
        CHECK(b.engine.instructions() == 1);
    }
    SUBCASE("not enabled") {
        ProcessorBench b;
        CHECK(b.run({0x0f, 0x05}) == ExitCode::halt);
        CHECK(b.handler() == 6);
        CHECK(b.pushed(0) == code);
        CHECK(b.engine.instructions() == 0);
    }
    SUBCASE("SYSENTER") {
        ProcessorBench b{Mode::protected32};
        set_up(b);
        b.to_user(false);
        CHECK(b.run({0x0f, 0x34}) == ExitCode::halt);
        CHECK(b.handler() == 0xe2);
        CHECK(b.context->gpr(Gpr::rsp) == ProcessorBench::stack - 0x100);
        CHECK(b.context->cpl() == 0);
        CHECK((b.context->rflags() & rflags::if_) == 0);
    }
    SUBCASE("SYSENTER without a code segment") {
        ProcessorBench b{Mode::protected32};
        CHECK(b.run({0x0f, 0x34}) == ExitCode::halt);
        CHECK(b.handler() == 13);
        CHECK(b.pushed(0) == 0);
        CHECK(b.pushed(1) == code);
    }
}

TEST_CASE("ports: IOPL and the permission bitmap") {
    struct Row {
        const char* why;
        unsigned iopl;
        u16 port;
        u8 opcode;  // OUT DX, AL or EAX
        u32 tss_limit;
        bool allowed;
    };
    // The map begins at 0x68; ports 0x10, 0x17 and 0x1f are closed.
    for (const Row& row :
         {Row{"an open port", 0, 0x11, 0xee, 0x100, true}, Row{"a closed one", 0, 0x10, 0xee, 0x100, false},
          Row{"a closed one, trusted", 3, 0x10, 0xee, 0x100, true},
          Row{"four ports, the last of them closed", 0, 0x14, 0xef, 0x100, false},
          Row{"four ports across bytes", 0, 0x16, 0xef, 0x100, false},
          Row{"four open ones across bytes", 0, 0x0e, 0xee, 0x100, true},
          Row{"up to the limit", 0, 0x18, 0xee, 0x6c, true},
          Row{"the byte after it is beyond", 0, 0x18, 0xee, 0x6b, false},
          Row{"no map at all", 0, 0x11, 0xee, 0x67, false}}) {
        const std::string why = row.why;
        CAPTURE(why);
        ProcessorBench b;
        b.put<u16>(ProcessorBench::tss + 0x66, 0x68);
        b.put<u16>(ProcessorBench::tss + 0x68 + 2, 0x8081);
        b.to_user();
        b.with_registers([&](Registers& r) {
            r.rflags |= u64{row.iopl} << rflags::iopl_shift;
            r.tr.limit = row.tss_limit;
            r[Gpr::rdx] = row.port;
        });
        const ExitCode exit = b.run({row.opcode, 0xf4});
        if (row.allowed) {
            CHECK(exit == ExitCode::io);
            CHECK(IoExit::of(b.control.exit_info1).port == row.port);
        } else {
            CHECK(b.handler() == 13);
            CHECK(b.pushed(0) == 0);
            CHECK(b.pushed(1) == code);
        }
    }
}

TEST_CASE("software interrupts push where they return to; what fails on the way names them") {
    struct Row {
        const char* why;
        Mode mode;
        std::initializer_list<u8> code;
        bool user;
        int vector;
        u64 error;  // ~0: none
        u64 rip;
    };
    for (const Row& row : {
             Row{"INT3", Mode::long64, {0x90, 0xcc}, false, 3, ~0ull, code + 2},
             Row{"INT 3, the long form", Mode::long64, {0xcd, 0x03}, false, 3, ~0ull, code + 2},
             Row{"INT n", Mode::long64, {0xcd, 0x80}, true, 0x80, ~0ull, code + 2},
             Row{"INT n of a closed gate", Mode::long64, {0x90, 0xcd, 0x81}, true, 13, 0x81 * 8 + 2, code + 1},
             Row{"INT3 of a closed gate", Mode::long64, {0xcc}, true, 13, 3 * 8 + 2, code},
             Row{"INTO", Mode::protected32, {0xce}, false, 4, ~0ull, code + 1},
             Row{"UD2", Mode::long64, {0x0f, 0x0b}, false, 6, ~0ull, code},
             Row{"DIV by zero", Mode::long64, {0x31, 0xd2, 0x31, 0xc9, 0xf7, 0xf1}, false, 0, ~0ull, code + 4},
             Row{"MOV DS, a bad selector", Mode::long64, {0xb8, 0x48, 0, 0, 0, 0x8e, 0xd8}, false, 13, 0x48, code + 5},
             Row{"LOCK where none may be", Mode::long64, {0xf0, 0x0f, 0xa2}, false, 6, ~0ull, code},
         }) {
        const std::string why = row.why;
        CAPTURE(why);
        ProcessorBench b{row.mode};
        b.with_registers([](Registers& r) { r.rflags |= rflags::of; });
        if (row.user) b.to_user();
        b.put_code(code, row.code);
        CHECK(b.run() == ExitCode::halt);
        CHECK(b.handler() == row.vector);
        CHECK(b.pushed(row.error == ~0ull ? 0 : 1) == row.rip);
        if (row.error != ~0ull) CHECK(b.pushed(0) == row.error);
    }
}

TEST_CASE("injection, the interrupt window, and the limit") {
    ProcessorBench b;
    b.put_code(code, {0xeb, 0xfe});
    b.control.injection = external_interrupt_event(0x30);
    CHECK(b.run() == ExitCode::halt);
    CHECK(b.handler() == 0x30);
    CHECK(b.pushed(0) == code);
    CHECK_FALSE(b.control.injection.has_value());
    CHECK(b.now == Time::zero());  // what it costs is the hypervisor's to say
    // Not before STI's shadow is over.
    ProcessorBench w;
    w.control.interrupt_window = true;
    CHECK(w.run({0x90, 0xfb, 0xff, 0xc3, 0xff, 0xc3, 0xf4}) == ExitCode::interrupt_window);
    CHECK(w.context->rip() == code + 4);
    CHECK_FALSE(w.context->interrupt_shadow());
    // At the first block's end at or after the limit.
    ProcessorBench l;
    l.put_code(code, {0xff, 0xc3, 0xff, 0xc3, 0xeb, 0xfa});
    CHECK(l.run(Time::ns(7)) == ExitCode::interrupt);
    CHECK(l.now == Time::ns(9));
    CHECK(l.context->gpr(Gpr::rbx) == 6);
    CHECK(l.run(Time::zero()) == ExitCode::interrupt);
    CHECK(l.now == Time::ns(9));
}

// The engine gives up, and all with it, when it looks for an inner stack where no task state is.
TEST_CASE("a call gate to CPL 0 takes its stack from the task state, and is #TS without one") {
    constexpr u16 present = segment::present;
    for (const bool wide : {false, true}) {
        const struct {
            const char* why;
            u16 attributes;
            u32 limit;
            int handler;
        } rows[] = {
            {"busy, as it always is", present | segment::tss32_busy, 0x67, 0x90},
            {"as LTR found it", present | segment::tss32_available, 0x67, 0x90},
            {"not present", segment::tss32_busy, 0x67, 10},
            {"too short", present | segment::tss32_busy, 3, 10},
            {"none", 0, 0, 10},
            {"an LDT", present | segment::ldt, 0x67, 10},
            {"a data segment", present | segment::not_system | 9, 0x67, 10},
        };
        for (const auto& row : rows) {
            const std::string why = row.why;
            CAPTURE(why);
            CAPTURE(wide);
            ProcessorBench b{wide ? Mode::long64 : Mode::protected32};
            const u64 target = ProcessorBench::handlers + 16 * 0x90;
            const u64 selector = wide ? ProcessorBench::code64 : ProcessorBench::code32;
            b.put<u64>(ProcessorBench::gdt + 0x40,
                       (target & 0xffff) | selector << 16 | u64{0xec00} << 32 | (target >> 16) << 48);
            b.put<u64>(ProcessorBench::gdt + 0x48, 0);
            b.put<u64>(ProcessorBench::data, u64{0x43} << 32);
            b.to_user(wide);
            b.with_registers([&](Registers& r) {
                r.gdtr.limit = 0x4f;
                r.tr.attributes = row.attributes;
                r.tr.limit = row.limit;
            });
            const Registers before = b.context->registers();
            CHECK(before.tr.attributes == (row.handler == 0x90 ? present | segment::tss32_busy : row.attributes));
            CHECK(before.tr.limit == row.limit);
            // CALL FAR [data], or 0x43:0
            ExitCode exit{};
            if (wide) {
                exit = b.run({0xff, 0x1c, 0x25, 0x00, 0x00, 0x04, 0x00});
            } else {
                exit = b.run({0x9a, 0, 0, 0, 0, 0x43, 0x00});
            }
            // The handler's stack is in the task state, too.
            if (row.handler == 10) {
                CHECK(exit == ExitCode::shutdown);
                continue;
            }
            REQUIRE(exit == ExitCode::halt);
            CHECK(b.handler() == row.handler);
            CHECK(b.context->cpl() == 0);
            CHECK(b.context->gpr(Gpr::rsp) == ProcessorBench::stack - (wide ? 32 : 16));
        }
    }
}

}  // namespace logical_processor_test
