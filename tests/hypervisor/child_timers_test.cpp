// Synthetic timers: when each expires, to the picosecond, how, and what its registers show then. The TSC runs at
// 2.5 GHz, so the reference counter reaches n at the first of its ticks at or after n * 100 ns.
#include "child_machine.h"

using namespace hypervisor;
using namespace hypervisor::test;
namespace config = hypervisor::stimer_config;

namespace {

constexpr std::uint64_t direct(std::uint8_t vector) {
    return config::direct_mode | std::uint64_t{vector} << config::apic_vector_shift;
}
constexpr std::uint64_t to_sint(unsigned sint) {
    return std::uint64_t{sint} << config::sintx_shift;
}

struct TimerMachine : ChildMachine {
    static constexpr std::uint32_t config_of(unsigned n) { return msr::stimer0_config + 2 * n; }
    static constexpr std::uint32_t count_of(unsigned n) { return msr::stimer0_count + 2 * n; }

    // When the counter first shows this: the scale is rounded down, so a little after n * 100 ns.
    static std::int64_t ps(std::uint64_t count) { return ReferenceTime{sim::Time::zero(), tsc_hz}.when(count).ps(); }
    // Runs to the next interrupt and returns its time; -1 if there is none.
    std::int64_t next_interrupt() {
        vp().port.interrupts.clear();
        while (vp().port.interrupts.empty()) {
            if (!simulation.agenda().run_next()) return -1;
        }
        return now().ps();
    }
    std::uint8_t vector() { return vp().port.interrupts.back().first; }
};

}  // namespace

