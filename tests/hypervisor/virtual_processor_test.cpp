// Virtual processors that run a few bytes of machine code: what each exit answers, and its exact time.
#include "whole_machine.h"

namespace virtual_processor_test {

using namespace hypervisor;
using namespace hypervisor::test;

namespace {

constexpr auto here = static_cast<std::uint32_t>(place::data);

std::uint32_t ns(Time t) {
    return static_cast<std::uint32_t>(t.ps() / 1000);
}

}  // namespace

TEST_CASE("instructions take their time, CPUID its exit besides") {
    WholeMachine m;
    m.guest();
    // What lies between two readings: RDTSC and its MOV, and what stands there.
    m.start(0,
            Code{}.stamp(here).stamp(here + 4).mov_eax(0x4000'0000).cpuid().store_ebx(here + 12).stamp(here + 8).hlt());
    m.run();
    CHECK(m.data() == 0);
    CHECK(m.data(4) == 2);
    CHECK(m.data(12) == 0x7263'694d);
    CHECK(m.data(8) == 2 + 2 + ns(cost::cpuid) + 3);
    CHECK(m.halted());
    CHECK(m.hypervisor->instructions(2) == 10);
    CHECK(m.reg(HvRegister::x64_rip) == place::code + 2 * 9 + 5 + 2 + 7 + 9 + 1);
}

TEST_CASE("CPUID tells each processor its own APIC id, and the root's results override") {
    WholeMachine m{2};
    const PartitionId id = m.guest(2);
    CpuidResult result;
    result.leaf = 1;
    result.value = {0, 0x00ff'0000, 0, 0};
    result.mask = {0, 0x00ff'0000, 0, 0};
    REQUIRE(m.client->register_cpuid_result(id, result) == HvStatus::success);
    for (std::uint32_t vp : {0u, 1u}) m.start(vp, Code{}.mov_eax(1).cpuid().store_ebx(here + 4 * vp).hlt());
    m.run();
    CHECK(m.data(0) == 0x00ff'0800);
    CHECK(m.data(4) == 0x01ff'0800);
}

TEST_CASE("MSRs: what each kind reads, takes and refuses") {
    struct Row {
        const char* why;
        std::uint32_t number;
        bool exists;
        std::uint64_t reads;
        std::uint64_t write;
        bool taken;
    };
    // #GP: counted in the handler, which skips the two bytes of the instruction.
    const Code skip =
        Code{}.inc_at(here).raw({0x48, 0x83, 0x44, 0x24, 0x08, 0x02}).raw({0x48, 0x83, 0xc4, 0x08}).iretq();
    for (const Row& row : {
             Row{"plain storage", 0x2ff, true, 0xc06, 0xc00, true},
             Row{"plain storage, a reserved bit", 0x2ff, true, 0xc06, 1ull << 32, false},
             Row{"a fixed value", 0x0fe, true, 0x508, 0x508, false},
             Row{"PAT", 0x277, true, 0x0007'0406'0007'0406, 0x0001'0406'0007'0406, true},
             Row{"PAT with a type that isn't", 0x277, true, 0x0007'0406'0007'0406, 2, false},
             Row{"EFER", 0xc000'0080, true, 0x500, 0x501, true},
             Row{"EFER without LME while paging", 0xc000'0080, true, 0x500, 0x401, false},
             Row{"EFER.SVME", 0xc000'0080, true, 0x500, 0x1500, false},
             Row{"SYSENTER_EIP", 0x176, true, 0, 0x1234, true},
             Row{"SYSENTER_EIP, not canonical", 0x176, true, 0, 1ull << 63, false},
             Row{"STAR, which needs no exit", 0xc000'0081, true, 0, ~0ull, true},
             Row{"APIC base", 0x1b, true, 0xfee0'0900, 0xfee0'0d00, true},
             Row{"APIC base, a reserved bit", 0x1b, true, 0xfee0'0900, 0xfee0'0901, false},
             Row{"x2APIC, not in xAPIC mode", 0x802, false, 0, 0, false},
             Row{"TSC deadline", 0x6e0, true, 0, 5, true},
             Row{"TSC_AUX", 0xc000'0103, true, 0, 7, true},
             Row{"TSC_AUX, too large", 0xc000'0103, true, 0, 1ull << 32, false},
             Row{"synthetic", 0x4000'0002, true, 0, 0, false},
             Row{"synthetic, no such", 0x4000'0004, false, 0, 0, false},
             Row{"none", 0x12345, false, 0, 0, false},
             Row{"none, the highest number", 0xffff'ffff, false, 0, 0, false},
         }) {
        const std::string why = row.why;
        CAPTURE(why);
        WholeMachine m;
        m.guest();
        m.handler(13, skip);
        m.start(0, Code{}
                       .mov_eax(0)
                       .mov_edx(0)
                       .rdmsr(row.number)
                       .store_eax(here + 8)
                       .store_edx(here + 12)
                       .wrmsr(row.number, row.write)
                       .hlt());
        m.run();
        CHECK(m.halted());
        CHECK(m.data() == (row.exists ? 0u : 1u) + (row.taken ? 0u : 1u));
        if (row.exists) CHECK(m.load<std::uint64_t>(place::data + 8) == row.reads);
    }
}

TEST_CASE("MSRs that the root wants: unknown ones are asked for, reported ones told") {
    WholeMachine m;
    const PartitionId id = m.guest();
    const auto install = [&](std::uint32_t number) {
        REQUIRE(m.client->install_intercept(id, intercept_access_mask::read | intercept_access_mask::write,
                                            HvInterceptType::x64_msr_index, number) == HvStatus::success);
    };
    install(0x12345);
    install(msr::crash_ctl);
    m.root.answer = [&](const HvMessage& message) {
        const auto msr_message = payload_of<HvX64MsrInterceptMessage>(message, HvMessageType::x64_msr_intercept);
        REQUIRE(msr_message.has_value());
        const bool read = msr_message->header.intercept_access_type == 0;
        if (read) m.set(HvRegister::x64_rax, 0xaaaa);
        m.set(HvRegister::x64_rip, msr_message->header.rip + 2);
        m.set(HvRegister::intercept_suspend, 0);
    };
    m.start(0, Code{}.rdmsr(0x12345).store_eax(here).wrmsr(msr::crash_ctl, 1ull << 63).hlt());
    m.run();
    CHECK(m.data() == 0xaaaa);
    REQUIRE(m.root.intercepts.size() == 2);
    const auto crash = payload_of<HvX64MsrInterceptMessage>(m.root.intercepts[1], HvMessageType::x64_msr_intercept);
    CHECK(crash->msr_number == msr::crash_ctl);
    CHECK(crash->rdx == 0x8000'0000);
    CHECK(crash->header.intercept_access_type == 1);
    CHECK(m.reg(HvRegister::guest_crash_ctl) == 1ull << 63);  // taken before it is told
    CHECK(m.halted());
}

TEST_CASE("an I/O intercept: what the root is told, what it answers, and when") {
    WholeMachine m;
    const PartitionId id = m.guest();
    REQUIRE(m.client->install_intercept(id, intercept_access_mask::read | intercept_access_mask::write,
                                        HvInterceptType::x64_io_port_range, 0x70 | 0x71 << 16) == HvStatus::success);
    Time told;
    m.root.answer = [&](const HvMessage& message) {
        const auto io = payload_of<HvX64IoPortInterceptMessage>(message, HvMessageType::x64_io_port_intercept);
        REQUIRE(io.has_value());
        told = m.simulation.agenda().now();
        CHECK(m.reg(HvRegister::intercept_suspend) == 1);
        if (io->header.intercept_access_type == 0) m.set(HvRegister::x64_rax, 0x5a);
        m.set(HvRegister::x64_rip, io->header.rip + 2);
        m.set(HvRegister::intercept_suspend, 0);
    };
    m.start(0, Code{}
                   .mov_eax(0x1234'5678)
                   .out(0x70)
                   .in(0x71)
                   .store_eax(here)
                   .in(0x72)
                   .store_eax(here + 4)
                   .stamp(here + 8)
                   .hlt());
    m.run();
    CHECK(m.data() == 0x5a);
    CHECK(m.data(4) == 0xff);  // nobody's port
    REQUIRE(m.root.intercepts.size() == 2);
    const auto io = payload_of<HvX64IoPortInterceptMessage>(m.root.intercepts[0], HvMessageType::x64_io_port_intercept);
    CHECK(m.root.intercepts[0].header.origin == id);
    CHECK(io->header.vp_index == 0);
    CHECK(io->header.intercept_access_type == 1);
    CHECK(io->header.rip == place::code + 5);
    CHECK((io->header.instruction_length_and_cr8 & 0xf) == 2);
    CHECK(io->header.execution_state == (1 << 2 | 1 << 4));  // CPL 0, PE, LMA
    CHECK(io->header.cs_segment.selector == 8);
    CHECK(io->port_number == 0x70);
    CHECK(io->access_info == 1);
    CHECK(io->rax == 0x1234'5678);
    CHECK(io->instruction_bytes[0] == 0xe6);
    // MOV; OUT and IN by the root, each an exit and a round trip, then MOV, a cheap IN, MOV.
    const Time second = Time::ns(1) + (cost::exit + cost::root) * 2;
    CHECK(told == second);
    CHECK(m.data(8) == ns(second + Time::ns(1) + cost::exit + Time::ns(1) + Time::ns(1)));
    CHECK(m.hypervisor->instructions(id) == 9);
}

TEST_CASE("memory that isn't there is the root's") {
    WholeMachine m;
    const PartitionId id = m.guest();
    m.root.answer = [&](const HvMessage& message) {
        const auto memory = payload_of<HvX64MemoryInterceptMessage>(message, HvMessageType::unmapped_gpa);
        REQUIRE(memory.has_value());
        if (memory->header.intercept_access_type == 0) m.set(HvRegister::x64_rax, 0x1111);
        m.set(HvRegister::x64_rip, memory->header.rip + 7);
        m.set(HvRegister::intercept_suspend, 0);
    };
    m.start(0, Code{}.load_eax(0x3000'0124).store_eax(here).store_eax(0x3000'0ffc).hlt());
    m.run();
    CHECK(m.data() == 0x1111);
    REQUIRE(m.root.intercepts.size() == 2);
    const auto read = payload_of<HvX64MemoryInterceptMessage>(m.root.intercepts[0], HvMessageType::unmapped_gpa);
    const auto write = payload_of<HvX64MemoryInterceptMessage>(m.root.intercepts[1], HvMessageType::unmapped_gpa);
    CHECK(read->guest_physical_address == 0x3000'0124);
    CHECK(read->header.intercept_access_type == 0);
    CHECK(read->instruction_byte_count == 15);
    CHECK(read->instruction_bytes[0] == 0x8b);
    CHECK(write->guest_physical_address == 0x3000'0ffc);
    CHECK(write->header.intercept_access_type == 1);
    CHECK(m.root.intercepts[0].header.origin == id);
}

TEST_CASE("the local APIC's page: accesses in xAPIC mode, none in x2APIC mode") {
    WholeMachine m;
    m.guest();
    // MOV [RDI], EAX; MOV EBX, [RDI]
    m.start(0, Code{}
                   .raw({0xbf})
                   .imm32(0xfee0'0080)
                   .mov_eax(0x50)
                   .stamp(here + 8)
                   .mov_eax(0x50)
                   .raw({0x89, 0x07})
                   .stamp(here + 12)
                   .raw({0x8b, 0x1f})
                   .store_ebx(here)
                   .x2apic_on()
                   .raw({0x8b, 0x1f})
                   .hlt());
    m.run();
    CHECK(m.data() == 0x50);
    CHECK(m.data(12) - m.data(8) == 2 + 1 + ns(cost::nested_fault + Time::ns(30)));
    CHECK(m.reg(HvRegister::x64_cr8) == 5);
    // In x2APIC mode the page is nobody's.
    REQUIRE(m.root.intercepts.size() == 1);
    CHECK(m.root.intercepts[0].header.message_type == static_cast<std::uint32_t>(HvMessageType::unmapped_gpa));
}

TEST_CASE("a triple fault is told, and nothing runs on") {
    WholeMachine m;
    m.guest();
    m.start(0, Code{}.raw({0x0f, 0x01, 0x1c, 0x25}).imm32(here).raw({0x0f, 0x0b}).stamp(here + 16).hlt());  // LIDT; UD2
    m.run();
    REQUIRE(m.root.intercepts.size() == 1);
    CHECK(m.root.intercepts[0].header.message_type == 0x8000'0021);
    CHECK(m.data(16) == 0);
    CHECK(m.reg(HvRegister::intercept_suspend) == 1);
}

TEST_CASE("registers that no processor could have are told instead of run") {
    struct Row {
        const char* why;
        HvRegister name;
        std::uint64_t value;
    };
    for (const Row& row :
         {Row{"paging without protection", HvRegister::x64_cr0, 0x8000'0010},
          Row{"CR0's upper half", HvRegister::x64_cr0, 1ull << 32 | 0x8000'0031},
          Row{"not write-through without cache disable", HvRegister::x64_cr0, 0xa000'0031},
          Row{"long mode without PAE", HvRegister::x64_cr4, 0x200},
          Row{"a bit of CR4 that isn't", HvRegister::x64_cr4, 0x220 | 1ull << 40},
          Row{"SVM", HvRegister::x64_efer, 0x1500},
          Row{"CR3 beyond physical addresses", HvRegister::x64_cr3, 1ull << 50},
          Row{"virtual-8086 mode in long mode", HvRegister::x64_rflags, 0x2'0002},
          Row{"DR7's upper half", HvRegister::x64_dr7, 1ull << 32}, Row{"PAT", HvRegister::x64_pat, 0x0203}}) {
        const std::string why = row.why;
        CAPTURE(why);
        WholeMachine m;
        m.guest();
        m.start(0, Code{}.stamp(here).hlt());
        m.store<std::uint32_t>(place::data, 0x7777);
        m.set(row.name, row.value);
        m.run();
        REQUIRE(m.root.intercepts.size() == 1);
        CHECK(m.root.intercepts[0].header.message_type == 0x8000'0020);
        CHECK(m.data() == 0x7777);
    }
}

TEST_CASE("hypercalls through their page, with a list charged by its elements") {
    WholeMachine m;
    m.guest();
    // VMMCALL before there is an interface is #UD.
    m.handler(6, Code{}.inc_at(here).raw({0x48, 0x83, 0x04, 0x24, 0x03}).iretq());
    m.start(0, Code{}
                   .raw({0x0f, 0x01, 0xd9})
                   .wrmsr(msr::guest_os_id, 1)
                   .wrmsr(msr::hypercall, 0x30'001)
                   .stamp(here + 8)
                   .raw({0x48, 0xb9, 0x03, 0, 0, 0, 0x64, 0, 0, 0})  // flush list, 100 elements
                   .mov_edx(0x31'000)
                   .mov_ebx(0x30'000)
                   .raw({0xff, 0xd3})  // CALL RBX
                   .store_eax(here + 4)
                   .stamp(here + 12)
                   .hlt());
    m.store<std::uint32_t>(place::data + 4, 0x7777);
    m.run();
    CHECK(m.data() == 1);
    CHECK(m.data(4) == 0);
    // In two entries: MOV (the stamp's), three MOVs, CALL; VMMCALL twice at the exit, once as an instruction; RET, MOV.
    CHECK(m.data(12) - m.data(8) == 1 + 1 + 3 + 1 + 2 * ns(cost::hypercall) + 100 + 1 + 1 + 1);
}

// What a flush names is forgotten by the engine and by the timing models, and of a list no more than its pages.
TEST_CASE("flush hypercalls: a page, a list, everything; INVLPG") {
    constexpr std::uint32_t tables = 0x40'000;  // a directory and a table for the linear pages from 3 GiB on
    constexpr std::uint32_t watched = 0xc000'0000;
    const auto vmmcall = [](Code& code, std::uint64_t control, std::uint32_t input) -> Code& {
        code.raw({0x48, 0xb9});
        for (unsigned i = 0; i < 64; i += 8) code.bytes.push_back(static_cast<std::uint8_t>(control >> i));
        return code.mov_edx(input).mov_ebx(0x30'000).raw({0xff, 0xd3});
    };
    const struct {
        const char* why;
        std::uint64_t control;  // 0: INVLPG
        std::array<std::uint64_t, 4> input;
        bool forgotten;
    } rows[] = {
        {"nothing", 0x5c, {}, false},  // a call that is none of these
        {"everything", 0x02, {0, 3, 0}, true},
        {"everything but global pages, by mask", 0x02, {place::pml4, 4, 1}, true},
        {"the page", 0x1'0000'0003, {0, 3, 0, watched}, true},
        {"its neighbour", 0x1'0000'0003, {0, 3, 0, watched + 0x1000}, false},
        {"the page, behind others", 0x1'0000'0003, {0, 3, 0, (watched - 0x3000) | 3}, true},
        {"others up to the page", 0x1'0000'0003, {0, 3, 0, (watched - 0x3000) | 2}, false},
        {"so many that it is everything", 0x1'0000'0003, {0, 3, 0, 0x1000'0fff}, true},
        {"no elements", 0x03, {0, 3, 0}, true},
        {"INVLPG", 0, {watched + 0x123}, true},
        {"INVLPG of the neighbour", 0, {watched + 0x1000}, false},
    };
    for (const bool timed : {false, true}) {
        for (const auto& row : rows) {
            CAPTURE(row.why);
            CAPTURE(timed);
            HypervisorConfig config = round_numbers(1);
            config.timed = timed;
            WholeMachine m{1, config};
            m.guest();
            m.store<std::uint64_t>(place::pdpt + 24, tables | 7);
            m.store<std::uint64_t>(tables, (tables + 0x1000) | 7);
            m.store<std::uint64_t>(tables + 0x1000, 0x50'000 | 7);
            m.store<std::uint32_t>(0x50'000, 1);
            m.store<std::uint32_t>(0x51'000, 2);
            for (std::size_t i = 0; i < row.input.size(); ++i) m.store(0x31'000 + 8 * i, row.input[i]);
            Code code;
            code.wrmsr(msr::guest_os_id, 1).wrmsr(msr::hypercall, 0x30'001).mov_ebx(watched);
            code.raw({0x8b, 0x03}).store_eax(here);             // MOV EAX, [RBX]
            code.mov_eax(0x51'067).store_eax(tables + 0x1000);  // another page, used before
            if (row.control != 0) {
                vmmcall(code, row.control, 0x31'000);
            } else {
                code.mov_ebx(static_cast<std::uint32_t>(row.input[0])).raw({0x0f, 0x01, 0x3b});
            }
            code.mov_ebx(watched).raw({0x8b, 0x03}).store_eax(here + 4).hlt();
            m.start(0, code);
            m.run();
            CHECK(m.data() == 1);
            CHECK(m.data(4) == (row.forgotten ? 2 : 1));
        }
    }
}

TEST_CASE("timed: what the models counted are statistics") {
    HypervisorConfig config = round_numbers(1);
    config.timed = true;
    WholeMachine m{1, config};
    m.guest();
    m.start(0, Code{}.load_eax(here).load_eax(here).store_eax(here + 64).hlt());
    m.run();
    const auto value = [&](const char* name) {
        const auto& all = m.simulation.statistics().all();
        const auto found = all.find(std::string{"hypervisor.lp0."} + name);
        REQUIRE(found != all.end());
        return found->second.counter.value();
    };
    CHECK(value("accesses") == 3);
    CHECK(value("tlb.walks") == 3);  // the code's, the data's, and again for the dirty bit
    CHECK(value("tlb.l1") == 1);
    CHECK(value("tlb.l2") == 0);
    CHECK(value("tlb.walk_references") > 2);
    CHECK(value("cache.data.l1") == 1);
    CHECK(value("cache.data.memory") == 2);
    CHECK(value("cache.instruction.memory") == 1);
}

TEST_CASE("two partitions share the host and nothing else") {
    WholeMachine m{2};
    const PartitionId a = m.guest();
    const PartitionId b = m.guest();
    // Each writes its own mark everywhere the other could see it, then reaches beyond its memory.
    for (const auto& [id, mark] : {std::pair{a, 0xaaaa'aaaau}, std::pair{b, 0xbbbb'bbbbu}}) {
        m.start(0,
                Code{}
                    .mov_eax(mark)
                    .store_eax(here)
                    .mov_ecx(0x2000)
                    .raw({0xbf})
                    .imm32(0x10'0000)
                    .raw({0xf3, 0xab})
                    .store_eax(0x20'0000)
                    .hlt(),
                id);
    }
    m.run();
    for (const auto& [id, mark] : {std::pair{a, 0xaaaa'aaaau}, std::pair{b, 0xbbbb'bbbbu}}) {
        CHECK(m.data(0, id) == mark);
        for (std::uint64_t at = 0x10'0000; at < 0x10'8000; at += 4) REQUIRE(m.load<std::uint32_t>(at, id) == mark);
        CHECK(m.load<std::uint32_t>(0x10'8000, id) == 0);
    }
    // 2 MiB is the first byte that is not theirs.
    REQUIRE(m.root.intercepts.size() == 2);
    for (const HvMessage& message : m.root.intercepts) {
        CHECK(payload_of<HvX64MemoryInterceptMessage>(message, HvMessageType::unmapped_gpa)->guest_physical_address ==
              0x20'0000);
    }
    CHECK(m.root.intercepts[0].header.origin != m.root.intercepts[1].header.origin);
}

}  // namespace virtual_processor_test
