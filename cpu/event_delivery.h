// Delivery of interrupts and exceptions to the guest: real mode, protected mode (16- and 32-bit gates, virtual-8086
// sources) and long mode, after the SDM's INT n pseudo-code (volume 2A) and volume 3A, chapter 6.
//
// Registers::rip is at the instruction for faults and for software events (which push rip + instruction_length), and at
// the next instruction for interrupts and traps. So a fault on the way to the handler of INT n names the INT itself.
//
// Left out: task gates. One is answered with #TS for the selector in it, as if the TSS were unfit; virtual
// interrupts of virtual-8086 mode (CR4.VME, CR4.PVI); shadow stacks.
#pragma once

#include <cstdint>

#include "cpu/linear_memory.h"
#include "cpu/registers.h"

namespace cpu {

namespace vector {
inline constexpr u8 divide_error = 0;
inline constexpr u8 debug = 1;
inline constexpr u8 nmi = 2;
inline constexpr u8 breakpoint = 3;
inline constexpr u8 overflow = 4;
inline constexpr u8 bound = 5;
inline constexpr u8 invalid_opcode = 6;
inline constexpr u8 no_device = 7;
inline constexpr u8 double_fault = 8;
inline constexpr u8 invalid_tss = 10;
inline constexpr u8 not_present = 11;
inline constexpr u8 stack_fault = 12;
inline constexpr u8 general_protection = 13;
inline constexpr u8 page_fault = 14;
inline constexpr u8 floating_point = 16;
inline constexpr u8 alignment_check = 17;
inline constexpr u8 machine_check = 18;
inline constexpr u8 simd = 19;
inline constexpr u8 virtualization = 20;
inline constexpr u8 control_protection = 21;
}  // namespace vector

enum class EventType : u8 {
    external_interrupt,
    nmi,
    exception,
    software_interrupt,  // INT n
    software_exception,  // INT3, INTO
};

struct Event {
    u8 vector = 0;
    EventType type = EventType::external_interrupt;
    bool has_error_code = false;
    bool has_payload = false;
    u8 instruction_length = 0;  // of the software event's instruction
    u32 error_code = 0;
    u64 payload = 0;  // #PF: CR2; #DB: the bits of DR6 to set. Without one, those registers hold it already.

    [[nodiscard]] constexpr bool is_software() const {
        return type == EventType::software_interrupt || type == EventType::software_exception;
    }
    bool operator==(const Event&) const = default;
    template <class A>
    void fields(A& a) {
        a(vector, type, has_error_code, has_payload, instruction_length, error_code, payload);
    }
};

// Which exceptions push an error code (table 6-1).
[[nodiscard]] constexpr bool pushes_error_code(unsigned vector) {
    return vector == 8 || (vector >= 10 && vector <= 14) || vector == 17 || vector == 21;
}

// An exception by its vector; those without an error code ignore it.
[[nodiscard]] constexpr Event exception_event(u8 vector, u32 error_code = 0) {
    Event e;
    e.vector = vector;
    e.type = EventType::exception;
    e.has_error_code = pushes_error_code(vector);
    e.error_code = e.has_error_code ? error_code : 0;
    return e;
}
[[nodiscard]] constexpr Event page_fault_event(u32 error_code, u64 cr2) {
    Event e = exception_event(vector::page_fault, error_code);
    e.has_payload = true;
    e.payload = cr2;
    return e;
}
[[nodiscard]] constexpr Event debug_event(u64 dr6_bits) {
    Event e = exception_event(vector::debug);
    e.has_payload = true;
    e.payload = dr6_bits;
    return e;
}
[[nodiscard]] constexpr Event external_interrupt_event(u8 vector) {
    Event e;
    e.vector = vector;
    return e;
}
[[nodiscard]] constexpr Event nmi_event() {
    Event e;
    e.vector = vector::nmi;
    e.type = EventType::nmi;
    return e;
}

// What becomes of an exception `second` that is raised while `first` is being delivered (tables 6-4, 6-5).
enum class Combined : u8 { second, double_fault, triple_fault };
[[nodiscard]] Combined combine(const Event& first, const Event& second);

enum class Delivery : u8 {
    delivered,
    triple_fault,  // shutdown
    nested_fault,  // the second level refused a memory access; repeat `event` once that is mended
    exception,     // `event` was to be delivered and raised `raised`, which is the caller's to combine or intercept
};

struct DeliveryResult {
    Delivery outcome = Delivery::delivered;
    Event event;   // the last one whose delivery was tried
    Event raised;  // with Delivery::exception
};

// Tries one event. When it is not delivered, registers are unchanged but for what an exception tells in CR2 and DR6.
[[nodiscard]] DeliveryResult deliver_once(Registers& r, LinearMemory& memory, const Event& event);

// Delivers an event and, where that raises exceptions, those, up to the triple fault. Exceptions in `intercepted` (bit
// = vector) that arise on the way end it with Delivery::exception, before they are combined; the first event is not
// looked up there. Delivery::triple_fault leaves the registers as they were at the last try.
[[nodiscard]] DeliveryResult deliver(Registers& r, LinearMemory& memory, const Event& event, u32 intercepted = 0);

}  // namespace cpu
