// What a processor's time went to: one sum for each cause, such as "root.network" or "hypervisor.exit.hypercall".
// Together they are all the time that it was at work; the rest of a window is idle.
#pragma once

#include <map>
#include <string_view>

#include "sim/time.h"

namespace sim {

// A name that lives as long as the program: a literal.
using Cause = const char*;

// Parts of one piece of work, by cause.
class Account {
public:
    virtual void add(Cause cause, Time time) = 0;
    // What is left of the piece when all has been added is this.
    virtual void rest(Cause cause) { (void)cause; }

protected:
    ~Account() = default;
};

class Ledger final : public Account {
public:
    void add(Cause cause, Time time) override { sums_[cause] = sums_[cause] + time; }
    // By name, in the order of names.
    const std::map<std::string_view, Time>& sums() const { return sums_; }
    Time total() const {
        Time sum;
        for (const auto& [cause, time] : sums_) sum = sum + time;
        return sum;
    }

private:
    std::map<std::string_view, Time> sums_;
};

}  // namespace sim
