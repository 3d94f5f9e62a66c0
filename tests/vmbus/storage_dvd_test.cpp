// Each command of the DVD drive, with a disc, without one, and with another one.
#include <doctest/doctest.h>

#include <string>

#include "tests/vmbus/storage_rig.h"
#include "vmbus/storage/scsi_dvd.h"

namespace storage_dvd_test {

using namespace vmbus;
using namespace vmbus::testing;

namespace {

struct DvdRig {
    DvdRig() {
        for (std::size_t n = 0; n < store.bytes().size(); ++n) store.bytes()[n] = static_cast<std::byte>(n >> 11);
        dvd.attach(recorder);
    }
    ScsiResult run(std::string_view cdb, std::uint32_t buffer = 0) {
        const ScsiCommand command{.tag = ++tag, .cdb = cdb_from(cdb), .buffer_bytes = buffer};
        if (auto result = dvd.execute(0, command)) return *result;
        while (!recorder.done.contains(tag)) VG_CHECK(simulation.agenda().run_next());
        return recorder.done.extract(tag).mapped();
    }

    sim::Simulation simulation{1};
    MemoryStore store{{.size_bytes = 400 * 2048 + 1024, .read_only = true}};
    TimedDisk timed{simulation.scope("iso"), store, {}};
    ScsiDvd dvd{simulation.scope("dvd"), timed, {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}};
    ScsiRecorder recorder;
    std::uint64_t tag = 0;
};

// The data, or the sense.
std::string answer(const ScsiResult& result) {
    if (result.status == scsi::Status::good) return to_hex(result.data_in);
    const std::array<std::byte, 3> sense{std::byte{result.sense.key}, std::byte{result.sense.code},
                                         std::byte{result.sense.qualifier}};
    return "sense " + to_hex(sense);
}

struct Row {
    const char* cdb;
    std::uint32_t buffer;
    const char* answer;
};

}  // namespace

TEST_CASE("a drive with a disc") {
    DvdRig rig;
    for (const Row& row : {
             Row{"00", 0, ""},
             Row{"12 00 00 00 24", 36,
                 "05 80 05 02 1f 00 00 02 4d 73 66 74 20 20 20 20 56 69 72 74 75 61 6c 20 44 56 44 2d 52 4f 4d 20 31 "
                 "2e 30 20"},
             Row{"12 01 00 00 ff", 255, "05 00 00 02 00 83"},
             Row{"12 01 83 00 ff", 255,
                 "05 83 00 1c 01 01 00 18 4d 73 66 74 20 20 20 20 01 02 03 04 05 06 07 08 09 0a 0b 0c 0d 0e 0f 10"},
             Row{"52 01 00 00 00 01 00 00 08", 8, "00 22 01 01 00 04 01 00"},
             Row{"52 00 00 00 01 8f 00 00 24", 36,
                 "00 22 01 01 00 04 01 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 01 90 00 00 00 00 00 "
                 "00 "
                 "00 00"},
             Row{"52 00 00 00 01 90 00 00 24", 36, "sense 05 24 00"},
             Row{"52 01 00 00 00 02 00 00 24", 36, "sense 05 24 00"},
             Row{"52 03 00 00 00 01 00 00 24", 36, "sense 05 24 00"},
             Row{"12 01 80 00 ff", 255, "sense 05 24 00"},
             Row{"25", 8, "00 00 01 8f 00 00 08 00"},
             Row{"43 00 00 00 00 00 00 00 14", 20, "00 12 01 01 00 14 01 00 00 00 00 00 00 14 aa 00 00 00 01 90"},
             Row{"43 02 00 00 00 00 aa 00 14", 20, "00 0a 01 01 00 14 aa 00 00 00 07 19"},
             Row{"43 00 01 00 00 00 00 00 14", 20, "00 0a 01 01 00 14 01 00 00 00 00 00"},
             Row{"43 00 02 00 00 00 00 00 14", 20, "sense 05 24 00"},
             Row{"46 02 00 00 00 00 00 00 10", 16, "00 00 00 0c 00 00 00 10 00 00 03 04 00 10 01 00"},
             Row{"46 02 00 10 00 00 00 00 20", 32, "00 00 00 10 00 00 00 10 00 10 01 08 00 00 08 00 00 10 00 00"},
             Row{"46 00 00 1f 00 00 00 00 20", 32, "00 00 00 0c 00 00 00 10 00 1f 05 04 00 00 00 00"},
             Row{"4a 01 00 00 10 00 00 00 08", 8, "00 06 04 12 00 02 00 00"},
             Row{"4a 01 00 00 02 00 00 00 08", 8, "00 06 01 12 00 00 00 00"},
             Row{"4a 01 00 00 40 00 00 00 08", 8, "00 02 80 12"},
             Row{"4a 00 00 00 10 00 00 00 08", 8, "sense 05 24 00"},
             Row{"51 00 00 00 00 00 00 00 08", 8, "00 20 0e 01 01 01 01 20"},
             Row{"5a 00 2a 00 00 00 00 00 10", 16, "00 1a 00 00 00 00 00 00 2a 12 08 00 70 00 29 00"},
             Row{"1a 00 2a 00 08", 8, "17 00 00 00 2a 12 08 00"},
             Row{"1a 00 08 00 08", 8, "sense 05 24 00"},
             Row{"2a 00 00 00 00 00 00 00 01", 0, "sense 05 20 00"},
             Row{"28 00 00 00 01 90 00 00 01", 2048, "sense 05 21 00"},
             Row{"35", 0, ""},
         }) {
        const std::string cdb{row.cdb};
        CAPTURE(cdb);
        CHECK(answer(rig.run(row.cdb, row.buffer)) == row.answer);
    }
    CHECK(rig.run("28 00 00 00 00 05 00 00 02", 4096).data_in == hex("05*2048 06*2048"));
    CHECK(rig.run("a8 00 00 00 01 8f 00 00 00 01", 2048).data_in == hex("8f*2048"));
    CHECK(rig.run("88 00 00*8 00 00 00 02", 2048).overrun);
    rig.store.break_sector(2048);
    CHECK(answer(rig.run("28 00 00 00 00 01 00 00 01", 2048)) == "sense 03 11 00");
    CHECK(to_hex(rig.run("03 00 00 00 0e", 14).data_in) == "70 00 03 00 00 00 00 0a 00 00 00 00 11 00");
}

TEST_CASE("discs that come and go") {
    DvdRig rig;
    CHECK(answer(rig.run("1e 00 00 00 01")).empty());
    CHECK(answer(rig.run("1b 00 00 00 02")) == "sense 05 53 02");
    CHECK(answer(rig.run("1e 00 00 00 00")).empty());
    CHECK(answer(rig.run("1b 00 00 00 02")).empty());
    CHECK_FALSE(rig.dvd.has_disc());
    CHECK(answer(rig.run("4a 01 00 00 10 00 00 00 08", 8)) == "00 06 04 12 03 01 00 00");
    CHECK(answer(rig.run("4a 01 00 00 10 00 00 00 08", 8)) == "00 06 04 12 00 01 00 00");
    for (const char* cdb : {"00", "25", "28 00 00 00 00 00 00 00 01", "43", "51"}) {
        CHECK(answer(rig.run(cdb, 2048)) == "sense 02 3a 02");
    }
    CHECK(answer(rig.run("46 02 00 00 00 00 00 00 10", 16)) == "00 00 00 0c 00 00 00 00 00 00 03 04 00 10 00 00");
    CHECK(answer(rig.run("46 01 00 04 00 00 00 00 10", 16)) == "00 00 00 04 00 00 00 00");
    CHECK(answer(rig.run("1b 00 00 00 03")).empty());
    CHECK(answer(rig.run("00")) == "sense 02 3a 01");
    CHECK(rig.dvd.insert());
    CHECK_FALSE(rig.dvd.insert());
    CHECK(answer(rig.run("4a 01 00 00 10 00 00 00 08", 8)) == "00 06 04 12 02 02 00 00");
    CHECK(answer(rig.run("00")) == "sense 06 28 00");
    CHECK(answer(rig.run("00")).empty());
    CHECK(rig.dvd.eject());
    CHECK_FALSE(rig.dvd.eject());
}

}  // namespace storage_dvd_test
