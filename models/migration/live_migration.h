// Live migration of a partition from one host to another by pre-copy (Clark et al., Live Migration of Virtual Machines,
// NSDI 2005, 3): all pages, then again and again those that were written to meanwhile, over its own link, while the
// guest runs. When few are left, or after so many rounds, the guest stands; the rest goes, then the state of processors
// and devices; and it goes on at the destination.
//
// The hosts' roots do it: reading and sending a page takes time of a root processor at the source, receiving, storing
// it takes some at the destination, asking for dirty flags is a hypercall. What is sent waits for the link and for a
// window of it, so that the slowest of the three sets the pace.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "models/migration/migration_costs.h"
#include "models/migration/movable_partition.h"
#include "sim/agenda.h"
#include "sim/scope.h"

namespace models {

struct MigrationSettings {
    std::uint64_t bits_per_second = 10'000'000'000;  // of the link, for what is sent
    sim::Time delay;                                 // of the link
    unsigned rounds = 10;                            // with the guest running, at most
    std::uint64_t threshold = 64;                    // pages: when no more are left, the guest may stand
    MigrationCosts costs;
    std::optional<std::uint64_t> lost_page;  // for tests: its writes after the first round never arrive
};

struct MigrationRound {
    std::uint64_t pages = 0;
    std::uint64_t bytes = 0;
    sim::Time time;

    bool operator==(const MigrationRound&) const = default;
};

class LiveMigration final {
public:
    // A page on the link: its number and its bytes.
    static constexpr std::uint64_t page_message_bytes = 8 + page_bytes;
    static constexpr std::size_t pages_at_a_time = 16;

    enum class Phase : std::uint8_t { rounds, stopping, last, done, failed };

    // Begins at once. Throws sim::UserError, and nothing has happened, if the partition or the settings are not fit.
    LiveMigration(const sim::Scope& scope, MovablePartition& source, MovablePartition& destination,
                  const MigrationSettings& settings);
    LiveMigration(const LiveMigration&) = delete;

    Phase phase() const { return phase_; }
    bool over() const { return phase_ == Phase::done || phase_ == Phase::failed; }
    // The destination is lost, or not wanted any more: the guest goes on at the source. Nothing if it has arrived.
    void give_up();

    // The last one is without the guest, and with its state.
    const std::vector<MigrationRound>& rounds() const { return rounds_; }
    std::uint64_t state_bytes() const { return state_bytes_; }
    std::uint64_t bytes() const;
    sim::Time began() const { return began_; }
    sim::Time stopped() const { return stopped_; }  // the guest's processors
    sim::Time ended() const { return ended_; }
    sim::Time total() const { return ended_ - began_; }
    sim::Time blackout() const { return ended_ - stopped_; }

    // A checkpoint has nothing of it: there is none while it is under way.
    void save(sim::Writer& writer) const;
    void restore(sim::Reader& reader);

private:
    struct Chunk {
        sim::Time at;
        std::size_t first = 0, count = 0;  // in list_
        std::uint64_t state_bytes = 0;     // or a part of the state
        std::vector<std::byte> content;
    };
    struct Sender final : sim::Task {
        explicit Sender(LiveMigration& m) : migration(m), slot(m.source_.worker(), *this) {}
        std::optional<sim::Time> begin() override { return migration.begin_sending(cost); }
        void finish() override { migration.sent(); }
        void account(sim::Account& account) const override { account.add("root.migration", cost); }
        LiveMigration& migration;
        sim::Time cost;
        sim::TaskSlot slot;
    };
    struct Receiver final : sim::Task {
        explicit Receiver(LiveMigration& m) : migration(m), slot(m.destination_.worker(), *this) {}
        std::optional<sim::Time> begin() override { return migration.begin_receiving(cost); }
        void finish() override { migration.received(); }
        void account(sim::Account& account) const override { account.add("root.migration", cost); }
        LiveMigration& migration;
        sim::Time cost;
        sim::TaskSlot slot;
    };
    enum class Step : std::uint8_t { pages, query, state, arrival };
    static constexpr std::size_t window = 16;  // chunks on their way

    std::optional<sim::Time> begin_sending(sim::Time& cost);
    void sent();
    void put_on_link(Chunk chunk, std::uint64_t bytes);
    void link_arrived();
    std::optional<sim::Time> begin_receiving(sim::Time& cost);
    void received();
    void begin_round(std::vector<std::uint64_t> pages);
    void round_sent();
    void take_dirty();
    void stop_guest();
    void look_whether_at_rest();
    void arrive();
    void end(Phase phase);

    sim::Scope scope_;
    MovablePartition& source_;
    MovablePartition& destination_;
    MigrationSettings settings_;
    Phase phase_ = Phase::rounds;
    Step step_ = Step::pages;
    std::vector<std::uint64_t> list_;  // of this round
    std::size_t next_ = 0;
    std::size_t sending_ = 0;        // of these, by the piece under way
    std::uint64_t state_bytes_ = 0;  // in all
    std::uint64_t state_left_ = 0;
    sim::Time link_free_;
    std::deque<Chunk> on_link_;
    std::deque<Chunk> arrived_;
    std::size_t under_way_ = 0;  // chunks sent and not stored yet
    sim::Time round_began_;
    std::vector<MigrationRound> rounds_;
    sim::Time began_, stopped_, ended_;
    sim::Timer link_timer_;
    sim::Timer rest_timer_;
    Sender sender_;
    Receiver receiver_;
    sim::StateRegistration registration_;
};

}  // namespace models
