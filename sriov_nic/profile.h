// Timing and capacity of the adapter, each constant with its source. "Assumed" is nobody's measurement.
#pragma once

#include <cstdint>

#include "sim/time.h"

namespace sriov_nic {

struct Profile {
    // IEEE 802.3, 46.1.3: ten gigabits per second, 0.8 ns per byte.
    std::int64_t wire_byte_ps = 800;
    // Preamble, start delimiter and the least gap between frames (802.3, 4.4.2).
    std::int64_t wire_overhead_bytes = 20;
    static constexpr std::int64_t fcs_bytes = 4;

    // 82599 datasheet, 1.4: internal buffers.
    std::uint32_t receive_buffer_bytes = 512 * 1024;
    std::uint32_t transmit_buffer_bytes = 160 * 1024;
    // 82599 datasheet, 7.2.3.3: on-chip transmit descriptors of a queue.
    std::uint32_t transmit_descriptors = 40;
    // Assumed: a fetch of receive descriptors brings at most 512 bytes, one read of the usual maximum size.
    std::uint32_t receive_descriptors = 32;

    // Assumed: how many reads of packet data the transmit DMA keeps in flight. At 64 bytes and 1 us of latency line
    // rate needs 15.
    std::uint32_t data_reads_in_flight = 32;
    // Assumed: a request for packet data is cut into pieces of this size.
    std::uint32_t data_read_bytes = 4096;
    // Second-hand: MoonGen (IMC 2015) gives 310.7 ns between the time stamp units of two 82599 with SFP+ modules; half
    // of it at each end. From a frame's last byte in the transmit buffer to its first bit, and from its last bit to
    // the receive buffer.
    sim::Time transmit_path = sim::Time::ps(155'350);
    sim::Time receive_path = sim::Time::ps(155'350);
    // Assumed: parsing, filters, pool and queue selection of a received frame, 16 cycles of a 156.25 MHz clock.
    sim::Time classify = sim::Time::ps(102'400);
    // Assumed: the embedded switch from transmit to receive buffer, 64 bits at 625 MHz: 40 Gb/s.
    std::int64_t loopback_byte_ps = 200;
    // Assumed: a completed descriptor that no moderation period will flush is written back after this time.
    sim::Time write_back_idle = sim::Time::us(1);
    // How far ahead of time frames are committed to the wire. IEEE 802.3 31B.3.7 lets a 10 Gb/s sender take 60 quanta
    // of 51.2 ns to obey a pause frame.
    sim::Time commit_ahead = sim::Time::us(1);
    // 82599 datasheet, 8.2.3.5.12: unit of EITR at 10 Gb/s and 1 Gb/s.
    sim::Time moderation_quantum = sim::Time::ps(2'048'000);
    sim::Time wire_time(std::size_t frame_bytes) const {
        return sim::Time::ps((static_cast<std::int64_t>(frame_bytes) + fcs_bytes + wire_overhead_bytes) * wire_byte_ps);
    }
};

}  // namespace sriov_nic
