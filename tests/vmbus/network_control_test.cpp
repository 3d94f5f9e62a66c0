// What a guest may ask of its adapter and set: objects, offloads, scaling, address, filter.
#include <doctest/doctest.h>

#include "tests/vmbus/network_rig.h"
#include "vmbus/network/offload.h"

namespace network_control_test {

using namespace vmbus;
using namespace vmbus::network_rig;
using ndis::Oid;
namespace status = rndis::status;

namespace {

Bytes text_bytes(std::string_view text) {
    const auto bytes = std::as_bytes(std::span{text.data(), text.size()});
    return {bytes.begin(), bytes.end()};
}

// As rndis_filter_set_device_mac() lays it out.
Bytes config_parameter(std::string_view name, std::string_view value, std::uint32_t type = 2) {
    ndis::ConfigParameter parameter;
    parameter.name_offset = 20;
    parameter.name_bytes = static_cast<std::uint32_t>(2 * name.size());
    parameter.type = type;
    parameter.value_offset = 20 + parameter.name_bytes;
    parameter.value_bytes = static_cast<std::uint32_t>(2 * value.size());
    Bytes bytes = image_of(parameter);
    for (const std::string_view text : {name, value}) {
        for (const char c : text) append_layout(bytes, static_cast<std::uint16_t>(c));
    }
    return bytes;
}

Bytes rss_parameters(std::span<const std::uint32_t> table, std::uint16_t flags = 0, std::uint32_t hash = 0x1701,
                     std::uint16_t key_bytes = 40) {
    ndis::RssParameters p;
    p.flags = flags;
    p.hash_information = hash;
    p.table_bytes = static_cast<std::uint16_t>(4 * table.size());
    p.table_offset = 40;
    p.key_bytes = key_bytes;
    p.key_offset = 40 + p.table_bytes;
    Bytes bytes = image_of(p);
    for (const std::uint32_t entry : table) append_layout(bytes, entry);
    for (std::uint8_t n = 0; n < 40; ++n) append_layout(bytes, n);
    return bytes;
}

}  // namespace

TEST_CASE("network control: every object that the adapter says it knows can be asked for or set") {
    Rig rig;
    rig.bring_up();
    const Bytes list = rig.query(Oid::supported_list);
    REQUIRE(list.size() == 4 * ndis::oids.size());
    for (const auto& row : ndis::oids) {
        CAPTURE(row.name);
        std::uint32_t result = 0;
        const Bytes value = rig.query(row.oid, {}, &result);
        CHECK((result == status::success) == row.query);
        if (!row.query) CHECK(value.empty());
        const std::uint32_t set = rig.set_value(row.oid, std::array<std::byte, 3>{});
        CHECK((set == status::not_supported) == !row.set);
    }
    std::uint32_t result = 0;
    CHECK(rig.query(static_cast<Oid>(0x0001'01ff), {}, &result).empty());
    CHECK(result == status::not_supported);
    CHECK(rig.set_value(static_cast<Oid>(0x0001'01ff), 0) == status::not_supported);
    CHECK(rig.channel().fault_reason.empty());
}

TEST_CASE("network control: values") {
    auto config = ordinary_config(4);
    config.adapter.friendly_name = "Port A";
    config.bits_per_second = 25'000'000'000;
    Rig rig{config};
    rig.bring_up();
    struct Row {
        Oid oid;
        Bytes value;
    };
    const auto number = [](std::uint32_t value) { return image_of(value); };
    Bytes name;
    for (const char c : std::string_view{"Port A"}) append_layout(name, static_cast<std::uint16_t>(c));
    append_layout(name, std::uint16_t{0});
    Bytes speeds = image_of(std::uint64_t{25'000'000'000});
    append_layout(speeds, std::uint64_t{25'000'000'000});
    ndis::LinkState link;
    link.send_bits_per_second = link.receive_bits_per_second = 25'000'000'000;
    ndis::RssCapabilities rss;
    rss.flags = 0x301;
    rss.receive_queues = 4;
    for (const Row& row :
         {Row{Oid::hardware_status, number(0)}, Row{Oid::media_supported, number(0)}, Row{Oid::media_in_use, number(0)},
          Row{Oid::maximum_lookahead, number(1500)}, Row{Oid::maximum_frame_size, number(1500)},
          Row{Oid::maximum_total_size, number(1514)}, Row{Oid::link_speed, number(250'000'000)},
          Row{Oid::vendor_id, number(0x15d)}, Row{Oid::vendor_description, text_bytes("Microsoft Corporation")},
          Row{Oid::current_packet_filter, number(0xd)}, Row{Oid::mac_options, number(0x24d)},
          Row{Oid::media_connect_status, number(0)}, Row{Oid::friendly_name, name},
          Row{Oid::permanent_address, image_of(adapter_address)}, Row{Oid::current_address, image_of(adapter_address)},
          Row{Oid::maximum_link_speed, speeds}, Row{Oid::link_state, image_of(link)},
          Row{Oid::receive_scale_capabilities, image_of(rss)}}) {
        CAPTURE(static_cast<std::uint32_t>(row.oid));
        CHECK(rig.query(row.oid) == row.value);
    }
    rig.provider.set_link(false);
    rig.run();
    (void)rig.take_received();
    CHECK(rig.query(Oid::media_connect_status) == number(1));
    CHECK(as<ndis::LinkState>(rig.query(Oid::link_state)).connected == 2);
}

TEST_CASE("network control: an older NDIS is told of fewer objects") {
    for (const auto& [version, first] :
         {std::pair{nvsp::version_6_1, ndis::ndis_6_30}, std::pair{nvsp::version_4, std::uint16_t{0x601}}}) {
        Rig rig;
        rig.bring_up(version);
        std::size_t expected = 0;
        for (const auto& row : ndis::oids) expected += row.first_ndis <= first ? 1 : 0;
        CHECK(rig.query(Oid::supported_list).size() == 4 * expected);
        std::uint32_t result = 0;
        (void)rig.query(Oid::receive_scale_capabilities, {}, &result);
        CHECK((result == status::success) == (version == nvsp::version_6_1));
    }
}

TEST_CASE("network control: statistics are what went through, in four bytes or in eight") {
    Rig rig;
    rig.bring_up();
    OutgoingFrame frame;
    frame.bytes = frame_of(100, 17, NetworkAddress{{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}});
    (void)rig.send_frame(frame);
    frame.bytes = frame_of(200, 17, NetworkAddress{{1, 0, 0x5e, 0, 0, 1}});
    (void)rig.send_frame(frame);
    frame.bytes = frame_of(300);
    (void)rig.send_frame(frame);
    (void)rig.send_frame(frame);
    rig.receive(incoming(frame_of(70)));
    rig.receive(incoming(frame_of(1514, 17, NetworkAddress{{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}})));
    rig.receive(incoming(frame_of(4000)));
    rig.run();
    (void)rig.take_received();
    for (const auto& [oid, value] :
         {std::pair{Oid::transmit_ok, 4u}, std::pair{Oid::receive_ok, 2u}, std::pair{Oid::transmit_error, 0u},
          std::pair{Oid::broadcast_frames_transmitted, 1u}, std::pair{Oid::broadcast_bytes_transmitted, 100u},
          std::pair{Oid::multicast_frames_transmitted, 1u}, std::pair{Oid::multicast_bytes_transmitted, 200u},
          std::pair{Oid::directed_frames_transmitted, 2u}, std::pair{Oid::directed_bytes_transmitted, 600u},
          std::pair{Oid::directed_frames_received, 1u}, std::pair{Oid::directed_bytes_received, 70u},
          std::pair{Oid::broadcast_frames_received, 1u}, std::pair{Oid::bytes_received, 1584u},
          std::pair{Oid::bytes_transmitted, 900u}, std::pair{Oid::receive_discards, 1u}}) {
        CHECK(rig.query(oid) == image_of(value));
        CHECK(rig.query(oid, Bytes(8)) == image_of(std::uint64_t{value}));
    }
}

TEST_CASE("network control: messages that are not queries") {
    Rig rig;
    rig.bring_up();
    const Bytes alive = rig.control(rndis::message(rndis::MessageType::keepalive, rndis::RequestOnly{0x55}));
    CHECK(as<rndis::Header>(alive).type == rndis::MessageType::keepalive_complete);
    CHECK(as<rndis::SetComplete>(alive, 8).request == 0x55);
    const Bytes reset = rig.control(rndis::message(rndis::MessageType::reset, std::uint32_t{0}));
    CHECK(as<rndis::Header>(reset).type == rndis::MessageType::reset_complete);
    CHECK(reset.size() == 16);
    CHECK(as<rndis::ResetComplete>(reset, 8).status == status::success);
    CHECK(rig.provider.ready());

    // What is no request of a guest's fails, and that is all.
    for (const std::uint32_t type : {0u, 7u, 9u, 0x8000'0002u, 0x8000'0004u, 0xffff'ffffu}) {
        CAPTURE(type);
        const Bytes message = rndis::message(static_cast<rndis::MessageType>(type), std::array<std::byte, 60>{});
        CHECK(rig.status_of(rig.exchange(rig.gpa_packet(message, 1))) == nvsp::Status::invalid_rndis_packet);
        CHECK(rig.take_received().empty());
    }
    Bytes query = rndis::message(rndis::MessageType::query, rndis::Query{1, 0x10106, 0, 20, 0});
    for (const std::uint32_t length : {0u, 8u, 27u, 29u, 0xffff'ffffu}) {
        CAPTURE(length);
        std::memcpy(query.data() + 4, &length, 4);
        CHECK(rig.status_of(rig.exchange(rig.gpa_packet(query, 1))) == nvsp::Status::invalid_rndis_packet);
    }
    CHECK(rig.channel().fault_reason.empty());
    // Information that is not there.
    for (const auto& [bytes, offset] :
         {std::pair{4u, 20u}, std::pair{4u, 0xffff'fffcu}, std::pair{0xffff'ffffu, 20u}}) {
        rndis::Query body;
        body.oid = static_cast<std::uint32_t>(Oid::current_packet_filter);
        body.information_bytes = bytes;
        body.information_offset = offset;
        const Bytes reply = rig.control(rndis::message(rndis::MessageType::set, body));
        CHECK(as<rndis::SetComplete>(reply, 8).status == status::invalid_length);
    }
    CHECK(rig.provider.adapter().filter() == 0xd);
}

TEST_CASE("network control: before INITIALIZE nothing is answered but that; HALT ends it") {
    Rig rig;
    REQUIRE(rig.agree(nvsp::version_6_1));
    rig.buffers(nvsp::version_6_1);
    std::uint32_t result = 0;
    CHECK(rig.query(Oid::permanent_address, {}, &result).empty());
    CHECK(result == status::adapter_not_ready);
    CHECK(rig.set_value(Oid::current_packet_filter, 1u) == status::adapter_not_ready);
    (void)rig.start_rndis();
    CHECK(rig.set_value(Oid::current_packet_filter, 1u) == status::success);
    CHECK(rig.control(rndis::message(rndis::MessageType::halt, rndis::RequestOnly{1})).empty());
    CHECK(rig.set_value(Oid::current_packet_filter, 1u) == status::adapter_not_ready);
    (void)rig.start_rndis();
    CHECK(rig.provider.adapter().filter() == 0);
    CHECK(rig.port.calls ==
          std::vector<std::string>{"frames 1514", "ready", "filter 1 groups 0", "gone", "frames 1514", "ready"});
}

TEST_CASE("network control: offloads are on as far as they exist and the guest has set them") {
    struct Row {
        std::size_t at;  // in OFFLOAD_PARAMETERS
        std::uint8_t value;
        std::uint32_t result;
        bool send;
        bool receive;
    };
    const auto all = OffloadSettings::all(true);
    // TCP over IPv4, whose value is at 5: off, both, one direction, and none that exists.
    for (const Row& row : {Row{5, 0, status::success, true, true}, Row{5, 1, status::success, false, false},
                           Row{5, 2, status::success, true, false}, Row{5, 3, status::success, false, true},
                           Row{5, 4, status::success, true, true}, Row{5, 5, status::invalid_data, true, true},
                           Row{5, 255, status::invalid_data, true, true}}) {
        CAPTURE(row.value);
        Bytes object = image_of(ndis::OffloadParameters{});
        object[row.at] = std::byte{row.value};
        OffloadSettings settings = all;
        CHECK(apply_offload_parameters(object, all, settings) == row.result);
        OffloadSettings expected = all;
        expected.send.tcp4 = row.send;
        expected.receive.tcp4 = row.receive;
        CHECK(settings == expected);
        // What is not supported stays off.
        OffloadSettings none;
        CHECK(apply_offload_parameters(object, {}, none) == row.result);
        CHECK(none == OffloadSettings{});
    }
    // Each byte and its setting.
    const auto with = [&](std::size_t at) {
        Bytes object = image_of(ndis::OffloadParameters{});
        object[at] = std::byte{1};
        OffloadSettings settings = all;
        CHECK(apply_offload_parameters(object, all, settings) == status::success);
        return settings;
    };
    CHECK_FALSE(with(4).send.ip);
    CHECK_FALSE(with(5).send.tcp4);
    CHECK_FALSE(with(6).send.udp4);
    CHECK_FALSE(with(7).send.tcp6);
    CHECK_FALSE(with(8).receive.udp6);
    CHECK_FALSE(with(11).large_send_ipv4);
    CHECK_FALSE(with(12).large_send_ipv6);
    CHECK_FALSE(with(22).coalescing_ipv4);
    CHECK_FALSE(with(23).coalescing_ipv6);
    // The object's own form.
    OffloadSettings settings = all;
    Bytes object = image_of(ndis::OffloadParameters{});
    CHECK(apply_offload_parameters(std::span{object}.first(19), all, settings) == status::invalid_length);
    for (const auto& [at, value] :
         {std::pair{0, 0x81}, std::pair{1, 0}, std::pair{2, 19}, std::pair{2, 29}, std::pair{3, 1}}) {
        Bytes wrong = object;
        wrong[static_cast<std::size_t>(at)] = static_cast<std::byte>(value);
        wrong[5] = std::byte{1};
        CHECK(apply_offload_parameters(wrong, all, settings) == status::invalid_data);
    }
    object[9] = std::byte{2};  // large sends of version 1
    CHECK(apply_offload_parameters(object, all, settings) == status::not_supported);
    CHECK(settings == all);
    // Of an object that ends at byte 22 the rest is not looked at. (Linux sends such to older hosts.)
    object = image_of(ndis::OffloadParameters{});
    object[2] = std::byte{22};
    object[22] = object[23] = std::byte{1};
    CHECK(apply_offload_parameters(object, all, settings) == status::success);
    CHECK(settings == all);
}

TEST_CASE("network control: a frame that asks for an offload which is off goes nowhere") {
    Rig rig;
    rig.bring_up();
    ndis::OffloadParameters off;
    off.ipv4_checksum = off.tcp4_checksum = off.udp4_checksum = off.tcp6_checksum = off.udp6_checksum = 1;
    off.large_send_ipv4 = off.large_send_ipv6 = 1;
    REQUIRE(rig.set_value(Oid::tcp_offload_parameters, off) == status::success);
    const auto try_all = [&] {
        std::vector<bool> passed;
        for (int n = 0; n < 5; ++n) {
            OutgoingFrame frame;
            frame.bytes = frame_of(200, n == 2 ? 17 : 6);
            if (n == 4) frame.bytes = frame_of_ipv6(200);
            frame.fill_ip_checksum = n == 0;
            frame.fill_tcp_checksum = n == 1 || n == 4;
            frame.fill_udp_checksum = n == 2;
            if (n == 3) frame.large_send_mss = 100, frame.transport_offset = 34;
            passed.push_back(rig.send_frame(frame) == nvsp::Status::success);
        }
        (void)rig.take_received();
        return passed;
    };
    CHECK(try_all() == std::vector{false, false, false, false, false});
    CHECK(rig.provider.dropped(NetworkDrop::offload_not_enabled) == 5);
    for (const auto& [at, which] : {std::pair{5, 1}, std::pair{6, 2}, std::pair{7, 4}, std::pair{4, 0}}) {
        Bytes object = image_of(off);
        object[static_cast<std::size_t>(at)] = std::byte{4};
        REQUIRE(rig.set(Oid::tcp_offload_parameters, object) == status::success);
        std::vector<bool> expected(5, false);
        expected[static_cast<std::size_t>(which)] = true;
        CHECK(try_all() == expected);
    }
    Bytes object = image_of(off);
    object[11] = std::byte{2};
    REQUIRE(rig.set(Oid::tcp_offload_parameters, object) == status::success);
    CHECK(try_all() == std::vector{false, false, false, true, false});
    // And the guest is told what is on now.
    rig.run();
    const Bytes current = rig.query(Oid::tcp_offload_current_config);
    const auto settings = offload_settings(as<ndis::Offload>(current));
    CHECK(settings.large_send_ipv4);
    CHECK_FALSE(settings.large_send_ipv6);
    CHECK(settings.send == OffloadSettings::Checksums{});
}

TEST_CASE("network control: the offload object as Linux reads it") {
    const ndis::Offload object = offload_object(OffloadSettings::all(true), ndis::offload_bytes_3);
    CHECK((object.ipv4_send & 0x14) == 0x14);
    CHECK((object.ipv4_send & 0x40) == 0x40);
    CHECK((object.ipv6_send & 0x15) == 0x15);
    CHECK((object.ipv6_send & 0x40) == 0x40);
    CHECK((object.ipv4_large_send_encapsulation & 2) == 2);
    CHECK(object.ipv4_large_send_bytes == 0xf53c);
    CHECK((object.ipv6_large_send_encapsulation & 2) == 2);
    CHECK((object.ipv6_large_send_options & 5) == 5);
    CHECK(object.rsc_ipv4 == 1);
    CHECK(object.rsc_ipv6 == 1);
    CHECK(offload_settings(object) == OffloadSettings::all(true));
    // No offloads is a valid object, too.
    const ndis::Offload none = offload_object({}, ndis::offload_bytes_1);
    CHECK(none.header.type == 0xa7);
    CHECK(none.header.bytes == 112);
    CHECK(none.ipv4_send == 0);
    CHECK(offload_settings(none) == OffloadSettings{});
    // Coalescing is only for drivers that speak 6.1 and say so.
    auto config = ordinary_config();
    config.adapter.offloads = OffloadSettings::all(true);
    for (const std::uint32_t version : {nvsp::version_6_1, nvsp::version_6}) {
        Rig rig{config};
        rig.bring_up(version);
        const auto offered = as<ndis::Offload>(rig.query(Oid::tcp_offload_hardware_capabilities));
        CHECK(offered.rsc_ipv4 == (version == nvsp::version_6_1 ? 1 : 0));
        CHECK(rig.provider.adapter().offloads().coalescing_ipv6 == (version == nvsp::version_6_1));
    }
}

TEST_CASE("network control: receive side scaling is set, changed in part, and refused") {
    std::vector<std::uint32_t> table(128);
    for (std::size_t n = 0; n < table.size(); ++n) table[n] = static_cast<std::uint32_t>(n % 4);
    RssSettings settings;
    CHECK(apply_rss_parameters(rss_parameters(table), 4, 128, settings) == status::success);
    CHECK(settings.enabled);
    CHECK(settings.hash_types == 0x1700);
    CHECK(settings.table.size() == 128);
    CHECK(settings.table[5] == 1);
    CHECK(settings.key[39] == 39);
    const RssSettings before = settings;
    struct Row {
        const char* what;
        Bytes object;
        std::uint32_t result;
    };
    const std::array<std::uint32_t, 2> two{1, 0};
    const std::array<std::uint32_t, 1> beyond{4};
    Bytes no_key = rss_parameters(two);
    no_key.resize(no_key.size() - 1);
    Bytes odd = rss_parameters(two);
    odd[12] = std::byte{7};
    Bytes far = rss_parameters(two);
    far[19] = std::byte{0xff};
    const std::array<Row, 9> rows{{
        {"too short", Bytes(27), status::invalid_length},
        {"no table", rss_parameters({}), status::invalid_data},
        {"a channel that is none", rss_parameters(beyond), status::invalid_data},
        {"a table larger than offered", rss_parameters(std::vector<std::uint32_t>(129)), status::invalid_data},
        {"half an entry", odd, status::invalid_data},
        {"a table elsewhere", far, status::invalid_data},
        {"another function", rss_parameters(two, 0, 0x1702), status::invalid_data},
        {"a short key", rss_parameters(two, 0, 0x1701, 16), status::invalid_data},
        {"a key that is not there", no_key, status::invalid_data},
    }};
    for (const Row& row : rows) {
        CAPTURE(row.what);
        CHECK(apply_rss_parameters(row.object, 4, 128, settings) == row.result);
        CHECK(settings == before);
    }
    // Linux switches it off, then on with the new table.
    CHECK(apply_rss_parameters(rss_parameters(two, 0x10), 4, 128, settings) == status::success);
    CHECK_FALSE(settings.enabled);
    CHECK(settings.table == before.table);
    // Only the table; the key and the types stay.
    Bytes only_table = rss_parameters(two, 0x2 | 0x8, 0);
    only_table.resize(48);
    CHECK(apply_rss_parameters(only_table, 4, 128, settings) == status::success);
    CHECK(settings.enabled);
    CHECK(settings.key == before.key);
    CHECK(settings.hash_types == 0x1700);
    CHECK(settings.table == std::vector<std::uint16_t>{1, 0});
    // No function means off.
    CHECK(apply_rss_parameters(rss_parameters(two, 0, 0x1700), 4, 128, settings) == status::success);
    CHECK_FALSE(settings.enabled);
    // Nothing to go by.
    RssSettings fresh;
    CHECK(apply_rss_parameters(rss_parameters(two, 0x4), 4, 128, fresh) == status::invalid_data);
}

TEST_CASE("network control: another address only if policy lets it") {
    struct Row {
        bool allowed;
        const char* name;
        const char* value;
        std::uint32_t type;
        std::uint32_t result;
        std::uint8_t last;  // of the address afterwards
    };
    for (const Row& row : {Row{true, "NetworkAddress", "0200000000ab", 2, status::success, 0xab},
                           Row{true, "NetworkAddress", "0200000000AB", 2, status::success, 0xab},
                           Row{false, "NetworkAddress", "0200000000ab", 2, status::failure, 3},
                           Row{false, "NetworkAddress", "00155d010203", 2, status::success, 3},  // its own
                           Row{true, "NetworkAddress", "0100000000ab", 2, status::invalid_data, 3},
                           Row{true, "NetworkAddress", "000000000000", 2, status::invalid_data, 3},
                           Row{true, "NetworkAddress", "0200000000a", 2, status::invalid_data, 3},
                           Row{true, "NetworkAddress", "0200000000xy", 2, status::invalid_data, 3},
                           Row{true, "NetworkAddress", "0200000000ab", 0, status::invalid_data, 3},
                           Row{true, "*LsoV2IPv4", "0", 2, status::success, 3}}) {
        CAPTURE(row.value);
        auto config = ordinary_config();
        config.adapter.address_change_allowed = row.allowed;
        Rig rig{config};
        rig.bring_up();
        rig.port.calls.clear();
        CHECK(rig.set(Oid::rndis_config_parameter, config_parameter(row.name, row.value, row.type)) == row.result);
        CHECK(rig.provider.adapter().address().bytes[5] == row.last);
        CHECK(rig.query(Oid::current_address)[5] == std::byte{row.last});
        CHECK(rig.query(Oid::permanent_address) == image_of(adapter_address));
        CHECK(rig.port.calls.size() == (row.last == 0xab ? 1 : 0));
        // It stays when the driver goes and another comes.
        rig.bus.close(0);
        rig.bring_up();
        CHECK(rig.provider.adapter().address().bytes[5] == row.last);
    }
    Rig rig;
    rig.bring_up();
    for (const std::size_t at : {std::size_t{0}, std::size_t{4}, std::size_t{12}, std::size_t{16}}) {
        Bytes object = config_parameter("NetworkAddress", "0200000000ab");
        const std::uint32_t huge = 0xffff'fff0;
        std::memcpy(object.data() + at, &huge, 4);
        CHECK(rig.set(Oid::rndis_config_parameter, object) == status::invalid_data);
    }
    CHECK(rig.set(Oid::rndis_config_parameter, Bytes(19)) == status::invalid_length);
}

}  // namespace network_control_test
