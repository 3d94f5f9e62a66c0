// Entry point that takes hostile bytes to the network service: messages of NVSP and RNDIS, well formed, nearly so or
// not at all, on any channel, in any state, while the host has frames and news for the guest. As a libFuzzer target
// (fuzz_vmbus_network.cpp), and with fixed seeds in the ordinary test run (tests/vmbus/network_fuzz_test.cpp). A
// property that fails is a VG_CHECK.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <optional>
#include <set>
#include <span>
#include <vector>

#include "sim/archive.h"
#include "sim/check.h"
#include "tests/vmbus/network_rig.h"

namespace fuzz {

class HostileNetwork final {
public:
    struct Done {
        std::uint64_t packets = 0;
        std::uint64_t completions = 0;
        std::uint64_t replies = 0;  // of RNDIS
        std::uint64_t frames_sent = 0;
        std::uint64_t frames_received = 0;
        std::uint64_t faults = 0;
    };

    explicit HostileNetwork(std::span<const std::uint8_t> input) : input_(input), rig_(config(), memory_bytes) {
        const auto shape = take<std::uint8_t>();
        rig_.bus.observer = [this](const auto&, const vmbus::network_rig::Sent& sent) {
            if (sent.type == vmbus::PacketType::transfer_pages) look_at_pages(sent);
        };
        stubborn_ = (shape & 0x80) != 0;
        version_ = vmbus::nvsp::versions[shape % 6];
        rig_.port.switch_at_once = (shape & 0x08) == 0;
        if ((shape & 0x30) == 0) return;
        bring_up();
        if ((shape & 0x40) != 0) add_channels(3);
    }

    void run() {
        for (unsigned acts = 0; !input_.empty() && acts < 200; ++acts) act();
        rig_.channel().room = 1000;
        for (int n = 0; n < 3; ++n) settle();
        check_size();
        rig_.bus.close(0);
        // Every frame that there was for the guest was delivered, or dropped for one reason.
        const auto& to_guest = rig_.provider.to_guest();
        VG_CHECK(given_ == to_guest.frames() + to_guest.discards + rig_.provider.dropped(vmbus::NetworkDrop::filtered));
        VG_CHECK(done_.frames_received == to_guest.frames());
        VG_CHECK(rig_.port.frames.size() <= rig_.provider.from_guest().frames());
        VG_CHECK(!rig_.provider.ready() && rig_.provider.version() == 0 && rig_.provider.open_channels() == 0);
        done_.frames_sent = rig_.port.frames.size();
    }
    const Done& done() const { return done_; }
    sim::Simulation& simulation() { return rig_.simulation; }

private:
    using Bytes = vmbus::network_rig::Bytes;
    static constexpr std::size_t memory_bytes = 64 << 10;
    static constexpr std::uint32_t receive_gpadl = vmbus::network_rig::Rig::receive_gpadl;
    static constexpr std::uint32_t send_gpadl = vmbus::network_rig::Rig::send_gpadl;

    static vmbus::NetworkProvider::Config config() {
        auto config = vmbus::network_rig::ordinary_config(4);
        config.adapter.offloads = vmbus::OffloadSettings::all(true);
        config.adapter.address_change_allowed = true;
        config.backlog = 32;
        config.batch = 8;
        return config;
    }

    template <class T>
    T take() {
        T value{};
        const std::size_t n = std::min(input_.size(), sizeof value);
        if (n != 0) std::memcpy(&value, input_.data(), n);
        input_ = input_.subspan(n);
        return value;
    }
    Bytes take_bytes(std::size_t most) {
        const std::size_t n = std::min({input_.size(), most, std::size_t{take<std::uint8_t>()}});
        const auto taken = std::as_bytes(input_.first(std::min(n, input_.size())));
        input_ = input_.subspan(taken.size());
        return {taken.begin(), taken.end()};
    }
    // Values that lie at the edges of something, or anywhere.
    std::uint32_t value() {
        constexpr std::array<std::uint32_t, 24> edges{
            0,  1,    2,    3,    4,    8,    12,     16,     20,     36,          40,          44,
            64, 1514, 1728, 4095, 4096, 6144, 0xcafe, 0xffff, 65'536, 0x7fff'ffff, 0xffff'fff8, 0xffff'ffff};
        const auto kind = take<std::uint8_t>();
        if (kind < 120) return edges[kind % edges.size()];
        if (kind < 200) return take<std::uint8_t>();
        if (kind < 230) return take<std::uint16_t>();
        return take<std::uint32_t>();
    }

