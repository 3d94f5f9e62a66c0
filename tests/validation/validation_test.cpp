// Every published figure is reproduced within its tolerance; what the command prints; what the documents say.
#include <doctest/doctest.h>

#include <fmt/format.h>

#include <fstream>
#include <sstream>

#include "models/validation/nic_path.h"
#include "models/validation/pciebench_profile.h"
#include "models/validation/validate.h"

using models::Basis;
using models::ValidationFormat;
using models::ValidationRow;

TEST_CASE("published figures are within their tolerance") {
    const models::ValidationRows rows = models::validation_rows("");
    CHECK(rows.size() >= 119);
    for (const ValidationRow& row : rows) {
        CHECK_MESSAGE(row.passed(), row.row, ": ", row.what, ": published ", row.published, ", simulated ",
                      row.simulated);
        if (row.basis == Basis::analytic) CHECK(row.tolerance == 0);
    }
}

TEST_CASE("rows are chosen by the number of the published result") {
    CHECK(models::validation_rows("4").size() == 12);
    CHECK(models::validation_rows("ethernet").size() == 9);
    CHECK(models::validation_rows("none").empty());
    CHECK(models::validate("none", "table") == 2);
}

TEST_CASE("frames go the whole way of virtual functions: line rate, and interrupts") {
    struct Row {
        models::NicWay way;
        std::uint32_t bytes;
        unsigned vfs;
        std::uint64_t least_pps;
    };
    for (const Row& row :
         {Row{models::NicWay::vf_to_wire, 64, 1, 14'860'000}, Row{models::NicWay::wire_to_vf, 64, 4, 14'860'000},
          Row{models::NicWay::vf_to_wire, 1518, 63, 812'000}, Row{models::NicWay::vf_to_vf, 64, 2, 14'880'000}}) {
        const models::NicPathRow path = models::run_nic_path(row.way, row.bytes, row.vfs, 5000);
        CHECK(path.frames * 1'000'000'000'000 / path.simulated_ps >= row.least_pps);
        CHECK(path.interrupts > 0);
        CHECK(path.dma_operations > path.frames);
        CHECK(models::run_nic_path(row.way, row.bytes, row.vfs, 5000).events == path.events);
    }
}

TEST_CASE("what is printed") {
    const models::ValidationRows rows = {
        {"9", "rate", "Gb/s", 32'100, 31'923, 3'210, Basis::predicted, "somebody"},
        {"9", "change", "%", 0, -1'500, 1'000, Basis::calibrated, "somebody"},
    };
    CHECK(rows[0].passed());
    CHECK_FALSE(rows[1].passed());
    CHECK(models::validation_text(rows, ValidationFormat::table) ==
          "row 9: somebody\n"
          "                  published      simulated        error    tolerance\n"
          "  ok  rate             32.1         31.923      -0.55 %         3.21  Gb/s  predicted\n"
          "  OFF change              0           -1.5       -1.5 %            1  %  calibrated\n"
          "\n2 figures, 1 within their tolerance, 1 not\n");
    CHECK(models::validation_text(rows, ValidationFormat::csv) ==
          "row,what,unit,published,simulated,tolerance,passed,basis,source\n"
          "9,\"rate\",Gb/s,32.1,31.923,3.21,1,predicted,\"somebody\"\n"
          "9,\"change\",%,0,-1.5,1,0,calibrated,\"somebody\"\n");
    CHECK(models::validation_text({rows[1]}, ValidationFormat::json) ==
          "[\n  {\"row\": \"9\", \"what\": \"change\", \"unit\": \"%\", \"published\": 0, \"simulated\": -1.5, "
          "\"tolerance\": 1, \"passed\": false, \"basis\": \"calibrated\", \"source\": \"somebody\"}\n]\n");
}

TEST_CASE("docs/timing.md lists the constants of the pcie-bench hosts") {
    std::string table = "| constant | value | origin | what | source |\n|---|---|---|---|---|\n";
    for (const models::PciebenchConstant& one : models::pciebench::constants) {
        table += fmt::format("| `{}` | {}{}{} | {} | {} | {} |\n", one.name, one.value, *one.unit != 0 ? " " : "",
                             one.unit, one.origin, one.what, one.source);
    }
    std::ifstream file{VG_SOURCE_DIR "/docs/timing.md"};
    std::stringstream text;
    text << file.rdbuf();
    const bool listed = text.str().find(table) != std::string::npos;
    CHECK_MESSAGE(listed, "docs/timing.md should hold:\n", table);
}
