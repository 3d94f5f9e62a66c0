// The two-dimensional walk in words: see two_dimensional.h.
#include <fmt/format.h>

#include <iterator>

#include "slat/two_dimensional.h"

namespace slat {

namespace {

struct StepRecorder {
    std::vector<Step> steps;
    u64 gpa = 0;
    Purpose purpose = Purpose::final_address;

    void nested_begin(u64 address, Purpose why) {
        gpa = address;
        purpose = why;
    }
    void entry(int level, u64 spa, unsigned /*bytes*/, u64 entry) {
        steps.push_back({Step::Dimension::nested, purpose, level, gpa, spa, entry});
    }
    void guest_entry(int level, u64 address, u64 spa, unsigned /*bytes*/, u64 entry) {
        steps.push_back({Step::Dimension::guest, Purpose::guest_table, level, address, spa, entry});
    }
    void guest_update(u64 /*gpa*/, u64 /*spa*/, unsigned /*bytes*/, u64 /*entry*/) {}
};

const char* name_of_level(int level) {
    static constexpr const char* names[] = {"?", "PTE", "PDE", "PDPTE", "PML4E", "PML5E"};
    return level >= 1 && level <= 5 ? names[level] : names[0];
}

const char* name_of_page(u8 shift) {
    switch (shift) {
        case mmu::shift_4k:
            return "4 KiB";
        case mmu::shift_2m:
            return "2 MiB";
        case mmu::shift_4m:
            return "4 MiB";
        case mmu::shift_1g:
            return "1 GiB";
        default:
            return "?";
    }
}

std::string result_line(const TwoDimensionalWalk& walk) {
    switch (walk.kind) {
        case TwoDimensionalKind::ok:
            return fmt::format("gva {:#x} -> gpa {:#x} -> spa {:#x}; guest page {}, nested page {}", walk.guest.gva,
                               walk.guest.gpa, walk.spa, name_of_page(walk.guest.page_shift),
                               name_of_page(walk.nested.page_shift));
        case TwoDimensionalKind::page_fault:
            return fmt::format("page fault in the guest: error code {:#x}, CR2 {:#x}", walk.guest.error_code,
                               walk.guest.gva);
        case TwoDimensionalKind::non_canonical:
            return fmt::format("gva {:#x} is not canonical: general protection in the guest", walk.guest.gva);
        case TwoDimensionalKind::violation:
            return fmt::format("violation in the second level: information {:#x}, gpa {:#x}", walk.nested.exit_info1,
                               walk.nested.exit_info2);
        case TwoDimensionalKind::misconfiguration:
            return fmt::format("misconfiguration in the second level: gpa {:#x}", walk.nested.exit_info2);
    }
    return {};
}

}  // namespace

Explanation explain(const mmu::PagingState& state, const SecondLevel& second, SystemMemory memory, u64 gva,
                    mmu::AccessKind kind) {
    StepRecorder recorder;
    Explanation explanation;
    explanation.walk = walk<mmu::WalkOptions{.leave_accessed_dirty = true}>(state, second, memory, gva, kind, recorder);
    explanation.steps = std::move(recorder.steps);
    return explanation;
}

std::string to_text(const Explanation& explanation) {
    std::string text =
        fmt::format("{:>3}  {:<10}{:<7}{:<20}{:<20}{}\n", "#", "dimension", "level", "entry at (spa)", "entry", "what");
    auto out = std::back_inserter(text);
    int number = 0;
    for (const Step& step : explanation.steps) {
        const bool guest = step.dimension == Step::Dimension::guest;
        fmt::format_to(out, "{:>3}  {:<10}{:<7}{:<#20x}{:<#20x}", ++number, guest ? "guest" : "  nested",
                       name_of_level(step.level), step.spa, step.entry);
        if (guest) {
            fmt::format_to(out, "guest entry at gpa {:#x}\n", step.gpa);
        } else if (step.purpose == Purpose::final_address) {
            fmt::format_to(out, "translates the page's gpa {:#x}\n", step.gpa);
        } else {
            fmt::format_to(out, "translates the guest table's gpa {:#x}\n", step.gpa);
        }
    }
    fmt::format_to(out, "{} memory references. {}\n", explanation.walk.references, result_line(explanation.walk));
    return text;
}

}  // namespace slat
