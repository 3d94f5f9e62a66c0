// How many instructions a stretch of code holds and what they cost: decoded by Capstone once per translated block, with
// a memory of instruction heads so that most instructions never reach Capstone twice.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>

#include "cpu/cost_table.h"

namespace cpu {

enum class CodeSize : std::uint8_t { bits16, bits32, bits64 };

struct CodeCost {
    std::uint32_t instructions = 0;
    std::int64_t ps = 0;
};

class BlockCosts final {
public:
    explicit BlockCosts(const CostTable& costs);
    ~BlockCosts();

    // The instructions that begin in `code`. From bytes that are no instruction on, the rest counts as one simple
    // instruction: the engine raises #UD there.
    CodeCost of(std::span<const std::uint8_t> code, CodeSize size);

    std::int64_t ps(InstructionClass c) const { return costs_[c]; }

    struct Instruction {
        std::uint8_t length = 0;
        std::int64_t ps = 0;
    };
    // The first instruction of `code`; length 0 if there is none.
    Instruction first(std::span<const std::uint8_t> code, CodeSize size);

private:
    struct Decoder;
    // The bytes before displacement and immediate decide an instruction's length and class.
    struct Head {
        std::array<std::uint8_t, 8> bytes{};
        std::uint8_t size = 0;  // 0: empty
        std::uint8_t mode = 0;
        std::uint8_t length = 0;
        std::int64_t ps = 0;
    };
    static constexpr std::size_t head_slots = 1u << 14;

    const Head* recall(std::span<const std::uint8_t> code, CodeSize size) const;
    Instruction decode(std::span<const std::uint8_t> code, CodeSize size);

    CostTable costs_;
    std::unique_ptr<Decoder> decoder_;
    std::unique_ptr<std::array<Head, head_slots>> heads_;
};

}  // namespace cpu
