#include "models/acpi/tables.h"

#include <fmt/format.h>

#include "models/acpi/aml.h"
#include "models/acpi/table_parts.h"
#include "models/byte_writer.h"
#include "models/io_apic.h"
#include "models/power_control.h"
#include "models/rtc_cmos.h"
#include "models/uart_16550.h"
#include "sim/check.h"

namespace models::acpi {

std::vector<std::byte> build_rsdp(std::uint64_t xsdt_gpa) {
    ByteWriter out;  // 5.2.5.3
    out.text("RSD PTR ").u8(0).text(parts::oem_id).u8(2).u32(0).u32(36).u64(xsdt_gpa).u8(0).zeros(3);
    out.patch(8, parts::checksum(std::span{out.data()}.first(20)));
    out.patch(32, parts::checksum(out.data()));
    return out.take();
}

std::vector<std::byte> build_xsdt(const std::vector<std::uint64_t>& tables) {
    ByteWriter out = parts::header("XSDT", 1);
    for (const std::uint64_t gpa : tables) out.u64(gpa);
    return parts::finish(std::move(out));
}

std::vector<std::byte> build_fadt(std::uint64_t dsdt_gpa) {
    constexpr std::uint16_t vga_not_present = 1u << 2;
    constexpr std::uint32_t wbinvd = 1u << 0, no_fixed_power_button = 1u << 4, no_fixed_sleep_button = 1u << 5,
                            no_fixed_rtc_wake = 1u << 6, reset_register = 1u << 10, hardware_reduced = 1u << 20;
    ByteWriter out = parts::header("FACP", 6);  // 5.2.9, minor revision 4
    out.pad_to(40).u32(static_cast<std::uint32_t>(dsdt_gpa));
    out.pad_to(108).u8(RtcCmos::century_register).u16(vga_not_present);
    out.pad_to(112).u32(wbinvd | no_fixed_power_button | no_fixed_sleep_button | no_fixed_rtc_wake | reset_register |
                        hardware_reduced);
    parts::io_register(out.pad_to(116), PowerControl::reset_port);
    out.pad_to(128).u8(PowerControl::reset_value);
    out.pad_to(131).u8(4);
    out.pad_to(140).u64(dsdt_gpa);
    parts::io_register(out.pad_to(244), PowerControl::sleep_control_port);
    parts::io_register(out.pad_to(256), PowerControl::sleep_status_port);
    // 268: hypervisor vendor identity, 0: a guest learns of us through CPUID.
    return parts::finish(std::move(out.pad_to(276)));
}

std::vector<std::byte> build_madt(const Config& config) {
    constexpr std::uint32_t enabled = 1;
    const bool generation1 = config.machine == Machine::generation1;
    ByteWriter out = parts::header("APIC", 5);      // 5.2.12
    out.u32(0xfee0'0000).u32(generation1 ? 1 : 0);  // PCAT_COMPAT: whether there are 8259s
    std::uint32_t uid = 1;
    for (const Processor& processor : config.processors) {
        if (processor.apic_id < 0xff && uid <= 0xff) {
            out.u8(0)
                .u8(8)
                .u8(static_cast<std::uint8_t>(uid))
                .u8(static_cast<std::uint8_t>(processor.apic_id))
                .u32(enabled);
        } else {
            out.u8(9).u8(16).u16(0).u32(processor.apic_id).u32(enabled).u32(uid);
        }
        ++uid;
    }
    out.u8(1).u8(12).u8(0).u8(0).u32(static_cast<std::uint32_t>(IoApic::gpa)).u32(0);
    if (generation1) {
        constexpr std::uint16_t level_high = 0x000d;
        out.u8(2).u8(10).u8(0).u8(0).u32(2).u16(0);           // the timer's interrupt is on pin 2
        out.u8(2).u8(10).u8(0).u8(9).u32(9).u16(level_high);  // the SCI
    }
    out.u8(4).u8(6).u8(0xff).u16(0).u8(1);  // NMI on LINT1 of all
    return parts::finish(std::move(out));
}

std::vector<std::byte> build_srat(const Config& config) {
    constexpr std::uint32_t enabled = 1;
    ByteWriter out = parts::header("SRAT", 3);  // 5.2.16
    out.u32(1).u64(0);
    for (const Processor& processor : config.processors) {
        out.u8(2).u8(24).u16(0).u32(processor.node).u32(processor.apic_id).u32(enabled).u32(0).u32(0);
    }
    for (const NodeMemory& memory : config.nodes) {
        out.u8(1)
            .u8(40)
            .u32(memory.node)
            .u16(0)
            .u64(memory.range.first)
            .u64(memory.range.length)
            .u32(0)
            .u32(enabled)
            .u64(0);
    }
    return parts::finish(std::move(out));
}

std::vector<std::byte> processor_devices(const Config& config) {
    using namespace aml;
    Bytes devices;
    for (std::size_t i = 0; i < config.processors.size(); ++i) {
        append(devices, device(fmt::format("P{:03X}", i & 0xfff),
                               {name("_HID", string("ACPI0007")), name("_UID", integer(i + 1))}));
    }
    return devices;
}

std::vector<std::byte> build_dsdt(const Config& config) {
    using namespace aml;
    if (config.machine == Machine::generation1) return build_generation1_dsdt(config);
    Bytes devices;
    if (config.serial_port) {
        append(devices,
               device("UAR1", {name("_HID", eisa_id("PNP0501")), name("_UID", integer(1)),
                               name("_CRS", resource_template({io_ports(Uart16550::com1_port, Uart16550::ports),
                                                               interrupt(Uart16550::com1_gsi, Trigger::edge)}))}));
    }
    if (config.real_time_clock) {
        append(devices, device("RTC0", {name("_HID", eisa_id("PNP0B00")),
                                        name("_CRS", resource_template({io_ports(RtcCmos::base_port, RtcCmos::ports),
                                                                        interrupt(RtcCmos::gsi, Trigger::edge)}))}));
    }
    if (config.power_button) {
        append(devices, device("PWRB", {name("_HID", eisa_id("PNP0C0C"))}));
        append(devices,
               device("GED0", {name("_HID", string("ACPI0013")),
                               name("_CRS", resource_template({interrupt(PowerControl::event_gsi, Trigger::edge)})),
                               method("_EVT", 1, Serialize::yes, {notify("\\_SB.PWRB", 0x80)})}));
    }
    if (config.vmbus) {
        const MemoryLayout& layout = config.layout;
        // The windows belong to the module; the VMBus device's own _CRS must exist and may be empty. Its identifier is
        // what Hyper-V says, shorter than ACPI allows: as a method's value the compiler takes it.
        const Bytes windows = resource_template({qword_memory(layout.low_window.first, layout.low_window.length),
                                                 qword_memory(layout.high_window.first, layout.high_window.length)});
        const Bytes bus =
            device("VMBS", {method("_HID", 0, Serialize::no, {return_value(string("VMBus"))}), name("_UID", integer(0)),
                            name("_DDN", string("VMBUS")), name("_CRS", resource_template({}))});
        append(devices, device("VMOD", {name("_HID", string("ACPI0004")), name("_UID", integer(0)),
                                        name("_CRS", windows), bus}));
    }
    if (config.processor_devices) append(devices, processor_devices(config));
    ByteWriter out = parts::header("DSDT", 2);
    // Sleep types: what a system writes into the sleep control register.
    out.bytes(name("\\_S0", package({integer(0), integer(0), integer(0), integer(0)})));
    out.bytes(name("\\_S5", package({integer(PowerControl::s5_sleep_type), integer(0), integer(0), integer(0)})));
    out.bytes(scope("\\_SB", {devices}));
    return parts::finish(std::move(out));
}

Image build(const Config& config) {
    VG_CHECK(!config.processors.empty());
    constexpr std::uint64_t base = firmware_tables.first;
    ByteWriter out;
    out.zeros(64);  // the RSDP's place
    const auto place = [&out](const std::vector<std::byte>& table) {
        const std::uint64_t gpa = base + out.align(64).size();
        out.bytes(table);
        return gpa;
    };
    std::vector<std::uint64_t> tables;
    const std::uint64_t dsdt = place(build_dsdt(config));
    tables.push_back(place(config.machine == Machine::generation1 ? build_generation1_fadt(dsdt, place(build_facs()))
                                                                  : build_fadt(dsdt)));
    tables.push_back(place(build_madt(config)));
    if (!config.nodes.empty()) tables.push_back(place(build_srat(config)));
    const std::vector<std::byte> rsdp = build_rsdp(place(build_xsdt(tables)));
    if (out.size() > firmware_tables.length) {
        throw sim::UserError(
            fmt::format("{} virtual processors: their firmware tables take {} bytes and do not fit "
                        "into {}; give the partition fewer",
                        config.processors.size(), out.size(), firmware_tables.length));
    }
    Image image{base, out.take()};
    std::copy(rsdp.begin(), rsdp.end(), image.bytes.begin());
    return image;
}

}  // namespace models::acpi
