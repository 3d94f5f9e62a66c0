// The part of the module _verdigris for live migration.
#include <fmt/format.h>
#include <pybind11/stl.h>

#include "models/migration/live_migration.h"
#include "models/profiles.h"
#include "models/synthetic_devices.h"
#include "python/bindings_devices.h"
#include "python/machine.h"
#include "sim/check.h"

namespace py = pybind11;
using models::Guest;
using models::Host;
using models::LiveMigration;

namespace python {

namespace {

// With the partition at the destination, where the guest is once it is over.
struct Migration {
    Migration(const sim::Scope& scope, Guest& source, Guest& to, const models::MigrationSettings& settings)
        : destination(to), live(scope, *source.movable(), *to.movable(), settings) {}
    Guest& destination;
    LiveMigration live;
};

Migration& migrate(Machine& machine, Guest& guest, Host& from, Host& to, const std::string& name,
                   std::uint64_t bits_per_second, std::int64_t delay_ps, unsigned rounds, std::uint64_t threshold) {
    const auto refuse = [&guest](const std::string& why) {
        throw sim::UserError(fmt::format("migration of partition {}: {}", guest.name(), why));
    };
    models::MovablePartition* source = guest.movable();
    if (source == nullptr) refuse("its host moves none");
    if (from.config().profile != to.config().profile || from.config().fidelity != to.config().fidelity) {
        refuse("the hosts have different processors; give them one profile and fidelity");
    }
    if (const std::string why = source->obstacle(); !why.empty()) refuse(why);
    models::MigrationSettings settings;
    settings.bits_per_second = bits_per_second;
    settings.delay = sim::Time::ps(delay_ps);
    settings.rounds = rounds;
    settings.threshold = threshold;
    settings.costs = models::find_profile(from.config().profile).migration_costs;
    Guest* prepared = to.prepare_partition(source->config());
    if (prepared == nullptr) refuse("the other host takes none");
    try {
        return machine.keep(
            std::make_unique<Migration>(machine.simulation().scope("migration." + name), guest, *prepared, settings));
    } catch (const sim::UserError&) {
        prepared->movable()->give_up();
        throw;
    }
}

py::list rounds(const Migration& self) {
    py::list all;
    for (const models::MigrationRound& round : self.live.rounds()) {
        all.append(py::make_tuple(round.pages, round.bytes, round.time.ps()));
    }
    return all;
}

models::SyntheticNic& network(Guest& guest, std::size_t index) {
    const auto& all = guest.devices().networks();
    VG_CHECK(index < all.size());
    return *all[index];
}

}  // namespace

void bind_migration(py::module_& module, GuestClass& guest, MachineClass& machine) {
    constexpr auto reference = py::return_value_policy::reference;
    py::class_<Migration, std::unique_ptr<Migration, py::nodelete>>(module, "Migration")
        .def_property_readonly("over", [](const Migration& self) { return self.live.over(); })
        .def_property_readonly("arrived",
                               [](const Migration& self) { return self.live.phase() == LiveMigration::Phase::done; })
        .def_property_readonly(
            "destination", [](Migration& self) -> Guest& { return self.destination; }, reference)
        .def_property_readonly("bytes", [](const Migration& self) { return self.live.bytes(); })
        .def_property_readonly("state_bytes", [](const Migration& self) { return self.live.state_bytes(); })
        .def_property_readonly("began_ps", [](const Migration& self) { return self.live.began().ps(); })
        .def_property_readonly("total_ps", [](const Migration& self) { return self.live.total().ps(); })
        .def_property_readonly("blackout_ps", [](const Migration& self) { return self.live.blackout().ps(); })
        .def("rounds", &rounds)
        .def("give_up", [](Migration& self) { self.live.give_up(); });
    machine.def("migrate", &migrate, reference);
    guest.def("network", &network, reference);
}

}  // namespace python
