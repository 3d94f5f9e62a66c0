#include "cpu/event_delivery.h"

#include <array>
#include <optional>

#include "cpu/descriptor.h"
#include "sim/bits.h"
#include "sim/check.h"

namespace cpu {

namespace {

enum class FaultClass : u8 { benign, contributory, page_fault, double_fault };

FaultClass class_of(const Event& e) {
    if (e.type != EventType::exception) return FaultClass::benign;
    switch (e.vector) {
        case vector::divide_error:
        case vector::invalid_tss:
        case vector::not_present:
        case vector::stack_fault:
        case vector::general_protection:
        case vector::control_protection:
            return FaultClass::contributory;
        case vector::page_fault:
        case vector::virtualization:
            return FaultClass::page_fault;
        case vector::double_fault:
            return FaultClass::double_fault;
        default:
            return FaultClass::benign;
    }
}

// Faults report the instruction itself and push RF set, so that an instruction breakpoint on it does not trigger again
// (17.3.1.1). #DB says so by itself where it must; #DF and #MC are aborts.
bool is_fault_class(const Event& e) {
    if (e.type != EventType::exception) return false;
    switch (e.vector) {
        case vector::debug:
        case vector::breakpoint:
        case vector::overflow:
        case vector::double_fault:
        case vector::machine_check:
            return false;
        default:
            return true;
    }
}

// What is pushed, first item first.
struct Frame {
    std::array<u64, 11> items{};
    unsigned count = 0;
    unsigned item_bytes = 8;

    void push(u64 value) { items[count++] = value; }
};

// One try. The methods return false once `result_` tells why the event was not delivered.
class Attempt {
public:
    Attempt(const Registers& r, LinearMemory& memory, const Event& event)
        : r_(r), next_(r), memory_(memory), event_(event), ext_(event.is_software() ? 0 : 1) {
        result_.event = event;
    }

    bool run() {
        if (!r_.protected_mode()) return real_mode();
        return protected_mode();
    }
    const Registers& registers() const { return next_; }
    const DeliveryResult& result() const { return result_; }

private:
    bool real_mode();
    bool protected_mode();
    bool read_gate(Gate& gate);
    bool check_gate(const Gate& gate);
    bool long_mode_handler(const Gate& gate, const Segment& cs, unsigned new_cpl);
    bool legacy_handler(const Gate& gate, const Segment& cs, unsigned new_cpl);
    bool legacy_stack_of_tss(unsigned new_cpl, Segment& ss, u64& sp);
    void enter(const Gate& gate, Segment cs, unsigned new_cpl);

    bool read_code_segment(u16 selector, Segment& cs);
    bool read_descriptor(u16 selector, u8 fault_vector, Descriptor& descriptor, u64& address);
    bool mark_accessed(Descriptor& descriptor, u64 address);
    template <class T>
    bool read_tss(u64 offset, T& value);
    void push_return(Frame& frame) const;
    bool write_legacy_stack(const Segment& ss, u64& sp, const Frame& frame, Privilege privilege, u32 error_code);
    bool write_items(const Frame& frame, std::span<const u64> addresses, Privilege privilege, u32 error_code);

    bool fault(u8 fault_vector, u32 error_code) {
        result_.outcome = Delivery::exception;
        result_.raised = exception_event(fault_vector, error_code);
        return false;
    }
    bool check(const LinearAccess& access, u8 fault_vector, u32 error_code) {
        switch (access.result) {
            case LinearResult::ok:
                return true;
            case LinearResult::page_fault:
                result_.outcome = Delivery::exception;
                result_.raised = page_fault_event(access.error_code, access.cr2);
                return false;
            case LinearResult::non_canonical:
                return fault(fault_vector, error_code);
            case LinearResult::nested_fault:
                result_.outcome = Delivery::nested_fault;
                return false;
        }
        return false;
    }
    u32 idt_code() const { return event_.vector * 8u | 2u | ext_; }
    u32 selector_code(u16 selector) const { return (selector & 0xfffcu) | ext_; }
    u64 wrap(u64 linear) const { return r_.long_mode() ? linear : linear & low32; }

