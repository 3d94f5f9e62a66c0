// NVSP and RNDIS message by message: versions, buffers, every shape of transmission, what the Linux driver relies on,
// and what a guest may not do.
#include <doctest/doctest.h>

#include "tests/vmbus/network_rig.h"

namespace network_protocol_test {

using namespace vmbus;
using namespace vmbus::network_rig;
using nvsp::MessageType;
using nvsp::Status;

namespace {

OutgoingFrame outgoing(Bytes bytes) {
    OutgoingFrame frame;
    frame.bytes = std::move(bytes);
    return frame;
}

// A packet whose content lies in the send buffer.
Packet section_packet(Rig& rig, std::uint32_t section, std::span<const std::byte> content) {
    std::copy(content.begin(), content.end(), rig.channel().gpadls[Rig::send_gpadl].begin() + section * 6144);
    nvsp::SendRndisPacket message;
    message.section = section;
    message.section_bytes = static_cast<std::uint32_t>(content.size());
    Packet packet;
    packet.wants_completion = true;
    packet.transaction = rig.next_transaction++;
    packet.payload = image_of(message, nvsp::message_bytes);
    return packet;
}

}  // namespace

TEST_CASE("network: each version is agreed to, others are refused, and the driver may go on asking") {
    struct Row {
        std::uint32_t highest;
        std::uint32_t asked;
        bool agreed;
        std::uint32_t named;
    };
    constexpr std::array rows{
        Row{nvsp::version_6_1, 0x60001, true, 0xffffffff},  Row{nvsp::version_6_1, 0x60000, true, 0xffffffff},
        Row{nvsp::version_6_1, 0x50000, true, 0xffffffff},  Row{nvsp::version_6_1, 0x40000, true, 0xffffffff},
        Row{nvsp::version_6_1, 0x30002, true, 0xffffffff},  Row{nvsp::version_6_1, 2, true, 2},
        Row{nvsp::version_6_1, 0x70000, false, 0xffffffff}, Row{nvsp::version_6_1, 3, false, 0xffffffff},
        Row{nvsp::version_6_1, 0, false, 0xffffffff},       Row{nvsp::version_5, 0x60001, false, 0xffffffff},
        Row{nvsp::version_5, 0x60000, false, 0xffffffff},   Row{nvsp::version_5, 0x50000, true, 0xffffffff},
        Row{nvsp::version_1, 0x30002, false, 0xffffffff},   Row{nvsp::version_1, 2, true, 2},
    };
    for (const Row& row : rows) {
        CAPTURE(row.asked);
        auto config = ordinary_config();
        config.highest_version = row.highest;
        Rig rig{config};
        REQUIRE(rig.channel().open());
        const auto answer = rig.request(nvsp::Init{MessageType::init, row.asked, row.asked});
        REQUIRE(answer);
        // Linux takes nothing that is shorter.
        CHECK(answer->size() == 40);
        const auto complete = as<nvsp::InitComplete>(*answer);
        CHECK(complete.type == MessageType::init_complete);
        CHECK(complete.status == (row.agreed ? Status::success : Status::none));
        CHECK(complete.version == row.named);
        CHECK(complete.maximum_mdl_chain == 34);
        CHECK(rig.provider.version() == (row.agreed ? row.asked : 0));
        if (!row.agreed) CHECK(rig.agree(nvsp::version_1));
    }
}

TEST_CASE("network: the driver's whole way up, for each version, as Linux goes it") {
    for (const std::uint32_t version : nvsp::versions) {
        CAPTURE(version);
        Rig rig;
        REQUIRE(rig.agree(version));
        rig.buffers(version);
        CHECK_FALSE(rig.provider.ready());
        const auto complete = rig.start_rndis();
        CHECK(complete.request == 7);
        CHECK(complete.status == 0);
        CHECK(complete.major == 1);
        CHECK(complete.minor == 0);
        CHECK(complete.device_flags == 1);
        CHECK(complete.medium == 0);
        CHECK(complete.maximum_packets == 8);
        CHECK(complete.alignment_factor == 3);
        CHECK(rig.provider.ready());
        CHECK(as<std::uint32_t>(rig.query(ndis::Oid::maximum_frame_size)) == 1500);
        CHECK(rig.query(ndis::Oid::permanent_address) == image_of(adapter_address));
        const Bytes name = rig.query(ndis::Oid::friendly_name);
        CHECK(name.size() == 2 * (std::string_view{"Network Adapter"}.size() + 1));
        // Linux says by the object's header what it knows, and takes no more than 156 bytes.
        const std::uint16_t room = version >= nvsp::version_5 ? 156 : version >= nvsp::version_4 ? 144 : 112;
        ndis::Offload wanted;
        wanted.header = {0xa7, 3, room};
        Bytes information = image_of(wanted);
        information.resize(room);
        const Bytes offload = rig.query(ndis::Oid::tcp_offload_hardware_capabilities, information);
        CHECK(offload.size() == room);
        const auto header = as<ndis::ObjectHeader>(offload);
        CHECK(header.type == 0xa7);
        CHECK(header.revision == (room == 156 ? 3 : room == 144 ? 2 : 1));
        CHECK(header.bytes == room);
        ndis::OffloadParameters parameters;
        parameters.ipv4_checksum = 1;
        parameters.tcp4_checksum = parameters.tcp6_checksum = 4;
        parameters.large_send_ipv4 = parameters.large_send_ipv6 = 2;
        Bytes set = image_of(parameters);
        if (version <= nvsp::version_4) {
            set.resize(22);
            set[2] = std::byte{22};
        }
        CHECK(rig.set(ndis::Oid::tcp_offload_parameters, set) == 0);
        (void)rig.take_received();
        CHECK(as<std::uint32_t>(rig.query(ndis::Oid::media_connect_status)) == 0);
        if (version >= nvsp::version_5) {
            CHECK(as<std::uint32_t>(rig.query(ndis::Oid::link_speed)) == 100'000'000);
            const Bytes rss = rig.query(ndis::Oid::receive_scale_capabilities);
            CHECK(rss.size() == 18);
            CHECK(as<ndis::RssCapabilities>(rss).receive_queues == 1);
        }
        CHECK(rig.set_value(ndis::Oid::current_packet_filter, std::uint32_t{0xd}) == 0);
        CHECK(rig.port.calls == std::vector<std::string>{"frames 1514", "ready", "filter 13 groups 0"});

        // And a frame each way.
        CHECK(rig.send_frame(outgoing(frame_of(100))) == Status::success);
        REQUIRE(rig.port.frames.size() == 1);
        CHECK(rig.port.frames[0].second.bytes == frame_of(100));
        rig.receive(incoming(frame_of(60)));
        rig.run();
        const auto received = rig.take_received();
        REQUIRE(received.size() == 1);
        ReceivedMessage message;
        REQUIRE(parse_received_message(received[0], message));
        CHECK(message.frame.bytes == frame_of(60));
        CHECK(rig.provider.receive_buffer().with_guest() == 0);
    }
}

TEST_CASE("network: buffers: one kind of section, sizes by the frame size, failures are said") {
    struct Row {
        std::uint32_t mtu;
        std::uint32_t frame_bytes;
        std::uint32_t section_bytes;
        std::uint32_t count;
    };
    constexpr std::uint32_t bytes = 16 * 1024 * 1024;
    // The size that real hosts give Linux for ordinary frames is 1728.
    for (const Row& row : {Row{1514, 1514, 1728, 9709}, Row{9014, 9014, 9216, 1820}, Row{1513, 1514, 1728, 9709},
                           Row{9216, 9216, 9408, 1783}, Row{9217, 1514, 1728, 9709}, Row{0, 1514, 1728, 9709}}) {
        CAPTURE(row.mtu);
        Rig rig;
        REQUIRE(rig.agree(nvsp::version_6_1));
        nvsp::SendNdisConfig config;
        config.mtu = row.mtu;
        rig.tell(config);
        rig.channel().gpadls[1] = Bytes(bytes);
        const auto answer = rig.request(nvsp::SendBuffer{MessageType::send_receive_buffer, 1, 0xcafe, 0});
        REQUIRE(answer);
        CHECK(answer->size() == 40);
        const auto complete = as<nvsp::SendReceiveBufferComplete>(*answer);
        CHECK(complete.status == Status::success);
        CHECK(complete.sections == 1);
        CHECK(complete.offset == 0);
        CHECK(complete.section_bytes == row.section_bytes);
        CHECK(complete.section_count == row.count);
        CHECK(complete.end_offset == row.section_bytes * row.count);
    }
    Rig rig;
    REQUIRE(rig.agree(nvsp::version_6_1));
    rig.channel().gpadls[1] = Bytes(16 * 1728);  // nothing would be left for frames
    rig.channel().gpadls[2] = Bytes(6143);
    for (const std::uint32_t gpadl : {1u, 99u}) {
        const auto answer = rig.request(nvsp::SendBuffer{MessageType::send_receive_buffer, gpadl, 0xcafe, 0});
        CHECK(as<nvsp::SendReceiveBufferComplete>(*answer).status == Status::failure);
        CHECK(as<nvsp::SendReceiveBufferComplete>(*answer).sections == 0);
    }
    for (const std::uint32_t gpadl : {2u, 99u}) {
        const auto answer = rig.request(nvsp::SendBuffer{MessageType::send_send_buffer, gpadl, 0, 0});
        CHECK(answer->size() == 40);
        CHECK(as<nvsp::SendSendBufferComplete>(*answer).status == Status::failure);
    }
    CHECK(rig.channel().fault_reason.empty());
}

TEST_CASE("network: what asks for no completion gets none; UEFI's driver asks and gets an empty one") {
    Rig rig;
    REQUIRE(rig.agree(nvsp::version_6_1));
    rig.tell(nvsp::SendNdisConfig{});
    rig.tell(nvsp::SendNdisVersion{});
    CHECK(rig.channel().sent.empty());
    for (int n = 0; n < 2; ++n) {
        const auto answer = n == 0 ? rig.request(nvsp::SendNdisConfig{}) : rig.request(nvsp::SendNdisVersion{});
        REQUIRE(answer);
        CHECK(answer->empty());
    }
}

TEST_CASE("network: transmission in every shape") {
    Rig rig;
    rig.bring_up();
    const Bytes small = frame_of(60, 17);
    const Bytes large = frame_of(1514, 6);
    SUBCASE("by memory, over pages and ranges") {
        const Bytes message = data_message(outgoing(large), 8);
        Packet packet = rig.gpa_packet(message, 0, 0x8f80);
        // The same in three ranges: header, and payload in two pieces that lie elsewhere.
        const Bytes tail{message.begin() + 700, message.end()};
        REQUIRE(rig.bus.memory.write(0x2'0ffc, tail));
        packet.ranges[0].length = 700;
        packet.ranges[0].pages = {8, 9};
        packet.ranges.push_back({4, 0xffc, {0x20}});
        packet.ranges.push_back({static_cast<std::uint32_t>(tail.size() - 4), 0, {0x21}});
        const auto completion = rig.exchange(packet);
        CHECK(completion->size() == 40);
        CHECK(rig.status_of(completion) == Status::success);
        REQUIRE(rig.port.frames.size() == 1);
        CHECK(rig.port.frames[0].second == outgoing(large));
    }
    SUBCASE("by section, several messages in it") {
        Bytes all;
        for (const Bytes& frame : {small, large, small}) {
            const Bytes message = data_message(outgoing(frame), 8);
            all.insert(all.end(), message.begin(), message.end());
        }
        CHECK(rig.status_of(rig.exchange(section_packet(rig, 3, all))) == Status::success);
        REQUIRE(rig.port.frames.size() == 3);
        CHECK(rig.port.frames[0].second.bytes == small);
        CHECK(rig.port.frames[1].second.bytes == large);
        CHECK(rig.port.frames[2].second.bytes == small);
    }
    SUBCASE("a section with a message and the header of the next, whose frame lies in memory") {
        std::size_t offset = 0;
        const Bytes first = data_message(outgoing(small), 8);
        const Bytes second = data_message(outgoing(large), 1, &offset);
        Bytes copied = first;
        copied.insert(copied.end(), second.begin(), second.begin() + static_cast<std::ptrdiff_t>(offset));
        Packet packet = section_packet(rig, 0, copied);
        const Packet direct = rig.gpa_packet(large, 0, 0x1'0e00);
        packet.type = PacketType::gpa_direct;
        packet.ranges = direct.ranges;
        CHECK(rig.status_of(rig.exchange(packet)) == Status::success);
        REQUIRE(rig.port.frames.size() == 2);
        CHECK(rig.port.frames[0].second.bytes == small);
        CHECK(rig.port.frames[1].second.bytes == large);
    }
    SUBCASE("what a frame brings with it") {
        OutgoingFrame frame = outgoing(frame_of(200, 6));
        frame.fill_tcp_checksum = true;
        frame.transport_offset = 34;
        frame.vlan_tci = 0xb123;  // priority 5, eligible, 0x123
        frame.hash = 0xdeadbeef;
        CHECK(rig.send_frame(frame) == Status::success);
        OutgoingFrame send = outgoing(frame_of(40'000, 6));
        send.large_send_mss = 1448;
        send.transport_offset = 34;
        send.fill_tcp_checksum = send.fill_ip_checksum = true;
        CHECK(rig.send_frame(send) == Status::success);
        REQUIRE(rig.port.frames.size() == 2);
        CHECK(rig.port.frames[0].second == frame);
        CHECK(rig.port.frames[1].second == send);
        CHECK(rig.provider.from_guest().frames() == 2);
        CHECK(rig.provider.from_guest().bytes() == 40'200);
    }
    CHECK(rig.channel().sent.empty());
    CHECK(rig.channel().fault_reason.empty());
}

TEST_CASE("network: data messages that are none go no further, and cost the guest an error, not its channel") {
    struct Row {
        const char* what;
        std::size_t at;
        std::uint32_t value;
        Status status;
        NetworkDrop reason;
    };
    using D = NetworkDrop;
    constexpr Status bad = Status::invalid_rndis_packet;
    // Offsets in the message of a frame of 100 bytes with a checksum request and a tag:
    // 8 data offset, 12 length, 16.. out-of-band, 28 information offset, 32 length, 36 circuit, 44 first information.
    constexpr std::array rows{
        Row{"longer than the packet", 4, 1000, bad, D::malformed},
        Row{"shorter than its header", 4, 7, bad, D::malformed},
        Row{"cut in its own header", 4, 40, bad, D::malformed},
        Row{"another type behind the first", 4, 172 - 8, bad, D::malformed},
        Row{"the frame begins behind the end", 8, 400, bad, D::malformed},
        Row{"an offset that wraps", 8, 0xffff'fff8, bad, D::malformed},
        Row{"a length that wraps", 12, 0xffff'fff0, bad, D::malformed},
        Row{"a frame longer than the message", 12, 200, bad, D::malformed},
        Row{"a frame without an Ethernet header", 12, 13, bad, D::malformed},
        Row{"no frame", 12, 0, bad, D::malformed},
        Row{"out-of-band data", 20, 4, Status::failure, D::unsupported},
        Row{"out-of-band elements", 24, 1, Status::failure, D::unsupported},
        Row{"a virtual circuit", 36, 1, Status::failure, D::unsupported},
        Row{"information behind the end", 28, 160, bad, D::malformed},
        Row{"information in the header", 28, 8, bad, D::malformed},
        Row{"too much information", 32, 500, bad, D::malformed},
        Row{"half a piece of information", 32, 20, bad, D::malformed},
        Row{"information of no size", 44, 0, bad, D::malformed},
        Row{"information smaller than its header", 44, 8, bad, D::malformed},
        Row{"information beyond the list", 44, 64, bad, D::malformed},
        Row{"its value beyond it", 52, 20, bad, D::malformed},
        Row{"half of its value in it", 52, 14, bad, D::malformed},
    };
    OutgoingFrame frame = outgoing(frame_of(100));
    frame.fill_tcp_checksum = true;
    frame.transport_offset = 34;
    frame.vlan_tci = 5;
    const Bytes good = data_message(frame, 4);
    REQUIRE(good.size() == 44 + 32 + 100);
    Rig rig;
    rig.bring_up();
    std::array<std::uint64_t, network_drop_count> expected{};
    for (const Row& row : rows) {
        CAPTURE(row.what);
        Bytes message = good;
        std::memcpy(message.data() + row.at, &row.value, 4);
        // All or none: a good one before it does not go either.
        Bytes both = good;
        both.insert(both.end(), message.begin(), message.end());
        for (const Bytes& content : {message, both}) {
            CHECK(rig.status_of(rig.exchange(rig.gpa_packet(content, 0))) == row.status);
            ++expected[static_cast<std::size_t>(row.reason)];
        }
        CHECK(rig.port.frames.empty());
        CHECK(rig.provider.dropped(row.reason) == expected[static_cast<std::size_t>(row.reason)]);
    }
    CHECK(rig.provider.from_guest().errors == 2 * rows.size());
    CHECK(rig.send_frame(frame) == Status::success);
    CHECK(rig.port.frames.size() == 1);
    CHECK(rig.channel().fault_reason.empty());
}

TEST_CASE("network: memory and sections that are not there") {
    Rig rig;
    rig.bring_up();
    const Bytes good = data_message(outgoing(frame_of(100)), 8);
    Packet outside = rig.gpa_packet(good, 0);
    outside.ranges[0].pages[0] = 0x123456;
    CHECK(rig.status_of(rig.exchange(outside)) == Status::invalid_rndis_packet);
    Packet huge = rig.gpa_packet(good, 0);
    huge.ranges[0].length = 0xffff'ffff;
    CHECK(rig.status_of(rig.exchange(huge)) == Status::invalid_rndis_packet);
    Packet nothing = rig.gpa_packet(good, 0);
    nothing.ranges.clear();
    CHECK(rig.status_of(rig.exchange(nothing)) == Status::invalid_rndis_packet);
    struct Row {
        std::uint32_t section;
        std::uint32_t bytes;
    };
    for (const Row& row : {Row{10, 6000}, Row{11, 8}, Row{0xffff'fffe, 8}, Row{0, 65'537}, Row{0, 0xffff'ffff}}) {
        const std::uint32_t section = row.section;
        const std::uint32_t bytes = row.bytes;
        CAPTURE(section);
        Packet packet = section_packet(rig, 0, good);
        nvsp::SendRndisPacket message;
        message.section = section;
        message.section_bytes = bytes;
        packet.payload = image_of(message, nvsp::message_bytes);
        CHECK(rig.status_of(rig.exchange(packet)) == Status::invalid_rndis_packet);
    }
    CHECK(rig.provider.dropped(NetworkDrop::malformed) == 8);
    CHECK(rig.port.frames.empty());
    CHECK(rig.channel().fault_reason.empty());
}

TEST_CASE("network: a guest that breaks the protocol loses its channel, and only that") {
    struct Row {
        const char* what;
        Bytes payload;
        const char* reason;
    };
    const auto of_type = [](std::uint32_t type, std::size_t bytes = 40) { return image_of(type, bytes); };
    const std::array rows{
        Row{"INIT twice", image_of(nvsp::Init{MessageType::init, 2, 2}, 40), "a second INIT"},
        Row{"a second receive buffer", image_of(nvsp::SendBuffer{MessageType::send_receive_buffer, 1, 1, 0}, 40),
            "a second receive buffer"},
        Row{"a second send buffer", image_of(nvsp::SendBuffer{MessageType::send_send_buffer, 1, 1, 0}, 40),
            "a second send buffer"},
        Row{"another frame size", image_of(nvsp::SendNdisConfig{}, 40), "NDIS_CONFIG after the receive buffer"},
        Row{"the host's own message", of_type(128), "an NVSP message that no guest sends"},
        Row{"chimney", of_type(109), "an NVSP message that no guest sends"},
        Row{"packet direct", of_type(135), "an NVSP message that no guest sends"},
        Row{"no message", of_type(0), "an NVSP message that no guest sends"},
        Row{"a completion inband", of_type(108), "an NVSP message that no guest sends"},
        Row{"cut short", of_type(133, 8), "an NVSP message that is cut short"},
        Row{"RNDIS cut short", of_type(107, 8), "an NVSP message that is cut short"},
        Row{"empty", {}, "a packet that is no message"},
    };
    for (const Row& row : rows) {
        CAPTURE(row.what);
        Rig rig;
        rig.bring_up();
        Packet packet;
        packet.payload = row.payload;
        rig.channel().put(packet);
        rig.run();
        CHECK(rig.channel().fault_reason == row.reason);
        CHECK_FALSE(rig.provider.ready());
        CHECK(rig.port.calls.back() == "gone");
        // It may come back.
        rig.channel().fault_reason.clear();
        rig.bring_up(nvsp::version_5);
        CHECK(rig.provider.ready());
        CHECK(rig.channel().fault_reason.empty());
    }
}

TEST_CASE("network: messages of later versions, and RNDIS too early") {
    struct Row {
        std::uint32_t version;
        std::uint32_t type;
    };
    for (const Row& row : {Row{2, 125}, Row{0x30002, 129}, Row{0x40000, 133}, Row{0x40000, 131}}) {
        CAPTURE(row.type);
        Rig rig;
        rig.bring_up(row.version);
        Packet packet;
        packet.payload = image_of(row.type, 40);
        rig.channel().put(packet);
        rig.run();
        CHECK(rig.channel().fault_reason == "an NVSP message of a later version");
    }
    for (const std::uint32_t type : {100u, 101u, 104u, 107u}) {
        CAPTURE(type);
        Rig rig;
        REQUIRE(rig.channel().open());
        Packet packet;
        packet.payload = image_of(type, 40);
        rig.channel().put(packet);
        rig.run();
        CHECK(rig.channel().fault_reason == "an NVSP message of a later version");
    }
    Rig rig;
    REQUIRE(rig.agree(nvsp::version_6_1));
    rig.channel().put(rig.gpa_packet(rndis::message(rndis::MessageType::initialize, rndis::Initialize{}), 1));
    rig.run();
    CHECK(rig.channel().fault_reason == "RNDIS before its buffers");
}

TEST_CASE("network: frames of a driver that is not up yet fail and are counted") {
    Rig rig;
    REQUIRE(rig.agree(nvsp::version_6_1));
    rig.buffers(nvsp::version_6_1);
    CHECK(rig.send_frame(outgoing(frame_of(60))) == Status::failure);
    rig.receive(incoming(frame_of(60)));
    CHECK(rig.provider.dropped(NetworkDrop::not_ready) == 2);
    (void)rig.start_rndis();
    // Up, but with no filter yet.
    rig.receive(incoming(frame_of(60)));
    CHECK(rig.provider.dropped(NetworkDrop::filtered) == 1);
    CHECK(rig.send_frame(outgoing(frame_of(60))) == Status::success);
}

TEST_CASE("network: HALT, and closing as Linux does it") {
    Rig rig;
    rig.bring_up();
    CHECK(rig.control(rndis::message(rndis::MessageType::halt, rndis::RequestOnly{9})).empty());
    CHECK_FALSE(rig.provider.ready());
    CHECK(rig.port.calls.back() == "gone");
    rig.tell(nvsp::RevokeBuffer{MessageType::revoke_receive_buffer, 0xcafe});
    rig.tell(nvsp::RevokeBuffer{MessageType::revoke_send_buffer, 0});
    CHECK(rig.channel().sent.empty());
    CHECK_FALSE(rig.provider.receive_buffer().established());
    CHECK(rig.channel().fault_reason.empty());
    rig.bus.close(0);
    // Another driver, another version, larger frames.
    REQUIRE(rig.agree(nvsp::version_5));
    rig.buffers(nvsp::version_5, 9014);
    (void)rig.start_rndis();
    CHECK(as<std::uint32_t>(rig.query(ndis::Oid::maximum_frame_size)) == 9000);
    CHECK(rig.set_value(ndis::Oid::current_packet_filter, std::uint32_t{0xd}) == 0);
    CHECK(rig.send_frame(outgoing(frame_of(9014))) == Status::success);
    rig.receive(incoming(frame_of(9014)));
    rig.run();
    CHECK(rig.take_received().size() == 1);
}

TEST_CASE("network: tables and texts") {
    for (const auto& row : nvsp::messages) {
        CHECK(nvsp::find(static_cast<std::uint32_t>(row.type)) == &row);
        for (const auto& field : row.fields) CHECK(field.offset + (field.name.empty() ? 0 : field.bytes) <= row.bytes);
    }
    for (const auto& row : rndis::messages) {
        CHECK(rndis::find(static_cast<std::uint32_t>(row.type)) == &row);
        for (const auto& field : row.fields) CHECK(field.offset + (field.name.empty() ? 0 : field.bytes) <= row.bytes);
    }
    for (const auto& row : ndis::oids) CHECK(ndis::find(static_cast<std::uint32_t>(row.oid)) == &row);
    CHECK(nvsp::to_text(image_of(nvsp::SendBuffer{MessageType::send_receive_buffer, 0x12, 0xcafe, 0})) ==
          "SEND_RECV_BUF gpadl=0x12 id=0xcafe");
    CHECK(nvsp::to_text(image_of(std::uint32_t{109})) == "unknown message 0x6d");
    CHECK(nvsp::to_text({}) == "cut short");
    CHECK(rndis::to_text(rndis::message(rndis::MessageType::query, rndis::Query{2, 0x10106, 0, 20, 0})) ==
          "QUERY request=0x2 oid=0x10106 info=0x0 info_offset=0x14 vc=0x0");
    CHECK(rndis::to_text(image_of(rndis::Header{rndis::MessageType::halt, 8})) == "HALT cut short");
}

}  // namespace network_protocol_test
