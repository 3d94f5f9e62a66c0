// Why a bus refuses what a guest does. Each is counted and traced, and answered as Hyper-V does.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace vmbus {

enum class Refusal : std::uint8_t {
    short_message,
    unknown_message,
    too_new,  // a message of a later version than the one agreed on
    not_connected,
    unknown_version,
    bad_target,     // messages to a processor, SINT or VTL that there is not
    monitor_pages,  // one without the other
    offers_asked_for_again,
    unknown_relid,
    channel_state,  // opened twice, closed when not open, released while open
    duplicate_gpadl,
    unknown_gpadl,
    gpadl_state,  // complete already, or not yet, or the ring of an open channel
    gpadl_range,
    gpadl_limit,
    gpadl_memory,  // not RAM
    ring_form,     // GPADL or offset that make no two rings
    bad_processor,
    stray_signal,
    interrupt_page,  // not RAM
    overload,        // more than a guest may leave unread
    ring_fault,
    device_fault,      // of the protocol on a channel
    closed_by_device,  // the device would not be opened
    socket_refused,
};

struct RefusalRow {
    std::string_view name;
    std::string_view description;
};
inline constexpr std::array<RefusalRow, 25> refusal_table{{
    {"short_message", "messages that end too early"},
    {"unknown_message", "messages of unknown number, or that only a host sends"},
    {"too_new", "messages that the agreed version does not have"},
    {"not_connected", "messages without a connection"},
    {"unknown_version", "versions asked for that the host does not speak"},
    {"bad_target", "connections to a processor, SINT or VTL that there is not"},
    {"monitor_pages", "connections with one monitor page"},
    {"offers_asked_for_again", "requests for offers that had been made"},
    {"unknown_relid", "requests for channels that were not offered"},
    {"channel_state", "requests that a channel's state does not allow"},
    {"duplicate_gpadl", "GPADLs whose number is in use"},
    {"unknown_gpadl", "requests for GPADLs that there are not"},
    {"gpadl_state", "requests that a GPADL's state does not allow"},
    {"gpadl_range", "GPADLs with ranges that are none"},
    {"gpadl_limit", "GPADLs beyond what a guest may have"},
    {"gpadl_memory", "GPADLs of what is not memory"},
    {"ring_form", "channels opened with what makes no two rings"},
    {"bad_processor", "channels directed at processors that there are not"},
    {"stray_signal", "signals for channels that are not open"},
    {"interrupt_page", "interrupt or monitor pages that are not memory"},
    {"overload", "messages of a guest that reads none"},
    {"ring_fault", "channels ended for what was in their rings"},
    {"device_fault", "channels ended for breaking their device's protocol"},
    {"closed_by_device", "channels that their device would not open"},
    {"socket_refused", "connections to sockets that nobody listens at"},
}};
static_assert(refusal_table.size() == static_cast<std::size_t>(Refusal::socket_refused) + 1);

}  // namespace vmbus
