// Packets of the controller byte by byte, well formed and not.
#include <doctest/doctest.h>

#include <optional>
#include <string>

#include "sim/processor.h"
#include "tests/vmbus/storage_fakes.h"
#include "tests/vmbus/storage_rig.h"
#include "vmbus/storage/storage_provider.h"

namespace storage_packets_test {

using namespace vmbus;
using namespace vmbus::testing;
using namespace sim::literals;

namespace {

struct PacketRig {
    explicit PacketRig(StorageConfig config = {.instance = {{1}}, .max_sub_channels = 2, .max_transfer_bytes = 65536})
        : provider(scsi.simulation.scope("storvsp"), bus, config,
                   [this](std::uint16_t) -> sim::Processor& { return processor; }) {
        provider.add_disk({}, scsi.disk);
        bus.primary().open();
    }

    // The answer's bytes, or "fault"; nothing if none came.
    std::string put(std::string_view bytes, std::vector<GpaRange> ranges = {}, std::size_t channel = 0,
                    bool wants_completion = true, std::optional<PacketType> type = {}) {
        FakeStorageChannel& to = *bus.channels.at(channel);
        Packet packet;
        packet.type = type.value_or(ranges.empty() ? PacketType::inband : PacketType::gpa_direct);
        packet.transaction = 0xfffffffffffffffd;
        packet.wants_completion = wants_completion;
        packet.ranges = std::move(ranges);
        packet.payload = hex(bytes);
        to.put(std::move(packet));
        scsi.simulation.agenda().run_until(scsi.simulation.agenda().now() + 2_ms);
        if (to.faulty) return "fault";
        if (to.answers.empty()) return {};
        const auto answer = to.answers.front();
        to.answers.pop_front();
        CHECK(to.answers.empty());
        CHECK(answer.transaction == 0xfffffffffffffffd);
        return to_hex(answer.bytes);
    }
    void initialize(std::string_view version = "01 05") {
        put("07 00*63");
        put("09 00*11 " + std::string{version} + " 00*50");
        put("0a 00*63");
        put("08 00*63");
        CHECK(provider.ready());
    }

