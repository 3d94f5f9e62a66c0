// Message-signalled interrupts of a function: MSI with its registers in configuration space, MSI-X with its table and
// pending bits in a BAR. A masked vector's message waits as a pending bit and goes out when the mask goes away.
#pragma once

#include <cstdint>
#include <vector>

#include "pci/capability_registers.h"
#include "pci/dma.h"
#include "pci/fixed_array.h"
#include "pci/function.h"

namespace pci {

// PCIe 6.0, 6.1.4.5 and 7.7.1. Its state is in the configuration space.
class Msi final : private ConfigListener {
public:
    explicit Msi(Function& function);
    Msi(const Msi&) = delete;

    bool enabled() const;
    // How many vectors software has granted. With fewer than the device has, the device's higher ones share.
    unsigned vectors() const;
    // Something happened that vector `vector` tells of. Without MSI enabled nothing is sent.
    void raise(unsigned vector);

private:
    void config_written(std::uint16_t offset, std::uint32_t before, std::uint32_t after) override;
    std::uint16_t control() const;
    void send(unsigned vector);
    void flush();

    Function& function_;
    std::uint16_t start_;
    std::uint16_t data_;
    std::uint16_t mask_ = 0;  // 0: no per-vector masking
};

// PCIe 6.0, 7.7.2. What the first vector needs lies in one of the simulating computer's cache lines.
class alignas(64) MsiX final : private ConfigListener, private FunctionPart {
public:
    explicit MsiX(Function& function);
    MsiX(const MsiX&) = delete;
    // Messages go this way instead of the function's own, so that they keep their order with its engine's writes.
    void send_through(DmaPort& port) { port_ = &port; }

    bool enabled() const { return enabled_; }
    // The first vector's, which is mostly the queues'.
    void add_needs(sim::WorkingSet& set) const { set.add(this, sim::WorkingSet::line_bytes); }
    unsigned vectors() const { return state_.entries.size(); }
    void raise(unsigned vector);
    bool pending(unsigned vector) const { return (state_.pending[vector / 64] >> vector % 64 & 1) != 0; }

    // Accesses to the table and to the pending bits, by offset within each. What lies beyond reads 0.
    std::uint64_t table_bytes() const { return std::uint64_t{msix_cap::entry_bytes} * vectors(); }
    std::uint64_t read_table(std::uint64_t offset, unsigned size) const;
    void write_table(std::uint64_t offset, unsigned size, std::uint64_t value);
    std::uint64_t pending_bytes() const { return 8 * state_.pending.size(); }
    std::uint64_t read_pending(std::uint64_t offset, unsigned size) const;

    struct Entry {
        std::uint64_t address = 0;
        std::uint32_t data = 0;
        std::uint32_t control = msix_cap::entry_masked;
        bool operator==(const Entry&) const = default;
        template <class Archive>
        void fields(Archive& archive) {
            archive(address, data, control);
        }
    };
    struct State {
        explicit State(unsigned vectors) : entries(vectors), pending((vectors + 63) / 64) {}
        FixedArray<Entry, 3> entries;
        std::vector<std::uint64_t> pending;
        bool operator==(const State&) const = default;
        template <class Archive>
        void fields(Archive& archive) {
            for (Entry& entry : entries) archive(entry);  // their number is the function's
            for (std::uint64_t& word : pending) archive(word);
        }
    };
    const State& state() const { return state_; }
    // The function's own fields come before.
    template <class Archive>
    void fields(Archive& archive) {
        archive(state_);
        if constexpr (Archive::reading) look_at_control();
    }

private:
    void config_written(std::uint16_t offset, std::uint32_t before, std::uint32_t after) override;
    void part_reset() override;
    void look_at_control();
    bool silent(unsigned vector) const {
        return masked_ || (state_.entries[vector].control & msix_cap::entry_masked) != 0;
    }
    void serve(unsigned vector);
    void send(unsigned vector);

    Function& function_;
    DmaPort* port_ = nullptr;
    std::uint16_t start_;
    // As the capability's register has it.
    bool enabled_ = false;
    bool masked_ = false;
    State state_;
};

}  // namespace pci
