// The synthetic interrupt controller of a child's processor: messages and their slots, event flags, interrupts by the
// SINT registers' bits, and the EOI that the assist page spares.
#include "child_machine.h"

using namespace hypervisor;
using namespace hypervisor::test;

namespace {

constexpr std::uint64_t message_page = 0x10'000;
constexpr std::uint64_t event_page = 0x11'000;
constexpr std::uint64_t assist_page = 0x12'000;
constexpr std::uint32_t channel_message = 1;

struct SynicMachine : ChildMachine {
    SynicMachine() {
        write(msr::simp, message_page | 1);
        write(msr::siefp, event_page | 1);
        write(msr::sint0 + 2, 0xf3);
        write(msr::scontrol, 1);
    }
    static std::uint64_t slot(std::uint32_t sint) { return message_page + 256 * sint; }
    std::uint32_t type(std::uint32_t sint = 2) { return load<std::uint32_t>(slot(sint)); }
    bool pending(std::uint32_t sint = 2) { return (load<std::uint8_t>(slot(sint) + 5) & 1) != 0; }
    std::uint64_t payload(std::uint32_t sint = 2) { return load<std::uint64_t>(slot(sint) + 16); }
    // As a driver does: the slot is freed, and if more waits the hypervisor hears of it.
    void take(std::uint32_t sint = 2) {
        store<std::uint32_t>(slot(sint), 0);
        if (pending(sint)) write(msr::eom, 0);
    }
    HvStatus post(std::uint64_t word, std::uint32_t sint = 2) {
        HvMessage message{};
        message.header.message_type = channel_message;
        message.header.payload_size = sizeof word;
        message.header.origin = 0x77;
        std::memcpy(message.payload, &word, sizeof word);
        return child().post_message(sint, message);
    }
    auto interrupts() { return std::exchange(vp().port.interrupts, {}); }
};
using Interrupts = std::vector<std::pair<std::uint8_t, bool>>;

}  // namespace

TEST_CASE("a message goes into its SINT's slot, all of it, and raises the vector") {
    SynicMachine m;
    m.store<std::uint64_t>(SynicMachine::slot(2) + 248, ~0ull);
    HvMessage message{};
    message.header = {channel_message, 3, 0xff, 0xffff, 0x1234};
    message.payload[0] = 1;
    message.payload[2] = 3;
    REQUIRE(m.child().post_message(2, message) == HvStatus::success);
    const auto slot = m.load<HvMessage>(SynicMachine::slot(2));
    CHECK(slot.header.message_type == channel_message);
    CHECK(slot.header.payload_size == 3);
    CHECK(slot.header.flags == 0);
    CHECK(slot.header.origin == 0x1234);
    CHECK(std::memcmp(slot.payload, message.payload, sizeof slot.payload) == 0);
    CHECK(m.interrupts() == Interrupts{edge(0xf3)});
}

TEST_CASE("messages wait for their slot, in order, and say so") {
    SynicMachine m;
    CHECK(m.post(1) == HvStatus::success);
    CHECK_FALSE(m.pending());
    CHECK(m.post(2) == HvStatus::success);
    CHECK(m.pending());
    CHECK(m.post(3) == HvStatus::success);
    CHECK(m.payload() == 1);
    CHECK(m.interrupts() == Interrupts{edge(0xf3)});
    m.take();
    CHECK(m.payload() == 2);
    CHECK(m.pending());  // the third waits already
    CHECK(m.interrupts() == Interrupts{edge(0xf3)});
    // End of message with the slot still full does nothing but mark it again.
    m.store<std::uint8_t>(SynicMachine::slot(2) + 5, 0);
    m.write(msr::eom, 0);
    CHECK(m.payload() == 2);
    CHECK(m.pending());
    CHECK(m.interrupts().empty());
    m.take();
    CHECK(m.payload() == 3);
    CHECK_FALSE(m.pending());
    CHECK(m.interrupts() == Interrupts{edge(0xf3)});
    m.take();
    CHECK(m.type() == 0);
    CHECK(m.interrupts().empty());
}

