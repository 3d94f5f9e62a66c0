// Reservations: what one initiator does to the others, command by command.
#include <doctest/doctest.h>

#include <array>
#include <string>

#include "tests/vmbus/storage_rig.h"

namespace storage_reservations_test {

using namespace vmbus;
using namespace vmbus::testing;

namespace {

constexpr const char* write_one = "2a 00 00 00 00 01 00 00 01";
constexpr const char* read_one = "28 00 00 00 00 01 00 00 01";

// PERSISTENT RESERVE OUT: action, type, key, service action key, flags.
ScsiResult out(ScsiRig& rig, std::uint32_t who, int action, int type, std::uint64_t key, std::uint64_t action_key,
               int flags = 0) {
    std::vector<std::byte> list(24);
    scsi::put_be(list, 0, 8, key);
    scsi::put_be(list, 8, 8, action_key);
    list[20] = static_cast<std::byte>(flags);
    std::array<std::byte, 2> bytes{static_cast<std::byte>(action), static_cast<std::byte>(type)};
    return rig.run("5f " + to_hex(bytes) + " 00 00 00 00 00 18", 0, list, who);
}

std::string in(ScsiRig& rig, int action, std::uint32_t who = 0) {
    const std::array<std::byte, 1> byte{static_cast<std::byte>(action)};
    return to_hex(rig.run("5e " + to_hex(byte) + " 00 00 00 00 00 04 00", 1024, {}, who).data_in);
}

// What a command ends in: "ok", "conflict", or its sense.
std::string ending(const ScsiResult& result) {
    if (result.status == scsi::Status::good) return "ok";
    if (result.status == scsi::Status::reservation_conflict) return "conflict";
    const std::array<std::byte, 3> sense{std::byte{result.sense.key}, std::byte{result.sense.code},
                                         std::byte{result.sense.qualifier}};
    return to_hex(sense);
}
std::string ready(ScsiRig& rig, std::uint32_t who) {
    return ending(rig.run("00", 0, {}, who));
}
std::string writes(ScsiRig& rig, std::uint32_t who) {
    return ending(rig.run(write_one, 0, std::vector<std::byte>(512), who));
}
std::string reads(ScsiRig& rig, std::uint32_t who) {
    return ending(rig.run(read_one, 512, {}, who));
}

constexpr int reserve = 1;
constexpr int release = 2;
constexpr int clear = 3;
constexpr int preempt = 4;
constexpr int preempt_and_abort = 5;
constexpr int register_and_ignore = 6;

}  // namespace

TEST_CASE("RESERVE keeps everybody else out") {
    ScsiRig rig;
    CHECK(ending(rig.run("16")) == "ok");
    CHECK(ending(rig.run("16")) == "ok");
    CHECK(ending(rig.run("16", 0, {}, 1)) == "conflict");
    CHECK(ready(rig, 1) == "conflict");
    CHECK(reads(rig, 1) == "conflict");
    CHECK(writes(rig, 1) == "conflict");
    CHECK(ending(rig.run("12 00 00 00 24", 36, {}, 1)) == "ok");
    CHECK(ending(rig.run("03 00 00 00 12", 18, {}, 1)) == "ok");
    CHECK(ending(rig.run("17", 0, {}, 1)) == "ok");  // a release of nothing
    CHECK(reads(rig, 1) == "conflict");
    CHECK(writes(rig, 0) == "ok");
    // Persistent ones are shut out, the holder's too.
    CHECK(ending(out(rig, 0, register_and_ignore, 0, 0, 5)) == "conflict");
    CHECK(ending(rig.run("57")) == "ok");
    CHECK(writes(rig, 1) == "ok");
    CHECK(ending(rig.run("56", 0, {}, 1)) == "ok");
    CHECK(writes(rig, 0) == "conflict");
    rig.disk.reset();
    CHECK(writes(rig, 0) == "ok");
    CHECK(ending(rig.run("16 10")) == "05 24 00");  // for a third party
}

TEST_CASE("each type of persistent reservation") {
    struct Row {
        int type;
        // Of the holder, of another registrant, of one who is not registered.
        std::array<const char*, 3> reading;
        std::array<const char*, 3> writing;
    };
    const Row rows[] = {
        {1, {"ok", "ok", "ok"}, {"ok", "conflict", "conflict"}},
        {3, {"ok", "conflict", "conflict"}, {"ok", "conflict", "conflict"}},
        {5, {"ok", "ok", "ok"}, {"ok", "ok", "conflict"}},
        {6, {"ok", "ok", "conflict"}, {"ok", "ok", "conflict"}},
        {7, {"ok", "ok", "ok"}, {"ok", "ok", "conflict"}},
        {8, {"ok", "ok", "conflict"}, {"ok", "ok", "conflict"}},
    };
    for (const Row& row : rows) {
        const int type = row.type;
        CAPTURE(type);
        ScsiRig rig;
        CHECK(ending(out(rig, 0, 0, 0, 0, 0xaaaa)) == "ok");
        CHECK(ending(out(rig, 1, 0, 0, 0, 0xbbbb)) == "ok");
        CHECK(ending(out(rig, 0, reserve, row.type, 0xaaaa, 0)) == "ok");
        CHECK(ending(out(rig, 0, reserve, row.type, 0xaaaa, 0)) == "ok");
        CHECK(ending(out(rig, 1, reserve, row.type == 1 ? 3 : 1, 0xbbbb, 0)) == "conflict");
        for (std::uint32_t who = 0; who < 3; ++who) {
            CAPTURE(who);
            CHECK(reads(rig, who) == row.reading[who]);
            CHECK(writes(rig, who) == row.writing[who]);
            CHECK(ready(rig, who) == "ok");
            CHECK(ending(rig.run("25", 8, {}, who)) == "ok");
            CHECK(ending(rig.run("1b 00 00 00 01", 0, {}, who)) == "ok");
            CHECK(ending(rig.run("1b 00 00 00 00", 0, {}, who)) == row.writing[who]);
            CHECK(ending(rig.run("1e 00 00 00 00", 0, {}, who)) == "ok");
            CHECK(ending(rig.run("1e 00 00 00 01", 0, {}, who)) == row.writing[who]);
            CHECK(ending(rig.run("35", 0, {}, who)) == row.writing[who]);
            CHECK(ending(rig.run("42 00 00 00 00 00 00 00 08", 0, hex("00*8"), who)) == row.writing[who]);
            CHECK(ending(rig.run("16", 0, {}, who)) == "conflict");
            CHECK(ending(rig.run("17", 0, {}, who)) == "conflict");
        }
        const std::array<std::byte, 1> byte{static_cast<std::byte>(row.type)};
        const std::string held_by = row.type >= 7 ? "00*8" : "00*6 aa aa";
        CHECK(in(rig, 1) == to_hex(hex("00 00 00 02 00 00 00 10 " + held_by + " 00*5 " + to_hex(byte) + " 00 00")));
    }
}

TEST_CASE("keys, and what PERSISTENT RESERVE IN says") {
    ScsiRig rig;
    CHECK(in(rig, 0) == "00 00 00 00 00 00 00 00");
    CHECK(in(rig, 1) == "00 00 00 00 00 00 00 00");
    CHECK(in(rig, 2) == "00 08 04 80 ea 01 00 00");
    CHECK(ending(rig.run("5e 04 00 00 00 00 00 04 00", 1024)) == "05 24 00");
    CHECK(ending(out(rig, 0, 0, 0, 1, 2)) == "conflict");  // it has no key 1
    CHECK(ending(out(rig, 0, 0, 0, 0, 0x1122)) == "ok");
    CHECK(ending(out(rig, 0, 0, 0, 0, 0x3344)) == "conflict");
    CHECK(ending(out(rig, 0, 0, 0, 0x1122, 0x3344)) == "ok");
    CHECK(ending(out(rig, 2, register_and_ignore, 0, 99, 0x55)) == "ok");
    CHECK(in(rig, 0, 1) == to_hex(hex("00 00 00 03 00 00 00 10 00*6 33 44 00*7 55")));
    CHECK(ending(out(rig, 2, reserve, 5, 0x55, 0)) == "ok");
    CHECK(in(rig, 3) == to_hex(hex("00 00 00 03 00 00 00 60 "
                                   "00*6 33 44 00*4 02 00 00*4 00 01 00 00 00 18 06 00 00 00 50 02 24 80 00*16 "
                                   "00*7 55 00*4 03 05 00*4 00 01 00 00 00 18 06 00 00 00 50 02 24 80 00*3 02 00*12")));
    // Truncated by its allocation length.
    CHECK(to_hex(rig.run("5e 00 00 00 00 00 00 00 04", 1024).data_in) == "00 00 00 03");

    struct Bad {
        int action, type;
        std::uint64_t key, action_key;
        int flags;
        const char* ends;
    };
    for (const Bad& bad : {Bad{7, 0, 0x3344, 0, 0, "05 24 00"}, Bad{31, 0, 0x3344, 0, 0, "05 24 00"},
                           Bad{0, 0, 0x3344, 1, 0x08, "05 26 00"}, Bad{0, 0, 0x3344, 1, 0x01, "05 26 00"},
                           Bad{reserve, 2, 0x3344, 0, 0, "05 24 00"}, Bad{reserve, 0x15, 0x3344, 0, 0, "05 24 00"},
                           Bad{reserve, 9, 0x3344, 0, 0, "05 24 00"}, Bad{reserve, 5, 1, 0, 0, "conflict"},
                           Bad{release, 5, 1, 0, 0, "conflict"}, Bad{clear, 0, 1, 0, 0, "conflict"},
                           Bad{preempt, 5, 0x3344, 0, 0, "05 26 00"}, Bad{preempt, 5, 0x3344, 0x77, 0, "conflict"}}) {
        CAPTURE(bad.action);
        CHECK(ending(out(rig, 0, bad.action, bad.type, bad.key, bad.action_key, bad.flags)) == bad.ends);
    }
    CHECK(ending(rig.run("5f 00 00 00 00 00 00 00 17", 0, hex("00*23"))) == "05 1a 00");
    CHECK(ending(rig.run("5f 00 00 00 00 00 00 00 18", 0, hex("00*16"))) == "05 1a 00");
    // ALL_TG_PT is taken: there is one port.
    CHECK(ending(out(rig, 0, 0, 0, 0x3344, 0x3344, 0x04)) == "ok");

    ScsiDiskConfig without = named_disk();
    without.persistent_reservations = false;
    ScsiRig plain(small_disk(), without);
    CHECK(ending(plain.run("5e 00 00 00 00 00 00 04 00", 1024)) == "05 20 00");
    CHECK(ending(out(plain, 0, 0, 0, 0, 1)) == "05 20 00");
}

TEST_CASE("the ends of reservations") {
    SUBCASE("release, of one's own only and of its type only") {
        ScsiRig rig;
        out(rig, 0, 0, 0, 0, 1);
        out(rig, 1, 0, 0, 0, 2);
        out(rig, 0, reserve, 5, 1, 0);
        CHECK(ending(out(rig, 1, release, 5, 2, 0)) == "ok");
        CHECK(writes(rig, 2) == "conflict");
        CHECK(ending(out(rig, 0, release, 6, 1, 0)) == "05 26 04");
        CHECK(ending(out(rig, 0, release, 5, 1, 0)) == "ok");
        // The other registrant hears that a registrants' reservation ended; who is not registered does not.
        CHECK(ready(rig, 1) == "06 2a 04");
        CHECK(ready(rig, 1) == "ok");
        CHECK(writes(rig, 2) == "ok");
    }
    SUBCASE("the holder unregisters") {
        ScsiRig rig;
        out(rig, 0, 0, 0, 0, 1);
        out(rig, 1, 0, 0, 0, 2);
        out(rig, 0, reserve, 1, 1, 0);
        CHECK(ending(out(rig, 0, 0, 0, 1, 0)) == "ok");
        CHECK(ready(rig, 1) == "ok");
        CHECK(writes(rig, 2) == "ok");
        CHECK(in(rig, 0) == to_hex(hex("00 00 00 03 00 00 00 08 00*7 02")));
    }
    SUBCASE("all registrants hold it until the last") {
        ScsiRig rig;
        out(rig, 0, 0, 0, 0, 1);
        out(rig, 1, 0, 0, 0, 2);
        out(rig, 0, reserve, 7, 1, 0);
        CHECK(ending(out(rig, 0, 0, 0, 1, 0)) == "ok");
        CHECK(writes(rig, 0) == "conflict");
        CHECK(writes(rig, 1) == "ok");
        CHECK(ending(out(rig, 1, 0, 0, 2, 0)) == "ok");
        CHECK(writes(rig, 0) == "ok");
    }
    SUBCASE("clear") {
        ScsiRig rig;
        out(rig, 0, 0, 0, 0, 1);
        out(rig, 1, 0, 0, 0, 2);
        out(rig, 0, reserve, 3, 1, 0);
        CHECK(ending(out(rig, 1, clear, 0, 2, 0)) == "ok");
        CHECK(ready(rig, 0) == "06 2a 03");
        CHECK(ready(rig, 1) == "ok");
        CHECK(writes(rig, 2) == "ok");
        CHECK(in(rig, 0) == "00 00 00 03 00 00 00 00");
    }
    SUBCASE("preempt takes the reservation over") {
        ScsiRig rig;
        out(rig, 0, 0, 0, 0, 1);
        out(rig, 1, 0, 0, 0, 2);
        out(rig, 2, 0, 0, 0, 3);
        out(rig, 0, reserve, 6, 1, 0);
        CHECK(ending(out(rig, 1, preempt, 5, 2, 1)) == "ok");
        CHECK(ready(rig, 0) == "06 2a 05");
        CHECK(ready(rig, 2) == "06 2a 04");  // its type changed
        CHECK(writes(rig, 0) == "conflict");
        CHECK(reads(rig, 0) == "ok");
        CHECK(writes(rig, 2) == "ok");
        CHECK(in(rig, 1) == to_hex(hex("00 00 00 04 00 00 00 10 00*7 02 00*5 05 00 00")));
        // Of a registration that holds nothing: only that ends.
        CHECK(ending(out(rig, 1, preempt, 5, 2, 3)) == "ok");
        CHECK(ready(rig, 2) == "06 2a 05");
        CHECK(writes(rig, 2) == "conflict");
        CHECK(writes(rig, 1) == "ok");
    }
    SUBCASE("preempt with key 0 where all registrants hold it") {
        ScsiRig rig;
        out(rig, 0, 0, 0, 0, 1);
        out(rig, 1, 0, 0, 0, 2);
        out(rig, 0, reserve, 8, 1, 0);
        CHECK(ending(out(rig, 1, preempt, 1, 2, 0)) == "ok");
        CHECK(ready(rig, 0) == "06 2a 05");
        CHECK(writes(rig, 0) == "conflict");
        CHECK(reads(rig, 0) == "ok");
        CHECK(writes(rig, 1) == "ok");
    }
    SUBCASE("one's own key") {
        ScsiRig rig;
        out(rig, 0, 0, 0, 0, 1);
        out(rig, 0, reserve, 1, 1, 0);
        CHECK(ending(out(rig, 0, preempt, 3, 1, 1)) == "ok");
        CHECK(reads(rig, 1) == "conflict");
        CHECK(writes(rig, 0) == "ok");
    }
}

TEST_CASE("preempt and abort: what the other has under way ends first") {
    ScsiRig rig;
    out(rig, 0, 0, 0, 0, 1);
    out(rig, 1, 0, 0, 0, 2);
    out(rig, 0, reserve, 1, 1, 0);
    rig.start(50, write_one, 0, std::vector<std::byte>(512), 0);
    rig.start(51, read_one, 512, {}, 0);
    rig.start(52, read_one, 512, {}, 1);
    const ScsiResult result = out(rig, 1, preempt_and_abort, 1, 2, 1);
    CHECK(ending(result) == "ok");
    // It was answered only after those.
    REQUIRE(rig.recorders[0].done.size() == 2);
    CHECK(ending(rig.recorders[0].done.at(50)) == "0b 00 00");
    CHECK(ending(rig.recorders[0].done.at(51)) == "0b 00 00");
    while (rig.disk.outstanding() != 0) REQUIRE(rig.simulation.agenda().run_next());
    CHECK(ending(rig.recorders[1].done.at(52)) == "ok");
    CHECK(writes(rig, 0) == "06 2a 05");
    CHECK(writes(rig, 0) == "conflict");
}

TEST_CASE("no more registrations than the disk keeps") {
    ScsiReservations reservations;
    std::array<std::byte, ScsiReservations::parameter_bytes> list{};
    list[15] = std::byte{9};
    for (std::uint32_t n = 0; n < ScsiReservations::max_registrations; ++n) {
        CHECK(reservations.out(n, 6, 0, list).status == scsi::Status::good);
    }
    CHECK(reservations.out(1000, 6, 0, list).sense == scsi::sense::insufficient_registrations);
    CHECK(reservations.out(3, 6, 0, list).status == scsi::Status::good);
    ScsiReservations copy;
    sim::restore_from_bytes(copy, sim::save_to_bytes(reservations));
    CHECK(copy == reservations);
}

}  // namespace storage_reservations_test
