// One partition's bus, the host's side: versions, offers, GPADLs, channels.
#pragma once

#include "vmbus/channel.h"

namespace vmbus {

// What devices ask of the bus. (The bus itself, its messages and state: vmbus/server.h.)
class Bus {
public:
    virtual ~Bus() = default;
    // A new channel, told to the guest at once if it has asked for offers. It stays until rescinded; a guest that
    // resets the bus gets it offered anew (sub-channels are gone then).
    virtual Channel& offer(const Offer& offer, ChannelDevice& device) = 0;
    // A sub-channel of an open primary channel: same type and instance, the next index.
    virtual Channel& offer_sub_channel(Channel& primary, ChannelDevice& device) = 0;
    // Takes it away from the guest; with a primary go its sub-channels. closed() comes at once if it was open,
    // released() when the guest has let go.
    virtual void rescind(Channel& channel) = 0;
    // A device needs other things than it has said (ChannelDevice::add_needs).
    virtual void needs_changed() {}
};

}  // namespace vmbus
