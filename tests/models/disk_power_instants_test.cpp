// Power cuts at random simulated instants while a guest writes as fast as it can: through its driver, the bus, the
// storage service, a disk with a time model and an image on a medium with a volatile cache. Whatever image is left
// opens, is sound when checked, and holds each write whose flush the guest was told of.
#include <doctest/doctest.h>

#include <algorithm>
#include <map>
#include <optional>
#include <set>

#include "models/disk/power_cut_file.h"
#include "models/virtual_disk.h"
#include "tests/effort.h"
#include "tests/models/disk_bench.h"
#include "tests/vmbus/storage_loopback.h"

namespace disk_power_instants_test {

using namespace disk_test;
using models::Access;
using models::ImageOptions;
using models::PowerCutFile;

namespace {

// What each sector may hold, by what the guest knows: the version that is safe, and each one since. A version is twice
// its number, and one more if it is an unmapped sector; 0 is the disk before.
class Knowledge final {
public:
    using Versions = std::map<std::uint64_t, std::uint64_t>;

    void submitted(std::uint64_t sector, std::uint64_t version) { sectors_[sector].since.push_back(version); }
    void acknowledged(std::uint64_t sector, std::uint64_t version) { acknowledged_[sector] = version; }
    // What a flush that begins now makes safe, once it is done.
    Versions covered() const { return acknowledged_; }
    void safe(const Versions& covered) {
        for (const auto& [sector, version] : covered) {
            State& state = sectors_[sector];
            const auto found = std::find(state.since.begin(), state.since.end(), version);
            if (found != state.since.end()) {
                state.since.erase(state.since.begin(), found + 1);
                state.safe = version;
            }
            const auto known = acknowledged_.find(sector);
            if (known != acknowledged_.end() && known->second == version) acknowledged_.erase(known);
        }
    }
    std::uint64_t safe_sectors() const {
        return static_cast<std::uint64_t>(
            std::count_if(sectors_.begin(), sectors_.end(), [](const auto& s) { return s.second.safe != 0; }));
    }

    // The first sector that holds what it may not.
    std::optional<std::uint64_t> broken(DiskImage& disk) const {
        Bytes found(512);
        for (const auto& [sector, state] : sectors_) {
            if (disk.read(sector * 512, found) != IoStatus::ok) return sector;
            const auto is = [&, s = sector](std::uint64_t version) { return matches(found, s, version); };
            if (!is(state.safe) && std::none_of(state.since.begin(), state.since.end(), is)) return sector;
        }
        return std::nullopt;
    }

private:
    static bool matches(const Bytes& found, std::uint64_t sector, std::uint64_t version) {
        static constexpr std::array<std::byte, 512> zeros{};
        if (version == 0 || version % 2 != 0) return std::memcmp(found.data(), zeros.data(), 512) == 0;
        for (std::size_t at = 0; at < 512; at += 8) {
            const std::uint64_t word = content_word(sector * 512 + at, version);
            if (std::memcmp(found.data() + at, &word, 8) != 0) return false;
        }
        return true;
    }

    struct State {
        std::uint64_t safe = 0;
        std::vector<std::uint64_t> since;
    };
    std::map<std::uint64_t, State> sectors_;
    Versions acknowledged_;  // and not yet safe
};

// A guest that keeps eight requests under way: mostly writes, across the borders of blocks, and to few places, so that
// they are written again and again.
class Writer final : public vmbus::StorageUser {
public:
    static constexpr vmbus::StorageAddress where{0, 1, 0};
    static constexpr std::uint64_t sectors = 24576, place_sectors = 128, places = 23;

    explicit Writer(std::uint64_t seed) : random_(seed, "writer") {}

    std::uint64_t writes = 0, flushes = 0, unmaps = 0;
    Knowledge knowledge;

    void connect(vmbus::StorageClient& driver) { driver_ = &driver; }
    void storage_ready() override {
        for (int n = 0; n < 8; ++n) submit();
    }
    void storage_done(std::uint64_t tag, vmbus::StorageAnswer answer) override {
        REQUIRE(answer.succeeded());
        const auto node = under_way_.extract(tag);
        const Request& request = node.mapped();
        if (request.kind == Kind::flush) {
            ++flushes;
            knowledge.safe(request.covered);
        } else {
            ++(request.kind == Kind::unmap ? unmaps : writes);
            Knowledge::Versions these;
            for (std::uint64_t n = 0; n < request.count; ++n) {
                knowledge.acknowledged(request.first + n, request.version);
                these[request.first + n] = request.version;
            }
            if (request.kind == Kind::write_through) knowledge.safe(these);
            busy_.erase(request.place);
        }
        submit();
    }

private:
    enum class Kind : std::uint8_t { write, write_through, unmap, flush };
    struct Request {
        Kind kind{};
        std::uint64_t place = 0, first = 0, count = 0, version = 0;
        Knowledge::Versions covered;
    };

