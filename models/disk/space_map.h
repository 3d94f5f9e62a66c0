// Which parts of an image file are taken, in units of a fixed size.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

namespace models {

class SpaceMap final {
public:
    // The first units may be taken from the start.
    explicit SpaceMap(std::uint64_t units = 0) : taken_(units) {}

    std::uint64_t units() const { return taken_.size(); }
    bool is_taken(std::uint64_t unit) const { return unit < taken_.size() && taken_[unit]; }
    // False, with nothing changed, if any of them is taken. Lengthens the map as needed.
    bool take(std::uint64_t begin, std::uint64_t count);
    void release(std::uint64_t begin, std::uint64_t count);
    // The lowest run of free units inside the map.
    std::optional<std::uint64_t> find_free(std::uint64_t count);
    std::uint64_t count_free() const;

private:
    std::vector<bool> taken_;
    std::uint64_t search_from_ = 0;  // nothing is free below
};

}  // namespace models
