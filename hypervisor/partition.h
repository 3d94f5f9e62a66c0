// Partitions: their life, their properties, their memory, their virtual processors' slots. The objects that hypercalls
// act on; the hypercalls themselves are in root_hypercalls.h.
//
// A partition is created, initialized, finalized and deleted (TLFS chapter 4). What the hypervisor needs for it comes
// from its memory pool; finalizing gives all of it back to the pool, from where the root withdraws it.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "hypervisor/assigned_devices.h"
#include "hypervisor/gpa_space.h"
#include "hypervisor/intercept_table.h"
#include "hypervisor/page_ownership.h"
#include "hypervisor/ports.h"
#include "hypervisor/scheduler.h"
#include "hypervisor/tlfs.h"
#include "sim/flat_map.h"
#include "sim/scope.h"
#include "sim/working_set.h"

namespace hypervisor {

class Partition;

struct InterruptRequest {
    HvInterruptType type = HvInterruptType::fixed;
    bool level_triggered = false;
    std::uint32_t vector = 0;
    // Of an assigned device: a logical processor was interrupted, which passes it on; or it was posted, and
    // the virtual processor takes it by itself if it is running.
    bool device = false, posted = false;

    friend bool operator==(const InterruptRequest&, const InterruptRequest&) = default;
};

// A virtual processor as hypercalls see it.
class VpControl {
public:
    virtual ~VpControl() = default;
    // success, unknown_register_name (Linux' name for HV_STATUS 0x87), invalid_register_value, access_denied.
    virtual HvStatus get_register(HvRegister name, HvRegisterValue& value) = 0;
    virtual HvStatus set_register(HvRegister name, const HvRegisterValue& value) = 0;

    // Whether an interrupt to this destination is for its local APIC (APIC id, or logical destination).
    virtual bool accepts_destination(std::uint64_t address, bool logical) const = 0;
    virtual HvStatus assert_interrupt(const InterruptRequest& request) = 0;
    // success, insufficient_buffers, invalid_synic_state.
    virtual HvStatus post_message(std::uint32_t sint, const HvMessage& message) = 0;
    virtual HvStatus signal_event(std::uint32_t sint, std::uint16_t flag) = 0;

