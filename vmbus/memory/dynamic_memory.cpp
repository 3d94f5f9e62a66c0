#include "vmbus/memory/dynamic_memory.h"

#include <algorithm>
#include <utility>

#include "vmbus/inband/bytes.h"

namespace vmbus {

using dynamic_memory::Type;

namespace {

constexpr std::size_t ranges_per_message = (dynamic_memory::largest_message - dynamic_memory::header_bytes - 8) / 8;
static_assert(ranges_per_message == 510);

// Ranges that fit the wire: a count has 24 bits.
std::vector<PageRange> cut(const std::vector<PageRange>& ranges) {
    std::vector<PageRange> parts;
    for (PageRange range : ranges) {
        while (range.count > dynamic_memory::most_pages_in_range) {
            parts.push_back({range.first, dynamic_memory::most_pages_in_range});
            range = {range.first + dynamic_memory::most_pages_in_range,
                     range.count - dynamic_memory::most_pages_in_range};
        }
        parts.push_back(range);
    }
    return parts;
}

}  // namespace

DynamicMemory::DynamicMemory(const sim::Scope& scope, const ServiceHost& host, const Settings& settings,
                             DynamicMemoryHost& memory, DynamicMemoryListener* listener)
    : scope_(scope),
      settings_(settings),
      memory_(memory),
      listener_(listener),
      taken_(scope.counter("pages_taken", "pages", "that the guest gave to the balloon")),
      given_(scope.counter("pages_given", "pages", "that the guest got back from the balloon")),
      added_(scope.counter("pages_added", "pages", "of new memory that the guest took")),
      port_(scope, host, message_pipe_offer(interface_type::dynamic_memory, instance), *this),
      registration_(scope.register_state(*this)) {}

bool DynamicMemory::may_start(std::uint64_t capability) const {
    return ready() && state_.operation == Operation::none && (state_.capabilities & capability) != 0;
}

void DynamicMemory::start(Operation operation, std::uint64_t pages) {
    state_.operation = operation;
    state_.asked = pages;
    state_.moved = 0;
    scope_.trace("memory.operation", static_cast<std::uint64_t>(operation), pages);
}

bool DynamicMemory::balloon(std::uint32_t pages) {
    if (!may_start(dynamic_memory::can_balloon) || pages == 0) return false;
    start(Operation::balloon, pages);
    send(Type::balloon_request, ByteBuilder{}.u32(pages).u32(0).take());
    return true;
}

bool DynamicMemory::unballoon(std::uint64_t pages) {
    pages = std::min(pages, state_.ballooned.pages());
    if (!may_start(dynamic_memory::can_balloon) || pages == 0) return false;
    PageSet rest = state_.ballooned;
    const auto ranges = cut(rest.take(pages));
    if (!memory_.give_pages(ranges)) return false;
    state_.ballooned = std::move(rest);
    start(Operation::unballoon, pages);
    for (std::size_t at = 0; at < ranges.size(); at += ranges_per_message) {
        const std::size_t count = std::min(ranges_per_message, ranges.size() - at);
        ByteBuilder body;
        body.u32(at + count < ranges.size()).u32(static_cast<std::uint32_t>(count));
        for (std::size_t n = 0; n < count; ++n) body.u64(dynamic_memory::encode(ranges[at + n]));
        send(Type::unballoon_request, body.take());
    }
    return true;
}

bool DynamicMemory::hot_add(const PageRange& range, const std::optional<PageRange>& region) {
    const auto fits = [](const PageRange& r) {
        return r.count != 0 && r.count <= dynamic_memory::most_pages_in_range &&
               r.first <= dynamic_memory::most_first_page;
    };
    if (!may_start(dynamic_memory::can_hot_add) || !fits(range) || (region && !fits(*region))) return false;
    if (!memory_.add_memory(range)) return false;
    start(Operation::hot_add, range.count);
    state_.adding = range;
    ByteBuilder body;
    body.u64(dynamic_memory::encode(range));
    if (region) body.u64(dynamic_memory::encode(*region));
    send(Type::hot_add_request, body.take());
    return true;
}

void DynamicMemory::opened() {
    state_.phase = Phase::negotiating;
}

void DynamicMemory::closed() {
    // Nobody is left who knows that these pages are gone: the guest gets them back if the host can.
    const auto ranges = state_.ballooned.ranges();
    PageSet kept;
    if (!ranges.empty() && !memory_.give_pages(ranges)) kept = std::move(state_.ballooned);
    const State old = std::exchange(state_, {});
    state_.ballooned = std::move(kept);
    if (old.operation == Operation::hot_add) memory_.memory_refused(old.adding);
}

void DynamicMemory::fault(std::string_view reason) {
    port_.fault(reason);
}

sim::Time DynamicMemory::cost_of(std::span<const std::byte> message) const {
    if (ByteReader{message}.u16() != static_cast<std::uint16_t>(Type::balloon_response)) return sim::Time::zero();
    constexpr std::size_t before_ranges = dynamic_memory::header_bytes + 8;
    const std::size_t ranges = (std::max(message.size(), before_ranges) - before_ranges) / 8;
    return settings_.per_range * static_cast<std::int64_t>(std::min(ranges, ranges_per_message));
}

void DynamicMemory::received(std::span<const std::byte> message, std::uint64_t) {
    ByteReader reader{message};
    const std::uint16_t type = reader.u16();
    const std::uint16_t size = reader.u16();
    reader.skip(4);
    if (size < dynamic_memory::header_bytes) return fault("dynamic memory: a message shorter than its header");
    ByteReader body{reader.bytes(size - dynamic_memory::header_bytes)};
    if (!reader.complete() || inband::from_guest(dynamic_memory::messages, type, body.rest().size()) == nullptr) {
        return fault("dynamic memory: not a message that a guest may send");
    }
    const auto kind = static_cast<Type>(type);
    if (kind == Type::version_request) return handle_version(body);
    if (kind == Type::capabilities_report) return handle_capabilities(body);
    if (!ready()) return fault("dynamic memory: before version and capabilities are agreed");
    switch (kind) {
        case Type::status_report:
            return handle_status(body);
        case Type::balloon_response:
            return handle_balloon(body);
        case Type::unballoon_response:
            return handle_unballoon();
        case Type::hot_add_response:
            return handle_hot_add(body);
        default:
            return;  // an error that the guest tells of
    }
}

void DynamicMemory::handle_version(ByteReader& body) {
    const std::uint32_t version = body.u32();
    const bool known = std::ranges::find(dynamic_memory::versions, version) != dynamic_memory::versions.end();
    const bool accepted = known && version <= settings_.newest_version;
    if (state_.operation != Operation::none) return fault("dynamic memory: a new beginning during an operation");
    state_.phase = accepted ? Phase::agreed : Phase::negotiating;
    state_.version = accepted ? version : 0;
    send(Type::version_response, ByteBuilder{}.u64(accepted).take());
}

void DynamicMemory::handle_capabilities(ByteReader& body) {
    if (state_.phase != Phase::agreed) return fault("dynamic memory: capabilities without a version");
    state_.phase = Phase::ready;
    state_.capabilities = body.u64();
    send(Type::capabilities_response, ByteBuilder{}.u64(1).take());
    if (settings_.most_pages != 0 && state_.version >= dynamic_memory::version_1_0) {
        ByteBuilder information;
        information.u32(0).u32(16).u32(0).u32(8).u64(settings_.most_pages);
        send(Type::information, information.take());
    }
}

void DynamicMemory::handle_status(ByteReader& body) {
    GuestMemoryStatus status;
    status.available = body.u64();
    status.committed = body.u64();
    status.page_file = body.u64();
    status.zero_or_free = body.u64();
    status.at = scope_.now();
    state_.status = status;
    scope_.trace("memory.status", status.available, status.committed);
    if (listener_ != nullptr) listener_->memory_status(status);
}

void DynamicMemory::handle_balloon(ByteReader& body) {
    if (state_.operation != Operation::balloon) return fault("dynamic memory: pages that nobody asked for");
    body.skip(4);
    const std::uint32_t word = body.u32();
    const bool more = (word & 1) != 0;
    const std::uint32_t count = word >> 1;
    if (count > ranges_per_message || count > body.rest().size() / 8) {
        return fault("dynamic memory: more ranges than there are");
    }
    if (more && count == 0) return fault("dynamic memory: more to come of nothing");
    // All is checked before any of it counts.
    PageSet fresh;
    std::vector<PageRange> ranges;
    std::uint64_t pages = 0;
    for (std::uint32_t n = 0; n < count; ++n) {
        const PageRange range = dynamic_memory::decode(body.u64());
        pages += range.count;
        if (pages > state_.asked - state_.moved) return fault("dynamic memory: more pages than were asked for");
        if (!memory_.has_memory(range)) return fault("dynamic memory: pages that the guest has not got");
        if (state_.ballooned.overlaps(range) || !fresh.add(range)) {
            return fault("dynamic memory: pages that are gone already");
        }
        ranges.push_back(range);
    }
    for (const PageRange& range : ranges) state_.ballooned.add(range);
    state_.moved += pages;
    taken_.add(pages);
    if (!ranges.empty()) memory_.pages_taken(ranges);
    if (more) return;
    state_.operation = Operation::none;
    if (listener_ != nullptr) listener_->balloon_grown(state_.moved);
}

void DynamicMemory::handle_unballoon() {
    if (state_.operation != Operation::unballoon) return fault("dynamic memory: an answer to nothing");
    state_.operation = Operation::none;
    given_.add(state_.asked);
    if (listener_ != nullptr) listener_->balloon_shrunk(state_.asked);
}

void DynamicMemory::handle_hot_add(ByteReader& body) {
    if (state_.operation != Operation::hot_add) return fault("dynamic memory: an answer to nothing");
    const std::uint64_t pages = body.u32();
    const bool success = body.u32() != 0;
    if (pages > state_.adding.count) return fault("dynamic memory: more pages added than there are");
    state_.operation = Operation::none;
    added_.add(pages);
    const PageRange rest{state_.adding.first + pages, state_.adding.count - pages};
    if (rest.count != 0) memory_.memory_refused(rest);
    // No page and success: the guest will never take any.
    if (pages == 0 && success) state_.capabilities &= ~dynamic_memory::can_hot_add;
    if (listener_ != nullptr) listener_->memory_added(pages, pages == 0 && !success);
}

void DynamicMemory::send(Type type, std::span<const std::byte> body) {
    ByteBuilder message;
    message.u16(static_cast<std::uint16_t>(type));
    message.u16(static_cast<std::uint16_t>(dynamic_memory::header_bytes + body.size()));
    message.u32(++state_.transaction).bytes(body);
    port_.send(message.take());
}

}  // namespace vmbus
