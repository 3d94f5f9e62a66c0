// The local APIC: interrupt acceptance and priority, inter-processor interrupts, the local vector table and the timer,
// as an xAPIC (registers by offset) and as an x2APIC (MSRs). A pure state machine; what leaves it goes through a port.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "cpu/local_apic_spec.h"
#include "sim/scope.h"
#include "sim/working_set.h"

namespace cpu {

// An interrupt message as it travels between processors, or from a device.
struct ApicMessage {
    apic::DeliveryMode mode = apic::DeliveryMode::fixed;
    std::uint8_t vector = 0;
    bool logical = false;
    bool level_triggered = false;
    bool assert_level = true;
    std::uint32_t destination = 0;  // 32 bits with an x2APIC sender; 8 otherwise
    enum class Shorthand : std::uint8_t { none, self, all, all_but_self } shorthand = Shorthand::none;

    friend bool operator==(const ApicMessage&, const ApicMessage&) = default;
    template <class Archive>
    void fields(Archive& archive) {
        archive(mode, vector, logical, level_triggered, assert_level, destination, shorthand);
    }
};

// What the APIC does to the world around it.
struct ApicOutput {
    virtual ~ApicOutput() = default;
    // An IPI leaves. Shorthand self stays inside for fixed interrupts.
    virtual void send(const ApicMessage& message) = 0;
    // An EOI. That of a level-triggered interrupt is for the I/O APICs, too.
    virtual void end_of_interrupt(std::uint8_t vector, bool level_triggered) = 0;
    // The local vector table asks for an NMI.
    virtual void raise_nmi() = 0;
    // A request has come in, or one can be delivered that couldn't before.
    virtual void interrupt_pending() = 0;
};

enum class ApicMode : std::uint8_t { disabled, xapic, x2apic };

class LocalApic final {
public:
    // `timer_hz`: the bus clock that the timer counts, before its divider. `tsc_hz` is the clock of deadline mode.
    LocalApic(const sim::Scope& scope, ApicOutput& output, std::uint32_t id, std::uint64_t timer_hz,
              std::uint64_t tsc_hz);

    void reset();
    // INIT keeps the identity and the base register (11.4.7.3).
    void init();

    ApicMode mode() const;
    std::uint32_t id() const { return id_; }
    std::uint64_t base() const { return state_.base; }
    std::uint64_t page() const { return state_.base & 0x3fff'ffff'f000; }
    bool software_enabled() const { return (state_.svr & apic::svr::enable) != 0; }
    // IA32_APIC_BASE (11.12.5): false is #GP, for reserved bits and forbidden transitions.
    [[nodiscard]] bool write_base(std::uint64_t value);

    // xAPIC page access; only aligned 32-bit accesses are defined, others read zeros and do nothing.
    std::uint32_t read_page(std::uint32_t offset, unsigned size);
    void write_page(std::uint32_t offset, unsigned size, std::uint32_t value);
    // MSRs 0x800 to 0x8ff; nothing or false is #GP.
    std::optional<std::uint64_t> read_msr(std::uint32_t number);
    [[nodiscard]] bool write_msr(std::uint32_t number, std::uint64_t value);

    std::uint8_t tpr() const { return static_cast<std::uint8_t>(state_.tpr); }
    void set_tpr(std::uint8_t value);  // CR8 is bits 7:4
    std::uint8_t ppr() const;
    void end_of_interrupt();
    // The 64-bit command register, destination in the upper half: for the synthetic ICR in either mode's layout.
    std::uint64_t icr() const { return state_.icr; }
    void write_icr(std::uint64_t value);

    // The timer (local_apic_timer.cpp).
    // TSC deadline mode. The deadline is an absolute TSC value; `tsc_now` is what the TSC shows now.
    std::uint64_t deadline() const { return state_.deadline; }
    void write_deadline(std::uint64_t deadline, std::uint64_t tsc_now);

