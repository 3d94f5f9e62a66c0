#include "models/workload/datagram_flow.h"

#include <algorithm>
#include <string>
#include <utility>

namespace models {

namespace {
constexpr std::uint64_t least_frame_bytes = 64;
constexpr std::uint64_t most_frame_bytes = 1518;
constexpr std::uint64_t number_mask = (std::uint64_t{1} << 40) - 1;
}  // namespace

DatagramFlow::DatagramFlow(const sim::Scope& scope, Sockets& from, Sockets& to, const Settings& settings)
    : Workload(scope),
      from_(from),
      settings_(settings),
      sender_user_(from.add_user(sender_)),
      random_(scope.random()),
      arrivals_(settings.arrivals, scope.child("arrivals").random()),
      timer_(scope.agenda(), scope.path() + ".next", [this] { expired(); }),
      registration_(scope.register_state(*this)) {
    settings.arrivals.check(scope.path());
    if (settings.frame_bytes.least() < least_frame_bytes || settings.frame_bytes.greatest() > most_frame_bytes) {
        throw sim::UserError(scope.path() + ": frames are of 64 to 1518 bytes, with check sequence");
    }
    from.bind(settings.local_port, sender_user_, settings.processor);
    to.bind(settings.to.port, to.add_user(receiver_), settings.receiver_processor);
}

void DatagramFlow::start() {
    if (flow_.running) return;
    flow_.running = true;
    state_.since = scope().now();
    arrivals_.start(scope().now());
    if (settings_.arrivals.kind == ArrivalKind::closed) from_.call(sender_user_, 0, settings_.processor);
    take_next();
    if (flow_.has_next) timer_.arm(flow_.next.at);
}

void DatagramFlow::stop() {
    flow_.running = false;
    flow_.has_next = false;
    flow_.due.clear();
    timer_.disarm();
}

void DatagramFlow::reset() {
    Workload::reset();
    flow_.sent = flow_.lost = 0;
}

void DatagramFlow::take_next() {
    const auto next = arrivals_.next();
    flow_.has_next = next.has_value();
    if (next) flow_.next = *next;
}

void DatagramFlow::expired() {
    while (flow_.has_next && flow_.next.at <= scope().now()) {
        if (flow_.due.size() >= most_due) {
            failed();  // the program is that far behind
        } else {
            flow_.due.push_back(flow_.next);
            from_.call(sender_user_, 0, settings_.processor);
        }
        take_next();
    }
    if (flow_.has_next) timer_.arm(flow_.next.at);
}

bool DatagramFlow::issue() {
    if (flow_.due.size() >= most_due) return false;
    flow_.due.push_back({scope().now(), 0});
    from_.call(sender_user_, 0, settings_.processor);
    return true;
}

void DatagramFlow::called() {
    if (!flow_.running) return;
    if (settings_.arrivals.kind == ArrivalKind::closed) {
        while (send(scope().now(), 0)) {
        }
        return;
    }
    room();
}

void DatagramFlow::room() {
    if (!flow_.running) return;
    if (settings_.arrivals.kind == ArrivalKind::closed) return called();
    while (!flow_.due.empty() && send(flow_.due.front().at, flow_.due.front().bytes)) flow_.due.pop_front();
}

bool DatagramFlow::send(sim::Time begun, std::uint64_t bytes) {
    const std::uint64_t drawn =
        bytes != 0 ? std::clamp(bytes, least_frame_bytes, most_frame_bytes) : settings_.frame_bytes.draw(random_);
    std::vector<std::byte> payload(drawn - overhead_bytes);
    const sim::RequestId id = (std::uint64_t{group()} + 1) << 40 | (state_.requests + 1);
    put_request_id(payload, id);
    if (!from_.send(settings_.local_port, settings_.to, std::move(payload))) return false;
    (void)next_request();
    ++flow_.sent;
    if (flow_.under_way.size() >= most_under_way) {
        if (!flow_.under_way.front().is_never()) {
            ++flow_.lost;
            const sim::RequestId oldest = (std::uint64_t{group()} + 1) << 40 | flow_.first_under_way;
            scope().journeys().forget(oldest);
        }
        flow_.under_way.pop_front();
        ++flow_.first_under_way;
    }
    flow_.under_way.push_back(begun);
    sim::Journeys& journeys = scope().journeys();
    if (journeys.on()) {
        journeys.begin(id, group(), begun);
        journeys.mark(id, "client.wait", scope().now());
    }
    return true;
}

void DatagramFlow::arrived(std::span<const std::byte> payload) {
    const sim::RequestId id = request_in_payload(payload);
    if (id >> 40 != std::uint64_t{group()} + 1) return;
    const std::uint64_t number = id & number_mask;
    if (number < flow_.first_under_way || number - flow_.first_under_way >= flow_.under_way.size()) return;
    sim::Time& begun = flow_.under_way[number - flow_.first_under_way];
    if (begun.is_never()) return;  // it came twice
    scope().journeys().end(id, "server.stack");
    ended(std::exchange(begun, sim::Time::never()), payload.size());
    while (!flow_.under_way.empty() && flow_.under_way.front().is_never()) {
        flow_.under_way.pop_front();
        ++flow_.first_under_way;
    }
}

}  // namespace models
