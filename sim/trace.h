// The trace: every event that matters, as (time, component, kind, payload words), in order. All of it flows into one
// streaming hash, whatever is written out; two runs are the same run if their hashes are equal.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
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

class Trace {
public:
    Trace();
    ~Trace();
    Trace(const Trace&) = delete;
    Trace& operator=(const Trace&) = delete;

    using ComponentId = std::uint32_t;
    ComponentId add_component(std::string_view path);
    const std::string& component_path(ComponentId id) const { return components_[id].path; }

    void record(Time time, ComponentId component, TraceKind kind, std::span<const std::uint64_t> words,
                std::span<const std::byte> bytes = {});

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
    struct Hasher;
    // In the hash a component is its path, not its number: a restored machine makes its components in another order.
    struct Component {
        std::string path;
        std::uint64_t identity;
    };
    struct Route {
        TraceSink* sink;
        bool all;
        std::vector<std::uint64_t> kinds;  // sorted ids
    };
    void restart();

    std::vector<Component> components_;
    std::vector<Route> routes_;
    std::unique_ptr<Hasher> hasher_;
    std::vector<std::uint64_t> chain_;  // digests of the folded parts, two words each
    std::uint64_t records_ = 0;
};

}  // namespace sim
