// Which frames the 21140 takes: sixteen addresses compared whole, or a table of 512 hashed ones with one whole address,
// as the last set-up frame said (21140A manual, 4.2.3).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace models {

// The Ethernet CRC's register after these bytes, not inverted (IEEE 802.3, 3.2.9, as the 21140 hashes addresses).
std::uint32_t ethernet_crc(std::span<const std::byte> bytes);

class AddressFilter final {
public:
    static constexpr unsigned perfect_addresses = 16;
    using Address = std::array<std::uint8_t, 6>;

    enum class Kind : std::uint8_t { perfect = 0, hash_perfect = 1, inverse = 2, hash_only = 3 };

    // A set-up frame of 192 bytes: the lower half of each longword counts.
    void load(Kind kind, std::span<const std::byte> frame);

    // What the filter alone says of a destination.
    bool passes(std::span<const std::byte> destination) const;
    Kind kind() const { return state_.kind; }

    struct State {
        Kind kind = Kind::perfect;
        bool loaded = false;
        std::array<Address, perfect_addresses> addresses{};  // hashed kinds: the first one
        std::array<std::uint16_t, 32> hash{};
        bool operator==(const State&) const = default;
        template <class Archive>
        void fields(Archive& archive) {
            archive(kind, loaded, hash);
            for (Address& address : addresses) archive(address);
        }
    };
    const State& state() const { return state_; }
    void reset() { state_ = {}; }
    template <class Archive>
    void fields(Archive& archive) {
        archive(state_);
    }

private:
    bool in_list(const Address& address, unsigned count) const;
    bool in_hash(std::span<const std::byte> destination) const;

    State state_;
};

}  // namespace models
