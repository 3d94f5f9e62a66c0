// What the tests put around the adapter: memory behind a bus of fixed latency, a wire that records, the physical
// driver.
#pragma once

#include <algorithm>
#include <array>
#include <cstring>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "sim/simulation.h"
#include "sriov_nic/controller.h"
#include "sriov_nic/physical_driver.h"
#include "sriov_nic/queue_driver.h"

namespace nic_test {

using namespace sriov_nic;  // NOLINT: a test's own namespace

// One flat memory for everybody; a bus that can be full, and answers that come after a fixed time.
struct Bus final : BusPort {
    Bus(sim::Simulation& s, std::size_t bytes)
        : simulation(s),
          memory(bytes),
          timer(s.agenda(), "bus", [this] { answer(); }),
          clock(s.agenda(), "clock", [this] { controller->woken(); }) {}

    bool read(unsigned function, std::uint64_t address, std::uint32_t size, std::uint32_t cookie) override {
        if (pending.size() >= room) {
            ++refusals;
            return false;
        }
        ++reads;
        pending.push_back({simulation.agenda().now() + latency, function, address, size, cookie});
        if (!timer.armed()) timer.arm(pending.front().at);
        return true;
    }
    bool write(unsigned, std::uint64_t address, std::span<const std::byte> data) override {
        if (writes_left == 0) {
            ++refusals;
            return false;
        }
        --writes_left;
        ++writes;
        if (address <= memory.size() && data.size() <= memory.size() - address) {
            std::copy(data.begin(), data.end(), memory.begin() + static_cast<std::ptrdiff_t>(address));
        } else {
            ++outside;
        }
        return true;
    }
    void interrupt(unsigned function, unsigned vector) override {
        interrupts.push_back({simulation.agenda().now(), function, vector});
    }
    void forget(unsigned function) override {
        std::erase_if(pending, [function](const Pending& p) { return p.function == function; });
    }
    void wake_at(sim::Time at) override { clock.arm(at); }
    void answer() {
        while (!pending.empty() && pending.front().at <= simulation.agenda().now()) {
            const Pending p = pending.front();
            pending.pop_front();
            const bool ok = p.address <= memory.size() && p.size <= memory.size() - p.address;
            if (!ok) ++outside;
            controller->read_done(
                p.cookie, ok,
                ok ? std::span<const std::byte>{memory}.subspan(p.address, p.size) : std::span<const std::byte>{});
        }
        if (!pending.empty()) timer.arm(pending.front().at);
        controller->bus_ready();
    }
    struct Pending {
        sim::Time at;
        unsigned function = 0;
        std::uint64_t address = 0;
        std::uint32_t size = 0, cookie = 0;
        template <class Archive>
        void fields(Archive& a) {
            a(at, function, address, size, cookie);
        }
    };
    struct Interrupt {
        sim::Time at;
        unsigned function;
        unsigned vector;
        bool operator==(const Interrupt&) const = default;
    };
    template <class Archive>
    void fields(Archive& a) {
        a(memory, timer, clock, pending, reads, writes, outside);
    }

