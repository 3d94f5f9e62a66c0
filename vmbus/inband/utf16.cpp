#include "vmbus/inband/utf16.h"

#include <cstdint>

namespace vmbus {

namespace {

constexpr char32_t replacement = 0xfffd;

bool is_surrogate(char32_t code) {
    return code >= 0xd800 && code < 0xe000;
}

// Takes one character off the front, of at least one byte.
char32_t take_utf8(std::string_view& text) {
    const auto lead = static_cast<unsigned char>(text.front());
    text.remove_prefix(1);
    if (lead < 0x80) return lead;
    const unsigned more = lead >= 0xf0 && lead < 0xf5 ? 3u : lead >= 0xe0 ? 2u : 1u;
    if (lead < 0xc2 || lead >= 0xf5 || text.size() < more) return replacement;
    char32_t code = lead & (0x3fu >> more);
    for (unsigned n = 0; n < more; ++n) {
        const auto next = static_cast<unsigned char>(text[n]);
        if ((next & 0xc0) != 0x80) return replacement;
        code = code << 6 | (next & 0x3fu);
    }
    constexpr char32_t least[] = {0, 0x80, 0x800, 0x10000};
    if (code < least[more] || code > 0x10ffff || is_surrogate(code)) return replacement;
    text.remove_prefix(more);
    return code;
}

void put_utf8(std::string& out, char32_t code) {
    const auto tail = [&](unsigned shift) { out.push_back(static_cast<char>(0x80 | (code >> shift & 0x3f))); };
    if (code < 0x80) {
        out.push_back(static_cast<char>(code));
    } else if (code < 0x800) {
        out.push_back(static_cast<char>(0xc0 | code >> 6));
        tail(0);
    } else if (code < 0x10000) {
        out.push_back(static_cast<char>(0xe0 | code >> 12));
        tail(6);
        tail(0);
    } else {
        out.push_back(static_cast<char>(0xf0 | code >> 18));
        tail(12);
        tail(6);
        tail(0);
    }
}

}  // namespace

std::vector<std::byte> to_utf16(std::string_view text) {
    std::vector<std::byte> out;
    const auto put = [&](char32_t unit) {
        out.push_back(static_cast<std::byte>(unit & 0xff));
        out.push_back(static_cast<std::byte>(unit >> 8));
    };
    while (!text.empty()) {
        const char32_t code = take_utf8(text);
        if (code < 0x10000) {
            put(code);
        } else {
            put(0xd800 + ((code - 0x10000) >> 10));
            put(0xdc00 + ((code - 0x10000) & 0x3ff));
        }
    }
    return out;
}

std::string from_utf16(std::span<const std::byte> units) {
    const auto unit = [&](std::size_t n) {
        return static_cast<char32_t>(std::to_integer<std::uint16_t>(units[2 * n]) |
                                     std::to_integer<std::uint16_t>(units[2 * n + 1]) << 8);
    };
    std::string out;
    const std::size_t count = units.size() / 2;
    for (std::size_t n = 0; n < count && unit(n) != 0; ++n) {
        char32_t code = unit(n);
        if (is_surrogate(code)) {
            const bool paired = code < 0xdc00 && n + 1 < count && unit(n + 1) >= 0xdc00 && unit(n + 1) < 0xe000;
            code = paired ? 0x10000 + ((code - 0xd800) << 10) + (unit(n + 1) - 0xdc00) : replacement;
            if (paired) ++n;
        }
        put_utf8(out, code);
    }
    return out;
}

}  // namespace vmbus
