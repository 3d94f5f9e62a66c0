#include "models/workload/memory_writer.h"

#include <fmt/format.h>

#include <algorithm>

namespace models {

namespace {

constexpr std::uint64_t most_per_second = 100'000'000;

}  // namespace

MemoryWriter::MemoryWriter(const sim::Scope& scope, GuestPlatform& guest, const Settings& settings)
    : Workload(scope),
      guest_(guest),
      settings_(settings),
      timer_(scope.agenda(), scope.path() + ".page", [this] { tick(); }),
      slot_(guest.processor(settings.processor), *this),
      registration_(scope.register_state(*this)) {
    if (settings.pages == 0 || settings.pages_per_second == 0 || settings.pages_per_second > most_per_second) {
        throw sim::UserError(scope.path() + ": it writes at least one page, and 1 to 100 million a second");
    }
    const auto pages = guest.pages().allocate(settings.pages);
    if (!pages) {
        throw sim::UserError(
            fmt::format("{}: the guest has no {} KiB of memory to write to", scope.path(), settings.pages * 4));
    }
    writer_.guest_pages.assign(pages->begin(), pages->end());
    writer_.written.assign(settings.pages, 0);
    period_ = sim::Time::s(1) / static_cast<std::int64_t>(settings.pages_per_second);
}

// Of each word it is seen which page it belongs to, and of what time it is. Nothing yet: zeros.
MemoryWriter::Page MemoryWriter::content(std::uint64_t page) const {
    Page words{};
    if (writer_.written[page] == 0) return words;
    for (std::uint64_t n = 0; n < words.size(); ++n) {
        words[n] = (page << 40 | writer_.written[page]) * 0x9e37'79b9'7f4a'7c15 + n;
    }
    return words;
}

std::uint64_t MemoryWriter::damaged() const {
    std::uint64_t count = 0;
    Page there{};
    for (std::uint64_t page = 0; page < settings_.pages; ++page) {
        const bool read =
            guest_.memory().read(writer_.guest_pages[page] * page_bytes, std::as_writable_bytes(std::span{there}));
        if (!read || there != content(page)) ++count;
    }
    return count;
}

void MemoryWriter::start() {
    if (writer_.running) return;
    writer_.running = true;
    state_.since = scope().now();
    timer_.arm(scope().now());
}

void MemoryWriter::stop() {
    writer_.running = false;
    writer_.due = 0;
    timer_.disarm();
}

bool MemoryWriter::issue() {
    if (writer_.due == most_due) return false;
    ++writer_.due;
    slot_.wake();
    return true;
}

void MemoryWriter::tick() {
    if (!issue()) ++state_.failures;
    timer_.arm_after(period_);
}

std::optional<sim::Time> MemoryWriter::begin() {
    return writer_.due != 0 ? std::optional{settings_.cost} : std::nullopt;
}

void MemoryWriter::finish() {
    if (writer_.due == 0) return;  // stopped meanwhile
    --writer_.due;
    const std::uint64_t page = writer_.next;
    writer_.next = (page + 1) % settings_.pages;
    ++writer_.written[page];
    const Page words = content(page);
    if (!guest_.memory().write(writer_.guest_pages[page] * page_bytes, std::as_bytes(std::span{words}))) {
        ++state_.failures;
    }
    ended(scope().now() - settings_.cost, page_bytes);
    if (writer_.due != 0) slot_.wake();
}

}  // namespace models
