// What a Generation 1 machine has and a Generation 2 machine has not: a PCI bus behind the 440BX and PIIX4 bridges,
// IDE with its drives, legacy network adapters, the 8259 pair, the 8254 timer, and ACPI's hardware registers.
// Configuration space is left as firmware leaves it. The serial port, the clock and the I/O APIC stay with the machine
// that holds this; PowerControl has no place beside it.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "models/io_apic.h"
#include "models/io_port_map.h"
#include "models/legacy/ata_disk.h"
#include "models/legacy/atapi_cd.h"
#include "models/legacy/chipset_bridges.h"
#include "models/legacy/dec21140.h"
#include "models/legacy/isa_interrupts.h"
#include "models/legacy/pic_8259.h"
#include "models/legacy/piix4_ide.h"
#include "models/legacy/piix4_power.h"
#include "models/legacy/pit_8254.h"
#include "models/memory_layout.h"
#include "models/power_control.h"
#include "pci/config_access.h"
#include "pci/root_complex.h"
#include "sim/scope.h"
#include "vmbus/ports.h"
#include "vmbus/storage/block_device.h"

namespace models {

// What of the machine around them the devices need.
struct Generation1Ports {
    IoApic& io_apic;
    InterruptMessagePort& processors;  // for message-signalled interrupts
    vmbus::GuestMemory& memory;
    PowerEvents& power;
};

class Generation1Devices final : private IoDevice, private MmioDevice, private pci::HostPort {
public:
    // Where PCI devices' memory lies: the machine's low window.
    static constexpr std::uint64_t window_first = MemoryLayout::gap_first;
    static constexpr std::uint64_t window_end = MemoryLayout::low_window_end;
    // As firmware places the devices.
    static constexpr std::uint16_t adapter_io = 0xec00, bus_master_io = 0xffa0;
    static constexpr std::uint32_t adapter_memory = 0xfebf'f000;
    static constexpr unsigned first_adapter_device = 10, chipset_device = 7;

    static constexpr unsigned most_adapters = 4;

    Generation1Devices(const sim::Scope& scope, const Generation1Ports& ports);
    ~Generation1Devices();
    Generation1Devices(const Generation1Devices&) = delete;

    // After all other devices of the machine: every port that is nobody's belongs to the PCI bus.
    void connect(IoPortMap& ports, MmioMap& memory);

    // Before the guest runs. Each throws sim::UserError for what such a machine cannot have: there are channels 0 and 1
    // with positions 0 and 1, sectors of 512 bytes on a disk, and four adapters. A CD drive may be empty.
    AtaDisk& add_disk(unsigned channel, unsigned position, vmbus::BlockDevice& blocks);
    AtapiCd& add_cd(unsigned channel, unsigned position, vmbus::BlockDevice* disc);
    Dec21140& add_adapter(const AddressFilter::Address& address, FramePort& port);

    // As after power-on and firmware. A machine that has stopped falls silent by this as well.
    void reset();
    void press_power_button() { power_.press_power_button(); }

    pci::RootComplex& root() { return root_; }
    const Pic8259& pic() const { return pic_; }

    template <class Archive>
    void fields(Archive& archive) {
        archive(pic_, isa_, root_, config_ports_, host_bridge_, isa_bridge_, ide_, power_, pit_);
        for (auto& disk : disks_) archive(*disk);
        for (auto& cd : cds_) archive(*cd);
        for (auto& adapter : adapters_) archive(*adapter);
    }

private:
    // INTR of the 8259 pair. Systems with an I/O APIC mask the pair; a processor that listens is not modelled.
    struct ProcessorLine final : InterruptLine {
        explicit ProcessorLine(sim::Counter& c) : count(c) {}
        void set(bool asserted) override {
            if (asserted) ++count;
        }
        sim::Counter& count;
    };

    // Processors' side.
    std::uint32_t read_port(std::uint16_t port, unsigned size) override;
    void write_port(std::uint16_t port, unsigned size, std::uint32_t value) override;
    std::uint64_t read_mmio(std::uint64_t gpa, unsigned size) override;
    void write_mmio(std::uint64_t gpa, unsigned size, std::uint64_t value) override;
    // Devices' side.
    pci::DmaStatus read_memory(pci::RequesterId requester, std::uint64_t address, std::span<std::byte> out) override;
    pci::DmaStatus write_memory(pci::RequesterId requester, std::uint64_t address,
                                std::span<const std::byte> data) override;
    void interrupt(const pci::InterruptMessage& message) override;
    void line(unsigned line, bool asserted) override;

    sim::Scope drive_scope(unsigned channel, unsigned position) const;
    void run_firmware();
    void place(Dec21140& adapter, std::uint32_t number);

    sim::Scope scope_;
    InterruptMessagePort& processors_;
    vmbus::GuestMemory& memory_;
    ProcessorLine processor_line_;
    Pic8259 pic_;
    IsaInterrupts isa_;
    pci::RootComplex root_;
    pci::ConfigPorts config_ports_;
    HostBridge host_bridge_;
    IsaBridge isa_bridge_;
    Piix4Ide ide_;
    Piix4Power power_;
    Pit8254 pit_;
    std::vector<std::unique_ptr<AtaDisk>> disks_;
    std::vector<std::unique_ptr<AtapiCd>> cds_;
    std::vector<std::unique_ptr<Dec21140>> adapters_;
};

}  // namespace models
