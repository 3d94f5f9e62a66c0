// What sits on a connection: it takes what arrives and has something to send. A value, so that a connection can be
// saved.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <span>

#include "models/network/peer/sha256.h"

namespace models {

enum class TcpService : std::uint8_t {
    discard,  // counts (RFC 863)
    sink,     // counts and takes the checksum
    echo,     // sends back (RFC 862)
    source,   // sends so many bytes of a seeded pattern, then ends
};

struct TcpServiceSettings {
    TcpService service = TcpService::discard;
    std::uint64_t source_bytes = 0;
    std::uint64_t seed = 0;
    // A sink's: when the other side has ended, sends "<bytes> <SHA-256 in hex>\n".
    bool report = false;

    bool operator==(const TcpServiceSettings&) const = default;
    template <class Archive>
    void fields(Archive& archive) {
        archive(service, source_bytes, seed, report);
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

    // Reads nothing for a while: the other side meets a closed window.
    void pause(bool paused) { paused_ = paused; }

    const TcpServiceSettings& settings() const { return settings_; }
    std::uint64_t received() const { return received_; }
    // Of what was received; zeros for one that takes no checksum.
    Sha256::Digest received_digest() const;

    template <class Archive>
    void fields(Archive& archive) {
        archive(settings_, received_, hash_, buffer_, send_begin_, send_end_, ended_, paused_);
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
};

}  // namespace models
