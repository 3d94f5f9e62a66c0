#include "models/workload/stack_lane.h"

#include <algorithm>
#include <utility>

#include "models/network/checksum.h"
#include "models/network/segmentation.h"
#include "models/workload/request_id.h"
#include "sim/check.h"

namespace models {

namespace {

constexpr sim::GuestCause stack_cause{"client.stack", "server.stack"};

sim::Time for_bytes(sim::Time per_kibibyte, std::size_t bytes) {
    return sim::Time::ps(per_kibibyte.ps() * static_cast<std::int64_t>(bytes) / 1024);
}

}  // namespace

GuestStack::Lane::Lane(GuestStack& stack, std::size_t index, sim::Processor& processor)
    : stack_(stack), processor_(processor), index_(index), slot_(processor, *this) {
    slot_.needs(*this);
    slot_.needs_elements(state_.steps);
    slot_.needs_elements(state_.out);
    slot_.needs_elements(state_.in);
    slot_.needs_elements(state_.sending);
    slot_.needs_elements(state_.arriving);
    slot_.needs_elements(stack_.state_.ports);
    slot_.needs_elements(stack_.state_.sockets);
    if (sim::WorkingSet* const set = slot_.working_set()) stack_.add_own_needs(*set);
}

void GuestStack::Lane::add(Step&& step) {
    // Whoever runs goes on running.
    step.wakes = state_.steps.empty() && state_.work != Work::program;
    state_.steps.push_back(std::move(step));
    slot_.wake();
}

void GuestStack::Lane::send(Frame&& frame) {
    if (state_.out.size() >= 4 * stack_.settings_.send_queue) {
        ++stack_.send_queue_full_;
        return;
    }
    state_.out.push_back(std::move(frame));
    slot_.wake();
}

void GuestStack::Lane::received(Frame&& frame) {
    if (state_.in.size() >= stack_.settings_.receive_queue) {
        ++stack_.backlog_full_;
        return;
    }
    state_.in.push_back(std::move(frame));
    slot_.wake();
}

// -- What a piece costs.

void GuestStack::Lane::price_sent(const Frame& frame) {
    const StackCosts& c = stack_.settings_.costs;
    const vmbus::OffloadSettings& offloads = stack_.driver_->offloads();
    const auto h = parse_headers(frame);
    if (!h || !h->is_tcp()) {
        costs_.datagram += c.datagram_sent;
        if (frame.fill.udp && !offloads.send.udp4) costs_.checksum += for_bytes(c.checksummed_kibibyte, frame.size());
        return;
    }
    if (h->payload_bytes() == 0) {
        costs_.acknowledgement += c.tcp_acknowledgement;
    } else {
        costs_.tcp += c.tcp_sent;
    }
    if (frame.large_send_mss != 0 && !offloads.large_send_ipv4) {
        costs_.tcp += c.tcp_cut * static_cast<std::int64_t>(segment_count(frame) - 1);
    }
    if (frame.fill.tcp && !offloads.send.tcp4) costs_.checksum += for_bytes(c.checksummed_kibibyte, frame.size());
}

void GuestStack::Lane::price_received(const Frame& frame) {
    const StackCosts& c = stack_.settings_.costs;
    if (frame.transport_verdict == ChecksumVerdict::unknown) {
        costs_.checksum += for_bytes(c.checksummed_kibibyte, frame.size());
    }
    const auto h = parse_headers(frame);
    if (!h || !h->is_tcp()) {
        costs_.datagram += c.datagram_received;
    } else if (h->payload_bytes() == 0) {
        costs_.acknowledgement += c.tcp_acknowledgement;
    } else {
        costs_.tcp += c.tcp_received;
        if (stack_.settings_.join_segments) {
            costs_.tcp +=
                c.tcp_joined * static_cast<std::int64_t>(std::max<std::uint16_t>(1, frame.coalesced_segments));
        }
    }
}

void GuestStack::Lane::account(sim::Account& account) const {
    account.add("guest.stack.system_call", costs_.system_call);
    account.add("guest.stack.copy", costs_.copy);
    account.add("guest.stack.wake_up", costs_.wake_up);
    account.add("guest.stack.tcp", costs_.tcp);
    account.add("guest.stack.acknowledgement", costs_.acknowledgement);
    account.add("guest.stack.datagram", costs_.datagram);
    account.add("guest.stack.checksum", costs_.checksum);
    account.add("guest.program", costs_.program);
}

// -- The task.

// What waited until now has waited for its turn on the processor.
void GuestStack::Lane::until_begin(std::span<const std::byte> data, bool frame) const {
    sim::Journeys& journeys = stack_.scope_.journeys();
    const sim::RequestId id = frame ? request_in_frame(data) : request_in_payload(data);
    if (id != 0) journeys.mark(id, "wait.processor", stack_.scope_.now());
}

std::optional<sim::Time> GuestStack::Lane::begin() {
    VG_CHECK(state_.work == Work::none);
    costs_ = {};
    const bool programs = !state_.steps.empty() && (state_.programs_next || state_.in.empty());
    if (!state_.out.empty() && !state_.blocked) {
        begin_out();
    } else if (programs) {
        begin_step();
    } else if (!state_.in.empty()) {
        begin_in();
    } else {
        return std::nullopt;
    }
    return costs_.sum();
}

void GuestStack::Lane::finish() {
    stack_.current_ = index_;
    switch (state_.work) {
        case Work::out:
            finish_out();
            break;
        case Work::in:
            finish_in();
            break;
        case Work::program:
            finish_step();
            break;
        case Work::none:
            break;
    }
    state_.work = Work::none;
    stack_.current_ = 0;
}

void GuestStack::Lane::begin_out() {
    state_.work = Work::out;
    const std::size_t count = std::min(frames_of_a_piece, state_.out.size());
    for (std::size_t n = 0; n < count; ++n) {
        price_sent(state_.out.front());
        if (stack_.scope_.journeys().on()) until_begin(state_.out.front().bytes, true);
        state_.sending.push_back(std::move(state_.out.front()));
        state_.out.pop_front();
    }
}

void GuestStack::Lane::finish_out() {
    sim::Journeys& journeys = stack_.scope_.journeys();
    const vmbus::OffloadSettings& offloads = stack_.driver_->offloads();
    std::vector<Frame> frames = std::exchange(state_.sending, {});
    if (!offloads.large_send_ipv4) {
        std::vector<Frame> whole = std::exchange(frames, {});
        for (Frame& frame : whole) cut_into_segments(std::move(frame), frames);
    }
    std::size_t next = 0;
    for (; next < frames.size(); ++next) {
        Frame& frame = frames[next];
        if ((frame.fill.tcp && !offloads.send.tcp4) || (frame.fill.udp && !offloads.send.udp4) ||
            (frame.fill.ip && !offloads.send.ip)) {
            (void)fill_checksums(frame);
        }
        if (journeys.on()) journeys.mark_frame(frame.bytes, stack_cause, sim::Travel::sent, stack_.scope_.now());
        if (!stack_.transmit(frame)) break;
    }
    // The rest waits for the driver's room.
    for (std::size_t n = frames.size(); n-- > next;) state_.out.push_front(std::move(frames[n]));
    if (next < frames.size()) state_.blocked = true;
    stack_.sent_some();
}

void GuestStack::Lane::begin_in() {
    state_.work = Work::in;
    state_.programs_next = true;
    const std::size_t count = std::min(frames_of_a_piece, state_.in.size());
    for (std::size_t n = 0; n < count; ++n) {
        price_received(state_.in.front());
        if (stack_.scope_.journeys().on()) until_begin(state_.in.front().bytes, true);
        state_.arriving.push_back(std::move(state_.in.front()));
        state_.in.pop_front();
    }
}

void GuestStack::Lane::finish_in() {
    sim::Journeys& journeys = stack_.scope_.journeys();
    std::vector<Frame> frames = std::exchange(state_.arriving, {});
    for (Frame& frame : frames) {
        if (journeys.on()) journeys.mark_frame(frame.bytes, stack_cause, sim::Travel::received, stack_.scope_.now());
        stack_.peer_.deliver(std::move(frame));
    }
}

// -- Programs.

void GuestStack::Lane::begin_step() {
    state_.work = Work::program;
    state_.programs_next = false;
    state_.step = std::move(state_.steps.front());
    state_.steps.pop_front();
    const StackCosts& c = stack_.settings_.costs;
    Step& step = state_.step;
    if (step.wakes) costs_.wake_up += c.wake_up;
    switch (step.kind) {
        case StepKind::call:
        case StepKind::closed:
        case StepKind::room:
        case StepKind::datagram_room:
            break;
        case StepKind::work:
            costs_.program += step.time;
            break;
        case StepKind::read: {
            costs_.system_call += c.system_call;
            const TcpConnection* connection = stack_.peer_.tcp().find(step.id);
            step.bytes = connection == nullptr ? 0 : std::min(connection->unread(), stack_.settings_.read_bytes);
            costs_.copy += for_bytes(c.copied_kibibyte, step.bytes);
            break;
        }
        case StepKind::datagram:
        case StepKind::write:
        case StepKind::send:
            costs_.system_call += c.system_call;
            costs_.copy += for_bytes(c.copied_kibibyte, step.bytes);
            if (stack_.scope_.journeys().on()) until_begin(step.data, false);
            break;
        case StepKind::opened:
        case StepKind::close:
            costs_.system_call += c.system_call;
            break;
    }
}

void GuestStack::Lane::finish_step() {
    Step step = std::exchange(state_.step, {});
    sim::Journeys& journeys = stack_.scope_.journeys();
    TcpStack& tcp = stack_.peer_.tcp();
    const auto mark = [&](std::span<const std::byte> data, sim::Travel travel) {
        if (!journeys.on()) return;
        if (const auto id = request_in_payload(data); id != 0) {
            journeys.mark(id, stack_cause, travel, stack_.scope_.now());
        }
    };
    switch (step.kind) {
        case StepKind::call:
        case StepKind::work:
            stack_.users_[step.id]->called(step.bytes);
            return;
        case StepKind::datagram_room:
        case StepKind::datagram:
        case StepKind::send: {
            const auto port = static_cast<std::uint16_t>(step.id);
            const auto place = stack_.state_.ports.find(port);
            if (place == stack_.state_.ports.end()) return;
            SocketUser& user = *stack_.users_[place->second.user];
            if (step.kind == StepKind::datagram_room) return user.datagram_room(port);
            if (step.kind == StepKind::send) {
                mark(step.data, sim::Travel::sent);
                return stack_.peer_.send_udp(port, step.remote, step.data);
            }
            place->second.unread -= step.data.size() + datagram_overhead_bytes;
            mark(step.data, sim::Travel::received);
            return user.datagram(port, step.remote, step.data);
        }
        default:
            break;
    }
    const auto place = stack_.state_.sockets.find(step.id);
    if (place == stack_.state_.sockets.end()) return;
    Socket& socket = place->second;
    SocketUser& user = *stack_.users_[socket.user];
    switch (step.kind) {
        case StepKind::opened:
            return user.opened(step.id);
        case StepKind::room:
            return user.room(step.id);
        case StepKind::close:
            return tcp.close(step.id);
        case StepKind::closed:
            tcp.close(step.id);
            user.closed(step.id);
            stack_.state_.sockets.erase(step.id);
            return;
        case StepKind::write:
            socket.waiting -= step.bytes;
            if (step.data.empty()) return tcp.write_hollow(step.id, step.bytes);
            mark(step.data, sim::Travel::sent);
            return tcp.write(step.id, step.data);
        case StepKind::read: {
            socket.reading = false;
            std::vector<std::byte> data;
            const std::uint64_t bytes = step.bytes == 0 ? 0 : tcp.read(step.id, step.bytes, data);
            mark(data, sim::Travel::received);
            if (bytes != 0) user.received(step.id, bytes, data);
            return stack_.tcp_changed(step.id);  // more may have come
        }
        default:
            return;
    }
}

}  // namespace models
