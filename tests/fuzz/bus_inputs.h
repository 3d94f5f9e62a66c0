// Entry point that takes hostile bytes to a bus: control messages of any form and in any order, most of them nearly
// right by the message table, with whatever devices and the partition do meanwhile. As a libFuzzer target
// (fuzz_vmbus_bus.cpp), and with fixed seeds in the ordinary test run (tests/vmbus/bus_fuzz_test.cpp). A property that
// fails is a VG_CHECK.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <set>
#include <span>
#include <vector>

#include "sim/check.h"
#include "tests/vmbus/raw_guest.h"
#include "vmbus/server.h"

namespace fuzz {

class HostileBus final : private vmbus::ChannelDevice, private vmbus::SocketListener {
public:
    struct Done {
        std::uint64_t messages = 0;
        std::uint64_t answers = 0;
        std::uint64_t refused = 0;
        std::uint64_t opened = 0;
        std::uint64_t gpadls = 0;
        std::uint64_t packets = 0;
    };

    explicit HostileBus(std::span<const std::uint8_t> input) : input_(input), guest_(config(), pages) {
        guest_.server.set_socket_listener(this);
        for (std::uint8_t n = take<std::uint8_t>() & 3; n > 0; --n) offer();
    }

    void run() {
        while (!input_.empty()) {
            act();
            read_answers();
            check();
            fetch_needs();
        }
        // Whatever happened, a reset leaves nothing of it.
        guest_.server.reset();
        guest_.run(sim::Time::ms(5));
        check();
        VG_CHECK(open_.empty() && guest_.connections.empty() && guest_.server.needs().empty());
        VG_CHECK(guest_.server.gpadl_pages() == 0 && guest_.server.queued_messages() == 0);
        VG_CHECK(guest_.server.version() == vmbus::version::none);
        VG_CHECK(guest_.server.channel_count() == offered_.size());
        VG_CHECK(guest_.simulation.agenda().next_event().is_never());
        done_.refused += guest_.all_refused();
    }
    const Done& done() const { return done_; }
    sim::Simulation& simulation() { return guest_.simulation; }

private:
    static constexpr std::uint64_t pages = 40;
    static constexpr std::uint64_t page_limit = 300;
    static constexpr std::size_t most_channels = 12;

    static vmbus::ServerConfig config() {
        vmbus::ServerConfig made;
        made.gpadl_page_limit = page_limit;
        return made;
    }

    template <class T>
    T take() {
        T value{};
        const std::size_t n = std::min(input_.size(), sizeof value);
        if (n != 0) std::memcpy(&value, input_.data(), n);
        input_ = input_.subspan(n);
        return value;
    }
    std::uint32_t below(std::uint32_t bound) { return take<std::uint8_t>() % bound; }

    void act() {
        const auto kind = take<std::uint8_t>();
        if (kind < 150) return say_from_table(kind);
        if (kind < 170) return do_right(kind);
        switch (kind % 12) {
            case 0:
                return say_anything();
            case 1:
                return offer();
            case 2:
                if (vmbus::Channel* channel = any(); channel != nullptr) rescind(*channel);
                return;
            case 3:
                if (vmbus::Channel* channel = any(); channel != nullptr) channel->fault("hostile");
                return;
            case 4:
                return guest_.run(sim::Time::us(take<std::uint16_t>() & 0x7ff));
            case 5:
                guest_.room = below(4) == 0 ? guest_.heard.size() : 1'000'000;
                return;
            case 6:
            case 7:
                return guest_.server.guest_signal(below(8) == 0 ? take<std::uint32_t>() : 0x2000 + below(16));
            case 8:
                return guest_.set_word(std::uint64_t{take<std::uint16_t>()} * 4 % (pages * 4096), word());
            case 9:
                answer_ = below(4) == 0 ? 0xc000'0001 : 0;
                return;
            case 10:
                if (vmbus::Channel* channel = any(); channel != nullptr) use(*channel);
                return;
            default:
                if (below(16) == 0) guest_.server.reset();
                return;
        }
    }

