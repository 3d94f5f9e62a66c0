// The guest of a partition whose processors execute no instructions: what its kernel does of itself. It sets up the
// Hyper-V interface of each processor, connects to its bus as Linux does, dispatches messages and event flags, and is
// the platform for drivers and workloads.
//
// The kernel's own boot takes no time: a guest is at work as soon as its bus is connected.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "models/behavioural/behavioural_cpu.h"
#include "models/behavioural/guest_platform.h"
#include "models/memory_layout.h"
#include "models/partition_memory.h"
#include "models/service_costs.h"

namespace models {

// Who puts software on virtual processors: whoever built the machine, not the root's stack.
class SoftwarePlacement {
public:
    virtual void place(hypervisor::PartitionId partition, std::uint32_t vp, hypervisor::VpSoftware* software) = 0;
    // A partition's memory: who has several nodes wants to know of which.
    virtual void memory_is(hypervisor::PartitionId partition, std::span<const MemoryRun> memory) {
        (void)partition, (void)memory;
    }

protected:
    ~SoftwarePlacement() = default;
};

class BehaviouralGuest final : public GuestPlatform, private vmbus::BusDriver, private CpuOwner, private Continuation {
public:
    struct Config {
        hypervisor::PartitionId partition = 0;
        unsigned vps = 1;
        MemoryLayout layout;
        ServiceCosts costs;
        std::string name = {};  // for who is told what it lacks
    };
    BehaviouralGuest(const sim::Scope& scope, const Config& config, SoftwarePlacement& placement,
                     vmbus::GuestMemory& memory);
    ~BehaviouralGuest() override;
    BehaviouralGuest(const BehaviouralGuest&) = delete;

    // The partition goes.
    void stop();
    // To the processors and the memory of another partition, alike in all that it knows of its own. All of them stand.
    void move_to(hypervisor::PartitionId partition, SoftwarePlacement& placement, vmbus::GuestMemory& memory);
    // What the root needs when the guest is at work with its bus (sim/working_set.h). It outlives the partition's stay.
    void set_host_needs(const sim::WorkingSet& needs) {
        for (auto& cpu : cpus_) cpu->set_host_needs(needs);
    }
    bool connected() const { return bus_.version() != vmbus::version::none; }
    const ServiceCosts& costs() const { return config_.costs; }

    // One of its drivers or programs will take so many pages. Throws sim::UserError if that is more than what is left:
    // a driver that finds no room for its buffers never comes up.
    void will_need(std::uint64_t pages, std::string_view what);

    // A driver or a workload that lives as long as the guest does.
    template <class Part>
    Part& keep(std::unique_ptr<Part> part) {
        std::shared_ptr<Part> kept = std::move(part);
        kept_.push_back(kept);
        return *kept;
    }

    // HvCallSendSyntheticClusterIpi, by the processor that is at work.
    void send_ipi(std::uint64_t processors, std::uint8_t vector);

    // GuestPlatform
    ContinuationId attach(Continuation& continuation) override;
    void detach(ContinuationId id) override;
    const sim::Scope& scope() const override { return scope_; }
    unsigned processor_count() const override { return config_.vps; }
    BehaviouralCpu& processor(unsigned vp) override { return *cpus_.at(vp); }
    vmbus::GuestMemory& memory() override { return stores_; }
    vmbus::PageAllocator& pages() override { return pages_; }
    vmbus::HostPort& hypercalls(unsigned vp) override { return *cpus_.at(vp); }
    vmbus::BusClient& bus() override { return bus_; }
    void add_driver(const vmbus::Guid& interface_type, vmbus::BusDriver& driver) override;
    std::uint8_t allocate_vector(unsigned vp, InterruptHandler& handler) override;
    void release_vector(unsigned vp, std::uint8_t vector) override;
    void adopt_vector(unsigned vp, std::uint8_t vector, InterruptHandler& handler) override;
    void write_register(unsigned vp, std::uint64_t gpa, unsigned bytes, std::uint64_t value) override;
    void read_register(unsigned vp, std::uint64_t gpa, unsigned bytes, ContinuationId who, std::uint32_t step) override;
    void write_port(unsigned vp, std::uint16_t port, unsigned bytes, std::uint32_t value) override;
    void read_port(unsigned vp, std::uint16_t port, unsigned bytes, ContinuationId who, std::uint32_t step) override;

