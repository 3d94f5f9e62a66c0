#include "models/framebuffer_png.h"

#include <png.h>

#include <string>

#include "sim/check.h"

namespace models {

std::vector<std::byte> png_of(const vmbus::Picture& picture) {
    VG_CHECK(picture.rgb.size() == std::size_t{3} * picture.width * picture.height);
    png_image image{};
    image.version = PNG_IMAGE_VERSION;
    image.width = picture.width;
    image.height = picture.height;
    image.format = PNG_FORMAT_RGB;
    const auto write = [&](void* memory, png_alloc_size_t& size) {
        if (picture.rgb.empty() ||
            png_image_write_to_memory(&image, memory, &size, 0, picture.rgb.data(), 0, nullptr) == 0) {
            throw sim::UserError("PNG: a picture of " + std::to_string(picture.width) + "x" +
                                 std::to_string(picture.height) +
                                 " pixels cannot be written: " + (picture.rgb.empty() ? "it is empty" : image.message));
        }
    };
    png_alloc_size_t size = PNG_IMAGE_PNG_SIZE_MAX(image);
    std::vector<std::byte> file(size);
    write(file.data(), size);
    file.resize(size);
    return file;
}

}  // namespace models
