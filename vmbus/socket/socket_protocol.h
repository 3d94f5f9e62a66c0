// Sockets between host and guest (hv_sock): how a connection is named and what goes over it.
// A connection is a channel of its own, whose interface type and instance are the services at its two ends; a service
// is a port in a GUID. On the channel are messages of a byte pipe: kind (u32), bytes (u32), bytes; no bytes end this
// direction.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "vmbus/channel.h"
#include "vmbus/guid.h"

namespace vmbus::socket {

inline constexpr Guid service_template = guid("00000000-facb-11e6-bd58-64006a7986d3");

constexpr Guid service_of(std::uint32_t port) {
    Guid service = service_template;
    for (unsigned n = 0; n < 4; ++n) service.bytes[n] = static_cast<std::uint8_t>(port >> (8 * n));
    return service;
}

// The port; nothing for a service of another form.
constexpr std::optional<std::uint32_t> port_of(const Guid& service) {
    std::uint32_t port = 0;
    for (unsigned n = 0; n < 4; ++n) port |= static_cast<std::uint32_t>(service.bytes[n]) << (8 * n);
    if (service_of(port) != service) return std::nullopt;
    return port;
}

// The largest message that Linux takes, and what it sends itself.
inline constexpr std::size_t largest_message = 16 * 1024;
inline constexpr std::size_t usual_message = 4096 - 8;

// Of a connection: kind of pipe (u32), who waits to accept it (u8: 1, the guest), for a container? (u8), form (u32: 1),
// the container (16).
constexpr Offer offer(const Guid& interface, const Guid& instance, bool guest_accepts) {
    Offer offer;
    offer.type = interface;
    offer.instance = instance;
    offer.flags = Offer::enumerate_device_interface | Offer::named_pipe_mode | Offer::socket_provider;
    offer.user_defined[4] = static_cast<std::byte>(guest_accepts);
    offer.user_defined[6] = std::byte{1};
    return offer;
}

}  // namespace vmbus::socket
