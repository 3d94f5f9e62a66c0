#include "models/host_networks.h"

#include <fmt/format.h>

#include <algorithm>

#include "sim/check.h"

namespace models {

void Captures::add(VirtualSwitch& network, std::string_view switch_name, PortId port, std::string_view port_name) {
    if (folder_.empty()) return;
    PcapngFile& made = file(fmt::format("{}-{}", switch_name, port_name));
    network.observe(port, made.add_interface(fmt::format("{}.{}", switch_name, port_name)));
}

PcapngFile::Interface* Captures::point(std::string_view name) {
    return folder_.empty() ? nullptr : &file(name).add_interface(name);
}

PcapngFile& Captures::file(std::string_view name) {
    files_.push_back(std::make_unique<PcapngFile>(agenda_, fmt::format("{}/{}{}.pcapng", folder_, prefix_, name)));
    return *files_.back();
}

void Captures::flush() {
    for (const auto& file : files_) {
        if (!file->flush()) throw sim::UserError("a capture could not be written: the disk took no more");
    }
}

NetworkPeer::NetworkPeer(const sim::Scope& scope, Network& network, std::string_view name, const PeerSettings& peer,
                         const WireSettings& wire)
    : network_(network.ports()),
      wire_(scope.child("wire"), wire),
      to_wire_(wire_),
      port_(network_.connect(name, to_wire_, external_port())),
      from_wire_(network_, port_),
      peer_(scope, peer, wire_.end(1)) {
    wire_.end(0).connect(from_wire_);
    wire_.end(1).connect(peer_);
    network.capture(port_, name);
}

NetworkPeer::~NetworkPeer() {
    network_.disconnect(port_);
}

void HostNetworks::check_name(const std::string& name) const {
    const bool taken =
        std::any_of(switches_.begin(), switches_.end(), [&](const auto& s) { return s->name() == name; }) ||
        std::any_of(peers_.begin(), peers_.end(), [&](const auto& p) { return p.first == name; });
    if (taken) throw sim::UserError(fmt::format("network: there is a switch or peer named {} already", name));
}

Network& HostNetworks::add_switch(const std::string& name, const SwitchSettings& settings) {
    check_name(name);
    switches_.push_back(std::make_unique<Network>(scope_.child(name), name, settings, captures_));
    return *switches_.back();
}

Network* HostNetworks::find_switch(std::string_view name) const {
    const auto found = std::ranges::find(switches_, name, [](const auto& network) { return network->name(); });
    return found != switches_.end() ? found->get() : nullptr;
}

NetworkPeer& HostNetworks::add_peer(Network& network, const std::string& name, const PeerSettings& peer,
                                    const WireSettings& wire) {
    check_name(name);
    peers_.emplace_back(name, std::make_unique<NetworkPeer>(scope_.child(name), network, name, peer, wire));
    return *peers_.back().second;
}

}  // namespace models
