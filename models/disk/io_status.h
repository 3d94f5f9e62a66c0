// How a transfer to a file or a disk ended. Guests and hosts cause every one of these: they are no exceptions.
#pragma once

#include <cstdint>
#include <string_view>

namespace models {

enum class [[nodiscard]] IoStatus : std::uint8_t{
    ok,
    out_of_range,  // past the end of the file or the disk
    misaligned,    // not in whole sectors
    read_only,
    no_space,      // the host cannot hold more
    device_error,  // the host failed to read or write
    damaged,       // the image contradicts itself here
};

constexpr std::string_view name_of(IoStatus status) {
    constexpr std::string_view names[] = {"ok",       "out of range", "misaligned", "read only",
                                          "no space", "device error", "damaged"};
    return names[static_cast<std::size_t>(status)];
}

}  // namespace models
