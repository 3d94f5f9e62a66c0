// The two bridges that a Generation 1 guest finds on bus 0: the 440BX's host bridge (8086:7192) at 0.0 and the PIIX4's
// bridge to ISA (8086:7110) at 7.0, which routes the four PCI interrupt lanes to ISA interrupts. Their other registers
// are stored and have no effect: memory below 1 MiB is RAM already, there is no AGP, DMA controller or SMI.
#pragma once

#include <array>
#include <cstdint>

#include "models/legacy/isa_interrupts.h"
#include "pci/function.h"
#include "sim/scope.h"

namespace models {

class HostBridge final : private pci::FunctionModel {
public:
    HostBridge(const sim::Scope& scope, pci::Slot slot);
    pci::Function& function() { return function_; }
    template <class Archive>
    void fields(Archive& archive) {
        archive(function_);
    }

private:
    std::uint64_t read_bar(unsigned, std::uint64_t, unsigned) override { return 0; }
    void write_bar(unsigned, std::uint64_t, unsigned, std::uint64_t) override {}
    void function_reset(pci::ResetKind) override {}
    pci::Function function_;
};

class IsaBridge final : private pci::FunctionModel, private pci::ConfigListener {
public:
    static constexpr unsigned lanes = 4;
    static constexpr std::uint16_t routing_register = 0x60;  // one byte per lane: bit 7 off, bits 3:0 the interrupt
    static constexpr unsigned lane_a_irq = 11;               // as firmware routes it; the others are off

    IsaBridge(const sim::Scope& scope, pci::Slot slot, IsaInterrupts& interrupts);
    IsaBridge(const IsaBridge&) = delete;

    // A lane of the root bus.
    void set_lane(unsigned lane, bool asserted);
    pci::Function& function() { return function_; }

    struct State {
        std::array<bool, lanes> asserted{};
        bool operator==(const State&) const = default;
        template <class Archive>
        void fields(Archive& archive) {
            archive(asserted);
        }
    };
    template <class Archive>
    void fields(Archive& archive) {
        archive(function_, state_);
    }

private:
    std::uint64_t read_bar(unsigned, std::uint64_t, unsigned) override { return 0; }
    void write_bar(unsigned, std::uint64_t, unsigned, std::uint64_t) override {}
    void function_reset(pci::ResetKind) override;
    void config_written(std::uint16_t offset, std::uint32_t before, std::uint32_t after) override;
    void drive(unsigned lane, std::uint32_t routing, bool asserted);

    IsaInterrupts& interrupts_;
    pci::Function function_;
    State state_;
};

}  // namespace models
