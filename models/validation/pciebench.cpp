#include "models/validation/pciebench.h"

#include <algorithm>
#include <array>
#include <memory>
#include <vector>

#include "models/validation/pciebench_profile.h"
#include "pci/iommu.h"
#include "pci/link.h"
#include "pci/root_complex.h"
#include "sim/check.h"
#include "sim/simulation.h"
#include "slat/table_writer.h"

namespace models {

namespace {

namespace profile = pciebench;
using sim::Time;

constexpr std::uint64_t buffer = std::uint64_t{1} << 32;  // 64-bit addresses, as measured
constexpr std::uint64_t tables_bytes = 1 << 20;

// Only times are measured: the buffer's content is nothing.
struct Host final : pci::HostPort, pci::HostTiming {
    explicit Host(const PciebenchSetting& the_setting) : setting(the_setting) {}
    pci::DmaStatus read_memory(pci::RequesterId, std::uint64_t, std::span<std::byte>) override {
        return pci::DmaStatus::ok;
    }
    pci::DmaStatus write_memory(pci::RequesterId, std::uint64_t, std::span<const std::byte>) override {
        return pci::DmaStatus::ok;
    }
    void interrupt(const pci::InterruptMessage&) override {}
    void line(unsigned, bool) override {}
    Time served(const pci::HostAccess& access, Time arrival) override {
        if (access.write) return arrival;
        const bool cached = setting.warm && access.address - buffer < std::uint64_t{profile::cache_bytes};
        std::int64_t ns = profile::cache_read_ns;
        if (!cached) ns += profile::memory_read_ns;
        if (setting.remote) ns += profile::remote_read_ns;
        return arrival + Time::ns(ns);
    }
    PciebenchSetting setting;
};

pci::LinkConfig link_config() {
    pci::LinkConfig config;
    const std::uint32_t guide = pci::ack_limit_x8(3, 256);
    config.rate = {3, 8, guide, guide};
    config.limits.short_completion_bytes = profile::short_completion_bytes;
    config.flight = Time::ns(profile::flight_ns);
    config.tags = profile::tags;
    return config;
}

pci::IommuConfig iommu_config() {
    pci::IommuConfig config;
    config.iotlb = {profile::iotlb_entries, 8};
    config.walkers = profile::walkers;
    config.walk_overhead = Time::ns(profile::walk_overhead_ns);
    config.reference = Time::ns(profile::walk_reference_ns);
    return config;
}

std::int64_t beats(std::uint32_t bytes) {
    return (std::int64_t{bytes} + profile::beat_bytes - 1) / profile::beat_bytes * profile::beat_ps;
}

// How long the device's data path is busy with one operation.
Time engine_time(const pci::PacketLimits& limits, PciebenchOperation operation, std::uint32_t size) {
    std::int64_t ps = profile::operation_beats * profile::beat_ps;
    if (operation == PciebenchOperation::dma_write) {
        for (std::uint32_t done = 0; done < size; done += limits.max_payload) {
            constexpr std::uint32_t header = 16;
            ps += std::max(profile::sent_packet_ps, beats(header + std::min(size - done, limits.max_payload)));
        }
        return Time::ps(std::max(ps, profile::write_ps));
    }
    for (std::uint32_t done = 0; done < size; done += limits.max_read_request) {
        const std::uint32_t request = std::min(size - done, limits.max_read_request);
        const std::uint32_t piece =
            request <= limits.max_payload ? limits.short_completion_bytes : limits.completion_bytes;
        for (std::uint32_t part = 0; part < request; part += piece) {
            constexpr std::uint32_t header = 12;
            ps += std::max(profile::received_packet_ps, beats(header + std::min(request - part, piece)));
        }
    }
    return Time::ps(ps);
}

// Tables for the window, one address to one.
class Tables final : public slat::TablePages {
public:
    Tables(mmu::SystemMemory memory, const slat::SecondLevel& format, pci::RequesterId who, std::uint64_t window,
           bool super_pages)
        : writer_(format, memory, *this) {
        VG_CHECK(writer_.create() == slat::Edit::ok);
        const std::uint64_t large = std::uint64_t{1} << mmu::shift_2m;
        const std::uint64_t bytes = super_pages ? (window + large - 1) / large * large : window;
        VG_CHECK(writer_.map_range(buffer, buffer, bytes, {}, super_pages ? mmu::shift_2m : mmu::shift_4k) ==
                 slat::Edit::ok);
        memory.store<std::uint64_t>(root_table + 16 * who.bus(), context_table | 1);
        memory.store<std::uint64_t>(context_table + 16 * who.devfn(), writer_.second_level().root | 1);
        memory.store<std::uint64_t>(context_table + 16 * who.devfn() + 8, 1 << 8 | 2);
    }
    static constexpr std::uint64_t root_table = 0x1000, context_table = 0x2000;

private:
    std::optional<std::uint64_t> allocate_table() override {
        next_ += 4096;
        return next_ <= tables_bytes ? std::optional{next_ - 4096} : std::nullopt;
    }
    void free_table(std::uint64_t) override {}
    std::uint64_t next_ = 0x3000;
    slat::TableWriter writer_;
};

class Device final : public pci::FunctionModel, public pci::DmaClient {
public:
    Device(const sim::Scope& scope, pci::Slot slot, pci::Link& link, std::uint64_t window)
        : function_(scope, std::move(slot), layout(), *this),
          link_(link),
          agenda_(scope.agenda()),
          random_(scope.random()),
          window_(window),
          next_(scope.agenda(), "pciebench.next", [this] { go_on(); }) {
        link.connect(*this);
        function_.write_config(pci::header::command, 2, pci::command::bus_master);
    }

