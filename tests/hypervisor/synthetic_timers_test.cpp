// Reference time and synthetic timers (TLFS chapter 12), to the instant. At 2 GHz a tick of 100 ns is 200 cycles, and
// the counter shows n one cycle after n * 100 ns, because the scale of the TSC page is rounded down.
#include <doctest/doctest.h>

#include "sim/random.h"
#include "synthetic_machine.h"

namespace synthetic_timers_test {

using namespace hypervisor;
using namespace hypervisor::test;
using namespace sim::literals;

namespace {

using Interrupts = std::vector<std::pair<std::uint8_t, bool>>;

constexpr std::uint64_t direct = 0x1ed8;         // Linux' mode: direct, vector 0xed, auto-enable
constexpr std::uint64_t with_message = 0x20008;  // SINT 2, auto-enable
constexpr std::uint64_t periodic = 2;
constexpr std::uint64_t enable = 1;

// What a guest computes from the page.
std::uint64_t from_page(const HvReferenceTscPage& page, std::uint64_t tsc) {
    return static_cast<std::uint64_t>((sim::u128{tsc} * page.tsc_scale) >> 64) +
           static_cast<std::uint64_t>(page.tsc_offset);
}

struct TimerMachine : SyntheticMachine {
    TimerMachine() {
        enable_synic();
        write(msr::sint0 + 2, 0xf3);
    }
    void arm(unsigned n, std::uint64_t config, std::uint64_t count) {
        write(msr::stimer0_config + 2 * n, config);
        write(msr::stimer0_count + 2 * n, count);
    }
    std::uint64_t config(unsigned n = 0) { return read(msr::stimer0_config + 2 * n); }
    HvTimerMessagePayload payload(unsigned sint = 2) { return load<HvTimerMessagePayload>(slot(sint) + 16); }
    std::uint32_t type(unsigned sint = 2) { return load<std::uint32_t>(slot(sint)); }
    void consume(unsigned sint = 2) {
        store<std::uint32_t>(slot(sint), 0);
        if ((load<HvMessageHeader>(slot(sint)).flags & message_flag_pending) != 0) write(msr::eom, 0);
    }
    // The instants of the interrupts up to `end`.
    std::vector<std::int64_t> interrupt_times_ps(sim::Time end) {
        std::vector<std::int64_t> times;
        while (simulation.agenda().next_event() <= end) {
            const std::size_t before = port.interrupts.size();
            simulation.agenda().run_next();
            if (port.interrupts.size() != before) times.push_back(simulation.agenda().now().ps());
        }
        return times;
    }
};

}  // namespace

TEST_CASE("scale of the TSC page") {
    const struct {
        std::uint64_t tsc_hz;
        std::uint64_t scale;
    } rows[] = {{1'000'000'000, 0x028f'5c28'f5c2'8f5c},
                {2'000'000'000, 0x0147'ae14'7ae1'47ae},
                {2'500'000'000, 0x0106'24dd'2f1a'9fbe},
                {3'000'000'000, 0x00da'740d'a740'da74}};
    for (const auto& row : rows) {
        const ReferenceTime time(sim::Time{}, row.tsc_hz);
        CHECK(time.page().tsc_scale == row.scale);
        CHECK(time.page().tsc_sequence != 0);
        CHECK(time.page().tsc_offset == 0);
    }
}

TEST_CASE("counter and TSC page agree at every instant, and timers hit the counter's edges") {
    sim::Random random(7, "reference time");
    for (const std::uint64_t hz : {999'999'937ull, 2'000'000'000ull, 2'600'000'000ull, 3'700'000'001ull}) {
        for (const sim::Time start : {sim::Time{}, 1_us, sim::Time::ps(123'456'789'012)}) {
            const ReferenceTime time(start, hz);
            std::uint64_t last = 0;
            for (unsigned n = 0; n < 5000; ++n) {
                const sim::Time t =
                    start + 1_us + sim::Time::ps(static_cast<std::int64_t>(random.below(1ull << (n % 56))));
                const std::uint64_t tsc = sim::time_to_cycles(t, hz);
                const std::uint64_t count = time.at(t);
                REQUIRE(count == from_page(time.page(), tsc));
                // Never more than what has passed since the start, rounded down to 100 ns, and less only by the
                // rounding of scale and cycles.
                const std::int64_t passed = t.ps() / 100'000 - start.ps() / 100'000;
                REQUIRE(static_cast<std::int64_t>(count) <= passed);
                REQUIRE(passed - static_cast<std::int64_t>(count) <=
                        2 + static_cast<std::int64_t>(tsc >> 60) * 2 + (t.ps() >> 40));
                // The first instant of a count: there it shows, a picosecond earlier it does not.
                const sim::Time edge = time.when(count);
                REQUIRE(edge <= t);
                REQUIRE(time.at(edge) >= count);
                if (edge > start + 1_us) REQUIRE(time.at(edge - sim::Time::ps(1)) < count);
                last = count;
            }
            CHECK(last != 0);
            CHECK(time.when(~0ull).is_never());
        }
    }
}

TEST_CASE("reference time never goes back, and starts at 0 with the partition") {
    const ReferenceTime time(sim::Time::ms(3), 2'000'000'000);
    CHECK(time.at(sim::Time::ms(3)) == 0);
    std::uint64_t last = 0;
    for (std::int64_t ps = 3'000'000'000; ps < 3'010'000'000; ps += 333) {
        const std::uint64_t now = time.at(sim::Time::ps(ps));
        REQUIRE(now >= last);
        REQUIRE(now <= last + 1);
        last = now;
    }
    CHECK(last == 99);
}

TEST_CASE("one shot, direct: at its instant, once") {
    TimerMachine m;
    m.arm(0, direct, 1000);
    CHECK(m.config() == (direct | enable));
    CHECK(m.interrupt_times_ps(1_ms) == std::vector<std::int64_t>{100'000'500});
    CHECK(m.port.interrupts == Interrupts{{0xed, false}});
    CHECK(m.config() == direct);
    CHECK(m.read(msr::stimer0_count) == 1000);
    CHECK(m.type() == 0);
    // The counter shows the time that was asked for at the interrupt.
    CHECK(m.synthetic.reference_time().at(sim::Time::ps(100'000'500)) == 1000);
    CHECK(m.synthetic.reference_time().at(sim::Time::ps(100'000'499)) == 999);
}

TEST_CASE("a time that has passed fires at once; never is never") {
    TimerMachine m;
    m.run_until(1_ms);
    m.arm(0, direct, 5);
    CHECK(m.interrupt_times_ps(2_ms) == std::vector<std::int64_t>{1'000'000'000});
    m.arm(0, direct, ~0ull);
    CHECK(m.config() == (direct | enable));
    CHECK(m.interrupt_times_ps(sim::Time::s(1000)).empty());
}

TEST_CASE("config and count: when a timer runs") {
    constexpr std::uint64_t no_auto = direct & ~stimer_config::auto_enable;
    const struct {
        const char* reason;
        std::uint64_t first_config;
        std::uint64_t count;
        std::optional<std::uint64_t> second_config;
        std::uint64_t reads;
        bool fires;
    } rows[] = {
        {"auto-enable", direct, 100, {}, direct | enable, true},
        {"neither", no_auto, 100, {}, no_auto, false},
        {"enabled after the count was set", no_auto, 100, no_auto | enable, no_auto | enable, true},
        {"enabled before: a timer without count is not", no_auto | enable, 100, {}, no_auto, false},
        {"count 0 stops", direct | enable, 0, {}, direct, false},
        {"disabled again", direct, 100, direct, direct, false},
        {"message timer without a SINT", stimer_config::auto_enable, 100, {}, stimer_config::auto_enable, false},
        {"the same, enabled", enable, 100, enable, 0, false},
        {"lazy is a timer like others",
         direct | stimer_config::lazy,
         100,
         {},
         direct | stimer_config::lazy | enable,
         true},
    };
    for (const auto& row : rows) {
        CAPTURE(row.reason);
        TimerMachine m;
        m.write(msr::stimer0_config, row.first_config);
        m.write(msr::stimer0_count, row.count);
        if (row.second_config) m.write(msr::stimer0_config, *row.second_config);
        CHECK(m.config() == row.reads);
        CHECK(m.interrupt_times_ps(1_ms).size() == (row.fires ? 1 : 0));
    }
}

TEST_CASE("direct timers need a vector that an APIC can deliver") {
    TimerMachine m;
    CHECK_FALSE(m.processor.write_msr(msr::stimer0_config, enable | stimer_config::direct_mode | 15u << 4));
    CHECK(m.processor.write_msr(msr::stimer0_config, enable | stimer_config::direct_mode | 16u << 4));
}

TEST_CASE("periodic: exact, without drift") {
    TimerMachine m;
    m.arm(1, direct | periodic, 2500);
    std::vector<std::int64_t> expected;
    for (std::uint64_t n = 1; n <= 40; ++n) {
        expected.push_back(m.synthetic.reference_time().when(2500 * n).ps());
        CHECK(expected.back() == 250'000'000 * static_cast<std::int64_t>(n) + 500);
    }
    CHECK(m.interrupt_times_ps(10'001_us) == expected);
    CHECK(m.config(1) == (direct | periodic | enable));
    m.write(msr::stimer0_count + 2, 0);
    CHECK(m.config(1) == (direct | periodic));
    CHECK(m.interrupt_times_ps(20_ms).empty());
}

TEST_CASE("the shortest period is a millisecond's tenth, whatever is asked for") {
    TimerMachine m;
    m.arm(0, direct | periodic, 1);
    CHECK(m.interrupt_times_ps(1_ms + 1_us).size() == 10);
}

TEST_CASE("four timers of a processor run side by side") {
    TimerMachine m;
    for (unsigned n = 0; n < 4; ++n) m.arm(n, (direct & ~0xff0ull) | (0x40u + n) << 4, 4000 - 1000 * n);
    CHECK(m.interrupt_times_ps(1_ms) == std::vector<std::int64_t>{100'000'500, 200'000'500, 300'000'500, 400'000'500});
    CHECK(m.port.interrupts == Interrupts{{0x43, false}, {0x42, false}, {0x41, false}, {0x40, false}});
}

TEST_CASE("a timer message says when it was due and when it came") {
    TimerMachine m;
    m.arm(3, with_message, 1000);
    m.run_until(1_ms);
    const auto header = m.load<HvMessageHeader>(TimerMachine::slot(2));
    CHECK(header.message_type == 0x8000'0010);
    CHECK(header.payload_size == 24);
    CHECK(header.flags == 0);
    CHECK(header.origin == 0);
    const auto payload = m.payload();
    CHECK(payload.timer_index == 3);
    CHECK(payload.reserved == 0);
    CHECK(payload.expiration_time == 1000);
    CHECK(payload.delivery_time == 1000);
    CHECK(m.port.interrupts == Interrupts{{0xf3, false}});
    CHECK(m.config(3) == with_message);
}

TEST_CASE("a timer whose slot is full tells its expiration when the slot is free") {
    TimerMachine m;
    HvMessage posted{};
    posted.header.message_type = 1;
    REQUIRE(m.processor.post_message(2, posted) == HvStatus::success);
    m.arm(0, with_message, 1000);
    m.run_until(300_us);
    CHECK(m.type() == 1);
    CHECK(m.load<HvMessageHeader>(TimerMachine::slot(2)).flags == message_flag_pending);
    CHECK(m.port.interrupts.size() == 1);
    m.consume();
    CHECK(m.type() == 0x8000'0010);
    CHECK(m.payload().expiration_time == 1000);
    CHECK(m.payload().delivery_time == 2999);
    CHECK(m.port.interrupts.size() == 2);
    m.consume();
    m.write(msr::eom, 0);
    CHECK(m.type() == 0);
}

TEST_CASE("messages of others go before a late timer's") {
    TimerMachine m;
    HvMessage posted{};
    posted.header.message_type = 1;
    REQUIRE(m.processor.post_message(2, posted) == HvStatus::success);
    posted.header.message_type = 2;
    REQUIRE(m.processor.post_message(2, posted) == HvStatus::success);
    m.arm(0, with_message, 100);
    m.run_until(50_us);
    m.consume();
    CHECK(m.type() == 2);
    CHECK(m.load<HvMessageHeader>(TimerMachine::slot(2)).flags == message_flag_pending);
    m.consume();
    CHECK(m.type() == 0x8000'0010);
}

TEST_CASE("a message that waits is dropped with its timer") {
    TimerMachine m;
    HvMessage posted{};
    posted.header.message_type = 1;
    REQUIRE(m.processor.post_message(2, posted) == HvStatus::success);
    m.arm(0, with_message, 100);
    m.run_until(50_us);
    m.write(msr::stimer0_config, 0);
    m.consume();
    CHECK(m.type() == 0);
}

TEST_CASE("a periodic timer that nobody listens to keeps one message, not many") {
    TimerMachine m;
    m.arm(0, with_message | periodic, 1000);
    m.run_until(1_ms + 1_us);
    CHECK(m.port.interrupts.size() == 1);
    CHECK(m.payload().expiration_time == 1000);
    m.consume();
    CHECK(m.type() == 0x8000'0010);
    CHECK(m.payload().expiration_time == 10'000);
    CHECK(m.port.interrupts.size() == 2);
}

}  // namespace synthetic_timers_test
