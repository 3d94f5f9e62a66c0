// The 8254: outputs at exact times, counts as they are read, gates.
#include "models/legacy/pit_8254.h"

#include <doctest/doctest.h>

#include "tests/models/recorders.h"

namespace legacy_pit_test {

using models::Pit8254;
using sim::Time;

namespace {

struct TimedLine final : models::InterruptLine {
    explicit TimedLine(sim::Agenda& a) : agenda(a) {}
    void set(bool level) override {
        if (level != asserted) changes.emplace_back(sim::time_to_cycles(agenda.now(), Pit8254::clock_hz), level);
        asserted = level;
    }
    sim::Agenda& agenda;
    bool asserted = true;
    std::vector<std::pair<std::uint64_t, bool>> changes;  // at which tick
};

struct PitRig {
    sim::Simulation simulation;
    TimedLine line{simulation.agenda()};
    Pit8254 pit{simulation.scope("pit"), line};

    void out(std::uint16_t port, std::uint8_t value) { pit.write_port(port, 1, value); }
    unsigned in(std::uint16_t port) { return pit.read_port(port, 1); }
    void program(unsigned counter, unsigned mode, std::uint16_t count, bool bcd = false) {
        out(0x43, static_cast<std::uint8_t>(counter << 6 | 0x30 | mode << 1 | (bcd ? 1 : 0)));
        out(static_cast<std::uint16_t>(0x40 + counter), static_cast<std::uint8_t>(count));
        out(static_cast<std::uint16_t>(0x40 + counter), static_cast<std::uint8_t>(count >> 8));
    }
    void run_to_tick(std::uint64_t tick) {
        simulation.agenda().run_until(sim::first_time_of_cycle(tick, Pit8254::clock_hz));
    }
    unsigned count(unsigned counter) {
        out(0x43, static_cast<std::uint8_t>(counter << 6));
        const unsigned low = in(static_cast<std::uint16_t>(0x40 + counter));
        return low | in(static_cast<std::uint16_t>(0x40 + counter)) << 8;
    }
    unsigned status(unsigned counter) {
        out(0x43, static_cast<std::uint8_t>(0xe0 | 2u << counter));
        return in(static_cast<std::uint16_t>(0x40 + counter));
    }
};

using Changes = std::vector<std::pair<std::uint64_t, bool>>;

}  // namespace

TEST_CASE("output of each mode, tick by tick") {
    struct Row {
        unsigned mode;
        std::uint16_t count;
        bool bcd;
        Changes changes;  // within 25 ticks
    };
    for (const Row& row : {
             Row{0, 10, false, {{0, false}, {11, true}}},
             Row{2, 10, false, {{10, false}, {11, true}, {20, false}, {21, true}}},
             Row{3, 10, false, {{6, false}, {11, true}, {16, false}, {21, true}}},
             Row{3, 11, false, {{7, false}, {12, true}, {18, false}, {23, true}}},
             Row{4, 10, false, {{11, false}, {12, true}}},
             Row{2, 0x10, true, {{10, false}, {11, true}, {20, false}, {21, true}}},
             Row{1, 10, false, {}},  // nobody triggers counter 0
             Row{6, 10, false, {{10, false}, {11, true}, {20, false}, {21, true}}},
         }) {
        CAPTURE(row.mode);
        PitRig rig;
        rig.line.changes.clear();
        rig.program(0, row.mode, row.count, row.bcd);
        rig.run_to_tick(25);
        CHECK(rig.line.changes == row.changes);
    }
}

TEST_CASE("the count 0 is the largest; a count of 1 in modes 2 and 3 is 2") {
    PitRig rig;
    rig.program(0, 2, 0);
    rig.run_to_tick(0x10002);
    CHECK(rig.line.changes == Changes{{0x10000, false}, {0x10001, true}});
    PitRig bcd;
    bcd.program(0, 2, 0, true);
    bcd.run_to_tick(10002);
    CHECK(bcd.line.changes == Changes{{10000, false}, {10001, true}});
    PitRig one;
    one.program(0, 2, 1);
    one.run_to_tick(5);
    CHECK(one.line.changes == Changes{{2, false}, {3, true}, {4, false}, {5, true}});
}

TEST_CASE("counts as they are read: latched, by halves, BCD") {
    PitRig rig;
    rig.program(0, 2, 1000);
    rig.run_to_tick(1);
    CHECK(rig.count(0) == 1000);
    rig.run_to_tick(11);
    CHECK(rig.count(0) == 990);
    rig.out(0x43, 0x00);
    rig.run_to_tick(500);
    rig.out(0x43, 0x00);  // a second latch does not count
    CHECK((rig.in(0x40) | rig.in(0x40) << 8) == 990);
    CHECK((rig.in(0x40) | rig.in(0x40) << 8) == 501);
    rig.run_to_tick(1001);
    CHECK(rig.count(0) == 1000);
    PitRig bcd;
    bcd.program(0, 0, 0x0100, true);
    bcd.run_to_tick(2);
    CHECK(bcd.count(0) == 0x0099);
    bcd.run_to_tick(102);
    CHECK(bcd.count(0) == 0x9999);  // on past 0
    PitRig square;
    square.program(0, 3, 10);
    square.run_to_tick(3);
    CHECK(square.count(0) == 6);
    square.run_to_tick(7);
    CHECK(square.count(0) == 8);
    PitRig halves;
    halves.out(0x43, 0x10);
    halves.out(0x40, 0x34);
    halves.run_to_tick(1);
    CHECK(halves.in(0x40) == 0x34);
    halves.out(0x43, 0x24);
    halves.out(0x40, 0x12);
    halves.run_to_tick(2);
    CHECK(halves.in(0x40) == 0x12);
    CHECK(halves.in(0x43) == 0xff);
}

TEST_CASE("read-back: output, whether a count is there, mode") {
    PitRig rig;
    rig.out(0x43, 0x34);
    CHECK(rig.status(0) == 0xf4);
    rig.program(0, 2, 10);
    CHECK(rig.status(0) == 0xb4);
    rig.run_to_tick(10);
    CHECK(rig.status(0) == 0x34);  // its one low tick
    rig.out(0x43, 0xc2);           // state and count of counter 0
    CHECK(rig.in(0x40) == 0x34);
    CHECK((rig.in(0x40) | rig.in(0x40) << 8) == 1);
}

TEST_CASE("counter 2: the speaker's gate, its output in port 0x61, the refresh bit") {
    PitRig rig;
    rig.program(2, 0, 100);
    CHECK(rig.in(0x61) == 0);
    rig.run_to_tick(1000);
    CHECK((rig.in(0x61) & 0x20) == 0);  // the gate is closed
    rig.out(0x61, 0x01);
    rig.run_to_tick(1050);
    CHECK(rig.count(2) == 50);
    rig.out(0x61, 0x00);
    rig.run_to_tick(2000);
    CHECK(rig.count(2) == 50);
    rig.out(0x61, 0x01);
    rig.run_to_tick(2049);
    CHECK((rig.in(0x61) & 0x20) == 0);
    rig.run_to_tick(2050);
    CHECK((rig.in(0x61) & 0x2f) == 0x21);
    // One shot: the opening gate is the trigger, each time.
    rig.out(0x61, 0);
    rig.program(2, 1, 10);
    CHECK((rig.in(0x61) & 0x20) == 0x20);
    rig.out(0x61, 1);
    CHECK((rig.in(0x61) & 0x20) == 0);
    rig.run_to_tick(2060);
    CHECK((rig.in(0x61) & 0x20) == 0);
    rig.run_to_tick(2061);
    CHECK((rig.in(0x61) & 0x20) == 0x20);
    rig.out(0x61, 0x0c);
    rig.out(0x61, 0xfd);
    CHECK((rig.in(0x61) & 0x2f) == 0x0d);
    rig.run_to_tick(18 * 200);
    CHECK((rig.in(0x61) & 0x10) == 0);
    rig.run_to_tick(18 * 201);
    CHECK((rig.in(0x61) & 0x10) == 0x10);
}

TEST_CASE("saved and restored, the next edge comes at its time") {
    PitRig first;
    first.program(0, 2, 1000);
    first.run_to_tick(1500);
    sim::Writer writer;
    writer(first.simulation.agenda(), first.pit);
    PitRig second;
    sim::Reader reader{writer.data()};
    reader(second.simulation.agenda(), second.pit);
    second.line.changes.clear();
    second.run_to_tick(2500);
    CHECK(second.line.changes == Changes{{2000, false}, {2001, true}});
}

}  // namespace legacy_pit_test
