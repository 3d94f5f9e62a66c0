#include "models/validation/nic_path.h"

#include <sys/mman.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <memory>

#include "pci/capability_registers.h"
#include "pci/iommu.h"
#include "pci/link.h"
#include "pci/root_complex.h"
#include "sim/check.h"
#include "sim/simulation.h"
#include "slat/table_writer.h"
#include "sriov_nic/adapter.h"
#include "sriov_nic/queue_driver.h"
#include "sriov_nic/registers.h"

namespace models {

namespace {

using sim::Time;
using sriov_nic::MacKey;
using sriov_nic::QueueDriverLayout;
constexpr std::uint32_t buffer_bytes = 2048;
constexpr std::uint64_t large_page = std::uint64_t{2} << 20;
constexpr std::uint64_t tables_bytes = std::uint64_t{2} << 20;
constexpr std::uint64_t root_table = 0x1000, context_table = 0x2000, interrupt_table = 0x3000;
constexpr MacKey host_mac = 0xf000'0000'0002, peer_mac = 0xee00'0000'0002;
constexpr Time turn = Time::us(5);
// As ixgbevf: write back descriptors by eight, prefetch 32; a moderation interval of 82 us.
constexpr std::uint32_t transmit_control = 8u << 16 | 1u << 8 | 32, receive_control = 0, moderated = 40 << 3;

// A ring that was full takes frames again when it has room for two of the largest packets (ixgbevf's TX_WAKE_THRESHOLD:
// twice MAX_SKB_FRAGS + 4).
constexpr std::uint32_t wake_threshold = 42;

constexpr MacKey mac_of(unsigned vf) {
    return 0x0000'0000'0002 | std::uint64_t{vf + 1} << 32;
}

// Zeros on large pages, where the computer has them.
struct LargePages {
    explicit LargePages(std::uint64_t bytes) : size(bytes) {
        void* const at =
            mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (at == MAP_FAILED) throw sim::UserError("this computer has no memory left");
        base = static_cast<std::byte*>(at);
        (void)madvise(at, size, MADV_HUGEPAGE);
    }
    LargePages(const LargePages&) = delete;
    ~LargePages() { munmap(base, size); }
    std::uint64_t size;
    std::byte* base = nullptr;
};

// The tables, and behind them the guests' memory.
struct Memory final : pci::HostPort {
    explicit Memory(std::uint64_t bytes_in_all) : bytes(bytes_in_all), all(bytes.base, bytes.size) {}
    bool inside(std::uint64_t address, std::size_t size) const {
        return address <= bytes.size && size <= bytes.size - address;
    }
    std::span<std::byte> part(std::uint64_t from, std::uint64_t size) { return {bytes.base + from, size}; }
    pci::DmaStatus read_memory(pci::RequesterId, std::uint64_t address, std::span<std::byte> out) override {
        if (!inside(address, out.size())) return pci::DmaStatus::unsupported;
        std::memcpy(out.data(), bytes.base + address, out.size());
        return pci::DmaStatus::ok;
    }
    pci::DmaStatus write_memory(pci::RequesterId, std::uint64_t address, std::span<const std::byte> data) override {
        if (!inside(address, data.size())) return pci::DmaStatus::unsupported;
        std::memcpy(bytes.base + address, data.data(), data.size());
        return pci::DmaStatus::ok;
    }
    void interrupt(const pci::InterruptMessage&) override { ++interrupts; }
    void line(unsigned, bool) override {}

