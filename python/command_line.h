// The command line of the executable: `run`, `bench` and `validate`. What a host is made of is handed in, so that tests
// of the face need no machine.
#pragma once

#include <memory>
#include <span>
#include <string_view>

#include "models/host.h"

namespace python {

using HostFactory = std::unique_ptr<models::Host> (*)(sim::Simulation&, const models::HostConfig&);

// A benchmark written in C++. It prints what it finds and returns the exit status.
struct Bench {
    const char* name;
    const char* description;
    int (*run)();
};

struct Program {
    HostFactory make_host;
    std::span<const Bench> benches;
};

// Exit status: 0 all checks passed; 1 a check failed or an awaited event did not come; 2 the user's mistake, one line
// on the error output; 130 interrupted.
int command_line(int argc, char** argv, const Program& program);

// One line on the error output, which may be full; gives the exit status.
int user_error(std::string_view message);

}  // namespace python
