// Guests with network stacks on plain processors, joined by a cable that takes its time: workloads without a
// hypervisor.
#pragma once

#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "models/behavioural/network_driver.h"
#include "models/network/peer/peer.h"
#include "models/network/wire.h"
#include "models/workload/guest_stack.h"
#include "models/workload/peer_sockets.h"
#include "models/workload/request_id.h"
#include "sim/processor.h"
#include "sim/simulation.h"

namespace workload_test {

using namespace models;
using sim::Time;

// A driver whose frames are on the wire at once.
class PlainDriver final : public NetworkDriver, public FrameReceiver {
public:
    PlainDriver(Wire::End& end, unsigned queues) : end_(end), queues_(queues) {
        end.connect(static_cast<FrameReceiver&>(*this));
        offloads_ = vmbus::OffloadSettings::all(false);
    }
    void connect(NetworkDriverUser& user) { user_ = &user; }

    [[nodiscard]] bool transmit(vmbus::OutgoingFrame&& out) override {
        if (!up_) return false;
        Frame frame{std::move(out.bytes)};
        frame.fill = {out.fill_ip_checksum, out.fill_tcp_checksum, out.fill_udp_checksum};
        frame.large_send_mss = out.large_send_mss;
        end_.receive(std::move(frame));
        return true;
    }
    void receive(Frame&& frame) override {
        vmbus::IncomingFrame incoming;
        incoming.bytes = std::move(frame.bytes);
        incoming.ip_checksum = incoming.tcp_checksum = incoming.udp_checksum = vmbus::ChecksumState::good;
        const auto queue = static_cast<std::uint16_t>(
            incoming.bytes.size() > 37 ? std::to_integer<unsigned>(incoming.bytes[37]) % queues_ : 0);
        user_->receive(queue, {&incoming, 1});
    }
    bool is_up() const override { return up_; }
    std::uint16_t queues() const override { return static_cast<std::uint16_t>(queues_); }
    unsigned processor_of(std::uint16_t queue) const override { return queue; }
    const vmbus::NetworkAddress& address() const override { return address_; }
    std::uint32_t mtu() const override { return 1500; }
    const vmbus::OffloadSettings& offloads() const override { return offloads_; }
    std::string_view path() const override { return "plain"; }
    void set_offloads(const vmbus::OffloadSettings& offloads) { offloads_ = offloads; }
    void set_up(bool up) {
        up_ = up;
        if (up) user_->room();
    }

private:
    Wire::End& end_;
    unsigned queues_;
    bool up_ = true;
    NetworkDriverUser* user_ = nullptr;
    vmbus::NetworkAddress address_;
    vmbus::OffloadSettings offloads_;
};

inline PeerSettings host(unsigned number) {
    PeerSettings settings;
    settings.mac = MacAddress::from_u64(0x0015'5d00'0000 + number);
    settings.ipv4 = IpAddress::v4(0x0a00'0000 + number);
    settings.response = Time::us(1);
    return settings;
}

// Costs that can be told apart in a sum.
inline StackCosts plain_costs() {
    StackCosts c;
    c.system_call = Time::ns(1'000);
    c.copied_kibibyte = Time::ns(100);
    c.wake_up = Time::ns(2'000);
    c.tcp_sent = Time::ns(600);
    c.tcp_received = Time::ns(700);
    c.tcp_joined = Time::ns(50);
    c.tcp_acknowledgement = Time::ns(300);
    c.tcp_cut = Time::ns(80);
    c.datagram_sent = Time::ns(400);
    c.datagram_received = Time::ns(500);
    c.checksummed_kibibyte = Time::ns(200);
    return c;
}

struct Guest {
    Guest(sim::Simulation& simulation, const std::string& name, unsigned number, Wire::End& end,
          unsigned processor_count)
        : driver(end, processor_count) {
        for (unsigned n = 0; n < processor_count; ++n) {
            processors.emplace_back(simulation.scope(name + ".cpu" + std::to_string(n)), Time::zero());
        }
        StackSettings settings;
        settings.host = host(number);
        settings.costs = plain_costs();
        stack = std::make_unique<GuestStack>(simulation.scope(name + ".stack"), settings, processor_count,
                                             [this](unsigned vp) -> sim::Processor& { return processors[vp]; });
        stack->connect_driver(driver);
        driver.connect(*stack);
    }
    std::deque<sim::SerialProcessor> processors;
    PlainDriver driver;
    std::unique_ptr<GuestStack> stack;
};

// Two guests, or a guest and a host that takes no time, on a wire of 10 Gb/s.
struct Pair {
    explicit Pair(unsigned processors = 1, bool second_is_guest = true, std::uint64_t seed = 1)
        : simulation(seed),
          wire(simulation.scope("wire"), {.queue_bytes = 4 * 1024 * 1024}),
          a(simulation, "a", 1, wire.end(0), processors) {
        if (second_is_guest) {
            b = std::make_unique<Guest>(simulation, "b", 2, wire.end(1), processors);
        } else {
            peer = std::make_unique<Peer>(simulation.scope("peer"), host(2), wire.end(1));
            wire.end(1).connect(static_cast<FrameReceiver&>(*peer));
            peer_sockets = std::make_unique<PeerSockets>(simulation.scope("peer.sockets"), *peer);
        }
    }
    Sockets& near() { return *a.stack; }
    Sockets& far() { return b ? static_cast<Sockets&>(*b->stack) : *peer_sockets; }
    TcpEndpoint far_end(std::uint16_t port) const { return {host(2).ipv4, port}; }
    void run_for(Time time) { simulation.agenda().run_until(simulation.agenda().now() + time); }
    std::uint64_t counter(const std::string& name) {
        const auto& all = simulation.statistics().all();
        const auto place = all.find(name);
        return place == all.end() ? 0 : place->second.counter.value();
    }

    sim::Simulation simulation;
    Wire wire;
    Guest a;
    std::unique_ptr<Guest> b;
    std::unique_ptr<Peer> peer;
    std::unique_ptr<PeerSockets> peer_sockets;
};

}  // namespace workload_test
