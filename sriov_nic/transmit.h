// The transmit side (82599 datasheet, 7.2): descriptors are fetched into on-chip caches, frames are cut from them
// queue by queue, their data is read into the packet buffer; whole frames get their offloads, go through the switch,
// and leave in order by the wire, to other pools, or both. Descriptors are reported when their data has been read.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "sim/working_set.h"
#include "sriov_nic/core.h"
#include "sriov_nic/descriptors.h"
#include "sriov_nic/due_list.h"
#include "sriov_nic/packet_memory.h"

namespace sriov_nic {

struct TxContext {
    std::uint32_t macip = 0, mode = 0, mss = 0;
    bool operator==(const TxContext&) const = default;
    template <class Archive>
    void fields(Archive& a) {
        a(macip, mode, mss);
    }
};

// Takes what the switch sends to pools inside.
class LoopbackTarget {
public:
    // False: no room yet; the transmit side is pumped again when there is.
    virtual bool loop_back(std::span<const std::byte> frame, const FrameInfo& info, Pools pools, bool inexact,
                           unsigned source, sim::Time at) = 0;

protected:
    ~LoopbackTarget() = default;
};

class Transmit final : private ThrottleClock::Sleeper {
public:
    Transmit(Core& core, LoopbackTarget& loopback);
    Transmit(const Transmit&) = delete;

    std::uint32_t read(unsigned queue, TxRegister which) const;
    void write(unsigned queue, TxRegister which, std::uint32_t value);
    // RTTBCNRC of the queue.
    void set_rate_factor(unsigned queue, std::uint32_t value) {
        queues_[queue].rate = value;
        queues_[queue].rated = (value & rttbcnrc::enable) != 0;
    }
    // RTTDT1C of the queue: its pool's share, where pools are weighted.
    void set_share(unsigned queue, std::uint32_t value);
    std::uint32_t rate_factor(unsigned queue) const { return queues_[queue].rate; }

    void descriptors_read(unsigned queue, std::uint32_t epoch, bool ok, std::span<const std::byte> data);
    void data_read(unsigned slot, bool ok, std::span<const std::byte> data);
    // A pool may transmit or may no longer; DMATXCTL was written.
    void enables_changed();
    // The partner asks for silence until then.
    void pause(sim::Time until);
    // No operation of the function is answered any more.
    void forget(unsigned function);
    // A pause frame, before what waits.
    void send_control(std::span<const std::byte> frame);
    // Goes on wherever it can.
    void pump();

    std::uint32_t buffered_bytes() const { return memory_.used(); }
    void add_needs(unsigned queue, sim::WorkingSet& set) const {
        set.add(&queues_[queue], offsetof(Queue, cache));
        set.add(&told_[queue], 2 * sim::WorkingSet::line_bytes);
        set.add(&told_[queue].doorbells, sim::WorkingSet::line_bytes);
        set.add_content(next_[queue], descriptor_bytes);
    }
    void reset();

    template <class Archive>
    void fields(Archive& a) {
        a(queues_, told_, headers_, fetch_, ready_, flush_, slots_, free_slots_, memory_, frames_, finish_, last_pool_,
          last_of_pool_, share_, credit_, cutting_, wire_free_, loopback_free_, paused_until_, too_early_until_,
          egress_, rate_timer_);
    }

private:
    static constexpr unsigned cache_size = 40;
    static constexpr std::uint32_t least_frame = 60;  // shorter ones are padded
    // Of a descriptor on chip: its doorbell, its fetch, its arrival.
    struct Moments {
        sim::Time rung, asked, came;
        bool operator==(const Moments&) const = default;
        template <class Archive>
        void fields(Archive& a) {
            a(rung, asked, came);
        }
    };
    // Tails that software has written, for the trace. Of more than there is room for, the later ones count as one.
    struct Doorbells {
        static constexpr unsigned most = 16;
        struct Doorbell {
            std::uint64_t end = 0;
            sim::Time at;
            template <class Archive>
            void fields(Archive& a) {
                a(end, at);
            }
        };
        std::uint32_t first = 0, count = 0;
        std::array<Doorbell, most> all{};
        void ring(std::uint64_t end, sim::Time now) {
            if (count != 0 && all[(first + count - 1) % most].end >= end) return;
            // They stay in the first cache line while they are few.
            if (count == 1 && first != 0) all[0] = all[first];
            if (count <= 1) first = 0;
            if (count < most) all[(first + count++) % most].at = now;
            all[(first + count - 1) % most].end = end;
        }
        // The one that told of this descriptor; those before it are of no account any more.
        Doorbell of(std::uint64_t descriptor, sim::Time unknown) {
            while (count != 0 && all[first].end <= descriptor) {
                first = (first + 1) % most;
                --count;
            }
            return count != 0 ? all[first] : Doorbell{~std::uint64_t{0}, unknown};
        }
        template <class Archive>
        void fields(Archive& a) {
            a(first, count, all);
        }
    };
    // Of a queue, for the trace only. Descriptors that were told of and fetched together have the same moments.
    struct alignas(64) Told {
        struct Batch {
            std::uint64_t first = 0;  // descriptor
            Moments moments;
            template <class Archive>
            void fields(Archive& a) {
                a(first, moments);
            }
        };
        static constexpr std::uint32_t most = cache_size;
        sim::Time asked;  // the fetch under way
        // Of the descriptor that was looked for last, and from which one on it is another batch's.
        Moments moments;
        std::uint64_t until = 0;
        std::uint32_t begin = 0, count = 0;
        alignas(64) std::array<Batch, most> batches{};  // further ones
        alignas(64) Doorbells doorbells;

