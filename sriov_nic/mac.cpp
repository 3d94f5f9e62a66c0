#include "sriov_nic/mac.h"

#include <array>
#include <cstring>

namespace sriov_nic {

namespace {

constexpr MacKey pause_address = 0x0100'00c2'8001;  // 01-80-c2-00-00-01
constexpr std::uint16_t pause_opcode = 1;
constexpr std::uint32_t least_octets = 64, usual_octets = 1518;
constexpr unsigned opcode_at = 14, quanta_at = 16;

}  // namespace

Mac::Mac(Core& core)
    : core_(core), refresh_(core.scope.agenda(), core.scope.path() + ".pause_refresh", [this] {
          if (receive_->paused_partner()) send_pause(static_cast<std::uint16_t>(core_.registers[reg::fcttv]));
      }) {}

bool Mac::sound(std::span<const std::byte> frame, bool good_fcs) {
    Statistics& counts = core_.statistics;
    const auto octets = static_cast<std::uint32_t>(frame.size()) + Profile::fcs_bytes;
    ++counts.total_received;
    counts.total_received_octets += octets;
    if (!good_fcs) {
        ++counts.crc_errors;
        return false;
    }
    if (octets < least_octets || frame.size() < mac_header_bytes) {
        ++counts.undersize;
        return false;
    }
    const bool jumbo = (core_.registers[reg::hlreg0] & hlreg0::jumbo) != 0;
    const std::uint32_t tag = load_be16(&frame[12]) == ethertype_vlan ? vlan_bytes : 0;
    if (octets > (jumbo ? core_.registers[reg::maxfrs] >> 16 : usual_octets) + tag) {
        ++counts.oversize;
        return false;
    }
    return true;
}

void Mac::received(std::span<const std::byte> frame, bool good_fcs) {
    if (!core_.link_up || (core_.registers[reg::rxctrl] & rxctrl::enable) == 0) return;
    if (!sound(frame, good_fcs)) return;
    if (load_be16(&frame[12]) == ethertype_flow_control && load_mac(frame.data()) == pause_address &&
        load_be16(&frame[opcode_at]) == pause_opcode) {
        return paused(load_be16(&frame[quanta_at]));
    }
    FrameInfo info;
    parse_frame(frame, info);
    const Verdict verdict = core_.bridge.received(info);
    Statistics& counts = core_.statistics;
    if (verdict.pools == 0) {
        ++counts.filtered;
        return;
    }
    const auto octets = static_cast<std::uint32_t>(frame.size()) + Profile::fcs_bytes;
    DirectionStatistics& good = counts.good_received;
    ++good.packets;
    good.octets += octets;
    ++good.by_size[size_class(octets)];
    if (info.destination == broadcast_mac) {
        ++good.broadcast;
    } else if (is_multicast(info.destination)) {
        ++good.multicast;
    }
    receive_->accept(frame, info, verdict);
}

void Mac::paused(std::uint16_t quanta) {
    if ((core_.registers[reg::mflcn] & mflcn::receive_flow_control) == 0) return;
    ++(quanta == 0 ? core_.statistics.xon_received : core_.statistics.xoff_received);
    transmit_->pause(core_.scope.now() + quantum() * quanta);
}

// FCRTV says after how much of the pause it is renewed (3.7.7.3.3).
void Mac::send_pause(std::uint16_t quanta) {
    ++(quanta == 0 ? core_.statistics.xon_sent : core_.statistics.xoff_sent);
    std::array<std::byte, 60> frame{};
    std::memcpy(frame.data(), &pause_address, 6);
    const std::uint32_t low = core_.registers[reg::ral];
    const std::uint32_t high = core_.registers[reg::rah];
    std::memcpy(&frame[6], &low, 4);
    std::memcpy(&frame[10], &high, 2);
    store_be16(&frame[12], ethertype_flow_control);
    store_be16(&frame[opcode_at], pause_opcode);
    store_be16(&frame[quanta_at], quanta);
    transmit_->send_control(frame);
    const std::uint32_t renew = core_.registers[reg::fcrtv] & 0xffff;
    if (quanta != 0 && renew != 0) {
        refresh_.arm_after(quantum() * renew);
    } else {
        refresh_.disarm();
    }
}

}  // namespace sriov_nic
