// One guest with every kind of device on its bus breaks one after the other, by its ring and by its protocol: what it
// did is counted once, that channel closes, and all others go on.
#include <doctest/doctest.h>

#include <array>
#include <memory>
#include <string>
#include <vector>

#include "sim/processor.h"
#include "tests/vmbus/echo.h"
#include "tests/vmbus/raw_guest.h"
#include "vmbus/input/keyboard.h"
#include "vmbus/input/pointer.h"
#include "vmbus/integration/file_copy.h"
#include "vmbus/integration/heartbeat.h"
#include "vmbus/integration/key_value.h"
#include "vmbus/integration/shutdown.h"
#include "vmbus/integration/time_sync.h"
#include "vmbus/integration/volume_snapshot.h"
#include "vmbus/memory/dynamic_memory.h"
#include "vmbus/network/network_provider.h"
#include "vmbus/storage/storage_provider.h"
#include "vmbus/video/synthetic_video.h"

namespace hostile_devices_test {

namespace {

using namespace vmbus;
using namespace sim::literals;

struct NoPort final : NetworkPort {
    void transmit(std::uint16_t, std::span<OutgoingFrame>) override {}
};
struct NoHost final : DynamicMemoryHost, VideoHost, ReferenceClock {
    bool has_memory(const PageRange&) const override { return true; }
    void pages_taken(std::span<const PageRange>) override {}
    bool give_pages(std::span<const PageRange>) override { return true; }
    bool add_memory(const PageRange&) override { return false; }
    void memory_refused(const PageRange&) override {}
    bool place_vram(std::uint64_t, std::uint64_t) override { return false; }
    void remove_vram() override {}
    std::uint64_t reference_time() override { return 0; }
};

// A guest and its devices; channel n of the guest is device n of `names`.
class Machine final {
public:
    static constexpr std::array<const char*, 13> names{"echo",    "network", "storage", "heartbeat", "shutdown",
                                                       "time",    "kvp",     "vss",     "fcopy",     "keyboard",
                                                       "pointer", "memory",  "video"};
    static constexpr std::uint32_t count = names.size();

    Machine() {
        guest.server.offer({test::echo_type, test::instance(1)}, echo);
        NetworkProvider::Config nic;
        nic.instance = test::instance(2);
        const auto one = [this](std::uint16_t) -> sim::Processor& { return processor; };
        network = std::make_unique<NetworkProvider>(scope("network"), guest.server, port, nic, one);
        storage = std::make_unique<StorageProvider>(scope("storage"), guest.server,
                                                    StorageConfig{.instance = test::instance(3)}, one);
        const ServiceHost services{guest.server, processor, {}};
        heartbeat = std::make_unique<Heartbeat>(scope("heartbeat"), services, Heartbeat::Settings{});
        shutdown = std::make_unique<Shutdown>(scope("shutdown"), services);
        time = std::make_unique<TimeSync>(scope("time"), services, TimeSync::Settings{}, host);
        kvp = std::make_unique<KeyValueExchange>(scope("kvp"), services);
        vss = std::make_unique<VolumeSnapshot>(scope("vss"), services);
        fcopy = std::make_unique<FileCopy>(scope("fcopy"), services);
        keyboard = std::make_unique<Keyboard>(scope("keyboard"), services, Keyboard::Settings{});
        pointer = std::make_unique<Pointer>(scope("pointer"), services, Pointer::Settings{});
        memory = std::make_unique<DynamicMemory>(scope("memory"), services, DynamicMemory::Settings{}, host);
        video = std::make_unique<SyntheticVideo>(scope("video"), services, SyntheticVideo::Settings{}, host);
        REQUIRE(guest.connect().size() == count);
        for (std::uint32_t relid = 1; relid <= count; ++relid) REQUIRE(guest.open_at(relid, ring(relid)) == 0u);
        guest.run(10_us);
    }

    static std::uint64_t ring(std::uint32_t relid) { return relid * std::uint64_t{4}; }
    sim::Scope scope(const char* name) { return guest.simulation.scope(name); }
    bool is_open(std::uint32_t relid) const {
        return guest.connections.contains(Server::connection_of(static_cast<std::uint16_t>(relid)));
    }
    std::uint64_t counter(const std::string& name) {
        const auto& all = guest.simulation.statistics().all();
        const auto found = all.find(name);
        return found == all.end() ? 0 : found->second.counter.value();
    }

