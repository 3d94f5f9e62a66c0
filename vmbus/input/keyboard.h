// The synthetic keyboard: the guest asks for a version, then gets scan codes as they come.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <string_view>

#include "vmbus/inband/inband_port.h"
#include "vmbus/inband/message_table.h"
#include "vmbus/input/keys.h"

namespace vmbus {

namespace keyboard {
inline constexpr std::uint32_t version_1_0 = 0x0001'0000;
inline constexpr std::uint32_t protocol_request = 1;   // version (u32)
inline constexpr std::uint32_t protocol_response = 2;  // bit 0: accepted (u32)
inline constexpr std::uint32_t event = 3;              // code (u16), reserved (u16), flags (u32)
inline constexpr std::uint32_t led_indicators = 4;     // LEDs (u16), reserved (u16)
// The header is the type (u32). No message is longer than 256 bytes.
inline constexpr std::array messages{
    inband::MessageRow{protocol_request, "protocol request", inband::Direction::from_guest, 4},
    inband::MessageRow{protocol_response, "protocol response", inband::Direction::to_guest, 4},
    inband::MessageRow{event, "keystroke", inband::Direction::to_guest, 8},
    inband::MessageRow{led_indicators, "LED indicators", inband::Direction::from_guest, 2},
};
inline constexpr std::uint32_t flag_break = 2;
inline constexpr std::uint32_t flag_e0 = 4;
inline constexpr std::uint32_t flag_e1 = 8;
// LEDs.
inline constexpr std::uint16_t led_scroll_lock = 1;
inline constexpr std::uint16_t led_num_lock = 2;
inline constexpr std::uint16_t led_caps_lock = 4;
}  // namespace keyboard

class KeyboardListener {
public:
    virtual void leds_changed(std::uint16_t leds) = 0;

protected:
    ~KeyboardListener() = default;
};

class Keyboard final : private InbandDevice {
public:
    static constexpr Guid instance = guid("d34b2567-b9b6-42b9-8778-0a4ec0b955bf");

    struct Settings {
        sim::Time between_strokes = sim::Time::ms(2);  // a fast typist; each stroke is a press or a release
    };

    Keyboard(const sim::Scope& scope, const ServiceHost& host, const Settings& settings,
             KeyboardListener* listener = nullptr);

    // Strokes wait until the guest's driver is there, and are gone if it goes.
    void type(std::string_view text);    // "ls -l\n"
    void press(std::string_view chord);  // "enter", "ctrl+alt+delete": down and up again
    void stroke(const KeyStroke& stroke);

    bool ready() const { return state_.accepted; }
    std::size_t waiting() const { return state_.strokes.size(); }
    std::uint16_t leds() const { return state_.leds; }

    template <class Archive>
    void fields(Archive& archive) {
        archive(state_, pace_, port_);
    }

private:
    struct State {
        bool accepted = false;
        std::uint16_t leds = 0;
        std::deque<KeyStroke> strokes;

        bool operator==(const State&) const = default;
        template <class Archive>
        void fields(Archive& archive) {
            archive(accepted, leds, strokes);
        }
    };

    void opened() override {}
    void closed() override;
    void received(std::span<const std::byte> message, std::uint64_t transaction) override;
    void send_next();
    void start();

    Settings settings_;
    KeyboardListener* listener_;
    State state_;
    sim::Counter& strokes_;
    sim::Timer pace_;
    InbandPort port_;
    sim::StateRegistration registration_;
};

}  // namespace vmbus
