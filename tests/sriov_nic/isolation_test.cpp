// A hostile VF and its neighbour: whatever a driver does with its function, no byte of another partition's memory is
// read or written, the neighbour's frames go and come unharmed within the share that the adapter was configured for,
// and the simulator goes on. VERDIGRIS_HOSTILE_ACTIONS=10000000 makes the run as long as one likes.
#include <doctest/doctest.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <numeric>

#include "sim/random.h"
#include "tests/fuzz/nic_inputs.h"
#include "tests/sriov_nic/share_bounds.h"

namespace isolation_test {

namespace {

using namespace nic_test;
using sim::Time;

struct RandomInput {
    template <class T>
    T take() {
        return static_cast<T>(random.next_u64());
    }
    std::uint8_t byte() {
        if (left == 0) {
            bytes = random.next_u64();
            left = 8;
        }
        --left;
        const auto b = static_cast<std::uint8_t>(bytes);
        bytes >>= 8;
        return b;
    }
    bool flag() { return (byte() & 1) != 0; }
    sim::Random random;
    std::uint64_t bytes = 0;
    unsigned left = 0;
};

// The honest one: by turns it keeps its ring full and sends single frames, while its peer sends to it all the time.
struct Honest final : WatchedWire::Listener {
    Honest(GuardedMachine& m, const Share& s, bool by_bytes) : machine(m), share(s), weighted(by_bytes) {
        machine.wire.listener = this;
    }

    // While the honest one always has a long frame ready, each other has a turn between two of its own. A turn is a
    // frame; by bytes it is the share, and what a last frame goes beyond it is paid by later turns: so over any time a
    // frame at most is beyond the shares. (Once the honest one's frames have filled the buffer: before, it often lacks
    // descriptors at its turn, and seldom later, for as long as a fetch waits behind others' reads.)
    static constexpr std::uint64_t until_full = 320, share_bytes = 32 * 64, longest_frame = 15'868, full_frame = 1514,
                                   turns_missed = 8;
    void count_turns() {
        if (full_bytes != full_frame || ++in_row < until_full) return;
        if (in_row == until_full) {
            others = {};
            return;
        }
        const std::uint64_t n = in_row - until_full;
        std::uint64_t turns = weighted ? (n + 1) * full_frame / share_bytes + 2 : n + 1;
        turns += turns_missed;
        for (const Other& other : others) {
            const std::uint64_t used = weighted ? other.bytes : other.frames;
            const std::uint64_t most = weighted ? turns * share_bytes + longest_frame : turns;
            VG_CHECK(used <= most);
            if (n >= 64) closest = std::max(closest, used * 100 / most);
        }
    }
    void other_sent(MacKey source, std::size_t bytes) override {
        for (unsigned vf = 1; vf <= others.size(); ++vf) {
            if (source != GuardedMachine::mac_of_vf(vf)) continue;
            ++others[vf - 1].frames;
            // As they were in the sender's memory, at least: without a tag and without what fills a short one up.
            others[vf - 1].bytes += bytes <= 64 ? 14 : bytes - 4;
        }
    }

