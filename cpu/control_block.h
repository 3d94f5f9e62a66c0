// The control block: what the hypervisor tells the logical processor about a guest, and what the processor tells back
// at an exit. Fields and exit codes are those of AMD's VMCB (APM volume 2, appendix B and C); with the extended format
// of the second level, exit information of a nested fault is the exit qualification of the Intel SDM instead.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "cpu/event_delivery.h"
#include "slat/second_level.h"

namespace cpu {

enum class ExitCode : std::uint32_t {
    exception = 0x40,  // + vector
    interrupt = 0x60,  // the host wants the processor: the time limit
    interrupt_window = 0x64,
    cr8_read = 0x08,
    cr8_write = 0x18,
    rdpmc = 0x6f,
    cpuid = 0x72,
    rsm = 0x73,
    iret = 0x74,
    invd = 0x76,
    pause = 0x77,
    halt = 0x78,
    invlpg = 0x79,
    invlpga = 0x7a,
    io = 0x7b,
    msr = 0x7c,
    shutdown = 0x7f,
    vmrun = 0x80,
    hypercall = 0x81,  // VMMCALL, VMCALL
    wbinvd = 0x89,
    monitor = 0x8a,
    mwait = 0x8b,
    mwait_armed = 0x8c,
    xsetbv = 0x8d,
    nested_fault = 0x400,
};

// EXITINFO1 of an I/O exit (APM volume 2, 15.10.2).
struct IoExit {
    std::uint16_t port = 0;
    std::uint8_t size = 0;  // bytes
    bool in = false;
    bool string = false;
    bool rep = false;

    static constexpr IoExit of(std::uint64_t info1) {
        IoExit io;
        io.port = static_cast<std::uint16_t>(info1 >> 16);
        io.in = (info1 & 1) != 0;
        io.string = (info1 & 4) != 0;
        io.rep = (info1 & 8) != 0;
        io.size = (info1 & 0x10) != 0 ? 1 : (info1 & 0x20) != 0 ? 2 : 4;
        return io;
    }
};

struct ControlBlock {
    // For the processor.
    slat::SecondLevel second_level;
    std::uint16_t partition = 0;  // tags of its translations
    std::uint16_t vp = 0;
    std::uint32_t intercept_exceptions = 0;  // by vector
    bool interrupt_window = false;           // exit as soon as an interrupt can be taken
    std::optional<Event> injection;          // delivered before the first instruction, then cleared

    // From the processor.
    ExitCode exit_code = ExitCode::interrupt;
    std::uint64_t exit_info1 = 0;
    std::uint64_t exit_info2 = 0;
    std::optional<Event> interrupted_delivery;  // EXITINTINFO: the event whose delivery ended in this exit
    std::array<std::uint8_t, 15> instruction{};
    std::uint8_t instruction_bytes = 0;   // fetched
    std::uint8_t instruction_length = 0;  // decoded; 0 if it isn't known
};

}  // namespace cpu
