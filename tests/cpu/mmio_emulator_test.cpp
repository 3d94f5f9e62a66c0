// The emulator of device accesses: arithmetic against the host's own instructions, whole instructions against Unicorn
// (which executes the same bytes on plain memory), faults and string instructions as tables.
#include "cpu/mmio_emulator.h"

#include <doctest/doctest.h>
#include <unicorn/unicorn.h>

#include <string>
#include <vector>

#include "cpu/arithmetic.h"
#include "tests/cpu/linear_memory_fake.h"

namespace mmio_emulator_test {

using namespace cpu;
using cpu::testing::FlatMemory;

namespace {

struct Draw {
    u64 seed = 0x9e37'79b9'7f4a'7c15;
    u64 operator()() {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        return seed * 0x2545'f491'4f6c'dd1dull;
    }
    // Values at the edges as often as others.
    u64 operand() {
        constexpr std::array<u64, 8> edges{0, 1, ~0ull, 0x80, 0x7fff, 0x8000'0000, 0x7fff'ffff'ffff'ffff, 1ull << 63};
        const u64 pick = (*this)();
        return (pick & 1) != 0 ? (*this)() : edges[pick >> 1 & 7];
    }
};

// A device that is one page of memory at linear page 5, guest-physical 0xfee00000, and keeps a log.
class PageDevice final : public DeviceAccess {
public:
    static constexpr u64 linear = 0x5000;
    static constexpr u64 gpa = 0xfee0'0000;
    struct Entry {
        bool write;
        u64 offset;
        unsigned size;
        u64 value;
        bool operator==(const Entry&) const = default;
    };
    std::vector<Entry> log;
    std::array<u8, 4096> data{};

    std::optional<u64> device_address(u64 at, bool, Privilege) override {
        if (at < linear || at >= linear + 0x1000) return std::nullopt;
        return gpa + (at - linear);
    }
    u64 read(u64 at, unsigned size) override {
        u64 value = 0;
        std::memcpy(&value, data.data() + (at - gpa), size);
        log.push_back({false, at - gpa, size, value});
        return value;
    }
    void write(u64 at, unsigned size, u64 value) override {
        std::memcpy(data.data() + (at - gpa), &value, size);
        log.push_back({true, at - gpa, size, value});
    }
};

struct Bench {
    FlatMemory memory;
    PageDevice device;
    MmioEmulator emulator;
    Registers r;

    Bench() {
        memory.pages[5] = FlatMemory::Page::nested;
        r.cr0 = cr0::pe | cr0::pg;
        r.efer = efer::lma | efer::lme;
        r[SegmentName::cs] = {8, 0xa9b, ~0u, 0};
        r[SegmentName::ss] = {0x10, 0xc93, ~0u, 0};
        r.rip = 0x1000;
        r[Gpr::rsp] = 0x9000;
        r[Gpr::rbx] = PageDevice::linear;
    }
    EmulationResult step(std::vector<u8> code) { return emulator.step(r, code, memory, device); }
};

using Log = std::vector<PageDevice::Entry>;

}  // namespace

#if defined(__x86_64__)
namespace {
template <class T>
struct Native {
    T value;
    u64 flags;
};
#define VG_NATIVE(name, text)                                       \
    template <class T>                                              \
    Native<T> native_##name(T a, T b, bool carry) {                 \
        u64 flags = 0;                                              \
        const u8 c = carry ? 1 : 0;                                 \
        asm volatile("btw $0, %w3\n\t" text "\n\tpushfq\n\tpopq %1" \
                     : "+r"(a), "=&r"(flags)                        \
                     : "r"(b), "r"(static_cast<u16>(c))             \
                     : "cc", "memory");                             \
        return {a, flags & rflags::status};                         \
    }
VG_NATIVE(add, "add %2, %0")
VG_NATIVE(adc, "adc %2, %0")
VG_NATIVE(sub, "sub %2, %0")
VG_NATIVE(sbb, "sbb %2, %0")
VG_NATIVE(logic, "and %2, %0")
VG_NATIVE(inc, "inc %0")
VG_NATIVE(dec, "dec %0")
#undef VG_NATIVE

template <class T>
void compare_arithmetic(Draw& draw) {
    constexpr unsigned n = sizeof(T);
    for (int i = 0; i < 20'000; ++i) {
        const T a = static_cast<T>(draw.operand());
        const T b = static_cast<T>(draw.operand());
        const bool c = (draw() & 1) != 0;
        const auto same = [](const AluResult& mine, const Native<T>& native, u64 ignored) {
            return mine.value == native.value && ((mine.flags ^ native.flags) & mine.affected & ~ignored) == 0;
        };
        REQUIRE(same(alu_add(a, b, false, n), native_add(a, b, c), 0));
        REQUIRE(same(alu_add(a, b, c, n), native_adc(a, b, c), 0));
        REQUIRE(same(alu_subtract(a, b, false, n), native_sub(a, b, c), 0));
        REQUIRE(same(alu_subtract(a, b, c, n), native_sbb(a, b, c), 0));
        REQUIRE(same(alu_logic(a & b, n), native_logic(a, b, c), rflags::af));
        REQUIRE(same(alu_increment(a, n), native_inc(a, b, c), 0));
        REQUIRE(same(alu_decrement(a, n), native_dec(a, b, c), 0));
    }
    CHECK(alu_increment(1, n).affected == (rflags::status & ~rflags::cf));
    CHECK(alu_add(1, 1, false, n).affected == rflags::status);
}
}  // namespace

