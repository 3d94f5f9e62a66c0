// A link in time: what each operation costs, in which order effects come, and what holds when it runs full.
#include <doctest/doctest.h>

#include "pci/capabilities.h"
#include "sim/archive.h"
#include "tests/pci/link_rig.h"

namespace link_test {

using namespace pci_test;
using namespace sim::literals;
using pci::DmaStatus;
using Event = RecordingEngine::Event;

namespace {

std::vector<std::byte> pattern(std::size_t size, unsigned start = 1) {
    std::vector<std::byte> data(size);
    for (std::size_t i = 0; i < size; ++i) data[i] = static_cast<std::byte>(start + i);
    return data;
}

}  // namespace

TEST_CASE("link rates: the analytic model, to the last printed digit") {
    struct Row {
        pci::LinkRate rate;
        std::uint64_t raw;
        std::uint64_t usable;
    };
    for (const Row& row : {
             Row{{3, 8, 182, 182}, 63'015'384'615, 57'311'681'417},
             Row{{3, 8, 203, 203}, 63'015'384'615, 57'884'765'627},
             Row{{2, 8, 158, 158}, 32'000'000'000, 28'676'268'703},
             Row{{2, 8, 118, 118}, 32'000'000'000, 27'577'791'982},
             Row{{1, 1, 0, 0}, 2'000'000'000, 1'994'798'440},
             Row{{4, 16, 0, 0}, 252'061'538'462, 251'405'981'795},
             Row{{5, 16, 0, 0}, 504'123'076'923, 502'811'963'589},
         }) {
        CHECK(pci::raw_rate(row.rate).payload_bits_per_second(1, 1) == row.raw);
        CHECK(pci::usable_rate(row.rate).payload_bits_per_second(1, 1) == row.usable);
    }
}

TEST_CASE("packets: what a transfer is cut into") {
    pci::PacketLimits limits;
    CHECK(pci::write_packets(limits, 0x1'0000'0000, 64) == pci::WireBytes{1, 88});
    CHECK(pci::write_packets(limits, 0x1'0000'0000, 257) == pci::WireBytes{2, 305});
    CHECK(pci::write_packets(limits, 0x1000, 257) == pci::WireBytes{2, 297});       // 32-bit addresses
    CHECK(pci::write_packets(limits, 0xffff'ff00, 512) == pci::WireBytes{2, 556});  // the second lies beyond 4 GiB
    CHECK(pci::write_packets(limits, 0x1ff0, 64) == pci::WireBytes{2, 104});        // a 4 KiB boundary
    CHECK(pci::completion_packets(limits, 0x1000, 64) == pci::WireBytes{1, 84});
    CHECK(pci::completion_packets(limits, 0x1000, 512) == pci::WireBytes{2, 552});
    CHECK(pci::completion_packets(limits, 0x10ff, 2) == pci::WireBytes{2, 42});  // over an aligned boundary
    limits.short_completion_bytes = 64;
    CHECK(pci::completion_packets(limits, 0x1000, 256) == pci::WireBytes{4, 336});
    CHECK(pci::completion_packets(limits, 0x1000, 257) == pci::WireBytes{2, 297});
}

TEST_CASE("a write changes memory when its last byte has crossed the link, and its buffer is free when it has left") {
    LinkRig rig;
    const auto data = pattern(64);
    REQUIRE(rig.link.write(rig.master(), 0x1000, data, 7, true));
    // 64 + 20 bytes of 1002.607 ps, then 100 ns of flight.
    rig.run_until(184'218_ps);
    CHECK(rig.host.memory[0x1000] == std::byte{0});
    CHECK(rig.engine.events == std::vector<Event>{{84'219, "sent 7 ok"}});
    rig.run_until(184'219_ps);
    CHECK(rig.host.memory[0x1000] == std::byte{1});
    CHECK(rig.host.memory[0x103f] == std::byte{64});
    CHECK(rig.host.last_requester == rig.who);
    CHECK(rig.link.idle());
}

TEST_CASE("a read takes the data when the host serves it and ends with its last byte") {
    LinkRig rig;
    REQUIRE(rig.link.read(rig.master(), 0x2000, 64, 9));
    // Request: 20 bytes, 20'052 ps, and flight; 200 ns at the host; completion: 84 bytes, 84'219 ps, and flight.
    rig.host.memory[0x2000] = std::byte{1};
    rig.run_until(320'051_ps);
    rig.host.memory[0x2000] = std::byte{2};
    rig.run_until(320'052_ps);
    rig.host.memory[0x2000] = std::byte{3};
    rig.run();
    REQUIRE(rig.engine.events == std::vector<Event>{{504'271, "read 9 ok 64"}});
    CHECK(rig.engine.last[0] == std::byte{2});
}

TEST_CASE("a read never passes a write; a message waits for the writes before it") {
    LinkRig rig;
    const auto data = pattern(256, 5);
    REQUIRE(rig.link.write(rig.master(), 0x1000, data, 0, false));
    REQUIRE(rig.link.read(rig.master(), 0x1000, 4, 1));
    rig.link.message(rig.master(), 0xfee0'0000, 0x41);
    CHECK(rig.host.messages.empty());
    rig.run_until(376'719_ps);
    CHECK(rig.host.memory[0x1000] == std::byte{5});
    CHECK(rig.host.messages.empty());
    rig.run_until(420'836_ps);  // 276 + 20 + 24 bytes and flight
    CHECK(rig.host.messages == std::vector<pci::InterruptMessage>{{0xfee0'0000, 0x41, rig.who}});
    rig.run();
    REQUIRE(rig.engine.events.size() == 1);
    CHECK(rig.engine.last == pattern(4, 5));
}

TEST_CASE("a slow write holds back the read behind it") {
    struct SlowWrites final : pci::HostTiming {
        sim::Time served(const pci::HostAccess& access, sim::Time arrival) override {
            return access.write ? arrival + 1_us : arrival;
        }
    };
    LinkRig rig;
    SlowWrites slow;
    pci::Link link(rig.simulation.scope("slow"), rig.root.bus(), slow, LinkRig::round_link());
    link.connect(rig.engine);
    const auto data = pattern(64, 5);
    REQUIRE(link.write(rig.master(), 0x1000, data, 0, false));
    REQUIRE(link.read(rig.master(), 0x1000, 64, 1));
    rig.run();
    // The write is in memory at 84'219 + 100'000 + 1'000'000; the read's data leave then.
    REQUIRE(rig.engine.events == std::vector<Event>{{1'368'438, "read 1 ok 64"}});
    CHECK(rig.engine.last == data);
}

TEST_CASE("a large read goes as several requests, no more at once than there are tags") {
    for (const auto& [tags, end] : {std::pair{4u, 2'633'809}, std::pair{1u, 3'893'964}}) {
        pci::LinkConfig config = LinkRig::round_link();
        config.tags = tags;
        LinkRig rig(config);
        REQUIRE(rig.link.read(rig.master(), 0x1000, 2048, 1));
        rig.run();
        REQUIRE(rig.engine.events.size() == 1);
        CHECK(rig.engine.events[0].ps == end);
        CHECK(rig.engine.events[0].what == "read 1 ok 2048");
        CHECK(rig.link.up().packets() == 4);
        CHECK(rig.link.down().packets() == 8);
    }
}

TEST_CASE("posted credits: a write waits until memory has taken the one before") {
    pci::LinkConfig config = LinkRig::round_link();
    config.posted_headers = 1;
    LinkRig rig(config);
    const auto data = pattern(64);
    REQUIRE(rig.link.write(rig.master(), 0x1000, data, 1, true));
    REQUIRE(rig.link.write(rig.master(), 0x1040, data, 2, true));
    rig.run();
    // The credit of the first comes back 100 ns after its arrival at 184'219.
    CHECK(rig.engine.events == std::vector<Event>{{84'219, "sent 1 ok"}, {368'438, "sent 2 ok"}});
}

TEST_CASE("what is refused: functions that may not master, memory that is not there") {
    LinkRig rig;
    REQUIRE(rig.link.read(rig.master(), 0xff'0000, 600, 1));
    rig.run();
    REQUIRE(rig.engine.events.size() == 1);
    CHECK(rig.engine.events[0].what == "read 1 unsupported 0");
    rig.engine.events.clear();
    rig.set_config(rig.who, pci::header::command, 2, 0);
    const auto data = pattern(16);
    CHECK(rig.link.read(rig.master(), 0x1000, 64, 2));
    CHECK(rig.link.write(rig.master(), 0x1000, data, 3, true));
    CHECK(rig.link.write(rig.master(), 0x1000, data, 4, false));
    rig.link.message(rig.master(), 0xfee0'0000, 1);
    CHECK(rig.engine.events.empty());
    rig.run();
    REQUIRE(rig.engine.events.size() == 2);
    CHECK(rig.engine.events[0].what == "read 2 not_sent 0");
    CHECK(rig.engine.events[1].what == "sent 3 not_sent");
    CHECK(rig.host.memory[0x1000] == std::byte{0});
    CHECK(rig.host.messages.empty());
}

TEST_CASE("a full link says so once and tells when there is room") {
    LinkRig rig;
    unsigned accepted = 0;
    while (rig.link.read(rig.master(), 0x1000, 64, accepted)) ++accepted;
    CHECK(accepted == 256);
    CHECK_FALSE(rig.link.read(rig.master(), 0x1000, 64, 0));
    rig.run();
    REQUIRE(rig.engine.events.size() == 257);
    CHECK(rig.engine.events[0].what == "read 0 ok 64");
    CHECK(rig.engine.events[1].what == "ready");
    unsigned writes = 0;
    const auto data = pattern(64);
    while (rig.link.write(rig.master(), 0x1000, data, 0, false)) ++writes;
    CHECK(writes == 256);
    const auto large = pattern(16384);
    rig.run();
    CHECK(rig.engine.events.size() == 258);
    writes = 0;
    while (rig.link.write(rig.master(), 0x1000, large, 0, false)) ++writes;
    CHECK(writes == 4);  // 64 KiB
    rig.run();
    CHECK(rig.link.idle());
}

TEST_CASE("messages have room of their own; beyond it the same one is not sent twice") {
    LinkRig rig;
    const auto data = pattern(64);
    while (rig.link.write(rig.master(), 0x1000, data, 0, false)) {
    }
    for (unsigned turn = 0; turn < 2; ++turn) {
        for (unsigned vector = 0; vector < 257; ++vector) rig.link.message(rig.master(), 0xfee0'0000, vector);
    }
    rig.run();
    CHECK(rig.host.messages.size() == 256);
    CHECK(rig.simulation.statistics().counter("link.merged_messages", "", "").value() == 256);
    CHECK(rig.simulation.statistics().counter("link.lost_messages", "", "").value() == 2);
}

TEST_CASE("a forgotten function: what has left arrives, what has not never will, nothing is answered") {
    LinkRig rig;
    const auto data = pattern(64);
    REQUIRE(rig.link.write(rig.master(), 0x1000, data, 1, true));
    REQUIRE(rig.link.write(rig.master(), 0x2000, data, 2, true));
    REQUIRE(rig.link.read(rig.master(), 0x1000, 4096, 3));
    rig.run_until(90'000_ps);
    rig.link.message(rig.master(), 0xfee0'0000, 1);
    rig.link.forget(rig.master());
    CHECK(rig.host.memory[0x1000] == std::byte{1});
    rig.host.memory[0x1000] = std::byte{0xff};
    rig.run();
    CHECK(rig.engine.events == std::vector<Event>{{84'219, "sent 1 ok"}});
    CHECK(rig.host.memory[0x1000] == std::byte{0xff});
    CHECK(rig.host.messages.empty());
    CHECK(rig.host.memory[0x2000] == std::byte{0});
    CHECK(rig.link.idle());
    rig.engine.events.clear();
    for (unsigned i = 0; i < 256; ++i) CHECK(rig.link.read(rig.master(), 0x1000, 64, i));
    rig.run();
    CHECK(rig.engine.events.size() == 256);
}

TEST_CASE("damaged packets are sent again: later, and whole") {
    pci::LinkConfig config = LinkRig::round_link();
    config.errors = {3, 300_ns, 10_us};
    LinkRig rig(config);
    const auto data = pattern(64);
    for (unsigned i = 0; i < 250; ++i) REQUIRE(rig.link.write(rig.master(), 64 * i, data, i, false));
    rig.run();
    CHECK(rig.link.up().replays() == 113);
    CHECK(rig.link.up().retrains() == 2);
    CHECK(rig.link.up().packets() == 250);
    // 250 writes, 113 of them again after 300 ns, two times training the link.
    CHECK(rig.link.up().free_at().ps() == 84'471'509);
    for (unsigned i = 0; i < 250 * 64; ++i) REQUIRE(rig.host.memory[i] == data[i % 64]);
}

TEST_CASE("the device's error registers tell of damaged packets") {
    pci::LinkConfig config = LinkRig::round_link();
    config.errors = {3, 300_ns, 10_us};
    Rig rig;
    pci::FunctionLayout layout = pci::device_function(identity(), {}, pci::extended_config_bytes);
    pci::add_express(layout.config, {});
    pci::add_aer(layout.config, false);
    auto dev = rig.device(rig.root.bus(), 0, std::move(layout));
    const pci::RequesterId who = rig.id(0, 0);
    rig.set_config(who, pci::header::command, 2, pci::command::bus_master);
    pci::FixedHostTiming timing(200_ns, 0_ns);
    pci::Link link(rig.simulation.scope("link"), rig.root.bus(), timing, config);
    const unsigned status = 0x100 + pci::aer::correctable_status;
    for (unsigned i = 0; i < 100; ++i) REQUIRE(link.read(dev->function.master(), 0x1000, 64, i));
    rig.simulation.agenda().run_until(1_ms);
    CHECK(link.down().replays() == 51);
    CHECK((rig.config(who, status, 4) & pci::aer::bad_packet) != 0);
    CHECK((rig.config(who, 0x40 + pci::express::device_status, 2) & pci::express::correctable_detected) != 0);
    rig.set_config(who, status, 4, ~0u);
    CHECK(rig.config(who, status, 4) == 0);
}

TEST_CASE("processors' writes reach the device in time; a read pushes them") {
    LinkRig rig;
    rig.link.connect(rig.engine);
    pci::FunctionLayout layout = pci::device_function(identity(), {{{pci::BarKind::memory32, 4096}}}, 256);
    auto other = rig.device(rig.root.bus(), 1, std::move(layout));
    rig.set_config(rig.id(0, 1), pci::header::bar0, 4, 0xe000'0000);
    rig.set_config(rig.id(0, 1), pci::header::command, 2, pci::command::memory_space);
    CHECK(rig.link.post_write(0xe000'0010, 4, 0x55).ps() == 124'062);  // 24 bytes and flight
    rig.run_until(124'061_ps);
    CHECK(other->last_write.size == 0);
    rig.run_until(124'062_ps);
    CHECK(other->last_write == RecordingDevice::Write{0, 0x10, 4, 0x55});
    REQUIRE(!rig.link.post_write(0xe000'0010, 4, 0x66).is_never());
    const pci::Link::Value value = rig.link.read_now(0xe000'0010, 4);
    CHECK(value.value == 0x66);
    // 24 + 20 bytes down, 24 up, twice flight, from 124'062 on.
    CHECK(value.at.ps() == 124'062 + 44'114 + 100'000 + 24'062 + 100'000);
    CHECK(rig.link.read_now(0xf000'0000, 4).value == 0xffff'ffff);
}

TEST_CASE("the device's clock: once, at the time that was asked for last, before what else is due then") {
    LinkRig rig;
    rig.link.wake_at(700_ns);
    rig.link.wake_at(504'271_ps);  // when the read will end
    REQUIRE(rig.link.read(rig.master(), 0x2000, 64, 9));
    rig.run();
    CHECK(rig.engine.events == std::vector<Event>{{504'271, "woken"}, {504'271, "read 9 ok 64"}});
    const sim::Time now = rig.simulation.agenda().now();
    rig.link.wake_at(now + 5_us);
    rig.link.wake_at(sim::Time::never());
    rig.run();
    CHECK(rig.engine.events.size() == 2);
    rig.link.wake_at(now);  // has passed: now
    rig.run();
    REQUIRE(rig.engine.events.size() == 3);
    CHECK(rig.engine.events.back() == Event{(now + 1_ms).ps(), "woken"});
    CHECK(rig.link.idle());
}

TEST_CASE("a link restored in mid-flight goes on exactly as it was") {
    pci::LinkConfig config = LinkRig::round_link();
    config.errors = {10, 300_ns, 10_us};
    const auto start = [](LinkRig& rig) {
        const auto data = pattern(300, 9);
        for (unsigned i = 0; i < 20; ++i) {
            (void)rig.link.write(rig.master(), 0x1000 + 300 * i, data, i, i % 2 == 0);
            (void)rig.link.write(rig.master(), 0x3000 + 32 * i, std::span{data}.first(1 + i), 200 + i, false);
            (void)rig.link.read(rig.master(), 0x1000 + 300 * i, 700, 100 + i);
            if (i % 3 == 0) rig.link.message(rig.master(), 0xfee0'0000, i);
        }
        rig.link.wake_at(7_us);
    };
    LinkRig straight(config);
    start(straight);
    straight.run_until(4_us);
    const auto saved = sim::save_to_bytes(straight.link);
    const std::size_t before = straight.engine.events.size();
    LinkRig other(config);
    other.set_config(other.who, pci::header::command, 2, pci::command::bus_master);
    other.run_until(4_us);
    other.link.wake_at(5_us);  // is forgotten
    other.host.memory = straight.host.memory;
    sim::restore_from_bytes(other.link, saved);
    straight.run();
    other.run();
    CHECK(before > 0);
    CHECK(other.engine.events.size() > 10);
    CHECK(std::equal(straight.engine.events.begin() + static_cast<std::ptrdiff_t>(before), straight.engine.events.end(),
                     other.engine.events.begin(), other.engine.events.end()));
    CHECK(other.host.memory == straight.host.memory);
    CHECK(sim::save_to_bytes(other.link).size() == sim::save_to_bytes(straight.link).size());
}

}  // namespace link_test
