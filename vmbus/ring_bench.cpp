#include "vmbus/ring_bench.h"

#include <array>
#include <deque>
#include <numeric>
#include <utility>

#include "sim/check.h"
#include "sim/simulation.h"
#include "vmbus/client/bus_client.h"
#include "vmbus/plain_memory.h"
#include "vmbus/server.h"

namespace vmbus {
namespace {

// A writer and a reader, batch by batch.
std::uint64_t run_rings(std::uint32_t payload_bytes, std::uint32_t ring_pages, std::uint64_t packets) {
    PlainMemory memory{ring_pages};
    std::vector<std::uint64_t> pages(ring_pages);
    std::iota(pages.begin(), pages.end(), 0);
    PageList list;
    list.append(0, static_cast<std::uint32_t>(ring_pages * page_bytes), pages);
    RingPair writer{RingEnd::guest, ReadMode::batched};
    RingReader reader{RingEnd::host, ReadMode::batched};
    writer.out.attach(list);
    reader.attach(list);
    VG_CHECK(writer.out.make(memory) && reader.start(memory));
    const std::vector<std::byte> payload(payload_bytes, std::byte{0x5a});
    Packet packet;
    std::uint64_t taken = 0;
    while (taken < packets) {
        for (unsigned n = 0; n < 64; ++n) {
            if (writer.send(memory, PacketType::inband, n, false, payload) != RingWriter::Result::written) break;
        }
        VG_CHECK(writer.out.commit(memory));
        while (reader.receive(memory, packet) == RingReader::Result::packet) ++taken;
    }
    return taken;
}

// Both ends of a bus, with a device that completes what it gets.
class BenchBus final : GuestPort, BusDriver, ChannelDevice, ChannelDriver {
public:
    static constexpr Guid type = guid("00000000-0000-0000-0000-00000000be4c");
    static constexpr sim::Time latency = sim::Time::us(1);

    BenchBus(std::uint32_t payload_bytes, std::uint32_t ring_pages)
        : memory_(4 * ring_pages),
          pages_(1, 4 * ring_pages - 1),
          payload_(payload_bytes, std::byte{0x5a}),
          ring_pages_(ring_pages),
          messages_(simulation_.agenda(), "messages", [this] { deliver_messages(); }),
          to_device_(simulation_.agenda(), "to_device", [this] { server_.guest_signal(connection_); }),
          to_driver_(simulation_.agenda(), "to_driver", [this] { client_.host_event(0, flag_); }),
          server_(simulation_.scope("bus"), memory_, *this, {}),
          client_(simulation_.scope("guest"), memory_, to_host_, pages_, *this, {}) {
        server_.offer({type, type}, *this);
        client_.connect();
        while (channel_ == nullptr && simulation_.agenda().run_next()) continue;
        VG_CHECK(channel_ != nullptr);
    }

    std::uint64_t run(std::uint64_t packets) {
        done_ = 0;
        wanted_ = packets;
        request();
        while (done_ < packets && simulation_.agenda().run_next()) continue;
        VG_CHECK(done_ >= packets);
        return done_;
    }

private:
    void deliver_messages() {
        while (!on_the_way_.empty()) {
            const auto [to_guest, payload] = std::move(on_the_way_.front());
            on_the_way_.pop_front();
            if (to_guest) {
                client_.host_message(payload);
            } else {
                server_.guest_message(payload);
            }
        }
    }
    void put(bool to_guest, std::span<const std::byte> payload) {
        on_the_way_.emplace_back(to_guest, std::vector<std::byte>(payload.begin(), payload.end()));
        if (!messages_.armed()) messages_.arm_after(latency);
    }

    // The ports
    [[nodiscard]] bool post_message(std::uint32_t, std::span<const std::byte> payload) override {
        put(true, payload);
        return true;
    }
    void signal_event(std::uint32_t, std::uint16_t flag) override {
        flag_ = flag;
        if (!to_driver_.armed()) to_driver_.arm_after(latency);
    }
    void open_connection(std::uint32_t) override {}
    void close_connection(std::uint32_t) override {}
    std::uint32_t processor_count() const override { return 1; }
    struct ToHost final : HostPort {
        explicit ToHost(BenchBus& all) : bus(all) {}
        [[nodiscard]] std::uint16_t post_message(std::uint32_t, std::span<const std::byte> payload) override {
            bus.put(false, payload);
            return 0;
        }
        [[nodiscard]] std::uint16_t signal_event(std::uint32_t connection, std::uint16_t) override {
            bus.connection_ = connection;
            if (!bus.to_device_.armed()) bus.to_device_.arm_after(latency);
            return 0;
        }
        BenchBus& bus;
    };

    // The device
    std::uint32_t open(Channel&, std::span<const std::byte, 120>) override { return 0; }
    void closed(Channel&) override {}
    void signalled(Channel& channel) override {
        while (channel.receive(packet_)) VG_CHECK(channel.complete(packet_.transaction, packet_.payload));
        channel.flush();
    }

    // The driver
    void offered(ClientChannel& channel) override {
        channel.bind(*this);
        VG_CHECK(channel.open({ring_pages_, ring_pages_}, 0));
    }
    void opened(ClientChannel& channel, std::uint32_t status) override {
        VG_CHECK(status == status::success);
        channel_ = &channel;
    }
    void signalled(ClientChannel& channel) override {
        while (channel.receive(packet_)) done_ += 2;
        channel.flush();
        if (done_ < wanted_) request();
    }
    void request() {
        for (unsigned n = 0; n < 64 && channel_->send(n, payload_, true); ++n) continue;
        channel_->flush();
    }

    sim::Simulation simulation_;
    PlainMemory memory_;
    PageAllocator pages_;
    std::vector<std::byte> payload_;
    std::uint32_t ring_pages_;
    ToHost to_host_{*this};
    std::deque<std::pair<bool, std::vector<std::byte>>> on_the_way_;
    sim::Timer messages_;
    sim::Timer to_device_;
    sim::Timer to_driver_;
    Server server_;
    BusClient client_;
    ClientChannel* channel_ = nullptr;
    Packet packet_;
    std::uint32_t connection_ = 0;
    std::uint16_t flag_ = 0;
    std::uint64_t done_ = 0;
    std::uint64_t wanted_ = 0;
};

}  // namespace

std::vector<RingBenchRow> run_ring_bench(std::uint64_t packets, const std::function<std::uint64_t()>& clock_ns) {
    if (packets == 0) throw sim::UserError("bench vmbus: give a number of packets above 0");
    constexpr std::array<std::pair<std::uint32_t, std::uint32_t>, 4> forms{
        {{40, 16}, {40, 128}, {512, 128}, {4000, 128}}};
    std::vector<RingBenchRow> rows;
    const auto measure = [&](std::string_view what, std::uint32_t bytes, std::uint32_t pages, const auto& work) {
        const std::uint64_t begin = clock_ns();
        const std::uint64_t done = work();
        rows.push_back({what, bytes, pages, done, clock_ns() - begin});
    };
    for (const auto& [bytes, pages] : forms)
        measure("ring", bytes, pages, [&, b = bytes, p = pages] { return run_rings(b, p, packets); });
    for (const auto& [bytes, pages] : forms) {
        BenchBus bus{bytes, pages};
        measure("channel", bytes, pages, [&] { return bus.run(packets); });
    }
    return rows;
}

}  // namespace vmbus
