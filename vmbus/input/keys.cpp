#include "vmbus/input/keys.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <string>

#include "sim/check.h"

namespace vmbus {

namespace {

struct NamedKey {
    std::string_view name;
    ScanCode key;
};

constexpr ScanCode plain(std::uint8_t code) {
    return {code, KeyPrefix::none};
}
constexpr ScanCode e0(std::uint8_t code) {
    return {code, KeyPrefix::e0};
}

// clang-format off
constexpr std::array named_keys{
    NamedKey{"esc", plain(0x01)},          NamedKey{"escape", plain(0x01)},       NamedKey{"backspace", plain(0x0e)},
    NamedKey{"tab", plain(0x0f)},          NamedKey{"enter", plain(0x1c)},        NamedKey{"return", plain(0x1c)},
    NamedKey{"ctrl", plain(0x1d)},         NamedKey{"left_ctrl", plain(0x1d)},    NamedKey{"right_ctrl", e0(0x1d)},
    NamedKey{"shift", plain(0x2a)},        NamedKey{"left_shift", plain(0x2a)},   NamedKey{"right_shift", plain(0x36)},
    NamedKey{"alt", plain(0x38)},          NamedKey{"left_alt", plain(0x38)},     NamedKey{"right_alt", e0(0x38)},
    NamedKey{"space", plain(0x39)},        NamedKey{"caps_lock", plain(0x3a)},    NamedKey{"num_lock", plain(0x45)},
    NamedKey{"scroll_lock", plain(0x46)},  NamedKey{"print_screen", e0(0x37)},    NamedKey{"sysrq", plain(0x54)},
    NamedKey{"f1", plain(0x3b)},           NamedKey{"f2", plain(0x3c)},           NamedKey{"f3", plain(0x3d)},
    NamedKey{"f4", plain(0x3e)},           NamedKey{"f5", plain(0x3f)},           NamedKey{"f6", plain(0x40)},
    NamedKey{"f7", plain(0x41)},           NamedKey{"f8", plain(0x42)},           NamedKey{"f9", plain(0x43)},
    NamedKey{"f10", plain(0x44)},          NamedKey{"f11", plain(0x57)},          NamedKey{"f12", plain(0x58)},
    NamedKey{"insert", e0(0x52)},          NamedKey{"delete", e0(0x53)},          NamedKey{"home", e0(0x47)},
    NamedKey{"end", e0(0x4f)},             NamedKey{"page_up", e0(0x49)},         NamedKey{"page_down", e0(0x51)},
    NamedKey{"up", e0(0x48)},              NamedKey{"down", e0(0x50)},            NamedKey{"left", e0(0x4b)},
    NamedKey{"right", e0(0x4d)},           NamedKey{"left_meta", e0(0x5b)},       NamedKey{"right_meta", e0(0x5c)},
    NamedKey{"menu", e0(0x5d)},            NamedKey{"keypad_0", plain(0x52)},     NamedKey{"keypad_1", plain(0x4f)},
    NamedKey{"keypad_2", plain(0x50)},     NamedKey{"keypad_3", plain(0x51)},     NamedKey{"keypad_4", plain(0x4b)},
    NamedKey{"keypad_5", plain(0x4c)},     NamedKey{"keypad_6", plain(0x4d)},     NamedKey{"keypad_7", plain(0x47)},
    NamedKey{"keypad_8", plain(0x48)},     NamedKey{"keypad_9", plain(0x49)},     NamedKey{"keypad_dot", plain(0x53)},
    NamedKey{"keypad_plus", plain(0x4e)},  NamedKey{"keypad_minus", plain(0x4a)}, NamedKey{"keypad_star", plain(0x37)},
    NamedKey{"keypad_slash", e0(0x35)},    NamedKey{"keypad_enter", e0(0x1c)},    NamedKey{"plus", plain(0x0d)},
};
// clang-format on

constexpr ScanCode shift = plain(0x2a);

// Keys in rows: the first code, what they type, what they type with shift.
struct Row {
    std::uint8_t first;
    std::string_view lower;
    std::string_view upper;
};
constexpr std::array rows{
    Row{0x02, "1234567890-=", "!@#$%^&*()_+"},
    Row{0x10, "qwertyuiop[]", "QWERTYUIOP{}"},
    Row{0x1e, "asdfghjkl;'`", "ASDFGHJKL:\"~"},
    Row{0x2b, "\\zxcvbnm,./", "|ZXCVBNM<>?"},
    Row{0x39, " ", " "},
};

struct TypedKey {
    ScanCode key;
    bool shifted;
};

bool find_typed(char character, TypedKey& found) {
    switch (character) {
        case '\n':
        case '\r':
            found = {plain(0x1c), false};
            return true;
        case '\t':
            found = {plain(0x0f), false};
            return true;
        case '\b':
        case '\x7f':
            found = {plain(0x0e), false};
            return true;
        case '\x1b':
            found = {plain(0x01), false};
            return true;
        default:
            break;
    }
    for (const Row& row : rows) {
        for (const bool shifted : {false, true}) {
            const auto at = (shifted ? row.upper : row.lower).find(character);
            if (at == std::string_view::npos) continue;
            found = {plain(static_cast<std::uint8_t>(row.first + at)), shifted};
            return true;
        }
    }
    return false;
}

char lower(char character) {
    return character >= 'A' && character <= 'Z' ? static_cast<char>(character - 'A' + 'a') : character;
}

}  // namespace

ScanCode key_of(std::string_view name) {
    TypedKey typed{};
    if (name.size() == 1 && find_typed(lower(name[0]), typed) && !typed.shifted) return typed.key;
    std::string wanted;
    for (const char character : name) wanted.push_back(lower(character));
    const auto found = std::ranges::find(named_keys, wanted, &NamedKey::name);
    if (found == named_keys.end()) {
        throw sim::UserError("keyboard: there is no key \"" + std::string{name} +
                             "\"; keys are a, 1, F1, enter, esc, ctrl, alt, shift, up, keypad_0 and the like");
    }
    return found->key;
}

std::vector<KeyStroke> strokes_of_text(std::string_view text) {
    std::vector<KeyStroke> strokes;
    for (std::size_t n = 0; n < text.size(); ++n) {
        TypedKey typed{};
        if (!find_typed(text[n], typed)) {
            throw sim::UserError("keyboard: character " + std::to_string(n + 1) +
                                 " of the text is not on a US keyboard");
        }
        if (typed.shifted) strokes.push_back({shift, false});
        strokes.push_back({typed.key, false});
        strokes.push_back({typed.key, true});
        if (typed.shifted) strokes.push_back({shift, true});
    }
    return strokes;
}

std::vector<KeyStroke> strokes_of_chord(std::string_view chord) {
    std::vector<KeyStroke> strokes;
    std::string_view rest = chord;
    while (true) {
        const auto end = rest.find('+', 1);
        strokes.push_back({key_of(rest.substr(0, end)), false});
        if (end == std::string_view::npos) break;
        rest = rest.substr(end + 1);
    }
    for (std::size_t n = strokes.size(); n-- > 0;) strokes.push_back({strokes[n].key, true});
    return strokes;
}

}  // namespace vmbus
