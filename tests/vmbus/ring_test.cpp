// Rings: what each end writes, when it signals, what it makes of an end that lies.
#include "vmbus/ring.h"

#include <doctest/doctest.h>

#include <cstring>
#include <numeric>
#include <string>

#include "sim/random.h"
#include "tests/vmbus/loopback.h"

namespace ring_test {

namespace {

using namespace vmbus;

// Two ends of one ring of `pages` pages, control page included.
struct OneRing {
    explicit OneRing(std::uint64_t page_count, RingEnd reader_end = RingEnd::host, ReadMode mode = ReadMode::batched)
        : memory(page_count), writer(RingEnd::guest, ReadMode::batched), reader(reader_end, mode) {
        std::vector<std::uint64_t> numbers(page_count);
        std::iota(numbers.begin(), numbers.end(), 0);
        pages.append(0, static_cast<std::uint32_t>(page_count * page_bytes), numbers);
        writer.out.attach(pages);
        reader.attach(pages);
        REQUIRE(writer.out.make(memory));
        REQUIRE(reader.start(memory));
    }

    std::uint32_t word(std::uint64_t at) {
        std::uint32_t value = 0;
        REQUIRE(memory.read(at, std::as_writable_bytes(std::span{&value, 1})));
        return value;
    }
    void set_word(std::uint64_t at, std::uint32_t value) {
        REQUIRE(memory.write(at, std::as_bytes(std::span{&value, 1})));
    }
    RingWriter::Result write(std::uint32_t bytes, std::uint64_t transaction = 1) {
        const std::vector<std::byte> payload(bytes, std::byte{0x77});
        return writer.send(memory, PacketType::inband, transaction, false, payload);
    }
    bool commit() {
        REQUIRE(writer.out.commit(memory));
        return writer.out.take_signal();
    }
    RingReader::Result read() { return reader.receive(memory, packet); }

