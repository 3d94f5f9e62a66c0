#include "hypervisor/synthetic_processor.h"

#include <algorithm>
#include <cstring>
#include <string>

#include "sim/bits.h"
#include "sim/check.h"

namespace hypervisor {

namespace {

// A timer's period is at least the hypervisor's own tick of 100 us, so that no guest can drown itself and us; and one
// that goes beyond the end of time doesn't come round again in the past.
constexpr std::uint64_t shortest_period = 1000;
constexpr std::uint64_t next_period(std::uint64_t from, std::uint64_t period) {
    const std::uint64_t next = from + std::max(period, shortest_period);
    return next < from ? ~std::uint64_t{0} : next;
}
// The modes that are left out can't be set; what is reserved is preserved (TLFS 11.8.5).
constexpr std::uint64_t sint_writable = ~(sint_register::as_intercept | sint_register::proxy);

}  // namespace

SyntheticProcessor::SyntheticProcessor(const sim::Scope& scope, SyntheticPartition& partition, SyntheticPort& port,
                                       RootHypercalls& calls, std::uint32_t index)
    : scope_(scope),
      partition_(partition),
      port_(port),
      calls_(calls),
      index_(index),
      message_page_(partition.partition().gpa_space(), partition.memory(), OverlayPage::read_write),
      event_page_(partition.partition().gpa_space(), partition.memory(), OverlayPage::read_write),
      assist_page_(partition.partition().gpa_space(), partition.memory(), OverlayPage::read_write) {
    for (unsigned n = 0; n < stimer_count; ++n) {
        timers_[n] = std::make_unique<sim::Timer>(scope.agenda(), scope.path() + ".stimer" + std::to_string(n),
                                                  [this, n] { timer_expired(n); });
    }
    state_.sint.fill(sint_register::at_reset);
}

void SyntheticProcessor::abandon_pages() {
    message_page_.abandon();
    event_page_.abandon();
    assist_page_.abandon();
}

void SyntheticProcessor::save_elsewhere(sim::Writer& writer) const {
    writer(state_);
    for (const auto& timer : timers_) writer(*timer);
    for (const OverlayPage* page : {&message_page_, &event_page_, &assist_page_}) page->save_content(writer);
}

bool SyntheticProcessor::restore_elsewhere(sim::Reader& reader) {
    reader(state_);
    look_what_waits();
    for (auto& timer : timers_) reader(*timer);
    for (OverlayPage* page : {&message_page_, &event_page_, &assist_page_}) {
        if (!page->restore_content(reader)) return false;
    }
    return true;
}

// --- SynIC (TLFS chapter 11) --------------------------------------------------------------------------------------

bool SyntheticProcessor::write_sint(unsigned n, std::uint64_t value) {
    value &= sint_writable;
    const std::uint64_t vector = value & sint_register::vector_mask;
    if (vector < synic_first_valid_vector && (value & sint_register::masked) == 0) return false;
    state_.sint[n] = value;
    return true;
}

void SyntheticProcessor::assert_sint(unsigned sint) {
    const std::uint64_t s = state_.sint[sint];
    if ((s & (sint_register::masked | sint_register::polling)) != 0) return;
    port_.request_interrupt(static_cast<std::uint8_t>(s), (s & sint_register::auto_eoi) != 0);
}

// Into the slot if it is free; otherwise the slot says that more waits (TLFS 11.10.1).
bool SyntheticProcessor::put_message(unsigned sint, const Message& message, bool more) {
    if (!synic_enabled() || !message_page_.enabled()) return false;
    const mmu::SystemMemory memory = message_page_.memory();
    const std::uint64_t slot = *message_page_.spa() + sint * std::uint64_t{message_bytes};
    constexpr std::uint64_t flags_offset = 5;
    if (memory.load<std::uint32_t>(slot) != static_cast<std::uint32_t>(HvMessageType::none)) {
        memory.store<std::uint8_t>(slot + flags_offset,
                                   memory.load<std::uint8_t>(slot + flags_offset) | message_flag_pending);
        return false;
    }
    HvMessage whole{};
    whole.header = message.header;
    whole.header.flags = more ? message_flag_pending : 0;
    std::copy(message.payload.begin(), message.payload.end(), std::begin(whole.payload));
    VG_CHECK(memory.write(slot, std::as_bytes(std::span{&whole, 1})));
    return true;
}

HvStatus SyntheticProcessor::post_message(std::uint32_t sint, const HvMessage& message) {
    if (sint >= synic_sint_count) return HvStatus::invalid_parameter;
    if (!synic_enabled() || !message_page_.enabled()) return HvStatus::invalid_synic_state;
    const bool first = !waits(sint);
    if (!first && state_.queue[sint].size() >= message_queue_length) return HvStatus::insufficient_buffers;
    Message copy;
    copy.header = message.header;
    std::copy(std::begin(message.payload), std::end(message.payload), copy.payload.begin());
    scope_.trace("synic_message", sint, message.header.message_type, message.header.origin);
    if (first && put_message(sint, copy, false)) {
        assert_sint(sint);
    } else {
        state_.queue[sint].push_back(copy);
        set_waiting(sint, true);
    }
    retry_messages(sint);
    return HvStatus::success;
}

void SyntheticProcessor::retry_messages() {
    for (unsigned sint = 0; sint < synic_sint_count; ++sint) retry_messages(sint);
}

void SyntheticProcessor::retry_messages(unsigned sint) {
    if (waiting_ == 0) return;
    if (auto& queue = state_.queue[sint]; waits(sint) && put_message(sint, queue.front(), queue.size() > 1)) {
        queue.pop_front();
        set_waiting(sint, !queue.empty());
        assert_sint(sint);
    }
    for (unsigned n = 0; n < stimer_count; ++n) {
        if (!timer_waits(n) || (state_.timer[n].config >> stimer_config::sintx_shift & 0xf) != sint) continue;
        set_timer_waiting(n, !send_timer_message(n));
    }
}

// After a restore.
void SyntheticProcessor::look_what_waits() {
    waiting_ = 0;
    for (unsigned sint = 0; sint < synic_sint_count; ++sint) set_waiting(sint, !state_.queue[sint].empty());
    for (unsigned n = 0; n < stimer_count; ++n) set_timer_waiting(n, state_.timer[n].message_pending);
}

void SyntheticProcessor::interrupt_ended(std::uint8_t vector) {
    if (waiting_ == 0) return;
    for (unsigned sint = 0; sint < synic_sint_count; ++sint) {
        const std::uint64_t s = state_.sint[sint];
        if ((s & sint_register::masked) == 0 && (s & sint_register::vector_mask) == vector) retry_messages(sint);
    }
}

HvStatus SyntheticProcessor::signal_event(std::uint32_t sint, std::uint16_t flag) {
    if (sint >= synic_sint_count || flag >= event_flags_per_sint) return HvStatus::invalid_parameter;
    if (!synic_enabled() || !event_page_.enabled()) return HvStatus::invalid_synic_state;
    // A masked SINT takes messages without an interrupt, but no event flags (TLFS 11.10.4).
    if ((state_.sint[sint] & sint_register::masked) != 0) return HvStatus::invalid_synic_state;
    const mmu::SystemMemory memory = event_page_.memory();
    const std::uint64_t at = *event_page_.spa() + sint * std::uint64_t{event_flags_bytes} + flag / 8;
    const auto bit = static_cast<std::uint8_t>(1u << (flag % 8));
    const auto before = memory.load<std::uint8_t>(at);
    memory.store<std::uint8_t>(at, before | bit);
    scope_.trace("synic_event", sint, flag);
    if ((before & bit) == 0) assert_sint(sint);
    return HvStatus::success;
}

// --- Synthetic timers (TLFS 12.4) ---------------------------------------------------------------------------------

bool SyntheticProcessor::write_timer_config(unsigned n, std::uint64_t value) {
    if ((value & ~stimer_config::defined) != 0) return false;
    TimerState& t = state_.timer[n];
    const bool direct = (value & stimer_config::direct_mode) != 0;
    const std::uint64_t vector = value >> stimer_config::apic_vector_shift & 0xff;
    if (direct && (value & stimer_config::enable) != 0 && vector < 16) return false;
    // SINT 0 is the hypervisor's own: a message timer without a SINT can't be enabled.
    const bool sint0 = (value >> stimer_config::sintx_shift & 0xf) == 0;
    if (!direct && sint0) value &= ~stimer_config::enable;
    t.config = value;
    set_timer_waiting(n, false);
    if (t.count == 0) t.config &= ~stimer_config::enable;
    arm_timer(n);
    return true;
}

bool SyntheticProcessor::write_timer_count(unsigned n, std::uint64_t value) {
    TimerState& t = state_.timer[n];
    t.count = value;
    set_timer_waiting(n, false);
    const bool direct = (t.config & stimer_config::direct_mode) != 0;
    const bool usable = direct || (t.config >> stimer_config::sintx_shift & 0xf) != 0;
    if (value == 0) {
        t.config &= ~stimer_config::enable;
    } else if ((t.config & stimer_config::auto_enable) != 0 && usable) {
        t.config |= stimer_config::enable;
    }
    arm_timer(n);
    return true;
}

void SyntheticProcessor::arm_timer(unsigned n) {
    TimerState& t = state_.timer[n];
    if ((t.config & stimer_config::enable) == 0 || t.count == 0) {
        timers_[n]->disarm();
        return;
    }
    const bool periodic = (t.config & stimer_config::periodic) != 0;
    t.expiration = periodic ? next_period(reference_now(), t.count) : t.count;
    timers_[n]->arm(std::max(scope_.now(), partition_.reference_time().when(t.expiration)));
}

void SyntheticProcessor::timer_expired(unsigned n) {
    TimerState& t = state_.timer[n];
    scope_.trace("stimer", n, t.expiration);
    if ((t.config & stimer_config::direct_mode) != 0) {
        port_.request_interrupt(static_cast<std::uint8_t>(t.config >> stimer_config::apic_vector_shift), false);
    } else {
        t.message_expiration = t.expiration;
        set_timer_waiting(n, !send_timer_message(n));
    }
    if ((t.config & stimer_config::periodic) != 0) {
        t.expiration = next_period(t.expiration, t.count);
        timers_[n]->arm(std::max(scope_.now(), partition_.reference_time().when(t.expiration)));
    } else {
        t.config &= ~stimer_config::enable;
    }
}

bool SyntheticProcessor::send_timer_message(unsigned n) {
    const TimerState& t = state_.timer[n];
    const auto sint = static_cast<unsigned>(t.config >> stimer_config::sintx_shift & 0xf);
    // Messages of the queue go first: their order is their senders'.
    if (waits(sint)) return false;
    const HvTimerMessagePayload payload{n, 0, t.message_expiration, reference_now()};
    Message message;
    message.header.message_type = static_cast<std::uint32_t>(HvMessageType::timer_expired);
    message.header.payload_size = sizeof payload;
    std::memcpy(message.payload.data(), &payload, sizeof payload);
    if (!put_message(sint, message, false)) return false;
    assert_sint(sint);
    return true;
}

// --- EOI assist (TLFS 10.3.5) -------------------------------------------------------------------------------------

void SyntheticProcessor::excuse_eoi(std::uint8_t vector, bool level_triggered) {
    if (!assist_page_.enabled() || level_triggered || port_.interrupt_waiting()) return;
    assist_page_.memory().store<std::uint32_t>(*assist_page_.spa(), apic_assist_no_eoi_required);
    state_.excused = vector;
}

// The guest that ends an interrupt takes the bit away. One that is still there is taken back when something waits.
void SyntheticProcessor::settle_eoi() {
    if (!state_.excused || !assist_page_.spa()) return;
    const mmu::SystemMemory memory = assist_page_.memory();
    const std::uint64_t at = *assist_page_.spa();
    if ((memory.load<std::uint32_t>(at) & apic_assist_no_eoi_required) == 0) {
        state_.excused.reset();
        port_.apic_eoi();
    } else if (port_.interrupt_waiting()) {
        memory.store<std::uint32_t>(at, 0);
        state_.excused.reset();
    }
}

bool SyntheticProcessor::take_excuse() {
    if (!state_.excused) return false;
    assist_page_.memory().store<std::uint32_t>(*assist_page_.spa(), 0);
    settle_eoi();
    return true;
}

}  // namespace hypervisor
