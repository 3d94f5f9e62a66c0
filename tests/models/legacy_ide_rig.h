// A PIIX4 IDE function on a bus with drives, driven as a driver would; disks of plain memory that take a while.
#pragma once

#include <cstring>
#include <deque>
#include <vector>

#include "models/legacy/ata_disk.h"
#include "models/legacy/atapi_cd.h"
#include "models/legacy/piix4_ide.h"
#include "tests/models/recorders.h"
#include "tests/pci/rig.h"

namespace legacy_test {

namespace ata = models::ata;

// Answers each request after 10 us, in order.
struct MemoryBlocks final : vmbus::BlockDevice {
    MemoryBlocks(sim::Agenda& agenda, std::size_t bytes)
        : content(bytes), timer(agenda, "blocks", [this] { answer(); }) {
        for (std::size_t i = 0; i < bytes; ++i) content[i] = pattern(i);
    }
    static std::byte pattern(std::size_t i) { return static_cast<std::byte>(i / 512 * 7 + i % 512); }
    static constexpr sim::Time latency = sim::Time::us(10);

    Geometry geometry() const override { return shape; }
    void attach(vmbus::BlockClient* who) override { client = who; }
    void submit(vmbus::BlockRequest request) override {
        log.push_back(request);
        log.back().data.clear();
        waiting.push_back(std::move(request));
        if (!timer.armed()) timer.arm_after(latency);
    }
    void answer() {
        vmbus::BlockRequest request = std::move(waiting.front());
        waiting.pop_front();
        if (!waiting.empty()) timer.arm_after(latency);
        using Operation = vmbus::BlockRequest::Operation;
        std::vector<std::byte> data;
        if (status == vmbus::BlockStatus::success && request.operation == Operation::read) {
            data.assign(content.begin() + static_cast<std::ptrdiff_t>(request.offset_bytes),
                        content.begin() + static_cast<std::ptrdiff_t>(request.offset_bytes + request.length_bytes));
        }
        if (status == vmbus::BlockStatus::success && request.operation == Operation::write) {
            std::copy(request.data.begin(), request.data.end(),
                      content.begin() + static_cast<std::ptrdiff_t>(request.offset_bytes));
        }
        if (client != nullptr) client->block_done(request.tag, status, std::move(data));
    }

    std::vector<std::byte> content;
    Geometry shape{content.size()};
    vmbus::BlockStatus status = vmbus::BlockStatus::success;
    vmbus::BlockClient* client = nullptr;
    std::deque<vmbus::BlockRequest> waiting;
    std::vector<vmbus::BlockRequest> log;
    sim::Timer timer;
};

struct IdeRig : pci_test::Rig {
    static constexpr unsigned master_port = 0xffa0;
    RecordedLine irq14, irq15;
    models::Piix4Ide ide{simulation.scope("ide"), root.bus().slot(7, 1), irq14, irq15};
    pci::RequesterId who = id(0, 7, 1);

    IdeRig() {
        set_config(who, 0x20, 4, master_port);
        set_config(who, pci::header::command, 2, pci::command::io_space | pci::command::bus_master);
    }
    std::uint32_t in(unsigned port, unsigned size = 1) {
        return static_cast<std::uint32_t>(root.read(pci::Space::io, port, size));
    }
    void out(unsigned port, std::uint32_t value, unsigned size = 1) { root.write(pci::Space::io, port, size, value); }
    void run_for(sim::Time time) { simulation.agenda().run_until(simulation.agenda().now() + time); }

    // Registers 1 to 6 and the command, at the primary channel.
    void command(std::uint8_t code, std::uint8_t count = 0, std::uint32_t lba28 = 0, std::uint8_t features = 0,
                 std::uint8_t device = 0x40) {
        out(0x1f1, features);
        out(0x1f2, count);
        out(0x1f3, lba28 & 0xff);
        out(0x1f4, lba28 >> 8 & 0xff);
        out(0x1f5, lba28 >> 16 & 0xff);
        out(0x1f6, device | (lba28 >> 24 & 0xf));
        out(0x1f7, code);
    }
    void command48(std::uint8_t code, std::uint16_t count, std::uint64_t lba, std::uint8_t features = 0) {
        out(0x1f6, 0x40);
        out(0x1f1, features);
        out(0x1f2, count >> 8);
        for (unsigned i = 0; i < 3; ++i) out(0x1f3 + i, lba >> (24 + 8 * i) & 0xff);
        out(0x1f2, count & 0xff);
        for (unsigned i = 0; i < 3; ++i) out(0x1f3 + i, lba >> 8 * i & 0xff);
        out(0x1f7, code);
    }
    std::vector<std::byte> read_data(std::size_t bytes) {
        std::vector<std::byte> data;
        for (std::size_t i = 0; i < bytes; i += 2) {
            const std::uint32_t word = in(0x1f0, 2);
            data.push_back(static_cast<std::byte>(word));
            data.push_back(static_cast<std::byte>(word >> 8));
        }
        return data;
    }
    void write_data(std::span<const std::byte> data) {
        for (std::size_t i = 0; i < data.size(); i += 2) {
            out(0x1f0, std::to_integer<unsigned>(data[i]) | std::to_integer<unsigned>(data[i + 1]) << 8, 2);
        }
    }
    void put(std::uint32_t address, std::initializer_list<std::uint32_t> words) {
        for (const std::uint32_t word : words) {
            std::memcpy(&host.memory[address], &word, sizeof word);
            address += 4;
        }
    }
    void start_master(bool to_memory, std::uint32_t table) {
        out(master_port + 4, table, 4);
        out(master_port, to_memory ? 8 : 0);
        out(master_port + 2, 0x66);
        out(master_port, to_memory ? 9 : 1);
    }
};

struct DiskRig : IdeRig {
    MemoryBlocks blocks{simulation.agenda(), 1u << 20};
    models::AtaDisk disk{simulation.scope("disk"), blocks};
    DiskRig() { ide.channel(0).attach(0, disk); }

    std::vector<std::byte> sectors(std::size_t first, std::size_t count) const {
        return {blocks.content.begin() + static_cast<std::ptrdiff_t>(512 * first),
                blocks.content.begin() + static_cast<std::ptrdiff_t>(512 * (first + count))};
    }
};

struct CdRig : IdeRig {
    MemoryBlocks disc{simulation.agenda(), 300 * 2048};
    models::AtapiCd cd{simulation.scope("cd")};
    CdRig() { ide.channel(0).attach(0, cd); }

    void packet(std::initializer_list<unsigned> bytes, std::uint16_t limit = 0xfffe, bool dma = false) {
        std::vector<std::byte> data;
        for (const unsigned byte : bytes) data.push_back(static_cast<std::byte>(byte));
        data.resize(12);
        command(0xa0, 0, std::uint32_t{limit} << 8, dma ? 1 : 0, 0);
        write_data(data);
    }
};

}  // namespace legacy_test
