// The serial port against the PC16550D data sheet, and the probes that Linux makes of it.
#include "models/uart_16550.h"

#include <doctest/doctest.h>

#include "tests/models/recorders.h"

namespace uart_16550_test {

using models::Uart16550;
using models::UartTiming;
using namespace sim::literals;

namespace {
enum : std::uint16_t { rbr, ier, iir, lcr, mcr, lsr, msr, scr };
struct Rig {
    explicit Rig(UartTiming timing = UartTiming::immediate)
        : uart(simulation.scope("uart"), 0x3f8, line, console, timing) {}
    sim::Simulation simulation;
    RecordedLine line;
    RecordedConsole console{simulation};
    Uart16550 uart;

    unsigned in(std::uint16_t r) { return uart.read_port(static_cast<std::uint16_t>(0x3f8 + r), 1); }
    void out(std::uint16_t r, unsigned v) { uart.write_port(static_cast<std::uint16_t>(0x3f8 + r), 1, v); }
    void type(const std::string& text) { uart.type({reinterpret_cast<const std::uint8_t*>(text.data()), text.size()}); }
    // 115200 baud, 8N1, FIFOs on with receive trigger 8, OUT2.
    void set_up() {
        out(lcr, 0x83);
        out(rbr, 1);
        out(ier, 0);
        out(lcr, 0x03);
        out(iir, 0x87);
        out(mcr, 0x0b);
    }
};
}  // namespace

TEST_CASE("registers: reset values and what a write of all ones leaves") {
    struct Row {
        std::uint16_t offset;
        unsigned reset, after;
    };
    for (const Row& row : {Row{ier, 0, 0x0f}, Row{iir, 0x01, 0xc1}, Row{lcr, 0, 0xff}, Row{mcr, 0, 0x1f},
                           Row{lsr, 0x60, 0x60}, Row{msr, 0xb0, 0xb0}, Row{scr, 0, 0xff}}) {
        CAPTURE(row.offset);
        Rig rig;
        CHECK(rig.in(row.offset) == row.reset);
        rig.out(row.offset, 0xff);
        CHECK(rig.in(row.offset) == row.after);
    }
    Rig rig;
    rig.out(lcr, 0x83);
    rig.out(rbr, 0x34);
    rig.out(ier, 0x12);
    CHECK(rig.in(rbr) == 0x34);
    CHECK(rig.in(ier) == 0x12);
    rig.out(lcr, 0x03);
    CHECK(rig.in(ier) == 0);
    CHECK(rig.uart.state().divisor == 0x1234);
}

TEST_CASE("immediate timing: bytes leave at once and each one empties the transmitter anew") {
    Rig rig;
    rig.set_up();
    CHECK(rig.line.edges == 0);
    rig.out(ier, 0x02);  // turning the interrupt on while empty raises it
    CHECK(rig.line.asserted);
    CHECK(rig.in(iir) == 0xc2);
    CHECK_FALSE(rig.line.asserted);
    CHECK(rig.in(iir) == 0xc1);
    rig.out(rbr, 'h');
    rig.out(rbr, 'i');
    CHECK(rig.console.text == "hi");
    CHECK(rig.in(lsr) == 0x60);
    CHECK(rig.in(iir) == 0xc2);
    CHECK(rig.line.edges == 2);
    rig.out(ier, 0x00);
    rig.out(ier, 0x02);
    CHECK(rig.in(iir) == 0xc2);  // again: what Linux's test for a broken THRE interrupt expects
}

TEST_CASE("timing from the divisor: exact times, FIFO and shift register") {
    Rig rig{UartTiming::from_divisor};
    rig.set_up();
    CHECK(rig.uart.character_time() == 86'805'555_ps);  // 10 bits at 115200 baud
    rig.out(ier, 0x02);
    CHECK(rig.in(iir) == 0xc2);
    rig.out(rbr, 'a');
    CHECK(rig.in(lsr) == 0x20);  // straight into the shift register: THRE, not TEMT
    CHECK(rig.in(iir) == 0xc2);
    rig.out(rbr, 'b');
    rig.out(rbr, 'c');
    CHECK(rig.in(lsr) == 0x00);
    CHECK(rig.in(iir) == 0xc1);
    rig.simulation.agenda().run_until(2 * 86'805'555_ps);
    CHECK(rig.console.text == "ab");
    CHECK(rig.in(lsr) == 0x20);
    CHECK(rig.in(iir) == 0xc2);
    rig.simulation.agenda().run_until(1_s);
    CHECK(rig.console.text == "abc");
    CHECK(rig.console.times == std::vector<sim::Time>{86'805'555_ps, 2 * 86'805'555_ps, 3 * 86'805'555_ps});
    CHECK(rig.in(lsr) == 0x60);
}

TEST_CASE("character time by format") {
    struct Row {
        unsigned lcr, divisor;
        sim::Time time;
    };
    for (const Row& row : {
             Row{0x03, 1, 86'805'555_ps},      // 8N1
             Row{0x1b, 1, 95'486'111_ps},      // 8E1
             Row{0x07, 1, 95'486'111_ps},      // 8N2
             Row{0x00, 1, 60'763'888_ps},      // 5N1
             Row{0x04, 1, 65'104'166_ps},      // 5N1.5
             Row{0x03, 12, 1'041'666'666_ps},  // 9600 baud
             Row{0x03, 0, 86'805'555_ps},      // divisor 0 counts as 1
             Row{0x0f, 0xffff, 6'826'562'500'000_ps},
         }) {
        CAPTURE(row.lcr);
        Rig rig;
        rig.out(lcr, 0x80);
        rig.out(rbr, row.divisor & 0xff);
        rig.out(ier, row.divisor >> 8);
        rig.out(lcr, row.lcr);
        CHECK(rig.uart.character_time() == row.time);
    }
}

TEST_CASE("receiver: trigger level, time-out, and typed text waits for room") {
    Rig rig;
    rig.set_up();
    rig.out(ier, 0x01);
    rig.type("1234567");
    CHECK_FALSE(rig.line.asserted);  // seven is below eight
    CHECK(rig.in(lsr) == 0x61);
    rig.simulation.agenda().run_until(4 * 86'805'555_ps - 1_ps);
    CHECK_FALSE(rig.line.asserted);
    rig.simulation.agenda().run_until(4 * 86'805'555_ps);
    CHECK(rig.line.asserted);
    CHECK(rig.in(iir) == 0xcc);
    CHECK(rig.in(rbr) == '1');
    CHECK_FALSE(rig.line.asserted);
    rig.type("89abcdefghijklm");  // 6 + 15 characters: 16 fit
    CHECK(rig.in(iir) == 0xc4);
    std::string got;
    while ((rig.in(lsr)&1) != 0) got += static_cast<char>(rig.in(rbr));
    CHECK(got == "23456789abcdefghijklm");
    CHECK(rig.in(iir) == 0xc1);
    CHECK(rig.in(rbr) == 0);
}

TEST_CASE("typed text at line speed") {
    Rig rig{UartTiming::from_divisor};
    rig.set_up();
    rig.type("xyz");
    CHECK(rig.uart.state().received.size() == 1);
    rig.simulation.agenda().run_until(86'805'555_ps);
    CHECK(rig.uart.state().received.size() == 2);
    rig.simulation.agenda().run_until(2 * 86'805'555_ps);
    CHECK(rig.uart.state().received.size() == 3);
}

TEST_CASE("line errors: overrun with and without FIFOs, error bits at the top of the FIFO") {
    Rig rig;
    rig.out(mcr, 0x08);
    rig.out(ier, 0x05);
    rig.uart.receive('a');
    CHECK(rig.in(iir) == 0x04);
    rig.uart.receive('b');
    CHECK(rig.in(iir) == 0x06);  // line status comes before received data
    CHECK(rig.in(lsr) == 0x63);
    CHECK(rig.in(lsr) == 0x61);  // reading clears it
    CHECK(rig.in(rbr) == 'b');   // without FIFOs the buffer is overwritten

    rig.out(iir, 0x01);
    for (int i = 0; i < 17; ++i) rig.uart.receive(static_cast<std::uint8_t>('a' + i), i == 1 ? 0x08 : 0);
    CHECK(rig.in(lsr) == 0xe3);  // data, overrun, an error somewhere in the FIFO
    CHECK(rig.in(rbr) == 'a');
    CHECK(rig.in(iir) == 0xc6);
    CHECK(rig.in(lsr) == 0xe9);  // the framing error has reached the top
    CHECK(rig.in(lsr) == 0x61);
    std::string got;
    while ((rig.in(lsr)&1) != 0) got += static_cast<char>(rig.in(rbr));
    CHECK(got == "bcdefghijklmnop");  // the seventeenth was lost
    rig.uart.receive(0, 0x10);
    CHECK(rig.in(lsr) == 0xf1);  // break
    rig.out(iir, 0x00);          // switching FIFOs off empties them
    CHECK(rig.in(lsr) == 0x60);
}

TEST_CASE("modem control and loop-back, as Linux probes them") {
    Rig rig;
    rig.set_up();
    rig.out(mcr, 0x1a);                 // loop-back, OUT2, RTS
    CHECK((rig.in(msr)&0xf0) == 0x90);  // DCD, CTS
    rig.out(mcr, 0x1f);
    CHECK(rig.in(msr) == 0xf2);  // DSR came (delta); RI came without a delta
    rig.out(mcr, 0x1b);
    CHECK(rig.in(msr) == 0xb4);  // RI's end
    rig.out(ier, 0x08);
    rig.out(mcr, 0x10);
    CHECK(rig.in(iir) == 0xc0);
    CHECK_FALSE(rig.line.asserted);  // OUT2 is inactive in loop-back
    CHECK(rig.in(msr) == 0x0b);
    CHECK(rig.in(iir) == 0xc1);
    rig.out(rbr, 0xa5);  // comes back, does not leave
    CHECK(rig.in(rbr) == 0xa5);
    CHECK(rig.console.text.empty());
    rig.out(mcr, 0x0b);
    CHECK(rig.line.asserted);
    CHECK(rig.in(msr) == 0xbb);
    CHECK_FALSE(rig.line.asserted);
    CHECK(rig.in(msr) == 0xb0);
}

TEST_CASE("OUT2 gates the interrupt") {
    Rig rig;
    rig.set_up();
    rig.out(mcr, 0x03);
    rig.out(ier, 0x02);
    CHECK_FALSE(rig.line.asserted);
    rig.out(mcr, 0x0b);
    CHECK(rig.line.asserted);
}

TEST_CASE("a restored port goes on alike, timers too") {
    Rig rig{UartTiming::from_divisor};
    rig.set_up();
    rig.out(ier, 0x03);
    rig.out(rbr, 'a');
    rig.out(rbr, 'b');
    rig.type("pq");
    rig.simulation.agenda().run_until(50_us);
    Rig copy{UartTiming::from_divisor};
    copy.simulation.agenda().run_until(50_us);
    sim::restore_from_bytes(copy.uart, sim::save_to_bytes(rig.uart));
    CHECK(copy.uart.state() == rig.uart.state());
    for (Rig* r : {&rig, &copy}) {
        r->simulation.agenda().run_until(1_s);
        CHECK(r->console.text == "ab");
        CHECK(r->console.times == std::vector<sim::Time>{86'805'555_ps, 2 * 86'805'555_ps});
        CHECK(r->uart.state().received.size() == 2);
        CHECK(r->in(iir) == 0xcc);
    }
    rig.uart.reset();
    CHECK(rig.in(lsr) == 0x60);
    CHECK(rig.in(iir) == 0x01);
    CHECK_FALSE(rig.line.asserted);
}

TEST_CASE("random accesses never break it") {
    Rig rig{UartTiming::from_divisor};
    std::uint64_t random = 99;
    for (int i = 0; i < 200'000; ++i) {
        random = random * 6364136223846793005ull + 1442695040888963407ull;
        const auto r = static_cast<std::uint16_t>((random >> 33) & 7);
        if ((random >> 40 & 3) == 0) rig.type("z");
        if ((random >> 44 & 15) == 0) rig.simulation.agenda().run_until(rig.simulation.agenda().now() + 1_us);
        if ((random >> 36 & 1) != 0) {
            rig.out(r, (random >> 50) & 0xff);
        } else {
            CHECK(rig.in(r) <= 0xff);
        }
        REQUIRE(rig.uart.state().received.size() <= 16);
        REQUIRE(rig.uart.state().transmit.size() <= 16);
    }
}

}  // namespace uart_16550_test
