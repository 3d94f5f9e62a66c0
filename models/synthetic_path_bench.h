// The synthetic network path between behavioural ends: a guest's TCP, its driver, the bus, the root's service, the
// virtual switch, and a host at the other end of a wire or a second guest. What it moves in simulated time, and what a
// frame of it takes of the computer that simulates.
#pragma once

#include <cstdint>
#include <functional>
#include <string_view>
#include <vector>

#include "models/profiles.h"
#include "sim/time.h"

namespace models {

enum class PathForm : std::uint8_t {
    sends,     // the guest, to a host on a wire
    receives,  // the guest, from it
    two_guests,
    small_frames,  // the guest sends datagrams of 64 bytes on the wire, as many as it can
};
std::string_view name_of(PathForm form);

struct SyntheticPathRow {
    PathForm form{};
    std::uint16_t channels = 0;
    std::uint64_t connections = 0;
    sim::Time duration;        // that was measured
    std::uint64_t bytes = 0;   // of payload that arrived
    std::uint64_t frames = 0;  // that arrived, each as long as the wire allows
    sim::Time guest_busy;      // all its processors; of the one that is measured
    sim::Time root_busy;       // all the root's
    std::uint64_t wall_ns = 0;

    std::uint64_t megabits_per_second() const;
    std::uint64_t frames_per_second() const;
    std::uint64_t wall_ns_per_frame() const { return frames == 0 ? 0 : wall_ns / frames; }
    // Thousandths of the profile's cycles for a byte.
    std::uint64_t guest_millicycles_per_byte(const Profile& profile) const;
};

// One row. The root has as many processors for the adapter as it has channels, the guest as well; a connection for each
// unless it says otherwise. `clock_ns` reads the computer's clock: the simulated world has none.
SyntheticPathRow run_synthetic_path(PathForm form, std::uint16_t channels, std::uint64_t connections,
                                    sim::Time duration, const Profile& profile,
                                    const std::function<std::uint64_t()>& clock_ns);

// The least and the average round trip of a small datagram, one at a time.
struct RoundTripRow {
    std::uint64_t count = 0;
    sim::Time least;
    sim::Time average;
};
RoundTripRow run_synthetic_round_trips(std::uint16_t count, const Profile& profile);

}  // namespace models
