// One PCI function: its configuration space with what the header's registers do, its base address registers on the bus,
// its interrupt pin, and its right to master the bus. A device model holds one and is told of accesses and resets.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "pci/bus.h"
#include "pci/config_space.h"
#include "pci/function_layout.h"
#include "pci/ports.h"
#include "sim/scope.h"
#include "sim/working_set.h"

namespace pci {

// The device behind a function.
class FunctionModel {
public:
    // Within BAR `bar` (rom_bar: the expansion ROM); `size` is 1, 2, 4 or 8.
    virtual std::uint64_t read_bar(unsigned bar, std::uint64_t offset, unsigned size) = 0;
    virtual void write_bar(unsigned bar, std::uint64_t offset, unsigned size, std::uint64_t value) = 0;
    // Configuration registers have been reset already.
    virtual void function_reset(ResetKind kind) = 0;
    // The command register or the power state changed.
    virtual void command_changed() {}
    // What whoever drives the function needs of it (sim/working_set.h). What is named here may end before the set.
    virtual void add_needs(sim::WorkingSet& /*set*/) const {}

protected:
    ~FunctionModel() = default;
};

// What is part of a function and has state beside the configuration space.
class FunctionPart {
public:
    virtual void part_reset() = 0;

protected:
    ~FunctionPart() = default;
};

class Function;

// A function's own transactions, all with its requester identity. It cannot be made by a device: a function has one.
class BusMaster final {
public:
    BusMaster(const BusMaster&) = delete;

    RequesterId id() const;
    // Its place on its bus, which stays when bus numbers change.
    std::uint16_t place() const;
    // Whether software lets the function master the bus.
    bool enabled() const;
    [[nodiscard]] DmaStatus read(std::uint64_t address, std::span<std::byte> out);
    [[nodiscard]] DmaStatus write(std::uint64_t address, std::span<const std::byte> data);
    // A message-signalled interrupt.
    void message(std::uint64_t address, std::uint32_t data);

private:
    friend class Function;
    explicit BusMaster(Function& function) : function_(function) {}
    Function& function_;
};

class Function final : private ConfigListener, private RangeTarget {
public:
    Function(const sim::Scope& scope, Slot slot, std::shared_ptr<const FunctionLayout> layout, FunctionModel& model);
    Function(const Function&) = delete;
    ~Function();

    ConfigSpace& config() { return config_; }
    const ConfigSpace& config() const { return config_; }
    RequesterId id() const { return slot_.id(); }
    BusMaster& master() { return master_; }
    void add_needs(sim::WorkingSet& set) const {
        set.add(&slot_, line_bytes);
        model_.add_needs(set);
    }

    // The interrupt pin. With "interrupt disable" set the status bit alone tells.
    void set_intx(bool asserted);
    bool intx() const { return state_.intx; }
    // MSI or MSI-X was switched on or off; while either is on the pin is silent.
    void refresh_intx() { update_pins(); }

    // What the function decodes besides its BARs: a bridge's windows, a VF's share of its PF's, fixed ports. Numbers
    // from 16 on; the command register must be minded by the caller.
    void set_further_ranges(std::vector<Range> ranges);

    // A place on its bus behind its own by so many routing identifiers, for a virtual function; nothing if it is taken.
    std::optional<Slot> further_place(unsigned routing_offset);

    // Software, or the bus above, resets it.
    void reset(ResetKind kind);
    // Pulled out, put in again. While it is out nobody answers and its transactions go nowhere.
    void remove();
    void insert();
    bool present() const { return !state_.removed; }

    // Somebody sent what it does not support: its error bits (PCIe 6.0, 6.2.3.2.3).
    void log_unsupported_request();
    // An error that the link has mended: bits of AER's correctable status (6.2.2.1).
    void log_correctable(std::uint32_t bits);
    // Whether its memory (or I/O) decoding is on.
    bool decodes(Space space) const;
    // Where a BAR lies at present.
    std::uint64_t bar_address(unsigned bar) const;

    // For parts and bridges.
    void add_part(FunctionPart& part) { parts_.push_back(&part); }
    void set_route(BusRoute& route) { slot_.bus_->set_route(slot_.index(), route); }
    void set_forwarded_pins(std::uint8_t pins);

    // The bus side.
    std::uint32_t read_config(unsigned offset, unsigned size) { return config_.read(offset, size); }
    void write_config(unsigned offset, unsigned size, std::uint32_t value);

    struct State {
        bool intx = false;
        bool removed = false;
        std::uint8_t forwarded_pins = 0;
        bool operator==(const State&) const = default;
        template <class Archive>
        void fields(Archive& archive) {
            archive(intx, removed, forwarded_pins);
        }
    };
    template <class Archive>
    void fields(Archive& archive) {
        archive(config_, state_);
        if constexpr (Archive::reading) restored();
    }

private:
    friend class BusMaster;
    void config_written(std::uint16_t offset, std::uint32_t before, std::uint32_t after) override;
    std::optional<std::uint64_t> read_range(Space space, unsigned range, std::uint64_t address, unsigned size) override;
    bool write_range(Space space, unsigned range, std::uint64_t address, unsigned size, std::uint64_t value) override;

    std::uint16_t command() const { return static_cast<std::uint16_t>(config_.get(header::command, 2)); }
    bool awake() const;
    bool sends_messages() const;
    std::uint16_t bar_register(unsigned bar) const;
    std::vector<Range> bar_ranges();
    void update_decode();
    std::uint8_t pins() const;
    void update_pins();
    void restored();
    DmaStatus ended(DmaStatus status, bool write);

    // What each transaction needs comes first, in one of the simulating computer's cache lines.
    static constexpr std::size_t line_bytes = sim::WorkingSet::line_bytes;
    alignas(line_bytes) Slot slot_;
    BusMaster master_;
    bool may_master_ = false;  // follows from the command register and the power state
    sim::Scope scope_;
    std::shared_ptr<const FunctionLayout> layout_;
    FunctionModel& model_;
    ConfigSpace config_;
    sim::Counter& failed_dma_;
    std::uint16_t power_ = 0;  // offsets of capabilities, 0 if absent
    std::uint16_t express_ = 0;
    std::uint16_t aer_ = 0;
    std::uint16_t msi_ = 0;
    std::uint16_t msix_ = 0;
    std::vector<FunctionPart*> parts_;
    std::vector<Range> further_ranges_;
    State state_;
};

inline RequesterId BusMaster::id() const {
    return function_.slot_.id();
}

inline std::uint16_t BusMaster::place() const {
    return static_cast<std::uint16_t>(function_.slot_.index());
}

inline bool BusMaster::enabled() const {
    return function_.may_master_;
}

}  // namespace pci
