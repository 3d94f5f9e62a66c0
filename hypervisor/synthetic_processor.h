// The Hyper-V interface of one virtual processor: its synthetic MSRs, interrupt controller (SynIC), timers, VP assist
// page, CPUID leaves, and the entry of its hypercalls.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "cpu/cpuid.h"
#include "cpu/guest_context.h"
#include "hypervisor/synthetic_partition.h"
#include "sim/prefetch.h"
#include "sim/queue.h"
#include "sim/scope.h"

namespace hypervisor {

class RootHypercalls;

// A set of virtual processors of one partition.
using VpMask = std::uint64_t;
static_assert(max_vps_per_partition <= 64);

// What a hypercall wants forgotten of a processor's translations.
struct TranslationFlush {
    bool all_spaces = false;  // or the current one's
    bool non_global_only = false;
    bool everything = true;  // or only `pages`, linear addresses
    std::vector<std::uint64_t> pages;

    friend bool operator==(const TranslationFlush&, const TranslationFlush&) = default;
};

// The processor around it, and what hypercalls do to the others.
class SyntheticPort {
public:
    virtual ~SyntheticPort() = default;
    virtual cpu::GuestContext& context() = 0;
    // A fixed interrupt for the local APIC.
    virtual void request_interrupt(std::uint8_t vector, bool auto_eoi) = 0;
    // Whether anything waits in the APIC behind what is being served.
    virtual bool interrupt_waiting() const = 0;
    virtual void apic_eoi() = 0;
    virtual std::uint64_t apic_icr() const = 0;
    virtual void apic_write_icr(std::uint64_t value) = 0;
    virtual std::uint8_t apic_tpr() const = 0;
    virtual void apic_write_tpr(std::uint8_t value) = 0;
    virtual sim::Time vp_run_time() const = 0;
    // The guest idle register: waits for an interrupt, whatever RFLAGS.IF says.
    virtual void idle() = 0;
    virtual void send_ipis(VpMask targets, std::uint8_t vector) = 0;
    virtual void flush_translations(VpMask targets, const TranslationFlush& what) = 0;
    virtual void yield() = 0;
    virtual void charge_hypercall_reps(std::uint32_t reps) = 0;
};

class SyntheticProcessor final {
public:
    SyntheticProcessor(const sim::Scope& scope, SyntheticPartition& partition, SyntheticPort& port,
                       RootHypercalls& calls, std::uint32_t index);

    // Nothing or false: #GP.
    std::optional<std::uint64_t> read_msr(std::uint32_t number);
    [[nodiscard]] bool write_msr(std::uint32_t number, std::uint64_t value);
    // True if the root may want to hear of this write (reset and crash).
    static bool is_reported(std::uint32_t number) { return number == msr::reset || number == msr::crash_ctl; }
    void adjust_cpuid(std::uint32_t leaf, cpu::CpuidResult& result) const;

    // At the hypercall instruction. False: not finished, the instruction runs again.
    [[nodiscard]] bool hypercall();

    // SynIC, from the outside.
    HvStatus post_message(std::uint32_t sint, const HvMessage& message);
    HvStatus signal_event(std::uint32_t sint, std::uint16_t flag);
    HvStatus get_register(HvRegister name, HvRegisterValue& value);
    HvStatus set_register(HvRegister name, const HvRegisterValue& value);

    // EOI assist (TLFS 10.3.5): before an interrupt is delivered the guest may be excused from its EOI; afterwards what
    // it has done of it is carried out.
    void excuse_eoi(std::uint8_t vector, bool level_triggered);
    // What each interrupt needs, and each message and event (sim/working_set.h).
    void add_needs(sim::WorkingSet& set) const {
        set.add(waiting_);
        set.add(assist_page_);
        set.add(state_.excused);
    }
    void add_call_needs(sim::WorkingSet& set) const { set.add_between(this, &state_.queue); }
    // The word that says so may be fetched (sim/prefetch.h).
    void fetch_ahead() const {
        if (const auto spa = assist_page_.spa()) sim::prefetch(assist_page_.memory().at(*spa, sizeof(std::uint32_t)));
    }
    void settle_eoi();
    // As a guest does at the end of an interrupt: if it is excused it takes the bit away, and all is done.
    [[nodiscard]] bool take_excuse();

    // The guest has ended an interrupt: if it is a SINT's, the next message has its chance (TLFS 11.10.3).
    void interrupt_ended(std::uint8_t vector);

    static constexpr std::size_t message_queue_length = 32;  // of one SINT

    bool hypercalls_enabled() const { return partition_.hypercalls_enabled(); }
    void abandon_pages();

    // To another machine.
    static constexpr std::uint64_t overlay_pages = 3;
    void save_elsewhere(sim::Writer& writer) const;
    [[nodiscard]] bool restore_elsewhere(sim::Reader& reader);

