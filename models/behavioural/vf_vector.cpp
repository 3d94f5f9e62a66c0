#include "models/behavioural/vf_vector.h"

#include <algorithm>
#include <utility>

#include "sriov_nic/registers.h"

namespace models {

namespace vf_reg = sriov_nic::vf_reg;
namespace eitr = sriov_nic::eitr;

namespace {

constexpr std::uint32_t queue_registers_bytes = 0x40;
constexpr sim::GuestCause driver_cause{"client.driver", "server.driver"};

std::uint32_t queue_register(std::uint32_t block, std::uint16_t queue, std::uint8_t offset) {
    return block + queue_registers_bytes * queue + offset;
}

}  // namespace

VfVector::VfVector(const sim::Scope& scope, GuestPlatform& platform, Owner& owner, unsigned number, unsigned vp,
                   const VfVectorSettings& settings)
    : platform_(platform),
      owner_(owner),
      number_(number),
      vp_(vp),
      settings_(settings),
      interrupts_(scope.counter("interrupts", "count", "interrupts taken")),
      polls_(scope.counter("polls", "count", "polls of the vector's queues")),
      tails_(scope.counter("tail_writes", "count", "writes of tail registers")),
      slot_(platform.processor(vp), *this) {
    slot_.needs(*this);
    slot_.needs(&interrupts_, 3 * sizeof(sim::Counter));
}

void VfVector::add(std::uint16_t number, VfQueue& queue) {
    pairs_.push_back({number, &queue});
    slot_.needs_elements(pairs_);
    slot_.needs(queue);
    if (sim::WorkingSet* const set = slot_.working_set()) queue.add_needs(*set);
}

std::uint32_t VfVector::interval() const {
    switch (settings_.moderation) {
        case Moderation::adaptive:
            return eitr_value::per_second_20k;
        case Moderation::fixed:
            return settings_.interval & eitr_value::largest;
        case Moderation::low_latency:
            return 0;
    }
    return 0;
}

void VfVector::open(std::uint64_t registers) {
    state_ = {};
    state_.registers = registers;
    if (settings_.polling) slot_.wake();
}

void VfVector::interrupt() {
    if (!is_open()) return;
    ++interrupts_;
    if (!state_.called) state_.called_at = platform_.scope().now();
    state_.called = state_.scheduled = true;
    slot_.wake();
}

bool VfVector::can_send() const {
    return std::ranges::any_of(pairs_, [](const Pair& pair) { return pair.queue->can_send(); });
}

void VfVector::write(std::uint32_t offset, std::uint32_t value) {
    platform_.write_register(vp_, state_.registers + offset, 4, value);
}

// -- The task.

std::optional<sim::Time> VfVector::begin() {
    if (!is_open()) return std::nullopt;
    parts_ = {};
    state_.begun_at = platform_.scope().now();
    const bool sends = can_send(), polls = state_.scheduled || settings_.polling;
    if (polls && !(state_.send_next && sends)) {
        begin_poll();
    } else if (sends) {
        begin_send();
    } else {
        return std::nullopt;
    }
    state_.send_next = state_.work == Work::poll;
    return parts_.sum();
}

void VfVector::account(sim::Account& account) const {
    account.add("guest.network.interrupt", parts_.interrupt);
    account.add("guest.network.poll", parts_.poll);
    account.add("guest.network.send", parts_.sent);
    account.add("guest.network.receive", parts_.received);
    account.add("guest.network.idle_poll", parts_.idle);
}

void VfVector::finish() {
    if (!is_open()) return;
    const Work work = std::exchange(state_.work, Work::none);
    if (work == Work::poll) finish_poll();
    if (work == Work::send) finish_send();
}

// A frame's costs are in its sending, but for one that polls there is nothing else in a poll.
void VfVector::begin_poll() {
    state_.work = Work::poll;
    state_.more = false;
    ++polls_;
    const DriverCosts& costs = settings_.costs;
    const auto share = std::max<std::uint32_t>(settings_.budget / static_cast<std::uint32_t>(pairs_.size()), 1);
    std::uint64_t frames = 0;
    for (const Pair& pair : pairs_) {
        const VfQueue::Cleaned done = pair.queue->clean(4 * settings_.budget);
        const ModeratedTraffic came = pair.queue->begin_receive(share);
        state_.more = state_.more || !done.all || came.frames >= share;
        state_.sent.frames += done.traffic.frames;
        state_.sent.bytes += done.traffic.bytes;
        state_.received.frames += came.frames;
        state_.received.bytes += came.bytes;
        frames += came.frames;
    }
    const auto count = static_cast<std::int64_t>(frames);
    if (settings_.polling) {
        parts_.received = costs.polled_received * count;
        if (frames == 0 && !can_send()) parts_.idle = costs.idle_poll;
        return;
    }
    parts_.poll = costs.poll;
    parts_.received = costs.received * count;
    if (std::exchange(state_.called, false)) parts_.interrupt = costs.interrupt;
}

void VfVector::finish_poll() {
    sim::Journeys& journeys = platform_.scope().journeys();
    for (const Pair& pair : pairs_) {
        for (std::size_t n = 0; journeys.on() && n < pair.queue->received().size(); ++n) {
            const sim::RequestId id = journeys.identify(pair.queue->received()[n].bytes);
            journeys.mark(id, "interrupt.delivery", state_.called_at);
            journeys.mark(id, "wait.processor", state_.begun_at);
            journeys.mark(id, driver_cause, sim::Travel::received, platform_.scope().now());
        }
        if (!pair.queue->received().empty()) owner_.received(pair.number, pair.queue->received());
        if (!is_open()) return;
        if (!pair.queue->finish_receive()) continue;
        ++tails_;
        write(queue_register(vf_reg::rdbal, pair.number, static_cast<std::uint8_t>(sriov_nic::RxRegister::rdt)),
              pair.queue->receive_tail());
    }
    owner_.polled();
    if (!is_open() || settings_.polling || state_.more) return;
    state_.scheduled = false;
    if (settings_.moderation == Moderation::adaptive) {
        const std::optional<std::uint32_t> value = state_.interval.update(state_.sent, state_.received);
        if (value) write(vf_reg::eitr + 4 * number_, *value | eitr::counter_write_disable);
    }
    write(vf_reg::eims, 1u << number_);
}

void VfVector::begin_send() {
    state_.work = Work::send;
    const DriverCosts& costs = settings_.costs;
    for (const Pair& pair : pairs_) {
        const VfQueue::Sending sending = pair.queue->begin_send(settings_.batch);
        parts_.sent += (settings_.polling ? costs.polled_sent : costs.sent) * static_cast<std::int64_t>(sending.frames);
        // The first one and its context are in a frame's cost.
        const std::uint32_t included = settings_.polling ? sending.frames : 2 * sending.frames;
        if (sending.descriptors > included) {
            parts_.sent += costs.descriptor * static_cast<std::int64_t>(sending.descriptors - included);
        }
    }
}

void VfVector::finish_send() {
    for (const Pair& pair : pairs_) {
        if (!pair.queue->finish_send(state_.begun_at)) continue;
        ++tails_;
        write(queue_register(vf_reg::tdbal, pair.number, static_cast<std::uint8_t>(sriov_nic::TxRegister::tdt)),
              pair.queue->transmit_tail());
    }
    owner_.polled();
}

}  // namespace models
