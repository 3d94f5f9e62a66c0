// The receive side (82599 datasheet, 7.1): frames from the wire and from the switch lie in the packet buffer until
// their pools' queues have descriptors; then data and descriptor are written to memory. The buffer's fill makes pause
// frames.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
#include <span>

#include "sriov_nic/core.h"
#include "sriov_nic/descriptors.h"
#include "sriov_nic/packet_memory.h"
#include "sriov_nic/transmit.h"

namespace sriov_nic {

// What the receive side asks of the MAC's sending half.
class PauseSender {
public:
    virtual void send_pause(std::uint16_t quanta) = 0;
    // There is room in the packet buffer again.
    virtual void receive_room() = 0;

protected:
    ~PauseSender() = default;
};

class Receive final : public LoopbackTarget {
public:
    Receive(Core& core, PauseSender& mac);
    Receive(const Receive&) = delete;

    std::uint32_t read(unsigned queue, RxRegister which) const;
    void write(unsigned queue, RxRegister which, std::uint32_t value);
    // QDE: the physical function's own drop enable.
    void set_drop_enable(unsigned queue, bool on) { queues_[queue].forced_drop = on; }
    bool drop_enable(unsigned queue) const { return queues_[queue].forced_drop; }
    void buffer_size_changed();
    void key_changed() { hash_valid_ = false; }

    // A whole good frame, without FCS, whose last bit came now; it passed the MAC.
    void accept(std::span<const std::byte> frame, const FrameInfo& info, const Verdict& verdict);
    bool loop_back(std::span<const std::byte> frame, const FrameInfo& info, Pools pools, bool inexact, unsigned source,
                   sim::Time at) override;

    void descriptors_read(unsigned queue, std::uint32_t epoch, bool ok, std::span<const std::byte> data);
    // No operation of the function is answered any more.
    void forget(unsigned function);
    void pump();

    std::uint32_t buffered_bytes() const { return memory_.used(); }
    bool paused_partner() const { return paused_; }
    void reset();

    void add_needs(unsigned queue, sim::WorkingSet& set) const {
        set.add(&queues_[queue], sim::WorkingSet::line_bytes);
        set.add_content(next_[queue], descriptor_bytes);
    }

    template <class Archive>
    void fields(Archive& a) {
        a(queues_, fetch_, memory_, frames_, paused_, refused_, timer_, flows_, open_flows_, flow_timer_);
        if constexpr (Archive::reading) hash_valid_ = false;
    }

private:
    static constexpr unsigned cache_size = 32;
    // What each frame needs beside its descriptor lies in one of the simulating computer's cache lines.
    struct alignas(64) Queue {
        std::uint64_t base = 0;
        std::uint64_t fetched = 0, used = 0;  // counted from when the queue was enabled
        std::uint32_t length = 0, head = 0, tail = 0, split = 0, control = 0, coalescing = 0;
        std::uint32_t first = 0;
        std::uint32_t fetching = 0;
        std::uint32_t epoch = 0;
        bool forced_drop = false;
        bool stopped = false;
        alignas(64) std::array<Descriptor, cache_size> cache{};
        std::uint32_t dca = 0;
        template <class Archive>
        void fields(Archive& a) {
            a(base, length, head, tail, split, control, coalescing, dca, fetched, used, first, fetching, epoch,
              forced_drop, stopped, cache);
        }
    };
    struct Frame {
        std::uint32_t place = 0, length = 0;
        Pools pools = 0;         // that are still to get it
        std::uint32_t step = 0;  // writes done for the pool at hand
        std::uint8_t queue = 0;  // of the pool at hand
        bool placed = false;     // the queue is chosen
        bool waited = false;     // RNBC has counted it
        bool looped = false, inexact = false;
        FrameInfo info;
        sim::Time arrived, ready;
        sim::Time taken, handed, in_memory;  // for the pool at hand: its turn, its first write, the end of its data
        template <class Archive>
        void fields(Archive& a) {
            a(place, length, pools, step, queue, placed, waited, looped, inexact, info, arrived, ready, taken, handed,
              in_memory);
        }
    };
    // Segments of one TCP connection that are being merged (7.11).
    struct Flow {
        static constexpr unsigned most_descriptors = 16, most_header = 128;
        bool active = false, closing = false;
        std::uint8_t queue = 0;
        std::uint32_t epoch = 0;
        std::array<std::byte, 36> key{};  // addresses and ports
        std::array<std::byte, most_header> header{};
        std::uint32_t header_bytes = 0, l3 = 0, l4 = 0, types = 0;
        std::uint32_t next = 0;  // sequence number
        std::uint32_t segments = 0, bytes = 0;
        std::uint32_t buffer = 0;  // bytes of each buffer, as they were at the beginning
        std::uint32_t used = 0;    // descriptors
        std::uint32_t fill = 0;    // bytes in the last one's buffer
        std::uint32_t step = 0;    // writes done of its closing
        std::array<std::uint64_t, most_descriptors> buffers{};
        std::array<std::uint16_t, most_descriptors> places{};  // in the ring
        std::array<std::uint16_t, most_descriptors> starts{};  // segments that begin there
        sim::Time until;
        template <class Archive>
        void fields(Archive& a) {
            a(active, closing, queue, epoch, key, header, header_bytes, l3, l4, types, next, segments, bytes, buffer,
              used, fill, step, buffers, places, starts, until);
        }
    };
    struct Segment {
        bool joins = false;  // may be merged
        bool last = false;   // and ends the merging
        std::uint32_t sequence = 0, payload = 0;
        std::array<std::byte, 36> key{};
    };
    // How a frame lies in a queue's buffers.
    struct Layout {
        std::uint32_t skipped = 0;  // bytes of the tag that is stripped
        std::uint32_t length = 0;   // without it
        std::uint32_t header = 0;   // bytes in the first header buffer; 0: not split
        std::uint32_t buffer = 0;   // bytes of each buffer
        std::uint32_t descriptors = 0;
        bool splits = false;    // at a header's end
        bool overflow = false;  // the header is too long for its buffer
    };
    enum class Outcome : std::uint8_t { done, wait };

