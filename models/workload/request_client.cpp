#include "models/workload/request_client.h"

#include <algorithm>
#include <string>
#include <utility>

#include "sim/exponential.h"

namespace models {

namespace {
constexpr std::uint64_t most_request_bytes = greatest_message_bytes;
constexpr std::uint64_t most_datagram_bytes = 1472;  // of an MTU of 1500, which stacks here do not exceed by fragments

void check_sizes(const Choice& sizes, bool datagrams, const std::string& what) {
    const std::uint64_t most = datagrams ? most_datagram_bytes : most_request_bytes;
    if (sizes.least() < least_message_bytes || sizes.greatest() > most) {
        throw sim::UserError(what + " must be of " + std::to_string(least_message_bytes) + " to " +
                             std::to_string(most) + " bytes");
    }
}
}  // namespace

RequestClient::RequestClient(const sim::Scope& scope, Sockets& sockets, const Settings& settings)
    : Workload(scope),
      sockets_(sockets),
      user_(sockets.add_user(*this)),
      settings_(settings),
      timer_(scope.agenda(), scope.path() + ".next", [this] { expired(); }),
      patience_timer_(scope.agenda(), scope.path() + ".patience", [this] { out_of_patience(); }),
      arrivals_(settings.arrivals, scope.child("arrivals").random()),
      random_(scope.random()),
      registration_(scope.register_state(*this)) {
    settings.arrivals.check(scope.path());
    check_sizes(settings.request, settings.datagrams, scope.path() + ": requests");
    check_sizes(settings.answer, settings.datagrams, scope.path() + ": answers");
    if (settings.connections == 0 || settings.connections > 10'000) {
        throw sim::UserError(scope.path() + ": give 1 to 10,000 connections");
    }
    state_.connections.resize(settings.connections);
    needs_.add_between(this, &state_.by_socket);
    needs_.add(&arrivals_, sim::WorkingSet::line_bytes);
    needs_.add(state_.connections.front());
    latency().add_needs(needs_);
    needs_.add_elements(state_.patience);
    needs_.add_elements(state_.arrivals);
    sockets_.add_needs(needs_, settings_.processor);
    timer_.set_foresight(this);
}

void RequestClient::start() {
    if (state_.running) return;
    state_.running = true;
    Workload::state_.since = scope().now();
    arrivals_.start(scope().now());
    for (std::uint32_t n = 0; n < state_.connections.size(); ++n) {
        Connection& connection = state_.connections[n];
        if (connection.open || connection.socket != 0) continue;
        if (settings_.datagrams) {
            connection.socket = settings_.local_port + n;
            sockets_.bind(static_cast<std::uint16_t>(connection.socket), user_, processor_of(n));
            connection.open = true;
        } else {
            connection.socket = sockets_.connect(settings_.to, user_, false, processor_of(n));
        }
        state_.by_socket[connection.socket] = n;
    }
    if (settings_.datagrams && closed_loop()) {
        for (std::uint32_t n = 0; n < state_.connections.size(); ++n) go_on(n);
    }
    take_next();
    schedule();
}

void RequestClient::stop() {
    state_.running = false;
    state_.thinking.clear();
    state_.has_next = false;
    timer_.disarm();
}

// -- When requests begin.

void RequestClient::take_next() {
    const auto next = arrivals_.next();
    state_.has_next = next.has_value();
    if (next) state_.next = {next->at, next->bytes};
}

void RequestClient::schedule() {
    sim::Time at = state_.has_next ? state_.next.at : sim::Time::never();
    if (!state_.thinking.empty()) at = std::min(at, state_.thinking.begin()->first.first);
    if (at.is_never() || !state_.running) return timer_.disarm();
    timer_.arm(at);
}

// Its own, then what lies below on the processor of the next request.
bool RequestClient::fetch_ahead(unsigned step) {
    constexpr unsigned own_steps = 2;
    std::size_t first = 0, room = sim::WorkingSet::at_once;
    switch (step) {
        case 0:
            needs_.fetch_list();
            return true;
        case 1:
            needs_.fetch();
            return true;
        case own_steps:
            (void)needs_.fetch_some_contents(first, room);
            [[fallthrough]];
        default:
            return sockets_.fetch_ahead(processor_of(state_.next_connection), step - own_steps);
    }
}

void RequestClient::expired() {
    needs_.fetch();
    const sim::Time now = scope().now();
    while (!state_.thinking.empty() && state_.thinking.begin()->first.first <= now) {
        const std::uint32_t connection = state_.thinking.begin()->second;
        state_.thinking.erase(state_.thinking.begin());
        sockets_.call(user_, connection, processor_of(connection));
    }
    while (state_.has_next && state_.next.at <= now) {
        if (state_.arrivals.size() + state_.requests.size() >= most_outstanding) {
            failed();
        } else {
            state_.arrivals.push_back(state_.next);
            const auto connection = state_.next_connection;
            sockets_.call(user_, connection, processor_of(connection));
            state_.next_connection = (connection + 1) % settings_.connections;
        }
        take_next();
    }
    schedule();
}

// The program runs on that connection's processor.
void RequestClient::called(std::uint64_t connection) {
    if (closed_loop()) {
        if (state_.running) begin(static_cast<std::uint32_t>(connection), scope().now(), 0);
        return;
    }
    if (state_.arrivals.empty()) return;
    const Arrival arrival = state_.arrivals.front();
    state_.arrivals.pop_front();
    begin(static_cast<std::uint32_t>(connection), arrival.at, arrival.bytes);
}

bool RequestClient::issue() {
    if (state_.requests.size() + state_.arrivals.size() >= most_outstanding) return false;
    for (std::uint32_t n = 0; n < settings_.connections; ++n) {
        const std::uint32_t connection = (state_.next_connection + n) % settings_.connections;
        if (!state_.connections[connection].open) continue;
        state_.next_connection = (connection + 1) % settings_.connections;
        state_.arrivals.push_back({scope().now(), 0});
        sockets_.call(user_, connection, processor_of(connection));
        return true;
    }
    return false;
}

// -- A request.

void RequestClient::begin(std::uint32_t number, sim::Time begun, std::uint64_t bytes) {
    Connection& connection = state_.connections[number];
    const std::uint64_t most = settings_.datagrams ? most_datagram_bytes : most_request_bytes;
    const std::uint64_t drawn =
        bytes != 0 ? std::clamp<std::uint64_t>(bytes, least_message_bytes, most) : settings_.request.draw(random_);
    const std::uint64_t answer = settings_.answer.draw(random_);
    const sim::RequestId id = next_request();
    state_.requests.emplace(id, Request{number, begun, drawn + answer});
    ++connection.outstanding;
    sim::Journeys& journeys = scope().journeys();
    if (journeys.on()) {
        journeys.begin(id, group(), begun);
        journeys.mark(id, "client.wait", scope().now());
    }
    auto data = write_message({static_cast<std::uint32_t>(drawn), static_cast<std::uint32_t>(answer), id});
    if (settings_.datagrams) {
        state_.patience.emplace_back(scope().now() + settings_.patience, id);
        if (!patience_timer_.armed()) patience_timer_.arm(state_.patience.front().first);
        (void)sockets_.send(static_cast<std::uint16_t>(connection.socket), settings_.to, std::move(data));
        return;
    }
    connection.requests.push_back(std::move(data));
    write_on(number);
}

void RequestClient::write_on(std::uint32_t number) {
    Connection& connection = state_.connections[number];
    while (connection.open && !connection.waits && !connection.requests.empty()) {
        std::vector<std::byte> data = connection.requests.front();
        if (sockets_.write(connection.socket, std::move(data))) {
            connection.requests.pop_front();
        } else {
            connection.waits = true;
        }
    }
}

void RequestClient::answered(const Message& message) {
    const auto place = state_.requests.find(message.request);
    if (place == state_.requests.end()) return;  // too late
    const Request request = place->second;
    state_.requests.erase(place);
    // Nobody waits for it any more.
    while (!state_.patience.empty() && !state_.requests.contains(state_.patience.front().second)) {
        state_.patience.pop_front();
    }
    if (state_.patience.empty()) patience_timer_.disarm();
    --state_.connections[request.connection].outstanding;
    scope().journeys().end(message.request, "client.stack");
    ended(request.begun, request.bytes);
    if (closed_loop()) go_on(request.connection);
}

void RequestClient::go_on(std::uint32_t connection) {
    if (!state_.running) return;
    if (settings_.think <= sim::Time::zero()) return begin(connection, scope().now(), 0);
    const sim::Time think = settings_.random_think ? sim::exponential(random_, settings_.think) : settings_.think;
    state_.thinking.emplace(std::pair{scope().now() + think, state_.next_thought++}, connection);
    schedule();
}

void RequestClient::out_of_patience() {
    while (!state_.patience.empty() && state_.patience.front().first <= scope().now()) {
        const sim::RequestId id = state_.patience.front().second;
        state_.patience.pop_front();
        const auto place = state_.requests.find(id);
        if (place == state_.requests.end()) continue;
        const std::uint32_t connection = place->second.connection;
        state_.requests.erase(place);
        --state_.connections[connection].outstanding;
        scope().journeys().forget(id);
        failed();
        if (closed_loop()) go_on(connection);
    }
    if (!state_.patience.empty() && !patience_timer_.armed()) patience_timer_.arm(state_.patience.front().first);
}

// -- Sockets.

void RequestClient::opened(SocketId socket) {
    const auto place = state_.by_socket.find(socket);
    if (place == state_.by_socket.end()) return;
    const std::uint32_t number = place->second;
    state_.connections[number].open = true;
    write_on(number);
    if (closed_loop()) go_on(number);
}

void RequestClient::received(SocketId socket, std::uint64_t, std::span<const std::byte> data) {
    const auto place = state_.by_socket.find(socket);
    if (place == state_.by_socket.end()) return;
    while (const auto message = state_.connections[place->second].reader.read(data)) answered(*message);
}

void RequestClient::room(SocketId socket) {
    const auto place = state_.by_socket.find(socket);
    if (place == state_.by_socket.end()) return;
    state_.connections[place->second].waits = false;
    write_on(place->second);
}

void RequestClient::closed(SocketId socket) {
    const auto place = state_.by_socket.find(socket);
    if (place == state_.by_socket.end()) return;
    const std::uint32_t number = place->second;
    state_.connections[number].open = false;
    state_.connections[number].requests.clear();
    for (auto request = state_.requests.begin(); request != state_.requests.end();) {
        if (request->second.connection != number) {
            ++request;
            continue;
        }
        scope().journeys().forget(request->first);
        request = state_.requests.erase(request);
        failed();
    }
    state_.connections[number].outstanding = 0;
}

void RequestClient::datagram(std::uint16_t, const TcpEndpoint&, std::span<const std::byte> payload) {
    if (const auto message = read_message(payload)) answered(*message);
}

}  // namespace models
