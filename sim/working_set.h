// Where that lies which somebody needs each time he acts again after a while. It is fetched into the simulating
// computer's caches together, when he is called or before; what is missed line by line is waited for line by line, and
// of a thousand guests nothing is still there from the last time. What is simulated is the same with it and without.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <utility>
#include <vector>

#include "sim/prefetch.h"

namespace sim {

// Where somebody will look next, to be fetched perhaps in vain: nobody looks there by it.
struct Hint {
    const void* at = nullptr;
    friend bool operator==(const Hint&, const Hint&) { return true; }
};

class WorkingSet final {
public:
    static constexpr std::size_t line_bytes = 64;

    WorkingSet() = default;
    WorkingSet(WorkingSet&& other) noexcept
        : pieces_(std::exchange(other.pieces_, {})), contents_(std::exchange(other.contents_, 0)) {}
    WorkingSet& operator=(WorkingSet&& other) noexcept {
        clear();
        pieces_ = std::exchange(other.pieces_, {});
        contents_ = std::exchange(other.contents_, 0);
        return *this;
    }
    ~WorkingSet() { clear(); }

    // It may end before this set does: what is no more there is fetched in vain.
    void add(const void* from, std::size_t bytes) {
        if (add_lines(reinterpret_cast<std::uintptr_t>(from), bytes)) ++changes_;
    }
    template <class T>
    void add(const T& object) {
        add(&object, sizeof object);
    }
    // From one member of an object to before another.
    void add_between(const void* from, const void* to) {
        add(from, static_cast<std::size_t>(static_cast<const std::byte*>(to) - static_cast<const std::byte*>(from)));
    }
    // So many bytes from where `holder` points to with its first word, wherever that is by then: a std::vector does, a
    // std::unique_ptr, and whatever begins with one. The holder does not end before this set.
    template <class T>
    void add_content(const T& holder, std::size_t bytes) {
        static_assert(sizeof holder >= sizeof(void*));
        add(&holder, sizeof(void*));
        if (add_piece({reinterpret_cast<std::uintptr_t>(&holder), std::min<std::size_t>(bytes, most_bytes)}))
            ++changes_;
    }
    // The first ones of a container, as many as there mostly are.
    template <class Container>
    void add_elements(const Container& container, std::size_t count = 1) {
        add_content(container, count * sizeof *container.begin());
    }
    bool empty() const { return pieces_.empty(); }
    void clear() {
        if (!pieces_.empty()) ++changes_;
        pieces_.clear();
        contents_ = 0;
    }

    void fetch() const {
        for (std::size_t n = 0; n < contents_; ++n) fetch_lines(pieces_[n].place * line_bytes, pieces_[n].extent);
    }
    // What is fetched in one go. Each line's page may have to be looked up in the computer's tables, which lie in its
    // memory too and take longer than the line. Some dozens of look-ups go on at once, if they are near each other in
    // the program.
    static constexpr std::size_t at_once = 64;
    // Some of it, from where the last call has ended, at first 0, as long as there is room for lines. False: that was
    // the end.
    bool fetch_some(std::size_t& at, std::size_t& room) const {
        for (; at < contents_ && room != 0; ++at) {
            fetch_lines(pieces_[at].place * line_bytes, pieces_[at].extent);
            room -= std::min<std::size_t>(room, pieces_[at].extent);
        }
        return at < contents_;
    }
    // Likewise, some time after the lines, when the holders are here.
    bool fetch_some_contents(std::size_t& at, std::size_t& room) const {
        for (at = std::max(at, contents_); at < pieces_.size() && room != 0; ++at) {
            std::uintptr_t content = 0;
            std::memcpy(&content, reinterpret_cast<const void*>(pieces_[at].place), sizeof content);
            // The computer would look for the page of address 0 each time: it keeps no pages that it has not found.
            if (content == 0) continue;
            prefetch(reinterpret_cast<const void*>(content), pieces_[at].extent);
            room -= std::min<std::size_t>(room, pieces_[at].extent / line_bytes + 1);
        }
        return at < pieces_.size();
    }
    // Some time before: this itself.
    void fetch_list() const {
        fetch_lines(reinterpret_cast<std::uintptr_t>(pieces_.data()), pieces_.size() * sizeof(Piece) / line_bytes + 1);
    }

private:
    friend class GatheredSet;

