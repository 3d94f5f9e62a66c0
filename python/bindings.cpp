// The module _verdigris: what the package `verdigris` needs of the C++ side, no more. Names and defaults that a
// scenario sees, and the reading of times and sizes, are the package's.
#include <fmt/format.h>
#include <pybind11/functional.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>
#include <unistd.h>

#include <array>
#include <climits>
#include <cstring>
#include <exception>

#include "models/profiles.h"
#include "python/bindings_devices.h"
#include "python/host_time.h"
#include "python/interpreter.h"
#include "python/interrupt.h"
#include "python/machine.h"
#include "sim/check.h"

namespace py = pybind11;
using models::Guest;
using models::GuestImage;
using models::GuestState;
using models::Host;
using python::Machine;

namespace {

Machine* current_machine = nullptr;

Machine& machine() {
    if (!current_machine) throw sim::UserError("a scenario is run by `./verdigris run SCENARIO.py`");
    return *current_machine;
}

const char* state_name(GuestState state) {
    switch (state) {
        case GuestState::running:
            return "running";
        case GuestState::powered_off:
            return "powered_off";
        case GuestState::reset:
            return "reset";
        case GuestState::crashed:
            return "crashed";
        case GuestState::triple_fault:
            return "triple_fault";
        case GuestState::debug_exit:
            return "debug_exit";
        case GuestState::halted_forever:
            return "halted_forever";
    }
    return "unknown";
}

const char* stopped_name(Host::Stopped stopped) {
    switch (stopped) {
        case Host::Stopped::time:
            return "time";
        case Host::Stopped::condition:
            return "condition";
        case Host::Stopped::idle:
            return "idle";
        case Host::Stopped::interrupted:
            return "interrupted";
    }
    return "unknown";
}

sim::Time time_or_never(std::optional<std::int64_t> ps) {
    return ps ? sim::Time::ps(*ps) : sim::Time::never();
}

std::vector<std::byte> to_bytes(const py::bytes& bytes) {
    const std::string_view view = bytes;
    const auto* begin = reinterpret_cast<const std::byte*>(view.data());
    return {begin, begin + view.size()};
}

Host& create_host(Machine& self, const std::string& name, unsigned cores, std::uint64_t memory_bytes,
                  const std::string& profile, bool timed, std::int64_t quantum_ps, unsigned nodes) {
    models::HostConfig config;
    config.name = name;
    config.cores = cores;
    config.memory_bytes = memory_bytes;
    config.nodes = nodes;
    config.profile = profile;
    config.fidelity = timed ? models::Fidelity::timed : models::Fidelity::fast;
    config.quantum = sim::Time::ps(quantum_ps);
    return self.create_host(config);
}

Guest& add_partition(Host& self, const std::string& name, unsigned vps, std::uint64_t memory_bytes, bool elf,
                     const py::bytes& kernel, const std::vector<py::bytes>& initramfs, const std::string& command_line,
                     std::uint32_t weight, std::uint32_t reserve, std::uint32_t cap, std::uint64_t affinity,
                     bool screen, unsigned generation, bool behavioural, std::optional<unsigned> node,
                     bool spans_nodes) {
    models::PartitionConfig config;
    config.name = name;
    config.vps = vps;
    config.memory_bytes = memory_bytes;
    config.guest.kind = elf ? GuestImage::Kind::elf : GuestImage::Kind::bzimage;
    config.guest.kernel = to_bytes(kernel);
    for (const py::bytes& archive : initramfs) config.guest.initramfs.push_back(to_bytes(archive));
    config.guest.command_line = command_line;
    config.weight = weight;
    config.reserve = reserve;
    config.cap = cap;
    config.affinity = affinity;
    config.screen = screen;
    config.generation = generation;
    config.behavioural = behavioural;
    config.node = node;
    config.spans_nodes = spans_nodes;
    return self.add_partition(config);
}

const char* run(Machine& self, std::optional<std::int64_t> until_ps, const std::function<bool()>& wake,
                std::optional<std::int64_t> wake_ps) {
    // A Python exception must not travel through the simulation kernel.
    std::exception_ptr failure;
    const auto guarded = [&]() -> bool {
        try {
            return wake();
        } catch (...) {
            if (!failure) failure = std::current_exception();
            return true;
        }
    };
    const auto stopped = self.run(time_or_never(until_ps), guarded, time_or_never(wake_ps));
    if (failure) std::rethrow_exception(failure);
    return stopped_name(stopped);
}

py::dict statistics(Machine& self) {
    py::dict all;
    for (const auto& [name, statistic] : self.simulation().statistics().all()) {
        all[py::str(name)] = py::make_tuple(statistic.counter.value(), statistic.unit, statistic.description);
    }
    return all;
}

py::bytes console_from(const Guest& guest, std::size_t offset) {
    const std::string& text = guest.console();
    return py::bytes(offset < text.size() ? text.substr(offset) : std::string{});
}

void record_check(Machine& self, const std::string& name, bool passed) {
    std::string payload = name;
    payload.push_back(passed ? '\1' : '\0');
    self.scenario().trace_bytes("check", std::as_bytes(std::span{payload}));
}

void record_statistic(Machine& self, const std::string& name, std::uint64_t value, const std::string& unit,
                      const std::string& description) {
    self.scenario().counter(name, unit, description).set(value);
}

// (name, value, unit, origin, what it is, source) of each constant.
py::list profile_constants(const std::string& profile) {
    py::list rows;
    for (const models::Constant& c : models::find_profile(profile).constants) {
        rows.append(py::make_tuple(c.key, c.value, models::unit_name(c.unit), models::origin_name(c.origin), c.meaning,
                                   c.source));
    }
    return rows;
}

std::string executable_path() {
    std::array<char, PATH_MAX> path{};
    const ssize_t length = readlink("/proc/self/exe", path.data(), path.size() - 1);
    return std::string(path.data(), length > 0 ? static_cast<std::size_t>(length) : 0);
}

}  // namespace

