// A virtual processor of a child partition that executes no instructions: its software is C++, and its work comes in
// pieces that say what they cost (sim/processor.h). Everything else is a virtual processor's: it is scheduled among the
// others, it has a local APIC and the Hyper-V interface, takes interrupts, exits for hypercalls and registers, and
// stands in intercepts until the root lets it go on. Each of that costs what it costs a processor with machine code.
//
// What a piece wants done outside is an action: it waits in order until the processor comes to it, costs its time, and
// then happens. Actions go before interrupts, and those before the next piece. Nothing is divided.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <vector>

#include "cpu/guest_context.h"
#include "cpu/local_apic.h"
#include "hypervisor/cpu_ledger.h"
#include "hypervisor/exit_costs.h"
#include "hypervisor/intercept_messages.h"
#include "hypervisor/partition.h"
#include "hypervisor/synthetic_processor.h"
#include "sim/ledger.h"
#include "sim/queue.h"
#include "sim/scope.h"
#include "sim/working_set.h"

namespace hypervisor {

class BehaviouralProcessor;

// What runs there. It belongs to the model of the guest, and outlives the processor: a restored checkpoint makes the
// processor anew.
class VpSoftware {
public:
    // On this processor from now on; null: on none.
    virtual void placed(BehaviouralProcessor* processor) = 0;
    // The next piece of work and its cost; nothing: there is none.
    virtual std::optional<sim::Time> begin() = 0;
    // What that piece consists of.
    virtual void account(sim::Account& account) const = 0;
    virtual void finish() = 0;
    // The processor has taken this interrupt. Its end follows behind what the handler wants done.
    virtual void interrupt(std::uint8_t vector) = 0;
    // It is about to be asked for work, after a while. True: it has fetched what the processor needs
    // (sim/prefetch.h).
    virtual bool expected() { return false; }
    // What an action was for.
    virtual void resume(std::uint32_t who, std::uint32_t step, std::uint64_t value) = 0;

protected:
    ~VpSoftware() = default;
};

class BehaviouralEnvironment {
public:
    virtual ~BehaviouralEnvironment() = default;
    // It may have something to do.
    virtual void wake(BehaviouralProcessor& vp) = 0;
    virtual void intercept(const HvMessage& message) = 0;
    virtual DevicePort* device_port() = 0;
    virtual void send_ipi(BehaviouralProcessor& from, const cpu::ApicMessage& message) = 0;
    virtual void send_ipis(BehaviouralProcessor& from, VpMask targets, std::uint8_t vector) = 0;
    virtual void yield(BehaviouralProcessor& vp) = 0;
    virtual Causes& causes() = 0;
};

// Of all of them: what each goes by is in the computer's caches once.
struct BehaviouralSettings {
    ExitCosts costs;
    std::uint64_t tsc_hz = 0;
    std::uint64_t apic_hz = 0;
};

class BehaviouralProcessor final : public VpControl, private cpu::ApicOutput, private SyntheticPort {
public:
    // The settings outlive it.
    BehaviouralProcessor(const sim::Scope& scope, SyntheticPartition& synthetic, RootHypercalls& calls,
                         std::uint32_t index, BehaviouralEnvironment& environment, const BehaviouralSettings& settings,
                         const cpu::EngineState& pristine);
    ~BehaviouralProcessor() override { set_software(nullptr); }
    BehaviouralProcessor(const BehaviouralProcessor&) = delete;

    // Null: it does nothing.
    void set_software(VpSoftware* software);

