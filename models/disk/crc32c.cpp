#include "models/disk/crc32c.h"

#include <array>
#include <cstring>

namespace models {
namespace {

// tables[k][b]: what byte b contributes when k more bytes follow it (slicing by eight).
constexpr auto make_tables() {
    std::array<std::array<std::uint32_t, 256>, 8> tables{};
    for (std::uint32_t b = 0; b < 256; ++b) {
        std::uint32_t crc = b;
        for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0x82f63b78u : 0u);
        tables[0][b] = crc;
    }
    for (std::size_t k = 1; k < 8; ++k) {
        for (std::size_t b = 0; b < 256; ++b) {
            const std::uint32_t former = tables[k - 1][b];
            tables[k][b] = (former >> 8) ^ tables[0][former & 0xff];
        }
    }
    return tables;
}
constexpr auto tables = make_tables();

std::uint32_t by_tables(std::span<const std::byte> data, std::uint32_t crc) {
    while (data.size() >= 8) {
        std::uint64_t word = 0;
        std::memcpy(&word, data.data(), 8);
        word ^= crc;
        crc = 0;
        for (unsigned i = 0; i < 8; ++i) crc ^= tables[7 - i][(word >> (8 * i)) & 0xff];
        data = data.subspan(8);
    }
    for (const std::byte byte : data) {
        crc = (crc >> 8) ^ tables[0][(crc ^ static_cast<std::uint32_t>(byte)) & 0xff];
    }
    return crc;
}

#if defined(__x86_64__)
// The instruction of SSE 4.2, which is of this polynomial.
__attribute__((target("sse4.2"))) std::uint32_t by_instruction(std::span<const std::byte> data, std::uint32_t crc) {
    std::uint64_t wide = crc;
    while (data.size() >= 8) {
        std::uint64_t word = 0;
        std::memcpy(&word, data.data(), 8);
        wide = __builtin_ia32_crc32di(wide, word);
        data = data.subspan(8);
    }
    return by_tables(data, static_cast<std::uint32_t>(wide));
}
bool has_instruction() {
    static const bool has = __builtin_cpu_supports("sse4.2") != 0;
    return has;
}
#else
std::uint32_t by_instruction(std::span<const std::byte> data, std::uint32_t crc) {
    return by_tables(data, crc);
}
bool has_instruction() {
    return false;
}
#endif

}  // namespace

std::uint32_t crc32c(std::span<const std::byte> data, std::uint32_t former) {
    return ~(has_instruction() ? by_instruction(data, ~former) : by_tables(data, ~former));
}

}  // namespace models
