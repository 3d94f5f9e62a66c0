// Entry point that takes hostile bytes to the devices that speak in plain messages: the integration services, keyboard,
// pointer, dynamic memory, video and sockets. The first byte chooses the device; the rest is what its guest and its
// user do. As a libFuzzer target (fuzz_vmbus_utilities.cpp), and with kept and fixed seeds in the ordinary test run
// (tests/vmbus/utilities_fuzz_test.cpp). A property that fails is a VG_CHECK.
#pragma once

#include <memory>
#include <span>
#include <string_view>

#include "tests/fuzz/utility_targets.h"
#include "vmbus/memory/memory_balancer.h"
#include "vmbus/socket/host_sockets.h"
#include "vmbus/video/synthetic_video.h"

namespace fuzz::utilities {

class KeyboardTarget final : public DeviceTarget<Keyboard> {
public:
    explicit KeyboardTarget(Root& root) : keyboard_(root.scope("device"), root.host(), {}, &nobody_) {}
    void use(Script& script) override {
        // Whatever is no key is the user's mistake, not a defect.
        const Bytes text = script.bytes(script.take<std::uint8_t>() & 15);
        const std::string_view view{reinterpret_cast<const char*>(text.data()), text.size()};
        try {
            if ((script.take<std::uint8_t>() & 1) != 0) {
                keyboard_.type(view);
            } else {
                keyboard_.press(view);
            }
        } catch (const sim::UserError&) {
            keyboard_.press("ctrl+c");
        }
    }
    Bytes message(Script& script) override {
        ByteBuilder message;
        message.u32(script.take<std::uint8_t>() % 6);
        if ((script.take<std::uint8_t>() & 1) != 0) message.u32(keyboard::version_1_0);
        return message.bytes(script.bytes(300)).take();
    }
    Keyboard& device() override { return keyboard_; }

private:
    Nobody nobody_;
    Keyboard keyboard_;
};

class PointerTarget final : public DeviceTarget<Pointer> {
public:
    explicit PointerTarget(Root& root) : pointer_(root.scope("device"), root.host(), {}) {}
    void use(Script& script) override {
        pointer_.move(script.take<std::uint16_t>() & 0x7fff, script.take<std::uint16_t>() & 0x7fff);
        pointer_.click(static_cast<Pointer::Button>(script.take<std::uint8_t>() % 5));
        pointer_.scroll(script.take<std::int16_t>());
    }
    Bytes message(Script& script) override {
        ByteBuilder message;
        const auto kind = script.take<std::uint8_t>();
        message.u32(kind % 6);
        const Bytes body = (kind & 0x80) != 0 ? ByteBuilder{}.u32(pointer::version_2_0).take() : script.bytes(100);
        message.u32((kind & 0x40) != 0 ? script.take<std::uint32_t>() : static_cast<std::uint32_t>(body.size()));
        return pipe::wrap(message.bytes(body).take());
    }
    Pointer& device() override { return pointer_; }

private:
    Pointer pointer_;
};

class MemoryTarget final : public DeviceTarget<DynamicMemory>,
                           private DynamicMemoryHost,
                           private DynamicMemoryListener {
public:
    explicit MemoryTarget(Root& root)
        : memory_(root.scope("device"), root.host(), {dynamic_memory::version_2_0, 50'000}, *this, this) {}
    void use(Script& script) override {
        const auto kind = script.take<std::uint8_t>();
        const auto pages = script.take<std::uint16_t>();
        short_of_memory_ = (kind & 0x80) != 0;
        if ((kind & 0x40) != 0) balances_ = true;
        if (kind % 3 == 0) (void)memory_.balloon(pages);
        if (kind % 3 == 1) (void)memory_.unballoon(pages);
        if (kind % 3 == 2) (void)memory_.hot_add({pages_, pages});
    }
    Bytes message(Script& script) override {
        ByteBuilder message;
        const auto kind = script.take<std::uint8_t>();
        ByteBuilder body;
        switch (kind % 8) {
            case 0:
                body.u32(dynamic_memory::versions[script.take<std::uint8_t>() % 3]).u32(0);
                return framed(1, body.take());
            case 1:
                body.u64(script.take<std::uint8_t>()).u64(0).u64(0);
                return framed(3, body.take());
            case 2:
            case 3: {
                const auto count = script.take<std::uint8_t>();
                body.u32(0).u32(static_cast<std::uint32_t>(count & 0xfeu) | (kind >> 7));
                for (unsigned n = 0; n < count / 2u; ++n) {
                    body.u64(dynamic_memory::encode({script.take<std::uint16_t>(), script.take<std::uint8_t>()}));
                }
                return framed(7, body.take());
            }
            case 4:
                return framed(9, {});
            case 5:
                body.u32(script.take<std::uint16_t>()).u32(script.take<std::uint8_t>() & 1);
                return framed(11, body.take());
            case 6:
                body.u64(script.take<std::uint64_t>()).u64(script.take<std::uint64_t>()).zeros(24);
                return framed(5, body.take());
            default:
                message.u16(script.take<std::uint8_t>() % 14).u16(script.take<std::uint16_t>()).u32(0);
                return message.bytes(script.bytes(5000)).take();
        }
    }
    DynamicMemory& device() override { return memory_; }
    void check() override {
        VG_CHECK(memory_.ballooned().pages() <= pages_);
        for (const PageRange& range : memory_.ballooned().ranges()) VG_CHECK(range.end() <= pages_);
        VG_CHECK(gone_ == memory_.ballooned().pages());
    }

private:
    static Bytes framed(std::uint16_t type, const Bytes& body) {
        ByteBuilder message;
        return message.u16(type).u16(static_cast<std::uint16_t>(8 + body.size())).u32(7).bytes(body).take();
    }
    bool has_memory(const PageRange& range) const override {
        return range.count != 0 && range.first < pages_ && range.count <= pages_ - range.first;
    }
    void pages_taken(std::span<const PageRange> ranges) override {
        for (const PageRange& range : ranges) gone_ += range.count;
    }
    bool give_pages(std::span<const PageRange> ranges) override {
        if (short_of_memory_) return false;
        for (const PageRange& range : ranges) gone_ -= range.count;
        return true;
    }
    bool add_memory(const PageRange& range) override {
        VG_CHECK(range.first == pages_);
        if (short_of_memory_ || pages_ > 200'000) return false;
        pages_ += range.count;
        return true;
    }
    void memory_refused(const PageRange& range) override {
        VG_CHECK(range.end() == pages_);
        pages_ -= range.count;
    }

    void memory_status(const GuestMemoryStatus&) override {
        if (balances_) balancer_.balance(memory_, pages_ - gone_);
    }

    std::uint64_t pages_ = 60'000;
    std::uint64_t gone_ = 0;
    bool short_of_memory_ = false;
    bool balances_ = false;
    MemoryBalancer balancer_{{1'000, 60'000, 20, 100}};
    DynamicMemory memory_;
};

class VideoTarget final : public DeviceTarget<SyntheticVideo>, private VideoHost {
public:
    explicit VideoTarget(Root& root) : video_(root.scope("device"), root.host(), settings(), *this) {}
    void use(Script& script) override {
        willing_ = (script.take<std::uint8_t>() & 3) != 0;
        (void)video_.picture();
    }
    Bytes message(Script& script) override {
        const auto kind = script.take<std::uint8_t>();
        ByteBuilder body;
        std::uint32_t type = 1 + kind % 17;
        switch (kind % 5) {
            case 0:
                type = 1;
                body.u32(video::versions[script.take<std::uint8_t>() % video::versions.size()]);
                break;
            case 1:
                type = 3;
                body.u64(1).u8(1).u64(script.take<std::uint32_t>());
                break;
            case 2:
                type = 5;
                body.u64(1).u8(1).u8(1).u32(script.take<std::uint8_t>()).u8(kind >= 128 ? 16 : 32);
                body.u32(script.take<std::uint16_t>())
                    .u32(script.take<std::uint16_t>())
                    .u32(script.take<std::uint16_t>());
                break;
            case 3:
                type = 10;
                body.u8(0).u8(script.take<std::uint8_t>() & 3).bytes(script.bytes(48));
                break;
            default:
                body.bytes(script.bytes(200));
                break;
        }
        ByteBuilder message;
        message.u32(type).u32(static_cast<std::uint32_t>(8 + body.size()));
        return pipe::wrap(message.bytes(body.take()).take());
    }
    SyntheticVideo& device() override { return video_; }
    void check() override {
        const auto& f = video_.framebuffer();
        if (!f) return;
        VG_CHECK(placed_ && f->gpa >= vram_ && f->gpa + f->bytes() <= vram_ + video_.vram_bytes());
        VG_CHECK(std::uint64_t{f->width} * f->depth / 8 <= f->pitch);
        (void)video_.picture();
    }

private:
    static SyntheticVideo::Settings settings() {
        SyntheticVideo::Settings settings;
        settings.vram_megabytes = 1;
        return settings;
    }
    bool place_vram(std::uint64_t gpa, std::uint64_t bytes) override {
        VG_CHECK(bytes == 1 << 20);
        if (!willing_) return false;
        placed_ = true;
        vram_ = gpa;
        return true;
    }
    void remove_vram() override {
        VG_CHECK(placed_);
        placed_ = false;
    }

    bool willing_ = true;
    bool placed_ = false;
    std::uint64_t vram_ = 0;
    SyntheticVideo video_;
};

class SocketTarget final : public DeviceTarget<HostSockets>, private SocketUser {
public:
    explicit SocketTarget(Root& root) : root_(root), sockets_(root.scope("device"), root.host(), limits(), *this) {
        sockets_.listen(80);
        (void)sockets_.connect(socket::service_of(1), socket::service_of(80));
    }
    void use(Script& script) override {
        const auto kind = script.take<std::uint8_t>();
        const SocketId id = kind >> 5;
        switch (kind % 8) {
            case 0:
                if (root_.bus.channels.size() < 40) (void)sockets_.connect(script.take<std::uint8_t>());
                break;
            case 1:
                if (root_.bus.channels.size() >= 40) break;
                (void)sockets_.connect(socket::service_of(script.take<std::uint8_t>() & 3), socket::service_of(80));
                break;
            case 2:
                (void)sockets_.send(id, Bytes(script.take<std::uint16_t>()));
                break;
            case 3:
                (void)sockets_.read(id, script.take<std::uint16_t>());
                break;
            case 4:
                sockets_.finish(id);
                break;
            case 5:
                sockets_.close(id);
                break;
            case 6:
                sockets_.forget(id);
                break;
            default:
                break;
        }
    }
    Bytes message(Script& script) override {
        const auto kind = script.take<std::uint8_t>();
        ByteBuilder message;
        const Bytes body = script.bytes(kind >= 0x80 ? 0 : script.take<std::uint16_t>() % 5000);
        message.u32(kind % 16 == 0 ? 2 : 1);
        message.u32(kind % 16 == 1 ? script.take<std::uint32_t>() : static_cast<std::uint32_t>(body.size()));
        return message.bytes(body).take();
    }
    HostSockets& device() override { return sockets_; }
    void check() override {
        VG_CHECK(sockets_.connections() <= 8);
        for (SocketId id = 0; id < 64; ++id) VG_CHECK(sockets_.readable_bytes(id) <= 3000 + socket::largest_message);
    }

private:
    static HostSockets::Settings limits() {
        HostSockets::Settings settings;
        settings.connection_limit = 8;
        settings.read_limit = 3000;
        return settings;
    }
    void accepted(SocketId id, std::uint32_t) override { VG_CHECK(id != 0); }
    void connected(SocketId id) override { VG_CHECK(sockets_.phase(id) == HostSockets::Phase::open); }
    void refused(SocketId id) override { VG_CHECK(sockets_.phase(id) == HostSockets::Phase::over); }
    void readable(SocketId id) override { VG_CHECK(sockets_.readable_bytes(id) != 0); }
    void finished(SocketId) override {}
    void closed(SocketId id) override { VG_CHECK(sockets_.phase(id) == HostSockets::Phase::over); }

    Root& root_;
    HostSockets sockets_;
};

inline std::unique_ptr<Target> make_target(std::uint8_t number, Root& root) {
    switch (number % 11) {
        case 0:
            return std::make_unique<HeartbeatTarget>(root);
        case 1:
            return std::make_unique<ShutdownTarget>(root);
        case 2:
            return std::make_unique<TimeSyncTarget>(root);
        case 3:
            return std::make_unique<KeyValueTarget>(root);
        case 4:
            return std::make_unique<SnapshotTarget>(root);
        case 5:
            return std::make_unique<FileCopyTarget>(root);
        case 6:
            return std::make_unique<KeyboardTarget>(root);
        case 7:
            return std::make_unique<PointerTarget>(root);
        case 8:
            return std::make_unique<MemoryTarget>(root);
        case 9:
            return std::make_unique<VideoTarget>(root);
        default:
            return std::make_unique<SocketTarget>(root);
    }
}

// One thing that the guest does, or the device's user.
inline void act(Script& script, Root& root, Target& target) {
    const auto kind = script.take<std::uint8_t>();
    ScriptedChannel& channel = *root.bus.channels[(kind >> 4) % root.bus.channels.size()];
    switch (kind % 12) {
        case 0:
            if (channel.is_open()) {
                channel.close();
            } else if (!channel.rescinded) {
                channel.open();
            }
            break;
        case 1:
        case 2:
        case 3:
            channel.put(target.message(script), script.take<std::uint8_t>(), (kind & 0x80) != 0);
            break;
        case 4:
        case 5: {  // the answer to what is on the ring
            if (channel.sent.empty()) break;
            const auto packet = channel.take();
            Bytes answer = target.answer(packet.bytes);
            if (kind >= 0xc0 && !answer.empty()) {
                answer[script.take<std::uint16_t>() % answer.size()] = script.take<std::byte>();
            }
            channel.put(std::move(answer), packet.transaction);
            break;
        }
        case 6:
            channel.put(script.bytes(script.take<std::uint16_t>() % 2000), 0, false,
                        (kind & 0x10) != 0 ? PacketType::inband : PacketType::completion);
            break;
        case 7:
            root.run_for(sim::Time::ms(script.take<std::uint16_t>()));
            break;
        case 8:
            target.use(script);
            break;
        case 9:
            channel.room = script.take<std::uint8_t>() & 7;
            break;
        case 10:
            while (!channel.sent.empty()) (void)channel.take();
            break;
        default:
            root.bus.rescind(channel);
            break;
    }
    root.settle();
}

inline int run(std::span<const std::uint8_t> data, Root& root) {
    Script script{data};
    const auto number = script.take<std::uint8_t>();
    const auto target = make_target(number, root);
    root.channel().open();
    root.settle();
    for (unsigned n = 0; n < 64 && !script.empty(); ++n) {
        act(script, root, *target);
        target->check();
    }
    if (number / 11 % 8 != 0) return 0;  // it takes longer than the rest
    const auto saved = target->save();
    VG_CHECK(saved.size() < std::size_t{8} << 20);
    target->restore(saved);
    VG_CHECK(target->save() == saved);
    return 0;
}
inline int run(std::span<const std::uint8_t> data) {
    Root root;
    return run(data, root);
}

}  // namespace fuzz::utilities
