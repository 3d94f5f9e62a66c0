#include "pci/root_complex.h"

#include <cstring>

#include "pci/config_registers.h"
#include "pci/function.h"
#include "sim/bits.h"
#include "sim/check.h"

namespace pci {

RootComplex::RootComplex(const sim::Scope& scope, HostPort& host, Wiring wiring)
    : scope_(scope),
      host_(host),
      unclaimed_count_(scope.counter("unclaimed", "count", "memory and I/O cycles that no function answers")),
      unclaimed_config_(scope.counter("unclaimed_config", "count", "configuration cycles that no function answers")),
      messages_(scope.counter("messages", "count", "message-signalled interrupts of devices")),
      bus_(*this, wiring) {}

std::uint64_t RootComplex::read(Space space, std::uint64_t address, unsigned size) {
    VG_CHECK(size == 1 || size == 2 || size == 4 || size == 8);
    const std::uint64_t mask = sim::mask_of(8 * size - 1, 0);
    if (const auto value = bus_.read(space, address, size)) return *value & mask;
    unclaimed(space, address, false);
    return mask;
}

void RootComplex::write(Space space, std::uint64_t address, unsigned size, std::uint64_t value) {
    VG_CHECK(size == 1 || size == 2 || size == 4 || size == 8);
    if (!bus_.write(space, address, size, value & sim::mask_of(8 * size - 1, 0))) unclaimed(space, address, true);
}

void RootComplex::unclaimed(Space space, std::uint64_t address, bool write) {
    ++unclaimed_count_;
    scope_.trace("unclaimed", static_cast<std::uint64_t>(space), address, write ? 1 : 0);
    Function* host_bridge = bus_.function_at(0);
    if (host_bridge == nullptr || !host_bridge->present()) return;
    if (host_bridge->config().get(header::class_code + 1, 2) != class_of::host_bridge) return;
    host_bridge->config().set_bits(header::status, 2, status::received_master_abort);
}

// A cycle to nobody is how software looks for devices: no error (PCI 3.0, 6.1).
std::uint32_t RootComplex::read_config(RequesterId target, unsigned offset, unsigned size) {
    if (const auto value = bus_.read_config(target, offset, size)) return *value;
    ++unclaimed_config_;
    return static_cast<std::uint32_t>(sim::mask_of(8 * size - 1, 0));
}

void RootComplex::write_config(RequesterId target, unsigned offset, unsigned size, std::uint32_t value) {
    if (!bus_.write_config(target, offset, size, value)) ++unclaimed_config_;
}

namespace {

bool fits(std::uint64_t address, std::size_t bytes) {
    return address + (bytes - 1) >= address;
}

// Any of the bytes, which are few.
bool in_message_window(std::uint64_t address, std::size_t bytes) {
    return address - (RootComplex::message_window - (bytes - 1)) < RootComplex::message_window_bytes + (bytes - 1);
}

}  // namespace

DmaStatus RootComplex::dma_read(RequesterId requester, std::uint64_t address, std::span<std::byte> out) {
    if (out.empty()) return DmaStatus::ok;
    if (!fits(address, out.size()) || in_message_window(address, out.size())) return DmaStatus::unsupported;
    return host_.read_memory(requester, address, out);
}

DmaStatus RootComplex::dma_write(RequesterId requester, std::uint64_t address, std::span<const std::byte> data) {
    if (data.empty()) return DmaStatus::ok;
    if (!fits(address, data.size())) return DmaStatus::unsupported;
    if (!in_message_window(address, data.size())) return host_.write_memory(requester, address, data);
    // A device that writes a dword there by hand sends a message, with its own identity.
    std::uint32_t value = 0;
    if (data.size() != sizeof value || address % sizeof value != 0) return DmaStatus::unsupported;
    std::memcpy(&value, data.data(), sizeof value);
    message({address, value, requester});
    return DmaStatus::ok;
}

// It is a write like any other: what software has addressed to memory lands there (PCIe 6.0, 6.1.4).
void RootComplex::message(const InterruptMessage& message) {
    if (!in_message_window(message.address, sizeof message.data)) {
        const auto data = std::as_bytes(std::span{&message.data, 1});
        if (fits(message.address, data.size())) {
            (void)host_.write_memory(message.requester, message.address, data);
        }
        return;
    }
    ++messages_;
    scope_.trace("message", message.requester.value, message.address, message.data);
    host_.interrupt(message);
}

void RootComplex::line(unsigned line, bool asserted) {
    scope_.trace("line", line, asserted ? 1 : 0);
    host_.line(line, asserted);
}

}  // namespace pci