    LargePages bytes;
    mmu::SystemMemory all;
    std::uint64_t interrupts = 0;
};

struct Tables final : slat::TablePages {
    std::optional<std::uint64_t> allocate_table() override {
        next += 4096;
        return next <= tables_bytes ? std::optional{next - 4096} : std::nullopt;
    }
    void free_table(std::uint64_t) override {}
    std::uint64_t next = 0x10'000;
    std::vector<slat::TableWriter> writers;
};

struct CountingWire final : sriov_nic::Wire {
    void transmit(std::span<const std::byte>, Time, Time) override { ++frames; }
    std::uint64_t frames = 0;
};

struct Registers final : sriov_nic::RegisterPort {
    Registers(sriov_nic::Adapter& the_adapter, unsigned number) : adapter(the_adapter), vf(number) {}
    std::uint32_t read_register(std::uint32_t offset) override {
        return static_cast<std::uint32_t>(adapter.read_virtual_bar(vf, sriov_nic::virtual_register_bar, offset, 4));
    }
    void write_register(std::uint32_t offset, std::uint32_t value) override {
        adapter.write_virtual_bar(vf, sriov_nic::virtual_register_bar, offset, 4, value);
    }
    sriov_nic::Adapter& adapter;
    unsigned vf;
};

// What a function's guest has of it.
struct alignas(64) Guest {
    Guest(sriov_nic::Adapter& adapter, unsigned vf, std::span<std::byte> memory, const QueueDriverLayout& layout)
        : registers(adapter, vf), driver(registers, memory, layout, 0) {}
    Registers registers;
    sriov_nic::QueueDriver driver;
};

// The 82599's link, as docs/timing.md has it.
pci::LinkConfig link_config() {
    pci::LinkConfig config;
    const std::uint32_t guide = pci::ack_limit_x8(2, 256);
    config.rate = {2, 8, guide, guide};
    config.flight = Time::ns(85);
    return config;
}

struct Machine {
    explicit Machine(unsigned vfs, std::uint32_t throttle = moderated, NicRings wish = {})
        : rings(wish),
          vf_bytes((2 * layout_at(0).bytes() + large_page - 1) / large_page * large_page),
          memory(tables_bytes + vfs * vf_bytes),
          iommu(simulation.scope("iommu"), memory.all, memory, timing, {}),
          root(simulation.scope("root"), iommu, pci::Wiring::rotated),
          link(simulation.scope("link"), root.bus(), iommu, link_config()),
          adapter(simulation.scope("nic"), root.bus().slot(0, 0), link, wire, profile),
          driver(simulation.scope("driver"), adapter) {
        link.connect(adapter);
        make_functions(vfs);
        make_tables(vfs);
        for (unsigned vf = 0; vf < vfs; ++vf) open(vf, throttle);
        run();
    }

    QueueDriverLayout layout_at(std::uint64_t place) const {
        return {place, rings.descriptors, rings.descriptors, buffer_bytes, rings.colours};
    }

    void make_functions(unsigned vfs) {
        pci::Function& physical = adapter.physical();
        const unsigned sriov = physical.config().layout().extended_capability(pci::extended_id::sriov);
        physical.write_config(pci::header::command, 2, pci::command::memory_space | pci::command::bus_master);
        physical.write_config(sriov + pci::sriov::num_vfs, 2, vfs);
        physical.write_config(sriov + pci::sriov::control, 2,
                              pci::sriov::ari_capable_hierarchy | pci::sriov::vf_enable | pci::sriov::vf_memory_space);
        sriov_nic::PhysicalSettings settings;
        settings.mac = host_mac;
        settings.vfs = vfs;
        for (unsigned vf = 0; vf < vfs; ++vf) {
            sriov_nic::VfPolicy policy;
            policy.kind = sriov_nic::VfKind::hyper_v;
            policy.mac = mac_of(vf);
            driver.set_policy(vf, policy);
        }
        adapter.controller().set_link(true);
        driver.start(settings);
        for (unsigned vf = 0; vf < vfs; ++vf) driver.enable_hyper_v(vf);
    }

