#include "sim/trace.h"

#include <fmt/format.h>
#include <xxh_x86dispatch.h>  // takes the widest vectors that the processor has; the hash is the same

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "sim/check.h"

namespace sim {

class Trace::Hasher {
public:
    Hasher() : state_(XXH3_createState()) { XXH3_128bits_reset(state_); }
    ~Hasher() { XXH3_freeState(state_); }
    Hasher(const Hasher&) = delete;
    Hasher& operator=(const Hasher&) = delete;

    void update(std::span<const std::byte> bytes) { XXH3_128bits_update(state_, bytes.data(), bytes.size()); }
    XXH128_hash_t digest() const { return XXH3_128bits_digest(state_); }

private:
    XXH3_state_t* state_;
};

Trace::Trace() : buffer_(std::make_unique<Buffer>()), hasher_(std::make_unique<Hasher>()) {}
Trace::~Trace() = default;

void Trace::flush() const {
    hasher_->update(std::span{buffer_->bytes}.first(buffer_->used));
    buffer_->used = 0;
}

void Trace::record_bytes(Time time, const TraceComponent& component, TraceKind kind, std::span<const std::byte> bytes) {
    begin(time, component, kind, bytes.size(), head_words * 8);
    if (buffer_->used + bytes.size() <= buffer_->bytes.size()) {
        std::copy(bytes.begin(), bytes.end(), &buffer_->bytes[buffer_->used]);
        buffer_->used += bytes.size();
    } else {
        flush();
        hasher_->update(bytes);
    }
    if (!routes_.empty()) show(time, component, kind, nullptr, 0, bytes);
}

void Trace::show(Time time, const TraceComponent& component, TraceKind kind, const std::byte* words, std::size_t count,
                 std::span<const std::byte> bytes) const {
    std::array<std::uint64_t, most_words> aligned{};
    if (count != 0) std::memcpy(aligned.data(), words, count * 8);
    for (const Route& route : routes_) {
        if (route.all || std::binary_search(route.kinds.begin(), route.kinds.end(), kind.id)) {
            route.sink->record(time, component.path(), kind.name, std::span{aligned}.first(count), bytes);
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
    flush();
    XXH128_hash_t digest = hasher_->digest();
    if (!chain_.empty()) {
        std::vector<std::uint64_t> all = chain_;
        all.insert(all.end(), {digest.high64, digest.low64});
        digest = XXH3_128bits(all.data(), all.size() * sizeof(std::uint64_t));
    }
    return fmt::format("{:016x}{:016x}", digest.high64, digest.low64);
}

void Trace::fold() {
    flush();
    const XXH128_hash_t digest = hasher_->digest();
    chain_.insert(chain_.end(), {digest.high64, digest.low64});
    restart();
}

void Trace::restart() {
    buffer_->used = 0;
    hasher_ = std::make_unique<Hasher>();
}

}  // namespace sim
