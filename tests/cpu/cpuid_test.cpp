// CPUID: what is promised is executed (tried on the engine, one instruction a feature), and the fixed leaves.
#include "cpu/cpuid.h"

#include <doctest/doctest.h>
#include <unicorn/unicorn.h>

#include <array>
#include <cstring>
#include <string>
#include <vector>

#include "cpu/msr_table.h"
#include "sim/archive.h"

namespace cpuid_test {

using namespace cpu;

namespace {

enum class Word { leaf1_ecx, leaf1_edx, leaf7_ebx, extended_ecx, extended_edx };

std::uint32_t word(const CpuidTable& table, Word w) {
    switch (w) {
        case Word::leaf1_ecx:
            return table.look_up(1, 0, 0).ecx;
        case Word::leaf1_edx:
            return table.look_up(1, 0, 0).edx;
        case Word::leaf7_ebx:
            return table.look_up(7, 0, 0).ebx;
        case Word::extended_ecx:
            return table.look_up(0x8000'0001, 0, 0).ecx;
        case Word::extended_edx:
            return table.look_up(0x8000'0001, 0, 0).edx;
    }
    return 0;
}

// RAX = 1, RBX = 0x5000 (16-byte aligned memory) before each.
struct Feature {
    const char* name;
    Word word;
    unsigned bit;
    std::vector<std::uint8_t> code;
    std::int64_t rax = -1;  // expected after, where an older processor would execute the bytes as something else
};

const Feature features[] = {
    {"CMOV", Word::leaf1_edx, 15, {0x48, 0x0f, 0x44, 0xc3}},
    {"CX8", Word::leaf1_edx, 8, {0x0f, 0xc7, 0x0b}},
    {"CLFLUSH", Word::leaf1_edx, 19, {0x0f, 0xae, 0x3b}},
    {"MMX", Word::leaf1_edx, 23, {0x0f, 0xfc, 0xc1}},
    {"FXSR", Word::leaf1_edx, 24, {0x0f, 0xae, 0x03}},
    {"SSE", Word::leaf1_edx, 25, {0x0f, 0x58, 0xc1}},
    {"SSE2", Word::leaf1_edx, 26, {0x66, 0x0f, 0x58, 0xc1}},
    {"SSE3", Word::leaf1_ecx, 0, {0xf2, 0x0f, 0xd0, 0xc1}},
    {"PCLMULQDQ", Word::leaf1_ecx, 1, {0x66, 0x0f, 0x3a, 0x44, 0xc1, 0x00}},
    {"SSSE3", Word::leaf1_ecx, 9, {0x66, 0x0f, 0x38, 0x00, 0xc1}},
    {"CMPXCHG16B", Word::leaf1_ecx, 13, {0x48, 0x0f, 0xc7, 0x0b}},
    {"SSE4.1", Word::leaf1_ecx, 19, {0x66, 0x0f, 0x38, 0x40, 0xc1}},
    {"SSE4.2", Word::leaf1_ecx, 20, {0xf2, 0x48, 0x0f, 0x38, 0xf1, 0xc0}},
    {"POPCNT", Word::leaf1_ecx, 23, {0xf3, 0x48, 0x0f, 0xb8, 0xc3}, 2},
    {"AES", Word::leaf1_ecx, 25, {0x66, 0x0f, 0x38, 0xdc, 0xc1}},
    {"FSGSBASE", Word::leaf7_ebx, 0, {0xf3, 0x48, 0x0f, 0xae, 0xc0}, 0},
    {"BMI1 ANDN", Word::leaf7_ebx, 3, {0xc4, 0xe2, 0xf8, 0xf2, 0xc3}, 0x5000},
    {"BMI1 TZCNT", Word::leaf7_ebx, 3, {0xf3, 0x48, 0x0f, 0xbc, 0xc1}, 64},
    {"SMAP", Word::leaf7_ebx, 20, {0x0f, 0x01, 0xca}},
    {"CLFLUSHOPT", Word::leaf7_ebx, 23, {0x66, 0x0f, 0xae, 0x3b}},
    {"LAHF", Word::extended_ecx, 0, {0x9f}},
    {"LZCNT", Word::extended_ecx, 5, {0xf3, 0x48, 0x0f, 0xbd, 0xc0}, 63},
    {"SSE4A", Word::extended_ecx, 6, {0x66, 0x0f, 0x79, 0xc1}},
    {"PREFETCHW", Word::extended_ecx, 8, {0x0f, 0x0d, 0x0b}},
    {"MMXEXT", Word::extended_edx, 22, {0x0f, 0xe0, 0xc1}},
};

constexpr std::uint64_t osfxsr = 1u << 9;

std::string executes(const std::vector<std::uint8_t>& code, std::uint64_t& rax, std::uint64_t simd = osfxsr) {
    // One for the life of the process: uc_close() leaks.
    static uc_engine* uc = nullptr;
    if (uc == nullptr) {
        REQUIRE(uc_open(UC_ARCH_X86, UC_MODE_64, &uc) == UC_ERR_OK);
        REQUIRE(uc_ctl_set_cpu_model(uc, UC_CPU_X86_EPYC) == UC_ERR_OK);
        REQUIRE(uc_mem_map(uc, 0, 0x10'0000, UC_PROT_ALL) == UC_ERR_OK);
    }
    static std::uint64_t at = 0x1'0000;
    at += 0x100;
    std::uint64_t rbx = 0x5000;
    std::uint64_t zero = 0;
    const std::uint64_t pattern = 0x0102'0304'0506'0708;
    const std::uint64_t cr4 = simd | 1u << 10 | 1u << 16 | 1u << 21;  // OSXMMEXCPT FSGSBASE SMAP
    rax = 1;
    uc_mem_write(uc, rbx, &pattern, sizeof pattern);
    uc_mem_write(uc, at, code.data(), code.size());
    uc_reg_write(uc, UC_X86_REG_CR4, &cr4);
    uc_reg_write(uc, UC_X86_REG_RAX, &rax);
    uc_reg_write(uc, UC_X86_REG_RBX, &rbx);
    uc_reg_write(uc, UC_X86_REG_RCX, &zero);
    uc_reg_write(uc, UC_X86_REG_RFLAGS, &zero);
    const uc_err error = uc_emu_start(uc, at, at + code.size(), 0, 1);
    uc_reg_read(uc, UC_X86_REG_RAX, &rax);
    return error == UC_ERR_OK ? "" : uc_strerror(error);
}

}  // namespace

TEST_CASE("every instruction set that CPUID promises executes on the engine") {
    const CpuidTable table{{}, 4};
    for (const Feature& feature : features) {
        const std::string name = feature.name;
        CAPTURE(name);
        CHECK((word(table, feature.word) >> feature.bit & 1) == 1);
        std::uint64_t rax = 0;
        CHECK(executes(feature.code, rax) == "");
        if (feature.rax >= 0) CHECK(rax == static_cast<std::uint64_t>(feature.rax));
    }
}

TEST_CASE("what the engine lacks is not promised") {
    struct Row {
        const char* name;
        Word word;
        unsigned bit;
    };
    const CpuidTable table{{}, 4};
    for (const Row& row :
         {Row{"MONITOR", Word::leaf1_ecx, 3}, Row{"FMA", Word::leaf1_ecx, 12}, Row{"PCID", Word::leaf1_ecx, 17},
          Row{"MOVBE", Word::leaf1_ecx, 22}, Row{"XSAVE", Word::leaf1_ecx, 26}, Row{"OSXSAVE", Word::leaf1_ecx, 27},
          Row{"AVX", Word::leaf1_ecx, 28}, Row{"F16C", Word::leaf1_ecx, 29}, Row{"RDRAND", Word::leaf1_ecx, 30},
          Row{"MCE", Word::leaf1_edx, 7}, Row{"MCA", Word::leaf1_edx, 14}, Row{"AVX2", Word::leaf7_ebx, 5},
          Row{"INVPCID", Word::leaf7_ebx, 10}, Row{"BMI2", Word::leaf7_ebx, 8}, Row{"RDSEED", Word::leaf7_ebx, 18},
          Row{"ADX", Word::leaf7_ebx, 19}, Row{"SHA", Word::leaf7_ebx, 29}, Row{"SVM", Word::extended_ecx, 2},
          Row{"3DNow", Word::extended_edx, 31}}) {
        const std::string name = row.name;
        CAPTURE(name);
        CHECK((word(table, row.word) >> row.bit & 1) == 0);
    }
    std::uint64_t rax = 0;
    CHECK(executes({0xc5, 0xfc, 0x58, 0xc1}, rax) != "");  // vaddps ymm: the engine agrees
    // Of what works on general registers, the engine asks CR4.OSFXSR about that with a 66h; so of BMI1 about nothing.
    const std::vector<std::uint8_t> shlx{0xc4, 0xe2, 0xf1, 0xf7, 0xc3}, adcx{0x66, 0x48, 0x0f, 0x38, 0xf6, 0xc3};
    const std::vector<std::uint8_t> movbe{0x48, 0x0f, 0x38, 0xf0, 0x03}, movbe16{0x66, 0x0f, 0x38, 0xf0, 0x03};
    CHECK(executes(movbe, rax, 0) == "");
    for (const auto& code : {shlx, adcx, movbe16}) {
        CHECK(executes(code, rax) == "");
        CHECK(executes(code, rax, 0) != "");
    }
    const std::vector<std::uint8_t> andn{0xc4, 0xe2, 0xf8, 0xf2, 0xc3}, bextr{0xc4, 0xe2, 0xf0, 0xf7, 0xc3},
        blsr{0xc4, 0xe2, 0xf8, 0xf3, 0xcb}, tzcnt{0xf3, 0x48, 0x0f, 0xbc, 0xc1};
    for (const auto& code : {andn, bextr, blsr, tzcnt}) CHECK(executes(code, rax, 0) == "");
}

TEST_CASE("fixed leaves") {
    CpuidTable table{{"A processor of 48 characters, which is one too many", 0x0080'0f12, 46, true}, 4};
    CpuidResult r = table.look_up(0, 0, 0);
    CHECK(r.eax == 0xb);
    std::array<char, 12> vendor{};
    std::memcpy(vendor.data(), &r.ebx, 4);
    std::memcpy(vendor.data() + 4, &r.edx, 4);
    std::memcpy(vendor.data() + 8, &r.ecx, 4);
    CHECK(std::string(vendor.data(), 12) == "AuthenticAMD");
    r = table.look_up(1, 0, 3);
    CHECK(r.eax == 0x0080'0f12);
    CHECK(r.ebx == 0x0304'0800);
    CHECK((r.edx >> 28 & 1) == 1);
    CHECK((table.look_up(6, 0, 0).eax >> 2 & 1) == 1);  // ARAT: else Linux wants a PIT
    CHECK(table.look_up(7, 1, 0) == CpuidResult{});
    CHECK(table.look_up(0xb, 0, 2) == CpuidResult{0, 1, 0x100, 2});
    CHECK(table.look_up(0xb, 1, 2) == CpuidResult{2, 4, 0x201, 2});
    CHECK(table.look_up(0xb, 5, 2) == CpuidResult{0, 0, 5, 2});
    CHECK(table.look_up(0x8000'0008, 0, 0) == CpuidResult{46 | 48 << 8, 0, 2 << 12 | 3, 0});
    CHECK(table.look_up(0xd, 0, 0) == CpuidResult{});
    CHECK(table.look_up(0x9000'0000, 0, 0) == CpuidResult{});
    std::string brand;
    for (std::uint32_t leaf = 0x8000'0002; leaf <= 0x8000'0004; ++leaf) {
        r = table.look_up(leaf, 0, 0);
        for (const std::uint32_t part : {r.eax, r.ebx, r.ecx, r.edx}) {
            for (int i = 0; i < 4; ++i) brand += static_cast<char>(part >> 8 * i);
        }
    }
    CHECK(std::string(brand.c_str()) == "A processor of 48 characters, which is one too ");
    table.add({0x4000'0000, CpuidRow::any_subleaf, {1, 2, 3, 4}});
    CHECK(table.look_up(0x4000'0000, 9, 0) == CpuidResult{1, 2, 3, 4});
}

TEST_CASE("one processor is no multi-threading package") {
    const CpuidTable table{{}, 1};
    CHECK((table.look_up(1, 0, 0).edx >> 28 & 1) == 0);
    CHECK(table.look_up(0xb, 1, 0) == CpuidResult{0, 1, 0x201, 0});
    CHECK(table.look_up(0x8000'0008, 0, 0).ecx == 0);
}

TEST_CASE("more processors than eight bits count") {
    const CpuidTable table{{}, 300};
    CHECK(table.look_up(1, 0, 0x102).ebx == 0x02ff'0800);
    CHECK(table.look_up(0xb, 1, 0x102) == CpuidResult{9, 300, 0x201, 0x102});
    CHECK(table.look_up(0x8000'0008, 0, 0).ecx == (9u << 12 | 254));
}

TEST_CASE("plain MSRs: reset values, writable bits, unknown numbers") {
    MsrStorage storage;
    for (const MsrRow& row : msr_table()) {
        CAPTURE(row.number);
        CHECK(storage.read(row.number) == row.reset);
        CHECK(storage.write(row.number, row.writable) == (row.access == MsrAccess::read_write));
        CHECK(storage.read(row.number) == (row.access == MsrAccess::read_write ? row.writable : row.reset));
        for (const std::uint64_t bit : {1ull << 63, 1ull << 46, 1ull << 32, 1ull << 9}) {
            if ((row.writable & bit) == 0) CHECK_FALSE(storage.write(row.number, bit));
        }
    }
    for (const std::uint32_t number : {0u, 0x1234u, 0x17au, 0xc000'0080u, 0xffff'ffffu}) {
        CHECK_FALSE(storage.read(number).has_value());
        CHECK_FALSE(storage.write(number, 0));
    }
    MsrStorage copy;
    sim::restore_from_bytes(copy, sim::save_to_bytes(storage));
    CHECK(copy == storage);
    storage.reset();
    CHECK(storage == MsrStorage{});
    CHECK(storage.read(0x2ff) == 0xc06);
}

}  // namespace cpuid_test
