#include "vmbus/memory/dynamic_memory_client.h"

#include "vmbus/inband/bytes.h"

namespace vmbus {

using dynamic_memory::Type;

void DynamicMemoryClient::start() {
    state_ = {};
    ask_version();
}

void DynamicMemoryClient::ask_version() {
    if (state_.next == dynamic_memory::versions.size()) return;
    state_.version = dynamic_memory::versions[state_.next++];
    const bool last = state_.next == dynamic_memory::versions.size();
    send(Type::version_request, ByteBuilder{}.u32(state_.version).u32(last).take());
}

void DynamicMemoryClient::report(std::uint64_t available, std::uint64_t committed) {
    send(Type::status_report, ByteBuilder{}.u64(available).u64(committed).zeros(24).take());
}

void DynamicMemoryClient::received(std::span<const std::byte> message) {
    ByteReader reader{message};
    const auto type = static_cast<Type>(reader.u16());
    const std::uint16_t size = reader.u16();
    reader.skip(4);
    switch (type) {
        case Type::version_response:
            if ((reader.u64() & 1) == 0) return ask_version();
            return send(Type::capabilities_report, ByteBuilder{}.u64(3 | 7 << 2).u64(0).u64(~std::uint64_t{0}).take());
        case Type::capabilities_response:
            state_.ready = (reader.u64() & 1) != 0;
            return;
        case Type::information:
            reader.skip(16);
            state_.most_pages = reader.u64();
            return;
        case Type::balloon_request:
            return balloon(reader.u32());
        case Type::unballoon_request: {
            const bool more = reader.u32() != 0;
            for (std::uint32_t count = reader.u32(); count != 0 && reader.complete(); --count) {
                const PageRange range = dynamic_memory::decode(reader.u64());
                if (reader.complete()) pages_.free(range);
            }
            if (!more) send(Type::unballoon_response, {});
            return;
        }
        case Type::hot_add_request: {
            const PageRange range = dynamic_memory::decode(reader.u64());
            const std::uint64_t added = size >= 16 && reader.complete() ? pages_.add(range) : 0;
            return send(Type::hot_add_response,
                        ByteBuilder{}.u32(static_cast<std::uint32_t>(added)).u32(added != 0).take());
        }
        default:
            return;
    }
}

void DynamicMemoryClient::balloon(std::uint64_t pages) {
    constexpr std::size_t most_ranges = 510;
    constexpr std::uint64_t run = 512;
    bool done = false;
    while (!done) {
        std::vector<PageRange> ranges;
        while (pages != 0 && ranges.size() < most_ranges) {
            const PageRange range = pages_.allocate(pages < run ? pages : run);
            if (range.count == 0) pages = 0;
            if (range.count == 0) break;
            ranges.push_back(range);
            pages -= range.count;
        }
        done = pages == 0;
        ByteBuilder body;
        body.u32(0).u32(static_cast<std::uint32_t>(ranges.size()) << 1 | !done);
        for (const PageRange& range : ranges) body.u64(dynamic_memory::encode(range));
        send(Type::balloon_response, body.take());
    }
}

void DynamicMemoryClient::send(Type type, std::span<const std::byte> body) {
    ByteBuilder message;
    message.u16(static_cast<std::uint16_t>(type));
    message.u16(static_cast<std::uint16_t>(dynamic_memory::header_bytes + body.size()));
    message.u32(++state_.transaction).bytes(body);
    link_.send(0, message.take());
}

}  // namespace vmbus
