// Dynamic memory: sets of pages, messages byte by byte, whole operations with a guest, and guests that cheat.
#include <doctest/doctest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "tests/vmbus/integration_fixture.h"
#include "vmbus/memory/dynamic_memory.h"
#include "vmbus/memory/dynamic_memory_client.h"
#include "vmbus/memory/memory_balancer.h"

namespace memory_test {

using namespace vmbus;
using namespace vmbus::testing;
using namespace sim::literals;
namespace dm = vmbus::dynamic_memory;

namespace {

using Ranges = std::vector<PageRange>;
using Log = std::vector<std::string>;

std::string text(const PageRange& range) {
    return std::to_string(range.first) + "+" + std::to_string(range.count);
}

// A partition of 100,000 pages; `limit` more may be added.
struct Owner final : DynamicMemoryHost {
    std::uint64_t pages = 100'000;
    bool may_give = true;
    Log log;

    bool has_memory(const PageRange& range) const override {
        return range.count != 0 && range.first < pages && range.count <= pages - range.first;
    }
    void pages_taken(std::span<const PageRange> ranges) override {
        for (const auto& range : ranges) log.push_back("taken " + text(range));
    }
    bool give_pages(std::span<const PageRange> ranges) override {
        for (const auto& range : ranges) log.push_back((may_give ? "given " : "not given ") + text(range));
        return may_give;
    }
    bool add_memory(const PageRange& range) override {
        if (!may_give) return false;
        log.push_back("added " + text(range));
        return true;
    }
    void memory_refused(const PageRange& range) override { log.push_back("refused " + text(range)); }
};

struct Listener final : DynamicMemoryListener {
    Log log;
    void memory_status(const GuestMemoryStatus& status) override {
        log.push_back("status " + std::to_string(status.available) + " " + std::to_string(status.committed));
    }
    void balloon_grown(std::uint64_t pages) override { log.push_back("grown " + std::to_string(pages)); }
    void balloon_shrunk(std::uint64_t pages) override { log.push_back("shrunk " + std::to_string(pages)); }
    void memory_added(std::uint64_t pages, bool again) override {
        log.push_back("added " + std::to_string(pages) + (again ? " again" : ""));
    }
};

// Hands out pages from 1000 upwards.
struct FreePages final : GuestPages {
    std::uint64_t next = 1000;
    std::uint64_t free_pages = 90'000;
    std::uint64_t added_limit = ~std::uint64_t{0};
    Ranges freed;

    PageRange allocate(std::uint64_t most) override {
        const PageRange range{next, std::min(most, free_pages)};
        next += range.count + 1;  // never neighbours
        free_pages -= range.count;
        return range;
    }
    void free(const PageRange& range) override { freed.push_back(range); }
    std::uint64_t add(const PageRange& range) override { return std::min(range.count, added_limit); }
};

struct Fixture {
    Root root;
    Owner owner;
    Listener listener;
    DynamicMemory memory;
    ScriptedLink link{root.channel()};
    FreePages pages;
    DynamicMemoryClient client{link, pages};

    explicit Fixture(const DynamicMemory::Settings& settings = {})
        : memory(root.scope("memory"), root.host(), settings, owner, &listener) {}

