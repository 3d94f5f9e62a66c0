#include "models/host.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <span>
#include <utility>

#include "hypervisor/hypervisor.h"
#include "models/host_memory.h"
#include "models/host_networks.h"
#include "models/pci/host_pci.h"
#include "models/platform.h"
#include "models/profiles.h"
#include "models/virtualization_stack.h"
#include "sim/check.h"

namespace models {

namespace {

// The first pages stay the root's own: address 0 is nobody's.
constexpr std::uint64_t first_free_page = 1 << 20;
constexpr std::uint64_t least_host_bytes = std::uint64_t{8} << 20;
constexpr sim::Time longest_quantum = sim::Time::s(1);

void check_host(const HostConfig& config) {
    if (config.cores == 0) throw sim::UserError("the host has 0 cores: give it at least one");
    if (config.cores > hypervisor::max_logical_processors) {
        throw sim::UserError(fmt::format("the host has {} cores: at most {} are modelled", config.cores,
                                         hypervisor::max_logical_processors));
    }
    if (config.memory_bytes < least_host_bytes) {
        throw sim::UserError(fmt::format("the host has {} KiB of memory: give it at least {} MiB",
                                         config.memory_bytes >> 10, least_host_bytes >> 20));
    }
    if (config.nodes == 0 || config.cores % config.nodes != 0 ||
        (config.nodes > 1 && config.memory_bytes % (config.nodes * large_page_bytes) != 0)) {
        throw sim::UserError(fmt::format(
            "the host has {} nodes: its {} cores and its memory must be divisible by their number, in parts of 2 MiB",
            config.nodes, config.cores));
    }
    if (config.quantum < sim::Time::zero() || config.quantum > longest_quantum) {
        throw sim::UserError(fmt::format("a quantum of {} ps: give one from 0 (lock-step) to {} s", config.quantum.ps(),
                                         longest_quantum / sim::Time::s(1)));
    }
}

hypervisor::HypervisorConfig hypervisor_config(const HostConfig& config, const Profile& profile) {
    hypervisor::HypervisorConfig result;
    result.logical_processors = config.cores;
    result.quantum = config.quantum;
    result.instruction_costs = profile.instruction_costs;
    result.exit_costs = profile.exit_costs;
    result.tsc_hz = profile.tsc_hz;
    result.apic_hz = profile.apic_hz;
    result.timed = config.fidelity == Fidelity::timed;
    result.memory_timing = profile.memory_timing;
    result.posted_descriptors = HostPci::default_tables + HostPci::descriptors_at;
    result.nodes = config.nodes;
    result.remote_message = profile.numa_costs.message;
    result.posted_descriptor_count = std::min(profile.pci_costs.posted_descriptors, HostPci::descriptors);
    return result;
}

// How much of that memory is another node's than this, in thousandths.
std::uint32_t permille_of_others(const NumaNodes& numa, std::uint32_t node, std::span<const MemoryRun> memory) {
    if (!numa.several()) return 0;
    std::uint64_t all = 0, others = 0;
    for (const MemoryRun& run : memory) {
        all += run.pages;
        const std::uint64_t end = run.spa + run.pages * page_bytes;
        const std::uint64_t first = std::max(run.spa, node * numa.bytes_of_each());
        const std::uint64_t last = std::min(end, (node + 1) * numa.bytes_of_each());
        others += run.pages - (last > first ? (last - first) / page_bytes : 0);
    }
    return all == 0 ? 0 : static_cast<std::uint32_t>(others * 1000 / all);
}

// What stands before the names of all that belongs to a host.
std::string prefix_of(const HostConfig& config) {
    return config.name.empty() ? std::string{} : config.name + ".";
}

class HostModel final : public Host,
                        private RootProcessors,
                        private SoftwarePlacement,
                        private DeviceInterrupts,
                        private sim::StatisticsSource {
public:
    HostModel(sim::Simulation& simulation, const HostConfig& config, const Profile& profile)
        : simulation_(simulation),
          config_(config),
          numa_costs_(profile.numa_costs),
          agenda_(simulation.agenda()),
          scope_(simulation.scope(prefix_of(config) + "host")),
          memory_(config.memory_bytes),
          pages_(first_free_page, config.memory_bytes, config.nodes > 1 ? config.memory_bytes / config.nodes : 0),
          machine_(agenda_),
          wake_timer_(agenda_, scope_.path() + ".wake", [this] { ask_ = true; }),
          end_timer_(agenda_, scope_.path() + ".end", [this] { ended_ = true; }),
          memory_state_(scope_.child("memory").register_state(memory_)),
          pages_state_(scope_.child("pages").register_state(pages_)),
          networks_(simulation.scope(prefix_of(config) + "network")),
          pci_(scope_.child("pci"), profile.pci_costs, memory_.view()),
          stack_(scope_.child("root"), memory_, pages_, pci_, networks_),
          hypervisor_(scope_.child("hypervisor"), memory_.view(), hypervisor_config(config, profile), stack_) {
        pci_.connect(*this, hypervisor_.root_processor(0));
        pci_.set_nodes(config.numa(), profile.numa_costs);
        std::vector<sim::Processor*> processors;
        for (unsigned n = 0; n < config.cores; ++n) processors.push_back(&hypervisor_.root_processor(n));
        pci_.set_processors(std::move(processors));
        hypervisor_.connect_devices(pci_, &pci_);
        stack_.connect(hypervisor_.root_interface(), *this, *this,
                       [this](hypervisor::PartitionId id) { return hypervisor_.instructions(id); });
        scope_.trace("host", config.cores, config.memory_bytes, static_cast<std::uint64_t>(config.fidelity),
                     config.quantum.ps());
        scope_.trace_bytes("profile", std::as_bytes(std::span{config.profile}));
        simulation_.add_source(*this);
    }

    ~HostModel() override {
        HostModel::release();
        if (has_run_) Platform::instance().set_memory({});
    }

    HostNetworks& networks() override { return networks_; }
    HostPci& pci() override { return pci_; }
    Guest& add_partition(const PartitionConfig& config) override { return stack_.add_partition(config, config_); }
    Guest* prepare_partition(const PartitionConfig& config) override {
        return &stack_.prepare_partition(config, config_);
    }

    Stopped run(sim::Time until, const std::function<bool()>& wake, sim::Time wake_time) override;
    void join(Host& other) override { joined_.push_back(&other); }
    bool take_attention() override { return stack_.take_attention(); }
    void run_ended(bool idle) override {
        if (idle) stack_.found_idle();
    }
    void release() override {
        if (!std::exchange(released_, true)) {
            HostModel::update_statistics();
            simulation_.remove_source(*this);
        }
        stack_.release();
        pci_.release();
    }
    void interrupt() override { interrupted_.store(true, std::memory_order_relaxed); }
    void set_progress(std::function<void(sim::Time, std::uint64_t)> progress) override {
        progress_ = std::move(progress);
    }

    sim::Time now() const override { return agenda_.now(); }
    std::uint64_t instructions() const override { return hypervisor_.instructions(); }
    const HostConfig& config() const override { return config_; }
    std::vector<std::map<std::string, sim::Time>> processor_times() const override;
    std::unique_ptr<slat::Explanation> explain(const Guest& guest, std::uint32_t vp, std::uint64_t linear,
                                               mmu::Access access) const override {
        const auto* processor = hypervisor_.find_processor({guest.number(), vp});
        return processor != nullptr ? std::make_unique<slat::Explanation>(processor->explain(linear, access)) : nullptr;
    }

private:
    std::uint32_t count() const override { return config_.cores; }
    sim::Processor& processor(std::uint32_t index) override { return hypervisor_.root_processor(index); }

    void place(hypervisor::PartitionId partition, std::uint32_t vp, hypervisor::VpSoftware* software) override {
        hypervisor_.set_software(partition, vp, software);
    }

    void memory_is(hypervisor::PartitionId partition, std::span<const MemoryRun> memory) override;
    std::uint32_t remote_permille(std::uint32_t index, std::span<const MemoryRun> memory) const override {
        return permille_of_others(config_.numa(), config_.numa().of_processor(index), memory);
    }

    bool device_interrupt(std::uint32_t processor, std::uint8_t vector) override {
        return hypervisor_.device_interrupt(processor, vector);
    }

    static constexpr unsigned events_per_progress = 64;
    bool take_news();
    std::uint64_t all_instructions() const;
    void update_statistics() override;
    bool only_the_end_is_left(sim::Time until);

    sim::Simulation& simulation_;
    HostConfig config_;
    NumaCosts numa_costs_;
    sim::Agenda& agenda_;
    sim::Scope scope_;
    HostMemory memory_;
    PageAllocator pages_;
    AgendaMachine machine_;
    sim::Timer wake_timer_;
    sim::Timer end_timer_;
    sim::StateRegistration memory_state_;
    sim::StateRegistration pages_state_;
    HostNetworks networks_;
    HostPci pci_;
    VirtualizationStack stack_;
    hypervisor::Hypervisor hypervisor_;

    std::vector<Host*> joined_;
    std::function<void(sim::Time, std::uint64_t)> progress_;
    std::atomic<bool> interrupted_ = false;
    bool ask_ = false;    // the wake time has come
    bool ended_ = false;  // the end has
    bool has_run_ = false;
    bool released_ = false;  // what it counted stays
};

// On a host with several nodes: where the partition works without waiting, and whose interrupts come from afar.
void HostModel::memory_is(hypervisor::PartitionId partition, std::span<const MemoryRun> memory) {
    const NumaNodes numa = config_.numa();
    if (!numa.several()) return;
    std::vector<sim::Time> by_node;
    std::uint32_t home = 0, least = ~0u;
    for (std::uint32_t node = 0; node < numa.count; ++node) {
        const std::uint32_t remote = permille_of_others(numa, node, memory);
        by_node.push_back(numa_costs_.per_microsecond() * remote / 1000);
        if (remote < least) {
            least = remote;
            home = node;
        }
    }
    scope_.trace("partition_node", partition, home, least);
    hypervisor_.set_remote_work(partition, std::move(by_node));
    pci_.set_home(partition, home);
}

Host::Stopped HostModel::run(sim::Time until, const std::function<bool()>& wake, sim::Time wake_time) {
    if (until < agenda_.now()) {
        throw sim::UserError(
            fmt::format("cannot run until {} ps: it is {} ps already", until.ps(), agenda_.now().ps()));
    }
    // As events, so that all processors have come exactly so far and no farther when the scenario acts.
    wake_timer_.disarm();
    if (!wake_time.is_never()) wake_timer_.arm(wake_time);
    end_timer_.disarm();
    if (!until.is_never()) end_timer_.arm(until);
    ask_ = ended_ = false;
    Stopped why = Stopped::time;
    unsigned events = 0;
    Platform& platform = Platform::instance();
    const auto stop = [&] {
        // Read first: an exchange waits until all that was stored before is in the computer's cache.
        if (interrupted_.load(std::memory_order_relaxed) && interrupted_.exchange(false, std::memory_order_relaxed)) {
            why = Stopped::interrupted;
            return true;
        }
        if (++events % events_per_progress == 0 && progress_) progress_(agenda_.now(), all_instructions());
        const bool news = take_news();
        if ((std::exchange(ask_, false) || news) && wake && wake()) {
            why = Stopped::condition;
        } else if (ended_) {
            why = Stopped::time;
        } else if (end_timer_.armed() && agenda_.next_event() == until && !platform.others_pending() &&
                   only_the_end_is_left(until)) {
            why = Stopped::idle;
        } else {
            return false;
        }
        return true;
    };
    platform.set_memory(memory_.view());
    has_run_ = true;
    const RunEnd end = platform.run(machine_, until, stop);
    wake_timer_.disarm();
    end_timer_.disarm();
    if (end == RunEnd::idle) why = Stopped::idle;
    run_ended(why == Stopped::idle);
    for (Host* host : joined_) host->run_ended(why == Stopped::idle);
    return why;
}

// Of each host, so that none keeps old news.
bool HostModel::take_news() {
    bool news = stack_.take_attention();
    for (Host* host : joined_) news = host->take_attention() || news;
    return news;
}

std::uint64_t HostModel::all_instructions() const {
    std::uint64_t sum = instructions();
    for (const Host* host : joined_) sum += host->instructions();
    return sum;
}

bool HostModel::only_the_end_is_left(sim::Time until) {
    end_timer_.disarm();
    const bool only = agenda_.next_event().is_never();
    if (!only) end_timer_.arm(until);
    return only;
}

void HostModel::update_statistics() {
    stack_.update_statistics();
    unsigned lp = 0;
    for (const auto& causes : processor_times()) {
        for (const auto& [cause, time] : causes) {
            scope_.counter(fmt::format("cpu.lp{}.{}", lp, cause), "ps", "processor time by its cause")
                .set(static_cast<std::uint64_t>(time.ps()));
        }
        ++lp;
    }
}

std::vector<std::map<std::string, sim::Time>> HostModel::processor_times() const {
    std::vector<std::map<std::string, sim::Time>> all(hypervisor_.logical_processors());
    for (std::uint32_t lp = 0; lp < all.size(); ++lp) {
        std::map<std::string, sim::Time>& causes = all[lp];
        const hypervisor::CpuLedger& ledger = hypervisor_.ledger(lp);
        for (const hypervisor::CpuLedger::Entry& entry : ledger.entries()) {
            causes[stack_.cause_name(entry.partition, entry.cause)] += entry.time;
        }
        const hypervisor::CpuLedger::Sums sums = ledger.sums(agenda_.now());
        causes["idle"] = sums.idle;
        sim::Time ahead = sums.end - agenda_.now();
        while (ahead > sim::Time::zero()) {
            const auto largest = std::ranges::max_element(
                causes, {}, [](const auto& cause) { return cause.first == "idle" ? sim::Time::zero() : cause.second; });
            const sim::Time less = std::min(ahead, largest->second);
            largest->second -= less;
            ahead -= less;
        }
    }
    return all;
}

}  // namespace

std::unique_ptr<slat::Explanation> Host::explain(const Guest&, std::uint32_t, std::uint64_t, mmu::Access) const {
    return nullptr;
}

std::unique_ptr<Host> Host::create(sim::Simulation& simulation, const HostConfig& config) {
    check_host(config);
    const Profile profile = find_profile(config.profile);
    return std::make_unique<HostModel>(simulation, config, profile);
}

}  // namespace models
