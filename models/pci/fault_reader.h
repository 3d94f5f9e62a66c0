// Who reads what the IOMMU has blocked: a task of the root's, called by the unit's fault event. It takes the records,
// clears them, counts them by function and partition, and writes each into the trace. Whatever a function does, it
// costs the root one round in `least_gap` at most; what comes in between stays in the registers, or is lost as
// overflow.
#pragma once

#include <cstdint>
#include <optional>

#include "pci/iommu.h"
#include "sim/processor.h"
#include "sim/scope.h"

namespace models {

// Which partition a function was in.
class FunctionOwners {
public:
    // 0: none.
    virtual std::uint64_t partition_of(pci::RequesterId function) const = 0;

protected:
    ~FunctionOwners() = default;
};

struct FaultCosts {
    sim::Time event;
    sim::Time record;
};

class FaultReader final : private sim::Task {
public:
    static constexpr sim::Time least_gap = sim::Time::ms(1);

    FaultReader(const sim::Scope& scope, pci::Iommu& iommu, const FunctionOwners& owners, sim::Processor& processor,
                const FaultCosts& costs);

    // The fault event.
    void interrupt();

    template <class Archive>
    void fields(Archive& archive) {
        archive(again_);
    }

private:
    std::optional<sim::Time> begin() override;
    void finish() override;
    void count(const pci::IommuFault& fault);

    sim::Scope scope_;
    pci::Iommu& iommu_;
    const FunctionOwners& owners_;
    FaultCosts costs_;
    sim::Counter& records_;
    sim::Counter& overflows_;
    sim::TaskSlot slot_;
    sim::Timer again_;  // not before
    sim::StateRegistration registration_;
};

}  // namespace models
