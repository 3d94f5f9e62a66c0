// The guest's side of a virtual PCI bus, for guests that execute no instructions: the messages of Linux' pci-hyperv
// until the function may be used, one interrupt message for each vector asked for, and letting go when the host asks.
// What goes past the channel, configuration space and registers, is its user's. Its work is charged to a processor of
// the guest's.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <vector>

#include "sim/processor.h"
#include "sim/scope.h"
#include "vmbus/client/bus_client.h"
#include "vmbus/costs.h"
#include "vmbus/inband/inband_port.h"
#include "vmbus/virtual_pci/virtual_pci.h"

namespace vmbus {

// Called from a piece of the client's work, but for function_gone().
class VirtualPciUser {
public:
    // In D0, resources assigned: configuration space is behind the window.
    virtual void function_found(const PciIdentity& identity) = 0;
    // The answer to create_interrupt(); nothing: the host refused.
    virtual void interrupt_created(std::uint32_t vector, const std::optional<PciMessage>& message) = 0;
    // The host asks: eject() when everything has ended.
    virtual void ejection_asked() = 0;
    // The channel was taken away; the function is not there any more.
    virtual void function_gone() = 0;

protected:
    ~VirtualPciUser() = default;
};

class VirtualPciClient final : public ChannelDriver, private sim::Task {
public:
    struct Config {
        std::uint64_t window = 0;  // where configuration space is to be seen, two pages
        std::uint32_t newest_version = virtual_pci::version_1_4;
        std::uint32_t vp = 0;  // that the channel's interrupts go to
        Costs costs;
        ClientChannel::RingPages ring{.to_host = 5, .to_guest = 5};
    };

    VirtualPciClient(const sim::Scope& scope, BusClient& bus, VirtualPciUser& user, const Config& config,
                     sim::Processor& processor);
    VirtualPciClient(const VirtualPciClient&) = delete;

    // The bus offers a channel of a virtual PCI bus: this one's.
    void offered(ClientChannel& channel);

    // For one message to that processor. interrupt_created() tells, in the order of the calls.
    void create_interrupt(std::uint32_t vector, std::uint16_t vp);
    // Lets go of the function, as the host asked.
    void eject();

    std::uint32_t version() const { return state_.version; }
    bool found() const { return state_.step == Step::found; }
    const PciIdentity& identity() const { return state_.identity; }
    // What each BAR reads after all ones were written.
    const std::array<std::uint32_t, virtual_pci::bars>& bar_masks() const { return state_.bar_masks; }
    std::uint64_t host_errors() const { return state_.host_errors; }

    // ChannelDriver
    void opened(ClientChannel& channel, std::uint32_t status) override;
    void signalled(ClientChannel& channel) override;
    void rescinded(ClientChannel& channel) override;

    template <class Archive>
    void fields(Archive& archive) {
        archive(state_);
    }

private:
    // In the order of bringing up.
    enum class Step : std::uint8_t { closed, version, relations, requirements, d0, assigned, found, ejected, failed };
    struct State {
        Step step = Step::closed;
        std::uint16_t relid = 0;
        std::uint32_t version = 0;
        std::uint64_t last_transaction = 0;
        std::uint32_t slot = 0;
        PciIdentity identity;
        std::array<std::uint32_t, virtual_pci::bars> bar_masks{};
        std::uint64_t host_errors = 0;
        std::deque<std::uint32_t> vectors;  // asked for, not answered
        std::deque<InbandMessage> outgoing;
        std::optional<InbandMessage> taken;
        bool sending = false;

        template <class Archive>
        void fields(Archive& archive) {
            archive(step, relid, version, last_transaction, slot, identity, bar_masks, host_errors, vectors, outgoing,
                    taken, sending);
        }
    };

    // sim::Task
    std::optional<sim::Time> begin() override;
    void finish() override;
    void account(sim::Account& account) const override;

    ClientChannel* channel() { return state_.relid != 0 ? bus_.find(state_.relid) : nullptr; }
    void ask(virtual_pci::Type type, std::vector<std::byte> body = {}, bool wants_completion = true);
    void ask_version(std::uint32_t version);
    void start(Step step);
    void fail();
    void handle(const InbandMessage& message);
    void answered(std::span<const std::byte> payload);
    void interrupt_answered(std::span<const std::byte> payload);
    void relations(std::span<const std::byte> body, bool second);

    sim::Scope scope_;
    BusClient& bus_;
    VirtualPciUser& user_;
    Config config_;
    State state_;
    sim::Time cost_;  // of the piece that has begun, for account()
    sim::TaskSlot slot_;
    sim::StateRegistration registration_;
};

}  // namespace vmbus
