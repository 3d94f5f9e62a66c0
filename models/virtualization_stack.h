// The root partition's virtualization stack: it makes child partitions, answers their intercepts with device models and
// takes them down when their guests have ended. Of the hypervisor it holds the RootInterface and nothing else.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "hypervisor/ports.h"
#include "hypervisor/root_client.h"
#include "models/behavioural/behavioural_guest.h"
#include "models/guest_machine.h"
#include "models/host.h"
#include "models/migration/movable_partition.h"
#include "models/partition_builder.h"
#include "models/partition_memory.h"
#include "models/pci/partition_pci.h"
#include "models/synthetic_devices.h"

namespace models {

class VirtualizationStack final : public hypervisor::RootReceiver, private GuestListener, private ServiceListener {
public:
    // Instructions that a partition's processors have retired so far.
    using InstructionCount = std::function<std::uint64_t(hypervisor::PartitionId)>;

    VirtualizationStack(const sim::Scope& scope, HostMemory& memory, PageAllocator& pages, HostPci& pci,
                        HostNetworks& networks);
    ~VirtualizationStack() override;
    VirtualizationStack(const VirtualizationStack&) = delete;

    // Before anything else.
    void connect(hypervisor::RootInterface& interface, RootProcessors& processors, SoftwarePlacement& placement,
                 InstructionCount instructions);

    Guest& add_partition(const PartitionConfig& config, const HostConfig& host);
    // With no guest yet: it comes from another host.
    Guest& prepare_partition(const PartitionConfig& config, const HostConfig& host);

    // The partitions' devices go, while the hypervisor is still there. The end of the machine.
    void release() { children_.clear(); }

    // Whether a guest has said or done something since the last question.
    [[nodiscard]] bool take_attention();
    // The machine has come to rest: nothing will happen any more.
    void found_idle();
    // Of a cause in a processor's ledger: "root.network", "guest.web.stack.copy", "hypervisor.exit.hypercall".
    std::string cause_name(hypervisor::PartitionId partition, std::string_view cause) const;
    // Brings the counters up to date that are not counted one by one.
    void update_statistics();

    // RootReceiver
    void message(hypervisor::PortId port, const hypervisor::HvMessage& message) override;
    void event(hypervisor::PortId port, std::uint16_t flag) override;
    void intercept(const hypervisor::HvMessage& message) override;

    template <class Archive>
    void fields(Archive& archive) {
        archive(attention_wanted_, attention_, pages_, port_numbers_);
        for (auto& child : children_) child->fields(archive);
    }

private:
    // A partition from its making on; its guest's console and end outlive it.
    class Child final : public Guest, private MovablePartition {
    public:
        Child(VirtualizationStack& stack, const PartitionConfig& config, PartitionBuilder::Built built,
              const ServiceCosts& costs, const sim::Scope& scope, bool with_guest);

        const std::string& name() const override { return config_.name; }
        std::uint64_t number() const override { return built_.id; }
        GuestState state() const override { return machine_.state(); }
        std::uint32_t exit_code() const override { return machine_.exit_code(); }
        const std::string& crash_message() const override { return machine_.crash_message(); }
        const std::string& console() const override { return machine_.console(); }
        void type(std::string_view text) override { machine_.type(text); }
        std::uint64_t instructions() const override;
        SyntheticDevices& devices() override { return devices_; }
        Generation1Partition* generation1() override { return machine_.generation1(); }
        PartitionPci& pci() override { return pci_; }
        BehaviouralGuest* behavioural() override { return behavioural_.get(); }
        MovablePartition* movable() override { return this; }

        GuestMachine& machine() { return machine_; }
        const PartitionBuilder::Built& built() const { return built_; }
        bool exists() const { return exists_; }
        // Its guest is elsewhere, or never came.
        bool left() const { return left_; }
        void take_down();
        void update_statistics() {
            instructions_counter_.set(instructions());
            pci_.update_statistics();
        }

        template <class Archive>
        void fields(Archive& archive) {
            archive(built_, exists_, left_, instructions_);
        }

    private:
        // MovablePartition: virtualization_stack_moving.cpp
        const PartitionConfig& config() const override { return config_; }
        sim::Processor& worker() override;
        std::string obstacle() override;
        bool track() override;
        void end_tracking() override;
        std::vector<std::uint64_t> all_pages() const override;
        std::vector<std::uint64_t> take_dirty() override;
        void read_page(std::uint64_t page, std::span<std::byte> out) override;
        void hold() override;
        bool at_rest() override;
        void go_on() override;
        std::size_t state_bytes() override;
        MovedState leave() override;
        void write_page(std::uint64_t page, std::span<const std::byte> in) override;
        void check_networks(MovablePartition& source) override;
        void arrive(MovablePartition& source) override;
        void give_up() override;
        MovedState everything();

        VirtualizationStack& stack_;
        PartitionConfig config_;  // without the guest's files
        PartitionBuilder::Built built_;
        RootViewOfGuest memory_;
        GuestMachine machine_;
        SyntheticDevices devices_;
        PartitionPci pci_;
        std::unique_ptr<BehaviouralGuest> behavioural_;
        sim::Counter& instructions_counter_;
        PageLog log_;  // what the root has written, while a migration tracks
        bool exists_ = true;
        bool left_ = false;
        std::uint64_t instructions_ = 0;  // when the partition was taken down
    };

    void console_changed() override { want_attention(); }
    void guest_stopped() override { want_attention(); }
    void service_changed() override { want_attention(); }
    sim::Processor& emulation_processor(hypervisor::PartitionId partition);
    void want_attention();
    void give_attention();
    Child& add_child(const PartitionConfig& config, const HostConfig& host, bool with_guest);

    sim::Scope scope_;
    RootPages pages_;
    HostMemory& memory_;
    HostPci& host_pci_;
    HostNetworks& networks_;
    std::optional<hypervisor::RootClient> client_;
    std::optional<PartitionBuilder> builder_;
    RootProcessors* processors_ = nullptr;
    SoftwarePlacement* placement_ = nullptr;
    PortNumbers port_numbers_;
    InstructionCount instructions_;
    std::vector<std::unique_ptr<Child>> children_;
    std::map<hypervisor::PartitionId, Child*> by_id_;
    // An event at the instant of the news: processors come to a halt there, so that whoever asks sees the machine as it
    // was when the line was written.
    sim::Timer attention_;
    bool attention_wanted_ = false;
    sim::Counter& unexpected_;
    sim::StateRegistration registration_;
};

}  // namespace models
