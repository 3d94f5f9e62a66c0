// The part of the module _verdigris for what stands around a guest: networks, disks, services.
#pragma once

#include <pybind11/pybind11.h>

namespace models {
class Guest;
}

namespace python {

class Machine;

using GuestClass = pybind11::class_<models::Guest, std::unique_ptr<models::Guest, pybind11::nodelete>>;
using MachineClass = pybind11::class_<Machine, std::unique_ptr<Machine, pybind11::nodelete>>;

void bind_migration(pybind11::module_& module, GuestClass& guest, MachineClass& machine);
void bind_pci(pybind11::module_& module, GuestClass& guest, MachineClass& machine);
void bind_translation(pybind11::module_& module);
void bind_workload(pybind11::module_& module, MachineClass& machine);
void bind_devices(pybind11::module_& module, GuestClass& guest, MachineClass& machine);

}  // namespace python
