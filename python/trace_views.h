// How a kind of trace record looks on a time line: what its words are called, and whether it is an instant, a stretch
// of time, one end of something that takes time, or a level. Kinds that are not here are instants with numbered words.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace python {

enum class Shape : std::uint8_t {
    instant,
    turn,      // a logical processor ran somebody
    packet,    // a frame in an adapter, with the instants of its stages
    lasted,    // it ends here; the last word says how long it took
    begin,     // it begins here, and ends at the record of the next row of the table with the same `key` word
    end,       //
    level,     // the last word is what the line or queue named by the other word is at now
    figures,   // each word is a figure of its own, valid from now on
    partition  // gives a partition's number, so that others can say its name
};

struct View {
    std::string_view kind;
    Shape shape = Shape::instant;
    std::string_view words;  // names, with spaces between
    unsigned key = 0;        // begin, end: the word that tells one from another
    std::string_view name;   // begin, end, lasted: what it is called
};

// Null if nothing is known about the kind.
const View* find_view(std::string_view kind);

// The names of a view's words, one by one; after the last, an empty one.
std::string_view word_name(const View& view, unsigned index);

// The reason of an exit by its number in the control block; empty if it has no name.
std::string_view exit_name(std::uint64_t code);

// The stages of a frame through the adapter, between the instants that a record of kind "packet" holds.
std::span<const std::string_view> packet_stages(std::uint64_t end);

}  // namespace python