    // A domain for each function, its memory from 0 on; an entry of the interrupt table for each vector.
    void make_tables(unsigned vfs) {
        const mmu::SystemMemory& at = memory.all;
        at.store<std::uint64_t>(root_table, context_table | 1);
        for (unsigned vf = 0; vf < vfs; ++vf) {
            const pci::RequesterId who = adapter.virtual_function(vf).id();
            slat::TableWriter& writer =
                tables.writers.emplace_back(slat::SecondLevel{.accessed_dirty = false}, at, tables);
            VG_CHECK(writer.create() == slat::Edit::ok);
            VG_CHECK(writer.map_range(0, tables_bytes + vf * vf_bytes, vf_bytes, {}, mmu::shift_2m) == slat::Edit::ok);
            at.store<std::uint64_t>(context_table + 16 * who.devfn(), writer.second_level().root | 1);
            at.store<std::uint64_t>(context_table + 16 * who.devfn() + 8, std::uint64_t{vf + 1} << 8 | 2);
            at.store<std::uint64_t>(interrupt_table + 16 * vf, 1 | std::uint64_t{0x40} << 16);
            at.store<std::uint64_t>(interrupt_table + 16 * vf + 8, std::uint64_t{1} << 18 | who.value);
        }
        iommu.set_root_table(root_table);
        iommu.enable_translation(true);
        iommu.set_interrupt_table(interrupt_table, 7);
        iommu.enable_interrupt_remapping(true, false);
    }

    void open(unsigned vf, std::uint32_t throttle) {
        pci::Function& function = adapter.virtual_function(vf);
        function.write_config(pci::header::command, 2, pci::command::bus_master);
        const unsigned msix = function.config().layout().capability(pci::capability_id::msix);
        function.write_config(msix + pci::msix_cap::control, 2, pci::msix_cap::enable);
        const std::uint64_t handle = 0xfee0'0010 | std::uint64_t{vf} << 5;
        adapter.write_virtual_bar(vf, sriov_nic::virtual_msix_bar, 0, 8, handle);
        adapter.write_virtual_bar(vf, sriov_nic::virtual_msix_bar, 8, 8, 0);
        // Rings lie at different places of their pages, or all would meet in the same sets of the computer's caches.
        const std::uint64_t place = vf % 256 * std::uint64_t{5 * 4096} % (vf_bytes / 2);
        const QueueDriverLayout layout = layout_at(place);
        const auto own = memory.part(tables_bytes + vf * vf_bytes + place, layout.bytes());
        guests.push_back(std::make_unique<Guest>(adapter, vf, own, layout));
        guests.back()->driver.open(transmit_control, receive_control, throttle);
    }

    void run() { simulation.agenda().run_until(simulation.agenda().now() + turn); }
    // Drivers of many functions take turns, each about as often as its moderated interrupt would call it.
    std::size_t stride() const { return std::clamp<std::size_t>(guests.size() / 4, 1, 16); }
    // As a driver in its poll: what came is taken, vectors are on again.
    std::uint64_t take(std::uint64_t number) {
        std::uint64_t frames = 0;
        for (std::size_t vf = number % stride(); vf < guests.size(); vf += stride()) {
            auto& [registers, one] = *guests[vf];
            for (; !one.receive().bytes.empty(); ++frames) one.release();
            registers.write_register(sriov_nic::vf_reg::eims, 3);
        }
        return frames;
    }

