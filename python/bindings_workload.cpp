// The part of the module _verdigris for guests that execute no instructions: their networks, and what they do.
#include <fmt/format.h>
#include <pybind11/stl.h>

#include <map>
#include <memory>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "models/host_networks.h"
#include "models/profiles.h"
#include "models/workload/cpu_load.h"
#include "models/workload/datagram_flow.h"
#include "models/workload/guest_network.h"
#include "models/workload/memory_writer.h"
#include "models/workload/mixture.h"
#include "models/workload/peer_sockets.h"
#include "models/workload/request_client.h"
#include "models/workload/request_server.h"
#include "models/workload/storage_mix.h"
#include "models/workload/stream_flow.h"
#include "python/bindings_devices.h"
#include "python/machine.h"
#include "sim/check.h"

namespace py = pybind11;
using models::Guest;
using models::Sockets;
using models::Workload;

namespace python {

namespace {

// low, high, weight
using ChoiceItems = std::vector<std::tuple<std::uint64_t, std::uint64_t, std::uint64_t>>;
// address, port
using EndText = std::pair<std::string, std::uint16_t>;

models::Choice choice(const ChoiceItems& items, const std::string& what) {
    std::vector<models::Choice::Item> list;
    for (const auto& [low, high, weight] : items) list.push_back({low, high, weight});
    return models::Choice(std::move(list), what);
}

models::TcpEndpoint endpoint(const EndText& end) {
    return {models::ip_address(end.first), end.second};
}

models::ArrivalSettings arrivals(const py::dict& given) {
    static const std::map<std::string, models::ArrivalKind> kinds{
        {"closed", models::ArrivalKind::closed},   {"constant", models::ArrivalKind::constant},
        {"poisson", models::ArrivalKind::poisson}, {"on_off", models::ArrivalKind::on_off},
        {"trace", models::ArrivalKind::trace},     {"external", models::ArrivalKind::external}};
    models::ArrivalSettings settings;
    settings.kind = kinds.at(given["kind"].cast<std::string>());
    settings.per_kilosecond = given["per_kilosecond"].cast<std::uint64_t>();
    settings.on = sim::Time::ps(given["on_ps"].cast<std::int64_t>());
    settings.off = sim::Time::ps(given["off_ps"].cast<std::int64_t>());
    settings.random_periods = given["random_periods"].cast<bool>();
    for (const auto& [at_ps, bytes] : given["trace"].cast<std::vector<std::pair<std::int64_t, std::uint64_t>>>()) {
        settings.trace.push_back({sim::Time::ps(at_ps), bytes});
    }
    return settings;
}

models::BehaviouralGuest& behavioural(Guest& guest) {
    models::BehaviouralGuest* found = guest.behavioural();
    if (found == nullptr) {
        throw sim::UserError(
            fmt::format("{}: only a partition with guest=vg.Behavioural() has workloads of its own", guest.name()));
    }
    return *found;
}

sim::Scope scope_of(Machine& machine, const std::string& name) {
    return machine.simulation().scope("workload." + name);
}

models::GuestNetwork& add_guest_network(Machine& machine, Guest& guest, const std::string& name,
                                        const std::string& path, const std::string& mac, const std::string& address,
                                        std::uint16_t channels, const std::string& profile, bool mailbox,
                                        const std::string& moderation, std::int64_t interval_ps, std::uint16_t queues) {
    models::GuestNetworkConfig config;
    config.queues = queues;
    config.path = models::network_path(path);
    config.channels = channels;
    config.mailbox = mailbox;
    config.interval = sim::Time::ps(interval_ps);
    if (moderation == "low latency") config.moderation = models::Moderation::low_latency;
    if (moderation == "fixed") config.moderation = models::Moderation::fixed;
    const models::IpPrefix prefix = models::ip_prefix(address);
    if (!prefix.address.is_v4()) throw sim::UserError(fmt::format("{}: {} is no IPv4 address", name, address));
    config.host.mac = models::mac_address(mac);
    config.host.ipv4 = prefix.address;
    config.host.ipv4_prefix_length = prefix.length;
    return machine.keep(std::make_unique<models::GuestNetwork>(scope_of(machine, name), behavioural(guest),
                                                               models::find_profile(profile), config));
}

Sockets& add_peer_sockets(Machine& machine, models::NetworkPeer& peer, const std::string& name) {
    return machine.keep(std::make_unique<models::PeerSockets>(scope_of(machine, name), peer.peer()));
}

// Workloads
// ----------------------------------------------------------------------------------------------------------------

void add_request_server(Machine& machine, Sockets& sockets, const std::string& name, std::uint16_t port,
                        std::int64_t service_ps) {
    machine.keep(std::make_unique<models::RequestServer>(
        scope_of(machine, name), sockets,
        models::RequestServer::Settings{.port = port, .service = sim::Time::ps(service_ps)}));
}

Workload& add_request_client(Machine& machine, Sockets& sockets, const std::string& name, const EndText& to,
                             const py::dict& given) {
    models::RequestClient::Settings settings;
    settings.to = endpoint(to);
    settings.datagrams = given["datagrams"].cast<bool>();
    settings.local_port = given["local_port"].cast<std::uint16_t>();
    settings.connections = given["connections"].cast<std::uint32_t>();
    settings.request = choice(given["request"].cast<ChoiceItems>(), name);
    settings.answer = choice(given["answer"].cast<ChoiceItems>(), name);
    settings.arrivals = arrivals(given["arrivals"]);
    settings.think = sim::Time::ps(given["think_ps"].cast<std::int64_t>());
    settings.random_think = given["random_think"].cast<bool>();
    settings.processor = given["processor"].cast<unsigned>();
    return machine.keep(std::make_unique<models::RequestClient>(scope_of(machine, name), sockets, settings));
}

models::StreamFlow& add_stream(Machine& machine, Sockets& from, Sockets& to, const std::string& name,
                               const EndText& end, std::uint32_t connections, std::uint64_t write_bytes,
                               std::uint64_t total_bytes, unsigned processor) {
    models::StreamFlow::Settings settings;
    settings.to = endpoint(end);
    settings.connections = connections;
    settings.write_bytes = write_bytes;
    settings.total_bytes = total_bytes;
    settings.processor = processor;
    return machine.keep(std::make_unique<models::StreamFlow>(scope_of(machine, name), from, to, settings));
}

Workload& add_datagrams(Machine& machine, Sockets& from, Sockets& to, const std::string& name, const EndText& end,
                        const py::dict& given) {
    models::DatagramFlow::Settings settings;
    settings.to = endpoint(end);
    settings.local_port = given["local_port"].cast<std::uint16_t>();
    settings.frame_bytes = choice(given["frame_bytes"].cast<ChoiceItems>(), name);
    settings.arrivals = arrivals(given["arrivals"]);
    settings.processor = given["processor"].cast<unsigned>();
    settings.receiver_processor = given["receiver_processor"].cast<unsigned>();
    return machine.keep(std::make_unique<models::DatagramFlow>(scope_of(machine, name), from, to, settings));
}

Workload& add_cpu_load(Machine& machine, Guest& guest, const std::string& name, unsigned vp, std::uint32_t permille,
                       std::int64_t period_ps) {
    models::BehaviouralGuest& software = behavioural(guest);
    if (vp >= software.processor_count()) {
        throw sim::UserError(fmt::format("{}: the guest has no virtual processor {}", name, vp));
    }
    models::CpuLoad::Settings settings;
    settings.share_permille = permille;
    settings.period = sim::Time::ps(period_ps);
    return machine.keep(std::make_unique<models::CpuLoad>(scope_of(machine, name), software.processor(vp), settings));
}

models::MemoryWriter& add_memory_writer(Machine& machine, Guest& guest, const std::string& name, std::uint64_t pages,
                                        std::uint64_t pages_per_second, unsigned vp, const std::string& profile) {
    models::BehaviouralGuest& software = behavioural(guest);
    if (vp >= software.processor_count()) {
        throw sim::UserError(fmt::format("{}: the guest has no virtual processor {}", name, vp));
    }
    models::MemoryWriter::Settings settings;
    settings.pages = pages;
    settings.pages_per_second = pages_per_second;
    settings.processor = vp;
    software.will_need(pages, "a program that writes to memory");
    constexpr std::int64_t kibibytes_of_a_page = 4;
    settings.cost = models::find_profile(profile).stack_costs.copied_kibibyte * kibibytes_of_a_page;
    return machine.keep(std::make_unique<models::MemoryWriter>(scope_of(machine, name), software, settings));
}

Workload& add_storage_mix(Machine& machine, Guest& guest, const std::string& name, const py::dict& given,
                          const std::string& profile) {
    models::BehaviouralGuest& software = behavioural(guest);
    const models::Profile costs = models::find_profile(profile);
    models::StorageDriver::Config driver = models::StorageDriver::config(
        costs.driver_costs, costs.service_costs.guest_storage_request, given["sub_channels"].cast<std::uint16_t>());
    driver.disk.lun = given["lun"].cast<std::uint8_t>();
    const std::uint64_t ring = driver.client.ring.to_host + std::uint64_t{driver.client.ring.to_guest};
    software.will_need((driver.client.sub_channels + 1u) * ring, "a synthetic disk");
    models::StorageMix::Settings settings;
    settings.first_byte = given["first_byte"].cast<std::uint64_t>();
    settings.span_bytes = given["span_bytes"].cast<std::uint64_t>();
    settings.read_weight = given["read"].cast<std::uint64_t>();
    settings.write_weight = given["write"].cast<std::uint64_t>();
    settings.bytes = choice(given["bytes"].cast<ChoiceItems>(), name);
    settings.sequential = given["sequential"].cast<bool>();
    settings.arrivals = arrivals(given["arrivals"]);
    settings.queue_depth = given["depth"].cast<std::uint32_t>();
    return machine.keep(std::make_unique<models::StorageMix>(scope_of(machine, name), software, driver, settings));
}

Workload& add_mixture(Machine& machine, const std::string& name,
                      const std::vector<std::pair<Workload*, std::uint64_t>>& kinds, const py::dict& given,
                      std::uint32_t outstanding) {
    models::Mixture::Settings settings;
    for (const auto& [workload, weight] : kinds) settings.kinds.push_back({workload, weight});
    settings.arrivals = arrivals(given);
    settings.outstanding = outstanding;
    return machine.keep(std::make_unique<models::Mixture>(scope_of(machine, name), settings));
}

// What a workload measured
// ----------------------------------------------------------------------------------------------------------------

py::tuple latency(const Workload& workload) {
    const sim::Histogram& h = workload.latency();
    return py::make_tuple(h.count(), h.min(), h.max(), h.sum(), h.buckets());
}

py::dict throughput(const Workload& workload) {
    const Workload::Throughput moved = workload.throughput();
    py::dict all;
    all["bytes"] = moved.bytes;
    all["count"] = moved.count;
    all["window_ps"] = moved.window.ps();
    all["bits_per_second"] = moved.bits_per_second();
    all["per_second"] = moved.per_second();
    return all;
}

py::dict stream_connections(const models::StreamFlow& stream) {
    const models::StreamFlow::Connections found = stream.connections();
    py::dict all;
    all["open"] = stream.open_connections();
    all["opened"] = found.opened;
    all["closed"] = found.closed;
    all["resets"] = found.resets;
    all["timed_out"] = found.timed_out;
    all["refused"] = found.refused;
    all["retransmissions"] = found.retransmissions;
    all["time_outs"] = found.time_outs;
    return all;
}

py::dict attribution(const Workload& workload) {
    const sim::Journeys::Sums sums = workload.attribution();
    py::dict causes;
    for (const auto& [cause, part] : sums.causes) causes[py::str(cause)] = part.time.ps();
    py::dict all;
    all["count"] = sums.count;
    all["total"] = sums.total.ps();
    all["causes"] = causes;
    return all;
}

// What each logical processor's time until now went to: cause -> ps.
py::list processor_times(const models::Host& host) {
    py::list all;
    for (const auto& processor : host.processor_times()) {
        py::dict causes;
        for (const auto& [cause, time] : processor) causes[py::str(cause)] = time.ps();
        all.append(causes);
    }
    return all;
}

}  // namespace

void bind_workload(py::module_& module, MachineClass& machine) {
    constexpr auto reference = py::return_value_policy::reference;
    py::class_<Sockets, std::unique_ptr<Sockets, py::nodelete>>(module, "HostSockets");
    py::class_<models::GuestNetwork, std::unique_ptr<models::GuestNetwork, py::nodelete>>(module, "GuestNetwork")
        .def_property_readonly("is_up", [](models::GuestNetwork& self) { return self.driver().is_up(); })
        .def_property_readonly("path", [](models::GuestNetwork& self) { return std::string{self.driver().path()}; })
        .def_property_readonly(
            "sockets", [](models::GuestNetwork& self) -> Sockets& { return self.stack(); }, reference);
    py::class_<Workload, std::unique_ptr<Workload, py::nodelete>>(module, "Workload")
        .def("start", &Workload::start)
        .def("stop", &Workload::stop)
        .def("reset", &Workload::reset)
        .def("latency", &latency)
        .def("throughput", &throughput)
        .def("attribution", &attribution)
        .def_property_readonly("failures", &Workload::failures);

    module.def("processor_times", &processor_times);
    py::class_<models::MemoryWriter, Workload, std::unique_ptr<models::MemoryWriter, py::nodelete>>(module,
                                                                                                    "MemoryWriter")
        .def("damaged", &models::MemoryWriter::damaged);
    py::class_<models::StreamFlow, Workload, std::unique_ptr<models::StreamFlow, py::nodelete>>(module, "StreamFlow")
        .def("connections", &stream_connections);
    machine.def("add_guest_network", &add_guest_network, reference)
        .def("add_peer_sockets", &add_peer_sockets, reference)
        .def("add_request_server", &add_request_server)
        .def("add_request_client", &add_request_client, reference)
        .def("add_stream", &add_stream, reference)
        .def("add_datagrams", &add_datagrams, reference)
        .def("add_cpu_load", &add_cpu_load, reference)
        .def("add_memory_writer", &add_memory_writer, reference)
        .def("add_storage_mix", &add_storage_mix, reference)
        .def("add_mixture", &add_mixture, reference)
        .def("follow_requests",
             [](Machine& self) { self.simulation().journeys().switch_on(&models::request_in_frame); });
}

}  // namespace python
