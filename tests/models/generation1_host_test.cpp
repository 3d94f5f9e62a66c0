// A Generation 1 partition in a host: its chipset at the guest's ports, what an access costs, a legacy adapter on a
// virtual switch, an IDE disk, checkpoints, and what is refused.
#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "models/disk/byte_file.h"
#include "models/disk/disk_image.h"
#include "models/host.h"
#include "models/host_networks.h"
#include "models/legacy/generation1_partition.h"
#include "models/network/addresses.h"
#include "sim/check.h"
#include "sim/simulation.h"
#include "tiny_guest.h"

namespace generation1_host_test {

using models::GuestState;
using models::Host;
using sim::Time;

namespace {

constexpr std::uint32_t transmit_list = 0x20'0000, transmit_buffer = 0x20'1000, receive_list = 0x20'2000,
                        receive_buffer = 0x20'3000;
constexpr std::uint32_t owned = 1u << 31;
const std::function<bool()> nothing = [] { return false; };

TinyGuest& out32(TinyGuest& guest, std::uint32_t port, std::uint32_t value) {
    return guest.mov_edx(port).mov_eax(value).bytes({0xef});
}
TinyGuest& in32(TinyGuest& guest, std::uint32_t port) {
    return guest.mov_edx(port).bytes({0xed});
}
TinyGuest& config_read(TinyGuest& guest, unsigned device, unsigned function, unsigned offset = 0) {
    return in32(out32(guest, 0xcf8, owned | device << 11 | function << 8 | offset), 0xcfc);
}

std::unique_ptr<models::DiskImage> blank_disk(std::uint32_t sector_bytes = 512) {
    auto file = std::make_unique<models::MemoryFile>("disk");
    models::ImageOptions options;
    options.format = models::ImageFormat::vhdx;
    options.kind = models::ImageKind::dynamic;
    options.geometry = {.size_bytes = 4 << 20, .logical_sector_bytes = sector_bytes, .physical_sector_bytes = 4096};
    sim::Random random{1, "disk"};
    models::create_disk_image(*file, options, random);
    return models::open_disk_image(std::move(file), {.access = models::Access::read_write, .format = options.format});
}

// One instruction is a nanosecond, an exit a microsecond, the root's answer to an intercept five more.
struct Machine {
    explicit Machine(const TinyGuest& code, unsigned generation = 1) {
        models::HostConfig config;
        config.memory_bytes = 16 << 20;
        config.profile = "one-nanosecond";
        host = Host::create(simulation, config);
        network = &host->networks().add_switch("lan", {});
        models::PeerSettings peer;
        peer.mac = models::mac_address("02:00:00:00:00:01");
        peer.ipv4 = models::ip_address("10.0.0.1");
        host->networks().add_peer(*network, "server", peer, {});
        models::PartitionConfig partition = code.partition("tiny");
        partition.generation = generation;
        guest = &host->add_partition(partition);
        if (generation != 1) return;
        models::DiskConfig disk;
        disk.name = "disk1";
        guest->generation1()->add_disk(blank_disk(), disk);
        nic = &guest->generation1()->add_network(*network, adapter("net1"));
    }
    static models::NetworkConfig adapter(const std::string& name) {
        models::NetworkConfig config;
        config.name = name;
        config.port = models::adapter_port(models::mac_address("00:15:5d:01:02:03"));
        return config;
    }
    void finish() { host->run(Time::s(1), nothing, Time::never()); }
    std::uint64_t count(const std::string& name) {
        const auto& all = simulation.statistics().all();
        const auto found = all.find("host.root.tiny." + name);
        return found == all.end() ? ~std::uint64_t{0} : found->second.counter.value();
    }

