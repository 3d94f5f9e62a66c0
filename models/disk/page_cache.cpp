#include "models/disk/page_cache.h"

#include <algorithm>
#include <cstring>

namespace models {

PageCache::Page* PageCache::find(std::uint64_t page, IoStatus& status) {
    status = IoStatus::ok;
    if (const auto found = dirty_.find(page); found != dirty_.end()) return &found->second;
    if (const auto found = clean_.find(page); found != clean_.end()) return &found->second;
    Page content(page_bytes_);
    status = file_.read(page, content);
    if (status != IoStatus::ok) return nullptr;
    limit_clean();
    return &clean_.emplace(page, std::move(content)).first->second;
}

PageCache::Page* PageCache::find_dirty(std::uint64_t page, IoStatus& status) {
    if (find(page, status) == nullptr) return nullptr;
    if (auto node = clean_.extract(page)) dirty_.insert(std::move(node));
    return &dirty_.find(page)->second;
}

// Forgets everything rather than choosing: rare, and needs no account of use.
void PageCache::limit_clean() {
    if (clean_.size() >= most_clean_pages_) clean_.clear();
}

IoStatus PageCache::read(std::uint64_t offset, std::span<std::byte> out) {
    while (!out.empty()) {
        const std::uint64_t within = offset % page_bytes_;
        const auto part = static_cast<std::size_t>(std::min<std::uint64_t>(out.size(), page_bytes_ - within));
        IoStatus status{};
        const Page* page = find(offset - within, status);
        if (page == nullptr) return status;
        std::memcpy(out.data(), page->data() + within, part);
        out = out.subspan(part);
        offset += part;
    }
    return IoStatus::ok;
}

IoStatus PageCache::write(std::uint64_t offset, std::span<const std::byte> data) {
    while (!data.empty()) {
        const std::uint64_t within = offset % page_bytes_;
        const auto part = static_cast<std::size_t>(std::min<std::uint64_t>(data.size(), page_bytes_ - within));
        IoStatus status{};
        Page* page = find_dirty(offset - within, status);
        if (page == nullptr) return status;
        std::memcpy(page->data() + within, data.data(), part);
        data = data.subspan(part);
        offset += part;
    }
    return IoStatus::ok;
}

IoStatus PageCache::fill(std::uint64_t offset, std::uint64_t length, std::byte value) {
    while (length > 0) {
        const std::uint64_t within = offset % page_bytes_;
        const std::uint64_t part = std::min<std::uint64_t>(length, page_bytes_ - within);
        IoStatus status{};
        Page* page = find_dirty(offset - within, status);
        if (page == nullptr) return status;
        std::memset(page->data() + within, static_cast<int>(value), part);
        length -= part;
        offset += part;
    }
    return IoStatus::ok;
}

void PageCache::mark_written() {
    limit_clean();
    clean_.merge(dirty_);
    dirty_.clear();
}

}  // namespace models
