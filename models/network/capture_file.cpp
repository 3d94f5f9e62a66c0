#include "models/network/capture_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <fstream>
#include <iterator>
#include <optional>

#include "models/network/pcapng.h"
#include "sim/bits.h"
#include "sim/check.h"

namespace models {

namespace {

constexpr std::uint16_t ethernet = 1;
constexpr std::uint32_t simple_packet_block = 3;
constexpr std::uint32_t byte_order_magic = 0x1a2b3c4d;
constexpr std::uint32_t longest_frame = 1 << 20;

[[noreturn]] void damaged(std::size_t at, const char* what) {
    throw sim::UserError(fmt::format("capture: byte {}: {}; the file is damaged or no capture", at, what));
}

// Numbers in the file's byte order, none of them beyond its end.
class Numbers final {
public:
    Numbers(std::span<const std::byte> bytes, bool big_endian) : bytes_(bytes), big_endian_(big_endian) {}

    template <class T>
    T at(std::size_t offset) const {
        if (offset > bytes_.size() || sizeof(T) > bytes_.size() - offset) damaged(offset, "it ends here");
        T value = 0;
        for (std::size_t i = 0; i < sizeof(T); ++i) {
            const std::size_t place = big_endian_ ? i : sizeof(T) - 1 - i;
            value = static_cast<T>(value << 8 | std::to_integer<T>(bytes_[offset + place]));
        }
        return value;
    }
    std::vector<std::byte> copy(std::size_t offset, std::size_t length) const {
        if (offset > bytes_.size() || length > bytes_.size() - offset) damaged(offset, "a frame ends beyond the file");
        const auto part = bytes_.subspan(offset, length);
        return {part.begin(), part.end()};
    }

private:
    std::span<const std::byte> bytes_;
    bool big_endian_;
};

// Times since the first one; the file's are since 1970, which is too long ago for a sim::Time.
class Frames final {
public:
    void add(sim::u128 ps, std::vector<std::byte> bytes) {
        if (!first_) first_ = ps;
        const sim::u128 since = ps > *first_ ? ps - *first_ : 0;
        const auto longest = static_cast<sim::u128>(sim::Time::s(1'000'000).ps());
        const sim::Time at = sim::Time::ps(static_cast<std::int64_t>(since < longest ? since : longest));
        frames_.push_back({at, std::move(bytes)});
    }
    std::vector<CapturedFrame> take() { return std::move(frames_); }

private:
    std::optional<sim::u128> first_;
    std::vector<CapturedFrame> frames_;
};

std::vector<CapturedFrame> read_classic(std::span<const std::byte> file, bool big_endian, std::uint64_t unit_ps) {
    const Numbers n(file, big_endian);
    if ((n.at<std::uint32_t>(20) & 0xffff) != ethernet) damaged(20, "its link type is not Ethernet");
    Frames frames;
    for (std::size_t at = 24; at < file.size();) {
        const auto seconds = n.at<std::uint32_t>(at);
        const auto fraction = n.at<std::uint32_t>(at + 4);
        const auto length = n.at<std::uint32_t>(at + 8);
        if (length > longest_frame) damaged(at + 8, "a frame of more than a mebibyte");
        const sim::u128 ps =
            static_cast<sim::u128>(seconds) * sim::picoseconds_per_second + static_cast<sim::u128>(fraction) * unit_ps;
        frames.add(ps, n.copy(at + 16, length));
        at += 16 + std::size_t{length};
    }
    return frames.take();
}

class PcapngReader final {
public:
    explicit PcapngReader(std::span<const std::byte> file) : file_(file) {}

    std::vector<CapturedFrame> read() {
        for (std::size_t at = 0; at < file_.size();) at = block(at);
        return frames_.take();
    }

private:
    struct Interface {
        bool is_ethernet = false;
        std::uint32_t snap_length = 0;
        std::uint8_t resolution = 6;  // if_tsresol
    };

    // Where the next one begins.
    std::size_t block(std::size_t at) {
        if (Numbers(file_, false).at<std::uint32_t>(at) == section_header_block) {
            const auto magic = Numbers(file_, false).at<std::uint32_t>(at + 8);
            if (magic != byte_order_magic && magic != __builtin_bswap32(byte_order_magic))
                damaged(at + 8, "no byte order");
            big_endian_ = magic != byte_order_magic;
            interfaces_.clear();
        }
        const Numbers n(file_, big_endian_);
        const auto length = n.at<std::uint32_t>(at + 4);
        if (length < 12 || length % 4 != 0 || length > file_.size() - at)
            damaged(at + 4, "a block of impossible length");
        const std::size_t end = at + length - 4;
        if (n.at<std::uint32_t>(end) != length) damaged(end, "a block whose two lengths differ");
        switch (n.at<std::uint32_t>(at)) {
            case interface_block:
                interface(n, at + 8, end);
                break;
            case enhanced_packet_block:
                packet(n, at + 8, end);
                break;
            case simple_packet_block:
                simple_packet(n, at + 8, end);
                break;
            default:
                break;
        }
        return at + length;
    }

