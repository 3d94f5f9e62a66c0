// Statistics: named counts with a unit and a description. Integers only; ratios are the reader's.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <string>
#include <string_view>

namespace sim {

class Counter {
public:
    void add(std::uint64_t n) { value_ += n; }
    Counter& operator++() {
        ++value_;
        return *this;
    }
    void set(std::uint64_t n) { value_ = n; }
    std::uint64_t value() const { return value_; }

    template <class Archive>
    void fields(Archive& archive) {
        archive(value_);
    }

private:
    std::uint64_t value_ = 0;
};

struct Statistic {
    std::string unit;
    std::string description;
    Counter& counter;

    template <class Archive>
    void fields(Archive& archive) {
        archive(unit, description, counter);
    }
};

class Statistics {
public:
    // The counter of that full name ("host.partition.web.exits"), made on first use. It lives as long as this object.
    Counter& counter(std::string_view name, std::string_view unit, std::string_view description) {
        auto place = all_.find(name);
        if (place == all_.end()) {
            Counter& counter = counters_.emplace_back();
            place = all_.emplace(name, Statistic{std::string{unit}, std::string{description}, counter}).first;
        }
        return place->second.counter;
    }
    const std::map<std::string, Statistic, std::less<>>& all() const { return all_; }

    template <class Archive>
    void fields(Archive& archive) {
        // In place: components hold references to their counters.
        std::uint64_t count = all_.size();
        archive(count);
        auto place = all_.begin();
        for (std::uint64_t i = 0; i < count; ++i) {
            std::string name = Archive::reading ? std::string{} : (place++)->first;
            archive(name);
            (void)counter(name, {}, {});
            archive(all_.find(name)->second);
        }
    }

private:
    // A component makes its own together: they lie in few of the simulating computer's cache lines.
    std::deque<Counter> counters_;
    std::map<std::string, Statistic, std::less<>> all_;
};

}  // namespace sim
