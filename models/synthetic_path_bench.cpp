#include "models/synthetic_path_bench.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "models/network/peer/peer.h"
#include "models/network/toeplitz.h"
#include "models/network/uplink.h"
#include "models/switch_adapter.h"
#include "sim/bits.h"
#include "sim/check.h"
#include "sim/processor.h"
#include "sim/simulation.h"
#include "vmbus/client/bus_client.h"
#include "vmbus/network/network_client.h"
#include "vmbus/network/network_provider.h"
#include "vmbus/plain_memory.h"
#include "vmbus/server.h"

namespace models {
namespace {

constexpr std::uint64_t wire_bits_per_second = 40'000'000'000;
constexpr std::uint16_t service_port = 9;
constexpr std::uint64_t endless = std::uint64_t{1} << 50;
constexpr std::uint16_t hash_types = rss_type::ipv4 | rss_type::tcp_ipv4;
constexpr std::size_t small_payload_bytes = 64 - 4 - 42;  // with headers and check sequence 64 bytes on the wire

std::uint64_t counter(sim::Simulation& simulation, const std::string& name) {
    const auto& all = simulation.statistics().all();
    const auto found = all.find(name);
    return found == all.end() ? 0 : found->second.counter.value();
}

using Processors = std::deque<sim::SerialProcessor>;

void add_processors(Processors& processors, sim::Simulation& simulation, const std::string& owner, unsigned count) {
    for (unsigned n = 0; n < count; ++n) {
        processors.emplace_back(simulation.scope(owner + ".cpu" + std::to_string(n)), sim::Time::zero());
    }
}

std::uint64_t busy_ps(sim::Simulation& simulation, const std::string& owner, unsigned count) {
    std::uint64_t sum = 0;
    for (unsigned n = 0; n < count; ++n) sum += counter(simulation, owner + ".cpu" + std::to_string(n) + ".busy");
    return sum;
}

// Messages and signals between a guest and the root, each as long under way as an interrupt between processors.
class Signals final : private vmbus::GuestPort {
public:
    Signals(const sim::Scope& scope, std::uint32_t processors, sim::Time latency)
        : scope_(scope),
          processors_(processors),
          latency_(latency),
          timer_(scope.agenda(), scope.path(), [this] { arrive(); }) {}

    void join(vmbus::Server& server, vmbus::BusClient& client) {
        server_ = &server;
        client_ = &client;
    }
    vmbus::GuestPort& to_guest() { return *this; }
    vmbus::HostPort& to_host() { return to_host_; }

private:
    enum class Kind : std::uint8_t { message_to_guest, event_to_guest, message_to_host, event_to_host };
    struct Item {
        sim::Time at;
        Kind kind{};
        std::uint32_t to = 0;
        std::uint16_t flag = 0;
        std::vector<std::byte> payload;
    };

    [[nodiscard]] bool post_message(std::uint32_t vp, std::span<const std::byte> payload) override {
        put(Kind::message_to_guest, vp, 0, payload);
        return true;
    }
    void signal_event(std::uint32_t vp, std::uint16_t flag) override { put(Kind::event_to_guest, vp, flag, {}); }
    void open_connection(std::uint32_t) override {}
    void close_connection(std::uint32_t) override {}
    std::uint32_t processor_count() const override { return processors_; }

    struct ToHost final : vmbus::HostPort {
        explicit ToHost(Signals& all) : signals(all) {}
        [[nodiscard]] std::uint16_t post_message(std::uint32_t connection,
                                                 std::span<const std::byte> payload) override {
            signals.put(Kind::message_to_host, connection, 0, payload);
            return 0;
        }
        [[nodiscard]] std::uint16_t signal_event(std::uint32_t connection, std::uint16_t flag) override {
            signals.put(Kind::event_to_host, connection, flag, {});
            return 0;
        }
        Signals& signals;
    };

    void put(Kind kind, std::uint32_t to, std::uint16_t flag, std::span<const std::byte> payload) {
        items_.push_back({scope_.now() + latency_, kind, to, flag, {payload.begin(), payload.end()}});
        if (!timer_.armed()) timer_.arm(items_.front().at);
    }
    void arrive() {
        while (!items_.empty() && items_.front().at <= scope_.now()) {
            const Item item = std::move(items_.front());
            items_.pop_front();
            switch (item.kind) {
                case Kind::message_to_guest:
                    client_->host_message(item.payload);
                    break;
                case Kind::event_to_guest:
                    client_->host_event(item.to, item.flag);
                    break;
                case Kind::message_to_host:
                    server_->guest_message(item.payload);
                    break;
                case Kind::event_to_host:
                    server_->guest_signal(item.to);
                    break;
            }
        }
        if (!items_.empty() && !timer_.armed()) timer_.arm(items_.front().at);
    }

