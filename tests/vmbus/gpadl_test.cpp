// GPADLs as they come in pieces, and the page lists that they make.
#include "vmbus/gpadl.h"

#include <doctest/doctest.h>

#include <numeric>
#include <string>

#include "sim/archive.h"
#include "tests/vmbus/loopback.h"

namespace gpadl_test {

namespace {

using namespace vmbus;
using Progress = Gpadl::Progress;

std::vector<std::uint64_t> range(std::uint32_t length, std::uint32_t offset, std::vector<std::uint64_t> pages) {
    std::vector<std::uint64_t> words{std::uint64_t{offset} << 32 | length};
    words.insert(words.end(), pages.begin(), pages.end());
    return words;
}
std::vector<std::uint64_t> joined(std::vector<std::uint64_t> a, const std::vector<std::uint64_t>& b) {
    a.insert(a.end(), b.begin(), b.end());
    return a;
}
std::vector<std::uint64_t> counted(std::uint64_t first, std::size_t count) {
    std::vector<std::uint64_t> pages(count);
    std::iota(pages.begin(), pages.end(), first);
    return pages;
}

// In pieces of 27 and then 28 words, as messages hold them.
Progress feed(Gpadl& gpadl, std::span<const std::uint64_t> words, std::uint64_t limit = 1 << 20) {
    std::size_t piece = 27;
    while (true) {
        const std::size_t part = std::min(piece, words.size());
        const Progress progress = gpadl.append(std::as_bytes(words.first(part)), limit);
        words = words.subspan(part);
        if (progress != Progress::more || words.empty()) return progress;
        piece = 28;
    }
}

TEST_CASE("GPADLs of every form") {
    struct Row {
        std::string what;
        std::uint32_t range_bytes;
        std::uint16_t ranges;
        std::vector<std::uint64_t> words;
        Progress progress;
        std::uint64_t size;
    };
    const std::uint64_t beyond = std::uint64_t{1} << 40;
    const std::vector<Row> rows{
        {"one page", 16, 1, range(4096, 0, {5}), Progress::complete, 4096},
        {"a byte", 16, 1, range(1, 4095, {5}), Progress::complete, 1},
        {"across pages", 24, 1, range(2, 4095, {5, 9}), Progress::complete, 2},
        {"26 pages, one message", 8 * 27, 1, range(26 * 4096, 0, counted(1, 26)), Progress::complete, 26 * 4096},
        {"27 pages, a body", 8 * 28, 1, range(27 * 4096, 0, counted(1, 27)), Progress::complete, 27 * 4096},
        {"4096 pages", 8 * 4097, 1, range(4096 * 4096, 0, counted(0, 4096)), Progress::complete, 4096 * 4096},
        {"the most that are counted", 8 * 8191, 1, range(8190 * 4096, 0, counted(0, 8190)), Progress::complete,
         8190 * 4096},
        {"a count that wraps to 0", 0, 1, range(8191 * 4096, 0, counted(0, 8191)), Progress::complete, 8191 * 4096},
        {"a count that wraps", 8 * 9, 1, range(8200 * 4096, 0, counted(0, 8200)), Progress::complete, 8200 * 4096},
        {"a count that wraps twice", 8 * 1, 1, range(16384 * 4096, 0, counted(0, 16384)), Progress::complete,
         16384 * 4096ull},
        {"a wrong count of many", 8 * 8, 1, range(8200 * 4096, 0, counted(0, 8200)), Progress::bad_range, 0},
        {"two ranges", 8 * 5, 2, joined(range(4096, 0, {3}), range(100, 4090, {7, 8})), Progress::complete, 4196},
        {"two ranges in two messages", 8 * 42, 2,
         joined(range(30 * 4096, 0, counted(0, 30)), range(4096 * 10, 0, counted(100, 10))), Progress::complete,
         40 * 4096},
        {"many ranges whose count wraps", 8, 3,
         joined(joined(range(4096 * 4000, 0, counted(0, 4000)), range(4096 * 4000, 0, counted(0, 4000))),
                range(4096 * 190, 0, counted(0, 190))),
         Progress::complete, 8190 * 4096},
        {"more in the message than belongs to it", 16, 1, joined(range(4096, 0, {5}), {1, 2, 3}), Progress::complete,
         4096},
        {"more announced than the ranges need", 8 * 4, 1, joined(range(4096, 0, {5}), {1, 2}), Progress::complete,
         4096},
        {"more announced, not all here", 8 * 4, 1, joined(range(4096, 0, {5}), {1}), Progress::more, 0},
        {"pages to come", 8 * 4, 1, range(3 * 4096, 0, {5, 6}), Progress::more, 0},
        {"nothing yet", 16, 1, {}, Progress::more, 0},
        {"no ranges", 16, 0, range(4096, 0, {5}), Progress::bad_range, 0},
        {"no length", 16, 1, range(0, 0, {5}), Progress::bad_range, 0},
        {"an offset outside the first page", 16, 1, range(1, 4096, {5}), Progress::bad_range, 0},
        {"fewer announced than the range needs", 16, 1, range(8192, 0, {5, 6}), Progress::bad_range, 0},
        {"fewer announced than two ranges need", 8 * 3, 2, joined(range(4096, 0, {3}), range(4096, 0, {4})),
         Progress::bad_range, 0},
        {"the second range bad", 8 * 4, 2, joined(range(4096, 0, {3}), range(0, 0, {4})), Progress::bad_range, 0},
        {"nothing announced", 0, 1, range(4096, 0, {5}), Progress::bad_range, 0},
        {"a page beyond every address", 16, 1, range(4096, 0, {beyond}), Progress::bad_range, 0},
        {"the last page there may be", 16, 1, range(4096, 0, {beyond - 1}), Progress::complete, 4096},
        {"4 GiB", 8, 1, range(0xffff'ffff, 0, counted(0, 20)), Progress::over_limit, 0},
    };
    for (const Row& row : rows) {
        CAPTURE(row.what);
        Gpadl gpadl{static_cast<std::uint16_t>(row.range_bytes), row.ranges};
        CHECK(feed(gpadl, row.words) == row.progress);
        CHECK(gpadl.complete() == (row.progress == Progress::complete));
        CHECK(gpadl.pages().size() == row.size);
    }
}

TEST_CASE("a guest's limit holds for what it announces, not only for what it sends") {
    Gpadl announced{8 * 101, 1};
    CHECK(announced.words() == 101);
    CHECK(feed(announced, range(4096 * 100, 0, {1}), 100) == Progress::over_limit);
    Gpadl longer{8 * 9, 1};  // 8201 words, wrapped
    CHECK(feed(longer, range(8200 * 4096, 0, {1}), 8200) == Progress::over_limit);
    Gpadl fits{8 * 9, 1};
    CHECK(feed(fits, range(8200 * 4096, 0, {1}), 8201) == Progress::more);
    CHECK(fits.words() == 8201);
    Gpadl ranges{8 * 9, 0xffff};
    CHECK(feed(ranges, {}, 1000) == Progress::over_limit);
}

TEST_CASE("a ring is one range of whole pages") {
    struct Row {
        std::vector<std::uint64_t> words;
        std::uint16_t ranges;
        bool ring;
    };
    const std::vector<Row> rows{
        {range(8192, 0, {1, 2}), 1, true},
        {range(8191, 0, {1, 2}), 1, false},
        {range(4096, 8, {1, 2}), 1, false},
        {joined(range(4096, 0, {1}), range(4096, 0, {2})), 2, false},
    };
    for (const Row& row : rows) {
        Gpadl gpadl{static_cast<std::uint16_t>(row.words.size() * 8), row.ranges};
        REQUIRE(feed(gpadl, row.words) == Progress::complete);
        CHECK(gpadl.is_page_run() == row.ring);
    }
}

TEST_CASE("pages are memory, each of them") {
    test::VectorMemory memory{16};
    Gpadl good{32, 1};
    REQUIRE(feed(good, range(3 * 4096, 0, {15, 0, 3})) == Progress::complete);
    CHECK(good.is_memory(memory));
    Gpadl bad{32, 1};
    REQUIRE(feed(bad, range(3 * 4096, 0, {15, 16, 3})) == Progress::complete);
    CHECK_FALSE(bad.is_memory(memory));
}

TEST_CASE("a GPADL is saved at any stage") {
    const auto words = joined(range(30 * 4096, 0, counted(0, 30)), range(4096 * 10, 0, counted(100, 10)));
    for (std::size_t stage = 0; stage <= words.size(); ++stage) {
        Gpadl gpadl{static_cast<std::uint16_t>(words.size() * 8), 2};
        if (stage != 0) (void)gpadl.append(std::as_bytes(std::span{words}.first(stage)), 1000);
        Gpadl copy;
        sim::restore_from_bytes(copy, sim::save_to_bytes(gpadl));
        const Progress last = stage == words.size() ? Progress::complete
                                                    : copy.append(std::as_bytes(std::span{words}.subspan(stage)), 1000);
        CHECK(last == Progress::complete);
        CHECK(copy.pages().size() == 40 * 4096);
        CHECK(copy.pages().runs() == 2);
    }
}

TEST_CASE("a page list is one run of bytes") {
    test::VectorMemory memory{16};
    PageList list;
    list.append(4000, 200, std::vector<std::uint64_t>{3, 9});  // 96 and 104 bytes
    list.append(0, 8192, std::vector<std::uint64_t>{5, 6});    // neighbours
    list.append(0, 100, std::vector<std::uint64_t>{7});        // another neighbour
    CHECK(list.size() == 200 + 8192 + 100);
    CHECK(list.runs() == 3);
    std::vector<std::byte> data(list.size());
    for (std::size_t n = 0; n < data.size(); ++n) data[n] = static_cast<std::byte>(n * 7);
    REQUIRE(list.write(memory, 0, data));
    CHECK(memory.bytes()[3 * 4096 + 4000] == data[0]);
    CHECK(memory.bytes()[9 * 4096] == data[96]);
    CHECK(memory.bytes()[9 * 4096 + 104] == std::byte{0});
    CHECK(memory.bytes()[5 * 4096] == data[200]);
    CHECK(memory.bytes()[7 * 4096 + 99] == data.back());
    std::vector<std::byte> back(data.size());
    REQUIRE(list.read(memory, 0, back));
    CHECK(back == data);
    std::vector<std::byte> part(110);
    REQUIRE(list.read(memory, 90, part));
    CHECK(std::equal(part.begin(), part.end(), data.begin() + 90));
    CHECK_FALSE(list.read(memory, list.size() - 109, part));
    CHECK_FALSE(list.read(memory, ~std::uint64_t{0}, part));
    CHECK(list.read(memory, list.size(), {}));
    CHECK_FALSE(list.read(memory, list.size() + 1, {}));
    const PageList slice = list.slice(96, 200);
    CHECK(slice.size() == 200);
    CHECK(slice.runs() == 2);
    REQUIRE(slice.read(memory, 100, part = std::vector<std::byte>(100)));
    CHECK(std::equal(part.begin(), part.end(), data.begin() + 196));
}

TEST_CASE("memory that a packet names") {
    test::VectorMemory memory{16};
    for (std::size_t n = 0; n < memory.bytes().size(); ++n) memory.bytes()[n] = static_cast<std::byte>(n / 4096 * 16);
    const GpaRange range{8192, 4000, {2, 3, 9}};
    std::vector<std::byte> out(8192);
    REQUIRE(read_range(memory, range, 0, out));
    CHECK(out[0] == std::byte{0x20});
    CHECK(out[95] == std::byte{0x20});
    CHECK(out[96] == std::byte{0x30});
    CHECK(out[96 + 4095] == std::byte{0x30});
    CHECK(out[96 + 4096] == std::byte{0x90});
    CHECK_FALSE(read_range(memory, range, 1, out));
    CHECK_FALSE(read_range(memory, range, 8193, {}));
    CHECK(read_range(memory, range, 8192, {}));
    const GpaRange outside{4096, 0, {16}};
    CHECK_FALSE(read_range(memory, outside, 0, std::span{out}.first(1)));
    const GpaRange far{4096, 0, {~std::uint64_t{0}}};
    CHECK_FALSE(write_range(memory, far, 0, std::span{out}.first(1)));
    const GpaRange too_few{8192, 0, {1}};
    CHECK_FALSE(read_range(memory, too_few, 0, out));
    REQUIRE(write_range(memory, range, 95, std::vector<std::byte>(2, std::byte{0xff})));
    CHECK(memory.bytes()[3 * 4096 - 1] == std::byte{0xff});
    CHECK(memory.bytes()[3 * 4096] == std::byte{0xff});
    CHECK(memory.bytes()[3 * 4096 + 1] == std::byte{0x30});
}

}  // namespace

}  // namespace gpadl_test
