// What the Hyper-V interface keeps once for a partition: identity of the guest, hypercall page, reference time and its
// TSC page, crash registers. And the overlay pages that it and its processors put over guest memory.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "hypervisor/partition.h"
#include "hypervisor/tlfs.h"
#include "mmu/system_memory.h"
#include "sim/scope.h"

namespace hypervisor {

// Partition reference time (TLFS 12.3): 100 ns units since the partition was made. The counter register, the TSC page
// and the timers all use the page's formula, so they never disagree.
class ReferenceTime final {
public:
    ReferenceTime(sim::Time start, std::uint64_t tsc_hz);

    std::uint64_t at(sim::Time t) const;
    // The first instant at which the counter shows `count` or more.
    sim::Time when(std::uint64_t count) const;
    HvReferenceTscPage page() const { return {sequence, 0, scale_, offset()}; }

    // Any constant but 0, which says "don't use the page".
    static constexpr std::uint32_t sequence = 1;

    template <class Archive>
    void fields(Archive& archive) {
        archive(start_);
    }

private:
    std::int64_t offset() const;

    sim::Time start_;
    std::uint64_t tsc_hz_;
    std::uint64_t scale_;  // floor(2^64 * 10^7 / tsc_hz)
};

// One page register (enable bit and page number) and the page that it lays over guest memory while enabled. The page's
// content outlives being moved and disabled (TLFS 5.2.1).
class OverlayPage final {
public:
    static constexpr slat::PageRights read_write{true, true, false};

    OverlayPage(GpaSpace& space, mmu::SystemMemory memory, slat::PageRights rights)
        : space_(space), memory_(memory), rights_(rights) {}
    ~OverlayPage() { reset(); }
    OverlayPage(const OverlayPage&) = delete;
    OverlayPage& operator=(const OverlayPage&) = delete;

    std::uint64_t value() const { return state_.value; }
    bool enabled() const { return (state_.value & page_register::enable) != 0 && state_.placed; }
    // False, and nothing has changed: the page can't be had, or there is no such guest page.
    [[nodiscard]] bool set(std::uint64_t value);
    void reset();
    // Forgets the page without a touch of memory or tables: another machine's state takes this one's place.
    void abandon() { state_ = State{}; }

    // Content, wherever the page lies; writes make it if there is none yet.
    std::optional<std::uint64_t> spa() const {
        return state_.spa_page ? std::optional{*state_.spa_page << hv_page_shift} : std::nullopt;
    }
    mmu::SystemMemory memory() const { return memory_; }

    // Register and content, wherever the page lies: what goes to another machine. False: there is no page for it there.
    void save_content(sim::Writer& writer) const;
    [[nodiscard]] bool restore_content(sim::Reader& reader);

    template <class Archive>
    void fields(Archive& archive) {
        archive(state_);
    }

private:
    void remove();
    struct State {
        std::uint64_t value = 0;
        std::optional<std::uint64_t> spa_page;
        bool placed = false;

        friend bool operator==(const State&, const State&) = default;
        template <class Archive>
        void fields(Archive& archive) {
            archive(value, spa_page, placed);
        }
    };
    GpaSpace& space_;
    mmu::SystemMemory memory_;
    slat::PageRights rights_;
    State state_;
};

// Which code a hypercall page holds: the instruction of the processor that CPUID claims to be.
enum class HypercallInstruction : std::uint8_t { vmcall, vmmcall };

class SyntheticPartition final {
public:
    SyntheticPartition(const sim::Scope& scope, Partition& partition, mmu::SystemMemory memory, std::uint64_t tsc_hz,
                       std::uint64_t apic_hz, HypercallInstruction instruction);

    Partition& partition() { return partition_; }
    const Partition& partition() const { return partition_; }
    mmu::SystemMemory memory() const { return memory_; }
    const ReferenceTime& reference_time() const { return reference_time_; }
    std::uint64_t tsc_hz() const { return tsc_hz_; }
    std::uint64_t apic_hz() const { return apic_hz_; }

    std::uint64_t guest_os_id() const { return state_.guest_os_id; }
    void write_guest_os_id(std::uint64_t value);
    std::uint64_t hypercall() const { return state_.hypercall; }
    [[nodiscard]] bool write_hypercall(std::uint64_t value);
    bool hypercalls_enabled() const { return hypercall_page_.enabled(); }
    std::uint64_t reference_tsc() const { return tsc_page_.value(); }
    [[nodiscard]] bool write_reference_tsc(std::uint64_t value);

    std::array<std::uint64_t, 5>& crash_parameters() { return state_.crash; }
    std::uint64_t& crash_control() { return state_.crash_control; }
    std::uint64_t& reenlightenment() { return state_.reenlightenment; }
    std::uint64_t& tsc_emulation_control() { return state_.tsc_emulation_control; }
    bool& invariant_tsc() { return state_.invariant_tsc; }

    // What each hypercall asks (sim/working_set.h).
    void add_needs(sim::WorkingSet& set) const {
        set.add(scope_);
        set.add(memory_);
        set.add(hypercall_page_);
    }

    void abandon_pages();

    // To another machine (HvCallSavePartitionState).
    static constexpr std::uint64_t overlay_pages = 2;
    void save_elsewhere(sim::Writer& writer) const;
    [[nodiscard]] bool restore_elsewhere(sim::Reader& reader);

    template <class Archive>
    void fields(Archive& archive) {
        archive(state_, reference_time_, hypercall_page_, tsc_page_);
    }

private:
    void write_hypercall_code();

    struct State {
        std::uint64_t guest_os_id = 0;
        std::uint64_t hypercall = 0;
        std::array<std::uint64_t, 5> crash{};
        std::uint64_t crash_control = 0;
        std::uint64_t reenlightenment = 0;
        std::uint64_t tsc_emulation_control = 0;
        bool invariant_tsc = false;

        friend bool operator==(const State&, const State&) = default;
        template <class Archive>
        void fields(Archive& archive) {
            archive(guest_os_id, hypercall, crash, crash_control, reenlightenment, tsc_emulation_control,
                    invariant_tsc);
        }
    };

    sim::Scope scope_;
    Partition& partition_;
    mmu::SystemMemory memory_;
    ReferenceTime reference_time_;
    std::uint64_t tsc_hz_;
    std::uint64_t apic_hz_;
    HypercallInstruction instruction_;
    OverlayPage hypercall_page_;
    OverlayPage tsc_page_;
    State state_;
};

}  // namespace hypervisor
