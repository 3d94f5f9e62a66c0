// A storage controller and its guest's driver with a bus between them, and a disk behind.
#pragma once

#include <array>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "sim/processor.h"
#include "tests/vmbus/loopback.h"
#include "tests/vmbus/storage_rig.h"
#include "vmbus/storage/storage_client.h"
#include "vmbus/storage/storage_provider.h"

namespace vmbus::testing {

inline constexpr Guid storage_instance = guid("5b3d0001-0000-0000-0000-000000000001");

struct StorageLoopbackConfig {
    StorageConfig provider{.instance = storage_instance};
    StorageClientConfig client;
    BlockTiming timing;
    BlockDevice::Geometry geometry = small_disk();
    std::uint64_t memory_pages = 16384;
};

// Keeps what came of each request.
class StorageRecorder final : public StorageUser {
public:
    std::map<std::uint64_t, StorageAnswer> done;
    unsigned ready = 0;
    unsigned refused = 0;
    unsigned resets = 0;
    unsigned changes = 0;

    void storage_ready() override { ++ready; }
    void storage_refused() override { ++refused; }
    void storage_done(std::uint64_t tag, StorageAnswer answer) override {
        VG_CHECK(done.emplace(tag, std::move(answer)).second, "a request that is done twice");
    }
    void storage_reset_done() override { ++resets; }
    void storage_changed() override { ++changes; }
};

class StorageLoopback final : public BusDriver {
public:
    explicit StorageLoopback(const StorageLoopbackConfig& config = {}, StorageUser* user = nullptr)
        : memory(config.memory_pages),
          pages(16, config.memory_pages - 16),
          wires(simulation.scope("wires"), 4),
          server(simulation.scope("bus"), memory, wires, {}),
          bus(simulation.scope("guest.bus"), memory, wires.to_host, pages, *this, {}),
          root{{{simulation.scope("root.cpu0"), sim::Time::us(1)}, {simulation.scope("root.cpu1"), sim::Time::us(1)}}},
          guest{
              {{simulation.scope("guest.cpu0"), sim::Time::us(1)}, {simulation.scope("guest.cpu1"), sim::Time::us(1)}}},
          store(config.geometry),
          timed(simulation.scope("disk.blocks"), store, config.timing),
          disk(simulation.scope("disk"), timed, named_disk()),
          provider(simulation.scope("storvsp"), server, config.provider,
                   [this](std::uint16_t n) -> sim::Processor& { return root[n % 2]; }),
          driver(simulation.scope("guest.storvsc"), bus, user != nullptr ? *user : recorder, config.client,
                 [this](std::uint16_t n) {
                     return StorageClient::Place{&guest[n % 2], n % 4u};
                 }),
          registrations_{simulation.scope("memory").register_state(memory),
                         simulation.scope("pages").register_state(pages),
                         simulation.scope("store").register_state(store)} {
        wires.join(server, bus);
        provider.add_disk({}, disk);
    }

    void run(sim::Time duration) { simulation.agenda().run_until(simulation.agenda().now() + duration); }
    void connect() {
        bus.connect();
        run(sim::Time::ms(2));
    }
    // Until this many answers are there.
    void run_to(std::size_t answers) {
        while (recorder.done.size() < answers) VG_CHECK(simulation.agenda().run_next(), "an answer never comes");
    }
    StorageAnswer ask(StorageIo io, std::uint16_t queue = 0) {
        io.tag = next_tag++;
        const std::uint64_t tag = io.tag;
        driver.submit(std::move(io), queue);
        while (!recorder.done.contains(tag)) VG_CHECK(simulation.agenda().run_next(), "an answer never comes");
        return recorder.done.extract(tag).mapped();
    }
    StorageAnswer ask(std::string_view cdb, std::uint8_t length, std::uint32_t read_bytes,
                      StorageAddress address = {}) {
        return ask({.address = address, .cdb = cdb_from(cdb), .cdb_length = length, .read_bytes = read_bytes});
    }

    // BusDriver
    void offered(ClientChannel& channel) override {
        offers.push_back(channel.offer());
        driver.offered(channel);
    }
    ChannelDriver* adopt(ClientChannel&) override { return &driver; }

    sim::Simulation simulation{1};
    test::VectorMemory memory;
    PageAllocator pages;
    test::Wires wires;
    Server server;
    BusClient bus;
    std::array<sim::SerialProcessor, 2> root;
    std::array<sim::SerialProcessor, 2> guest;
    MemoryStore store;
    TimedDisk timed;
    ScsiDisk disk;
    StorageRecorder recorder;
    StorageProvider provider;
    StorageClient driver;
    std::vector<message::OfferChannel> offers;
    std::uint64_t next_tag = 1'000'000;

private:
    std::array<sim::StateRegistration, 3> registrations_;
};

}  // namespace vmbus::testing