    // Actions
    static constexpr std::uint32_t nobody = ~0u;
    void charge(sim::Cause cause, sim::Time time, std::uint32_t who = nobody, std::uint32_t step = 0,
                std::uint64_t value = 0);
    // HvCallPostMessage and HvCallSignalEvent, as its kernel makes them: the parameters of the first are in the page
    // that is set here. What comes of them nobody hears; what does not succeed is counted.
    void set_hypercall_page(std::uint64_t gpa) { state_.hypercall_page = gpa; }
    void call_post_message(std::uint32_t connection, std::span<const std::byte> payload);
    void call_signal_event(std::uint32_t connection, std::uint16_t flag);
    // HvCallSendSyntheticClusterIpi.
    void send_ipi(VpMask targets, std::uint8_t vector);
    void write_msr(std::uint32_t number, std::uint64_t value, std::uint32_t who = nobody, std::uint32_t step = 0);
    // Device registers and ports. Of 1, 2, 4 or 8 bytes; ports of 1, 2 or 4.
    void write_register(std::uint64_t gpa, unsigned bytes, std::uint64_t value);
    void read_register(std::uint64_t gpa, unsigned bytes, std::uint32_t who, std::uint32_t step);
    void write_port(std::uint16_t port, unsigned bytes, std::uint32_t value);
    void read_port(std::uint16_t port, unsigned bytes, std::uint32_t who, std::uint32_t step);
    // What is needed when it is at work: its own, and its partition's devices'. And where it calls the hypervisor: for
    // the call, and for whom it sends to and is sent to by.
    void gather(sim::GatheredSet& all) const {
        all.add(needs_);
        all.add(partition_.device_needs());
    }
    void gather_call(sim::GatheredSet& all) const {
        all.add(call_needs_);
        all.add(partition_.port_needs());
    }
    sim::WorkingSet& needs() { return needs_; }
    // And what has no place of its own.
    void fetch_next() const { synthetic_.fetch_ahead(); }
    // It has a new piece of work.
    void work_arrived() { wake(); }

    // Guest memory as this processor's software sees it, overlays and all.
    GuestMemory& memory() { return partition_.gpa_space(); }

    // That byte of it will be needed soon.
    void expect(std::uint64_t gpa) const { partition_.gpa_space().expect(gpa); }

    // For a logical processor: what it does next, what that costs and what for; nothing: it blocks. Then, after that
    // time, finish().
    std::optional<sim::Time> begin(sim::Account& account);
    void finish();

    VpRef ref() const { return ref_; }
    std::uint32_t index() const { return ref_.vp; }
    cpu::LocalApic& apic() { return apic_; }
    bool suspended() const { return state_.explicit_suspend || state_.intercept_suspend; }
    sim::Time run_time() const { return state_.run_time; }
    // What begin() has begun is its software's own work.
    bool in_software() const { return state_.at_work == AtWork::piece; }
    // That takes so much longer, for memory.
    void add_wait(sim::Time wait) {
        state_.run_time += wait;
        counters_.busy.add(static_cast<std::uint64_t>(wait.ps()));
    }
    // Suspended, and in the middle of nothing.
    bool stands() const { return state_.explicit_suspend && state_.at_work == AtWork::nothing; }
    // The software's stores leave dirty flags now: they go through memory().
    bool stores_tracked() const { return partition_.gpa_space().tracking(); }
    void abandon_pages() { synthetic_.abandon_pages(); }
    // From another processor of the partition, after the latency.
    void receive_later(const cpu::ApicMessage& message, sim::Time at);

    // VpControl
    HvStatus get_register(HvRegister name, HvRegisterValue& value) override;
    HvStatus set_register(HvRegister name, const HvRegisterValue& value) override;
    bool accepts_destination(std::uint64_t address, bool logical) const override;
    HvStatus assert_interrupt(const InterruptRequest& request) override;
    HvStatus post_message(std::uint32_t sint, const HvMessage& message) override;
    HvStatus signal_event(std::uint32_t sint, std::uint16_t flag) override;
    HvOutputTranslateVirtualAddress translate(std::uint64_t gva_page, std::uint64_t flags) override;

    // To another machine (HvCallSavePartitionState). The software does not go along.
    void save_elsewhere(sim::Writer& writer);
    [[nodiscard]] bool restore_elsewhere(sim::Reader& reader);

    template <class Archive>
    void fields(Archive& archive) {
        archive(guest_, apic_, synthetic_, state_, arrival_);
    }

private:
    enum class Kind : std::uint8_t {
        charge,
        post_message,
        signal_event,
        send_ipi,
        write_msr,
        write_register,
        read_register,
        write_port,
        read_port,
        end_of_interrupt,
    };
    struct Action {
        Kind kind = Kind::charge;
        std::uint8_t bytes = 0;
        std::uint16_t cause = 0;
        std::uint32_t who = nobody;
        std::uint32_t step = 0;
        std::uint64_t address = 0;
        std::uint64_t value = 0;
        sim::Time time;
        std::vector<std::byte> payload;

