// The platform as a SystemC module, for those who plug their own TLM-2.0 models into a simulated host.
#pragma once

#include <tlm_utils/simple_target_socket.h>

#include <exception>
#include <functional>
#include <systemc>

#include "models/platform.h"

namespace models {

class PlatformModule final : public sc_core::sc_module {
public:
    // Reads and writes the simulated host's system physical memory. Need not be bound.
    tlm_utils::simple_target_socket_optional<PlatformModule> memory;
    // What one transaction takes, beyond the initiator's own delay.
    sc_core::sc_time memory_latency = sc_core::SC_ZERO_TIME;

    explicit PlatformModule(const sc_core::sc_module_name& name);

    RunEnd run(Machine& machine, sim::Time until, const std::function<bool()>& stop);
    void set_memory(const mmu::SystemMemory& view) { view_ = view; }
    bool others_pending() const { return !others_next().is_never(); }
    // How far the machine is ahead of SystemC's clock, during a run; a TLM-2.0 delay for what it asks of others.
    sim::Time lead() const;
    void poke() { wake_.notify(sc_core::SC_ZERO_TIME); }

private:
    struct Run {
        Machine* machine;
        sim::Time until;
        const std::function<bool()>* stop;
        bool over = false;
        RunEnd end = RunEnd::time;
        std::exception_ptr error;
    };

    void drain();
    bool step();
    bool finish(RunEnd end);
    void trigger_at(sim::Time t);
    sim::Time systemc_time() const;
    sim::Time others_next() const;

    void transport(tlm::tlm_generic_payload& transaction, sc_core::sc_time& delay);
    unsigned debug(tlm::tlm_generic_payload& transaction);
    bool direct_access(tlm::tlm_generic_payload& transaction, tlm::tlm_dmi& dmi);
    tlm::tlm_response_status access(tlm::tlm_generic_payload& transaction);

    sc_core::sc_event wake_;
    mmu::SystemMemory view_;
    Machine* base_of_ = nullptr;  // whose time `base_` is for
    sc_core::sc_time base_;       // SystemC's time at the machine's time 0
    Run* run_ = nullptr;
};

}  // namespace models
