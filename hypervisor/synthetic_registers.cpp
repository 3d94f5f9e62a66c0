// The registers of a virtual processor's Hyper-V interface: synthetic MSRs, the same by their TLFS names, CPUID leaves.
#include "hypervisor/synthetic_processor.h"

namespace hypervisor {

// Reserved bits of the page registers, of SCONTROL and of SINTx are kept as they are written (RsvdP in the TLFS).
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
         [](P& p, u32, u64 v) { return p.partition_.write_reference_tsc(v); }},
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
             return p.assist_page_.set(v);
         }},
        {msr::scontrol, msr::scontrol, "SCONTROL", pr::access_synic_msrs, [](P& p, u32) { return p.state_.scontrol; },
         [](P& p, u32, u64 v) {
             p.state_.scontrol = v;
             p.retry_messages();
             return true;
         }},
        {msr::sversion, msr::sversion, "SVERSION", pr::access_synic_msrs,
         [](P&, u32) -> u64 { return synic_version_1; }, nullptr},
        {msr::siefp, msr::siefp, "SIEFP", pr::access_synic_msrs, [](P& p, u32) { return p.event_page_.value(); },
         [](P& p, u32, u64 v) { return p.event_page_.set(v); }},
        {msr::simp, msr::simp, "SIMP", pr::access_synic_msrs, [](P& p, u32) { return p.message_page_.value(); },
         [](P& p, u32, u64 v) {
             if (!p.message_page_.set(v)) return false;
             p.retry_messages();
             return true;
         }},
        {msr::eom, msr::eom, "EOM", pr::access_synic_msrs, zero,
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
             if (v > 1) return false;
             p.partition_.tsc_emulation_control() = v;
             return true;
         }},
        {msr::tsc_emulation_status, msr::tsc_emulation_status, "TSC_EMULATION_STATUS",
         pr::access_reenlightenment_controls, zero, [](P&, u32, u64 v) { return v <= 1; }},
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
            result = {hv_hardware_feature::apic_overlay_assist | hv_hardware_feature::msr_bitmaps |
                          hv_hardware_feature::second_level_translation,
                      0, 0, 0};
            break;
        case 0x8000'0007:
            if (partition_.invariant_tsc()) result.edx |= cpu::cpuid_bit::leaf80000007_edx_invariant_tsc;
            break;
        default:
            break;
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
