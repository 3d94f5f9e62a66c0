// The 21140's receive process (manual, 4.3.5): filtering, descriptors, what it does without one.
#include <algorithm>
#include <array>

#include "models/legacy/dec21140.h"
#include "sim/bits.h"

namespace models {

using namespace dec21140;

namespace {
// A hostile list can be without end and without room; a frame's descriptors are not.
constexpr unsigned most_descriptors = 1024;
}  // namespace

void Dec21140::start_receive() {
    if (state_.receive_state != ReceiveState::stopped) return;
    state_.receive_state = ReceiveState::waiting;
    scope_.trace("receive_started", state_.receive_descriptor);
}

void Dec21140::stop_receive() {
    if (state_.receive_state == ReceiveState::stopped) return;
    state_.receive_state = ReceiveState::stopped;
    raise(status::receive_stopped);
}

// A suspended process looks whether there is a descriptor now.
void Dec21140::receive_demand() {
    if (state_.receive_state != ReceiveState::suspended || !function_.master().enabled()) return;
    const auto descriptor = fetch(state_.receive_descriptor);
    if (descriptor && (descriptor->status & owned) != 0) state_.receive_state = ReceiveState::waiting;
}

// Told once: while it is suspended further ones raise nothing (3.2.2.6, RU).
void Dec21140::no_receive_buffer() {
    if (state_.receive_state == ReceiveState::suspended) return;
    state_.receive_state = ReceiveState::suspended;
    raise(status::receive_unavailable);
}

bool Dec21140::takes(std::span<const std::byte> destination, std::uint32_t& status) const {
    const std::uint32_t operation = stored(6);
    const bool group = (std::to_integer<unsigned>(destination[0]) & 1) != 0;
    if (group) status |= rdes0::multicast;
    const bool passes = filter_.passes(destination);
    if (!passes) status |= rdes0::filtering_fail;
    if ((operation & (mode::promiscuous | mode::receive_all)) != 0) return true;
    return passes || (group && (operation & mode::all_multicast) != 0);
}

bool Dec21140::receive(std::span<const std::byte> frame) {
    constexpr std::size_t header_bytes = 14;
    if (frame.size() < header_bytes || !state_.link || !function_.present()) return false;
    if (state_.receive_state == ReceiveState::stopped || !function_.master().enabled()) return false;
    std::uint32_t status = 0;
    if (!takes(frame.first(6), status)) {
        ++filtered_;
        return false;
    }
    // On a wire a frame has at least 60 bytes, and a CRC behind it that the chip stores too.
    std::vector<std::byte> whole{frame.begin(),
                                 frame.begin() + static_cast<std::ptrdiff_t>(std::min(frame.size(), jabber_bytes))};
    if (whole.size() < least_frame_bytes) whole.resize(least_frame_bytes);
    const std::uint32_t crc = ~ethernet_crc(whole);
    for (unsigned i = 0; i < crc_bytes; ++i) whole.push_back(static_cast<std::byte>(crc >> 8 * i));
    const unsigned type = std::to_integer<unsigned>(whole[12]) << 8 | std::to_integer<unsigned>(whole[13]);
    if (type > 1500) status |= rdes0::ethernet_type;
    if (whole.size() > most_usual_bytes) status |= rdes0::too_long;
    return store(whole, status);
}

std::optional<std::size_t> Dec21140::fill(const Descriptor& descriptor, std::span<const std::byte> data) {
    const std::size_t size1 = sim::bits(descriptor.control, sizes::first_high, sizes::first_low);
    const std::size_t size2 = (descriptor.control & rdes1::chained) != 0
                                  ? 0
                                  : sim::bits(descriptor.control, sizes::second_high, sizes::second_low);
    std::size_t done = 0;
    for (const auto& [address, size] : {std::pair{descriptor.buffer1, size1}, std::pair{descriptor.buffer2, size2}}) {
        const auto part = data.subspan(done, std::min(size, data.size() - done));
        if (part.empty()) continue;
        const pci::DmaStatus result = function_.master().write(address, part);
        if (result != pci::DmaStatus::ok) {
            fatal(result);
            return std::nullopt;
        }
        done += part.size();
    }
    return done;
}

bool Dec21140::store(std::span<const std::byte> frame, std::uint32_t found) {
    auto descriptor = fetch(state_.receive_descriptor);
    if (!descriptor) return false;
    if ((descriptor->status & owned) == 0) {
        ++missed_;
        state_.missed = std::min<std::uint32_t>(state_.missed + 1, missed::counter_mask + 1);
        scope_.trace("missed", frame.size());
        no_receive_buffer();
        return false;
    }
    state_.receive_state = ReceiveState::waiting;
    std::size_t done = 0;
    std::uint32_t place = rdes0::first;
    for (unsigned used = 1;; ++used) {
        const auto filled = fill(*descriptor, frame.subspan(done));
        if (!filled) return false;
        done += *filled;
        const std::uint32_t following = next(*descriptor, stored(3));
        bool cut = false;
        if (done < frame.size()) {
            const auto ahead = fetch(following);
            if (!ahead) return false;
            cut = (ahead->status & owned) == 0 || following == descriptor->address || used == most_descriptors;
            if (!cut) {
                if (!write_back(descriptor->address, place)) return false;
                descriptor = ahead;
                place = 0;
                continue;
            }
        }
        std::uint32_t closing =
            found | place | rdes0::last | static_cast<std::uint32_t>(done & rdes0::length_mask) << rdes0::length_low;
        if (cut) closing |= rdes0::descriptor_error;
        if ((closing & (rdes0::descriptor_error | rdes0::too_long)) != 0) closing |= rdes0::error_summary;
        if (!write_back(descriptor->address, closing)) return false;
        state_.receive_descriptor = following;
        ++received_;
        scope_.trace_bytes("received", frame);
        // The frame's check sequence is the chip's own.
        if (scope_.journeys().on()) {
            scope_.journeys().mark_frame(frame.first(frame.size() - crc_bytes), "root.emulation", scope_.now());
        }
        raise(status::receive_done);
        look_ahead();
        return true;
    }
}

// The chip looks for the next descriptor before there is a frame for it (4.3.5.1).
void Dec21140::look_ahead() {
    const auto ahead = fetch(state_.receive_descriptor);
    if (ahead && (ahead->status & owned) == 0) no_receive_buffer();
}

}  // namespace models
