// The controller with its driver over a bus: initialization, bus scan, I/O on many channels, what goes wrong.
#include <doctest/doctest.h>

#include <algorithm>
#include <string>

#include "sim/random.h"
#include "tests/vmbus/storage_loopback.h"

namespace storage_provider_test {

using namespace vmbus;
using namespace vmbus::testing;
using namespace sim::literals;

namespace {

// As Linux writes it: an error's status, scsi status, sense.
std::string ending(const StorageAnswer& answer) {
    const std::array<std::byte, 2> status{std::byte{answer.srb_status}, std::byte{answer.scsi_status}};
    std::string text = to_hex(status);
    if (!answer.sense.empty()) {
        text += " / " + std::to_string(answer.sense.size()) + " / " + to_hex(std::span{answer.sense}.subspan(2, 1)) +
                " " + to_hex(std::span{answer.sense}.subspan(12, 2));
    }
    return text;
}

// One more disk for a controller.
struct ExtraDisk {
    ExtraDisk(StorageLoopback& loop, std::string_view name, const BlockTiming& timing = {})
        : store(small_disk()),
          timed(loop.simulation.scope(std::string{name} + ".blocks"), store, timing),
          disk(loop.simulation.scope(name), timed, {}) {}
    MemoryStore store;
    TimedDisk timed;
    ScsiDisk disk;
};

}  // namespace

TEST_CASE("a driver initializes in each version") {
    struct Row {
        std::uint16_t provider;
        std::uint16_t asked;
        std::uint16_t agreed;
        std::uint16_t channels;
    };
    for (const Row& row :
         {Row{0x0602, 0x0602, 0x0602, 4}, Row{0x0602, 0x0600, 0x0600, 4}, Row{0x0602, 0x0501, 0x0501, 4},
          Row{0x0602, 0x0402, 0x0402, 1}, Row{0x0602, 0x0200, 0x0200, 1}, Row{0x0501, 0x0602, 0x0501, 4},
          Row{0x0600, 0x0602, 0x0600, 4}, Row{0x0602, 0x0601, 0x0600, 4}, Row{0x0402, 0x0602, 0x0402, 1}}) {
        CAPTURE(row.provider);
        CAPTURE(row.asked);
        StorageLoopbackConfig config;
        config.provider.newest_version = row.provider;
        config.client.newest_version = row.asked;
        StorageLoopback loop(config);
        loop.connect();
        CHECK(loop.recorder.ready == 1);
        CHECK(loop.driver.version() == row.agreed);
        CHECK(loop.driver.channels_open() == row.channels);
        CHECK(loop.provider.open_channels() == row.channels);
        CHECK(loop.driver.max_transfer_bytes() == 0x40000);
        // Data and sense, in packets of either length.
        CHECK(loop.ask(storage_write(3, hex("5c*512"), 512, false)).succeeded());
        CHECK(loop.ask(storage_read(3, 1, 512)).data_in == hex("5c*512"));
        const bool old = row.asked < 0x0501;
        CHECK(ending(loop.ask("4d", 10, 16)) == (old ? "84 02 / 18 / 05 20 00" : "84 02 / 20 / 05 20 00"));
    }
    StorageLoopbackConfig config;
    config.provider.newest_version = 0x0100;
    StorageLoopback loop(config);
    loop.connect();
    CHECK(loop.recorder.ready == 0);
    CHECK(loop.recorder.refused == 1);
}

TEST_CASE("what a scan of the bus finds") {
    StorageLoopback loop;
    ExtraDisk other(loop, "other");
    loop.provider.add_disk({0, 0, 5}, other.disk);
    loop.provider.add_disk({0, 1, 3}, other.disk);
    loop.connect();
    const char* absent =
        "7f 00 05 02 5b 00 00 00 4d 73 66 74 20 20 20 20 56 69 72 74 75 61 6c 20 44 69 73 6b 20 20 20 20 31 2e 30 20";
    struct Row {
        StorageAddress at;
        const char* inquiry;
        const char* luns;
    };
    const char* present =
        "00 00 05 02 5b 00 00 02 4d 73 66 74 20 20 20 20 56 69 72 74 75 61 6c 20 44 69 73 6b 20 20 20 20 31 2e 30 20";
    for (const Row& row : {Row{{0, 0, 0}, present, "00 00 00 10 00*12 00 05 00*6"},
                           Row{{0, 1, 0}, absent, "00 00 00 08 00*4 00 03 00*6"}, Row{{1, 0, 0}, absent, "00*8"},
                           Row{{7, 1, 0}, absent, "00*8"}}) {
        CAPTURE(row.at.path);
        CAPTURE(row.at.target);
        const StorageAnswer inquiry = loop.ask("12 00 00 00 24", 6, 36, row.at);
        CHECK(inquiry.succeeded());
        CHECK(to_hex(inquiry.data_in) == row.inquiry);
        const StorageAnswer luns = loop.ask("a0 00 00 00 00 00 00 00 10 00", 12, 4096, row.at);
        CHECK(luns.succeeded());
        CHECK(to_hex(luns.data_in) == to_hex(hex(row.luns)));
        CHECK(luns.moved_bytes == hex(row.luns).size());
    }
    CHECK(to_hex(loop.ask("a0 00 01 00 00 00 00 00 10 00", 12, 4096).data_in) == to_hex(hex("00*8")));
    // Vital product data where nothing is, a small buffer, and any other command.
    CHECK(ending(loop.ask("12 01 80 00 ff", 6, 255, {0, 0, 9})) == "84 02 / 20 / 05 24 00");
    const StorageAnswer cut = loop.ask("12 00 00 00 24", 6, 8, {0, 0, 9});
    CHECK(ending(cut) == "12 00");
    CHECK(cut.moved_bytes == 8);
    CHECK(ending(loop.ask("00", 6, 0, {0, 0, 9})) == "20 02");
    CHECK(ending(loop.ask(storage_read(0, 1, 512))) == "01 00");
    CHECK(ending(loop.ask("28 00 00 00 00 00 00 00 01", 10, 512, {0, 2, 0})) == "20 02");
}

TEST_CASE("the exact course of one read") {
    StorageLoopbackConfig config;
    config.timing = {.read_latency = 100_us, .bytes_per_second = 1'000'000'000};
    StorageLoopback loop(config);
    loop.connect();
    const sim::Time before = loop.simulation.agenda().now();
    CHECK(loop.ask(storage_read(0, 8, 512)).moved_bytes == 4096);
    // dispatch 1 us, driver 150 ns + 2 us, wire 1 us, dispatch 1 us, provider 150 ns + 1 us, disk 100 us + 4.096 us,
    // dispatch 1 us, answer 150 ns + 400 ns of copying + 500 ns for the signal, wire 1 us, dispatch 1 us, driver 150
    // ns.
    CHECK((loop.simulation.agenda().now() - before).ps() == 114'596'000);
}

TEST_CASE("random requests on many channels leave what an array would hold") {
    StorageLoopback loop;
    loop.connect();
    REQUIRE(loop.driver.channels_open() == 4);
    std::vector<std::byte> reference(loop.store.bytes().begin(), loop.store.bytes().end());
    sim::Random random(7, "storage");
    // Each round's requests touch sectors of their own, so their order does not matter.
    for (int round = 0; round < 40; ++round) {
        struct Read {
            std::uint64_t lba;
            std::uint32_t count;
        };
        std::map<std::uint64_t, Read> reads;
        loop.recorder.done.clear();
        std::uint64_t tag = 0;
        for (std::uint64_t lba = 0; lba < 2048;) {
            const auto count = static_cast<std::uint32_t>(std::min<std::uint64_t>(random.between(1, 256), 2048 - lba));
            StorageIo io;
            const auto first = reference.begin() + static_cast<std::ptrdiff_t>(lba * 512);
            switch (random.below(5)) {
                case 0:
                case 1: {
                    std::vector<std::byte> data(count * 512);
                    for (auto& byte : data) byte = static_cast<std::byte>(random.below(256));
                    std::copy(data.begin(), data.end(), first);
                    io = storage_write(lba, std::move(data), 512, random.one_in(4));
                    break;
                }
                case 2:
                    std::fill_n(first, count * 512, std::byte{});
                    io = storage_unmap(lba, count);
                    break;
                case 3:
                    io = storage_flush();
                    break;
                default:
                    reads[tag] = {lba, count};
                    io = storage_read(lba, count, 512);
                    break;
            }
            io.tag = tag++;
            loop.driver.submit(std::move(io), static_cast<std::uint16_t>(random.below(5)));
            lba += count;
        }
        loop.run_to(tag);
        for (const auto& [t, answer] : loop.recorder.done) {
            REQUIRE(answer.succeeded());
            const auto read = reads.find(t);
            if (read == reads.end()) continue;
            REQUIRE(answer.moved_bytes == read->second.count * 512);
            REQUIRE(std::equal(answer.data_in.begin(), answer.data_in.end(),
                               reference.begin() + static_cast<std::ptrdiff_t>(read->second.lba * 512)));
        }
    }
    CHECK(std::equal(reference.begin(), reference.end(), loop.store.bytes().begin()));
    CHECK(loop.provider.outstanding() == 0);
    CHECK(loop.pages.available() == 16384 - 16 - 3 - 4 * 64);  // nothing leaks: shared pages and rings are taken
}

TEST_CASE("more requests than may be under way wait in the ring") {
    StorageLoopbackConfig config;
    config.provider.max_outstanding = 4;
    config.provider.max_sub_channels = 0;
    config.client.max_outstanding = 64;
    config.timing.read_latency = 1_ms;
    StorageLoopback loop(config);
    loop.connect();
    for (std::uint64_t n = 0; n < 64; ++n) {
        StorageIo io = storage_read(n, 1, 512);
        io.tag = n;
        loop.driver.submit(std::move(io));
    }
    std::size_t most = 0;
    while (loop.recorder.done.size() < 64) {
        REQUIRE(loop.simulation.agenda().run_next());
        most = std::max(most, loop.provider.outstanding());
    }
    CHECK(most == 4);
}

TEST_CASE("answers wait for room in a ring that is too small for them") {
    StorageLoopbackConfig config;
    config.client.ring = {.to_host = 32, .to_guest = 2};
    config.client.max_outstanding = 200;
    config.client.per_request = 100_ns;
    config.client.costs = {100_ns, 100_ns, 100_ns, 1_ns};
    config.provider.max_sub_channels = 0;
    config.timing = {.read_latency = 2_ms, .bytes_per_second = 0, .queue_depth = 256};
    StorageLoopback loop(config);
    loop.connect();
    for (std::uint64_t n = 0; n < 150; ++n) {
        StorageIo io = storage_read(n, 1, 512);
        io.tag = n;
        loop.driver.submit(std::move(io));
    }
    loop.run(1_ms);
    CHECK(loop.provider.outstanding() == 150);
    // The guest's driver is held up while the answers come.
    class Busy final : public sim::Task {
    public:
        bool first = true;
        std::optional<sim::Time> begin() override {
            return std::exchange(first, false) ? std::optional{5_ms} : std::nullopt;
        }
        void finish() override {}
    } busy;
    sim::TaskSlot slot(loop.guest[0], busy);
    slot.wake();
    loop.run(4_ms);
    const auto blocked = loop.simulation.statistics().all().at("storvsp.blocked").counter.value();
    CHECK(blocked >= 1);
    CHECK(loop.provider.outstanding() > 50);
    loop.run_to(150);
    CHECK(loop.provider.outstanding() == 0);
    CHECK(std::all_of(loop.recorder.done.begin(), loop.recorder.done.end(),
                      [](const auto& entry) { return entry.second.succeeded(); }));
}

TEST_CASE("a reset ends after everything before it") {
    StorageLoopbackConfig config;
    config.timing.read_latency = 3_ms;
    StorageLoopback loop(config);
    loop.connect();
    for (std::uint64_t n = 0; n < 8; ++n) {
        StorageIo io = storage_read(n, 1, 512);
        io.tag = n;
        loop.driver.submit(std::move(io), static_cast<std::uint16_t>(n % 4));
    }
    loop.run(100_us);
    loop.driver.reset_bus();
    loop.run(2_ms);
    CHECK(loop.recorder.resets == 0);
    CHECK(loop.provider.outstanding() == 9);
    while (loop.recorder.resets == 0) REQUIRE(loop.simulation.agenda().run_next());
    loop.run(10_us);
    CHECK(loop.recorder.done.size() == 8);
    CHECK(loop.provider.outstanding() == 0);
    // With nothing under way it is done at once.
    loop.driver.reset_bus();
    loop.run(50_us);
    CHECK(loop.recorder.resets == 2);
}

TEST_CASE("units come and go while requests are under way") {
    StorageLoopbackConfig config;
    config.timing.read_latency = 3_ms;
    StorageLoopback loop(config);
    loop.connect();
    CHECK(loop.recorder.changes == 0);
    ExtraDisk third(loop, "third", config.timing);
    loop.provider.add_disk({0, 0, 2}, third.disk);
    loop.run(100_us);
    CHECK(loop.recorder.changes == 1);
    StorageIo io = storage_read(0, 1, 512);
    io.tag = 1;
    io.address.lun = 2;
    loop.driver.submit(io, 1);
    loop.run(100_us);
    CHECK(third.disk.outstanding() == 1);
    loop.provider.remove_disk({0, 0, 2});
    loop.run(100_us);
    CHECK(loop.recorder.changes == 2);
    REQUIRE(loop.recorder.done.contains(1));
    CHECK(ending(loop.recorder.done.at(1)) == "20 02");
    CHECK(ending(loop.ask("00", 6, 0, {0, 0, 2})) == "20 02");
    loop.run(5_ms);  // the disk's late answer reaches nobody
    CHECK(third.disk.outstanding() == 0);
    CHECK(loop.provider.outstanding() == 0);
    // One that comes back still knows who reserved it.
    ScsiRecorder other;
    const auto rival = third.disk.attach(other);
    loop.provider.add_disk({0, 0, 2}, third.disk);
    CHECK(loop.ask("16", 6, 0, {0, 0, 2}).succeeded());
    loop.provider.remove_disk({0, 0, 2});
    loop.provider.add_disk({0, 0, 4}, third.disk);
    CHECK(third.disk.execute(rival, {.cdb = cdb_from("00")})->status == scsi::Status::reservation_conflict);
    CHECK(loop.ask("00", 6, 0, {0, 0, 4}).succeeded());
}

TEST_CASE("a driver that goes while requests are under way, and comes again") {
    StorageLoopbackConfig config;
    config.timing.write_latency = 3_ms;
    StorageLoopback loop(config);
    loop.connect();
    for (std::uint64_t n = 0; n < 8; ++n) {
        StorageIo io = storage_write(n, hex("77*512"), 512, false);
        io.tag = n;
        loop.driver.submit(std::move(io), static_cast<std::uint16_t>(n % 4));
    }
    loop.run(100_us);
    loop.driver.close();
    loop.run(100_us);
    CHECK(loop.provider.open_channels() == 0);
    CHECK(loop.provider.outstanding() == 8);  // the disk still has them
    CHECK(loop.recorder.done.size() == 8);
    CHECK(loop.recorder.done.at(0).srb_status == vstor::srb::aborted);
    loop.driver.offered(*loop.bus.find(interface_type::scsi));
    loop.run(1_ms);
    CHECK(loop.recorder.ready == 2);
    CHECK(loop.driver.channels_open() == 4);
    loop.run(5_ms);
    CHECK(loop.provider.outstanding() == 0);
    CHECK(loop.ask(storage_read(7, 1, 512), 3).data_in == hex("77*512"));
    // A guest that starts anew without a word.
    loop.driver.abandon();
    loop.bus.connect();
    loop.run(2_ms);
    CHECK(loop.recorder.ready == 3);
    CHECK(loop.driver.channels_open() == 4);
    CHECK(loop.ask(storage_read(6, 1, 512), 2).data_in == hex("77*512"));
}

TEST_CASE("the IDE accelerator's channel") {
    StorageLoopbackConfig config;
    config.provider = {.ide = StorageConfig::Ide{.channel = 1, .device = 1}};
    StorageLoopback loop(config);
    loop.provider.remove_disk({});
    loop.provider.add_disk({1, 1, 0}, loop.disk);
    loop.connect();
    REQUIRE(loop.offers.size() == 1);
    CHECK(loop.offers[0].interface_type == interface_type::ide);
    CHECK(to_text(loop.offers[0].instance) == "00000001-0001-8899-0000-000000000000");
    CHECK(to_hex(std::span{loop.offers[0].user_defined}.first(12)) == "00 00 01 01 00 00 00 00 02 00 00 00");
    CHECK(loop.driver.channels_open() == 1);
    // The path is not looked at.
    CHECK(loop.ask("25", 10, 8, {0, 1, 0}).succeeded());
    CHECK(ending(loop.ask("25", 10, 8, {0, 0, 0})) == "20 02");
}

TEST_CASE("a run that is restored in mid-traffic ends as the straight one") {
    const auto load = [](StorageLoopback& loop) {
        sim::Random random(3, "restore");
        for (std::uint64_t n = 0; n < 300; ++n) {
            const std::uint64_t lba = random.below(2000);
            StorageIo io = random.one_in(2)
                               ? storage_read(lba, 32, 512)
                               : storage_write(lba, std::vector<std::byte>(16384, std::byte(n)), 512, false);
            io.tag = n;
            loop.driver.submit(std::move(io), static_cast<std::uint16_t>(n % 4));
        }
    };
    StorageLoopback straight;
    straight.connect();
    load(straight);
    straight.run(500_us);
    CHECK(straight.provider.outstanding() > 10);
    const std::size_t done_before = straight.recorder.done.size();
    const auto checkpoint = straight.simulation.save();
    straight.run(50_ms);
    CHECK(straight.recorder.done.size() == 300);

    StorageLoopback restored;
    restored.simulation.restore(checkpoint);
    restored.run(50_ms);
    CHECK(restored.recorder.done.size() == 300 - done_before);
    for (const auto& [tag, answer] : restored.recorder.done) CHECK(straight.recorder.done.at(tag) == answer);
    CHECK(restored.simulation.trace().hash() == straight.simulation.trace().hash());
    CHECK(restored.simulation.save() == straight.simulation.save());
    // Sub-channels work on.
    CHECK(restored.ask(storage_read(0, 1, 512), 3).succeeded());
}

}  // namespace storage_provider_test
