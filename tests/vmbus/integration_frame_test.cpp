// The frame of the integration services: bytes on the ring, versions, one request at a time, answers that come late.
#include <doctest/doctest.h>

#include <array>
#include <string>
#include <vector>

#include "sim/check.h"
#include "tests/vmbus/integration_fixture.h"
#include "vmbus/integration/ic_service.h"

namespace integration_frame_test {

using namespace vmbus;
using namespace vmbus::testing;
using namespace sim::literals;

namespace {

constexpr std::array versions{ic::Version{1, 0}, ic::Version{3, 0}, ic::Version{3, 2}};
constexpr ic::Description description{ic::Type::shutdown, interface_type::shutdown,
                                      guid("00000000-0000-0000-0000-000000000001"), versions};

struct Asker final : ic::User {
    std::vector<std::string> log;

    void negotiated(ic::Version version) override {
        log.push_back("version " + std::to_string(version.major) + "." + std::to_string(version.minor));
    }
    void answered(std::uint32_t token, const ic::Answer& answer) override {
        log.push_back(std::to_string(token) + " " + std::string{to_text(answer.outcome)} + " " +
                      std::to_string(answer.status) + " " + std::to_string(answer.body.size()));
    }
    void disconnected() override { log.push_back("gone"); }
};

using Log = std::vector<std::string>;

struct Fixture {
    Root root;
    Asker asker;
    ic::Service service{root.scope("ic"), root.host(), description, asker};
    ScriptedChannel& channel = root.channel();

