// The MAC: what comes from the wire is checked, counted and filtered; pause frames are obeyed and sent (82599
// datasheet, 3.7.7 and 7.1.1).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "sriov_nic/receive.h"
#include "sriov_nic/transmit.h"

namespace sriov_nic {

class Mac final : public PauseSender {
public:
    explicit Mac(Core& core);
    Mac(const Mac&) = delete;
    void connect(Transmit& transmit, Receive& receive) {
        transmit_ = &transmit;
        receive_ = &receive;
    }

    // A frame without its FCS, whose last bit came now.
    void received(std::span<const std::byte> frame, bool good_fcs);

    void send_pause(std::uint16_t quanta) override;
    void receive_room() override { transmit_->pump(); }
    void reset() { refresh_.disarm(); }

    template <class Archive>
    void fields(Archive& a) {
        a(refresh_);
    }

private:
    bool sound(std::span<const std::byte> frame, bool good_fcs);
    void paused(std::uint16_t quanta);
    sim::Time quantum() const { return sim::Time::ps(64 * core_.profile.wire_byte_ps); }  // 512 bit times

    Core& core_;
    Transmit* transmit_ = nullptr;
    Receive* receive_ = nullptr;
    sim::Timer refresh_;
};

}  // namespace sriov_nic
