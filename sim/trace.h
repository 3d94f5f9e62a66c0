// The trace: every event that matters, as (time, component, kind, payload words), in order. All of it flows into one
// streaming hash, whatever is written out; two runs are the same run if their hashes are equal.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "sim/time.h"

namespace sim {

// A kind of record, named by a literal: scope.trace("exit", ...). Its identity is the hash of its name.
struct TraceKind {
    const char* name;
    std::uint64_t id;

    consteval TraceKind(const char* literal) : name(literal), id(id_of(literal)) {}  // NOLINT: implicit by design
    static constexpr std::uint64_t id_of(std::string_view text) {
        std::uint64_t hash = 0xcbf29ce484222325ull;
        for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3ull;
        return hash;
    }
};

// Where records go that somebody asked for (`--trace`). A sink sees records; it can't touch the hash.
class TraceSink {
public:
    virtual ~TraceSink() = default;
    virtual void record(Time time, std::string_view component, const char* kind, std::span<const std::uint64_t> words,
                        std::span<const std::byte> bytes) = 0;
};

// Whose record it is. In the hash a component is its path.
class TraceComponent {
public:
    explicit TraceComponent(std::string path) : identity_(TraceKind::id_of(path)), path_(std::move(path)) {}
    std::uint64_t identity() const { return identity_; }
    const std::string& path() const { return path_; }

private:
    std::uint64_t identity_;
    std::string path_;
};

class Trace {
public:
    Trace();
    ~Trace();
    Trace(const Trace&) = delete;
    Trace& operator=(const Trace&) = delete;

    // Word by word into the hash's buffer, in each caller. Words that were put into an array first and copied from it
    // by more than one at a time would wait until all that the computer stored before is in its cache.
    template <class... Word>
    void record(Time time, const TraceComponent& component, TraceKind kind, Word... words) {
        static_assert(sizeof...(Word) <= most_words);
        std::byte* const at = begin(time, component, kind, sizeof...(Word) << 32, (head_words + sizeof...(Word)) * 8);
        [[maybe_unused]] std::size_t n = head_words;
        (put(at, n++, static_cast<std::uint64_t>(words)), ...);
        if (!routes_.empty()) show(time, component, kind, at + head_words * 8, sizeof...(Word), {});
    }
    void record_bytes(Time time, const TraceComponent& component, TraceKind kind, std::span<const std::byte> bytes);

    // Writes the named kinds ("all" for all) to the sink from now on.
    void add_sink(TraceSink& sink, std::span<const std::string> kinds);

    std::uint64_t records() const { return records_; }
    // 32 hex digits over all records so far.
    std::string hash() const;

    // The hash's state is part of a checkpoint: a restored run ends in the hash of the straight one.
    template <class Archive>
    void fields(Archive& archive) {
        archive(records_, chain_);
        if constexpr (Archive::reading) restart();
    }
    // Folds what was streamed so far into `chain_`. A checkpoint calls it, in the run that goes on as well.
    void fold();

private:
    static constexpr std::size_t head_words = 4, most_words = 32;
    // XXH3's streaming state, behind a buffer that is little enough to stay in the first-level cache.
    class Hasher;
    struct Buffer {
        std::array<std::byte, 2048> bytes;
        std::size_t used = 0;
    };
    struct Route {
        TraceSink* sink;
        bool all;
        std::vector<std::uint64_t> kinds;  // sorted ids
    };

    static void put(std::byte* at, std::size_t n, std::uint64_t word) { std::memcpy(at + n * 8, &word, 8); }
    // Room for a record of so many bytes, its first words written.
    std::byte* begin(Time time, const TraceComponent& component, TraceKind kind, std::uint64_t sizes,
                     std::size_t bytes) {
        ++records_;
        if (buffer_->used + bytes > buffer_->bytes.size()) flush();
        std::byte* const at = &buffer_->bytes[buffer_->used];
        buffer_->used += bytes;
        put(at, 0, static_cast<std::uint64_t>(time.ps()));
        put(at, 1, component.identity());
        put(at, 2, kind.id);
        put(at, 3, sizes);
        return at;
    }
    void flush() const;
    void restart();
    void show(Time time, const TraceComponent& component, TraceKind kind, const std::byte* words, std::size_t count,
              std::span<const std::byte> bytes) const;

    std::unique_ptr<Buffer> buffer_;
    std::unique_ptr<Hasher> hasher_;
    std::vector<Route> routes_;
    std::vector<std::uint64_t> chain_;  // digests of the folded parts, two words each
    std::uint64_t records_ = 0;
};

}  // namespace sim
