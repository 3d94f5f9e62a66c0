// Guest pages that two sides agreed on, as one run of bytes: what a GPADL describes, or a part of it.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "vmbus/ports.h"

namespace vmbus {

inline constexpr std::uint64_t page_bytes = 4096;

class PageList {
public:
    PageList() = default;

    // At the end: `length` bytes from `offset` of the first page. There are as many pages as that needs.
    void append(std::uint32_t offset, std::uint32_t length, std::span<const std::uint64_t> pages);

    std::uint64_t size() const { return size_; }
    // Neighbouring pages are one run.
    std::size_t runs() const { return runs_.size(); }
    PageList slice(std::uint64_t at, std::uint64_t length) const;

    // What finding a place in it takes (sim/working_set.h): all of a short list, the beginning of another.
    void add_needs(sim::WorkingSet& set) const {
        constexpr std::size_t most = 8;
        set.add(*this);
        set.add(runs_.data(), std::min(runs_.size(), most) * sizeof(Run));
    }
    // Those bytes of it will be read or written soon.
    void expect(const GuestMemory& memory, std::uint64_t at, std::uint64_t bytes) const {
        constexpr std::uint64_t line = sim::WorkingSet::line_bytes;
        for (const std::uint64_t end = at + bytes; at < end; at += line - at % line) {
            if (const Run* const run = find(at, 1)) memory.expect(run->gpa + (at - run->start));
        }
    }

    // False: not all of it is in the list, or in the guest's RAM. Runs before the one that failed may have been moved.
    [[nodiscard]] bool read(GuestMemory& memory, std::uint64_t at, std::span<std::byte> out) const {
        const Run* run = find(at, out.size());
        if (run != nullptr && fits(*run, at, out.size())) [[likely]]
            return memory.read(run->gpa + (at - run->start), out);
        return read_runs(memory, at, out, run);
    }
    [[nodiscard]] bool write(GuestMemory& memory, std::uint64_t at, std::span<const std::byte> data) const {
        const Run* run = find(at, data.size());
        if (run != nullptr && fits(*run, at, data.size())) [[likely]]
            return memory.write(run->gpa + (at - run->start), data);
        return write_runs(memory, at, data, run);
    }

private:
    struct Run {
        std::uint64_t start;  // in the list
        std::uint64_t gpa;
        std::uint64_t length;
    };

    static bool fits(const Run& run, std::uint64_t at, std::uint64_t length) {
        return at - run.start + length <= run.length;
    }
    // The run that `at` is in; null if not all bytes from there are in the list, or there are none.
    const Run* find(std::uint64_t at, std::uint64_t length) const {
        if (length == 0 || at >= size_ || length > size_ - at) return nullptr;
        const Run* low = runs_.data();
        for (std::size_t count = runs_.size(); count > 1;) {
            const std::size_t half = count / 2;
            if (low[half].start <= at) low += half;
            count -= half;
        }
        return low;
    }
    bool read_runs(GuestMemory& memory, std::uint64_t at, std::span<std::byte> out, const Run* run) const;
    bool write_runs(GuestMemory& memory, std::uint64_t at, std::span<const std::byte> data, const Run* run) const;
    void add_run(std::uint64_t gpa, std::uint64_t length);

    std::vector<Run> runs_;
    std::uint64_t size_ = 0;
};

}  // namespace vmbus
