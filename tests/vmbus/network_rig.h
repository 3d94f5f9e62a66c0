// The network service without a bus: a channel on which a test is the guest, packet by packet, and a switch port that
// keeps what it is told. For tests of messages and for fuzzing; tests/vmbus/loopback.h has the real rings.
#pragma once

#include <algorithm>
#include <array>
#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "sim/check.h"
#include "sim/processor.h"
#include "sim/simulation.h"
#include "vmbus/bus.h"
#include "vmbus/network/layout.h"
#include "vmbus/network/ndis.h"
#include "vmbus/network/network_provider.h"
#include "vmbus/network/nvsp.h"
#include "vmbus/network/rndis.h"
#include "vmbus/network/rndis_packet.h"

namespace vmbus::network_rig {

using Bytes = std::vector<std::byte>;

template <class T>
Bytes image_of(const T& value, std::size_t room = sizeof(T)) {
    Bytes bytes(std::max(room, sizeof(T)));
    std::memcpy(bytes.data(), &value, sizeof(T));
    return bytes;
}

template <class T>
T as(std::span<const std::byte> bytes, std::size_t at = 0) {
    const auto value = read_layout<T>(bytes, at);
    VG_CHECK(value.has_value(), "only {} bytes", bytes.size());
    return *value;
}

class Memory final : public GuestMemory {
public:
    explicit Memory(std::size_t size) : bytes(size) {}

    Bytes bytes;

    bool read(std::uint64_t gpa, std::span<std::byte> out) override {
        if (gpa > bytes.size() || bytes.size() - gpa < out.size()) return false;
        std::copy_n(bytes.begin() + static_cast<std::ptrdiff_t>(gpa), out.size(), out.begin());
        return true;
    }
    bool write(std::uint64_t gpa, std::span<const std::byte> data) override {
        if (gpa > bytes.size() || bytes.size() - gpa < data.size()) return false;
        std::copy(data.begin(), data.end(), bytes.begin() + static_cast<std::ptrdiff_t>(gpa));
        return true;
    }
};

// What the host sent.
struct Sent {
    PacketType type = PacketType::inband;
    std::uint64_t transaction = 0;
    bool wants_completion = false;
    std::uint16_t page_set = 0;
    std::vector<TransferRange> ranges;
    Bytes payload;
};

class FakeChannel final : public Channel {
public:
    // Sees what the host sends when it does.
    using Observer = std::function<void(const FakeChannel&, const Sent&)>;

    FakeChannel(const Offer& offer, ChannelDevice& device, Memory& memory, const Observer& observer)
        : offer_(offer), device_(&device), memory_(&memory), observer_(observer) {}

    // The guest's side.
    bool open() {
        constexpr std::array<std::byte, 120> user_data{};
        inbound.clear();
        sent.clear();
        open_ = device_->open(*this, user_data) == 0;
        return open_;
    }
    void close() {
        if (!std::exchange(open_, false) && !faulty) return;
        inbound.clear();
        sent.clear();
        device_->closed(*this);
    }
    void put(Packet packet) {
        packet.payload.resize((packet.payload.size() + 7) / 8 * 8);
        inbound.push_back(std::move(packet));
        if (open_) device_->signalled(*this);
    }
    std::optional<Sent> take() {
        if (sent.empty()) return std::nullopt;
        Sent first = std::move(sent.front());
        sent.pop_front();
        if (std::exchange(full_, false) && open_) device_->signalled(*this);
        return first;
    }
    ChannelDevice& device() { return *device_; }

    std::deque<Packet> inbound;
    std::deque<Sent> sent;
    std::map<std::uint32_t, Bytes> gpadls;
    std::size_t room = 1000;  // packets
    bool faulty = false;
    bool rescinded = false;
    std::string fault_reason;

