// Raw images: the file is the disk.
#pragma once

#include <memory>

#include "models/disk/disk_image.h"

namespace models {

std::unique_ptr<DiskImage> open_raw_image(std::unique_ptr<ByteFile> file, Access access);

}  // namespace models
