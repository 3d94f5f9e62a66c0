// A partition's services towards whoever asks: each question is answered once, also when the guest never does.
#include "models/partition_services.h"

#include "guest_ram_rig.h"

namespace partition_services_test {

using models::PartitionServices;
using vmbus::RequestOutcome;
using vmbus::SnapshotOperation;

namespace {

struct NoGuest final : vmbus::GuestPort, vmbus::GuestMemory {
    bool post_message(std::uint32_t, std::span<const std::byte>) override { return true; }
    void signal_event(std::uint32_t, std::uint16_t) override {}
    void open_connection(std::uint32_t) override {}
    void close_connection(std::uint32_t) override {}
    std::uint32_t processor_count() const override { return 1; }
    bool read(std::uint64_t, std::span<std::byte>) override { return false; }
    bool write(std::uint64_t, std::span<const std::byte>) override { return false; }
};

struct Listener final : models::ServiceListener {
    void service_changed() override { ++news; }
    int news = 0;
};

struct Rig : GuestRamRig {
    void run_until(sim::Time time) {
        while (simulation.agenda().next_deadline() <= time) REQUIRE(simulation.agenda().run_next());
    }

    NoGuest guest;
    Listener listener;
    vmbus::Server server{simulation.scope("bus"), guest, guest, {}};
    sim::SerialProcessor processor{simulation.scope("processor"), sim::Time::us(1)};
    PartitionServices services{simulation.scope("guest"), {server, processor, {}}, server, ram, listener};
};

}  // namespace

TEST_CASE("services: what the guest does not answer is answered in its stead, once") {
    Rig rig;
    const std::uint32_t keys = rig.services.key_values().list(vmbus::KeyValuePool::automatic);
    const std::uint32_t copy = rig.services.file_copy().copy("/var/", "x", {});
    const std::uint32_t freeze = rig.services.ask_snapshot(SnapshotOperation::freeze);
    const std::uint32_t thaw = rig.services.ask_snapshot(SnapshotOperation::thaw);
    CHECK(freeze != thaw);
    CHECK_FALSE(rig.services.take_key_values(keys));
    CHECK_FALSE(rig.services.take_copy(copy));
    rig.run_until(sim::Time::s(61));
    CHECK(rig.listener.news == 3);
    const auto no_keys = rig.services.take_key_values(keys);
    REQUIRE(no_keys);
    CHECK(no_keys->outcome == RequestOutcome::timed_out);
    CHECK(no_keys->items.empty());
    CHECK_FALSE(rig.services.take_key_values(keys));
    const auto no_copy = rig.services.take_copy(copy);
    REQUIRE(no_copy);
    CHECK(no_copy->outcome == RequestOutcome::timed_out);
    CHECK_FALSE(rig.services.take_copy(copy));
    CHECK_FALSE(rig.services.take_copy(copy + 1));
    // A freeze has its quarter of an hour, a thaw has not.
    rig.run_until(sim::Time::s(20 * 60));
    CHECK(rig.listener.news == 4);
    for (const std::uint32_t number : {freeze, thaw}) {
        const auto result = rig.services.take_snapshot(number);
        REQUIRE(result);
        CHECK(result->outcome == RequestOutcome::timed_out);
    }
}

TEST_CASE("services: snapshots are told apart by what they are") {
    Rig rig;
    const std::uint32_t freeze = rig.services.ask_snapshot(SnapshotOperation::freeze);
    const std::uint32_t thaw = rig.services.ask_snapshot(SnapshotOperation::thaw);
    rig.run_until(sim::Time::s(20 * 60));
    const auto frozen = rig.services.take_snapshot(freeze);
    const auto thawed = rig.services.take_snapshot(thaw);
    REQUIRE(frozen);
    REQUIRE(thawed);
    CHECK(frozen->operation == SnapshotOperation::freeze);
    CHECK(thawed->operation == SnapshotOperation::thaw);
}

TEST_CASE("services: sockets and memory without a guest") {
    Rig rig;
    CHECK_FALSE(rig.services.accept(5000));
    const auto socket = rig.services.sockets().connect(6000);
    REQUIRE(socket);
    rig.run_until(sim::Time::s(3));
    CHECK(rig.services.sockets().phase(*socket) == vmbus::HostSockets::Phase::over);
    CHECK(rig.listener.news == 1);
    CHECK(rig.services.assigned_pages() == 2048);
    CHECK_FALSE(rig.services.hot_add(32768));
    CHECK_FALSE(rig.services.memory().balloon(1));
}

}  // namespace partition_services_test
