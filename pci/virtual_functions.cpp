#include "pci/virtual_functions.h"

#include <algorithm>
#include <bit>

#include "sim/check.h"

namespace pci {

namespace {
constexpr unsigned first_range = 16;  // what a function decodes beside its own BARs
constexpr std::uint64_t smallest_page = 4096;
}  // namespace

FunctionLayout virtual_function_layout(const Identity& physical) {
    Identity own = physical;
    own.vendor = 0xffff;
    own.device = 0xffff;
    own.interrupt_pin = 0;
    own.multi_function = false;
    own.command_writable = command::bus_master;
    return device_function(own, {}, extended_config_bytes);
}

VirtualFunctions::VirtualFunctions(const sim::Scope& scope, Function& physical, const SriovCapability& what,
                                   VirtualFunctionOwner& owner, std::optional<Routing> without_ari)
    : scope_(scope),
      physical_(physical),
      what_(what),
      owner_(owner),
      without_ari_(without_ari.value_or(Routing{what.first_vf_offset, what.vf_stride})),
      start_(physical.config().layout().extended_capability(extended_id::sriov)) {
    VG_CHECK(start_ != 0);
    ConfigSpace& config = physical.config();
    const auto at = [this](std::uint16_t offset) { return static_cast<std::uint16_t>(start_ + offset); };
    config.listen(at(sriov::control), 2, *this);
    config.listen(at(sriov::num_vfs), 2, *this);
    config.listen(at(sriov::system_page_size), 4, *this);
    for (unsigned bar = 0; bar < what_.vf_bars.size(); ++bar) {
        if (what_.vf_bars[bar].kind == BarKind::absent) continue;
        config.listen(at(static_cast<std::uint16_t>(sriov::vf_bar0 + 4 * bar)), 4, *this);
        if (what_.vf_bars[bar].kind != BarKind::memory64) continue;
        config.listen(at(static_cast<std::uint16_t>(sriov::vf_bar0 + 4 * bar + 4)), 4, *this);
    }
    physical.add_part(*this);
    update_routing();
}

VirtualFunctions::~VirtualFunctions() {
    disable();
}

std::uint32_t VirtualFunctions::get(std::uint16_t offset, unsigned size) const {
    return physical_.config().get(start_ + offset, size);
}

void VirtualFunctions::set(std::uint16_t offset, unsigned size, std::uint32_t value) {
    physical_.config().set(start_ + offset, size, value);
}

// 3.3.12: bit n stands for 4 KiB << n.
std::uint64_t VirtualFunctions::page_bytes() const {
    return smallest_page << std::countr_zero(get(sriov::system_page_size, 4));
}

std::uint64_t VirtualFunctions::bar_bytes(unsigned bar) const {
    return std::max(what_.vf_bars[bar].size_bytes, page_bytes());
}

std::uint64_t VirtualFunctions::bar_address(unsigned vf, unsigned bar) const {
    const auto offset = static_cast<std::uint16_t>(sriov::vf_bar0 + 4 * bar);
    std::uint64_t address = get(offset, 4);
    if (what_.vf_bars[bar].kind == BarKind::memory64) {
        address |= std::uint64_t{get(static_cast<std::uint16_t>(offset + 4), 4)} << 32;
    }
    return (address & ~(bar_bytes(bar) - 1)) + vf * bar_bytes(bar);
}

// What a larger system page takes from a BAR's lower bits reads zero.
std::uint32_t VirtualFunctions::config_read(std::uint16_t offset, std::uint32_t stored) {
    const unsigned relative = static_cast<unsigned>(offset - start_);
    if (relative < sriov::vf_bar0 || relative >= sriov::migration_array) return stored;
    unsigned bar = (relative - sriov::vf_bar0) / 4;
    const bool upper = bar > 0 && what_.vf_bars.size() > bar - 1 && what_.vf_bars[bar - 1].kind == BarKind::memory64;
    if (upper) --bar;
    const std::uint64_t mask = ~(bar_bytes(bar) - 1);
    if (upper) return stored & static_cast<std::uint32_t>(mask >> 32);
    constexpr std::uint32_t type_mask = 0xf;
    return stored & (static_cast<std::uint32_t>(mask) | type_mask);
}

void VirtualFunctions::config_written(std::uint16_t offset, std::uint32_t before, std::uint32_t after) {
    const bool enabled = (control() & sriov::vf_enable) != 0;
    switch (offset - start_) {
        case sriov::control:
            update_routing();
            if ((before & sriov::vf_enable) == 0 && enabled && !enable(get(sriov::num_vfs, 2))) {
                set(sriov::control, 2, after & ~std::uint32_t{sriov::vf_enable});
            }
            if ((before & sriov::vf_enable) != 0 && !enabled) disable();
            break;
        case sriov::num_vfs:  // 3.3.7: only while VF Enable is clear
            if (!made_.empty()) set(sriov::num_vfs, 2, before);
            break;
        case sriov::system_page_size:  // 3.3.13: one supported size, and not while functions are there
            if (!made_.empty() || !std::has_single_bit(after)) set(sriov::system_page_size, 4, before);
            break;
        default:
            break;
    }
    update_ranges();
}

void VirtualFunctions::update_routing() {
    const bool ari = (control() & sriov::ari_capable_hierarchy) != 0;
    set(sriov::first_vf_offset, 2, ari ? what_.first_vf_offset : without_ari_.first_offset);
    set(sriov::vf_stride, 2, ari ? what_.vf_stride : without_ari_.stride);
}

// More functions than there are leaves the standard's ground (3.3.7): here none comes, as when a place is taken.
bool VirtualFunctions::enable(unsigned count) {
    scope_.trace("vf_enable", count);
    if (count > what_.total_vfs) return false;
    for (unsigned vf = 0; vf < count; ++vf) {
        if (make(vf)) continue;
        disable();
        return false;
    }
    return true;
}

bool VirtualFunctions::make(unsigned vf) {
    const unsigned offset = get(sriov::first_vf_offset, 2) + vf * get(sriov::vf_stride, 2);
    std::optional<Slot> slot = physical_.further_place(offset);
    if (!slot) return false;
    made_.push_back(std::make_unique<Share>(*this, vf, owner_.make_vf(vf, std::move(*slot))));
    return true;
}

void VirtualFunctions::disable() {
    if (made_.empty()) return;
    scope_.trace("vf_disable", made_.size());
    while (!made_.empty()) {
        made_.pop_back();
        owner_.destroy_vf(static_cast<unsigned>(made_.size()));
    }
}

// The physical function was reset: its registers are as at first (3.3.3.1).
void VirtualFunctions::part_reset() {
    disable();
    update_routing();
}

void VirtualFunctions::restored(std::uint32_t functions) {
    while (made_.size() > functions) {
        made_.pop_back();
        owner_.destroy_vf(static_cast<unsigned>(made_.size()));
    }
    while (made_.size() < functions) {
        if (!make(count())) throw sim::UserError("checkpoint: a virtual function's place on the bus is taken");
    }
    update_ranges();
}

void VirtualFunctions::update_ranges() {
    const bool on = (control() & sriov::vf_memory_space) != 0;
    for (const auto& share : made_) {
        std::vector<Range> ranges;
        for (unsigned bar = 0; on && bar < what_.vf_bars.size(); ++bar) {
            if (what_.vf_bars[bar].kind == BarKind::absent) continue;
            const std::uint64_t first = bar_address(share->number, bar);
            const std::uint64_t last = first + (bar_bytes(bar) - 1);
            if (last < first) continue;
            ranges.push_back({Space::memory, first, last, first_range + bar, share.get()});
        }
        share->function.set_further_ranges(std::move(ranges));
    }
}

std::optional<std::uint64_t> VirtualFunctions::Share::read_range(Space, unsigned range, std::uint64_t address,
                                                                 unsigned size) {
    if (!all.physical_.present()) return std::nullopt;
    const unsigned bar = range - first_range;
    return model.read_bar(bar, address - all.bar_address(number, bar), size);
}

bool VirtualFunctions::Share::write_range(Space, unsigned range, std::uint64_t address, unsigned size,
                                          std::uint64_t value) {
    if (!all.physical_.present()) return false;
    const unsigned bar = range - first_range;
    model.write_bar(bar, address - all.bar_address(number, bar), size, value);
    return true;
}

}  // namespace pci
