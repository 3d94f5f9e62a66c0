#include "vmbus/messages.h"

#include <fmt/format.h>

namespace vmbus {

std::string describe(std::span<const std::byte> payload) {
    const auto type = type_of(payload);
    if (!type) return fmt::format("a message of {} bytes", payload.size());
    const MessageRow* row = find_message(*type);
    std::string text =
        row != nullptr ? std::string{row->name} : fmt::format("message {}", static_cast<unsigned>(*type));
    if (row != nullptr && payload.size() < row->size) text += " (short)";
    if (const auto offer = read_as<message::OfferChannel>(payload); offer && *type == MessageType::offer_channel) {
        return text + fmt::format(" relid={} type={} instance={} sub-channel={} connection={:#x}", offer->relid,
                                  to_text(offer->interface_type), to_text(offer->instance), offer->sub_channel_index,
                                  offer->connection);
    }
    for (std::size_t at = sizeof(MessageHeader); at + 4 <= payload.size() && at < 28; at += 4) {
        std::uint32_t word = 0;
        std::memcpy(&word, payload.data() + at, sizeof word);
        text += fmt::format(" {:#x}", word);
    }
    return text;
}

}  // namespace vmbus
