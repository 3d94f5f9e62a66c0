// Entry points that take hostile bytes to the root's network: frames of every kind to a switch port, through an uplink
// in and out of NVGRE, and to a host's TCP, with numbers that nearly fit; and files to the reader of captures. As
// libFuzzer targets (fuzz_models_peer.cpp, fuzz_models_capture.cpp), and with kept and fixed seeds in the ordinary test
// run (tests/models/network_fuzz_test.cpp). A property that fails is a VG_CHECK.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

#include "models/network/byte_order.h"
#include "models/network/capture_file.h"
#include "models/network/checksum.h"
#include "models/network/pcapng.h"
#include "models/network/peer/peer.h"
#include "models/network/segmentation.h"
#include "models/network/virtual_switch.h"
#include "sim/check.h"
#include "sim/simulation.h"

namespace fuzz {

class HostileFrames final {
public:
    struct Done {
        std::uint64_t frames = 0;
        std::uint64_t answers = 0;
        std::uint64_t opened = 0;
        std::uint64_t ended = 0;
        std::uint64_t tenants = 0;
    };

    explicit HostileFrames(std::span<const std::uint8_t> input)
        : input_(input),
          vswitch_(simulation_.scope("switch"), switch_settings()),
          hostile_(*this),
          uplink_(*this),
          tenant_(*this),
          peer_(simulation_.scope("peer"), peer_settings(), to_peer_port_) {
        using namespace models;
        to_peer_port_.owner = this;
        PortSettings peer_port = adapter_port(peer_mac());
        peer_port.receives = {
            .large_frames = true, .coalesced = true, .partial_checksums = true, .tags_out_of_band = false};
        peer_port_ = vswitch_.connect("peer", peer_, peer_port);
        PortSettings hostile = adapter_port(hostile_mac());
        hostile.allow_mac_spoofing = true;
        hostile.vlan = VlanSettings::trunk({5, 6});
        hostile.acl.push_back({.weight = 5, .action = AclAction::meter});
        hostile_port_ = vswitch_.connect("hostile", hostile_, hostile);
        uplink_port_ = vswitch_.connect("uplink", uplink_, external_port(10'000'000'000));
        PortSettings tenant = adapter_port(MacAddress::from_u64(0x0015'5d00'0003));
        tenant.virtual_subnet = 5001;
        tenant.maximum_bps = 1'000'000'000;
        tenant_port_ = vswitch_.connect("tenant", tenant_, tenant);
        vswitch_.set_provider(uplink_port_, {.address = ip_address("192.168.0.1"),
                                             .mac = MacAddress::from_u64(0x0200'0000'0001),
                                             .on_link = ip_prefix("192.168.0.0/24")});
        vswitch_.add_record({5001, ip_address("10.0.0.9"), hostile_mac(), ip_address("192.168.0.2")});
        peer_.tcp().listen(7, {.service = TcpService::echo});
        peer_.tcp().listen(9, {.service = TcpService::discard});
        peer_.tcp().listen(80, {.service = TcpService::sink, .report = true});
        peer_.tcp().listen(81, {.service = TcpService::source, .source_bytes = 300'000, .seed = 1});
        // They know each other.
        hostile_sends(arp_frame({.operation = ArpMessage::request,
                                 .sender_mac = hostile_mac(),
                                 .sender_ip = hostile_ip(),
                                 .target_mac = {},
                                 .target_ip = peer_settings().ipv4}));
        run_for(sim::Time::ms(1));
    }

    void run() {
        for (unsigned steps = 0; !input_.empty() && steps < 4000; ++steps) act();
        run_for(sim::Time::s(1));
        check();
    }
    const Done& done() const { return done_; }
    sim::Simulation& simulation() { return simulation_; }

private:
    using Frame = models::Frame;
    using MacAddress = models::MacAddress;
    using IpAddress = models::IpAddress;

    // What a port's owner gets.
    struct Port final : models::FrameReceiver {
        explicit Port(HostileFrames& o) : owner(o) {}
        void receive(Frame&& frame) override { owner.look_at(*this, std::move(frame)); }
        HostileFrames& owner;
    };
    struct ToSwitch final : models::FrameReceiver {
        void receive(Frame&& frame) override { owner->vswitch_.send(owner->peer_port_, std::move(frame)); }
        HostileFrames* owner = nullptr;
    };

    static MacAddress peer_mac() { return MacAddress::from_u64(0x0015'5d00'0001); }
    static MacAddress hostile_mac() { return MacAddress::from_u64(0x0015'5d00'0009); }
    static IpAddress hostile_ip() { return IpAddress::v4(0x0a00'0009); }
    static models::SwitchSettings switch_settings() {
        models::SwitchSettings s;
        s.learning = {.capacity = 64, .per_port = 32, .age = sim::Time::ms(10)};
        s.waiting_bytes = 64 * 1024;
        return s;
    }
    static models::PeerSettings peer_settings() {
        models::PeerSettings s;
        s.mac = peer_mac();
        s.ipv4 = IpAddress::v4(0x0a00'0001);
        s.ipv6 = models::ip_address("fd00::1");
        s.gateway = hostile_ip();
        s.inbox_frames = 256;
        s.dhcp.emplace();
        s.dhcp->first = IpAddress::v4(0x0a00'0064);
        s.dhcp->last = IpAddress::v4(0x0a00'0067);
        s.tcp.receive_buffer = 64 * 1024;
        s.tcp.maximum_connections = 32;
        s.tcp.maximum_half_open = 16;
        s.tcp.results_kept = 16;
        s.tcp.time_wait = sim::Time::ms(50);
        s.tcp.large_send_bytes = 20'000;
        return s;
    }

    template <class T>
    T take() {
        T value{};
        const std::size_t n = std::min(input_.size(), sizeof value);
        if (n != 0) std::memcpy(&value, input_.data(), n);
        input_ = input_.subspan(n);
        return value;
    }
    std::vector<std::byte> take_bytes(std::size_t most) {
        const auto n = std::min<std::size_t>(input_.size(), most);
        std::vector<std::byte> bytes(n);
        if (n != 0) std::memcpy(bytes.data(), input_.data(), n);
        input_ = input_.subspan(n);
        return bytes;
    }
    void run_for(sim::Time time) { simulation_.agenda().run_until(simulation_.agenda().now() + time); }
    void hostile_sends(Frame&& frame) {
        ++done_.frames;
        vswitch_.send(hostile_port_, std::move(frame));
    }

    void act() {
        switch (take<std::uint8_t>() % 16) {
            case 0:
                return hostile_sends(Frame{take_bytes(take<std::uint8_t>())});
            case 1: {  // with promises of every kind
                Frame frame{take_bytes(take<std::uint8_t>())};
                promise(frame);
                return hostile_sends(std::move(frame));
            }
            case 2:
            case 3:
            case 4:
            case 5:
            case 6:
                return tcp();
            case 7:
                return ip(take<std::uint8_t>());
            case 8:
                return ip(models::ip_protocol::udp);
            case 9:
                return arp();
            case 10:
                return nvgre();
            case 11:
                return run_for(sim::Time::us(take<std::uint16_t>()));
            case 12:
                return run_for(sim::Time::ms(take<std::uint16_t>()));
            case 13: {
                vswitch_.begin_batch();
                for (unsigned n = take<std::uint8_t>() % 8; n > 0; --n) tcp();
                vswitch_.end_batch();
                return;
            }
            case 14: {
                Frame frame{take_bytes(take<std::uint8_t>())};
                if (frame.size() >= 14) models::store_mac(frame.bytes, 0, peer_mac());
                return peer_.receive(std::move(frame));
            }
            default: {
                const auto id = take<std::uint8_t>();
                if ((id & 0x80) != 0) return peer_.tcp().pause(id & 0x3f, (id & 0x40) != 0);
                peer_.connect({hostile_ip(), take<std::uint16_t>()}, {.service = models::TcpService::echo});
                return;
            }
        }
    }

    void promise(Frame& frame) {
        const auto bits = take<std::uint8_t>();
        frame.fill = {.ip = (bits & 1) != 0, .tcp = (bits & 2) != 0, .udp = (bits & 4) != 0};
        if ((bits & 8) != 0) frame.large_send_mss = take<std::uint16_t>();
        if ((bits & 16) != 0) frame.vlan = models::VlanTag::from_tci(take<std::uint16_t>());
        if ((bits & 32) != 0) frame.bytes.resize(frame.size() + take<std::uint16_t>());
        if ((bits & 64) != 0) frame.transport_verdict = models::ChecksumVerdict::good;
    }

    Frame ip_frame(std::uint8_t protocol, bool v6, std::span<const std::byte> payload) {
        using namespace models;
        Frame frame{std::vector<std::byte>(v6 ? 54 : 34)};
        auto& b = frame.bytes;
        store_mac(b, 0, peer_mac());
        store_mac(b, 6, hostile_mac());
        if (v6) {
            store_be16(b, 12, ether_type::ipv6);
            b[14] = std::byte{0x60};
            store_be16(b, 18, static_cast<std::uint16_t>(payload.size()));
            b[20] = std::byte{protocol};
            b[21] = std::byte{255};
            store_ip(b, 22, ip_address("fd00::9"));
            store_ip(b, 38, peer_settings().ipv6);
        } else {
            store_be16(b, 12, ether_type::ipv4);
            store_be16(b, 14, 0x4500);
            store_be16(b, 16, static_cast<std::uint16_t>(20 + payload.size()));
            b[22] = std::byte{64};
            b[23] = std::byte{protocol};
            store_ip(b, 26, hostile_ip());
            store_ip(b, 30, peer_settings().ipv4);
            frame.fill.ip = true;
        }
        b.insert(b.end(), payload.begin(), payload.end());
        return frame;
    }

    // Mostly right, now and then changed somewhere.
    void send_nearly(Frame&& frame) {
        const auto change = take<std::uint8_t>();
        if (change < 32) {
            const auto at = take<std::uint8_t>();
            if (at < frame.size()) frame.bytes[at] = static_cast<std::byte>(take<std::uint8_t>());
        } else if (change < 48) {
            promise(frame);
        }
        if (const auto h = models::parse_headers(frame); !h || !models::request_matches(frame, *h)) frame.fill = {};
        hostile_sends(std::move(frame));
    }

    void tcp() {
        using namespace models;
        constexpr std::array<std::uint16_t, 4> ports{7, 9, 80, 81};
        const auto shape = take<std::uint8_t>();
        const auto flags = take<std::uint8_t>();
        const auto who = take<std::uint8_t>();
        Talk& talk = talks_[who % talks_.size()];
        TcpSegment s;
        s.source_port = static_cast<std::uint16_t>(4000 + who % talks_.size());
        s.destination_port = talk.port != 0 ? talk.port : ports[who / 64];
        constexpr std::array<std::uint8_t, 8> usual{tcp_flag::ack,
                                                    tcp_flag::ack,
                                                    tcp_flag::syn,
                                                    tcp_flag::ack,
                                                    tcp_flag::ack | tcp_flag::psh,
                                                    tcp_flag::fin | tcp_flag::ack,
                                                    tcp_flag::rst,
                                                    tcp_flag::syn | tcp_flag::ack};
        s.flags = (shape & 0x80) != 0 ? flags : usual[flags % usual.size()];
        const auto off = static_cast<std::int16_t>(take<std::uint16_t>());
        s.sequence = talk.next + static_cast<std::uint32_t>((shape & 1) != 0 ? off : 0);
        s.acknowledgement =
            talk.seen - static_cast<std::uint32_t>((shape & 2) != 0 ? take<std::uint16_t>() % 40'000 : 0);
        s.window = (shape & 4) != 0 ? take<std::uint16_t>() : std::uint16_t{30'000};
        if ((shape & 8) != 0) {
            s.mss = take<std::uint16_t>();
            s.window_shift = take<std::uint8_t>() % 20;
            s.sack_permitted = true;
        }
        if ((shape & 16) != 0) s.timestamps = TcpTimestamps{talk.clock += take<std::uint8_t>(), take<std::uint32_t>()};
        if ((shape & 32) != 0 && !s.mss) {
            s.sack_blocks = 2;
            for (unsigned i = 0; i < 2; ++i) {
                s.sack[i].left = talk.seen - take<std::uint16_t>();
                s.sack[i].right = s.sack[i].left + take<std::uint16_t>();
            }
        }
        std::vector<std::byte> payload;
        append_tcp_header(s, payload);
        const std::size_t length = (shape & 64) != 0 ? take<std::uint16_t>() % 3000 : 0;
        payload.resize(payload.size() + length);
        Frame frame = ip_frame(ip_protocol::tcp, (who & 32) != 0, payload);
        frame.fill.tcp = true;
        if (length > 1400) frame.large_send_mss = 1400;
        // As a client would count.
        if ((shape & 1) == 0) talk.next += static_cast<std::uint32_t>(length) + ((s.flags & 3) != 0 ? 1 : 0);
        send_nearly(std::move(frame));
    }

    void ip(std::uint8_t protocol) {
        const auto shape = take<std::uint8_t>();
        auto payload = take_bytes(take<std::uint8_t>());
        if (protocol == models::ip_protocol::udp && payload.size() >= 8) {
            constexpr std::array<std::uint16_t, 4> ports{7, 9, 67, 12};
            models::store_be16(payload, 2, ports[shape % 4]);
            models::store_be16(payload, 4, static_cast<std::uint16_t>(payload.size()));
            if (shape % 4 == 2) dhcp(payload);
        } else if ((shape & 8) != 0) {
            protocol = (shape & 0x80) != 0 ? models::ip_protocol::icmpv6 : models::ip_protocol::icmp;
        }
        Frame frame = ip_frame(protocol, (shape & 0x80) != 0, payload);
        if (const auto h = models::parse_headers(frame);
            h && models::transport_checksum_offset(*h) != 0 && (shape & 0x40) == 0) {
            models::store_be16(frame.bytes, models::transport_checksum_offset(*h),
                               models::transport_checksum(frame.bytes, *h));
        }
        send_nearly(std::move(frame));
    }

    // The input is the options of a client's message.
    void dhcp(std::vector<std::byte>& payload) {
        std::vector<std::byte> options(payload.begin() + 8, payload.end());
        payload.resize(8 + 240 + 3);
        models::store_be32(payload, 8, 0x0101'0600);
        models::store_mac(payload, 8 + 28, MacAddress::from_u64(take<std::uint8_t>() % 8));
        models::store_be32(payload, 8 + 236, 0x6382'5363);
        payload[248] = std::byte{53};
        payload[249] = std::byte{1};
        payload[250] = static_cast<std::byte>(take<std::uint8_t>() % 9);
        payload.insert(payload.end(), options.begin(), options.end());
        models::store_be16(payload, 4, static_cast<std::uint16_t>(payload.size()));
    }

    void arp() {
        models::ArpMessage m;
        m.operation = take<std::uint8_t>() % 3;
        m.sender_mac =
            MacAddress::from_u64(take<std::uint8_t>() % 4 == 0 ? take<std::uint64_t>() : hostile_mac().to_u64());
        m.sender_ip = IpAddress::v4(0x0a00'0000 + take<std::uint8_t>());
        m.target_mac = peer_mac();
        m.target_ip = IpAddress::v4(0x0a00'0000 + take<std::uint8_t>() % 12);
        Frame frame = models::arp_frame(m);
        if (take<std::uint8_t>() % 2 == 0) return hostile_sends(std::move(frame));
        ++done_.frames;
        vswitch_.send(tenant_port_, std::move(frame));
    }

    // From the provider's network, or from the tenant to it.
    void nvgre() {
        using namespace models;
        const auto shape = take<std::uint8_t>();
        auto inner = take_bytes(take<std::uint8_t>());
        if (inner.size() >= 14 && (shape & 1) == 0) {
            store_mac(inner, 0, MacAddress::from_u64((shape & 2) != 0 ? 0x0015'5d00'0003 : hostile_mac().to_u64()));
            store_mac(inner, 6, (shape & 2) != 0 ? hostile_mac() : MacAddress::from_u64(0x0015'5d00'0003));
        }
        ++done_.frames;
        if ((shape & 4) != 0) return vswitch_.send(tenant_port_, Frame{std::move(inner)});
        std::vector<std::byte> payload(8);
        store_be16(payload, 0, (shape & 8) != 0 ? take<std::uint16_t>() : std::uint16_t{0x2000});
        store_be16(payload, 2, 0x6558);
        store_be32(payload, 4, ((shape & 16) != 0 ? take<std::uint16_t>() : 5001u) << 8);
        payload.insert(payload.end(), inner.begin(), inner.end());
        Frame frame = ip_frame(ip_protocol::gre, false, payload);
        store_mac(frame.bytes, 0, MacAddress::from_u64(0x0200'0000'0001));
        store_mac(frame.bytes, 6, MacAddress::from_u64(0x0200'0000'0002));
        store_ip(frame.bytes, 26, ip_address("192.168.0.2"));
        store_ip(frame.bytes, 30, ip_address("192.168.0.1"));
        vswitch_.send(uplink_port_, std::move(frame));
    }

    // Whatever comes out of a switch port is sound, and what the host answered is remembered.
    void look_at(const Port& port, Frame&& frame) {
        using namespace models;
        VG_CHECK(frame.size() >= 14 && frame.size() <= 70'000);
        if (&port != &uplink_) {
            VG_CHECK(!frame.fill.any() && frame.large_send_mss == 0);
            VG_CHECK(frame.size() <= 1518);
        }
        if (&port == &tenant_) ++done_.tenants;
        (void)pcapng_packet(0, simulation_.agenda().now(), FrameDirection::out, frame);
        std::vector<Frame> finished;
        finish_for_wire(std::move(frame), finished);
        for (Frame& one : finished) {
            const auto h = parse_headers(one);
            VG_CHECK(h.has_value());
            if (&port != &hostile_ || h->source != peer_mac()) continue;
            ++done_.answers;
            // The host's own frames are right.
            verify_checksums(one);
            VG_CHECK(h->ip == IpFamily::none ||
                     (one.ip_verdict != ChecksumVerdict::bad && one.transport_verdict != ChecksumVerdict::bad));
            if (!h->is_tcp()) continue;
            const auto s = parse_tcp(one.bytes, *h);
            VG_CHECK(s.has_value());
            Talk& talk = talks_[(h->destination_port - 4000u) % talks_.size()];
            if (h->destination_port < 4000 || h->destination_port >= 4000 + talks_.size()) continue;
            talk.seen = s->sequence + s->length();
            if ((s->flags & tcp_flag::ack) != 0) talk.next = s->acknowledgement;
            if ((s->flags & tcp_flag::syn) != 0) talk.port = h->source_port;
            if ((s->flags & tcp_flag::rst) != 0) talk.port = 0;
        }
    }

    void check() {
        // Bounded, whatever came: connections with their buffers, neighbours, queues.
        done_.opened += simulation_.statistics().all().at("peer.tcp.opened").counter.value();
        done_.ended += simulation_.statistics().all().at("peer.tcp.ended").counter.value();
        if (done_.frames % 4 != 0) return;  // it takes longer than the rest
        const auto saved = simulation_.save();
        VG_CHECK(saved.size() < 16u << 20);
        VG_CHECK(peer_.tcp().connections() <= 64);
        VG_CHECK(vswitch_.mac_table().size() <= 64);
        VG_CHECK(peer_.dhcp()->leases() <= 4);
        // A checkpoint says the same again.
        const auto peer = sim::save_to_bytes(peer_);
        const auto vswitch = sim::save_to_bytes(vswitch_);
        simulation_.restore(saved);
        VG_CHECK(sim::save_to_bytes(peer_) == peer && sim::save_to_bytes(vswitch_) == vswitch);
    }

    // What a client knows of its connection.
    struct Talk {
        std::uint32_t next = 1000;
        std::uint32_t seen = 0;
        std::uint32_t clock = 1;
        std::uint16_t port = 0;
    };

    std::span<const std::uint8_t> input_;
    sim::Simulation simulation_;
    models::VirtualSwitch vswitch_;
    Port hostile_;
    Port uplink_;
    Port tenant_;
    ToSwitch to_peer_port_;
    models::Peer peer_;
    models::PortId peer_port_ = models::no_port;
    models::PortId hostile_port_ = models::no_port;
    models::PortId uplink_port_ = models::no_port;
    models::PortId tenant_port_ = models::no_port;
    std::array<Talk, 32> talks_{};
    Done done_;
};

inline int hostile_frames(std::span<const std::uint8_t> input, HostileFrames::Done* done = nullptr) {
    HostileFrames run(input);
    run.run();
    if (done != nullptr) {
        done->frames += run.done().frames;
        done->answers += run.done().answers;
        done->opened += run.done().opened;
        done->ended += run.done().ended;
        done->tenants += run.done().tenants;
    }
    return 0;
}

// Any file is read or refused in one line.
inline int hostile_capture(std::span<const std::uint8_t> input, std::uint64_t* frames = nullptr) {
    try {
        const auto read = models::read_capture(std::as_bytes(input));
        for (const auto& one : read) {
            VG_CHECK(one.bytes.size() <= input.size() && one.at >= sim::Time::zero());
        }
        if (frames != nullptr) *frames += read.size();
    } catch (const sim::UserError&) {
    }
    return 0;
}

}  // namespace fuzz
