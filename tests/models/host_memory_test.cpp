// Host memory and the page allocator: exact addresses, all-or-nothing, checkpoints.
#include "models/host_memory.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <optional>
#include <vector>

#include "models/touched_memory.h"

namespace host_memory_test {

using models::HostMemory;
using models::PageAllocator;
using Run = PageAllocator::Run;

namespace {
std::vector<std::byte> saved_bytes(const HostMemory& memory) {
    sim::Writer writer;
    memory.save(writer);
    return writer.take();
}
}  // namespace

TEST_CASE("a size that can't be is refused in one line") {
    struct Row {
        std::uint64_t bytes;
        const char* message;
    };
    for (const Row& row :
         {Row{0, "host memory of 0 bytes: give a size above 0 that is a multiple of 4 KiB"},
          Row{4097, "host memory of 4097 bytes: give a size above 0 that is a multiple of 4 KiB"},
          Row{1ull << 60, "host memory of 1152921504606846976 bytes does not fit: a host has at most 4096 GiB"}}) {
        CHECK_THROWS_WITH_AS(HostMemory{row.bytes}, row.message, sim::UserError);
    }
}

TEST_CASE("what will be filled keeps what is there, and what lies around it") {
    constexpr std::uint64_t large = models::large_page_bytes;
    HostMemory memory{4 * large + models::page_bytes};
    const std::uint64_t places[] = {0,         large - 1,    large, large + 5 * models::page_bytes + 7, 3 * large - 1,
                                    3 * large, 4 * large + 1};
    for (const std::uint64_t place : places) memory.base()[place] = static_cast<std::byte>(0x5a);
    const std::vector<std::byte> before = saved_bytes(memory);
    // Most of one large page; half of one, less of another; all, and a page that is not a large one.
    memory.will_fill(large + models::page_bytes, large - models::page_bytes);
    memory.will_fill(large / 2, large);
    memory.will_fill(0, memory.size_bytes());
    memory.will_fill(memory.size_bytes(), 0);
    CHECK(saved_bytes(memory) == before);
    for (const std::uint64_t place : places) CHECK(memory.base()[place] == static_cast<std::byte>(0x5a));
    memory.clear();
    CHECK(memory.base()[large] == std::byte{});
}

TEST_CASE("memory is zero at first, larger than the computer's own if need be, and returns from a checkpoint") {
    HostMemory memory{256ull << 30};
    CHECK(memory.view().size() == 256ull << 30);
    CHECK(memory.view().load<std::uint64_t>((256ull << 30) - 8) == 0);

    HostMemory small{1 << 20};
    small.view().store<std::uint32_t>(0x1000, 0x11223344);
    small.view().store<std::uint8_t>(0xfffff, 0x55);
    const auto saved = saved_bytes(small);
    CHECK(saved.size() == 8 + 2 * (8 + 4096) + 8);
    small.view().store<std::uint64_t>(0x5000, 7);
    small.view().store<std::uint32_t>(0x1000, 0);
    sim::Reader reader{saved};
    small.restore(reader);
    CHECK(reader.remaining() == 0);
    CHECK(small.view().load<std::uint32_t>(0x1000) == 0x11223344);
    CHECK(small.view().load<std::uint64_t>(0x5000) == 0);
    CHECK(small.view().load<std::uint8_t>(0xfffff) == 0x55);
    CHECK(saved_bytes(small) == saved);

    HostMemory other{2 << 20};
    sim::Reader wrong{saved};
    CHECK_THROWS_WITH_AS(other.restore(wrong), "checkpoint: it is of a host with 1 MiB of memory, this one has 2 MiB",
                         sim::UserError);
    auto damaged = saved;
    damaged[8] = std::byte{1};  // a page address that is no page's
    sim::Reader bad{damaged};
    CHECK_THROWS_AS(small.restore(bad), sim::UserError);
}

TEST_CASE("a checkpoint looks only at pages that were touched, whoever tells which") {
    using models::TouchedRun;
    constexpr std::uint64_t bytes = 16ull << 30, page = 4096, large = 2 << 20;
    HostMemory memory{bytes};
    const std::vector<std::uint64_t> written{0, page, 5 * large, bytes / 2 - page, bytes / 2, bytes - page};
    for (const std::uint64_t spa : written) memory.view().store<std::uint64_t>(spa + 8, spa + 1);
    CHECK(memory.view().load<std::uint64_t>(bytes / 4) == 0);  // a look is no harm
    for (const auto source : {models::TouchedSource::scan, models::TouchedSource::entries}) {
        CAPTURE(static_cast<int>(source));
        const std::vector<TouchedRun> runs = models::touched_memory(memory.base(), bytes, source);
        if (runs == std::vector<TouchedRun>{{0, bytes}}) {
            MESSAGE("this computer's kernel does not tell");
            return;
        }
        std::uint64_t touched = 0, before = 0;
        for (const TouchedRun& run : runs) {
            CHECK(run.first_byte < run.end_byte);
            CHECK((touched == 0 || before < run.first_byte));
            CHECK(run.first_byte % page == 0);
            CHECK(run.end_byte % page == 0);
            before = run.end_byte;
            touched += run.end_byte - run.first_byte;
        }
        for (const std::uint64_t spa : written) {
            CHECK(std::ranges::count_if(
                      runs, [spa](const TouchedRun& r) { return r.first_byte <= spa && spa < r.end_byte; }) == 1);
        }
        // The kernel may have given large pages.
        CHECK(touched <= 7 * large);
    }
    CHECK(models::touched_memory(memory.base(), bytes, models::TouchedSource::nobody) ==
          std::vector<TouchedRun>{{0, bytes}});
    const auto saved = saved_bytes(memory);
    CHECK(saved.size() == 8 + 6 * (8 + page) + 8);
    HostMemory again{bytes};
    again.view().store<std::uint64_t>(bytes / 4, 3);
    sim::Reader reader{saved};
    again.restore(reader);
    for (const std::uint64_t spa : written) CHECK(again.view().load<std::uint64_t>(spa + 8) == spa + 1);
    CHECK(saved_bytes(again) == saved);
}

TEST_CASE("the allocator always gives the lowest pages that fit") {
    PageAllocator pages{0x100000, 0x100000 + 1024 * 4096};
    CHECK(pages.free_pages() == 1024);
    CHECK(pages.allocate() == 0x100000);
    CHECK(pages.allocate() == 0x101000);
    CHECK(pages.allocate_contiguous(512, 0x200000) == 0x200000);  // skips to the boundary
    CHECK(pages.allocate_contiguous(512, 0x200000) == std::nullopt);
    CHECK(pages.allocate_contiguous(3, 0x4000) == 0x104000);
    CHECK(pages.allocate() == 0x102000);
    CHECK(pages.allocate_contiguous(2, 0x1000) == 0x107000);  // 0x103000 alone is too small
    CHECK(pages.allocate() == 0x103000);
    CHECK(pages.allocate() == 0x109000);
    pages.free(0x101000);
    pages.free(0x100000);
    CHECK(pages.allocate_contiguous(2, 0x1000) == 0x100000);  // neighbours have joined
    CHECK(pages.free_pages() == 1024 - 10 - 512);
    CHECK(pages.state().free_runs == std::map<std::uint64_t, std::uint64_t>{{0x10a000, 246}, {0x400000, 256}});
}

TEST_CASE("many pages come as few runs, all or nothing") {
    PageAllocator pages{0x1000, 0x600000};
    CHECK(pages.allocate_many(1024 + 3) == std::vector<Run>{{0x200000, 1024}, {0x1000, 3}});
    CHECK(pages.allocate_many(509) == std::vector<Run>{});
    CHECK(pages.free_pages() == 508);
    CHECK(pages.allocate_many(508) == std::vector<Run>{{0x4000, 508}});
    CHECK(pages.allocate() == std::nullopt);
    CHECK(pages.state().free_runs.empty());
    pages.free(0x200000, 1024);
    CHECK(pages.allocate_many(600) == std::vector<Run>{{0x200000, 600}});
}

TEST_CASE("random allocations and frees keep every page exactly once, and a restored allocator goes on alike") {
    PageAllocator pages{0, 512 * 4096};
    std::vector<Run> held;
    std::uint64_t random = 12345;
    const auto draw = [&random](std::uint64_t n) {
        random = random * 6364136223846793005ull + 1442695040888963407ull;
        return (random >> 33) % n;
    };
    for (int step = 0; step < 20'000; ++step) {
        if (draw(2) == 0) {
            const std::uint64_t n = 1 + draw(8);
            if (const auto spa = pages.allocate_contiguous(n, 0x1000ull << draw(3))) held.push_back({*spa, n});
        } else if (!held.empty()) {
            const auto i = draw(held.size());
            pages.free(held[i].spa, held[i].pages);
            held.erase(held.begin() + static_cast<std::ptrdiff_t>(i));
        }
        std::vector<int> owners(512);
        if (step % 500 != 0) continue;
        for (const Run& run : held) {
            for (std::uint64_t p = 0; p < run.pages; ++p) ++owners[run.spa / 4096 + p];
        }
        std::uint64_t previous_end = ~0ull;
        for (const auto& [spa, n] : pages.state().free_runs) {
            REQUIRE(spa != previous_end);
            previous_end = spa + n * 4096;
            for (std::uint64_t p = 0; p < n; ++p) ++owners[spa / 4096 + p];
        }
        REQUIRE(owners == std::vector<int>(512, 1));
    }
    PageAllocator copy{0, 512 * 4096};
    sim::restore_from_bytes(copy, sim::save_to_bytes(pages));
    CHECK(copy.state() == pages.state());
    CHECK(copy.allocate() == pages.allocate());
    for (const Run& run : held) pages.free(run.spa, run.pages);
}

}  // namespace host_memory_test
