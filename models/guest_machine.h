// One child partition as the root's stack keeps it: its devices, its console, its state, and the answers to its
// processors' intercepts. Every effect on the partition is a hypercall.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "cpu/mmio_emulator.h"
#include "hypervisor/intercept_messages.h"
#include "hypervisor/root_client.h"
#include "models/debug_exit.h"
#include "models/guest_console.h"
#include "models/host.h"
#include "models/intercepted_processor.h"
#include "models/io_apic.h"
#include "models/io_port_map.h"
#include "models/legacy/emulation_task.h"
#include "models/power_control.h"
#include "models/rtc_cmos.h"
#include "models/uart_16550.h"
#include "vmbus/ports.h"

namespace models {

class Generation1Partition;

class GuestListener {
public:
    virtual void console_changed() = 0;
    // The guest has come to its end; its processors are suspended. It may be within an intercept of one of them.
    virtual void guest_stopped() = 0;

protected:
    ~GuestListener() = default;
};

// What a Generation 1 machine needs of the root besides: the guest's memory for its bus masters, and a processor.
struct EmulationHost {
    vmbus::GuestMemory& memory;
    sim::Processor& processor;
};

class GuestMachine final : private ConsoleReader,
                           private PowerEvents,
                           private ExitPort,
                           private InterruptMessagePort,
                           private DeviceEmulator {
public:
    GuestMachine(const sim::Scope& scope, const PartitionConfig& config, hypervisor::RootClient& client,
                 hypervisor::PartitionId partition, GuestListener& listener, const EmulationHost& emulation);
    ~GuestMachine();
    GuestMachine(const GuestMachine&) = delete;

    // The intercepts by which the devices hear of the guest. The first status that is no success, or success.
    [[nodiscard]] hypervisor::HvStatus install_intercepts();

    // Of one of this partition's processors.
    void intercept(const hypervisor::HvMessage& message);

    hypervisor::PartitionId partition() const { return partition_; }
    // Devices that come while the guest runs.
    MmioMap& mmio() { return mmio_; }
    unsigned vps() const { return vps_; }
    GuestState state() const { return state_.state; }
    std::uint32_t exit_code() const { return state_.exit_code; }
    const std::string& crash_message() const { return state_.crash_message; }
    const std::string& console() const { return console_.text(); }
    void type(std::string_view text);
    Generation1Partition* generation1() { return generation1_.get(); }
    // Nothing in the whole machine is left to happen.
    void found_idle();

    struct State {
        GuestState state = GuestState::running;
        std::uint32_t exit_code = 0;
        std::string crash_message;

        bool operator==(const State&) const = default;
        template <class Archive>
        void fields(Archive& archive) {
            archive(state, exit_code, crash_message);
        }
    };
    template <class Archive>
    void fields(Archive& archive) {
        archive(state_, console_, ports_, mmio_, io_apic_, uart_, rtc_, power_);
        if (generation1_) archive(*generation1_);
    }

private:
    struct Counters;

    // Intercepts (guest_intercepts.cpp).
    void emulate(const hypervisor::HvMessage& message) override;
    void on_io(const hypervisor::HvX64IoPortInterceptMessage& message);
    void on_memory(const hypervisor::HvX64MemoryInterceptMessage& message);
    void on_msr(const hypervisor::HvX64MsrInterceptMessage& message);
    void on_crash(const hypervisor::HvX64MsrInterceptMessage& message);
    std::string crash_text(std::uint32_t vp, std::uint64_t gpa, std::uint64_t length);
    void on_unexpected(const hypervisor::HvMessage& message);

    void stop(GuestState state);

    void console_changed() override { listener_.console_changed(); }
    void power_off() override { stop(GuestState::powered_off); }
    void reset_requested(ResetCause cause) override;
    void debug_exit(std::uint32_t code) override;
    void deliver(const InterruptMessage& message) override;

    sim::Scope scope_;
    hypervisor::RootClient& client_;
    hypervisor::PartitionId partition_;
    unsigned vps_;
    GuestListener& listener_;
    std::unique_ptr<Counters> counters_;
    cpu::MmioEmulator emulator_;
    GuestConsole console_;
    IoPortMap ports_;
    MmioMap mmio_;
    IoApic io_apic_;
    Uart16550 uart_;
    RtcCmos rtc_;
    PowerControl power_;
    DebugExit debug_exit_;
    std::unique_ptr<Generation1Partition> generation1_;
    State state_;
    sim::StateRegistration registration_;
};

}  // namespace models
