// What a partition has of devices: which are attached to it and how its software names them, where their interrupts go,
// and which guest pages are their registers.
//
// An interrupt message that the hypervisor has handed out names an entry of the host's table (interrupt_handles.h), not
// a processor: the handle is in the address, and for one of several messages its number in the data.
#pragma once

#include <compare>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include "hypervisor/interrupt_handles.h"
#include "hypervisor/tlfs_devices.h"
#include "hypervisor/tlfs_root_hypercalls.h"
#include "sim/flat_map.h"
#include "sim/time.h"
#include "sim/working_set.h"
#include "slat/second_level.h"

namespace hypervisor {

struct DeviceMessage {
    std::uint32_t address = 0;
    std::uint32_t data = 0;

    friend auto operator<=>(const DeviceMessage&, const DeviceMessage&) = default;
    template <class Archive>
    void fields(Archive& archive) {
        archive(address, data);
    }
};

class AssignedDevices final {
public:
    static constexpr std::size_t most_messages = 512;  // of all devices of the partition: handles are few
    static constexpr std::uint32_t most_at_once = 32;  // messages of one MSI capability

    AssignedDevices(PartitionId partition, InterruptHandles& handles) : partition_(partition), handles_(handles) {}
    AssignedDevices(const AssignedDevices&) = delete;

    // Each with the status of its hypercall.
    HvStatus attach(std::uint64_t logical, std::uint64_t physical);
    HvStatus detach(std::uint64_t logical);
    // All of them, and all pages.
    void clear();
    bool attached(std::uint64_t logical) const { return state_.devices.contains(logical); }
    std::optional<std::uint64_t> physical(std::uint64_t logical) const;
    template <class Function>
    void for_each_physical(Function function) const {
        for (const auto& [logical, physical] : state_.devices) function(physical);
    }

    // `count` messages, with vectors and data that follow one another; the first is given.
    HvStatus map_interrupt(std::uint64_t logical, const InterruptTarget& target, std::uint32_t count,
                           DeviceMessage& message);
    // All that were mapped together.
    HvStatus unmap_interrupt(std::uint64_t logical, const DeviceMessage& message);
    HvStatus retarget(std::uint64_t logical, const DeviceMessage& message, const InterruptTarget& target);
    // Null: the message is nobody's.
    const InterruptTarget* find(std::uint64_t logical, const DeviceMessage& message) const;
    std::size_t message_count() const { return state_.messages.size(); }

    void map_page(std::uint64_t gpa_page, std::uint64_t spa_page) { state_.pages[gpa_page] = spa_page; }
    void unmap_pages(std::uint64_t gpa_page, std::uint64_t count);
    // The host's address of a device's register.
    std::optional<std::uint64_t> translate(std::uint64_t gpa) const;
    bool has_pages() const { return !state_.pages.empty(); }
    void add_needs(sim::WorkingSet& set) const { set.add_content(state_.pages, sim::WorkingSet::line_bytes); }

    template <class Archive>
    void fields(Archive& archive) {
        archive(state_);
    }

private:
    using MessageKey = std::pair<std::uint64_t, DeviceMessage>;  // of a logical device
    struct State {
        sim::FlatMap<std::uint64_t, std::uint64_t> pages;  // guest -> host
        std::map<std::uint64_t, std::uint64_t> devices;    // logical -> physical
        std::set<MessageKey> messages;

        friend bool operator==(const State&, const State&) = default;
        template <class Archive>
        void fields(Archive& archive) {
            archive(devices, messages, pages);
        }
    };
    template <class Which>
    void release_messages(Which which);

    PartitionId partition_;
    InterruptHandles& handles_;
    State state_;
};

// The handle that a message names.
constexpr std::uint32_t handle_of(const DeviceMessage& message) {
    return ((message.address >> 5 & 0x7fff) | (message.address >> 2 & 1) << 15) + message.data;
}

// What processors reach of the host's devices, at host addresses from first_device_spa on.
class DevicePort {
public:
    // `size` is 1, 2, 4 or 8; `cost` is how long the processor waits.
    virtual std::uint64_t read(std::uint64_t spa, unsigned size, sim::Time& cost) = 0;
    virtual void write(std::uint64_t spa, unsigned size, std::uint64_t value, sim::Time& cost) = 0;

protected:
    ~DevicePort() = default;
};

// What an entry of the interrupt table says: a logical processor and the vector that it gets; or, posted, the address
// of the descriptor and the vector that the virtual processor gets.
struct RemappedInterrupt {
    std::uint64_t device = 0;  // that alone may use it: a device_id
    std::uint32_t processor = 0;
    std::uint8_t vector = 0;
    std::optional<std::uint64_t> descriptor;

    friend bool operator==(const RemappedInterrupt&, const RemappedInterrupt&) = default;
};

// The host's IOMMU, as the hypervisor programs it: a partition is a domain, and its second level translates for the
// devices that are attached to it as for its processors.
class DeviceRemapping {
public:
    // `device` is a device_id. False: the unit can't use these tables.
    virtual bool join_domain(std::uint64_t device, std::uint64_t partition, const slat::SecondLevel& tables) = 0;
    virtual void leave_domain(std::uint64_t device) = 0;
    virtual void domain_changed(std::uint64_t partition, std::uint64_t gpa, std::uint64_t length) = 0;
    // What a partition that has the device needs of it when it is at work (sim/working_set.h).
    virtual void add_needs(std::uint64_t /*device*/, sim::WorkingSet& /*set*/) {}
    virtual void set_interrupt(std::uint32_t handle, const RemappedInterrupt& entry) = 0;
    virtual void clear_interrupt(std::uint32_t handle) = 0;

protected:
    ~DeviceRemapping() = default;
};

}  // namespace hypervisor
