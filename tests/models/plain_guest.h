// A behavioural guest without a hypervisor: processors that do one thing after the other and keep a ledger, memory that
// is bytes, a bus of wires (tests/vmbus/loopback.h), registers of whatever a test puts there. Everything that it does
// to what is outside costs its processor a fixed time.
#pragma once

#include <array>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "models/behavioural/guest_platform.h"
#include "sim/check.h"
#include "sim/ledger.h"
#include "tests/vmbus/loopback.h"

namespace models::test {

// What the guest's accesses reach.
struct RegisterTarget {
    virtual std::uint64_t read(bool port, std::uint64_t address, unsigned bytes) = 0;
    virtual void write(bool port, std::uint64_t address, unsigned bytes, std::uint64_t value) = 0;

protected:
    ~RegisterTarget() = default;
};

// What happens between pieces of tasks.
struct PlainExtra {
    enum class Kind : std::uint8_t { charge, call, write, read, interrupt };
    Kind kind = Kind::charge;
    std::string cause;
    sim::Time time;
    bool port = false;
    std::uint64_t address = 0;
    std::uint8_t bytes = 0;
    std::uint64_t value = 0;
    ContinuationId who = 0;
    std::uint32_t step = 0;

    template <class Archive>
    void fields(Archive& archive) {
        archive(kind, cause, time, port, address, bytes, value, who, step);
    }
};

class PlainProcessor final : public GuestProcessor {
public:
    using Extra = PlainExtra;
    static constexpr sim::Time interrupt_time = sim::Time::ns(500);

    PlainProcessor(const sim::Scope& scope, std::function<void(const Extra&)> carry_out)
        : scope_(scope),
          carry_out_(std::move(carry_out)),
          tasks_(*this),
          timer_(scope.agenda(), scope.path() + ".work", [this] { expired(); }),
          registration_(scope.register_state(*this)) {}

    TaskId attach(sim::Task& task) override { return tasks_.attach(task); }
    void detach(TaskId id) override { tasks_.detach(id); }
    void wake(TaskId id) override { tasks_.wake(id); }
    void charge(sim::Cause cause, sim::Time time) override { add({.cause = cause, .time = time}); }
    void charge_then(sim::Cause cause, sim::Time time, ContinuationId who, std::uint32_t step,
                     std::uint64_t value) override {
        add({.kind = Extra::Kind::call, .cause = cause, .time = time, .value = value, .who = who, .step = step});
    }
    void add(Extra extra) {
        extras_.push_back(std::move(extra));
        if (!timer_.armed()) timer_.arm_after(sim::Time::zero());
    }
    void interrupt(std::uint8_t vector) {
        if (pending_[vector]) return;
        pending_[vector] = true;
        interrupts_.push_back(vector);
        if (!timer_.armed()) timer_.arm_after(sim::Time::zero());
    }

    // A line that is level-triggered: after its handler's end it calls again while it is asserted.
    void set_level(std::uint8_t vector, bool asserted) {
        level_ = vector;
        asserted_ = asserted;
        if (asserted && !timer_.armed()) timer_.arm_after(sim::Time::zero());
    }

    std::map<std::string, sim::Time>& ledger() { return ledger_; }
    sim::Time busy() const {
        sim::Time sum;
        for (const auto& [cause, time] : ledger_) sum = sum + time;
        return sum;
    }
    template <class Archive>
    void fields(Archive& archive) {
        archive(tasks_, timer_, extras_, current_, piece_, interrupts_, pending_, level_, asserted_, ledger_);
    }

private:
    struct Tasks final : sim::TaskQueue {
        explicit Tasks(PlainProcessor& p) : owner(p) {}
        using TaskQueue::account;
        using TaskQueue::begin;
        using TaskQueue::finish;
        void work_arrived() override {
            if (!owner.timer_.armed()) owner.timer_.arm_after(sim::Time::zero());
        }
        PlainProcessor& owner;
    };
    struct Entry final : sim::Account {
        explicit Entry(PlainProcessor& p) : owner(p) {}
        void add(sim::Cause cause, sim::Time time) override {
            if (time == sim::Time::zero()) return;
            owner.ledger_[cause] += time;
            sum = sum + time;
        }
        PlainProcessor& owner;
        sim::Time sum;
    };

    void expired() {
        if (current_) {
            const Extra done = std::move(*current_);
            current_.reset();
            carry_out_(done);
        } else if (std::exchange(piece_, false)) {
            tasks_.finish();
        }
        if (timer_.armed()) timer_.disarm();
        if (!extras_.empty()) {
            current_ = std::move(extras_.front());
            extras_.pop_front();
            ledger_[current_->cause] += current_->time;
            return timer_.arm_after(current_->time);
        }
        if (asserted_ && !pending_[level_]) {
            pending_[level_] = true;
            interrupts_.push_back(level_);
        }
        if (!interrupts_.empty()) {
            current_ = Extra{.kind = Extra::Kind::interrupt, .cause = "guest.interrupt", .time = interrupt_time};
            current_->value = interrupts_.front();
            pending_[interrupts_.front()] = false;
            interrupts_.pop_front();
            ledger_[current_->cause] += current_->time;
            return timer_.arm_after(current_->time);
        }
        const std::optional<sim::Time> cost = tasks_.begin();
        if (!cost) return;
        piece_ = true;
        Entry entry{*this};
        tasks_.account(entry);
        VG_CHECK(entry.sum <= *cost);
        if (entry.sum < *cost) ledger_["guest.other"] += *cost - entry.sum;
        timer_.arm_after(*cost);
    }

