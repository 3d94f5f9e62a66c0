#include "models/behavioural/vf_driver.h"

#include <algorithm>
#include <string>
#include <utility>

#include "sim/check.h"

namespace models {

namespace {

constexpr std::uint16_t most_queues = 4;
constexpr std::size_t queue_vectors = 2;
constexpr std::uint32_t polled_burst = 32;  // as drivers that poll have it

VfDriver::Config checked(VfDriver::Config config) {
    VG_CHECK(config.queues >= 1 && config.queues <= most_queues && (config.queues & (config.queues - 1)) == 0);
    VG_CHECK(config.device_space % VfDriver::device_space_bytes == 0);
    if (config.kind == sriov_nic::VfKind::hyper_v) config.queues = 1;
    config.layout.context_each = !config.vectors.polling;
    if (config.vectors.polling) config.vectors.budget = config.vectors.batch = polled_burst;
    return config;
}

vmbus::VirtualPciClient::Config pci_config(const VfDriver::Config& config) {
    vmbus::VirtualPciClient::Config pci;
    pci.window = config.device_space;
    pci.vp = config.first_vp;
    pci.costs = config.vectors.costs.bus;
    return pci;
}

}  // namespace

VfDriver::Config VfDriver::config(const DriverCosts& costs, std::uint64_t device_space) {
    Config config;
    config.vectors.costs = costs;
    config.device_space = device_space;
    return config;
}

VfDriver::VfDriver(const sim::Scope& scope, GuestPlatform& platform, NetworkDriverUser& user, const Config& config)
    : scope_(scope),
      platform_(platform),
      user_(user),
      config_(checked(config)),
      offloads_(vmbus::OffloadSettings::all(false)),
      sequence_(platform, config.first_vp, *this),
      pci_(scope.child("pci"), platform.bus(), *this, pci_config(config_), platform.processor(config.first_vp)) {
    VfVector::Owner& owner = *this;
    const std::size_t count = std::min<std::size_t>(config_.queues, queue_vectors);
    for (std::size_t n = 0; n <= count; ++n) {
        const unsigned vp = (config.first_vp + static_cast<unsigned>(n % count)) % platform.processor_count();
        state_.vectors[n].vp = vp;
        if (n == count) {
            state_.vectors[n].number = platform.allocate_vector(vp, other_causes_);
            break;
        }
        vectors_.push_back(std::make_unique<VfVector>(scope.child("vector" + std::to_string(n)), platform, owner,
                                                      static_cast<unsigned>(n), vp, config_.vectors));
        state_.vectors[n].number = platform.allocate_vector(vp, *vectors_.back());
    }
    for (std::uint16_t n = 0; n < config_.queues; ++n) {
        queues_.push_back(
            std::make_unique<VfQueue>(scope.child("queue" + std::to_string(n)), platform, config_.layout));
        vector_of(n).add(n, *queues_.back());
    }
    needs(this, static_cast<std::size_t>(reinterpret_cast<const std::byte*>(&config_) -
                                         reinterpret_cast<const std::byte*>(this)));
    needs(&offloads_, sizeof offloads_);
    needs(&state_, sizeof state_.phase + sizeof state_.queues);
    needs(&queues_, sizeof queues_ + sizeof vectors_);
    needs(queues_.data(), queues_.size() * sizeof queues_.front());
    needs(vectors_.data(), vectors_.size() * sizeof vectors_.front());
    registration_ = scope.register_state(*this);
    platform.add_driver(vmbus::interface_type::pci, *this);
}

VfDriver::~VfDriver() {
    for (std::size_t n = 0; n <= vectors_.size(); ++n) {
        platform_.release_vector(state_.vectors[n].vp, state_.vectors[n].number);
    }
}

void VfDriver::set_phase(Phase phase) {
    state_.phase = phase;
    scope_.trace("vf_driver_phase", phase);
}

// -- Frames.

bool VfDriver::transmit(vmbus::OutgoingFrame&& frame) {
    const auto queue = static_cast<std::uint16_t>(frame.hash.value_or(0) % state_.queues);
    if (is_up() && queues_[queue]->push(std::move(frame))) {
        vector_of(queue).wake();
        return true;
    }
    state_.refused = true;
    return false;
}

void VfDriver::polled() {
    if (!state_.refused || !is_up()) return;
    const bool full = std::ranges::any_of(queues_, [](const auto& queue) { return queue->full(); });
    if (full) return;
    state_.refused = false;
    user_.room();
}

// -- The end.

void VfDriver::ejection_asked() {
    state_.eject = true;
    if (is_up() && removal_ != nullptr) return removal_->leaving();
    let_go();
}

void VfDriver::let_go() {
    if (state_.phase == Phase::absent || state_.phase == Phase::closing) return;
    const bool was_up = is_up();
    sequence_.stop();
    set_phase(Phase::closing);
    for (auto& vector : vectors_) vector->close();
    if (was_up) user_.down();
    close_rings(was_up);
}

// What is not there answers nothing, and needs nothing.
void VfDriver::function_gone() {
    const bool was_up = is_up();
    sequence_.stop();
    close_all();
    set_phase(Phase::absent);
    if (was_up) user_.down();
}

void VfDriver::give_up() {
    close_all();
    set_phase(Phase::closed);
}

void VfDriver::close_all() {
    for (auto& vector : vectors_) vector->close();
    for (auto& queue : queues_) queue->close();
    for (Vector& vector : state_.vectors) vector.made = false;
    state_.eject = state_.refused = false;
}

}  // namespace models
