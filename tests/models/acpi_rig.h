// What tests of ACPI tables ask of bytes, and ACPICA's own compiler, if it is there.
#pragma once

#include <doctest/doctest.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

namespace acpi_rig {

using Bytes = std::vector<std::byte>;

inline std::string hex(const Bytes& bytes) {
    static const char* digits = "0123456789abcdef";
    std::string out;
    for (const std::byte b : bytes) {
        out += digits[std::to_integer<unsigned>(b) >> 4];
        out += digits[std::to_integer<unsigned>(b) & 15];
    }
    return out;
}

inline std::uint64_t field(const Bytes& bytes, std::size_t offset, std::size_t width) {
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < width; ++i) value |= std::to_integer<std::uint64_t>(bytes.at(offset + i)) << (8 * i);
    return value;
}

inline std::string text(const Bytes& bytes, std::size_t offset, std::size_t count) {
    std::string out;
    for (std::size_t i = 0; i < count; ++i) out += static_cast<char>(bytes.at(offset + i));
    return out;
}

inline bool has_compiler() {
    if (std::system("command -v iasl >/dev/null 2>&1") == 0) return true;
    MESSAGE("iasl (package acpica-tools) is not installed: not checked");
    return false;
}

// A table that is taken apart and compiled again has the same bytes, but for the compiler's own name in the header.
inline void check_compiled_again(const std::string& name, const Bytes& table) {
    const std::filesystem::path dir = std::filesystem::path{VG_BINARY_DIR} / "acpi_test";
    std::filesystem::create_directories(dir);
    const std::string stem = (dir / name).string();
    CAPTURE(stem);
    const std::string original = text(table, 0, table.size());
    std::ofstream{stem + ".aml", std::ios::binary} << original;
    const std::string log = stem + ".log";
    const auto run = [&](const std::string& command) { return std::system((command + " >" + log + " 2>&1").c_str()); };
    CHECK(run("iasl -d " + stem + ".aml") == 0);
    CHECK(run("iasl -oa -ve -p " + stem + "-again " + stem + ".dsl") == 0);
    std::ifstream printed{log};
    const std::string said{std::istreambuf_iterator<char>{printed}, {}};
    CHECK_MESSAGE(said.find("0 Errors") != std::string::npos, said);
    std::ifstream compiled{stem + "-again.aml", std::ios::binary};
    const std::string again{std::istreambuf_iterator<char>{compiled}, {}};
    REQUIRE(again.size() == table.size());
    CHECK(again.substr(36) == original.substr(36));
}

}  // namespace acpi_rig
