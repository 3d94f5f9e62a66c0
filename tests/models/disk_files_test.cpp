// The files beneath disk images, and the overlay on top of one.
#include <doctest/doctest.h>
#include <sys/stat.h>

#include "models/disk/crc32c.h"
#include "models/disk/overlay.h"
#include "models/disk/overlay_file.h"
#include "models/disk/power_cut_file.h"
#include "models/disk/space_map.h"
#include "models/disk/utf16.h"
#include "sim/check.h"
#include "tests/models/disk_bench.h"

namespace disk_files_test {

using namespace disk_test;
using models::Access;
using models::ByteFile;
using models::OverlayImage;
using models::PowerCutFile;

namespace {

// The same operations on a file and on a vector of bytes.
void exercise(ByteFile& file) {
    Bytes plain;
    sim::Random random(3);
    constexpr std::uint64_t most = 200'000;
    for (std::uint64_t step = 0; step < 600; ++step) {
        const std::uint64_t offset = random.below(most), length = random.below(random.one_in(4) ? 70'000 : 600);
        switch (random.below(4)) {
            case 0:
                REQUIRE(file.resize(offset) == IoStatus::ok);
                plain.resize(offset);
                break;
            case 1:
                if (offset + length > plain.size()) {
                    CHECK(file.zero(offset, length) == IoStatus::out_of_range);
                } else {
                    REQUIRE(file.zero(offset, length) == IoStatus::ok);
                    std::memset(plain.data() + offset, 0, length);
                }
                break;
            default: {
                const Bytes data = content(offset, length, step);
                if (data.empty()) break;
                REQUIRE(file.write(offset, data) == IoStatus::ok);
                if (plain.size() < offset + length) plain.resize(offset + length);
                std::memcpy(plain.data() + offset, data.data(), length);
            }
        }
        if (random.one_in(9)) REQUIRE(file.flush() == IoStatus::ok);
        REQUIRE(file.size() == plain.size());
        REQUIRE(all_of(file, file.size()) == plain);
        Bytes one(1);
        CHECK(file.read(plain.size(), one) == IoStatus::out_of_range);
        CHECK(file.read(~std::uint64_t{0}, one) == IoStatus::out_of_range);
    }
    CHECK(file.write(~std::uint64_t{0} - 4, Bytes(8)) == IoStatus::no_space);
    CHECK(file.size() == plain.size());
}

}  // namespace

TEST_CASE("files hold what was written") {
    const Folder folder;
    MemoryFile memory("memory");
    exercise(memory);
    exercise(*models::create_host_file(folder / "host"));
    PowerCutFile cut{MemoryFile("cut")};
    exercise(cut);
    MemoryFile beneath("beneath");
    models::OverlayFile overlay(beneath);
    exercise(overlay);
    CHECK(beneath.size() == 0);
}

TEST_CASE("a memory file takes space for what was written, and its copies for what differs") {
    MemoryFile file("memory", 1 * mib);
    CHECK(file.resize(1 * mib) == IoStatus::ok);
    CHECK(file.bytes_held() == 0);
    CHECK(file.resize(1 * mib + 1) == IoStatus::no_space);
    CHECK(file.write(1 * mib - 1, Bytes(2)) == IoStatus::no_space);
    CHECK(file.write(100, Bytes(1)) == IoStatus::ok);
    CHECK(file.bytes_held() == 16 * kib);
    MemoryFile copy = file;
    CHECK(copy.write(100, content(0, 8, 1)) == IoStatus::ok);
    CHECK(read(file, 100, 8) == Bytes(8));
    CHECK(file.zero(0, 1 * mib) == IoStatus::ok);
    CHECK(file.bytes_held() == 0);
    CHECK(read(copy, 100, 8) == content(0, 8, 1));
}

TEST_CASE("a host file that one run writes is open to no other") {
    const Folder folder;
    const std::string path = folder / "image";
    CHECK_THROWS_WITH(models::open_host_file(path, Access::read_only), doctest::Contains("No such file"));
    {
        const auto writer = models::create_host_file(path);
        CHECK_THROWS_WITH(models::open_host_file(path, Access::read_only), doctest::Contains("in use by another run"));
        CHECK_THROWS_WITH(models::open_host_file(path, Access::read_write), doctest::Contains("in use by another run"));
    }
    const auto reader = models::open_host_file(path, Access::read_only);
    CHECK_NOTHROW(models::open_host_file(path, Access::read_only));
    CHECK_THROWS_WITH(models::open_host_file(path, Access::read_write), doctest::Contains("in use by another run"));
    CHECK(reader->write(0, Bytes(1)) == IoStatus::read_only);
    CHECK(reader->resize(1) == IoStatus::read_only);
    CHECK(reader->zero(0, 0) == IoStatus::read_only);
    CHECK_THROWS_WITH(models::create_host_file(path), doctest::Contains("File exists"));
    CHECK_THROWS_WITH(models::open_host_file(folder / ".", Access::read_only), doctest::Contains("not a regular file"));
    REQUIRE(::mkfifo((folder / "pipe").c_str(), 0600) == 0);
    CHECK_THROWS_WITH(models::open_host_file(folder / "pipe", Access::read_only),
                      doctest::Contains("not a regular file"));
}

TEST_CASE("a chain of images on the host, from another folder") {
    const Folder folder;
    std::filesystem::create_directory(folder / "parents");
    for (const ImageFormat format : {ImageFormat::vhd, ImageFormat::vhdx}) {
        const std::string name(name_of(format));
        store(create({format, ImageKind::dynamic, {4 * mib, 512, 512}}), folder / ("parents/" + name));
        const auto writer = [&] { return models::open_disk_image(folder / ("parents/" + name), Access::read_write); };
        REQUIRE(writer()->write(mib, content(0, 512, 1)) == IoStatus::ok);
        sim::Random random(1);
        const auto parent = models::open_disk_image(folder / ("parents/" + name), Access::read_only);
        // The second path is tried when nothing is at the first.
        models::create_differencing_image(*models::create_host_file(folder / (name + " near")), *parent,
                                          {"parents/" + name, ""}, 0, random);
        models::create_differencing_image(*models::create_host_file(folder / (name + " far")), *parent,
                                          {"nowhere/" + name, folder / ("parents/" + name)}, 0, random);
        for (const char* child : {" near", " far"}) {
            CAPTURE(child);
            const auto disk = models::open_disk_image(folder / (name + child), Access::read_write);
            CHECK(read(*disk, mib, 512) == content(0, 512, 1));
            CHECK(disk->write(mib, content(0, 512, 2)) == IoStatus::ok);
        }
        CHECK(read(*parent, mib, 512) == content(0, 512, 1));
    }
}

TEST_CASE("what a power cut leaves") {
    PowerCutFile file{MemoryFile("cut")};
    REQUIRE(file.write(0, content(0, 2048, 1)) == IoStatus::ok);
    REQUIRE(file.flush() == IoStatus::ok);
    REQUIRE(file.write(0, content(0, 1024, 2)) == IoStatus::ok);
    REQUIRE(file.write(512, content(512, 1024, 3)) == IoStatus::ok);
    REQUIRE(file.resize(4096) == IoStatus::ok);
    sim::Random random(1);
    // version of each sector -> how often; every combination that the cache allows comes up, and no other.
    std::map<std::array<int, 4>, int> seen;
    for (int i = 0; i < 5000; ++i) {
        const MemoryFile left = file.after_power_cut(random);
        REQUIRE((left.size() == 2048 || left.size() == 4096));
        std::array<int, 4> versions{};
        for (std::uint64_t sector = 0; sector < 3; ++sector) {
            const Bytes found = read(left, sector * 512, 512);
            for (int version = 1; version <= 3; ++version) {
                if (found == content(sector * 512, 512, static_cast<std::uint64_t>(version)))
                    versions[sector] = version;
            }
        }
        versions[3] = left.size() == 4096;
        ++seen[versions];
    }
    CHECK(seen.size() == 2 * 3 * 2 * 2);
    for (const auto& [versions, count] : seen) {
        CHECK((versions[0] == 1 || versions[0] == 2));
        CHECK(versions[1] >= 1);
        CHECK((versions[2] == 1 || versions[2] == 3));
    }
    // What was flushed is all there is to find.
    REQUIRE(file.flush() == IoStatus::ok);
    const MemoryFile left = file.after_power_cut(random);
    CHECK(all_of(left, left.size()) == all_of(file, 4096));
}

TEST_CASE("an overlay leaves its image alone") {
    const models::ImageOptions options{ImageFormat::vhdx, ImageKind::dynamic, {5 * mib + 512, 512, 512}, 1 << 20};
    MemoryFile file = create(options);
    Workload workload(options.geometry.size_bytes, 512, 5);
    workload.run(*open_shared(file, Access::read_write), 60);
    const Bytes before = all_of(file, file.size());

    OverlayImage overlay(open_shared(file, Access::read_only));
    CHECK_FALSE(overlay.read_only());
    CHECK(overlay.geometry() == options.geometry);
    Workload original = workload;
    for (int i = 0; i < 300; ++i) {
        workload.step(overlay);
        if (i % 10 == 0) REQUIRE(workload.matches(overlay));
    }
    REQUIRE(workload.matches(overlay));

    SUBCASE("saved and restored") {
        sim::Writer writer;
        overlay.save(writer);
        OverlayImage other(open_shared(file, Access::read_only));
        sim::Reader reader(writer.data());
        other.restore(reader);
        CHECK(reader.remaining() == 0);
        CHECK(workload.matches(other));
        sim::Writer again;
        other.save(again);
        CHECK(again.data() == writer.data());
    }
    SUBCASE("exported") {
        for (const ImageFormat format : {ImageFormat::raw, ImageFormat::vhd, ImageFormat::vhdx}) {
            MemoryFile exported = create({format, ImageKind::fixed, options.geometry, 1 << 20});
            auto target = open_shared(exported, Access::read_write);
            CHECK(overlay.export_to(*target) == IoStatus::ok);
            CHECK(workload.matches(*target));
        }
        MemoryFile smaller = create({ImageFormat::raw, ImageKind::fixed, {512, 512, 512}});
        CHECK(overlay.export_to(*open_shared(smaller, Access::read_write)) == IoStatus::out_of_range);
    }
    CHECK(all_of(file, file.size()) == before);
}

TEST_CASE("an overlay holds no more than it may") {
    MemoryFile file = create({ImageFormat::raw, ImageKind::fixed, {64 * mib, 512, 512}});
    OverlayImage overlay(open_shared(file, Access::read_only), 1 * mib);
    CHECK(overlay.write(0, Bytes(1 * mib)) == IoStatus::ok);
    CHECK(overlay.bytes_held() == 1 * mib);
    CHECK(overlay.write(1 * mib, Bytes(512)) == IoStatus::no_space);
    CHECK(overlay.write(0, Bytes(512)) == IoStatus::ok);
    CHECK(overlay.unmap(0, 64 * mib) == IoStatus::ok);
    CHECK(overlay.bytes_held() == 0);
    CHECK(overlay.write(63 * mib, Bytes(512)) == IoStatus::ok);
}

TEST_CASE("a damaged checkpoint of an overlay is refused") {
    MemoryFile file = create({ImageFormat::raw, ImageKind::fixed, {64 * kib, 512, 512}});
    const auto restore = [&](const Bytes& data) {
        OverlayImage overlay(open_shared(file, Access::read_only));
        sim::Reader reader(data);
        overlay.restore(reader);
    };
    const auto saved = [](std::uint64_t size, std::map<std::uint64_t, std::array<std::byte, 4096>> blocks,
                          std::map<std::uint64_t, std::uint64_t> zeroed) {
        sim::Writer writer;
        writer(size, blocks, zeroed);
        return writer.take();
    };
    const std::uint64_t size = 64 * kib;
    CHECK_NOTHROW(restore(saved(size, {{15, {}}}, {{0, 3}, {4, 16}})));
    CHECK_THROWS_AS(restore(saved(size + 512, {}, {})), sim::UserError);          // of another disk
    CHECK_THROWS_AS(restore(saved(size, {{16, {}}}, {})), sim::UserError);        // past the end
    CHECK_THROWS_AS(restore(saved(size, {}, {{0, 17}})), sim::UserError);         // past the end
    CHECK_THROWS_AS(restore(saved(size, {}, {{3, 3}})), sim::UserError);          // empty
    CHECK_THROWS_AS(restore(saved(size, {}, {{0, 3}, {3, 5}})), sim::UserError);  // touching
    CHECK_THROWS_AS(restore(saved(size, {}, {{0, 5}, {3, 7}})), sim::UserError);  // overlapping
    Bytes shorter = saved(size, {{1, {}}}, {});
    shorter.resize(shorter.size() - 9);
    CHECK_THROWS_AS(restore(shorter), sim::UserError);
}

TEST_CASE("free space in a file") {
    models::SpaceMap map(10);
    CHECK(map.take(0, 3));
    CHECK_FALSE(map.take(2, 2));
    CHECK_FALSE(map.is_taken(3));
    CHECK(map.find_free(2) == 3);
    CHECK(map.take(3, 2));
    CHECK(map.take(6, 4));
    CHECK(map.find_free(2) == std::nullopt);
    CHECK(map.find_free(1) == 5);
    map.release(1, 2);
    CHECK(map.find_free(2) == 1);
    CHECK(map.count_free() == 3);
    CHECK(map.take(20, 2));
    CHECK(map.units() == 22);
    CHECK(map.find_free(10) == 10);
}

TEST_CASE("checksums and text") {
    // RFC 3720, B.4
    struct {
        Bytes data;
        std::uint32_t crc;
    } rows[] = {{Bytes(32), 0x8a91'36aa}, {Bytes(32, std::byte{0xff}), 0x62a8'ab43}, {Bytes(32), 0x46dd'794e}};
    for (unsigned i = 0; i < 32; ++i) rows[2].data[i] = static_cast<std::byte>(i);
    for (const auto& [data, crc] : rows) {
        CHECK(models::crc32c(data) == crc);
        CHECK(models::crc32c(std::span{data}.subspan(13), models::crc32c(std::span{data}.first(13))) == crc);
    }
    for (const auto order : {models::ByteOrder::little, models::ByteOrder::big}) {
        for (const std::string text : {"", "a\\b.vhdx", "\u00e4\u20ac", "\U0001f600z"}) {
            CHECK(models::text_of_utf16(models::utf16_of(text, order), order) == text);
        }
        CHECK(models::text_of_utf16(models::utf16_of("\xff\xc3\xe2\x82", order), order) == "\ufffd\ufffd\ufffd\ufffd");
    }
    const Bytes lone{std::byte{0x00}, std::byte{0xd8}, std::byte{'a'}, std::byte{0}, std::byte{7}};
    CHECK(models::text_of_utf16(lone, models::ByteOrder::little) == "\ufffda");
    CHECK(models::utf16_of("\U0001f600", models::ByteOrder::big) ==
          Bytes{std::byte{0xd8}, std::byte{0x3d}, std::byte{0xde}, std::byte{0x00}});
}

}  // namespace disk_files_test
