// A logical processor: runs guests on the engine, translates for it, delivers the guest's own events, carries out the
// privileged instructions that need no hypervisor, and exits with a filled control block where the hypervisor must
// decide. Simulated time passes as instructions retire; what an exit costs is the hypervisor's to charge.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "cpu/control_block.h"
#include "cpu/control_registers.h"
#include "cpu/engine.h"
#include "cpu/guest_context.h"
#include "cpu/instruction_accesses.h"
#include "cpu/linear_memory.h"
#include "cpu/memory_timing.h"
#include "sim/scope.h"
#include "slat/two_dimensional.h"

namespace cpu {

class LogicalProcessor final : private PageTranslator, private LinearMemory {
public:
    // `timing`: the `timed` fidelity's models of this processor; none is `fast`.
    LogicalProcessor(const sim::Scope& scope, Engine& engine, mmu::SystemMemory memory,
                     std::unique_ptr<MemoryTiming> timing = nullptr);

    // VMRUN: from `now` on until an exit, at most to the first block boundary at or after `limit`. The exit is in the
    // control block; ExitCode::interrupt means that the limit was reached.
    void run(GuestContext& guest, ControlBlock& control, sim::Time& now, sim::Time limit);

    // For the hypervisor, between runs, on behalf of the guest whose exit it handles.

    // The intercepted instruction was carried out: RIP moves past it, it counts, its shadow is over.
    void complete_instruction(GuestContext& guest, const ControlBlock& control, sim::Time& now);
    // Memory as the guest's instructions see it.
    LinearMemory& linear_memory(GuestContext& guest, ControlBlock& control);
    // A linear address without side effects.
    slat::TwoDimensionalWalk translate(const GuestContext& guest, const ControlBlock& control, std::uint64_t linear,
                                       mmu::AccessKind kind) const;
    // PAE paging: what MOV to CR3 does besides. False: #GP or a nested fault.
    bool load_pdptes(Registers& r, const ControlBlock& control) const;

    const ControlFeatures& features() const { return features_; }
    Engine& engine() { return engine_; }
    MemoryTiming* timing() { return timing_.get(); }

private:
    enum class Step : std::uint8_t { resume, exit };

    Step step_watched(sim::Time& now, sim::Time limit);
    void hide_pushed_trap_flag();
    Step on_stop(const Stop& stop, sim::Time& now);
    Step on_intercept(const Stop& stop, sim::Time& now);
    Step on_invlpg(sim::Time& now);
    Step on_io(std::uint64_t info1);
    Step on_control_register_write(unsigned n, sim::Time& now);
    Step on_debug_register_write(unsigned n, sim::Time& now);
    Step on_debug_register_read(unsigned n);
    Step on_translation_fault(const Stop& stop);
    Step on_software_interrupt(std::uint8_t vector);
    Step on_system_call(bool is_syscall, sim::Time& now);
    Step raise(const Event& event);
    Step raise(const LinearAccess& failed);
    Step deliver_event(const Event& event);
    Step exit(ExitCode code, std::uint64_t info1 = 0, std::uint64_t info2 = 0);
    void fetch_instruction();
    CodeSize code_size() const;

    bool translate_page(std::uint64_t linear_page, mmu::Access access, PageTranslation& page) override;
    bool descriptor_access(std::uint64_t linear_page) const;

    LinearAccess read(std::uint64_t linear, std::span<std::byte> out, Privilege privilege) override;
    LinearAccess write(std::uint64_t linear, std::span<const std::byte> data, Privilege privilege) override;
    template <class Copy>
    LinearAccess access(std::uint64_t linear, std::size_t size, mmu::Access access, Privilege privilege, Copy copy);

    sim::Scope scope_;
    Engine& engine_;
    mmu::SystemMemory memory_;
    ControlFeatures features_;
    std::unique_ptr<MemoryTiming> timing_;
    AccessFinder access_finder_;

    // The run in progress, or the exit being handled.
    GuestContext* guest_ = nullptr;
    ControlBlock* control_ = nullptr;
    slat::TwoDimensionalWalk fault_;  // the last translation that failed
    bool delivered_ = false;          // an event of the guest's own, since the engine stopped
};

}  // namespace cpu
