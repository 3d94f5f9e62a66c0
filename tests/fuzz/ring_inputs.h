// Entry point that takes hostile bytes to rings: what is in them and the indices, changed by the guest between any two
// accesses of the host's. As a libFuzzer target (fuzz_vmbus_ring.cpp), and with fixed seeds in the ordinary test run
// (tests/vmbus/bus_fuzz_test.cpp). A property that fails is a VG_CHECK.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

#include "sim/check.h"
#include "tests/vmbus/raw_guest.h"
#include "vmbus/server.h"

namespace fuzz {

class HostileRing final : private vmbus::ChannelDevice {
public:
    struct Done {
        std::uint64_t packets = 0;
        std::uint64_t sent = 0;
        std::uint64_t ended = 0;
        std::uint64_t changes = 0;  // in the middle of an access
    };

    explicit HostileRing(std::span<const std::uint8_t> input) : input_(input), guest_({}, pages) {
        vmbus::Offer offer;
        offer.type = vmbus::interface_type::network;
        broken_ = &guest_.server.offer(offer, *this);
        offer.instance.bytes[0] = 1;
        whole_ = &guest_.server.offer(offer, *this);
        VG_CHECK(guest_.connect().size() == 2);
        // Two pages to the host, one data page; three to the guest.
        VG_CHECK(guest_.make_gpadl(1, 1, ring_page, 5) == 0u && guest_.open(1, 1) == 0u);
        VG_CHECK(guest_.open_at(2, whole_page) == 0u);
        guest_.memory.after_read = [this] { change(); };
    }

    void run() {
        while (!input_.empty()) {
            act();
            guest_.run(sim::Time::us(1));
            while (guest_.heard.size() > 8) guest_.heard.pop_front();
        }
        guest_.memory.after_read = nullptr;
        // The other channel never noticed.
        VG_CHECK(whole_->is_open());
        const unsigned before = whole_packets_;
        guest_.put_packet(whole_page, 0, 5);
        guest_.server.guest_signal(0x2002);
        VG_CHECK(whole_packets_ == before + 1 && whole_->is_open());
        VG_CHECK(guest_.all_refused() <= 1 + stray_);
        if (!broken_->is_open()) ++done_.ended;
    }
    const Done& done() const { return done_; }
    sim::Simulation& simulation() { return guest_.simulation; }

private:
    static constexpr std::uint64_t pages = 20;
    static constexpr std::uint64_t ring_page = 4;
    static constexpr std::uint64_t to_guest_page = ring_page + 2;
    static constexpr std::uint64_t whole_page = 12;
    static constexpr std::uint32_t data_bytes = 4096;  // of the ring to the host

    template <class T>
    T take() {
        T value{};
        const std::size_t n = std::min(input_.size(), sizeof value);
        if (n != 0) std::memcpy(&value, input_.data(), n);
        input_ = input_.subspan(n);
        return value;
    }

    // A word of a control page: write index, read index, mask, pending size, feature bits.
    void change_index(std::uint8_t what) {
        constexpr std::array<std::uint64_t, 5> words{0, 4, 8, 12, 64};
        const std::uint64_t page = (what & 0x80) != 0 ? to_guest_page : ring_page;
        const auto value = take<std::uint16_t>();
        const std::uint32_t near = value % (data_bytes / 8) * 8u;
        guest_.set_word(page * 4096 + words[what % words.size()], value < 0xe000 ? near : take<std::uint32_t>());
    }
    void change_data(std::uint8_t what) {
        const std::uint64_t place = std::uint64_t{take<std::uint16_t>()} % (data_bytes / 8) * 8;
        const std::uint64_t gpa = ((what & 1) != 0 ? ring_page + 1 : to_guest_page + 1) * 4096 + place;
        std::uint64_t value = take<std::uint64_t>();
        // Often what begins a packet.
        constexpr std::array<std::uint16_t, 6> types{6, 7, 9, 0xb, 9, 7};
        if ((what & 6) != 0) {
            const std::uint64_t type = types[value % types.size()];
            value = type | (2 + (value >> 8 & 7)) << 16 | (2 + (value >> 16 & 63)) << 32 | (value >> 32 & 1) << 48;
        }
        if ((what & 0x18) == 0x18) value &= 0x0000'0003'0000'1fffull;  // a range, or a count of some
        (void)guest_.memory.write(gpa, std::as_bytes(std::span{&value, 1}));
    }
    // Between two accesses of the host's.
    void change() {
        if (input_.empty() || (storm_ & 1) == 0) return;
        storm_ = static_cast<std::uint8_t>(storm_ >> 1 | storm_ << 7);
        const auto what = take<std::uint8_t>();
        if (what < 150) return;
        ++done_.changes;
        const auto after = std::move(guest_.memory.after_read);
        guest_.memory.after_read = nullptr;
        if (what < 220) {
            change_index(what);
        } else {
            change_data(what);
        }
        guest_.memory.after_read = after;
    }
    void put_packets(unsigned count) {
        for (; count > 0; --count) {
            const std::uint32_t at = guest_.word(ring_page * 4096);
            if (at > data_bytes - 64) return guest_.set_word(ring_page * 4096, 0);
            guest_.put_packet(ring_page, at, count);
        }
    }

