// Live migration between two hosts: rounds by hand calculation, no page lost, connections that survive, and a guest
// that stays where it is when the other host fails.
#include "models/migration/live_migration.h"

#include <doctest/doctest.h>

#include <array>
#include <cstdlib>
#include <span>
#include <string>

#include "models/disk/byte_file.h"
#include "models/disk/disk_image.h"
#include "models/power_control.h"
#include "tests/effort.h"
#include "tests/models/migration_rig.h"

namespace migration_test {

using namespace migration_test;
using Phase = LiveMigration::Phase;

namespace {

// A page on a link of 10 Gb/s: 8 bytes of address and 4096 of content.
constexpr Time page_time = Time::ps(4104 * 8 * 100);

std::uint64_t count(World& w, const std::string& name) {
    const auto& all = w.simulation.statistics().all();
    const auto found = all.find(name);
    return found == all.end() ? ~std::uint64_t{0} : found->second.counter.value();
}

bool refused(const std::function<void()>& what, const std::string& why) {
    try {
        what();
    } catch (const sim::UserError& error) {
        CHECK(std::string{error.what()}.find(why) != std::string::npos);
        INFO(error.what());
        return true;
    }
    return false;
}

// Until requests are answered and the stream flows again: a peer's first retransmission may take 200 ms.
void run_until_lively(World& w) {
    for (int step = 0; step < 40; ++step) {
        w.requests->reset();
        w.stream->reset();
        w.run_for(Time::ms(10));
        if (w.requests->latency().count() > 10 && w.stream->throughput().bits_per_second() > 1'000'000'000) return;
    }
}

}  // namespace

TEST_CASE("migration: rounds are as long as the pages that they move, and those are what was written meanwhile") {
    World w{false};
    w.run_for(Time::ms(10));
    w.write(2048, 10'000);  // a page each 100 us, none twice within a round
    w.run_for(Time::ms(5));
    MigrationSettings settings = w.settings();
    settings.threshold = 4;
    w.migrate(settings);
    w.run_until_over();
    REQUIRE(w.migration->phase() == Phase::done);
    const auto& rounds = w.migration->rounds();
    REQUIRE(rounds.size() == 4);
    // The link is what holds up: each round begins with up to 16 pages being read and ends with those of the last
    // message being stored, 1 us each, perhaps behind the 16 before them. What the query takes, five calls of 1 us, is
    // between rounds. A switch between processors and the 1 us of a page of the guest's own may come in between.
    const Time slack = Time::us(16 + 8), queried = Time::us(5);
    std::uint64_t expected = World::guest_pages;
    for (std::size_t n = 0; n + 1 < rounds.size(); ++n) {
        CAPTURE(n);
        CHECK(rounds[n].pages >= expected);
        CHECK(rounds[n].pages <= expected + (n == 0 ? 0 : 1));
        const Time on_link = page_time * static_cast<std::int64_t>(rounds[n].pages);
        const std::uint64_t first = std::min<std::uint64_t>(16, rounds[n].pages), last = (rounds[n].pages - 1) % 16 + 1;
        const Time edges = Time::us(static_cast<std::int64_t>(first + last));
        CHECK(rounds[n].time >= on_link + edges);
        CHECK(rounds[n].time <= on_link + edges + slack);
        CHECK(rounds[n].bytes == rounds[n].pages * 4104);
        expected = static_cast<std::uint64_t>((rounds[n].time + queried) / Time::us(100));
    }
    // 53.8 ms: 538 pages; 1.8 ms: 17 or 18; less than a tenth: none or one. Then the state.
    CHECK(rounds[0].pages == 16384);
    CHECK(rounds[1].pages / 10 == 53);
    CHECK(rounds[3].pages <= 2);
    CHECK(rounds[3].bytes == rounds[3].pages * 4104 + w.migration->state_bytes());
    CHECK(w.migration->blackout() == rounds[3].time);
    CHECK(w.migration->blackout() < Time::ms(1));
    CHECK(w.migration->bytes() ==
          4104 * (rounds[0].pages + rounds[1].pages + rounds[2].pages + rounds[3].pages) + w.migration->state_bytes());
    CHECK(w.writer->damaged() == 0);
}

TEST_CASE("migration: who writes faster than the link is stopped after the last round") {
    World w{false};
    w.run_for(Time::ms(10));
    w.write(4096, 500'000);  // 4096 pages are 13.4 ms on the link, and written anew in 8.2 ms
    w.run_for(Time::ms(5));
    MigrationSettings settings = w.settings();
    settings.rounds = 3;
    w.migrate(settings);
    w.run_until_over();
    REQUIRE(w.migration->phase() == Phase::done);
    const auto& rounds = w.migration->rounds();
    REQUIRE(rounds.size() == 4);
    for (std::size_t n = 1; n < rounds.size(); ++n) CHECK(rounds[n].pages == 4096);
    CHECK(w.migration->blackout() > page_time * 4096);
    CHECK(w.writer->damaged() == 0);
    w.run_for(Time::ms(10));
    CHECK(w.writer->damaged() == 0);
}

TEST_CASE("migration: a page that is lost is seen") {
    World w{false};
    w.run_for(Time::ms(10));
    w.write(2048, 10'000);
    w.run_for(Time::ms(5));
    MigrationSettings settings = w.settings();
    settings.lost_page = w.writer->guest_page(200);  // written some 15 ms after the first round has begun
    w.migrate(settings);
    w.run_until_over();
    REQUIRE(w.migration->phase() == Phase::done);
    CHECK(w.writer->damaged() == 1);
}

TEST_CASE("migration: the guest's processors, its bus and its services are those of the other host") {
    World w;
    w.run_for(Time::ms(10));
    REQUIRE(w.network->driver().is_up());
    Guest& there = w.migrate(w.settings());
    CHECK(there.behavioural() == nullptr);
    w.run_until_over();
    REQUIRE(w.migration->phase() == Phase::done);
    CHECK(w.guest->behavioural() == nullptr);
    REQUIRE(there.behavioural() != nullptr);
    CHECK(there.state() == GuestState::running);
    CHECK(there.behavioural()->connected());
    // Nothing was said anew on the bus, and what is said goes there.
    CHECK(count(w, "b.host.root.guest.vmbus.messages.offer_channel") == 0);
    const std::uint64_t before = count(w, "b.host.root.guest.vmbus.signals_in");
    w.communicate();
    w.run_for(Time::ms(5));
    CHECK(count(w, "b.host.root.guest.vmbus.signals_in") > before);
    CHECK(w.requests->latency().count() > 10);
    CHECK(count(w, "a.host.root.unexpected") == 0);
    CHECK(count(w, "b.host.root.unexpected") == 0);
}

TEST_CASE("migration: connections survive") {
    World w;
    w.run_for(Time::ms(10));
    w.communicate();
    w.write(1024, 10'000);
    w.run_for(Time::ms(10));
    const std::uint64_t asked = w.requests->latency().count();
    CHECK(asked > 10);
    REQUIRE(w.stream->open_connections() == 1);
    w.migrate(w.settings());
    w.run_until_over();
    REQUIRE(w.migration->phase() == Phase::done);
    CHECK(w.migration->rounds().size() > 2);
    CHECK(w.migration->blackout() < Time::ms(10));
    run_until_lively(w);
    CHECK(w.requests->latency().count() > 10);
    CHECK(w.requests->failures() == 0);
    CHECK(w.stream->open_connections() == 1);
    CHECK(w.stream->throughput().bits_per_second() > 1'000'000'000);
    CHECK(w.writer->damaged() == 0);
}

TEST_CASE("migration: given up at any time, the guest goes on where it is, and may move later") {
    // While the guest stands, in a later round, and in the first.
    constexpr std::array<std::int64_t, 4> instants{-1, 60'000, 30'000, 1'000};
    for (const std::int64_t after_us : std::span{instants}.first(effort(instants.size()))) {
        CAPTURE(after_us);
        World w;
        w.run_for(Time::ms(10));
        w.communicate();
        w.write(4096, 500'000);
        w.run_for(Time::ms(10));
        MigrationSettings settings = w.settings();
        settings.rounds = 2;
        w.migrate(settings);
        if (after_us >= 0) {
            w.run_for(Time::us(after_us));
        } else {
            while (w.migration->stopped() == Time::zero()) w.run_for(Time::us(100));
            w.run_for(Time::ms(1));
        }
        REQUIRE(!w.migration->over());
        w.migration->give_up();
        CHECK(w.migration->phase() == Phase::failed);
        run_until_lively(w);
        CHECK(w.guest->behavioural() != nullptr);
        CHECK(w.requests->latency().count() > 10);
        CHECK(w.stream->throughput().bits_per_second() > 1'000'000'000);
        CHECK(w.writer->damaged() == 0);
        w.migration.reset();
        w.migrate(w.settings());
        w.run_until_over();
        CHECK(w.migration->phase() == Phase::done);
        CHECK(w.writer->damaged() == 0);
    }
}

TEST_CASE("migration: a guest that ends on its way, or gets a disk, does not arrive") {
    enum class What : std::uint8_t { ends, ends_and_is_given_up, gets_a_disk };
    for (const What what : {What::ends, What::ends_and_is_given_up, What::gets_a_disk}) {
        CAPTURE(static_cast<int>(what));
        World w{false};
        w.run_for(Time::ms(10));
        Guest& there = w.migrate(w.settings());
        w.run_for(Time::ms(5));
        if (what == What::gets_a_disk) {
            auto file = std::make_unique<MemoryFile>("disk");
            REQUIRE(file->resize(1 << 20) == IoStatus::ok);
            DiskConfig disk;
            disk.name = "disk";
            w.guest->devices().add_disk(open_disk_image(std::move(file), {.format = ImageFormat::raw}), disk);
        } else {
            constexpr std::uint32_t off = PowerControl::s5_sleep_type << 2 | 1u << 5;
            w.guest->behavioural()->write_port(0, PowerControl::sleep_control_port, 1, off);
        }
        if (what == What::ends_and_is_given_up) {
            while (w.guest->state() == GuestState::running) w.run_for(Time::us(1));
            REQUIRE(!w.migration->over());
            w.migration->give_up();
        }
        w.run_for(Time::ms(1));
        CHECK(w.migration->phase() == Phase::failed);
        CHECK(w.guest->state() == (what == What::gets_a_disk ? GuestState::running : GuestState::powered_off));
        CHECK(there.behavioural() == nullptr);
    }
}

TEST_CASE("migration: what cannot move stays, and says why in one line") {
    {
        World w{true, 48ull << 20};
        w.run_for(Time::ms(10));
        CHECK(refused([&] { w.migrate(w.settings()); }, "partition 'guest' wants 64 MiB"));
        w.communicate();
        w.run_for(Time::ms(10));
        CHECK(w.requests->latency().count() > 10);
    }
    {
        World w{true, 256ull << 20, "elsewhere"};
        w.run_for(Time::ms(10));
        CHECK(refused([&] { w.migrate(w.settings()); }, "the other host has no virtual switch rack"));
    }
    World w;
    CHECK(refused([&] { w.migrate(w.settings()); }, "its guest has not connected to its bus yet"));
    w.run_for(Time::ms(10));
    MigrationSettings settings = w.settings();
    settings.rounds = 0;
    CHECK(refused([&] { w.migrate(settings); }, "0 rounds: give 1 to 1000"));
    settings = w.settings();
    settings.bits_per_second = 1;
    CHECK(refused([&] { w.migrate(settings); }, "a bandwidth of 1 bit/s"));
    w.migrate(w.settings());
    w.run_until_over();
    CHECK(w.migration->phase() == Phase::done);
}

TEST_CASE("migration: no checkpoint while it is under way, one before and one after") {
    World w;
    w.run_for(Time::ms(10));
    w.communicate();
    w.run_for(Time::ms(5));
    (void)w.simulation.save();
    w.migrate(w.settings());
    w.run_for(Time::ms(20));
    CHECK(refused([&] { (void)w.simulation.save(); }, "checkpoint: partition guest is on its way to another host"));
    w.run_until_over();
    REQUIRE(w.migration->phase() == Phase::done);
    run_until_lively(w);
    const auto saved = w.simulation.save();
    w.run_for(Time::ms(5));
    const auto hash = w.simulation.trace().hash();
    const std::uint64_t asked = w.requests->latency().count();
    w.simulation.restore(saved);
    w.run_for(Time::ms(5));
    CHECK(w.simulation.trace().hash() == hash);
    CHECK(w.requests->latency().count() == asked);
}

TEST_CASE("migration: the same again, to the picosecond") {
    std::string hash;
    for (int n = 0; n < 2; ++n) {
        World w;
        w.run_for(Time::ms(10));
        w.communicate();
        w.write(1024, 10'000);
        w.migrate(w.settings());
        w.run_for(Time::ms(100));
        REQUIRE(w.migration->phase() == Phase::done);
        if (n == 0) hash = w.simulation.trace().hash();
        CHECK(w.simulation.trace().hash() == hash);
    }
}

}  // namespace migration_test
