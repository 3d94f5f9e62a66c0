#include "models/string_io.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>

#include "hypervisor/intercept_messages.h"
#include "sim/bits.h"

namespace models {
namespace {

using cpu::Gpr;
using cpu::SegmentName;

struct Prefixes {
    bool address_size = false;
    std::optional<SegmentName> segment;
};

// SDM volume 2A, 2.1.1. REX prefixes mean nothing to INS and OUTS.
Prefixes prefixes_of(std::span<const std::uint8_t> code) {
    Prefixes found;
    for (const std::uint8_t byte : code) {
        switch (byte) {
            case 0x67:
                found.address_size = true;
                break;
            case 0x26:
                found.segment = SegmentName::es;
                break;
            case 0x2e:
                found.segment = SegmentName::cs;
                break;
            case 0x36:
                found.segment = SegmentName::ss;
                break;
            case 0x3e:
                found.segment = SegmentName::ds;
                break;
            case 0x64:
                found.segment = SegmentName::fs;
                break;
            case 0x65:
                found.segment = SegmentName::gs;
                break;
            case 0x66:
            case 0xf0:
            case 0xf2:
            case 0xf3:
                break;
            default:
                return found;
        }
    }
    return found;
}

std::optional<cpu::Event> event_of(const cpu::LinearAccess& access, SegmentName segment) {
    switch (access.result) {
        case cpu::LinearResult::page_fault:
            return cpu::page_fault_event(access.error_code, access.cr2);
        case cpu::LinearResult::non_canonical:
            return cpu::exception_event(segment == SegmentName::ss ? cpu::vector::stack_fault
                                                                   : cpu::vector::general_protection);
        // A string between a port and a device's memory: no machine that we model does that.
        case cpu::LinearResult::nested_fault:
            return cpu::exception_event(cpu::vector::general_protection);
        case cpu::LinearResult::ok:
            break;
    }
    return std::nullopt;
}

}  // namespace

void string_io(InterceptedProcessor& processor, const hypervisor::HvX64IoPortInterceptMessage& message,
               IoPortMap& ports) {
    using hypervisor::io_port_access::rep_prefix;
    const bool in =
        message.header.intercept_access_type == static_cast<std::uint8_t>(hypervisor::HvInterceptAccess::read);
    const unsigned size = message.access_info & hypervisor::io_port_access::size_mask;
    const bool rep = (message.access_info & rep_prefix) != 0;
    const std::size_t count = std::min<std::size_t>(message.instruction_byte_count, sizeof message.instruction_bytes);
    const Prefixes prefixes = prefixes_of(std::span{message.instruction_bytes}.first(count));

    cpu::Registers r = processor.registers();
    unsigned address_bits = processor.code_64bit() ? 64 : processor.code_16bit() ? 16 : 32;
    if (prefixes.address_size) address_bits = address_bits == 32 ? 16 : 32;
    const std::uint64_t mask = sim::mask_of(address_bits - 1, 0);
    // INS writes to ES:rDI and no prefix changes that; OUTS reads from DS:rSI or another segment.
    const SegmentName name = in ? SegmentName::es : prefixes.segment.value_or(SegmentName::ds);
    const bool based = !processor.code_64bit() || name == SegmentName::fs || name == SegmentName::gs;
    const std::uint64_t base = based ? r[name].base : 0;
    std::uint64_t& index = r[in ? Gpr::rdi : Gpr::rsi];
    std::uint64_t& counter = r[Gpr::rcx];
    const std::uint64_t step = (r.rflags & cpu::rflags::df) != 0 ? ~std::uint64_t{size} + 1 : size;
    const cpu::Privilege privilege = cpu::privilege_of(r.cpl());
    // Writing a 32-bit register clears its upper half, writing a 16-bit one leaves the rest.
    const auto put = [&](std::uint64_t& reg, std::uint64_t value) {
        reg = address_bits == 16 ? (reg & ~mask) | (value & mask) : value & mask;
    };

    for (unsigned done = 0; done < string_io_elements; ++done) {
        if (rep && (counter & mask) == 0) break;
        const std::uint64_t linear = base + (index & mask);
        std::array<std::byte, 4> bytes{};
        const auto element = std::span{bytes}.first(size);
        std::uint32_t value = 0;
        cpu::LinearAccess access;
        if (in) {
            // The place is tried before the port, whose reading may have effects.
            access = processor.read(linear, element, privilege);
            if (access.ok()) access = processor.write(linear, element, privilege);
            if (access.ok()) {
                value = ports.read(message.port_number, size);
                std::memcpy(bytes.data(), &value, size);
                access = processor.write(linear, element, privilege);
            }
        } else {
            access = processor.read(linear, element, privilege);
            if (access.ok()) {
                std::memcpy(&value, bytes.data(), size);
                ports.write(message.port_number, size, value);
            }
        }
        if (const auto event = event_of(access, name)) {
            if (done == 0) return processor.inject(*event);
            // The elements before it are done; the next try raises the exception.
            return processor.write_back(r, false);
        }
        put(index, (index & mask) + step);
        if (!rep) break;
        put(counter, (counter & mask) - 1);
    }
    const bool finished = !rep || (counter & mask) == 0;
    if (finished) r.rip = processor.next_rip();
    processor.write_back(r, finished);
}

}  // namespace models