TEST_CASE("arithmetic and flags are the host processor's") {
    Draw draw;
    compare_arithmetic<u8>(draw);
    compare_arithmetic<u16>(draw);
    compare_arithmetic<u32>(draw);
    compare_arithmetic<u64>(draw);
}
#endif

namespace {
// RBX points into the device, RCX is small, so that every access stays in the page. `undefined` are flags that the
// architecture leaves undefined.
struct Encoding {
    const char* text;
    std::vector<u8> code;
    u64 undefined = 0;
};
constexpr u64 af = rflags::af;
constexpr u64 bt_undefined = rflags::of | rflags::sf | rflags::af | rflags::pf;

const Encoding encodings[] = {
    {"mov eax, [rbx]", {0x8b, 0x03}},
    {"mov rax, [rbx+8]", {0x48, 0x8b, 0x43, 0x08}},
    {"mov ax, [rbx]", {0x66, 0x8b, 0x03}},
    {"mov al, [rbx]", {0x8a, 0x03}},
    {"mov ah, [rbx]", {0x8a, 0x23}},
    {"mov sil, [rbx]", {0x40, 0x8a, 0x33}},
    {"mov r9d, [rbx+rcx*4]", {0x44, 0x8b, 0x0c, 0x8b}},
    {"mov [rbx], eax", {0x89, 0x03}},
    {"mov [rbx], r10", {0x4c, 0x89, 0x13}},
    {"mov [rbx], dx", {0x66, 0x89, 0x13}},
    {"mov [rbx], dh", {0x88, 0x33}},
    {"mov dword [rbx], imm", {0xc7, 0x03, 0x78, 0x56, 0x34, 0x92}},
    {"mov qword [rbx], imm", {0x48, 0xc7, 0x03, 0x78, 0x56, 0x34, 0x92}},
    {"mov word [rbx], imm", {0x66, 0xc7, 0x03, 0x34, 0x92}},
    {"mov byte [rbx], imm", {0xc6, 0x03, 0x92}},
    {"mov eax, moffs", {0xa1, 0x00, 0x50, 0, 0, 0, 0, 0, 0}},
    {"mov moffs, al", {0xa2, 0x03, 0x50, 0, 0, 0, 0, 0, 0}},
    {"mov rax, moffs", {0x48, 0xa1, 0x10, 0x50, 0, 0, 0, 0, 0, 0}},
    {"movnti [rbx], eax", {0x0f, 0xc3, 0x03}},
    {"mov eax, [rip+x]", {0x8b, 0x05, 0xfa, 0x3f, 0, 0}},
    {"mov eax, [ebx+ecx]", {0x67, 0x8b, 0x04, 0x0b}},
    {"movzx eax, byte [rbx]", {0x0f, 0xb6, 0x03}},
    {"movzx rax, word [rbx]", {0x48, 0x0f, 0xb7, 0x03}},
    {"movzx ax, byte [rbx]", {0x66, 0x0f, 0xb6, 0x03}},
    {"movsx eax, byte [rbx]", {0x0f, 0xbe, 0x03}},
    {"movsx rax, word [rbx]", {0x48, 0x0f, 0xbf, 0x03}},
    {"movsx ax, byte [rbx]", {0x66, 0x0f, 0xbe, 0x03}},
    {"movsxd rax, [rbx]", {0x48, 0x63, 0x03}},
    {"add [rbx], eax", {0x01, 0x03}},
    {"add rax, [rbx]", {0x48, 0x03, 0x03}},
    {"add byte [rbx], imm", {0x80, 0x03, 0x80}},
    {"adc [rbx], eax", {0x11, 0x03}},
    {"adc ah, [rbx]", {0x12, 0x23}},
    {"sbb [rbx], dx", {0x66, 0x19, 0x13}},
    {"sbb qword [rbx], imm8", {0x48, 0x83, 0x1b, 0xff}},
    {"sub [rbx], r8", {0x4c, 0x29, 0x03}},
    {"sub dword [rbx], imm", {0x81, 0x2b, 1, 2, 3, 0x84}},
    {"and [rbx], eax", {0x21, 0x03}, af},
    {"and eax, [rbx]", {0x23, 0x03}, af},
    {"and dword [rbx], imm8", {0x83, 0x23, 0xf0}, af},
    {"or [rbx], al", {0x08, 0x03}, af},
    {"or qword [rbx], imm", {0x48, 0x81, 0x0b, 1, 2, 3, 0x84}, af},
    {"xor [rbx], eax", {0x31, 0x03}, af},
    {"xor word [rbx], imm", {0x66, 0x81, 0x33, 1, 0x82}, af},
    {"cmp [rbx], eax", {0x39, 0x03}},
    {"cmp rax, [rbx]", {0x48, 0x3b, 0x03}},
    {"cmp byte [rbx], imm", {0x80, 0x3b, 0x80}},
    {"test [rbx], eax", {0x85, 0x03}, af},
    {"test byte [rbx], imm", {0xf6, 0x03, 0x80}, af},
    {"test qword [rbx], imm", {0x48, 0xf7, 0x03, 0, 0, 0, 0x80}, af},
    {"inc dword [rbx]", {0xff, 0x03}},
    {"dec word [rbx]", {0x66, 0xff, 0x0b}},
    {"inc byte [rbx]", {0xfe, 0x03}},
    {"dec qword [rbx]", {0x48, 0xff, 0x0b}},
    {"not dword [rbx]", {0xf7, 0x13}},
    {"neg qword [rbx]", {0x48, 0xf7, 0x1b}},
    {"neg byte [rbx]", {0xf6, 0x1b}},
    {"xchg [rbx], eax", {0x87, 0x03}},
    {"xchg [rbx], ah", {0x86, 0x23}},
    {"lock xadd [rbx], eax", {0xf0, 0x0f, 0xc1, 0x03}},
    {"xadd [rbx], dl", {0x0f, 0xc0, 0x13}},
    {"lock cmpxchg [rbx], ecx", {0xf0, 0x0f, 0xb1, 0x0b}},
    {"cmpxchg [rbx], rdx", {0x48, 0x0f, 0xb1, 0x13}},
    {"cmpxchg [rbx], dl", {0x0f, 0xb0, 0x13}},
    {"bt dword [rbx], imm", {0x0f, 0xba, 0x23, 0x25}, bt_undefined},
    {"lock bts qword [rbx], imm", {0xf0, 0x48, 0x0f, 0xba, 0x2b, 0x3f}, bt_undefined},
    {"btr word [rbx], imm", {0x66, 0x0f, 0xba, 0x33, 0x07}, bt_undefined},
    {"btc dword [rbx], imm", {0x0f, 0xba, 0x3b, 0x1f}, bt_undefined},
    {"bts [rbx+0x400], rcx", {0x48, 0x0f, 0xab, 0x8b, 0, 4, 0, 0}, bt_undefined},
    {"btr [rbx+0x400], cx", {0x66, 0x0f, 0xb3, 0x8b, 0, 4, 0, 0}, bt_undefined},
    {"bt [rbx+0x400], ecx", {0x0f, 0xa3, 0x8b, 0, 4, 0, 0}, bt_undefined},
    {"push qword [rbx]", {0xff, 0x33}},
    {"push word [rbx]", {0x66, 0xff, 0x33}},
    {"pop qword [rbx]", {0x8f, 0x03}},
    {"pop word [rbx]", {0x66, 0x8f, 0x03}},
    {"lodsd", {0xad}},
    {"lodsb", {0xac}},
    {"stosq", {0x48, 0xab}},
    {"stosw", {0x66, 0xab}},
    {"movsd", {0xa5}},
    {"movsb", {0xa4}},
    {"cmpsd", {0xa7}},
    {"scasb", {0xae}},
    {"scasq", {0x48, 0xaf}},
};

constexpr std::array<int, 16> unicorn_gprs{UC_X86_REG_RAX, UC_X86_REG_RCX, UC_X86_REG_RDX, UC_X86_REG_RBX,
                                           UC_X86_REG_RSP, UC_X86_REG_RBP, UC_X86_REG_RSI, UC_X86_REG_RDI,
                                           UC_X86_REG_R8,  UC_X86_REG_R9,  UC_X86_REG_R10, UC_X86_REG_R11,
                                           UC_X86_REG_R12, UC_X86_REG_R13, UC_X86_REG_R14, UC_X86_REG_R15};
}  // namespace

