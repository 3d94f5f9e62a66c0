// The two ends of a ring in guest memory. A control page holds the indices; the data area follows. The writer owns
// write_index and pending_send_size, the reader read_index and interrupt_mask. Whatever the other side owns is hostile:
// it is copied first, then checked, then used, and what is wrong with it is a RingFault. Both the host and behavioural
// guests use these classes.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "vmbus/packet.h"
#include "vmbus/page_list.h"

namespace vmbus {

// The control page; everything else in it is reserved.
struct RingControl {
    static constexpr std::uint64_t write_index = 0;
    static constexpr std::uint64_t read_index = 4;
    static constexpr std::uint64_t interrupt_mask = 8;
    static constexpr std::uint64_t pending_send_size = 12;
    static constexpr std::uint64_t feature_bits = 64;
    static constexpr std::uint32_t feature_pending_send_size = 1;
    static constexpr std::uint64_t data = page_bytes;

    std::uint32_t write = 0;
    std::uint32_t read = 0;
    std::uint32_t mask = 0;
    std::uint32_t pending = 0;
};
static_assert(sizeof(RingControl) == 16);

struct PacketDescriptor {
    static constexpr std::uint16_t completion_requested = 1;  // in flags

    std::uint16_t type = 0;
    std::uint16_t offset8 = 0;  // of the payload, in units of 8 bytes
    std::uint16_t length8 = 0;  // of all but the trailer
    std::uint16_t flags = 0;
    std::uint64_t transaction = 0;
};
static_assert(sizeof(PacketDescriptor) == 16);
inline constexpr std::uint32_t packet_trailer_bytes = 8;
inline constexpr std::uint32_t longest_packet = 0xffff * 8;

struct TransferPagesHeader {
    std::uint16_t page_set = 0;
    std::uint8_t sender_owns_set = 0;
    std::uint8_t reserved = 0;
    std::uint32_t range_count = 0;
};
struct GpaDirectHeader {
    std::uint32_t reserved = 0;
    std::uint32_t range_count = 0;
};
struct GpaRangeHeader {
    std::uint32_t length = 0;
    std::uint32_t offset = 0;
};
static_assert(sizeof(TransferPagesHeader) == 8 && sizeof(GpaDirectHeader) == 8 && sizeof(GpaRangeHeader) == 8);

enum class RingFault : std::uint8_t {
    none,
    memory,       // a page of it is not RAM
    write_index,  // outside the data area, or no multiple of 8
    read_index,
    available,  // less than a descriptor between the indices
    packet_type,
    packet_length,  // longer than what is there, or than its own header
    packet_header,  // the header ends within its own fields
    range_count,    // more ranges than fit in the header
    range,          // empty, with an offset outside the first page, or with fewer pages than it needs
    too_small,      // the host's packets don't fit in it
};
inline constexpr std::size_t ring_fault_count = 11;
std::string_view name_of(RingFault fault);

// Whose end it is. Only the guest's end looks whether the writer supports pending_send_size.
enum class RingEnd : std::uint8_t { host, guest };
// How a reader wants to be told of packets: `batched` masks interrupts while it takes packets, `direct` never does.
enum class ReadMode : std::uint8_t { batched, direct };

// A packet, or a part of one, while it is at hand. Mostly it is short, and stays in memory that is in use anyway.
class PacketBytes final {
public:
    explicit PacketBytes(std::size_t bytes) : bytes_(bytes) {
        if (bytes > near_.size()) far_.resize(bytes);
    }
    std::span<std::byte> bytes() { return {bytes_ <= near_.size() ? near_.data() : far_.data(), bytes_}; }

private:
    std::size_t bytes_;
    std::array<std::byte, 256> near_;
    std::vector<std::byte> far_;
};

class RingReader {
public:
    enum class Result : std::uint8_t { packet, empty, fault };

    RingReader(RingEnd end, ReadMode mode) : end_(end), mode_(mode) {}

    // The ring's pages, control page first. Its indices are taken over by start().
    void attach(PageList pages);
    void detach();
    [[nodiscard]] bool start(GuestMemory& memory);

    // `empty`: the other side will signal when there is more. Everything that was taken is then released to it.
    [[nodiscard]] Result receive(GuestMemory& memory, Packet& packet);
    // What was taken becomes free. False: a fault.
    [[nodiscard]] bool commit(GuestMemory& memory);
    // The writer waits for room that is there now: it must be signalled.
    bool take_signal() {
        const bool due = state_.signal;
        state_.signal = false;
        return due;
    }
    RingFault fault() const { return state_.fault; }
    // What each packet takes (sim/working_set.h); and so many bytes of the next will be there soon.
    void add_needs(sim::WorkingSet& set) const {
        set.add(*this);
        pages_.add_needs(set);
    }
    void expect(const GuestMemory& memory, std::uint32_t bytes) const {
        pages_.expect(memory, 0, sizeof(RingControl));
        pages_.expect(memory, RingControl::data + state_.read, bytes);
    }
    // There is something to take.
    [[nodiscard]] bool waiting(GuestMemory& memory);
    // Whether the writer knows pending_send_size, and so will signal room when it is a reader.
    [[nodiscard]] bool writer_supports_pending(GuestMemory& memory) const;
    std::uint32_t data_bytes() const { return data_bytes_; }

    template <class Archive>
    void fields(Archive& archive) {
        archive(state_);
    }

private:
    struct State {
        std::uint32_t read = 0;       // next to take
        std::uint32_t committed = 0;  // as the writer sees it
        std::uint32_t write = 0;      // as last seen
        bool masked = false;
        bool signal = false;
        RingFault fault = RingFault::none;

