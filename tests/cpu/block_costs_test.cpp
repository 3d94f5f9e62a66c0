// What instructions cost, and how many there are, by class.
#include <doctest/doctest.h>

#include <initializer_list>
#include <vector>

#include "cpu/block_costs.h"

namespace block_costs_test {

using cpu::CodeSize;
using cpu::InstructionClass;

namespace {

// Each class has its own power of ten, so that a sum names its parts.
cpu::CostTable telling_costs() {
    cpu::CostTable table;
    std::int64_t ps = 1;
    for (auto& entry : table.ps) {
        entry = ps;
        ps *= 10;
    }
    return table;
}

}  // namespace

TEST_CASE("each instruction has the class that its row says, decoded or remembered") {
    constexpr std::int64_t simple = 1, load = 10, store = 100, branch = 1000, multiply = 10'000, divide = 100'000,
                           simd = 1'000'000, string = 10'000'000, atomic = 100'000'000, serializing = 1'000'000'000,
                           system = 10'000'000'000;
    struct Row {
        const char* text;
        std::initializer_list<std::uint8_t> code;
        CodeSize size;
        std::int64_t ps;
    };
    const Row rows[] = {
        {"mov eax, ebx", {0x89, 0xd8}, CodeSize::bits64, simple},
        {"mov eax, [rbx+8]", {0x8b, 0x43, 0x08}, CodeSize::bits64, simple + load},
        {"mov [rbx+8], eax", {0x89, 0x43, 0x08}, CodeSize::bits64, simple + store},
        {"add [rbx], eax", {0x01, 0x03}, CodeSize::bits64, simple + load + store},
        {"lea rax, [rbx+8]", {0x48, 0x8d, 0x43, 0x08}, CodeSize::bits64, simple},
        {"push rax", {0x50}, CodeSize::bits64, simple + store},
        {"ret", {0xc3}, CodeSize::bits64, branch + load},
        {"call rel32", {0xe8, 1, 2, 3, 4}, CodeSize::bits64, branch + store},
        {"jne rel8", {0x75, 0x10}, CodeSize::bits64, branch},
        {"imul rax, rbx", {0x48, 0x0f, 0xaf, 0xc3}, CodeSize::bits64, multiply},
        {"div ecx", {0xf7, 0xf1}, CodeSize::bits64, divide},
        {"lock inc dword [rax]", {0xf0, 0xff, 0x00}, CodeSize::bits64, atomic + load + store},
        {"xchg [rax], ebx", {0x87, 0x18}, CodeSize::bits64, atomic + load + store},
        {"rep movsq", {0xf3, 0x48, 0xa5}, CodeSize::bits64, string},
        {"addps xmm0, xmm1", {0x0f, 0x58, 0xc1}, CodeSize::bits64, simd},
        {"fadd st0, st1", {0xd8, 0xc1}, CodeSize::bits64, simd},
        {"mov cr3, rax", {0x0f, 0x22, 0xd8}, CodeSize::bits64, serializing},
        {"iretq", {0x48, 0xcf}, CodeSize::bits64, serializing},
        {"syscall", {0x0f, 0x05}, CodeSize::bits64, system},
        {"mov ax, imm16 (16-bit)", {0xb8, 0x34, 0x12}, CodeSize::bits16, simple},
        {"mov eax, imm32 (32-bit)", {0xb8, 0x78, 0x56, 0x34, 0x12}, CodeSize::bits32, simple},
        {"no instruction", {0x0f, 0xff}, CodeSize::bits64, simple},
    };
    cpu::BlockCosts costs{telling_costs()};
    for (int pass = 0; pass < 2; ++pass) {
        for (const Row& row : rows) {
            CAPTURE(row.text);
            const auto cost = costs.of(std::span{row.code.begin(), row.code.size()}, row.size);
            CHECK(cost.instructions == 1);
            CHECK(cost.ps == row.ps);
        }
    }
}

TEST_CASE("a stretch costs the sum of its instructions, wherever it is cut") {
    cpu::BlockCosts costs{telling_costs()};
    const std::vector<std::uint8_t> code{0x48, 0x8b, 0x43, 0x08, 0x48, 0x83, 0xc0, 0x01, 0x48,
                                         0x89, 0x43, 0x08, 0x0f, 0xaf, 0xc3, 0x75, 0xee};
    const auto whole = costs.of(code, CodeSize::bits64);
    CHECK(whole.instructions == 5);
    for (const std::size_t cut : {0u, 4u, 8u, 12u, 15u, 17u}) {
        const auto head = costs.of(std::span{code}.first(cut), CodeSize::bits64);
        const auto tail = costs.of(std::span{code}.subspan(cut), CodeSize::bits64);
        CHECK(head.instructions + tail.instructions == whole.instructions);
        CHECK(head.ps + tail.ps == whole.ps);
    }
}

TEST_CASE("remembered heads never mistake one instruction for another") {
    // Same leading bytes, different lengths: the ModRM and SIB bytes and the prefixes decide.
    cpu::BlockCosts costs{telling_costs()};
    struct Row {
        std::initializer_list<std::uint8_t> code;
        std::uint8_t length;
    };
    const Row rows[] = {
        {{0x8b, 0x00, 0, 0, 0, 0, 0, 0, 0}, 2},        // mov eax,[rax]
        {{0x8b, 0x40, 0x11, 0, 0, 0, 0, 0, 0}, 3},     // mov eax,[rax+d8]
        {{0x8b, 0x80, 1, 2, 3, 4, 0, 0, 0}, 6},        // mov eax,[rax+d32]
        {{0x8b, 0x04, 0x25, 1, 2, 3, 4, 0, 0}, 7},     // mov eax,[d32]
        {{0x8b, 0x05, 1, 2, 3, 4, 0, 0, 0}, 6},        // mov eax,[rip+d32]
        {{0xb8, 1, 2, 3, 4, 0, 0, 0, 0, 0}, 5},        // mov eax,imm32
        {{0x48, 0xb8, 1, 2, 3, 4, 5, 6, 7, 8}, 10},    // mov rax,imm64
        {{0x66, 0xb8, 1, 2, 0, 0, 0, 0, 0, 0}, 4},     // mov ax,imm16
        {{0xc7, 0x04, 0x24, 1, 2, 3, 4, 0, 0, 0}, 7},  // mov dword [rsp],imm32
        {{0xf7, 0x00, 1, 2, 3, 4, 0, 0}, 6},           // test dword [rax],imm32
        {{0xf7, 0x10, 1, 2, 3, 4, 0, 0}, 2},           // not dword [rax]
        {{0xa1, 1, 2, 3, 4, 5, 6, 7, 8, 9}, 9},        // mov eax,[moffs64]
        {{0xe8, 1, 2, 3, 4, 0, 0}, 5},
        {{0x0f, 0x84, 1, 2, 3, 4, 0}, 6},
    };
    for (int pass = 0; pass < 3; ++pass) {
        for (const Row& row : rows) {
            const auto one = costs.first(std::span{row.code.begin(), row.code.size()}, CodeSize::bits64);
            CHECK(one.length == row.length);
        }
    }
}

}  // namespace block_costs_test
