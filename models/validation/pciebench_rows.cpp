// Rows 3 to 7: what pcie-bench measured, and what the model of its device and hosts gives.
#include <fmt/format.h>

#include "models/validation/pciebench.h"
#include "models/validation/validation_row.h"

namespace models {

namespace {

using Operation = PciebenchOperation;
constexpr const char* paper = "Neugebauer et al., SIGCOMM 2018: pcie-bench on NetFPGA";
constexpr const char* points = "pcie-bench's raw points";

// Thousandths of per cent from `before` to `after`.
std::int64_t change(std::int64_t before, std::int64_t after) {
    return (after - before) * 100'000 / before;
}

std::int64_t nanoseconds(std::int64_t ps) {
    return ps;  // thousandths of ns
}

struct Bandwidth {
    std::uint32_t bytes;
    std::int64_t published;
    std::int64_t percent;
    Basis basis;
};

void add_bandwidths(ValidationRows& rows, const char* row, const char* source, Operation operation,
                    std::initializer_list<Bandwidth> published) {
    for (const Bandwidth& one : published) {
        rows.push_back({row,
                        fmt::format("DMA {} of {} bytes{}", operation == Operation::dma_write ? "writes" : "reads",
                                    one.bytes, source == points ? ", raw point" : ""),
                        "Gb/s", one.published, pciebench_bandwidth(operation, one.bytes, {}),
                        percent_of(one.published, one.percent), one.basis, source});
    }
}

}  // namespace

void add_dma_read_rows(ValidationRows& rows) {
    add_bandwidths(rows, "3", paper, Operation::dma_read,
                   {{64, 32'100, 10, Basis::calibrated},
                    {128, 43'500, 5, Basis::predicted},
                    {256, 47'800, 5, Basis::calibrated},
                    {257, 39'000, 5, Basis::calibrated},
                    {512, 55'700, 5, Basis::predicted},
                    {2048, 55'600, 5, Basis::predicted}});
    add_bandwidths(rows, "3", points, Operation::dma_read,
                   {{32, 16'769, 10, Basis::predicted},
                    {513, 42'883, 10, Basis::predicted},
                    {768, 48'703, 10, Basis::predicted},
                    {1024, 50'055, 10, Basis::predicted},
                    {1536, 55'461, 10, Basis::predicted}});
}

void add_dma_write_rows(ValidationRows& rows) {
    add_bandwidths(rows, "4", paper, Operation::dma_write,
                   {{64, 24'300, 5, Basis::calibrated},
                    {128, 42'400, 5, Basis::calibrated},
                    {256, 50'500, 5, Basis::predicted},
                    {257, 37'400, 5, Basis::calibrated},
                    {512, 54'400, 5, Basis::predicted}});
    add_bandwidths(rows, "4", points, Operation::dma_write,
                   {{16, 6'091, 5, Basis::predicted},
                    {384, 49'914, 5, Basis::predicted},
                    {513, 46'112, 5, Basis::predicted},
                    {640, 51'527, 5, Basis::predicted},
                    {1024, 54'445, 5, Basis::predicted},
                    {1025, 51'351, 5, Basis::predicted},
                    {2048, 54'445, 5, Basis::predicted}});
}

void add_dma_latency_rows(ValidationRows& rows) {
    for (const std::uint32_t bytes : {8u, 64u, 128u, 256u, 512u, 1024u, 1520u, 2048u}) {
        const std::int64_t published = 554'000 + bytes * 2945 / 10;
        rows.push_back({"5", fmt::format("one DMA read of {} bytes", bytes), "ns", published,
                        nanoseconds(pciebench_latency(Operation::dma_read, bytes, {})), percent_of(published, 5),
                        bytes == 8 ? Basis::calibrated : Basis::predicted, paper});
    }
    PciebenchSetting cold;
    cold.warm = false;
    const auto command = [&](const char* what, std::int64_t published, const PciebenchSetting& setting,
                             std::uint32_t bytes, Basis basis) {
        rows.push_back({"5", what, "ns", published,
                        nanoseconds(pciebench_latency(Operation::command_read, bytes, setting)),
                        percent_of(published, 5), basis, paper});
    };
    command("command read of 8 bytes, from cache", 413'000, {}, 8, Basis::calibrated);
    command("command read of 8 bytes, from memory", 480'000, cold, 8, Basis::calibrated);
    command("command read of 64 bytes, from cache, raw point", 436'200, {}, 64, Basis::predicted);
    command("command read of 64 bytes, from memory, raw point", 490'000, cold, 64, Basis::predicted);
}

void add_remote_socket_rows(ValidationRows& rows) {
    PciebenchSetting remote;
    remote.remote = true;
    const auto latency = [](const PciebenchSetting& setting, std::uint32_t bytes) {
        return pciebench_latency(Operation::dma_read, bytes, setting);
    };
    rows.push_back({"6", "more latency of a 64-byte read", "ns", 115'000,
                    nanoseconds(latency(remote, 64) - latency({}, 64)), 11'500, Basis::calibrated, paper});
    const auto lost = [&](std::uint32_t bytes) {
        return change(pciebench_bandwidth(Operation::dma_read, bytes, {}),
                      pciebench_bandwidth(Operation::dma_read, bytes, remote));
    };
    rows.push_back(
        {"6", "64-byte reads, change of bandwidth", "%", -21'000, lost(64), 2'100, Basis::calibrated, paper});
    rows.push_back({"6", "16-byte reads, raw point", "Gb/s", 6'503,
                    pciebench_bandwidth(Operation::dma_read, 16, remote), percent_of(6'503, 5), Basis::predicted,
                    paper});
    rows.push_back({"6", "512-byte reads, raw point", "Gb/s", 55'344,
                    pciebench_bandwidth(Operation::dma_read, 512, remote), percent_of(55'344, 5), Basis::predicted,
                    paper});
}

void add_iommu_rows(ValidationRows& rows) {
    const auto setting = [](std::uint64_t window, bool iommu, bool super_pages = false) {
        PciebenchSetting it;
        it.window_bytes = window;
        it.iommu = iommu;
        it.super_pages = super_pages;
        return it;
    };
    constexpr std::uint64_t kib = 1024;
    constexpr std::uint64_t mib = 1024 * kib;
    const auto read = [](std::uint32_t bytes, const PciebenchSetting& it) {
        return pciebench_bandwidth(Operation::dma_read, bytes, it);
    };
    const auto command = [](const PciebenchSetting& it) { return pciebench_latency(Operation::command_read, 64, it); };
    rows.push_back({"7", "64-byte reads over 256 KiB (64 pages), change by the IOMMU", "%", 0,
                    change(read(64, setting(256 * kib, false)), read(64, setting(256 * kib, true))), 1'000,
                    Basis::predicted, paper});
    rows.push_back({"7", "64-byte reads over 64 MiB with super-pages, change by the IOMMU", "%", 0,
                    change(read(64, setting(64 * mib, false)), read(64, setting(64 * mib, true, true))), 1'000,
                    Basis::predicted, paper});
    // The published costs of a miss are 240 to 306 ns, by access; their middle, and 10 % beyond the ends.
    rows.push_back({"7", "more latency of a miss (64 MiB against no IOMMU)", "ns", 273'000,
                    nanoseconds(command(setting(64 * mib, true)) - command(setting(64 * mib, false))), 57'000,
                    Basis::calibrated, paper});
    rows.push_back({"7", "64-byte reads over 64 MiB, no IOMMU", "Gb/s", 28'000, read(64, setting(64 * mib, false)),
                    percent_of(28'000, 15), Basis::predicted, paper});
    rows.push_back({"7", "64-byte reads over 64 MiB", "Gb/s", 9'200, read(64, setting(64 * mib, true)),
                    percent_of(9'200, 15), Basis::calibrated, paper});
    const auto at_least = [&](std::uint32_t bytes, std::int64_t published_percent) {
        const std::int64_t without = read(bytes, setting(64 * mib, false));
        const std::int64_t published = without * (100 - published_percent) / 100;
        rows.push_back({"7", fmt::format("{}-byte reads over 64 MiB, {} % less than without", bytes, published_percent),
                        "Gb/s", published, read(bytes, setting(64 * mib, true)), percent_of(published, 15),
                        Basis::predicted, paper});
    };
    at_least(256, 32);
    at_least(512, 7);
    struct Window {
        std::uint64_t bytes;
        std::int64_t bandwidth;
        std::int64_t latency;
    };
    for (const Window& one : {Window{1 * mib, 15'166, 590'800}, Window{2 * mib, 11'549, 664'100},
                              Window{4 * mib, 10'042, 701'000}, Window{8 * mib, 9'396, 719'600}}) {
        const PciebenchSetting it = setting(one.bytes, true);
        rows.push_back({"7", fmt::format("64-byte reads over {} MiB, raw point", one.bytes / mib), "Gb/s",
                        one.bandwidth, read(64, it), percent_of(one.bandwidth, 15),
                        one.bytes == mib ? Basis::calibrated : Basis::predicted, paper});
        rows.push_back({"7", fmt::format("command read of 64 bytes over {} MiB, raw point", one.bytes / mib), "ns",
                        one.latency, nanoseconds(command(it)), percent_of(one.latency, 10),
                        one.bytes == mib ? Basis::calibrated : Basis::predicted, paper});
    }
}

}  // namespace models
