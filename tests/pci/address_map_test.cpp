// Which range answers an address when ranges lie side by side, within and over each other.
#include "pci/address_map.h"

#include <doctest/doctest.h>

#include <string>

#include "sim/random.h"

namespace address_map_test {

using pci::AddressMap;
using pci::Range;
using pci::Space;

namespace {

struct Nobody final : pci::RangeTarget {
    std::optional<std::uint64_t> read_range(Space, unsigned, std::uint64_t, unsigned) override { return 0; }
    bool write_range(Space, unsigned, std::uint64_t, unsigned, std::uint64_t) override { return true; }
} nobody;

Range memory(std::uint64_t first, std::uint64_t last, unsigned number) {
    return {Space::memory, first, last, number, &nobody};
}

// Owner and number at an address, "-" for nobody.
std::string at(const AddressMap& map, std::uint64_t address) {
    for (const auto& segment : map.segments(Space::memory)) {
        if (segment.first <= address && address <= segment.last) {
            return std::to_string(segment.owner) + "." + std::to_string(segment.range.number);
        }
    }
    return "-";
}

}  // namespace

TEST_CASE("overlaps go to the lowest owner, then to its lowest range") {
    AddressMap map;
    map.set(5, {memory(100, 199, 0), memory(150, 299, 1)});
    map.set(3, {memory(180, 189, 2)});
    map.set(9, {memory(0, ~std::uint64_t{0}, 0)});
    struct Row {
        std::uint64_t address;
        const char* who;
    };
    for (const Row& row : {Row{0, "9.0"}, Row{99, "9.0"}, Row{100, "5.0"}, Row{179, "5.0"}, Row{180, "3.2"},
                           Row{189, "3.2"}, Row{190, "5.0"}, Row{199, "5.0"}, Row{200, "5.1"}, Row{299, "5.1"},
                           Row{300, "9.0"}, Row{~std::uint64_t{0}, "9.0"}}) {
        CAPTURE(row.address);
        CHECK(at(map, row.address) == row.who);
    }
    map.set(9, {});
    map.set(3, {});
    CHECK(map.segments(Space::memory).size() == 2);
    CHECK(at(map, 99) == "-");
    CHECK(at(map, 180) == "5.0");
    CHECK(at(map, 300) == "-");
    map.set(5, {});
    CHECK(map.empty());
}

TEST_CASE("an access must lie within one range") {
    AddressMap map;
    map.set(1, {memory(0x1000, 0x1fff, 0)});
    map.set(2, {memory(0x2000, 0x2fff, 0), {Space::io, 0x1000, 0x1007, 1, &nobody}});
    struct Row {
        Space space;
        std::uint64_t address;
        unsigned size;
        bool found;
    };
    for (const Row& row : {
             Row{Space::memory, 0xfff, 1, false},
             Row{Space::memory, 0xfff, 2, false},
             Row{Space::memory, 0x1000, 8, true},
             Row{Space::memory, 0x1ff8, 8, true},
             Row{Space::memory, 0x1ffc, 8, false},
             Row{Space::memory, 0x2fff, 1, true},
             Row{Space::memory, 0x3000, 1, false},
             Row{Space::io, 0x1004, 4, true},
             Row{Space::io, 0x1006, 4, false},
             Row{Space::io, 0x2000, 1, false},
         }) {
        CAPTURE(row.address);
        CAPTURE(row.size);
        CHECK((map.find(row.space, row.address, row.size) != nullptr) == row.found);
    }
}

TEST_CASE("two neighbours of one owner with one number are one piece; changes without effect change nothing") {
    AddressMap map;
    map.set(1, {memory(10, 20, 0)});
    map.set(0, {memory(15, 16, 0)});
    CHECK(map.segments(Space::memory).size() == 3);
    map.set(0, {});
    CHECK(map.segments(Space::memory).size() == 1);
    map.set(1, {memory(10, 20, 0)});
    CHECK(map.segments(Space::memory).size() == 1);
}

TEST_CASE("the sweep agrees with a search through all ranges") {
    sim::Random random{7, "address map"};
    for (unsigned round = 0; round < 200; ++round) {
        AddressMap map;
        struct Claim {
            unsigned owner, number;
            std::uint64_t first, last;
        };
        std::vector<Claim> claims;
        for (unsigned owner = 0; owner < 6; ++owner) {
            std::vector<Range> ranges;
            for (unsigned number = 0; number < 3; ++number) {
                const std::uint64_t first = random.below(60);
                const std::uint64_t last = first + random.below(20);
                ranges.push_back(memory(first, last, number));
                claims.push_back({owner, number, first, last});
            }
            map.set(owner, ranges);
        }
        for (std::uint64_t address = 0; address < 85; ++address) {
            std::string expected = "-";
            for (const Claim& claim : claims) {
                if (address < claim.first || address > claim.last) continue;
                expected = std::to_string(claim.owner) + "." + std::to_string(claim.number);
                break;
            }
            CHECK(at(map, address) == expected);
        }
    }
}

}  // namespace address_map_test
