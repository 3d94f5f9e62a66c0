// Builds and edits second-level tables in system memory, in either format: what a hypervisor does when it gives pages
// to a partition. Large pages are split when a part of one changes; tables that become empty are given back.
//
// Editing invalidates nothing: whoever narrows rights or removes a mapping flushes the nested mappings afterwards.
#pragma once

#include <optional>

#include "slat/second_level.h"

namespace slat {

// Where table pages come from: the owner of physical memory.
class TablePages {
public:
    virtual ~TablePages() = default;
    // The system physical address of a page of zeroes, or nothing when none is left.
    [[nodiscard]] virtual std::optional<u64> allocate_table() = 0;
    virtual void free_table(u64 spa) = 0;
};

enum class Edit : u8 {
    ok,
    no_memory,   // no table page was left; pages before the one that failed are done
    misaligned,  // an address or length is no multiple of the page size, or past the 48 bits that four levels translate
    bad_rights,  // not expressible: write without read; execute-only or large pages that the processor has not
};

struct Mapping {
    u64 spa = 0;  // of the byte asked for
    u8 page_shift = mmu::shift_4k;
    u8 memory_type = 6;
    bool accessed = false;
    bool dirty = false;
    PageRights rights;

    bool operator==(const Mapping&) const = default;
};

class TableWriter final {
public:
    // Takes the format and the processor's capabilities from `second`; its root is replaced by create().
    TableWriter(const SecondLevel& second, SystemMemory memory, TablePages& pages)
        : second_(second), memory_(memory), pages_(&pages) {}
    // The tables belong to the memory's owner; destroy() gives them back, the destructor does not.
    ~TableWriter() = default;

    // Allocates the root table. Every other member needs it.
    [[nodiscard]] Edit create();
    // Frees every table, the root last.
    void destroy();

    [[nodiscard]] const SecondLevel& second_level() const { return second_; }
    [[nodiscard]] u64 table_pages() const { return table_pages_; }

    // Maps one page of 4 KiB, 2 MiB or 1 GiB, replacing whatever translated any part of it before.
    // No rights at all is the same as unmap.
    [[nodiscard]] Edit map(u64 gpa, u64 spa, u8 page_shift, PageRights rights,
                           MemoryType type = MemoryType::write_back);
    // Maps a range with the largest pages that alignment allows, up to `largest_shift`.
    [[nodiscard]] Edit map_range(u64 gpa, u64 spa, u64 length, PageRights rights, u8 largest_shift = mmu::shift_1g,
                                 MemoryType type = MemoryType::write_back);
    // Removes every translation in [gpa, gpa + length), both multiples of 4 KiB.
    [[nodiscard]] Edit unmap(u64 gpa, u64 length = 4096);
    // Changes the rights of what is mapped in the range; what is not stays unmapped. No rights at all unmaps.
    [[nodiscard]] Edit protect(u64 gpa, u64 length, PageRights rights);

    [[nodiscard]] std::optional<Mapping> query(u64 gpa) const;
    // Whether a dirty page was there, in [gpa's page]; clears the flag. Nothing mapped: false.
    [[nodiscard]] bool test_and_clear_dirty(u64 gpa);

    template <class A>
    void fields(A& a) {
        a(second_, table_pages_);
    }

private:
    enum class Change : u8 { unmap, protect };

    [[nodiscard]] u64 load(u64 table, u64 gpa, int level) const;
    void store(u64 table, u64 gpa, int level, u64 entry);
    [[nodiscard]] bool present(u64 entry) const;
    [[nodiscard]] bool is_leaf(u64 entry, int level) const;
    [[nodiscard]] bool expressible(PageRights rights) const;
    [[nodiscard]] u64 leaf_entry(u64 spa, int level, PageRights rights, MemoryType type) const;
    [[nodiscard]] u64 with_rights(u64 entry, PageRights rights) const;
    [[nodiscard]] PageRights rights_of(u64 entry) const;
    [[nodiscard]] std::optional<u64> new_table();
    void release(u64 table);
    [[nodiscard]] std::optional<u64> child(u64 table, u64 gpa, int level);
    [[nodiscard]] bool empty(u64 table) const;
    void free_tree(u64 table, int level);
    void prune(u64 gpa);
    [[nodiscard]] Edit change(u64 table, int level, u64 first, u64 last, Change what, PageRights rights);

    SecondLevel second_;
    SystemMemory memory_;
    TablePages* pages_;
    u64 table_pages_ = 0;
};

}  // namespace slat