    sim::Simulation& simulation;
    std::vector<std::byte> memory;
    sim::Timer timer, clock;
    sim::Time latency = sim::Time::ns(600);
    std::deque<Pending> pending;
    std::size_t room = 64;
    std::uint64_t writes_left = ~std::uint64_t{0};
    std::uint64_t reads = 0, writes = 0, refusals = 0, outside = 0;
    std::vector<Interrupt> interrupts;
    Controller* controller = nullptr;
};

struct RecordingWire final : Wire {
    struct Frame {
        std::vector<std::byte> bytes;
        sim::Time start, end;
    };
    void transmit(std::span<const std::byte> frame, sim::Time start, sim::Time end) override {
        ++count;
        octets += frame.size();
        last_end = end;
        if (keep) frames.push_back({{frame.begin(), frame.end()}, start, end});
    }
    std::vector<Frame> frames;
    bool keep = true;
    std::uint64_t count = 0, octets = 0;
    sim::Time last_end;
};

struct PhysicalRegisters final : RegisterPort {
    explicit PhysicalRegisters(Controller& c) : controller(c) {}
    std::uint32_t read_register(std::uint32_t offset) override { return controller.read(offset); }
    void write_register(std::uint32_t offset, std::uint32_t value) override { controller.write(offset, value); }
    Controller& controller;
};

struct VirtualRegisters final : RegisterPort {
    VirtualRegisters(Controller& c, unsigned n) : controller(c), vf(n) {}
    std::uint32_t read_register(std::uint32_t offset) override { return controller.read_virtual(vf, offset); }
    void write_register(std::uint32_t offset, std::uint32_t value) override {
        controller.write_virtual(vf, offset, value);
    }
    Controller& controller;
    unsigned vf;
};

constexpr MacKey mac_of(unsigned n) {
    return 0x0000'0000'0002 | std::uint64_t{n} << 40;
}  // 02:00:00:00:00:n
inline constexpr MacKey physical_mac = mac_of(0xf0), stranger = mac_of(0xee);

inline std::vector<std::byte> frame(MacKey to, MacKey from, std::size_t bytes, std::uint8_t fill = 0xa5) {
    std::vector<std::byte> f(bytes, std::byte{fill});
    std::memcpy(f.data(), &to, 6);
    std::memcpy(&f[6], &from, 6);
    store_be16(&f[12], 0x88b5);  // IEEE: for experiments
    return f;
}

inline std::vector<std::byte> tagged(const std::vector<std::byte>& plain, std::uint16_t tag) {
    std::vector<std::byte> f = plain;
    const std::array<std::byte, 4> inside{std::byte{0x81}, std::byte{0}, static_cast<std::byte>(tag >> 8),
                                          static_cast<std::byte>(tag)};
    f.insert(f.begin() + 12, inside.begin(), inside.end());
    return f;
}

// An adapter whose physical driver has started, with Hyper-V VFs that have addresses; each VF's queue 0 has a driver.
struct Rig {
    static constexpr std::uint64_t memory_bytes = 16u << 20;

    explicit Rig(unsigned vfs = 2, PhysicalSettings wish = {}, VfKind kind = VfKind::hyper_v)
        : bus(simulation, memory_bytes),
          controller(simulation.scope("nic"), profile, bus, wire),
          physical(controller),
          driver(simulation.scope("driver"), physical) {
        bus.controller = &controller;
        settings = wish;
        settings.mac = physical_mac;
        settings.vfs = vfs;
        controller.set_virtual_functions(vfs);
        controller.set_link(true);
        for (unsigned vf = 0; vf < vfs; ++vf) {
            VfPolicy policy;
            policy.kind = kind;
            policy.mac = mac_of(vf);
            driver.set_policy(vf, policy);
            registers.push_back(std::make_unique<VirtualRegisters>(controller, vf));
        }
        driver.start(settings);
        if (kind == VfKind::hyper_v) {
            for (unsigned vf = 0; vf < vfs; ++vf) driver.enable_hyper_v(vf);
        }
    }
    // The ordinary control words of ixgbevf: write back by eight, strip tags, 1522 bytes at most.
    static constexpr std::uint32_t transmit_control = 8u << 16 | 1u << 8 | 32, receive_control = 0x8000 | 1522;

    QueueDriver& open(unsigned vf, std::uint32_t tx_control = transmit_control,
                      std::uint32_t rx_control = receive_control, std::uint32_t throttle = 0,
                      QueueDriverLayout layout = {}) {
        layout.base = next_base;
        next_base += (layout.bytes() + 4095) & ~std::uint64_t{4095};
        drivers.push_back(std::make_unique<QueueDriver>(
            *registers[vf], std::span{bus.memory}.subspan(layout.base, layout.bytes()), layout, 0));
        drivers.back()->open(tx_control, rx_control, throttle);
        return *drivers.back();
    }
    void run(sim::Time how_long) { simulation.agenda().run_until(simulation.agenda().now() + how_long); }
    sim::Time now() { return simulation.agenda().now(); }

    sim::Simulation simulation;
    Profile profile;
    Bus bus;
    RecordingWire wire;
    Controller controller;
    PhysicalRegisters physical;
    PhysicalDriver driver;
    PhysicalSettings settings;
    std::vector<std::unique_ptr<VirtualRegisters>> registers;
    std::vector<std::unique_ptr<QueueDriver>> drivers;
    std::uint64_t next_base = 0x10000;
};

}  // namespace nic_test
