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
        Turn& turn = *turns_.emplace_back(std::make_unique<Turn>(*this, task, own));
        turn.id = below_.attach(turn);
        if (at_work_.size() < turns_.size()) at_work_.resize(turns_.size());
        return turn.id;
    }
    void detach(TaskId id) override {
        below_.detach(id);
        std::unique_ptr<Turn>& turn = *std::ranges::find_if(turns_, [id](const auto& t) { return t && t->id == id; });
        at_work_[turn->own] = 0;
        turn.reset();
    }
    void wake(TaskId id) override { below_.wake(id); }
    void add_needs(TaskId id, sim::WorkingSet& set) const override {
        below_.add_needs(id, set);
        set.add(*this);
        for (const auto& turn : turns_) {
            if (!turn || turn->id != id) continue;
            set.add(*turn);
            set.add(at_work_[turn->own]);
        }
    }

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
        TaskId own;     // among those here
        TaskId id = 0;  // below, and for the task
    };

    sim::Processor& below_;
    std::vector<std::unique_ptr<Turn>> turns_;
    std::vector<std::uint8_t> at_work_;  // by task: in the middle of a piece
    bool held_ = false;
};

}  // namespace models
