// Virtual machine queues: which root processor does the receive work of a port. An adapter has a number of hardware
// queues; a port gets one (VMQ) or several that share its flows by hash (VMMQ), or shares the default queue. Queues
// move between processors by load (dynamic VMQ): away from a processor that is too busy, together when there is little
// to do.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "models/network/frame.h"
#include "models/network/switch_settings.h"
#include "sim/time.h"

namespace models {

struct QueuePlacementSettings {
    std::uint32_t first_processor = 0;  // gets the default queue
    std::uint32_t processors = 1;
    std::uint32_t queues = 0;           // beside the default queue
    std::uint32_t busy_permille = 900;  // of an interval: a queue moves away
    std::uint32_t idle_permille = 100;  // both together: a processor's queues move to another
};

class QueuePlacement final {
public:
    explicit QueuePlacement(const QueuePlacementSettings& settings = {});

    // How many queues of its own the port got, each on the processor that has fewest; 0: it shares the default queue.
    std::uint32_t add(PortId port, std::uint32_t wanted);
    void remove(PortId port);

    // Which of the port's queues takes a frame with that hash, and where its work is done.
    std::uint32_t queue(PortId port, const std::optional<RssHash>& hash) const;
    std::uint32_t processor(PortId port, std::uint32_t queue) const;
    std::uint32_t processor(PortId port, const std::optional<RssHash>& hash) const {
        return processor(port, queue(port, hash));
    }

    void charge(PortId port, std::uint32_t queue, sim::Time work);
    // At the end of each interval of that length: at most one move. True if a queue moved.
    bool rebalance(sim::Time interval);

    struct Queue {
        PortId port = no_port;  // no_port: the default queue
        std::uint32_t processor = 0;
        sim::Time work;  // in this interval
        bool operator==(const Queue&) const = default;
        template <class Archive>
        void fields(Archive& archive) {
            archive(port, processor, work);
        }
    };
    const std::vector<Queue>& queues() const { return queues_; }

    template <class Archive>
    void fields(Archive& archive) {
        archive(queues_, of_port_);
    }

private:
    std::uint32_t index(PortId port, std::uint32_t queue) const;
    bool spread(const std::vector<sim::Time>& load, sim::Time busy);
    bool gather(const std::vector<sim::Time>& load, sim::Time idle);
    Queue& at(std::uint32_t i) { return queues_[i]; }

    QueuePlacementSettings settings_;
    std::vector<Queue> queues_;  // the default queue first; no_port in another one: free
    std::map<PortId, std::vector<std::uint32_t>> of_port_;
};

}  // namespace models