    void submit() {
        Request request;
        const std::uint64_t tag = ++tags_;
        vmbus::StorageIo io;
        if (random_.one_in(8)) {
            request.kind = Kind::flush;
            request.covered = knowledge.covered();
            io = vmbus::storage_flush();
        } else {
            // Not where something is under way: a disk may do requests in any order.
            do request.place = 1 + random_.below(places);
            while (!busy_.insert(request.place).second);
            const bool whole = random_.one_in(10);
            request.count = whole ? place_sectors : random_.between(1, 24);
            request.first = request.place * 1024 - 64 + (whole ? 0 : random_.below(place_sectors - request.count + 1));
            request.kind = random_.one_in(7) ? Kind::unmap : random_.one_in(12) ? Kind::write_through : Kind::write;
            request.version = 2 * tag + (request.kind == Kind::unmap ? 1 : 0);
            for (std::uint64_t n = 0; n < request.count; ++n) knowledge.submitted(request.first + n, request.version);
            if (request.kind == Kind::unmap) {
                io = vmbus::storage_unmap(request.first, static_cast<std::uint32_t>(request.count));
            } else {
                io = vmbus::storage_write(request.first,
                                          content(request.first * 512, request.count * 512, request.version), 512,
                                          request.kind == Kind::write_through);
            }
        }
        io.tag = tag;
        io.address = where;
        under_way_.emplace(tag, std::move(request));
        driver_->submit(std::move(io), static_cast<std::uint16_t>(tag % 4));
    }

    sim::Random random_;
    vmbus::StorageClient* driver_ = nullptr;
    std::uint64_t tags_ = 0;
    std::map<std::uint64_t, Request> under_way_;
    std::set<std::uint64_t> busy_;
};

struct Count {
    std::uint64_t cuts = 0, logs = 0, with_qemu = 0, writes = 0, flushes = 0, unmaps = 0, safe = 0;
};

// One machine from its start on, cut `cuts` times. (The machine that loses power is one of many that are alike.)
void run_machine(const ImageOptions& options, std::uint64_t seed, std::uint64_t cuts, Count& count) {
    sim::Random random(seed, "cuts");
    PowerCutFile file(create(options, seed, "disk"));
    const auto image =
        models::open_disk_image(std::make_unique<SharedFile>(file), {Access::read_write, options.format, nullptr});
    Writer writer(seed);
    vmbus::testing::StorageLoopbackConfig config;
    config.memory_pages = 2048;
    config.client.ring = {.to_host = 8, .to_guest = 8};
    vmbus::testing::StorageLoopback machine(config, &writer);
    writer.connect(machine.driver);
    models::ImageStore store(*image);
    const vmbus::BlockTiming timing{.flush_latency = sim::Time::us(150), .queue_depth = 8};
    vmbus::TimedDisk timed(machine.simulation.scope("image.blocks"), store, timing);
    vmbus::ScsiDisk unit(machine.simulation.scope("image"), timed, vmbus::testing::named_disk());
    machine.provider.add_disk(Writer::where, unit);
    machine.bus.connect();

    for (std::uint64_t cut = 1; cut <= cuts; ++cut) {
        machine.run(sim::Time::ns(static_cast<std::int64_t>(random.between(1, 400'000))));
        CAPTURE(cut);
        MemoryFile left = file.after_power_cut(random);
        const auto check = models::check_image(left, options.format);
        REQUIRE_MESSAGE(check.sound(), check.text());
        if (check.text().find("log holds") != std::string::npos) ++count.logs;
        if (++count.cuts % 50 == 0 && options.format == ImageFormat::vhdx && have_qemu_img()) {
            const Folder folder;
            disk_test::store(left, folder / "image");
            std::string ignored;
            (void)disk_test::run("qemu-img check -r all -f vhdx " + (folder / "image"), ignored);  // replays the log
            qemu_img("check -f vhdx " + (folder / "image"));
            ++count.with_qemu;
        }
        const auto disk =
            models::open_disk_image(std::make_unique<SharedFile>(left), {Access::read_write, options.format, nullptr});
        const auto sector = writer.knowledge.broken(*disk);
        REQUIRE_MESSAGE(!sector, "sector " << sector.value_or(0));
        REQUIRE(disk->close() == IoStatus::ok);
        const auto closed = models::check_image(left, options.format);
        REQUIRE_MESSAGE(closed.pristine(), closed.text());
    }
    count.writes += writer.writes;
    count.flushes += writer.flushes;
    count.unmaps += writer.unmaps;
    count.safe += writer.knowledge.safe_sectors();
}

}  // namespace

TEST_CASE("power cuts at random instants of a guest that writes") {
    struct Row {
        const char* name;
        ImageOptions options;
        std::uint64_t machines;
    };
    constexpr std::uint64_t cuts = 50;  // of each machine
    constexpr models::DiskGeometry geometry{Writer::sectors * 512, 512, 512};
    const Row rows[] = {
        {"VHDX dynamic", {ImageFormat::vhdx, ImageKind::dynamic, geometry, 1 << 20}, effort(20u)},
        {"VHDX fixed", {ImageFormat::vhdx, ImageKind::fixed, geometry, 1 << 20}, effort(4u)},
        {"VHD dynamic", {ImageFormat::vhd, ImageKind::dynamic, geometry, 1 << 20}, effort(10u)},
        {"raw", {ImageFormat::raw, ImageKind::fixed, geometry, 0}, effort(4u)},
    };
    for (const Row& row : rows) {
        CAPTURE(row.name);
        Count count;
        for (std::uint64_t seed = 1; seed <= row.machines; ++seed) run_machine(row.options, seed, cuts, count);
        CHECK(count.cuts == row.machines * cuts);
        // The guest was at work, and had much to lose.
        CHECK(count.writes > row.machines * 300);
        CHECK(count.flushes > row.machines * 40);
        CHECK(count.unmaps > row.machines * 40);
        CHECK(count.safe > row.machines * 500);
        if (row.options.format == ImageFormat::vhdx && row.options.kind == ImageKind::dynamic) {
            CHECK(count.logs > row.machines * cuts / 10);
        }
        if (row.options.format == ImageFormat::vhdx && have_qemu_img()) CHECK(count.with_qemu == row.machines);
    }
}

}  // namespace disk_power_instants_test
