// The service and a guest's driver over real rings: every version comes up, frames are counted alike at both ends, and
// nothing is lost but what is counted.
#include <doctest/doctest.h>

#include "tests/vmbus/network_pair.h"

namespace network_pair_test {

using namespace vmbus;
using namespace vmbus::network_rig;

namespace {

Bytes numbered(std::size_t bytes, std::uint32_t number) {
    Bytes frame = frame_of(bytes, 17, adapter_address, static_cast<std::uint8_t>(number));
    std::memcpy(frame.data() + 30, &number, 4);
    return frame;
}

OutgoingFrame outgoing(Bytes bytes) {
    OutgoingFrame frame;
    frame.bytes = std::move(bytes);
    return frame;
}

std::uint32_t number_of(const Bytes& frame) {
    return as<std::uint32_t>(frame, 30);
}

}  // namespace

TEST_CASE("network pair: a driver comes up with each version that both know") {
    struct Row {
        std::uint32_t host;
        std::uint32_t guest;
        std::uint32_t agreed;
        std::uint16_t channels;
    };
    for (const Row& row : {Row{nvsp::version_6_1, nvsp::version_6_1, nvsp::version_6_1, 4},
                           Row{nvsp::version_6, nvsp::version_6_1, nvsp::version_6, 4},
                           Row{nvsp::version_5, nvsp::version_6_1, nvsp::version_5, 4},
                           Row{nvsp::version_4, nvsp::version_6_1, nvsp::version_4, 1},
                           Row{nvsp::version_2, nvsp::version_6_1, nvsp::version_2, 1},
                           Row{nvsp::version_1, nvsp::version_6_1, nvsp::version_1, 1},
                           Row{nvsp::version_6_1, nvsp::version_2, nvsp::version_2, 1}}) {
        CAPTURE(row.agreed);
        auto host = Pair::provider_config(4);
        host.highest_version = row.host;
        auto guest = Pair::client_config(4);
        guest.newest_version = row.guest;
        Pair pair{host, guest};
        pair.loop.client.connect();
        pair.run(sim::Time::ms(50));
        REQUIRE(pair.client->is_up());
        CHECK(pair.provider->ready());
        CHECK(pair.client->version() == row.agreed);
        CHECK(pair.provider->version() == row.agreed);
        CHECK(pair.client->channels() == row.channels);
        CHECK(pair.provider->open_channels() == row.channels);
        CHECK(pair.client->address() == adapter_address);
        CHECK(pair.client->mtu() == 1500);
        CHECK(pair.client->bits_per_second() == (row.agreed >= nvsp::version_5 ? 10'000'000'000 : 0));
        CHECK(pair.client->offloads().coalescing_ipv4 == (row.agreed == nvsp::version_6_1));
        CHECK(pair.client->offloads() == pair.provider->adapter().offloads());
        CHECK(pair.provider->adapter().rss().enabled == (row.channels > 1));
        CHECK(pair.stack.calls == std::vector<std::string>{"ready"});
        CHECK(pair.client->host_errors() == 0);
        CHECK(pair.provider->receive_buffer().with_guest() == 0);
    }
}

TEST_CASE("network pair: a refused oldest version is the end") {
    auto host = Pair::provider_config();
    host.highest_version = nvsp::version_1;
    auto guest = Pair::client_config();
    guest.oldest_version = nvsp::version_2;
    Pair pair{host, guest};
    pair.loop.client.connect();
    pair.run(sim::Time::ms(50));
    CHECK_FALSE(pair.client->is_up());
    CHECK(pair.provider->version() == 0);
}

TEST_CASE("network pair: thousands of frames each way, in order, counted alike at both ends") {
    Pair pair;
    pair.up();
    constexpr std::uint32_t count = 5000;
    std::uint64_t bytes = 0;
    std::uint32_t given = 0;
    std::uint32_t sent = 0;
    for (int round = 0; round < 4000 && (given < count || sent < count); ++round) {
        for (int n = 0; n < 20 && given < count; ++n, ++given) {
            const std::size_t size = 60 + (given * 97) % 1455;
            pair.to_guest(incoming(numbered(size, given)));
        }
        while (sent < count && round >= 0) {
            const std::size_t size = 60 + (sent * 131) % 1455;
            if (!pair.client->transmit(outgoing(numbered(size, sent)))) break;
            bytes += size;
            ++sent;
            if (sent % 16 == 0) break;
        }
        pair.run(sim::Time::us(20));
    }
    pair.run(sim::Time::ms(50));
    REQUIRE(given == count);
    REQUIRE(sent == count);
    REQUIRE(pair.port.frames.size() == count);
    REQUIRE(pair.stack.frames.size() == count);
    for (std::uint32_t n = 0; n < count; ++n) {
        REQUIRE(number_of(pair.port.frames[n].second.bytes) == n);
        REQUIRE(number_of(pair.stack.frames[n].second.bytes) == n);
    }
    CHECK(pair.client->sent() == ClientCount{count, bytes, 0});
    CHECK(pair.provider->from_guest().frames() == count);
    CHECK(pair.provider->from_guest().bytes() == bytes);
    CHECK(pair.client->received().frames == pair.provider->to_guest().frames());
    CHECK(pair.client->received().bytes == pair.provider->to_guest().bytes());
    CHECK(pair.provider->receive_buffer().with_guest() == 0);
    CHECK(pair.client->host_errors() == 0);
    for (std::size_t reason = 0; reason < network_drop_count; ++reason) {
        CHECK(pair.provider->dropped(static_cast<NetworkDrop>(reason)) == 0);
    }
}

TEST_CASE("network pair: large frames and small ones share sections, header and payload apart") {
    Pair pair;
    pair.up();
    std::vector<OutgoingFrame> frames;
    for (std::uint32_t n = 0; n < 60; ++n) {
        OutgoingFrame frame = outgoing(numbered(n % 7 == 6 ? 60'000 : n % 3 == 2 ? 1514 : 100, n));
        if (n % 7 == 6) {
            frame.bytes[23] = std::byte{6};
            frame.large_send_mss = 1448;
            frame.transport_offset = 34;
            frame.fill_tcp_checksum = frame.fill_ip_checksum = true;
        }
        if (n % 5 == 0) frame.vlan_tci = static_cast<std::uint16_t>(n);
        frames.push_back(frame);
        REQUIRE(pair.client->transmit(OutgoingFrame{frame}));
    }
    pair.run(sim::Time::ms(10));
    REQUIRE(pair.port.frames.size() == frames.size());
    for (std::size_t n = 0; n < frames.size(); ++n) {
        CAPTURE(n);
        CHECK(pair.port.frames[n].second == frames[n]);
    }
    CHECK(pair.client->sent().frames == 60);
    CHECK(pair.client->sent().errors == 0);
}

TEST_CASE("network pair: coalesced frames take several sections") {
    Pair pair;
    pair.up();
    IncomingFrame frame = incoming(frame_of(64'000));
    frame.coalesced_segments = 44;
    frame.ip_checksum = ChecksumState::absent;
    frame.tcp_checksum = ChecksumState::good;
    frame.vlan_tci = 0x2007;
    frame.hash = 77;
    for (int n = 0; n < 20; ++n) pair.to_guest(frame);
    pair.run(sim::Time::ms(10));
    REQUIRE(pair.stack.frames.size() == 20);
    frame.coalesced_segments = 0;  // not said to the guest
    for (const auto& [queue, received] : pair.stack.frames) CHECK(received == frame);
    CHECK(pair.client->received() == ClientCount{20, 20 * 64'000, 0});
    CHECK(pair.provider->receive_buffer().with_guest() == 0);
}

TEST_CASE("network pair: channels carry what hashes name, and the counts of each are equal") {
    Pair pair{Pair::provider_config(8), Pair::client_config(8)};
    pair.up();
    CHECK(pair.provider->open_channels() == 8);
    for (std::uint32_t n = 0; n < 800; ++n) {
        IncomingFrame frame = incoming(numbered(200, n));
        frame.hash = n;
        pair.to_guest(frame);
        OutgoingFrame sent = outgoing(numbered(300, n));
        sent.hash = n;
        REQUIRE(pair.client->transmit(std::move(sent)));
        if (n % 16 == 15) pair.run(sim::Time::us(50));
    }
    pair.to_guest(incoming(numbered(60, 999)));  // no hash: the first channel
    pair.run(sim::Time::ms(10));
    REQUIRE(pair.stack.frames.size() == 801);
    REQUIRE(pair.port.frames.size() == 800);
    for (const auto& [queue, frame] : pair.stack.frames) CHECK(queue == (frame.hash ? *frame.hash % 8 : 0));
    for (const auto& [queue, frame] : pair.port.frames) CHECK(queue == *frame.hash % 16 % 8);
    for (std::uint16_t n = 0; n < 8; ++n) {
        CHECK(pair.client->received(n).frames == (n == 0 ? 101 : 100));
        CHECK(pair.client->sent(n).frames == 100);
    }
}

TEST_CASE("network pair: MTU and number of channels change by taking the adapter down and up") {
    auto guest = Pair::client_config(2);
    guest.most_channels = 8;
    Pair pair{Pair::provider_config(8), guest};
    pair.up();
    struct Row {
        std::uint32_t mtu;
        std::uint16_t channels;
    };
    for (const Row& row : {Row{9000, 8}, Row{1500, 4}, Row{4000, 1}}) {
        const std::uint32_t mtu = row.mtu;
        const std::uint16_t channels = row.channels;
        CAPTURE(mtu);
        // In the middle of traffic.
        for (std::uint32_t n = 0; n < 100; ++n) {
            pair.to_guest(incoming(numbered(500, n)));
            OutgoingFrame frame = outgoing(numbered(500, n));
            frame.hash = n;
            REQUIRE(pair.client->transmit(std::move(frame)));
        }
        pair.run(sim::Time::us(7));
        pair.client->reattach(mtu, channels);
        pair.run(sim::Time::ms(50));
        REQUIRE(pair.client->is_up());
        CHECK(pair.client->mtu() == mtu);
        CHECK(pair.client->channels() == channels);
        CHECK(pair.provider->open_channels() == channels);
        CHECK(pair.client->sent().frames == pair.provider->from_guest().frames());
        CHECK(pair.client->received().frames == pair.provider->to_guest().frames());
        pair.stack.frames.clear();
        pair.port.frames.clear();
        REQUIRE(pair.client->transmit(outgoing(numbered(mtu + 14, 1))));
        pair.to_guest(incoming(numbered(mtu + 14, 2)));
        pair.run(sim::Time::ms(1));
        CHECK(pair.port.frames.size() == 1);
        CHECK(pair.stack.frames.size() == 1);
    }
    CHECK(pair.client->host_errors() == 0);
    CHECK(pair.client->sent().frames == 303);
    // Every frame for the guest arrived, or was dropped for a reason.
    std::uint64_t dropped = 0;
    for (std::size_t n = 0; n < network_drop_count; ++n) dropped += pair.provider->dropped(static_cast<NetworkDrop>(n));
    CHECK(pair.provider->to_guest().frames() + dropped == 303);
}

TEST_CASE("network pair: link, speed, network, address and virtual function are told") {
    auto host = Pair::provider_config();
    host.adapter.address_change_allowed = true;
    Pair pair{host};
    pair.up();
    pair.provider->set_link(false);
    pair.run(sim::Time::ms(1));
    CHECK_FALSE(pair.client->link_up());
    pair.provider->set_link(true);
    pair.run(sim::Time::ms(1));
    pair.provider->set_link_speed(40'000'000'000);
    pair.provider->network_changed();
    pair.run(sim::Time::ms(1));
    CHECK(pair.client->bits_per_second() == 40'000'000'000);
    pair.provider->associate_vf(0x1234);
    pair.run(sim::Time::ms(1));
    pair.client->switch_data_path(true);
    pair.run(sim::Time::ms(1));
    CHECK(pair.provider->data_path_is_vf());
    pair.client->switch_data_path(false);
    pair.run(sim::Time::ms(1));
    CHECK_FALSE(pair.provider->data_path_is_vf());
    pair.provider->revoke_vf();
    pair.run(sim::Time::ms(1));
    CHECK(pair.stack.calls == std::vector<std::string>{"link down", "link up", "network changed", "vf 4660", "switched",
                                                       "switched", "no vf 4660"});
    constexpr NetworkAddress other{{2, 0, 0, 0, 0, 7}};
    pair.client->set_address(other);
    pair.run(sim::Time::ms(1));
    CHECK(pair.client->address_status() == 0);
    CHECK(pair.client->address() == other);
    CHECK(pair.provider->adapter().address() == other);
    pair.to_guest(incoming(frame_of(60)));
    pair.to_guest(incoming(frame_of(60, 6, other)));
    pair.run(sim::Time::ms(1));
    CHECK(pair.stack.frames.size() == 1);
    CHECK(pair.provider->dropped(NetworkDrop::filtered) == 1);
    CHECK(pair.client->host_errors() == 0);
}

TEST_CASE("network pair: a guest that falls behind loses frames, each for one counted reason") {
    auto guest = Pair::client_config();
    guest.receive_pages = 64;  // 151 sections
    guest.per_frame = sim::Time::us(20);
    Pair pair{Pair::provider_config(), guest};
    pair.up();
    for (std::uint32_t n = 0; n < 3000; ++n) {
        pair.to_guest(incoming(numbered(1000, n)));
        if (n % 10 == 9) pair.run(sim::Time::us(5));
    }
    pair.run(sim::Time::ms(50));
    const std::uint64_t no_sections = pair.provider->dropped(NetworkDrop::no_sections);
    const std::uint64_t backlog = pair.provider->dropped(NetworkDrop::backlog_full);
    CHECK(no_sections > 1000);
    CHECK(pair.stack.frames.size() + no_sections + backlog == 3000);
    CHECK(pair.client->received().frames == pair.provider->to_guest().frames());
    CHECK(pair.provider->to_guest().discards == no_sections + backlog);
    CHECK(pair.provider->receive_buffer().with_guest() == 0);
    // And goes on.
    pair.stack.frames.clear();
    pair.to_guest(incoming(numbered(1000, 1)));
    pair.run(sim::Time::ms(1));
    CHECK(pair.stack.frames.size() == 1);
}

TEST_CASE("network pair: small rings: nothing of the guest's is lost") {
    auto guest = Pair::client_config();
    guest.ring_pages = {2, 2};
    guest.send_pages = 4;
    Pair pair{Pair::provider_config(), guest};
    pair.up();
    std::uint32_t sent = 0;
    for (int round = 0; round < 500 && sent < 2000; ++round) {
        while (sent < 2000 && pair.client->transmit(outgoing(numbered(1400, sent)))) ++sent;
        pair.to_guest(incoming(numbered(100, static_cast<std::uint32_t>(round))));
        pair.run(sim::Time::us(100));
    }
    pair.run(sim::Time::ms(50));
    CHECK(sent == 2000);
    REQUIRE(pair.port.frames.size() == 2000);
    for (std::uint32_t n = 0; n < 2000; ++n) REQUIRE(number_of(pair.port.frames[n].second.bytes) == n);
    CHECK(pair.client->sent() == ClientCount{2000, 2000 * 1400, 0});
    CHECK(pair.client->received().frames == pair.provider->to_guest().frames());
}

TEST_CASE("network pair: work costs the processors of both sides what it should") {
    // One frame of 1000 bytes for the guest. The root: frame, packet and copying of 1000 bytes, signal.
    Pair pair;
    pair.up();
    const auto busy = [&](std::string_view who) {
        return pair.loop.simulation.statistics().counter(std::string{who} + ".busy", "ps", "").value();
    };
    const std::uint64_t root_before = busy("root.cpu0");
    const std::uint64_t guest_before = busy("guest.vp0");
    pair.to_guest(incoming(numbered(1000, 1)));
    pair.run(sim::Time::ms(1));
    constexpr std::uint64_t copy = 1000 * 100'000 / 1024;
    constexpr std::uint64_t root = 300'000 + 150'000 + copy + 500'000  // deliver
                                   + 1'000'000 + 150'000;              // called: one completion
    CHECK(busy("root.cpu0") - root_before == root);
    // The guest: called, a packet with a message of 1044 bytes, a frame; its completion goes with it.
    constexpr std::uint64_t guest_copy = (1000 + 44) * 100'000 / 1024;
    CHECK(busy("guest.vp0") - guest_before == 1'000'000 + 150'000 + guest_copy + 300'000);
}

TEST_CASE("network pair: restored in the middle of traffic, a run ends as the straight one") {
    const auto host = Pair::provider_config(4);
    auto guest = Pair::client_config(4);
    guest.receive_pages = 200;
    guest.send_pages = 20;
    guest.ring_pages = {8, 8};
    test::LoopbackConfig bus;
    bus.memory_pages = 600;
    const auto offer = [](Pair& pair, std::uint32_t from, std::uint32_t to) {
        for (std::uint32_t n = from; n < to; ++n) {
            IncomingFrame frame = incoming(numbered(60 + n % 1400, n));
            frame.hash = n * 7;
            pair.to_guest(frame);
            OutgoingFrame sent = outgoing(numbered(60 + n % 1300, n));
            sent.hash = n * 3;
            (void)pair.client->transmit(std::move(sent));
            if (n % 8 == 7) pair.run(sim::Time::us(9));
        }
    };
    for (const std::int64_t moment : {0, 1, 3, 7, 20}) {
        CAPTURE(moment);
        Pair straight{host, guest, bus};
        straight.up();
        offer(straight, 0, 200);
        straight.run(sim::Time::ns(moment * 700));
        const auto checkpoint = straight.loop.simulation.save();
        const std::size_t received = straight.stack.frames.size();
        const std::size_t transmitted = straight.port.frames.size();
        offer(straight, 200, 400);
        straight.run(sim::Time::ms(5));

        Pair restored{host, guest, bus};
        restored.loop.simulation.restore(checkpoint);
        CHECK(restored.client->is_up());
        offer(restored, 200, 400);
        restored.run(sim::Time::ms(5));
        REQUIRE(restored.stack.frames.size() == straight.stack.frames.size() - received);
        for (std::size_t n = 0; n < restored.stack.frames.size(); ++n) {
            REQUIRE(restored.stack.frames[n] == straight.stack.frames[received + n]);
        }
        REQUIRE(restored.port.frames.size() == straight.port.frames.size() - transmitted);
        CHECK(restored.client->sent() == straight.client->sent());
        CHECK(restored.client->received() == straight.client->received());
        CHECK(restored.loop.simulation.trace().hash() == straight.loop.simulation.trace().hash());
        CHECK(restored.loop.simulation.save() == straight.loop.simulation.save());
    }
}

}  // namespace network_pair_test