    // The guest's own tables, through its own physical space: flags are translate_gva_flag.
    virtual HvOutputTranslateVirtualAddress translate(std::uint64_t gva_page, std::uint64_t flags) = 0;
};

// What the machine does when partitions change: implemented by the hypervisor's top.
class PartitionHost : public InterruptTable {
public:
    virtual ~PartitionHost() = default;
    void interrupt_changed(std::uint32_t handle, const DeviceInterrupt* entry) override = 0;
    // The object lives until delete_vp.
    virtual VpControl& create_vp(Partition& partition, std::uint32_t index) = 0;
    virtual void delete_vp(Partition& partition, std::uint32_t index) = 0;
    virtual void mapping_changed(Partition& partition, std::uint64_t gpa, std::uint64_t length) = 0;
    // A device is to reach the partition's memory, and no more. False: it can't.
    virtual bool device_attached(Partition& partition, std::uint64_t physical) = 0;
    virtual void device_detached(std::uint64_t physical) = 0;
    // What the machine keeps of a partition and its processors, all of which stand; nothing that belongs to this
    // machine alone, such as numbers of pages.
    virtual HvStatus save_partition(Partition& partition, sim::Writer& writer) {
        (void)partition, (void)writer;
        return HvStatus::feature_unavailable;
    }
    virtual HvStatus restore_partition(Partition& partition, sim::Reader& reader) {
        (void)partition, (void)reader;
        return HvStatus::feature_unavailable;
    }
    // Anything but success refuses the new value (a reserve that the machine has not).
    virtual HvStatus property_changed(Partition& partition, HvPartitionProperty property, std::uint64_t value) = 0;
};

enum class PartitionState : std::uint8_t { created, initialized, finalized };

// HvPartitionVpPropertySchedulingAffinitySet: here one mask of logical processors for the whole partition.
inline constexpr auto scheduling_affinity_set = HvPartitionProperty{0x1000'1000};

// Our own: 1 makes processors that execute no instructions (behavioural_processor.h).
inline constexpr auto behavioural_processors = HvPartitionProperty{0x1000'2000};

// What things cost in pages of the pool.
inline constexpr std::uint64_t pages_per_partition = 1;     // of the parent: the partition object
inline constexpr std::uint64_t pages_to_initialize = 3;     // I/O bitmaps and MSR bitmap; and the root table
inline constexpr std::uint64_t pages_per_vp = 4;            // control block, registers, extended state, APIC page
inline constexpr std::uint64_t port_objects_per_page = 32;  // ports and connections
inline constexpr std::uint32_t max_vps_per_partition = 64;
// The root, and as many as Windows Server 2012 has active at once.
inline constexpr std::uint64_t max_partitions = 1025;

class Partition final : public MappingListener {
public:
    struct Creation {
        PartitionId id = 0;
        PartitionId parent = 0;
        std::uint64_t flags = 0;
        slat::SecondLevel second_level;  // format and capabilities
        std::uint64_t grantable_privileges = ~0ull;
    };

    Partition(const sim::Scope& scope, const Creation& creation, mmu::SystemMemory memory, PageOwnership& ownership,
              InterruptHandles& handles, PartitionHost& host);
    Partition(const Partition&) = delete;
    Partition& operator=(const Partition&) = delete;

    PartitionId id() const { return state_.id; }
    PartitionId parent() const { return state_.parent; }
    bool is_root() const { return state_.id == root_partition; }
    std::uint64_t flags() const { return state_.flags; }
    PartitionState state() const { return state_.state; }
    const sim::Scope& scope() const { return scope_; }

    // Life. Each with the status of its hypercall.
    HvStatus initialize();
    HvStatus finalize();

    HvStatus get_property(HvPartitionProperty property, std::uint64_t& value) const;
    HvStatus set_property(HvPartitionProperty property, std::uint64_t value);
    std::uint64_t property(HvPartitionProperty property) const;
    // The hypervisor's own: read-only properties that the machine fills (frequencies, the guest's OS id).
    void fill_property(HvPartitionProperty property, std::uint64_t value) { state_.properties[property] = value; }
    std::uint64_t privileges() const { return property(HvPartitionProperty::privilege_flags); }
    bool has_privilege(std::uint64_t mask) const { return (privileges() & mask) == mask; }
    VpPolicy vp_policy() const;

    MemoryPool& pool() { return pool_; }
    const MemoryPool& pool() const { return pool_; }
    GpaSpace& gpa_space() { return gpa_space_; }
    const GpaSpace& gpa_space() const { return gpa_space_; }
    InterceptTable& intercepts() { return intercepts_; }
    const InterceptTable& intercepts() const { return intercepts_; }
    AssignedDevices& devices() { return devices_; }
    const AssignedDevices& devices() const { return devices_; }
    // What its processors need of it when they are at work, when they call the hypervisor, of its devices, and of its
    // ports and connections (sim/working_set.h).
    void add_needs(sim::WorkingSet& set) const {
        set.add_elements(vp_objects_);
        gpa_space_.add_needs(set);
        devices_.add_needs(set);
    }
    void add_call_needs(sim::WorkingSet& set) const {
        set.add(scope_);
        set.add_content(state_.properties, 4 * sim::WorkingSet::line_bytes);
        gpa_space_.add_call_needs(set);
    }
    sim::WorkingSet& device_needs() { return device_needs_; }
    const sim::WorkingSet& device_needs() const { return device_needs_; }
    sim::WorkingSet& port_needs() { return port_needs_; }
    const sim::WorkingSet& port_needs() const { return port_needs_; }

    HvStatus create_vp(std::uint32_t index);
    HvStatus delete_vp(std::uint32_t index);
    VpControl* vp(std::uint32_t index) const;  // nullptr: no such virtual processor
    std::size_t vp_count() const { return state_.vps.size(); }
    std::uint64_t vp_mask() const;  // bit n: virtual processor n exists
    template <class Function>
    void for_each_vp(Function function) const {
        for (const auto& [index, slot] : state_.vps) function(index, *vp(index));
    }

    // HvCallSavePartitionState and HvCallRestorePartitionState, a part at a time.
    HvStatus save_part(bool from_the_beginning, HvPartitionStatePart& part);
    HvStatus restore_part(const HvPartitionStatePart& part);

    // The pages that ports and connections of this partition take, after their number changed to `objects`.
    HvStatus resize_port_objects(std::size_t objects);

    void mapping_changed(std::uint64_t gpa, std::uint64_t length) override {
        host_.mapping_changed(*this, gpa, length);
    }

    // Tells the host to drop the virtual processors, before a saved partition takes this one's place.
    void forget_vps();
    // Reading creates the virtual processors that the saved partition had.
    template <class Archive>
    void fields(Archive& archive) {
        if constexpr (Archive::reading) forget_vps();
        archive(state_, pool_, gpa_space_, intercepts_, devices_);
        if constexpr (Archive::reading) recreate_vps();
    }

private:
    struct State {
        PartitionId id = 0;
        PartitionId parent = 0;
        std::uint64_t flags = 0;
        PartitionState state = PartitionState::created;
        sim::FlatMap<HvPartitionProperty, std::uint64_t> properties;  // those that were set
        std::vector<std::uint64_t> pages;                             // of the partition itself
        std::map<std::uint32_t, std::vector<std::uint64_t>> vps;      // -> their pages
        std::vector<std::uint64_t> port_pages;

        friend bool operator==(const State&, const State&) = default;
        template <class Archive>
        void fields(Archive& archive) {
            archive(id, parent, flags, state, properties, pages, vps, port_pages);
        }
    };

    void recreate_vps();

    sim::Scope scope_;
    PartitionHost& host_;
    std::uint64_t grantable_privileges_;
    State state_;
    InterceptTable intercepts_;
    sim::WorkingSet device_needs_, port_needs_;
    MemoryPool pool_;
    // What is needed of them again and again lies at the end of the first and at the beginning of the last.
    GpaSpace gpa_space_;
    sim::FlatMap<std::uint32_t, VpControl*> vp_objects_;
    AssignedDevices devices_;
    // State on its way, and how much of it has gone. In no checkpoint: all parts go at one instant.
    std::vector<std::byte> parts_;
    std::size_t parts_done_ = 0;
};

// All partitions of the machine, the root among them, and the pages of all of host memory.
class Partitions final : public SynicTargets {
public:
    struct Options {
        slat::SecondLevel second_level;  // of new partitions, unless their processor vendor says another format
        // What children may do at most, and what they may do if nothing is said.
        std::uint64_t grantable_privileges = ~(privilege::create_partitions | privilege::access_memory_pool |
                                               privilege::cpu_management | privilege::configure_profiler);
        std::uint64_t default_privileges = 0;
        std::uint32_t interrupt_handles = 1024;  // of all partitions' devices
    };

    Partitions(const sim::Scope& scope, const Options& options, mmu::SystemMemory memory, PartitionHost& host);

    Partition& root() { return *partitions_.at(root_partition); }
    Partition* find(PartitionId id) { return id < table_.size() ? table_[id] : find_any(id); }
    // The first child with a greater id; invalid if there is none.
    PartitionId next_child(PartitionId previous) const;
    std::size_t count() const { return partitions_.size(); }
    template <class Function>
    void for_each(Function function) {
        for (auto& [id, partition] : partitions_) function(*partition);
    }

    HvStatus create(const HvInputCreatePartition& input, PartitionId& id);
    // Of a finalized partition whose pool is empty.
    HvStatus remove(Partition& partition);

    // A physical device is in one partition at most.
    HvStatus attach_device(Partition& partition, std::uint64_t physical, std::uint64_t logical);
    HvStatus detach_device(Partition& partition, std::uint64_t logical);
    // What a device has sent, once the table has let it pass, goes to virtual processors of its partition. False: to
    // nobody.
    bool device_interrupt(std::uint32_t handle);
    const InterruptHandles& interrupt_handles() const { return handles_; }

    PageOwnership& ownership() { return ownership_; }
    const PageOwnership& ownership() const { return ownership_; }

    sim::WorkingSet* port_needs(std::uint64_t partition) override {
        Partition* const found = find(partition);
        return found != nullptr ? &found->port_needs() : nullptr;
    }
    HvStatus post_message(std::uint64_t partition, std::uint32_t vp, std::uint32_t sint,
                          const HvMessage& message) override;
    HvStatus signal_event(std::uint64_t partition, std::uint32_t vp, std::uint32_t sint, std::uint16_t flag) override;

    // Reading builds the partitions that were saved in place of those that are there.
    template <class Archive>
    void fields(Archive& archive) {
        archive(next_id_, objects_, attached_, handles_);
        std::vector<PartitionId> ids;
        for (const auto& [id, partition] : partitions_) ids.push_back(id);
        archive(ids);
        if constexpr (Archive::reading) rebuild(ids);
        for (auto& [id, partition] : partitions_) archive(*partition);
        archive(ownership_);
    }

private:
    void rebuild(const std::vector<PartitionId>& ids);
    Partition* find_any(PartitionId id) const;
    std::unique_ptr<Partition> make(PartitionId id, PartitionId parent, std::uint64_t flags);

    sim::Scope scope_;
    Options options_;
    mmu::SystemMemory memory_;
    PartitionHost& host_;
    PageOwnership ownership_;
    InterruptHandles handles_;
    std::map<PartitionId, std::unique_ptr<Partition>> partitions_;
    std::vector<Partition*> table_;  // those with small numbers, by number; null: there is none
    std::map<PartitionId, std::vector<std::uint64_t>> objects_;                // the parent's pages behind each child
    std::map<std::uint64_t, std::pair<PartitionId, std::uint64_t>> attached_;  // by physical device: whose, its name
    PartitionId next_id_ = root_partition + 1;
};

}  // namespace hypervisor