        friend bool operator==(const Action&, const Action&) = default;
        template <class Archive>
        void fields(Archive& archive) {
            archive(kind, bytes, cause, who, step, address, value, time, payload);
        }
    };
    struct Arrival {
        sim::Time at;
        cpu::ApicMessage message;

        friend bool operator==(const Arrival&, const Arrival&) = default;
        template <class Archive>
        void fields(Archive& archive) {
            archive(at, message);
        }
    };
    // What it is doing, from begin() to finish().
    enum class AtWork : std::uint8_t { nothing, piece, action, answer, interrupt, halt };
    struct State {
        bool explicit_suspend = true;    // until the root lets it go
        bool intercept_suspend = false;  // the root handles an intercept
        bool halted = true;              // it has found nothing to do, and waits for an interrupt
        bool interrupted = false;        // an interrupt came while its software was at work: that is an exit
        AtWork at_work = AtWork::nothing;
        std::uint8_t vector = 0;  // of the interrupt that is being taken
        sim::Queue<Action> actions;
        bool accessing = false;  // the root has been asked for this
        Action access;
        std::uint64_t hypercall_page = 0;
        std::deque<Arrival> arrivals;
        sim::Time run_time;

        friend bool operator==(const State&, const State&) = default;
        template <class Archive>
        void fields(Archive& archive) {
            archive(explicit_suspend, intercept_suspend, halted, interrupted, at_work, vector, actions, accessing,
                    access, hypercall_page, arrivals, run_time);
        }
    };
    struct Counters {
        explicit Counters(const sim::Scope& scope);
        sim::Counter& pieces;
        sim::Counter& busy;
        sim::Counter& exits;
        sim::Counter& hypercalls;
        sim::Counter& refused;
        sim::Counter& msr_writes;
        sim::Counter& io;
        sim::Counter& memory;
        sim::Counter& halts;
        sim::Counter& interrupt_exits;
        sim::Counter& interrupts;
        sim::Counter& device_accesses;
    };

    void wake();
    void expect();
    Action& add(Kind kind);
    void add_access(Kind kind, std::uint64_t address, unsigned bytes, std::uint64_t value, std::uint32_t who,
                    std::uint32_t step);
    std::optional<sim::Time> begin_step(sim::Account& account);
    sim::Time exit(sim::Account& account, sim::Counter& counter, sim::Cause cause, sim::Time handling);
    // behavioural_actions.cpp
    sim::Time begin_action(Action& action, sim::Account& account);
    std::optional<sim::Time> access_device(Action& action);
    bool access_memory(Action& action);
    void finish_action();
    void make_hypercall(std::uint64_t control, std::uint64_t input);
    void post(const Action& action);
    void intercept_port(const Action& action);
    void intercept_memory(const Action& action);
    InterceptContext intercept_context() const;
    void finish_access();

    void receive(const cpu::ApicMessage& message);
    void arrivals_due();

    // cpu::ApicOutput
    void send(const cpu::ApicMessage& message) override { environment_.send_ipi(*this, message); }
    void end_of_interrupt(std::uint8_t vector, bool level_triggered) override;
    void raise_nmi() override {}
    void interrupt_pending() override;

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
    void idle() override {}
    void send_ipis(VpMask targets, std::uint8_t vector) override { environment_.send_ipis(*this, targets, vector); }
    void flush_translations(VpMask, const TranslationFlush&) override {}  // its software has no page tables
    void yield() override { environment_.yield(*this); }
    void charge_hypercall_reps(std::uint32_t reps) override;

    sim::Scope scope_;
    Partition& partition_;
    BehaviouralEnvironment& environment_;
    const BehaviouralSettings& settings_;
    VpRef ref_;
    VpSoftware* software_ = nullptr;
    cpu::GuestContext guest_;
    cpu::LocalApic apic_;
    SyntheticProcessor synthetic_;
    State state_;
    sim::Timer arrival_;
    Counters counters_;
    sim::WorkingSet needs_, call_needs_;
    bool expected_ = false;  // what it needs has been fetched
};

}  // namespace hypervisor
