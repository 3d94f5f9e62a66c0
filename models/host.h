// The host as a scenario sees it: processors, memory, the hypervisor, and partitions with their guests. It puts the
// rooms together and runs them under SystemC; everything a guest is given goes through the root's hypercalls.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "models/numa.h"
#include "sim/simulation.h"
#include "sim/time.h"

namespace mmu {
enum class Access : std::uint8_t;
}
namespace slat {
struct Explanation;
}

namespace models {

enum class Fidelity : std::uint8_t {
    fast,   // time by instruction class
    timed,  // also every access through the TLB and cache models
};

struct HostConfig {
    // Of several in one simulated world each has its own: it begins the names of all that belongs to the host.
    std::string name;
    unsigned cores = 1;
    std::uint64_t memory_bytes = std::uint64_t{1} << 30;
    unsigned nodes = 1;  // NUMA; equal shares of both
    std::string profile = "sandy-bridge-ep";
    Fidelity fidelity = Fidelity::fast;
    // How far a processor may run ahead of the others; 0 is lock-step.
    sim::Time quantum = sim::Time::us(100);

    NumaNodes numa() const { return {nodes, cores, memory_bytes}; }
};

// What a partition boots. File contents, not paths: reading them is the caller's.
struct GuestImage {
    enum class Kind : std::uint8_t { bzimage, elf };  // elf: PVH note or multiboot header, whichever it has
    Kind kind = Kind::bzimage;
    std::vector<std::byte> kernel;
    std::vector<std::vector<std::byte>> initramfs;  // archives, concatenated in order
    std::string command_line;
};

struct PartitionConfig {
    std::string name;
    unsigned generation = 2;  // 1: PIIX4 chipset, PCI, BIOS; 2: ACPI hardware-reduced, UEFI
    unsigned vps = 1;
    std::uint64_t memory_bytes = std::uint64_t{256} << 20;
    GuestImage guest;
    bool behavioural = false;  // no image: its processors execute no instructions, its guest is C++
    // Scheduling: weight 1..10000; reserve and cap in 1/1000 percent of one processor each VP, 0 and 100000 mean none.
    std::uint32_t weight = 100;
    std::uint32_t reserve = 0;
    std::uint32_t cap = 100000;
    std::uint64_t affinity = ~std::uint64_t{0};  // bit n: logical processor n
    // On a host with several nodes: all memory is of this one, and so are the processors, if `affinity` names all.
    // Nothing: of the processors' node; if they are of several, of the node with most free memory that has room for the
    // partition; else memory spans the nodes.
    std::optional<unsigned> node;
    bool spans_nodes = false;                // memory in equal parts of all nodes
    bool screen = false;                     // a synthetic video device, 1024 by 768 at first
    std::uint64_t rtc_epoch_s = 1767225600;  // what the guest's clock shows at time 0: 2026-01-01 00:00:00 UTC
};

enum class GuestState : std::uint8_t {
    running,
    powered_off,  // by ACPI
    reset,        // asked for one
    crashed,      // the guest reported a crash through the Hyper-V crash registers
    triple_fault,
    debug_exit,      // wrote to the debug-exit port
    halted_forever,  // all processors wait and nothing can wake them
};

class BehaviouralGuest;
class Generation1Partition;
class Host;
class HostNetworks;
class HostPci;
class MovablePartition;
class PartitionPci;
class SyntheticDevices;

// One partition with its devices.
class Guest {
public:
    virtual ~Guest() = default;
    virtual const std::string& name() const = 0;
    virtual std::uint64_t number() const = 0;  // the hypervisor's
    virtual GuestState state() const = 0;
    virtual std::uint32_t exit_code() const = 0;             // debug_exit: the value written
    virtual const std::string& crash_message() const = 0;    // crashed: what the guest said
    virtual const std::string& console() const = 0;          // all output so far
    virtual void type(std::string_view text) = 0;            // console input
    virtual std::uint64_t instructions() const = 0;          // retired, all virtual processors
    virtual SyntheticDevices& devices() = 0;                 // on its VMBus
    virtual Generation1Partition* generation1() = 0;         // nothing if it is of Generation 2
    virtual PartitionPci& pci() = 0;                         // functions that are assigned to it
    virtual BehaviouralGuest* behavioural() = 0;             // nothing if it executes instructions
    virtual MovablePartition* movable() { return nullptr; }  // an end of a live migration
};

class Host {
public:
    // Wrong numbers are a sim::UserError: one line, what and how to mend it.
    static std::unique_ptr<Host> create(sim::Simulation& simulation, const HostConfig& config);
    virtual ~Host() = default;

    virtual HostNetworks& networks() = 0;
    virtual HostPci& pci() = 0;
    // The guest starts at the present simulated time.
    virtual Guest& add_partition(const PartitionConfig& config) = 0;
    // One that waits for its guest from another host (migration/live_migration.h); nothing: such a host has none.
    virtual Guest* prepare_partition(const PartitionConfig& config) {
        (void)config;
        return nullptr;
    }

    // Why run() came back.
    enum class Stopped : std::uint8_t {
        time,         // `until` is reached
        condition,    // `wake` said so
        idle,         // nothing is left to happen
        interrupted,  // interrupt() was called
    };
    // Runs until a time, or until `wake` answers true. It is asked after each console line, state change and
    // `wake_time` (never() for none); it must not depend on anything outside the simulated world.
    virtual Stopped run(sim::Time until, const std::function<bool()>& wake, sim::Time wake_time) = 0;
    // Another host of the same simulated world: run() of this one minds both. The other one is never run itself.
    virtual void join(Host& other) { (void)other; }
    // For the host that it has joined: whether something here is news, and that a run has ended.
    [[nodiscard]] virtual bool take_attention() { return false; }
    virtual void run_ended(bool idle) { (void)idle; }
    // Partitions and devices go, while all hosts are still there. The end of the world.
    virtual void release() {}
    // From a signal handler or another thread: run() returns at the next safe point.
    virtual void interrupt() = 0;
    // Called now and then during run() with the simulated time and instructions retired, for a progress display.
    virtual void set_progress(std::function<void(sim::Time, std::uint64_t)> progress) = 0;

    virtual sim::Time now() const = 0;
    virtual std::uint64_t instructions() const = 0;
    virtual const HostConfig& config() const = 0;
    // What each logical processor's time until now went to: cause -> time, which add up to now() exactly, "idle"
    // included. A piece of work that has begun counts from its beginning; what it has ahead is taken off the
    // processor's largest cause.
    virtual std::vector<std::map<std::string, sim::Time>> processor_times() const { return {}; }
    // How a guest's processor, as it is now, would get from a linear address to one of the host's: of
    // slat/two_dimensional.h. Nothing changes. Null: there is no such processor, or it executes no instructions.
    virtual std::unique_ptr<slat::Explanation> explain(const Guest& guest, std::uint32_t vp, std::uint64_t linear,
                                                       mmu::Access access) const;
};

}  // namespace models
