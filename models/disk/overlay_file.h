// A file that looks changed and is not: what is written stays in memory.
#pragma once

#include <algorithm>
#include <memory>

#include "models/disk/byte_file.h"
#include "models/disk/written_blocks.h"

namespace models {

class OverlayFile final : public ByteFile, private Beneath {
public:
    // The file must live as long.
    explicit OverlayFile(const ByteFile& file) : ByteFile(file.name()), file_(file), size_(file.size()) {}
    explicit OverlayFile(std::unique_ptr<ByteFile> file) : OverlayFile(*file) { owned_ = std::move(file); }

    std::uint64_t size() const override { return size_; }
    bool writable() const override { return true; }
    IoStatus read(std::uint64_t offset, std::span<std::byte> out) const override {
        if (!holds(offset, out.size())) return IoStatus::out_of_range;
        return blocks_.read(offset, out, const_cast<OverlayFile&>(*this));  // reading beneath changes nothing
    }
    IoStatus write(std::uint64_t offset, std::span<const std::byte> data) override {
        if (offset > MemoryFile::unlimited || data.size() > MemoryFile::unlimited - offset) return IoStatus::no_space;
        size_ = std::max(size_, offset + data.size());
        return blocks_.write(offset, data, *this);
    }
    IoStatus resize(std::uint64_t bytes) override {
        if (bytes > MemoryFile::unlimited) return IoStatus::no_space;
        const std::uint64_t former = size_;
        size_ = bytes;
        return bytes < former ? blocks_.zero(bytes, former - bytes, *this) : IoStatus::ok;
    }
    IoStatus flush() override { return IoStatus::ok; }
    IoStatus zero(std::uint64_t offset, std::uint64_t length) override {
        return holds(offset, length) ? blocks_.zero(offset, length, *this) : IoStatus::out_of_range;
    }

private:
    IoStatus read_beneath(std::uint64_t offset, std::span<std::byte> out) override {
        const std::uint64_t end = file_.size();
        const auto inside =
            static_cast<std::size_t>(offset < end ? std::min<std::uint64_t>(out.size(), end - offset) : 0);
        std::fill(out.begin() + static_cast<std::ptrdiff_t>(inside), out.end(), std::byte{0});
        return inside == 0 ? IoStatus::ok : file_.read(offset, out.first(inside));
    }

    std::unique_ptr<ByteFile> owned_;
    const ByteFile& file_;
    std::uint64_t size_;
    WrittenBlocks blocks_;
};

}  // namespace models
