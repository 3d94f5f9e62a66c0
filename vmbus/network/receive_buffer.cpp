#include "vmbus/network/receive_buffer.h"

#include "sim/check.h"

namespace vmbus {

ReceiveBuffer::ReceiveBuffer(std::uint32_t gpadl, std::uint16_t id, std::uint32_t section_bytes, std::uint32_t count) {
    VG_CHECK(count > control_sections && count <= largest_count && section_bytes != 0);
    state_.gpadl = gpadl;
    state_.id = id;
    state_.section_bytes = section_bytes;
    state_.count = count;
    state_.sections.resize(count);
    for (std::uint32_t n = count; n-- > control_sections;) state_.free.push_back(n);
    for (std::uint32_t n = control_sections; n-- > 0;) state_.free_control.push_back(n);
}

std::vector<std::uint32_t> ReceiveBuffer::take_for_frames(std::size_t sections) {
    VG_CHECK(sections <= state_.free.size());
    std::vector<std::uint32_t> taken(state_.free.rbegin(),
                                     state_.free.rbegin() + static_cast<std::ptrdiff_t>(sections));
    state_.free.resize(state_.free.size() - sections);
    return taken;
}

std::uint32_t ReceiveBuffer::take_for_control() {
    VG_CHECK(!state_.free_control.empty());
    const std::uint32_t section = state_.free_control.back();
    state_.free_control.pop_back();
    return section;
}

void ReceiveBuffer::sent(std::uint16_t channel, std::span<const std::uint32_t> sections) {
    VG_CHECK(!sections.empty());
    for (std::size_t n = 0; n < sections.size(); ++n) {
        state_.sections[sections[n]].next = n + 1 < sections.size() ? sections[n + 1] : none;
    }
    state_.sections[sections.front()].channel = channel;
}

void ReceiveBuffer::give_back(std::span<const std::uint32_t> sections) {
    for (std::size_t n = sections.size(); n-- > 0;) {
        (sections[n] < control_sections ? state_.free_control : state_.free).push_back(sections[n]);
    }
}

void ReceiveBuffer::free_chain(std::uint32_t first) {
    state_.sections[first].channel = no_channel;
    for (std::uint32_t section = first; section != none;) {
        const std::uint32_t next = state_.sections[section].next;
        state_.sections[section].next = none;
        (section < control_sections ? state_.free_control : state_.free).push_back(section);
        section = next;
    }
}

bool ReceiveBuffer::completed(std::uint16_t channel, std::uint64_t transaction) {
    if (transaction == 0 || transaction > state_.count) return false;
    const auto first = static_cast<std::uint32_t>(transaction - 1);
    if (channel == no_channel || state_.sections[first].channel != channel) return false;
    free_chain(first);
    return true;
}

void ReceiveBuffer::forget_channel(std::uint16_t channel) {
    for (std::uint32_t n = 0; n < state_.count; ++n) {
        if (state_.sections[n].channel == channel) free_chain(n);
    }
}

}  // namespace vmbus
