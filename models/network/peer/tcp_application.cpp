#include "models/network/peer/tcp_application.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <string>

#include "sim/check.h"
#include "sim/random.h"

namespace models {

void write_pattern(std::uint64_t seed, std::uint64_t offset, std::span<std::byte> out) {
    static_assert(std::endian::native == std::endian::little);
    const auto word_at = [seed](std::uint64_t at) {
        std::uint64_t state = seed + (at / 8) * 0x9e3779b97f4a7c15ull;
        return sim::splitmix64(state);
    };
    std::size_t done = 0;
    // The rest of a word that was begun; whole words; the beginning of one.
    if (offset % 8 != 0) {
        const std::uint64_t word = word_at(offset) >> (8 * (offset % 8));
        done = std::min<std::size_t>(8 - offset % 8, out.size());
        std::memcpy(out.data(), &word, done);
    }
    for (; out.size() - done >= 8; done += 8) {
        const std::uint64_t word = word_at(offset + done);
        std::memcpy(out.data() + done, &word, 8);
    }
    if (done < out.size()) {
        const std::uint64_t word = word_at(offset + done);
        std::memcpy(out.data() + done, &word, out.size() - done);
    }
}

Sha256::Digest pattern_digest(std::uint64_t seed, std::uint64_t bytes) {
    Sha256 hash;
    std::array<std::byte, 4096> block;
    for (std::uint64_t at = 0; at < bytes; at += block.size()) {
        const auto part = std::span{block}.first(std::min<std::uint64_t>(block.size(), bytes - at));
        write_pattern(seed, at, part);
        hash.add(part);
    }
    return hash.digest();
}

TcpApplication::TcpApplication(const TcpServiceSettings& settings) : settings_(settings) {
    if (settings.service == TcpService::source) {
        send_end_ = settings.source_bytes;
        ended_ = true;
    }
}

std::uint64_t TcpApplication::can_take() const {
    if (paused_) return 0;
    if (settings_.service == TcpService::echo)
        return echo_buffer_bytes - std::min(echo_buffer_bytes, std::uint64_t{buffer_.size()});
    if (settings_.service == TcpService::program) return grant_;
    return ~std::uint64_t{0};
}

void TcpApplication::take(std::span<const std::byte> data) {
    received_ += data.size();
    if (settings_.service == TcpService::sink) hash_.add(data);
    if (settings_.service == TcpService::echo) {
        buffer_.insert(buffer_.end(), data.begin(), data.end());
        send_end_ += data.size();
    }
    if (settings_.service == TcpService::program) {
        grant_ -= std::min<std::uint64_t>(grant_, data.size());
        if (!settings_.hollow) collected_.insert(collected_.end(), data.begin(), data.end());
    }
}

void TcpApplication::write(std::span<const std::byte> data) {
    if (ended_) return;
    if (!settings_.hollow) buffer_.insert(buffer_.end(), data.begin(), data.end());
    send_end_ += data.size();
}

void TcpApplication::remote_ended() {
    if (ended_) return;
    if (settings_.service == TcpService::sink && settings_.report) {
        const std::string text = std::to_string(received_) + " " + to_hex(hash_.digest()) + "\n";
        for (const char c : text) buffer_.push_back(static_cast<std::byte>(c));
        send_end_ += text.size();
    }
    ended_ = true;
}

void TcpApplication::read(std::uint64_t offset, std::span<std::byte> out) const {
    VG_CHECK(offset + out.size() <= send_end_);
    if (settings_.service == TcpService::source) return write_pattern(settings_.seed, offset, out);
    if (settings_.hollow) {
        std::fill(out.begin(), out.end(), std::byte{0});
        return;
    }
    VG_CHECK(offset >= send_begin_);
    std::copy_n(buffer_.begin() + static_cast<std::ptrdiff_t>(offset - send_begin_), out.size(), out.begin());
}

void TcpApplication::acknowledged(std::uint64_t offset) {
    if (settings_.service == TcpService::source || offset <= send_begin_) return;
    const std::uint64_t n = std::min<std::uint64_t>(offset - send_begin_, buffer_.size());
    buffer_.erase(buffer_.begin(), buffer_.begin() + static_cast<std::ptrdiff_t>(n));
    send_begin_ += n;
}

Sha256::Digest TcpApplication::received_digest() const {
    return settings_.service == TcpService::sink ? hash_.digest() : Sha256::Digest{};
}

}  // namespace models
