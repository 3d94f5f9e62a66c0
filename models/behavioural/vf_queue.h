// One queue pair of a virtual function in its guest's memory: rings, buffers, offloads by context descriptors, what
// waits to be sent. It knows nothing of time or interrupts; vf_vector.h calls it.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "models/behavioural/guest_platform.h"
#include "models/behavioural/vf_moderation.h"
#include "sim/queue.h"
#include "sim/working_set.h"
#include "sriov_nic/descriptors.h"
#include "vmbus/network/network_port.h"

namespace models {

struct VfQueueLayout {
    std::uint32_t transmit_descriptors = 1024;
    std::uint32_t receive_descriptors = 512;
    std::uint32_t backlog = 1024;     // frames that wait for room in the ring
    bool context_each = true;         // a context descriptor for each frame, as the kernel's driver; else where needed
    std::uint32_t refill_batch = 16;  // buffers given back at once

    // Its rings and buffers; what is sent takes more as it needs it.
    std::uint64_t pages() const;
};

class VfQueue final {
public:
    static constexpr std::uint32_t receive_buffer_bytes = 2048, transmit_piece_bytes = 4096;

    VfQueue(const sim::Scope& scope, GuestPlatform& platform, const VfQueueLayout& layout);
    VfQueue(const VfQueue&) = delete;

    // Memory for rings and buffers, and all receive descriptors posted. False: there is not so much.
    [[nodiscard]] bool open();
    // Everything is forgotten, but what waits if it is to be kept.
    void close();
    bool is_open() const { return state_.receive_ring != 0; }
    std::uint64_t transmit_ring() const { return state_.transmit_ring; }
    std::uint64_t receive_ring() const { return state_.receive_ring; }

    // False: too many wait.
    [[nodiscard]] bool push(vmbus::OutgoingFrame&& frame);
    bool full() const { return state_.backlog.size() >= layout_.backlog; }
    bool can_send() const { return !state_.stopped && !state_.backlog.empty(); }

    // Takes what goes at once from those that wait; none: the ring is full. Then puts them into the ring.
    struct Sending {
        std::uint32_t frames = 0;
        std::uint32_t descriptors = 0;
    };
    Sending begin_send(std::uint32_t most);
    // Of the piece that has begun then. True: the tail is to be written.
    bool finish_send(sim::Time begun);
    std::uint32_t transmit_tail() const { return state_.next; }
    // Frames that the device reports as sent, so many descriptors' worth at most. `all`: it stopped before the limit.
    struct Cleaned {
        ModeratedTraffic traffic;
        bool all = true;
    };
    Cleaned clean(std::uint32_t most_frames);

    // Takes frames that have come. Then their buffers go back.
    ModeratedTraffic begin_receive(std::uint32_t budget);
    std::span<vmbus::IncomingFrame> received() { return state_.received; }
    bool finish_receive();  // true: the tail is to be written
    std::uint32_t receive_tail() const { return (state_.take - 1) & (layout_.receive_descriptors - 1); }

    std::uint32_t in_transmit_ring() const { return (state_.next - state_.clean) & (layout_.transmit_descriptors - 1); }

    // The next places of both rings with their buffers; before, where the buffers are.
    void fetch_places() const;
    void fetch_ahead() const;
    // Beside what lies within this object.
    void add_needs(sim::WorkingSet& set) const {
        set.add_elements(state_.backlog);
        set.add_elements(state_.sending);
        set.add_elements(state_.received);
        set.add_elements(state_.ring_pages);
        set.add(&frames_sent_, 5 * sizeof(sim::Counter));
    }

    template <class Archive>
    void fields(Archive& archive) {
        archive(state_);
    }

private:
    struct Sent {
        std::uint64_t page = 0;  // 0: none
        // Of a frame's first descriptor:
        std::uint32_t last = 0;
        std::uint32_t bytes = 0;

        template <class Archive>
        void fields(Archive& archive) {
            archive(page, last, bytes);
        }
    };
    struct State {
        std::uint64_t transmit_ring = 0, receive_ring = 0;
        std::vector<std::uint64_t> ring_pages, buffer_pages;
        std::vector<std::uint64_t> free_pages;  // for frames to be sent; the last is used first
        std::vector<std::uint64_t> all_pages;
        std::uint32_t next = 0, clean = 0;     // of the transmit ring
        std::vector<Sent> sent;                // by transmit descriptor
        std::uint32_t take = 0, unposted = 0;  // of the receive ring
        std::vector<std::byte> partial;        // a frame of several buffers, as far as it has come
        sim::Queue<vmbus::OutgoingFrame> backlog;
        bool stopped = false;  // until there is room in the ring
        std::vector<vmbus::OutgoingFrame> sending;
        std::vector<vmbus::IncomingFrame> received;

        template <class Archive>
        void fields(Archive& archive) {
            archive(transmit_ring, receive_ring, ring_pages, buffer_pages, free_pages, all_pages, next, clean, sent,
                    take, unposted, partial, backlog, stopped, sending, received);
        }
    };

    std::optional<std::uint64_t> contiguous(std::uint64_t bytes);
    std::uint32_t descriptors_for(const vmbus::OutgoingFrame& frame) const;
    std::uint32_t room() const { return layout_.transmit_descriptors - 1 - in_transmit_ring(); }
    void put_frame(vmbus::OutgoingFrame& frame);
    void put(const sriov_nic::Descriptor& descriptor, std::uint64_t page);
    std::uint64_t take_page();
    void post(std::uint32_t index);
    std::uint64_t receive_buffer(std::uint32_t index) const;
    void deliver(const sriov_nic::Descriptor& descriptor, std::vector<std::byte>&& bytes);

    GuestPlatform& platform_;
    vmbus::GuestMemory& memory_;
    VfQueueLayout layout_;
    State state_;
    sim::Counter& frames_sent_;
    sim::Counter& bytes_sent_;
    sim::Counter& frames_received_;
    sim::Counter& bytes_received_;
    sim::Counter& bad_;
};

}  // namespace models