    ScsiRig scsi;
    FakeStorageBus bus;
    sim::SerialProcessor processor{scsi.simulation.scope("cpu"), 1_us};
    StorageProvider provider;
};

// A header and a SCSI request: status, address, lengths, direction, transfer, CDB, flags.
std::string srb(std::string_view cdb, std::string_view transfer, int direction, std::string_view cdb_length = "06",
                std::string_view lun = "00", std::string_view flags = "08 00 00 00") {
    auto cdb_bytes = hex(cdb);
    cdb_bytes.resize(20);
    const std::array<std::byte, 1> in{static_cast<std::byte>(direction)};
    return "03 00 00 00 01 00*7 34 00 00 00 00 00 00 " + std::string{lun} + " " + std::string{cdb_length} + " 14 " +
           to_hex(in) + " 00 " + std::string{transfer} + " " + to_hex(cdb_bytes) + " 00 00 ff 20 " +
           std::string{flags} + " 3c 00 00 00 00*4";
}
std::string full(std::string_view text) {
    return to_hex(hex(text));
}
GpaRange pages(std::uint32_t length, std::uint32_t offset, std::vector<std::uint64_t> numbers) {
    return {length, offset, std::move(numbers)};
}

}  // namespace

TEST_CASE("initialization, byte by byte") {
    PacketRig rig;
    CHECK(rig.put("07 00 00 00 01 00*59") == full("01 00*63"));
    CHECK(rig.put("09 00 00 00 01 00*7 03 06 00*50") == full("01 00*7 59 00 00 c0 03 06 00*50"));
    CHECK(rig.put("09 00 00 00 01 00*7 02 06 00*50") == full("01 00*11 02 06 00*50"));
    CHECK(rig.put("0a 00 00 00 01 00*59") == full("01 00*15 02 00 00 00 01 00 00 00 00 00 01 00 00*36"));
    CHECK(rig.put("08 00 00 00 01 00*59") == full("01 00*63"));
    CHECK(rig.put("0d 00 00 00 01 00*7 02 00*51") == full("01 00*63"));
    CHECK(rig.bus.channels.size() == 3);
    CHECK(rig.bus.channels[2]->offer().sub_channel_index == 2);
    // Again: they are there already.
    CHECK(rig.put("0d 00 00 00 01 00*7 01 00*51") == full("01 00*63"));
    CHECK(rig.bus.channels.size() == 3);
    CHECK(rig.put("0d 00 00 00 01 00*7 03 00*51") == full("01 00*7 0d 00 00 c0 00*52"));
    // A hot-added unit.
    rig.provider.add_disk({0, 0, 7}, rig.scsi.disk);
    rig.scsi.simulation.agenda().run_until(1_s);
    CHECK(rig.bus.primary().unsolicited == 1);
}

TEST_CASE("an old guest's shorter packets") {
    PacketRig rig;
    CHECK(rig.put("07 00*47") == full("01 00*47"));
    CHECK(rig.put("09 00*11 02 04 00*34") == full("01 00*11 02 04 00*34"));
    CHECK(rig.put("0a 00*47") == full("01 00*15 00 00 00 00 00 00 00 00 00 00 01 00 00*20"));
    CHECK(rig.put("08 00*47") == full("01 00*47"));
    CHECK(rig.put("0d 00*11 01 00*35") == full("01 00*7 84 01 00 c0 00*36"));
    CHECK(rig.put("03 00*11 24 00 00 00 00 00 00 00 06 12 02 00 00 00 00 00 4d 00*19") ==
          full("01 00*7 85 01 00 c0 24 00 84 02 00 00 00 00 06 12 02 00 00*4 70 00 05 00*4 0a 00*4 20 00*7"));
}

TEST_CASE("steps out of order, and what no guest sends") {
    const std::string state = full("01 00*7 84 01 00 c0 00*52");
    const std::string request = full("01 00*7 10 00 00 c0 00*52");
    PacketRig rig;
    for (const char* operation : {"09", "0a", "08", "0d", "04", "05", "06"}) {
        const std::string name{operation};
        CAPTURE(name);
        CHECK(rig.put(name + " 00*63") == state);
    }
    CHECK(rig.put(srb("00", "00*4", 2)) ==
          full("01 00*7 84 01 00 c0 34 00 06 00 00 00 00 00 06 14 02 00 00*24 00 00 ff "
               "20 08 00 00 00 3c 00*7"));
    rig.initialize();
    for (const char* operation : {"07", "09", "0a", "08"}) {
        const std::string name{operation};
        CAPTURE(name);
        CHECK(rig.put(name + " 00*63") == state);
    }
    for (const char* operation : {"00", "01", "02", "0b", "0c", "0e", "ff"}) {
        const std::string name{operation};
        CAPTURE(name);
        CHECK(rig.put(name + " 00*63") == request);
    }
    CHECK(rig.put("03 00*31") == full("01 00*7 0d 00 00 c0 00*20"));  // too short for a SCSI request
    CHECK(rig.put("04 00*15") == full("01 00*7 0d 00 00 c0 00*4"));
    CHECK(rig.put("06 00*15") == full("01 00*15"));
    CHECK(rig.put("06 00*79") == full("01 00*63"));  // longer than any
    rig.put("0d 00*11 01 00*51");
    rig.bus.channels[1]->open();
    for (const char* operation : {"07", "09", "0a", "08", "0d"}) {
        const std::string name{operation};
        CAPTURE(name);
        CHECK(rig.put(name + " 00*63", {}, 1) == state);
    }
    CHECK(rig.put(srb("00", "00*4", 2), {}, 1).substr(0, 47) == full("01 00*11 34 00 01 00"));
}

TEST_CASE("packets that cannot be answered close the channel") {
    for (int n = 0; n < 4; ++n) {
        CAPTURE(n);
        PacketRig rig;
        rig.initialize();
        rig.put("0d 00*11 01 00*51");
        rig.bus.channels[1]->open();
        std::string answer;
        if (n == 0) answer = rig.put("06 00*63", {}, 1, false);
        if (n == 1) answer = rig.put("06 00*63", {}, 1, true, PacketType::completion);
        if (n == 2) answer = rig.put("06 00*63", {}, 1, true, PacketType::transfer_pages);
        if (n == 3) answer = rig.put("06 00*7", {}, 1);
        CHECK(answer == "fault");
        rig.bus.end_faulty();
        // The primary channel goes on.
        CHECK(rig.put("06 00*63") == full("01 00*63"));
        CHECK(rig.put("0d 00*11 01 00*51") == full("01 00*63"));
        CHECK(rig.bus.channels.size() == 3);
    }
}

TEST_CASE("SCSI requests, byte by byte") {
    PacketRig rig;
    rig.initialize();
    FakeMemory& memory = rig.bus.memory;
    // A read into two pages that are not neighbours, from the middle of the first.
    CHECK(rig.put(srb("28 00 00 00 00 02 00 00 02", "00 04 00 00", 1, "0a"), {pages(1024, 0xe00, {9, 3})}) ==
          full("01 00*11 34 00 01 00 00 00 00 00 0a 14 01 00 00 04 00 00 28 00 00 00 00 02 00 00 02 00*11 "
               "00 00 ff 20 08 00 00 00 3c 00*7"));
    CHECK(std::equal(memory.bytes.begin() + 9 * 4096 + 0xe00, memory.bytes.begin() + 10 * 4096,
                     rig.scsi.store.bytes().begin() + 1024));
    CHECK(std::equal(memory.bytes.begin() + 3 * 4096, memory.bytes.begin() + 3 * 4096 + 512,
                     rig.scsi.store.bytes().begin() + 1536));
    CHECK(memory.bytes[3 * 4096 + 512] == std::byte{0});
    // A write from there.
    CHECK(rig.put(srb("2a 00 00 00 00 10 00 00 02", "00 04 00 00", 0, "0a"), {pages(1024, 0xe00, {9, 3})})
              .substr(36, 11) == "34 00 01 00");
    CHECK(std::equal(rig.scsi.store.bytes().begin() + 16 * 512, rig.scsi.store.bytes().begin() + 18 * 512,
                     rig.scsi.store.bytes().begin() + 1024));

    const std::string refused = full("34 00 84 02");
    const std::string malformed = full("34 00 86 02");
    const auto status = [](const std::string& answer) { return answer.substr(36, 11); };
    const auto read = [](std::string_view transfer, int direction = 1, std::string_view cdb_length = "0a") {
        return srb("28 00 00 00 00 02 00 00 02", transfer, direction, cdb_length);
    };
    const std::vector<GpaRange> good{pages(1024, 0, {1})};
    CHECK(status(rig.put(read("00 04 00 00"), good)) == full("34 00 01 00"));
    CHECK(status(rig.put(read("00 04 00 00", 2), good)) == full("34 00 12 00"));  // no data may move
    CHECK(status(rig.put(read("00 04 00 00", 0), good)) == full("34 00 12 00"));
    CHECK(status(rig.put(read("00 04 00 00", 3), good)) == malformed);
    CHECK(status(rig.put(read("00 04 00 00", 1, "00"), good)) == malformed);
    CHECK(status(rig.put(read("00 04 00 00", 1, "11"), good)) == malformed);
    CHECK(status(rig.put(read("00 04 00 00"))) == malformed);  // no memory
    CHECK(status(rig.put(read("00 04 00 00"), {good[0], good[0]})) == malformed);
    CHECK(status(rig.put(read("00 04 00 00"), {pages(1023, 0, {1})})) == malformed);
    CHECK(status(rig.put(read("00 00 01 00"), {pages(65536, 0, std::vector<std::uint64_t>(16, 2))})) ==
          full("34 00 01 00"));
    CHECK(status(rig.put(read("01 00 01 00"), {pages(65537, 0, std::vector<std::uint64_t>(17, 2))})) == malformed);
    CHECK(status(rig.put(read("ff ff ff ff"), good)) == malformed);
    // Memory that is none.
    CHECK(status(rig.put(read("00 04 00 00"), {pages(1024, 0, {64})})) == refused);
    CHECK(status(rig.put(read("00 04 00 00"), {pages(1024, 0, {~std::uint64_t{0}})})) == refused);
    CHECK(status(rig.put(read("00 04 00 00"), {pages(1024, 0xe00, {1, 64})})) == refused);
    CHECK(status(rig.put(srb("2a 00 00 00 00 10 00 00 02", "00 04 00 00", 0, "0a"), {pages(1024, 0xe00, {1, 64})})) ==
          refused);
    // Too little data for a write; sense data that was not asked for, until it is.
    CHECK(status(rig.put(srb("2a 00 00 00 00 10 00 00 04", "00 04 00 00", 0, "0a"), good)) == refused);
    CHECK(rig.put(srb("4d", "00*4", 2, "0a", "00", "28 00 00 00")).substr(36, 11) == full("34 00 04 02"));
    CHECK(status(rig.put(srb("03 00 00 00 12", "12 00 00 00", 1), {pages(18, 0, {5})})) == full("34 00 01 00"));
    CHECK(to_hex(std::span{memory.bytes}.subspan(5 * 4096, 18)) == full("70 00 05 00*4 0a 00*4 20 00*5"));
    // Reservation conflicts have no sense.
    ScsiRecorder other;
    const auto id = rig.scsi.disk.attach(other);
    CHECK(rig.scsi.disk.execute(id, {.cdb = cdb_from("16")})->status == scsi::Status::good);
    CHECK(status(rig.put(read("00 04 00 00"), good)) == full("34 00 04 18"));
    // A reset of another unit changes nothing; one of the bus ends the reservation.
    CHECK(rig.put("04 00*11 00*7 05 00*44") == full("01 00*63"));
    CHECK(status(rig.put(read("00 04 00 00"), good)) == full("34 00 04 18"));
    CHECK(rig.put("06 00*63") == full("01 00*63"));
    CHECK(status(rig.put(read("00 04 00 00"), good)) == full("34 00 01 00"));
}

TEST_CASE("two controllers share a disk") {
    PacketRig first;
    PacketRig second;
    second.provider.remove_disk({});
    second.provider.add_disk({}, first.scsi.disk);
    first.initialize();
    second.initialize();
    const auto status = [](const std::string& answer) { return answer.substr(36, 11); };
    const auto sense = [](const std::string& answer) { return answer.substr(28 * 3, 53); };
    // PERSISTENT RESERVE OUT with a key and an action's key.
    const auto out = [&](PacketRig& rig, std::string_view action_and_type, std::string_view keys) {
        const auto list = hex(std::string{keys} + " 00*8");
        std::copy(list.begin(), list.end(), rig.bus.memory.bytes.begin());
        return status(rig.put(srb("5f " + std::string{action_and_type} + " 00 00 00 00 00 18", "18 00 00 00", 0, "0a"),
                              {pages(24, 0, {0})}));
    };
    const std::string good = full("34 00 01 00");
    const std::string conflict = full("34 00 04 18");
    CHECK(out(first, "00 00", "00*8 00*7 01") == good);
    CHECK(out(first, "01 03", "00*7 01 00*8") == good);
    const auto reads = [&](PacketRig& rig) {
        return status(rig.put(srb("28 00*8 00", "00 02 00 00", 1, "0a"), {pages(512, 0, {1})}));
    };
    CHECK(reads(second) == conflict);
    CHECK(reads(first) == good);
    CHECK(out(second, "01 03", "00*8 00*8") == conflict);
    CHECK(out(second, "00 00", "00*8 00*7 02") == good);
    CHECK(out(second, "04 03", "00*7 02 00*7 01") == good);
    CHECK(reads(second) == good);
    CHECK(sense(first.put(srb("00", "00*4", 2))) == full("70 00 06 00*4 0a 00*4 2a 05 00*4"));
    CHECK(reads(first) == conflict);
}

TEST_CASE("the table of operations") {
    for (const auto& row : vstor::operations) {
        const std::string name{row.name};
        CAPTURE(name);
        CHECK(vstor::find_operation(static_cast<std::uint32_t>(row.operation)) == &row);
        CHECK(row.body_bytes <= vstor::packet_bytes_before_2012 - sizeof(vstor::Header));
    }
}

}  // namespace storage_packets_test
