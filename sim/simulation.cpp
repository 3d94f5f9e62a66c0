#include "sim/simulation.h"

#include <utility>

namespace sim {

namespace {
constexpr std::uint64_t checkpoint_magic = 0x36'4b'43'47'56ull;  // "VGCK6"
}

// The components come first: what is of another machine is refused before anything of this one has changed.
std::vector<std::byte> Simulation::save() {
    trace_.fold();
    Writer writer;
    writer(checkpoint_magic, static_cast<std::uint64_t>(states_.size()));
    for (const auto& [id, state] : states_) writer(state.path);
    writer(seed_, agenda_, trace_, statistics(), journeys_);
    for (const auto& [id, state] : states_) {
        Writer part;
        state.save(part);
        writer(part.data().size());
        writer.bytes(part.data());
    }
    return writer.take();
}

void Simulation::restore(std::span<const std::byte> checkpoint) {
    Reader reader{checkpoint};
    std::uint64_t magic = 0;
    std::uint64_t count = 0;
    reader(magic);
    if (magic != checkpoint_magic) throw UserError("checkpoint: this is not a Verdigris checkpoint of this version");
    reader(count);
    if (count != states_.size()) throw UserError("checkpoint: it was taken of a machine with other components");
    for (const auto& [id, state] : states_) {
        std::string path;
        reader(path);
        if (path != state.path) throw UserError("checkpoint: it has " + path + " where this machine has " + state.path);
    }
    reader(seed_, agenda_, trace_, statistics_, journeys_);
    for (const auto& [id, state] : states_) {
        std::size_t size = 0;
        reader(size);
        if (size > reader.remaining()) throw UserError("checkpoint: the data of " + state.path + " ends too early");
        std::vector<std::byte> bytes(size);
        reader.bytes(bytes);
        Reader part{bytes};
        state.restore(part);
        if (part.remaining() != 0)
            throw UserError("checkpoint: data of " + state.path + " is left over; it is of another version");
    }
}

Scope::Scope(Simulation& simulation, std::string_view path)
    : agenda_(&simulation.agenda()),
      trace_(&simulation.trace()),
      component_(std::string{path}),
      journeys_(&simulation.journeys()),
      simulation_(&simulation) {}

Counter& Scope::counter(std::string_view name, std::string_view unit, std::string_view description) const {
    return simulation_->statistics_.counter(path() + "." + std::string{name}, unit, description);
}

Random Scope::random() const {
    return Random{simulation_->seed(), path()};
}
std::uint64_t Scope::seed() const {
    return simulation_->seed();
}

StateRegistration Scope::add_state(std::function<void(Writer&)> save, std::function<void(Reader&)> restore) const {
    const std::uint64_t id = simulation_->next_state_++;
    simulation_->states_.emplace(id, Simulation::Registered{path(), std::move(save), std::move(restore)});
    return StateRegistration{*simulation_, id};
}

void StateRegistration::release() {
    if (simulation_ != nullptr) simulation_->states_.erase(id_);
    simulation_ = nullptr;
}

}  // namespace sim
