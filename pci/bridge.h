// A PCI-to-PCI bridge: bus numbers, windows, forwarding both ways, secondary bus reset (PCI-to-PCI bridges 1.2). With a
// PCI Express capability it is a root port or a switch's port, and its slot reports what is put in and pulled out
// (PCIe 6.0, 6.7.3).
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>

#include "pci/function.h"
#include "pci/message_interrupts.h"

namespace pci {

class Bridge final : private FunctionModel,
                     private ConfigListener,
                     private RangeTarget,
                     private Upstream,
                     private BusRoute {
public:
    // The layout comes from bridge_function(). With an MSI capability the slot's events go by vector 0.
    Bridge(const sim::Scope& scope, Slot slot, std::shared_ptr<const FunctionLayout> layout);
    Bridge(const Bridge&) = delete;

    Bus& secondary() { return secondary_; }
    Function& function() { return function_; }
    // Devices below changed: the slot's state follows, with an interrupt where software wants one.
    void slot_changed();

    template <class Archive>
    void fields(Archive& archive) {
        archive(secondary_, function_);
        if constexpr (Archive::reading) update_windows();
    }

private:
    std::uint64_t read_bar(unsigned bar, std::uint64_t offset, unsigned size) override;
    void write_bar(unsigned, std::uint64_t, unsigned, std::uint64_t) override {}
    void function_reset(ResetKind kind) override;
    void command_changed() override { update_windows(); }
    void config_written(std::uint16_t offset, std::uint32_t before, std::uint32_t after) override;
    std::optional<std::uint64_t> read_range(Space space, unsigned range, std::uint64_t address, unsigned size) override;
    bool write_range(Space space, unsigned range, std::uint64_t address, unsigned size, std::uint64_t value) override;
    DmaStatus dma_read(RequesterId requester, std::uint64_t address, std::span<std::byte> out) override;
    DmaStatus dma_write(RequesterId requester, std::uint64_t address, std::span<const std::byte> data) override;
    void message(const InterruptMessage& message) override;
    void line(unsigned line, bool asserted) override;
    Bus* bus_towards(std::uint8_t number) override;

    std::uint32_t get(std::uint16_t offset, unsigned size) const { return function_.config().get(offset, size); }
    bool below(std::uint64_t address, std::size_t bytes) const;
    void update_windows();
    void update_secondary();
    void log_unclaimed(bool write);

    Upstream& upstream_;
    std::shared_ptr<const FunctionLayout> layout_;
    std::uint16_t express_;
    Function function_;
    std::optional<Msi> msi_;
    // Memory that lies below, so that nothing from below may go up to it; follows from the registers.
    struct Closed {
        std::uint64_t first = 1;
        std::uint64_t last = 0;
    };
    std::array<Closed, 2> closed_;
    Bus secondary_;
};

}  // namespace pci
