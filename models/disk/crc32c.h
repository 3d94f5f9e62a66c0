// CRC-32C (Castagnoli, polynomial 0x1EDC6F41), the checksum of VHDX.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace models {

// Continues from a former result; 0 to begin.
std::uint32_t crc32c(std::span<const std::byte> data, std::uint32_t former = 0);

}  // namespace models