TEST_CASE("whole instructions do to a device what Unicorn does to memory") {
    static uc_engine* uc = nullptr;  // for the life of the process: uc_close() leaks
    REQUIRE(uc_open(UC_ARCH_X86, UC_MODE_64, &uc) == UC_ERR_OK);
    REQUIRE(uc_mem_map(uc, 0, FlatMemory::size, UC_PROT_ALL) == UC_ERR_OK);
    Draw draw;
    Bench b;
    constexpr u64 code_at = 0x1000;
    for (const Encoding& encoding : encodings) {
        const std::string text = encoding.text;
        CAPTURE(text);
        for (int round = 0; round < 60; ++round) {
            for (u64& gpr : b.r.gpr) gpr = draw.operand();
            b.r[Gpr::rbx] = PageDevice::linear;
            if (text.find("rsp") == std::string::npos) b.r[Gpr::rsp] = 0x9000;
            if (text.find("ecx*") != std::string::npos || text.find("rcx*") != std::string::npos ||
                text.find("+ecx]") != std::string::npos) {
                b.r[Gpr::rcx] = draw() & 0x3f;
            }
            if (text.find("+0x400]") != std::string::npos) {
                b.r[Gpr::rcx] = (draw() & 0x1fff) - 0x1000;  // both ways from the middle
            }
            if (text.starts_with("cmpxchg") && (draw() & 1) != 0) b.r[Gpr::rax] = draw.operand();
            // One of the two places of MOVS and CMPS is the device; the others have only one.
            const bool both = text.starts_with("movs") || text.starts_with("cmps");
            const bool from_device = text.starts_with("lods") || (both && (draw() & 1) != 0);
            b.r[Gpr::rsi] = from_device ? PageDevice::linear + 0x80 : 0x6080;
            b.r[Gpr::rdi] = from_device ? 0x6080 : PageDevice::linear + 0x80;
            b.r.rflags = 2 | (draw() & (rflags::status | rflags::df));
            b.r.rip = 0x1000;
            for (u64 at = 0; at < 0x1000; at += 8) {
                const u64 value = at < 0x20 || (at >= 0x80 && at < 0x90) ? draw.operand() : draw();
                std::memcpy(b.device.data.data() + at, &value, 8);
            }
            if ((draw() & 3) == 0) std::memcpy(b.device.data.data(), &b.r[Gpr::rax], 8);  // equal, for CMPXCHG
            b.memory.put<u64>(0x6080, draw.operand());
            b.memory.put<u64>(0x9000, draw());

            REQUIRE(uc_mem_write(uc, 0, b.memory.bytes.data(), FlatMemory::size) == UC_ERR_OK);
            REQUIRE(uc_mem_write(uc, code_at, encoding.code.data(), encoding.code.size()) == UC_ERR_OK);
            REQUIRE(uc_mem_write(uc, PageDevice::linear, b.device.data.data(), 4096) == UC_ERR_OK);
            for (unsigned i = 0; i < 16; ++i) uc_reg_write(uc, unicorn_gprs[i], &b.r.gpr[i]);
            const u64 rax_before = b.r[Gpr::rax];
            u64 flags = b.r.rflags;
            uc_reg_write(uc, UC_X86_REG_RFLAGS, &flags);
            REQUIRE(uc_emu_start(uc, code_at, code_at + encoding.code.size(), 0, 1) == UC_ERR_OK);

            const auto result = b.step(encoding.code);
            REQUIRE(result.outcome == Emulation::done);
            REQUIRE_FALSE(result.repeats);
            REQUIRE(b.r.rip == 0x1000 + encoding.code.size());
            for (unsigned i = 0; i < 16; ++i) {
                CAPTURE(i);
                u64 expected = 0;
                uc_reg_read(uc, unicorn_gprs[i], &expected);
                // A CMPXCHG that succeeds does not touch the accumulator; Unicorn clears its upper half.
                const bool kept = i == 0 && text == "lock cmpxchg [rbx], ecx" && (b.r.rflags & rflags::zf) != 0;
                if (kept) expected = rax_before;
                REQUIRE(b.r.gpr[i] == expected);
            }
            uc_reg_read(uc, UC_X86_REG_RFLAGS, &flags);
            REQUIRE(((b.r.rflags ^ flags) & (rflags::status | rflags::df) & ~encoding.undefined) == 0);
            std::array<u8, 4096> expected{};
            uc_mem_read(uc, PageDevice::linear, expected.data(), 4096);
            REQUIRE(expected == b.device.data);
            std::array<u8, 0x100> around{};
            for (const u64 at : {u64{0x6000}, u64{0x8f80}}) {
                uc_mem_read(uc, at, around.data(), around.size());
                REQUIRE(std::memcmp(around.data(), b.memory.bytes.data() + at, around.size()) == 0);
            }
            REQUIRE_FALSE(b.device.log.empty());
            b.device.log.clear();
        }
    }
}

