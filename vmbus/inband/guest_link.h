// The way from a behavioural guest's driver to its ring: what the small guest sides of the protocols (*_client.h) need.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace vmbus {

class GuestLink {
public:
    virtual void send(std::uint64_t transaction, std::span<const std::byte> payload) = 0;

protected:
    ~GuestLink() = default;
};

}  // namespace vmbus
