// The functions that a partition has: a virtual PCI bus for each.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "models/pci/assigned_function.h"
#include "models/pci/vf_pairing.h"

namespace models {

class PartitionPci final {
public:
    PartitionPci(const sim::Scope& scope, const PciSurroundings& surroundings) : scope_(scope), around_(surroundings) {}

    // A place for a function, empty at first. Names are unique in the partition.
    AssignedFunction& add(std::string_view name);
    // Discrete Device Assignment: a whole function of the host's. Throws sim::UserError if another partition has it.
    AssignedFunction& assign(std::string_view name, const HostFunction& function);
    // A virtual function beside a synthetic adapter of the partition's.
    VfPairing& pair(std::string_view name, SyntheticNic& nic, VfSource& source);
    std::size_t count() const { return functions_.size(); }
    // One of them is the partition's now.
    bool holds_any() const;
    // The guest has ended: all go back.
    void take_all();
    // Brings the counters up to date that are not counted one by one.
    void update_statistics();

private:
    sim::Scope scope_;
    PciSurroundings around_;
    std::vector<std::unique_ptr<AssignedFunction>> functions_;
    std::vector<std::unique_ptr<VfPairing>> pairings_;
};

}  // namespace models
