// Hardware breakpoints: what triggers them, where RIP is, what DR6 tells; and that looking at each instruction shows
// nowhere else.
#include <string>

#include "processor_bench.h"

namespace breakpoints_test {

using namespace cpu;
using cpu::testing::ProcessorBench;
using Mode = ProcessorBench::Mode;
using sim::Time;

namespace {

constexpr u64 code = ProcessorBench::code;
constexpr u64 data = ProcessorBench::data;
constexpr int debug = 1;
constexpr int none = -1;  // the HLT behind the code

enum Kind : u64 { on_execution = 0, on_write = 1, on_access = 3 };
constexpr u64 enable(unsigned n, Kind kind, u64 length_code) {
    return u64{2} << (2 * n) | (kind | length_code << 2) << (16 + 4 * n);
}

struct Row {
    const char* why;
    std::vector<u8> text;
    u64 address;
    u64 dr7;
    int handler = none;
    u64 pushed_rip = 0;
    u64 dr6 = dr6::fixed_one;
    Mode mode = Mode::long64;
};

const Row rows[] = {
    {"execution is a fault", {0x90, 0x90}, code + 1, enable(0, on_execution, 0), debug, code + 1, dr6::fixed_one | 1},
    {"execution, the first instruction", {0x90}, code, enable(0, on_execution, 0), debug, code, dr6::fixed_one | 1},
    {"execution, another place", {0x90, 0x90}, code + 0x100, enable(0, on_execution, 0)},
    {"enabled locally", {0x90, 0x90}, code + 1, 1, debug, code + 1, dr6::fixed_one | 1},
    {"not enabled", {0x90, 0x90}, code + 1, 0x100},
    {"a write is a trap: MOV [RBX], EAX",
     {0x89, 0x03, 0x90},
     data,
     enable(0, on_write, 3),
     debug,
     code + 2,
     0xffff'0ff1},
    {"a write's last byte", {0x89, 0x03, 0x90}, data + 3, enable(0, on_write, 0), debug, code + 2, 0xffff'0ff1},
    {"a write just before", {0x89, 0x03, 0x90}, data + 4, enable(0, on_write, 0)},
    {"a write just behind", {0x89, 0x43, 0x04}, data + 1, enable(0, on_write, 3)},
    {"an address is cut to its length",
     {0x89, 0x03, 0x90},
     data + 3,
     enable(0, on_write, 3),
     debug,
     code + 2,
     0xffff'0ff1},
    {"eight bytes", {0x88, 0x43, 0x07}, data, enable(0, on_write, 2), debug, code + 3, 0xffff'0ff1},
    {"two bytes", {0x88, 0x43, 0x01}, data, enable(0, on_write, 1), debug, code + 3, 0xffff'0ff1},
    {"a read under a write breakpoint", {0x8b, 0x03}, data, enable(0, on_write, 3)},
    {"a read", {0x8b, 0x03}, data, enable(0, on_access, 3), debug, code + 2, 0xffff'0ff1},
    {"ADD [RBX], EAX", {0x01, 0x03}, data, enable(0, on_write, 3), debug, code + 2, 0xffff'0ff1},
    {"CMP [RBX], EAX only reads", {0x39, 0x03}, data, enable(0, on_write, 3)},
    {"LEA is no access", {0x8d, 0x03}, data, enable(0, on_access, 3)},
    {"RIP-relative", {0x8b, 0x05, 0xfa, 0xef, 0x03, 0x00}, data, enable(0, on_access, 3), debug, code + 6, 0xffff'0ff1},
    {"PUSH", {0x50}, ProcessorBench::stack - 8, enable(0, on_write, 2), debug, code + 1, 0xffff'0ff1},
    {"POP", {0x58}, ProcessorBench::stack, enable(0, on_access, 2), debug, code + 1, 0xffff'0ff1},
    {"CALL",
     {0xe8, 0x00, 0x00, 0x00, 0x00},
     ProcessorBench::stack - 8,
     enable(0, on_write, 2),
     debug,
     code + 5,
     0xffff'0ff1},
    {"MOVUPS [RBX], XMM0", {0x0f, 0x11, 0x03}, data + 15, enable(0, on_write, 0), debug, code + 3, 0xffff'0ff1},
    {"FSTP [RBX], eight bytes", {0xdd, 0x1b}, data + 7, enable(0, on_write, 0), debug, code + 2, 0xffff'0ff1},
    {"TEST [RBX], EAX only reads", {0x85, 0x03}, data, enable(0, on_write, 3)},
    {"MOVSB reads one place and writes another", {0xa4}, data + 0x200, enable(0, on_write, 0)},
    {"REP STOSB, between two iterations", {0xf3, 0xaa}, data + 0x102, enable(0, on_write, 0), debug, code, 0xffff'0ff1},
    {"another register", {0x89, 0x03}, data, enable(3, on_write, 3), debug, code + 2, 0xffff'0ff8},
    {"32-bit code: PUSH",
     {0x50},
     ProcessorBench::stack - 4,
     enable(0, on_write, 3),
     debug,
     code + 1,
     0xffff'0ff1,
     Mode::protected32},
    {"32-bit code: MOV [EBX], EAX",
     {0x89, 0x03},
     data,
     enable(0, on_write, 3),
     debug,
     code + 2,
     0xffff'0ff1,
     Mode::pae},
};

}  // namespace

TEST_CASE("breakpoints: what triggers them") {
    for (const Row& row : rows) {
        const std::string why = row.why;
        CAPTURE(why);
        ProcessorBench b{row.mode};
        std::vector<u8> text = row.text;
        text.push_back(0xf4);
        for (std::size_t i = 0; i < text.size(); ++i) b.put<u8>(code + i, text[i]);
        b.with_registers([&](Registers& r) {
            r[Gpr::rbx] = data;
            r[Gpr::rdi] = data + 0x100;
            r[Gpr::rsi] = data + 0x200;
            r[Gpr::rcx] = 5;
            r.cr4 |= cr4::osfxsr;
            for (unsigned n = 0; n < 4; ++n) {
                if ((row.dr7 >> 2 * n & 3) != 0) r.dr[n] = row.address;
            }
            r.dr7 = row.dr7 | dr7::fixed_one;
        });
        REQUIRE(b.run() == ExitCode::halt);
        CHECK(b.handler() == row.handler);
        CHECK(b.context->registers().dr6 == row.dr6);
        if (row.handler == debug) {
            CHECK(b.pushed(0) == row.pushed_rip);
            CHECK((b.pushed(2) & rflags::tf) == 0);
        } else {
            CHECK(b.context->rip() == code + text.size() - 1);
        }
    }
}

TEST_CASE("breakpoints: the resume flag lets one instruction pass") {
    ProcessorBench b;
    b.put_code(code, {0x90, 0x90, 0xeb, 0xfc});  // round and round
    b.with_registers([](Registers& r) {
        r.dr[0] = code;
        r.dr7 = 0x401;
        r.rflags |= rflags::rf;
    });
    REQUIRE(b.run() == ExitCode::halt);
    CHECK(b.handler() == debug);
    CHECK(b.pushed(0) == code);
    CHECK(b.engine.instructions() == 3);
    CHECK((b.pushed(2) & rflags::rf) == 0);
}

TEST_CASE("breakpoints: time and count are those of the same code without") {
    // mov ecx, 20; l: mov [rbx], eax; add [rbx], ecx; pushfq; popfq; push rcx; pop rax; loop l; cpuid
    const std::initializer_list<u8> text{0xb9, 20,   0,    0,    0,    0x89, 0x03, 0x01, 0x0b,
                                         0x9c, 0x9d, 0x51, 0x58, 0xe2, 0xf6, 0x0f, 0xa2};
    for (const u64 enables : {u64{0}, u64{1}}) {
        CAPTURE(enables);
        ProcessorBench b;
        b.with_registers([&](Registers& r) {
            r[Gpr::rbx] = data;
            r.dr[0] = data + 0x800;
            r.dr7 = dr7::fixed_one | enables;
        });
        CHECK(b.run(text) == ExitCode::cpuid);
        CHECK(b.engine.instructions() == 1 + 20 * 7);
        CHECK(b.now == Time::ns(1 + 20 * 7));
        CHECK(b.get<u32>(data) == 3);
        CHECK((b.get<u64>(ProcessorBench::stack - 8) & ~u64{0xff}) == 0);
    }
}

TEST_CASE("breakpoints: the guest's own flags stay its own") {
    const struct {
        const char* why;
        std::initializer_list<u8> text;
        u64 flags;
        int handler;
        u64 rip;
        u64 dr6;
    } cases[] = {
        {"PUSHF shows no trap flag", {0x9c, 0x58, 0xf4}, 2, none, code + 2, 0xffff'0ff0},
        {"in the 16-bit form neither", {0x66, 0x9c, 0x66, 0x58, 0xf4}, 2, none, code + 4, 0xffff'0ff0},
        {"POPF sets it: a step after the next instruction",
         {0x68, 0x02, 0x01, 0x00, 0x00, 0x9d, 0x90, 0x90},
         2,
         debug,
         code + 7,
         0xffff'4ff0},
        {"its own single step", {0x90, 0x90}, 0x102, debug, code + 1, 0xffff'4ff0},
        {"SYSCALL saves the flags without it", {0x0f, 0x05}, 2, none, code + 0x80, 0xffff'0ff0},
        {"a fault's frame is without it", {0x0f, 0x0b}, 2, 6, code, 0xffff'0ff0},
    };
    for (const auto& c : cases) {
        const std::string why = c.why;
        CAPTURE(why);
        ProcessorBench b;
        b.put<u8>(code + 0x80, 0xf4);
        b.put_code(code, c.text);
        b.with_registers([&](Registers& r) {
            r.dr7 = dr7::fixed_one | 1;
            r.rflags = c.flags;
            r.lstar = code + 0x80;
            r.star = u64{ProcessorBench::code64} << 32;
            r.efer |= efer::sce;
        });
        REQUIRE(b.run() == ExitCode::halt);
        CHECK(b.handler() == c.handler);
        CHECK(b.context->registers().dr6 == c.dr6);
        if (c.handler == none) {
            CHECK(b.context->rip() == c.rip);
            CHECK((b.context->gpr(Gpr::rax) & rflags::tf) == 0);
            CHECK((b.context->gpr(Gpr::r11) & rflags::tf) == 0);
            CHECK((b.context->rflags() & rflags::tf) == 0);
        } else {
            CHECK(b.pushed(0) == c.rip);
            CHECK((b.pushed(2) & rflags::tf) == (c.handler == debug ? rflags::tf : 0));
        }
    }
}

TEST_CASE("breakpoints: code that changes itself is stepped over all the same") {
    ProcessorBench b;
    // mov byte [rip+1], 0x91; mov al, 0: the operand of the next instruction
    b.put_code(code, {0xc6, 0x05, 0x01, 0x00, 0x00, 0x00, 0x91, 0xb0, 0x00, 0xf4});
    b.with_registers([](Registers& r) { r.dr7 = dr7::fixed_one | 1; });
    REQUIRE(b.run() == ExitCode::halt);
    CHECK((b.context->gpr(Gpr::rax) & 0xff) == 0x91);
    CHECK(b.engine.instructions() == 2);
    CHECK(b.now == Time::ns(2));
}

TEST_CASE("breakpoints: the limit and the interrupt window hold") {
    ProcessorBench b;
    b.put_code(code, {0xfb, 0x90, 0xeb, 0xfd});  // STI; NOP; back to the NOP
    b.with_registers([](Registers& r) { r.dr7 = dr7::fixed_one | 1; });
    CHECK(b.run(Time::ns(10)) == ExitCode::interrupt);
    CHECK(b.now == Time::ns(10));
    b.control.interrupt_window = true;
    CHECK(b.run(Time::ns(10)) == ExitCode::interrupt_window);
    CHECK(b.now == Time::ns(10));
}

TEST_CASE("general detect: any access to a debug register, once") {
    for (const auto& text : {std::initializer_list<u8>{0x0f, 0x21, 0xc0},  // MOV RAX, DR0
                             std::initializer_list<u8>{0x0f, 0x23, 0xf8},  // MOV DR7, RAX
                             std::initializer_list<u8>{0x0f, 0x21, 0xf0}}) {
        ProcessorBench b;
        b.with_registers([](Registers& r) { r.dr7 = dr7::fixed_one | dr7::gd; });
        REQUIRE(b.run(text) == ExitCode::halt);
        CHECK(b.handler() == debug);
        CHECK(b.pushed(0) == code);
        CHECK(b.context->registers().dr6 == (dr6::fixed_one | dr6::bd));
        CHECK(b.context->registers().dr7 == dr7::fixed_one);
    }
    ProcessorBench b;
    b.with_registers([](Registers& r) { r.dr[0] = 77; });
    b.put_code(code, {0x0f, 0x21, 0xc0, 0xf4});
    REQUIRE(b.run() == ExitCode::halt);
    CHECK(b.context->gpr(Gpr::rax) == 77);
}

TEST_CASE("LMSW from memory") {
    ProcessorBench b{Mode::protected32};
    b.put<u16>(data, 0x000e);
    b.with_registers([](Registers& r) { r[Gpr::rbx] = data; });
    b.put_code(code, {0x0f, 0x01, 0x33, 0xf4});
    REQUIRE(b.run() == ExitCode::halt);
    CHECK(b.handler() == none);
    CHECK((b.context->cr0() & 0xf) == 0xf);
    CHECK(b.context->rip() == code + 3);
}

}  // namespace breakpoints_test