    sim::Scope scope_;
    std::function<void(const Extra&)> carry_out_;
    Tasks tasks_;
    sim::Timer timer_;
    std::deque<Extra> extras_;
    std::optional<Extra> current_;
    bool piece_ = false;
    std::deque<std::uint8_t> interrupts_;
    std::array<bool, 256> pending_{};
    std::uint8_t level_ = 0;
    bool asserted_ = false;
    std::map<std::string, sim::Time> ledger_;
    sim::StateRegistration registration_;
};

// The guest of a Loopback. `bus` is that one's client.
class PlainGuest final : public GuestPlatform {
public:
    static constexpr sim::Time register_write = sim::Time::ns(50), register_read = sim::Time::ns(700),
                               intercept = sim::Time::us(3);

    PlainGuest(vmbus::test::Loopback& the_loop, unsigned processors)
        : loop(the_loop), scope_(loop.simulation.scope("plain")) {
        for (unsigned vp = 0; vp < processors; ++vp) {
            vps.push_back(std::make_unique<PlainProcessor>(
                scope_.child("vp" + std::to_string(vp)),
                [this, vp](const PlainProcessor::Extra& extra) { carry_out(vp, extra); }));
        }
    }

    ContinuationId attach(Continuation& continuation) override {
        continuations_.push_back(&continuation);
        return static_cast<ContinuationId>(continuations_.size() - 1);
    }
    void detach(ContinuationId id) override { continuations_[id] = nullptr; }
    const sim::Scope& scope() const override { return scope_; }
    unsigned processor_count() const override { return static_cast<unsigned>(vps.size()); }
    GuestProcessor& processor(unsigned vp) override { return *vps[vp]; }
    vmbus::GuestMemory& memory() override { return loop.memory; }
    vmbus::PageAllocator& pages() override { return loop.pages; }
    vmbus::HostPort& hypercalls(unsigned) override { return loop.wires.to_host; }
    vmbus::BusClient& bus() override { return loop.client; }
    void add_driver(const vmbus::Guid& interface_type, vmbus::BusDriver& driver) override {
        loop.drivers[interface_type] = &driver;
    }
    std::uint8_t allocate_vector(unsigned vp, InterruptHandler& handler) override {
        for (unsigned vector = 0x40; vector < 256; ++vector) {
            if (handlers_[vp][vector] != nullptr) continue;
            handlers_[vp][vector] = &handler;
            return static_cast<std::uint8_t>(vector);
        }
        VG_CHECK(false, "no vector is free");
        return 0;
    }
    void release_vector(unsigned vp, std::uint8_t vector) override { handlers_[vp][vector] = nullptr; }
    void write_register(unsigned vp, std::uint64_t gpa, unsigned bytes, std::uint64_t value) override {
        write(vp, false, gpa, bytes, value);
    }
    void read_register(unsigned vp, std::uint64_t gpa, unsigned bytes, ContinuationId who,
                       std::uint32_t step) override {
        read(vp, false, gpa, bytes, who, step);
    }
    void write_port(unsigned vp, std::uint16_t port, unsigned bytes, std::uint32_t value) override {
        write(vp, true, port, bytes, value);
    }
    void read_port(unsigned vp, std::uint16_t port, unsigned bytes, ContinuationId who, std::uint32_t step) override {
        read(vp, true, port, bytes, who, step);
    }

    void interrupt(unsigned vp, std::uint8_t vector) {
        ++interrupts;
        vps[vp]->interrupt(vector);
    }
    sim::Time spent(const std::string& cause) const {
        sim::Time sum;
        for (const auto& vp : vps) {
            const auto found = vp->ledger().find(cause);
            if (found != vp->ledger().end()) sum = sum + found->second;
        }
        return sum;
    }
    sim::Time busy() const {
        sim::Time sum;
        for (const auto& vp : vps) sum = sum + vp->busy();
        return sum;
    }
    void clear_ledgers() {
        for (auto& vp : vps) vp->ledger().clear();
    }
    vmbus::test::Loopback& loop;
    std::vector<std::unique_ptr<PlainProcessor>> vps;
    RegisterTarget* target = nullptr;
    std::uint64_t reads = 0, writes = 0, interrupts = 0;

private:
    using Kind = PlainProcessor::Extra::Kind;

    void write(unsigned vp, bool port, std::uint64_t address, unsigned bytes, std::uint64_t value) {
        vps[vp]->add({.kind = Kind::write,
                      .cause = "guest.register",
                      .time = port ? intercept : register_write,
                      .port = port,
                      .address = address,
                      .bytes = static_cast<std::uint8_t>(bytes),
                      .value = value});
    }
    void read(unsigned vp, bool port, std::uint64_t address, unsigned bytes, ContinuationId who, std::uint32_t step) {
        vps[vp]->add({.kind = Kind::read,
                      .cause = "guest.register",
                      .time = port ? intercept : register_read,
                      .port = port,
                      .address = address,
                      .bytes = static_cast<std::uint8_t>(bytes),
                      .who = who,
                      .step = step});
    }
    void resume(const PlainProcessor::Extra& extra, std::uint64_t value) {
        if (continuations_[extra.who] != nullptr) continuations_[extra.who]->resume(extra.step, value);
    }
    void carry_out(unsigned vp, const PlainProcessor::Extra& extra) {
        switch (extra.kind) {
            case Kind::charge:
                return;
            case Kind::call:
                return resume(extra, extra.value);
            case Kind::write:
                ++writes;
                return target->write(extra.port, extra.address, extra.bytes, extra.value);
            case Kind::read:
                ++reads;
                return resume(extra, target->read(extra.port, extra.address, extra.bytes));
            case Kind::interrupt:
                if (handlers_[vp][extra.value] != nullptr) handlers_[vp][extra.value]->interrupt();
                return;
        }
    }

    sim::Scope scope_;
    std::vector<Continuation*> continuations_;
    std::map<unsigned, std::array<InterruptHandler*, 256>> handlers_;
};

}  // namespace models::test
