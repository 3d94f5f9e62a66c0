// A task that never has anything to do, and counts how often it was fetched ahead for.
#pragma once

#include <optional>

#include "sim/processor.h"

struct Looked final : sim::Task {
    std::optional<sim::Time> begin() override { return std::nullopt; }
    void finish() override {}
    void fetch_ahead() const override { ++times; }
    mutable int times = 0;
};