    // -- What the guest hears.

    std::size_t any_channel() { return take<std::uint8_t>() % rig_.bus.channels.size(); }

    // Everything on a channel's ring, checked as a guest's driver relies on it.
    void hear(std::size_t on) {
        auto& channel = rig_.channel(on);
        for (auto sent = channel.take(); sent; sent = channel.take()) {
            const auto type = vmbus::read_layout<std::uint32_t>(sent->payload);
            const auto* row = type ? vmbus::nvsp::find(*type) : nullptr;
            if (sent->type == vmbus::PacketType::completion) {
                // Asked for, and not yet answered.
                const auto found = asked_.find({on, sent->transaction});
                VG_CHECK(found != asked_.end());
                asked_.erase(found);
                ++done_.completions;
                if (sent->payload.empty()) continue;
                VG_CHECK(row != nullptr && sent->payload.size() == 40);
                continue;
            }
            VG_CHECK(row != nullptr && row->direction != vmbus::nvsp::Direction::to_host);
            VG_CHECK(sent->payload.size() == (row->bytes > 40 ? row->bytes : 40u));
            if (sent->type == vmbus::PacketType::transfer_pages) away_.emplace_back(on, sent->transaction);
        }
    }
    // What lies in the receive buffer when a packet says so.
    void look_at_pages(const vmbus::network_rig::Sent& sent) {
        const auto& gpadl = rig_.channel().gpadls.at(rig_.provider.receive_buffer().gpadl());
        VG_CHECK(sent.ranges.size() <= vmbus::nvsp::maximum_ranges && !sent.ranges.empty());
        VG_CHECK(sent.page_set == rig_.provider.receive_buffer().id());
        bool within = false;
        for (const auto& range : sent.ranges) {
            VG_CHECK(range.length <= rig_.provider.receive_buffer().section_bytes());
            const auto message = vmbus::part(gpadl, range.offset, range.length);
            VG_CHECK(message.has_value());
            const auto header = vmbus::network_rig::as<vmbus::rndis::Header>(*message);
            VG_CHECK(header.length == message->size());
            if (header.type != vmbus::rndis::MessageType::packet) {
                ++done_.replies;
                const auto* row = vmbus::rndis::find(static_cast<std::uint32_t>(header.type));
                VG_CHECK(row != nullptr && row->direction == vmbus::nvsp::Direction::to_guest);
                VG_CHECK(header.length >= row->bytes);
                continue;
            }
            vmbus::ReceivedMessage received;
            VG_CHECK(vmbus::parse_received_message(*message, received));
            VG_CHECK(received.first != within);
            within = !received.last;
            if (received.last) ++done_.frames_received;
        }
        VG_CHECK(!within);
    }
    void settle() {
        pass_time();
        for (std::size_t n = 0; n < rig_.bus.channels.size(); ++n) hear(n);
        const auto& buffer = rig_.provider.receive_buffer();
        VG_CHECK(buffer.with_guest() <= buffer.count());
        if (stubborn_ && !rig_.channel().is_open() && !input_.empty()) bring_up();
    }
    void pass_time() {
        rig_.run();
        note_faults();
    }
    void note_faults() {
        for (std::size_t n = 0; n < rig_.bus.channels.size(); ++n) {
            auto& channel = rig_.channel(n);
            if (channel.fault_reason.empty()) continue;
            ++done_.faults;
            channel.fault_reason.clear();
            forget(n);
        }
    }
    void forget(std::size_t channel) {
        std::erase_if(away_, [&](const auto& one) { return one.first == channel || channel == 0; });
        std::erase_if(asked_, [&](const auto& one) { return one.first == channel || channel == 0; });
    }
    // What a guest can make the service keep is bounded.
    void check_size() {
        sim::Writer writer;
        rig_.provider.save(writer);
        VG_CHECK(writer.data().size() < 2'000'000);
    }

