// Where an instruction is about to access memory: every operand in memory and the stack, as far as its bytes and the
// registers tell. For data breakpoints, which the engine doesn't have, and LMSW.
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <span>

#include "cpu/block_costs.h"
#include "cpu/registers.h"

namespace cpu {

struct DataAccess {
    u64 linear = 0;
    u32 size = 0;
    bool read = false;
    bool write = false;

    bool operator==(const DataAccess&) const = default;
};

struct DataAccesses {
    std::array<DataAccess, 4> list{};
    unsigned count = 0;

    void add(const DataAccess& access) {
        if (count < list.size()) list[count++] = access;
    }
    [[nodiscard]] std::span<const DataAccess> all() const { return std::span{list}.first(count); }
};

class AccessFinder final {
public:
    AccessFinder();
    ~AccessFinder();
    AccessFinder(const AccessFinder&) = delete;
    AccessFinder& operator=(const AccessFinder&) = delete;

    // Of the instruction at RIP; of one iteration of a repeated one. Left out: what reaches descriptor tables and task
    // state, FAR CALL's and IRET's frames beyond their first item, gathers.
    [[nodiscard]] DataAccesses find(std::span<const u8> code, const Registers& r) const;
    // The linear address that its operand in memory names, accessed or not.
    [[nodiscard]] std::optional<u64> address(std::span<const u8> code, const Registers& r) const;

private:
    struct Decoder;
    bool decode(std::span<const u8> code, const Registers& r) const;
    std::unique_ptr<Decoder> decoder_;
};

// DR7's breakpoints that are enabled and of which one of these kinds holds: bits as in DR6.
[[nodiscard]] u64 execution_breakpoints(const Registers& r, u64 linear_rip);
[[nodiscard]] u64 data_breakpoints(const Registers& r, const DataAccesses& accesses);

}  // namespace cpu
