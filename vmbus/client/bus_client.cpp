#include "vmbus/client/bus_client.h"

#include <algorithm>
#include <cstring>

#include "sim/check.h"

namespace vmbus {
namespace {

constexpr std::uint32_t old_connection = 1;      // for messages before 5.0
constexpr std::uint32_t contact_connection = 4;  // for the contact from 5.0 on
constexpr std::uint32_t shared_event_connection = 2;
constexpr std::uint32_t message_sint = 2;
constexpr std::uint16_t status_invalid_connection = 0x12;
constexpr sim::Time retry_delay = sim::Time::us(10);
constexpr std::uint64_t to_host_half = 2048;  // of the interrupt page
constexpr std::uint64_t old_relids = 256;     // bits before 2.4
constexpr std::uint64_t triggers_at = 8;      // in a monitor page: {pending, armed} for each group of 32
constexpr std::size_t words_in_header = (longest_message - sizeof(message::GpadlHeader)) / 8;
constexpr std::size_t words_in_body = (longest_message - sizeof(message::GpadlBody)) / 8;

}  // namespace

BusClient::BusClient(const sim::Scope& scope, GuestMemory& memory, HostPort& host, PageAllocator& pages,
                     BusDriver& driver, const BusClientConfig& config)
    : scope_(scope),
      memory_(memory),
      host_(host),
      pages_(pages),
      driver_(driver),
      config_(config),
      queue_timer_(scope.agenda(), scope.path() + ".queue", [this] { send_queued(); }),
      registration_(scope.register_state(*this)) {}

BusClient::~BusClient() = default;

// Messages to the host
// ----------------------------------------------------------------------------------------------------------------

void BusClient::post_bytes(std::span<const std::byte> payload) {
    if (state_.outgoing.empty() && host_.post_message(state_.message_connection, payload) == 0) return;
    state_.outgoing.emplace_back(payload.begin(), payload.end());
    if (!queue_timer_.armed()) queue_timer_.arm_after(retry_delay);
}

void BusClient::send_queued() {
    while (!state_.outgoing.empty()) {
        if (host_.post_message(state_.message_connection, state_.outgoing.front()) != 0)
            return queue_timer_.arm_after(retry_delay);
        state_.outgoing.pop_front();
    }
}

void BusClient::connect() {
    forget_channels();
    state_.outgoing.clear();
    queue_timer_.disarm();
    state_.version = version::none;
    if (state_.shared_pages.empty()) {
        auto pages = pages_.allocate(3);
        VG_CHECK(pages.has_value());
        state_.shared_pages = std::move(*pages);
    }
    const std::array<std::byte, page_bytes> zero{};
    for (const std::uint64_t page : state_.shared_pages) VG_CHECK(memory_.write(page * page_bytes, zero));
    ask(config_.newest_version);
}

void BusClient::ask(std::uint32_t version) {
    state_.asked = version;
    message::InitiateContact request;
    request.version = version;
    request.target_vp = config_.message_vp;
    request.interrupt_page_or_target = version >= version::v5_0 ? message_sint : interrupt_page();
    if (config_.monitor_pages) {
        request.monitor_page_to_guest = state_.shared_pages[1] * page_bytes;
        request.monitor_page_to_host = monitor_page_to_host();
    }
    state_.message_connection = version >= version::v5_0 ? contact_connection : old_connection;
    const std::uint16_t status = host_.post_message(state_.message_connection, bytes_of(request));
    // A host that is older has no such connection.
    if (status == status_invalid_connection) return ask_older();
    if (status != 0) {
        const auto bytes = bytes_of(request);
        state_.outgoing.emplace_back(bytes.begin(), bytes.end());
        queue_timer_.arm_after(retry_delay);
    }
}

void BusClient::ask_older() {
    for (const std::uint32_t version : version::all) {
        if (version < state_.asked && version >= config_.oldest_version) return ask(version);
    }
    state_.asked = version::none;
    driver_.refused();
}

void BusClient::unload() {
    if (state_.version == version::none) return;
    post(message::Unload{});
}

void BusClient::connect_socket(const Guid& endpoint, const Guid& service) {
    message::TlConnectRequest request;
    request.endpoint = endpoint;
    request.service = service;
    post(request);
}

std::uint32_t BusClient::post_gpadl(std::uint16_t relid, std::span<const GpaRange> ranges, GpadlUse use) {
    const std::uint32_t number = state_.next_gpadl++;
    state_.gpadls.emplace(number, std::move(use));
    std::vector<std::uint64_t> words;
    for (const GpaRange& range : ranges) {
        words.push_back(std::uint64_t{range.offset} << 32 | range.length);
        words.insert(words.end(), range.pages.begin(), range.pages.end());
    }
    const auto send = [this](auto head, std::span<const std::uint64_t> part) {
        const auto fixed = bytes_of(head);
        std::vector<std::byte> bytes(fixed.begin(), fixed.end());
        const auto rest = std::as_bytes(part);
        bytes.insert(bytes.end(), rest.begin(), rest.end());
        post_bytes(bytes);
    };
    message::GpadlHeader header;
    header.relid = relid;
    header.gpadl = number;
    header.range_bytes = static_cast<std::uint16_t>(words.size() * 8);
    header.range_count = static_cast<std::uint16_t>(ranges.size());
    std::span<const std::uint64_t> left{words};
    const std::size_t first = std::min(left.size(), words_in_header);
    send(header, left.first(first));
    for (left = left.subspan(first); !left.empty();) {
        const std::size_t part = std::min(left.size(), words_in_body);
        message::GpadlBody body;
        body.gpadl = number;
        send(body, left.first(part));
        left = left.subspan(part);
    }
    return number;
}

// Messages from the host
// ----------------------------------------------------------------------------------------------------------------

void BusClient::host_message(std::span<const std::byte> payload) {
    const auto type = type_of(payload);
    const MessageRow* row = type ? find_message(*type) : nullptr;
    if (row == nullptr || row->direction != Direction::to_guest || payload.size() < row->size) return;
    switch (*type) {
        case MessageType::version_response:
            return answered(*read_as<message::VersionResponse>(payload));
        case MessageType::offer_channel:
            return offered(*read_as<message::OfferChannel>(payload));
        case MessageType::rescind_offer:
            return rescinded(static_cast<std::uint16_t>(read_as<message::RescindOffer>(payload)->relid));
        case MessageType::all_offers_delivered:
            return driver_.offers_delivered();
        case MessageType::open_channel_result: {
            const auto result = *read_as<message::OpenChannelResult>(payload);
            ClientChannel* channel = find(static_cast<std::uint16_t>(result.relid));
            if (channel != nullptr) channel->open_answered(result.status);
            return;
        }
        case MessageType::gpadl_created: {
            const auto created = *read_as<message::GpadlCreated>(payload);
            ClientChannel* channel = find(static_cast<std::uint16_t>(created.relid));
            if (channel == nullptr || !state_.gpadls.contains(created.gpadl)) return;
            if (channel->state_.phase != ClientChannel::Phase::closed && channel->state_.ring_gpadl == created.gpadl)
                return channel->ring_created(created.status);
            if (created.status != status::success) state_.gpadls.erase(created.gpadl);
            if (channel->driver_ != nullptr) channel->driver_->gpadl_created(*channel, created.gpadl, created.status);
            return;
        }
        case MessageType::gpadl_torn_down: {
            const auto done = *read_as<message::GpadlTornDown>(payload);
            const auto found = state_.gpadls.find(done.gpadl);
            if (found == state_.gpadls.end()) return;
            const GpadlUse use = std::move(found->second);
            state_.gpadls.erase(found);
            if (use.closing) return pages_.release(use.pages);
            ClientChannel* channel = find(use.relid);
            if (channel != nullptr && channel->driver_ != nullptr)
                channel->driver_->gpadl_torn_down(*channel, done.gpadl);
            return;
        }
        case MessageType::unload_response:
            forget_channels();
            state_.version = version::none;
            return driver_.unloaded();
        case MessageType::tl_connect_result: {
            const auto result = *read_as<message::TlConnectResult>(payload);
            return driver_.socket_refused(result.endpoint, result.service);
        }
        case MessageType::modify_channel_response: {
            const auto response = *read_as<message::ModifyChannelResponse>(payload);
            ClientChannel* channel = find(static_cast<std::uint16_t>(response.relid));
            if (channel != nullptr && channel->driver_ != nullptr)
                channel->driver_->target_changed(*channel, response.status);
            return;
        }
        default:
            return;
    }
}

void BusClient::answered(const message::VersionResponse& response) {
    if (state_.asked == version::none) return;
    if (response.supported == 0 || response.connection_state != 0) return ask_older();
    state_.version = state_.asked;
    state_.asked = version::none;
    if (state_.version >= version::v5_0) state_.message_connection = response.message_connection;
    driver_.connected(state_.version);
    post(message::RequestOffers{});
}

void BusClient::offered(const message::OfferChannel& offer) {
    const auto relid = static_cast<std::uint16_t>(offer.relid);
    if (channels_.contains(relid)) return;
    ClientChannel& channel = *channels_.try_emplace(relid, std::make_unique<ClientChannel>(*this, offer)).first->second;
    driver_.offered(channel);
}

void BusClient::rescinded(std::uint16_t relid) {
    const auto found = channels_.find(relid);
    if (found == channels_.end()) return;
    const std::unique_ptr<ClientChannel> channel = std::move(found->second);
    channels_.erase(found);
    const bool was_open = channel->is_open();
    channel->state_.phase = ClientChannel::Phase::closed;
    if (channel->driver_ != nullptr) channel->driver_->rescinded(*channel);
    if (was_open) {
        message::CloseChannel close;
        close.relid = relid;
        post(close);
    }
    channel->drop_rings();
    // The host lets go of every list of the channel's with it.
    for (auto next = state_.gpadls.begin(); next != state_.gpadls.end();) {
        if (next->second.relid != relid) {
            ++next;
            continue;
        }
        if (next->second.closing) pages_.release(next->second.pages);
        next = state_.gpadls.erase(next);
    }
    message::RelidReleased released;
    released.relid = relid;
    post(released);
}

void BusClient::forget_channels() {
    for (auto& [relid, channel] : channels_) pages_.release(channel->state_.ring_pages);
    for (auto& [number, use] : state_.gpadls) {
        if (use.closing) pages_.release(use.pages);
    }
    channels_.clear();
    state_.gpadls.clear();
}

ClientChannel* BusClient::find(std::uint16_t relid) {
    const auto found = channels_.find(relid);
    return found != channels_.end() ? found->second.get() : nullptr;
}

ClientChannel* BusClient::find(const Guid& type, std::uint16_t sub_channel_index) {
    for (auto& [relid, channel] : channels_) {
        const auto offer = channel->offer();
        if (offer.interface_type == type && offer.sub_channel_index == sub_channel_index) return channel.get();
    }
    return nullptr;
}

// Signals
// ----------------------------------------------------------------------------------------------------------------

void BusClient::set_bit(std::uint64_t gpa, std::uint32_t bit) {
    std::uint8_t byte = 0;
    const auto place = std::as_writable_bytes(std::span{&byte, 1});
    if (!memory_.read(gpa + bit / 8, place)) return;
    byte = static_cast<std::uint8_t>(byte | 1u << bit % 8);
    (void)memory_.write(gpa + bit / 8, place);
}

void BusClient::signal_host(ClientChannel& channel) {
    const bool old = state_.version < version::v1_1;
    const bool dedicated = !old && channel.dedicated_interrupt();
    const auto monitor = config_.monitor_pages ? channel.monitor() : std::nullopt;
    if ((!dedicated || monitor) && state_.version < version::v5_0)
        set_bit(interrupt_page() + to_host_half, channel.relid());
    if (monitor) {
        const std::uint64_t pending = monitor_page_to_host() + triggers_at + *monitor / 32 * std::uint64_t{8};
        return set_bit(pending, *monitor % 32u);
    }
    (void)host_.signal_event(old ? shared_event_connection : channel.connection(), 0);
}

void BusClient::host_event(std::uint32_t vp, std::uint16_t flag) {
    (void)vp;
    const auto signalled = [this](std::uint16_t relid) {
        ClientChannel* channel = find(relid);
        if (channel != nullptr && channel->is_open() && channel->driver_ != nullptr)
            channel->driver_->signalled(*channel);
    };
    if (state_.version >= version::v2_4) return signalled(flag);
    std::array<std::uint8_t, old_relids / 8> bits{};
    const std::array<std::uint8_t, old_relids / 8> none{};
    if (!memory_.read(interrupt_page(), std::as_writable_bytes(std::span{bits})) ||
        !memory_.write(interrupt_page(), std::as_bytes(std::span{none}))) {
        return;
    }
    for (std::uint16_t relid = 0; relid < old_relids; ++relid) {
        if ((bits[relid / 8] >> relid % 8 & 1) != 0) signalled(relid);
    }
}

// Checkpoints
// ----------------------------------------------------------------------------------------------------------------

void BusClient::save(sim::Writer& writer) const {
    writer(state_, pages_, queue_timer_, static_cast<std::uint64_t>(channels_.size()));
    for (const auto& [relid, channel] : channels_) writer(relid, channel->state_, channel->rings_);
}

void BusClient::restore(sim::Reader& reader) {
    std::uint64_t count = 0;
    reader(state_, pages_, queue_timer_, count);
    channels_.clear();
    for (; count > 0; --count) {
        std::uint16_t relid = 0;
        reader(relid);
        auto channel = std::make_unique<ClientChannel>(*this, message::OfferChannel{});
        reader(channel->state_);
        ClientChannel& kept = *channels_.try_emplace(relid, std::move(channel)).first->second;
        if (!kept.state_.ring_pages.empty()) kept.attach_rings();
        reader(kept.rings_);
        kept.driver_ = driver_.adopt(kept);
    }
}

}  // namespace vmbus
