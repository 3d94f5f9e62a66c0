// How a guest makes hypercalls (TLFS chapter 3): control word, parameter lists, fast calls, lists in parts.
#include <doctest/doctest.h>

#include "synthetic_machine.h"

namespace child_conventions_test {

using namespace hypervisor;
using namespace hypervisor::test;

namespace {

using cpu::Gpr;
using Ipis = std::vector<std::pair<VpMask, std::uint8_t>>;

constexpr std::uint64_t in = 0x30'000;   // input page
constexpr std::uint64_t out = 0x31'000;  // output page

constexpr GuestResult ok{HvStatus::success, 0};
constexpr GuestResult refused(HvStatus status) {
    return {status, 0};
}

void put(SyntheticMachine& m, std::uint64_t gpa, std::initializer_list<std::uint64_t> words) {
    for (const std::uint64_t word : words) {
        m.store(gpa, word);
        gpa += 8;
    }
}

}  // namespace

TEST_CASE("the control word") {
    const std::uint64_t flush = code_of(HvCall::flush_virtual_address_space);
    const std::uint64_t list = code_of(HvCall::flush_virtual_address_list);
    const struct {
        const char* reason;
        std::uint64_t control;
        GuestResult expected;
    } rows[] = {
        {"plain", flush, ok},
        {"no such call", 0x7fff, refused(HvStatus::invalid_hypercall_code)},
        {"call 0", 0, refused(HvStatus::invalid_hypercall_code)},
        {"an unknown code is told before anything else", 0x7fff | 1ull << 27,
         refused(HvStatus::invalid_hypercall_code)},
        {"reserved bit 27", flush | 1ull << 27, refused(HvStatus::invalid_hypercall_input)},
        {"reserved bit 30", flush | 1ull << 30, refused(HvStatus::invalid_hypercall_input)},
        {"nested, without nesting", flush | 1ull << 31, refused(HvStatus::invalid_hypercall_input)},
        {"reserved bit 44", flush | 1ull << 44, refused(HvStatus::invalid_hypercall_input)},
        {"reserved bit 47", flush | 1ull << 47, refused(HvStatus::invalid_hypercall_input)},
        {"reserved bit 60", flush | 1ull << 60, refused(HvStatus::invalid_hypercall_input)},
        {"reserved bit 63", flush | 1ull << 63, refused(HvStatus::invalid_hypercall_input)},
        {"a simple call with elements", flush | reps(1), refused(HvStatus::invalid_hypercall_input)},
        {"a simple call with a start", flush | reps(0, 1), refused(HvStatus::invalid_hypercall_input)},
        {"a variable header where none belongs", flush | variable_header(1),
         refused(HvStatus::invalid_hypercall_input)},
        {"a list", list | reps(2), {HvStatus::success, 2}},
        {"a list from its second element", list | reps(2, 1), {HvStatus::success, 2}},
        {"a list without elements, as Linux makes it", list, ok},
        {"start past the count", list | reps(2, 3), refused(HvStatus::invalid_hypercall_input)},
        {"start at the count", list | reps(2, 2), refused(HvStatus::invalid_hypercall_input)},
        {"start without count", list | reps(0, 1), refused(HvStatus::invalid_hypercall_input)},
    };
    for (const auto& row : rows) {
        CAPTURE(row.reason);
        SyntheticMachine m;
        put(m, in, {0, flush_flag::all_processors | flush_flag::all_virtual_address_spaces, 0, 0, 0});
        const GuestResult result = call(m, {row.control, in});
        CHECK(result.status == row.expected.status);
        if (row.expected.status == HvStatus::success) CHECK(result.done == row.expected.done);
        CHECK(m.port.flushes.size() == (row.expected.status == HvStatus::success ? 1 : 0));
    }
}

TEST_CASE("where parameter lists may lie") {
    const struct {
        const char* reason;
        std::uint64_t input;
        std::uint64_t output;
        HvStatus expected;
    } rows[] = {
        {"aligned", in, out, HvStatus::success},
        {"input not aligned", in + 4, out, HvStatus::invalid_alignment},
        {"output not aligned", in, out + 1, HvStatus::invalid_alignment},
        {"input up to the page's end", in + 4096 - 24, out, HvStatus::success},
        {"input over the page's end", in + 4096 - 16, out, HvStatus::invalid_alignment},
        {"output up to the page's end", in, out + 4096 - 32, HvStatus::success},
        {"output over the page's end", in, out + 4096 - 24, HvStatus::invalid_alignment},
        {"input where no memory is", 0x200'0000, out, HvStatus::invalid_alignment},
        {"output where no memory is", in, 0x200'0000, HvStatus::invalid_alignment},
        {"input beyond all addresses", ~7ull, out, HvStatus::invalid_alignment},
        {"output beyond all addresses", in, 1ull << 63, HvStatus::invalid_alignment},
        {"output to a page that the guest can't write", in, 0x8000, HvStatus::invalid_alignment},
        {"input from such a page: read as it is", 0x8000, out, HvStatus::invalid_partition_id},
    };
    for (const auto& row : rows) {
        CAPTURE(row.reason);
        SyntheticMachine m;
        m.write(msr::guest_os_id, 1);
        m.write(msr::hypercall, 0x8001);
        const HvInputVpRegisters header{hv_partition_id_self, hv_vp_index_self, 0, {}};
        if ((row.input & 4095) + 24 <= 4096 && row.input < 0x100'000 && row.input != 0x8000) {
            m.store(row.input, header);
            m.store<std::uint32_t>(row.input + 16, static_cast<std::uint32_t>(HvRegister::x64_rax));
            m.store<std::uint32_t>(row.input + 20, static_cast<std::uint32_t>(HvRegister::x64_rip));
        }
        m.host.vp(m.id, 0).registers[HvRegister::x64_rip] = {0x1234, 0};
        const GuestResult result = call(m, {code_of(HvCall::get_vp_registers) | reps(2), row.input, row.output});
        CHECK(result.status == row.expected);
        if (row.expected == HvStatus::success) {
            CHECK(result.done == 2);
            CHECK(m.load<std::uint64_t>(row.output + 16) == 0x1234);
        }
    }
}

TEST_CASE("fast calls in 64-bit code: RDX, R8, then XMM0 to XMM5") {
    SyntheticMachine m;
    cpu::GuestContext& guest = m.port.guest;
    // Eight bytes.
    CHECK(call(m, {code_of(HvCall::notify_long_spin_wait) | fast_call, 4096}) == ok);
    CHECK(m.port.yields == 1);
    // Sixteen.
    CHECK(call(m, {code_of(HvCall::send_synthetic_cluster_ipi) | fast_call, 0xfd, 0b101}) == ok);
    CHECK(m.port.ipis == Ipis{{0b101, 0xfd}});
    // A fixed part in RDX, R8 and XMM0, a bank in XMM0's other half.
    guest.set_xmm(0, {1, 0b110});
    CHECK(call(m, {code_of(HvCall::send_synthetic_cluster_ipi_ex) | fast_call | variable_header(1), 0xfc, 0}) == ok);
    CHECK(m.port.ipis.back() == std::pair<VpMask, std::uint8_t>{0b110, 0xfc});
    // A list: 24 bytes and eleven elements fill all 112 bytes, one more does not fit.
    CHECK(call(m, {code_of(HvCall::flush_virtual_address_list) | fast_call | reps(11), 0, 3}) ==
          GuestResult{HvStatus::success, 11});
    CHECK(call(m, {code_of(HvCall::flush_virtual_address_list) | fast_call | reps(12), 0, 3}).status ==
          HvStatus::invalid_hypercall_input);
    CHECK(m.port.flushes.size() == 1);
}

TEST_CASE("fast output begins in the first sixteen bytes without input") {
    SyntheticMachine m;
    cpu::GuestContext& guest = m.port.guest;
    for (unsigned n = 0; n < 6; ++n) guest.set_xmm(n, {0xaaaa + n, 0xbbbb + n});
    // No input at all: the output is in RDX.
    CHECK(call(m, {code_of(HvCall::ext_query_capabilities) | fast_call, 0x77, 0x88}) == ok);
    CHECK(guest.gpr(Gpr::rdx) == 0);
    CHECK(guest.xmm(0) == std::array<std::uint64_t, 2>{0xaaaa, 0xbbbb});
    // Twenty-four bytes of input: the two values are in XMM1 and XMM2.
    m.host.vp(m.id, 0).registers[HvRegister::x64_rax] = {0x1111, 0x2222};
    m.host.vp(m.id, 0).registers[HvRegister::x64_rip] = {0x3333, 0x4444};
    guest.set_xmm(0, {0x0002'0010'0002'0000, 0});  // RAX, RIP
    CHECK(call(m, {code_of(HvCall::get_vp_registers) | fast_call | reps(2), hv_partition_id_self, hv_vp_index_self}) ==
          GuestResult{HvStatus::success, 2});
    CHECK(guest.xmm(1) == std::array<std::uint64_t, 2>{0x1111, 0x2222});
    CHECK(guest.xmm(2) == std::array<std::uint64_t, 2>{0x3333, 0x4444});
    CHECK(guest.xmm(3) == std::array<std::uint64_t, 2>{0xaaad, 0xbbbe});
    // Five values have no room: 36 bytes of input take three slots, four are left.
    CHECK(call(m, {code_of(HvCall::get_vp_registers) | fast_call | reps(5), hv_partition_id_self, hv_vp_index_self})
              .status == HvStatus::invalid_hypercall_input);
    // Output in registers needs its privilege.
    SyntheticMachine without(all_synthetic_privileges & ~privilege::fast_hypercall_output);
    CHECK(call(without, {code_of(HvCall::ext_query_capabilities) | fast_call}).status ==
          HvStatus::invalid_hypercall_input);
}

TEST_CASE("32-bit code: EDX:EAX, EBX:ECX, EDI:ESI") {
    SyntheticMachine m;
    m.set_code(false);
    cpu::GuestContext& guest = m.port.guest;
    constexpr std::uint64_t junk = 0xdead'beef'0000'0000;  // upper halves don't count
    guest.set_gpr(Gpr::rdx, junk);
    guest.set_gpr(Gpr::rax, junk | code_of(HvCall::send_synthetic_cluster_ipi) | fast_call);
    guest.set_gpr(Gpr::rbx, junk);
    guest.set_gpr(Gpr::rcx, junk | 0xee);
    guest.set_gpr(Gpr::rdi, junk);
    guest.set_gpr(Gpr::rsi, junk | 0b11);
    CHECK(m.processor.hypercall());
    CHECK(m.port.ipis == Ipis{{0b11, 0xee}});
    CHECK(guest.gpr(Gpr::rax) == 0);
    CHECK(guest.gpr(Gpr::rdx) == 0);
    // A list from memory, which says how far it came in EDX.
    put(m, in, {0, 3, 0, 0x1000, 0x2000});
    guest.set_gpr(Gpr::rdx, 2);
    guest.set_gpr(Gpr::rax, code_of(HvCall::flush_virtual_address_list));
    guest.set_gpr(Gpr::rbx, 0);
    guest.set_gpr(Gpr::rcx, in);
    CHECK(m.processor.hypercall());
    CHECK(guest.gpr(Gpr::rax) == 0);
    CHECK(guest.gpr(Gpr::rdx) == 2);
}

TEST_CASE("nothing but the result register changes") {
    SyntheticMachine m;
    cpu::GuestContext& guest = m.port.guest;
    for (unsigned n = 0; n < 16; ++n) guest.set_gpr(static_cast<Gpr>(n), 0x1000 + n);
    guest.set_rip(0x8000);
    put(m, in, {0, 3, 0});
    CHECK(call(m, {code_of(HvCall::flush_virtual_address_space), in}) == ok);
    for (const Gpr r : {Gpr::rbx, Gpr::rsp, Gpr::rbp, Gpr::rsi, Gpr::rdi, Gpr::r9, Gpr::r10, Gpr::r11, Gpr::r12,
                        Gpr::r13, Gpr::r14, Gpr::r15}) {
        CHECK(guest.gpr(r) == 0x1000 + static_cast<unsigned>(r));
    }
    CHECK(guest.gpr(Gpr::rcx) == code_of(HvCall::flush_virtual_address_space));
    CHECK(guest.gpr(Gpr::rdx) == in);
    CHECK(guest.rip() == 0x8000);
}

TEST_CASE("a long list is left and entered again at the instruction") {
    SyntheticMachine m;
    put(m, in, {0, 3, 0});
    unsigned entries = 0;
    const std::uint64_t control = code_of(HvCall::flush_virtual_address_list) | reps(200);
    CHECK(call(m, {control, in}, &entries) == GuestResult{HvStatus::success, 200});
    CHECK(entries == 4);
    CHECK(m.port.charged == 200);
    // Between entries the control word says where the next begins; the result is not written.
    m.port.guest.set_gpr(Gpr::rcx, control);
    m.port.guest.set_gpr(Gpr::rdx, in);
    m.port.guest.set_gpr(Gpr::rax, 0x5555);
    CHECK_FALSE(m.processor.hypercall());
    CHECK(m.port.guest.gpr(Gpr::rcx) == (control | 64ull << 48));
    CHECK(m.port.guest.gpr(Gpr::rax) == 0x5555);
}

TEST_CASE("a list that fails says how many elements were done") {
    SyntheticMachine m;
    m.store(in, HvInputVpRegisters{hv_partition_id_self, hv_vp_index_self, 0, {}});
    put(m, in + 16, {0x0002'0001'0002'0000, 0x0002'0002'0000'dead});  // RAX, RCX, unknown, RDX
    m.host.vp(m.id, 0).registers[static_cast<HvRegister>(0x20001)] = {0xcc, 0};
    const GuestResult result = call(m, {code_of(HvCall::get_vp_registers) | reps(4), in, out});
    CHECK(result.status == HvStatus::unknown_register_name);
    CHECK(result.done == 2);
    CHECK(m.load<std::uint64_t>(out + 16) == 0xcc);
}

}  // namespace child_conventions_test
