// What a Generation 1 partition has instead of a Generation 2 machine's power control: the chipset, disks on its IDE
// channels, legacy adapters on virtual switches, and the root's work of emulating them.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "models/host_networks.h"
#include "models/legacy/emulation_task.h"
#include "models/legacy/generation1_devices.h"
#include "models/legacy/ide_dvd.h"
#include "models/legacy/legacy_switch_adapter.h"
#include "models/synthetic_devices.h"
#include "models/virtual_disk.h"

namespace models {

class Generation1Partition final {
public:
    static constexpr unsigned most_drives = 4;

    // `root`: the processor of the root's that does the emulation.
    Generation1Partition(const sim::Scope& scope, const Generation1Ports& ports, sim::Processor& root,
                         DeviceEmulator& emulator);
    Generation1Partition(const Generation1Partition&) = delete;

    // After all other devices of the machine.
    void connect(IoPortMap& ports, MmioMap& memory) { devices_.connect(ports, memory); }

    // Before the guest runs; a guest looks for neither later. Each throws sim::UserError for what such a machine cannot
    // have. Drives come in order: first channel, second channel, each with two positions.
    VirtualDisk& add_disk(std::unique_ptr<DiskImage> image, const DiskConfig& config);
    IdeDvd& add_dvd(std::unique_ptr<DiskImage> image, const std::string& name);
    LegacySwitchAdapter& add_network(Network& network, const NetworkConfig& config);

    // Of one of the partition's processors, which waits for its end.
    void intercept(const hypervisor::HvMessage& message) { emulation_.add(message); }
    // The guest has come to its end.
    void reset();

    Generation1Devices& devices() { return devices_; }

    template <class Archive>
    void fields(Archive& archive) {
        for (auto& dvd : dvds_) archive(*dvd);
        archive(devices_, emulation_);
        for (auto& nic : nics_) archive(*nic);
    }

private:
    void check_not_running(const std::string& what) const;
    // The number of the next drive.
    unsigned next_drive(const std::string& what) const;

    sim::Scope scope_;
    sim::Processor& root_;
    sim::Time made_at_;
    // The devices let go of all when they end.
    std::vector<std::unique_ptr<VirtualDisk>> disks_;
    std::vector<std::unique_ptr<IdeDvd>> dvds_;
    std::vector<std::unique_ptr<LegacySwitchAdapter>> nics_;
    Generation1Devices devices_;
    EmulationTask emulation_;
};

}  // namespace models
