#include "models/disk/vhd_image.h"

#include <algorithm>
#include <cstring>

#include "models/disk/image_structure.h"

namespace models::vhd {
namespace {

constexpr std::size_t most_clean_pages = 16 << 10, most_dirty_pages = 4 << 10;  // of 512 bytes

bool bit(std::span<const std::byte> bits, std::uint64_t index) {
    return (bits[index / 8] & std::byte{0x80} >> static_cast<int>(index % 8)) != std::byte{0};
}

}  // namespace

SparseImage::SparseImage(std::unique_ptr<ByteFile> file, Access access, Layout layout, TableSummary table,
                         std::unique_ptr<DiskImage> parent)
    : DiskImage({layout.disk_bytes, sector_bytes, sector_bytes}, access),
      file_(std::move(file)),
      layout_(std::move(layout)),
      parent_(std::move(parent)),
      pages_(*file_, sector_bytes, most_clean_pages),
      data_end_(table.data_end),
      free_(std::move(table.free)) {
    std::reverse(free_.begin(), free_.end());  // taken from the back: the lowest first
}

SparseImage::Segment SparseImage::segment_at(std::uint64_t offset, std::uint64_t most) const {
    const std::uint64_t within = offset % layout_.block_bytes;
    return {offset / layout_.block_bytes, within, std::min(most, layout_.block_bytes - within)};
}

IoStatus SparseImage::read_entry(std::uint64_t block, std::uint32_t& sector) {
    std::array<std::byte, 4> bytes{};
    if (const auto status = pages_.read(layout_.entry_offset(block), bytes); status != IoStatus::ok) return status;
    sector = structure_at<BigU32>(bytes);
    return IoStatus::ok;
}

IoStatus SparseImage::write_entry(std::uint64_t block, std::uint32_t sector) {
    return pages_.write(layout_.entry_offset(block), bytes_of(BigU32{sector}));
}

// --- Reading.

IoStatus SparseImage::do_read(std::uint64_t offset, std::span<std::byte> out) {
    while (!out.empty()) {
        const Segment segment = segment_at(offset, out.size());
        const auto status = read_segment(segment, out.first(segment.length));
        if (status != IoStatus::ok) return status;
        out = out.subspan(segment.length);
        offset += segment.length;
    }
    return IoStatus::ok;
}

// Runs of sectors that lie here or elsewhere.
IoStatus SparseImage::read_segment(const Segment& segment, std::span<std::byte> out) {
    const std::uint64_t disk_offset = segment.block * layout_.block_bytes;
    std::uint32_t sector = no_block;
    if (const auto status = read_entry(segment.block, sector); status != IoStatus::ok) return status;
    if (sector == no_block) return read_elsewhere(disk_offset + segment.offset, out);
    const std::uint64_t bitmap = std::uint64_t{sector} * sector_bytes, data = bitmap + layout_.bitmap_bytes;
    const std::uint64_t first = segment.offset / sector_bytes, last = first + segment.length / sector_bytes;
    std::vector<std::byte> bits(divide_up(last, 8) - first / 8);
    if (const auto status = pages_.read(bitmap + first / 8, bits); status != IoStatus::ok) return status;
    const auto is_here = [&](std::uint64_t at) { return bit(bits, at - first / 8 * 8); };
    for (std::uint64_t at = first; at < last;) {
        std::uint64_t end = at + 1;
        while (end < last && is_here(end) == is_here(at)) ++end;
        const auto part = out.subspan((at - first) * sector_bytes, (end - at) * sector_bytes);
        const auto status = is_here(at) ? file_->read(data + at * sector_bytes, part)
                                        : read_elsewhere(disk_offset + at * sector_bytes, part);
        if (status != IoStatus::ok) return status;
        at = end;
    }
    return IoStatus::ok;
}

// From the parent, which may be smaller; past its end and without one there are zeros.
IoStatus SparseImage::read_elsewhere(std::uint64_t offset, std::span<std::byte> out) {
    const std::uint64_t end = parent_ == nullptr ? 0 : parent_->size_bytes();
    const auto inside = static_cast<std::size_t>(offset < end ? std::min<std::uint64_t>(out.size(), end - offset) : 0);
    std::memset(out.data() + inside, 0, out.size() - inside);
    return inside == 0 ? IoStatus::ok : parent_->read(offset, out.first(inside));
}

// --- Writing.

IoStatus SparseImage::do_write(std::uint64_t offset, std::span<const std::byte> data) {
    while (!data.empty()) {
        const Segment segment = segment_at(offset, data.size());
        auto status = make_room();
        if (status == IoStatus::ok) status = write_segment(segment, data.first(segment.length));
        if (status != IoStatus::ok) return status;
        data = data.subspan(segment.length);
        offset += segment.length;
    }
    return IoStatus::ok;
}

IoStatus SparseImage::write_segment(const Segment& segment, std::span<const std::byte> data) {
    std::uint32_t sector = no_block;
    auto status = read_entry(segment.block, sector);
    const bool is_new = status == IoStatus::ok && sector == no_block;
    if (is_new) status = new_block(sector);
    if (status != IoStatus::ok) return status;
    const std::uint64_t bitmap = std::uint64_t{sector} * sector_bytes;
    status = file_->write(bitmap + layout_.bitmap_bytes + segment.offset, data);
    if (status == IoStatus::ok) {
        status = set_bits(bitmap, segment.offset / sector_bytes, segment.length / sector_bytes);
    }
    if (status == IoStatus::ok && is_new) status = write_entry(segment.block, sector);
    return status;
}

// Makes a block that nothing points to yet, of zeros in a dynamic image, of the parent's sectors in a differencing one.
IoStatus SparseImage::new_block(std::uint32_t& sector) {
    const bool reused = !free_.empty();
    const std::uint64_t place = reused ? free_.back() : data_end_, end = place + layout_.stride();
    if (place / sector_bytes >= no_block) return IoStatus::no_space;
    if (end > layout_.footer_offset) {
        // The footer first: if the file can grow by that much, the rest has room.
        const auto status = file_->write(end, bytes_of(layout_.footer));
        if (status != IoStatus::ok) return status;
    }
    // What was there may be the former footer or the content of a block that is no more.
    const std::uint64_t former_end = std::min(end, layout_.footer_offset + sizeof(Footer));
    auto status = place < former_end ? file_->zero(place, former_end - place) : IoStatus::ok;
    layout_.footer_offset = std::max(layout_.footer_offset, end);
    const std::byte bits{static_cast<std::uint8_t>(layout_.differencing() ? 0 : 0xff)};
    // At once, and not only with the table: other readers (qemu) do not look at the bitmap of a dynamic image, and must
    // not find other content than we do.
    const std::vector<std::byte> bitmap(layout_.bitmap_bytes, bits);
    if (status == IoStatus::ok) status = file_->write(place, bitmap);
    if (status == IoStatus::ok) status = pages_.fill(place, bitmap.size(), bits);
    if (status != IoStatus::ok) return status;
    if (reused) {
        free_.pop_back();
    } else {
        data_end_ = end;
    }
    sector = static_cast<std::uint32_t>(place / sector_bytes);
    return IoStatus::ok;
}

IoStatus SparseImage::set_bits(std::uint64_t bitmap_offset, std::uint64_t first, std::uint64_t count) {
    const std::uint64_t last = first + count;
    std::vector<std::byte> bits(divide_up(last, 8) - first / 8), former(bits.size());
    if (const auto status = pages_.read(bitmap_offset + first / 8, former); status != IoStatus::ok) return status;
    bits = former;
    for (std::uint64_t at = first; at < last; ++at) {
        bits[at / 8 - first / 8] |= std::byte{0x80} >> static_cast<int>(at % 8);
    }
    return bits == former ? IoStatus::ok : pages_.write(bitmap_offset + first / 8, bits);
}

// --- Unmapping.

IoStatus SparseImage::do_unmap(std::uint64_t offset, std::uint64_t length) {
    while (length > 0) {
        const Segment segment = segment_at(offset, length);
        auto status = make_room();
        if (status == IoStatus::ok) status = unmap_segment(segment);
        if (status != IoStatus::ok) return status;
        length -= segment.length;
        offset += segment.length;
    }
    return IoStatus::ok;
}

IoStatus SparseImage::unmap_segment(const Segment& segment) {
    if (layout_.differencing()) {  // a table entry cannot say that a block is zeros and not the parent's
        static constexpr std::array<std::byte, 64 << 10> zeros{};
        for (Segment part = segment; part.offset < segment.offset + segment.length; part.offset += part.length) {
            part.length = std::min<std::uint64_t>(zeros.size(), segment.offset + segment.length - part.offset);
            const auto status = write_segment(part, std::span{zeros}.first(part.length));
            if (status != IoStatus::ok) return status;
        }
        return IoStatus::ok;
    }
    std::uint32_t sector = no_block;
    if (const auto status = read_entry(segment.block, sector); status != IoStatus::ok) return status;
    if (sector == no_block) return IoStatus::ok;
    const std::uint64_t place = std::uint64_t{sector} * sector_bytes;
    const std::uint64_t block_end =
        std::min<std::uint64_t>(layout_.block_bytes, layout_.disk_bytes - segment.block * layout_.block_bytes);
    if (segment.offset != 0 || segment.length != block_end) {
        return file_->zero(place + layout_.bitmap_bytes + segment.offset, segment.length);
    }
    freed_.push_back(place);
    return write_entry(segment.block, no_block);
}

// --- Flushing.

// What the file holds after a failed flush is unknown, so nothing may build on it.
IoStatus SparseImage::fail(IoStatus status) {
    if (status != IoStatus::ok && failure_ == IoStatus::ok) failure_ = status;
    return status;
}

IoStatus SparseImage::make_room() {
    if (failure_ != IoStatus::ok) return failure_;
    return pages_.dirty().size() > most_dirty_pages ? do_flush() : IoStatus::ok;
}

IoStatus SparseImage::do_flush() {
    if (failure_ != IoStatus::ok) return failure_;
    auto status = file_->flush();
    if (status != IoStatus::ok || pages_.dirty().empty()) return fail(status);
    for (const auto& [offset, page] : pages_.dirty()) {
        status = file_->write(offset, page);
        if (status != IoStatus::ok) return fail(status);
    }
    status = file_->flush();
    if (status != IoStatus::ok) return fail(status);
    pages_.mark_written();
    free_.insert(free_.end(), freed_.begin(), freed_.end());
    freed_.clear();
    return IoStatus::ok;
}

}  // namespace models::vhd
