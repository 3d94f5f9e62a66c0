// A network adapter's sub-channels, and what the host tells its driver: link, speed, virtual function, data path.
#include <doctest/doctest.h>

#include "tests/vmbus/network_rig.h"

namespace network_channels_test {

using namespace vmbus;
using namespace vmbus::network_rig;
using ndis::Oid;
namespace status = rndis::status;

namespace {

Bytes rss_parameters(std::span<const std::uint32_t> table) {
    ndis::RssParameters p;
    p.hash_information = 0x1701;
    p.table_bytes = static_cast<std::uint16_t>(4 * table.size());
    p.table_offset = 40;
    p.key_bytes = 40;
    p.key_offset = 40 + p.table_bytes;
    std::vector<std::byte> bytes = image_of(p);
    for (const std::uint32_t entry : table) append_layout(bytes, entry);
    bytes.resize(bytes.size() + 40);
    return bytes;
}

}  // namespace

TEST_CASE("network channels: sub-channels: what is granted is offered, and when all are open the send table comes") {
    struct Row {
        std::uint16_t host;
        std::uint32_t asked;
        std::uint32_t granted;
    };
    for (const Row& row :
         {Row{1, 1, 0}, Row{4, 3, 3}, Row{4, 8, 3}, Row{8, 2, 2}, Row{4, 0, 0}, Row{64, 0xffff'ffff, 63}}) {
        CAPTURE(row.asked);
        Rig rig{ordinary_config(row.host)};
        rig.bring_up();
        const auto answer = rig.request(nvsp::SubChannelRequest{nvsp::MessageType::sub_channel, 1, row.asked});
        REQUIRE(answer);
        CHECK(answer->size() == 40);
        const auto complete = as<nvsp::SubChannelComplete>(*answer);
        CHECK(complete.status == (row.granted != 0 ? nvsp::Status::success : nvsp::Status::failure));
        CHECK(complete.count == row.granted);
        REQUIRE(rig.bus.channels.size() == 1 + row.granted);
        for (std::size_t n = 1; n <= row.granted; ++n) {
            CHECK(rig.channel().sent.empty());
            CHECK(rig.channel(n).offer().sub_channel_index == n);
            CHECK(rig.channel(n).open());
            rig.run();
        }
        CHECK(rig.provider.open_channels() == 1 + row.granted);
        if (row.granted == 0) continue;
        const auto table = rig.channel().take();
        REQUIRE(table);
        CHECK(table->type == PacketType::inband);
        CHECK_FALSE(table->wants_completion);
        REQUIRE(table->payload.size() == 104);
        CHECK(as<nvsp::SendIndirectionTable>(table->payload).count == 16);
        CHECK(as<nvsp::SendIndirectionTable>(table->payload).offset == 40);
        for (std::uint32_t n = 0; n < 16; ++n) {
            CHECK(as<std::uint32_t>(table->payload, 40 + 4 * n) == n % (1 + row.granted));
        }
        // A second time there are none.
        const auto again = rig.request(nvsp::SubChannelRequest{nvsp::MessageType::sub_channel, 1, 1});
        CHECK(as<nvsp::SubChannelComplete>(*again).status == nvsp::Status::failure);
        CHECK(rig.bus.channels.size() == 1 + row.granted);
    }
    Rig rig{ordinary_config(4)};
    rig.bring_up();
    const auto other = rig.request(nvsp::SubChannelRequest{nvsp::MessageType::sub_channel, 2, 1});
    CHECK(as<nvsp::SubChannelComplete>(*other).status == nvsp::Status::failure);
}

TEST_CASE("network channels: a fault on a sub-channel closes that one; frames go to the first instead") {
    Rig rig{ordinary_config(3)};
    rig.bring_up();
    REQUIRE(rig.add_channels(2) == 2);
    rig.channel().sent.clear();
    const std::array<std::uint32_t, 4> table{0, 1, 2, 2};
    REQUIRE(rig.set(Oid::receive_scale_parameters, rss_parameters(table)) == status::success);
    const auto deliver = [&](std::uint32_t hash) {
        IncomingFrame frame = incoming(frame_of(60));
        frame.hash = hash;
        rig.receive(frame);
        rig.run();
        for (std::size_t n = 0; n < rig.bus.channels.size(); ++n) {
            if (!rig.take_received(n).empty()) return static_cast<int>(n);
        }
        return -1;
    };
    CHECK(deliver(0) == 0);
    CHECK(deliver(1) == 1);
    CHECK(deliver(0xffff'fffe) == 2);
    CHECK(deliver(7) == 2);
    // Frames on their way on it when it goes.
    IncomingFrame lost = incoming(frame_of(60));
    lost.hash = 2;
    rig.receive(lost);
    Packet packet;
    packet.payload = image_of(std::uint32_t{125}, 40);
    rig.channel(2).put(packet);
    rig.run();
    CHECK(rig.channel(2).fault_reason == "an NVSP message on a sub-channel");
    CHECK(rig.provider.ready());
    CHECK(rig.provider.open_channels() == 2);
    CHECK(deliver(2) == 0);
    CHECK(deliver(1) == 1);
    // Transmission on a sub-channel works, control messages there do not.
    OutgoingFrame frame;
    frame.bytes = frame_of(60);
    CHECK(rig.send_frame(frame, 1) == nvsp::Status::success);
    CHECK(rig.port.frames.back().first == 1);
    rig.channel(1).put(rig.gpa_packet(rndis::message(rndis::MessageType::halt, rndis::RequestOnly{}), 1));
    rig.run();
    CHECK(rig.channel(1).fault_reason == "an RNDIS control message on a sub-channel");
    CHECK(rig.provider.ready());
    // Nothing is still away.
    CHECK(rig.provider.receive_buffer().with_guest() == 0);
}

TEST_CASE("network channels: what the host tells of its link") {
    Rig rig;
    const auto indications = [&] {
        std::vector<std::uint32_t> codes;
        for (const Bytes& message : rig.take_received()) {
            CHECK(as<rndis::Header>(message).type == rndis::MessageType::indicate_status);
            CHECK(as<rndis::Header>(message).length == message.size());
            codes.push_back(as<rndis::IndicateStatus>(message, 8).status);
        }
        return codes;
    };
    // Before there is a driver nothing is said; it asks.
    rig.provider.set_link(false);
    rig.provider.network_changed();
    rig.bring_up();
    CHECK(indications().empty());
    CHECK(as<std::uint32_t>(rig.query(Oid::media_connect_status)) == 1);
    rig.receive(incoming(frame_of(60)));
    CHECK(rig.provider.dropped(NetworkDrop::link_down) == 1);
    OutgoingFrame frame;
    frame.bytes = frame_of(60);
    CHECK(rig.send_frame(frame) == nvsp::Status::success);
    CHECK(rig.provider.dropped(NetworkDrop::link_down) == 2);
    CHECK(rig.port.frames.empty());

    rig.provider.set_link(true);
    rig.provider.set_link(true);
    rig.run();
    CHECK(indications() == std::vector{status::media_connect});
    // There and back in one instant is no change.
    rig.provider.set_link(false);
    rig.provider.set_link(true);
    rig.run();
    CHECK(indications().empty());
    rig.provider.set_link(false);
    rig.provider.network_changed();
    rig.run();
    CHECK(indications() == std::vector{status::media_disconnect, status::network_change});
    rig.provider.set_link_speed(1'000'000'000);
    rig.run();
    const auto messages = rig.take_received();
    REQUIRE(messages.size() == 1);
    CHECK(as<rndis::IndicateStatus>(messages[0], 8).status == status::link_speed_change);
    CHECK(as<rndis::IndicateStatus>(messages[0], 8).buffer_bytes == 4);
    CHECK(as<std::uint32_t>(messages[0], 8 + as<rndis::IndicateStatus>(messages[0], 8).buffer_offset) == 10'000'000);
}

TEST_CASE("network channels: a virtual function is announced to drivers that can have one, and taken back") {
    struct Row {
        std::uint32_t version;
        bool told;
    };
    for (const Row& row : {Row{nvsp::version_6_1, true}, Row{nvsp::version_5, true}, Row{nvsp::version_4, false},
                           Row{nvsp::version_2, false}}) {
        CAPTURE(row.version);
        Rig rig;
        rig.provider.associate_vf(7);
        rig.bring_up(row.version);
        auto message = rig.channel().take();
        CHECK(message.has_value() == row.told);
        if (!message) continue;
        CHECK(message->type == PacketType::inband);
        CHECK(message->payload.size() == 40);
        const auto association = as<nvsp::SendVfAssociation>(message->payload);
        CHECK(association.type == nvsp::MessageType::send_vf_association);
        CHECK(association.allocated == 1);
        CHECK(association.serial == 7);
        // Windows completes it; Linux does not.
        rig.give_back(message->transaction);
        rig.run();
        CHECK(rig.channel().fault_reason.empty());
        // Another one at once: the old one goes first.
        rig.provider.revoke_vf();
        rig.provider.associate_vf(9);
        rig.run();
        message = rig.channel().take();
        CHECK(as<nvsp::SendVfAssociation>(message->payload).allocated == 0);
        CHECK(as<nvsp::SendVfAssociation>(message->payload).serial == 7);
        message = rig.channel().take();
        CHECK(as<nvsp::SendVfAssociation>(message->payload).allocated == 1);
        CHECK(as<nvsp::SendVfAssociation>(message->payload).serial == 9);
        rig.provider.revoke_vf();
        rig.run();
        message = rig.channel().take();
        CHECK(as<nvsp::SendVfAssociation>(message->payload).allocated == 0);
        CHECK(rig.channel().sent.empty());
    }
}

TEST_CASE("network channels: the data path is switched with a completion that is empty") {
    Rig rig;
    rig.bring_up();
    rig.port.calls.clear();
    const auto switch_to = [&](std::uint32_t path) {
        return rig.request(nvsp::SwitchDataPath{nvsp::MessageType::switch_data_path, path});
    };
    // Without a function there is no way there, but an answer.
    auto answer = switch_to(1);
    REQUIRE(answer);
    CHECK(answer->empty());
    CHECK_FALSE(rig.provider.data_path_is_vf());
    CHECK(rig.port.calls.empty());
    rig.provider.associate_vf(1);
    rig.run();
    rig.channel().sent.clear();
    answer = switch_to(1);
    REQUIRE(answer);
    CHECK(answer->empty());
    CHECK(rig.provider.data_path_is_vf());
    CHECK(switch_to(1)->empty());
    CHECK(switch_to(0)->empty());
    CHECK_FALSE(rig.provider.data_path_is_vf());
    CHECK(rig.port.calls == std::vector<std::string>{"to vf", "to synthetic"});

    SUBCASE("a switch that takes the host some time") {
        rig.port.switch_at_once = false;
        CHECK_FALSE(switch_to(1));
        CHECK_FALSE(rig.provider.data_path_is_vf());
        rig.provider.data_path_switched();
        rig.run();
        REQUIRE(rig.channel().sent.size() == 1);
        CHECK(rig.channel().sent.front().type == PacketType::completion);
        CHECK(rig.channel().sent.front().payload.empty());
        CHECK(rig.provider.data_path_is_vf());
        rig.provider.data_path_switched();  // once is enough
        rig.run();
        CHECK(rig.channel().sent.size() == 1);
    }
    SUBCASE("the function is revoked while traffic goes by it") {
        (void)switch_to(1);
        rig.port.calls.clear();
        rig.provider.revoke_vf();
        rig.run();
        CHECK_FALSE(rig.provider.data_path_is_vf());
        CHECK(rig.port.calls == std::vector<std::string>{"to synthetic"});
        rig.channel().sent.clear();
        CHECK(switch_to(0)->empty());
    }
    SUBCASE("the driver goes") {
        (void)switch_to(1);
        rig.port.calls.clear();
        rig.bus.close(0);
        CHECK(rig.port.calls == std::vector<std::string>{"to synthetic", "gone"});
        // The next one is told of the function again.
        rig.bring_up();
        CHECK(as<nvsp::SendVfAssociation>(rig.channel().take()->payload).serial == 1);
    }
    SUBCASE("two at once") {
        rig.port.switch_at_once = false;
        (void)switch_to(1);
        (void)switch_to(0);
        CHECK(rig.channel().fault_reason == "a second SWITCH_DATA_PATH");
    }
}

}  // namespace network_channels_test
