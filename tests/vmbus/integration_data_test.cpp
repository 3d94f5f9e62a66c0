// Key-value exchange, volume snapshot and file copy against a guest with a daemon: layouts, delayed answers, limits.
#include <doctest/doctest.h>

#include <map>
#include <string>
#include <vector>

#include "sim/check.h"
#include "tests/vmbus/integration_fixture.h"
#include "vmbus/inband/utf16.h"
#include "vmbus/integration/file_copy.h"
#include "vmbus/integration/key_value.h"
#include "vmbus/integration/volume_snapshot.h"

namespace integration_data_test {

using namespace vmbus;
using namespace vmbus::testing;
using namespace sim::literals;

namespace {

Bytes units(std::string_view text, std::size_t room) {
    return ByteBuilder{}.field(to_utf16(text), room).take();
}

std::string text_at(const Bytes& body, std::size_t at, std::size_t room) {
    return from_utf16(std::span{body}.subspan(at, room));
}

struct KvpLog final : KeyValueListener {
    std::map<std::uint32_t, KeyValueResult> results;
    void key_value_answered(std::uint32_t request, const KeyValueResult& result) override { results[request] = result; }
};

// What Linux's daemon keeps: pools of keys. It answers in the request's own bytes.
struct KvpFixture {
    Root root;
    KvpLog log;
    KeyValueExchange kvp{root.scope("kvp"), root.host(), &log};
    IntegrationGuest guest{root, ic::Type::key_value_exchange, {{4, 0}, {3, 0}, {1, 0}}};
    std::map<int, std::vector<KeyValue>> pools;

