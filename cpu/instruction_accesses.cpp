#include "cpu/instruction_accesses.h"

#include <capstone/capstone.h>

#include <algorithm>

#include "cpu/instruction.h"
#include "sim/check.h"

namespace cpu {

namespace {

constexpr u64 mask_of(unsigned bytes) {
    return bytes == 8 ? ~u64{0} : bytes == 4 ? low32 : 0xffff;
}

constexpr unsigned of_execution = 0;
constexpr unsigned of_writes = 1;
constexpr unsigned of_accesses = 3;

bool is_enabled(const Registers& r, unsigned n) {
    return (r.dr7 >> 2 * n & 3) != 0;
}
unsigned kind_of(const Registers& r, unsigned n) {
    return static_cast<unsigned>(r.dr7 >> (16 + 4 * n) & 3);
}
u64 length_of(const Registers& r, unsigned n) {
    constexpr std::array<u64, 4> lengths{1, 2, 8, 4};  // SDM 17.2.4
    return lengths[r.dr7 >> (18 + 4 * n) & 3];
}

// In 64-bit mode only FS and GS have a base.
u64 linear(const Registers& r, SegmentName segment, u64 offset) {
    if (!r.code_64bit()) return (r[segment].base + offset) & low32;
    return segment == SegmentName::fs || segment == SegmentName::gs ? r[segment].base + offset : offset;
}

// A register of any width, as an address uses it.
u64 value_of(const Registers& r, x86_reg reg) {
    switch (reg) {
#define VG_ADDRESS_REGISTER(n, r64, r32, r16) \
    case X86_REG_##r64:                       \
        return r.gpr[n];                      \
    case X86_REG_##r32:                       \
        return r.gpr[n] & low32;              \
    case X86_REG_##r16:                       \
        return r.gpr[n] & 0xffff;
        VG_ADDRESS_REGISTER(0, RAX, EAX, AX)
        VG_ADDRESS_REGISTER(1, RCX, ECX, CX)
        VG_ADDRESS_REGISTER(2, RDX, EDX, DX)
        VG_ADDRESS_REGISTER(3, RBX, EBX, BX)
        VG_ADDRESS_REGISTER(4, RSP, ESP, SP)
        VG_ADDRESS_REGISTER(5, RBP, EBP, BP)
        VG_ADDRESS_REGISTER(6, RSI, ESI, SI)
        VG_ADDRESS_REGISTER(7, RDI, EDI, DI)
        VG_ADDRESS_REGISTER(8, R8, R8D, R8W)
        VG_ADDRESS_REGISTER(9, R9, R9D, R9W)
        VG_ADDRESS_REGISTER(10, R10, R10D, R10W)
        VG_ADDRESS_REGISTER(11, R11, R11D, R11W)
        VG_ADDRESS_REGISTER(12, R12, R12D, R12W)
        VG_ADDRESS_REGISTER(13, R13, R13D, R13W)
        VG_ADDRESS_REGISTER(14, R14, R14D, R14W)
        VG_ADDRESS_REGISTER(15, R15, R15D, R15W)
#undef VG_ADDRESS_REGISTER
        default:
            return 0;
    }
}

SegmentName segment_of(const x86_op_mem& memory) {
    switch (memory.segment) {
        case X86_REG_ES:
            return SegmentName::es;
        case X86_REG_CS:
            return SegmentName::cs;
        case X86_REG_SS:
            return SegmentName::ss;
        case X86_REG_DS:
            return SegmentName::ds;
        case X86_REG_FS:
            return SegmentName::fs;
        case X86_REG_GS:
            return SegmentName::gs;
        default:
            break;
    }
    switch (memory.base) {
        case X86_REG_RSP:
        case X86_REG_ESP:
        case X86_REG_SP:
        case X86_REG_RBP:
        case X86_REG_EBP:
        case X86_REG_BP:
            return SegmentName::ss;
        default:
            return SegmentName::ds;
    }
}

enum class StackUse : u8 { none, push, pop };

StackUse stack_use(const cs_insn& instruction) {
    switch (instruction.id) {
        case X86_INS_PUSH:
        case X86_INS_PUSHF:
        case X86_INS_PUSHFD:
        case X86_INS_PUSHFQ:
        case X86_INS_CALL:
        case X86_INS_LCALL:
        case X86_INS_ENTER:
            return StackUse::push;
        case X86_INS_POP:
        case X86_INS_POPF:
        case X86_INS_POPFD:
        case X86_INS_POPFQ:
        case X86_INS_RET:
        case X86_INS_RETF:
        case X86_INS_IRET:
        case X86_INS_IRETD:
        case X86_INS_IRETQ:
            return StackUse::pop;
        default:
            return StackUse::none;
    }
}

// An address, not an access.
bool only_names_memory(const cs_insn& instruction) {
    switch (instruction.id) {
        case X86_INS_LEA:
        case X86_INS_NOP:
        case X86_INS_INVLPG:
        case X86_INS_PREFETCH:
        case X86_INS_PREFETCHNTA:
        case X86_INS_PREFETCHT0:
        case X86_INS_PREFETCHT1:
        case X86_INS_PREFETCHT2:
        case X86_INS_PREFETCHW:
            return true;
        default:
            return false;
    }
}

// Capstone takes many a destination for a source.
bool writes_first_operand(const cs_insn& instruction) {
    switch (instruction.id) {
        case X86_INS_CMP:
        case X86_INS_TEST:
        case X86_INS_BT:
        case X86_INS_CMPSB:
        case X86_INS_CMPSW:
        case X86_INS_CMPSD:
        case X86_INS_CMPSQ:
            return false;
        case X86_INS_FST:
        case X86_INS_FSTP:
        case X86_INS_FSTPNCE:
        case X86_INS_FIST:
        case X86_INS_FISTP:
        case X86_INS_FISTTP:
        case X86_INS_FBSTP:
        case X86_INS_FNSTCW:
        case X86_INS_FNSTSW:
        case X86_INS_FNSTENV:
        case X86_INS_FNSAVE:
        case X86_INS_STMXCSR:
        case X86_INS_CMPXCHG8B:
        case X86_INS_CMPXCHG16B:
            return true;
        default:
            return instruction.detail->x86.op_count > 1;
    }
}

u64 operand_address(const cs_insn& instruction, const cs_x86_op& operand, const Registers& r) {
    const x86_op_mem& memory = operand.mem;
    u64 offset = static_cast<u64>(memory.disp) + value_of(r, memory.base) +
                 value_of(r, memory.index) * static_cast<u64>(memory.scale);
    if (memory.base == X86_REG_RIP || memory.base == X86_REG_EIP) offset += r.rip + instruction.size;
    // POP to memory through RSP uses its value after the increment.
    if (instruction.id == X86_INS_POP && memory.base == X86_REG_RSP) offset += operand.size;
    return linear(r, segment_of(memory), offset & mask_of(instruction.detail->x86.addr_size));
}

}  // namespace

struct AccessFinder::Decoder {
    Decoder() {
        const std::array<cs_mode, 3> modes{CS_MODE_16, CS_MODE_32, CS_MODE_64};  // in the order of CodeSize
        for (std::size_t i = 0; i < modes.size(); ++i) {
            VG_CHECK(cs_open(CS_ARCH_X86, modes[i], &handles[i]) == CS_ERR_OK);
            cs_option(handles[i], CS_OPT_DETAIL, CS_OPT_ON);
        }
        scratch = cs_malloc(handles[0]);
    }
    ~Decoder() {
        cs_free(scratch, 1);
        for (csh& handle : handles) cs_close(&handle);
    }
    Decoder(const Decoder&) = delete;
    Decoder& operator=(const Decoder&) = delete;