    // Values that are often what the bus knows.
    std::uint32_t word() {
        const auto kind = take<std::uint8_t>();
        if (kind < 200) return kind & 15;
        if (kind < 220) return (kind & 15) * 4096u;
        return take<std::uint32_t>();
    }
    std::uint32_t version() {
        const auto kind = take<std::uint8_t>();
        return kind < 240 ? vmbus::version::all[kind % vmbus::version::all.size()] : take<std::uint32_t>();
    }

    void say(std::span<const std::byte> bytes) {
        ++done_.messages;
        guest_.server.guest_message(bytes);
    }

    // What a guest does that means well.
    void do_right(std::uint8_t kind) {
        const std::uint32_t relid = 1 + below(most_channels);
        if (guest_.server.version() == vmbus::version::none) {
            (void)guest_.connect(version(), (kind & 1) != 0);
        } else if (kind < 164) {
            ring_pages_[relid] = below(pages - 4);
            (void)guest_.open_at(relid, ring_pages_[relid], below(4));
        } else {
            const std::uint64_t page = ring_pages_[relid];
            guest_.put_packet(page, guest_.word(page * 4096) % 4064 / 8 * 8, kind);
            guest_.server.guest_signal(vmbus::Server::connection_of(static_cast<std::uint16_t>(relid)));
        }
    }

    void say_from_table(std::uint8_t kind) {
        using vmbus::MessageType;
        std::array<const vmbus::MessageRow*, vmbus::message_table.size()> rows{};
        std::size_t count = 0;
        for (const vmbus::MessageRow& row : vmbus::message_table) {
            if (row.direction == vmbus::Direction::to_host) rows[count++] = &row;
        }
        const auto form = take<std::uint8_t>();
        // Beginning anew and ending are rare, so that there is something to end.
        const bool ends = rows[kind % count]->type == MessageType::initiate_contact ||
                          rows[kind % count]->type == MessageType::unload;
        if (ends && (form & 0xc0) != 0) return do_right(kind);
        const vmbus::MessageRow& row = *rows[kind % count];
        std::vector<std::byte> bytes(row.size);
        for (std::size_t at = 8; at + 4 <= bytes.size() && at < 28; at += 4) {
            const std::uint32_t value = word();
            std::memcpy(bytes.data() + at, &value, 4);
        }
        std::memcpy(bytes.data(), &row.type, 4);
        if (row.type == MessageType::initiate_contact) {
            vmbus::message::InitiateContact contact;
            contact.version = version();
            contact.target_vp = form >> 6;
            contact.interrupt_page_or_target = contact.version >= vmbus::version::v5_0 ? 2 : 30 * 4096;
            if ((form & 3) == 1) contact.monitor_page_to_guest = std::uint64_t{word()} * 4096;
            if ((form & 2) != 0) contact.monitor_page_to_guest = 31 * 4096;
            if ((form & 2) != 0) contact.monitor_page_to_host = 32 * 4096;
            if ((form & 0x3c) == 0x3c) contact.interrupt_page_or_target = take<std::uint64_t>();
            std::memcpy(bytes.data(), static_cast<const void*>(&contact), sizeof contact);
        }
        if (row.type == MessageType::gpadl_header && (form & 0xf) != 0) {
            // One or two ranges that mostly fit.
            vmbus::message::GpadlHeader header;
            header.relid = word();
            header.gpadl = below(8);
            const std::uint32_t length = (form & 0x10) != 0 ? 1 + word() : (4 + below(40)) * 4096;
            header.range_count = static_cast<std::uint16_t>((form & 0x60) == 0x60 ? word() : 1);
            header.range_bytes = static_cast<std::uint16_t>((2 + (length - 1) / 4096) * 8);
            if ((form & 0x80) != 0 && (form & 0x40) != 0) header.range_bytes = take<std::uint16_t>();
            std::memcpy(bytes.data(), static_cast<const void*>(&header), sizeof header);
            add_pages(bytes, length, (form & 0x80) != 0 ? below(28) : 27);
        } else if (row.type == MessageType::gpadl_body) {
            const std::uint32_t gpadl = below(8);
            std::memcpy(bytes.data() + 12, &gpadl, 4);
            add_pages(bytes, word(), below(29));
            bytes.erase(bytes.begin() + 16, bytes.begin() + 24);
        }
        if ((form & 0x3f) == 0x3f) bytes.resize(below(241));
        say(bytes);
    }
    void add_pages(std::vector<std::byte>& bytes, std::uint32_t length, std::uint32_t count) {
        const std::uint64_t head = length;
        const auto first = take<std::uint8_t>();
        const auto put = [&](std::uint64_t value) {
            const auto part = std::as_bytes(std::span{&value, 1});
            bytes.insert(bytes.end(), part.begin(), part.end());
        };
        put(head);
        for (std::uint32_t n = 0; n < count && bytes.size() + 8 <= vmbus::longest_message; ++n)
            put(first == 255 ? take<std::uint64_t>() : (first + n) % pages);
    }
    void say_anything() {
        std::vector<std::byte> bytes(below(241));
        for (auto& byte : bytes) byte = static_cast<std::byte>(take<std::uint8_t>());
        say(bytes);
    }

