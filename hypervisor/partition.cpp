#include "hypervisor/partition.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <string>
#include <utility>

#include "sim/check.h"

namespace hypervisor {

namespace {

constexpr PartitionId table_limit = 1 << 16;

enum class Settable : std::uint8_t { never, early, always };  // early: before the partition is initialized

// Every property there is, what it may be, and what it is if nobody says otherwise.
struct PropertyRow {
    HvPartitionProperty property;
    Settable settable;
    std::uint64_t lowest;
    std::uint64_t highest;
    std::uint64_t initial;
};

constexpr std::uint64_t any = ~0ull;
constexpr std::uint64_t vendor_amd = 0;
constexpr std::uint64_t vendor_intel = 1;

constexpr PropertyRow property_rows[] = {
    {HvPartitionProperty::privilege_flags, Settable::early, 0, any, 0},
    {HvPartitionProperty::synthetic_proc_features, Settable::early, 0, any, 0},
    {HvPartitionProperty::suspend, Settable::always, 0, 1, 0},
    {HvPartitionProperty::cpu_reserve, Settable::always, 0, cpu_reserve_max, 0},
    {HvPartitionProperty::cpu_cap, Settable::always, 0, cpu_cap_max, cpu_cap_max},
    {HvPartitionProperty::cpu_weight, Settable::always, cpu_weight_min, cpu_weight_max, default_weight},
    {HvPartitionProperty::cpu_group_id, Settable::always, 0, 0, 0},
    {HvPartitionProperty::time_freeze, Settable::always, 0, 1, 0},
    {HvPartitionProperty::apic_frequency, Settable::never, 0, any, 0},
    {HvPartitionProperty::reference_time, Settable::always, 0, any, 0},
    {HvPartitionProperty::debug_channel_id, Settable::always, 0, 0, 0},
    {HvPartitionProperty::virtual_tlb_page_count, Settable::always, 0, 1u << 20, 0},
    {HvPartitionProperty::processors_per_socket, Settable::always, 1, max_vps_per_partition, 1},
    {HvPartitionProperty::gpa_page_access_tracking, Settable::always, 0, 1, 0},
    {HvPartitionProperty::unimplemented_msr_action, Settable::always, 0, 1, 0},
    {HvPartitionProperty::processor_vendor, Settable::early, vendor_amd, vendor_intel, vendor_intel},
    {HvPartitionProperty::processor_features, Settable::early, 0, any, any},
    {HvPartitionProperty::processor_xsave_features, Settable::early, 0, any, any},
    {HvPartitionProperty::processor_cl_flush_size, Settable::early, 3, 8, 6},  // log2 of the bytes
    {HvPartitionProperty::physical_address_width, Settable::early, 36, 48, 46},
    {HvPartitionProperty::processor_clock_frequency, Settable::never, 0, any, 0},
    {HvPartitionProperty::guest_os_id, Settable::never, 0, any, 0},
    {scheduling_affinity_set, Settable::always, 1, any, any},
    {behavioural_processors, Settable::early, 0, 1, 0},
};

const PropertyRow* row_of(HvPartitionProperty property) {
    for (const PropertyRow& row : property_rows) {
        if (row.property == property) return &row;
    }
    return nullptr;
}

}  // namespace

Partition::Partition(const sim::Scope& scope, const Creation& creation, mmu::SystemMemory memory,
                     PageOwnership& ownership, InterruptHandles& handles, PartitionHost& host)
    : scope_(scope),
      host_(host),
      grantable_privileges_(creation.grantable_privileges),
      pool_(creation.id, ownership, memory),
      gpa_space_(creation.id, creation.second_level, memory, pool_, ownership, *this),
      devices_(creation.id, handles) {
    state_.id = creation.id;
    state_.parent = creation.parent;
    state_.flags = creation.flags;
    // The root runs from the start, on the memory that is nobody else's.
    if (is_root()) state_.state = PartitionState::initialized;
    const bool ept = creation.second_level.format == slat::Format::ept;
    state_.properties[HvPartitionProperty::processor_vendor] = ept ? vendor_intel : vendor_amd;
}

HvStatus Partition::initialize() {
    if (state_.state != PartitionState::created) return HvStatus::invalid_partition_state;
    if (pool_.available() < pages_to_initialize + 1) return HvStatus::insufficient_memory;
    VG_CHECK(pool_.take(pages_to_initialize, state_.pages));
    VG_CHECK(gpa_space_.create() == GpaEdit::ok);
    state_.state = PartitionState::initialized;
    return HvStatus::success;
}

HvStatus Partition::finalize() {
    if (is_root()) return HvStatus::operation_denied;
    if (state_.state == PartitionState::finalized) return HvStatus::invalid_partition_state;
    while (!state_.vps.empty()) VG_CHECK(delete_vp(state_.vps.begin()->first) == HvStatus::success);
    devices_.for_each_physical([this](std::uint64_t device) { host_.device_detached(device); });
    gpa_space_.destroy();
    pool_.put_back(state_.pages);
    pool_.put_back(state_.port_pages);
    intercepts_ = {};
    devices_.clear();
    state_.state = PartitionState::finalized;
    return HvStatus::success;
}

// Properties
// -------------------------------------------------------------------------------------------------------------

std::uint64_t Partition::property(HvPartitionProperty property) const {
    const auto set = state_.properties.find(property);
    if (set != state_.properties.end()) return set->second;
    const PropertyRow* row = row_of(property);
    VG_CHECK(row != nullptr);
    return row->initial;
}

HvStatus Partition::get_property(HvPartitionProperty wanted, std::uint64_t& value) const {
    if (row_of(wanted) == nullptr) return HvStatus::unknown_property;
    value = property(wanted);
    return HvStatus::success;
}

HvStatus Partition::set_property(HvPartitionProperty property, std::uint64_t value) {
    const PropertyRow* row = row_of(property);
    if (row == nullptr) return HvStatus::unknown_property;
    if (row->settable == Settable::never) return HvStatus::operation_denied;
    if (state_.state == PartitionState::finalized) return HvStatus::invalid_partition_state;
    if (row->settable == Settable::early && state_.state != PartitionState::created) {
        return HvStatus::invalid_partition_state;
    }
    if (value < row->lowest || value > row->highest) return HvStatus::property_value_out_of_range;
    if (property == HvPartitionProperty::privilege_flags && (value & ~grantable_privileges_) != 0) {
        return HvStatus::property_value_out_of_range;
    }
    if (property == HvPartitionProperty::gpa_page_access_tracking) {
        if (!gpa_space_.created()) return HvStatus::invalid_partition_state;
        if (gpa_space_.set_tracking(value != 0) != GpaEdit::ok) return HvStatus::insufficient_memory;
    }
    const HvStatus accepted = host_.property_changed(*this, property, value);
    if (accepted != HvStatus::success) return accepted;
    state_.properties[property] = value;
    if (property == HvPartitionProperty::processor_vendor) {
        gpa_space_.set_format(value == vendor_intel ? slat::Format::ept : slat::Format::npt);
    }
    return HvStatus::success;
}

VpPolicy Partition::vp_policy() const {
    const auto cap = static_cast<std::uint32_t>(property(HvPartitionProperty::cpu_cap));
    return {.weight = static_cast<std::uint32_t>(property(HvPartitionProperty::cpu_weight)),
            .reserve = static_cast<std::uint32_t>(property(HvPartitionProperty::cpu_reserve)),
            .cap = cap,
            .affinity = property(scheduling_affinity_set)};
}

// Its state as a whole
// ----------------------------------------------------------------------------------------------------------------

namespace {

// In place of how much has gone: what is there has come.
constexpr std::size_t coming = ~std::size_t{0};

}  // namespace

HvStatus Partition::save_part(bool from_the_beginning, HvPartitionStatePart& part) {
    if (from_the_beginning) {
        sim::Writer writer;
        const HvStatus saved = host_.save_partition(*this, writer);
        if (saved != HvStatus::success) return saved;
        parts_ = writer.take();
        parts_done_ = 0;
    }
    if (parts_done_ >= parts_.size()) return HvStatus::invalid_save_restore_state;
    const std::size_t count = std::min<std::size_t>(partition_state_bytes, parts_.size() - parts_done_);
    std::memcpy(part.data, parts_.data() + parts_done_, count);
    parts_done_ += count;
    part.count = static_cast<std::uint32_t>(count);
    part.more = parts_done_ < parts_.size() ? 1 : 0;
    return HvStatus::success;
}

// The last part restores all of them. What is no state of such a partition leaves one that is fit for nothing but its
// end.
HvStatus Partition::restore_part(const HvPartitionStatePart& part) {
    constexpr std::size_t most = std::size_t{1} << 26;
    if (std::exchange(parts_done_, coming) != coming) parts_ = {};
    if (part.count > partition_state_bytes || parts_.size() + part.count > most) return HvStatus::invalid_parameter;
    const auto* bytes = reinterpret_cast<const std::byte*>(part.data);
    parts_.insert(parts_.end(), bytes, bytes + part.count);
    if (part.more != 0) return HvStatus::success;
    const std::vector<std::byte> all = std::exchange(parts_, {});
    sim::Reader reader{all};
    try {
        const HvStatus restored = host_.restore_partition(*this, reader);
        if (restored != HvStatus::success) return restored;
    } catch (const sim::UserError&) {
        return HvStatus::invalid_save_restore_state;
    }
    return reader.remaining() == 0 ? HvStatus::success : HvStatus::invalid_save_restore_state;
}

// Virtual processors
// -----------------------------------------------------------------------------------------------------

HvStatus Partition::create_vp(std::uint32_t index) {
    if (state_.state != PartitionState::initialized) return HvStatus::invalid_partition_state;
    if (index >= max_vps_per_partition || state_.vps.contains(index)) return HvStatus::invalid_vp_index;
    std::vector<std::uint64_t> pages;
    if (!is_root() && !pool_.take(pages_per_vp, pages)) return HvStatus::insufficient_memory;
    state_.vps[index] = std::move(pages);
    vp_objects_[index] = &host_.create_vp(*this, index);
    return HvStatus::success;
}

HvStatus Partition::delete_vp(std::uint32_t index) {
    const auto slot = state_.vps.find(index);
    if (slot == state_.vps.end()) return HvStatus::invalid_vp_index;
    host_.delete_vp(*this, index);
    vp_objects_.erase(index);
    pool_.put_back(slot->second);
    state_.vps.erase(slot);
    return HvStatus::success;
}

std::uint64_t Partition::vp_mask() const {
    std::uint64_t mask = 0;
    for (const auto& [index, pages] : state_.vps) mask |= std::uint64_t{1} << index;
    return mask;
}

VpControl* Partition::vp(std::uint32_t index) const {
    const auto found = vp_objects_.find(index);
    return found == vp_objects_.end() ? nullptr : found->second;
}

void Partition::forget_vps() {
    for (const auto& [index, object] : vp_objects_) host_.delete_vp(*this, index);
    vp_objects_.clear();
}

void Partition::recreate_vps() {
    for (const auto& [index, pages] : state_.vps) vp_objects_[index] = &host_.create_vp(*this, index);
}

HvStatus Partition::resize_port_objects(std::size_t objects) {
    const std::uint64_t needed = (objects + port_objects_per_page - 1) / port_objects_per_page;
    while (state_.port_pages.size() > needed) {
        pool_.put_back(state_.port_pages.back());
        state_.port_pages.pop_back();
    }
    return pool_.take(needed - state_.port_pages.size(), state_.port_pages) ? HvStatus::success
                                                                            : HvStatus::insufficient_memory;
}

// All partitions
// ---------------------------------------------------------------------------------------------------------

Partitions::Partitions(const sim::Scope& scope, const Options& options, mmu::SystemMemory memory, PartitionHost& host)
    : scope_(scope),
      options_(options),
      memory_(memory),
      host_(host),
      ownership_(memory.size() / hv_page_size),
      handles_(options.interrupt_handles, host) {
    partitions_[root_partition] = make(root_partition, hv_partition_id_invalid, 0);
    root().fill_property(HvPartitionProperty::privilege_flags, ~0ull);
}

std::unique_ptr<Partition> Partitions::make(PartitionId id, PartitionId parent, std::uint64_t flags) {
    auto partition =
        std::make_unique<Partition>(scope_.child(std::to_string(id)),
                                    Partition::Creation{.id = id,
                                                        .parent = parent,
                                                        .flags = flags,
                                                        .second_level = options_.second_level,
                                                        .grantable_privileges = options_.grantable_privileges},
                                    memory_, ownership_, handles_, host_);
    partition->fill_property(HvPartitionProperty::privilege_flags, options_.default_privileges);
    if (id < table_limit) {
        if (id >= table_.size()) table_.resize(id + 1);
        table_[id] = partition.get();
    }
    return partition;
}

Partition* Partitions::find_any(PartitionId id) const {
    const auto found = partitions_.find(id);
    return found == partitions_.end() ? nullptr : found->second.get();
}

PartitionId Partitions::next_child(PartitionId previous) const {
    const auto next = partitions_.upper_bound(std::max(previous, root_partition));
    return next == partitions_.end() ? hv_partition_id_invalid : next->first;
}

HvStatus Partitions::create(const HvInputCreatePartition& input, PartitionId& id) {
    constexpr std::uint64_t known_flags = create_partition_flag::exo_partition | create_partition_flag::lapic_enabled |
                                          create_partition_flag::intercept_message_page_enabled |
                                          create_partition_flag::x2apic_capable;
    if ((input.flags & ~known_flags) != 0 || input.padding != 0) return HvStatus::invalid_parameter;
    if (input.isolation_properties != 0) return HvStatus::feature_unavailable;
    if (partitions_.size() >= max_partitions || next_id_ >= hypervisor_itself) return HvStatus::no_resources;
    std::vector<std::uint64_t> pages;
    if (!root().pool().take(pages_per_partition, pages)) return HvStatus::insufficient_memory;
    id = next_id_++;
    objects_[id] = std::move(pages);
    partitions_[id] = make(id, root_partition, input.flags);
    const HvPartitionCreationProperties& disabled = input.partition_creation_properties;
    partitions_[id]->fill_property(HvPartitionProperty::processor_features, ~disabled.disabled_processor_features[0]);
    partitions_[id]->fill_property(HvPartitionProperty::processor_xsave_features,
                                   ~disabled.disabled_processor_xsave_features);
    return HvStatus::success;
}

HvStatus Partitions::remove(Partition& partition) {
    if (partition.is_root()) return HvStatus::operation_denied;
    if (partition.state() != PartitionState::finalized) return HvStatus::invalid_partition_state;
    VG_CHECK(partition.pool().in_use() == 0);
    if (partition.pool().available() != 0) return HvStatus::object_in_use;  // the root withdraws its memory first
    const auto pages = objects_.find(partition.id());
    root().pool().put_back(pages->second);
    objects_.erase(pages);
    std::erase_if(attached_, [&](const auto& entry) { return entry.second.first == partition.id(); });
    if (partition.id() < table_.size()) table_[partition.id()] = nullptr;
    partitions_.erase(partition.id());
    return HvStatus::success;
}

void Partitions::rebuild(const std::vector<PartitionId>& ids) {
    for (auto& [id, partition] : partitions_) partition->forget_vps();
    table_.clear();
    partitions_.clear();
    for (const PartitionId id : ids) partitions_[id] = make(id, root_partition, 0);
    if (!partitions_.contains(root_partition)) throw sim::UserError("checkpoint: it has no root partition");
}

// Devices
// -----------------------------------------------------------------------------------------------------------------

HvStatus Partitions::attach_device(Partition& partition, std::uint64_t physical, std::uint64_t logical) {
    if (physical >> device_id::kind_shift != device_id::pci) return HvStatus::invalid_device_id;
    if (attached_.contains(physical)) return HvStatus::invalid_device_state;
    const HvStatus status = partition.devices().attach(logical, physical);
    if (status != HvStatus::success) return status;
    if (!host_.device_attached(partition, physical)) {
        VG_CHECK(partition.devices().detach(logical) == HvStatus::success);
        return HvStatus::operation_denied;
    }
    attached_[physical] = {partition.id(), logical};
    return HvStatus::success;
}

HvStatus Partitions::detach_device(Partition& partition, std::uint64_t logical) {
    const auto physical = partition.devices().physical(logical);
    if (physical) {
        host_.device_detached(*physical);
        attached_.erase(*physical);
    }
    return partition.devices().detach(logical);
}

bool Partitions::device_interrupt(std::uint32_t handle) {
    const DeviceInterrupt* entry = handles_.find(handle);
    if (entry == nullptr) return false;
    const Partition& partition = *find(entry->partition);
    const InterruptTarget target = entry->target;
    const InterruptRequest request{.vector = target.vector, .device = true};
    bool taken = false;
    for (std::uint64_t left = target.processors; left != 0; left &= left - 1) {
        VpControl* vp = partition.vp(static_cast<std::uint32_t>(std::countr_zero(left)));
        if (vp == nullptr) continue;
        taken = vp->assert_interrupt(request) == HvStatus::success || taken;
        if (taken && !target.multicast) break;
    }
    return taken;
}

HvStatus Partitions::post_message(std::uint64_t partition, std::uint32_t vp, std::uint32_t sint,
                                  const HvMessage& message) {
    Partition* target = find(partition);
    if (target == nullptr) return HvStatus::invalid_port_id;
    if (vp != hv_any_vp) {
        VpControl* control = target->vp(vp);
        return control == nullptr ? HvStatus::invalid_vp_index : control->post_message(sint, message);
    }
    HvStatus status = HvStatus::invalid_vp_index;
    bool taken = false;
    target->for_each_vp([&](std::uint32_t, VpControl& control) {
        if (!taken) status = control.post_message(sint, message);
        taken = taken || status == HvStatus::success;
    });
    return status;
}

HvStatus Partitions::signal_event(std::uint64_t partition, std::uint32_t vp, std::uint32_t sint, std::uint16_t flag) {
    Partition* target = find(partition);
    if (target == nullptr) return HvStatus::invalid_port_id;
    VpControl* control = target->vp(vp);
    return control == nullptr ? HvStatus::invalid_vp_index : control->signal_event(sint, flag);
}

}  // namespace hypervisor
