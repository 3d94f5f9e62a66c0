// Where a host's processors and memory meet the root bus: configuration, memory and I/O cycles down, devices' accesses
// and interrupts up. What nobody answers reads all ones, is counted, and sets the host bridge's error bit.
#pragma once

#include <cstdint>
#include <map>

#include "pci/bus.h"
#include "pci/ports.h"
#include "sim/scope.h"

namespace pci {

class RootComplex final : private Upstream {
public:
    // A write here is an interrupt message and never reaches memory (AMD volume 3, SDM 3A 11.11).
    static constexpr std::uint64_t message_window = 0xfee0'0000;
    static constexpr std::uint64_t message_window_bytes = 0x10'0000;

    RootComplex(const sim::Scope& scope, HostPort& host, Wiring wiring);
    RootComplex(const RootComplex&) = delete;

    Bus& bus() { return bus_; }

    // From processors: any address; memory `size` is 1, 2, 4 or 8, I/O 1, 2 or 4.
    std::uint64_t read(Space space, std::uint64_t address, unsigned size);
    void write(Space space, std::uint64_t address, unsigned size, std::uint64_t value);
    // Any target; `offset` below 4096 and the access within one dword.
    std::uint32_t read_config(RequesterId target, unsigned offset, unsigned size);
    void write_config(RequesterId target, unsigned offset, unsigned size, std::uint32_t value);

    template <class Archive>
    void fields(Archive& archive) {
        archive(bus_);
    }

private:
    DmaStatus dma_read(RequesterId requester, std::uint64_t address, std::span<std::byte> out) override;
    DmaStatus dma_write(RequesterId requester, std::uint64_t address, std::span<const std::byte> data) override;
    void message(const InterruptMessage& message) override;
    void line(unsigned line, bool asserted) override;
    void unclaimed(Space space, std::uint64_t address, bool write);

    sim::Scope scope_;
    HostPort& host_;
    sim::Counter& unclaimed_count_;
    sim::Counter& unclaimed_config_;
    sim::Counter& messages_;
    Bus bus_;
};

}  // namespace pci
