// The adapter behind its link and an IOMMU, over memory that knows whose each page is and looks at every access's
// requester. Partition 0 has an honest driver; what the others do is the tests' business.
#pragma once

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>
#include <vector>

#include "pci/capability_registers.h"
#include "pci/iommu.h"
#include "pci/link.h"
#include "pci/root_complex.h"
#include "sim/check.h"
#include "sim/simulation.h"
#include "slat/table_writer.h"
#include "sriov_nic/adapter.h"
#include "sriov_nic/queue_driver.h"
#include "tests/sriov_nic/rig.h"

namespace nic_test {

// Tables, then the partitions' memory with a guard before each and one after the last. An access that its requester has
// no right to is a failure of the adapter, the link or the IOMMU: VG_CHECK.
class GuardedMemory final : public pci::HostPort {
public:
    static constexpr std::uint64_t tables_bytes = 128 * 1024, guard_bytes = 16 * 1024, page_bytes = 4096;
    static constexpr std::uint64_t root_table = 0x1000, context_table = 0x2000, interrupt_table = 0x3000,
                                   first_page = 0x4000;
    static constexpr std::uint8_t first_vector = 0x40;

    GuardedMemory(unsigned partitions, std::uint64_t bytes_of_each)
        : bytes(tables_bytes + partitions * (guard_bytes + bytes_of_each) + guard_bytes),
          all(bytes.data(), bytes.size()),
          size_(bytes_of_each),
          rights_(partitions),
          counts_(partitions) {
        VG_CHECK(bytes_of_each % page_bytes == 0);
        for (auto& rights : rights_) rights.resize(size_ / page_bytes);
        for (unsigned guard = 0; guard <= partitions; ++guard) {
            std::memcpy(&bytes[base_of(guard) - guard_bytes], canaries().data(), guard_bytes);
        }
    }
    std::uint64_t partition_bytes() const { return size_; }
    std::uint64_t base_of(unsigned partition) const {
        return tables_bytes + guard_bytes + partition * (guard_bytes + size_);
    }
    std::span<std::byte> memory_of(unsigned partition) { return std::span{bytes}.subspan(base_of(partition), size_); }
    void set_owner(pci::RequesterId who, unsigned partition) { owners_.push_back({who.value, partition}); }
    void set_rights(unsigned partition, std::uint64_t page, slat::PageRights rights) {
        rights_[partition][page] = rights.writable ? 2 : rights.readable ? 1 : 0;
    }

    pci::DmaStatus read_memory(pci::RequesterId who, std::uint64_t address, std::span<std::byte> out) override {
        ++counts_[check(who, address, out.size(), 1)].reads;
        std::memcpy(out.data(), &bytes[address], out.size());
        return pci::DmaStatus::ok;
    }
    pci::DmaStatus write_memory(pci::RequesterId who, std::uint64_t address, std::span<const std::byte> data) override {
        ++counts_[check(who, address, data.size(), 2)].writes;
        std::memcpy(&bytes[address], data.data(), data.size());
        return pci::DmaStatus::ok;
    }
    // What has passed the remapping table names the partition whose entry it was.
    void interrupt(const pci::InterruptMessage& message) override {
        const unsigned partition = owner_of(message.requester);
        VG_CHECK(partition < rights_.size() && (message.data & 0xff) == first_vector + partition);
        ++counts_[partition].interrupts;
    }
    void line(unsigned, bool) override {}

    void check_guards() const {
        for (unsigned guard = 0; guard <= rights_.size(); ++guard) {
            VG_CHECK(std::memcmp(&bytes[base_of(guard) - guard_bytes], canaries().data(), guard_bytes) == 0);
        }
    }

    struct Counts {
        std::uint64_t reads = 0, writes = 0, interrupts = 0;
    };
    const Counts& counts(unsigned partition) const { return counts_[partition]; }

