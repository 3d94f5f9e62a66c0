#include "models/io_port_map.h"

#include <algorithm>

#include "sim/bits.h"
#include "sim/check.h"

namespace models {

IoPortMap::IoPortMap(const sim::Scope& scope)
    : scope_(scope), unclaimed_count_(scope.counter("unclaimed", "accesses", "port accesses that no device answers")) {}

void IoPortMap::claim(std::uint16_t first, unsigned count, unsigned widest_bytes, IoDevice& device) {
    const std::uint32_t end = first + count;
    VG_CHECK(count != 0 && end <= 0x10000 && (widest_bytes == 1 || widest_bytes == 2 || widest_bytes == 4));
    const auto place = std::find_if(claims_.begin(), claims_.end(), [&](const Claim& c) { return c.first >= first; });
    VG_CHECK(place == claims_.end() || place->first >= end);
    VG_CHECK(place == claims_.begin() || std::prev(place)->end <= first);
    claims_.insert(place, Claim{first, end, widest_bytes, &device});
}

const IoPortMap::Claim* IoPortMap::find(std::uint32_t port, unsigned size) const {
    auto place = std::upper_bound(claims_.begin(), claims_.end(), port,
                                  [](std::uint32_t p, const Claim& c) { return p < c.first; });
    if (place == claims_.begin()) return nullptr;
    --place;
    return port + size <= place->end ? &*place : nullptr;
}

void IoPortMap::count_unclaimed(std::uint16_t port, unsigned size, bool write, std::uint32_t value) {
    ++unclaimed_count_;
    state_.count(port);
    scope_.trace("io_unclaimed", port, size, write ? 1 : 0, value);
}

std::uint32_t IoPortMap::read(std::uint16_t port, unsigned size) {
    VG_CHECK(size == 1 || size == 2 || size == 4);
    const auto mask = static_cast<std::uint32_t>(sim::mask_of(8 * size - 1, 0));
    const Claim* claim = find(port, 1);
    if (claim == nullptr) {
        count_unclaimed(port, size, false, 0);
        return mask;
    }
    if (size <= claim->widest_bytes && port + size <= claim->end) return claim->device->read_port(port, size) & mask;
    std::uint32_t value = mask;
    for (unsigned i = 0; i < size; ++i) {
        if (const Claim* part = find(port + i, 1)) {
            const std::uint32_t byte = part->device->read_port(static_cast<std::uint16_t>(port + i), 1) & 0xff;
            value = static_cast<std::uint32_t>(sim::with_bits(value, 8 * i + 7, 8 * i, byte));
        }
    }
    return value;
}

void IoPortMap::write(std::uint16_t port, unsigned size, std::uint32_t value) {
    VG_CHECK(size == 1 || size == 2 || size == 4);
    value &= static_cast<std::uint32_t>(sim::mask_of(8 * size - 1, 0));
    const Claim* claim = find(port, 1);
    if (claim == nullptr) {
        count_unclaimed(port, size, true, value);
        return;
    }
    if (size <= claim->widest_bytes && port + size <= claim->end) {
        claim->device->write_port(port, size, value);
        return;
    }
    for (unsigned i = 0; i < size; ++i) {
        if (const Claim* part = find(port + i, 1)) {
            part->device->write_port(static_cast<std::uint16_t>(port + i), 1, (value >> (8 * i)) & 0xff);
        }
    }
}

MmioMap::MmioMap(const sim::Scope& scope)
    : scope_(scope),
      unclaimed_count_(scope.counter("unclaimed", "accesses", "device-memory accesses that no device answers")) {}

void MmioMap::claim(std::uint64_t gpa, std::uint64_t size_bytes, MmioDevice& device) {
    VG_CHECK(try_claim(gpa, size_bytes, device));
}

bool MmioMap::try_claim(std::uint64_t gpa, std::uint64_t size_bytes, MmioDevice& device) {
    if (size_bytes == 0 || gpa + (size_bytes - 1) < gpa) return false;
    const std::uint64_t last = gpa + (size_bytes - 1);
    const auto place = std::find_if(claims_.begin(), claims_.end(), [&](const Claim& c) { return c.first >= gpa; });
    if (place != claims_.end() && place->first <= last) return false;
    if (place != claims_.begin() && std::prev(place)->last >= gpa) return false;
    claims_.insert(place, Claim{gpa, last, &device});
    return true;
}

void MmioMap::release(std::uint64_t gpa) {
    VG_CHECK(std::erase_if(claims_, [gpa](const Claim& c) { return c.first == gpa; }) == 1);
}

bool MmioMap::claims_page(std::uint64_t gpa) const {
    const std::uint64_t first = sim::align_down(gpa, 4096);
    return std::any_of(claims_.begin(), claims_.end(),
                       [&](const Claim& c) { return c.first <= (first | 0xfff) && c.last >= first; });
}

const MmioMap::Claim* MmioMap::find(std::uint64_t gpa, unsigned size) const {
    auto place = std::upper_bound(claims_.begin(), claims_.end(), gpa,
                                  [](std::uint64_t a, const Claim& c) { return a < c.first; });
    if (place == claims_.begin()) return nullptr;
    --place;
    return gpa <= place->last && place->last - gpa >= size - 1 ? &*place : nullptr;
}

void MmioMap::count_unclaimed(std::uint64_t gpa, unsigned size, bool write, std::uint64_t value) {
    ++unclaimed_count_;
    state_.count(gpa);
    scope_.trace("mmio_unclaimed", gpa, size, write ? 1 : 0, value);
}

std::uint64_t MmioMap::read(std::uint64_t gpa, unsigned size) {
    VG_CHECK(size == 1 || size == 2 || size == 4 || size == 8);
    const std::uint64_t mask = sim::mask_of(8 * size - 1, 0);
    if (const Claim* claim = find(gpa, size)) return claim->device->read_mmio(gpa, size) & mask;
    count_unclaimed(gpa, size, false, 0);
    return mask;
}

void MmioMap::write(std::uint64_t gpa, unsigned size, std::uint64_t value) {
    VG_CHECK(size == 1 || size == 2 || size == 4 || size == 8);
    value &= sim::mask_of(8 * size - 1, 0);
    if (const Claim* claim = find(gpa, size)) {
        claim->device->write_mmio(gpa, size, value);
    } else {
        count_unclaimed(gpa, size, true, value);
    }
}

}  // namespace models
