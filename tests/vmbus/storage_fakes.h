// A bus without rings: a test puts the guest's packets on a channel as a ring would give them out, and looks at the
// answers. Checks what must hold whatever the guest does: each packet is answered at most once, in the right form.
#pragma once

#include <algorithm>
#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "sim/check.h"
#include "vmbus/bus.h"
#include "vmbus/storage/vstor.h"

namespace vmbus::testing {

class FakeMemory final : public GuestMemory {
public:
    std::vector<std::byte> bytes = std::vector<std::byte>(32 * 4096);
    bool read(std::uint64_t gpa, std::span<std::byte> out) override {
        if (gpa > bytes.size() || out.size() > bytes.size() - gpa) return false;
        if (!out.empty()) std::memcpy(out.data(), bytes.data() + gpa, out.size());
        return true;
    }
    bool write(std::uint64_t gpa, std::span<const std::byte> data) override {
        if (gpa > bytes.size() || data.size() > bytes.size() - gpa) return false;
        if (!data.empty()) std::memcpy(bytes.data() + gpa, data.data(), data.size());
        return true;
    }
};

class FakeStorageChannel final : public Channel {
public:
    struct Answer {
        std::uint64_t transaction = 0;
        std::vector<std::byte> bytes;
    };

    FakeStorageChannel(FakeMemory& memory, const Offer& offer, ChannelDevice& device)
        : memory_(memory), offer_(offer), device_(device) {}

    // The guest.
    void open() {
        if (open_ || gone) return;
        open_ = device_.open(*this, std::array<std::byte, 120>{}) == 0;
    }
    void close() {
        if (!std::exchange(open_, false)) return;
        packets.clear();
        asked_.clear();
        answers.clear();
        unsolicited = 0;
        faulty = false;
        device_.closed(*this);
    }
    void put(Packet packet) {
        packets.push_back(std::move(packet));
        if (is_open()) device_.signalled(*this);
    }
    void signal() {
        if (is_open()) device_.signalled(*this);
    }
    // How many packets the device took and has not answered.
    std::size_t unanswered() const { return asked_.size(); }

    std::deque<Packet> packets;
    std::deque<Answer> answers;
    std::size_t room = 1000;  // answers that fit
    unsigned unsolicited = 0;
    bool faulty = false;
    bool gone = false;

    // Channel
    const Offer& offer() const override { return offer_; }
    std::uint16_t relid() const override { return static_cast<std::uint16_t>(offer_.sub_channel_index + 1); }
    bool is_open() const override { return open_ && !faulty; }
    std::uint32_t target_vp() const override { return 0; }
    GuestMemory& memory() override { return memory_; }
    bool receive(Packet& packet) override {
        if (!is_open() || packets.empty()) return false;
        packet = std::move(packets.front());
        packets.pop_front();
        asked_.emplace(packet.transaction, packet.payload.size());
        return true;
    }
    bool send(std::uint64_t transaction, std::span<const std::byte> payload, bool wants_completion) override {
        if (!is_open() || answers.size() + unsolicited >= room) return false;
        VG_CHECK(transaction == 0 && !wants_completion && (payload.size() == 64 || payload.size() == 48));
        VG_CHECK(static_cast<vstor::Operation>(payload[0]) == vstor::Operation::enumerate_bus);
        ++unsolicited;
        return true;
    }
    bool send_transfer_pages(std::uint64_t, std::uint16_t, std::span<const TransferRange>,
                             std::span<const std::byte>) override {
        VG_CHECK(false);
        return false;
    }
    bool complete(std::uint64_t transaction, std::span<const std::byte> payload) override {
        if (!is_open() || answers.size() + unsolicited >= room) return false;
        // One packet of that number, and of its length, is answered by this.
        const auto [first, last] = asked_.equal_range(transaction);
        const auto asked = std::find_if(first, last, [&](const auto& entry) {
            return std::min<std::size_t>(entry.second, vstor::packet_bytes) == payload.size();
        });
        VG_CHECK(asked != last, "an answer to nothing");
        asked_.erase(asked);
        VG_CHECK(static_cast<vstor::Operation>(payload[0]) == vstor::Operation::complete_io);
        answers.push_back({transaction, {payload.begin(), payload.end()}});
        return true;
    }
    void flush() override {}
    std::uint64_t gpadl_size(std::uint32_t) const override { return 0; }
    bool gpadl_read(std::uint32_t, std::uint64_t, std::span<std::byte>) override { return false; }
    bool gpadl_write(std::uint32_t, std::uint64_t, std::span<const std::byte>) override { return false; }
    void fault(std::string_view) override { faulty = true; }

private:
    FakeMemory& memory_;
    Offer offer_;
    ChannelDevice& device_;
    bool open_ = false;
    std::multimap<std::uint64_t, std::size_t> asked_;
};

class FakeStorageBus final : public Bus {
public:
    FakeMemory memory;
    std::vector<std::unique_ptr<FakeStorageChannel>> channels;

    Channel& offer(const Offer& offer, ChannelDevice& device) override {
        device_ = &device;
        channels.push_back(std::make_unique<FakeStorageChannel>(memory, offer, device));
        return *channels.back();
    }
    Channel& offer_sub_channel(Channel& primary, ChannelDevice& device) override {
        VG_CHECK(primary.is_open() && channels.size() < 10'000);
        Offer offer = primary.offer();
        offer.sub_channel_index = static_cast<std::uint16_t>(channels.size());
        channels.push_back(std::make_unique<FakeStorageChannel>(memory, offer, device));
        return *channels.back();
    }
    void rescind(Channel&) override { VG_CHECK(false); }

    FakeStorageChannel& primary() { return *channels.front(); }
    // With the primary channel go the others, first.
    void close(FakeStorageChannel& channel) {
        if (&channel != &primary()) return channel.close();
        std::vector<FakeStorageChannel*> gone;
        for (std::size_t n = 1; n < channels.size(); ++n) {
            if (!channels[n]->gone) gone.push_back(channels[n].get());
        }
        for (FakeStorageChannel* sub : gone) {
            sub->close();
            sub->gone = true;
        }
        channel.close();
        for (FakeStorageChannel* sub : gone) device_->released(*sub);
    }
    // A channel whose guest broke the protocol ends, a little after the fault.
    void end_faulty() {
        for (std::size_t n = 0; n < channels.size(); ++n) {
            FakeStorageChannel& channel = *channels[n];
            if (!channel.faulty) continue;
            close(channel);
            if (n == 0) continue;
            channel.gone = true;
            device_->released(channel);
        }
    }

private:
    ChannelDevice* device_ = nullptr;
};

}  // namespace vmbus::testing
