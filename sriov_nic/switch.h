// The embedded switch (82599 datasheet, 7.10.3): which pools a frame goes to, and whether it leaves by the wire. It
// reads the filter registers; what it derives from them is built again when one was written.
#pragma once

#include <array>
#include <cstdint>

#include "sriov_nic/frame.h"
#include "sriov_nic/register_bank.h"

namespace sriov_nic {

using Pools = std::uint64_t;  // a bit for each

struct Verdict {
    Pools pools = 0;
    bool wire = false;
    bool inexact = false;  // passed a hash or a promiscuous filter only
    bool spoofed = false;
};

class EmbeddedSwitch {
public:
    explicit EmbeddedSwitch(const RegisterValues& registers) : registers_(registers) {}

    // A filter register was written.
    void invalidate() { valid_ = false; }

    // From the wire.
    Verdict received(const FrameInfo& frame);
    // From pool `source`. Spoofed frames go nowhere.
    Verdict transmitted(const FrameInfo& frame, unsigned source);

    bool virtualization() const;
    unsigned default_pool() const;

private:
    struct Exact {
        MacKey mac = 0;
        Pools pools = 0;
    };
    static constexpr std::size_t exact_slots = 512, most_exact = 128;  // entries of RAR

    void build();
    std::size_t slot_for(MacKey mac) const;
    const Exact* find(MacKey mac) const;
    bool in_table(std::uint32_t table, MacKey mac) const;
    Pools vlan_pools(const FrameInfo& frame) const;
    Pools all_with(std::uint32_t vmolr_bit) const;
    Verdict match(const FrameInfo& frame);
    Pools mirrored(const FrameInfo& frame, Pools pools, bool uplink, bool downlink) const;

    const RegisterValues& registers_;
    // Derived.
    bool valid_ = false;
    std::array<Exact, most_exact> exact_{};                // close together: each frame looks at some
    std::array<std::uint8_t, exact_slots> exact_index_{};  // by an address's hash, or behind it: which, from 1 on
    std::array<std::uint8_t, 4096> vlan_entry_{};          // entry of VLVF + 1
    std::array<Pools, 5> olr_{};                           // pools by bit of VMOLR, from bit 24 on
    bool mirrors_ = false;
};

}  // namespace sriov_nic
