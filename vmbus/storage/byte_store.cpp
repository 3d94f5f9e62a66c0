#include "vmbus/storage/byte_store.h"

#include <algorithm>

namespace vmbus {

BlockStatus MemoryStore::read(std::uint64_t offset, std::span<std::byte> out) {
    if (is_broken(offset, out.size())) return BlockStatus::medium_error;
    std::copy_n(bytes_.begin() + static_cast<std::ptrdiff_t>(offset), out.size(), out.begin());
    return BlockStatus::success;
}

BlockStatus MemoryStore::write(std::uint64_t offset, std::span<const std::byte> data) {
    if (geometry_.read_only) return BlockStatus::read_only;
    if (is_broken(offset, data.size())) return BlockStatus::medium_error;
    std::copy(data.begin(), data.end(), bytes_.begin() + static_cast<std::ptrdiff_t>(offset));
    return BlockStatus::success;
}

BlockStatus MemoryStore::unmap(std::uint64_t offset, std::uint64_t length) {
    if (geometry_.read_only) return BlockStatus::read_only;
    std::fill_n(bytes_.begin() + static_cast<std::ptrdiff_t>(offset), length, std::byte{});
    return BlockStatus::success;
}

void MemoryStore::resize(std::uint64_t size_bytes) {
    geometry_.size_bytes = size_bytes;
    bytes_.resize(size_bytes);
}

bool MemoryStore::is_broken(std::uint64_t offset, std::uint64_t length) const {
    const auto first = broken_.lower_bound(offset / geometry_.logical_sector_bytes);
    return first != broken_.end() && *first * geometry_.logical_sector_bytes < offset + length;
}

}  // namespace vmbus
