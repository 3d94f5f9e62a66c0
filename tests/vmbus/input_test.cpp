// Keyboard and pointer: bytes on the ring, key tables, pace, what a guest may not do.
#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "sim/check.h"
#include "tests/vmbus/integration_fixture.h"
#include "vmbus/input/input_client.h"

namespace input_test {

using namespace vmbus;
using namespace vmbus::testing;
using namespace sim::literals;

namespace {

using Codes = std::vector<std::uint8_t>;

Codes codes(const std::vector<KeyStroke>& strokes) {
    Codes bytes;
    for (const KeyStroke& stroke : strokes) {
        if (stroke.key.prefix == KeyPrefix::e0) bytes.push_back(0xe0);
        bytes.push_back(static_cast<std::uint8_t>(stroke.key.code | (stroke.release ? 0x80 : 0)));
    }
    return bytes;
}

struct LedLog final : KeyboardListener {
    std::vector<int> log;
    void leds_changed(std::uint16_t leds) override { log.push_back(leds); }
};

// Takes everything from the ring to the guest's driver until nothing comes at this instant.
template <class Client>
void deliver(Root& root, Client& client) {
    root.settle();
    while (!root.channel().sent.empty()) {
        const auto packet = root.channel().take();
        if (!packet.completion) client.received(packet.bytes);
        root.settle();
    }
}

struct KeyboardFixture {
    Root root;
    LedLog leds;
    Keyboard keyboard{root.scope("keyboard"), root.host(), {}, &leds};
    ScriptedLink link{root.channel()};
    KeyboardClient client{link};

    void open(std::uint32_t version = keyboard::version_1_0) {
        root.channel().open();
        client.start(version);
        deliver(root, client);
    }
    void run_for(sim::Time time) {
        for (const sim::Time end = root.now() + time; root.now() < end; deliver(root, client)) root.run_for(1_ms);
    }
};

struct PointerFixture {
    Root root;
    Pointer mouse{root.scope("pointer"), root.host(), {}};
    ScriptedLink link{root.channel()};
    PointerClient client{link};

