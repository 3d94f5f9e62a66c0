// Somebody else's TLM-2.0 device in our host. A driver of the root's, which works at the host's times, programs the
// device by its BAR, gets its samples in its own memory and its interrupt as MSI-X. Prints what happened when, and
// fails if anything differs.
#include <cstdio>
#include <cstring>
#include <memory>
#include <systemc>
#include <vector>

#include "models/host.h"
#include "models/platform_module.h"
#include "models/systemc/examples/foreign_device/sampler.h"
#include "models/systemc/tlm_function.h"
#include "pci/config_registers.h"
#include "sim/simulation.h"

namespace {

using models::HostFunction;
using models::HostPci;
using models::systemc::TlmFunction;
using sim::Time;

unsigned failures = 0;
void expect(bool good, const char* what) {
    if (good) return;
    ++failures;
    std::printf("WRONG: %s\n", what);
}

// What glue a foreign device needs: its wires, and its reset.
struct Board final : sc_core::sc_module {
    TlmFunction function;
    Sampler device{"sampler"};
    sc_core::sc_signal<bool> wire{"wire"};

    Board(const sc_core::sc_module_name& module_name, const sim::Scope& scope, HostPci& host)
        : sc_module(module_name), function("function", scope, host) {
        function.registers.bind(device.registers);
        device.memory.bind(function.memory);
        device.interrupt.bind(wire);
        function.interrupts[0].bind(wire);
        SC_HAS_PROCESS(Board);
        SC_METHOD(reset_device);
        sensitive << function.reset;
        dont_initialize();
    }
    void reset_device() { device.clear(); }
};

struct DriverMemory final : vmbus::GuestMemory {
    std::vector<std::byte> bytes = std::vector<std::byte>(4096);
    bool inside(std::uint64_t at, std::size_t n) const { return at <= bytes.size() && n <= bytes.size() - at; }
    bool read(std::uint64_t at, std::span<std::byte> out) override {
        if (!inside(at, out.size())) return false;
        std::memcpy(out.data(), &bytes[at], out.size());
        return true;
    }
    bool write(std::uint64_t at, std::span<const std::byte> data) override {
        if (!inside(at, data.size())) return false;
        std::memcpy(&bytes[at], data.data(), data.size());
        return true;
    }
    std::uint64_t word(std::uint64_t at) const {
        std::uint64_t value = 0;
        std::memcpy(&value, &bytes[at], sizeof value);
        return value;
    }
};

class Driver final : private models::RootInterrupts {
public:
    Driver(const sim::Scope& scope, HostPci& host, const HostFunction& function)
        : scope_(scope), host_(host), function_(function), start_(scope.agenda(), "driver.start", [this] { start(); }) {
        host.let_use(function.id, &memory);
        host.listen(function.id, this);
        host.write_config(function.id, pci::header::command, 2, pci::command::memory_space | pci::command::bus_master);
        // MSI-X vector 0: whatever number the driver likes.
        const pci::InterruptMessage to_driver = host.root_message(function.id, 7);
        Time cost;
        host.write(function.addresses[2], 8, to_driver.address, cost);
        host.write(function.addresses[2] + 8, 8, to_driver.data, cost);
        const std::uint16_t msix = host.capability(function.id, pci::capability_id::msix);
        host.write_config(function.id, msix + pci::msix_cap::control, 2, pci::msix_cap::enable);
    }
    void start_at(Time at, std::uint32_t address) {
        address_ = address;
        start_.arm(at);
    }

    DriverMemory memory;
    Time read_cost, started, interrupted;
    std::uint32_t identity = 0, data = 0, status = 0;
    unsigned interrupts = 0;

private:
    void put(std::uint64_t at, std::uint32_t value) {
        Time cost;
        host_.write(function_.addresses[0] + at, 4, value, cost);
    }
    std::uint32_t get(std::uint64_t at) {
        return static_cast<std::uint32_t>(host_.read(function_.addresses[0] + at, 4, read_cost));
    }
    void start() {
        identity = get(Sampler::identification);
        put(Sampler::interval_ns, 1000);
        put(Sampler::address, address_);
        put(Sampler::count, 3);
        started = scope_.now();
    }
    void message(std::uint32_t with) override {
        ++interrupts;
        data = with;
        interrupted = scope_.now();
        status = get(Sampler::status);
    }

    sim::Scope scope_;
    HostPci& host_;
    HostFunction function_;
    std::uint32_t address_ = 0;
    sim::Timer start_;
};

}  // namespace

int main() {
    (void)models::Platform::instance();
    sim::Simulation simulation{1};
    models::HostConfig config;
    config.memory_bytes = 64 << 20;
    const auto host = models::Host::create(simulation, config);
    Board board{"board", simulation.scope("board"), host->pci()};
    Driver driver{simulation.scope("driver"), host->pci(), board.function.placed()};
    const auto never = [] { return false; };

    driver.start_at(Time::us(10), 0x100);
    (void)host->run(Time::us(100), never, Time::never());
    std::printf("the device says 0x%x, after %lld ns\n", driver.identity,
                static_cast<long long>(driver.read_cost.ps() / 1000));
    expect(driver.identity == Sampler::identity, "the device's identity");
    expect(driver.read_cost == Time::ns(700 + Sampler::read_ns), "a read: the bus's way and the device's delay");
    // It starts when the write of its count has taken its 20 ns. A sample is an interval and 250 ns of memory.
    for (unsigned n = 0; n < 3; ++n) {
        const std::uint64_t at = driver.memory.word(0x100 + 8 * n);
        std::printf("sample %u at %llu ns\n", n, static_cast<unsigned long long>(at));
        expect(at == 10'000 + 20 + 1000 + n * 1250, "a sample's time");
    }
    std::printf("interrupt with data %u at %lld ns, status %u\n", driver.data,
                static_cast<long long>(driver.interrupted.ps() / 1000), driver.status);
    expect(driver.interrupts == 1 && driver.data == 7 && driver.status == 1, "the interrupt");
    expect(driver.interrupted == Time::ns(10'020 + 3 * 1250), "the interrupt's time");

    // Memory that is not the driver's.
    driver.start_at(Time::us(200), 0x1'0000);
    (void)host->run(Time::us(300), never, Time::never());
    expect(driver.interrupts == 2 && driver.status == 2, "refused memory");
    expect(simulation.statistics().all().at("board.errors").counter.value() == 1, "the refusal is counted");

    // A reset in the middle: no more samples, no interrupt.
    driver.start_at(Time::us(400), 0x200);
    (void)host->run(Time::ns(402'500), never, Time::never());
    expect(driver.memory.word(0x208) == 402'270 && driver.memory.word(0x210) == 0, "two samples so far");
    host->pci().reset(board.function.placed());
    (void)host->run(Time::us(500), never, Time::never());
    expect(driver.memory.word(0x210) == 0 && driver.interrupts == 2, "nothing after a reset");

    std::printf(failures == 0 ? "all as expected\n" : "%u things were wrong\n", failures);
    return failures == 0 ? 0 : 1;
}
