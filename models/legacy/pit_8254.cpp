#include "models/legacy/pit_8254.h"

#include "sim/bits.h"

namespace models {

namespace {
constexpr std::uint64_t never = ~std::uint64_t{0};
// Port 0x61 (82371AB, 4.7.1)
constexpr std::uint8_t speaker_gate = 1u << 0, speaker_stored = 0x0f, refresh_toggle = 1u << 4,
                       speaker_output = 1u << 5;
constexpr std::uint64_t refresh_ticks = 18;  // counter 1 as firmware leaves it: 15.1 us

std::uint64_t from_bcd(std::uint16_t bcd) {
    std::uint64_t value = 0;
    for (int digit = 3; digit >= 0; --digit) value = value * 10 + (bcd >> 4 * digit & 0xf);
    return value;
}
std::uint16_t to_bcd(std::uint64_t value) {
    unsigned bcd = 0;
    for (int digit = 0; digit < 4; ++digit) {
        bcd |= static_cast<unsigned>(value % 10) << 4 * digit;
        value /= 10;
    }
    return static_cast<std::uint16_t>(bcd);
}

}  // namespace

Pit8254::Pit8254(const sim::Scope& scope, InterruptLine& interrupt)
    : scope_(scope),
      interrupt_(interrupt),
      timer_(scope.agenda(), scope.path() + ".output", [this] { update_interrupt(); }) {
    reset();
}

void Pit8254::connect(IoPortMap& ports) {
    ports.claim(base_port, 4, 1, *this);
    ports.claim(speaker_port, 1, 1, *this);
}

void Pit8254::reset() {
    state_ = {};
    state_.counters[2].gate = false;
    timer_.disarm();
    update_interrupt();
}

std::uint64_t Pit8254::tick() const {
    return sim::time_to_cycles(scope_.now(), clock_hz);
}

// 0 stands for 2^16, or 10^4 in BCD. Modes 2 and 3 have no count of 1.
std::uint64_t Pit8254::period(const Counter& counter) {
    std::uint64_t count = counter.bcd ? from_bcd(counter.count) : counter.count;
    if (count == 0) count = counter.bcd ? 10'000 : 0x10000;
    return (counter.mode == 2 || counter.mode == 3) && count == 1 ? 2 : count;
}

// Ticks since the count was loaded; while the gate of a counting mode is low it stands still.
std::uint64_t Pit8254::elapsed(const Counter& counter) const {
    const bool stops = counter.mode != 1 && counter.mode != 5;
    if (stops && !counter.gate) return counter.stopped;
    const std::uint64_t now = tick();
    return now > counter.start ? now - counter.start : 0;
}

std::uint16_t Pit8254::value(const Counter& counter) const {
    const std::uint64_t wrap = counter.bcd ? 10'000 : 0x10000;
    const std::uint64_t full = period(counter);
    const bool runs = counter.loaded && (counter.counting || (counter.mode != 1 && counter.mode != 5));
    std::uint64_t left = full;
    if (runs) {
        const std::uint64_t gone = elapsed(counter);
        switch (counter.mode) {
            case 2:
                left = full - gone % full;
                break;
            case 3:  // by twos, twice round in each period; an odd count loses one in its first half
                left = (full & ~std::uint64_t{1}) - 2 * (gone % full % ((full + 1) / 2)) % (full & ~std::uint64_t{1});
                break;
            default:  // on and on, past 0
                left = (full + wrap - gone % wrap) % wrap;
        }
    }
    left %= wrap;
    return counter.bcd ? to_bcd(left) : static_cast<std::uint16_t>(left);
}

bool Pit8254::output(const Counter& counter) const {
    const std::uint64_t full = period(counter);
    if (!counter.loaded) return counter.mode != 0;
    const std::uint64_t gone = elapsed(counter);
    switch (counter.mode) {
        case 0:
            return gone >= full;
        case 1:
            return !counter.counting || gone >= full;
        case 2:
            return !counter.gate || gone % full != full - 1;
        case 3:
            return !counter.gate || gone % full < (full + 1) / 2;
        case 4:
            return gone != full;
        default:
            return !counter.counting || gone != full;
    }
}

// How many ticks after loading the output moves next, or never.
std::uint64_t Pit8254::next_edge(const Counter& counter) const {
    const bool triggered = counter.mode == 1 || counter.mode == 5;
    if (!counter.loaded || (!triggered && !counter.gate) || (triggered && !counter.counting)) return never;
    const std::uint64_t full = period(counter);
    const std::uint64_t gone = elapsed(counter);
    const std::uint64_t begun = gone / full * full;
    switch (counter.mode) {
        case 0:
        case 1:
            return gone < full ? full : never;
        case 2:
            return gone % full < full - 1 ? begun + full - 1 : begun + full;
        case 3:
            return gone % full < (full + 1) / 2 ? begun + (full + 1) / 2 : begun + full;
        default:
            return gone < full ? full : gone == full ? full + 1 : never;
    }
}

void Pit8254::schedule() {
    const Counter& counter = state_.counters[0];
    const std::uint64_t edge = next_edge(counter);
    if (edge == never) return timer_.disarm();
    timer_.arm(sim::first_time_of_cycle(counter.start + edge, clock_hz));
}

void Pit8254::update_interrupt() {
    interrupt_.set(output(state_.counters[0]));
    schedule();
}

std::uint32_t Pit8254::read_port(std::uint16_t port, unsigned) {
    if (port == speaker_port) {
        const bool toggled = (tick() / refresh_ticks & 1) != 0;
        return static_cast<std::uint32_t>(state_.speaker | (toggled ? refresh_toggle : 0) |
                                          (output(state_.counters[2]) ? speaker_output : 0));
    }
    if (port == control_port) return 0xff;  // cannot be read
    return read_count(state_.counters[port - base_port]);
}

void Pit8254::write_port(std::uint16_t port, unsigned, std::uint32_t wide) {
    const auto byte = static_cast<std::uint8_t>(wide);
    if (port == speaker_port) {
        state_.speaker = byte & speaker_stored;
        set_gate(state_.counters[2], (byte & speaker_gate) != 0);
    } else if (port == control_port) {
        write_control(byte);
    } else {
        write_count(state_.counters[port - base_port], byte);
    }
    update_interrupt();
}

void Pit8254::write_control(std::uint8_t control) {
    const unsigned selected = control >> 6;
    if (selected == 3) {
        // Read-back: bits 3:1 select counters; a clear bit 5 latches counts, a clear bit 4 states.
        for (unsigned n = 0; n < 3; ++n) {
            if ((control >> (n + 1) & 1) == 0) continue;
            if ((control & 0x10) == 0) latch_status(state_.counters[n]);
            if ((control & 0x20) == 0) latch_count(state_.counters[n]);
        }
        return;
    }
    Counter& counter = state_.counters[selected];
    const auto access = static_cast<std::uint8_t>(control >> 4 & 3);
    if (access == 0) return latch_count(counter);
    const bool gate = counter.gate;
    counter = {};
    counter.gate = gate;
    counter.access = access;
    const auto mode = static_cast<std::uint8_t>(control >> 1 & 7);
    counter.mode = mode > 5 ? mode & 3 : mode;  // the top bit of modes 2 and 3 means nothing
    counter.bcd = (control & 1) != 0;
    scope_.trace("control", selected, counter.mode);
}

void Pit8254::write_count(Counter& counter, std::uint8_t byte) {
    switch (counter.access) {
        case 1:
            return load(counter, byte);
        case 2:
            return load(counter, static_cast<std::uint16_t>(byte << 8));
        default:
            if (!counter.half_written) {
                counter.low = byte;
                counter.half_written = true;
                // Mode 0 stops counting between the two bytes (231164, mode 0).
                if (counter.mode == 0) counter.loaded = false;
                return;
            }
            counter.half_written = false;
            load(counter, static_cast<std::uint16_t>(counter.low | byte << 8));
    }
}

// A count written while modes 2 and 3 run should wait for the end of the period; here it starts a new one, which
// nobody can tell from a period that happened to end. Modes 1 and 5 wait for their trigger.
void Pit8254::load(Counter& counter, std::uint16_t count) {
    counter.count = count;
    counter.loaded = true;
    if (counter.mode == 1 || counter.mode == 5) return;
    counter.start = tick() + 1;  // the next clock transfers it
    counter.stopped = 0;
    scope_.trace("count", period(counter));
}

void Pit8254::latch_count(Counter& counter) {
    if (counter.latched) return;
    counter.latch = value(counter);
    counter.latched = true;
}

void Pit8254::latch_status(Counter& counter) {
    if (counter.status_latched) return;
    counter.status = static_cast<std::uint8_t>((output(counter) ? 0x80 : 0) | (counter.loaded ? 0 : 0x40) |
                                               counter.access << 4 | counter.mode << 1 | (counter.bcd ? 1 : 0));
    counter.status_latched = true;
}

std::uint8_t Pit8254::read_count(Counter& counter) {
    if (counter.status_latched) {
        counter.status_latched = false;
        return counter.status;
    }
    const std::uint16_t count = counter.latched ? counter.latch : value(counter);
    const bool high = counter.access == 2 || (counter.access == 3 && counter.half_read);
    const bool last = counter.access != 3 || counter.half_read;
    counter.half_read = !last;
    if (last) counter.latched = false;
    return static_cast<std::uint8_t>(high ? count >> 8 : count);
}

// 231164, "gate": low stops modes 0, 2, 3 and 4; rising triggers modes 1 and 5 and starts modes 2 and 3 anew.
void Pit8254::set_gate(Counter& counter, bool gate) {
    if (counter.gate == gate) return;
    if (!gate) {
        counter.stopped = elapsed(counter);
        counter.gate = false;
        return;
    }
    counter.gate = true;
    const std::uint64_t now = tick();
    switch (counter.mode) {
        case 1:
        case 5:
            counter.counting = counter.loaded;
            counter.start = now + 1;
            break;
        case 2:
        case 3:
            counter.start = now + 1;
            break;
        default:
            counter.start = now - counter.stopped;
    }
}

}  // namespace models
