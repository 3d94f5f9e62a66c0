// Heartbeat, shutdown and time synchronization against a guest that answers as Linux does: bytes, times, versions.
#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "tests/vmbus/integration_fixture.h"
#include "vmbus/integration/heartbeat.h"
#include "vmbus/integration/shutdown.h"
#include "vmbus/integration/time_sync.h"

namespace integration_services_test {

using namespace vmbus;
using namespace vmbus::testing;
using namespace sim::literals;

namespace {

std::uint64_t word(const Bytes& body, std::size_t at) {
    ByteReader reader{body};
    reader.skip(at);
    return reader.u64();
}

struct HealthLog final : HeartbeatListener {
    std::vector<GuestHealth> log;
    void health_changed(GuestHealth health) override { log.push_back(health); }
};

// Linux's heartbeat: the number plus one.
std::optional<std::uint32_t> plus_one(Bytes& body) {
    ByteBuilder next;
    next.u64(word(body, 0) + 1).bytes(std::span{body}.subspan(8));
    body = next.take();
    return ic::status::ok;
}

struct HeartbeatFixture {
    Root root;
    HealthLog health;
    Heartbeat heartbeat{root.scope("heartbeat"), root.host(), {}, &health};
    IntegrationGuest guest{root, ic::Type::heartbeat, {{3, 0}, {1, 0}}};
    HeartbeatFixture() { guest.on_request = plus_one; }
};

struct ShutdownLog final : ShutdownListener {
    std::vector<std::string> log;
    void shutdown_answered(ShutdownKind kind, RequestOutcome outcome, std::uint32_t status) override {
        log.push_back(std::to_string(static_cast<int>(kind)) + " " + std::string{to_text(outcome)} + " " +
                      std::to_string(status));
    }
};

struct CountingClock final : ReferenceClock {
    sim::Agenda& agenda;
    explicit CountingClock(sim::Agenda& a) : agenda(a) {}
    std::uint64_t reference_time() override { return static_cast<std::uint64_t>(agenda.now() / 100_ns) + 1'000'000; }
};

}  // namespace

TEST_CASE("heartbeat: at once and then every two seconds, 40 bytes, numbers from 1") {
    HeartbeatFixture f;
    f.guest.open();
    CHECK(f.guest.requests == std::vector<Bytes>{ByteBuilder{}.u64(1).zeros(32).take()});
    CHECK(f.heartbeat.version() == ic::Version{3, 0});
    CHECK(f.heartbeat.health() == GuestHealth::healthy);
    f.guest.run_for(2_s - 1_ns, 2_s - 1_ns);
    CHECK(f.heartbeat.beats() == 1);
    f.guest.run_for(1_ns, 1_ns);
    CHECK(f.heartbeat.beats() == 2);
    f.guest.run_for(8_s);
    CHECK(f.heartbeat.beats() == 6);
    CHECK(f.heartbeat.answers() == 6);
    CHECK(f.heartbeat.last_answer() == 10_s);
    CHECK(f.health.log == std::vector{GuestHealth::healthy});
}

TEST_CASE("heartbeat: silence of ten seconds is a lost guest, an answer brings it back, closing ends it") {
    HeartbeatFixture f;
    f.guest.open();
    f.guest.on_request = [](Bytes&) { return std::nullopt; };
    f.guest.run_for(10_s - 1_ms, 10_s - 1_ms);
    CHECK(f.heartbeat.health() == GuestHealth::healthy);
    f.guest.run_for(1_ms, 1_ms);
    CHECK(f.heartbeat.health() == GuestHealth::lost);
    // One request is at the guest, the others were not sent.
    CHECK(f.heartbeat.beats() == 2);
    f.guest.client.answer(ic::status::ok);
    f.root.settle();
    CHECK(f.heartbeat.health() == GuestHealth::lost);  // the number was not raised
    f.guest.on_request = plus_one;
    f.guest.run_for(2_s);
    CHECK(f.heartbeat.health() == GuestHealth::healthy);
    f.root.channel().close();
    CHECK(f.health.log ==
          std::vector{GuestHealth::healthy, GuestHealth::lost, GuestHealth::healthy, GuestHealth::no_contact});
    f.root.run_for(10_s);
    CHECK(f.heartbeat.beats() == 3);
}

TEST_CASE("heartbeat: what a guest says of its state is kept") {
    HeartbeatFixture f;
    f.guest.on_request = [](Bytes& body) {
        body[8] = std::byte{2};
        return plus_one(body);
    };
    f.guest.open();
    CHECK(f.heartbeat.application_state() == 2);
}

TEST_CASE("shutdown: bytes of a request") {
    struct Row {
        ShutdownKind kind;
        bool force;
        std::uint32_t flags;
    };
    for (const Row& row : {Row{ShutdownKind::power_off, false, 0}, Row{ShutdownKind::power_off, true, 1},
                           Row{ShutdownKind::restart, false, 2}, Row{ShutdownKind::restart, true, 3},
                           Row{ShutdownKind::hibernate, false, 4}, Row{ShutdownKind::hibernate, true, 5}}) {
        Root root;
        ShutdownLog log;
        Shutdown shutdown{root.scope("shutdown"), root.host(), &log};
        IntegrationGuest guest{root, ic::Type::shutdown, {{3, 2}, {3, 1}, {3, 0}, {1, 0}}};
        guest.open();
        CHECK(shutdown.ready());
        shutdown.request({row.kind, row.force, Shutdown::reason_planned, 30, "maintenance"});
        guest.run();
        REQUIRE(guest.requests.size() == 1);
        ByteBuilder expected;
        expected.u32(0x8000'0000).u32(30).u32(row.flags).bytes(as_bytes("maintenance")).zeros(2048 - 11);
        CHECK(guest.requests[0] == expected.take());
        CHECK(guest.requests[0].size() == 2060);
        CHECK(shutdown.accepted());
        CHECK(log.log == std::vector<std::string>{std::to_string(static_cast<int>(row.kind)) + " answered 0"});
    }
}

TEST_CASE("shutdown: which version can do what") {
    struct Row {
        ic::Version version;
        bool power_off, restart, hibernate;
    };
    for (const Row& row : {Row{{1, 0}, true, false, false}, Row{{3, 0}, true, false, false},
                           Row{{3, 1}, true, true, false}, Row{{3, 2}, true, true, true}}) {
        CAPTURE(row.version.minor);
        Root root;
        Shutdown shutdown{root.scope("shutdown"), root.host()};
        IntegrationGuest guest{root, ic::Type::shutdown, {row.version}};
        guest.open();
        const auto works = [&](ShutdownKind kind) {
            shutdown.request({kind});
            guest.run();
            return shutdown.accepted();
        };
        CHECK(works(ShutdownKind::power_off) == row.power_off);
        CHECK(works(ShutdownKind::restart) == row.restart);
        CHECK(works(ShutdownKind::hibernate) == row.hibernate);
    }
}

TEST_CASE("shutdown: a guest that declines, one that comes later, one that never comes") {
    Root root;
    ShutdownLog log;
    Shutdown shutdown{root.scope("shutdown"), root.host(), &log};
    IntegrationGuest guest{root, ic::Type::shutdown, {{3, 2}}};
    guest.on_request = [](Bytes&) { return ic::status::fail; };
    shutdown.request({ShutdownKind::hibernate}, 10_s);
    root.run_for(5_s);
    guest.open();
    CHECK(log.log == std::vector<std::string>{"2 answered 2147500037"});
    root.channel().close();
    shutdown.request({ShutdownKind::power_off}, 10_s);
    root.run_until(15_s);
    CHECK(log.log.back() == "0 timed out 0");
    CHECK_FALSE(shutdown.accepted());
}

TEST_CASE("time synchronization: sync after negotiation, then samples; the form depends on the version") {
    struct Row {
        ic::Version version;
        Bytes sync, sample;
    };
    // 2024-01-02 03:04:05 UTC is 1704164645, and 5 s later.
    constexpr std::uint64_t start = 116'444'736'000'000'000 + 1'704'164'645ull * 10'000'000;
    const auto v3 = [](std::uint64_t time, std::uint8_t flags) {
        return ByteBuilder{}.u64(time).zeros(16).u8(flags).zeros(3).take();
    };
    const auto v4 = [](std::uint64_t time, std::uint64_t reference, std::uint8_t flags) {
        return ByteBuilder{}.u64(time).u64(reference).u8(flags).zeros(7).take();
    };
    const std::vector<Row> rows{
        {{1, 0}, v3(start, 1), v3(start + 50'000'000, 2)},
        {{3, 0}, v3(start, 1), v3(start + 50'000'000, 2)},
        {{4, 0}, v4(start, 1'000'000, 1), v4(start + 50'000'000, 51'000'000, 2)},
    };
    for (const Row& row : rows) {
        CAPTURE(row.version.major);
        Root root;
        CountingClock clock{root.simulation.agenda()};
        TimeSync sync{root.scope("time"), root.host(), {1'704'164'645, 5_s}, clock};
        IntegrationGuest guest{root, ic::Type::time_sync, {row.version}};
        guest.open();
        CHECK(guest.requests == std::vector<Bytes>{row.sync});
        guest.run_for(5_s);
        CHECK(guest.requests == std::vector<Bytes>{row.sync, row.sample});
        guest.run_for(20_s);
        CHECK(guest.requests.size() == 6);
        CHECK(sync.answers() == 6);
    }
}

TEST_CASE("time synchronization: a sync on demand, at once or after the answer that is due; none while closed") {
    Root root;
    CountingClock clock{root.simulation.agenda()};
    TimeSync sync{root.scope("time"), root.host(), {}, clock};
    IntegrationGuest guest{root, ic::Type::time_sync, {{4, 0}}};
    const auto flags = [&] { return std::to_integer<int>(guest.requests.back()[16]); };
    sync.sync();
    guest.open();
    CHECK(guest.requests.size() == 1);
    guest.run_for(1_s);
    sync.sync();
    guest.run();
    CHECK(guest.requests.size() == 2);
    CHECK(flags() == 1);
    guest.on_request = [](Bytes&) { return std::nullopt; };
    guest.run_for(5_s);
    CHECK(guest.requests.size() == 3);
    CHECK(flags() == 2);
    sync.sync();
    guest.run();
    CHECK(guest.requests.size() == 3);
    guest.client.answer(ic::status::ok);
    guest.run();
    CHECK(guest.requests.size() == 4);
    CHECK(flags() == 1);
    root.channel().close();
    guest.run_for(20_s);
    CHECK(guest.requests.size() == 4);
}

TEST_CASE("saved between beats, a heartbeat restores to the same bytes and beats on time") {
    HeartbeatFixture a;
    a.guest.open();
    a.guest.run_for(3_s);
    const auto saved = sim::save_to_bytes(a.heartbeat);
    HeartbeatFixture b;
    b.root.run_until(3_s);
    b.root.channel().open();
    sim::restore_from_bytes(b.heartbeat, saved);
    CHECK(sim::save_to_bytes(b.heartbeat) == saved);
    b.root.channel().sent.clear();
    b.guest.run_for(1_s - 1_ns, 1_s - 1_ns);
    CHECK(b.heartbeat.beats() == 2);
    b.guest.run_for(1_ns, 1_ns);
    CHECK(b.heartbeat.beats() == 3);
    CHECK(b.heartbeat.answers() == 3);
}

}  // namespace integration_services_test
