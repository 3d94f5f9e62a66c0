// A root with one integration service and the guest's side of it.
#pragma once

#include <functional>
#include <initializer_list>
#include <optional>
#include <vector>

#include "tests/vmbus/scripted_channel.h"
#include "vmbus/inband/bytes.h"
#include "vmbus/integration/integration_client.h"

namespace vmbus::testing {

inline Bytes hex(std::initializer_list<int> values) {
    Bytes bytes;
    for (const int value : values) bytes.push_back(static_cast<std::byte>(value));
    return bytes;
}

// Where a scripted channel's guest puts its packets.
class ScriptedLink final : public GuestLink {
public:
    explicit ScriptedLink(ScriptedChannel& channel) : channel_(channel) {}
    void send(std::uint64_t transaction, std::span<const std::byte> payload) override {
        channel_.put(Bytes(payload.begin(), payload.end()), transaction);
    }

private:
    ScriptedChannel& channel_;
};

// A guest that answers every request; `respond` may be replaced, and the body of the last one looked at.
class IntegrationGuest final : private IntegrationResponder {
public:
    IntegrationGuest(Root& root, ic::Type type, std::vector<ic::Version> versions, std::size_t channel = 0)
        : root_(root), channel_(root.channel(channel)), link_(channel_), client(type, versions, link_, *this) {}

    std::function<std::optional<std::uint32_t>(Bytes& body)> on_request = [](Bytes&) { return ic::status::ok; };
    std::vector<Bytes> requests;

    // Takes what is on the ring and answers, until nothing comes any more at this instant.
    void run() {
        root_.settle();
        while (!channel_.sent.empty()) {
            const auto packet = channel_.take();
            client.received(packet.transaction, packet.bytes);
            root_.settle();
        }
    }
    void open() {
        channel_.open();
        run();
    }
    // Lets time pass in steps, answering at once.
    void run_for(sim::Time time, sim::Time step = sim::Time::ms(100)) {
        const sim::Time end = root_.now() + time;
        while (root_.now() < end) {
            root_.run_for(step);
            run();
        }
    }

private:
    std::optional<std::uint32_t> respond(ic::Version, std::vector<std::byte>& body) override {
        requests.push_back(body);
        return on_request(body);
    }

    Root& root_;
    ScriptedChannel& channel_;
    ScriptedLink link_;

public:
    IntegrationClient client;
};

}  // namespace vmbus::testing