namespace python {
void set_machine(Machine* value) {
    current_machine = value;
}
}  // namespace python

PYBIND11_MODULE(_verdigris, module) {
    module.doc() = "The C++ side of Verdigris. Scenarios use the package `verdigris`.";
    module.attr("version") = VG_VERSION;
    module.attr("scenarios") = VG_SCENARIOS;
    module.attr("executable") = executable_path();

    static py::exception<sim::UserError> user_error(module, "UserError", PyExc_Exception);
    user_error.doc() = "A mistake in a scenario, an option or a file: what is wrong, and how to mend it, in one line.";
    py::register_exception_translator([](std::exception_ptr pointer) {
        try {
            if (pointer) std::rethrow_exception(pointer);
        } catch (const sim::UserError& error) {
            PyErr_SetString(user_error.ptr(), error.what());
        }
    });

    module.def("machine", &machine, py::return_value_policy::reference);
    module.def("profile_constants", &profile_constants);
    module.def("interrupted", &python::interrupted);
    module.def("hold_interrupts", &python::hold_interrupts);

    py::class_<python::HostTime>(module, "HostTime").def(py::init()).def("shares", [](python::HostTime& self) {
        const auto shares = self.shares();
        return py::make_tuple(shares.parts, shares.functions);
    });

    py::class_<sim::Random>(module, "Random")
        .def("next_u64", &sim::Random::next_u64)
        .def("below", &sim::Random::below)
        .def("between", &sim::Random::between);

    python::GuestClass guest_class{module, "Guest"};
    guest_class.def_property_readonly("name", &Guest::name)
        .def_property_readonly("number", &Guest::number)
        .def_property_readonly("state", [](const Guest& guest) { return state_name(guest.state()); })
        .def_property_readonly("exit_code", &Guest::exit_code)
        .def_property_readonly("crash_message", [](const Guest& guest) { return py::bytes(guest.crash_message()); })
        .def_property_readonly("console_size", [](const Guest& guest) { return guest.console().size(); })
        .def("console_from", &console_from)
        .def("type", [](Guest& guest, const py::bytes& text) { guest.type(std::string_view(text)); })
        .def_property_readonly("instructions", &Guest::instructions);

    py::class_<Host, std::unique_ptr<Host, py::nodelete>>(module, "Host")
        .def("add_partition", &add_partition, py::return_value_policy::reference, py::kw_only(), py::arg("name"),
             py::arg("vps"), py::arg("memory_bytes"), py::arg("elf"), py::arg("kernel"), py::arg("initramfs"),
             py::arg("command_line"), py::arg("weight"), py::arg("reserve"), py::arg("cap"), py::arg("affinity"),
             py::arg("screen"), py::arg("generation"), py::arg("behavioural") = false, py::arg("node") = py::none(),
             py::arg("spans_nodes") = false);

    python::MachineClass machine_class{module, "Machine"};
    machine_class
        .def("create_host", &create_host, py::return_value_policy::reference, py::kw_only(), py::arg("name"),
             py::arg("cores"), py::arg("memory_bytes"), py::arg("profile"), py::arg("timed"), py::arg("quantum_ps"),
             py::arg("nodes") = 1)
        .def("run", &run, py::arg("until_ps"), py::arg("wake"), py::arg("wake_ps"))
        .def_property_readonly("now_ps", [](const Machine& self) { return self.now().ps(); })
        .def_property_readonly("instructions", &Machine::instructions)
        .def_property_readonly("seed", [](Machine& self) { return self.simulation().seed(); })
        .def("random", [](Machine& self) { return self.scenario().random(); })
        .def("record_check", &record_check)
        .def("record_statistic", &record_statistic)
        .def("statistics", &statistics)
        .def("trace_hash", [](Machine& self) { return self.simulation().trace().hash(); })
        .def("save",
             [](Machine& self) {
                 const auto bytes = self.simulation().save();
                 return py::bytes(reinterpret_cast<const char*>(bytes.data()), bytes.size());
             })
        .def("restore",
             [](Machine& self, const py::bytes& checkpoint) { self.simulation().restore(to_bytes(checkpoint)); })
        .def("write_trace", &Machine::write_trace)
        .def("write_perfetto", &Machine::write_perfetto)
        .def("write_vcd", &Machine::write_vcd)
        .def("close_trace", &Machine::close_trace);
    python::bind_devices(module, guest_class, machine_class);
    python::bind_pci(module, guest_class, machine_class);
    python::bind_workload(module, machine_class);
    python::bind_translation(module);
    python::bind_migration(module, guest_class, machine_class);
}
