#include "models/workload/request_server.h"

#include <algorithm>
#include <utility>

namespace models {

namespace {
constexpr std::uint32_t most_udp_payload_bytes = 65'507;
}

RequestServer::RequestServer(const sim::Scope& scope, Sockets& sockets, const Settings& settings)
    : scope_(scope),
      sockets_(sockets),
      settings_(settings),
      user_(sockets.add_user(*this)),
      registration_(scope.register_state(*this)) {
    sockets.listen(settings.port, user_, false, 0);
    sockets.bind(settings.port, user_, 0);
}

void RequestServer::opened(SocketId socket) {
    state_.connections[socket].processor = state_.next_processor++ % sockets_.processors();
}

void RequestServer::received(SocketId socket, std::uint64_t, std::span<const std::byte> data) {
    const auto place = state_.connections.find(socket);
    if (place == state_.connections.end()) return;
    const unsigned processor = place->second.processor;
    while (const auto message = place->second.reader.read(data)) {
        accept(*message, {socket, {}, message->answer_bytes, message->request}, processor);
    }
}

void RequestServer::datagram(std::uint16_t, const TcpEndpoint& from, std::span<const std::byte> payload) {
    const auto message = read_message(payload);
    if (!message) return;
    const std::uint32_t bytes = std::min(message->answer_bytes, most_udp_payload_bytes);
    accept(*message, {0, from, bytes, message->request}, 0);
}

void RequestServer::accept(const Message& message, Job&& job, unsigned processor) {
    if (job.bytes < least_message_bytes || job.bytes > greatest_message_bytes) return;
    scope_.journeys().turn(message.request);
    if (settings_.service <= sim::Time::zero()) return answer(job);
    if (state_.jobs.size() >= most_jobs) return;
    const std::uint64_t number = state_.next_job++;
    state_.jobs.emplace(number, std::move(job));
    sockets_.work(user_, number, processor, settings_.service);
}

void RequestServer::called(std::uint64_t number) {
    const auto place = state_.jobs.find(number);
    if (place == state_.jobs.end()) return;
    const Job job = place->second;
    state_.jobs.erase(place);
    scope_.journeys().mark(job.request, "server.program", scope_.now());
    answer(job);
}

void RequestServer::answer(const Job& job) {
    if (state_.waiting_bytes + job.bytes > most_waiting_bytes) return;
    ++state_.answered;
    auto data = write_message({job.bytes, 0, job.request});
    if (job.socket == 0) {
        (void)sockets_.send(settings_.port, job.from, std::move(data));  // as a datagram may, it is lost
        return;
    }
    const auto place = state_.connections.find(job.socket);
    if (place == state_.connections.end()) return;
    state_.waiting_bytes += data.size();
    place->second.answers.push_back(std::move(data));
    write_on(job.socket, place->second);
}

void RequestServer::write_on(SocketId socket, Connection& connection) {
    while (!connection.waits && !connection.answers.empty()) {
        std::vector<std::byte> data = connection.answers.front();
        const std::size_t bytes = data.size();
        if (sockets_.write(socket, std::move(data))) {
            state_.waiting_bytes -= bytes;
            connection.answers.pop_front();
        } else {
            connection.waits = true;
        }
    }
}

void RequestServer::closed(SocketId socket) {
    const auto place = state_.connections.find(socket);
    if (place == state_.connections.end()) return;
    for (const auto& answer : place->second.answers) state_.waiting_bytes -= answer.size();
    state_.connections.erase(place);
}

void RequestServer::room(SocketId socket) {
    const auto place = state_.connections.find(socket);
    if (place == state_.connections.end()) return;
    place->second.waits = false;
    write_on(socket, place->second);
}

}  // namespace models
