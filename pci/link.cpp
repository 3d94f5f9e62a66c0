#include "pci/link.h"

#include <algorithm>
#include <cstring>

#include "pci/capability_registers.h"
#include "sim/check.h"

namespace pci {

namespace {
constexpr std::size_t write_room = 256;
// Beyond the writes' room: for so many messages of the physical functions and so many of each virtual one, so that no
// function's flood takes the room of another's.
constexpr std::size_t physical_messages = 256, virtual_messages = 8, virtual_places = 96;
constexpr std::size_t message_room = physical_messages + virtual_messages * virtual_places;
constexpr std::size_t credit_room = 512;
constexpr std::size_t read_room = 256;
constexpr std::size_t notice_room = 512;
constexpr std::size_t downward_room = 64;
constexpr std::uint32_t arena_bytes = 64 * 1024;
constexpr std::uint32_t message_bytes = 4;
}  // namespace

Link::Link(const sim::Scope& scope, Bus& bus, HostTiming& host, const LinkConfig& config)
    : scope_(scope),
      bus_(bus),
      host_(host),
      config_(config),
      reads_(scope.counter("reads", "count", "reads of the device that have ended")),
      writes_(scope.counter("writes", "count", "writes of the device that have reached the host")),
      messages_(scope.counter("messages", "count", "message-signalled interrupts that have reached the host")),
      merged_messages_(scope.counter("merged_messages", "count", "messages not sent twice for want of room")),
      lost_messages_(
          scope.counter("lost_messages", "count", "messages dropped: too many different ones of a function waited")),
      refused_(scope.counter("refused", "count", "accesses of functions that may not master the bus")),
      up_(usable_rate(config.rate), config.errors),
      down_(usable_rate(config.rate), config.errors),
      random_(scope.random()),
      posted_(write_room + message_room),
      notices_(notice_room),
      credits_(credit_room),
      waiting_(read_room),
      serving_(config.tags),
      completing_(config.tags),
      downward_(downward_room),
      slots_(read_room),
      headers_left_(config.posted_headers),
      tags_left_(config.tags),
      data_left_(config.posted_data),
      timer_(scope.agenda(), scope.path() + ".timer", [this] { run(); }) {
    VG_CHECK(config.tags != 0 && config.posted_headers != 0 && config.non_posted_headers != 0);
    VG_CHECK(config.limits.max_payload >= 64 && config.limits.max_read_request >= 64);
    VG_CHECK(config.errors.one_in_packets != 1);
    for (std::uint32_t slot = read_room; slot-- > 0;) free_slots_.push_back(slot);
    heads_[of_clock] = sim::Time::never();
    look_at_all();
}

void Link::look_at_all() {
    look(of_posted, posted_, &Posted::due);
    look(of_serving, serving_, &Request::at);
    look(of_completing, completing_, &Request::at);
    look(of_notices, notices_, &Notice::at);
    look(of_downward, downward_, &Down::at);
}

bool Link::idle() const {
    return posted_.empty() && notices_.empty() && waiting_.empty() && serving_.empty() && completing_.empty() &&
           downward_.empty();
}

// The device notes what it saw of damaged packets: those it received, and its own that had to go out too often.
sim::Time Link::replay_up(WireBytes wire) {
    const std::uint64_t retrains = up_.retrains();
    const sim::Time end = up_.replay(wire, random_);
    if (up_.retrains() != retrains) log_errors(aer::replay_rollover);
    return end;
}

sim::Time Link::replay_down(WireBytes wire) {
    const std::uint64_t replays = down_.replays();
    const sim::Time end = down_.replay(wire, random_);
    if (down_.replays() != replays) log_errors(aer::bad_packet);
    return end;
}

void Link::log_errors(std::uint32_t bits) {
    Function* device = bus_.function_at(0);
    if (device != nullptr && device->present()) device->log_correctable(bits);
}

inline bool Link::reserve(std::uint32_t bytes) {
    std::uint64_t head = arena_head_;
    const std::uint64_t left_to_seam = arena_bytes - head % arena_bytes;
    if (left_to_seam < bytes) head += left_to_seam;
    if (head + bytes - arena_tail_ > arena_bytes) return false;
    arena_head_ = head + bytes;
    return true;
}

// In the order of reserve().
inline void Link::release(std::uint32_t size) {
    const std::uint64_t left_to_seam = arena_bytes - arena_tail_ % arena_bytes;
    if (left_to_seam < size) arena_tail_ += left_to_seam;
    arena_tail_ += size;
}

// Posted credits come back when memory has the data, by a DLLP downwards. They are counted when they are needed.
inline sim::Time Link::wait_for_credits(std::uint32_t headers, std::uint32_t data) {
    if (headers_left_ >= headers && data_left_ >= data) return now();
    return count_credits(headers, data);
}

sim::Time Link::count_credits(std::uint32_t headers, std::uint32_t data) {
    sim::Time start = now();
    while (!credits_.empty() && (credits_.front().at <= start || headers_left_ < headers || data_left_ < data)) {
        start = std::max(start, credits_.front().at);
        headers_left_ += credits_.front().headers;
        data_left_ += credits_.front().data;
        credits_.pop();
    }
    return start;
}

// They are remembered one by one.
inline void Link::return_credits(sim::Time at, std::uint32_t headers, std::uint32_t data) {
    Credit* const credit = credits_.try_add();
    if (credit == nullptr) return return_in_little_room(at, headers, data);
    credit->at = at;
    credit->headers = headers;
    credit->data = data;
}

// But where there is no room for that, two come back together, at the later time.
void Link::return_in_little_room(sim::Time at, std::uint32_t headers, std::uint32_t data) {
    (void)count_credits(0, 0);
    if (!credits_.full()) return return_credits(at, headers, data);
    Credit& last = credits_[credits_.size() - 1];
    last.at = at;
    last.headers += headers;
    last.data += data;
}

// One more behind the others: its turn on the wire, and when it will have arrived. The caller puts a write's bytes in.
Link::Posted& Link::post(BusMaster& function, std::uint64_t address, std::uint32_t size, std::uint32_t data,
                         Kind kind) {
    Posted& entry = posted_.add();
    entry.address = address;
    entry.size = size;
    entry.data = data;
    entry.place = function.place();
    entry.kind = kind;
    const HostAccess access{function.id(), address, size, true};
    const WireBytes wire = write_packets(config_.limits, address, size);
    const std::uint32_t header_credits = std::min(wire.packets, config_.posted_headers);
    const std::uint32_t data_credits = std::min((size + 15) / 16, config_.posted_data);
    entry.sent = send_up(wait_for_credits(header_credits, data_credits), wire);
    headers_left_ -= header_credits;
    data_left_ -= data_credits;
    const sim::Time due = std::max(last_posted_, host_.served(access, entry.sent + config_.flight));
    entry.due = last_posted_ = due;
    return_credits(due + config_.flight, header_credits, data_credits);
    if (posted_.size() == 1) {
        heads_[of_posted] = due;
        if (!running_ && due < timer_.deadline()) timer_.arm(due);
    }
    return entry;
}

void Link::refuse(BusMaster& function, std::uint32_t cookie, bool of_read) {
    ++refused_;
    const Notice notice{std::max(now(), notices_.empty() ? now() : notices_[notices_.size() - 1].at),
                        cookie,
                        function.place(),
                        DmaStatus::not_sent,
                        of_read,
                        false};
    notices_.push(notice);
    look(of_notices, notices_, &Notice::at);
    arm();
}

bool Link::write(BusMaster& function, std::uint64_t address, std::span<const std::byte> data, std::uint32_t cookie,
                 bool notify) {
    VG_CHECK(!data.empty() && data.size() <= max_bytes);
    const auto size = static_cast<std::uint32_t>(data.size());
    if (notices_.full() || posted_.size() >= write_room) {
        starved_ = true;
        return false;
    }
    if (!function.enabled()) {
        if (notify) {
            refuse(function, cookie, false);
        } else {
            ++refused_;
        }
        return true;
    }
    if (!reserve(size)) {
        starved_ = true;
        return false;
    }
    constexpr std::size_t few = std::tuple_size_v<FewBytes>;
    Posted& entry = post(function, address, size, size <= few ? 0 : data_.take(size), Kind::write);
    // Mostly it is a descriptor, for which the library's function would first have to see how long it is.
    if (size == few) {
        std::memcpy(entry.few.data(), data.data(), few);
    } else if (size < few) {
        entry.few = {};
        std::memcpy(entry.few.data(), data.data(), size);
    } else {
        std::memcpy(data_.at(entry.data), data.data(), size);
    }
    if (notify) {
        const Notice notice{entry.sent, cookie, entry.place, DmaStatus::ok, false, false};
        notices_.insert(notice, [](const Notice& a, const Notice& b) { return a.at < b.at; });
        look(of_notices, notices_, &Notice::at);
        arm();
    }
    return true;
}

// Where room is short: not beyond the function's own, nor twice what is on its way and says the same.
bool Link::may_add_message(std::uint16_t place, std::uint64_t address, std::uint32_t data) {
    std::size_t own = 0;
    bool same = false;
    for (std::size_t i = 0; i < posted_.size(); ++i) {
        const Posted& waiting = posted_[i];
        const bool message = waiting.kind == Kind::message || waiting.kind == Kind::dropped_message;
        if (!message || waiting.place != place) continue;
        ++own;
        same |= waiting.kind == Kind::message && waiting.address == address && waiting.data == data;
    }
    constexpr std::uint16_t physical_places = 8;  // functions of a device without routing offsets
    if (own < (place < physical_places ? physical_messages : virtual_messages) && !posted_.full()) return true;
    ++(same ? merged_messages_ : lost_messages_);
    return false;
}

void Link::message(BusMaster& function, std::uint64_t address, std::uint32_t data) {
    if (!function.enabled()) return;
    if (posted_.size() >= write_room) return message_in_little_room(function, address, data);
    post(function, address, message_bytes, data, Kind::message);
}

void Link::message_in_little_room(BusMaster& function, std::uint64_t address, std::uint32_t data) {
    if (!may_add_message(function.place(), address, data)) return;
    post(function, address, message_bytes, data, Kind::message);
}

bool Link::read(BusMaster& function, std::uint64_t address, std::uint32_t size, std::uint32_t cookie) {
    VG_CHECK(size != 0 && size <= max_bytes);
    if (notices_.full() || free_slots_.empty()) {
        starved_ = true;
        return false;
    }
    if (!function.enabled()) {
        refuse(function, cookie, true);
        return true;
    }
    const std::uint32_t number = free_slots_.back();
    free_slots_.pop_back();
    Slot& slot = slots_[number];
    slot.address = address;
    slot.size = size;
    slot.cookie = cookie;
    slot.asked = 0;
    slot.answered = 0;
    slot.since = now();
    slot.place = function.place();
    slot.status = DmaStatus::ok;
    slot.used = true;
    slot.dropped = false;
    if (slot.data.size() * sizeof(Line) < size) slot.data.resize((size + sizeof(Line) - 1) / sizeof(Line));
    waiting_.push(number);
    pump_reads();
    arm();
    return true;
}

// Requests go as tags, the root port's non-posted credits and the device's own room allow. Writes that come meanwhile
// pass them, as they may.
void Link::pump_reads() {
    while (!waiting_.empty() && tags_left_ != 0 && at_host_ < config_.non_posted_headers) {
        const std::uint32_t number = waiting_.front();
        Slot& slot = slots_[number];
        const std::uint64_t address = slot.address + slot.asked;
        const std::uint32_t size = next_request(address, slot.size - slot.asked, config_.limits.max_read_request);
        if (config_.completion_room != 0 && room_used_ != 0 && room_used_ + size > config_.completion_room) return;
        --tags_left_;
        ++at_host_;
        room_used_ += size;
        const sim::Time sent = send_up(now(), {1, request_overhead(address, size)});
        const Function* function = function_of(slot.place);
        const RequesterId requester = function != nullptr ? function->id() : RequesterId{};
        const sim::Time arrival = std::max(sent + config_.flight, last_posted_);
        const sim::Time served = host_.served({requester, address, size, false}, arrival);
        wait_for_host(served, number, slot.asked, size);
        look(of_serving, serving_, &Request::at);
        slot.asked += size;
        if (slot.asked == slot.size) waiting_.pop();
    }
}

// By the time; those of the same time stay in the order they came.
void Link::wait_for_host(sim::Time at, std::uint32_t slot, std::uint32_t offset, std::uint32_t size) {
    Request* request = &serving_.add();
    for (std::size_t i = serving_.size() - 1; i > 0 && serving_[i - 1].at > at; --i) {
        *request = serving_[i - 1];
        request = &serving_[i - 1];
    }
    request->at = at;
    request->slot = slot;
    request->offset = offset;
    request->size = size;
}

void Link::arm() {
    if (running_) return;
    const sim::Time first = next();
    if (first != timer_.deadline()) timer_.arm(first);
}

// All that is due, the earliest first; at the same instant the device's clock goes first, then what reaches the host.
void Link::run() {
    running_ = true;
    sim::Time first;
    do first = run_due();
    while (timer_.go_on(first));
    running_ = false;
    if (first.is_never()) rest();
    if (first != timer_.deadline()) timer_.arm(first);
}

// Nothing is on its way.
void Link::rest() {
    posted_.begin_anew();
    notices_.begin_anew();
    waiting_.begin_anew();
    serving_.begin_anew();
    completing_.begin_anew();
    downward_.begin_anew();
}

// When the next is due that is not yet.
sim::Time Link::run_due() {
    const sim::Time present = now();
    sim::Time first = next();
    for (; first <= present; first = next()) {
        if (seldom_ == first && heads_[of_clock] == first) {
            set_clock(sim::Time::never());
            if (client_ != nullptr) client_->woken();
        } else if (heads_[of_posted] == first) {
            arrive();
        } else if (heads_[of_serving] == first) {
            serve();
        } else if (heads_[of_completing] == first) {
            complete();
        } else if (heads_[of_notices] == first) {
            const Notice notice = notices_.front();
            notices_.pop();
            look(of_notices, notices_, &Notice::at);
            this->notify(notice);
        } else {
            const Down write = downward_.front();
            downward_.pop();
            look(of_downward, downward_, &Down::at);
            (void)bus_.write(Space::memory, write.address, write.size, write.value);
        }
        if (starved_ && !free_slots_.empty() && posted_.size() < write_room && !notices_.full()) {
            starved_ = false;
            if (client_ != nullptr) client_->link_ready();
        }
    }
    return first;
}

inline void Link::carry_out_write(std::uint16_t place, std::uint64_t address, std::span<const std::byte> data) {
    Function* function = function_of(place);
    if (function == nullptr) return;
    scope_.trace("dma_write", place, address, data.size());
    (void)function->master().write(address, data);
}

inline void Link::carry_out_message(std::uint16_t place, std::uint64_t address, std::uint32_t data) {
    if (Function* function = function_of(place); function != nullptr) function->master().message(address, data);
}

void Link::arrive() {
    const Posted& first = posted_.front();
    const std::uint64_t address = first.address;
    const std::uint32_t size = first.size, data = first.data;
    const std::uint16_t place = first.place;
    const Kind kind = first.kind;
    const FewBytes few = first.few;
    posted_.pop();
    look(of_posted, posted_, &Posted::due);
    if (kind == Kind::message || kind == Kind::dropped_message) {
        ++messages_;
        if (kind == Kind::message) carry_out_message(place, address, data);
        return;
    }
    ++writes_;
    if (kind == Kind::write) carry_out_write(place, address, bytes_of(size, data, few));
    release(size);
    if (size > few.size()) data_.give_back(data, size);
}

void Link::serve() {
    const Request& first = serving_.front();
    const std::uint32_t number = first.slot, offset = first.offset, size = first.size;
    serving_.pop();
    look(of_serving, serving_, &Request::at);
    --at_host_;
    Slot& slot = slots_[number];
    Function* function = slot.dropped ? nullptr : function_of(slot.place);
    DmaStatus status = DmaStatus::not_sent;
    if (function != nullptr) {
        status = function->master().read(slot.address + offset, slot.bytes(offset, size));
    }
    if (status != DmaStatus::ok) slot.status = status;
    // A refusal is a completion without data (2.2.9).
    const WireBytes wire = status == DmaStatus::ok ? completion_packets(config_.limits, slot.address + offset, size)
                                                   : WireBytes{1, completion_overhead};
    Request& ending = completing_.add();
    ending.at = send_down(now(), wire) + config_.flight;
    ending.slot = number;
    ending.offset = offset;
    ending.size = size;
    look(of_completing, completing_, &Request::at);
    pump_reads();
}

void Link::complete() {
    const std::uint32_t number = completing_.front().slot, size = completing_.front().size;
    completing_.pop();
    look(of_completing, completing_, &Request::at);
    ++tags_left_;
    room_used_ -= size;
    Slot& slot = slots_[number];
    slot.answered += size;
    if (slot.answered == slot.asked && (slot.dropped || slot.asked == slot.size)) {
        ++reads_;
        if (!slot.dropped && client_ != nullptr) {
            const bool good = slot.status == DmaStatus::ok;
            scope_.trace("dma_read", slot.place, slot.address, slot.size, (now() - slot.since).ps());
            client_->read_done(
                slot.cookie, slot.status,
                good ? std::span<const std::byte>{slot.bytes(0, slot.size)} : std::span<const std::byte>{});
        }
        slot.used = false;
        free_slots_.push_back(number);
    }
    pump_reads();
}

void Link::notify(const Notice& notice) {
    if (notice.dropped || client_ == nullptr) return;
    if (notice.of_read) {
        client_->read_done(notice.cookie, notice.status, {});
    } else {
        client_->write_sent(notice.cookie, notice.status);
    }
}

void Link::forget(BusMaster& function) {
    const std::uint16_t place = function.place();
    for (std::size_t i = 0; i < notices_.size(); ++i) {
        if (notices_[i].place == place) notices_[i].dropped = true;
    }
    // What has left arrives now, while its place is still the same function's. Turns on the wire stay taken; the
    // room of writes comes back in order.
    for (std::size_t i = 0; i < posted_.size(); ++i) {
        const bool waiting = posted_[i].kind == Kind::write || posted_[i].kind == Kind::message;
        if (posted_[i].place != place || !waiting) continue;
        const Posted entry = posted_[i];
        posted_[i].kind = entry.kind == Kind::write ? Kind::dropped : Kind::dropped_message;
        if (entry.sent > now()) continue;
        if (entry.kind == Kind::message) {
            carry_out_message(place, entry.address, entry.data);
        } else {
            carry_out_write(place, entry.address, bytes_of(entry.size, entry.data, entry.few));
        }
    }
    waiting_.erase_if([&](std::uint32_t number) {
        if (slots_[number].place != place) return false;
        Slot& slot = slots_[number];
        slot.dropped = true;
        if (slot.answered == slot.asked) {
            slot.used = false;
            free_slots_.push_back(number);
        }
        return true;
    });
    for (Slot& slot : slots_) {
        if (slot.used && slot.place == place) slot.dropped = true;
    }
    pump_reads();
    arm();
}

sim::Time Link::post_write(std::uint64_t address, unsigned size, std::uint64_t value) {
    if (downward_.full()) return sim::Time::zero();
    const sim::Time sent = send_down(now(), write_packets(config_.limits, address, size));
    const sim::Time at = sent + config_.flight;
    downward_.push({at, address, value, static_cast<std::uint8_t>(size)});
    look(of_downward, downward_, &Down::at);
    arm();
    return at;
}

Link::Value Link::read_now(std::uint64_t address, unsigned size) {
    while (!downward_.empty()) {
        const Down write = downward_.front();
        downward_.pop();
        look(of_downward, downward_, &Down::at);
        (void)bus_.write(Space::memory, write.address, write.size, write.value);
    }
    const sim::Time asked = send_down(now(), {1, request_overhead(address, size)}) + config_.flight;
    const auto value = bus_.read(Space::memory, address, size);
    const WireBytes wire{1, completion_overhead + (value ? std::uint64_t{size} : 0)};
    const sim::Time at = send_up(asked, wire) + config_.flight;
    arm();
    return {value.value_or(size == 8 ? ~std::uint64_t{0} : (std::uint64_t{1} << 8 * size) - 1), at};
}

}  // namespace pci
