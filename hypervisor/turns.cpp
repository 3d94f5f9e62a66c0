// The turns of the logical processors: who runs, for how long, and what the time was for.
#include <algorithm>
#include <utility>

#include "hypervisor/hypervisor.h"
#include "sim/bits.h"
#include "sim/check.h"

namespace hypervisor {

namespace {

// The ledger's share of a turn, and how much of it has a cause already.
class Parts final : public sim::Account {
public:
    explicit Parts(CpuLedger& ledger) : ledger_(ledger) {}
    void add(sim::Cause cause, sim::Time time) override {
        ledger_.add(cause, time);
        sum_ += time;
    }
    void rest(sim::Cause cause) override { rest_ = cause; }
    sim::Time sum() const { return sum_; }
    // All of it is so much.
    void close(sim::Time whole) {
        VG_CHECK(whole >= sum_, "the parts of a piece are more than the piece");
        ledger_.add(rest_, whole - sum_);
    }

private:
    CpuLedger& ledger_;
    sim::Time sum_;
    sim::Cause rest_ = "work";
};

constexpr sim::Cause guest_cause = "instructions";

// Of work, at so much more for each microsecond.
sim::Time longer(sim::Time work, sim::Time per_microsecond) {
    const auto ps = static_cast<sim::u128>(work.ps()) * static_cast<sim::u128>(per_microsecond.ps());
    return sim::Time::ps(static_cast<std::int64_t>(ps / static_cast<sim::u128>(sim::Time::us(1).ps())));
}

}  // namespace

// One turn of a logical processor, as an event at its own time.
void Hypervisor::run_slice(std::uint32_t lp) {
    LogicalCpu& cpu = *lps_[lp];
    const sim::Time start = cpu.time = std::max(scope_.now(), cpu.time);
    acting_ = lp;
    note_waking(cpu);
    take_turn(lp, start);
    acting_.reset();
}

void Hypervisor::take_turn(std::uint32_t lp, sim::Time start) {
    LogicalCpu& cpu = *lps_[lp];
    if (const auto done = std::exchange(cpu.piece, std::nullopt)) finish_piece(*done);
    const auto chosen = scheduler_.next(lp, cpu.time);
    kick_idle();
    if (!chosen) {
        await_release();
        cpu.idle_since = start;  // anew, if it was called in vain: it has been awake
        note_waking(cpu);
        return;
    }
    cpu.idle_since.reset();
    note_waking(cpu);
    if (vp_table_.find(*chosen) != nullptr) {
        run_instructions(cpu, *chosen);
    } else {
        run_piece(cpu, *chosen);
    }
    scope_.trace("turn", lp, chosen->partition, chosen->vp, start.ps(), (cpu.time - start).ps());
}

void Hypervisor::run_instructions(LogicalCpu& cpu, VpRef ref) {
    const sim::Agenda& agenda = scope_.agenda();
    VirtualProcessor& processor = vp(ref);
    const sim::Time start = cpu.time;
    cpu.ledger.begin(ref.partition, start);
    Parts parts{cpu.ledger};
    const sim::Time change = switch_to(cpu, ref);
    parts.add(switch_cause, change);
    sim::Time now = start + change;
    // In lock-step, too, it comes a block further.
    const sim::Time quantum = std::max(config_.quantum, sim::Time::ps(1));
    const sim::Time limit =
        std::min({agenda.next_deadline(), start + quantum, start + scheduler_.time_slice_left(ref, start)});
    const std::uint64_t before = engine_.instructions();
    processor.run(cpu.processor, now, limit, parts);
    processor.add_instructions(engine_.instructions() - before);
    if (cpu::MemoryTiming* const timing = cpu.processor.timing()) {
        timing->publish();  // and it has counted each access to another node
    } else if (const sim::Time remote = remote_work(cpu, ref.partition); remote != sim::Time::zero()) {
        const sim::Time more = longer(now - start - parts.sum(), remote);
        parts.add(remote_memory_cause, more);
        now += more;
    }
    cpu.time = now;
    parts.rest(guest_cause);
    parts.close(now - start);
    processor.add_run_time(now - start);
    used(cpu, ref, start);
    if (!processor.can_run()) scheduler_.block(ref);
}

// A piece of work is not divided: it ends as an event of its own, whatever the quantum is.
void Hypervisor::run_piece(LogicalCpu& cpu, VpRef ref) {
    const sim::Time start = cpu.time;
    cpu.ledger.begin(ref.partition, start);
    Parts parts{cpu.ledger};
    const std::optional<sim::Time> cost =
        ref.partition == root_partition ? roots_[ref.vp]->begin(parts) : behavioural_table_.find(ref)->begin(parts);
    if (cost) {
        parts.close(*cost);
        const sim::Time change = switch_to(cpu, ref);
        cpu.ledger.add(switch_cause, change);
        cpu.time += change + *cost;
        const sim::Time remote = remote_work(cpu, ref.partition);
        BehaviouralProcessor* const guest =
            remote != sim::Time::zero() && ref.partition != root_partition ? behavioural_table_.find(ref) : nullptr;
        if (guest != nullptr && guest->in_software()) {
            const sim::Time more = longer(*cost, remote);
            guest->add_wait(more);
            cpu.ledger.add(remote_memory_cause, more);
            cpu.time += more;
        }
        cpu.piece = ref;
    } else {
        scheduler_.block(ref);
    }
    used(cpu, ref, start);
}

void Hypervisor::finish_piece(VpRef ref) {
    if (ref.partition == root_partition) return roots_[ref.vp]->finish();
    behavioural_table_.find(ref)->finish();
}

// By how much a microsecond of its work is longer here, for the memory that is another node's.
sim::Time Hypervisor::remote_work(const LogicalCpu& cpu, PartitionId partition) const {
    if (remote_work_.empty()) return sim::Time::zero();
    const auto found = remote_work_.find(partition);
    return found != remote_work_.end() ? found->second[node_of(cpu.index)] : sim::Time::zero();
}

void Hypervisor::set_remote_work(PartitionId partition, std::vector<sim::Time> by_node) {
    VG_CHECK(by_node.size() == config_.nodes);
    remote_work_[partition] = std::move(by_node);
}

// What it costs that another one runs here now.
sim::Time Hypervisor::switch_to(LogicalCpu& cpu, VpRef ref) {
    if (cpu.last == ref) return sim::Time::zero();
    ++cpu.switches;
    const bool first = !cpu.last;
    cpu.last = ref;
    return first ? sim::Time::zero() : config_.exit_costs.context_switch;
}

// The turn is over; the next one begins where it ended.
void Hypervisor::used(LogicalCpu& cpu, VpRef ref, sim::Time start) {
    cpu.busy_ps.add(static_cast<std::uint64_t>((cpu.time - start).ps()));
    scheduler_.ran(ref, start, cpu.time - start);
    cpu.slice.arm(cpu.time);
}

// Something is there for this processor: its turn comes at the present time, or at its own if it is ahead. One that
// idles has to wake up, and another processor has to send it an interrupt for that.
void Hypervisor::kick(std::uint32_t lp) {
    LogicalCpu& cpu = *lps_[lp];
    sim::Time at = std::max(scope_.now(), cpu.time);
    if (cpu.idle_since) {
        at += config_.exit_costs.wake_up(at - *cpu.idle_since);
        if (acting_ && *acting_ != lp) at += config_.exit_costs.ipi_latency;
    }
    if (!cpu.slice.armed() || cpu.slice.deadline() > at) cpu.slice.arm(at);
    note_waking(cpu);
}

// Whenever it begins or ends to idle, or to be called.
void Hypervisor::note_waking(const LogicalCpu& cpu) {
    waking_ = sim::with_bit(waking_, cpu.index, cpu.idle_since && cpu.slice.armed());
}

void Hypervisor::kick_idle() {
    if (scheduler_.nobody_waits()) return;
    if (const auto lp = scheduler_.idle_lp_with_work(scope_.now())) kick(*lp);
    scheduler_.make_room(scope_.now(), waking_);
}

// Its cap lets one go at a time at which perhaps no processor has a turn.
void Hypervisor::await_release() {
    const sim::Time release = scheduler_.next_release(scope_.now());
    if (!release.is_never()) release_.arm(release);
}

void Hypervisor::release() {
    kick_idle();
    await_release();
}

void Hypervisor::wake(VpRef ref) {
    if (!scheduler_.contains(ref)) return;
    const WakeDecision decision = scheduler_.wake(ref, scope_.now(), waking_);
    if (decision.lp != WakeDecision::nowhere) {
        lps_[decision.lp]->ledger.expect(ref.partition);
        kick(decision.lp);
    }
    if (decision.held) await_release();
}

void Hypervisor::wake(VirtualProcessor& processor) {
    wake(processor.ref());
}

void Hypervisor::yield(VirtualProcessor& processor) {
    scheduler_.yield(processor.ref());
}

void Hypervisor::intercept(VirtualProcessor&, const HvMessage& message) {
    root_.intercept(message);
}

}  // namespace hypervisor
