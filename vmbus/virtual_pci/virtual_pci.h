// A virtual PCI bus: a channel that brings one function to a guest. The guest learns from it who the function is and
// how much address space it wants, says where it put the configuration window, and gets interrupt messages to program
// the function with. All else, configuration and BARs among it, are accesses to memory that go past this channel.
//
// A function arrives with offer(). It leaves by policy (eject(), then what the port does on ejected()), or by surprise
// with rescind(). Both may come at any time, also during the guest's own probe.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "vmbus/inband/inband_port.h"
#include "vmbus/virtual_pci/virtual_pci_protocol.h"

namespace vmbus {

// Who a function is, as the guest is told.
struct PciIdentity {
    std::uint16_t vendor = 0;
    std::uint16_t device = 0;
    std::uint8_t revision = 0;
    std::uint8_t programming_interface = 0;
    std::uint16_t class_of = 0;  // base class and sub-class
    std::uint16_t subsystem_vendor = 0;
    std::uint16_t subsystem = 0;
    std::uint32_t serial = 0;  // the name of its slot; what a network adapter is paired by
    std::optional<std::uint16_t> numa_node;

    bool operator==(const PciIdentity&) const = default;
    template <class Archive>
    void fields(Archive& archive) {
        archive(vendor, device, revision, programming_interface, class_of, subsystem_vendor, subsystem, serial,
                numa_node);
    }
};

// A range of vectors for one or several messages, and the processors that may take them. What it says has not been
// checked against the partition.
struct PciInterrupt {
    std::uint32_t vector = 0;
    std::uint8_t delivery_mode = 0;  // 0: fixed, 1: lowest priority
    std::uint16_t count = 1;
    std::uint64_t processors = 0;  // a mask of virtual processors

    bool operator==(const PciInterrupt&) const = default;
};

struct PciMessage {
    std::uint64_t address = 0;
    std::uint32_t data = 0;
    std::uint16_t count = 1;  // data, data + 1, ...

    bool operator==(const PciMessage&) const = default;
};

// The function behind the bus.
class VirtualPciFunction {
public:
    // What each BAR reads after all ones were written: type bits kept, 0 where there is none.
    virtual std::array<std::uint32_t, virtual_pci::bars> bar_masks() = 0;
    // From now on the guest reaches configuration space through a window at this address. False: not there.
    virtual bool place_window(std::uint64_t gpa) = 0;
    // It does no more; what it had set up of the function ends.
    virtual void remove_window() = 0;
    // Nothing: there is no such vector or processor, or there are too many already.
    virtual std::optional<PciMessage> create_interrupt(const PciInterrupt& interrupt) = 0;
    virtual void delete_interrupt(const PciMessage& message) = 0;
    // The guest has let go of the function, as eject() asked for; or there was no guest to ask.
    virtual void ejected() = 0;

protected:
    ~VirtualPciFunction() = default;
};

class VirtualPci final : private InbandDevice {
public:
    // Of one function of the partition's: `number` counts from 1. Guests make the PCI domain's number and the device's
    // identifier in hypercalls of it.
    VirtualPci(const sim::Scope& scope, const ServiceHost& host, std::uint16_t number, VirtualPciFunction& function,
               std::uint32_t newest_version = virtual_pci::version_1_4);

    static Guid instance_of(std::uint16_t number);
    // How the guest names the function in HvCallRetargetDeviceInterrupt.
    static std::uint64_t device_id_of(std::uint16_t number);

    void offer(const PciIdentity& identity);
    bool offered() const { return port_.offered(); }
    // Asks the guest to let go. ejected() comes, at once if there is no guest that has the function; or never, from a
    // guest that does not answer.
    void eject();
    bool ejecting() const { return state_.ejecting; }
    // The channel goes.
    void rescind();

    std::uint32_t version() const { return state_.version; }
    bool in_d0() const { return state_.window.has_value(); }
    bool is_open() const { return port_.is_open(); }

    template <class Archive>
    void fields(Archive& archive) {
        archive(identity_, state_, port_);
    }

private:
    struct State {
        std::uint32_t version = 0;            // 0: none agreed
        std::optional<std::uint64_t> window;  // in D0
        bool announced = false;               // the guest knows the function
        bool ejecting = false;

        bool operator==(const State&) const = default;
        template <class Archive>
        void fields(Archive& archive) {
            archive(version, window, announced, ejecting);
        }
    };

    // InbandDevice
    void opened() override {}
    void closed() override;
    void received(std::span<const std::byte> message, std::uint64_t transaction) override;
    bool requested(std::span<const std::byte> message, std::uint64_t transaction) override;

    // Nothing: the guest broke the protocol.
    std::optional<std::vector<std::byte>> handle(std::span<const std::byte> message);
    std::vector<std::byte> agree_version(std::uint32_t asked);
    std::vector<std::byte> enter_d0(std::uint64_t window);
    void leave_d0();
    std::vector<std::byte> create_interrupt(virtual_pci::Type type, std::span<const std::byte> body);
    std::vector<std::byte> refuse_interrupt(std::uint32_t status);
    void delete_interrupt(std::span<const std::byte> body);
    void send_relations();

    sim::Scope scope_;
    VirtualPciFunction& function_;
    std::uint32_t newest_version_;
    PciIdentity identity_;
    State state_;
    sim::Counter& interrupts_;
    sim::Counter& refused_;
    InbandPort port_;
    sim::StateRegistration registration_;
};

}  // namespace vmbus
