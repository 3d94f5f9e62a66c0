// The guest's receive buffer, cut into sections of one size: which are the guest's at the moment, and by which packet.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "sim/working_set.h"

namespace vmbus {

class ReceiveBuffer {
public:
    // Sections that frames never take, so that answers to control messages always find one.
    static constexpr std::uint32_t control_sections = 16;
    static constexpr std::uint32_t largest_count = 1u << 16;

    ReceiveBuffer() = default;
    ReceiveBuffer(std::uint32_t gpadl, std::uint16_t id, std::uint32_t section_bytes, std::uint32_t count);

    bool established() const { return state_.count != 0; }
    std::uint32_t gpadl() const { return state_.gpadl; }
    std::uint16_t id() const { return state_.id; }
    std::uint32_t section_bytes() const { return state_.section_bytes; }
    std::uint32_t count() const { return state_.count; }
    std::uint64_t offset(std::uint32_t section) const { return std::uint64_t{section} * state_.section_bytes; }

    std::size_t free_for_frames() const { return state_.free.size(); }
    std::size_t free_for_control() const { return state_.free_control.size(); }
    std::size_t with_guest() const { return state_.count - free_for_frames() - free_for_control(); }

    // Takes sections for one packet of a channel's. There must be as many free ones. They are the guest's from now on,
    // until it names the packet by its transaction.
    std::vector<std::uint32_t> take_for_frames(std::size_t sections);
    std::uint32_t take_for_control();
    // The transaction of the packet that begins with this section.
    static std::uint64_t transaction_of(std::uint32_t first_section) { return std::uint64_t{first_section} + 1; }
    // Notes that the sections went out as one packet.
    void sent(std::uint16_t channel, std::span<const std::uint32_t> sections);
    // Sections that never went out.
    void give_back(std::span<const std::uint32_t> sections);
    // The guest is done with a packet. False: it has no such one of that channel.
    [[nodiscard]] bool completed(std::uint16_t channel, std::uint64_t transaction);
    // A channel is gone, with all that it had.
    void forget_channel(std::uint16_t channel);

    // What the next packet needs, if those before it have come back (sim/working_set.h).
    void add_needs(sim::WorkingSet& set) const {
        if (state_.free.empty()) return;
        set.add(state_.free.back());
        set.add(state_.sections[state_.free.back()]);
    }

    friend bool operator==(const ReceiveBuffer& a, const ReceiveBuffer& b) { return a.state_ == b.state_; }
    template <class Archive>
    void fields(Archive& archive) {
        archive(state_);
    }

private:
    static constexpr std::uint32_t none = 0xffff'ffff;
    static constexpr std::uint16_t no_channel = 0xffff;

    struct Section {
        std::uint32_t next = none;           // of the same packet
        std::uint16_t channel = no_channel;  // of the first section of a packet

        friend bool operator==(const Section&, const Section&) = default;
        template <class Archive>
        void fields(Archive& archive) {
            archive(next, channel);
        }
    };
    struct State {
        std::uint32_t gpadl = 0;
        std::uint16_t id = 0;
        std::uint32_t section_bytes = 0;
        std::uint32_t count = 0;
        std::vector<std::uint32_t> free;  // the next at the back
        std::vector<std::uint32_t> free_control;
        std::vector<Section> sections;

        friend bool operator==(const State&, const State&) = default;
        template <class Archive>
        void fields(Archive& archive) {
            archive(gpadl, id, section_bytes, count, free, free_control, sections);
        }
    };
    void free_chain(std::uint32_t first);

    State state_;
};

}  // namespace vmbus
