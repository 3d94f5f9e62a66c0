// Ctrl-C and a polite kill: the run ends at its next safe point with the results so far. A third one ends at once.
#pragma once

#include "models/host.h"

namespace python {

// Until there is something to keep, SIGINT and SIGTERM end the process at once, with a word.
void end_when_interrupted();
// Takes over SIGINT and SIGTERM. The interpreter has put its own handler in place before.
void watch_interrupts();
bool interrupted();
// From now on an interrupt no longer disturbs the interpreter: results are being written.
void hold_interrupts();

// While it lives, an interrupt goes to the host; otherwise to the interpreter, as KeyboardInterrupt.
class Interruptible {
public:
    explicit Interruptible(models::Host& host);
    ~Interruptible();
    Interruptible(const Interruptible&) = delete;
    Interruptible& operator=(const Interruptible&) = delete;
};

}  // namespace python