TEST_CASE("what reaches the device: one access of the operand's size") {
    Bench b;
    b.r[Gpr::rax] = 0x1122'3344'5566'7788;
    CHECK(b.step({0x89, 0x43, 0x10}).outcome == Emulation::done);  // mov [rbx+0x10], eax
    CHECK(b.step({0x8b, 0x4b, 0x10}).outcome == Emulation::done);  // mov ecx, [rbx+0x10]
    CHECK(b.device.log == Log{{true, 0x10, 4, 0x5566'7788}, {false, 0x10, 4, 0x5566'7788}});
    b.device.log.clear();
    CHECK(b.step({0xf0, 0x0f, 0xba, 0x6b, 0x10, 0x01}).outcome == Emulation::done);  // lock bts dword [rbx+0x10], 1
    CHECK(b.device.log == Log{{false, 0x10, 4, 0x5566'7788}, {true, 0x10, 4, 0x5566'778a}});
    b.device.log.clear();
    // CMPXCHG that fails writes back what it read.
    b.r[Gpr::rax] = 0;
    CHECK(b.step({0x0f, 0xb1, 0x4b, 0x10}).outcome == Emulation::done);
    CHECK(b.device.log == Log{{false, 0x10, 4, 0x5566'778a}, {true, 0x10, 4, 0x5566'778a}});
}

