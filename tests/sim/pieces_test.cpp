// Pieces of memory: where they lie, which comes again, and what a checkpoint keeps.
#include "sim/pieces.h"

#include <doctest/doctest.h>

#include <cstring>

#include "sim/archive.h"

namespace pieces_test {

TEST_CASE("pieces lie at multiples of their size, and the last one given back comes first") {
    sim::Pieces pieces;
    struct Row {
        std::uint32_t bytes, place;
        const char* why;
    };
    const Row rows[] = {
        {1, 0, "the first line of the first chunk"},
        {64, 64, "the next line"},
        {65, 65536, "another size has another chunk"},
        {128, 65536 + 128, "the same size as 65"},
        {65536, 2 * 65536, "the largest takes a chunk"},
        {2048, 3 * 65536, ""},
        {1025, 3 * 65536 + 2048, ""},
        {64, 128, "the first chunk goes on"},
    };
    for (const Row& row : rows) {
        CAPTURE(row.why);
        CHECK(pieces.take(row.bytes) == row.place);
        CHECK(reinterpret_cast<std::uintptr_t>(pieces.at(row.place)) % 64 == 0);
    }
    pieces.give_back(64 + 4, 64);  // a place within it
    pieces.give_back(0, 1);
    CHECK(pieces.take(3) == 0);
    CHECK(pieces.take(64) == 64);
    CHECK(pieces.take(64) == 192);
    pieces.clear();
    CHECK(pieces.take(64) == 0);
}

TEST_CASE("a checkpoint keeps pieces, their bytes and their order") {
    sim::Pieces pieces;
    for (unsigned i = 0; i < 3; ++i) (void)pieces.take(64);
    std::memset(pieces.at(64), 0x5a, 64);
    (void)pieces.take(9000);
    pieces.give_back(128, 64);
    sim::Pieces other;
    (void)other.take(200);
    restore_from_bytes(other, save_to_bytes(pieces));
    CHECK(std::memcmp(other.at(64), pieces.at(64), 64) == 0);
    CHECK(other.take(64) == pieces.take(64));
    CHECK(other.take(64) == pieces.take(64));
    CHECK(other.take(9000) == pieces.take(9000));
}

}  // namespace pieces_test
