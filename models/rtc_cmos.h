// MC146818A real-time clock with the century byte at 0x32, as a Generation 2 machine has it. The clock starts at a
// given second and advances with simulated time; calendar registers are computed from it when they are read. The update
// cycle is instantaneous, so UIP always reads 0. Left out: the square-wave output, daylight saving (bit B.0 is stored),
// and divider values other than the running one.
#pragma once

#include <array>
#include <cstdint>

#include "models/interrupt_line.h"
#include "models/io_port_map.h"
#include "sim/agenda.h"
#include "sim/scope.h"

namespace models {

class RtcCmos final : public IoDevice {
public:
    static constexpr std::uint16_t base_port = 0x70;
    static constexpr unsigned ports = 2;
    static constexpr std::uint32_t gsi = 8;
    static constexpr std::uint8_t century_register = 0x32;
    static constexpr std::size_t bytes = 128;

    // `epoch_s`: seconds since 1970-01-01 00:00:00 UTC that the clock shows at the present simulated time.
    RtcCmos(const sim::Scope& scope, InterruptLine& interrupt, std::int64_t epoch_s);

    void connect(IoPortMap& map) { map.claim(base_port, ports, 1, *this); }
    std::uint32_t read_port(std::uint16_t port, unsigned size) override;
    void write_port(std::uint16_t port, unsigned size, std::uint32_t value) override;

    // The second that the clock shows now.
    std::int64_t now_s() const;

    struct State {
        std::uint8_t index = 0;
        std::array<std::uint8_t, bytes> ram{};  // registers A, B and everything that is plain storage
        std::uint8_t flags = 0;                 // register C bits 6:4
        bool line = false;
        std::int64_t offset_s = 0;  // clock = offset + whole seconds since `zero`
        sim::Time zero;             // when the seconds count began
        sim::Time flags_until;      // events up to here have been put into `flags`
        bool operator==(const State&) const = default;
        template <class Archive>
        void fields(Archive& archive) {
            archive(index, ram, flags, line, offset_s, zero, flags_until);
        }
    };
    const State& state() const { return state_; }
    // A machine reset leaves the battery-backed clock and memory alone and turns its interrupts off.
    void reset();
    template <class Archive>
    void fields(Archive& archive) {
        archive(state_, timer_);
    }

private:
    struct Row;
    static const Row* find(std::uint8_t index);
    std::uint8_t read_register(std::uint8_t index);
    void write_register(std::uint8_t index, std::uint8_t value);
    std::uint8_t read_calendar(std::uint8_t index);
    void write_calendar(std::uint8_t index, std::uint8_t value);
    std::uint8_t read_stored(std::uint8_t index);
    void write_stored(std::uint8_t index, std::uint8_t value);
    std::uint8_t read_a(std::uint8_t);
    void write_a(std::uint8_t, std::uint8_t value);
    void write_b(std::uint8_t, std::uint8_t value);
    std::uint8_t read_c(std::uint8_t);
    std::uint8_t read_d(std::uint8_t);

    bool setting() const;
    std::uint8_t encode(unsigned value) const;
    unsigned decode(std::uint8_t value) const;
    std::uint8_t encode_hour(unsigned hour) const;
    unsigned decode_hour(std::uint8_t value) const;
    void calendar_to_ram();
    std::int64_t calendar_from_ram() const;
    std::int64_t next_alarm_s(std::int64_t after_s) const;
    sim::Time time_of_second(std::int64_t second) const;
    sim::Time period() const;
    void collect_flags();
    void schedule();
    void update_interrupt();

    sim::Scope scope_;
    InterruptLine& interrupt_;
    sim::Timer timer_;
    State state_;
};

}  // namespace models
