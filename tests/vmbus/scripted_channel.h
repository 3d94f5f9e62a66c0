// A channel without a bus: a test puts the guest's packets in and looks at what the device sent. For tests of device
// protocols message by message; tests/vmbus/loopback.h has the real rings.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "sim/check.h"
#include "sim/processor.h"
#include "sim/simulation.h"
#include "vmbus/bus.h"
#include "vmbus/inband/inband_port.h"

namespace vmbus::testing {

using Bytes = std::vector<std::byte>;

class FlatGuestMemory final : public GuestMemory {
public:
    std::vector<std::byte> bytes = std::vector<std::byte>(1 << 16);
    std::uint64_t base = 0;

    bool read(std::uint64_t gpa, std::span<std::byte> out) override {
        if (!inside(gpa, out.size())) return false;
        std::copy_n(bytes.begin() + static_cast<std::ptrdiff_t>(gpa - base), out.size(), out.begin());
        return true;
    }
    bool write(std::uint64_t gpa, std::span<const std::byte> data) override {
        if (!inside(gpa, data.size())) return false;
        std::copy(data.begin(), data.end(), bytes.begin() + static_cast<std::ptrdiff_t>(gpa - base));
        return true;
    }

private:
    bool inside(std::uint64_t gpa, std::size_t n) const {
        return gpa >= base && gpa - base <= bytes.size() && n <= bytes.size() - (gpa - base);
    }
};

class ScriptedChannel final : public Channel {
public:
    struct Sent {
        bool completion = false;
        std::uint64_t transaction = 0;
        Bytes bytes;
        bool operator==(const Sent&) const = default;
    };

    ScriptedChannel(sim::Agenda& agenda, const Offer& offer, ChannelDevice& device, FlatGuestMemory& memory,
                    std::uint16_t relid)
        : offer_(offer), device_(&device), memory_(&memory), relid_(relid), fault_(agenda, "scripted.fault", [this] {
              device_->closed(*this);
          }) {}

    // The guest's side.
    void open() {
        VG_CHECK(!open_ && !rescinded);
        constexpr std::array<std::byte, 120> user_data{};
        open_ = device_->open(*this, user_data) == 0;
    }
    void close() {
        if (!std::exchange(open_, false)) return;
        inbound.clear();
        sent.clear();
        device_->closed(*this);
    }
    void put(Bytes payload, std::uint64_t transaction = 0, bool wants_completion = false,
             PacketType type = PacketType::inband) {
        payload.resize((payload.size() + 7) / 8 * 8);  // as a ring does
        Packet packet;
        packet.type = type;
        packet.transaction = transaction;
        packet.wants_completion = wants_completion;
        packet.payload = std::move(payload);
        inbound.push_back(std::move(packet));
        if (open_) device_->signalled(*this);
    }
    // What is on the ring, oldest first; the guest takes it.
    Sent take() {
        VG_CHECK(!sent.empty(), "nothing was sent");
        Sent first = std::move(sent.front());
        sent.pop_front();
        if (std::exchange(full_seen_, false)) device_->signalled(*this);
        return first;
    }

    std::deque<Packet> inbound;
    std::deque<Sent> sent;
    std::size_t room = 1000;  // packets
    bool rescinded = false;
    std::string fault_reason;

    const Offer& offer() const override { return offer_; }
    std::uint16_t relid() const override { return relid_; }
    bool is_open() const override { return open_; }
    std::uint32_t target_vp() const override { return 0; }
    GuestMemory& memory() override { return *memory_; }
    bool receive(Packet& packet) override {
        if (!open_ || inbound.empty()) return false;
        packet = std::move(inbound.front());
        inbound.pop_front();
        return true;
    }
    bool send(std::uint64_t transaction, std::span<const std::byte> payload, bool) override {
        return add({false, transaction, Bytes(payload.begin(), payload.end())});
    }
    bool send_transfer_pages(std::uint64_t, std::uint16_t, std::span<const TransferRange>,
                             std::span<const std::byte>) override {
        return false;
    }
    bool complete(std::uint64_t transaction, std::span<const std::byte> payload) override {
        return add({true, transaction, Bytes(payload.begin(), payload.end())});
    }
    void flush() override {}
    std::uint64_t gpadl_size(std::uint32_t) const override { return 0; }
    bool gpadl_read(std::uint32_t, std::uint64_t, std::span<std::byte>) override { return false; }
    bool gpadl_write(std::uint32_t, std::uint64_t, std::span<const std::byte>) override { return false; }
    void fault(std::string_view reason) override {
        fault_reason = reason;
        rescinded = true;
        if (!std::exchange(open_, false)) return;
        inbound.clear();
        sent.clear();
        fault_.arm_after(sim::Time::zero());
    }

private:
    bool add(Sent packet) {
        if (!open_) return false;
        if (sent.size() >= room) {
            full_seen_ = true;
            return false;
        }
        sent.push_back(std::move(packet));
        return true;
    }

    Offer offer_;
    ChannelDevice* device_;
    FlatGuestMemory* memory_;
    std::uint16_t relid_;
    sim::Timer fault_;
    bool open_ = false;
    bool full_seen_ = false;
};

class ScriptedBus final : public Bus {
public:
    explicit ScriptedBus(sim::Agenda& agenda) : agenda_(agenda) {}

    FlatGuestMemory memory;
    std::vector<std::unique_ptr<ScriptedChannel>> channels;

    Channel& offer(const Offer& offer, ChannelDevice& device) override {
        channels.push_back(std::make_unique<ScriptedChannel>(agenda_, offer, device, memory,
                                                             static_cast<std::uint16_t>(channels.size() + 1)));
        devices_.push_back(&device);
        return *channels.back();
    }
    Channel& offer_sub_channel(Channel&, ChannelDevice&) override { sim::check_failed(__FILE__, __LINE__, "", ""); }
    void rescind(Channel& channel) override {
        auto& scripted = static_cast<ScriptedChannel&>(channel);
        scripted.rescinded = true;
        scripted.close();
    }
    // The guest lets go of what was rescinded.
    void release(std::size_t n) { devices_[n]->released(*channels[n]); }

private:
    sim::Agenda& agenda_;
    std::vector<ChannelDevice*> devices_;
};

// A root with one processor, and a bus. Costs are zero unless a test sets them.
struct Root {
    sim::Simulation simulation{1};
    sim::SerialProcessor processor{simulation.scope("root.cpu"), sim::Time::zero()};
    ScriptedBus bus{simulation.agenda()};
    Costs costs{sim::Time::zero(), sim::Time::zero(), sim::Time::zero(), sim::Time::zero()};

    ServiceHost host() { return {bus, processor, costs}; }
    sim::Scope scope(std::string_view name) { return simulation.scope(name); }
    ScriptedChannel& channel(std::size_t n = 0) { return *bus.channels.at(n); }
    sim::Time now() const { return const_cast<sim::Simulation&>(simulation).agenda().now(); }
    void run_until(sim::Time t) { simulation.agenda().run_until(t); }
    void run_for(sim::Time t) { run_until(now() + t); }
    // All that happens at this instant.
    void settle() { run_until(now()); }
};

}  // namespace vmbus::testing
