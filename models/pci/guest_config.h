// The configuration space of an assigned function as its guest sees it. Where the BARs are and whether memory is
// decoded is the guest's own; the function itself stays where the host has put it. Who the function is comes from the
// host, which for a virtual function is the only one who knows (its own registers read all ones, SR-IOV 1.1, 3.4.1).
// The rest is the function's: capabilities, status, the right to master the bus. Virtual functions of it are not the
// guest's to make.
#pragma once

#include <array>
#include <cstdint>

#include "models/pci/host_pci.h"

namespace models {

class GuestConfig final {
public:
    static constexpr unsigned bytes = 4096;

    explicit GuestConfig(HostPci& host) : host_(host) {}

    // From now on of this function. Its registers are those after a reset.
    void attach(const HostFunction& function);
    void reset() { state_ = State{}; }
    // After the rest of it has been restored.
    void rejoin(const HostFunction& function) { function_ = &function; }

    // Any offset within the space, any size of 1, 2 or 4; an access that crosses a dword is done in bytes.
    std::uint32_t read(unsigned offset, unsigned size);
    // True: where the BARs are, or whether they are decoded, may have changed.
    bool write(unsigned offset, unsigned size, std::uint32_t value);

    bool decodes() const { return (state_.command & pci::command::memory_space) != 0; }
    // Where the guest wants a BAR.
    std::uint64_t bar_address(unsigned bar) const;
    // What each BAR's register reads after all ones were written.
    std::array<std::uint32_t, 6> bar_masks() const;

    template <class Archive>
    void fields(Archive& archive) {
        archive(state_, sriov_);
    }

private:
    std::uint32_t read_dword(unsigned offset);
    std::uint32_t bar_mask(unsigned bar) const;
    void write_command(std::uint32_t value);
    void write_through(unsigned offset, unsigned size, std::uint32_t value);
    void find_sriov();

    struct State {
        std::uint16_t command = 0;
        std::array<std::uint32_t, 6> bars{};  // address bits

        bool operator==(const State&) const = default;
        template <class Archive>
        void fields(Archive& archive) {
            archive(command, bars);
        }
    };
    HostPci& host_;
    const HostFunction* function_ = nullptr;
    std::uint16_t sriov_ = 0;  // the capability's offset
    State state_;
};

}  // namespace models
