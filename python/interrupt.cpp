// Python.h asks to be the first include.
#include <Python.h>

#include "python/interrupt.h"

#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <string_view>

namespace python {

namespace {

std::atomic<int> interrupts{0};
std::atomic<bool> held{false};
std::atomic<models::Host*> running{nullptr};
static_assert(std::atomic<models::Host*>::is_always_lock_free && std::atomic<int>::is_always_lock_free);

extern "C" void on_interrupt(int) {
    if (++interrupts >= 3) _exit(130);
    if (models::Host* host = running.load()) {
        host->interrupt();
    } else if (!held.load()) {
        PyErr_SetInterrupt();
    }
}

extern "C" void end_at_once(int) {
    constexpr std::string_view line = "verdigris: interrupted\n";
    [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, line.data(), line.size());
    _exit(130);
}

}  // namespace

void end_when_interrupted() {
    std::signal(SIGINT, &end_at_once);
    std::signal(SIGTERM, &end_at_once);
}

void watch_interrupts() {
    struct sigaction action {};
    action.sa_handler = on_interrupt;
    sigemptyset(&action.sa_mask);
    // Also where a shell without job control has set them aside for a background process.
    sigaction(SIGINT, &action, nullptr);
    sigaction(SIGTERM, &action, nullptr);
}

bool interrupted() {
    return interrupts.load() != 0;
}

void hold_interrupts() {
    held.store(true);
}

Interruptible::Interruptible(models::Host& host) {
    running.store(&host);
    // One that came just before has gone to the interpreter, which gets to it only after the run.
    if (interrupted()) host.interrupt();
}

Interruptible::~Interruptible() {
    running.store(nullptr);
}

}  // namespace python