    // `gap`: from one operation to the next, as far as there are tags; zero: one at a time.
    void start(PciebenchOperation operation, std::uint32_t size, Time gap, std::uint64_t count) {
        operation_ = operation;
        size_ = size;
        gap_ = gap;
        left_ = count;
        data_.assign(size, std::byte{0});
        go_on();
    }
    std::uint64_t done() const { return done_; }
    Time last_done() const { return last_done_; }
    Time waited() const { return waited_; }

private:
    static std::shared_ptr<const pci::FunctionLayout> layout() {
        pci::Identity who;
        who.vendor = 0x10ee;
        who.device = 0x7034;
        return std::make_shared<const pci::FunctionLayout>(pci::device_function(who, {}, pci::legacy_config_bytes));
    }
    std::uint64_t read_bar(unsigned, std::uint64_t, unsigned) override { return 0; }
    void write_bar(unsigned, std::uint64_t, unsigned, std::uint64_t) override {}
    void function_reset(pci::ResetKind) override {}

    // A unit of whole cache lines somewhere in the window.
    std::uint64_t place() {
        const std::uint64_t unit = (size_ + 63) / 64 * 64;
        return buffer + random_.below(std::max<std::uint64_t>(window_ / unit, 1)) * unit;
    }
    void go_on() {
        if (left_ == 0 || blocked_ || (gap_ != Time::zero() && next_.armed())) return;
        const bool write = operation_ == PciebenchOperation::dma_write;
        const std::uint64_t address = place();
        const bool asked = write ? link_.write(function_.master(), address, data_, 0, true)
                                 : link_.read(function_.master(), address, size_, 0);
        if (!asked) {
            blocked_ = true;
            return;
        }
        --left_;
        asked_at_ = agenda_.now();
        if (gap_ == Time::zero()) return;
        ++under_way_;
        if (under_way_ == most_under_way) blocked_ = true;
        next_.arm_after(gap_);
    }
    void ended() {
        ++done_;
        last_done_ = agenda_.now();
        if (gap_ == Time::zero()) {
            waited_ += agenda_.now() - asked_at_;
            next_.arm_after(Time::us(2));
            return;
        }
        --under_way_;
        link_ready();
    }
    void read_done(std::uint32_t, pci::DmaStatus status, std::span<const std::byte>) override {
        VG_CHECK(status == pci::DmaStatus::ok);
        ended();
    }
    void write_sent(std::uint32_t, pci::DmaStatus) override { ended(); }
    void woken() override {}
    void link_ready() override {
        blocked_ = false;
        go_on();
    }

