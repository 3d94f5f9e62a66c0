// What the root wants to hear of in a partition (HvCallInstallIntercept), and what CPUID and MSR accesses give without
// asking it (HvCallRegisterInterceptResult). Consulted on every exit, so the questions are cheap.
#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>

#include "hypervisor/tlfs_root_hypercalls.h"

namespace hypervisor {

struct CpuidRegisters {
    std::uint32_t eax = 0;
    std::uint32_t ebx = 0;
    std::uint32_t ecx = 0;
    std::uint32_t edx = 0;

    friend bool operator==(const CpuidRegisters&, const CpuidRegisters&) = default;
    template <class Archive>
    void fields(Archive& archive) {
        archive(eax, ebx, ecx, edx);
    }
};

// HV_REGISTER_X64_CPUID_RESULT_PARAMETERS: the bits of `mask` come from `value`, the others stay.
struct CpuidResult {
    std::uint32_t leaf = 0;
    std::uint32_t subleaf = 0;
    bool subleaf_specific = false;
    bool always_override = false;  // also where the hypervisor computes the bits itself
    std::uint32_t vp_index = hv_any_vp;
    CpuidRegisters value;
    CpuidRegisters mask;

    friend bool operator==(const CpuidResult&, const CpuidResult&) = default;
    template <class Archive>
    void fields(Archive& archive) {
        archive(leaf, subleaf, subleaf_specific, always_override, vp_index, value, mask);
    }
};

// HV_UNIMPLEMENTED_MSR_ACTION.
enum class MsrAction : std::uint32_t { fault = 0, ignore_write_read_zero = 1 };

class InterceptTable final {
public:
    // False: no such type, or an access that the type does not know, or a parameter out of range. A mask of none
    // removes the intercept.
    [[nodiscard]] bool install(std::uint32_t access, std::uint32_t type, std::uint64_t parameter);

    // Whether any byte of the access is intercepted.
    bool io_port(std::uint16_t port, unsigned size, bool write) const;
    // `implemented`: the hypervisor would answer it.
    bool msr(std::uint32_t index, bool write, bool implemented) const;
    bool cpuid(std::uint32_t leaf) const { return state_.global_cpuid || state_.cpuid.contains(leaf); }
    bool exception(std::uint8_t vector) const { return vector < 32 && ((state_.exceptions >> vector) & 1) != 0; }
    std::uint32_t exceptions() const { return state_.exceptions; }  // by vector
    bool unknown_hypercall() const { return state_.hypercall; }
    bool apic_write() const { return state_.apic_write_mask != 0; }
    std::uint32_t apic_write_mask() const { return state_.apic_write_mask; }
    bool init_sipi() const { return state_.init_sipi; }

    // At most max_cpuid_results; a later result for the same leaf, subleaf and processor replaces the earlier one.
    static constexpr std::size_t max_cpuid_results = 4096;
    [[nodiscard]] bool register_cpuid_result(const CpuidResult& result);
    bool unregister_cpuid_result(std::uint32_t vp_index, std::uint32_t leaf, std::uint32_t subleaf,
                                 bool subleaf_specific);
    // What the guest sees when the hypervisor itself would answer `own`. Results for one processor override those for
    // all, results for a subleaf those for its whole leaf.
    CpuidRegisters apply_cpuid_results(std::uint32_t vp_index, std::uint32_t leaf, std::uint32_t subleaf,
                                       CpuidRegisters own) const;

    [[nodiscard]] bool register_msr_result(std::uint32_t index, std::uint32_t access, std::uint32_t action);
    std::optional<MsrAction> msr_action(std::uint32_t index, bool write) const;

    template <class Archive>
    void fields(Archive& archive) {
        archive(state_);
    }
    friend bool operator==(const InterceptTable& a, const InterceptTable& b) { return a.state_ == b.state_; }

private:
    using PortMap = std::array<std::uint64_t, 65536 / 64>;
    struct CpuidKey {
        std::uint32_t vp_index = hv_any_vp;
        std::uint32_t leaf = 0;
        bool subleaf_specific = false;
        std::uint32_t subleaf = 0;

        friend auto operator<=>(const CpuidKey&, const CpuidKey&) = default;
        template <class Archive>
        void fields(Archive& archive) {
            archive(vp_index, leaf, subleaf_specific, subleaf);
        }
    };
    struct State {
        PortMap port_read{};
        PortMap port_write{};
        bool msr_read = false;
        bool msr_write = false;
        std::map<std::uint32_t, std::uint32_t> msr_index;  // -> access mask
        std::map<std::uint32_t, bool> cpuid;
        bool global_cpuid = false;
        std::uint32_t exceptions = 0;
        bool hypercall = false;
        bool init_sipi = false;
        std::uint32_t apic_write_mask = 0;
        std::map<CpuidKey, CpuidResult> cpuid_results;
        std::map<std::uint32_t, std::array<std::uint32_t, 2>>
            msr_results;  // -> 1 + action for read, for write; 0: none

        friend bool operator==(const State&, const State&) = default;
        template <class Archive>
        void fields(Archive& archive) {
            archive(port_read, port_write, msr_read, msr_write, msr_index, cpuid, global_cpuid, exceptions, hypercall,
                    init_sipi, apic_write_mask, cpuid_results, msr_results);
        }
    };

    void set_ports(std::uint64_t first, std::uint64_t last, std::uint32_t access);

    State state_;
};

}  // namespace hypervisor
