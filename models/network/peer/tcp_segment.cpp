#include "models/network/peer/tcp_segment.h"

#include "models/network/byte_order.h"

namespace models {

namespace {

namespace tcp_option {
constexpr std::uint8_t end = 0;
constexpr std::uint8_t no_operation = 1;
constexpr std::uint8_t mss = 2;
constexpr std::uint8_t window_shift = 3;
constexpr std::uint8_t sack_permitted = 4;
constexpr std::uint8_t sack = 5;
constexpr std::uint8_t timestamps = 8;
}  // namespace tcp_option

void read_option(std::uint8_t kind, std::span<const std::byte> value, TcpSegment& s) {
    if (kind == tcp_option::mss && value.size() == 2) {
        s.mss = load_be16(value, 0);
    } else if (kind == tcp_option::window_shift && value.size() == 1) {
        s.window_shift = load_u8(value, 0);
    } else if (kind == tcp_option::sack_permitted && value.empty()) {
        s.sack_permitted = true;
    } else if (kind == tcp_option::timestamps && value.size() == 8) {
        s.timestamps = TcpTimestamps{load_be32(value, 0), load_be32(value, 4)};
    } else if (kind == tcp_option::sack && value.size() % 8 == 0 && value.size() <= 32) {
        s.sack_blocks = static_cast<std::uint8_t>(value.size() / 8);
        for (unsigned i = 0; i < s.sack_blocks; ++i) {
            s.sack[i] = {load_be32(value, 8 * i), load_be32(value, 8 * i + 4)};
        }
    }
}

template <class T>
void append(std::vector<std::byte>& bytes, T value) {
    for (std::size_t i = sizeof(T); i-- > 0;) bytes.push_back(static_cast<std::byte>(value >> (8 * i)));
}

}  // namespace

std::optional<TcpSegment> parse_tcp(std::span<const std::byte> bytes, const Headers& h) {
    VG_CHECK(h.is_tcp());
    const std::size_t at = h.transport_offset;
    TcpSegment s;
    s.source_port = h.source_port;
    s.destination_port = h.destination_port;
    s.sequence = load_be32(bytes, at + 4);
    s.acknowledgement = load_be32(bytes, at + 8);
    s.flags = load_u8(bytes, at + 13);
    s.window = load_be16(bytes, at + 14);
    s.payload = bytes.subspan(h.payload_offset, h.payload_bytes());
    auto options = bytes.subspan(at + 20, h.payload_offset - at - 20);
    while (!options.empty()) {
        const std::uint8_t kind = load_u8(options, 0);
        if (kind == tcp_option::end) break;
        if (kind == tcp_option::no_operation) {
            options = options.subspan(1);
            continue;
        }
        if (options.size() < 2) return std::nullopt;
        const std::uint8_t length = load_u8(options, 1);
        if (length < 2 || length > options.size()) return std::nullopt;
        read_option(kind, options.subspan(2, length - 2u), s);
        options = options.subspan(length);
    }
    return s;
}

void append_tcp_header(const TcpSegment& s, std::vector<std::byte>& bytes) {
    const std::size_t start = bytes.size();
    append(bytes, s.source_port);
    append(bytes, s.destination_port);
    append(bytes, s.sequence);
    append(bytes, s.acknowledgement);
    append(bytes, std::uint8_t{0});
    append(bytes, s.flags);
    append(bytes, s.window);
    append(bytes, std::uint32_t{0});  // checksum, urgent pointer
    const auto pad = [&] { append(bytes, tcp_option::no_operation); };
    if (s.mss) {
        append(bytes, std::uint16_t{tcp_option::mss << 8 | 4});
        append(bytes, *s.mss);
    }
    if (s.sack_permitted) {
        if (!s.timestamps) {
            pad();
            pad();
        }
        append(bytes, std::uint16_t{tcp_option::sack_permitted << 8 | 2});
    }
    if (s.timestamps) {
        if (!s.sack_permitted) {
            pad();
            pad();
        }
        append(bytes, std::uint16_t{tcp_option::timestamps << 8 | 10});
        append(bytes, s.timestamps->value);
        append(bytes, s.timestamps->echo);
    }
    if (s.window_shift) {
        pad();
        append(bytes, std::uint16_t{tcp_option::window_shift << 8 | 3});
        append(bytes, *s.window_shift);
    }
    if (s.sack_blocks != 0) {
        pad();
        pad();
        append(bytes, tcp_option::sack);
        append(bytes, static_cast<std::uint8_t>(2 + 8 * s.sack_blocks));
        for (unsigned i = 0; i < s.sack_blocks; ++i) {
            append(bytes, s.sack[i].left);
            append(bytes, s.sack[i].right);
        }
    }
    const std::size_t header_bytes = bytes.size() - start;
    VG_CHECK(header_bytes % 4 == 0 && header_bytes <= 60);
    bytes[start + 12] = static_cast<std::byte>(header_bytes / 4 << 4);
}

}  // namespace models