    void open(std::uint32_t version = pointer::version_2_0) {
        root.channel().open();
        client.start(version);
        deliver(root, client);
    }
    void run_for(sim::Time time) {
        for (const sim::Time end = root.now() + time; root.now() < end; deliver(root, client)) root.run_for(1_ms);
    }
};

}  // namespace

TEST_CASE("keys: text on a US keyboard") {
    struct Row {
        std::string text;
        Codes bytes;
    };
    const std::vector<Row> rows{
        {"", {}},
        {"a", {0x1e, 0x9e}},
        {"A", {0x2a, 0x1e, 0x9e, 0xaa}},
        {"1!", {0x02, 0x82, 0x2a, 0x02, 0x82, 0xaa}},
        {"0-=", {0x0b, 0x8b, 0x0c, 0x8c, 0x0d, 0x8d}},
        {"p[]", {0x19, 0x99, 0x1a, 0x9a, 0x1b, 0x9b}},
        {"l;'`", {0x26, 0xa6, 0x27, 0xa7, 0x28, 0xa8, 0x29, 0xa9}},
        {"\\z", {0x2b, 0xab, 0x2c, 0xac}},
        {",./", {0x33, 0xb3, 0x34, 0xb4, 0x35, 0xb5}},
        {"|", {0x2a, 0x2b, 0xab, 0xaa}},
        {"\"~?", {0x2a, 0x28, 0xa8, 0xaa, 0x2a, 0x29, 0xa9, 0xaa, 0x2a, 0x35, 0xb5, 0xaa}},
        {" \t\n\b", {0x39, 0xb9, 0x0f, 0x8f, 0x1c, 0x9c, 0x0e, 0x8e}},
    };
    for (const Row& row : rows) {
        CAPTURE(row.text);
        CHECK(codes(strokes_of_text(row.text)) == row.bytes);
    }
    CHECK_THROWS_WITH_AS(strokes_of_text("ab\xc3\xa9"), "keyboard: character 3 of the text is not on a US keyboard",
                         sim::UserError);
    // Every printable ASCII character has a key of its own, with shift or without.
    std::vector<Codes> seen;
    for (char c = ' '; c < 0x7f; ++c) {
        const Codes bytes = codes(strokes_of_text(std::string(1, c)));
        CHECK(std::find(seen.begin(), seen.end(), bytes) == seen.end());
        seen.push_back(bytes);
    }
}

TEST_CASE("keys: names and chords") {
    struct Row {
        std::string chord;
        Codes bytes;
    };
    const std::vector<Row> rows{
        {"enter", {0x1c, 0x9c}},
        {"F12", {0x58, 0xd8}},
        {"ctrl+alt+delete", {0x1d, 0x38, 0xe0, 0x53, 0xe0, 0xd3, 0xb8, 0x9d}},
        {"shift+a", {0x2a, 0x1e, 0x9e, 0xaa}},
        {"Ctrl+C", {0x1d, 0x2e, 0xae, 0x9d}},
        {"up", {0xe0, 0x48, 0xe0, 0xc8}},
        {"keypad_7", {0x47, 0xc7}},
        {"ctrl+plus", {0x1d, 0x0d, 0x8d, 0x9d}},
    };
    for (const Row& row : rows) {
        CAPTURE(row.chord);
        CHECK(codes(strokes_of_chord(row.chord)) == row.bytes);
    }
    for (const char* wrong : {"", "nokey", "ctrl+", "+", "\xc3\xa9"})
        CHECK_THROWS_AS(strokes_of_chord(wrong), sim::UserError);
}

TEST_CASE("keyboard: what goes over the ring") {
    KeyboardFixture f;
    CHECK(f.root.channel().offer().type == interface_type::keyboard);
    f.root.channel().open();
    f.root.channel().put(hex({1, 0, 0, 0, 0, 0, 1, 0}), 0x99, true);
    f.root.settle();
    CHECK(f.root.channel().take() == ScriptedChannel::Sent{true, 0x99, {}});
    CHECK(f.root.channel().take() == ScriptedChannel::Sent{false, 0x99, hex({2, 0, 0, 0, 1, 0, 0, 0})});
    f.keyboard.press("right");
    f.root.run_for(2_ms);
    CHECK(f.root.channel().take().bytes == hex({3, 0, 0, 0, 0x4d, 0, 0, 0, 4, 0, 0, 0}));
    CHECK(f.root.channel().take().bytes == hex({3, 0, 0, 0, 0x4d, 0, 0, 0, 6, 0, 0, 0}));
    f.keyboard.stroke({{0x1d, KeyPrefix::e1}, false});
    f.root.run_for(2_ms);
    CHECK(f.root.channel().take().bytes == hex({3, 0, 0, 0, 0x1d, 0, 0, 0, 8, 0, 0, 0}));
}

TEST_CASE("keyboard: typed text arrives in order and at its pace, what came too early waits") {
    KeyboardFixture f;
    f.keyboard.type("ls\n");
    f.root.run_until(1_s);
    f.open();
    CHECK(f.client.accepted());
    CHECK(f.client.bytes() == Codes{0x26});
    f.run_for(3_ms);
    CHECK(f.client.bytes() == Codes{0x26, 0xa6});
    f.run_for(7_ms);
    CHECK(f.client.bytes() == Codes{0x26, 0xa6, 0x1f, 0x9f, 0x1c, 0x9c});
    CHECK(f.keyboard.waiting() == 0);
    f.keyboard.type("x");
    f.root.channel().close();
    CHECK(f.keyboard.waiting() == 0);
    f.open();
    f.run_for(10_ms);
    CHECK(f.client.bytes().size() == 6);
}

TEST_CASE("keyboard: a guest that does not read holds strokes back, none is lost") {
    KeyboardFixture f;
    f.open();
    f.root.channel().room = 2;
    f.keyboard.type("abc");
    f.root.run_for(1_s);
    CHECK(f.root.channel().sent.size() == 2);
    CHECK(f.keyboard.waiting() == 2);  // and two wait for the ring
    f.root.channel().room = 100;
    deliver(f.root, f.client);
    f.run_for(10_ms);
    CHECK(f.client.bytes() == Codes{0x1e, 0x9e, 0x30, 0xb0, 0x2e, 0xae});
}

TEST_CASE("keyboard: versions, LEDs, and what breaks the protocol") {
    KeyboardFixture f;
    f.open(0x0002'0000);
    CHECK_FALSE(f.client.accepted());
    CHECK_FALSE(f.keyboard.ready());
    f.client.start();
    deliver(f.root, f.client);
    CHECK(f.keyboard.ready());
    f.client.set_leds(keyboard::led_caps_lock | keyboard::led_num_lock);
    f.root.settle();
    CHECK(f.keyboard.leds() == 6);
    CHECK(f.leds.log == std::vector{6});

    for (const Bytes& message : {hex({}), hex({2, 0, 0, 0, 1, 0, 0, 0}), hex({3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}),
                                 hex({5, 0, 0, 0, 0, 0, 0, 0}), hex({0, 0, 0, 0, 0, 0, 0, 0})}) {
        KeyboardFixture bad;
        bad.root.channel().open();
        bad.root.channel().put(message);
        bad.root.channel().put(hex({1, 0, 0, 0, 0, 0, 1, 0}));
        bad.root.settle();
        CHECK(bad.root.channel().rescinded);
        CHECK_FALSE(bad.keyboard.ready());
        bad.keyboard.type("a");
        bad.root.run_for(1_s);
    }
}

TEST_CASE("keyboard: saved while typing, restored, the rest arrives") {
    KeyboardFixture a;
    a.open();
    a.keyboard.type("abc");
    a.run_for(5_ms);
    CHECK(a.client.bytes() == Codes{0x1e, 0x9e, 0x30});
    const auto saved = sim::save_to_bytes(a.keyboard);
    KeyboardFixture b;
    b.root.channel().open();
    b.root.run_until(5_ms);
    sim::restore_from_bytes(b.keyboard, saved);
    CHECK(sim::save_to_bytes(b.keyboard) == saved);
    b.run_for(1_ms);
    CHECK(b.client.bytes() == Codes{0xb0});
    b.run_for(5_ms);
    CHECK(b.client.bytes() == Codes{0xb0, 0x2e, 0xae});
}

TEST_CASE("pointer: the hello, byte by byte") {
    PointerFixture f;
    f.root.channel().open();
    f.client.start();
    f.root.settle();
    // Approval: 13 bytes after the pipe's header, which is all that Linux has room for.
    CHECK(f.root.channel().take().bytes == hex({1, 0, 0, 0, 13, 0, 0, 0, 1, 0, 0, 0, 5, 0, 0, 0, 0, 0, 2, 0, 1}));
    const Bytes info = f.root.channel().take().bytes;
    CHECK(info.size() == 8 + 8 + 32 + 9 + 67);
    const auto part = [&](std::size_t at, std::size_t n) {
        return Bytes(info.begin() + static_cast<std::ptrdiff_t>(at),
                     info.begin() + static_cast<std::ptrdiff_t>(at + n));
    };
    CHECK(part(0, 16) == hex({1, 0, 0, 0, 116, 0, 0, 0, 2, 0, 0, 0, 108, 0, 0, 0}));
    CHECK(part(16, 10) == hex({32, 0, 0, 0, 0x5e, 4, 0x21, 6, 1, 0}));
    CHECK(part(48, 9) == hex({9, 0x21, 1, 1, 0, 1, 0x22, 67, 0}));
    CHECK(part(57 + 14, 1) == hex({0x29}));  // what Linux would patch
    CHECK_FALSE(f.mouse.ready());
    f.client.received(info);
    f.root.settle();
    CHECK(f.mouse.ready());
    CHECK(std::ranges::equal(f.client.report_descriptor(), std::as_bytes(std::span{pointer::report_descriptor})));
}

TEST_CASE("pointer: reports") {
    PointerFixture f;
    f.open();
    f.mouse.move(0x1234, 0x7fff);
    f.mouse.click(Pointer::Button::right);
    f.mouse.press(Pointer::Button::left);
    f.mouse.scroll(-1);
    f.mouse.release(Pointer::Button::left);
    f.run_for(100_ms);
    CHECK(f.client.reports() == std::vector<Bytes>{
                                    hex({0, 0x34, 0x12, 0xff, 0x7f, 0, 0}),
                                    hex({2, 0x34, 0x12, 0xff, 0x7f, 0, 0}),
                                    hex({0, 0x34, 0x12, 0xff, 0x7f, 0, 0}),
                                    hex({1, 0x34, 0x12, 0xff, 0x7f, 0, 0}),
                                    hex({1, 0x34, 0x12, 0xff, 0x7f, 0xff, 0xff}),
                                    hex({0, 0x34, 0x12, 0xff, 0x7f, 0, 0}),
                                });
    CHECK_THROWS_AS(f.mouse.move(0x8000, 0), sim::UserError);
}

TEST_CASE("pointer: versions, order, and what breaks the protocol") {
    PointerFixture f;
    f.open(0x0001'0000);
    CHECK_FALSE(f.client.approved());
    CHECK_FALSE(f.mouse.ready());
    f.client.start();
    deliver(f.root, f.client);
    CHECK(f.mouse.ready());
    const auto wrapped = [](std::initializer_list<int> values) { return pipe::wrap(hex(values)); };
    for (const Bytes& packet :
         {hex({}), hex({2, 0, 0, 0, 0, 0, 0, 0}), hex({1, 0, 0, 0, 255, 255, 255, 255}), wrapped({0}),
          wrapped({0, 0, 0, 0, 4, 0, 0, 0}), wrapped({0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 2}),
          wrapped({3, 0, 0, 0, 1, 0, 0, 0, 0}),  // seen before sent
          wrapped({1, 0, 0, 0, 5, 0, 0, 0, 0, 0, 2, 0, 1}), wrapped({9, 0, 0, 0, 0, 0, 0, 0})}) {
        PointerFixture bad;
        bad.root.channel().open();
        bad.root.channel().put(packet);
        bad.root.settle();
        CHECK(bad.root.channel().rescinded);
    }
}

}  // namespace input_test
