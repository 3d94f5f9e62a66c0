// Anybody's TLM-2.0 device as a PCI function of our host: accesses to its BAR 0 become transactions on the device's
// target socket, the device's own transactions reach the memory of whoever has the function, its interrupt wires become
// MSI-X vectors. To the host it is a function as any other; BAR 2 has the MSI-X table.
#pragma once

#include <tlm_utils/simple_initiator_socket.h>
#include <tlm_utils/simple_target_socket.h>

#include <cstdint>
#include <memory>
#include <systemc>

#include "models/pci/host_pci.h"
#include "pci/message_interrupts.h"
#include "sim/agenda.h"

namespace models::systemc {

struct TlmFunctionConfig {
    std::uint16_t vendor = 0x5647, device = 0x0002;
    std::uint16_t class_of = 0x1180;        // data processing, other
    std::uint64_t bar_bytes = 4096;         // of the device's registers, a power of two from 4096 on
    unsigned vectors = 1;                   // 1 to 64: interrupt wires
    sim::Time memory = sim::Time::ns(250);  // assumed: what the host's memory takes, there and back
};

class TlmFunction final : public sc_core::sc_module, private pci::FunctionModel {
public:
    // To the device's target, with offsets in BAR 0. Blocking transport whose target must not wait: the delay that it
    // annotates is what a processor waits for a read. Its time is SystemC's plus the delay that it is given, as
    // everywhere in TLM-2.0: the host may be ahead of SystemC.
    tlm_utils::simple_initiator_socket<TlmFunction> registers;
    // From the device's initiator: memory as the function sees it.
    tlm_utils::simple_target_socket<TlmFunction> memory;
    // Rising edges are messages. All must be bound.
    sc_core::sc_vector<sc_core::sc_in<bool>> interrupts;
    // The function is reset, which comes between one user and the next: the device has to forget all.
    sc_core::sc_event reset;

    // Before the first run, and gone before `host`.
    TlmFunction(const sc_core::sc_module_name& name, const sim::Scope& scope, HostPci& host,
                const TlmFunctionConfig& config = {});
    TlmFunction(const TlmFunction&) = delete;
    ~TlmFunction() override;

    // For HostPci: already placed.
    const HostFunction& placed() const { return placed_; }
    pci::Function& function() { return function_; }

    // The device's state is not ours to save.
    template <class Archive>
    void fields(Archive&) {
        refuse_checkpoint();
    }

private:
    // pci::FunctionModel
    std::uint64_t read_bar(unsigned bar, std::uint64_t offset, unsigned size) override;
    void write_bar(unsigned bar, std::uint64_t offset, unsigned size, std::uint64_t value) override;
    void function_reset(pci::ResetKind kind) override;

    bool access(tlm::tlm_command command, std::uint64_t offset, unsigned size, std::uint64_t& value);
    void stop_before_device();
    void transport(tlm::tlm_generic_payload& transaction, sc_core::sc_time& delay);
    void interrupted();
    [[noreturn]] void refuse_checkpoint() const;

    sim::Scope scope_;
    HostPci& host_;
    TlmFunctionConfig config_;
    pci::Function function_;
    pci::MsiX msix_;
    HostFunction placed_;
    sim::Timer device_acts_;  // so that processors don't run on beyond it
    sim::Counter& errors_;
    sim::StateRegistration registration_;
};

}  // namespace models::systemc
