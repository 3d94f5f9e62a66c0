#include "cpu/mmio_emulator.h"

#include <algorithm>
#include <array>

#include "cpu/arithmetic.h"
#include "sim/bits.h"

namespace cpu {

namespace {

// One instruction, or one iteration of it. Methods return false once `result_` tells why it was not carried out.
class Step {
public:
    Step(const Registers& r, const Instruction& instruction, LinearMemory& memory, DeviceAccess& device)
        : before_(r), r_(r), instruction_(instruction), memory_(memory), device_(device) {}

    bool run();
    const Registers& registers() const { return r_; }
    const EmulationResult& result() const { return result_; }

private:
    void complete();
    bool two_operands();
    bool one_operand();
    bool bit_operation();
    bool compare_exchange();
    bool push();
    bool pop();
    bool string();
    bool string_element(unsigned size);

    u64 linear(SegmentName segment, u64 offset) const;
    u64 effective_address(const MemoryOperand& operand) const;
    u64 address_mask() const { return width_mask(instruction_.address_size); }
    bool load(const Operand& operand, u64& value);
    bool store(const Operand& operand, u64 value);
    bool load_memory(SegmentName segment, u64 offset, unsigned size, u64& value);
    bool store_memory(SegmentName segment, u64 offset, unsigned size, u64 value);
    bool probe_read(SegmentName segment, u64 offset, unsigned size);
    bool probe_write(SegmentName segment, u64 offset, unsigned size);
    bool load_piece(SegmentName segment, u64 address, unsigned size, u64& value);
    bool store_piece(SegmentName segment, u64 address, unsigned size, u64 value);
    void set_gpr(Gpr gpr, unsigned size, u64 value);
    void advance(Gpr gpr, unsigned size);
    void set_flags(const AluResult& alu) { r_.rflags = (r_.rflags & ~alu.affected) | alu.flags; }
    Privilege privilege() const { return privilege_of(r_.cpl()); }
    bool carry() const { return (r_.rflags & rflags::cf) != 0; }

    bool unhandled() {
        result_.outcome = Emulation::unhandled;
        return false;
    }
    bool refused(const LinearAccess& access, SegmentName segment) {
        result_.outcome = Emulation::exception;
        switch (access.result) {
            case LinearResult::page_fault:
                result_.raised = page_fault_event(access.error_code, access.cr2);
                break;
            case LinearResult::non_canonical: {
                const u8 vector = segment == SegmentName::ss ? vector::stack_fault : vector::general_protection;
                result_.raised = exception_event(vector, 0);
                break;
            }
            default:
                result_.outcome = Emulation::nested_fault;
        }
        return false;
    }

