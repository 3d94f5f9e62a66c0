// The instruction engine by itself: exact counts and stops, its own faults' addresses, and code that changes.
#include <doctest/doctest.h>

#include <array>
#include <cstring>
#include <vector>

#include "cpu/engine.h"

namespace engine_test {

using namespace sim::literals;
using cpu::Gpr;
using cpu::StopReason;
using sim::Time;

namespace {

// 1 MiB of memory, mapped one to one below 512 KiB and again, without write access, from 1 GiB on.
struct Bench final : cpu::PageTranslator {
    explicit Bench(cpu::EngineOptions options = {})
        : bytes(1 << 20),
          watch(bytes.size()),
          memory(bytes.data(), bytes.size(), &watch),
          engine(memory, costs(), options, 1'000'000'000, 1) {
        context = std::make_unique<cpu::GuestContext>(engine.pristine_state(), std::uint16_t{1});
        cpu::Registers r;
        using cpu::segment::accessed, cpu::segment::code, cpu::segment::default_big, cpu::segment::granularity,
            cpu::segment::long_mode, cpu::segment::not_system, cpu::segment::present, cpu::segment::writable;
        for (auto& s : r.segments)
            s = {0x18, present | not_system | writable | accessed | default_big | granularity, 0xffffffff, 0};
        r[cpu::SegmentName::cs] = {0x10, present | not_system | code | writable | accessed | long_mode | granularity,
                                   0xffffffff, 0};
        r.cr0 = cpu::cr0::pe | cpu::cr0::pg | cpu::cr0::ne | cpu::cr0::wp;
        r.cr4 = cpu::cr4::pae | cpu::cr4::osfxsr;
        r.efer = cpu::efer::lme | cpu::efer::lma | cpu::efer::sce;
        r.rip = 0x1000;
        r[Gpr::rsp] = 0x8000;
        context->set_registers(r);
    }
    ~Bench() { engine.unload(*context); }

    // One nanosecond per instruction, whatever it does.
    static cpu::CostTable costs() {
        cpu::CostTable table;
        table.ps.fill(1000);
        table.ps[static_cast<std::size_t>(cpu::InstructionClass::load)] = 0;
        table.ps[static_cast<std::size_t>(cpu::InstructionClass::store)] = 0;
        return table;
    }
    void code(std::uint64_t at, std::initializer_list<std::uint8_t> text) {
        REQUIRE(memory.write(at, std::as_bytes(std::span{text.begin(), text.size()})));
    }
    cpu::Stop run(Time limit = 1_ms) { return engine.run(*context, *this, now, limit, false); }

    bool translate_page(std::uint64_t page, mmu::Access access, cpu::PageTranslation& out) override {
        const bool alias = page >= 1 << 30 && page < (1 << 30) + 0x80000;
        if (page >= 0x80000 && !alias) return false;
        if (alias && access == mmu::Access::write) return false;
        out = {alias ? page - (1 << 30) : page, true, !alias, true};
        return true;
    }

