// The physical adapter of a switch: interrupts, batches and their cost on the root's processors, queues by destination.
#include <doctest/doctest.h>

#include <memory>

#include "models/network/peer/peer.h"
#include "models/network/uplink.h"
#include "tests/models/network_hosts.h"
#include "tests/models/network_switches.h"

namespace network_uplink_test {

using namespace network_test;
using namespace sim::literals;

namespace {

// A switch with an uplink, a wire, and a host at its other end.
struct UplinkBench {
    explicit UplinkBench(const UplinkSettings& settings = {}, unsigned processor_count = 0,
                         const SwitchSettings& switches = {}, const PeerSettings& far = host(100))
        : vswitch(simulation.scope("switch"), switches),
          wire(simulation.scope("wire"), {.delay = 0_ps, .queue_bytes = 4 << 20}),
          peer(simulation.scope("peer"), far, wire.end(1)) {
        for (unsigned i = 0; i < processor_count; ++i) {
            processors.push_back(
                std::make_unique<sim::SerialProcessor>(simulation.scope("cpu" + std::to_string(i)), 0_ps));
        }
        std::vector<sim::Processor*> pointers;
        for (const auto& processor : processors) pointers.push_back(processor.get());
        uplink.emplace(simulation.scope("uplink"), vswitch, "uplink", external_port(), wire.end(0), pointers, 0,
                       settings);
        wire.end(1).connect(peer);
    }
    std::uint64_t counter(const std::string& name) const {
        return simulation.statistics().all().at(name).counter.value();
    }
    void run_for(sim::Time time) { simulation.agenda().run_until(simulation.agenda().now() + time); }

