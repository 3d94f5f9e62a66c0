// The hypervisor of one host: logical processors that take turns in simulated time, the scheduler that fills them with
// virtual processors, and the partitions. What the root's stack gets of it is the RootInterface, nothing else.
//
// A logical processor runs as an event of the agenda: from its own time on, at most one quantum and never past the next
// device event, so that a timer, an interrupt or a message reaches every processor at its exact time or, for what
// another processor does within the same quantum, at the next turn.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "cpu/cpuid.h"
#include "cpu/engine.h"
#include "cpu/logical_processor.h"
#include "hypervisor/behavioural_processor.h"
#include "hypervisor/cpu_ledger.h"
#include "hypervisor/partition.h"
#include "hypervisor/ports.h"
#include "hypervisor/posted_interrupts.h"
#include "hypervisor/root_hypercalls.h"
#include "hypervisor/root_processor.h"
#include "hypervisor/scheduler.h"
#include "hypervisor/virtual_processor.h"

namespace hypervisor {

struct HypervisorConfig {
    std::uint32_t logical_processors = 1;
    sim::Time quantum = sim::Time::us(100);  // 0: lock-step
    cpu::CostTable instruction_costs;
    ExitCosts exit_costs;
    std::uint64_t tsc_hz = 0;
    std::uint64_t apic_hz = 200'000'000;
    bool timed = false;
    cpu::MemoryTimingConfig memory_timing;  // of each logical processor, if timed
    SchedulerOptions scheduler;
    // Posted-interrupt descriptors in memory that is nobody else's; none: the host's IOMMU cannot post.
    std::uint64_t posted_descriptors = 0;
    std::uint32_t posted_descriptor_count = 0;
    // NUMA nodes, of equal numbers of processors; an interrupt from one to another takes so much longer.
    std::uint32_t nodes = 1;
    sim::Time remote_message;
};

// Vectors of logical processors that interrupts of partitions' devices become; each has one of its own. What is posted
// needs none but the notification.
inline constexpr std::uint8_t first_device_vector = 0x30, notification_vector = 0xf2;
inline constexpr std::uint32_t device_vectors = 0xc0;

class Hypervisor final : private PartitionHost, private VpEnvironment, private BehaviouralEnvironment {
public:
    // `root` hears of messages, events and intercepts; it must outlive the hypervisor.
    Hypervisor(const sim::Scope& scope, mmu::SystemMemory memory, const HypervisorConfig& config, RootReceiver& root);
    ~Hypervisor() override;
    Hypervisor(const Hypervisor&) = delete;
    Hypervisor& operator=(const Hypervisor&) = delete;

    RootInterface& root_interface() { return calls_; }

    // The host's devices: how processors reach their registers; its IOMMU; and what comes from there as an interrupt of
    // a logical processor. One that nobody has asked for is counted and goes nowhere.
    void connect_devices(DevicePort& port, DeviceRemapping* remapping = nullptr) {
        device_port_ = &port;
        remapping_ = remapping;
    }
    bool device_interrupt(std::uint32_t processor, std::uint8_t vector);

    // The root partition has a virtual processor for each logical one, and bound to it.
    sim::Processor& root_processor(std::uint32_t index) { return *roots_.at(index); }

    // The processors of a behavioural partition: what runs there. Null: nothing any more.
    BehaviouralProcessor& behavioural_processor(PartitionId partition, std::uint32_t index) {
        return *behavioural_.at({partition, index});
    }
    void set_software(PartitionId partition, std::uint32_t index, VpSoftware* software);

    // How much longer a microsecond of a partition's work takes on the processors of each node. None: no longer.
    void set_remote_work(PartitionId partition, std::vector<sim::Time> by_node);
    std::uint32_t node_of(std::uint32_t lp) const { return lp / (logical_processors() / config_.nodes); }

    // What a logical processor's time went to.
    const CpuLedger& ledger(std::uint32_t lp) const { return lps_.at(lp)->ledger; }
    std::uint32_t logical_processors() const { return static_cast<std::uint32_t>(lps_.size()); }

    // Instructions that guests have retired, and by whom.
    std::uint64_t instructions() const { return engine_.instructions(); }
    std::uint64_t instructions(PartitionId partition) const;
    const cpu::Engine& engine() const { return engine_; }

    // Null: no such processor, or it executes no instructions.
    const VirtualProcessor* find_processor(VpRef vp) const { return vp_table_.find(vp); }

    // A checkpoint holds everything here but the content of memory, which its owner saves. The run that goes on and the
    // one that is restored begin with the same empty translation caches of the engine.
    void save(sim::Writer& writer);
    void restore(sim::Reader& reader);

private:
    struct LogicalCpu {
        LogicalCpu(const sim::Scope& scope, Hypervisor& owner, std::uint32_t index_);

        template <class Archive>
        void fields(Archive& archive) {
            archive(slice, time, last, piece, idle_since, ledger);
            if (processor.timing() != nullptr) archive(*processor.timing());
        }

        cpu::LogicalProcessor processor;
        std::uint32_t index;
        sim::Timer slice;
        sim::Time time;  // how far it has come
        std::optional<VpRef> last;
        std::optional<VpRef> piece;  // this one is in the middle of one
        std::optional<sim::Time> idle_since = sim::Time::zero();
        CpuLedger ledger;
        sim::Counter& busy_ps;
        sim::Counter& switches;
    };

