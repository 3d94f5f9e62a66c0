// Sockets between host and guest, over a bus with both ends: connecting both ways, bytes, half close, a reader that is
// slow, limits, and guests that cheat.
#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "tests/vmbus/loopback.h"
#include "vmbus/inband/bytes.h"
#include "vmbus/socket/host_sockets.h"
#include "vmbus/socket/socket_client.h"

namespace socket_test {

using namespace vmbus;
using namespace vmbus::test;
using namespace sim::literals;

namespace {

using Bytes = std::vector<std::byte>;
using Log = std::vector<std::string>;

Bytes pattern(std::size_t count) {
    Bytes bytes(count);
    for (std::size_t n = 0; n < count; ++n) bytes[n] = static_cast<std::byte>(n * 31 >> 3);
    return bytes;
}

struct User final : SocketUser {
    Log log;
    void accepted(SocketId id, std::uint32_t port) override {
        log.push_back("accepted " + std::to_string(id) + " " + std::to_string(port));
    }
    void connected(SocketId id) override { log.push_back("connected " + std::to_string(id)); }
    void refused(SocketId id) override { log.push_back("refused " + std::to_string(id)); }
    void readable(SocketId) override {}
    void finished(SocketId id) override { log.push_back("finished " + std::to_string(id)); }
    void drained(SocketId id) override { log.push_back("drained " + std::to_string(id)); }
    void closed(SocketId id) override { log.push_back("closed " + std::to_string(id)); }
};

constexpr std::uint32_t host_port = 5000;
constexpr std::uint32_t guest_port = 6000;

struct Fixture {
    Loopback loop;
    sim::SerialProcessor processor{loop.simulation.scope("root.cpu"), sim::Time::zero()};
    User user;
    HostSockets sockets;
    GuestSocket guest;

