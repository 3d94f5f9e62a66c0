// Requests and responses as they are on a connection or in a datagram: their length and that of the answer first, in
// network byte order, the mark and the request's number last, nothing of account in between.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "models/network/byte_order.h"
#include "models/workload/request_id.h"

namespace models {

inline constexpr std::size_t least_message_bytes = 8 + request_mark_bytes;
inline constexpr std::size_t greatest_message_bytes = std::size_t{1} << 20;

struct Message {
    std::uint32_t bytes = 0;
    std::uint32_t answer_bytes = 0;
    sim::RequestId request = 0;
};

inline std::vector<std::byte> write_message(const Message& message) {
    std::vector<std::byte> data(message.bytes);
    store_be32(data, 0, message.bytes);
    store_be32(data, 4, message.answer_bytes);
    put_request_id(data, message.request);
    return data;
}

// Nothing if it is none.
inline std::optional<Message> read_message(std::span<const std::byte> data) {
    if (data.size() < least_message_bytes || load_be32(data, 0) != data.size()) return std::nullopt;
    return Message{load_be32(data, 0), load_be32(data, 4), request_in_payload(data)};
}

// Finds messages in a stream of bytes.
class MessageReader {
public:
    // Takes data from the front; nothing when there is no whole message. A length that cannot be is passed over, with
    // all that follows it.
    std::optional<Message> read(std::span<const std::byte>& data) {
        while (!data.empty()) {
            if (held_.size() < 8) {
                take(data, 8);
                if (held_.size() < 8) return std::nullopt;
                bytes_ = load_be32(held_, 0);
                if (bytes_ < least_message_bytes || bytes_ > greatest_message_bytes) {
                    held_.clear();
                    data = {};
                    return std::nullopt;
                }
                body_ = 8;
            }
            // Of the middle nothing is kept.
            const std::uint64_t middle_end = bytes_ - request_mark_bytes;
            if (body_ < middle_end) {
                const std::uint64_t passed = std::min<std::uint64_t>(middle_end - body_, data.size());
                data = data.subspan(passed);
                body_ += passed;
                if (body_ < middle_end) return std::nullopt;
            }
            take(data, least_message_bytes);
            if (held_.size() < least_message_bytes) return std::nullopt;
            const Message message{static_cast<std::uint32_t>(bytes_), load_be32(held_, 4), request_in_payload(held_)};
            held_.clear();
            return message;
        }
        return std::nullopt;
    }

    template <class Archive>
    void fields(Archive& archive) {
        archive(held_, bytes_, body_);
    }

private:
    void take(std::span<const std::byte>& data, std::size_t until) {
        const std::size_t count = std::min(until - held_.size(), data.size());
        held_.insert(held_.end(), data.begin(), data.begin() + static_cast<std::ptrdiff_t>(count));
        data = data.subspan(count);
    }

    std::vector<std::byte> held_;  // the first 8 bytes, then the last ones
    std::uint64_t bytes_ = 0;
    std::uint64_t body_ = 0;  // passed so far, the first 8 included
};

}  // namespace models
