// A synthetic adapter and its virtual function: whatever host and guest do in whatever order, the steps and their
// moments are those that follow, and the frames of every stay are counted.
#include "models/pci/vf_pairing.h"

#include <optional>

#include "tests/models/pci_rig.h"
#include "vmbus/network/nvsp.h"

namespace vf_pairing_test {

using namespace pci_rig;
using Step = VfPairing::Step;
using Steps = std::vector<VfPairing::Moment>;

namespace {

struct Source final : VfSource {
    HostFunction function;
    std::vector<std::string> calls;
    FrameCounts counted;

    HostFunction start_vf() override {
        calls.emplace_back("start");
        return function;
    }
    void steer_to_vf(bool to_vf) override { calls.emplace_back(to_vf ? "to_vf" : "to_synthetic"); }
    void stop_vf() override { calls.emplace_back("stop"); }
    FrameCounts counts() const override { return counted; }
};

NetworkConfig network_config() {
    NetworkConfig config;
    config.name = "net1";
    config.port = adapter_port(mac_address("02:00:00:00:00:01"));
    return config;
}

// Nobody's work takes time.
ServiceCosts no_costs() {
    ServiceCosts costs;
    costs.bus = {Time::zero(), Time::zero(), Time::zero(), Time::zero()};
    costs.network = {costs.bus, Time::zero(), Time::zero(), Time::zero()};
    return costs;
}

enum class Op : std::uint8_t { offer, revoke, withdraw, probe, to_vf, to_synthetic, let_go, close };
constexpr std::array all_ops{Op::offer, Op::revoke,       Op::withdraw, Op::probe,
                             Op::to_vf, Op::to_synthetic, Op::let_go,   Op::close};

// What must happen.
struct Expected {
    bool given = false, open = false, ejecting = false, on_vf = false;
    std::vector<Step> steps;

    void returned() {
        steps.push_back(Step::returned);
        if (std::exchange(on_vf, false)) steps.push_back(Step::to_synthetic);
        steps.push_back(Step::dissociated);
        given = open = ejecting = false;
    }
    void apply(Op op) {
        switch (op) {
            case Op::offer:
                if (std::exchange(given, true)) break;
                steps.push_back(Step::associated);
                steps.push_back(Step::offered);
                break;
            case Op::revoke:
                if (!given) break;
                steps.push_back(Step::revocation);
                if (open) {
                    ejecting = true;
                } else {
                    returned();
                }
                break;
            case Op::withdraw:
                if (!given) break;
                steps.push_back(Step::revocation);
                returned();
                break;
            case Op::probe:
                if (!given || std::exchange(open, true)) break;
                if (steps.back() == Step::offered) steps.push_back(Step::in_use);
                break;
            case Op::to_vf:
                if (given && !std::exchange(on_vf, true)) steps.push_back(Step::to_vf);
                break;
            case Op::to_synthetic:
                if (std::exchange(on_vf, false)) steps.push_back(Step::to_synthetic);
                break;
            case Op::let_go:
                if (open && ejecting) returned();
                break;
            case Op::close:
                if (std::exchange(open, false) && ejecting) returned();
                break;
        }
    }
};

struct Pair {
    Pair() {
        source.function = rig.function;
        nic_channel().open();
        put(vmbus::nvsp::Init{vmbus::nvsp::MessageType::init, vmbus::nvsp::version_5, vmbus::nvsp::version_5});
        settle();
        pairing.emplace(rig.machine.simulation.scope("pair"), nic, rig.a.pci.add("vf"), source, 1U);
    }
    vmbus::testing::ScriptedChannel& nic_channel() { return *rig.a.bus.channels.front(); }
    template <class Message>
    void put(const Message& message) {
        Bytes bytes(40);
        std::memcpy(bytes.data(), &message, sizeof message);
        nic_channel().put(bytes, 1, true);
    }
    void settle() { rig.machine.simulation.agenda().run_until(now()); }
    Time now() const { return rig.machine.simulation.agenda().now(); }

