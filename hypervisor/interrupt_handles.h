// Handles of device interrupts: entries of the host's interrupt remapping table, of which the machine has one. A
// message names its entry by the handle (the remappable format of VT-d 5.1.2.2), and the table lets only the device use
// an entry that it was made for. So a device that sends anything else reaches nobody, and it is recorded.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "hypervisor/page_ownership.h"

namespace hypervisor {

// Where one message goes. Of several processors the first takes it, unless it is for all.
struct InterruptTarget {
    std::uint32_t vector = 0;
    std::uint64_t processors = 0;
    bool multicast = false;

    friend bool operator==(const InterruptTarget&, const InterruptTarget&) = default;
    template <class Archive>
    void fields(Archive& archive) {
        archive(vector, processors, multicast);
    }
};

// Whose an entry is.
struct DeviceInterrupt {
    PartitionId partition = 0;
    std::uint64_t device = 0;  // the physical one, a device_id
    InterruptTarget target;

    friend bool operator==(const DeviceInterrupt&, const DeviceInterrupt&) = default;
    template <class Archive>
    void fields(Archive& archive) {
        archive(partition, device, target);
    }
};

// Who keeps the table up to date.
class InterruptTable {
public:
    // Null: nobody may use the handle any more.
    virtual void interrupt_changed(std::uint32_t handle, const DeviceInterrupt* entry) = 0;

protected:
    ~InterruptTable() = default;
};

class InterruptHandles final {
public:
    InterruptHandles(std::uint32_t count, InterruptTable& table) : count_(count), table_(table) {}

    std::uint32_t count() const { return count_; }
    std::size_t used() const { return entries_.size(); }
    const DeviceInterrupt* find(std::uint32_t handle) const {
        if (handle < by_number_.size()) return by_number_[handle];
        const auto found = entries_.find(handle);
        return found != entries_.end() ? &found->second : nullptr;
    }
    // The lowest one from which on so many are free. They are taken by set().
    std::optional<std::uint32_t> find_free(std::uint32_t count) const {
        std::uint32_t first = 0;
        for (const auto& [handle, entry] : entries_) {
            if (handle - first >= count) break;
            first = handle + 1;
        }
        return first <= count_ && count <= count_ - first ? std::optional{first} : std::nullopt;
    }
    void set(std::uint32_t handle, const DeviceInterrupt& entry) {
        entries_[handle] = entry;
        index(handle, &entries_[handle]);
        table_.interrupt_changed(handle, &entries_[handle]);
    }
    void release(std::uint32_t handle) {
        index(handle, nullptr);
        if (entries_.erase(handle) != 0) table_.interrupt_changed(handle, nullptr);
    }

    // The table is memory of the host's, and is saved with it.
    template <class Archive>
    void fields(Archive& archive) {
        archive(entries_);
        if constexpr (Archive::reading) {
            by_number_.clear();
            for (const auto& [handle, entry] : entries_) index(handle, &entry);
        }
    }

private:
    void index(std::uint32_t handle, const DeviceInterrupt* entry) {
        if (handle >= count_) return;
        by_number_.resize(count_);
        by_number_[handle] = entry;
    }

    std::uint32_t count_;
    InterruptTable& table_;
    std::map<std::uint32_t, DeviceInterrupt> entries_;
    std::vector<const DeviceInterrupt*> by_number_;  // the same, found without a search; empty: none has been set
};

}  // namespace hypervisor