    std::vector<std::byte> bytes;
    mmu::WriteWatch watch;
    mmu::SystemMemory memory;
    cpu::Engine engine;
    std::unique_ptr<cpu::GuestContext> context;
    Time now;
};

}  // namespace

TEST_CASE("an intercepted instruction stops the engine before it acts, with all earlier ones counted") {
    Bench b;
    // mov eax,1; inc eax; inc eax; cpuid; inc eax
    b.code(0x1000, {0xb8, 1, 0, 0, 0, 0xff, 0xc0, 0xff, 0xc0, 0x0f, 0xa2, 0xff, 0xc0});
    const auto stop = b.run();
    CHECK(stop.reason == StopReason::intercept);
    CHECK(stop.code == 0x72);
    CHECK(b.context->rip() == 0x1009);
    CHECK(b.context->gpr(Gpr::rax) == 3);
    CHECK(b.engine.instructions() == 3);
    CHECK(b.now == 3_ns);
}

TEST_CASE("a block that faults half-way counts what retired; the fault's address is exact") {
    Bench b;
    // inc eax; inc eax; mov [0x90123],eax; inc eax
    b.code(0x1000, {0xff, 0xc0, 0xff, 0xc0, 0x89, 0x04, 0x25, 0x23, 0x01, 0x09, 0x00, 0xff, 0xc0, 0xf4});
    auto stop = b.run();
    CHECK(stop.reason == StopReason::translation);
    CHECK(stop.linear == 0x90123);
    CHECK(stop.access == mmu::Access::write);
    CHECK(b.context->rip() == 0x1004);
    CHECK(b.engine.instructions() == 2);
    CHECK(b.now == 2_ns);
    // A write to a page that may only be read, and a fetch from nowhere.
    b.code(0x1004, {0x89, 0x04, 0x25, 0x08, 0x10, 0x00, 0x40});
    stop = b.run();
    CHECK(stop.reason == StopReason::translation);
    CHECK(stop.linear == 0x40001008);
    b.code(0x1004, {0xb8, 0x00, 0x00, 0x09, 0x00, 0xff, 0xe0});
    stop = b.run();
    CHECK(stop.reason == StopReason::translation);
    CHECK(stop.access == mmu::Access::execute);
    CHECK(stop.linear == 0x90000);
    CHECK(b.context->rip() == 0x90000);
    CHECK(b.engine.instructions() == 4);
}

TEST_CASE("a loop stops at the first block boundary at or after its limit, and goes on from there") {
    Bench b;
    // inc rax; jmp back
    b.code(0x1000, {0x48, 0xff, 0xc0, 0xeb, 0xfb});
    for (const auto& [limit, rounds] :
         {std::pair{100_ns, 50u}, std::pair{101_ns, 51u}, std::pair{102_ns, 51u}, std::pair{200'001_ns, 100'001u}}) {
        const auto stop = b.run(limit);
        CHECK(stop.reason == StopReason::limit);
        CHECK(b.context->gpr(Gpr::rax) == rounds);
        CHECK(b.now == Time::ns(2 * rounds));
        CHECK(b.engine.instructions() == 2 * rounds);
    }
}

TEST_CASE("RDTSC reads simulated time without a stop, each at its own instruction") {
    Bench b;
    // rdtsc; mov ebx,eax; inc ecx; inc ecx; rdtsc; hlt
    b.code(0x1000, {0x0f, 0x31, 0x89, 0xc3, 0xff, 0xc1, 0xff, 0xc1, 0x0f, 0x31, 0xf4});
    b.now = 1_us;
    const auto stop = b.run();
    CHECK(stop.code == 0x78);
    CHECK(b.context->gpr(Gpr::rbx) == 1000);
    CHECK(b.context->gpr(Gpr::rax) == 1004);
}

TEST_CASE("exceptions and software interrupts stop with vector, error code and the right RIP") {
    struct Row {
        std::initializer_list<std::uint8_t> code;
        std::uint32_t vector;
        bool software;
        std::uint64_t rip;
        std::uint64_t retired;
    };
    const Row rows[] = {
        {{0x90, 0x0f, 0x0b}, 6, false, 0x1001, 1},                     // ud2
        {{0x90, 0xcd, 0x80}, 0x80, true, 0x1003, 2},                   // int 0x80
        {{0x90, 0xcc}, 3, true, 0x1002, 2},                            // int3
        {{0x31, 0xd2, 0x31, 0xc9, 0xf7, 0xf1}, 0, false, 0x1004, 2},   // div by zero
        {{0x66, 0xb8, 0x48, 0x00, 0x8e, 0xd8}, 13, false, 0x1004, 1},  // mov ds, bad selector
    };
    for (const Row& row : rows) {
        CAPTURE(row.vector);
        Bench b;
        b.code(0x1000, row.code);
        const auto stop = b.run();
        CHECK(stop.reason == StopReason::exception);
        CHECK(stop.code == row.vector);
        CHECK(stop.software == row.software);
        CHECK(b.context->rip() == row.rip);
        CHECK(b.engine.instructions() == row.retired);
        if (row.vector == 13) CHECK(stop.error_code == 0x48);
    }
}

TEST_CASE("self-modifying code and code modified from outside run as modified, and are counted as modified") {
    Bench b;
    // mov byte [0x1009], 0x90 (over the first byte of `inc eax`, leaving 90 c0 -> nop; rol) ... kept simple: patch
    // imm32 1000: mov dword [0x1010], 7 ; 100b: jmp 0x100f ; 100f: mov eax, 1 ; 1014: hlt
    b.code(0x1000, {0xc7, 0x04, 0x25, 0x10, 0x10, 0x00, 0x00, 0x07, 0x00, 0x00, 0x00,
                    0xeb, 0x02, 0x90, 0x90, 0xb8, 1,    0,    0,    0,    0xf4});
    for (int pass = 0; pass < 2; ++pass) {
        b.context->set_rip(0x1000);
        CHECK(b.run().code == 0x78);
        CHECK(b.context->gpr(Gpr::rax) == 7);
        CHECK(b.engine.instructions() == 3u * (static_cast<unsigned>(pass) + 1));
    }
    // Straight ahead into its own block: 1000: mov byte [0x100a], 0x43 ; 1008: mov bl,1? -> inc of another register
    b.code(0x1000, {0xc6, 0x04, 0x25, 0x0a, 0x10, 0x00, 0x00, 0xc3, 0x90, 0xff, 0xc0, 0xf4});
    b.context->set_rip(0x1000);
    b.context->set_gpr(Gpr::rbx, 5);
    b.context->set_gpr(Gpr::rax, 5);
    const auto before = b.engine.instructions();
    CHECK(b.run().code == 0x78);
    CHECK(b.context->gpr(Gpr::rbx) == 6);  // ff c3: inc ebx
    CHECK(b.context->gpr(Gpr::rax) == 5);
    CHECK(b.engine.instructions() - before == 3);
    // From outside, as a device does, at the address just run.
    b.code(0x1000, {0xb8, 9, 0, 0, 0, 0x90, 0x90, 0xf4});
    b.context->set_rip(0x1000);
    CHECK(b.run().code == 0x78);
    CHECK(b.context->gpr(Gpr::rax) == 9);
    CHECK(b.engine.instructions() - before == 6);
}

TEST_CASE("an instruction across two pages faults on the page that is missing, then runs") {
    Bench b;
    // mov eax, imm32 over the end of the mapped region
    b.code(0x7fffe, {0xb8, 0x11});
    b.context->set_rip(0x7fffe);
    const auto stop = b.run();
    CHECK(stop.reason == StopReason::translation);
    CHECK(stop.access == mmu::Access::execute);
    CHECK(stop.linear == 0x80000);
    CHECK(b.context->rip() == 0x7fffe);
    b.code(0x1ffe, {0xb8, 0x11, 0x22, 0x33, 0x44, 0xf4});
    b.context->set_rip(0x1ffe);
    CHECK(b.run().code == 0x78);
    CHECK(b.context->gpr(Gpr::rax) == 0x44332211);
    // Data across the end: the second page's first byte is the fault's address.
    b.code(0x1000, {0x48, 0x8b, 0x04, 0x25, 0xfc, 0xff, 0x07, 0x00});
    b.context->set_rip(0x1000);
    CHECK(b.run().linear == 0x80000);
}

TEST_CASE("SYSCALL enters at LSTAR; without EFER.SCE it is the processor model's") {
    Bench b;
    auto r = b.context->registers();
    r.star = 0x0013'0010ull << 32;
    r.lstar = 0x2000;
    r.sfmask = 0x200;
    r.rflags |= 0x200 | 0x1;
    b.context->set_registers(r);
    b.code(0x1000, {0x90, 0x0f, 0x05});
    b.code(0x2000, {0x90, 0xf4});
    CHECK(b.run().code == 0x78);
    CHECK(b.context->rip() == 0x2001);
    CHECK(b.context->gpr(Gpr::rcx) == 0x1003);
    CHECK(b.context->gpr(Gpr::r11) == 0x203);
    CHECK(b.context->rflags() == 0x3);
    CHECK(b.engine.instructions() == 3);
    r.efer &= ~cpu::efer::sce;
    r.rip = 0x1000;
    b.context->set_registers(r);
    CHECK(b.run().code == cpu::exit_syscall);
}

TEST_CASE("an interrupt that waits for IF stops the engine after the shadow of STI") {
    Bench b;
    // nop; sti; inc eax; inc eax; jmp $
    b.code(0x1000, {0x90, 0xfb, 0xff, 0xc0, 0xff, 0xc0, 0xeb, 0xfe});
    const auto stop = b.engine.run(*b.context, b, b.now, 1_ms, true);
    CHECK(stop.reason == StopReason::attention);
    CHECK(b.context->rip() == 0x1004);
    CHECK(b.engine.instructions() == 3);
}

TEST_CASE("two contexts share the engine; each keeps its registers and SSE state") {
    Bench b;
    cpu::GuestContext other{b.engine.pristine_state(), std::uint16_t{2}};
    auto r = b.context->registers();
    other.set_registers(r);
    // addps-free: movq xmm0, rax; inc rax; jmp $-... ; loop
    b.code(0x1000, {0x66, 0x48, 0x0f, 0x6e, 0xc0, 0x48, 0xff, 0xc0, 0xeb, 0xf6});
    b.context->set_gpr(Gpr::rax, 100);
    other.set_gpr(Gpr::rax, 900);
    Time t = 0_ns;
    for (int i = 0; i < 10; ++i) {
        Time mine = t;
        b.engine.run(*b.context, b, mine, t + 9_ns, false);
        Time theirs = t;
        b.engine.run(other, b, theirs, t + 9_ns, false);
    }
    CHECK(b.context->gpr(Gpr::rax) == 130);
    CHECK(b.context->xmm(0)[0] == 129);
    CHECK(other.gpr(Gpr::rax) == 930);
    CHECK(other.xmm(0)[0] == 929);
    b.engine.unload(other);
}

// Translated code is never taken back, so code that changes fills the engine's buffer; emptying it shows nowhere.
TEST_CASE("any amount of code can be translated") {
    struct Case {
        const char* what;
        std::vector<std::uint8_t> instruction;
    };
    const Case cases[] = {
        {"add [rax], al", {0x00, 0x00}},
        {"enter 0, 31: some sixty memory accesses", {0xc8, 0x00, 0x00, 0x1f}},
    };
    for (const Case& c : cases) {
        CAPTURE(c.what);
        std::array<std::uint64_t, 2> instructions{};
        std::array<Time, 2> time{};
        for (std::size_t i = 0; i < 2; ++i) {
            Bench b{{.code_buffer_bytes = i == 0 ? 1u << 20 : 64u << 20}};
            for (int round = 0; round < 30; ++round) {
                std::vector<std::uint8_t> text;
                for (int n = 0; n < 400; ++n) text.insert(text.end(), c.instruction.begin(), c.instruction.end());
                text.insert(text.end(), {0xf4, static_cast<std::uint8_t>(round)});
                REQUIRE(b.memory.write(0x1000, std::as_bytes(std::span{text})));
                cpu::Registers r = b.context->registers();
                r.rip = 0x1000;
                r[Gpr::rax] = 0x4000;
                r[Gpr::rbp] = 0x78000;
                r[Gpr::rsp] = 0x70000;
                b.context->set_registers(r);
                const auto stop = b.run();
                REQUIRE(stop.reason == StopReason::intercept);
                REQUIRE(stop.code == 0x78);
            }
            instructions[i] = b.engine.instructions();
            time[i] = b.now;
        }
        CHECK(instructions[0] == 30 * 400);
        CHECK(instructions[0] == instructions[1]);
        CHECK(time[0] == time[1]);
    }
}

}  // namespace engine_test
