// How processors reach configuration space: mechanism #1 through two I/O ports (PCI 3.0, 3.2.2.3.2) and the enhanced
// mechanism, a window in memory (PCIe 6.0, 7.2.2).
#pragma once

#include <cstdint>

#include "pci/root_complex.h"

namespace pci {

class ConfigPorts final {
public:
    static constexpr std::uint16_t address_port = 0xcf8;
    static constexpr std::uint16_t data_port = 0xcfc;
    static constexpr unsigned ports = 8;

    explicit ConfigPorts(RootComplex& root) : root_(root) {}

    // Ports 0xcf8 to 0xcff, `size` 1, 2 or 4. Only a dword reaches the address register; smaller accesses there are for
    // other devices of the machine (0xcf9 resets it), for which nobody answers here.
    std::uint32_t read(std::uint16_t port, unsigned size);
    void write(std::uint16_t port, unsigned size, std::uint32_t value);

    struct State {
        std::uint32_t address = 0;
        bool operator==(const State&) const = default;
        template <class Archive>
        void fields(Archive& archive) {
            archive(address);
        }
    };
    void reset() { state_ = {}; }
    template <class Archive>
    void fields(Archive& archive) {
        archive(state_);
    }

private:
    bool reaches(std::uint16_t port) const;
    RequesterId target() const;
    unsigned offset(std::uint16_t port) const;

    RootComplex& root_;
    State state_;
};

class ConfigWindow final {
public:
    static constexpr std::uint64_t bytes_per_bus = 1u << 20;

    ConfigWindow(RootComplex& root, std::uint64_t base, unsigned first_bus, unsigned buses);

    std::uint64_t base() const { return base_; }
    std::uint64_t bytes() const { return buses_ * bytes_per_bus; }
    // Within the window; `size` is 1, 2, 4 or 8. An access over a dword's end is cut into bytes.
    std::uint64_t read(std::uint64_t address, unsigned size);
    void write(std::uint64_t address, unsigned size, std::uint64_t value);

private:
    RequesterId target(std::uint64_t address) const;

    RootComplex& root_;
    std::uint64_t base_;
    unsigned first_bus_;
    unsigned buses_;
};

}  // namespace pci
