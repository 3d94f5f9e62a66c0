#include "models/network/coalescing.h"

#include <algorithm>
#include <utility>

#include "models/network/byte_order.h"
#include "models/network/checksum.h"

namespace models {

namespace {

bool same_stream(const Headers& a, const Headers& b) {
    return a.is_tcp() && b.is_tcp() && a.source_port == b.source_port && a.destination_port == b.destination_port &&
           a.ip_source == b.ip_source && a.ip_destination == b.ip_destination;
}

std::uint8_t tcp_flags(const Frame& frame, const Headers& h) {
    return load_u8(frame.bytes, h.transport_offset + 13);
}

// Data and nothing else, with a sound checksum and plain IP headers.
bool can_coalesce(Frame& frame, const Headers& h) {
    if (!h.is_tcp() || frame.large_send_mss != 0 || h.payload_bytes() == 0) return false;
    if (h.transport_offset - h.network_offset != (h.ip == IpFamily::v4 ? 20u : 40u)) return false;
    if ((tcp_flags(frame, h) | tcp_flag::psh) != (tcp_flag::ack | tcp_flag::psh)) return false;
    if (frame.transport_verdict == ChecksumVerdict::unknown || frame.ip_verdict == ChecksumVerdict::unknown) {
        verify_checksums(frame);
    }
    return frame.transport_verdict == ChecksumVerdict::good && frame.ip_verdict != ChecksumVerdict::bad;
}

bool equal_range(const Frame& a, const Frame& b, std::size_t from, std::size_t to) {
    return std::equal(a.bytes.begin() + static_cast<std::ptrdiff_t>(from),
                      a.bytes.begin() + static_cast<std::ptrdiff_t>(to),
                      b.bytes.begin() + static_cast<std::ptrdiff_t>(from));
}

// Everything in the headers that both must have alike.
bool headers_agree(const Frame& a, const Headers& ha, const Frame& b, const Headers& hb) {
    if (ha.payload_offset != hb.payload_offset || ha.network_offset != hb.network_offset || a.vlan != b.vlan) {
        return false;
    }
    const std::size_t net = ha.network_offset;
    const std::size_t tcp = ha.transport_offset;
    const bool network = ha.ip == IpFamily::v4 ? equal_range(a, b, net, net + 2) && equal_range(a, b, net + 6, net + 10)
                                               : equal_range(a, b, net, net + 4) && equal_range(a, b, net + 6, net + 8);
    return equal_range(a, b, 0, net) && network && equal_range(a, b, tcp + 8, tcp + 12) &&  // acknowledgement
           equal_range(a, b, tcp + 20, ha.payload_offset);                                  // options
}

}  // namespace

void Coalescer::add(Frame&& frame, std::vector<Frame>& ready) {
    const auto h = parse_headers(frame);
    if (!h || !h->is_tcp()) {
        ready.push_back(std::move(frame));
        return;
    }
    std::size_t index = 0;
    while (index < held_.size() && !same_stream(*parse_headers(held_[index].frame), *h)) ++index;
    if (!can_coalesce(frame, *h)) {
        if (index < held_.size()) release(index, ready);
        ready.push_back(std::move(frame));
        return;
    }
    const std::uint32_t sequence = load_be32(frame.bytes, h->transport_offset + 4);
    const std::uint32_t payload = h->payload_bytes();
    const bool push = (tcp_flags(frame, *h) & tcp_flag::psh) != 0;
    if (index < held_.size()) {
        Held& held = held_[index];
        const auto first = *parse_headers(held.frame);
        const bool fits = held.frame.size() - first.network_offset + payload <= maximum_ip_bytes;
        if (sequence == held.next_sequence && payload <= held.segment_bytes && fits &&
            headers_agree(held.frame, first, frame, *h)) {
            auto& bytes = held.frame.bytes;
            const auto data = std::span{frame.bytes}.subspan(h->payload_offset, payload);
            bytes.insert(bytes.end(), data.begin(), data.end());
            held.next_sequence += payload;
            ++held.frame.coalesced_segments;
            store_be16(bytes, first.transport_offset + 14, load_be16(frame.bytes, h->transport_offset + 14));
            bytes[first.transport_offset + 13] = frame.bytes[h->transport_offset + 13];
            const std::size_t whole = bytes.size() - first.network_offset;
            store_be16(bytes, first.network_offset + (first.ip == IpFamily::v4 ? 2 : 4),
                       static_cast<std::uint16_t>(first.ip == IpFamily::v4 ? whole : whole - 40));
            // A push, or a segment that is not full, ends what belongs together.
            if (push || payload < held.segment_bytes) release(index, ready);
            return;
        }
        release(index, ready);
    }
    if (push) {
        ready.push_back(std::move(frame));
        return;
    }
    if (held_.size() == flows) release(0, ready);
    frame.bytes.resize(h->end);  // padding would come between the payloads
    frame.coalesced_segments = 1;
    held_.push_back({std::move(frame), payload, sequence + payload});
}

std::size_t Coalescer::segments() const {
    std::size_t n = 0;
    for (const Held& held : held_) n += held.frame.coalesced_segments;
    return n;
}

void Coalescer::flush(std::vector<Frame>& ready) {
    while (!held_.empty()) release(0, ready);
}

void Coalescer::release(std::size_t index, std::vector<Frame>& ready) {
    Frame frame = std::move(held_[index].frame);
    held_.erase(held_.begin() + static_cast<std::ptrdiff_t>(index));
    if (frame.coalesced_segments <= 1) {
        frame.coalesced_segments = 0;
    } else {
        frame.fill = {
            .ip = (load_u8(frame.bytes, parse_headers(frame)->network_offset) >> 4) == 4, .tcp = true, .udp = false};
    }
    ready.push_back(std::move(frame));
}

}  // namespace models
