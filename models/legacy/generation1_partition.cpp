#include "models/legacy/generation1_partition.h"

#include <fmt/format.h>

#include <utility>

#include "sim/check.h"

namespace models {

Generation1Partition::Generation1Partition(const sim::Scope& scope, const Generation1Ports& ports, sim::Processor& root,
                                           DeviceEmulator& emulator)
    : scope_(scope),
      root_(root),
      made_at_(scope.now()),
      devices_(scope, ports),
      emulation_(scope.child("emulation"), root, emulator) {}

void Generation1Partition::check_not_running(const std::string& what) const {
    if (scope_.now() == made_at_) return;
    throw sim::UserError(fmt::format(
        "{}: IDE drives and legacy adapters are there from the beginning; add it before the guest runs", what));
}

unsigned Generation1Partition::next_drive(const std::string& what) const {
    const std::size_t number = disks_.size() + dvds_.size();
    if (number < most_drives) return static_cast<unsigned>(number);
    throw sim::UserError(fmt::format("{}: a partition has at most {} IDE drives", what, most_drives));
}

VirtualDisk& Generation1Partition::add_disk(std::unique_ptr<DiskImage> image, const DiskConfig& config) {
    check_not_running(config.name);
    const unsigned number = next_drive("disk " + config.name);
    if (image->logical_sector_bytes() != ata::sector_bytes) {
        throw sim::UserError(fmt::format("disk {}: it has sectors of {} bytes; an IDE disk has {}", config.name,
                                         image->logical_sector_bytes(), ata::sector_bytes));
    }
    auto disk = std::make_unique<VirtualDisk>(scope_.child(config.name), std::move(image), config, 0);
    devices_.add_disk(number / 2, number % 2, disk->blocks());
    return *disks_.emplace_back(std::move(disk));
}

IdeDvd& Generation1Partition::add_dvd(std::unique_ptr<DiskImage> image, const std::string& name) {
    check_not_running(name);
    const unsigned number = next_drive("dvd " + name);
    auto dvd = std::make_unique<IdeDvd>(scope_.child(name), std::move(image));
    dvd->connect(devices_.add_cd(number / 2, number % 2, nullptr));
    return *dvds_.emplace_back(std::move(dvd));
}

LegacySwitchAdapter& Generation1Partition::add_network(Network& network, const NetworkConfig& config) {
    check_not_running(config.name);
    if (nics_.size() == Generation1Devices::most_adapters) {
        throw sim::UserError(fmt::format("network adapter {}: a partition has at most {} legacy adapters", config.name,
                                         Generation1Devices::most_adapters));
    }
    auto nic = std::make_unique<LegacySwitchAdapter>(scope_.child(config.name), network.ports(), config.name,
                                                     config.port, root_);
    nic->connect(devices_.add_adapter(config.port.mac.bytes, *nic));
    network.capture(nic->port(), config.name);
    return *nics_.emplace_back(std::move(nic));
}

void Generation1Partition::reset() {
    emulation_.clear();
    for (auto& nic : nics_) nic->clear();
    devices_.reset();
}

}  // namespace models