    static std::uint32_t ring_size(const Queue& q) { return q.length / descriptor_bytes; }
    bool listening(unsigned queue) const;
    void enable(unsigned queue);
    void evaluate(unsigned queue);
    std::uint32_t waiting(const Queue& q) const;
    void fetch_descriptors();

    bool store(std::span<const std::byte> bytes, const FrameInfo& info, Pools pools, bool inexact, bool looped,
               sim::Time at);
    Outcome deliver(Frame& frame, unsigned pool);
    Outcome write_out(Frame& frame, unsigned queue, const Layout& layout);
    bool write_data(const Frame& frame, std::uint64_t address, unsigned function, std::uint32_t skipped,
                    std::uint32_t begin, std::uint32_t bytes);
    Descriptor written_back(const Frame& frame, const Queue& q, const Layout& layout, std::uint32_t n);
    Layout layout_of(const Frame& frame, unsigned queue) const;
    std::uint32_t status_of(const Frame& frame);
    void count(const Frame& frame, unsigned queue);
    void explain(const Frame& frame, unsigned queue, sim::Time written, sim::Time told);
    sim::Time last_write_done() const { return std::max(core_.scope.now(), core_.bus.last_write_done()); }
    unsigned queue_for(const Frame& frame, unsigned pool);
    struct Hash {
        std::uint32_t value = 0;
        std::uint32_t type = 0;
    };
    Hash hash_of(const Frame& frame);
    void thresholds();

    // receive_coalescing.cpp
    bool coalesces(const Queue& q) const;
    Segment segment_of(const Frame& frame);
    Flow* flow_of(unsigned queue, const Segment& segment);
    // Nothing: the frame goes the usual way.
    void take_descriptors(unsigned queue, std::uint32_t count) {
        Queue& q = queues_[queue];
        q.used += count;
        next_[queue].at = &q.cache[q.used % cache_size];
    }
    std::optional<Outcome> coalesce(Frame& frame, unsigned queue);
    Outcome append(Frame& frame, Flow& flow, std::uint32_t begin);
    void take_descriptor(Flow& flow);
    void update_header(Flow& flow, const Frame& frame);
    bool close(Flow& flow);
    Descriptor merged(const Flow& flow, std::uint32_t i) const;
    void close_due();

    Core& core_;
    PauseSender& mac_;
    std::array<Queue, queues> queues_;
    std::array<sim::Hint, queues> next_;  // descriptor on chip
    std::array<std::uint64_t, 2> fetch_{};
    PacketMemory memory_;
    Fifo<Frame> frames_;
    bool paused_ = false;   // the partner was told to be silent
    bool refused_ = false;  // a looped frame found no room
    sim::Timer timer_;
    static constexpr unsigned flows = 32;
    std::array<Flow, flows> flows_{};
    unsigned open_flows_ = 0;
    sim::Timer flow_timer_;
    bool pumping_ = false;
    bool again_ = false;
    // Derived from RSSRK: the hash of each value of each input byte.
    static constexpr unsigned hash_bytes = 36;
    std::array<std::array<std::uint32_t, 256>, hash_bytes> hash_table_{};
    bool hash_valid_ = false;
};

}  // namespace sriov_nic