    Bytes open() {
        channel.open();
        root.settle();
        return channel.take().bytes;
    }
    // The guest's answer to a negotiation.
    void choose(ic::Version framework, ic::Version message, std::uint16_t counts = 1, std::uint8_t transaction = 1) {
        ByteBuilder body;
        body.u16(counts).u16(counts).u32(0).u16(framework.major).u16(framework.minor);
        body.u16(message.major).u16(message.minor);
        answer(ic::Type::negotiate, transaction, body.take());
    }
    void answer(ic::Type type, std::uint8_t transaction, Bytes body, std::uint32_t status = 0) {
        ic::Message message;
        message.type = type;
        message.transaction = transaction;
        message.flags = ic::flag::transaction | ic::flag::response;
        message.status = status;
        message.body = std::move(body);
        channel.put(ic::build(message));
        root.settle();
    }
};

}  // namespace

TEST_CASE("the offer is a message pipe that the guest enumerates") {
    Fixture f;
    CHECK(f.channel.offer().type == interface_type::shutdown);
    CHECK(f.channel.offer().flags == 0x11);
    CHECK(f.channel.offer().user_defined[0] == std::byte{4});
    CHECK(f.service.phase() == ic::Phase::closed);
}

TEST_CASE("negotiation: exact bytes, and what each answer leads to") {
    SUBCASE("what the host sends") {
        Fixture f;
        const Bytes expected = hex({
            1, 0, 0, 0, 48, 0, 0, 0,               // pipe: data, 48 bytes
            0, 0, 0, 0, 0,  0, 0, 0, 0, 0, 28, 0,  // framework, type 0, version, body of 28
            0, 0, 0, 0, 1,  3, 0, 0,               // status, transaction 1, transaction | request
            2, 0, 3, 0, 0,  0, 0, 0,               // 2 framework versions, 3 message versions
            1, 0, 0, 0, 3,  0, 0, 0,               // 1.0 3.0
            1, 0, 0, 0, 3,  0, 0, 0, 3, 0, 2,  0,  // 1.0 3.0 3.2
        });
        CHECK(f.open() == expected);
        CHECK(f.service.phase() == ic::Phase::negotiating);
    }
    struct Row {
        const char* what;
        ic::Version framework, message;
        std::uint16_t counts;
        ic::Phase phase;
        Log log;
        bool fault;
    };
    const std::vector<Row> rows{
        {"newest of both", {3, 0}, {3, 2}, 1, ic::Phase::ready, {"version 3.2"}, false},
        {"oldest of both", {1, 0}, {1, 0}, 1, ic::Phase::ready, {"version 1.0"}, false},
        {"none", {0, 0}, {0, 0}, 0, ic::Phase::refused, {}, false},
        {"two of each", {1, 0}, {1, 0}, 2, ic::Phase::refused, {}, false},
        {"a framework not offered", {2, 0}, {3, 0}, 1, ic::Phase::closed, {"gone"}, true},
        {"a version not offered", {3, 0}, {3, 1}, 1, ic::Phase::closed, {"gone"}, true},
    };
    for (const Row& row : rows) {
        CAPTURE(row.what);
        Fixture f;
        (void)f.open();
        f.choose(row.framework, row.message, row.counts);
        CHECK(f.service.phase() == row.phase);
        CHECK(f.asker.log == row.log);
        CHECK(f.channel.rescinded == row.fault);
    }
}

TEST_CASE("requests go one at a time, in order, and their answers too") {
    Fixture f;
    f.service.ask(7, hex({0xaa}), 10_s);
    f.service.ask(8, hex({0xbb, 0xbb}), 10_s);
    (void)f.open();
    f.choose({3, 0}, {3, 0});
    const auto first = f.channel.take();
    CHECK(first.transaction == 2);
    CHECK(first.bytes ==
          hex({1, 0, 0, 0, 21, 0, 0, 0, 3, 0, 0, 0, 3, 0, 3, 0, 0, 0, 1, 0, 0, 0, 0, 0, 2, 3, 0, 0, 0xaa}));
    CHECK(f.channel.sent.empty());
    f.answer(ic::Type::shutdown, 2, hex({1, 2, 3}));
    CHECK(f.channel.take().bytes.back() == std::byte{0xbb});
    f.answer(ic::Type::shutdown, 3, {}, ic::status::fail);
    CHECK(f.asker.log == Log{"version 3.0", "7 answered 0 3", "8 answered 2147500037 0"});
    CHECK(f.service.idle());
}

TEST_CASE("answers to nothing are counted and change nothing") {
    struct Row {
        const char* what;
        ic::Type type;
        std::uint8_t transaction;
    };
    for (const Row& row :
         {Row{"another transaction", ic::Type::shutdown, 9}, Row{"another type", ic::Type::heartbeat, 2},
          Row{"a second negotiation", ic::Type::negotiate, 1}}) {
        CAPTURE(row.what);
        Fixture f;
        (void)f.open();
        f.choose({3, 0}, {3, 2});
        f.service.ask(1, hex({1}), 10_s);
        f.root.settle();
        f.answer(row.type, row.transaction, hex({0}));
        CHECK(f.asker.log == Log{"version 3.2"});
        CHECK(f.service.pending() == 1);
        CHECK_FALSE(f.channel.rescinded);
    }
}

TEST_CASE("a message that is not all there closes the channel") {
    Bytes whole = ic::build({{}, ic::Type::negotiate, {}, 0, 1, 5, hex({1, 2, 3, 4})});
    for (std::size_t length = 0; length < whole.size(); length += 8) {
        CAPTURE(length);
        Fixture f;
        (void)f.open();
        f.channel.put(Bytes(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(length)));
        f.root.settle();
        CHECK(f.channel.rescinded);
        CHECK(f.asker.log == Log{"gone"});
    }
}

TEST_CASE("time-outs: to the instant, and the guest's late answer makes room for the next request") {
    Fixture f;
    (void)f.open();
    f.choose({3, 0}, {3, 2});
    f.service.ask(1, hex({1}), 10_s);
    f.service.ask(2, hex({2}), 20_s);
    f.root.run_until(10_s - 1_ps);
    CHECK(f.asker.log == Log{"version 3.2"});
    f.root.run_until(10_s);
    CHECK(f.asker.log == Log{"version 3.2", "1 timed out 0 0"});
    CHECK(f.channel.sent.size() == 1);  // the second is not sent while the guest has the first
    (void)f.channel.take();
    f.root.run_until(15_s);
    f.answer(ic::Type::shutdown, 2, hex({9}));
    CHECK(f.channel.take().bytes.back() == std::byte{2});
    f.answer(ic::Type::shutdown, 3, hex({9}));
    CHECK(f.asker.log == Log{"version 3.2", "1 timed out 0 0", "2 answered 0 1"});
}

TEST_CASE("closing: what the guest had is lost, what it had not waits for the next opening") {
    Fixture f;
    (void)f.open();
    f.choose({3, 0}, {3, 2});
    f.service.ask(1, hex({1}), 100_s);
    f.service.ask(2, hex({2}), 100_s);
    f.root.settle();
    f.channel.close();
    CHECK(f.asker.log == Log{"version 3.2", "1 disconnected 0 0", "gone"});
    CHECK(f.open().size() == 56);
    f.choose({3, 0}, {3, 0}, 1, 3);
    CHECK(f.channel.take().bytes.back() == std::byte{2});
}

TEST_CASE("a guest that refuses all versions fails what is asked") {
    Fixture f;
    f.service.ask(1, hex({1}), 100_s);
    (void)f.open();
    f.choose({0, 0}, {0, 0}, 0);
    f.service.ask(2, hex({1}), 100_s);
    CHECK(f.asker.log == Log{"1 not supported 0 0", "2 not supported 0 0"});
}

TEST_CASE("each message costs the root's processor its time, in both directions") {
    Root root;
    root.costs = {10_us, 100_us, 1_us, 1024_ns};  // packet, message, signal, KiB: 1 ns a byte
    Asker asker;
    ic::Service service{root.scope("ic"), root.host(), description, asker};
    root.channel().open();
    // Sending: packet + signal + 56 bytes.
    const sim::Time sent = 11_us + 56_ns;
    root.run_until(sent - 1_ps);
    CHECK(root.channel().sent.empty());
    root.run_until(sent);
    CHECK(root.channel().sent.size() == 1);
    // Receiving: message + packet + 48 bytes (44, padded).
    root.run_until(1_ms);
    ByteBuilder body;
    body.u16(1).u16(1).u32(0).u16(3).u16(0).u16(3).u16(0);
    root.channel().put(ic::build({{}, ic::Type::negotiate, {}, 0, 1, 5, body.take()}));
    root.run_until(1_ms + 110_us + 48_ns - 1_ps);
    CHECK(asker.log.empty());
    root.run_until(1_ms + 110_us + 48_ns);
    CHECK(asker.log == Log{"version 3.0"});
}

TEST_CASE("a ring without room: nothing more is taken until there is some") {
    Fixture f;
    f.channel.room = 1;
    (void)f.open();
    f.channel.room = 0;
    f.service.ask(1, hex({1}), 100_s);
    f.choose({3, 0}, {3, 2});
    CHECK(f.channel.sent.empty());
    f.answer(ic::Type::heartbeat, 77, {});  // stays on the ring
    CHECK(f.channel.inbound.size() == 1);
    f.channel.room = 5;
    f.root.simulation.agenda();
    f.channel.put(hex({}), 0, false, PacketType::completion);  // signals; ignored
    f.root.settle();
    CHECK(f.channel.sent.size() == 1);
    CHECK(f.channel.inbound.empty());
}

TEST_CASE("a guest's packet that wants a completion gets one") {
    Fixture f;
    (void)f.open();
    f.channel.put(ic::build({{}, ic::Type::heartbeat, {}, 0, 1, 5, {}}), 0x1234, true);
    f.root.settle();
    CHECK(f.channel.take() == ScriptedChannel::Sent{true, 0x1234, {}});
}

TEST_CASE("saved in the middle of a request, restored, it goes on alike") {
    const auto build = [](Fixture& f) {
        (void)f.open();
        f.choose({3, 0}, {3, 2});
        f.service.ask(1, hex({1}), 10_s);
        f.service.ask(2, hex({2}), 20_s);
        f.root.run_until(5_s);
    };
    Fixture straight;
    build(straight);
    const auto saved = sim::save_to_bytes(straight.service);
    Fixture other;
    (void)other.open();
    sim::restore_from_bytes(other.service, saved);
    CHECK(sim::save_to_bytes(other.service) == saved);
    other.answer(ic::Type::shutdown, 2, hex({5, 5}));
    CHECK(other.asker.log == Log{"1 answered 0 2"});
    other.root.run_until(20_s);
    CHECK(other.asker.log == Log{"1 answered 0 2", "2 timed out 0 0"});
}

TEST_CASE("the client, Linux's way: its newest version that is offered, or none") {
    struct Row {
        std::vector<ic::Version> own;
        ic::Phase phase;
        ic::Version version;
    };
    const std::vector<Row> rows{
        {{{3, 2}, {3, 1}, {3, 0}, {1, 0}}, ic::Phase::ready, {3, 2}},
        {{{4, 0}, {3, 0}}, ic::Phase::ready, {3, 0}},
        {{{5, 0}}, ic::Phase::refused, {0, 0}},
    };
    for (const Row& row : rows) {
        Fixture f;
        IntegrationGuest guest{f.root, ic::Type::shutdown, row.own};
        guest.open();
        CHECK(f.service.phase() == row.phase);
        CHECK(f.service.version() == row.version);
    }
}

}  // namespace integration_frame_test