    void offer() {
        if (offered_.size() >= most_channels) return;
        vmbus::Offer made;
        made.type = vmbus::interface_type::network;
        made.instance.bytes[0] = static_cast<std::uint8_t>(++offers_);
        made.instance.bytes[1] = static_cast<std::uint8_t>(offers_ >> 8);
        if (below(4) == 0) made.monitor_latency_100ns = static_cast<std::uint16_t>(50 + below(200));
        offered_.push_back(&guest_.server.offer(made, *this));
    }
    vmbus::Channel* any() { return offered_.empty() ? nullptr : offered_[below(most_channels) % offered_.size()]; }
    void rescind(vmbus::Channel& channel) { guest_.server.rescind(channel); }
    void use(vmbus::Channel& channel) {
        const auto what = take<std::uint8_t>();
        const std::vector<std::byte> payload(what);
        if ((what & 3) == 0 && channel.is_open() && channel.offer().sub_channel_index == 0 &&
            offered_.size() < most_channels) {
            offered_.push_back(&guest_.server.offer_sub_channel(channel, *this));
            return;
        }
        std::array<std::byte, 64> buffer{};
        (void)channel.gpadl_read(below(8), take<std::uint16_t>(), buffer);
        (void)channel.gpadl_write(below(8), take<std::uint16_t>(), buffer);
        for (unsigned n = 0; n < 8 && channel.send(n, payload, false); ++n) continue;
        channel.flush();
    }

    // Only of what is there: the rest is for the sanitizers.
    void fetch_needs() {
        const sim::WorkingSet& needs = guest_.server.needs();
        VG_CHECK(!open_.empty() || needs.empty());
        needs.fetch();
        std::size_t at = 0, room = ~std::size_t{0};
        VG_CHECK(!needs.fetch_some_contents(at, room));
    }

