// A PC16550D serial port (National Semiconductor data sheet, June 1995): FIFOs, interrupt priorities, line and modem
// status, loop-back, divisor latch. As in a PC, output OUT2 gates the interrupt line.
// Left out: parity and framing are not computed (a sender states them), and modem inputs other than "connected".
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <span>
#include <string_view>

#include "models/interrupt_line.h"
#include "models/io_port_map.h"
#include "sim/agenda.h"
#include "sim/scope.h"

namespace models {

// Where sent bytes go.
class ConsoleSink {
public:
    virtual void byte(std::uint8_t value) = 0;

protected:
    ~ConsoleSink() = default;
};

enum class UartTiming : std::uint8_t {
    immediate,     // a byte is gone as soon as it is written, as virtual serial ports do
    from_divisor,  // start, data, parity and stop bits at the programmed rate
};

class Uart16550 final : public IoDevice {
public:
    static constexpr unsigned ports = 8;
    static constexpr std::uint16_t com1_port = 0x3f8;
    static constexpr std::uint32_t com1_gsi = 4;
    static constexpr std::uint64_t clock_hz = 1'843'200;
    static constexpr std::size_t fifo_bytes = 16;

    Uart16550(const sim::Scope& scope, std::uint16_t base, InterruptLine& interrupt, ConsoleSink& sink,
              UartTiming timing);

    void connect(IoPortMap& map) { map.claim(base_, ports, 1, *this); }
    std::uint32_t read_port(std::uint16_t port, unsigned size) override;
    void write_port(std::uint16_t port, unsigned size, std::uint32_t value) override;

    // Somebody types. Bytes wait here until the receiver has room, as with a sender that obeys flow control.
    void type(std::span<const std::uint8_t> bytes);
    // One character arrives on the wire, room or not, with its error bits (LSR bits 4:2).
    void receive(std::uint8_t byte, std::uint8_t error_bits = 0);

    // How long one character takes at the programmed rate and format.
    sim::Time character_time() const;

    struct Received {
        std::uint8_t byte = 0;
        std::uint8_t errors = 0;  // LSR bits 4:2: break, framing, parity
        bool operator==(const Received&) const = default;
        template <class Archive>
        void fields(Archive& archive) {
            archive(byte, errors);
        }
    };
    struct State {
        std::uint8_t ier = 0;
        std::uint8_t fcr = 0;  // bits 0 and 7:6
        std::uint8_t lcr = 0;
        std::uint8_t mcr = 0;
        std::uint8_t scr = 0;
        std::uint8_t msr_delta = 0;    // bits 3:0
        std::uint8_t modem_lines = 0;  // bits 7:4 as last seen
        std::uint16_t divisor = 0;
        bool overrun = false;
        bool thre_pending = false;     // interrupt identification's memory of an empty transmitter
        bool timeout_pending = false;  // characters lie in the FIFO untouched
        bool shifting = false;         // a character is on its way out
        std::uint8_t shift = 0;
        std::deque<Received> received;
        std::deque<std::uint8_t> transmit;
        std::deque<std::uint8_t> typed;  // waits for room

        bool operator==(const State&) const = default;
        template <class Archive>
        void fields(Archive& archive) {
            archive(ier, fcr, lcr, mcr, scr, msr_delta, modem_lines, divisor, overrun, thre_pending, timeout_pending,
                    shifting, shift, received, transmit, typed);
        }
    };
    const State& state() const { return state_; }
    void reset();
    template <class Archive>
    void fields(Archive& archive) {
        archive(state_, transmit_timer_, timeout_timer_, typed_timer_);
    }

private:
    struct Row;
    static const Row* find(unsigned offset, bool latch);

    // One handler per register and direction, in data-sheet order (table 2).
    std::uint8_t read_rbr();
    void write_thr(std::uint8_t value);
    std::uint8_t read_ier();
    void write_ier(std::uint8_t value);
    std::uint8_t read_iir();
    void write_fcr(std::uint8_t value);
    std::uint8_t read_lcr();
    void write_lcr(std::uint8_t value);
    std::uint8_t read_mcr();
    void write_mcr(std::uint8_t value);
    std::uint8_t read_lsr();
    std::uint8_t read_msr();
    std::uint8_t read_scr();
    void write_scr(std::uint8_t value);
    std::uint8_t read_dll();
    void write_dll(std::uint8_t value);
    std::uint8_t read_dlm();
    void write_dlm(std::uint8_t value);

    bool fifos_enabled() const { return (state_.fcr & 1) != 0; }
    bool loopback() const { return (state_.mcr & 0x10) != 0; }
    std::size_t capacity() const { return fifos_enabled() ? fifo_bytes : 1; }
    std::size_t trigger_level() const;
    std::uint8_t line_status() const;
    std::uint8_t identify() const;
    void clear_receiver();
    void clear_transmitter();
    void start_shifting();
    void character_sent();
    void send_out(std::uint8_t byte);
    void feed_typed();
    void restart_timeout();
    void update_modem();
    void update_interrupt();

    sim::Scope scope_;
    std::uint16_t base_;
    InterruptLine& interrupt_;
    ConsoleSink& sink_;
    UartTiming timing_;
    sim::Counter& sent_;
    sim::Counter& received_;
    sim::Timer transmit_timer_;
    sim::Timer timeout_timer_;
    sim::Timer typed_timer_;
    State state_;
};

}  // namespace models
