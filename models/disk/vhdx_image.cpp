#include "models/disk/vhdx_image.h"

#include <algorithm>
#include <cstring>

#include "models/disk/image_structure.h"

namespace models::vhdx {
namespace {

constexpr std::size_t most_clean_pages = 2048;  // 8 MiB of tables and bitmaps

bool reads_as_zeros(BlockState state) {
    return state == BlockState::zero || state == BlockState::undefined || state == BlockState::unmapped;
}

bool bit(std::span<const std::byte> bits, std::uint64_t index) {
    return (bits[index / 8] >> (index % 8) & std::byte{1}) != std::byte{0};
}

// Differs from every identifier that the file had before, as they all went into it.
sim::Random guids_after(const Header& header) {
    const auto words = structure_at<std::array<std::uint64_t, 2>>(bytes_of(header.file_write_guid));
    const auto more = structure_at<std::array<std::uint64_t, 2>>(bytes_of(header.data_write_guid));
    return sim::Random{words[0] ^ words[1] ^ more[0] ^ more[1] ^ header.sequence_number, "vhdx session"};
}

}  // namespace

VhdxImage::VhdxImage(std::unique_ptr<ByteFile> file, Access access, Headers headers, Layout layout, SpaceMap space,
                     std::unique_ptr<DiskImage> parent)
    : DiskImage(layout.disk, access),
      file_(std::move(file)),
      headers_(std::move(headers)),
      layout_(std::move(layout)),
      space_(std::move(space)),
      parent_(std::move(parent)),
      pages_(*file_, log_sector_bytes, most_clean_pages),
      guids_(guids_after(headers_.get())) {}

ImageKind VhdxImage::kind() const {
    if (layout_.differencing()) return ImageKind::differencing;
    return (layout_.flags & leave_blocks_allocated) != 0 ? ImageKind::fixed : ImageKind::dynamic;
}

VhdxImage::Segment VhdxImage::segment_at(std::uint64_t offset, std::uint64_t most) const {
    const std::uint64_t within = offset % layout_.block_bytes;
    return {offset / layout_.block_bytes, within, std::min(most, layout_.block_bytes - within)};
}

IoStatus VhdxImage::read_entry(std::uint64_t at, BatEntry& entry) {
    std::array<std::byte, sizeof(BatEntry)> bytes{};
    if (const auto status = pages_.read(at, bytes); status != IoStatus::ok) return status;
    entry = structure_at<BatEntry>(bytes);
    return IoStatus::ok;
}

IoStatus VhdxImage::write_entry(std::uint64_t at, BatEntry entry) {
    return pages_.write(at, bytes_of(entry));
}

// --- Reading.

IoStatus VhdxImage::do_read(std::uint64_t offset, std::span<std::byte> out) {
    while (!out.empty()) {
        const Segment segment = segment_at(offset, out.size());
        const auto status = read_segment(segment, out.first(segment.length));
        if (status != IoStatus::ok) return status;
        out = out.subspan(segment.length);
        offset += segment.length;
    }
    return IoStatus::ok;
}

IoStatus VhdxImage::read_segment(const Segment& segment, std::span<std::byte> out) {
    BatEntry entry;
    if (const auto status = read_entry(layout_.payload_entry(segment.block), entry); status != IoStatus::ok) {
        return status;
    }
    switch (entry.state()) {
        case BlockState::fully_present:
            return file_->read(entry.file_offset() + segment.offset, out);
        case BlockState::partially_present:
            return read_partial(segment, entry, out);
        case BlockState::not_present:
            if (layout_.differencing()) return read_parent(segment.block * layout_.block_bytes + segment.offset, out);
            [[fallthrough]];
        default:
            std::memset(out.data(), 0, out.size());
            return IoStatus::ok;
    }
}

// Runs of sectors that lie here or in the parent.
IoStatus VhdxImage::read_partial(const Segment& segment, BatEntry entry, std::span<std::byte> out) {
    const std::uint32_t sector = layout_.disk.logical_sector_bytes;
    std::uint64_t bitmap = 0;
    if (const auto status = find_bitmap(segment.block, bitmap); status != IoStatus::ok) return status;
    const std::uint64_t first = segment.offset / sector, last = first + segment.length / sector;
    std::vector<std::byte> bits(divide_up(last, 8) - first / 8);
    if (const auto status = pages_.read(bitmap + first / 8, bits); status != IoStatus::ok) return status;
    const auto is_here = [&](std::uint64_t at) { return bit(bits, at - first / 8 * 8); };
    for (std::uint64_t at = first; at < last;) {
        std::uint64_t end = at + 1;
        while (end < last && is_here(end) == is_here(at)) ++end;
        const auto part = out.subspan((at - first) * sector, (end - at) * sector);
        const auto status = is_here(at) ? file_->read(entry.file_offset() + at * sector, part)
                                        : read_parent(segment.block * layout_.block_bytes + at * sector, part);
        if (status != IoStatus::ok) return status;
        at = end;
    }
    return IoStatus::ok;
}

// A parent may be smaller; past its end there are zeros.
IoStatus VhdxImage::read_parent(std::uint64_t offset, std::span<std::byte> out) {
    const std::uint64_t end = parent_->size_bytes();
    const auto inside = static_cast<std::size_t>(offset < end ? std::min<std::uint64_t>(out.size(), end - offset) : 0);
    std::memset(out.data() + inside, 0, out.size() - inside);
    return parent_->read(inside == 0 ? 0 : offset, out.first(inside));
}

// --- Writing.

IoStatus VhdxImage::do_write(std::uint64_t offset, std::span<const std::byte> data) {
    if (const auto status = begin_change(); status != IoStatus::ok) return status;
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

IoStatus VhdxImage::write_segment(const Segment& segment, std::span<const std::byte> data) {
    BatEntry entry;
    auto status = read_entry(layout_.payload_entry(segment.block), entry);
    if (status != IoStatus::ok) return status;
    switch (entry.state()) {
        case BlockState::fully_present:
            return file_->write(entry.file_offset() + segment.offset, data);
        case BlockState::partially_present: {
            const std::uint32_t sector = layout_.disk.logical_sector_bytes;
            std::uint64_t bitmap = 0;
            status = find_bitmap(segment.block, bitmap);
            if (status == IoStatus::ok) status = file_->write(entry.file_offset() + segment.offset, data);
            if (status != IoStatus::ok) return status;
            return set_bits(bitmap, segment.offset / sector, segment.length / sector);
        }
        default:
            return write_new_block(segment, entry, data);
    }
}

IoStatus VhdxImage::write_new_block(const Segment& segment, BatEntry former, std::span<const std::byte> data) {
    const bool partial =
        layout_.differencing() && former.state() == BlockState::not_present && segment.length < layout_.block_bytes;
    const std::uint32_t sector = layout_.disk.logical_sector_bytes;
    std::uint64_t bitmap = 0, block = 0;
    auto status = partial ? make_bitmap(segment.block, bitmap) : IoStatus::ok;
    if (status == IoStatus::ok) {
        status = allocate(layout_.block_bytes, partial ? Content::any : Content::zeros, block);
    }
    if (status == IoStatus::ok) status = file_->write(block + segment.offset, data);
    if (status == IoStatus::ok && partial) {
        // Bits of a block that was not partially present mean nothing: they may be left over.
        status = pages_.fill(bitmap, layout_.bitmap_bytes_per_block(), std::byte{0});
        if (status == IoStatus::ok) status = set_bits(bitmap, segment.offset / sector, segment.length / sector);
    }
    if (status != IoStatus::ok) return status;
    // Those two may keep a place; what else a table tells of blocks without content is reserved, and may be anybody's.
    if (former.state() == BlockState::undefined || former.state() == BlockState::unmapped) free_later(former);
    const auto state = partial ? BlockState::partially_present : BlockState::fully_present;
    return write_entry(layout_.payload_entry(segment.block), bat_entry(state, block));
}

IoStatus VhdxImage::find_bitmap(std::uint64_t block, std::uint64_t& file_offset) {
    BatEntry entry;
    const auto status = read_entry(layout_.bitmap_entry(block / layout_.chunk_ratio), entry);
    if (status != IoStatus::ok) return status;
    if (entry.state() != BlockState::fully_present) return IoStatus::damaged;
    file_offset = entry.file_offset() + block % layout_.chunk_ratio * layout_.bitmap_bytes_per_block();
    return IoStatus::ok;
}

IoStatus VhdxImage::make_bitmap(std::uint64_t block, std::uint64_t& file_offset) {
    const std::uint64_t at = layout_.bitmap_entry(block / layout_.chunk_ratio);
    BatEntry entry;
    auto status = read_entry(at, entry);
    if (status != IoStatus::ok) return status;
    if (entry.state() != BlockState::fully_present) {
        std::uint64_t place = 0;
        status = allocate(sector_bitmap_block_bytes, Content::zeros, place);
        if (status == IoStatus::ok) status = write_entry(at, bat_entry(BlockState::fully_present, place));
        if (status != IoStatus::ok) return status;
    }
    return find_bitmap(block, file_offset);
}

IoStatus VhdxImage::set_bits(std::uint64_t bitmap_offset, std::uint64_t first, std::uint64_t count) {
    const std::uint64_t last = first + count;
    std::vector<std::byte> bits(divide_up(last, 8) - first / 8), former(bits.size());
    if (const auto status = pages_.read(bitmap_offset + first / 8, former); status != IoStatus::ok) return status;
    bits = former;
    for (std::uint64_t at = first; at < last; ++at) {
        bits[at / 8 - first / 8] |= std::byte{1} << static_cast<int>(at % 8);
    }
    return bits == former ? IoStatus::ok : pages_.write(bitmap_offset + first / 8, bits);
}

IoStatus VhdxImage::allocate(std::uint64_t bytes, Content content, std::uint64_t& file_offset) {
    const std::uint64_t former_size = file_->size();
    file_offset = space_.find_free(bytes / mib).value_or(std::max(space_.units(), former_size / mib)) * mib;
    const std::uint64_t end = file_offset + bytes;
    if (end > most_file_bytes) return IoStatus::no_space;
    if (end > former_size) {
        if (const auto status = file_->resize(end); status != IoStatus::ok) return status;
    }
    if (content == Content::zeros && file_offset < former_size) {
        const auto status = file_->zero(file_offset, std::min(end, former_size) - file_offset);
        if (status != IoStatus::ok) return status;
    }
    return space_.take(file_offset / mib, bytes / mib) ? IoStatus::ok : IoStatus::damaged;
}

void VhdxImage::free_later(BatEntry entry) {
    if (entry.file_offset() != 0) freed_.emplace_back(entry.file_offset() / mib, layout_.block_bytes / mib);
}

// --- Unmapping.

IoStatus VhdxImage::do_unmap(std::uint64_t offset, std::uint64_t length) {
    if (const auto status = begin_change(); status != IoStatus::ok) return status;
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

IoStatus VhdxImage::unmap_segment(const Segment& segment) {
    const std::uint64_t at = layout_.payload_entry(segment.block);
    BatEntry entry;
    if (const auto status = read_entry(at, entry); status != IoStatus::ok) return status;
    const bool from_parent = layout_.differencing() && entry.state() == BlockState::not_present;
    if (reads_as_zeros(entry.state()) || (entry.state() == BlockState::not_present && !from_parent)) {
        return IoStatus::ok;
    }
    const std::uint64_t block_end =
        std::min<std::uint64_t>(layout_.block_bytes, layout_.disk.size_bytes - segment.block * layout_.block_bytes);
    if (segment.offset != 0 || segment.length != block_end || kind() == ImageKind::fixed) return zero_segment(segment);
    if (!from_parent) free_later(entry);
    return write_entry(at, bat_entry(BlockState::zero, 0));
}

IoStatus VhdxImage::zero_segment(const Segment& segment) {
    BatEntry entry;
    if (const auto status = read_entry(layout_.payload_entry(segment.block), entry); status != IoStatus::ok) {
        return status;
    }
    if (entry.state() == BlockState::fully_present) {
        return file_->zero(entry.file_offset() + segment.offset, segment.length);
    }
    static constexpr std::array<std::byte, 64 << 10> zeros{};
    for (Segment part = segment; part.offset < segment.offset + segment.length; part.offset += part.length) {
        part.length = std::min<std::uint64_t>(zeros.size(), segment.offset + segment.length - part.offset);
        auto status = make_room();
        if (status == IoStatus::ok) status = write_segment(part, std::span{zeros}.first(part.length));
        if (status != IoStatus::ok) return status;
    }
    return IoStatus::ok;
}

}  // namespace models::vhdx
