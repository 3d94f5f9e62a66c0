#include "vmbus/network/rndis_device.h"

#include <algorithm>

#include "vmbus/network/layout.h"
#include "vmbus/network/offload.h"

namespace vmbus {

namespace {

namespace status = rndis::status;

constexpr std::uint32_t largest_transfer = 0xefff'ffff;  // Hyper-V's; what bounds a message is its packet

bool is_group(std::span<const std::byte> frame) {
    return !frame.empty() && (frame[0] & std::byte{1}) != std::byte{0};
}

bool is_broadcast(std::span<const std::byte> frame) {
    return frame.size() >= 6 &&
           std::all_of(frame.begin(), frame.begin() + 6, [](std::byte b) { return b == std::byte{0xff}; });
}

template <class T>
std::vector<std::byte> bytes_of(const T& value) {
    std::vector<std::byte> bytes;
    append_layout(bytes, value);
    return bytes;
}

// UTF-16 without anything beyond ASCII; nothing if there is such.
std::optional<std::string> ascii(std::span<const std::byte> utf16) {
    std::string text;
    for (std::size_t at = 0; at + 1 < utf16.size(); at += 2) {
        const auto unit = read_layout<std::uint16_t>(utf16, at).value_or(0);
        if (unit == 0) break;
        if (unit > 0x7f) return std::nullopt;
        text.push_back(static_cast<char>(unit));
    }
    return text;
}

std::optional<NetworkAddress> parse_address(std::string_view text) {
    const auto digit = [](char c) -> int {
        if (c >= '0' && c <= '9') return c - '0';
        if (c >= 'a' && c <= 'f') return c - 'a' + 10;
        if (c >= 'A' && c <= 'F') return c - 'A' + 10;
        return -1;
    };
    if (text.size() != 12) return std::nullopt;
    NetworkAddress address;
    for (std::size_t n = 0; n < 6; ++n) {
        const int high = digit(text[2 * n]);
        const int low = digit(text[2 * n + 1]);
        if (high < 0 || low < 0) return std::nullopt;
        address.bytes[n] = static_cast<std::uint8_t>(high << 4 | low);
    }
    return address;
}

}  // namespace

void TrafficCount::add(std::span<const std::byte> frame) {
    Kind& kind = is_broadcast(frame) ? broadcast : is_group(frame) ? multicast : directed;
    ++kind.frames;
    kind.bytes += frame.size();
}

RndisDevice::RndisDevice(const Config& config) : config_(config) {
    state_.address = config.address;
    start_over();
}

void RndisDevice::start_over() {
    state_.operational = false;
    state_.filter = 0;
    state_.lookahead = 0;
    state_.groups.clear();
    state_.offloads = supported_offloads();
    state_.rss = {};
}

void RndisDevice::attach(std::uint16_t ndis_version, bool coalescing, std::uint32_t frame_bytes) {
    state_.ndis_version = ndis_version;
    state_.coalescing = coalescing;
    state_.frame_bytes = frame_bytes;
    start_over();
}

void RndisDevice::detach() {
    const NetworkAddress address = state_.address;
    state_ = {};
    state_.address = address;
    start_over();
}

OffloadSettings RndisDevice::supported_offloads() const {
    OffloadSettings supported = config_.offloads;
    if (!state_.coalescing) supported.coalescing_ipv4 = supported.coalescing_ipv6 = false;
    return supported;
}

std::vector<std::byte> RndisDevice::offload_bytes(const OffloadSettings& settings, std::uint32_t room) const {
    // A driver may know less than its NDIS does, and says so by the room that it gives.
    const bool known_3 = state_.ndis_version >= ndis::ndis_6_30 && room >= ndis::offload_bytes_3;
    const bool known_2 = state_.ndis_version > ndis::ndis_6_0 && room >= ndis::offload_bytes_2;
    const std::uint16_t bytes = known_3   ? ndis::offload_bytes_3
                                : known_2 ? ndis::offload_bytes_2
                                          : ndis::offload_bytes_1;
    std::vector<std::byte> object = bytes_of(offload_object(settings, bytes));
    object.resize(bytes);
    return object;
}

bool RndisDevice::wants(std::span<const std::byte> frame) const {
    using namespace ndis::packet_filter;
    if (frame.size() < rndis::ethernet_header_bytes || state_.filter == 0) return false;
    if ((state_.filter & promiscuous) != 0) return true;
    if (is_broadcast(frame)) return (state_.filter & broadcast) != 0;
    NetworkAddress destination;
    std::memcpy(destination.bytes.data(), frame.data(), 6);
    if (is_group(frame)) {
        if ((state_.filter & all_multicast) != 0) return true;
        return (state_.filter & multicast) != 0 &&
               std::find(state_.groups.begin(), state_.groups.end(), destination) != state_.groups.end();
    }
    return (state_.filter & directed) != 0 && destination == state_.address;
}

RndisDevice::Answer RndisDevice::handle(std::span<const std::byte> message, const Surroundings& surroundings) {
    using rndis::MessageType;
    const auto header = read_layout<rndis::Header>(message);
    const rndis::MessageRow* row = header ? rndis::find(static_cast<std::uint32_t>(header->type)) : nullptr;
    if (row == nullptr || row->direction == nvsp::Direction::to_guest || header->length < row->bytes ||
        header->length > message.size()) {
        return {false, {}, {}};
    }
    message = message.first(header->length);
    const auto request = read_layout<std::uint32_t>(message, rndis::header_bytes).value_or(0);
    Answer answer;
    switch (header->type) {
        case MessageType::initialize: {
            rndis::InitializeComplete complete;
            complete.request = request;
            complete.maximum_packets = config_.packets_per_message;
            complete.maximum_transfer = largest_transfer;
            complete.alignment_factor = config_.alignment_factor;
            start_over();
            state_.operational = true;
            answer.reply = rndis::message(MessageType::initialize_complete, complete);
            answer.changes.ready = true;
            break;
        }
        case MessageType::halt:
            answer.changes.ready = state_.operational;
            start_over();
            break;
        case MessageType::reset:
            answer.reply = rndis::message(MessageType::reset_complete, rndis::ResetComplete{status::success, 0});
            break;
        case MessageType::keepalive:
            answer.reply =
                rndis::message(MessageType::keepalive_complete, rndis::SetComplete{request, status::success});
            break;
        case MessageType::query:
            return query(message, surroundings);
        case MessageType::set:
            return set(message);
        default:
            answer.understood = false;
            break;
    }
    return answer;
}

RndisDevice::Answer RndisDevice::query(std::span<const std::byte> message, const Surroundings& surroundings) {
    const auto request = read_layout<rndis::Query>(message, rndis::header_bytes).value_or(rndis::Query{});
    rndis::QueryComplete complete;
    complete.request = request.request;
    std::vector<std::byte> value;
    const ndis::OidRow* row = ndis::find(request.oid);
    if (!state_.operational) {
        complete.status = status::adapter_not_ready;
    } else if (row == nullptr || !row->query || row->first_ndis > state_.ndis_version) {
        complete.status = status::not_supported;
    } else if (auto known = value_of(row->oid, request.information_bytes, surroundings)) {
        value = std::move(*known);
    } else {
        complete.status = status::not_supported;
    }
    complete.information_bytes = static_cast<std::uint32_t>(value.size());
    return {true, rndis::message(rndis::MessageType::query_complete, complete, value), {}};
}

RndisDevice::Answer RndisDevice::set(std::span<const std::byte> message) {
    const auto request = read_layout<rndis::Query>(message, rndis::header_bytes).value_or(rndis::Query{});
    const auto information =
        part(message, std::uint64_t{request.information_offset} + rndis::header_bytes, request.information_bytes);
    const ndis::OidRow* row = ndis::find(request.oid);
    Answer answer;
    std::uint32_t result = status::success;
    if (!state_.operational) {
        result = status::adapter_not_ready;
    } else if (row == nullptr || !row->set || row->first_ndis > state_.ndis_version) {
        result = status::not_supported;
    } else if (!information) {
        result = status::invalid_length;
    } else {
        result = set_value(row->oid, *information, answer.changes);
    }
    answer.reply = rndis::message(rndis::MessageType::set_complete, rndis::SetComplete{request.request, result});
    return answer;
}

std::uint32_t RndisDevice::set_value(ndis::Oid oid, std::span<const std::byte> information, Changes& changes) {
    using ndis::Oid;
    switch (oid) {
        case Oid::current_packet_filter: {
            const auto filter = read_layout<std::uint32_t>(information);
            if (!filter) return status::invalid_length;
            changes.filter = *filter != state_.filter;
            state_.filter = *filter;
            return status::success;
        }
        case Oid::current_lookahead: {
            const auto lookahead = read_layout<std::uint32_t>(information);
            if (!lookahead) return status::invalid_length;
            state_.lookahead = *lookahead;
            return status::success;
        }
        case Oid::multicast_list: {
            if (information.size() % 6 != 0 || information.size() / 6 > largest_group_list) {
                return status::invalid_length;
            }
            state_.groups.clear();
            for (std::size_t at = 0; at < information.size(); at += 6) {
                state_.groups.push_back(read_layout<NetworkAddress>(information, at).value_or(NetworkAddress{}));
            }
            changes.filter = true;
            return status::success;
        }
        case Oid::tcp_offload_parameters: {
            const std::uint32_t result = apply_offload_parameters(information, supported_offloads(), state_.offloads);
            changes.offloads = result == status::success;
            return result;
        }
        case Oid::receive_scale_parameters: {
            const RssSettings before = state_.rss;
            const std::uint32_t result =
                apply_rss_parameters(information, config_.queues, config_.rss_table_entries, state_.rss);
            changes.rss = !(before == state_.rss);
            return result;
        }
        case Oid::offload_encapsulation: {
            const auto wanted = read_layout<ndis::OffloadEncapsulation>(information);
            if (!wanted) return status::invalid_length;
            if (wanted->header.type != ndis::object_type::offload_encapsulation) return status::invalid_data;
            const auto fits = [](std::uint32_t enabled, std::uint32_t type, std::uint32_t header) {
                return enabled != 1 || (type == ndis::encapsulation_ethernet && header == rndis::ethernet_header_bytes);
            };
            return fits(wanted->ipv4_enabled, wanted->ipv4_type, wanted->ipv4_header_bytes) &&
                           fits(wanted->ipv6_enabled, wanted->ipv6_type, wanted->ipv6_header_bytes)
                       ? status::success
                       : status::not_supported;
        }
        case Oid::rndis_config_parameter:
            return set_config_parameter(information, changes);
        case Oid::network_layer_addresses:
        case Oid::protocol_options:
        case Oid::link_parameters:
            return status::success;  // told for information
        default:
            return status::not_supported;
    }
}

std::uint32_t RndisDevice::set_config_parameter(std::span<const std::byte> information, Changes& changes) {
    const auto parameter = read_layout<ndis::ConfigParameter>(information);
    if (!parameter) return status::invalid_length;
    const auto name_bytes = part(information, parameter->name_offset, parameter->name_bytes);
    const auto value_bytes = part(information, parameter->value_offset, parameter->value_bytes);
    if (!name_bytes || !value_bytes || name_bytes->size() > 255 || value_bytes->size() > 255) {
        return status::invalid_data;
    }
    const auto name = ascii(*name_bytes);
    if (!name) return status::invalid_data;
    if (*name != "NetworkAddress") return status::success;  // Windows names its offloads here as well
    if (parameter->type != ndis::config_parameter_string) return status::invalid_data;
    const auto text = ascii(*value_bytes);
    const auto address = text ? parse_address(*text) : std::nullopt;
    if (!address || (address->bytes[0] & 1) != 0 || *address == NetworkAddress{}) return status::invalid_data;
    if (!config_.address_change_allowed && *address != config_.address) return status::failure;
    changes.address = *address != state_.address;
    state_.address = *address;
    return status::success;
}

}  // namespace vmbus
