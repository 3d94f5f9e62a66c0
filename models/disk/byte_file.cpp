#include "models/disk/byte_file.h"

#include <algorithm>
#include <cstring>

namespace models {

IoStatus ByteFile::zero(std::uint64_t offset, std::uint64_t length) {
    if (!holds(offset, length)) return IoStatus::out_of_range;
    static constexpr std::array<std::byte, 64 << 10> zeros{};
    while (length > 0) {
        const auto part = std::min<std::uint64_t>(length, zeros.size());
        if (const auto status = write(offset, std::span{zeros}.first(part)); status != IoStatus::ok) return status;
        offset += part;
        length -= part;
    }
    return IoStatus::ok;
}

IoStatus MemoryFile::read(std::uint64_t offset, std::span<std::byte> out) const {
    if (!holds(offset, out.size())) return IoStatus::out_of_range;
    while (!out.empty()) {
        const std::uint64_t within = offset % chunk_bytes;
        const auto part = static_cast<std::size_t>(std::min<std::uint64_t>(out.size(), chunk_bytes - within));
        if (const auto found = chunks_.find(offset / chunk_bytes); found != chunks_.end()) {
            std::memcpy(out.data(), found->second->data() + within, part);
        } else {
            std::memset(out.data(), 0, part);
        }
        out = out.subspan(part);
        offset += part;
    }
    return IoStatus::ok;
}

IoStatus MemoryFile::write(std::uint64_t offset, std::span<const std::byte> data) {
    if (offset > most_bytes_ || data.size() > most_bytes_ - offset) return IoStatus::no_space;
    size_ = std::max(size_, offset + data.size());
    while (!data.empty()) {
        const std::uint64_t within = offset % chunk_bytes;
        const auto part = static_cast<std::size_t>(std::min<std::uint64_t>(data.size(), chunk_bytes - within));
        std::memcpy(own_chunk(offset / chunk_bytes).data() + within, data.data(), part);
        data = data.subspan(part);
        offset += part;
    }
    return IoStatus::ok;
}

IoStatus MemoryFile::resize(std::uint64_t bytes) {
    if (bytes > most_bytes_) return IoStatus::no_space;
    if (bytes < size_) clear(bytes, size_ - bytes);
    size_ = bytes;
    return IoStatus::ok;
}

IoStatus MemoryFile::zero(std::uint64_t offset, std::uint64_t length) {
    if (!holds(offset, length)) return IoStatus::out_of_range;
    clear(offset, length);
    return IoStatus::ok;
}

MemoryFile::Chunk& MemoryFile::own_chunk(std::uint64_t index) {
    auto& chunk = chunks_[index];
    if (chunk == nullptr) {
        chunk = std::make_shared<Chunk>();
    } else if (chunk.use_count() > 1) {
        chunk = std::make_shared<Chunk>(*chunk);
    }
    return *chunk;
}

void MemoryFile::clear(std::uint64_t offset, std::uint64_t length) {
    const std::uint64_t end = offset + length;
    auto at = chunks_.lower_bound(offset / chunk_bytes);
    while (at != chunks_.end() && at->first * chunk_bytes < end) {
        const std::uint64_t start = at->first * chunk_bytes;
        if (start >= offset && start + chunk_bytes <= end) {
            at = chunks_.erase(at);
            continue;
        }
        const std::uint64_t from = std::max(start, offset), to = std::min(start + chunk_bytes, end);
        std::memset(own_chunk(at->first).data() + (from - start), 0, to - from);
        ++at;
    }
}

}  // namespace models