    // The guest, as far as its bus is there.
    bool present() { return pairing->given() && !rig.a.channel().rescinded; }
    void probe() {
        if (!present() || rig.a.channel().is_open()) return;
        rig.a.start();
        rig.a.channel().put(ByteBuilder{}.u32(0x4249'0001).take());
        settle();
    }
    void let_go() {
        if (!present() || !rig.a.channel().is_open()) return;
        rig.a.channel().put(ByteBuilder{}.u32(0x4249'000f).u32(0).u32(0).take());
    }
    void switch_to(std::uint32_t path) {
        put(vmbus::nvsp::SwitchDataPath{vmbus::nvsp::MessageType::switch_data_path, path});
    }
    void perform(Op op) {
        switch (op) {
            case Op::offer:
                pairing->offer();
                break;
            case Op::revoke:
                pairing->revoke();
                break;
            case Op::withdraw:
                pairing->withdraw();
                break;
            case Op::probe:
                probe();
                break;
            case Op::to_vf:
                switch_to(vmbus::nvsp::data_path::virtual_function);
                break;
            case Op::to_synthetic:
                switch_to(vmbus::nvsp::data_path::synthetic);
                break;
            case Op::let_go:
                let_go();
                break;
            case Op::close:
                if (present() && rig.a.channel().is_open()) rig.a.channel().close();
                break;
        }
        settle();
        nic_channel().sent.clear();
    }
    void pass(Time t) { rig.machine.simulation.agenda().run_until(now() + t); }

    Rig rig;
    Captures captures{rig.machine.simulation.agenda()};
    Network network{rig.machine.simulation.scope("lan"), "lan", {}, captures};
    SyntheticNic nic{rig.machine.simulation.scope("nic"),
                     rig.a.bus,
                     network,
                     network_config(),
                     {},
                     no_costs(),
                     [this](std::uint16_t) -> sim::Processor& { return rig.processor; }};
    Source source;
    // The last: it leaves before the adapter and the function that it joins.
    std::optional<VfPairing> pairing;
};

}  // namespace

TEST_CASE("every order of four operations, each at its own microsecond") {
    Pair pair;
    unsigned sequences = 0;
    for (std::size_t code = 0; code < all_ops.size() * all_ops.size() * all_ops.size() * all_ops.size(); ++code) {
        pair.source.calls.clear();
        Expected expected;
        Steps moments;
        std::size_t rest = code;
        std::string order;
        for (unsigned n = 0; n < 5; ++n) {
            // The first is an offer: what comes before it changes nothing, as the table below shows.
            const Op op = n == 0 ? Op::offer : all_ops[rest % all_ops.size()];
            if (n != 0) rest /= all_ops.size();
            order += std::to_string(static_cast<unsigned>(op));
            pair.pass(Time::us(1));
            const std::size_t before = expected.steps.size();
            expected.apply(op);
            for (std::size_t s = before; s < expected.steps.size(); ++s) {
                moments.push_back({expected.steps[s], pair.now()});
            }
            pair.perform(op);
        }
        const Steps& all = pair.pairing->moments();
        const bool same = all.size() >= moments.size() && std::equal(moments.rbegin(), moments.rend(), all.rbegin());
        if (!same || pair.pairing->given() != expected.given || pair.pairing->traffic_on_vf() != expected.on_vf) {
            CAPTURE(order);
            for (const auto& moment : moments)
                MESSAGE("expected ", VfPairing::name_of(moment.step), " ", moment.at.ps());
            for (std::size_t s = all.size() - std::min(all.size(), moments.size() + 2); s < all.size(); ++s) {
                MESSAGE("found ", VfPairing::name_of(all[s].step), " ", all[s].at.ps());
            }
            REQUIRE(same);
            REQUIRE(pair.pairing->given() == expected.given);
            REQUIRE(pair.pairing->traffic_on_vf() == expected.on_vf);
        }
        // Started as often as stopped, but for the one that is there.
        const auto times = [&](const char* what) { return std::ranges::count(pair.source.calls, what); };
        REQUIRE(times("start") == times("stop") + (expected.given ? 1 : 0));
        REQUIRE(times("to_vf") == times("to_synthetic") + (expected.on_vf ? 1 : 0));
        pair.pairing->withdraw();
        pair.settle();
        REQUIRE_FALSE(pair.rig.device.function().master().enabled());
        ++sequences;
    }
    CHECK(sequences == 4096);
}

TEST_CASE("what the adapter is told, and when") {
    struct Row {
        const char* reason;
        std::vector<Op> ops;
        std::vector<std::string> calls;
        std::vector<Step> steps;
    };
    using enum Op;
    for (const Row& row : {
             Row{"nothing was offered", {revoke, withdraw, probe, Op::to_vf, Op::to_synthetic, let_go, close}, {}, {}},
             Row{"offered twice", {offer, offer}, {"start"}, {Step::associated, Step::offered}},
             Row{"by policy",
                 {offer, probe, Op::to_vf, revoke, Op::to_synthetic, let_go},
                 {"start", "to_vf", "to_synthetic", "stop"},
                 {Step::associated, Step::offered, Step::in_use, Step::to_vf, Step::revocation, Step::to_synthetic,
                  Step::returned, Step::dissociated}},
             Row{"a guest that lets go with its traffic on it",
                 {offer, probe, Op::to_vf, revoke, let_go},
                 {"start", "to_vf", "to_synthetic", "stop"},
                 {Step::associated, Step::offered, Step::in_use, Step::to_vf, Step::revocation, Step::returned,
                  Step::to_synthetic, Step::dissociated}},
             Row{"by surprise",
                 {offer, probe, Op::to_vf, withdraw, Op::to_vf},
                 {"start", "to_vf", "to_synthetic", "stop"},
                 {Step::associated, Step::offered, Step::in_use, Step::to_vf, Step::revocation, Step::returned,
                  Step::to_synthetic, Step::dissociated}},
             Row{"asked, and then taken",
                 {offer, probe, revoke, withdraw, let_go},
                 {"start", "stop"},
                 {Step::associated, Step::offered, Step::in_use, Step::revocation, Step::revocation, Step::returned,
                  Step::dissociated}},
             Row{"before the guest has looked",
                 {offer, revoke},
                 {"start", "stop"},
                 {Step::associated, Step::offered, Step::revocation, Step::returned, Step::dissociated}},
         }) {
        CAPTURE(std::string{row.reason});
        Pair pair;
        for (const Op op : row.ops) pair.perform(op);
        CHECK(pair.source.calls == row.calls);
        std::vector<Step> steps;
        for (const auto& moment : pair.pairing->moments()) steps.push_back(moment.step);
        CHECK(steps == row.steps);
    }
}

TEST_CASE("frames of stays that have ended stay counted") {
    Pair pair;
    const auto shown = [&](const char* what) {
        pair.pairing->update_statistics();
        return pair.rig.count(std::string{"pair."} + what);
    };
    pair.source.counted = {100, 6400, 10, 640};  // of somebody before
    pair.perform(Op::offer);
    CHECK(shown("received_frames") == 0);
    pair.source.counted = {150, 9600, 30, 1920};
    CHECK(shown("received_frames") == 50);
    CHECK(shown("sent_bytes") == 1280);
    pair.perform(Op::withdraw);
    pair.source.counted = {1000, 64000, 1000, 64000};  // somebody else's meanwhile
    CHECK(shown("received_frames") == 50);
    CHECK(shown("received_bytes") == 3200);
    CHECK(shown("sent_frames") == 20);
    pair.perform(Op::offer);
    pair.source.counted = {1001, 64064, 1000, 64000};
    CHECK(shown("received_frames") == 51);
    CHECK(shown("sent_frames") == 20);
    const auto bytes = sim::save_to_bytes(*pair.pairing);
    Pair other;
    sim::restore_from_bytes(*other.pairing, bytes);
    CHECK(sim::save_to_bytes(*other.pairing) == bytes);
}

}  // namespace vf_pairing_test
