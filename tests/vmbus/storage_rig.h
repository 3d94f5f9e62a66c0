// A disk with two initiators and a memory behind it, for tests of SCSI commands byte by byte.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "sim/check.h"
#include "sim/simulation.h"
#include "vmbus/storage/block_timing.h"
#include "vmbus/storage/byte_store.h"
#include "vmbus/storage/scsi_disk.h"

namespace vmbus::testing {

// "12 00 ff", and "00*16" for sixteen zeros.
inline std::vector<std::byte> hex(std::string_view text) {
    std::vector<std::byte> bytes;
    const auto digit = [](char c) { return c <= '9' ? c - '0' : c - 'a' + 10; };
    for (std::size_t at = 0; at < text.size();) {
        if (text[at] == ' ') {
            ++at;
            continue;
        }
        const auto value = static_cast<std::byte>(digit(text[at]) << 4 | digit(text[at + 1]));
        at += 2;
        std::size_t count = 1;
        if (at < text.size() && text[at] == '*') {
            for (count = 0, ++at; at < text.size() && text[at] != ' '; ++at) {
                count = count * 10 + static_cast<std::size_t>(text[at] - '0');
            }
        }
        bytes.insert(bytes.end(), count, value);
    }
    return bytes;
}

inline std::string to_hex(std::span<const std::byte> bytes) {
    std::string text;
    for (const std::byte b : bytes) {
        constexpr std::string_view digits = "0123456789abcdef";
        if (!text.empty()) text += ' ';
        text += digits[static_cast<unsigned>(b) >> 4];
        text += digits[static_cast<unsigned>(b) & 15];
    }
    return text;
}

inline scsi::Cdb cdb_from(std::string_view text) {
    scsi::Cdb cdb{};
    const auto bytes = hex(text);
    std::transform(bytes.begin(), bytes.end(), cdb.begin(), [](std::byte b) { return static_cast<std::uint8_t>(b); });
    return cdb;
}

class ScsiRecorder final : public ScsiInitiator {
public:
    std::map<std::uint64_t, ScsiResult> done;
    void scsi_done(std::uint64_t tag, ScsiResult result) override {
        VG_CHECK(done.emplace(tag, std::move(result)).second, "a command that is done twice");
    }
};

inline BlockDevice::Geometry small_disk() {
    return {.size_bytes = 1 << 20, .logical_sector_bytes = 512, .physical_sector_bytes = 4096, .unmap = true};
}
inline ScsiDiskConfig named_disk() {
    ScsiDiskConfig config;
    for (std::uint8_t n = 0; n < 16; ++n) config.disk_id[n] = static_cast<std::uint8_t>(0xa0 + n);
    config.serial = "VG-0001";
    return config;
}

struct ScsiRig {
    explicit ScsiRig(BlockDevice::Geometry geometry = small_disk(), ScsiDiskConfig config = named_disk(),
                     std::uint64_t seed = 1)
        : simulation(seed),
          store(geometry),
          timed(simulation.scope("disk.blocks"), store, {}),
          disk(simulation.scope("disk"), timed, std::move(config)) {
        for (std::size_t n = 0; n < store.bytes().size(); ++n) {
            store.bytes()[n] = static_cast<std::byte>(n / 512 * 7 + n % 512);
        }
        for (auto& recorder : recorders) disk.attach(recorder);
    }

    // As a driver does: with the data that the disk asks for, or with what the test gives instead.
    void start(std::uint64_t tag, std::string_view cdb, std::uint32_t buffer = 0, std::vector<std::byte> out = {},
               std::uint32_t initiator = 0) {
        ScsiCommand command{.tag = tag, .cdb = cdb_from(cdb), .buffer_bytes = buffer, .data_out = std::move(out)};
        if (auto result = disk.execute(initiator, command)) recorders[initiator].done.emplace(tag, std::move(*result));
    }
    ScsiResult run(std::string_view cdb, std::uint32_t buffer = 0, std::vector<std::byte> out = {},
                   std::uint32_t initiator = 0) {
        const std::uint64_t tag = next_tag++;
        start(tag, cdb, buffer, std::move(out), initiator);
        while (!recorders[initiator].done.contains(tag)) VG_CHECK(simulation.agenda().run_next(), "it never ends");
        return recorders[initiator].done.extract(tag).mapped();
    }

    sim::Simulation simulation;
    MemoryStore store;
    TimedDisk timed;
    ScsiDisk disk;
    std::array<ScsiRecorder, 3> recorders;
    std::uint64_t next_tag = 1'000'000;
};

}  // namespace vmbus::testing
