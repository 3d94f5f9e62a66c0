#include "models/legacy/piix4_ide.h"

#include <memory>

#include "sim/bits.h"

namespace models {

namespace {

constexpr std::uint16_t primary_timing = 0x40, secondary_timing = 0x42;
constexpr std::uint32_t decode_enable = 1u << 15;

// The compatible ports. Numbers of ranges: block, then channel.
struct Ports {
    unsigned number;
    unsigned channel;
    bool control;
    std::uint16_t first;
    std::uint16_t count;
};
constexpr std::array<Ports, 4> compatible = {{
    {16, 0, false, 0x1f0, 8},
    {17, 0, true, 0x3f6, 1},
    {18, 1, false, 0x170, 8},
    {19, 1, true, 0x376, 1},
}};

std::shared_ptr<const pci::FunctionLayout> ide_layout() {
    static const auto shared = [] {
        pci::Identity who;
        who.vendor = 0x8086;
        who.device = 0x7111;
        who.revision = 0x01;
        who.class_of = pci::class_of::ide;
        who.programming_interface = 0x80;  // masters the bus, both channels compatible
        who.status = pci::status::devsel_medium | pci::status::fast_back_to_back;
        who.command_writable = pci::command::io_space | pci::command::bus_master;
        const pci::Bar bars[] = {{}, {}, {}, {}, {pci::BarKind::io, 2 * ata::bus_master::channel_bytes}};
        pci::FunctionLayout made = pci::device_function(who, bars, pci::legacy_config_bytes);
        const pci::ConfigRegister rows[] = {
            {"IDETIM primary", primary_timing, 2, decode_enable, 0xffff},
            {"IDETIM secondary", secondary_timing, 2, decode_enable, 0xffff},
            {"SIDETIM", 0x44, 1, 0, 0xff},
            {"UDMACTL", 0x48, 1, 0, 0x0f},
            {"UDMATIM", 0x4a, 2, 0, 0x3333},
            {"manufacturer", 0xf8, 4, 0x0000'0f30},
        };
        made.config.add(rows);
        return std::make_shared<const pci::FunctionLayout>(std::move(made));
    }();
    return shared;
}

}  // namespace

Piix4Ide::Piix4Ide(const sim::Scope& scope, pci::Slot slot, InterruptLine& primary, InterruptLine& secondary)
    : function_(scope, std::move(slot), ide_layout(), *this),
      primary_(scope.child("primary"), function_.master(), primary),
      secondary_(scope.child("secondary"), function_.master(), secondary) {
    function_.config().listen(primary_timing, 2, *this);
    function_.config().listen(secondary_timing, 2, *this);
}

void Piix4Ide::function_reset(pci::ResetKind) {
    primary_.reset();
    secondary_.reset();
}

void Piix4Ide::command_changed() {
    update_ports();
    primary_.pump();
    secondary_.pump();
}

void Piix4Ide::config_written(std::uint16_t, std::uint32_t, std::uint32_t) {
    update_ports();
}

void Piix4Ide::update_ports() {
    std::vector<pci::Range> ranges;
    for (const Ports& ports : compatible) {
        const std::uint16_t timing = ports.channel == 0 ? primary_timing : secondary_timing;
        const bool on = (function_.config().get(timing, 2) & decode_enable) != 0;
        if (!on || !function_.decodes(pci::Space::io)) continue;
        ranges.push_back({pci::Space::io, ports.first, ports.first + ports.count - 1u, ports.number, this});
    }
    function_.set_further_ranges(std::move(ranges));
}

std::optional<std::uint64_t> Piix4Ide::read_range(pci::Space, unsigned range, std::uint64_t address, unsigned size) {
    const Ports& ports = compatible[range - compatible.front().number];
    if (ports.control) return channel(ports.channel).read_control();
    return channel(ports.channel).read_command_block(static_cast<unsigned>(address - ports.first), size);
}

bool Piix4Ide::write_range(pci::Space, unsigned range, std::uint64_t address, unsigned size, std::uint64_t value) {
    const Ports& ports = compatible[range - compatible.front().number];
    if (ports.control) {
        channel(ports.channel).write_control(static_cast<std::uint8_t>(value));
    } else {
        channel(ports.channel)
            .write_command_block(static_cast<unsigned>(address - ports.first), size, static_cast<std::uint32_t>(value));
    }
    return true;
}

std::uint64_t Piix4Ide::read_bar(unsigned, std::uint64_t offset, unsigned size) {
    IdeChannel& part = channel(static_cast<unsigned>(offset / ata::bus_master::channel_bytes));
    return part.read_bus_master(static_cast<unsigned>(offset % ata::bus_master::channel_bytes), size);
}

void Piix4Ide::write_bar(unsigned, std::uint64_t offset, unsigned size, std::uint64_t value) {
    IdeChannel& part = channel(static_cast<unsigned>(offset / ata::bus_master::channel_bytes));
    part.write_bus_master(static_cast<unsigned>(offset % ata::bus_master::channel_bytes), size,
                          static_cast<std::uint32_t>(value));
}

}  // namespace models