    sim::Scope scope_;
    std::uint32_t processors_;
    sim::Time latency_;
    std::deque<Item> items_;
    sim::Timer timer_;
    ToHost to_host_{*this};
    vmbus::Server* server_ = nullptr;
    vmbus::BusClient* client_ = nullptr;
};

MacAddress mac_of(unsigned number) {
    return MacAddress::from_u64(0x0015'5d00'0000 + number);
}

// Windows that all together fit the queues on the way: what is measured is the path, not the repair of losses.
constexpr std::uint64_t windows_bytes = 3 * 1024 * 1024;

PeerSettings host_settings(unsigned number, std::uint64_t connections) {
    PeerSettings settings;
    settings.mac = mac_of(number);
    settings.ipv4 = IpAddress::v4(0x0a00'0000 + number);
    settings.response = sim::Time::us(1);
    settings.tcp.receive_buffer =
        static_cast<std::uint32_t>(std::clamp<std::uint64_t>(windows_bytes / connections, 64 * 1024, 1024 * 1024));
    settings.tcp.large_send_bytes = 60 * 1024;
    return settings;
}

// A partition with a driver and a host's network stack above it.
class BenchGuest final : private vmbus::BusDriver, private vmbus::NetworkClientUser, private FrameReceiver {
public:
    BenchGuest(sim::Simulation& simulation, VirtualSwitch& network, const std::string& name, unsigned number,
               std::uint16_t channels, std::uint64_t connections, Processors& root, const Profile& profile)
        : simulation_(simulation),
          name_(name),
          channels_(channels),
          memory_(memory_pages),
          pages_(1, memory_pages - 1),
          signals_(simulation.scope(name + ".signals"), channels, profile.exit_costs.ipi_latency),
          server_(simulation.scope(name + ".bus"), memory_, signals_.to_guest(), {}),
          bus_(simulation.scope(name + ".guest_bus"), memory_, signals_.to_host(), pages_, *this, {}),
          adapter_(network, name, adapter_port(mac_of(number))),
          provider_(simulation.scope(name + ".adapter"), server_, adapter_, provider_config(number, channels, profile),
                    [&root](std::uint16_t queue) -> sim::Processor& { return root[queue % root.size()]; }),
          stack_(simulation.scope(name + ".stack"), host_settings(number, connections), *this) {
        add_processors(processors_, simulation, name, channels);
        driver_.emplace(simulation.scope(name + ".driver"), bus_, static_cast<vmbus::NetworkClientUser&>(*this),
                        client_config(channels, profile), [this](std::uint16_t queue) -> sim::Processor& {
                            return processors_[queue % processors_.size()];
                        });
        signals_.join(server_, bus_);
        adapter_.connect(provider_);
        bus_.connect();
        while (!driver_->is_up()) VG_CHECK(simulation.agenda().run_next(), "an adapter never comes up");
    }

    Peer& stack() { return stack_; }
    PortId port() const { return adapter_.port(); }
    std::uint64_t busy() { return busy_ps(simulation_, name_, channels_); }

    // Datagrams to that host, which it knows, as many as go.
    void flood(const PeerSettings& to) {
        flood_ = true;
        const std::vector<std::byte> payload(small_payload_bytes);
        stack_.send_udp(10'000, {to.ipv4, Peer::udp_discard_port}, payload);
    }

private:
    static constexpr std::uint64_t memory_pages = 16384;

    static vmbus::NetworkProvider::Config provider_config(unsigned number, std::uint16_t channels,
                                                          const Profile& profile) {
        vmbus::NetworkProvider::Config config;
        config.instance.bytes[0] = static_cast<std::uint8_t>(number);
        config.adapter.address.bytes = mac_of(number).bytes;
        config.adapter.queues = channels;
        config.adapter.offloads = vmbus::OffloadSettings::all(false);
        config.bits_per_second = wire_bits_per_second;
        config.costs = profile.service_costs.network;
        return config;
    }
    static vmbus::NetworkClient::Config client_config(std::uint16_t channels, const Profile& profile) {
        vmbus::NetworkClient::Config config;
        config.channels = config.most_channels = channels;
        config.virtual_processors = channels;
        config.rss_key = microsoft_rss_key;
        config.costs = profile.service_costs.network.ring;
        config.interrupt = profile.service_costs.guest_network_interrupt;
        config.per_frame = profile.service_costs.guest_network_frame;
        return config;
    }

    // The bus
    void offered(vmbus::ClientChannel& channel) override { driver_->offered(channel); }

    // What the stack sends.
    void receive(Frame&& frame) override {
        vmbus::OutgoingFrame out;
        out.fill_ip_checksum = frame.fill.ip;
        out.fill_tcp_checksum = frame.fill.tcp;
        out.fill_udp_checksum = frame.fill.udp;
        out.large_send_mss = frame.large_send_mss;
        if (const auto headers = parse_headers(frame)) {
            out.transport_offset = static_cast<std::uint16_t>(headers->transport_offset);
            if (const auto hash = rss_hash(microsoft_rss_key, hash_types | rss_type::udp_ipv4, *headers)) {
                out.hash = hash->value;
            }
        }
        out.bytes = std::move(frame.bytes);
        if (flood_) {
            model_ = std::move(out);
            return room();
        }
        (void)driver_->transmit(std::move(out));  // what does not go is lost, as in a queue that is full
    }
    // What it gets.
    void receive(std::uint16_t, std::span<vmbus::IncomingFrame> frames) override {
        using vmbus::ChecksumState;
        for (vmbus::IncomingFrame& from : frames) {
            Frame frame{std::move(from.bytes)};
            const bool bad = from.ip_checksum == ChecksumState::bad || from.tcp_checksum == ChecksumState::bad;
            frame.ip_verdict = frame.transport_verdict = bad ? ChecksumVerdict::bad : ChecksumVerdict::good;
            stack_.receive(std::move(frame));
        }
    }
    void room() override {
        while (flood_) {
            vmbus::OutgoingFrame next = model_;
            if (!driver_->transmit(std::move(next))) return;
        }
    }

    sim::Simulation& simulation_;
    std::string name_;
    std::uint16_t channels_;
    vmbus::PlainMemory memory_;
    vmbus::PageAllocator pages_;
    Signals signals_;
    vmbus::Server server_;
    vmbus::BusClient bus_;
    Processors processors_;
    SwitchAdapter adapter_;
    vmbus::NetworkProvider provider_;
    Peer stack_;
    std::optional<vmbus::NetworkClient> driver_;
    bool flood_ = false;
    vmbus::OutgoingFrame model_;
};

// Everything of one row. The far end is a host on a wire, or a second guest.
class SyntheticPath final {
public:
    SyntheticPath(PathForm form, std::uint16_t channels, std::uint64_t connections, const Profile& profile)
        : form_(form),
          channels_(channels),
          switch_(simulation_.scope("switch"),
                  {.queues = {.processors = channels, .queues = channels}, .costs = profile.service_costs.switching}) {
        add_processors(root_, simulation_, "root", channels);
        guest_.emplace(simulation_, switch_, "guest", 1u, channels, connections, root_, profile);
        if (form == PathForm::two_guests) {
            add_processors(far_root_, simulation_, "far_root", channels);
            far_guest_.emplace(simulation_, switch_, "far_guest", 2u, channels, connections, far_root_, profile);
            return;
        }
        switch_.queues().add(guest_->port(), channels);
        WireSettings link;
        link.bits_per_second = wire_bits_per_second;
        link.queue_bytes = 16 * 1024 * 1024;  // the far host's memory holds what waits
        wire_.emplace(simulation_.scope("wire"), link);
        std::vector<sim::Processor*> processors;
        for (sim::SerialProcessor& processor : root_) processors.push_back(&processor);
        UplinkSettings settings;
        settings.per_batch = profile.service_costs.network.interrupt;
        settings.batch_frames = 32;  // fewer than the adapter's service takes: what is too much is lost before it costs
        uplink_.emplace(simulation_.scope("uplink"), switch_, "uplink", external_port(), wire_->end(0), processors, 0u,
                        settings);
        far_host_.emplace(simulation_.scope("far"), host_settings(2, connections), wire_->end(1));
        wire_->end(1).connect(*far_host_);
    }

    void run_for(sim::Time time) { simulation_.agenda().run_until(simulation_.agenda().now() + time); }
    Peer& near() { return guest_->stack(); }
    Peer& far() { return far_guest_ ? far_guest_->stack() : *far_host_; }

    void start(std::uint64_t connections) {
        ping(1);
        if (form_ == PathForm::small_frames) return guest_->flood(far().settings());
        Peer& sender = form_ == PathForm::receives ? far() : near();
        Peer& receiver = form_ == PathForm::receives ? near() : far();
        sender_ = &sender;
        receiver.tcp().listen(service_port, {.service = TcpService::discard});
        for (std::uint64_t n = 0; n < connections; ++n) {
            connections_.push_back(sender.connect({receiver.settings().ipv4, service_port},
                                                  {.service = TcpService::source, .source_bytes = endless, .seed = n}));
        }
    }
    std::vector<sim::Time> ping(std::uint16_t count) {
        const std::uint16_t series = near().ping(far().settings().ipv4, count, sim::Time::ms(1));
        run_for(sim::Time::ms(1) * (count + 1));
        const std::vector<sim::Time> times = near().pinger().find(series)->round_trips;
        for (const sim::Time time : times) VG_CHECK(!time.is_never(), "a ping is lost");
        return times;
    }

    struct Reading {
        std::uint64_t bytes = 0, frames = 0, guest_ps = 0, root_ps = 0;
    };
    Reading read() {
        Reading now;
        now.guest_ps = guest_->busy();
        now.root_ps = busy_ps(simulation_, "root", channels_);
        if (form_ == PathForm::small_frames) {
            now.frames = counter(simulation_, "far.udp_discarded");
            now.bytes = now.frames * small_payload_bytes;
            return now;
        }
        for (const TcpConnectionId id : connections_) now.bytes += sender_->tcp().find(id)->acknowledged_bytes();
        const char* counted = form_ == PathForm::receives ? "guest.stack" : far_guest_ ? "far_guest.stack" : "far";
        now.frames = counter(simulation_, std::string{counted} + ".in_frames");
        return now;
    }

private:
    PathForm form_;
    std::uint16_t channels_;
    sim::Simulation simulation_{1};
    VirtualSwitch switch_;
    Processors root_, far_root_;
    std::optional<BenchGuest> guest_, far_guest_;
    std::optional<Wire> wire_;
    std::optional<Uplink> uplink_;
    std::optional<Peer> far_host_;
    Peer* sender_ = nullptr;
    std::vector<TcpConnectionId> connections_;
};

std::uint64_t per_second(std::uint64_t count, sim::Time duration) {
    return static_cast<std::uint64_t>(static_cast<sim::u128>(count) * sim::picoseconds_per_second /
                                      static_cast<sim::u128>(duration.ps()));
}

}  // namespace

std::string_view name_of(PathForm form) {
    static constexpr std::array<std::string_view, 4> names{"guest to wire", "wire to guest", "guest to guest",
                                                           "64 B datagrams"};
    return names[static_cast<std::size_t>(form)];
}

std::uint64_t SyntheticPathRow::megabits_per_second() const {
    return per_second(bytes * 8, duration) / 1'000'000;
}

std::uint64_t SyntheticPathRow::frames_per_second() const {
    return per_second(frames, duration);
}

std::uint64_t SyntheticPathRow::guest_millicycles_per_byte(const Profile& profile) const {
    if (bytes == 0) return 0;
    const sim::u128 millicycles = static_cast<sim::u128>(guest_busy.ps()) * profile.core_hz * 1000;
    return static_cast<std::uint64_t>(millicycles / sim::picoseconds_per_second / bytes);
}

SyntheticPathRow run_synthetic_path(PathForm form, std::uint16_t channels, std::uint64_t connections,
                                    sim::Time duration, const Profile& profile,
                                    const std::function<std::uint64_t()>& clock_ns) {
    if (channels == 0 || channels > 64 || connections == 0 || duration <= sim::Time::zero()) {
        throw sim::UserError("bench vmbus: give 1 to 64 channels, some connections and a duration");
    }
    SyntheticPath path(form, channels, connections, profile);
    path.start(connections);
    path.run_for(sim::Time::ms(20));  // windows open
    const SyntheticPath::Reading before = path.read();
    const std::uint64_t begin = clock_ns();
    path.run_for(duration);
    SyntheticPathRow row;
    row.wall_ns = clock_ns() - begin;
    const SyntheticPath::Reading after = path.read();
    row.form = form;
    row.channels = channels;
    row.connections = connections;
    row.duration = duration;
    row.bytes = after.bytes - before.bytes;
    row.frames = after.frames - before.frames;
    row.guest_busy = sim::Time::ps(static_cast<std::int64_t>(after.guest_ps - before.guest_ps));
    row.root_busy = sim::Time::ps(static_cast<std::int64_t>(after.root_ps - before.root_ps));
    return row;
}

RoundTripRow run_synthetic_round_trips(std::uint16_t count, const Profile& profile) {
    if (count == 0) throw sim::UserError("bench vmbus: give a number of round trips");
    SyntheticPath path(PathForm::two_guests, 1, 1, profile);
    path.ping(1);
    RoundTripRow row{count, sim::Time::never(), {}};
    for (const sim::Time time : path.ping(count)) {
        row.least = std::min(row.least, time);
        row.average = row.average + time;
    }
    row.average = sim::Time::ps(row.average.ps() / count);
    return row;
}

}  // namespace models
