#include "models/rtc_cmos.h"

#include <algorithm>

#include "models/calendar.h"

namespace models {
namespace {
// Data sheet, "address map" and "registers"
constexpr std::uint8_t seconds = 0, seconds_alarm = 1, minutes = 2, minutes_alarm = 3, hours = 4, hours_alarm = 5,
                       week_day = 6, day = 7, month = 8, year = 9, reg_a = 0xa, reg_b = 0xb, reg_c = 0xc, reg_d = 0xd;
constexpr std::uint8_t a_default = 0x26;  // 32768 Hz divider, rate 6: 1024 Hz
constexpr std::uint8_t b_set = 0x80, b_periodic = 0x40, b_alarm = 0x20, b_update = 0x10, b_square = 0x08,
                       b_binary = 0x04, b_24_hours = 0x02;
constexpr std::uint8_t c_interrupt = 0x80, c_periodic = 0x40, c_alarm = 0x20, c_update = 0x10;
constexpr std::uint8_t d_valid = 0x80;
constexpr std::uint8_t any = 0xc0;  // alarm bytes from 0xc0 up match anything
constexpr std::uint8_t afternoon = 0x80;
constexpr std::int64_t seconds_per_day = 86400;
constexpr std::int64_t no_second = INT64_MAX;
}  // namespace

struct RtcCmos::Row {
    std::uint8_t first;
    std::uint8_t last;
    std::uint8_t (RtcCmos::*read)(std::uint8_t);
    void (RtcCmos::*write)(std::uint8_t, std::uint8_t);
};

const RtcCmos::Row* RtcCmos::find(std::uint8_t index) {
    static constexpr Row table[] = {
        {seconds, seconds, &RtcCmos::read_calendar, &RtcCmos::write_calendar},
        {seconds_alarm, seconds_alarm, &RtcCmos::read_stored, &RtcCmos::write_stored},
        {minutes, minutes, &RtcCmos::read_calendar, &RtcCmos::write_calendar},
        {minutes_alarm, minutes_alarm, &RtcCmos::read_stored, &RtcCmos::write_stored},
        {hours, hours, &RtcCmos::read_calendar, &RtcCmos::write_calendar},
        {hours_alarm, hours_alarm, &RtcCmos::read_stored, &RtcCmos::write_stored},
        {week_day, year, &RtcCmos::read_calendar, &RtcCmos::write_calendar},
        {reg_a, reg_a, &RtcCmos::read_a, &RtcCmos::write_a},
        {reg_b, reg_b, &RtcCmos::read_stored, &RtcCmos::write_b},
        {reg_c, reg_c, &RtcCmos::read_c, nullptr},
        {reg_d, reg_d, &RtcCmos::read_d, nullptr},
        {0x0e, century_register - 1, &RtcCmos::read_stored, &RtcCmos::write_stored},
        {century_register, century_register, &RtcCmos::read_calendar, &RtcCmos::write_calendar},
        {century_register + 1, bytes - 1, &RtcCmos::read_stored, &RtcCmos::write_stored},
    };
    for (const Row& row : table) {
        if (index >= row.first && index <= row.last) return &row;
    }
    return nullptr;
}

RtcCmos::RtcCmos(const sim::Scope& scope, InterruptLine& interrupt, std::int64_t epoch_s)
    : scope_(scope), interrupt_(interrupt), timer_(scope.agenda(), scope.path() + ".event", [this] {
          collect_flags();
          schedule();
      }) {
    state_.offset_s = epoch_s;
    state_.zero = state_.flags_until = scope.now();
    state_.ram[reg_a] = a_default;
    state_.ram[reg_b] = b_24_hours;
}

void RtcCmos::reset() {
    collect_flags();
    state_.index = 0;
    state_.flags = 0;
    state_.ram[reg_b] &= static_cast<std::uint8_t>(~(b_periodic | b_alarm | b_update | b_square));
    schedule();
    update_interrupt();
}

std::uint32_t RtcCmos::read_port(std::uint16_t port, unsigned) {
    // The index register is write-only on a PC; bit 7 there masks NMIs and is not ours.
    return port == base_port ? 0xff : read_register(state_.index);
}

void RtcCmos::write_port(std::uint16_t port, unsigned, std::uint32_t value) {
    if (port == base_port) {
        state_.index = value & 0x7f;
    } else {
        write_register(state_.index, static_cast<std::uint8_t>(value));
    }
}

std::uint8_t RtcCmos::read_register(std::uint8_t index) {
    const Row* row = find(index);
    return row != nullptr ? (this->*row->read)(index) : 0xff;
}

void RtcCmos::write_register(std::uint8_t index, std::uint8_t value) {
    const Row* row = find(index);
    if (row == nullptr || row->write == nullptr) return;
    scope_.trace("cmos_write", index, value);
    (this->*row->write)(index, value);
}

std::int64_t RtcCmos::now_s() const {
    return state_.offset_s + (scope_.now() - state_.zero) / sim::Time::s(1);
}

bool RtcCmos::setting() const {
    return (state_.ram[reg_b] & b_set) != 0;
}

std::uint8_t RtcCmos::read_calendar(std::uint8_t index) {
    // With SET the guest sees the copy that it is changing.
    if (!setting()) calendar_to_ram();
    return state_.ram[index];
}

void RtcCmos::write_calendar(std::uint8_t index, std::uint8_t value) {
    collect_flags();
    if (!setting()) calendar_to_ram();
    state_.ram[index] = value;
    // The week day is a count of its own in the chip; here it always follows the date.
    if (!setting()) {
        state_.offset_s += calendar_from_ram() - now_s();
        schedule();
    }
}

std::uint8_t RtcCmos::read_stored(std::uint8_t index) {
    return state_.ram[index];
}

void RtcCmos::write_stored(std::uint8_t index, std::uint8_t value) {
    collect_flags();
    state_.ram[index] = value;
    schedule();
}

std::uint8_t RtcCmos::read_a(std::uint8_t) {
    return state_.ram[reg_a] & 0x7f;  // UIP
}

void RtcCmos::write_a(std::uint8_t, std::uint8_t value) {
    collect_flags();
    state_.ram[reg_a] = value & 0x7f;
    schedule();
}

void RtcCmos::write_b(std::uint8_t, std::uint8_t value) {
    collect_flags();
    const bool was_setting = setting();
    if (!was_setting) calendar_to_ram();
    if (was_setting && (value & b_set) == 0) {
        // The clock goes on from what was set; its seconds begin now. Decoded in the old format, as it was written.
        state_.offset_s = calendar_from_ram();
        state_.zero = state_.flags_until = scope_.now();
    }
    // SET clears the update-ended enable (data sheet, register B, UIE).
    state_.ram[reg_b] = (value & b_set) != 0 ? static_cast<std::uint8_t>(value & ~b_update) : value;
    schedule();
    update_interrupt();
}

std::uint8_t RtcCmos::read_c(std::uint8_t) {
    collect_flags();
    const bool asking = (state_.flags & state_.ram[reg_b] & (c_periodic | c_alarm | c_update)) != 0;
    const auto value = static_cast<std::uint8_t>(state_.flags | (asking ? c_interrupt : 0));
    state_.flags = 0;
    schedule();
    update_interrupt();
    return value;
}

std::uint8_t RtcCmos::read_d(std::uint8_t) {
    return d_valid;
}

std::uint8_t RtcCmos::encode(unsigned value) const {
    if ((state_.ram[reg_b] & b_binary) != 0) return static_cast<std::uint8_t>(value);
    return static_cast<std::uint8_t>(value / 10 << 4 | value % 10);
}

unsigned RtcCmos::decode(std::uint8_t value) const {
    if ((state_.ram[reg_b] & b_binary) != 0) return value;
    return (value >> 4) * 10u + (value & 0xfu);
}

std::uint8_t RtcCmos::encode_hour(unsigned hour) const {
    if ((state_.ram[reg_b] & b_24_hours) != 0) return encode(hour);
    const unsigned twelve = hour % 12 == 0 ? 12 : hour % 12;
    return static_cast<std::uint8_t>(encode(twelve) | (hour >= 12 ? afternoon : 0));
}

unsigned RtcCmos::decode_hour(std::uint8_t value) const {
    if ((state_.ram[reg_b] & b_24_hours) != 0) return decode(value);
    const unsigned twelve = decode(value & 0x7f) % 12;
    return twelve + ((value & afternoon) != 0 ? 12 : 0);
}

void RtcCmos::calendar_to_ram() {
    const CalendarTime t = calendar_of_seconds(now_s());
    state_.ram[seconds] = encode(t.second);
    state_.ram[minutes] = encode(t.minute);
    state_.ram[hours] = encode_hour(t.hour);
    state_.ram[week_day] = encode(t.week_day);
    state_.ram[day] = encode(t.day);
    state_.ram[month] = encode(t.month);
    state_.ram[year] = encode(static_cast<unsigned>(t.year % 100));
    state_.ram[century_register] = encode(static_cast<unsigned>(t.year / 100 % 100));
}

// A guest can set anything; values out of range carry over into the next unit.
std::int64_t RtcCmos::calendar_from_ram() const {
    const auto value = [this](std::uint8_t index) { return static_cast<std::int64_t>(decode(state_.ram[index])); };
    const std::int64_t days = days_from_civil(value(century_register) * 100 + value(year), value(month), value(day));
    return days * seconds_per_day + decode_hour(state_.ram[hours]) * 3600 + value(minutes) * 60 + value(seconds);
}

// The next second after `after_s` at which the alarm bytes match, or no_second.
std::int64_t RtcCmos::next_alarm_s(std::int64_t after_s) const {
    const auto matches = [](std::uint8_t alarm, unsigned wanted, unsigned shown) {
        return alarm >= any || wanted == shown;
    };
    const std::uint8_t s = state_.ram[seconds_alarm], m = state_.ram[minutes_alarm], h = state_.ram[hours_alarm];
    const unsigned want_s = decode(s), want_m = decode(m), want_h = decode_hour(h);
    // At most one day ahead, in steps of the largest unit that can't match.
    std::int64_t t = after_s + 1;
    const std::int64_t end = t + seconds_per_day;
    while (t <= end) {
        const auto in_day = static_cast<unsigned>(((t % seconds_per_day) + seconds_per_day) % seconds_per_day);
        if (!matches(h, want_h, in_day / 3600)) {
            t += 3600 - in_day % 3600;
        } else if (!matches(m, want_m, in_day / 60 % 60)) {
            t += 60 - in_day % 60;
        } else if (!matches(s, want_s, in_day % 60)) {
            ++t;
        } else {
            return t;
        }
    }
    return no_second;
}

sim::Time RtcCmos::time_of_second(std::int64_t second) const {
    return state_.zero + sim::Time::s(1) * (second - state_.offset_s);
}

// Data sheet, table 5 (32.768 kHz time base): rates 1 and 2 repeat 8 and 9.
sim::Time RtcCmos::period() const {
    unsigned rate = state_.ram[reg_a] & 0xf;
    if (rate == 0) return sim::Time::never();
    if (rate < 3) rate += 7;
    return sim::cycles_to_time(1ull << (rate - 1), 32768);
}

// Puts everything that has happened since the last call into the flags, whether or not anybody listens.
void RtcCmos::collect_flags() {
    const sim::Time from = state_.flags_until;
    // Processors run ahead within their quantum, so a later call may come with an earlier time.
    const sim::Time to = std::max(from, scope_.now());
    state_.flags_until = to;
    if (!period().is_never() && from / period() != to / period()) state_.flags |= c_periodic;
    if (!setting()) {
        const std::int64_t before = (from - state_.zero) / sim::Time::s(1);
        const std::int64_t after = (to - state_.zero) / sim::Time::s(1);
        if (before != after) state_.flags |= c_update;
        if (next_alarm_s(state_.offset_s + before) <= state_.offset_s + after) state_.flags |= c_alarm;
    }
    update_interrupt();
}

// The timer waits for the next event that would raise a flag whose interrupt is on and which is not up already.
void RtcCmos::schedule() {
    const std::uint8_t wanted = state_.ram[reg_b] & static_cast<std::uint8_t>(~state_.flags);
    sim::Time next = sim::Time::never();
    const sim::Time now = scope_.now();
    if ((wanted & b_periodic) != 0 && !period().is_never()) {
        next = std::min(next, period() * (now / period() + 1));
    }
    if (!setting() && (wanted & b_update) != 0) next = std::min(next, time_of_second(now_s() + 1));
    if (!setting() && (wanted & b_alarm) != 0) {
        const std::int64_t alarm = next_alarm_s(now_s());
        if (alarm != no_second) next = std::min(next, time_of_second(alarm));
    }
    if (next.is_never()) {
        timer_.disarm();
    } else {
        timer_.arm(next);
    }
}

void RtcCmos::update_interrupt() {
    const bool line = (state_.flags & state_.ram[reg_b] & (c_periodic | c_alarm | c_update)) != 0;
    if (line != state_.line) {
        state_.line = line;
        interrupt_.set(line);
    }
}

}  // namespace models
