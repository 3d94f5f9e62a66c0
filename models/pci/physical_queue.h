// The root's own queue pair of the 82599: the physical function's driver as the virtual switch sees it. What the switch
// sends goes into the transmit ring at once, since whoever sent it has paid; what comes is taken from the receive ring
// in batches on a processor of the root's, at a cost. The rings are in memory of the root's, which the function reaches
// and nothing else does.
#pragma once

#include <cstdint>
#include <optional>
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

// The registers of one of the physical function's queues, at the places where a virtual function has its first one.
class PhysicalQueueRegisters final : public sriov_nic::RegisterPort {
public:
    PhysicalQueueRegisters(sriov_nic::RegisterPort& physical, unsigned queue) : physical_(physical), queue_(queue) {}
    std::uint32_t read_register(std::uint32_t offset) override;
    void write_register(std::uint32_t offset, std::uint32_t value) override;

private:
    // Nothing: a register that the physical function's driver itself looks after.
    std::optional<std::uint32_t> place(std::uint32_t offset) const;

    sriov_nic::RegisterPort& physical_;
    unsigned queue_;
};

class PhysicalQueue final : public FrameReceiver, private sim::Task {
public:
    static constexpr unsigned vector = 0;
    static constexpr std::uint64_t dma_base = std::uint64_t{1} << 32;

    struct Costs {
        sim::Time per_interrupt = sim::Time::us(1);  // assumed: interrupt and dispatch of a driver's routine
    };

    PhysicalQueue(const sim::Scope& scope, sriov_nic::RegisterPort& registers, unsigned queue,
                  sim::Processor& processor, const Costs& costs);
    ~PhysicalQueue() override;

    vmbus::GuestMemory& memory() { return area_; }
    // Rings and queues on. The function may master the bus already.
    void open() { driver_.open(transmit_control, receive_control, 0); }
    // Where frames go that come in, and the port that they come from.
    void connect(VirtualSwitch& network, PortId port);
    // The queue's interrupt.
    void interrupt();
    // From the switch.
    void receive(Frame&& frame) override;

    template <class Archive>
    void fields(Archive& archive) {
        archive(area_, driver_, batch_, working_, called_at_);
    }

private:
    // 82599 datasheet, 8.2.3.9.10 and 8.2.3.8.7: enabled at open(); 32 descriptors ahead; FCS counts in the limit.
    static constexpr std::uint32_t transmit_control = 32 | 1u << 8 | 8u << 16;
    static constexpr std::uint32_t receive_control = 0;
    static constexpr std::size_t most_in_batch = 64;

    std::optional<sim::Time> begin() override;
    void finish() override;
    void account(sim::Account& account) const override { account.add("root.switch", cost_); }

    sim::Scope scope_;
    Costs costs_;
    sriov_nic::QueueDriverLayout layout_;
    PhysicalQueueRegisters registers_;
    RootDmaArea area_;
    sriov_nic::QueueDriver driver_;
    sim::Counter& sent_;
    sim::Counter& received_;
    sim::Counter& dropped_;
    sim::TaskSlot slot_;
    VirtualSwitch* network_ = nullptr;
    PortId port_ = no_port;
    std::vector<Frame> batch_;
    bool working_ = false;
    sim::Time cost_;       // of the piece that has begun
    sim::Time called_at_;  // by an interrupt, the last time
    sim::StateRegistration registration_;
};

}  // namespace models