        bool operator==(const State&) const = default;
        template <class Archive>
        void fields(Archive& archive) {
            archive(read, committed, write, masked, signal, fault);
        }
    };

    bool failed(RingFault fault) {
        state_.fault = fault;
        return false;
    }
    bool load(GuestMemory& memory, std::uint64_t at, std::uint32_t& word) const;
    bool store(GuestMemory& memory, std::uint64_t at, std::uint32_t word) const;
    bool load_write_index(GuestMemory& memory);
    bool set_mask(GuestMemory& memory, bool masked);
    bool copy_out(GuestMemory& memory, std::uint32_t at, std::span<std::byte> out) const;
    bool take(GuestMemory& memory, Packet& packet);
    bool parse_transfer_pages(std::span<const std::byte> header, Packet& packet);
    bool parse_gpa_direct(std::span<const std::byte> header, Packet& packet);

    RingEnd end_;
    ReadMode mode_;
    PageList pages_;
    std::uint32_t data_bytes_ = 0;
    State state_;
};

class RingWriter {
public:
    enum class Result : std::uint8_t { written, full, fault };

    void attach(PageList pages);
    void detach();
    // The host's end takes over the indices and says that it knows pending_send_size.
    [[nodiscard]] bool start(GuestMemory& memory);
    // The guest's end makes the ring: indices 0, nothing masked.
    [[nodiscard]] bool make(GuestMemory& memory);

    // Descriptor, `extension` (a multiple of 8 bytes) and `payload`. `full`: the reader will signal when there is room;
    // everything written before is visible then.
    [[nodiscard]] Result write(GuestMemory& memory, PacketDescriptor descriptor, std::span<const std::byte> extension,
                               std::span<const std::byte> payload);
    // What was written becomes visible. False: a fault.
    [[nodiscard]] bool commit(GuestMemory& memory);
    // The reader waits for what was committed: it must be signalled.
    bool take_signal() {
        const bool due = state_.signal;
        state_.signal = false;
        return due;
    }
    // Something was refused and no packet has been written since.
    bool blocked() const { return state_.pending != 0; }
    RingFault fault() const { return state_.fault; }
    std::uint32_t data_bytes() const { return data_bytes_; }
    // As the reader's.
    void add_needs(sim::WorkingSet& set) const {
        set.add(*this);
        pages_.add_needs(set);
    }
    void expect(const GuestMemory& memory, std::uint32_t bytes) const {
        pages_.expect(memory, 0, sizeof(RingControl));
        pages_.expect(memory, RingControl::data + state_.write, bytes);
    }

    template <class Archive>
    void fields(Archive& archive) {
        archive(state_);
    }

private:
    struct State {
        std::uint32_t write = 0;      // where the next packet goes
        std::uint32_t committed = 0;  // as the reader sees it
        std::uint32_t read = 0;       // as last seen
        std::uint32_t pending = 0;    // pending_send_size
        bool signal = false;
        RingFault fault = RingFault::none;

        bool operator==(const State&) const = default;
        template <class Archive>
        void fields(Archive& archive) {
            archive(write, committed, read, pending, signal, fault);
        }
    };

    bool failed(RingFault fault) {
        state_.fault = fault;
        return false;
    }
    std::uint32_t room() const {
        return state_.write >= state_.read ? data_bytes_ - (state_.write - state_.read) : state_.read - state_.write;
    }
    bool store(GuestMemory& memory, std::uint64_t at, std::uint32_t word) const;
    bool load_read_index(GuestMemory& memory);
    bool set_pending(GuestMemory& memory, std::uint32_t bytes);
    bool copy_in(GuestMemory& memory, std::uint32_t at, std::span<const std::byte> data) const;

    PageList pages_;
    std::uint32_t data_bytes_ = 0;
    State state_;
};

// Both rings of a channel as one end sees them, with the forms of packets.
class RingPair {
public:
    RingPair(RingEnd end, ReadMode mode) : in(end, mode) {}

    RingWriter::Result send(GuestMemory& memory, PacketType type, std::uint64_t transaction, bool wants_completion,
                            std::span<const std::byte> payload);
    RingWriter::Result send_transfer_pages(GuestMemory& memory, std::uint64_t transaction, std::uint16_t page_set,
                                           std::span<const TransferRange> ranges, std::span<const std::byte> payload);
    RingWriter::Result send_gpa_direct(GuestMemory& memory, std::uint64_t transaction, std::span<const GpaRange> ranges,
                                       std::span<const std::byte> payload);
    // False: a fault of either ring.
    [[nodiscard]] bool commit(GuestMemory& memory) { return in.commit(memory) && out.commit(memory); }
    bool take_signal() {
        const bool room = in.take_signal();
        const bool packets = out.take_signal();
        return room || packets;
    }
    RingFault fault() const { return in.fault() != RingFault::none ? in.fault() : out.fault(); }
    void detach() {
        in.detach();
        out.detach();
    }
    void add_needs(sim::WorkingSet& set) const {
        in.add_needs(set);
        out.add_needs(set);
    }
    // Of packets each way.
    void expect(const GuestMemory& memory, std::uint32_t bytes) const {
        in.expect(memory, bytes);
        out.expect(memory, bytes);
    }

    template <class Archive>
    void fields(Archive& archive) {
        archive(in, out);
    }

    RingReader in;
    RingWriter out;
};

}  // namespace vmbus
