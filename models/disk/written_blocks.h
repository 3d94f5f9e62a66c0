// What was written on top of something that must not change: blocks in an ordered map, and ranges known to be zero.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <span>

#include "models/disk/io_status.h"

namespace models {

// What lies beneath. Reads any range; past its end there are zeros.
class Beneath {
public:
    virtual IoStatus read_beneath(std::uint64_t offset, std::span<std::byte> out) = 0;

protected:
    ~Beneath() = default;
};

class WrittenBlocks final {
public:
    static constexpr std::uint64_t block_bytes = 4096;

    IoStatus read(std::uint64_t offset, std::span<std::byte> out, Beneath& beneath) const;
    IoStatus write(std::uint64_t offset, std::span<const std::byte> data, Beneath& beneath);
    IoStatus zero(std::uint64_t offset, std::uint64_t length, Beneath& beneath);

    std::uint64_t bytes_held() const { return blocks_.size() * block_bytes; }
    // How much a write of this range would add.
    std::uint64_t bytes_missing(std::uint64_t offset, std::uint64_t length) const;
    // False for a map that no sequence of writes to so many bytes leaves behind: a damaged checkpoint.
    bool consistent(std::uint64_t size_bytes) const;

    template <class A>
    void fields(A& a) {
        a(blocks_, zeroed_);
    }
    friend bool operator==(const WrittenBlocks&, const WrittenBlocks&) = default;

private:
    using Block = std::array<std::byte, block_bytes>;

    bool is_zeroed(std::uint64_t block) const;
    IoStatus fetch(std::uint64_t block, Block& out, Beneath& beneath) const;
    void add_zeroed(std::uint64_t begin, std::uint64_t end);

    std::map<std::uint64_t, Block> blocks_;          // come first
    std::map<std::uint64_t, std::uint64_t> zeroed_;  // begin -> end in blocks, disjoint, not touching; come second
};

}  // namespace models
