// Entry points that take hostile bytes to the processor model: as libFuzzer targets (tests/fuzz/fuzz_cpu_*.cpp), and
// with fixed seeds in the ordinary test run (tests/cpu/fuzz_seeds_test.cpp). A property that fails is a VG_CHECK.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

#include "cpu/event_delivery.h"
#include "cpu/mmio_emulator.h"
#include "sim/check.h"
#include "tests/cpu/linear_memory_fake.h"

namespace fuzz {

// Takes values off the input's front; zeros once it is used up.
class Input {
public:
    explicit Input(std::span<const std::uint8_t> data) : data_(data) {}
    template <class T>
    T take() {
        T value{};
        const std::size_t n = data_.size() < sizeof value ? data_.size() : sizeof value;
        if (n != 0) std::memcpy(&value, data_.data(), n);
        data_ = data_.subspan(n);
        return value;
    }
    std::span<const std::uint8_t> rest() const { return data_; }

private:
    std::span<const std::uint8_t> data_;
};

// A page of device registers at linear 0x5000; everything else is memory or faults.
class AnyDevice final : public cpu::DeviceAccess {
public:
    unsigned accesses = 0;
    std::optional<cpu::u64> device_address(cpu::u64 linear, bool, cpu::Privilege) override {
        if ((linear & ~0xfffull) != 0x5000) return std::nullopt;
        return linear;
    }
    cpu::u64 read(cpu::u64 gpa, unsigned size) override {
        check(gpa, size);
        return gpa * 0x0101'0101'0101'0101ull;
    }
    void write(cpu::u64 gpa, unsigned size, cpu::u64 value) override {
        check(gpa, size);
        VG_CHECK(size == 8 || value >> 8 * size == 0);
    }

private:
    void check(cpu::u64 gpa, unsigned size) {
        ++accesses;
        VG_CHECK(size == 1 || size == 2 || size == 4 || size == 8);
        VG_CHECK((gpa & 0xfff) + size <= 0x1000);
    }
};

inline cpu::Registers take_registers(Input& input) {
    using namespace cpu;
    Registers r;
    const auto mode = input.take<u8>();
    switch (mode & 3) {
        case 0:
            break;
        case 1:
            r.cr0 = cr0::pe;
            break;
        default:
            r.cr0 = cr0::pe | cr0::pg;
            r.efer = efer::lma | efer::lme;
    }
    r.rflags = (input.take<u32>() & rflags::defined) | rflags::always_one;
    for (auto& s : r.segments) s = {input.take<u16>(), input.take<u16>(), input.take<u32>(), input.take<u16>()};
    if ((mode & 4) != 0) r[SegmentName::cs].attributes |= segment::long_mode;
    for (auto& gpr : r.gpr) {
        // Near the device, near the memory's end, or anything.
        const auto kind = input.take<u8>();
        const auto value = input.take<u64>();
        gpr = kind < 100 ? 0x5000 + (value & 0xfff) : kind < 180 ? value & 0x1f'ffff : value;
    }
    r.rip = input.take<u32>();
    return r;
}

inline int cpu_instruction(std::span<const std::uint8_t> data) {
    using namespace cpu;
    static const MmioEmulator emulator;
    static const InstructionDecoder decoder;
    static cpu::testing::FlatMemory memory;
    Input input{data};
    const Registers before = take_registers(input);
    memory.pages = {{5, cpu::testing::FlatMemory::Page::nested},
                    {input.take<u8>() & 15u, static_cast<cpu::testing::FlatMemory::Page>(input.take<u8>() % 5)}};
    const auto code = input.rest();
    for (const CodeSize size : {CodeSize::bits16, CodeSize::bits32, CodeSize::bits64}) {
        const auto decoded = decoder.decode(code, size);
        if (!decoded) continue;
        VG_CHECK(decoded->length >= 1 && decoded->length <= 15 && decoded->length <= code.size());
        (void)io_exit_info(*decoded, before);
    }
    AnyDevice device;
    Registers after = before;
    const EmulationResult result = emulator.step(after, code, memory, device);
    VG_CHECK(result.outcome == Emulation::done || after == before);
    VG_CHECK(!result.repeats || after.rip == before.rip);
    VG_CHECK(device.accesses <= 32);
    return 0;
}

inline int cpu_event(std::span<const std::uint8_t> data) {
    using namespace cpu;
    static cpu::testing::FlatMemory memory;
    Input input{data};
    Registers r = take_registers(input);
    r.idtr = {input.take<u16>(), input.take<u16>()};
    r.gdtr = {input.take<u16>(), input.take<u16>()};
    r.ldtr = {input.take<u16>(), input.take<u16>(), input.take<u16>(), input.take<u16>()};
    r.tr = {input.take<u16>(), input.take<u16>(), input.take<u16>(), input.take<u16>()};
    Event event;
    event.vector = input.take<u8>();
    event.type = static_cast<EventType>(input.take<u8>() % 5);
    event.has_error_code = (input.take<u8>() & 1) != 0;
    event.error_code = input.take<u32>();
    event.instruction_length = input.take<u8>() & 15;
    memory.pages = {{input.take<u8>() & 15u, static_cast<cpu::testing::FlatMemory::Page>(input.take<u8>() % 5)}};
    // The rest is what lies in memory, again and again, so that tables and stacks are all made of it.
    const auto content = input.rest();
    for (std::size_t at = 0; !content.empty() && at + content.size() <= 0x2'0000; at += content.size()) {
        std::memcpy(memory.bytes.data() + at, content.data(), content.size());
    }
    memory.accesses = 0;
    const Registers before = r;
    const DeliveryResult result = deliver(r, memory, event);
    VG_CHECK(memory.accesses < 64);
    if (result.outcome != Delivery::delivered) {
        VG_CHECK(r.rip == before.rip && r.segments == before.segments && r.gpr == before.gpr);
    }
    return 0;
}

}  // namespace fuzz