    const Offer& offer() const override { return offer_; }
    std::uint16_t relid() const override { return static_cast<std::uint16_t>(offer_.sub_channel_index + 1); }
    bool is_open() const override { return open_; }
    std::uint32_t target_vp() const override { return 0; }
    GuestMemory& memory() override { return *memory_; }
    bool receive(Packet& packet) override {
        if (!open_ || inbound.empty()) return false;
        packet = std::move(inbound.front());
        inbound.pop_front();
        return true;
    }
    bool send(std::uint64_t transaction, std::span<const std::byte> payload, bool wants_completion) override {
        return add({PacketType::inband, transaction, wants_completion, 0, {}, {payload.begin(), payload.end()}});
    }
    bool send_transfer_pages(std::uint64_t transaction, std::uint16_t page_set, std::span<const TransferRange> ranges,
                             std::span<const std::byte> payload) override {
        return add({PacketType::transfer_pages,
                    transaction,
                    true,
                    page_set,
                    {ranges.begin(), ranges.end()},
                    {payload.begin(), payload.end()}});
    }
    bool complete(std::uint64_t transaction, std::span<const std::byte> payload) override {
        return add({PacketType::completion, transaction, false, 0, {}, {payload.begin(), payload.end()}});
    }
    void flush() override {}
    std::uint64_t gpadl_size(std::uint32_t gpadl) const override {
        const auto found = gpadls.find(gpadl);
        return open_ && found != gpadls.end() ? found->second.size() : 0;
    }
    bool gpadl_read(std::uint32_t gpadl, std::uint64_t at, std::span<std::byte> out) override {
        const auto found = gpadls.find(gpadl);
        const auto bytes = found != gpadls.end() ? part(found->second, at, out.size()) : std::nullopt;
        if (!open_ || !bytes) return false;
        std::copy(bytes->begin(), bytes->end(), out.begin());
        return true;
    }
    bool gpadl_write(std::uint32_t gpadl, std::uint64_t at, std::span<const std::byte> data) override {
        const auto found = gpadls.find(gpadl);
        if (!open_ || found == gpadls.end() || !part(found->second, at, data.size())) return false;
        std::copy(data.begin(), data.end(), found->second.begin() + static_cast<std::ptrdiff_t>(at));
        return true;
    }
    void fault(std::string_view reason) override {
        if (!open_) return;
        open_ = false;
        faulty = true;
        fault_reason = reason;
    }

private:
    bool add(Sent packet) {
        if (!open_) return false;
        if (sent.size() >= room) {
            full_ = true;
            return false;
        }
        if (observer_) observer_(*this, packet);
        sent.push_back(std::move(packet));
        return true;
    }

    Offer offer_;
    ChannelDevice* device_;
    Memory* memory_;
    const Observer& observer_;
    bool open_ = false;
    bool full_ = false;
};

class FakeBus final : public Bus {
public:
    explicit FakeBus(std::size_t memory_bytes) : memory(memory_bytes) {}

    Memory memory;
    FakeChannel::Observer observer;
    std::vector<std::unique_ptr<FakeChannel>> channels;  // the primary first

    Channel& offer(const Offer& offer, ChannelDevice& device) override {
        channels.push_back(std::make_unique<FakeChannel>(offer, device, memory, observer));
        return *channels.back();
    }
    Channel& offer_sub_channel(Channel& primary, ChannelDevice& device) override {
        Offer offer = primary.offer();
        offer.sub_channel_index = static_cast<std::uint16_t>(channels.size());
        channels.push_back(std::make_unique<FakeChannel>(offer, device, memory, observer));
        return *channels.back();
    }
    void rescind(Channel& channel) override { static_cast<FakeChannel&>(channel).rescinded = true; }

    // What the bus does after a fault, or when the guest closes its primary channel: sub-channels go with it.
    void close(std::size_t n) {
        if (n == 0) {
            while (channels.size() > 1) {
                channels.back()->close();
                channels.back()->device().released(*channels.back());
                channels.pop_back();
            }
        }
        channels[n]->close();
        channels[n]->faulty = false;
    }
    void end_faulty() {
        for (std::size_t n = channels.size(); n-- > 0;) {
            if (n < channels.size() && channels[n]->faulty) close(n);
        }
    }
};

struct FakePort final : NetworkPort {
    std::vector<std::pair<std::uint16_t, OutgoingFrame>> frames;
    std::vector<std::string> calls;
    bool switch_at_once = true;

