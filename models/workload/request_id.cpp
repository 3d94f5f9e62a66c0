#include "models/workload/request_id.h"

#include "models/network/byte_order.h"
#include "models/network/headers.h"

namespace models {

namespace {
constexpr std::uint64_t request_mark = 0x5665'7264'6967'7269;  // "Verdigri"
}

void put_request_id(std::span<std::byte> message, sim::RequestId id) {
    VG_CHECK(message.size() >= request_mark_bytes);
    const std::size_t at = message.size() - request_mark_bytes;
    store_be<std::uint64_t>(message, at, request_mark);
    store_be<std::uint64_t>(message, at + 8, id);
}

sim::RequestId request_in_payload(std::span<const std::byte> payload) {
    if (payload.size() < request_mark_bytes) return 0;
    const std::size_t at = payload.size() - request_mark_bytes;
    return load_be<std::uint64_t>(payload, at) == request_mark ? load_be<std::uint64_t>(payload, at + 8) : 0;
}

sim::RequestId request_in_frame(std::span<const std::byte> frame) {
    // Most frames that are none of a request's end otherwise: no need to read their headers. Short ones are padded.
    if (frame.size() > minimum_frame_bytes && request_in_payload(frame) == 0) return 0;
    const auto headers = parse_headers(frame, true);
    if (!headers || headers->payload_offset == 0) return 0;
    return request_in_payload(frame.subspan(headers->payload_offset, headers->payload_bytes()));
}

}  // namespace models
