// A guest's access to the registers of a device that is assigned to its partition. A real processor carries it out by
// itself, through the second level: there is no exit and nobody is told, only the device's bus takes its time. The
// engine has no such pages, so here the access is refused by the second level and made good at once.
#include "hypervisor/virtual_processor.h"

namespace hypervisor {

struct VirtualProcessor::AssignedRegisters final : cpu::DeviceAccess {
    AssignedRegisters(VirtualProcessor& p, DevicePort& d) : processor(p), port(d) {}

    std::optional<std::uint64_t> device_address(std::uint64_t linear, bool write, cpu::Privilege privilege) override {
        const mmu::AccessKind kind{.access = write ? mmu::Access::write : mmu::Access::read,
                                   .user = privilege == cpu::Privilege::user,
                                   .implicit_supervisor = privilege == cpu::Privilege::implicit_supervisor};
        const auto found = processor.lp_->translate(processor.guest_, processor.control_, linear, kind);
        if (!found.guest.ok() || !processor.partition_.devices().translate(found.guest.gpa)) return std::nullopt;
        return found.guest.gpa;
    }
    // An access lies within one page, or the emulator has cut it.
    std::uint64_t read(std::uint64_t gpa, unsigned size) override {
        sim::Time cost;
        const std::uint64_t value = port.read(*processor.partition_.devices().translate(gpa), size, cost);
        processor.scope_.trace("device_read", gpa, size, value);
        processor.charge(device_register_cause, cost);
        return value;
    }
    void write(std::uint64_t gpa, unsigned size, std::uint64_t value) override {
        processor.scope_.trace("device_write", gpa, size, value);
        sim::Time cost;
        port.write(*processor.partition_.devices().translate(gpa), size, value, cost);
        processor.charge(device_register_cause, cost);
    }

    VirtualProcessor& processor;
    DevicePort& port;
};

bool VirtualProcessor::access_assigned_device() {
    DevicePort* port = environment_.device_port();
    if (port == nullptr || !partition_.devices().has_pages()) return false;
    // A stack or a table in device memory is beyond the emulator.
    if (control_.interrupted_delivery || !partition_.devices().translate(control_.exit_info2)) return false;
    ++counters_.device_access;
    AssignedRegisters device{*this, *port};
    cpu::Registers r = guest_.registers();
    const auto code = std::span{control_.instruction}.first(control_.instruction_bytes);
    const auto result = emulator_.step(r, code, lp_->linear_memory(guest_, control_), device);
    switch (result.outcome) {
        case cpu::Emulation::done:
            guest_.set_registers(r);
            guest_.set_interrupt_shadow(false);
            if (!result.repeats) lp_->engine().count_instruction();
            return true;
        case cpu::Emulation::exception:
            inject(result.raised);
            return true;
        case cpu::Emulation::nested_fault:
        case cpu::Emulation::unhandled:
            break;
    }
    ++counters_.unhandled_mmio;
    scope_.trace("unhandled_mmio", guest_.rip(), control_.exit_info2);
    inject(cpu::exception_event(cpu::vector::invalid_opcode));
    return true;
}

}  // namespace hypervisor
