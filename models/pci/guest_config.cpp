#include "models/pci/guest_config.h"

#include "pci/capability_registers.h"
#include "pci/config_registers.h"
#include "sim/bits.h"

namespace models {

namespace h = pci::header;
namespace h0 = pci::header0;

namespace {

constexpr unsigned last_bar = h::bar0 + 4 * h::bars;
// Of the command register: what the guest's writes mean for the function itself.
constexpr std::uint32_t command_through =
    pci::command::bus_master | pci::command::intx_disable | pci::command::parity_response | pci::command::serr_enable;
constexpr std::uint32_t command_kept = command_through | pci::command::memory_space;

}  // namespace

void GuestConfig::attach(const HostFunction& function) {
    function_ = &function;
    state_ = State{};
    find_sriov();
}

void GuestConfig::find_sriov() {
    sriov_ = 0;
    unsigned at = pci::first_extended_capability;
    for (unsigned n = 0; n < 64 && at >= pci::first_extended_capability; ++n) {
        const std::uint32_t header = host_.read_config(function_->id, at, 4);
        if (header == 0 || header == ~std::uint32_t{0}) return;
        if ((header & 0xffff) == pci::extended_id::sriov) sriov_ = static_cast<std::uint16_t>(at);
        at = header >> 20 & 0xffc;
    }
}

std::uint32_t GuestConfig::bar_mask(unsigned bar) const {
    using Kind = pci::BarKind;
    const pci::Bar& own = function_->bars[bar];
    if (own.kind == Kind::memory32 || own.kind == Kind::memory64)
        return static_cast<std::uint32_t>(~(own.size_bytes - 1));
    if (bar > 0 && function_->bars[bar - 1].kind == Kind::memory64) {
        return static_cast<std::uint32_t>(~(function_->bars[bar - 1].size_bytes - 1) >> 32);
    }
    return 0;
}

std::array<std::uint32_t, 6> GuestConfig::bar_masks() const {
    std::array<std::uint32_t, 6> masks{};
    for (unsigned bar = 0; bar < masks.size(); ++bar) {
        masks[bar] = bar_mask(bar) | pci::type_bits(function_->bars[bar]);
    }
    return masks;
}

std::uint64_t GuestConfig::bar_address(unsigned bar) const {
    std::uint64_t address = state_.bars[bar];
    if (function_->bars[bar].kind == pci::BarKind::memory64) address |= std::uint64_t{state_.bars[bar + 1]} << 32;
    return address;
}

std::uint32_t GuestConfig::read_dword(unsigned offset) {
    const vmbus::PciIdentity& who = function_->identity;
    if (offset >= h::bar0 && offset < last_bar) {
        const unsigned bar = (offset - h::bar0) / 4;
        return state_.bars[bar] | pci::type_bits(function_->bars[bar]);
    }
    if (sriov_ != 0 && offset >= sriov_ && offset < sriov_ + unsigned{pci::sriov::length}) {
        // The list goes on behind it: a capability of no kind (PCIe 6.0, 7.9.28).
        return offset == sriov_ ? host_.read_config(function_->id, offset, 4) & 0xfff0'0000 : 0;
    }
    switch (offset) {
        case h::vendor_id:
            return who.vendor | std::uint32_t{who.device} << 16;
        case h::command:
            return (host_.read_config(function_->id, offset, 4) & 0xffff'0000) | state_.command;
        case h::revision_id:
            return who.revision | std::uint32_t{who.programming_interface} << 8 | std::uint32_t{who.class_of} << 16;
        case h::cache_line_size:  // and the header's type: one function, whatever its neighbours on the host are
            return host_.read_config(function_->id, offset, 4) & ~(std::uint32_t{h::multi_function} << 16);
        case h0::subsystem_vendor_id:
            return who.subsystem_vendor | std::uint32_t{who.subsystem} << 16;
        case h0::cardbus_cis:
        case h0::rom:
        case h::interrupt_line:
            return 0;
        default:
            return host_.read_config(function_->id, offset, 4);
    }
}

std::uint32_t GuestConfig::read(unsigned offset, unsigned size) {
    if (offset % 4 + size <= 4) {
        return static_cast<std::uint32_t>((read_dword(offset & ~3u) >> 8 * (offset % 4)) &
                                          sim::mask_of(8 * size - 1, 0));
    }
    std::uint32_t value = 0;
    for (unsigned n = 0; n < size; ++n) value |= (offset + n < bytes ? read(offset + n, 1) : 0xff) << 8 * n;
    return value;
}

bool GuestConfig::write(unsigned offset, unsigned size, std::uint32_t value) {
    if (offset % 4 + size > 4) {
        bool moved = false;
        for (unsigned n = 0; n < size && offset + n < bytes; ++n) moved = write(offset + n, 1, value >> 8 * n) || moved;
        return moved;
    }
    const unsigned dword = offset & ~3u;
    const unsigned low = 8 * (offset % 4);
    const auto merged = [&](std::uint32_t before) {
        return static_cast<std::uint32_t>(sim::with_bits(before, low + 8 * size - 1, low, value));
    };
    if (dword >= h::bar0 && dword < last_bar) {
        const unsigned bar = (dword - h::bar0) / 4;
        const std::uint32_t before = state_.bars[bar];
        state_.bars[bar] = merged(before) & bar_mask(bar);
        return decodes() && state_.bars[bar] != before;
    }
    if (dword == h::command) {
        // The upper half is the status register, whose bits ones clear.
        if (offset % 4 + size > 2) write_through(h::status, 2, merged(0) >> 16);
        if (offset % 4 >= 2) return false;
        const bool before = decodes();
        write_command(merged(state_.command) & 0xffff);
        return decodes() != before;
    }
    if (offset < 0x40 || (sriov_ != 0 && dword >= sriov_ && dword < sriov_ + unsigned{pci::sriov::length}))
        return false;
    const std::uint16_t express = host_.capability(function_->id, pci::capability_id::express);
    write_through(offset, size, value);
    if (express == 0 || dword != express + unsigned{pci::express::device_control}) return false;
    if ((merged(0) & pci::express::initiate_flr) == 0) return false;
    // The function has forgotten where the host has put it, and what the guest has set.
    host_.restore(*function_);
    const bool moved = decodes();
    state_ = State{};
    return moved;
}

void GuestConfig::write_command(std::uint32_t value) {
    state_.command = static_cast<std::uint16_t>(value & command_kept);
    write_through(h::command, 2, (value & command_through) | pci::command::memory_space);
}

void GuestConfig::write_through(unsigned offset, unsigned size, std::uint32_t value) {
    host_.write_config(function_->id, offset, size, static_cast<std::uint32_t>(value & sim::mask_of(8 * size - 1, 0)));
}

}  // namespace models
