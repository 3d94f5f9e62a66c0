// Images as qemu-img sees them: it opens ours and finds the same content; we open its own; both write in turn.
#include <doctest/doctest.h>

#include "tests/models/disk_bench.h"

namespace disk_qemu_test {

using namespace disk_test;
using models::Access;

namespace {

struct Row {
    const char* name;
    ImageFormat format;
    ImageKind kind;
    const char* options;  // of qemu-img create
    std::uint64_t size;
    std::uint32_t block_bytes;
};

// Without force_size qemu rounds the size of a VHD to a geometry.
const Row rows[] = {
    {"VHD fixed", ImageFormat::vhd, ImageKind::fixed, "subformat=fixed,force_size=on", 5 * mib + 512, 0},
    {"VHD dynamic", ImageFormat::vhd, ImageKind::dynamic, "subformat=dynamic,force_size=on", 9 * mib + 512, 0},
    {"VHD dynamic by geometry", ImageFormat::vhd, ImageKind::dynamic, "subformat=dynamic", 4 * 17 * 512 * 300, 0},
    {"VHDX fixed", ImageFormat::vhdx, ImageKind::fixed, "subformat=fixed,block_size=1M", 5 * mib + 512, 1 << 20},
    {"VHDX dynamic", ImageFormat::vhdx, ImageKind::dynamic, "subformat=dynamic", 20 * mib, 8 << 20},
    {"VHDX dynamic, 1 MiB", ImageFormat::vhdx, ImageKind::dynamic, "block_size=1M", 9 * mib + 512, 1 << 20},
    {"VHDX dynamic, 256 MiB", ImageFormat::vhdx, ImageKind::dynamic, "block_size=256M", 20 * mib, 256 << 20},
    {"VHDX dynamic, states", ImageFormat::vhdx, ImageKind::dynamic, "block_state_zero=off,log_size=2M", 9 * mib,
     1 << 20},
};

const char* name_in_qemu(ImageFormat format) {
    return format == ImageFormat::vhd ? "vpc" : "vhdx";
}

// Random writes of qemu, through its own driver, to the image and to a plain disk.
void write_with_qemu(const Row& row, const std::string& path, Bytes& plain, sim::Random& random) {
    std::string commands;
    for (int i = 0; i < 12; ++i) {
        const std::uint64_t sectors = plain.size() / 512;
        const std::uint64_t count = random.one_in(4) ? random.between(1, sectors / 3) : random.between(1, 200);
        const std::uint64_t first = random.below(sectors - count + 1);
        const auto pattern = static_cast<unsigned>(random.between(1, 255));
        commands += fmt::format(" -c 'write -P {} {} {}'", pattern, first * 512, count * 512);
        std::memset(plain.data() + first * 512, static_cast<int>(pattern), count * 512);
    }
    std::string output;
    const bool good =
        run(fmt::format("qemu-io -t unsafe -f {}{} {}", name_in_qemu(row.format), commands, path), output);
    REQUIRE_MESSAGE(good, output);
}

void compare_with_qemu(const Row& row, const Folder& folder, const Bytes& plain) {
    const char* format = name_in_qemu(row.format);
    std::string output;
    REQUIRE(run(fmt::format("qemu-img info -f {} {}", format, folder / "image"), output));
    CHECK_MESSAGE(output.find(fmt::format("({} bytes)", plain.size())) != std::string::npos, output);
    if (row.format == ImageFormat::vhdx) qemu_img(fmt::format("check -f vhdx {}", folder / "image"));
    qemu_img(fmt::format("convert -f {} -O raw {} {}", format, folder / "image", folder / "raw"));
    CHECK(load(folder / "raw") == plain);
}

void write_ours(const std::string& path, Bytes& plain, std::uint64_t seed) {
    auto disk = models::open_disk_image(path, Access::read_write);
    REQUIRE(disk->size_bytes() == plain.size());
    Workload workload(plain.size(), 512, seed);
    workload.plain() = plain;
    REQUIRE(workload.matches(*disk));
    workload.run(*disk, 40);
    REQUIRE(workload.matches(*disk));
    REQUIRE(disk->close() == IoStatus::ok);
    plain = workload.plain();
    disk.reset();
    const auto check = check_image(*models::open_host_file(path, Access::read_only));
    CHECK_MESSAGE(check.pristine(), check.text());
}

void in_turn(const Row& row, const Folder& folder) {
    Bytes plain(row.size);
    sim::Random random(9);
    for (std::uint64_t round = 0; round < 2; ++round) {
        compare_with_qemu(row, folder, plain);
        write_ours(folder / "image", plain, round);
        compare_with_qemu(row, folder, plain);
        write_with_qemu(row, folder / "image", plain, random);
    }
    compare_with_qemu(row, folder, plain);
    write_ours(folder / "image", plain, 3);
}

}  // namespace

TEST_CASE("qemu and we write in turn to an image that we made") {
    if (!have_qemu_img()) return;
    for (const Row& row : rows) {
        CAPTURE(row.name);
        const Folder folder;
        store(create({row.format, row.kind, {row.size, 512, 512}, row.block_bytes}), folder / "image");
        in_turn(row, folder);
    }
}

TEST_CASE("qemu and we write in turn to an image that qemu made") {
    if (!have_qemu_img()) return;
    for (const Row& row : rows) {
        CAPTURE(row.name);
        const Folder folder;
        qemu_img(fmt::format("create -q -f {} -o {} {} {}", name_in_qemu(row.format), row.options, folder / "image",
                             row.size));
        auto disk = models::open_disk_image(folder / "image", Access::read_only);
        CHECK(disk->format() == row.format);
        CHECK(disk->kind() == row.kind);
        disk.reset();
        in_turn(row, folder);
    }
}

TEST_CASE("qemu finds the blocks of several chunks") {
    if (!have_qemu_img()) return;
    const Folder folder;
    constexpr std::uint64_t gib = 1024 * mib;
    const std::uint64_t places[] = {0, 4 * gib - 512, 4 * gib, 8 * gib - 512, 8 * gib, 9 * gib - 512};
    store(create({ImageFormat::vhdx, ImageKind::dynamic, {9 * gib, 512, 512}, 1 << 20}), folder / "image");
    std::string commands, output;
    auto disk = models::open_disk_image(folder / "image", Access::read_write);
    for (std::size_t i = 0; i < std::size(places); ++i) {
        REQUIRE(disk->write(places[i], Bytes(512, static_cast<std::byte>(i + 1))) == IoStatus::ok);
        commands +=
            fmt::format(" -c 'read -P {} {} 512' -c 'write -P {} {} 512'", i + 1, places[i], i + 101, places[i]);
    }
    REQUIRE(disk->close() == IoStatus::ok);
    disk.reset();
    REQUIRE_MESSAGE(run(fmt::format("qemu-io -t unsafe -f vhdx{} {}", commands, folder / "image"), output), output);
    CHECK_MESSAGE(output.find("Pattern verification failed") == std::string::npos, output);
    disk = models::open_disk_image(folder / "image", Access::read_only);
    for (std::size_t i = 0; i < std::size(places); ++i) {
        CHECK(read(*disk, places[i], 512) == Bytes(512, static_cast<std::byte>(i + 101)));
    }
}

TEST_CASE("an image that qemu converted to") {
    if (!have_qemu_img()) return;
    for (const Row& row : rows) {
        CAPTURE(row.name);
        const Folder folder;
        Bytes plain(row.size);
        for (std::uint64_t at = 0; at + mib <= row.size; at += 3 * mib) {
            const Bytes part = content(at, mib, 1);
            std::memcpy(plain.data() + at, part.data(), part.size());
        }
        MemoryFile raw("raw");
        REQUIRE(raw.write(0, plain) == IoStatus::ok);
        store(raw, folder / "raw");
        qemu_img(fmt::format("convert -f raw -O {} -o {} {} {}", name_in_qemu(row.format), row.options, folder / "raw",
                             folder / "image"));
        auto disk = models::open_disk_image(folder / "image", Access::read_only);
        CHECK(all_of(*disk, disk->size_bytes()) == plain);
    }
}

}  // namespace disk_qemu_test
