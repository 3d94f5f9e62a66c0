// A file as image formats see it: bytes at positions. A host file, memory and a test's failing disk are such files.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <utility>

#include "models/disk/io_status.h"

namespace models {

enum class Access : std::uint8_t { read_only, read_write };

class ByteFile {
public:
    explicit ByteFile(std::string name) : name_(std::move(name)) {}
    virtual ~ByteFile() = default;

    virtual std::uint64_t size() const = 0;
    virtual bool writable() const = 0;
    // All of it or an error: a read past the end is out_of_range.
    virtual IoStatus read(std::uint64_t offset, std::span<std::byte> out) const = 0;
    // A write past the end lengthens the file; what lies between reads as zeros.
    virtual IoStatus write(std::uint64_t offset, std::span<const std::byte> data) = 0;
    virtual IoStatus resize(std::uint64_t bytes) = 0;
    // Returns when everything written before is where a power cut cannot reach it.
    virtual IoStatus flush() = 0;
    // Makes a range inside the file read as zeros, without taking space where the file can do so.
    virtual IoStatus zero(std::uint64_t offset, std::uint64_t length);

    // For messages.
    const std::string& name() const { return name_; }

protected:
    ByteFile(const ByteFile&) = default;
    ByteFile& operator=(const ByteFile&) = default;
    ByteFile(ByteFile&&) = default;
    ByteFile& operator=(ByteFile&&) = default;

    bool holds(std::uint64_t offset, std::uint64_t length) const {
        return offset <= size() && length <= size() - offset;
    }

private:
    std::string name_;
};

// A file in memory. Chunks that were never written take no space, and a copy shares its chunks until one side writes.
class MemoryFile final : public ByteFile {
public:
    static constexpr std::uint64_t unlimited = std::numeric_limits<std::int64_t>::max();

    explicit MemoryFile(std::string name, std::uint64_t most_bytes = unlimited)
        : ByteFile(std::move(name)), most_bytes_(most_bytes) {}

    std::uint64_t size() const override { return size_; }
    bool writable() const override { return true; }
    IoStatus read(std::uint64_t offset, std::span<std::byte> out) const override;
    IoStatus write(std::uint64_t offset, std::span<const std::byte> data) override;
    IoStatus resize(std::uint64_t bytes) override;
    IoStatus flush() override { return IoStatus::ok; }
    IoStatus zero(std::uint64_t offset, std::uint64_t length) override;

    std::uint64_t bytes_held() const { return chunks_.size() * chunk_bytes; }

private:
    static constexpr std::uint64_t chunk_bytes = 16 << 10;
    using Chunk = std::array<std::byte, chunk_bytes>;

    Chunk& own_chunk(std::uint64_t index);
    void clear(std::uint64_t offset, std::uint64_t length);

    std::map<std::uint64_t, std::shared_ptr<Chunk>> chunks_;
    std::uint64_t size_ = 0;
    std::uint64_t most_bytes_;
};

}  // namespace models
