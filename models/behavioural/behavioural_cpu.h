// One virtual processor of a behavioural guest: its tasks, its interrupt handlers, and its calls to the hypervisor.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "hypervisor/behavioural_processor.h"
#include "models/behavioural/guest_platform.h"
#include "sim/flat_map.h"

namespace models {

// What the guest around it does.
class CpuOwner {
public:
    // From here on its work is that of this processor, until the call returns.
    virtual void enter(unsigned vp) = 0;
    virtual void leave() = 0;
    virtual void synthetic_interrupt(unsigned vp) = 0;
    // One will come soon: what it looks at may be fetched (sim/prefetch.h).
    virtual void expect_synthetic_interrupt(unsigned /*vp*/) const {}
    virtual void resume(ContinuationId who, std::uint32_t step, std::uint64_t value) = 0;

protected:
    ~CpuOwner() = default;
};

class BehaviouralCpu final : public GuestProcessor, public vmbus::HostPort, private hypervisor::VpSoftware {
public:
    // That of the Hyper-V interface; drivers get those behind it.
    static constexpr std::uint8_t synthetic_vector = 0x30;

    BehaviouralCpu(CpuOwner& owner, unsigned index);

    hypervisor::VpSoftware& software() { return *this; }
    // Whatever its guest needs when it is at work (sim/working_set.h).
    sim::WorkingSet& needs() { return needs_; }
    // And what the root needs when it has called the host.
    void set_host_needs(const sim::WorkingSet& needs) { host_needs_ = &needs; }
    // Null: the partition has gone.
    hypervisor::BehaviouralProcessor* vp() { return vp_; }

    std::uint8_t allocate_vector(InterruptHandler& handler);
    void release_vector(std::uint8_t vector);
    void adopt_vector(std::uint8_t vector, InterruptHandler& handler) { handlers_[vector] = &handler; }

    // GuestProcessor
    TaskId attach(sim::Task& task) override { return queue_.attach(task); }
    void detach(TaskId id) override { queue_.detach(id); }
    void wake(TaskId id) override { queue_.wake(id); }
    sim::WorkingSet* working_set(TaskId id) override { return queue_.working_set(id); }
    bool fetch_ahead(unsigned step) override;
    void add_own_needs(sim::WorkingSet& set) const override;
    void charge(sim::Cause cause, sim::Time time) override;
    void charge_then(sim::Cause cause, sim::Time time, ContinuationId who, std::uint32_t step,
                     std::uint64_t value) override;

    // vmbus::HostPort. The call is made when the processor comes to it, so all looks well here.
    [[nodiscard]] std::uint16_t post_message(std::uint32_t connection, std::span<const std::byte> payload) override;
    [[nodiscard]] std::uint16_t signal_event(std::uint32_t connection, std::uint16_t flag) override;

    template <class Archive>
    void fields(Archive& archive) {
        archive(queue_, vectors_);
    }

private:
    struct Queue final : sim::TaskQueue {
        explicit Queue(BehaviouralCpu& c) : cpu(c) {}
        void work_arrived() override {
            if (cpu.vp_ != nullptr) cpu.vp_->work_arrived();
        }
        std::optional<sim::Time> begin() { return TaskQueue::begin(); }
        void finish() { TaskQueue::finish(); }
        void account(sim::Account& account) const { TaskQueue::account(account); }
        BehaviouralCpu& cpu;
    };

    const sim::WorkingSet* part(std::size_t n) const;

    // hypervisor::VpSoftware
    void placed(hypervisor::BehaviouralProcessor* processor) override { vp_ = processor; }
    std::optional<sim::Time> begin() override { return queue_.begin(); }
    void account(sim::Account& account) const override { queue_.account(account); }
    void finish() override;
    void interrupt(std::uint8_t vector) override;
    void expected() override;
    void resume(std::uint32_t who, std::uint32_t step, std::uint64_t value) override;

    CpuOwner& owner_;
    unsigned index_;
    hypervisor::BehaviouralProcessor* vp_ = nullptr;
    Queue queue_;
    sim::FlatMap<std::uint8_t, InterruptHandler*> handlers_;
    std::array<std::uint64_t, 4> vectors_{};  // those that are allocated
    sim::WorkingSet needs_;
    const sim::WorkingSet* host_needs_ = nullptr;
    // Whether it has called the host since it was last fetched ahead for; then it is taken that it will do so again.
    bool called_host_ = false, ahead_calls_host_ = false;
    std::size_t ahead_ = 0, ahead_piece_ = 0;  // how far fetch_ahead() is, and within a part
};

}  // namespace models
