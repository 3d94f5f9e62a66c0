#include "python/bindings_services.h"

#include <fmt/format.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <array>

#include "models/host.h"
#include "models/synthetic_devices.h"
#include "sim/check.h"

namespace py = pybind11;
using models::Guest;
using models::PartitionServices;

namespace python {

namespace {

PartitionServices& services(Guest& guest) {
    return guest.devices().services();
}

std::vector<std::byte> bytes_of(const py::bytes& data) {
    const std::string_view text = data;
    const auto bytes = std::as_bytes(std::span{text});
    return {bytes.begin(), bytes.end()};
}

py::bytes to_python(std::span<const std::byte> data) {
    return py::bytes(reinterpret_cast<const char*>(data.data()), data.size());
}

py::dict end_of(vmbus::RequestOutcome outcome, std::uint32_t status) {
    py::dict one;
    one["outcome"] = std::string{vmbus::to_text(outcome)};
    one["status"] = status;
    return one;
}

vmbus::KeyValuePool pool_of(std::uint32_t pool) {
    if (pool > 3) throw sim::UserError(fmt::format("keys: there is no pool {}", pool));
    return static_cast<vmbus::KeyValuePool>(pool);
}

// Nothing (None) while there is no answer.
py::object take_key_values(Guest& guest, std::uint32_t request) {
    const auto result = services(guest).take_key_values(request);
    if (!result) return py::none();
    py::dict one = end_of(result->outcome, result->status);
    py::dict items;
    for (const vmbus::KeyValue& item : result->items) items[py::str(item.key)] = item.value;
    one["items"] = items;
    one["addresses"] = result->ip.addresses;
    one["subnets"] = result->ip.subnets;
    one["gateways"] = result->ip.gateways;
    one["name_servers"] = result->ip.name_servers;
    one["dhcp"] = result->ip.dhcp;
    return one;
}

py::object take_copy(Guest& guest, std::uint32_t copy) {
    const auto result = services(guest).take_copy(copy);
    if (!result) return py::none();
    py::dict one = end_of(result->outcome, result->status);
    one["bytes"] = result->bytes_written;
    return one;
}

std::uint32_t ask_snapshot(Guest& guest, const std::string& operation) {
    using vmbus::SnapshotOperation;
    if (operation == "freeze") return services(guest).ask_snapshot(SnapshotOperation::freeze);
    if (operation == "thaw") return services(guest).ask_snapshot(SnapshotOperation::thaw);
    VG_CHECK(operation == "check");
    return services(guest).ask_snapshot(SnapshotOperation::check_hot_backup);
}

py::object take_snapshot(Guest& guest, std::uint32_t number) {
    const auto result = services(guest).take_snapshot(number);
    if (!result) return py::none();
    py::dict one = end_of(result->outcome, result->status);
    one["flags"] = result->flags;
    return one;
}

const char* phase_name(vmbus::HostSockets::Phase phase) {
    switch (phase) {
        case vmbus::HostSockets::Phase::none:
            return "none";
        case vmbus::HostSockets::Phase::offered:
            return "offered";
        case vmbus::HostSockets::Phase::open:
            return "open";
        case vmbus::HostSockets::Phase::over:
            break;
    }
    return "over";
}

py::dict socket_state(Guest& guest, std::uint32_t id) {
    const vmbus::HostSockets& sockets = services(guest).sockets();
    py::dict one;
    one["phase"] = phase_name(sockets.phase(id));
    one["readable"] = sockets.readable_bytes(id);
    one["unsent"] = sockets.unsent_bytes(id);
    one["finished"] = sockets.guest_finished(id);
    return one;
}

py::dict memory(Guest& guest) {
    const vmbus::DynamicMemory& device = services(guest).memory();
    const vmbus::GuestMemoryStatus& status = device.status();
    py::dict one;
    one["ready"] = device.ready();
    one["idle"] = device.operation() == vmbus::DynamicMemory::Operation::none;
    one["can_add"] = (device.capabilities() & vmbus::dynamic_memory::can_hot_add) != 0;
    one["add_step"] = vmbus::dynamic_memory::hot_add_alignment_megabytes(device.capabilities()) << 20;
    one["assigned"] = services(guest).assigned_pages() * models::page_bytes;
    one["ballooned"] = device.ballooned().pages() * models::page_bytes;
    one["available"] = status.available;
    one["committed"] = status.committed;
    one["reported_ps"] = status.at.ps();
    return one;
}

vmbus::Pointer::Button button_of(const std::string& name) {
    constexpr std::array names{"left", "right", "middle", "fourth", "fifth"};
    for (std::size_t n = 0; n < names.size(); ++n) {
        if (name == names[n]) return static_cast<vmbus::Pointer::Button>(n);
    }
    throw sim::UserError(fmt::format("pointer: there is no button {}: left, right, middle, fourth, fifth", name));
}

}  // namespace

void bind_services(GuestClass& guest) {
    guest.def("keys_ready", [](Guest& self) { return services(self).key_values().phase() == vmbus::ic::Phase::ready; })
        .def("keys_list",
             [](Guest& self, std::uint32_t pool) { return services(self).key_values().list(pool_of(pool)); })
        .def("keys_set",
             [](Guest& self, std::uint32_t pool, const std::string& key, const std::string& value) {
                 return services(self).key_values().set(pool_of(pool), key, value);
             })
        .def("keys_remove",
             [](Guest& self, std::uint32_t pool, const std::string& key) {
                 return services(self).key_values().remove(pool_of(pool), key);
             })
        .def("keys_addresses", [](Guest& self, const std::string& adapter,
                                  std::uint8_t family) { return services(self).key_values().get_ip(adapter, family); })
        .def("keys_answer", &take_key_values)
        .def("copy_ready", [](Guest& self) { return services(self).file_copy().phase() == vmbus::ic::Phase::ready; })
        .def("copy_file",
             [](Guest& self, const std::string& directory, const std::string& name, const py::bytes& content) {
                 return services(self).file_copy().copy(directory, name, bytes_of(content));
             })
        .def("copy_answer", &take_copy)
        .def("snapshot_ready",
             [](Guest& self) { return services(self).snapshots().phase() == vmbus::ic::Phase::ready; })
        .def("snapshot_ask", &ask_snapshot)
        .def("snapshot_answer", &take_snapshot);
    guest.def("socket_listen", [](Guest& self, std::uint32_t port) { services(self).sockets().listen(port); })
        .def("socket_stop_listening",
             [](Guest& self, std::uint32_t port) { services(self).sockets().stop_listening(port); })
        .def("socket_accept", [](Guest& self, std::uint32_t port) { return services(self).accept(port); })
        .def("socket_connect", [](Guest& self, std::uint32_t port) { return services(self).sockets().connect(port); })
        .def("socket_state", &socket_state)
        .def("socket_send", [](Guest& self, std::uint32_t id,
                               const py::bytes& data) { return services(self).sockets().send(id, bytes_of(data)); })
        .def("socket_read", [](Guest& self, std::uint32_t id,
                               std::size_t most) { return to_python(services(self).sockets().read(id, most)); })
        .def("socket_finish", [](Guest& self, std::uint32_t id) { services(self).sockets().finish(id); })
        .def("socket_close", [](Guest& self, std::uint32_t id) { services(self).sockets().close(id); })
        .def("socket_forget", [](Guest& self, std::uint32_t id) { services(self).sockets().forget(id); });
    guest.def("memory", &memory)
        .def("memory_balloon",
             [](Guest& self, std::uint64_t bytes) {
                 return services(self).memory().balloon(
                     static_cast<std::uint32_t>(std::min<std::uint64_t>(bytes / models::page_bytes, ~0u)));
             })
        .def("memory_unballoon",
             [](Guest& self, std::uint64_t bytes) {
                 return services(self).memory().unballoon(bytes / models::page_bytes);
             })
        .def("memory_balance",
             [](Guest& self, std::uint64_t least, std::uint64_t most, std::uint32_t reserve_percent) {
                 vmbus::MemoryBalancer::Settings settings;
                 settings.least_pages = least / models::page_bytes;
                 settings.most_pages = most / models::page_bytes;
                 settings.reserve_percent = reserve_percent;
                 services(self).balance(settings);
             })
        .def("memory_leave", [](Guest& self) { services(self).balance(std::nullopt); })
        .def("memory_add",
             [](Guest& self, std::uint64_t bytes) { return services(self).hot_add(bytes / models::page_bytes); });
    guest.def("pointer_ready", [](Guest& self) { return services(self).pointer().ready(); })
        .def("pointer_move", [](Guest& self, std::uint32_t x, std::uint32_t y) { services(self).pointer().move(x, y); })
        .def("pointer_press",
             [](Guest& self, const std::string& button) { services(self).pointer().press(button_of(button)); })
        .def("pointer_release",
             [](Guest& self, const std::string& button) { services(self).pointer().release(button_of(button)); })
        .def("pointer_scroll", [](Guest& self, std::int16_t steps) { services(self).pointer().scroll(steps); });
}

}  // namespace python