    void sent(std::uint64_t sequence, Time start) override {
        if (full_ring) {
            count_turns();
            const Work::Point point = work_done.now();
            if (busy) {
                const Time gap = start - last_start;
                const Time most = work_done.between(last_point, point, full_bytes);
                VG_CHECK(gap <= most);
                worst_gap = std::max(worst_gap, gap);
                if (gap >= long_gap) explained = std::max(explained, gap.ps() * 100 / most.ps());
            }
            busy = true;
            last_point = point;
            ++sent_full;
        } else if (sequence == single) {
            worst_delay = std::max(worst_delay, start - asked);
            single = ~std::uint64_t{0};
            ++singles;
        }
        last_start = start;
    }
    void work() {
        (void)machine.good->reclaim();
        if (++step % 8192 == 0) turn();
        if (full_ring) {
            bool any = false;
            for (; machine.good->in_ring() + 2 < machine.settings.ring; ++next, any = true) send(full_bytes);
            if (any) machine.good->notify();
        } else if (machine.wire.good_frames == next) {
            single = next++;
            send_one(single, single % 3 == 0 ? 1514 : 60);
            asked = machine.now();
            machine.good->notify();
        }
        receive();
        if (machine.now() >= peer_free) {
            WatchedWire::fill(buffer, GuardedMachine::mac_of_vf(GuardedMachine::honest), GuardedMachine::peer,
                              peer_sent % 5 == 0 ? 1514 : 200, peer_sent);
            machine.controller().received(buffer);
            arrivals.push_back({peer_sent++, machine.now(), rx_frames(), rx_octets()});
            peer_free = machine.now() + peer_interval;
        }
        if (step % 32 == 0) machine.registers[GuardedMachine::honest]->write_register(vf_reg::eims, 3);
    }
    void turn() {
        full_ring = !full_ring;
        if (full_ring) full_bytes = full_bytes == 60 ? full_frame : 60;
        busy = false;
        in_row = 0;
        single = ~std::uint64_t{0};
    }
    void send(std::size_t bytes) { send_one(next, bytes); }
    void send_one(std::uint64_t sequence, std::size_t bytes) {
        WatchedWire::fill(buffer, GuardedMachine::peer, GuardedMachine::mac_of_vf(GuardedMachine::honest), bytes,
                          sequence);
        VG_CHECK(machine.good->send(buffer));
    }
    // Its peer's frames in order, and what others may send to everybody; nothing of VLAN 100.
    void receive() {
        for (;;) {
            const QueueDriver::Received got = machine.good->receive();
            if (got.bytes.empty()) return;
            const MacKey source = load_mac(&got.bytes[6]);
            if (source == GuardedMachine::peer) {
                const std::uint64_t sequence = WatchedWire::sequence_of(got.bytes);
                for (; !arrivals.empty() && arrivals.front().sequence != sequence; ++lost) arrivals.pop_front();
                VG_CHECK(!arrivals.empty());
                const Arrival& it = arrivals.front();
                const Time waited = machine.now() - it.at;
                VG_CHECK(waited <= share.received(rx_frames() - it.frames, rx_octets() - it.octets) + longest_step);
                worst_receive = std::max(worst_receive, waited);
                arrivals.pop_front();
                ++received;
            } else {
                VG_CHECK(source != GuardedMachine::mac_of_vf(GuardedMachine::honest));
                VG_CHECK(source != GuardedMachine::mac_of_vf(1));
                ++foreign;
            }
            machine.good->release();
        }
    }
    // Frames that have left the receive buffer, of all pools.
    std::uint64_t rx_frames() const {
        const Statistics& s = machine.controller().statistics();
        return std::accumulate(s.queue_received.begin(), s.queue_received.end(), std::uint64_t{0}) +
               std::accumulate(s.queue_dropped.begin(), s.queue_dropped.end(), std::uint64_t{0});
    }
    std::uint64_t rx_octets() const {
        const Statistics& s = machine.controller().statistics();
        return std::accumulate(s.queue_received_octets.begin(), s.queue_received_octets.end(), std::uint64_t{0});
    }
    struct Arrival {
        std::uint64_t sequence;
        Time at;
        std::uint64_t frames, octets;
    };
    static constexpr Time longest_step = Time::ns(512);
    struct Other {
        std::uint64_t frames = 0, bytes = 0;
    };
    GuardedMachine& machine;
    const Share& share;
    bool weighted;
    std::array<Other, 3> others{};
    std::uint64_t in_row = 0, closest = 0;  // percent of what the arbitration allows
    std::vector<std::byte> buffer;
    std::deque<Arrival> arrivals;
    bool full_ring = true, busy = false;
    std::size_t full_bytes = 60;
    std::uint64_t step = 0, next = 0, single = ~std::uint64_t{0}, sent_full = 0, singles = 0;
    std::uint64_t peer_sent = 0, received = 0, lost = 0, foreign = 0;
    Work work_done{machine};
    Work::Point last_point;
    static constexpr Time long_gap = Time::us(15);
    std::int64_t explained = 0;  // of long gaps, at most so many percent of what there was to do
    Time asked, last_start, worst_gap, worst_delay, worst_receive, peer_free;
    Time peer_interval = Time::us(2);
};

struct Row {
    const char* why;
    VfKind kind;
    bool weighted;
    std::uint32_t hostile_mbps;
};

unsigned long long as_printed(std::uint64_t value) {
    return value;
}

void attack(const Row& row, std::uint64_t seed, std::uint64_t actions, bool report) {
    GuardedSettings settings;
    settings.kind = row.kind;
    settings.physical.weighted = row.weighted;
    settings.hostile_mbps = row.hostile_mbps;
    GuardedMachine machine{settings};
    const Share share{machine, row.weighted};
    Honest honest{machine, share, row.weighted};
    RandomInput in{sim::Random{seed, "hostile"}};
    std::vector<fuzz::HostileVf<RandomInput>> hostile;
    for (unsigned vf = 1; vf < settings.vfs; ++vf) hostile.emplace_back(machine, vf);
    const auto begin = std::chrono::steady_clock::now();
    const Time since = machine.now();
    for (std::uint64_t i = 0; i < actions; ++i) {
        hostile[in.byte() % hostile.size()].act(in);
        if (i % 64 == 0) machine.driver.interrupt();
        machine.run(Time::ns(2 * in.byte()));
        honest.work();
        if (i % 65536 == 0) machine.check_memory();
        if (i % 256 == 0) machine.check_bounds();
    }
    machine.check_memory();
    // Now that nobody attacks any more all that the honest one sent and was sent is there.
    for (unsigned vf = 1; vf < settings.vfs; ++vf) machine.registers[vf]->write_register(vf_reg::ctrl, ctrl::reset);
    for (int i = 0; i < 4000; ++i) {
        machine.run(Time::ns(500));
        honest.receive();
    }
    const Statistics& s = machine.controller().statistics();
    CHECK(machine.wire.good_frames == honest.next);
    CHECK(honest.received + honest.lost == honest.peer_sent);
    CHECK(honest.lost <= s.missed);
    CHECK(honest.worst_gap <= share.gap);
    CHECK(honest.worst_delay <= share.delay);
    // What there was to do was no wide bound.
    CHECK(honest.explained >= 25);
    CHECK(machine.controller().transmit_buffered() == 0);
    CHECK(machine.controller().receive_buffered() == 0);
    CHECK(machine.memory.counts(0).interrupts == machine.controller().interrupts(0).fired());
    if (row.hostile_mbps != 0) {
        // The rate is each queue's: two of each VF, a window and a frame beyond.
        const auto us = static_cast<std::uint64_t>((machine.now() - since).ps() / 1'000'000);
        CHECK(machine.wire.other_octets <= 6 * (us * row.hostile_mbps / 8 + 4096 + 15'892));
        CHECK(honest.lost == 0);
    }
    // Turns were counted, and others took theirs.
    CHECK(honest.closest >= 20);
    // The attack was one.
    CHECK(s.malformed > actions / 1000);
    CHECK(s.spoofed > actions / 100);
    CHECK(s.loopback > actions / 100);
    CHECK(s.dma_errors > actions / 100);
    CHECK(machine.memory.counts(1).reads > actions / 10);
    CHECK(machine.memory.counts(1).writes > actions / 100);
    CHECK(honest.singles > actions / 2000);
    CHECK(honest.foreign > actions / 100);
    if (!report) return;
    const auto us = [](Time t) { return static_cast<double>(t.ps()) / 1e6; };
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    std::printf(
        "%-14s %-8s %9llu actions %7.1f s, %8.3f s simulated; gap %6.1f us (%llu %% of the work, at most %6.1f us), "
        "delay %6.1f of %6.1f us, "
        "received after %5.1f us, %llu lost; another's turns %llu %%\n",
        row.why, row.kind == VfKind::mailbox ? "mailbox" : "Hyper-V", as_printed(actions), seconds,
        us(machine.now()) / 1e6, us(honest.worst_gap), static_cast<unsigned long long>(honest.explained), us(share.gap),
        us(honest.worst_delay), us(share.delay), us(honest.worst_receive), as_printed(honest.lost),
        as_printed(honest.closest));
    std::printf(
        "%24s honest: %llu frames sent, %llu received; others: %llu on the wire, %llu inside, %llu spoofed, "
        "%llu malformed, %llu failed reads\n",
        "", as_printed(honest.next), as_printed(honest.received), as_printed(machine.wire.other_frames),
        as_printed(s.loopback), as_printed(s.spoofed), as_printed(s.malformed), as_printed(s.dma_errors));
    std::fflush(stdout);
}

TEST_CASE("hostile VFs beside an honest one, which has its share and its secrets") {
    const char* wish = std::getenv("VERDIGRIS_HOSTILE_ACTIONS");
    const std::uint64_t actions = wish != nullptr ? std::strtoull(wish, nullptr, 10) : 240'000;
    const char* first = std::getenv("VERDIGRIS_HOSTILE_SEED");
    std::uint64_t seed = first != nullptr ? std::strtoull(first, nullptr, 10) : 1;
    const Row rows[] = {
        {"frame by frame", VfKind::hyper_v, false, 0}, {"frame by frame", VfKind::mailbox, false, 0},
        {"by bytes", VfKind::hyper_v, true, 0},        {"by bytes", VfKind::mailbox, true, 0},
        {"limited", VfKind::hyper_v, false, 1000},     {"limited", VfKind::mailbox, false, 1000},
    };
    for (const Row& row : rows) {
        CAPTURE(row.why);
        attack(row, seed++, actions / std::size(rows), wish != nullptr);
    }
}

}  // namespace

}  // namespace isolation_test