    // -- What it does.

    void put(vmbus::Packet packet, std::size_t on) {
        ++done_.packets;
        packet.transaction = next_transaction_++;
        if (packet.wants_completion && packet.type != vmbus::PacketType::completion && rig_.channel(on).is_open()) {
            asked_.emplace(on, packet.transaction);
        }
        rig_.channel(on).put(std::move(packet));
    }

    void bring_up() {
        auto& channel = rig_.channel();
        if (channel.is_open()) return;
        if (!channel.open()) return;
        tell(vmbus::nvsp::Init{vmbus::nvsp::MessageType::init, version_, version_});
        channel.gpadls[receive_gpadl] = Bytes(receive_bytes);
        channel.gpadls[send_gpadl] = Bytes(2 * 6144);
        if (version_ >= vmbus::nvsp::version_2) {
            vmbus::nvsp::SendNdisConfig config;
            config.mtu = 1514;
            config.capabilities = 0xff;
            tell(config);
        }
        tell(vmbus::nvsp::SendNdisVersion{});
        tell(vmbus::nvsp::SendBuffer{vmbus::nvsp::MessageType::send_receive_buffer, receive_gpadl, 0xcafe, 0});
        tell(vmbus::nvsp::SendBuffer{vmbus::nvsp::MessageType::send_send_buffer, send_gpadl, 0, 0});
        control(vmbus::rndis::message(vmbus::rndis::MessageType::initialize, vmbus::rndis::Initialize{}));
        vmbus::rndis::Query filter;
        filter.oid = static_cast<std::uint32_t>(vmbus::ndis::Oid::current_packet_filter);
        filter.information_bytes = 4;
        filter.information_offset = sizeof(filter);
        constexpr std::array promiscuous{std::byte{0x20}, std::byte{0}, std::byte{0}, std::byte{0}};
        control(vmbus::rndis::message(vmbus::rndis::MessageType::set, filter, promiscuous));
        settle();
        give_back_all();
    }
    template <class Message>
    void tell(const Message& message) {
        vmbus::Packet packet;
        packet.wants_completion = true;
        packet.payload = vmbus::network_rig::image_of(message, 40);
        put(std::move(packet), 0);
    }
    void control(const Bytes& message) {
        put(by_memory(message, 1), 0);
        pass_time();
    }
    void add_channels(std::uint32_t count) {
        tell(vmbus::nvsp::SubChannelRequest{vmbus::nvsp::MessageType::sub_channel, 1, count});
        settle();
        for (std::size_t n = 1; n < rig_.bus.channels.size(); ++n) (void)rig_.channel(n).open();
        settle();
    }
    void give_back_all() {
        for (const auto& [on, transaction] : away_) {
            if (on < rig_.bus.channels.size()) rig_.give_back(transaction, on);
        }
        away_.clear();
        pass_time();
    }

    vmbus::Packet by_memory(std::span<const std::byte> content, std::uint32_t channel_type) {
        const std::uint64_t gpa = 0x1000 + take<std::uint8_t>() % 0x200 * 8;
        const auto kept = content.first(std::min<std::size_t>(content.size(), memory_bytes - 0x4000));
        VG_CHECK(rig_.bus.memory.write(gpa, kept));
        vmbus::nvsp::SendRndisPacket message;
        message.channel_type = channel_type;
        vmbus::Packet packet;
        packet.type = vmbus::PacketType::gpa_direct;
        packet.wants_completion = true;
        packet.payload = vmbus::network_rig::image_of(message, 40);
        vmbus::GpaRange range;
        range.length = static_cast<std::uint32_t>(kept.size());
        range.offset = static_cast<std::uint32_t>(gpa & 0xfff);
        for (std::uint64_t page = gpa >> 12; page <= (gpa + kept.size()) >> 12; ++page) range.pages.push_back(page);
        packet.ranges.push_back(std::move(range));
        return packet;
    }

