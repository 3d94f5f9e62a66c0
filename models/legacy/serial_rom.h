// A 93C46 serial memory in its 64 x 16 organization, as adapters keep their address in: chip select, clock, data in,
// data out (Microchip DS21749, table 2-1). A write is done at once; real chips take milliseconds.
#pragma once

#include <array>
#include <cstdint>

namespace models {

class SerialRom final {
public:
    static constexpr unsigned words = 64;
    using Content = std::array<std::uint16_t, words>;

    explicit SerialRom(const Content& content) { state_.content = content; }

    // The lines as they are now. Data is taken, and moves out, at a rising clock while selected.
    void set(bool select, bool clock, bool data_in);
    // Not driven, it is pulled up.
    bool data_out() const { return state_.data_out; }
    const Content& content() const { return state_.content; }

    enum class Phase : std::uint8_t { idle, command, reading, data, ignoring };
    struct State {
        Content content{};
        bool select = false;
        bool clock = false;
        bool data_out = true;
        bool writes_enabled = false;
        Phase phase = Phase::idle;
        std::uint16_t shift = 0;
        std::uint8_t count = 0;    // bits shifted in this phase
        std::uint8_t command = 0;  // opcode and address, 8 bits
        std::uint8_t address = 0;
        bool operator==(const State&) const = default;
        template <class Archive>
        void fields(Archive& archive) {
            archive(content, select, clock, data_out, writes_enabled, phase, shift, count, command, address);
        }
    };
    const State& state() const { return state_; }
    template <class Archive>
    void fields(Archive& archive) {
        archive(state_);
    }

private:
    void rising_edge(bool data_in);
    void begin_command();
    void store();

    State state_;
};

}  // namespace models
