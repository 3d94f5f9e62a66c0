#include "vmbus/input/keyboard.h"

#include "vmbus/inband/bytes.h"

namespace vmbus {

namespace {

// Messages that may wait for room on the ring before strokes are held back here.
constexpr std::size_t most_keys_ahead = 2;

}  // namespace

Keyboard::Keyboard(const sim::Scope& scope, const ServiceHost& host, const Settings& settings,
                   KeyboardListener* listener)
    : settings_(settings),
      listener_(listener),
      strokes_(scope.counter("strokes", "strokes", "presses and releases that the guest got")),
      pace_(scope.agenda(), scope.path() + ".pace", [this] { send_next(); }),
      port_(scope, host, message_pipe_offer(interface_type::keyboard, instance), *this),
      registration_(scope.register_state(*this)) {}

void Keyboard::type(std::string_view text) {
    for (const KeyStroke& stroke : strokes_of_text(text)) state_.strokes.push_back(stroke);
    start();
}

void Keyboard::press(std::string_view chord) {
    for (const KeyStroke& stroke : strokes_of_chord(chord)) state_.strokes.push_back(stroke);
    start();
}

void Keyboard::stroke(const KeyStroke& stroke) {
    state_.strokes.push_back(stroke);
    start();
}

void Keyboard::closed() {
    state_ = {};
    pace_.disarm();
}

void Keyboard::received(std::span<const std::byte> message, std::uint64_t transaction) {
    ByteReader reader{message};
    const std::uint32_t type = reader.u32();
    if (inband::from_guest(keyboard::messages, type, reader.rest().size()) == nullptr) {
        return port_.fault("keyboard: not a message that a guest may send");
    }
    if (type == keyboard::led_indicators) {
        state_.leds = reader.u16();
        if (listener_ != nullptr) listener_->leds_changed(state_.leds);
        return;
    }
    state_.accepted = reader.u32() == keyboard::version_1_0;
    ByteBuilder answer;
    answer.u32(keyboard::protocol_response).u32(state_.accepted);
    port_.send(answer.take(), transaction);
    start();
}

// The next stroke as soon as the pace allows.
void Keyboard::start() {
    if (state_.accepted && !state_.strokes.empty() && !pace_.armed()) pace_.arm_after(sim::Time::zero());
}

void Keyboard::send_next() {
    if (!state_.accepted || state_.strokes.empty()) return;
    pace_.arm_after(settings_.between_strokes);
    if (port_.waiting() >= most_keys_ahead) return;  // the guest does not read
    const KeyStroke stroke = state_.strokes.front();
    state_.strokes.pop_front();
    std::uint32_t flags = stroke.release ? keyboard::flag_break : 0;
    if (stroke.key.prefix == KeyPrefix::e0) flags |= keyboard::flag_e0;
    if (stroke.key.prefix == KeyPrefix::e1) flags |= keyboard::flag_e1;
    ByteBuilder event;
    event.u32(keyboard::event).u16(stroke.key.code).u16(0).u32(flags);
    port_.send(event.take());
    ++strokes_;
}

}  // namespace vmbus