    NicRings rings;
    std::uint64_t vf_bytes;  // memory of each function's guest
    sim::Simulation simulation;
    sriov_nic::Profile profile;
    Memory memory;
    Tables tables;
    pci::FixedHostTiming timing{Time::ns(200), Time::zero()};
    pci::Iommu iommu;
    pci::RootComplex root;
    pci::Link link;
    CountingWire wire;
    sriov_nic::Adapter adapter;
    sriov_nic::PhysicalDriver driver;
    std::vector<std::unique_ptr<Guest>> guests;
};

struct Addresses {
    MacKey to, from;
    void put_into(std::vector<std::byte>& frame) const {
        std::memcpy(frame.data(), &to, 6);
        std::memcpy(&frame[6], &from, 6);
    }
};

std::vector<std::byte> frame_of(MacKey to, MacKey from, std::uint32_t bytes) {
    std::vector<std::byte> frame(bytes - sriov_nic::Profile::fcs_bytes);
    Addresses{to, from}.put_into(frame);
    frame[12] = std::byte{0x88};  // IEEE 802: for experiments
    frame[13] = std::byte{0xb5};
    return frame;
}

// Rings that send are filled. Frames differ in nothing but their addresses: once all buffers are `written`, they are
// sent again as they are, as by Linux's pktgen with clones; whoever receives does not look into them either.
void fill(Machine& machine, const std::vector<Addresses>& senders, std::vector<std::byte>& frame, std::uint64_t number,
          bool written) {
    for (std::size_t vf = number % machine.stride(); vf < senders.size(); vf += machine.stride()) {
        sriov_nic::QueueDriver& one = machine.guests[vf]->driver;
        (void)one.reclaim();
        if (one.in_ring() + wake_threshold > machine.rings.descriptors) continue;
        senders[vf].put_into(frame);
        bool any = false;
        while (written ? one.send_again(static_cast<std::uint32_t>(frame.size())) : one.send(frame)) any = true;
        if (any) one.notify();
    }
}

}  // namespace

std::string_view name_of(NicWay way) {
    switch (way) {
        case NicWay::vf_to_wire:
            return "VF to wire";
        case NicWay::wire_to_vf:
            return "wire to VF";
        case NicWay::vf_to_vf:
            return "VF to VF";
    }
    return "?";
}

NicRings even_rings(unsigned vfs, std::uint32_t frame_bytes) {
    constexpr std::uint32_t descriptors_in_all = 4096;
    return {std::bit_floor(descriptors_in_all / vfs),
            (buffer_bytes - frame_bytes) / QueueDriverLayout::colour_bytes + 1};
}

NicMemory nic_memory(const std::function<std::uint64_t()>& heap_bytes) {
    const auto of = [&](unsigned vfs) {
        const std::uint64_t before = heap_bytes();
        const auto machine = std::make_unique<Machine>(vfs);
        return heap_bytes() - before;
    };
    const std::uint64_t one = of(1);
    return {one, (of(sriov_nic::max_vfs) - one) / (sriov_nic::max_vfs - 1)};
}

NicPathRow run_nic_path(NicWay way, std::uint32_t frame_bytes, unsigned vfs, std::uint64_t frames,
                        const std::function<std::uint64_t()>& clock_ns, NicRings rings) {
    Machine machine(vfs, moderated, rings);
    const unsigned senders = way == NicWay::vf_to_vf ? vfs / 2 : vfs;
    std::vector<Addresses> addresses;
    for (unsigned vf = 0; vf < senders; ++vf) {
        const MacKey to = way == NicWay::vf_to_vf ? mac_of(senders + vf) : peer_mac;
        addresses.push_back(way == NicWay::wire_to_vf ? Addresses{mac_of(vf), peer_mac} : Addresses{to, mac_of(vf)});
    }
    std::vector<std::byte> frame = frame_of(0, 0, frame_bytes);
    sim::Agenda& agenda = machine.simulation.agenda();
    std::uint64_t arrived = 0;
    const auto one_turn = [&](std::uint64_t number, bool written) -> std::uint64_t {
        if (way != NicWay::wire_to_vf) {
            const std::uint64_t before = machine.wire.frames;
            fill(machine, addresses, frame, number, written);
            machine.run();
            const std::uint64_t taken = machine.take(number);
            return way == NicWay::vf_to_vf ? taken : machine.wire.frames - before;
        }
        const Time spacing = machine.profile.wire_time(frame_bytes - sriov_nic::Profile::fcs_bytes);
        for (const Time end = agenda.now() + turn; agenda.now() < end; ++arrived) {
            agenda.run_until(agenda.now() + spacing);
            addresses[arrived % vfs].put_into(frame);
            machine.adapter.controller().received(frame);
        }
        return machine.take(number);
    };
    // Every buffer has been used before anything is measured.
    std::uint64_t warm = 0;
    for (std::uint64_t number = 0; warm < std::uint64_t{2} * vfs * rings.descriptors; ++number)
        warm += one_turn(number, false);

    NicPathRow row;
    row.way = way;
    row.frame_bytes = frame_bytes;
    row.vfs = vfs;
    const Time begin = agenda.now();
    const std::uint64_t events = agenda.events_fired();
    const std::uint64_t interrupts = machine.memory.interrupts;
    const std::uint64_t packets = machine.link.up().packets();
    const std::uint64_t since = clock_ns ? clock_ns() : 0;
    for (std::uint64_t number = 0; row.frames < frames; ++number) {
        row.frames += one_turn(number, true);
        VG_CHECK(number < frames + 1000);  // else nothing moves
    }
    row.wall_ns = clock_ns ? clock_ns() - since : 0;
    row.simulated_ps = static_cast<std::uint64_t>((agenda.now() - begin).ps());
    row.frame_bits = row.frames * 8 * (frame_bytes - sriov_nic::Profile::fcs_bytes);
    row.events = agenda.events_fired() - events;
    row.interrupts = machine.memory.interrupts - interrupts;
    row.dma_operations = machine.link.up().packets() - packets;
    row.trace_hash = machine.simulation.trace().hash();
    VG_CHECK(machine.iommu.faults().size() == 0);
    return row;
}

std::int64_t nic_interrupt_rate(unsigned interval) {
    constexpr unsigned interval_shift = 3;  // 82599 datasheet, 8.2.3.5.12: bits 11:3
    Machine machine(1, interval << interval_shift);
    sim::Agenda& agenda = machine.simulation.agenda();
    const std::vector<std::byte> frame = frame_of(mac_of(0), peer_mac, 64);
    const Time period = machine.profile.moderation_quantum * interval;
    const auto go_on = [&](Time time) {
        for (const Time end = agenda.now() + time; agenda.now() < end;) {
            agenda.run_until(agenda.now() + period / 16);
            machine.adapter.controller().received(frame);
            (void)machine.take(0);
        }
    };
    go_on(period * 4);
    const std::uint64_t before = machine.memory.interrupts;
    const Time begin = agenda.now();
    go_on(period * 100);
    const auto interrupts = static_cast<std::int64_t>(machine.memory.interrupts - before);
    return interrupts * 1'000'000'000'000'000 / (agenda.now() - begin).ps();
}

std::int64_t nic_time_to_full(std::uint32_t frame_bytes) {
    Machine machine(1);
    sim::Agenda& agenda = machine.simulation.agenda();
    const std::vector<std::byte> frame = frame_of(mac_of(0), peer_mac, frame_bytes);
    const Time spacing = machine.profile.wire_time(frame.size());
    const auto next = [&] {
        agenda.run_until(agenda.now() + spacing);
        machine.adapter.controller().received(frame);
    };
    // Frames without a descriptor wait and are not dropped.
    constexpr std::uint32_t split =
        sriov_nic::vf_reg::rdbal + static_cast<std::uint32_t>(sriov_nic::RxRegister::srrctl);
    sriov_nic::RegisterPort& own = machine.guests[0]->registers;
    own.write_register(split, own.read_register(split) & ~sriov_nic::srrctl::drop_enable);
    machine.adapter.write_register(sriov_nic::reg::qde, sriov_nic::qde::write);
    // The driver posts all descriptors but one.
    for (unsigned i = 0; i + 1 < NicRings{}.descriptors; ++i) next();
    const Time begin = agenda.now();
    while (machine.adapter.controller().statistics().missed == 0) {
        next();
        VG_CHECK(agenda.now() - begin < Time::ms(10));
    }
    return (agenda.now() - begin).ps();
}

}  // namespace models
