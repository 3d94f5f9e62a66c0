// What stands above a driver in its tests: sends numbered frames as fast as they go, and remembers what comes.
#pragma once

#include <cstring>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "models/behavioural/network_driver.h"
#include "models/network/addresses.h"
#include "models/network/byte_order.h"
#include "models/network/frame.h"
#include "sim/scope.h"

namespace models::test {

// Of an EtherType for experiments, with a number and bytes that follow from it.
inline std::vector<std::byte> numbered_frame(const MacAddress& to, const MacAddress& from, std::uint32_t number,
                                             std::size_t bytes = 60) {
    std::vector<std::byte> frame(bytes);
    store_mac(frame, 0, to);
    store_mac(frame, 6, from);
    store_be16(frame, 12, 0x88b5);
    std::memcpy(&frame[14], &number, 4);
    for (std::size_t n = 18; n < bytes; ++n) frame[n] = static_cast<std::byte>(n * 13 + number);
    return frame;
}
// Its number; nothing if a byte is not as it was.
inline std::optional<std::uint32_t> number_of(std::span<const std::byte> frame) {
    if (frame.size() < 18 || load_be16(frame, 12) != 0x88b5) return std::nullopt;
    std::uint32_t number = 0;
    std::memcpy(&number, &frame[14], 4);
    for (std::size_t n = 18; n < frame.size(); ++n) {
        if (frame[n] != static_cast<std::byte>(n * 13 + number)) return std::nullopt;
    }
    return number;
}

struct Numbers {
    std::vector<std::uint32_t> got;
    std::uint64_t damaged = 0;

    void take(std::span<const std::byte> frame) {
        const auto number = number_of(frame);
        if (number) {
            got.push_back(*number);
        } else {
            ++damaged;
        }
    }
    bool counts_up() const {
        for (std::size_t n = 0; n < got.size(); ++n) {
            if (got[n] != n) return false;
        }
        return damaged == 0;
    }
    template <class Archive>
    void fields(Archive& archive) {
        archive(got, damaged);
    }
};

class TestStack final : public NetworkDriverUser {
public:
    explicit TestStack(const sim::Scope& scope) : registration_(scope.register_state(*this)) {}

    NetworkDriver* driver = nullptr;
    MacAddress own, peer;
    std::size_t frame_bytes = 60;
    std::uint32_t sent = 0, to_send = 0;
    unsigned ups = 0, downs = 0, rooms = 0;
    Numbers numbers;
    std::vector<vmbus::IncomingFrame> others;
    bool keep = false;  // everything goes to `others`
    std::set<std::uint16_t> queues;

    void send(std::uint32_t count) {
        to_send += count;
        go_on();
    }
    void go_on() {
        while (sent < to_send) {
            vmbus::OutgoingFrame frame;
            frame.bytes = numbered_frame(peer, own, sent, frame_bytes);
            if (!driver->transmit(std::move(frame))) return;
            ++sent;
        }
    }

    void ready() override {
        ++ups;
        go_on();
    }
    void down() override { ++downs; }
    void receive(std::uint16_t queue, std::span<vmbus::IncomingFrame> frames) override {
        queues.insert(queue);
        for (vmbus::IncomingFrame& frame : frames) {
            if (keep) {
                others.push_back(std::move(frame));
            } else {
                numbers.take(frame.bytes);
            }
        }
    }
    void room() override {
        ++rooms;
        go_on();
    }

    template <class Archive>
    void fields(Archive& archive) {
        archive(frame_bytes, sent, to_send, ups, downs, rooms, numbers, queues);
    }

private:
    sim::StateRegistration registration_;
};

// The other end: on a port of a switch, or on a wire.
struct FarEnd final : FrameReceiver {
    explicit FarEnd(const sim::Scope& scope) : registration(scope.register_state(*this)) {}
    void receive(Frame&& frame) override {
        if (keep)
            frames.push_back(std::move(frame));
        else
            numbers.take(frame.bytes);
    }
    template <class Archive>
    void fields(Archive& archive) {
        archive(numbers);
    }
    Numbers numbers;
    bool keep = false;
    std::vector<Frame> frames;
    sim::StateRegistration registration;
};

}  // namespace models::test
