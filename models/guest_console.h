// What a guest has written on its serial port, and who is told when there is something to read.
#pragma once

#include <cstdint>
#include <string>

#include "models/uart_16550.h"
#include "sim/agenda.h"
#include "sim/scope.h"

namespace models {

class ConsoleReader {
public:
    // A line is complete, or a guest waits behind a prompt.
    virtual void console_changed() = 0;

protected:
    ~ConsoleReader() = default;
};

class GuestConsole final : public ConsoleSink {
public:
    // Of a console that grows beyond this, the older half is dropped, with a mark in its place.
    static constexpr std::size_t most_bytes = std::size_t{64} << 20;
    // A line that has been unfinished for so long is a prompt.
    static constexpr sim::Time prompt_delay = sim::Time::ms(1);

    GuestConsole(const sim::Scope& scope, ConsoleReader& reader, std::size_t most = most_bytes);

    void byte(std::uint8_t value) override;
    const std::string& text() const { return state_.text; }
    // The machine is off: nothing more will come.
    void close() { prompt_.disarm(); }

    struct State {
        std::string text;
        std::uint64_t dropped = 0;  // bytes

        bool operator==(const State&) const = default;
        template <class Archive>
        void fields(Archive& archive) {
            archive(text, dropped);
        }
    };
    template <class Archive>
    void fields(Archive& archive) {
        archive(state_, prompt_);
    }

private:
    void drop_oldest();

    ConsoleReader& reader_;
    std::size_t most_;
    sim::Counter& bytes_;
    sim::Counter& lines_;
    sim::Timer prompt_;
    State state_;
};

}  // namespace models
