#include "hypervisor/synthetic_processor.h"

#include <algorithm>
#include <cstring>
#include <string>

#include "sim/bits.h"
#include "sim/check.h"

namespace hypervisor {

namespace {

constexpr slat::PageRights read_write{true, true, false};
constexpr std::uint64_t page_register_defined = page_register::enable | ~std::uint64_t{0xfff};
constexpr std::uint64_t sint_defined =
    sint_register::vector_mask | sint_register::masked | sint_register::auto_eoi | sint_register::polling;

}  // namespace

// Every synthetic MSR: which privilege opens it, and what it reads and writes. A row without a writer is read-only, one
// without a reader write-only; both are #GP the other way.
struct SyntheticProcessor::Row {
    std::uint32_t first;
    std::uint32_t last;
    const char* name;
    std::uint64_t privilege;
    std::uint64_t (*read)(SyntheticProcessor& p, std::uint32_t n);
    bool (*write)(SyntheticProcessor& p, std::uint32_t n, std::uint64_t value);
};

const SyntheticProcessor::Row* SyntheticProcessor::find(std::uint32_t number) {
    using P = SyntheticProcessor;
    using u32 = std::uint32_t;
    using u64 = std::uint64_t;
    namespace pr = privilege;
    static constexpr auto zero = [](P&, u32) -> u64 { return 0; };
    static constexpr auto ignore = [](P&, u32, u64) { return true; };
    static constexpr Row rows[] = {
        {msr::guest_os_id, msr::guest_os_id, "GUEST_OS_ID", pr::access_hypercall_msrs,
         [](P& p, u32) { return p.partition_.guest_os_id(); },
         [](P& p, u32, u64 v) {
             p.partition_.write_guest_os_id(v);
             return true;
         }},
        {msr::hypercall, msr::hypercall, "HYPERCALL", pr::access_hypercall_msrs,
         [](P& p, u32) { return p.partition_.hypercall(); },
         [](P& p, u32, u64 v) { return p.partition_.write_hypercall(v); }},
        {msr::vp_index, msr::vp_index, "VP_INDEX", pr::access_vp_index, [](P& p, u32) -> u64 { return p.index_; },
         nullptr},
        // What a write of 1 does is the root's, which intercepts it.
        {msr::reset, msr::reset, "RESET", pr::access_reset_msr, zero, [](P&, u32, u64 v) { return v <= 1; }},
        {msr::vp_runtime, msr::vp_runtime, "VP_RUNTIME", pr::access_vp_runtime_msr,
         [](P& p, u32) -> u64 { return static_cast<u64>(p.port_.vp_run_time().ps() / 100'000); }, nullptr},
        {msr::time_ref_count, msr::time_ref_count, "TIME_REF_COUNT", pr::access_partition_reference_counter,
         [](P& p, u32) { return p.reference_now(); }, nullptr},
        {msr::reference_tsc, msr::reference_tsc, "REFERENCE_TSC", pr::access_partition_reference_tsc,
         [](P& p, u32) { return p.partition_.reference_tsc(); },
         [](P& p, u32, u64 v) { return (v & ~page_register_defined) == 0 && p.partition_.write_reference_tsc(v); }},
        {msr::tsc_frequency, msr::tsc_frequency, "TSC_FREQUENCY", pr::access_frequency_msrs,
         [](P& p, u32) { return p.partition_.tsc_hz(); }, nullptr},
        {msr::apic_frequency, msr::apic_frequency, "APIC_FREQUENCY", pr::access_frequency_msrs,
         [](P& p, u32) { return p.partition_.apic_hz(); }, nullptr},
        {msr::eoi, msr::eoi, "EOI", pr::access_apic_msrs, nullptr,
         [](P& p, u32, u64 v) {
             if (v >> 32 != 0) return false;
             p.port_.apic_eoi();
             return true;
         }},
        {msr::icr, msr::icr, "ICR", pr::access_apic_msrs, [](P& p, u32) { return p.port_.apic_icr(); },
         [](P& p, u32, u64 v) {
             p.port_.apic_write_icr(v);
             return true;
         }},
        {msr::tpr, msr::tpr, "TPR", pr::access_apic_msrs, [](P& p, u32) -> u64 { return p.port_.apic_tpr(); },
         [](P& p, u32, u64 v) {
             if (v > 0xff) return false;
             p.port_.apic_write_tpr(static_cast<std::uint8_t>(v));
             return true;
         }},
        // Written by Linux whatever its privileges.
        {msr::vp_assist_page, msr::vp_assist_page, "VP_ASSIST_PAGE", 0,
         [](P& p, u32) { return p.assist_page_.value(); },
         [](P& p, u32, u64 v) {
             p.settle_eoi();
             return (v & ~page_register_defined) == 0 && p.assist_page_.set(v);
         }},
        {msr::scontrol, msr::scontrol, "SCONTROL", pr::access_synic_msrs, [](P& p, u32) { return p.state_.scontrol; },
         [](P& p, u32, u64 v) {
             if (v > 1) return false;
             p.state_.scontrol = v;
             p.retry_messages();
             return true;
         }},
        {msr::sversion, msr::sversion, "SVERSION", pr::access_synic_msrs,
         [](P&, u32) -> u64 { return synic_version_1; }, nullptr},
        {msr::siefp, msr::siefp, "SIEFP", pr::access_synic_msrs, [](P& p, u32) { return p.event_page_.value(); },
         [](P& p, u32, u64 v) { return (v & ~page_register_defined) == 0 && p.event_page_.set(v); }},
        {msr::simp, msr::simp, "SIMP", pr::access_synic_msrs, [](P& p, u32) { return p.message_page_.value(); },
         [](P& p, u32, u64 v) {
             if ((v & ~page_register_defined) != 0 || !p.message_page_.set(v)) return false;
             p.retry_messages();
             return true;
         }},
        {msr::eom, msr::eom, "EOM", pr::access_synic_msrs, nullptr,
         [](P& p, u32, u64 v) {
             if (v != 0) return false;
             p.retry_messages();
             return true;
         }},
        {msr::sint0, msr::sint15, "SINTx", pr::access_synic_msrs,
         [](P& p, u32 n) { return p.state_.sint[n - msr::sint0]; },
         [](P& p, u32 n, u64 v) { return p.write_sint(n - msr::sint0, v); }},
        {msr::stimer0_config, msr::stimer3_count, "STIMERx", pr::access_synthetic_timer_msrs,
         [](P& p, u32 n) {
             const TimerState& t = p.state_.timer[(n - msr::stimer0_config) / 2];
             return (n & 1) != 0 ? t.count : t.config;
         },
         [](P& p, u32 n, u64 v) {
             const unsigned timer = (n - msr::stimer0_config) / 2;
             return (n & 1) != 0 ? p.write_timer_count(timer, v) : p.write_timer_config(timer, v);
         }},
        {msr::guest_idle, msr::guest_idle, "GUEST_IDLE", pr::access_guest_idle_msr,
         [](P& p, u32) -> u64 {
             p.port_.idle();
             return 0;
         },
         nullptr},
        {msr::crash_p0, msr::crash_p4, "CRASH_Px", 0,
         [](P& p, u32 n) { return p.partition_.crash_parameters()[n - msr::crash_p0]; },
         [](P& p, u32 n, u64 v) {
             p.partition_.crash_parameters()[n - msr::crash_p0] = v;
             return true;
         }},
        {msr::crash_ctl, msr::crash_ctl, "CRASH_CTL", 0,
         [](P&, u32) -> u64 { return crash_control::crash_notify | crash_control::crash_message; },
         [](P& p, u32, u64 v) {
             p.partition_.crash_control() = v;
             return true;
         }},
        {msr::reenlightenment_control, msr::reenlightenment_control, "REENLIGHTENMENT_CONTROL",
         pr::access_reenlightenment_controls, [](P& p, u32) { return p.partition_.reenlightenment(); },
         [](P& p, u32, u64 v) {
             if ((v & ~reenlightenment_register::defined) != 0) return false;
             p.partition_.reenlightenment() = v;
             return true;
         }},
        {msr::tsc_emulation_control, msr::tsc_emulation_control, "TSC_EMULATION_CONTROL",
         pr::access_reenlightenment_controls, [](P& p, u32) { return p.partition_.tsc_emulation_control(); },
         [](P& p, u32, u64 v) {
             p.partition_.tsc_emulation_control() = v & 1;
             return v <= 1;
         }},
        {msr::tsc_emulation_status, msr::tsc_emulation_status, "TSC_EMULATION_STATUS",
         pr::access_reenlightenment_controls, zero, ignore},
        {msr::tsc_invariant_control, msr::tsc_invariant_control, "TSC_INVARIANT_CONTROL",
         pr::access_tsc_invariant_controls, [](P& p, u32) -> u64 { return p.partition_.invariant_tsc() ? 1 : 0; },
         [](P& p, u32, u64 v) {
             if (v > 1 || (p.partition_.invariant_tsc() && v == 0)) return false;
             p.partition_.invariant_tsc() = v != 0;
             return true;
         }},
    };
    for (const Row& row : rows) {
        if (number >= row.first && number <= row.last) return &row;
    }
    return nullptr;
}

SyntheticProcessor::SyntheticProcessor(const sim::Scope& scope, SyntheticPartition& partition, SyntheticPort& port,
                                       RootHypercalls& calls, std::uint32_t index)
    : scope_(scope),
      partition_(partition),
      port_(port),
      calls_(calls),
      index_(index),
      message_page_(partition.partition().gpa_space(), partition.memory(), read_write),
      event_page_(partition.partition().gpa_space(), partition.memory(), read_write),
      assist_page_(partition.partition().gpa_space(), partition.memory(), read_write) {
    for (unsigned n = 0; n < stimer_count; ++n) {
        timers_[n] = std::make_unique<sim::Timer>(scope.agenda(), scope.path() + ".stimer" + std::to_string(n),
                                                  [this, n] { timer_expired(n); });
    }
    state_.sint.fill(sint_register::at_reset);
}

void SyntheticProcessor::reset() {
    for (auto& timer : timers_) timer->disarm();
    message_page_.reset();
    event_page_.reset();
    assist_page_.reset();
    state_ = State{};
    state_.sint.fill(sint_register::at_reset);
}

std::optional<std::uint64_t> SyntheticProcessor::read_msr(std::uint32_t number) {
    const Row* row = find(number);
    if (row == nullptr || row->read == nullptr || !has(row->privilege)) return std::nullopt;
    return row->read(*this, number);
}

bool SyntheticProcessor::write_msr(std::uint32_t number, std::uint64_t value) {
    const Row* row = find(number);
    return row != nullptr && row->write != nullptr && has(row->privilege) && row->write(*this, number, value);
}

// What the partition may do and what is implemented, in the words of TLFS chapter 2.
void SyntheticProcessor::adjust_cpuid(std::uint32_t leaf, cpu::CpuidResult& result) const {
    const std::uint64_t privileges = partition_.partition().privileges();
    switch (leaf) {
        case hv_leaf::vendor_and_max:
            result = {hv_leaf::hardware_features, hv_signature_ebx, hv_signature_ecx, hv_signature_edx};
            break;
        case hv_leaf::interface:
            result = {hv_interface_hv1, 0, 0, 0};
            break;
        case hv_leaf::version:
            result = {20348, 10u << 16, 0, 0};
            break;
        case hv_leaf::features:
            result = {static_cast<std::uint32_t>(privileges), static_cast<std::uint32_t>(privileges >> 32), 0,
                      hv_feature::hypercall_xmm_input | hv_feature::guest_idle_state | hv_feature::frequency_msrs |
                          hv_feature::guest_crash_msrs | hv_feature::hypercall_xmm_output |
                          hv_feature::sint_polling_mode | hv_feature::hypercall_msr_lock |
                          hv_feature::direct_synthetic_timers};
            break;
        case hv_leaf::enlightenments:
            result = {hv_hint::hypercall_for_remote_flush | hv_hint::apic_msrs | hv_hint::relaxed_timing |
                          hv_hint::deprecate_auto_eoi | hv_hint::synthetic_cluster_ipi | hv_hint::ex_processor_masks,
                      long_spin_wait_never, 0, 0};
            break;
        case hv_leaf::limits:
            result = {max_vps_per_partition, max_logical_processors, 0, 0};
            break;
        case hv_leaf::hardware_features:
            result = {0xf, 0, 0, 0};
            break;
        case 0x8000'0007:
            if (partition_.invariant_tsc()) result.edx |= cpu::cpuid_bit::leaf80000007_edx_invariant_tsc;
            break;
        default:
            break;
    }
}

// --- SynIC (TLFS chapter 11) --------------------------------------------------------------------------------------

bool SyntheticProcessor::write_sint(unsigned n, std::uint64_t value) {
    value &= sint_defined;
    const std::uint64_t vector = value & sint_register::vector_mask;
    if (vector < synic_first_valid_vector && (value & sint_register::masked) == 0) return false;
    state_.sint[n] = value;
    return true;
}

void SyntheticProcessor::assert_sint(unsigned sint) {
    const std::uint64_t s = state_.sint[sint];
    if ((s & (sint_register::masked | sint_register::polling)) != 0) return;
    port_.request_interrupt(static_cast<std::uint8_t>(s), (s & sint_register::auto_eoi) != 0);
}

// Into the slot if it is free; otherwise the slot says that more waits (TLFS 11.10.1).
bool SyntheticProcessor::put_message(unsigned sint, const Message& message) {
    if (!synic_enabled() || !message_page_.enabled()) return false;
    const mmu::SystemMemory memory = message_page_.memory();
    const std::uint64_t slot = *message_page_.spa() + sint * std::uint64_t{message_bytes};
    constexpr std::uint64_t flags_offset = 5;
    if (memory.load<std::uint32_t>(slot) != static_cast<std::uint32_t>(HvMessageType::none)) {
        memory.store<std::uint8_t>(slot + flags_offset,
                                   memory.load<std::uint8_t>(slot + flags_offset) | message_flag_pending);
        return false;
    }
    HvMessage whole{};
    whole.header = message.header;
    whole.header.flags = state_.queue[sint].size() > 1 ? message_flag_pending : 0;
    std::copy(message.payload.begin(), message.payload.end(), std::begin(whole.payload));
    VG_CHECK(memory.write(slot, std::as_bytes(std::span{&whole, 1})));
    return true;
}

HvStatus SyntheticProcessor::post_message(std::uint32_t sint, const HvMessage& message) {
    if (sint >= synic_sint_count) return HvStatus::invalid_parameter;
    if (!synic_enabled() || !message_page_.enabled()) return HvStatus::invalid_synic_state;
    auto& queue = state_.queue[sint];
    if (queue.size() >= message_queue_length) return HvStatus::insufficient_buffers;
    Message copy;
    copy.header = message.header;
    std::copy(std::begin(message.payload), std::end(message.payload), copy.payload.begin());
    queue.push_back(copy);
    scope_.trace("synic_message", sint, message.header.message_type, message.header.origin);
    retry_messages();
    return HvStatus::success;
}

void SyntheticProcessor::retry_messages() {
    for (unsigned sint = 0; sint < synic_sint_count; ++sint) {
        auto& queue = state_.queue[sint];
        if (!queue.empty() && put_message(sint, queue.front())) {
            queue.pop_front();
            assert_sint(sint);
        }
    }
    for (unsigned n = 0; n < stimer_count; ++n) {
        if (state_.timer[n].message_pending && send_timer_message(n)) state_.timer[n].message_pending = false;
    }
}

HvStatus SyntheticProcessor::signal_event(std::uint32_t sint, std::uint16_t flag) {
    if (sint >= synic_sint_count || flag >= event_flags_per_sint) return HvStatus::invalid_parameter;
    if (!synic_enabled() || !event_page_.enabled()) return HvStatus::invalid_synic_state;
    const mmu::SystemMemory memory = event_page_.memory();
    const std::uint64_t at = *event_page_.spa() + sint * std::uint64_t{event_flags_bytes} + flag / 8;
    const auto bit = static_cast<std::uint8_t>(1u << (flag % 8));
    const auto before = memory.load<std::uint8_t>(at);
    memory.store<std::uint8_t>(at, before | bit);
    scope_.trace("synic_event", sint, flag);
    if ((before & bit) == 0) assert_sint(sint);
    return HvStatus::success;
}

// --- Synthetic timers (TLFS 12.4) ---------------------------------------------------------------------------------

bool SyntheticProcessor::write_timer_config(unsigned n, std::uint64_t value) {
    if ((value & ~stimer_config::defined) != 0) return false;
    TimerState& t = state_.timer[n];
    const bool direct = (value & stimer_config::direct_mode) != 0;
    const std::uint64_t vector = value >> stimer_config::apic_vector_shift & 0xff;
    if (direct && (value & stimer_config::enable) != 0 && vector < 16) return false;
    // SINT 0 is the hypervisor's own: a message timer without a SINT can't be enabled.
    const bool sint0 = (value >> stimer_config::sintx_shift & 0xf) == 0;
    if (!direct && sint0) value &= ~stimer_config::enable;
    t.config = value;
    t.message_pending = false;
    if (t.count == 0) t.config &= ~stimer_config::enable;
    arm_timer(n);
    return true;
}

bool SyntheticProcessor::write_timer_count(unsigned n, std::uint64_t value) {
    TimerState& t = state_.timer[n];
    t.count = value;
    t.message_pending = false;
    const bool direct = (t.config & stimer_config::direct_mode) != 0;
    const bool usable = direct || (t.config >> stimer_config::sintx_shift & 0xf) != 0;
    if (value == 0) {
        t.config &= ~stimer_config::enable;
    } else if ((t.config & stimer_config::auto_enable) != 0 && usable) {
        t.config |= stimer_config::enable;
    }
    arm_timer(n);
    return true;
}

void SyntheticProcessor::arm_timer(unsigned n) {
    TimerState& t = state_.timer[n];
    if ((t.config & stimer_config::enable) == 0 || t.count == 0) {
        timers_[n]->disarm();
        return;
    }
    const bool periodic = (t.config & stimer_config::periodic) != 0;
    // A period is at least the hypervisor's own tick of 100 us, so that no guest can drown itself and us.
    constexpr std::uint64_t shortest_period = 1000;
    t.expiration = periodic ? reference_now() + std::max(t.count, shortest_period) : t.count;
    timers_[n]->arm(std::max(scope_.now(), partition_.reference_time().when(t.expiration)));
}

void SyntheticProcessor::timer_expired(unsigned n) {
    TimerState& t = state_.timer[n];
    scope_.trace("stimer", n, t.expiration);
    if ((t.config & stimer_config::direct_mode) != 0) {
        port_.request_interrupt(static_cast<std::uint8_t>(t.config >> stimer_config::apic_vector_shift), false);
    } else {
        t.message_pending = !send_timer_message(n);
    }
    if ((t.config & stimer_config::periodic) != 0) {
        constexpr std::uint64_t shortest_period = 1000;
        t.expiration += std::max(t.count, shortest_period);
        timers_[n]->arm(std::max(scope_.now(), partition_.reference_time().when(t.expiration)));
    } else {
        t.config &= ~stimer_config::enable;
    }
}

bool SyntheticProcessor::send_timer_message(unsigned n) {
    const TimerState& t = state_.timer[n];
    const auto sint = static_cast<unsigned>(t.config >> stimer_config::sintx_shift & 0xf);
    // Messages of the queue go first: their order is their senders'.
    if (!state_.queue[sint].empty()) return false;
    const HvTimerMessagePayload payload{n, 0, t.expiration, reference_now()};
    Message message;
    message.header.message_type = static_cast<std::uint32_t>(HvMessageType::timer_expired);
    message.header.payload_size = sizeof payload;
    std::memcpy(message.payload.data(), &payload, sizeof payload);
    if (!put_message(sint, message)) return false;
    assert_sint(sint);
    return true;
}

// --- EOI assist (TLFS 10.3.5) -------------------------------------------------------------------------------------

void SyntheticProcessor::excuse_eoi(std::uint8_t vector, bool level_triggered) {
    if (!assist_page_.enabled() || level_triggered || port_.interrupt_waiting()) return;
    assist_page_.memory().store<std::uint32_t>(*assist_page_.spa(), apic_assist_no_eoi_required);
    state_.excused = vector;
}

// The guest that ends an interrupt takes the bit away. One that is still there is taken back when something waits.
void SyntheticProcessor::settle_eoi() {
    if (!state_.excused || !assist_page_.spa()) return;
    const mmu::SystemMemory memory = assist_page_.memory();
    const std::uint64_t at = *assist_page_.spa();
    if ((memory.load<std::uint32_t>(at) & apic_assist_no_eoi_required) == 0) {
        state_.excused.reset();
        port_.apic_eoi();
    } else if (port_.interrupt_waiting()) {
        memory.store<std::uint32_t>(at, 0);
        state_.excused.reset();
    }
}

// --- Registers by name (TLFS 7.8): those of this file's MSRs ------------------------------------------------------

namespace {

std::optional<std::uint32_t> msr_of(HvRegister name) {
    const auto n = static_cast<std::uint32_t>(name);
    const auto family = [n](HvRegister first, std::uint32_t count, std::uint32_t base) -> std::optional<std::uint32_t> {
        const std::uint32_t i = n - static_cast<std::uint32_t>(first);
        return i < count ? std::optional{base + i} : std::nullopt;
    };
    if (const auto m = family(HvRegister::sint0, 16, msr::sint0)) return m;
    if (const auto m = family(HvRegister::stimer0_config, 8, msr::stimer0_config)) return m;
    if (const auto m = family(HvRegister::guest_crash_p0, 6, msr::crash_p0)) return m;
    switch (name) {
        case HvRegister::guest_os_id:
            return msr::guest_os_id;
        case HvRegister::x64_hypercall:
            return msr::hypercall;
        case HvRegister::vp_runtime:
            return msr::vp_runtime;
        case HvRegister::time_ref_count:
            return msr::time_ref_count;
        case HvRegister::reference_tsc:
            return msr::reference_tsc;
        case HvRegister::vp_assist_page:
            return msr::vp_assist_page;
        case HvRegister::scontrol:
            return msr::scontrol;
        case HvRegister::sversion:
            return msr::sversion;
        case HvRegister::siefp:
            return msr::siefp;
        case HvRegister::simp:
            return msr::simp;
        case HvRegister::eom:
            return msr::eom;
        case HvRegister::processor_clock_frequency:
            return msr::tsc_frequency;
        case HvRegister::interrupt_clock_frequency:
            return msr::apic_frequency;
        default:
            return std::nullopt;
    }
}

}  // namespace

HvStatus SyntheticProcessor::get_register(HvRegister name, HvRegisterValue& value) {
    const auto number = msr_of(name);
    if (!number) return HvStatus::unknown_register_name;
    const Row* row = find(*number);
    if (row == nullptr || row->read == nullptr) return HvStatus::access_denied;
    value = {*number == msr::crash_ctl ? partition_.crash_control() : row->read(*this, *number), 0};
    return HvStatus::success;
}

HvStatus SyntheticProcessor::set_register(HvRegister name, const HvRegisterValue& value) {
    const auto number = msr_of(name);
    if (!number) return HvStatus::unknown_register_name;
    const Row* row = find(*number);
    if (row == nullptr || row->write == nullptr) return HvStatus::access_denied;
    return row->write(*this, *number, value.low) ? HvStatus::success : HvStatus::invalid_register_value;
}

}  // namespace hypervisor
