// A behavioural guest's way to the network, whole: a driver and the stack above it.
#pragma once

#include <memory>
#include <string_view>

#include "models/behavioural/behavioural_guest.h"
#include "models/behavioural/vf_moderation.h"
#include "models/profiles.h"
#include "models/workload/guest_stack.h"

namespace models {

// Paired: a synthetic adapter and its virtual function as one.
enum class NetworkPath : std::uint8_t { emulated, synthetic, paired };
// By these names, else sim::UserError.
NetworkPath network_path(std::string_view name);

struct GuestNetworkConfig {
    NetworkPath path = NetworkPath::synthetic;
    PeerSettings host;           // its addresses
    std::uint16_t channels = 1;  // wanted
    // Of a paired adapter's virtual function.
    bool mailbox = false;
    std::uint16_t queues = 1;  // wanted, where it has a mailbox: 1, 2 or 4
    Moderation moderation = Moderation::adaptive;
    sim::Time interval;  // the least time between interrupts, where it is fixed
    // Never an interrupt: its rings are looked at all the time, as Linux does for a socket with SO_BUSY_POLL, and its
    // programs wait without sleeping.
    bool polling = false;
    std::uint64_t send_buffer = 0;  // of a connection; 0: the stack's own
};

class GuestNetwork final {
public:
    // Brings the adapter up by itself. Throws sim::UserError if there is none of that kind.
    GuestNetwork(const sim::Scope& scope, BehaviouralGuest& guest, const Profile& profile,
                 const GuestNetworkConfig& config);
    ~GuestNetwork();
    GuestNetwork(const GuestNetwork&) = delete;

    GuestStack& stack() { return stack_; }
    NetworkDriver& driver() { return *driver_; }

private:
    GuestStack stack_;
    std::unique_ptr<NetworkDriver> driver_;
};

}  // namespace models
