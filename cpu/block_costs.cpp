#include "cpu/block_costs.h"

#include <capstone/capstone.h>

#include <algorithm>
#include <cstring>
#include <string>

#include "sim/check.h"

namespace cpu {

struct BlockCosts::Decoder {
    Decoder() {
        const std::array<cs_mode, 3> modes{CS_MODE_16, CS_MODE_32, CS_MODE_64};
        for (std::size_t i = 0; i < modes.size(); ++i) {
            VG_CHECK(cs_open(CS_ARCH_X86, modes[i], &handles[i]) == CS_ERR_OK);
            cs_option(handles[i], CS_OPT_DETAIL, CS_OPT_ON);
        }
        instruction = cs_malloc(handles[0]);
    }
    ~Decoder() {
        cs_free(instruction, 1);
        for (csh& handle : handles) cs_close(&handle);
    }
    Decoder(const Decoder&) = delete;
    Decoder& operator=(const Decoder&) = delete;

    std::array<csh, 3> handles{};
    cs_insn* instruction = nullptr;
};

namespace {

bool in_group(const cs_insn& instruction, unsigned group) {
    const auto* begin = instruction.detail->groups;
    return std::find(begin, begin + instruction.detail->groups_count, group) !=
           begin + instruction.detail->groups_count;
}

bool is_string(unsigned id) {
    switch (id) {
        case X86_INS_MOVSB:
        case X86_INS_MOVSW:
        case X86_INS_MOVSQ:
        case X86_INS_STOSB:
        case X86_INS_STOSW:
        case X86_INS_STOSD:
        case X86_INS_STOSQ:
        case X86_INS_LODSB:
        case X86_INS_LODSW:
        case X86_INS_LODSD:
        case X86_INS_LODSQ:
        case X86_INS_SCASB:
        case X86_INS_SCASW:
        case X86_INS_SCASD:
        case X86_INS_SCASQ:
        case X86_INS_CMPSB:
        case X86_INS_CMPSW:
        case X86_INS_CMPSQ:
        case X86_INS_INSB:
        case X86_INS_INSW:
        case X86_INS_INSD:
        case X86_INS_OUTSB:
        case X86_INS_OUTSW:
        case X86_INS_OUTSD:
            return true;
        default:
            return false;
    }
}

InstructionClass class_of(const cs_insn& instruction) {
    const cs_x86& x86 = instruction.detail->x86;
    if (x86.prefix[0] == X86_PREFIX_LOCK) return InstructionClass::atomic;
    switch (instruction.id) {
        case X86_INS_IMUL:
        case X86_INS_MUL:
        case X86_INS_MULX:
            return InstructionClass::multiply;
        case X86_INS_DIV:
        case X86_INS_IDIV:
            return InstructionClass::divide;
        case X86_INS_XCHG:
            return x86.op_count == 2 && (x86.operands[0].type == X86_OP_MEM || x86.operands[1].type == X86_OP_MEM)
                       ? InstructionClass::atomic
                       : InstructionClass::simple;
        case X86_INS_IRET:
        case X86_INS_IRETD:
        case X86_INS_IRETQ:
        case X86_INS_INVLPG:
        case X86_INS_WBINVD:
        case X86_INS_INVD:
        case X86_INS_MFENCE:
            return InstructionClass::serializing;
        case X86_INS_SYSCALL:
        case X86_INS_SYSRET:
        case X86_INS_SYSENTER:
        case X86_INS_SYSEXIT:
        case X86_INS_SWAPGS:
        case X86_INS_RDTSC:
        case X86_INS_RDTSCP:
        case X86_INS_IN:
        case X86_INS_OUT:
        case X86_INS_LGDT:
        case X86_INS_LIDT:
        case X86_INS_LTR:
        case X86_INS_LLDT:
            return InstructionClass::system;
        default:
            break;
    }
    if (is_string(instruction.id)) return InstructionClass::string;
    for (unsigned i = 0; i < x86.op_count; ++i) {
        if (x86.operands[i].type != X86_OP_REG) continue;
        const x86_reg reg = x86.operands[i].reg;
        if (reg >= X86_REG_CR0 && reg <= X86_REG_CR15) return InstructionClass::serializing;
    }
    if (in_group(instruction, X86_GRP_JUMP) || in_group(instruction, X86_GRP_CALL) ||
        in_group(instruction, X86_GRP_RET)) {
        return InstructionClass::branch;
    }
    if (in_group(instruction, X86_GRP_FPU) || in_group(instruction, X86_GRP_MMX) ||
        in_group(instruction, X86_GRP_SSE1) || in_group(instruction, X86_GRP_SSE2) ||
        in_group(instruction, X86_GRP_SSE3) || in_group(instruction, X86_GRP_SSSE3) ||
        in_group(instruction, X86_GRP_SSE41) || in_group(instruction, X86_GRP_SSE42)) {
        return InstructionClass::simd;
    }
    return InstructionClass::simple;
}

std::int64_t cost_of(const cs_insn& instruction, const CostTable& costs) {
    const cs_x86& x86 = instruction.detail->x86;
    std::int64_t ps = costs[class_of(instruction)];
    bool loads = instruction.id == X86_INS_POP || instruction.id == X86_INS_RET || instruction.id == X86_INS_LEAVE;
    bool stores = instruction.id == X86_INS_PUSH || instruction.id == X86_INS_CALL;
    if (instruction.id != X86_INS_LEA && instruction.id != X86_INS_NOP && !is_string(instruction.id)) {
        for (unsigned i = 0; i < x86.op_count; ++i) {
            if (x86.operands[i].type != X86_OP_MEM) continue;
            loads = loads || (x86.operands[i].access & CS_AC_READ) != 0;
            stores = stores || (x86.operands[i].access & CS_AC_WRITE) != 0;
        }
    }
    if (loads) ps += costs[InstructionClass::load];
    if (stores) ps += costs[InstructionClass::store];
    return ps;
}

// How many leading bytes decide the instruction: all, unless Capstone says where displacement and immediate stand.
std::uint8_t head_size(const cs_insn& instruction) {
    const cs_x86_encoding& encoding = instruction.detail->x86.encoding;
    auto size = static_cast<std::uint8_t>(instruction.size);
    if (encoding.imm_offset != 0 && encoding.imm_offset < size) size = encoding.imm_offset;
    if (encoding.disp_offset != 0 && encoding.disp_offset < size) size = encoding.disp_offset;
    return size;
}

std::size_t slot_of(const std::uint8_t* bytes, std::size_t size, CodeSize mode) {
    std::uint64_t word = 0;
    std::memcpy(&word, bytes, size);
    word = (word ^ (size << 57) ^ (static_cast<std::uint64_t>(mode) << 61)) * 0x9e3779b97f4a7c15ull;
    return word >> (64 - 14);
}

}  // namespace

BlockCosts::BlockCosts(const CostTable& costs)
    : costs_(costs), decoder_(std::make_unique<Decoder>()), heads_(std::make_unique<std::array<Head, head_slots>>()) {}
BlockCosts::~BlockCosts() = default;

CodeCost BlockCosts::of(std::span<const std::uint8_t> code, CodeSize size) {
    CodeCost total;
    while (!code.empty()) {
        const Instruction one = first(code, size);
        ++total.instructions;
        if (one.length == 0 || one.length > code.size()) {
            total.ps += costs_[InstructionClass::simple];
            break;
        }
        total.ps += one.ps;
        code = code.subspan(one.length);
    }
    return total;
}

BlockCosts::Instruction BlockCosts::first(std::span<const std::uint8_t> code, CodeSize size) {
    if (const Head* head = recall(code, size)) return {head->length, head->ps};
    return decode(code, size);
}

const BlockCosts::Head* BlockCosts::recall(std::span<const std::uint8_t> code, CodeSize size) const {
    const std::size_t longest = std::min<std::size_t>(code.size(), 8);
    for (std::size_t n = 1; n <= longest; ++n) {
        const Head& head = (*heads_)[slot_of(code.data(), n, size)];
        if (head.size == n && head.mode == static_cast<std::uint8_t>(size) &&
            std::memcmp(head.bytes.data(), code.data(), n) == 0) {
            return &head;
        }
    }
    return nullptr;
}

BlockCosts::Instruction BlockCosts::decode(std::span<const std::uint8_t> code, CodeSize size) {
    const std::uint8_t* cursor = code.data();
    std::size_t left = std::min<std::size_t>(code.size(), 15);
    std::uint64_t address = 0;
    if (!cs_disasm_iter(decoder_->handles[static_cast<std::size_t>(size)], &cursor, &left, &address,
                        decoder_->instruction)) {
        return {};
    }
    const cs_insn& instruction = *decoder_->instruction;
    const Instruction result{static_cast<std::uint8_t>(instruction.size), cost_of(instruction, costs_)};
    const std::uint8_t head = head_size(instruction);
    if (head <= 8) {
        Head& place = (*heads_)[slot_of(code.data(), head, size)];
        place = Head{{}, head, static_cast<std::uint8_t>(size), result.length, result.ps};
        std::memcpy(place.bytes.data(), code.data(), head);
    }
    return result;
}

}  // namespace cpu
