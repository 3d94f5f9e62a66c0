// What guests ask for by control messages, and the answers.
#include <algorithm>

#include "vmbus/server.h"

namespace vmbus {

void Server::handle(std::span<const std::byte> payload) {
    std::array<std::uint64_t, 2> words{};
    for (std::size_t n = 0; n < words.size(); ++n) {
        const std::size_t at = sizeof(MessageHeader) + n * 8;
        if (at < payload.size())
            std::memcpy(&words[n], payload.data() + at, std::min<std::size_t>(8, payload.size() - at));
    }
    const auto type = type_of(payload);
    scope_.trace("message_in", type ? static_cast<std::uint64_t>(*type) : 0, payload.size(), words[0], words[1]);
    if (!type) return refuse(Refusal::short_message, payload.size());
    const auto number = static_cast<std::uint64_t>(*type);
    const MessageRow* row = find_message(*type);
    if (row == nullptr || row->direction != Direction::to_host) return refuse(Refusal::unknown_message, number);
    ++*messages_[static_cast<std::size_t>(row - message_table.data())];
    if (payload.size() < row->size) return refuse(Refusal::short_message, number);
    if (row->first_version != version::none) {
        if (state_.version == version::none) return refuse(Refusal::not_connected, number);
        if (state_.version < row->first_version) return refuse(Refusal::too_new, number);
    }
    const auto rest = payload.subspan(row->size);
    switch (*type) {
        case MessageType::initiate_contact:
            return handle_contact(*read_as<message::InitiateContact>(payload));
        case MessageType::request_offers:
            return handle_request_offers();
        case MessageType::open_channel:
            return handle_open(*read_as<message::OpenChannel>(payload));
        case MessageType::close_channel:
            return handle_close(*read_as<message::CloseChannel>(payload));
        case MessageType::gpadl_header:
            return handle_gpadl_header(*read_as<message::GpadlHeader>(payload), rest);
        case MessageType::gpadl_body:
            return handle_gpadl_body(*read_as<message::GpadlBody>(payload), rest);
        case MessageType::gpadl_teardown:
            return handle_gpadl_teardown(*read_as<message::GpadlTeardown>(payload));
        case MessageType::relid_released:
            return handle_relid_released(*read_as<message::RelidReleased>(payload));
        case MessageType::unload:
            return handle_unload();
        case MessageType::tl_connect_request:
            return handle_socket(*read_as<message::TlConnectRequest>(payload));
        case MessageType::modify_channel:
            return handle_modify(*read_as<message::ModifyChannel>(payload));
        default:
            return;
    }
}

// The connection
// ----------------------------------------------------------------------------------------------------------------

void Server::handle_contact(const message::InitiateContact& request) {
    disconnect();
    message::VersionResponse response;
    // Older guests take messages on their first processor only.
    const std::uint32_t vp = request.version >= version::v3_0 ? request.target_vp : 0;
    const bool good_vp = vp < port_.processor_count();
    state_.message_vp = good_vp ? vp : 0;
    const auto target = request.interrupt_page_or_target;
    const bool good_sint = request.version < version::v5_0 || (target & 0xff) == message_sint;
    const bool good_vtl = request.version < version::v5_1 || (target >> 8 & 0xff) == 0;
    const bool known = request.version <= config_.newest_version &&
                       std::find(version::all.begin(), version::all.end(), request.version) != version::all.end();
    if (!known || !good_vp || !good_sint || !good_vtl) {
        refuse(known ? Refusal::bad_target : Refusal::unknown_version, request.version);
        return post(response);
    }
    if ((request.monitor_page_to_guest == 0) != (request.monitor_page_to_host == 0)) {
        refuse(Refusal::monitor_pages, request.monitor_page_to_host);
        // Before 2.4 a guest knows no failures.
        if (request.version >= version::v2_4) {
            response.supported = 1;
            response.connection_state = 2;
        }
        return post(response);
    }
    state_.version = request.version;
    state_.monitor_pages = {request.monitor_page_to_guest, request.monitor_page_to_host};
    if (state_.version < version::v5_0) state_.interrupt_page = request.interrupt_page_or_target;
    if (state_.version < version::v2_4) port_.open_connection(shared_event_connection);
    scope_.trace("connected", state_.version, state_.message_vp);
    response.supported = 1;
    response.message_connection = state_.version >= version::v5_0 ? message_connection : state_.version;
    post(response);
}

void Server::handle_request_offers() {
    if (state_.offers_made) return refuse(Refusal::offers_asked_for_again);
    state_.offers_made = true;
    make_waiting_offers();
    post(message::AllOffersDelivered{});
}

void Server::handle_unload() {
    const bool answers = state_.version >= version::v1_1;
    disconnect();
    if (answers) post(message::UnloadResponse{});
}

// Channels
// ----------------------------------------------------------------------------------------------------------------

void Server::handle_open(const message::OpenChannel& request) {
    HostChannel* channel = by_relid(request.relid);
    if (channel == nullptr) return refuse(Refusal::unknown_relid, request.relid);
    if (channel->state_.phase == ChannelPhase::rescinded) return;  // the guest has yet to read that
    if (channel->state_.phase == ChannelPhase::open) return refuse(Refusal::channel_state, request.relid);
    if (channel->state_.faulty) return;  // closed by the guest meanwhile, and about to be taken away
    const std::uint32_t id = channel->id_;
    message::OpenChannelResult result;
    result.relid = request.relid;
    result.open_id = request.open_id;
    result.status = open(*channel, request);
    channel = find(id);
    if (channel == nullptr || channel->state_.phase == ChannelPhase::rescinded) return;
    post(result);
    // What the guest had put there before it opened was never signalled.
    if (result.status == status::success && channel->rings_.in.waiting(memory_)) signal_device(*channel);
}

std::uint32_t Server::open(HostChannel& channel, const message::OpenChannel& request) {
    HostChannel::State& state = channel.state_;
    const auto refused = [&](Refusal refusal) {
        refuse(refusal, request.relid);
        return status::unsuccessful;
    };
    const bool old = state_.version < version::v2_4;
    if (!old && request.target_vp != message::OpenChannel::no_interrupts &&
        request.target_vp >= port_.processor_count()) {
        return refused(Refusal::bad_processor);
    }
    const auto ring = gpadls_.find({channel.id_, request.ring_gpadl});
    if (ring == gpadls_.end()) return refused(Refusal::unknown_gpadl);
    if (!ring->second.complete()) return refused(Refusal::gpadl_state);
    // Each ring is a page of indices and at least one of data.
    const std::uint64_t pages = ring->second.pages().size() / page_bytes;
    if (!ring->second.is_page_run() || request.downstream_page_offset < 2 ||
        pages < std::uint64_t{request.downstream_page_offset} + 2) {
        return refused(Refusal::ring_form);
    }
    state.open_id = request.open_id;
    state.ring_gpadl = request.ring_gpadl;
    state.ring_split = request.downstream_page_offset;
    state.target_vp = old ? 0 : request.target_vp;
    attach_rings(channel);
    if (!channel.rings_.in.start(memory_) || !channel.rings_.out.start(memory_)) {
        channel.rings_.detach();
        return refused(Refusal::ring_fault);
    }
    state.phase = ChannelPhase::open;
    port_.open_connection(connection_of(state.relid));
    start_monitor(channel);
    scope_.trace("opened", state.relid, state.target_vp, state.ring_split, pages);
    const std::uint32_t id = channel.id_;
    const std::uint32_t answer = channel.device_->open(channel, request.user_data);
    if (answer == status::success) {
        needs_changed();
        return answer;
    }
    HostChannel* left = find(id);
    if (left != nullptr && left->state_.phase == ChannelPhase::open) {
        left->state_.phase = ChannelPhase::offered;
        left->state_.faulty = false;
        left->state_.polled = false;
        left->rings_.detach();
        port_.close_connection(connection_of(left->state_.relid));
        arm_monitor();
    }
    refuse(Refusal::closed_by_device, request.relid);
    return answer;
}

void Server::handle_close(const message::CloseChannel& request) {
    HostChannel* channel = by_relid(request.relid);
    if (channel == nullptr) return refuse(Refusal::unknown_relid, request.relid);
    if (channel->state_.phase == ChannelPhase::rescinded) return;
    if (channel->state_.phase != ChannelPhase::open) return refuse(Refusal::channel_state, request.relid);
    close(channel->id_);
}

void Server::handle_relid_released(const message::RelidReleased& request) {
    HostChannel* channel = by_relid(request.relid);
    if (channel == nullptr) return refuse(Refusal::unknown_relid, request.relid);
    if (channel->state_.phase == ChannelPhase::open) return refuse(Refusal::channel_state, request.relid);
    let_go(channel->id_);
}

void Server::handle_modify(const message::ModifyChannel& request) {
    message::ModifyChannelResponse response;
    response.relid = request.relid;
    response.status = status::unsuccessful;
    HostChannel* channel = by_relid(request.relid);
    if (channel == nullptr) {
        refuse(Refusal::unknown_relid, request.relid);
    } else if (channel->state_.phase != ChannelPhase::open ||
               channel->state_.target_vp == message::OpenChannel::no_interrupts) {
        refuse(Refusal::channel_state, request.relid);
    } else if (request.target_vp >= port_.processor_count()) {
        refuse(Refusal::bad_processor, request.target_vp);
    } else {
        channel->state_.target_vp = request.target_vp;
        response.status = status::success;
    }
    if (state_.version >= version::v5_3) post(response);
}

void Server::handle_socket(const message::TlConnectRequest& request) {
    // A guest that asks twice with one name has the channel already.
    const bool taken = std::any_of(channels_.begin(), channels_.end(), [&](const auto& entry) {
        const HostChannel::State& state = entry.second->state_;
        return !state.ending && state.offer.type == request.service && state.offer.instance == request.endpoint;
    });
    if (!taken && sockets_ != nullptr && sockets_->connect(request.endpoint, request.service)) return;
    refuse(Refusal::socket_refused);
    message::TlConnectResult result;
    result.endpoint = request.endpoint;
    result.service = request.service;
    result.status = status::connection_refused;
    if (state_.version >= version::v4_1) post(result);
}

// GPADLs
// ----------------------------------------------------------------------------------------------------------------

void Server::handle_gpadl_header(const message::GpadlHeader& request, std::span<const std::byte> ranges) {
    const auto refused = [&](Refusal refusal) {
        refuse(refusal, request.gpadl);
        message::GpadlCreated created;
        created.relid = request.relid;
        created.gpadl = request.gpadl;
        created.status = status::unsuccessful;
        post(created);
    };
    HostChannel* channel = by_relid(request.relid);
    if (channel == nullptr) return refused(Refusal::unknown_relid);
    // Bodies name no channel, so that numbers must differ until all of a list is here.
    const GpadlKey key{channel->id_, request.gpadl};
    if (gpadls_.contains(key) || state_.incomplete.contains(request.gpadl)) return refused(Refusal::duplicate_gpadl);
    Gpadl& gpadl = gpadls_.emplace(key, Gpadl{request.range_bytes, request.range_count}).first->second;
    const Gpadl::Progress progress = gpadl.append(ranges, config_.gpadl_page_limit - gpadl_words_);
    gpadl_words_ += gpadl.words();
    if (progress == Gpadl::Progress::more) state_.incomplete.emplace(request.gpadl, channel->id_);
    gpadl_progress(*channel, request.gpadl, progress);
}

void Server::handle_gpadl_body(const message::GpadlBody& request, std::span<const std::byte> ranges) {
    const auto found = state_.incomplete.find(request.gpadl);
    if (found == state_.incomplete.end()) return refuse(Refusal::unknown_gpadl, request.gpadl);
    HostChannel& channel = *find(found->second);
    Gpadl& gpadl = gpadls_.find({channel.id_, request.gpadl})->second;
    gpadl_words_ -= gpadl.words();
    const Gpadl::Progress progress = gpadl.append(ranges, config_.gpadl_page_limit - gpadl_words_);
    gpadl_words_ += gpadl.words();
    if (progress != Gpadl::Progress::more) state_.incomplete.erase(found);
    gpadl_progress(channel, request.gpadl, progress);
}

// Answers for one that is complete or has failed.
void Server::gpadl_progress(HostChannel& channel, std::uint32_t number, Gpadl::Progress progress) {
    message::GpadlCreated created;
    created.relid = channel.state_.relid;
    created.gpadl = number;
    created.status = status::unsuccessful;
    const GpadlKey key{channel.id_, number};
    switch (progress) {
        case Gpadl::Progress::more:
            return;
        case Gpadl::Progress::complete:
            if (gpadls_.find(key)->second.is_memory(memory_)) {
                created.status = status::success;
            } else {
                refuse(Refusal::gpadl_memory, number);
            }
            break;
        case Gpadl::Progress::bad_range:
            refuse(Refusal::gpadl_range, number);
            break;
        case Gpadl::Progress::over_limit:
            refuse(Refusal::gpadl_limit, number);
            break;
    }
    if (created.status == status::success) {
        if (channel.is_open()) needs_changed();
        scope_.trace("gpadl", channel.state_.relid, number, gpadls_.find(key)->second.pages().size());
    } else {
        erase_gpadl(key);
    }
    post(created);
}

void Server::handle_gpadl_teardown(const message::GpadlTeardown& request) {
    HostChannel* channel = by_relid(request.relid);
    if (channel == nullptr) return refuse(Refusal::unknown_relid, request.relid);
    const GpadlKey key{channel->id_, request.gpadl};
    const auto found = gpadls_.find(key);
    if (found == gpadls_.end()) return refuse(Refusal::unknown_gpadl, request.gpadl);
    const bool ring = channel->state_.phase == ChannelPhase::open && channel->state_.ring_gpadl == request.gpadl;
    if (!found->second.complete() || ring) return refuse(Refusal::gpadl_state, request.gpadl);
    erase_gpadl(key);
    message::GpadlTornDown done;
    done.gpadl = request.gpadl;
    post(done);
}

}  // namespace vmbus
