#include "models/network/addresses.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <optional>
#include <vector>

#include "sim/check.h"

namespace models {

namespace {

template <class T>
std::optional<T> number(std::string_view text, int radix, std::size_t most_digits) {
    T value{};
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, radix);
    if (text.empty() || text.size() > most_digits || error != std::errc{} || end != text.data() + text.size()) {
        return std::nullopt;
    }
    return value;
}

std::vector<std::string_view> split(std::string_view text, char at) {
    std::vector<std::string_view> parts;
    for (;;) {
        const std::size_t found = text.find(at);
        parts.push_back(text.substr(0, found));
        if (found == std::string_view::npos) return parts;
        text.remove_prefix(found + 1);
    }
}

std::optional<IpAddress> parse_v4(std::string_view text) {
    const auto parts = split(text, '.');
    if (parts.size() != 4) return std::nullopt;
    std::uint32_t value = 0;
    for (const auto part : parts) {
        const auto byte = number<std::uint8_t>(part, 10, 3);
        if (!byte) return std::nullopt;
        value = value << 8 | *byte;
    }
    return IpAddress::v4(value);
}

bool parse_groups(std::string_view text, std::vector<std::uint16_t>& groups) {
    if (text.empty()) return true;
    for (const auto part : split(text, ':')) {
        const auto group = number<std::uint16_t>(part, 16, 4);
        if (!group) return false;
        groups.push_back(*group);
    }
    return true;
}

std::optional<IpAddress> parse_v6(std::string_view text) {
    std::vector<std::uint16_t> head;
    std::vector<std::uint16_t> tail;
    const std::size_t gap = text.find("::");
    if (gap == std::string_view::npos) {
        if (!parse_groups(text, head) || head.size() != 8) return std::nullopt;
    } else {
        if (!parse_groups(text.substr(0, gap), head) || !parse_groups(text.substr(gap + 2), tail)) return std::nullopt;
        if (head.size() + tail.size() > 7) return std::nullopt;
    }
    head.resize(8 - tail.size());
    head.insert(head.end(), tail.begin(), tail.end());
    IpAddress address;
    address.family = IpFamily::v6;
    for (std::size_t i = 0; i < 8; ++i) {
        address.bytes[2 * i] = static_cast<std::uint8_t>(head[i] >> 8);
        address.bytes[2 * i + 1] = static_cast<std::uint8_t>(head[i]);
    }
    return address;
}

}  // namespace

bool IpAddress::is_unspecified() const {
    return std::all_of(bytes.begin(), bytes.end(), [](std::uint8_t b) { return b == 0; });
}

bool IpAddress::is_multicast() const {
    return is_v4() ? (bytes[0] & 0xf0) == 0xe0 : is_v6() && bytes[0] == 0xff;
}

bool IpAddress::is_link_local() const {
    return is_v4() ? bytes[0] == 169 && bytes[1] == 254 : is_v6() && bytes[0] == 0xfe && (bytes[1] & 0xc0) == 0x80;
}

bool IpPrefix::contains(const IpAddress& other) const {
    if (other.family != address.family) return false;
    const unsigned whole = length / 8;
    const unsigned rest = length % 8;
    if (whole > other.size() || (whole == other.size() && rest != 0)) return false;
    if (!std::equal(address.bytes.begin(), address.bytes.begin() + whole, other.bytes.begin())) return false;
    return rest == 0 || ((address.bytes[whole] ^ other.bytes[whole]) >> (8 - rest)) == 0;
}

MacAddress mac_address(std::string_view text) {
    auto parts = split(text, ':');
    if (parts.size() != 6) parts = split(text, '-');
    MacAddress mac;
    bool good = parts.size() == 6;
    for (std::size_t i = 0; good && i < 6; ++i) {
        const auto byte = number<std::uint8_t>(parts[i], 16, 2);
        good = byte.has_value();
        if (good) mac.bytes[i] = *byte;
    }
    if (!good) throw sim::UserError(fmt::format("network: '{}' is no MAC address; write 00:15:5d:00:00:01", text));
    return mac;
}

IpAddress ip_address(std::string_view text) {
    const auto address = text.find(':') == std::string_view::npos ? parse_v4(text) : parse_v6(text);
    if (!address) {
        throw sim::UserError(fmt::format("network: '{}' is no IP address; write 10.0.0.1 or 2001:db8::1", text));
    }
    return *address;
}

IpPrefix ip_prefix(std::string_view text) {
    const std::size_t slash = text.find('/');
    const IpAddress address = ip_address(text.substr(0, slash));
    const unsigned most = address.size() * 8;
    if (slash == std::string_view::npos) return {address, static_cast<std::uint8_t>(most)};
    const auto length = number<std::uint8_t>(text.substr(slash + 1), 10, 3);
    if (!length || *length > most) {
        throw sim::UserError(fmt::format("network: '{}' is no IP prefix; write 10.0.0.0/8 or 2001:db8::/32", text));
    }
    return {address, *length};
}

std::string to_string(const MacAddress& mac) {
    const auto& b = mac.bytes;
    return fmt::format("{:02x}:{:02x}:{:02x}:{:02x}:{:02x}:{:02x}", b[0], b[1], b[2], b[3], b[4], b[5]);
}

std::string to_string(const IpAddress& address) {
    const auto& b = address.bytes;
    if (address.is_v4()) return fmt::format("{}.{}.{}.{}", b[0], b[1], b[2], b[3]);
    if (!address.is_v6()) return "none";
    // The longest run of two or more zero groups becomes "::", the first of equals.
    std::size_t best = 8;
    std::size_t best_length = 1;
    for (std::size_t i = 0; i < 8; ++i) {
        std::size_t n = 0;
        while (i + n < 8 && b[2 * (i + n)] == 0 && b[2 * (i + n) + 1] == 0) ++n;
        if (n > best_length) {
            best = i;
            best_length = n;
        }
    }
    std::string text;
    for (std::size_t i = 0; i < 8; ++i) {
        if (i == best) {
            text += "::";
            i += best_length - 1;
            continue;
        }
        if (!text.empty() && text.back() != ':') text += ':';
        text += fmt::format("{:x}", b[2 * i] << 8 | b[2 * i + 1]);
    }
    return text;
}

std::string to_string(const IpPrefix& prefix) {
    return fmt::format("{}/{}", to_string(prefix.address), prefix.length);
}

MacAddress multicast_mac(const IpAddress& group) {
    const auto& b = group.bytes;
    if (group.is_v4()) return {{0x01, 0x00, 0x5e, static_cast<std::uint8_t>(b[1] & 0x7f), b[2], b[3]}};
    return {{0x33, 0x33, b[12], b[13], b[14], b[15]}};
}

IpAddress solicited_node(const IpAddress& address) {
    const auto& b = address.bytes;
    return IpAddress::v6({0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, b[13], b[14], b[15]});
}

IpAddress link_local(const MacAddress& mac) {
    const auto& b = mac.bytes;
    return IpAddress::v6(
        {0xfe, 0x80, 0, 0, 0, 0, 0, 0, static_cast<std::uint8_t>(b[0] ^ 2), b[1], b[2], 0xff, 0xfe, b[3], b[4], b[5]});
}

}  // namespace models
