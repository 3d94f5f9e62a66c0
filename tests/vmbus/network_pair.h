// Both ends of a network adapter on a bus: a guest with several processors, the root with several, and between service
// and switch a port that a test looks at.
#pragma once

#include <deque>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "sim/processor.h"
#include "tests/vmbus/loopback.h"
#include "tests/vmbus/network_rig.h"
#include "vmbus/network/network_client.h"
#include "vmbus/network/network_provider.h"

namespace vmbus::network_rig {

struct FakeStack final : NetworkClientUser {
    std::vector<std::pair<std::uint16_t, IncomingFrame>> frames;
    std::vector<std::string> calls;

    void ready() override { calls.push_back("ready"); }
    void down() override { calls.push_back("down"); }
    void receive(std::uint16_t queue, std::span<IncomingFrame> batch) override {
        for (auto& frame : batch) frames.emplace_back(queue, std::move(frame));
    }
    void room() override { calls.push_back("room"); }
    void link_changed(bool up) override { calls.push_back(up ? "link up" : "link down"); }
    void network_changed() override { calls.push_back("network changed"); }
    void vf_changed(bool allocated, std::uint32_t serial) override {
        calls.push_back((allocated ? "vf " : "no vf ") + std::to_string(serial));
    }
    void data_path_switched() override { calls.push_back("switched"); }
};

struct Pair {
    static constexpr std::uint32_t processors = 4;

    static NetworkClient::Config client_config(std::uint16_t channels = 1) {
        NetworkClient::Config config;
        config.channels = channels;
        config.virtual_processors = processors;
        config.offloads = OffloadSettings::all(true);
        return config;
    }
    static NetworkProvider::Config provider_config(std::uint16_t channels = 1) {
        NetworkProvider::Config config = ordinary_config(channels);
        config.adapter.offloads = OffloadSettings::all(true);
        return config;
    }

    explicit Pair(const NetworkProvider::Config& host = provider_config(),
                  const NetworkClient::Config& guest = client_config(), const test::LoopbackConfig& bus = {})
        : loop(bus) {
        for (std::uint32_t n = 0; n < processors; ++n) {
            root.push_back(std::make_unique<sim::SerialProcessor>(loop.simulation.scope("root.cpu" + std::to_string(n)),
                                                                  sim::Time::ns(200)));
            vps.push_back(std::make_unique<sim::SerialProcessor>(loop.simulation.scope("guest.vp" + std::to_string(n)),
                                                                 sim::Time::ns(200)));
        }
        provider = std::make_unique<NetworkProvider>(
            loop.simulation.scope("root.net"), loop.server, port, host,
            [this](std::uint16_t queue) -> sim::Processor& { return *root[queue % processors]; });
        client = std::make_unique<NetworkClient>(
            loop.simulation.scope("guest.net"), loop.client, stack, guest,
            [this](std::uint16_t queue) -> sim::Processor& { return *vps[queue % processors]; });
        loop.bindings[interface_type::network] = {client.get(), true, guest.ring_pages, ReadMode::batched};
    }

    test::Loopback loop;
    std::vector<std::unique_ptr<sim::SerialProcessor>> root;
    std::vector<std::unique_ptr<sim::SerialProcessor>> vps;
    FakePort port;
    FakeStack stack;
    std::unique_ptr<NetworkProvider> provider;
    std::unique_ptr<NetworkClient> client;

    void run(sim::Time time) { loop.run(time); }
    void up() {
        loop.client.connect();
        run(sim::Time::ms(50));
        VG_CHECK(client->is_up());
        port.calls.clear();
        stack.calls.clear();
    }
    void to_guest(IncomingFrame frame) { provider->receive({&frame, 1}); }
};

}  // namespace vmbus::network_rig
