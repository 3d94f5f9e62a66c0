// Each SCSI command of the disk: bytes in, bytes and sense out.
#include <doctest/doctest.h>

#include <array>
#include <set>

#include "tests/vmbus/storage_rig.h"

namespace storage_scsi_test {

using namespace vmbus;
using namespace vmbus::testing;

namespace {

constexpr scsi::Sense good{};

struct Row {
    const char* what;
    const char* cdb;
    std::uint32_t buffer;
    const char* out;
    scsi::Sense sense;  // all zero: good
    const char* data;   // null: not looked at
    std::uint32_t moved;
    bool overrun = false;
};

const char* const inquiry_text =
    "00 00 05 02 5b 00 00 02 4d 73 66 74 20 20 20 20 56 69 72 74 75 61 6c 20 44 69 73 6b 20 20 20 20 31 2e 30 20";
const char* const vpd_83 =
    "00 83 00 30 01 01 00 18 4d 73 66 74 20 20 20 20 a0 a1 a2 a3 a4 a5 a6 a7 a8 a9 aa ab ac ad ae af "
    "01 03 00 10 60 02 24 80 a0 a1 a2 a3 a4 a5 aa ab ac ad ae af";

const Row information[] = {
    {"ready", "00", 0, "", good, "", 0},
    {"NACA", "00 00 00 00 00 04", 0, "", scsi::sense::invalid_field_in_cdb, "", 0},
    {"inquiry as Linux begins", "12 00 00 00 24", 36, "", good, inquiry_text, 36},
    {"inquiry in full", "12 00 00 00 ff", 255, "", good, nullptr, 96},
    {"inquiry into too small a buffer", "12 00 00 00 24", 5, "", good, "00 00 05 02 5b", 5, true},
    {"inquiry of nothing", "12", 0, "", good, "", 0},
    {"inquiry: page without EVPD", "12 00 80 00 24", 36, "", scsi::sense::invalid_field_in_cdb, "", 0},
    {"inquiry: CMDDT", "12 02 00 00 24", 36, "", scsi::sense::invalid_field_in_cdb, "", 0},
    {"pages", "12 01 00 00 ff", 255, "", good, "00 00 00 06 00 80 83 b0 b1 b2", 10},
    {"pages, the first four bytes", "12 01 00 00 04", 4, "", good, "00 00 00 06", 4},
    {"serial number", "12 01 80 00 ff", 255, "", good, "00 80 00 07 56 47 2d 30 30 30 31", 11},
    {"identification", "12 01 83 00 ff", 255, "", good, vpd_83, 52},
    {"block limits", "12 01 b0 00 ff", 255, "", good,
     "00 b0 00 3c 00*16 ff ff ff ff 00 00 01 00 00 00 00 08 80 00 00 00 00 00 00 00 00 00 40 00 00*20", 64},
    {"characteristics", "12 01 b1 00 ff", 255, "", good, "00 b1 00 3c 00 01 00*58", 64},
    {"provisioning", "12 01 b2 00 ff", 255, "", good, "00 b2 00 04 00 e4 02 00", 8},
    {"ATA information", "12 01 89 00 ff", 255, "", scsi::sense::invalid_field_in_cdb, "", 0},
    {"capacity(10)", "25", 8, "", good, "00 00 07 ff 00 00 02 00", 8},
    {"capacity(10) of an address", "25 00 00 00 00 01", 8, "", scsi::sense::invalid_field_in_cdb, "", 0},
    {"capacity(16)", "9e 10 00*8 00 00 00 20", 32, "", good, "00 00 00 00 00 00 07 ff 00 00 02 00 00 03 c0 00*17", 32},
    {"capacity(16), 12 bytes", "9e 10 00*8 00 00 00 0c", 12, "", good, "00 00 00 00 00 00 07 ff 00 00 02 00", 12},
    {"LBA status", "9e 12 00*8 00 00 00 20", 32, "", scsi::sense::invalid_field_in_cdb, "", 0},
    {"sense of the last command", "03 00 00 00 12", 18, "", good, "70 00 05 00 00 00 00 0a 00 00 00 00 24 00*5", 18},
    {"sense, none", "03 00 00 00 12", 18, "", good, "70 00 00 00 00 00 00 0a 00*10", 18},
    {"sense, descriptors", "03 01 00 00 12", 18, "", scsi::sense::invalid_field_in_cdb, "", 0},
    {"report luns", "a0 00 00 00 00 00 00 00 10 00", 16, "", good, "00 00 00 08 00 00 00 00 00*8", 16},
    {"report luns, no room for one", "a0 00 00 00 00 00 00 00 00 08", 8, "", scsi::sense::invalid_field_in_cdb, "", 0},
    {"mode sense(6), all, as Linux begins", "1a 00 3f 00 04", 4, "", good, "23 00 10 00", 4},
    {"mode sense(6), caching", "1a 00 08 00 18", 24, "", good, "17 00 10 00 08 12 04 00*17", 24},
    {"mode sense(6), what can be changed", "1a 00 48 00 18", 24, "", good, "17 00 10 00 08 12 04 00*17", 24},
    {"mode sense(6), control", "1a 08 0a 00 10", 16, "", good, "0f 00 10 00 0a 0a 00 10 00*8", 16},
    {"mode sense(6), control's changeable", "1a 08 4a 00 10", 16, "", good, "0f 00 10 00 0a 0a 00 00 08 00*7", 16},
    {"mode sense(10), all", "5a 00 3f 00 00 00 00 00 28", 40, "", good,
     "00 26 00 10 00 00 00 00 08 12 04 00*17 0a 0a 00 10 00*8", 40},
    {"mode sense, saved", "1a 00 c8 00 18", 24, "", scsi::sense::saving_not_supported, "", 0},
    {"mode sense, no such page", "1a 00 1c 00 18", 24, "", scsi::sense::invalid_field_in_cdb, "", 0},
    {"mode sense, subpage", "1a 00 08 01 18", 24, "", scsi::sense::invalid_field_in_cdb, "", 0},
    {"log sense", "4d 00 40 00 00 00 00 00 ff", 255, "", scsi::sense::invalid_opcode, "", 0},
    {"report supported opcodes", "a3 0c 00*8", 255, "", scsi::sense::invalid_opcode, "", 0},
    {"ATA pass-through", "85 00*8", 0, "", scsi::sense::invalid_opcode, "", 0},
    {"read TOC of a disk", "43 00*8", 12, "", scsi::sense::invalid_opcode, "", 0},
    {"format", "04", 0, "", scsi::sense::invalid_opcode, "", 0},
    {"start", "1b 00 00 00 01", 0, "", good, "", 0},
    {"stop", "1b 00 00 00 00", 0, "", good, "", 0},
    {"eject", "1b 00 00 00 02", 0, "", scsi::sense::invalid_field_in_cdb, "", 0},
    {"self-test", "1d 04", 0, "", good, "", 0},
    {"diagnostic page", "1d 10 00 00 08", 0, "", scsi::sense::invalid_field_in_cdb, "", 0},
    {"prevent removal", "1e 00 00 00 01", 0, "", good, "", 0},
};

const Row block_commands[] = {
    {"read(6), 21 bits of address", "08 e0 07 ff 01", 512, "", good, nullptr, 512},
    {"read(6) of 256 past the end", "08 00 07 01 00", 512, "", scsi::sense::lba_out_of_range, "", 0},
    {"read(6) of 256", "08 00 07 00 00", 131072, "", good, nullptr, 131072},
    {"read(10)", "28 00 00 00 07 fe 00 00 02", 1024, "", good, nullptr, 1024},
    {"read(10) past the end", "28 00 00 00 07 fe 00 00 03", 2048, "", scsi::sense::lba_out_of_range, "", 0},
    {"read(10) at the end of nothing", "28 00 00 00 08 00 00 00 00", 0, "", good, "", 0},
    {"read(10) of nothing past the end", "28 00 00 00 08 01 00 00 00", 0, "", scsi::sense::lba_out_of_range, "", 0},
    {"read(10), FUA and DPO", "28 18 00 00 00 00 00 00 01", 512, "", good, nullptr, 512},
    {"read(10), protection", "28 20 00 00 00 00 00 00 01", 512, "", scsi::sense::invalid_field_in_cdb, "", 0},
    {"read(10), relative", "28 01 00 00 00 00 00 00 01", 512, "", scsi::sense::invalid_field_in_cdb, "", 0},
    {"read(10) of more than the buffer", "28 00 00 00 00 00 00 00 04", 1100, "", good, nullptr, 1024, true},
    {"read(10) of less than the buffer", "28 00 00 00 00 00 00 00 01", 4096, "", good, nullptr, 512},
    {"read(10) into no buffer", "28 00 00 00 00 00 00 00 04", 0, "", good, "", 0, true},
    {"read(12)", "a8 00 00 00 00 00 00 00 00 01", 512, "", good, nullptr, 512},
    {"read(16)", "88 00 00 00 00 00 00 00 07 ff 00 00 00 01", 512, "", good, nullptr, 512},
    {"read(16), the sum wraps", "88 00 ff ff ff ff ff ff ff ff 00 00 00 02", 1024, "", scsi::sense::lba_out_of_range,
     "", 0},
    {"read(16), enormous", "88 00 00 00 00 00 00 00 00 00 ff ff ff ff", 512, "", scsi::sense::lba_out_of_range, "", 0},
    {"write(6)", "0a 00 00 00 01", 0, "11*512", good, "", 512},
    {"write(10)", "2a 00 00 00 00 01 00 00 02", 0, "22*1024", good, "", 1024},
    {"write(10), FUA", "2a 08 00 00 00 01 00 00 01", 0, "23*512", good, "", 512},
    {"write(10) without all data", "2a 00 00 00 00 01 00 00 02", 0, "22*1000", scsi::sense::invalid_field_in_cdb, "",
     0},
    {"write(10) past the end", "2a 00 00 00 08 00 00 00 01", 0, "22*512", scsi::sense::lba_out_of_range, "", 0},
    {"write(10) of nothing", "2a 00 00 00 00 01 00 00 00", 0, "", good, "", 0},
    {"write(12)", "aa 00 00 00 00 03 00 00 00 01", 0, "24*512", good, "", 512},
    {"write(16)", "8a 00 00 00 00 00 00 00 00 04 00 00 00 01", 0, "25*512", good, "", 512},
    {"write and verify(10)", "2e 02 00 00 00 05 00 00 01", 0, "26*512", good, "", 512},
    {"verify(10), no bytes", "2f 00 00 00 00 00 00 08 00", 0, "", good, "", 0},
    {"verify(10), bytes alike", "2f 02 00 00 00 05 00 00 01", 0, "26*512", good, "", 512},
    {"verify(10), bytes that differ", "2f 02 00 00 00 05 00 00 01", 0, "27*512", scsi::sense::miscompare, "", 0},
    {"verify(10), once for all", "2f 06 00 00 00 05 00 00 01", 0, "27*512", scsi::sense::invalid_field_in_cdb, "", 0},
    {"verify(16) past the end", "8f 00 00 00 00 00 00 00 08 00 00 00 00 01", 0, "", scsi::sense::lba_out_of_range, "",
     0},
    {"synchronize cache(10)", "35", 0, "", good, "", 0},
    {"synchronize cache(16)", "91", 0, "", good, "", 0},
    {"synchronize past the end", "35 00 00 00 07 ff 00 00 02", 0, "", scsi::sense::lba_out_of_range, "", 0},
    {"write same(10)", "41 00 00 00 00 06 00 00 02", 0, "33*512", good, "", 512},
    {"write same(16), no data", "93 01 00 00 00 00 00 00 00 08 00 00 00 01", 0, "", good, "", 0},
    {"write same(16), unmap", "93 08 00 00 00 00 00 00 00 09 00 00 00 01", 0, "00*512", good, "", 512},
    {"write same(16), unmap of other than zeros", "93 08 00 00 00 00 00 00 00 0a 00 00 00 01", 0, "44*512", good, "",
     512},
    {"write same(10), no data is the long form's", "41 01 00 00 00 06 00 00 02", 0, "33*512",
     scsi::sense::invalid_field_in_cdb, "", 0},
    {"write same, anchored", "93 18 00 00 00 00 00 00 00 08 00 00 00 01", 0, "00*512",
     scsi::sense::invalid_field_in_cdb, "", 0},
    {"write same past the end", "93 01 00 00 00 00 00 00 08 00 00 00 00 01", 0, "", scsi::sense::lba_out_of_range, "",
     0},
    {"unmap, nothing", "42", 0, "", good, "", 0},
    {"unmap, a header alone", "42 00 00 00 00 00 00 00 08", 0, "00 06 00 00 00*4", good, "", 8},
    {"unmap, less than a header", "42 00 00 00 00 00 00 00 07", 0, "00*7", scsi::sense::parameter_list_length, "", 0},
    {"unmap", "42 00 00 00 00 00 00 00 18", 0, "00 16 00 10 00*4 00 00 00 00 00 00 00 10 00 00 00 02 00*4", good, "",
     24},
    {"unmap past the end: nothing is done", "42 00 00 00 00 00 00 00 28", 0,
     "00 26 00 20 00*4 00 00 00 00 00 00 00 20 00 00 00 02 00*4 00 00 00 00 00 00 07 ff 00 00 00 02 00*4",
     scsi::sense::lba_out_of_range, "", 0},
    {"unmap, anchored", "42 01 00 00 00 00 00 00 08", 0, "00*8", scsi::sense::invalid_field_in_cdb, "", 0},
};

void check_row(ScsiRig& rig, const Row& row) {
    const std::string what{row.what};
    CAPTURE(what);
    const ScsiResult result = rig.run(row.cdb, row.buffer, hex(row.out));
    CHECK(result.status == (row.sense == good ? scsi::Status::good : scsi::Status::check_condition));
    CHECK(result.sense == row.sense);
    CHECK(result.moved_bytes == row.moved);
    CHECK(result.overrun == row.overrun);
    if (row.data != nullptr) CHECK(to_hex(result.data_in) == to_hex(hex(row.data)));
}

}  // namespace

TEST_CASE("what the disk says of itself") {
    ScsiRig rig;
    for (const Row& row : information) check_row(rig, row);
}

TEST_CASE("commands that move blocks") {
    ScsiRig rig;
    for (const Row& row : block_commands) check_row(rig, row);
    // And what they left on the medium: sector, its first byte.
    constexpr std::array<std::pair<std::size_t, int>, 13> left{{{0, 0x11},
                                                                {1, 0x23},
                                                                {2, 0x22},
                                                                {3, 0x24},
                                                                {4, 0x25},
                                                                {5, 0x26},
                                                                {6, 0x33},
                                                                {7, 0x33},
                                                                {8, 0x00},
                                                                {9, 0x00},
                                                                {10, 0x44},
                                                                {16, 0x00},
                                                                {32, 32 * 7 & 0xff}}};
    for (const auto& [place, byte] : left) {
        const std::size_t sector = place;
        CAPTURE(sector);
        CHECK(static_cast<int>(rig.store.bytes()[sector * 512]) == byte);
    }
    CHECK(static_cast<int>(rig.store.bytes()[17 * 512 + 511]) == 0);
    CHECK(static_cast<int>(rig.store.bytes()[18 * 512 + 1]) == (18 * 7 + 1));
    CHECK(rig.disk.outstanding() == 0);
}

TEST_CASE("a read brings the blocks that it names") {
    ScsiRig rig;
    const ScsiResult result = rig.run("28 00 00 00 01 02 00 00 03", 3 * 512);
    const auto expected = rig.store.bytes().subspan(0x102 * 512, 3 * 512);
    CHECK(std::equal(result.data_in.begin(), result.data_in.end(), expected.begin(), expected.end()));
}

TEST_CASE("a disk that cannot be written") {
    auto geometry = small_disk();
    geometry.read_only = true;
    ScsiRig rig(geometry);
    CHECK(rig.run("0a 00 00 00 01", 0, hex("00*512")).sense == scsi::sense::write_protected);
    CHECK(rig.run("93 01 00*11 01").sense == scsi::sense::write_protected);
    CHECK(rig.run("42 00 00 00 00 00 00 00 08", 0, hex("00*8")).sense == scsi::sense::write_protected);
    CHECK(rig.run("28 00 00 00 00 00 00 00 01", 512).status == scsi::Status::good);
    CHECK(to_hex(rig.run("1a 00 3f 00 04", 4).data_in) == "23 00 90 00");
}

TEST_CASE("a disk that cannot unmap") {
    auto geometry = small_disk();
    geometry.unmap = false;
    ScsiRig rig(geometry, {});
    CHECK(to_hex(rig.run("12 01 00 00 ff", 255).data_in) == "00 00 00 04 00 83 b0 b1");
    CHECK(rig.run("12 01 80 00 ff", 255).sense == scsi::sense::invalid_field_in_cdb);
    CHECK(rig.run("12 01 b2 00 ff", 255).sense == scsi::sense::invalid_field_in_cdb);
    CHECK(rig.run("42").sense == scsi::sense::invalid_opcode);
    CHECK(rig.run("93 09 00*11 01").sense == scsi::sense::invalid_field_in_cdb);
    CHECK(to_hex(rig.run("9e 10 00*8 00 00 00 10", 16).data_in) == to_hex(hex("00*6 07 ff 00 00 02 00 00 03 00 00")));
}

TEST_CASE("a disk of more than 2 TiB and one of 4096-byte sectors") {
    class Huge final : public BlockDevice {
    public:
        Geometry g{.size_bytes = 3ull << 40};
        Geometry geometry() const override { return g; }
        void attach(BlockClient*) override {}
        void submit(BlockRequest) override {}
    };
    sim::Simulation simulation;
    Huge blocks;
    ScsiDisk disk(simulation.scope("huge"), blocks, {});
    ScsiRecorder recorder;
    disk.attach(recorder);
    const auto ask = [&](ScsiDisk& d, std::string_view cdb) {
        return to_hex(d.execute(0, {.cdb = cdb_from(cdb), .buffer_bytes = 16})->data_in);
    };
    CHECK(ask(disk, "25") == "ff ff ff ff 00 00 02 00");
    CHECK(ask(disk, "9e 10 00*8 00 00 00 0c") == "00 00 00 01 7f ff ff ff 00 00 02 00");
    Huge wide;
    wide.g.logical_sector_bytes = 4096;
    ScsiDisk second(simulation.scope("wide"), wide, {});
    second.attach(recorder);
    CHECK(ask(second, "9e 10 00*8 00 00 00 10") == "00 00 00 00 2f ff ff ff 00 00 10 00 00 00 00 00");
    CHECK(second.data_out_bytes(cdb_from("8a 00 00*8 ff ff ff ff")) == 0xffff'ffffull * 4096);
}

TEST_CASE("a bad medium") {
    ScsiRig rig;
    rig.store.break_sector(100 * 512);
    CHECK(rig.run("28 00 00 00 00 63 00 00 01", 512).status == scsi::Status::good);
    const ScsiResult read = rig.run("28 00 00 00 00 63 00 00 02", 1024);
    CHECK(read.sense == scsi::sense::unrecovered_read_error);
    CHECK(read.moved_bytes == 0);
    // REQUEST SENSE says the same once more.
    CHECK(to_hex(rig.run("03 00 00 00 12", 18).data_in) == to_hex(hex("70 00 03 00*4 0a 00*4 11 00*5")));
    CHECK(to_hex(rig.run("03 00 00 00 12", 18).data_in) == to_hex(hex("70 00*6 0a 00*10")));
    CHECK(rig.run("2a 00 00 00 00 64 00 00 01", 0, hex("00*512")).sense == scsi::sense::write_error);
}

TEST_CASE("mode select") {
    ScsiRig rig;
    const auto caching = [](const char* byte) { return hex(std::string{"00*4 08 12 "} + byte + " 00*17"); };
    CHECK(rig.run("15 10 00 00 18", 0, caching("00")).moved_bytes == 24);
    CHECK(to_hex(rig.run("1a 00 08 00 07", 7).data_in) == "17 00 10 00 08 12 00");
    CHECK(to_hex(rig.run("1a 00 88 00 07", 7).data_in) == "17 00 10 00 08 12 04");  // the default stays
    // Without a cache a write is on the medium when it is done.
    const sim::Time before = rig.simulation.agenda().now();
    CHECK(rig.run("0a 00 00 00 01", 0, hex("00*512")).status == scsi::Status::good);
    CHECK(rig.simulation.agenda().now() - before == sim::Time::us(520) + sim::Time::ns(256));
    // Others hear of it, once.
    CHECK(rig.run("00", 0, {}, 1).sense == scsi::sense::mode_parameters_changed);
    CHECK(rig.run("00", 0, {}, 1).status == scsi::Status::good);
    CHECK(rig.run("00").status == scsi::Status::good);
    // REQUEST SENSE takes it, too.
    CHECK(to_hex(rig.run("03 00 00 00 0e", 14, {}, 2).data_in) == "70 00 06 00 00 00 00 0a 00 00 00 00 2a 01");
    CHECK(rig.run("00", 0, {}, 2).status == scsi::Status::good);

    // Software write protection, with the long form.
    CHECK(rig.run("55 10 00 00 00 00 00 00 14", 0, hex("00*8 0a 0a 00 10 08 00*7")).status == scsi::Status::good);
    CHECK(rig.run("0a 00 00 00 01", 0, hex("00*512")).sense == scsi::sense::write_protected);
    CHECK(to_hex(rig.run("1a 00 3f 00 04", 4).data_in) == "23 00 90 00");
    CHECK(rig.run("55 10 00 00 00 00 00 00 14", 0, hex("00*8 0a 0a 00 10 00 00*7")).status == scsi::Status::good);
    CHECK(rig.run("0a 00 00 00 01", 0, hex("00*512")).status == scsi::Status::good);

    struct Bad {
        const char* cdb;
        const char* list;
        scsi::Sense sense;
    };
    for (const Bad& bad : {
             Bad{"15 11 00 00 18", "00*24", scsi::sense::invalid_field_in_cdb},
             Bad{"15 10 00 00 03", "00*3", scsi::sense::parameter_list_length},
             Bad{"15 10 00 00 18", "00*4 08 12 05 00*17", scsi::sense::invalid_field_in_parameters},
             Bad{"15 10 00 00 18", "00*4 08 11 04 00*17", scsi::sense::invalid_field_in_parameters},
             Bad{"15 10 00 00 18", "00*4 1c 12 04 00*17", scsi::sense::invalid_field_in_parameters},
             Bad{"15 10 00 00 17", "00*4 08 12 04 00*16", scsi::sense::parameter_list_length},
             Bad{"15 10 00 00 05", "00*4 08", scsi::sense::parameter_list_length},
             Bad{"15 10 00 00 04", "00*3 08", scsi::sense::parameter_list_length},
             Bad{"15 10 00 00 0c", "00*3 07 00*8", scsi::sense::invalid_field_in_parameters},
             Bad{"15 10 00 00 0c", "00*3 08 00*6 10 00", scsi::sense::invalid_field_in_parameters},
         }) {
        CAPTURE(bad.list);
        CHECK(rig.run(bad.cdb, 0, hex(bad.list)).sense == bad.sense);
    }
    CHECK(rig.run("15 10 00 00 0c", 0, hex("00*3 08 00*6 02 00")).status == scsi::Status::good);
    CHECK(to_hex(rig.run("1a 00 08 00 07", 7).data_in) == "17 00 10 00 08 12 00");
}

TEST_CASE("a disk that grows tells each initiator") {
    ScsiRig rig;
    rig.store.resize(2 << 20);
    CHECK(rig.run("12 00 00 00 24", 36).status == scsi::Status::good);
    CHECK(rig.run("25", 8).sense == scsi::sense::capacity_changed);
    CHECK(to_hex(rig.run("25", 8).data_in) == "00 00 0f ff 00 00 02 00");
    CHECK(rig.run("00", 0, {}, 1).sense == scsi::sense::capacity_changed);
}

TEST_CASE("WRITE SAME is cut into pieces, and stays within its limit") {
    auto geometry = small_disk();
    geometry.size_bytes = 10 << 20;
    ScsiRig rig(geometry);
    CHECK(rig.run("93 00 00*7 01 00 00 40 00", 0, hex("5a*512")).moved_bytes == 512);
    CHECK(std::count(rig.store.bytes().begin(), rig.store.bytes().end(), std::byte{0x5a}) >= 8 << 20);
    CHECK(static_cast<int>(rig.store.bytes()[0]) == 0);
    CHECK(rig.store.bytes()[512] == std::byte{0x5a});
    CHECK(rig.store.bytes()[(8 << 20) + 511] == std::byte{0x5a});
    CHECK(rig.store.bytes()[(8 << 20) + 513] != std::byte{0x5a});
    CHECK(rig.run("93 00 00*7 01 00 00 40 01", 0, hex("5a*512")).sense == scsi::sense::invalid_field_in_cdb);
    CHECK(rig.run("93 00 00*8 00 00 00 00", 0, hex("5a*512")).sense == scsi::sense::invalid_field_in_cdb);
    // Zero blocks reach to the end: the last 4096 sectors.
    CHECK(rig.run("93 00 00 00 00 00 00 00 40 00 00 00 00 00", 0, hex("a5*512")).status == scsi::Status::good);
    CHECK(rig.store.bytes()[8 << 20] == std::byte{0xa5});
    CHECK(rig.store.bytes()[(10 << 20) - 1] == std::byte{0xa5});
}

TEST_CASE("the command table") {
    std::set<std::uint8_t> seen;
    for (const auto& row : scsi::commands) {
        CAPTURE(row.name);
        const auto opcode = static_cast<std::uint8_t>(row.opcode);
        CHECK(seen.insert(opcode).second);
        // SPC-4 4.2.5.1: the length follows from the group code.
        constexpr std::array<int, 8> lengths{6, 10, 10, 0, 16, 12, 0, 0};
        CHECK(row.cdb_length == lengths[opcode >> 5]);
        CHECK(scsi::find_command(opcode) == &row);
    }
    CHECK(scsi::find_command(0xff) == nullptr);
}

}  // namespace storage_scsi_test
