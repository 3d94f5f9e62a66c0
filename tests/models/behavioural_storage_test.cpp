// The storage driver of a behavioural guest, against the root's controller with a disk.
#include "models/behavioural/storage_driver.h"

#include <doctest/doctest.h>

#include "models/profiles.h"
#include "tests/models/plain_guest.h"
#include "tests/vmbus/storage_loopback.h"

namespace behavioural_storage_test {

using namespace models;
using namespace models::test;
using sim::Time;

namespace {

struct User final : StorageDriverUser {
    void storage_ready() override { ++ready; }
    void storage_done(std::uint64_t tag, bool succeeded, std::span<const std::byte> data) override {
        ++done;
        failed += succeeded ? 0 : 1;
        if (data.empty()) return;
        // Each block was filled with its tag.
        right += std::ranges::all_of(data, [tag](std::byte b) { return b == static_cast<std::byte>(tag); }) ? 1 : 0;
    }
    template <class Archive>
    void fields(Archive& archive) {
        archive(ready, done, failed, right);
    }
    unsigned ready = 0, done = 0, failed = 0, right = 0;
};

struct Rig {
    explicit Rig(std::uint16_t sub_channels = 3)
        : guest(loop, 4),
          store(vmbus::testing::small_disk()),
          timed(loop.simulation.scope("disk.blocks"), store, {}),
          disk(loop.simulation.scope("disk"), timed, vmbus::testing::named_disk()),
          provider(loop.simulation.scope("storvsp"), loop.server, {.instance = vmbus::testing::storage_instance},
                   [this](std::uint16_t) -> sim::Processor& { return root; }),
          driver(loop.simulation.scope("guest.storage"), guest, user,
                 StorageDriver::config(find_profile("one-nanosecond").driver_costs, Time::us(2), sub_channels)) {
        provider.add_disk({}, disk);
        registrations.push_back(loop.simulation.scope("store").register_state(store));
        registrations.push_back(loop.simulation.scope("user").register_state(user));
        loop.client.connect();
        loop.run(Time::ms(20));
        REQUIRE(driver.is_ready());
    }
    std::vector<std::byte> block(std::uint64_t tag) const {
        return std::vector<std::byte>(driver.block_bytes(), static_cast<std::byte>(tag));
    }

    vmbus::test::Loopback loop;
    PlainGuest guest;
    sim::SerialProcessor root{loop.simulation.scope("root.cpu"), Time::zero()};
    vmbus::MemoryStore store;
    vmbus::TimedDisk timed;
    vmbus::ScsiDisk disk;
    vmbus::StorageProvider provider;
    User user;
    StorageDriver driver;
    std::vector<sim::StateRegistration> registrations;
};

}  // namespace

TEST_CASE("behavioural storage driver: writes, reads, a flush, on all channels") {
    Rig rig;
    CHECK(rig.user.ready == 1);
    CHECK(rig.driver.block_bytes() == 512);
    CHECK(rig.driver.blocks() == vmbus::testing::small_disk().size_bytes / 512);
    for (std::uint64_t tag = 0; tag < 200; ++tag) rig.driver.write(tag, tag, rig.block(tag), tag % 4);
    rig.loop.run(Time::ms(50));
    CHECK(rig.user.done == 200);
    for (std::uint64_t tag = 0; tag < 200; ++tag) rig.driver.read(tag, tag, 1, tag % 4);
    rig.driver.flush(1000, 1);
    rig.loop.run(Time::ms(50));
    CHECK(rig.user.done == 401);
    CHECK(rig.user.right == 200);
    CHECK(rig.user.failed == 0);
    rig.driver.read(7, rig.driver.blocks(), 1);  // beyond the end
    rig.loop.run(Time::ms(1));
    CHECK(rig.user.failed == 1);
    for (unsigned vp = 0; vp < 4; ++vp) CHECK(rig.guest.vps[vp]->ledger()["guest.storage"] > Time::zero());
    CHECK(rig.guest.spent("guest.other") == Time::zero());
}

TEST_CASE("behavioural storage driver: what a request costs, to the picosecond") {
    Rig rig;
    rig.guest.clear_ledgers();
    rig.driver.read(0, 0, 1);
    rig.loop.run(Time::ms(5));
    REQUIRE(rig.user.done == 1);
    // Put on the ring, and its answer taken from there.
    const DriverCosts costs = find_profile("one-nanosecond").driver_costs;
    CHECK(rig.guest.spent("guest.storage") == Time::us(2) + costs.bus.per_packet * 2);
    CHECK(rig.guest.busy() == rig.guest.spent("guest.storage"));
}

TEST_CASE("behavioural storage driver: a checkpoint with requests under way") {
    Rig straight;
    for (std::uint64_t tag = 0; tag < 300; ++tag) straight.driver.write(tag, tag, straight.block(tag), tag % 4);
    straight.loop.run(Time::us(400));
    REQUIRE(straight.user.done < 300);
    const std::vector<std::byte> checkpoint = straight.loop.simulation.save();
    Rig restored;
    restored.loop.simulation.restore(checkpoint);
    for (Rig* rig : {&straight, &restored}) {
        for (std::uint64_t tag = 0; tag < 300; ++tag) rig->driver.read(tag, tag, 1, tag % 4);
        rig->loop.run(Time::ms(100));
        CHECK(rig->user.done == 600);
        CHECK(rig->user.failed == 0);
    }
    CHECK(straight.loop.simulation.save() == restored.loop.simulation.save());
}

}  // namespace behavioural_storage_test
