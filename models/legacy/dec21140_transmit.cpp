// The 21140's transmit process (manual, 4.3.6): one descriptor after the other, each with its time; set-up frames.
#include <algorithm>
#include <array>

#include "models/legacy/dec21140.h"
#include "sim/bits.h"

namespace models {

using namespace dec21140;

namespace {

// Fetching a descriptor and writing its status back: two arbitrations and six longwords at 33 MHz.
constexpr sim::Time descriptor_time = sim::Time::ns(480);

// CSR0 19:17: how often a suspended process looks by itself.
constexpr std::array<std::int64_t, 8> poll_ns = {0, 200'000, 800'000, 1'600'000, 12'800, 25'600, 51'200, 102'400};

}  // namespace

void Dec21140::start_transmit() {
    if (state_.transmit_state != TransmitState::stopped) return;
    state_.transmit_state = TransmitState::waiting_end;
    scope_.trace("transmit_started", state_.transmit_descriptor);
    next_transmit();
}

// A frame that is on its way is sent to its end.
void Dec21140::stop_transmit() {
    if (state_.transmit_state == TransmitState::stopped || transmit_timer_.armed()) return;
    state_.transmit_state = TransmitState::stopped;
    state_.frame.clear();
    poll_timer_.disarm();
    raise(status::transmit_stopped);
}

void Dec21140::transmit_demand() {
    if (state_.transmit_state == TransmitState::suspended) next_transmit();
}

void Dec21140::next_transmit() {
    if (state_.transmit_state == TransmitState::stopped || transmit_timer_.armed()) return;
    if (!function_.master().enabled()) return;  // command_changed() comes back here
    if ((stored(6) & mode::start_transmit) == 0) return stop_transmit();
    poll_timer_.disarm();
    const auto descriptor = fetch(state_.transmit_descriptor);
    if (!descriptor) return;
    if ((descriptor->status & owned) == 0) {
        const auto poll = sim::bits(stored(0), bus_mode::auto_poll_high, bus_mode::auto_poll_low);
        if (poll != 0) poll_timer_.arm_after(sim::Time::ns(poll_ns[poll]));
        if (state_.transmit_state == TransmitState::suspended) return;
        state_.transmit_state = TransmitState::suspended;
        return raise(status::transmit_unavailable);
    }
    state_.transmit_state = TransmitState::waiting_end;
    if (!gather(*descriptor)) return;
    state_.transmit_control = descriptor->control;
    state_.transmit_link = next(*descriptor, stored(4));
    sim::Time time = descriptor_time;
    const bool set_up = (descriptor->control & tdes1::set_up) != 0;
    if (!set_up && ((descriptor->control & tdes1::last) != 0 || state_.transmit_cut)) {
        const std::uint64_t bytes = std::max(state_.frame.size(), least_frame_bytes) + crc_bytes + overhead_bytes;
        time += sim::cycles_to_time(8 * bytes, bits_per_second());
    }
    transmit_timer_.arm_after(time);
}

// The descriptor's data joins what the frame has; more than the jabber limit is not even read.
bool Dec21140::gather(const Descriptor& descriptor) {
    if ((descriptor.control & (tdes1::first | tdes1::set_up)) != 0) state_.frame.clear();
    state_.transmit_cut = false;
    const std::size_t size1 = sim::bits(descriptor.control, sizes::first_high, sizes::first_low);
    const std::size_t size2 = (descriptor.control & tdes1::chained) != 0
                                  ? 0
                                  : sim::bits(descriptor.control, sizes::second_high, sizes::second_low);
    for (const auto& [address, size] : {std::pair{descriptor.buffer1, size1}, std::pair{descriptor.buffer2, size2}}) {
        if (size == 0) continue;
        if (state_.frame.size() + size > jabber_bytes) {
            state_.transmit_cut = true;
            return true;
        }
        const std::size_t before = state_.frame.size();
        state_.frame.resize(before + size);
        const pci::DmaStatus result = function_.master().read(address, std::span{state_.frame}.subspan(before));
        if (result != pci::DmaStatus::ok) {
            fatal(result);
            return false;
        }
    }
    return true;
}

void Dec21140::transmit_due() {
    const std::uint32_t control = state_.transmit_control;
    const bool set_up = (control & tdes1::set_up) != 0;
    const bool jabber = state_.transmit_cut && !set_up;
    std::uint32_t closing = set_up ? tdes0::after_set_up : 0;
    if (jabber) closing = tdes0::jabber | tdes0::error_summary;
    if (!write_back(state_.transmit_descriptor, closing)) return;
    state_.transmit_descriptor = state_.transmit_link;
    if (jabber) {
        state_.frame.clear();
        state_.transmit_state = TransmitState::stopped;
        return raise(status::transmit_jabber | status::transmit_stopped);
    }
    const bool ends = set_up ? finish_set_up() : (control & tdes1::last) != 0;
    if (ends && !set_up) finish_frame();
    if (ends && (control & tdes1::interrupt) != 0) raise(status::transmit_done);
    next_transmit();
}

bool Dec21140::finish_set_up() {
    const unsigned kind = ((state_.transmit_control & tdes1::filter_high) != 0 ? 2u : 0u) |
                          ((state_.transmit_control & tdes1::filter_low) != 0 ? 1u : 0u);
    // A set-up frame of another size is none (4.2.3): it is closed and changes nothing.
    if (state_.frame.size() == set_up_frame_bytes) {
        filter_.load(AddressFilter::Kind{static_cast<std::uint8_t>(kind)}, state_.frame);
        scope_.trace("set_up", kind);
    }
    state_.frame.clear();
    return true;
}

void Dec21140::finish_frame() {
    std::vector<std::byte> frame = std::move(state_.frame);
    state_.frame.clear();
    const bool padded = (state_.transmit_control & tdes1::no_padding) == 0;
    if (padded && frame.size() < least_frame_bytes) {
        frame.resize(least_frame_bytes);
    } else if ((state_.transmit_control & tdes1::no_crc) != 0) {
        frame.resize(frame.size() - std::min(frame.size(), crc_bytes));  // the guest brought its own
    }
    constexpr std::size_t header_bytes = 14;
    if (frame.size() < header_bytes) return;
    ++sent_;
    scope_.trace_bytes("sent", frame);
    if (scope_.journeys().on()) scope_.journeys().mark_frame(frame, "root.emulation", scope_.now());
    if (sim::bits(stored(6), mode::loopback_high, mode::loopback_low) != 0) {
        receive(frame);
        return;
    }
    if (state_.link) port_.transmit(frame);
}

}  // namespace models
