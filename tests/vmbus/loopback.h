// A bus with both ends and nothing between them but time: a Server and a BusClient over one memory. What each sends the
// other arrives a little later.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <set>
#include <span>
#include <utility>
#include <vector>

#include "sim/simulation.h"
#include "vmbus/client/bus_client.h"
#include "vmbus/ports.h"
#include "vmbus/server.h"

namespace vmbus::test {

class VectorMemory final : public GuestMemory {
public:
    explicit VectorMemory(std::uint64_t pages) : bytes_(static_cast<std::size_t>(pages * page_bytes)) {}

    [[nodiscard]] bool read(std::uint64_t gpa, std::span<std::byte> out) override {
        if (gpa > bytes_.size() || out.size() > bytes_.size() - gpa) return false;
        if (!out.empty()) std::memcpy(out.data(), bytes_.data() + gpa, out.size());
        if (after_read) after_read();
        return true;
    }
    [[nodiscard]] bool write(std::uint64_t gpa, std::span<const std::byte> data) override {
        if (gpa > bytes_.size() || data.size() > bytes_.size() - gpa) return false;
        if (!data.empty()) std::memcpy(bytes_.data() + gpa, data.data(), data.size());
        return true;
    }
    void will_fill(std::uint64_t gpa, std::uint64_t bytes) override { filled.emplace_back(gpa, bytes); }
    std::span<std::byte> bytes() { return bytes_; }

    // What somebody has said he will fill: where, and how much.
    std::vector<std::pair<std::uint64_t, std::uint64_t>> filled;
    // A guest that changes its memory while the host reads it.
    std::function<void()> after_read;

    template <class Archive>
    void fields(Archive& archive) {
        archive.bytes(bytes_);
    }

private:
    std::vector<std::byte> bytes_;
};

// Keeps what is on its way, and delivers it. The queue of messages to the guest is as long as a hypervisor's.
class Wires final : public GuestPort {
public:
    static constexpr sim::Time latency = sim::Time::us(1);

    Wires(const sim::Scope& scope, std::uint32_t processors)
        : scope_(scope),
          processors_(processors),
          timer_(scope.agenda(), scope.path() + ".wires", [this] { deliver(); }),
          registration_(scope.register_state(*this)) {}

    void join(Server& server, BusClient& client) {
        server_ = &server;
        client_ = &client;
    }

    // GuestPort
    [[nodiscard]] bool post_message(std::uint32_t vp, std::span<const std::byte> payload) override {
        if (vp >= processors_ || to_guest_waiting >= guest_queue_length) return false;
        ++to_guest_waiting;
        last_message_vp = vp;
        put({scope_.now() + latency, Kind::message_to_guest, vp, 0, {payload.begin(), payload.end()}});
        return true;
    }
    void signal_event(std::uint32_t vp, std::uint16_t flag) override {
        ++events_to_guest;
        last_event = {vp, flag};
        put({scope_.now() + latency, Kind::event_to_guest, vp, flag, {}});
    }
    void open_connection(std::uint32_t connection) override { connections.insert(connection); }
    void close_connection(std::uint32_t connection) override { connections.erase(connection); }
    std::uint32_t processor_count() const override { return processors_; }

    // The guest's hypercalls.
    struct ToHost final : HostPort {
        explicit ToHost(Wires& all) : wires(all) {}
        [[nodiscard]] std::uint16_t post_message(std::uint32_t connection,
                                                 std::span<const std::byte> payload) override {
            if (connection != Server::message_connection_old && connection != Server::message_connection) return 0x12;
            if (connection == Server::message_connection && !wires.has_new_connection) return 0x12;
            wires.last_message_connection = connection;
            wires.put(
                {wires.scope_.now() + latency, Kind::message_to_host, connection, 0, {payload.begin(), payload.end()}});
            return 0;
        }
        [[nodiscard]] std::uint16_t signal_event(std::uint32_t connection, std::uint16_t flag) override {
            if (!wires.connections.contains(connection)) return 0x12;
            ++wires.events_to_host;
            wires.put({wires.scope_.now() + latency, Kind::event_to_host, connection, flag, {}});
            return 0;
        }
        Wires& wires;
    };

    ToHost to_host{*this};
    std::size_t guest_queue_length = 64;
    std::size_t to_guest_waiting = 0;
    bool guest_reads = true;  // else its queue fills
    bool has_new_connection = true;
    std::set<std::uint32_t> connections;  // that the guest may signal
    std::uint64_t events_to_guest = 0;
    std::uint64_t events_to_host = 0;
    std::pair<std::uint32_t, std::uint16_t> last_event{};
    std::uint32_t last_message_vp = 0;
    std::uint32_t last_message_connection = 0;
    std::vector<std::vector<std::byte>> heard;  // messages to the guest, if asked for
    bool hear = false;

    template <class Archive>
    void fields(Archive& archive) {
        archive(on_the_way_, held_, timer_, to_guest_waiting, connections, events_to_guest, events_to_host);
    }

