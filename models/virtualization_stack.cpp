#include "models/virtualization_stack.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "models/profiles.h"
#include "sim/check.h"

namespace models {

namespace h = hypervisor;

VirtualizationStack::Child::Child(VirtualizationStack& stack, const PartitionConfig& config,
                                  PartitionBuilder::Built built, const ServiceCosts& costs, const sim::Scope& scope,
                                  bool with_guest)
    : stack_(stack),
      config_(config),
      built_(std::move(built)),
      memory_(stack.memory_, built_.memory),
      machine_(scope, config, *stack.client_, built_.id, stack, {memory_, stack.emulation_processor(built_.id)}),
      devices_(scope,
               {.vps = config.vps,
                .screen = config.screen,
                .epoch_s = static_cast<std::int64_t>(config.rtc_epoch_s),
                .costs = costs},
               *stack.client_, stack.port_numbers_, *stack.processors_, stack.memory_, stack.pages_, built_.id,
               built_.memory, stack),
      pci_(scope.child("pci"), {.service = devices_.service_host(),
                                .host = stack.host_pci_,
                                .client = *stack.client_,
                                .partition = built_.id,
                                .vps = config.vps,
                                .mmio = machine_.mmio(),
                                .layout = MemoryLayout::of_size(config.memory_bytes),
                                .memory = devices_.bus().memory()}),
      behavioural_(!config.behavioural || !with_guest
                       ? nullptr
                       : std::make_unique<BehaviouralGuest>(
                             scope.child("guest"),
                             BehaviouralGuest::Config{.partition = built_.id,
                                                      .vps = config.vps,
                                                      .layout = MemoryLayout::of_size(config.memory_bytes),
                                                      .costs = costs,
                                                      .name = config.name},
                             *stack.placement_, memory_)),
      instructions_counter_(scope.counter("instructions", "instructions", "retired by all virtual processors")) {
    config_.guest = {};
    if (behavioural_) behavioural_->set_host_needs(devices_.bus().server().needs());
}

// Spread by partition.
sim::Processor& VirtualizationStack::emulation_processor(h::PartitionId partition) {
    return processors_->processor(static_cast<std::uint32_t>(partition % processors_->count()));
}

std::uint64_t VirtualizationStack::Child::instructions() const {
    return exists_ ? stack_.instructions_(built_.id) : instructions_;
}

void VirtualizationStack::Child::take_down() {
    instructions_ = instructions();
    exists_ = false;
    if (behavioural_) behavioural_->stop();
    pci_.take_all();
    devices_.take_down();
    stack_.builder_->take_down(built_);
    built_.memory.clear();
}

VirtualizationStack::VirtualizationStack(const sim::Scope& scope, HostMemory& memory, PageAllocator& pages,
                                         HostPci& pci, HostNetworks& networks)
    : scope_(scope),
      pages_(memory, pages),
      memory_(memory),
      host_pci_(pci),
      networks_(networks),
      attention_(scope.agenda(), scope.path() + ".attention", [this] { give_attention(); }),
      unexpected_(scope.counter("unexpected", "count", "messages, events and intercepts for nobody")),
      registration_(scope.register_state(*this)) {}

VirtualizationStack::~VirtualizationStack() = default;

void VirtualizationStack::connect(h::RootInterface& interface, RootProcessors& processors, SoftwarePlacement& placement,
                                  InstructionCount instructions) {
    VG_CHECK(!client_);
    processors_ = &processors;
    placement_ = &placement;
    client_.emplace(interface, pages_);
    builder_.emplace(*client_, pages_, memory_);
    instructions_ = std::move(instructions);
}

Guest& VirtualizationStack::add_partition(const PartitionConfig& config, const HostConfig& host) {
    Child& added = add_child(config, host, true);
    VG_CHECK(builder_->start(added.built(), config.vps) == h::HvStatus::success);
    return added;
}

Guest& VirtualizationStack::prepare_partition(const PartitionConfig& config, const HostConfig& host) {
    return add_child(config, host, false);
}

VirtualizationStack::Child& VirtualizationStack::add_child(const PartitionConfig& config, const HostConfig& host,
                                                           bool with_guest) {
    VG_CHECK(client_.has_value());
    for (const auto& child : children_) {
        if (child->name() == config.name && !child->left()) {
            throw sim::UserError(fmt::format("partition '{}': there is one of that name already", config.name));
        }
    }
    PartitionBuilder::Built built = builder_->build(config, host);
    const sim::Scope scope = scope_.child(config.name);
    scope.trace("partition", built.id, config.vps, config.memory_bytes);
    auto child = std::make_unique<Child>(*this, config, std::move(built), find_profile(host.profile).service_costs,
                                         scope, with_guest);
    Child& added = *children_.emplace_back(std::move(child));
    by_id_[added.built().id] = &added;
    placement_->memory_is(added.built().id, added.built().memory);
    VG_CHECK(added.machine().install_intercepts() == h::HvStatus::success);
    return added;
}

void VirtualizationStack::want_attention() {
    if (attention_.armed()) return;
    attention_.arm(scope_.now());
}

// Guests that have ended are taken down here, where no processor is in the middle of anything.
void VirtualizationStack::give_attention() {
    attention_wanted_ = true;
    for (const auto& child : children_) {
        const GuestState state = child->state();
        const bool ended = state != GuestState::running && state != GuestState::halted_forever;
        if (ended && child->exists()) child->take_down();
    }
}

bool VirtualizationStack::take_attention() {
    return std::exchange(attention_wanted_, false);
}

void VirtualizationStack::found_idle() {
    for (const auto& child : children_) {
        // A behavioural guest waits for somebody who gives it work.
        if (child->behavioural() == nullptr) child->machine().found_idle();
    }
}

void VirtualizationStack::update_statistics() {
    for (const auto& child : children_) child->update_statistics();
}

void VirtualizationStack::message(h::PortId port, const h::HvMessage& message) {
    if (PartitionBus* bus = port_numbers_.owner(port)) {
        bus->message(message);
    } else {
        ++unexpected_;
    }
}

void VirtualizationStack::event(h::PortId port, std::uint16_t) {
    if (PartitionBus* bus = port_numbers_.owner(port)) {
        bus->event(port);
    } else {
        ++unexpected_;
    }
}

void VirtualizationStack::intercept(const h::HvMessage& message) {
    const auto child = by_id_.find(message.header.origin);
    if (child == by_id_.end() || !child->second->exists()) {
        ++unexpected_;
        return;
    }
    child->second->machine().intercept(message);
}

std::string VirtualizationStack::cause_name(h::PartitionId partition, std::string_view cause) const {
    if (cause.starts_with("hypervisor.")) return std::string{cause};
    const auto child = by_id_.find(partition);
    if (child == by_id_.end()) return cause.starts_with("root.") ? std::string{cause} : "root." + std::string{cause};
    if (cause.starts_with("guest.")) cause.remove_prefix(6);
    return "guest." + child->second->name() + "." + std::string{cause};
}

}  // namespace models
