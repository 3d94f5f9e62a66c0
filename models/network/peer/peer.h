// A host on the network that executes no instructions: it answers ARP and neighbour discovery, pings, UDP echo (RFC
// 862), DHCP and TCP. It connects to a wire's end or to a switch port. What arrives is dealt with after the host's
// response time, in order; so it never answers from within receive().
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "models/network/frame.h"
#include "models/network/headers.h"
#include "models/network/neighbour_cache.h"
#include "models/network/peer/dhcp_server.h"
#include "models/network/peer/pinger.h"
#include "models/network/peer/tcp_stack.h"
#include "sim/agenda.h"
#include "sim/queue.h"
#include "sim/scope.h"
#include "sim/working_set.h"

namespace models {

struct PeerSettings {
    MacAddress mac;
    IpAddress ipv4;
    std::uint8_t ipv4_prefix_length = 24;
    IpAddress gateway;  // or none
    IpAddress ipv6;     // beside the link-local address; or none
    std::uint8_t ipv6_prefix_length = 64;
    std::uint16_t vlan = 0;  // its frames carry that tag, and it takes no others
    std::uint16_t mtu = 1500;
    sim::Time response = sim::Time::us(10);  // from a frame's arrival to the answer; an assumption
    std::size_t inbox_frames = 8192;
    std::optional<DhcpSettings> dhcp;  // serves it
    TcpSettings tcp;
};

// A model beside the host that has ports of its own.
class PeerProgram : public TcpProgram {
public:
    // False: nobody listens there.
    virtual bool udp_arrived(std::uint16_t port, const TcpEndpoint& from, std::span<const std::byte> payload) = 0;

protected:
    ~PeerProgram() = default;
};

class Peer final : public FrameReceiver, private NeighbourOutput, private TcpOutput, private PingOutput {
public:
    static constexpr std::uint16_t udp_echo_port = 7;
    static constexpr std::uint16_t udp_discard_port = 9;

    Peer(const sim::Scope& scope, const PeerSettings& settings, FrameReceiver& network);

    void receive(Frame&& frame) override;
    // Deals with it at once: for an owner that takes care of the time itself.
    void deliver(Frame&& frame) {
        ++in_frames_;
        handle(std::move(frame));
    }
    void set_program(PeerProgram& program) {
        program_ = &program;
        tcp_.set_program(program);
    }

    const PeerSettings& settings() const { return settings_; }
    // What a frame needs but for TCP: of the settings the addresses.
    void add_needs(sim::WorkingSet& set) const {
        set.add_between(this, &settings_.response);
        neighbours_.add_needs(set);
        set.add(&in_frames_, 9 * sizeof(sim::Counter));
    }
    TcpStack& tcp() { return tcp_; }
    const TcpStack& tcp() const { return tcp_; }
    DhcpServer* dhcp() { return dhcp_ ? &*dhcp_ : nullptr; }
    TcpConnectionId connect(const TcpEndpoint& remote, const TcpServiceSettings& service) {
        return tcp_.connect(source_for(remote.ip), remote, service);
    }
    // One after the other; the results stay with the pinger.
    std::uint16_t ping(const IpAddress& target, std::uint16_t count, sim::Time interval = sim::Time::s(1),
                       std::uint16_t payload_bytes = 56) {
        return pinger_.start(target, count, interval, payload_bytes);
    }
    const Pinger& pinger() const { return pinger_; }
    void send_udp(std::uint16_t source_port, const TcpEndpoint& remote, std::span<const std::byte> payload);

    template <class Archive>
    void fields(Archive& archive) {
        archive(neighbours_, tcp_, dhcp_leases(), pinger_, inbox_, inbox_timer_, next_identification_);
    }

private:
    struct Arrival {
        sim::Time due;
        Frame frame;
        template <class Archive>
        void fields(Archive& archive) {
            archive(due, frame);
        }
    };
    // The state of the server, if there is one.
    struct DhcpState {
        std::optional<DhcpServer>& server;
        template <class Archive>
        void fields(Archive& archive) {
            if (server) archive(*server);
        }
    };
    DhcpState& dhcp_leases() { return dhcp_state_; }

    void work();
    void handle(Frame&& frame);
    void handle_arp(const Frame& frame, const Headers& headers);
    void handle_ipv4(const Frame& frame, const Headers& headers);
    void handle_ipv6(const Frame& frame, const Headers& headers);
    void handle_icmp(const Frame& frame, const Headers& headers);
    void handle_neighbour_solicitation(std::span<const std::byte> message, const Headers& headers);
    void handle_neighbour_advertisement(std::span<const std::byte> message, const Headers& headers);
    void handle_udp(const Frame& frame, const Headers& headers);
    void handle_tcp(const Frame& frame, const Headers& headers);
    void port_unreachable(const Frame& frame, const Headers& headers);

    bool is_mine(const IpAddress& address) const;
    IpAddress source_for(const IpAddress& remote) const;
    // An IP packet with room for its payload behind `payload_offset`.
    Frame packet(const IpAddress& source, const IpAddress& destination, std::uint8_t protocol,
                 std::size_t payload_bytes, std::uint8_t hop_limit = 64);
    static std::size_t payload_offset(const IpAddress& address);
    void send_icmp(const IpAddress& source, const IpAddress& destination, std::span<const std::byte> message,
                   std::uint8_t hop_limit = 64);
    void send_udp_from(const IpAddress& source, std::uint16_t source_port, const TcpEndpoint& remote,
                       std::span<const std::byte> payload, const std::optional<MacAddress>& mac);
    void route(const IpAddress& destination, Frame&& frame);
    void put_out(Frame&& frame);

    void solicit(const IpAddress& address) override;
    void send_resolved(Frame&& frame) override { put_out(std::move(frame)); }
    void unresolved(Frame&& frame) override;
    void send_tcp(const TcpTuple& tuple, const TcpSegment& segment, std::uint16_t mss) override;
    std::uint16_t tcp_mss(const IpAddress& remote) const override;
    void send_echo_request(const IpAddress& target, std::uint16_t identifier, std::uint16_t sequence,
                           std::uint16_t payload_bytes) override;

    // First what each frame needs.
    sim::Scope scope_;
    FrameReceiver& network_;
    PeerProgram* program_ = nullptr;
    sim::Counter& in_frames_;
    sim::Counter& out_frames_;
    std::uint16_t next_identification_ = 1;
    PeerSettings settings_;
    IpAddress link_local_;
    sim::Counter& not_for_us_;
    sim::Counter& inbox_full_;
    sim::Counter& bad_checksum_;
    sim::Counter& not_understood_;
    sim::Counter& unreachable_;
    sim::Counter& echoes_;
    sim::Counter& udp_discarded_;
    NeighbourCache neighbours_;
    TcpStack tcp_;
    std::optional<DhcpServer> dhcp_;
    DhcpState dhcp_state_{dhcp_};
    Pinger pinger_;
    sim::Queue<Arrival> inbox_;
    sim::Timer inbox_timer_;
    sim::StateRegistration registration_;
};

}  // namespace models
