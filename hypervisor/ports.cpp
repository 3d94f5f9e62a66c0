#include "hypervisor/ports.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "sim/check.h"

namespace hypervisor {

namespace {

constexpr std::uint32_t sint_count = 16;

bool is_id(std::uint32_t id) {
    return (id & ~connection_id_mask) == 0;
}

// The first two words of the union in HV_PORT_INFO: a monitor port's page.
std::uint64_t monitor_address(const HvPortInfo& info) {
    return info.target_sint | static_cast<std::uint64_t>(info.target_vp) << 32;
}

}  // namespace

Ports::Ports(const sim::Scope& scope, std::uint64_t root, SynicTargets& targets, RootReceiver& receiver)
    : scope_(scope),
      root_(root),
      targets_(targets),
      receiver_(receiver),
      deliver_(scope.agenda(), scope.path() + ".deliver", [this] { deliver(); }) {}

// Objects
// ----------------------------------------------------------------------------------------------------------------

HvStatus Ports::create(PortAddress address, std::uint64_t connection_partition, const HvPortInfo& info) {
    if (!is_id(address.id) || state_.ports.contains(address)) return HvStatus::invalid_port_id;
    Port port{.type = HvPortType{info.port_type}, .connection_partition = connection_partition};
    if (info.padding != 0) return HvStatus::invalid_parameter;
    switch (port.type) {
        case HvPortType::message:
            if (info.base_flag_number != 0 || info.flag_count != 0) return HvStatus::invalid_parameter;
            break;
        case HvPortType::event:
            if (info.flag_count == 0 || info.base_flag_number + info.flag_count > int{event_flags_per_sint}) {
                return HvStatus::invalid_parameter;
            }
            // A flag is in one processor's page, so the processor must be known.
            if (info.target_vp == hv_any_vp) return HvStatus::invalid_vp_index;
            port.base_flag = info.base_flag_number;
            port.flag_count = info.flag_count;
            break;
        case HvPortType::monitor:
            port.monitor_gpa = monitor_address(info);
            break;
        case HvPortType::doorbell:
        default:
            return HvStatus::invalid_parameter;
    }
    if (info.reserved != 0) return HvStatus::invalid_parameter;
    if (port.type != HvPortType::monitor) {
        // SINT 0 is the hypervisor's own, for intercepts.
        if (info.target_sint == 0 || info.target_sint >= sint_count) return HvStatus::invalid_parameter;
        port.sint = info.target_sint;
        port.vp = info.target_vp;
    }
    port.serial = state_.next_serial++;
    state_.ports[address] = port;
    scope_.trace("port.create", address.partition, address.id, info.port_type, port.sint, port.vp);
    return HvStatus::success;
}

HvStatus Ports::remove(PortAddress address) {
    if (state_.ports.erase(address) == 0) return HvStatus::invalid_port_id;
    forget_routes();
    if (address.partition == root_) forget_arrivals(address.id);
    scope_.trace("port.delete", address.partition, address.id);
    return HvStatus::success;
}

HvStatus Ports::connect(PortAddress connection, PortAddress port, const HvConnectionInfo& info) {
    if (!is_id(connection.id) || state_.connections.contains(connection)) return HvStatus::invalid_connection_id;
    const auto found = state_.ports.find(port);
    if (!is_id(port.id) || found == state_.ports.end()) return HvStatus::invalid_port_id;
    if (found->second.connection_partition != connection.partition) return HvStatus::access_denied;
    const bool monitor = found->second.type == HvPortType::monitor;
    if (HvPortType{info.port_type} != found->second.type || info.padding != 0) return HvStatus::invalid_parameter;
    for (std::size_t i = monitor ? 1 : 0; i < 3; ++i) {
        if (info.parameters[i] != 0) return HvStatus::invalid_parameter;
    }
    state_.connections[connection] = {port, found->second.serial, found->second.type, monitor ? info.parameters[0] : 0};
    if (2 * state_.connections.size() > routes_.size()) forget_routes();
    scope_.trace("port.connect", connection.partition, connection.id, port.partition, port.id);
    return HvStatus::success;
}

HvStatus Ports::disconnect(PortAddress connection) {
    if (state_.connections.erase(connection) == 0) return HvStatus::invalid_connection_id;
    forget_routes();
    scope_.trace("port.disconnect", connection.partition, connection.id);
    return HvStatus::success;
}

HvStatus Ports::property(PortAddress address, std::uint32_t code, std::uint64_t& value) const {
    const auto found = state_.ports.find(address);
    if (found == state_.ports.end()) return HvStatus::invalid_port_id;
    switch (HvPortProperty{code}) {
        case HvPortProperty::post_count:
            value = found->second.posts;
            return HvStatus::success;
        case HvPortProperty::signal_count:
            value = found->second.signals;
            return HvStatus::success;
    }
    return HvStatus::unknown_property;
}

void Ports::remove_partition(std::uint64_t partition) {
    const PortAddress first{partition, 0};
    const PortAddress end{partition, ~0u};
    forget_routes();
    state_.ports.erase(state_.ports.lower_bound(first), state_.ports.upper_bound(end));
    state_.connections.erase(state_.connections.lower_bound(first), state_.connections.upper_bound(end));
}

std::size_t Ports::port_count(std::uint64_t partition) const {
    return static_cast<std::size_t>(
        std::distance(state_.ports.lower_bound({partition, 0}), state_.ports.upper_bound({partition, ~0u})));
}

std::size_t Ports::connection_count(std::uint64_t partition) const {
    return static_cast<std::size_t>(std::distance(state_.connections.lower_bound({partition, 0}),
                                                  state_.connections.upper_bound({partition, ~0u})));
}

// Sending
// ----------------------------------------------------------------------------------------------------------------

// A connection outlives its port: then it has an invalid port, not an invalid connection.
HvStatus Ports::resolve(std::uint64_t sender, ConnectionId connection, HvPortType type, Route& route) {
    const PortAddress from{sender, connection};
    // Half of the places stay free.
    if (routes_.empty()) routes_.resize(std::bit_ceil(2 * state_.connections.size() + 1));
    const std::size_t mask = routes_.size() - 1;
    std::size_t at = (sender << 24 | connection) * 0x9e37'79b9'7f4a'7c15ull >> 40 & mask;
    while (routes_[at].route.port != nullptr && routes_[at].from != from) at = (at + 1) & mask;
    Known& known = routes_[at];
    if (known.route.port != nullptr) {
        route = known.route;
        return route.type == type ? HvStatus::success : HvStatus::invalid_connection_id;
    }
    const auto found = state_.connections.find(from);
    if (found == state_.connections.end() || found->second.type != type) return HvStatus::invalid_connection_id;
    const auto port = state_.ports.find(found->second.port);
    if (port == state_.ports.end() || port->second.serial != found->second.serial) return HvStatus::invalid_port_id;
    route = {port->first, type, &port->second};
    known = {from, route};
    if (sim::WorkingSet* const needs = targets_.port_needs(child_of(from, route.address))) {
        needs->add(known);
        needs->add(port->second);
    }
    return HvStatus::success;
}

// One end is the root's.
std::uint64_t Ports::child_of(PortAddress from, PortAddress to) const {
    return from.partition == root_ ? to.partition : from.partition;
}

void Ports::forget_routes() {
    for (const Known& known : routes_) {
        if (known.route.port == nullptr) continue;
        const std::uint64_t child = child_of(known.from, known.route.address);
        if (sim::WorkingSet* const needs = targets_.port_needs(child)) needs->clear();
    }
    routes_.clear();
}

HvStatus Ports::post_message(std::uint64_t sender, ConnectionId connection, std::uint32_t message_type,
                             std::span<const std::byte> payload) {
    // Types with the high bit set are the hypervisor's, type 0 means an empty slot.
    if (payload.size() > message_payload_bytes || message_type == 0 || (message_type >> 31) != 0) {
        return HvStatus::invalid_parameter;
    }
    Route route;
    const HvStatus resolved = resolve(sender, connection, HvPortType::message, route);
    if (resolved != HvStatus::success) return resolved;
    const PortAddress address = route.address;
    Port& port = *route.port;

    if (address.partition == root_) {
        if (state_.waiting[address.id] >= message_buffers_per_port) return HvStatus::insufficient_buffers;
        ++state_.waiting[address.id];
        Arrival arrival{.port = address.id, .message_type = message_type};
        arrival.payload_size = static_cast<std::uint8_t>(payload.size());
        std::copy_n(reinterpret_cast<const std::uint8_t*>(payload.data()), payload.size(), arrival.payload.begin());
        arrive(arrival);
    } else {
        HvMessage message{};
        message.header.message_type = message_type;
        message.header.payload_size = static_cast<std::uint8_t>(payload.size());
        message.header.origin = address.id;
        if (!payload.empty()) std::memcpy(message.payload, payload.data(), payload.size());
        const HvStatus posted = targets_.post_message(address.partition, port.vp, port.sint, message);
        if (posted != HvStatus::success) return posted;
    }
    ++port.posts;
    scope_.trace("port.message", sender, connection, address.partition, address.id, message_type, payload.size());
    scope_.trace_bytes("port.message.payload", payload);
    return HvStatus::success;
}

HvStatus Ports::signal_event(std::uint64_t sender, ConnectionId connection, std::uint16_t flag) {
    Route route;
    const HvStatus resolved = resolve(sender, connection, HvPortType::event, route);
    if (resolved != HvStatus::success) return resolved;
    const PortAddress address = route.address;
    Port& port = *route.port;
    if (flag >= port.flag_count) return HvStatus::invalid_parameter;
    const auto absolute_flag = static_cast<std::uint16_t>(port.base_flag + flag);
    if (address.partition == root_) {
        if (state_.events_on_their_way.insert({address.id, absolute_flag}).second) {
            arrive({.port = address.id, .is_event = true, .flag = absolute_flag});
        }
    } else {
        const HvStatus signalled = targets_.signal_event(address.partition, port.vp, port.sint, absolute_flag);
        if (signalled != HvStatus::success) return signalled;
    }
    ++port.signals;
    scope_.trace("port.event", sender, connection, address.partition, address.id, absolute_flag);
    return HvStatus::success;
}

// Receiving at the root
// --------------------------------------------------------------------------------------------------

void Ports::arrive(const Arrival& arrival) {
    state_.arrivals.push_back(arrival);
    if (!deliver_.armed()) deliver_.arm(scope_.now());
}

// What the receiver sends in turn arrives in a later event, so this ends.
void Ports::deliver() {
    for (std::size_t n = state_.arrivals.size(); n > 0 && !state_.arrivals.empty(); --n) {
        const Arrival arrival = state_.arrivals.front();
        state_.arrivals.pop_front();
        if (arrival.is_event) {
            state_.events_on_their_way.erase({arrival.port, arrival.flag});
            receiver_.event(arrival.port, arrival.flag);
            continue;
        }
        const auto waiting = state_.waiting.find(arrival.port);
        VG_CHECK(waiting != state_.waiting.end() && waiting->second > 0);
        if (--waiting->second == 0) state_.waiting.erase(waiting);
        HvMessage message{};
        message.header.message_type = arrival.message_type;
        message.header.payload_size = arrival.payload_size;
        message.header.origin = arrival.port;
        std::copy_n(arrival.payload.begin(), arrival.payload_size, message.payload);
        receiver_.message(arrival.port, message);
    }
    if (!state_.arrivals.empty() && !deliver_.armed()) deliver_.arm(scope_.now());
}

void Ports::forget_arrivals(PortId port) {
    state_.arrivals.erase_if([&](const Arrival& arrival) { return arrival.port == port; });
    state_.waiting.erase(port);
    std::erase_if(state_.events_on_their_way, [&](const auto& event) { return event.first == port; });
}

}  // namespace hypervisor
