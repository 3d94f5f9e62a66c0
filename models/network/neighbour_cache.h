// Who has which hardware address on a link, and the frames that wait for an answer. Shared by ARP (RFC 826, RFC 1122
// 2.3.2) and neighbour discovery (RFC 4861, 7.2); the owner writes the questions. Bounded in every direction.
#pragma once

#include <cstdint>
#include <vector>

#include "models/network/addresses.h"
#include "models/network/frame.h"
#include "sim/agenda.h"
#include "sim/flat_map.h"
#include "sim/working_set.h"

namespace models {

class NeighbourOutput {
public:
    virtual void solicit(const IpAddress& address) = 0;
    // The destination address of the frame is filled in.
    virtual void send_resolved(Frame&& frame) = 0;
    virtual void unresolved(Frame&& frame) = 0;

protected:
    ~NeighbourOutput() = default;
};

struct NeighbourSettings {
    sim::Time age = sim::Time::s(600);
    std::size_t capacity = 1024;
    std::size_t waiting_frames = 64;  // per address
    std::uint32_t attempts = 3;
    sim::Time retry = sim::Time::s(1);  // RFC 4861 RETRANS_TIMER; RFC 1122 asks for at most one per second
};

class NeighbourCache final {
public:
    NeighbourCache(sim::Agenda& agenda, NeighbourOutput& output, const NeighbourSettings& settings = {});

    // Sends a frame whose destination address is yet unknown, now or when the answer is there.
    void send(const IpAddress& next_hop, Frame&& frame);
    // Somebody told its address.
    void learn(const IpAddress& address, const MacAddress& mac);
    std::size_t size() const { return entries_.size(); }
    void add_needs(sim::WorkingSet& set) const {
        set.add_between(&entries_, &settings_.capacity);
        set.add_elements(entries_, 2);
    }

    template <class Archive>
    void fields(Archive& archive) {
        archive(entries_, timer_);
    }

private:
    struct Entry {
        bool complete = false;
        MacAddress mac;
        std::uint32_t asked = 0;
        sim::Time at;  // complete: last confirmed; else when to ask again
        std::vector<Frame> waiting;
        template <class Archive>
        void fields(Archive& archive) {
            archive(complete, mac, asked, at, waiting);
        }
    };
    void count_question(Entry& entry);
    void expired();
    void schedule();
    std::vector<Frame> make_room();

    sim::FlatMap<IpAddress, Entry> entries_;
    sim::Agenda& agenda_;
    NeighbourOutput& output_;
    NeighbourSettings settings_;
    sim::Timer timer_;
};

}  // namespace models
