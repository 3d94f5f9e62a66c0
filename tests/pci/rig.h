// What the tests of the bus put above and below it: a host that records, and a device that records.
#pragma once

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "pci/function.h"
#include "pci/root_complex.h"
#include "sim/simulation.h"

namespace pci_test {

struct RecordingHost final : pci::HostPort {
    static constexpr std::uint64_t memory_bytes = 0x10000;
    std::vector<std::byte> memory = std::vector<std::byte>(memory_bytes);
    pci::RequesterId last_requester;
    std::vector<pci::InterruptMessage> messages;
    std::vector<std::string> lines;  // "+2", "-2"
    std::uint64_t refused_from = ~std::uint64_t{0};

    pci::DmaStatus read_memory(pci::RequesterId requester, std::uint64_t address, std::span<std::byte> out) override {
        last_requester = requester;
        if (address >= refused_from) return pci::DmaStatus::aborted;
        if (address > memory_bytes || out.size() > memory_bytes - address) return pci::DmaStatus::unsupported;
        std::copy_n(memory.begin() + static_cast<std::ptrdiff_t>(address), out.size(), out.begin());
        return pci::DmaStatus::ok;
    }
    pci::DmaStatus write_memory(pci::RequesterId requester, std::uint64_t address,
                                std::span<const std::byte> data) override {
        last_requester = requester;
        if (address >= refused_from) return pci::DmaStatus::aborted;
        if (address > memory_bytes || data.size() > memory_bytes - address) return pci::DmaStatus::unsupported;
        std::copy(data.begin(), data.end(), memory.begin() + static_cast<std::ptrdiff_t>(address));
        return pci::DmaStatus::ok;
    }
    void interrupt(const pci::InterruptMessage& message) override { messages.push_back(message); }
    void line(unsigned line, bool asserted) override { lines.push_back((asserted ? "+" : "-") + std::to_string(line)); }
};

// BARs of plain memory, 64 bytes repeated.
struct RecordingDevice final : pci::FunctionModel {
    RecordingDevice(const sim::Scope& scope, pci::Slot slot, std::shared_ptr<const pci::FunctionLayout> layout)
        : function(scope, std::move(slot), std::move(layout), *this) {}

    std::uint64_t read_bar(unsigned bar, std::uint64_t offset, unsigned size) override {
        std::uint64_t value = 0;
        std::memcpy(&value, &bytes[bar][offset % 64], size);
        return value;
    }
    void write_bar(unsigned bar, std::uint64_t offset, unsigned size, std::uint64_t value) override {
        std::memcpy(&bytes[bar][offset % 64], &value, size);
        last_write = {bar, offset, size, value};
    }
    void function_reset(pci::ResetKind kind) override { resets.push_back(kind); }

    struct Write {
        unsigned bar;
        std::uint64_t offset;
        unsigned size;
        std::uint64_t value;
        bool operator==(const Write&) const = default;
    };
    std::array<std::array<std::uint8_t, 72>, 7> bytes{};
    Write last_write{};
    std::vector<pci::ResetKind> resets;
    pci::Function function;
};

inline pci::Identity identity(std::uint16_t device = 0x1234) {
    pci::Identity who;
    who.vendor = 0x8086;
    who.device = device;
    who.class_of = pci::class_of::ethernet;
    who.interrupt_pin = 1;
    return who;
}

inline std::shared_ptr<const pci::FunctionLayout> shared(pci::FunctionLayout layout) {
    return std::make_shared<const pci::FunctionLayout>(std::move(layout));
}

struct Rig {
    sim::Simulation simulation;
    RecordingHost host;
    pci::RootComplex root;

    explicit Rig(pci::Wiring wiring = pci::Wiring::rotated) : root(simulation.scope("root"), host, wiring) {}

    static pci::RequesterId id(unsigned bus, unsigned device, unsigned function = 0) {
        return pci::RequesterId::of(bus, device, function);
    }
    std::uint32_t config(pci::RequesterId who, unsigned offset, unsigned size) {
        return root.read_config(who, offset, size);
    }
    void set_config(pci::RequesterId who, unsigned offset, unsigned size, std::uint32_t value) {
        root.write_config(who, offset, size, value);
    }
    std::uint64_t memory(std::uint64_t address, unsigned size) { return root.read(pci::Space::memory, address, size); }
    void set_memory(std::uint64_t address, unsigned size, std::uint64_t value) {
        root.write(pci::Space::memory, address, size, value);
    }
    std::unique_ptr<RecordingDevice> device(pci::Bus& bus, unsigned number, pci::FunctionLayout layout,
                                            unsigned function = 0) {
        return std::make_unique<RecordingDevice>(
            simulation.scope("device" + std::to_string(number) + "." + std::to_string(function)),
            bus.slot(number, function), shared(std::move(layout)));
    }
};

}  // namespace pci_test
