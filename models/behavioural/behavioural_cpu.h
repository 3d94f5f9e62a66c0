// One virtual processor of a behavioural guest: its tasks, its interrupt handlers, and its calls to the hypervisor.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "hypervisor/behavioural_processor.h"
#include "models/behavioural/guest_platform.h"
#include "sim/flat_map.h"
#include "sim/working_set.h"

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
    // Where it calls the host besides.
    sim::WorkingSet& call_needs() { return call_needs_; }
    // And what the root needs then.
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

    bool gathered();
    void gather();

    // hypervisor::VpSoftware
    void placed(hypervisor::BehaviouralProcessor* processor) override {
        vp_ = processor;
        gathered_ = false;
        foreseen_ = false;
    }
    std::optional<sim::Time> begin() override { return queue_.begin(); }
    void account(sim::Account& account) const override { queue_.account(account); }
    void finish() override;
    void interrupt(std::uint8_t vector) override;
    bool expected() override;
    void resume(std::uint32_t who, std::uint32_t step, std::uint64_t value) override;

    CpuOwner& owner_;
    unsigned index_;
    hypervisor::BehaviouralProcessor* vp_ = nullptr;
    Queue queue_;
    sim::FlatMap<std::uint8_t, InterruptHandler*> handlers_;
    // What is fetched (sim/working_set.h) decides nothing that is simulated. What its partition, its tasks and the host
    // need, of those whose work it had of late; then it is taken that it will have it again.
    struct Lately {
        sim::TaskQueue::Tasks tasks = 0;
        bool called_host = false;
        bool operator==(const Lately&) const = default;
    };
    Lately lately_, all_of_;
    sim::GatheredSet all_;
    bool gathered_ = false;
    bool foreseen_ = false;  // and all of it fetched
    unsigned uses_ = 0;      // since lately_ began
    // How far fetch_ahead() is, whose stages follow in this order, and within the list.
    enum class Stage : std::uint8_t { lines, arrival, contents, their_arrival, places, next } stage_ = Stage::lines;
    std::size_t ahead_ = 0;

    // Not for each piece of work.
    std::array<std::uint64_t, 4> vectors_{};  // those that are allocated
    sim::WorkingSet needs_, call_needs_;
    const sim::WorkingSet* host_needs_ = nullptr;
};

}  // namespace models