    const Registers& r_;
    Registers next_;
    LinearMemory& memory_;
    const Event& event_;
    const u32 ext_;
    DeliveryResult result_;
};

// INT n, "REAL-ADDRESS-MODE".
bool Attempt::real_mode() {
    if (event_.vector * 4u + 3 > r_.idtr.limit) return fault(vector::general_protection, idt_code());
    u32 entry = 0;
    const u64 address = (r_.idtr.base + event_.vector * 4u) & low32;
    if (!check(load(memory_, address, entry, Privilege::implicit_supervisor), vector::general_protection, idt_code())) {
        return false;
    }
    Frame frame;
    frame.item_bytes = 2;
    push_return(frame);
    u64 sp = r_[Gpr::rsp];
    if (!write_legacy_stack(r_[SegmentName::ss], sp, frame, Privilege::supervisor, ext_)) return false;
    next_[Gpr::rsp] = sp;
    next_.rflags &= ~(rflags::if_ | rflags::tf | rflags::ac | rflags::rf);
    Segment& cs = next_[SegmentName::cs];  // limit and rights stay
    cs.selector = static_cast<u16>(entry >> 16);
    cs.base = u64{cs.selector} << 4;
    next_.rip = entry & 0xffff;
    return true;
}

// "PROTECTED-MODE", "TRAP-OR-INTERRUPT-GATE".
bool Attempt::protected_mode() {
    if (r_.virtual_8086() && event_.type == EventType::software_interrupt &&
        (r_.rflags & rflags::iopl) != rflags::iopl) {
        return fault(vector::general_protection, 0);
    }
    Gate gate;
    if (!read_gate(gate) || !check_gate(gate)) return false;
    Segment cs;
    if (!read_code_segment(gate.selector(), cs)) return false;
    const unsigned cpl = r_.cpl();
    const unsigned new_cpl = cs.has(segment::conforming) ? cpl : cs.dpl();
    if (r_.virtual_8086() && new_cpl != 0) return fault(vector::general_protection, selector_code(gate.selector()));
    return r_.long_mode() ? long_mode_handler(gate, cs, new_cpl) : legacy_handler(gate, cs, new_cpl);
}

bool Attempt::read_gate(Gate& gate) {
    const unsigned size = r_.long_mode() ? 16 : 8;
    const u32 offset = event_.vector * size;
    if (offset + size - 1 > r_.idtr.limit) return fault(vector::general_protection, idt_code());
    std::array<u64, 2> words{};
    const auto bytes = std::as_writable_bytes(std::span{words}).first(size);
    const LinearAccess access = memory_.read(wrap(r_.idtr.base + offset), bytes, Privilege::implicit_supervisor);
    gate = {words[0], words[1] & low32};
    return check(access, vector::general_protection, idt_code());
}

bool Attempt::check_gate(const Gate& gate) {
    bool known = false;
    switch (gate.type()) {
        case segment::interrupt_gate32:
        case segment::trap_gate32:
            known = true;
            break;
        case segment::interrupt_gate16:
        case segment::trap_gate16:
        case segment::task_gate:
            known = !r_.long_mode();
            break;
        default:
            break;
    }
    if (!gate.is_system() || !known) return fault(vector::general_protection, idt_code());
    if (event_.is_software() && gate.dpl() < r_.cpl()) return fault(vector::general_protection, idt_code());
    if (!gate.present()) return fault(vector::not_present, idt_code());
    if (gate.type() == segment::task_gate) return fault(vector::invalid_tss, selector_code(gate.selector()));
    return true;
}

bool Attempt::read_code_segment(u16 selector, Segment& cs) {
    if ((selector & 0xfffc) == 0) return fault(vector::general_protection, ext_);
    Descriptor descriptor;
    u64 address = 0;
    if (!read_descriptor(selector, vector::general_protection, descriptor, address)) return false;
    cs = descriptor.segment(selector);
    const u32 code = selector_code(selector);
    if (!cs.has(segment::not_system) || !cs.has(segment::code) || cs.dpl() > r_.cpl()) {
        return fault(vector::general_protection, code);
    }
    if (r_.long_mode() && (!cs.has(segment::long_mode) || cs.has(segment::default_big))) {
        return fault(vector::general_protection, code);
    }
    if (!cs.present()) return fault(vector::not_present, code);
    if (!mark_accessed(descriptor, address)) return false;
    cs = descriptor.segment(selector);
    return true;
}

// 6.14: the stack is aligned, and always carries SS:RSP.
bool Attempt::long_mode_handler(const Gate& gate, const Segment& cs, unsigned new_cpl) {
    const bool inner = new_cpl < r_.cpl();
    u64 rsp = r_[Gpr::rsp];
    if (const unsigned index = gate.stack_table_index(); index != 0) {
        if (!read_tss(28 + 8 * u64{index}, rsp)) return false;
    } else if (inner) {
        if (!read_tss(4 + 8 * u64{new_cpl}, rsp)) return false;
    }
    Frame frame;
    frame.push(r_[SegmentName::ss].selector);
    frame.push(r_[Gpr::rsp]);
    push_return(frame);
    rsp = (rsp & ~u64{15}) - 8 * u64{frame.count};
    std::array<u64, 11> addresses{};
    for (unsigned i = 0; i < frame.count; ++i) addresses[i] = rsp + 8 * u64{frame.count - 1 - i};
    if (!write_items(frame, std::span{addresses}.first(frame.count), privilege_of(new_cpl), ext_)) return false;
    const u64 rip = gate.offset();
    const unsigned width = (r_.cr4 & cr4::la57) != 0 ? 57 : 48;
    if (sim::sign_extend(rip, width) != rip) return fault(vector::general_protection, ext_);
    if (inner) {
        const auto attributes = static_cast<u16>(new_cpl << segment::dpl_shift);  // null, usable for its DPL only
        next_[SegmentName::ss] = {static_cast<u16>(new_cpl), attributes, 0, 0};
    }
    next_[Gpr::rsp] = rsp;
    enter(gate, cs, new_cpl);
    return true;
}

// "INTER-PRIVILEGE-LEVEL-INTERRUPT", "INTERRUPT-FROM-VIRTUAL-8086-MODE", "INTRA-PRIVILEGE-LEVEL-INTERRUPT".
bool Attempt::legacy_handler(const Gate& gate, const Segment& cs, unsigned new_cpl) {
    const bool inner = new_cpl < r_.cpl();
    Segment ss = r_[SegmentName::ss];
    u64 sp = r_[Gpr::rsp] & low32;
    Frame frame;
    frame.item_bytes = gate.is_32bit() ? 4 : 2;
    u32 stack_code = ext_;
    if (inner) {
        if (!legacy_stack_of_tss(new_cpl, ss, sp)) return false;
        stack_code = selector_code(ss.selector);
        if (r_.virtual_8086()) {
            for (const auto name : {SegmentName::gs, SegmentName::fs, SegmentName::ds, SegmentName::es}) {
                frame.push(r_[name].selector);
                next_[name] = {};
            }
        }
        frame.push(r_[SegmentName::ss].selector);
        frame.push(r_[Gpr::rsp]);
    }
    push_return(frame);
    if (!write_legacy_stack(ss, sp, frame, privilege_of(new_cpl), stack_code)) return false;
    if (gate.offset() > cs.limit) return fault(vector::general_protection, ext_);
    next_[SegmentName::ss] = ss;
    next_[Gpr::rsp] = sp;
    enter(gate, cs, new_cpl);
    return true;
}

bool Attempt::legacy_stack_of_tss(unsigned new_cpl, Segment& ss, u64& sp) {
    u16 selector = 0;
    if (!r_.tr.is_task_state()) return fault(vector::invalid_tss, selector_code(r_.tr.selector));
    const unsigned type = r_.tr.type();
    if (type == segment::tss32_busy || type == segment::tss32_available) {
        std::array<u16, 3> stack{};  // ESP, SS: one access, so that one limit check covers both
        if (8 * new_cpl + 4 + 5 > r_.tr.limit) return fault(vector::invalid_tss, selector_code(r_.tr.selector));
        const u64 address = wrap(r_.tr.base + 8 * u64{new_cpl} + 4);
        const auto bytes = std::as_writable_bytes(std::span{stack});
        if (!check(memory_.read(address, bytes, Privilege::implicit_supervisor), vector::invalid_tss, ext_)) {
            return false;
        }
        sp = stack[0] | u64{stack[1]} << 16;
        selector = stack[2];
    } else {
        u32 stack = 0;
        if (!read_tss(4 * u64{new_cpl} + 2, stack)) return false;
        sp = stack & 0xffff;
        selector = static_cast<u16>(stack >> 16);
    }
    if ((selector & 0xfffc) == 0) return fault(vector::invalid_tss, ext_);
    Descriptor descriptor;
    u64 address = 0;
    if (!read_descriptor(selector, vector::invalid_tss, descriptor, address)) return false;
    ss = descriptor.segment(selector);
    const bool writable_data = ss.has(segment::not_system) && !ss.has(segment::code) && ss.has(segment::writable);
    if (ss.rpl() != new_cpl || ss.dpl() != new_cpl || !writable_data) {
        return fault(vector::invalid_tss, selector_code(selector));
    }
    if (!ss.present()) return fault(vector::stack_fault, selector_code(selector));
    if (!mark_accessed(descriptor, address)) return false;
    ss = descriptor.segment(selector);
    return true;
}

void Attempt::enter(const Gate& gate, Segment cs, unsigned new_cpl) {
    cs.selector = static_cast<u16>((cs.selector & 0xfffc) | new_cpl);
    next_[SegmentName::cs] = cs;
    next_.rip = gate.offset();
    next_.rflags &= ~(rflags::tf | rflags::nt | rflags::rf | rflags::vm);
    if (gate.is_interrupt_gate()) next_.rflags &= ~rflags::if_;
}

bool Attempt::read_descriptor(u16 selector, u8 fault_vector, Descriptor& descriptor, u64& address) {
    const bool local = (selector & 4) != 0;
    const u64 base = local ? r_.ldtr.base : r_.gdtr.base;
    const u32 limit = local ? r_.ldtr.limit : r_.gdtr.limit;
    const u32 code = selector_code(selector);
    if ((local && !r_.ldtr.present()) || (selector | 7u) > limit) return fault(fault_vector, code);
    address = wrap(base + (selector & 0xfff8u));
    return check(load(memory_, address, descriptor.raw, Privilege::implicit_supervisor), fault_vector, code);
}

bool Attempt::mark_accessed(Descriptor& descriptor, u64 address) {
    if ((descriptor.raw & Descriptor::accessed_flag) != 0) return true;
    descriptor.raw |= Descriptor::accessed_flag;
    const auto byte = static_cast<u8>(descriptor.raw >> 8 * Descriptor::access_byte);
    const u64 at = wrap(address + Descriptor::access_byte);
    return check(store(memory_, at, byte, Privilege::implicit_supervisor), vector::general_protection, ext_);
}

template <class T>
bool Attempt::read_tss(u64 offset, T& value) {
    const u32 code = selector_code(r_.tr.selector);
    if (!r_.tr.is_task_state() || offset + sizeof(T) - 1 > r_.tr.limit) return fault(vector::invalid_tss, code);
    const u64 address = wrap(r_.tr.base + offset);
    return check(load(memory_, address, value, Privilege::implicit_supervisor), vector::invalid_tss, code);
}

// Flags, CS:RIP and the error code.
void Attempt::push_return(Frame& frame) const {
    u64 flags = r_.rflags | rflags::always_one;
    if (is_fault_class(event_)) flags |= rflags::rf;
    u64 rip = r_.rip;
    if (event_.is_software()) rip += event_.instruction_length;
    if (!r_.code_64bit()) rip &= low32;
    frame.push(flags);
    frame.push(r_[SegmentName::cs].selector);
    frame.push(rip);
    if (event_.type == EventType::exception && event_.has_error_code && r_.protected_mode()) {
        frame.push(event_.error_code);
    }
}

// All limit checks come before the first write. `sp` is ESP on entry and on exit; a 16-bit stack changes SP only.
bool Attempt::write_legacy_stack(const Segment& ss, u64& sp, const Frame& frame, Privilege privilege, u32 error_code) {
    const u64 mask = ss.has(segment::default_big) ? low32 : 0xffff;
    const bool expand_down =
        !ss.has(segment::code) && ss.has(segment::expand_down) && r_.protected_mode() && !r_.virtual_8086();
    std::array<u64, 11> addresses{};
    u64 offset = sp & mask;
    for (unsigned i = 0; i < frame.count; ++i) {
        offset = (offset - frame.item_bytes) & mask;
        const u64 last = offset + frame.item_bytes - 1;
        const bool inside = expand_down ? offset > ss.limit && last <= mask : last <= ss.limit;
        if (!inside) return fault(vector::stack_fault, error_code);
        addresses[i] = (ss.base + offset) & low32;
    }
    sp = (sp & ~mask) | offset;
    return write_items(frame, std::span{addresses}.first(frame.count), privilege, error_code);
}

// In one write if the items lie side by side, so that a fault leaves nothing behind.
bool Attempt::write_items(const Frame& frame, std::span<const u64> addresses, Privilege privilege, u32 error_code) {
    std::array<std::byte, 11 * 8> image{};
    const unsigned size = frame.item_bytes;
    for (std::size_t i = 0; i < addresses.size();) {
        std::size_t end = i + 1;
        while (end < addresses.size() && addresses[end] + size == addresses[end - 1]) ++end;
        for (std::size_t k = i; k < end; ++k) {
            std::memcpy(image.data() + (end - 1 - k) * size, &frame.items[k], size);
        }
        const auto bytes = std::span{image}.first((end - i) * size);
        LinearAccess written = memory_.write(addresses[end - 1], bytes, privilege);
        // The processor pushes one item after the other, downwards: the fault is at the first item on the page.
        if (written.result == LinearResult::page_fault) {
            std::size_t first = i;
            while (first + 1 < end && (addresses[first] ^ written.cr2) >> 12 != 0) ++first;
            written.cr2 = addresses[first];
        }
        if (!check(written, vector::stack_fault, error_code)) return false;
        i = end;
    }
    return true;
}

// What an exception tells besides its frame is there before the frame is (4.7, 17.2.3).
void apply_payload(Registers& r, const Event& event) {
    if (event.type != EventType::exception || !event.has_payload) return;
    if (event.vector == vector::page_fault) r.cr2 = event.payload;
    if (event.vector == vector::debug) {
        constexpr u64 settable = dr6::breakpoints | dr6::bd | dr6::bs | dr6::bt;
        r.dr6 = (r.dr6 & ~dr6::breakpoints) | (event.payload & settable) | dr6::fixed_one;
    }
}

}  // namespace

Combined combine(const Event& first, const Event& second) {
    const FaultClass a = class_of(first);
    const FaultClass b = class_of(second);
    if (a == FaultClass::double_fault && (b == FaultClass::contributory || b == FaultClass::page_fault)) {
        return Combined::triple_fault;
    }
    if (a == FaultClass::contributory && b == FaultClass::contributory) return Combined::double_fault;
    if (a == FaultClass::page_fault && (b == FaultClass::contributory || b == FaultClass::page_fault)) {
        return Combined::double_fault;
    }
    return Combined::second;
}

DeliveryResult deliver_once(Registers& r, LinearMemory& memory, const Event& event) {
    apply_payload(r, event);
    Attempt attempt{r, memory, event};
    if (attempt.run()) {
        r = attempt.registers();
        if (event.type == EventType::exception && event.vector == vector::debug) r.dr7 &= ~dr7::gd;
    }
    return attempt.result();
}

DeliveryResult deliver(Registers& r, LinearMemory& memory, const Event& event, u32 intercepted) {
    const auto is_intercepted = [&](const Event& e) { return e.vector < 32 && (intercepted >> e.vector & 1) != 0; };
    Event current = event;
    // A benign event, a contributory fault, a page fault, a double fault: no chain is longer.
    for (int tries = 0; tries < 8; ++tries) {
        DeliveryResult result = deliver_once(r, memory, current);
        if (result.outcome != Delivery::exception || is_intercepted(result.raised)) return result;
        switch (combine(current, result.raised)) {
            case Combined::second:
                current = result.raised;
                break;
            case Combined::double_fault:
                apply_payload(r, result.raised);
                current = exception_event(vector::double_fault);
                if (is_intercepted(current)) {
                    result.raised = current;
                    return result;
                }
                break;
            case Combined::triple_fault:
                result.outcome = Delivery::triple_fault;
                return result;
        }
    }
    VG_CHECK(false, "event delivery does not end");
    return {};
}

}  // namespace cpu
