#include "pci/config_space.h"

#include <algorithm>
#include <array>
#include <utility>

#include "sim/bits.h"
#include "sim/check.h"

namespace pci {

ConfigSpace::ConfigSpace(std::shared_ptr<const ConfigLayout> layout)
    : layout_(std::move(layout)), values_(layout_->size_bytes()) {
    reset(ResetKind::cold);
}

void ConfigSpace::reset(ResetKind kind) {
    for (unsigned i = 0; i < values_.size(); ++i) {
        const ConfigLayout::Byte& byte = layout_->byte(i);
        const std::uint8_t kept = kind == ResetKind::cold ? 0 : byte.sticky;
        values_[i] = static_cast<std::uint8_t>((values_[i] & kept) | (byte.reset & ~kept));
    }
}

std::uint32_t ConfigSpace::get(unsigned offset, unsigned size) const {
    VG_CHECK(size <= 4 && offset + size <= values_.size());
    std::uint32_t value = 0;
    for (unsigned i = 0; i < size; ++i) value |= std::uint32_t{values_[offset + i]} << 8 * i;
    return value;
}

void ConfigSpace::set(unsigned offset, unsigned size, std::uint32_t value) {
    VG_CHECK(size <= 4 && offset + size <= values_.size());
    for (unsigned i = 0; i < size; ++i) values_[offset + i] = static_cast<std::uint8_t>(value >> 8 * i);
}

void ConfigSpace::listen(std::uint16_t offset, unsigned width_bytes, ConfigListener& listener) {
    const Listening row{offset, static_cast<std::uint16_t>(offset + width_bytes), &listener};
    const auto place = std::find_if(listening_.begin(), listening_.end(),
                                    [&](const Listening& other) { return other.offset >= offset; });
    VG_CHECK(place == listening_.end() || place->offset >= row.end);
    VG_CHECK(place == listening_.begin() || std::prev(place)->end <= offset);
    listening_.insert(place, row);
}

std::uint32_t ConfigSpace::read(unsigned offset, unsigned size) {
    VG_CHECK(size == 1 || size == 2 || size == 4);
    const auto all_ones = static_cast<std::uint32_t>(sim::mask_of(8 * size - 1, 0));
    if (offset >= values_.size() || size > values_.size() - offset) return all_ones;
    std::uint32_t value = get(offset, size);
    for (const Listening& row : listening_) {
        if (!row.covers(offset, offset + size - 1)) continue;
        const std::uint32_t stored = get(row.offset, row.end - row.offset);
        const std::uint32_t seen = row.listener->config_read(row.offset, stored);
        if (seen == stored) continue;
        for (unsigned i = 0; i < size; ++i) {
            const unsigned at = offset + i;
            if (at < row.offset || at >= row.end) continue;
            value = static_cast<std::uint32_t>(
                sim::with_bits(value, 8 * i + 7, 8 * i, seen >> 8 * (at - row.offset) & 0xff));
        }
    }
    return value;
}

void ConfigSpace::write(unsigned offset, unsigned size, std::uint32_t value) {
    VG_CHECK(size == 1 || size == 2 || size == 4);
    if (offset >= values_.size() || size > values_.size() - offset) return;
    // At most four registers of a byte each lie under one access.
    struct Touched {
        const Listening* row;
        std::uint32_t before;
    };
    std::array<Touched, 4> touched{};
    std::size_t count = 0;
    for (const Listening& row : listening_) {
        if (row.covers(offset, offset + size - 1)) touched[count++] = {&row, get(row.offset, row.end - row.offset)};
    }
    for (unsigned i = 0; i < size; ++i) {
        const ConfigLayout::Byte& byte = layout_->byte(offset + i);
        const auto written = static_cast<std::uint8_t>(value >> 8 * i);
        std::uint8_t& stored = values_[offset + i];
        stored = static_cast<std::uint8_t>((stored & ~byte.writable) | (written & byte.writable));
        stored = static_cast<std::uint8_t>(stored & ~(written & byte.clear_on_one));
    }
    // Read first: what one listener does must not look like another's write.
    std::array<std::uint32_t, 4> after{};
    for (std::size_t n = 0; n < count; ++n) {
        after[n] = get(touched[n].row->offset, touched[n].row->end - touched[n].row->offset);
    }
    for (std::size_t n = 0; n < count; ++n) {
        touched[n].row->listener->config_written(touched[n].row->offset, touched[n].before, after[n]);
    }
}

}  // namespace pci
