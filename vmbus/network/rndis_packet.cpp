#include "vmbus/network/rndis_packet.h"

#include <algorithm>

#include "sim/bits.h"
#include "sim/check.h"
#include "vmbus/network/layout.h"
#include "vmbus/network/rndis.h"

namespace vmbus {

namespace {

using rndis::PacketInformation;

constexpr std::uint32_t least_tcp_header_bytes = 20;
// A large send may be as long as IP allows.
constexpr std::uint32_t longest_large_send = rndis::ethernet_header_bytes + 0xffff;
// Windows' driver doesn't use the end of a section (openvmm, netvsp/src/buffers.rs).
constexpr std::uint32_t unused_section_bytes = 36;

std::uint32_t capacity(std::uint32_t section_bytes) {
    constexpr auto overhead = static_cast<std::uint32_t>(rndis::packet_overhead) + unused_section_bytes;
    VG_CHECK(section_bytes > overhead);
    return section_bytes - overhead;
}

// IEEE 802.1Q has priority, eligibility, identifier from high to low, NDIS the other way round.
std::uint32_t ndis_vlan(std::uint16_t tci) {
    return (tci >> 13 & 7u) | (tci >> 12 & 1u) << 3 | (tci & 0xfffu) << 4;
}
std::uint16_t tci(std::uint32_t ndis_vlan) {
    return static_cast<std::uint16_t>((ndis_vlan & 7) << 13 | (ndis_vlan >> 3 & 1) << 12 | (ndis_vlan >> 4 & 0xfff));
}

// One piece after the other; false if the list is not sound, or if `take` doesn't want a piece.
template <class Take>
bool for_each_information(std::span<const std::byte> list, Take&& take) {
    while (!list.empty()) {
        const auto piece = read_layout<PacketInformation>(list);
        if (!piece || piece->bytes < sizeof(PacketInformation) || piece->bytes > list.size()) return false;
        if (piece->offset > piece->bytes) return false;
        if (!take(piece->type, list.subspan(piece->offset, piece->bytes - piece->offset))) return false;
        list = list.subspan(piece->bytes);
    }
    return true;
}

void append_information(std::vector<std::byte>& bytes, std::uint32_t type, std::uint32_t value) {
    append_layout(bytes, PacketInformation{rndis::information_bytes, type, sizeof(PacketInformation)});
    append_layout(bytes, value);
}

struct SendInformation {
    std::uint32_t checksum = 0;
    std::uint32_t large_send = 0;
    bool has_large_send = false;
};

SendFault apply(const SendInformation& information, const OffloadSettings& offloads, OutgoingFrame& frame) {
    using namespace rndis;
    const auto length = static_cast<std::uint32_t>(frame.bytes.size());
    if (information.has_large_send) {
        const std::uint32_t word = information.large_send;
        if ((word & large_send::version_2) == 0) return SendFault::unsupported;
        const bool v6 = (word & large_send::is_ipv6) != 0;
        if (!(v6 ? offloads.large_send_ipv6 : offloads.large_send_ipv4)) return SendFault::offload_not_enabled;
        const std::uint32_t mss = word & large_send::mss_mask;
        const std::uint32_t offset = word >> large_send::transport_offset_low & 0x3ff;
        if (mss == 0 || mss > 0xffff || offset < rndis::ethernet_header_bytes) return SendFault::malformed;
        if (offset + least_tcp_header_bytes > length) return SendFault::malformed;
        frame.large_send_mss = static_cast<std::uint16_t>(mss);
        frame.transport_offset = static_cast<std::uint16_t>(offset);
        frame.fill_tcp_checksum = true;
        frame.fill_ip_checksum = !v6;
        return SendFault::none;
    }
    const std::uint32_t word = information.checksum;
    const bool v4 = (word & send_checksum::is_ipv4) != 0;
    const bool v6 = !v4 && (word & send_checksum::is_ipv6) != 0;
    if (!v4 && !v6) return SendFault::none;
    frame.fill_ip_checksum = v4 && (word & send_checksum::ip_header) != 0;
    frame.fill_tcp_checksum = (word & send_checksum::tcp) != 0;
    frame.fill_udp_checksum = !frame.fill_tcp_checksum && (word & send_checksum::udp) != 0;
    const std::uint32_t offset = word >> send_checksum::transport_offset_low & 0x3ff;
    if (offset != 0 && (offset < rndis::ethernet_header_bytes || offset >= length)) return SendFault::malformed;
    frame.transport_offset = static_cast<std::uint16_t>(offset);
    const auto& enabled = offloads.send;
    if (frame.fill_ip_checksum && !enabled.ip) return SendFault::offload_not_enabled;
    if (frame.fill_tcp_checksum && !(v4 ? enabled.tcp4 : enabled.tcp6)) return SendFault::offload_not_enabled;
    if (frame.fill_udp_checksum && !(v4 ? enabled.udp4 : enabled.udp6)) return SendFault::offload_not_enabled;
    return SendFault::none;
}

SendFault parse_data_message(std::span<const std::byte> message, const SendLimits& limits, OutgoingFrame& frame) {
    using namespace rndis;
    const auto packet = read_layout<Packet>(message, header_bytes);
    if (!packet) return SendFault::malformed;
    if (packet->oob_elements != 0 || packet->oob_bytes != 0 || packet->vc_handle != 0) return SendFault::unsupported;
    const auto body = message.subspan(header_bytes);
    const auto data = part(body, packet->data_offset, packet->data_bytes);
    if (!data || data->size() < rndis::ethernet_header_bytes) return SendFault::malformed;
    SendInformation information;
    if (packet->information_bytes != 0) {
        const auto list = part(body, packet->information_offset, packet->information_bytes);
        if (!list || packet->information_offset < sizeof(Packet)) return SendFault::malformed;
        const bool sound = for_each_information(*list, [&](std::uint32_t type, std::span<const std::byte> value) {
            const bool known = type == information_type::checksum || type == information_type::large_send ||
                               type == information_type::ieee_8021q || type == information_type::hash_value;
            if (!known) return true;
            const auto word = read_layout<std::uint32_t>(value);
            if (!word) return false;
            if (type == information_type::checksum) information.checksum = *word;
            if (type == information_type::large_send) {
                information.large_send = *word;
                information.has_large_send = true;
            }
            if (type == information_type::ieee_8021q) frame.vlan_tci = tci(*word);
            if (type == information_type::hash_value) frame.hash = *word;
            return true;
        });
        if (!sound) return SendFault::malformed;
    }
    const std::uint32_t longest = information.has_large_send ? longest_large_send : limits.frame_bytes;
    if (data->size() > longest) return SendFault::too_long;
    frame.bytes.assign(data->begin(), data->end());
    return apply(information, limits.offloads, frame);
}

}  // namespace

FrameKind frame_kind(std::span<const std::byte> frame) {
    constexpr std::uint16_t tag = 0x8100;
    constexpr std::uint8_t tcp = 6;
    constexpr std::uint8_t udp = 17;
    const auto byte = [&](std::size_t at) -> unsigned {
        return at < frame.size() ? std::to_integer<unsigned>(frame[at]) : 0;
    };
    std::size_t at = 12;
    const auto ether_type = [&] { return byte(at) << 8 | byte(at + 1); };
    if (ether_type() == tag) at += 4;
    FrameKind kind;
    unsigned protocol = 0;
    if (ether_type() == 0x0800 && byte(at + 2) >> 4 == 4) {
        kind.ipv4 = true;
        protocol = byte(at + 2 + 9);
    } else if (ether_type() == 0x86dd && byte(at + 2) >> 4 == 6) {
        kind.ipv6 = true;
        protocol = byte(at + 2 + 6);
        // Hop-by-hop, routing and destination options stand before a transport header.
        std::size_t next = at + 2 + 40;
        for (int n = 0; n < 8 && (protocol == 0 || protocol == 43 || protocol == 60); ++n) {
            protocol = byte(next);
            next += (byte(next + 1) + 1) * 8;
            if (next >= frame.size()) protocol = 59;  // nothing
        }
    }
    kind.tcp = protocol == tcp;
    kind.udp = protocol == udp;
    return kind;
}

SendFault parse_data_messages(std::span<const std::byte> bytes, const SendLimits& limits,
                              std::vector<OutgoingFrame>& frames) {
    const std::size_t before = frames.size();
    SendFault fault = bytes.empty() ? SendFault::malformed : SendFault::none;
    while (!bytes.empty() && fault == SendFault::none) {
        const auto header = read_layout<rndis::Header>(bytes);
        if (!header || header->type != rndis::MessageType::packet || header->length < rndis::header_bytes ||
            header->length > bytes.size()) {
            fault = SendFault::malformed;
            break;
        }
        fault = parse_data_message(bytes.first(header->length), limits, frames.emplace_back());
        bytes = bytes.subspan(header->length);
    }
    if (fault != SendFault::none) frames.resize(before);
    return fault;
}

std::vector<std::byte> data_message(const OutgoingFrame& frame, std::size_t alignment, std::size_t* offset) {
    using namespace rndis;
    std::vector<std::byte> information;
    if (frame.hash) append_information(information, information_type::hash_value, *frame.hash);
    if (frame.vlan_tci) append_information(information, information_type::ieee_8021q, ndis_vlan(*frame.vlan_tci));
    const bool v6 = frame_kind(frame.bytes).ipv6;
    if (frame.large_send_mss != 0) {
        append_information(information, information_type::large_send,
                           frame.large_send_mss | large_send::version_2 | (v6 ? large_send::is_ipv6 : 0) |
                               static_cast<std::uint32_t>(frame.transport_offset) << large_send::transport_offset_low);
    } else if (frame.fill_ip_checksum || frame.fill_tcp_checksum || frame.fill_udp_checksum) {
        append_information(information, information_type::checksum,
                           (v6 ? send_checksum::is_ipv6 : send_checksum::is_ipv4) |
                               (frame.fill_ip_checksum ? send_checksum::ip_header : 0) |
                               (frame.fill_tcp_checksum ? send_checksum::tcp : 0) |
                               (frame.fill_udp_checksum ? send_checksum::udp : 0) |
                               static_cast<std::uint32_t>(frame.transport_offset)
                                   << send_checksum::transport_offset_low);
    }
    Packet packet;
    packet.data_offset = static_cast<std::uint32_t>(sizeof(Packet) + information.size());
    packet.data_bytes = static_cast<std::uint32_t>(frame.bytes.size());
    packet.information_offset = sizeof(Packet);
    packet.information_bytes = static_cast<std::uint32_t>(information.size());
    const std::size_t front = header_bytes + sizeof(Packet) + information.size();
    const std::size_t length = sim::align_up(front + frame.bytes.size(), alignment);
    std::vector<std::byte> bytes;
    bytes.reserve(length);
    append_layout(bytes, Header{rndis::MessageType::packet, static_cast<std::uint32_t>(length)});
    append_layout(bytes, packet);
    bytes.insert(bytes.end(), information.begin(), information.end());
    bytes.insert(bytes.end(), frame.bytes.begin(), frame.bytes.end());
    bytes.resize(length);
    if (offset != nullptr) *offset = front;
    return bytes;
}

std::size_t sections_needed(std::size_t frame_bytes, std::uint32_t section_bytes) {
    const std::uint32_t each = capacity(section_bytes);
    return frame_bytes <= each ? 1 : (frame_bytes + each - 1) / each;
}

std::vector<std::vector<std::byte>> receive_messages(const IncomingFrame& frame, const OffloadSettings& offloads,
                                                     std::uint32_t section_bytes, std::uint16_t packet_id) {
    using namespace rndis;
    std::uint32_t verdict = 0;
    const FrameKind kind = frame_kind(frame.bytes);
    const auto add = [&verdict](ChecksumState state, std::uint32_t good, std::uint32_t bad, std::uint32_t invalid) {
        if (state == ChecksumState::bad) verdict |= bad;
        if (state == ChecksumState::good || state == ChecksumState::absent) verdict |= good;
        if (state == ChecksumState::absent) verdict |= invalid;
    };
    // The IP header of a coalesced frame is the switch's own work, whatever the guest has set for others.
    if (kind.ipv4 && (offloads.receive.ip || frame.ip_checksum == ChecksumState::absent)) {
        add(frame.ip_checksum, receive_checksum::ip_succeeded, receive_checksum::ip_failed,
            receive_checksum::ip_value_invalid);
    }
    if (kind.tcp && (kind.ipv6 ? offloads.receive.tcp6 : offloads.receive.tcp4)) {
        add(frame.tcp_checksum, receive_checksum::tcp_succeeded, receive_checksum::tcp_failed,
            receive_checksum::tcp_value_invalid);
    }
    if (kind.udp && (kind.ipv6 ? offloads.receive.udp6 : offloads.receive.udp4)) {
        add(frame.udp_checksum, receive_checksum::udp_succeeded, receive_checksum::udp_failed, 0);
    }
    const std::size_t parts = sections_needed(frame.bytes.size(), section_bytes);
    const std::size_t each = parts == 1 ? frame.bytes.size() : capacity(section_bytes);
    std::vector<std::vector<std::byte>> laid_out;
    laid_out.reserve(parts);
    for (std::size_t n = 0; n < parts; ++n) {
        const std::size_t from = n * each;
        const std::size_t length = std::min(each, frame.bytes.size() - from);
        std::vector<std::byte> information;
        if (frame.vlan_tci) append_information(information, information_type::ieee_8021q, ndis_vlan(*frame.vlan_tci));
        if (verdict != 0) append_information(information, information_type::checksum, verdict);
        if (frame.hash) append_information(information, information_type::hash_value, *frame.hash);
        if (parts > 1) {
            PacketId id;
            id.id = packet_id;
            id.flags = packet_id_flag::several_sections;
            if (n == 0) id.flags |= packet_id_flag::first;
            if (n + 1 == parts) id.flags |= packet_id_flag::last;
            append_layout(information,
                          PacketInformation{information_bytes, information_type::packet_id, sizeof(PacketInformation)});
            append_layout(information, id);
        }
        Packet packet;
        packet.data_offset = static_cast<std::uint32_t>(sizeof(Packet) + information.size());
        packet.data_bytes = static_cast<std::uint32_t>(length);
        // No information is said by no offset: Linux takes an empty list for a damaged one.
        packet.information_offset = information.empty() ? 0 : sizeof(Packet);
        packet.information_bytes = static_cast<std::uint32_t>(information.size());
        std::vector<std::byte>& bytes = laid_out.emplace_back();
        const std::size_t total = header_bytes + sizeof(Packet) + information.size() + length;
        bytes.reserve(total);
        append_layout(bytes, Header{rndis::MessageType::packet, static_cast<std::uint32_t>(total)});
        append_layout(bytes, packet);
        bytes.insert(bytes.end(), information.begin(), information.end());
        bytes.insert(bytes.end(), frame.bytes.begin() + static_cast<std::ptrdiff_t>(from),
                     frame.bytes.begin() + static_cast<std::ptrdiff_t>(from + length));
        VG_CHECK(bytes.size() <= section_bytes);
    }
    return laid_out;
}

bool parse_received_message(std::span<const std::byte> bytes, ReceivedMessage& received) {
    using namespace rndis;
    const auto header = read_layout<Header>(bytes);
    const auto packet = read_layout<Packet>(bytes, header_bytes);
    if (!header || !packet || header->type != rndis::MessageType::packet || header->length > bytes.size()) return false;
    const auto body = bytes.subspan(header_bytes);
    const auto data = part(body, packet->data_offset, packet->data_bytes);
    if (!data || packet->data_offset >= body.size()) return false;
    received.frame.bytes.assign(data->begin(), data->end());
    if (packet->information_offset == 0) return true;
    const auto list = part(body, packet->information_offset, packet->information_bytes);
    if (!list || packet->information_offset < sizeof(Packet) || list->size() < sizeof(PacketInformation)) return false;
    return for_each_information(*list, [&](std::uint32_t type, std::span<const std::byte> value) {
        const auto word = read_layout<std::uint32_t>(value);
        if (!word) return false;
        const auto state = [&](std::uint32_t good, std::uint32_t bad, std::uint32_t invalid) {
            if ((*word & bad) != 0) return ChecksumState::bad;
            if ((*word & good) == 0) return ChecksumState::unknown;
            return (*word & invalid) != 0 ? ChecksumState::absent : ChecksumState::good;
        };
        switch (type) {
            case information_type::checksum:
                received.frame.ip_checksum = state(receive_checksum::ip_succeeded, receive_checksum::ip_failed,
                                                   receive_checksum::ip_value_invalid);
                received.frame.tcp_checksum = state(receive_checksum::tcp_succeeded, receive_checksum::tcp_failed,
                                                    receive_checksum::tcp_value_invalid);
                received.frame.udp_checksum = state(receive_checksum::udp_succeeded, receive_checksum::udp_failed, 0);
                break;
            case information_type::ieee_8021q:
                received.frame.vlan_tci = tci(*word);
                break;
            case information_type::hash_value:
                received.frame.hash = *word;
                break;
            case information_type::packet_id: {
                const auto id = read_layout<PacketId>(value);
                received.part = (id->flags & packet_id_flag::several_sections) != 0;
                received.first = !received.part || (id->flags & packet_id_flag::first) != 0;
                received.last = !received.part || (id->flags & packet_id_flag::last) != 0;
                break;
            }
            default:
                break;
        }
        return true;
    });
}

}  // namespace vmbus
