// The host's PCI Express: its root complex with root ports, where devices' registers lie among host addresses, whose
// memory each function may reach, and who gets its interrupts. Both go through the IOMMU's tables.
//
// Host addresses from hypervisor::first_device_spa on are devices'. There a bus address above 4 GiB is itself; those
// below 4 GiB, for BARs of 32 bits, are seen at `low_alias` besides, so that they don't lie in memory.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "hypervisor/assigned_devices.h"
#include "models/pci/fault_reader.h"
#include "models/pci/numa_timing.h"
#include "models/pci/pci_costs.h"
#include "pci/bridge.h"
#include "pci/function.h"
#include "pci/iommu.h"
#include "pci/link.h"
#include "pci/root_complex.h"
#include "sim/processor.h"
#include "vmbus/ports.h"
#include "vmbus/virtual_pci/virtual_pci.h"

namespace models {

// A function as one sees it who assigns it to somebody.
struct HostFunction {
    pci::RequesterId id;
    std::array<pci::Bar, 6> bars{};            // by register
    std::array<std::uint64_t, 6> addresses{};  // host addresses of their first bytes
    vmbus::PciIdentity identity;               // who it says it is, to a guest

    template <class Archive>
    void fields(Archive& archive) {
        archive(id, addresses, identity);
        for (pci::Bar& bar : bars) archive(bar.kind, bar.size_bytes, bar.prefetchable);
    }
};

// A device of the host's that can be given away whole.
class HostDevice {
public:
    virtual ~HostDevice() = default;
    virtual pci::Function& function() = 0;
};

// Whoever takes interrupts of logical processors that come from partitions' functions.
class DeviceInterrupts {
public:
    // False: nobody's.
    virtual bool device_interrupt(std::uint32_t processor, std::uint8_t vector) = 0;

protected:
    ~DeviceInterrupts() = default;
};

// A driver of the root's own, to the interrupts of its function.
class RootInterrupts {
public:
    virtual void message(std::uint32_t number) = 0;

protected:
    ~RootInterrupts() = default;
};

class HostPci final : public hypervisor::DevicePort,
                      public hypervisor::DeviceRemapping,
                      private pci::HostPort,
                      private FunctionOwners,
                      private NumaTiming::Owners {
public:
    static constexpr std::uint64_t high_base = hypervisor::first_device_spa;
    static constexpr std::uint64_t high_bytes_per_port = std::uint64_t{1} << 28;
    static constexpr std::uint64_t low_alias = std::uint64_t{1} << 47;
    static constexpr std::uint64_t low_base = 0xc000'0000;
    static constexpr std::uint64_t low_bytes_per_port = std::uint64_t{1} << 24;
    static constexpr unsigned most_ports = 31;
    // Where the IOMMU's tables lie in pages that are the root's own: the root table, a context table for each bus, the
    // interrupt table, posted-interrupt descriptors.
    static constexpr std::uint64_t default_tables = 0x4'0000;
    static constexpr std::uint64_t interrupts_at = (most_ports + 2) * std::uint64_t{4096};
    static constexpr std::uint32_t interrupt_entries = 16384;
    static constexpr std::uint64_t descriptors_at = interrupts_at + interrupt_entries * std::uint64_t{16};
    static constexpr std::uint32_t descriptors = 4096;
    static constexpr std::uint64_t table_bytes = descriptors_at + descriptors * std::uint64_t{64};
    // The last entries of the interrupt table are for functions that the root itself drives; the others are the
    // hypervisor's, which hands out their handles.
    static constexpr std::uint32_t first_root_handle = interrupt_entries - 512;

    // `memory` is the host's.
    HostPci(const sim::Scope& scope, const PciCosts& costs, mmu::SystemMemory memory,
            std::uint64_t tables = default_tables);
    ~HostPci();

    // `processor` is where drivers of the root's own work.
    void connect(DeviceInterrupts& interrupts, sim::Processor& processor);
    // The processor goes.
    void disconnect();
    sim::Processor& processor() { return *processor_; }
    // All of the root's, by number.
    void set_processors(std::vector<sim::Processor*> processors) { processors_ = std::move(processors); }
    const std::vector<sim::Processor*>& processors() const { return processors_; }
    // NUMA: before devices; where a device stands; where most of a partition's memory is.
    void set_nodes(const NumaNodes& nodes, const NumaCosts& costs) { memory_timing_.set_nodes(nodes, costs); }
    const NumaNodes& nodes() const { return memory_timing_.nodes(); }
    void place(std::uint8_t bus, std::uint32_t node) { memory_timing_.place(bus, node); }
    void set_home(std::uint64_t partition, std::uint32_t node) { homes_[partition] = node; }
    pci::RootComplex& root() { return root_; }

    // A root port with a link behind it, as firmware leaves it: bus number n for the n-th, two windows, ARI.
    pci::Bus& add_root_port();
    // Addresses of so many bytes, naturally aligned, in the windows of the port above the bus; a power of two.
    std::uint64_t reserve(std::uint8_t bus, std::uint64_t bytes, bool below_4g);
    // Sizes a function's BARs, gives them addresses and switches its decoding on, as firmware does.
    HostFunction place(pci::Function& function);
    // Accesses to what is behind the port go over this link, in its time; else they cost what the profile says.
    void set_link(std::uint8_t bus, pci::Link& link);
    // After a function-level reset by somebody else: decoding is on again, where it was.
    void restore(const HostFunction& function);
    // Function-level reset, where the function has it.
    void reset(const HostFunction& function);

    // A function that the root itself drives, and the memory that it has for it; null: none. The IOMMU passes it
    // through: its addresses are its driver's.
    void let_use(pci::RequesterId function, vmbus::GuestMemory* memory);

    // DeviceRemapping: functions of partitions. One that is in no domain reaches nothing.
    bool join_domain(std::uint64_t device, std::uint64_t partition, const slat::SecondLevel& tables) override;
    void leave_domain(std::uint64_t device) override;
    void domain_changed(std::uint64_t partition, std::uint64_t gpa, std::uint64_t length) override;
    void add_needs(std::uint64_t device, sim::WorkingSet& set) override;
    void set_interrupt(std::uint32_t handle, const hypervisor::RemappedInterrupt& entry) override;
    void clear_interrupt(std::uint32_t handle) override;
    pci::Iommu& iommu() { return iommu_; }
    // What a link asks how long the host takes.
    pci::HostTiming& timing() { return iommu_; }

    // Who gets the interrupts of a function that is the root's own; null: nobody, and its messages are void.
    void listen(pci::RequesterId function, RootInterrupts* listener);
    // What such a function is to send so that its listener gets this number; below 128.
    pci::InterruptMessage root_message(pci::RequesterId function, std::uint8_t number);

    // Devices live until the processors go.
    void release() {
        disconnect();
        devices_.clear();
    }
    template <class Device>
    Device& keep(std::unique_ptr<Device> device) {
        Device& kept = *device;
        devices_.push_back(std::move(device));
        return kept;
    }

    // From a function's model, during a read of its registers: what it takes beyond the way there and back.
    void add_read_time(sim::Time t) { read_time_ += t; }

    // DevicePort, for processors and for the root's stack.
    std::uint64_t read(std::uint64_t spa, unsigned size, sim::Time& cost) override;
    void write(std::uint64_t spa, unsigned size, std::uint64_t value, sim::Time& cost) override;
    std::uint32_t read_config(pci::RequesterId id, unsigned offset, unsigned size) {
        return root_.read_config(id, offset, size);
    }
    void write_config(pci::RequesterId id, unsigned offset, unsigned size, std::uint32_t value) {
        root_.write_config(id, offset, size, value);
    }
    // The offset of a capability, or of an extended one; 0 if there is none.
    std::uint16_t capability(pci::RequesterId id, std::uint8_t capability);

    template <class Archive>
    void fields(Archive& archive) {
        archive(root_, iommu_, domains_);
        for (auto& port : ports_) archive(port->bridge, port->high_used, port->low_used);
    }

private:
    struct Port {
        Port(const sim::Scope& scope, pci::Slot slot, std::shared_ptr<const pci::FunctionLayout> layout)
            : bridge(scope, std::move(slot), std::move(layout)) {}
        pci::Bridge bridge;
        std::uint64_t high_used = 0;
        std::uint64_t low_used = 0;
        pci::Link* link = nullptr;
    };
    pci::Link* link_to(std::uint64_t spa) const;

    void set_context(pci::RequesterId function, std::uint64_t low, std::uint64_t high);

    // pci::HostPort, behind the IOMMU
    pci::DmaStatus read_memory(pci::RequesterId requester, std::uint64_t address, std::span<std::byte> out) override;
    pci::DmaStatus write_memory(pci::RequesterId requester, std::uint64_t address,
                                std::span<const std::byte> data) override;
    void interrupt(const pci::InterruptMessage& message) override;
    void line(unsigned, bool) override {}  // nobody routes INTx of devices behind root ports

    std::uint64_t partition_of(pci::RequesterId function) const override;
    bool own_memory(pci::RequesterId function) const override { return memories_.contains(function); }
    std::uint32_t listening_node(pci::RequesterId function) const override;
    void set_entry(std::uint32_t handle, std::uint64_t low, std::uint64_t high);

    vmbus::GuestMemory* memory_of(pci::RequesterId requester) const;
    pci::DmaStatus ended(pci::RequesterId requester, std::uint64_t address, bool done);

    sim::Scope scope_;
    PciCosts costs_;
    sim::Time read_time_;  // of the read that is under way
    DeviceInterrupts* interrupts_ = nullptr;
    sim::Processor* processor_ = nullptr;
    std::vector<sim::Processor*> processors_;
    sim::Counter& refused_dma_;
    sim::Counter& stray_interrupts_;
    mmu::SystemMemory memory_;
    std::uint64_t tables_;
    NumaTiming memory_timing_;
    pci::Iommu iommu_;
    pci::RootComplex root_;
    std::map<pci::RequesterId, std::uint16_t> domains_;  // of partitions' functions
    std::vector<std::unique_ptr<Port>> ports_;
    std::vector<std::unique_ptr<HostDevice>> devices_;  // behind them
    std::map<pci::RequesterId, vmbus::GuestMemory*> memories_;
    std::map<pci::RequesterId, RootInterrupts*> listeners_;
    std::map<std::uint64_t, std::uint32_t> homes_;  // of partitions, by number
    std::map<std::uint32_t, pci::RequesterId> root_handles_;
    std::unique_ptr<FaultReader> fault_reader_;
    sim::StateRegistration registration_;
};

}  // namespace models
