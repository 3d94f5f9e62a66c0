// The root's own queue pair of the 82599: the physical function's driver as the virtual switch sees it. What the switch
// sends goes into the transmit ring at once, since whoever sent it has paid; what comes is taken from the receive ring
// in batches on a processor of the root's, at a cost. The rings are in memory of the root's, which the function reaches
// and nothing else does. An adapter has several if addresses have queues of their own (VMQ): those receive only.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "models/network/frame.h"
#include "models/network/virtual_switch.h"
#include "sim/processor.h"
#include "sriov_nic/queue_driver.h"
#include "vmbus/ports.h"

namespace models {

// Memory of the root's for a device's rings and buffers, at the addresses that the device uses.
class RootDmaArea final : public vmbus::GuestMemory {
public:
    RootDmaArea(std::uint64_t base, std::uint64_t bytes) : base_(base), bytes_(bytes) {}
    std::uint64_t base() const { return base_; }
    std::span<std::byte> bytes() { return bytes_; }
    [[nodiscard]] bool read(std::uint64_t address, std::span<std::byte> out) override;
    [[nodiscard]] bool write(std::uint64_t address, std::span<const std::byte> data) override;

    template <class Archive>
    void fields(Archive& archive) {
        archive(bytes_);
    }

private:
    bool inside(std::uint64_t address, std::uint64_t n) const {
        return address >= base_ && address - base_ <= bytes_.size() && n <= bytes_.size() - (address - base_);
    }
    std::uint64_t base_;
    std::vector<std::byte> bytes_;
};

// The memory of several queues, one behind the other.
class RootDmaAreas final : public vmbus::GuestMemory {
public:
    static constexpr std::uint64_t first = std::uint64_t{1} << 32, each = std::uint64_t{1} << 22;
    void add(RootDmaArea& area) { areas_.push_back(&area); }
    [[nodiscard]] bool read(std::uint64_t address, std::span<std::byte> out) override {
        RootDmaArea* area = of(address);
        return area != nullptr && area->read(address, out);
    }
    [[nodiscard]] bool write(std::uint64_t address, std::span<const std::byte> data) override {
        RootDmaArea* area = of(address);
        return area != nullptr && area->write(address, data);
    }

private:
    RootDmaArea* of(std::uint64_t address) const {
        const std::uint64_t n = (address - first) / each;
        return address >= first && n < areas_.size() ? areas_[n] : nullptr;
    }
    std::vector<RootDmaArea*> areas_;
};

// The registers of one of the physical function's queues, at the places where a virtual function has its first one, and
// of its vector.
class PhysicalQueueRegisters final : public sriov_nic::RegisterPort {
public:
    PhysicalQueueRegisters(sriov_nic::RegisterPort& physical, unsigned queue, unsigned vector)
        : physical_(physical), queue_(queue), vector_(vector) {}
    std::uint32_t read_register(std::uint32_t offset) override;
    void write_register(std::uint32_t offset, std::uint32_t value) override;

private:
    // Nothing: a register that the physical function's driver itself looks after.
    std::optional<std::uint32_t> place(std::uint32_t offset) const;

    sriov_nic::RegisterPort& physical_;
    unsigned queue_;
    unsigned vector_;
};

class PhysicalQueue final : public FrameReceiver {
public:
    // Which of the adapter's queues it is, and of the MSI-X vectors; how many others have memory before its own.
    struct Place {
        unsigned queue = 0;
        unsigned vector = 0;
        unsigned number = 0;
    };

    struct Costs {
        sim::Time per_interrupt = sim::Time::us(1);  // assumed: interrupt and dispatch of a driver's routine
    };

    // It works on the first of these, until it is moved.
    PhysicalQueue(const sim::Scope& scope, sriov_nic::RegisterPort& registers, const Place& place,
                  std::span<sim::Processor* const> processors, const Costs& costs);
    ~PhysicalQueue();

    RootDmaArea& memory() { return area_; }
    unsigned vector() const { return place_.vector; }
    // Rings and queues on. The function may master the bus already.
    void open() { driver_.open(transmit_control, receive_control, 0); }
    // Where frames go that come in, and the port that they come from.
    void connect(VirtualSwitch& network, PortId port);
    // The queue's interrupt.
    void interrupt();
    // To another processor, by its number in the list; what it has begun ends where it is.
    void move(std::uint32_t processor);
    std::uint32_t processor() const { return processor_; }
    // What it has cost since the last question.
    sim::Time take_work() { return std::exchange(work_, sim::Time::zero()); }
    // From the switch.
    void receive(Frame&& frame) override;

    template <class Archive>
    void fields(Archive& archive) {
        archive(area_, driver_, batch_, working_, called_at_, processor_, work_, begun_on_);
    }

private:
    // Its place on one processor.
    struct Worker final : sim::Task {
        Worker(PhysicalQueue& q, std::uint32_t n, sim::Processor& processor)
            : queue(q), number(n), slot(processor, *this) {}
        std::optional<sim::Time> begin() override { return queue.begin(number); }
        void finish() override { queue.finish(); }
        void account(sim::Account& account) const override { account.add("root.switch", queue.cost_); }
        PhysicalQueue& queue;
        std::uint32_t number;
        sim::TaskSlot slot;
    };

    // 82599 datasheet, 8.2.3.9.10 and 8.2.3.8.7: enabled at open(); 32 descriptors ahead; FCS counts in the limit.
    static constexpr std::uint32_t transmit_control = 32 | 1u << 8 | 8u << 16;
    static constexpr std::uint32_t receive_control = 0;
    static constexpr std::size_t most_in_batch = 64;

    std::optional<sim::Time> begin(std::uint32_t on);
    void finish();
    void wake() { workers_[processor_]->slot.wake(); }

    sim::Scope scope_;
    Place place_;
    Costs costs_;
    sriov_nic::QueueDriverLayout layout_;
    PhysicalQueueRegisters registers_;
    RootDmaArea area_;
    sriov_nic::QueueDriver driver_;
    sim::Counter& sent_;
    sim::Counter& received_;
    sim::Counter& dropped_;
    std::vector<std::unique_ptr<Worker>> workers_;
    VirtualSwitch* network_ = nullptr;
    PortId port_ = no_port;
    std::vector<Frame> batch_;
    bool working_ = false;
    sim::Time cost_;       // of the piece that has begun
    sim::Time called_at_;  // by an interrupt, the last time
    std::uint32_t processor_ = 0;
    std::uint32_t begun_on_ = 0;  // the batch
    sim::Time work_;
    sim::StateRegistration registration_;
};

}  // namespace models
