#include "vmbus/input/pointer.h"

#include <algorithm>
#include <string>

#include "sim/check.h"
#include "vmbus/inband/bytes.h"

namespace vmbus {

namespace {

constexpr std::uint32_t attributes_bytes = 32;
constexpr std::uint8_t descriptor_bytes = 9;
// Messages that may wait for room on the ring before reports are held back here.
constexpr std::size_t most_moves_ahead = 2;

}  // namespace

Pointer::Pointer(const sim::Scope& scope, const ServiceHost& host, const Settings& settings)
    : settings_(settings),
      reports_(scope.counter("reports", "reports", "that the guest got")),
      pace_(scope.agenda(), scope.path() + ".pace", [this] { send_next(); }),
      port_(scope, host, message_pipe_offer(interface_type::mouse, instance), *this),
      registration_(scope.register_state(*this)) {}

void Pointer::move(std::uint32_t x, std::uint32_t y) {
    if (std::max(x, y) > pointer::largest_coordinate) {
        throw sim::UserError("pointer: (" + std::to_string(x) + ", " + std::to_string(y) +
                             ") is outside; coordinates go from 0 to 32767 across the screen");
    }
    state_.last.x = static_cast<std::uint16_t>(x);
    state_.last.y = static_cast<std::uint16_t>(y);
    add_report();
}

void Pointer::press(Button button) {
    state_.last.buttons = static_cast<std::uint8_t>(state_.last.buttons | 1u << static_cast<unsigned>(button));
    add_report();
}

void Pointer::release(Button button) {
    state_.last.buttons = static_cast<std::uint8_t>(state_.last.buttons & ~(1u << static_cast<unsigned>(button)));
    add_report();
}

void Pointer::click(Button button) {
    press(button);
    release(button);
}

void Pointer::scroll(std::int16_t steps) {
    state_.last.wheel = steps;
    add_report();
    state_.last.wheel = 0;
}

void Pointer::add_report() {
    state_.reports.push_back(state_.last);
    start();
}

void Pointer::closed() {
    state_ = {};
    pace_.disarm();
}

void Pointer::received(std::span<const std::byte> packet, std::uint64_t transaction) {
    const auto message = pipe::unwrap(packet);
    if (!message) return port_.fault("pointer: not a message of the pipe");
    ByteReader reader{*message};
    const std::uint32_t type = reader.u32();
    const auto body = reader.bytes(reader.u32());
    if (!reader.complete() || inband::from_guest(pointer::messages, type, body.size()) == nullptr) {
        return port_.fault("pointer: not a message that a guest may send");
    }
    if (type == pointer::protocol_request) return negotiate(ByteReader{body}.u32(), transaction);
    if (state_.phase != Phase::described) return port_.fault("pointer: seen before it was sent");
    state_.phase = Phase::active;
    start();
}

void Pointer::negotiate(std::uint32_t version, std::uint64_t transaction) {
    const bool approved = version == pointer::version_2_0;
    // Linux has room for exactly these five bytes.
    ByteBuilder answer;
    answer.u32(version).u8(approved);
    send(pointer::protocol_response, answer.take(), transaction);
    state_.phase = Phase::negotiating;
    if (approved) describe();
}

void Pointer::describe() {
    ByteBuilder info;
    info.u32(attributes_bytes).u16(pointer::vendor).u16(pointer::product).u16(1).zeros(22);
    // HID descriptor: its length and type, HID 1.01, no country, one further descriptor: a report's and its length.
    info.u8(descriptor_bytes).u8(0x21).u16(0x0101).u8(0).u8(1).u8(0x22);
    info.u16(static_cast<std::uint16_t>(pointer::report_descriptor.size()));
    info.bytes(std::as_bytes(std::span{pointer::report_descriptor}));
    send(pointer::device_info, info.take(), 0);
    state_.phase = Phase::described;
}

void Pointer::send(std::uint32_t type, std::span<const std::byte> body, std::uint64_t transaction) {
    ByteBuilder message;
    message.u32(type).u32(static_cast<std::uint32_t>(body.size())).bytes(body);
    port_.send(pipe::wrap(message.take()), transaction);
}

void Pointer::start() {
    if (ready() && !state_.reports.empty() && !pace_.armed()) pace_.arm_after(sim::Time::zero());
}

void Pointer::send_next() {
    if (!ready() || state_.reports.empty()) return;
    pace_.arm_after(settings_.between_reports);
    if (port_.waiting() >= most_moves_ahead) return;  // the guest does not read
    const Report report = state_.reports.front();
    state_.reports.pop_front();
    ByteBuilder body;
    body.u8(report.buttons).u16(report.x).u16(report.y).u16(static_cast<std::uint16_t>(report.wheel));
    send(pointer::input_report, body.take(), 0);
    ++reports_;
}

}  // namespace vmbus
