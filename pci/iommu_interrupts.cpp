// The IOMMU's other job: an interrupt names an entry of the remapping table; the entry says whose it is and where it
// goes, to a processor or into a posted-interrupt descriptor (VT-d chapter 5).
#include "pci/iommu.h"

namespace pci {

namespace ir = interrupt_remapping;

void Iommu::set_interrupt_table(std::uint64_t spa, unsigned size_log2) {
    state_.interrupt_table = spa & dma_remapping::address_mask;
    state_.interrupt_entries = 1u << ((size_log2 & 15) + 1);
}

void Iommu::enable_interrupt_remapping(bool on, bool compatible) {
    state_.remapping = on;
    state_.compatible = compatible;
}

// 9.10: the bits of SID that SQ leaves in, or a range of buses.
bool Iommu::source_allowed(InterruptEntry entry, RequesterId requester) {
    const auto source = static_cast<std::uint16_t>(entry.high);
    switch (static_cast<SourceValidation>(entry.high >> ir::source_validation_shift & 3)) {
        case SourceValidation::none:
            return true;
        case SourceValidation::requester: {
            static constexpr std::uint16_t ignored[] = {0, 4, 6, 7};
            const std::uint16_t mask = ignored[entry.high >> ir::source_qualifier_shift & 3];
            return ((source ^ requester.value) & ~mask & 0xffff) == 0;
        }
        case SourceValidation::bus_range:
            return requester.bus() >= source >> 8 && requester.bus() <= (source & 0xff);
        case SourceValidation::reserved:
            return false;
    }
    return false;
}

// 5.1.3: which entry.
inline FaultReason Iommu::entry_of(const InterruptMessage& message, std::uint32_t& index, InterruptEntry& entry) const {
    const auto address = static_cast<std::uint32_t>(message.address);
    index = (address >> 5 & 0x7fff) | (address >> 2 & 1) << 15;
    if ((address & ir::address_subhandle_valid) != 0) {
        if ((message.data & 0xffff'0000) != 0) return FaultReason::interrupt_reserved;
        index += message.data & 0xffff;
    } else if (message.data != 0) {
        return FaultReason::interrupt_reserved;
    }
    if (index >= state_.interrupt_entries) return FaultReason::interrupt_index;
    const std::uint64_t at = state_.interrupt_table + ir::entry_bytes * index;
    return memory_.try_load(at, entry) ? FaultReason::none : FaultReason::interrupt_table_access;
}

// As entries mostly are: present, not posted, without reserved bits, and with the requester as the only source.
inline bool Iommu::usual(InterruptEntry entry, RequesterId requester) {
    constexpr std::uint64_t only_source = static_cast<std::uint64_t>(SourceValidation::requester)
                                          << ir::source_validation_shift;
    return (entry.low & (ir::present | ir::posted | ir::remapped_reserved)) == ir::present &&
           entry.high == (only_source | requester.value);
}

// Whether an entry may be used at all.
FaultReason Iommu::checked(InterruptEntry entry, RequesterId requester) {
    if ((entry.low & ir::present) == 0) return FaultReason::interrupt_not_present;
    const bool posted = (entry.low & ir::posted) != 0;
    const std::uint64_t reserved_high = posted ? ir::upper_reserved : ~std::uint64_t{0xf'ffff};
    if ((entry.low & (posted ? ir::posted_reserved : ir::remapped_reserved)) != 0 ||
        (entry.high & reserved_high) != 0) {
        return FaultReason::interrupt_entry_reserved;
    }
    return source_allowed(entry, requester) ? FaultReason::none : FaultReason::interrupt_source;
}

// In the form that the host's interrupt side reads: destination bits 7:0 in the address's 19:12, the others in its
// upper half.
inline void Iommu::send(std::uint32_t destination, std::uint8_t vector, std::uint64_t low_bits, std::uint32_t data,
                        RequesterId requester) {
    const std::uint64_t address = ir::address_base | std::uint64_t{destination & 0xff} << 12 | low_bits |
                                  std::uint64_t{destination & 0xffff'ff00} << 32;
    host_.interrupt({address, data | vector, requester});
}

// 5.2.3: the request bit, and a notification unless one is on its way or they are suppressed.
FaultReason Iommu::post(InterruptEntry entry) {
    namespace pd = posted_descriptor;
    const std::uint64_t descriptor = (entry.low & ir::posted_address_low) >> 32 | (entry.high >> 32 & 0xffff'ffff)
                                                                                      << 32;
    if (!memory_.contains(descriptor, pd::bytes)) return FaultReason::posted_descriptor_access;
    const auto vector = static_cast<std::uint8_t>(entry.low >> ir::vector_shift);
    auto control = memory_.load<std::uint64_t>(descriptor + pd::control);
    constexpr std::uint64_t reserved = 0x0000'0000'ff00'fffc;
    if ((control & reserved) != 0) return FaultReason::posted_descriptor_reserved;
    const std::uint64_t word = descriptor + vector / 64 * 8;
    memory_.store<std::uint64_t>(word, memory_.load<std::uint64_t>(word) | std::uint64_t{1} << vector % 64);
    ++posted_;
    const bool urgent = (entry.low & ir::posted_urgent) != 0;
    if ((control & pd::outstanding) != 0 || ((control & pd::suppress) != 0 && !urgent)) return FaultReason::none;
    memory_.store<std::uint64_t>(descriptor + pd::control, control | pd::outstanding);
    const auto destination = static_cast<std::uint32_t>(control >> pd::destination_shift);
    send(config_.x2apic ? destination : destination >> 8 & 0xff, static_cast<std::uint8_t>(control >> pd::vector_shift),
         0, 0, {});
    return FaultReason::none;
}

inline void Iommu::deliver(InterruptEntry entry, RequesterId requester) {
    ++remapped_;
    const auto destination = static_cast<std::uint32_t>(entry.low >> ir::destination_shift);
    const std::uint64_t mode =
        ((entry.low & ir::destination_logical) != 0 ? 4u : 0u) | ((entry.low & ir::redirection_hint) != 0 ? 8u : 0u);
    const std::uint32_t delivery = static_cast<std::uint32_t>(entry.low >> ir::delivery_mode_shift & 7) << 8;
    const std::uint32_t trigger = (entry.low & ir::trigger_level) != 0 ? 0x8000u | 0x4000u : 0;
    send(config_.x2apic ? destination : destination >> 8 & 0xff,
         static_cast<std::uint8_t>(entry.low >> ir::vector_shift), mode, delivery | trigger, requester);
}

void Iommu::interrupt(const InterruptMessage& message) {
    if (!state_.remapping) return host_.interrupt(message);
    if ((message.address & ir::address_remappable) == 0) {
        if (state_.compatible) return host_.interrupt(message);
        return blocked_interrupt(message.requester, 0, {}, FaultReason::interrupt_compatibility_blocked);
    }
    std::uint32_t index = 0;
    InterruptEntry entry;
    const FaultReason fault = entry_of(message, index, entry);
    if (fault != FaultReason::none) return blocked_interrupt(message.requester, index, entry, fault);
    if (!usual(entry, message.requester)) return interrupt_by(message.requester, index, entry);
    deliver(entry, message.requester);
}

// Whatever the entry says.
void Iommu::interrupt_by(RequesterId requester, std::uint32_t index, InterruptEntry entry) {
    FaultReason fault = checked(entry, requester);
    if (fault == FaultReason::none) {
        if ((entry.low & ir::posted) == 0) return deliver(entry, requester);
        fault = post(entry);
    }
    if (fault != FaultReason::none) blocked_interrupt(requester, index, entry, fault);
}

void Iommu::blocked_interrupt(RequesterId requester, std::uint32_t index, InterruptEntry entry, FaultReason fault) {
    ++blocked_;
    // Of an entry with fault processing off, only what 5.1.4.1 still reports of the table itself.
    const bool silent = (entry.low & ir::fault_disable) != 0 && fault != FaultReason::interrupt_index;
    if (!silent) blocked(requester, std::uint64_t{index} << 48, true, fault);
}

}  // namespace pci