    mutable sim::Simulation simulation;
    VirtualSwitch vswitch;
    Wire wire;
    Peer peer;
    std::vector<std::unique_ptr<sim::SerialProcessor>> processors;
    std::optional<Uplink> uplink;
};

Frame from_outside(unsigned to, std::uint8_t number) {
    return plain(SwitchBench::mac(to), MacAddress::from_u64(0x0200'0000'0001), number);
}

}  // namespace

TEST_CASE("uplink: without processors frames pass at once, both ways") {
    UplinkBench bench;
    Inbox inbox(bench.simulation);
    const PortId port = bench.vswitch.connect("vm", inbox, adapter_port(SwitchBench::mac(1)));
    bench.wire.end(1).receive(from_outside(1, 5));
    bench.run_for(1_ms);
    CHECK(inbox.numbers() == "5");
    CHECK(inbox.times[0] == sim::Time::ps(57'600));
    bench.vswitch.send(port, plain(MacAddress::from_u64(0x0200'0000'0001), SwitchBench::mac(1)));
    CHECK(bench.counter("wire.end0.frames") == 1);
}

TEST_CASE("uplink: moderation gathers a batch, the processor's time passes before its effects") {
    SwitchSettings switches;
    switches.costs = {.per_frame = 100_ns, .per_byte = 1_ps, .per_segment = 0_ps};
    UplinkBench bench({.moderation = 10_us, .batch_frames = 4, .per_batch = 1_us}, 1, switches);
    Inbox inbox(bench.simulation);
    bench.vswitch.connect("vm", inbox, adapter_port(SwitchBench::mac(1)));
    for (std::uint8_t n = 0; n < 6; ++n) bench.wire.end(1).receive(from_outside(1, n));
    bench.run_for(1_ms);
    CHECK(inbox.numbers() == "0 1 2 3 4 5");
    // The first arrives at 57.6 ns; 10 us later four are switched for 1 us + 4 x (100 ns + 60 ps), then two.
    const sim::Time first = sim::Time::ps(57'600) + 10_us + 1_us + sim::Time::ps(4 * 100'060);
    const sim::Time second = first + 1_us + sim::Time::ps(2 * 100'060);
    CHECK(inbox.times == std::vector{first, first, first, first, second, second});
    CHECK(bench.counter("uplink.batches") == 2);
}

TEST_CASE("uplink: each port's frames on its queue's processor; a full queue drops") {
    SwitchSettings switches;
    switches.costs.per_frame = 1_us;
    switches.queues = {.first_processor = 0, .processors = 3, .queues = 4};
    UplinkBench bench({.batch_frames = 1, .queue_frames = 10}, 3, switches);
    Inbox one(bench.simulation);
    Inbox two(bench.simulation);
    const PortId first = bench.vswitch.connect("one", one, adapter_port(SwitchBench::mac(1)));
    const PortId second = bench.vswitch.connect("two", two, adapter_port(SwitchBench::mac(2)));
    CHECK(bench.vswitch.queues().add(first, 1) == 1);
    CHECK(bench.vswitch.queues().add(second, 1) == 1);
    for (std::uint8_t n = 0; n < 5; ++n) {
        bench.wire.end(1).receive(from_outside(1, n));
        bench.wire.end(1).receive(from_outside(2, n));
        bench.wire.end(1).receive(plain(MacAddress::broadcast(), MacAddress::from_u64(0x0200'0000'0001), 100));
    }
    bench.run_for(1_ms);
    // Three processors work side by side, 1 us a frame.
    for (const char* cpu : {"cpu0", "cpu1", "cpu2"}) CHECK(bench.counter(std::string(cpu) + ".pieces") == 5);
    CHECK(one.frames.size() == 10);
    CHECK(one.times[0] == sim::Time::ps(57'600) + 1_us);
    for (int n = 0; n < 40; ++n) bench.wire.end(1).receive(from_outside(1, 0));
    bench.run_for(1_ms);
    // 40 frames in 2.7 us: one or two are switched meanwhile, ten wait.
    CHECK(bench.counter("uplink.dropped") == 40 - 13);
    CHECK(one.frames.size() == 10 + 13);
}

TEST_CASE("uplink: queues move away from a busy processor") {
    SwitchSettings switches;
    switches.costs.per_frame = 10_us;
    switches.queues = {.first_processor = 0, .processors = 2, .queues = 4, .busy_permille = 500, .idle_permille = 1};
    UplinkBench bench({.rebalance_interval = 1_ms}, 2, switches);
    std::deque<Inbox> inboxes;
    std::vector<PortId> ports;
    for (unsigned n = 1; n <= 3; ++n) {
        ports.push_back(bench.vswitch.connect("vm" + std::to_string(n), inboxes.emplace_back(bench.simulation),
                                              adapter_port(SwitchBench::mac(n))));
        CHECK(bench.vswitch.queues().add(ports.back(), 1) == 1);
    }
    const auto where = [&] {
        std::string text;
        for (const PortId port : ports) text += std::to_string(bench.vswitch.queues().processor(port, 0u));
        return text;
    };
    CHECK(where() == "101");
    for (int i = 0; i < 30; ++i) {
        bench.wire.end(1).receive(from_outside(1, 0));
        bench.wire.end(1).receive(from_outside(3, 0));
        bench.run_for(35_us);
    }
    CHECK(where() == "001");
    CHECK(bench.counter("uplink.queue_moves") == 1);
}

TEST_CASE("uplink: TCP from the wire is coalesced, and a checkpoint changes nothing") {
    SwitchSettings switches;
    switches.costs = {.per_frame = 200_ns, .per_byte = 50_ps, .per_segment = 0_ps};
    switches.queues = {.first_processor = 0, .processors = 2, .queues = 2};
    const UplinkSettings settings{.moderation = 20_us, .batch_frames = 64, .per_batch = 2_us};
    struct Into final : FrameReceiver {
        VirtualSwitch* vswitch = nullptr;
        PortId port = no_port;
        void receive(Frame&& frame) override { vswitch->send(port, std::move(frame)); }
    };
    struct Whole : UplinkBench {
        Whole(const UplinkSettings& u, const SwitchSettings& s)
            : UplinkBench(u, 2, s), vm(simulation.scope("vm"), host(1), into) {
            PortSettings port = adapter_port(host(1).mac);
            port.receives = {
                .large_frames = true, .coalesced = true, .partial_checksums = true, .tags_out_of_band = true};
            into.vswitch = &vswitch;
            into.port = vswitch.connect("vm", vm, port);
            vswitch.queues().add(into.port, 2);
            vm.tcp().listen(80, {.service = TcpService::sink});
            peer.connect({host(1).ipv4, 80}, {.service = TcpService::source, .source_bytes = 3'000'000, .seed = 5});
        }
        Into into;
        Peer vm;
    };
    Whole straight(settings, switches);
    straight.run_for(1500_us);
    const auto saved = straight.simulation.save();
    Whole other(settings, switches);
    other.simulation.restore(saved);
    straight.run_for(2_s);
    other.run_for(2_s);
    REQUIRE(straight.vm.tcp().results().size() == 1);
    CHECK(straight.vm.tcp().results()[0].received_digest == pattern_digest(5, 3'000'000));
    CHECK(straight.counter("vm.in_frames") < straight.counter("uplink.received") / 2);
    CHECK(straight.counter("peer.tcp.retransmitted") == 0);
    CHECK(other.vm.tcp().results() == straight.vm.tcp().results());
    CHECK(other.simulation.trace().hash() == straight.simulation.trace().hash());
}

}  // namespace network_uplink_test
