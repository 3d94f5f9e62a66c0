// How long the host takes over a device's access, by where the device stands and where the memory is: what is another
// node's crosses the link between the two.
#pragma once

#include <array>
#include <cstdint>

#include "models/numa.h"
#include "pci/host_timing.h"

namespace models {

class NumaTiming final : public pci::HostTiming {
public:
    // To whom an access goes that no address tells.
    class Owners {
    public:
        // Of the memory that a function of the root's has of its own, if that is what it uses.
        virtual bool own_memory(pci::RequesterId function) const = 0;
        // Of whoever gets an interrupt of this function.
        virtual std::uint32_t listening_node(pci::RequesterId function) const = 0;

    protected:
        ~Owners() = default;
    };
    NumaTiming(sim::Time read, sim::Time write, const Owners& owners) : read_(read), write_(write), owners_(owners) {}

    void set_nodes(const NumaNodes& nodes, const NumaCosts& costs) {
        nodes_ = nodes;
        costs_ = costs;
    }
    // Where what is behind this bus stands; at the first node, if nobody says.
    void place(std::uint8_t bus, std::uint32_t node) { node_of_bus_[bus] = node; }
    std::uint32_t node_of(std::uint8_t bus) const { return node_of_bus_[bus]; }
    const NumaNodes& nodes() const { return nodes_; }

    [[nodiscard]] sim::Time served(const pci::HostAccess& access, sim::Time arrival) override {
        const sim::Time at = arrival + (access.write ? write_ : read_);
        return nodes_.several() ? at + crossing(access) : at;
    }

private:
    sim::Time crossing(const pci::HostAccess& access) const;

    sim::Time read_;
    sim::Time write_;
    const Owners& owners_;
    NumaNodes nodes_;
    NumaCosts costs_;
    std::array<std::uint32_t, 256> node_of_bus_{};
};

}  // namespace models
