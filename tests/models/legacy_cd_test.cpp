// The ATAPI CD drive: packets, replies by PIO and DMA, sense, discs that come and go.
#include <doctest/doctest.h>

#include "tests/models/legacy_ide_rig.h"

namespace legacy_cd_test {

using namespace legacy_test;
using sim::Time;

namespace {

std::vector<int> numbers(const std::vector<std::byte>& bytes) {
    std::vector<int> result;
    for (const std::byte b : bytes) result.push_back(std::to_integer<int>(b));
    return result;
}

// Sense key, code and qualifier as REQUEST SENSE tells them.
std::vector<int> sense(CdRig& rig) {
    rig.packet({3, 0, 0, 0, 18});
    const auto data = numbers(rig.read_data(18));
    return {data[2], data[12], data[13]};
}

}  // namespace

TEST_CASE("identification: the packet command's data, the other's refusal with a signature") {
    CdRig rig;
    rig.command(ata::command::identify, 0, 0, 0, 0);
    CHECK(rig.in(0x1f7) == 0x51);
    CHECK(rig.in(0x1f1) == 4);
    CHECK(rig.in(0x1f4) == 0x14);
    CHECK(rig.in(0x1f5) == 0xeb);
    rig.command(ata::command::identify_packet, 0, 0, 0, 0);
    CHECK(rig.in(0x1f7) == 0x58);
    const auto data = numbers(rig.read_data(512));
    CHECK(data[0] == 0x80);
    CHECK(data[1] == 0x85);
    CHECK(std::string{static_cast<char>(data[55]), static_cast<char>(data[54])} == "Vi");
    CHECK(rig.in(0x1f7) == 0x50);
}

TEST_CASE("the phases of a packet command in PIO") {
    CdRig rig;
    rig.command(0xa0, 0, 0x2000 << 8, 0, 0);
    CHECK(rig.irq14.edges == 0);
    CHECK(rig.in(0x1f7) == 0x58);
    CHECK(rig.in(0x1f2) == 1);  // a command, to the drive
    std::vector<std::byte> inquiry(12);
    inquiry[0] = std::byte{0x12};
    inquiry[4] = std::byte{36};
    rig.write_data(inquiry);
    CHECK(rig.irq14.asserted);
    CHECK(rig.in(0x1f2) == 2);  // data, to the host
    CHECK((rig.in(0x1f4) | rig.in(0x1f5) << 8) == 36);
    CHECK(rig.in(0x1f7) == 0x58);
    const auto data = rig.read_data(36);
    CHECK(numbers({data.begin(), data.begin() + 5}) == std::vector<int>{5, 0x80, 0, 0x21, 31});
    CHECK(std::string{reinterpret_cast<const char*>(&data[8]), 28} == "Msft    Virtual CD/ROM  1.0 ");
    CHECK(rig.irq14.asserted);
    CHECK(rig.in(0x1f2) == 3);  // the command is over
    CHECK(rig.in(0x1f7) == 0x50);
    CHECK(rig.irq14.edges == 2);
}

TEST_CASE("a reply larger than the host's byte count comes in parts") {
    struct Row {
        std::uint16_t limit;
        std::vector<std::size_t> parts;
    };
    for (const Row& row : {Row{16, {16, 2}}, Row{8, {8, 8, 2}}, Row{9, {8, 8, 2}}, Row{0, {18}}, Row{0xffff, {18}},
                           Row{1, {2, 2, 2, 2, 2, 2, 2, 2, 2}}}) {
        CAPTURE(row.limit);
        CdRig rig;
        rig.packet({3, 0, 0, 0, 18}, row.limit);
        for (const std::size_t part : row.parts) {
            CHECK(rig.in(0x1f7) == 0x58);
            CHECK((rig.in(0x1f4) | rig.in(0x1f5) << 8) == part);
            (void)rig.read_data(part);
        }
        CHECK(rig.in(0x1f7) == 0x50);
        CHECK(rig.irq14.edges == row.parts.size() + 1);
    }
}

TEST_CASE("without a disc, with a new one, and after it has been told") {
    CdRig rig;
    rig.packet({0});
    CHECK(rig.in(0x1f7) == 0x51);
    CHECK(rig.in(0x1f1) == 0x24);
    CHECK(sense(rig) == std::vector<int>{2, 0x3a, 0});
    CHECK(sense(rig) == std::vector<int>{0, 0, 0});
    rig.cd.insert(&rig.disc);
    rig.packet({0x12, 0, 0, 0, 36});  // INQUIRY does not mind
    CHECK(rig.in(0x1f7) == 0x58);
    (void)rig.read_data(36);
    rig.packet({0});
    CHECK(rig.in(0x1f1) == 0x64);
    CHECK(sense(rig) == std::vector<int>{6, 0x28, 0});
    rig.packet({0});
    CHECK(rig.in(0x1f7) == 0x50);
    rig.packet({0x99});
    CHECK(rig.in(0x1f7) == 0x51);
    CHECK(sense(rig) == std::vector<int>{5, 0x20, 0});
}

TEST_CASE("replies of a drive with a disc of 300 sectors") {
    struct Row {
        const char* what;
        std::vector<unsigned> packet;
        std::vector<int> reply;
    };
    for (const Row& row : {
             Row{"READ CAPACITY", {0x25}, {0, 0, 1, 43, 0, 0, 8, 0}},
             Row{"READ TOC", {0x43, 0, 0, 0, 0, 0, 0, 0, 20}, {0, 18, 1, 1,    0,    0x14, 1, 0, 0, 0,
                                                               0, 0,  0, 0x14, 0xaa, 0,    0, 0, 1, 44}},
             Row{"READ TOC in time", {0x43, 2, 0, 0, 0, 0, 0xaa, 0, 12}, {0, 10, 1, 1, 0, 0x14, 0xaa, 0, 0, 0, 6, 0}},
             Row{"READ TOC, sessions", {0x43, 0, 1, 0, 0, 0, 0, 0, 12}, {0, 10, 1, 1, 0, 0x14, 1, 0, 0, 0, 0, 0}},
             Row{"GET CONFIGURATION", {0x46, 0, 0, 0, 0, 0, 0, 0, 24}, {0, 0, 0, 20, 0, 0, 0, 8, 0, 0, 3, 4,
                                                                        0, 8, 1, 0,  0, 1, 3, 4, 0, 0, 0, 2}},
             Row{"GET EVENT STATUS", {0x4a, 1, 0, 0, 0x10, 0, 0, 0, 8}, {0, 6, 4, 16, 0, 2, 0, 0}},
             Row{"GET EVENT STATUS of another class", {0x4a, 1, 0, 0, 2, 0, 0, 0, 8}, {0, 2, 0x80, 16}},
             Row{"MODE SENSE, cut short", {0x5a, 0, 0x2a, 0, 0, 0, 0, 0, 10}, {0, 26, 0, 0, 0, 0, 0, 0, 0x2a, 0x12}},
         }) {
        CAPTURE(row.what);
        CdRig rig;
        rig.cd.insert(&rig.disc);
        rig.packet({0});
        rig.command(0xa0, 0, 0xfffe << 8, 0, 0);
        std::vector<std::byte> packet(12);
        for (std::size_t i = 0; i < row.packet.size(); ++i) packet[i] = static_cast<std::byte>(row.packet[i]);
        rig.write_data(packet);
        REQUIRE(rig.in(0x1f7) == 0x58);
        CHECK((rig.in(0x1f4) | rig.in(0x1f5) << 8) == row.reply.size());
        CHECK(numbers(rig.read_data(row.reply.size())) == row.reply);
        CHECK(rig.in(0x1f7) == 0x50);
    }
}

TEST_CASE("what is refused") {
    struct Row {
        std::vector<unsigned> packet;
        std::vector<int> sense;
    };
    for (const Row& row : {
             Row{{0x28, 0, 0, 0, 1, 44, 0, 0, 1}, {5, 0x21, 0}},
             Row{{0x28, 0, 0, 0, 1, 43, 0, 0, 2}, {5, 0x21, 0}},
             Row{{0xa8, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, {5, 0x21, 0}},
             Row{{0x43, 0, 5}, {5, 0x24, 0}},
             Row{{0x43, 0, 0, 0, 0, 0, 7}, {5, 0x24, 0}},
             Row{{0x4a}, {5, 0x24, 0}},
             Row{{0x5a, 0, 0x0d}, {5, 0x24, 0}},
             Row{{0x12, 1, 0x80}, {5, 0x24, 0}},
         }) {
        CdRig rig;
        rig.cd.insert(&rig.disc);
        rig.packet({0});
        rig.command(0xa0, 0, 0xfffe << 8, 0, 0);
        std::vector<std::byte> packet(12);
        for (std::size_t i = 0; i < row.packet.size(); ++i) packet[i] = static_cast<std::byte>(row.packet[i]);
        rig.write_data(packet);
        CHECK(rig.in(0x1f7) == 0x51);
        CHECK(sense(rig) == row.sense);
    }
    CdRig rig;
    rig.cd.insert(&rig.disc);
    rig.packet({0});
    rig.packet({0x1e, 0, 0, 0, 1});
    rig.packet({0x1b, 0, 0, 0, 2});
    CHECK(sense(rig) == std::vector<int>{5, 0x53, 2});
}

TEST_CASE("reading: PIO in parts, DMA in pieces") {
    CdRig rig;
    rig.cd.insert(&rig.disc);
    rig.packet({0});
    const auto from = [&](std::size_t sector, std::size_t bytes) {
        const auto first = rig.disc.content.begin() + static_cast<std::ptrdiff_t>(2048 * sector);
        return std::vector<std::byte>{first, first + static_cast<std::ptrdiff_t>(bytes)};
    };
    rig.packet({0x28, 0, 0, 0, 0, 16, 0, 0, 2}, 2048);
    CHECK(rig.in(0x1f7) == 0x80);
    rig.run_for(MemoryBlocks::latency);
    CHECK(rig.read_data(2048) == from(16, 2048));
    CHECK(rig.in(0x1f7) == 0x58);
    CHECK(rig.read_data(2048) == from(17, 2048));
    CHECK(rig.in(0x1f7) == 0x50);

    // 40 sectors by DMA, all into the same 2 KiB: 32 and 8 from the disc.
    rig.disc.log.clear();
    for (std::uint32_t i = 0; i < 40; ++i) rig.put(0x2000 + 8 * i, {0x4000, 2048 | (i == 39 ? 1u << 31 : 0)});
    rig.packet({0xa8, 0, 0, 0, 0, 200, 0, 0, 0, 40}, 0, true);
    rig.start_master(true, 0x2000);
    rig.run_for(Time::us(20));
    CHECK(rig.irq14.asserted);
    CHECK(rig.in(IdeRig::master_port + 2) == 0x64);
    CHECK(rig.in(0x1f7) == 0x50);
    CHECK(std::vector<std::byte>{rig.host.memory.begin() + 0x4000, rig.host.memory.begin() + 0x4800} ==
          from(239, 2048));
    REQUIRE(rig.disc.log.size() == 2);
    CHECK(rig.disc.log[1].length_bytes == 8 * 2048);
}

TEST_CASE("a disc that is taken out ends the command; a scratched one too; a reset forgets both") {
    CdRig rig;
    rig.cd.insert(&rig.disc);
    rig.packet({0});
    rig.packet({0x28, 0, 0, 0, 0, 0, 0, 0, 1});
    rig.cd.insert(nullptr);
    CHECK(rig.in(0x1f7) == 0x51);
    CHECK(sense(rig) == std::vector<int>{2, 0x3a, 0});
    rig.cd.insert(&rig.disc);
    rig.run_for(Time::us(50));  // the answer is nobody's
    rig.packet({0});
    CHECK(sense(rig) == std::vector<int>{6, 0x28, 0});
    rig.disc.status = vmbus::BlockStatus::medium_error;
    rig.packet({0x28, 0, 0, 0, 0, 0, 0, 0, 1});
    rig.run_for(MemoryBlocks::latency);
    CHECK(rig.in(0x1f7) == 0x51);
    rig.out(0x1f7, ata::command::device_reset);
    CHECK(rig.in(0x1f7) == 0);
    CHECK(rig.in(0x1f4) == 0x14);
    CHECK(sense(rig) == std::vector<int>{0, 0, 0});
}

}  // namespace legacy_cd_test