    void read_held() {
        guest_reads = true;
        while (!held_.empty()) {
            const Item item = std::move(held_.front());
            held_.pop_front();
            arrive(item);
        }
    }

private:
    enum class Kind : std::uint8_t { message_to_guest, event_to_guest, message_to_host, event_to_host };
    struct Item {
        sim::Time at;
        Kind kind{};
        std::uint32_t to = 0;
        std::uint16_t flag = 0;
        std::vector<std::byte> payload;

        template <class Archive>
        void fields(Archive& archive) {
            archive(at, kind, to, flag, payload);
        }
    };

    void put(Item item) {
        on_the_way_.push_back(std::move(item));
        if (!timer_.armed()) timer_.arm(on_the_way_.front().at);
    }
    void deliver() {
        while (!on_the_way_.empty() && on_the_way_.front().at <= scope_.now()) {
            const Item item = std::move(on_the_way_.front());
            on_the_way_.pop_front();
            if (item.kind == Kind::message_to_guest && !guest_reads) {
                held_.push_back(item);
            } else {
                arrive(item);
            }
        }
        if (!on_the_way_.empty() && !timer_.armed()) timer_.arm(on_the_way_.front().at);
    }
    void arrive(const Item& item) {
        switch (item.kind) {
            case Kind::message_to_guest:
                --to_guest_waiting;
                if (hear) heard.push_back(item.payload);
                return client_->host_message(item.payload);
            case Kind::event_to_guest:
                return client_->host_event(item.to, item.flag);
            case Kind::message_to_host:
                return server_->guest_message(item.payload);
            case Kind::event_to_host:
                return server_->guest_signal(item.to);
        }
    }

    sim::Scope scope_;
    std::uint32_t processors_;
    Server* server_ = nullptr;
    BusClient* client_ = nullptr;
    std::deque<Item> on_the_way_;
    std::deque<Item> held_;
    sim::Timer timer_;
    sim::StateRegistration registration_;
};

struct LoopbackConfig {
    std::uint64_t memory_pages = 16384;
    std::uint32_t processors = 4;
    ServerConfig server;
    BusClientConfig client;
};

// Binds each offered channel to the driver of its type, if there is one, and opens it if that says how.
class Loopback final : public BusDriver {
public:
    struct Binding {
        ChannelDriver* driver = nullptr;
        bool open = true;
        ClientChannel::RingPages pages;
        ReadMode mode = ReadMode::batched;
    };

    explicit Loopback(const LoopbackConfig& config = {}, std::uint64_t seed = 1)
        : simulation(seed),
          memory(config.memory_pages),
          pages(16, config.memory_pages - 16),
          wires(simulation.scope("wires"), config.processors),
          server(simulation.scope("bus"), memory, wires, config.server),
          client(simulation.scope("guest.bus"), memory, wires.to_host, pages, *this, config.client),
          memory_registration_(simulation.scope("memory").register_state(memory)),
          pages_registration_(simulation.scope("pages").register_state(pages)) {
        wires.join(server, client);
    }

    // A driver for all channels of a type.
    void bind(const Guid& type, ChannelDriver& driver) { bindings[type] = {&driver, true, {}, ReadMode::batched}; }

    void run(sim::Time duration) { simulation.agenda().run_until(simulation.agenda().now() + duration); }
    // Connects, and gives offers and opening time to happen.
    void connect() {
        client.connect();
        run(sim::Time::ms(1));
    }

    // BusDriver
    void connected(std::uint32_t) override { ++connections; }
    void refused() override { ++refusals; }
    void offered(ClientChannel& channel) override {
        offers.push_back(channel.offer());
        if (drivers.contains(channel.offer().interface_type)) {
            return drivers[channel.offer().interface_type]->offered(channel);
        }
        const auto found = bindings.find(channel.offer().interface_type);
        if (found == bindings.end()) return;
        channel.bind(*found->second.driver);
        if (found->second.open) (void)channel.open(found->second.pages, 0, {}, found->second.mode);
    }
    void offers_delivered() override { ++offers_complete; }
    void unloaded() override { ++unloads; }
    void socket_refused(const Guid&, const Guid&) override { ++sockets_refused; }
    ChannelDriver* adopt(ClientChannel& channel) override {
        const auto driver = drivers.find(channel.offer().interface_type);
        if (driver != drivers.end()) return driver->second->adopt(channel);
        const auto found = bindings.find(channel.offer().interface_type);
        return found != bindings.end() ? found->second.driver : nullptr;
    }

    sim::Simulation simulation;
    VectorMemory memory;
    PageAllocator pages;
    Wires wires;
    Server server;
    BusClient client;
    std::map<Guid, Binding> bindings;
    std::map<Guid, BusDriver*> drivers;  // that open channels of a type themselves
    std::vector<message::OfferChannel> offers;
    unsigned connections = 0;
    unsigned refusals = 0;
    unsigned offers_complete = 0;
    unsigned unloads = 0;
    unsigned sockets_refused = 0;

private:
    sim::StateRegistration memory_registration_;
    sim::StateRegistration pages_registration_;
};

}  // namespace vmbus::test
