#include "models/network/queue_placement.h"

#include <algorithm>

#include "sim/check.h"

namespace models {

QueuePlacement::QueuePlacement(const QueuePlacementSettings& settings)
    : settings_(settings), queues_(settings.queues + std::size_t{1}) {
    VG_CHECK(settings.processors > 0);
    for (Queue& queue : queues_) queue.processor = settings_.first_processor;
}

std::uint32_t QueuePlacement::add(PortId port, std::uint32_t wanted) {
    remove(port);
    std::vector<std::uint32_t> own;
    for (std::uint32_t i = 1; i < queues_.size() && own.size() < wanted; ++i) {
        if (queues_[i].port != no_port) continue;
        std::vector<std::uint32_t> used(settings_.processors);
        for (std::uint32_t j = 0; j < queues_.size(); ++j) {
            if (j == 0 || queues_[j].port != no_port) ++used[queues_[j].processor - settings_.first_processor];
        }
        const auto fewest = std::min_element(used.begin(), used.end()) - used.begin();
        queues_[i] = {port, settings_.first_processor + static_cast<std::uint32_t>(fewest), {}};
        own.push_back(i);
    }
    const auto granted = static_cast<std::uint32_t>(own.size());
    if (granted != 0) of_port_[port] = std::move(own);
    return granted;
}

void QueuePlacement::remove(PortId port) {
    const auto place = of_port_.find(port);
    if (place == of_port_.end()) return;
    for (const std::uint32_t i : place->second) queues_[i] = {no_port, settings_.first_processor, {}};
    of_port_.erase(place);
}

std::uint32_t QueuePlacement::queue(PortId port, const std::optional<RssHash>& hash) const {
    const auto place = of_port_.find(port);
    if (place == of_port_.end() || !hash) return 0;
    return hash->value % static_cast<std::uint32_t>(place->second.size());
}

std::uint32_t QueuePlacement::index(PortId port, std::uint32_t queue) const {
    const auto place = of_port_.find(port);
    return place == of_port_.end() ? 0 : place->second[queue % place->second.size()];
}

std::uint32_t QueuePlacement::processor(PortId port, std::uint32_t queue) const {
    return queues_[index(port, queue)].processor;
}

void QueuePlacement::charge(PortId port, std::uint32_t queue, sim::Time work) {
    at(index(port, queue)).work += work;
}

bool QueuePlacement::rebalance(sim::Time interval) {
    std::vector<sim::Time> load(settings_.processors);
    for (const Queue& queue : queues_) load[queue.processor - settings_.first_processor] += queue.work;
    const bool moved = spread(load, interval * settings_.busy_permille / 1000) ||
                       gather(load, interval * settings_.idle_permille / 1000);
    for (Queue& queue : queues_) queue.work = {};
    return moved;
}

bool QueuePlacement::spread(const std::vector<sim::Time>& load, sim::Time busy) {
    const auto most = std::max_element(load.begin(), load.end());
    const auto least = std::min_element(load.begin(), load.end());
    if (*most < busy) return false;
    // The queue whose move leaves the smaller peak; none if every move only moves the peak.
    Queue* best = nullptr;
    sim::Time best_peak = *most;
    const auto from = settings_.first_processor + static_cast<std::uint32_t>(most - load.begin());
    for (std::size_t i = 1; i < queues_.size(); ++i) {
        Queue& queue = queues_[i];
        if (queue.port == no_port || queue.processor != from) continue;
        const sim::Time peak = std::max(*most - queue.work, *least + queue.work);
        if (peak < best_peak) {
            best = &queue;
            best_peak = peak;
        }
    }
    if (best == nullptr) return false;
    best->processor = settings_.first_processor + static_cast<std::uint32_t>(least - load.begin());
    return true;
}

bool QueuePlacement::gather(const std::vector<sim::Time>& load, sim::Time idle) {
    // The queue on the highest processor with work joins the lowest one if both together stay idle.
    for (std::uint32_t high = settings_.processors - 1; high > 0; --high) {
        for (std::size_t i = 1; i < queues_.size(); ++i) {
            Queue& queue = queues_[i];
            if (queue.port == no_port || queue.processor != settings_.first_processor + high) continue;
            for (std::uint32_t low = 0; low < high; ++low) {
                if (load[low] + queue.work <= idle && load[high] <= idle) {
                    queue.processor = settings_.first_processor + low;
                    return true;
                }
            }
        }
    }
    return false;
}

}  // namespace models
