// A host with many behavioural partitions that share a fixed amount of traffic: what `bench scale` measures. Partitions
// ask servers beyond the adapters' wires. The same programs run in however many partitions there are: each has a
// connection of its own and asks at its own pace, so that what is on the wires is the same, frame by frame. Each 63
// partitions have an adapter, a switch and a broadcast domain of their own, whatever the path.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>

#include "sim/time.h"

namespace models {

// Of all programs together, evenly spaced, whatever the number of partitions:
enum class ScaleTraffic : std::uint8_t {
    pages,     // requests of 64 bytes over TCP, answers of 64 KiB
    uploads,   // requests of 64 KiB over TCP, segmented by the adapter; answers of 64 bytes
    requests,  // 64 bytes there and 64 back, by UDP: the most partitions for the fewest frames
};
std::string_view name_of(ScaleTraffic traffic);

enum class ScalePath : std::uint8_t { emulated, synthetic, vf };
std::string_view name_of(ScalePath path);

struct ScaleSettings {
    ScalePath path = ScalePath::synthetic;
    unsigned partitions = 1;
    // Of the host; 0: as much as the partitions need.
    std::uint64_t memory_bytes = 0;
    std::uint64_t partition_bytes = std::uint64_t{64} << 20;
    unsigned first_vps = 1;  // virtual processors of the first partition, whose stack uses all of them
    unsigned cores = 32;
    ScaleTraffic traffic = ScaleTraffic::pages;
    // As many in each partition, or one more; each partition has one at least.
    unsigned programs = 1024;
    std::uint64_t requests_per_second = 2'000;  // of all programs
};

class ScaleHost final {
public:
    explicit ScaleHost(const ScaleSettings& settings);
    ~ScaleHost();
    ScaleHost(const ScaleHost&) = delete;

    // All adapters are up, on their path; then program after program begins to ask. Throws sim::UserError if an adapter
    // does not come up.
    void start();
    // Instead of asking: the first `senders` partitions send frames of 64 bytes, as fast as they can.
    void start_flood(unsigned senders);
    void run_for(sim::Time time);

    struct Counts {
        std::uint64_t events = 0;
        std::uint64_t requests = 0;  // answered
        std::uint64_t failures = 0;
        std::uint64_t frames = 0;        // of floods, that have come all the way
        unsigned partitions_served = 0;  // that had an answer
    };
    Counts counts() const;
    sim::Time now() const;
    unsigned adapters() const;
    unsigned functions_in_use() const;

private:
    struct Machine;
    std::unique_ptr<Machine> machine_;
};

}  // namespace models
