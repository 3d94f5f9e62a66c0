#include "sim/journey.h"

#include <algorithm>

namespace sim {

std::uint32_t Journeys::name(Cause cause) {
    const auto place = by_name_.find(std::string_view{cause});
    if (place != by_name_.end()) return place->second;
    const auto number = static_cast<std::uint32_t>(names_.size());
    names_.emplace_back(cause);
    by_name_.emplace(cause, number);
    return number;
}

void Journeys::index_names() {
    by_name_.clear();
    for (std::size_t n = 0; n < names_.size(); ++n) by_name_.emplace(names_[n], static_cast<std::uint32_t>(n));
}

void Journeys::begin(RequestId id, Group group, Time at) {
    if (!on_ || id == 0) return;
    Open& request = open_[id];
    request = {};
    request.group = group;
    request.begun = request.last = std::min(at, agenda_.now());
}

void Journeys::turn(RequestId id) {
    const auto place = open_.find(id);
    if (place != open_.end()) place->second.back = true;
}

void Journeys::add(Open& request, Cause cause, Time until) {
    if (until <= request.last) return;
    const Time taken = until - request.last;
    request.last = until;
    const std::uint32_t number = name(cause);
    const auto same = [number](const Part& part) { return part.cause == number; };
    const auto place = std::find_if(request.parts.begin(), request.parts.end(), same);
    if (place != request.parts.end()) {
        place->time += taken;
        ++place->count;
    } else {
        request.parts.push_back({number, taken, 1});
    }
}

void Journeys::mark(RequestId id, Cause cause, Time until) {
    const auto place = open_.find(id);
    if (place != open_.end()) add(place->second, cause, until);
}

void Journeys::mark(RequestId id, const GuestCause& cause, Travel travel, Time until) {
    const auto place = open_.find(id);
    if (place == open_.end()) return;
    const bool client = (travel == Travel::sent) != place->second.back;
    add(place->second, client ? cause.client : cause.server, until);
}

void Journeys::end(RequestId id, Cause rest) {
    const auto place = open_.find(id);
    if (place == open_.end()) return;
    Open& request = place->second;
    add(request, rest, agenda_.now());
    // What a stage said of the future of a copy does not count: another one was faster.
    for (std::size_t n = request.parts.size(); n-- > 0 && request.last > agenda_.now();) {
        const Time less = std::min(request.parts[n].time, request.last - agenda_.now());
        request.parts[n].time -= less;
        request.last -= less;
    }
    Ended& sums = ended_[request.group];
    ++sums.count;
    sums.total += request.last - request.begun;
    if (sums.causes.size() < names_.size()) sums.causes.resize(names_.size());
    for (const Part& part : request.parts) {
        sums.causes[part.cause].time += part.time;
        sums.causes[part.cause].count += part.count;
    }
    open_.erase(place);
}

Journeys::Sums Journeys::sums(Group group) const {
    Sums result;
    const auto place = ended_.find(group);
    if (place == ended_.end()) return result;
    result.count = place->second.count;
    result.total = place->second.total;
    for (std::size_t n = 0; n < place->second.causes.size(); ++n) {
        if (place->second.causes[n].count != 0) result.causes.emplace(names_[n], place->second.causes[n]);
    }
    return result;
}

}  // namespace sim
