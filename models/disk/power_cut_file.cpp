#include "models/disk/power_cut_file.h"

#include <algorithm>

#include "sim/check.h"

namespace models {

IoStatus PowerCutFile::write(std::uint64_t offset, std::span<const std::byte> data) {
    begin({Kind::write, offset, data.size(), {data.begin(), data.end()}});
    return seen_.write(offset, data);
}

IoStatus PowerCutFile::resize(std::uint64_t bytes) {
    begin({bytes >= seen_.size() ? Kind::grow : Kind::shrink, bytes, 0, {}});
    return seen_.resize(bytes);
}

IoStatus PowerCutFile::zero(std::uint64_t offset, std::uint64_t length) {
    if (!holds(offset, length)) return IoStatus::out_of_range;
    begin({Kind::zero, offset, length, {}});
    return seen_.zero(offset, length);
}

IoStatus PowerCutFile::flush() {
    if (hook_) hook_();
    durable_ = seen_;
    unflushed_.clear();
    return IoStatus::ok;
}

void PowerCutFile::begin(Operation operation) {
    if (hook_) hook_();
    unflushed_.push_back(std::move(operation));
}

MemoryFile PowerCutFile::after_power_cut(sim::Random& random) const {
    MemoryFile file = durable_;
    const std::size_t count = unflushed_.size();
    if (random.one_in(3)) {
        // The cache drained in order as far as some operation, which was under way.
        const std::size_t whole = random.below(count + 1);
        for (std::size_t i = 0; i < whole; ++i) land(file, unflushed_[i], Fate::kept, random);
        if (whole < count) land(file, unflushed_[whole], Fate::torn, random);
        return file;
    }
    // In any order, with some share of them lost or torn: from all but few to few.
    std::vector<std::size_t> order(count);
    for (std::size_t i = 0; i < count; ++i) {
        order[i] = i;
        std::swap(order[i], order[random.below(i + 1)]);
    }
    const std::uint64_t dropped = random.below(101), torn = random.below(101 - dropped);
    for (const std::size_t i : order) {
        const std::uint64_t draw = random.below(100);
        const Fate fate = draw < dropped ? Fate::dropped : draw < dropped + torn ? Fate::torn : Fate::kept;
        land(file, unflushed_[i], fate, random);
    }
    return file;
}

void PowerCutFile::land(MemoryFile& file, const Operation& operation, Fate fate, sim::Random& random) {
    if (fate == Fate::dropped) return;
    const auto must = [](IoStatus status) { VG_CHECK(status == IoStatus::ok); };
    if (operation.kind == Kind::grow) return must(file.resize(std::max(file.size(), operation.offset)));
    if (operation.kind == Kind::shrink) return must(file.resize(std::min(file.size(), operation.offset)));
    for (std::uint64_t done = 0; done < operation.length;) {
        const std::uint64_t at = operation.offset + done;
        const std::uint64_t part = std::min(operation.length - done, sector_bytes - at % sector_bytes);
        // A sector past the end arrives only if the file was lengthened for it, which may be lost as well.
        const bool arrives = (fate == Fate::kept || random.one_in(2)) && (at + part <= file.size() || random.one_in(2));
        if (arrives && operation.kind == Kind::write) {
            must(file.write(at, std::span{operation.data}.subspan(done, part)));
        } else if (arrives && at + part <= file.size()) {
            must(file.zero(at, part));
        }
        done += part;
    }
}

}  // namespace models
