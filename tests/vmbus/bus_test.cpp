// The bus from contact to unload, with both ends.
#include <doctest/doctest.h>

#include <string>

#include "tests/vmbus/loopback.h"

namespace {

using namespace vmbus;
using namespace sim::literals;

constexpr Guid echo_type = guid("11111111-2222-3333-4444-555555555555");
constexpr Guid first_instance = guid("00000000-0000-0000-0000-000000000001");

// Answers every packet with its own payload.
class EchoDevice final : public ChannelDevice {
public:
    std::uint32_t open(Channel&, std::span<const std::byte, 120>) override {
        ++opens;
        return 0;
    }
    void closed(Channel&) override { ++closes; }
    void released(Channel&) override { ++releases; }
    void signalled(Channel& channel) override {
        Packet packet;
        while (channel.receive(packet)) {
            ++packets;
            REQUIRE(channel.complete(packet.transaction, packet.payload));
        }
        channel.flush();
    }
    unsigned opens = 0;
    unsigned closes = 0;
    unsigned releases = 0;
    unsigned packets = 0;
};

class EchoDriver final : public ChannelDriver {
public:
    void opened(ClientChannel&, std::uint32_t status) override { statuses.push_back(status); }
    void signalled(ClientChannel& channel) override {
        Packet packet;
        while (channel.receive(packet)) got.push_back(packet);
        channel.flush();
    }
    std::vector<std::uint32_t> statuses;
    std::vector<Packet> got;
};

std::vector<std::byte> text(std::string_view s) {
    std::vector<std::byte> bytes(s.size());
    std::memcpy(bytes.data(), s.data(), s.size());
    return bytes;
}

TEST_CASE("a channel is offered, opened, speaks and closes") {
    test::Loopback bus;
    EchoDevice device;
    EchoDriver driver;
    bus.server.offer({echo_type, first_instance}, device);
    bus.bind(echo_type, driver);
    bus.connect();
    CHECK(bus.client.version() == version::v5_3);
    CHECK(bus.offers_complete == 1);
    REQUIRE(bus.offers.size() == 1);
    CHECK(driver.statuses == std::vector<std::uint32_t>{0});
    CHECK(device.opens == 1);
    ClientChannel* channel = bus.client.find(echo_type);
    REQUIRE(channel != nullptr);
    REQUIRE(channel->send(77, text("hello, h"), true));
    channel->flush();
    bus.run(10_us);
    REQUIRE(driver.got.size() == 1);
    CHECK(driver.got[0].type == PacketType::completion);
    CHECK(driver.got[0].transaction == 77);
    CHECK(driver.got[0].payload == text("hello, h"));
    channel->close();
    bus.run(10_us);
    CHECK(device.closes == 1);
    CHECK(bus.server.gpadl_pages() == 0);
}

}  // namespace