        Batch& batch(std::uint32_t n) { return batches[(begin + n) % most]; }
        // Descriptors from `first` to before `end`.
        void came(std::uint64_t first, std::uint64_t end, sim::Time now) {
            while (first < end) {
                const Doorbells::Doorbell bell = doorbells.of(first, asked);
                // Those of packets that were never cut are not looked for.
                if (count == most) {
                    begin = (begin + 1) % most;
                    --count;
                }
                Batch& last = batch(count++);
                last.first = first;
                last.moments.rung = bell.at;
                last.moments.asked = asked;
                last.moments.came = now;
                first = bell.end;
            }
            until = batch(0).first;
        }
        // Descriptors are asked for in order.
        const Moments& of(std::uint64_t descriptor) {
            while (descriptor >= until && count != 0) {
                moments = batch(0).moments;
                begin = --count != 0 ? (begin + 1) % most : 0;
                until = count != 0 ? batch(0).first : ~std::uint64_t{0};
            }
            return moments;
        }
        void forget() {
            doorbells = {};
            begin = count = 0;
        }
        template <class Archive>
        void fields(Archive& a) {
            a(doorbells, asked, moments, until, begin, count, batches);
        }
    };
    // Each of these groups lies in one of the simulating computer's cache lines.
    struct alignas(64) Queue {
        // What fetches, reports and write-backs need. Descriptors are counted from when the queue was enabled; the
        // place in the ring follows from `first`, where that was.
        std::uint16_t size = 0, tail = 0;  // of the ring, in descriptors
        std::uint16_t head = 0;            // descriptor `written` in the ring
        std::uint16_t first = 0;
        std::uint32_t control = 0;
        std::uint32_t epoch = 0;
        std::uint64_t fetched = 0, started = 0, done = 0, written = 0;
        std::uint64_t base = 0;
        std::uint8_t ends = 0;     // of packets among those fetched and not started
        std::uint8_t reports = 0;  // wished for among those done and not written
        std::uint8_t fetching = 0;
        bool reports_head = false;  // instead of descriptors
        bool stopped = false;       // on a packet that cannot be
        bool no_room = false;       // on the chip, for descriptors that would be fetched
        bool in_packet = false;     // that is being cut
        bool rated = false;         // RTTBCNRC holds it back

        // The packet that is being cut, or was last.
        alignas(64) std::uint32_t flags = 0;
        std::uint32_t options = 0;  // of its first descriptor
        std::array<TxContext, 2> contexts{};
        std::uint64_t packet_end = 0;  // one past its last descriptor
        std::uint32_t rest = 0;        // payload of a segmented packet that is not cut yet
        std::uint32_t segment = 0;
        std::uint16_t taken = 0;  // bytes of descriptor `started`
        std::uint16_t header_bytes = 0;
        bool header_read = false;  // the header of a segmented packet came
        sim::Time may_send;

        alignas(64) std::array<Descriptor, cache_size> cache{};
        std::uint64_t head_address = 0;
        std::uint32_t dca = 0, rate = 0;

        // The next `n` need not be written any more.
        void pass(std::uint64_t n) {
            written += n;
            head = head + n == size ? std::uint16_t{0} : static_cast<std::uint16_t>(head + n);
        }
        // What the packet's frames need to know. A legacy descriptor has its own tag.
        TxContext context() const {
            if ((flags & tx::extended) != 0) return contexts[tx::context_index(options) & 1];
            return {options & 0xffff'0000, 0, 0};
        }
        template <class Archive>
        void fields(Archive& a) {
            a(base, size, tail, control, dca, head_address, reports_head, head, fetched, started, done, written, first,
              ends, reports, fetching, epoch, stopped, cache, contexts, in_packet, flags, options, packet_end, taken,
              rest, segment, header_bytes, rate, rated, may_send, header_read, no_room);
        }
    };
    static_assert(offsetof(Queue, cache) == 128);
    // A full buffer holds thousands. What is needed when one leaves comes first, in two cache lines.
    struct alignas(64) Frame {
        std::uint32_t place = 0, length = 0;  // in the buffer, with headroom
        std::uint32_t reserved = 0;
        std::uint8_t queue = 0;
        bool cut = false;   // all its reads have been issued
        bool last = false;  // of its packet
        bool dropped = false;
        bool wire = false, inexact = false;
        Pools pools = 0;
        sim::Time ready, read, started;
        Moments moments;  // of its packet's last descriptor
        FrameInfo info;
        std::uint32_t outstanding = 0;
        std::uint32_t flags = 0, options = 0;
        TxContext context;
        std::uint32_t segment = 0, header_bytes = 0;
        std::uint64_t done = 0;        // of the queue when its data is there
        std::uint64_t packet_end = 0;  // as the queue's, of its packet
        std::uint32_t epoch = 0;
        template <class Archive>
        void fields(Archive& a) {
            a(place, length, reserved, outstanding, flags, options, context, segment, header_bytes, done, packet_end,
              epoch, queue, cut, last, dropped, wire, inexact, pools, info, moments, started, read, ready);
        }
    };
    struct Slot {
        std::uint32_t frame = 0, place = 0, bytes = 0;
        std::uint32_t function = 0;
        template <class Archive>
        void fields(Archive& a) {
            a(frame, place, bytes, function);
        }
    };
    struct Cutting {
        bool active = false;
        std::uint32_t queue = 0, frame = 0, place = 0, rest = 0;
        template <class Archive>
        void fields(Archive& a) {
            a(active, queue, frame, place, rest);
        }
    };
    using QueueSet = std::array<std::uint64_t, 2>;