    KvpFixture() {
        guest.on_request = [this](Bytes& body) { return answer(body); };
    }
    std::uint32_t answer(Bytes& body) {
        auto& pool = pools[std::to_integer<int>(body[1])];
        const auto put = [&](std::size_t at, const Bytes& bytes) {
            std::copy(bytes.begin(), bytes.end(), body.begin() + static_cast<std::ptrdiff_t>(at));
        };
        switch (std::to_integer<int>(body[0])) {
            case 1:
                pool.push_back({text_at(body, 16, 512), text_at(body, 528, 2048)});
                return ic::status::ok;
            case 0:
                for (const KeyValue& item : pool) {
                    if (item.key != text_at(body, 16, 512)) continue;
                    put(528, units(item.value, 2048));
                    return ic::status::ok;
                }
                return ic::status::no_more_items;
            case 2:
                return std::erase_if(pool, [&](const KeyValue& item) { return item.key == text_at(body, 8, 512); }) != 0
                           ? ic::status::ok
                           : ic::status::no_more_items;
            case 3: {
                ByteReader reader{body};
                reader.skip(4);
                const std::uint32_t index = reader.u32();
                if (index >= pool.size()) return ic::status::no_more_items;
                put(20, units(pool[index].key, 512));
                put(532, units(pool[index].value, 2048));
                return ic::status::ok;
            }
            default:
                return ic::status::fail;
        }
    }
};

struct SnapshotLog final : SnapshotListener {
    std::vector<SnapshotResult> results;
    void snapshot_answered(const SnapshotResult& result) override { results.push_back(result); }
};

struct CopyLog final : FileCopyListener {
    std::vector<FileCopyResult> results;
    void file_copied(const FileCopyResult& result) override { results.push_back(result); }
};

}  // namespace

TEST_CASE("text: UTF-8 to UTF-16 and back; what is neither becomes U+FFFD") {
    struct Row {
        std::string utf8;
        Bytes utf16;
        std::string back;
    };
    const std::vector<Row> rows{
        {"", {}, ""},
        {"aB", hex({'a', 0, 'B', 0}), "aB"},
        {"\xc3\xa9\xe2\x82\xac", hex({0xe9, 0, 0xac, 0x20}), "\xc3\xa9\xe2\x82\xac"},
        {"\xf0\x9f\x98\x80", hex({0x3d, 0xd8, 0x00, 0xde}), "\xf0\x9f\x98\x80"},
        {"\x80z", hex({0xfd, 0xff, 'z', 0}), "\xef\xbf\xbdz"},
        {"\xc3", hex({0xfd, 0xff}), "\xef\xbf\xbd"},
        {"\xed\xa0\x80", hex({0xfd, 0xff, 0xfd, 0xff, 0xfd, 0xff}), "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
    };
    for (const Row& row : rows) {
        CHECK(to_utf16(row.utf8) == row.utf16);
        CHECK(from_utf16(row.utf16) == row.back);
    }
    CHECK(from_utf16(hex({'x', 0, 0, 0, 'y', 0})) == "x");
    CHECK(from_utf16(hex({0x3d, 0xd8})) == "\xef\xbf\xbd");
    CHECK(from_utf16(hex({0x3d, 0xd8, 'a', 0})) ==
          "\xef\xbf\xbd"
          "a");
}

TEST_CASE("key-value: bytes of each request") {
    struct Row {
        const char* what;
        std::function<void(KeyValueExchange&)> ask;
        Bytes body;
    };
    ByteBuilder set, get, remove, list, ip;
    set.u8(1).u8(1).u16(0).u32(1).u32(6).u32(4).bytes(units("ab", 512)).bytes(units("c", 2048)).zeros(4);
    get.u8(0).u8(2).u16(0).u32(1).u32(6).u32(2).bytes(units("ab", 512)).zeros(2048).zeros(4);
    remove.u8(2).u8(0).u16(0).u32(6).bytes(units("ab", 512)).zeros(2580 - 520);
    list.u8(3).u8(2).u16(0).u32(0).zeros(2572);
    ip.u8(5).u8(0).bytes(units("{guid}", 256)).u8(1).u8(0).bytes(units("10.0.0.2;10.0.0.3", 2048));
    ip.bytes(units("255.0.0.0", 2048)).bytes(units("10.0.0.1", 1024)).bytes(units("1.1.1.1", 2048));
    const std::vector<Row> rows{
        {"set", [](auto& kvp) { kvp.set(KeyValuePool::guest, "ab", "c"); }, set.take()},
        {"get", [](auto& kvp) { kvp.get(KeyValuePool::automatic, "ab"); }, get.take()},
        {"remove", [](auto& kvp) { kvp.remove(KeyValuePool::external, "ab"); }, remove.take()},
        {"list", [](auto& kvp) { kvp.list(KeyValuePool::automatic); }, list.take()},
        {"set addresses",
         [](auto& kvp) {
             kvp.set_ip({"{guid}", 1, false, "10.0.0.2;10.0.0.3", "255.0.0.0", "10.0.0.1", "1.1.1.1"});
         },
         ip.take()},
    };
    for (const Row& row : rows) {
        CAPTURE(row.what);
        KvpFixture f;
        f.guest.open();
        row.ask(f.kvp);
        f.guest.run();
        REQUIRE(!f.guest.requests.empty());
        CHECK(f.guest.requests[0] == row.body);
    }
}

TEST_CASE("key-value: set, get, list, remove") {
    KvpFixture f;
    f.guest.open();
    CHECK(f.kvp.version() == ic::Version{4, 0});
    f.pools[2] = {{"OSName", "Debian"}, {"NetworkAddressIPv4", "10.0.0.5"}};
    const auto set = f.kvp.set(KeyValuePool::guest, "colour", "gr\xc3\xbcn");
    const auto get = f.kvp.get(KeyValuePool::guest, "colour");
    const auto none = f.kvp.get(KeyValuePool::guest, "shape");
    const auto list = f.kvp.list(KeyValuePool::automatic);
    const auto empty = f.kvp.list(KeyValuePool::auto_external);
    const auto remove = f.kvp.remove(KeyValuePool::guest, "colour");
    f.guest.run();
    auto& results = f.log.results;
    REQUIRE(results.size() == 6);
    CHECK(results[set].ok());
    CHECK(results[get].items == std::vector<KeyValue>{{"colour", "gr\xc3\xbcn"}});
    CHECK(results[none].status == ic::status::no_more_items);
    CHECK(results[list].ok());
    CHECK(results[list].items == f.pools[2]);
    CHECK(results[empty].ok());
    CHECK(results[empty].items.empty());
    CHECK(results[remove].ok());
    CHECK(f.pools[1].empty());
}

TEST_CASE("key-value: addresses of an adapter; numbers become text") {
    KvpFixture f;
    f.guest.open();
    f.guest.on_request = [](Bytes& body) -> std::optional<std::uint32_t> {
        if (body.size() == 7428) {
            const auto put = [&](std::size_t at, std::string_view text) {
                const auto bytes = to_utf16(text);
                std::copy(bytes.begin(), bytes.end(), body.begin() + static_cast<std::ptrdiff_t>(at));
            };
            body[259] = std::byte{1};
            put(260, "192.168.1.7");
            put(260 + 2048, "255.255.255.0");
            put(260 + 4096, "192.168.1.1");
            put(260 + 5120, "9.9.9.9");
            return ic::status::ok;
        }
        body[4] = std::byte{4};  // a 32-bit number
        body[528] = std::byte{42};
        return ic::status::ok;
    };
    const auto ip = f.kvp.get_ip("{guid}");
    const auto number = f.kvp.get(KeyValuePool::guest, "n");
    f.guest.run();
    CHECK(f.log.results[ip].ip ==
          IpSettings{"{guid}", 1, true, "192.168.1.7", "255.255.255.0", "192.168.1.1", "9.9.9.9"});
    CHECK(f.log.results[number].items == std::vector<KeyValue>{{"n", "42"}});
}

TEST_CASE("key-value: a daemon that answers late, or never; texts without end; lists without end") {
    KvpFixture f;
    f.guest.open();
    f.guest.on_request = [](Bytes&) { return std::nullopt; };
    f.kvp.set_timeout(20_s);
    const auto late = f.kvp.get(KeyValuePool::guest, "a");
    f.guest.run_for(10_s);
    CHECK(f.log.results.empty());
    f.guest.client.answer(ic::status::fail);
    f.root.settle();
    CHECK(f.log.results[late].status == ic::status::fail);
    const auto never = f.kvp.get(KeyValuePool::guest, "a");
    f.guest.run_for(20_s);
    CHECK(f.log.results[never].outcome == RequestOutcome::timed_out);
    f.guest.client.answer(ic::status::ok);

    f.guest.on_request = [](Bytes& body) {
        std::fill(body.begin() + 4, body.end(), std::byte{0x41});  // no zero anywhere
        return ic::status::ok;
    };
    const auto endless = f.kvp.list(KeyValuePool::guest);
    f.guest.run();
    auto& items = f.log.results[endless].items;
    CHECK(items.size() == KeyValueExchange::most_items);
    CHECK(items[0].key.size() == 256 * 3);  // U+4141
    CHECK(items[0].value.size() == 1024 * 3);
}

TEST_CASE("key-value: an answer that is shorter than the request does no harm") {
    KvpFixture f;
    f.guest.open();
    f.guest.on_request = [](Bytes& body) {
        body.resize(10);
        return ic::status::ok;
    };
    const auto get = f.kvp.get(KeyValuePool::guest, "a");
    const auto list = f.kvp.list(KeyValuePool::guest);
    const auto ip = f.kvp.get_ip("x");
    f.guest.run();
    CHECK(f.log.results[get].items == std::vector<KeyValue>{{"", ""}});
    CHECK(f.log.results[list].items.empty());
    CHECK(f.log.results[ip].ip.addresses.empty());
}

TEST_CASE("key-value: too long is the user's mistake, and asks nothing") {
    KvpFixture f;
    f.guest.open();
    CHECK_NOTHROW(f.kvp.set(KeyValuePool::guest, std::string(255, 'k'), std::string(1023, 'v')));
    CHECK_THROWS_WITH_AS(f.kvp.set(KeyValuePool::guest, std::string(256, 'k'), "v"),
                         "key-value exchange: the key has 256 characters; at most 255 fit", sim::UserError);
    CHECK_THROWS_AS(f.kvp.set(KeyValuePool::guest, "k", std::string(1024, 'v')), sim::UserError);
    CHECK_THROWS_AS(f.kvp.get_ip(std::string(128, 'k')), sim::UserError);
    f.guest.run();
    CHECK(f.guest.requests.size() == 1);
}

TEST_CASE("volume snapshot: check, freeze, thaw") {
    Root root;
    SnapshotLog log;
    VolumeSnapshot vss{root.scope("vss"), root.host(), &log};
    IntegrationGuest guest{root, ic::Type::volume_snapshot, {{5, 0}}};
    guest.on_request = [](Bytes& body) {
        if (body[0] == std::byte{2}) body[8] = std::byte{5};
        return ic::status::ok;
    };
    guest.open();
    vss.ask(SnapshotOperation::check_hot_backup);
    vss.freeze();
    guest.run();
    CHECK(vss.frozen());
    vss.thaw();
    guest.run();
    CHECK_FALSE(vss.frozen());
    REQUIRE(log.results.size() == 3);
    CHECK(log.results[0].flags == 5);
    CHECK(guest.requests[0] == ByteBuilder{}.u8(2).zeros(31).take());
    CHECK(guest.requests[1] == ByteBuilder{}.u8(5).zeros(6259).take());
    CHECK(guest.requests[2] == ByteBuilder{}.u8(6).zeros(31).take());
    guest.on_request = [](Bytes&) { return ic::status::fail; };
    vss.freeze();
    guest.run();
    CHECK_FALSE(vss.frozen());
    CHECK_FALSE(log.results.back().ok());
}

TEST_CASE("file copy: start, pieces of 6 KiB, end") {
    Root root;
    CopyLog log;
    FileCopy fcopy{root.scope("fcopy"), root.host(), &log};
    IntegrationGuest guest{root, ic::Type::file_copy, {{1, 1}}};
    guest.open();
    Bytes content(6144 * 2 + 5);
    for (std::size_t n = 0; n < content.size(); ++n) content[n] = static_cast<std::byte>(n * 7);
    const auto number = fcopy.copy("/tmp", "data.bin", content);
    guest.run();
    REQUIRE(guest.requests.size() == 5);
    ByteBuilder start;
    start.u32(0).zeros(32).bytes(units("data.bin", 520)).bytes(units("/tmp", 520)).u32(3).u64(content.size());
    CHECK(guest.requests[0] == start.take());
    Bytes received;
    for (std::size_t n = 1; n < 4; ++n) {
        CHECK(guest.requests[n].size() == 6196);
        ByteReader piece{guest.requests[n]};
        CHECK(piece.u32() == 1);
        piece.skip(36);
        CHECK(piece.u64() == received.size());
        const auto data = piece.bytes(piece.u32());
        received.insert(received.end(), data.begin(), data.end());
    }
    CHECK(received == content);
    CHECK(guest.requests[4] == ByteBuilder{}.u32(2).zeros(32).take());
    REQUIRE(log.results.size() == 1);
    CHECK(log.results[0].copy == number);
    CHECK(log.results[0].ok());
    CHECK(log.results[0].bytes_written == content.size());
}

TEST_CASE("file copy: what goes wrong where") {
    struct Row {
        const char* what;
        std::size_t failing_request;
        std::uint32_t status;
        std::size_t requests;  // with the cancellation
        std::uint64_t written;
    };
    for (const Row& row : {Row{"no daemon", 1, 0x8000'4005, 1, 0}, Row{"disk full", 3, 0x8007'0070, 4, 6144},
                           Row{"at the end", 4, 0x8000'4005, 5, 6200}}) {
        CAPTURE(row.what);
        Root root;
        CopyLog log;
        FileCopy fcopy{root.scope("fcopy"), root.host(), &log};
        IntegrationGuest guest{root, ic::Type::file_copy, {{1, 1}}};
        guest.on_request = [&](Bytes&) { return guest.requests.size() == row.failing_request ? row.status : 0; };
        guest.open();
        fcopy.copy("/a", "b", Bytes(6200));
        guest.run();
        REQUIRE(log.results.size() == 1);
        CHECK(log.results[0].status == row.status);
        CHECK(log.results[0].bytes_written == row.written);
        CHECK(guest.requests.size() == row.requests);
        if (row.requests > 1) CHECK(guest.requests.back()[0] == std::byte{3});
    }
}

TEST_CASE("file copy: one after the other, an empty one too; names have their limit") {
    Root root;
    CopyLog log;
    FileCopy fcopy{root.scope("fcopy"), root.host(), &log};
    IntegrationGuest guest{root, ic::Type::file_copy, {{1, 1}}};
    fcopy.copy("/", "one", {});
    fcopy.copy("/", "two", Bytes(1));
    CHECK_THROWS_AS(fcopy.copy(std::string(260, 'd'), "x", {}), sim::UserError);
    CHECK(fcopy.pending() == 2);
    guest.open();
    REQUIRE(log.results.size() == 2);
    CHECK(log.results[0].copy == 1);
    CHECK(log.results[1].copy == 2);
    CHECK(guest.requests.size() == 5);
    CHECK(fcopy.pending() == 0);
}

TEST_CASE("file copy: saved in the middle and restored") {
    struct Fixture {
        Root root;
        CopyLog log;
        FileCopy fcopy{root.scope("fcopy"), root.host(), &log};
        IntegrationGuest guest{root, ic::Type::file_copy, {{1, 1}}};
    };
    Fixture a;
    a.guest.on_request = [&](Bytes&) -> std::optional<std::uint32_t> {
        if (a.guest.requests.size() == 3) return std::nullopt;
        return 0;
    };
    a.guest.open();
    a.fcopy.copy("/", "f", Bytes(20'000));
    a.guest.run();
    const auto saved = sim::save_to_bytes(a.fcopy);
    const auto saved_guest = sim::save_to_bytes(a.guest.client);
    Fixture b;
    b.root.channel().open();
    sim::restore_from_bytes(b.fcopy, saved);
    sim::restore_from_bytes(b.guest.client, saved_guest);
    b.root.channel().sent.clear();
    b.guest.client.answer(0);
    b.guest.run();
    REQUIRE(b.log.results.size() == 1);
    CHECK(b.log.results[0].bytes_written == 20'000);
    CHECK(b.guest.requests.size() == 3);
}

}  // namespace integration_data_test
