#include "cpu/cpuid.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <initializer_list>

namespace cpu {

namespace {

constexpr std::uint32_t bits(std::initializer_list<unsigned> numbers) {
    std::uint32_t value = 0;
    for (const unsigned n : numbers) value |= 1u << n;
    return value;
}

// "AuthenticAMD" in EBX, EDX, ECX.
constexpr CpuidResult vendor(std::uint32_t highest_leaf) {
    return {highest_leaf, 0x6874'7541, 0x444d'4163, 0x6974'6e65};
}

// FPU DE PSE TSC MSR PAE CX8 APIC SEP MTRR PGE CMOV PAT PSE36 CLFLUSH MMX FXSR SSE SSE2; not VME, MCE, MCA
constexpr std::uint32_t leaf1_edx = bits({0, 2, 3, 4, 5, 6, 8, 9, 11, 12, 13, 15, 16, 17, 19, 23, 24, 25, 26});
// SSE3 PCLMULQDQ SSSE3 CMPXCHG16B SSE4.1 SSE4.2 x2APIC POPCNT TSC-deadline AES hypervisor. Not MOVBE: of 16 bits it is
// what SHLX is below.
constexpr std::uint32_t leaf1_ecx = bits({0, 1, 9, 13, 19, 20, 21, 23, 24, 25, 31});
// FSGSBASE BMI1 SMEP SMAP CLFLUSHOPT. Not ERMS: the engine runs byte-wise string instructions byte by byte. Not BMI2 or
// ADX: it takes SHLX and ADCX for SSE, so #UD while CR4.OSFXSR is clear, as where Linux unpacks itself by Zstandard.
constexpr std::uint32_t leaf7_ebx = bits({0, 3, 7, 20, 23});
// LAHF, CR8 access, LZCNT, SSE4A, PREFETCHW
constexpr std::uint32_t extended_ecx = bits({0, 4, 5, 6, 8});
// The bits that repeat leaf 1, SYSCALL NX MMXEXT FFXSR 1 GiB pages RDTSCP LM
constexpr std::uint32_t extended_edx = (leaf1_edx & 0x0183'f3ff & ~bits({11})) | bits({11, 20, 22, 25, 26, 27, 29});
constexpr std::uint32_t gib_pages_bit = 1u << 26;

}  // namespace

CpuidTable::CpuidTable(const CpuidProfile& profile, unsigned processors) : signature_(profile.signature) {
    const auto any = CpuidRow::any_subleaf;
    const std::uint32_t hyperthreading = processors > 1 ? 1u << 28 : 0;
    const std::uint32_t count = std::min(processors, 255u);  // the fields below have eight bits; leaf 0xb has more
    const auto width = static_cast<std::uint32_t>(std::bit_width(processors - 1));
    std::uint32_t edx = extended_edx;
    if (!profile.gib_pages) edx &= ~gib_pages_bit;
    rows_ = {
        {0, any, vendor(0xb)},
        {1, any, {profile.signature, count << 16 | 8u << 8, leaf1_ecx, leaf1_edx | hyperthreading}},
        {6, any, {1u << 2, 0, 0, 0}},  // ARAT: the APIC timer runs in every sleep state
        {7, 0, {0, leaf7_ebx, 0, 0}},
        // Topology (Intel's leaf, which AMD has too): one thread a core, then the cores of the package.
        {0xb, 0, {0, 1, 0x100, 0}},
        {0xb, 1, {width, processors, 0x201, 0}},
        {0xb, any, {0, 0, 0, 0}},
        {0x8000'0000, any, vendor(0x8000'0021)},
        {0x8000'0001, any, {profile.signature, 0, extended_ecx, edx}},
        // L1: 32 KiB, 8-way, 64-byte lines, both; L2: 256 KiB, 8-way; L3: 20 MiB, 16-way (in 512 KiB)
        {0x8000'0005, any, {0xff40'ff40, 0xff40'ff40, 0x2008'0140, 0x2008'0140}},
        {0x8000'0006, any, {0, 0x6400'4200, 0x0100'6140, 40u << 18 | 8u << 12 | 1u << 8 | 64}},
        {0x8000'0007, any, {0, 0, 0, 0}},
        {0x8000'0008, any, {profile.phys_bits | 48u << 8, 0, width << 12 | (count - 1), 0}},
        // SRSO_NO: this processor does not speculate.
        {0x8000'0021, any, {1u << 29, 0, 0, 0}},
    };
    std::array<char, 48> brand{};
    std::memcpy(brand.data(), profile.brand.data(), std::min(profile.brand.size(), brand.size() - 1));
    for (std::uint32_t i = 0; i < 3; ++i) {
        CpuidResult part;
        std::memcpy(&part, brand.data() + std::size_t{16} * i, sizeof part);
        rows_.push_back({0x8000'0002 + i, any, part});
    }
}

CpuidResult CpuidTable::look_up(std::uint32_t leaf, std::uint32_t subleaf, std::uint32_t apic_id) const {
    for (const CpuidRow& row : rows_) {
        if (row.leaf != leaf || (row.subleaf != CpuidRow::any_subleaf && row.subleaf != subleaf)) continue;
        CpuidResult result = row.result;
        if (leaf == 1) result.ebx |= apic_id << 24;
        if (leaf == 0xb) {
            result.ecx |= subleaf & 0xff;
            result.edx = apic_id;
        }
        return result;
    }
    return {};
}

}  // namespace cpu
