// Virtual functions of a physical one (SR-IOV 1.1): owns what the capability's registers do. VF Enable makes as many
// functions as NumVFs says, at routing identifiers by offset and stride; VF Memory Space Enable lets them answer at
// their shares of the VF BARs. The device behind each is its owner's.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "pci/capabilities.h"
#include "pci/function.h"
#include "sim/scope.h"

namespace pci {

// Who supplies the device behind each virtual function: a physical function's model.
class VirtualFunctionOwner {
public:
    struct Made {
        Function& function;
        FunctionModel& model;
    };
    // Number `vf` from 0 comes into being at this place. Its function is made with virtual_function_layout().
    virtual Made make_vf(unsigned vf, Slot slot) = 0;
    // It goes, its function with it. Highest number first.
    virtual void destroy_vf(unsigned vf) = 0;

protected:
    ~VirtualFunctionOwner() = default;
};

// A virtual function's configuration space before its capabilities: no identity of its own (3.4.1.1), no BARs, and of
// the command register bus mastering alone.
FunctionLayout virtual_function_layout(const Identity& physical);

class VirtualFunctions final : private ConfigListener, private FunctionPart {
public:
    struct Routing {
        std::uint16_t first_offset = 0;
        std::uint16_t stride = 0;
    };
    // `what` as the layout's SR-IOV capability was made with; its offset and stride hold with ARI. `without_ari` is for
    // a hierarchy whose software leaves "ARI Capable Hierarchy" clear (2.1.2); by default it is the same.
    VirtualFunctions(const sim::Scope& scope, Function& physical, const SriovCapability& what,
                     VirtualFunctionOwner& owner, std::optional<Routing> without_ari = std::nullopt);
    VirtualFunctions(const VirtualFunctions&) = delete;
    ~VirtualFunctions();

    unsigned count() const { return static_cast<unsigned>(made_.size()); }
    Function& function(unsigned vf) { return made_[vf]->function; }
    // Where it lies: its share of a VF BAR.
    std::uint64_t bar_address(unsigned vf, unsigned bar) const;
    std::uint64_t bar_bytes(unsigned bar) const;

    // After the physical function's fields. Makes the functions; their own state is their owner's and comes after.
    template <class Archive>
    void fields(Archive& archive) {
        std::uint32_t functions = count();
        archive(functions);
        if constexpr (Archive::reading) restored(functions);
    }

private:
    // One function's share of the BARs.
    struct Share final : RangeTarget {
        Share(VirtualFunctions& of, unsigned vf, const VirtualFunctionOwner::Made& made)
            : all(of), number(vf), function(made.function), model(made.model) {}
        std::optional<std::uint64_t> read_range(Space, unsigned range, std::uint64_t address, unsigned size) override;
        bool write_range(Space, unsigned range, std::uint64_t address, unsigned size, std::uint64_t value) override;
        VirtualFunctions& all;
        unsigned number;
        Function& function;
        FunctionModel& model;
    };

    void config_written(std::uint16_t offset, std::uint32_t before, std::uint32_t after) override;
    std::uint32_t config_read(std::uint16_t offset, std::uint32_t stored) override;
    void part_reset() override;

    std::uint32_t get(std::uint16_t offset, unsigned size) const;
    void set(std::uint16_t offset, unsigned size, std::uint32_t value);
    std::uint16_t control() const { return static_cast<std::uint16_t>(get(sriov::control, 2)); }
    std::uint64_t page_bytes() const;
    bool enable(unsigned count);
    void disable();
    void restored(std::uint32_t functions);
    bool make(unsigned vf);
    void update_routing();
    void update_ranges();

    sim::Scope scope_;
    Function& physical_;
    SriovCapability what_;
    VirtualFunctionOwner& owner_;
    Routing without_ari_;
    std::uint16_t start_;
    std::vector<std::unique_ptr<Share>> made_;
};

}  // namespace pci