    std::array<csh, 3> handles{};
    cs_insn* scratch = nullptr;
};

AccessFinder::AccessFinder() : decoder_(std::make_unique<Decoder>()) {}
AccessFinder::~AccessFinder() = default;

bool AccessFinder::decode(std::span<const u8> code, const Registers& r) const {
    const u8* cursor = code.data();
    std::size_t left = std::min<std::size_t>(code.size(), 15);
    u64 at = 0;
    return cs_disasm_iter(decoder_->handles[static_cast<std::size_t>(code_size_of(r))], &cursor, &left, &at,
                          decoder_->scratch);
}

std::optional<u64> AccessFinder::address(std::span<const u8> code, const Registers& r) const {
    if (!decode(code, r)) return std::nullopt;
    const cs_x86& x86 = decoder_->scratch->detail->x86;
    for (unsigned i = 0; i < x86.op_count; ++i) {
        if (x86.operands[i].type == X86_OP_MEM) return operand_address(*decoder_->scratch, x86.operands[i], r);
    }
    return std::nullopt;
}

DataAccesses AccessFinder::find(std::span<const u8> code, const Registers& r) const {
    DataAccesses found;
    if (!decode(code, r)) return found;
    const CodeSize size = code_size_of(r);
    const cs_insn& instruction = *decoder_->scratch;
    const cs_x86& x86 = instruction.detail->x86;
    const bool repeated = x86.prefix[0] == X86_PREFIX_REP || x86.prefix[0] == X86_PREFIX_REPNE;
    const u64 address_mask = mask_of(x86.addr_size);
    for (unsigned i = 0; i < x86.op_count && !only_names_memory(instruction); ++i) {
        const cs_x86_op& operand = x86.operands[i];
        if (operand.type != X86_OP_MEM) continue;
        const bool writes = (operand.access & CS_AC_WRITE) != 0 || (i == 0 && writes_first_operand(instruction));
        found.add({operand_address(instruction, operand, r), operand.size, (operand.access & CS_AC_READ) != 0, writes});
    }
    if (repeated && (r[Gpr::rcx] & address_mask) == 0) found.count = 0;
    const StackUse use = stack_use(instruction);
    if (use != StackUse::none) {
        const bool wide = size == CodeSize::bits64;
        const u64 mask = wide ? ~u64{0} : r[SegmentName::ss].has(segment::default_big) ? low32 : 0xffff;
        const unsigned normal = size == CodeSize::bits16 ? 2 : 4;
        const unsigned other = size == CodeSize::bits16 ? 4 : 2;
        const unsigned bytes = x86.prefix[2] == X86_PREFIX_OPSIZE ? other : wide ? 8 : normal;
        const u64 top = r[Gpr::rsp] - (use == StackUse::push ? bytes : 0);
        found.add({linear(r, SegmentName::ss, top & mask), bytes, use == StackUse::pop, use == StackUse::push});
    }
    return found;
}

u64 execution_breakpoints(const Registers& r, u64 linear_rip) {
    u64 hit = 0;
    for (unsigned n = 0; n < 4; ++n) {
        if (is_enabled(r, n) && kind_of(r, n) == of_execution && r.dr[n] == linear_rip) hit |= u64{1} << n;
    }
    return hit;
}

u64 data_breakpoints(const Registers& r, const DataAccesses& accesses) {
    u64 hit = 0;
    for (unsigned n = 0; n < 4; ++n) {
        const unsigned kind = kind_of(r, n);
        if (!is_enabled(r, n) || (kind != of_writes && kind != of_accesses)) continue;
        const u64 length = length_of(r, n);
        const u64 first = r.dr[n] & ~(length - 1);
        for (const DataAccess& a : accesses.all()) {
            const bool overlaps = a.linear - first < length || first - a.linear < a.size;
            if (overlaps && (a.write || kind == of_accesses)) hit |= u64{1} << n;
        }
    }
    return hit;
}

}  // namespace cpu
