#include "sriov_nic/physical_driver.h"

#include <algorithm>
#include <bit>

#include "sim/check.h"

namespace sriov_nic {

namespace {

constexpr unsigned vlvf_entries = 64, rar_entries = 128, mta_dwords = 128;
// The vector of mailbox and link: the last of those that ixgbe asks for; queues have those before.
constexpr std::uint32_t other_vector = 1;
constexpr std::uint32_t mailbox_filter_type = 0;  // MCSTCTRL.MO

}  // namespace

PhysicalDriver::PhysicalDriver(const sim::Scope& scope, RegisterPort& registers)
    : scope_(scope), registers_(registers) {}

void PhysicalDriver::change(std::uint32_t offset, std::uint32_t clear, std::uint32_t set) {
    write(offset, (read(offset) & ~clear) | set);
}

// In a table of one bit for each pool or VLAN.
void PhysicalDriver::set_bit(std::uint32_t table, unsigned index, bool on) {
    const std::uint32_t bit = 1u << (index & 31);
    change(table + 4 * (index >> 5), bit, on ? bit : 0);
}

void PhysicalDriver::start(const PhysicalSettings& settings) {
    const auto kept = state_.vfs;
    state_ = {};
    for (unsigned vf = 0; vf < max_pools; ++vf) state_.vfs[vf].policy = kept[vf].policy;
    state_.queues_per_pool = settings.queues_per_pool == 4 ? 4 : 2;
    state_.settings_vfs = std::min(settings.vfs, pools() - 1);
    state_.max_frame = settings.max_frame;
    state_.newest_api = settings.newest_api;
    write(reg::ctrl, ctrl::reset);
    configure_switch(settings);
    configure_hash();
    // MAC: strip the FCS, pad short frames; jumbo frames where wanted; pause.
    change(reg::hlreg0, 0, hlreg0::crc_strip | hlreg0::pad | (settings.max_frame > 1518 ? hlreg0::jumbo : 0));
    write(reg::maxfrs, settings.max_frame << 16);
    if (settings.flow_control) {
        // Thresholds as ixgbe has them: what can still arrive after a pause frame was sent stays free.
        constexpr std::uint32_t high_water = 448 * 1024, low_water = 320 * 1024, pause_quanta = 0xffff;
        write(reg::mflcn, mflcn::receive_flow_control);
        write(reg::fccfg, fccfg::transmit_flow_control);
        write(reg::fcttv, pause_quanta);
        write(reg::fcrtv, pause_quanta / 2);
        write(reg::fcrtl, fcrtl::xon_enable | low_water);
        write(reg::fcrth, fcrth::enable | high_water);
    }
    // Interrupts: the other causes on their vector.
    write(reg::ivar_misc, (ivar::valid | other_vector) << 8);
    for (unsigned i = 0; i < 4; ++i) write(reg::mbvfimr + 4 * i, 0xffff);
    write(reg::eims, 1u << cause::mailbox | 1u << cause::link);
    write(reg::dmatxctl, dmatxctl::enable);
    write(reg::rxctrl, rxctrl::enable);
    for (unsigned vf = 0; vf < state_.settings_vfs; ++vf) restart(vf);
    state_.started = true;
    change(reg::ctrl_ext, 0, ctrl_ext::pf_reset_done);
}

void PhysicalDriver::configure_switch(const PhysicalSettings& settings) {
    write(reg::fctrl, fctrl::broadcast | (settings.promiscuous ? fctrl::all_unicast | fctrl::all_multicast : 0));
    write(reg::mcstctrl, 4 | mailbox_filter_type);
    if (state_.settings_vfs == 0) {
        state_.rars[0] = {settings.mac, 0, Rar::Use::host};
        write_rar(0);
        return;
    }
    const unsigned own = physical_pool();
    const bool four = state_.queues_per_pool == 4;
    write(reg::mtqc, mtqc::virtualization | (four ? 2u << 2 : 1u << 2));
    constexpr std::uint32_t kinds = mrqc::ipv4_tcp | mrqc::ipv4 | mrqc::ipv6 | mrqc::ipv6_tcp;
    write(reg::mrqc, (four ? mrqc::vmdq_rss_32 : mrqc::vmdq_rss_64) | kinds);
    write(reg::vt_ctl,
          vt_ctl::enable | vt_ctl::replication | own << 7 | (settings.default_pool ? 0 : vt_ctl::no_default_pool));
    write(reg::pfdtxgswc, settings.uplink == Uplink::veb ? 1 : 0);
    write(reg::gcr_ext, four ? 2 : 3);
    write(reg::gpie, (four ? 2u : 3u) << 14 | 1u << 4);
    write(reg::vlnctrl, vlnctrl::filter_enable | 0x8100);
    state_.rars[0] = {settings.mac, static_cast<std::uint8_t>(own), Rar::Use::host};
    write_rar(0);
    set_vlan_member(0, own, true);
    write(reg::vmolr + 4 * own, vmolr::untagged | vmolr::broadcast | vmolr::multicast_hash |
                                    (settings.promiscuous ? vmolr::all_multicast | vmolr::unicast_hash : 0));
    constexpr std::uint32_t window_kib = 4;  // as ixgbe has it for frames of the usual size
    write(reg::rttbcnrm, window_kib);
    write(reg::rttdcs, settings.weighted ? rttdcs::weighted_pools : 0);
    constexpr std::uint32_t usual_share = 32;
    write(reg::rttdqsel, own * state_.queues_per_pool);
    write(reg::rttdt1c, usual_share);
    set_bit(reg::vfre, own, true);
    set_bit(reg::vfte, own, true);
}

void PhysicalDriver::open_pool(unsigned pool, unsigned hashed) {
    VG_CHECK(pool > physical_pool() && pool < pools() && hashed >= 1 && hashed <= state_.queues_per_pool);
    set_vlan_member(0, pool, true);
    write(reg::vmolr + 4 * pool, vmolr::untagged);
    write(reg::psrtype_table + 4 * pool, static_cast<std::uint32_t>(std::bit_width(hashed) - 1) << 29);
    set_bit(reg::vfre, pool, true);
}

// A fixed key and an even table: results must not depend on chance.
void PhysicalDriver::configure_hash() {
    constexpr std::array<std::uint32_t, 10> key{0xda565a6d, 0xc20e5b25, 0x3d256741, 0xb08fa343, 0xcb2bcad0,
                                                0xb4307bae, 0xa32dcb77, 0x0cf23080, 0x3bb7426a, 0xfa01acbe};
    for (unsigned i = 0; i < key.size(); ++i) write(reg::rssrk + 4 * i, key[i]);
    for (unsigned i = 0; i < 32; ++i) {
        std::uint32_t word = 0;
        for (unsigned j = 0; j < 4; ++j) word |= ((4 * i + j) % state_.queues_per_pool) << 8 * j;
        write(reg::reta + 4 * i, word);
    }
}

void PhysicalDriver::set_promiscuous(bool on) {
    constexpr std::uint32_t bits = fctrl::all_unicast | fctrl::all_multicast;
    change(reg::fctrl, bits, on ? bits : 0);
}

void PhysicalDriver::write_rar(unsigned index) {
    const Rar& rar = state_.rars[index];
    const std::uint32_t at = index < 16 ? reg::ral + 8 * index : reg::rar_table + 8 * index;
    const bool used = rar.use != Rar::Use::nobody;
    const std::uint64_t pools = used ? std::uint64_t{1} << rar.pool : 0;
    write(at, static_cast<std::uint32_t>(rar.mac));
    write(at + 4, static_cast<std::uint32_t>(rar.mac >> 32) | (used ? rah::valid : 0));
    write(reg::mpsar + 8 * index, static_cast<std::uint32_t>(pools));
    write(reg::mpsar + 8 * index + 4, static_cast<std::uint32_t>(pools >> 32));
}

// Whoever is trusted may ask for any number of filters: one entry stays for each VF's own address, and for the host as
// many as ixgbe keeps (IXGBE_MAX_PF_MACVLANS), beside its first. The host's leave the VFs' own alone as well.
bool PhysicalDriver::room_for(Rar::Use use) const {
    constexpr unsigned kept_for_host = 15;
    const auto taken = [this](Rar::Use by) {
        return static_cast<unsigned>(std::ranges::count(state_.rars, by, &Rar::use));
    };
    const unsigned shared = rar_entries - state_.settings_vfs;
    const unsigned extra = taken(Rar::Use::extra);
    if (use == Rar::Use::own) return true;
    if (use == Rar::Use::extra && extra >= shared - 1 - kept_for_host) return false;
    return taken(Rar::Use::host) + extra < shared;
}

bool PhysicalDriver::add_mac(MacKey mac, unsigned pool, Rar::Use use) {
    if (!valid_unicast(mac) || !room_for(use)) return false;
    for (unsigned i = 1; i < rar_entries; ++i) {
        if (state_.rars[i].use != Rar::Use::nobody) continue;
        state_.rars[i] = {mac, static_cast<std::uint8_t>(pool), use};
        write_rar(i);
        return true;
    }
    return false;
}

void PhysicalDriver::delete_mac(MacKey mac, unsigned pool, Rar::Use use) {
    for (unsigned i = 1; i < rar_entries; ++i) {
        Rar& rar = state_.rars[i];
        if (rar.use != use || rar.mac != mac || rar.pool != pool) continue;
        rar = {};
        write_rar(i);
        return;
    }
}

// VLVF with its members, and the filter in front of it.
bool PhysicalDriver::set_vlan_member(unsigned vlan, unsigned pool, bool member) {
    unsigned entry = vlvf_entries;
    for (unsigned i = vlvf_entries; i-- > 0;) {
        const std::uint32_t value = read(reg::vlvf + 4 * i);
        if ((value & vlvf::valid) == 0) {
            if (entry == vlvf_entries || (read(reg::vlvf + 4 * entry) & vlvf::valid) == 0) entry = i;
        } else if ((value & vlvf::id) == vlan) {
            entry = i;
        }
    }
    const bool found = entry != vlvf_entries && (read(reg::vlvf + 4 * entry) & vlvf::valid) != 0;
    if (!member && !found) return true;
    if (entry == vlvf_entries) return false;
    set_bit(reg::vlvfb + 8 * entry, pool, member);
    const bool any = (read(reg::vlvfb + 8 * entry) | read(reg::vlvfb + 8 * entry + 4)) != 0;
    write(reg::vlvf + 4 * entry, any ? vlvf::valid | vlan : 0);
    set_bit(reg::vfta, vlan, any);
    return true;
}

void PhysicalDriver::clear_vlans(unsigned vf) {
    for (unsigned i = 0; i < vlvf_entries; ++i) {
        const std::uint32_t value = read(reg::vlvf + 4 * i);
        if ((value & vlvf::valid) != 0) set_vlan_member(value & vlvf::id, vf, false);
    }
}

void PhysicalDriver::set_spoof_check(unsigned vf, bool mac, bool vlan) {
    const std::uint32_t bits = 0x101u << (vf & 7);
    change(reg::pfvfspoof + 4 * (vf >> 3), bits, bits & ((mac ? 0xffu : 0) | (vlan ? 0xff00u : 0)));
}

void PhysicalDriver::set_rate(unsigned vf) {
    const std::uint32_t rate = state_.vfs[vf].policy.rate_mbps;
    std::uint32_t factor = 0;
    if (rate != 0) {
        constexpr std::uint64_t link_mbps = 10'000;
        const std::uint64_t wanted = (link_mbps << 14) / rate;
        factor = rttbcnrc::enable |
                 static_cast<std::uint32_t>(std::clamp<std::uint64_t>(wanted, 1u << 14, rttbcnrc::factor));
    }
    for (unsigned q = 0; q < state_.queues_per_pool; ++q) {
        write(reg::rttdqsel, vf * state_.queues_per_pool + q);
        write(reg::rttbcnrc, factor);
        write(reg::rttdt1c, state_.vfs[vf].policy.share);
    }
}

void PhysicalDriver::set_enables(unsigned vf) {
    const bool on = state_.vfs[vf].clear_to_send && state_.vfs[vf].policy.link != LinkState::disabled;
    set_bit(reg::vfte, vf, on);
    // The 82599 cannot mix jumbo and other frames: a VF that does not know of it must not receive.
    const bool fits =
        state_.max_frame <= 1518 || state_.vfs[vf].api != Api::v1_0 || state_.vfs[vf].policy.kind == VfKind::hyper_v;
    set_bit(reg::vfre, vf, on && fits);
}

void PhysicalDriver::set_multicast_table() {
    std::array<std::uint32_t, mta_dwords> table{};
    for (unsigned vf = 0; vf < state_.settings_vfs; ++vf) {
        const Vf& one = state_.vfs[vf];
        for (const std::uint16_t hash : one.hashes) table[hash >> 5 & 0x7f] |= 1u << (hash & 31);
        const std::uint32_t hashed = one.hashes.empty() ? 0 : vmolr::multicast_hash;
        change(reg::vmolr + 4 * vf, one.cast_mode == CastMode::none ? vmolr::multicast_hash : 0, hashed);
    }
    for (unsigned i = 0; i < mta_dwords; ++i) write(reg::mta + 4 * i, table[i]);
}

void PhysicalDriver::stop_transmit(unsigned queue) {
    const auto at = [queue](TxRegister r) { return reg::tdbal + 0x40 * queue + static_cast<std::uint32_t>(r); };
    change(at(TxRegister::txdctl), txdctl::enable, 0);
    write(at(TxRegister::tdwbal), 0);
    write(at(TxRegister::tdwbah), 0);
}

// What a VF is after its reset (ixgbe_vf_reset_event).
void PhysicalDriver::restart(unsigned vf) {
    Vf& one = state_.vfs[vf];
    const VfPolicy& policy = one.policy;
    clear_vlans(vf);
    set_vlan_member(policy.vlan, vf, true);
    write(reg::vmolr + 4 * vf, vmolr::broadcast | (policy.vlan == 0 ? vmolr::untagged : 0));
    const std::uint32_t tag = policy.vlan | std::uint32_t{policy.priority} << 13;
    write(reg::vmvir + 4 * vf, tag != 0 ? vmvir::always | tag : 0);
    set_spoof_check(vf, policy.spoof_check, policy.spoof_check);
    one.hashes.clear();
    one.cast_mode = CastMode::none;
    set_multicast_table();
    for (unsigned i = 1; i < rar_entries; ++i) {
        if (state_.rars[i].use == Rar::Use::nobody || state_.rars[i].pool != vf) continue;
        state_.rars[i] = {};
        write_rar(i);
    }
    one.mac = 0;
    one.api = Api::v1_0;
    one.clear_to_send = false;
    for (unsigned q = 0; q < state_.queues_per_pool; ++q) {
        const unsigned queue = vf * state_.queues_per_pool + q;
        write(reg::qde, qde::write | qde::enable | queue << 8);
        // What the reset leaves on. A Hyper-V guest's driver may have opened its queue before the host grants anything.
        if (policy.kind == VfKind::mailbox) stop_transmit(queue);
    }
    set_bit(reg::vmecm, vf, true);
    set_rate(vf);
    set_enables(vf);
}

void PhysicalDriver::set_policy(unsigned vf, const VfPolicy& policy) {
    VG_CHECK(vf < max_vfs);
    Vf& one = state_.vfs[vf];
    const VfPolicy before = one.policy;
    one.policy = policy;
    if (!state_.started || vf >= state_.settings_vfs) return;
    if (policy.vlan != before.vlan || policy.priority != before.priority) {
        set_vlan_member(before.vlan, vf, false);
        set_vlan_member(policy.vlan, vf, true);
        const std::uint32_t tag = policy.vlan | std::uint32_t{policy.priority} << 13;
        write(reg::vmvir + 4 * vf, tag != 0 ? vmvir::always | tag : 0);
        change(reg::vmolr + 4 * vf, vmolr::untagged, policy.vlan == 0 ? vmolr::untagged : 0);
    }
    if (policy.mac != before.mac && valid_unicast(policy.mac)) {
        delete_mac(one.mac, vf, Rar::Use::own);
        one.mac = add_mac(policy.mac, vf, Rar::Use::own) ? policy.mac : 0;
    }
    set_spoof_check(vf, policy.spoof_check, policy.spoof_check);
    set_rate(vf);
    if (policy.link != before.link) {
        set_enables(vf);
        if (policy.kind == VfKind::mailbox) ping(vf);
    }
}

// 152E's driver says nothing: address, enables and multicast reception are the host's to give. It gets all multicast,
// since nobody tells which it wants.
void PhysicalDriver::enable_hyper_v(unsigned vf) {
    VG_CHECK(vf < state_.settings_vfs);
    restart(vf);
    Vf& one = state_.vfs[vf];
    one.clear_to_send = true;
    one.cast_mode = CastMode::all_multicast;
    if (add_mac(one.policy.mac, vf, Rar::Use::own)) one.mac = one.policy.mac;
    change(reg::vmolr + 4 * vf, 0, vmolr::all_multicast);
    change(reg::fctrl, 0, fctrl::all_multicast);
    set_enables(vf);
}

void PhysicalDriver::disable(unsigned vf) {
    if (vf < state_.settings_vfs) restart(vf);
}

}  // namespace sriov_nic
