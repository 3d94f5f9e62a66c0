// The 21140's serial ROM and its address filters.
#include <doctest/doctest.h>

#include "tests/models/legacy_nic_rig.h"

namespace legacy_nic_parts_test {

using namespace legacy_test;
using models::AddressFilter;

namespace {

struct RomPins {
    NicRig& rig;
    void drive(bool select, bool clock, bool data) {
        rig.set_csr(9, 0x4800 | (select ? 1 : 0) | (clock ? 2 : 0) | (data ? 4 : 0));
    }
    unsigned bit(bool data) {
        drive(true, false, data);
        drive(true, true, data);
        return rig.csr(9) >> 3 & 1;
    }
    unsigned command(unsigned value, unsigned bits) {
        unsigned seen = 0;
        for (unsigned i = bits; i-- > 0;) seen = seen << 1 | bit((value >> i & 1) != 0);
        return seen;
    }
    unsigned read(unsigned address) {
        drive(false, false, false);
        (void)command(0b110 << 6 | address, 9);
        const unsigned value = command(0, 16);
        drive(false, false, false);
        return value;
    }
};

}  // namespace

TEST_CASE("the serial ROM through CSR9: address and media where drivers look") {
    NicRig rig;
    RomPins pins{rig};
    std::array<std::uint8_t, 128> rom{};
    for (unsigned word = 0; word < 64; ++word) {
        const unsigned value = pins.read(word);
        rom[2 * word] = static_cast<std::uint8_t>(value);
        rom[2 * word + 1] = static_cast<std::uint8_t>(value >> 8);
    }
    CHECK(std::vector<int>{rom.begin() + 20, rom.begin() + 26} == std::vector<int>{0, 0x15, 0x5d, 1, 2, 3});
    CHECK(rom[18] == 3);
    CHECK(rom[19] == 1);
    REQUIRE(rom[27] == 30);
    const std::vector<int> leaf{rom.begin() + 30, rom.begin() + 50};
    CHECK(leaf == std::vector<int>{0x05, 0x02, 0x0f, 4, 0, 0, 0x9e, 0, 4, 0, 0x9e, 0, 3, 0, 0x6d, 0, 5, 0, 0x6d, 0});
    // How a driver tells a small ROM from one with eight address bits: the dummy bit comes two clocks early.
    pins.drive(false, false, false);
    const unsigned seen = pins.command(0b110 << 8 | 0xff, 13) << 16 | pins.command(0, 16);
    CHECK((seen & 0x4'0000) == 0);
    pins.drive(false, false, false);
    CHECK((rig.csr(9) & 8) == 8);  // nobody drives it
}

TEST_CASE("the serial ROM: sequential reads, writes only when enabled, erasing") {
    models::SerialRom::Content content{};
    for (unsigned i = 0; i < 64; ++i) content[i] = static_cast<std::uint16_t>(0x100 + i);
    models::SerialRom rom{content};
    const auto send = [&](unsigned value, unsigned bits) {
        unsigned seen = 0;
        for (unsigned i = bits; i-- > 0;) {
            rom.set(true, false, (value >> i & 1) != 0);
            rom.set(true, true, (value >> i & 1) != 0);
            seen = seen << 1 | (rom.data_out() ? 1 : 0);
        }
        return seen;
    };
    const auto end = [&] { rom.set(false, false, false); };
    send(0b110'111110, 9);
    CHECK(send(0, 16) == 0x13e);
    CHECK(send(0, 16) == 0x13f);
    CHECK(send(0, 16) == 0x100);  // round
    end();
    const auto write = [&](unsigned address, unsigned value) {
        send(0b101 << 6 | address, 9);
        send(value, 16);
        end();
    };
    write(5, 0xbeef);
    CHECK(rom.content()[5] == 0x105);
    send(0b100'110000, 9);
    end();
    write(5, 0xbeef);
    CHECK(rom.content()[5] == 0xbeef);
    send(0b101'000110, 9);
    send(0x7, 3);  // given up halfway
    end();
    CHECK(rom.content()[6] == 0x106);
    send(0b111'000111, 9);
    end();
    CHECK(rom.content()[7] == 0xffff);
    send(0b100'010000, 9);
    send(0x1234, 16);
    end();
    CHECK(rom.content()[63] == 0x1234);
    send(0b100'100000, 9);
    end();
    CHECK(rom.content()[0] == 0xffff);
    send(0b100'000000, 9);
    end();
    write(0, 1);
    CHECK(rom.content()[0] == 0xffff);
}

TEST_CASE("filters: what each kind of set-up frame lets through") {
    constexpr AddressFilter::Address own = NicRig::mac, other = {0x00, 0x15, 0x5d, 9, 9, 9},
                                     broadcast = {255, 255, 255, 255, 255, 255}, group = {1, 0, 0x5e, 0, 0, 1};
    std::vector<std::byte> perfect(192), hashed(192);
    const auto put = [](std::vector<std::byte>& frame, std::size_t at, const AddressFilter::Address& address) {
        for (std::size_t i = 0; i < 3; ++i) {
            frame[at + 4 * i] = static_cast<std::byte>(address[2 * i]);
            frame[at + 4 * i + 1] = static_cast<std::byte>(address[2 * i + 1]);
        }
    };
    for (std::size_t i = 0; i < 15; ++i) put(perfect, 12 * i, own);
    put(perfect, 180, broadcast);
    put(hashed, 156, own);
    const auto span_of = [](const AddressFilter::Address& a) { return std::as_bytes(std::span{a}); };
    CHECK((models::ethernet_crc(span_of(broadcast)) & 0x1ff) == 255);  // where drivers put it
    const auto set_hash = [&](const AddressFilter::Address& address) {
        const unsigned index = models::ethernet_crc(span_of(address)) & 0x1ff;
        hashed[4 * (index / 16) + index % 16 / 8] |= static_cast<std::byte>(1u << index % 8);
    };
    set_hash(broadcast);
    set_hash(group);
    struct Row {
        AddressFilter::Kind kind;
        bool own, other, broadcast, group;
    };
    for (const Row& row : {Row{AddressFilter::Kind::perfect, true, false, true, false},
                           Row{AddressFilter::Kind::inverse, false, true, false, true},
                           Row{AddressFilter::Kind::hash_perfect, true, false, true, true},
                           Row{AddressFilter::Kind::hash_only, false, false, true, true}}) {
        CAPTURE(static_cast<int>(row.kind));
        AddressFilter filter;
        CHECK_FALSE(filter.passes(span_of(own)));
        const bool whole = row.kind == AddressFilter::Kind::perfect || row.kind == AddressFilter::Kind::inverse;
        filter.load(row.kind, whole ? perfect : hashed);
        CHECK(filter.passes(span_of(own)) == row.own);
        CHECK(filter.passes(span_of(other)) == row.other);
        CHECK(filter.passes(span_of(broadcast)) == row.broadcast);
        CHECK(filter.passes(span_of(group)) == row.group);
    }
}

}  // namespace legacy_nic_parts_test
