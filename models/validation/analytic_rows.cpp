// Rows that follow from the standards: how many frames a wire carries, and how many bytes a PCI Express link.
#include <fmt/format.h>

#include "models/network/wire.h"
#include "models/validation/validation_row.h"
#include "pci/link_rate.h"

namespace models {

void add_ethernet_rows(ValidationRows& rows) {
    struct Published {
        std::uint64_t gigabits;
        std::uint64_t frame;  // with its check sequence
        std::int64_t packets_per_second;
    };
    static constexpr Published published[] = {
        {10, 64, 14'880'952},  {10, 512, 2'349'624}, {10, 1518, 812'744},  {25, 64, 37'202'381},  {25, 512, 5'874'060},
        {25, 1518, 2'031'860}, {40, 64, 59'523'810}, {40, 512, 9'398'496}, {40, 1518, 3'250'975},
    };
    for (const Published& one : published) {
        const std::uint64_t bits = 8 * (one.frame + Wire::preamble_bytes + Wire::gap_bytes);
        const std::uint64_t rate = one.gigabits * 1'000'000'000;
        const auto pps = static_cast<std::int64_t>((rate + bits / 2) / bits);
        rows.push_back({"ethernet", fmt::format("{} Gb/s, frames of {} bytes", one.gigabits, one.frame), "packets/s",
                        one.packets_per_second * 1000, pps * 1000, 0, Basis::analytic,
                        "IEEE 802.3: preamble 8, gap 12"});
    }
}

namespace {

struct AnalyticLink {
    const char* name;
    unsigned generation;
    unsigned max_payload;
    std::int64_t raw;  // thousandths of Gb/s
    std::int64_t usable;
    struct Cell {
        std::uint32_t bytes;
        std::int64_t write, read, both;
    } cells[5];
};

constexpr AnalyticLink analytic_links[] = {
    {"gen3 x8, MPS 256",
     3,
     256,
     63'015,
     57'885,
     {{64, 42'100, 44'100, 33'080},
      {256, 52'920, 53'690, 48'750},
      {257, 48'780, 50'090, 45'220},
      {512, 52'920, 53'690, 50'750},
      {1500, 52'810, 53'600, 50'600}}},
    {"gen2 x8, MPS 256",
     2,
     256,
     32'000,
     28'676,
     {{64, 20'860, 21'850, 16'390},
      {256, 26'220, 26'600, 24'150},
      {257, 24'160, 24'810, 22'400},
      {512, 26'220, 26'600, 25'140},
      {1500, 26'160, 26'550, 25'070}}},
    {"gen2 x8, MPS 128",
     2,
     128,
     32'000,
     27'578,
     {{64, 20'060, 21'010, 15'760},
      {256, 23'220, 23'850, 21'520},
      {257, 21'540, 22'360, 20'080},
      {512, 23'220, 23'850, 22'340},
      {1500, 23'140, 23'770, 22'240}}},
};

// Bits per second to thousandths of Gb/s with so many decimals.
std::int64_t gigabits(std::uint64_t bits_per_second, unsigned decimals) {
    const std::uint64_t unit = decimals == 3 ? 1'000'000 : 10'000'000;
    return static_cast<std::int64_t>((bits_per_second + unit / 2) / unit * (unit / 1'000'000));
}

}  // namespace

namespace {

// A pair of packets, one each way, costs the device's direction of the link, as the authors count: both directions at
// once of a two-port 82599 whose driver polls. Frames lie in memory without their check sequence; up to 40 transmit
// descriptors come with a fetch and eight go back at once; receive descriptors come and go one by one.
void add_dual_port_rows(ValidationRows& rows) {
    constexpr std::uint64_t buffer = std::uint64_t{1} << 32;
    constexpr std::uint32_t descriptor = 16, fetched = 40, written_back = 8, frame = 64, check_sequence = 4;
    const std::uint32_t guide = pci::ack_limit_x8(2, 256);
    const pci::LinkRate rate{2, 8, guide, guide};
    pci::PacketLimits limits;
    limits.max_payload = 256;
    const auto written = [&](std::uint32_t bytes) { return pci::write_packets(limits, buffer, bytes).bytes; };
    const auto asked = [&](std::uint32_t bytes) {
        std::uint64_t wire = 0;
        for (std::uint32_t done = 0; done < bytes; done += limits.max_read_request) {
            wire += pci::request_overhead(buffer, std::min(bytes - done, limits.max_read_request));
        }
        return wire;
    };
    const std::uint32_t data = frame - check_sequence;
    // For forty pairs, so that all are whole.
    const std::uint64_t sent = fetched * asked(data) + asked(fetched * descriptor) +
                               fetched / written_back * written(written_back * descriptor);
    const std::uint64_t received = fetched * (written(data) + written(descriptor));
    const std::uint64_t receive_descriptors = fetched * asked(descriptor);
    const pci::ByteRate usable = pci::usable_rate(rate);
    const auto add = [&](const char* what, std::int64_t published, std::uint64_t wire) {
        // Thousandths of millions of packets a second, to the hundredth.
        const std::uint64_t pps = usable.payload_bits_per_second(fetched, wire) / 8;
        rows.push_back({"pcie", fmt::format("gen2 x8, MPS 256: two ports, 64-byte frames both ways, {}", what), "Mpps",
                        published, static_cast<std::int64_t>((pps + 5000) / 10'000 * 10), 0, Basis::analytic,
                        "Neugebauer et al., SIGCOMM 2018, and the authors' model"});
    };
    add("polled", 18'650, sent + received + receive_descriptors);
    add("and receive descriptors that cost nothing", 21'310, sent + received);
    // One port's 14.88 Mpps each way are below both: the link does not bound it.
}

}  // namespace

void add_pcie_rows(ValidationRows& rows) {
    constexpr std::uint64_t buffer = std::uint64_t{1} << 32;  // 64-bit addresses
    const char* source = "Neugebauer et al., SIGCOMM 2018, and the authors' model";
    for (const AnalyticLink& link : analytic_links) {
        const std::uint32_t guide = pci::ack_limit_x8(link.generation, link.max_payload);
        const pci::LinkRate rate{link.generation, 8, guide, guide};
        pci::PacketLimits limits;
        limits.max_payload = link.max_payload;
        limits.completion_bytes = limits.short_completion_bytes = link.max_payload;
        const pci::ByteRate usable = pci::usable_rate(rate);
        const auto add = [&](const std::string& what, std::int64_t published, std::int64_t simulated) {
            rows.push_back({"pcie", fmt::format("{}: {}", link.name, what), "Gb/s", published, simulated, 0,
                            Basis::analytic, source});
        };
        add("raw", link.raw, gigabits(pci::raw_rate(rate).payload_bits_per_second(1, 1), 3));
        add("usable", link.usable, gigabits(usable.payload_bits_per_second(1, 1), 3));
        for (const AnalyticLink::Cell& cell : link.cells) {
            const std::uint64_t written = pci::write_packets(limits, buffer, cell.bytes).bytes;
            std::uint64_t asked = 0;
            std::uint64_t answered = 0;
            for (std::uint32_t done = 0; done < cell.bytes; done += limits.max_read_request) {
                const std::uint32_t part = std::min(cell.bytes - done, limits.max_read_request);
                asked += pci::request_overhead(buffer, part);
                answered += pci::completion_packets(limits, buffer + done, part).bytes;
            }
            const auto rate_of = [&](std::uint64_t wire) {
                return gigabits(usable.payload_bits_per_second(cell.bytes, wire), 2);
            };
            add(fmt::format("write {} bytes", cell.bytes), cell.write, rate_of(written));
            add(fmt::format("read {} bytes", cell.bytes), cell.read, rate_of(std::max(asked, answered)));
            add(fmt::format("both {} bytes", cell.bytes), cell.both, rate_of(std::max(written + asked, answered)));
        }
    }
    add_dual_port_rows(rows);
}

}  // namespace models
