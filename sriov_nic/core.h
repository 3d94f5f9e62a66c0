// What the transmit and the receive side share: registers, switch, interrupts, statistics, and which queue is whose.
#pragma once

#include <array>
#include <cstdint>
#include <memory>

#include "sim/scope.h"
#include "sriov_nic/interrupts.h"
#include "sriov_nic/packet_record.h"
#include "sriov_nic/ports.h"
#include "sriov_nic/profile.h"
#include "sriov_nic/register_bank.h"
#include "sriov_nic/statistics.h"
#include "sriov_nic/switch.h"

namespace sriov_nic {

enum class Direction : std::uint8_t { receive, transmit };

// What a read was for, in the upper bits of its cookie; below it how often the queue had been switched, which has more
// bits than a driver can count through while a read is on its way.
enum class Fetch : std::uint8_t { transmit_descriptors, transmit_data, receive_descriptors };
inline constexpr std::uint32_t epoch_mask = 0x3f'ffff;
constexpr std::uint32_t cookie_of(Fetch what, std::uint32_t epoch, unsigned index) {
    return static_cast<std::uint32_t>(what) << 30 | (epoch & epoch_mask) << 8 | index;
}
constexpr Fetch fetch_of(std::uint32_t cookie) {
    return static_cast<Fetch>(cookie >> 30);
}
constexpr std::uint32_t epoch_of(std::uint32_t cookie) {
    return cookie >> 8 & epoch_mask;
}
constexpr unsigned index_of(std::uint32_t cookie) {
    return cookie & 0xff;
}

struct Core {
    Core(const sim::Scope& s, const Profile& p, BusPort& b, Wire& w, RegisterValues& r)
        : scope(s),
          profile(p),
          bus(b),
          wire(w),
          registers(r),
          bridge(r),
          throttle_clock(s.agenda(), b, p.moderation_quantum) {
        for (unsigned f = 0; f < functions; ++f) {
            const bool pf = f == physical_function;
            interrupts[f] = std::make_unique<Interrupts>(pf ? s.child("pf") : s.child("vf" + std::to_string(f)), b,
                                                         throttle_clock, f);
        }
    }
    Core(const Core&) = delete;

    unsigned queues_per_pool() const { return 1u << pool_shift; }
    unsigned pools() const { return queues >> pool_shift; }
    unsigned pool_of(unsigned queue) const { return queue >> pool_shift; }
    unsigned function_of(unsigned queue) const {
        const unsigned pool = pool_of(queue);
        return pool < vfs ? pool : physical_function;
    }
    // The vector that tells software of a queue, by its byte of IVAR or VTIVAR.
    struct Vector {
        Interrupts* of = nullptr;  // null: there is none
        unsigned number = 0;
        // When its moderation ends. Never: it has none.
        sim::Time quiet_until() const {
            return of != nullptr && of->throttled(number) ? of->quiet_until(number) : sim::Time::never();
        }
    };
    Vector vector_of(unsigned queue, Direction direction) const {
        const unsigned pool = pool_of(queue);
        if (pool >= vfs) {
            return named(physical_function, registers[reg::ivar + 4 * (queue >> 1)], queue, direction,
                         physical_vectors);
        }
        const unsigned own = queue & (queues_per_pool() - 1);
        return named(pool, vf_ivar[pool][own >> 1], own, direction, virtual_vectors);
    }
    Vector named(unsigned function, std::uint32_t word, unsigned queue, Direction direction, unsigned vectors) const {
        const unsigned entry = word >> ((queue & 1) * 16 + (direction == Direction::transmit ? 8 : 0)) & 0xff;
        const unsigned number = entry & ivar::vector;
        const bool valid = (entry & ivar::valid) != 0 && number < vectors;
        return {valid ? interrupts[function].get() : nullptr, number};
    }
    // When software is told: now, or when the vector's throttle ends. Zero: not by an interrupt, as things are.
    sim::Time raise(const Vector& vector) {
        return vector.of != nullptr ? vector.of->set_cause(vector.number) : sim::Time::zero();
    }

    sim::Scope scope;
    const Profile& profile;
    BusPort& bus;
    Wire& wire;
    FrameWatcher* watcher = nullptr;
    RegisterValues& registers;
    EmbeddedSwitch bridge;
    ThrottleClock throttle_clock;
    std::array<std::unique_ptr<Interrupts>, functions> interrupts;
    std::array<std::array<std::uint32_t, 4>, max_pools> vf_ivar{};
    Statistics statistics;
    unsigned vfs = 0;         // enabled
    unsigned pool_shift = 1;  // queues of a pool, as a power of two
    bool link_up = false;
    bool bus_full = false;  // a call found no room

    template <class Archive>
    void fields(Archive& archive) {
        for (auto& one : interrupts) archive(*one);
        archive(throttle_clock, vf_ivar, statistics, vfs, pool_shift, link_up, bus_full);
        if constexpr (Archive::reading) bridge.invalidate();
    }
};

}  // namespace sriov_nic
