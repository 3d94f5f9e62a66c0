// Editing second-level tables: see table_writer.h. Levels count from 1 (maps 4 KiB) to 4 (the root).
#include "slat/table_writer.h"

#include <algorithm>

#include "sim/check.h"

namespace slat {

namespace {

constexpr u64 page_bytes = 4096;
constexpr int root_level = 4;
constexpr u64 address_limit = u64{1} << 48;

constexpr unsigned shift_of(int level) {
    return static_cast<unsigned>(3 + 9 * level);
}
constexpr u64 size_of(int level) {
    return u64{1} << shift_of(level);
}
constexpr u64 index_of(u64 gpa, int level) {
    return gpa >> shift_of(level) & 0x1ff;
}
constexpr int level_of(u8 page_shift) {
    return page_shift == mmu::shift_4k ? 1 : page_shift == mmu::shift_2m ? 2 : page_shift == mmu::shift_1g ? 3 : 0;
}
constexpr bool none(PageRights rights) {
    return rights == PageRights{false, false, false};
}

constexpr bool valid_range(u64 gpa, u64 length) {
    return gpa % page_bytes == 0 && length % page_bytes == 0 && gpa <= address_limit && length <= address_limit - gpa;
}

}  // namespace

u64 TableWriter::load(u64 table, u64 gpa, int level) const {
    return memory_.load<u64>(table + 8 * index_of(gpa, level));
}

void TableWriter::store(u64 table, u64 gpa, int level, u64 entry) {
    memory_.store<u64>(table + 8 * index_of(gpa, level), entry);
}

bool TableWriter::present(u64 entry) const {
    return second_.format == Format::ept ? entry & ept::rights : entry & mmu::pte::present;
}

bool TableWriter::is_leaf(u64 entry, int level) const {
    static_assert(ept::large == mmu::pte::large);
    return level == 1 || (level < root_level && (entry & ept::large));
}

bool TableWriter::expressible(PageRights rights) const {
    if (none(rights)) return true;
    if (!rights.readable) return second_.format == Format::ept && !rights.writable && second_.execute_only;
    return rights.executable || second_.format == Format::ept || second_.no_execute;
}

PageRights TableWriter::rights_of(u64 entry) const {
    if (second_.format == Format::ept) {
        return {(entry & ept::read) != 0, (entry & ept::write) != 0, (entry & ept::execute) != 0};
    }
    return {(entry & mmu::pte::user) != 0, (entry & mmu::pte::writable) != 0, !(entry & mmu::pte::no_execute)};
}

u64 TableWriter::with_rights(u64 entry, PageRights rights) const {
    if (second_.format == Format::ept) {
        return (entry & ~ept::rights) | (rights.readable ? ept::read : 0) | (rights.writable ? ept::write : 0) |
               (rights.executable ? ept::execute : 0);
    }
    entry &= ~(mmu::pte::writable | mmu::pte::no_execute);
    return entry | mmu::pte::present | mmu::pte::user | (rights.writable ? mmu::pte::writable : 0) |
           (rights.executable ? 0 : mmu::pte::no_execute);
}

u64 TableWriter::leaf_entry(u64 spa, int level, PageRights rights, MemoryType type) const {
    u64 entry = spa | (level > 1 ? ept::large : 0);
    if (second_.format == Format::ept) {
        entry |= static_cast<u64>(type) << ept::memory_type_shift;
    } else if (type != MemoryType::write_back) {
        // With the reset value of the host's PAT, PCD and PWT select uncacheable and PWT alone write-through.
        entry |= type == MemoryType::write_through ? mmu::pte::pwt : mmu::pte::pwt | mmu::pte::pcd;
    }
    return with_rights(entry, rights);
}

std::optional<u64> TableWriter::new_table() {
    const std::optional<u64> table = pages_->allocate_table();
    if (table) {
        VG_CHECK(*table % page_bytes == 0 && memory_.contains(*table, page_bytes));
        ++table_pages_;
    }
    return table;
}

void TableWriter::release(u64 table) {
    pages_->free_table(table);
    --table_pages_;
}

Edit TableWriter::create() {
    const std::optional<u64> root = new_table();
    if (!root) return Edit::no_memory;
    second_.root = *root;
    return Edit::ok;
}

void TableWriter::destroy() {
    free_tree(second_.root, root_level);
    second_.root = 0;
}

void TableWriter::free_tree(u64 table, int level) {
    for (u64 i = 0; i < 512 && level > 1; ++i) {
        const u64 entry = memory_.load<u64>(table + 8 * i);
        if (present(entry) && !is_leaf(entry, level)) free_tree(entry & ept::address, level - 1);
    }
    release(table);
}

bool TableWriter::empty(u64 table) const {
    for (u64 i = 0; i < 512; ++i) {
        if (present(memory_.load<u64>(table + 8 * i))) return false;
    }
    return true;
}

// The table that the entry of `gpa` refers to: there already, new, or the split of a large page.
std::optional<u64> TableWriter::child(u64 table, u64 gpa, int level) {
    const u64 entry = load(table, gpa, level);
    if (present(entry) && !is_leaf(entry, level)) return entry & ept::address;
    const std::optional<u64> fresh = new_table();
    if (!fresh) return fresh;
    if (present(entry)) {
        // Each part keeps rights, memory type, accessed and dirty flags.
        static_assert(mmu::pte::large_pat == 1u << 12);
        u64 part = level == 2 ? entry & ~ept::large : entry;
        for (u64 i = 0; i < 512; ++i) memory_.store<u64>(*fresh + 8 * i, part + i * size_of(level - 1));
    }
    u64 link = *fresh;
    if (second_.format == Format::ept) {
        link |= ept::rights;
        if (present(entry)) link |= entry & ept::accessed;
    } else {
        link |= mmu::pte::present | mmu::pte::writable | mmu::pte::user;
        if (present(entry)) link |= entry & mmu::pte::accessed;
    }
    store(table, gpa, level, link);
    return fresh;
}

// Gives back the tables on the way to `gpa` that hold nothing, from the lowest up; the root stays.
void TableWriter::prune(u64 gpa) {
    u64 tables[root_level + 1] = {};
    int level = root_level;
    tables[level] = second_.root;
    while (level > 1) {
        const u64 entry = load(tables[level], gpa, level);
        if (!present(entry) || is_leaf(entry, level)) break;
        tables[--level] = entry & ept::address;
    }
    for (; level < root_level && empty(tables[level]); ++level) {
        store(tables[level + 1], gpa, level + 1, 0);
        release(tables[level]);
    }
}

Edit TableWriter::map(u64 gpa, u64 spa, u8 page_shift, PageRights rights, MemoryType type) {
    const int leaf_level = level_of(page_shift);
    if (leaf_level == 0 || gpa % size_of(leaf_level) != 0 || spa % size_of(leaf_level) != 0 || gpa >= address_limit ||
        spa >> second_.phys_bits != 0) {
        return Edit::misaligned;
    }
    if (!expressible(rights) || (leaf_level == 3 && !second_.gib_pages)) return Edit::bad_rights;
    if (none(rights)) return unmap(gpa, size_of(leaf_level));
    u64 table = second_.root;
    for (int level = root_level; level > leaf_level; --level) {
        const std::optional<u64> next = child(table, gpa, level);
        if (!next) {
            prune(gpa);
            return Edit::no_memory;
        }
        table = *next;
    }
    const u64 old = load(table, gpa, leaf_level);
    store(table, gpa, leaf_level, leaf_entry(spa, leaf_level, rights, type));
    if (present(old) && !is_leaf(old, leaf_level)) free_tree(old & ept::address, leaf_level - 1);
    return Edit::ok;
}

Edit TableWriter::map_range(u64 gpa, u64 spa, u64 length, PageRights rights, u8 largest_shift, MemoryType type) {
    if (!valid_range(gpa, length) || spa % page_bytes != 0 || level_of(largest_shift) == 0) return Edit::misaligned;
    while (length > 0) {
        int level = std::min(level_of(largest_shift), second_.gib_pages ? 3 : 2);
        while (level > 1 && ((gpa | spa) % size_of(level) != 0 || length < size_of(level))) --level;
        const Edit done = map(gpa, spa, static_cast<u8>(shift_of(level)), rights, type);
        if (done != Edit::ok) return done;
        gpa += size_of(level);
        spa += size_of(level);
        length -= size_of(level);
    }
    return Edit::ok;
}

// Applies a change to [first, last] under one table. Large pages that stick out of the range are split.
Edit TableWriter::change(u64 table, int level, u64 first, u64 last, Change what, PageRights rights) {
    for (u64 gpa = first; gpa <= last;) {
        const u64 page_last = gpa | (size_of(level) - 1);
        const u64 part_last = std::min(page_last, last);
        const u64 entry = load(table, gpa, level);
        if (present(entry)) {
            const bool whole = gpa % size_of(level) == 0 && part_last == page_last;
            if (is_leaf(entry, level) && whole) {
                store(table, gpa, level, what == Change::unmap ? 0 : with_rights(entry, rights));
            } else if (whole && what == Change::unmap) {
                store(table, gpa, level, 0);
                free_tree(entry & ept::address, level - 1);
            } else if (!is_leaf(entry, level) || rights_of(entry) != rights || what == Change::unmap) {
                const std::optional<u64> next = child(table, gpa, level);
                if (!next) return Edit::no_memory;
                const Edit done = change(*next, level - 1, gpa, part_last, what, rights);
                if (done != Edit::ok) return done;
                if (what == Change::unmap && empty(*next)) {
                    store(table, gpa, level, 0);
                    release(*next);
                }
            }
        }
        gpa = part_last + 1;
    }
    return Edit::ok;
}

Edit TableWriter::unmap(u64 gpa, u64 length) {
    if (!valid_range(gpa, length)) return Edit::misaligned;
    if (length == 0) return Edit::ok;
    return change(second_.root, root_level, gpa, gpa + length - 1, Change::unmap, {});
}

Edit TableWriter::protect(u64 gpa, u64 length, PageRights rights) {
    if (!valid_range(gpa, length)) return Edit::misaligned;
    if (!expressible(rights)) return Edit::bad_rights;
    if (none(rights)) return unmap(gpa, length);
    if (length == 0) return Edit::ok;
    return change(second_.root, root_level, gpa, gpa + length - 1, Change::protect, rights);
}

std::optional<Mapping> TableWriter::query(u64 gpa) const {
    if (gpa >= address_limit) return std::nullopt;
    u64 table = second_.root;
    for (int level = root_level;; --level) {
        const u64 entry = load(table, gpa, level);
        if (!present(entry)) return std::nullopt;
        if (!is_leaf(entry, level)) {
            table = entry & ept::address;
            continue;
        }
        Mapping mapping;
        mapping.page_shift = static_cast<u8>(shift_of(level));
        mapping.spa = (entry & ept::address & ~(size_of(level) - 1)) | (gpa & (size_of(level) - 1));
        mapping.rights = rights_of(entry);
        if (second_.format == Format::ept) {
            mapping.memory_type = static_cast<u8>(entry >> ept::memory_type_shift & 7);
            mapping.accessed = entry & ept::accessed;
            mapping.dirty = entry & ept::dirty;
        } else {
            mapping.memory_type = static_cast<u8>(entry >> 3 & 3);
            mapping.accessed = entry & mmu::pte::accessed;
            mapping.dirty = entry & mmu::pte::dirty;
        }
        return mapping;
    }
}

bool TableWriter::test_and_clear_dirty(u64 gpa) {
    if (gpa >= address_limit) return false;
    const u64 flag = second_.format == Format::ept ? ept::dirty : mmu::pte::dirty;
    u64 table = second_.root;
    for (int level = root_level;; --level) {
        const u64 entry = load(table, gpa, level);
        if (!present(entry)) return false;
        if (is_leaf(entry, level)) {
            store(table, gpa, level, entry & ~flag);
            return entry & flag;
        }
        table = entry & ept::address;
    }
}

}  // namespace slat