    std::vector<std::byte> bytes;
    mmu::SystemMemory all;

private:
    struct Owner {
        std::uint16_t who;
        unsigned partition;
    };
    unsigned owner_of(pci::RequesterId who) const {
        for (const Owner& one : owners_) {
            if (one.who == who.value) return one.partition;
        }
        return ~0u;
    }
    static const std::array<std::byte, guard_bytes>& canaries() {
        static const auto made = [] {
            std::array<std::byte, guard_bytes> made_once;
            for (std::size_t at = 0; at < guard_bytes; ++at)
                made_once[at] = static_cast<std::byte>(at * 0x9d ^ at >> 8);
            return made_once;
        }();
        return made;
    }
    // One page at most, as the IOMMU asks.
    unsigned check(pci::RequesterId who, std::uint64_t address, std::size_t size, std::uint8_t needed) const {
        const unsigned partition = owner_of(who);
        VG_CHECK(partition < rights_.size() && address >= base_of(partition) && size != 0 && size <= page_bytes);
        const std::uint64_t at = address - base_of(partition);
        VG_CHECK(at < size_ && size <= size_ - at);
        VG_CHECK(rights_[partition][at / page_bytes] >= needed);
        VG_CHECK(rights_[partition][(at + size - 1) / page_bytes] >= needed);
        return partition;
    }
    std::uint64_t size_;
    std::vector<std::vector<std::uint8_t>> rights_;  // 1: read, 2: write too
    std::vector<Counts> counts_;
    std::vector<Owner> owners_;
};

struct GuardedTables final : slat::TablePages {
    std::optional<std::uint64_t> allocate_table() override {
        next += GuardedMemory::page_bytes;
        return next <= GuardedMemory::tables_bytes ? std::optional{next - GuardedMemory::page_bytes} : std::nullopt;
    }
    void free_table(std::uint64_t) override {}
    std::uint64_t next = GuardedMemory::first_page;
    std::vector<slat::TableWriter> writers;
};

struct GuardedSettings {
    unsigned vfs = 4;
    VfKind kind = VfKind::hyper_v;
    std::uint64_t partition_bytes = 1 << 20;
    std::uint32_t ring = 128;  // of the honest driver
    std::uint32_t throttle = 0;
    PhysicalSettings physical;
    std::uint32_t hostile_mbps = 0;
    std::array<std::uint32_t, 4> shares{32, 32, 32, 32};
    Profile profile;
    std::string seed = "guarded";
};

// What is on the wire: the honest one's frames as they were made, and nothing under an address that is not its
// sender's. The honest one's frames are marked all over, so that a piece of them shows wherever it should not be.
struct WatchedWire final : Wire {
    // Longer than what a hostile driver writes in one piece: a fuzzer that finds it out cannot put it anywhere.
    static constexpr std::array<std::uint64_t, 3> mark{0x5ec2'e70f'600d'f00d, 0x0123'4567'89ab'cdef,
                                                       0xfeed'face'cafe'beef};
    static constexpr std::size_t sequence_at = 14, marks_at = 22;

    static void fill(std::vector<std::byte>& frame, MacKey to, MacKey from, std::size_t bytes, std::uint64_t sequence) {
        frame.resize(bytes);
        std::memcpy(frame.data(), &to, 6);
        std::memcpy(&frame[6], &from, 6);
        store_be16(&frame[12], 0x88b5);
        std::memcpy(&frame[sequence_at], &sequence, 8);
        for (std::size_t at = marks_at; at + sizeof mark <= bytes; at += sizeof mark) {
            std::memcpy(&frame[at], &mark, sizeof mark);
        }
    }
    static bool marked(std::span<const std::byte> bytes) {
        return memmem(bytes.data(), bytes.size(), &mark, sizeof mark) != nullptr;
    }
    // Its sequence number. Whatever is not as it was made is a failure.
    static std::uint64_t sequence_of(std::span<const std::byte> frame) {
        for (std::size_t at = marks_at; at + sizeof mark <= frame.size(); at += sizeof mark) {
            VG_CHECK(std::memcmp(&frame[at], &mark, sizeof mark) == 0);
        }
        std::uint64_t sequence = 0;
        std::memcpy(&sequence, &frame[sequence_at], 8);
        return sequence;
    }

    void transmit(std::span<const std::byte> frame, sim::Time start, sim::Time end) override {
        VG_CHECK(start >= free_at && end > start);
        free_at = end;
        const MacKey source = load_mac(&frame[6]);
        if (source == honest) {
            VG_CHECK(sequence_of(frame) == good_frames);
            ++good_frames;
            if (listener != nullptr) listener->sent(good_frames - 1, start);
            return;
        }
        ++other_frames;
        other_octets += frame.size() + Profile::fcs_bytes + 20;
        VG_CHECK(source == physical_mac || std::find(others.begin(), others.end(), source) != others.end());
        VG_CHECK(!marked(frame));
        if (listener != nullptr) listener->other_sent(source, frame.size());
    }
    struct Listener {
        virtual void sent(std::uint64_t sequence, sim::Time start) = 0;
        virtual void other_sent(MacKey source, std::size_t bytes) { (void)source, (void)bytes; }

    protected:
        ~Listener() = default;
    };
    MacKey honest = 0;
    std::vector<MacKey> others;
    Listener* listener = nullptr;
    std::uint64_t good_frames = 0, other_frames = 0, other_octets = 0;
    sim::Time free_at;
};

class GuardedMachine {
public:
    static constexpr unsigned honest = 0;
    static constexpr MacKey mac_of_vf(unsigned vf) { return mac_of(vf + 1); }
    static constexpr MacKey peer = mac_of(0xdd);
    static constexpr unsigned host_latency_ns = 200;