    template <class Archive>
    void fields(Archive& archive) {
        for (auto& cpu : cpus_) archive(*cpu);
        archive(state_);
    }

private:
    // What comes first on each processor.
    struct Boot final : sim::Task {
        Boot(BehaviouralGuest& g, unsigned v) : guest(g), vp(v), slot(g.processor(v), *this) {}
        std::optional<sim::Time> begin() override;
        void finish() override { guest.boot(vp); }
        BehaviouralGuest& guest;
        unsigned vp;
        sim::TaskSlot slot;
    };
    // The bus's messages, outside of the interrupt.
    struct Messages final : sim::Task {
        Messages(BehaviouralGuest& g, unsigned v) : guest(g), vp(v), slot(g.processor(v), *this) {}
        std::optional<sim::Time> begin() override;
        void account(sim::Account& account) const override;
        void finish() override { guest.take_message(vp); }
        BehaviouralGuest& guest;
        unsigned vp;
        sim::TaskSlot slot;
    };
    // The bus's calls are made by the processor whose work they are.
    struct BusPort final : vmbus::HostPort {
        explicit BusPort(BehaviouralGuest& g) : guest(g) {}
        [[nodiscard]] std::uint16_t post_message(std::uint32_t connection,
                                                 std::span<const std::byte> payload) override {
            return guest.cpus_[guest.at_work_]->post_message(connection, payload);
        }
        [[nodiscard]] std::uint16_t signal_event(std::uint32_t connection, std::uint16_t flag) override {
            return guest.cpus_[guest.at_work_]->signal_event(connection, flag);
        }
        BehaviouralGuest& guest;
    };
    using Driver = std::pair<vmbus::Guid, vmbus::BusDriver*>;
    // Pages of one processor's, by number.
    struct Pages {
        std::uint64_t messages = 0;
        std::uint64_t events = 0;
        std::uint64_t assist = 0;
        std::uint64_t hypercall_input = 0;

        bool operator==(const Pages&) const = default;
        template <class Archive>
        void fields(Archive& archive) {
            archive(messages, events, assist, hypercall_input);
        }
    };
    struct State {
        std::uint64_t booted = 0;  // by processor: it has begun
        std::uint32_t ready = 0;   // so many have done it
        std::vector<Pages> pages;  // by processor
        std::uint64_t hypercall_page = 0;
        std::vector<std::uint16_t> unclaimed;  // channels that wait for a driver

        bool operator==(const State&) const = default;
        template <class Archive>
        void fields(Archive& archive) {
            archive(booted, ready, pages, hypercall_page, unclaimed);
        }
    };

    // What it writes is seen by whoever tracks the processors' stores; otherwise it takes the shorter way.
    struct Stores final : vmbus::GuestMemory {
        Stores(BehaviouralGuest& g, vmbus::GuestMemory& m) : guest(g), memory(&m) {}
        [[nodiscard]] bool read(std::uint64_t gpa, std::span<std::byte> out) override { return memory->read(gpa, out); }
        [[nodiscard]] bool write(std::uint64_t gpa, std::span<const std::byte> data) override;
        [[nodiscard]] bool is_memory(std::uint64_t gpa) override { return memory->is_memory(gpa); }
        void will_fill(std::uint64_t gpa, std::uint64_t bytes) override { memory->will_fill(gpa, bytes); }
        void expect(std::uint64_t gpa) const override { memory->expect(gpa); }
        BehaviouralGuest& guest;
        vmbus::GuestMemory* memory;
    };

    void boot(unsigned vp);
    void resume(std::uint32_t step, std::uint64_t value) override;
    void take_message(unsigned vp);
    bool message_waits(unsigned vp);

    // CpuOwner
    void enter(unsigned vp) override { at_work_ = vp; }
    void leave() override { at_work_ = 0; }
    void synthetic_interrupt(unsigned vp) override;
    void expect_synthetic_interrupt(unsigned vp) const override;
    void resume(ContinuationId who, std::uint32_t step, std::uint64_t value) override;

    // vmbus::BusDriver
    void connected(std::uint32_t version) override;
    void refused() override;
    void unloaded() override;
    void offered(vmbus::ClientChannel& channel) override;
    vmbus::ChannelDriver* adopt(vmbus::ClientChannel& channel) override;
    vmbus::BusDriver* driver_of(const vmbus::ClientChannel& channel);

    // First what each of its processors needs.
    sim::Scope scope_;
    unsigned at_work_ = 0;  // the processor; the first, if none is
    Stores stores_;
    std::vector<std::unique_ptr<BehaviouralCpu>> cpus_;
    Config config_;
    SoftwarePlacement* placement_;
    vmbus::PageAllocator pages_;
    std::uint64_t needed_pages_;  // by its kernel and whoever said so; whoever builds the machine again says it again
    std::vector<std::unique_ptr<Boot>> boots_;
    std::vector<std::unique_ptr<Messages>> messages_;
    BusPort bus_port_;
    std::vector<Continuation*> continuations_;
    std::vector<Driver> drivers_;
    State state_;
    ContinuationId boot_id_ = 0;
    sim::StateRegistration registration_;
    vmbus::BusClient bus_;
    std::vector<std::shared_ptr<void>> kept_;  // goes first
};

}  // namespace models