    void transmit(std::uint16_t queue, std::span<OutgoingFrame> batch) override {
        for (auto& frame : batch) frames.emplace_back(queue, std::move(frame));
    }
    void ready_changed(bool ready) override { calls.push_back(ready ? "ready" : "gone"); }
    void filter_changed(std::uint32_t filter, std::span<const NetworkAddress> groups) override {
        calls.push_back("filter " + std::to_string(filter) + " groups " + std::to_string(groups.size()));
    }
    void address_changed(const NetworkAddress& address) override {
        calls.push_back("address " + std::to_string(address.bytes[5]));
    }
    void frame_size_changed(std::uint32_t bytes) override { calls.push_back("frames " + std::to_string(bytes)); }
    void rss_changed(const RssSettings& settings) override {
        calls.push_back("rss " + std::to_string(settings.enabled) + " " + std::to_string(settings.table.size()));
    }
    bool switch_data_path(bool to_vf) override {
        calls.push_back(to_vf ? "to vf" : "to synthetic");
        return switch_at_once;
    }
};

inline constexpr NetworkAddress adapter_address{{0x00, 0x15, 0x5d, 0x01, 0x02, 0x03}};

// An IPv4 frame to the adapter (or `to`) of so many bytes: TCP, or UDP.
inline Bytes frame_of(std::size_t bytes, std::uint8_t protocol = 6, const NetworkAddress& to = adapter_address,
                      std::uint8_t fill = 0x5a) {
    Bytes frame(bytes, std::byte{fill});
    std::memcpy(frame.data(), to.bytes.data(), 6);
    constexpr std::array<std::uint8_t, 8> rest{2, 0, 0, 0, 0, 9, 0x08, 0x00};
    std::memcpy(frame.data() + 6, rest.data(), rest.size());
    if (bytes < 14 + 10) return frame;
    frame[14] = std::byte{0x45};
    frame[14 + 9] = std::byte{protocol};
    return frame;
}

// TCP over IPv6.
inline Bytes frame_of_ipv6(std::size_t bytes) {
    Bytes frame = frame_of(bytes);
    frame[12] = std::byte{0x86};
    frame[13] = std::byte{0xdd};
    frame[14] = std::byte{0x60};
    frame[14 + 6] = std::byte{6};
    return frame;
}

inline IncomingFrame incoming(Bytes bytes) {
    IncomingFrame frame;
    frame.bytes = std::move(bytes);
    return frame;
}

inline NetworkProvider::Config ordinary_config(std::uint16_t channels = 1) {
    NetworkProvider::Config config;
    config.instance = guid("11111111-2222-3333-4444-555555555555");
    config.adapter.address = adapter_address;
    config.adapter.queues = channels;
    return config;
}

// A root with a processor for each of two kinds of channels, the service, and the guest's steps.
struct Rig {
    explicit Rig(const NetworkProvider::Config& config = ordinary_config(), std::size_t memory_bytes = 1 << 20)
        : bus(memory_bytes),
          provider(simulation.scope("net"), bus, port, config,
                   [this](std::uint16_t queue) -> sim::Processor& { return queue == 0 ? first : second; }) {}

    sim::Simulation simulation{1};
    sim::SerialProcessor first{simulation.scope("cpu0"), sim::Time::zero()};
    sim::SerialProcessor second{simulation.scope("cpu1"), sim::Time::zero()};
    FakeBus bus;
    FakePort port;
    NetworkProvider provider;
    std::uint64_t next_transaction = 1;

    FakeChannel& channel(std::size_t n = 0) { return *bus.channels.at(n); }
    void run() {
        simulation.agenda().run_until(simulation.agenda().now() + sim::Time::ms(10));
        bus.end_faulty();
    }

