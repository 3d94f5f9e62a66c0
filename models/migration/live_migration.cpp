#include "models/migration/live_migration.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "sim/bits.h"
#include "sim/check.h"

namespace models {

namespace {

constexpr std::uint64_t slowest = 1'000'000, fastest = 1'000'000'000'000;  // bits per second
constexpr unsigned most_rounds = 1000;
// The processors' work is not divided: how often it is looked whether they stand.
constexpr sim::Time look_again = sim::Time::us(1);
constexpr std::size_t pages_per_query = 4095;  // of one hypercall

sim::Time time_on_link(std::uint64_t bytes, std::uint64_t bits_per_second) {
    constexpr std::uint64_t ps_per_s = 1'000'000'000'000;
    const auto ps = (sim::u128{bytes} * 8 * ps_per_s + bits_per_second - 1) / bits_per_second;
    return sim::Time::ps(static_cast<std::int64_t>(ps));
}

}  // namespace

LiveMigration::LiveMigration(const sim::Scope& scope, MovablePartition& source, MovablePartition& destination,
                             const MigrationSettings& settings)
    : scope_(scope),
      source_(source),
      destination_(destination),
      settings_(settings),
      began_(scope.now()),
      link_timer_(scope.agenda(), scope.path() + ".link", [this] { link_arrived(); }),
      rest_timer_(scope.agenda(), scope.path() + ".rest", [this] { look_whether_at_rest(); }),
      sender_(*this),
      receiver_(*this),
      registration_(scope.register_state(*this)) {
    const std::string& name = source.config().name;
    const auto refuse = [&name](const std::string& why) {
        throw sim::UserError(fmt::format("migration of partition {}: {}", name, why));
    };
    if (settings.bits_per_second < slowest || settings.bits_per_second > fastest) {
        refuse(fmt::format("a bandwidth of {} bit/s: give one from 1 Mbit/s to 1 Tbit/s", settings.bits_per_second));
    }
    if (settings.rounds == 0 || settings.rounds > most_rounds) {
        refuse(fmt::format("{} rounds: give 1 to {}", settings.rounds, most_rounds));
    }
    if (const std::string why = source.obstacle(); !why.empty()) refuse(why);
    destination.check_networks(source);
    if (!source.track()) refuse("its host has no memory left to track what it writes to");
    scope_.trace("migration", 0, settings.bits_per_second, settings.threshold);
    begin_round(source.all_pages());
}

// Rounds
// ----------------------------------------------------------------------------------------------------------------

void LiveMigration::begin_round(std::vector<std::uint64_t> pages) {
    list_ = std::move(pages);
    next_ = 0;
    round_began_ = scope_.now();
    step_ = Step::pages;
    if (list_.empty()) return round_sent();
    sender_.slot.wake();
}

std::optional<sim::Time> LiveMigration::begin_sending(sim::Time& cost) {
    const MigrationCosts& costs = settings_.costs;
    if (over() || phase_ == Phase::stopping || sending_ != 0 || under_way_ >= window) return std::nullopt;
    switch (step_) {
        case Step::pages:
            if (next_ == list_.size()) return std::nullopt;
            sending_ = std::min(pages_at_a_time, list_.size() - next_);
            break;
        case Step::query: {
            const auto pages = static_cast<std::int64_t>(source_.all_pages().size());
            sending_ = 1;
            cost = costs.query * ((pages + static_cast<std::int64_t>(pages_per_query) - 1) /
                                  static_cast<std::int64_t>(pages_per_query)) +
                   costs.query_page * pages;
            return cost;
        }
        case Step::state:
            if (state_left_ == 0) return std::nullopt;
            sending_ = std::min<std::size_t>(pages_at_a_time, (state_left_ + page_bytes - 1) / page_bytes);
            break;
        case Step::arrival:
            return std::nullopt;
    }
    cost = costs.page_sent * static_cast<std::int64_t>(sending_);
    return cost;
}

// A page is what it is when it has been read. What is read of a guest that stands is read once more when it leaves:
// timers of its devices still run.
void LiveMigration::sent() {
    const std::size_t count = std::exchange(sending_, 0);
    if (over()) return;
    // It has ended, or has what cannot move: given up where no processor is in the middle of anything.
    if (!source_.obstacle().empty()) return rest_timer_.arm(scope_.now());
    if (step_ == Step::query) return take_dirty();
    Chunk chunk;
    if (step_ == Step::state) {
        chunk.state_bytes = std::min<std::uint64_t>(state_left_, count * page_bytes);
        state_left_ -= chunk.state_bytes;
        put_on_link(std::move(chunk), chunk.state_bytes);
    } else {
        chunk.first = next_;
        chunk.count = count;
        chunk.content.resize(count * page_bytes);
        for (std::size_t n = 0; n < count; ++n) {
            source_.read_page(list_[next_ + n], std::span{chunk.content}.subspan(n * page_bytes, page_bytes));
        }
        next_ += count;
        put_on_link(std::move(chunk), count * page_message_bytes);
    }
    sender_.slot.wake();
}

void LiveMigration::put_on_link(Chunk chunk, std::uint64_t bytes) {
    link_free_ = std::max(link_free_, scope_.now()) + time_on_link(bytes, settings_.bits_per_second);
    chunk.at = link_free_ + settings_.delay;
    on_link_.push_back(std::move(chunk));
    ++under_way_;
    if (!link_timer_.armed()) link_timer_.arm(on_link_.front().at);
}

void LiveMigration::link_arrived() {
    while (!on_link_.empty() && on_link_.front().at <= scope_.now()) {
        arrived_.push_back(std::move(on_link_.front()));
        on_link_.pop_front();
    }
    if (!on_link_.empty()) link_timer_.arm(on_link_.front().at);
    receiver_.slot.wake();
}

std::optional<sim::Time> LiveMigration::begin_receiving(sim::Time& cost) {
    if (over() || arrived_.empty()) return std::nullopt;
    const Chunk& chunk = arrived_.front();
    const std::uint64_t pages = chunk.count + (chunk.state_bytes + page_bytes - 1) / page_bytes;
    cost = settings_.costs.page_received * static_cast<std::int64_t>(pages);
    return cost;
}

void LiveMigration::received() {
    if (over() || arrived_.empty()) return;
    const Chunk chunk = std::move(arrived_.front());
    arrived_.pop_front();
    for (std::size_t n = 0; n < chunk.count; ++n) {
        const std::uint64_t page = list_[chunk.first + n];
        if (!rounds_.empty() && settings_.lost_page == page) continue;
        destination_.write_page(page, std::span{chunk.content}.subspan(n * page_bytes, page_bytes));
    }
    --under_way_;
    if (under_way_ == 0 && next_ == list_.size() && state_left_ == 0) return round_sent();
    sender_.slot.wake();
    receiver_.slot.wake();
}

void LiveMigration::round_sent() {
    const std::uint64_t state = phase_ == Phase::last ? state_bytes_ : 0;
    rounds_.push_back({list_.size(), list_.size() * page_message_bytes + state, scope_.now() - round_began_});
    scope_.trace("migration_round", rounds_.size(), list_.size(), rounds_.back().time.ps());
    if (phase_ == Phase::last) {
        if (step_ == Step::state) {
            // Outside of the root's work, where no processor is in the middle of anything.
            step_ = Step::arrival;
            return rest_timer_.arm(scope_.now());
        }
        rounds_.pop_back();
        step_ = Step::state;
        state_left_ = state_bytes_;
        return sender_.slot.wake();
    }
    step_ = Step::query;
    sender_.slot.wake();
}

// The flags are cleared and answered at one instant.
void LiveMigration::take_dirty() {
    std::vector<std::uint64_t> pages = source_.take_dirty();
    if (phase_ == Phase::last) {
        std::vector<std::uint64_t> all;
        std::ranges::set_union(list_, pages, std::back_inserter(all));
        state_bytes_ = source_.state_bytes();
        const sim::Time since = round_began_;
        begin_round(std::move(all));
        round_began_ = since;
        return;
    }
    if (pages.size() > settings_.threshold && rounds_.size() < settings_.rounds) return begin_round(std::move(pages));
    list_ = std::move(pages);
    next_ = list_.size();
    stop_guest();
}

// The guest stands
// ----------------------------------------------------------------------------------------------------------------

void LiveMigration::stop_guest() {
    phase_ = Phase::stopping;
    stopped_ = round_began_ = scope_.now();
    scope_.trace("migration_stop", rounds_.size(), list_.size());
    source_.hold();
    look_whether_at_rest();
}

void LiveMigration::look_whether_at_rest() {
    if (phase_ == Phase::rounds || !source_.obstacle().empty()) return give_up();
    if (phase_ == Phase::last && step_ == Step::arrival) return arrive();
    if (phase_ != Phase::stopping) return;
    if (!source_.at_rest()) return rest_timer_.arm_after(look_again);
    phase_ = Phase::last;
    step_ = Step::query;
    sender_.slot.wake();
}

void LiveMigration::arrive() {
    std::vector<std::uint64_t> late = source_.take_dirty();
    std::vector<std::uint64_t> all;
    std::ranges::set_union(list_, late, std::back_inserter(all));
    std::array<std::byte, page_bytes> content;
    for (const std::uint64_t page : all) {
        if (settings_.lost_page == page) continue;
        source_.read_page(page, content);
        destination_.write_page(page, content);
    }
    destination_.arrive(source_);
    end(Phase::done);
}

void LiveMigration::give_up() {
    if (over()) return;
    const bool stands = phase_ != Phase::rounds;
    source_.end_tracking();
    if (stands) source_.go_on();
    destination_.give_up();
    end(Phase::failed);
}

void LiveMigration::end(Phase phase) {
    phase_ = phase;
    ended_ = scope_.now();
    link_timer_.disarm();
    rest_timer_.disarm();
    on_link_.clear();
    arrived_.clear();
    list_.clear();
    registration_ = {};
    scope_.trace("migration", phase == Phase::done ? 1 : 2, bytes(), total().ps());
}

std::uint64_t LiveMigration::bytes() const {
    std::uint64_t sum = 0;
    for (const MigrationRound& round : rounds_) sum += round.bytes;
    return sum;
}

void LiveMigration::save(sim::Writer&) const {
    throw sim::UserError(fmt::format("checkpoint: partition {} is on its way to another host; take it before or after",
                                     source_.config().name));
}

void LiveMigration::restore(sim::Reader&) {
    throw sim::UserError(fmt::format("checkpoint: partition {} is on its way to another host; wait until it is there",
                                     source_.config().name));
}

}  // namespace models
