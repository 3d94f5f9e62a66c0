// A behavioural guest's driver of the emulated DEC 21140 of a Generation 1 machine, after Linux' tulip with NAPI: each
// access to a register is an intercept, and there are as many of them for a frame as Linux makes. A frame sent is one
// write of CSR1. An interrupt reads CSR5, acknowledges there, reads again until nothing is left, and reads CSR8. A poll
// reads, acknowledges and reads CSR5, and unmasks in CSR7.
//
// Firmware has placed the adapter. Left out: reading the address from the serial ROM (configuration has it), the
// medium's timer.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <optional>
#include <string_view>
#include <vector>

#include "models/behavioural/driver_costs.h"
#include "models/behavioural/guest_platform.h"
#include "models/behavioural/network_driver.h"
#include "models/behavioural/register_sequence.h"

namespace models {

class EmulatedDriver final : public NetworkDriver, private sim::Task {
public:
    struct Config {
        vmbus::NetworkAddress address;
        std::uint16_t ports = 0xec00;  // of the adapter's registers
        std::uint32_t device = 10;     // on bus 0
        unsigned vp = 0;
        // The I/O APIC's pin of the adapter's line, which the driver programs; nothing: somebody else has.
        std::optional<std::uint8_t> interrupt_pin = 11;
        std::uint32_t budget = 64;
        std::uint32_t backlog = 1000;  // as Linux' default queue
        DriverCosts costs;
    };
    static constexpr std::uint32_t transmit_descriptors = 32, receive_descriptors = 128, buffer_bytes = 2048;
    // Of the guest's: a ring each way, and buffers, two in each.
    static constexpr std::uint64_t pages = 2 + (receive_descriptors + transmit_descriptors) / 2;

    EmulatedDriver(const sim::Scope& scope, GuestPlatform& platform, NetworkDriverUser& user, const Config& config);
    ~EmulatedDriver() override;
    EmulatedDriver(const EmulatedDriver&) = delete;

    // Opens the adapter. From where a guest may access registers.
    void start();
    // By which the adapter's line calls it.
    std::uint8_t vector() const { return vector_; }

    // NetworkDriver
    [[nodiscard]] bool transmit(vmbus::OutgoingFrame&& frame) override;
    bool is_up() const override { return state_.up; }
    std::uint16_t queues() const override { return 1; }
    unsigned processor_of(std::uint16_t) const override { return config_.vp; }
    const vmbus::NetworkAddress& address() const override { return config_.address; }
    std::uint32_t mtu() const override { return 1500; }
    const vmbus::OffloadSettings& offloads() const override { return offloads_; }
    std::string_view path() const override { return "emulated"; }

    template <class Archive>
    void fields(Archive& archive) {
        archive(state_, interrupt_.sequence, poll_.sequence);
    }

private:
    // Where a poll stands; between these its accesses are under way.
    enum class Poll : std::uint8_t { none, begin, acknowledge, take, look, wait };
    enum class Work : std::uint8_t { none, start, poll, receive, send };
    struct State {
        bool opening = false;
        bool up = false;
        bool refused = false;
        bool stopped = false;  // the transmit ring is full
        std::vector<std::uint64_t> pages;
        std::uint32_t receive_ring = 0, transmit_ring = 0;
        std::uint32_t taken = 0;              // receive descriptors so far, modulo their number
        std::uint32_t next = 0, cleaned = 0;  // transmit descriptors so far
        bool in_interrupt = false;
        sim::Time called_at;  // by an interrupt, the last time
        sim::Time begun_at;   // of the piece
        bool polled = false;  // this interrupt has called for a poll
        bool first_read = false, last_read = false;
        Poll poll = Poll::none;
        Work work = Work::none;
        std::deque<vmbus::OutgoingFrame> backlog;
        std::optional<vmbus::OutgoingFrame> sending;
        std::vector<vmbus::IncomingFrame> received;
        bool more = false;  // the budget was used up

        template <class Archive>
        void fields(Archive& archive) {
            archive(opening, up, refused, stopped, pages, receive_ring, transmit_ring, taken, next, cleaned,
                    in_interrupt, called_at, begun_at, polled, first_read, last_read, poll, work, backlog, sending,
                    received, more);
        }
    };
    // The accesses of the interrupt's handler, and of everything else.
    struct InterruptPart final : InterruptHandler, RegisterSequence::Owner {
        explicit InterruptPart(EmulatedDriver& d, unsigned vp) : driver(d), sequence(d.platform_, vp, *this) {}
        void interrupt() override { driver.interrupt(); }
        void accessed(std::span<const std::uint64_t> answers) override { driver.interrupt_read(answers); }
        EmulatedDriver& driver;
        RegisterSequence sequence;
    };
    struct PollPart final : RegisterSequence::Owner {
        explicit PollPart(EmulatedDriver& d, unsigned vp) : driver(d), sequence(d.platform_, vp, *this) {}
        void accessed(std::span<const std::uint64_t> answers) override { driver.poll_read(answers); }
        EmulatedDriver& driver;
        RegisterSequence sequence;
    };

    RegisterAccess read(unsigned csr) const;
    RegisterAccess write(unsigned csr, std::uint32_t value) const;

    void interrupt();
    void interrupt_read(std::span<const std::uint64_t> answers);
    void poll_read(std::span<const std::uint64_t> answers);

    // sim::Task
    std::optional<sim::Time> begin() override;
    void finish() override;
    void account(sim::Account& account) const override;

    bool make_rings();
    std::uint32_t buffer_of(std::uint32_t n) const;
    void put_set_up();
    void open();
    void take_frames();
    void give_frames();
    void put_frame();
    void clean();
    std::uint32_t waiting() const { return state_.next - state_.cleaned; }
    std::array<std::uint32_t, 4> descriptor(std::uint32_t at);
    void put_descriptor(std::uint32_t at, const std::array<std::uint32_t, 4>& words);

    sim::Scope scope_;
    GuestPlatform& platform_;
    NetworkDriverUser& user_;
    Config config_;
    vmbus::OffloadSettings offloads_;
    State state_;
    sim::Time cost_;  // of the piece that has begun
    InterruptPart interrupt_;
    PollPart poll_;
    std::uint8_t vector_;
    sim::Counter& interrupts_;
    sim::Counter& polls_;
    sim::TaskSlot slot_;
    sim::StateRegistration registration_;
};

}  // namespace models
