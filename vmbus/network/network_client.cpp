#include "vmbus/network/network_client.h"

#include <algorithm>
#include <string>

#include "sim/check.h"
#include "vmbus/network/network_client_queue.h"

namespace vmbus {

NetworkClient::NetworkClient(const sim::Scope& scope, BusClient& bus, NetworkClientUser& user, const Config& config,
                             const ProcessorOfQueue& processor)
    : scope_(scope), bus_(bus), user_(user), config_(config) {
    VG_CHECK(config.channels >= 1 && config.channels <= largest_channel_count && config.virtual_processors >= 1);
    state_.wanted_mtu = config.mtu;
    state_.wanted_channels = config.channels;
    state_.filter = config.filter;
    // One for each channel that there may be, so that tasks have the same numbers in every machine built alike.
    VG_CHECK(config.most_channels <= largest_channel_count);
    for (std::uint16_t n = 0; n < std::max(config.channels, config.most_channels); ++n) {
        queues_.push_back(std::make_unique<Queue>(*this, scope.child("channel" + std::to_string(n)), n, processor(n)));
    }
    registration_ = scope.register_state(*this);
}

NetworkClient::~NetworkClient() = default;

void NetworkClient::offered(ClientChannel& channel) {
    channel.bind(*this);
    const std::uint32_t vp = channel.sub_channel_index() % config_.virtual_processors;
    (void)channel.open(config_.ring_pages, vp);
}

NetworkClient::Queue& NetworkClient::queue_of(const ClientChannel& channel) {
    const std::uint16_t index = channel.sub_channel_index();
    VG_CHECK(index < queues_.size(), "channel {}", index);
    return *queues_[index];
}

std::uint16_t NetworkClient::queue_for(const OutgoingFrame& frame) const {
    if (!frame.hash || state_.channels == 1) return 0;
    const std::uint32_t queue = state_.send_table[*frame.hash % nvsp::send_table_entries];
    return queue < state_.channels && queues_[queue]->is_open() ? static_cast<std::uint16_t>(queue) : 0;
}

bool NetworkClient::transmit(OutgoingFrame&& frame) {
    if (is_up() && queues_[queue_for(frame)]->push(std::move(frame))) return true;
    state_.refused = true;
    return false;
}

ClientCount NetworkClient::sent() const {
    ClientCount all;
    for (const auto& queue : queues_) {
        all.frames += queue->sent().frames;
        all.bytes += queue->sent().bytes;
        all.errors += queue->sent().errors;
    }
    return all;
}

ClientCount NetworkClient::received() const {
    ClientCount all;
    for (const auto& queue : queues_) {
        all.frames += queue->received().frames;
        all.bytes += queue->received().bytes;
        all.errors += queue->received().errors;
    }
    return all;
}

const ClientCount& NetworkClient::sent(std::uint16_t queue) const {
    return queues_.at(queue)->sent();
}

const ClientCount& NetworkClient::received(std::uint16_t queue) const {
    return queues_.at(queue)->received();
}

void NetworkClient::signalled(ClientChannel& channel) {
    queue_of(channel).signalled();
}

void NetworkClient::save(sim::Writer& writer) const {
    writer(state_);
    for (const auto& queue : queues_) writer(*queue);
}

void NetworkClient::restore(sim::Reader& reader) {
    reader(state_);
    for (auto& queue : queues_) {
        reader(*queue);
        queue->find_channel();
    }
    const auto list = [](const Buffer& buffer) {
        PageList pages;
        if (!buffer.pages.empty()) {
            pages.append(0, static_cast<std::uint32_t>(buffer.pages.size() * page_bytes), buffer.pages);
        }
        return pages;
    };
    receive_list_ = list(state_.receive);
    send_list_ = list(state_.send);
}

}  // namespace vmbus