    void act() {
        const auto kind = take<std::uint8_t>();
        switch (kind % 10) {
            case 0:
            case 1:
                return change_index(take<std::uint8_t>());
            case 2:
            case 3:
            case 4:
                return change_data(take<std::uint8_t>());
            case 5:
                storm_ = take<std::uint8_t>();
                return;
            case 6:
                return put_packets(kind >> 5);
            case 7:
                return send(*broken_);
            default:
                if (!broken_->is_open()) ++stray_;
                return guest_.server.guest_signal(0x2001);
        }
    }

    void send(vmbus::Channel& channel) {
        const auto what = take<std::uint16_t>();
        const std::vector<std::byte> payload(what % 900, std::byte{0xee});
        const std::vector<vmbus::TransferRange> ranges(what >> 13, {60, 0});
        bool done = false;
        switch (what >> 10 & 3) {
            case 0:
                done = channel.send(what, payload, true);
                break;
            case 1:
                done = channel.send_transfer_pages(what, 1, ranges, payload);
                break;
            default:
                done = channel.complete(what, payload);
                break;
        }
        if (done) ++done_.sent;
        if ((what & 1) != 0) channel.flush();
    }

    // ChannelDevice
    std::uint32_t open(vmbus::Channel&, std::span<const std::byte, 120>) override { return 0; }
    void closed(vmbus::Channel& channel) override { VG_CHECK(&channel == broken_ && !channel.is_open()); }
    void released(vmbus::Channel&) override { VG_CHECK(false); }
    void signalled(vmbus::Channel& channel) override {
        vmbus::Packet packet;
        if (&channel == whole_) {
            while (channel.receive(packet)) ++whole_packets_;
            return channel.flush();
        }
        // A guest that changes the index all the time never runs out of packets: a device takes so many in a turn.
        for (unsigned n = 0; n < 300 && channel.receive(packet); ++n) {
            ++done_.packets;
            check(packet);
            std::array<std::byte, 100> buffer{};
            for (const vmbus::GpaRange& range : packet.ranges) {
                (void)vmbus::read_range(channel.memory(), range, 0,
                                        std::span{buffer}.first(std::min(100u, range.length)));
                (void)vmbus::write_range(channel.memory(), range, range.length / 2, std::span{buffer}.first(1));
            }
            if (packet.wants_completion) (void)channel.complete(packet.transaction, packet.payload);
        }
        channel.flush();
        VG_CHECK(packet.payload.capacity() <= 2 * data_bytes);
    }
    static void check(const vmbus::Packet& packet) {
        using vmbus::PacketType;
        std::size_t bytes = 24 + packet.payload.size();
        VG_CHECK(packet.payload.size() % 8 == 0);
        VG_CHECK(packet.type == PacketType::gpa_direct || packet.ranges.empty());
        VG_CHECK(packet.type == PacketType::transfer_pages || (packet.transfers.empty() && packet.page_set == 0));
        if (packet.type == PacketType::gpa_direct || packet.type == PacketType::transfer_pages) bytes += 8;
        bytes += packet.transfers.size() * 8;
        for (const vmbus::GpaRange& range : packet.ranges) {
            bytes += 8 + range.pages.size() * 8;
            VG_CHECK(range.length != 0 && range.offset < 4096);
            VG_CHECK(range.pages.size() == (std::uint64_t{range.offset} + range.length + 4095) / 4096);
        }
        VG_CHECK(bytes <= data_bytes);
    }

    std::span<const std::uint8_t> input_;
    std::uint8_t storm_ = 0;  // which accesses the guest gets into
    unsigned whole_packets_ = 0;
    std::uint64_t stray_ = 0;
    vmbus::Channel* broken_ = nullptr;
    vmbus::Channel* whole_ = nullptr;
    Done done_;
    vmbus::test::RawGuest guest_;
};

inline int vmbus_ring(std::span<const std::uint8_t> data, HostileRing::Done* done = nullptr) {
    HostileRing ring{data};
    ring.run();
    if (done != nullptr) {
        done->packets += ring.done().packets;
        done->sent += ring.done().sent;
        done->ended += ring.done().ended;
        done->changes += ring.done().changes;
    }
    return 0;
}

}  // namespace fuzz
