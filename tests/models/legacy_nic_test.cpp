// The DEC 21140 against its manual: registers, both processes, interrupts, exact times.
#include <doctest/doctest.h>

#include "tests/models/legacy_nic_rig.h"

namespace legacy_nic_test {

using namespace legacy_test;
using models::AddressFilter;
using sim::Time;
namespace status = chip::status;
namespace mode = chip::mode;
namespace rdes0 = chip::rdes0;
namespace tdes1 = chip::tdes1;

TEST_CASE("configuration space as the emulated card's") {
    NicRig rig;
    const auto who = rig.id(0, 10);
    struct Row {
        unsigned offset, size;
        std::uint32_t value;
    };
    for (const Row& row : {Row{0x00, 4, 0x0009'1011}, Row{0x06, 2, 0x0280}, Row{0x08, 4, 0x0200'0020}, Row{0x0e, 1, 0},
                           Row{0x2c, 4, 0x2114'0a00}, Row{0x3c, 4, 0x2814'0100}}) {
        CAPTURE(row.offset);
        CHECK(rig.config(who, row.offset, row.size) == row.value);
    }
    rig.set_config(who, 0x10, 4, ~0u);
    rig.set_config(who, 0x14, 4, ~0u);
    CHECK(rig.config(who, 0x10, 4) == 0xffff'ff81);
    CHECK(rig.config(who, 0x14, 4) == 0xffff'f000);
    rig.set_config(who, 0x04, 2, 0xffff);
    CHECK(rig.config(who, 0x04, 2) == 0x0557);
}

TEST_CASE("registers after reset, what a write leaves, and what is no register") {
    struct Row {
        unsigned n;
        std::uint32_t reset, after_ones;
    };
    for (const Row& row : {
             Row{0, 0xfe00'0000, 0xfe00'0000},  // the reset bit is among the ones
             Row{1, ~0u, ~0u},
             Row{2, ~0u, ~0u},
             Row{3, 0, 0xffff'fffc},
             Row{4, 0, 0xffff'fffc},
             Row{5, 0xfc00'0000, 0xfc00'0000},
             Row{7, 0xfffe'0000, 0xffff'abef},
             Row{8, 0xfffe'0000, 0xfffe'0000},
             Row{9, 0xfff8'0008, 0xffff'f8f7 | 8},
             Row{12, 0xffff'feff, 0xffff'fe00},
             Row{13, ~0u, ~0u},
             Row{15, 0xffff'fec8, 0xffff'feff},
         }) {
        CAPTURE(row.n);
        NicRig rig;
        CHECK(rig.csr(row.n) == row.reset);
        rig.set_csr(row.n, ~0u);
        if (row.n != 9) {
            CHECK(rig.csr(row.n) == row.after_ones);
        }
    }
    NicRig rig;
    CHECK(rig.csr(6) == 0x3200'0040);
    rig.set_csr(6, ~0u & ~(mode::start_receive | mode::start_transmit));
    CHECK(rig.csr(6) == 0xffff'dfe8);
    rig.set_csr(0, 0x01a0'8000);
    CHECK(rig.csr(0) == 0xffa0'8000);
    CHECK(rig.root.read(pci::Space::io, NicRig::ports + 4, 4) == 0xffff'ffff);
    CHECK(rig.root.read(pci::Space::io, NicRig::ports + 0x28, 2) == 0xffff);
    CHECK(rig.root.read(pci::Space::io, NicRig::ports + 0x29, 1) == 0xff);
}

TEST_CASE("set-up frames by descriptor: kind from its bits, closed with ones, shown in CSR6") {
    struct Row {
        std::uint32_t bits;
        std::uint32_t size;
        std::uint32_t shown;  // of CSR6
    };
    for (const Row& row :
         {Row{0, 192, 0}, Row{tdes1::filter_low, 192, mode::hash_perfect}, Row{tdes1::filter_high, 192, mode::inverse},
          Row{tdes1::filter_high | tdes1::filter_low, 192, mode::hash_perfect | mode::hash_only},
          Row{tdes1::filter_high, 191, 0}}) {
        NicRig rig;
        rig.put(NicRig::transmit_list,
                {chip::owned, tdes1::set_up | tdes1::interrupt | row.bits | row.size, NicRig::set_up_buffer, 0});
        rig.set_csr(4, NicRig::transmit_list);
        rig.set_csr(7, status::clearable);
        rig.set_csr(6, mode::start_transmit);
        CHECK((rig.csr(5) >> 20 & 7) == 2);
        rig.run(Time::ns(479));
        CHECK(rig.load(NicRig::transmit_list) == chip::owned);
        rig.run(Time::ns(480));
        CHECK(rig.load(NicRig::transmit_list) == 0x7fff'ffff);
        CHECK((rig.csr(6) & (mode::hash_perfect | mode::hash_only | mode::inverse)) == row.shown);
        // Done, and the next one is not there.
        CHECK(rig.csr(5) == 0xfc61'0005);
        CHECK(rig.interrupt());
        rig.set_csr(5, 0x1'0005);
        CHECK(rig.csr(5) == 0xfc60'0000);
        CHECK_FALSE(rig.interrupt());
        CHECK(rig.wire.frames.empty());
    }
}

TEST_CASE("a frame takes its time on the wire, is padded, and ends with an interrupt if it wants one") {
    struct Row {
        std::uint32_t size, bits, mode;
        std::size_t sent;
        std::int64_t wire_ns;
        std::uint32_t events;
    };
    constexpr std::uint32_t whole = tdes1::first | tdes1::last;
    for (const Row& row : {
             Row{1514, whole | tdes1::interrupt, 0, 1514, 80 * (1514 + 24), 0x5},
             Row{42, whole | tdes1::interrupt, 0, 60, 80 * 84, 0x5},
             Row{60, whole, 0, 60, 80 * 84, 0x4},
             Row{42, whole | tdes1::no_padding, 0, 42, 80 * 84, 0x4},
             Row{64, whole | tdes1::no_padding | tdes1::no_crc, 0, 60, 80 * 88, 0x4},
             Row{60, whole, mode::ten_megabit, 60, 800 * 84, 0x4},
             Row{13, whole | tdes1::no_padding, 0, 0, 80 * 84, 0x4},
             Row{0, whole | tdes1::no_padding | tdes1::no_crc, 0, 0, 80 * 84, 0x4},
         }) {
        CAPTURE(row.size);
        NicRig rig;
        const auto frame = NicRig::frame(row.size);
        rig.put_bytes(NicRig::transmit_buffers, frame);
        rig.put(NicRig::transmit_list, {chip::owned, row.bits | row.size, NicRig::transmit_buffers, 0});
        rig.set_csr(4, NicRig::transmit_list);
        rig.set_csr(6, mode::start_transmit | row.mode);
        const Time done = Time::ns(480 + row.wire_ns);
        rig.run(done - Time::ps(1));
        CHECK(rig.load(NicRig::transmit_list) == chip::owned);
        CHECK(rig.wire.frames.empty());
        rig.run(done);
        CHECK(rig.load(NicRig::transmit_list) == 0);
        CHECK((rig.csr(5) & 0xffff) == row.events);
        REQUIRE(rig.wire.frames.size() == (row.sent != 0 ? 1 : 0));
        if (row.sent == 0) continue;
        std::vector<std::byte> expected = frame;
        expected.resize(row.sent);
        CHECK(rig.wire.frames[0] == expected);
        CHECK(rig.wire.times[0] == done);
    }
}

TEST_CASE("a frame of several descriptors and buffers; rings with skips, chains") {
    for (const bool chained : {false, true}) {
        NicRig rig;
        const auto frame = NicRig::frame(100);
        rig.put_bytes(NicRig::transmit_buffers, frame);
        const std::uint32_t base = NicRig::transmit_list, data = NicRig::transmit_buffers;
        if (chained) {
            rig.put(base, {chip::owned, tdes1::first | tdes1::chained | 40, data, base + 0x100});
            rig.put(base + 0x100, {chip::owned, tdes1::chained | 0, 0, base + 0x80});
            rig.put(base + 0x80, {chip::owned, tdes1::last | tdes1::chained | 60, data + 40, base});
        } else {
            rig.set_csr(0, 3 << 2);  // three longwords between descriptors
            rig.put(base, {chip::owned, tdes1::first | 30 | 10 << 11, data, data + 30});
            rig.put(base + 28, {chip::owned, 0, 0, 0});
            rig.put(base + 56, {chip::owned, tdes1::last | tdes1::end_of_ring | 0 | 60 << 11, 0, data + 40});
        }
        rig.set_csr(4, base);
        rig.set_csr(6, mode::start_transmit);
        rig.run(Time::ns(3 * 480 + 80 * 124));
        REQUIRE(rig.wire.frames.size() == 1);
        CHECK(rig.wire.frames[0] == frame);
        CHECK(rig.csr(5) == 0xfc60'0004);  // back at the first, which is the host's now
        CHECK(rig.load(base) == 0);
    }
}

TEST_CASE("demand, automatic polling, stopping in the middle of a frame") {
    NicRig rig;
    rig.put(NicRig::transmit_list, {0, tdes1::first | tdes1::last | tdes1::end_of_ring | 60, 0x8000, 0});
    rig.set_csr(4, NicRig::transmit_list);
    rig.set_csr(7, status::clearable);
    rig.set_csr(6, mode::start_transmit);
    CHECK(rig.csr(5) == 0xfc61'0004);
    rig.set_csr(5, 4);
    rig.set_csr(1, 0);  // still nothing: told once
    CHECK(rig.csr(5) == 0xfc60'0000);
    rig.put(NicRig::transmit_list, {chip::owned});
    rig.run(Time::us(100));
    CHECK(rig.wire.frames.empty());
    rig.set_csr(1, 0);
    CHECK(rig.csr(5) == 0xfc20'0000);
    rig.set_csr(6, 0);  // stops behind the frame
    CHECK(rig.csr(5) == 0xfc20'0000);
    rig.run(Time::us(100) + Time::ns(480 + 84 * 80));
    CHECK(rig.wire.frames.size() == 1);
    CHECK(rig.csr(5) == 0xfc00'8002);
    rig.set_csr(5, 2);

    rig.set_csr(0, 4u << 17);
    rig.set_csr(6, mode::start_transmit);
    rig.put(NicRig::transmit_list, {chip::owned});
    const Time suspended = rig.simulation.agenda().now();
    rig.run(suspended + Time::ns(12'800 + 480 + 84 * 80) - Time::ps(1));
    CHECK(rig.wire.frames.size() == 1);
    rig.run(suspended + Time::ns(12'800 + 480 + 84 * 80));
    CHECK(rig.wire.frames.size() == 2);
}

TEST_CASE("more than a jabber's worth is cut off and stops the process") {
    NicRig rig;
    for (std::uint32_t n = 0; n < 2; ++n) {
        rig.put(NicRig::transmit_list + 16 * n,
                {chip::owned, (n == 0 ? tdes1::first : tdes1::last) | 1500, NicRig::transmit_buffers, 0});
    }
    rig.set_csr(4, NicRig::transmit_list);
    rig.set_csr(6, mode::start_transmit);
    rig.run(Time::ms(1));
    CHECK(rig.wire.frames.empty());
    CHECK(rig.load(NicRig::transmit_list) == 0);
    CHECK(rig.load(NicRig::transmit_list + 16) == 0xc000);
    CHECK(rig.csr(5) == 0xfc00'000a);
}

TEST_CASE("a frame arrives: status, length with CRC, data, interrupt") {
    struct Row {
        std::size_t size;
        AddressFilter::Address to;
        std::uint32_t status;
    };
    constexpr AddressFilter::Address broadcast = {255, 255, 255, 255, 255, 255};
    for (const Row& row :
         {Row{60, NicRig::mac, 64u << 16 | 0x300}, Row{42, NicRig::mac, 64u << 16 | 0x300},
          Row{1514, broadcast, 1518u << 16 | 0x700}, Row{1518, NicRig::mac, 1522u << 16 | 0x8300 | rdes0::too_long}}) {
        CAPTURE(row.size);
        NicRig rig;
        rig.start();
        auto frame = NicRig::frame(row.size, row.to);
        frame[12] = std::byte{8};
        rig.nic.receive(frame);
        CHECK(rig.load(NicRig::receive_list) == (row.status | rdes0::ethernet_type));
        const std::size_t padded = std::max<std::size_t>(row.size, 60);
        frame.resize(padded);
        CHECK(rig.bytes(NicRig::receive_buffers, padded) == frame);
        // A CRC behind the frame makes the CRC of all a constant (IEEE 802.3, 3.2.9).
        CHECK(models::ethernet_crc(rig.bytes(NicRig::receive_buffers, padded + 4)) == 0xdebb20e3);
        CHECK(rig.csr(5) == 0xfc67'0040);
        CHECK(rig.interrupt());
        rig.set_csr(5, 0x1'0040);
        CHECK_FALSE(rig.interrupt());
    }
    NicRig rig;
    rig.start();
    rig.nic.receive(NicRig::frame(60));  // "type" 0x0c0d is a type, 0x0010 a length
    CHECK((rig.load(NicRig::receive_list) & rdes0::ethernet_type) == rdes0::ethernet_type);
    auto with_length = NicRig::frame(60);
    with_length[12] = std::byte{0};
    with_length[13] = std::byte{46};
    rig.nic.receive(with_length);
    CHECK((rig.load(NicRig::receive_list + 16) & rdes0::ethernet_type) == 0);
}

TEST_CASE("which frames are taken") {
    constexpr AddressFilter::Address other = {2, 0, 0, 0, 0, 1}, group = {1, 0, 0x5e, 0, 0, 1};
    struct Row {
        std::uint32_t mode;
        AddressFilter::Address to;
        std::uint32_t status;  // 0: not taken
    };
    constexpr std::uint32_t fail = rdes0::filtering_fail, plain = 64u << 16 | 0x320;
    for (const Row& row : {
             Row{0, NicRig::mac, plain},
             Row{0, other, 0},
             Row{0, group, 0},
             Row{mode::all_multicast, other, 0},
             Row{mode::all_multicast, group, plain | rdes0::multicast | fail},
             Row{mode::promiscuous, other, plain | fail},
             Row{mode::promiscuous, NicRig::mac, plain},
             Row{mode::receive_all, other, plain | fail},
         }) {
        CAPTURE(row.mode);
        NicRig rig;
        rig.start();
        rig.set_csr(6, mode::start_receive | mode::start_transmit | row.mode);
        rig.nic.receive(NicRig::frame(60, row.to));
        CHECK(rig.load(NicRig::receive_list) == (row.status != 0 ? row.status : chip::owned));
    }
}

TEST_CASE("nothing arrives when stopped, unplugged, asleep, or too short to be a frame") {
    NicRig rig;
    rig.start();
    rig.nic.receive(NicRig::frame(13));
    rig.nic.set_link(false);
    rig.nic.receive(NicRig::frame(60));
    rig.nic.set_link(true);
    rig.set_config(rig.id(0, 10), pci::header::command, 2, pci::command::io_space);
    rig.nic.receive(NicRig::frame(60));
    rig.set_config(rig.id(0, 10), pci::header::command, 2, pci::command::io_space | pci::command::bus_master);
    rig.set_csr(6, mode::start_transmit);
    CHECK(rig.csr(5) == 0xfc60'8100);
    rig.nic.receive(NicRig::frame(60));
    CHECK(rig.load(NicRig::receive_list) == chip::owned);
    CHECK(rig.csr(8) == 0xfffe'0000);
}

TEST_CASE("a frame over several descriptors, and one for which they do not suffice") {
    NicRig rig;
    rig.start(3, 100);
    const auto frame = NicRig::frame(200);
    rig.nic.receive(frame);
    CHECK(rig.load(NicRig::receive_list) == 0x200);
    CHECK(rig.load(NicRig::receive_list + 16) == 0);
    CHECK(rig.load(NicRig::receive_list + 32) == (204u << 16 | 0x120));
    CHECK(rig.bytes(NicRig::receive_buffers + 0x800, 100) == std::vector<std::byte>{frame.begin() + 100, frame.end()});
    CHECK(rig.csr(5) == 0xfc69'80c0);  // there is no further one: suspended
    NicRig small;
    small.start(2, 100);
    small.nic.receive(frame);
    CHECK(small.load(NicRig::receive_list) == 0x200);
    CHECK(small.load(NicRig::receive_list + 16) == (200u << 16 | 0xc120));
    // Two buffers of one descriptor.
    NicRig two;
    two.start();
    two.put(NicRig::receive_list, {chip::owned, 64 | 200u << 11, 0x9000, 0x9800});
    two.nic.receive(frame);
    CHECK(two.load(NicRig::receive_list) == (204u << 16 | 0x320));
    CHECK(two.bytes(0x9800, 136) == std::vector<std::byte>{frame.begin() + 64, frame.end()});
}

TEST_CASE("without a descriptor frames are missed and counted; a demand or the next frame finds new ones") {
    NicRig rig;
    rig.start(1, 0x600);
    rig.nic.receive(NicRig::frame(60));
    CHECK(rig.csr(5) == 0xfc69'80c0);
    rig.set_csr(5, 0x1'ffff);
    for (int i = 0; i < 3; ++i) rig.nic.receive(NicRig::frame(60));
    CHECK(rig.csr(5) == 0xfc68'0000);  // told once
    CHECK(rig.csr(8) == 0xfffe'0003);
    CHECK(rig.csr(8) == 0xfffe'0000);
    rig.put(NicRig::receive_list, {chip::owned});
    rig.nic.receive(NicRig::frame(60));
    CHECK(rig.load(NicRig::receive_list) == (64u << 16 | 0x320));
    CHECK((rig.csr(5) >> 17 & 7) == 4);
    rig.put(NicRig::receive_list, {chip::owned});
    rig.set_csr(2, 0);
    CHECK((rig.csr(5) >> 17 & 7) == 3);
    for (unsigned i = 0; i < 0x10002; ++i) {
        rig.put(NicRig::receive_list, {0});
        rig.nic.receive(NicRig::frame(60));
    }
    CHECK(rig.csr(8) == 0xffff'0000);  // the counter ran over
}

TEST_CASE("memory that is not there stops both processes") {
    struct Row {
        bool receive;
        std::uint32_t address, refused_from, status;
    };
    for (const Row& row : {Row{true, 0x8000'0000, ~0u, 0xfc80'2000}, Row{false, 0x8000'0000, ~0u, 0xfc80'2000},
                           Row{false, 0x9000, 0x9000, 0xfd00'2000}}) {
        NicRig rig;
        rig.host.refused_from = row.refused_from;
        rig.put_set_up();
        rig.start();
        rig.set_csr(5, 0x1ffff);
        rig.set_csr(6, row.receive ? mode::start_receive : 0);
        rig.set_csr(5, 0x1ffff);
        rig.set_csr(row.receive ? 3 : 4, row.address);
        rig.set_csr(7, 0);
        if (row.receive) {
            rig.nic.receive(NicRig::frame(60));
        } else {
            rig.set_csr(6, mode::start_transmit);
        }
        CHECK(rig.csr(5) == row.status);
        rig.set_csr(0, 1);
        CHECK(rig.csr(5) == 0xfc00'0000);
    }
}

TEST_CASE("a transmitter that may not master the bus waits until it may") {
    NicRig rig;
    rig.set_config(rig.id(0, 10), pci::header::command, 2, pci::command::io_space);
    rig.put(NicRig::transmit_list, {chip::owned, tdes1::first | tdes1::last | 60, 0x8000, 0});
    rig.set_csr(4, NicRig::transmit_list);
    rig.set_csr(6, mode::start_transmit);
    rig.run(Time::us(50));
    CHECK(rig.csr(5) == 0xfc20'0000);
    rig.set_config(rig.id(0, 10), pci::header::command, 2, pci::command::io_space | pci::command::bus_master);
    rig.run(Time::us(50) + Time::ns(480 + 84 * 80));
    CHECK(rig.wire.frames.size() == 1);
}

TEST_CASE("the general-purpose timer counts in 81.92 us, once or again and again") {
    NicRig rig;
    rig.set_csr(7, status::clearable);
    rig.set_csr(11, 2);
    CHECK(rig.csr(11) == 0xfffe'0002);
    rig.run(Time::ns(81'920));
    CHECK(rig.csr(11) == 0xfffe'0001);
    rig.run(Time::ns(2 * 81'920) - Time::ps(1));
    CHECK_FALSE(rig.interrupt());
    rig.run(Time::ns(2 * 81'920));
    CHECK(rig.csr(5) == 0xfc01'0800);
    CHECK(rig.csr(11) == 0xfffe'0000);
    rig.set_csr(5, 0x800);
    rig.set_csr(11, 0x1'0001);
    rig.run(Time::ns(3 * 81'920));
    CHECK(rig.csr(5) == 0xfc01'0800);
    rig.set_csr(5, 0x800);
    rig.run(Time::ns(4 * 81'920));
    CHECK(rig.csr(5) == 0xfc01'0800);
    rig.set_csr(11, 0);
    rig.set_csr(5, 0x800);
    rig.run(Time::ms(10));
    CHECK(rig.csr(5) == 0xfc00'0000);
}

TEST_CASE("the general-purpose port: outputs read back, the cable shows on its pin") {
    NicRig rig;
    rig.set_csr(12, 0x10f);
    rig.set_csr(12, 0xa5);
    CHECK(rig.csr(12) == 0xffff'fef5);
    rig.nic.set_link(false);
    CHECK(rig.csr(12) == 0xffff'feb5);
}

TEST_CASE("the interrupt follows events, masks and both enables") {
    struct Row {
        std::uint32_t mask;
        bool interrupt;
        std::uint32_t shown;  // summary bits
    };
    for (const Row& row :
         {Row{0, false, 0}, Row{status::receive_done, false, status::normal}, Row{status::normal, false, 0},
          Row{status::normal | status::receive_done, true, status::normal},
          Row{status::abnormal | status::receive_done, false, status::normal},
          Row{status::normal | status::receive_unavailable, false, status::abnormal},
          Row{status::abnormal | status::receive_unavailable, true, status::abnormal}}) {
        CAPTURE(row.mask);
        NicRig rig;
        rig.start(1);
        rig.set_csr(7, row.mask);
        rig.nic.receive(NicRig::frame(60));  // done, and no further descriptor
        CHECK(rig.interrupt() == row.interrupt);
        CHECK((rig.csr(5) & (status::normal | status::abnormal)) == row.shown);
    }
}

TEST_CASE("loop-back: what is sent comes back and does not leave") {
    NicRig rig;
    rig.start();
    rig.put_bytes(0x8000, NicRig::frame(60));
    rig.put(NicRig::transmit_list + 16, {chip::owned, tdes1::first | tdes1::last | 60, 0x8000, 0});
    rig.set_csr(6, mode::start_receive | mode::start_transmit | 1 << 10);
    rig.set_csr(1, 0);
    rig.run_for(Time::us(10));
    CHECK(rig.wire.frames.empty());
    CHECK(rig.load(NicRig::receive_list) == (64u << 16 | 0x320));
}

TEST_CASE("saved while a frame is on the wire, restored into a fresh machine, it is sent at its time") {
    NicRig first;
    first.start();
    first.put_bytes(0x8000, NicRig::frame(100));
    first.put(NicRig::transmit_list + 16,
              {chip::owned, tdes1::interrupt | tdes1::first | tdes1::last | 100, 0x8000, 0});
    first.set_csr(1, 0);
    const Time due = first.simulation.agenda().now() + Time::ns(480 + 80 * 124);
    first.run_for(Time::us(2));
    sim::Writer writer;
    writer(first.simulation.agenda(), first.root, first.nic);
    NicRig second;
    second.host.memory = first.host.memory;
    sim::Reader reader{writer.data()};
    reader(second.simulation.agenda(), second.root, second.nic);
    CHECK(reader.remaining() == 0);
    CHECK(second.nic.state() == first.nic.state());
    second.run(due);
    REQUIRE(second.wire.frames.size() == 1);
    CHECK(second.wire.times[0] == due);
    CHECK(second.interrupt());
    second.nic.receive(NicRig::frame(60));
    CHECK(second.load(NicRig::receive_list) == (64u << 16 | 0x320));
}

}  // namespace legacy_nic_test
