// The I/O memory management unit of a root complex, on the host's side of it: what a device asks is translated by the
// tables of its requester identity, an interrupt checked against the entry it names. What is not the requester's own is
// blocked and recorded, and nothing else happens. Modelled on VT-d; software speaks to it through methods that stand
// for its registers, and through its tables and its queue in memory.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "mmu/system_memory.h"
#include "pci/host_timing.h"
#include "pci/iommu_caches.h"
#include "pci/iommu_faults.h"
#include "pci/iommu_format.h"
#include "pci/ports.h"
#include "sim/flat_map.h"
#include "sim/scope.h"
#include "sim/working_set.h"

namespace pci {

class Iommu final : public HostPort, public HostTiming {
public:
    // `memory` holds the tables; `host` and `timing` are what lies behind, with system addresses.
    Iommu(const sim::Scope& scope, mmu::SystemMemory memory, HostPort& host, HostTiming& timing,
          const IommuConfig& config);
    Iommu(const Iommu&) = delete;

    // DMA remapping. Off: system addresses from every device. Changing either forgets all that is cached.
    void set_root_table(std::uint64_t spa);
    void enable_translation(bool on);
    // Interrupt remapping: 2^(size_log2 + 1) entries. `compatible`: interrupts in the old format still pass.
    void set_interrupt_table(std::uint64_t spa, unsigned size_log2);
    void enable_interrupt_remapping(bool on, bool compatible);

    // The queue of invalidations: 2^size_log2 descriptors. A new tail carries out what lies before it.
    void set_queue(std::uint64_t spa, unsigned size_log2);
    void set_queue_tail(std::uint32_t index);
    std::uint32_t queue_head() const { return state_.queue_head; }
    // A descriptor that could not be read or understood stops the queue until this is cleared (6.5.2.10).
    bool queue_error() const { return state_.queue_error; }
    void clear_queue_error() { state_.queue_error = false; }
    // The same without a queue.
    void invalidate_contexts(std::optional<std::uint16_t> domain = std::nullopt);
    void invalidate_context(RequesterId requester);
    void invalidate_translations(std::optional<std::uint16_t> domain = std::nullopt);
    void invalidate_pages(std::uint16_t domain, std::uint64_t address, std::uint64_t bytes);

    // Faults, the oldest first. The event is a message of the unit's own, sent when the first is recorded.
    IommuFaults& faults() { return faults_; }
    void set_fault_event(std::optional<InterruptMessage> message) {
        state_.fault_event = message.value_or(InterruptMessage{});
    }

    // The devices' side.
    [[nodiscard]] DmaStatus read_memory(RequesterId requester, std::uint64_t address,
                                        std::span<std::byte> out) override;
    [[nodiscard]] DmaStatus write_memory(RequesterId requester, std::uint64_t address,
                                         std::span<const std::byte> data) override;
    void interrupt(const InterruptMessage& message) override;
    void line(unsigned line, bool asserted) override { host_.line(line, asserted); }
    [[nodiscard]] sim::Time served(const HostAccess& access, sim::Time arrival) override;

    // What the translation of the requester's addresses needs: its table entries that were read last, from now on.
    void add_needs(RequesterId requester, sim::WorkingSet& set);

    template <class Archive>
    void fields(Archive& archive) {
        archive(state_, caches_, faults_);
    }

private:
    struct State {
        std::uint64_t root_table = 0;
        std::uint64_t interrupt_table = 0;
        std::uint64_t queue = 0;
        std::uint32_t queue_entries = 0;
        std::uint32_t queue_head = 0;
        std::uint32_t interrupt_entries = 0;
        InterruptMessage fault_event;
        bool translating = false;
        bool remapping = false;
        bool compatible = false;
        bool queue_error = false;
        bool operator==(const State&) const = default;
        template <class Archive>
        void fields(Archive& archive) {
            archive(root_table, interrupt_table, queue, queue_entries, queue_head, interrupt_entries);
            archive(fault_event.address, fault_event.data, fault_event.requester);
            archive(translating, remapping, compatible, queue_error);
        }
    };
    // Where one page's worth of an access lies.
    struct Place {
        std::uint64_t spa = 0;
        FaultReason fault = FaultReason::none;
        bool silent = false;  // fault recording is off for this function
        unsigned references = 0;
        sim::Time ready;
    };
    struct InterruptEntry {
        std::uint64_t low = 0;
        std::uint64_t high = 0;
    };

    // Lines of the simulating computer's memory that look-ups for a requester needed, the oldest replaced first. Itself
    // it is one.
    struct alignas(64) Walked {
        std::array<const void*, 7> lines{};
        unsigned next = 0;
        void note(const void* entry);
    };

    // Whether a look-up is the hardware's own, which fills caches, or only asks what they and the tables say.
    enum class Look : std::uint8_t { timed, only };
    IommuContext context_of(RequesterId requester, Look look, unsigned& references, FaultReason& fault);
    Place translate(RequesterId requester, std::uint64_t address, bool write, Look look, sim::Time now);
    [[gnu::noinline]] Place look_up(RequesterId requester, std::uint64_t address, bool write, Look look, sim::Time now);
    template <class Byte, class Access>
    DmaStatus access(RequesterId requester, std::uint64_t address, std::span<Byte> bytes, bool write, Access&& piece);
    [[gnu::noinline]] DmaStatus write_pages(RequesterId requester, std::uint64_t address,
                                            std::span<const std::byte> data);
    [[gnu::noinline]] sim::Time memory_served(const HostAccess& access, sim::Time arrival);
    [[gnu::noinline]] sim::Time pages_served(const HostAccess& access, sim::Time arrival);
    void expect(std::uint64_t spa, std::uint64_t bytes) const;
    Walked* walked_of(RequesterId requester) {
        const auto noted = walked_.find(requester);
        return noted != walked_.end() ? noted->second.get() : nullptr;
    }
    void blocked(RequesterId requester, std::uint64_t address, bool write, FaultReason reason);

    FaultReason entry_of(const InterruptMessage& message, std::uint32_t& index, InterruptEntry& entry) const;
    static bool usual(InterruptEntry entry, RequesterId requester);
    static FaultReason checked(InterruptEntry entry, RequesterId requester);
    static bool source_allowed(InterruptEntry entry, RequesterId requester);
    void deliver(InterruptEntry entry, RequesterId requester);
    FaultReason post(InterruptEntry entry);
    [[gnu::noinline]] void interrupt_by(RequesterId requester, std::uint32_t index, InterruptEntry entry);
    [[gnu::noinline]] void blocked_interrupt(RequesterId requester, std::uint32_t index, InterruptEntry entry,
                                             FaultReason fault);
    void send(std::uint32_t destination, std::uint8_t vector, std::uint64_t low_bits, std::uint32_t data,
              RequesterId requester);

    bool carry_out(std::uint64_t low, std::uint64_t high);

    sim::Scope scope_;
    mmu::SystemMemory memory_;
    HostPort& host_;
    HostTiming& timing_;
    IommuConfig config_;
    sim::Counter& blocked_;
    sim::Counter& hits_;
    sim::Counter& walks_;
    sim::Counter& references_;
    sim::Counter& remapped_;
    sim::Counter& posted_;
    IommuCaches caches_;
    sim::FlatMap<RequesterId, std::unique_ptr<Walked>> walked_;  // of those that somebody needs ahead
    IommuFaults faults_;
    State state_;
};

}  // namespace pci
