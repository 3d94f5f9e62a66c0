#include "pci/message_interrupts.h"

#include <algorithm>

#include "sim/bits.h"
#include "sim/check.h"

namespace pci {

Msi::Msi(Function& function) : function_(function), start_(function.config().layout().capability(capability_id::msi)) {
    VG_CHECK(start_ != 0);
    const bool wide = (control() & msi_cap::address64) != 0;
    data_ = static_cast<std::uint16_t>(start_ + (wide ? 12 : 8));
    ConfigSpace& config = function_.config();
    config.listen(static_cast<std::uint16_t>(start_ + msi_cap::control), 2, *this);
    if ((control() & msi_cap::per_vector_masking) == 0) return;
    mask_ = static_cast<std::uint16_t>(data_ + 4);
    config.listen(mask_, 4, *this);
}

std::uint16_t Msi::control() const {
    return static_cast<std::uint16_t>(function_.config().get(start_ + msi_cap::control, 2));
}

bool Msi::enabled() const {
    return (control() & msi_cap::enable) != 0;
}

unsigned Msi::vectors() const {
    const unsigned capable = control() >> msi_cap::capable_shift & 7;
    const unsigned granted = control() >> msi_cap::enabled_shift & 7;
    return 1u << std::min({capable, granted, 5u});
}

void Msi::raise(unsigned vector) {
    if (!enabled()) return;
    vector %= vectors();
    if (mask_ != 0 && sim::bit(function_.config().get(mask_, 4), vector)) {
        function_.config().set_bits(mask_ + 4u, 4, 1u << vector);
        return;
    }
    send(vector);
}

void Msi::send(unsigned vector) {
    const ConfigSpace& config = function_.config();
    std::uint64_t address = config.get(start_ + msi_cap::address, 4);
    if ((control() & msi_cap::address64) != 0) {
        address |= std::uint64_t{config.get(start_ + msi_cap::upper_address, 4)} << 32;
    }
    // The function changes the low bits alone; the upper half of the written dword is 0.
    const std::uint32_t data = (config.get(data_, 2) & ~(vectors() - 1)) | vector;
    function_.master().message(address, data);
}

void Msi::flush() {
    if (mask_ == 0 || !enabled()) return;
    ConfigSpace& config = function_.config();
    const std::uint32_t due = config.get(mask_ + 4u, 4) & ~config.get(mask_, 4);
    if (due == 0) return;
    config.set(mask_ + 4u, 4, config.get(mask_ + 4u, 4) & ~due);
    for (unsigned vector = 0; vector < vectors(); ++vector) {
        if (sim::bit(due, vector)) send(vector);
    }
}

void Msi::config_written(std::uint16_t, std::uint32_t, std::uint32_t) {
    flush();
    function_.refresh_intx();
}

MsiX::MsiX(Function& function)
    : function_(function),
      start_(function.config().layout().capability(capability_id::msix)),
      state_((function.config().get(start_ + msix_cap::control, 2) & msix_cap::size_mask) + 1) {
    VG_CHECK(start_ != 0);
    function_.config().listen(static_cast<std::uint16_t>(start_ + msix_cap::control), 2, *this);
    function_.add_part(*this);
    look_at_control();
}

void MsiX::look_at_control() {
    const std::uint32_t control = function_.config().get(start_ + msix_cap::control, 2);
    enabled_ = (control & msix_cap::enable) != 0;
    masked_ = (control & msix_cap::function_mask) != 0;
}

void MsiX::part_reset() {
    std::fill(state_.entries.begin(), state_.entries.end(), Entry{});
    std::fill(state_.pending.begin(), state_.pending.end(), 0);
    look_at_control();
}

inline void MsiX::send(unsigned vector) {
    const Entry& entry = state_.entries[vector];
    const std::uint64_t address = entry.address & ~std::uint64_t{3};
    if (port_ != nullptr) {
        port_->message(function_.master(), address, entry.data);
    } else {
        function_.master().message(address, entry.data);
    }
}

void MsiX::raise(unsigned vector) {
    VG_CHECK(vector < vectors());
    if (!enabled_) return;
    if (silent(vector)) {
        state_.pending[vector / 64] |= std::uint64_t{1} << vector % 64;
    } else {
        send(vector);
    }
}

// What waited, if it need not wait any more.
void MsiX::serve(unsigned vector) {
    if (!pending(vector) || !enabled_ || silent(vector)) return;
    state_.pending[vector / 64] &= ~(std::uint64_t{1} << vector % 64);
    send(vector);
}

void MsiX::config_written(std::uint16_t, std::uint32_t, std::uint32_t) {
    look_at_control();
    for (unsigned vector = 0; vector < vectors(); ++vector) serve(vector);
    function_.refresh_intx();
}

// The table is read and written in dwords and qwords (7.7.2, "Table BIR"); smaller pieces act on what they touch.
std::uint64_t MsiX::read_table(std::uint64_t offset, unsigned size) const {
    std::uint64_t value = 0;
    for (unsigned i = 0; i < size; ++i) {
        const std::uint64_t at = offset + i;
        if (at >= table_bytes()) break;
        const Entry& entry = state_.entries[at / msix_cap::entry_bytes];
        const unsigned in = at % msix_cap::entry_bytes;
        const std::uint64_t part =
            in < 8 ? entry.address >> 8 * in : (entry.data | std::uint64_t{entry.control} << 32) >> 8 * (in - 8);
        value |= (part & 0xff) << 8 * i;
    }
    return value;
}

void MsiX::write_table(std::uint64_t offset, unsigned size, std::uint64_t value) {
    for (unsigned i = 0; i < size; ++i) {
        const std::uint64_t at = offset + i;
        if (at >= table_bytes()) break;
        Entry& entry = state_.entries[at / msix_cap::entry_bytes];
        const unsigned in = at % msix_cap::entry_bytes;
        const std::uint64_t byte = value >> 8 * i & 0xff;
        const unsigned low = 8 * (in % 8);
        if (in < 8) {
            entry.address = sim::with_bits(entry.address, low + 7, low, byte);
        } else if (in < 12) {
            entry.data = static_cast<std::uint32_t>(sim::with_bits(entry.data, low + 7, low, byte));
        } else if (in == 12) {
            entry.control = static_cast<std::uint32_t>(byte & msix_cap::entry_masked);
        }
    }
    const std::uint64_t last = std::min(offset + size - 1, table_bytes() - 1);
    for (std::uint64_t at = offset; at <= last; at += msix_cap::entry_bytes) {
        serve(static_cast<unsigned>(at / msix_cap::entry_bytes));
    }
    if (offset <= last) serve(static_cast<unsigned>(last / msix_cap::entry_bytes));
}

std::uint64_t MsiX::read_pending(std::uint64_t offset, unsigned size) const {
    std::uint64_t value = 0;
    for (unsigned i = 0; i < size; ++i) {
        const std::uint64_t at = offset + i;
        if (at >= pending_bytes()) break;
        value |= (state_.pending[at / 8] >> 8 * (at % 8) & 0xff) << 8 * i;
    }
    return value;
}

}  // namespace pci
