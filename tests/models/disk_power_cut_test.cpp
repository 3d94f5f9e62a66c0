// Power cuts at random instants of a write-heavy workload: every image that is left behind opens, is sound when
// checked, and holds each write that was acknowledged before the last completed flush.
#include <doctest/doctest.h>

#include <functional>
#include <optional>

#include "models/disk/power_cut_file.h"
#include "tests/effort.h"
#include "tests/models/disk_bench.h"

namespace disk_power_cut_test {

using namespace disk_test;
using models::Access;
using models::ImageOptions;
using models::PowerCutFile;

namespace {

// Which versions a sector may have: the one at the last completed flush, and each one since. Version 0 is what the disk
// had before the workload; an unmapped sector is zeros.
class Promises final {
public:
    static constexpr std::uint64_t zeros = ~std::uint64_t{0};

    void written(std::uint64_t sector, std::uint64_t version) { sectors_[sector].since.push_back(version); }
    void flushed() {
        for (auto& [sector, state] : sectors_) {
            if (!state.since.empty()) state.durable = state.since.back();
            state.since.clear();
        }
    }
    // The first sector that breaks its promise, if any. `before` is what the disk held before the workload.
    std::optional<std::uint64_t> broken(DiskImage& disk, const Bytes& before) const {
        Bytes run;
        std::uint64_t run_first = 0;
        for (const auto& [sector, state] : sectors_) {
            if (sector >= run_first + run.size() / 512) {
                run_first = sector;
                run.resize(std::min<std::uint64_t>(64 * kib, disk.size_bytes() - sector * 512));
                if (disk.read(sector * 512, run) != IoStatus::ok) return sector;
            }
            const auto found = std::span{run}.subspan((sector - run_first) * 512, 512);
            const auto is = [&, at = sector](std::uint64_t version) { return matches(found, at, version, before); };
            if (is(state.durable)) continue;
            if (std::none_of(state.since.begin(), state.since.end(), is)) return sector;
        }
        return std::nullopt;
    }

private:
    static bool matches(std::span<const std::byte> found, std::uint64_t sector, std::uint64_t version,
                        const Bytes& before) {
        static constexpr std::array<std::byte, 512> none{};
        if (version == zeros) return std::memcmp(found.data(), none.data(), 512) == 0;
        if (version == 0) return std::memcmp(found.data(), before.data() + sector * 512, 512) == 0;
        for (std::size_t i = 0; i < 512; i += 8) {
            const std::uint64_t word = content_word(sector * 512 + i, version);
            if (std::memcmp(found.data() + i, &word, 8) != 0) return false;
        }
        return true;
    }

    struct State {
        std::uint64_t durable = 0;
        std::vector<std::uint64_t> since;
    };
    std::map<std::uint64_t, State> sectors_;
};

struct Case {
    const char* name;
    ImageOptions options;
    bool differencing;
    std::uint64_t cuts;
};

struct Count {
    std::uint64_t cuts = 0, logs = 0, nested = 0, with_qemu = 0;
};

class CutTest final {
public:
    CutTest(const Case& row, std::uint64_t seed)
        : row_(row), random_(seed, row.name), draws_(seed, "workload"), before_(row.options.geometry.size_bytes) {
        MemoryFile file = create(row.options, seed, "root");
        if (row.differencing) {
            auto disk = open_shared(file, Access::read_write);
            for (std::uint64_t at = 0; at < before_.size(); at += 32 * kib) {
                const Bytes data = content(at, 8 * kib, 77);
                REQUIRE(disk->write(at, data) == IoStatus::ok);
                std::memcpy(before_.data() + at, data.data(), data.size());
            }
            disk.reset();
            parents_.add("root", file);
            MemoryFile child("child");
            sim::Random guids(seed);
            models::create_differencing_image(child, *open_shared(file, Access::read_only), {"root", ""}, 1 << 20,
                                              guids);
            file = child;
        }
        new_image_ = file;
    }

