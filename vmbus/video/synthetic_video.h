// The synthetic video device: the guest chooses where in its address space the video memory lies and how the picture is
// laid out in it, and tells what it has drawn.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "vmbus/inband/inband_port.h"
#include "vmbus/video/framebuffer.h"
#include "vmbus/video/video_protocol.h"

namespace vmbus {

// Who gives the guest its video memory.
class VideoHost {
public:
    // From now on there is memory at these addresses of the guest's, if there was none; what was placed before may go.
    // False: it cannot be there.
    virtual bool place_vram(std::uint64_t gpa, std::uint64_t bytes) = 0;
    virtual void remove_vram() = 0;

protected:
    ~VideoHost() = default;
};

struct Rectangle {
    std::int32_t left = 0;
    std::int32_t top = 0;
    std::int32_t right = 0;   // the first column that is not part of it
    std::int32_t bottom = 0;  // the first row

    bool operator==(const Rectangle&) const = default;
};

class VideoListener {
public:
    // The picture's place or form; nothing: there is none.
    virtual void picture_changed(const std::optional<Framebuffer>& framebuffer) { (void)framebuffer; }
    // Drawn anew, within the picture.
    virtual void drawn(std::span<const Rectangle> rectangles) { (void)rectangles; }

protected:
    ~VideoListener() = default;
};

class SyntheticVideo final : private InbandDevice {
public:
    static constexpr Guid instance = guid("5620e0c7-8062-4dce-aeb7-520c7ef76171");

    struct Resolution {
        std::uint16_t width = 0;
        std::uint16_t height = 0;
        bool operator==(const Resolution&) const = default;
    };
    struct Settings {
        std::uint32_t newest_version = video::version_3_5;
        std::uint16_t vram_megabytes = 8;
        std::vector<Resolution> resolutions{{1024, 768}, {800, 600}, {640, 480}};  // the first is the guest's default
        // What the firmware has set up: the picture until the guest's driver says otherwise.
        std::optional<Framebuffer> firmware;
    };

    SyntheticVideo(const sim::Scope& scope, const ServiceHost& host, const Settings& settings, VideoHost& video,
                   VideoListener* listener = nullptr);

    // Where the picture is, if the guest has one.
    const std::optional<Framebuffer>& framebuffer() const { return state_.framebuffer; }
    // The picture as it is in memory now.
    std::optional<Picture> picture();

    std::uint32_t version() const { return state_.version; }
    std::uint64_t vram_bytes() const { return std::uint64_t{settings_.vram_megabytes} << 20; }
    std::uint64_t rectangles_drawn() const { return rectangles_.value(); }
    sim::Time last_drawn() const { return state_.last_drawn; }

    template <class Archive>
    void fields(Archive& archive) {
        archive(state_, port_);
    }

private:
    struct State {
        std::uint32_t version = 0;  // 0: none agreed
        std::optional<std::uint64_t> vram;
        bool features_told = false;
        std::optional<Framebuffer> framebuffer;
        sim::Time last_drawn;

        bool operator==(const State&) const = default;
        template <class Archive>
        void fields(Archive& archive) {
            archive(version, vram, features_told, framebuffer, last_drawn);
        }
    };

    void opened() override {}
    void closed() override;
    void received(std::span<const std::byte> packet, std::uint64_t transaction) override;
    void handle_version(class ByteReader& body);
    void handle_vram(ByteReader& body);
    void handle_situation(ByteReader& body);
    void handle_dirt(ByteReader& body);
    void handle_resolutions(ByteReader& body);
    void tell_features();
    void set_framebuffer(const std::optional<Framebuffer>& framebuffer);
    void send(video::Type type, std::span<const std::byte> body);

    sim::Scope scope_;
    Settings settings_;
    VideoHost& video_;
    VideoListener* listener_;
    State state_;
    sim::Counter& rectangles_;
    InbandPort port_;
    sim::StateRegistration registration_;
};

// What a monitor says of itself (VESA E-EDID 1.3): a name, no timings.
std::array<std::byte, video::edid_bytes> monitor_edid();

}  // namespace vmbus
