#include "models/network/segmentation.h"

#include <algorithm>
#include <utility>

#include "models/network/byte_order.h"
#include "models/network/checksum.h"

namespace models {

namespace {

void write_ip_length(Frame& frame, const Headers& h) {
    const std::size_t whole = frame.bytes.size() - h.network_offset;
    if (h.ip == IpFamily::v4) {
        store_be16(frame.bytes, h.network_offset + 2, static_cast<std::uint16_t>(whole));
    } else {
        store_be16(frame.bytes, h.network_offset + 4, static_cast<std::uint16_t>(whole - 40));
    }
}

}  // namespace

bool is_sound_large_send(const Frame& frame, const Headers& h) {
    if (!h.is_tcp() || frame.large_send_mss < minimum_large_send_mss || h.end != frame.bytes.size()) return false;
    const std::size_t whole = frame.bytes.size() - h.network_offset;
    return whole <= 0xffff + (h.ip == IpFamily::v6 ? std::size_t{40} : 0);
}

void write_large_send_length(Frame& frame, const Headers& h) {
    if (frame.large_send_mss != 0 && is_sound_large_send(frame, h)) write_ip_length(frame, h);
}

std::uint32_t segment_count(const Frame& frame) {
    if (frame.large_send_mss == 0) return 1;
    const auto h = parse_headers(frame);
    if (!h || !is_sound_large_send(frame, *h)) return 1;
    const std::uint32_t mss = frame.large_send_mss;
    return std::max<std::uint32_t>(1, (h->payload_bytes() + mss - 1) / mss);
}

void cut_into_segments(Frame&& frame, std::vector<Frame>& segments) {
    const auto h = frame.large_send_mss != 0 ? parse_headers(frame) : std::nullopt;
    if (!h || !is_sound_large_send(frame, *h)) {
        frame.large_send_mss = 0;
        segments.push_back(std::move(frame));
        return;
    }
    const std::uint32_t mss = frame.large_send_mss;
    const std::uint32_t payload = h->payload_bytes();
    const std::size_t flags_at = h->transport_offset + 13;
    const std::uint32_t first_sequence = load_be32(frame.bytes, h->transport_offset + 4);
    const std::uint8_t flags = load_u8(frame.bytes, flags_at);
    const std::uint16_t first_id = h->ip == IpFamily::v4 ? load_be16(frame.bytes, h->network_offset + 4) : 0;
    const auto header = std::span{frame.bytes}.first(h->payload_offset);
    for (std::uint32_t offset = 0, n = 0; offset == 0 || offset < payload; offset += mss, ++n) {
        const std::uint32_t length = std::min(mss, payload - offset);
        Frame segment;
        segment.vlan = frame.vlan;
        segment.hash = frame.hash;
        segment.ip_verdict = frame.ip_verdict;
        segment.transport_verdict = frame.transport_verdict;
        segment.fill = {.ip = h->ip == IpFamily::v4, .tcp = true, .udp = false};
        segment.bytes.reserve(header.size() + length);
        segment.bytes.assign(header.begin(), header.end());
        const auto data = std::span{frame.bytes}.subspan(h->payload_offset + offset, length);
        segment.bytes.insert(segment.bytes.end(), data.begin(), data.end());
        write_ip_length(segment, *h);
        if (h->ip == IpFamily::v4) {
            store_be16(segment.bytes, h->network_offset + 4, static_cast<std::uint16_t>(first_id + n));
        }
        store_be32(segment.bytes, h->transport_offset + 4, first_sequence + offset);
        // What ends a stream or pushes it belongs to the last segment; the congestion answer to the first.
        std::uint8_t own = flags;
        if (offset + length < payload) own &= static_cast<std::uint8_t>(~(tcp_flag::fin | tcp_flag::psh));
        if (n != 0) own &= static_cast<std::uint8_t>(~tcp_flag::cwr);
        segment.bytes[flags_at] = static_cast<std::byte>(own);
        segments.push_back(std::move(segment));
    }
}

void finish_for_wire(Frame&& frame, std::vector<Frame>& finished) {
    const std::size_t first = finished.size();
    cut_into_segments(std::move(frame), finished);
    for (std::size_t i = first; i < finished.size(); ++i) {
        Frame& one = finished[i];
        (void)fill_checksums(one);
        put_tag_in(one);
        one = Frame{std::move(one.bytes)};
    }
}

}  // namespace models