    const Registers& before_;
    Registers r_;
    const Instruction& instruction_;
    LinearMemory& memory_;
    DeviceAccess& device_;
    EmulationResult result_;
};

bool Step::run() {
    bool ok = false;
    switch (instruction_.operation) {
        case Operation::movs:
        case Operation::cmps:
        case Operation::stos:
        case Operation::lods:
        case Operation::scas:
            return string();
        case Operation::inc:
        case Operation::dec:
        case Operation::not_:
        case Operation::neg:
            ok = one_operand();
            break;
        case Operation::bt:
        case Operation::bts:
        case Operation::btr:
        case Operation::btc:
            ok = bit_operation();
            break;
        case Operation::cmpxchg:
            ok = compare_exchange();
            break;
        case Operation::push:
            ok = push();
            break;
        case Operation::pop:
            ok = pop();
            break;
        case Operation::other:
        case Operation::in:
        case Operation::out:
        case Operation::ins:
        case Operation::outs:
            return unhandled();
        default:
            ok = two_operands();
    }
    if (ok) complete();
    return ok;
}

void Step::complete() {
    r_.rip = (r_.rip + instruction_.length) & (r_.code_64bit() ? ~u64{0} : low32);
    r_.rflags &= ~rflags::rf;
}

bool Step::two_operands() {
    const auto& [destination, source] = instruction_.operands;
    u64 a = 0;
    u64 b = 0;
    if (destination.kind == OperandKind::none || source.kind == OperandKind::none) return unhandled();
    if (!load(source, b)) return false;
    const unsigned size = destination.size;
    switch (instruction_.operation) {
        case Operation::mov:
        case Operation::movzx:
            return store(destination, b);
        case Operation::movsx:
            return store(destination, sim::sign_extend(b, 8 * source.size));
        default:
            break;
    }
    if (!load(destination, a)) return false;
    AluResult alu;
    switch (instruction_.operation) {
        case Operation::add:
            alu = alu_add(a, b, false, size);
            break;
        case Operation::adc:
            alu = alu_add(a, b, carry(), size);
            break;
        case Operation::sub:
        case Operation::cmp:
            alu = alu_subtract(a, b, false, size);
            break;
        case Operation::sbb:
            alu = alu_subtract(a, b, carry(), size);
            break;
        case Operation::and_:
        case Operation::test:
            alu = alu_logic(a & b, size);
            break;
        case Operation::or_:
            alu = alu_logic(a | b, size);
            break;
        case Operation::xor_:
            alu = alu_logic(a ^ b, size);
            break;
        case Operation::xchg:
            return destination.kind == OperandKind::memory ? store(destination, b) && store(source, a)
                                                           : store(source, a) && store(destination, b);
        case Operation::xadd:
            alu = alu_add(a, b, false, size);
            // The sum goes last: it wins if both are one register.
            if (destination.kind != OperandKind::memory && !store(source, a)) return false;
            if (!store(destination, alu.value)) return false;
            if (destination.kind == OperandKind::memory && !store(source, a)) return false;
            set_flags(alu);
            return true;
        default:
            return unhandled();
    }
    const bool keeps = instruction_.operation != Operation::cmp && instruction_.operation != Operation::test;
    if (keeps && !store(destination, alu.value)) return false;
    set_flags(alu);
    return true;
}

bool Step::one_operand() {
    const Operand& operand = instruction_.operands[0];
    u64 a = 0;
    if (!load(operand, a)) return false;
    AluResult alu;
    switch (instruction_.operation) {
        case Operation::inc:
            alu = alu_increment(a, operand.size);
            break;
        case Operation::dec:
            alu = alu_decrement(a, operand.size);
            break;
        case Operation::neg:
            alu = alu_subtract(0, a, false, operand.size);
            break;
        default:
            alu.value = ~a;
    }
    if (!store(operand, alu.value)) return false;
    set_flags(alu);
    return true;
}

// With a register as bit number the operand is a bit string, and the number reaches beyond the operand's size.
bool Step::bit_operation() {
    Operand operand = instruction_.operands[0];
    const Operand& number = instruction_.operands[1];
    u64 n = 0;
    if (!load(number, n)) return false;
    const unsigned bits = 8u * operand.size;
    if (bits < 16) return unhandled();
    if (operand.kind == OperandKind::memory && number.kind == OperandKind::gpr) {
        const auto whole = static_cast<std::int64_t>(sim::sign_extend(n, 8 * number.size)) >> (bits == 16   ? 4
                                                                                               : bits == 32 ? 5
                                                                                                            : 6);
        operand.memory.displacement += static_cast<u64>(whole) * operand.size;
    }
    n &= bits - 1;
    u64 a = 0;
    if (!load(operand, a)) return false;
    const bool was_set = (a >> n & 1) != 0;
    const u64 bit = u64{1} << n;
    switch (instruction_.operation) {
        case Operation::bts:
            a |= bit;
            break;
        case Operation::btr:
            a &= ~bit;
            break;
        case Operation::btc:
            a ^= bit;
            break;
        default:
            break;
    }
    if (instruction_.operation != Operation::bt && !store(operand, a)) return false;
    r_.rflags = was_set ? r_.rflags | rflags::cf : r_.rflags & ~rflags::cf;
    return true;
}

// The destination is written in any case, as the locked bus cycle demands.
bool Step::compare_exchange() {
    const auto& [destination, source] = instruction_.operands;
    u64 a = 0;
    u64 b = 0;
    if (!load(destination, a) || !load(source, b)) return false;
    const u64 accumulator = r_[Gpr::rax] & width_mask(destination.size);
    const AluResult alu = alu_subtract(accumulator, a, false, destination.size);
    const bool equal = alu.value == 0;
    if (destination.kind == OperandKind::memory || equal) {
        if (!store(destination, equal ? b : a)) return false;
    }
    if (!equal) set_gpr(Gpr::rax, destination.size, a);
    set_flags(alu);
    return true;
}

bool Step::push() {
    const Operand& operand = instruction_.operands[0];
    const unsigned stack = r_.code_64bit() ? 8 : r_[SegmentName::ss].has(segment::default_big) ? 4 : 2;
    u64 value = 0;
    const u64 sp = (r_[Gpr::rsp] - operand.size) & width_mask(stack);
    if (!probe_write(SegmentName::ss, sp, operand.size) || !load(operand, value)) return false;
    if (!store_memory(SegmentName::ss, sp, operand.size, value)) return false;
    set_gpr(Gpr::rsp, stack, sp);
    return true;
}

// An address through RSP uses its value after the increment.
bool Step::pop() {
    const Operand& operand = instruction_.operands[0];
    const unsigned stack = r_.code_64bit() ? 8 : r_[SegmentName::ss].has(segment::default_big) ? 4 : 2;
    u64 value = 0;
    const u64 sp = r_[Gpr::rsp] & width_mask(stack);
    if (!load_memory(SegmentName::ss, sp, operand.size, value)) return false;
    set_gpr(Gpr::rsp, stack, (sp + operand.size) & width_mask(stack));
    return store(operand, value);
}

bool Step::string() {
    const unsigned size = instruction_.operand_size;
    if (size != 1 && size != 2 && size != 4 && size != 8) return unhandled();
    const bool repeated = instruction_.repeat != Repeat::none;
    bool finished = true;
    if (repeated) {
        const u64 count = r_[Gpr::rcx] & address_mask();
        if (count != 0) {
            if (!string_element(size)) return false;
            set_gpr(Gpr::rcx, instruction_.address_size, count - 1);
            finished = count == 1;
            if (instruction_.operation == Operation::cmps || instruction_.operation == Operation::scas) {
                const bool equal = (r_.rflags & rflags::zf) != 0;
                finished = finished || equal != (instruction_.repeat == Repeat::while_equal);
            }
        }
    } else if (!string_element(size)) {
        return false;
    }
    result_.repeats = !finished;
    if (finished) complete();
    return true;
}

bool Step::string_element(unsigned size) {
    const u64 source = r_[Gpr::rsi] & address_mask();
    const u64 destination = r_[Gpr::rdi] & address_mask();
    u64 a = 0;
    u64 b = 0;
    switch (instruction_.operation) {
        case Operation::movs:
            if (!probe_write(SegmentName::es, destination, size)) return false;
            if (!load_memory(instruction_.segment, source, size, a)) return false;
            if (!store_memory(SegmentName::es, destination, size, a)) return false;
            advance(Gpr::rsi, size);
            advance(Gpr::rdi, size);
            return true;
        case Operation::cmps:
            if (!probe_read(instruction_.segment, source, size)) return false;
            if (!probe_read(SegmentName::es, destination, size)) return false;
            if (!load_memory(instruction_.segment, source, size, a)) return false;
            if (!load_memory(SegmentName::es, destination, size, b)) return false;
            set_flags(alu_subtract(a, b, false, size));
            advance(Gpr::rsi, size);
            advance(Gpr::rdi, size);
            return true;
        case Operation::scas:
            if (!load_memory(SegmentName::es, destination, size, b)) return false;
            set_flags(alu_subtract(r_[Gpr::rax], b, false, size));
            advance(Gpr::rdi, size);
            return true;
        case Operation::stos:
            if (!store_memory(SegmentName::es, destination, size, r_[Gpr::rax])) return false;
            advance(Gpr::rdi, size);
            return true;
        case Operation::lods:
            if (!load_memory(instruction_.segment, source, size, a)) return false;
            set_gpr(Gpr::rax, size, a);
            advance(Gpr::rsi, size);
            return true;
        default:
            return unhandled();
    }
}

void Step::advance(Gpr gpr, unsigned size) {
    const u64 step = (r_.rflags & rflags::df) != 0 ? ~u64{size} + 1 : size;
    set_gpr(gpr, instruction_.address_size, r_[gpr] + step);
}

// In 64-bit mode only FS and GS have a base.
u64 Step::linear(SegmentName name, u64 offset) const {
    if (!r_.code_64bit()) return (r_[name].base + offset) & low32;
    return name == SegmentName::fs || name == SegmentName::gs ? r_[name].base + offset : offset;
}

u64 Step::effective_address(const MemoryOperand& operand) const {
    u64 address = operand.displacement;
    if (operand.base) address += r_[*operand.base];
    if (operand.index) address += r_[*operand.index] * operand.scale;
    if (operand.rip_relative) address += before_.rip + instruction_.length;
    return address & address_mask();
}

bool Step::load(const Operand& operand, u64& value) {
    switch (operand.kind) {
        case OperandKind::gpr:
            value = r_[operand.gpr] & width_mask(operand.size);
            return true;
        case OperandKind::high_byte:
            value = r_[operand.gpr] >> 8 & 0xff;
            return true;
        case OperandKind::immediate:
            value = operand.immediate;
            return true;
        case OperandKind::memory:
            return load_memory(operand.memory.segment, effective_address(operand.memory), operand.size, value);
        case OperandKind::none:
            break;
    }
    return unhandled();
}

bool Step::store(const Operand& operand, u64 value) {
    switch (operand.kind) {
        case OperandKind::gpr:
            set_gpr(operand.gpr, operand.size, value);
            return true;
        case OperandKind::high_byte:
            r_[operand.gpr] = sim::with_bits(r_[operand.gpr], 15, 8, value & 0xff);
            return true;
        case OperandKind::memory:
            return store_memory(operand.memory.segment, effective_address(operand.memory), operand.size, value);
        default:
            return unhandled();
    }
}

// A 32-bit result clears the upper half; smaller ones leave the rest alone.
void Step::set_gpr(Gpr gpr, unsigned size, u64 value) {
    if (size >= 4) {
        r_[gpr] = value & width_mask(size);
    } else {
        r_[gpr] = (r_[gpr] & ~width_mask(size)) | (value & width_mask(size));
    }
}

// An access that crosses a page is made byte by byte once memory has refused it as a whole, because the two pages need
// not be of one kind.
bool Step::load_memory(SegmentName segment, u64 offset, unsigned size, u64& value) {
    if (size != 1 && size != 2 && size != 4 && size != 8) return unhandled();
    const u64 address = linear(segment, offset);
    value = 0;
    if ((address & 0xfff) + size <= 0x1000) return load_piece(segment, address, size, value);
    const auto bytes = std::as_writable_bytes(std::span{&value, 1}).first(size);
    const LinearAccess whole = memory_.read(address, bytes, privilege());
    if (whole.result != LinearResult::nested_fault) return whole.ok() || refused(whole, segment);
    for (unsigned i = 0; i < size; ++i) {
        u64 byte = 0;
        if (!load_piece(segment, linear(segment, offset + i), 1, byte)) return false;
        value |= byte << 8 * i;
    }
    return true;
}

bool Step::store_memory(SegmentName segment, u64 offset, unsigned size, u64 value) {
    if (size != 1 && size != 2 && size != 4 && size != 8) return unhandled();
    const u64 address = linear(segment, offset);
    if ((address & 0xfff) + size <= 0x1000) return store_piece(segment, address, size, value);
    const auto bytes = std::as_bytes(std::span{&value, 1}).first(size);
    const LinearAccess whole = memory_.write(address, bytes, privilege());
    if (whole.result != LinearResult::nested_fault) return whole.ok() || refused(whole, segment);
    for (unsigned i = 0; i < size; ++i) {
        if (!store_piece(segment, linear(segment, offset + i), 1, value >> 8 * i & 0xff)) return false;
    }
    return true;
}

// Reading a device may change it, so an instruction's other operand must have had its chance to fault before.
bool Step::probe_read(SegmentName segment, u64 offset, unsigned size) {
    u64 value = 0;
    const auto bytes = std::as_writable_bytes(std::span{&value, 1}).first(size);
    const LinearAccess access = memory_.read(linear(segment, offset), bytes, privilege());
    return access.ok() || access.result == LinearResult::nested_fault || refused(access, segment);
}

bool Step::probe_write(SegmentName segment, u64 offset, unsigned size) {
    if (size != 1 && size != 2 && size != 4 && size != 8) return unhandled();
    u64 value = 0;
    const auto bytes = std::as_writable_bytes(std::span{&value, 1}).first(size);
    if (memory_.read(linear(segment, offset), bytes, privilege()).result == LinearResult::nested_fault) return true;
    // What was read is written back; what can't be read can't be written, and says why.
    const LinearAccess access = memory_.write(linear(segment, offset), bytes, privilege());
    return access.ok() || access.result == LinearResult::nested_fault || refused(access, segment);
}

bool Step::load_piece(SegmentName segment, u64 address, unsigned size, u64& value) {
    const auto bytes = std::as_writable_bytes(std::span{&value, 1}).first(size);
    const LinearAccess access = memory_.read(address, bytes, privilege());
    if (access.ok()) return true;
    if (access.result == LinearResult::nested_fault) {
        if (const auto gpa = device_.device_address(address, false, privilege())) {
            value = device_.read(*gpa, size) & width_mask(size);
            return true;
        }
    }
    return refused(access, segment);
}

bool Step::store_piece(SegmentName segment, u64 address, unsigned size, u64 value) {
    value &= width_mask(size);
    const auto bytes = std::as_bytes(std::span{&value, 1}).first(size);
    const LinearAccess access = memory_.write(address, bytes, privilege());
    if (access.ok()) return true;
    if (access.result == LinearResult::nested_fault) {
        if (const auto gpa = device_.device_address(address, true, privilege())) {
            device_.write(*gpa, size, value);
            return true;
        }
    }
    return refused(access, segment);
}

}  // namespace

EmulationResult MmioEmulator::step(Registers& r, std::span<const u8> code, LinearMemory& memory,
                                   DeviceAccess& device) const {
    const auto instruction = decoder_.decode(code, code_size_of(r));
    if (!instruction) return {Emulation::unhandled, false, {}};
    Step step{r, *instruction, memory, device};
    if (step.run()) r = step.registers();
    return step.result();
}

}  // namespace cpu
