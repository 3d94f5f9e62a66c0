// A small device for teaching and tests: a PCI Express function with 64-bit BARs, MSI-X, function-level reset and a DMA
// engine, simple enough to be driven by hand.
//
// BAR 0 (4 KiB, 32-bit registers): 0x00 identification; 0x04 scratch; 0x08 and 0x0c address of a buffer; 0x10 its
// length in bytes, 4096 at most; 0x14 command; 0x18 status; 0x1c result. Commands: 1 adds up the buffer's bytes, 2
// fills it with the scratch register's low byte, 3 does nothing. Each takes 1 us, then status is 1 (done) or 2 (memory
// refused) and vector 0 tells; reading the status clears it. BAR 2 (4 KiB) has the MSI-X table, and the pending bits at
// 0x800.
#pragma once

#include <array>
#include <cstdint>
#include <memory>

#include "models/pci/host_pci.h"
#include "pci/message_interrupts.h"

namespace models {

class ExampleFunction final : public HostDevice, private pci::FunctionModel {
public:
    static constexpr std::uint16_t vendor = 0x5647, device = 0x0001;
    static constexpr std::uint32_t identification = 0x7601'0001;
    static constexpr std::uint32_t most_bytes = 4096;
    static constexpr unsigned vectors = 2;
    static constexpr sim::Time work = sim::Time::us(1);

    enum Register : std::uint64_t {
        reg_identification = 0x00,
        reg_scratch = 0x04,
        reg_address = 0x08,
        reg_address_high = 0x0c,
        reg_length = 0x10,
        reg_command = 0x14,
        reg_status = 0x18,
        reg_result = 0x1c,
    };
    enum Command : std::uint32_t { sum = 1, fill = 2, nothing = 3 };
    enum Status : std::uint32_t { idle = 0, done = 1, refused = 2 };

    ExampleFunction(const sim::Scope& scope, pci::Slot slot);

    pci::Function& function() override { return function_; }

    template <class Archive>
    void fields(Archive& archive) {
        archive(function_, msix_, state_, timer_);
    }

private:
    struct State {
        std::uint32_t scratch = 0;
        std::uint64_t address = 0;
        std::uint32_t length = 0;
        std::uint32_t command = 0;  // under way
        std::uint32_t status = idle;
        std::uint32_t result = 0;

        bool operator==(const State&) const = default;
        template <class Archive>
        void fields(Archive& archive) {
            archive(scratch, address, length, command, status, result);
        }
    };
    static const std::shared_ptr<const pci::FunctionLayout>& shared_layout();

    // pci::FunctionModel
    std::uint64_t read_bar(unsigned bar, std::uint64_t offset, unsigned size) override;
    void write_bar(unsigned bar, std::uint64_t offset, unsigned size, std::uint64_t value) override;
    void function_reset(pci::ResetKind kind) override;

    void finish();
    bool carry_out();

    sim::Scope scope_;
    pci::Function function_;
    pci::MsiX msix_;
    sim::Timer timer_;
    State state_;
    sim::Counter& commands_;
    sim::StateRegistration registration_;
};

}  // namespace models