    test::VectorMemory memory;
    PageList pages;
    RingPair writer;
    RingReader reader;
    Packet packet;
};

using Written = RingWriter::Result;
using Read = RingReader::Result;

TEST_CASE("a packet's bytes") {
    OneRing ring{2};
    const std::array<std::byte, 5> payload{std::byte{1}, std::byte{2}, std::byte{3}, std::byte{4}, std::byte{5}};
    REQUIRE(ring.writer.send(ring.memory, PacketType::inband, 0x1122334455667788, true, payload) == Written::written);
    CHECK(ring.word(RingControl::write_index) == 0);  // not before the commit
    CHECK(ring.commit());
    CHECK(ring.word(RingControl::write_index) == 32);
    CHECK(ring.word(RingControl::feature_bits) == 1);
    const std::uint64_t expected[] = {0x0001'0003'0002'0006, 0x1122334455667788, 0x0000'0005'0403'0201, 0};
    CHECK(std::memcmp(ring.memory.bytes().data() + 4096, expected, sizeof expected) == 0);
    REQUIRE(ring.read() == Read::packet);
    CHECK(ring.packet.type == PacketType::inband);
    CHECK(ring.packet.wants_completion);
    CHECK(ring.packet.transaction == 0x1122334455667788);
    REQUIRE(ring.packet.payload.size() == 8);
    CHECK(std::memcmp(ring.packet.payload.data(), &expected[2], 8) == 0);
    // The second packet's trailer says where it began.
    REQUIRE(ring.write(8) == Written::written);
    std::uint64_t trailer = 0;
    std::memcpy(&trailer, ring.memory.bytes().data() + 4096 + 32 + 24, 8);
    CHECK(trailer == std::uint64_t{32} << 32);
}

TEST_CASE("packets of all forms arrive as they were sent") {
    OneRing ring{4};
    const std::vector<GpaRange> ranges{{100, 4000, {7, 9}}, {4096, 0, {1}}, {1, 4095, {0xfffff}}};
    const std::vector<std::byte> payload(24, std::byte{3});
    REQUIRE(ring.writer.send_gpa_direct(ring.memory, 5, ranges, payload) == Written::written);
    const std::vector<TransferRange> transfers{{60, 0}, {1514, 2048}};
    REQUIRE(ring.writer.send_transfer_pages(ring.memory, 6, 0xcafe, transfers, payload) == Written::written);
    REQUIRE(ring.writer.send(ring.memory, PacketType::completion, 7, false, {}) == Written::written);
    ring.commit();
    REQUIRE(ring.read() == Read::packet);
    CHECK(ring.packet.type == PacketType::gpa_direct);
    CHECK(ring.packet.ranges == ranges);
    CHECK(ring.packet.wants_completion);
    CHECK(ring.packet.payload == payload);
    REQUIRE(ring.read() == Read::packet);
    CHECK(ring.packet.type == PacketType::transfer_pages);
    CHECK(ring.packet.page_set == 0xcafe);
    REQUIRE(ring.packet.transfers.size() == 2);
    CHECK(ring.packet.transfers[1].length == 1514);
    CHECK(ring.packet.transfers[1].offset == 2048);
    CHECK(ring.packet.ranges.empty());
    REQUIRE(ring.read() == Read::packet);
    CHECK(ring.packet.type == PacketType::completion);
    CHECK(ring.packet.transaction == 7);
    CHECK(ring.packet.payload.empty());
    CHECK(ring.packet.transfers.empty());
    CHECK(ring.read() == Read::empty);
}

TEST_CASE("a writer signals only a reader that saw the ring empty and is not masked") {
    OneRing ring{4};
    CHECK(ring.word(RingControl::interrupt_mask) == 0);
    REQUIRE(ring.write(8) == Written::written);
    CHECK(ring.commit());  // empty before
    REQUIRE(ring.write(8) == Written::written);
    CHECK_FALSE(ring.commit());  // not empty before
    REQUIRE(ring.read() == Read::packet);
    CHECK(ring.word(RingControl::interrupt_mask) == 1);  // polling
    CHECK(ring.word(RingControl::read_index) == 0);      // not released yet
    REQUIRE(ring.read() == Read::packet);
    REQUIRE(ring.write(8) == Written::written);
    CHECK_FALSE(ring.commit());
    REQUIRE(ring.read() == Read::packet);
    CHECK(ring.read() == Read::empty);
    CHECK(ring.word(RingControl::interrupt_mask) == 0);
    CHECK(ring.word(RingControl::read_index) == 3 * 32);
    REQUIRE(ring.write(8) == Written::written);
    CHECK(ring.commit());
    // Masked, though empty.
    REQUIRE(ring.read() == Read::packet);
    REQUIRE(ring.reader.commit(ring.memory));
    REQUIRE(ring.write(8) == Written::written);
    CHECK_FALSE(ring.commit());
    REQUIRE(ring.read() == Read::packet);
    CHECK_FALSE(ring.commit());  // nothing written
}

TEST_CASE("a direct reader never masks") {
    OneRing ring{4, RingEnd::guest, ReadMode::direct};
    for (int n = 0; n < 3; ++n) {
        REQUIRE(ring.write(8) == Written::written);
        CHECK(ring.commit());
        REQUIRE(ring.read() == Read::packet);
        CHECK(ring.word(RingControl::interrupt_mask) == 0);
        CHECK(ring.read() == Read::empty);
    }
}

TEST_CASE("a packet that arrives while the reader unmasks is found") {
    OneRing ring{4};
    REQUIRE(ring.write(8) == Written::written);
    CHECK(ring.commit());
    REQUIRE(ring.read() == Read::packet);
    REQUIRE(ring.write(8) == Written::written);
    // The writer commits just after the reader looked at the write index and saw nothing.
    unsigned reads = 0;
    ring.memory.after_read = [&] {
        if (++reads != 1) return;
        REQUIRE(ring.writer.out.commit(ring.memory));
    };
    CHECK(ring.read() == Read::packet);
    CHECK_FALSE(ring.writer.out.take_signal());
}

TEST_CASE("a full ring: pending_send_size and the signal when there is room") {
    OneRing ring{2};  // 4096 bytes: a packet of 1000 takes 1024
    for (int n = 0; n < 3; ++n) CHECK(ring.write(1000) == Written::written);
    // Never filled completely: 1024 are free, more than that are needed.
    CHECK(ring.write(1000) == Written::full);
    CHECK(ring.word(RingControl::pending_send_size) == 1024);
    CHECK(ring.word(RingControl::write_index) == 3072);  // made visible
    CHECK(ring.writer.out.take_signal());
    CHECK(ring.writer.out.blocked());
    CHECK(ring.write(992) == Written::written);  // 1016 fit
    CHECK(ring.word(RingControl::pending_send_size) == 0);
    CHECK(ring.write(2000) == Written::full);
    CHECK(ring.word(RingControl::pending_send_size) == 2024);
    ring.commit();

    REQUIRE(ring.read() == Read::packet);
    REQUIRE(ring.reader.commit(ring.memory));
    CHECK_FALSE(ring.reader.take_signal());  // 1032 are free
    REQUIRE(ring.read() == Read::packet);
    REQUIRE(ring.reader.commit(ring.memory));
    CHECK(ring.reader.take_signal());  // 2056
    REQUIRE(ring.read() == Read::packet);
    REQUIRE(ring.reader.commit(ring.memory));
    CHECK_FALSE(ring.reader.take_signal());  // there was room already
    CHECK(ring.write(2000) == Written::written);
    CHECK_FALSE(ring.writer.out.blocked());
}

TEST_CASE("only the guest's reader asks whether the writer knows pending_send_size") {
    for (const RingEnd end : {RingEnd::host, RingEnd::guest}) {
        OneRing ring{2, end};
        while (ring.write(1000) == Written::written) continue;
        ring.set_word(RingControl::feature_bits, 0);
        CHECK_FALSE(ring.reader.writer_supports_pending(ring.memory));
        REQUIRE(ring.read() == Read::packet);
        REQUIRE(ring.reader.commit(ring.memory));
        CHECK(ring.reader.take_signal() == (end == RingEnd::host));
    }
}

TEST_CASE("low bits of pending_send_size mean nothing") {
    OneRing ring{2};
    REQUIRE(ring.write(1000) == Written::written);
    ring.commit();
    ring.set_word(RingControl::pending_send_size, 4095);  // all but a byte: 4088 is meant
    REQUIRE(ring.read() == Read::packet);
    REQUIRE(ring.reader.commit(ring.memory));
    CHECK(ring.reader.take_signal());
}

TEST_CASE("what can never fit is a fault, not a wait") {
    OneRing ring{2};
    CHECK(ring.write(4096 - 32) == Written::written);
    OneRing other{2};
    CHECK(other.write(4096 - 24) == Written::fault);
    CHECK(other.writer.out.fault() == RingFault::too_small);
}

// What a hostile writer leaves on the ring, and what the reader makes of it.
TEST_CASE("a reader refuses what is wrong") {
    struct Row {
        std::string what;
        std::uint32_t write_index;
        std::array<std::uint16_t, 4> descriptor;  // type, offset8, length8, flags
        std::array<std::uint64_t, 6> behind;      // after the transaction id
        RingFault fault;
    };
    constexpr std::uint64_t range_4k = 4096;
    const std::vector<Row> rows{
        {"index at the end", 8192, {6, 2, 2, 0}, {}, RingFault::write_index},
        {"index far outside", 0xffff'fff8, {6, 2, 2, 0}, {}, RingFault::write_index},
        {"index not a multiple of 8", 36, {6, 2, 2, 0}, {}, RingFault::write_index},
        {"half a descriptor", 8, {6, 2, 2, 0}, {}, RingFault::available},
        {"a descriptor without its trailer", 16, {6, 2, 2, 0}, {}, RingFault::packet_length},
        {"the least packet", 24, {6, 2, 2, 0}, {}, RingFault::none},
        {"longer than what is there", 64, {6, 2, 8, 0}, {}, RingFault::packet_length},
        {"just as long", 64, {6, 2, 7, 0}, {}, RingFault::none},
        {"the longest length", 64, {6, 2, 0xffff, 0}, {}, RingFault::packet_length},
        {"no header", 64, {6, 0, 7, 0}, {}, RingFault::packet_header},
        {"half a header", 64, {6, 1, 7, 0}, {}, RingFault::packet_header},
        {"a header beyond the packet", 64, {6, 8, 7, 0}, {}, RingFault::packet_header},
        {"length 0", 64, {6, 2, 0, 0}, {}, RingFault::packet_header},
        {"type 0", 64, {0, 2, 7, 0}, {}, RingFault::packet_type},
        {"GPADL establishment", 64, {8, 2, 7, 0}, {}, RingFault::packet_type},
        {"type 0xffff", 64, {0xffff, 2, 7, 0}, {}, RingFault::packet_type},
        {"a longer inband header", 64, {6, 5, 7, 0}, {}, RingFault::none},
        {"transfer pages without header", 64, {7, 2, 7, 0}, {}, RingFault::packet_header},
        {"transfer pages, no ranges", 64, {7, 3, 7, 0}, {}, RingFault::none},
        {"transfer pages, one range", 64, {7, 4, 7, 0}, {std::uint64_t{1} << 32}, RingFault::none},
        {"transfer pages, two ranges in one's place",
         64,
         {7, 4, 7, 0},
         {std::uint64_t{2} << 32},
         RingFault::range_count},
        {"transfer pages, most ranges", 64, {7, 4, 7, 0}, {std::uint64_t{0xffff'ffff} << 32}, RingFault::range_count},
        {"GPA direct without header", 64, {9, 2, 7, 0}, {}, RingFault::packet_header},
        {"GPA direct, no ranges", 64, {9, 3, 7, 0}, {}, RingFault::none},
        {"GPA direct, one page", 64, {9, 5, 7, 0}, {std::uint64_t{1} << 32, range_4k, 3}, RingFault::none},
        {"GPA direct, a range without page",
         64,
         {9, 4, 7, 0},
         {std::uint64_t{1} << 32, range_4k},
         RingFault::range_count},
        {"GPA direct, two ranges in one's place",
         64,
         {9, 5, 7, 0},
         {std::uint64_t{2} << 32, range_4k, 3},
         RingFault::range_count},
        {"GPA direct, most ranges",
         64,
         {9, 5, 7, 0},
         {std::uint64_t{0xffff'ffff} << 32, range_4k, 3},
         RingFault::range_count},
        {"GPA direct, a byte too many", 64, {9, 5, 7, 0}, {std::uint64_t{1} << 32, range_4k + 1, 3}, RingFault::range},
        {"GPA direct, a byte of the next page",
         64,
         {9, 5, 7, 0},
         {std::uint64_t{1} << 32, std::uint64_t{1} << 32 | range_4k, 3},
         RingFault::range},
        {"GPA direct, the longest range", 64, {9, 5, 7, 0}, {std::uint64_t{1} << 32, 0xffff'ffff, 3}, RingFault::range},
        {"GPA direct, an empty range", 64, {9, 5, 7, 0}, {std::uint64_t{1} << 32, 0, 3}, RingFault::range},
        {"GPA direct, an offset outside the first page",
         64,
         {9, 5, 7, 0},
         {std::uint64_t{1} << 32, std::uint64_t{4096} << 32 | 1, 3},
         RingFault::range},
        {"GPA direct, a second range cut off",
         72,
         {9, 7, 8, 0},
         {std::uint64_t{2} << 32, 4096 * 2, 3, 4, range_4k},
         RingFault::range},
    };
    for (const Row& row : rows) {
        CAPTURE(row.what);
        OneRing ring{3};  // 8192 bytes
        auto* const data = ring.memory.bytes().data() + 4096;
        std::memcpy(data, row.descriptor.data(), 8);
        std::memcpy(data + 16, row.behind.data(), sizeof row.behind);
        ring.set_word(RingControl::write_index, row.write_index);
        const Read result = ring.read();
        CHECK(result == (row.fault == RingFault::none ? Read::packet : Read::fault));
        CHECK(name_of(ring.reader.fault()) == name_of(row.fault));
        // It stays so, whatever is put right later.
        if (row.fault != RingFault::none) {
            ring.set_word(RingControl::write_index, 0);
            CHECK(ring.read() == Read::fault);
            CHECK_FALSE(ring.reader.commit(ring.memory));
        }
    }
}

TEST_CASE("a writer refuses a read index that is none") {
    for (const std::uint32_t index : {8192u, 4u, 0xffff'ffffu}) {
        CAPTURE(index);
        OneRing full{3};
        while (full.write(1000) == Written::written) continue;
        full.set_word(RingControl::read_index, index);
        CHECK(full.write(1000) == Written::fault);
        CHECK(full.writer.out.fault() == RingFault::read_index);
        OneRing ring{3};
        REQUIRE(ring.write(8) == Written::written);
        ring.set_word(RingControl::read_index, index);
        CHECK_FALSE(ring.writer.out.commit(ring.memory));
        CHECK(ring.writer.out.fault() == RingFault::read_index);
    }
}

TEST_CASE("a ring whose pages are not memory is a fault at either end") {
    test::VectorMemory memory{4};
    PageList pages;
    const std::vector<std::uint64_t> numbers{0, 1, 100};
    pages.append(0, 3 * 4096, numbers);
    RingPair writer{RingEnd::guest, ReadMode::batched};
    writer.out.attach(pages);
    REQUIRE(writer.out.make(memory));
    const std::vector<std::byte> payload(2048);
    CHECK(writer.send(memory, PacketType::inband, 1, false, payload) == Written::written);
    CHECK(writer.send(memory, PacketType::inband, 1, false, payload) == Written::fault);
    CHECK(writer.out.fault() == RingFault::memory);
    RingReader reader{RingEnd::host, ReadMode::batched};
    reader.attach(pages);
    REQUIRE(reader.start(memory));
    const std::uint32_t index = 4096 + 1024;
    REQUIRE(memory.write(0, std::as_bytes(std::span{&index, 1})));
    std::uint16_t descriptor[4] = {6, 2, 600, 0};
    REQUIRE(memory.write(4096, std::as_bytes(std::span{descriptor})));
    Packet packet;
    CHECK(reader.receive(memory, packet) == Read::fault);
    CHECK(reader.fault() == RingFault::memory);
}

// Random packets through rings of random sizes over scattered pages, against a queue.
TEST_CASE("rings carry everything in order") {
    sim::Random random{7, "rings"};
    for (unsigned round = 0; round < 30; ++round) {
        const std::uint64_t page_count = 2 + random.below(15);
        test::VectorMemory memory{64};
        std::vector<std::uint64_t> numbers(64);
        std::iota(numbers.begin(), numbers.end(), 0);
        for (std::size_t n = 63; n > 0; --n) std::swap(numbers[n], numbers[random.below(n + 1)]);
        numbers.resize(page_count);
        PageList pages;
        pages.append(0, static_cast<std::uint32_t>(page_count * page_bytes), numbers);
        RingPair writer{RingEnd::guest, ReadMode::batched};
        RingReader reader{RingEnd::host, random.one_in(2) ? ReadMode::batched : ReadMode::direct};
        writer.out.attach(pages);
        reader.attach(pages);
        REQUIRE(writer.out.make(memory));
        REQUIRE(reader.start(memory));
        std::deque<Packet> on_the_way;
        bool signalled = false;  // the reader has something to do
        bool blocked = false;    // the writer waits for a signal
        std::uint64_t sent = 0;
        std::uint64_t taken = 0;
        for (unsigned step = 0; step < 2000; ++step) {
            if (!blocked && random.one_in(2)) {
                Packet packet;
                packet.transaction = ++sent;
                packet.payload.resize(8 * random.below(random.one_in(8) ? (page_count - 1) * 400 : 30));
                for (auto& byte : packet.payload) byte = static_cast<std::byte>(random.next_u64());
                const auto result = writer.send(memory, PacketType::inband, packet.transaction, false, packet.payload);
                REQUIRE(result != Written::fault);
                if (result == Written::written) on_the_way.push_back(packet);
                blocked = result == Written::full;
                if (blocked) --sent;
                if (random.one_in(3)) REQUIRE(writer.out.commit(memory));
                signalled = writer.out.take_signal() || signalled;
            } else if (signalled) {
                Packet packet;
                Read result = Read::packet;
                for (std::uint64_t n = random.below(10) + 1; n > 0 && result == Read::packet; --n) {
                    result = reader.receive(memory, packet);
                    if (result != Read::packet) break;
                    REQUIRE_FALSE(on_the_way.empty());
                    REQUIRE(packet.transaction == on_the_way.front().transaction);
                    REQUIRE(packet.payload == on_the_way.front().payload);
                    on_the_way.pop_front();
                    ++taken;
                }
                REQUIRE(result != Read::fault);
                REQUIRE(reader.commit(memory));
                if (result == Read::empty) signalled = false;
                if (reader.take_signal()) blocked = false;
            } else {
                // Nobody may wait for a signal that never comes.
                REQUIRE(writer.out.commit(memory));
                signalled = writer.out.take_signal() || signalled;
                if (!signalled) REQUIRE_FALSE(blocked);
                if (!signalled) REQUIRE(on_the_way.empty());
            }
        }
        CHECK(taken > 50);
        CHECK(sent - taken == on_the_way.size());
    }
}

}  // namespace

}  // namespace ring_test
