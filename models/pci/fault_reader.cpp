#include "models/pci/fault_reader.h"

#include <fmt/format.h>

namespace models {

FaultReader::FaultReader(const sim::Scope& scope, pci::Iommu& iommu, const FunctionOwners& owners,
                         sim::Processor& processor, const FaultCosts& costs)
    : scope_(scope),
      iommu_(iommu),
      owners_(owners),
      costs_(costs),
      records_(scope.counter("records", "count", "fault records that the root has read")),
      overflows_(scope.counter("overflows", "count", "rounds in which faults had found no free record")),
      slot_(processor, *this),
      again_(scope.agenda(), scope.path() + ".again", [this] { slot_.wake(); }),
      registration_(scope.register_state(*this)) {}

void FaultReader::interrupt() {
    if (!again_.armed()) slot_.wake();
}

std::optional<sim::Time> FaultReader::begin() {
    const std::size_t records = iommu_.faults().size();
    if (records == 0 || again_.armed()) return std::nullopt;
    return costs_.event + costs_.record * static_cast<std::int64_t>(records);
}

// What has come while it read is taken along.
void FaultReader::finish() {
    while (const auto fault = iommu_.faults().take()) count(*fault);
    if (iommu_.faults().overflow()) {
        ++overflows_;
        iommu_.faults().clear_overflow();
    }
    again_.arm_after(least_gap);
}

void FaultReader::count(const pci::IommuFault& fault) {
    const pci::RequesterId who = fault.requester;
    const std::uint64_t partition = owners_.partition_of(who);
    scope_.trace("iommu_fault", who.value, fault.address, fault.write ? 1 : 0, static_cast<std::uint64_t>(fault.reason),
                 partition);
    ++records_;
    ++scope_.counter(fmt::format("function_{:02x}_{:02x}_{}", who.bus(), who.device(), who.function()), "count",
                     "fault records of this function");
    if (partition == 0) return;
    ++scope_.counter(fmt::format("partition_{}", partition), "count", "fault records of this partition's functions");
}

}  // namespace models
