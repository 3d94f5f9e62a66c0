// One function in one partition: Discrete Device Assignment, or a virtual function of a network adapter. The guest
// finds it on a virtual PCI bus, programs its BARs, and from then on reaches its registers without anybody in between,
// except for the pages with its MSI-X table, which stay the root's. Its accesses to memory reach this partition's
// memory, its interrupts this partition's processors.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include "hypervisor/root_client.h"
#include "models/io_port_map.h"
#include "models/memory_layout.h"
#include "models/pci/guest_config.h"
#include "models/pci/host_pci.h"
#include "vmbus/virtual_pci/virtual_pci.h"

namespace models {

class AssignedFunction;

// Who has given the function, and gets it back.
class FunctionOwner {
public:
    // The partition has it no more: as eject() asked, or because it was taken or the guest has ended.
    virtual void function_returned(AssignedFunction& function) = 0;
    // The guest has placed its BARs and decodes them.
    virtual void function_in_use(AssignedFunction& function) { (void)function; }

protected:
    ~FunctionOwner() = default;
};

// What a partition's functions need of their surroundings.
struct PciSurroundings {
    vmbus::ServiceHost service;
    HostPci& host;
    hypervisor::RootClient& client;
    hypervisor::PartitionId partition = 0;
    unsigned vps = 1;
    MmioMap& mmio;
    MemoryLayout layout;
    vmbus::GuestMemory& memory;
};

class AssignedFunction final : private vmbus::VirtualPciFunction {
public:
    // `number` counts the partition's functions from 1.
    AssignedFunction(const sim::Scope& scope, const PciSurroundings& surroundings, std::uint16_t number);
    ~AssignedFunction();
    AssignedFunction(const AssignedFunction&) = delete;

    void set_owner(FunctionOwner* owner) { owner_ = owner; }

    // False: another partition has it.
    [[nodiscard]] bool give(const HostFunction& function);
    // By policy: the guest is asked, and lets go when it can. By surprise: it is gone.
    void eject() { bus_.eject(); }
    void take();
    bool given() const { return state_.given; }
    // The guest's driver has it at work, as far as one sees from here.
    bool in_use() const { return bus_.in_d0() && config_.decodes(); }
    const HostFunction& function() const { return function_; }

    template <class Archive>
    void fields(Archive& archive) {
        if constexpr (Archive::reading) withdraw();
        archive(function_, config_, state_);
        if constexpr (Archive::reading) restored();
    }

private:
    // The configuration window, and what of the BARs stays the root's.
    struct ConfigWindow final : MmioDevice {
        explicit ConfigWindow(AssignedFunction& f) : function(f) {}
        std::uint64_t read_mmio(std::uint64_t gpa, unsigned size) override;
        void write_mmio(std::uint64_t gpa, unsigned size, std::uint64_t value) override;
        AssignedFunction& function;
    };
    struct BarWindow final : MmioDevice {
        std::uint64_t read_mmio(std::uint64_t gpa, unsigned size) override;
        void write_mmio(std::uint64_t gpa, unsigned size, std::uint64_t value) override;
        AssignedFunction* function = nullptr;
        unsigned bar = 0;
    };
    struct State {
        bool given = false;
        std::optional<std::uint64_t> window;
        std::uint32_t slot = 0;  // that the window shows
        std::array<std::optional<std::uint64_t>, 6> mapped{};

        bool operator==(const State&) const = default;
        template <class Archive>
        void fields(Archive& archive) {
            archive(given, window, slot, mapped);
        }
    };

    // vmbus::VirtualPciFunction
    std::array<std::uint32_t, vmbus::virtual_pci::bars> bar_masks() override { return config_.bar_masks(); }
    bool place_window(std::uint64_t gpa) override;
    void remove_window() override;
    std::optional<vmbus::PciMessage> create_interrupt(const vmbus::PciInterrupt& interrupt) override;
    void delete_interrupt(const vmbus::PciMessage& message) override;
    void ejected() override { take(); }

    void find_trapped_pages();
    bool trapped(unsigned bar, std::uint64_t offset) const;
    bool in_device_space(std::uint64_t gpa, std::uint64_t bytes) const;
    bool over_memory(std::uint64_t gpa, std::uint64_t bytes) const;
    bool claim(std::uint64_t gpa, std::uint64_t bytes, MmioDevice& device);
    void release_claims();
    void map_bars();
    void unmap_bars();
    void withdraw();
    void restored();

    sim::Scope scope_;
    PciSurroundings around_;
    std::uint64_t logical_;
    FunctionOwner* owner_ = nullptr;
    HostFunction function_;
    GuestConfig config_;
    ConfigWindow config_window_;
    std::array<BarWindow, 6> bar_windows_;
    std::array<std::vector<std::uint64_t>, 6> trapped_pages_;  // by BAR, offsets
    std::vector<std::uint64_t> claims_;                        // of the MMIO map, first addresses
    State state_;
    sim::Counter& misplaced_;
    sim::Counter& dropped_;
    vmbus::VirtualPci bus_;
    sim::StateRegistration registration_;
};

}  // namespace models