    Count run() {
        while (count_.cuts < row_.cuts) {
            // A new image now and then, because one that is full allocates nothing any more.
            file_ = std::make_unique<PowerCutFile>(new_image_);
            promises_ = {};
            for (std::uint64_t sessions = draws_.between(1, 4); sessions > 0; --sessions) session();
        }
        return count_;
    }

private:
    std::uint64_t sectors() const { return row_.options.geometry.size_bytes / 512; }

    // Opens, writes, closes: a cut may come at each operation of all that.
    void session() {
        file_->before_operation([this] {
            if (count_.cuts < row_.cuts && random_.one_in(closing_ ? 2 : 12)) cut();
        });
        auto disk = open_shared(*file_, Access::read_write, &parents_);
        for (std::uint64_t i = draws_.between(1, 60); i > 0; --i) step(*disk);
        closing_ = true;
        REQUIRE(disk->close() == IoStatus::ok);
        closing_ = false;
        promises_.flushed();
        disk.reset();
        file_->before_operation(nullptr);
    }

    void step(DiskImage& disk) {
        if (draws_.one_in(5)) {
            REQUIRE(disk.flush() == IoStatus::ok);
            return promises_.flushed();
        }
        // Few places, so that they are written again and again; some transfers cross blocks.
        const std::uint64_t count = draws_.one_in(10) ? draws_.between(1, 400) : draws_.between(1, 16);
        const std::uint64_t first = std::min(draws_.below(24) * sectors() / 24 + draws_.below(32), sectors() - count);
        if (draws_.one_in(6)) {
            const bool block = draws_.one_in(2);  // a whole block frees its space
            const std::uint64_t per_block = 4096, from = block ? draws_.below(3) * per_block : first;
            const std::uint64_t length = block ? per_block : count;
            for (std::uint64_t i = 0; i < length; ++i) promises_.written(from + i, Promises::zeros);
            REQUIRE(disk.unmap(from * 512, length * 512) == IoStatus::ok);
            return;
        }
        ++version_;
        // Before the call: parts of it may arrive while it is under way.
        for (std::uint64_t i = 0; i < count; ++i) promises_.written(first + i, version_);
        REQUIRE(disk.write(first * 512, content(first * 512, count * 512, version_)) == IoStatus::ok);
    }

    void verify(DiskImage& disk) const {
        const auto sector = promises_.broken(disk, before_);
        CHECK_MESSAGE(!sector, "sector " << sector.value_or(0) << " after cut " << count_.cuts);
    }

    void cut() {
        ++count_.cuts;
        CAPTURE(count_.cuts);
        MemoryFile left = file_->after_power_cut(random_);
        const auto check = check_image(left);
        REQUIRE_MESSAGE(check.sound(), check.text());
        if (check.text().find("log holds") != std::string::npos) ++count_.logs;
        verify(*open_shared(left, Access::read_only, &parents_));  // mended in memory
        if (count_.cuts % 50 == 0 && !row_.differencing) with_qemu(left);

        // Opened for writing, and cut again while that mends the file.
        PowerCutFile again(left);
        std::vector<MemoryFile> left_again;
        again.before_operation([&] {
            if (left_again.size() < 2 && random_.one_in(3)) left_again.push_back(again.after_power_cut(random_));
        });
        auto disk = open_shared(again, Access::read_write, &parents_);
        again.before_operation(nullptr);
        verify(*disk);
        // It goes on being a disk.
        REQUIRE(disk->write(0, content(0, 512, 1)) == IoStatus::ok);
        REQUIRE(disk->close() == IoStatus::ok);
        const auto closed = check_image(again);
        REQUIRE_MESSAGE(closed.pristine(), closed.text());
        for (MemoryFile& file : left_again) {
            ++count_.nested;
            const auto nested = check_image(file);
            REQUIRE_MESSAGE(nested.sound(), nested.text());
            verify(*open_shared(file, Access::read_write, &parents_));
        }
    }

