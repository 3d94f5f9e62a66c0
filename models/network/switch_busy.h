// Keeps the virtual switch from being entered twice: a private part of virtual_switch.cpp and switch_forwarding.cpp.
#pragma once

#include <utility>

#include "models/network/virtual_switch.h"

namespace models {

class VirtualSwitch::Busy final {
public:
    explicit Busy(VirtualSwitch& owner) : owner_(owner) { ++owner_.busy_; }
    ~Busy() {
        if (owner_.busy_ == 1) {
            if (!owner_.leaving_.empty()) owner_.remove_leaving();
            while (!owner_.pending_.empty()) {
                auto [from, frame] = std::move(owner_.pending_.front());
                owner_.pending_.pop_front();
                if (owner_.connected(from)) owner_.switch_frame(from, std::move(frame));
                if (!owner_.leaving_.empty()) owner_.remove_leaving();
            }
        }
        --owner_.busy_;
    }
    Busy(const Busy&) = delete;
    Busy& operator=(const Busy&) = delete;

private:
    VirtualSwitch& owner_;
};

}  // namespace models