TEST_CASE("REP: one iteration at a time") {
    Bench b;
    b.r[Gpr::rdi] = PageDevice::linear + 8;
    b.r[Gpr::rcx] = 2;
    b.r[Gpr::rax] = 0xaabb'ccdd;
    auto result = b.step({0xf3, 0xab});
    CHECK(result.repeats);
    CHECK(b.r.rip == 0x1000);
    CHECK(b.r[Gpr::rcx] == 1);
    result = b.step({0xf3, 0xab});
    CHECK_FALSE(result.repeats);
    CHECK(b.r.rip == 0x1002);
    CHECK(b.r[Gpr::rdi] == PageDevice::linear + 16);
    CHECK(b.device.log == Log{{true, 8, 4, 0xaabb'ccdd}, {true, 12, 4, 0xaabb'ccdd}});
    SUBCASE("a count of zero does nothing") {
        b.device.log.clear();
        result = b.step({0xf3, 0xab});
        CHECK_FALSE(result.repeats);
        CHECK(b.r.rip == 0x1004);
        CHECK(b.device.log.empty());
    }
    SUBCASE("REPE CMPSB stops at a difference, REPNE SCASB at a match") {
        b.r[Gpr::rsi] = PageDevice::linear;
        b.r[Gpr::rdi] = 0x6000;
        b.r[Gpr::rcx] = 5;
        b.memory.put<u8>(0x6001, 1);
        CHECK(b.step({0xf3, 0xa6}).repeats);
        CHECK_FALSE(b.step({0xf3, 0xa6}).repeats);
        CHECK(b.r[Gpr::rcx] == 3);
        CHECK((b.r.rflags & rflags::cf) != 0);
        b.r[Gpr::rdi] = PageDevice::linear + 7;
        b.r[Gpr::rax] = 0xdd;
        CHECK(b.step({0xf2, 0xae}).repeats);
        CHECK_FALSE(b.step({0xf2, 0xae}).repeats);
        CHECK(b.r[Gpr::rcx] == 1);
    }
    SUBCASE("32-bit addresses count in ECX") {
        b.r[Gpr::rdi] = 0xffff'ffff'0000'5000;
        b.r[Gpr::rcx] = 0x7'0000'0002;
        CHECK(b.step({0xf3, 0x67, 0xaa}).repeats);
        CHECK(b.r[Gpr::rcx] == 1);
        CHECK(b.r[Gpr::rdi] == 0x5001);
    }
}

