#include "sriov_nic/nic_bench.h"

#include <algorithm>
#include <memory>

#include "sim/prefetch.h"
#include "sim/simulation.h"
#include "sriov_nic/controller.h"
#include "sriov_nic/packet_memory.h"
#include "sriov_nic/queue_driver.h"

namespace sriov_nic {

namespace {

constexpr std::uint32_t ring = 256, buffer = 2048;
constexpr sim::Time latency = sim::Time::ns(500), poll = sim::Time::us(5);
constexpr MacKey host_mac = 0xf000'0000'0002, peer_mac = 0xee00'0000'0002;
constexpr MacKey mac_of(unsigned vf) {
    return 0x0000'0000'0002 | std::uint64_t{vf + 1} << 32;
}
constexpr std::uint32_t transmit_control = 8u << 16 | 1u << 8 | 32, receive_control = 0, moderated = 40;

// Memory that answers after a fixed time.
class FixedBus final : public BusPort {
public:
    FixedBus(sim::Agenda& agenda, std::size_t bytes)
        : memory(bytes),
          agenda_(agenda),
          pending_(4096),
          timer_(agenda, "bench.bus", [this] { answer(); }),
          clock_(agenda, "bench.clock", [this] { controller->woken(); }) {}
    bool read(unsigned, std::uint64_t address, std::uint32_t size, std::uint32_t cookie) override {
        if (pending_.full()) return false;
        // It will be read soon: the simulating computer may fetch it now.
        if (address < memory.size()) sim::prefetch(&memory[address]);
        pending_.push() = {agenda_.now() + latency, address, size, cookie};
        if (pending_.size() == 1) timer_.arm(pending_.front().at);
        return true;
    }
    bool write(unsigned, std::uint64_t address, std::span<const std::byte> data) override {
        if (address < memory.size() && data.size() <= memory.size() - address) {
            std::memcpy(&memory[address], data.data(), data.size());
        }
        return true;
    }
    void interrupt(unsigned, unsigned) override { ++interrupts; }
    void forget(unsigned) override {}
    void wake_at(sim::Time at) override { clock_.arm(at); }

    std::vector<std::byte> memory;
    Controller* controller = nullptr;
    std::uint64_t interrupts = 0;

private:
    struct Pending {
        sim::Time at;
        std::uint64_t address = 0;
        std::uint32_t size = 0, cookie = 0;
    };
    void answer() {
        while (!pending_.empty() && pending_.front().at <= agenda_.now()) {
            const Pending p = pending_.front();
            pending_.pop();
            const bool inside = p.address <= memory.size() && p.size <= memory.size() - p.address;
            controller->read_done(
                p.cookie, inside,
                inside ? std::span<const std::byte>{memory}.subspan(p.address, p.size) : std::span<const std::byte>{});
        }
        if (!pending_.empty()) timer_.arm(pending_.front().at);
        controller->bus_ready();
    }
    sim::Agenda& agenda_;
    Fifo<Pending> pending_;
    sim::Timer timer_, clock_;
};

struct CountingWire final : Wire {
    void transmit(std::span<const std::byte>, sim::Time, sim::Time) override { ++frames; }
    std::uint64_t frames = 0;
};

struct Physical final : RegisterPort {
    explicit Physical(Controller& c) : controller(c) {}
    std::uint32_t read_register(std::uint32_t offset) override { return controller.read(offset); }
    void write_register(std::uint32_t offset, std::uint32_t value) override { controller.write(offset, value); }
    Controller& controller;
};

struct Virtual final : RegisterPort {
    Virtual(Controller& c, unsigned n) : controller(c), vf(n) {}
    std::uint32_t read_register(std::uint32_t offset) override { return controller.read_virtual(vf, offset); }
    void write_register(std::uint32_t offset, std::uint32_t value) override {
        controller.write_virtual(vf, offset, value);
    }
    Controller& controller;
    unsigned vf;
};

std::vector<std::byte> frame_of(MacKey to, MacKey from, std::uint32_t bytes) {
    std::vector<std::byte> f(bytes - Profile::fcs_bytes);
    std::memcpy(f.data(), &to, 6);
    std::memcpy(&f[6], &from, 6);
    store_be16(&f[12], 0x88b5);
    return f;
}

struct Machine {
    explicit Machine(unsigned vfs)
        : bus(simulation.agenda(), vfs * layout_bytes()),
          controller(simulation.scope("nic"), profile, bus, wire),
          physical(controller),
          driver(simulation.scope("driver"), physical) {
        bus.controller = &controller;
        controller.set_virtual_functions(vfs);
        controller.set_link(true);
        PhysicalSettings settings;
        settings.mac = host_mac;
        settings.vfs = vfs;
        for (unsigned vf = 0; vf < vfs; ++vf) {
            VfPolicy policy;
            policy.kind = VfKind::hyper_v;
            policy.mac = mac_of(vf);
            driver.set_policy(vf, policy);
        }
        driver.start(settings);
        for (unsigned vf = 0; vf < vfs; ++vf) {
            driver.enable_hyper_v(vf);
            registers.push_back(std::make_unique<Virtual>(controller, vf));
            QueueDriverLayout layout{vf * layout_bytes(), ring, ring, buffer};
            drivers.push_back(std::make_unique<QueueDriver>(
                *registers.back(), std::span{bus.memory}.subspan(layout.base, layout.bytes()), layout, 0));
            drivers.back()->open(transmit_control, receive_control, moderated);
        }
        run();
    }
    static std::uint64_t layout_bytes() { return QueueDriverLayout{0, ring, ring, buffer}.bytes(); }
    void run() { simulation.agenda().run_until(simulation.agenda().now() + poll); }
    std::uint64_t take_all() {
        std::uint64_t n = 0;
        for (auto& one : drivers) {
            while (!one->receive().bytes.empty()) {
                one->release();
                ++n;
            }
        }
        return n;
    }

