#include "vmbus/input/input_client.h"

#include "vmbus/inband/bytes.h"
#include "vmbus/inband/inband_port.h"

namespace vmbus {

void KeyboardClient::start(std::uint32_t version) {
    ByteBuilder request;
    link_.send(1, request.u32(keyboard::protocol_request).u32(version).take());
}

void KeyboardClient::set_leds(std::uint16_t leds) {
    ByteBuilder message;
    link_.send(0, message.u32(keyboard::led_indicators).u16(leds).u16(0).take());
}

void KeyboardClient::received(std::span<const std::byte> message) {
    ByteReader reader{message};
    switch (reader.u32()) {
        case keyboard::protocol_response:
            accepted_ = (reader.u32() & 1) != 0;
            break;
        case keyboard::event: {
            const auto code = static_cast<std::uint8_t>(reader.u16());
            reader.skip(2);
            const std::uint32_t flags = reader.u32();
            if (!reader.complete()) return;
            if ((flags & keyboard::flag_e0) != 0) bytes_.push_back(0xe0);
            if ((flags & keyboard::flag_e1) != 0) bytes_.push_back(0xe1);
            bytes_.push_back(static_cast<std::uint8_t>(code | ((flags & keyboard::flag_break) != 0 ? 0x80 : 0)));
            break;
        }
        default:
            break;
    }
}

void PointerClient::start(std::uint32_t version) {
    ByteBuilder request;
    // Three bytes more than the message has, as Linux sends it.
    auto packet = pipe::wrap(request.u32(pointer::protocol_request).u32(4).u32(version).take());
    packet.resize(packet.size() + 3);
    link_.send(1, packet);
}

void PointerClient::received(std::span<const std::byte> packet) {
    const auto message = pipe::unwrap(packet);
    if (!message) return;
    ByteReader reader{*message};
    const std::uint32_t type = reader.u32();
    ByteReader body{reader.bytes(reader.u32())};
    switch (type) {
        case pointer::protocol_response:
            body.skip(4);
            approved_ = body.u8() != 0;
            break;
        case pointer::device_info: {
            body.skip(32 + 7);
            const auto descriptor = body.bytes(body.u16());
            if (!body.complete()) return;
            descriptor_.assign(descriptor.begin(), descriptor.end());
            ByteBuilder seen;
            link_.send(2, pipe::wrap(seen.u32(pointer::device_info_ack).u32(1).u8(0).take()));
            break;
        }
        case pointer::input_report:
            reports_.emplace_back(body.rest().begin(), body.rest().end());
            break;
        default:
            break;
    }
}

}  // namespace vmbus
