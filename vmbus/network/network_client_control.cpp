// How a behavioural guest brings its adapter up, in the steps of Linux' netvsc_device_add() and
// rndis_filter_device_add(), and takes it down again. (What it says in RNDIS: network_client_rndis.cpp.)
#include <algorithm>
#include <cstring>

#include "sim/check.h"
#include "vmbus/network/layout.h"
#include "vmbus/network/network_client_queue.h"
#include "vmbus/network/offload.h"

namespace vmbus {

// -- Up.

void NetworkClient::opened(ClientChannel& channel, std::uint32_t status) {
    Queue& queue = queue_of(channel);
    if (status != 0) {
        if (queue.index() == 0) fail();
        return;
    }
    queue.opened(channel);
    if (queue.index() == 0) {
        start(Step::agree);
    } else {
        sub_channel_open();
    }
}

void NetworkClient::fail() {
    state_.step = Step::failed;
    ++state_.host_errors;
    scope_.trace("network_client_failed");
}

void NetworkClient::ask_version(std::uint32_t version) {
    state_.version = version;
    primary().send(nvsp::MessageType::init, nvsp::padded(nvsp::Init{nvsp::MessageType::init, version, version}), true);
}

bool NetworkClient::make_buffer(Buffer& buffer, PageList& list, std::uint64_t pages) {
    auto given = bus_.pages().allocate(pages);
    if (!given) return false;
    buffer.pages = std::move(*given);
    list = {};
    list.append(0, static_cast<std::uint32_t>(pages * page_bytes), buffer.pages);
    buffer.gpadl = primary().channel()->make_gpadl(buffer.pages);
    return true;
}

void NetworkClient::start(Step step) {
    state_.step = step;
    scope_.trace("network_client_step", step);
    switch (step) {
        case Step::agree:
            state_.mtu = state_.wanted_mtu;
            state_.channels = 1;
            state_.opened = 1;
            ask_version(config_.newest_version);
            break;
        case Step::receive_gpadl: {
            if (state_.version >= nvsp::version_2) {
                nvsp::SendNdisConfig config;
                config.mtu = state_.mtu + rndis::ethernet_header_bytes;
                config.capabilities = nvsp::capability::ieee_8021q;
                if (state_.version >= nvsp::version_5) {
                    config.capabilities |= nvsp::capability::sriov | nvsp::capability::teaming;
                }
                if (state_.version >= nvsp::version_6_1) config.capabilities |= nvsp::capability::rsc;
                primary().send(config.type, nvsp::padded(config), false);
            }
            nvsp::SendNdisVersion version;
            version.minor = state_.version <= nvsp::version_4 ? 1 : 30;
            primary().send(version.type, nvsp::padded(version), false);
            if (!make_buffer(state_.receive, receive_list_, config_.receive_pages)) fail();
            break;
        }
        case Step::receive_buffer: {
            const nvsp::SendBuffer message{nvsp::MessageType::send_receive_buffer, state_.receive.gpadl,
                                           nvsp::receive_buffer_id, 0};
            primary().send(message.type, nvsp::padded(message), true);
            break;
        }
        case Step::send_gpadl:
            if (!make_buffer(state_.send, send_list_, config_.send_pages)) fail();
            break;
        case Step::send_buffer: {
            const nvsp::SendBuffer message{nvsp::MessageType::send_send_buffer, state_.send.gpadl, 0, 0};
            primary().send(message.type, nvsp::padded(message), true);
            break;
        }
        case Step::initialize: {
            if (state_.control_page.empty()) {
                auto page = bus_.pages().allocate(1);
                if (!page) return fail();
                state_.control_page = std::move(*page);
            }
            rndis::Initialize body;
            body.request = ++state_.request;
            send_rndis(rndis::message(rndis::MessageType::initialize, body));
            break;
        }
        case Step::frame_size:
            query(ndis::Oid::maximum_frame_size);
            break;
        case Step::address:
            query(ndis::Oid::permanent_address);
            break;
        case Step::offload_capabilities: {
            ndis::Offload wanted;
            wanted.header.type = ndis::object_type::offload;
            wanted.header.revision = state_.version >= nvsp::version_5 ? 3 : state_.version >= nvsp::version_4 ? 2 : 1;
            wanted.header.bytes = state_.version >= nvsp::version_5   ? ndis::offload_bytes_3
                                  : state_.version >= nvsp::version_4 ? ndis::offload_bytes_2
                                                                      : ndis::offload_bytes_1;
            query(ndis::Oid::tcp_offload_hardware_capabilities, layout_bytes(wanted).first(wanted.header.bytes));
            break;
        }
        case Step::offload_parameters:
            send_offloads();
            break;
        case Step::media_status:
            query(ndis::Oid::media_connect_status);
            break;
        case Step::link_speed:
            query(ndis::Oid::link_speed);
            break;
        case Step::rss_capabilities:
            query(ndis::Oid::receive_scale_capabilities, layout_bytes(ndis::RssCapabilities{}));
            break;
        case Step::sub_channels: {
            const nvsp::SubChannelRequest message{nvsp::MessageType::sub_channel, nvsp::sub_channel_allocate,
                                                  state_.channels - 1u};
            primary().send(message.type, nvsp::padded(message), true);
            break;
        }
        case Step::sub_channels_open:
            if (state_.opened == state_.channels) start(Step::rss_off);
            break;
        case Step::rss_off:
            for (std::uint32_t n = 0; n < nvsp::send_table_entries; ++n) state_.send_table[n] = n % state_.channels;
            send_rss(false);
            break;
        case Step::rss_on:
            send_rss(true);
            break;
        case Step::filter:
            set(ndis::Oid::current_packet_filter, layout_bytes(state_.filter));
            break;
        case Step::up:
            user_.ready();
            for (auto& queue : queues_) queue->signalled();
            break;
        default:
            break;
    }
}

void NetworkClient::gpadl_created(ClientChannel&, std::uint32_t gpadl, std::uint32_t status) {
    if (status != 0) return fail();
    if (state_.step == Step::receive_gpadl && gpadl == state_.receive.gpadl) return start(Step::receive_buffer);
    if (state_.step == Step::send_gpadl && gpadl == state_.send.gpadl) return start(Step::send_buffer);
}

void NetworkClient::sub_channel_open() {
    ++state_.opened;
    if (state_.step == Step::sub_channels_open && state_.opened == state_.channels) start(Step::rss_off);
}

// What the host completes a request of NVSP with.
void NetworkClient::completed(nvsp::MessageType request, std::span<const std::byte> payload) {
    switch (request) {
        case nvsp::MessageType::init: {
            const auto answer = read_layout<nvsp::InitComplete>(payload);
            if (state_.step != Step::agree || !answer || answer->type != nvsp::MessageType::init_complete) break;
            if (answer->status == nvsp::Status::success) return start(Step::receive_gpadl);
            const auto asked = std::find(nvsp::versions.begin(), nvsp::versions.end(), state_.version);
            if (asked == nvsp::versions.begin() || *(asked - 1) < config_.oldest_version) return fail();
            return ask_version(*(asked - 1));
        }
        case nvsp::MessageType::send_receive_buffer: {
            const auto answer = read_layout<nvsp::SendReceiveBufferComplete>(payload);
            if (state_.step != Step::receive_buffer || !answer) break;
            if (answer->status != nvsp::Status::success || answer->sections != 1 || answer->offset != 0) return fail();
            state_.receive.section_bytes = answer->section_bytes;
            state_.receive.sections = answer->section_count;
            if (std::uint64_t{answer->section_bytes} * answer->section_count > receive_list_.size()) return fail();
            return start(Step::send_gpadl);
        }
        case nvsp::MessageType::send_send_buffer: {
            const auto answer = read_layout<nvsp::SendSendBufferComplete>(payload);
            if (state_.step != Step::send_buffer || !answer) break;
            if (answer->status != nvsp::Status::success || answer->section_bytes < 68) return fail();
            state_.send.section_bytes = answer->section_bytes;
            state_.send.sections = static_cast<std::uint32_t>(send_list_.size() / answer->section_bytes);
            state_.free_sections.clear();
            for (std::uint32_t n = state_.send.sections; n-- > 0;) state_.free_sections.push_back(n);
            return start(Step::initialize);
        }
        case nvsp::MessageType::sub_channel: {
            const auto answer = read_layout<nvsp::SubChannelComplete>(payload);
            if (state_.step != Step::sub_channels || !answer) break;
            if (answer->status != nvsp::Status::success) {
                state_.channels = 1;
                return start(Step::filter);
            }
            if (answer->count > state_.channels - 1u) return fail();
            state_.channels = static_cast<std::uint16_t>(1 + answer->count);
            return start(Step::sub_channels_open);
        }
        case nvsp::MessageType::switch_data_path:
            if (!payload.empty()) ++state_.host_errors;
            user_.data_path_switched();
            return;
        case nvsp::MessageType::send_rndis_packet:
            return;  // a control message arrived; its answer comes for itself
        default:
            break;
    }
    ++state_.host_errors;
}

void NetworkClient::switch_data_path(bool to_virtual_function) {
    nvsp::SwitchDataPath message;
    message.path = to_virtual_function ? nvsp::data_path::virtual_function : nvsp::data_path::synthetic;
    primary().send(message.type, nvsp::padded(message), true);
}

// -- Down.

void NetworkClient::reattach(std::uint32_t mtu, std::uint16_t channels) {
    VG_CHECK(channels >= 1 && channels <= queues_.size());
    state_.wanted_mtu = mtu;
    state_.wanted_channels = channels;
    const bool was_up = is_up();
    if (was_up) detach();
    state_.open_again = was_up;
}

void NetworkClient::detach() {
    if (!is_up()) return;
    state_.open_again = false;
    user_.down();
    state_.step = Step::halt;
    send_rndis(rndis::message(rndis::MessageType::halt, rndis::RequestOnly{++state_.request}));
    state_.step = Step::drain;
    for (auto& queue : queues_) queue->signalled();
}

// Called whenever something was completed: the buffers may go when nothing is under way any more.
void NetworkClient::sends_drained() {
    if (state_.step != Step::drain) return;
    for (const auto& queue : queues_) {
        if (!queue->idle()) return;
    }
    state_.step = Step::tear_down;
    primary().send(nvsp::MessageType::revoke_receive_buffer,
                   nvsp::padded(nvsp::RevokeBuffer{nvsp::MessageType::revoke_receive_buffer, nvsp::receive_buffer_id}),
                   false);
    primary().send(nvsp::MessageType::revoke_send_buffer,
                   nvsp::padded(nvsp::RevokeBuffer{nvsp::MessageType::revoke_send_buffer, 0}), false);
    primary().drain();
    ClientChannel& channel = *primary().channel();
    for (std::size_t n = queues_.size(); n-- > 0;) {
        if (queues_[n]->is_open()) queues_[n]->channel()->close();
        queues_[n]->closed();
    }
    channel.tear_down_gpadl(state_.receive.gpadl);
    channel.tear_down_gpadl(state_.send.gpadl);
}

void NetworkClient::gpadl_torn_down(ClientChannel& channel, std::uint32_t gpadl) {
    if (state_.step != Step::tear_down || gpadl != state_.send.gpadl) return;
    release_buffers();
    state_.step = Step::closed;
    if (std::exchange(state_.open_again, false)) offered(channel);
}

void NetworkClient::release_buffers() {
    for (Buffer* buffer : {&state_.receive, &state_.send}) {
        bus_.pages().release(buffer->pages);
        *buffer = {};
    }
    receive_list_ = {};
    send_list_ = {};
    state_.free_sections.clear();
}

void NetworkClient::rescinded(ClientChannel& channel) {
    Queue& queue = queue_of(channel);
    if (queue.channel() != &channel) return;
    queue.closed();
    if (queue.index() == 0) forget();
}

void NetworkClient::forget() {
    const bool was_up = is_up();
    for (auto& queue : queues_) queue->closed();
    release_buffers();
    bus_.pages().release(state_.control_page);
    state_.control_page.clear();
    state_.step = Step::closed;
    state_.open_again = false;
    if (was_up) user_.down();
}

}  // namespace vmbus
