#include "models/systemc/agenda_process.h"

#include "sim/check.h"

namespace models::systemc {

AgendaProcess::AgendaProcess(const sc_core::sc_module_name& module_name, sim::Agenda& agenda)
    : sc_module(module_name), agenda_(agenda), wake_("wake") {
    VG_CHECK(sc_core::sc_get_time_resolution() == sc_core::sc_time(1, sc_core::SC_PS));
    SC_HAS_PROCESS(AgendaProcess);
    SC_METHOD(drain);
    sensitive << wake_;
}

void AgendaProcess::catch_up() {
    VG_CHECK(!running_, "a model is entered from within one of its own events");
    running_ = true;
    agenda_.run_until(from_systemc(sc_core::sc_time_stamp()));
    running_ = false;
}

void AgendaProcess::drain() {
    catch_up();
    const sim::Time next = agenda_.next_event();
    if (!next.is_never()) next_trigger(to_systemc(next) - sc_core::sc_time_stamp(), wake_);
}

}  // namespace models::systemc
