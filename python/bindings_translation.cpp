// Translation of addresses to look at, each walk step by step and in words: of a guest that runs, or for lessons of
// tables and a second level in memory of their own with the translation unit of one processor before them.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "models/host.h"
#include "python/bindings_devices.h"
#include "sim/check.h"
#include "slat/table_writer.h"
#include "slat/translation_unit.h"

namespace py = pybind11;

namespace {

using mmu::u64;

const char* outcome_name(slat::TwoDimensionalKind kind) {
    static constexpr const char* names[] = {"ok", "page fault", "not canonical", "violation", "misconfiguration"};
    return names[static_cast<unsigned>(kind)];
}

py::dict walk_of(const slat::Explanation& found) {
    py::list steps;
    for (const slat::Step& step : found.steps) {
        const bool guest = step.dimension == slat::Step::Dimension::guest;
        steps.append(py::make_tuple(guest ? "guest" : "nested", step.level, step.gpa, step.spa, step.entry));
    }
    py::dict all;
    all["steps"] = steps;
    all["outcome"] = outcome_name(found.walk.kind);
    all["guest_address"] = found.walk.guest.ok() ? py::cast(found.walk.guest.gpa) : py::none();
    all["host_address"] = found.walk.ok() ? py::cast(found.walk.spa) : py::none();
    all["page_bytes"] = found.walk.ok() ? u64{1} << found.walk.page_shift : 0;
    all["text"] = slat::to_text(found);
    return all;
}

// Nothing: there is no such processor.
std::optional<py::dict> explain(const models::Host& host, const models::Guest& guest, std::uint32_t vp, u64 linear,
                                unsigned kind) {
    const auto found = host.explain(guest, vp, linear, static_cast<mmu::Access>(kind));
    return found ? std::optional{walk_of(*found)} : std::nullopt;
}

// The guest has 16 MiB, which begin at 16 MiB of the system's memory; with pages of 1 GiB, whose addresses are
// multiples of that, at its beginning. Second-level tables lie behind.
constexpr u64 lesson_guest_bytes = u64{16} << 20;
constexpr u64 lesson_tables = u64{32} << 20, lesson_bytes = u64{33} << 20;
// Guest tables: a page for each level, the root highest. Linear address 0 is this guest physical address.
constexpr u64 data_gpa = u64{4} << 20;

class TranslationLesson final : private slat::TablePages {
public:
    TranslationLesson(bool extended, unsigned guest_shift, unsigned nested_shift)
        : bytes_(lesson_bytes),
          memory_{bytes_.data(), bytes_.size()},
          base_(nested_shift == mmu::shift_1g ? 0 : lesson_guest_bytes),
          writer_({.format = extended ? slat::Format::ept : slat::Format::npt}, memory_, *this),
          unit_({}, memory_) {
        const auto shift = static_cast<mmu::u8>(nested_shift);
        VG_CHECK(writer_.create() == slat::Edit::ok);
        const u64 length = std::max(lesson_guest_bytes, u64{1} << nested_shift);
        VG_CHECK(writer_.map_range(0, base_, length, {}, shift) == slat::Edit::ok);
        const unsigned leaf = guest_shift == mmu::shift_4k ? 1 : guest_shift == mmu::shift_2m ? 2 : 3;
        constexpr u64 rights = mmu::pte::present | mmu::pte::writable | mmu::pte::user;
        for (u64 level = 4; level > leaf; --level) store(level << 12, (level - 1) << 12 | rights);
        const u64 first = leaf == 3 ? 0 : data_gpa;  // a page of 1 GiB begins at 0
        for (u64 i = 0; i < (leaf == 1 ? 512u : leaf == 2 ? 6u : 1u); ++i) {
            store((u64{leaf} << 12) + 8 * i, (first + (i << guest_shift)) | rights | (leaf > 1 ? mmu::pte::large : 0));
        }
        state_.cr0 = mmu::cr0::pg | mmu::cr0::wp;
        state_.cr4 = mmu::cr4::pae | mmu::cr4::pge | mmu::cr4::pcide;
        state_.efer = mmu::efer::lma | mmu::efer::lme | mmu::efer::nxe;
        state_.cr3 = u64{4} << 12;
        unit_.set_context(state_, writer_.second_level(), 1, 1);
    }
    TranslationLesson(const TranslationLesson&) = delete;

    // (where it was found, memory references, host address, kind of fault or nothing)
    py::tuple access(u64 address, unsigned kind) {
        static constexpr const char* places[] = {"L1 TLB", "L2 TLB", "walk", "fault"};
        const auto result = unit_.look_up(address, {static_cast<mmu::Access>(kind)});
        const bool walked = result.level == slat::LookUp::walk || result.level == slat::LookUp::fault;
        unsigned reads = 0;
        if (walked) {
            for (const slat::Reference& reference : unit_.references()) reads += reference.write ? 0 : 1;
        }
        return py::make_tuple(places[static_cast<unsigned>(result.level)], reads, result.ok() ? result.spa : 0);
    }

    py::dict translate(u64 address, unsigned kind) const {
        return walk_of(
            slat::explain(state_, writer_.second_level(), memory_, address, {static_cast<mmu::Access>(kind)}));
    }

    void flush() { unit_.flush_all(); }
    void flush_page(u64 address) { unit_.flush(mmu::flush::invlpg(unit_.context(), address)); }
    void unmap(u64 gpa) {
        if (writer_.unmap(gpa & ~u64{4095}) != slat::Edit::ok) throw sim::UserError("unmap: there is no such page");
        unit_.flush_second_level(1);
    }

    py::dict counts() const {
        const auto& c = unit_.counts();
        return py::dict(py::arg("l1_hits") = c.l1_hits, py::arg("l2_hits") = c.l2_hits, py::arg("walks") = c.walks,
                        py::arg("faults") = c.faults, py::arg("references") = c.references);
    }

private:
    void store(u64 gpa, u64 entry) { memory_.store<u64>(base_ + gpa, entry); }
    std::optional<u64> allocate_table() override {
        if (next_ == lesson_bytes) return std::nullopt;
        next_ += 4096;
        return next_ - 4096;
    }
    void free_table(u64) override {}

    std::vector<std::byte> bytes_;
    mmu::SystemMemory memory_;
    u64 next_ = lesson_tables;
    u64 base_;
    slat::TableWriter writer_;
    slat::TranslationUnit unit_;
    mmu::PagingState state_;
};

}  // namespace

namespace python {

void bind_translation(py::module_& module) {
    module.def("translate", &explain);
    py::class_<TranslationLesson>(module, "TranslationLesson")
        .def(py::init<bool, unsigned, unsigned>())
        .def("access", &TranslationLesson::access)
        .def("translate", &TranslationLesson::translate)
        .def("flush", &TranslationLesson::flush)
        .def("flush_page", &TranslationLesson::flush_page)
        .def("unmap", &TranslationLesson::unmap)
        .def("counts", &TranslationLesson::counts);
}

}  // namespace python
