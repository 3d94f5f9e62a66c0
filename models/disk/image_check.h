// Checks the structures of an image file from outside, like `qemu-img check`: identifier, headers and footers with
// their checksums, log, regions, metadata, every table entry. Changes nothing; parents are not looked at.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "models/disk/disk_image.h"

namespace models {

struct ImageFinding {
    enum class Kind : std::uint8_t {
        error,        // data is lost or may be
        recoverable,  // what a power cut leaves behind; opening for writing mends it
    };
    Kind kind = Kind::error;
    std::string text;
};

struct ImageCheck {
    ImageFormat format = ImageFormat::raw;
    std::vector<ImageFinding> findings;  // the first hundred
    std::uint64_t errors = 0;
    std::uint64_t recoverable = 0;
    std::uint64_t allocated_blocks = 0;
    std::uint64_t unused_bytes = 0;  // in the file, and in no structure: harmless

    bool sound() const { return errors == 0; }
    bool pristine() const { return errors == 0 && recoverable == 0; }
    // All findings, a line each.
    std::string text() const;
};

ImageCheck check_image(const ByteFile& file, ImageFormat format = ImageFormat::detect);

}  // namespace models
