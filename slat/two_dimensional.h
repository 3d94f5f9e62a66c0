// The two-dimensional walk: a guest page walk in which every guest physical address, of each guest table and of the
// page at the end, is itself translated by the second level. With g guest levels and n nested levels that is
// (g + 1) * (n + 1) - 1 memory references: 24 for four on four.
//
// A recorder sees the walk as it happens:
//     nested_begin(gpa, purpose)                    a guest physical address goes to the second level
//     entry(level, spa, bytes, entry)               a second-level entry was read
//     guest_entry(level, gpa, spa, bytes, entry)    a guest table entry was read
//     guest_update(gpa, spa, bytes, entry)          a guest table entry got its accessed or dirty flag
#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include "slat/second_level.h"

namespace slat {

enum class TwoDimensionalKind : u8 {
    ok,
    page_fault,        // the guest's: #PF with guest.error_code
    non_canonical,     // the guest's: #GP or #SS
    violation,         // the hypervisor's: nested.exit_info1/2
    misconfiguration,  // the hypervisor's: nested.exit_info2
};

struct TwoDimensionalWalk {
    TwoDimensionalKind kind = TwoDimensionalKind::ok;
    u8 page_shift = mmu::shift_4k;  // what one TLB entry can cover: the smaller of the two pages
    u16 references = 0;             // table entries read, guest and nested
    u16 updates = 0;                // table entries written, guest and nested
    mmu::Walk guest;
    Translation nested;  // of the final address, or the one that failed
    u64 spa = 0;

    [[nodiscard]] bool ok() const { return kind == TwoDimensionalKind::ok; }
};

struct NoTwoDimensionalRecorder {
    void nested_begin(u64 /*gpa*/, Purpose /*purpose*/) {}
    void entry(int /*level*/, u64 /*spa*/, unsigned /*bytes*/, u64 /*entry*/) {}
    void guest_entry(int /*level*/, u64 /*gpa*/, u64 /*spa*/, unsigned /*bytes*/, u64 /*entry*/) {}
    void guest_update(u64 /*gpa*/, u64 /*spa*/, unsigned /*bytes*/, u64 /*entry*/) {}
};

// Guest memory behind a second level, as the guest walk's port (mmu/walk.h).
template <TranslateOptions options, class Recorder>
class NestedPort final {
public:
    NestedPort(const SecondLevel& second, SystemMemory memory, Recorder& recorder,
               Purpose table_purpose = Purpose::guest_table)
        : second_(second), memory_(memory), recorder_(recorder), purpose_(table_purpose) {}

    bool load(u64 gpa, unsigned bytes, u64& entry) {
        if (!translate(gpa, {.purpose = purpose_})) return false;
        entry = bytes == 4 ? memory_.load<u32>(nested_.spa) : memory_.load<u64>(nested_.spa);
        table_spa_ = nested_.spa;
        return true;
    }

    // The update is part of the walk that has just read the entry: the second level checks it again, as a write, but
    // nothing is read again, and what flags it needs are set already.
    mmu::EntryUpdate update(u64 gpa, unsigned bytes, u64 expected, u64 desired) {
        const Translation write = look_up(second_, memory_, gpa, {.purpose = Purpose::table_update});
        if (!write.ok()) {
            nested_ = write;
            return mmu::EntryUpdate::fault;
        }
        const mmu::EntryUpdate done = mmu::PhysicalPort(memory_).update(write.spa, bytes, expected, desired);
        if (done == mmu::EntryUpdate::done) recorder_.guest_update(gpa, write.spa, bytes, desired);
        return done;
    }

    bool translate(u64 gpa, const Request& request) {
        recorder_.nested_begin(gpa, request.purpose);
        nested_ = translate_from<options>(second_, memory_, root_of(second_), gpa, request, recorder_);
        references_ = static_cast<u16>(references_ + nested_.references);
        updates_ = static_cast<u16>(updates_ + nested_.updates);
        return nested_.ok();
    }

    // The walk's recorder: passes entries on with the system physical address they were read from.
    void entry(int level, u64 gpa, unsigned bytes, u64 value) {
        recorder_.guest_entry(level, gpa, table_spa_, bytes, value);
    }

