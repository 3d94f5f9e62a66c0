#include "vmbus/video/framebuffer.h"

#include <cstddef>
#include <span>

namespace vmbus {

namespace {

// 5 or 6 bits to 8: the upper bits again below.
std::uint8_t widen(unsigned value, unsigned bits) {
    return static_cast<std::uint8_t>(value << (8 - bits) | value >> (2 * bits - 8));
}

}  // namespace

std::optional<Picture> read_picture(GuestMemory& memory, const Framebuffer& framebuffer) {
    const std::uint32_t pixel_bytes = framebuffer.depth / 8;
    if (pixel_bytes != 2 && pixel_bytes != 4) return std::nullopt;
    Picture picture{framebuffer.width, framebuffer.height, {}};
    picture.rgb.reserve(std::size_t{3} * framebuffer.width * framebuffer.height);
    std::vector<std::byte> row(std::size_t{pixel_bytes} * framebuffer.width);
    for (std::uint32_t y = 0; y < framebuffer.height; ++y) {
        if (!memory.read(framebuffer.gpa + std::uint64_t{framebuffer.pitch} * y, row)) return std::nullopt;
        for (std::size_t at = 0; at < row.size(); at += pixel_bytes) {
            const auto byte = [&](std::size_t n) { return std::to_integer<unsigned>(row[at + n]); };
            if (pixel_bytes == 4) {
                for (const std::size_t n : {2u, 1u, 0u}) picture.rgb.push_back(static_cast<std::uint8_t>(byte(n)));
            } else {
                const unsigned word = byte(0) | byte(1) << 8;
                picture.rgb.push_back(widen(word >> 11, 5));
                picture.rgb.push_back(widen(word >> 5 & 0x3f, 6));
                picture.rgb.push_back(widen(word & 0x1f, 5));
            }
        }
    }
    return picture;
}

}  // namespace vmbus
