// What a behavioural guest's adapter says and hears in RNDIS control messages.
#include <algorithm>
#include <cstring>

#include "sim/check.h"
#include "vmbus/network/layout.h"
#include "vmbus/network/network_client_queue.h"
#include "vmbus/network/offload.h"

namespace vmbus {

namespace {

std::uint8_t parameter(bool send, bool receive) {
    using namespace ndis::checksum_parameter;
    return send ? (receive ? both : ndis::checksum_parameter::send)
                : (receive ? ndis::checksum_parameter::receive : off);
}

std::uint8_t simple(bool on) {
    return on ? ndis::simple_parameter::on : ndis::simple_parameter::off;
}

OffloadSettings common(const OffloadSettings& a, const OffloadSettings& b) {
    const auto both = [](const OffloadSettings::Checksums& x, const OffloadSettings::Checksums& y) {
        return OffloadSettings::Checksums{x.ip && y.ip, x.tcp4 && y.tcp4, x.udp4 && y.udp4, x.tcp6 && y.tcp6,
                                          x.udp6 && y.udp6};
    };
    return {both(a.send, b.send),
            both(a.receive, b.receive),
            a.large_send_ipv4 && b.large_send_ipv4,
            a.large_send_ipv6 && b.large_send_ipv6,
            a.coalescing_ipv4 && b.coalescing_ipv4,
            a.coalescing_ipv6 && b.coalescing_ipv6};
}

constexpr std::size_t largest_reply = 4096;

}  // namespace

void NetworkClient::send_rndis(std::span<const std::byte> message) {
    VG_CHECK(message.size() <= page_bytes && !state_.control_page.empty());
    VG_CHECK(bus_.memory().write(state_.control_page.front() * page_bytes, message));
    nvsp::SendRndisPacket packet;
    packet.channel_type = nvsp::channel_type::control;
    primary().send_direct(packet.type,
                          GpaRange{static_cast<std::uint32_t>(message.size()), 0, {state_.control_page.front()}},
                          nvsp::padded(packet));
}

void NetworkClient::query(ndis::Oid oid, std::span<const std::byte> information) {
    rndis::Query body;
    body.request = ++state_.request;
    body.oid = static_cast<std::uint32_t>(oid);
    body.information_bytes = static_cast<std::uint32_t>(information.size());
    body.information_offset = sizeof(body);
    send_rndis(rndis::message(rndis::MessageType::query, body, information));
}

void NetworkClient::set(ndis::Oid oid, std::span<const std::byte> information) {
    rndis::Query body;
    body.request = ++state_.request;
    body.oid = static_cast<std::uint32_t>(oid);
    body.information_bytes = static_cast<std::uint32_t>(information.size());
    body.information_offset = sizeof(body);
    send_rndis(rndis::message(rndis::MessageType::set, body, information));
}

void NetworkClient::send_offloads() {
    const OffloadSettings& on = state_.offloads;
    ndis::OffloadParameters p;
    p.ipv4_checksum = parameter(on.send.ip, on.receive.ip);
    p.tcp4_checksum = parameter(on.send.tcp4, on.receive.tcp4);
    p.tcp6_checksum = parameter(on.send.tcp6, on.receive.tcp6);
    p.udp4_checksum = parameter(on.send.udp4, on.receive.udp4);
    p.udp6_checksum = parameter(on.send.udp6, on.receive.udp6);
    p.large_send_ipv4 = simple(on.large_send_ipv4);
    p.large_send_ipv6 = simple(on.large_send_ipv6);
    p.rsc_ipv4 = simple(on.coalescing_ipv4);
    p.rsc_ipv6 = simple(on.coalescing_ipv6);
    const std::size_t bytes = state_.version <= nvsp::version_4 ? 22 : sizeof(p);
    p.header.bytes = static_cast<std::uint16_t>(bytes);
    set(ndis::Oid::tcp_offload_parameters, layout_bytes(p).first(bytes));
}

void NetworkClient::send_rss(bool enable) {
    ndis::RssParameters p;
    p.flags = enable ? 0 : ndis::rss_flag::disable;
    p.hash_information =
        ndis::hash::toeplitz | ndis::hash::ipv4 | ndis::hash::tcp_ipv4 | ndis::hash::ipv6 | ndis::hash::tcp_ipv6;
    p.table_bytes = static_cast<std::uint16_t>(4 * state_.rss_entries);
    p.table_offset = sizeof(p);
    p.key_bytes = 40;
    p.key_offset = p.table_offset + p.table_bytes;
    std::vector<std::byte> object;
    append_layout(object, p);
    for (std::uint32_t n = 0; n < state_.rss_entries; ++n) append_layout(object, n % state_.channels);
    append_layout(object, config_.rss_key);
    set(ndis::Oid::receive_scale_parameters, object);
}

void NetworkClient::control_received(std::span<const std::byte> message) {
    const auto header = read_layout<rndis::Header>(message);
    if (!header || header->length > message.size() || header->length > largest_reply) {
        ++state_.host_errors;
        return;
    }
    message = message.first(header->length);
    if (header->type == rndis::MessageType::indicate_status) return indicated(message);
    const auto request = read_layout<std::uint32_t>(message, rndis::header_bytes);
    if (request && *request == state_.address_request && state_.address_asked) {
        const auto answer = read_layout<rndis::SetComplete>(message, rndis::header_bytes);
        state_.address_status = answer ? answer->status : rndis::status::failure;
        if (state_.address_status == rndis::status::success) state_.address = *state_.address_asked;
        state_.address_asked.reset();
        return;
    }
    if (!request || *request != state_.request) {
        ++state_.host_errors;
        return;
    }
    replied(*header, message);
}

void NetworkClient::replied(const rndis::Header& header, std::span<const std::byte> message) {
    if (header.type == rndis::MessageType::initialize_complete) {
        const auto answer = read_layout<rndis::InitializeComplete>(message, rndis::header_bytes);
        if (state_.step != Step::initialize || !answer || answer->status != 0) return fail();
        state_.packets_per_message = std::max<std::uint32_t>(answer->maximum_packets, 1);
        state_.alignment = 1u << std::min<std::uint32_t>(answer->alignment_factor, 8);
        return start(Step::frame_size);
    }
    if (header.type == rndis::MessageType::set_complete) {
        const auto answer = read_layout<rndis::SetComplete>(message, rndis::header_bytes);
        const bool good = answer && answer->status == rndis::status::success;
        if (!good) ++state_.host_errors;
        switch (state_.step) {
            case Step::offload_parameters:
                return good ? start(Step::media_status) : fail();
            case Step::rss_off:
                return start(Step::rss_on);
            case Step::rss_on:
                return start(Step::filter);
            case Step::filter:
                return good ? start(Step::up) : fail();
            default:
                return;
        }
    }
    const auto answer = read_layout<rndis::QueryComplete>(message, rndis::header_bytes);
    const auto value = answer ? part(message, std::uint64_t{answer->information_offset} + rndis::header_bytes,
                                     answer->information_bytes)
                              : std::nullopt;
    if (header.type != rndis::MessageType::query_complete || !value || answer->information_offset < 16) {
        ++state_.host_errors;
        return;
    }
    const auto number = read_layout<std::uint32_t>(*value);
    switch (state_.step) {
        case Step::frame_size:
            if (number && *number < state_.mtu) state_.mtu = *number;
            return start(Step::address);
        case Step::address: {
            const auto address = read_layout<NetworkAddress>(*value);
            if (!address) return fail();
            state_.address = *address;
            return start(Step::offload_capabilities);
        }
        case Step::offload_capabilities: {
            ndis::Offload object;
            std::memcpy(static_cast<void*>(&object), value->data(), std::min(value->size(), sizeof(object)));
            if (value->size() < ndis::offload_bytes_1 || object.header.type != ndis::object_type::offload ||
                object.header.bytes > value->size()) {
                return fail();
            }
            state_.offloads = common(offload_settings(object), config_.offloads);
            return start(Step::offload_parameters);
        }
        case Step::media_status:
            state_.link_up = number.value_or(1) == 0;
            return start(state_.version >= nvsp::version_5 ? Step::link_speed : Step::filter);
        case Step::link_speed:
            state_.bits_per_second = std::uint64_t{number.value_or(0)} * 100;
            return start(Step::rss_capabilities);
        case Step::rss_capabilities: {
            const auto capabilities = read_layout<ndis::RssCapabilities>(*value);
            if (!capabilities || capabilities->receive_queues < 2 || state_.wanted_channels < 2) {
                return start(Step::filter);
            }
            const std::uint16_t entries = capabilities->table_entries;
            state_.rss_entries = entries >= 1 && entries <= 256 ? entries : 128;
            state_.channels = static_cast<std::uint16_t>(
                std::min<std::uint32_t>(capabilities->receive_queues, state_.wanted_channels));
            return start(Step::sub_channels);
        }
        default:
            return;
    }
}

void NetworkClient::indicated(std::span<const std::byte> message) {
    const auto body = read_layout<rndis::IndicateStatus>(message, rndis::header_bytes);
    if (!body) {
        ++state_.host_errors;
        return;
    }
    switch (body->status) {
        case rndis::status::media_connect:
        case rndis::status::media_disconnect:
            state_.link_up = body->status == rndis::status::media_connect;
            return user_.link_changed(state_.link_up);
        case rndis::status::network_change:
            return user_.network_changed();
        case rndis::status::link_speed_change: {
            const auto units = read_layout<std::uint32_t>(message, rndis::header_bytes + body->buffer_offset);
            if (!units || body->buffer_bytes < 4) {
                ++state_.host_errors;
            } else {
                state_.bits_per_second = std::uint64_t{*units} * 100;
            }
            return;
        }
        default:
            return;
    }
}

void NetworkClient::inband_received(std::span<const std::byte> message) {
    const auto type = read_layout<nvsp::MessageType>(message);
    if (type == nvsp::MessageType::send_vf_association) {
        const auto association = read_layout<nvsp::SendVfAssociation>(message);
        if (association) return user_.vf_changed(association->allocated != 0, association->serial);
    }
    if (type == nvsp::MessageType::send_indirection_table) {
        const auto table = read_layout<nvsp::SendIndirectionTable>(message);
        if (table && table->count == nvsp::send_table_entries && table->offset == nvsp::message_bytes) {
            std::memcpy(state_.send_table.data(), message.data() + nvsp::message_bytes, sizeof(state_.send_table));
            return;
        }
    }
    ++state_.host_errors;
}

void NetworkClient::set_address(const NetworkAddress& address) {
    if (!is_up()) return;
    constexpr std::string_view name = "NetworkAddress";
    constexpr std::string_view digits = "0123456789abcdef";
    ndis::ConfigParameter parameter;
    parameter.name_offset = sizeof(parameter);
    parameter.name_bytes = 2 * name.size();
    parameter.type = ndis::config_parameter_string;
    parameter.value_offset = parameter.name_offset + parameter.name_bytes;
    parameter.value_bytes = 24;
    std::vector<std::byte> object;
    append_layout(object, parameter);
    for (const char c : name) append_layout(object, static_cast<std::uint16_t>(c));
    for (const std::uint8_t byte : address.bytes) {
        append_layout(object, static_cast<std::uint16_t>(digits[byte >> 4]));
        append_layout(object, static_cast<std::uint16_t>(digits[byte & 15]));
    }
    state_.address_asked = address;
    state_.address_status.reset();
    set(ndis::Oid::rndis_config_parameter, object);
    state_.address_request = state_.request;
}

}  // namespace vmbus
