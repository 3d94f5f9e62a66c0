// A device that answers every packet with its payload, and the guest's driver for it.
#pragma once

#include <cstdint>
#include <cstring>
#include <deque>
#include <functional>
#include <string_view>
#include <vector>

#include "tests/vmbus/loopback.h"
#include "vmbus/channel.h"

namespace vmbus::test {

inline constexpr Guid echo_type = guid("11111111-2222-3333-4444-555555555555");
inline constexpr Guid other_type = guid("99999999-2222-3333-4444-555555555555");
constexpr Guid instance(std::uint8_t n) {
    Guid made;
    made.bytes[15] = n;
    return made;
}

inline std::vector<std::byte> text(std::string_view s) {
    std::vector<std::byte> bytes((s.size() + 7) / 8 * 8);
    std::memcpy(bytes.data(), s.data(), s.size());
    return bytes;
}

class EchoDevice : public ChannelDevice {
public:
    std::uint32_t open(Channel& channel, std::span<const std::byte, 120> user_data) override {
        ++opens;
        last_user_byte = user_data[0];
        if (on_open) on_open(channel);
        return answer;
    }
    void closed(Channel& channel) override {
        ++closes;
        answers.clear();
        if (on_closed) on_closed(channel);
    }
    void released(Channel& channel) override {
        ++releases;
        if (on_released) on_released(channel);
    }
    void signalled(Channel& channel) override {
        ++signals;
        Packet packet;
        // Nothing is taken that can't be answered.
        while (true) {
            while (!answers.empty()) {
                if (!channel.complete(answers.front().transaction, answers.front().payload)) return channel.flush();
                answers.pop_front();
            }
            if (!channel.receive(packet)) break;
            ++packets;
            if (on_packet) on_packet(channel, packet);
            answers.push_back(packet);
        }
        channel.flush();
    }
    ChannelDevice& adopt_sub_channel(Channel&, Channel& sub_channel) override {
        adopted.push_back(&sub_channel);
        return *this;
    }

    std::uint32_t answer = 0;  // to open()
    unsigned opens = 0;
    unsigned closes = 0;
    unsigned releases = 0;
    unsigned signals = 0;
    unsigned packets = 0;
    std::byte last_user_byte{};
    std::deque<Packet> answers;  // that did not fit yet
    std::vector<Channel*> adopted;
    std::function<void(Channel&)> on_open;
    std::function<void(Channel&)> on_closed;
    std::function<void(Channel&)> on_released;
    std::function<void(Channel&, const Packet&)> on_packet;
};

class EchoDriver final : public ChannelDriver {
public:
    void opened(ClientChannel&, std::uint32_t status) override { statuses.push_back(status); }
    void signalled(ClientChannel& channel) override {
        ++signals;
        Packet packet;
        while (channel.receive(packet)) got.push_back(packet);
        channel.flush();
        if (on_signalled) on_signalled(channel);
    }
    void gpadl_created(ClientChannel&, std::uint32_t gpadl, std::uint32_t status) override {
        created.emplace_back(gpadl, status);
    }
    void gpadl_torn_down(ClientChannel&, std::uint32_t gpadl) override { torn_down.push_back(gpadl); }
    void target_changed(ClientChannel&, std::uint32_t status) override { targets.push_back(status); }
    void rescinded(ClientChannel&) override { ++rescinds; }

    std::vector<std::uint32_t> statuses;  // of opening
    std::vector<Packet> got;
    std::vector<std::pair<std::uint32_t, std::uint32_t>> created;
    std::vector<std::uint32_t> torn_down;
    std::vector<std::uint32_t> targets;
    unsigned rescinds = 0;
    unsigned signals = 0;
    std::function<void(ClientChannel&)> on_signalled;
};

}  // namespace vmbus::test
