// Offloads and receive side scaling between their NDIS objects and what the rest of the service works with.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "vmbus/network/ndis.h"
#include "vmbus/network/network_port.h"

namespace vmbus {

// As an NDIS object of the revision that a guest's NDIS knows (ndis::offload_bytes_1 and on).
ndis::Offload offload_object(const OffloadSettings& settings, std::uint16_t bytes);
// What such an object says; a driver's side.
OffloadSettings offload_settings(const ndis::Offload& object);

// Applies OFFLOAD_PARAMETERS. Nothing beyond `supported` is ever on. An RNDIS status; settings change on success only.
[[nodiscard]] std::uint32_t apply_offload_parameters(std::span<const std::byte> object,
                                                     const OffloadSettings& supported, OffloadSettings& settings);

// Applies RECEIVE_SCALE_PARAMETERS for at most `queues` channels and a table of at most `table_entries`.
[[nodiscard]] std::uint32_t apply_rss_parameters(std::span<const std::byte> object, std::uint16_t queues,
                                                 std::uint16_t table_entries, RssSettings& settings);

}  // namespace vmbus
