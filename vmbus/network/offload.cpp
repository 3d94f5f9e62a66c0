#include "vmbus/network/offload.h"

#include <algorithm>
#include <cstring>

#include "vmbus/network/layout.h"
#include "vmbus/network/rndis.h"

namespace vmbus {

namespace {

std::uint32_t ipv4_bits(const OffloadSettings::Checksums& c) {
    using namespace ndis::ipv4_checksum;
    std::uint32_t bits = 0;
    if (c.ip) bits |= ip_header | ip_options;
    if (c.tcp4) bits |= tcp | tcp_options | ip_options;
    if (c.udp4) bits |= udp | ip_options;
    return bits;
}

std::uint32_t ipv6_bits(const OffloadSettings::Checksums& c) {
    using namespace ndis::ipv6_checksum;
    std::uint32_t bits = 0;
    if (c.tcp6) bits |= tcp | tcp_options | extension_headers;
    if (c.udp6) bits |= udp | extension_headers;
    return bits;
}

OffloadSettings::Checksums checksums(std::uint32_t ipv4, std::uint32_t ipv6) {
    OffloadSettings::Checksums c;
    c.ip = (ipv4 & ndis::ipv4_checksum::ip_header) != 0;
    c.tcp4 = (ipv4 & ndis::ipv4_checksum::tcp) != 0;
    c.udp4 = (ipv4 & ndis::ipv4_checksum::udp) != 0;
    c.tcp6 = (ipv6 & ndis::ipv6_checksum::tcp) != 0;
    c.udp6 = (ipv6 & ndis::ipv6_checksum::udp) != 0;
    return c;
}

// One byte of the parameters for both directions. False: no such value.
bool apply_checksum(std::uint8_t value, bool& send, bool& receive) {
    using namespace ndis::checksum_parameter;
    if (value == no_change) return true;
    if (value > both) return false;
    send = value == ndis::checksum_parameter::send || value == both;
    receive = value == ndis::checksum_parameter::receive || value == both;
    return true;
}

bool apply_simple(std::uint8_t value, bool& setting) {
    using namespace ndis::simple_parameter;
    if (value == no_change) return true;
    if (value > on) return false;
    setting = value == on;
    return true;
}

void mask(OffloadSettings::Checksums& c, const OffloadSettings::Checksums& supported) {
    c.ip = c.ip && supported.ip;
    c.tcp4 = c.tcp4 && supported.tcp4;
    c.udp4 = c.udp4 && supported.udp4;
    c.tcp6 = c.tcp6 && supported.tcp6;
    c.udp6 = c.udp6 && supported.udp6;
}

}  // namespace

ndis::Offload offload_object(const OffloadSettings& settings, std::uint16_t bytes) {
    using namespace ndis;
    Offload object;
    const std::uint8_t revision = bytes >= offload_bytes_3 ? 3 : bytes >= offload_bytes_2 ? 2 : 1;
    object.header = {object_type::offload, revision, bytes};
    object.ipv4_send_encapsulation = object.ipv4_receive_encapsulation = encapsulation_ethernet;
    object.ipv6_send_encapsulation = object.ipv6_receive_encapsulation = encapsulation_ethernet;
    object.ipv4_send = ipv4_bits(settings.send);
    object.ipv4_receive = ipv4_bits(settings.receive);
    object.ipv6_send = ipv6_bits(settings.send);
    object.ipv6_receive = ipv6_bits(settings.receive);
    if (settings.large_send_ipv4) {
        object.ipv4_large_send_encapsulation = encapsulation_ethernet;
        object.ipv4_large_send_bytes = largest_send_bytes;
        object.ipv4_large_send_segments = least_send_segments;
    }
    if (settings.large_send_ipv6) {
        object.ipv6_large_send_encapsulation = encapsulation_ethernet;
        object.ipv6_large_send_bytes = largest_send_bytes;
        object.ipv6_large_send_segments = least_send_segments;
        object.ipv6_large_send_options = ipv6_large_send_options;
    }
    object.rsc_ipv4 = settings.coalescing_ipv4 ? 1 : 0;
    object.rsc_ipv6 = settings.coalescing_ipv6 ? 1 : 0;
    return object;
}

OffloadSettings offload_settings(const ndis::Offload& object) {
    OffloadSettings settings;
    settings.send = checksums(object.ipv4_send, object.ipv6_send);
    settings.receive = checksums(object.ipv4_receive, object.ipv6_receive);
    settings.large_send_ipv4 = (object.ipv4_large_send_encapsulation & ndis::encapsulation_ethernet) != 0;
    settings.large_send_ipv6 = (object.ipv6_large_send_encapsulation & ndis::encapsulation_ethernet) != 0;
    settings.coalescing_ipv4 = object.rsc_ipv4 != 0;
    settings.coalescing_ipv6 = object.rsc_ipv6 != 0;
    return settings;
}

std::uint32_t apply_offload_parameters(std::span<const std::byte> object, const OffloadSettings& supported,
                                       OffloadSettings& settings) {
    namespace status = rndis::status;
    if (object.size() < ndis::offload_parameters_least) return status::invalid_length;
    ndis::OffloadParameters p;
    std::memcpy(&p, object.data(), std::min(object.size(), sizeof(p)));
    if (p.header.type != ndis::object_type::standard || p.header.revision < 1) return status::invalid_data;
    if (p.header.bytes < ndis::offload_parameters_least || p.header.bytes > object.size()) return status::invalid_data;
    // What lies behind the object's own size is none of it. (Linux says 22 to older hosts and sends no more.)
    if (p.header.bytes < sizeof(p)) {
        std::memset(reinterpret_cast<std::byte*>(&p) + p.header.bytes, 0, sizeof(p) - p.header.bytes);
    }
    if (p.large_send_1 == ndis::simple_parameter::on) return status::not_supported;
    OffloadSettings next = settings;
    const bool sound = apply_checksum(p.ipv4_checksum, next.send.ip, next.receive.ip) &&
                       apply_checksum(p.tcp4_checksum, next.send.tcp4, next.receive.tcp4) &&
                       apply_checksum(p.udp4_checksum, next.send.udp4, next.receive.udp4) &&
                       apply_checksum(p.tcp6_checksum, next.send.tcp6, next.receive.tcp6) &&
                       apply_checksum(p.udp6_checksum, next.send.udp6, next.receive.udp6) &&
                       apply_simple(p.large_send_ipv4, next.large_send_ipv4) &&
                       apply_simple(p.large_send_ipv6, next.large_send_ipv6) &&
                       apply_simple(p.rsc_ipv4, next.coalescing_ipv4) && apply_simple(p.rsc_ipv6, next.coalescing_ipv6);
    if (!sound) return status::invalid_data;
    mask(next.send, supported.send);
    mask(next.receive, supported.receive);
    next.large_send_ipv4 = next.large_send_ipv4 && supported.large_send_ipv4;
    next.large_send_ipv6 = next.large_send_ipv6 && supported.large_send_ipv6;
    next.coalescing_ipv4 = next.coalescing_ipv4 && supported.coalescing_ipv4;
    next.coalescing_ipv6 = next.coalescing_ipv6 && supported.coalescing_ipv6;
    settings = next;
    return status::success;
}

std::uint32_t apply_rss_parameters(std::span<const std::byte> object, std::uint16_t queues, std::uint16_t table_entries,
                                   RssSettings& settings) {
    namespace status = rndis::status;
    if (object.size() < ndis::rss_parameters_least) return status::invalid_length;
    ndis::RssParameters p;
    std::memcpy(&p, object.data(), std::min(object.size(), sizeof(p)));
    RssSettings next = settings;
    const bool keeps_hash = (p.flags & ndis::rss_flag::hash_information_unchanged) != 0;
    if (!keeps_hash) next.hash_types = p.hash_information & ndis::hash::type_mask;
    const bool no_function = !keeps_hash && (p.hash_information & ndis::hash::function_mask) == 0;
    if ((p.flags & ndis::rss_flag::disable) != 0 || no_function) {
        settings.enabled = false;
        return status::success;
    }
    if (!keeps_hash && (p.hash_information & ndis::hash::function_mask) != ndis::hash::toeplitz) {
        return status::invalid_data;
    }
    if ((p.flags & ndis::rss_flag::key_unchanged) == 0) {
        const auto key = part(object, p.key_offset, p.key_bytes);
        if (!key || p.key_bytes != next.key.size()) return status::invalid_data;
        std::memcpy(next.key.data(), key->data(), next.key.size());
    }
    if ((p.flags & ndis::rss_flag::table_unchanged) == 0) {
        const auto table = part(object, p.table_offset, p.table_bytes);
        if (!table || table->empty() || table->size() % 4 != 0 || table->size() / 4 > table_entries) {
            return status::invalid_data;
        }
        next.table.clear();
        for (std::size_t at = 0; at < table->size(); at += 4) {
            const auto queue = read_layout<std::uint32_t>(*table, at).value_or(0);
            if (queue >= queues) return status::invalid_data;
            next.table.push_back(static_cast<std::uint16_t>(queue));
        }
    }
    if (next.table.empty()) return status::invalid_data;
    next.enabled = true;
    settings = next;
    return status::success;
}

}  // namespace vmbus
