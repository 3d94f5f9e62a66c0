// Who answers which addresses on a bus. Ranges may overlap, as a guest can program anything: then the owner with the
// lowest number answers, among one owner's ranges the one with the lowest number.
#pragma once

#include <cstdint>
#include <vector>

#include "pci/ports.h"
#include "sim/working_set.h"

namespace pci {

struct Range {
    Space space = Space::memory;
    std::uint64_t first = 0;
    std::uint64_t last = 0;  // inclusive
    unsigned number = 0;     // the owner's own
    RangeTarget* target = nullptr;

    bool operator==(const Range&) const = default;
};

class AddressMap final {
public:
    // Replaces all ranges of an owner.
    void set(unsigned owner, std::vector<Range> ranges);

    // The range that answers [address, address + size), as far as one alone does; nullptr otherwise.
    const Range* find(Space space, std::uint64_t address, unsigned size) const;
    bool empty() const { return claims_.empty(); }
    // What an access to one of the owner's ranges of memory needs, as they are now.
    void add_needs(unsigned owner, sim::WorkingSet& set) const {
        for (const Segment& segment : segments(Space::memory)) {
            if (segment.owner != owner) continue;
            set.add(segment);
            set.add(segment.range.target, sim::WorkingSet::line_bytes);
        }
    }

    // For tests: the pieces of one space in order of address, with owners.
    struct Segment {
        std::uint64_t first;
        std::uint64_t last;
        unsigned owner;
        Range range;
    };
    const std::vector<Segment>& segments(Space space) const { return segments_[static_cast<unsigned>(space)]; }

private:
    struct Claim {
        unsigned owner;
        Range range;
    };
    void rebuild(Space space);

    std::vector<Claim> claims_;  // by owner, then by number
    std::vector<Segment> segments_[2];
};

}  // namespace pci
