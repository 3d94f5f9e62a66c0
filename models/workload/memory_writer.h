// A program that writes to memory of its own at a rate, page after page, and can say whether all of it is still what it
// has written: the working set of a guest that moves.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include "models/behavioural/guest_platform.h"
#include "models/host_memory.h"
#include "models/workload/workload.h"
#include "sim/agenda.h"
#include "sim/processor.h"

namespace models {

class MemoryWriter final : public Workload, private sim::Task {
public:
    struct Settings {
        std::uint64_t pages = 256;
        std::uint64_t pages_per_second = 10'000;
        sim::Time cost;  // of a page
        unsigned processor = 0;
    };
    // Throws sim::UserError if the guest has not as much memory.
    MemoryWriter(const sim::Scope& scope, GuestPlatform& guest, const Settings& settings);

    void start() override;
    void stop() override;
    [[nodiscard]] bool issue() override;
    // Pages whose content is not what was written there last.
    std::uint64_t damaged() const;
    // The number of its page n, as the guest's memory has it.
    std::uint64_t guest_page(std::uint64_t n) const { return writer_.guest_pages.at(n); }

    template <class Archive>
    void fields(Archive& archive) {
        archive(state_, writer_, timer_);
    }

private:
    // Pages that wait while the processor has no time: more are not made up for.
    static constexpr std::uint64_t most_due = 64;
    using Page = std::array<std::uint64_t, page_bytes / 8>;

    struct Writer {
        bool running = false;
        std::uint64_t due = 0;
        std::uint64_t next = 0;                  // of the region's pages
        std::vector<std::uint64_t> written;      // how often each was
        std::vector<std::uint64_t> guest_pages;  // their numbers
        template <class Archive>
        void fields(Archive& archive) {
            archive(running, due, next, written, guest_pages);
        }
    };
    Page content(std::uint64_t page) const;
    void tick();
    std::optional<sim::Time> begin() override;
    void finish() override;
    void account(sim::Account& account) const override { account.add("guest.program", settings_.cost); }

    GuestPlatform& guest_;
    Settings settings_;
    sim::Time period_;
    Writer writer_;
    sim::Timer timer_;
    sim::TaskSlot slot_;
    sim::StateRegistration registration_;
};

}  // namespace models