    // Whether a message with that destination is for this APIC.
    bool matches(std::uint32_t destination, bool logical) const;
    // A fixed interrupt arrives. With auto_eoi its acknowledgement also ends it.
    void accept(std::uint8_t vector, bool level_triggered, bool auto_eoi = false);
    // The vector the processor would take now; none if priority forbids it.
    std::optional<std::uint8_t> deliverable() const;
    // Takes it into service.
    void acknowledge(std::uint8_t vector);
    bool in_service(std::uint8_t vector) const { return get(state_.isr, vector); }
    bool requested(std::uint8_t vector) const { return get(state_.irr, vector); }
    bool any_requested() const { return highest(state_.irr).has_value(); }
    bool level_triggered(std::uint8_t vector) const { return get(state_.tmr, vector); }

    // What each interrupt needs: of the timer, whether it is armed (sim/working_set.h).
    void add_needs(sim::WorkingSet& set) const {
        set.add_between(&id_, &state_.esr);
        set.add(&timer_, sim::WorkingSet::line_bytes);
    }

    template <class Archive>
    void fields(Archive& archive) {
        archive(state_, timer_);
    }

private:
    using Vectors = std::array<std::uint64_t, 4>;
    struct State {
        Vectors irr{}, isr{}, tmr{}, auto_eoi{};
        std::uint64_t base = apic::base::default_address | apic::base::enable;
        std::uint32_t xapic_id = 0;  // the writable copy of xAPIC mode, bits 31:24
        std::uint32_t tpr = 0;
        std::uint32_t ldr = 0;
        std::uint32_t dfr = ~0u;
        std::uint32_t svr = 0xff;
        std::uint32_t esr = 0;
        std::uint32_t esr_pending = 0;
        std::uint64_t icr = 0;
        std::array<std::uint32_t, 7> lvt{apic::lvt::masked, apic::lvt::masked, apic::lvt::masked, apic::lvt::masked,
                                         apic::lvt::masked, apic::lvt::masked, apic::lvt::masked};
        std::uint32_t timer_initial = 0;
        std::uint32_t timer_divide = 0;
        sim::Time timer_start;  // when timer_count was loaded, or taken over under another divider
        std::uint64_t timer_count = 0;
        bool timer_running = false;
        std::uint64_t deadline = 0;

        friend bool operator==(const State&, const State&) = default;
        template <class Archive>
        void fields(Archive& archive) {
            archive(base, xapic_id, tpr, ldr, dfr, svr, esr, esr_pending, icr, lvt, timer_initial, timer_divide,
                    timer_start, timer_count, timer_running, deadline, irr, isr, tmr, auto_eoi);
        }
    };
    enum LvtIndex { lvt_timer, lvt_thermal, lvt_performance, lvt_lint0, lvt_lint1, lvt_error, lvt_cmci };

    static bool get(const Vectors& v, std::uint8_t n) { return ((v[n / 64] >> (n % 64)) & 1) != 0; }
    static void set(Vectors& v, std::uint8_t n, bool on);
    static std::optional<std::uint8_t> highest(const Vectors& v);
    static std::optional<std::size_t> lvt_index(apic::Reg reg);

    std::uint32_t read(apic::Reg reg, std::uint32_t offset);
    void write(apic::Reg reg, std::uint32_t value);
    void write_lvt(std::size_t index, std::uint32_t value);
    void report_error(std::uint32_t bit);
    void send_icr();
    std::uint32_t x2apic_ldr() const { return (id_ >> 4) << 16 | 1u << (id_ & 0xf); }

    unsigned timer_mode() const { return state_.lvt[lvt_timer] >> apic::lvt::timer_mode_shift & 3; }
    std::uint64_t divider() const;
    sim::Time ticks_to_time(std::uint64_t ticks) const;
    std::uint32_t timer_current() const;
    void start_timer(std::uint32_t count);
    std::uint64_t timer_ticks() const;
    std::uint64_t next_expiry() const;
    void leave_past_periods();
    bool expiry_shows() const;
    void update_timer();
    void timer_expired();

    sim::Scope scope_;
    std::uint32_t id_;
    ApicOutput& output_;
    std::uint64_t timer_hz_;
    std::uint64_t tsc_hz_;
    State state_;
    sim::Timer timer_;
};

}  // namespace cpu
