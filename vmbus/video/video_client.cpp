#include "vmbus/video/video_client.h"

#include "vmbus/inband/bytes.h"
#include "vmbus/inband/inband_port.h"

namespace vmbus {

using video::Type;

void VideoClient::start(std::uint64_t vram_gpa) {
    state_ = {};
    state_.vram = vram_gpa;
    ask_version(video::version_3_5);
}

void VideoClient::ask_version(std::uint32_t version) {
    state_.asked = version;
    send(Type::version_request, ByteBuilder{}.u32(version).take());
}

void VideoClient::locate() {
    send(Type::vram_location, ByteBuilder{}.u64(state_.vram).u8(1).u64(state_.vram).take());
}

void VideoClient::received(std::span<const std::byte> packet) {
    const auto message = pipe::unwrap(packet);
    if (!message) return;
    ByteReader body{*message};
    const auto type = static_cast<Type>(body.u32());
    body.skip(4);
    switch (type) {
        case Type::version_response:
            body.skip(4);
            if (body.u8() != 0) {
                state_.version = state_.asked;
                if (state_.version < video::version_3_5) return locate();
                return send(Type::resolutions_request, ByteBuilder{}.u8(video::most_resolutions).take());
            }
            if (state_.asked == video::version_3_5) ask_version(video::version_3_2);
            return;
        case Type::resolutions_response: {
            body.skip(video::edid_bytes);
            const std::uint8_t count = body.u8();
            const std::uint8_t chosen = body.u8();
            body.skip(1 + std::size_t{4} * chosen);
            if (chosen < count) {
                state_.width = body.u16();
                state_.height = body.u16();
            }
            return locate();
        }
        case Type::vram_location_ack:
            state_.placed = body.u64() == state_.vram;
            if (state_.placed) {
                ByteBuilder situation;
                situation.u64(0).u8(1).u8(1).u32(0).u8(32).u32(state_.width).u32(state_.height).u32(state_.width * 4u);
                send(Type::situation_update, situation.take());
            }
            return;
        case Type::feature_change:
            state_.dirt_wanted = body.u8() != 0;
            return;
        default:
            return;
    }
}

void VideoClient::draw(std::int32_t left, std::int32_t top, std::int32_t right, std::int32_t bottom) {
    if (!state_.dirt_wanted) return;
    send(Type::dirt, ByteBuilder{}.u8(0).u8(1).i32(left).i32(top).i32(right).i32(bottom).take());
}

void VideoClient::send(Type type, std::span<const std::byte> body) {
    ByteBuilder message;
    message.u32(static_cast<std::uint32_t>(type));
    message.u32(static_cast<std::uint32_t>(video::header_bytes + body.size())).bytes(body);
    link_.send(0, pipe::wrap(message.take()));
}

}  // namespace vmbus
