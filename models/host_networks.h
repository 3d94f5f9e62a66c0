// The networks of a host: virtual switches of its root, and peers on wires behind their external ports.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "models/network/pcapng.h"
#include "models/network/peer/peer.h"
#include "models/network/virtual_switch.h"
#include "models/network/wire.h"

namespace models {

// Where captures go; nobody captures by default. Captures are observers: they take no part in the simulation.
class Captures final {
public:
    explicit Captures(const sim::Agenda& agenda) : agenda_(agenda) {}

    // From now on each new port of a switch writes `<folder>/<switch>-<port>.pcapng`.
    // `prefix` stands before the switch's name there.
    void into(std::string folder, std::string prefix = {}) {
        folder_ = std::move(folder);
        prefix_ = std::move(prefix);
    }
    void add(VirtualSwitch& network, std::string_view switch_name, PortId port, std::string_view port_name);
    // Of a point that is no switch's: writes `<folder>/<name>.pcapng`. Null if nobody captures.
    PcapngFile::Interface* point(std::string_view name);
    // Everything is in the files. Throws sim::UserError if a disk did not take it.
    void flush();

private:
    PcapngFile& file(std::string_view name);

    const sim::Agenda& agenda_;
    std::string folder_;
    std::string prefix_;
    std::vector<std::unique_ptr<PcapngFile>> files_;
};

// A virtual switch with its name.
class Network final {
public:
    Network(const sim::Scope& scope, std::string name, const SwitchSettings& settings, Captures& captures)
        : name_(std::move(name)), switch_(scope, settings), captures_(captures) {}

    const std::string& name() const { return name_; }
    VirtualSwitch& ports() { return switch_; }
    // To be called once for each port.
    void capture(PortId port, std::string_view port_name) { captures_.add(switch_, name_, port, port_name); }

private:
    std::string name_;
    VirtualSwitch switch_;
    Captures& captures_;
};

// A host that only behaves, at the other end of a wire from an external port.
class NetworkPeer final {
public:
    NetworkPeer(const sim::Scope& scope, Network& network, std::string_view name, const PeerSettings& peer,
                const WireSettings& wire);
    ~NetworkPeer();
    NetworkPeer(const NetworkPeer&) = delete;

    Peer& peer() { return peer_; }
    PortId port() const { return port_; }

private:
    struct ToWire final : FrameReceiver {
        explicit ToWire(Wire& w) : wire(w) {}
        void receive(Frame&& frame) override { wire.end(0).receive(std::move(frame)); }
        Wire& wire;
    };
    struct FromWire final : FrameReceiver {
        FromWire(VirtualSwitch& s, const PortId& p) : network(s), port(p) {}
        void receive(Frame&& frame) override { network.send(port, std::move(frame)); }
        VirtualSwitch& network;
        const PortId& port;
    };

    VirtualSwitch& network_;
    Wire wire_;
    ToWire to_wire_;
    PortId port_;
    FromWire from_wire_;
    Peer peer_;
};

class HostNetworks final {
public:
    explicit HostNetworks(const sim::Scope& scope) : scope_(scope), captures_(scope.agenda()) {}

    // Names are unique in the host, else sim::UserError.
    Network& add_switch(const std::string& name, const SwitchSettings& settings);
    NetworkPeer& add_peer(Network& network, const std::string& name, const PeerSettings& peer,
                          const WireSettings& wire);
    // Null: there is none of that name.
    Network* find_switch(std::string_view name) const;
    Captures& captures() { return captures_; }

private:
    void check_name(const std::string& name) const;

    sim::Scope scope_;
    Captures captures_;
    std::vector<std::unique_ptr<Network>> switches_;
    std::vector<std::pair<std::string, std::unique_ptr<NetworkPeer>>> peers_;
};

}  // namespace models
