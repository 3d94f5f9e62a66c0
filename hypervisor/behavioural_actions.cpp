// What the software of a behavioural processor wants done outside of it, as a kernel's instructions would: hypercalls,
// MSRs, device registers and ports.
#include <array>
#include <cstring>
#include <utility>

#include "cpu/msr_table.h"
#include "hypervisor/behavioural_processor.h"
#include "hypervisor/vp_registers.h"
#include "sim/bits.h"
#include "sim/check.h"

namespace hypervisor {

using cpu::Gpr;

namespace {

constexpr std::uint64_t fast_call = std::uint64_t{1} << hypercall_control::fast_bit;
constexpr std::uint32_t bus_message_type = 1;

constexpr std::uint64_t low_bytes(std::uint64_t value, unsigned bytes) {
    return bytes >= 8 ? value : value & ((std::uint64_t{1} << 8 * bytes) - 1);
}

// MOV between the accumulator and [RBX], of 1, 2, 4 or 8 bytes.
struct Instruction {
    std::array<std::uint8_t, 3> code;
    std::uint8_t length;
};
constexpr Instruction instruction_of(unsigned bytes, bool write) {
    const auto opcode = static_cast<std::uint8_t>((write ? 0x88 : 0x8a) | (bytes == 1 ? 0 : 1));
    constexpr std::uint8_t at_rbx = 0x03;
    if (bytes == 2) return {{0x66, opcode, at_rbx}, 3};
    if (bytes == 8) return {{0x48, opcode, at_rbx}, 3};
    return {{opcode, at_rbx, 0}, 2};
}

}  // namespace

// Made where it stays, field by field: one that is moved there is read in pieces of two words before they are in the
// cache, and waits for all stores before.
BehaviouralProcessor::Action& BehaviouralProcessor::add(Kind kind) {
    state_.actions.emplace_back().kind = kind;
    wake();
    return state_.actions.back();
}

void BehaviouralProcessor::charge(sim::Cause cause, sim::Time time, std::uint32_t who, std::uint32_t step,
                                  std::uint64_t value) {
    VG_CHECK(time >= sim::Time::zero());
    const std::uint16_t number = environment_.causes().number(cause);
    Action& action = add(Kind::charge);
    action.cause = number;
    action.who = who;
    action.step = step;
    action.value = value;
    action.time = time;
}

void BehaviouralProcessor::call_post_message(std::uint32_t connection, std::span<const std::byte> payload) {
    VG_CHECK(payload.size() <= message_payload_bytes);
    Action& action = add(Kind::post_message);
    action.address = connection;
    action.payload = {payload.begin(), payload.end()};
}

void BehaviouralProcessor::call_signal_event(std::uint32_t connection, std::uint16_t flag) {
    Action& action = add(Kind::signal_event);
    action.address = connection;
    action.value = flag;
}

void BehaviouralProcessor::send_ipi(VpMask targets, std::uint8_t vector) {
    Action& action = add(Kind::send_ipi);
    action.address = targets;
    action.value = vector;
}

void BehaviouralProcessor::write_msr(std::uint32_t number, std::uint64_t value, std::uint32_t who, std::uint32_t step) {
    Action& action = add(Kind::write_msr);
    action.who = who;
    action.step = step;
    action.address = number;
    action.value = value;
}

void BehaviouralProcessor::add_access(Kind kind, std::uint64_t address, unsigned bytes, std::uint64_t value,
                                      std::uint32_t who, std::uint32_t step) {
    Action& action = add(kind);
    action.bytes = static_cast<std::uint8_t>(bytes);
    action.who = who;
    action.step = step;
    action.address = address;
    action.value = value;
}

void BehaviouralProcessor::write_register(std::uint64_t gpa, unsigned bytes, std::uint64_t value) {
    add_access(Kind::write_register, gpa, bytes, low_bytes(value, bytes), nobody, 0);
}

void BehaviouralProcessor::read_register(std::uint64_t gpa, unsigned bytes, std::uint32_t who, std::uint32_t step) {
    add_access(Kind::read_register, gpa, bytes, 0, who, step);
}

void BehaviouralProcessor::write_port(std::uint16_t port, unsigned bytes, std::uint32_t value) {
    add_access(Kind::write_port, port, bytes, low_bytes(value, bytes), nobody, 0);
}

void BehaviouralProcessor::read_port(std::uint16_t port, unsigned bytes, std::uint32_t who, std::uint32_t step) {
    add_access(Kind::read_port, port, bytes, 0, who, step);
}

void BehaviouralProcessor::charge_hypercall_reps(std::uint32_t reps) {
    if (reps == 0) return;
    const std::uint16_t cause = environment_.causes().number(exit_cause(cpu::ExitCode::hypercall));
    state_.actions.push_front({.kind = Kind::charge, .cause = cause, .time = settings_.costs.hypercall_rep * reps});
}

sim::Time BehaviouralProcessor::begin_action(Action& action, sim::Account& account) {
    const ExitCosts& costs = settings_.costs;
    switch (action.kind) {
        case Kind::charge:
            account.add(environment_.causes().cause(action.cause), action.time);
            return action.time;
        case Kind::post_message:
        case Kind::signal_event:
        case Kind::send_ipi:
            return exit(account, counters_.hypercalls, exit_cause(cpu::ExitCode::hypercall), costs.hypercall);
        case Kind::write_msr: {
            namespace m = cpu::msr_number;
            const bool apic = (action.address >= m::x2apic_first && action.address <= m::x2apic_last) ||
                              (action.address >= msr::eoi && action.address <= msr::tpr);
            const sim::Time handling = costs.msr + (apic ? costs.apic_register : sim::Time::zero());
            return exit(account, counters_.msr_writes, exit_cause(cpu::ExitCode::msr), handling);
        }
        // Excused (TLFS 10.3.5), it takes the bit away and is done; otherwise there is the register.
        case Kind::end_of_interrupt:
            synthetic_.settle_eoi();
            if (synthetic_.take_excuse()) return sim::Time::zero();
            action.kind = Kind::write_msr;
            action.address = msr::eoi;
            action.value = 0;
            return exit(account, counters_.msr_writes, exit_cause(cpu::ExitCode::msr), costs.msr + costs.apic_register);
        case Kind::write_register:
        case Kind::read_register:
            if (const auto cost = access_device(action)) {
                account.add(device_register_cause, *cost);
                return *cost;
            }
            if (partition_.gpa_space().translate(action.address)) return sim::Time::zero();
            account.add(round_trip_cause, costs.root_round_trip);
            return costs.root_round_trip +
                   exit(account, counters_.memory, exit_cause(cpu::ExitCode::nested_fault), costs.nested_fault);
        case Kind::write_port:
        case Kind::read_port: {
            sim::Time cost = exit(account, counters_.io, exit_cause(cpu::ExitCode::io), sim::Time::zero());
            const bool write = action.kind == Kind::write_port;
            if (partition_.intercepts().io_port(static_cast<std::uint16_t>(action.address), action.bytes, write)) {
                account.add(round_trip_cause, costs.root_round_trip);
                cost += costs.root_round_trip;
            }
            return cost;
        }
    }
    return sim::Time::zero();
}

// A register of a device that the partition has: no exit, only its bus takes time.
std::optional<sim::Time> BehaviouralProcessor::access_device(Action& action) {
    DevicePort* port = environment_.device_port();
    if (port == nullptr || !partition_.devices().has_pages()) return std::nullopt;
    const auto spa = partition_.devices().translate(action.address);
    if (!spa) return std::nullopt;
    ++counters_.device_accesses;
    sim::Time cost;
    if (action.kind == Kind::write_register) {
        scope_.trace("device_write", action.address, action.bytes, action.value);
        port->write(*spa, action.bytes, action.value, cost);
    } else {
        action.value = port->read(*spa, action.bytes, cost);
        scope_.trace("device_read", action.address, action.bytes, action.value);
    }
    // It has been done; what is left is to tell of it.
    action.kind = Kind::charge;
    if (action.who == nobody) action.value = 0;
    return cost;
}

// Memory after all, which no device's driver would ask for.
bool BehaviouralProcessor::access_memory(Action& action) {
    if (!partition_.gpa_space().translate(action.address)) return false;
    const auto bytes = std::as_writable_bytes(std::span{&action.value, 1}).first(action.bytes);
    if (action.kind == Kind::write_register) return memory().write(action.address, bytes);
    action.value = 0;
    return memory().read(action.address, bytes);
}

void BehaviouralProcessor::finish_action() {
    VG_CHECK(!state_.actions.empty());
    Action action = std::move(state_.actions.front());
    state_.actions.pop_front();
    switch (action.kind) {
        case Kind::charge:
            break;
        case Kind::post_message:
            post(action);
            return;
        case Kind::signal_event:
            return make_hypercall(static_cast<std::uint64_t>(HvCall::signal_event) | fast_call,
                                  action.address | action.value << 32);
        case Kind::send_ipi:
            guest_.set_gpr(Gpr::r8, action.address);
            return make_hypercall(static_cast<std::uint64_t>(HvCall::send_synthetic_cluster_ipi) | fast_call,
                                  action.value);
        case Kind::write_msr: {
            namespace m = cpu::msr_number;
            const auto number = static_cast<std::uint32_t>(action.address);
            scope_.trace("wrmsr", number, action.value);
            bool done = false;
            if (number == m::apic_base) {
                done = apic_.write_base(action.value);
            } else if (number >= m::x2apic_first && number <= m::x2apic_last) {
                done = apic_.write_msr(number, action.value);
            } else {
                done = synthetic_.write_msr(number, action.value);
            }
            if (!done) ++counters_.refused;
            break;
        }
        case Kind::end_of_interrupt:
            return;
        case Kind::write_register:
        case Kind::read_register:
            if (!access_memory(action)) return intercept_memory(action);
            break;
        case Kind::write_port:
        case Kind::read_port:
            if (partition_.intercepts().io_port(static_cast<std::uint16_t>(action.address), action.bytes,
                                                action.kind == Kind::write_port)) {
                return intercept_port(action);
            }
            action.value = low_bytes(~std::uint64_t{0}, action.bytes);
            break;
    }
    if (action.who != nobody && software_ != nullptr) software_->resume(action.who, action.step, action.value);
}

// Hypercalls
// -----------------------------------------------------------------------------------------------------------------

void BehaviouralProcessor::make_hypercall(std::uint64_t control, std::uint64_t input) {
    if (!synthetic_.hypercalls_enabled()) {
        ++counters_.refused;
        return;
    }
    guest_.set_gpr(Gpr::rcx, control);
    guest_.set_gpr(Gpr::rdx, input);
    VG_CHECK(synthetic_.hypercall(), "none of these calls has a list");
    if ((guest_.gpr(Gpr::rax) & 0xffff) != static_cast<std::uint64_t>(HvStatus::success)) {
        ++counters_.refused;
    }
}

// The page is filled when the call is made: two calls use it one after the other.
void BehaviouralProcessor::post(const Action& action) {
    HvInputPostMessage input{};
    input.connection_id = static_cast<std::uint32_t>(action.address);
    input.message_type = bus_message_type;
    input.payload_size = static_cast<std::uint32_t>(action.payload.size());
    if (!action.payload.empty()) std::memcpy(input.payload, action.payload.data(), action.payload.size());
    if (!memory().write(state_.hypercall_page, std::as_bytes(std::span{&input, 1}))) {
        ++counters_.refused;
        return;
    }
    make_hypercall(static_cast<std::uint64_t>(HvCall::post_message), state_.hypercall_page);
    // As kernels do: the host has no buffer, and will.
    const auto status = static_cast<HvStatus>(guest_.gpr(Gpr::rax) & 0xffff);
    if (status == HvStatus::insufficient_buffers) state_.actions.push_front(action);
}

// Intercepts
// -----------------------------------------------------------------------------------------------------------------

InterceptContext BehaviouralProcessor::intercept_context() const {
    const cpu::Registers r = guest_.registers();
    InterceptContext context;
    context.vp_index = ref_.vp;
    context.cr8 = static_cast<std::uint8_t>(apic_.tpr() >> 4);
    context.cr0_pe = true;
    context.efer_lma = true;
    context.cs = to_hv(r[cpu::SegmentName::cs]);
    context.rip = r.rip;
    context.rflags = r.rflags;
    return context;
}

void BehaviouralProcessor::intercept_port(const Action& action) {
    const bool write = action.kind == Kind::write_port;
    guest_.set_gpr(Gpr::rax, write ? action.value : 0);
    HvX64IoPortInterceptMessage message{};
    InterceptContext context = intercept_context();
    // IN or OUT by way of DX, with a prefix for 16 bits.
    const auto opcode = static_cast<std::uint8_t>((write ? 0xee : 0xec) | (action.bytes == 1 ? 0 : 1));
    message.instruction_byte_count = action.bytes == 2 ? 2 : 1;
    message.instruction_bytes[0] = action.bytes == 2 ? std::uint8_t{0x66} : opcode;
    message.instruction_bytes[1] = action.bytes == 2 ? opcode : std::uint8_t{0};
    context.instruction_length = message.instruction_byte_count;
    message.header = intercept_header(context, write ? HvInterceptAccess::write : HvInterceptAccess::read);
    message.port_number = static_cast<std::uint16_t>(action.address);
    message.access_info = action.bytes;
    message.rax = guest_.gpr(Gpr::rax);
    state_.access = action;
    state_.accessing = true;
    state_.intercept_suspend = true;
    environment_.intercept(make_message(HvMessageType::x64_io_port_intercept, partition_.id(), message));
}

void BehaviouralProcessor::intercept_memory(const Action& action) {
    const bool write = action.kind == Kind::write_register;
    guest_.set_gpr(Gpr::rax, write ? action.value : ~std::uint64_t{0});
    guest_.set_gpr(Gpr::rbx, action.address);
    HvX64MemoryInterceptMessage message{};
    const Instruction instruction = instruction_of(action.bytes, write);
    InterceptContext context = intercept_context();
    context.instruction_length = instruction.length;
    message.header = intercept_header(context, write ? HvInterceptAccess::write : HvInterceptAccess::read);
    message.instruction_byte_count = instruction.length;
    std::memcpy(message.instruction_bytes, instruction.code.data(), instruction.length);
    message.guest_physical_address = action.address;
    state_.access = action;
    state_.accessing = true;
    state_.intercept_suspend = true;
    environment_.intercept(make_message(HvMessageType::unmapped_gpa, partition_.id(), message));
}

// The root has let it go on: what was read is in the accumulator.
void BehaviouralProcessor::finish_access() {
    const Action action = std::exchange(state_.access, {});
    state_.accessing = false;
    const std::uint64_t value = low_bytes(guest_.gpr(Gpr::rax), action.bytes);
    if (action.who != nobody && software_ != nullptr) software_->resume(action.who, action.step, value);
}

}  // namespace hypervisor
