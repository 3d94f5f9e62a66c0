// The local APIC: priority, end of interrupt, timer times to the picosecond, modes, destinations.
#include "cpu/local_apic.h"

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "sim/simulation.h"

namespace local_apic_test {

using namespace cpu;
using namespace sim::literals;
using apic::DeliveryMode;
using apic::Reg;

namespace {

constexpr std::uint64_t timer_hz = 200'000'000;
constexpr std::uint64_t tsc_hz = 2'500'000'000;

struct Output final : ApicOutput {
    std::vector<ApicMessage> sent;
    std::vector<int> ended;  // level-triggered ones
    std::vector<int> ended_edges;
    int pending = 0;
    void send(const ApicMessage& message) override { sent.push_back(message); }
    void end_of_interrupt(std::uint8_t vector, bool level_triggered) override {
        (level_triggered ? ended : ended_edges).push_back(vector);
    }
    void raise_nmi() override {}
    void interrupt_pending() override { ++pending; }
};

struct Bench {
    sim::Simulation simulation{1};
    Output output;
    LocalApic apic;
    explicit Bench(std::uint32_t id = 0) : apic(simulation.scope("apic"), output, id, timer_hz, tsc_hz) {
        apic.write_page(0x0f0, 4, 0x1ff);
    }
    void write(Reg reg, std::uint32_t value) { apic.write_page(static_cast<std::uint32_t>(reg), 4, value); }
    std::uint32_t read(Reg reg) { return apic.read_page(static_cast<std::uint32_t>(reg), 4); }
    void to_x2apic() { REQUIRE(apic.write_base(apic.base() | apic::base::x2apic)); }
    static std::uint32_t msr(Reg reg) { return 0x800 + static_cast<std::uint32_t>(reg) / 16; }
    int take() {
        const auto vector = apic.deliverable();
        if (!vector) return -1;
        apic.acknowledge(*vector);
        return *vector;
    }
    // Runs until the next interrupt is pending and returns its time in picoseconds.
    std::int64_t next_interrupt() {
        while (!apic.deliverable()) {
            if (!simulation.agenda().run_next()) return -1;
        }
        (void)take();
        apic.end_of_interrupt();
        return simulation.agenda().now().ps();
    }
};

}  // namespace

TEST_CASE("reset values of the xAPIC page") {
    Bench b{3};
    b.apic.reset();
    struct Row {
        Reg reg;
        std::uint32_t value;
    };
    for (const Row& row :
         {Row{Reg::id, 0x0300'0000}, Row{Reg::version, 0x0005'0014}, Row{Reg::tpr, 0}, Row{Reg::ppr, 0},
          Row{Reg::ldr, 0}, Row{Reg::dfr, 0xffff'ffff}, Row{Reg::svr, 0xff}, Row{Reg::esr, 0}, Row{Reg::icr_low, 0},
          Row{Reg::lvt_timer, 0x1'0000}, Row{Reg::lvt_lint0, 0x1'0000}, Row{Reg::lvt_error, 0x1'0000},
          Row{Reg::timer_initial, 0}, Row{Reg::timer_current, 0}, Row{Reg::timer_divide, 0}}) {
        CAPTURE(static_cast<unsigned>(row.reg));
        CHECK(b.read(row.reg) == row.value);
    }
    CHECK(b.apic.base() == 0xfee0'0800);
    CHECK(Bench{0}.apic.base() == 0xfee0'0900);
    CHECK(b.apic.read_page(0x020, 8) == 0);
    CHECK(b.apic.read_page(0x024, 4) == 0);
}

TEST_CASE("priority: the highest class above the processor's goes first") {
    Bench b;
    b.apic.accept(0x31, false);
    b.apic.accept(0x55, false);
    b.apic.accept(0x52, false);
    CHECK(b.take() == 0x55);
    CHECK(b.read(Reg::ppr) == 0x50);
    CHECK(b.take() == -1);  // 0x52 is of the class in service
    b.apic.accept(0x61, false);
    CHECK(b.take() == 0x61);
    b.apic.end_of_interrupt();
    CHECK(b.read(Reg::ppr) == 0x50);
    CHECK(b.take() == -1);
    b.write(Reg::eoi, 0);
    CHECK(b.take() == 0x52);
    b.write(Reg::eoi, 0);
    b.write(Reg::tpr, 0x3f);
    CHECK(b.read(Reg::ppr) == 0x3f);
    CHECK(b.take() == -1);
    const int before = b.output.pending;
    b.apic.set_tpr(0x20);
    CHECK(b.output.pending == before + 1);
    CHECK(b.take() == 0x31);
    CHECK(b.read(Reg::ppr) == 0x30);
    b.apic.end_of_interrupt();
    b.apic.end_of_interrupt();  // one too many does nothing
    CHECK(b.read(Reg::ppr) == 0x20);
}

TEST_CASE("IRR, ISR and TMR stand where the specification puts them") {
    Bench b;
    b.apic.accept(0x21, false);
    b.apic.accept(0xe0, true);
    CHECK(b.apic.read_page(0x210, 4) == 2);
    CHECK(b.apic.read_page(0x270, 4) == 1);
    CHECK(b.apic.read_page(0x1f0, 4) == 1);
    CHECK(b.take() == 0xe0);
    CHECK(b.apic.read_page(0x270, 4) == 0);
    CHECK(b.apic.read_page(0x170, 4) == 1);
    b.apic.end_of_interrupt();
    CHECK(b.output.ended == std::vector<int>{0xe0});
    CHECK(b.take() == 0x21);
    b.apic.end_of_interrupt();
    CHECK(b.output.ended == std::vector<int>{0xe0});  // edge-triggered: no broadcast
}

TEST_CASE("an auto-EOI vector never comes into service") {
    Bench b;
    b.apic.accept(0x80, false, true);
    CHECK(b.take() == 0x80);
    CHECK_FALSE(b.apic.in_service(0x80));
    CHECK(b.read(Reg::ppr) == 0);
    b.apic.accept(0x80, false);
    CHECK(b.take() == 0x80);
    CHECK(b.apic.in_service(0x80));
}

TEST_CASE("a software-disabled APIC takes nothing and masks its vectors") {
    Bench b;
    b.write(Reg::lvt_timer, 0x40);
    b.write(Reg::svr, 0xff);
    CHECK(b.read(Reg::lvt_timer) == 0x1'0040);
    b.write(Reg::lvt_timer, 0x41);
    CHECK(b.read(Reg::lvt_timer) == 0x1'0041);
    b.apic.accept(0x50, false);
    CHECK_FALSE(b.apic.requested(0x50));
}

TEST_CASE("timer: exact times") {
    // 200 MHz: a tick is 5 ns before the divider.
    struct Row {
        std::uint32_t divide;
        std::uint32_t count;
        std::int64_t ps;
    };
    for (const Row& row :
         {Row{0b1011, 1, 5'000}, Row{0b0000, 1, 10'000}, Row{0b0001, 1, 20'000}, Row{0b0010, 1, 40'000},
          Row{0b0011, 1, 80'000}, Row{0b1000, 1, 160'000}, Row{0b1001, 1, 320'000}, Row{0b1010, 1, 640'000},
          Row{0b1011, 0xffff'ffff, 21'474'836'475'000}, Row{0b1010, 1000, 640'000'000}}) {
        CAPTURE(row.divide);
        Bench b;
        b.write(Reg::timer_divide, row.divide);
        b.write(Reg::lvt_timer, 0x40);
        b.write(Reg::timer_initial, row.count);
        CHECK(b.read(Reg::timer_current) == row.count);
        CHECK(b.next_interrupt() == row.ps);
        CHECK(b.read(Reg::timer_current) == 0);
        CHECK(b.next_interrupt() == -1);  // one-shot
    }
}

TEST_CASE("timer: periodic without drift, current count, mask, change of divider") {
    Bench b;
    b.write(Reg::timer_divide, 0b1011);
    SUBCASE("periods") {
        b.write(Reg::lvt_timer, 0x2'0040);
        b.write(Reg::timer_initial, 3);
        for (std::int64_t i = 1; i <= 5; ++i) CHECK(b.next_interrupt() == i * 15'000);
        b.simulation.agenda().set_local_time(82_ns);
        CHECK(b.read(Reg::timer_current) == 2);  // 1.4 ticks into its period
        b.write(Reg::timer_initial, 0);
        CHECK(b.next_interrupt() == -1);
    }
    SUBCASE("a clock whose period is no whole number of picoseconds keeps its phase") {
        LocalApic odd(b.simulation.scope("odd"), b.output, 1, 3'000'000'000, tsc_hz);
        odd.write_page(0x0f0, 4, 0x1ff);
        odd.write_page(0x3e0, 4, 0b1011);
        odd.write_page(0x320, 4, 0x2'0040);
        odd.write_page(0x380, 4, 1);
        std::vector<std::int64_t> times;
        for (int i = 0; i < 6; ++i) {
            REQUIRE(b.simulation.agenda().run_next());
            times.push_back(b.simulation.agenda().now().ps());
            odd.acknowledge(0x40);
            odd.end_of_interrupt();
        }
        CHECK(times == std::vector<std::int64_t>{334, 667, 1000, 1334, 1667, 2000});
    }
    SUBCASE("a period that ends unseen is no event") {
        sim::Agenda& agenda = b.simulation.agenda();
        b.write(Reg::lvt_timer, 0x3'0040);
        b.write(Reg::timer_initial, 1);
        CHECK(agenda.next_event().is_never());  // masked
        agenda.set_local_time(12_ns);
        b.write(Reg::lvt_timer, 0x2'0040);
        CHECK(agenda.next_event() == 15_ns);
        REQUIRE(agenda.run_next());
        CHECK(agenda.next_event().is_never());  // requested already
        agenda.set_local_time(1'000'003_ns);
        CHECK(b.read(Reg::timer_current) == 1);
        CHECK(b.take() == 0x40);
        CHECK(agenda.next_event() == 1'000'005_ns);
        REQUIRE(agenda.run_next());
        CHECK(agenda.next_event().is_never());
        b.write(Reg::lvt_timer, 0x2'0041);  // which nobody has requested yet
        CHECK(agenda.next_event() == 1'000'010_ns);
        b.write(Reg::lvt_timer, 0x2'0001);  // reports an error, once
        REQUIRE(agenda.run_next());
        CHECK(agenda.next_event().is_never());
        agenda.set_local_time(1'000'014_ns);
        b.write(Reg::esr, 0);
        CHECK(b.read(Reg::esr) == apic::esr::receive_illegal_vector);
        CHECK(agenda.next_event() == 1'000'015_ns);
        b.write(Reg::svr, 0xff);  // masks everything
        CHECK(agenda.next_event().is_never());
    }
    SUBCASE("masked: counts but does not interrupt") {
        b.write(Reg::lvt_timer, 0x1'0040);
        b.write(Reg::timer_initial, 10);
        CHECK(b.next_interrupt() == -1);
        CHECK(b.simulation.agenda().now() == 50_ns);
    }
    SUBCASE("a new divider takes over the count") {
        b.write(Reg::lvt_timer, 0x40);
        b.write(Reg::timer_initial, 10);
        b.simulation.agenda().set_local_time(20_ns);
        CHECK(b.read(Reg::timer_current) == 6);
        b.write(Reg::timer_divide, 0b0000);
        CHECK(b.read(Reg::timer_current) == 6);
        CHECK(b.next_interrupt() == 80'000);
    }
    SUBCASE("from periodic to one-shot the count goes on, and ends") {
        b.write(Reg::lvt_timer, 0x2'0040);
        b.write(Reg::timer_initial, 4);
        CHECK(b.next_interrupt() == 20'000);
        b.write(Reg::lvt_timer, 0x40);
        CHECK(b.next_interrupt() == 40'000);
        CHECK(b.next_interrupt() == -1);
    }
}

TEST_CASE("timer: TSC deadline") {
    Bench b;
    b.write(Reg::lvt_timer, 0x4'0040);
    b.write(Reg::timer_initial, 100);  // ignored in this mode
    CHECK(b.next_interrupt() == -1);
    b.apic.write_deadline(1000, 500);  // 500 cycles of 400 ps
    CHECK(b.apic.deadline() == 1000);
    b.write(Reg::timer_divide, 0b1011);  // means nothing here
    CHECK(b.read(Reg::timer_current) == 0);
    CHECK(b.next_interrupt() == 200'000);
    CHECK(b.apic.deadline() == 0);
    SUBCASE("zero disarms") {
        b.apic.write_deadline(5000, 500);
        b.apic.write_deadline(0, 600);
        CHECK(b.next_interrupt() == -1);
    }
    SUBCASE("at the clock's own tick, also from the middle of one") {
        b.simulation.agenda().set_local_time(sim::Time::ps(200'100));
        b.apic.write_deadline(1'000'003, 1'000'000);
        CHECK(b.next_interrupt() == 201'200);
    }
    SUBCASE("beyond the end of time") {
        b.apic.write_deadline(~0ull, 5);
        CHECK(b.next_interrupt() == -1);
        CHECK(b.apic.deadline() == ~0ull);
    }
    SUBCASE("the past means now") {
        b.apic.write_deadline(400, 500);
        CHECK(b.next_interrupt() == 200'000);
    }
    SUBCASE("leaving the mode disarms") {
        b.apic.write_deadline(5000, 500);
        b.write(Reg::lvt_timer, 0x40);
        CHECK(b.next_interrupt() == -1);
        CHECK(b.apic.deadline() == 0);
        b.apic.write_deadline(5000, 500);
        CHECK(b.apic.deadline() == 0);
    }
}

TEST_CASE("the base register: transitions of figure 11-28") {
    enum : std::uint64_t { off = 0xfee0'0000, x = 0xfee0'0800, x2 = 0xfee0'0c00, bad = 0xfee0'0400 };
    struct Row {
        std::uint64_t from, to;
        bool allowed;
    };
    for (const Row& row : {Row{off, off, true}, Row{off, x, true}, Row{off, x2, false}, Row{off, bad, false},
                           Row{x, off, true}, Row{x, x, true}, Row{x, x2, true}, Row{x, bad, false}, Row{x2, off, true},
                           Row{x2, x, false}, Row{x2, x2, true}, Row{x2, bad, false}}) {
        CAPTURE(row.from);
        CAPTURE(row.to);
        Bench b{1};
        if (row.from == off) REQUIRE(b.apic.write_base(off));
        if (row.from == x2) REQUIRE(b.apic.write_base(x2));
        CHECK(b.apic.write_base(row.to) == row.allowed);
        CHECK(b.apic.base() == (row.allowed ? row.to : row.from));
    }
    Bench b;
    CHECK_FALSE(b.apic.write_base(apic::base::enable | 1));
    CHECK_FALSE(b.apic.write_base(apic::base::enable | 1ull << 60));
}

TEST_CASE("x2APIC: which MSRs exist, and their reserved bits") {
    Bench b{0x25};
    CHECK_FALSE(b.apic.read_msr(0x802).has_value());  // #GP in xAPIC mode
    CHECK_FALSE(b.apic.write_msr(0x80b, 0));
    b.to_x2apic();
    CHECK(b.read(Reg::id) == 0);  // the page is gone
    CHECK(b.apic.read_msr(0x802) == 0x25);
    CHECK(b.apic.read_msr(0x80d) == 0x2'0020);
    CHECK(b.apic.read_msr(0x803) == 0x5'0014);
    struct Row {
        Reg reg;
        std::uint64_t value;
        bool allowed;
    };
    for (const Row& row : {Row{Reg::tpr, 0xff, true},
                           Row{Reg::tpr, 0x100, false},
                           Row{Reg::eoi, 0, true},
                           Row{Reg::eoi, 1, false},
                           Row{Reg::esr, 0, true},
                           Row{Reg::esr, 1, false},
                           Row{Reg::svr, 0x1ff, true},
                           Row{Reg::svr, 0x400, false},
                           Row{Reg::id, 0x25, false},
                           Row{Reg::ldr, 0, false},
                           Row{Reg::dfr, 0, false},
                           Row{Reg::icr_high, 0, false},
                           Row{Reg::lvt_timer, 0x4'00ff, true},
                           Row{Reg::lvt_timer, 0x100, false},
                           Row{Reg::lvt_lint0, 0x1'a7ff, true},
                           Row{Reg::lvt_timer, 0x1000, true},
                           Row{Reg::lvt_timer, 0x4000, false},
                           Row{Reg::lvt_lint0, 0x5700, true},
                           Row{Reg::lvt_lint0, 0x0800, false},
                           Row{Reg::timer_initial, 0xffff'ffff, true},
                           Row{Reg::timer_initial, 1ull << 32, false},
                           Row{Reg::timer_current, 0, false},
                           Row{Reg::timer_divide, 0xb, true},
                           Row{Reg::timer_divide, 0x4, false},
                           Row{Reg::self_ipi, 0x100, false},
                           Row{Reg::icr_low, 0x1000, false},
                           Row{Reg::icr_low, 0x3'0000, false},
                           Row{Reg::version, 0, false},
                           Row{Reg::irr, 0, false}}) {
        CAPTURE(static_cast<unsigned>(row.reg));
        CAPTURE(row.value);
        CHECK(b.apic.write_msr(Bench::msr(row.reg), row.value) == row.allowed);
    }
    CHECK(b.apic.read_msr(Bench::msr(Reg::lvt_lint0)) == 0x700);
    for (const Reg reg : {Reg::eoi, Reg::self_ipi, Reg::dfr, Reg::icr_high, Reg::apr, Reg::rrd, Reg::lvt_cmci}) {
        CAPTURE(static_cast<unsigned>(reg));
        CHECK_FALSE(b.apic.read_msr(Bench::msr(reg)).has_value());
    }
    CHECK_FALSE(b.apic.read_msr(0x8ff).has_value());
    REQUIRE(b.apic.write_msr(Bench::msr(Reg::svr), 0x1ff));
    b.apic.set_tpr(0);
    REQUIRE(b.apic.write_msr(Bench::msr(Reg::self_ipi), 0x77));
    CHECK(b.take() == 0x77);
}

TEST_CASE("interprocessor interrupts leave as messages") {
    Bench b;
    b.write(Reg::icr_high, 0x0500'0000);
    b.write(Reg::icr_low, 0x0000'40f3);
    REQUIRE(b.output.sent.size() == 1);
    CHECK(b.output.sent[0] ==
          ApicMessage{DeliveryMode::fixed, 0xf3, false, false, true, 5, ApicMessage::Shorthand::none});
    CHECK(b.read(Reg::icr_low) == 0x40f3);
    b.write(Reg::icr_low, 0x000c'c500);  // INIT to all but self, level assert
    CHECK(b.output.sent[1] ==
          ApicMessage{DeliveryMode::init, 0, false, true, true, 5, ApicMessage::Shorthand::all_but_self});
    b.write(Reg::icr_low, 0x0000'8500);  // level de-assert: nothing
    CHECK(b.output.sent.size() == 2);
    b.write(Reg::icr_low, 0x0000'069a);
    CHECK(b.output.sent[2].mode == DeliveryMode::startup);
    CHECK(b.output.sent[2].vector == 0x9a);
    b.write(Reg::icr_low, 0x0000'0400);
    CHECK(b.output.sent[3].mode == DeliveryMode::nmi);
    b.write(Reg::icr_low, 0x0004'4044);  // self
    CHECK(b.output.sent.size() == 4);
    CHECK(b.take() == 0x44);
    b.to_x2apic();
    CHECK(b.apic.write_msr(0x830, 0x0000'0123'0000'0845));
    REQUIRE(b.output.sent.size() == 5);
    CHECK(b.output.sent[4].destination == 0x123);
    CHECK(b.output.sent[4].logical);
}

TEST_CASE("errors: collected, latched by a write, reported once through the error vector") {
    Bench b;
    b.write(Reg::lvt_error, 0xfe);
    b.write(Reg::icr_low, 0x0f);
    CHECK(b.output.sent.empty());
    CHECK(b.read(Reg::esr) == 0);
    CHECK(b.take() == 0xfe);
    b.apic.end_of_interrupt();
    b.write(Reg::icr_low, 0x0e);
    CHECK(b.take() == -1);
    b.apic.accept(3, false);
    CHECK(b.take() == 0xfe);
    b.write(Reg::esr, 0);
    CHECK(b.read(Reg::esr) == 0x60);
    b.write(Reg::esr, 0);
    CHECK(b.read(Reg::esr) == 0);
}

TEST_CASE("destinations") {
    struct Row {
        const char* why;
        bool x2;
        std::uint32_t id;
        std::uint32_t ldr;
        std::uint32_t dfr;
        std::uint32_t destination;
        bool logical;
        bool match;
    };
    for (const Row& row : {
             Row{"own id", false, 5, 0, ~0u, 5, false, true},
             Row{"another id", false, 5, 0, ~0u, 4, false, false},
             Row{"broadcast", false, 5, 0, ~0u, 0xff, false, true},
             Row{"a long id is no xAPIC's", false, 5, 0, ~0u, 0x105, false, false},
             Row{"flat", false, 5, 0x20, ~0u, 0x30, true, true},
             Row{"flat, not named", false, 5, 0x20, ~0u, 0x1f, true, false},
             Row{"flat, long destination", false, 5, 0x20, ~0u, 0x1'0020, true, false},
             Row{"cluster", false, 5, 0x24, 0, 0x26, true, true},
             Row{"another cluster", false, 5, 0x24, 0, 0x36, true, false},
             Row{"not named in the cluster", false, 5, 0x24, 0, 0x2b, true, false},
             Row{"cluster broadcast", false, 5, 0x24, 0, 0xff, true, true},
             Row{"x2APIC own id", true, 0x125, 0, 0, 0x125, false, true},
             Row{"x2APIC short form of another", true, 0x125, 0, 0, 0x25, false, false},
             Row{"x2APIC broadcast", true, 0x125, 0, 0, 0xffff'ffff, false, true},
             Row{"x2APIC cluster", true, 0x125, 0, 0, 0x0012'0020, true, true},
             Row{"x2APIC cluster with others", true, 0x125, 0, 0, 0x0012'ffff, true, true},
             Row{"x2APIC not named", true, 0x125, 0, 0, 0x0012'0010, true, false},
             Row{"x2APIC another cluster", true, 0x125, 0, 0, 0x0011'0020, true, false},
             Row{"x2APIC logical broadcast", true, 0x125, 0, 0, 0xffff'ffff, true, true},
         }) {
        const std::string why = row.why;
        CAPTURE(why);
        Bench b{row.id};
        b.write(Reg::ldr, row.ldr << 24);
        b.write(Reg::dfr, row.dfr);
        if (row.x2) b.to_x2apic();
        CHECK(b.apic.matches(row.destination, row.logical) == row.match);
    }
}

TEST_CASE("INIT keeps identity and base; state survives an archive") {
    Bench b{2};
    b.to_x2apic();
    b.apic.accept(0x40, true);
    REQUIRE(b.apic.write_msr(0x832, 0x2'0055));
    REQUIRE(b.apic.write_msr(0x838, 77));
    const auto bytes = sim::save_to_bytes(b.apic);
    Bench other{2};
    sim::restore_from_bytes(other.apic, bytes);
    CHECK(other.apic.requested(0x40));
    CHECK(other.apic.read_msr(0x839) == 77);
    CHECK(other.next_interrupt() == 0);            // the one that was pending
    CHECK(other.next_interrupt() == 77 * 10'000);  // 200 MHz by two
    CHECK(sim::save_to_bytes(b.apic) == bytes);
    b.apic.init();
    CHECK(b.apic.mode() == ApicMode::x2apic);
    CHECK(b.apic.id() == 2);
    CHECK_FALSE(b.apic.requested(0x40));
    CHECK(b.next_interrupt() == -1);
}

TEST_CASE("random register traffic never trips a check") {
    Bench b{1};
    std::uint64_t seed = 7;
    const auto draw = [&seed] {
        seed = seed * 6'364'136'223'846'793'005ull + 1'442'695'040'888'963'407ull;
        return seed >> 24;
    };
    for (int i = 0; i < 200'000; ++i) {
        const std::uint64_t value = (draw() << 24 | draw()) >> (draw() % 64);
        switch (draw() % 8) {
            case 0:
                b.apic.write_page(static_cast<std::uint32_t>(draw()), 1u << draw() % 4,
                                  static_cast<std::uint32_t>(value));
                break;
            case 1:
                b.apic.write_page(static_cast<std::uint32_t>(draw() % 0x40) << 4, 4, static_cast<std::uint32_t>(value));
                break;
            case 2:
                b.apic.write_icr(value);
                (void)b.apic.write_msr(0x800 + draw() % 0x100, value);
                break;
            case 3:
                (void)b.apic.read_msr(0x800 + draw() % 0x100);
                (void)b.apic.read_page(static_cast<std::uint32_t>(draw() % 0x1000), 4);
                break;
            case 4:
                (void)b.apic.write_base(0xfee0'0000 | (draw() % 8 == 0 ? value & 0x4ff : 0x800 + (draw() & 0x400)));
                b.write(Reg::svr, 0x1ff);
                (void)b.apic.write_msr(0x80f, 0x1ff);
                break;
            case 5:
                b.apic.accept(static_cast<std::uint8_t>(value), (value & 0x100) != 0, (value & 0x200) != 0);
                break;
            case 6:
                if (b.take() < 0) b.apic.end_of_interrupt();
                break;
            default:
                b.apic.write_deadline(value, draw());
                if (b.simulation.agenda().next_deadline() < sim::Time::s(1000)) (void)b.simulation.agenda().run_next();
        }
    }
    CHECK(b.output.sent.size() > 1000);
}

}  // namespace local_apic_test
