// A guest that says to a Server what a test wants it to say, and keeps what it is told.
#pragma once

#include <cstdint>
#include <deque>
#include <numeric>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "tests/vmbus/loopback.h"
#include "vmbus/server.h"

namespace vmbus::test {

class RawGuest final : public GuestPort {
public:
    static constexpr std::uint64_t memory_pages = 512;
    static constexpr std::uint32_t processors = 4;
    static constexpr std::uint64_t interrupt_page = 500;
    static constexpr std::uint64_t monitor_page_to_guest = 501;
    static constexpr std::uint64_t monitor_page_to_host = 502;

    explicit RawGuest(const ServerConfig& config = {}, std::uint64_t pages = memory_pages)
        : memory(pages), server(simulation.scope("bus"), memory, *this, config) {}

    // GuestPort
    [[nodiscard]] bool post_message(std::uint32_t vp, std::span<const std::byte> payload) override {
        if (heard.size() >= room) return false;
        heard.push_back({vp, {payload.begin(), payload.end()}});
        return true;
    }
    void signal_event(std::uint32_t vp, std::uint16_t flag) override { events.emplace_back(vp, flag); }
    void open_connection(std::uint32_t connection) override { connections.insert(connection); }
    void close_connection(std::uint32_t connection) override { connections.erase(connection); }
    std::uint32_t processor_count() const override { return processors; }

    template <class T>
    void say(const T& message, std::span<const std::uint64_t> behind = {}) {
        std::vector<std::byte> bytes(sizeof message);
        std::memcpy(bytes.data(), static_cast<const void*>(&message), sizeof message);
        const auto rest = std::as_bytes(behind);
        bytes.insert(bytes.end(), rest.begin(), rest.end());
        server.guest_message(bytes);
    }
    // The next message, if it is of this kind.
    template <class T>
    std::optional<T> hear() {
        if (heard.empty() || type_of(heard.front().second) != T::type) return std::nullopt;
        const auto message = read_as<T>(heard.front().second);
        heard.pop_front();
        return message;
    }

    // Contact, up to the answer.
    std::optional<message::VersionResponse> contact(std::uint32_t version, bool monitors = false) {
        message::InitiateContact request;
        request.version = version;
        request.interrupt_page_or_target = version >= version::v5_0 ? 2 : interrupt_page * page_bytes;
        if (monitors) {
            request.monitor_page_to_guest = monitor_page_to_guest * page_bytes;
            request.monitor_page_to_host = monitor_page_to_host * page_bytes;
        }
        say(request);
        return hear<message::VersionResponse>();
    }
    // Contact and offers, up to the last.
    std::vector<message::OfferChannel> connect(std::uint32_t version = version::v5_3, bool monitors = false) {
        (void)contact(version, monitors);
        say(message::RequestOffers{});
        std::vector<message::OfferChannel> offers;
        while (const auto offer = hear<message::OfferChannel>()) offers.push_back(*offer);
        (void)hear<message::AllOffersDelivered>();
        return offers;
    }
    // The status. Nothing: no answer.
    std::optional<std::uint32_t> make_gpadl(std::uint32_t relid, std::uint32_t number, std::uint64_t first_page,
                                            std::uint64_t count) {
        std::vector<std::uint64_t> words(1 + count);
        words[0] = count * page_bytes;
        std::iota(words.begin() + 1, words.end(), first_page);
        message::GpadlHeader header;
        header.relid = relid;
        header.gpadl = number;
        header.range_bytes = static_cast<std::uint16_t>(words.size() * 8);
        header.range_count = 1;
        say(header, words);
        const auto created = hear<message::GpadlCreated>();
        if (!created || created->gpadl != number || created->relid != relid) return std::nullopt;
        return created->status;
    }
    std::optional<std::uint32_t> open(std::uint32_t relid, std::uint32_t gpadl, std::uint32_t vp = 0,
                                      std::uint32_t split = 2) {
        message::OpenChannel request;
        request.relid = relid;
        request.open_id = relid + 1000;
        request.ring_gpadl = gpadl;
        request.target_vp = vp;
        request.downstream_page_offset = split;
        say(request);
        const auto result = hear<message::OpenChannelResult>();
        if (!result || result->relid != relid || result->open_id != relid + 1000) return std::nullopt;
        return result->status;
    }
    // Rings of two pages each from `page` on, and the channel.
    std::optional<std::uint32_t> open_at(std::uint32_t relid, std::uint64_t page, std::uint32_t vp = 0) {
        const std::vector<std::byte> zero(4 * page_bytes);
        (void)memory.write(page * page_bytes, zero);
        if (make_gpadl(relid, relid + 100, page, 4) != 0u) return std::nullopt;
        return open(relid, relid + 100, vp);
    }
    void close(std::uint32_t relid) {
        message::CloseChannel request;
        request.relid = relid;
        say(request);
    }
    void release(std::uint32_t relid) {
        message::RelidReleased request;
        request.relid = relid;
        say(request);
    }
    void tear_down(std::uint32_t relid, std::uint32_t gpadl) {
        message::GpadlTeardown request;
        request.relid = relid;
        request.gpadl = gpadl;
        say(request);
    }
    void modify(std::uint32_t relid, std::uint32_t vp) {
        message::ModifyChannel request;
        request.relid = relid;
        request.target_vp = vp;
        say(request);
    }
    // An inband packet of 8 bytes on a ring that begins at that page, written by hand.
    void put_packet(std::uint64_t ring_page, std::uint32_t at, std::uint64_t transaction) {
        const std::uint64_t packet[] = {0x0001'0003'0002'0006, transaction, 0xabcd, std::uint64_t{at} << 32};
        (void)memory.write((ring_page + 1) * page_bytes + at, std::as_bytes(std::span{packet}));
        set_word(ring_page * page_bytes, at + 32);
    }
    std::uint32_t word(std::uint64_t gpa) {
        std::uint32_t value = 0;
        (void)memory.read(gpa, std::as_writable_bytes(std::span{&value, 1}));
        return value;
    }
    void set_word(std::uint64_t gpa, std::uint32_t value) {
        (void)memory.write(gpa, std::as_bytes(std::span{&value, 1}));
    }
    std::uint64_t refused(Refusal refusal) const { return server.refused(refusal); }
    std::uint64_t all_refused() const {
        std::uint64_t sum = 0;
        for (std::size_t n = 0; n < refusal_table.size(); ++n) sum += refused(static_cast<Refusal>(n));
        return sum;
    }
    void run(sim::Time duration) { simulation.agenda().run_until(simulation.agenda().now() + duration); }

    sim::Simulation simulation;
    VectorMemory memory;
    Server server;
    std::deque<std::pair<std::uint32_t, std::vector<std::byte>>> heard;  // with the processor that it came to
    std::vector<std::pair<std::uint32_t, std::uint16_t>> events;
    std::set<std::uint32_t> connections;
    std::size_t room = 1'000'000;  // of the queue for messages to the guest
};

}  // namespace vmbus::test
