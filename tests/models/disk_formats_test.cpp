// Images of every format and kind that we create: equal to a plain disk under random writes, whole when checked, the
// same bytes for the same seed.
#include <doctest/doctest.h>

#include "sim/check.h"
#include "tests/models/disk_bench.h"

namespace disk_formats_test {

using namespace disk_test;
using models::Access;
using models::ImageOptions;

namespace {

struct Row {
    const char* name;
    ImageOptions options;
    int steps;
};

const Row rows[] = {
    {"raw", {ImageFormat::raw, ImageKind::fixed, {5 * mib + 512, 512, 512}}, 200},
    {"VHD fixed", {ImageFormat::vhd, ImageKind::fixed, {5 * mib + 512, 512, 512}}, 200},
    {"VHD dynamic", {ImageFormat::vhd, ImageKind::dynamic, {9 * mib + 512, 512, 512}}, 200},
    {"VHD dynamic, small blocks", {ImageFormat::vhd, ImageKind::dynamic, {3 * mib, 512, 512}, 32 * 1024}, 300},
    {"VHDX fixed", {ImageFormat::vhdx, ImageKind::fixed, {5 * mib + 512, 512, 4096}, 1 << 20}, 200},
    {"VHDX dynamic", {ImageFormat::vhdx, ImageKind::dynamic, {9 * mib + 512, 512, 4096}, 1 << 20}, 300},
    {"VHDX dynamic, 4 KiB", {ImageFormat::vhdx, ImageKind::dynamic, {9 * mib + 4096, 4096, 4096}, 2 << 20}, 200},
    {"VHDX dynamic, one large block", {ImageFormat::vhdx, ImageKind::dynamic, {7 * mib, 512, 512}}, 200},
};

}  // namespace

TEST_CASE("an image reads as what was written, now and when opened again") {
    for (const Row& row : rows) {
        CAPTURE(row.name);
        MemoryFile file = create(row.options);
        CHECK(check_image(file, row.options.format).pristine());
        Workload workload(row.options.geometry.size_bytes, row.options.geometry.logical_sector_bytes, 7);
        for (int round = 0; round < 3; ++round) {
            auto disk = open_shared(file, Access::read_write);
            CHECK(disk->geometry() == row.options.geometry);
            CHECK(disk->format() == row.options.format);
            CHECK(disk->kind() == row.options.kind);
            REQUIRE(workload.matches(*disk));
            workload.run(*disk, row.steps);
            REQUIRE(workload.matches(*disk));
            disk.reset();
            const auto check = check_image(file, row.options.format);
            CHECK_MESSAGE(check.pristine(), check.text());
        }
        const MemoryFile before = file;
        auto disk = open_shared(file, Access::read_only);
        CHECK(workload.matches(*disk));
        CHECK(disk->write(0, Bytes(4096)) == IoStatus::read_only);
        CHECK(disk->unmap(0, 4096) == IoStatus::read_only);
        disk.reset();
        CHECK(all_of(file, file.size()) == all_of(before, before.size()));
    }
}

TEST_CASE("the same seed gives the same bytes, another seed other identifiers") {
    for (const Row& row : rows) {
        CAPTURE(row.name);
        const auto bytes_with = [&](std::uint64_t seed) {
            MemoryFile file = create(row.options, seed);
            auto disk = open_shared(file, Access::read_write);
            Workload(row.options.geometry.size_bytes, row.options.geometry.logical_sector_bytes, 3).run(*disk, 50);
            disk.reset();
            return all_of(file, file.size());
        };
        const Bytes first = bytes_with(1);
        CHECK(first == bytes_with(1));
        CHECK((first == bytes_with(2)) == (row.options.format == ImageFormat::raw));
    }
}

TEST_CASE("transfers are in whole sectors inside the disk") {
    for (const Row& row : rows) {
        CAPTURE(row.name);
        MemoryFile file = create(row.options);
        auto disk = open_shared(file, Access::read_write);
        const std::uint64_t size = disk->size_bytes(), sector = disk->logical_sector_bytes();
        Bytes one(sector);
        struct {
            std::uint64_t offset, length;
            IoStatus status;
        } const cases[] = {
            {0, 0, IoStatus::ok},
            {size, 0, IoStatus::ok},
            {size - sector, sector, IoStatus::ok},
            {size, sector, IoStatus::out_of_range},
            {size - sector, 2 * sector, IoStatus::out_of_range},
            {std::uint64_t{0} - sector, sector, IoStatus::out_of_range},
            {std::uint64_t{0} - sector, 2 * sector, IoStatus::out_of_range},
            {1, sector, IoStatus::misaligned},
            {sector / 2, sector, IoStatus::misaligned},
            {0, sector - 1, IoStatus::misaligned},
        };
        for (const auto& request : cases) {
            CAPTURE(request.offset);
            CAPTURE(request.length);
            const auto& [offset, length, status] = request;
            Bytes data(length);
            CHECK(disk->read(offset, data) == status);
            CHECK(disk->write(offset, data) == status);
            CHECK(disk->unmap(offset, length) == status);
        }
    }
}

TEST_CASE("unmapping gives the space back") {
    for (const ImageFormat format : {ImageFormat::vhd, ImageFormat::vhdx}) {
        CAPTURE(name_of(format));
        const ImageOptions options{format, ImageKind::dynamic, {64 * mib, 512, 512}, 2 << 20};
        MemoryFile file = create(options);
        const std::uint64_t empty = file.size();
        auto disk = open_shared(file, Access::read_write);
        for (int round = 0; round < 5; ++round) {
            for (std::uint64_t at = 0; at < 8 * mib; at += mib) {
                REQUIRE(disk->write(at, content(at, mib, 1)) == IoStatus::ok);
            }
            REQUIRE(disk->unmap(0, 8 * mib) == IoStatus::ok);
            REQUIRE(disk->flush() == IoStatus::ok);
        }
        REQUIRE(disk->write(32 * mib, content(0, 512, 2)) == IoStatus::ok);
        CHECK(read(*disk, 32 * mib + 512, 512) == Bytes(512));  // space that was used before reads as zeros
        disk.reset();
        CHECK(file.size() <= empty + 8 * mib + 4 * 512);
        CHECK(check_image(file).allocated_blocks == 1);
    }
}

TEST_CASE("a fixed image stays whole") {
    for (const ImageFormat format : {ImageFormat::raw, ImageFormat::vhd, ImageFormat::vhdx}) {
        CAPTURE(name_of(format));
        MemoryFile file = create({format, ImageKind::fixed, {4 * mib, 512, 512}, 1 << 20});
        const std::uint64_t size = file.size();
        auto disk = open_shared(file, Access::read_write);
        REQUIRE(disk->write(0, content(0, 4 * mib, 1)) == IoStatus::ok);
        REQUIRE(disk->unmap(0, 4 * mib) == IoStatus::ok);
        CHECK(all_of(*disk, 4 * mib) == Bytes(4 * mib));
        disk.reset();
        CHECK(file.size() == size);
        if (format == ImageFormat::vhdx) CHECK(check_image(file).allocated_blocks == 4);
    }
}

TEST_CASE("blocks of several chunks") {
    // A chunk is 4 GiB with sectors of 512 bytes: the table has an entry for a sector bitmap after each.
    constexpr std::uint64_t gib = 1024 * mib, size = 9 * gib;
    const std::uint64_t places[] = {0, 4 * gib - 512, 4 * gib, 4 * gib + 32 * mib, 8 * gib - 512, 8 * gib, size - 512};
    MemoryFile root = create({ImageFormat::vhdx, ImageKind::dynamic, {size, 512, 512}}, 1, "root");
    const auto write_and_read = [&](DiskImage& disk, std::uint64_t version) {
        for (const std::uint64_t at : places) REQUIRE(disk.write(at, content(at, 512, version)) == IoStatus::ok);
        for (const std::uint64_t at : places) CHECK(read(disk, at, 512) == content(at, 512, version));
        CHECK(read(disk, 6 * gib, 512) == Bytes(512));
        REQUIRE(disk.write(4 * gib - 512, content(0, 1024, version)) == IoStatus::ok);  // over the border
        CHECK(read(disk, 4 * gib - 512, 1024) == content(0, 1024, version));
    };
    write_and_read(*open_shared(root, Access::read_write), 1);
    CHECK(check_image(root).pristine());
    CHECK(check_image(root).allocated_blocks == 7);
    MemoryParents parents;
    parents.add("root", root);
    MemoryFile child("child");
    sim::Random random(1);
    models::create_differencing_image(child, *open_shared(root, Access::read_only), {"root", ""}, 0, random);
    auto disk = open_shared(child, Access::read_write, &parents);
    CHECK(read(*disk, 8 * gib, 512) == content(8 * gib, 512, 1));
    write_and_read(*disk, 2);
    disk.reset();
    CHECK(check_image(child).pristine());
    disk = open_shared(child, Access::read_only, &parents);
    CHECK(read(*disk, size - 512, 512) == content(size - 512, 512, 2));
    CHECK(read(*disk, 4 * gib - 512, 1024) == content(0, 1024, 2));
}

TEST_CASE("a chain of differencing images") {
    for (const ImageFormat format : {ImageFormat::vhd, ImageFormat::vhdx}) {
        for (const std::uint32_t sector : {512u, 4096u}) {
            if (format == ImageFormat::vhd && sector == 4096) continue;
            CAPTURE(name_of(format));
            CAPTURE(sector);
            const std::uint64_t size = 7 * mib + 4096;
            MemoryFile root = create({format, ImageKind::dynamic, {size, sector, sector}, 1 << 20}, 1, "root");
            Workload workload(size, sector, 11);
            MemoryParents parents;
            {
                auto disk = open_shared(root, Access::read_write);
                workload.run(*disk, 60);
            }
            parents.add("root", root);
            const Bytes of_root = workload.plain();

            MemoryFile child("child"), grandchild("grandchild");
            sim::Random random(5);
            models::create_differencing_image(child, *open_shared(root, Access::read_only), {"root", ""}, 2 << 20,
                                              random);
            {
                auto disk = open_shared(child, Access::read_write, &parents);
                CHECK(disk->kind() == ImageKind::differencing);
                REQUIRE(workload.matches(*disk));
                for (int i = 0; i < 100; ++i) {
                    workload.step(*disk);
                    if (i % 10 == 0) REQUIRE(workload.matches(*disk));
                }
                REQUIRE(workload.matches(*disk));
            }
            parents.add("child", child);
            const auto child_disk = open_shared(child, Access::read_only, &parents);
            CHECK(workload.matches(*child_disk));
            models::create_differencing_image(grandchild, *child_disk, {"child", "/there/child"}, 0, random);
            for (int round = 0; round < 2; ++round) {
                auto disk = open_shared(grandchild, Access::read_write, &parents);
                REQUIRE(workload.matches(*disk));
                workload.run(*disk, 60);
                REQUIRE(workload.matches(*disk));
                disk.reset();
                const auto check = check_image(grandchild);
                CHECK_MESSAGE(check.pristine(), check.text());
            }
            // Nobody wrote to the parents.
            CHECK(all_of(*open_shared(root, Access::read_only), size) == of_root);
        }
    }
}

TEST_CASE("a differencing image knows its parent again") {
    for (const ImageFormat format : {ImageFormat::vhd, ImageFormat::vhdx}) {
        CAPTURE(name_of(format));
        const ImageOptions options{format, ImageKind::dynamic, {4 * mib, 512, 512}, 1 << 20};
        MemoryFile root = create(options, 1, "root");
        MemoryFile child("child");
        sim::Random random(5);
        models::create_differencing_image(child, *open_shared(root, Access::read_only), {"root", ""}, 0, random);
        MemoryParents parents;
        CHECK_THROWS_WITH(open_shared(child, Access::read_only), doctest::Contains("nobody provides its parent"));
        CHECK_THROWS_WITH(open_shared(child, Access::read_only, &parents),
                          doctest::Contains("its parent is not at 'root'"));
        parents.add("root", create(options, 2, "root"));  // another disk of the same name
        CHECK_THROWS_WITH(open_shared(child, Access::read_only, &parents), doctest::Contains("was recorded"));
        parents.add("root", root);
        CHECK_NOTHROW(open_shared(child, Access::read_only, &parents));
        // A VHDX tells that its data changed; a VHD does not.
        REQUIRE(open_shared(root, Access::read_write)->write(0, content(0, 512, 1)) == IoStatus::ok);
        parents.add("root", root);
        if (format == ImageFormat::vhdx) {
            CHECK_THROWS_WITH(open_shared(child, Access::read_only, &parents),
                              doctest::Contains("its parent has changed since"));
        }
        parents.add("root", child);  // a circle
        CHECK_THROWS_AS(open_shared(child, Access::read_only, &parents), sim::UserError);
    }
}

TEST_CASE("opening for writing changes nothing before the first write") {
    for (const Row& row : rows) {
        CAPTURE(row.name);
        MemoryFile file = create(row.options);
        const Bytes before = all_of(file, file.size());
        auto disk = open_shared(file, Access::read_write);
        Bytes part(4096);
        CHECK(disk->read(0, part) == IoStatus::ok);
        CHECK(disk->flush() == IoStatus::ok);
        disk.reset();
        CHECK(all_of(file, file.size()) == before);
    }
}

}  // namespace disk_formats_test
