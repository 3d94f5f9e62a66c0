#include "models/guest_machine.h"

#include <span>

#include "models/guest_counters.h"
#include "models/legacy/generation1_partition.h"

namespace models {

namespace h = hypervisor;

namespace {
constexpr std::uint32_t northbridge_configuration_msr = 0xc001'001f;  // of AMD processors
}

GuestMachine::GuestMachine(const sim::Scope& scope, const PartitionConfig& config, h::RootClient& client,
                           h::PartitionId partition, GuestListener& listener, const EmulationHost& emulation)
    : scope_(scope),
      client_(client),
      partition_(partition),
      vps_(config.vps),
      listener_(listener),
      counters_(new Counters{scope.child("intercepts")}),
      console_(scope.child("console"), *this),
      ports_(scope.child("ports")),
      mmio_(scope.child("mmio")),
      io_apic_(scope.child("io_apic"), *this, 0),
      uart_(scope.child("uart"), Uart16550::com1_port, io_apic_.line(Uart16550::com1_gsi), console_,
            UartTiming::immediate),
      rtc_(scope.child("rtc"), io_apic_.line(RtcCmos::gsi), static_cast<std::int64_t>(config.rtc_epoch_s)),
      power_(scope.child("power"), *this, io_apic_.line(PowerControl::event_gsi)),
      debug_exit_(*this),
      generation1_(config.generation != 1
                       ? nullptr
                       : std::make_unique<Generation1Partition>(
                             scope.child("legacy"), Generation1Ports{io_apic_, *this, emulation.memory, *this},
                             emulation.processor, static_cast<DeviceEmulator&>(*this))),
      registration_(scope.register_state(*this)) {
    uart_.connect(ports_);
    rtc_.connect(ports_);
    if (!generation1_) power_.connect(ports_);
    ports_.claim(DebugExit::port, DebugExit::ports, DebugExit::widest_bytes, debug_exit_);
    mmio_.claim(IoApic::gpa, IoApic::window_bytes, io_apic_);
    if (generation1_) generation1_->connect(ports_, mmio_);
}

GuestMachine::~GuestMachine() = default;

h::HvStatus GuestMachine::install_intercepts() {
    namespace mask = h::intercept_access_mask;
    h::HvStatus status = h::HvStatus::success;
    const auto install = [&](std::uint32_t access, h::HvInterceptType type, std::uint64_t parameter) {
        if (status == h::HvStatus::success) status = client_.install_intercept(partition_, access, type, parameter);
    };
    // Only what devices answer: the hypervisor itself answers the other ports with all ones.
    ports_.for_each_claim([&](std::uint32_t first, std::uint32_t last) {
        install(mask::read | mask::write, h::HvInterceptType::x64_io_port_range, first | std::uint64_t{last} << 16);
    });
    install(mask::write, h::HvInterceptType::x64_msr_index, h::msr::crash_ctl);
    install(mask::write, h::HvInterceptType::x64_msr_index, h::msr::reset);
    if (status != h::HvStatus::success) return status;
    // Kernels set a bit of the northbridge's, and nobody has a use for it.
    return client_.register_msr_result(partition_, northbridge_configuration_msr, mask::read | mask::write,
                                       h::MsrAction::ignore_write_read_zero);
}

void GuestMachine::type(std::string_view text) {
    if (state_.state == GuestState::halted_forever) state_.state = GuestState::running;
    if (state_.state != GuestState::running) return;
    uart_.type(std::span{reinterpret_cast<const std::uint8_t*>(text.data()), text.size()});
}

void GuestMachine::found_idle() {
    if (state_.state != GuestState::running) return;
    state_.state = GuestState::halted_forever;
    scope_.trace("guest_state", static_cast<std::uint64_t>(state_.state));
}

// The first end counts. Processors are suspended at once; the devices fall silent.
void GuestMachine::stop(GuestState state) {
    if (state_.state != GuestState::running && state_.state != GuestState::halted_forever) return;
    state_.state = state;
    scope_.trace("guest_state", static_cast<std::uint64_t>(state), state_.exit_code);
    for (unsigned vp = 0; vp < vps_; ++vp) {
        (void)client_.set_register(partition_, vp, h::HvRegister::explicit_suspend, {1, 0});
    }
    uart_.reset();
    rtc_.reset();
    if (generation1_) generation1_->reset();
    io_apic_.reset();
    console_.close();
    listener_.guest_stopped();
}

void GuestMachine::reset_requested(ResetCause cause) {
    scope_.trace("reset_requested", static_cast<std::uint64_t>(cause));
    stop(GuestState::reset);
}

void GuestMachine::debug_exit(std::uint32_t code) {
    if (state_.state != GuestState::running) return;
    state_.exit_code = code;
    stop(GuestState::debug_exit);
}

void GuestMachine::deliver(const InterruptMessage& message) {
    h::InterruptRequest request;
    switch (message.mode) {
        case DeliveryMode::fixed:
            request.type = h::HvInterruptType::fixed;
            break;
        case DeliveryMode::lowest_priority:
            request.type = h::HvInterruptType::lowest_priority;
            break;
        case DeliveryMode::nmi:
            request.type = h::HvInterruptType::nmi;
            break;
        case DeliveryMode::init:
            request.type = h::HvInterruptType::init;
            break;
        default:
            ++counters_->refused_interrupts;  // SMI, ExtINT and what a guest made up: nobody behind them
            return;
    }
    request.level_triggered = message.trigger == TriggerMode::level;
    request.vector = message.vector;
    const h::HvStatus status = client_.assert_interrupt(partition_, request, message.destination,
                                                        message.destination_mode == DestinationMode::logical);
    if (status != h::HvStatus::success) ++counters_->refused_interrupts;
}

}  // namespace models
