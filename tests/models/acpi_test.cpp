// AML encoding byte by byte, table headers and checksums, and the whole through ACPICA's own compiler if it is there.
#include "models/acpi/tables.h"

#include <doctest/doctest.h>

#include <string>

#include "models/acpi/aml.h"
#include "sim/check.h"
#include "tests/models/acpi_rig.h"

namespace acpi_test {

namespace {

using namespace acpi_rig;

unsigned sum(const Bytes& bytes, std::size_t first, std::size_t count) {
    unsigned total = 0;
    for (std::size_t i = 0; i < count; ++i) total += std::to_integer<unsigned>(bytes.at(first + i));
    return total & 0xff;
}

models::acpi::Config config_of(std::uint32_t processors) {
    models::acpi::Config config;
    for (std::uint32_t i = 0; i < processors; ++i) config.processors.push_back({i, i % 2});
    config.layout = models::MemoryLayout::of_size(512ull << 20);
    return config;
}

}  // namespace

TEST_CASE("AML terms, byte by byte") {
    namespace aml = models::aml;
    struct Row {
        const char* why;
        Bytes bytes;
        const char* expected;
    };
    for (const Row& row : {
             Row{"integers take the shortest form", aml::integer(0), "00"},
             Row{"one", aml::integer(1), "01"},
             Row{"byte", aml::integer(2), "0a02"},
             Row{"byte", aml::integer(0xff), "0aff"},
             Row{"word", aml::integer(0x100), "0b0001"},
             Row{"dword", aml::integer(0x10000), "0c00000100"},
             Row{"qword", aml::integer(0x1'0000'0000), "0e0000000001000000"},
             Row{"string", aml::string("AB"), "0d414200"},
             Row{"EISA id PNP0501 is 41 d0 05 01", aml::eisa_id("PNP0501"), "0c41d00501"},
             Row{"EISA id PNP0B00", aml::eisa_id("PNP0B00"), "0c41d00b00"},
             Row{"short name is padded", aml::name_string("\\_S5"), "5c5f53355f"},
             Row{"root", aml::name_string("\\"), "5c00"},
             Row{"parent", aml::name_string("^ABCD"), "5e41424344"},
             Row{"two segments", aml::name_string("\\_SB.PWRB"), "5c2e5f53425f50575242"},
             Row{"three segments", aml::name_string("A.B.C"), "2f03415f5f5f425f5f5f435f5f5f"},
             Row{"length, one byte", aml::package_length(0x3e), "3f"},
             Row{"length, two bytes", aml::package_length(0x3f), "4104"},
             Row{"length, two bytes, most", aml::package_length(0xffd), "4fff"},
             Row{"length, three bytes", aml::package_length(0xffe), "810001"},
             Row{"length, four bytes", aml::package_length(0x100000), "c4000001"},
             Row{"package", aml::package({aml::integer(5), aml::integer(0)}), "1205020a0500"},
             Row{"name", aml::name("X", aml::integer(1)), "08585f5f5f01"},
             Row{"buffer", aml::buffer({std::byte{7}}), "11030107"},
             Row{"scope", aml::scope("\\_SB", {}), "10065c5f53425f"},
             Row{"device", aml::device("DEV0", {}), "5b820544455630"},
             Row{"method", aml::method("_EVT", 1, aml::Serialize::yes, {aml::notify("PWRB", 0x80)}),
                 "140d5f4556540986505752420a80"},
             Row{"return", aml::return_value(aml::integer(0)), "a400"},
             Row{"I/O ports", aml::io_ports(0x3f8, 8), "4701f803f8030108"},
             Row{"edge interrupt", aml::interrupt(4, aml::Trigger::edge), "890600030104000000"},
             Row{"level interrupt", aml::interrupt(9, aml::Trigger::level), "890600010109000000"},
             Row{"memory window", aml::qword_memory(0xf8000000, 0x6c00000),
                 "8a2b00000c03"
                 "0000000000000000"
                 "000000f800000000"
                 "ffffbffe00000000"
                 "0000000000000000"
                 "0000c00600000000"},
             Row{"empty resources: the end tag alone", aml::resource_template({}), "11050a027900"},
         }) {
        CAPTURE(row.why);
        CHECK(hex(row.bytes) == row.expected);
    }
}

TEST_CASE("table headers, fields and checksums") {
    const auto config = config_of(2);
    const Bytes fadt = models::acpi::build_fadt(0xe0040), madt = models::acpi::build_madt(config),
                dsdt = models::acpi::build_dsdt(config), xsdt = models::acpi::build_xsdt({0x1122334455667788, 2});
    struct Row {
        const Bytes& table;
        const char* signature;
        std::size_t length;
        unsigned revision;
    };
    for (const Row& row : {Row{fadt, "FACP", 276, 6}, Row{madt, "APIC", 44 + 2 * 8 + 12 + 6, 5},
                           Row{xsdt, "XSDT", 36 + 16, 1}, Row{dsdt, "DSDT", dsdt.size(), 2}}) {
        CAPTURE(row.signature);
        CHECK(text(row.table, 0, 4) == row.signature);
        CHECK(row.table.size() == row.length);
        CHECK(field(row.table, 4, 4) == row.length);
        CHECK(field(row.table, 8, 1) == row.revision);
        CHECK(text(row.table, 10, 14) == "VRDGRSVERDIGRS");
        CHECK(text(row.table, 28, 4) == "VRDG");
        CHECK(sum(row.table, 0, row.length) == 0);
    }
    CHECK(field(xsdt, 36, 8) == 0x1122334455667788);

    struct Field {
        const char* name;
        std::size_t offset, width;
        std::uint64_t value;
    };
    for (const Field& f : {
             Field{"dsdt", 40, 4, 0xe0040},
             Field{"sci_int", 46, 2, 0},
             Field{"smi_cmd", 48, 4, 0},
             Field{"century", 108, 1, 0x32},
             Field{"boot architecture: MSI supported, no 8042", 109, 2, 0x0004},
             Field{"flags", 112, 4, 0x100471},
             Field{"reset register", 116, 4, 0x01000801},
             Field{"reset register address", 120, 8, 0x433},
             Field{"reset value", 128, 1, 1},
             Field{"x_dsdt", 140, 8, 0xe0040},
             Field{"sleep control", 244, 4, 0x01000801},
             Field{"sleep control address", 248, 8, 0x400},
             Field{"sleep status address", 260, 8, 0x401},
             Field{"hypervisor", 268, 8, 0},
         }) {
        CAPTURE(f.name);
        CHECK(field(fadt, f.offset, f.width) == f.value);
    }
    CHECK(hex({madt.begin() + 36, madt.end()}) ==
          "0000e0fe00000000"
          "0008010001000000"
          "0008020101000000"
          "010c00000000c0fe00000000"
          "0406ff000001");
}

TEST_CASE("processors beyond the 8-bit identifiers take x2APIC entries") {
    auto config = config_of(300);
    const Bytes madt = models::acpi::build_madt(config);
    CHECK(madt.size() == 44 + 255 * 8 + 45 * 16 + 12 + 6);
    const Bytes entry{madt.begin() + 44 + 255 * 8, madt.begin() + 44 + 255 * 8 + 16};
    CHECK(hex(entry) == "09100000ff0000000100000000010000");
}

TEST_CASE("the image: everything is where it says, and inside its place") {
    auto config = config_of(4);
    config.nodes = {{0, config.layout.low_ram}};
    const models::acpi::Image image = models::acpi::build(config);
    CHECK(image.gpa == 0xe0000);
    CHECK(text(image.bytes, 0, 8) == "RSD PTR ");
    CHECK(field(image.bytes, 15, 1) == 2);
    CHECK(field(image.bytes, 20, 4) == 36);
    CHECK(sum(image.bytes, 0, 20) == 0);
    CHECK(sum(image.bytes, 0, 36) == 0);
    const auto at = [&](std::uint64_t gpa) { return static_cast<std::size_t>(gpa - image.gpa); };
    const std::size_t xsdt = at(field(image.bytes, 24, 8));
    CHECK(text(image.bytes, xsdt, 4) == "XSDT");
    CHECK(field(image.bytes, xsdt + 4, 4) == 36 + 3 * 8);
    std::string signatures;
    for (std::size_t i = 0; i < 3; ++i) {
        const std::size_t table = at(field(image.bytes, xsdt + 36 + 8 * i, 8));
        CHECK(table % 64 == 0);
        CHECK(sum(image.bytes, table, field(image.bytes, table + 4, 4)) == 0);
        signatures += text(image.bytes, table, 4);
    }
    CHECK(signatures == "FACPAPICSRAT");
    const std::size_t fadt = at(field(image.bytes, xsdt + 36, 8));
    CHECK(text(image.bytes, at(field(image.bytes, fadt + 140, 8)), 4) == "DSDT");
    CHECK(models::acpi::build(config).bytes == image.bytes);

    CHECK(models::acpi::build(config_of(4096)).bytes.size() <= 0x20000);
    CHECK_THROWS_AS(models::acpi::build(config_of(20'000)), sim::UserError);
}

TEST_CASE("ACPICA disassembles every table and compiles the result without a word") {
    if (!has_compiler()) return;
    struct Variant {
        const char* name;
        models::acpi::Config config;
    };
    std::vector<Variant> variants = {{"default", config_of(4)}, {"bare", config_of(1)}, {"full", config_of(300)}};
    variants[1].config.serial_port = variants[1].config.real_time_clock = variants[1].config.power_button =
        variants[1].config.vmbus = false;
    variants[2].config.processor_devices = true;
    variants[2].config.layout = models::MemoryLayout::of_size(8ull << 30);
    variants[2].config.nodes = {{0, variants[2].config.layout.low_ram}, {1, variants[2].config.layout.high_ram}};
    for (const Variant& variant : variants) {
        struct Table {
            const char* name;
            Bytes bytes;
        };
        for (const Table& table :
             {Table{"dsdt", models::acpi::build_dsdt(variant.config)}, Table{"facp", models::acpi::build_fadt(0xe0040)},
              Table{"apic", models::acpi::build_madt(variant.config)},
              Table{"srat", models::acpi::build_srat(variant.config)}, Table{"xsdt", models::acpi::build_xsdt({1})}}) {
            check_compiled_again(std::string{variant.name} + "-" + table.name, table.bytes);
        }
    }
}

}  // namespace acpi_test
