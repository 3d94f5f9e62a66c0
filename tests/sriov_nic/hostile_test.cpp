// Guests that do anything: random registers, descriptors, mailbox messages, doorbells and spoofed frames on some VFs,
// while another VF works. Nothing stops, the honest VF's frames all arrive, and the same seed does the same again.
#include <doctest/doctest.h>

#include "sim/archive.h"
#include "sim/random.h"
#include "tests/sriov_nic/rig.h"

namespace hostile_test {

namespace {

using namespace nic_test;
using sim::Time;

constexpr unsigned vfs = 4, honest = 3;

struct Chaos {
    explicit Chaos(std::uint64_t seed, VfKind kind) : rig(vfs, {}, kind), random(seed) {
        rig.wire.keep = false;
        if (kind == VfKind::mailbox) {
            for (unsigned vf = 0; vf < vfs; ++vf) {
                rig.registers[vf]->write_register(vf_reg::mbmem, message::reset);
                rig.registers[vf]->write_register(vf_reg::mailbox, mailbox::request);
            }
            rig.driver.interrupt();
        }
        driver = &rig.open(honest);
        rig.run(Time::us(20));
        // Frames that pass, for those whose descriptors happen to point there.
        for (unsigned i = 0; i < 1024; ++i) {
            const MacKey to = i % 5 == 4 ? broadcast_mac : i % 5 == 3 ? stranger : mac_of(i % 5);
            const std::vector<std::byte> f = frame(to, mac_of(i % honest), 64);
            std::memcpy(&rig.bus.memory[0x90'0000 + 64 * i], f.data(), f.size());
        }
    }
    std::uint32_t word() {
        const std::uint64_t r = random.next_u64();
        switch (r >> 60) {
            case 0:
                return 0;
            case 1:
                return ~0u;
            case 2:
            case 3:
                return static_cast<std::uint32_t>(r & 0xff);
            case 4:
            case 5:
                return 1u << (r & 31);
            default:
                return static_cast<std::uint32_t>(r);
        }
    }
    // Rings at places where descriptors are, so that engines have something to chew on.
    void write_descriptors(unsigned) {
        const std::uint64_t at = 0x80'0000 + (random.next_u64() & 0xfff0);
        for (unsigned i = 0; i < 8; ++i) {
            Descriptor d{0x90'0000 + (random.next_u64() & 0xffc0), random.next_u64()};
            const std::uint64_t r = random.next_u64();
            if ((r & 7) == 0) d.low = random.next_u64();
            if ((r & 6) != 0) d.high = (d.high & ~std::uint64_t{0xff00}) | tx::end_of_packet | tx::report_status;
            if ((r & 24) == 0) d.high |= tx::extended | tx::type_data | tx::segmentation;
            if ((r & 96) == 0) d.high = (d.high & ~std::uint64_t{tx::type}) | tx::extended | tx::type_context;
            std::memcpy(&rig.bus.memory[at + 16 * i], &d, 16);
        }
    }
    void act(unsigned vf) {
        VirtualRegisters& r = *rig.registers[vf];
        switch (random.next_u64() % 10) {
            case 0:
            case 1:
                r.write_register(static_cast<std::uint32_t>(random.next_u64()) & 0x3ffc, word());
                break;
            case 2:
                r.read_register(static_cast<std::uint32_t>(random.next_u64()) & 0x3fff);
                break;
            case 3: {  // a queue set up almost right
                const std::uint32_t q = 0x40 * (random.next_u64() & 1);
                const std::uint32_t at = (random.next_u64() & 1) != 0 ? 0x1000 + q : 0x2000 + q;
                r.write_register(at + 0x28, 0);
                r.write_register(at, 0x80'0000);
                r.write_register(at + 4, 0);
                r.write_register(at + 8, 128u << (random.next_u64() & 7));
                r.write_register(at + 0x14, word() | 2);
                r.write_register(at + 0x28, word() | rxdctl::enable);
                break;
            }
            case 4:
            case 5:
                r.write_register(0x2018 + 0x40 * (random.next_u64() & 1), random.next_u64() & 0x1ff);
                break;
            case 6:
                r.write_register(0x1018 + 0x40 * (random.next_u64() & 1), random.next_u64() & 0x1ff);
                break;
            case 7:
                write_descriptors(vf);
                break;
            case 8:
                for (std::uint32_t i = 0; i < 16; ++i) r.write_register(vf_reg::mbmem + 4 * i, word());
                r.write_register(vf_reg::mbmem, (word() & 0x00ff'0000) | (random.next_u64() % 18));
                r.write_register(vf_reg::mailbox, mailbox::vf_owns | mailbox::request);
                break;
            default: {
                const std::uint64_t random_mac = random.next_u64() & 0xffff'ffff'ffff;
                const MacKey to = (random_mac & 16) != 0 ? mac_of(random.next_u64() % vfs) : random_mac;
                std::vector<std::byte> f = frame(to, stranger, 14 + random.next_u64() % 1600);
                for (std::size_t i = 12; i < std::min<std::size_t>(f.size(), 80); ++i) {
                    f[i] = static_cast<std::byte>(random.next_u64());
                }
                store_be16(&f[12], (random_mac & 3) == 0   ? ethertype_ipv4
                                   : (random_mac & 3) == 1 ? ethertype_ipv6
                                   : (random_mac & 3) == 2 ? ethertype_vlan
                                                           : 0x88b5);
                rig.controller.received(f, (random_mac & 0x700) != 0);
                break;
            }
        }
    }
    void work() {
        if (++step % 16 == 0 && driver->send(frame(stranger, mac_of(honest), 200))) ++sent;
        if (step % 64 == 0) {
            driver->notify();
            driver->reclaim();
            rig.driver.interrupt();
        }
        rig.run(Time::ns(static_cast<std::int64_t>(random.next_u64() % 400)));
    }

    Rig rig;
    sim::Random random;
    QueueDriver* driver = nullptr;
    std::uint64_t step = 0, sent = 0;
};

TEST_CASE("hostile VFs harm nobody but themselves") {
    for (const VfKind kind : {VfKind::hyper_v, VfKind::mailbox}) {
        for (std::uint64_t seed = 1; seed <= 6; ++seed) {
            CAPTURE(seed);
            std::string hash;
            for (int turn = 0; turn < 2; ++turn) {
                Chaos chaos{seed, kind};
                for (int i = 0; i < 6000; ++i) {
                    chaos.act(static_cast<unsigned>(chaos.random.next_u64() % honest));
                    chaos.work();
                }
                chaos.driver->notify();
                chaos.rig.run(Time::ms(1));
                CHECK(chaos.sent > 200);
                CHECK(chaos.rig.controller.statistics().malformed > 20);
                CHECK(chaos.rig.controller.statistics().spoofed > 5);
                CHECK(chaos.rig.controller.statistics().loopback > 0);
                // All of the honest one's, whatever the others did.
                CHECK(chaos.rig.controller.read_virtual(honest, vf_reg::gptc) == chaos.sent);
                CHECK(chaos.rig.controller.transmit_buffered() == 0);
                CHECK(chaos.rig.controller.receive_buffered() == 0);
                if (turn == 0) hash = chaos.rig.simulation.trace().hash();
                CHECK(chaos.rig.simulation.trace().hash() == hash);
            }
        }
    }
}

TEST_CASE("the physical function's registers take anything too") {
    for (std::uint64_t seed = 1; seed <= 4; ++seed) {
        Chaos chaos{seed, VfKind::hyper_v};
        for (int i = 0; i < 6000; ++i) {
            const auto rows = Controller::physical_rows();
            const Row<Controller>& row = rows[chaos.random.next_u64() % rows.size()];
            const std::uint64_t element = chaos.random.next_u64();
            const std::uint32_t at =
                (element & 1) != 0 ? static_cast<std::uint32_t>(chaos.random.next_u64()) & 0x1'fffc
                                   : row.offset + static_cast<std::uint32_t>(element >> 1) % row.count * row.stride;
            if (i % 256 == 255) {
                chaos.rig.controller.set_virtual_functions(vfs + static_cast<unsigned>(element % (max_pools - vfs)));
                chaos.rig.controller.quiesce(static_cast<unsigned>(element >> 32) % max_pools);
            }
            if ((chaos.random.next_u64() & 3) == 0) {
                chaos.rig.controller.read(at);
            } else if (at != reg::ctrl) {
                chaos.rig.controller.write(at, chaos.word());
            }
            chaos.act(static_cast<unsigned>(chaos.random.next_u64() % honest));
            chaos.rig.run(Time::ns(200));
        }
        // After a reset it works.
        chaos.rig.controller.write(reg::ctrl, ctrl::reset);
        chaos.rig.controller.set_virtual_functions(vfs);
        chaos.rig.driver.start(chaos.rig.settings);
        chaos.rig.driver.enable_hyper_v(honest);
        chaos.driver->open(Rig::transmit_control, Rig::receive_control, 0);
        chaos.rig.run(Time::us(20));
        const std::uint64_t before = chaos.rig.wire.count;
        REQUIRE(chaos.driver->send(frame(stranger, mac_of(honest), 100)));
        chaos.driver->notify();
        chaos.rig.run(Time::us(20));
        CHECK(chaos.rig.wire.count == before + 1);
    }
}

// Everything beside the controller that the run depends on.
struct Checkpoint {
    std::vector<std::byte> controller, bus, driver, agenda, trace;
};

TEST_CASE("saved and restored in mid-traffic it goes on as if nothing had been") {
    for (std::uint64_t seed = 1; seed <= 4; ++seed) {
        CAPTURE(seed);
        Chaos straight{seed, VfKind::hyper_v};
        const auto go = [](Chaos& chaos, int steps) {
            for (int i = 0; i < steps; ++i) {
                chaos.act(static_cast<unsigned>(chaos.random.next_u64() % honest));
                chaos.rig.run(Time::ns(static_cast<std::int64_t>(chaos.random.next_u64() % 400)));
            }
        };
        go(straight, 2000);
        straight.rig.simulation.trace().fold();
        Checkpoint point;
        point.agenda = sim::save_to_bytes(straight.rig.simulation.agenda());
        point.controller = sim::save_to_bytes(straight.rig.controller);
        point.bus = sim::save_to_bytes(straight.rig.bus);
        point.driver = sim::save_to_bytes(straight.rig.driver);
        point.trace = sim::save_to_bytes(straight.rig.simulation.trace());
        const std::uint64_t count = straight.rig.wire.count;

        Chaos restored{seed + 77, VfKind::hyper_v};
        restored.random = straight.random;
        restored.rig.wire.count = count;
        sim::restore_from_bytes(restored.rig.simulation.agenda(), point.agenda);
        sim::restore_from_bytes(restored.rig.controller, point.controller);
        sim::restore_from_bytes(restored.rig.bus, point.bus);
        sim::restore_from_bytes(restored.rig.driver, point.driver);
        sim::restore_from_bytes(restored.rig.simulation.trace(), point.trace);
        CHECK(sim::save_to_bytes(restored.rig.controller) == point.controller);
        go(straight, 2000);
        go(restored, 2000);
        CHECK(restored.rig.simulation.trace().hash() == straight.rig.simulation.trace().hash());
        CHECK(restored.rig.wire.count == straight.rig.wire.count);
        CHECK(restored.rig.bus.memory == straight.rig.bus.memory);
        CHECK(restored.rig.controller.statistics() == straight.rig.controller.statistics());
    }
}

}  // namespace

}  // namespace hostile_test