    [[nodiscard]] const Translation& nested() const { return nested_; }
    [[nodiscard]] u16 references() const { return references_; }
    [[nodiscard]] u16 updates() const { return updates_; }

private:
    const SecondLevel& second_;
    SystemMemory memory_;
    Recorder& recorder_;
    Purpose purpose_;
    u16 references_ = 0;
    u16 updates_ = 0;
    u64 table_spa_ = 0;
    Translation nested_;
};

// What the second level is asked for the page at the end of a guest walk.
[[nodiscard]] inline Request final_request(const mmu::Walk& guest, Access access) {
    return {.access = access,
            .linear_user = guest.rights.user,
            .linear_writable = guest.rights.writable,
            .linear_no_execute = !guest.rights.executable};
}

template <mmu::WalkOptions guest_options = mmu::WalkOptions{}, class Recorder>
[[nodiscard]] TwoDimensionalWalk walk(const mmu::PagingState& state, const SecondLevel& second, SystemMemory memory,
                                      u64 gva, mmu::AccessKind kind, Recorder& recorder) {
    constexpr TranslateOptions options{.leave_flags = guest_options.leave_accessed_dirty};
    NestedPort<options, Recorder> port(second, memory, recorder);
    TwoDimensionalWalk result;
    result.guest = mmu::walk<guest_options>(state, gva, kind, port, port);
    switch (result.guest.kind) {
        case mmu::WalkKind::ok:
            port.translate(result.guest.gpa, final_request(result.guest, kind.access));
            break;
        case mmu::WalkKind::page_fault:
            result.kind = TwoDimensionalKind::page_fault;
            break;
        case mmu::WalkKind::non_canonical:
            result.kind = TwoDimensionalKind::non_canonical;
            break;
        case mmu::WalkKind::nested_fault:
            break;
    }
    result.nested = port.nested();
    result.references = static_cast<u16>(result.guest.references + port.references());
    result.updates = static_cast<u16>(result.guest.updates + port.updates());
    if (result.kind != TwoDimensionalKind::ok) return result;
    if (!result.nested.ok()) {
        result.kind = result.nested.outcome == Outcome::violation ? TwoDimensionalKind::violation
                                                                  : TwoDimensionalKind::misconfiguration;
        return result;
    }
    result.page_shift = std::min(result.guest.page_shift, result.nested.page_shift);
    result.spa = result.nested.spa;
    return result;
}

template <mmu::WalkOptions guest_options = mmu::WalkOptions{}>
[[nodiscard]] TwoDimensionalWalk walk(const mmu::PagingState& state, const SecondLevel& second, SystemMemory memory,
                                      u64 gva, mmu::AccessKind kind) {
    NoTwoDimensionalRecorder recorder;
    return walk<guest_options>(state, second, memory, gva, kind, recorder);
}

// The same translation without side effects.
[[nodiscard]] inline TwoDimensionalWalk translate(const mmu::PagingState& state, const SecondLevel& second,
                                                  SystemMemory memory, u64 gva, mmu::AccessKind kind) {
    return walk<mmu::WalkOptions{.leave_accessed_dirty = true}>(state, second, memory, gva, kind);
}

// PAE paging behind a second level: MOV to CR3 loads the PDPTE registers. On a nested fault `nested` says which.
[[nodiscard]] inline mmu::PdpteLoad load_pdptes(mmu::PagingState& state, const SecondLevel& second, SystemMemory memory,
                                                Translation& nested) {
    NoTwoDimensionalRecorder recorder;
    NestedPort<TranslateOptions{}, NoTwoDimensionalRecorder> port(second, memory, recorder, Purpose::pdpte_load);
    const mmu::PdpteLoad done = mmu::load_pdptes(state, port);
    nested = port.nested();
    return done;
}

// The walk as a list of memory references, for teaching and for looking into a fault.
struct Step {
    enum class Dimension : u8 { guest, nested };

    Dimension dimension = Dimension::guest;
    Purpose purpose = Purpose::guest_table;  // of the nested translation that this reference serves
    int level = 0;                           // 1 is the table that maps 4 KiB
    u64 gpa = 0;                             // guest: of the entry; nested: the address under translation
    u64 spa = 0;                             // of the entry
    u64 entry = 0;

    bool operator==(const Step&) const = default;
};

struct Explanation {
    TwoDimensionalWalk walk;
    std::vector<Step> steps;
};

// Walks without side effects and keeps each step.
[[nodiscard]] Explanation explain(const mmu::PagingState& state, const SecondLevel& second, SystemMemory memory,
                                  u64 gva, mmu::AccessKind kind);

// A table, one line per memory reference, and the result.
[[nodiscard]] std::string to_text(const Explanation& explanation);

}  // namespace slat
