#include "vmbus/virtual_pci/virtual_pci_client.h"

#include <algorithm>
#include <utility>

#include "vmbus/inband/bytes.h"

namespace vmbus {

namespace vp = virtual_pci;
using vp::Type;

namespace {

// What Linux sends behind the slot: unused resources, the number of message-signalled interrupts, reserved bytes.
constexpr std::size_t assigned_bytes = 120 + 4 + 16, assigned2_bytes = 120 + 4 + 70;

bool is_error(std::uint32_t status) {
    return status >> 31 != 0;
}

}  // namespace

VirtualPciClient::VirtualPciClient(const sim::Scope& scope, BusClient& bus, VirtualPciUser& user, const Config& config,
                                   sim::Processor& processor)
    : scope_(scope),
      bus_(bus),
      user_(user),
      config_(config),
      slot_(processor, *this),
      registration_(scope.register_state(*this)) {}

// -- The channel.

void VirtualPciClient::offered(ClientChannel& channel) {
    channel.bind(*this);
    (void)channel.open(config_.ring, config_.vp);
}

void VirtualPciClient::opened(ClientChannel& channel, std::uint32_t status) {
    const std::uint64_t errors = state_.host_errors;
    state_ = {};
    state_.host_errors = errors;
    if (status != 0) return fail();
    state_.relid = channel.relid();
    ask_version(config_.newest_version);
}

void VirtualPciClient::signalled(ClientChannel&) {
    slot_.wake();
}

void VirtualPciClient::rescinded(ClientChannel&) {
    const std::uint64_t errors = state_.host_errors;
    state_ = {};
    state_.host_errors = errors;
    user_.function_gone();
}

void VirtualPciClient::ask(Type type, std::vector<std::byte> body, bool wants_completion) {
    InbandMessage& next = state_.outgoing.emplace_back();
    next.completion = wants_completion;
    next.transaction = ++state_.last_transaction;
    next.bytes = ByteBuilder{}.u32(static_cast<std::uint32_t>(type)).bytes(body).take();
    slot_.wake();
}

// -- The task: one message in, or all that waits out.

std::optional<sim::Time> VirtualPciClient::begin() {
    ClientChannel* open = channel();
    if (open == nullptr || !open->is_open()) return std::nullopt;
    state_.sending = !state_.outgoing.empty();
    if (!state_.sending) {
        Packet packet;
        if (!open->receive(packet)) return std::nullopt;
        state_.taken = {packet.type == PacketType::completion, packet.transaction, std::move(packet.payload)};
    }
    const auto messages = state_.sending ? static_cast<std::int64_t>(state_.outgoing.size()) : 1;
    return cost_ = config_.costs.per_message * messages;
}

void VirtualPciClient::account(sim::Account& account) const {
    account.add("guest.vmbus.message", cost_);
}

void VirtualPciClient::finish() {
    ClientChannel* open = channel();
    if (open == nullptr || !open->is_open()) return;
    if (state_.sending) {
        while (!state_.outgoing.empty()) {
            const InbandMessage& next = state_.outgoing.front();
            if (!open->send(next.transaction, next.bytes, next.completion)) break;
            state_.outgoing.pop_front();
        }
        open->flush();
        return;
    }
    const std::optional<InbandMessage> taken = std::exchange(state_.taken, std::nullopt);
    open->flush();
    if (taken) handle(*taken);
}

// -- The protocol.

void VirtualPciClient::ask_version(std::uint32_t version) {
    state_.version = version;
    state_.step = Step::version;
    ask(Type::query_protocol_version, ByteBuilder{}.u32(version).take());
}

void VirtualPciClient::start(Step step) {
    state_.step = step;
    scope_.trace("virtual_pci_client_step", step);
    switch (step) {
        case Step::relations:
            return ask(Type::query_bus_relations, {}, false);
        case Step::requirements:
            return ask(Type::query_resource_requirements, ByteBuilder{}.u32(state_.slot).take());
        case Step::d0:
            return ask(Type::bus_d0_entry, ByteBuilder{}.u32(0).u64(config_.window).take());
        case Step::assigned: {
            const bool second = state_.version >= vp::version_1_2;
            return ask(second ? Type::resources_assigned2 : Type::resources_assigned,
                       ByteBuilder{}.u32(state_.slot).zeros(second ? assigned2_bytes : assigned_bytes).take());
        }
        case Step::found:
            return user_.function_found(state_.identity);
        default:
            return;
    }
}

void VirtualPciClient::fail() {
    state_.step = Step::failed;
    ++state_.host_errors;
    scope_.trace("virtual_pci_client_failed");
}

void VirtualPciClient::handle(const InbandMessage& message) {
    if (message.completion) return answered(message.bytes);
    ByteReader body{message.bytes};
    const std::uint32_t type = body.u32();
    switch (static_cast<Type>(type)) {
        case Type::bus_relations:
            return relations(body.rest(), false);
        case Type::bus_relations2:
            return relations(body.rest(), true);
        case Type::eject:
            if (state_.step == Step::found) return user_.ejection_asked();
            return eject();
        default:
            ++state_.host_errors;
    }
}

void VirtualPciClient::relations(std::span<const std::byte> bytes, bool second) {
    if (state_.step != Step::relations) return;  // after D0 entry the host may say it again
    ByteReader body{bytes};
    if (body.u32() == 0) return;
    PciIdentity& who = state_.identity;
    who.vendor = body.u16();
    who.device = body.u16();
    who.revision = body.u8();
    who.programming_interface = body.u8();
    who.class_of = body.u16();
    who.subsystem_vendor = body.u16();
    who.subsystem = body.u16();
    state_.slot = body.u32();
    who.serial = body.u32();
    if (second && (body.u32() & vp::numa_node_valid) != 0) who.numa_node = body.u16();
    if (!body.complete()) return fail();
    start(Step::requirements);
}

// Requests are answered in their order; one is under way at a time, but for those of interrupts.
void VirtualPciClient::answered(std::span<const std::byte> payload) {
    ByteReader body{payload};
    const std::uint32_t status = body.u32();
    switch (state_.step) {
        case Step::version: {
            if (!is_error(status)) return start(Step::relations);
            const auto at = std::ranges::find(vp::versions, state_.version);
            if (status != vp::status::revision_mismatch || at == vp::versions.begin()) return fail();
            return ask_version(*(at - 1));
        }
        case Step::requirements:
            for (std::uint32_t& mask : state_.bar_masks) mask = body.u32();
            if (is_error(status) || !body.complete()) return fail();
            return start(Step::d0);
        case Step::d0:
            return is_error(status) ? fail() : start(Step::assigned);
        case Step::assigned:
            return is_error(status) ? fail() : start(Step::found);
        case Step::found:
            return interrupt_answered(payload);
        default:
            return;
    }
}

void VirtualPciClient::create_interrupt(std::uint32_t vector, std::uint16_t processor) {
    state_.vectors.push_back(vector);
    ByteBuilder body;
    body.u32(state_.slot);
    if (state_.version >= vp::version_1_4) {
        body.u32(vector).u8(0).u8(0).u16(1);
    } else {
        body.u8(static_cast<std::uint8_t>(vector)).u8(0).u16(1);
    }
    if (state_.version >= vp::version_1_2) {
        body.u16(1).u16(processor).zeros(2 * (vp::most_processors - 1));
        return ask(state_.version >= vp::version_1_4 ? Type::create_interrupt3 : Type::create_interrupt2, body.take());
    }
    ask(Type::create_interrupt, body.u32(0).u64(std::uint64_t{1} << processor).take());
}

void VirtualPciClient::interrupt_answered(std::span<const std::byte> payload) {
    if (state_.vectors.empty()) {
        ++state_.host_errors;
        return;
    }
    const std::uint32_t vector = state_.vectors.front();
    state_.vectors.pop_front();
    ByteReader body{payload};
    const std::uint32_t status = body.u32();
    PciMessage message;
    body.skip(6);
    message.count = body.u16();
    message.data = body.u32();
    message.address = body.u64();
    const bool made = !is_error(status) && body.complete();
    if (!made) ++state_.host_errors;
    user_.interrupt_created(vector, made ? std::optional{message} : std::nullopt);
}

void VirtualPciClient::eject() {
    if (state_.step == Step::ejected || state_.relid == 0) return;
    state_.step = Step::ejected;
    ask(Type::ejection_complete, ByteBuilder{}.u32(state_.slot).u32(vp::status::success).take(), false);
}

}  // namespace vmbus
