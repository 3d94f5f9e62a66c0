// A root's processor as the services of one partition see it: their turns can be held, as when the partition is to
// move. A piece of work that has begun ends; no other begins until they may go on.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "sim/processor.h"

namespace models {

class PausableProcessor final : public sim::Processor {
public:
    explicit PausableProcessor(sim::Processor& below) : below_(below) {}
    PausableProcessor(const PausableProcessor&) = delete;

    void hold() { held_ = true; }
    void go_on() {
        held_ = false;
        for (const auto& turn : turns_) {
            if (turn) below_.wake(turn->id);
        }
    }
    // None of them is in the middle of a piece.
    bool at_rest() const {
        return std::ranges::none_of(at_work_, [](std::uint8_t at_work) { return at_work != 0; });
    }

    // sim::Processor
    TaskId attach(sim::Task& task) override {
        const auto own = static_cast<TaskId>(turns_.size());
        turns_.push_back(std::make_unique<Turn>(*this, task, own));
        turns_.back()->id = below_.attach(*turns_.back());
        if (at_work_.size() < turns_.size()) at_work_.resize(turns_.size());
        return own;
    }
    void detach(TaskId id) override {
        below_.detach(turns_[id]->id);
        turns_[id].reset();
        at_work_[id] = 0;
    }
    void wake(TaskId id) override { below_.wake(turns_[id]->id); }

    // Tasks may come back later than this does.
    template <class Archive>
    void fields(Archive& archive) {
        archive(held_, at_work_);
        if (at_work_.size() < turns_.size()) at_work_.resize(turns_.size());
    }

private:
    struct Turn final : sim::Task {
        Turn(PausableProcessor& p, sim::Task& t, TaskId o) : processor(p), task(t), own(o) {}
        std::optional<sim::Time> begin() override {
            if (processor.held_) return std::nullopt;
            const auto cost = task.begin();
            processor.at_work_[own] = cost.has_value() ? 1 : 0;
            return cost;
        }
        void finish() override {
            processor.at_work_[own] = 0;
            task.finish();
        }
        void account(sim::Account& account) const override { task.account(account); }

        PausableProcessor& processor;
        sim::Task& task;
        TaskId own;     // here
        TaskId id = 0;  // below
    };

    sim::Processor& below_;
    std::vector<std::unique_ptr<Turn>> turns_;
    std::vector<std::uint8_t> at_work_;  // by task: in the middle of a piece
    bool held_ = false;
};

}  // namespace models
