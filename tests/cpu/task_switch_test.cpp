// Task switches of 32-bit code by JMP, CALL and IRET, which the engine carries out by itself: that its translations
// follow the new CR3, and that the processor model sees the new task's registers.
#include "processor_bench.h"

namespace task_switch_test {

using namespace cpu;
using cpu::testing::ProcessorBench;
using Mode = ProcessorBench::Mode;

namespace {

constexpr u64 code = ProcessorBench::code;
constexpr u64 second_tss = ProcessorBench::tss + 0x100;
constexpr u64 second_code = code + 0x200;
constexpr u16 first = 0x40, second = 0x48, gate = 0x50;

struct Tasks : ProcessorBench {
    explicit Tasks(Mode mode) : ProcessorBench(mode) {
        put_task(first, ProcessorBench::tss, 0x8b);
        put_task(second, second_tss, 0x89);
        put<u64>(gdt + gate, u64{second} << 16 | u64{0x8500} << 32);
        for (const u64 at : {ProcessorBench::tss, second_tss}) put<u32>(at + 0x1c, static_cast<u32>(context->cr3()));
        put<u32>(second_tss + 0x20, second_code);
        put<u32>(second_tss + 0x24, 2);
        for (u32 n = 0; n < 8; ++n) put<u32>(second_tss + 0x28 + 4 * n, 0x1000 + n);
        for (const u32 offset : {0x48u, 0x50u, 0x54u, 0x58u, 0x5cu}) put<u32>(second_tss + offset, data0);
        put<u32>(second_tss + 0x4c, code32);
        put<u32>(second_tss + 0x38, 0x9000);  // ESP
        with_registers([](Registers& r) {
            r.gdtr.limit = 0x57;
            r.tr = {first, static_cast<u16>(segment::present | segment::tss32_busy), 0x67, ProcessorBench::tss};
            r[Gpr::rsi] = 0x1234'5678;
        });
    }
    void put_task(u16 selector, u64 base, u8 access) {
        put<u64>(gdt + selector, 0x67 | (base & 0xff'ffff) << 16 | u64{access} << 40 | (base >> 24 & 0xff) << 56);
    }
    u8 access_of(u16 selector) const { return get<u8>(gdt + selector + 5); }
};

}  // namespace

TEST_CASE("JMP and CALL to a task, by its TSS and through a task gate, and IRET back") {
    for (const Mode mode : {Mode::protected32, Mode::pae}) {
        for (const u16 target : {second, gate}) {
            for (const u8 opcode : {0xea, 0x9a}) {
                CAPTURE(static_cast<int>(mode));
                CAPTURE(target);
                CAPTURE(static_cast<int>(opcode));
                const bool call = opcode == 0x9a;
                Tasks b{mode};
                b.put_code(code, {opcode, 0, 0, 0, 0, static_cast<u8>(target), 0, 0x46, 0xf4});  // ...; INC ESI; HLT
                b.put_code(second_code, {0x0f, 0xa2, 0xcf});                                     // CPUID; IRET
                REQUIRE(b.run() == ExitCode::cpuid);
                const Registers r = b.context->registers();
                CHECK(r.rip == second_code);
                CHECK(r[Gpr::rax] == 0x1000);
                CHECK(r[Gpr::rsp] == 0x9000);
                CHECK(r.tr.selector == second);
                CHECK(r.tr.base == second_tss);
                CHECK(r.tr.is_task_state());
                CHECK(r[SegmentName::ss].selector == ProcessorBench::data0);
                CHECK((r.cr0 & cr0::ts) != 0);
                CHECK(((r.rflags & rflags::nt) != 0) == call);
                CHECK(b.get<u32>(ProcessorBench::tss + 0x20) == code + 7);
                CHECK(b.get<u32>(ProcessorBench::tss + 0x40) == 0x1234'5678);
                CHECK(b.access_of(first) == (call ? 0x8b : 0x89));
                CHECK(b.access_of(second) == 0x8b);
                if (!call) continue;
                CHECK(b.get<u16>(second_tss) == first);
                b.processor.complete_instruction(*b.context, b.control, b.now);
                REQUIRE(b.run() == ExitCode::halt);
                CHECK(b.context->rip() == code + 8);
                CHECK(b.context->gpr(Gpr::rsi) == 0x1234'5679);
                CHECK(b.context->registers().tr.selector == first);
                CHECK(b.access_of(second) == 0x89);
            }
        }
    }
}

TEST_CASE("a task has its own address space") {
    Tasks b{Mode::pae};
    // Other tables: the page of `data` is another one's.
    constexpr u64 tables = 0x50000;
    b.put<u64>(tables, (tables + 0x1000) | 1);
    b.put<u64>(tables + 0x1000, (tables + 0x2000) | 7);
    for (u64 i = 0; i < 512; ++i) b.put<u64>(tables + 0x2000 + 8 * i, b.get<u64>(ProcessorBench::page_table + 8 * i));
    b.put<u64>(tables + 0x2000 + (ProcessorBench::data >> 12) * 8, 0x60000 | 7);
    b.put<u32>(ProcessorBench::data, 1);
    b.put<u32>(0x60000, 2);
    b.put<u32>(second_tss + 0x1c, tables);
    // MOV EAX, [data]; JMP second  |  MOV EBX, [data]; HLT
    b.put_code(code, {0xa1, 0x00, 0x00, 0x04, 0x00, 0xea, 0, 0, 0, 0, second, 0});
    b.put_code(second_code, {0x8b, 0x1d, 0x00, 0x00, 0x04, 0x00, 0xf4});
    REQUIRE(b.run() == ExitCode::halt);
    CHECK(b.get<u32>(ProcessorBench::tss + 0x28) == 1);
    CHECK(b.context->gpr(Gpr::rbx) == 2);
    CHECK(b.context->cr3() == tables);
}

}  // namespace task_switch_test
