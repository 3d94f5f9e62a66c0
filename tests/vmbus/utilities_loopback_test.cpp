// The devices that speak in plain messages over real rings, as large as Linux makes them, with a bus at both ends.
#include <doctest/doctest.h>

#include <map>
#include <string>
#include <vector>

#include "tests/vmbus/loopback.h"
#include "vmbus/inband/bytes.h"
#include "vmbus/inband/ring_driver.h"
#include "vmbus/input/input_client.h"
#include "vmbus/integration/file_copy.h"
#include "vmbus/integration/heartbeat.h"
#include "vmbus/integration/integration_client.h"
#include "vmbus/integration/key_value.h"
#include "vmbus/memory/dynamic_memory.h"
#include "vmbus/memory/dynamic_memory_client.h"
#include "vmbus/video/synthetic_video.h"
#include "vmbus/video/video_client.h"

namespace utilities_loopback_test {

using namespace vmbus;
using namespace vmbus::test;
using namespace sim::literals;

namespace {

using Bytes = std::vector<std::byte>;

// Rings as Linux has them, in pages, indices included: 16 KiB for services, 40 for input, 256 for video, 20 for memory.
constexpr ClientChannel::RingPages service_rings{4, 4};
constexpr ClientChannel::RingPages input_rings{10, 10};
constexpr ClientChannel::RingPages video_rings{64, 64};
constexpr ClientChannel::RingPages memory_rings{5, 5};

struct Root {
    Loopback loop;
    sim::SerialProcessor processor{loop.simulation.scope("root.cpu"), 1_us};
    ServiceHost host() { return {loop.server, processor, Costs{}}; }
    sim::Scope scope(const char* name) { return loop.simulation.scope(name); }
    void connect(const Guid& type, RingDriver& driver, ClientChannel::RingPages pages, ReadMode mode) {
        loop.bindings[type] = {&driver, true, pages, mode};
        loop.connect();
    }
};

class ServiceDriver final : public RingDriver, private IntegrationResponder {
public:
    ServiceDriver(ic::Type type, std::vector<ic::Version> versions) : client(type, versions, *this, *this) {}
    IntegrationClient client;
    std::vector<Bytes> requests;

private:
    void start() override {}
    void received(std::uint64_t transaction, std::span<const std::byte> payload) override {
        client.received(transaction, payload);
    }
    std::optional<std::uint32_t> respond(ic::Version, std::vector<std::byte>& body) override {
        requests.push_back(body);
        if (body.size() == 40) body[0] = static_cast<std::byte>(std::to_integer<int>(body[0]) + 1);  // a heartbeat
        return requests.size() > 20 && body.size() == 2580 ? ic::status::no_more_items : ic::status::ok;
    }
};

template <class Client>
class PlainDriver final : public RingDriver {
public:
    Client client{*this};

private:
    void start() override { client.start(); }
    void received(std::uint64_t, std::span<const std::byte> payload) override { client.received(payload); }
};

struct Listener final : KeyValueListener, FileCopyListener {
    std::map<std::uint32_t, KeyValueResult> values;
    std::vector<FileCopyResult> copies;
    void key_value_answered(std::uint32_t request, const KeyValueResult& result) override { values[request] = result; }
    void file_copied(const FileCopyResult& result) override { copies.push_back(result); }
};

}  // namespace

TEST_CASE("heartbeat over rings: each beat is answered within microseconds, for a minute") {
    Root root;
    Heartbeat heartbeat{root.scope("heartbeat"), root.host(), {}};
    ServiceDriver driver{ic::Type::heartbeat, {{3, 0}, {1, 0}}};
    root.connect(interface_type::heartbeat, driver, service_rings, ReadMode::direct);
    root.loop.run(60_s);
    CHECK(heartbeat.health() == GuestHealth::healthy);
    CHECK(heartbeat.answers() == 31);
    CHECK(heartbeat.beats() == 31);
}

TEST_CASE("key-value and file copy over rings: messages of 7 KiB wrap around many times") {
    Root root;
    Listener listener;
    KeyValueExchange kvp{root.scope("kvp"), root.host(), &listener};
    FileCopy copy{root.scope("fcopy"), root.host(), &listener};
    ServiceDriver kvp_driver{ic::Type::key_value_exchange, {{4, 0}}};
    ServiceDriver copy_driver{ic::Type::file_copy, {{1, 1}}};
    root.loop.bindings[interface_type::file_copy] = {&copy_driver, true, service_rings, ReadMode::direct};
    root.connect(interface_type::key_value_pair, kvp_driver, service_rings, ReadMode::direct);
    for (int n = 0; n < 10; ++n) kvp.set_ip({"adapter", 1, false, "10.0.0.1", "255.0.0.0", "10.0.0.254", "9.9.9.9"});
    const auto list = kvp.list(KeyValuePool::automatic);
    Bytes content(200'000);
    for (std::size_t n = 0; n < content.size(); ++n) content[n] = static_cast<std::byte>(n * 13 >> 4);
    copy.copy("/", "file", content);
    root.loop.run(1_s);
    CHECK(listener.values[list].items.size() == 10);
    CHECK(listener.values.size() == 11);
    REQUIRE(listener.copies.size() == 1);
    CHECK(listener.copies[0].bytes_written == content.size());
    Bytes arrived;
    for (const Bytes& request : copy_driver.requests) {
        ByteReader reader{request};
        if (reader.u32() != 1) continue;
        reader.skip(44);
        const auto piece = reader.bytes(reader.u32());
        arrived.insert(arrived.end(), piece.begin(), piece.end());
    }
    CHECK(arrived == content);
}

TEST_CASE("keyboard over rings: a thousand characters arrive in order") {
    Root root;
    Keyboard keyboard{root.scope("keyboard"), root.host(), {}};
    PlainDriver<KeyboardClient> driver;
    root.connect(interface_type::keyboard, driver, input_rings, ReadMode::batched);
    CHECK(driver.client.accepted());
    std::string text;
    for (int n = 0; n < 1000; ++n) text.push_back(static_cast<char>('a' + n % 26));
    keyboard.type(text);
    root.loop.run(5_s);
    CHECK(driver.client.bytes().size() == 2000);
    CHECK(driver.client.bytes()[0] == 0x1e);
    CHECK(driver.client.bytes()[1999] == (0x26 | 0x80));  // l, the 1000th
}

TEST_CASE("pointer over rings") {
    Root root;
    Pointer mouse{root.scope("pointer"), root.host(), {}};
    PlainDriver<PointerClient> driver;
    root.connect(interface_type::mouse, driver, input_rings, ReadMode::batched);
    CHECK(mouse.ready());
    mouse.move(1, 2);
    mouse.click();
    root.loop.run(1_s);
    CHECK(driver.client.reports().size() == 3);
}

TEST_CASE("video over rings") {
    struct Host final : VideoHost {
        bool place_vram(std::uint64_t, std::uint64_t) override { return true; }
        void remove_vram() override {}
    };
    class Driver final : public RingDriver {
    public:
        VideoClient client{*this};

    private:
        void start() override { client.start(0x10'0000); }
        void received(std::uint64_t, std::span<const std::byte> payload) override { client.received(payload); }
    };
    Root root;
    Host host;
    SyntheticVideo screen{root.scope("video"), root.host(), {}, host};
    Driver driver;
    root.connect(interface_type::video, driver, video_rings, ReadMode::batched);
    CHECK(screen.framebuffer() == Framebuffer{0x10'0000, 1024, 768, 4096, 32});
    CHECK(driver.client.dirt_wanted());
    const auto white = std::vector<std::byte>(4, std::byte{0xff});
    REQUIRE(root.loop.memory.write(0x10'0000 + 4096 + 8, white));
    driver.client.draw(2, 1, 3, 2);
    root.loop.run(1_ms);
    CHECK(screen.rectangles_drawn() == 1);
    const auto picture = screen.picture();
    REQUIRE(picture);
    CHECK(picture->rgb[3 * (1024 + 2)] == 0xff);
    CHECK(picture->rgb[3 * (1024 + 1)] == 0);
}

TEST_CASE("dynamic memory over rings: gigabytes out and in again") {
    struct Owner final : DynamicMemoryHost {
        std::uint64_t out = 0;
        bool has_memory(const PageRange& range) const override { return range.end() <= 4'000'000; }
        void pages_taken(std::span<const PageRange> ranges) override {
            for (const auto& range : ranges) out += range.count;
        }
        bool give_pages(std::span<const PageRange> ranges) override {
            for (const auto& range : ranges) out -= range.count;
            return true;
        }
        bool add_memory(const PageRange&) override { return true; }
        void memory_refused(const PageRange&) override {}
    };
    class Driver final : public RingDriver, private GuestPages {
    public:
        DynamicMemoryClient client{*this, *this};
        std::uint64_t freed = 0;

    private:
        std::uint64_t next_ = 100;
        void start() override { client.start(); }
        void received(std::uint64_t, std::span<const std::byte> payload) override { client.received(payload); }
        PageRange allocate(std::uint64_t most) override {
            const PageRange range{next_, most};
            next_ += most + 512;
            return range;
        }
        void free(const PageRange& range) override { freed += range.count; }
        std::uint64_t add(const PageRange& range) override { return range.count; }
    };
    Root root;
    Owner owner;
    DynamicMemory memory{root.scope("memory"), root.host(), {}, owner};
    Driver driver;
    root.connect(interface_type::dynamic_memory, driver, memory_rings, ReadMode::batched);
    CHECK(memory.ready());
    CHECK(memory.balloon(1'048'576));
    root.loop.run(1_s);
    CHECK(owner.out == 1'048'576);
    CHECK(memory.operation() == DynamicMemory::Operation::none);
    CHECK(memory.unballoon(1'048'576));
    root.loop.run(1_s);
    CHECK(driver.freed == 1'048'576);
    CHECK(owner.out == 0);
    CHECK(driver.unsent() == 0);
}

}  // namespace utilities_loopback_test
