// The 8259 pair: priorities, ends of interrupt, cascade, modes.
#include "models/legacy/pic_8259.h"

#include <doctest/doctest.h>

#include "tests/models/recorders.h"

namespace legacy_pic_test {

using models::Pic8259;

namespace {

struct PicRig {
    sim::Simulation simulation;
    RecordedLine output;
    Pic8259 pic{simulation.scope("pic"), output};

    void out(std::uint16_t port, std::uint8_t value) { pic.write_port(port, 1, value); }
    unsigned in(std::uint16_t port) { return pic.read_port(port, 1); }
    // As systems do: vectors from 0x20 and 0x28, 8086 mode.
    void initialize(std::uint8_t icw4 = 1) {
        for (const std::uint16_t base : {0x20, 0xa0}) {
            out(base, 0x11);
            out(base + 1, base == 0x20 ? 0x20 : 0x28);
            out(base + 1, base == 0x20 ? 0x04 : 0x02);
            out(base + 1, icw4);
            out(base + 1, 0);
        }
    }
    unsigned in_service(std::uint16_t base = 0x20) {
        out(base, 0x0b);
        return in(base);
    }
    unsigned requested(std::uint16_t base = 0x20) {
        out(base, 0x0a);
        return in(base);
    }
};

}  // namespace

TEST_CASE("an edge becomes a vector, is in service, and ends") {
    PicRig rig;
    rig.initialize();
    rig.pic.set(3, true);
    CHECK(rig.output.asserted);
    CHECK(rig.requested() == 0x08);
    CHECK(rig.pic.acknowledge() == 0x23);
    CHECK_FALSE(rig.output.asserted);
    CHECK(rig.requested() == 0);
    CHECK(rig.in_service() == 0x08);
    rig.pic.set(3, false);
    rig.pic.set(3, true);
    CHECK_FALSE(rig.output.asserted);  // the same one is in service
    rig.out(0x20, 0x20);
    CHECK(rig.output.asserted);
    CHECK(rig.in_service() == 0);
}

TEST_CASE("the second chip comes through input 2 of the first") {
    PicRig rig;
    rig.initialize();
    rig.pic.set(14, true);
    CHECK(rig.requested() == 0x04);
    CHECK(rig.requested(0xa0) == 0x40);
    CHECK(rig.pic.acknowledge() == 0x2e);
    CHECK(rig.in_service() == 0x04);
    CHECK(rig.in_service(0xa0) == 0x40);
    rig.pic.set(9, true);  // higher, but the first chip is busy with its input 2
    CHECK_FALSE(rig.output.asserted);
    rig.out(0x20, 0x20);
    CHECK(rig.output.asserted);
    CHECK(rig.pic.acknowledge() == 0x29);
}

TEST_CASE("priorities, masks, rotation, specific ends") {
    PicRig rig;
    rig.initialize();
    rig.pic.set(5, true);
    rig.pic.set(1, true);
    CHECK(rig.pic.acknowledge() == 0x21);
    rig.pic.set(0, true);
    CHECK(rig.pic.acknowledge() == 0x20);  // interrupts the other
    CHECK(rig.in_service() == 0x03);
    rig.out(0x20, 0x61);  // ends input 1
    CHECK(rig.in_service() == 0x01);
    CHECK_FALSE(rig.output.asserted);
    rig.out(0x21, 0x20);
    rig.out(0x20, 0x20);
    CHECK_FALSE(rig.output.asserted);  // 5 is masked
    CHECK(rig.in(0x21) == 0x20);
    rig.out(0x21, 0);
    CHECK(rig.output.asserted);
    CHECK(rig.pic.acknowledge() == 0x25);
    rig.out(0x20, 0xa0);  // ends and rotates: 5 is the lowest
    for (const unsigned input : {5u, 6u, 4u}) {
        rig.pic.set(input, false);
        rig.pic.set(input, true);
    }
    CHECK(rig.pic.acknowledge() == 0x26);
    rig.out(0x20, 0xc3);  // 3 is the lowest
    CHECK(rig.pic.acknowledge() == 0x24);
}

TEST_CASE("a request that went away is input 7, and not in service") {
    PicRig rig;
    rig.initialize();
    rig.pic.set(4, true);
    rig.pic.set(4, false);
    CHECK_FALSE(rig.output.asserted);
    CHECK(rig.pic.acknowledge() == 0x27);
    CHECK(rig.in_service() == 0);
    rig.pic.set(15, true);
    rig.out(0xa1, 0x80);
    CHECK(rig.pic.acknowledge() == 0x27);
}

TEST_CASE("level inputs ask for as long as they are asserted; three can't be level") {
    PicRig rig;
    rig.initialize();
    rig.out(0x4d0, 0xff);
    rig.out(0x4d1, 0xff);
    CHECK(rig.in(0x4d0) == 0xf8);
    CHECK(rig.in(0x4d1) == 0xde);
    rig.pic.set(11, true);
    CHECK(rig.pic.acknowledge() == 0x2b);
    rig.out(0xa0, 0x20);
    rig.out(0x20, 0x20);
    CHECK(rig.output.asserted);
    rig.pic.set(11, false);
    CHECK_FALSE(rig.output.asserted);
}

TEST_CASE("automatic end, poll, special mask, special fully nested") {
    PicRig rig;
    rig.initialize(3);
    rig.pic.set(6, true);
    CHECK(rig.pic.acknowledge() == 0x26);
    CHECK(rig.in_service() == 0);
    rig.initialize(1);
    rig.pic.set(6, false);
    rig.pic.set(6, true);
    rig.out(0x20, 0x0c);
    CHECK(rig.in(0x20) == 0x86);
    CHECK(rig.in_service() == 0x40);
    rig.out(0x20, 0x0c);
    CHECK(rig.in(0x20) == 0);
    rig.pic.set(7, true);
    CHECK_FALSE(rig.output.asserted);
    rig.out(0x20, 0x68);  // special mask: lower ones too
    CHECK(rig.output.asserted);
    rig.out(0x20, 0x48);
    CHECK_FALSE(rig.output.asserted);

    PicRig nested;
    nested.initialize(0x11);
    nested.pic.set(12, true);
    CHECK(nested.pic.acknowledge() == 0x2c);
    nested.pic.set(8, true);
    CHECK(nested.output.asserted);
    CHECK(nested.pic.acknowledge() == 0x28);
}

TEST_CASE("initialization: one chip alone, without the fourth word, and what it forgets") {
    PicRig rig;
    rig.initialize();
    rig.pic.set(3, true);
    (void)rig.pic.acknowledge();
    rig.out(0x21, 0xff);
    rig.out(0x20, 0x12);
    CHECK(rig.in_service() == 0);
    rig.out(0x21, 0x40);
    CHECK(rig.in(0x21) == 0);  // masks are gone; the word above was the vector
    rig.out(0x21, 0x08);
    CHECK(rig.in(0x21) == 0x08);
    rig.pic.set(1, true);
    CHECK(rig.pic.acknowledge() == 0x41);
    rig.pic.reset();
    CHECK_FALSE(rig.output.asserted);
}

}  // namespace legacy_pic_test
