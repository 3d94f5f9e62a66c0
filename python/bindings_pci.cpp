// The part of the module _verdigris for PCI devices of the host and their assignment.
#include <fmt/format.h>
#include <pybind11/stl.h>

#include "models/pci/example_function.h"
#include "models/pci/partition_pci.h"
#include "python/bindings_devices.h"
#include "python/machine.h"
#include "sim/check.h"

namespace py = pybind11;
using models::Guest;

namespace python {

namespace {

// A device of the host's, where it lies there.
struct PciDevice {
    std::string name;
    models::HostFunction function;
};

std::unique_ptr<PciDevice> add_example_device(Machine& machine, const std::string& name) {
    models::HostPci& pci = machine.host().pci();
    pci::Bus& bus = pci.add_root_port();
    auto& device = pci.keep(
        std::make_unique<models::ExampleFunction>(machine.simulation().scope("host.pci." + name), bus.slot(0, 0)));
    return std::make_unique<PciDevice>(PciDevice{name, pci.place(device.function(), device.layout())});
}

std::string place_of(const PciDevice& device) {
    const pci::RequesterId id = device.function.id;
    return fmt::format("{:02x}:{:02x}.{}", id.bus(), id.device(), id.function());
}

models::AssignedFunction& assign(Guest& guest, const std::string& name, const PciDevice& device) {
    return guest.pci().assign(name, device.function);
}

void give_again(models::AssignedFunction& place, const PciDevice& device) {
    if (place.given()) throw sim::UserError(fmt::format("PCI device {}: the partition has it", device.name));
    models::HostFunction function = device.function;
    function.identity.serial = place.function().identity.serial;
    if (!place.give(function)) {
        throw sim::UserError(fmt::format("PCI device {}: another partition has it; take it from there", device.name));
    }
}

}  // namespace

void bind_pci(py::module_& module, GuestClass& guest, MachineClass& machine) {
    py::class_<PciDevice>(module, "PciDevice")
        .def_readonly("name", &PciDevice::name)
        .def_property_readonly("place", &place_of);
    using Assigned = models::AssignedFunction;
    py::class_<Assigned, std::unique_ptr<Assigned, py::nodelete>>(module, "AssignedFunction")
        .def_property_readonly("given", &Assigned::given)
        .def_property_readonly("in_use", &Assigned::in_use)
        .def("eject", &Assigned::eject)
        .def("take", &Assigned::take)
        .def("give", &give_again);
    machine.def("add_example_device", &add_example_device);
    guest.def("assign_pci", &assign, py::return_value_policy::reference);
}

}  // namespace python
