#include "models/partition_services.h"

#include <algorithm>
#include <utility>

namespace models {

namespace {

// A hypercall and the flush that it causes. An assumption, as vmbus::Costs.
constexpr sim::Time unmap_cost = sim::Time::us(2);

template <class Answers>
auto take_from(Answers& answers, std::uint32_t number) {
    std::optional<typename Answers::mapped_type> answer;
    if (const auto place = answers.find(number); place != answers.end()) {
        answer = std::move(place->second);
        answers.erase(place);
    }
    return answer;
}

}  // namespace

PartitionServices::PartitionServices(const sim::Scope& scope, const vmbus::ServiceHost& host, vmbus::Server& server,
                                     GuestRam& ram, ServiceListener& listener)
    : ram_(ram),
      listener_(listener),
      server_(server),
      assigned_(scope.counter("memory.assigned", "bytes", "of RAM that the guest has")),
      available_(scope.counter("memory.available", "bytes", "that the guest says it could use still")),
      committed_(scope.counter("memory.committed", "bytes", "that the guest has promised its programs")),
      pressure_(
          scope.counter("memory.pressure", "percent", "committed memory without the balloon, of what the guest has")),
      key_values_(scope.child("key_values"), host, this),
      snapshots_(scope.child("snapshots"), host, this),
      file_copy_(scope.child("file_copy"), host, this),
      pointer_(scope.child("pointer"), host, {}),
      memory_(scope.child("dynamic_memory"), host, {.per_range = unmap_cost}, ram, this),
      sockets_(scope.child("sockets"), host, {}, *this),
      registration_(scope.child("services").register_state(*this)) {
    assigned_.set(ram_.assigned_pages() * page_bytes);
    server_.set_socket_listener(&sockets_);
}

PartitionServices::~PartitionServices() {
    server_.set_socket_listener(nullptr);
}

// Questions and answers
// ----------------------------------------------------------------------------------------------------------------

void PartitionServices::key_value_answered(std::uint32_t request, const vmbus::KeyValueResult& result) {
    const vmbus::IpSettings& ip = result.ip;
    state_.key_values[request] = {
        result.outcome,  result.status, result.items, {ip.adapter, ip.addresses}, {ip.subnets, ip.gateways},
        ip.name_servers, ip.family,     ip.dhcp};
    listener_.service_changed();
}

std::optional<vmbus::KeyValueResult> PartitionServices::take_key_values(std::uint32_t request) {
    const auto answer = take_from(state_.key_values, request);
    if (!answer) return std::nullopt;
    return vmbus::KeyValueResult{answer->outcome,
                                 answer->status,
                                 answer->items,
                                 {answer->names.key, answer->family, answer->dhcp, answer->names.value,
                                  answer->routes.key, answer->routes.value, answer->name_servers}};
}

void PartitionServices::file_copied(const vmbus::FileCopyResult& result) {
    state_.copies[result.copy] = {result.outcome, result.status, result.bytes_written};
    listener_.service_changed();
}

std::optional<vmbus::FileCopyResult> PartitionServices::take_copy(std::uint32_t copy) {
    const auto answer = take_from(state_.copies, copy);
    if (!answer) return std::nullopt;
    return vmbus::FileCopyResult{copy, answer->outcome, answer->status, answer->bytes_written};
}

std::uint32_t PartitionServices::ask_snapshot(vmbus::SnapshotOperation operation) {
    const std::uint32_t number = ++state_.last_snapshot;
    state_.snapshots_asked[number] = operation;
    if (operation == vmbus::SnapshotOperation::freeze) {
        snapshots_.freeze();
    } else {
        snapshots_.ask(operation);
    }
    return number;
}

void PartitionServices::snapshot_answered(const vmbus::SnapshotResult& result) {
    // Those of one kind are answered in their order; a thaw may run out of time before the freeze that it waits for.
    const auto asked = std::ranges::find(state_.snapshots_asked, result.operation,
                                         [](const auto& question) { return question.second; });
    if (asked == state_.snapshots_asked.end()) return;
    state_.snapshots[asked->first] = {result.operation, result.outcome, result.status, result.flags};
    state_.snapshots_asked.erase(asked);
    listener_.service_changed();
}

std::optional<vmbus::SnapshotResult> PartitionServices::take_snapshot(std::uint32_t number) {
    const auto answer = take_from(state_.snapshots, number);
    if (!answer) return std::nullopt;
    return vmbus::SnapshotResult{answer->operation, answer->outcome, answer->status, answer->flags};
}

// Sockets
// ----------------------------------------------------------------------------------------------------------------

void PartitionServices::accepted(vmbus::SocketId socket, std::uint32_t port) {
    state_.accepted[port].push_back(socket);
    listener_.service_changed();
}

std::optional<vmbus::SocketId> PartitionServices::accept(std::uint32_t port) {
    const auto waiting = state_.accepted.find(port);
    if (waiting == state_.accepted.end()) return std::nullopt;
    const vmbus::SocketId socket = waiting->second.front();
    waiting->second.pop_front();
    if (waiting->second.empty()) state_.accepted.erase(waiting);
    return socket;
}

// Memory
// ----------------------------------------------------------------------------------------------------------------

void PartitionServices::memory_status(const vmbus::GuestMemoryStatus& status) {
    const std::uint64_t assigned = ram_.assigned_pages();
    // The guest may say anything.
    constexpr std::uint64_t most = std::uint64_t{1} << 40;
    available_.set(std::min(status.available, most) * page_bytes);
    committed_.set(std::min(status.committed, most) * page_bytes);
    // With what is in the balloon, of which the guest makes no use.
    const std::uint64_t own = status.committed - std::min(status.committed, memory_.ballooned().pages());
    if (assigned != 0) pressure_.set(std::min(own, most) * 100 / assigned);
    if (state_.balance) vmbus::MemoryBalancer{*state_.balance}.balance(memory_, assigned);
    memory_changed();
}

void PartitionServices::memory_changed() {
    assigned_.set(ram_.assigned_pages() * page_bytes);
    listener_.service_changed();
}

bool PartitionServices::hot_add(std::uint64_t pages) {
    const std::uint64_t megabytes = vmbus::dynamic_memory::hot_add_alignment_megabytes(memory_.capabilities());
    const std::uint64_t align = megabytes * ((1 << 20) / page_bytes);
    return memory_.hot_add({ram_.next_free_page(align), pages});
}

}  // namespace models
