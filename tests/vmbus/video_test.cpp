// Synthetic video: messages byte by byte, versions, the picture in memory, guests that cheat.
#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "tests/vmbus/integration_fixture.h"
#include "vmbus/video/synthetic_video.h"
#include "vmbus/video/video_client.h"

namespace video_test {

using namespace vmbus;
using namespace vmbus::testing;
using namespace sim::literals;

namespace {

using Log = std::vector<std::string>;

struct Host final : VideoHost {
    Log log;
    bool willing = true;
    bool place_vram(std::uint64_t gpa, std::uint64_t bytes) override {
        log.push_back("place " + std::to_string(gpa) + " " + std::to_string(bytes));
        return willing;
    }
    void remove_vram() override { log.push_back("remove"); }
};

struct Watcher final : VideoListener {
    Log log;
    void picture_changed(const std::optional<Framebuffer>& f) override {
        log.push_back(f ? "picture " + std::to_string(f->gpa) + " " + std::to_string(f->width) + "x" +
                              std::to_string(f->height) + " " + std::to_string(f->pitch) + " " +
                              std::to_string(f->depth)
                        : "none");
    }
    void drawn(std::span<const Rectangle> rectangles) override {
        for (const auto& r : rectangles) {
            log.push_back(std::to_string(r.left) + "," + std::to_string(r.top) + "-" + std::to_string(r.right) + "," +
                          std::to_string(r.bottom));
        }
    }
};

SyntheticVideo::Settings small() {
    SyntheticVideo::Settings settings;
    settings.vram_megabytes = 1;
    settings.resolutions = {{640, 400}, {320, 200}};
    return settings;
}

struct Fixture {
    Root root;
    Host host;
    Watcher watcher;
    SyntheticVideo screen;
    ScriptedLink link{root.channel()};
    VideoClient client{link};

    explicit Fixture(const SyntheticVideo::Settings& settings = small())
        : screen(root.scope("video"), root.host(), settings, host, &watcher) {}

