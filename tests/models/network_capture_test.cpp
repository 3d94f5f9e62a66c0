// Captures: what we write, byte by byte and as tshark reads it; what we read; what is played.
#include <doctest/doctest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "models/byte_writer.h"
#include "models/network/capture_file.h"
#include "models/network/pcapng.h"
#include "models/network/peer/capture_player.h"
#include "models/network/peer/counting_sink.h"
#include "tests/models/network_frames.h"
#include "tests/models/network_hosts.h"
#include "tests/models/network_switches.h"

namespace network_capture_test {

using namespace network_test;
using namespace sim::literals;

namespace {

std::filesystem::path folder() {
    const auto path = std::filesystem::path{VG_BINARY_DIR} / "network_capture_test";
    std::filesystem::create_directories(path);
    return path;
}

std::vector<std::byte> file_bytes(const std::filesystem::path& path) {
    std::ifstream stream(path, std::ios::binary);
    const std::string text{std::istreambuf_iterator<char>{stream}, {}};
    const auto bytes = std::as_bytes(std::span{text});
    return {bytes.begin(), bytes.end()};
}

// Its output, or nothing if it failed.
std::optional<std::string> tshark(const std::string& arguments) {
    const auto out = (folder() / "tshark.txt").string();
    const std::string command =
        "tshark -n -o tcp.check_checksum:TRUE -o ip.check_checksum:TRUE -o udp.check_checksum:TRUE " + arguments +
        " >" + out + " 2>" + out + ".log";
    if (std::system(command.c_str()) != 0) return std::nullopt;
    std::ifstream stream(out);
    return std::string{std::istreambuf_iterator<char>{stream}, {}};
}

std::size_t lines(const std::string& text) {
    return static_cast<std::size_t>(std::count(text.begin(), text.end(), '\n'));
}

}  // namespace

TEST_CASE("pcapng: the blocks, byte by byte") {
    CHECK(network_test::to_hex(pcapng_section_header()) ==
          "0a0d0d0a"
          "30000000"
          "4d3c2b1a"
          "0100"
          "0000"
          "ffffffffffffffff"
          "0400"
          "0900"
          "566572646967726973000000"
          "00000000"
          "30000000");
    CHECK(network_test::to_hex(pcapng_interface("web")) ==
          "01000000"
          "28000000"
          "0100"
          "0000"
          "00000000"
          "0200"
          "0300"
          "77656200"
          "0900"
          "0100"
          "09000000"
          "00000000"
          "28000000");
    Frame frame = plain(MacAddress::from_u64(2), MacAddress::from_u64(1), 9, 1);
    frame.vlan = VlanTag{5};
    CHECK(network_test::to_hex(pcapng_packet(3, sim::Time::ns(0x0102'0304'0506), FrameDirection::in, frame)) ==
          "06000000"
          "40000000"
          "03000000"
          "02010000"
          "06050403"
          "13000000"
          "13000000"
          "000000000002000000000001"
          "8100000588b509"
          "00"
          "0200"
          "0400"
          "01000000"
          "00000000"
          "40000000");
}

TEST_CASE("pcapng: written, read back, and the same for the same run") {
    const Ends e{MacAddress::from_u64(2), MacAddress::from_u64(1), ip_address("10.0.0.2"), ip_address("10.0.0.1")};
    std::vector<std::byte> first;
    for (int run = 0; run < 2; ++run) {
        const auto path = folder() / "written.pcapng";
        sim::Simulation simulation;
        {
            PcapngFile file(simulation.agenda(), path.string());
            FrameObserver& one = file.add_interface("one");
            simulation.agenda().run_until(1_us);
            one.observed(FrameDirection::in, udp_packet(e, 1, 2, 5));
            simulation.agenda().run_until(sim::Time::ps(1'001'999));
            FrameObserver& two = file.add_interface("two");
            Frame large = tcp_packet(e, {}, counted_bytes(5000));
            large.large_send_mss = 1460;
            store_be16(large.bytes, 16, 0);
            two.observed(FrameDirection::out, large);
            CHECK(file.flush());
        }
        const auto bytes = file_bytes(path);
        if (run == 0) first = bytes;
        CHECK(bytes == first);
        auto frames = read_capture(bytes);
        REQUIRE(frames.size() == 2);
        CHECK(frames[0].at == 0_ps);
        CHECK(frames[1].at == 1_ns);
        for (CapturedFrame& captured : frames) {
            Frame frame{std::move(captured.bytes)};
            verify_checksums(frame);
            CHECK(frame.ip_verdict == ChecksumVerdict::good);
            CHECK(frame.transport_verdict == ChecksumVerdict::good);
        }
    }
    sim::Simulation simulation;
    CHECK_THROWS_AS(PcapngFile(simulation.agenda(), (folder() / "not there" / "x").string()), sim::UserError);
}

TEST_CASE("captures: pcap and pcapng of every byte order and resolution") {
    const auto frame = from_hex(
        "000000000002000000000001"
        "88b5"
        "0102030405");
    const auto classic = [&](std::string magic_and_header, bool big, std::uint32_t fraction) {
        auto bytes = from_hex(magic_and_header);
        const auto put = [&](std::uint32_t value) {
            for (unsigned i = 0; i < 4; ++i)
                bytes.push_back(static_cast<std::byte>(value >> (big ? 24 - 8 * i : 8 * i)));
        };
        for (std::uint32_t n = 0; n < 2; ++n) {
            put(1'700'000'000 + n);
            put(n * fraction);
            put(static_cast<std::uint32_t>(frame.size()));
            put(100);
            bytes.insert(bytes.end(), frame.begin(), frame.end());
        }
        return bytes;
    };
    struct Row {
        const char* what;
        std::vector<std::byte> file;
        sim::Time second;
    };
    for (const auto& row : {
             Row{"us, little", classic("d4c3b2a1 0200 0400 00000000 00000000 00000400 01000000", false, 5), 1_s + 5_us},
             Row{"us, big", classic("a1b2c3d4 0002 0004 00000000 00000000 00040000 00000001", true, 5), 1_s + 5_us},
             Row{"ns, little", classic("4d3cb2a1 0200 0400 00000000 00000000 00000400 01000000", false, 5), 1_s + 5_ns},
             Row{"ns, big", classic("a1b23c4d 0002 0004 00000000 00000000 00040000 00000001", true, 5), 1_s + 5_ns},
         }) {
        CAPTURE(std::string(row.what));
        const auto frames = read_capture(row.file);
        REQUIRE(frames.size() == 2);
        CHECK(frames[0] == CapturedFrame{0_ps, frame});
        CHECK(frames[1] == CapturedFrame{row.second, frame});
        // Cut anywhere it is an error, but between frames.
        for (std::size_t n = 0; n < row.file.size(); ++n) {
            const auto part = std::span{row.file}.first(n);
            if (n == 24 || n == 24 + 16 + frame.size()) {
                CHECK(read_capture(part).size() == (n == 24 ? 0u : 1u));
            } else {
                CHECK_THROWS_AS(read_capture(part), sim::UserError);
            }
        }
    }
    // pcapng: resolution 10^-9, 2^-10 and, without an option, 10^-6; one interface that is not Ethernet.
    const auto pcapng = [&](bool big, const char* resolution, std::uint64_t ticks, std::uint16_t link) {
        std::vector<std::byte> bytes;
        const auto put = [&](std::uint64_t value, unsigned size) {
            for (unsigned i = 0; i < size; ++i)
                bytes.push_back(static_cast<std::byte>(value >> 8 * (big ? size - 1 - i : i)));
        };
        put(0x0a0d0d0a, 4), put(28, 4), put(0x1a2b3c4d, 4), put(1, 2), put(0, 2), put(~std::uint64_t{0}, 8), put(28, 4);
        put(1, 4), put(28, 4), put(link, 2), put(0, 2), put(0, 4);
        if (*resolution != 0) {
            put(9, 2), put(1, 2);
            bytes.push_back(from_hex(resolution)[0]);
            put(0, 3);
        } else {
            put(0, 8);
        }
        put(28, 4);
        for (std::uint64_t n = 0; n < 2; ++n) {
            const std::uint64_t at = 1000 + n * ticks;
            put(6, 4), put(52, 4), put(0, 4), put(at >> 32, 4), put(at & 0xffffffff, 4), put(frame.size(), 4),
                put(frame.size(), 4);
            bytes.insert(bytes.end(), frame.begin(), frame.end());
            put(0, 1), put(52, 4);
        }
        put(0x0bad, 4), put(12, 4), put(12, 4);  // an unknown block
        return bytes;
    };
    for (const bool big : {false, true}) {
        CHECK(read_capture(pcapng(big, "09", 7, 1)).at(1) == CapturedFrame{7_ns, frame});
        CHECK(read_capture(pcapng(big, "8a", 512, 1)).at(1) == CapturedFrame{500_ms, frame});
        CHECK(read_capture(pcapng(big, "", 7, 1)).at(1) == CapturedFrame{7_us, frame});
        CHECK(read_capture(pcapng(big, "0f", 7000, 1)).at(1) == CapturedFrame{7_ps, frame});
        CHECK(read_capture(pcapng(big, "09", 7, 113)).empty());
        const auto whole = pcapng(big, "09", 7, 1);
        for (std::size_t n = 0; n < whole.size(); ++n) {
            const bool between = n == 28 || n == 56 || n == 108 || n == 160;
            const auto part = std::span{whole}.first(n);
            if (between) {
                CHECK_NOTHROW((void)read_capture(part));
            } else {
                CHECK_THROWS_AS((void)read_capture(part), sim::UserError);
            }
        }
    }
    CHECK_THROWS_AS((void)read_capture_file((folder() / "none.pcap").string()), sim::UserError);
}

TEST_CASE("captures: played with their spacing") {
    std::vector<CapturedFrame> frames;
    for (const auto& [at, number] : {std::pair{0_ps, 1}, {3_us, 2}, {3_us, 3}, {10_us, 4}}) {
        frames.push_back(
            {at, plain(MacAddress::from_u64(2), MacAddress::from_u64(1), static_cast<std::uint8_t>(number)).bytes});
    }
    struct Row {
        PlayerSettings settings;
        std::vector<sim::Time> times;
        const char* numbers;
    };
    for (const auto& row : {
             Row{{}, {5_us, 8_us, 8_us, 15_us}, "1 2 3 4"},
             Row{{.speed_percent = 50}, {5_us, 11_us, 11_us, 25_us}, "1 2 3 4"},
             Row{{.speed_percent = 1000, .repetitions = 2, .pause = 1_us},
                 {5_us, 5300_ns, 5300_ns, 6_us, 7_us, 7300_ns, 7300_ns, 8_us},
                 "1 2 3 4 1 2 3 4"},
             Row{{.repetitions = 0}, {}, ""},
         }) {
        sim::Simulation simulation;
        Inbox inbox(simulation);
        CapturePlayer player(simulation.scope("player"), frames, inbox, row.settings);
        player.start(5_us);
        simulation.agenda().run_until(6_us);
        const auto saved = simulation.save();
        simulation.agenda().run_until(1_s);
        CHECK(inbox.times == row.times);
        CHECK(inbox.numbers() == row.numbers);
        CHECK(player.finished());
        // From a checkpoint.
        const std::size_t all = inbox.times.size();
        sim::Simulation other;
        Inbox rest(other);
        CapturePlayer again(other.scope("player"), frames, rest, row.settings);
        other.restore(saved);
        other.agenda().run_until(1_s);
        CHECK(rest.times.size() <= all);
        CHECK(std::equal(rest.times.rbegin(), rest.times.rend(), inbox.times.rbegin()));
    }
    sim::Simulation simulation;
    CountingSink sink(simulation.scope("sink"));
    CapturePlayer player(simulation.scope("player"), frames, sink);
    player.start(0_ps);
    simulation.agenda().run_until(1_s);
    CHECK(sink.frames() == 4);
    CHECK(sink.bytes() == 240);
}

TEST_CASE("tshark reads our captures: nothing malformed, checksums good, no errors") {
    if (std::system("command -v tshark >/dev/null 2>&1") != 0) {
        MESSAGE("tshark is not installed: not checked");
        return;
    }
    const auto path = folder() / "traffic.pcapng";
    std::size_t frames = 0;
    {
        // Two hosts at a switch, one with large sends, a tenant's traffic through an uplink, IPv4 and IPv6, DHCP.
        SwitchBench bench;
        PcapngFile file(bench.simulation.agenda(), path.string());
        struct Counted final : FrameObserver {
            FrameObserver& file;
            std::size_t& count;
            Counted(FrameObserver& f, std::size_t& n) : file(f), count(n) {}
            void observed(FrameDirection direction, const Frame& frame) override {
                ++count;
                file.observed(direction, frame);
            }
        };
        std::deque<Counted> observers;
        struct Into final : FrameReceiver {
            VirtualSwitch* vswitch = nullptr;
            PortId port = no_port;
            void receive(Frame&& frame) override { vswitch->send(port, std::move(frame)); }
        };
        std::deque<Into> into;
        std::deque<Peer> peers;
        const auto add = [&](PeerSettings settings, PortSettings port) -> Peer& {
            Into& in = into.emplace_back();
            Peer& peer =
                peers.emplace_back(bench.simulation.scope("peer" + std::to_string(peers.size())), settings, in);
            port.mac = settings.mac;
            in.vswitch = &bench.vswitch;
            const std::string name = "port" + std::to_string(peers.size());
            in.port = bench.vswitch.connect(name, peer, port);
            bench.vswitch.observe(in.port, observers.emplace_back(file.add_interface(name), frames));
            return peer;
        };
        PeerSettings server = host(1);
        server.dhcp =
            DhcpSettings{.first = ip_address("10.0.0.100"), .last = ip_address("10.0.0.200"), .router = server.ipv4};
        PortSettings able;
        able.receives = {.large_frames = true, .coalesced = false, .partial_checksums = true, .tags_out_of_band = true};
        PeerSettings client = host(2);
        client.tcp.large_send_bytes = 64'000;
        Peer& a = add(server, able);
        Peer& b = add(client, {});
        a.tcp().listen(5001, {.service = TcpService::sink, .report = true});
        a.tcp().listen(7, {.service = TcpService::echo});
        b.connect({server.ipv4, 5001}, {.service = TcpService::source, .source_bytes = 700'000, .seed = 1});
        b.connect({server.ipv6, 7}, {.service = TcpService::source, .source_bytes = 90'000, .seed = 1});
        b.connect({server.ipv4, 12}, {.service = TcpService::source, .source_bytes = 90});
        a.ping(client.ipv4, 3, 1_ms);
        a.ping(client.ipv6, 3, 1_ms, 1000);
        b.send_udp(4000, {server.ipv4, 7}, counted_bytes(33));
        b.send_udp(4000, {server.ipv4, 13}, counted_bytes(33));
        // DHCP through the guest's eyes: a discovery as BusyBox sends it.
        std::vector<std::byte> discover(548);
        store_be32(discover, 0, 0x0101'0600);
        store_be32(discover, 4, 0x1234'5678);
        store_mac(discover, 28, client.mac);
        store_be32(discover, 236, 0x6382'5363);
        const auto options = from_hex("350101 3902 0240 3707 01031c060c0f11 3c0c756468637020312e33352e30 ff");
        std::copy(options.begin(), options.end(), discover.begin() + 240);
        b.send_udp(68, {ip_address("255.255.255.255"), 67}, discover);
        // A tenant towards another host.
        PortSettings external = external_port();
        Inbox uplink(bench.simulation);
        const PortId up = bench.vswitch.connect("uplink", uplink, external);
        bench.vswitch.observe(up, observers.emplace_back(file.add_interface("uplink"), frames));
        bench.vswitch.set_provider(up, {.address = ip_address("192.168.0.1"),
                                        .mac = MacAddress::from_u64(0x0200'0000'0001),
                                        .on_link = ip_prefix("192.168.0.0/24")});
        bench.vswitch.add_record({5001, ip_address("10.0.0.9"), host(9).mac, ip_address("192.168.0.2")});
        PortSettings tenant;
        tenant.virtual_subnet = 5001;
        Peer& c = add(host(3), tenant);
        c.ping(ip_address("10.0.0.9"), 2, 1_ms);
        bench.run_for(1_ms);
        bench.vswitch.send(up, arp_frame({.operation = ArpMessage::reply,
                                          .sender_mac = MacAddress::from_u64(0x0200'0000'0002),
                                          .sender_ip = ip_address("192.168.0.2"),
                                          .target_mac = MacAddress::from_u64(0x0200'0000'0001),
                                          .target_ip = ip_address("192.168.0.1")}));
        bench.run_for(5_s);
        CHECK(a.tcp().results().size() == 2);
        CHECK(a.dhcp()->leases() == 1);
        CHECK(file.flush());
    }
    CHECK(read_capture_file(path.string()).size() == frames);
    const std::string file = "-r " + path.string();
    const auto all = tshark(file);
    REQUIRE(all);
    CHECK(lines(*all) == frames);
    CHECK(frames > 300);
    // Each: a filter, and how many frames it may show.
    const auto count = [&](const std::string& filter) {
        const auto shown = tshark(file + " -Y '" + filter + "'");
        REQUIRE(shown);
        return lines(*shown);
    };
    CHECK(count("_ws.malformed") == 0);
    CHECK(count("ip.checksum.status == \"Bad\" || tcp.checksum.status == \"Bad\" || udp.checksum.status == \"Bad\" || "
                "icmp.checksum.status == \"Bad\" || icmpv6.checksum.status == \"Bad\"") == 0);
    CHECK(count("tcp.checksum.status == \"Good\"") > 250);
    CHECK(count("_ws.expert.severity == \"Error\"") == 0);
    // Between two ports everything is seen twice; at one of them nothing is.
    const auto one =
        tshark(file + " -w " + (folder() / "one.pcapng").string() + " -Y 'frame.interface_name == \"port1\"'");
    REQUIRE(one);
    const auto analysed =
        tshark("-r " + (folder() / "one.pcapng").string() +
               " -Y 'tcp.analysis.retransmission || tcp.analysis.lost_segment || "
               "tcp.analysis.out_of_order || tcp.analysis.ack_lost_segment || tcp.analysis.window_full'");
    REQUIRE(analysed);
    CHECK(analysed->empty());
    CHECK(count("dhcp") == 4);  // discovery and offer at either port; and the uplink's copy of the discovery
    CHECK(count("gre.key") == 2);
    CHECK(count("icmp.type == 0") == 6);
    CHECK(count("icmpv6.type == 129") == 6);
    CHECK(count("icmp.type == 3") == 4);  // to UDP port 13, and to an offer that nobody waits for
    CHECK(count("tcp.flags.reset == 1") == 2);
    // Times are the simulated ones.
    const auto times = tshark(file + " -T fields -e frame.time_epoch -e frame.interface_name -c 1");
    REQUIRE(times);
    CHECK(times->substr(0, 11) == "0.000000000");
}

}  // namespace network_capture_test
