#include "models/disk/utf16.h"

#include <cstdint>

namespace models {
namespace {

constexpr char32_t replacement = 0xfffd;

char32_t next_code_point(std::string_view& text) {
    const auto lead = static_cast<unsigned char>(text.front());
    text.remove_prefix(1);
    if (lead < 0x80) return lead;
    const unsigned more = lead >= 0xf0 && lead < 0xf5   ? 3
                          : lead >= 0xe0 && lead < 0xf0 ? 2
                          : lead >= 0xc2 && lead < 0xe0 ? 1
                                                        : 0;
    if (more == 0 || text.size() < more) return replacement;
    char32_t code = lead & (0x3fu >> more);
    for (unsigned i = 0; i < more; ++i) {
        const auto byte = static_cast<unsigned char>(text[i]);
        if ((byte & 0xc0) != 0x80) return replacement;
        code = (code << 6) | (byte & 0x3f);
    }
    text.remove_prefix(more);
    constexpr char32_t least[] = {0, 0x80, 0x800, 0x10000};
    const bool valid = code >= least[more] && code <= 0x10ffff && (code < 0xd800 || code > 0xdfff);
    return valid ? code : replacement;
}

void put_utf8(std::string& text, char32_t code) {
    const auto put = [&](char32_t value) { text += static_cast<char>(value); };
    if (code < 0x80) return put(code);
    if (code < 0x800) {
        put(0xc0 | (code >> 6));
    } else if (code < 0x10000) {
        put(0xe0 | (code >> 12));
        put(0x80 | ((code >> 6) & 0x3f));
    } else {
        put(0xf0 | (code >> 18));
        put(0x80 | ((code >> 12) & 0x3f));
        put(0x80 | ((code >> 6) & 0x3f));
    }
    put(0x80 | (code & 0x3f));
}

}  // namespace

std::vector<std::byte> utf16_of(std::string_view text, ByteOrder order) {
    std::vector<std::byte> units;
    const auto put = [&](char32_t unit) {
        const auto low = static_cast<std::byte>(unit & 0xff), high = static_cast<std::byte>(unit >> 8);
        units.push_back(order == ByteOrder::little ? low : high);
        units.push_back(order == ByteOrder::little ? high : low);
    };
    while (!text.empty()) {
        const char32_t code = next_code_point(text);
        if (code >= 0x10000) {
            put(0xd800 | ((code - 0x10000) >> 10));
            put(0xdc00 | ((code - 0x10000) & 0x3ff));
        } else {
            put(code);
        }
    }
    return units;
}

std::string text_of_utf16(std::span<const std::byte> units, ByteOrder order) {
    const std::size_t count = units.size() / 2;
    const auto unit = [&](std::size_t i) {
        const auto first = static_cast<char32_t>(units[2 * i]), second = static_cast<char32_t>(units[2 * i + 1]);
        return order == ByteOrder::little ? first | (second << 8) : second | (first << 8);
    };
    std::string text;
    for (std::size_t i = 0; i < count && unit(i) != 0; ++i) {
        char32_t code = unit(i);
        if (code >= 0xd800 && code < 0xdc00 && i + 1 < count && unit(i + 1) >= 0xdc00 && unit(i + 1) < 0xe000) {
            code = 0x10000 + ((code & 0x3ff) << 10) + (unit(i + 1) & 0x3ff);
            ++i;
        } else if (code >= 0xd800 && code < 0xe000) {
            code = replacement;
        }
        put_utf8(text, code);
    }
    return text;
}

}  // namespace models
