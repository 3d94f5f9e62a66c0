// The guest's end where things go wrong: no memory, refusals, channels taken away halfway; no page is lost.
#include "vmbus/client/bus_client.h"

#include <doctest/doctest.h>

#include "sim/archive.h"
#include "tests/vmbus/echo.h"

namespace client_test {

namespace {

using namespace vmbus;
using namespace sim::literals;
using test::echo_type;
using test::EchoDevice;
using test::EchoDriver;
using test::instance;
using test::text;

constexpr std::uint64_t shared_pages = 3;  // interrupt page, monitor pages

TEST_CASE("pages: the lowest free ones, each once") {
    PageAllocator pages{10, 5};
    CHECK(pages.allocate(2) == std::vector<std::uint64_t>{10, 11});
    CHECK(pages.allocate(2) == std::vector<std::uint64_t>{12, 13});
    pages.release(std::vector<std::uint64_t>{13, 10});
    CHECK(pages.available() == 3);
    CHECK_FALSE(pages.allocate(4));
    PageAllocator copy{0, 0};
    sim::restore_from_bytes(copy, sim::save_to_bytes(pages));
    CHECK(copy.allocate(3) == std::vector<std::uint64_t>{10, 13, 14});
    CHECK(pages.allocate(1) == std::vector<std::uint64_t>{10});
    CHECK(pages.allocate(0) == std::vector<std::uint64_t>{});
    CHECK(copy.available() == 0);
}

struct Fixture {
    explicit Fixture(std::uint64_t memory_pages = 256) : bus({.memory_pages = memory_pages}) {
        channel = &bus.server.offer({echo_type, instance(1)}, device);
        bus.bindings[echo_type] = {&driver, false, {}, ReadMode::batched};
        all = bus.pages.available();
        bus.connect();
        guest = bus.client.find(echo_type);
        REQUIRE(guest != nullptr);
    }
    test::Loopback bus;
    EchoDevice device;
    EchoDriver driver;
    Channel* channel = nullptr;
    ClientChannel* guest = nullptr;
    std::uint64_t all = 0;
};

TEST_CASE("opening without memory, or twice") {
    Fixture f{16 + 3 + 8};
    CHECK_FALSE(f.guest->open({5, 4}, 0));
    CHECK_FALSE(f.guest->open({1, 4}, 0));
    CHECK_FALSE(f.guest->open({4, 1}, 0));
    CHECK(f.bus.pages.available() == 8);
    const auto taken = f.bus.pages.allocate(3);
    f.bus.pages.release(std::span{*taken}.subspan(0, 1));
    f.bus.pages.release(std::span{*taken}.subspan(2));
    CHECK(f.guest->open({3, 3}, 0));
    // Of its rings: before the page that somebody else has, and behind it.
    using Filled = std::vector<std::pair<std::uint64_t, std::uint64_t>>;
    CHECK(f.bus.memory.filled ==
          Filled{{(*taken)[0] * page_bytes, page_bytes}, {(*taken)[2] * page_bytes, 5 * page_bytes}});
    CHECK_FALSE(f.guest->open({2, 2}, 0));
    f.bus.run(1_ms);
    CHECK(f.guest->is_open());
    CHECK_FALSE(f.guest->open({2, 2}, 0));
    CHECK(f.driver.statuses.size() == 1);
}

TEST_CASE("what the host refuses costs no pages") {
    Fixture f;
    f.device.answer = 0xc000'009a;
    REQUIRE(f.guest->open({4, 4}, 0));
    f.bus.run(1_ms);
    CHECK(f.driver.statuses == std::vector<std::uint32_t>{0xc000'009a});
    CHECK_FALSE(f.guest->is_open());
    CHECK(f.bus.pages.available() == f.all - shared_pages);
    CHECK(f.bus.server.gpadl_pages() == 0);
    // A processor that there is not.
    f.device.answer = 0;
    REQUIRE(f.guest->open({4, 4}, 77));
    f.bus.run(1_ms);
    CHECK(f.driver.statuses.back() == status::unsuccessful);
    const std::vector<std::uint64_t> nowhere{1'000'000};
    const std::uint32_t number = f.guest->make_gpadl(nowhere);
    f.bus.run(1_ms);
    CHECK(f.driver.created == std::vector<std::pair<std::uint32_t, std::uint32_t>>{{number, status::unsuccessful}});
    CHECK(f.bus.pages.available() == f.all - shared_pages);
}

TEST_CASE("taken away at any moment of opening") {
    for (int moment = 0; moment < 9; ++moment) {
        CAPTURE(moment);
        Fixture f;
        REQUIRE(f.guest->open({4, 4}, 0));
        f.bus.run(sim::Time::us(moment));
        if (moment == 7) REQUIRE(f.guest->send(1, text("last"), true));
        if (moment == 8) f.guest->close();
        f.bus.server.rescind(*f.channel);
        f.bus.run(1_ms);
        CHECK(f.driver.rescinds == 1);
        CHECK(f.device.releases == 1);
        CHECK(f.device.opens == f.device.closes);
        CHECK(f.bus.client.find(echo_type) == nullptr);
        CHECK(f.bus.pages.available() == f.all - shared_pages);
        CHECK(f.bus.server.gpadl_pages() == 0);
        CHECK(f.bus.server.channel_count() == 0);
    }
}

TEST_CASE("beginning anew and unloading lose no pages") {
    Fixture f;
    for (int round = 0; round < 3; ++round) {
        REQUIRE(f.bus.client.find(echo_type)->open({4, 4}, 0));
        f.bus.run(round == 1 ? 3_us : 1_ms);
        f.bus.connect();
        CHECK(f.bus.pages.available() == f.all - shared_pages);
    }
    CHECK(f.device.opens == f.device.closes);
    REQUIRE(f.bus.client.find(echo_type)->open({4, 4}, 0));
    f.bus.run(1_ms);
    f.bus.client.unload();
    f.bus.run(1_ms);
    CHECK(f.bus.unloads == 1);
    CHECK(f.bus.client.version() == version::none);
    CHECK(f.bus.pages.available() == f.all - shared_pages);
}

TEST_CASE("events and messages for what the guest does not have") {
    Fixture f;
    f.bus.client.host_event(0, 1);
    f.bus.client.host_event(0, 2047);
    for (const MessageRow& row : message_table) {
        if (row.type == MessageType::version_response || row.type == MessageType::offer_channel ||
            row.type == MessageType::unload_response || row.type == MessageType::rescind_offer) {
            continue;
        }
        std::vector<std::byte> bytes(row.size);
        std::memcpy(bytes.data(), &row.type, 4);
        f.bus.client.host_message(bytes);
        f.bus.client.host_message(std::span{bytes}.first(4));
    }
    CHECK(f.driver.statuses.empty());
    CHECK(f.driver.created.empty());
    CHECK(f.driver.signals == 0);
    CHECK(f.bus.client.find(echo_type) == f.guest);
}

TEST_CASE("a direct reader in the guest") {
    Fixture f;
    REQUIRE(f.guest->open({4, 4}, 2, {}, ReadMode::direct));
    f.bus.run(1_ms);
    for (std::uint64_t n = 0; n < 5; ++n) {
        REQUIRE(f.guest->send(n, text("x"), true));
        f.guest->flush();
        f.bus.run(10_us);
    }
    CHECK(f.driver.got.size() == 5);
    CHECK(f.driver.signals == 5);
    CHECK(f.bus.wires.last_event.first == 2);
}

}  // namespace

}  // namespace client_test
