// Logs of VHDX files as any writer may leave them ([MS-VHDX] 2.3), built entry by entry: which sequence is replayed,
// from where, and which logs are refused.
#include <doctest/doctest.h>

#include "models/disk/crc32c.h"
#include "models/disk/vhdx_log.h"
#include "tests/fuzz/disk_inputs.h"
#include "tests/models/disk_bench.h"

namespace disk_log_test {

using namespace disk_test;
using models::Access;
using models::Guid;
namespace vhdx = models::vhdx;

namespace {

constexpr std::uint64_t log_offset = mib, log_bytes = mib, sector = 4 * kib;
constexpr Guid log_guid = vmbus::guid("01020304-0506-0708-090a-0b0c0d0e0f10");
// Free space behind everything else: a place to see what a replay writes.
constexpr std::uint64_t target = 4 * mib;

struct Change {
    std::uint64_t offset;
    char fill;                // of a data sector
    std::uint64_t zeros = 0;  // instead of a data sector
};

struct Entry {
    std::uint64_t at;  // in the log
    std::uint64_t sequence;
    std::uint64_t tail;
    std::vector<Change> changes;
    std::uint64_t flushed = 5 * mib, last = 5 * mib;
    Guid guid = log_guid;
    bool torn = false;
};

std::uint64_t bytes_of_entry(const Entry& entry) {
    std::uint64_t sectors = 1 + (entry.changes.size() > 126 ? models::divide_up(entry.changes.size() - 126, 128) : 0);
    for (const Change& change : entry.changes) sectors += change.zeros == 0 ? 1 : 0;
    return sectors * sector;
}

void put_entry(MemoryFile& file, const Entry& entry) {
    Bytes bytes(bytes_of_entry(entry));
    vhdx::LogEntryHeader head;
    head.signature = vhdx::log_entry_signature;
    head.entry_bytes = static_cast<std::uint32_t>(bytes.size());
    head.tail = static_cast<std::uint32_t>(entry.tail);
    head.sequence_number = entry.sequence;
    head.descriptor_count = static_cast<std::uint32_t>(entry.changes.size());
    head.log_guid = entry.guid;
    head.flushed_file_offset = entry.flushed;
    head.last_file_offset = entry.last;
    models::put_structure(bytes, 0, head);
    std::uint64_t data = bytes.size();
    for (const Change& change : entry.changes) data -= change.zeros == 0 ? sector : 0;
    for (std::size_t i = 0; i < entry.changes.size(); ++i) {
        const Change& change = entry.changes[i];
        vhdx::LogDescriptor descriptor;
        descriptor.file_offset = change.offset;
        descriptor.sequence_number = entry.sequence;
        descriptor.signature = change.zeros != 0 ? vhdx::zero_signature : vhdx::data_signature;
        descriptor.leading_bytes = change.zeros;
        if (change.zeros == 0) {
            std::memset(&descriptor.leading_bytes, change.fill, 8);
            std::memset(&descriptor.trailing_bytes, change.fill, 4);
            vhdx::LogDataSector content;
            content.signature = vhdx::data_sector_signature;
            content.sequence_high = static_cast<std::uint32_t>(entry.sequence >> 32);
            content.sequence_low = static_cast<std::uint32_t>(entry.sequence);
            content.data.fill(static_cast<std::uint8_t>(change.fill));
            models::put_structure(bytes, data, content);
            data += sector;
        }
        models::put_structure(bytes, sizeof head + i * sizeof descriptor, descriptor);
    }
    models::put_structure(bytes, 4, models::crc32c(bytes) + (entry.torn ? 1 : 0));
    for (std::uint64_t done = 0; done < bytes.size(); done += sector) {  // round the end of the log
        const auto part = std::span{bytes}.subspan(done, sector);
        REQUIRE(file.write(log_offset + (entry.at + done) % log_bytes, part) == IoStatus::ok);
    }
}

// A dynamic image of 5 MiB without blocks, its last MiB unused and full of 'o', with this log.
MemoryFile image_with(const std::vector<Entry>& entries) {
    MemoryFile file = create({ImageFormat::vhdx, ImageKind::dynamic, {4 * mib, 512, 512}, 1 << 20});
    REQUIRE(file.size() == 4 * mib);
    REQUIRE(file.write(target, Bytes(mib, std::byte{'o'})) == IoStatus::ok);
    for (const std::uint64_t at : vhdx::header_offsets) {
        REQUIRE(file.write(at + 48, models::bytes_of(log_guid)) == IoStatus::ok);
        fuzz::seal(file, at, vhdx::header_bytes);
    }
    for (const Entry& entry : entries) put_entry(file, entry);
    return file;
}

struct Row {
    const char* name;
    std::vector<Entry> entries;
    std::string expected;  // the first byte of each sector at `target`
};

const std::uint64_t last = log_bytes - sector;  // the last sector of the log

std::vector<Change> many_changes() {
    std::vector<Change> changes;
    for (std::uint64_t i = 0; i < 130; ++i)
        changes.push_back({target + (i % 4) * sector, static_cast<char>('a' + i % 26)});
    return changes;
}

std::vector<Row> good_rows() {
    const auto at = [](std::uint64_t i) { return target + i * sector; };
    return {
        {"one entry", {{0, 1, 0, {{at(0), 'a'}}}}, "aooo"},
        {"no changes", {{0, 1, 0, {}}}, "oooo"},
        {"anywhere", {{40 * kib, 7, 40 * kib, {{at(1), 'a'}}}}, "oaoo"},
        {"a sequence, in order",
         {{0, 1, 0, {{at(0), 'a'}}},
          {2 * sector, 2, 0, {{at(0), 'b'}, {at(1), 'b'}}},
          {5 * sector, 3, 0, {{at(1), 'c'}}}},
         "bcoo"},
        {"only from the tail", {{0, 1, 0, {{at(0), 'a'}}}, {2 * sector, 2, 2 * sector, {{at(1), 'b'}}}}, "oboo"},
        {"no further than a gap",
         {{0, 1, 0, {{at(0), 'a'}}}, {2 * sector, 2, 0, {{at(1), 'b'}}}, {4 * sector, 4, 0, {{at(2), 'c'}}}},
         "aboo"},
        {"the newest of two", {{0, 9, 0, {{at(0), 'a'}}}, {20 * sector, 5, 20 * sector, {{at(1), 'b'}}}}, "aooo"},
        {"the newest of two, the other way round",
         {{0, 5, 0, {{at(0), 'a'}}}, {20 * sector, 9, 20 * sector, {{at(1), 'b'}}}},
         "oboo"},
        {"the one before a torn entry",
         {{0, 1, 0, {{at(0), 'a'}}}, {2 * sector, 2, 0, {{at(1), 'b'}}, 5 * mib, 5 * mib, log_guid, true}},
         "aooo"},
        {"without the entries of another log",
         {{0, 1, 0, {{at(0), 'a'}}}, {2 * sector, 2, 0, {{at(1), 'b'}}, 5 * mib, 5 * mib, Guid{{1}}}},
         "aooo"},
        {"an incomplete one is nothing",
         {{0, 9, 2 * sector, {{at(0), 'a'}}}, {20 * sector, 5, 20 * sector, {{at(1), 'b'}}}},
         "oboo"},
        {"round the end, between entries",
         {{last - sector, 1, last - sector, {{at(0), 'a'}}}, {0, 2, last - sector, {{at(1), 'b'}}}},
         "aboo"},
        {"round the end, in an entry",
         {{last, 1, last, {{at(0), 'a'}, {at(1), 'a'}}}, {2 * sector, 2, last, {{at(2), 'b'}}}},
         "aabo"},
        {"zeros", {{0, 1, 0, {{at(0), 'a'}, {at(1), 0, 2 * sector}, {at(2), 'b'}}}}, std::string("a\0bo", 4)},
        {"sequence numbers of 64 bits", {{0, 0x1'0000'0007, 0, {{at(0), 'a'}}}}, "aooo"},
        {"more descriptors than fit into a sector", {{0, 1, 0, many_changes()}}, "yzwx"},
    };
}

}  // namespace

TEST_CASE("the active sequence is replayed, in the file or in memory") {
    for (const Row& row : good_rows()) {
        CAPTURE(row.name);
        MemoryFile file = image_with(row.entries);
        const auto check = check_image(file);
        CHECK_MESSAGE(check.sound(), check.text());
        CHECK(check.recoverable == 1);
        const Bytes before = all_of(file, file.size());
        open_shared(file, Access::read_only).reset();
        CHECK(all_of(file, file.size()) == before);

        open_shared(file, Access::read_write).reset();
        CHECK(check_image(file).pristine());
        for (std::uint64_t i = 0; i < row.expected.size(); ++i) {
            CAPTURE(i);
            CHECK(read(file, target + i * sector, sector) == Bytes(sector, static_cast<std::byte>(row.expected[i])));
        }
    }
}

TEST_CASE("what is replayed counts, in the file or in memory") {
    // A block's table entry in the log; the block itself is at 4 MiB. The file is as long as the log says.
    Entry entry{0, 1, 0, {{3 * mib, 0}}};
    MemoryFile file = image_with({entry});
    Bytes sector_of_table(sector);
    models::put_structure(sector_of_table, 0, 4 * mib | 6);
    // Leading bytes live in the descriptor.
    REQUIRE(file.write(log_offset + 64 + 8, std::span{sector_of_table}.first(8)) == IoStatus::ok);
    fuzz::seal(file, log_offset, 2 * sector);
    for (const Access access : {Access::read_only, Access::read_write}) {
        MemoryFile copy = file;
        const auto disk = open_shared(copy, access);
        CHECK(read(*disk, 0, 512) == Bytes(512, std::byte{'o'}));
        CHECK(read(*disk, mib, 512) == Bytes(512));
    }
}

TEST_CASE("the file becomes as long as the log says") {
    MemoryFile file = image_with({{0, 1, 0, {{8 * mib, 'a'}}, 5 * mib, 7 * mib}});
    open_shared(file, Access::read_write).reset();
    CHECK(file.size() == 8 * mib + sector);
    file = image_with({{0, 1, 0, {{target, 'a'}}, 5 * mib, 7 * mib}});
    open_shared(file, Access::read_write).reset();
    CHECK(file.size() == 7 * mib);
    file = image_with({{0, 1, 0, {{6 * mib, 0, 3 * mib}}, 5 * mib, 5 * mib}});
    open_shared(file, Access::read_write).reset();
    CHECK(file.size() == 9 * mib);
}

TEST_CASE("a log that nobody can have meant is refused") {
    struct Refused {
        Entry entry;
        const char* message;
    };
    const std::uint64_t far = std::uint64_t{1} << 60;
    const Refused rows[] = {
        {{0, 0, 0, {{target, 'a'}}}, "its log holds no valid entries"},        // sequence numbers begin with 1
        {{0, 1, sector, {{target, 'a'}}}, "its log holds no valid entries"},   // a tail elsewhere
        {{0, 1, 100, {{target, 'a'}}}, "its log holds no valid entries"},      // and nowhere
        {{0, 1, 0, {{target + 512, 'a'}}}, "its log holds no valid entries"},  // no whole sector
        {{0, 1, 0, {{target, 0, 512}}}, "its log holds no valid entries"},     // no whole sectors
        {{0, 1, 0, {{target, 'a'}}, 6 * mib}, "truncated: it has 0x500000 bytes, and had 0x600000"},
        {{0, 1, 0, {{0, 'a'}}}, "its log writes to 0x0, where the headers are"},
        {{0, 1, 0, {{128 * kib, 'a'}}}, "its log writes to 0x20000, where the headers are"},
        {{0, 1, 0, {{512 * kib, 0, 5 * mib}}}, "its log writes to 0x80000, inside the log"},
        {{0, 1, 0, {{2 * mib - sector, 'a'}}}, "its log writes to 0x1ff000, inside the log"},
        {{0, 1, 0, {{far, 'a'}}}, "its log writes to 0x1000000000000000, beyond 128 TiB"},
        {{0, 1, 0, {{target, 0, far}}}, "its log writes to 0x400000, beyond 128 TiB"},
        {{0, 1, 0, {{target, 0, ~std::uint64_t{4095}}}}, "its log writes to 0x400000, beyond 128 TiB"},
        {{0, 1, 0, {{target, 'a'}}, 5 * mib, far}, "its log asks for more than 128 TiB"},
    };
    for (const Refused& row : rows) {
        CAPTURE(row.message);
        const auto& [entry, message] = row;
        MemoryFile file = image_with({entry});
        const Bytes before = all_of(file, file.size());
        CHECK_THROWS_WITH(open_shared(file, Access::read_only), doctest::Contains(message));
        CHECK_THROWS_WITH(open_shared(file, Access::read_write), doctest::Contains(message));
        CHECK_FALSE(check_image(file).sound());
        CHECK(all_of(file, file.size()) == before);
    }
}

TEST_CASE("entries inside each other do not take for ever") {
    // Each sector claims to begin an entry as long as the rest of the log.
    MemoryFile file = image_with({});
    for (std::uint64_t at = 0; at < log_bytes; at += sector) {
        put_entry(file, {at, 1, at, {}});
        const auto length = static_cast<std::uint32_t>(log_bytes);
        REQUIRE(file.write(log_offset + at + 8, models::bytes_of(length)) == IoStatus::ok);
    }
    CHECK_THROWS_WITH(open_shared(file, Access::read_only),
                      doctest::Contains("its log consists of entries that overlap"));
}

TEST_CASE("a changed region table goes through the log too") {
    MemoryFile file = image_with({{0, 1, 0, {{192 * kib, 'x'}}}});
    CHECK_NOTHROW(open_shared(file, Access::read_write));  // the second table still stands
    CHECK(read(file, 192 * kib, 4) == Bytes(4, std::byte{'x'}));
}

TEST_CASE("our own entries say how long the file is, in whole MiB") {
    MemoryFile file = create({ImageFormat::vhdx, ImageKind::dynamic, {4 * mib, 512, 512}, 1 << 20});
    REQUIRE(open_shared(file, Access::read_write)->write(0, content(0, 512, 1)) == IoStatus::ok);
    REQUIRE(file.resize(file.size() + 512) == IoStatus::ok);  // left behind by a power cut
    auto disk = open_shared(file, Access::read_write);
    REQUIRE(disk->unmap(0, mib) == IoStatus::ok);
    REQUIRE(disk->flush() == IoStatus::ok);
    const auto head = models::structure_at<vhdx::LogEntryHeader>(read(file, log_offset, 64));
    CHECK(head.signature == vhdx::log_entry_signature);
    CHECK(head.flushed_file_offset == file.size());
    CHECK(file.size() == 6 * mib);
    CHECK(head.last_file_offset == file.size());
    CHECK(head.tail == 0);
    CHECK(head.descriptor_count == 1);
    CHECK(head.log_guid == vhdx::read_headers(file).get().log_guid);
}

TEST_CASE("bits that are left over in a sector bitmap mean nothing") {
    MemoryFile root = create({ImageFormat::vhdx, ImageKind::dynamic, {4 * mib, 512, 512}, 1 << 20}, 1, "root");
    REQUIRE(open_shared(root, Access::read_write)->write(mib, content(mib, 4096, 1)) == IoStatus::ok);
    MemoryParents parents;
    parents.add("root", root);
    MemoryFile child("child");
    sim::Random random(1);
    models::create_differencing_image(child, *open_shared(root, Access::read_only), {"root", ""}, 1 << 20, random);
    // The first block makes the bitmap, at 4 MiB. Another writer forgot bits of the second block there.
    REQUIRE(open_shared(child, Access::read_write, &parents)->write(0, content(0, 512, 2)) == IoStatus::ok);
    REQUIRE(read(child, 4 * mib, 1) == Bytes(1, std::byte{1}));
    REQUIRE(child.write(4 * mib + 256, Bytes(256, std::byte{0xff})) == IoStatus::ok);
    auto disk = open_shared(child, Access::read_write, &parents);
    REQUIRE(disk->write(mib + 512, content(0, 512, 3)) == IoStatus::ok);
    CHECK(read(*disk, mib, 512) == content(mib, 512, 1));
    CHECK(read(*disk, mib + 512, 512) == content(0, 512, 3));
    CHECK(read(*disk, mib + 1024, 512) == content(mib + 1024, 512, 1));
}

}  // namespace disk_log_test