    static void set(QueueSet& s, unsigned q, bool on) {
        const std::uint64_t bit = std::uint64_t{1} << (q & 63);
        s[q >> 6] = on ? s[q >> 6] | bit : s[q >> 6] & ~bit;
    }
    static bool has(const QueueSet& s, unsigned q) { return (s[q >> 6] >> (q & 63) & 1) != 0; }
    static unsigned first_from(const QueueSet& s, unsigned q);
    unsigned arbitrate();
    unsigned of_pool(unsigned pool, unsigned first) const;
    unsigned next_pool();

    bool running(unsigned queue) const;
    static std::uint16_t ring_index(const Queue& q, std::uint64_t count) {
        return static_cast<std::uint16_t>((q.first + count) % q.size);
    }
    void enable(unsigned queue);
    void evaluate(unsigned queue);
    [[gnu::noinline]] void fetch_descriptors();
    bool fetch(unsigned queue);

    bool may_cut() const { return cutting_.active || (ready_[0] | ready_[1]) != 0; }
    void cut_frames();
    bool start_frame(unsigned queue);
    bool start_packet(unsigned queue);
    void take_contexts(Queue& q);
    void give_up(unsigned queue);
    bool issue_reads();
    void charge_rate(Queue& q, std::uint32_t bytes);

    void finish_frames();
    void finish(Frame& frame);
    void offload(Frame& frame);
    void segment_headers(Frame& frame, std::span<std::byte> bytes);
    void insert_checksums(const Frame& frame, std::span<std::byte> bytes);
    void complete(Frame& frame);

    void commit();
    bool commit(Frame& frame);
    // The first frame's turn is too far ahead before `earliest`; it is looked at again at `at`.
    void wait_until(sim::Time at, sim::Time earliest) {
        too_early_until_ = earliest;
        if (at != egress_.deadline()) egress_.arm(at);
    }
    void explain(PacketEnd end, const Frame& frame, sim::Time from, sim::Time to) const;
    // Its data and that of all before it had come.
    sim::Time in_order(const Frame& frame) const { return frame.ready - core_.profile.transmit_path; }

    void report_done(unsigned queue);
    bool write_next(Queue& q, unsigned function, std::uint64_t n);
    bool write_descriptors(Queue& q, unsigned function);
    [[gnu::noinline]] bool write_reports(Queue& q, unsigned function);
    [[gnu::noinline]] bool write_head(Queue& q, unsigned function);
    bool write_back(unsigned queue);
    void wake() override;
    void write_back_and_fetch() {
        if (flush_.first() <= core_.scope.now() || flush_.first() != core_.throttle_clock.first_at()) flush_due();
        if ((fetch_[0] | fetch_[1]) != 0) fetch_descriptors();
    }
    [[gnu::noinline]] void flush_due();

    Core& core_;
    LoopbackTarget& loopback_;
    std::array<Queue, queues> queues_;
    std::array<sim::Hint, queues> next_;  // descriptor on chip
    std::array<Told, queues> told_;
    std::array<std::array<std::byte, 1024>, queues> headers_{};  // of segmented packets
    DueList<queues> flush_;                                      // whose descriptors are to be written back, and when
    QueueSet fetch_{}, ready_{};
    std::array<Slot, 64> slots_{};
    std::uint64_t free_slots_ = 0;
    PacketMemory memory_;
    Fifo<Frame> frames_;
    std::uint32_t finish_ = 0;  // position of the first frame that is not finished
    std::uint32_t last_pool_ = 0;
    std::array<std::uint8_t, queues> last_of_pool_{};
    std::array<std::uint32_t, max_pools> share_{};  // bytes of a turn
    std::array<std::int64_t, max_pools> credit_{};
    Cutting cutting_;
    sim::Time wire_free_, loopback_free_, paused_until_;
    // While nothing happens to the transmit side, no frame leaves before.
    sim::Time too_early_until_;
    sim::Timer egress_, rate_timer_;
    bool pumping_ = false;
    bool again_ = false;
    bool flush_again_ = false;  // descriptors of frames that were finished meanwhile
};

}  // namespace sriov_nic
