#include "models/disk/overlay.h"

#include <algorithm>
#include <cstring>
#include <vector>

namespace models {

OverlayImage::OverlayImage(std::unique_ptr<DiskImage> image, std::uint64_t most_bytes)
    : DiskImage(image->geometry(), Access::read_write), image_(std::move(image)), most_bytes_(most_bytes) {}

IoStatus OverlayImage::do_read(std::uint64_t offset, std::span<std::byte> out) {
    return blocks_.read(offset, out, *this);
}

IoStatus OverlayImage::do_write(std::uint64_t offset, std::span<const std::byte> data) {
    const std::uint64_t held = blocks_.bytes_held(), more = blocks_.bytes_missing(offset, data.size());
    if (held > most_bytes_ || more > most_bytes_ - held) return IoStatus::no_space;
    return blocks_.write(offset, data, *this);
}

// Takes at most the two blocks at its ends, so the limit is let go.
IoStatus OverlayImage::do_unmap(std::uint64_t offset, std::uint64_t length) {
    return blocks_.zero(offset, length, *this);
}

// The last block may reach past the end of the disk.
IoStatus OverlayImage::read_beneath(std::uint64_t offset, std::span<std::byte> out) {
    const std::uint64_t end = image_->size_bytes();
    const auto inside = static_cast<std::size_t>(offset < end ? std::min<std::uint64_t>(out.size(), end - offset) : 0);
    std::memset(out.data() + inside, 0, out.size() - inside);
    return inside == 0 ? IoStatus::ok : image_->read(offset, out.first(inside));
}

IoStatus OverlayImage::export_to(DiskImage& target) {
    if (target.size_bytes() != size_bytes()) return IoStatus::out_of_range;
    std::vector<std::byte> part(std::min<std::uint64_t>(size_bytes(), 256 << 10));
    for (std::uint64_t offset = 0; offset < size_bytes(); offset += part.size()) {
        const auto data = std::span{part}.first(std::min<std::uint64_t>(part.size(), size_bytes() - offset));
        auto status = read(offset, data);
        if (status != IoStatus::ok) return status;
        const bool zeros = std::all_of(data.begin(), data.end(), [](std::byte b) { return b == std::byte{0}; });
        status = zeros ? target.unmap(offset, data.size()) : target.write(offset, data);
        if (status != IoStatus::ok) return status;
    }
    return target.flush();
}

void OverlayImage::save(sim::Writer& writer) const {
    writer(geometry().size_bytes, blocks_);
}

void OverlayImage::restore(sim::Reader& reader) {
    std::uint64_t size = 0;
    reader(size);
    if (size != size_bytes()) {
        throw sim::UserError("checkpoint: it was made with a disk image of another size; give the same image");
    }
    WrittenBlocks blocks;
    reader(blocks);
    if (!blocks.consistent(size)) throw sim::UserError("checkpoint: the disk's changes are damaged");
    blocks_ = std::move(blocks);
}

}  // namespace models
