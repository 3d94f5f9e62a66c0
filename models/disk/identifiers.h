// Identifiers of files and disks.
#pragma once

#include <cstdint>
#include <string>

#include "sim/random.h"
#include "vmbus/guid.h"

namespace models {

using vmbus::Guid;
static_assert(sizeof(Guid) == 16);

// RFC 4122, 4.4: version 4 from a random stream.
constexpr Guid draw_guid(sim::Random& random) {
    Guid guid;
    for (unsigned half = 0; half < 2; ++half) {
        const std::uint64_t draw = random.next_u64();
        for (unsigned i = 0; i < 8; ++i) guid.bytes[8 * half + i] = static_cast<std::uint8_t>(draw >> (8 * i));
    }
    guid.bytes[7] = static_cast<std::uint8_t>(0x40 | (guid.bytes[7] & 0x0f));
    guid.bytes[8] = static_cast<std::uint8_t>(0x80 | (guid.bytes[8] & 0x3f));
    return guid;
}

// As parent locators hold it: {2dc27766-f623-4200-9d64-115e9bfd4a08}.
inline std::string braced(const Guid& guid) {
    return "{" + vmbus::to_text(guid) + "}";
}

}  // namespace models
