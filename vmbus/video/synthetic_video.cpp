#include "vmbus/video/synthetic_video.h"

#include <algorithm>
#include <string_view>

#include "vmbus/inband/bytes.h"

namespace vmbus {

using video::Type;

namespace {

Offer video_offer(std::uint16_t megabytes) {
    Offer offer = message_pipe_offer(interface_type::video, SyntheticVideo::instance);
    offer.mmio_megabytes = megabytes;
    return offer;
}

// How far a coordinate lies within [0, size].
std::int32_t clip(std::int32_t value, std::uint32_t size) {
    return static_cast<std::int32_t>(std::clamp<std::int64_t>(value, 0, size));
}

}  // namespace

std::array<std::byte, video::edid_bytes> monitor_edid() {
    std::array<std::byte, video::edid_bytes> edid{};
    const auto put = [&](std::size_t at, std::initializer_list<int> values) {
        for (const int value : values) edid[at++] = static_cast<std::byte>(value);
    };
    put(0, {0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0});
    put(8, {0x58, 0xe7, 1, 0});                                        // manufacturer "VGG", product 1
    put(16, {1, 34, 1, 3});                                            // week 1 of 2024, version 1.3
    put(20, {0x80, 0, 0, 120});                                        // digital, no size, gamma 2.2
    for (std::size_t at = 38; at < 54; ++at) edid[at] = std::byte{1};  // no standard timings
    put(54, {0, 0, 0, 0xfc, 0});                                       // a descriptor: the name
    constexpr std::string_view name = "Verdigris\n   ";
    std::ranges::copy(as_bytes(name), edid.begin() + 59);
    for (const std::size_t at : {72u, 90u, 108u}) put(at, {0, 0, 0, 0x10, 0});  // unused ones
    unsigned sum = 0;
    for (const std::byte value : edid) sum += std::to_integer<unsigned>(value);
    edid[127] = static_cast<std::byte>(0x100 - (sum & 0xff));
    return edid;
}

SyntheticVideo::SyntheticVideo(const sim::Scope& scope, const ServiceHost& host, const Settings& settings,
                               VideoHost& video, VideoListener* listener)
    : scope_(scope),
      settings_(settings),
      video_(video),
      listener_(listener),
      rectangles_(scope.counter("rectangles", "rectangles", "that the guest has drawn anew")),
      port_(scope, host, video_offer(settings.vram_megabytes), *this),
      registration_(scope.register_state(*this)) {
    state_.framebuffer = settings_.firmware;
}

std::optional<Picture> SyntheticVideo::picture() {
    if (!state_.framebuffer) return std::nullopt;
    return read_picture(port_.channel().memory(), *state_.framebuffer);
}

void SyntheticVideo::closed() {
    const bool placed = state_.vram.has_value();
    const sim::Time last_drawn = state_.last_drawn;
    const auto framebuffer = state_.framebuffer;
    state_ = {};
    state_.last_drawn = last_drawn;
    state_.framebuffer = framebuffer;
    if (!placed) return;
    set_framebuffer(std::nullopt);
    video_.remove_vram();
}

void SyntheticVideo::received(std::span<const std::byte> packet, std::uint64_t) {
    const auto message = pipe::unwrap(packet);
    if (!message) return port_.fault("video: not a message of the pipe");
    // The pipe says how long it is; guests disagree on what the header's size counts.
    ByteReader body{*message};
    const std::uint32_t type = body.u32();
    body.skip(4);
    if (!body.complete() || inband::from_guest(video::messages, type, body.rest().size()) == nullptr) {
        return port_.fault("video: not a message that a guest may send");
    }
    if (static_cast<Type>(type) == Type::version_request) return handle_version(body);
    if (state_.version == 0) return port_.fault("video: before a version is agreed");
    switch (static_cast<Type>(type)) {
        case Type::vram_location:
            return handle_vram(body);
        case Type::situation_update:
            return handle_situation(body);
        case Type::dirt:
            return handle_dirt(body);
        case Type::resolutions_request:
            return handle_resolutions(body);
        case Type::bios_request:
            return send(Type::bios_response, ByteBuilder{}.u32(1).zeros(12).take());
        case Type::capability_request:
            return send(Type::capability_response, ByteBuilder{}.zeros(64).take());
        default:
            return;  // the pointer's position and shape: the picture is shown without a pointer
    }
}

void SyntheticVideo::handle_version(ByteReader& body) {
    const std::uint32_t asked = body.u32();
    const bool known = std::ranges::find(video::versions, asked) != video::versions.end();
    const bool accepted = known && asked >> 16 <= settings_.newest_version >> 16;
    state_.version = accepted ? asked : 0;
    scope_.trace("video.version", asked, accepted);
    send(Type::version_response, ByteBuilder{}.u32(asked).u8(accepted).u8(1).take());
}

void SyntheticVideo::handle_vram(ByteReader& body) {
    const std::uint64_t context = body.u64();
    const bool stated = body.u8() != 0;
    const std::uint64_t gpa = body.u64();
    state_.features_told = false;
    const bool placed = stated && video_.place_vram(gpa, vram_bytes());
    scope_.trace("video.vram", gpa, placed);
    if (placed) {
        if (state_.vram && *state_.vram != gpa) set_framebuffer(std::nullopt);
        state_.vram = gpa;
    } else if (state_.vram) {
        state_.vram.reset();
        set_framebuffer(std::nullopt);
        video_.remove_vram();
    }
    // There is no way to decline but to answer something that the guest did not say.
    send(Type::vram_location_ack, ByteBuilder{}.u64(placed || !stated ? context : ~context).take());
}

void SyntheticVideo::handle_situation(ByteReader& body) {
    const std::uint64_t context = body.u64();
    const std::uint8_t outputs = body.u8();
    if (outputs != 1 || body.rest().size() < video::situation_bytes) {
        return port_.fault("video: a situation of other than one output");
    }
    const bool active = body.u8() != 0;
    const std::uint32_t offset = body.u32();
    Framebuffer framebuffer;
    framebuffer.depth = body.u8();
    framebuffer.width = body.u32();
    framebuffer.height = body.u32();
    framebuffer.pitch = body.u32();
    if (!active || !state_.vram) {
        set_framebuffer(std::nullopt);
    } else {
        const std::uint64_t row = std::uint64_t{framebuffer.width} * framebuffer.depth / 8;
        if ((framebuffer.depth != 16 && framebuffer.depth != 32) || framebuffer.width == 0 || framebuffer.height == 0 ||
            framebuffer.pitch < row || offset > vram_bytes() || framebuffer.bytes() > vram_bytes() - offset) {
            return port_.fault("video: a picture that does not fit its memory");
        }
        framebuffer.gpa = *state_.vram + offset;
        set_framebuffer(framebuffer);
    }
    send(Type::situation_update_ack, ByteBuilder{}.u64(context).take());
    tell_features();
}

// Guests tell of drawing only if they are asked to, once after each change of the memory.
void SyntheticVideo::tell_features() {
    if (!state_.framebuffer || state_.features_told) return;
    state_.features_told = true;
    send(Type::feature_change, ByteBuilder{}.u8(1).u8(0).u8(0).u8(1).take());
}

void SyntheticVideo::handle_dirt(ByteReader& body) {
    body.skip(1);
    const std::size_t count = body.u8();
    if (body.rest().size() < count * video::rectangle_bytes) {
        return port_.fault("video: fewer rectangles than stated");
    }
    if (!state_.framebuffer) return;
    std::vector<Rectangle> rectangles;
    for (std::size_t n = 0; n < count; ++n) {
        Rectangle rectangle;
        rectangle.left = clip(body.i32(), state_.framebuffer->width);
        rectangle.top = clip(body.i32(), state_.framebuffer->height);
        rectangle.right = clip(body.i32(), state_.framebuffer->width);
        rectangle.bottom = clip(body.i32(), state_.framebuffer->height);
        if (rectangle.left < rectangle.right && rectangle.top < rectangle.bottom) rectangles.push_back(rectangle);
    }
    rectangles_.add(rectangles.size());
    state_.last_drawn = scope_.now();
    if (listener_ != nullptr && !rectangles.empty()) listener_->drawn(rectangles);
}

void SyntheticVideo::handle_resolutions(ByteReader& body) {
    const std::size_t count = std::min<std::size_t>({body.u8(), settings_.resolutions.size(), video::most_resolutions});
    ByteBuilder answer;
    answer.bytes(monitor_edid()).u8(static_cast<std::uint8_t>(count)).u8(0).u8(0);
    for (std::size_t n = 0; n < count; ++n) {
        answer.u16(settings_.resolutions[n].width).u16(settings_.resolutions[n].height);
    }
    send(Type::resolutions_response, answer.take());
}

void SyntheticVideo::set_framebuffer(const std::optional<Framebuffer>& framebuffer) {
    if (state_.framebuffer == framebuffer) return;
    state_.framebuffer = framebuffer;
    scope_.trace("video.picture", framebuffer ? framebuffer->gpa : 0, framebuffer ? framebuffer->width : 0,
                 framebuffer ? framebuffer->height : 0);
    if (listener_ != nullptr) listener_->picture_changed(framebuffer);
}

void SyntheticVideo::send(Type type, std::span<const std::byte> body) {
    ByteBuilder message;
    message.u32(static_cast<std::uint32_t>(type));
    message.u32(static_cast<std::uint32_t>(video::header_bytes + body.size())).bytes(body);
    port_.send(pipe::wrap(message.take()));
}

}  // namespace vmbus
