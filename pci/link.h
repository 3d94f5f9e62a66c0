// A link between a device and the root complex, in time: packets, credits, tags, ordering, replays, and the host's
// latency behind it. Every time is computed when a request is accepted; events are few: a write has one, when memory
// changes; each request of a read two, when the host takes the data and when their last byte is in the device. The
// device's clock is one of them.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "pci/dma.h"
#include "pci/host_timing.h"
#include "pci/link_channel.h"
#include "pci/link_rate.h"
#include "pci/ring_queue.h"
#include "sim/pieces.h"
#include "sim/scope.h"

namespace pci {

struct LinkConfig {
    LinkRate rate;
    PacketLimits limits;
    LinkErrors errors;
    // Propagation, physical and data link layers, one way, apart from the bytes' own time.
    sim::Time flight = sim::Time::ns(75);
    unsigned tags = 32;  // requests that the device keeps track of
    // What the root port advertises. Completions are never short of credits: an endpoint has to promise endless ones
    // (PCIe 6.0, 2.6.1), and a device reserves their room before it asks: completion_room bytes, 0 for enough.
    unsigned posted_headers = 64;
    unsigned posted_data = 1024;  // units of 16 bytes
    unsigned non_posted_headers = 64;
    std::uint32_t completion_room = 0;
};

class Link final : public DmaPort {
public:
    // `bus` is the one at whose place 0 the device sits, behind a root port.
    Link(const sim::Scope& scope, Bus& bus, HostTiming& host, const LinkConfig& config);
    Link(const Link&) = delete;
    void connect(DmaClient& client) { client_ = &client; }

    // The device's side.
    [[nodiscard]] bool read(BusMaster& function, std::uint64_t address, std::uint32_t size,
                            std::uint32_t cookie) override;
    [[nodiscard]] bool write(BusMaster& function, std::uint64_t address, std::span<const std::byte> data,
                             std::uint32_t cookie, bool notify) override;
    void message(BusMaster& function, std::uint64_t address, std::uint32_t data) override;
    void forget(BusMaster& function) override;
    // Before anything else that the link does at the same instant.
    void wake_at(sim::Time at) override {
        set_clock(at);
        arm();
    }
    sim::Time last_write_done() const override { return last_posted_; }

    // The processors' side, with addresses of the bus. A write is posted: it reaches the device at the time that is
    // given back, unless `size` bytes find no room: then zero, and the processor waits.
    [[nodiscard]] sim::Time post_write(std::uint64_t address, unsigned size, std::uint64_t value);
    // A read pushes the writes before it (2.4.1). The value is the device's at once; the processor has it at `at`.
    struct Value {
        std::uint64_t value;
        sim::Time at;
    };
    [[nodiscard]] Value read_now(std::uint64_t address, unsigned size);

    const LinkConfig& config() const { return config_; }
    const LinkChannel& up() const { return up_; }
    const LinkChannel& down() const { return down_; }
    bool idle() const;

