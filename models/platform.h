// The SystemC platform: one module whose one method drains the machine's agenda, so that every run happens under
// sc_start and other SystemC models share its time. No SystemC header is needed to use it; models/platform_module.h has
// the module itself with its TLM-2.0 socket.
//
// SystemC is elaborated once per process and its time never goes back. So there is one platform per process; it is
// handed a machine for each run and keeps the offset between that machine's time and SystemC's. Other modules must be
// made before the first run.
#pragma once

#include <cstdint>
#include <functional>

#include "mmu/system_memory.h"
#include "sim/agenda.h"
#include "sim/time.h"

namespace models {

// What the platform drives. Its clock starts at 0 and is the agenda's.
class Machine {
public:
    virtual sim::Time now() const = 0;
    // never() when nothing is left to happen.
    virtual sim::Time next_event() const = 0;
    // Carries out the earliest event; its time becomes now.
    virtual void run_next() = 0;
    // Moves the clock to `t`, before which nothing happens any more.
    virtual void advance_clock(sim::Time t) = 0;

protected:
    ~Machine() = default;
};

// A machine that is an agenda and nothing else.
class AgendaMachine final : public Machine {
public:
    explicit AgendaMachine(sim::Agenda& agenda) : agenda_(agenda) {}
    sim::Time now() const override { return agenda_.now(); }
    sim::Time next_event() const override { return agenda_.next_event(); }
    void run_next() override { agenda_.run_next(); }
    void advance_clock(sim::Time t) override { agenda_.run_until(t); }

private:
    sim::Agenda& agenda_;
};

enum class RunEnd : std::uint8_t {
    time,     // `until` is reached and the clock stands there
    stopped,  // `stop` said so; the clock stands at the last event
    idle,     // nothing is left to happen, in the machine or in another SystemC model
};

class PlatformModule;

class Platform final {
public:
    static Platform& instance();

    // Runs the machine's events up to and including `until`, interleaved by time with those of other SystemC models; at
    // equal times the machine goes first. `stop` is asked before each event. An exception that an event throws ends the
    // run and comes out of here unchanged; the machine may be run again if the exception's owner says so.
    // `until` may be never(). Not to be called from within a run.
    RunEnd run(Machine& machine, sim::Time until, const std::function<bool()>& stop);

    // The memory behind the TLM socket, from now on; an empty view detaches.
    void set_memory(const mmu::SystemMemory& memory);

    // Another SystemC model has changed the machine's agenda: look again. Only during a run.
    void poke();

    // Another SystemC model has something to do. To be asked from `stop`.
    bool others_pending() const;

    PlatformModule& module() { return module_; }

private:
    explicit Platform(PlatformModule& module) : module_(module) {}
    PlatformModule& module_;
};

}  // namespace models
