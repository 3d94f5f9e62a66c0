// SynIC (TLFS chapter 11): message slots and their queues, event flags, SINT modes, and the EOI assist of chapter 10.
#include <doctest/doctest.h>

#include "synthetic_machine.h"

namespace synic_test {

using namespace hypervisor;
using namespace hypervisor::test;

namespace {

using Interrupts = std::vector<std::pair<std::uint8_t, bool>>;

HvMessage message(std::uint32_t type, std::uint8_t first_byte = 0) {
    HvMessage m{};
    m.header.message_type = type;
    m.header.payload_size = 8;
    m.header.origin = 0x77;
    m.payload[0] = first_byte;
    return m;
}

constexpr unsigned vmbus = synic_vmbus_sint;

struct SynicMachine : SyntheticMachine {
    SynicMachine() {
        enable_synic();
        write(msr::sint0 + vmbus, 0xf3);
    }
    HvMessageHeader header(unsigned sint = vmbus) { return load<HvMessageHeader>(slot(sint)); }
    std::uint8_t first_byte(unsigned sint = vmbus) { return load<std::uint8_t>(slot(sint) + 16); }
    // As Linux does: type to zero, then EOM if the flag is set.
    void consume(unsigned sint = vmbus) {
        store<std::uint32_t>(slot(sint), 0);
        if ((header(sint).flags & message_flag_pending) != 0) write(msr::eom, 0);
    }
};

}  // namespace

TEST_CASE("a message goes into its slot and raises its vector") {
    SynicMachine m;
    HvMessage posted = message(1, 0xab);
    posted.header.payload_size = 240;
    posted.payload[239] = 0xcd;
    CHECK(m.processor.post_message(vmbus, posted) == HvStatus::success);
    const auto got = m.load<HvMessage>(SynicMachine::slot(vmbus));
    CHECK(got.header.message_type == 1);
    CHECK(got.header.payload_size == 240);
    CHECK(got.header.flags == 0);
    CHECK(got.header.origin == 0x77);
    CHECK(got.payload[0] == 0xab);
    CHECK(got.payload[239] == 0xcd);
    CHECK(m.port.interrupts == Interrupts{{0xf3, false}});
    CHECK(m.header(vmbus + 1).message_type == 0);
    CHECK(m.header(vmbus - 1).message_type == 0);
}

TEST_CASE("messages wait for the slot, in order, and say so") {
    SynicMachine m;
    for (std::uint8_t n = 1; n <= 4; ++n) {
        CHECK(m.processor.post_message(vmbus, message(1, n)) == HvStatus::success);
    }
    CHECK(m.first_byte() == 1);
    CHECK(m.header().flags == message_flag_pending);
    CHECK(m.port.interrupts.size() == 1);
    // An end of message while the slot is full moves nothing.
    m.write(msr::eom, 0);
    CHECK(m.first_byte() == 1);
    for (std::uint8_t n = 2; n <= 4; ++n) {
        CAPTURE(static_cast<int>(n));
        m.consume();
        CHECK(m.first_byte() == n);
        CHECK(m.header().message_type == 1);
        CHECK(m.header().flags == (n < 4 ? message_flag_pending : 0));
        CHECK(m.port.interrupts.size() == n);
    }
    m.consume();
    CHECK(m.header().message_type == 0);
    m.write(msr::eom, 0);
    CHECK(m.port.interrupts.size() == 4);
}

TEST_CASE("the end of a SINT's interrupt brings the next message, that of another vector doesn't") {
    SynicMachine m;
    m.write(msr::sint0 + 3, 0x44);
    for (const unsigned sint : {vmbus, 3u}) {
        REQUIRE(m.processor.post_message(sint, message(1, 1)) == HvStatus::success);
        REQUIRE(m.processor.post_message(sint, message(1, 2)) == HvStatus::success);
        m.store<std::uint32_t>(SynicMachine::slot(sint), 0);
    }
    m.port.forget();
    m.processor.interrupt_ended(0x45);
    CHECK(m.port.interrupts.empty());
    m.processor.interrupt_ended(0x44);
    CHECK(m.port.interrupts == Interrupts{{0x44, false}});
    CHECK(m.first_byte(3) == 2);
    CHECK(m.header().message_type == 0);
    m.processor.interrupt_ended(0xf3);
    CHECK(m.port.interrupts == Interrupts{{0x44, false}, {0xf3, false}});
    CHECK(m.first_byte() == 2);
    // A masked SINT has no interrupt that could end.
    m.write(msr::sint0 + vmbus, 0x1'00f3);
    REQUIRE(m.processor.post_message(vmbus, message(1, 3)) == HvStatus::success);
    m.store<std::uint32_t>(SynicMachine::slot(vmbus), 0);
    m.processor.interrupt_ended(0xf3);
    CHECK(m.header().message_type == 0);
    m.write(msr::eom, 0);
    CHECK(m.first_byte() == 3);
}

TEST_CASE("a queue is bounded, and each SINT has its own") {
    SynicMachine m;
    m.write(msr::sint0 + 3, 0x44);
    for (std::size_t n = 0; n < SyntheticProcessor::message_queue_length + 1; ++n) {
        CHECK(m.processor.post_message(vmbus, message(1)) == HvStatus::success);
    }
    CHECK(m.processor.post_message(vmbus, message(1)) == HvStatus::insufficient_buffers);
    CHECK(m.processor.post_message(3, message(1)) == HvStatus::success);
    CHECK(m.port.interrupts == Interrupts{{0xf3, false}, {0x44, false}});
    m.consume();
    CHECK(m.processor.post_message(vmbus, message(1)) == HvStatus::success);
}

TEST_CASE("no message without SynIC or message page") {
    SyntheticMachine m;
    CHECK(m.processor.post_message(vmbus, message(1)) == HvStatus::invalid_synic_state);
    m.write(msr::simp, SyntheticMachine::simp | 1);
    CHECK(m.processor.post_message(vmbus, message(1)) == HvStatus::invalid_synic_state);
    m.write(msr::scontrol, 1);
    CHECK(m.processor.post_message(vmbus, message(1)) == HvStatus::success);
    m.write(msr::simp, 0);
    CHECK(m.processor.post_message(vmbus, message(1)) == HvStatus::invalid_synic_state);
    CHECK(m.processor.post_message(16, message(1)) == HvStatus::invalid_parameter);
    CHECK(m.processor.post_message(~0u, message(1)) == HvStatus::invalid_parameter);
}

TEST_CASE("what waits is delivered when the message page comes back") {
    SynicMachine m;
    CHECK(m.processor.post_message(vmbus, message(1, 1)) == HvStatus::success);
    CHECK(m.processor.post_message(vmbus, message(1, 2)) == HvStatus::success);
    m.write(msr::simp, 0);
    m.port.forget();
    m.write(msr::eom, 0);
    CHECK(m.port.interrupts.empty());
    m.write(msr::simp, 0x20'001);
    CHECK(m.load<std::uint8_t>(0x20'000 + vmbus * 256 + 16) == 1);  // the page kept the first
    m.store<std::uint32_t>(0x20'000 + vmbus * 256, 0);
    m.write(msr::eom, 0);
    CHECK(m.load<std::uint8_t>(0x20'000 + vmbus * 256 + 16) == 2);
    CHECK(m.port.interrupts == Interrupts{{0xf3, false}});
}

TEST_CASE("SINT modes: what a message does") {
    const struct {
        const char* reason;
        std::uint64_t sint;
        Interrupts interrupts;
    } rows[] = {
        {"plain", 0x00f3, {{0xf3, false}}},
        {"auto-EOI", 0x2'00f3, {{0xf3, true}}},
        {"masked", 0x1'00f3, {}},
        {"polling: a message, no interrupt", 0x4'00f3, {}},
        {"lowest vector", 0x10, {{0x10, false}}},
    };
    for (const auto& row : rows) {
        CAPTURE(row.reason);
        SynicMachine m;
        m.write(msr::sint0 + vmbus, row.sint);
        CHECK(m.processor.post_message(vmbus, message(1, 9)) == HvStatus::success);
        CHECK(m.header().message_type == 1);
        CHECK(m.port.interrupts == row.interrupts);
        // An event likewise, but that a masked SINT refuses it.
        m.port.forget();
        const bool masked = (row.sint & sint_register::masked) != 0;
        CHECK(m.processor.signal_event(vmbus, 5) == (masked ? HvStatus::invalid_synic_state : HvStatus::success));
        CHECK(m.load<std::uint8_t>(SynicMachine::siefp + vmbus * 256) == (masked ? 0 : 1u << 5));
        CHECK(m.port.interrupts == row.interrupts);
    }
}

TEST_CASE("event flags: one interrupt for a flag until the guest takes it away") {
    const struct {
        unsigned sint;
        std::uint16_t flag;
        std::uint64_t byte;
        std::uint8_t bit;
    } rows[] = {{2, 0, 0x200, 1},       {2, 7, 0x200, 0x80},     {2, 8, 0x201, 1},
                {2, 2047, 0x2ff, 0x80}, {15, 2047, 0xfff, 0x80}, {0, 1, 0, 2}};
    for (const auto& row : rows) {
        CAPTURE(row.flag);
        SynicMachine m;
        m.write(msr::sint0 + row.sint, 0x40);
        const std::uint64_t at = SynicMachine::siefp + row.byte;
        CHECK(m.processor.signal_event(row.sint, row.flag) == HvStatus::success);
        CHECK(m.load<std::uint8_t>(at) == row.bit);
        CHECK(m.processor.signal_event(row.sint, row.flag) == HvStatus::success);
        CHECK(m.port.interrupts == Interrupts{{0x40, false}});
        m.store<std::uint8_t>(at, 0);
        CHECK(m.processor.signal_event(row.sint, row.flag) == HvStatus::success);
        CHECK(m.port.interrupts.size() == 2);
    }
    SynicMachine m;
    CHECK(m.processor.signal_event(vmbus, 2048) == HvStatus::invalid_parameter);
    CHECK(m.processor.signal_event(16, 0) == HvStatus::invalid_parameter);
    m.write(msr::siefp, 0);
    CHECK(m.processor.signal_event(vmbus, 1) == HvStatus::invalid_synic_state);
    m.write(msr::siefp, SynicMachine::siefp | 1);
    m.write(msr::scontrol, 0);
    CHECK(m.processor.signal_event(vmbus, 1) == HvStatus::invalid_synic_state);
}

TEST_CASE("a restored SynIC goes on where the saved one was") {
    SynicMachine m;
    for (std::uint8_t n = 1; n <= 3; ++n) REQUIRE(m.processor.post_message(vmbus, message(1, n)) == HvStatus::success);
    m.write(msr::stimer0_config, 0x1ed9);
    m.write(msr::stimer0_count, 5000);
    const auto saved = sim::save_to_bytes(m.processor);
    m.consume();
    m.consume();
    m.write(msr::stimer0_count, 0);
    m.processor.abandon_pages();
    sim::restore_from_bytes(m.processor, saved);
    CHECK(sim::save_to_bytes(m.processor) == saved);
    CHECK(m.read(msr::stimer0_count) == 5000);
    CHECK(m.read(msr::stimer0_config) == 0x1ed9);
    m.port.forget();
    m.store<std::uint32_t>(SynicMachine::slot(vmbus), 0);
    m.write(msr::eom, 0);
    CHECK(m.first_byte() == 2);
    m.run_until(sim::Time::ms(1));
    CHECK(m.port.interrupts == Interrupts{{0xf3, false}, {0xed, false}});
}

// --- EOI assist (TLFS 10.3.5) -------------------------------------------------------------------------------------

TEST_CASE("EOI assist: the guest is excused from an EOI when nothing waits") {
    SyntheticMachine m;
    const std::uint64_t assist = 0x20'000;
    m.processor.excuse_eoi(0x40, false);  // no page: nothing happens
    m.processor.settle_eoi();
    CHECK(m.port.eois == 0);
    m.write(msr::vp_assist_page, assist | 1);

    m.processor.excuse_eoi(0x40, false);
    CHECK(m.load<std::uint32_t>(assist) == 1);
    m.processor.settle_eoi();
    CHECK(m.port.eois == 0);
    m.store<std::uint32_t>(assist, 0);  // the guest's end of interrupt
    m.processor.settle_eoi();
    CHECK(m.port.eois == 1);
    m.processor.settle_eoi();
    CHECK(m.port.eois == 1);

    // Something comes to wait: the excuse is withdrawn, and the guest must write its EOI.
    m.processor.excuse_eoi(0x41, false);
    m.port.waiting = true;
    m.processor.settle_eoi();
    CHECK(m.load<std::uint32_t>(assist) == 0);
    CHECK(m.port.eois == 1);
    m.processor.settle_eoi();
    CHECK(m.port.eois == 1);

    // None while something waits, none for a level-triggered one: its EOI must be seen.
    m.processor.excuse_eoi(0x42, false);
    CHECK(m.load<std::uint32_t>(assist) == 0);
    m.port.waiting = false;
    m.processor.excuse_eoi(0x43, true);
    CHECK(m.load<std::uint32_t>(assist) == 0);
}

}  // namespace synic_test
