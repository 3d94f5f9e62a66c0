#include "hypervisor/hypervisor.h"

#include <algorithm>
#include <bit>
#include <string>
#include <utility>

#include "sim/check.h"

namespace hypervisor {

namespace {

constexpr VpMask bit_of(std::uint32_t vp) {
    return VpMask{1} << vp;
}

Partitions::Options partition_options(const HypervisorConfig& config) {
    Partitions::Options options;
    options.interrupt_handles = config.logical_processors * device_vectors;
    // What AMD processors have; a child may ask for the other vendor's format.
    options.second_level.format = slat::Format::npt;
    options.default_privileges = child_privileges;
    return options;
}

}  // namespace

Hypervisor::LogicalCpu::LogicalCpu(const sim::Scope& scope, Hypervisor& owner, std::uint32_t index_)
    : processor(scope, owner.engine_, owner.memory_, owner.make_timing(scope, index_)),
      index(index_),
      slice(
          scope.agenda(), scope.path() + ".slice", [&owner, index_] { owner.run_slice(index_); },
          sim::Priority::processor),
      ledger(owner.causes_),
      busy_ps(scope.counter("busy", "ps", "simulated time in which a virtual processor ran here")),
      switches(scope.counter("switches", "count", "changes from one virtual processor to another")) {}

Hypervisor::Hypervisor(const sim::Scope& scope, mmu::SystemMemory memory, const HypervisorConfig& config,
                       RootReceiver& root)
    : scope_(scope),
      memory_(memory),
      config_(config),
      root_(root),
      engine_(memory, config.instruction_costs, cpu::EngineOptions{config.timed}, config.tsc_hz, scope.seed()),
      last_level_cache_(config.timed ? std::make_unique<cpu::CacheArray>(config.memory_timing.caches.l3) : nullptr),
      partitions_(scope.child("partitions"), partition_options(config), memory, *this),
      ports_(scope.child("ports"), root_partition, partitions_, root),
      calls_(scope.child("calls"), partitions_, ports_),
      scheduler_(config.logical_processors, config.scheduler),
      posted_(memory, config.posted_descriptors, config.posted_descriptor_count),
      device_interrupts_(scope.counter("device_interrupts", "count", "messages of devices that a processor took")),
      stray_interrupts_(scope.counter("stray_interrupts", "count", "messages of devices that nobody has asked for")),
      release_(scope.agenda(), scope.path() + ".release", [this] { release(); }),
      registration_(scope_.register_state(*this)) {
    for (std::uint32_t i = 0; i < config.logical_processors; ++i) {
        lps_.push_back(std::make_unique<LogicalCpu>(scope.child("lp" + std::to_string(i)), *this, i));
        const VpRef ref{root_partition, i};
        VG_CHECK(scheduler_.add(ref, VpPolicy{.affinity = std::uint64_t{1} << i}));
        const auto runnable = [this](RootProcessor& processor) { wake(processor.ref()); };
        roots_.push_back(std::make_unique<RootProcessor>(scope.child("root_vp" + std::to_string(i)), ref, runnable));
    }
}

std::unique_ptr<cpu::MemoryTiming> Hypervisor::make_timing(const sim::Scope& scope, std::uint32_t lp) {
    if (!config_.timed) return nullptr;
    cpu::MemoryTimingConfig timing = config_.memory_timing;
    if (config_.nodes > 1) {
        timing.node_bytes = memory_.size() / config_.nodes;
        timing.node = lp / (config_.logical_processors / config_.nodes);
    }
    return std::make_unique<cpu::MemoryTiming>(scope, timing, memory_, *last_level_cache_);
}

Hypervisor::~Hypervisor() {
    // One by one: what each takes out of its partition's memory tells the processors that are left.
    while (!vps_.empty()) {
        engine_.unload(vps_.begin()->second->guest());
        vps_.erase(vps_.begin());
    }
    behavioural_.clear();
    synthetic_.clear();
}

std::uint64_t Hypervisor::instructions(PartitionId partition) const {
    std::uint64_t sum = 0;
    for (const auto& [ref, processor] : vps_) {
        if (ref.partition == partition) sum += processor->instructions();
    }
    return sum;
}

template <class Vps, class Function>
void Hypervisor::for_each_vp(Vps& vps, PartitionId partition, Function function) {
    for (auto at = vps.lower_bound(VpRef{partition, 0}); at != vps.end() && at->first.partition == partition; ++at) {
        function(*at->second);
    }
}

// Handle n is vector n / processors of logical processor n modulo processors.
bool Hypervisor::device_interrupt(std::uint32_t processor, std::uint8_t vector) {
    const auto processors = static_cast<std::uint32_t>(lps_.size());
    bool known = false;
    if (vector == notification_vector) {
        posted_.take(processor, [&](VpRef ref, std::uint32_t posted) {
            const Partition* partition = partitions_.find(ref.partition);
            VpControl* target = partition != nullptr ? partition->vp(ref.vp) : nullptr;
            if (target == nullptr) return;
            known = target->assert_interrupt({.vector = posted, .posted = true}) == HvStatus::success || known;
        });
    } else if (processor < processors && vector >= first_device_vector) {
        known = partitions_.device_interrupt((vector - std::uint32_t{first_device_vector}) * processors + processor);
    }
    scope_.trace("device_interrupt", processor, vector, known ? 1 : 0);
    ++(known ? device_interrupts_ : stray_interrupts_);
    return known;
}

// Posted is what goes to one processor.
void Hypervisor::interrupt_changed(std::uint32_t handle, const DeviceInterrupt* entry) {
    posted_.drop(handle);
    if (remapping_ == nullptr) return;
    if (entry == nullptr) return remapping_->clear_interrupt(handle);
    const auto processors = static_cast<std::uint32_t>(lps_.size());
    RemappedInterrupt to{entry->device, handle % processors,
                         static_cast<std::uint8_t>(first_device_vector + handle / processors), std::nullopt};
    const InterruptTarget& target = entry->target;
    if (!target.multicast || std::has_single_bit(target.processors)) {
        const VpRef ref{entry->partition, static_cast<std::uint32_t>(std::countr_zero(target.processors))};
        const auto home = static_cast<std::uint32_t>(ref.vp % processors);
        to.descriptor = posted_.use(handle, ref, home, notification_vector);
        if (to.descriptor) to.vector = static_cast<std::uint8_t>(target.vector);
    }
    remapping_->set_interrupt(handle, to);
    if (Partition* const partition = partitions_.find(entry->partition)) partition->device_needs().add(*entry);
}

template <class Vps, class Vp>
void Hypervisor::route_ipi(Vps& vps, Vp& from, const cpu::ApicMessage& message) {
    using Shorthand = cpu::ApicMessage::Shorthand;
    bool delivered = false;
    for_each_vp(vps, from.ref().partition, [&](Vp& target) {
        const bool self = &target == &from;
        bool addressed = false;
        switch (message.shorthand) {
            case Shorthand::none:
                addressed = target.apic().matches(message.destination, message.logical);
                break;
            case Shorthand::self:
                addressed = self;
                break;
            case Shorthand::all:
                addressed = true;
                break;
            case Shorthand::all_but_self:
                addressed = !self;
                break;
        }
        if (!addressed) return;
        // Of several that are addressed with lowest priority, one takes it: the first.
        if (message.mode == cpu::apic::DeliveryMode::lowest_priority && delivered) return;
        delivered = true;
        target.receive_later(message, scope_.now() + ipi_latency(from.ref(), target.ref()));
    });
}

sim::Time Hypervisor::ipi_latency(VpRef from, VpRef to) const {
    const sim::Time latency = config_.exit_costs.ipi_latency;
    if (config_.nodes == 1) return latency;
    const bool near = node_of(scheduler_.last_lp(from)) == node_of(scheduler_.last_lp(to));
    return near ? latency : latency + config_.remote_message;
}

void Hypervisor::send_ipi(VirtualProcessor& from, const cpu::ApicMessage& message) {
    route_ipi(vps_, from, message);
}

void Hypervisor::send_ipi(BehaviouralProcessor& from, const cpu::ApicMessage& message) {
    route_ipi(behavioural_, from, message);
}

void Hypervisor::send_ipis(VirtualProcessor& from, VpMask targets, std::uint8_t vector) {
    cpu::ApicMessage message;
    message.vector = vector;
    for_each_vp(vps_, from.ref().partition, [&](VirtualProcessor& target) {
        if ((targets & bit_of(target.index())) == 0) return;
        target.receive_later(message, scope_.now() + ipi_latency(from.ref(), target.ref()));
    });
}

void Hypervisor::send_ipis(BehaviouralProcessor& from, VpMask targets, std::uint8_t vector) {
    cpu::ApicMessage message;
    message.vector = vector;
    for_each_vp(behavioural_, from.ref().partition, [&](BehaviouralProcessor& target) {
        if ((targets & bit_of(target.index())) == 0) return;
        target.receive_later(message, scope_.now() + ipi_latency(from.ref(), target.ref()));
    });
}

// The engine holds translations of the current address space only, and doesn't know which are global: of both it may
// forget more than was asked. The timing models are exact; whoever ran somewhere may still have entries there.
void Hypervisor::flush_translations(VirtualProcessor& from, VpMask targets, const TranslationFlush& what) {
    for_each_vp(vps_, from.ref().partition, [&](VirtualProcessor& target) {
        if ((targets & bit_of(target.index())) == 0) return;
        if (what.everything) target.translations_changed();
        for (const std::uint64_t linear : what.pages) target.translation_changed(linear);
        const auto partition = static_cast<std::uint16_t>(target.ref().partition);
        const auto vp = static_cast<std::uint16_t>(target.index());
        for (const auto& lp : lps_) {
            cpu::MemoryTiming* const timing = lp->processor.timing();
            if (timing == nullptr) break;
            if (what.everything) timing->flush_space(partition, vp, what.all_spaces, what.non_global_only);
            for (const std::uint64_t linear : what.pages) {
                timing->flush_page(partition, vp, what.all_spaces, what.non_global_only, linear);
            }
        }
    });
}

// --- Checkpoints -------------------------------------------------------------------------------------------------

template <class Archive>
void Hypervisor::archive_state(Archive& archive) {
    archive(causes_, partitions_, ports_, scheduler_, posted_);
    for (auto& [id, synthetic] : synthetic_) archive(*synthetic);
    for (auto& [ref, processor] : vps_) archive(*processor);
    for (auto& [ref, processor] : behavioural_) archive(*processor);
    for (auto& root : roots_) archive(*root);
    for (auto& lp : lps_) archive(*lp);
    archive(release_, engine_);
    if (last_level_cache_) archive(*last_level_cache_);
}

void Hypervisor::save(sim::Writer& writer) {
    engine_.forget_code();
    archive_state(writer);
}

// Memory holds the other machine's content already: what goes must not touch it.
void Hypervisor::restore(sim::Reader& reader) {
    for (auto& [id, synthetic] : synthetic_) synthetic->abandon_pages();
    for (auto& [ref, processor] : vps_) processor->abandon_pages();
    for (auto& [ref, processor] : behavioural_) processor->abandon_pages();
    archive_state(reader);
    for (const auto& lp : lps_) note_waking(*lp);
    engine_.forget_code();
}

// --- PartitionHost -----------------------------------------------------------------------------------------------

SyntheticPartition& Hypervisor::synthetic(Partition& partition) {
    auto& place = synthetic_[partition.id()];
    if (!place) {
        place = std::make_unique<SyntheticPartition>(partition.scope().child("synthetic"), partition, memory_,
                                                     config_.tsc_hz, config_.apic_hz, HypercallInstruction::vmmcall);
    }
    return *place;
}

// Policies are checked where they are set; here a reserve may turn out to be too much for the machine.
void Hypervisor::schedule(VpRef ref, VpPolicy policy) {
    if (scheduler_.add(ref, policy)) return;
    policy.reserve = 0;
    if (!scheduler_.add(ref, policy)) VG_CHECK(scheduler_.add(ref, VpPolicy{}));
}

VpControl& Hypervisor::create_vp(Partition& partition, std::uint32_t index) {
    if (partition.property(behavioural_processors) != 0) return create_behavioural_vp(partition, index);
    const PartitionId id = partition.id();
    SyntheticPartition& interface = synthetic(partition);
    if (!cpuid_.contains(id)) {
        const auto processors = static_cast<unsigned>(partition.property(HvPartitionProperty::processors_per_socket));
        cpuid_.emplace(id, std::make_unique<cpu::CpuidTable>(cpu::CpuidProfile{}, processors));
    }
    VpSettings settings;
    settings.cpuid = cpuid_.at(id).get();
    settings.costs = config_.exit_costs;
    settings.tsc_hz = config_.tsc_hz;
    settings.apic_hz = config_.apic_hz;
    const VpRef ref{id, index};
    VpEnvironment& environment = *this;
    auto processor =
        std::make_unique<VirtualProcessor>(partition.scope().child("vp" + std::to_string(index)), interface, calls_,
                                           index, environment, settings, engine_.pristine_state(), memory_);
    schedule(ref, partition.vp_policy());
    vp_table_.set(ref, processor.get());
    return *vps_.emplace(ref, std::move(processor)).first->second;
}

VpControl& Hypervisor::create_behavioural_vp(Partition& partition, std::uint32_t index) {
    const VpRef ref{partition.id(), index};
    BehaviouralEnvironment& environment = *this;
    auto processor = std::make_unique<BehaviouralProcessor>(partition.scope().child("vp" + std::to_string(index)),
                                                            synthetic(partition), calls_, index, environment,
                                                            behavioural_settings_, engine_.pristine_state());
    const auto software = software_.find(ref);
    if (software != software_.end()) processor->set_software(software->second);
    schedule(ref, partition.vp_policy());
    behavioural_table_.set(ref, processor.get());
    scheduler_.add_needs(ref, processor->needs());
    return *behavioural_.emplace(ref, std::move(processor)).first->second;
}

void Hypervisor::set_software(PartitionId partition, std::uint32_t index, VpSoftware* software) {
    const VpRef ref{partition, index};
    if (software == nullptr) {
        software_.erase(ref);
    } else {
        software_[ref] = software;
    }
    const auto found = behavioural_.find(ref);
    if (found != behavioural_.end()) found->second->set_software(software);
}

void Hypervisor::delete_vp(Partition& partition, std::uint32_t index) {
    const VpRef ref{partition.id(), index};
    scheduler_.remove(ref);
    for (auto& lp : lps_) {
        if (lp->last == ref) lp->last.reset();
        if (lp->piece == ref) lp->piece.reset();
    }
    behavioural_table_.set(ref, nullptr);
    if (behavioural_.erase(ref) == 0) {
        VG_CHECK(!vp(ref).running(), "a virtual processor is deleted from within its own exit");
        engine_.unload(vp(ref).guest());
        vp_table_.set(ref, nullptr);
        vps_.erase(ref);
    }
    bool last = true;
    for_each_vp(vps_, partition.id(), [&last](VirtualProcessor&) { last = false; });
    for_each_vp(behavioural_, partition.id(), [&last](BehaviouralProcessor&) { last = false; });
    if (last) {
        synthetic_.erase(partition.id());
        cpuid_.erase(partition.id());
    }
}

bool Hypervisor::device_attached(Partition& partition, std::uint64_t physical) {
    if (remapping_ == nullptr) return true;
    if (!remapping_->join_domain(physical, partition.id(), partition.gpa_space().second_level())) return false;
    sim::WorkingSet& needs = partition.device_needs();
    needs.clear();
    partition.devices().for_each_physical([&](std::uint64_t device) { remapping_->add_needs(device, needs); });
    return true;
}

void Hypervisor::device_detached(std::uint64_t physical) {
    if (remapping_ != nullptr) remapping_->leave_domain(physical);
}

void Hypervisor::mapping_changed(Partition& partition, std::uint64_t gpa, std::uint64_t length) {
    if (remapping_ != nullptr) remapping_->domain_changed(partition.id(), gpa, length);
    for_each_vp(vps_, partition.id(), [](VirtualProcessor& target) { target.translations_changed(); });
    for (const auto& lp : lps_) {
        if (cpu::MemoryTiming* const timing = lp->processor.timing()) {
            timing->second_level_changed(static_cast<std::uint16_t>(partition.id()));
        }
    }
}

// Processors that execute instructions are not moved.
HvStatus Hypervisor::save_partition(Partition& partition, sim::Writer& writer) {
    if (partition.property(behavioural_processors) == 0) return HvStatus::feature_unavailable;
    bool all_stand = true;
    for_each_vp(behavioural_, partition.id(), [&](BehaviouralProcessor& vp) { all_stand = all_stand && vp.stands(); });
    if (!all_stand) return HvStatus::invalid_vp_state;
    writer(static_cast<std::uint64_t>(partition.vp_count()));
    synthetic(partition).save_elsewhere(writer);
    for_each_vp(behavioural_, partition.id(), [&](BehaviouralProcessor& vp) { vp.save_elsewhere(writer); });
    return HvStatus::success;
}

HvStatus Hypervisor::restore_partition(Partition& partition, sim::Reader& reader) {
    if (partition.property(behavioural_processors) == 0) return HvStatus::feature_unavailable;
    std::uint64_t count = 0;
    reader(count);
    if (count == 0 || count != partition.vp_count()) return HvStatus::invalid_save_restore_state;
    // Overlays, and the tables that they need at the worst.
    const std::uint64_t overlays = SyntheticPartition::overlay_pages + count * SyntheticProcessor::overlay_pages;
    if (partition.pool().available() < 2 * overlays) return HvStatus::insufficient_memory;
    bool done = synthetic(partition).restore_elsewhere(reader);
    for_each_vp(behavioural_, partition.id(),
                [&](BehaviouralProcessor& vp) { done = done && vp.restore_elsewhere(reader); });
    return done ? HvStatus::success : HvStatus::invalid_save_restore_state;
}

HvStatus Hypervisor::property_changed(Partition& partition, HvPartitionProperty property, std::uint64_t value) {
    VpPolicy policy = partition.vp_policy();
    if (property == HvPartitionProperty::cpu_weight) {
        policy.weight = static_cast<std::uint32_t>(value);
    } else if (property == HvPartitionProperty::cpu_reserve) {
        policy.reserve = static_cast<std::uint32_t>(value);
    } else if (property == HvPartitionProperty::cpu_cap) {
        policy.cap = static_cast<std::uint32_t>(value);
    } else if (property == scheduling_affinity_set) {
        policy.affinity = value;
    } else {
        return HvStatus::success;
    }
    HvStatus status = HvStatus::success;
    partition.for_each_vp([&](std::uint32_t index, const VpControl&) {
        if (!scheduler_.set_policy({partition.id(), index}, policy)) status = HvStatus::no_resources;
    });
    kick_idle();
    return status;
}

}  // namespace hypervisor