    // A packet of 8 bytes that no protocol has, and that asks for no answer.
    void put_nonsense(std::uint32_t relid) {
        const std::uint32_t at = guest.word(ring(relid) * page_bytes);
        const std::uint64_t packet[] = {0x0000'0003'0002'0006, 1, 0xabcd, std::uint64_t{at} << 32};
        REQUIRE(guest.memory.write((ring(relid) + 1) * page_bytes + at, std::as_bytes(std::span{packet})));
        guest.set_word(ring(relid) * page_bytes, at + 32);
        signal(relid);
    }
    // An index outside of the ring.
    void break_ring(std::uint32_t relid) {
        guest.set_word(ring(relid) * page_bytes, 0x1'0000);
        signal(relid);
    }
    void signal(std::uint32_t relid) {
        guest.server.guest_signal(Server::connection_of(static_cast<std::uint16_t>(relid)));
        guest.run(100_us);
    }
    // The first device answers what it is sent.
    bool echo_answers() {
        const unsigned before = echo.packets;
        guest.put_packet(ring(1), guest.word(ring(1) * page_bytes), 5);
        signal(1);
        return echo.packets == before + 1;
    }

    test::RawGuest guest;
    sim::SerialProcessor processor{guest.simulation.scope("cpu"), 1_us};
    test::EchoDevice echo;
    NoPort port;
    NoHost host;
    std::unique_ptr<NetworkProvider> network;
    std::unique_ptr<StorageProvider> storage;
    std::unique_ptr<Heartbeat> heartbeat;
    std::unique_ptr<Shutdown> shutdown;
    std::unique_ptr<TimeSync> time;
    std::unique_ptr<KeyValueExchange> kvp;
    std::unique_ptr<VolumeSnapshot> vss;
    std::unique_ptr<FileCopy> fcopy;
    std::unique_ptr<Keyboard> keyboard;
    std::unique_ptr<Pointer> pointer;
    std::unique_ptr<DynamicMemory> memory;
    std::unique_ptr<SyntheticVideo> video;
};

// From the last device to the second; the first one shows each time that the bus works.
template <class Break>
void break_all(Machine& machine, Refusal reason, const Break& how) {
    for (std::uint32_t relid = Machine::count; relid > 1; --relid) {
        CAPTURE(Machine::names[relid - 1]);
        const std::uint64_t before = machine.guest.all_refused();
        how(relid);
        CHECK_FALSE(machine.is_open(relid));
        for (std::uint32_t other = 1; other < relid; ++other) CHECK(machine.is_open(other));
        CHECK(machine.guest.refused(reason) == Machine::count - relid + 1);
        CHECK(machine.guest.all_refused() == before + 1);
        CHECK(machine.echo_answers());
        // What comes for it afterwards is a stray, and does nothing else.
        machine.signal(relid);
        CHECK(machine.guest.refused(Refusal::stray_signal) == Machine::count - relid + 1);
        CHECK(machine.guest.all_refused() == before + 2);
    }
}

TEST_CASE("a guest that breaks the ring of each device: counted, and only that channel closes") {
    Machine machine;
    break_all(machine, Refusal::ring_fault, [&](std::uint32_t relid) { machine.break_ring(relid); });
    for (const char* name : Machine::names) CHECK(machine.counter(std::string{name} + ".faults") == 0);
}

TEST_CASE("a guest that breaks the protocol of each device: counted, and only that channel closes") {
    Machine machine;
    break_all(machine, Refusal::device_fault, [&](std::uint32_t relid) { machine.put_nonsense(relid); });
    // The devices count it too; a storage controller as what no driver sends.
    for (std::size_t n = 1; n < Machine::count; ++n) {
        const std::string name = Machine::names[n];
        CAPTURE(name);
        CHECK(machine.counter(name + (name == "storage" ? ".malformed" : ".faults")) == 1);
    }
}

}  // namespace

}  // namespace hostile_devices_test
