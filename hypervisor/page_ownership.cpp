#include "hypervisor/page_ownership.h"

#include "sim/check.h"

namespace hypervisor {

PageTotals PageOwnership::totals(PartitionId partition) const {
    const auto found = state_.totals.find(partition);
    return found == state_.totals.end() ? PageTotals{} : found->second;
}

void PageOwnership::add_total(const Run& run, std::uint64_t pages, bool more) {
    if (run.use == PageUse::root) return;
    PageTotals& totals = state_.totals[run.owner];
    std::uint64_t& count = run.use == PageUse::deposited ? totals.deposited
                           : run.use == PageUse::in_use  ? totals.in_use
                                                         : totals.mapped;
    count = more ? count + pages : count - pages;
    if (totals.none()) state_.totals.erase(run.owner);
}

// Runs
// -----------------------------------------------------------------------------------------------------------------

void PageOwnership::split(std::uint64_t page) {
    if (page == 0 || page >= page_count_) return;
    const auto run = std::prev(state_.runs.upper_bound(page));
    if (run->first == page) return;
    state_.runs.emplace_hint(std::next(run), page, run->second);
    run->second.end = page;
}

void PageOwnership::join(std::uint64_t page) {
    if (page == 0 || page >= page_count_) return;
    const auto run = state_.runs.find(page);
    if (run == state_.runs.end()) return;
    const auto before = std::prev(run);
    if (!before->second.alike(run->second)) return;
    before->second.end = run->second.end;
    state_.runs.erase(run);
}

template <class Predicate>
bool PageOwnership::all(std::uint64_t page, std::uint64_t count, Predicate predicate) const {
    if (!in_memory(page, count)) return false;
    for (auto run = run_of(page); run != state_.runs.end() && run->first < page + count; ++run) {
        if (!predicate(run->second)) return false;
    }
    return true;
}

template <class Change>
void PageOwnership::change(std::uint64_t page, std::uint64_t count, Change change) {
    if (count == 0) return;
    split(page);
    split(page + count);
    auto run = state_.runs.find(page);
    for (; run != state_.runs.end() && run->first < page + count; ++run) {
        add_total(run->second, run->second.end - run->first, false);
        change(run->second);
        add_total(run->second, run->second.end - run->first, true);
    }
    // What was different may be alike now.
    for (auto next = std::next(state_.runs.find(page)); next != run;) {
        const std::uint64_t first = (next++)->first;
        join(first);
    }
    join(page + count);
    join(page);
}

bool PageOwnership::move(std::uint64_t page, PageUse from, PageUse to, PartitionId partition) {
    const PartitionId owner = from == PageUse::root ? 0 : partition;
    if (!all(page, 1, [&](const Run& run) { return run.use == from && run.owner == owner; })) return false;
    change(page, 1, [&](Run& run) {
        run.use = to;
        run.owner = to == PageUse::root ? 0 : static_cast<std::uint32_t>(partition);
    });
    return true;
}

// Changes
// -----------------------------------------------------------------------------------------------------------------

bool PageOwnership::deposit(std::uint64_t page, PartitionId partition) {
    return move(page, PageUse::root, PageUse::deposited, partition);
}

bool PageOwnership::withdraw(std::uint64_t page, PartitionId partition) {
    return move(page, PageUse::deposited, PageUse::root, partition);
}

bool PageOwnership::take(std::uint64_t page, PartitionId partition) {
    return move(page, PageUse::deposited, PageUse::in_use, partition);
}

bool PageOwnership::put_back(std::uint64_t page, PartitionId partition) {
    return move(page, PageUse::in_use, PageUse::deposited, partition);
}

bool PageOwnership::may_map(std::uint64_t page, PartitionId partition, std::uint64_t count) const {
    return all(page, count, [&](const Run& run) {
        if (run.use == PageUse::root) return run.owner == 0;
        return run.use == PageUse::mapped && run.owner == partition && run.map_count != ~0u;
    });
}

bool PageOwnership::map(std::uint64_t page, PartitionId partition, std::uint64_t count) {
    if (!may_map(page, partition, count)) return false;
    change(page, count, [&](Run& run) {
        run.use = PageUse::mapped;
        run.owner = static_cast<std::uint32_t>(partition);
        ++run.map_count;
    });
    return true;
}

bool PageOwnership::unmap(std::uint64_t page, PartitionId partition, std::uint64_t count) {
    if (!all(page, count, [&](const Run& run) { return run.use == PageUse::mapped && run.owner == partition; })) {
        return false;
    }
    change(page, count, [&](Run& run) {
        if (--run.map_count == 0) run = {run.end, PageUse::root, 0, 0};
    });
    return true;
}

bool PageOwnership::consistent() const {
    std::map<PartitionId, PageTotals> totals;
    std::uint64_t covered = 0;
    const Run* before = nullptr;
    for (const auto& [first, run] : state_.runs) {
        if (first != covered || run.end <= first || (before != nullptr && before->alike(run))) return false;
        const bool mapped = run.use == PageUse::mapped;
        if (mapped != (run.map_count != 0)) return false;
        if ((run.use == PageUse::root) != (run.owner == 0)) return false;
        const std::uint64_t pages = run.end - first;
        if (run.use == PageUse::deposited) totals[run.owner].deposited += pages;
        if (run.use == PageUse::in_use) totals[run.owner].in_use += pages;
        if (mapped) totals[run.owner].mapped += pages;
        covered = run.end;
        before = &run;
    }
    return covered == page_count_ && totals == state_.totals;
}

// The pool
// ---------------------------------------------------------------------------------------------------------------

bool MemoryPool::deposit(std::uint64_t page) {
    if (!ownership_.deposit(page, partition_)) return false;
    state_.free.push_back(page);
    return true;
}

std::optional<std::uint64_t> MemoryPool::withdraw() {
    if (state_.free.empty()) return std::nullopt;
    const std::uint64_t page = state_.free.back();
    state_.free.pop_back();
    VG_CHECK(ownership_.withdraw(page, partition_));
    // What the hypervisor kept there is nobody's business.
    VG_CHECK(memory_.fill(page << hv_page_shift, hv_page_size, std::byte{0}));
    return page;
}

std::optional<std::uint64_t> MemoryPool::take() {
    if (state_.free.empty()) return std::nullopt;
    const std::uint64_t page = state_.free.back();
    state_.free.pop_back();
    ++state_.in_use;
    VG_CHECK(ownership_.take(page, partition_));
    VG_CHECK(memory_.fill(page << hv_page_shift, hv_page_size, std::byte{0}));
    return page;
}

void MemoryPool::put_back(std::uint64_t page) {
    VG_CHECK(ownership_.put_back(page, partition_));
    --state_.in_use;
    state_.free.push_back(page);
}

bool MemoryPool::take(std::uint64_t count, std::vector<std::uint64_t>& pages) {
    if (state_.free.size() < count) return false;
    for (; count > 0; --count) pages.push_back(*take());
    return true;
}

void MemoryPool::put_back(std::vector<std::uint64_t>& pages) {
    for (const std::uint64_t page : pages) put_back(page);
    pages.clear();
}

std::optional<std::uint64_t> MemoryPool::allocate_table() {
    const std::optional<std::uint64_t> page = take();
    if (!page) return std::nullopt;
    return *page << hv_page_shift;
}

void MemoryPool::free_table(std::uint64_t spa) {
    put_back(spa >> hv_page_shift);
}

}  // namespace hypervisor
