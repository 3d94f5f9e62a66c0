// An Ethernet frame as it travels inside a host: the bytes, and what a sender left for somebody later to do (offloads).
// On a wire there are bytes only; finish_for_wire() in segmentation.h does what is left before a frame gets there.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

namespace models {

// An IEEE 802.1Q tag.
struct VlanTag {
    std::uint16_t id = 0;  // 12 bits; 0: a priority only
    std::uint8_t priority = 0;
    bool drop_eligible = false;

    static constexpr VlanTag from_tci(std::uint16_t tci) {
        return {static_cast<std::uint16_t>(tci & 0xfff), static_cast<std::uint8_t>(tci >> 13), (tci & 0x1000) != 0};
    }
    constexpr std::uint16_t tci() const {
        return static_cast<std::uint16_t>((id & 0xfff) | (drop_eligible ? 0x1000 : 0) | (priority & 7) << 13);
    }
    friend constexpr bool operator==(const VlanTag&, const VlanTag&) = default;
    template <class Archive>
    void fields(Archive& archive) {
        archive(id, priority, drop_eligible);
    }
};

// Which checksums are still to be filled in. What stands in their place is of no account.
struct ChecksumRequest {
    bool ip = false;  // the IPv4 header's
    bool tcp = false;
    bool udp = false;

    constexpr bool any() const { return ip || tcp || udp; }
    friend constexpr bool operator==(const ChecksumRequest&, const ChecksumRequest&) = default;
    template <class Archive>
    void fields(Archive& archive) {
        archive(ip, tcp, udp);
    }
};

enum class ChecksumVerdict : std::uint8_t { unknown, good, bad };

// A receive-side-scaling hash and the kind of header fields that it covers (see toeplitz.h).
struct RssHash {
    std::uint32_t value = 0;
    std::uint16_t type = 0;

    friend constexpr bool operator==(const RssHash&, const RssHash&) = default;
    template <class Archive>
    void fields(Archive& archive) {
        archive(value, type);
    }
};

struct Frame {
    // From the destination address to the end of the payload, without the check sequence.
    std::vector<std::byte> bytes;

    ChecksumRequest fill;
    // Not 0: TCP payload to be cut into segments of this size. The IP length may then be that of the whole or 0.
    std::uint16_t large_send_mss = 0;
    // A tag that is not in the bytes.
    std::optional<VlanTag> vlan;
    std::optional<RssHash> hash;
    // Not 0: this many TCP segments were put together by receive segment coalescing.
    std::uint16_t coalesced_segments = 0;
    ChecksumVerdict ip_verdict = ChecksumVerdict::unknown;
    ChecksumVerdict transport_verdict = ChecksumVerdict::unknown;

    Frame() = default;
    explicit Frame(std::vector<std::byte> data) : bytes(std::move(data)) {}
    Frame(const Frame&) = default;
    Frame(Frame&&) noexcept = default;
    Frame& operator=(const Frame&) = default;
    Frame& operator=(Frame&&) noexcept = default;

    std::size_t size() const { return bytes.size(); }

    friend bool operator==(const Frame&, const Frame&) = default;
    template <class Archive>
    void fields(Archive& archive) {
        archive(bytes, fill, large_send_mss, vlan, hash, coalesced_segments, ip_verdict, transport_verdict);
    }
};

// Whoever takes frames: the other side of a switch port, a wire, a host.
class FrameReceiver {
public:
    virtual void receive(Frame&& frame) = 0;

protected:
    ~FrameReceiver() = default;
};

enum class FrameDirection : std::uint8_t { in, out };  // as whoever owns the observed point sees it

// Sees frames and takes no part: captures, tests.
class FrameObserver {
public:
    virtual void observed(FrameDirection direction, const Frame& frame) = 0;

protected:
    ~FrameObserver() = default;
};

}  // namespace models
