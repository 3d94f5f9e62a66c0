// A behavioural host that talks TCP with hand-made segments; what it sends is shown as text.
#pragma once

#include <doctest/doctest.h>

#include "models/network/peer/peer.h"
#include "tests/models/network_frames.h"
#include "tests/models/network_hosts.h"

namespace network_test {

using namespace sim::literals;

inline constexpr std::uint8_t ack = tcp_flag::ack;
inline constexpr std::uint8_t syn = tcp_flag::syn;
inline constexpr std::uint8_t fin = tcp_flag::fin;
inline constexpr std::uint8_t rst = tcp_flag::rst;
inline constexpr std::uint8_t psh = tcp_flag::psh;

// The test is the other end, 10.0.0.9 port 9; its own numbers begin at 1000. The host's numbers are shown from its SYN.
struct TcpBench {
    explicit TcpBench(TcpSettings tcp = simple())
        : network(simulation), peer(simulation.scope("peer"), with(tcp), network) {
        // Known from the beginning.
        peer.receive(arp_frame({.operation = ArpMessage::reply,
                                .sender_mac = other.mac,
                                .sender_ip = other.ipv4,
                                .target_mac = host(1).mac,
                                .target_ip = host(1).ipv4}));
        run_for(10_us);
    }
    // Without options: the numbers are easier to read.
    static TcpSettings simple() {
        TcpSettings s;
        s.sack = s.timestamps = s.window_scaling = false;
        s.receive_buffer = 10'000;
        return s;
    }
    static PeerSettings with(const TcpSettings& tcp) {
        PeerSettings s = host(1);
        s.response = 0_ps;
        s.tcp = tcp;
        return s;
    }
    void run_for(sim::Time time) { simulation.agenda().run_until(simulation.agenda().now() + time); }

    struct Options {
        std::uint16_t window = 5000;
        std::optional<std::uint16_t> mss;
        std::optional<std::uint8_t> shift;
        std::optional<TcpTimestamps> timestamps;
        bool sack_permitted = false;
        std::uint16_t to_port = 80;
        std::uint16_t from_port = 9;
    };
    // `sequence` counts from the test's SYN, `acknowledgement` from the host's.
    void send(std::uint8_t flags, std::uint32_t sequence, std::uint32_t acknowledgement, std::size_t bytes = 0) {
        return send(flags, sequence, acknowledgement, bytes, options);
    }
    void send(std::uint8_t flags, std::uint32_t sequence, std::uint32_t acknowledgement, std::size_t bytes,
              const Options& o) {
        TcpSegment s;
        s.source_port = o.from_port;
        s.destination_port = o.to_port;
        s.sequence = 1000 + sequence;
        s.acknowledgement = (flags & ack) != 0 ? initial + acknowledgement : 0;
        s.flags = flags;
        s.window = o.window;
        s.mss = o.mss;
        s.window_shift = o.shift;
        s.timestamps = o.timestamps;
        s.sack_permitted = o.sack_permitted;
        const Ends e{host(1).mac, other.mac, host(1).ipv4, other.ipv4};
        peer.receive(tcp_packet(e, s, counted_bytes(bytes)));
        simulation.agenda().run_until(simulation.agenda().now());
    }
    // What the host sent since: "SA 0/1 w10000", "A 1/101 100b w9900".
    std::string sent() {
        std::string text;
        for (const Frame& frame : network.frames) {
            const auto h = parse_headers(frame);
            if (!h || !h->is_tcp()) continue;
            const auto s = parse_tcp(frame.bytes, *h);
            if (s->has(syn)) initial = s->sequence;
            if (!text.empty()) text += "; ";
            for (const auto& [flag, letter] : {std::pair{syn, 'S'}, {fin, 'F'}, {rst, 'R'}, {psh, 'P'}, {ack, 'A'}}) {
                if (s->has(flag)) text += letter;
            }
            text += " " + std::to_string(s->has(rst) && !s->has(ack) ? s->sequence : s->sequence - initial);
            if (s->has(ack)) text += "/" + std::to_string(s->acknowledgement - 1000);
            if (!s->payload.empty()) text += " " + std::to_string(s->payload.size()) + "b";
            for (unsigned i = 0; i < s->sack_blocks; ++i) {
                text +=
                    " [" + std::to_string(s->sack[i].left - 1000) + "," + std::to_string(s->sack[i].right - 1000) + ")";
            }
            if (!s->has(rst)) text += " w" + std::to_string(s->window);
            last = *s;
            last.payload = {};
        }
        network.clear();
        return text;
    }
    // Opens a connection to port 80, the host being passive.
    void open() {
        send(syn, 0, 0);
        REQUIRE(sent() == "SA 0/1 w10000");
        send(ack, 1, 1);
    }
    TcpState state() const {
        const TcpConnection* c = peer.tcp().find(1);
        return c == nullptr ? TcpState::closed : c->state();
    }
    std::uint64_t counter(const std::string& name) const {
        return simulation.statistics().all().at(name).counter.value();
    }

    PeerSettings other = host(9);
    mutable sim::Simulation simulation;
    Inbox network;
    Peer peer;
    Options options{};
    std::uint32_t initial = 0;
    TcpSegment last;
};

inline const TcpServiceSettings sink{.service = TcpService::sink};
inline const TcpServiceSettings echo{.service = TcpService::echo};
inline TcpServiceSettings source(std::uint64_t bytes) {
    return {.service = TcpService::source, .source_bytes = bytes, .seed = 1};
}

}  // namespace network_test
