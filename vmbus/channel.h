// The host's end of a channel as a device sees it, and what a device is to its channels.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "vmbus/guid.h"
#include "vmbus/packet.h"
#include "vmbus/ports.h"

namespace vmbus {

// What is offered (OFFERCHANNEL).
struct Offer {
    static constexpr std::uint16_t enumerate_device_interface = 0x1;
    static constexpr std::uint16_t named_pipe_mode = 0x10;
    static constexpr std::uint16_t loopback = 0x100;
    static constexpr std::uint16_t parent = 0x200;
    static constexpr std::uint16_t socket_provider = 0x2000;

    Guid type;
    Guid instance;
    std::uint16_t flags = enumerate_device_interface;
    std::uint16_t mmio_megabytes = 0;
    std::uint16_t sub_channel_index = 0;
    // The guest signals through a monitor page, which the host looks at after at most this long; 0: by hypercall.
    std::uint16_t monitor_latency_100ns = 0;
    std::array<std::byte, 120> user_defined{};

    bool operator==(const Offer&) const = default;
    template <class Archive>
    void fields(Archive& archive) {
        archive(type, instance, flags, mmio_megabytes, user_defined, sub_channel_index, monitor_latency_100ns);
    }
};

class Channel;

// A device, for each of its channels. All calls come at the time at which they happen; work that costs processor time
// belongs into a sim::Task, woken from here.
class ChannelDevice {
public:
    virtual ~ChannelDevice() = default;
    // The guest opens it. 0: it is open from now on; else the status that the guest is told (NTSTATUS).
    virtual std::uint32_t open(Channel& channel, std::span<const std::byte, 120> user_data) = 0;
    // It is open no more: closed by the guest, rescinded, the bus reset, or closed for a fault. Its rings and GPADLs
    // are gone; what was outstanding is dropped.
    virtual void closed(Channel& channel) = 0;
    // There may be packets, or room for them again.
    virtual void signalled(Channel& channel) = 0;
    // No guest can reach it any more; the offer was withdrawn (rescind) or has been released by the guest. After this
    // the device may not touch the channel again.
    virtual void released(Channel& channel) { (void)channel; }
    // What is needed of it and of this channel when the guest is at work with it (sim/working_set.h). Asked whenever a
    // channel or a GPADL comes or goes, and after Bus::needs_changed(). Whoever says nothing is not fetched.
    virtual void add_needs(const Channel& channel, sim::WorkingSet& set) const { (void)channel, (void)set; }
    // Restoring a checkpoint made this primary channel anew, or kept it; of several the last one is the latest offer.
    virtual void adopted(Channel& channel) { (void)channel; }
    // Restoring a checkpoint made this sub-channel anew. The device that answers for it; it is called before the
    // device's own state is restored if the bus was built first.
    virtual ChannelDevice& adopt_sub_channel(Channel& primary, Channel& sub_channel) {
        (void)primary, (void)sub_channel;
        return *this;
    }
};

class Channel {
public:
    virtual ~Channel() = default;

    virtual const Offer& offer() const = 0;
    virtual std::uint16_t relid() const = 0;
    virtual bool is_open() const = 0;
    virtual std::uint32_t target_vp() const = 0;
    // The memory of the guest at the other end.
    virtual GuestMemory& memory() = 0;

    // Takes the next packet. False: there is none now (signalled() tells of the next), or the channel is not open.
    // A packet whose form is wrong is a fault of the guest's: false, and then as with fault(). A device that stops
    // before it is told false must come back by itself: until then the guest does not signal.
    [[nodiscard]] virtual bool receive(Packet& packet) = 0;

    // Puts a packet on the ring; `wants_completion` as the protocol says. False: there is no room; signalled() tells
    // when there is. Nothing is visible to the guest before flush().
    [[nodiscard]] virtual bool send(std::uint64_t transaction, std::span<const std::byte> payload,
                                    bool wants_completion) = 0;
    [[nodiscard]] virtual bool send_transfer_pages(std::uint64_t transaction, std::uint16_t page_set,
                                                   std::span<const TransferRange> ranges,
                                                   std::span<const std::byte> payload) = 0;
    [[nodiscard]] virtual bool complete(std::uint64_t transaction, std::span<const std::byte> payload) = 0;

    // The end of a batch: what was sent and taken becomes visible, and the guest is signalled where the rules say so.
    virtual void flush() = 0;

    // A GPADL of this channel's other than its ring's: a buffer. Zero size: no such GPADL.
    virtual std::uint64_t gpadl_size(std::uint32_t gpadl) const = 0;
    [[nodiscard]] virtual bool gpadl_read(std::uint32_t gpadl, std::uint64_t at, std::span<std::byte> out) = 0;
    [[nodiscard]] virtual bool gpadl_write(std::uint32_t gpadl, std::uint64_t at, std::span<const std::byte> data) = 0;

    // What the calls above need.
    virtual void add_needs(sim::WorkingSet& /*set*/) const {}

    // The guest broke this device's protocol: the reason is traced and counted, is_open() is false from now on, and
    // the channel is closed and rescinded (closed() comes, at this time, but not from within this call). A primary
    // channel's offer stays: the guest sees it again once it resets the bus.
    virtual void fault(std::string_view reason) = 0;
};

// Reads or writes the memory that a GPA-direct packet names, as one run of bytes. False if it is not all RAM, or not so
// long.
[[nodiscard]] bool read_range(GuestMemory& memory, const GpaRange& range, std::uint64_t at, std::span<std::byte> out);
[[nodiscard]] bool write_range(GuestMemory& memory, const GpaRange& range, std::uint64_t at,
                               std::span<const std::byte> data);

}  // namespace vmbus
