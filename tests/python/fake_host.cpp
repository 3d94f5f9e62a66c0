#include "tests/python/fake_host.h"

#include <fmt/format.h>
#include <unistd.h>

#include <atomic>
#include <sstream>

#include "sim/check.h"

namespace fake {

using models::Guest;
using models::GuestState;
using models::Host;

namespace {

class FakeGuest final : public Guest {
public:
    FakeGuest(const sim::Scope& scope, const models::PartitionConfig& config, std::uint64_t number, bool& woken)
        : scope_(scope),
          name_(config.name),
          number_(number),
          woken_(woken),
          prints_(scope.counter("prints", "count", "lines printed")) {
        std::string text;
        for (const std::byte byte : config.guest.kernel) text.push_back(static_cast<char>(byte));
        std::istringstream lines{text};
        for (std::string line; std::getline(lines, line);) read_line(line);
        if (config.guest.command_line == "echo-archives") {
            for (const auto& archive : config.guest.initramfs) print(fmt::format("archive {}", archive.size()));
        }
    }

    const std::string& name() const override { return name_; }
    GuestState state() const override { return state_; }
    std::uint32_t exit_code() const override { return exit_code_; }
    const std::string& crash_message() const override { return crash_; }
    const std::string& console() const override { return console_; }
    std::uint64_t instructions() const override { return instructions_; }
    models::PartitionPci& pci() override { throw sim::UserError("a guest that only acts has no PCI functions"); }
    models::BehaviouralGuest* behavioural() override { return nullptr; }
    std::uint64_t number() const override { return number_; }
    models::SyntheticDevices& devices() override { throw sim::UserError("a guest that only acts has no devices"); }
    models::Generation1Partition* generation1() override { return nullptr; }

    void type(std::string_view text) override {
        at(scope_.now() + sim::Time::ns(10), [this, line = std::string{text}] { print("typed " + line); });
    }

private:
    void at(sim::Time time, std::function<void()> action) {
        auto& timer = timers_.emplace_back(std::make_unique<sim::Timer>(scope_.agenda(), "script", std::move(action)));
        timer->arm(time);
    }

    void read_line(const std::string& line) {
        std::istringstream words{line};
        std::int64_t at_ns = 0;
        std::string action;
        if (!(words >> at_ns >> action)) return;
        std::string argument;
        std::getline(words >> std::ws, argument);
        const sim::Time time = scope_.now() + sim::Time::ns(at_ns);
        if (action == "print") at(time, [this, argument] { print(argument); });
        if (action == "state") at(time, [this, argument] { stop(argument); });
        if (action == "exit") {
            at(time, [this, argument] {
                exit_code_ = static_cast<std::uint32_t>(std::stoul(argument));
                stop("debug_exit");
            });
        }
        if (action == "tick") {
            period_ = sim::Time::ns(std::stoll(argument));
            at(time, [this, index = timers_.size()] { tick(index); });
        }
    }

    void tick(std::size_t index) {
        usleep(200);
        instructions_ += 1000;
        timers_[index]->arm_after(period_);
    }

    void print(const std::string& line) {
        console_ += line + "\n";
        instructions_ += 10;
        ++prints_;
        scope_.trace("console", line.size());
        woken_ = true;
    }

    void stop(const std::string& name) {
        if (name == "powered_off") state_ = GuestState::powered_off;
        if (name == "triple_fault") state_ = GuestState::triple_fault;
        if (name == "debug_exit") state_ = GuestState::debug_exit;
        if (name == "crashed") {
            state_ = GuestState::crashed;
            crash_ = "the guest said so";
        }
        scope_.trace("state", static_cast<std::uint64_t>(state_));
        woken_ = true;
    }

    sim::Scope scope_;
    std::string name_;
    std::uint64_t number_;
    bool& woken_;
    sim::Counter& prints_;
    GuestState state_ = GuestState::running;
    std::uint32_t exit_code_ = 0;
    std::string crash_;
    std::string console_;
    std::uint64_t instructions_ = 0;
    sim::Time period_;
    std::vector<std::unique_ptr<sim::Timer>> timers_;
};

class FakeHost final : public Host {
public:
    FakeHost(sim::Simulation& simulation, const models::HostConfig& config)
        : scope_(simulation.scope("host")), config_(config), free_bytes_(config.memory_bytes) {
        if (config.profile.substr(0, config.profile.find(':')) != "sandy-bridge-ep") {
            throw sim::UserError(fmt::format("there is no profile {}: sandy-bridge-ep", config.profile));
        }
    }

    models::HostPci& pci() override { throw sim::UserError("a host that only acts has no PCI devices"); }
    models::HostNetworks& networks() override { throw sim::UserError("a host that only acts has no networks"); }
    Guest& add_partition(const models::PartitionConfig& config) override {
        if (config.memory_bytes > free_bytes_) {
            throw sim::UserError(fmt::format("partition {} needs {} bytes, the host has {} left", config.name,
                                             config.memory_bytes, free_bytes_));
        }
        free_bytes_ -= config.memory_bytes;
        // Counts lie in two places, as with the real host.
        const std::uint64_t number = guests_.size() + 2;
        scope_.child(fmt::format("hypervisor.partitions.{}.vp0", number))
            .counter("exits", "count", "intercepts")
            .add(100);
        return *guests_.emplace_back(
            std::make_unique<FakeGuest>(scope_.child("root").child(config.name), config, number, woken_));
    }

    Stopped run(sim::Time until, const std::function<bool()>& wake, sim::Time wake_time) override {
        sim::Agenda& agenda = scope_.agenda();
        while (true) {
            if (interrupted_.exchange(false)) return Stopped::interrupted;
            const sim::Time next = std::min({agenda.next_event(), wake_time, until});
            if (next.is_never()) return Stopped::idle;
            agenda.run_until(next);
            if (progress_) progress_(now(), instructions());
            const bool due = now() >= wake_time;
            if (due) wake_time = sim::Time::never();
            if ((woken_ || due) && wake()) return Stopped::condition;
            woken_ = false;
            if (now() >= until) return Stopped::time;
        }
    }

    void interrupt() override { interrupted_.store(true); }
    void set_progress(std::function<void(sim::Time, std::uint64_t)> progress) override {
        progress_ = std::move(progress);
    }
    sim::Time now() const override { return scope_.now(); }
    std::uint64_t instructions() const override {
        std::uint64_t sum = 0;
        for (const auto& guest : guests_) sum += guest->instructions();
        return sum;
    }
    const models::HostConfig& config() const override { return config_; }

private:
    sim::Scope scope_;
    models::HostConfig config_;
    std::uint64_t free_bytes_;
    bool woken_ = false;
    std::atomic<bool> interrupted_{false};
    std::function<void(sim::Time, std::uint64_t)> progress_;
    std::vector<std::unique_ptr<FakeGuest>> guests_;
};

}  // namespace

std::unique_ptr<Host> make_host(sim::Simulation& simulation, const models::HostConfig& config) {
    return std::make_unique<FakeHost>(simulation, config);
}

}  // namespace fake
