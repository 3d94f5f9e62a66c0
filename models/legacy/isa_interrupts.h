// The sixteen interrupt wires of an ISA machine: each goes to the 8259 pair and to the I/O APIC pin of the same number,
// the timer's to pin 2. Several devices may pull one wire: it is asserted while any of them does.
#pragma once

#include <array>
#include <cstdint>

#include "models/interrupt_line.h"
#include "models/io_apic.h"
#include "models/legacy/pic_8259.h"

namespace models {

class IsaInterrupts final {
public:
    static constexpr unsigned irqs = 16;
    static constexpr unsigned timer_pin = 2;
    // Who pulls: a device on the board, or one of the four PCI lanes that are routed to the wire.
    enum Source : unsigned { board = 0, first_lane = 1 };

    IsaInterrupts(Pic8259& pic, IoApic& io_apic) : pic_(pic), io_apic_(io_apic) {
        for (unsigned irq = 0; irq < irqs; ++irq) {
            lines_[irq].interrupts = this;
            lines_[irq].irq = irq;
        }
    }
    IsaInterrupts(const IsaInterrupts&) = delete;

    InterruptLine& line(unsigned irq) { return lines_[irq]; }
    void set(unsigned irq, unsigned source, bool asserted) {
        std::uint8_t& pulls = state_.pulls[irq];
        const bool was = pulls != 0;
        pulls = static_cast<std::uint8_t>(asserted ? pulls | 1u << source : pulls & ~(1u << source));
        if (was == (pulls != 0) || irq == Pic8259::cascade_input) return;
        pic_.set(irq, pulls != 0);
        io_apic_.set_pin(irq == 0 ? timer_pin : irq, pulls != 0);
    }

    struct State {
        std::array<std::uint8_t, irqs> pulls{};
        bool operator==(const State&) const = default;
        template <class Archive>
        void fields(Archive& archive) {
            archive(pulls);
        }
    };
    const State& state() const { return state_; }
    template <class Archive>
    void fields(Archive& archive) {
        archive(state_);
    }

private:
    struct Line final : InterruptLine {
        IsaInterrupts* interrupts = nullptr;
        unsigned irq = 0;
        void set(bool asserted) override { interrupts->set(irq, board, asserted); }
    };
    Pic8259& pic_;
    IoApic& io_apic_;
    std::array<Line, irqs> lines_;
    State state_;
};

}  // namespace models
