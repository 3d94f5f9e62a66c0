// Guests that get nowhere: whatever a guest does over and over, time goes on, and the processor comes back at the
// limit. Each row hung the simulator once, or could have.
#include <string>

#include "processor_bench.h"

namespace processor_progress_test {

using namespace cpu;
using cpu::testing::ProcessorBench;
using sim::Time;

namespace {

constexpr u64 code = ProcessorBench::code;

struct Row {
    const char* why;
    std::vector<u8> text;  // at `at`
    u64 at = code;
    std::vector<u8> handler = {0x48, 0xcf};  // of every exception: IRETQ, back to what faulted
    u64 count = 10'000;                      // instructions in 10 us, at the least; they take 1 ns each
};

const Row rows[] = {
    {"a jump to itself", {0xeb, 0xfe}},
    {"UD2, and back to it", {0x0f, 0x0b}, code, {0x48, 0xcf}, 4'000},
    {"LOCK CPUID: what the engine would carry out and no processor can decode",
     {0xf0, 0x0f, 0xa2},
     code,
     {0x48, 0xcf},
     4'000},
    {"LOCK MOV CR3", {0xf0, 0x0f, 0x22, 0xd8}, code, {0x48, 0xcf}, 4'000},
    {"LOCK MOV DR0", {0xf0, 0x0f, 0x23, 0xc0}, code, {0x48, 0xcf}, 4'000},
    {"a handler that faults itself", {0x0f, 0x0b}, code, {0x0f, 0x0b}, 0},
    {"an instruction that ends in a page that isn't there",
     {0x48, 0xb8, 0x01},
     0x3'ffd,
     {0x48, 0x83, 0xc4, 0x08, 0x48, 0xcf},
     4'000},
    {"code that isn't there", {}, 0x4'000, {0x48, 0x83, 0xc4, 0x08, 0x48, 0xcf}, 4'000},
    {"MOV CR3, RAX and back", {0x0f, 0x22, 0xd8, 0xeb, 0xfb}},
    {"INVLPG [RAX] and back", {0x0f, 0x01, 0x38, 0xeb, 0xfb}},
    {"MOV DR0, RAX and back", {0x0f, 0x23, 0xc0, 0xeb, 0xfb}},
    {"SYSCALL to itself", {0x0f, 0x05}},
    {"a string instruction over its own code: LEA RDI, [RIP-7]; MOV ECX, 1000; REP STOSB; back",
     {0x48, 0x8d, 0x3d, 0xf9, 0xff, 0xff, 0xff, 0xb9, 0xe8, 0x03, 0x00, 0x00, 0xf3, 0xaa, 0xeb, 0xf0},
     code,
     {0x48, 0xcf},
     0},
    {"a store into its own page, and back: MOV [RIP+1000], AL", {0x88, 0x05, 0xe8, 0x03, 0x00, 0x00, 0xeb, 0xf8}},
    {"a store into itself: MOV [RIP-6], CL; back", {0x88, 0x0d, 0xfa, 0xff, 0xff, 0xff, 0xeb, 0xf8}},
    {"an interrupt handler that interrupts: INT 0x80", {0xcd, 0x80}, code, {0xcd, 0x80}, 0},
    {"STI; HLT-less spin with the shadow renewed: STI; JMP", {0xfb, 0xeb, 0xfd}},
    {"MOV SS in a loop", {0x8e, 0xd3, 0xeb, 0xfc}},
    {"PAUSE in a loop", {0xf3, 0x90, 0xeb, 0xfc}},
};

}  // namespace

TEST_CASE("whatever a guest does over and over, the limit is reached") {
    for (const Row& row : rows) {
        for (const bool watch : {false, true}) {
            const std::string why = row.why;
            CAPTURE(why);
            CAPTURE(watch);
            ProcessorBench b;
            b.map_page(0x4'000, 0);
            b.map_page(0x5'000, 0);  // below the stacks
            for (u64 v = 0; v < 256; ++v) {
                for (u64 i = 0; i < row.handler.size(); ++i) b.put<u8>(b.handlers + 16 * v + i, row.handler[i]);
            }
            for (u64 i = 0; i < row.text.size(); ++i) b.put<u8>(row.at + i, row.text[i]);
            b.with_registers([&](Registers& r) {
                r.rip = row.at;
                r[Gpr::rax] = ProcessorBench::pml4;
                r[Gpr::rbx] = ProcessorBench::data0;
                r[Gpr::rcx] = 0x88;
                r.efer |= efer::sce;
                r.lstar = row.at;
                r.star = u64{ProcessorBench::code64} << 32;
            });
            b.control.interrupt_window = watch && row.count != 0;
            const Time limit = Time::us(10);
            // What stops before is entered again, as the hypervisor would.
            for (int entries = 0; b.now < limit; ++entries) {
                REQUIRE(entries < 20'000);
                const ExitCode exit = b.run(limit - b.now);
                if (exit == ExitCode::shutdown) break;
                if (exit != ExitCode::interrupt) b.control.interrupt_window = false;
            }
            CHECK(b.engine.instructions() >= row.count);
            CHECK(b.now < limit + Time::us(1));
        }
    }
}

}  // namespace processor_progress_test