    template <class Archive>
    void fields(Archive& archive) {
        archive(up_, down_, random_, posted_, notices_, credits_, waiting_, serving_, completing_, downward_);
        archive(arena_head_, arena_tail_, headers_left_, data_left_, tags_left_, at_host_, room_used_, last_posted_,
                starved_, heads_[of_clock], timer_);
        for (Slot& slot : slots_) archive(slot);
        archive(free_slots_, data_);
        if constexpr (Archive::reading) look_at_all();
    }

private:
    enum class Kind : std::uint8_t { write, message, dropped, dropped_message };
    // A write of so few bytes has them with it: mostly it is a descriptor.
    using FewBytes = std::array<std::byte, 16>;
    struct alignas(64) Posted {  // in one of the simulating computer's cache lines
        sim::Time sent;
        sim::Time due;
        std::uint64_t address = 0;
        std::uint32_t size = 0;
        std::uint32_t data = 0;  // place of the bytes, or a message's content
        FewBytes few{};
        std::uint16_t place = 0;
        Kind kind = Kind::write;
        template <class Archive>
        void fields(Archive& archive) {
            archive(sent, due, address, size, data, place, kind);
            const bool write = kind == Kind::write || kind == Kind::dropped;
            if (write && size <= few.size()) archive(few);
        }
    };
    struct Notice {
        sim::Time at;
        std::uint32_t cookie = 0;
        std::uint16_t place = 0;
        DmaStatus status = DmaStatus::ok;
        bool of_read = false;
        bool dropped = false;
        template <class Archive>
        void fields(Archive& archive) {
            archive(at, cookie, place, status, of_read, dropped);
        }
    };
    struct Credit {
        sim::Time at;
        std::uint32_t headers = 0;
        std::uint32_t data = 0;
        template <class Archive>
        void fields(Archive& archive) {
            archive(at, headers, data);
        }
    };
    // A cache line of the simulating computer's: what is copied to its begin is copied in whole lines.
    struct alignas(64) Line {
        std::array<std::byte, 64> bytes;
        template <class Archive>
        void fields(Archive& archive) {
            archive(bytes);
        }
    };
    // A read of the device: one or more requests.
    struct Slot {
        std::uint64_t address = 0;
        std::uint32_t size = 0;
        std::uint32_t cookie = 0;
        std::uint32_t asked = 0;     // bytes requested so far
        std::uint32_t answered = 0;  // bytes of requests that have ended
        sim::Time since;
        std::uint16_t place = 0;
        DmaStatus status = DmaStatus::ok;
        bool used = false;
        bool dropped = false;
        std::vector<Line> data;
        std::span<std::byte> bytes(std::uint32_t offset, std::uint32_t count) {
            return {reinterpret_cast<std::byte*>(data.data()) + offset, count};
        }
        template <class Archive>
        void fields(Archive& archive) {
            archive(address, size, cookie, asked, answered, since, place, status, used, dropped, data);
        }
    };
    struct Request {
        sim::Time at;
        std::uint32_t slot = 0;
        std::uint32_t offset = 0;
        std::uint32_t size = 0;
        template <class Archive>
        void fields(Archive& archive) {
            archive(at, slot, offset, size);
        }
    };
    struct Down {
        sim::Time at;
        std::uint64_t address = 0;
        std::uint64_t value = 0;
        std::uint8_t size = 0;
        template <class Archive>
        void fields(Archive& archive) {
            archive(at, address, value, size);
        }
    };

    sim::Time now() const { return scope_.now(); }
    Function* function_of(std::uint16_t place) const { return bus_.function_at(place); }
    // The bytes of a write: `few`, or those at the place.
    std::span<const std::byte> bytes_of(std::uint32_t size, std::uint32_t place, const FewBytes& few) {
        return size <= few.size() ? std::span{few}.first(size) : data_.span(place, size);
    }
    bool reserve(std::uint32_t bytes);
    void release(std::uint32_t size);
    Posted& post(BusMaster& function, std::uint64_t address, std::uint32_t size, std::uint32_t data, Kind kind);
    sim::Time wait_for_credits(std::uint32_t headers, std::uint32_t data);
    [[gnu::noinline]] sim::Time count_credits(std::uint32_t headers, std::uint32_t data);
    void return_credits(sim::Time at, std::uint32_t headers, std::uint32_t data);
    [[gnu::noinline]] void return_in_little_room(sim::Time at, std::uint32_t headers, std::uint32_t data);
    [[gnu::noinline]] void message_in_little_room(BusMaster& function, std::uint64_t address, std::uint32_t data);
    bool may_add_message(std::uint16_t place, std::uint64_t address, std::uint32_t data);
    void pump_reads();
    void wait_for_host(sim::Time at, std::uint32_t slot, std::uint32_t offset, std::uint32_t size);
    void refuse(BusMaster& function, std::uint32_t cookie, bool of_read);

