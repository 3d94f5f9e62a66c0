// Messages of both protocols as text, from their tables.
#include <fmt/format.h>

#include "vmbus/network/nvsp.h"
#include "vmbus/network/rndis.h"

namespace vmbus {

namespace {

template <class Row>
std::string text_of(const Row* row, std::span<const std::byte> message) {
    const auto type = read_layout<std::uint32_t>(message);
    if (!type) return "cut short";
    if (row == nullptr) return fmt::format("unknown message {:#x}", *type);
    std::string text{row->name};
    for (const MessageField& field : row->fields) {
        if (field.name.empty()) break;
        std::uint64_t value = 0;
        const auto bytes = part(message, field.offset, field.bytes);
        if (!bytes) return text + " cut short";
        std::memcpy(&value, bytes->data(), bytes->size());
        text += fmt::format(" {}={:#x}", field.name, value);
    }
    return text;
}

}  // namespace

std::string nvsp::to_text(std::span<const std::byte> message) {
    return text_of(nvsp::find(read_layout<std::uint32_t>(message).value_or(0)), message);
}

std::string rndis::to_text(std::span<const std::byte> message) {
    return text_of(rndis::find(read_layout<std::uint32_t>(message).value_or(0)), message);
}

}  // namespace vmbus
