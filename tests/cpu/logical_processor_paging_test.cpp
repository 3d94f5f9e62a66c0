// Memory as the guest's instructions meet it: page faults with their codes and addresses, accessed and dirty flags,
// accesses across pages, the second level's refusals, and code that is changed while it runs.
#include <string>

#include "processor_bench.h"

namespace logical_processor_paging_test {

using namespace cpu;
using cpu::testing::ProcessorBench;
using Mode = ProcessorBench::Mode;
using sim::Time;

namespace {

constexpr u64 code = ProcessorBench::code;
constexpr u64 page = 0x5'0000;  // the page of the tests
constexpr u64 present = 1, writable = 2, user = 4, accessed = 0x20, dirty = 0x40, no_execute = 1ull << 63;

u64 entry(ProcessorBench& b, u64 linear) {
    return b.get<u64>(ProcessorBench::page_table + (linear >> 12) * 8);
}

}  // namespace

TEST_CASE("page faults: error code, CR2 and the instruction") {
    enum class Kind { read, write, fetch };
    struct Row {
        const char* why;
        Kind kind;
        bool from_user;
        u64 entry;
        u64 cr0_off, cr4;
        int vector;  // -1: none
        u64 error;
    };
    for (const Row& row : {
             Row{"read, not present", Kind::read, false, 0, 0, 0, 14, 0},
             Row{"write, not present", Kind::write, false, 0, 0, 0, 14, 2},
             Row{"read, not present, user", Kind::read, true, 0, 0, 0, 14, 4},
             Row{"write, not present, user", Kind::write, true, 0, 0, 0, 14, 6},
             Row{"fetch, not present", Kind::fetch, false, 0, 0, 0, 14, 0x10},
             Row{"fetch, not present, user", Kind::fetch, true, 0, 0, 0, 14, 0x14},
             Row{"read of a supervisor's page, user", Kind::read, true, present | writable, 0, 0, 14, 5},
             Row{"write of a supervisor's page, user", Kind::write, true, present | writable, 0, 0, 14, 7},
             Row{"write of a read-only page, user", Kind::write, true, present | user, 0, 0, 14, 7},
             Row{"write of a read-only page", Kind::write, false, present, 0, 0, 14, 3},
             Row{"the same without CR0.WP", Kind::write, false, present, cr0::wp, 0, -1, 0},
             Row{"fetch of data", Kind::fetch, false, present | no_execute, 0, 0, 14, 0x11},
             Row{"fetch of data, user", Kind::fetch, true, present | user | no_execute, 0, 0, 14, 0x15},
             Row{"fetch of a user's page", Kind::fetch, false, present | user, 0, 0, -1, 0},
             Row{"the same with SMEP", Kind::fetch, false, present | user, 0, cr4::smep, 14, 0x11},
             Row{"read of a user's page", Kind::read, false, present | user, 0, 0, -1, 0},
             Row{"the same with SMAP", Kind::read, false, present | user, 0, cr4::smap, 14, 1},
             Row{"write with SMAP", Kind::write, false, present | writable | user, 0, cr4::smap, 14, 3},
             Row{"a reserved bit", Kind::read, false, present | 1ull << 50, 0, 0, 14, 9},
             Row{"a reserved bit, write by a user", Kind::write, true, present | 1ull << 50, 0, 0, 14, 15},
         }) {
        const std::string why = row.why;
        CAPTURE(why);
        ProcessorBench b;
        // Code and handlers are the kernel's where SMEP looks.
        if (!row.from_user) {
            for (u64 p = 0; p < 0x30'000; p += 4096) b.map_page(p, p | present | writable);
        }
        b.map_page(page, row.entry == 0 ? 0 : page | row.entry);
        b.put<u8>(page + 0x123, 0xf4);
        if (row.from_user) b.to_user();
        b.with_registers([&](Registers& r) {
            r.cr0 &= ~row.cr0_off;
            r.cr4 |= row.cr4;
            r[Gpr::rdi] = page + 0x123;
        });
        // NOP; MOV EAX, [RDI] or MOV [RDI], EAX or JMP RDI; HLT
        const auto exit = row.kind == Kind::read    ? b.run({0x90, 0x8b, 0x07, 0xf4})
                          : row.kind == Kind::write ? b.run({0x90, 0x89, 0x07, 0xf4})
                                                    : b.run({0x90, 0xff, 0xe7, 0xf4});
        CHECK(exit == ExitCode::halt);
        if (row.vector < 0) {
            CHECK(b.handler() == -1);
            CHECK(b.context->rip() == (row.kind == Kind::fetch ? page + 0x123 : code + 3));
            continue;
        }
        CHECK(b.handler() == row.vector);
        CHECK(b.pushed(0) == row.error);
        CHECK(b.pushed(1) == (row.kind == Kind::fetch ? page + 0x123 : code + 1));
        CHECK(b.context->cr2() == page + 0x123);
        CHECK(b.engine.instructions() == (row.kind == Kind::fetch ? 2 : 1));
    }
}

TEST_CASE("accessed and dirty flags: the first read, the first write, no speculation") {
    ProcessorBench b;
    b.map_page(page, page | present | writable);
    b.context->set_gpr(Gpr::rdi, page);
    CHECK(entry(b, page) == (page | present | writable));
    b.run({0x8b, 0x07, 0xf4});
    CHECK(entry(b, page) == (page | present | writable | accessed));
    // The read left nothing behind by which a write could pass unseen.
    b.context->set_rip(code);
    b.run({0x8b, 0x07, 0x89, 0x07, 0xf4});
    CHECK(entry(b, page) == (page | present | writable | accessed | dirty));
    // Cleared behind the processor's back, they are set again once it has forgotten the page.
    b.map_page(page, page | present | writable);
    b.context->set_rip(code);
    b.run({0x0f, 0x01, 0x3f, 0x89, 0x07, 0xf4});  // INVLPG [RDI]; MOV [RDI], EAX
    CHECK(entry(b, page) == (page | present | writable | accessed | dirty));
    // A write that faults leaves the page clean.
    b.map_page(page, page | present);
    b.context->set_rip(code);
    b.run({0x0f, 0x01, 0x3f, 0x89, 0x07, 0xf4});
    CHECK(b.handler() == 14);
    CHECK((entry(b, page) & dirty) == 0);
}

TEST_CASE("an access across two pages: all of it or nothing, CR2 at the first byte that is refused") {
    struct Row {
        const char* why;
        u64 first, second;  // entries
        bool write;
        int vector;
        u64 cr2, error;
    };
    constexpr u64 rw = present | writable;
    for (const Row& row :
         {Row{"both", rw, rw, true, -1, 0, 0}, Row{"read, second missing", rw, 0, false, 14, page + 0x1000, 0},
          Row{"write, second missing", rw, 0, true, 14, page + 0x1000, 2},
          Row{"write, second read-only", rw, present, true, 14, page + 0x1000, 3},
          Row{"write, first missing", 0, rw, true, 14, page + 0xffc, 2},
          Row{"write, both missing", 0, 0, true, 14, page + 0xffc, 2}}) {
        const std::string why = row.why;
        CAPTURE(why);
        ProcessorBench b;
        b.map_page(page, row.first == 0 ? 0 : page | row.first);
        b.map_page(page + 0x1000, row.second == 0 ? 0 : (page + 0x1000) | row.second);
        b.context->set_gpr(Gpr::rdi, page + 0xffc);
        b.context->set_gpr(Gpr::rax, 0x1122'3344'5566'7788);
        b.put<u64>(page + 0xffc, 0xeeee'eeee'eeee'eeee);
        if (row.write) {
            b.run({0x48, 0x89, 0x07, 0xf4});
        } else {
            b.run({0x48, 0x8b, 0x07, 0xf4});
        }
        CHECK(b.handler() == row.vector);
        if (row.vector >= 0) {
            CHECK(b.context->cr2() == row.cr2);
            CHECK(b.pushed(0) == row.error);
        }
        CHECK(b.get<u64>(page + 0xffc) == (row.vector < 0 ? 0x1122'3344'5566'7788 : 0xeeee'eeee'eeee'eeee));
    }
    // An instruction of which the second half is missing.
    ProcessorBench b;
    b.put_code(page + 0xffe, {0xb8, 0x11});
    b.map_page(page + 0x1000, 0);
    b.context->set_rip(page + 0xffe);
    b.run();
    CHECK(b.handler() == 14);
    CHECK(b.context->cr2() == page + 0x1000);
    CHECK(b.pushed(0) == 0x10);
    CHECK(b.pushed(1) == page + 0xffe);
}

TEST_CASE("what the second level refuses is an exit, with the guest's address") {
    ProcessorBench b;
    const u64 beyond = ProcessorBench::guest_bytes;
    b.map_page(beyond, beyond | present | writable);
    b.context->set_gpr(Gpr::rdi, beyond + 0x234);
    CHECK(b.run({0x90, 0x89, 0x07, 0xf4}) == ExitCode::nested_fault);
    CHECK(b.control.exit_info2 == beyond + 0x234);
    CHECK((b.control.exit_info1 & 7) == 6);        // a write, not present; nested accesses are a user's
    CHECK((b.control.exit_info1 >> 32 & 3) == 1);  // the final address
    CHECK(b.context->rip() == code + 1);
    CHECK(b.control.instruction_length == 2);
    CHECK(b.engine.instructions() == 1);
    // A page table out there.
    b.put<u64>(ProcessorBench::pml4 + 0x2000 + 8, (beyond + 0x5000) | 7);
    b.context->set_gpr(Gpr::rdi, 0x20'0000);
    b.context->set_rip(code);
    CHECK(b.run() == ExitCode::nested_fault);
    CHECK((b.control.exit_info1 >> 32 & 3) == 2);
    CHECK(b.control.exit_info2 == beyond + 0x5000);
    // Read-only there, writable here.
    REQUIRE(b.writer->protect(page, 4096, {true, false, true}) == slat::Edit::ok);
    b.context->set_gpr(Gpr::rdi, page);
    b.context->set_rip(code);
    CHECK(b.run() == ExitCode::nested_fault);
    CHECK((b.control.exit_info1 & 7) == 7);
    // An event on the way to its handler is told, and goes in when it is injected again.
    ProcessorBench e;
    e.put<u64>(ProcessorBench::page_table + 7 * 8, (beyond + 0x1000) | present | writable);
    e.put_code(code, {0x0f, 0x0b});
    CHECK(e.run() == ExitCode::nested_fault);
    REQUIRE(e.control.interrupted_delivery.has_value());
    CHECK(e.control.interrupted_delivery->vector == 6);
    CHECK((e.control.exit_info2 & ~0xfffull) == beyond + 0x1000);
    REQUIRE(e.writer->map(beyond + 0x1000, 0x7000, mmu::shift_4k, {true, true, true}) == slat::Edit::ok);
    e.control.injection = e.control.interrupted_delivery;
    CHECK(e.run() == ExitCode::halt);
    CHECK(e.handler() == 6);
    CHECK(e.pushed(0) == code);
}

TEST_CASE("descriptor tables are the supervisor's, also at CPL 3") {
    ProcessorBench b;
    b.map_page(ProcessorBench::gdt, ProcessorBench::gdt | present | writable);
    b.map_page(ProcessorBench::idt, ProcessorBench::idt | present | writable);
    b.map_page(ProcessorBench::tss, ProcessorBench::tss | present | writable);
    b.to_user();
    // MOV AX, 0x23; MOV FS, AX; INT 0x80
    CHECK(b.run({0x66, 0xb8, 0x23, 0x00, 0x8e, 0xe0, 0xcd, 0x80}) == ExitCode::halt);
    CHECK(b.handler() == 0x80);
}

// --- Code that changes ---------------------------------------------------------------------------------------------

TEST_CASE("self-modifying code: the next instruction, a loop, another address") {
    ProcessorBench b;
    // MOV BYTE [next + 1], 0xc3: FF C0 (INC EAX) becomes FF C3 (INC EBX), just ahead.
    b.run({0xc6, 0x04, 0x25, 0x09, 0x10, 0x00, 0x00, 0xc3, 0xff, 0xc0, 0xf4});
    CHECK(b.context->gpr(Gpr::rax) == 0);
    CHECK(b.context->gpr(Gpr::rbx) == 1);
    CHECK(b.engine.instructions() == 2);
    // Each round increments the immediate of an ADD in it: 1 + 2 + ... + 10.
    ProcessorBench loop;
    loop.context->set_gpr(Gpr::rcx, 10);
    // ADD EAX, 1; INC BYTE [the 1]; LOOP; HLT
    loop.run({0x83, 0xc0, 0x01, 0xfe, 0x04, 0x25, 0x02, 0x10, 0x00, 0x00, 0xe2, 0xf4, 0xf4});
    CHECK(loop.context->gpr(Gpr::rax) == 55);
    CHECK(loop.engine.instructions() == 30);
    CHECK(loop.now == Time::ns(30));
    // Written through another linear address of the same page.
    ProcessorBench alias;
    alias.map_page(page, code | present | writable);
    alias.context->set_gpr(Gpr::rcx, 5);
    alias.run({0x83, 0xc0, 0x01, 0xfe, 0x04, 0x25, 0x02, 0x00, 0x05, 0x00, 0xe2, 0xf4, 0xf4});
    CHECK(alias.context->gpr(Gpr::rax) == 15);
}

TEST_CASE("code across two pages, changed in either, and a page that is exchanged beneath it") {
    ProcessorBench b;
    const u64 at = page + 0xffe;
    b.put_code(at, {0xb8, 0x01, 0x00, 0x00, 0x00, 0xf4});  // MOV EAX, 1 over the boundary
    b.context->set_rip(at);
    b.run();
    CHECK(b.context->gpr(Gpr::rax) == 1);
    b.put<u8>(page + 0x1000, 0x02);
    b.context->set_rip(at);
    b.run();
    CHECK(b.context->gpr(Gpr::rax) == 0x201);
    b.put<u8>(page + 0xfff, 0x03);
    b.context->set_rip(at);
    b.run();
    CHECK(b.context->gpr(Gpr::rax) == 0x203);
    // The second page is another one now. INVLPG is the guest's part of it.
    b.put_code(0x6'0000, {0x09, 0x00, 0x00, 0xf4});
    b.map_page(page + 0x1000, 0x6'0000 | present | writable);
    b.put_code(code, {0x0f, 0x01, 0x3f, 0xff, 0xe6});  // INVLPG [RDI]; JMP RSI
    b.with_registers([&](Registers& r) {
        r[Gpr::rdi] = page + 0x1000;
        r[Gpr::rsi] = at;
        r.rip = code;
    });
    b.run();
    CHECK(b.context->gpr(Gpr::rax) == 0x903);
}

TEST_CASE("one processor changes what another runs") {
    ProcessorBench b;
    GuestContext other{b.engine.pristine_state(), u16{1}};
    other.set_registers(b.context->registers());
    // The other one runs a loop: ADD EAX, 1; JMP. This one makes it ADD EAX, 3 with a plain store.
    b.put_code(page, {0x83, 0xc0, 0x01, 0xeb, 0xfb});
    other.set_rip(page);
    b.put_code(code, {0xc6, 0x04, 0x25, 0x02, 0x00, 0x05, 0x00, 0x03, 0xf4});
    ControlBlock control = b.control;
    Time theirs;
    b.processor.run(other, control, theirs, Time::ns(200));
    CHECK(other.gpr(Gpr::rax) == 100);
    CHECK(b.run() == ExitCode::halt);
    b.processor.run(other, control, theirs, Time::ns(400));
    CHECK(other.gpr(Gpr::rax) == 100 + 300);
    // A hypervisor's or device's write is seen as well.
    b.put<u8>(page + 2, 5);
    b.processor.run(other, control, theirs, Time::ns(600));
    CHECK(other.gpr(Gpr::rax) == 400 + 500);
    b.engine.unload(other);
}

TEST_CASE("two partitions at one linear address run their own code") {
    ProcessorBench b;
    GuestContext other{b.engine.pristine_state(), u16{2}};
    other.set_registers(b.context->registers());
    b.put_code(code, {0xff, 0xc0, 0xf4});
    // The other's page tables lead elsewhere.
    const u64 tables = 0x7'0000;
    REQUIRE(b.memory.fill(tables, 0x4000, std::byte{0}));
    b.put<u64>(tables, (tables + 0x1000) | 7);
    b.put<u64>(tables + 0x1000, (tables + 0x2000) | 7);
    b.put<u64>(tables + 0x2000, (tables + 0x3000) | 7);
    b.put<u64>(tables + 0x3000 + 8, 0x6'0000 | 7);
    b.put_code(0x6'0000, {0xff, 0xc3, 0xff, 0xc3, 0xf4});
    Registers r = other.registers();
    r.cr3 = tables;
    other.set_registers(r);
    for (int round = 0; round < 3; ++round) {
        b.context->set_rip(code);
        other.set_rip(code);
        ControlBlock control = b.control;
        CHECK(b.run() == ExitCode::halt);
        const u64 before = b.engine.instructions();
        b.processor.run(other, control, b.now, b.now + Time::us(1));
        CHECK(control.exit_code == ExitCode::halt);
        CHECK(b.engine.instructions() - before == 2);
    }
    CHECK(b.context->gpr(Gpr::rax) == 3);
    CHECK(b.context->gpr(Gpr::rbx) == 0);
    CHECK(other.gpr(Gpr::rax) == 0);
    CHECK(other.gpr(Gpr::rbx) == 6);
    b.engine.unload(other);
}

}  // namespace logical_processor_paging_test