    // Lines one after the other, by the number of the first; or a content in bytes, by its holder's address.
    struct Piece {
        Piece(std::uintptr_t at, std::size_t count) : place(at), extent(count) {}
        std::uintptr_t place : 52;
        std::uintptr_t extent : 12;
    };
    static_assert(sizeof(Piece) == 8);
    static constexpr std::size_t most = 512, most_bytes = 4095;

    static void fetch_lines(std::uintptr_t from, std::size_t lines) {
        for (std::size_t n = 0; n < lines; ++n) prefetch(reinterpret_cast<const void*>(from + n * line_bytes));
    }
    bool add_piece(const Piece& piece) {
        if (pieces_.size() >= most) return false;
        pieces_.push_back(piece);
        return true;
    }
    // Whether one of them was not there.
    bool add_lines(std::uintptr_t begin, std::size_t bytes) {
        bool added = false;
        for (std::uintptr_t line = begin / line_bytes; line * line_bytes < begin + bytes; ++line) {
            added = add_line(line) || added;
        }
        // Those of one length together: whoever goes through them can guess the next one's.
        if (added) {
            std::stable_sort(pieces_.begin(), pieces_.begin() + static_cast<std::ptrdiff_t>(contents_),
                             [](const Piece& a, const Piece& b) { return a.extent < b.extent; });
        }
        return added;
    }
    bool add_line(std::uintptr_t line) {
        Piece* before = nullptr;
        for (std::size_t n = 0; n < contents_; ++n) {
            Piece& piece = pieces_[n];
            if (line - piece.place < piece.extent) return false;
            if (line == piece.place + piece.extent && piece.extent < most) before = &piece;
        }
        if (before != nullptr) {
            ++before->extent;
            return true;
        }
        if (pieces_.size() >= most) return false;
        pieces_.insert(pieces_.begin() + static_cast<std::ptrdiff_t>(contents_++), Piece{line, 1});
        return true;
    }

    // Counts what is added to any set, and when one is no more (a gathered one, too: it ends with others).
    static inline std::uint64_t changes_ = 0;

    std::vector<Piece> pieces_;  // lines first, then contents
    std::size_t contents_ = 0;   // from there on
};

// Several of them in one list, as they were when it was made: the lists lie together, and nothing is in it twice.
class GatheredSet final {
public:
    // Since then no set has changed: what holds a content is still there.
    bool current() const { return as_of_ == WorkingSet::changes_; }
    // None has since this was asked the last time.
    bool settled() { return std::exchange(seen_, WorkingSet::changes_) == WorkingSet::changes_; }
    // Of nothing, and from now.
    void restart() {
        all_.pieces_.clear();
        all_.contents_ = 0;
        as_of_ = WorkingSet::changes_;
    }
    void add(const WorkingSet& set) {
        for (std::size_t n = 0; n < set.contents_; ++n) {
            all_.add_lines(set.pieces_[n].place * WorkingSet::line_bytes,
                           set.pieces_[n].extent * WorkingSet::line_bytes);
        }
        for (std::size_t n = set.contents_; n < set.pieces_.size(); ++n) {
            const auto holder = set.pieces_[n].place;
            const bool known =
                std::any_of(all_.pieces_.begin() + static_cast<std::ptrdiff_t>(all_.contents_), all_.pieces_.end(),
                            [&](const auto& piece) { return piece.place == holder; });
            if (!known) all_.add_piece(set.pieces_[n]);
        }
    }
    const WorkingSet& all() const { return all_; }

private:
    WorkingSet all_;
    std::uint64_t as_of_ = ~std::uint64_t{0}, seen_ = as_of_;
};

}  // namespace sim