    std::unique_ptr<cpu::MemoryTiming> make_timing(const sim::Scope& scope, std::uint32_t lp);
    void run_slice(std::uint32_t lp);
    void take_turn(std::uint32_t lp, sim::Time start);
    sim::Time switch_to(LogicalCpu& cpu, VpRef ref);
    void used(LogicalCpu& cpu, VpRef ref, sim::Time start);
    void run_instructions(LogicalCpu& cpu, VpRef ref);
    void run_piece(LogicalCpu& cpu, VpRef ref);
    sim::Time remote_work(const LogicalCpu& cpu, PartitionId partition) const;
    sim::Time ipi_latency(VpRef from, VpRef to) const;
    void finish_piece(VpRef ref);
    void kick(std::uint32_t lp);
    void note_waking(const LogicalCpu& cpu);
    void kick_idle();
    void await_release();
    void release();
    void wake(VpRef ref);
    VirtualProcessor& vp(VpRef ref) { return *vp_table_.find(ref); }
    SyntheticPartition& synthetic(Partition& partition);
    VpControl& create_behavioural_vp(Partition& partition, std::uint32_t index);
    void schedule(VpRef ref, VpPolicy policy);

    // PartitionHost
    VpControl& create_vp(Partition& partition, std::uint32_t index) override;
    void delete_vp(Partition& partition, std::uint32_t index) override;
    void mapping_changed(Partition& partition, std::uint64_t gpa, std::uint64_t length) override;
    bool device_attached(Partition& partition, std::uint64_t physical) override;
    void device_detached(std::uint64_t physical) override;
    void interrupt_changed(std::uint32_t handle, const DeviceInterrupt* entry) override;
    HvStatus save_partition(Partition& partition, sim::Writer& writer) override;
    HvStatus restore_partition(Partition& partition, sim::Reader& reader) override;
    HvStatus property_changed(Partition& partition, HvPartitionProperty property, std::uint64_t value) override;

    // VpEnvironment
    void send_ipi(VirtualProcessor& from, const cpu::ApicMessage& message) override;
    void send_ipis(VirtualProcessor& from, VpMask targets, std::uint8_t vector) override;
    void flush_translations(VirtualProcessor& from, VpMask targets, const TranslationFlush& what) override;
    void yield(VirtualProcessor& vp) override;
    void wake(VirtualProcessor& vp) override;
    void intercept(VirtualProcessor& vp, const HvMessage& message) override;
    bool on_processor(const VirtualProcessor& vp) const override { return scheduler_.is_running(vp.ref()); }
    DevicePort* device_port() override { return device_port_; }

    // BehaviouralEnvironment
    void wake(BehaviouralProcessor& vp) override { wake(vp.ref()); }
    void intercept(const HvMessage& message) override { root_.intercept(message); }
    void send_ipi(BehaviouralProcessor& from, const cpu::ApicMessage& message) override;
    void send_ipis(BehaviouralProcessor& from, VpMask targets, std::uint8_t vector) override;
    void yield(BehaviouralProcessor& vp) override { scheduler_.yield(vp.ref()); }
    Causes& causes() override { return causes_; }

    template <class Vps, class Function>
    static void for_each_vp(Vps& vps, PartitionId partition, Function function);
    template <class Vps, class Vp>
    void route_ipi(Vps& vps, Vp& from, const cpu::ApicMessage& message);
    template <class Archive>
    void archive_state(Archive& archive);

    sim::Scope scope_;
    mmu::SystemMemory memory_;
    HypervisorConfig config_;
    const BehaviouralSettings behavioural_settings_{config_.exit_costs, config_.tsc_hz, config_.apic_hz};
    RootReceiver& root_;
    cpu::Engine engine_;
    std::unique_ptr<cpu::CacheArray> last_level_cache_;
    Partitions partitions_;
    Ports ports_;
    RootHypercalls calls_;
    Scheduler scheduler_;
    std::map<PartitionId, std::unique_ptr<SyntheticPartition>> synthetic_;
    std::map<PartitionId, std::unique_ptr<cpu::CpuidTable>> cpuid_;
    std::map<VpRef, std::unique_ptr<VirtualProcessor>> vps_;
    std::map<VpRef, std::unique_ptr<BehaviouralProcessor>> behavioural_;
    VpTable<VirtualProcessor> vp_table_;  // of the same
    VpTable<BehaviouralProcessor> behavioural_table_;
    std::map<VpRef, VpSoftware*> software_;  // outlives the processors that a checkpoint brings back
    Causes causes_;
    std::vector<std::unique_ptr<RootProcessor>> roots_;
    std::vector<std::unique_ptr<LogicalCpu>> lps_;
    std::uint64_t waking_ = 0;             // of those, who idle but are on their way to what somebody else has for them
    std::optional<std::uint32_t> acting_;  // the logical processor whose turn this is; none: a device's or a timer's
    std::map<PartitionId, std::vector<sim::Time>> remote_work_;  // who built the machine says it anew
    DevicePort* device_port_ = nullptr;
    DeviceRemapping* remapping_ = nullptr;
    PostedInterrupts posted_;
    sim::Counter& device_interrupts_;
    sim::Counter& stray_interrupts_;
    sim::Timer release_;  // a capped virtual processor may run again
    sim::StateRegistration registration_;
};

}  // namespace hypervisor
