// A bus saved in the middle of whatever it does goes on as if nothing had happened.
#include <doctest/doctest.h>

#include <algorithm>
#include <string>

#include "sim/random.h"
#include "tests/vmbus/echo.h"

namespace checkpoint_test {

namespace {

using namespace vmbus;
using namespace sim::literals;
using test::echo_type;
using test::instance;

constexpr Guid socket_service = guid("00000000-facb-11e6-bd58-64006a7986d3");

// A device whose primary channel asks for a sub-channel with each 20th packet, and takes one away with each 33rd.
class BusyDevice final : public ChannelDevice {
public:
    BusyDevice(Bus& bus, const sim::Scope& scope) : bus_(bus), registration_(scope.register_state(*this)) {}

    void offer(std::uint8_t number) { primary_ = &bus_.offer({echo_type, instance(number)}, *this); }

    std::uint32_t open(Channel&, std::span<const std::byte, 120>) override { return 0; }
    void closed(Channel& channel) override {
        if (&channel == primary_) state_.answers.clear();
    }
    void released(Channel& channel) override { std::erase(subs_, &channel); }
    void signalled(Channel& channel) override {
        Packet packet;
        while (channel.receive(packet)) {
            ++state_.packets;
            if (!channel.complete(packet.transaction, packet.payload)) ++state_.lost;
            if (&channel == primary_ && state_.packets % 20 == 0 && subs_.size() < 4)
                subs_.push_back(&bus_.offer_sub_channel(channel, *this));
            if (&channel == primary_ && state_.packets % 33 == 0 && !subs_.empty()) bus_.rescind(*subs_.front());
            if (state_.packets % 251 == 0) channel.fault("enough");
        }
        channel.flush();
    }
    ChannelDevice& adopt_sub_channel(Channel&, Channel& sub_channel) override {
        if (std::find(subs_.begin(), subs_.end(), &sub_channel) == subs_.end()) subs_.push_back(&sub_channel);
        return *this;
    }

    template <class Archive>
    void fields(Archive& archive) {
        archive(state_);
    }
    std::uint64_t packets() const { return state_.packets; }

private:
    struct State {
        std::uint64_t packets = 0;
        std::uint64_t lost = 0;
        std::vector<std::uint64_t> answers;

        template <class Archive>
        void fields(Archive& archive) {
            archive(packets, lost, answers);
        }
    };
    Bus& bus_;
    Channel* primary_ = nullptr;
    std::vector<Channel*> subs_;
    State state_;
    sim::StateRegistration registration_;
};

class Listener final : public SocketListener {
public:
    explicit Listener(Server& server) : server_(server) {}
    bool connect(const Guid& endpoint, const Guid& service) override {
        if (service != socket_service) return false;
        Offer offer{service, endpoint};
        offer.flags = Offer::socket_provider;
        server_.offer(offer, device);
        return true;
    }
    ChannelDevice* adopt(Channel& channel) override {
        return channel.offer().type == socket_service ? &device : nullptr;
    }
    test::EchoDevice device;

private:
    Server& server_;
};

// Does something with a channel every few microseconds.
class Machine final : public BusDriver, public ChannelDriver {
public:
    static constexpr std::uint64_t memory_pages = 1024;

    explicit Machine(std::uint32_t version)
        : memory(memory_pages),
          pages(16, memory_pages - 16),
          wires(simulation.scope("wires"), 4),
          server(simulation.scope("bus"), memory, wires, {}),
          listener(server),
          client(simulation.scope("guest.bus"), memory, wires.to_host, pages, *this, with(version)),
          timer(simulation.agenda(), "guest.timer", [this] { act(); }),
          random(simulation.scope("guest").random()),
          memory_registration(simulation.scope("memory").register_state(memory)),
          registration(simulation.scope("guest").register_state(*this)) {
        wires.join(server, client);
        server.set_socket_listener(&listener);
        for (unsigned n = 0; n < 3; ++n)
            devices.emplace_back(std::make_unique<BusyDevice>(server, simulation.scope("device" + std::to_string(n))));
        for (unsigned n = 0; n < 3; ++n) devices[n]->offer(static_cast<std::uint8_t>(n));
    }
    void start() {
        client.connect();
        timer.arm_after(20_us);
    }