    // Sends a message and takes the completion's payload; nothing if there is none.
    template <class Message>
    std::optional<Bytes> request(const Message& message, std::size_t on = 0) {
        Packet packet;
        packet.wants_completion = true;
        packet.transaction = next_transaction++;
        packet.payload = image_of(message, nvsp::message_bytes);
        return exchange(std::move(packet), on);
    }
    template <class Message>
    void tell(const Message& message, std::size_t on = 0) {
        Packet packet;
        packet.payload = image_of(message, nvsp::message_bytes);
        channel(on).put(std::move(packet));
        run();
    }
    std::optional<Bytes> exchange(Packet packet, std::size_t on = 0) {
        const std::uint64_t transaction = packet.transaction;
        channel(on).put(std::move(packet));
        run();
        if (on >= bus.channels.size()) return std::nullopt;
        auto& sent = channel(on).sent;
        const auto found = std::find_if(sent.begin(), sent.end(), [&](const Sent& s) {
            return s.type == PacketType::completion && s.transaction == transaction;
        });
        if (found == sent.end()) return std::nullopt;
        Bytes payload = std::move(found->payload);
        sent.erase(found);
        return payload;
    }

    // A packet whose RNDIS content lies in guest memory at `gpa`.
    Packet gpa_packet(std::span<const std::byte> content, std::uint32_t channel_type, std::uint64_t gpa = 0x8000) {
        VG_CHECK(bus.memory.write(gpa, content));
        nvsp::SendRndisPacket message;
        message.channel_type = channel_type;
        Packet packet;
        packet.type = PacketType::gpa_direct;
        packet.wants_completion = true;
        packet.transaction = next_transaction++;
        packet.payload = image_of(message, nvsp::message_bytes);
        GpaRange range;
        range.length = static_cast<std::uint32_t>(content.size());
        range.offset = static_cast<std::uint32_t>(gpa & 0xfff);
        for (std::uint64_t page = gpa >> 12; page <= (gpa + content.size() - 1) >> 12; ++page) {
            range.pages.push_back(page);
        }
        packet.ranges.push_back(range);
        return packet;
    }
    nvsp::Status status_of(const std::optional<Bytes>& completion) {
        VG_CHECK(completion.has_value(), "no completion");
        return as<nvsp::SendRndisPacketComplete>(*completion).status;
    }
    // Takes what arrived in the receive buffer, and gives the sections back.
    std::vector<Bytes> take_received(std::size_t on = 0, bool complete = true) {
        std::vector<Bytes> messages;
        std::deque<Sent> others;
        while (auto sent = channel(on).take()) {
            if (sent->type != PacketType::transfer_pages) {
                others.push_back(std::move(*sent));
                continue;
            }
            for (const TransferRange& range : sent->ranges) {
                const Bytes& buffer = channel().gpadls.at(receive_gpadl);
                const auto at = buffer.begin() + static_cast<std::ptrdiff_t>(range.offset);
                messages.emplace_back(at, at + static_cast<std::ptrdiff_t>(range.length));
            }
            if (complete) give_back(sent->transaction, on);
        }
        channel(on).sent = std::move(others);
        run();
        return messages;
    }
    void give_back(std::uint64_t transaction, std::size_t on = 0) {
        Packet packet;
        packet.type = PacketType::completion;
        packet.transaction = transaction;
        packet.payload = image_of(nvsp::SendRndisPacketComplete{});
        channel(on).put(std::move(packet));
    }
    // An RNDIS control message and its reply; empty: none came.
    Bytes control(const Bytes& message) {
        VG_CHECK(status_of(exchange(gpa_packet(message, nvsp::channel_type::control))) == nvsp::Status::success);
        auto replies = take_received();
        return replies.empty() ? Bytes{} : replies.front();
    }
    Bytes query(ndis::Oid oid, std::span<const std::byte> information = {}, std::uint32_t* status = nullptr) {
        rndis::Query body;
        body.request = static_cast<std::uint32_t>(next_transaction);
        body.oid = static_cast<std::uint32_t>(oid);
        body.information_bytes = static_cast<std::uint32_t>(information.size());
        body.information_offset = sizeof(body);
        const Bytes reply = control(rndis::message(rndis::MessageType::query, body, information));
        const auto complete = as<rndis::QueryComplete>(reply, rndis::header_bytes);
        VG_CHECK(complete.request == body.request && complete.information_offset == 16);
        if (status != nullptr) *status = complete.status;
        return {reply.begin() + 24, reply.end()};
    }
    std::uint32_t set(ndis::Oid oid, std::span<const std::byte> information) {
        rndis::Query body;
        body.request = static_cast<std::uint32_t>(next_transaction);
        body.oid = static_cast<std::uint32_t>(oid);
        body.information_bytes = static_cast<std::uint32_t>(information.size());
        body.information_offset = sizeof(body);
        const Bytes reply = control(rndis::message(rndis::MessageType::set, body, information));
        const auto complete = as<rndis::SetComplete>(reply, rndis::header_bytes);
        VG_CHECK(complete.request == body.request);
        return complete.status;
    }
    template <class Value>
    std::uint32_t set_value(ndis::Oid oid, const Value& value) {
        return set(oid, image_of(value));
    }

