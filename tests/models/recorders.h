// What the tests of chipset devices connect to their outputs.
#pragma once

#include <string>
#include <vector>

#include "models/debug_exit.h"
#include "models/interrupt_line.h"
#include "models/io_apic.h"
#include "models/power_control.h"
#include "models/uart_16550.h"
#include "sim/simulation.h"

struct RecordedLine final : models::InterruptLine {
    bool asserted = false;
    unsigned edges = 0;
    void set(bool level) override {
        if (level && !asserted) ++edges;
        asserted = level;
    }
};

struct RecordedConsole final : models::ConsoleSink {
    explicit RecordedConsole(sim::Simulation& simulation) : agenda(simulation.agenda()) {}
    void byte(std::uint8_t value) override {
        text += static_cast<char>(value);
        times.push_back(agenda.now());
    }
    sim::Agenda& agenda;
    std::string text;
    std::vector<sim::Time> times;
};

struct RecordedPower final : models::PowerEvents, models::ExitPort {
    std::vector<std::string> events;
    void power_off() override { events.push_back("off"); }
    void reset_requested(models::ResetCause cause) override {
        events.push_back("reset " + std::to_string(static_cast<int>(cause)));
    }
    void debug_exit(std::uint32_t code) override { events.push_back("exit " + std::to_string(code)); }
};

struct RecordedMessages final : models::InterruptMessagePort {
    std::vector<models::InterruptMessage> messages;
    void deliver(const models::InterruptMessage& message) override { messages.push_back(message); }
};
