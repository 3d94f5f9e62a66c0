// A guest's picture as a PNG file. Equal pictures give equal bytes (with one version of libpng and zlib): no time, no
// text, fixed settings.
#pragma once

#include <cstddef>
#include <vector>

#include "vmbus/video/framebuffer.h"

namespace models {

// Throws sim::UserError for a picture without a pixel, or larger than a PNG can be.
std::vector<std::byte> png_of(const vmbus::Picture& picture);

}  // namespace models
