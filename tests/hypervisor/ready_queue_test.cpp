// The scheduler's order against a look at every virtual processor, on random histories.
#include "hypervisor/ready_queue.h"

#include <doctest/doctest.h>

#include <array>
#include <vector>

#include "hypervisor/scheduler.h"
#include "sim/random.h"

namespace ready_queue_test {

using hypervisor::Scheduler;
using hypervisor::VpPolicy;
using hypervisor::VpRef;
using sim::Time;

namespace {

VpPolicy random_policy(sim::Random& random, std::uint32_t lps) {
    VpPolicy policy;
    policy.weight = random.below(3) == 0 ? static_cast<std::uint32_t>(random.between(1, 10'000)) : 100;
    if (random.below(3) == 0) policy.cap = static_cast<std::uint32_t>(random.between(1, hypervisor::full_share));
    if (random.below(4) == 0) {
        policy.reserve = static_cast<std::uint32_t>(random.below(hypervisor::full_share / 16));
        if (policy.cap != 0 && policy.cap < policy.reserve) policy.cap = policy.reserve;
    }
    if (random.below(2) == 0) policy.affinity = 1 + random.below((std::uint64_t{1} << lps) - 1);
    return policy;
}

}  // namespace

TEST_CASE("ready queue: every answer is that of a look at all, whatever has happened") {
    for (std::uint64_t seed = 1; seed <= 20; ++seed) {
        sim::Random random{seed};
        const auto lps = static_cast<std::uint32_t>(random.between(1, 6));
        Scheduler scheduler{lps};
        std::vector<VpRef> refs;
        std::array<Time, 6> local{};
        bool good = true;
        for (unsigned step = 0; step < 600 && good; ++step) {
            const auto lp = static_cast<std::uint32_t>(random.below(lps));
            // Processors are at different times, and now and then one has been idle for periods.
            Time& now = local[lp];
            now += Time::us(static_cast<std::int64_t>(random.below(random.below(20) == 0 ? 400'000 : 3'000)));
            const bool some = !refs.empty();
            const VpRef ref = some ? refs[random.below(refs.size())] : VpRef{};
            switch (some ? random.below(8) : 0) {
                case 0: {
                    const VpRef fresh{random.between(2, 5), static_cast<std::uint32_t>(random.below(20))};
                    if (scheduler.add(fresh, random_policy(random, lps))) refs.push_back(fresh);
                    break;
                }
                case 1:
                case 2:
                case 3:
                    scheduler.wake(ref, now);
                    break;
                case 4:
                    (void)scheduler.set_policy(ref, random_policy(random, lps));
                    break;
                case 5:
                    if (random.below(10) == 0) {
                        scheduler.remove(ref);
                        std::erase(refs, ref);
                    } else {
                        scheduler.block(ref);
                    }
                    break;
                default:
                    if (const auto runs = scheduler.next(lp, now)) {
                        const Time duration = Time::us(static_cast<std::int64_t>(random.below(9'000)));
                        scheduler.ran(*runs, now, duration);
                        now += duration;
                    }
                    break;
            }
            good = scheduler.consistent(local[random.below(lps)]);
        }
        CAPTURE(seed);
        CHECK(good);
    }
}

}  // namespace ready_queue_test
