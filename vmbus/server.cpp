#include "vmbus/server.h"

#include <string>

namespace vmbus {

Server::Server(const sim::Scope& scope, GuestMemory& memory, GuestPort& port, const ServerConfig& config)
    : scope_(scope),
      memory_(memory),
      port_(port),
      config_(config),
      packets_in_(scope.counter("packets_in", "count", "packets taken from rings")),
      packets_out_(scope.counter("packets_out", "count", "packets put on rings")),
      bytes_in_(scope.counter("bytes_in", "bytes", "payload of packets taken")),
      bytes_out_(scope.counter("bytes_out", "bytes", "payload of packets put")),
      signals_in_(scope.counter("signals_in", "count", "signals of the guest")),
      signals_out_(scope.counter("signals_out", "count", "signals to the guest")),
      queue_timer_(scope.agenda(), scope.path() + ".queue", [this] { send_queued(); }),
      fault_timer_(scope.agenda(), scope.path() + ".fault", [this] { end_faulty(); }),
      room_timer_(scope.agenda(), scope.path() + ".room", [this] { poll_room(); }),
      monitor_timer_(scope.agenda(), scope.path() + ".monitor", [this] { look_at_monitor_page(); }),
      registration_(scope.register_state(*this)) {
    for (std::size_t n = 0; n < refusal_table.size(); ++n) {
        refusals_[n] =
            &scope.counter("refused." + std::string{refusal_table[n].name}, "count", refusal_table[n].description);
    }
    for (std::size_t n = 0; n < message_table.size(); ++n) {
        const MessageRow& row = message_table[n];
        messages_[n] = &scope.counter("messages." + std::string{row.name}, "count",
                                      row.direction == Direction::to_host ? "messages of the guest with this number"
                                                                          : "messages to the guest with this number");
    }
}

Server::~Server() = default;

void Server::needs_changed() {
    // Of pointers to what a partition mostly has.
    constexpr std::size_t channel_bytes = 4 * sim::WorkingSet::line_bytes;
    needs_.clear();
    for (const auto& [id, channel] : channels_) {
        if (channel->is_open()) channel->device_->add_needs(*channel, needs_);
    }
    if (needs_.empty()) return;
    needs_.add(this, static_cast<std::size_t>(reinterpret_cast<const std::byte*>(&state_.incomplete) -
                                              reinterpret_cast<const std::byte*>(this)));
    needs_.add(&packets_in_, 6 * sizeof(sim::Counter));
    needs_.add_content(state_.relids, 2 * sim::WorkingSet::line_bytes);
    needs_.add_content(channels_, channel_bytes);
    memory_.add_needs(needs_);
    port_.add_needs(needs_);
}

}  // namespace vmbus
