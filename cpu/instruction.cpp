#include "cpu/instruction.h"

#include <capstone/capstone.h>

#include <algorithm>

#include "sim/check.h"

namespace cpu {

struct InstructionDecoder::Engine {
    Engine() {
        const std::array<cs_mode, 3> modes{CS_MODE_16, CS_MODE_32, CS_MODE_64};  // in the order of CodeSize
        for (std::size_t i = 0; i < modes.size(); ++i) {
            VG_CHECK(cs_open(CS_ARCH_X86, modes[i], &handles[i]) == CS_ERR_OK);
            cs_option(handles[i], CS_OPT_DETAIL, CS_OPT_ON);
        }
        scratch = cs_malloc(handles[0]);
    }
    ~Engine() {
        cs_free(scratch, 1);
        for (csh& handle : handles) cs_close(&handle);
    }
    Engine(const Engine&) = delete;
    Engine& operator=(const Engine&) = delete;

    std::array<csh, 3> handles{};
    cs_insn* scratch = nullptr;
};

namespace {

constexpr std::array<x86_reg, 16> names64{X86_REG_RAX, X86_REG_RCX, X86_REG_RDX, X86_REG_RBX, X86_REG_RSP, X86_REG_RBP,
                                          X86_REG_RSI, X86_REG_RDI, X86_REG_R8,  X86_REG_R9,  X86_REG_R10, X86_REG_R11,
                                          X86_REG_R12, X86_REG_R13, X86_REG_R14, X86_REG_R15};
constexpr std::array<x86_reg, 16> names32{
    X86_REG_EAX, X86_REG_ECX, X86_REG_EDX,  X86_REG_EBX,  X86_REG_ESP,  X86_REG_EBP,  X86_REG_ESI,  X86_REG_EDI,
    X86_REG_R8D, X86_REG_R9D, X86_REG_R10D, X86_REG_R11D, X86_REG_R12D, X86_REG_R13D, X86_REG_R14D, X86_REG_R15D};
constexpr std::array<x86_reg, 16> names16{
    X86_REG_AX,  X86_REG_CX,  X86_REG_DX,   X86_REG_BX,   X86_REG_SP,   X86_REG_BP,   X86_REG_SI,   X86_REG_DI,
    X86_REG_R8W, X86_REG_R9W, X86_REG_R10W, X86_REG_R11W, X86_REG_R12W, X86_REG_R13W, X86_REG_R14W, X86_REG_R15W};
constexpr std::array<x86_reg, 16> names8{
    X86_REG_AL,  X86_REG_CL,  X86_REG_DL,   X86_REG_BL,   X86_REG_SPL,  X86_REG_BPL,  X86_REG_SIL,  X86_REG_DIL,
    X86_REG_R8B, X86_REG_R9B, X86_REG_R10B, X86_REG_R11B, X86_REG_R12B, X86_REG_R13B, X86_REG_R14B, X86_REG_R15B};
constexpr std::array<x86_reg, 4> high_bytes{X86_REG_AH, X86_REG_CH, X86_REG_DH, X86_REG_BH};
constexpr std::array<x86_reg, 6> segment_names{X86_REG_ES, X86_REG_CS, X86_REG_SS, X86_REG_DS, X86_REG_FS, X86_REG_GS};

template <std::size_t n>
std::optional<unsigned> position(const std::array<x86_reg, n>& names, x86_reg reg) {
    const auto at = std::find(names.begin(), names.end(), reg);
    if (at == names.end()) return std::nullopt;
    return static_cast<unsigned>(at - names.begin());
}

std::optional<Gpr> gpr_of(x86_reg reg) {
    for (const auto* names : {&names64, &names32, &names16, &names8}) {
        if (const auto n = position(*names, reg)) return static_cast<Gpr>(*n);
    }
    return std::nullopt;
}

Operation operation_of(const cs_insn& instruction) {
    const cs_x86& x86 = instruction.detail->x86;
    // String and port instructions by opcode: Capstone gives MOVSD and CMPSD the same name as their SSE namesakes.
    switch (x86.opcode[0]) {
        case 0x6c:
        case 0x6d:
            return Operation::ins;
        case 0x6e:
        case 0x6f:
            return Operation::outs;
        case 0xa4:
        case 0xa5:
            return Operation::movs;
        case 0xa6:
        case 0xa7:
            return Operation::cmps;
        case 0xaa:
        case 0xab:
            return Operation::stos;
        case 0xac:
        case 0xad:
            return Operation::lods;
        case 0xae:
        case 0xaf:
            return Operation::scas;
        default:
            break;
    }
    switch (instruction.id) {
        case X86_INS_MOV:
        case X86_INS_MOVABS:
        case X86_INS_MOVNTI:
            return Operation::mov;
        case X86_INS_MOVZX:
            return Operation::movzx;
        case X86_INS_MOVSX:
        case X86_INS_MOVSXD:
            return Operation::movsx;
        case X86_INS_ADD:
            return Operation::add;
        case X86_INS_OR:
            return Operation::or_;
        case X86_INS_ADC:
            return Operation::adc;
        case X86_INS_SBB:
            return Operation::sbb;
        case X86_INS_AND:
            return Operation::and_;
        case X86_INS_SUB:
            return Operation::sub;
        case X86_INS_XOR:
            return Operation::xor_;
        case X86_INS_CMP:
            return Operation::cmp;
        case X86_INS_TEST:
            return Operation::test;
        case X86_INS_INC:
            return Operation::inc;
        case X86_INS_DEC:
            return Operation::dec;
        case X86_INS_NOT:
            return Operation::not_;
        case X86_INS_NEG:
            return Operation::neg;
        case X86_INS_XCHG:
            return Operation::xchg;
        case X86_INS_XADD:
            return Operation::xadd;
        case X86_INS_CMPXCHG:
            return Operation::cmpxchg;
        case X86_INS_BT:
            return Operation::bt;
        case X86_INS_BTS:
            return Operation::bts;
        case X86_INS_BTR:
            return Operation::btr;
        case X86_INS_BTC:
            return Operation::btc;
        case X86_INS_PUSH:
            return Operation::push;
        case X86_INS_POP:
            return Operation::pop;
        case X86_INS_IN:
            return Operation::in;
        case X86_INS_OUT:
            return Operation::out;
        default:
            return Operation::other;
    }
}

SegmentName override_or(u8 prefix, SegmentName otherwise) {
    switch (prefix) {
        case 0x26:
            return SegmentName::es;
        case 0x2e:
            return SegmentName::cs;
        case 0x36:
            return SegmentName::ss;
        case 0x3e:
            return SegmentName::ds;
        case 0x64:
            return SegmentName::fs;
        case 0x65:
            return SegmentName::gs;
        default:
            return otherwise;
    }
}

// False: an operand that our words have no name for (control, segment and SSE registers).
bool convert(const cs_x86_op& from, Operand& to) {
    to.size = from.size;
    switch (from.type) {
        case X86_OP_REG:
            if (const auto n = position(high_bytes, from.reg)) {
                to.kind = OperandKind::high_byte;
                to.gpr = static_cast<Gpr>(*n);
                return true;
            }
            if (const auto gpr = gpr_of(from.reg)) {
                to.kind = OperandKind::gpr;
                to.gpr = *gpr;
                return true;
            }
            return false;
        case X86_OP_IMM:
            to.kind = OperandKind::immediate;
            to.immediate = static_cast<u64>(from.imm);
            return true;
        case X86_OP_MEM: {
            to.kind = OperandKind::memory;
            MemoryOperand& memory = to.memory;
            memory.base = gpr_of(from.mem.base);
            memory.index = gpr_of(from.mem.index);
            memory.rip_relative = from.mem.base == X86_REG_RIP || from.mem.base == X86_REG_EIP;
            memory.scale = static_cast<u8>(from.mem.scale);
            memory.displacement = static_cast<u64>(from.mem.disp);
            const bool stack = memory.base == Gpr::rsp || memory.base == Gpr::rbp;
            memory.segment = stack ? SegmentName::ss : SegmentName::ds;
            if (const auto n = position(segment_names, from.mem.segment)) memory.segment = static_cast<SegmentName>(*n);
            return true;
        }
        default:
            return false;
    }
}

}  // namespace

InstructionDecoder::InstructionDecoder() : engine_(std::make_unique<Engine>()) {}
InstructionDecoder::~InstructionDecoder() = default;

std::optional<Instruction> InstructionDecoder::decode(std::span<const u8> code, CodeSize size) const {
    const u8* cursor = code.data();
    std::size_t left = std::min<std::size_t>(code.size(), 15);
    u64 address = 0;
    cs_insn* const decoded = engine_->scratch;
    if (!cs_disasm_iter(engine_->handles[static_cast<std::size_t>(size)], &cursor, &left, &address, decoded)) {
        return std::nullopt;
    }
    const cs_x86& x86 = decoded->detail->x86;
    Instruction result;
    result.operation = operation_of(*decoded);
    result.length = static_cast<u8>(decoded->size);
    result.address_size = x86.addr_size;
    result.lock = x86.prefix[0] == X86_PREFIX_LOCK;
    if (x86.prefix[0] == X86_PREFIX_REP) result.repeat = Repeat::while_equal;
    if (x86.prefix[0] == X86_PREFIX_REPNE) result.repeat = Repeat::while_not_equal;
    result.segment = override_or(x86.prefix[1], SegmentName::ds);
    // Every operand of these is of one size, but for OUTS, whose first is the port.
    if (x86.op_count > 0) result.operand_size = x86.operands[result.operation == Operation::outs ? 1 : 0].size;
    for (unsigned i = 0; i < x86.op_count; ++i) {
        if (i >= result.operands.size() || !convert(x86.operands[i], result.operands[i])) {
            result.operation = Operation::other;
            result.operands = {};
            break;
        }
    }
    return result;
}

std::optional<u64> io_exit_info(const Instruction& instruction, const Registers& r) {
    const bool string = instruction.operation == Operation::ins || instruction.operation == Operation::outs;
    const bool in = instruction.operation == Operation::in || instruction.operation == Operation::ins;
    if (!string && !in && instruction.operation != Operation::out) return std::nullopt;
    u64 port = r[Gpr::rdx] & 0xffff;
    u64 size = instruction.operand_size;
    if (!string) {
        const Operand& data = instruction.operands[in ? 0 : 1];
        const Operand& where = instruction.operands[in ? 1 : 0];
        size = data.size;
        if (where.kind == OperandKind::immediate) port = where.immediate & 0xff;
    }
    if (size > 4) size = 4;  // REX.W does not widen port I/O
    u64 info = port << 16 | size << 4 | u64{instruction.address_size} << 6 | (in ? 1 : 0);
    if (string) {
        info |= 1u << 2;
        if (instruction.repeat != Repeat::none) info |= 1u << 3;
        const SegmentName segment = in ? SegmentName::es : instruction.segment;
        info |= static_cast<u64>(segment) << 10;
    }
    return info;
}

}  // namespace cpu