TEST_CASE("the counter's instants are those of the TSC: 400 ps ticks") {
    CHECK(TimerMachine::ps(0) == 0);
    CHECK(TimerMachine::ps(1) == 100'400);  // at 100'000 ps the rounded-down scale still gives 0
    CHECK(TimerMachine::ps(1000) == 100'000'400);
    CHECK(TimerMachine::ps(10'000'000) == 1'000'000'000'400);
}

TEST_CASE("one-shot: auto-enable arms by the count, expiry disables") {
    TimerMachine m;
    m.write(TimerMachine::config_of(0), direct(0xed) | config::auto_enable);
    CHECK(m.read(TimerMachine::config_of(0)) == (direct(0xed) | config::auto_enable));
    m.write(TimerMachine::count_of(0), 1000);
    CHECK(m.read(TimerMachine::config_of(0)) == (direct(0xed) | config::auto_enable | config::enable));
    CHECK(m.next_interrupt() == 100'000'400);
    CHECK(m.vector() == 0xed);
    CHECK(m.read(TimerMachine::config_of(0)) == (direct(0xed) | config::auto_enable));
    CHECK(m.read(TimerMachine::count_of(0)) == 1000);
    CHECK(m.next_interrupt() == -1);
    // In the past: at once. Auto-enable arms it again and again.
    m.write(TimerMachine::count_of(0), 5);
    CHECK(m.next_interrupt() == 100'000'400);
    m.write(TimerMachine::count_of(0), 2000);
    CHECK(m.next_interrupt() == TimerMachine::ps(2000));
}

TEST_CASE("one-shot: how it is enabled, moved and stopped") {
    struct Row {
        const char* why;
        std::vector<std::pair<char, std::uint64_t>> writes;  // 'c'onfiguration, 'n'umber
        std::int64_t expires;                                // -1: never
        std::uint64_t config_then;
    };
    constexpr std::uint64_t d = direct(0x40);
    constexpr std::uint64_t on = config::enable;
    constexpr std::uint64_t automatic = config::auto_enable;
    const std::int64_t at_1000 = TimerMachine::ps(1000);
    for (const Row& row : {
             Row{"count alone", {{'n', 1000}}, -1, 0},
             Row{"enabled by hand", {{'n', 1000}, {'c', d | on}}, at_1000, d},
             Row{"enabled without a count reads disabled", {{'c', d | on}}, -1, d},
             Row{"so that a count later doesn't arm it", {{'c', d | on}, {'n', 1000}}, -1, d},
             Row{"unless it enables by itself", {{'c', d | on | automatic}, {'n', 1000}}, at_1000, d | automatic},
             Row{"a count of 0 stops it", {{'c', d | automatic}, {'n', 1000}, {'n', 0}}, -1, d | automatic},
             Row{"so does its configuration", {{'c', d | automatic}, {'n', 1000}, {'c', d}}, -1, d},
             Row{"moved", {{'c', d | automatic}, {'n', 500}, {'n', 1000}}, at_1000, d | automatic},
             Row{"moved forward", {{'c', d | automatic}, {'n', 5000}, {'n', 1000}}, at_1000, d | automatic},
             Row{"as Linux does", {{'c', 0x1ed9}, {'n', 1000}}, at_1000, 0x1ed8},
             Row{"lazy is only a hint",
                 {{'c', d | automatic | config::lazy}, {'n', 1000}},
                 at_1000,
                 d | automatic | config::lazy},
             Row{"by message without a SINT", {{'c', automatic}, {'n', 1000}}, -1, automatic},
             Row{"the same by hand", {{'n', 1000}, {'c', on}}, -1, 0},
             Row{"the end of time", {{'c', d | automatic}, {'n', ~0ull}}, -1, d | automatic | on},
         }) {
        const std::string why = row.why;
        CAPTURE(why);
        TimerMachine m;
        for (const auto& [which, value] : row.writes) {
            m.write(which == 'c' ? TimerMachine::config_of(1) : TimerMachine::count_of(1), value);
        }
        CHECK(m.next_interrupt() == row.expires);
        CHECK(m.read(TimerMachine::config_of(1)) == row.config_then);
    }
}

TEST_CASE("periodic: from when it is enabled, without drift") {
    TimerMachine m;
    m.run_until(sim::Time::us(250));
    m.write(TimerMachine::config_of(2), direct(0x60) | config::periodic | config::auto_enable);
    m.write(TimerMachine::count_of(2), 1250);
    const std::uint64_t start = m.read(msr::time_ref_count);
    CHECK(start == 2499);
    for (std::uint64_t period = 1; period <= 1000; ++period) {
        REQUIRE(m.next_interrupt() == TimerMachine::ps(start + 1250 * period));
    }
    CHECK((m.read(TimerMachine::config_of(2)) & config::enable) != 0);
    m.write(TimerMachine::count_of(2), 0);
    CHECK(m.next_interrupt() == -1);
}

TEST_CASE("periodic: no period is shorter than the hypervisor's tick, none wraps") {
    TimerMachine m;
    m.write(TimerMachine::config_of(0), direct(0x60) | config::periodic | config::auto_enable);
    m.write(TimerMachine::count_of(0), 1);
    CHECK(m.read(TimerMachine::count_of(0)) == 1);
    CHECK(m.next_interrupt() == TimerMachine::ps(1000));
    CHECK(m.next_interrupt() == TimerMachine::ps(2000));
    m.write(TimerMachine::count_of(0), ~0ull);
    CHECK(m.next_interrupt() == -1);
}

TEST_CASE("four timers are four; at one instant the first armed goes first") {
    TimerMachine m;
    for (unsigned n = 0; n < 4; ++n) {
        m.write(TimerMachine::config_of(n), direct(static_cast<std::uint8_t>(0x70 + n)) | config::auto_enable);
        m.write(TimerMachine::count_of(n), 4000 - 1000 * n);
    }
    for (unsigned n = 4; n-- > 0;) {
        CHECK(m.next_interrupt() == TimerMachine::ps(4000 - 1000 * n));
        CHECK(m.vector() == 0x70 + n);
    }
    for (const unsigned n : {2u, 0u, 3u, 1u}) m.write(TimerMachine::count_of(n), 9000);
    m.vp().port.interrupts.clear();
    m.run_until(sim::Time::ps(TimerMachine::ps(9000)));
    CHECK(m.vp().port.interrupts ==
          std::vector<std::pair<std::uint8_t, bool>>{edge(0x72), edge(0x70), edge(0x73), edge(0x71)});
}

// --- Message mode --------------------------------------------------------------------------------------------------

namespace {

constexpr std::uint64_t message_page = 0x10'000;

struct MessageTimerMachine : TimerMachine {
    MessageTimerMachine() {
        write(msr::simp, message_page | 1);
        write(msr::sint0 + 2, 0xf3);
        write(msr::scontrol, 1);
    }
    HvTimerMessagePayload payload(unsigned sint = 2) {
        return load<HvTimerMessagePayload>(message_page + 256 * sint + 16);
    }
    std::uint32_t type(unsigned sint = 2) { return load<std::uint32_t>(message_page + 256 * sint); }
    bool pending(unsigned sint = 2) { return (load<std::uint8_t>(message_page + 256 * sint + 5) & 1) != 0; }
    void take(unsigned sint = 2) {
        store<std::uint32_t>(message_page + 256 * sint, 0);
        if (pending(sint)) write(msr::eom, 0);
    }
    void expect(std::uint32_t timer, std::uint64_t expiration, std::uint64_t delivery) {
        CHECK(type() == 0x8000'0010);
        CHECK(load<std::uint8_t>(message_page + 256 * 2 + 4) == 24);
        CHECK(payload().timer_index == timer);
        CHECK(payload().expiration_time == expiration);
        CHECK(payload().delivery_time == delivery);
    }
};

}  // namespace

TEST_CASE("message mode: the message tells which timer, when it was due and when it came") {
    MessageTimerMachine m;
    m.write(TimerMachine::config_of(3), to_sint(2) | config::auto_enable);
    m.write(TimerMachine::count_of(3), 1000);
    CHECK(m.next_interrupt() == TimerMachine::ps(1000));
    CHECK(m.vector() == 0xf3);
    m.expect(3, 1000, 1000);
    m.take();
    // Past due when it is armed.
    m.write(TimerMachine::count_of(3), 10);
    CHECK(m.next_interrupt() == TimerMachine::ps(1000));
    m.expect(3, 10, 1000);
}

TEST_CASE("message mode: a full slot makes it wait for the end of message") {
    MessageTimerMachine m;
    for (unsigned n = 0; n < 2; ++n) {
        m.write(TimerMachine::config_of(n), to_sint(2) | config::auto_enable);
        m.write(TimerMachine::count_of(n), 1000 + 1000 * n);
    }
    CHECK(m.next_interrupt() == TimerMachine::ps(1000));
    CHECK_FALSE(m.pending());
    CHECK(m.next_interrupt() == -1);
    m.expect(0, 1000, 1000);
    CHECK(m.pending());
    CHECK((m.read(TimerMachine::config_of(1)) & config::enable) == 0);  // it has expired all the same
    m.run_until(sim::Time::ps(TimerMachine::ps(5000)));
    m.take();
    CHECK(m.vp().port.interrupts.size() == 1);
    m.expect(1, 2000, 5000);
    m.take();
    CHECK(m.type() == 0);
}

TEST_CASE("message mode: a period that ends while the last one's message waits takes its place") {
    MessageTimerMachine m;
    m.write(TimerMachine::config_of(0), to_sint(2) | config::auto_enable | config::periodic);
    m.write(TimerMachine::count_of(0), 1000);
    CHECK(m.next_interrupt() == TimerMachine::ps(1000));
    m.run_until(sim::Time::ps(TimerMachine::ps(3500)));
    m.expect(0, 1000, 1000);
    m.take();
    m.expect(0, 3000, 3500);
    m.take();
    CHECK(m.next_interrupt() == TimerMachine::ps(4000));
    m.expect(0, 4000, 4000);
}

TEST_CASE("message mode: a message that waits is forgotten with its timer, and goes behind the queue") {
    MessageTimerMachine m;
    HvMessage message{};
    message.header.message_type = 1;
    SUBCASE("forgotten") {
        REQUIRE(m.child().post_message(2, message) == HvStatus::success);
        m.write(TimerMachine::config_of(0), to_sint(2) | config::auto_enable);
        m.write(TimerMachine::count_of(0), 1000);
        CHECK(m.next_interrupt() == -1);
        CHECK(m.pending());
        m.write(TimerMachine::count_of(0), 0);
        m.take();
        CHECK(m.type() == 0);
    }
    SUBCASE("behind") {
        for (int i = 0; i < 2; ++i) REQUIRE(m.child().post_message(2, message) == HvStatus::success);
        m.write(TimerMachine::config_of(0), to_sint(2) | config::auto_enable);
        m.write(TimerMachine::count_of(0), 1000);
        CHECK(m.next_interrupt() == -1);
        m.take();
        CHECK(m.type() == 1);
        CHECK(m.pending());
        m.take();
        CHECK(m.type() == 0x8000'0010);
    }
}

TEST_CASE("what is saved of timers and controller goes on as the original would") {
    MessageTimerMachine m;
    m.write(TimerMachine::config_of(0), to_sint(2) | config::auto_enable | config::periodic);
    m.write(TimerMachine::count_of(0), 1000);
    m.write(TimerMachine::config_of(1), direct(0x41) | config::auto_enable);
    m.write(TimerMachine::count_of(1), 2500);
    m.run_until(sim::Time::ps(TimerMachine::ps(2200)));
    const auto bytes = sim::save_to_bytes(m.child());
    CHECK(m.next_interrupt() == TimerMachine::ps(2500));
    m.write(TimerMachine::count_of(0), 0);
    m.write(msr::sint0 + 2, 0x10000);
    sim::restore_from_bytes(m.child(), bytes);
    CHECK(sim::save_to_bytes(m.child()) == bytes);
    CHECK(m.read(msr::sint0 + 2) == 0xf3);
    CHECK(m.read(TimerMachine::count_of(0)) == 1000);
    CHECK((m.read(TimerMachine::config_of(1)) & config::enable) != 0);
}
