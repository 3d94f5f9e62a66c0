// The real-time clock: calendar in all formats, setting, alarm, periodic and update interrupts at exact times.
#include "models/rtc_cmos.h"

#include <doctest/doctest.h>

#include "models/calendar.h"
#include "tests/models/recorders.h"

namespace rtc_cmos_test {

using models::RtcCmos;
using namespace sim::literals;

namespace {
constexpr std::int64_t new_year_2026 = 1'767'225'600;
struct Rig {
    explicit Rig(std::int64_t epoch_s = new_year_2026) : rtc(simulation.scope("rtc"), line, epoch_s) {}
    sim::Simulation simulation;
    RecordedLine line;
    RtcCmos rtc;

    unsigned in(unsigned index) {
        rtc.write_port(0x70, 1, index);
        return rtc.read_port(0x71, 1);
    }
    void out(unsigned index, unsigned value) {
        rtc.write_port(0x70, 1, index);
        rtc.write_port(0x71, 1, value);
    }
    void run_to(sim::Time t) { simulation.agenda().run_until(t); }
    std::vector<unsigned> calendar() {
        std::vector<unsigned> v;
        for (const unsigned i : {0x32u, 9u, 8u, 7u, 6u, 4u, 2u, 0u}) v.push_back(in(i));
        return v;
    }
};
}  // namespace

TEST_CASE("calendar: every day for 400 years from and to seconds") {
    for (std::int64_t day = -1000; day < 146'097; ++day) {
        const auto t = models::calendar_of_seconds(day * 86400 + 3661);
        REQUIRE(models::days_from_civil(t.year, t.month, t.day) == day);
        REQUIRE(t.hour * 3600 + t.minute * 60 + t.second == 3661);
    }
    CHECK(models::calendar_of_seconds(-1) == models::CalendarTime{1969, 12, 31, 23, 59, 59, 4});
    CHECK(models::calendar_of_seconds(4'107'542'400) == models::CalendarTime{2100, 3, 1, 0, 0, 0, 2});
    CHECK(models::days_from_civil(2025, 13, 1) == models::days_from_civil(2026, 1, 1));
}

TEST_CASE("reset values, and reads as a system makes them at boot") {
    Rig rig;
    CHECK(rig.in(0x0a) == 0x26);
    CHECK(rig.in(0x0b) == 0x02);
    CHECK(rig.in(0x0c) == 0x00);
    CHECK(rig.in(0x0d) == 0x80);
    CHECK(rig.in(0x8a) == 0x26);  // bit 7 of the index is the NMI mask
    CHECK(rig.rtc.read_port(0x70, 1) == 0xff);
    CHECK(rig.calendar() == std::vector<unsigned>{0x20, 0x26, 1, 1, 5, 0, 0, 0});
    rig.run_to(59_s);
    CHECK(rig.calendar() == std::vector<unsigned>{0x20, 0x26, 1, 1, 5, 0, 0, 0x59});
    rig.run_to(31_s * 86400 + 45'296_s);
    CHECK(rig.calendar() == std::vector<unsigned>{0x20, 0x26, 2, 1, 1, 0x12, 0x34, 0x56});
}

TEST_CASE("formats of register B") {
    struct Row {
        unsigned b;
        std::int64_t epoch_s;
        std::vector<unsigned> shown;
    };
    const std::int64_t evening = new_year_2026 + 23 * 3600 + 59 * 60 + 58;
    for (const Row& row : {
             Row{0x02, evening, {0x20, 0x26, 1, 1, 5, 0x23, 0x59, 0x58}},
             Row{0x06, evening, {20, 26, 1, 1, 5, 23, 59, 58}},
             Row{0x00, evening, {0x20, 0x26, 1, 1, 5, 0x91, 0x59, 0x58}},
             Row{0x04, evening, {20, 26, 1, 1, 5, 0x8b, 59, 58}},
             Row{0x00, new_year_2026, {0x20, 0x26, 1, 1, 5, 0x12, 0, 0}},
             Row{0x00, new_year_2026 + 12 * 3600, {0x20, 0x26, 1, 1, 5, 0x92, 0, 0}},
         }) {
        CAPTURE(row.b);
        Rig rig{row.epoch_s};
        rig.out(0x0b, row.b);
        CHECK(rig.calendar() == row.shown);
    }
}

TEST_CASE("setting the clock") {
    Rig rig;
    rig.run_to(500_ms);
    rig.out(0x0b, 0x82);  // SET
    for (const auto& [index, value] : std::vector<std::pair<unsigned, unsigned>>{
             {0x32, 0x19}, {9, 0x99}, {8, 0x12}, {7, 0x31}, {4, 0x23}, {2, 0x59}, {0, 0x58}}) {
        rig.out(index, value);
    }
    rig.run_to(10_s);
    CHECK(rig.in(0) == 0x58);  // stands while it is being set
    rig.out(0x0b, 0x02);
    CHECK(rig.rtc.now_s() == 946'684'798);
    rig.run_to(11_s);
    CHECK(rig.in(0) == 0x59);
    rig.run_to(12_s);
    CHECK(rig.calendar() == std::vector<unsigned>{0x20, 0, 1, 1, 7, 0, 0, 0});
    rig.out(2, 0x30);  // without SET a register changes at once
    CHECK(rig.calendar() == std::vector<unsigned>{0x20, 0, 1, 1, 7, 0, 0x30, 0});
    rig.out(7, 0xff);  // nonsense carries over and breaks nothing
    CHECK(rig.rtc.now_s() == 946'686'600 + 164 * 86400);
}

TEST_CASE("interrupts at exact times") {
    struct Row {
        const char* why;
        unsigned a, b;
        std::array<unsigned, 3> alarm;  // hours, minutes, seconds
        sim::Time first;
        unsigned c;
        sim::Time second;
    };
    for (const Row& row : {
             Row{"periodic 1024 Hz", 0x26, 0x42, {0, 0, 0x30}, 976'562'500_ps, 0xc0, 2 * 976'562'500_ps},
             Row{"periodic 2 Hz", 0x2f, 0x42, {0, 0, 0x30}, 500_ms, 0xc0, 1_s},
             Row{"periodic rate 1 is rate 8", 0x21, 0x42, {0, 0, 0x30}, 3'906'250_ns, 0xc0, 7'812'500_ns},
             Row{"update ended", 0x20, 0x12, {0, 0, 0x30}, 1_s, 0x90, 2_s},
             Row{"alarm at 00:01:30", 0x20, 0x22, {0, 1, 0x30}, 90_s, 0xb0, 86'490_s},
             Row{"alarm every minute", 0x20, 0x22, {0xff, 0xff, 0x15}, 15_s, 0xb0, 75_s},
             Row{"alarm every second", 0x20, 0x22, {0xc0, 0xc0, 0xc0}, 1_s, 0xb0, 2_s},
         }) {
        CAPTURE(row.why);
        Rig rig;
        rig.out(5, row.alarm[0]);
        rig.out(3, row.alarm[1]);
        rig.out(1, row.alarm[2]);
        rig.out(0x0a, row.a);
        rig.out(0x0b, row.b);
        rig.run_to(row.first - 1_ps);
        CHECK_FALSE(rig.line.asserted);
        rig.run_to(row.first);
        CHECK(rig.line.asserted);
        CHECK(rig.in(0x0c) == row.c);
        CHECK_FALSE(rig.line.asserted);
        CHECK(rig.in(0x0c) == 0);
        rig.run_to(row.second - 1_ps);
        CHECK_FALSE(rig.line.asserted);
        rig.run_to(row.second);
        CHECK(rig.line.asserted);
        CHECK(rig.line.edges == 2);
    }
}

TEST_CASE("flags rise also when nobody listens, without any event") {
    Rig rig;
    rig.run_to(3_s);
    CHECK(rig.in(0x0c) == 0x50);
    CHECK(rig.in(0x0c) == 0);
    CHECK(rig.simulation.agenda().events_fired() == 0);
    // An alarm that never matches takes no time to find out.
    rig.out(1, 0x7f);
    rig.out(0x0b, 0x22);
    rig.run_to(100'000_s);
    CHECK_FALSE(rig.line.asserted);
}

TEST_CASE("plain memory, unknown registers, restore and reset") {
    Rig rig;
    for (unsigned i = 0x0e; i < 0x80; ++i) {
        if (i != 0x32) rig.out(i, i ^ 0x55);
    }
    for (unsigned i = 0x0e; i < 0x80; ++i) {
        if (i != 0x32) CHECK(rig.in(i) == (i ^ 0x55));
    }
    rig.out(0x0a, 0xff);
    CHECK(rig.in(0x0a) == 0x7f);
    rig.out(0x0d, 0);
    CHECK(rig.in(0x0d) == 0x80);
    rig.out(0x0b, 0x12);
    rig.run_to(1'500_ms);
    Rig copy;
    copy.run_to(1'500_ms);
    sim::restore_from_bytes(copy.rtc, sim::save_to_bytes(rig.rtc));
    CHECK(copy.rtc.state() == rig.rtc.state());
    for (Rig* r : {&rig, &copy}) {
        CHECK(r->in(0x0c) == 0xd0);
        r->run_to(2_s);
        CHECK(r->in(0x0c) == 0xd0);
    }
    rig.rtc.reset();
    CHECK(rig.in(0x0b) == 0x02);
    CHECK(rig.in(0x20) == (0x20 ^ 0x55));
    rig.run_to(5_s);
    CHECK_FALSE(rig.line.asserted);
}

TEST_CASE("random accesses never break it") {
    Rig rig;
    std::uint64_t random = 7;
    for (int i = 0; i < 50'000; ++i) {
        random = random * 6364136223846793005ull + 1442695040888963407ull;
        const auto index = static_cast<unsigned>((random >> 33) & 15);
        if ((random >> 44 & 15) == 0) rig.run_to(rig.simulation.agenda().now() + 100_ms);
        if ((random >> 36 & 1) != 0) {
            rig.out((random >> 60) == 0 ? 0x32 : index, (random >> 50) & 0xff);
        } else {
            CHECK(rig.in(index) <= 0xff);
        }
    }
}

}  // namespace rtc_cmos_test
