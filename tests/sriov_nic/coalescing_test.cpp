// Receive side coalescing on the physical function, without virtualization: what is merged, what ends it, what software
// finds.
#include <doctest/doctest.h>

#include "tests/sriov_nic/packets.h"

namespace coalescing_test {

namespace {

using namespace nic_test;
using sim::Time;

constexpr std::uint64_t ring = 0x10'0000, buffers = 0x20'0000;
constexpr std::uint32_t buffer_bytes = 2048;

struct CoalescingRig : Rig {
    CoalescingRig() : Rig(0) {
        controller.write(0x1000, ring);
        controller.write(0x1008, 64 * 16);
        controller.write(0x1014, srrctl::advanced_one << 25 | 2);
        controller.write(0x102c, rscctl::enable | 2u << 2);  // 8 descriptors
        controller.write(0x1028, rxdctl::enable);
        controller.write(reg::fctrl, fctrl::broadcast | fctrl::all_unicast);
        for (unsigned i = 0; i < 64; ++i) {
            const Descriptor d{buffers + buffer_bytes * i, 0};
            std::memcpy(&bus.memory[ring + 16 * i], &d, 16);
        }
        controller.write(0x1018, 63);
        run(Time::us(5));
    }
    Descriptor descriptor(unsigned i) {
        Descriptor d;
        std::memcpy(&d, &bus.memory[ring + 16 * i], 16);
        return d;
    }
    static bool done(const Descriptor& d) { return d.low >> 32 == 0 && (d.high & rx::done) != 0; }
    void arrives(const std::vector<std::byte>& f) {
        controller.received(f);
        run(Time::ns(600));
    }
};

Packet part(std::uint32_t at, std::size_t payload, std::uint8_t flags = 0x10, std::uint16_t port = 1000) {
    Packet p;
    p.to = physical_mac;
    p.from = stranger;
    p.sequence = 5000 + at;
    p.payload = payload;
    p.flags = flags;
    p.source_port = port;
    return p;
}

TEST_CASE("segments that follow each other become one packet; a push ends it") {
    CoalescingRig rig;
    rig.arrives(part(0, 1000).build());
    rig.arrives(part(1000, 1000).build());
    CHECK(!CoalescingRig::done(rig.descriptor(0)));
    rig.arrives(part(2000, 500, 0x18).build());
    const Descriptor first = rig.descriptor(0);
    const Descriptor last = rig.descriptor(1);
    // 54 + 2500 bytes: 2048 in the first buffer, where all three begin; the rest in the second.
    CHECK((first.high >> 32) == 2048);
    CHECK((first.high & 3) == rx::done);
    CHECK((first.high >> 4 & 0xffff) == 1);  // the next one
    CHECK((first.low >> 17 & 15) == 2);
    CHECK((last.high >> 32) == 506);
    CHECK((last.high & 3) == 3);
    CHECK((last.high & rx::l4_checksum) != 0);
    std::vector<std::byte> whole(rig.bus.memory.begin() + buffers, rig.bus.memory.begin() + buffers + 2554);
    Packet merged = part(0, 2500, 0x18);
    std::vector<std::byte> wanted = merged.build();
    for (std::size_t i = 0; i < 2500; ++i) {
        const std::size_t in = i < 1000 ? i : i < 2000 ? i - 1000 : i - 2000;
        wanted[54 + i] = static_cast<std::byte>(in * 7 + 3);
    }
    // The TCP checksum stays the first segment's.
    std::copy_n(whole.begin() + 50, 2, wanted.begin() + 50);
    CHECK(whole == wanted);
    CHECK(rig.controller.statistics().queue_received[0] == 3);
    CHECK(rig.controller.read(0x1010) == 2);
}

TEST_CASE("what ends a merge") {
    struct Row {
        const char* why;
        std::vector<std::byte> frame;
        bool ends;
        unsigned descriptors;  // in use afterwards
    };
    Packet udp = part(0, 100);
    udp.protocol = 17;
    std::vector<std::byte> broken = part(500, 500).build();
    broken[200] ^= std::byte{1};
    std::vector<std::byte> alone = part(500, 0).build();
    alone.resize(60);
    const Row rows[] = {
        {"the next segment does not", part(500, 500).build(), false, 1},
        {"another connection does not", part(500, 500, 0x10, 77).build(), false, 2},
        {"UDP does not", udp.build(), false, 2},
        {"a gap", part(600, 500).build(), true, 2},
        {"a repetition", part(0, 500).build(), true, 2},
        {"an acknowledgement alone", alone, true, 2},
        {"the end of the connection", part(500, 10, 0x11).build(), true, 2},
        {"a wrong sum", broken, true, 2},
    };
    for (const Row& row : rows) {
        CAPTURE(row.why);
        CoalescingRig rig;
        rig.arrives(part(0, 500).build());
        rig.arrives(row.frame);
        CHECK(CoalescingRig::done(rig.descriptor(0)) == row.ends);
        rig.run(Time::us(10));
        // In the end all is there: time ends every merge.
        CHECK(rig.controller.read(0x1010) == row.descriptors);
        for (unsigned i = 0; i < row.descriptors; ++i) CHECK((rig.descriptor(i).high & 1) == 1);
        CHECK(rig.controller.receive_buffered() == 0);
    }
}

TEST_CASE("a merge ends with its time and its descriptors, and survives a full bus") {
    CoalescingRig rig;
    const Time begin = rig.now();
    rig.arrives(part(0, 500).build());
    CHECK(!CoalescingRig::done(rig.descriptor(0)));
    rig.run(Time::us(4) - (rig.now() - begin));
    CHECK(!CoalescingRig::done(rig.descriptor(0)));
    rig.run(Time::ns(400));
    CHECK(CoalescingRig::done(rig.descriptor(0)));
    // Eight buffers of 2 KiB hold eleven segments of 1448 bytes; the twelfth begins anew.
    CoalescingRig many;
    for (unsigned i = 0; i < 12; ++i) {
        many.bus.writes_left = i % 3 == 1 ? 0 : ~std::uint64_t{0};
        many.controller.received(part(1448 * i, 1448).build());
        many.run(Time::ns(300));
        many.bus.writes_left = ~std::uint64_t{0};
        many.controller.bus_ready();
    }
    many.run(Time::us(20));
    unsigned ends = 0;
    for (unsigned i = 0; i < 12; ++i) ends += (many.descriptor(i).high & 3) == 3 ? 1 : 0;
    CHECK(ends >= 2);
    CHECK(many.controller.statistics().queue_received[0] == 12);
    CHECK(many.controller.receive_buffered() == 0);
}

// Sixteen buffers hold what was put into them; a new size, given in the middle of that, is the next merge's.
TEST_CASE("a merge keeps the size of its buffers") {
    CoalescingRig rig;
    rig.controller.write(reg::hlreg0, hlreg0::jumbo);
    rig.controller.write(reg::maxfrs, 9728u << 16);
    rig.controller.write(0x102c, rscctl::enable | 3u << 2);  // 16 descriptors
    for (unsigned i = 0; i < 3; ++i) rig.arrives(part(8000 * i, 8000).build());
    // Of the fourth what fits into the twelfth buffer is written, then the bus is full.
    rig.bus.writes_left = 1;
    rig.arrives(part(24'000, 8000).build());
    rig.controller.write(0x1014, srrctl::advanced_one << 25 | 1);
    rig.bus.writes_left = ~std::uint64_t{0};
    rig.controller.bus_ready();
    rig.run(Time::us(10));
    CHECK(rig.controller.read(0x1010) == 16);
    for (unsigned i = 0; i < 15; ++i) CHECK((rig.descriptor(i).high >> 32) == 2048);
    CHECK((rig.descriptor(15).high >> 32) == 54 + 32'000 - 15 * 2048);
    CHECK((rig.descriptor(15).high & 3) == 3);
    // The next one's are of one KiB.
    rig.arrives(part(50'000, 1500, 0x18).build());
    CHECK((rig.descriptor(17).high >> 32) == 54 + 1500 - 1024);
}

}  // namespace

}  // namespace coalescing_test
