// The PIIX4's IDE function (8086:7111): two channels at the compatible ports, their timing registers, and the bus
// master (Intel 82371AB data sheet, 290562, chapter 6). Timing registers are stored and have no effect. Firmware has
// switched both channels on already.
#pragma once

#include <array>
#include <cstdint>

#include "models/interrupt_line.h"
#include "models/legacy/ide_channel.h"
#include "pci/function.h"
#include "sim/scope.h"

namespace models {

class Piix4Ide final : private pci::FunctionModel, private pci::RangeTarget, private pci::ConfigListener {
public:
    static constexpr unsigned primary_irq = 14, secondary_irq = 15;
    static constexpr unsigned bus_master_bar = 4;

    Piix4Ide(const sim::Scope& scope, pci::Slot slot, InterruptLine& primary, InterruptLine& secondary);
    Piix4Ide(const Piix4Ide&) = delete;

    IdeChannel& channel(unsigned number) { return number == 0 ? primary_ : secondary_; }
    const IdeChannel& channel(unsigned number) const { return number == 0 ? primary_ : secondary_; }
    pci::Function& function() { return function_; }

    template <class Archive>
    void fields(Archive& archive) {
        archive(function_, primary_, secondary_);
        if constexpr (Archive::reading) update_ports();
    }

private:
    std::uint64_t read_bar(unsigned bar, std::uint64_t offset, unsigned size) override;
    void write_bar(unsigned bar, std::uint64_t offset, unsigned size, std::uint64_t value) override;
    void function_reset(pci::ResetKind kind) override;
    void command_changed() override;
    void config_written(std::uint16_t offset, std::uint32_t before, std::uint32_t after) override;
    std::optional<std::uint64_t> read_range(pci::Space space, unsigned range, std::uint64_t address,
                                            unsigned size) override;
    bool write_range(pci::Space space, unsigned range, std::uint64_t address, unsigned size,
                     std::uint64_t value) override;
    void update_ports();

    pci::Function function_;
    IdeChannel primary_;
    IdeChannel secondary_;
};

}  // namespace models