    // What qemu makes of it: it replays the log, finds nothing wrong and reads the same.
    void with_qemu(const MemoryFile& left) {
        if (!have_qemu_img()) return;
        const Folder folder;
        store(left, folder / "image");
        const bool vhdx = row_.options.format == ImageFormat::vhdx;
        if (vhdx) {
            std::string ignored;
            (void)disk_test::run("qemu-img check -r all -f vhdx " + (folder / "image"),
                                 ignored);  // ends with 3 if it replays
            qemu_img("check -f vhdx " + (folder / "image"));
        }
        qemu_img(fmt::format("convert -f {} -O raw {} {}", vhdx ? "vhdx" : "vpc", folder / "image", folder / "raw"));
        MemoryFile copy = left;
        const auto disk = open_shared(copy, Access::read_only);
        CHECK(load(folder / "raw") == all_of(*disk, disk->size_bytes()));
        ++count_.with_qemu;
    }

    const Case& row_;
    sim::Random random_, draws_;
    Bytes before_;
    MemoryParents parents_;
    MemoryFile new_image_{"new"};
    std::unique_ptr<PowerCutFile> file_;
    Promises promises_;
    std::uint64_t version_ = 0;
    bool closing_ = false;
    Count count_;
};

}  // namespace

TEST_CASE("power cuts lose nothing that was flushed") {
    const Case cases[] = {
        {"VHDX dynamic", {ImageFormat::vhdx, ImageKind::dynamic, {24 * mib, 512, 4096}, 1 << 20}, false, effort(1000u)},
        {"VHD dynamic", {ImageFormat::vhd, ImageKind::dynamic, {24 * mib, 512, 512}, 1 << 20}, false, effort(500u)},
        {"VHDX differencing",
         {ImageFormat::vhdx, ImageKind::dynamic, {24 * mib, 512, 4096}, 2 << 20},
         true,
         effort(500u)},
        {"VHD differencing", {ImageFormat::vhd, ImageKind::dynamic, {24 * mib, 512, 512}, 1 << 20}, true, effort(200u)},
    };
    for (const Case& row : cases) {
        CAPTURE(row.name);
        const Count count = CutTest(row, 42).run();
        CHECK(count.cuts == row.cuts);
        // The cuts that matter most were among them: logs to replay, and cuts while that is done. A VHD is mended
        // only where its footer was lost.
        const bool vhdx = row.options.format == ImageFormat::vhdx;
        CHECK(count.logs >= (vhdx ? row.cuts / 4 : 0));
        CHECK(count.nested >= (vhdx ? row.cuts / 4 : effort(2u)));
        if (!row.differencing && have_qemu_img()) CHECK(count.with_qemu == row.cuts / 50);
    }
}

TEST_CASE("power cuts while the first blocks are written and the image is closed") {
    // Table entries of a block and of its sector bitmap lie in different sectors: neither may come without the other.
    const ImageOptions options{ImageFormat::vhdx, ImageKind::dynamic, {24 * mib, 512, 512}, 1 << 20};
    const MemoryFile root = create(options, 1, "root");
    MemoryParents parents;
    parents.add("root", root);
    MemoryFile child("child"), root_copy = root;
    sim::Random random(3);
    models::create_differencing_image(child, *open_shared(root_copy, Access::read_only), {"root", ""}, 1 << 20, random);
    PowerCutFile file(child);
    std::uint64_t cuts = 0;
    file.before_operation([&] {
        for (int i = 0; i < 50; ++i) {
            const MemoryFile left = file.after_power_cut(random);
            const auto check = check_image(left);
            REQUIRE_MESSAGE(check.sound(), check.text());
            ++cuts;
        }
    });
    auto disk = open_shared(file, Access::read_write, &parents);
    REQUIRE(disk->write(5 * mib, content(0, 512, 1)) == IoStatus::ok);
    REQUIRE(disk->write(9 * mib, content(0, 512, 1)) == IoStatus::ok);
    REQUIRE(disk->close() == IoStatus::ok);
    file.before_operation(nullptr);
    CHECK(cuts > 1000);
}

}  // namespace disk_power_cut_test
