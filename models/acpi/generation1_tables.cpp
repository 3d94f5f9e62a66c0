// The tables of a Generation 1 machine: ACPI hardware at the PIIX4's registers, and a namespace with the PCI bus, its
// windows and interrupts, and the ISA devices below its bridge.
#include "models/acpi/aml.h"
#include "models/acpi/table_parts.h"
#include "models/acpi/tables.h"
#include "models/legacy/generation1_devices.h"
#include "models/rtc_cmos.h"
#include "models/uart_16550.h"

namespace models::acpi {

namespace {

using namespace aml;

constexpr std::uint32_t pci_devices = 32;

Bytes isa_devices(const Config& config) {
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
    append(devices,
           device("PIC0",
                  {name("_HID", eisa_id("PNP0000")),
                   name("_CRS", resource_template({io_ports(Pic8259::first_port, 2), io_ports(Pic8259::second_port, 2),
                                                   io_ports(Pic8259::trigger_port, 2)}))}));
    append(devices, device("TMR0", {name("_HID", eisa_id("PNP0100")),
                                    name("_CRS", resource_template({io_ports(Pit8254::base_port, 4)}))}));
    // Ports that are the board's own: nobody else may be put there.
    append(devices,
           device("MBRD", {name("_HID", eisa_id("PNP0C02")), name("_UID", integer(0)),
                           name("_CRS", resource_template({io_ports(Pit8254::speaker_port, 1),
                                                           io_ports(Piix4Power::command_port, 2),
                                                           io_ports(Piix4Power::base, Piix4Power::registers)}))}));
    if (config.vmbus) {
        append(devices, device("VMB8", {method("_HID", 0, Serialize::no, {return_value(string("VMBus"))}),
                                        name("_UID", integer(0)), name("_DDN", string("VMBUS")),
                                        name("_CRS", resource_template({}))}));
    }
    return devices;
}

// Every device's pin A on lane A, which firmware routes to one interrupt; the other lanes lead nowhere.
Bytes interrupt_routing() {
    std::vector<Bytes> rows;
    for (std::uint32_t number = 0; number < pci_devices; ++number) {
        rows.push_back(package(
            {integer(std::uint64_t{number} << 16 | 0xffff), integer(0), integer(0), integer(IsaBridge::lane_a_irq)}));
    }
    return package_of(rows);
}

Bytes root_bridge(const Config& config) {
    constexpr std::uint16_t config_ports = 0xcf8, behind_config_ports = 0xd00;
    const MemoryLayout& layout = config.layout;
    const Bytes windows = resource_template({
        bus_numbers(0, 256),
        io_ports(config_ports, 8),
        io_window(0, config_ports),
        io_window(behind_config_ports, 0x10000 - behind_config_ports),
        dword_memory(static_cast<std::uint32_t>(layout.low_window.first),
                     static_cast<std::uint32_t>(layout.low_window.length)),
        qword_memory(layout.high_window.first, layout.high_window.length),
    });
    const Bytes bridge =
        device("SBRG", {name("_ADR", integer(Generation1Devices::chipset_device << 16)), isa_devices(config)});
    return device("PCI0", {name("_HID", eisa_id("PNP0A03")), name("_UID", integer(0)), name("_BBN", integer(0)),
                           name("_CRS", windows), name("_PRT", interrupt_routing()), bridge});
}

}  // namespace

std::vector<std::byte> build_generation1_dsdt(const Config& config) {
    Bytes devices = root_bridge(config);
    if (config.processor_devices) append(devices, processor_devices(config));
    ByteWriter out = parts::header("DSDT", 2);
    // What a system writes into the control register's sleep type.
    out.bytes(name("\\_S0", package({integer(1), integer(1), integer(0), integer(0)})));
    out.bytes(name("\\_S5", package({integer(Piix4Power::s5_sleep_type), integer(Piix4Power::s5_sleep_type), integer(0),
                                     integer(0)})));
    out.bytes(scope("\\_SB", {devices}));
    return parts::finish(std::move(out));
}

// 5.2.10: of its own form, without a checksum. Nobody sleeps or holds the global lock.
std::vector<std::byte> build_facs() {
    ByteWriter out;
    out.text("FACS").u32(64).u32(0).u32(0).u32(0).u32(0).u64(0).u8(2);
    return out.pad_to(64).take();
}

// 5.2.9
std::vector<std::byte> build_generation1_fadt(std::uint64_t dsdt_gpa, std::uint64_t facs_gpa) {
    using P = Piix4Power;
    constexpr std::uint16_t legacy_devices = 1u << 0, vga_not_present = 1u << 2;
    constexpr std::uint32_t wbinvd = 1u << 0, c1_everywhere = 1u << 2, no_fixed_sleep_button = 1u << 5,
                            no_fixed_rtc_wake = 1u << 6, reset_register = 1u << 10;
    constexpr std::uint16_t no_c2 = 101, no_c3 = 1001;  // latencies in microseconds that mean "not there"
    ByteWriter out = parts::header("FACP", 6);
    out.u32(static_cast<std::uint32_t>(facs_gpa)).u32(static_cast<std::uint32_t>(dsdt_gpa));
    out.pad_to(46).u16(P::sci_irq).u32(P::command_port).u8(P::acpi_enable).u8(P::acpi_disable);
    out.pad_to(56).u32(P::base + P::status_offset);
    out.pad_to(64).u32(P::base + P::control_offset);
    out.pad_to(76).u32(P::base + P::timer_offset).u32(P::base + P::gpe_status_offset);
    out.pad_to(88).u8(4).u8(2).u8(0).u8(4).u8(4);  // lengths: events, control, control 2, timer, general-purpose events
    out.pad_to(96).u16(no_c2).u16(no_c3);
    out.pad_to(108).u8(RtcCmos::century_register).u16(legacy_devices | vga_not_present);
    out.pad_to(112).u32(wbinvd | c1_everywhere | no_fixed_sleep_button | no_fixed_rtc_wake | reset_register);
    parts::io_register(out.pad_to(116), P::base + P::reset_offset);
    out.pad_to(128).u8(P::reset_value);
    out.pad_to(131).u8(4);
    out.pad_to(132).u64(facs_gpa).u64(dsdt_gpa);
    parts::io_register(out.pad_to(148), P::base + P::status_offset, 32, 2);
    parts::io_register(out.pad_to(172), P::base + P::control_offset, 16, 2);
    parts::io_register(out.pad_to(208), P::base + P::timer_offset, 32, 3);
    parts::io_register(out.pad_to(220), P::base + P::gpe_status_offset, 32, 1);
    return parts::finish(std::move(out.pad_to(276)));
}

}  // namespace models::acpi
