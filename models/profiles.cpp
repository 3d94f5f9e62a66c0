#include "models/profiles.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>

#include "models/profile_constants.h"
#include "sim/bits.h"
#include "sim/check.h"

namespace models {
namespace {

struct Named {
    std::string_view name;
    std::string_view title;
    std::span<const Constant> constants;
};

constexpr std::array<Named, 2> all = {{
    {"sandy-bridge-ep", "Intel Xeon E5-2450 (Sandy Bridge), 2.1 GHz", constants::sandy_bridge_ep},
    {"one-nanosecond", "one nanosecond per instruction", constants::one_nanosecond},
}};

const Constant& row(std::span<const Constant> table, std::string_view key) {
    for (const Constant& constant : table) {
        if (constant.key == key) return constant;
    }
    VG_CHECK(false, "timing profile without " + std::string{key});
    return table.front();
}

bool is_time(Unit unit) {
    return unit == Unit::cycles || unit == Unit::millicycles || unit == Unit::nanoseconds;
}

// What a row means in time at the profile's clock, to the nearest picosecond.
sim::Time time_of(const Constant& constant, std::uint64_t core_hz) {
    if (constant.unit == Unit::nanoseconds) return sim::Time::ns(constant.value);
    VG_CHECK(constant.unit == Unit::cycles || constant.unit == Unit::millicycles);
    const auto divisor = static_cast<sim::u128>(core_hz) * (constant.unit == Unit::millicycles ? 1000 : 1);
    const auto ps = (static_cast<sim::u128>(constant.value) * sim::picoseconds_per_second + divisor / 2) / divisor;
    return sim::Time::ps(static_cast<std::int64_t>(ps));
}

Profile build(const Named& named) {
    const auto value = [&](const std::string_view key) { return row(named.constants, key).value; };
    const auto small = [&](std::string_view key) { return static_cast<std::uint32_t>(value(key)); };
    Profile p;
    p.name = named.name;
    p.title = named.title;
    p.constants = named.constants;
    p.core_hz = static_cast<std::uint64_t>(value("core_hz"));
    p.tsc_hz = static_cast<std::uint64_t>(value("tsc_hz"));
    p.apic_hz = static_cast<std::uint64_t>(value("apic_hz"));
    const auto time = [&](std::string_view key) { return time_of(row(named.constants, key), p.core_hz); };

    for (std::size_t i = 0; i < cpu::instruction_classes; ++i) {
        p.instruction_costs.ps[i] = time("instruction." + std::string{cpu::instruction_class_names[i]}).ps();
    }
    hypervisor::ExitCosts& e = p.exit_costs;
    e.exit = time("exit.any");
    e.cpuid = time("exit.cpuid");
    e.msr = time("exit.msr");
    e.apic_register = time("exit.apic_register");
    e.hypercall = time("exit.hypercall");
    e.hypercall_rep = time("exit.hypercall_rep");
    e.nested_fault = time("exit.nested_fault");
    e.root_round_trip = time("exit.root_round_trip");
    e.interrupt_delivery = time("exit.interrupt_delivery");
    e.halt = time("exit.halt");
    e.context_switch = time("exit.context_switch");
    e.ipi_latency = time("exit.ipi_latency");
    e.idle_states = {{{sim::Time::zero(), time("idle.c1.exit")},
                      {time("idle.c1e.after"), time("idle.c1e.exit")},
                      {sim::Time::never(), {}},
                      {sim::Time::never(), {}}}};

    PciCosts& c = p.pci_costs;
    c.mmio = {time("mmio.read"), time("mmio.write")};
    c.memory_read = time("dma.memory_read");
    c.memory_write = time("dma.memory_write");
    c.iommu.iotlb = {small("iommu.iotlb.entries"), small("iommu.iotlb.ways")};
    c.iommu.level2 = {small("iommu.level2.entries"), small("iommu.level2.ways")};
    c.iommu.level3 = {small("iommu.level3.entries"), small("iommu.level3.ways")};
    c.iommu.level4 = {small("iommu.level4.entries"), small("iommu.level4.ways")};
    c.iommu.contexts = {small("iommu.contexts.entries"), small("iommu.contexts.ways")};
    c.iommu.walkers = small("iommu.walkers");
    c.iommu.walk_overhead = time("iommu.walk_overhead");
    c.iommu.reference = time("iommu.walk_reference");
    c.iommu.interrupt = time("iommu.interrupt");
    c.iommu.fault_registers = small("iommu.fault_records");
    c.iommu.second.format = slat::Format::npt;  // it reads the hypervisor's tables as they are
    c.posted_descriptors = small("iommu.posted_descriptors");
    c.fault_event = time("root.fault_event");
    c.fault_record = time("root.fault_record");
    ServiceCosts& s = p.service_costs;
    s.bus.per_packet = time("bus.packet");
    s.bus.per_message = time("bus.message");
    s.bus.signal = time("bus.signal");
    s.bus.per_kibibyte = time_of({"", value("bus.copied_byte") * 1024, Unit::millicycles, {}, "", ""}, p.core_hz);
    s.network.ring = s.bus;
    s.network.interrupt = time("network.interrupt");
    s.network.per_frame = time("network.frame_to_guest");
    s.network.per_frame_sent = time("network.frame_from_guest");
    s.switching.per_frame = time("network.frame_from_wire");
    s.storage_request = time("storage.request");
    NumaCosts& n = p.numa_costs;
    n.memory = time("numa.memory");
    n.misses = small("numa.misses");
    n.fill_buffers = small("numa.fill_buffers");
    n.dma_read = time("numa.dma_read");
    n.dma_write = time("numa.dma_write");
    n.message = time("numa.message");
    s.remote_kibibyte = n.per_kibibyte();
    s.guest_network_interrupt = time("guest.network.interrupt");
    s.guest_network_frame = time("guest.network.frame");
    s.guest_storage_request = time("guest.storage.request");
    const auto kibibyte = [&](std::string_view key) {
        return time_of({"", value(key) * 1024, Unit::millicycles, {}, "", ""}, p.core_hz);
    };
    StackCosts& stack = p.stack_costs;
    stack.system_call = time("guest.stack.system_call");
    stack.copied_kibibyte = kibibyte("guest.stack.copied_byte");
    stack.wake_up = time("guest.stack.wake_up");
    stack.tcp_sent = time("guest.stack.tcp_sent");
    stack.tcp_received = time("guest.stack.tcp_received");
    stack.tcp_joined = time("guest.stack.tcp_joined");
    stack.tcp_acknowledgement = time("guest.stack.tcp_acknowledgement");
    stack.tcp_cut = time("guest.stack.tcp_cut");
    stack.datagram_sent = time("guest.stack.datagram_sent");
    stack.datagram_received = time("guest.stack.datagram_received");
    stack.checksummed_kibibyte = kibibyte("guest.stack.checksummed_byte");
    p.migration_costs = {time("migration.page_sent"), time("migration.page_received"), e.exit + e.hypercall,
                         e.hypercall_rep};
    DriverCosts& d = p.driver_costs;
    d.bus = s.bus;
    d.interrupt = s.guest_network_interrupt;
    d.frame = s.guest_network_frame;
    d.poll = time("guest.vf.poll");
    d.sent = time("guest.vf.frame_sent");
    d.received = time("guest.vf.frame_received");
    d.descriptor = time("guest.vf.descriptor");
    d.polled_sent = time("guest.vf.polled_frame_sent");
    d.polled_received = time("guest.vf.polled_frame_received");
    d.idle_poll = time("guest.vf.idle_poll");
    d.legacy_frame = time("guest.legacy.frame");

    using Array = mmu::TlbArrayConfig;
    const auto full = [&](std::string_view key) { return mmu::ArrayShape{small(key), small(key)}; };  // all ways
    p.memory_timing.translation.leave_flags = true;
    mmu::TlbConfig& tlb = p.memory_timing.translation.tlb;
    tlb.l1_instruction = {
        Array{{small("tlb.l1_instruction.4k.entries"), small("tlb.l1_instruction.4k.ways")}, true, false, false},
        Array{full("tlb.l1_instruction.2m.entries"), false, true, false}};
    tlb.l1_data = {Array{{small("tlb.l1_data.4k.entries"), small("tlb.l1_data.4k.ways")}, true, false, false},
                   Array{{small("tlb.l1_data.2m.entries"), small("tlb.l1_data.2m.ways")}, false, true, false},
                   Array{full("tlb.l1_data.1g.entries"), false, false, true}};
    tlb.l2 = {Array{{small("tlb.l2.4k.entries"), small("tlb.l2.4k.ways")}, true, false, false}};
    p.memory_timing.l2_tlb_ps = time("tlb.l2_hit").ps();

    const auto cache = [&](std::string_view key) {
        const std::string stem = "cache." + std::string{key};
        return cpu::CacheShape{small(stem + ".size") << 10, small(stem + ".ways")};
    };
    cpu::CacheHierarchyConfig& caches = p.memory_timing.caches;
    caches.l1_instruction = cache("l1_instruction");
    caches.l1_data = cache("l1_data");
    caches.l2 = cache("l2");
    caches.l3 = cache("l3");
    const sim::Time l1 = time("cache.l1_latency"), l3 = time("cache.l3.latency");
    caches.extra_ps = {0, (time("cache.l2.latency") - l1).ps(), (l3 - l1).ps(),
                       (l3 + time("memory.latency") - l1).ps()};
    p.memory_timing.remote_ps = n.memory.ps();
    return p;
}

}  // namespace

std::string_view unit_name(Unit unit) {
    static constexpr std::array<std::string_view, 7> names = {"Hz",  "millicycles", "cycles", "ns",
                                                              "KiB", "entries",     "ways"};
    return names[static_cast<std::size_t>(unit)];
}

std::string_view origin_name(Origin origin) {
    static constexpr std::array<std::string_view, 4> names = {"published", "second-hand", "calibrated", "assumed"};
    return names[static_cast<std::size_t>(origin)];
}

namespace {

// Others are shapes of arrays and caches, which must fit each other.
bool can_be_set(const Constant& constant) {
    return is_time(constant.unit) || constant.unit == Unit::hertz || constant.key.starts_with("numa.");
}

void set_constant(std::vector<Constant>& constants, std::string_view text) {
    const std::string_view key = text.substr(0, text.find('=')), digits = text.substr(key.size() + 1);
    const auto constant = std::ranges::find(constants, key, &Constant::key);
    if (constant == constants.end()) {
        throw sim::UserError(fmt::format("the timing profile has no constant {}; docs/timing.md lists all", key));
    }
    if (!can_be_set(*constant)) {
        throw sim::UserError(fmt::format("the constant {} is a shape, not a time, and cannot be set", key));
    }
    const std::int64_t least = is_time(constant->unit) ? 0 : constant->unit == Unit::hertz ? 1'000'000 : 1;
    const std::int64_t most = constant->unit == Unit::hertz ? 100'000'000'000 : 1'000'000'000;
    std::int64_t value = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    if (error != std::errc{} || end != digits.data() + digits.size() || value < least || value > most) {
        throw sim::UserError(fmt::format("{}: {} is not a whole number of {} from {} to {}", key, digits,
                                         unit_name(constant->unit), least, most));
    }
    constant->value = value;
}

}  // namespace

sim::Time Profile::cycles(std::int64_t n) const {
    return time_of(Constant{"", n, Unit::cycles, Origin::assumed, "", ""}, core_hz);
}

// Behind a colon: what an experiment compares with, or NAME=VALUE for a constant in its own unit; several in turn.
Profile find_profile(std::string_view name) {
    const std::string_view base = name.substr(0, name.find(':'));
    const auto named = std::ranges::find(all, base, &Named::name);
    std::string known;
    for (const Named& each : all) known += (known.empty() ? "" : ", ") + std::string{each.name};
    const auto refuse = [&] {
        throw sim::UserError(fmt::format("timing profile '{}' does not exist; there are: {}", name, known));
    };
    if (named == all.end()) refuse();

    std::vector<Constant> constants{named->constants.begin(), named->constants.end()};
    bool posted = false, bare_metal = false;
    for (std::string_view rest = name.substr(base.size()); !rest.empty();) {
        const std::string_view variant = rest.substr(1, rest.find(':', 1) - 1);
        rest.remove_prefix(1 + variant.size());
        if (variant.find('=') != std::string_view::npos) {
            set_constant(constants, variant);
        } else if (variant == "3400MHz") {
            set_constant(constants, "core_hz=3400000000");
        } else if (variant == "posted") {
            posted = true;
        } else if (variant == "bare-metal") {
            bare_metal = true;
        } else {
            refuse();
        }
    }
    Profile p = build({named->name, named->title, constants});
    p.constants = named->constants;  // as the table has them: what was given lives no longer than this call
    for (std::size_t i = 1; i < p.memory_timing.caches.extra_ps.size(); ++i) {
        if (p.memory_timing.caches.extra_ps[i] < p.memory_timing.caches.extra_ps[i - 1]) {
            throw sim::UserError("cache.l1_latency, cache.l2.latency and cache.l3.latency must not fall");
        }
    }
    if (posted) p.pci_costs.posted_descriptors = 64;
    if (bare_metal) p.exit_costs = {.idle_states = p.exit_costs.idle_states};
    return p;
}

std::vector<std::string_view> profile_names() {
    std::vector<std::string_view> names;
    for (const Named& named : all) names.push_back(named.name);
    return names;
}

std::string constants_as_markdown() {
    std::string out;
    for (const Named& named : all) {
        const Profile profile = build(named);
        out += fmt::format(
            "### `{}`: {}\n\n| constant | value | time | origin | what | source |\n|---|---|---|---|---|---|\n",
            named.name, named.title);
        for (const Constant& c : named.constants) {
            out += fmt::format("| `{}` | {} {} | {} | {} | {} | {} |\n", c.key, c.value, unit_name(c.unit),
                               is_time(c.unit) ? fmt::format("{} ps", time_of(c, profile.core_hz).ps()) : "",
                               origin_name(c.origin), c.meaning, c.source);
        }
        out += "\n";
    }
    return out;
}

}  // namespace models
