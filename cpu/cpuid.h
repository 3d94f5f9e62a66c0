// CPUID as a table. The processor promises what the engine executes and the models carry out, and nothing else: no AVX,
// no XSAVE, no RDRAND (its draws would have to be made deterministic by a promise about their order). The hypervisor
// adds its own leaves to the same table.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

namespace cpu {

struct CpuidResult {
    std::uint32_t eax = 0;
    std::uint32_t ebx = 0;
    std::uint32_t ecx = 0;
    std::uint32_t edx = 0;

    friend bool operator==(const CpuidResult&, const CpuidResult&) = default;
};

struct CpuidRow {
    std::uint32_t leaf = 0;
    std::uint32_t subleaf = any_subleaf;
    CpuidResult result;

    static constexpr std::uint32_t any_subleaf = ~0u;
};

struct CpuidProfile {
    std::string_view brand = "Verdigris virtual processor";
    std::uint32_t signature = 0x0080'0f12;  // family 17h, model 1, stepping 2: the engine executes as this one
    std::uint8_t phys_bits = 46;
    bool gib_pages = true;
};

class CpuidTable final {
public:
    // For a machine of `processors`, one core each in one package.
    CpuidTable(const CpuidProfile& profile, unsigned processors);

    void add(const CpuidRow& row) { rows_.push_back(row); }
    // What the processor with this APIC id answers. Leaves that don't exist answer zeros, as AMD processors do.
    CpuidResult look_up(std::uint32_t leaf, std::uint32_t subleaf, std::uint32_t apic_id) const;
    std::uint32_t signature() const { return signature_; }

private:
    std::vector<CpuidRow> rows_;
    std::uint32_t signature_;
};

// Feature bits by name, where other code asks for them.
namespace cpuid_bit {
inline constexpr std::uint32_t leaf1_ecx_x2apic = 1u << 21;
inline constexpr std::uint32_t leaf1_ecx_tsc_deadline = 1u << 24;
inline constexpr std::uint32_t leaf1_ecx_hypervisor = 1u << 31;
inline constexpr std::uint32_t leaf80000007_edx_invariant_tsc = 1u << 8;
}  // namespace cpuid_bit

}  // namespace cpu
