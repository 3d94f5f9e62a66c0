#include "hypervisor/page_ownership.h"

#include "sim/check.h"

namespace hypervisor {

PageTotals PageOwnership::totals(PartitionId partition) const {
    const auto found = state_.totals.find(partition);
    return found == state_.totals.end() ? PageTotals{} : found->second;
}

std::uint64_t& PageOwnership::count(PageUse use, PartitionId partition) {
    PageTotals& totals = state_.totals[partition];
    if (use == PageUse::deposited) return totals.deposited;
    return use == PageUse::in_use ? totals.in_use : totals.mapped;
}

void PageOwnership::set(std::uint64_t page, PageUse use, PartitionId partition) {
    const PartitionId old_owner = state_.owner[page];
    if (state_.use[page] != PageUse::root) {
        --count(state_.use[page], old_owner);
        if (state_.totals[old_owner].none()) state_.totals.erase(old_owner);
    }
    state_.use[page] = use;
    state_.owner[page] = use == PageUse::root ? 0 : static_cast<std::uint32_t>(partition);
    if (use != PageUse::root) ++count(use, partition);
}

bool PageOwnership::deposit(std::uint64_t page, PartitionId partition) {
    if (!is(page, PageUse::root, 0)) return false;
    set(page, PageUse::deposited, partition);
    return true;
}

bool PageOwnership::withdraw(std::uint64_t page, PartitionId partition) {
    if (!is(page, PageUse::deposited, partition)) return false;
    set(page, PageUse::root, 0);
    return true;
}

bool PageOwnership::take(std::uint64_t page, PartitionId partition) {
    if (!is(page, PageUse::deposited, partition)) return false;
    set(page, PageUse::in_use, partition);
    return true;
}

bool PageOwnership::put_back(std::uint64_t page, PartitionId partition) {
    if (!is(page, PageUse::in_use, partition)) return false;
    set(page, PageUse::deposited, partition);
    return true;
}

bool PageOwnership::may_map(std::uint64_t page, PartitionId partition) const {
    return is(page, PageUse::root, 0) || (is(page, PageUse::mapped, partition) && state_.map_count[page] != ~0u);
}

bool PageOwnership::map(std::uint64_t page, PartitionId partition) {
    if (!may_map(page, partition)) return false;
    if (state_.map_count[page]++ == 0) set(page, PageUse::mapped, partition);
    return true;
}

bool PageOwnership::unmap(std::uint64_t page, PartitionId partition) {
    if (!is(page, PageUse::mapped, partition)) return false;
    if (--state_.map_count[page] == 0) set(page, PageUse::root, 0);
    return true;
}

bool PageOwnership::consistent() const {
    std::map<PartitionId, PageTotals> totals;
    for (std::uint64_t page = 0; page < page_count(); ++page) {
        const bool mapped = state_.use[page] == PageUse::mapped;
        if (mapped != (state_.map_count[page] != 0)) return false;
        if ((state_.use[page] == PageUse::root) != (state_.owner[page] == 0)) return false;
        if (state_.use[page] == PageUse::deposited) ++totals[state_.owner[page]].deposited;
        if (state_.use[page] == PageUse::in_use) ++totals[state_.owner[page]].in_use;
        if (mapped) ++totals[state_.owner[page]].mapped;
    }
    return totals == state_.totals;
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
