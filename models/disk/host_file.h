// Files of the host. A file that one run writes is open to no other run.
#pragma once

#include <memory>
#include <string>

#include "models/disk/byte_file.h"

namespace models {

// Throws sim::UserError where the file is missing, no regular file, or in use by another run.
std::unique_ptr<ByteFile> open_host_file(const std::string& path, Access access);

// Throws sim::UserError where the file exists already: nothing is ever overwritten.
std::unique_ptr<ByteFile> create_host_file(const std::string& path);

}  // namespace models
