// TCP between two behavioural hosts: transfers over good and bad networks, ends of all kinds, determinism, checkpoints.
#include <doctest/doctest.h>

#include "models/network/peer/sha256.h"
#include "tests/effort.h"
#include "tests/models/network_frames.h"
#include "tests/models/network_hosts.h"

namespace network_tcp_test {

using namespace network_test;
using namespace sim::literals;

namespace {

constexpr std::uint64_t mib = 1024 * 1024;

TcpServiceSettings source(std::uint64_t bytes, std::uint64_t seed = 7) {
    return {.service = TcpService::source, .source_bytes = bytes, .seed = seed};
}
const TcpServiceSettings sink{.service = TcpService::sink};

std::string hash_of(TwoHosts& net) {
    return net.simulation.trace().hash();
}

}  // namespace

TEST_CASE("SHA-256: FIPS 180-4 examples, and the same however it is cut") {
    const auto digest = [](std::string_view text) {
        Sha256 hash;
        hash.add(std::as_bytes(std::span{text}));
        return models::to_hex(hash.digest());
    };
    CHECK(digest("") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    CHECK(digest("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    CHECK(digest("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq") ==
          "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
    CHECK(digest(std::string(1000, 'a')) == "41edece42d63e8d9bf515a9ba6932e1c20cbc9f5a5d134645adb5db1b9737ea3");
    const auto bytes = counted_bytes(777);
    Sha256 whole;
    whole.add(bytes);
    for (std::size_t step = 1; step < 130; ++step) {
        Sha256 parts;
        for (std::size_t at = 0; at < bytes.size(); at += step) {
            parts.add(std::span{bytes}.subspan(at, std::min(step, bytes.size() - at)));
            Sha256 restored;
            sim::restore_from_bytes(restored, sim::save_to_bytes(parts));
            parts = restored;
        }
        REQUIRE(parts.digest() == whole.digest());
    }
}

TEST_CASE("the pattern is the same wherever it is cut") {
    std::vector<std::byte> whole(1000);
    write_pattern(5, 0, whole);
    for (std::uint64_t at = 0; at < 990; at += 7) {
        std::vector<std::byte> part(10);
        write_pattern(5, at, part);
        REQUIRE(std::equal(part.begin(), part.end(), whole.begin() + static_cast<long>(at)));
    }
    Sha256 hash;
    hash.add(whole);
    CHECK(pattern_digest(5, 1000) == hash.digest());
    CHECK(pattern_digest(6, 1000) != hash.digest());
}

TEST_CASE("TCP: 10 MiB over every kind of network, intact") {
    struct Row {
        const char* name;
        ImpairmentSettings bad;
        bool v6;
        std::uint32_t large_send;
        bool sack;
        bool timestamps;
        bool window_scaling;
        std::int64_t limit_s;
    };
    const ImpairmentSettings good{};
    const ImpairmentSettings lossy{.lose_one_in = 100, .delay = 50_us};
    const ImpairmentSettings terrible{.lose_one_in = 50,
                                      .duplicate_one_in = 30,
                                      .damage_one_in = 200,
                                      .reorder_one_in = 20,
                                      .delay = 100_us,
                                      .reorder_delay = 300_us};
    const ImpairmentSettings shuffled{.reorder_one_in = 3, .delay = 20_us, .reorder_delay = 200_us};
    for (const auto& row : {
             Row{"clean", good, false, 0, true, true, true, 1},
             Row{"clean, IPv6", good, true, 0, true, true, true, 1},
             Row{"clean, large sends", good, false, 60'000, true, true, true, 1},
             Row{"clean, nothing negotiated", good, false, 0, false, false, false, 1},
             Row{"loss", lossy, false, 0, true, true, true, 60},
             Row{"loss, large sends, IPv6", lossy, true, 60'000, true, true, true, 60},
             Row{"loss, no SACK", lossy, false, 0, false, true, true, 300},
             Row{"loss, nothing negotiated", lossy, false, 0, false, false, false, 300},
             Row{"all of it", terrible, false, 0, true, true, true, 300},
             Row{"all of it, no SACK", terrible, false, 0, false, false, true, 600},
             Row{"shuffled", shuffled, false, 0, true, true, true, 60},
         }) {
        const std::string name = row.name;
        CAPTURE(name);
        std::string first_hash;
        constexpr auto length = effort(10 * mib);
        for (int run = 0; run < 2; ++run) {
            PeerSettings one = host(1);
            one.tcp.large_send_bytes = row.large_send;
            one.tcp.sack = row.sack;
            one.tcp.timestamps = row.timestamps;
            one.tcp.window_scaling = row.window_scaling;
            TwoHosts net(3, row.bad, one, host(2), {.queue_bytes = 4 * mib});
            net.b.tcp().listen(5001, sink);
            const auto id =
                net.a.connect({row.v6 ? net.b.settings().ipv6 : net.b.settings().ipv4, 5001}, source(length));
            REQUIRE(net.run_until_end_of(net.a, id, sim::Time::s(row.limit_s)));
            net.run_for(1_s);
            const auto sent = *net.a.tcp().result(id);
            CHECK(sent.end == TcpEnd::closed);
            CHECK(sent.sent == length);
            REQUIRE(net.b.tcp().results().size() == 1);
            const auto got = net.b.tcp().results().back();
            CHECK(got.end == TcpEnd::closed);
            CHECK(got.received == length);
            CHECK(got.received_digest == pattern_digest(7, length));
            if (run == 0) {
                MESSAGE(name << ": " << (sent.ended_at - sent.opened_at) / 1_us << " us, again " << sent.retransmissions
                             << ", time-outs " << net.counter("a.tcp.time_outs") << ", recoveries "
                             << net.counter("a.tcp.fast_recoveries"));
                first_hash = hash_of(net);
            } else {
                CHECK(hash_of(net) == first_hash);
            }
            if (row.bad.lose_one_in == 0 && row.bad.reorder_one_in == 0) CHECK(sent.retransmissions == 0);
        }
    }
}

}  // namespace network_tcp_test
