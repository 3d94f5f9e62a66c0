// Messages and events between partitions: order, bounds, and the statuses of a broken line.
#include "hypervisor/ports.h"

#include <doctest/doctest.h>

#include "partition_machine.h"

namespace ports_test {

using namespace hypervisor;
using namespace hypervisor::test;

namespace {

HvInputPostMessage post(std::uint32_t connection, const std::string& text, std::uint32_t type = 1) {
    HvInputPostMessage input{};
    input.connection_id = connection;
    input.message_type = type;
    input.payload_size = static_cast<std::uint32_t>(text.size());
    std::memcpy(input.payload, text.data(), std::min(text.size(), sizeof(input.payload)));
    return input;
}

HvStatus post_from(Machine& m, PartitionId child, std::uint32_t connection, const std::string& text,
                   std::uint32_t type = 1) {
    return raw_call(m, child, HvCall::post_message, post(connection, text, type)).status;
}

HvStatus signal_from(Machine& m, PartitionId child, std::uint32_t connection, std::uint16_t flag) {
    return raw_call(m, child, HvCall::signal_event, HvInputSignalEvent{connection, flag, 0}).status;
}

// The way up: a message port 4 and an event port 5 of the root, connections 1 and 2 of the child.
void open_way_up(Machine& m, PartitionId child) {
    const PortAddress messages{root_partition, 4};
    const PortAddress events{root_partition, 5};
    REQUIRE(m.client.create_message_port(messages, child, 0, 2) == HvStatus::success);
    REQUIRE(m.client.create_event_port(events, child, 0, 2, 100, 8) == HvStatus::success);
    REQUIRE(m.client.connect_port({child, 1}, messages, HvPortType::message) == HvStatus::success);
    REQUIRE(m.client.connect_port({child, 2}, events, HvPortType::event) == HvStatus::success);
}

}  // namespace

TEST_CASE("ports: a child's messages and events reach the root in order, at the same time") {
    Machine m;
    const PartitionId child = m.child();
    open_way_up(m, child);
    CHECK(post_from(m, child, 1, "one") == HvStatus::success);
    CHECK(signal_from(m, child, 2, 3) == HvStatus::success);
    CHECK(post_from(m, child, 1, "two", 9) == HvStatus::success);
    CHECK(signal_from(m, child, 2, 3) == HvStatus::success);  // still on its way: the same event
    CHECK(signal_from(m, child, 2, 0) == HvStatus::success);
    CHECK(post_from(m, child, 1, "") == HvStatus::success);
    CHECK(m.receiver.received.empty());  // it arrives in an event of its own
    m.run();
    CHECK(m.simulation.agenda().now() == sim::Time::zero());
    CHECK(m.receiver.received ==
          std::vector<Received>{
              {4, 1, false, "one"}, {5, 103, true, ""}, {4, 9, false, "two"}, {5, 100, true, ""}, {4, 1, false, ""}});
    CHECK(signal_from(m, child, 2, 3) == HvStatus::success);  // arrived: the next is a new one
    m.run();
    CHECK(m.receiver.received.size() == 6);
    CHECK(*m.client.port_property({root_partition, 4}, HvPortProperty::post_count) == 3);
    CHECK(*m.client.port_property({root_partition, 5}, HvPortProperty::signal_count) == 4);
    CHECK(m.client.port_property({root_partition, 5}, HvPortProperty{7}).status == HvStatus::unknown_property);
}

TEST_CASE("ports: the root's messages and events go into the child's SynIC") {
    Machine m;
    const PartitionId child = m.child(3);
    REQUIRE(m.client.create_message_port({child, 1}, root_partition, 2, 5) == HvStatus::success);
    REQUIRE(m.client.create_message_port({child, 2}, root_partition, hv_any_vp, 6) == HvStatus::success);
    REQUIRE(m.client.create_event_port({child, 3}, root_partition, 1, 7, 2040, 8) == HvStatus::success);
    REQUIRE(m.client.connect_port({root_partition, 11}, {child, 1}, HvPortType::message) == HvStatus::success);
    REQUIRE(m.client.connect_port({root_partition, 12}, {child, 2}, HvPortType::message) == HvStatus::success);
    REQUIRE(m.client.connect_port({root_partition, 13}, {child, 3}, HvPortType::event) == HvStatus::success);
    const std::byte text[] = {std::byte{'h'}, std::byte{'i'}};
    CHECK(m.client.post_message(11, 1, text) == HvStatus::success);
    REQUIRE(m.host.vp(child, 2).messages.size() == 1);
    const auto& [sint, message] = m.host.vp(child, 2).messages.front();
    CHECK(sint == 5);
    CHECK(message.header.message_type == 1);
    CHECK(message.header.payload_size == 2);
    CHECK(message.header.origin == 1);  // the port
    CHECK(message.payload[1] == 'i');
    CHECK(m.client.signal_event(13, 7) == HvStatus::success);
    CHECK(m.host.vp(child, 1).events == std::vector<std::pair<std::uint32_t, std::uint16_t>>{{7, 2047}});
    // Any processor: whichever takes it.
    m.host.vp(child, 0).synic_enabled = false;
    CHECK(m.client.post_message(12, 1, text) == HvStatus::success);
    CHECK(m.host.vp(child, 1).messages.size() == 1);
    // A full queue, a disabled SynIC, a processor that is gone.
    for (int i = 0; i < 3; ++i) CHECK(m.client.post_message(11, 1, text) == HvStatus::success);
    CHECK(m.client.post_message(11, 1, text) == HvStatus::insufficient_buffers);
    m.host.vp(child, 1).synic_enabled = false;
    CHECK(m.client.signal_event(13, 0) == HvStatus::invalid_synic_state);
    REQUIRE(m.client.delete_vp(child, 1) == HvStatus::success);
    CHECK(m.client.signal_event(13, 0) == HvStatus::invalid_vp_index);
    CHECK(*m.client.port_property({child, 1}, HvPortProperty::post_count) == 4);
}

TEST_CASE("ports: what is wrong with a line has its own status") {
    Machine m;
    const PartitionId child = m.child();
    const PartitionId other = m.child();
    open_way_up(m, child);
    using S = HvStatus;
    CHECK(post_from(m, child, 9, "x") == S::invalid_connection_id);  // none
    CHECK(post_from(m, child, 2, "x") == S::invalid_connection_id);  // an event connection
    CHECK(signal_from(m, child, 1, 0) == S::invalid_connection_id);  // a message connection
    CHECK(post_from(m, other, 1, "x") == S::invalid_connection_id);  // somebody else's
    CHECK(post_from(m, child, 0x0100'0001, "x") == S::invalid_connection_id);
    CHECK(signal_from(m, child, 2, 8) == S::invalid_parameter);  // eight flags: 0 to 7
    CHECK(post_from(m, child, 1, "x", 0) == S::invalid_parameter);
    CHECK(post_from(m, child, 1, "x", 0x8000'0000) == S::invalid_parameter);  // the hypervisor's types
    CHECK(post_from(m, child, 1, std::string(240, 'x')) == S::success);
    CHECK(post_from(m, child, 1, std::string(241, 'x')) == S::invalid_parameter);
    // A port that is gone, and its successor of the same number.
    REQUIRE(m.client.delete_port({root_partition, 4}) == S::success);
    m.run();
    CHECK(m.receiver.received.empty());  // what was on its way to it is gone as well
    CHECK(post_from(m, child, 1, "x") == S::invalid_port_id);
    REQUIRE(m.client.create_message_port({root_partition, 4}, child, 0, 2) == S::success);
    CHECK(post_from(m, child, 1, "x") == S::invalid_port_id);
    CHECK(m.client.connect_port({child, 1}, {root_partition, 4}, HvPortType::message) == S::invalid_connection_id);
    REQUIRE(m.client.disconnect_port({child, 1}) == S::success);
    CHECK(post_from(m, child, 1, "x") == S::invalid_connection_id);
    CHECK(m.client.connect_port({child, 1}, {root_partition, 4}, HvPortType::event) == S::invalid_parameter);
    CHECK(m.client.connect_port({other, 1}, {root_partition, 4}, HvPortType::message) == S::access_denied);
    REQUIRE(m.client.connect_port({child, 1}, {root_partition, 4}, HvPortType::message) == S::success);
    CHECK(post_from(m, child, 1, "x") == S::success);
    CHECK(m.client.create_message_port({root_partition, 4}, child, 0, 2) == S::invalid_port_id);
    // A partition that ends takes its ports and connections along.
    REQUIRE(m.client.create_message_port({child, 77}, root_partition, 0, 3) == S::success);
    REQUIRE(m.client.connect_port({root_partition, 77}, {child, 77}, HvPortType::message) == S::success);
    m.destroy(child);
    CHECK(m.client.post_message(77, 1, {}) == S::invalid_port_id);
    CHECK(m.ports.connection_count(child) == 0);
    CHECK(m.ports.port_count(child) == 0);
}

TEST_CASE("ports: a flood is bounded for each port, and does not bar the others") {
    Machine m;
    const PartitionId noisy = m.child();
    const PartitionId quiet = m.child();
    for (const PartitionId child : {noisy, quiet}) {
        const PortAddress port{root_partition, static_cast<PortId>(child)};
        REQUIRE(m.client.create_message_port(port, child, 0, 2) == HvStatus::success);
        REQUIRE(m.client.connect_port({child, 1}, port, HvPortType::message) == HvStatus::success);
    }
    for (std::size_t i = 0; i < Ports::message_buffers_per_port; ++i) {
        CHECK(post_from(m, noisy, 1, "x") == HvStatus::success);
    }
    CHECK(post_from(m, noisy, 1, "x") == HvStatus::insufficient_buffers);
    CHECK(post_from(m, quiet, 1, "y") == HvStatus::success);
    m.run();
    CHECK(m.receiver.received.size() == Ports::message_buffers_per_port + 1);
    CHECK(m.receiver.received.back().payload == "y");
    CHECK(post_from(m, noisy, 1, "x") == HvStatus::success);
}

TEST_CASE("ports: each thirty-two ports and connections take a page of their partition's pool") {
    Machine m;
    const PartitionId child = m.child();
    const std::uint64_t in_use = m.client.memory_balance(child)->in_use;
    for (std::uint32_t i = 0; i < 33; ++i) {
        REQUIRE(m.client.create_message_port({child, i}, root_partition, 0, 2) == HvStatus::success);
        CHECK(m.client.memory_balance(child)->in_use == in_use + (i < 32 ? 1 : 2));
    }
    REQUIRE(m.client.delete_port({child, 5}) == HvStatus::success);
    CHECK(m.client.memory_balance(child)->in_use == in_use + 1);
    CHECK(m.client.create_message_port({child, 6}, root_partition, 0, 2) == HvStatus::invalid_port_id);
    CHECK(m.client.memory_balance(child)->in_use == in_use + 1);
}

TEST_CASE("ports: what is on its way is saved and restored") {
    Machine m;
    const PartitionId child = m.child();
    open_way_up(m, child);
    REQUIRE(post_from(m, child, 1, "one") == HvStatus::success);
    REQUIRE(signal_from(m, child, 2, 3) == HvStatus::success);
    const auto partitions = sim::save_to_bytes(m.partitions);
    const auto ports = sim::save_to_bytes(m.ports);
    const auto agenda = sim::save_to_bytes(m.simulation.agenda());

    Machine other;
    other.bytes = m.bytes;
    sim::restore_from_bytes(other.simulation.agenda(), agenda);
    sim::restore_from_bytes(other.partitions, partitions);
    sim::restore_from_bytes(other.ports, ports);
    for (Machine* machine : {&m, &other}) {
        CHECK(signal_from(*machine, child, 2, 3) == HvStatus::success);
        machine->run();
    }
    CHECK(other.receiver.received.size() == 2);
    CHECK(other.receiver.received == m.receiver.received);
    CHECK(sim::save_to_bytes(other.ports) == sim::save_to_bytes(m.ports));
}

}  // namespace ports_test
