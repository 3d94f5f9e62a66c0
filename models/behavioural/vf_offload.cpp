#include "models/behavioural/vf_offload.h"

#include "models/network/byte_order.h"
#include "models/network/checksum.h"
#include "models/network/headers.h"
#include "sriov_nic/descriptors.h"

namespace models {

namespace tx = sriov_nic::tx;

namespace {

// Addresses and protocol, and the length unless the device adds that of each segment.
std::uint16_t pseudo_header_sum(std::span<const std::byte> frame, const Headers& headers, bool with_length) {
    const bool v4 = headers.ip == IpFamily::v4;
    const std::size_t at = headers.network_offset + (v4 ? 12u : 8u);
    std::uint32_t initial = headers.protocol;
    if (with_length) initial += headers.end - headers.transport_offset;
    return ones_complement_sum(frame.subspan(at, v4 ? 8 : 32), (initial & 0xffff) + (initial >> 16));
}

}  // namespace

VfOffload vf_offload(vmbus::OutgoingFrame& frame) {
    VfOffload offload;
    const std::optional<Headers> headers = parse_headers(frame.bytes, frame.large_send_mss != 0);
    const auto bytes = static_cast<std::uint32_t>(frame.bytes.size());
    std::uint32_t payload = bytes;
    offload.macip = (headers ? headers->network_offset : std::uint32_t{ethernet_header_bytes}) << 9;
    if (frame.vlan_tci) {
        offload.macip |= std::uint32_t{*frame.vlan_tci} << 16;
        offload.command |= tx::vlan;
        offload.needed = true;
    }
    if (headers && headers->ip != IpFamily::none) {
        offload.macip |= headers->transport_offset - headers->network_offset;
        if (headers->ip == IpFamily::v4) offload.mode |= tx::ipv4;
        const bool large = frame.large_send_mss != 0 && headers->is_tcp();
        const bool transport =
            (headers->is_tcp() && (frame.fill_tcp_checksum || large)) || (headers->is_udp() && frame.fill_udp_checksum);
        if (headers->is_tcp()) {
            offload.mode |= tx::l4_tcp;
            offload.mss = (headers->payload_offset - headers->transport_offset) << 8;
        }
        if (headers->ip == IpFamily::v4 && (frame.fill_ip_checksum || large)) {
            offload.options |= tx::insert_ip_checksum;
            offload.needed = true;
        }
        if (transport) {
            offload.options |= tx::insert_l4_checksum;
            offload.needed = true;
            store_be16(frame.bytes, transport_checksum_offset(*headers),
                       pseudo_header_sum(frame.bytes, *headers, !large));
        }
        if (large) {
            offload.mss |= std::uint32_t{frame.large_send_mss} << 16;
            offload.command |= tx::segmentation;
            payload = bytes - headers->payload_offset;
        }
    }
    offload.options |= payload << 14;
    return offload;
}

}  // namespace models
