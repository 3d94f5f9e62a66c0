// The lives of channels: offered, closed, taken away, let go of, and restored.
#include <algorithm>

#include "sim/check.h"
#include "vmbus/server.h"

namespace vmbus {

HostChannel* Server::find(std::uint32_t id) const {
    const auto found = channels_.find(id);
    return found != channels_.end() ? found->second.get() : nullptr;
}

HostChannel* Server::by_relid(std::uint32_t relid) const {
    if (relid > largest_relid) return nullptr;
    const auto found = state_.relids.find(static_cast<std::uint16_t>(relid));
    return found != state_.relids.end() ? find(found->second) : nullptr;
}

std::vector<std::uint32_t> Server::channel_ids() const {
    std::vector<std::uint32_t> ids;
    for (const auto& [id, channel] : channels_) ids.push_back(id);
    return ids;
}

std::vector<std::uint32_t> Server::sub_channels(std::uint32_t primary) const {
    std::vector<std::uint32_t> ids;
    for (const auto& [id, channel] : channels_) {
        if (channel->state_.primary == primary) ids.push_back(id);
    }
    return ids;
}

// Offers
// ----------------------------------------------------------------------------------------------------------------

HostChannel& Server::add_channel(const Offer& offer, ChannelDevice& device, std::uint32_t primary) {
    const std::uint32_t id = state_.next_channel++;
    auto channel = std::make_unique<HostChannel>(*this, &device, id, offer, primary);
    HostChannel& added = *channel;
    channels_.try_emplace(id, std::move(channel));
    make_offer(added);
    return added;
}

Channel& Server::offer(const Offer& offer, ChannelDevice& device) {
    for (const auto& [id, other] : channels_) {
        VG_CHECK(other->state_.ending || other->state_.primary != 0 || other->state_.offer.type != offer.type ||
                     other->state_.offer.instance != offer.instance,
                 "two channels of one instance: " + to_text(offer.instance));
    }
    Offer kept = offer;
    kept.sub_channel_index = 0;
    if ((kept.flags & Offer::socket_provider) == 0) devices_[{kept.type, kept.instance}] = &device;
    return add_channel(kept, device, 0);
}

Channel& Server::offer_sub_channel(Channel& primary, ChannelDevice& device) {
    auto& channel = static_cast<HostChannel&>(primary);
    VG_CHECK(&channel.server_ == this && channel.state_.primary == 0 && channel.state_.phase == ChannelPhase::open);
    Offer offer = channel.state_.offer;
    // One that was taken away holds no index: drivers count their sub-channels from 1 each time. (Its successor is
    // offered once the guest has let go of it.)
    const auto used = [&](std::uint16_t index) {
        return std::any_of(channels_.begin(), channels_.end(), [&](const auto& entry) {
            const auto& state = entry.second->state_;
            return state.primary == channel.id_ && state.phase != ChannelPhase::rescinded &&
                   state.offer.sub_channel_index == index;
        });
    };
    do ++offer.sub_channel_index;
    while (used(offer.sub_channel_index));
    return add_channel(offer, device, channel.id_);
}

// Now if the guest has asked for offers, or when it does.
void Server::make_offer(HostChannel& channel) {
    HostChannel::State& state = channel.state_;
    if (!state_.offers_made || state.phase != ChannelPhase::unoffered || state.withheld || state.ending) return;
    // A guest that still holds the channel's predecessor takes no second one of the same name.
    for (const auto& [relid, id] : state_.relids) {
        const HostChannel& other = *find(id);
        if (other.state_.offer.type == state.offer.type && other.state_.offer.instance == state.offer.instance &&
            other.state_.offer.sub_channel_index == state.offer.sub_channel_index) {
            return;
        }
    }
    const std::uint16_t last = state_.version < version::v2_4 ? largest_old_relid : largest_relid;
    std::uint16_t relid = 1;
    while (state_.relids.contains(relid)) ++relid;
    if (relid > last) return;  // when one comes free

    state.relid = relid;
    state.phase = ChannelPhase::offered;
    state_.relids.try_emplace(relid, channel.id_);
    message::OfferChannel offer;
    if (state.offer.monitor_latency_100ns != 0 && state_.monitor_pages[1] != 0) {
        std::array<bool, 128> used{};
        for (const auto& [id, other] : channels_) {
            if (other->state_.monitor) used[*other->state_.monitor] = true;
        }
        const auto free = std::find(used.begin(), used.end(), false);
        if (free != used.end()) {
            state.monitor = static_cast<std::uint8_t>(free - used.begin());
            offer.monitor_id = *state.monitor;
            offer.monitor_allocated = 1;
        }
    }
    offer.interface_type = state.offer.type;
    offer.instance = state.offer.instance;
    offer.flags = state.offer.flags;
    offer.mmio_megabytes = state.offer.mmio_megabytes;
    offer.user_defined = state.offer.user_defined;
    offer.sub_channel_index = state.offer.sub_channel_index;
    offer.relid = relid;
    offer.dedicated_interrupt = config_.dedicated_interrupts ? 1 : 0;
    offer.connection = connection_of(relid);
    post(offer);
}

void Server::make_waiting_offers() {
    for (const auto& [id, channel] : channels_) make_offer(*channel);
}

// Ends
// ----------------------------------------------------------------------------------------------------------------

// Whatever is called here may call the bus back, so that a channel may be gone afterwards.
void Server::close(std::uint32_t id) {
    HostChannel* channel = find(id);
    if (channel == nullptr || channel->state_.phase != ChannelPhase::open) return;
    channel->state_.phase = ChannelPhase::offered;
    channel->state_.polled = false;
    channel->rings_.detach();
    port_.close_connection(connection_of(channel->state_.relid));
    arm_monitor();
    scope_.trace("closed", channel->state_.relid);
    // With a primary channel go its sub-channels.
    for (const std::uint32_t sub : sub_channels(id)) take_away(sub);
    channel->device_->closed(*channel);
    needs_changed();
}

void Server::take_away(std::uint32_t id) {
    for (const std::uint32_t sub : sub_channels(id)) take_away(sub);
    close(id);
    HostChannel* channel = find(id);
    if (channel == nullptr) return;
    if (channel->state_.phase == ChannelPhase::offered) {
        channel->state_.phase = ChannelPhase::rescinded;
        channel->state_.faulty = false;
        message::RescindOffer rescind;
        rescind.relid = channel->state_.relid;
        if (state_.version != version::none) post(rescind);
    }
    if (channel->state_.phase == ChannelPhase::unoffered && channel->state_.primary != 0) remove(id);
}

void Server::rescind(Channel& channel) {
    auto& ended = static_cast<HostChannel&>(channel);
    VG_CHECK(&ended.server_ == this && find(ended.id_) == &ended);
    if (ended.state_.ending) return;
    ended.state_.ending = true;
    const std::uint32_t id = ended.id_;
    take_away(id);
    const HostChannel* left = find(id);
    if (left != nullptr && left->state_.phase == ChannelPhase::unoffered) remove(id);
}

// The guest released its relid.
void Server::let_go(std::uint32_t id) {
    HostChannel* channel = find(id);
    HostChannel::State& state = channel->state_;
    if (state.phase == ChannelPhase::offered) state.withheld = true;
    erase_gpadls(id);
    state_.relids.erase(state.relid);
    state.relid = 0;
    state.monitor.reset();
    state.faulty = false;
    state.phase = ChannelPhase::unoffered;
    if (state.ending || state.primary != 0) remove(id);
    make_waiting_offers();
}

// A primary channel stays until the last of its sub-channels has gone.
void Server::remove(std::uint32_t id) {
    const auto found = channels_.find(id);
    if (found == channels_.end() || !sub_channels(id).empty()) return;
    const std::unique_ptr<HostChannel> channel = std::move(found->second);
    channels_.erase(found);
    const std::uint32_t primary = channel->state_.primary;
    channel->device_->released(*channel);
    if (primary == 0) return;
    const HostChannel* owner = find(primary);
    if (owner != nullptr && owner->state_.ending && owner->state_.phase == ChannelPhase::unoffered) remove(primary);
}

// The guest is gone, or begins anew: everything of the connection ends.
void Server::disconnect() {
    if (state_.version != version::none && state_.version < version::v2_4)
        port_.close_connection(shared_event_connection);
    State fresh;
    fresh.next_channel = state_.next_channel;
    fresh.relids = state_.relids;  // until their channels are closed
    fresh.message_vp = state_.message_vp;
    state_ = fresh;
    queue_timer_.disarm();
    fault_timer_.disarm();
    room_timer_.disarm();
    // Newest first: sub-channels before their primary.
    std::vector<std::uint32_t> ids = channel_ids();
    std::reverse(ids.begin(), ids.end());
    for (const std::uint32_t id : ids) close(id);
    state_.relids.clear();
    gpadls_.clear();
    gpadl_words_ = 0;
    for (const std::uint32_t id : ids) {
        HostChannel* channel = find(id);
        if (channel == nullptr) continue;
        HostChannel::State& state = channel->state_;
        state.relid = 0;
        state.monitor.reset();
        state.faulty = false;
        state.withheld = false;
        state.phase = ChannelPhase::unoffered;
        if (state.ending || state.primary != 0) remove(id);
    }
    arm_monitor();
}

void Server::reset() {
    disconnect();
    state_.message_vp = 0;
}

void Server::erase_gpadl(const GpadlKey& key) {
    const auto found = gpadls_.find(key);
    if (found == gpadls_.end()) return;
    gpadl_words_ -= found->second.words();
    if (!found->second.complete()) state_.incomplete.erase(key.second);
    gpadls_.erase(found);
    // Nobody needs what belongs to a channel that is not open.
    const HostChannel* const channel = find(key.first);
    if (channel != nullptr && channel->state_.phase == ChannelPhase::open) needs_changed();
}

void Server::erase_gpadls(std::uint32_t channel) {
    for (auto next = gpadls_.lower_bound({channel, 0}); next != gpadls_.end() && next->first.first == channel;) {
        const GpadlKey key = next->first;
        ++next;
        erase_gpadl(key);
    }
}

// Checkpoints
// ----------------------------------------------------------------------------------------------------------------

void Server::attach_rings(HostChannel& channel) {
    const auto ring = gpadls_.find({channel.id_, channel.state_.ring_gpadl});
    VG_CHECK(ring != gpadls_.end());
    const PageList& pages = ring->second.pages();
    const std::uint64_t split = channel.state_.ring_split * page_bytes;
    channel.rings_.in.attach(pages.slice(0, split));
    channel.rings_.out.attach(pages.slice(split, pages.size() - split));
}

void Server::save(sim::Writer& writer) const {
    writer(state_, gpadls_, gpadl_words_, queue_timer_, fault_timer_, room_timer_, monitor_timer_,
           static_cast<std::uint64_t>(channels_.size()));
    for (const auto& [id, channel] : channels_) writer(id, channel->state_, channel->rings_);
}

ChannelDevice* Server::adopter(HostChannel& channel) const {
    if (channel.state_.primary != 0) {
        HostChannel* primary = find(channel.state_.primary);
        return primary != nullptr ? &primary->device_->adopt_sub_channel(*primary, channel) : nullptr;
    }
    const Offer& offer = channel.state_.offer;
    if ((offer.flags & Offer::socket_provider) != 0) return sockets_ != nullptr ? sockets_->adopt(channel) : nullptr;
    const auto owner = devices_.find({offer.type, offer.instance});
    return owner != devices_.end() ? owner->second : nullptr;
}

// The machine was built as the saved one was, so the channels of its devices are here. Those that were made later are
// made anew, and go to whom they belong to.
void Server::restore(sim::Reader& reader) {
    std::uint64_t count = 0;
    reader(state_, gpadls_, gpadl_words_, queue_timer_, fault_timer_, room_timer_, monitor_timer_, count);
    auto before = std::move(channels_);
    channels_.clear();
    for (; count > 0; --count) {
        std::uint32_t id = 0;
        HostChannel::State state;
        reader(id, state);
        auto found = before.find(id);
        std::unique_ptr<HostChannel> channel;
        if (found != before.end() && found->second->state_.offer == state.offer) {
            channel = std::move(found->second);
            before.erase(found);
            channel->state_ = state;
        } else {
            channel = std::make_unique<HostChannel>(*this, nullptr, id, state.offer, state.primary);
            channel->state_ = state;
        }
        // A device knows the channels that it was built with; the others are told to it anew, also where they are here
        // still because the machine goes back in its own time.
        const bool made_later =
            channel->device_ == nullptr || state.primary != 0 || (state.offer.flags & Offer::socket_provider) != 0;
        if (made_later) channel->device_ = adopter(*channel);
        if (channel->device_ == nullptr) {
            throw sim::UserError("checkpoint: nobody has the channel of " + to_text(state.offer.instance));
        }
        HostChannel& kept = *channel;
        channels_.try_emplace(id, std::move(channel));
        if (kept.state_.primary == 0) kept.device_->adopted(kept);
        kept.rings_.detach();
        if (kept.state_.phase == ChannelPhase::open) attach_rings(kept);
        reader(kept.rings_);
    }
    for (auto& [id, gone] : before) gone->device_->released(*gone);
    needs_changed();
}

}  // namespace vmbus
