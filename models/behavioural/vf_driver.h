// A behavioural guest's driver of a virtual function of the 82599, after Linux' pci-hyperv and ixgbevf: it finds the
// function on its virtual PCI bus, places its BARs, has interrupt messages made for its vectors, opens the function
// (by its address in configuration space where it is of the Hyper-V kind, else through the mailbox) and moves frames by
// its rings. Left out: the watchdog that looks at the link every two seconds; a link is taken to be up.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "models/behavioural/guest_platform.h"
#include "models/behavioural/network_driver.h"
#include "models/behavioural/register_sequence.h"
#include "models/behavioural/vf_mailbox.h"
#include "models/behavioural/vf_vector.h"
#include "sriov_nic/physical_driver.h"
#include "vmbus/virtual_pci/virtual_pci_client.h"

namespace models {

class VfDriver final : public NetworkDriver,
                       private vmbus::BusDriver,
                       private vmbus::VirtualPciUser,
                       private RegisterSequence::Owner,
                       private VfVector::Owner {
public:
    // Guest addresses that a driver needs where devices may be: the configuration window, two BARs.
    static constexpr std::uint64_t device_space_bytes = 0x1'0000;

    struct Config {
        sriov_nic::VfKind kind = sriov_nic::VfKind::hyper_v;
        // Wanted, a power of two up to 4; one of the Hyper-V kind has one, others what the physical function gives.
        std::uint16_t queues = 1;
        std::uint32_t mtu = 1500;
        VfQueueLayout layout;
        VfVectorSettings vectors;
        std::uint64_t device_space = 0;  // the first of device_space_bytes, aligned to that
        unsigned first_vp = 0;           // of the first vector; the others follow
    };
    // Hears that the function is to go before it does.
    class Removal {
    public:
        // The host asks: let_go() when the traffic is elsewhere.
        virtual void leaving() = 0;

    protected:
        ~Removal() = default;
    };
    static Config config(const DriverCosts& costs, std::uint64_t device_space);

    VfDriver(const sim::Scope& scope, GuestPlatform& platform, NetworkDriverUser& user, const Config& config);
    ~VfDriver() override;
    VfDriver(const VfDriver&) = delete;

    // Null: the driver lets go as soon as it is asked.
    void set_removal(Removal* removal) { removal_ = removal; }
    void let_go();
    // Whatever its owner needs for its frames (sim/working_set.h).
    void needs(const void* from, std::size_t bytes) const {
        for (const auto& vector : vectors_) vector->needs(from, bytes);
    }
    // By which the synthetic adapter knows it; 0: there is none.
    std::uint32_t serial() const { return present() ? pci_.identity().serial : 0; }
    bool present() const { return state_.phase != Phase::absent; }
    const vmbus::VirtualPciClient& pci() const { return pci_; }

    // NetworkDriver
    [[nodiscard]] bool transmit(vmbus::OutgoingFrame&& frame) override;
    bool is_up() const override { return state_.phase == Phase::up; }
    std::uint16_t queues() const override { return state_.queues; }
    unsigned processor_of(std::uint16_t queue) const override { return vector_of(queue).vp(); }
    const vmbus::NetworkAddress& address() const override { return state_.address; }
    std::uint32_t mtu() const override { return config_.mtu; }
    const vmbus::OffloadSettings& offloads() const override { return offloads_; }
    std::string_view path() const override { return "virtual function"; }

    template <class Archive>
    void fields(Archive& archive) {
        archive(state_, sequence_, mailbox_);
        for (auto& queue : queues_) archive(*queue);
        for (auto& vector : vectors_) archive(*vector);
    }

private:
    static constexpr std::size_t most_vectors = 3;  // of a virtual function: two for queues, one for the rest
    // In the order of coming up.
    enum class Phase : std::uint8_t {
        absent,
        capability,  // looking for MSI-X
        address,     // of the Hyper-V kind
        mailbox,
        vectors,
        rings,
        enabling,
        up,
        closing,
        closed,  // let go; or there is no memory, or nothing that this driver knows
    };
    struct Vector {
        std::uint8_t number = 0;
        unsigned vp = 0;
        vmbus::PciMessage message;
        bool made = false;

        template <class Archive>
        void fields(Archive& archive) {
            archive(number, vp, message.address, message.data, message.count, made);
        }
    };
    struct State {
        Phase phase = Phase::absent;
        std::uint16_t queues = 1;
        vmbus::NetworkAddress address;
        std::uint8_t capability = 0;               // that is being looked at, then MSI-X
        std::array<Vector, most_vectors> vectors;  // the last one that is used is for other causes
        unsigned tries = 0;
        bool eject = false;  // when it has closed
        bool refused = false;

        template <class Archive>
        void fields(Archive& archive) {
            archive(phase, queues, address, capability, vectors, tries, eject, refused);
        }
    };
    // The mailbox's and link's vector: nothing that this driver does is waiting for it.
    struct OtherCauses final : InterruptHandler {
        void interrupt() override {}
    };

    // vmbus::BusDriver
    void offered(vmbus::ClientChannel& channel) override { pci_.offered(channel); }
    vmbus::ChannelDriver* adopt(vmbus::ClientChannel&) override { return &pci_; }
    // vmbus::VirtualPciUser
    void function_found(const vmbus::PciIdentity& identity) override;
    void interrupt_created(std::uint32_t vector, const std::optional<vmbus::PciMessage>& message) override;
    void ejection_asked() override;
    void function_gone() override;
    // RegisterSequence::Owner
    void accessed(std::span<const std::uint64_t> answers) override;
    // VfVector::Owner
    void received(std::uint16_t queue, std::span<vmbus::IncomingFrame> frames) override {
        user_.receive(queue, frames);
    }
    void polled() override;

    // vf_driver_open.cpp
    void capability_read(std::span<const std::uint64_t> answers);
    void addressed();
    void write_table();
    void open_rings();
    void enable();
    void close_rings(bool was_up);
    std::uint64_t window() const { return config_.device_space; }
    std::uint64_t registers() const { return config_.device_space + 0x4000; }
    std::uint64_t table() const { return config_.device_space + 0x8000; }
    void read_config(unsigned offset, std::uint8_t bytes);
    void write_config(unsigned offset, std::uint8_t bytes, std::uint32_t value);
    void read(std::uint32_t offset) { list_.push_back({registers() + offset, 4, true, false, 0}); }
    void write(std::uint32_t offset, std::uint32_t value) {
        list_.push_back({registers() + offset, 4, false, false, value});
    }
    void go() { sequence_.start(std::exchange(list_, {})); }
    void rings_read(std::span<const std::uint64_t> answers);

    void give_up();
    void close_all();
    unsigned other_vector() const { return static_cast<unsigned>(vectors_.size()); }
    VfVector& vector_of(std::uint16_t queue) const { return *vectors_[queue % vectors_.size()]; }
    void set_phase(Phase phase);

    sim::Scope scope_;
    GuestPlatform& platform_;
    NetworkDriverUser& user_;
    Config config_;
    Removal* removal_ = nullptr;
    vmbus::OffloadSettings offloads_;
    State state_;
    std::vector<std::unique_ptr<VfQueue>> queues_;    // as many as are wanted
    std::vector<std::unique_ptr<VfVector>> vectors_;  // one or two
    OtherCauses other_causes_;
    std::vector<RegisterAccess> list_;  // being put together
    RegisterSequence sequence_;
    VfMailbox mailbox_;
    vmbus::VirtualPciClient pci_;
    sim::StateRegistration registration_;
};

}  // namespace models