    sim::Simulation simulation;
    Profile profile;
    FixedBus bus;
    CountingWire wire;
    Controller controller;
    Physical physical;
    PhysicalDriver driver;
    std::vector<std::unique_ptr<Virtual>> registers;
    std::vector<std::unique_ptr<QueueDriver>> drivers;
};

// Every driver keeps its ring full; half of them receive what the others send, where frames stay inside.
NicBenchRow sending(std::uint64_t frames, unsigned vfs, std::uint32_t bytes, bool inside,
                    const std::function<std::uint64_t()>& clock_ns) {
    Machine machine{vfs};
    const unsigned senders = inside ? vfs / 2 : vfs;
    std::vector<std::vector<std::byte>> templates;
    for (unsigned vf = 0; vf < senders; ++vf) {
        templates.push_back(frame_of(inside ? mac_of(senders + vf) : peer_mac, mac_of(vf), bytes));
    }
    NicBenchRow row{inside ? "VF to VF" : "VF to wire", bytes, vfs};
    const sim::Time begin = machine.simulation.agenda().now();
    const std::uint64_t events = machine.simulation.agenda().events_fired();
    const std::uint64_t since = clock_ns();
    while (row.frames < frames) {
        for (unsigned vf = 0; vf < senders; ++vf) {
            QueueDriver& one = *machine.drivers[vf];
            one.reclaim();
            bool any = false;
            while (one.send(templates[vf])) any = true;
            if (any) one.notify();
        }
        machine.run();
        row.frames = inside ? row.frames + machine.take_all() : machine.wire.frames;
    }
    row.wall_ns = clock_ns() - since;
    row.simulated_ps = static_cast<std::uint64_t>((machine.simulation.agenda().now() - begin).ps());
    row.events = machine.simulation.agenda().events_fired() - events;
    return row;
}

// Line rate from the wire, to all VFs in turn.
NicBenchRow receiving(std::uint64_t frames, unsigned vfs, std::uint32_t bytes,
                      const std::function<std::uint64_t()>& clock_ns) {
    Machine machine{vfs};
    std::vector<std::vector<std::byte>> templates;
    for (unsigned vf = 0; vf < vfs; ++vf) templates.push_back(frame_of(mac_of(vf), peer_mac, bytes));
    NicBenchRow row{"wire to VF", bytes, vfs};
    sim::Agenda& agenda = machine.simulation.agenda();
    const sim::Time begin = agenda.now();
    const std::uint64_t events = agenda.events_fired();
    const sim::Time spacing = machine.profile.wire_time(bytes - Profile::fcs_bytes);
    const std::uint64_t since = clock_ns();
    std::uint64_t next = 0;
    while (row.frames < frames) {
        for (unsigned i = 0; i < 64; ++i) {
            agenda.run_until(agenda.now() + spacing);
            machine.controller.received(templates[next]);
            next = next + 1 == vfs ? 0 : next + 1;
        }
        row.frames += machine.take_all();
    }
    row.wall_ns = clock_ns() - since;
    row.simulated_ps = static_cast<std::uint64_t>((agenda.now() - begin).ps());
    row.events = agenda.events_fired() - events;
    return row;
}

}  // namespace

std::vector<NicBenchRow> run_nic_bench(std::uint64_t frames, const std::function<std::uint64_t()>& clock_ns) {
    if (frames == 0) throw sim::UserError("bench: at least one frame");
    std::vector<NicBenchRow> rows;
    for (const unsigned vfs : {1u, max_vfs}) {
        for (const std::uint32_t bytes : {64u, 1518u}) {
            rows.push_back(sending(frames, vfs, bytes, false, clock_ns));
            rows.push_back(receiving(frames, vfs, bytes, clock_ns));
            rows.push_back(sending(frames, std::max(vfs, 2u), bytes, true, clock_ns));
        }
    }
    return rows;
}

}  // namespace sriov_nic