TEST_CASE("a queue that is full refuses, others don't") {
    SynicMachine m;
    CHECK(m.post(0) == HvStatus::success);  // in the slot
    for (std::uint64_t n = 1; n <= SyntheticProcessor::message_queue_length; ++n) {
        REQUIRE(m.post(n) == HvStatus::success);
    }
    CHECK(m.post(99) == HvStatus::insufficient_buffers);
    CHECK(static_cast<int>(HvStatus::insufficient_buffers) == 0x13);
    CHECK(m.post(7, 3) == HvStatus::success);
    for (std::uint64_t n = 0; n <= SyntheticProcessor::message_queue_length; ++n) {
        REQUIRE(m.payload() == n);
        m.take();
    }
    CHECK(m.type() == 0);
}

TEST_CASE("what a SINT's bits do to a message, and to an event") {
    struct Row {
        const char* why;
        std::uint64_t sint;
        Interrupts interrupts;
    };
    for (const Row& row : {Row{"plain", 0xf3, {edge(0xf3)}}, Row{"auto-EOI", 0x200f3, {{0xf3, true}}},
                           Row{"masked", 0x100f3, {}}, Row{"polling", 0x400f3, {}}, Row{"as at reset", 0x10000, {}},
                           Row{"reserved bits are ignored", 0xfff0'0000'0000'0044, {edge(0x44)}}}) {
        const std::string why = row.why;
        CAPTURE(why);
        SynicMachine m;
        m.write(msr::sint0 + 4, row.sint);
        CHECK(m.post(5, 4) == HvStatus::success);
        CHECK(m.payload(4) == 5);
        CHECK(m.interrupts() == row.interrupts);
        CHECK(m.child().signal_event(4, 9) == HvStatus::success);
        CHECK(m.load<std::uint16_t>(event_page + 256 * 4) == 0x200);
        CHECK(m.interrupts() == row.interrupts);
    }
}

TEST_CASE("without the controller or its pages nothing is taken") {
    for (const std::uint32_t off : {msr::scontrol, msr::simp, msr::siefp}) {
        CAPTURE(off);
        SynicMachine m;
        m.write(off, 0);
        CHECK((m.post(1) == HvStatus::success) == (off == msr::siefp));
        CHECK((m.child().signal_event(2, 1) == HvStatus::success) == (off == msr::simp));
        if (off != msr::siefp) CHECK(m.post(1) == HvStatus::invalid_synic_state);
        if (off != msr::simp) CHECK(m.child().signal_event(2, 1) == HvStatus::invalid_synic_state);
    }
    SynicMachine m;
    CHECK(m.post(1, 16) == HvStatus::invalid_parameter);
    CHECK(m.child().signal_event(16, 0) == HvStatus::invalid_parameter);
    CHECK(m.child().signal_event(2, 2048) == HvStatus::invalid_parameter);
}

TEST_CASE("messages that wait go in when the page or the controller comes back") {
    SynicMachine m;
    CHECK(m.post(1) == HvStatus::success);
    CHECK(m.post(2) == HvStatus::success);
    m.write(msr::scontrol, 0);
    m.take();  // the end of message finds the controller off
    CHECK(m.type() == 0);
    (void)m.interrupts();
    SUBCASE("controller") {
        m.write(msr::scontrol, 1);
    }
    SUBCASE("page") {
        m.write(msr::simp, 0);
        m.write(msr::scontrol, 1);
        CHECK(m.interrupts().empty());
        m.write(msr::simp, message_page | 1);
    }
    CHECK(m.payload() == 2);
    CHECK(m.interrupts() == Interrupts{edge(0xf3)});
}

TEST_CASE("event flags: one bit each, one interrupt until the guest has cleared it") {
    SynicMachine m;
    struct Row {
        std::uint16_t flag;
        std::uint64_t byte;
        std::uint8_t bit;
    };
    for (const Row& row : {Row{0, 0, 1}, Row{1, 0, 2}, Row{7, 0, 0x80}, Row{8, 1, 1}, Row{2047, 255, 0x80}}) {
        CAPTURE(row.flag);
        const std::uint64_t at = event_page + 2 * 256 + row.byte;
        m.store<std::uint8_t>(at, 0);
        CHECK(m.child().signal_event(2, row.flag) == HvStatus::success);
        CHECK(m.load<std::uint8_t>(at) == row.bit);
        CHECK(m.interrupts() == Interrupts{edge(0xf3)});
        CHECK(m.child().signal_event(2, row.flag) == HvStatus::success);
        CHECK(m.interrupts().empty());
        m.store<std::uint8_t>(at, 0);
        CHECK(m.child().signal_event(2, row.flag) == HvStatus::success);
        CHECK(m.interrupts() == Interrupts{edge(0xf3)});
    }
}

TEST_CASE("from the root's connection to the child's pages") {
    SynicMachine m;
    const PortAddress port{m.id, 0x20};
    REQUIRE(m.client.create_message_port(port, root_partition, 0, 2) == HvStatus::success);
    REQUIRE(m.client.connect_port({root_partition, 0x30}, port, HvPortType::message) == HvStatus::success);
    const std::array<std::byte, 2> payload{std::byte{8}, std::byte{9}};
    CHECK(m.client.post_message(0x30, channel_message, payload) == HvStatus::success);
    CHECK(m.payload() == 0x908);
    CHECK(m.load<std::uint64_t>(SynicMachine::slot(2) + 8) == 0x20);  // origin: the port
    CHECK(m.interrupts() == Interrupts{edge(0xf3)});
}

// --- EOI assist ----------------------------------------------------------------------------------------------------

namespace {

struct AssistMachine : ChildMachine {
    AssistMachine() { write(msr::vp_assist_page, assist_page | 1); }
    std::uint32_t bit() { return load<std::uint32_t>(assist_page); }
};

}  // namespace

TEST_CASE("a sole edge-triggered interrupt needs no EOI: the guest takes the bit, and it is ended") {
    AssistMachine m;
    m.child().excuse_eoi(0x50, false);
    CHECK(m.bit() == 1);
    m.child().settle_eoi();
    CHECK(m.vp().port.eois == 0);  // the handler has not come to it
    m.store<std::uint32_t>(assist_page, 0);
    m.child().settle_eoi();
    CHECK(m.vp().port.eois == 1);
    m.child().settle_eoi();
    CHECK(m.vp().port.eois == 1);
}

TEST_CASE("who is not excused") {
    AssistMachine m;
    SUBCASE("a level-triggered interrupt: its end is broadcast") {
        m.child().excuse_eoi(0x50, true);
    }
    SUBCASE("one behind which another waits") {
        m.vp().port.waiting = true;
        m.child().excuse_eoi(0x50, false);
    }
    SUBCASE("one without the page") {
        m.write(msr::vp_assist_page, 0);
        m.child().excuse_eoi(0x50, false);
    }
    CHECK(m.bit() == 0);
    m.child().settle_eoi();
    CHECK(m.vp().port.eois == 0);
}

TEST_CASE("when another comes, the excuse is withdrawn") {
    AssistMachine m;
    m.child().excuse_eoi(0x50, false);
    m.vp().port.waiting = true;
    m.child().settle_eoi();
    CHECK(m.bit() == 0);
    CHECK(m.vp().port.eois == 0);  // the handler does it itself
    m.vp().port.waiting = false;
    m.child().settle_eoi();
    CHECK(m.vp().port.eois == 0);
}

TEST_CASE("what was ended is carried out before the page moves") {
    AssistMachine m;
    m.child().excuse_eoi(0x50, false);
    m.store<std::uint32_t>(assist_page, 0);
    m.write(msr::vp_assist_page, (assist_page + 0x1000) | 1);
    CHECK(m.vp().port.eois == 1);
}
