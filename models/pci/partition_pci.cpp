#include "models/pci/partition_pci.h"

#include <fmt/format.h>

#include <algorithm>

#include "sim/check.h"

namespace models {

AssignedFunction& PartitionPci::add(std::string_view name) {
    constexpr std::size_t most = 64;
    if (functions_.size() == most) {
        throw sim::UserError(fmt::format("PCI function {}: a partition has at most {}", name, most));
    }
    const auto number = static_cast<std::uint16_t>(functions_.size() + 1);
    functions_.push_back(std::make_unique<AssignedFunction>(scope_.child(name), around_, number));
    return *functions_.back();
}

AssignedFunction& PartitionPci::assign(std::string_view name, const HostFunction& function) {
    AssignedFunction& place = add(name);
    HostFunction given = function;
    // Slot numbers are of the guest's own making, so they only must differ.
    given.identity.serial = static_cast<std::uint32_t>(functions_.size());
    if (!place.give(given)) {
        throw sim::UserError(fmt::format("PCI function {}: another partition has it; take it from there first", name));
    }
    return place;
}

VfPairing& PartitionPci::pair(std::string_view name, SyntheticNic& nic, VfSource& source) {
    AssignedFunction& place = add(name);
    const auto serial = static_cast<std::uint32_t>(functions_.size());
    pairings_.push_back(
        std::make_unique<VfPairing>(scope_.child(std::string{name} + ".pair"), nic, place, source, serial));
    return *pairings_.back();
}

bool PartitionPci::holds_any() const {
    return std::ranges::any_of(functions_, [](const auto& function) { return function->given(); });
}

void PartitionPci::take_all() {
    for (const auto& function : functions_) function->take();
}

void PartitionPci::update_statistics() {
    for (const auto& pairing : pairings_) pairing->update_statistics();
}

}  // namespace models
