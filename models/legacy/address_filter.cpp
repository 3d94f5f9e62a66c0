#include "models/legacy/address_filter.h"

#include <algorithm>

#include "models/legacy/dec21140_registers.h"
#include "sim/bits.h"
#include "sim/check.h"

namespace models {

namespace {

constexpr std::size_t hashed_address_place = 156;  // of the whole address, in a frame with a hash table

std::uint16_t half(std::span<const std::byte> frame, std::size_t longword) {
    return static_cast<std::uint16_t>(std::to_integer<unsigned>(frame[4 * longword]) |
                                      std::to_integer<unsigned>(frame[4 * longword + 1]) << 8);
}

AddressFilter::Address address_at(std::span<const std::byte> frame, std::size_t longword) {
    AddressFilter::Address address{};
    for (std::size_t i = 0; i < 3; ++i) {
        const std::uint16_t part = half(frame, longword + i);
        address[2 * i] = static_cast<std::uint8_t>(part);
        address[2 * i + 1] = static_cast<std::uint8_t>(part >> 8);
    }
    return address;
}

constexpr std::array<std::uint32_t, 256> crc_table() {
    std::array<std::uint32_t, 256> table{};
    for (std::uint32_t byte = 0; byte < table.size(); ++byte) {
        std::uint32_t crc = byte;
        for (int bit = 0; bit < 8; ++bit) crc = (crc & 1) != 0 ? crc >> 1 ^ 0xedb8'8320 : crc >> 1;
        table[byte] = crc;
    }
    return table;
}

bool is_group(std::span<const std::byte> destination) {
    return (std::to_integer<unsigned>(destination[0]) & 1) != 0;
}

}  // namespace

std::uint32_t ethernet_crc(std::span<const std::byte> bytes) {
    static constexpr auto table = crc_table();
    std::uint32_t crc = 0xffff'ffff;
    for (const std::byte byte : bytes) crc = crc >> 8 ^ table[(crc ^ std::to_integer<std::uint32_t>(byte)) & 0xff];
    return crc;
}

void AddressFilter::load(Kind kind, std::span<const std::byte> frame) {
    VG_CHECK(frame.size() == dec21140::set_up_frame_bytes);
    state_ = {};
    state_.kind = kind;
    state_.loaded = true;
    if (kind == Kind::perfect || kind == Kind::inverse) {
        for (unsigned i = 0; i < perfect_addresses; ++i) state_.addresses[i] = address_at(frame, 3 * i);
        return;
    }
    for (std::size_t i = 0; i < state_.hash.size(); ++i) state_.hash[i] = half(frame, i);
    state_.addresses[0] = address_at(frame, hashed_address_place / 4);
}

bool AddressFilter::in_list(const Address& address, unsigned count) const {
    return std::find(state_.addresses.begin(), state_.addresses.begin() + count, address) !=
           state_.addresses.begin() + count;
}

bool AddressFilter::in_hash(std::span<const std::byte> destination) const {
    const unsigned index = ethernet_crc(destination) & 0x1ff;
    return sim::bit(state_.hash[index / 16], index % 16);
}

bool AddressFilter::passes(std::span<const std::byte> destination) const {
    VG_CHECK(destination.size() == 6);
    if (!state_.loaded) return false;
    Address address{};
    for (std::size_t i = 0; i < address.size(); ++i) address[i] = std::to_integer<std::uint8_t>(destination[i]);
    switch (state_.kind) {
        case Kind::perfect:
            return in_list(address, perfect_addresses);
        case Kind::inverse:
            return !in_list(address, perfect_addresses);
        case Kind::hash_perfect:
            return is_group(destination) ? in_hash(destination) : in_list(address, 1);
        case Kind::hash_only:
            return in_hash(destination);
    }
    return false;
}

}  // namespace models
