// The firmware tables of a Generation 1 machine: fields, and the whole through ACPICA's own compiler if it is there.
#include <doctest/doctest.h>

#include <string>

#include "models/acpi/aml.h"
#include "models/acpi/tables.h"
#include "tests/models/acpi_rig.h"

namespace legacy_acpi_test {

namespace {

using namespace acpi_rig;

models::acpi::Config generation1() {
    models::acpi::Config config;
    config.machine = models::acpi::Machine::generation1;
    config.processors = {{0, 0}, {1, 0}};
    config.layout = models::MemoryLayout::of_size(512ull << 20);
    return config;
}

}  // namespace

TEST_CASE("AML for windows and packages") {
    namespace aml = models::aml;
    CHECK(hex(aml::io_window(0xd00, 0xf300)) == "880d00010c030000000dffff000000f3");
    CHECK(hex(aml::bus_numbers(0, 256)) == "880d00020c0000000000ff0000000001");
    CHECK(hex(aml::dword_memory(0xf8000000, 0x6c00000)) ==
          "87170000"
          "0c03"
          "00000000"
          "000000f8"
          "ffffbffe"
          "00000000"
          "0000c006");
    CHECK(aml::package_of({aml::integer(5), aml::integer(0)}) == aml::package({aml::integer(5), aml::integer(0)}));
}

TEST_CASE("the fixed description says where the PIIX4's registers are") {
    const Bytes fadt = models::acpi::build_generation1_fadt(0xe0040, 0xe1000);
    REQUIRE(fadt.size() == 276);
    struct Row {
        const char* name;
        std::size_t offset, width;
        std::uint64_t value;
    };
    for (
        const Row& row : {
            Row{"FACS", 36, 4, 0xe1000},      Row{"DSDT", 40, 4, 0xe0040},          Row{"SCI", 46, 2, 9},
            Row{"SMI command", 48, 4, 0xb2},  Row{"enable", 52, 1, 0xe1},           Row{"disable", 53, 1, 0x1e},
            Row{"PM1a events", 56, 4, 0x400}, Row{"PM1a control", 64, 4, 0x404},    Row{"timer", 76, 4, 0x408},
            Row{"GPE0", 80, 4, 0x40c},        Row{"event length", 88, 1, 4},        Row{"control length", 89, 1, 2},
            Row{"timer length", 91, 1, 4},    Row{"GPE0 length", 92, 1, 4},         Row{"C2", 96, 2, 101},
            Row{"C3", 98, 2, 1001},           Row{"century", 108, 1, 0x32},         Row{"boot flags", 109, 2, 5},
            Row{"flags", 112, 4, 0x465},      Row{"reset", 120, 8, 0x433},          Row{"reset value", 128, 1, 1},
            Row{"X FACS", 132, 8, 0xe1000},   Row{"X DSDT", 140, 8, 0xe0040},       Row{"X PM1a events", 152, 8, 0x400},
            Row{"its width", 149, 1, 32},     Row{"X PM1a control", 176, 8, 0x404}, Row{"its width", 173, 1, 16},
            Row{"X timer", 212, 8, 0x408},    Row{"X GPE0", 224, 8, 0x40c},         Row{"sleep control", 244, 4, 0},
        }) {
        CAPTURE(row.name);
        CHECK(field(fadt, row.offset, row.width) == row.value);
    }
    const Bytes madt = models::acpi::build_madt(generation1());
    CHECK(hex({madt.begin() + 36, madt.end()}) ==
          "0000e0fe01000000"
          "0008010001000000"
          "0008020101000000"
          "010c00000000c0fe00000000"
          "020a0000020000000000"
          "020a0009090000000d00"
          "0406ff000001");
}

TEST_CASE("the image holds all tables at their places") {
    const models::acpi::Image image = models::acpi::build(generation1());
    const auto at = [&](std::uint64_t gpa) { return static_cast<std::size_t>(gpa - image.gpa); };
    const std::size_t xsdt = at(field(image.bytes, 24, 8));
    const std::size_t fadt = at(field(image.bytes, xsdt + 36, 8));
    CHECK(field(image.bytes, fadt, 4) == 0x50434146);  // FACP
    CHECK(field(image.bytes, at(field(image.bytes, fadt + 140, 8)), 4) == 0x54445344);
    const std::uint64_t facs = field(image.bytes, fadt + 36, 4);
    CHECK(facs % 64 == 0);
    CHECK(field(image.bytes, at(facs), 4) == 0x53434146);
    CHECK(field(image.bytes, at(facs) + 4, 4) == 64);
}

TEST_CASE("ACPICA disassembles the namespace and compiles the result without a word") {
    if (!has_compiler()) return;
    models::acpi::Config bare = generation1(), full = generation1();
    bare.serial_port = bare.real_time_clock = bare.vmbus = false;
    full.processor_devices = true;
    full.layout = models::MemoryLayout::of_size(8ull << 30);
    struct Table {
        const char* name;
        Bytes bytes;
    };
    for (const Table& table :
         {Table{"gen1-dsdt", models::acpi::build_dsdt(generation1())},
          Table{"gen1-bare", models::acpi::build_dsdt(bare)}, Table{"gen1-full", models::acpi::build_dsdt(full)},
          Table{"gen1-facp", models::acpi::build_generation1_fadt(0xe0040, 0xe1000)},
          Table{"gen1-facs", models::acpi::build_facs()},
          Table{"gen1-apic", models::acpi::build_madt(generation1())}}) {
        check_compiled_again(table.name, table.bytes);
    }
}

}  // namespace legacy_acpi_test
