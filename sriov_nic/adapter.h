// The 82599 as PCI functions: configuration spaces, BARs and MSI-X tables of the physical and the virtual functions
// around the controller. Transactions go through one DMA port, each with its function's identity.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>

#include "pci/dma.h"
#include "pci/message_interrupts.h"
#include "pci/virtual_functions.h"
#include "sriov_nic/controller.h"
#include "sriov_nic/physical_driver.h"

namespace sriov_nic {

inline constexpr std::uint16_t intel = 0x8086, physical_device_id = 0x10fb, virtual_device_id = 0x10ed,
                               hyper_v_device_id = 0x152e;

// Who a VF is to its guest, which reads it from the bus's description and not from the device (SR-IOV 1.1, 3.4.1.1).
pci::Identity virtual_identity(VfKind kind);

// Of a VF's BARs, by register.
inline constexpr unsigned virtual_register_bar = 0, virtual_msix_bar = 3;
inline constexpr std::uint32_t msix_pending_offset = 0x2000;
// Where a Hyper-V VF's driver finds its address, byte by byte.
inline constexpr std::uint16_t hyper_v_mac_offset = 0x201;

class Adapter final : public pci::DmaClient, public RegisterPort, private BusPort, private pci::VirtualFunctionOwner {
public:
    // `slot` is the physical function's, the one at the link's end; `dma` is that link.
    Adapter(const sim::Scope& scope, pci::Slot slot, pci::DmaPort& dma, Wire& wire, const Profile& profile);
    Adapter(const Adapter&) = delete;
    ~Adapter();

    Controller& controller() { return controller_; }
    pci::Function& physical();
    unsigned virtual_functions() const { return functions_->count(); }
    pci::Function& virtual_function(unsigned vf) { return functions_->function(vf); }
    // A guest's access to BAR 0 or 3 of a VF, wherever its hypervisor shows it; `size` is 1, 2, 4 or 8.
    std::uint64_t read_virtual_bar(unsigned vf, unsigned bar, std::uint64_t offset, unsigned size);
    void write_virtual_bar(unsigned vf, unsigned bar, std::uint64_t offset, unsigned size, std::uint64_t value);
    // What a Hyper-V guest's driver will read. The read of its first byte resets the VF's queues and interrupts.
    void set_hyper_v_mac(unsigned vf, MacKey mac) { hyper_v_mac_[vf] = mac; }

    // The physical function's registers, for its driver.
    std::uint32_t read_register(std::uint32_t offset) override { return controller_.read(offset); }
    void write_register(std::uint32_t offset, std::uint32_t value) override { controller_.write(offset, value); }

    // The bus answers.
    void read_done(std::uint32_t cookie, pci::DmaStatus status, std::span<const std::byte> data) override;
    void write_sent(std::uint32_t, pci::DmaStatus) override {}
    void link_ready() override { controller_.bus_ready(); }
    void woken() override { controller_.woken(); }

    // All state; the link's and the bus's come before it.
    void save(sim::Writer& writer) const;
    void restore(sim::Reader& reader);
    template <class Archive>
    void fields(Archive& archive) {
        if constexpr (Archive::reading) {
            restore(archive);
        } else {
            save(archive);
        }
    }

private:
    class Device;
    class VirtualDevice;

    Made make_vf(unsigned vf, pci::Slot slot) override;
    void destroy_vf(unsigned vf) override;
    bool read(unsigned function, std::uint64_t address, std::uint32_t size, std::uint32_t cookie) override;
    bool write(unsigned function, std::uint64_t address, std::span<const std::byte> data) override;
    void interrupt(unsigned function, unsigned vector) override;
    sim::Time last_write_done() const override { return dma_.last_write_done(); }
    void forget(unsigned function) override;
    void wake_at(sim::Time at) override { dma_.wake_at(at); }
    pci::BusMaster* master(unsigned function);

    sim::Scope scope_;
    pci::DmaPort& dma_;
    std::array<std::unique_ptr<VirtualDevice>, max_pools> virtuals_;
    std::array<MacKey, max_pools> hyper_v_mac_{};
    std::unique_ptr<Device> device_;
    Controller controller_;
    std::optional<pci::VirtualFunctions> functions_;
    bool restoring_ = false;
};

}  // namespace sriov_nic
