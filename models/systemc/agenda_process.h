// Time for a model of ours that stands alone among SystemC modules: a process that carries out its agenda's events at
// their times. The other way round, SystemC modules beside a whole host of ours, is models/platform_module.h.
#pragma once

#include <systemc>

#include "sim/agenda.h"

namespace models::systemc {

// sim::Time counts what SystemC counts at its default resolution.
inline sc_core::sc_time to_systemc(sim::Time t) {
    return sc_core::sc_time::from_value(static_cast<sc_dt::uint64>(t.ps()));
}
inline sim::Time from_systemc(const sc_core::sc_time& t) {
    return sim::Time::ps(static_cast<std::int64_t>(t.value()));
}

class AgendaProcess final : public sc_core::sc_module {
public:
    AgendaProcess(const sc_core::sc_module_name& name, sim::Agenda& agenda);

    // Brings the agenda to SystemC's time: before anything from outside reaches the model.
    void catch_up();
    sim::Agenda& agenda() { return agenda_; }
    // Something from outside has reached it: look again when its next event is.
    void changed() { wake_.notify(sc_core::SC_ZERO_TIME); }

private:
    void drain();

    sim::Agenda& agenda_;
    sc_core::sc_event wake_;
    bool running_ = false;
};

}  // namespace models::systemc
