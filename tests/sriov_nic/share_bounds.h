// How long an honest function's frame may have to wait for others': what the arbitration promises before anything has
// happened, and what follows from all that did happen.
#pragma once

#include <algorithm>
#include <cstdint>

#include "tests/sriov_nic/guarded_machine.h"

namespace nic_test {

using sim::Time;

// What a turn of another pool may cost at most. Pools take turns frame by frame; by bytes where shares have weights. A
// frame has 40 descriptors and 15 868 bytes at most, so it needs so many read requests, each with a walk of the IOMMU's
// tables, and so much time on the wire; its descriptors are written back with a walk each, or two with the head's
// place; a frame for pools inside is copied to each of them.
struct Share {
    Share(const GuardedMachine& machine, bool weighted)
        : others(machine.settings.vfs - 1), pools(machine.settings.vfs + 1) {
        const Profile& profile = machine.settings.profile;
        constexpr std::int64_t largest = 15868, descriptors = 40, request = 512;
        const auto frame = [&](std::int64_t bytes) {
            return over_link(bytes, 2 * descriptors + bytes / request) + over_link(20 * descriptors, 2 * descriptors) +
                   profile.wire_time(static_cast<std::size_t>(bytes)) + copies(bytes, 1);
        };
        const std::int64_t turn_bytes = 64 * 32;
        turn = weighted ? std::max(frame(largest), frame(60) * (turn_bytes / 60 + 1)) : frame(largest);
        // What may be on its way already: all slots' reads, descriptors of all queues, writes in the link's buffer.
        const auto slots = static_cast<std::int64_t>(profile.data_reads_in_flight);
        ahead = over_link(slots * 4096 + pools * 2 * 640, slots * 8 + pools * 4) + over_link(64 * 1024, 256);
        gap = turn * others + ahead;
        // A frame by itself: its descriptor, its turn, its data; before it a transmit buffer full of short frames.
        delay = gap + ahead + profile.wire_time(60) * (profile.transmit_buffer_bytes / 64) + profile.transmit_path;
    }
    // A frame in the receive buffer waits for those before it: a fetch of a descriptor and copies for each.
    Time received(std::uint64_t frames, std::uint64_t octets) const {
        const auto n = static_cast<std::int64_t>(frames) + 1;
        return ahead * n + copies(static_cast<std::int64_t>(octets), n);
    }
    // To every pool; in sixteen buffers at most, each on two pages.
    Time copies(std::int64_t bytes, std::int64_t frames) const {
        return over_link(bytes, bytes / 256 + 32 * frames) * pools;
    }
    // Each packet needs a walk of context and four levels; 28 bytes are a packet's own.
    static Time over_link(std::int64_t bytes, std::int64_t packets) {
        const pci::IommuConfig iommu;
        const std::int64_t walk =
            (iommu.walk_overhead + iommu.reference * 6).ps() / static_cast<std::int64_t>(iommu.walkers);
        static const pci::LinkRate rate = GuardedMachine::link_config().rate;
        const auto byte = static_cast<std::int64_t>(pci::usable_rate(rate).byte_time());
        return Time::ps((bytes + packets * 28) * byte / 65536 + packets * walk);
    }
    std::int64_t others, pools;
    Time turn, ahead, gap, delay;
};

// Nobody idles while a frame waits for him. From one frame of a full ring to the next no more time passes than link,
// IOMMU, wire and loopback need, one after the other, for what they still had to do at the first and what came to them
// until the second; and the time in which they may all wait for an answer: once for as many reads as may be out at
// once, for the frame's own descriptor and data, and, where the receive buffer may have been full, for each frame that
// left it (its descriptor). How much may come meanwhile, the turns say. What goes on side by side is not asked.
struct Work {
    explicit Work(GuardedMachine& m) : machine(m) {}
    struct Point {
        Time at, done, left;
        std::int64_t answers = 0, received = 0;
        std::uint32_t buffered = 0;
    };
    Point now() const {
        const auto byte = static_cast<std::int64_t>(over_link.byte_time());
        const Profile& profile = machine.settings.profile;
        const Statistics& s = machine.controller().statistics();
        const auto bytes = static_cast<std::int64_t>(machine.link.up().bytes() + machine.link.down().bytes());
        Point point;
        point.at = machine.now();
        point.buffered = machine.controller().receive_buffered();
        std::int64_t octets = 0;
        for (unsigned pool = 0; pool <= machine.settings.vfs; ++pool) {
            octets += static_cast<std::int64_t>(s.functions[pool].sent_octets);
            for (unsigned q = 2 * pool; q < 2 * pool + 2; ++q) {
                point.received += static_cast<std::int64_t>(s.queue_received[q] + s.queue_dropped[q]);
            }
        }
        point.done = Time::ps(bytes * byte / 65536 + octets * profile.loopback_byte_ps +
                              static_cast<std::int64_t>(machine.wire.other_octets) * profile.wire_byte_ps) +
                     Time::ps((iommu.walk_overhead * count(walks) + iommu.reference * count(references)).ps() /
                              static_cast<std::int64_t>(iommu.walkers));
        for (const Time busy : {machine.link.up().free_at(), machine.link.down().free_at(),
                                machine.link.last_write_done(), machine.wire.free_at}) {
            point.left += std::max(busy, machine.now()) - machine.now();
        }
        point.answers = count(reads) / static_cast<std::int64_t>(profile.data_reads_in_flight);
        return point;
    }
    Time between(const Point& before, const Point& after, std::size_t own_bytes) const {
        const Profile& profile = machine.settings.profile;
        const Time answer = GuardedMachine::link_config().flight * 2 + Time::ns(GuardedMachine::host_latency_ns) +
                            iommu.walk_overhead + iommu.reference * 6;
        // From a quarter to full and back takes 79 us at the loopback's rate and 98 at the link's.
        const std::uint32_t quarter = profile.receive_buffer_bytes / 4;
        const bool full = std::max(before.buffered, after.buffered) > quarter || after.at - before.at > Time::us(175);
        const std::int64_t answers = after.answers - before.answers + 3 + (full ? after.received - before.received : 0);
        return before.left + (after.done - before.done) + answer * answers + profile.transmit_path +
               profile.commit_ahead + profile.wire_time(own_bytes);
    }

private:
    static std::int64_t count(const sim::Counter& counter) { return static_cast<std::int64_t>(counter.value()); }
    sim::Counter& counter(const char* name) const { return machine.simulation.statistics().counter(name, "", ""); }
    GuardedMachine& machine;
    pci::IommuConfig iommu;
    pci::ByteRate over_link = pci::usable_rate(GuardedMachine::link_config().rate);
    sim::Counter& walks = counter("iommu.walks");
    sim::Counter& references = counter("iommu.references");
    sim::Counter& reads = counter("link.reads");
};

}  // namespace nic_test
