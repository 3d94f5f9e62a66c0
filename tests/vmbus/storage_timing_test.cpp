// A disk's time model and storage quality of service: exact times.
#include <doctest/doctest.h>

#include <array>
#include <memory>
#include <vector>

#include "sim/random.h"
#include "tests/vmbus/storage_rig.h"
#include "vmbus/storage/storage_qos.h"

namespace storage_timing_test {

using namespace vmbus;
using namespace vmbus::testing;
using namespace sim::literals;

namespace {

using Operation = BlockRequest::Operation;

class Client final : public BlockClient {
public:
    explicit Client(sim::Agenda& agenda) : agenda_(agenda) {}
    struct Done {
        sim::Time at;
        BlockStatus status{};
        std::vector<std::byte> data;
    };
    std::map<std::uint64_t, Done> done;
    void block_done(std::uint64_t tag, BlockStatus status, std::vector<std::byte> data) override {
        VG_CHECK(done.emplace(tag, Done{agenda_.now(), status, std::move(data)}).second);
    }

private:
    sim::Agenda& agenda_;
};

BlockRequest request(std::uint64_t tag, Operation operation, std::uint64_t offset = 0, std::uint64_t length = 0,
                     bool force_unit_access = false) {
    BlockRequest r{.tag = tag,
                   .operation = operation,
                   .offset_bytes = offset,
                   .length_bytes = length,
                   .force_unit_access = force_unit_access};
    if (operation == Operation::write) r.data.resize(length, std::byte{0x42});
    return r;
}

struct Rig {
    explicit Rig(BlockTiming timing) : disk(simulation.scope("disk"), store, timing), client(simulation.agenda()) {
        disk.attach(&client);
    }
    sim::Simulation simulation{1};
    MemoryStore store{small_disk()};
    TimedDisk disk;
    Client client;
};

constexpr BlockTiming timing{.read_latency = 100_us,
                             .write_latency = 30_us,
                             .flush_latency = 1_ms,
                             .unmap_latency = 5_us,
                             .bytes_per_second = 1'000'000'000,
                             .queue_depth = 2};

}  // namespace

TEST_CASE("a request takes its latency, its place in the queue and the link") {
    Rig rig(timing);
    rig.disk.submit(request(1, Operation::read, 0, 4096));
    rig.disk.submit(request(2, Operation::read, 4096, 4096));
    rig.disk.submit(request(3, Operation::write, 8192, 512));
    rig.disk.submit(request(4, Operation::flush));
    rig.disk.submit(request(5, Operation::write, 0, 512, true));
    rig.disk.submit(request(6, Operation::unmap, 1024, 512));
    rig.simulation.agenda().run_until(10_ms);
    const std::array<sim::Time, 6> expected{
        100_us + 4096_ns,                   // alone on the link
        100_us + 8192_ns,                   // its data comes after the first one's
        100_us + 4096_ns + 30_us + 512_ns,  // once a place is free
        100_us + 8192_ns + 1_ms,            // likewise
        134'608_ns + 1'030_us + 512_ns,     // a write that ends on the medium
        100_us + 8192_ns + 1_ms + 5_us,
    };
    for (std::uint64_t tag = 1; tag <= 6; ++tag) {
        CAPTURE(tag);
        REQUIRE(rig.client.done.contains(tag));
        CHECK(rig.client.done.at(tag).at.ps() == expected[tag - 1].ps());
        CHECK(rig.client.done.at(tag).status == BlockStatus::success);
    }
    CHECK(rig.client.done.at(2).data == std::vector<std::byte>(4096));
    CHECK(rig.store.bytes()[8192] == std::byte{0x42});
}

TEST_CASE("what a disk refuses") {
    Rig rig(timing);
    const std::uint64_t size = 1 << 20;
    rig.disk.submit(request(1, Operation::read, size, 512));
    rig.disk.submit(request(2, Operation::write, size - 512, 1024));
    rig.disk.submit(request(3, Operation::read, ~0ull - 511, 1024));
    rig.disk.submit(request(4, Operation::read, 100, 512));
    rig.disk.submit(request(5, Operation::unmap, 0, 100));
    rig.store.break_sector(512);
    rig.disk.submit(request(6, Operation::read, 0, 1024));
    rig.simulation.agenda().run_until(10_ms);
    rig.store.set_read_only(true);
    rig.disk.submit(request(7, Operation::write, 0, 512));
    rig.disk.submit(request(8, Operation::unmap, 0, 512));
    rig.simulation.agenda().run_until(20_ms);
    for (std::uint64_t tag = 1; tag <= 5; ++tag) CHECK(rig.client.done.at(tag).status == BlockStatus::out_of_range);
    CHECK(rig.client.done.at(6).status == BlockStatus::medium_error);
    CHECK(rig.client.done.at(6).data.empty());
    CHECK(rig.client.done.at(7).status == BlockStatus::read_only);
    CHECK(rig.client.done.at(8).status == BlockStatus::read_only);
}

TEST_CASE("tokens come at their rate, to the picosecond") {
    TokenBucket bucket(3, 1_s);  // three kept
    CHECK(bucket.ready(0_s));
    bucket.take(0_s, 3);
    CHECK_FALSE(bucket.ready(0_s));
    CHECK(bucket.ready_at(0_s).ps() == 333'333'333'334);
    CHECK_FALSE(bucket.ready(sim::Time::ps(333'333'333'333)));
    CHECK(bucket.ready_at(sim::Time::ps(333'333'333'333)).ps() == 333'333'333'334);
    CHECK(bucket.ready(sim::Time::ps(333'333'333'334)));
    bucket.take(sim::Time::ps(333'333'333'334), 7);  // a debt of six
    CHECK(bucket.ready_at(sim::Time::ps(333'333'333'334)).ps() == 2'666'666'666'667);
    CHECK(bucket.ready(100_s));
    bucket.take(100_s, 3);
    CHECK_FALSE(bucket.ready(100_s));  // no more than a burst was kept
    TokenBucket none;
    none.take(0_s, 1'000'000);
    CHECK(none.ready(0_s));
    TokenBucket huge(~0ull, 1_s);
    CHECK(huge.ready(0_s));
    huge.take(0_s, 1ull << 62);
    CHECK(huge.ready_at(0_s).ps() <= 500'000'000'000);
}

namespace {

struct QosRig {
    QosRig(const QosGroup::Config& group_config, const std::vector<QosDisk::Config>& disks)
        : group(simulation.scope("policy"), group_config) {
        for (std::size_t n = 0; n < disks.size(); ++n) {
            const std::string name = "disk" + std::to_string(n);
            auto& flow = flows.emplace_back(std::make_unique<Flow>(simulation, group, name, disks[n]));
            flow->qos.attach(&flow->client);
        }
    }
    struct Flow {
        Flow(sim::Simulation& s, QosGroup& g, const std::string& name, const QosDisk::Config& config)
            : blocks(s.scope(name + ".blocks"), store, {.read_latency = 10_us, .bytes_per_second = 0}),
              qos(s.scope(name), g, blocks, config),
              client(s.agenda()) {}
        MemoryStore store{small_disk()};
        TimedDisk blocks;
        QosDisk qos;
        Client client;
    };
    void load(std::size_t flow, std::uint64_t count, std::uint64_t bytes) {
        for (std::uint64_t n = 0; n < count; ++n) flows[flow]->qos.submit(request(n, Operation::read, 0, bytes));
    }
    std::size_t done(std::size_t flow) const { return flows[flow]->client.done.size(); }

    sim::Simulation simulation{1};
    QosGroup group;
    std::vector<std::unique_ptr<Flow>> flows;
};

}  // namespace

TEST_CASE("a limit in normalized I/Os") {
    QosRig rig({}, {{.limit = {.iops = 1000}, .burst = 10_ms}});
    rig.load(0, 30, 8192);
    rig.simulation.agenda().run_until(20_us);
    CHECK(rig.done(0) == 10);  // the burst
    rig.simulation.agenda().run_until(1_ms + 9_us);
    CHECK(rig.done(0) == 10);
    rig.simulation.agenda().run_until(1_ms + 10_us);
    CHECK(rig.done(0) == 11);
    rig.simulation.agenda().run_until(20_ms + 10_us);
    CHECK(rig.done(0) == 30);
    CHECK(rig.flows[0]->client.done.at(29).at == 20_ms + 10_us);
    // 64 KiB are eight I/Os; one byte more makes nine.
    rig.simulation.agenda().run_until(1_s);
    const auto counted = [&] { return rig.simulation.statistics().all().at("disk0.normalized_ios").counter.value(); };
    CHECK(counted() == 30);
    rig.flows[0]->qos.submit(request(100, Operation::read, 0, 65536));
    CHECK(counted() == 38);
    rig.flows[0]->qos.submit(request(101, Operation::read, 0, 66048));
    CHECK(counted() == 47);
    rig.flows[0]->qos.submit(request(102, Operation::flush));
    CHECK(counted() == 47);
}

TEST_CASE("a limit in bytes") {
    QosRig rig({}, {{.limit = {.bytes_per_second = 10'000'000}, .burst = 1_ms}});
    rig.load(0, 100, 65536);
    rig.simulation.agenda().run_until(654_ms);
    CHECK(rig.done(0) == 100);
    // 99 of 65,536 bytes at 10 MB/s are 648.8 ms, less the burst of 10,000 bytes; and one more byte to be ready.
    CHECK(rig.flows[0]->client.done.at(99).at.ps() == 647'806'500'000 + 10'000'000);
}

TEST_CASE("a policy's limit is for all its disks together, in turn") {
    QosRig rig({.limit = {.iops = 1000}, .burst = 1_ms}, {{}, {}, {}});
    for (std::size_t flow = 0; flow < 3; ++flow) rig.load(flow, 1000, 4096);
    rig.simulation.agenda().run_until(999_ms);
    CHECK(rig.done(0) + rig.done(1) + rig.done(2) == 999);
    CHECK(rig.done(0) == 333);
    CHECK(rig.done(1) == 333);
    CHECK(rig.done(2) == 333);
}

TEST_CASE("a reserve goes before others") {
    QosRig rig({.limit = {.iops = 1000}, .burst = 1_ms}, {{}, {.reserve_iops = 700, .burst = 10_ms}, {}});
    for (std::size_t flow = 0; flow < 3; ++flow) rig.load(flow, 2000, 8192);
    rig.simulation.agenda().run_until(1_s);
    CHECK(rig.done(0) + rig.done(1) + rig.done(2) == 1000);
    CHECK(rig.done(1) >= 700);
    CHECK(rig.done(0) + rig.done(2) >= 190);
    // With places in flight in the limit's stead.
    QosRig places({.in_flight = 1}, {{}, {.reserve_iops = 50'000}});
    for (std::size_t flow = 0; flow < 2; ++flow) places.load(flow, 2000, 8192);
    places.simulation.agenda().run_until(10_ms);
    CHECK(places.done(0) + places.done(1) == 1000);
    CHECK(places.done(1) >= 500);
}

TEST_CASE("requests that wait for tokens survive a checkpoint") {
    const QosGroup::Config group{.limit = {.iops = 5000}, .in_flight = 4, .burst = 1_ms};
    const std::vector<QosDisk::Config> disks{{.limit = {.iops = 3000}}, {.reserve_iops = 1000}};
    QosRig straight(group, disks);
    straight.load(0, 200, 16384);
    straight.load(1, 200, 4096);
    straight.simulation.agenda().run_until(7_ms);
    const auto checkpoint = straight.simulation.save();
    const std::size_t before = straight.done(0);
    straight.simulation.agenda().run_until(1_s);
    CHECK(straight.done(0) == 200);
    QosRig restored(group, disks);
    restored.simulation.restore(checkpoint);
    restored.simulation.agenda().run_until(1_s);
    CHECK(restored.done(0) == 200 - before);
    for (const auto& [tag, done] : restored.flows[0]->client.done) {
        CHECK(done.at == straight.flows[0]->client.done.at(tag).at);
    }
    CHECK(restored.simulation.save() == straight.simulation.save());
}

}  // namespace storage_timing_test
