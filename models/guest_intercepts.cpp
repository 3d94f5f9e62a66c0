// What the root's stack does with the intercepts of a guest's processors.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "hypervisor/tlfs_msrs.h"
#include "models/guest_counters.h"
#include "models/guest_machine.h"
#include "models/legacy/generation1_partition.h"
#include "models/string_io.h"
#include "sim/bits.h"

namespace models {

namespace h = hypervisor;

namespace {

// What of a guest's own words about its crash is kept.
constexpr std::uint64_t most_crash_text = 4096;
constexpr std::uint64_t reset_request = 1ull << 0;
// One intercept carries out so many iterations of a repeated string instruction at most.
constexpr unsigned most_iterations = 1024;

struct DeviceMemory final : cpu::DeviceAccess {
    DeviceMemory(InterceptedProcessor& p, MmioMap& m) : processor(p), map(m) {}
    std::optional<cpu::u64> device_address(cpu::u64 linear, bool write, cpu::Privilege privilege) override {
        return processor.physical(linear, write, privilege);
    }
    cpu::u64 read(cpu::u64 gpa, unsigned size) override { return map.read(gpa, size); }
    void write(cpu::u64 gpa, unsigned size, cpu::u64 value) override { map.write(gpa, size, value); }

    InterceptedProcessor& processor;
    MmioMap& map;
};

}  // namespace

// The devices of a Generation 1 machine take time of the root's; those of Generation 2 are few, simple, and at once.
void GuestMachine::intercept(const h::HvMessage& message) {
    using Type = h::HvMessageType;
    const Type type{message.header.message_type};
    const bool access =
        type == Type::x64_io_port_intercept || type == Type::unmapped_gpa || type == Type::gpa_intercept;
    if (generation1_ && access) {
        generation1_->intercept(message);
    } else {
        emulate(message);
    }
}

void GuestMachine::emulate(const h::HvMessage& message) {
    using Type = h::HvMessageType;
    switch (Type{message.header.message_type}) {
        case Type::x64_io_port_intercept:
            if (const auto m = h::payload_of<h::HvX64IoPortInterceptMessage>(message, Type::x64_io_port_intercept)) {
                return on_io(*m);
            }
            break;
        case Type::unmapped_gpa:
            if (const auto m = h::payload_of<h::HvX64MemoryInterceptMessage>(message, Type::unmapped_gpa)) {
                return on_memory(*m);
            }
            break;
        case Type::gpa_intercept:
            if (const auto m = h::payload_of<h::HvX64MemoryInterceptMessage>(message, Type::gpa_intercept)) {
                return on_memory(*m);
            }
            break;
        case Type::x64_msr_intercept:
            if (const auto m = h::payload_of<h::HvX64MsrInterceptMessage>(message, Type::x64_msr_intercept)) {
                return on_msr(*m);
            }
            break;
        case Type::x64_apic_eoi:
            if (const auto m = h::payload_of<h::HvX64ApicEoiMessage>(message, Type::x64_apic_eoi)) {
                ++counters_->eoi;
                return io_apic_.eoi(static_cast<std::uint8_t>(m->interrupt_vector));
            }
            break;
        case Type::unrecoverable_exception:
        case Type::x64_exception_intercept:
            return stop(GuestState::triple_fault);
        default:
            break;
    }
    on_unexpected(message);
}

void GuestMachine::on_io(const h::HvX64IoPortInterceptMessage& message) {
    ++counters_->io;
    InterceptedProcessor processor{client_, partition_, message.header};
    if ((message.access_info & h::io_port_access::string_op) != 0) {
        ++counters_->string_io;
        return string_io(processor, message, ports_);
    }
    const unsigned size = message.access_info & h::io_port_access::size_mask;
    if (message.header.intercept_access_type == static_cast<std::uint8_t>(h::HvInterceptAccess::write)) {
        ports_.write(message.port_number, size, static_cast<std::uint32_t>(message.rax));
        return processor.complete();
    }
    const std::uint64_t value = ports_.read(message.port_number, size);
    // A 32-bit result clears the upper half of RAX, narrower ones leave the rest.
    const std::uint64_t rax = size == 4 ? value : sim::with_bits(message.rax, 8 * size - 1, 0, value);
    processor.complete({{h::HvRegister::x64_rax, {rax, 0}}});
}

void GuestMachine::on_memory(const h::HvX64MemoryInterceptMessage& message) {
    ++counters_->mmio;
    InterceptedProcessor processor{client_, partition_, message.header};
    DeviceMemory device{processor, mmio_};
    cpu::Registers r = processor.registers();
    const auto delivered = std::min<std::size_t>(message.instruction_byte_count, sizeof message.instruction_bytes);
    std::vector<std::uint8_t> code{message.instruction_bytes, message.instruction_bytes + delivered};
    if (code.empty()) {
        code = processor.fetch(processor.code_64bit() ? r.rip : r[cpu::SegmentName::cs].base + r.rip);
    }
    for (unsigned iteration = 0; iteration < most_iterations; ++iteration) {
        const cpu::EmulationResult result = emulator_.step(r, code, processor, device);
        if (result.outcome == cpu::Emulation::done) {
            if (result.repeats) continue;
            return processor.write_back(r, true);
        }
        // Iterations before this one stand; the instruction comes again and meets what stopped it here.
        if (iteration != 0) break;
        if (result.outcome == cpu::Emulation::exception) return processor.inject(result.raised);
        ++counters_->unhandled;
        scope_.trace("unhandled_mmio", message.header.rip, message.guest_physical_address);
        return processor.inject(cpu::exception_event(cpu::vector::invalid_opcode));
    }
    processor.write_back(r, false);
}

void GuestMachine::on_msr(const h::HvX64MsrInterceptMessage& message) {
    ++counters_->msr;
    InterceptedProcessor processor{client_, partition_, message.header};
    const std::uint64_t value = message.rdx << 32 | (message.rax & 0xffff'ffff);
    if (message.msr_number == h::msr::crash_ctl && (value & h::crash_control::crash_notify) != 0) on_crash(message);
    if (message.msr_number == h::msr::reset && (value & reset_request) != 0) stop(GuestState::reset);
    processor.complete();
}

// TLFS: P0 to P4 are the guest's own; with the message bit, P3 and P4 are where its words lie and how many bytes.
void GuestMachine::on_crash(const h::HvX64MsrInterceptMessage& message) {
    if (state_.state != GuestState::running) return;
    std::array<h::HvRegister, 5> names{};
    for (std::uint32_t i = 0; i < names.size(); ++i) {
        names[i] = h::HvRegister{static_cast<std::uint32_t>(h::HvRegister::guest_crash_p0) + i};
    }
    std::array<h::HvRegisterValue, 5> p{};
    (void)client_.get_registers(partition_, message.header.vp_index, names, p);
    state_.crash_message =
        fmt::format("parameters {:#x} {:#x} {:#x} {:#x} {:#x}", p[0].low, p[1].low, p[2].low, p[3].low, p[4].low);
    const std::uint64_t value = message.rdx << 32 | (message.rax & 0xffff'ffff);
    if ((value & h::crash_control::crash_message) != 0) {
        const std::string text = crash_text(message.header.vp_index, p[3].low, p[4].low);
        if (!text.empty()) state_.crash_message += ": " + text;
    }
    scope_.trace_bytes("crash", std::as_bytes(std::span{state_.crash_message}));
    stop(GuestState::crashed);
}

// The last part of it, in which a kernel says why, without what a terminal would not print.
std::string GuestMachine::crash_text(std::uint32_t vp, std::uint64_t gpa, std::uint64_t length) {
    if (length > most_crash_text) {
        gpa += length - most_crash_text;
        length = most_crash_text;
    }
    std::string text;
    for (std::uint64_t done = 0; done < length;) {
        std::array<std::byte, 16> bytes{};
        const std::uint64_t part = std::min<std::uint64_t>(bytes.size(), length - done);
        const auto result = client_.read_gpa(partition_, vp, gpa + done, std::span{bytes}.first(part));
        if (!result || *result != h::HvAccessGpaResult::success) break;
        for (std::uint64_t i = 0; i < part; ++i) {
            const char c = static_cast<char>(bytes[i]);
            if (c == '\0') return text;
            const bool printable = (c >= ' ' && c <= '~') || c == '\n' || c == '\t';
            text += printable ? c : '?';
        }
        done += part;
    }
    return text;
}

void GuestMachine::on_unexpected(const h::HvMessage& message) {
    ++counters_->unexpected;
    scope_.trace("unexpected_intercept", message.header.message_type);
    h::HvX64InterceptMessageHeader header{};
    if (message.header.payload_size < sizeof header) return;
    std::memcpy(&header, message.payload, sizeof header);
    InterceptedProcessor{client_, partition_, header}.inject(cpu::exception_event(cpu::vector::invalid_opcode));
}

}  // namespace models
