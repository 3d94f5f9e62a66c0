#include "pci/capabilities.h"

#include <array>
#include <bit>

#include "sim/check.h"

namespace pci {

namespace {

std::uint32_t log2_of(unsigned power_of_two) {
    VG_CHECK(std::has_single_bit(power_of_two));
    return static_cast<std::uint32_t>(std::countr_zero(power_of_two));
}

}  // namespace

std::uint16_t add_power_management(ConfigLayout& layout, const PowerManagement& what, std::uint16_t at) {
    const bool pme = (what.further_capabilities >> 11) != 0;
    const std::uint32_t enable = pme ? power::pme_enable : 0, status = pme ? power::pme_status : 0;
    const ConfigRegister rows[] = {
        {"PMC", power::capabilities, 2, std::uint32_t{power::version3} | what.further_capabilities},
        {"PMCSR", power::control, 2, what.no_soft_reset ? power::no_soft_reset : 0u, power::state_mask | enable, status,
         enable | status},
    };
    return layout.add_capability(capability_id::power_management, power::length, rows, at);
}

std::uint16_t add_msi(ConfigLayout& layout, const MsiCapability& what, std::uint16_t at) {
    VG_CHECK(what.vectors <= 32);
    const std::uint32_t control = log2_of(what.vectors) << msi_cap::capable_shift |
                                  (what.address64 ? msi_cap::address64 : 0u) |
                                  (what.per_vector_masking ? msi_cap::per_vector_masking : 0u);
    std::vector<ConfigRegister> rows = {
        {"MSI control", msi_cap::control, 2, control, msi_cap::enable | 7u << msi_cap::enabled_shift},
        {"MSI address", msi_cap::address, 4, 0, ~std::uint32_t{3}},
    };
    std::uint16_t next = msi_cap::upper_address;
    const auto add = [&](std::string_view name, std::uint8_t width, std::uint32_t writable) {
        rows.push_back({name, next, width, 0, writable});
        next = static_cast<std::uint16_t>(next + 4);
    };
    if (what.address64) add("MSI upper address", 4, ~std::uint32_t{0});
    add("MSI data", 2, 0xffff);
    if (what.per_vector_masking) {
        const auto vectors = static_cast<std::uint32_t>((std::uint64_t{1} << what.vectors) - 1);
        add("MSI mask", 4, vectors);
        add("MSI pending", 4, 0);
    }
    return layout.add_capability(capability_id::msi, next, rows, at);
}

std::uint16_t add_msix(ConfigLayout& layout, const MsixCapability& what, std::uint16_t at) {
    VG_CHECK(what.vectors >= 1 && what.vectors <= msix_cap::most_vectors);
    VG_CHECK(what.table_offset % 8 == 0 && what.pending_offset % 8 == 0 && what.table_bar < 6 && what.pending_bar < 6);
    const ConfigRegister rows[] = {
        {"MSI-X control", msix_cap::control, 2, what.vectors - 1, msix_cap::enable | msix_cap::function_mask},
        {"MSI-X table", msix_cap::table, 4, what.table_offset | what.table_bar},
        {"MSI-X pending", msix_cap::pending, 4, what.pending_offset | what.pending_bar},
    };
    return layout.add_capability(capability_id::msix, msix_cap::length, rows, at);
}

std::uint16_t add_vendor(ConfigLayout& layout, std::uint8_t length, std::span<const ConfigRegister> rows,
                         std::uint16_t at) {
    std::vector<ConfigRegister> all = {{"vendor capability length", 2, 1, length}};
    all.insert(all.end(), rows.begin(), rows.end());
    return layout.add_capability(capability_id::vendor, length, all, at);
}

std::uint16_t add_express(ConfigLayout& layout, const PciExpress& what, std::uint16_t at) {
    namespace x = express;
    constexpr std::uint32_t version2 = 2;
    VG_CHECK(what.max_payload_bytes >= 128 && what.max_payload_bytes <= 4096);
    const bool port = what.type == x::PortType::root_port || what.type == x::PortType::downstream_port;
    const std::uint32_t capabilities =
        version2 | static_cast<std::uint32_t>(what.type) << 4 | (what.slot ? x::slot_implemented : 0u);
    const std::uint32_t device = log2_of(what.max_payload_bytes / 128) | x::role_based_errors | x::extended_tags |
                                 (what.function_level_reset ? x::flr_capable : 0u);
    // After reset: relaxed ordering and no-snoop on, payload 128, read requests of 512 bytes.
    constexpr std::uint32_t device_control_reset = x::relaxed_ordering | x::no_snoop | 2u << x::max_read_shift;
    const std::uint32_t flr = what.function_level_reset ? x::initiate_flr : 0u;
    const std::uint32_t link = what.generation | what.width << 4;
    const std::uint32_t link_extra = what.port_number << 24 | (port ? x::link_active_reporting : 0u);
    const std::uint32_t speeds = ((1u << what.generation) - 1) << 1;
    const std::uint32_t slot = what.slot ? x::slot_surprise | x::slot_hot_plug | x::slot_no_command_completed : 0u;
    const std::uint32_t ari = what.ari_forwarding ? x::ari_forwarding : 0u;
    const ConfigRegister rows[] = {
        {"PCIe capabilities", x::capabilities, 2, capabilities},
        {"device capabilities", x::device_capabilities, 4, device},
        {"device control", x::device_control, 2, device_control_reset, 0x7fff | flr},
        {"device status", x::device_status, 2, 0, 0,
         x::correctable_detected | x::nonfatal_detected | x::fatal_detected | x::unsupported_detected},
        {"link capabilities", x::link_capabilities, 4, link | link_extra},
        {"link control", x::link_control, 2, 0, 0x0fdb},
        {"link status", x::link_status, 2, link},
        {"slot capabilities", x::slot_capabilities, 4, slot | (what.slot ? what.port_number << 19 : 0u)},
        {"slot control", x::slot_control, 2, 0, what.slot ? 0x1fffu : 0u},
        {"slot status", x::slot_status, 2, 0, 0,
         what.slot ? x::slot_presence_changed | x::slot_link_changed | 0x17u : 0u},
        {"root control", x::root_control, 2, 0, what.type == x::PortType::root_port ? 0x1fu : 0u},
        {"root capabilities", x::root_capabilities, 2},
        {"root status", x::root_status, 4, 0, 0, what.type == x::PortType::root_port ? 1u << 16 : 0u},
        {"device capabilities 2", x::device_capabilities2, 4, ari | 0x10u},  // completion timeout can be disabled
        {"device control 2", x::device_control2, 2, 0, ari | 0x1fu},
        {"link capabilities 2", x::link_capabilities2, 4, speeds},
        {"link control 2", x::link_control2, 2, what.generation, 0xffff, 0, 0xffff},
        {"link status 2", x::link_status2, 2},
    };
    return layout.add_capability(capability_id::express, x::length, rows, at);
}

std::uint16_t add_aer(ConfigLayout& layout, bool root, std::uint16_t at) {
    constexpr std::uint32_t all = aer::uncorrectable_all, correctable = aer::correctable_all;
    static constexpr ConfigRegister rows[] = {
        {"AER uncorrectable status", aer::uncorrectable_status, 4, 0, 0, all, all},
        {"AER uncorrectable mask", aer::uncorrectable_mask, 4, 0, all, 0, all},
        {"AER uncorrectable severity", aer::uncorrectable_severity, 4, aer::uncorrectable_severity_reset, all, 0, all},
        {"AER correctable status", aer::correctable_status, 4, 0, 0, correctable, correctable},
        {"AER correctable mask", aer::correctable_mask, 4, aer::correctable_mask_reset, correctable, 0, correctable},
        {"AER control", aer::control, 4},
        {"AER header log 0", aer::header_log, 4},
        {"AER header log 1", aer::header_log + 4, 4},
        {"AER header log 2", aer::header_log + 8, 4},
        {"AER header log 3", aer::header_log + 12, 4},
    };
    static constexpr ConfigRegister root_rows[] = {
        {"AER root command", aer::root_command, 4, 0, 7},
        {"AER root status", aer::root_status, 4, 0, 0, 0x7f, 0x7f},
        {"AER error source", aer::error_source, 4},
    };
    std::vector<ConfigRegister> chosen{std::begin(rows), std::end(rows)};
    if (root) chosen.insert(chosen.end(), std::begin(root_rows), std::end(root_rows));
    return layout.add_extended_capability(extended_id::aer, 2, aer::length, chosen, at);
}

std::uint16_t add_ari(ConfigLayout& layout, std::uint8_t next_function, std::uint16_t at) {
    const ConfigRegister rows[] = {
        {"ARI capabilities", ari_cap::capabilities, 2, std::uint32_t{next_function} << 8},
        {"ARI control", ari_cap::control, 2},
    };
    return layout.add_extended_capability(extended_id::ari, 1, ari_cap::length, rows, at);
}

std::uint16_t add_acs(ConfigLayout& layout, std::uint16_t capabilities, std::uint16_t at) {
    const ConfigRegister rows[] = {
        {"ACS capabilities", acs_cap::capabilities, 2, capabilities},
        {"ACS control", acs_cap::control, 2, 0, capabilities & 0x7fu},
    };
    return layout.add_extended_capability(extended_id::acs, 1, acs_cap::length, rows, at);
}

std::uint16_t add_serial_number(ConfigLayout& layout, std::uint64_t number, std::uint16_t at) {
    const ConfigRegister rows[] = {
        {"serial number, lower half", serial::low, 4, static_cast<std::uint32_t>(number)},
        {"serial number, upper half", serial::high, 4, static_cast<std::uint32_t>(number >> 32)},
    };
    return layout.add_extended_capability(extended_id::serial_number, 1, serial::length, rows, at);
}

std::uint16_t add_sriov(ConfigLayout& layout, const SriovCapability& what, std::uint16_t at) {
    VG_CHECK(what.vf_bars.size() <= 6);
    constexpr std::uint32_t control = sriov::vf_enable | sriov::vf_memory_space | sriov::ari_capable_hierarchy;
    std::vector<ConfigRegister> rows = {
        {"SR-IOV capabilities", sriov::capabilities, 4, sriov::ari_hierarchy_preserved},
        {"SR-IOV control", sriov::control, 2, 0, control},
        {"SR-IOV status", sriov::status, 2},
        {"InitialVFs", sriov::initial_vfs, 2, what.total_vfs},
        {"TotalVFs", sriov::total_vfs, 2, what.total_vfs},
        {"NumVFs", sriov::num_vfs, 2, 0, 0xffff},
        {"function dependency link", sriov::dependency_link, 1, what.dependency_link},
        {"first VF offset", sriov::first_vf_offset, 2, what.first_vf_offset},
        {"VF stride", sriov::vf_stride, 2, what.vf_stride},
        {"VF device id", sriov::vf_device_id, 2, what.vf_device_id},
        {"supported page sizes", sriov::supported_page_sizes, 4, what.page_sizes},
        {"system page size", sriov::system_page_size, 4, 1, what.page_sizes},
        {"VF migration state array", sriov::migration_array, 4},
    };
    for (unsigned i = 0; i < what.vf_bars.size(); ++i) {
        const Bar& bar = what.vf_bars[i];
        if (bar.kind == BarKind::absent) continue;
        VG_CHECK(bar.kind == BarKind::memory32 || bar.kind == BarKind::memory64);
        VG_CHECK(std::has_single_bit(bar.size_bytes) && bar.size_bytes >= 4096);
        const std::uint64_t mask = ~(bar.size_bytes - 1);
        const auto offset = static_cast<std::uint16_t>(sriov::vf_bar0 + 4 * i);
        rows.push_back({"VF BAR", offset, 4, type_bits(bar), static_cast<std::uint32_t>(mask)});
        if (bar.kind != BarKind::memory64) continue;
        VG_CHECK(i + 1 < 6 && (i + 1 == what.vf_bars.size() || what.vf_bars[i + 1].kind == BarKind::absent));
        rows.push_back({"VF BAR, upper half", static_cast<std::uint16_t>(offset + 4), 4, 0,
                        static_cast<std::uint32_t>(mask >> 32)});
    }
    return layout.add_extended_capability(extended_id::sriov, 1, sriov::length, rows, at);
}

}  // namespace pci