    explicit GuardedMachine(const GuardedSettings& wish)
        : settings(wish),
          memory(wish.vfs, wish.partition_bytes),
          iommu(simulation.scope("iommu"), memory.all, memory, timing, {}),
          root(simulation.scope("root"), iommu, pci::Wiring::rotated),
          link(simulation.scope("link"), root.bus(), iommu, link_config()),
          adapter(simulation.scope("nic"), root.bus().slot(0, 0), link, wire, settings.profile),
          driver(simulation.scope("driver"), adapter) {
        link.connect(adapter);
        make_functions();
        make_tables();
        for (unsigned vf = 0; vf < settings.vfs; ++vf) {
            registers.push_back(std::make_unique<Registers>(adapter, vf));
            switch_on(vf);
        }
        open_honest();
        wire.honest = mac_of_vf(honest);
        for (unsigned vf = 1; vf < settings.vfs; ++vf) wire.others.push_back(mac_of_vf(vf));
    }
    static pci::LinkConfig link_config() {
        pci::LinkConfig config;
        const std::uint32_t guide = pci::ack_limit_x8(2, 256);
        config.rate = {2, 8, guide, guide};
        config.flight = sim::Time::ns(85);
        return config;
    }

    void run(sim::Time how_long) { simulation.agenda().run_until(now() + how_long); }
    sim::Time now() { return simulation.agenda().now(); }
    Controller& controller() { return adapter.controller(); }
    pci::Function& function(unsigned vf) { return adapter.virtual_function(vf); }

    // Bus mastering, MSI-X with the partition's own handles, and, of a VF with a mailbox, its reset.
    void switch_on(unsigned vf) {
        function(vf).write_config(pci::header::command, 2, pci::command::bus_master);
        const unsigned msix = function(vf).config().layout().capability(pci::capability_id::msix);
        function(vf).write_config(msix + pci::msix_cap::control, 2, pci::msix_cap::enable);
        for (unsigned v = 0; v < virtual_vectors; ++v) {
            adapter.write_virtual_bar(vf, virtual_msix_bar, 16 * v, 8, handle(vf, v));
            adapter.write_virtual_bar(vf, virtual_msix_bar, 16 * v + 8, 8, 0);
        }
        if (settings.kind != VfKind::mailbox) return;
        for (const std::uint32_t type : {message::reset, message::negotiate_api}) {
            registers[vf]->write_register(vf_reg::mbmem, type);
            registers[vf]->write_register(vf_reg::mbmem + 4, static_cast<std::uint32_t>(Api::v1_3));
            registers[vf]->write_register(vf_reg::mailbox, mailbox::request);
            driver.interrupt();
        }
    }
    static constexpr std::uint64_t handle(unsigned vf, unsigned vector) {
        return 0xfee0'0010 | std::uint64_t{4 * vf + vector} << 5;
    }
    void open_honest() {
        const QueueDriverLayout layout{0, settings.ring, settings.ring, 2048};
        VG_CHECK(layout.bytes() <= settings.partition_bytes);
        good = std::make_unique<QueueDriver>(*registers[honest], memory.memory_of(honest).first(layout.bytes()), layout,
                                             0);
        good->open(Rig::transmit_control, Rig::receive_control, settings.throttle);
    }

    // No piece of the honest one's traffic in anybody else's memory, and the guards as they were.
    void check_memory() {
        memory.check_guards();
        for (unsigned vf = 1; vf < settings.vfs; ++vf) VG_CHECK(!WatchedWire::marked(memory.memory_of(vf)));
    }
    // Nothing grows, and nobody's memory but its own was touched.
    void check_bounds() {
        VG_CHECK(controller().transmit_buffered() <= settings.profile.transmit_buffer_bytes);
        VG_CHECK(controller().receive_buffered() <= settings.profile.receive_buffer_bytes);
        VG_CHECK(iommu.faults().size() <= pci::IommuConfig{}.fault_registers);
        for (unsigned vf = 1; vf < settings.vfs; ++vf)
            VG_CHECK(driver.mac_of(vf) == 0 || driver.mac_of(vf) == mac_of_vf(vf));
        VG_CHECK(driver.mac_of(honest) == mac_of_vf(honest));
    }

