#include "models/behavioural/emulated_driver.h"

#include <algorithm>
#include <utility>

#include "models/legacy/dec21140_registers.h"
#include "pci/config_registers.h"
#include "sim/check.h"

namespace models {

namespace chip = dec21140;
namespace st = dec21140::status;

namespace {

constexpr sim::GuestCause driver_cause{"client.driver", "server.driver"};
constexpr std::uint32_t ram_page_bytes = 4096;
// As Linux names them for this chip, less what the chip does not have.
constexpr std::uint32_t enabled = 0x0001'ebef;
constexpr std::uint32_t receive_events = st::receive_done | st::receive_unavailable;
constexpr std::uint32_t transmit_events =
    st::transmit_unavailable | st::transmit_stopped | st::transmit_done | st::timer_expired;
// What keeps the handler in its loop.
constexpr std::uint32_t loop_events =
    transmit_events | st::receive_stopped | st::transmit_underflow | st::transmit_jabber | st::fatal_bus_error;
constexpr std::uint32_t acknowledged = 0x0001'ff3f, errors_acknowledged = 0x0800'f7ba;
constexpr std::uint32_t running = chip::mode::start_receive | chip::mode::start_transmit | chip::mode::full_duplex;
constexpr std::uint32_t alignment = 0x0000'8000;  // cache alignment; nothing between descriptors
// The last two places are for set-up frames.
constexpr std::uint32_t ring_is_full = EmulatedDriver::transmit_descriptors - 2;
constexpr std::uint64_t io_apic = 0xfec0'0000;
constexpr std::uint16_t config_address = 0xcf8, config_data = 0xcfc;

}  // namespace

EmulatedDriver::EmulatedDriver(const sim::Scope& scope, GuestPlatform& platform, NetworkDriverUser& user,
                               const Config& config)
    : scope_(scope),
      platform_(platform),
      user_(user),
      config_(config),
      interrupt_(*this, config.vp),
      poll_(*this, config.vp),
      vector_(platform.allocate_vector(config.vp, interrupt_)),
      interrupts_(scope.counter("interrupts", "count", "interrupts taken")),
      polls_(scope.counter("polls", "count", "polls of the receive ring")),
      slot_(platform.processor(config.vp), *this),
      registration_(scope.register_state(*this)) {}

EmulatedDriver::~EmulatedDriver() {
    platform_.release_vector(config_.vp, vector_);
}

RegisterAccess EmulatedDriver::read(unsigned csr) const {
    return {config_.ports + std::uint64_t{chip::csr(csr)}, 4, true, true, 0};
}

RegisterAccess EmulatedDriver::write(unsigned csr, std::uint32_t value) const {
    return {config_.ports + std::uint64_t{chip::csr(csr)}, 4, false, true, value};
}

// -- Up.

void EmulatedDriver::start() {
    if (state_.opening || state_.up) return;
    state_.opening = true;
    state_.work = Work::none;
    slot_.wake();
}

// Rings in a page each, then buffers, two in a page.
bool EmulatedDriver::make_rings() {
    if (!state_.pages.empty()) return true;
    auto given = platform_.pages().allocate(pages);
    if (!given) return false;
    state_.pages = std::move(*given);
    VG_CHECK(state_.pages.back() < (std::uint64_t{1} << 20), "the 21140 reaches memory below 4 GiB only");
    return true;
}

void EmulatedDriver::open() {
    using namespace chip;
    state_.receive_ring = static_cast<std::uint32_t>(state_.pages[0] * ram_page_bytes);
    state_.transmit_ring = static_cast<std::uint32_t>(state_.pages[1] * ram_page_bytes);
    state_.taken = state_.next = state_.cleaned = 0;
    for (std::uint32_t n = 0; n < receive_descriptors; ++n) {
        const std::uint32_t end = n + 1 == receive_descriptors ? rdes1::end_of_ring : 0;
        put_descriptor(state_.receive_ring + n * descriptor_bytes, {owned, (buffer_bytes - 4) | end, buffer_of(n), 0});
    }
    for (std::uint32_t n = 0; n < transmit_descriptors; ++n) {
        put_descriptor(state_.transmit_ring + n * descriptor_bytes, {0, 0, 0, 0});
    }
    put_set_up();
    const std::uint32_t where = 0x8000'0000 | config_.device << 11 | pci::header::command;
    const auto port = [](std::uint16_t at, std::uint8_t bytes, std::uint32_t value) {
        return RegisterAccess{at, bytes, false, true, value};
    };
    std::vector<RegisterAccess> list{
        port(config_address, 4, where),
        port(config_data, 2, pci::command::io_space | pci::command::memory_space | pci::command::bus_master)};
    if (config_.interrupt_pin) {
        const std::uint32_t entry = 0x10 + 2u * *config_.interrupt_pin;
        constexpr std::uint32_t low_active = 1u << 13, level = 1u << 15;
        const std::pair<std::uint32_t, std::uint32_t> words[] = {{entry + 1, config_.vp << 24},
                                                                 {entry, vector_ | low_active | level}};
        for (const auto& [index, value] : words) {
            list.push_back({io_apic, 4, false, false, index});
            list.push_back({io_apic + 0x10, 4, false, false, value});
        }
    }
    list.push_back(write(0, bus_mode::software_reset));
    list.push_back(write(0, alignment));
    list.push_back(write(3, state_.receive_ring));
    list.push_back(write(4, state_.transmit_ring));
    list.push_back(write(6, running));
    list.push_back(write(5, st::clearable));
    list.push_back(write(7, enabled));
    list.push_back(write(1, 0));
    poll_.sequence.start(std::move(list));
}

std::uint32_t EmulatedDriver::buffer_of(std::uint32_t n) const {
    return static_cast<std::uint32_t>(state_.pages[2 + n / 2] * ram_page_bytes + n % 2 * buffer_bytes);
}

// The broadcast address, then our own in all other places: three longwords each, the lower half of which counts.
void EmulatedDriver::put_set_up() {
    const std::uint32_t buffer = buffer_of(receive_descriptors);
    std::array<std::uint32_t, chip::set_up_frame_bytes / 4> words{};
    for (std::size_t n = 0; n < words.size(); ++n) {
        const std::size_t part = n % 3;
        words[n] =
            n < 3 ? 0xffffu : config_.address.bytes[2 * part] | std::uint32_t{config_.address.bytes[2 * part + 1]} << 8;
    }
    VG_CHECK(platform_.memory().write(buffer, std::as_bytes(std::span{words})));
    put_descriptor(state_.transmit_ring,
                   {chip::owned, chip::tdes1::set_up | chip::tdes1::interrupt | chip::set_up_frame_bytes, buffer, 0});
    state_.next = 1;
}

std::array<std::uint32_t, 4> EmulatedDriver::descriptor(std::uint32_t at) {
    std::array<std::uint32_t, 4> words{};
    VG_CHECK(platform_.memory().read(at, std::as_writable_bytes(std::span{words})));
    return words;
}

void EmulatedDriver::put_descriptor(std::uint32_t at, const std::array<std::uint32_t, 4>& words) {
    VG_CHECK(platform_.memory().write(at, std::as_bytes(std::span{words})));
}

// -- The interrupt's handler.

void EmulatedDriver::interrupt() {
    if (state_.in_interrupt || state_.pages.empty()) return;
    ++interrupts_;
    state_.in_interrupt = true;
    state_.called_at = scope_.now();
    state_.first_read = true;
    state_.last_read = false;
    state_.polled = false;
    interrupt_.sequence.start({read(5)});
}

void EmulatedDriver::interrupt_read(std::span<const std::uint64_t> answers) {
    if (std::exchange(state_.last_read, false)) {  // of CSR8, the missed frames
        state_.in_interrupt = false;
        return slot_.wake();
    }
    auto events = static_cast<std::uint32_t>(answers.back());
    const bool first = std::exchange(state_.first_read, false);
    if (first ? (events & (st::normal | st::abnormal)) == 0 : (events & loop_events) == 0) {
        if (first) {  // another device's
            state_.in_interrupt = false;
            return;
        }
        state_.last_read = true;
        return interrupt_.sequence.start({read(8)});
    }
    std::vector<RegisterAccess> list;
    if (!state_.polled && (events & receive_events) != 0) {
        state_.polled = true;
        list.push_back(write(7, enabled & ~receive_events));
        if (state_.poll == Poll::none) state_.poll = Poll::begin;
    }
    list.push_back(write(5, events & acknowledged));
    if ((events & transmit_events) != 0) clean();
    if ((events & st::abnormal) != 0) list.push_back(write(5, errors_acknowledged));
    list.push_back(read(5));
    interrupt_.sequence.start(std::move(list));
}

void EmulatedDriver::clean() {
    while (state_.cleaned != state_.next) {
        const std::uint32_t at = state_.cleaned % transmit_descriptors;
        if ((descriptor(state_.transmit_ring + at * chip::descriptor_bytes)[0] & chip::owned) != 0) break;
        ++state_.cleaned;
    }
    if (waiting() < ring_is_full) state_.stopped = false;
}

// -- Polls and frames.

bool EmulatedDriver::transmit(vmbus::OutgoingFrame&& frame) {
    if (!state_.up || state_.backlog.size() >= config_.backlog) {
        state_.refused = true;
        return false;
    }
    state_.backlog.push_back(std::move(frame));
    slot_.wake();
    return true;
}

void EmulatedDriver::poll_read(std::span<const std::uint64_t> answers) {
    if (std::exchange(state_.opening, false)) {
        state_.up = true;
        return user_.ready();
    }
    switch (state_.poll) {
        case Poll::acknowledge:
            state_.poll = Poll::take;
            break;
        case Poll::look:
            // More has come meanwhile, or receiving is on again by interrupt.
            state_.poll = (answers.back() & st::receive_done) != 0 ? Poll::begin : Poll::none;
            if (state_.poll == Poll::none) {
                state_.poll = Poll::wait;
                poll_.sequence.start({write(7, enabled)});
                return;
            }
            break;
        default:
            state_.poll = Poll::none;
            break;
    }
    slot_.wake();
}

std::optional<sim::Time> EmulatedDriver::begin() {
    state_.work = Work::none;
    state_.begun_at = scope_.now();
    if (state_.opening && !state_.up && state_.pages.empty()) {
        if (!make_rings()) return std::nullopt;
        state_.work = Work::start;
        return cost_ = config_.costs.bus.per_message;
    }
    if (state_.poll == Poll::begin) {
        state_.work = Work::poll;
        return cost_ = config_.costs.poll;
    }
    if (state_.poll == Poll::take) {
        take_frames();
        state_.work = Work::receive;
        return cost_ = config_.costs.legacy_frame * static_cast<std::int64_t>(state_.received.size());
    }
    if (state_.backlog.empty() || state_.stopped || !state_.up) return std::nullopt;
    state_.sending = std::move(state_.backlog.front());
    state_.backlog.pop_front();
    state_.work = Work::send;
    return cost_ = config_.costs.legacy_frame;
}

void EmulatedDriver::account(sim::Account& account) const {
    switch (state_.work) {
        case Work::poll:
            return account.add("guest.network.poll", cost_);
        case Work::receive:
            return account.add("guest.network.receive", cost_);
        case Work::send:
            return account.add("guest.network.send", cost_);
        default:
            return;
    }
}

void EmulatedDriver::finish() {
    switch (std::exchange(state_.work, Work::none)) {
        case Work::start:
            return open();
        case Work::poll:
            ++polls_;
            state_.poll = Poll::acknowledge;
            return poll_.sequence.start({read(5), write(5, receive_events)});
        case Work::receive:
            return give_frames();
        case Work::send:
            return put_frame();
        default:
            return;
    }
}

void EmulatedDriver::take_frames() {
    state_.more = false;
    for (;;) {
        const std::uint32_t at = state_.receive_ring + state_.taken % receive_descriptors * chip::descriptor_bytes;
        const auto words = descriptor(at);
        if ((words[0] & chip::owned) != 0) break;
        if (state_.received.size() == config_.budget) {
            state_.more = true;
            break;
        }
        const bool whole = (words[0] & (chip::rdes0::error_summary | chip::rdes0::first | chip::rdes0::last)) ==
                           (chip::rdes0::first | chip::rdes0::last);
        const std::size_t length = words[0] >> chip::rdes0::length_low & chip::rdes0::length_mask;
        if (whole && length > chip::crc_bytes && length <= buffer_bytes) {
            vmbus::IncomingFrame& frame = state_.received.emplace_back();
            frame.bytes.resize(length - chip::crc_bytes);
            VG_CHECK(platform_.memory().read(words[2], frame.bytes));
        }
        put_descriptor(at, {chip::owned, words[1], words[2], 0});
        ++state_.taken;
    }
}

void EmulatedDriver::give_frames() {
    sim::Journeys& journeys = scope_.journeys();
    for (std::size_t n = 0; journeys.on() && n < state_.received.size(); ++n) {
        const sim::RequestId id = journeys.identify(state_.received[n].bytes);
        journeys.mark(id, "interrupt.delivery", state_.called_at);
        journeys.mark(id, "hypervisor.intercept", state_.begun_at);
        journeys.mark(id, driver_cause, sim::Travel::received, scope_.now());
    }
    if (!state_.received.empty()) user_.receive(0, state_.received);
    state_.received.clear();
    if (state_.more) {
        state_.poll = Poll::begin;
        return slot_.wake();
    }
    state_.poll = Poll::look;
    poll_.sequence.start({read(5)});
}

void EmulatedDriver::put_frame() {
    const vmbus::OutgoingFrame frame = std::move(*state_.sending);
    state_.sending.reset();
    sim::Journeys& journeys = scope_.journeys();
    if (journeys.on()) {
        const sim::RequestId id = journeys.identify(frame.bytes);
        journeys.mark(id, "wait.processor", state_.begun_at);
        journeys.mark(id, driver_cause, sim::Travel::sent, scope_.now());
    }
    const std::uint32_t place = state_.next % transmit_descriptors, before = waiting();
    const std::uint32_t buffer = buffer_of(receive_descriptors + place);
    const std::size_t length = std::min<std::size_t>(frame.bytes.size(), chip::most_usual_bytes - chip::crc_bytes);
    VG_CHECK(platform_.memory().write(buffer, std::span{frame.bytes}.first(length)));
    // An interrupt where the ring is half full and where it is full, and at its end.
    std::uint32_t control = chip::tdes1::first | chip::tdes1::last;
    const bool last_place = place + 1 == transmit_descriptors;
    if (before == transmit_descriptors / 2 || before >= ring_is_full - 1 || last_place) {
        control |= chip::tdes1::interrupt;
    }
    if (last_place) control |= chip::tdes1::end_of_ring;
    put_descriptor(state_.transmit_ring + place * chip::descriptor_bytes,
                   {chip::owned, control | static_cast<std::uint32_t>(length), buffer, 0});
    ++state_.next;
    if (waiting() >= ring_is_full) state_.stopped = true;
    platform_.write_port(config_.vp, static_cast<std::uint16_t>(config_.ports + chip::csr(1)), 4, 0);
    if (state_.refused && state_.backlog.size() < config_.backlog / 2) {
        state_.refused = false;
        user_.room();
    }
}

}  // namespace models