    sim::Simulation simulation{3};
    std::unique_ptr<Host> host;
    models::Network* network = nullptr;
    models::Guest* guest = nullptr;
    models::LegacySwitchAdapter* nic = nullptr;
};

// Who has 10.0.0.1? Sent by hand through the adapter; ends with the status of the descriptor that got the answer.
TinyGuest asks_for_server() {
    static constexpr std::uint8_t request[] = {
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x00, 0x15, 0x5d, 0x01, 0x02, 0x03, 0x08, 0x06, 0, 1, 8, 0,  6, 4, 0,
        1,    0x00, 0x15, 0x5d, 0x01, 0x02, 0x03, 10,   0,    0,    2,    0,    0,    0,    0, 0, 0, 10, 0, 0, 1};
    TinyGuest guest;
    for (std::uint32_t at = 0; at < sizeof request; at += 4) {
        std::uint32_t word = 0;
        for (std::uint32_t i = 0; i < 4 && at + i < sizeof request; ++i)
            word |= std::uint32_t{request[at + i]} << 8 * i;
        guest.store(transmit_buffer + at, word);
    }
    // First, last and only descriptor of its ring, both ways.
    guest.store(transmit_list, owned)
        .store(transmit_list + 4, 0xe200'0000 | 60)
        .store(transmit_list + 8, transmit_buffer);
    guest.store(receive_list, owned)
        .store(receive_list + 4, 0x0200'0000 | 1536)
        .store(receive_list + 8, receive_buffer);
    out32(out32(guest, 0xcf8, owned | 10 << 11 | 4), 0xcfc, 7);
    out32(out32(guest, 0xec18, receive_list), 0xec20, transmit_list);
    out32(guest, 0xec30, 0x2042);  // both processes, every address
    const std::uint32_t again = guest.here();
    guest.load_eax(receive_list).bytes({0x85, 0xc0});
    guest.bytes({0x78, static_cast<int>(static_cast<std::uint8_t>(again - (guest.here() + 2)))});
    return guest.exit_with_eax();
}

template <class Function>
std::string error_of(Function function) {
    try {
        function();
    } catch (const sim::UserError& error) {
        return error.what();
    }
    return "no error";
}

}  // namespace

TEST_CASE("what a guest finds at its ports, and where nothing is in Generation 2") {
    struct Row {
        const char* what;
        TinyGuest guest;
        std::uint32_t generation1, generation2;
    };
    TinyGuest host_bridge, ide, adapter, nobody, drive, adapter_memory;
    config_read(host_bridge, 0, 0).exit_with_eax();
    config_read(ide, 7, 1).exit_with_eax();
    config_read(adapter, 10, 0).exit_with_eax();
    config_read(nobody, 11, 0).exit_with_eax();
    drive.mov_eax(0).mov_edx(0x1f7).in_al_dx().exit_with_eax();
    adapter_memory.load_eax(0xfebf'f028).exit_with_eax();
    const Row rows[] = {
        {"host bridge", host_bridge, 0x7192'8086, 0xffff'ffff},
        {"IDE", ide, 0x7111'8086, 0xffff'ffff},
        {"adapter", adapter, 0x0009'1011, 0xffff'ffff},
        {"an empty slot", nobody, 0xffff'ffff, 0xffff'ffff},
        {"drive ready", drive, 0x50, 0xff},
        {"CSR5", adapter_memory, 0xfc00'0000, 0xffff'ffff},
    };
    for (const Row& row : rows) {
        CAPTURE(std::string{row.what});
        for (const unsigned generation : {1u, 2u}) {
            CAPTURE(generation);
            Machine machine{row.guest, generation};
            machine.finish();
            CHECK(machine.guest->state() == GuestState::debug_exit);
            CHECK(machine.guest->exit_code() == (generation == 1 ? row.generation1 : row.generation2));
            CHECK((machine.guest->generation1() != nullptr) == (generation == 1));
        }
    }
}

TEST_CASE("power-off by the chipset's control register") {
    TinyGuest guest;
    guest.mov_edx(0x404).mov_eax(0x2000).bytes({0x66, 0xef}).spin();
    Machine machine{guest};
    machine.finish();
    CHECK(machine.guest->state() == GuestState::powered_off);
}

TEST_CASE("an access costs an exit, the round trip, and a root processor's time") {
    const auto end_of = [](unsigned accesses) {
        TinyGuest guest;
        for (unsigned i = 0; i < accesses; ++i) guest.in_al_dx();
        Machine machine{guest.mov_edx(0x1f7).exit(1)};
        machine.host->run(
            Time::s(1), [&] { return machine.guest->state() != GuestState::running; }, Time::never());
        CHECK(machine.count("legacy.emulation.intercepts") == accesses + 1);
        CHECK(machine.count("legacy.emulation.busy") == (accesses + 1) * 1'000'000);
        return machine.host->now();
    };
    // Exit 1, round trip 5, to the root's processor and back 1 each, emulation 1.
    CHECK((end_of(11) - end_of(1)).ps() == 10 * Time::us(9).ps());
}

TEST_CASE("a frame through the legacy adapter, and the answer") {
    Machine machine{asks_for_server()};
    machine.finish();
    CHECK(machine.guest->state() == GuestState::debug_exit);
    // With its check sequence: first, last, a type; and no address of a filter that nobody has loaded.
    CHECK(machine.guest->exit_code() == (1u << 30 | 64u << 16 | 0x320));
    CHECK(machine.nic->from_guest().frames() == 1);
    CHECK(machine.nic->from_guest().bytes() == 60);
    CHECK(machine.nic->to_guest().frames() == 1);
    CHECK(machine.nic->to_guest().discards == 0);
    CHECK(machine.count("legacy.legacy_nic0.accesses") == 3);
    CHECK(machine.count("legacy.emulation.intercepts") == 6);  // with configuration space, and the end
}

TEST_CASE("a checkpoint at any time continues as the straight run does") {
    const TinyGuest guest = asks_for_server();
    bool emulating = false;
    for (Time at = Time::us(2); at < Time::us(80); at = at + Time::ns(9700)) {
        CAPTURE(at.ps());
        Machine straight{guest};
        straight.host->run(at, nothing, Time::never());
        const std::vector<std::byte> checkpoint = straight.simulation.save();
        emulating |= straight.count("legacy.emulation.intercepts") == 3;
        straight.finish();
        Machine again{guest};
        again.simulation.restore(checkpoint);
        again.finish();
        CHECK(again.guest->exit_code() == straight.guest->exit_code());
        CHECK(again.host->now() == straight.host->now());
        CHECK(again.simulation.trace().hash() == straight.simulation.trace().hash());
    }
    CHECK(emulating);
}

TEST_CASE("what such a partition cannot have") {
    TinyGuest guest = TinyGuest{}.halt();
    models::DiskConfig disk;
    disk.name = "d";
    SUBCASE("five drives, five adapters") {
        Machine machine{guest};
        for (unsigned i = 1; i < 4; ++i) {
            disk.name = "d" + std::to_string(i);
            machine.guest->generation1()->add_disk(blank_disk(), disk);
            (void)machine.guest->generation1()->add_network(*machine.network, Machine::adapter(disk.name + "net"));
        }
        CHECK(error_of([&] { machine.guest->generation1()->add_disk(blank_disk(), disk); }) ==
              "disk d3: a partition has at most 4 IDE drives");
        CHECK(error_of([&] { machine.guest->generation1()->add_dvd(blank_disk(), "v"); }) ==
              "dvd v: a partition has at most 4 IDE drives");
        CHECK(error_of([&] { machine.guest->generation1()->add_network(*machine.network, Machine::adapter("n")); }) ==
              "network adapter n: a partition has at most 4 legacy adapters");
    }
    SUBCASE("sectors of 4 KiB") {
        Machine machine{guest};
        CHECK(error_of([&] { machine.guest->generation1()->add_disk(blank_disk(4096), disk); }) ==
              "disk d: it has sectors of 4096 bytes; an IDE disk has 512");
    }
    SUBCASE("what comes while it runs") {
        Machine machine{guest};
        machine.host->run(Time::us(1), nothing, Time::never());
        CHECK(error_of([&] { machine.guest->generation1()->add_dvd(blank_disk(), "v"); }) ==
              "v: IDE drives and legacy adapters are there from the beginning; add it before the guest runs");
        CHECK(error_of([&] { machine.guest->generation1()->add_disk(blank_disk(), disk); }) ==
              "d: IDE drives and legacy adapters are there from the beginning; add it before the guest runs");
    }
    SUBCASE("a screen, another generation") {
        Machine machine{guest};
        models::PartitionConfig config = guest.partition("other");
        config.generation = 1;
        config.screen = true;
        CHECK(error_of([&] { machine.host->add_partition(config); }) ==
              "partition 'other': a screen is a device of generation 2");
        config.generation = 3;
        CHECK(error_of([&] { machine.host->add_partition(config); }) ==
              "partition 'other': generation 3: there are 1 and 2");
    }
}

}  // namespace generation1_host_test