    // Changes some fields of a message, by its table's row.
    template <class Row>
    void mistreat(Bytes& bytes, const Row* row) {
        const auto kind = take<std::uint8_t>();
        if ((kind & 0x10) != 0) return;  // well formed
        for (unsigned n = kind & 3; n != 0 && row != nullptr; --n) {
            const auto& field = row->fields[take<std::uint8_t>() % row->fields.size()];
            if (field.name.empty() || field.offset + field.bytes > bytes.size()) continue;
            const std::uint64_t number = value();
            std::memcpy(bytes.data() + field.offset, &number, field.bytes);
        }
        for (unsigned n = kind >> 2 & 3; n != 0 && !bytes.empty(); --n) {
            bytes[take<std::uint16_t>() % bytes.size()] = static_cast<std::byte>(take<std::uint8_t>());
        }
        if (kind >= 0xe0) bytes.resize(take<std::uint8_t>() % (bytes.size() + 1));
    }

    void nvsp_message() {
        const auto& row = vmbus::nvsp::messages[take<std::uint8_t>() % vmbus::nvsp::messages.size()];
        Bytes bytes = vmbus::network_rig::image_of(row.type, 40);
        for (const auto& field : row.fields) {
            if (field.name.empty()) break;
            const std::uint64_t number = field.name == "gpadl" ? receive_gpadl + (take<std::uint8_t>() & 1) : value();
            std::memcpy(bytes.data() + field.offset, &number, field.bytes);
        }
        mistreat(bytes, &row);
        vmbus::Packet packet;
        const auto kind = take<std::uint8_t>();
        packet.type = (kind & 0xe0) != 0 ? vmbus::PacketType::inband : vmbus::PacketType::gpa_direct;
        packet.wants_completion = (kind & 1) != 0;
        packet.payload = std::move(bytes);
        put(std::move(packet), any_channel());
    }

    Bytes information(vmbus::ndis::Oid oid) {
        using vmbus::ndis::Oid;
        Bytes bytes;
        switch (oid) {
            case Oid::tcp_offload_parameters: {
                vmbus::ndis::OffloadParameters p;
                bytes = vmbus::network_rig::image_of(p);
                for (std::size_t n = 4; n < bytes.size(); ++n)
                    bytes[n] = static_cast<std::byte>(take<std::uint8_t>() % 6);
                break;
            }
            case Oid::receive_scale_parameters: {
                vmbus::ndis::RssParameters p;
                p.flags = take<std::uint8_t>() & 0x1f;
                p.hash_information = 0x1701;
                p.table_bytes = static_cast<std::uint16_t>(4 * (take<std::uint8_t>() % 130));
                p.key_bytes = 40;
                p.key_offset = 40 + p.table_bytes;
                bytes = vmbus::network_rig::image_of(p);
                for (int n = 0; n < p.table_bytes / 4; ++n) vmbus::append_layout(bytes, take<std::uint8_t>() % 5u);
                bytes.resize(bytes.size() + 40);
                break;
            }
            case Oid::rndis_config_parameter: {
                vmbus::ndis::ConfigParameter p{20, 28, 2, 48, 24};
                bytes = vmbus::network_rig::image_of(p);
                for (const char c : std::string_view{"NetworkAddress0200000000ff"}) {
                    vmbus::append_layout(bytes, static_cast<std::uint16_t>(c));
                }
                break;
            }
            default:
                bytes = take_bytes(64);
                break;
        }
        const auto kind = take<std::uint8_t>();
        for (unsigned n = kind & 3; n != 0 && !bytes.empty(); --n) {
            bytes[take<std::uint16_t>() % bytes.size()] = static_cast<std::byte>(take<std::uint8_t>());
        }
        if (kind >= 0xf0) bytes.resize(take<std::uint8_t>() % (bytes.size() + 1));
        return bytes;
    }

