#include "models/workload/storage_mix.h"

#include <algorithm>
#include <string>
#include <utility>

namespace models {

namespace {

constexpr std::uint64_t most_io_bytes = 1024 * 1024;
}  // namespace

StorageMix::StorageMix(const sim::Scope& scope, GuestPlatform& platform, const StorageDriver::Config& driver,
                       const Settings& settings)
    : Workload(scope),
      settings_(settings),
      kind_({{0, 0, settings.read_weight}, {1, 1, settings.write_weight}}, scope.path()),
      random_(scope.random()),
      arrivals_(settings.arrivals, scope.child("arrivals").random()),
      processors_(platform.processor_count()),
      driver_(scope.child("driver"), platform, *this, driver),
      timer_(scope.agenda(), scope.path() + ".next", [this] { expired(); }),
      registration_(scope.register_state(*this)) {
    settings.arrivals.check(scope.path());
    const Choice& bytes = settings.bytes;
    for (const Choice::Item& item : bytes.items()) {
        if (item.low == 0 || item.low % block_bytes != 0 || item.high % block_bytes != 0 || item.high > most_io_bytes) {
            throw sim::UserError(scope.path() + ": requests are of whole blocks of 512 bytes, 1 MiB at most");
        }
    }
    if (settings.span_bytes != 0 && settings.span_bytes < bytes.greatest()) {
        throw sim::UserError(scope.path() + ": the part of the disk that is used is smaller than a request");
    }
    if (settings.queue_depth == 0 || settings.queue_depth > 4096) {
        throw sim::UserError(scope.path() + ": the queue's depth is 1 to 4096");
    }
}

void StorageMix::start() {
    if (mix_.running) return;
    mix_.running = true;
    state_.since = scope().now();
    arrivals_.start(scope().now());
    fill();
    take_next();
    if (mix_.has_next) timer_.arm(mix_.next.at);
}

void StorageMix::stop() {
    mix_.running = false;
    mix_.has_next = false;
    timer_.disarm();
}

void StorageMix::take_next() {
    const auto next = arrivals_.next();
    mix_.has_next = next.has_value();
    if (next) mix_.next = *next;
}

void StorageMix::expired() {
    while (mix_.has_next && mix_.next.at <= scope().now()) {
        if (!driver_.is_ready() || mix_.requests.size() >= most_outstanding) {
            failed();
        } else {
            submit(mix_.next.at, mix_.next.bytes);
        }
        take_next();
    }
    if (mix_.has_next) timer_.arm(mix_.next.at);
}

void StorageMix::fill() {
    if (!mix_.running || !closed_loop() || !driver_.is_ready()) return;
    while (mix_.requests.size() < settings_.queue_depth) submit(scope().now(), 0);
}

bool StorageMix::issue() {
    if (!driver_.is_ready() || mix_.requests.size() >= most_outstanding) return false;
    submit(scope().now(), 0);
    return true;
}

void StorageMix::submit(sim::Time begun, std::uint64_t bytes) {
    const std::uint64_t drawn = bytes != 0 ? bytes : settings_.bytes.draw(random_);
    const std::uint64_t unit = driver_.block_bytes();
    const std::uint64_t first = std::min(settings_.first_byte / unit, driver_.blocks() - 1);
    const std::uint64_t rest = driver_.blocks() - first;
    const std::uint64_t span =
        settings_.span_bytes == 0 ? rest : std::clamp<std::uint64_t>(settings_.span_bytes / unit, 1, rest);
    const std::uint64_t wanted = std::clamp<std::uint64_t>(drawn, unit, most_io_bytes) / unit;
    const auto blocks = static_cast<std::uint32_t>(std::min(wanted, span));
    std::uint64_t place = mix_.cursor;
    if (settings_.sequential) {
        if (place + blocks > span) place = 0;
        mix_.cursor = place + blocks;
    } else {
        // At a multiple of its size, as files lie.
        place = random_.below(span / blocks) * blocks;
    }
    const std::uint64_t tag = mix_.next_tag++;
    mix_.requests.emplace(tag, Request{begun, blocks * unit});
    const auto vp = static_cast<unsigned>(tag % processors_);
    if (kind_.draw(random_) == 0) {
        driver_.read(tag, first + place, blocks, vp);
    } else {
        driver_.write(tag, first + place, std::vector<std::byte>(blocks * unit), vp);
    }
}

void StorageMix::storage_done(std::uint64_t tag, bool succeeded, std::span<const std::byte>) {
    const auto place = mix_.requests.find(tag);
    if (place == mix_.requests.end()) return;
    const Request request = place->second;
    mix_.requests.erase(place);
    if (succeeded) {
        ended(request.begun, request.bytes);
    } else {
        failed();
    }
    fill();
}

}  // namespace models
