#include "hypervisor/intercept_table.h"

namespace hypervisor {

namespace {

// A root may name every index there is; this many are kept.
constexpr std::size_t max_indices = 65'536;

// Adds or removes a key. False: the table is full.
template <class Map, class Value>
bool set_or_erase(Map& map, std::uint32_t key, bool set, Value value) {
    if (!set) {
        map.erase(key);
        return true;
    }
    if (map.size() >= max_indices && !map.contains(key)) return false;
    map[key] = value;
    return true;
}

}  // namespace

void InterceptTable::set_ports(std::uint64_t first, std::uint64_t last, std::uint32_t access) {
    for (std::uint64_t port = first; port <= last; ++port) {
        const std::uint64_t bit = std::uint64_t{1} << (port % 64);
        std::uint64_t& reads = state_.port_read[port / 64];
        std::uint64_t& writes = state_.port_write[port / 64];
        reads = (access & intercept_access_mask::read) != 0 ? reads | bit : reads & ~bit;
        writes = (access & intercept_access_mask::write) != 0 ? writes | bit : writes & ~bit;
    }
}

bool InterceptTable::install(std::uint32_t access, std::uint32_t type, std::uint64_t parameter) {
    constexpr std::uint32_t read_write = intercept_access_mask::read | intercept_access_mask::write;
    const auto only = [&](std::uint32_t allowed) { return (access & ~allowed) == 0; };
    const auto index = static_cast<std::uint32_t>(parameter);
    const bool index_in_range = parameter <= 0xffff'ffff;
    switch (HvInterceptType{type}) {
        case HvInterceptType::x64_io_port:
            if (!only(read_write) || parameter > 0xffff) return false;
            set_ports(parameter, parameter, access);
            return true;
        case HvInterceptType::x64_io_port_range: {
            const std::uint64_t last = parameter >> 16;
            if (!only(read_write) || last > 0xffff || last < (parameter & 0xffff)) return false;
            set_ports(parameter & 0xffff, last, access);
            return true;
        }
        case HvInterceptType::x64_msr:
            if (!only(read_write) || parameter != 0) return false;
            state_.msr_read = (access & intercept_access_mask::read) != 0;
            state_.msr_write = (access & intercept_access_mask::write) != 0;
            return true;
        case HvInterceptType::x64_msr_index:
            if (!only(read_write) || !index_in_range) return false;
            return set_or_erase(state_.msr_index, index, access != 0, access);
        case HvInterceptType::x64_cpuid:
            if (!only(intercept_access_mask::execute) || !index_in_range) return false;
            return set_or_erase(state_.cpuid, index, access != 0, true);
        case HvInterceptType::x64_global_cpuid:
            if (!only(intercept_access_mask::execute) || parameter != 0) return false;
            state_.global_cpuid = access != 0;
            return true;
        case HvInterceptType::exception:
            // Vector 2 is the NMI, no exception.
            if (!only(intercept_access_mask::execute) || parameter > 31 || parameter == 2) return false;
            state_.exceptions &= ~(1u << parameter);
            if (access != 0) state_.exceptions |= 1u << parameter;
            return true;
        case HvInterceptType::hypercall:
            if (!only(intercept_access_mask::execute) || parameter != 0) return false;
            state_.hypercall = access != 0;
            return true;
        case HvInterceptType::x64_apic_init_sipi:
            if (!only(intercept_access_mask::write) || parameter != 0) return false;
            state_.init_sipi = access != 0;
            return true;
        case HvInterceptType::x64_apic_write:
            if (!only(intercept_access_mask::write) || !index_in_range) return false;
            state_.apic_write_mask = access != 0 ? index : 0;
            return true;
        case HvInterceptType::mmio:
        case HvInterceptType::x64_apic_smi:
            break;  // not modelled
    }
    return false;
}

bool InterceptTable::io_port(std::uint16_t port, unsigned size, bool write) const {
    const PortMap& map = write ? state_.port_write : state_.port_read;
    for (unsigned i = 0; i < size; ++i) {
        const auto at = static_cast<std::uint16_t>(port + i);
        if ((map[at / 64] >> (at % 64)) & 1) return true;
    }
    return false;
}

bool InterceptTable::msr(std::uint32_t index, bool write, bool implemented) const {
    const auto found = state_.msr_index.find(index);
    if (found != state_.msr_index.end() &&
        (found->second & (write ? intercept_access_mask::write : intercept_access_mask::read)) != 0) {
        return true;
    }
    return !implemented && (write ? state_.msr_write : state_.msr_read);
}

// Registered results
// ------------------------------------------------------------------------------------------------------

bool InterceptTable::register_cpuid_result(const CpuidResult& result) {
    const CpuidKey key{result.vp_index, result.leaf, result.subleaf_specific,
                       result.subleaf_specific ? result.subleaf : 0};
    if (state_.cpuid_results.size() >= max_cpuid_results && !state_.cpuid_results.contains(key)) return false;
    state_.cpuid_results[key] = result;
    return true;
}

bool InterceptTable::unregister_cpuid_result(std::uint32_t vp_index, std::uint32_t leaf, std::uint32_t subleaf,
                                             bool subleaf_specific) {
    return state_.cpuid_results.erase({vp_index, leaf, subleaf_specific, subleaf_specific ? subleaf : 0}) != 0;
}

CpuidRegisters InterceptTable::apply_cpuid_results(std::uint32_t vp_index, std::uint32_t leaf, std::uint32_t subleaf,
                                                   CpuidRegisters own) const {
    const auto apply = [&](std::uint32_t vp, bool subleaf_specific) {
        const auto found = state_.cpuid_results.find({vp, leaf, subleaf_specific, subleaf_specific ? subleaf : 0});
        if (found == state_.cpuid_results.end()) return;
        const CpuidRegisters& value = found->second.value;
        const CpuidRegisters& mask = found->second.mask;
        own.eax = (own.eax & ~mask.eax) | (value.eax & mask.eax);
        own.ebx = (own.ebx & ~mask.ebx) | (value.ebx & mask.ebx);
        own.ecx = (own.ecx & ~mask.ecx) | (value.ecx & mask.ecx);
        own.edx = (own.edx & ~mask.edx) | (value.edx & mask.edx);
    };
    if (state_.cpuid_results.empty()) return own;
    apply(hv_any_vp, false);
    apply(hv_any_vp, true);
    apply(vp_index, false);
    apply(vp_index, true);
    return own;
}

bool InterceptTable::register_msr_result(std::uint32_t index, std::uint32_t access, std::uint32_t action) {
    if (access == 0 || (access & ~(intercept_access_mask::read | intercept_access_mask::write)) != 0 || action > 1)
        return false;
    if (state_.msr_results.size() >= max_indices && !state_.msr_results.contains(index)) return false;
    auto& actions = state_.msr_results[index];
    if (access & intercept_access_mask::read) actions[0] = 1 + action;
    if (access & intercept_access_mask::write) actions[1] = 1 + action;
    return true;
}

std::optional<MsrAction> InterceptTable::msr_action(std::uint32_t index, bool write) const {
    const auto found = state_.msr_results.find(index);
    if (found == state_.msr_results.end() || found->second[write ? 1 : 0] == 0) return std::nullopt;
    return MsrAction{found->second[write ? 1 : 0] - 1};
}

}  // namespace hypervisor
