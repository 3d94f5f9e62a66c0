// Offloads of both directions: sums, segmentation, tags; hash and queue, header split, legacy descriptors.
#include <doctest/doctest.h>

#include "tests/sriov_nic/packets.h"

namespace offload_test {

namespace {

using namespace nic_test;
using sim::Time;

using Frames = std::vector<std::vector<std::byte>>;

struct OffloadRig : Rig {
    OffloadRig() : vf(open(0)) { run(Time::us(10)); }
    void put(std::span<const std::byte> bytes, std::uint32_t command, std::uint32_t options) {
        REQUIRE(vf.put(bytes, command, options));
    }
    std::vector<std::vector<std::byte>> sent() {
        vf.notify();
        run(Time::us(200));
        std::vector<std::vector<std::byte>> all;
        for (const auto& f : wire.frames) all.push_back(f.bytes);
        wire.frames.clear();
        return all;
    }
    QueueDriver& vf;
};

constexpr std::uint32_t data = tx::type_data | tx::extended | tx::insert_fcs;
constexpr std::uint32_t both_sums = tx::insert_ip_checksum | tx::insert_l4_checksum;

TEST_CASE("checksums are what a slow computation gives") {
    for (const bool v6 : {false, true}) {
        for (const std::uint8_t protocol : {std::uint8_t{6}, std::uint8_t{17}}) {
            for (const std::size_t payload : {0, 1, 7, 100, 1401}) {
                CAPTURE(v6);
                CAPTURE(protocol);
                CAPTURE(payload);
                OffloadRig rig;
                Packet p;
                p.to = stranger;
                p.v6 = v6;
                p.protocol = protocol;
                p.payload = payload;
                std::vector<std::byte> wanted = p.build();
                if (wanted.size() < 60) wanted.resize(60);
                const auto f = p.build_partial(true);
                REQUIRE(rig.vf.put_context(p.macip(), p.mode(), 0));
                rig.put(f, QueueDriver::data_command(f.size()),
                        QueueDriver::frame_options(f.size()) | (v6 ? tx::insert_l4_checksum : both_sums));
                const auto sent = rig.sent();
                REQUIRE(sent.size() == 1);
                CHECK(sent[0] == wanted);
            }
        }
    }
}

TEST_CASE("segmentation: each segment is the packet that a stack would have made") {
    struct Row {
        bool v6;
        std::size_t payload;
        unsigned mss;
        unsigned pieces;  // descriptors of data
    };
    for (const Row row : {Row{false, 4000, 1448, 3}, Row{false, 2896, 1448, 2}, Row{true, 5001, 1000, 4},
                          Row{false, 100, 1448, 1}, Row{true, 3000, 3, 2}, Row{false, 20'000, 1448, 12}}) {
        CAPTURE(row.payload);
        OffloadRig rig;
        Packet p;
        p.to = stranger;
        p.v6 = row.v6;
        p.payload = row.payload;
        p.flags = 0x99;  // CWR, ACK, PSH, FIN
        const auto whole = p.build_partial(false);
        REQUIRE(
            rig.vf.put_context(p.macip(), p.mode(), row.mss << 16 | static_cast<std::uint32_t>(p.l4_header()) << 8));
        // In pieces that end anywhere.
        const std::size_t piece = (whole.size() + row.pieces - 1) / row.pieces;
        const auto options = static_cast<std::uint32_t>(row.payload) << 14 | both_sums;
        for (std::size_t at = 0; at < whole.size(); at += piece) {
            const std::size_t n = std::min(piece, whole.size() - at);
            const bool last = at + n == whole.size();
            rig.put(std::span{whole}.subspan(at, n),
                    static_cast<std::uint32_t>(n) | data | tx::segmentation |
                        (last ? tx::end_of_packet | tx::report_status : 0),
                    options);
        }
        const auto sent = rig.sent();
        const std::size_t segments = (row.payload + row.mss - 1) / row.mss;
        REQUIRE(sent.size() == segments);
        std::size_t at = 0;
        for (std::size_t i = 0; i < segments; ++i) {
            Packet one = p;
            one.payload = std::min<std::size_t>(row.mss, row.payload - at);
            one.sequence = p.sequence + static_cast<std::uint32_t>(at);
            one.flags = static_cast<std::uint8_t>(i > 0 && i + 1 < segments ? 0x10
                                                  : i > 0                   ? 0x19
                                                  : segments > 1            ? 0x90
                                                                            : 0x99);
            std::vector<std::byte> wanted = one.build(false);
            std::copy_n(whole.begin() + static_cast<std::ptrdiff_t>(p.headers() + at), one.payload,
                        wanted.begin() + static_cast<std::ptrdiff_t>(p.headers()));
            if (!row.v6) {
                store_be16(&wanted[18], static_cast<std::uint16_t>(0x1234 + i));
                store_be16(&wanted[24], slow_sum(std::span{wanted}.subspan(14, 20)));
            }
            store_be16(&wanted[p.sum_at()],
                       slow_sum(std::span{wanted}.subspan(p.l4()), one.pseudo(wanted, 20 + one.payload)));
            if (wanted.size() < 60) wanted.resize(60);
            CHECK(sent[i] == wanted);
            at += one.payload;
        }
        CHECK(rig.vf.reclaim() >= 1);
    }
}

TEST_CASE("packets of many descriptors, up to forty; more than that stop the queue") {
    OffloadRig rig;
    const auto whole = frame(stranger, mac_of(0), 40 * 20);
    for (unsigned i = 0; i < 40; ++i) {
        rig.put(std::span{whole}.subspan(20 * i, 20), 20 | data | (i == 39 ? tx::end_of_packet | tx::report_status : 0),
                800u << 14);
    }
    auto sent = rig.sent();
    REQUIRE(sent.size() == 1);
    CHECK(sent[0] == whole);
    for (unsigned i = 0; i < 41; ++i) {
        rig.put(std::span{whole}.subspan(0, 20), 20 | data | (i == 40 ? tx::end_of_packet | tx::report_status : 0),
                820u << 14);
    }
    CHECK(rig.sent().empty());
    CHECK(rig.controller.statistics().malformed == 1);
}

TEST_CASE("tags: the descriptor's, the pool's, and the legacy descriptor's") {
    OffloadRig rig;
    const auto plain = frame(stranger, mac_of(0), 80);
    rig.driver.set_policy(0, [&] {
        VfPolicy p = rig.driver.policy(0);
        p.spoof_check = false;
        return p;
    }());
    REQUIRE(rig.vf.put_context(5u << 16 | 14u << 9, 0, 0));
    rig.put(plain, QueueDriver::data_command(80) | tx::vlan, 80u << 14);
    CHECK(rig.sent() == Frames{tagged(plain, 5)});
    rig.put(plain, 80 | tx::end_of_packet | tx::insert_fcs | tx::report_status | tx::vlan, 0x6007u << 16);
    CHECK(rig.sent() == Frames{tagged(plain, 0x6007)});
    rig.controller.write(reg::vmvir, vmvir::always | 0x2009);
    rig.put(plain, QueueDriver::data_command(80), 80u << 14);
    CHECK(rig.sent() == Frames{tagged(plain, 0x2009)});
    rig.controller.write(reg::vmvir, vmvir::never);
    rig.put(plain, QueueDriver::data_command(80) | tx::vlan, 80u << 14);
    CHECK(rig.sent() == Frames{plain});
    // A legacy descriptor's checksum, from byte 14 on, at byte 20.
    rig.controller.write(reg::vmvir, 0);
    auto summed = plain;
    store_be16(&summed[20], slow_sum(std::span{plain}.subspan(14)));
    rig.put(plain, 80 | 20u << 16 | tx::end_of_packet | tx::insert_fcs | tx::report_status | tx::legacy_insert_checksum,
            14u << 8);
    CHECK(rig.sent() == Frames{summed});
}

TEST_CASE("what a receiver is told: sums, types, tag, hash") {
    struct Row {
        const char* why;
        bool v6;
        std::uint8_t protocol;
        std::size_t broken;  // byte to change, 0: none
        std::uint32_t status, info;
    };
    constexpr std::uint32_t whole = rx::done | rx::end_of_packet;
    constexpr std::uint32_t v4_tcp = (rx::type_ipv4 | rx::type_tcp) << 4 | rx::rss_ipv4_tcp,
                            v4_udp = (rx::type_ipv4 | rx::type_udp) << 4 | rx::rss_ipv4,
                            v6_tcp = (rx::type_ipv6 | rx::type_tcp) << 4 | rx::rss_ipv6_tcp;
    const Row rows[] = {
        {"good TCP", false, 6, 0, whole | rx::ip_checksum | rx::l4_checksum, v4_tcp},
        {"good UDP", false, 17, 0, whole | rx::ip_checksum | rx::l4_checksum | rx::udp_checksum, v4_udp},
        {"good TCP on IPv6", true, 6, 0, whole | rx::l4_checksum, v6_tcp},
        {"bad payload", false, 6, 90, whole | rx::ip_checksum | rx::l4_checksum | rx::l4_error, v4_tcp},
        {"bad time to live", false, 6, 22, whole | rx::ip_checksum | rx::ip_error | rx::l4_checksum, v4_tcp},
    };
    for (const Row& row : rows) {
        CAPTURE(row.why);
        OffloadRig rig;
        Packet p;
        p.to = mac_of(0);
        p.from = stranger;
        p.v6 = row.v6;
        p.protocol = row.protocol;
        auto f = p.build();
        if (row.broken != 0) f[row.broken] ^= std::byte{1};
        rig.controller.received(f);
        rig.run(Time::us(10));
        const auto got = rig.vf.receive();
        REQUIRE(got.bytes.size() == f.size());
        CHECK(static_cast<std::uint32_t>(got.descriptor.high) == row.status);
        CHECK(static_cast<std::uint32_t>(got.descriptor.low) == row.info);
    }
}

TEST_CASE("the hash is Microsoft's: their example") {
    // The key and the first vectors of the published verification suite.
    constexpr std::uint8_t key_bytes[40] = {0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67,
                                            0x25, 0x3d, 0x43, 0xa3, 0x8f, 0xb0, 0xd0, 0xca, 0x2b, 0xcb,
                                            0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30,
                                            0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa};
    std::array<std::byte, 40> key;
    std::memcpy(key.data(), key_bytes, 40);
    std::array<std::byte, 12> input{};
    store_be32(input.data(), 66u << 24 | 9u << 16 | 149u << 8 | 187u);
    store_be32(&input[4], 161u << 24 | 142u << 16 | 100u << 8 | 80u);
    CHECK(toeplitz(std::span{input}.first(8), key) == 0x323e'8fc2);
    store_be16(&input[8], 2794);
    store_be16(&input[10], 1766);
    CHECK(toeplitz(input, key) == 0x51cc'c178);
    // And the adapter's registers and descriptors say the same.
    OffloadRig rig;
    Packet p;
    p.to = mac_of(0);
    p.from = stranger;
    p.source_port = 2794;
    p.destination_port = 1766;
    auto f = p.build(false);
    std::memcpy(&f[26], input.data(), 8);
    rig.controller.received(f);
    rig.run(Time::us(10));
    CHECK((rig.vf.receive().descriptor.low >> 32) == 0x51cc'c178);
}

TEST_CASE("a pool's queues share by the hash, as many as the pool wants") {
    OffloadRig rig;
    const auto queue_of = [&](std::uint32_t psrtype) {
        rig.registers[0]->write_register(vf_reg::psrtype, psrtype);
        const auto second = [&] {
            const auto& s = rig.controller.statistics();
            return s.queue_dropped[1] + s.queue_received[1];
        };
        const std::uint64_t before = second();
        for (std::uint16_t port = 0; port < 64; ++port) {
            Packet p;
            p.to = mac_of(0);
            p.from = stranger;
            p.source_port = port;
            rig.controller.received(p.build());
            rig.run(Time::us(1));
            while (!rig.vf.receive().bytes.empty()) rig.vf.release();
        }
        return second() - before;
    };
    CHECK(queue_of(0x1330) == 0);
    const std::uint64_t second = queue_of(0x1330 | 1u << 29);
    CHECK(second > 20);
    CHECK(second < 44);
}

TEST_CASE("a received tag is stripped where the queue wants it") {
    OffloadRig rig;
    rig.driver.set_policy(0, [&] {
        VfPolicy p = rig.driver.policy(0);
        p.vlan = 9;
        return p;
    }());
    const auto plain = frame(mac_of(0), stranger, 100);
    rig.controller.received(tagged(plain, 0x4009));
    rig.run(Time::us(10));
    auto got = rig.vf.receive();
    REQUIRE(got.bytes.size() == 104);
    rig.vf.release();
    rig.registers[0]->write_register(0x1028, rxdctl::enable | rxdctl::vlan_strip);
    rig.controller.received(tagged(plain, 0x4009));
    rig.run(Time::us(10));
    got = rig.vf.receive();
    REQUIRE(got.bytes.size() == 100);
    CHECK(std::equal(got.bytes.begin(), got.bytes.end(), plain.begin()));
    CHECK((got.descriptor.high & rx::vlan) != 0);
    CHECK((got.descriptor.high >> 48) == 0x4009);
}

TEST_CASE("headers go into their own buffer, long frames into several, legacy descriptors keep their address") {
    OffloadRig rig;
    VirtualRegisters& r = *rig.registers[0];
    constexpr std::uint64_t ring = 0xf0'0000, buffers = 0xf1'0000, headers = 0xf8'0000;
    const auto setup = [&](std::uint32_t split) {
        r.write_register(0x1028, 0);
        r.write_register(0x1000, ring);
        r.write_register(0x1008, 16 * 16);
        r.write_register(0x1010, 0);
        r.write_register(0x1014, split);
        r.write_register(0x1028, rxdctl::enable);
        for (unsigned i = 0; i < 16; ++i) {
            const Descriptor d{buffers + 4096 * i, headers + 256 * i};
            std::memcpy(&rig.bus.memory[ring + 16 * i], &d, 16);
        }
        r.write_register(0x1018, 15);
        rig.run(Time::us(5));
    };
    const auto descriptor = [&](unsigned i) {
        Descriptor d;
        std::memcpy(&d, &rig.bus.memory[ring + 16 * i], 16);
        return d;
    };
    Packet p;
    p.to = mac_of(0);
    p.from = stranger;
    p.payload = 1400;
    const auto f = p.build();
    r.write_register(vf_reg::psrtype, 0x1330);
    setup(srrctl::advanced_split << 25 | 4u << 8 | 2);
    rig.controller.received(f);
    rig.run(Time::us(10));
    CHECK((descriptor(0).low >> 21 & 0x3ff) == 54);
    CHECK((descriptor(0).low >> 31 & 1) == 1);
    CHECK((descriptor(0).high >> 32) == 1400);
    CHECK(std::equal(f.begin(), f.begin() + 54, rig.bus.memory.begin() + headers));
    CHECK(std::equal(f.begin() + 54, f.end(), rig.bus.memory.begin() + buffers));
    // All of it where headers go, which has more room than the length of a header can say.
    setup(srrctl::advanced_split_always << 25 | 63u << 8 | 2);
    rig.controller.received(frame(mac_of(0), stranger, 1100));
    rig.run(Time::us(10));
    CHECK((descriptor(0).low >> 21 & 0x7ff) == 1100 - 1024);
    CHECK((descriptor(0).high >> 32) == 0);
    // 1454 bytes in buffers of 1 KiB, not split.
    setup(srrctl::advanced_one << 25 | 1);
    rig.controller.received(f);
    rig.run(Time::us(10));
    CHECK((descriptor(0).high & 3) == rx::done);
    CHECK((descriptor(0).high >> 32) == 1024);
    CHECK((descriptor(1).high & 3) == 3);
    CHECK((descriptor(1).high >> 32) == 430);
    CHECK(std::equal(f.begin() + 1024, f.end(), rig.bus.memory.begin() + buffers + 4096));
    CHECK(r.read_register(0x1010) == 2);
    // The legacy layout.
    setup(2);
    rig.controller.received(f);
    rig.run(Time::us(10));
    CHECK(descriptor(0).low == buffers);
    CHECK((descriptor(0).high & 0xffff) == 1454);
    CHECK((descriptor(0).high >> 32 & 0xff) == 0x63);
}

}  // namespace

}  // namespace offload_test