TEST_CASE("faults leave registers and device alone") {
    Bench b;
    b.r[Gpr::rsi] = PageDevice::linear;
    b.r[Gpr::rdi] = 0x7000;
    struct Row {
        const char* why;
        FlatMemory::Page page;
        std::vector<u8> code;
        Emulation outcome;
        u32 error_code;
    };
    const Row rows[] = {
        {"MOVS to an absent page reads no device", FlatMemory::Page::absent, {0xa5}, Emulation::exception, 2},
        {"MOVS to a read-only page", FlatMemory::Page::read_only, {0xa5}, Emulation::exception, 3},
        {"CMPS with an absent page", FlatMemory::Page::absent, {0xa7}, Emulation::exception, 0},
        {"SCAS where neither memory nor device is", FlatMemory::Page::nested, {0xae}, Emulation::nested_fault, 0},
    };
    for (const Row& row : rows) {
        const std::string why = row.why;
        CAPTURE(why);
        b.memory.pages[7] = row.page;
        const Registers before = b.r;
        const auto result = b.step(row.code);
        CHECK(result.outcome == row.outcome);
        CHECK(b.r == before);
        CHECK(b.device.log.empty());
        if (row.outcome != Emulation::exception) continue;
        CHECK(result.raised == page_fault_event(row.error_code, 0x7000));
    }
    b.r[Gpr::rsp] = 0x7008;
    b.memory.pages[7] = FlatMemory::Page::absent;
    CHECK(b.step({0xff, 0x33}).raised == page_fault_event(2, 0x7000));  // push [device]
    CHECK(b.device.log.empty());
    b.r[Gpr::rdi] = 0x8000'0000'0000;
    CHECK(b.step({0xaa}).raised == exception_event(13, 0));
    b.r[Gpr::rbp] = 0x8000'0000'0000;
    CHECK(b.step({0x8b, 0x45, 0x00}).raised == exception_event(12, 0));  // through RBP it is the stack's fault
}