    explicit Fixture(const HostSockets::Settings& settings = {})
        : sockets(loop.simulation.scope("sockets"), {loop.server, processor, Costs{}}, settings, user) {
        loop.server.set_socket_listener(&sockets);
        const Loopback::Binding binding{&guest, true, GuestSocket::rings, ReadMode::direct};
        loop.bindings[socket::service_of(host_port)] = binding;
        loop.bindings[socket::service_of(guest_port)] = binding;
        loop.connect();
    }
    // A connection that the guest asked for.
    SocketId from_guest() {
        sockets.listen(host_port);
        GuestSocket::connect(loop.client, 777, host_port);
        loop.run(1_ms);
        return 1;
    }
    SocketId from_host() {
        const SocketId id = *sockets.connect(guest_port);
        loop.run(1_ms);
        return id;
    }
};

}  // namespace

TEST_CASE("a service is a port in a GUID") {
    CHECK(to_text(socket::service_of(0x12345678)) == "12345678-facb-11e6-bd58-64006a7986d3");
    CHECK(socket::port_of(socket::service_of(80)) == 80);
    CHECK_FALSE(socket::port_of(interface_type::network));
}

TEST_CASE("the offer: flags, whose port is where, who accepts") {
    Fixture f;
    (void)f.from_guest();
    const auto& offer = f.loop.offers.back();
    CHECK(offer.flags == 0x2011);
    CHECK(offer.interface_type == socket::service_of(host_port));
    CHECK(offer.instance == socket::service_of(777));
    CHECK(Bytes(offer.user_defined.begin(), offer.user_defined.begin() + 12) ==
          Bytes{std::byte{0}, std::byte{0}, std::byte{0}, std::byte{0}, std::byte{0}, std::byte{0}, std::byte{1},
                std::byte{0}, std::byte{0}, std::byte{0}, std::byte{0}, std::byte{0}});
    CHECK(GuestSocket::answers(offer, 777, host_port));
    (void)f.from_host();
    const auto& other = f.loop.offers.back();
    CHECK(other.interface_type == socket::service_of(guest_port));
    CHECK(socket::port_of(other.instance));
    CHECK(other.user_defined[4] == std::byte{1});
    CHECK(GuestSocket::is_for(other, guest_port));
}

TEST_CASE("both ways of connecting, and bytes both ways") {
    for (const bool from_host : {false, true}) {
        CAPTURE(from_host);
        Fixture f;
        const SocketId id = from_host ? f.from_host() : f.from_guest();
        CHECK(f.user.log == Log{from_host ? "connected 1" : "accepted 1 5000"});
        CHECK(f.sockets.phase(id) == HostSockets::Phase::open);
        const Bytes data = pattern(300'000);
        CHECK(f.sockets.send(id, data));
        f.guest.send(std::span{data}.first(1000));
        f.loop.run(100_ms);
        CHECK(f.guest.read() == data);
        CHECK(f.sockets.unsent_bytes(id) == 0);
        CHECK(f.sockets.read(id, 10) == Bytes(data.begin(), data.begin() + 10));
        CHECK(f.sockets.readable_bytes(id) == 990);
        CHECK(f.sockets.read(id) == Bytes(data.begin() + 10, data.begin() + 1000));
        CHECK(f.user.log.back() == "drained 1");
    }
}

TEST_CASE("the ring: one message, byte by byte, and the end of a direction") {
    Fixture f;
    const SocketId id = f.from_guest();
    ClientChannel* channel = f.loop.client.find(socket::service_of(host_port));
    REQUIRE(channel != nullptr);
    f.guest.set_reading(false);
    CHECK(f.sockets.send(id, as_bytes("hello")));
    f.sockets.finish(id);
    CHECK_FALSE(f.sockets.send(id, as_bytes("more")));
    f.loop.run(1_ms);
    Packet packet;
    REQUIRE(channel->receive(packet));
    CHECK(packet.payload == ByteBuilder{}.u32(1).u32(5).bytes(as_bytes("hello")).zeros(3).take());
    REQUIRE(channel->receive(packet));
    CHECK(packet.payload == ByteBuilder{}.u32(1).u32(0).take());
    CHECK_FALSE(channel->receive(packet));
}

TEST_CASE("half close: each side ends its own direction, and the connection goes with the second") {
    for (const bool host_first : {false, true}) {
        CAPTURE(host_first);
        Fixture f;
        const SocketId id = f.from_guest();
        if (host_first) {
            f.sockets.finish(id);
        } else {
            f.guest.finish();
        }
        f.loop.run(10_ms);
        CHECK(f.sockets.phase(id) == HostSockets::Phase::open);
        CHECK(f.guest.host_finished() == host_first);
        // The other direction still works.
        if (host_first) {
            f.guest.send(as_bytes("late"));
        } else {
            CHECK(f.sockets.send(id, as_bytes("late")));
        }
        f.loop.run(10_ms);
        CHECK((host_first ? f.sockets.read(id) : f.guest.read()).size() == 4);
        if (host_first) {
            f.guest.finish();
        } else {
            f.sockets.finish(id);
        }
        f.loop.run(10_ms);
        CHECK(f.sockets.phase(id) == HostSockets::Phase::over);
        CHECK(f.guest.gone());
        CHECK(f.user.log.back() == "closed 1");
    }
}

TEST_CASE("a guest that reads slowly holds the host up, and loses nothing") {
    Fixture f;
    const SocketId id = f.from_host();
    f.guest.set_reading(false);
    const Bytes data = pattern(100'000);
    CHECK(f.sockets.send(id, data));
    f.loop.run(100_ms);
    const std::size_t left = f.sockets.unsent_bytes(id);
    CHECK(left == 100'000 - 4 * 4088);  // four messages fit into a ring of 20 KiB
    f.guest.set_reading(true);
    f.loop.run(100_ms);
    CHECK(f.sockets.unsent_bytes(id) == 0);
    CHECK(f.guest.read() == data);
}

TEST_CASE("a host that does not read holds the guest up at its limit") {
    HostSockets::Settings settings;
    settings.read_limit = 10'000;
    Fixture f{settings};
    const SocketId id = f.from_guest();
    const Bytes data = pattern(100'000);
    f.guest.send(data);
    f.loop.run(100_ms);
    CHECK(f.sockets.readable_bytes(id) == 3 * 4088);  // the first at or over the limit
    CHECK(f.guest.unsent_bytes() > 0);
    Bytes all;
    for (int n = 0; n < 100 && all.size() < data.size(); ++n) {
        const Bytes part = f.sockets.read(id);
        all.insert(all.end(), part.begin(), part.end());
        f.loop.run(1_ms);
    }
    CHECK(all == data);
}

TEST_CASE("who is refused") {
    HostSockets::Settings settings;
    settings.connection_limit = 2;
    Fixture f{settings};
    GuestSocket::connect(f.loop.client, 1, 9999);  // nobody listens
    f.loop.run(1_ms);
    CHECK(f.loop.sockets_refused == 1);
    f.loop.client.connect_socket(socket::service_of(1), interface_type::network);  // no port
    f.loop.run(1_ms);
    CHECK(f.loop.sockets_refused == 2);
    (void)f.from_guest();
    GuestSocket::connect(f.loop.client, 777, host_port);  // the same again
    f.loop.run(1_ms);
    CHECK(f.loop.sockets_refused == 3);
    CHECK(f.sockets.connect(4242));
    CHECK_FALSE(f.sockets.connect(4243));
    GuestSocket::connect(f.loop.client, 778, host_port);  // too many
    f.loop.run(1_ms);
    CHECK(f.loop.sockets_refused == 4);
    f.sockets.stop_listening(host_port);
    f.sockets.close(1);
    f.loop.run(10_s);
    f.sockets.forget(1);
    GuestSocket::connect(f.loop.client, 779, host_port);
    f.loop.run(1_ms);
    CHECK(f.loop.sockets_refused == 5);
}

TEST_CASE("a connection that nobody in the guest takes is refused after two seconds") {
    Fixture f;
    const SocketId id = *f.sockets.connect(4242);
    f.loop.run(2_s - 1_ps);
    CHECK(f.sockets.phase(id) == HostSockets::Phase::offered);
    f.loop.run(1_ps);
    CHECK(f.user.log == Log{"refused 1"});
    CHECK(f.sockets.phase(id) == HostSockets::Phase::over);
    f.sockets.forget(id);
    CHECK(f.sockets.phase(id) == HostSockets::Phase::none);
    f.loop.run(1_ms);
    CHECK(f.loop.server.channel_count() == 0);
}

TEST_CASE("closing: the guest has eight seconds to end its side; a guest that closes ends all") {
    Fixture f;
    SocketId id = f.from_guest();
    CHECK(f.sockets.send(id, as_bytes("bye")));
    f.sockets.close(id);
    const sim::Time asked = f.loop.simulation.agenda().now();
    f.loop.run(7_s);
    CHECK(f.guest.read().size() == 3);
    CHECK(f.guest.host_finished());
    CHECK(f.sockets.phase(id) == HostSockets::Phase::open);
    f.loop.simulation.agenda().run_until(asked + 8_s);
    CHECK(f.sockets.phase(id) == HostSockets::Phase::over);

    Fixture g;
    id = g.from_guest();
    g.guest.send(as_bytes("x"));
    g.loop.run(1_ms);
    g.guest.close();
    g.loop.run(10_ms);
    CHECK(g.user.log.back() == "closed 1");
    CHECK(g.sockets.read(id).size() == 1);  // what had arrived
    g.loop.run(10_ms);
    CHECK(g.loop.server.channel_count() == 0);
}

TEST_CASE("a guest that starts anew loses its connections, and can make others") {
    Fixture f;
    const SocketId id = f.from_guest();
    const SocketId waiting = *f.sockets.connect(4242);
    f.loop.run(1_ms);
    f.loop.connect();
    CHECK(f.sockets.phase(id) == HostSockets::Phase::over);
    CHECK(f.user.log.back() == "closed 1");
    f.loop.run(3_s);
    CHECK(f.sockets.phase(waiting) == HostSockets::Phase::over);
    f.sockets.forget(id);
    GuestSocket::connect(f.loop.client, 777, host_port);
    f.loop.run(10_ms);
    CHECK(f.user.log.back() == "accepted 3 5000");
}

TEST_CASE("what breaks the protocol costs the connection") {
    struct Row {
        const char* what;
        Bytes packet;
    };
    const std::vector<Row> rows{
        {"empty", {}},
        {"another kind", ByteBuilder{}.u32(2).u32(0).take()},
        {"longer than it is", ByteBuilder{}.u32(1).u32(9).u64(0).take()},
        {"far longer", ByteBuilder{}.u32(1).u32(0xffff'ffff).u64(0).take()},
        {"too long", ByteBuilder{}.u32(1).u32(16385).zeros(16392).take()},
    };
    for (const Row& row : rows) {
        CAPTURE(row.what);
        Fixture f;
        const SocketId id = f.from_guest();
        ClientChannel* channel = f.loop.client.find(socket::service_of(host_port));
        REQUIRE(channel->send(0, row.packet, false));
        channel->flush();
        f.loop.run(10_ms);
        CHECK(f.sockets.phase(id) == HostSockets::Phase::over);
        CHECK(f.guest.gone());
    }
    Fixture f;
    const SocketId id = f.from_guest();
    f.guest.finish();
    f.loop.run(1_ms);
    ClientChannel* channel = f.loop.client.find(socket::service_of(host_port));
    REQUIRE(channel->send(0, pipe::wrap(as_bytes("after the end")), false));
    channel->flush();
    f.loop.run(10_ms);
    CHECK(f.sockets.phase(id) == HostSockets::Phase::over);
}

TEST_CASE("bytes take their time on the root's processor") {
    Fixture f;
    const SocketId id = f.from_guest();
    const sim::Time start = f.loop.simulation.agenda().now();
    CHECK(f.sockets.send(id, pattern(4088)));
    const Costs costs;
    const sim::Time due = start + costs.packets(1, 4096) + costs.signal;
    f.loop.simulation.agenda().run_until(due - 1_ps);
    CHECK(f.sockets.unsent_bytes(id) == 4088);
    f.loop.simulation.agenda().run_until(due);
    CHECK(f.sockets.unsent_bytes(id) == 0);
}

TEST_CASE("saved with bytes on their way and restored, both ends go on") {
    const auto begin = [](Fixture& f) {
        (void)f.from_guest();
        f.guest.set_reading(false);
        CHECK(f.sockets.send(1, pattern(50'000)));
        f.loop.run(20_ms);
    };
    Fixture a;
    begin(a);
    const auto saved = a.loop.simulation.save();
    Fixture b;
    b.loop.simulation.restore(saved);
    CHECK(b.sockets.phase(1) == HostSockets::Phase::open);
    CHECK(b.sockets.unsent_bytes(1) == a.sockets.unsent_bytes(1));
    CHECK(sim::save_to_bytes(b.sockets) == sim::save_to_bytes(a.sockets));
    // The guest's program of the second machine reads on, and gets all that comes after what was on the ring.
    b.guest.opened(*b.loop.client.find(socket::service_of(host_port)), 0);
    b.loop.run(100_ms);
    CHECK(b.sockets.unsent_bytes(1) == 0);
    CHECK(b.guest.read() == pattern(50'000));
}

}  // namespace socket_test
