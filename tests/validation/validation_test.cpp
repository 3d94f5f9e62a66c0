// Every published figure is reproduced within its tolerance; what the command prints; what the documents say.
#include <doctest/doctest.h>

#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <map>
#include <sstream>
#include <string>

#include "models/validation/nic_path.h"
#include "models/validation/pciebench_profile.h"
#include "models/validation/validate.h"

namespace validation_test {

using models::Basis;
using models::ValidationFormat;
using models::ValidationRow;

namespace {

const models::ValidationRows& all_rows() {
    static const models::ValidationRows rows = models::validation_rows("");
    return rows;
}

std::string document(const std::string& name) {
    std::ifstream file{VG_SOURCE_DIR "/docs/" + name};
    std::stringstream text;
    text << file.rdbuf();
    return text.str();
}

}  // namespace

TEST_CASE("published figures are within their tolerance, or a section of docs/validation.md says why not") {
    CHECK(all_rows().size() >= 145);
    const std::string page = document("validation.md");
    for (const ValidationRow& row : all_rows()) {
        const bool explained = page.find("\n### Row " + row.row + ":") != std::string::npos;
        CHECK_MESSAGE((row.passed() || explained), row.row, ": ", row.what, ": published ", row.published,
                      ", simulated ", row.simulated);
        if (row.basis == Basis::analytic) CHECK(row.tolerance == 0);
    }
}

TEST_CASE("of the published rows at least three quarters are predicted") {
    std::map<std::string, bool> predicted;
    std::size_t calibrated_figures = 0, predicted_figures = 0;
    for (const ValidationRow& row : all_rows()) {
        if (row.basis == Basis::predicted) {
            ++predicted_figures;
            predicted[row.row] = true;
        } else if (row.basis == Basis::calibrated) {
            ++calibrated_figures;
            predicted.try_emplace(row.row, false);
        }
    }
    const auto count = std::ranges::count_if(predicted, [](const auto& row) { return row.second; });
    CHECK(count * 4 >= static_cast<std::ptrdiff_t>(predicted.size()) * 3);
    CHECK(predicted_figures * 4 >= (predicted_figures + calibrated_figures) * 3);
}

TEST_CASE("docs/validation.md shows what is printed") {
    const std::string page = document("validation.md"), begin = "<!-- figures: begin -->\n",
                      end = "<!-- figures: end -->";
    const std::size_t first = page.find(begin), last = page.find(end);
    REQUIRE(first != std::string::npos);
    REQUIRE(last != std::string::npos);
    const std::string printed = models::validation_text(all_rows(), ValidationFormat::markdown);
    const bool in_step = page.substr(first + begin.size(), last - first - begin.size()) == printed;
    if (!in_step) {
        const std::string path = std::string{VG_BINARY_DIR} + "/validation-figures.md";
        std::ofstream{path} << printed;
        MESSAGE("put the text of " << path << " between the marks in docs/validation.md");
    }
    CHECK(in_step);
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
          "\n2 figures, 1 within their tolerance, 1 not: 0 of 1 calibrated, 1 of 1 predicted\n");
    CHECK(models::validation_text(rows, ValidationFormat::csv) ==
          "row,what,unit,published,simulated,tolerance,passed,basis,source\n"
          "9,\"rate\",Gb/s,32.1,31.923,3.21,1,predicted,\"somebody\"\n"
          "9,\"change\",%,0,-1.5,1,0,calibrated,\"somebody\"\n");
    CHECK(models::validation_text({{"9", "a \"b\" \\", "%", 0, 0, 0, Basis::analytic, "c\""}}, ValidationFormat::csv) ==
          "row,what,unit,published,simulated,tolerance,passed,basis,source\n"
          "9,\"a \"\"b\"\" \\\",%,0,0,0,1,analytic,\"c\"\"\"\n");
    CHECK(models::validation_text({rows[1]}, ValidationFormat::json) ==
          "[\n  {\"row\": \"9\", \"what\": \"change\", \"unit\": \"%\", \"published\": 0, \"simulated\": -1.5, "
          "\"tolerance\": 1, \"passed\": false, \"basis\": \"calibrated\", \"source\": \"somebody\"}\n]\n");
}

TEST_CASE("what the page shows") {
    CHECK(models::validation_text({{"9", "rate", "Gb/s", 32'100, 31'923, 3'210, Basis::predicted, "somebody"},
                                   {"9", "change", "%", 0, -1'500, 1'000, Basis::calibrated, "somebody"}},
                                  ValidationFormat::markdown) ==
          "**Row 9**: sending by polling, one core\n\n"
          "| what | unit | published | simulated | error | tolerance | basis | source |\n"
          "|---|---|---|---|---|---|---|---|\n"
          "| rate | Gb/s | 32.1 | 31.923 | -0.55 % | 3.21 | predicted | somebody |\n"
          "| change | % | 0 | -1.5 | -1.5 %, **off** | 1 | calibrated | somebody |\n");
}

TEST_CASE("docs/timing.md lists the constants of the pcie-bench hosts") {
    std::string table = "| constant | value | origin | what | source |\n|---|---|---|---|---|\n";
    for (const models::PciebenchConstant& one : models::pciebench::constants) {
        table += fmt::format("| `{}` | {}{}{} | {} | {} | {} |\n", one.name, one.value, *one.unit != 0 ? " " : "",
                             one.unit, one.origin, one.what, one.source);
    }
    const bool listed = document("timing.md").find(table) != std::string::npos;
    CHECK_MESSAGE(listed, "docs/timing.md should hold:\n", table);
}

}  // namespace validation_test
