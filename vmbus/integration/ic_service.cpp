#include "vmbus/integration/ic_service.h"

#include <algorithm>
#include <utility>

namespace vmbus {

std::string_view to_text(RequestOutcome outcome) {
    switch (outcome) {
        case RequestOutcome::answered:
            return "answered";
        case RequestOutcome::timed_out:
            return "timed out";
        case RequestOutcome::disconnected:
            return "disconnected";
        case RequestOutcome::not_supported:
            return "not supported";
    }
    return "?";
}

namespace ic {

Service::Service(const sim::Scope& scope, const ServiceHost& host, const Description& description, User& user)
    : scope_(scope),
      description_(description),
      user_(user),
      requests_(scope.counter("requests", "requests", "sent to the guest, negotiations included")),
      answers_(scope.counter("answers", "answers", "from the guest, to requests of ours")),
      timeouts_(scope.counter("timeouts", "requests", "not answered in time")),
      strays_(scope.counter("stray_answers", "messages", "from the guest, to nothing that was asked")),
      timeout_(scope.agenda(), scope.path() + ".timeout", [this] { expired(); }),
      port_(scope, host, message_pipe_offer(description.interface, description.instance), *this) {}

void Service::ask(std::uint32_t token, std::vector<std::byte> body, sim::Time timeout) {
    state_.requests.push_back({token, scope_.now() + timeout, false, std::move(body)});
    if (state_.phase == Phase::refused) return fail_all(RequestOutcome::not_supported);
    update_timeout();
    send_next();
}

void Service::opened() {
    state_.phase = Phase::negotiating;
    state_.framework = {};
    state_.version = {};
    send(Type::negotiate, build_versions(framework_versions, description_.versions));
}

void Service::closed() {
    state_.phase = Phase::closed;
    state_.at_guest.reset();
    // What the guest has not seen yet can wait for its next opening.
    std::deque<Request> lost;
    std::deque<Request> kept;
    for (Request& request : state_.requests) (request.sent ? lost : kept).push_back(std::move(request));
    state_.requests = std::move(kept);
    update_timeout();
    for (const Request& request : lost) user_.answered(request.token, {RequestOutcome::disconnected, 0, {}});
    user_.disconnected();
}

void Service::received(std::span<const std::byte> packet, std::uint64_t) {
    const auto message = parse(packet);
    if (!message) return port_.fault("integration service: a message that is not all there");
    scope_.trace("ic.answer", static_cast<std::uint64_t>(message->type), message->status, message->body.size());
    if (!state_.at_guest || message->type != *state_.at_guest || message->transaction != state_.transaction ||
        (message->flags & flag::response) == 0) {
        ++strays_;
        return;
    }
    ++answers_;
    state_.at_guest.reset();
    if (message->type == Type::negotiate) return choose(*message);
    if (!state_.requests.empty() && state_.requests.front().sent) {
        const Request request = std::move(state_.requests.front());
        state_.requests.pop_front();
        update_timeout();
        user_.answered(request.token, {RequestOutcome::answered, message->status, message->body});
    }
    send_next();
}

void Service::choose(const Message& message) {
    const auto choice = parse_choice(message.body);
    if (!choice) {
        state_.phase = Phase::refused;
        return fail_all(RequestOutcome::not_supported);
    }
    if (std::ranges::find(framework_versions, choice->framework) == framework_versions.end() ||
        std::ranges::find(description_.versions, choice->message) == description_.versions.end()) {
        return port_.fault("integration service: a version that was not offered");
    }
    state_.phase = Phase::ready;
    state_.framework = choice->framework;
    state_.version = choice->message;
    scope_.trace("ic.version", state_.framework.major, state_.framework.minor, state_.version.major,
                 state_.version.minor);
    user_.negotiated(state_.version);
    send_next();
}

void Service::send(Type type, std::vector<std::byte> body) {
    Message message;
    message.framework = state_.framework;
    message.type = type;
    message.version = state_.version;
    message.transaction = ++state_.transaction;
    message.flags = flag::transaction | flag::request;
    message.body = std::move(body);
    state_.at_guest = type;
    ++requests_;
    scope_.trace("ic.request", static_cast<std::uint64_t>(type), message.transaction, message.body.size());
    port_.send(build(message), ++state_.packets);
}

void Service::send_next() {
    if (state_.phase != Phase::ready || state_.at_guest || state_.requests.empty()) return;
    Request& request = state_.requests.front();
    request.sent = true;
    send(description_.type, std::move(request.body));
    request.body.clear();
}

void Service::fail_all(RequestOutcome outcome) {
    const auto requests = std::exchange(state_.requests, {});
    update_timeout();
    for (const Request& request : requests) user_.answered(request.token, {outcome, 0, {}});
}

void Service::expired() {
    const sim::Time now = scope_.now();
    std::deque<Request> late;
    std::deque<Request> kept;
    for (Request& request : state_.requests) (request.deadline <= now ? late : kept).push_back(std::move(request));
    state_.requests = std::move(kept);
    update_timeout();
    for (const Request& request : late) {
        ++timeouts_;
        scope_.trace("ic.timeout", request.token, request.sent);
        user_.answered(request.token, {RequestOutcome::timed_out, 0, {}});
    }
}

void Service::update_timeout() {
    sim::Time first = sim::Time::never();
    for (const Request& request : state_.requests) first = std::min(first, request.deadline);
    if (first.is_never()) {
        timeout_.disarm();
    } else {
        timeout_.arm(first);
    }
}

}  // namespace ic
}  // namespace vmbus
