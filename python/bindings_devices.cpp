#include "python/bindings_devices.h"

#include <fmt/format.h>
#include <pybind11/stl.h>

#include <fstream>

#include "models/disk/disk_image.h"
#include "models/disk/host_file.h"
#include "models/framebuffer_png.h"
#include "models/host_networks.h"
#include "models/legacy/generation1_partition.h"
#include "models/profiles.h"
#include "models/synthetic_devices.h"
#include "python/bindings_services.h"
#include "python/machine.h"
#include "sim/check.h"

namespace py = pybind11;
using models::Guest;

namespace python {

namespace {

// Networks
// ----------------------------------------------------------------------------------------------------------------

models::Network& add_switch(models::Host& host, const std::string& name) {
    models::SwitchSettings settings;
    settings.costs = models::find_profile(host.config().profile).service_costs.switching;
    return host.networks().add_switch(name, settings);
}

models::NetworkPeer& add_peer(models::Host& host, models::Network& network, const std::string& name,
                              const std::string& mac, const std::string& address, std::uint64_t bits_per_second,
                              std::int64_t delay_ps, const std::vector<std::string>& dhcp_pool, std::uint16_t vlan) {
    models::PeerSettings peer;
    const models::IpPrefix prefix = models::ip_prefix(address);
    if (!prefix.address.is_v4()) throw sim::UserError(fmt::format("peer {}: {} is no IPv4 address", name, address));
    peer.mac = models::mac_address(mac);
    peer.ipv4 = prefix.address;
    peer.ipv4_prefix_length = prefix.length;
    peer.vlan = vlan;
    if (!dhcp_pool.empty()) {
        models::DhcpSettings dhcp;
        dhcp.first = models::ip_address(dhcp_pool.front());
        dhcp.last = models::ip_address(dhcp_pool.back());
        dhcp.prefix_length = prefix.length;
        dhcp.router = prefix.address;
        peer.dhcp = dhcp;
    }
    models::WireSettings wire;
    wire.bits_per_second = bits_per_second;
    wire.delay = sim::Time::ps(delay_ps);
    return host.networks().add_peer(network, name, peer, wire);
}

void listen(models::NetworkPeer& peer, std::uint16_t port, const std::string& service, std::uint64_t bytes,
            std::uint64_t seed, bool report) {
    models::TcpServiceSettings settings;
    settings.source_bytes = bytes;
    settings.seed = seed;
    settings.report = report;
    const std::map<std::string, models::TcpService> services{{"discard", models::TcpService::discard},
                                                             {"sink", models::TcpService::sink},
                                                             {"echo", models::TcpService::echo},
                                                             {"source", models::TcpService::source}};
    const auto found = services.find(service);
    if (found == services.end()) {
        throw sim::UserError(fmt::format("listen: there is no service {}: discard, sink, echo, source", service));
    }
    settings.service = found->second;
    peer.peer().tcp().listen(port, settings);
}

const char* end_name(models::TcpEnd end) {
    switch (end) {
        case models::TcpEnd::open:
            return "open";
        case models::TcpEnd::closed:
            return "closed";
        case models::TcpEnd::reset:
            return "reset";
        case models::TcpEnd::timed_out:
            return "timed_out";
        case models::TcpEnd::refused:
            return "refused";
    }
    return "unknown";
}

py::list connections(models::NetworkPeer& peer) {
    py::list all;
    for (const models::TcpResult& result : peer.peer().tcp().results()) {
        py::dict one;
        one["port"] = result.tuple.local.port;
        one["received"] = result.received;
        one["sent"] = result.sent;
        one["received_sha256"] = models::to_hex(result.received_digest);
        one["end"] = end_name(result.end);
        one["retransmissions"] = result.retransmissions;
        one["time_outs"] = result.time_outs;
        one["opened_ps"] = result.opened_at.ps();
        one["ended_ps"] = result.ended_at.ps();
        all.append(one);
    }
    return all;
}

models::NetworkConfig network_config(const std::string& name, const std::string& mac, std::uint16_t vlan,
                                     std::uint32_t virtual_subnet, std::uint64_t maximum_bps) {
    models::NetworkConfig config;
    config.name = name;
    config.port = models::adapter_port(models::mac_address(mac));
    config.port.vlan = models::VlanSettings::access(vlan);
    config.port.virtual_subnet = virtual_subnet;
    config.port.maximum_bps = maximum_bps;
    return config;
}

models::SyntheticNic& add_network(Guest& guest, models::Network& network, const std::string& name,
                                  const std::string& mac, std::uint16_t vlan, std::uint32_t virtual_subnet,
                                  std::uint16_t channels, std::uint64_t maximum_bps,
                                  const std::vector<std::uint32_t>& processors) {
    models::NetworkConfig config = network_config(name, mac, vlan, virtual_subnet, maximum_bps);
    config.channels = channels;
    config.processors = processors;
    return guest.devices().add_network(network, config);
}

// What a partition of Generation 1 has.
models::Generation1Partition& generation1(Guest& guest, const std::string& name) {
    models::Generation1Partition* found = guest.generation1();
    if (found == nullptr) {
        throw sim::UserError(fmt::format("{}: only a partition made with generation=1 has such a device", name));
    }
    return *found;
}

models::LegacySwitchAdapter& add_legacy_network(Guest& guest, models::Network& network, const std::string& name,
                                                const std::string& mac, std::uint16_t vlan,
                                                std::uint32_t virtual_subnet, std::uint64_t maximum_bps) {
    return generation1(guest, name).add_network(network, network_config(name, mac, vlan, virtual_subnet, maximum_bps));
}

py::dict traffic(const vmbus::TrafficCount& from_guest, const vmbus::TrafficCount& to_guest) {
    const auto count = [](const vmbus::TrafficCount& traffic) {
        py::dict one;
        one["frames"] = traffic.frames();
        one["bytes"] = traffic.bytes();
        one["discards"] = traffic.discards;
        one["errors"] = traffic.errors;
        return one;
    };
    py::dict both;
    both["from_guest"] = count(from_guest);
    both["to_guest"] = count(to_guest);
    return both;
}

// Disks
// ----------------------------------------------------------------------------------------------------------------

// An image that no partition has yet.
struct Image {
    std::unique_ptr<models::DiskImage> image;
    bool in_place = false;
};

models::ImageFormat format_of(const std::string& name) {
    if (name == "raw") return models::ImageFormat::raw;
    if (name == "vhd") return models::ImageFormat::vhd;
    if (name == "vhdx") return models::ImageFormat::vhdx;
    throw sim::UserError(fmt::format("disk: there is no format {}: raw, vhd, vhdx", name));
}

models::ImageKind kind_of(const std::string& name) {
    if (name == "fixed") return models::ImageKind::fixed;
    if (name == "dynamic") return models::ImageKind::dynamic;
    throw sim::UserError(fmt::format("disk: there is no kind {}: fixed, dynamic", name));
}

void demand(models::IoStatus status, const std::string& what) {
    if (status != models::IoStatus::ok) throw sim::UserError(fmt::format("{}: {}", what, models::name_of(status)));
}

// Raw content from the start of the disk; zeros are left out.
void fill(models::DiskImage& image, const std::string& path) {
    std::ifstream file{path, std::ios::binary};
    if (!file) throw sim::UserError(fmt::format("disk: cannot read {}", path));
    std::vector<std::byte> piece(64 << 10);
    for (std::uint64_t offset = 0;; offset += piece.size()) {
        file.read(reinterpret_cast<char*>(piece.data()), static_cast<std::streamsize>(piece.size()));
        const auto got = static_cast<std::size_t>(file.gcount());
        if (got == 0) break;
        std::fill(piece.begin() + static_cast<std::ptrdiff_t>(got), piece.end(), std::byte{0});
        if (std::all_of(piece.begin(), piece.end(), [](std::byte b) { return b == std::byte{0}; })) continue;
        const std::uint64_t room = offset < image.size_bytes() ? image.size_bytes() - offset : 0;
        if (got > room) throw sim::UserError(fmt::format("disk: {} does not fit", path));
        demand(image.write(offset, std::span{piece}.first(
                                       static_cast<std::size_t>(std::min<std::uint64_t>(room, piece.size())))),
               "disk: cannot fill the image");
    }
}

std::unique_ptr<models::DiskImage> create(std::unique_ptr<models::ByteFile> file, const std::string& format,
                                          const std::string& kind, std::uint64_t size_bytes, std::uint64_t seed) {
    models::ImageOptions options;
    options.format = format_of(format);
    options.kind = options.format == models::ImageFormat::raw ? models::ImageKind::fixed : kind_of(kind);
    options.geometry = {.size_bytes = size_bytes, .logical_sector_bytes = 512, .physical_sector_bytes = 4096};
    if (options.format != models::ImageFormat::vhdx) options.geometry.physical_sector_bytes = 512;
    sim::Random random{seed, file->name()};
    models::create_disk_image(*file, options, random);
    return models::open_disk_image(std::move(file), {.access = models::Access::read_write, .format = options.format});
}

std::unique_ptr<Image> create_disk(Machine& machine, const std::string& name, const std::string& format,
                                   const std::string& kind, std::uint64_t size_bytes, const std::string& content) {
    auto result = std::make_unique<Image>();
    result->image =
        create(std::make_unique<models::MemoryFile>(name), format, kind, size_bytes, machine.simulation().seed());
    if (!content.empty()) fill(*result->image, content);
    return result;
}

std::unique_ptr<Image> open_disk(const std::string& path, bool in_place) {
    auto result = std::make_unique<Image>();
    result->image = models::open_disk_image(path, in_place ? models::Access::read_write : models::Access::read_only);
    result->in_place = in_place;
    return result;
}

models::VirtualDisk& add_disk(Guest& guest, Image& image, const std::string& name, std::uint64_t maximum_iops,
                              std::uint64_t minimum_iops, std::uint64_t maximum_bytes_per_second, bool ide) {
    if (!image.image) throw sim::UserError(fmt::format("disk {}: it belongs to a partition already", name));
    models::DiskConfig config;
    config.name = name;
    config.in_place = image.in_place;
    config.limit = {.iops = maximum_iops, .bytes_per_second = maximum_bytes_per_second};
    config.reserve_iops = minimum_iops;
    if (ide) return generation1(guest, "disk " + name).add_disk(std::move(image.image), config);
    return guest.devices().add_disk(std::move(image.image), config);
}

void save_disk(models::VirtualDisk& disk, const std::string& path, const std::string& format, const std::string& kind) {
    auto target = create(models::create_host_file(path), format, kind, disk.image().size_bytes(), 0);
    auto* overlay = dynamic_cast<models::OverlayImage*>(&disk.image());
    if (overlay == nullptr) throw sim::UserError(fmt::format("disk: {}: it was written in place", path));
    demand(overlay->export_to(*target), path);
    demand(target->close(), path);
}

models::VirtualDvd& add_dvd(Guest& guest, Image& image, const std::string& name) {
    if (!image.image) throw sim::UserError(fmt::format("dvd {}: the image belongs to a partition already", name));
    return guest.devices().add_dvd(std::move(image.image), name);
}

models::IdeDvd& add_ide_dvd(Guest& guest, Image& image, const std::string& name) {
    if (!image.image) throw sim::UserError(fmt::format("dvd {}: the image belongs to a partition already", name));
    return generation1(guest, "dvd " + name).add_dvd(std::move(image.image), name);
}

// A raw image in memory with this content, whole sectors.
std::unique_ptr<Image> disk_of(const std::string& name, const py::bytes& content) {
    const std::string_view text = content;
    auto result = std::make_unique<Image>();
    result->image = create(std::make_unique<models::MemoryFile>(name), "raw", "fixed", text.size(), 0);
    demand(result->image->write(0, std::as_bytes(std::span{text})), "disk: cannot fill the image");
    return result;
}

// Services
// ----------------------------------------------------------------------------------------------------------------

void shut_down(Guest& guest, const std::string& kind, const std::string& text) {
    vmbus::Shutdown::Request request;
    if (kind == "restart") {
        request.kind = vmbus::ShutdownKind::restart;
    } else if (kind != "power_off") {
        throw sim::UserError(fmt::format("shutdown: there is no kind {}: power_off, restart", kind));
    }
    request.text = text;
    guest.devices().shutdown().request(request);
}

py::dict service_counts(Guest& guest) {
    models::SyntheticDevices& devices = guest.devices();
    py::dict all;
    all["heartbeats"] = devices.heartbeat().answers();
    all["healthy"] = devices.heartbeat().health() == vmbus::GuestHealth::healthy;
    all["time_samples"] = devices.time_sync().answers();
    all["shutdown_ready"] = devices.shutdown().ready();
    all["shutdown_accepted"] = devices.shutdown().accepted();
    all["keyboard_ready"] = devices.keyboard().ready();
    return all;
}

// The screen as a PNG file's bytes.
py::bytes picture(Guest& guest) {
    vmbus::SyntheticVideo* video = guest.devices().video();
    if (video == nullptr) throw sim::UserError("screen: the partition has none; make it with screen=True");
    const auto pixels = video->picture();
    if (!pixels) throw sim::UserError("screen: there is no picture: the guest has ended or has not drawn one");
    const auto png = models::png_of(*pixels);
    return py::bytes(reinterpret_cast<const char*>(png.data()), png.size());
}

}  // namespace

void bind_devices(py::module_& module, GuestClass& guest, MachineClass& machine) {
    constexpr auto reference = py::return_value_policy::reference;
    py::class_<models::Network, std::unique_ptr<models::Network, py::nodelete>>(module, "Network");
    py::class_<models::NetworkPeer, std::unique_ptr<models::NetworkPeer, py::nodelete>>(module, "NetworkPeer")
        .def("listen", &listen)
        .def("connections", &connections);
    py::class_<models::SyntheticNic, std::unique_ptr<models::SyntheticNic, py::nodelete>>(module, "SyntheticNic")
        .def("traffic",
             [](models::SyntheticNic& nic) { return traffic(nic.provider().from_guest(), nic.provider().to_guest()); })
        .def("set_link", [](models::SyntheticNic& nic, bool up) { nic.provider().set_link(up); });
    py::class_<models::LegacySwitchAdapter, std::unique_ptr<models::LegacySwitchAdapter, py::nodelete>>(
        module, "LegacySwitchAdapter")
        .def("traffic", [](models::LegacySwitchAdapter& nic) { return traffic(nic.from_guest(), nic.to_guest()); })
        .def("set_link", &models::LegacySwitchAdapter::set_link);
    py::class_<Image>(module, "Image");
    py::class_<models::VirtualDisk, std::unique_ptr<models::VirtualDisk, py::nodelete>>(module, "VirtualDisk")
        .def("save", &save_disk);
    py::class_<models::VirtualDvd, std::unique_ptr<models::VirtualDvd, py::nodelete>>(module, "VirtualDvd")
        .def("insert", [](models::VirtualDvd& dvd) { return dvd.unit().insert(); })
        .def("eject", [](models::VirtualDvd& dvd) { return dvd.unit().eject(); });
    py::class_<models::IdeDvd, std::unique_ptr<models::IdeDvd, py::nodelete>>(module, "IdeDvd")
        .def("insert", &models::IdeDvd::insert)
        .def("eject", &models::IdeDvd::eject);

    module.def("open_disk", &open_disk);
    module.def("disk_of", &disk_of);
    module.def("pattern_sha256", [](std::uint64_t seed, std::uint64_t bytes) {
        return models::to_hex(models::pattern_digest(seed, bytes));
    });
    module.def("add_switch", &add_switch, reference);
    module.def("add_peer", &add_peer, reference);
    machine.def("create_disk", &create_disk).def("capture_into", &Machine::capture_into);
    guest.def("add_network", &add_network, reference)
        .def("add_legacy_network", &add_legacy_network, reference)
        .def("add_disk", &add_disk, reference)
        .def("add_dvd", &add_dvd, reference)
        .def("add_ide_dvd", &add_ide_dvd, reference)
        .def("remove_disk", [](Guest& self, models::VirtualDisk& disk) { self.devices().remove_disk(disk); })
        .def("shut_down", &shut_down)
        .def("services", &service_counts)
        .def("picture", &picture)
        .def("type_keys", [](Guest& self, const std::string& text) { self.devices().keyboard().type(text); })
        .def("press", [](Guest& self, const std::string& chord) { self.devices().keyboard().press(chord); });
    bind_services(guest);
}

}  // namespace python
