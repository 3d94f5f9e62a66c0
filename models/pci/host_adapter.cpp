#include "models/pci/host_adapter.h"

#include <fmt/format.h>

#include <algorithm>

#include "pci/config_registers.h"
#include "sim/check.h"

namespace models {

namespace nic = sriov_nic;

namespace {

constexpr std::uint32_t other_vector = 1;  // the driver's: mailbox, link
constexpr unsigned first_vmq_vector = other_vector + 1;
constexpr unsigned most_vmq_vectors = 14;               // beside those two, of the sixteen that EICR has (8.2.3.5.1)
constexpr sim::Time cost_of_causes = sim::Time::us(2);  // assumed: a dozen of registers read and written

pci::LinkConfig link_config() {
    pci::LinkConfig config;
    config.rate = {.generation = 2, .lanes = 8};
    config.limits.max_payload = 256;
    return config;
}

nic::MacKey key_of(const MacAddress& mac) {
    nic::MacKey key = 0;
    for (std::size_t n = 6; n-- > 0;) key = key << 8 | mac.bytes[n];
    return key;
}

vmbus::PciIdentity identity_of(const pci::Identity& who) {
    vmbus::PciIdentity identity;
    identity.vendor = who.vendor;
    identity.device = who.device;
    identity.revision = who.revision;
    identity.programming_interface = who.programming_interface;
    identity.class_of = who.class_of;
    identity.subsystem_vendor = who.subsystem_vendor;
    identity.subsystem = who.subsystem;
    return identity;
}

const HostAdapterConfig& checked(const HostAdapterConfig& config) {
    if (config.vfs == 0 || config.vfs > nic::max_vfs) {
        throw sim::UserError(
            fmt::format("adapter {}: {} virtual functions: give 1 to {}", config.name, config.vfs, nic::max_vfs));
    }
    if (config.queues_per_pool != 2 && config.queues_per_pool != 4) {
        throw sim::UserError(
            fmt::format("adapter {}: {} queues in a pool: there are 2 or 4", config.name, config.queues_per_pool));
    }
    const unsigned pools = config.queues_per_pool == 4 ? nic::max_pools / 2 : nic::max_pools;
    if (config.vfs + 1 + config.vmqs > pools) {
        throw sim::UserError(fmt::format(
            "adapter {}: {} virtual functions and {} addresses with queues of their own: with {} queues each "
            "it has {} pools, one of them the physical function's",
            config.name, config.vfs, config.vmqs, config.queues_per_pool, pools));
    }
    if (config.queues_per_vmq == 0 || config.queues_per_vmq > config.queues_per_pool ||
        (config.queues_per_vmq & (config.queues_per_vmq - 1)) != 0) {
        throw sim::UserError(fmt::format("adapter {}: {} queues for an address: 1, 2 or 4, and no more than in a pool",
                                         config.name, config.queues_per_vmq));
    }
    if (config.vmqs * config.queues_per_vmq > most_vmq_vectors) {
        throw sim::UserError(fmt::format("adapter {}: {} queues of addresses: it has vectors for {}", config.name,
                                         config.vmqs * config.queues_per_vmq, most_vmq_vectors));
    }
    return config;
}

QueuePlacementSettings placement_of(const HostAdapterConfig& config, std::size_t processors) {
    QueuePlacementSettings settings;
    settings.processors = static_cast<std::uint32_t>(processors);
    settings.queues = config.vmqs * config.queues_per_vmq;
    return settings;
}

}  // namespace

HostAdapter::HostAdapter(const sim::Scope& scope, HostPci& host, std::span<sim::Processor* const> processors,
                         const HostAdapterConfig& config)
    : scope_(scope),
      host_(host),
      config_(checked(config)),
      bus_(host.add_root_port()),
      link_(scope.child("link"), bus_, host.timing(), link_config()),
      adapter_(scope.child("nic"), bus_.slot(0, 0), link_, *this, profile_),
      driver_(scope.child("driver"), adapter_),
      queue_(scope.child("uplink"), adapter_, {.queue = config.vfs * config.queues_per_pool, .vector = 0, .number = 0},
             processors, {}),
      placement_(placement_of(config, processors.size())),
      rebalance_timer_(scope.agenda(), scope.path() + ".rebalance", [this] { rebalance(); }),
      moves_(scope.counter("queue_moves", "count", "queues that were moved to another processor")),
      arriving_(*this),
      cable_timer_(scope.agenda(), scope.path() + ".cable", [this] { arrived(); }),
      slot_(*processors.front(), *this),
      registration_(scope.register_state(*this)) {
    link_.connect(adapter_);
    host_.place(bus_.number(), config.node);
    areas_.add(queue_.memory());
    taken_.resize(config_.vfs);
    open_vmqs(scope, processors);
    start();
}

// Queues in pools behind the physical function's own, by number.
void HostAdapter::open_vmqs(const sim::Scope& scope, std::span<sim::Processor* const> processors) {
    for (unsigned n = 0; n < config_.vmqs * config_.queues_per_vmq; ++n) {
        const unsigned pool = config_.vfs + 1 + n / config_.queues_per_vmq;
        const PhysicalQueue::Place place{pool * config_.queues_per_pool + n % config_.queues_per_vmq,
                                         first_vmq_vector + n, n + 1};
        vmqs_.push_back(std::make_unique<PhysicalQueue>(scope.child(fmt::format("vmq{}", n)), adapter_, place,
                                                        processors, PhysicalQueue::Costs{}));
        areas_.add(vmqs_.back()->memory());
    }
    vmq_addresses_.resize(config_.vmqs);
    if (config_.rebalance > sim::Time::zero() && !vmqs_.empty()) rebalance_timer_.arm_after(config_.rebalance);
}

HostAdapter::~HostAdapter() {
    host_.listen(physical_.id, nullptr);
    host_.let_use(physical_.id, nullptr);
    adapter_.controller().set_link(false);  // what it has in hand has no cable to go to any more
}

// What firmware, the bus driver and the adapter's driver do, in this order.
void HostAdapter::start() {
    namespace sriov = pci::sriov;
    physical_ = host_.place(adapter_.physical());
    host_.set_link(bus_.number(), link_);
    host_.let_use(physical_.id, &areas_);
    host_.listen(physical_.id, this);
    const std::uint16_t at = adapter_.physical().config().layout().extended_capability(pci::extended_id::sriov);
    const auto put = [&](unsigned offset, unsigned size, std::uint64_t value) {
        host_.write_config(physical_.id, offset, size, static_cast<std::uint32_t>(value));
    };
    const std::uint64_t all = host_.read_config(physical_.id, at + sriov::total_vfs, 2);
    const std::uint64_t share = nic::virtual_bar_bytes;
    vf_registers_ = host_.reserve(bus_.number(), all * share, false);
    vf_msix_ = host_.reserve(bus_.number(), all * share, false);
    const auto place_bar = [&](unsigned bar, std::uint64_t address) {
        put(at + sriov::vf_bar0 + 4 * bar, 4, address);
        put(at + sriov::vf_bar0 + 4 * bar + 4, 4, address >> 32);
    };
    place_bar(nic::virtual_register_bar, vf_registers_);
    place_bar(nic::virtual_msix_bar, vf_msix_);
    put(pci::header::command, 2, pci::command::memory_space | pci::command::bus_master);
    put(at + sriov::num_vfs, 2, config_.vfs);
    put(at + sriov::control, 2, sriov::ari_capable_hierarchy | sriov::vf_enable | sriov::vf_memory_space);
    first_vf_ = static_cast<std::uint16_t>(host_.read_config(physical_.id, at + sriov::first_vf_offset, 2));
    vf_stride_ = static_cast<std::uint16_t>(host_.read_config(physical_.id, at + sriov::vf_stride, 2));
    VG_CHECK(adapter_.virtual_functions() == config_.vfs);
    adapter_.controller().set_link(true);
    nic::PhysicalSettings settings;
    settings.mac = key_of(config_.mac);
    settings.vfs = config_.vfs;
    settings.queues_per_pool = config_.queues_per_pool;
    settings.promiscuous = true;  // the switch behind it has other addresses
    driver_.start(settings);
    for (unsigned vf = 0; vf < config_.vfs; ++vf) driver_.disable(vf);
    enable_messages();
    queue_.open();
    for (unsigned n = 0; n < config_.vmqs; ++n) driver_.open_pool(config_.vfs + 1 + n, config_.queues_per_vmq);
    for (auto& queue : vmqs_) queue->open();
}

void HostAdapter::enable_messages() {
    constexpr unsigned msix_bar = 4;
    const auto vectors = static_cast<std::uint32_t>(first_vmq_vector + vmqs_.size());
    for (std::uint32_t vector = 0; vector < vectors; ++vector) {
        const std::uint64_t entry = physical_.addresses[msix_bar] + vector * pci::msix_cap::entry_bytes;
        const pci::InterruptMessage message = host_.root_message(physical_.id, static_cast<std::uint8_t>(vector));
        sim::Time cost;
        host_.write(entry, 4, message.address, cost);
        host_.write(entry + 4, 4, message.address >> 32, cost);
        host_.write(entry + 8, 4, message.data, cost);
        host_.write(entry + 12, 4, 0, cost);
    }
    const std::uint16_t msix = host_.capability(physical_.id, pci::capability_id::msix);
    host_.write_config(physical_.id, msix + pci::msix_cap::control, 2, pci::msix_cap::enable);
}

// Interrupts of the physical function
// ----------------------------------------------------------------------------------------------------------------

void HostAdapter::message(std::uint32_t number) {
    if (number == queue_.vector()) return queue_.interrupt();
    if (number >= first_vmq_vector && number - first_vmq_vector < vmqs_.size()) {
        return vmqs_[number - first_vmq_vector]->interrupt();
    }
    causes_ = true;
    slot_.wake();
}

std::optional<sim::Time> HostAdapter::begin() {
    return causes_ ? std::optional{cost_of_causes} : std::nullopt;
}

// Reading the causes clears those of the queues as well: they are looked at, too.
void HostAdapter::finish() {
    causes_ = false;
    driver_.interrupt();
    queue_.interrupt();
    for (auto& queue : vmqs_) queue->interrupt();
}

// The switch and the cable
// ----------------------------------------------------------------------------------------------------------------

void HostAdapter::connect_switch(VirtualSwitch& network, std::string_view port_name) {
    if (switched_) throw sim::UserError(fmt::format("adapter {}: it is the uplink of a switch already", config_.name));
    switched_ = true;
    uplink_ = network.connect(port_name, queue_, external_port());
    queue_.connect(network, uplink_);
    for (auto& queue : vmqs_) queue->connect(network, uplink_);
}

void HostAdapter::ToController::receive(Frame&& frame) {
    if (adapter.port_capture_ != nullptr) adapter.port_capture_->observed(FrameDirection::in, frame);
    adapter.adapter_.controller().received(frame.bytes);
}

void HostAdapter::transmit(std::span<const std::byte> frame, sim::Time, sim::Time end) {
    if (port_capture_ != nullptr) {
        port_capture_->observed_at(end, FrameDirection::out, Frame{{frame.begin(), frame.end()}});
    }
    on_cable_.push_back({end + config_.cable, {frame.begin(), frame.end()}});
    if (!cable_timer_.armed()) cable_timer_.arm(on_cable_.front().at);
}

void HostAdapter::arrived() {
    while (!on_cable_.empty() && on_cable_.front().at <= scope_.now()) {
        Frame frame{std::move(on_cable_.front().bytes)};
        on_cable_.pop_front();
        if (beyond_ != nullptr) beyond_->receive(std::move(frame));
    }
    if (!on_cable_.empty()) cable_timer_.arm(on_cable_.front().at);
}

void HostAdapter::capture(Captures& captures) {
    captures_ = &captures;
    port_capture_ = captures.point(config_.name + "-port");
    if (port_capture_ != nullptr) adapter_.controller().watch(this);
}

void HostAdapter::sent(unsigned pool, std::span<const std::byte> frame) {
    if (pool >= vf_captures_.size()) return;
    vf_captures_[pool]->observed(FrameDirection::out, Frame{{frame.begin(), frame.end()}});
}

void HostAdapter::received(unsigned pool, std::span<const std::byte> frame) {
    if (pool >= vf_captures_.size()) return;
    vf_captures_[pool]->observed(FrameDirection::in, Frame{{frame.begin(), frame.end()}});
}

void HostAdapter::add_host_address(const MacAddress& mac, bool queues) {
    const nic::MacKey key = key_of(mac);
    const auto n = static_cast<unsigned>(std::ranges::find(vmq_addresses_, nic::MacKey{0}) - vmq_addresses_.begin());
    if (!queues || n == config_.vmqs || !driver_.add_host_address(key, config_.vfs + 1 + n)) {
        return driver_.add_host_address(key);
    }
    vmq_addresses_[n] = key;
    placement_.add(n + 1, config_.queues_per_vmq);
    for (unsigned q = 0; q < config_.queues_per_vmq; ++q) {
        PhysicalQueue& queue = *vmqs_[n * config_.queues_per_vmq + q];
        (void)queue.take_work();
        queue.move(placement_.processor(n + 1, q));
    }
}

void HostAdapter::remove_host_address(const MacAddress& mac) {
    const nic::MacKey key = key_of(mac);
    const auto own = std::ranges::find(vmq_addresses_, key);
    if (own == vmq_addresses_.end()) return driver_.remove_host_address(key);
    const auto n = static_cast<unsigned>(own - vmq_addresses_.begin());
    *own = 0;
    placement_.remove(n + 1);
    driver_.remove_host_address(key, config_.vfs + 1 + n);
}

template <class Function>
void HostAdapter::for_each_vmq(Function function) {
    const unsigned each = config_.queues_per_vmq;
    for (unsigned n = 0; n < vmqs_.size(); ++n) {
        if (vmq_addresses_[n / each] != 0) function(*vmqs_[n], n / each + 1, n % each);
    }
}

std::vector<std::uint32_t> HostAdapter::queue_processors() {
    std::vector<std::uint32_t> all{queue_.processor()};
    for_each_vmq([&](PhysicalQueue& queue, PortId, unsigned) { all.push_back(queue.processor()); });
    return all;
}

// Dynamic VMQ: at most one queue at a time moves away from a processor that is busy, or joins others that are idle.
void HostAdapter::rebalance() {
    for_each_vmq([this](PhysicalQueue& queue, PortId address, unsigned number) {
        placement_.charge(address, number, queue.take_work());
    });
    if (placement_.rebalance(config_.rebalance)) {
        ++moves_;
        for_each_vmq([this](PhysicalQueue& queue, PortId address, unsigned number) {
            const std::uint32_t to = placement_.processor(address, number);
            if (to != queue.processor()) queue.move(to);
        });
    }
    rebalance_timer_.arm_after(config_.rebalance);
}

// Virtual functions
// ----------------------------------------------------------------------------------------------------------------

VfSource& HostAdapter::reserve_vf(const MacAddress& mac, nic::VfKind kind) {
    const unsigned number = next_vf();
    if (number == config_.vfs) {
        throw sim::UserError(fmt::format("adapter {}: all of its {} virtual functions have a partition; give it more",
                                         config_.name, config_.vfs));
    }
    taken_[number] = true;
    reserved_.push_back(std::make_unique<Vf>(*this, number, mac, kind));
    add_host_address(mac);
    if (port_capture_ != nullptr && number == vf_captures_.size()) {
        vf_captures_.push_back(captures_->point(fmt::format("{}-vf{}", config_.name, number)));
    }
    return *reserved_.back();
}

void HostAdapter::release_vf(unsigned number) {
    VG_CHECK(number < taken_.size() && taken_[number]);
    taken_[number] = false;
}

HostFunction HostAdapter::virtual_function(unsigned vf, nic::VfKind kind) const {
    HostFunction function;
    function.id = {static_cast<std::uint16_t>(physical_.id.value + first_vf_ + vf * vf_stride_)};
    const pci::Bar bar{pci::BarKind::memory64, nic::virtual_bar_bytes, true};
    function.bars[nic::virtual_register_bar] = function.bars[nic::virtual_msix_bar] = bar;
    function.addresses[nic::virtual_register_bar] = vf_registers_ + vf * bar.size_bytes;
    function.addresses[nic::virtual_msix_bar] = vf_msix_ + vf * bar.size_bytes;
    function.identity = identity_of(nic::virtual_identity(kind));
    return function;
}

// A Hyper-V function stays off the switch until the guest moves its traffic there. One with a mailbox is switched on by
// its own driver's messages.
HostFunction HostAdapter::Vf::start_vf() {
    nic::VfPolicy policy;
    policy.kind = kind_;
    policy.mac = key_of(mac_);
    adapter_.driver_.set_policy(number_, policy);
    adapter_.driver_.disable(number_);
    adapter_.adapter_.set_hyper_v_mac(number_, policy.mac);
    return adapter_.virtual_function(number_, kind_);
}

void HostAdapter::Vf::steer_to_vf(bool to_vf) {
    nic::PhysicalDriver& driver = adapter_.driver_;
    const nic::MacKey mac = key_of(mac_);
    driver.remove_host_address(mac);
    if (kind_ == nic::VfKind::hyper_v) {
        if (to_vf) {
            driver.enable_hyper_v(number_);
        } else {
            driver.disable(number_);
        }
    }
    if (!to_vf) driver.add_host_address(mac);
}

void HostAdapter::Vf::stop_vf() {
    adapter_.driver_.disable(number_);
}

FrameCounts HostAdapter::Vf::counts() const {
    const nic::FunctionStatistics& all = adapter_.vf_statistics(number_);
    return {all.received, all.received_octets, all.sent, all.sent_octets};
}

// Checkpoints
// ----------------------------------------------------------------------------------------------------------------

void HostAdapter::save(sim::Writer& writer) const {
    auto& self = const_cast<HostAdapter&>(*this);  // fields() serve both directions; a writer only reads
    adapter_.save(writer);
    writer(self.link_, self.driver_, self.on_cable_, self.cable_timer_, self.causes_);
    writer(self.vmq_addresses_, self.placement_, self.rebalance_timer_);
}

void HostAdapter::restore(sim::Reader& reader) {
    adapter_.restore(reader);
    reader(link_, driver_, on_cable_, cable_timer_, causes_);
    reader(vmq_addresses_, placement_, rebalance_timer_);
}

}  // namespace models
