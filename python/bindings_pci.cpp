// The part of the module _verdigris for PCI devices of the host and their assignment.
#include <fmt/format.h>
#include <pybind11/stl.h>

#include "models/host_networks.h"
#include "models/pci/adapter_cable.h"
#include "models/pci/example_function.h"
#include "models/pci/host_adapter.h"
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

// What stands before the names of all that belongs to the host.
std::string prefix_of(const models::Host& host) {
    const std::string& name = host.config().name;
    return name.empty() ? std::string{} : name + ".";
}

std::unique_ptr<PciDevice> add_example_device(Machine& machine, models::Host& host, const std::string& name) {
    models::HostPci& pci = host.pci();
    pci::Bus& bus = pci.add_root_port();
    const sim::Scope scope = machine.simulation().scope(prefix_of(host) + "host.pci." + name);
    auto& device = pci.keep(std::make_unique<models::ExampleFunction>(scope, bus.slot(0, 0)));
    return std::make_unique<PciDevice>(PciDevice{name, pci.place(device.function())});
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

// A network adapter with virtual functions
// ----------------------------------------------------------------------------------------------------------------

// The adapter with its cable, which goes into a rack switch: its own, or that of another adapter, perhaps of another
// host.
struct Adapter final : models::HostDevice {
    Adapter(const sim::Scope& scope, models::HostPci& pci, std::span<sim::Processor* const> processors,
            const models::HostAdapterConfig& config, models::Network& beyond, const std::string& port_name)
        : rack(beyond),
          adapter(scope, pci, processors, config),
          cable(scope.child("cable"), adapter, rack, port_name) {}
    pci::Function& function() override { return adapter.function(); }

    models::Network& rack;
    models::HostAdapter adapter;
    models::AdapterCable cable;
};

// The processors of the root that serve its queues: those that are named, or the first of its node.
std::vector<sim::Processor*> queue_processors(models::HostPci& pci, const models::HostAdapterConfig& config,
                                              const std::vector<std::uint32_t>& named) {
    const auto& all = pci.processors();
    if (config.node >= pci.nodes().count) {
        throw sim::UserError(
            fmt::format("adapter {}: node {}: the host has {}", config.name, config.node, pci.nodes().count));
    }
    std::vector<sim::Processor*> chosen;
    for (const std::uint32_t n : named) {
        if (n >= all.size()) {
            throw sim::UserError(fmt::format("adapter {}: the host has no processor {}: it has 0 to {}", config.name, n,
                                             all.size() - 1));
        }
        chosen.push_back(all[n]);
    }
    if (chosen.empty()) chosen.push_back(all.at(pci.nodes().first_processor(config.node)));
    return chosen;
}

Adapter& add_adapter(Machine& machine, models::Host& host, const std::string& name, const std::string& mac,
                     unsigned vfs, unsigned queues_per_pool, unsigned node,
                     const std::vector<std::uint32_t>& processors, unsigned vmqs, unsigned queues_per_vmq,
                     std::int64_t rebalance_ps, Adapter* beside) {
    models::HostAdapterConfig config;
    config.name = name;
    config.mac = models::mac_address(mac);
    config.vfs = vfs;
    config.queues_per_pool = queues_per_pool;
    config.node = node;
    config.vmqs = vmqs;
    config.queues_per_vmq = queues_per_vmq;
    config.rebalance = sim::Time::ps(rebalance_ps);
    models::HostPci& pci = host.pci();
    const auto serving = queue_processors(pci, config, processors);
    models::Network& rack = beside != nullptr ? beside->rack : host.networks().add_switch(name + "-rack", {});
    const sim::Scope scope = machine.simulation().scope(prefix_of(host) + "host.pci." + name);
    const std::string port = beside != nullptr ? host.config().name + "-" + name : name;
    Adapter& made = pci.keep(std::make_unique<Adapter>(scope, pci, serving, config, rack, port));
    made.adapter.capture(host.networks().captures());
    return made;
}

void connect_switch(Adapter& self, models::Network& network) {
    self.adapter.connect_switch(network.ports(), self.adapter.name());
    network.capture(self.adapter.uplink(), self.adapter.name());
}

models::VfPairing& add_vf(Guest& guest, models::SyntheticNic& nic, Adapter& adapter, const std::string& name,
                          const std::string& mac, bool mailbox) {
    const auto kind = mailbox ? sriov_nic::VfKind::mailbox : sriov_nic::VfKind::hyper_v;
    models::VfSource& source = adapter.adapter.reserve_vf(models::mac_address(mac), kind);
    return guest.pci().pair(name, nic, source);
}

py::list moments(const models::VfPairing& pairing) {
    py::list all;
    for (const auto& moment : pairing.moments()) {
        all.append(py::make_tuple(std::string{models::VfPairing::name_of(moment.step)}, moment.at.ps()));
    }
    return all;
}

py::dict vf_counts(Adapter& self, unsigned vf) {
    const sriov_nic::FunctionStatistics& counts = self.adapter.vf_statistics(vf);
    py::dict all;
    all["received"] = counts.received;
    all["received_octets"] = counts.received_octets;
    all["sent"] = counts.sent;
    all["sent_octets"] = counts.sent_octets;
    return all;
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
    py::class_<Adapter, std::unique_ptr<Adapter, py::nodelete>>(module, "Adapter")
        .def("connect_switch", &connect_switch)
        .def(
            "rack", [](Adapter& self) { return &self.rack; }, py::return_value_policy::reference)
        .def("add_address", [](Adapter& self, const std::string& mac,
                               bool queues) { self.adapter.add_host_address(models::mac_address(mac), queues); })
        .def("remove_address",
             [](Adapter& self, const std::string& mac) { self.adapter.remove_host_address(models::mac_address(mac)); })
        .def("queue_processors", [](Adapter& self) { return self.adapter.queue_processors(); })
        .def("reserved", [](Adapter& self) { return self.adapter.reserved(); })
        .def("next_vf", [](Adapter& self) { return self.adapter.next_vf(); })
        .def("release_vf", [](Adapter& self, unsigned number) { self.adapter.release_vf(number); })
        .def("vf_counts", &vf_counts);
    using Pairing = models::VfPairing;
    py::class_<Pairing, std::unique_ptr<Pairing, py::nodelete>>(module, "VfPairing")
        .def_property_readonly("given", &Pairing::given)
        .def_property_readonly("on_vf", &Pairing::traffic_on_vf)
        .def("moments", &moments)
        .def("offer", &Pairing::offer)
        .def("revoke", &Pairing::revoke)
        .def("withdraw", &Pairing::withdraw);
    machine.def("add_example_device", &add_example_device)
        .def("add_adapter", &add_adapter, py::return_value_policy::reference, py::arg("host"), py::arg("name"),
             py::arg("mac"), py::arg("vfs"), py::arg("queues_per_pool"), py::arg("node"), py::arg("processors"),
             py::arg("vmqs"), py::arg("queues_per_vmq"), py::arg("rebalance_ps"), py::arg("beside").none(true));
    guest.def("assign_pci", &assign, py::return_value_policy::reference)
        .def("add_vf", &add_vf, py::return_value_policy::reference);
}

}  // namespace python
