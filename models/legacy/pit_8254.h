// The 8254 timer of a PC (Intel 8254 data sheet, 231164) with port 0x61: counter 0 on the timer interrupt, counter 2
// at the speaker's gate. All six modes, binary and BCD, latches and read-back. Counting is computed from simulated
// time, so a counter costs an event per output change of counter 0 and nothing else. Left out: counter 1's refresh
// beyond the bit that toggles, and sound.
#pragma once

#include <array>
#include <cstdint>

#include "models/interrupt_line.h"
#include "models/io_port_map.h"
#include "sim/agenda.h"
#include "sim/scope.h"

namespace models {

class Pit8254 final : public IoDevice {
public:
    static constexpr std::uint64_t clock_hz = 1'193'182;
    static constexpr std::uint16_t base_port = 0x40, control_port = 0x43, speaker_port = 0x61;
    static constexpr unsigned irq = 0;

    Pit8254(const sim::Scope& scope, InterruptLine& interrupt);
    Pit8254(const Pit8254&) = delete;

    void connect(IoPortMap& ports);
    std::uint32_t read_port(std::uint16_t port, unsigned size) override;
    void write_port(std::uint16_t port, unsigned size, std::uint32_t value) override;

    struct Counter {
        std::uint8_t mode = 3;
        std::uint8_t access = 3;  // 1: low byte, 2: high byte, 3: low then high
        bool bcd = false;
        std::uint16_t count = 0;  // as written; 0 is the largest
        bool loaded = false;      // a count has been written since the control word
        bool counting = false;    // mode 1 and 5: triggered
        std::uint64_t start = 0;  // the clock tick at which the count was loaded into the counter
        std::uint8_t low = 0;     // first byte of a count that is being written
        bool half_written = false;
        bool half_read = false;
        std::uint16_t latch = 0;
        bool latched = false;
        std::uint8_t status = 0;
        bool status_latched = false;
        bool gate = true;
        std::uint64_t stopped = 0;  // elapsed ticks when the gate fell
        bool operator==(const Counter&) const = default;
        template <class Archive>
        void fields(Archive& archive) {
            archive(mode, access, bcd, count, loaded, counting, start, low, half_written, half_read, latch, latched,
                    status, status_latched, gate, stopped);
        }
    };
    struct State {
        std::array<Counter, 3> counters{};
        std::uint8_t speaker = 0;  // port 0x61 bits 3:0
        bool operator==(const State&) const = default;
        template <class Archive>
        void fields(Archive& archive) {
            archive(counters, speaker);
        }
    };
    const State& state() const { return state_; }
    void reset();
    template <class Archive>
    void fields(Archive& archive) {
        archive(state_, timer_);
    }

private:
    std::uint64_t tick() const;
    static std::uint64_t period(const Counter& counter);
    std::uint64_t elapsed(const Counter& counter) const;
    std::uint16_t value(const Counter& counter) const;
    bool output(const Counter& counter) const;
    std::uint64_t next_edge(const Counter& counter) const;
    void write_control(std::uint8_t control);
    void write_count(Counter& counter, std::uint8_t byte);
    void load(Counter& counter, std::uint16_t count);
    std::uint8_t read_count(Counter& counter);
    void latch_count(Counter& counter);
    void latch_status(Counter& counter);
    void set_gate(Counter& counter, bool gate);
    void schedule();
    void update_interrupt();

    sim::Scope scope_;
    InterruptLine& interrupt_;
    sim::Timer timer_;
    State state_;
};

}  // namespace models
