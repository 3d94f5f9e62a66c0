#include "models/network/checksum.h"

#include "models/network/byte_order.h"

namespace models {

namespace {

std::uint16_t fold(std::uint64_t sum) {
    while (sum >> 16 != 0) sum = (sum & 0xffff) + (sum >> 16);
    return static_cast<std::uint16_t>(sum);
}

std::uint16_t pseudo_header_sum(std::span<const std::byte> bytes, const Headers& h) {
    const std::size_t at = h.network_offset;
    const std::uint32_t length = h.end - h.transport_offset;
    // UDP's own length counts, which may be shorter than the datagram's.
    const std::uint32_t initial = h.protocol + length;
    return h.ip == IpFamily::v4 ? ones_complement_sum(bytes.subspan(at + 12, 8), initial)
                                : ones_complement_sum(bytes.subspan(at + 8, 32), initial);
}

}  // namespace

std::uint16_t ones_complement_sum(std::span<const std::byte> bytes, std::uint32_t initial) {
    // Summed in the host's order eight bytes at a time: the ones' complement sum does not mind (RFC 1071, 2.B).
    std::uint64_t sum = 0;
    std::size_t i = 0;
    for (; i + 8 <= bytes.size(); i += 8) {
        std::uint64_t word = 0;
        std::memcpy(&word, bytes.data() + i, 8);
        sum += word;
        sum += sum < word ? 1 : 0;
    }
    std::uint64_t rest = 0;
    if (i < bytes.size()) std::memcpy(&rest, bytes.data() + i, bytes.size() - i);
    sum += rest;
    sum += sum < rest ? 1 : 0;
    const std::uint16_t folded = fold((sum & 0xffff'ffff) + (sum >> 32));
    return fold(static_cast<std::uint64_t>(__builtin_bswap16(folded)) + initial);
}

std::uint16_t ipv4_header_checksum(std::span<const std::byte> bytes, const Headers& h) {
    const auto header = bytes.subspan(h.network_offset, h.transport_offset - h.network_offset);
    const std::uint16_t before = ones_complement_sum(header.first(10));
    return static_cast<std::uint16_t>(~ones_complement_sum(header.subspan(12), before));
}

std::size_t transport_checksum_offset(const Headers& h) {
    if (h.is_tcp()) return h.transport_offset + 16;
    if (h.is_udp()) return h.transport_offset + 6;
    const bool icmp = (h.ip == IpFamily::v4 && h.protocol == ip_protocol::icmp) ||
                      (h.ip == IpFamily::v6 && h.protocol == ip_protocol::icmpv6);
    return icmp && !h.fragment && h.end - h.transport_offset >= 4 ? h.transport_offset + 2 : 0;
}

std::uint16_t transport_checksum(std::span<const std::byte> bytes, const Headers& headers) {
    Headers h = headers;
    const std::size_t field = transport_checksum_offset(h);
    VG_CHECK(field != 0);
    if (h.is_udp()) h.end = h.transport_offset + load_be16(bytes, h.transport_offset + 4);
    const bool pseudo = h.protocol != ip_protocol::icmp;
    std::uint16_t sum = pseudo ? pseudo_header_sum(bytes, h) : std::uint16_t{0};
    sum = ones_complement_sum(bytes.subspan(h.transport_offset, field - h.transport_offset), sum);
    sum = ones_complement_sum(bytes.subspan(field + 2, h.end - field - 2), sum);
    const auto checksum = static_cast<std::uint16_t>(~sum);
    return h.is_udp() && checksum == 0 ? std::uint16_t{0xffff} : checksum;
}

bool request_matches(const Frame& frame, const Headers& h) {
    return (!frame.fill.ip || h.ip == IpFamily::v4) && (!frame.fill.tcp || h.is_tcp()) &&
           (!frame.fill.udp || h.is_udp());
}

bool fill_checksums(Frame& frame) {
    if (!frame.fill.any()) return true;
    const auto h = parse_headers(frame);
    if (!h || !request_matches(frame, *h)) return false;
    if (frame.fill.ip) store_be16(frame.bytes, h->network_offset + 10, ipv4_header_checksum(frame.bytes, *h));
    if (frame.fill.tcp || frame.fill.udp) {
        store_be16(frame.bytes, transport_checksum_offset(*h), transport_checksum(frame.bytes, *h));
    }
    frame.fill = {};
    return true;
}

void verify_checksums(Frame& frame) {
    const auto h = parse_headers(frame);
    if (!h || h->ip == IpFamily::none) return;
    const auto verdict = [](bool good) { return good ? ChecksumVerdict::good : ChecksumVerdict::bad; };
    if (h->ip == IpFamily::v4) {
        frame.ip_verdict = verdict(frame.fill.ip || load_be16(frame.bytes, h->network_offset + 10) ==
                                                        ipv4_header_checksum(frame.bytes, *h));
    }
    const std::size_t field = transport_checksum_offset(*h);
    if (field == 0) return;
    const std::uint16_t stored = load_be16(frame.bytes, field);
    const bool filled_later = frame.fill.tcp || frame.fill.udp;
    const bool none = h->is_udp() && h->ip == IpFamily::v4 && stored == 0;
    frame.transport_verdict = verdict(filled_later || none || stored == transport_checksum(frame.bytes, *h));
}

}  // namespace models
