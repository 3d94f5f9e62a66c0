// The physical driver's side of the mailbox: what VFs ask for, and whether they get it.
#include <algorithm>

#include "sriov_nic/physical_driver.h"

namespace sriov_nic {

namespace {

constexpr std::uint32_t largest_asked = 9728, smallest_mtu = 68, plain_frame = 1514, fcs = 4;
constexpr unsigned most_hashes = 30, redirection_dwords = 8, key_dwords = 10;

MacKey mac_in(std::span<const std::uint32_t> words) {
    return (std::uint64_t{words[1]} << 32 | words[0]) & 0xffff'ffff'ffff;
}
// Version 2.0 is another driver's and numbered in between.
bool at_least(Api have, Api wanted) {
    return have != Api::v2_0 && have >= wanted;
}

}  // namespace

void PhysicalDriver::interrupt() {
    const std::uint32_t causes = read(reg::eicr);
    if ((causes & 1u << cause::link) != 0) ping_all();
    const std::uint32_t resets[] = {read(reg::vflre), read(0x01c0)};
    for (unsigned vf = 0; vf < state_.settings_vfs; ++vf) {
        if ((resets[vf >> 5] >> (vf & 31) & 1) != 0) {
            write(reg::vflrec + 4 * (vf >> 5), 1u << (vf & 31));
            // A Hyper-V guest cannot ask for what its VF had: it gets it back.
            const bool again = state_.vfs[vf].policy.kind == VfKind::hyper_v && state_.vfs[vf].clear_to_send;
            if (again) {
                enable_hyper_v(vf);
            } else {
                restart(vf);
            }
        }
        const std::uint32_t request = 1u << (vf & 15);
        const std::uint32_t told = read(reg::mbvficr + 4 * (vf >> 4));
        if ((told & request) != 0) {
            write(reg::mbvficr + 4 * (vf >> 4), request);
            serve(vf);
        }
        if ((told & request << 16) != 0) {
            write(reg::mbvficr + 4 * (vf >> 4), request << 16);
            // Whoever was not reset has nothing to acknowledge.
            const std::uint32_t no = message::failure;
            if (!state_.vfs[vf].clear_to_send) send(vf, std::span{&no, 1});
        }
    }
}

void PhysicalDriver::send(unsigned vf, std::span<const std::uint32_t> words) {
    write(reg::pfmailbox + 4 * vf, pf_mailbox::pf_owns);
    for (std::size_t i = 0; i < words.size(); ++i) {
        write(reg::pfmbmem + 64 * vf + 4 * static_cast<std::uint32_t>(i), words[i]);
    }
    write(reg::pfmailbox + 4 * vf, pf_mailbox::status);
}

void PhysicalDriver::ping(unsigned vf) {
    const std::uint32_t word = message::control | (state_.vfs[vf].clear_to_send ? message::clear_to_send : 0);
    send(vf, std::span{&word, 1});
}

void PhysicalDriver::ping_all() {
    for (unsigned vf = 0; vf < state_.settings_vfs; ++vf) {
        if (state_.vfs[vf].policy.kind == VfKind::mailbox) ping(vf);
    }
}

void PhysicalDriver::serve(unsigned vf) {
    Words words{};
    for (unsigned i = 0; i < mailbox::dwords; ++i) words[i] = read(reg::pfmbmem + 64 * vf + 4 * i);
    write(reg::pfmailbox + 4 * vf, pf_mailbox::acknowledge | pf_mailbox::reset_vf_owns);
    ++state_.messages;
    if ((words[0] & (message::success | message::failure)) != 0) return;  // an answer of ours that nobody took away
    if (state_.vfs[vf].policy.kind == VfKind::hyper_v) {
        ++state_.refused;
        return;
    }
    if (words[0] == message::reset) return reset_message(vf);
    if (!state_.vfs[vf].clear_to_send) {
        words[0] |= message::failure;
        return send(vf, std::span{words}.first(1));
    }
    const bool granted = answer(vf, words);
    if (!granted) ++state_.refused;
    scope_.trace("mailbox", vf, words[0], granted ? 1 : 0);
    words[0] |= (granted ? message::success : message::failure) | message::clear_to_send;
    send(vf, words);
}

bool PhysicalDriver::answer(unsigned vf, Words& words) {
    switch (words[0] & message::type) {
        case message::set_mac:
            return set_mac(vf, words);
        case message::set_multicast:
            return set_multicast(vf, words);
        case message::set_vlan:
            return set_vlan(vf, words);
        case message::set_max_frame:
            return set_max_frame(vf, words);
        case message::set_mac_filter:
            return set_mac_filter(vf, words);
        case message::negotiate_api:
            return negotiate(vf, words);
        case message::get_queues:
            return get_queues(vf, words);
        case message::get_redirection:
            return get_redirection(vf, words);
        case message::get_hash_key:
            return get_hash_key(vf, words);
        case message::update_cast_mode:
            return update_cast_mode(vf, words);
        case message::get_link_state:
            return get_link_state(vf, words);
        default:
            return false;  // IPsec too: this adapter's offload of it is not modelled
    }
}

void PhysicalDriver::reset_message(unsigned vf) {
    restart(vf);
    Vf& one = state_.vfs[vf];
    for (unsigned i = 0; i < mailbox::dwords; ++i) write(reg::pfmbmem + 64 * vf + 4 * i, 0);
    one.clear_to_send = true;
    if (valid_unicast(one.policy.mac) && add_mac(one.policy.mac, vf, Rar::Use::own)) one.mac = one.policy.mac;
    set_enables(vf);
    // Without an address of the administrator's the answer is a failure, and the VF takes one of its own.
    Words words{};
    words[0] = message::reset | (one.mac != 0 ? message::success : message::failure);
    words[1] = static_cast<std::uint32_t>(one.mac);
    words[2] = static_cast<std::uint32_t>(one.mac >> 32);
    words[3] = read(reg::mcstctrl) & 3;
    send(vf, std::span{words}.first(4));
}

bool PhysicalDriver::set_mac(unsigned vf, const Words& words) {
    Vf& one = state_.vfs[vf];
    const MacKey mac = mac_in(std::span{words}.subspan(1));
    if (!valid_unicast(mac)) return false;
    if (one.policy.mac != 0 && !one.policy.trusted && mac != one.mac) return false;
    delete_mac(one.mac, vf, Rar::Use::own);
    one.mac = add_mac(mac, vf, Rar::Use::own) ? mac : 0;
    return one.mac != 0;
}

bool PhysicalDriver::set_multicast(unsigned vf, const Words& words) {
    Vf& one = state_.vfs[vf];
    const unsigned count = std::min(message::info_of(words[0]), most_hashes);
    one.hashes.clear();
    for (unsigned i = 0; i < count; ++i) {
        one.hashes.push_back(static_cast<std::uint16_t>(words[1 + i / 2] >> 16 * (i & 1)) & 0xfff);
    }
    set_multicast_table();
    return true;
}

bool PhysicalDriver::set_vlan(unsigned vf, const Words& words) {
    if (state_.vfs[vf].policy.vlan != 0) return false;
    const bool add = message::info_of(words[0]) != 0;
    const unsigned vlan = words[1] & vlvf::id;
    if (vlan == 0 && !add) return true;
    return set_vlan_member(vlan, vf, add);
}

// All functions share one largest frame: with jumbo frames in play, VFs that do not know of them may not receive.
bool PhysicalDriver::set_max_frame(unsigned vf, const Words& words) {
    const std::uint32_t frame = words[1];
    if (frame < smallest_mtu || frame > largest_asked) return false;
    const bool host_jumbo = state_.max_frame - fcs > plain_frame;
    const bool knows = at_least(state_.vfs[vf].api, Api::v1_1);
    const bool refused = !(knows && host_jumbo) && (host_jumbo || frame > plain_frame + fcs);
    set_bit(reg::vfre, vf, !refused && state_.vfs[vf].policy.link != LinkState::disabled);
    if (refused) return false;
    if (read(reg::maxfrs) >> 16 < frame) write(reg::maxfrs, frame << 16);
    return true;
}

// Index 0 takes all filters away, 1 begins a new list, further ones add to it.
bool PhysicalDriver::set_mac_filter(unsigned vf, const Words& words) {
    const VfPolicy& policy = state_.vfs[vf].policy;
    const std::uint32_t index = message::info_of(words[0]);
    if (policy.mac != 0 && !policy.trusted && index != 0) return false;
    const MacKey mac = mac_in(std::span{words}.subspan(1));
    if (index != 0 && !valid_unicast(mac)) return false;
    if (index != 0 && policy.spoof_check) set_spoof_check(vf, false, false);
    if (index <= 1) {
        for (unsigned i = 1; i < state_.rars.size(); ++i) {
            if (state_.rars[i].use != Rar::Use::extra || state_.rars[i].pool != vf) continue;
            state_.rars[i] = {};
            write_rar(i);
        }
    }
    return index == 0 || add_mac(mac, vf, Rar::Use::extra);
}

bool PhysicalDriver::negotiate(unsigned vf, const Words& words) {
    const auto wanted = static_cast<Api>(words[1]);
    if (wanted == Api::v2_0 || wanted > state_.newest_api) return false;
    state_.vfs[vf].api = wanted;
    set_enables(vf);
    return true;
}

bool PhysicalDriver::get_queues(unsigned vf, Words& words) {
    const Vf& one = state_.vfs[vf];
    if (one.api == Api::v1_0) return false;
    words[1] = words[2] = state_.queues_per_pool;
    words[3] = one.policy.vlan != 0 || one.policy.priority != 0 ? 1 : 0;  // its frames come with a tag to strip
    words[4] = 0;
    return true;
}

// Two bits for each of 128 entries.
bool PhysicalDriver::get_redirection(unsigned vf, Words& words) {
    if (!state_.vfs[vf].policy.hash_query || !at_least(state_.vfs[vf].api, Api::v1_2)) return false;
    for (unsigned i = 0; i < redirection_dwords; ++i) {
        words[1 + i] = 0;
        for (unsigned j = 0; j < 16; ++j) {
            const unsigned entry = 16 * i + j;
            words[1 + i] |= (read(reg::reta + (entry & ~3u)) >> 8 * (entry & 3) & 3) << 2 * j;
        }
    }
    return true;
}

bool PhysicalDriver::get_hash_key(unsigned vf, Words& words) {
    if (!state_.vfs[vf].policy.hash_query || !at_least(state_.vfs[vf].api, Api::v1_2)) return false;
    for (unsigned i = 0; i < key_dwords; ++i) words[1 + i] = read(reg::rssrk + 4 * i);
    return true;
}

bool PhysicalDriver::update_cast_mode(unsigned vf, Words& words) {
    Vf& one = state_.vfs[vf];
    if (!at_least(one.api, Api::v1_2)) return false;
    auto mode = static_cast<CastMode>(words[1]);
    if (mode == CastMode::promiscuous && !at_least(one.api, Api::v1_3)) return false;
    if (mode > CastMode::promiscuous) return false;
    if (mode > CastMode::multicast && !one.policy.trusted) mode = CastMode::multicast;
    if (mode == CastMode::promiscuous) return false;  // the 82599 has no such bit for a pool
    constexpr std::uint32_t bits = vmolr::multicast_hash | vmolr::all_multicast;
    const std::uint32_t set = mode == CastMode::none ? 0 : mode == CastMode::multicast ? vmolr::multicast_hash : bits;
    change(reg::vmolr + 4 * vf, bits, set | vmolr::broadcast);
    if (mode == CastMode::all_multicast) change(reg::fctrl, 0, fctrl::all_multicast);
    one.cast_mode = mode;
    words[1] = static_cast<std::uint32_t>(mode);
    return true;
}

bool PhysicalDriver::get_link_state(unsigned vf, Words& words) {
    const Vf& one = state_.vfs[vf];
    if (!at_least(one.api, Api::v1_2)) return false;
    words[1] = one.policy.link != LinkState::disabled ? 1 : 0;
    return true;
}

}  // namespace sriov_nic
