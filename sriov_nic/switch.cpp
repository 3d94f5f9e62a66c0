#include "sriov_nic/switch.h"

#include "sriov_nic/ports.h"
#include "sriov_nic/registers.h"

namespace sriov_nic {

namespace {

constexpr unsigned vlvf_entries = 64, mirror_rules = 4;

constexpr std::size_t slot_of(MacKey mac) {
    return static_cast<std::size_t>(mac * 0x9e3779b97f4a7c15ull >> 55);
}

// The multicast and unicast hash tables: 4096 bits, by 12 bits of the address (8.2.3.7.4): which, MCSTCTRL.MO says.
unsigned hash_of(MacKey mac, std::uint32_t mcstctrl) {
    static constexpr unsigned low_bit[] = {4, 3, 2, 0};
    return static_cast<unsigned>(mac >> 32 >> low_bit[mcstctrl & 3]) & 0xfff;
}

}  // namespace

bool EmbeddedSwitch::virtualization() const {
    return (registers_[reg::vt_ctl] & vt_ctl::enable) != 0;
}

unsigned EmbeddedSwitch::default_pool() const {
    return vt_ctl::default_pool(registers_[reg::vt_ctl]);
}

void EmbeddedSwitch::build() {
    valid_ = true;
    exact_ = {};
    exact_index_ = {};
    std::uint8_t known = 0;
    for (unsigned i = 0; i < most_exact; ++i) {
        const std::uint32_t at = i < 16 ? reg::ral + 8 * i : reg::rar_table + 8 * i;
        const std::uint32_t high = registers_[at + 4];
        if ((high & rah::valid) == 0) continue;
        const MacKey mac = std::uint64_t{high & 0xffff} << 32 | registers_[at];
        const std::size_t slot = slot_for(mac);
        if (exact_index_[slot] == 0) exact_index_[slot] = ++known;
        Exact& exact = exact_[exact_index_[slot] - 1u];
        exact.mac = mac;
        exact.pools |= registers_.pair(reg::mpsar + 8 * i);
    }
    vlan_entry_.fill(0);
    for (unsigned i = vlvf_entries; i-- > 0;) {
        const std::uint32_t entry = registers_[reg::vlvf + 4 * i];
        if ((entry & vlvf::valid) != 0) vlan_entry_[entry & vlvf::id] = static_cast<std::uint8_t>(i + 1);
    }
    olr_ = {};
    for (unsigned pool = 0; pool < max_pools; ++pool) {
        const std::uint32_t value = registers_[reg::vmolr + 4 * pool];
        for (unsigned bit = 0; bit < olr_.size(); ++bit) {
            if ((value >> (24 + bit) & 1) != 0) olr_[bit] |= Pools{1} << pool;
        }
    }
    mirrors_ = false;
    for (unsigned i = 0; i < mirror_rules; ++i) mirrors_ |= (registers_[reg::mrctl + 4 * i] & 0xf) != 0;
}

// Where the address is, or would be.
std::size_t EmbeddedSwitch::slot_for(MacKey mac) const {
    std::size_t slot = slot_of(mac);
    while (exact_index_[slot] != 0 && exact_[exact_index_[slot] - 1u].mac != mac) slot = (slot + 1) % exact_slots;
    return slot;
}

const EmbeddedSwitch::Exact* EmbeddedSwitch::find(MacKey mac) const {
    const unsigned index = exact_index_[slot_for(mac)];
    return index != 0 ? &exact_[index - 1] : nullptr;
}

bool EmbeddedSwitch::in_table(std::uint32_t table, MacKey mac) const {
    const unsigned hash = hash_of(mac, registers_[reg::mcstctrl]);
    return (registers_[table + 4 * (hash >> 5)] >> (hash & 31) & 1) != 0;
}

Pools EmbeddedSwitch::all_with(std::uint32_t vmolr_bit) const {
    return olr_[static_cast<unsigned>(__builtin_ctz(vmolr_bit)) - 24];
}

// Members of the frame's VLAN. Priority-tagged frames are of VLAN 0 (7.10.3.3, step 5).
Pools EmbeddedSwitch::vlan_pools(const FrameInfo& frame) const {
    if (!frame.tagged) return all_with(vmolr::untagged);
    const unsigned entry = vlan_entry_[frame.vlan()];
    return entry == 0 ? 0 : registers_.pair(reg::vlvfb + 8 * (entry - 1));
}

// 7.10.3.3 and 7.10.3.4, without what depends on where the frame comes from.
Verdict EmbeddedSwitch::match(const FrameInfo& frame) {
    if (!valid_) build();
    Verdict verdict;
    const std::uint32_t filter = registers_[reg::fctrl];
    bool passed = false;
    if (frame.destination == broadcast_mac) {
        passed = (filter & fctrl::broadcast) != 0;
        verdict.pools = all_with(vmolr::broadcast);
    } else if (const Exact* exact = find(frame.destination); exact != nullptr) {
        passed = true;
        verdict.pools = exact->pools;
        if (is_multicast(frame.destination)) verdict.pools |= all_with(vmolr::all_multicast);
    } else if (is_multicast(frame.destination)) {
        const bool enabled = (registers_[reg::mcstctrl] & 4) != 0;
        const bool hashed = enabled && in_table(reg::mta, frame.destination);
        passed = hashed || (filter & fctrl::all_multicast) != 0;
        verdict.inexact = true;
        verdict.pools = all_with(vmolr::all_multicast) | (hashed ? all_with(vmolr::multicast_hash) : 0);
    } else {
        const bool hashed = in_table(reg::uta, frame.destination);
        passed = hashed || (filter & fctrl::all_unicast) != 0;
        verdict.inexact = true;
        if (hashed) verdict.pools = all_with(vmolr::unicast_hash);
    }
    if (passed && frame.tagged && (registers_[reg::vlnctrl] & vlnctrl::filter_enable) != 0) {
        passed = (registers_[reg::vfta + 4 * (frame.vlan() >> 5)] >> (frame.vlan() & 31) & 1) != 0;
    }
    if (!passed) return {};
    verdict.wire = true;  // here: passed the filters
    if (!virtualization()) {
        verdict.pools = 1;
        return verdict;
    }
    verdict.pools &= vlan_pools(frame);
    return verdict;
}

Pools EmbeddedSwitch::mirrored(const FrameInfo& frame, Pools pools, bool uplink, bool downlink) const {
    Pools more = 0;
    for (unsigned i = 0; i < mirror_rules; ++i) {
        const std::uint32_t rule = registers_[reg::mrctl + 4 * i];
        bool hit = (rule & mrctl::pools) != 0 && (pools & registers_.pair(reg::vmrvm + 8 * i)) != 0;
        hit |= (rule & mrctl::uplink) != 0 && uplink;
        hit |= (rule & mrctl::downlink) != 0 && downlink;
        if ((rule & mrctl::vlans) != 0 && frame.tagged && vlan_entry_[frame.vlan()] != 0) {
            hit |= (registers_.pair(reg::vmrvlan + 8 * i) >> (vlan_entry_[frame.vlan()] - 1) & 1) != 0;
        }
        if (hit) more |= Pools{1} << mrctl::destination(rule);
    }
    return more;
}

Verdict EmbeddedSwitch::received(const FrameInfo& frame) {
    Verdict verdict = match(frame);
    if (!verdict.wire) return {};
    verdict.wire = false;
    if (!virtualization()) return verdict;
    const std::uint32_t control = registers_[reg::vt_ctl];
    if (verdict.pools == 0 && (control & vt_ctl::no_default_pool) == 0) verdict.pools = Pools{1} << default_pool();
    if ((control & vt_ctl::replication) == 0) verdict.pools &= ~verdict.pools + 1;
    if (mirrors_) verdict.pools |= mirrored(frame, verdict.pools, true, false);
    return verdict;
}

Verdict EmbeddedSwitch::transmitted(const FrameInfo& frame, unsigned source) {
    Verdict verdict;
    verdict.wire = true;
    if (!virtualization()) return verdict;
    if (!valid_) build();
    const Pools own = Pools{1} << source;
    const std::uint32_t spoof = registers_[reg::pfvfspoof + 4 * (source >> 3)] >> (source & 7);
    if ((spoof & 1) != 0) {
        const Exact* exact = find(frame.source);
        verdict.spoofed = exact == nullptr || (exact->pools & own) == 0;
    }
    if ((spoof & 0x100) != 0 && frame.tagged) verdict.spoofed |= (vlan_pools(frame) & own) == 0;
    if (verdict.spoofed) {
        verdict.wire = false;
        return verdict;
    }
    if ((registers_[reg::pfdtxgswc] & 1) == 0) return verdict;  // VEPA: the switch beyond the wire returns it
    const Verdict local = match(frame);
    const bool to_itself = (registers_[reg::vmtxsw + 4 * (source >> 5)] >> (source & 31) & 1) != 0;
    verdict.pools = local.wire ? local.pools : 0;
    if (!to_itself) verdict.pools &= ~own;
    // A frame for a known local address stays inside.
    verdict.wire = is_multicast(frame.destination) || verdict.pools == 0;
    verdict.inexact = local.inexact;
    if ((registers_[reg::vt_ctl] & vt_ctl::replication) == 0) verdict.pools &= ~verdict.pools + 1;
    if (mirrors_) verdict.pools |= mirrored(frame, verdict.pools, false, verdict.wire) & ~own;
    return verdict;
}

}  // namespace sriov_nic
