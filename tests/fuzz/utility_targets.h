// What the fuzzer of the plain devices works on: a device with its user and its guest, and the integration services so.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "sim/check.h"
#include "tests/vmbus/scripted_channel.h"
#include "vmbus/inband/bytes.h"
#include "vmbus/input/keyboard.h"
#include "vmbus/input/pointer.h"
#include "vmbus/integration/file_copy.h"
#include "vmbus/integration/heartbeat.h"
#include "vmbus/integration/key_value.h"
#include "vmbus/integration/shutdown.h"
#include "vmbus/integration/time_sync.h"
#include "vmbus/integration/volume_snapshot.h"

namespace fuzz::utilities {

using namespace vmbus;
using vmbus::testing::Bytes;
using vmbus::testing::Root;
using vmbus::testing::ScriptedChannel;

// Takes values off the input's front; zeros once it is used up.
class Script {
public:
    explicit Script(std::span<const std::uint8_t> data) : data_(data) {}
    template <class T>
    T take() {
        T value{};
        const std::size_t n = std::min(data_.size(), sizeof value);
        if (n != 0) std::memcpy(&value, data_.data(), n);
        data_ = data_.subspan(n);
        return value;
    }
    Bytes bytes(std::size_t most) {
        const std::size_t n = std::min(data_.size(), most);
        Bytes taken(n);
        if (n != 0) std::memcpy(taken.data(), data_.data(), n);
        data_ = data_.subspan(n);
        return taken;
    }
    bool empty() const { return data_.empty(); }

private:
    std::span<const std::uint8_t> data_;
};

// What a target has to offer: its user's calls, a likely message of its guest's, what must hold afterwards.
class Target {
public:
    virtual ~Target() = default;
    virtual void use(Script& script) = 0;
    virtual Bytes message(Script& script) = 0;
    // The answer of a guest that means well, to change.
    virtual Bytes answer(const Bytes& packet) { return packet; }
    virtual std::vector<std::byte> save() = 0;
    virtual void restore(std::span<const std::byte> state) = 0;
    virtual void check() {}
};

// A device and how it is saved.
template <class Device>
class DeviceTarget : public Target {
public:
    std::vector<std::byte> save() final { return sim::save_to_bytes(device()); }
    void restore(std::span<const std::byte> state) final { sim::restore_from_bytes(device(), state); }
    virtual Device& device() = 0;
};

struct Nobody final : HeartbeatListener,
                      ShutdownListener,
                      KeyValueListener,
                      SnapshotListener,
                      FileCopyListener,
                      KeyboardListener,
                      ReferenceClock {
    std::size_t items = 0;
    void health_changed(GuestHealth) override {}
    void shutdown_answered(ShutdownKind, RequestOutcome, std::uint32_t) override {}
    void key_value_answered(std::uint32_t, const KeyValueResult& result) override {
        items = std::max(items, result.items.size());
        VG_CHECK(items <= KeyValueExchange::most_items);
    }
    void snapshot_answered(const SnapshotResult&) override {}
    void file_copied(const FileCopyResult& result) override { VG_CHECK(result.bytes_written <= 70'000); }
    void leds_changed(std::uint16_t) override {}
    std::uint64_t reference_time() override { return 42; }
};

// Any integration service: its guest sends frames, most of them right but for a part.
template <class Device>
class IntegrationTarget : public DeviceTarget<Device> {
public:
    Bytes message(Script& script) override {
        ic::Message message;
        const auto kind = script.take<std::uint8_t>();
        message.type = static_cast<ic::Type>(kind % 9);
        message.transaction = script.take<std::uint8_t>();
        message.flags = (kind & 0x80) != 0 ? script.take<std::uint8_t>() : 5;
        message.status = (kind & 0x40) != 0 ? script.take<std::uint32_t>() : 0;
        message.body = script.bytes(script.take<std::uint16_t>() % 9000);
        return ic::build(message);
    }
    Bytes answer(const Bytes& packet) override {
        auto message = ic::parse(packet);
        if (!message) return packet;
        message->flags = 5;
        if (message->type == ic::Type::negotiate) {
            // Picks the last of each.
            ByteReader body{message->body};
            const std::size_t frameworks = body.u16();
            const std::size_t versions = body.u16();
            body.skip(4);
            const auto all = body.rest();
            const auto at = [&](std::size_t n) { return all.subspan(4 * (n - 1), 4); };
            if (frameworks == 0 || versions == 0 || all.size() < 4 * (frameworks + versions)) return packet;
            ByteBuilder chosen;
            chosen.u16(1).u16(1).u32(0).bytes(at(frameworks)).bytes(at(frameworks + versions));
            message->body = chosen.take();
        }
        return ic::build(*message);
    }
};

class HeartbeatTarget final : public IntegrationTarget<Heartbeat> {
public:
    explicit HeartbeatTarget(Root& root) : heartbeat_(root.scope("device"), root.host(), {}, &nobody_) {}
    void use(Script&) override {}
    Heartbeat& device() override { return heartbeat_; }

private:
    Nobody nobody_;
    Heartbeat heartbeat_;
};

class ShutdownTarget final : public IntegrationTarget<Shutdown> {
public:
    explicit ShutdownTarget(Root& root) : shutdown_(root.scope("device"), root.host(), &nobody_) {}
    void use(Script& script) override {
        shutdown_.request({static_cast<ShutdownKind>(script.take<std::uint8_t>() % 3), true, 0, 0, "now"},
                          sim::Time::s(script.take<std::uint8_t>() & 15));
    }
    Shutdown& device() override { return shutdown_; }

private:
    Nobody nobody_;
    Shutdown shutdown_;
};

class TimeSyncTarget final : public IntegrationTarget<TimeSync> {
public:
    explicit TimeSyncTarget(Root& root) : time_(root.scope("device"), root.host(), {}, nobody_) {}
    void use(Script&) override { time_.sync(); }
    TimeSync& device() override { return time_; }

private:
    Nobody nobody_;
    TimeSync time_;
};

class KeyValueTarget final : public IntegrationTarget<KeyValueExchange> {
public:
    explicit KeyValueTarget(Root& root) : kvp_(root.scope("device"), root.host(), &nobody_) {}
    void use(Script& script) override {
        switch (script.take<std::uint8_t>() % 6) {
            case 0:
                kvp_.get(KeyValuePool::guest, "key");
                break;
            case 1:
                kvp_.set(KeyValuePool::external, "key", "value");
                break;
            case 2:
                kvp_.remove(KeyValuePool::external, "key");
                break;
            case 3:
                kvp_.list(KeyValuePool::automatic);
                break;
            case 4:
                kvp_.get_ip("adapter");
                break;
            default:
                kvp_.set_ip({"adapter", 1, false, "10.0.0.1", "255.0.0.0", "", ""});
                break;
        }
    }
    KeyValueExchange& device() override { return kvp_; }

private:
    Nobody nobody_;
    KeyValueExchange kvp_;
};

class SnapshotTarget final : public IntegrationTarget<VolumeSnapshot> {
public:
    explicit SnapshotTarget(Root& root) : vss_(root.scope("device"), root.host(), &nobody_) {}
    void use(Script& script) override {
        vss_.ask(static_cast<SnapshotOperation>(2 + script.take<std::uint8_t>() % 5), sim::Time::s(5));
    }
    VolumeSnapshot& device() override { return vss_; }

private:
    Nobody nobody_;
    VolumeSnapshot vss_;
};

class FileCopyTarget final : public IntegrationTarget<FileCopy> {
public:
    explicit FileCopyTarget(Root& root) : copy_(root.scope("device"), root.host(), &nobody_) {}
    void use(Script& script) override { copy_.copy("/tmp", "file", Bytes(script.take<std::uint16_t>() % 20'000)); }
    FileCopy& device() override { return copy_; }

private:
    Nobody nobody_;
    FileCopy copy_;
};

}  // namespace fuzz::utilities
