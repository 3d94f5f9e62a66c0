#include "models/validation/validate.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>

namespace models {

namespace {

constexpr ValidationSource sources[] = {
    {"ethernet", "packets per second of a wire", add_ethernet_rows},
    {"pcie", "what a PCI Express link carries", add_pcie_rows},
    {"3", "pcie-bench: DMA read bandwidth", add_dma_read_rows},
    {"4", "pcie-bench: DMA write bandwidth", add_dma_write_rows},
    {"5", "pcie-bench: latency of one DMA read", add_dma_latency_rows},
    {"6", "pcie-bench: memory of the other socket", add_remote_socket_rows},
    {"7", "pcie-bench: reads through the IOMMU", add_iommu_rows},
    {"9", "sending by polling, one core", add_polling_rows},
    {"10", "the same, frames in batches", add_batch_rows},
    {"11", "interrupt moderation of the 82599", add_moderation_rows},
    {"12", "receive buffer of the 82599", add_receive_buffer_rows},
    {"13", "round trips: virtual function, synthetic path", add_round_trip_rows},
    {"14", "frames of 64 bytes, one guest", add_frame_rate_rows},
    {"15", "streams by the synthetic path", add_synthetic_stream_rows},
    {"16", "a stream by virtual function", add_vf_stream_rows},
    {"17", "what a core of the root receives for a guest", add_root_core_rows},
    {"18", "exits to the hypervisor and to the root", add_exit_rows},
    {"19", "exits for CPUID", add_cpuid_rows},
    {"21", "interrupts with exits and without", add_exitless_interrupt_rows},
    {"22", "memory references of a two-dimensional walk", add_walk_rows},
    {"23", "traffic between virtual functions", add_vf_to_vf_rows},
    {"24", "a virtual function taken and given back under load", add_revocation_rows},
    {"25", "many guests on one wire", add_consolidation_rows},
};

const char* name_of(Basis basis) {
    switch (basis) {
        case Basis::analytic:
            return "analytic";
        case Basis::calibrated:
            return "calibrated";
        case Basis::predicted:
            return "predicted";
    }
    return "?";
}

// Thousandths, with as many decimals as are needed up to three.
std::string decimal(std::int64_t thousandths, bool sign = false) {
    const std::uint64_t size =
        thousandths < 0 ? 0 - static_cast<std::uint64_t>(thousandths) : static_cast<std::uint64_t>(thousandths);
    std::string text = fmt::format("{}{}", thousandths < 0 ? "-" : sign ? "+" : "", size / 1000);
    if (size % 1000 != 0) {
        std::string rest = fmt::format(".{:03}", size % 1000);
        while (rest.back() == '0') rest.pop_back();
        text += rest;
    }
    return text;
}

// Hundredths of a per cent of the published value; of zero the difference itself.
std::string error_text(const ValidationRow& row) {
    if (row.published == 0) return decimal(row.error(), true) + " " + row.unit;
    const std::int64_t size = row.published < 0 ? -row.published : row.published;
    const std::int64_t hundredths = (row.error() * 20000 / size + (row.error() < 0 ? -1 : 1)) / 2;
    return decimal(hundredths * 10, true) + " %";
}

std::string summary(const ValidationRows& rows) {
    const auto count = [&](Basis basis, bool passed_only) {
        return std::ranges::count_if(
            rows, [&](const ValidationRow& row) { return row.basis == basis && (!passed_only || row.passed()); });
    };
    std::string text;
    for (const Basis basis : {Basis::analytic, Basis::calibrated, Basis::predicted}) {
        if (count(basis, false) == 0) continue;
        text += fmt::format("{}{} of {} {}", text.empty() ? "" : ", ", count(basis, true), count(basis, false),
                            name_of(basis));
    }
    return text;
}

std::string table(const ValidationRows& rows) {
    std::size_t width = 0;
    for (const ValidationRow& row : rows) width = std::max(width, row.what.size());
    std::string text;
    std::string last;
    std::size_t missed = 0;
    for (const ValidationRow& row : rows) {
        if (row.row != last) {
            text += fmt::format("{}row {}: {}\n", text.empty() ? "" : "\n", row.row, row.source);
            text += fmt::format("      {:<{}} {:>14} {:>14} {:>12} {:>12}\n", "", width, "published", "simulated",
                                "error", "tolerance");
            last = row.row;
        }
        text += fmt::format("  {} {:<{}} {:>14} {:>14} {:>12} {:>12}  {}  {}\n", row.passed() ? "ok " : "OFF", row.what,
                            width, decimal(row.published), decimal(row.simulated), error_text(row),
                            decimal(row.tolerance), row.unit, name_of(row.basis));
        if (!row.passed()) ++missed;
    }
    text += fmt::format("\n{} figures, {} within their tolerance, {} not: {}\n", rows.size(), rows.size() - missed,
                        missed, summary(rows));
    return text;
}

std::string quoted(const std::string& text, char escape = '\\') {
    std::string out = "\"";
    for (const char c : text) {
        if (c == '"' || c == escape) out += escape;
        out += c;
    }
    return out + "\"";
}

std::string csv(const ValidationRows& rows) {
    std::string text = "row,what,unit,published,simulated,tolerance,passed,basis,source\n";
    for (const ValidationRow& row : rows) {
        text += fmt::format("{},{},{},{},{},{},{},{},{}\n", row.row, quoted(row.what, '"'), row.unit,
                            decimal(row.published), decimal(row.simulated), decimal(row.tolerance),
                            row.passed() ? 1 : 0, name_of(row.basis), quoted(row.source, '"'));
    }
    return text;
}

std::string json(const ValidationRows& rows) {
    std::string text = "[";
    for (const ValidationRow& row : rows) {
        text += fmt::format(
            "{}\n  {{\"row\": {}, \"what\": {}, \"unit\": {}, \"published\": {}, \"simulated\": {}, "
            "\"tolerance\": {}, \"passed\": {}, \"basis\": \"{}\", \"source\": {}}}",
            text.size() == 1 ? "" : ",", quoted(row.row), quoted(row.what), quoted(row.unit), decimal(row.published),
            decimal(row.simulated), decimal(row.tolerance), row.passed() ? "true" : "false", name_of(row.basis),
            quoted(row.source));
    }
    return text + "\n]\n";
}

// For docs/validation.md.
std::string markdown(const ValidationRows& rows) {
    std::string text;
    std::string last;
    for (const ValidationRow& row : rows) {
        if (row.row != last) {
            const auto source =
                std::ranges::find_if(sources, [&](const ValidationSource& one) { return row.row == one.row; });
            const bool numbered = row.row.find_first_not_of("0123456789") == row.row.npos;
            text += fmt::format("{}**{}{}**{}\n\n", text.empty() ? "" : "\n", numbered ? "Row " : "", row.row,
                                source == std::end(sources) ? "" : std::string{": "} + source->description);
            text += "| what | unit | published | simulated | error | tolerance | basis | source |\n";
            text += "|---|---|---|---|---|---|---|---|\n";
            last = row.row;
        }
        text += fmt::format("| {} | {} | {} | {} | {}{} | {} | {} | {} |\n", row.what, row.unit, decimal(row.published),
                            decimal(row.simulated), error_text(row), row.passed() ? "" : ", **off**",
                            decimal(row.tolerance), name_of(row.basis), row.source);
    }
    return text;
}

}  // namespace

ValidationRows validation_rows(const std::string& row) {
    ValidationRows rows;
    for (const ValidationSource& source : sources) {
        if (row.empty() || row == source.row) source.add(rows);
    }
    return rows;
}

std::string validation_names() {
    std::string names;
    for (const ValidationSource& source : sources) {
        names += fmt::format("{}{}: {}", names.empty() ? "" : "; ", source.row, source.description);
    }
    return names;
}

std::string validation_text(const ValidationRows& rows, ValidationFormat format) {
    switch (format) {
        case ValidationFormat::table:
            return table(rows);
        case ValidationFormat::csv:
            return csv(rows);
        case ValidationFormat::json:
            return json(rows);
        case ValidationFormat::markdown:
            return markdown(rows);
    }
    return {};
}

int validate(const std::string& row, const std::string& format) {
    const ValidationRows rows = validation_rows(row);
    if (rows.empty()) {
        std::string names;
        for (const ValidationSource& source : sources)
            names += fmt::format("{}{}", names.empty() ? "" : ", ", source.row);
        fmt::print(stderr, "verdigris: there is no row {}: {} (./verdigris validate --help says what they are)\n", row,
                   names);
        return 2;
    }
    ValidationFormat wanted = ValidationFormat::table;
    if (format == "csv") wanted = ValidationFormat::csv;
    if (format == "json") wanted = ValidationFormat::json;
    if (format == "markdown") wanted = ValidationFormat::markdown;
    fmt::print("{}", validation_text(rows, wanted));
    return std::all_of(rows.begin(), rows.end(), [](const ValidationRow& each) { return each.passed(); }) ? 0 : 1;
}

}  // namespace models