    void deliver() {
        root.settle();
        while (!root.channel().sent.empty()) {
            client.received(root.channel().take().bytes);
            root.settle();
        }
    }
    void open() {
        root.channel().open();
        client.start();
        deliver();
    }
    // A message of the guest's, raw.
    void put(dm::Type type, Bytes body) {
        ByteBuilder message;
        message.u16(static_cast<std::uint16_t>(type)).u16(static_cast<std::uint16_t>(8 + body.size())).u32(1);
        root.channel().put(message.bytes(body).take());
        root.settle();
    }
};

}  // namespace

TEST_CASE("sets of pages") {
    struct Row {
        Ranges add;
        std::vector<bool> added;
        Ranges ranges;
    };
    constexpr std::uint64_t end = ~std::uint64_t{0};
    const std::vector<Row> rows{
        {{{5, 1}, {6, 1}, {4, 1}}, {true, true, true}, {{4, 3}}},
        {{{1, 1}, {3, 1}, {2, 1}}, {true, true, true}, {{1, 3}}},
        {{{10, 5}, {12, 1}, {14, 2}, {8, 3}, {0, 100}, {10, 5}}, {true, false, false, false, false, false}, {{10, 5}}},
        {{{10, 5}, {15, 1}, {8, 2}}, {true, true, true}, {{8, 8}}},
        {{{0, 0}, {end, 2}}, {false, false}, {}},
    };
    for (const Row& row : rows) {
        PageSet set;
        std::vector<bool> added;
        for (const PageRange& range : row.add) added.push_back(set.add(range));
        CHECK(added == row.added);
        CHECK(set.ranges() == row.ranges);
    }
    PageSet set;
    CHECK(set.add({10, 5}));
    CHECK(set.add({20, 5}));
    CHECK(set.take(7) == Ranges{{10, 5}, {20, 2}});
    CHECK(set.pages() == 3);
    CHECK(set.take(100) == Ranges{{22, 3}});
    CHECK(set.take(1).empty());
}

TEST_CASE("versions: the newest of both, or none") {
    struct Row {
        std::uint32_t newest;
        bool ready;
        std::uint32_t version;
        std::uint64_t most_pages;
    };
    for (const Row& row :
         {Row{dm::version_2_0, true, dm::version_2_0, 5000}, Row{dm::version_1_0, true, dm::version_1_0, 5000},
          Row{dm::version_0_3, true, dm::version_0_3, 0}, Row{0, false, 0, 0}}) {
        CAPTURE(row.newest);
        Fixture f{{row.newest, 5000}};
        f.open();
        CHECK(f.memory.ready() == row.ready);
        CHECK(f.client.ready() == row.ready);
        CHECK(f.memory.version() == row.version);
        CHECK(f.client.most_pages() == row.most_pages);
    }
}

TEST_CASE("the hello and the operations, byte by byte") {
    Fixture f{{dm::version_2_0, 0x123}};
    auto& channel = f.root.channel();
    CHECK(channel.offer().type == interface_type::dynamic_memory);
    channel.open();
    f.put(dm::Type::version_request, hex({0, 0, 2, 0, 0, 0, 0, 0}));
    CHECK(channel.take().bytes == hex({2, 0, 16, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0}));
    f.put(dm::Type::capabilities_report, ByteBuilder{}.u64(3 | 7 << 2).u64(0).u64(~0ull).take());
    CHECK(channel.take().bytes == hex({4, 0, 16, 0, 2, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0}));
    CHECK(channel.take().bytes ==
          hex({12, 0, 32, 0, 3, 0, 0, 0, 0, 0, 0, 0, 16, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 0x23, 1, 0, 0, 0, 0, 0, 0}));
    CHECK(dm::hot_add_alignment_megabytes(f.memory.capabilities()) == 128);
    CHECK(f.memory.balloon(0x1234));
    f.root.settle();
    CHECK(channel.take().bytes == hex({6, 0, 16, 0, 4, 0, 0, 0, 0x34, 0x12, 0, 0, 0, 0, 0, 0}));
    f.put(dm::Type::balloon_response, hex({0,    0, 0, 0, 4, 0, 0, 0,  // two ranges, the last message
                                           0x10, 0, 0, 0, 0, 2, 0, 0, 0x20, 0, 0, 0, 0, 1, 0, 0}));
    CHECK(f.owner.log == Log{"taken 16+2", "taken 32+1"});
    CHECK(f.listener.log == Log{"grown 3"});
    CHECK(f.memory.unballoon(2));
    f.root.settle();
    CHECK(channel.take().bytes == hex({8, 0, 24, 0, 5, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0x10, 0, 0, 0, 0, 2, 0, 0}));
    f.put(dm::Type::unballoon_response, {});
    CHECK(f.listener.log == Log{"grown 3", "shrunk 2"});
    CHECK(f.memory.hot_add({0x18000, 0x8000}));
    f.root.settle();
    CHECK(channel.take().bytes == hex({10, 0, 16, 0, 6, 0, 0, 0, 0, 0x80, 1, 0, 0, 0, 0x80, 0}));
    f.put(dm::Type::hot_add_response, hex({0, 0x80, 0, 0, 1, 0, 0, 0}));
    CHECK(f.memory.hot_add({0x20000, 0x100}, PageRange{0x20000, 0x8000}));
    f.root.settle();
    CHECK(channel.take().bytes == hex({10, 0, 24, 0, 7, 0, 0, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 0x80, 0}));
}

TEST_CASE("each range that goes costs its time") {
    Fixture f{{.per_range = 2_us}};
    f.open();
    const sim::Time start = f.root.now();
    CHECK(f.memory.balloon(1025));  // two runs of 512 pages and one
    f.deliver();
    CHECK(f.listener.log.empty());
    f.root.run_for(5_us);
    CHECK(f.listener.log.empty());
    f.root.run_for(1_us);
    CHECK(f.listener.log == Log{"grown 1025"});
    CHECK(f.root.now() - start == 6_us);
}

TEST_CASE("balloon up in many messages, and down again") {
    Fixture f;
    f.open();
    CHECK(f.memory.balloon(80'000));
    CHECK_FALSE(f.memory.balloon(1));
    f.deliver();
    CHECK(f.listener.log == Log{"grown 80000"});
    CHECK(f.memory.ballooned().pages() == 80'000);
    CHECK(f.memory.ballooned().ranges().size() == 157);  // 156 runs of 512 and the rest
    CHECK(f.memory.operation() == DynamicMemory::Operation::none);
    CHECK(f.memory.unballoon(1'000'000));
    f.deliver();
    CHECK(f.listener.log == Log{"grown 80000", "shrunk 80000"});
    CHECK(f.pages.freed.size() == 157);
    CHECK(f.memory.ballooned().pages() == 0);
    CHECK_FALSE(f.memory.unballoon(1));
}

TEST_CASE("a guest gives what it can spare, one page at a time if need be; the way back takes several messages") {
    Fixture f;
    f.open();
    f.pages.free_pages = 700;
    struct Single final : GuestPages {
        std::uint64_t next = 10;
        std::uint64_t left = 1200;
        Ranges freed;
        PageRange allocate(std::uint64_t) override {
            return left == 0 ? PageRange{} : (--left, PageRange{next += 2, 1});
        }
        void free(const PageRange& range) override { freed.push_back(range); }
        std::uint64_t add(const PageRange&) override { return 0; }
    } single;
    DynamicMemoryClient client{f.link, single};
    CHECK(f.memory.balloon(5000));
    f.root.settle();
    client.received(f.root.channel().take().bytes);
    f.root.settle();
    CHECK(f.listener.log == Log{"grown 1200"});
    CHECK(f.memory.unballoon(1200));
    f.root.settle();
    CHECK(f.root.channel().sent.size() == 3);  // 510 + 510 + 180
    CHECK(f.root.channel().sent[0].bytes.size() == 4096);
    while (!f.root.channel().sent.empty()) client.received(f.root.channel().take().bytes);
    f.root.settle();
    CHECK(f.listener.log == Log{"grown 1200", "shrunk 1200"});
    CHECK(single.freed.size() == 1200);
}

TEST_CASE("adding memory: all of it, a part, none now, none ever; the host's own limits") {
    struct Row {
        const char* what;
        std::uint32_t pages, result;
        Log owner;
        std::string told;
        bool once_more;
    };
    const std::vector<Row> rows{
        {"all", 0x8000, 1, {"added 163840+32768"}, "added 32768", true},
        {"a part", 0x100, 1, {"added 163840+32768", "refused 164096+32512"}, "added 256", true},
        {"not now", 0, 0, {"added 163840+32768", "refused 163840+32768"}, "added 0 again", true},
        {"never", 0, 1, {"added 163840+32768", "refused 163840+32768"}, "added 0", false},
    };
    for (const Row& row : rows) {
        CAPTURE(row.what);
        Fixture f;
        f.open();
        CHECK(f.memory.hot_add({0x28000, 0x8000}));
        f.put(dm::Type::hot_add_response, ByteBuilder{}.u32(row.pages).u32(row.result).take());
        CHECK(f.owner.log == row.owner);
        CHECK(f.listener.log == Log{row.told});
        CHECK(f.memory.hot_add({0x30000, 0x8000}) == row.once_more);
    }
    Fixture f;
    CHECK_FALSE(f.memory.hot_add({0x28000, 0x8000}));  // no guest
    f.open();
    CHECK_FALSE(f.memory.hot_add({0x28000, 0}));
    CHECK_FALSE(f.memory.hot_add({0x28000, 1 << 24}));
    CHECK_FALSE(f.memory.hot_add({std::uint64_t{1} << 40, 1}));
    f.owner.may_give = false;
    CHECK_FALSE(f.memory.hot_add({0x28000, 0x8000}));
    f.owner.may_give = true;
    CHECK(f.memory.hot_add({0x28000, 0x8000}));
    f.deliver();
    CHECK(f.listener.log == Log{"added 32768"});
}

TEST_CASE("a host that is short keeps the balloon as it is") {
    Fixture f;
    f.open();
    CHECK(f.memory.balloon(600));
    f.deliver();
    f.owner.may_give = false;
    CHECK_FALSE(f.memory.unballoon(600));
    CHECK(f.memory.ballooned().pages() == 600);
    f.root.channel().close();
    CHECK(f.memory.ballooned().pages() == 600);
    f.owner.may_give = true;
    f.open();
    f.root.channel().close();
    CHECK(f.memory.ballooned().pages() == 0);
    CHECK(f.owner.log.back() == "given 1513+88");
}

TEST_CASE("what breaks the protocol closes the channel, and no page of it counts") {
    const auto ranges = [](const Ranges& list, bool more = false) {
        ByteBuilder body;
        body.u32(0).u32(static_cast<std::uint32_t>(list.size() << 1 | (more ? 1u : 0u)));
        for (const auto& range : list) body.u64(dm::encode(range));
        return body.take();
    };
    struct Row {
        const char* what;
        dm::Type type;
        Bytes body;
    };
    const std::vector<Row> rows{
        {"more than asked for", dm::Type::balloon_response, ranges({{10, 60}, {100, 41}})},
        {"beyond its memory", dm::Type::balloon_response, ranges({{10, 1}, {99'999, 2}})},
        {"far beyond", dm::Type::balloon_response, ranges({{dm::most_first_page, 1}})},
        {"empty", dm::Type::balloon_response, ranges({{10, 0}})},
        {"twice in a message", dm::Type::balloon_response, ranges({{10, 5}, {14, 2}})},
        {"twice in two messages", dm::Type::balloon_response, ranges({{1, 1}})},
        {"fewer ranges than stated", dm::Type::balloon_response, hex({0, 0, 0, 0, 8, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0})},
        {"2^31 - 1 ranges", dm::Type::balloon_response, hex({0, 0, 0, 0, 254, 255, 255, 255})},
        {"more of nothing", dm::Type::balloon_response, ranges({}, true)},
        {"an answer to no unballoon", dm::Type::unballoon_response, {}},
        {"an answer to no hot add", dm::Type::hot_add_response, hex({0, 0, 0, 0, 0, 0, 0, 0})},
        {"capabilities again", dm::Type::capabilities_report, Bytes(24)},
        {"a version during an operation", dm::Type::version_request, Bytes(8)},
        {"a message of the host's", dm::Type::balloon_request, Bytes(8)},
        {"an unknown message", static_cast<dm::Type>(13), Bytes(8)},
        {"too short", dm::Type::status_report, Bytes(32)},
    };
    for (const Row& row : rows) {
        CAPTURE(row.what);
        Fixture f;
        f.open();
        CHECK(f.memory.balloon(200));
        f.root.settle();
        f.put(dm::Type::balloon_response, ranges({{1, 100}}, true));
        CHECK(f.owner.log == Log{"taken 1+100"});
        f.put(row.type, row.body);
        CHECK(f.root.channel().rescinded);
        CHECK(f.owner.log == Log{"taken 1+100", "given 1+100"});
        CHECK_FALSE(f.memory.ready());
        CHECK_FALSE(f.memory.balloon(1));
    }
    for (const Bytes& raw :
         {hex({}), hex({5, 0, 255, 255, 0, 0, 0, 0}), hex({1, 0, 7, 0, 0, 0, 0, 0}), hex({5, 0, 48, 0, 0, 0, 0, 0})}) {
        Fixture f;
        f.root.channel().open();
        f.root.channel().put(raw);
        f.root.settle();
        CHECK(f.root.channel().rescinded);
    }
}

TEST_CASE("memory that is being added goes back when the channel closes") {
    Fixture f;
    f.open();
    CHECK(f.memory.hot_add({0x28000, 0x8000}));
    f.root.channel().close();
    CHECK(f.owner.log == Log{"added 163840+32768", "refused 163840+32768"});
}

TEST_CASE("the guest's reports, and the balancer that follows them") {
    struct Row {
        std::uint64_t committed, balloon_before, balloon_after;
    };
    // 100,000 pages, at least 20,000, 20 percent in reserve; what is committed includes what is in the balloon.
    for (const Row& row : {Row{50'000, 0, 40'000}, Row{90'000, 40'000, 40'000}, Row{10'000, 0, 80'000},
                           Row{~std::uint64_t{0}, 40'000, 0}, Row{100'000, 40'000, 28'000}, Row{91'000, 40'000, 40'000},
                           Row{30'000, 40'000, 80'000}}) {
        CAPTURE(row.committed);
        Root root;
        Owner owner;
        const MemoryBalancer balancer{{20'000, 100'000, 20, 4096}};
        DynamicMemory memory{root.scope("memory"), root.host(), {}, owner};
        ScriptedLink link{root.channel()};
        FreePages pages;
        DynamicMemoryClient client{link, pages};
        const auto deliver = [&] {
            root.settle();
            while (!root.channel().sent.empty()) {
                client.received(root.channel().take().bytes);
                root.settle();
            }
        };
        root.channel().open();
        client.start();
        deliver();
        if (row.balloon_before != 0) CHECK(memory.balloon(static_cast<std::uint32_t>(row.balloon_before)));
        deliver();
        root.run_until(3_s);
        client.report(1234, row.committed);
        deliver();
        balancer.balance(memory, 100'000 - row.balloon_before);
        deliver();
        CHECK(memory.ballooned().pages() == row.balloon_after);
        CHECK(memory.status() == GuestMemoryStatus{1234, row.committed, 0, 0, 3_s});
    }
}

TEST_CASE("saved during an operation and restored") {
    Fixture a;
    a.open();
    CHECK(a.memory.balloon(100));
    a.root.settle();
    const auto saved = sim::save_to_bytes(a.memory);
    Fixture b;
    b.root.channel().open();
    sim::restore_from_bytes(b.memory, saved);
    CHECK(sim::save_to_bytes(b.memory) == saved);
    b.put(dm::Type::balloon_response, ByteBuilder{}.u32(0).u32(2).u64(dm::encode({7, 100})).take());
    CHECK(b.listener.log == Log{"grown 100"});
}

}  // namespace memory_test
