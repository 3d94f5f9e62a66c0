// IDE channels, ATA disk and bus master: what a driver does and sees.
#include <doctest/doctest.h>

#include "tests/models/legacy_ide_rig.h"

namespace legacy_ide_test {

using namespace legacy_test;
using sim::Time;
namespace cmd = ata::command;

TEST_CASE("configuration space as the PIIX4's IDE function") {
    IdeRig rig;
    struct Row {
        unsigned offset, size;
        std::uint32_t value;
    };
    for (const Row& row : {Row{0x00, 4, 0x7111'8086}, Row{0x08, 4, 0x0101'8001}, Row{0x40, 4, 0x8000'8000},
                           Row{0x3d, 1, 0}, Row{0x10, 4, 0}, Row{0x20, 4, 0xffa1}}) {
        CHECK(rig.config(rig.who, row.offset, row.size) == row.value);
    }
    DiskRig disk;
    CHECK(disk.in(0x1f7) == 0x50);
    disk.set_config(disk.who, 0x40, 2, 0x2307);  // decoding off
    CHECK(disk.in(0x1f7) == 0xff);
    disk.set_config(disk.who, 0x40, 2, 0xa307);
    CHECK(disk.in(0x1f7) == 0x50);
    disk.set_config(disk.who, 0x04, 2, 4);
    CHECK(disk.in(0x1f7) == 0xff);
}

TEST_CASE("who is there: an empty channel floats, a lone first drive answers for the second with status 0") {
    IdeRig empty;
    for (const unsigned port : {0x1f0u, 0x1f2u, 0x1f7u, 0x3f6u, 0x177u}) CHECK(empty.in(port) == 0xff);
    DiskRig rig;
    rig.out(0x1f6, 0xb0);
    CHECK(rig.in(0x1f7) == 0);
    CHECK(rig.in(0x3f6) == 0);
    rig.out(0x1f2, 0x55);
    rig.out(0x1f3, 0xaa);
    CHECK(rig.in(0x1f2) == 0x55);
    CHECK(rig.in(0x1f3) == 0xaa);
    CHECK(rig.in(0x1f6) == 0xb0);
    rig.out(0x1f7, cmd::identify);  // for nobody
    CHECK(rig.irq14.edges == 0);
    CHECK(rig.in(0x1f0, 2) == 0xffff);
}

TEST_CASE("reset leaves the signature, of both drives") {
    DiskRig rig;
    models::AtapiCd cd{rig.simulation.scope("cd")};
    rig.ide.channel(0).attach(1, cd);
    rig.out(0x3f6, 4);
    rig.out(0x3f6, 0);
    struct Row {
        std::uint8_t device, status, mid, high;
    };
    for (const Row& row : {Row{0xa0, 0x50, 0, 0}, Row{0xb0, 0x00, 0x14, 0xeb}}) {
        rig.out(0x1f6, row.device);
        CHECK(rig.in(0x1f7) == row.status);
        CHECK(rig.in(0x1f1) == 1);
        CHECK(rig.in(0x1f2) == 1);
        CHECK(rig.in(0x1f3) == 1);
        CHECK(rig.in(0x1f4) == row.mid);
        CHECK(rig.in(0x1f5) == row.high);
    }
    rig.out(0x1f7, cmd::diagnostic);  // of both, told by the first
    CHECK(rig.irq14.edges == 1);
    CHECK(rig.in(0x1f6) == 0);
    CHECK(rig.in(0x1f1) == 1);
}

TEST_CASE("IDENTIFY DEVICE") {
    DiskRig rig;
    rig.command(cmd::identify);
    CHECK(rig.irq14.asserted);
    CHECK(rig.in(0x3f6) == 0x58);
    CHECK(rig.irq14.asserted);  // the other status leaves it
    CHECK(rig.in(0x1f7) == 0x58);
    CHECK_FALSE(rig.irq14.asserted);
    const auto data = rig.read_data(512);
    CHECK(rig.in(0x1f7) == 0x50);
    const auto word = [&](std::size_t n) {
        return std::to_integer<unsigned>(data[2 * n]) | std::to_integer<unsigned>(data[2 * n + 1]) << 8;
    };
    struct Row {
        std::size_t n;
        unsigned value;
    };
    for (const Row& row :
         {Row{0, 0x40}, Row{1, 2}, Row{3, 16}, Row{6, 63}, Row{47, 0x8080}, Row{49, 0x0f00}, Row{54, 2}, Row{57, 2016},
          Row{58, 0}, Row{59, 0}, Row{60, 2048}, Row{61, 0}, Row{63, 0x0407}, Row{83, 0x7400}, Row{88, 0},
          Row{100, 2048}, Row{103, 0}, Row{106, 0x6003}, Row{169, 0}}) {
        CAPTURE(row.n);
        CHECK(word(row.n) == row.value);
    }
    std::string model;
    for (std::size_t n = 27; n < 47; ++n) model += {static_cast<char>(word(n) >> 8), static_cast<char>(word(n))};
    CHECK(model == "Virtual HD                              ");
    unsigned sum = 0;
    for (const std::byte b : data) sum += std::to_integer<unsigned>(b);
    CHECK((sum & 0xff) == 0);
}

TEST_CASE("PIO reads: one interrupt per block, none at the end") {
    struct Row {
        std::uint8_t command, multiple, count;
        bool extended;
        std::vector<std::size_t> blocks;  // sectors
    };
    for (const Row& row : {
             Row{cmd::read_sectors, 0, 3, false, {1, 1, 1}},
             Row{cmd::read_sectors_once, 0, 1, false, {1}},
             Row{cmd::read_sectors_ext, 8, 2, true, {1, 1}},
             Row{cmd::read_multiple, 4, 10, false, {4, 4, 2}},
             Row{cmd::read_multiple_ext, 8, 8, true, {8}},
         }) {
        CAPTURE(row.command);
        DiskRig rig;
        if (row.multiple != 0) {
            rig.command(cmd::set_multiple, row.multiple);
            CHECK(rig.in(0x1f7) == 0x50);
        }
        const unsigned before = rig.irq14.edges;
        if (row.extended) {
            rig.command48(row.command, row.count, 5);
        } else {
            rig.command(row.command, row.count, 5);
        }
        std::size_t at = 5;
        for (const std::size_t sectors : row.blocks) {
            CHECK(rig.in(0x1f7) == 0x80);
            rig.run_for(MemoryBlocks::latency - Time::ps(1));
            CHECK(rig.in(0x3f6) == 0x80);
            rig.run_for(Time::ps(1));
            CHECK(rig.irq14.asserted);
            CHECK(rig.in(0x1f7) == 0x58);
            CHECK(rig.read_data(512 * sectors) == rig.sectors(at, sectors));
            at += sectors;
        }
        CHECK(rig.in(0x1f7) == 0x50);
        CHECK(rig.irq14.edges - before == row.blocks.size());
        CHECK(rig.in(0x1f3) == at - 1);  // the last sector read
        CHECK(rig.in(0x1f2) == 0);
    }
}

TEST_CASE("PIO writes: no interrupt before the first block, one after each") {
    struct Row {
        std::uint8_t command, multiple, count;
        bool extended, fua;
        std::vector<std::size_t> blocks;
    };
    for (const Row& row : {
             Row{cmd::write_sectors, 0, 2, false, false, {1, 1}},
             Row{cmd::write_sectors_ext, 0, 1, true, false, {1}},
             Row{cmd::write_multiple, 2, 3, false, false, {2, 1}},
             Row{cmd::write_multiple_fua_ext, 2, 2, true, true, {2}},
         }) {
        CAPTURE(row.command);
        DiskRig rig;
        if (row.multiple != 0) {
            rig.command(cmd::set_multiple, row.multiple);
            (void)rig.in(0x1f7);
        }
        const unsigned before = rig.irq14.edges;
        if (row.extended) {
            rig.command48(row.command, row.count, 9);
        } else {
            rig.command(row.command, row.count, 9);
        }
        std::size_t at = 9;
        unsigned interrupts = 0;
        for (const std::size_t sectors : row.blocks) {
            CHECK(rig.irq14.edges - before == interrupts);
            CHECK(rig.in(0x1f7) == 0x58);
            const std::vector<std::byte> data(512 * sectors, static_cast<std::byte>(0xa0 + at));
            rig.write_data(data);
            CHECK(rig.in(0x1f7) == 0x80);
            rig.run_for(MemoryBlocks::latency);
            ++interrupts;
            CHECK(rig.sectors(at, sectors) == data);
            CHECK(rig.blocks.log.back().force_unit_access == row.fua);
            at += sectors;
        }
        CHECK(rig.irq14.edges - before == interrupts);
        CHECK(rig.in(0x1f7) == 0x50);
        CHECK(rig.in(0x1f3) == at - 1);
    }
}

TEST_CASE("addresses: CHS, 28 and 48 bits, counts of 0, what lies beyond the end") {
    struct Row {
        const char* what;
        std::uint8_t command, count;
        std::uint8_t low, mid, high, device;
        std::uint8_t status;  // when the command has been accepted or not
        std::uint64_t offset;
    };
    for (const Row& row : {
             Row{"CHS 0/0/1", cmd::read_sectors, 1, 1, 0, 0, 0xa0, 0x80, 0},
             Row{"CHS 1/2/3", cmd::read_sectors, 1, 3, 1, 0, 0xa2, 0x80, (1 * 16 + 2) * 63 + 2},
             Row{"sector 0", cmd::read_sectors, 1, 0, 0, 0, 0xa0, 0x51, 0},
             Row{"sector 64", cmd::read_sectors, 1, 64, 0, 0, 0xa0, 0x51, 0},
             Row{"LBA 0x7ff", cmd::read_sectors, 1, 0xff, 0x07, 0, 0xe0, 0x80, 0x7ff},
             Row{"LBA 0x800", cmd::read_sectors, 1, 0x00, 0x08, 0, 0xe0, 0x51, 0},
             Row{"over the end", cmd::read_sectors, 2, 0xff, 0x07, 0, 0xe0, 0x51, 0},
             Row{"256 sectors", cmd::read_sectors, 0, 0, 0x07, 0, 0xe0, 0x80, 0x700},
             Row{"256 sectors over the end", cmd::read_sectors, 0, 1, 0x07, 0, 0xe0, 0x51, 0},
             Row{"top bits", cmd::read_sectors, 1, 0, 0, 0, 0xe1, 0x51, 0},
         }) {
        CAPTURE(row.what);
        DiskRig rig;
        rig.out(0x1f2, row.count);
        rig.out(0x1f3, row.low);
        rig.out(0x1f4, row.mid);
        rig.out(0x1f5, row.high);
        rig.out(0x1f6, row.device);
        rig.out(0x1f7, row.command);
        CHECK(rig.in(0x3f6) == row.status);
        if (row.status == 0x51) {
            CHECK(rig.in(0x1f1) == ata::error::id_not_found);
            CHECK(rig.irq14.asserted);
            continue;
        }
        REQUIRE(rig.blocks.log.size() == 1);
        CHECK(rig.blocks.log[0].offset_bytes == 512 * row.offset);
    }
    DiskRig rig;
    rig.command48(cmd::read_sectors_ext, 1, 0x1'0000'0000);
    CHECK(rig.in(0x3f6) == 0x51);
    rig.command48(cmd::read_sectors_ext, 0, 0);  // 65536 sectors
    CHECK(rig.in(0x1f7) == 0x51);
    rig.command48(cmd::read_sectors_ext, 1, 0x7ff);
    CHECK(rig.in(0x3f6) == 0x80);
    // The high-order bytes are seen with HOB, which any write to the block takes back.
    rig.run_for(MemoryBlocks::latency);
    (void)rig.read_data(512);
    rig.out(0x1f3, 0x12);
    rig.out(0x1f3, 0x34);
    CHECK(rig.in(0x1f3) == 0x34);
    rig.out(0x3f6, 0x80);
    CHECK(rig.in(0x1f3) == 0x12);
    rig.out(0x1f2, 0);
    CHECK(rig.in(0x1f3) == 0x34);
}

TEST_CASE("commands without data, and those that are refused") {
    struct Row {
        std::uint8_t command, features, count;
        std::uint8_t status, error;
        int count_after;  // -1: not looked at
    };
    for (const Row& row : {
             Row{cmd::recalibrate, 0, 0, 0x50, 0, -1},
             Row{cmd::recalibrate + 7, 0, 0, 0x50, 0, -1},
             Row{cmd::seek, 0, 0, 0x50, 0, -1},
             Row{cmd::initialize_parameters, 0, 63, 0x50, 0, -1},
             Row{cmd::initialize_parameters, 0, 0, 0x51, 4, -1},
             Row{cmd::set_multiple, 0, 16, 0x50, 0, -1},
             Row{cmd::set_multiple, 0, 3, 0x51, 4, -1},
             Row{cmd::set_multiple, 0, 0, 0x50, 0, -1},
             Row{cmd::set_multiple, 0, 0xff, 0x51, 4, -1},
             Row{cmd::read_multiple, 0, 1, 0x51, 4, -1},
             Row{cmd::check_power, 0, 0, 0x50, 0, 0xff},
             Row{cmd::idle_immediate, 0, 0, 0x50, 0, -1},
             Row{cmd::set_features, 0x03, 0x22, 0x50, 0, -1},
             Row{cmd::set_features, 0x03, 0x0c, 0x50, 0, -1},
             Row{cmd::set_features, 0x03, 0x45, 0x51, 4, -1},
             Row{cmd::set_features, 0xaa, 0, 0x50, 0, -1},
             Row{cmd::set_features, 0x10, 0, 0x51, 4, -1},
             Row{cmd::packet, 0, 0, 0x51, 4, -1},
             Row{cmd::identify_packet, 0, 0, 0x51, 4, -1},
             Row{cmd::nop, 0, 0, 0x51, 4, -1},
             Row{0xb0, 0, 0, 0x51, 4, -1},
             Row{cmd::data_set_management, 1, 1, 0x51, 4, -1},
             Row{cmd::device_reset, 0, 0, 0x51, 4, -1},
         }) {
        CAPTURE(row.command);
        CAPTURE(row.features);
        DiskRig rig;
        rig.command(row.command, row.count, 0, row.features);
        CHECK(rig.irq14.edges == 1);
        CHECK(rig.in(0x1f7) == row.status);
        if (row.error != 0) {
            CHECK(rig.in(0x1f1) == row.error);
        }
        if (row.count_after >= 0) {
            CHECK(rig.in(0x1f2) == static_cast<unsigned>(row.count_after));
        }
    }
    DiskRig rig;
    rig.command(cmd::standby_immediate);
    rig.command(cmd::check_power);
    CHECK(rig.in(0x1f2) == 0);
    rig.command(cmd::read_native_max);
    CHECK((rig.in(0x1f3) | rig.in(0x1f4) << 8) == 2047);
}

TEST_CASE("flushes go to the medium; without the cache writes go through it") {
    using Operation = vmbus::BlockRequest::Operation;
    DiskRig rig;
    for (const std::uint8_t command : {cmd::flush_cache, cmd::flush_cache_ext}) {
        rig.command(command);
        CHECK(rig.in(0x1f7) == 0x80);
        CHECK(rig.blocks.log.back().operation == Operation::flush);
        rig.run_for(MemoryBlocks::latency);
        CHECK(rig.irq14.asserted);
        CHECK(rig.in(0x1f7) == 0x50);
    }
    rig.command(cmd::set_features, 0, 0, ata::feature::disable_write_cache);
    CHECK(rig.in(0x1f7) == 0x80);
    rig.run_for(MemoryBlocks::latency);
    CHECK(rig.in(0x1f7) == 0x50);
    rig.command(cmd::write_sectors, 1);
    rig.write_data(std::vector<std::byte>(512));
    CHECK(rig.blocks.log.back().force_unit_access);
}

TEST_CASE("DMA: memory pieces, the bus master's status, errors of both ends") {
    struct Row {
        const char* what;
        bool read;
        std::uint8_t count;
        std::vector<std::array<std::uint32_t, 2>> table;
        std::uint8_t bus_status;
        std::uint8_t status;
        bool interrupt;
    };
    constexpr std::uint32_t end = 1u << 31;
    for (const Row& row : {
             Row{"one piece", true, 2, {{0x4000, 1024 | end}}, 0x64, 0x50, true},
             Row{"three pieces", true, 2, {{0x4000, 512}, {0x4200, 500}, {0x43f4, 12 | end}}, 0x64, 0x50, true},
             Row{"more memory than data", true, 2, {{0x4000, 2048 | end}}, 0x65, 0x50, true},
             Row{"less memory than data", true, 2, {{0x4000, 512 | end}}, 0x60, 0x58, false},
             Row{"memory that is not there", true, 2, {{0x8000'0000, 1024 | end}}, 0x62, 0x58, false},
             Row{"a second piece that is not there",
                 true,
                 2,
                 {{0x4000, 512}, {0x8000'0000, 512 | end}},
                 0x62,
                 0x58,
                 false},
             Row{"write", false, 2, {{0x4000, 1024 | end}}, 0x64, 0x50, true},
             Row{"write in pieces", false, 2, {{0x4000, 2}, {0x4002, 1022 | end}}, 0x64, 0x50, true},
             Row{"write with too little", false, 2, {{0x4000, 510 | end}}, 0x60, 0x58, false},
         }) {
        CAPTURE(row.what);
        DiskRig rig;
        for (std::uint32_t i = 0; i < row.table.size(); ++i) {
            rig.put(0x3000 + 8 * i, {row.table[i][0], row.table[i][1]});
        }
        for (std::uint32_t i = 0; i < 1024; ++i) rig.host.memory[0x4000 + i] = static_cast<std::byte>(3 * i);
        rig.command(row.read ? cmd::read_dma : cmd::write_dma, row.count, 7);
        rig.start_master(row.read, 0x3000);
        rig.run_for(Time::us(100));
        CHECK(rig.irq14.asserted == row.interrupt);
        CHECK(rig.in(IdeRig::master_port + 2) == row.bus_status);
        CHECK(rig.in(0x1f7) == row.status);
        if (!row.interrupt) continue;
        const std::vector<std::byte> memory{rig.host.memory.begin() + 0x4000, rig.host.memory.begin() + 0x4400};
        CHECK(rig.sectors(7, 2) == memory);
        CHECK(rig.host.last_requester == rig.who);
        rig.out(IdeRig::master_port + 2, 0x64);
        rig.out(IdeRig::master_port, 0);
        CHECK(rig.in(IdeRig::master_port + 2) == 0x60);
    }
}

TEST_CASE("DMA: the master may start before the data is there or after it; long transfers go in pieces") {
    DiskRig rig;
    rig.put(0x3000, {0x4000, 512 | 1u << 31});
    rig.start_master(true, 0x3000);
    CHECK(rig.in(IdeRig::master_port + 2) == 0x61);
    rig.command48(cmd::read_dma_ext, 1, 3);
    rig.run_for(MemoryBlocks::latency);
    CHECK(rig.in(IdeRig::master_port + 2) == 0x64);
    rig.out(IdeRig::master_port, 0);
    (void)rig.in(0x1f7);

    rig.command(cmd::read_dma_once, 1, 4);
    rig.run_for(Time::ms(1));
    CHECK(rig.in(0x3f6) == 0x58);
    rig.start_master(true, 0x3000);
    CHECK(rig.irq14.asserted);
    CHECK(std::equal(rig.host.memory.begin() + 0x4000, rig.host.memory.begin() + 0x4200,
                     rig.blocks.content.begin() + 4 * 512));
    rig.out(IdeRig::master_port, 0);
    (void)rig.in(0x1f7);

    // 300 sectors: 256 and 44. All pieces lie in the same place.
    rig.blocks.log.clear();
    for (std::uint32_t i = 0; i < 300; ++i) rig.put(0x2000 + 8 * i, {0x4000, 512 | (i == 299 ? 1u << 31 : 0)});
    rig.command48(cmd::write_dma_fua_ext, 300, 0);
    rig.start_master(false, 0x2000);
    rig.run_for(Time::us(20));
    CHECK(rig.irq14.asserted);
    REQUIRE(rig.blocks.log.size() == 2);
    CHECK(rig.blocks.log[0].length_bytes == 256 * 512);
    CHECK(rig.blocks.log[1].offset_bytes == 256 * 512);
    CHECK(rig.blocks.log[1].length_bytes == 44 * 512);
    CHECK(rig.blocks.log[1].force_unit_access);
}

TEST_CASE("bus master registers: widths, what can be written") {
    IdeRig rig;
    rig.out(IdeRig::master_port + 4, 0x1234'5677, 4);
    CHECK(rig.in(IdeRig::master_port + 4, 4) == 0x1234'5674);
    CHECK(rig.in(IdeRig::master_port + 6, 2) == 0x1234);
    rig.out(IdeRig::master_port + 5, 0xab);
    CHECK(rig.in(IdeRig::master_port + 4, 4) == 0x1234'ab74);
    rig.out(IdeRig::master_port + 8 + 2, 0xff);
    CHECK(rig.in(IdeRig::master_port + 8 + 2) == 0x60);
    CHECK(rig.in(IdeRig::master_port + 2) == 0);
    rig.out(IdeRig::master_port + 8, 0xff);
    CHECK(rig.in(IdeRig::master_port + 8) == 9);
    CHECK(rig.in(IdeRig::master_port + 8, 4) == 0x0061'0009);
}

TEST_CASE("what the block device refuses") {
    struct Row {
        vmbus::BlockStatus result;
        std::uint8_t status, error;
    };
    for (const Row& row : {Row{vmbus::BlockStatus::medium_error, 0x51, ata::error::uncorrectable},
                           Row{vmbus::BlockStatus::out_of_range, 0x51, ata::error::id_not_found},
                           Row{vmbus::BlockStatus::read_only, 0x71, ata::error::aborted}}) {
        DiskRig rig;
        rig.blocks.status = row.result;
        rig.command(cmd::read_sectors, 4, 0x123);
        rig.run_for(MemoryBlocks::latency);
        CHECK(rig.irq14.asserted);
        CHECK(rig.in(0x1f7) == row.status);
        CHECK(rig.in(0x1f1) == row.error);
        CHECK((rig.in(0x1f3) | rig.in(0x1f4) << 8) == 0x123);
    }
    IdeRig rig;
    MemoryBlocks blocks{rig.simulation.agenda(), 1u << 16};
    blocks.shape.read_only = true;
    models::AtaDisk disk{rig.simulation.scope("disk"), blocks};
    rig.ide.channel(0).attach(0, disk);
    rig.command(cmd::write_sectors, 1);
    CHECK(rig.in(0x1f7) == 0x51);
    CHECK(blocks.log.empty());
}

TEST_CASE("trim: ranges one after the other, refused beyond the end") {
    for (const bool beyond : {false, true}) {
        DiskRig base;
        IdeRig rig;
        MemoryBlocks blocks{rig.simulation.agenda(), 1u << 20};
        blocks.shape.unmap = true;
        models::AtaDisk disk{rig.simulation.scope("disk"), blocks};
        rig.ide.channel(0).attach(0, disk);
        rig.put(0x3000, {0x4000, 512 | 1u << 31});
        rig.put(0x4000, {0x10, 5u << 16, 0, 0, 0x20, (beyond ? 0xffffu : 1u) << 16});
        rig.command48(cmd::data_set_management, 1, 0, 1);
        rig.start_master(false, 0x3000);
        rig.run_for(Time::us(100));
        REQUIRE(blocks.log.size() == (beyond ? 1 : 2));
        CHECK(blocks.log[0].operation == vmbus::BlockRequest::Operation::unmap);
        CHECK(blocks.log[0].offset_bytes == 0x10 * 512);
        CHECK(blocks.log[0].length_bytes == 5 * 512);
        CHECK(rig.in(0x1f7) == (beyond ? 0x51 : 0x50));
    }
}

TEST_CASE("interrupts: masked, of the selected drive alone, lost with a reset") {
    DiskRig rig;
    rig.out(0x3f6, 2);
    rig.command(cmd::idle_immediate);
    CHECK_FALSE(rig.irq14.asserted);
    rig.out(0x3f6, 0);
    CHECK(rig.irq14.asserted);
    rig.out(0x1f6, 0xb0);
    CHECK_FALSE(rig.irq14.asserted);
    rig.out(0x1f6, 0xa0);
    CHECK(rig.irq14.asserted);
    rig.out(0x3f6, 4);
    CHECK_FALSE(rig.irq14.asserted);
    rig.out(0x1f7, cmd::idle_immediate);  // held in reset
    CHECK(rig.irq14.edges == 2);
}

TEST_CASE("a reset ends what is under way; the late answer of the medium is nobody's") {
    DiskRig rig;
    rig.command(cmd::read_sectors, 1);
    rig.out(0x3f6, 4);
    rig.out(0x3f6, 0);
    CHECK(rig.in(0x1f7) == 0x50);
    rig.run_for(Time::us(50));
    CHECK(rig.in(0x1f7) == 0x50);
    CHECK(rig.irq14.edges == 0);
    // Writes to registers and commands while a command runs are lost.
    rig.command(cmd::read_sectors, 1, 1);
    rig.out(0x1f3, 9);
    rig.out(0x1f7, cmd::identify);
    rig.run_for(MemoryBlocks::latency);
    CHECK(rig.read_data(512) == rig.sectors(1, 1));
    CHECK(rig.in(0x1f3) == 1);
}

TEST_CASE("32-bit data accesses carry two words") {
    DiskRig rig;
    rig.command(cmd::read_sectors, 1, 2);
    rig.run_for(MemoryBlocks::latency);
    std::uint32_t expected = 0;
    std::memcpy(&expected, &rig.blocks.content[1024], 4);
    CHECK(rig.in(0x1f0, 4) == expected);
    CHECK(rig.in(0x1f2, 2) == 0xffff);
    rig.out(0x1f2, 0x1234, 2);
    std::memcpy(&expected, &rig.blocks.content[1028], 4);
    CHECK(rig.in(0x1f0, 4) == expected);
}

TEST_CASE("saved in the middle of a read and restored: the rest follows") {
    DiskRig first;
    first.command(cmd::read_sectors, 2, 3);
    first.run_for(MemoryBlocks::latency);
    const auto begin = first.read_data(100);
    sim::Writer writer;
    writer(first.root, first.ide, first.disk);
    DiskRig second;
    sim::Reader reader{writer.data()};
    reader(second.root, second.ide, second.disk);
    CHECK(reader.remaining() == 0);
    const auto rest = second.read_data(412);
    std::vector<std::byte> all = begin;
    all.insert(all.end(), rest.begin(), rest.end());
    CHECK(all == second.sectors(3, 1));
    CHECK(second.in(0x3f6) == 0x80);
    second.run_for(MemoryBlocks::latency);
    CHECK(second.read_data(512) == second.sectors(4, 1));
    CHECK(second.in(0x1f7) == 0x50);
}

}  // namespace legacy_ide_test