    struct Registers final : RegisterPort {
        Registers(Adapter& the_adapter, unsigned number) : adapter(the_adapter), vf(number) {}
        std::uint32_t read_register(std::uint32_t offset) override {
            return static_cast<std::uint32_t>(adapter.read_virtual_bar(vf, virtual_register_bar, offset, 4));
        }
        void write_register(std::uint32_t offset, std::uint32_t value) override {
            adapter.write_virtual_bar(vf, virtual_register_bar, offset, 4, value);
        }
        Adapter& adapter;
        unsigned vf;
    };

    GuardedSettings settings;
    sim::Simulation simulation;
    GuardedMemory memory;
    GuardedTables tables;
    pci::FixedHostTiming timing{sim::Time::ns(host_latency_ns), sim::Time::zero()};
    pci::Iommu iommu;
    pci::RootComplex root;
    pci::Link link;
    WatchedWire wire;
    Adapter adapter;
    PhysicalDriver driver;
    std::vector<std::unique_ptr<Registers>> registers;
    std::unique_ptr<QueueDriver> good;

private:
    void make_functions() {
        pci::Function& physical = adapter.physical();
        const unsigned sriov = physical.config().layout().extended_capability(pci::extended_id::sriov);
        physical.write_config(pci::header::command, 2, pci::command::memory_space | pci::command::bus_master);
        physical.write_config(sriov + pci::sriov::num_vfs, 2, settings.vfs);
        physical.write_config(sriov + pci::sriov::control, 2,
                              pci::sriov::ari_capable_hierarchy | pci::sriov::vf_enable | pci::sriov::vf_memory_space);
        PhysicalSettings wish = settings.physical;
        wish.mac = physical_mac;
        wish.vfs = settings.vfs;
        for (unsigned vf = 0; vf < settings.vfs; ++vf) {
            VfPolicy policy;
            policy.kind = settings.kind;
            policy.mac = mac_of_vf(vf);
            policy.share = settings.shares[vf % settings.shares.size()];
            if (vf != honest) policy.rate_mbps = settings.hostile_mbps;
            if (vf == 1) policy.vlan = 100;
            driver.set_policy(vf, policy);
            adapter.set_hyper_v_mac(vf, policy.mac);
        }
        controller().set_link(true);
        driver.start(wish);
        if (settings.kind != VfKind::hyper_v) return;
        for (unsigned vf = 0; vf < settings.vfs; ++vf) driver.enable_hyper_v(vf);
    }

    // A domain for each function. The honest one's memory is mapped whole; of the others' every sixteenth page is not
    // there and the one before it cannot be written.
    void make_tables() {
        const mmu::SystemMemory& at = memory.all;
        at.store<std::uint64_t>(GuardedMemory::root_table, GuardedMemory::context_table | 1);
        for (unsigned vf = 0; vf < settings.vfs; ++vf) {
            const pci::RequesterId who = function(vf).id();
            memory.set_owner(who, vf);
            slat::TableWriter& writer =
                tables.writers.emplace_back(slat::SecondLevel{.accessed_dirty = false}, at, tables);
            VG_CHECK(writer.create() == slat::Edit::ok);
            for (std::uint64_t page = 0; page < settings.partition_bytes / GuardedMemory::page_bytes; ++page) {
                if (vf != honest && page % 16 == 15) continue;
                const slat::PageRights rights{true, vf == honest || page % 16 != 14, true};
                const std::uint64_t gpa = page * GuardedMemory::page_bytes;
                VG_CHECK(writer.map(gpa, memory.base_of(vf) + gpa, mmu::shift_4k, rights) == slat::Edit::ok);
                memory.set_rights(vf, page, rights);
            }
            const std::uint64_t context = GuardedMemory::context_table + 16 * who.devfn();
            at.store<std::uint64_t>(context, writer.second_level().root | 1);
            at.store<std::uint64_t>(context + 8, std::uint64_t{vf + 1} << 8 | 2);
            for (unsigned v = 0; v < virtual_vectors; ++v) {
                const std::uint64_t entry = GuardedMemory::interrupt_table + 16 * (4 * vf + v);
                at.store<std::uint64_t>(entry, 1 | std::uint64_t{GuardedMemory::first_vector + vf} << 16);
                at.store<std::uint64_t>(entry + 8, std::uint64_t{1} << 18 | who.value);
            }
        }
        iommu.set_root_table(GuardedMemory::root_table);
        iommu.enable_translation(true);
        iommu.set_interrupt_table(GuardedMemory::interrupt_table, 7);
        iommu.enable_interrupt_remapping(true, false);
    }
};

}  // namespace nic_test
