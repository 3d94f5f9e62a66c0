// What a guest may ask of its adapter by object identifier.
#include <algorithm>

#include "vmbus/network/layout.h"
#include "vmbus/network/rndis_device.h"

namespace vmbus {

namespace {

// The value that Hyper-V's switch gives for buffers which a virtual adapter has not.
constexpr std::uint32_t buffer_space = 256 * 1024;
constexpr std::uint32_t vendor_id = 0x15d;  // 00-15-5D
constexpr std::string_view vendor = "Microsoft Corporation";

template <class T>
std::vector<std::byte> bytes_of(const T& value) {
    std::vector<std::byte> bytes;
    append_layout(bytes, value);
    return bytes;
}

}  // namespace

std::optional<std::vector<std::byte>> RndisDevice::value_of(ndis::Oid oid, std::uint32_t room,
                                                            const Surroundings& surroundings) const {
    using ndis::Oid;
    const auto number = [](std::uint32_t value) { return bytes_of(value); };
    const std::uint64_t speed = surroundings.bits_per_second;
    switch (oid) {
        case Oid::supported_list: {
            std::vector<std::byte> list;
            for (const auto& row : ndis::oids) {
                if (row.first_ndis <= state_.ndis_version) append_layout(list, row.oid);
            }
            return list;
        }
        case Oid::hardware_status:
        case Oid::maximum_lookahead:
        case Oid::media_supported:
        case Oid::media_in_use:
            // Ready; and IEEE 802.3, which is 0 as well.
            if (oid == Oid::maximum_lookahead) return number(state_.frame_bytes - rndis::ethernet_header_bytes);
            return number(0);
        case Oid::maximum_frame_size:
            return number(state_.frame_bytes - rndis::ethernet_header_bytes);
        case Oid::current_lookahead:
            return number(state_.lookahead != 0 ? state_.lookahead : state_.frame_bytes - rndis::ethernet_header_bytes);
        case Oid::maximum_total_size:
        case Oid::transmit_block_size:
        case Oid::receive_block_size:
            return number(state_.frame_bytes);
        case Oid::link_speed:
            return number(static_cast<std::uint32_t>(std::min<std::uint64_t>(speed / 100, 0xffff'ffff)));
        case Oid::transmit_buffer_space:
        case Oid::receive_buffer_space:
            return number(buffer_space);
        case Oid::vendor_id:
            return number(vendor_id);
        case Oid::vendor_description: {
            const auto text = std::as_bytes(std::span{vendor.data(), vendor.size()});
            return std::vector<std::byte>(text.begin(), text.end());
        }
        case Oid::vendor_driver_version:
        case Oid::driver_version:
            return bytes_of(std::uint16_t{0x0100});
        case Oid::current_packet_filter:
            return number(state_.filter);
        case Oid::mac_options: {
            using namespace ndis::mac_option;
            return number(copy_lookahead_data | transfers_not_pend | no_loopback | priority_8021p | vlan_8021q);
        }
        case Oid::media_connect_status:
            return number(surroundings.link_up ? 0 : 1);
        case Oid::maximum_send_packets:
            return number(0xffff'ffff);
        case Oid::maximum_list_size:
            return number(largest_group_list);
        case Oid::friendly_name: {
            std::vector<std::byte> name;
            for (std::size_t n = 0; n < std::min<std::size_t>(config_.friendly_name.size(), 255); ++n) {
                append_layout(name, static_cast<std::uint16_t>(static_cast<unsigned char>(config_.friendly_name[n])));
            }
            append_layout(name, std::uint16_t{0});
            return name;
        }
        case Oid::permanent_address:
            return bytes_of(config_.address);
        case Oid::current_address:
            return bytes_of(state_.address);
        case Oid::multicast_list: {
            std::vector<std::byte> list;
            for (const auto& group : state_.groups) append_layout(list, group);
            return list;
        }
        case Oid::receive_scale_capabilities: {
            ndis::RssCapabilities capabilities;
            capabilities.flags =
                ndis::rss_capability::toeplitz | ndis::rss_capability::tcp_ipv4 | ndis::rss_capability::tcp_ipv6;
            capabilities.receive_queues = config_.queues;
            capabilities.table_entries = config_.rss_table_entries;
            return bytes_of(capabilities);
        }
        case Oid::maximum_link_speed: {
            auto both = bytes_of(speed);
            append_layout(both, speed);
            return both;
        }
        case Oid::link_state: {
            ndis::LinkState link;
            link.connected = surroundings.link_up ? 1 : 2;
            link.send_bits_per_second = link.receive_bits_per_second = speed;
            return bytes_of(link);
        }
        case Oid::tcp_offload_hardware_capabilities:
            return offload_bytes(supported_offloads(), room != 0 ? room : ndis::offload_bytes_3);
        case Oid::tcp_offload_current_config:
            return offload_bytes(state_.offloads, room != 0 ? room : ndis::offload_bytes_3);
        case Oid::offload_encapsulation: {
            ndis::OffloadEncapsulation encapsulation;
            encapsulation.ipv4_enabled = encapsulation.ipv6_enabled = 1;
            encapsulation.ipv4_type = encapsulation.ipv6_type = ndis::encapsulation_ethernet;
            encapsulation.ipv4_header_bytes = encapsulation.ipv6_header_bytes = rndis::ethernet_header_bytes;
            return bytes_of(encapsulation);
        }
        default:
            break;
    }
    const auto count = statistic(oid, surroundings);
    if (!count) return std::nullopt;
    // As wide as there is room for; four bytes if nothing is said of it.
    return room >= 8 ? bytes_of(*count) : number(static_cast<std::uint32_t>(*count));
}

std::optional<std::uint64_t> RndisDevice::statistic(ndis::Oid oid, const Surroundings& surroundings) const {
    using ndis::Oid;
    static const TrafficCount nothing;
    const TrafficCount& sent = surroundings.from_guest != nullptr ? *surroundings.from_guest : nothing;
    const TrafficCount& received = surroundings.to_guest != nullptr ? *surroundings.to_guest : nothing;
    switch (oid) {
        case Oid::transmit_ok:
            return sent.frames();
        case Oid::receive_ok:
            return received.frames();
        case Oid::transmit_error:
            return sent.errors;
        case Oid::receive_error:
            return received.errors;
        case Oid::receive_no_buffer:
            return received.no_buffer;
        case Oid::directed_bytes_transmitted:
            return sent.directed.bytes;
        case Oid::directed_frames_transmitted:
            return sent.directed.frames;
        case Oid::multicast_bytes_transmitted:
            return sent.multicast.bytes;
        case Oid::multicast_frames_transmitted:
            return sent.multicast.frames;
        case Oid::broadcast_bytes_transmitted:
            return sent.broadcast.bytes;
        case Oid::broadcast_frames_transmitted:
            return sent.broadcast.frames;
        case Oid::directed_bytes_received:
            return received.directed.bytes;
        case Oid::directed_frames_received:
            return received.directed.frames;
        case Oid::multicast_bytes_received:
            return received.multicast.bytes;
        case Oid::multicast_frames_received:
            return received.multicast.frames;
        case Oid::broadcast_bytes_received:
            return received.broadcast.bytes;
        case Oid::broadcast_frames_received:
            return received.broadcast.frames;
        case Oid::bytes_received:
            return received.bytes();
        case Oid::bytes_transmitted:
            return sent.bytes();
        case Oid::receive_discards:
            return received.discards;
        case Oid::transmit_discards:
            return sent.discards;
        case Oid::receive_error_alignment:
        case Oid::transmit_one_collision:
        case Oid::transmit_more_collisions:
            return 0;
        default:
            return std::nullopt;
    }
}

}  // namespace vmbus
