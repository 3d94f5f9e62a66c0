#include "hypervisor/synthetic_partition.h"

#include <cstring>

#include "sim/bits.h"
#include "sim/check.h"

namespace hypervisor {

namespace {

constexpr std::uint64_t reference_hz = 10'000'000;
constexpr std::int64_t reference_tick_ps = 100'000;

constexpr slat::PageRights read_execute{true, false, true};

}  // namespace

ReferenceTime::ReferenceTime(sim::Time start, std::uint64_t tsc_hz)
    : start_(start), tsc_hz_(tsc_hz), scale_(static_cast<std::uint64_t>((sim::u128{reference_hz} << 64) / tsc_hz)) {}

std::int64_t ReferenceTime::offset() const {
    return -(start_.ps() / reference_tick_ps);
}

std::uint64_t ReferenceTime::at(sim::Time t) const {
    const auto tsc = sim::time_to_cycles(t, tsc_hz_);
    const auto count = static_cast<std::int64_t>((sim::u128{tsc} * scale_) >> 64) + offset();
    return count < 0 ? 0 : static_cast<std::uint64_t>(count);
}

sim::Time ReferenceTime::when(std::uint64_t count) const {
    // (tsc * scale) >> 64 >= wanted, for the least tsc.
    const sim::u128 wanted = sim::u128{count} + static_cast<std::uint64_t>(-offset());
    const sim::u128 tsc = wanted >> 62 != 0 ? ~std::uint64_t{0} : ((wanted << 64) + scale_ - 1) / scale_;
    if (tsc >> 63 != 0) return sim::Time::never();
    return sim::first_time_of_cycle(static_cast<std::uint64_t>(tsc), tsc_hz_);
}

bool OverlayPage::set(std::uint64_t value) {
    const std::uint64_t gpa_page = value >> page_register::gpfn_shift;
    const bool enable = (value & page_register::enable) != 0;
    const bool moves = state_.placed && state_.value >> page_register::gpfn_shift != gpa_page;
    if (enable && (moves || !state_.placed)) {
        if (!state_.spa_page) state_.spa_page = space_.allocate_overlay_page();
        if (!state_.spa_page || space_.place_overlay(gpa_page, *state_.spa_page, rights_) != GpaEdit::ok) return false;
    }
    if (moves || !enable) remove();
    state_.value = value;
    state_.placed = enable;
    return true;
}

void OverlayPage::remove() {
    if (state_.placed) space_.remove_overlay(state_.value >> page_register::gpfn_shift, *state_.spa_page);
    state_.placed = false;
}

void OverlayPage::reset() {
    remove();
    if (state_.spa_page) space_.free_overlay_page(*state_.spa_page);
    state_ = State{};
}

void OverlayPage::save_content(sim::Writer& writer) const {
    std::vector<std::byte> content;
    if (state_.spa_page) {
        content.resize(hv_page_size);
        VG_CHECK(memory_.read(*spa(), content));
    }
    writer(state_.value, state_.placed, content);
}

bool OverlayPage::restore_content(sim::Reader& reader) {
    std::uint64_t value = 0;
    bool placed = false;
    std::vector<std::byte> content;
    reader(value, placed, content);
    if (!content.empty() && content.size() != hv_page_size) throw sim::UserError("an overlay page of another size");
    reset();
    if (!content.empty()) {
        state_.spa_page = space_.allocate_overlay_page();
        if (!state_.spa_page) return false;
        VG_CHECK(memory_.write(*spa(), content));
    }
    if (placed && !set(value)) return false;
    state_.value = value;
    return true;
}

SyntheticPartition::SyntheticPartition(const sim::Scope& scope, Partition& partition, mmu::SystemMemory memory,
                                       std::uint64_t tsc_hz, std::uint64_t apic_hz, HypercallInstruction instruction)
    : scope_(scope),
      partition_(partition),
      memory_(memory),
      reference_time_(scope.now(), tsc_hz),
      tsc_hz_(tsc_hz),
      apic_hz_(apic_hz),
      instruction_(instruction),
      hypercall_page_(partition.gpa_space(), memory, read_execute),
      tsc_page_(partition.gpa_space(), memory, OverlayPage::read_write) {}

// Without an identity there are no hypercalls (TLFS 3.13).
void SyntheticPartition::write_guest_os_id(std::uint64_t value) {
    state_.guest_os_id = value;
    partition_.fill_property(HvPartitionProperty::guest_os_id, value);
    if (value == 0) {
        state_.hypercall &= ~hypercall_register::enable;
        VG_CHECK(hypercall_page_.set(state_.hypercall));
    }
}

bool SyntheticPartition::write_hypercall(std::uint64_t value) {
    if ((state_.hypercall & hypercall_register::locked) != 0) return false;
    if (state_.guest_os_id == 0) value &= ~hypercall_register::enable;
    if (!hypercall_page_.set(value)) return false;
    state_.hypercall = value;
    if (hypercall_page_.enabled()) write_hypercall_code();
    return true;
}

// VMCALL or VMMCALL; RET. Execution anywhere else on the page is a breakpoint.
void SyntheticPartition::write_hypercall_code() {
    std::array<std::uint8_t, hv_page_size> code;
    code.fill(0xcc);
    const std::array<std::uint8_t, 4> entry{
        0x0f, 0x01, static_cast<std::uint8_t>(instruction_ == HypercallInstruction::vmcall ? 0xc1 : 0xd9), 0xc3};
    std::memcpy(code.data(), entry.data(), entry.size());
    VG_CHECK(memory_.write(*hypercall_page_.spa(), std::as_bytes(std::span{code})));
}

bool SyntheticPartition::write_reference_tsc(std::uint64_t value) {
    if (!tsc_page_.set(value)) return false;
    if (tsc_page_.enabled()) {
        const HvReferenceTscPage page = reference_time_.page();
        VG_CHECK(memory_.write(*tsc_page_.spa(), std::as_bytes(std::span{&page, 1})));
    }
    return true;
}

void SyntheticPartition::save_elsewhere(sim::Writer& writer) const {
    writer(tsc_hz_, apic_hz_, state_, reference_time_);
    hypercall_page_.save_content(writer);
    tsc_page_.save_content(writer);
}

// A guest counts on its frequencies.
bool SyntheticPartition::restore_elsewhere(sim::Reader& reader) {
    std::uint64_t tsc_hz = 0, apic_hz = 0;
    reader(tsc_hz, apic_hz, state_, reference_time_);
    if (tsc_hz != tsc_hz_ || apic_hz != apic_hz_) throw sim::UserError("a partition of a machine of other frequencies");
    partition_.fill_property(HvPartitionProperty::guest_os_id, state_.guest_os_id);
    return hypercall_page_.restore_content(reader) && tsc_page_.restore_content(reader);
}

void SyntheticPartition::abandon_pages() {
    hypercall_page_.abandon();
    tsc_page_.abandon();
}

}  // namespace hypervisor
