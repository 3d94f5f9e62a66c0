// Processor time for code that executes no instructions: the root's services and the drivers of behavioural guests.
// A task's work comes in pieces. A piece is taken from its queue, costs time, and only then has its effects, so that
// everything it does is at the time at which a processor would have done it.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "sim/ledger.h"
#include "sim/queue.h"
#include "sim/scope.h"
#include "sim/time.h"
#include "sim/working_set.h"

namespace sim {

class Task {
public:
    virtual ~Task() = default;
    // Takes the next piece of work and answers what it costs; nothing when there is none: the task sleeps until woken.
    virtual std::optional<Time> begin() = 0;
    // That time has passed: the effects of the piece. May wake any task, this one included.
    virtual void finish() = 0;
    // What the piece that begin() has just answered consists of, no more than it in all. Whoever counts processor time
    // asks; what is not said here is the processor's own cause for its tasks.
    virtual void account(Account& account) const { (void)account; }
    // What it will touch next that has no place of its own, as the next of a ring: it may be fetched (sim/prefetch.h).
    // And some time before, what says where that is.
    virtual void fetch_ahead() const {}
    virtual void fetch_places() const {}
};

// Where tasks run: each gets one piece in turn.
class Processor {
public:
    using TaskId = std::uint32_t;

    virtual ~Processor() = default;
    // Ids are given in the order of attachment, and not again, so that a machine that is built alike has the same ones.
    virtual TaskId attach(Task& task) = 0;
    virtual void detach(TaskId id) = 0;
    // It has work, or may have. Waking a task that is awake already changes nothing.
    virtual void wake(TaskId id) = 0;
    // What the task needs whenever it is awake; null: nobody fetches it.
    virtual WorkingSet* working_set(TaskId /*id*/) { return nullptr; }
    // What whoever wakes the task needs besides.
    virtual void add_needs(TaskId /*id*/, WorkingSet& /*set*/) const {}
    // It will have work soon: what it needs, part by part (sim::Foresight). And what must be here for that.
    virtual bool fetch_ahead(unsigned /*step*/) { return false; }
    virtual void add_own_needs(WorkingSet& /*set*/) const {}
};

// A task's place on a processor, held by the task's owner.
class TaskSlot {
public:
    TaskSlot(Processor& processor, Task& task) : processor_(&processor), id_(processor.attach(task)) {}
    ~TaskSlot() { processor_->detach(id_); }
    TaskSlot(const TaskSlot&) = delete;
    TaskSlot& operator=(const TaskSlot&) = delete;

    void wake() { processor_->wake(id_); }
    // What the task needs whenever it is awake (sim/working_set.h).
    void needs(const void* from, std::size_t bytes) const {
        if (WorkingSet* const set = processor_->working_set(id_)) set->add(from, bytes);
    }
    template <class T>
    void needs(const T& object) const {
        needs(&object, sizeof object);
    }
    template <class Container>
    void needs_elements(const Container& container, std::size_t count = 1) const {
        if (WorkingSet* const set = processor_->working_set(id_)) set->add_elements(container, count);
    }
    WorkingSet* working_set() const { return processor_->working_set(id_); }
    // For the set of somebody who will wake it.
    void add_needs(WorkingSet& set) const { processor_->add_needs(id_, set); }

private:
    Processor* processor_;
    Processor::TaskId id_;
};

// The tasks of one processor, in turn. Who owns the processor's time says when a piece begins and ends.
class TaskQueue : public Processor {
public:
    TaskId attach(Task& task) final;
    void detach(TaskId id) final;
    void wake(TaskId id) final;
    WorkingSet* working_set(TaskId id) final { return &needs_[id]; }
    void add_needs(TaskId id, WorkingSet& set) const final {
        set.add(tasks_[id]);
        set.add(needs_[id]);
    }
    // Sets of tasks, a bit each; those beyond have the last one together.
    using Tasks = std::uint64_t;
    // Those that were awake since it was asked the last time: they will mostly be those that wake next.
    Tasks take_awake() { return std::exchange(awake_, 0); }
    void fetch_needs(Tasks tasks) const {
        for_each(tasks, [this](std::size_t task) { needs_[task].fetch(); });
    }
    // What those need. From now on it is not fetched when they wake.
    void gather(Tasks tasks, GatheredSet& all) {
        gathered_ = tasks;
        for_each(tasks, [this, &all](std::size_t task) { all.add(needs_[task]); });
    }
    // The last of what is fetched ahead.
    void fetch_places(Tasks tasks) const {
        for_each(tasks, [this](std::size_t task) { tasks_[task]->fetch_places(); });
    }
    void fetch_next(Tasks tasks) const {
        for_each(tasks, [this](std::size_t task) { tasks_[task]->fetch_ahead(); });
    }

    // What the queue itself needs.
    void add_needs(WorkingSet& set) const {
        set.add_elements(tasks_, 4);
        set.add_elements(state_.awake, 4);
    }

    // Between begin() and finish().
    bool working() const { return state_.working; }

    template <class Archive>
    void fields(Archive& archive) {
        archive(state_);
    }

protected:
    // The cost of the next piece; nothing when all sleep.
    std::optional<Time> begin();
    // What the piece consists of that begin() has answered, as its task says.
    void account(Account& account) const {
        if (state_.working) tasks_[state_.awake.front()]->account(account);
    }
    // The piece that began has had its time. (Nothing happens if its task has gone meanwhile.)
    void finish();

private:
    // There is work, and there was none.
    virtual void work_arrived() = 0;

    struct State {
        Queue<TaskId> awake;  // the first is at work while `working`
        bool working = false;
        bool again = false;  // the one at work was woken meanwhile

        bool operator==(const State&) const = default;
        template <class Archive>
        void fields(Archive& archive) {
            archive(awake, working, again);
        }
    };

    static Tasks bit(std::size_t task) { return Tasks{1} << std::min<std::size_t>(task, 63); }
    template <class Call>
    void for_each(Tasks tasks, Call&& call) const {
        for (std::size_t task = 0; task < tasks_.size(); ++task) {
            if (tasks_[task] != nullptr && (tasks & bit(task)) != 0) call(task);
        }
    }

    std::vector<Task*> tasks_;
    State state_;
    // Nothing here decides what is simulated.
    Tasks awake_ = 0;  // since take_awake()
    Tasks gathered_ = 0;
    std::vector<WorkingSet> needs_;  // of each
};

// A processor that does nothing else: pieces run one after the other.
class SerialProcessor final : public TaskQueue {
public:
    // `dispatch`: from the wake-up of an idle processor to its first piece.
    SerialProcessor(const Scope& scope, Time dispatch);

    template <class Archive>
    void fields(Archive& archive) {
        TaskQueue::fields(archive);
        archive(timer_);
    }

private:
    void work_arrived() override;
    void expired();

    Time dispatch_;
    Timer timer_;
    Counter& busy_;
    Counter& pieces_;
    StateRegistration registration_;
};

}  // namespace sim
