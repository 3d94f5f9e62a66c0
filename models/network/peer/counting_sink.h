// The end of a network where nobody is: takes everything, counts it, answers nothing.
#pragma once

#include "models/network/frame.h"
#include "sim/scope.h"

namespace models {

class CountingSink final : public FrameReceiver {
public:
    explicit CountingSink(const sim::Scope& scope)
        : frames_(scope.counter("frames", "frames", "frames that ended here")),
          bytes_(scope.counter("bytes", "bytes", "bytes of those frames")) {}

    void receive(Frame&& frame) override {
        ++frames_;
        bytes_.add(frame.size());
    }
    std::uint64_t frames() const { return frames_.value(); }
    std::uint64_t bytes() const { return bytes_.value(); }

private:
    sim::Counter& frames_;
    sim::Counter& bytes_;
};

}  // namespace models
