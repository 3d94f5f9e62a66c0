#include "models/partition_bus.h"

#include <algorithm>

#include "models/migration/movable_partition.h"
#include "sim/check.h"
#include "sim/prefetch.h"

namespace models {

namespace h = hypervisor;

namespace {
constexpr std::uint32_t message_sint = 2;         // of the guest's, for messages and events both
constexpr std::uint32_t bus_message_type = 1;     // the bus's own
constexpr std::uint16_t event_flag_count = 2048;  // a page of flags
// Connections on which guests post: the one of old versions, and the one of 5.0 and later.
constexpr std::uint32_t message_connections[] = {1, 4};
}  // namespace

// Memory
// ----------------------------------------------------------------------------------------------------------------

bool RootViewOfGuest::contains(std::uint64_t gpa, std::uint64_t length) const {
    while (length > 0) {
        const MemoryRun* run = find_run(runs_, gpa);
        if (run == nullptr) return false;
        const std::uint64_t part = std::min(length, run->pages * page_bytes - (gpa - run->gpa));
        gpa += part;
        length -= part;
    }
    return true;
}

void RootViewOfGuest::will_fill(std::uint64_t gpa, std::uint64_t bytes) {
    while (bytes > 0) {
        const MemoryRun* const run = find_run(runs_, gpa);
        if (run == nullptr) return;
        const std::uint64_t offset = gpa - run->gpa, part = std::min(bytes, run->pages * page_bytes - offset);
        memory_.will_fill(run->spa + offset, part);
        gpa += part;
        bytes -= part;
    }
}

void RootViewOfGuest::expect(std::uint64_t gpa) const {
    if (const MemoryRun* const run = find_run(runs_, gpa)) sim::prefetch(memory_.base() + run->spa + (gpa - run->gpa));
}

bool RootViewOfGuest::read(std::uint64_t gpa, std::span<std::byte> out) {
    if (!contains(gpa, out.size())) return false;
    while (!out.empty()) {
        const MemoryRun* run = find_run(runs_, gpa);
        const std::uint64_t offset = gpa - run->gpa;
        const auto part = std::min<std::uint64_t>(out.size(), run->pages * page_bytes - offset);
        VG_CHECK(memory_.view().read(run->spa + offset, out.first(part)));
        out = out.subspan(part);
        gpa += part;
    }
    return true;
}

bool RootViewOfGuest::write(std::uint64_t gpa, std::span<const std::byte> data) {
    if (!contains(gpa, data.size())) return false;
    if (log_ != nullptr) log_->wrote(gpa, data.size());
    return write_guest(memory_, runs_, gpa, data);
}

// Ports
// ----------------------------------------------------------------------------------------------------------------

PartitionBus::PartitionBus(const sim::Scope& scope, h::RootClient& client, PortNumbers& numbers,
                           const HostMemory& memory, h::PartitionId partition, const std::vector<MemoryRun>& runs,
                           unsigned vps)
    : client_(client),
      numbers_(numbers),
      partition_(partition),
      root_(*client.partition_id()),
      vps_(vps),
      undelivered_(scope.counter("undelivered", "count", "signals that the guest's interrupt controller refused")),
      registration_(scope.register_state(*this)),
      memory_(memory, runs),
      server_(scope, memory_, *this, {}) {
    accept_messages();
}

void PartitionBus::accept_messages() {
    state_.message_port = numbers_.take();
    numbers_.claim(state_.message_port, *this);
    const h::PortAddress port{root_, state_.message_port};
    // The root takes messages of its own ports wherever it runs.
    VG_CHECK(client_.create_message_port(port, partition_, h::hv_any_vp, message_sint) == h::HvStatus::success);
    for (const std::uint32_t connection : message_connections) {
        VG_CHECK(client_.connect_port({partition_, connection}, port, h::HvPortType::message) == h::HvStatus::success);
    }
}

const PartitionBus::WayToGuest& PartitionBus::way(sim::FlatMap<std::uint32_t, WayToGuest>& ways, std::uint32_t vp,
                                                  bool events) {
    const auto [place, added] = ways.try_emplace(vp);
    if (!added) return place->second;
    const h::PortId number = numbers_.take();
    const h::PortAddress port{partition_, number};
    const h::HvStatus created = events ? client_.create_event_port(port, root_, vp, message_sint, 0, event_flag_count)
                                       : client_.create_message_port(port, root_, vp, message_sint);
    VG_CHECK(created == h::HvStatus::success);
    const h::HvPortType type = events ? h::HvPortType::event : h::HvPortType::message;
    VG_CHECK(client_.connect_port({root_, number}, port, type) == h::HvStatus::success);
    place->second.connection = number;
    return place->second;
}

bool PartitionBus::post_message(std::uint32_t vp, std::span<const std::byte> payload) {
    if (vp >= vps_) return false;
    const WayToGuest& to = way(state_.messages, vp, false);
    return client_.post_message(to.connection, bus_message_type, payload) == h::HvStatus::success;
}

void PartitionBus::signal_event(std::uint32_t vp, std::uint16_t flag) {
    const bool done =
        vp < vps_ && client_.signal_event(way(state_.events, vp, true).connection, flag) == h::HvStatus::success;
    if (!done) ++undelivered_;
}

void PartitionBus::open_connection(std::uint32_t connection) {
    if (state_.port_of_connection.contains(connection)) return;
    const h::PortId number = numbers_.take();
    const h::PortAddress port{root_, number};
    constexpr std::uint32_t root_vp = 0;
    VG_CHECK(client_.create_event_port(port, partition_, root_vp, message_sint, 0, 1) == h::HvStatus::success);
    VG_CHECK(client_.connect_port({partition_, connection}, port, h::HvPortType::event) == h::HvStatus::success);
    state_.port_of_connection[connection] = number;
    state_.connection_of_port[number] = connection;
    numbers_.claim(number, *this);
}

void PartitionBus::close_connection(std::uint32_t connection) {
    const auto found = state_.port_of_connection.find(connection);
    if (found == state_.port_of_connection.end()) return;
    VG_CHECK(client_.disconnect_port({partition_, connection}) == h::HvStatus::success);
    VG_CHECK(client_.delete_port({root_, found->second}) == h::HvStatus::success);
    numbers_.disclaim(found->second, *this);
    numbers_.give_back(found->second);
    state_.connection_of_port.erase(found->second);
    state_.port_of_connection.erase(found);
}

std::vector<std::uint32_t> PartitionBus::connections() const {
    std::vector<std::uint32_t> all;
    for (const auto& [connection, port] : state_.port_of_connection) all.push_back(connection);
    return all;
}

void PartitionBus::open_connections(std::span<const std::uint32_t> connections) {
    for (const std::uint32_t connection : connections) open_connection(connection);
}

void PartitionBus::add_needs(sim::WorkingSet& set) const {
    set.add(this, static_cast<std::size_t>(reinterpret_cast<const std::byte*>(&memory_) -
                                           reinterpret_cast<const std::byte*>(this)));
    set.add_content(state_.events, sim::WorkingSet::line_bytes);
    set.add_content(state_.connection_of_port, sim::WorkingSet::line_bytes);
    for (const auto& [port, connection] : state_.connection_of_port) numbers_.add_needs(port, set);
}

void PartitionBus::message(const h::HvMessage& message) {
    if (message.header.message_type != bus_message_type) return;
    server_.guest_message(std::as_bytes(std::span{message.payload}).first(message.header.payload_size));
}

void PartitionBus::event(h::PortId port) {
    const auto found = state_.connection_of_port.find(port);
    if (found != state_.connection_of_port.end()) server_.guest_signal(found->second);
}

void PartitionBus::claim_ports() {
    if (state_.message_port != 0) numbers_.claim(state_.message_port, *this);
    for (const auto& [port, connection] : state_.connection_of_port) numbers_.claim(port, *this);
}

void PartitionBus::disclaim_ports() {
    if (state_.message_port != 0) numbers_.disclaim(state_.message_port, *this);
    for (const auto& [port, connection] : state_.connection_of_port) numbers_.disclaim(port, *this);
}

void PartitionBus::take_down() {
    server_.reset();
    while (!state_.port_of_connection.empty()) close_connection(state_.port_of_connection.begin()->first);
    for (const auto* ways : {&state_.messages, &state_.events}) {
        for (const auto& [vp, to] : *ways) {
            VG_CHECK(client_.disconnect_port({root_, to.connection}) == h::HvStatus::success);
            numbers_.give_back(to.connection);
        }
    }
    VG_CHECK(client_.delete_port({root_, state_.message_port}) == h::HvStatus::success);
    disclaim_ports();
    numbers_.give_back(state_.message_port);
    state_ = {};
}

}  // namespace models
