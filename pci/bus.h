// A bus: its functions by number, who answers which address, where configuration cycles go, and its four interrupt
// lines. A place on it is handed out as a Slot; only a slot's holder speaks with that place's requester identity.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "pci/address_map.h"
#include "pci/ports.h"
#include "pci/requester_id.h"

namespace pci {

class Bridge;
class Bus;
class BusMaster;
class Function;

// Which place: device and function number, or, behind an SR-IOV function, a routing offset above 255 that falls on the
// bus numbers after this one (SR-IOV 1.1, 2.1.2). Made by Bus::slot() alone.
class Slot final {
public:
    Slot(Slot&& other) noexcept : bus_(other.bus_), index_(other.index_) { other.bus_ = nullptr; }
    Slot& operator=(Slot&&) = delete;
    ~Slot();

    RequesterId id() const;
    unsigned index() const { return index_; }

private:
    friend class Bus;
    friend class BusMaster;
    friend class Bridge;
    friend class Function;
    Upstream& upstream() const;  // of the place's bus
    Slot(Bus& bus, unsigned index) : bus_(&bus), index_(index) {}
    Bus* bus_;
    unsigned index_;
};

// A bridge, to a configuration cycle that is not for this bus.
class BusRoute {
public:
    // The bus below, if the number is its own or one further below.
    virtual Bus* bus_towards(std::uint8_t number) = 0;

protected:
    ~BusRoute() = default;
};

// How devices' interrupt pins meet the bus's lines.
enum class Wiring : std::uint8_t {
    straight,  // pin A of every device on line 0
    rotated,   // by device number (PCI-to-PCI bridges 1.2, 9.1), as behind every bridge
};

class Bus final {
public:
    static constexpr unsigned max_places = 0x10000;  // as there are requester identities

    Bus(Upstream& upstream, Wiring wiring) : upstream_(upstream), wiring_(wiring) {}
    Bus(const Bus&) = delete;

    [[nodiscard]] Slot slot(unsigned device, unsigned function) { return slot_at((device & 31) << 3 | (function & 7)); }
    [[nodiscard]] Slot slot_at(unsigned index);
    bool is_free(unsigned index) const { return index < max_places && !places_.contains(index); }

    std::uint8_t number() const { return number_; }
    void set_number(std::uint8_t number) { number_ = number; }
    // A link has one device at its end. With ARI forwarding all 8 bits are a function's number (PCIe 6.0, 6.13).
    void set_only_device0(bool only) { only_device0_ = only; }
    // All functions below are held in reset: nobody answers.
    void hold_in_reset(bool held);

    // Nothing: an unsupported request.
    std::optional<std::uint32_t> read_config(RequesterId target, unsigned offset, unsigned size);
    bool write_config(RequesterId target, unsigned offset, unsigned size, std::uint32_t value);
    std::optional<std::uint64_t> read(Space space, std::uint64_t address, unsigned size);
    bool write(Space space, std::uint64_t address, unsigned size, std::uint64_t value);

    // Lines asserted, one bit each.
    std::uint8_t lines() const { return lines_; }
    // The function at a place of this bus, as devices there see each other; nullptr if there is none.
    Function* function_at(unsigned index) const { return index < functions_.size() ? functions_[index] : nullptr; }
    void reset_all(ResetKind kind);
    // What a processor's access to the function there needs.
    void add_needs(unsigned index, sim::WorkingSet& set) const {
        map_.add_needs(index, set);
        set.add(functions_[index]);
    }

    template <class Archive>
    void fields(Archive& archive) {
        archive(number_, only_device0_, held_, lines_);
    }

private:
    friend class Slot;
    friend class Function;
    struct Place {
        Function* function = nullptr;  // once it is made
        BusRoute* route = nullptr;     // of a bridge
        std::uint8_t pins = 0;         // asserted, bit 0 is INTA
    };
    void attach(unsigned index, Function& function);
    void set_route(unsigned index, BusRoute& route) { places_[index].route = &route; }
    void release(unsigned index);
    void set_ranges(unsigned index, std::vector<Range> ranges) { map_.set(index, std::move(ranges)); }
    void set_pins(unsigned index, std::uint8_t pins, bool tell);
    void update_lines();
    RequesterId id_of(unsigned index) const { return {static_cast<std::uint16_t>((unsigned{number_} << 8) + index)}; }
    Function* own_target(RequesterId target) const;
    Bus* bus_below(std::uint8_t number) const;

    Upstream& upstream_;
    Wiring wiring_;
    AddressMap map_;
    std::map<unsigned, Place> places_;
    std::vector<Function*> functions_;  // the same functions by index, for those who look one up per transaction
    std::uint8_t number_ = 0;
    bool only_device0_ = false;
    bool held_ = false;
    std::uint8_t lines_ = 0;  // as upstream knows them
};

inline RequesterId Slot::id() const {
    return bus_->id_of(index_);
}

inline Upstream& Slot::upstream() const {
    return bus_->upstream_;
}

}  // namespace pci
