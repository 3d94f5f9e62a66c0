#include "models/workload/mixture.h"

namespace models {

namespace {

Choice by_weight(const Mixture::Settings& settings, const std::string& what) {
    std::vector<Choice::Item> items;
    for (const Mixture::Kind& kind : settings.kinds) items.push_back({items.size(), items.size(), kind.weight});
    return Choice(std::move(items), what);
}

// An operation that could not be taken is tried again; a connection may not be open yet.
constexpr sim::Time again = sim::Time::us(100);

}  // namespace

Mixture::Mixture(const sim::Scope& scope, const Settings& settings)
    : Workload(scope),
      settings_(settings),
      choice_(by_weight(settings, scope.path())),
      random_(scope.random()),
      arrivals_(settings.arrivals, scope.child("arrivals").random()),
      timer_(scope.agenda(), scope.path() + ".next", [this] { expired(); }),
      registration_(scope.register_state(*this)) {
    settings.arrivals.check(scope.path());
    mix_.drawn.resize(settings.kinds.size());
    for (const Kind& kind : settings.kinds) kind.workload->observe(*this);
}

void Mixture::start() {
    if (mix_.running) return;
    mix_.running = true;
    state_.since = scope().now();
    for (const Kind& kind : settings_.kinds) kind.workload->start();
    arrivals_.start(scope().now());
    if (settings_.arrivals.kind == ArrivalKind::closed) {
        timer_.arm(scope().now());
    } else if (const auto next = arrivals_.next()) {
        timer_.arm(next->at);
    }
}

void Mixture::stop() {
    mix_.running = false;
    timer_.disarm();
    for (const Kind& kind : settings_.kinds) kind.workload->stop();
}

void Mixture::reset() {
    Workload::reset();
    for (const Kind& kind : settings_.kinds) kind.workload->reset();
}

void Mixture::draw() {
    const std::uint64_t kind = choice_.draw(random_);
    if (settings_.kinds[kind].workload->issue()) {
        ++mix_.drawn[kind];
        ++mix_.outstanding;
    } else {
        ++state_.failures;
    }
}

void Mixture::expired() {
    if (settings_.arrivals.kind == ArrivalKind::closed) {
        const std::uint32_t missing = settings_.outstanding - std::min(settings_.outstanding, mix_.outstanding);
        for (std::uint32_t n = 0; n < missing; ++n) draw();
        if (mix_.outstanding < settings_.outstanding) timer_.arm_after(again);
        return;
    }
    draw();
    if (const auto next = arrivals_.next()) timer_.arm(next->at);
}

void Mixture::operation_ended(Workload&) {
    if (mix_.outstanding > 0) --mix_.outstanding;
    if (mix_.running && settings_.arrivals.kind == ArrivalKind::closed) timer_.arm(scope().now());
}

const sim::Histogram& Mixture::latency() const {
    merged_.clear();
    for (const Kind& kind : settings_.kinds) merged_.merge(kind.workload->latency());
    return merged_;
}

Workload::Throughput Mixture::throughput() const {
    Throughput all{0, 0, scope().now() - state_.since};
    for (const Kind& kind : settings_.kinds) {
        const Throughput one = kind.workload->throughput();
        all.count += one.count;
        all.bytes += one.bytes;
    }
    return all;
}

}  // namespace models
