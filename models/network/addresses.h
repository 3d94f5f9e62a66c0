// Ethernet and IP addresses as values: ordered, saved, read from text and written as text.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <string>
#include <string_view>

namespace models {

struct MacAddress {
    std::array<std::uint8_t, 6> bytes{};

    static constexpr MacAddress broadcast() { return {{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}}; }
    // The address as a number, first byte highest: 0x00155d000001.
    static constexpr MacAddress from_u64(std::uint64_t n) {
        MacAddress mac;
        for (unsigned i = 0; i < 6; ++i) mac.bytes[i] = static_cast<std::uint8_t>(n >> (40 - 8 * i));
        return mac;
    }
    constexpr std::uint64_t to_u64() const {
        std::uint64_t n = 0;
        for (const std::uint8_t b : bytes) n = n << 8 | b;
        return n;
    }
    constexpr bool is_multicast() const { return (bytes[0] & 1) != 0; }  // broadcast included
    constexpr bool is_broadcast() const { return *this == broadcast(); }
    constexpr bool is_zero() const { return to_u64() == 0; }

    friend constexpr auto operator<=>(const MacAddress&, const MacAddress&) = default;
    template <class Archive>
    void fields(Archive& archive) {
        archive(bytes);
    }
};

enum class IpFamily : std::uint8_t { none, v4, v6 };

// An address of either family; that of IPv4 stands in the first four bytes.
struct IpAddress {
    IpFamily family = IpFamily::none;
    std::array<std::uint8_t, 16> bytes{};

    static constexpr IpAddress v4(std::uint32_t n) {
        IpAddress a;
        a.family = IpFamily::v4;
        for (unsigned i = 0; i < 4; ++i) a.bytes[i] = static_cast<std::uint8_t>(n >> (24 - 8 * i));
        return a;
    }
    static constexpr IpAddress v6(const std::array<std::uint8_t, 16>& bytes) { return {IpFamily::v6, bytes}; }
    constexpr bool is_v4() const { return family == IpFamily::v4; }
    constexpr bool is_v6() const { return family == IpFamily::v6; }
    constexpr bool is_none() const { return family == IpFamily::none; }
    constexpr unsigned size() const { return is_v4() ? 4 : is_v6() ? 16 : 0; }
    constexpr std::uint32_t to_v4() const {
        return static_cast<std::uint32_t>(bytes[0]) << 24 | bytes[1] << 16 | bytes[2] << 8 | bytes[3];
    }
    bool is_unspecified() const;  // 0.0.0.0, ::
    bool is_multicast() const;    // 224.0.0.0/4, ff00::/8
    bool is_link_local() const;   // 169.254.0.0/16, fe80::/10

    friend constexpr auto operator<=>(const IpAddress&, const IpAddress&) = default;
    template <class Archive>
    void fields(Archive& archive) {
        archive(family, bytes);
    }
};

struct IpPrefix {
    IpAddress address;
    std::uint8_t length = 0;  // in bits

    bool contains(const IpAddress& other) const;
    friend constexpr auto operator<=>(const IpPrefix&, const IpPrefix&) = default;
    template <class Archive>
    void fields(Archive& archive) {
        archive(address, length);
    }
};

// From text: "00:15:5d:00:00:01" (or with dashes), "10.0.0.1", "2001:db8::1", "10.0.0.0/8". A bare address is a prefix
// of its full length. Anything else is a sim::UserError.
MacAddress mac_address(std::string_view text);
IpAddress ip_address(std::string_view text);
IpPrefix ip_prefix(std::string_view text);

std::string to_string(const MacAddress& mac);
std::string to_string(const IpAddress& address);  // RFC 5952 for IPv6
std::string to_string(const IpPrefix& prefix);

// The multicast MAC address of an IP multicast address (RFC 1112, RFC 2464 clause 7).
MacAddress multicast_mac(const IpAddress& group);
// ff02::1:ffXX:XXXX (RFC 4291, 2.7.1).
IpAddress solicited_node(const IpAddress& address);
// fe80:: with the modified EUI-64 of a MAC address (RFC 4291, appendix A).
IpAddress link_local(const MacAddress& mac);

}  // namespace models
