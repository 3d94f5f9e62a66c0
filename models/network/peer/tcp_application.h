// What sits on a connection: it takes what arrives and has something to send. A value, so that a connection can be
// saved.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <span>
#include <utility>
#include <vector>

#include "models/network/peer/sha256.h"

namespace models {

enum class TcpService : std::uint8_t {
    discard,  // counts (RFC 863)
    sink,     // counts and takes the checksum
    echo,     // sends back (RFC 862)
    source,   // sends so many bytes of a seeded pattern, then ends
    program,  // a model beside the host reads and writes (TcpStack::read(), write(), close())
};

struct TcpServiceSettings {
    TcpService service = TcpService::discard;
    std::uint64_t source_bytes = 0;
    std::uint64_t seed = 0;
    // A sink's: when the other side has ended, sends "<bytes> <SHA-256 in hex>\n".
    bool report = false;
    // A program's: what the bytes are is of no account, they are only counted.
    bool hollow = false;

    bool operator==(const TcpServiceSettings&) const = default;
    template <class Archive>
    void fields(Archive& archive) {
        archive(service, source_bytes, seed, report, hollow);
    }
};

// The pattern: bytes of splitmix64 over the seed and the number of the 8-byte word. So any part can be made at any
// time.
void write_pattern(std::uint64_t seed, std::uint64_t offset, std::span<std::byte> out);
Sha256::Digest pattern_digest(std::uint64_t seed, std::uint64_t bytes);

class TcpApplication final {
public:
    static constexpr std::uint64_t echo_buffer_bytes = 256 * 1024;

    TcpApplication() = default;
    explicit TcpApplication(const TcpServiceSettings& settings);

    // Offsets count the stream's bytes from 0.
    std::uint64_t can_take() const;
    void take(std::span<const std::byte> data);
    void remote_ended();

    std::uint64_t to_send() const { return send_end_; }  // bytes so far, acknowledged ones included
    void read(std::uint64_t offset, std::span<std::byte> out) const;
    void acknowledged(std::uint64_t offset);
    bool ended() const { return ended_; }  // no more will come

    // A program's. What it may take, it gets when the connection is told; nothing otherwise.
    void grant(std::uint64_t bytes) { grant_ = bytes; }
    std::vector<std::byte> collect() { return std::exchange(collected_, {}); }
    void write(std::span<const std::byte> data);
    void write_hollow(std::uint64_t bytes) { send_end_ += ended_ ? 0 : bytes; }
    void close() { ended_ = true; }

    // Reads nothing for a while: the other side meets a closed window.
    void pause(bool paused) { paused_ = paused; }

    const TcpServiceSettings& settings() const { return settings_; }
    std::uint64_t received() const { return received_; }
    // Of what was received; zeros for one that takes no checksum.
    Sha256::Digest received_digest() const;

    template <class Archive>
    void fields(Archive& archive) {
        archive(settings_, received_, hash_, buffer_, send_begin_, send_end_, ended_, paused_, grant_, collected_);
    }

private:
    TcpServiceSettings settings_;
    std::uint64_t received_ = 0;
    Sha256 hash_;
    std::deque<std::byte> buffer_;  // to be sent or acknowledged; a source has none
    std::uint64_t send_begin_ = 0;  // offset of the buffer's first byte
    std::uint64_t send_end_ = 0;
    bool ended_ = false;
    bool paused_ = false;
    std::uint64_t grant_ = 0;
    std::vector<std::byte> collected_;
};

}  // namespace models