TEST_CASE("an access across the device's edge is split into bytes") {
    Bench b;
    b.r[Gpr::rax] = 0x4433'2211;
    CHECK(b.step({0x89, 0x83, 0xfe, 0x0f, 0, 0}).outcome == Emulation::done);  // mov [rbx+0xffe], eax
    CHECK(b.device.log == Log{{true, 0xffe, 1, 0x11}, {true, 0xfff, 1, 0x22}});
    CHECK(b.memory.get<u16>(0x6000) == 0x4433);
}

TEST_CASE("16- and 32-bit code: addresses wrap and segments have bases") {
    Bench b;
    b.r.efer = 0;
    b.r[SegmentName::cs] = {8, 0xc9b, ~0u, 0};
    b.r[SegmentName::ds] = {0x10, 0xc93, ~0u, 0x4000};
    b.r[Gpr::rbx] = 0x1000;
    b.r[Gpr::rax] = 7;
    CHECK(b.step({0x89, 0x03}).outcome == Emulation::done);
    CHECK(b.device.log == Log{{true, 0, 4, 7}});
    b.device.log.clear();
    b.r.cr0 = 0;
    b.r[SegmentName::cs] = real_mode_segment(0, true);
    b.r[SegmentName::es] = real_mode_segment(0x400, false);
    b.r[Gpr::rdi] = 0xffff'1004;
    CHECK(b.step({0xab}).outcome == Emulation::done);  // stosw
    CHECK(b.device.log == Log{{true, 4, 2, 7}});
    CHECK(b.r[Gpr::rdi] == 0xffff'1006);
}

TEST_CASE("what is not emulated says so") {
    Bench b;
    const std::vector<std::vector<u8>> codes{
        {},           {0x0f},
        {0x0f, 0x0b}, {0xd1, 0x23},
        {0x8c, 0x1b}, {0x0f, 0x10, 0x03},
        {0xd9, 0x03}, {0xec},
        {0x6c},       {0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x8b, 0x03}};
    for (const auto& code : codes) {
        const Registers before = b.r;
        CHECK(b.step(code).outcome == Emulation::unhandled);
        CHECK(b.r == before);
    }
    CHECK(b.device.log.empty());
}

TEST_CASE("exit information of port I/O (APM volume 2, figure 15-2)") {
    struct Row {
        std::vector<u8> code;
        u64 info;
    };
    const InstructionDecoder decoder;
    Registers r = Bench{}.r;
    r[Gpr::rdx] = 0x3f8;
    for (const Row& row :
         {Row{{0xe5, 0x80}, 0x0080'0241}, Row{{0xee}, 0x03f8'0210}, Row{{0x66, 0xed}, 0x03f8'0221},
          Row{{0xf3, 0x6c}, 0x03f8'021d}, Row{{0x64, 0xf3, 0x6f}, 0x03f8'124c}, Row{{0x67, 0x6e}, 0x03f8'0d14}}) {
        const auto instruction = decoder.decode(row.code, CodeSize::bits64);
        REQUIRE(instruction.has_value());
        CHECK(io_exit_info(*instruction, r) == row.info);
    }
    CHECK_FALSE(io_exit_info(*decoder.decode(std::vector<u8>{0x90}, CodeSize::bits64), r).has_value());
}

}  // namespace mmio_emulator_test