    void run();
    [[nodiscard]] sim::Time run_due();
    void rest();
    void arm();
    sim::Time next() const {
        return std::min(std::min(heads_[of_posted], heads_[of_serving]), std::min(heads_[of_completing], seldom_));
    }
    // What is done for the device's clock and for the queues, in this order at the same instant, and when the first of
    // each is due.
    enum Work : std::uint8_t { of_clock, of_posted, of_serving, of_completing, of_notices, of_downward, works };
    void set_clock(sim::Time at) {
        heads_[of_clock] = at;
        seldom_ = std::min(at, rare_);
    }
    void set_head(Work work, sim::Time at) {
        heads_[work] = at;
        if (work == of_posted || work == of_serving || work == of_completing) return;
        rare_ = std::min(heads_[of_notices], heads_[of_downward]);
        seldom_ = std::min(heads_[of_clock], rare_);
    }
    template <class T>
    void look(Work work, const RingQueue<T>& queue, sim::Time T::*at) {
        set_head(work, queue.empty() ? sim::Time::never() : queue.front().*at);
    }
    void look_at_all();
    sim::Time send_up(sim::Time from, WireBytes wire) {
        const sim::Time end = up_.send(from, wire);
        return up_.has_errors() ? replay_up(wire) : end;
    }
    sim::Time send_down(sim::Time from, WireBytes wire) {
        const sim::Time end = down_.send(from, wire);
        return down_.has_errors() ? replay_down(wire) : end;
    }
    [[gnu::noinline]] sim::Time replay_up(WireBytes wire);
    [[gnu::noinline]] sim::Time replay_down(WireBytes wire);
    void log_errors(std::uint32_t bits);
    void arrive();
    void carry_out_write(std::uint16_t place, std::uint64_t address, std::span<const std::byte> data);
    void carry_out_message(std::uint16_t place, std::uint64_t address, std::uint32_t data);
    void serve();
    void complete();
    void notify(const Notice& notice);

    sim::Scope scope_;
    Bus& bus_;
    HostTiming& host_;
    LinkConfig config_;
    DmaClient* client_ = nullptr;
    sim::Counter& reads_;
    sim::Counter& writes_;
    sim::Counter& messages_;
    sim::Counter& merged_messages_;
    sim::Counter& lost_messages_;
    sim::Counter& refused_;

    LinkChannel up_;
    LinkChannel down_;
    sim::Random random_;
    RingQueue<Posted> posted_;          // by due
    RingQueue<Notice> notices_;         // by at
    RingQueue<Credit> credits_;         // posted credits on their way back, by at
    RingQueue<std::uint32_t> waiting_;  // reads whose requests have not all been sent
    RingQueue<Request> serving_;        // by the time the host has their data
    RingQueue<Request> completing_;     // by the time of their last byte
    RingQueue<Down> downward_;          // processors' writes
    std::vector<Slot> slots_;
    std::vector<std::uint32_t> free_slots_;
    // Room for the data of writes on their way: a ring, without a seam in a write. The bytes themselves, where they are
    // more than a few, are in data_.
    std::uint64_t arena_head_ = 0;
    std::uint64_t arena_tail_ = 0;
    sim::Pieces data_;
    // Not side by side: written one by one, they would be read as one, and the simulating computer would wait until all
    // that it stored before is in its cache.
    std::uint32_t headers_left_;
    std::uint32_t tags_left_;
    std::uint32_t data_left_;
    std::uint32_t at_host_ = 0;
    std::uint32_t room_used_ = 0;
    sim::Time last_posted_;
    std::array<sim::Time, works> heads_;
    sim::Time seldom_;  // the earliest of those heads that change seldom
    sim::Time rare_;    // of those without the clock's
    bool starved_ = false;
    bool running_ = false;
    sim::Timer timer_;
};

}  // namespace pci
