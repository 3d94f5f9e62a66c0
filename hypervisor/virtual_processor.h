// A virtual processor: its registers, local APIC, plain MSRs and activity, and the handling of its exits. A logical
// processor lends itself by calling run(); what reaches it from outside comes through hypercalls (VpControl) and
// through its APIC.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>

#include "cpu/cpuid.h"
#include "cpu/guest_context.h"
#include "cpu/local_apic.h"
#include "cpu/logical_processor.h"
#include "cpu/mmio_emulator.h"
#include "cpu/msr_table.h"
#include "hypervisor/exit_costs.h"
#include "hypervisor/intercept_messages.h"
#include "hypervisor/partition.h"
#include "hypervisor/synthetic_processor.h"
#include "hypervisor/vp_counters.h"
#include "sim/scope.h"

namespace hypervisor {

class VirtualProcessor;

// What a virtual processor needs of the hypervisor around it.
class VpEnvironment {
public:
    virtual ~VpEnvironment() = default;
    // An inter-processor interrupt to the others of the partition, to arrive after the latency.
    virtual void send_ipi(VirtualProcessor& from, const cpu::ApicMessage& message) = 0;
    // The hypercalls that act on processors of the partition, the caller among them.
    virtual void send_ipis(VirtualProcessor& from, VpMask targets, std::uint8_t vector) = 0;
    virtual void flush_translations(VirtualProcessor& from, VpMask targets, const TranslationFlush& what) = 0;
    virtual void yield(VirtualProcessor& vp) = 0;
    // It was blocked and can run now.
    virtual void wake(VirtualProcessor& vp) = 0;
    // The root's stack is told; when this returns it may have resumed the processor or not.
    virtual void intercept(VirtualProcessor& vp, const HvMessage& message) = 0;
    // A logical processor is its now; an interrupt that is not posted makes it leave the guest.
    virtual bool on_processor(const VirtualProcessor& vp) const = 0;
    // Null: the host has no devices that could be assigned.
    virtual DevicePort* device_port() = 0;
};

// What is the same for all processors of a partition.
struct VpSettings {
    const cpu::CpuidTable* cpuid = nullptr;
    ExitCosts costs;
    std::uint64_t tsc_hz = 0;
    std::uint64_t apic_hz = 0;
};

class VirtualProcessor final : public VpControl,
                               private cpu::ApicOutput,
                               private cpu::DeviceAccess,
                               private SyntheticPort {
public:
    VirtualProcessor(const sim::Scope& scope, SyntheticPartition& synthetic, RootHypercalls& calls, std::uint32_t index,
                     VpEnvironment& environment, const VpSettings& settings, const cpu::EngineState& pristine,
                     mmu::SystemMemory memory);

    // Runs on `lp` from `now` until it blocks or the first block boundary at or after `limit`, which shrinks as timers
    // are armed on the way. `account` hears of all that was not the guest's own time.
    void run(cpu::LogicalProcessor& lp, sim::Time& now, sim::Time limit, sim::Account& account);

    bool can_run() const;
    VpRef ref() const { return {partition_.id(), index_}; }
    std::uint32_t index() const { return index_; }
    Partition& partition() { return partition_; }
    cpu::LocalApic& apic() { return apic_; }
    SyntheticProcessor& synthetic() { return synthetic_; }
    cpu::GuestContext& guest() { return guest_; }
    void translations_changed() { guest_.translations_changed(); }
    void translation_changed(std::uint64_t linear) { guest_.translation_changed(linear); }
    void abandon_pages() { synthetic_.abandon_pages(); }
    bool running() const { return lp_ != nullptr; }
    sim::Time run_time() const { return state_.run_time; }
    void add_run_time(sim::Time t) { state_.run_time += t; }
    std::uint64_t instructions() const { return state_.instructions; }
    void add_instructions(std::uint64_t n) { state_.instructions += n; }

    // An interrupt message of another processor or a device that this APIC's destination matched.
    void receive(const cpu::ApicMessage& message);
    // The same, after the IPI's latency.
    void receive_later(const cpu::ApicMessage& message, sim::Time at);

    // VpControl
    HvStatus get_register(HvRegister name, HvRegisterValue& value) override;
    HvStatus set_register(HvRegister name, const HvRegisterValue& value) override;
    bool accepts_destination(std::uint64_t address, bool logical) const override;
    HvStatus assert_interrupt(const InterruptRequest& request) override;
    HvStatus post_message(std::uint32_t sint, const HvMessage& message) override;
    HvStatus signal_event(std::uint32_t sint, std::uint16_t flag) override;
    HvOutputTranslateVirtualAddress translate(std::uint64_t gva_page, std::uint64_t flags) override;

    // Each reference of the walk of both levels' tables that an access with its present privilege would take. For
    // whoever looks on: nothing changes, flags and caches included.
    slat::Explanation explain(std::uint64_t linear, mmu::Access access) const;

    template <class Archive>
    void fields(Archive& archive) {
        archive(guest_, apic_, msrs_, synthetic_, state_, arrival_);
        if constexpr (Archive::reading) guest_.set_intercept_iret(state_.nmi_masked);
    }

private:
    struct Arrival {
        sim::Time at;
        cpu::ApicMessage message;

        friend bool operator==(const Arrival&, const Arrival&) = default;
        template <class Archive>
        void fields(Archive& archive) {
            archive(at, message);
        }
    };
    struct State {
        bool startup_suspend = false;    // after INIT, until a start-up IPI
        bool halted = false;             // HLT
        bool idle = false;               // the guest idle register: wakes though RFLAGS.IF is clear
        bool explicit_suspend = true;    // until the root lets it go
        bool intercept_suspend = false;  // the root handles an intercept
        bool nmi_pending = false;
        bool nmi_masked = false;  // until IRET
        bool init_pending = false;
        bool registers_written = true;          // from outside: to be checked before they run
        bool interrupted = false;               // a device's interrupt came while it ran: that is an exit
        std::array<std::uint64_t, 4> posted{};  // of the vectors that are requested, which were
        std::optional<cpu::Event> injection;
        std::deque<Arrival> arrivals;
        sim::Time run_time;
        std::uint64_t instructions = 0;

        friend bool operator==(const State&, const State&) = default;
        template <class Archive>
        void fields(Archive& archive) {
            archive(startup_suspend, halted, idle, explicit_suspend, intercept_suspend, nmi_pending, nmi_masked,
                    init_pending, registers_written, interrupted, posted, injection, arrivals, run_time, instructions);
        }
    };

    // Entry: what is delivered first.
    void prepare_entry();
    void wake_if_runnable();
    void apply_init();
    bool registers_are_valid();
    void arrivals_due();

    // Exits (intercepts.cpp).
    void handle_exit();
    void on_cpuid();
    void on_msr();
    void on_io();
    void on_halt();
    void on_cr8();
    void on_iret();
    void on_shutdown();
    void refuse_access();
    void on_exception(std::uint8_t vector);
    void on_hypercall();
    void on_nested_fault();
    bool nested_fault_was_write() const;
    void emulate_apic_access();
    // device_access.cpp: what was no exit on real hardware. False: it was none of an assigned device's.
    struct AssignedRegisters;
    bool access_assigned_device();
    std::optional<std::uint64_t> read_msr(std::uint32_t number);
    bool write_msr(std::uint32_t number, std::uint64_t value);
    void report_msr(std::uint32_t number, bool is_write, std::uint32_t low, std::uint32_t high);
    InterceptContext intercept_context() const;
    void tell_root(const HvMessage& message);
    void complete() { lp_->complete_instruction(guest_, control_, *now_); }
    // It goes in at the first chance, without the hypervisor.
    bool posted_is_next() const {
        const auto vector = apic_.deliverable();
        return vector && (state_.posted[*vector >> 6] >> (*vector & 63) & 1) != 0;
    }
    void inject(const cpu::Event& event) { state_.injection = event; }
    void charge(sim::Cause cause, sim::Time t);

    // cpu::ApicOutput
    void send(const cpu::ApicMessage& message) override { environment_.send_ipi(*this, message); }
    void end_of_interrupt(std::uint8_t vector, bool level_triggered) override;
    void raise_nmi() override;
    void interrupt_pending() override;

    // cpu::DeviceAccess: the APIC page, for the instruction emulator
    std::optional<std::uint64_t> device_address(std::uint64_t linear, bool write, cpu::Privilege privilege) override;
    std::uint64_t read(std::uint64_t gpa, unsigned size) override;
    void write(std::uint64_t gpa, unsigned size, std::uint64_t value) override;

    // SyntheticPort
    cpu::GuestContext& context() override { return guest_; }
    void request_interrupt(std::uint8_t vector, bool auto_eoi) override { apic_.accept(vector, false, auto_eoi); }
    bool interrupt_waiting() const override { return apic_.any_requested(); }
    void apic_eoi() override { apic_.end_of_interrupt(); }
    std::uint64_t apic_icr() const override { return apic_.icr(); }
    void apic_write_icr(std::uint64_t value) override { apic_.write_icr(value); }
    std::uint8_t apic_tpr() const override { return apic_.tpr(); }
    void apic_write_tpr(std::uint8_t value) override { apic_.set_tpr(value); }
    sim::Time vp_run_time() const override { return state_.run_time; }
    void idle() override { state_.idle = true; }
    void send_ipis(VpMask targets, std::uint8_t vector) override { environment_.send_ipis(*this, targets, vector); }
    void flush_translations(VpMask targets, const TranslationFlush& what) override {
        environment_.flush_translations(*this, targets, what);
    }
    void yield() override { environment_.yield(*this); }
    void charge_hypercall_reps(std::uint32_t reps) override {
        charge(exit_cause(cpu::ExitCode::hypercall), settings_.costs.hypercall_rep * reps);
    }

    sim::Scope scope_;
    Partition& partition_;
    VpEnvironment& environment_;
    VpSettings settings_;
    std::uint32_t index_;
    cpu::GuestContext guest_;
    cpu::ControlBlock control_;
    cpu::LocalApic apic_;
    cpu::MsrStorage msrs_;
    SyntheticProcessor synthetic_;
    mmu::SystemMemory memory_;
    cpu::MmioEmulator emulator_;
    State state_;
    sim::Timer arrival_;

    // While it runs, or its exit is handled.
    cpu::LogicalProcessor* lp_ = nullptr;
    sim::Time* now_ = nullptr;
    sim::Account* account_ = nullptr;

    VpCounters counters_;
};

}  // namespace hypervisor
