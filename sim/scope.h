// A component's place in the machine: its path name and, through it, the services of the run. It is what a component
// takes instead of a pointer to the world.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>

#include "sim/agenda.h"
#include "sim/archive.h"
#include "sim/journey.h"
#include "sim/random.h"
#include "sim/statistics.h"
#include "sim/trace.h"

namespace sim {

class Simulation;

// Keeps a component in the checkpoint's list for as long as it lives. Held by the component as a member.
class [[nodiscard]] StateRegistration {
public:
    StateRegistration() = default;
    StateRegistration(Simulation& simulation, std::uint64_t id) : simulation_(&simulation), id_(id) {}
    ~StateRegistration() { release(); }
    StateRegistration(StateRegistration&& other) noexcept : simulation_(other.simulation_), id_(other.id_) {
        other.simulation_ = nullptr;
    }
    StateRegistration& operator=(StateRegistration&& other) noexcept {
        release();
        simulation_ = other.simulation_;
        id_ = other.id_;
        other.simulation_ = nullptr;
        return *this;
    }

private:
    void release();
    Simulation* simulation_ = nullptr;
    std::uint64_t id_ = 0;
};

class Scope {
public:
    Scope(Simulation& simulation, std::string_view path);

    Scope child(std::string_view name) const { return Scope{*simulation_, path() + "." + std::string{name}}; }
    const std::string& path() const { return component_.path(); }

    Agenda& agenda() const { return *agenda_; }
    Time now() const { return agenda_->now(); }
    Journeys& journeys() const { return *journeys_; }

    // One record: what happened, in 64-bit words.
    template <class... Word>
    void trace(TraceKind kind, Word... words) const {
        trace_->record(agenda_->now(), component_, kind, words...);
    }
    void trace_bytes(TraceKind kind, std::span<const std::byte> bytes) const {
        trace_->record_bytes(agenda_->now(), component_, kind, bytes);
    }

    Counter& counter(std::string_view name, std::string_view unit, std::string_view description) const;
    Random random() const;
    std::uint64_t seed() const;

    // `state` has fields(archive), or save(Writer&) const and restore(Reader&). It must outlive the registration.
    template <class State>
    StateRegistration register_state(State& state) const {
        if constexpr (requires(State & s, Writer & w, Reader & r) {
                          s.save(w);
                          s.restore(r);
                      }) {
            return add_state([&state](Writer& w) { state.save(w); }, [&state](Reader& r) { state.restore(r); });
        } else {
            return add_state([&state](Writer& w) { w(state); }, [&state](Reader& r) { r(state); });
        }
    }

private:
    StateRegistration add_state(std::function<void(Writer&)> save, std::function<void(Reader&)> restore) const;

    Agenda* agenda_;
    Trace* trace_;
    TraceComponent component_;
    Journeys* journeys_;
    Simulation* simulation_;
};

}  // namespace sim
