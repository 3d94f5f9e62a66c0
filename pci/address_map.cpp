#include "pci/address_map.h"

#include <algorithm>
#include <set>

#include "sim/check.h"

namespace pci {

void AddressMap::set(unsigned owner, std::vector<Range> ranges) {
    const auto low =
        std::lower_bound(claims_.begin(), claims_.end(), owner, [](const Claim& c, unsigned o) { return c.owner < o; });
    const auto high =
        std::upper_bound(low, claims_.end(), owner, [](unsigned o, const Claim& c) { return o < c.owner; });
    std::sort(ranges.begin(), ranges.end(), [](const Range& a, const Range& b) { return a.number < b.number; });
    const bool same = std::equal(low, high, ranges.begin(), ranges.end(),
                                 [](const Claim& claim, const Range& range) { return claim.range == range; });
    if (same) return;
    const auto place = claims_.erase(low, high);
    std::vector<Claim> added;
    for (const Range& range : ranges) {
        VG_CHECK(range.first <= range.last && range.target != nullptr);
        added.push_back({owner, range});
    }
    claims_.insert(place, added.begin(), added.end());
    rebuild(Space::memory);
    rebuild(Space::io);
}

// One sweep over the places where a range begins or has ended; the lowest claim that is open there answers.
void AddressMap::rebuild(Space space) {
    struct Edge {
        std::uint64_t at;
        bool opens;
        std::size_t claim;
    };
    std::vector<Edge> edges;
    for (std::size_t i = 0; i < claims_.size(); ++i) {
        const Range& range = claims_[i].range;
        if (range.space != space) continue;
        edges.push_back({range.first, true, i});
        if (range.last != ~std::uint64_t{0}) edges.push_back({range.last + 1, false, i});
    }
    std::sort(edges.begin(), edges.end(), [](const Edge& a, const Edge& b) { return a.at < b.at; });

    std::vector<Segment>& segments = segments_[static_cast<unsigned>(space)];
    segments.clear();
    std::set<std::size_t> open;
    for (std::size_t e = 0; e < edges.size();) {
        const std::uint64_t at = edges[e].at;
        for (; e < edges.size() && edges[e].at == at; ++e) {
            if (edges[e].opens) {
                open.insert(edges[e].claim);
            } else {
                open.erase(edges[e].claim);
            }
        }
        if (open.empty()) continue;
        const Claim& claim = claims_[*open.begin()];
        const std::uint64_t last = e < edges.size() ? edges[e].at - 1 : ~std::uint64_t{0};
        if (!segments.empty() && segments.back().last + 1 == at && segments.back().owner == claim.owner &&
            segments.back().range == claim.range) {
            segments.back().last = last;
        } else {
            segments.push_back({at, last, claim.owner, claim.range});
        }
    }
}

const Range* AddressMap::find(Space space, std::uint64_t address, unsigned size) const {
    const std::vector<Segment>& all = segments(space);
    auto place = std::upper_bound(all.begin(), all.end(), address,
                                  [](std::uint64_t a, const Segment& s) { return a < s.first; });
    if (place == all.begin()) return nullptr;
    --place;
    return address <= place->last && place->last - address >= size - 1 ? &place->range : nullptr;
}

}  // namespace pci