    void offered(ClientChannel& channel) override { channel.bind(*this); }
    ChannelDriver* adopt(ClientChannel&) override { return this; }
    void signalled(ClientChannel& channel) override {
        Packet packet;
        while (channel.receive(packet)) ++taken;
        channel.flush();
    }
    void act() {
        ++acts;
        timer.arm_after(sim::Time::ns(static_cast<std::int64_t>(500 + random.below(3000))));
        if (client.version() == version::none) return;
        ClientChannel* channel = client.find(static_cast<std::uint16_t>(1 + random.below(12)));
        if (channel == nullptr) {
            if (random.one_in(40))
                client.connect_socket(instance(static_cast<std::uint8_t>(100 + acts % 100)), socket_service);
            if (random.one_in(150)) client.connect();
            return;
        }
        if (!channel->is_open()) {
            (void)channel->open({static_cast<std::uint32_t>(2 + random.below(4)), 2},
                                static_cast<std::uint32_t>(random.below(4)));
            return;
        }
        if (random.one_in(40)) return channel->close();
        if (random.one_in(30)) return channel->change_target(static_cast<std::uint32_t>(random.below(5)));
        if (random.one_in(30)) {
            const std::vector<std::uint64_t> some(1 + random.below(100), 20);
            return (void)channel->make_gpadl(some);
        }
        std::vector<std::byte> payload(random.below(300));
        for (unsigned n = 0; n < 4 && channel->send(acts, payload, true); ++n) continue;
        channel->flush();
    }

    template <class Archive>
    void fields(Archive& archive) {
        archive(acts, taken, random, timer);
    }
    static BusClientConfig with(std::uint32_t version) {
        BusClientConfig config;
        config.newest_version = version;
        return config;
    }

    sim::Simulation simulation;
    test::VectorMemory memory;
    PageAllocator pages;
    test::Wires wires;
    Server server;
    Listener listener;
    BusClient client;
    std::vector<std::unique_ptr<BusyDevice>> devices;
    sim::Timer timer;
    sim::Random random;
    std::uint64_t acts = 0;
    std::uint64_t taken = 0;
    sim::StateRegistration memory_registration;
    sim::StateRegistration registration;
};

TEST_CASE("saved and restored at any moment, in the middle of traffic") {
    for (const std::uint32_t newest : {version::v5_3, version::v0_13}) {
        constexpr unsigned steps = 16;
        constexpr sim::Time step = 237_us;
        Machine straight{newest};
        straight.start();
        std::vector<std::vector<std::byte>> checkpoints;
        for (unsigned n = 0; n < steps; ++n) {
            straight.simulation.agenda().run_until(step * (n + 1));
            checkpoints.push_back(straight.simulation.save());
        }
        straight.simulation.agenda().run_until(step * (steps + 1));
        const std::string hash = straight.simulation.trace().hash();
        CHECK(straight.taken > 300);
        CHECK((straight.listener.device.opens > 0) == (newest >= version::v4_0));
        CHECK(straight.server.refused(Refusal::device_fault) > 0);
        for (unsigned n = 0; n < steps; ++n) {
            CAPTURE(n);
            Machine restored{newest};
            // Into a machine that has just been built, or into one that has done something else.
            if (n % 2 == 1) {
                restored.start();
                restored.simulation.agenda().run_until(step * (steps - n));
            }
            restored.simulation.restore(checkpoints[n]);
            for (unsigned later = n + 1; later < steps; ++later) {
                restored.simulation.agenda().run_until(step * (later + 1));
                (void)restored.simulation.save();
            }
            restored.simulation.agenda().run_until(step * (steps + 1));
            CHECK(restored.simulation.trace().hash() == hash);
            CHECK(restored.taken == straight.taken);
        }
    }
}

TEST_CASE("a checkpoint with channels that nobody has is refused") {
    Machine machine{version::v5_3};
    test::EchoDevice stranger;
    machine.server.offer({socket_service, instance(1)}, machine.listener.device);
    machine.server.offer({test::other_type, instance(1)}, stranger);
    const auto checkpoint = machine.simulation.save();
    Machine other{version::v5_3};
    CHECK_THROWS_AS(other.simulation.restore(checkpoint), sim::UserError);
}

}  // namespace

}  // namespace checkpoint_test
