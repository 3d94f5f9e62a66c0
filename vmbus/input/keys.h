// Keys of a US keyboard and their set-1 scan codes, by name and by the text that they type.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

namespace vmbus {

enum class KeyPrefix : std::uint8_t { none, e0, e1 };

struct ScanCode {
    std::uint8_t code = 0;
    KeyPrefix prefix = KeyPrefix::none;

    bool operator==(const ScanCode&) const = default;
    template <class Archive>
    void fields(Archive& archive) {
        archive(code, prefix);
    }
};

struct KeyStroke {
    ScanCode key;
    bool release = false;

    bool operator==(const KeyStroke&) const = default;
    template <class Archive>
    void fields(Archive& archive) {
        archive(key, release);
    }
};

// The key of a name ("a", "F5", "enter", "left", "right_ctrl", "keypad_7"), in any case.
// Throws sim::UserError for a name that is none.
ScanCode key_of(std::string_view name);

// Presses and releases that type the text; a line end is the enter key. Throws sim::UserError for a character that a US
// keyboard lacks.
std::vector<KeyStroke> strokes_of_text(std::string_view text);

// "ctrl+alt+delete": pressed in this order, released in the other.
std::vector<KeyStroke> strokes_of_chord(std::string_view chord);

}  // namespace vmbus
