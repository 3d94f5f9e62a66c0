// Messages to the guest, and signals both ways: event flags, interrupt page, monitor pages.
#include <algorithm>
#include <cstddef>

#include "vmbus/server.h"

namespace vmbus {
namespace {

constexpr sim::Time first_retry = sim::Time::us(10);
constexpr sim::Time longest_retry = sim::Time::ms(1);
constexpr std::size_t unread_limit = 256;   // messages beyond one for each channel
constexpr std::size_t waiting_limit = 256;  // requests that wait until the guest reads
constexpr sim::Time room_period = sim::Time::ms(1);

// The interrupt page: bits by relid, to the guest in the first half, from it in the second.
constexpr std::uint64_t to_host_half = 2048;

// A monitor page.
constexpr std::uint64_t trigger_state_at = 0;  // bits 3:0 enable a group
constexpr std::uint64_t triggers_at = 8;       // {pending, armed} for each group of 32
constexpr std::uint64_t latencies_at = 0x240;  // u16, in 100 ns
constexpr std::uint64_t parameters_at = 0x440;
constexpr unsigned triggers_per_group = 32;
struct MonitorParameter {
    std::uint32_t connection = 0;
    std::uint16_t flag = 0;
    std::uint16_t reserved = 0;
};
static_assert(sizeof(MonitorParameter) == 8);

}  // namespace

void Server::refuse(Refusal refusal, std::uint64_t detail) {
    ++*refusals_[static_cast<std::size_t>(refusal)];
    scope_.trace("refused", refusal, detail);
}

// Messages
// ----------------------------------------------------------------------------------------------------------------

void Server::post_bytes(std::span<const std::byte> payload) {
    const MessageRow* row = find_message(*type_of(payload));
    ++*messages_[static_cast<std::size_t>(row - message_table.data())];
    std::uint64_t words[2] = {};
    std::memcpy(words, payload.data() + sizeof(MessageHeader),
                std::min(sizeof words, payload.size() - sizeof(MessageHeader)));
    scope_.trace("message_out", row->type, payload.size(), words[0], words[1]);
    if (state_.outgoing.empty() && port_.post_message(state_.message_vp, payload)) return;
    state_.outgoing.emplace_back(payload.begin(), payload.end());
    if (queue_timer_.armed()) return;
    state_.retry = first_retry;
    queue_timer_.arm_after(state_.retry);
}

bool Server::overloaded() const {
    return state_.outgoing.size() >= channels_.size() + unread_limit;
}

void Server::send_queued() {
    const std::size_t before = state_.outgoing.size();
    while (!state_.outgoing.empty() && port_.post_message(state_.message_vp, state_.outgoing.front()))
        state_.outgoing.pop_front();
    const bool moved = state_.outgoing.size() != before;
    while (!state_.waiting.empty() && !overloaded()) {
        const Message message = std::move(state_.waiting.front());
        state_.waiting.pop_front();
        handle(message);
    }
    if (state_.outgoing.empty()) return;
    state_.retry = moved ? first_retry : std::min(state_.retry * 2, longest_retry);
    queue_timer_.arm_after(state_.retry);
}

void Server::guest_message(std::span<const std::byte> payload) {
    if (state_.waiting.empty() && !overloaded()) return handle(payload);
    // A guest that reads nothing gets nothing done.
    if (state_.waiting.size() >= waiting_limit) return refuse(Refusal::overload);
    const auto kept = payload.first(std::min(payload.size(), longest_message));
    state_.waiting.emplace_back(kept.begin(), kept.end());
}

// Signals
// ----------------------------------------------------------------------------------------------------------------

bool Server::set_bit(std::uint64_t gpa, std::uint32_t bit) {
    std::uint8_t byte = 0;
    const auto place = std::as_writable_bytes(std::span{&byte, 1});
    if (!memory_.read(gpa + bit / 8, place)) return false;
    byte = static_cast<std::uint8_t>(byte | 1u << bit % 8);
    return memory_.write(gpa + bit / 8, place);
}

bool Server::test_and_clear_bit(std::uint64_t gpa, std::uint32_t bit) {
    std::uint8_t byte = 0;
    const auto place = std::as_writable_bytes(std::span{&byte, 1});
    if (!memory_.read(gpa + bit / 8, place)) {
        refuse(Refusal::interrupt_page, gpa);
        return false;
    }
    if ((byte >> bit % 8 & 1) == 0) return false;
    byte = static_cast<std::uint8_t>(byte & ~(1u << bit % 8));
    return memory_.write(gpa + bit / 8, place);
}

void Server::signal_guest(HostChannel& channel) {
    const std::uint16_t relid = channel.state_.relid;
    if (channel.state_.target_vp == message::OpenChannel::no_interrupts) return;
    ++signals_out_;
    scope_.trace("signal_out", relid, channel.state_.target_vp);
    if (state_.version >= version::v2_4) return port_.signal_event(channel.state_.target_vp, relid);
    // Old guests look for the channel in the interrupt page.
    if (!set_bit(state_.interrupt_page, relid)) return refuse(Refusal::interrupt_page, state_.interrupt_page);
    port_.signal_event(0, 0);
}

void Server::guest_signal(std::uint32_t connection) {
    ++signals_in_;
    scope_.trace("signal_in", connection);
    if (connection == shared_event_connection && state_.version != version::none && state_.version < version::v2_4)
        return take_interrupt_page();
    HostChannel* channel = connection >> 12 == message_sint ? by_relid(connection & 0xfff) : nullptr;
    if (channel == nullptr || channel->state_.phase != ChannelPhase::open)
        return refuse(Refusal::stray_signal, connection);
    if (!config_.dedicated_interrupts && state_.interrupt_page != 0)
        (void)test_and_clear_bit(state_.interrupt_page + to_host_half, channel->state_.relid);
    signal_device(*channel);
}

void Server::take_interrupt_page() {
    std::array<std::uint8_t, (largest_old_relid + 1) / 8> bits{};
    const decltype(bits) none{};
    const std::uint64_t gpa = state_.interrupt_page + to_host_half;
    if (!memory_.read(gpa, std::as_writable_bytes(std::span{bits})) ||
        !memory_.write(gpa, std::as_bytes(std::span{none}))) {
        return refuse(Refusal::interrupt_page, gpa);
    }
    for (std::uint32_t relid = 1; relid <= largest_old_relid; ++relid) {
        if ((bits[relid / 8] >> relid % 8 & 1) == 0) continue;
        HostChannel* channel = by_relid(relid);
        if (channel != nullptr && channel->state_.phase == ChannelPhase::open) {
            signal_device(*channel);
        } else {
            refuse(Refusal::stray_signal, relid);
        }
    }
}

void Server::signal_device(HostChannel& channel) {
    if (channel.is_open()) channel.device_->signalled(channel);
}

// Faults
// ----------------------------------------------------------------------------------------------------------------

// Its device is in the middle of using it, so that it ends a moment later.
void Server::fault_later(HostChannel& channel, Refusal refusal, std::uint64_t detail) {
    if (channel.state_.faulty) return;
    channel.state_.faulty = true;
    refuse(refusal, std::uint64_t{channel.state_.relid} << 32 | detail);
    if (!fault_timer_.armed()) fault_timer_.arm_after({});
}

void Server::end_faulty() {
    for (const std::uint32_t id : channel_ids()) {
        HostChannel* channel = find(id);
        if (channel == nullptr || !channel->state_.faulty) continue;
        channel->state_.withheld = true;
        take_away(id);
    }
}

// Guests that don't tell of room
// ----------------------------------------------------------------------------------------------------------------

void Server::poll_room_of(HostChannel& channel) {
    channel.state_.polled = true;
    if (!room_timer_.armed()) room_timer_.arm_after(room_period);
}

void Server::poll_room() {
    for (const std::uint32_t id : channel_ids()) {
        HostChannel* channel = find(id);
        if (channel == nullptr || !channel->state_.polled) continue;
        channel->state_.polled = false;
        signal_device(*channel);
    }
}

// Monitor pages
// ----------------------------------------------------------------------------------------------------------------

void Server::start_monitor(HostChannel& channel) {
    if (!channel.state_.monitor) return;
    const unsigned id = *channel.state_.monitor;
    const std::uint16_t latency = channel.state_.offer.monitor_latency_100ns;
    MonitorParameter parameter;
    parameter.connection = connection_of(channel.state_.relid);
    bool good = true;
    for (const std::uint64_t page : state_.monitor_pages) {
        good = memory_.write(page + latencies_at + id * sizeof latency, bytes_of(latency)) && good;
    }
    good = memory_.write(state_.monitor_pages[1] + parameters_at + id * sizeof parameter, bytes_of(parameter)) && good;
    good = set_bit(state_.monitor_pages[1] + trigger_state_at, id / triggers_per_group) && good;
    if (!good) refuse(Refusal::interrupt_page, state_.monitor_pages[1]);
    channel.state_.monitor_check = scope_.now() + sim::Time::ns(100) * latency;
    arm_monitor();
}

void Server::arm_monitor() {
    sim::Time next = sim::Time::never();
    for (const auto& [id, channel] : channels_) {
        if (channel->state_.monitor && channel->state_.phase == ChannelPhase::open)
            next = std::min(next, channel->state_.monitor_check);
    }
    if (next.is_never()) {
        monitor_timer_.disarm();
    } else {
        monitor_timer_.arm(next);
    }
}

void Server::look_at_monitor_page() {
    for (const std::uint32_t id : channel_ids()) {
        HostChannel* channel = find(id);
        if (channel == nullptr || !channel->state_.monitor || channel->state_.phase != ChannelPhase::open) continue;
        if (channel->state_.monitor_check > scope_.now()) continue;
        channel->state_.monitor_check = scope_.now() + sim::Time::ns(100) * channel->state_.offer.monitor_latency_100ns;
        const unsigned monitor = *channel->state_.monitor;
        const std::uint64_t pending =
            state_.monitor_pages[1] + triggers_at + monitor / triggers_per_group * std::uint64_t{8};
        if (!test_and_clear_bit(pending, monitor % triggers_per_group)) continue;
        if (state_.interrupt_page != 0)
            (void)test_and_clear_bit(state_.interrupt_page + to_host_half, channel->state_.relid);
        ++signals_in_;
        scope_.trace("monitor_in", channel->state_.relid);
        signal_device(*channel);
    }
    arm_monitor();
}

}  // namespace vmbus
