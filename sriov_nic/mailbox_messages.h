// What VF drivers and the physical function's driver say to each other through the mailbox. The protocol is not
// Intel's datasheet's but that of the drivers (Linux ixgbe and ixgbevf, mbx.h): one table for driver, trace and tests.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace sriov_nic {

namespace message {
inline constexpr std::uint32_t success = 0x8000'0000, failure = 0x4000'0000, clear_to_send = 0x2000'0000, type = 0xffff,
                               info = 0x00ff'0000;
constexpr std::uint32_t info_of(std::uint32_t word) {
    return (word & info) >> 16;
}

enum Type : std::uint32_t {
    reset = 0x01,
    set_mac = 0x02,
    set_multicast = 0x03,
    set_vlan = 0x04,
    set_max_frame = 0x05,
    set_mac_filter = 0x06,
    negotiate_api = 0x08,
    get_queues = 0x09,
    get_redirection = 0x0a,
    get_hash_key = 0x0b,
    update_cast_mode = 0x0c,
    ipsec_add = 0x0d,
    ipsec_delete = 0x0e,
    get_link_state = 0x10,
    control = 0x100,  // from the physical function: look at me
};
}  // namespace message

// As they are numbered on the wire.
enum class Api : std::uint32_t { v1_0 = 0, v2_0 = 1, v1_1 = 2, v1_2 = 3, v1_3 = 4, v1_4 = 5, v1_5 = 6, unknown = ~0u };

enum class CastMode : std::uint32_t { none = 0, multicast = 1, all_multicast = 2, promiscuous = 3 };

struct MailboxMessage {
    std::uint32_t type;
    std::string_view name;
    bool from_vf;
    std::uint32_t dwords;  // with the first
    Api since;
};
inline constexpr std::array<MailboxMessage, 15> mailbox_messages{{
    {message::reset, "reset", true, 1, Api::v1_0},
    {message::set_mac, "set MAC address", true, 3, Api::v1_0},
    {message::set_multicast, "set multicast hashes", true, 16, Api::v1_0},
    {message::set_vlan, "set VLAN", true, 2, Api::v1_0},
    {message::set_max_frame, "set largest frame", true, 2, Api::v1_0},
    {message::set_mac_filter, "set MAC filter", true, 3, Api::v1_0},
    {message::negotiate_api, "negotiate API", true, 2, Api::v1_0},
    {message::get_queues, "get queues", true, 5, Api::v1_1},
    {message::get_redirection, "get redirection table", true, 9, Api::v1_2},
    {message::get_hash_key, "get hash key", true, 11, Api::v1_2},
    {message::update_cast_mode, "update cast mode", true, 2, Api::v1_2},
    {message::ipsec_add, "add IPsec association", true, 16, Api::v1_4},
    {message::ipsec_delete, "delete IPsec association", true, 2, Api::v1_4},
    {message::get_link_state, "get link state", true, 2, Api::v1_2},
    {message::control, "control", false, 1, Api::v1_0},
}};

}  // namespace sriov_nic
