// Frames on their way to the guest: which are wanted, how they lie in the receive buffer, and what becomes of those for
// which there is no room.
#include <doctest/doctest.h>

#include "tests/vmbus/network_rig.h"

namespace network_receive_test {

using namespace vmbus;
using namespace vmbus::network_rig;

namespace {

constexpr NetworkAddress broadcast{{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}};
constexpr NetworkAddress group_a{{1, 0, 0x5e, 0, 0, 1}};
constexpr NetworkAddress group_b{{1, 0, 0x5e, 0, 0, 2}};
constexpr NetworkAddress stranger{{2, 0, 0, 0, 0, 1}};

ReceivedMessage parsed(const Bytes& message) {
    ReceivedMessage received;
    VG_CHECK(parse_received_message(message, received));
    return received;
}

// Linux' rndis_get_ppi() loops for ever on a list that is not exactly this.
void check_as_linux_does(const Bytes& message, std::uint32_t section_bytes) {
    const auto header = as<rndis::Header>(message);
    const auto packet = as<rndis::Packet>(message, 8);
    CHECK(header.length == message.size());
    CHECK(message.size() <= section_bytes);
    CHECK(packet.data_offset < message.size() - 8);
    CHECK(packet.data_offset + packet.data_bytes + 8 <= message.size());
    if (packet.information_offset == 0) {
        CHECK(packet.information_bytes == 0);
        return;
    }
    CHECK(packet.information_offset >= 36);
    REQUIRE(packet.information_bytes >= 12);
    REQUIRE(packet.information_offset + packet.information_bytes <= message.size() - 8);
    std::uint32_t left = packet.information_bytes;
    std::size_t at = 8 + packet.information_offset;
    while (left > 0) {
        const auto piece = as<rndis::PacketInformation>(message, at);
        REQUIRE(piece.bytes <= left);
        REQUIRE(piece.offset < piece.bytes);
        REQUIRE(piece.bytes - piece.offset >= 4);
        left -= piece.bytes;
        at += piece.bytes;
    }
}

}  // namespace

TEST_CASE("network receive: what passes a filter") {
    struct Row {
        std::uint32_t filter;
        // To the adapter, broadcast, a group in the list, another group, a stranger.
        std::array<bool, 5> passes;
    };
    Rig rig;
    rig.bring_up();
    REQUIRE(rig.set_value(ndis::Oid::multicast_list, group_a) == 0);
    CHECK(rig.query(ndis::Oid::multicast_list) == image_of(group_a));
    std::uint64_t filtered = 0;
    for (const Row& row : {Row{0x0, {false, false, false, false, false}}, Row{0x1, {true, false, false, false, false}},
                           Row{0x2, {false, false, true, false, false}}, Row{0x4, {false, false, true, true, false}},
                           Row{0x8, {false, true, false, false, false}}, Row{0xd, {true, true, true, true, false}},
                           Row{0xb, {true, true, true, false, false}}, Row{0x20, {true, true, true, true, true}}}) {
        CAPTURE(row.filter);
        REQUIRE(rig.set_value(ndis::Oid::current_packet_filter, row.filter) == 0);
        const std::array to{adapter_address, broadcast, group_a, group_b, stranger};
        for (std::size_t n = 0; n < to.size(); ++n) {
            CAPTURE(n);
            rig.receive(incoming(frame_of(60, 17, to[n])));
            rig.run();
            CHECK(rig.take_received().size() == (row.passes[n] ? 1 : 0));
            filtered += row.passes[n] ? 0 : 1;
        }
        CHECK(rig.provider.dropped(NetworkDrop::filtered) == filtered);
    }
    // What the guest does not want is no loss of its.
    CHECK(rig.provider.to_guest().discards == 0);
    CHECK(rig.set(ndis::Oid::multicast_list, Bytes(7)) == rndis::status::invalid_length);
    CHECK(rig.set(ndis::Oid::multicast_list, Bytes(6 * 257)) == rndis::status::invalid_length);
}

TEST_CASE("network receive: a frame and what is known of it") {
    using S = ChecksumState;
    struct Row {
        const char* what;
        std::uint8_t protocol;
        S ip, tcp, udp;
        std::uint32_t word;  // of the checksum information; 0: there is none
    };
    Rig rig;
    rig.bring_up();
    for (const Row& row :
         {Row{"nothing", 6, S::unknown, S::unknown, S::unknown, 0}, Row{"TCP good", 6, S::good, S::good, S::good, 0x28},
          Row{"UDP good", 17, S::good, S::good, S::good, 0x30}, Row{"TCP bad", 6, S::good, S::bad, S::bad, 0x21},
          Row{"UDP bad", 17, S::unknown, S::unknown, S::bad, 0x02},
          Row{"IP bad", 6, S::bad, S::unknown, S::unknown, 0x04},
          Row{"TCP never filled in", 6, S::good, S::absent, S::unknown, 0xa8},
          Row{"UDP never filled in", 17, S::unknown, S::unknown, S::absent, 0x10},
          Row{"after coalescing", 6, S::absent, S::good, S::unknown, 0x128},
          Row{"neither", 1, S::good, S::good, S::good, 0x20}}) {
        CAPTURE(row.what);
        IncomingFrame frame = incoming(frame_of(500, row.protocol));
        frame.ip_checksum = row.ip;
        frame.tcp_checksum = row.tcp;
        frame.udp_checksum = row.udp;
        frame.vlan_tci = 0x6123;  // priority 3, not eligible, 0x123
        frame.hash = 0x12345678;
        rig.receive(frame);
        rig.run();
        const auto messages = rig.take_received();
        REQUIRE(messages.size() == 1);
        check_as_linux_does(messages[0], rig.provider.receive_buffer().section_bytes());
        CHECK(parsed(messages[0]).frame.bytes == frame.bytes);
        CHECK(parsed(messages[0]).frame.vlan_tci == 0x6123);
        CHECK(parsed(messages[0]).frame.hash == 0x12345678u);
        // NDIS lays a tag out from the other end.
        CHECK(as<std::uint32_t>(messages[0], 44 + 12) == (3u | 0x123u << 4));
        const auto second = as<rndis::PacketInformation>(messages[0], 60);
        if (row.word != 0) {
            CHECK(second.type == 0);
            CHECK(as<std::uint32_t>(messages[0], 72) == row.word);
        } else {
            CHECK(second.type == 8);
        }
    }
    // Without any information there is no list.
    rig.receive(incoming(frame_of(60)));
    rig.run();
    const auto bare = rig.take_received();
    check_as_linux_does(bare.at(0), 1728);
    CHECK(as<rndis::Packet>(bare.at(0), 8).information_offset == 0);
}

TEST_CASE("network receive: checksums are spoken of only as far as the guest wants") {
    Rig rig;
    rig.bring_up();
    ndis::OffloadParameters off;
    off.ipv4_checksum = off.tcp4_checksum = off.udp4_checksum = 1;
    REQUIRE(rig.set_value(ndis::Oid::tcp_offload_parameters, off) == 0);
    rig.run();
    (void)rig.take_received();
    IncomingFrame frame = incoming(frame_of(100));
    frame.ip_checksum = frame.tcp_checksum = ChecksumState::good;
    rig.receive(frame);
    rig.run();
    CHECK(as<rndis::Packet>(rig.take_received().at(0), 8).information_offset == 0);
    // It could not know that the value is none.
    frame.tcp_checksum = ChecksumState::absent;
    rig.receive(frame);
    CHECK(rig.provider.dropped(NetworkDrop::no_checksum) == 1);
    IncomingFrame datagram = incoming(frame_of(100, 17));
    datagram.udp_checksum = ChecksumState::absent;
    rig.receive(datagram);
    CHECK(rig.provider.dropped(NetworkDrop::no_checksum) == 2);
    CHECK(rig.provider.to_guest().discards == 2);
}

TEST_CASE("network receive: lengths") {
    auto config = ordinary_config();
    config.adapter.offloads = OffloadSettings::all(true);
    Rig rig{config};
    rig.bring_up();
    struct Row {
        std::size_t bytes;
        std::uint16_t segments;
        std::size_t sections;  // 0: dropped
    };
    // A section of 1728 bytes holds 108 of information, 36 that Windows leaves, and 1584 of a frame.
    for (const Row& row : {Row{14, 0, 1}, Row{1514, 0, 1}, Row{1518, 0, 1}, Row{1519, 0, 0}, Row{1519, 2, 1},
                           Row{1584, 2, 1}, Row{1585, 2, 2}, Row{3168, 2, 2}, Row{3169, 3, 3}, Row{65'549, 45, 42}}) {
        CAPTURE(row.bytes);
        IncomingFrame frame = incoming(frame_of(row.bytes));
        if (row.bytes < 40) frame.bytes[14 - 2] = std::byte{0x88};  // no IP
        frame.coalesced_segments = row.segments;
        frame.tcp_checksum = ChecksumState::good;
        rig.receive(frame);
        rig.run();
        REQUIRE(rig.channel().sent.size() == (row.sections != 0 ? 1 : 0));
        const auto messages = rig.take_received();
        REQUIRE(messages.size() == row.sections);
        Bytes whole;
        for (std::size_t n = 0; n < messages.size(); ++n) {
            check_as_linux_does(messages[n], 1728);
            const auto received = parsed(messages[n]);
            CHECK(received.part == (messages.size() > 1));
            CHECK(received.first == (n == 0));
            CHECK(received.last == (n + 1 == messages.size()));
            whole.insert(whole.end(), received.frame.bytes.begin(), received.frame.bytes.end());
        }
        if (row.sections != 0) CHECK(whole == frame.bytes);
    }
    CHECK(rig.provider.dropped(NetworkDrop::too_long) == 1);
    // A frame of less than a header is wanted by nobody.
    rig.receive(incoming(Bytes(13)));
    CHECK(rig.provider.dropped(NetworkDrop::filtered) == 1);
}

TEST_CASE("network receive: frames that come together go in one packet, as many as it may hold") {
    auto config = ordinary_config();
    config.batch = 500;
    config.backlog = 2000;
    Rig rig{config};
    REQUIRE(rig.agree(nvsp::version_6_1));
    rig.buffers(nvsp::version_6_1, 1514, 2 << 20);
    (void)rig.start_rndis();
    REQUIRE(rig.set_value(ndis::Oid::current_packet_filter, 1u) == 0);
    std::vector<IncomingFrame> frames(1000, incoming(frame_of(60)));
    rig.provider.receive(frames);
    rig.run();
    // Two pieces of 500, each in packets of at most 375 ranges.
    std::vector<std::size_t> sizes;
    std::vector<std::uint64_t> transactions;
    for (const Sent& sent : rig.channel().sent) {
        sizes.push_back(sent.ranges.size());
        transactions.push_back(sent.transaction);
        CHECK(sent.page_set == 0xcafe);
        CHECK(sent.payload.size() == 40);
        CHECK(as<nvsp::SendRndisPacket>(sent.payload).channel_type == 0);
        CHECK(as<nvsp::SendRndisPacket>(sent.payload).section == 0xffff'ffff);
        CHECK(as<nvsp::SendRndisPacket>(sent.payload).section_bytes == 0);
        CHECK(sent.transaction != 0);
        // Linux' buffer for a packet.
        CHECK(16 + 8 + 8 * sent.ranges.size() + 40 <= 4624);
    }
    CHECK(sizes == std::vector<std::size_t>{375, 125, 375, 125});
    std::sort(transactions.begin(), transactions.end());
    CHECK(std::adjacent_find(transactions.begin(), transactions.end()) == transactions.end());
    CHECK(rig.provider.receive_buffer().with_guest() == 1000);
    CHECK(rig.take_received().size() == 1000);
    CHECK(rig.provider.receive_buffer().with_guest() == 0);
}

TEST_CASE("network receive: sections are the guest's until it completes their packet, and then used again") {
    Rig rig;
    rig.bring_up();
    const std::uint32_t count = rig.provider.receive_buffer().count();
    REQUIRE(count == (1 << 18) / 1728);
    std::vector<IncomingFrame> frames(count, incoming(frame_of(100)));
    rig.provider.receive(frames);
    rig.run();
    const std::uint32_t for_frames = count - ReceiveBuffer::control_sections;
    CHECK(rig.provider.to_guest().frames() == for_frames);
    CHECK(rig.provider.dropped(NetworkDrop::no_sections) == ReceiveBuffer::control_sections);
    CHECK(rig.provider.to_guest().no_buffer == ReceiveBuffer::control_sections);
    // All offsets are different, and none is of the control messages'.
    std::vector<std::uint32_t> offsets;
    for (const Sent& sent : rig.channel().sent) {
        for (const TransferRange& range : sent.ranges) {
            offsets.push_back(range.offset);
            CHECK(range.offset % 1728 == 0);
            CHECK(range.offset >= 16 * 1728);
            CHECK(range.length <= 1728);
        }
    }
    std::sort(offsets.begin(), offsets.end());
    CHECK(std::adjacent_find(offsets.begin(), offsets.end()) == offsets.end());
    // Control messages still find room.
    const auto completion =
        rig.exchange(rig.gpa_packet(rndis::message(rndis::MessageType::keepalive, rndis::RequestOnly{1}), 1));
    CHECK(rig.status_of(completion) == nvsp::Status::success);
    CHECK(as<nvsp::SendRndisPacket>(rig.channel().sent.back().payload).channel_type == 1);
    CHECK(rig.channel().sent.back().ranges.at(0).offset < 16 * 1728);
    CHECK(rig.take_received().size() == for_frames + 1);
    rig.receive(incoming(frame_of(100)));
    rig.run();
    CHECK(rig.take_received().size() == 1);
}

TEST_CASE("network receive: completing what was not sent, or twice, or on another channel, is a fault") {
    for (int n = 0; n < 4; ++n) {
        CAPTURE(n);
        Rig rig{ordinary_config(2)};
        rig.bring_up();
        REQUIRE(rig.add_channels(1) == 1);
        rig.channel().sent.clear();
        rig.receive(incoming(frame_of(60)));
        rig.run();
        const std::uint64_t transaction = rig.channel().take()->transaction;
        const std::size_t on = n == 2 ? 1 : 0;
        if (n == 0) rig.give_back(transaction + 1);
        if (n == 1) {
            rig.give_back(transaction);
            rig.give_back(transaction);
        }
        if (n == 2) rig.give_back(transaction, 1);
        if (n == 3) rig.give_back(0);
        rig.run();
        CHECK(rig.channel(on).fault_reason == "completes what it was not sent");
        CHECK(rig.provider.ready() == (n == 2));
    }
    // The message in it must be the right one.
    Rig rig;
    rig.bring_up();
    rig.receive(incoming(frame_of(60)));
    rig.run();
    Packet packet;
    packet.type = PacketType::completion;
    packet.transaction = rig.channel().take()->transaction;
    packet.payload = image_of(nvsp::SendRndisPacket{});
    rig.channel().put(packet);
    rig.run();
    CHECK(rig.channel().fault_reason == "an unknown completion");
}

TEST_CASE("network receive: a full ring loses frames, but no completion and no answer") {
    Rig rig;
    rig.bring_up();
    rig.channel().room = 2;
    for (int n = 0; n < 5; ++n) {
        rig.receive(incoming(frame_of(60)));
        rig.run();
    }
    CHECK(rig.channel().sent.size() == 2);
    CHECK(rig.provider.dropped(NetworkDrop::ring_full) == 3);
    CHECK(rig.provider.receive_buffer().with_guest() == 2);
    // What the guest sends meanwhile is done; it hears of it when there is room.
    OutgoingFrame frame;
    frame.bytes = frame_of(60);
    for (int n = 0; n < 3; ++n) rig.channel().put(rig.gpa_packet(data_message(frame, 8), 0));
    const Bytes alive = rndis::message(rndis::MessageType::keepalive, rndis::RequestOnly{1});
    rig.channel().put(rig.gpa_packet(alive, 1, 0x9000));
    rig.run();
    CHECK(rig.port.frames.size() == 3);
    std::vector<PacketType> types;
    for (int n = 0; n < 20 && !rig.channel().sent.empty(); ++n) {
        types.push_back(rig.channel().take()->type);
        rig.run();
    }
    using T = PacketType;
    CHECK(types == std::vector{T::transfer_pages, T::transfer_pages, T::completion, T::completion, T::completion,
                               T::completion, T::transfer_pages});
}

TEST_CASE("network receive: what a guest leaves unread bounds what it may send") {
    Rig rig;
    rig.bring_up();
    rig.channel().room = 0;
    OutgoingFrame frame;
    frame.bytes = frame_of(60);
    for (int n = 0; n < 1000; ++n) rig.channel().put(rig.gpa_packet(data_message(frame, 8), 0));
    rig.run();
    CHECK(rig.port.frames.size() == 64);
    CHECK(rig.channel().inbound.size() == 936);
    rig.channel().room = 1000;
    (void)rig.channel().take();
    rig.channel().put(rig.gpa_packet(data_message(frame, 8), 0));
    rig.run();
    CHECK(rig.port.frames.size() == 1001);
    CHECK(rig.channel().sent.size() == 1000);
    // The same of control messages, whose sections it keeps.
    for (int n = 0; n < 300; ++n) {
        rig.channel().put(rig.gpa_packet(rndis::message(rndis::MessageType::keepalive, rndis::RequestOnly{1}), 1));
    }
    rig.channel().room = 5000;
    rig.run();
    CHECK(rig.provider.receive_buffer().free_for_control() == 0);
    CHECK(rig.channel().inbound.size() == 300 - 16 - 64);
}

TEST_CASE("network receive: too many at once, and a buffer that goes") {
    auto config = ordinary_config();
    config.backlog = 10;
    Rig rig{config};
    rig.bring_up();
    std::vector<IncomingFrame> frames(30, incoming(frame_of(60)));
    rig.provider.receive(frames);
    CHECK(rig.provider.dropped(NetworkDrop::backlog_full) == 20);
    rig.run();
    CHECK(rig.take_received().size() == 10);
    SUBCASE("revoked while frames wait") {
        rig.port.calls.clear();
        frames.assign(4, incoming(frame_of(60)));
        rig.provider.receive(frames);
        Packet packet;
        packet.payload = image_of(nvsp::RevokeBuffer{nvsp::MessageType::revoke_receive_buffer, 0xcafe}, 40);
        rig.channel().put(packet);
        rig.run();
        const std::uint64_t lost = rig.provider.dropped(NetworkDrop::no_buffer);
        CHECK(lost + rig.provider.to_guest().frames() == 14);
        CHECK(rig.port.calls == std::vector<std::string>{"gone"});
        rig.receive(incoming(frame_of(60)));
        CHECK(rig.provider.dropped(NetworkDrop::not_ready) == 1);
    }
    SUBCASE("its GPADL torn down under it") {
        rig.channel().gpadls.clear();
        frames.assign(4, incoming(frame_of(60)));
        rig.provider.receive(frames);
        rig.run();
        CHECK(rig.provider.dropped(NetworkDrop::no_buffer) == 4);
        CHECK_FALSE(rig.provider.ready());
        CHECK(rig.port.calls.back() == "gone");
    }
    SUBCASE("closed while they wait") {
        frames.assign(4, incoming(frame_of(60)));
        rig.provider.receive(frames);
        rig.bus.close(0);
        CHECK(rig.provider.dropped(NetworkDrop::closed) == 4);
    }
}

}  // namespace network_receive_test
