#include "sim/trace.h"

#include <fmt/format.h>
#include <xxhash.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "sim/check.h"

namespace sim {

// XXH3's streaming state, behind a buffer so that most records cost one small copy.
struct Trace::Hasher {
    Hasher() : state(XXH3_createState()) { XXH3_128bits_reset(state); }
    ~Hasher() { XXH3_freeState(state); }
    Hasher(const Hasher&) = delete;
    Hasher& operator=(const Hasher&) = delete;

    void update(const void* data, std::size_t size) {
        if (used + size > buffer.size()) flush();
        if (size > buffer.size()) {
            XXH3_128bits_update(state, data, size);
            return;
        }
        std::memcpy(buffer.data() + used, data, size);
        used += size;
    }
    void flush() {
        XXH3_128bits_update(state, buffer.data(), used);
        used = 0;
    }
    XXH128_hash_t digest() {
        flush();
        return XXH3_128bits_digest(state);
    }

    XXH3_state_t* state;
    // What every record needs of its component, close together and apart from the names.
    std::vector<std::uint64_t> identities;
    // Little enough to stay in the first-level cache.
    std::array<std::byte, 2048> buffer;
    std::size_t used = 0;
};

Trace::Trace() : hasher_(std::make_unique<Hasher>()) {}
Trace::~Trace() = default;

Trace::ComponentId Trace::add_component(std::string_view path) {
    components_.push_back({std::string{path}, TraceKind::id_of(path)});
    hasher_->identities.push_back(components_.back().identity);
    return static_cast<ComponentId>(components_.size() - 1);
}

void Trace::record(Time time, ComponentId component, TraceKind kind, std::span<const std::uint64_t> words,
                   std::span<const std::byte> bytes) {
    ++records_;
    const std::array<std::uint64_t, 4> head{static_cast<std::uint64_t>(time.ps()), hasher_->identities[component],
                                            kind.id, words.size() << 32 | bytes.size()};
    hasher_->update(head.data(), sizeof head);
    if (!words.empty()) hasher_->update(words.data(), words.size_bytes());
    if (!bytes.empty()) hasher_->update(bytes.data(), bytes.size());
    for (const Route& route : routes_) {
        if (route.all || std::binary_search(route.kinds.begin(), route.kinds.end(), kind.id)) {
            route.sink->record(time, components_[component].path, kind.name, words, bytes);
        }
    }
}

void Trace::add_sink(TraceSink& sink, std::span<const std::string> kinds) {
    Route route{&sink, false, {}};
    for (const std::string& kind : kinds) {
        if (kind == "all") route.all = true;
        route.kinds.push_back(TraceKind::id_of(kind));
    }
    std::sort(route.kinds.begin(), route.kinds.end());
    routes_.push_back(std::move(route));
}

std::string Trace::hash() const {
    XXH128_hash_t digest = hasher_->digest();
    if (!chain_.empty()) {
        std::vector<std::uint64_t> all = chain_;
        all.insert(all.end(), {digest.high64, digest.low64});
        digest = XXH3_128bits(all.data(), all.size() * sizeof(std::uint64_t));
    }
    return fmt::format("{:016x}{:016x}", digest.high64, digest.low64);
}

void Trace::fold() {
    const XXH128_hash_t digest = hasher_->digest();
    chain_.insert(chain_.end(), {digest.high64, digest.low64});
    restart();
}

void Trace::restart() {
    auto next = std::make_unique<Hasher>();
    next->identities = std::move(hasher_->identities);
    hasher_ = std::move(next);
}

}  // namespace sim