    void interface(const Numbers& n, std::size_t at, std::size_t end) {
        Interface added;
        added.is_ethernet = n.at<std::uint16_t>(at) == ethernet;
        added.snap_length = n.at<std::uint32_t>(at + 4);
        for (at += 8; at + 4 <= end;) {
            constexpr std::uint16_t time_resolution = 9;
            const auto code = n.at<std::uint16_t>(at);
            const auto length = n.at<std::uint16_t>(at + 2);
            if (code == 0) break;
            if (code == time_resolution && length == 1) added.resolution = n.at<std::uint8_t>(at + 4);
            at += 4 + ((length + 3u) & ~3u);
        }
        interfaces_.push_back(added);
    }

    void packet(const Numbers& n, std::size_t at, std::size_t end) {
        const auto number = n.at<std::uint32_t>(at);
        if (number >= interfaces_.size()) damaged(at, "a frame of an interface that is not described");
        const Interface& from = interfaces_[number];
        const std::uint64_t ticks =
            static_cast<std::uint64_t>(n.at<std::uint32_t>(at + 4)) << 32 | n.at<std::uint32_t>(at + 8);
        const auto length = n.at<std::uint32_t>(at + 12);
        if (length > longest_frame || at + 20 + length > end) damaged(at + 12, "a frame longer than its block");
        if (from.is_ethernet) frames_.add(picoseconds(ticks, from.resolution), n.copy(at + 20, length));
    }

    void simple_packet(const Numbers& n, std::size_t at, std::size_t end) {
        if (interfaces_.empty()) damaged(at, "a frame of an interface that is not described");
        const Interface& from = interfaces_.front();
        std::uint32_t length = n.at<std::uint32_t>(at);
        if (from.snap_length != 0) length = std::min(length, from.snap_length);
        if (length > longest_frame || at + 4 + length > end) damaged(at, "a frame longer than its block");
        if (from.is_ethernet) frames_.add(0, n.copy(at + 4, length));
    }

    // draft-ietf-opsawg-pcapng, 4.2: 10 to the minus n, or 2 to the minus n with the highest bit set.
    static sim::u128 picoseconds(std::uint64_t ticks, std::uint8_t resolution) {
        const unsigned n = resolution & 0x7f;
        if ((resolution & 0x80) != 0) {
            const sim::u128 ps = static_cast<sim::u128>(ticks) * sim::picoseconds_per_second;
            return ps >> n;
        }
        sim::u128 ps = ticks;
        for (unsigned i = n; i < 12; ++i) ps *= 10;
        for (unsigned i = 12; i < n; ++i) ps /= 10;
        return ps;
    }

    std::span<const std::byte> file_;
    bool big_endian_ = false;
    std::vector<Interface> interfaces_;
    Frames frames_;
};

}  // namespace

std::vector<CapturedFrame> read_capture(std::span<const std::byte> file) {
    switch (Numbers(file, false).at<std::uint32_t>(0)) {
        case 0xa1b2c3d4:
            return read_classic(file, false, 1'000'000);
        case 0xd4c3b2a1:
            return read_classic(file, true, 1'000'000);
        case 0xa1b23c4d:
            return read_classic(file, false, 1'000);
        case 0x4d3cb2a1:
            return read_classic(file, true, 1'000);
        case section_header_block:
            return PcapngReader(file).read();
        default:
            damaged(0, "neither pcap nor pcapng begins so");
    }
}

std::vector<CapturedFrame> read_capture_file(const std::string& path) {
    std::ifstream stream(path, std::ios::binary);
    if (!stream) throw sim::UserError(fmt::format("capture: can't read {}; is it there?", path));
    const std::string text{std::istreambuf_iterator<char>{stream}, {}};
    try {
        return read_capture(std::as_bytes(std::span{text}));
    } catch (const sim::UserError& error) {
        throw sim::UserError(fmt::format("{}: {}", path, error.what()));
    }
}

}  // namespace models