    static constexpr std::uint32_t receive_gpadl = 0xe1e10;
    static constexpr std::uint32_t send_gpadl = 0xe1e11;

    // The driver's steps up to a version, to the buffers, to RNDIS, to a filter.
    bool agree(std::uint32_t version) {
        if (!channel().is_open()) VG_CHECK(channel().open());
        const auto answer = request(nvsp::Init{nvsp::MessageType::init, version, version});
        return answer && as<nvsp::InitComplete>(*answer).status == nvsp::Status::success;
    }
    void buffers(std::uint32_t version, std::uint32_t frame_bytes = 1514, std::size_t receive_bytes = 1 << 18) {
        if (version >= nvsp::version_2) {
            nvsp::SendNdisConfig config;
            config.mtu = frame_bytes;
            config.capabilities = nvsp::capability::ieee_8021q;
            if (version >= nvsp::version_5) {
                config.capabilities |= nvsp::capability::sriov | nvsp::capability::teaming;
            }
            if (version >= nvsp::version_6_1) config.capabilities |= nvsp::capability::rsc;
            tell(config);
        }
        nvsp::SendNdisVersion ndis_version;
        ndis_version.minor = version >= nvsp::version_5 ? 30 : 1;
        tell(ndis_version);
        channel().gpadls[receive_gpadl] = Bytes(receive_bytes);
        channel().gpadls[send_gpadl] = Bytes(1 << 16);
        const auto received = request(
            nvsp::SendBuffer{nvsp::MessageType::send_receive_buffer, receive_gpadl, nvsp::receive_buffer_id, 0});
        VG_CHECK(received && as<nvsp::SendReceiveBufferComplete>(*received).status == nvsp::Status::success);
        const auto sent = request(nvsp::SendBuffer{nvsp::MessageType::send_send_buffer, send_gpadl, 0, 0});
        VG_CHECK(sent && as<nvsp::SendSendBufferComplete>(*sent).status == nvsp::Status::success);
    }
    rndis::InitializeComplete start_rndis() {
        rndis::Initialize body;
        body.request = 7;
        const Bytes reply = control(rndis::message(rndis::MessageType::initialize, body));
        return as<rndis::InitializeComplete>(reply, rndis::header_bytes);
    }
    void bring_up(std::uint32_t version = nvsp::version_6_1) {
        VG_CHECK(agree(version));
        buffers(version);
        VG_CHECK(start_rndis().status == rndis::status::success);
        VG_CHECK(set_value(ndis::Oid::current_packet_filter, std::uint32_t{0xd}) == rndis::status::success);
    }
    // Asks for sub-channels and opens them.
    std::uint32_t add_channels(std::uint32_t count) {
        const auto answer = request(nvsp::SubChannelRequest{nvsp::MessageType::sub_channel, 1, count});
        const auto complete = as<nvsp::SubChannelComplete>(*answer);
        for (std::size_t n = 1; n < bus.channels.size(); ++n) VG_CHECK(channel(n).open());
        run();
        return complete.status == nvsp::Status::success ? complete.count : 0;
    }
    void receive(IncomingFrame frame) { provider.receive({&frame, 1}); }
    // A frame by guest memory, as a driver without a send buffer does it.
    nvsp::Status send_frame(const OutgoingFrame& frame, std::size_t on = 0) {
        return status_of(exchange(gpa_packet(data_message(frame, 8), nvsp::channel_type::data), on));
    }
};

}  // namespace vmbus::network_rig
