#include "models/network/uplink.h"

#include <algorithm>
#include <utility>

#include "models/network/checksum.h"

namespace models {

namespace {
constexpr std::uint16_t hash_types = rss_type::ipv4 | rss_type::tcp_ipv4 | rss_type::ipv6 | rss_type::tcp_ipv6;
}

Uplink::Uplink(const sim::Scope& scope, VirtualSwitch& vswitch, std::string_view port_name, const PortSettings& port,
               Wire::End& end, std::span<sim::Processor* const> processors, std::uint32_t first_processor,
               const UplinkSettings& settings)
    : scope_(scope),
      switch_(vswitch),
      settings_(settings),
      first_processor_(first_processor),
      received_(scope.counter("received", "frames", "frames from the wire")),
      dropped_(scope.counter("dropped", "frames", "frames for which a receive queue had no room")),
      batches_(scope.counter("batches", "count", "batches of frames that a processor switched")),
      moves_(scope.counter("queue_moves", "count", "queues that dynamic placement moved to another processor")),
      rebalance_timer_(scope.agenda(), scope.path() + ".rebalance", [this] { rebalance(); }),
      registration_(scope.register_state(*this)) {
    if (processors.empty()) {
        queues_.push_back(std::make_unique<Queue>(*this, nullptr, 0));
    } else {
        for (sim::Processor* processor : processors) {
            queues_.push_back(std::make_unique<Queue>(*this, processor, static_cast<unsigned>(queues_.size())));
        }
    }
    port_ = vswitch.connect(port_name, end, port);
    end.connect(*this);
    if (settings.rebalance_interval > sim::Time::zero()) rebalance_timer_.arm_after(settings.rebalance_interval);
}

Uplink::~Uplink() = default;

void Uplink::receive(Frame&& frame) {
    ++received_;
    verify_checksums(frame);
    Arrival arrival;
    if (const auto headers = parse_headers(frame)) frame.hash = rss_hash(microsoft_rss_key, hash_types, *headers);
    arrival.destination = switch_.destination_port(port_, frame);
    QueuePlacement& placement = switch_.queues();
    arrival.queue = placement.queue(arrival.destination, frame.hash);
    const std::uint32_t processor = placement.processor(arrival.destination, arrival.queue) - first_processor_;
    arrival.frame = std::move(frame);
    queues_[processor < queues_.size() ? processor : 0]->add(std::move(arrival));
}

void Uplink::rebalance() {
    if (switch_.queues().rebalance(settings_.rebalance_interval)) ++moves_;
    rebalance_timer_.arm_after(settings_.rebalance_interval);
}

Uplink::Queue::Queue(Uplink& owner, sim::Processor* processor, unsigned index)
    : owner_(owner), timer_(owner.scope_.agenda(), owner.scope_.path() + ".interrupt" + std::to_string(index), [this] {
          interrupt();
      }) {
    if (processor != nullptr) slot_.emplace(*processor, *this);
}

void Uplink::Queue::add(Arrival&& arrival) {
    if (waiting_.size() >= owner_.settings_.queue_frames) {
        ++owner_.dropped_;
        return;
    }
    waiting_.push_back(std::move(arrival));
    if (waiting_.size() > 1 || !batch_.empty() || timer_.armed()) return;
    if (owner_.settings_.moderation > sim::Time::zero()) {
        timer_.arm_after(owner_.settings_.moderation);
    } else {
        interrupt();
    }
}

void Uplink::Queue::interrupt() {
    sim::Journeys& journeys = owner_.scope_.journeys();
    for (std::size_t n = 0; journeys.on() && n < waiting_.size(); ++n) {
        journeys.mark_frame(waiting_[n].frame.bytes, "interrupt.moderation", owner_.scope_.now());
    }
    if (slot_) return slot_->wake();
    while (begin()) finish();
}

std::optional<sim::Time> Uplink::Queue::begin() {
    if (waiting_.empty()) return std::nullopt;
    sim::Time cost = owner_.settings_.per_batch;
    while (!waiting_.empty() && batch_.size() < owner_.settings_.batch_frames) {
        const Arrival& arrival = waiting_.front();
        const sim::Time work = owner_.switch_.cost(arrival.frame);
        owner_.switch_.queues().charge(arrival.destination, arrival.queue, work);
        cost += work;
        sim::Journeys& journeys = owner_.scope_.journeys();
        if (journeys.on()) journeys.mark_frame(arrival.frame.bytes, "wait.processor", owner_.scope_.now());
        batch_.push_back(std::move(waiting_.front()));
        waiting_.pop_front();
    }
    cost_ = cost;
    return cost;
}

void Uplink::Queue::finish() {
    ++owner_.batches_;
    std::vector<Arrival> batch = std::exchange(batch_, {});
    sim::Journeys& journeys = owner_.scope_.journeys();
    for (std::size_t n = 0; journeys.on() && n < batch.size(); ++n) {
        journeys.mark_frame(batch[n].frame.bytes, "switch", owner_.scope_.now());
    }
    owner_.switch_.begin_batch();
    for (Arrival& arrival : batch) owner_.switch_.send(owner_.port_, std::move(arrival.frame));
    owner_.switch_.end_batch();
}

}  // namespace models