    void deliver() {
        root.settle();
        while (!root.channel().sent.empty()) {
            client.received(root.channel().take().bytes);
            root.settle();
        }
    }
    void open(std::uint64_t gpa = 0) {
        root.channel().open();
        client.start(gpa);
        deliver();
    }
    void put(video::Type type, const Bytes& body) {
        ByteBuilder message;
        message.u32(static_cast<std::uint32_t>(type)).u32(static_cast<std::uint32_t>(8 + body.size())).bytes(body);
        root.channel().put(pipe::wrap(message.take()));
        root.settle();
    }
};

Bytes situation(std::uint32_t offset, std::uint8_t depth, std::uint32_t width, std::uint32_t height,
                std::uint32_t pitch, std::uint8_t active = 1, std::uint8_t outputs = 1) {
    ByteBuilder body;
    body.u64(0x55).u8(outputs).u8(active).u32(offset).u8(depth).u32(width).u32(height).u32(pitch);
    return body.take();
}

}  // namespace

TEST_CASE("the offer says how much video memory there is") {
    Fixture f;
    CHECK(f.root.channel().offer().type == interface_type::video);
    CHECK(f.root.channel().offer().mmio_megabytes == 1);
    CHECK_FALSE(f.screen.framebuffer());
}

TEST_CASE("messages, byte by byte") {
    Fixture f;
    auto& channel = f.root.channel();
    channel.open();
    f.put(video::Type::version_request, hex({3, 0, 5, 0}));
    CHECK(channel.take().bytes == hex({1, 0, 0, 0, 14, 0, 0, 0, 2, 0, 0, 0, 14, 0, 0, 0, 3, 0, 5, 0, 1, 1}));
    f.put(video::Type::resolutions_request, hex({64}));
    const Bytes resolutions = channel.take().bytes;
    CHECK(resolutions.size() == 16 + 128 + 3 + 8);
    CHECK(Bytes(resolutions.end() - 11, resolutions.end()) == hex({2, 0, 0, 0x80, 2, 0x90, 1, 0x40, 1, 0xc8, 0}));
    f.put(video::Type::resolutions_request, hex({1}));
    CHECK(channel.take().bytes.size() == 16 + 128 + 3 + 4);
    f.put(video::Type::vram_location, ByteBuilder{}.u64(0xabcd).u8(1).u64(0xf800'0000).take());
    CHECK(channel.take().bytes ==
          hex({1, 0, 0, 0, 16, 0, 0, 0, 4, 0, 0, 0, 16, 0, 0, 0, 0xcd, 0xab, 0, 0, 0, 0, 0, 0}));
    CHECK(f.host.log == Log{"place 4160749568 1048576"});
    f.put(video::Type::situation_update, situation(0, 32, 640, 400, 2560));
    CHECK(channel.take().bytes == hex({1, 0, 0, 0, 16, 0, 0, 0, 6, 0, 0, 0, 16, 0, 0, 0, 0x55, 0, 0, 0, 0, 0, 0, 0}));
    CHECK(channel.take().bytes == hex({1, 0, 0, 0, 12, 0, 0, 0, 9, 0, 0, 0, 12, 0, 0, 0, 1, 0, 0, 1}));
    CHECK(f.watcher.log == Log{"picture 4160749568 640x400 2560 32"});
    f.put(video::Type::situation_update, situation(0, 32, 640, 400, 2560));
    CHECK(channel.take().bytes.size() == 24);
    CHECK(channel.sent.empty());  // the wish for dirt is told once
    f.put(video::Type::bios_request, {});
    CHECK(channel.take().bytes ==
          hex({1, 0, 0, 0, 24, 0, 0, 0, 12, 0, 0, 0, 24, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}));
    f.put(video::Type::capability_request, {});
    CHECK(channel.take().bytes.size() == 16 + 64);
    f.put(video::Type::pointer_position, Bytes(10));
    f.put(video::Type::pointer_shape, Bytes(22));
    CHECK(channel.sent.empty());
    CHECK_FALSE(channel.rescinded);
}

TEST_CASE("the monitor's description: header, version, name, and a sum of zero") {
    const auto edid = monitor_edid();
    unsigned sum = 0;
    for (const std::byte value : edid) sum += std::to_integer<unsigned>(value);
    CHECK(sum % 256 == 0);
    CHECK(edid[1] == std::byte{0xff});
    CHECK(edid[18] == std::byte{1});
    CHECK(edid[19] == std::byte{3});
    CHECK(edid[57] == std::byte{0xfc});
}

TEST_CASE("versions that a guest may ask for") {
    struct Row {
        std::uint32_t newest, agreed;
        std::uint16_t width;
    };
    for (const Row& row :
         {Row{video::version_3_5, video::version_3_5, 640}, Row{video::version_3_4, video::version_3_2, 1152},
          Row{video::version_3_2, video::version_3_2, 1152}, Row{video::version_3_0, 0, 1152}}) {
        CAPTURE(row.newest);
        auto settings = small();
        settings.newest_version = row.newest;
        settings.vram_megabytes = 8;
        Fixture f{settings};
        f.open();
        CHECK(f.client.version() == row.agreed);
        CHECK(f.screen.version() == row.agreed);
        CHECK(f.client.width() == row.width);
        CHECK(f.client.placed() == (row.agreed != 0));
    }
    for (const auto& [asked, accepted] : {std::pair{video::version_3_0, 1}, std::pair{video::version_3_3, 1},
                                          std::pair{video::version(3, 6), 0}, std::pair{video::version(2, 0), 0}}) {
        Fixture f;
        f.root.channel().open();
        f.put(video::Type::version_request, ByteBuilder{}.u32(asked).take());
        CHECK(std::to_integer<int>(f.root.channel().take().bytes[20]) == accepted);
    }
}

TEST_CASE("what is drawn is told, clipped to the picture") {
    Fixture f;
    f.open();
    CHECK(f.client.dirt_wanted());
    f.watcher.log.clear();
    f.root.run_until(2_s);
    f.client.draw(10, 20, 30, 40);
    f.client.draw(-5, -5, 5000, 5000);
    f.client.draw(30, 0, 30, 10);
    f.client.draw(700, 0, 800, 10);
    f.root.settle();
    CHECK(f.watcher.log == Log{"10,20-30,40", "0,0-640,400"});
    CHECK(f.screen.rectangles_drawn() == 2);
    CHECK(f.screen.last_drawn() == 2_s);
}

TEST_CASE("a host that declines the place, a picture that goes") {
    Fixture f;
    f.host.willing = false;
    f.open(0x1000);
    CHECK_FALSE(f.client.placed());
    CHECK_FALSE(f.screen.framebuffer());
    f.host.willing = true;
    f.client.start(0x2000);
    f.deliver();
    CHECK(f.client.placed());
    CHECK(f.screen.framebuffer());
    f.put(video::Type::situation_update, situation(0, 32, 640, 400, 2560, 0));
    CHECK_FALSE(f.screen.framebuffer());
    f.put(video::Type::situation_update, situation(4096, 16, 100, 10, 256));
    CHECK(f.screen.framebuffer() == Framebuffer{0x3000, 100, 10, 256, 16});
    f.root.channel().close();
    CHECK_FALSE(f.screen.framebuffer());
    CHECK(f.host.log == Log{"place 4096 1048576", "place 8192 1048576", "remove"});
}

TEST_CASE("what the firmware set up is the picture until the driver says otherwise") {
    auto settings = small();
    settings.firmware = Framebuffer{0x8000, 4, 2, 16, 32};
    Fixture f{settings};
    CHECK(f.screen.framebuffer() == settings.firmware);
    f.open(0x1000);
    CHECK(f.screen.framebuffer() == Framebuffer{0x1000, 640, 400, 2560, 32});
}

TEST_CASE("the picture as it is in memory") {
    struct Row {
        std::uint8_t depth;
        Bytes pixels;  // two rows of two, pitch 16
        std::vector<std::uint8_t> rgb;
    };
    Bytes deep(32), flat(32);
    const auto put = [](Bytes& bytes, std::size_t at, std::initializer_list<int> values) {
        for (const int value : values) bytes[at++] = static_cast<std::byte>(value);
    };
    put(deep, 0, {0x30, 0x20, 0x10, 0xff, 0, 0, 0xff, 0});
    put(deep, 16, {0xff, 0xff, 0xff, 0, 1, 2, 3, 4});
    put(flat, 0, {0x00, 0xf8, 0xe0, 0x07});
    put(flat, 16, {0x1f, 0x00, 0xff, 0xff});
    for (const Row& row : {Row{32, deep, {0x10, 0x20, 0x30, 0xff, 0, 0, 0xff, 0xff, 0xff, 3, 2, 1}},
                           Row{16, flat, {0xff, 0, 0, 0, 0xff, 0, 0, 0, 0xff, 0xff, 0xff, 0xff}}}) {
        auto settings = small();
        settings.firmware = Framebuffer{0x100, 2, 2, 16, row.depth};
        Fixture f{settings};
        CHECK(f.root.bus.memory.write(0x100, row.pixels));
        const auto picture = f.screen.picture();
        REQUIRE(picture);
        CHECK(*picture == Picture{2, 2, row.rgb});
    }
    auto settings = small();
    settings.firmware = Framebuffer{(1 << 16) - 8, 2, 2, 16, 32};  // ends outside
    Fixture f{settings};
    CHECK_FALSE(f.screen.picture());
    Fixture none;
    CHECK_FALSE(none.screen.picture());
}

TEST_CASE("what breaks the protocol closes the channel") {
    struct Row {
        const char* what;
        video::Type type;
        Bytes body;
    };
    const std::vector<Row> rows{
        {"a message of the host's", video::Type::feature_change, Bytes(4)},
        {"an unknown one", static_cast<video::Type>(17), Bytes(64)},
        {"too short", video::Type::vram_location, Bytes(16)},
        {"two outputs", video::Type::situation_update, situation(0, 32, 64, 64, 256, 1, 2)},
        {"no output", video::Type::situation_update, Bytes(9)},
        {"a depth that there is not", video::Type::situation_update, situation(0, 24, 64, 64, 256)},
        {"no width", video::Type::situation_update, situation(0, 32, 0, 64, 256)},
        {"rows that overlap", video::Type::situation_update, situation(0, 32, 65, 64, 256)},
        {"beyond its memory", video::Type::situation_update, situation(1, 32, 512, 512, 2048)},
        {"far beyond", video::Type::situation_update, situation(0xffff'ffff, 32, 1, 1, 4)},
        {"numbers that wrap", video::Type::situation_update, situation(0, 32, 0x4000'0001, 1, 0xffff'ffff)},
        {"many rows", video::Type::situation_update, situation(0, 32, 1, 0xffff'ffff, 0xffff'ffff)},
        {"fewer rectangles than stated", video::Type::dirt, ByteBuilder{}.u8(0).u8(3).zeros(47 - 16).take()},
    };
    for (const Row& row : rows) {
        CAPTURE(row.what);
        Fixture f;
        f.open();
        f.put(row.type, row.body);
        CHECK(f.root.channel().rescinded);
        CHECK_FALSE(f.screen.framebuffer());
        CHECK(f.host.log.back() == "remove");
    }
    Fixture early;
    early.root.channel().open();
    early.put(video::Type::resolutions_request, hex({64}));
    CHECK(early.root.channel().rescinded);
}

TEST_CASE("saved and restored, the picture is where it was") {
    Fixture a;
    a.open(0x4000);
    const auto saved = sim::save_to_bytes(a.screen);
    Fixture b;
    b.root.channel().open();
    sim::restore_from_bytes(b.screen, saved);
    CHECK(sim::save_to_bytes(b.screen) == saved);
    CHECK(b.screen.framebuffer() == Framebuffer{0x4000, 640, 400, 2560, 32});
}

}  // namespace video_test