    // ChannelDevice
    void add_needs(const vmbus::Channel& channel, sim::WorkingSet& set) const override { channel.add_needs(set); }
    std::uint32_t open(vmbus::Channel& channel, std::span<const std::byte, 120>) override {
        VG_CHECK(channel.is_open() && channel.relid() != 0);
        if (answer_ != 0) return answer_;
        ++done_.opened;
        VG_CHECK(open_.insert(&channel).second);
        if (below(16) == 0) channel.fault("at once");
        if (below(16) == 0) rescind(channel);
        return 0;
    }
    void closed(vmbus::Channel& channel) override {
        VG_CHECK(open_.erase(&channel) == 1 && !channel.is_open());
        vmbus::Packet packet;
        VG_CHECK(!channel.receive(packet) && !channel.send(1, {}, false));
        if (below(16) == 0) rescind(channel);
        if (below(16) == 0) offer();
    }
    void signalled(vmbus::Channel& channel) override {
        VG_CHECK(channel.is_open() && open_.contains(&channel));
        vmbus::Packet packet;
        for (unsigned n = 0; n < 600 && channel.receive(packet); ++n) {
            ++done_.packets;
            VG_CHECK(packet.payload.size() <= page_limit * 4096);
            (void)channel.complete(packet.transaction, packet.payload);
        }
        channel.flush();
        if (below(16) == 0) rescind(channel);
    }
    void released(vmbus::Channel& channel) override {
        VG_CHECK(!channel.is_open() && !open_.contains(&channel));
        VG_CHECK(std::erase(offered_, &channel) == 1);
    }
    // SocketListener
    bool connect(const vmbus::Guid& endpoint, const vmbus::Guid& service) override {
        // It listens at no device's.
        if (below(2) == 0 || offered_.size() >= most_channels || service == vmbus::interface_type::network)
            return false;
        vmbus::Offer made;
        made.type = service;
        made.instance = endpoint;
        made.flags = vmbus::Offer::socket_provider;
        offered_.push_back(&guest_.server.offer(made, *this));
        return true;
    }

    // What the guest is told makes sense by the table, and no relid is given twice.
    void read_answers() {
        using namespace vmbus;
        while (!guest_.heard.empty()) {
            ++done_.answers;
            const auto& [vp, bytes] = guest_.heard.front();
            const auto type = type_of(bytes);
            VG_CHECK(vp < test::RawGuest::processors && type.has_value());
            const MessageRow* row = find_message(*type);
            VG_CHECK(row != nullptr && row->direction == Direction::to_guest && bytes.size() == row->size);
            if (*type == MessageType::offer_channel) {
                const auto offer = *read_as<message::OfferChannel>(bytes);
                VG_CHECK(offer.relid >= 1 && offer.relid <= Server::largest_relid);
            }
            if (*type == MessageType::gpadl_created) ++done_.gpadls;
            guest_.heard.pop_front();
        }
        if (guest_.room < 1'000'000) guest_.room = 0;
    }

    void check() {
        for (std::size_t n = 0; n < offered_.size(); ++n) {
            vmbus::Channel* channel = offered_[n];
            for (std::size_t other = 0; other < n && channel->relid() != 0; ++other) {
                VG_CHECK(offered_[other]->relid() != channel->relid());
            }
            if (channel->is_open()) {
                VG_CHECK(channel->relid() != 0 && open_.contains(channel));
                VG_CHECK(guest_.connections.contains(vmbus::Server::connection_of(channel->relid())));
            }
        }
        VG_CHECK(guest_.server.gpadl_pages() <= page_limit);
        VG_CHECK(guest_.server.queued_messages() <= 3 * most_channels + 600);
        VG_CHECK(guest_.connections.size() <= open_.size() + 1);
    }

    std::span<const std::uint8_t> input_;
    std::uint32_t answer_ = 0;
    std::uint32_t offers_ = 0;
    std::array<std::uint32_t, most_channels + 1> ring_pages_{};  // by relid, as last opened
    std::vector<vmbus::Channel*> offered_;
    std::set<vmbus::Channel*> open_;  // order: never iterated
    Done done_;
    vmbus::test::RawGuest guest_;
};

inline int vmbus_bus(std::span<const std::uint8_t> data, HostileBus::Done* done = nullptr) {
    HostileBus bus{data};
    bus.run();
    if (done != nullptr) {
        done->messages += bus.done().messages;
        done->answers += bus.done().answers;
        done->refused += bus.done().refused;
        done->opened += bus.done().opened;
        done->gpadls += bus.done().gpadls;
        done->packets += bus.done().packets;
    }
    return 0;
}

}  // namespace fuzz
