#include "models/guest_console.h"

#include <fmt/format.h>

namespace models {

GuestConsole::GuestConsole(const sim::Scope& scope, ConsoleReader& reader, std::size_t most)
    : reader_(reader),
      most_(most),
      bytes_(scope.counter("bytes", "bytes", "written by the guest on its console")),
      lines_(scope.counter("lines", "lines", "ended by the guest on its console")),
      prompt_(scope.agenda(), scope.path() + ".prompt", [this] { reader_.console_changed(); }) {}

void GuestConsole::byte(std::uint8_t value) {
    ++bytes_;
    if (state_.text.size() >= most_) drop_oldest();
    state_.text.push_back(static_cast<char>(value));
    if (value == '\n') {
        ++lines_;
        prompt_.disarm();
        reader_.console_changed();
    } else if (!prompt_.armed()) {
        prompt_.arm_after(prompt_delay);
    }
}

void GuestConsole::drop_oldest() {
    std::size_t cut = state_.text.size() / 2;
    const std::size_t line_end = state_.text.find('\n', cut);
    if (line_end != std::string::npos && line_end + 1 < state_.text.size()) cut = line_end + 1;
    state_.dropped += cut;
    state_.text.replace(0, cut, fmt::format("[{} bytes of console output dropped]\n", state_.dropped));
}

}  // namespace models