    static constexpr unsigned most_under_way = 64;
    pci::Function function_;
    pci::Link& link_;
    sim::Agenda& agenda_;
    sim::Random random_;
    std::uint64_t window_;
    PciebenchOperation operation_ = PciebenchOperation::dma_read;
    std::uint32_t size_ = 0;
    Time gap_;
    std::uint64_t left_ = 0;
    std::uint64_t done_ = 0;
    unsigned under_way_ = 0;
    bool blocked_ = false;
    Time asked_at_;
    Time last_done_;
    Time waited_;
    std::vector<std::byte> data_;
    sim::Timer next_;
};

struct Bench {
    sim::Simulation simulation{1};
    Host host;
    std::vector<std::byte> table_bytes;
    mmu::SystemMemory table_memory;
    std::optional<pci::Iommu> iommu;
    pci::RootComplex root;
    pci::Link link;
    Device device;
    std::optional<Tables> tables;

    explicit Bench(const PciebenchSetting& setting)
        : host(setting),
          table_bytes(setting.iommu ? tables_bytes : 0),
          table_memory(table_bytes.data(), table_bytes.size()),
          root(simulation.scope("root"), port(setting), pci::Wiring::rotated),
          link(simulation.scope("link"), root.bus(), timing(), link_config()),
          device(simulation.scope("device"), root.bus().slot(1, 0), link, setting.window_bytes) {
        if (!iommu) return;
        tables.emplace(table_memory, iommu_config().second, pci::RequesterId::of(0, 1, 0), setting.window_bytes,
                       setting.super_pages);
        iommu->set_root_table(Tables::root_table);
        iommu->enable_translation(true);
    }
    pci::HostPort& port(const PciebenchSetting& setting) {
        if (!setting.iommu) return host;
        return iommu.emplace(simulation.scope("iommu"), table_memory, host, host, iommu_config());
    }
    pci::HostTiming& timing() { return iommu ? static_cast<pci::HostTiming&>(*iommu) : host; }
    Time run_to(std::uint64_t done) {
        while (device.done() < done) VG_CHECK(simulation.agenda().run_next());
        return device.last_done();
    }
};

}  // namespace

std::int64_t pciebench_bandwidth(PciebenchOperation operation, std::uint32_t size, const PciebenchSetting& setting) {
    Bench bench(setting);
    const pci::LinkConfig config = link_config();
    constexpr std::uint64_t warming = 4000;
    constexpr std::uint64_t measured = 12000;
    bench.device.start(operation, size, engine_time(config.limits, operation, size), warming + measured + 100);
    const Time begin = bench.run_to(warming);
    const Time end = bench.run_to(warming + measured);
    const auto bits = static_cast<std::int64_t>(measured * size * 8);
    return bits * 1'000'000 / (end - begin).ps();  // bits per picosecond are thousands of Gb/s
}

// The device holds data until the last word has gone through its path.
std::int64_t pciebench_latency(PciebenchOperation operation, std::uint32_t size, const PciebenchSetting& setting) {
    Bench bench(setting);
    constexpr std::uint64_t count = 2000;
    bench.device.start(operation, size, Time::zero(), count);
    (void)bench.run_to(count);
    const std::int64_t device_ns =
        operation == PciebenchOperation::command_read ? profile::command_ns : profile::engine_ns;
    return bench.device.waited().ps() / static_cast<std::int64_t>(count) + Time::ns(device_ns).ps() + beats(size);
}

}  // namespace models
