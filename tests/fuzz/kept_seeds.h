// The inputs of a fuzz target that are kept with the tests: failures of former times, and short ones that together
// reach all the code that long campaigns have reached. One in each line, in hexadecimal; `#` begins a comment.
#pragma once

#include <cstdint>
#include <fstream>
#include <string>
#include <vector>

#include "sim/check.h"
#include "sim/simulation.h"

namespace fuzz {

// `folder` is the source tree's.
inline std::vector<std::vector<std::uint8_t>> kept_seeds(const std::string& folder, const std::string& target) {
    std::ifstream file(folder + "/tests/fuzz/seeds/" + target + ".txt");
    VG_CHECK(file.is_open(), "no seeds of " + target);
    const auto digit = [](char c) {
        VG_CHECK((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'));
        return static_cast<unsigned>(c <= '9' ? c - '0' : c - 'a' + 10);
    };
    std::vector<std::vector<std::uint8_t>> inputs;
    for (std::string line; std::getline(file, line);) {
        if (line.empty() || line[0] == '#') continue;
        VG_CHECK(line.size() % 2 == 0);
        std::vector<std::uint8_t>& input = inputs.emplace_back();
        for (std::size_t at = 0; at < line.size(); at += 2)
            input.push_back(static_cast<std::uint8_t>(digit(line[at]) << 4 | digit(line[at + 1])));
    }
    return inputs;
}

// What a simulation has come to.
inline std::string end_of(sim::Simulation& simulation) {
    return simulation.trace().hash() + " " + std::to_string(simulation.agenda().events_fired()) + " " +
           std::to_string(simulation.agenda().now().ps());
}
// An input comes to the same end whatever was before it: some of them, forwards and then backwards.
template <class Run>
bool same_in_any_order(const std::vector<std::vector<std::uint8_t>>& inputs, const Run& run) {
    constexpr std::size_t step = 16;
    std::vector<std::string> ends;
    for (std::size_t n = 0; n < inputs.size(); n += step) ends.push_back(run(inputs[n]));
    for (std::size_t n = ends.size(); n-- > 0;) {
        if (run(inputs[step * n]) != ends[n]) return false;
    }
    return true;
}

}  // namespace fuzz
