// The pair of 8259A interrupt controllers of a PC, the second on the first one's input 2 (Intel 8259A data sheet,
// 231468; edge or level by input as in the 82371AB, 4.4): initialization, masks, priorities with rotation, all kinds of
// end of interrupt, special mask, poll. Left out: the 8080 mode and buffered mode, which a PC does not use.
#pragma once

#include <array>
#include <cstdint>

#include "models/interrupt_line.h"
#include "models/io_port_map.h"
#include "sim/scope.h"

namespace models {

class Pic8259 final : public IoDevice {
public:
    static constexpr unsigned inputs = 16;
    static constexpr std::uint16_t first_port = 0x20, second_port = 0xa0, trigger_port = 0x4d0;
    static constexpr unsigned cascade_input = 2;

    // `output` is what goes to the processor: INTR.
    Pic8259(const sim::Scope& scope, InterruptLine& output);
    Pic8259(const Pic8259&) = delete;

    void connect(IoPortMap& ports);
    InterruptLine& line(unsigned input) { return lines_[input]; }
    void set(unsigned input, bool asserted);
    // The processor takes the interrupt: its vector. A request that has gone away gives that of input 7.
    std::uint8_t acknowledge();

    std::uint32_t read_port(std::uint16_t port, unsigned size) override;
    void write_port(std::uint16_t port, unsigned size, std::uint32_t value) override;

    struct Chip {
        std::uint8_t lines = 0;
        std::uint8_t irr = 0;
        std::uint8_t isr = 0;
        std::uint8_t imr = 0;
        std::uint8_t level = 0;  // inputs that are level-triggered
        std::uint8_t base = 0;   // ICW2
        std::uint8_t icw1 = 0;
        std::uint8_t icw4 = 0;
        std::uint8_t awaited = 0;  // the initialization word that comes next: 2, 3, 4, or 0
        std::uint8_t lowest = 7;   // the input of lowest priority
        bool read_isr = false;
        bool poll = false;
        bool special_mask = false;
        bool rotate_on_auto_eoi = false;
        bool operator==(const Chip&) const = default;
        template <class Archive>
        void fields(Archive& archive) {
            archive(lines, irr, isr, imr, level, base, icw1, icw4, awaited, lowest, read_isr, poll, special_mask,
                    rotate_on_auto_eoi);
        }
    };
    struct State {
        std::array<Chip, 2> chips{};
        bool output = false;
        bool operator==(const State&) const = default;
        template <class Archive>
        void fields(Archive& archive) {
            archive(chips, output);
        }
    };
    const State& state() const { return state_; }
    void reset();
    template <class Archive>
    void fields(Archive& archive) {
        archive(state_);
    }

private:
    struct Line final : InterruptLine {
        Pic8259* pic = nullptr;
        unsigned input = 0;
        void set(bool asserted) override { pic->set(input, asserted); }
    };

    void write_command(Chip& chip, std::uint8_t value);
    void write_data(Chip& chip, std::uint8_t value);
    void write_ocw2(Chip& chip, std::uint8_t value);
    void write_ocw3(Chip& chip, std::uint8_t value);
    std::uint8_t read_command(Chip& chip);
    int request(const Chip& chip) const;
    std::uint8_t take(Chip& chip);
    void set_input(Chip& chip, unsigned input, bool asserted);
    void update();

    sim::Scope scope_;
    InterruptLine& output_;
    std::array<Line, inputs> lines_;
    State state_;
};

}  // namespace models