    void rndis_message() {
        const auto& row = vmbus::rndis::messages[take<std::uint8_t>() % vmbus::rndis::messages.size()];
        Bytes bytes;
        if (row.type == vmbus::rndis::MessageType::query || row.type == vmbus::rndis::MessageType::set) {
            const auto& oid = vmbus::ndis::oids[take<std::uint8_t>() % vmbus::ndis::oids.size()];
            const Bytes content = information(oid.oid);
            vmbus::rndis::Query body;
            body.oid = static_cast<std::uint32_t>(oid.oid);
            body.information_bytes = static_cast<std::uint32_t>(content.size());
            body.information_offset = sizeof(body);
            bytes = vmbus::rndis::message(row.type, body, content);
        } else {
            bytes = vmbus::network_rig::image_of(vmbus::rndis::Header{row.type, row.bytes}, row.bytes);
        }
        mistreat(bytes, &row);
        if (bytes.empty()) bytes.resize(1);
        put(by_memory(bytes, take<std::uint8_t>() & 1), any_channel());
    }

    vmbus::OutgoingFrame some_frame() {
        vmbus::OutgoingFrame frame;
        const auto kind = take<std::uint8_t>();
        frame.bytes = vmbus::network_rig::frame_of(14 + value() % 3000, (kind & 1) != 0 ? 6 : 17);
        if ((kind & 2) != 0) frame.bytes[12] = std::byte{0x86};
        if ((kind & 2) != 0) frame.bytes[13] = std::byte{0xdd};
        if ((kind & 0x08) != 0) return frame;
        frame.fill_tcp_checksum = (kind & 4) != 0;
        frame.fill_udp_checksum = (kind & 5) == 1;
        frame.fill_ip_checksum = (kind & 16) != 0;
        if ((kind & 0x60) == 0x60) frame.large_send_mss = take<std::uint16_t>();
        frame.transport_offset = take<std::uint8_t>();
        if ((kind & 0x80) != 0) frame.vlan_tci = take<std::uint16_t>();
        if ((kind & 0x40) != 0) frame.hash = take<std::uint32_t>();
        return frame;
    }

    void data_messages() {
        Bytes all;
        const auto kind = take<std::uint8_t>();
        for (unsigned n = 0; n <= (kind & 3u); ++n) {
            Bytes message = vmbus::data_message(some_frame(), 8);
            mistreat(message, &vmbus::rndis::messages[0]);
            all.insert(all.end(), message.begin(), message.end());
        }
        if (all.empty()) all.resize(1);
        const std::size_t on = any_channel();
        if ((kind & 4) != 0) return put(by_memory(all, 0), on);
        // A section, with the rest in memory or without.
        auto& gpadls = rig_.channel().gpadls;
        const auto found = gpadls.find(send_gpadl);
        const std::size_t copied = std::min<std::size_t>({all.size(), 6144, value()});
        if (found != gpadls.end() && found->second.size() >= copied) {
            std::copy_n(all.begin(), copied, found->second.begin());
        }
        vmbus::Packet packet = by_memory(std::span{all}.subspan(copied), 0);
        vmbus::nvsp::SendRndisPacket header;
        header.section = (kind & 0x18) == 0x18 ? value() : 0;
        header.section_bytes = (kind & 0x60) == 0x60 ? value() : static_cast<std::uint32_t>(copied);
        packet.payload = vmbus::network_rig::image_of(header, 40);
        if (copied == all.size()) {
            packet.type = vmbus::PacketType::inband;
            packet.ranges.clear();
        } else if (kind >= 0xe0) {
            packet.ranges[0].pages[0] = value();
        }
        put(std::move(packet), on);
    }

    void raw_packet() {
        constexpr std::array types{vmbus::PacketType::inband, vmbus::PacketType::gpa_direct,
                                   vmbus::PacketType::completion, vmbus::PacketType::transfer_pages};
        vmbus::Packet packet;
        packet.type = types[take<std::uint8_t>() % types.size()];
        packet.wants_completion = (take<std::uint8_t>() & 1) != 0;
        packet.payload = take_bytes(128);
        put(std::move(packet), any_channel());
    }

