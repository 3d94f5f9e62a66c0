// Damaged files: each is refused with what is wrong and where, and the checker says the same.
#include <doctest/doctest.h>

#include "tests/fuzz/disk_inputs.h"
#include "tests/models/disk_bench.h"

namespace disk_damaged_test {

using namespace disk_test;
using models::Access;

namespace {

template <class T>
void poke(MemoryFile& file, std::uint64_t offset, T value) {
    REQUIRE(file.write(offset, models::bytes_of(value)) == IoStatus::ok);
}

struct Row {
    const char* name;
    void (*damage)(MemoryFile&);
    const char* message;  // nullptr: opens all the same
};

enum class Seal { no, yes };

// A VHDX with four blocks of 1 MiB, the first and the third in the file at 4 and 5 MiB.
MemoryFile good_vhdx() {
    MemoryFile file = create({ImageFormat::vhdx, ImageKind::dynamic, {4 * mib, 512, 4096}, 1 << 20});
    auto disk = open_shared(file, Access::read_write);
    REQUIRE(disk->write(0, content(0, 512, 1)) == IoStatus::ok);
    REQUIRE(disk->write(2 * mib, content(0, 512, 1)) == IoStatus::ok);
    return file;
}

// A VHD with blocks of 4 KiB and bitmaps of 512 bytes, the first at 0x800, the third at 0x1a00, its footer at 0x2c00.
MemoryFile good_vhd() {
    MemoryFile file = create({ImageFormat::vhd, ImageKind::dynamic, {16 * kib, 512, 512}, 4096});
    auto disk = open_shared(file, Access::read_write);
    REQUIRE(disk->write(0, content(0, 512, 1)) == IoStatus::ok);
    REQUIRE(disk->write(8 * kib, content(0, 512, 1)) == IoStatus::ok);
    return file;
}

void try_rows(std::span<const Row> rows, const MemoryFile& good, ImageFormat format, Seal seal) {
    for (const Row& row : rows) {
        CAPTURE(row.name);
        MemoryFile file = good;
        row.damage(file);
        if (seal == Seal::yes) format == ImageFormat::vhdx ? fuzz::seal_vhdx(file) : fuzz::seal_vhd(file);
        const auto open = [&](Access access) {
            MemoryFile copy = file;
            auto shared = std::make_unique<SharedFile>(copy);
            auto disk = models::open_disk_image(std::move(shared), {access, format});
            if (access == Access::read_write) CHECK(disk->write(0, content(0, 512, 2)) == IoStatus::ok);
        };
        const auto check = check_image(file, format);
        if (row.message == nullptr) {
            CHECK_NOTHROW(open(Access::read_only));
            CHECK_NOTHROW(open(Access::read_write));
            CHECK_FALSE(check.pristine());
        } else {
            CHECK_THROWS_WITH(open(Access::read_only), doctest::Contains(row.message));
            CHECK_THROWS_WITH(open(Access::read_write), doctest::Contains(row.message));
            CHECK_FALSE(check.sound());
        }
    }
}

constexpr std::uint64_t bat = 3 * mib, metadata = 2 * mib, items = metadata + 64 * kib;

const Row vhdx_rows[] = {
    {"signature", [](MemoryFile& f) { poke(f, 0, 'X'); }, "does not begin with 'vhdxfile'"},
    {"short", [](MemoryFile& f) { (void)f.resize(70'000); }, "the file ends within its headers; it is truncated"},
    {"no region table", [](MemoryFile& f) { (void)f.resize(200 * kib); }, "is not in whole MiB inside the file"},
    {"one header", [](MemoryFile& f) { poke(f, 64 * kib, 0); }, nullptr},
    {"the other header", [](MemoryFile& f) { poke(f, 128 * kib, 0); }, nullptr},
    {"both headers",
     [](MemoryFile& f) {
         poke(f, 64 * kib, 0);
         poke(f, 128 * kib, 0);
     },
     "neither of its headers (at 0x10000 and 0x20000) is valid"},
    {"version",
     [](MemoryFile& f) {
         for (const auto at : {64 * kib, 128 * kib}) poke(f, at + 66, std::uint16_t{2});
     },
     "of the unknown version 2"},
    {"log offset",
     [](MemoryFile& f) {
         for (const auto at : {64 * kib, 128 * kib}) poke(f, at + 72, 1 * mib + 4096);
     },
     "its log at 0x101000 with 0x100000 bytes is not in whole MiB inside the file"},
    {"log length",
     [](MemoryFile& f) {
         for (const auto at : {64 * kib, 128 * kib}) poke(f, at + 68, std::uint32_t{0xfff0'0000});
     },
     "its log at 0x100000 with 0xfff00000 bytes is not in whole MiB inside the file"},
    {"log over metadata",
     [](MemoryFile& f) {
         for (const auto at : {64 * kib, 128 * kib}) poke(f, at + 72, 2 * mib);
     },
     "the metadata region lies where another structure is (at 0x200000)"},
    {"log without entries",
     [](MemoryFile& f) {
         for (const auto at : {64 * kib, 128 * kib}) poke(f, at + 48, std::uint64_t{1});
     },
     "not closed cleanly, and its log holds no valid entries"},
    {"log version",
     [](MemoryFile& f) {
         for (const auto at : {64 * kib, 128 * kib}) {
             poke(f, at + 48, std::uint64_t{1});
             poke(f, at + 64, std::uint16_t{1});
         }
     },
     "its log is of the unknown version 1"},
    {"region signatures",
     [](MemoryFile& f) {
         for (const auto at : {192 * kib, 256 * kib}) poke(f, at, 0);
     },
     "neither of its region tables (at 0x30000 and 0x40000) is valid"},
    {"region count", [](MemoryFile& f) { poke(f, 192 * kib + 8, std::uint32_t{2048}); },
     "its region table has 2048 entries"},
    {"regions missing", [](MemoryFile& f) { poke(f, 192 * kib + 8, std::uint32_t{0}); },
     "its region table lists no block allocation table"},
    {"region twice", [](MemoryFile& f) { poke(f, 192 * kib + 16 + 32, models::vhdx::bat_region); },
     "region {2dc27766-f623-4200-9d64-115e9bfd4a08} is listed twice"},
    {"unknown region", [](MemoryFile& f) { poke(f, 192 * kib + 16, 'x'); }, "it needs the unknown region {2dc27778-"},
    {"region alignment", [](MemoryFile& f) { poke(f, 192 * kib + 16 + 16, 3 * mib + 512); },
     "region 0 at 0x300200 with 0x100000 bytes is not made of whole MiB after the headers"},
    {"region past the end", [](MemoryFile& f) { poke(f, 192 * kib + 16 + 16, 60 * mib); },
     "region 0 at 0x3c00000 with 0x100000 bytes reaches past the end of the file at 0x600000"},
    {"metadata signature", [](MemoryFile& f) { poke(f, metadata, 'x'); },
     "no metadata table is at 0x200000, where the region table says"},
    {"metadata count", [](MemoryFile& f) { poke(f, metadata + 10, std::uint16_t{2048}); },
     "its metadata table has 2048 entries"},
    {"item missing", [](MemoryFile& f) { poke(f, metadata + 10, std::uint16_t{1}); },
     "its metadata has no virtual disk size"},
    {"item unknown", [](MemoryFile& f) { poke(f, metadata + 32, 'x'); }, "it needs the unknown metadata item {"},
    {"item twice", [](MemoryFile& f) { poke(f, metadata + 64, models::vhdx::file_parameters_item); },
     "metadata item {caa16737-fa36-4d43-b3b6-33f0aa44e76b} is listed twice"},
    {"item past the end", [](MemoryFile& f) { poke(f, metadata + 32 + 16, std::uint32_t{0xffffc}); },
     "metadata item 0 at 0xffffc with 0x8 bytes is not inside the metadata region"},
    {"item too short", [](MemoryFile& f) { poke(f, metadata + 32 + 20, std::uint32_t{4}); },
     "its file parameters has 4 bytes, not 8"},
    {"block size", [](MemoryFile& f) { poke(f, items, std::uint32_t{3 << 20}); },
     "its block size of 3145728 is no power of two from 1 MiB to 256 MiB"},
    {"parent without locator", [](MemoryFile& f) { poke(f, items + 4, std::uint32_t{2}); },
     "it has a parent, but no parent locator"},
    {"disk size", [](MemoryFile& f) { poke(f, items + 8, 4 * mib + 1); },
     "its disk size of 4194305 bytes is impossible"},
    {"disk too large", [](MemoryFile& f) { poke(f, items + 8, std::uint64_t{65} << 40); }, "bytes is impossible"},
    {"table too small", [](MemoryFile& f) { poke(f, items + 8, std::uint64_t{1} << 40); },
     "its block allocation table has 1048576 bytes, too few for"},
    {"logical sector", [](MemoryFile& f) { poke(f, items + 32, std::uint32_t{1024}); },
     "its sectors have 1024 bytes, and 4096 physically; only 512 and 4096 are possible"},
    {"block past the end", [](MemoryFile& f) { poke(f, bat, 6 * mib | 6); },
     "the table entry of block 0 points to 0x600000, past the end of the file at 0x600000 (at 0x300000)"},
    {"block in the headers", [](MemoryFile& f) { poke(f, bat, std::uint64_t{6}); },
     "the table entry of block 0 points into the headers (at 0x300000)"},
    {"block in the log", [](MemoryFile& f) { poke(f, bat + 8, 1 * mib | 6); },
     "the table entry of block 1 points to 0x100000, where another structure is (at 0x300008)"},
    {"block in the table", [](MemoryFile& f) { poke(f, bat + 8, 3 * mib | 6); },
     "the table entry of block 1 points to 0x300000, where another structure is"},
    {"block twice", [](MemoryFile& f) { poke(f, bat + 8, 4 * mib | 6); },
     "the table entry of block 1 points to 0x400000, where another structure is"},
    {"unknown state", [](MemoryFile& f) { poke(f, bat + 8, std::uint64_t{4}); },
     "the table entry of block 1 has the unknown state 4"},
    {"partial without parent", [](MemoryFile& f) { poke(f, bat, 4 * mib | 7); },
     "the table entry of block 0 is partially present, but the image has no parent"},
    {"reserved bits", [](MemoryFile& f) { poke(f, bat, 4 * mib | 6 | 8); },
     "the table entry of block 0 has reserved bits set"},
};

const Row vhd_rows[] = {
    {"both footers",
     [](MemoryFile& f) {
         poke(f, 0, 'x');
         poke(f, f.size() - 512, 'x');
     },
     "its footer, in the last 512 bytes, is damaged, and so is the copy at the start"},
    {"short", [](MemoryFile& f) { (void)f.resize(100); }, "shorter than a footer; it is truncated"},
    {"version",
     [](MemoryFile& f) {
         for (const auto at : {std::uint64_t{0}, f.size() - 512}) poke(f, at + 13, 'x');
     },
     "of the unknown version 0x780000"},
    {"type", [](MemoryFile& f) { poke(f, f.size() - 512 + 63, '\5'); }, "of the unknown type 5"},
    {"size", [](MemoryFile& f) { poke(f, f.size() - 512 + 55, '\1'); }, "its disk size of 16385 bytes is impossible"},
    {"header offset", [](MemoryFile& f) { poke(f, f.size() - 512 + 18, '\1'); },
     "its dynamic header at 0x10000000200 is not in the file"},
    {"header", [](MemoryFile& f) { poke(f, 512, 'x'); }, "its dynamic header at 0x200 is damaged"},
    {"header version", [](MemoryFile& f) { poke(f, 512 + 25, 'x'); },
     "its dynamic header is of the unknown version 0x780000"},
    {"block size", [](MemoryFile& f) { poke(f, 512 + 35, '\1'); },
     "its block size of 4097 is no power of two from 4 KiB to 256 MiB"},
    {"few entries", [](MemoryFile& f) { poke(f, 512 + 31, '\3'); }, "its table has 3 entries, too few for 4 blocks"},
    {"table offset", [](MemoryFile& f) { poke(f, 512 + 23, '\1'); },
     "its table at 0x601 with 0x200 bytes is not in the file"},
    {"table past the end", [](MemoryFile& f) { poke(f, 512 + 19, '\1'); },
     "its table at 0x100000600 with 0x200 bytes is not in the file"},
    {"table over the header", [](MemoryFile& f) { poke(f, 512 + 22, '\4'); }, "its table lies over its dynamic header"},
    {"block past the end", [](MemoryFile& f) { poke(f, 1536 + 1, '\1'); },
     "block 0 at 0x2000800 reaches past the end of the file, or over its footer, at 0x2c00 (table entry at 0x600)"},
    {"block over the footer", [](MemoryFile& f) { poke(f, 1536 + 3, '\x0e'); },
     "block 0 at 0x1c00 reaches past the end of the file, or over its footer, at 0x2c00"},
    {"block over the headers", [](MemoryFile& f) { poke(f, 1536 + 3, '\1'); },
     "block 0 at 0x200 lies over the headers or the table"},
    {"block over a block", [](MemoryFile& f) { poke(f, 1536 + 3, '\5'); },
     "block 2 at 0x1a00 lies over another block (table entry at 0x608)"},
    {"block twice", [](MemoryFile& f) { poke(f, 1536 + 3, '\x0d'); }, "block 2 at 0x1a00 lies over another block"},
};

}  // namespace

TEST_CASE("a damaged VHDX is refused by name and place") {
    const MemoryFile good = good_vhdx();
    REQUIRE(check_image(good).pristine());
    REQUIRE(check_image(good).allocated_blocks == 2);
    try_rows(vhdx_rows, good, ImageFormat::vhdx, Seal::yes);
    // What a checksum covers, with the wrong checksum.
    const Row rows[] = {
        {"one header", [](MemoryFile& f) { poke(f, 64 * kib + 4000, 1); }, nullptr},
        {"both headers",
         [](MemoryFile& f) {
             for (const auto at : {64 * kib, 128 * kib}) poke(f, at + 4000, 1);
         },
         "neither of its headers"},
        {"both region tables",
         [](MemoryFile& f) {
             for (const auto at : {192 * kib, 256 * kib}) poke(f, at + 60'000, 1);
         },
         "neither of its region tables"},
    };
    try_rows(rows, good, ImageFormat::vhdx, Seal::no);
}

TEST_CASE("a damaged VHD is refused by name and place") {
    const MemoryFile good = good_vhd();
    REQUIRE(good.size() == 0x2e00);
    REQUIRE(check_image(good).pristine());
    REQUIRE(check_image(good).allocated_blocks == 2);
    try_rows(vhd_rows, good, ImageFormat::vhd, Seal::yes);
    const Row rows[] = {
        {"the footer", [](MemoryFile& f) { poke(f, f.size() - 400, 1); }, nullptr},
        {"its copy", [](MemoryFile& f) { poke(f, 100, 1); }, nullptr},
        {"the header", [](MemoryFile& f) { poke(f, 1500, 1); }, "its dynamic header at 0x200 is damaged"},
    };
    try_rows(rows, good, ImageFormat::vhd, Seal::no);
}

TEST_CASE("a fixed VHD whose end is missing is refused") {
    MemoryFile file = create({ImageFormat::vhd, ImageKind::fixed, {16 * kib, 512, 512}});
    MemoryFile footer_only("footer");
    REQUIRE(footer_only.write(512, read(file, 16 * kib, 512)) == IoStatus::ok);
    CHECK_THROWS_WITH(open_shared(footer_only, Access::read_only),
                      doctest::Contains("truncated: its disk has 16384 bytes, the file only 512"));
    // Before Virtual PC 2004 the footer was a byte shorter.
    REQUIRE(file.resize(16 * kib + 511) == IoStatus::ok);
    CHECK(open_shared(file, Access::read_only)->size_bytes() == 16 * kib);
}

TEST_CASE("a guest cannot make its raw disk another format") {
    MemoryFile file = create({ImageFormat::raw, ImageKind::fixed, {64 * kib, 512, 512}});
    const MemoryFile vhd = good_vhd();
    REQUIRE(file.write(0, read(vhd, 0, 512)) == IoStatus::ok);
    CHECK_THROWS_AS(open_shared(file, Access::read_only), sim::UserError);
    auto disk = models::open_disk_image(std::make_unique<SharedFile>(file), {Access::read_write, ImageFormat::raw});
    CHECK(read(*disk, 0, 512) == read(vhd, 0, 512));
    // A fixed VHD stays one whatever its first sector says.
    MemoryFile fixed = create({ImageFormat::vhd, ImageKind::fixed, {64 * kib, 512, 512}});
    REQUIRE(fixed.write(0, read(vhd, 0, 512)) == IoStatus::ok);
    CHECK(open_shared(fixed, Access::read_only)->kind() == ImageKind::fixed);
}

TEST_CASE("what is no disk image is refused") {
    struct {
        const char* start;
        std::uint64_t size;
        const char* message;
    } const rows[] = {
        {"", 0, "an empty file"},
        {"hello", 5, "5 bytes are no whole number of sectors; it is no disk image or truncated"},
        {"hello", 1000, "1000 bytes are no whole number of sectors"},
        {"QFI\xfb", 65536, "a qcow2 image; convert it: qemu-img convert -O vhdx FROM TO"},
        {"KDMV", 65536, "a VMDK image"},
        {"<<< Oracle VM VirtualBox Disk Image >>>", 65536, "a VDI image"},
        {"vhdxfile", 8, "the file ends within its headers; it is truncated"},
        {"conectix", 512, "its footer, in the last 512 bytes, is damaged"},
    };
    for (const auto& row : rows) {
        CAPTURE(row.start);
        const auto& [start, size, message] = row;
        MemoryFile file("no image");
        REQUIRE(file.write(0, std::as_bytes(std::span{start, std::strlen(start)})) == IoStatus::ok);
        REQUIRE(file.resize(size) == IoStatus::ok);
        CHECK_THROWS_WITH(open_shared(file, Access::read_only), doctest::Contains(message));
        CHECK_THROWS_WITH(open_shared(file, Access::read_only), doctest::Contains("disk image 'no image'"));
    }
}

TEST_CASE("an image that cannot be is not created") {
    struct {
        models::ImageOptions options;
        const char* message;
    } const rows[] = {
        {{ImageFormat::vhdx, ImageKind::dynamic, {0, 512, 512}}, "0 bytes are no whole number of sectors"},
        {{ImageFormat::vhdx, ImageKind::dynamic, {4096 + 512, 4096, 4096}},
         "4608 bytes are no whole number of sectors"},
        {{ImageFormat::vhdx, ImageKind::dynamic, {4096, 1024, 4096}}, "sectors have 512 or 4096 bytes"},
        {{ImageFormat::vhdx, ImageKind::dynamic, {4096, 4096, 512}}, "logical ones not more than physical ones"},
        {{ImageFormat::vhdx, ImageKind::dynamic, {mib, 512, 512}, 3 << 20}, "no power of two from 1 MiB to 256 MiB"},
        {{ImageFormat::vhdx, ImageKind::dynamic, {std::uint64_t{65} << 40, 512, 512}}, "a VHDX holds at most 64 TiB"},
        {{ImageFormat::vhdx, ImageKind::differencing, {mib, 512, 512}}, "a differencing image needs a parent"},
        {{ImageFormat::vhd, ImageKind::dynamic, {mib, 512, 4096}}, "a VHD has sectors of 512 bytes; take VHDX"},
        {{ImageFormat::vhd, ImageKind::dynamic, {std::uint64_t{3} << 40, 512, 512}}, "at most 2040 GiB; take VHDX"},
        {{ImageFormat::vhd, ImageKind::dynamic, {mib, 512, 512}, 1000}, "no power of two from 4 KiB to 256 MiB"},
    };
    for (const auto& [options, message] : rows) {
        CHECK_THROWS_WITH(create(options), doctest::Contains(message));
    }
    MemoryFile file("full");
    REQUIRE(file.write(0, Bytes(1)) == IoStatus::ok);
    sim::Random random(1);
    CHECK_THROWS_WITH(models::create_disk_image(file, {}, random), doctest::Contains("needs an empty file"));
    MemoryFile small("small", 1 * mib);
    CHECK_THROWS_WITH(models::create_disk_image(small, {.geometry = {4 * mib, 512, 512}}, random),
                      doctest::Contains("disk image 'small' (VHDX): cannot hold 4194304 bytes"));
}

}  // namespace disk_damaged_test
