// The picture in a guest's memory.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "vmbus/ports.h"

namespace vmbus {

struct Framebuffer {
    std::uint64_t gpa = 0;  // of the upper left pixel
    std::uint32_t width = 0;
    std::uint32_t height = 0;
    std::uint32_t pitch = 0;  // bytes from one row to the next
    std::uint8_t depth = 32;  // 32: blue, green, red, unused; 16: 5 bits red, 6 green, 5 blue

    std::uint64_t bytes() const { return std::uint64_t{pitch} * height; }
    bool operator==(const Framebuffer&) const = default;
    template <class Archive>
    void fields(Archive& archive) {
        archive(gpa, width, height, pitch, depth);
    }
};

// Red, green and blue of every pixel, rows from the top.
struct Picture {
    std::uint32_t width = 0;
    std::uint32_t height = 0;
    std::vector<std::uint8_t> rgb;

    bool operator==(const Picture&) const = default;
};

// Nothing if not all of it is memory.
std::optional<Picture> read_picture(GuestMemory& memory, const Framebuffer& framebuffer);

}  // namespace vmbus
