// Receive segment coalescing in software: the segments of a batch that follow one another in a TCP stream become one
// large frame for a receiver that takes them. Nothing that TCP could tell is lost: only segments with equal headers but
// for sequence number, window, PSH and lengths are joined, as with Microsoft's RSC rules for "coalescing on receive".
#pragma once

#include <cstdint>
#include <vector>

#include "models/network/frame.h"
#include "models/network/headers.h"

namespace models {

class Coalescer final {
public:
    static constexpr std::size_t flows = 16;
    static constexpr std::size_t maximum_ip_bytes = 65535;

    // Appends to `ready` what may not wait: what does not coalesce, and before it what it follows.
    void add(Frame&& frame, std::vector<Frame>& ready);
    // The end of a batch.
    void flush(std::vector<Frame>& ready);
    std::size_t segments() const;  // held at present

    template <class Archive>
    void fields(Archive& archive) {
        archive(held_);
    }

private:
    struct Held {
        Frame frame;
        std::uint32_t segment_bytes = 0;  // payload of the first
        std::uint32_t next_sequence = 0;
        template <class Archive>
        void fields(Archive& archive) {
            archive(frame, segment_bytes, next_sequence);
        }
    };
    void release(std::size_t index, std::vector<Frame>& ready);

    std::vector<Held> held_;  // in the order in which they began
};

}  // namespace models