    void frames_for_guest() {
        std::vector<vmbus::IncomingFrame> frames(1 + take<std::uint8_t>() % 12);
        for (auto& frame : frames) {
            auto made = some_frame();
            if (frames.size() < 3) made.bytes.resize(value() % 70'000);
            frame.bytes = std::move(made.bytes);
            frame.vlan_tci = made.vlan_tci;
            frame.hash = made.hash;
            const auto kind = take<std::uint8_t>();
            frame.ip_checksum = static_cast<vmbus::ChecksumState>(kind & 3);
            frame.tcp_checksum = static_cast<vmbus::ChecksumState>(kind >> 2 & 3);
            frame.udp_checksum = static_cast<vmbus::ChecksumState>(kind >> 4 & 3);
            frame.coalesced_segments = kind >> 6;
        }
        given_ += frames.size();
        rig_.provider.receive(frames);
    }

    void host_news() {
        auto& provider = rig_.provider;
        switch (take<std::uint8_t>() % 8) {
            case 0:
                return provider.set_link((take<std::uint8_t>() & 1) != 0);
            case 1:
                return provider.set_link_speed(take<std::uint64_t>());
            case 2:
                return provider.network_changed();
            case 3:
                return provider.associate_vf(take<std::uint8_t>());
            case 4:
                return provider.revoke_vf();
            case 5:
                return provider.data_path_switched();
            default:
                return frames_for_guest();
        }
    }

    void guest_moves() {
        const std::size_t on = any_channel();
        auto& channel = rig_.channel(on);
        switch (take<std::uint8_t>() % 8) {
            case 0:
                settle();
                if (on >= rig_.bus.channels.size()) return;
                forget(on);
                rig_.bus.close(on);
                return;
            case 1:
                return bring_up();
            case 2:
                return add_channels(value());
            case 3:
                if (!channel.is_open()) (void)channel.open();
                return;
            case 4:
                rig_.channel().gpadls.erase(receive_gpadl + (take<std::uint8_t>() & 1));
                return;
            case 5:
                channel.room = take<std::uint8_t>() % 16;
                return;
            case 6:
                channel.room = 1000;
                return;
            default:
                if (!away_.empty()) {
                    const auto one = away_[take<std::uint8_t>() % away_.size()];
                    if (one.first < rig_.bus.channels.size())
                        rig_.give_back(one.second + take<std::uint8_t>() % 2, one.first);
                }
                return;
        }
    }

    void act() {
        switch (take<std::uint8_t>() % 16) {
            case 0:
            case 1:
                return nvsp_message();
            case 2:
            case 3:
            case 4:
                return rndis_message();
            case 5:
            case 6:
            case 7:
                return data_messages();
            case 8:
                return raw_packet();
            case 9:
            case 10:
                return host_news();
            case 11:
                return guest_moves();
            case 12:
                return give_back_all();
            case 13:
                rig_.simulation.agenda().run_until(rig_.simulation.agenda().now() +
                                                   sim::Time::ns(take<std::uint16_t>()));
                return note_faults();
            default:
                return settle();
        }
    }

    static constexpr std::size_t receive_bytes = 40 * 1728;

    std::span<const std::uint8_t> input_;
    vmbus::network_rig::Rig rig_;
    std::uint32_t version_ = 0;
    bool stubborn_ = false;  // comes back after each fault
    std::uint64_t next_transaction_ = 1;
    std::uint64_t given_ = 0;                                  // frames for the guest
    std::set<std::pair<std::size_t, std::uint64_t>> asked_;    // channel, transaction
    std::vector<std::pair<std::size_t, std::uint64_t>> away_;  // packets whose sections the guest has
    Done done_;
};

inline int vmbus_network(std::span<const std::uint8_t> data, HostileNetwork::Done* done = nullptr) {
    HostileNetwork network{data};
    network.run();
    if (done != nullptr) {
        done->packets += network.done().packets;
        done->completions += network.done().completions;
        done->replies += network.done().replies;
        done->frames_sent += network.done().frames_sent;
        done->frames_received += network.done().frames_received;
        done->faults += network.done().faults;
    }
    return 0;
}

}  // namespace fuzz
