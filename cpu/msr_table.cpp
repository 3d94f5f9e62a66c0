#include "cpu/msr_table.h"

#include <algorithm>

namespace cpu {

namespace {

using enum MsrAccess;
constexpr std::uint64_t all = ~std::uint64_t{0};
constexpr std::uint64_t base_mask = 0x3fff'ffff'f000;  // 46 physical address bits
constexpr std::uint64_t mtrr_mask = base_mask | 1u << 11;

// Sorted by number. MTRRs are of the Intel SDM volume 3A, 11.11; the C001_xxxx registers of AMD's family 17h manual.
constexpr std::array<MsrRow, msr_rows> rows{{
    {0x08b, "PATCH_LEVEL", read_only, 0x0800'1250, 0},
    {0x0fe, "MTRRcap", read_only, 0x508, 0},  // eight variable ranges, fixed ranges, write-combining
    {0x179, "MCG_CAP", read_only, 0, 0},
    {0x200, "MTRRphysBase0", read_write, 0, base_mask | 0xff},
    {0x201, "MTRRphysMask0", read_write, 0, mtrr_mask},
    {0x202, "MTRRphysBase1", read_write, 0, base_mask | 0xff},
    {0x203, "MTRRphysMask1", read_write, 0, mtrr_mask},
    {0x204, "MTRRphysBase2", read_write, 0, base_mask | 0xff},
    {0x205, "MTRRphysMask2", read_write, 0, mtrr_mask},
    {0x206, "MTRRphysBase3", read_write, 0, base_mask | 0xff},
    {0x207, "MTRRphysMask3", read_write, 0, mtrr_mask},
    {0x208, "MTRRphysBase4", read_write, 0, base_mask | 0xff},
    {0x209, "MTRRphysMask4", read_write, 0, mtrr_mask},
    {0x20a, "MTRRphysBase5", read_write, 0, base_mask | 0xff},
    {0x20b, "MTRRphysMask5", read_write, 0, mtrr_mask},
    {0x20c, "MTRRphysBase6", read_write, 0, base_mask | 0xff},
    {0x20d, "MTRRphysMask6", read_write, 0, mtrr_mask},
    {0x20e, "MTRRphysBase7", read_write, 0, base_mask | 0xff},
    {0x20f, "MTRRphysMask7", read_write, 0, mtrr_mask},
    {0x250, "MTRRfix64K_00000", read_write, 0x0606'0606'0606'0606, all},
    {0x258, "MTRRfix16K_80000", read_write, 0x0606'0606'0606'0606, all},
    {0x259, "MTRRfix16K_A0000", read_write, 0, all},
    {0x268, "MTRRfix4K_C0000", read_write, 0x0606'0606'0606'0606, all},
    {0x269, "MTRRfix4K_C8000", read_write, 0x0606'0606'0606'0606, all},
    {0x26a, "MTRRfix4K_D0000", read_write, 0x0606'0606'0606'0606, all},
    {0x26b, "MTRRfix4K_D8000", read_write, 0x0606'0606'0606'0606, all},
    {0x26c, "MTRRfix4K_E0000", read_write, 0x0606'0606'0606'0606, all},
    {0x26d, "MTRRfix4K_E8000", read_write, 0x0606'0606'0606'0606, all},
    {0x26e, "MTRRfix4K_F0000", read_write, 0x0606'0606'0606'0606, all},
    {0x26f, "MTRRfix4K_F8000", read_write, 0x0606'0606'0606'0606, all},
    {0x2ff, "MTRRdefType", read_write, 0xc06, 0xcff},  // all of memory write-back, as loaders leave it
    {0xc001'0010, "SYSCFG", read_write, 0, 0x00fc'0000},
    {0xc001'0015, "HWCR", read_write, 0x0100'0010, 0xffff'ffff},
    {0xc001'1029, "DE_CFG", read_write, 0x2, 0xffff'ffff},  // bit 1: LFENCE serializes
}};
static_assert(std::is_sorted(rows.begin(), rows.end(),
                             [](const MsrRow& a, const MsrRow& b) { return a.number < b.number; }));

std::optional<std::size_t> find(std::uint32_t number) {
    const auto* at = std::lower_bound(rows.begin(), rows.end(), number,
                                      [](const MsrRow& row, std::uint32_t n) { return row.number < n; });
    if (at == rows.end() || at->number != number) return std::nullopt;
    return static_cast<std::size_t>(at - rows.begin());
}

}  // namespace

std::span<const MsrRow, msr_rows> msr_table() {
    return rows;
}

void MsrStorage::reset() {
    for (std::size_t i = 0; i < msr_rows; ++i) values_[i] = rows[i].reset;
}

std::optional<std::uint64_t> MsrStorage::read(std::uint32_t number) const {
    const auto i = find(number);
    if (!i) return std::nullopt;
    return values_[*i];
}

bool MsrStorage::write(std::uint32_t number, std::uint64_t value) {
    const auto i = find(number);
    if (!i || rows[*i].access == read_only || (value & ~rows[*i].writable) != 0) return false;
    values_[*i] = value;
    return true;
}

}  // namespace cpu
