// Memory at linear addresses, as the processor's own microcode reaches it: event delivery, system-call instructions and
// the instruction emulator go through this port. Whoever implements it translates (and sets accessed and dirty flags).
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <type_traits>

#include "cpu/registers.h"

namespace cpu {

// On whose behalf an access is made (SDM volume 3A, 4.6.1). `implicit_supervisor` is the processor's own access to the
// descriptor tables and the TSS: supervisor whatever the privilege level, and RFLAGS.AC does not excuse it from SMAP.
enum class Privilege : u8 { user, supervisor, implicit_supervisor };

[[nodiscard]] constexpr Privilege privilege_of(unsigned cpl) {
    return cpl == 3 ? Privilege::user : Privilege::supervisor;
}

enum class LinearResult : u8 {
    ok,
    page_fault,     // #PF(error_code), CR2 = cr2
    non_canonical,  // #GP or #SS: only the instruction knows
    nested_fault,   // the second level refused; whoever implements the port keeps the details
};

struct LinearAccess {
    LinearResult result = LinearResult::ok;
    u32 error_code = 0;
    u64 cr2 = 0;

    [[nodiscard]] constexpr bool ok() const { return result == LinearResult::ok; }
    bool operator==(const LinearAccess&) const = default;
};

// An access is all or nothing: when any byte of it faults, nothing is copied either way. It covers at most two pages.
// Outside long mode addresses are 32 bits wide and wrap.
struct LinearMemory {
    [[nodiscard]] virtual LinearAccess read(u64 linear, std::span<std::byte> out, Privilege privilege) = 0;
    [[nodiscard]] virtual LinearAccess write(u64 linear, std::span<const std::byte> data, Privilege privilege) = 0;

protected:
    ~LinearMemory() = default;
};

template <class T>
[[nodiscard]] LinearAccess load(LinearMemory& memory, u64 linear, T& value, Privilege privilege) {
    static_assert(std::is_unsigned_v<T>);
    return memory.read(linear, std::as_writable_bytes(std::span{&value, 1}), privilege);
}

template <class T>
[[nodiscard]] LinearAccess store(LinearMemory& memory, u64 linear, T value, Privilege privilege) {
    static_assert(std::is_unsigned_v<T>);
    return memory.write(linear, std::as_bytes(std::span{&value, 1}), privilege);
}

}  // namespace cpu
