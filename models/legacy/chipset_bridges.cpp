#include "models/legacy/chipset_bridges.h"

#include <memory>

#include "sim/bits.h"

namespace models {

namespace {

constexpr std::uint32_t routing_reset = 0x8080'8000 | IsaBridge::lane_a_irq;
constexpr std::uint32_t route_off = 0x80;

std::shared_ptr<const pci::FunctionLayout> host_layout() {
    static const auto shared = [] {
        pci::Identity who;
        who.vendor = 0x8086;
        who.device = 0x7192;
        who.revision = 0x03;
        who.class_of = pci::class_of::host_bridge;
        who.status = pci::status::devsel_medium;
        who.command_writable = pci::command::serr_enable;
        pci::FunctionLayout made = pci::device_function(who, {}, pci::legacy_config_bytes);
        // The memory controller as firmware has left it (440BX, 290633, 3.3): all below 1 MiB is RAM.
        const pci::ConfigRegister rows[] = {
            {"NBXCFG", 0x50, 4},
            {"DRAMC", 0x57, 1},
            {"PAM 0 to 3", 0x58, 4, 0x3333'3003, 0x3333'3000},
            {"PAM 4 to 6", 0x5c, 4, 0x0033'3333, 0x0033'3333},
            {"DRB 0 to 3", 0x60, 4, 0x0202'0202, 0xffff'ffff},
            {"DRB 4 to 7", 0x64, 4, 0x0000'0002, 0xffff'ffff},
            {"SMRAM", 0x72, 2, 0x3802, 0x0010},
            {"PGPOL", 0x78, 4, 0x380a'0000},
            {"scratch 0", 0xd0, 4, 0, 0xffff'ffff},
            {"scratch 1", 0xd4, 4, 0, 0xffff'ffff},
            {"manufacturer", 0xf8, 4, 0x0000'0f20},
        };
        made.config.add(rows);
        return std::make_shared<const pci::FunctionLayout>(std::move(made));
    }();
    return shared;
}

std::shared_ptr<const pci::FunctionLayout> isa_layout() {
    static const auto shared = [] {
        pci::Identity who;
        who.vendor = 0x8086;
        who.device = 0x7110;
        who.revision = 0x01;
        who.class_of = pci::class_of::isa_bridge;
        who.subsystem_vendor = 0x1414;
        who.multi_function = true;
        who.status = pci::status::devsel_medium;
        who.command_writable = pci::command::serr_enable;
        pci::FunctionLayout made = pci::device_function(who, {}, pci::legacy_config_bytes);
        const pci::ConfigRegister rows[] = {
            {"IORT, XBCS", 0x4c, 4, 0x0003'004d},
            {"PIRQRC", IsaBridge::routing_register, 4, routing_reset, 0x8f8f'8f8f},
            {"SERIRQC", 0x64, 4, 0xd0},
            {"TOM", 0x68, 4, 0x0200},
            {"MSTAT, MBDMA", 0x70, 4},
            {"APICBASE", 0x80, 4, 0, 0x003f},
            {"DMACFG", 0x90, 4},
            {"SMICNTL", 0xa0, 4, 0x08, 0x00ff'001f},
            {"SEE", 0xa4, 4, 0, 0xffff'ffff},
            {"FTMR", 0xa8, 4, 0x0f, 0xffff'ffff},
            {"CTLTMR", 0xac, 4, 0, 0xffff'ffff},
            {"GENCFG", 0xb0, 4},
            {"RTCCFG", 0xc8, 4, 0x2500'0000},
            {"manufacturer", 0xf8, 4, 0x0000'0f30},
        };
        made.config.add(rows);
        return std::make_shared<const pci::FunctionLayout>(std::move(made));
    }();
    return shared;
}

}  // namespace

HostBridge::HostBridge(const sim::Scope& scope, pci::Slot slot)
    : function_(scope, std::move(slot), host_layout(), *this) {}

IsaBridge::IsaBridge(const sim::Scope& scope, pci::Slot slot, IsaInterrupts& interrupts)
    : interrupts_(interrupts), function_(scope, std::move(slot), isa_layout(), *this) {
    function_.config().listen(routing_register, 4, *this);
}

void IsaBridge::drive(unsigned lane, std::uint32_t routing, bool asserted) {
    const std::uint32_t route = routing >> 8 * lane & 0xff;
    if ((route & route_off) != 0) return;
    interrupts_.set(route & 0xf, IsaInterrupts::first_lane + lane, asserted);
}

void IsaBridge::set_lane(unsigned lane, bool asserted) {
    if (state_.asserted[lane] == asserted) return;
    state_.asserted[lane] = asserted;
    drive(lane, function_.config().get(routing_register, 4), asserted);
}

// An asserted lane leaves its old interrupt and joins the new one.
void IsaBridge::config_written(std::uint16_t, std::uint32_t before, std::uint32_t after) {
    for (unsigned lane = 0; lane < lanes; ++lane) {
        if (!state_.asserted[lane] || (before >> 8 * lane & 0xff) == (after >> 8 * lane & 0xff)) continue;
        drive(lane, before, false);
        drive(lane, after, true);
    }
}

void IsaBridge::function_reset(pci::ResetKind) {
    // Firmware's routing is back; whoever still pulls a lane pulls lane A's interrupt or none.
    for (unsigned irq = 0; irq < IsaInterrupts::irqs; ++irq) {
        for (unsigned lane = 0; lane < lanes; ++lane) interrupts_.set(irq, IsaInterrupts::first_lane + lane, false);
    }
    for (unsigned lane = 0; lane < lanes; ++lane) {
        if (state_.asserted[lane]) drive(lane, routing_reset, true);
    }
}

}  // namespace models
