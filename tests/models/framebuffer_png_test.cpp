// A guest's picture as a PNG: what a reader gets back, pixel for pixel, and the same bytes each time.
#include "models/framebuffer_png.h"

#include <doctest/doctest.h>
#include <png.h>

#include "sim/check.h"

namespace framebuffer_png_test {

namespace {

vmbus::Picture read_back(const std::vector<std::byte>& file) {
    png_image image{};
    image.version = PNG_IMAGE_VERSION;
    REQUIRE(png_image_begin_read_from_memory(&image, file.data(), file.size()) != 0);
    CHECK(image.format == PNG_FORMAT_RGB);
    vmbus::Picture picture{image.width, image.height, std::vector<std::uint8_t>(PNG_IMAGE_SIZE(image))};
    REQUIRE(png_image_finish_read(&image, nullptr, picture.rgb.data(), 0, nullptr) != 0);
    return picture;
}

vmbus::Picture stripes(std::uint32_t width, std::uint32_t height) {
    vmbus::Picture picture{width, height, {}};
    for (std::uint32_t n = 0; n < 3 * width * height; ++n) picture.rgb.push_back(static_cast<std::uint8_t>(n * 7 >> 2));
    return picture;
}

}  // namespace

TEST_CASE("a picture comes back as it was, in the same bytes each time") {
    for (const auto& picture :
         {stripes(1, 1), stripes(3, 2), stripes(640, 400), vmbus::Picture{2, 1, {0, 1, 2, 253, 254, 255}}}) {
        const auto file = models::png_of(picture);
        CHECK(read_back(file) == picture);
        CHECK(models::png_of(picture) == file);
    }
}

TEST_CASE("signature and header of the file") {
    const auto file = models::png_of(stripes(640, 400));
    const std::vector<int> expected{0x89, 'P', 'N', 'G', 13,   10, 26, 10, 0,    0, 0, 13, 'I', 'H', 'D',
                                    'R',  0,   0,   2,   0x80, 0,  0,  1,  0x90, 8, 2, 0,  0,   0};
    for (std::size_t n = 0; n < expected.size(); ++n) CHECK(std::to_integer<int>(file[n]) == expected[n]);
}

TEST_CASE("no picture is the user's mistake") {
    CHECK_THROWS_AS(models::png_of({0, 0, {}}), sim::UserError);
    CHECK_THROWS_AS(models::png_of({5, 0, {}}), sim::UserError);
}

}  // namespace framebuffer_png_test