    template <class Archive>
    void fields(Archive& archive) {
        archive(state_, message_page_, event_page_, assist_page_);
        for (auto& timer : timers_) archive(*timer);
        if constexpr (Archive::reading) look_what_waits();
    }

private:
    struct Row;
    static const Row* find(std::uint32_t number);

    struct Message {
        HvMessageHeader header{};
        std::array<std::uint8_t, message_payload_bytes> payload{};

        friend bool operator==(const Message& a, const Message& b) {
            return a.header.message_type == b.header.message_type && a.header.payload_size == b.header.payload_size &&
                   a.header.origin == b.header.origin && a.payload == b.payload;
        }
        template <class Archive>
        void fields(Archive& archive) {
            archive(header.message_type, header.payload_size, header.flags, header.reserved, header.origin, payload);
        }
    };
    struct TimerState {
        std::uint64_t config = 0;
        std::uint64_t count = 0;
        std::uint64_t expiration = 0;          // reference time it is armed for
        bool message_pending = false;          // its SINT's slot was full
        std::uint64_t message_expiration = 0;  // what that message tells

        friend bool operator==(const TimerState&, const TimerState&) = default;
        template <class Archive>
        void fields(Archive& archive) {
            archive(config, count, expiration, message_pending, message_expiration);
        }
    };
    struct State {
        std::optional<std::uint8_t> excused;  // the vector whose EOI the assist page waives
        std::uint64_t scontrol = 0;
        std::array<std::uint64_t, synic_sint_count> sint{};
        std::array<sim::Queue<Message>, synic_sint_count> queue;
        std::array<TimerState, stimer_count> timer{};

        friend bool operator==(const State&, const State&) = default;
        template <class Archive>
        void fields(Archive& archive) {
            archive(scontrol, sint, queue, timer, excused);
        }
    };

    bool has(std::uint64_t privilege) const { return partition_.partition().has_privilege(privilege); }
    std::uint64_t reference_now() const { return partition_.reference_time().at(scope_.now()); }

    [[nodiscard]] bool write_sint(unsigned n, std::uint64_t value);
    bool synic_enabled() const { return (state_.scontrol & scontrol_enable) != 0; }
    bool put_message(unsigned sint, const Message& message, bool more);
    bool waits(unsigned sint) const { return (waiting_ >> sint & 1) != 0; }
    void set_waiting(unsigned bit, bool on) { waiting_ = (waiting_ & ~(1u << bit)) | std::uint32_t{on} << bit; }
    bool timer_waits(unsigned n) const { return state_.timer[n].message_pending; }
    void set_timer_waiting(unsigned n, bool on) {
        state_.timer[n].message_pending = on;
        set_waiting(synic_sint_count + n, on);
    }
    void look_what_waits();
    void retry_messages();
    void retry_messages(unsigned sint);
    void assert_sint(unsigned sint);

    [[nodiscard]] bool write_timer_config(unsigned n, std::uint64_t value);
    [[nodiscard]] bool write_timer_count(unsigned n, std::uint64_t value);
    void arm_timer(unsigned n);
    void timer_expired(unsigned n);
    bool send_timer_message(unsigned n);

    // Hypercalls (child_hypercalls.cpp).
    struct Call;
    HvStatus parse(Call& call) const;
    HvStatus fetch_parameters(Call& call);
    bool store_output(const Call& call);
    HvStatus dispatch(Call& call);
    void name_own_vp(Call& call) const;
    HvStatus flush_space(Call& call, bool ex, bool list);
    static void list_pages(const Call& call, TranslationFlush& what);
    HvStatus send_ipi(Call& call, bool ex);
    HvStatus retarget_interrupt(Call& call);
    std::optional<VpMask> vp_set(const Call& call, std::size_t header_offset, std::size_t words_before = 0) const;
    VpMask all_vps() const;

    sim::Scope scope_;
    SyntheticPartition& partition_;
    SyntheticPort& port_;
    RootHypercalls& calls_;
    std::uint32_t index_;
    // Which SINTs' queues hold something and, behind those, which timers' messages wait: mostly none, and then neither
    // are looked at.
    std::uint32_t waiting_ = 0;
    OverlayPage message_page_;
    OverlayPage event_page_;
    OverlayPage assist_page_;
    State state_;
    std::array<std::unique_ptr<sim::Timer>, stimer_count> timers_;
};

// The privileges that a Linux child is given, and what CPUID says with them.
inline constexpr std::uint64_t child_privileges =
    privilege::access_vp_runtime_msr | privilege::access_partition_reference_counter | privilege::access_synic_msrs |
    privilege::access_synthetic_timer_msrs | privilege::access_apic_msrs | privilege::access_hypercall_msrs |
    privilege::access_vp_index | privilege::access_reset_msr | privilege::access_partition_reference_tsc |
    privilege::access_guest_idle_msr | privilege::access_frequency_msrs | privilege::post_messages |
    privilege::signal_events | privilege::fast_hypercall_output | privilege::enable_extended_hypercalls;

}  // namespace hypervisor
