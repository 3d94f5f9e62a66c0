// Model-specific registers that are plain storage or fixed values, as a table: number, name, what a write may change,
// reset value. Registers with an effect (EFER, the APIC's, the TSC, those of the hypervisor) belong to their models.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace cpu {

enum class MsrAccess : std::uint8_t { read_only, read_write };

struct MsrRow {
    std::uint32_t number;
    std::string_view name;
    MsrAccess access;
    std::uint64_t reset;
    std::uint64_t writable;  // a write of any other bit set is #GP
};

inline constexpr std::size_t msr_rows = 34;
std::span<const MsrRow, msr_rows> msr_table();

// One processor's plain registers.
class MsrStorage final {
public:
    MsrStorage() { reset(); }
    void reset();

    // Nothing: no such register, which is #GP.
    std::optional<std::uint64_t> read(std::uint32_t number) const;
    // False: #GP.
    [[nodiscard]] bool write(std::uint32_t number, std::uint64_t value);

    template <class Archive>
    void fields(Archive& archive) {
        archive(values_);
    }
    friend bool operator==(const MsrStorage&, const MsrStorage&) = default;

private:
    std::array<std::uint64_t, msr_rows> values_{};
};

namespace msr_number {
inline constexpr std::uint32_t tsc = 0x10;
inline constexpr std::uint32_t apic_base = 0x1b;
inline constexpr std::uint32_t sysenter_cs = 0x174;
inline constexpr std::uint32_t sysenter_esp = 0x175;
inline constexpr std::uint32_t sysenter_eip = 0x176;
inline constexpr std::uint32_t pat = 0x277;
inline constexpr std::uint32_t tsc_deadline = 0x6e0;
inline constexpr std::uint32_t x2apic_first = 0x800;
inline constexpr std::uint32_t x2apic_last = 0x8ff;
inline constexpr std::uint32_t efer = 0xc000'0080;
inline constexpr std::uint32_t star = 0xc000'0081;
inline constexpr std::uint32_t lstar = 0xc000'0082;
inline constexpr std::uint32_t cstar = 0xc000'0083;
inline constexpr std::uint32_t sfmask = 0xc000'0084;
inline constexpr std::uint32_t fs_base = 0xc000'0100;
inline constexpr std::uint32_t gs_base = 0xc000'0101;
inline constexpr std::uint32_t kernel_gs_base = 0xc000'0102;
inline constexpr std::uint32_t tsc_aux = 0xc000'0103;
}  // namespace msr_number

}  // namespace cpu
