// One end of a live migration: a partition as the root's stack of its host moves it. The source says what was written
// to, stands still when asked, and gives its state; the destination, made alike and empty, takes pages and state, goes
// on with the guest.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "models/behavioural/behavioural_guest.h"
#include "models/host.h"
#include "models/host_memory.h"
#include "sim/processor.h"

namespace models {

// Pages of a guest that the root has written to: the second level knows nothing of that.
class PageLog final {
public:
    void wrote(std::uint64_t gpa, std::uint64_t length) {
        if (length == 0) return;
        for (std::uint64_t page = gpa / page_bytes; page <= (gpa + length - 1) / page_bytes; ++page)
            pages_.insert(page);
    }
    std::set<std::uint64_t> take() { return std::exchange(pages_, {}); }

private:
    std::set<std::uint64_t> pages_;
};

// What goes along with the memory.
struct MovedState {
    std::vector<std::byte> hypervisor;           // HvCallSavePartitionState
    std::vector<std::byte> devices;              // of the root's stack
    std::vector<std::uint32_t> connections;      // that the guest may signal
    std::unique_ptr<BehaviouralGuest> software;  // what its memory would hold of a guest that executes instructions

    std::size_t bytes() const { return hypervisor.size() + devices.size() + 4 * connections.size(); }
};

class MovablePartition {
public:
    virtual const PartitionConfig& config() const = 0;
    // What work for the migration is done on.
    virtual sim::Processor& worker() = 0;

    // Why it cannot be moved now, or no more; empty: it can.
    virtual std::string obstacle() = 0;
    // From now on what is written to is known; nothing was, at first. False: there is no memory for it.
    [[nodiscard]] virtual bool track() = 0;
    virtual void end_tracking() = 0;
    // All of the guest's RAM, by page number, in order.
    virtual std::vector<std::uint64_t> all_pages() const = 0;
    // Those that were written to since, by the guest or by the root.
    virtual std::vector<std::uint64_t> take_dirty() = 0;
    virtual void read_page(std::uint64_t page, std::span<std::byte> out) = 0;

    // Processors and services end what they have begun, and stand.
    virtual void hold() = 0;
    virtual bool at_rest() = 0;
    // If the guest has not ended meanwhile.
    virtual void go_on() = 0;
    // How much state there is; where it stands.
    virtual std::size_t state_bytes() = 0;
    // The guest leaves: nothing of the partition is left here.
    virtual MovedState leave() = 0;

    virtual void write_page(std::uint64_t page, std::span<const std::byte> in) = 0;
    // The adapters that the guest had, on this host's switches of the same names; sim::UserError if one is not there.
    virtual void check_networks(MovablePartition& source) = 0;
    virtual void arrive(MovablePartition& source) = 0;
    // It never arrived.
    virtual void give_up() = 0;

protected:
    ~MovablePartition() = default;
};

}  // namespace models
