// A network adapter of a behavioural guest, as its network stack sees it, whatever the path: synthetic, virtual
// function, emulated, or the first two as one.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "vmbus/network/network_port.h"

namespace models {

class NetworkDriverUser {
public:
    virtual void ready() = 0;  // frames may go; may come again after down()
    virtual void down() {}
    // Frames that came with one poll of a queue; called within a piece of the driver's on that queue's processor, whose
    // time does not hold the stack's work yet.
    virtual void receive(std::uint16_t queue, std::span<vmbus::IncomingFrame> frames) = 0;
    // transmit() refused a frame, and would take it now.
    virtual void room() {}

protected:
    ~NetworkDriverUser() = default;
};

class NetworkDriver {
public:
    virtual ~NetworkDriver() = default;
    // False: not up, or full; room() tells.
    [[nodiscard]] virtual bool transmit(vmbus::OutgoingFrame&& frame) = 0;
    virtual bool is_up() const = 0;
    virtual std::uint16_t queues() const = 0;
    // Frames of a queue are received on this processor.
    virtual unsigned processor_of(std::uint16_t queue) const = 0;
    // The adapter's own; before ready() it may be all zeros.
    virtual const vmbus::NetworkAddress& address() const = 0;
    virtual std::uint32_t mtu() const = 0;
    // What the adapter does for the stack.
    virtual const vmbus::OffloadSettings& offloads() const = 0;
    // "synthetic", "virtual function", "emulated": the way that frames take now.
    virtual std::string_view path() const = 0;
};

}  // namespace models
