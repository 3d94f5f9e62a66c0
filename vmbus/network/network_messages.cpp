// What the guest's messages do: NVSP on the channels, RNDIS control messages inside it.
#include <algorithm>
#include <cstring>
#include <utility>

#include "sim/bits.h"
#include "sim/check.h"
#include "vmbus/network/layout.h"
#include "vmbus/network/network_queue.h"
#include "vmbus/network/rndis_packet.h"

namespace vmbus {

namespace {

constexpr std::uint32_t ordinary_frame_bytes = 1514;
// Of a section, beside its frame: information, a tag in the frame, and the end that Windows' driver leaves unused.
constexpr std::uint32_t section_overhead = 128 + 36;

std::uint32_t section_bytes_for(std::uint32_t frame_bytes) {
    return static_cast<std::uint32_t>(sim::align_up(frame_bytes + section_overhead, 64));
}
static_assert(rndis::packet_overhead <= 128);

template <class Message>
Message message_in(std::span<const std::byte> bytes) {
    // The table has said that what is needed is there; the rest are reserved fields.
    Message message;
    std::memcpy(static_cast<void*>(&message), bytes.data(), std::min(bytes.size(), sizeof(message)));
    return message;
}

}  // namespace

void NetworkProvider::handle(Queue& queue, const Request& request) {
    if (request.rndis) return handle_rndis(queue, request);
    const auto type = read_layout<std::uint32_t>(request.bytes).value_or(0);
    std::array<std::uint64_t, 2> words{};
    std::memcpy(words.data(), request.bytes.data() + 4, std::min(request.bytes.size() - 4, sizeof(words)));
    scope_.trace("nvsp", queue.index(), type, words[0], words[1]);
    const nvsp::MessageRow* row = nvsp::find(type);
    if (row == nullptr || row->direction == nvsp::Direction::to_guest || row->carried != nvsp::Carried::request) {
        return queue.fault("an NVSP message that no guest sends");
    }
    if (row->first_version > state_.version) return queue.fault("an NVSP message of a later version");
    if (queue.index() != 0 && !row->on_sub_channels) return queue.fault("an NVSP message on a sub-channel");
    if (request.bytes.size() < row->bytes) return queue.fault("an NVSP message that is cut short");

    // Messages that need no answer get one if it was asked for: empty, as UEFI's driver expects it.
    const auto acknowledge = [&] {
        if (request.wants_completion) queue.complete(request.transaction, {});
    };
    switch (row->type) {
        case nvsp::MessageType::init:
            return initialize(queue, request);
        case nvsp::MessageType::send_ndis_config: {
            // The size of sections goes by it.
            if (state_.receive_buffer.established()) return queue.fault("NDIS_CONFIG after the receive buffer");
            const auto message = message_in<nvsp::SendNdisConfig>(request.bytes);
            // As Hyper-V's switch: what is out of its range is the ordinary size.
            const bool fits = message.mtu >= ordinary_frame_bytes && message.mtu <= config_.largest_frame;
            state_.frame_bytes = fits ? message.mtu : ordinary_frame_bytes;
            state_.capabilities = message.capabilities;
            return acknowledge();
        }
        case nvsp::MessageType::send_ndis_version: {
            const auto message = message_in<nvsp::SendNdisVersion>(request.bytes);
            state_.ndis_version = static_cast<std::uint16_t>(std::min<std::uint32_t>(message.major, 0xff) << 8 |
                                                             std::min<std::uint32_t>(message.minor, 0xff));
            return acknowledge();
        }
        case nvsp::MessageType::send_receive_buffer:
            return take_receive_buffer(queue, request);
        case nvsp::MessageType::send_send_buffer:
            return take_send_buffer(queue, request);
        case nvsp::MessageType::revoke_receive_buffer:
            if (message_in<nvsp::RevokeBuffer>(request.bytes).id == state_.receive_buffer.id()) {
                revoke_receive_buffer();
            }
            return acknowledge();
        case nvsp::MessageType::revoke_send_buffer:
            if (message_in<nvsp::RevokeBuffer>(request.bytes).id == state_.send_buffer_id) {
                state_.send_buffer_bytes = 0;
                state_.send_gpadl = 0;
            }
            return acknowledge();
        case nvsp::MessageType::switch_data_path:
            return switch_data_path(queue, request);
        case nvsp::MessageType::oid_query_ex:
            if (request.wants_completion) {
                nvsp::OidQueryExComplete complete;
                complete.status = rndis::status::not_supported;
                queue.complete(request.transaction, nvsp::padded(complete));
            }
            return;
        case nvsp::MessageType::sub_channel:
            return allocate_sub_channels(queue, request);
        default:
            return queue.fault("an NVSP message that comes too early");  // RNDIS before a version
    }
}

void NetworkProvider::initialize(Queue& queue, const Request& request) {
    if (state_.version != 0) return queue.fault("a second INIT");
    const auto message = message_in<nvsp::Init>(request.bytes);
    const bool known =
        std::find(nvsp::versions.begin(), nvsp::versions.end(), message.version) != nvsp::versions.end() &&
        message.version <= config_.highest_version;
    nvsp::InitComplete complete;
    if (known) {
        state_.version = message.version;
        complete.status = nvsp::Status::success;
        if (message.version == nvsp::version_1) complete.version = nvsp::version_1;
    }
    if (request.wants_completion) queue.complete(request.transaction, nvsp::padded(complete));
}

void NetworkProvider::take_receive_buffer(Queue& queue, const Request& request) {
    if (state_.receive_buffer.established()) return queue.fault("a second receive buffer");
    const auto message = message_in<nvsp::SendBuffer>(request.bytes);
    const std::uint32_t section_bytes = section_bytes_for(state_.frame_bytes);
    const std::uint64_t count = std::min<std::uint64_t>(queue.channel()->gpadl_size(message.gpadl) / section_bytes,
                                                        ReceiveBuffer::largest_count);
    nvsp::SendReceiveBufferComplete complete;
    complete.status = nvsp::Status::failure;
    if (count > ReceiveBuffer::control_sections) {
        state_.receive_buffer =
            ReceiveBuffer{message.gpadl, message.id, section_bytes, static_cast<std::uint32_t>(count)};
        bus_.needs_changed();
        complete.status = nvsp::Status::success;
        complete.sections = 1;
        complete.section_bytes = section_bytes;
        complete.section_count = static_cast<std::uint32_t>(count);
        complete.end_offset = section_bytes * static_cast<std::uint32_t>(count);
        const bool coalescing = state_.version >= nvsp::version_6_1 && has_capability(nvsp::capability::rsc);
        rndis_.attach(state_.ndis_version, coalescing, state_.frame_bytes);
    }
    if (request.wants_completion) queue.complete(request.transaction, nvsp::padded(complete));
}

void NetworkProvider::take_send_buffer(Queue& queue, const Request& request) {
    if (state_.send_buffer_bytes != 0) return queue.fault("a second send buffer");
    const auto message = message_in<nvsp::SendBuffer>(request.bytes);
    const std::uint64_t bytes = queue.channel()->gpadl_size(message.gpadl);
    nvsp::SendSendBufferComplete complete;
    complete.status = nvsp::Status::failure;
    if (bytes >= config_.send_section_bytes) {
        state_.send_gpadl = message.gpadl;
        state_.send_buffer_bytes = bytes;
        state_.send_buffer_id = message.id;
        complete.status = nvsp::Status::success;
        complete.section_bytes = config_.send_section_bytes;
    }
    if (request.wants_completion) queue.complete(request.transaction, nvsp::padded(complete));
}

void NetworkProvider::revoke_receive_buffer() {
    const bool was_ready = ready();
    state_.receive_buffer = {};
    state_.notices = 0;
    rndis_.detach();
    for (auto& queue : queues_) queue->drop_backlog(NetworkDrop::no_buffer);
    if (was_ready) port_.ready_changed(false);
}

void NetworkProvider::allocate_sub_channels(Queue& queue, const Request& request) {
    const auto message = message_in<nvsp::SubChannelRequest>(request.bytes);
    const auto most = static_cast<std::uint32_t>(queues_.size() - 1);
    nvsp::SubChannelComplete complete;
    complete.status = nvsp::Status::failure;
    // A promise: as many as are granted here are offered, or the guest waits for ever.
    if (message.operation == nvsp::sub_channel_allocate && state_.sub_channels == 0 && ready()) {
        complete.count = std::min(message.count, most);
        if (complete.count != 0) complete.status = nvsp::Status::success;
        state_.sub_channels = static_cast<std::uint16_t>(complete.count);
    }
    if (request.wants_completion) queue.complete(request.transaction, nvsp::padded(complete));
    queue.drain();
    for (std::uint32_t n = 0; n < complete.count; ++n) {
        Channel& channel = bus_.offer_sub_channel(*queue.channel(), *this);
        queue_of(channel).set_channel(&channel);
    }
}

void NetworkProvider::switch_data_path(Queue& queue, const Request& request) {
    if (state_.switching) return queue.fault("a second SWITCH_DATA_PATH");
    const auto message = message_in<nvsp::SwitchDataPath>(request.bytes);
    const bool to_vf = message.path == nvsp::data_path::virtual_function;
    state_.switching = true;
    state_.switching_to_vf = to_vf;
    state_.switch_transaction.reset();
    if (request.wants_completion) state_.switch_transaction = request.transaction;
    // Where it is already there is nothing to do; and no function, no way there.
    if (to_vf == state_.data_path_is_vf || (to_vf && !state_.vf)) {
        state_.switching_to_vf = state_.data_path_is_vf;
        return finish_switch();
    }
    if (port_.switch_data_path(to_vf)) finish_switch();
}

void NetworkProvider::finish_switch() {
    state_.switching = false;
    state_.data_path_is_vf = state_.switching_to_vf;
    scope_.trace("network_data_path", state_.data_path_is_vf);
    // Linux takes a completion with a payload for an unknown message, and waits on.
    if (state_.switch_transaction) primary().complete(*state_.switch_transaction, {});
    state_.switch_transaction.reset();
}

void NetworkProvider::handle_rndis(Queue& queue, const Request& request) {
    const auto header = read_layout<rndis::Header>(request.bytes).value_or(rndis::Header{});
    const auto id = read_layout<std::uint32_t>(request.bytes, 8).value_or(0);
    const auto what = read_layout<std::uint32_t>(request.bytes, 12).value_or(0);
    scope_.trace("rndis", queue.index(), header.type, id, what);
    if (queue.index() != 0) return queue.fault("an RNDIS control message on a sub-channel");
    if (!state_.receive_buffer.established()) return queue.fault("RNDIS before its buffers");
    RndisDevice::Answer answer = rndis_.handle(request.bytes, surroundings());
    if (request.wants_completion) {
        nvsp::SendRndisPacketComplete complete;
        if (!answer.understood) complete.status = nvsp::Status::invalid_rndis_packet;
        queue.complete(request.transaction, nvsp::padded(complete));
    }
    if (!answer.reply.empty()) queue.send_control(std::move(answer.reply));
    apply(answer.changes);
}

void NetworkProvider::apply(const RndisDevice::Changes& changes) {
    if (changes.ready) {
        state_.notices = 0;
        state_.announced_link = state_.link_up;
        if (ready()) {
            port_.frame_size_changed(state_.frame_bytes);
            port_.offloads_changed(rndis_.offloads());
        } else {
            for (auto& queue : queues_) queue->drop_backlog(NetworkDrop::not_ready);
        }
        port_.ready_changed(ready());
        if (state_.vf) give_notice(Notice::virtual_function);
    }
    if (changes.filter) port_.filter_changed(rndis_.filter(), rndis_.groups());
    if (changes.address) port_.address_changed(rndis_.address());
    if (changes.offloads) {
        port_.offloads_changed(rndis_.offloads());
        give_notice(Notice::offloads);
    }
    if (changes.rss) port_.rss_changed(rndis_.rss());
}

}  // namespace vmbus
