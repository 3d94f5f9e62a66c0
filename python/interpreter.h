// The embedded interpreter, cut off from whatever Python the user has set up: no environment, no user packages, fixed
// hash seed, UTF-8.
#pragma once

#include <functional>

#include "python/command_line.h"
#include "python/machine.h"

namespace python {

// Starts the interpreter, calls `body` (which may use pybind11 and throw its exceptions), ends it. Returns what `body`
// returned; after a line on the error output 2 if the interpreter cannot start or an output cannot be written, 130 if
// `body` was interrupted, 70 if it threw anything else, which is a defect of ours.
int with_interpreter(const char* executable, const std::function<int()>& body);

// The machine that the package works on; null between runs. It must outlive the interpreter's use of it.
void set_machine(Machine* machine);

}  // namespace python
