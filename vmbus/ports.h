// What a bus needs of the partition at its other end. The hypervisor stands behind these; nothing here knows it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "sim/working_set.h"

namespace vmbus {

// The guest's memory by guest physical address.
class GuestMemory {
public:
    virtual ~GuestMemory() = default;
    // All or nothing: false if any byte is not RAM of the guest's, and then nothing was moved.
    [[nodiscard]] virtual bool read(std::uint64_t gpa, std::span<std::byte> out) = 0;
    [[nodiscard]] virtual bool write(std::uint64_t gpa, std::span<const std::byte> data) = 0;
    // Whether that byte is.
    [[nodiscard]] virtual bool is_memory(std::uint64_t gpa) {
        std::byte there{};
        return read(gpa, std::span{&there, 1});
    }
    // All of that will be used, and again and again: the simulating computer may provide large pages for it.
    virtual void will_fill(std::uint64_t /*gpa*/, std::uint64_t /*bytes*/) {}
    // The same of pages of 4 KiB by their numbers, as far as they follow one another.
    void will_fill_pages(std::span<const std::uint64_t> pages) {
        constexpr std::uint64_t bytes = 4096;
        for (std::size_t first = 0, end = 0; first < pages.size(); first = end) {
            for (end = first + 1; end < pages.size() && pages[end] == pages[end - 1] + 1;) ++end;
            will_fill(pages[first] * bytes, (end - first) * bytes);
        }
    }
    // What whoever reads and writes it needs besides its bytes (sim/working_set.h).
    virtual void add_needs(sim::WorkingSet& /*set*/) const {}
    // That byte's line will be read or written soon (sim/prefetch.h).
    virtual void expect(std::uint64_t /*gpa*/) const {}
};

// The way to the guest: its synthetic interrupt controllers.
class GuestPort {
public:
    virtual ~GuestPort() = default;
    // A message of at most 240 bytes to a virtual processor's SINT for messages. False: its queue is full, try later.
    [[nodiscard]] virtual bool post_message(std::uint32_t vp, std::span<const std::byte> payload) = 0;
    // An event flag (a channel's number) of a virtual processor.
    virtual void signal_event(std::uint32_t vp, std::uint16_t flag) = 0;
    // From now on the guest may signal this connection, which arrives as Bus::guest_signal(connection); and no more.
    virtual void open_connection(std::uint32_t connection) = 0;
    virtual void close_connection(std::uint32_t connection) = 0;
    virtual std::uint32_t processor_count() const = 0;
    // What a signal takes, either way (sim/working_set.h).
    virtual void add_needs(sim::WorkingSet& /*set*/) const {}
};

// The way from a guest's driver to the host: hypercalls. For behavioural guests.
class HostPort {
public:
    virtual ~HostPort() = default;
    // HvPostMessage; the hypervisor's status, 0 for success.
    [[nodiscard]] virtual std::uint16_t post_message(std::uint32_t connection, std::span<const std::byte> payload) = 0;
    // HvSignalEvent.
    [[nodiscard]] virtual std::uint16_t signal_event(std::uint32_t connection, std::uint16_t flag) = 0;
};

}  // namespace vmbus
