// The guest's side of synthetic video, as Linux's hyperv_fb behaves: the newest version first, then resolutions, the
// place of the memory, the situation; drawing is told of if it is asked for.
#pragma once

#include <cstdint>
#include <optional>

#include "vmbus/inband/guest_link.h"
#include "vmbus/video/video_protocol.h"

namespace vmbus {

class VideoClient final {
public:
    explicit VideoClient(GuestLink& link) : link_(link) {}

    void start(std::uint64_t vram_gpa);
    void received(std::span<const std::byte> packet);
    void draw(std::int32_t left, std::int32_t top, std::int32_t right, std::int32_t bottom);

    std::uint32_t version() const { return state_.version; }
    std::uint16_t width() const { return state_.width; }
    std::uint16_t height() const { return state_.height; }
    bool placed() const { return state_.placed; }
    bool dirt_wanted() const { return state_.dirt_wanted; }

    template <class Archive>
    void fields(Archive& archive) {
        archive(state_);
    }

private:
    struct State {
        std::uint64_t vram = 0;
        std::uint32_t asked = 0;
        std::uint32_t version = 0;
        std::uint16_t width = 1152;
        std::uint16_t height = 864;
        bool placed = false;
        bool dirt_wanted = false;

        bool operator==(const State&) const = default;
        template <class Archive>
        void fields(Archive& archive) {
            archive(vram, asked, version, width, height, placed, dirt_wanted);
        }
    };

    void ask_version(std::uint32_t version);
    void locate();
    void send(video::Type type, std::span<const std::byte> body);

    GuestLink& link_;
    State state_;
};

}  // namespace vmbus
