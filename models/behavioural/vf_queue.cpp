#include "models/behavioural/vf_queue.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "models/behavioural/vf_offload.h"
#include "sim/check.h"
#include "sim/prefetch.h"

namespace models {

namespace tx = sriov_nic::tx;
namespace rx = sriov_nic::rx;
using sriov_nic::Descriptor;
using sriov_nic::descriptor_bytes;

namespace {

constexpr std::uint64_t queue_page_bytes = 4096;
constexpr std::uint64_t pages_at_once = 16;
constexpr std::uint32_t least_free_to_go_on = 42;  // Linux: twice what the largest frame may take

Descriptor load_descriptor(vmbus::GuestMemory& memory, std::uint64_t at) {
    std::array<std::byte, descriptor_bytes> bytes{};
    VG_CHECK(memory.read(at, bytes));
    Descriptor descriptor;
    std::memcpy(&descriptor, bytes.data(), bytes.size());
    return descriptor;
}

void store_descriptor(vmbus::GuestMemory& memory, std::uint64_t at, const Descriptor& descriptor) {
    VG_CHECK(memory.write(at, std::as_bytes(std::span{&descriptor, 1})));
}

std::uint64_t pages_of(std::uint64_t bytes) {
    return (bytes + queue_page_bytes - 1) / queue_page_bytes;
}

}  // namespace

std::uint64_t VfQueueLayout::pages() const {
    return pages_of(std::uint64_t{transmit_descriptors} * descriptor_bytes) +
           pages_of(std::uint64_t{receive_descriptors} * descriptor_bytes) +
           pages_of(std::uint64_t{receive_descriptors} * VfQueue::receive_buffer_bytes) + pages_at_once;
}

VfQueue::VfQueue(const sim::Scope& scope, GuestPlatform& platform, const VfQueueLayout& layout)
    : platform_(platform),
      memory_(platform.memory()),
      layout_(layout),
      frames_sent_(scope.counter("frames_sent", "count", "frames that the device has reported as sent")),
      bytes_sent_(scope.counter("bytes_sent", "B", "bytes of those frames, as the stack gave them")),
      frames_received_(scope.counter("frames_received", "count", "frames given to the guest's network stack")),
      bytes_received_(scope.counter("bytes_received", "B", "bytes of those frames")),
      bad_(scope.counter("bad_frames", "count", "frames that came with an error, dropped")) {}

// -- Memory.

// Pages in a row, out of those that the guest has free.
std::optional<std::uint64_t> VfQueue::contiguous(std::uint64_t bytes) {
    const std::uint64_t wanted = pages_of(bytes);
    std::vector<std::uint64_t> tried;
    std::optional<std::uint64_t> first;
    while (!first && tried.size() < 64 * wanted) {
        const auto more = platform_.pages().allocate(wanted);
        if (!more) break;
        tried.insert(tried.end(), more->begin(), more->end());
        std::ranges::sort(tried);
        for (std::size_t at = 0; at + wanted <= tried.size() && !first; ++at) {
            if (tried[at + wanted - 1] - tried[at] == wanted - 1) first = tried[at];
        }
    }
    std::vector<std::uint64_t> unused;
    for (const std::uint64_t page : tried) {
        const bool used = first && page >= *first && page < *first + wanted;
        (used ? state_.ring_pages : unused).push_back(page);
    }
    platform_.pages().release(unused);
    return first ? std::optional{*first * queue_page_bytes} : std::nullopt;
}

bool VfQueue::open() {
    const auto transmit = contiguous(std::uint64_t{layout_.transmit_descriptors} * descriptor_bytes);
    const auto receive = contiguous(std::uint64_t{layout_.receive_descriptors} * descriptor_bytes);
    auto buffers = platform_.pages().allocate(std::uint64_t{layout_.receive_descriptors} * receive_buffer_bytes /
                                              queue_page_bytes);
    if (!transmit || !receive || !buffers) {
        if (buffers) platform_.pages().release(*buffers);
        platform_.pages().release(std::exchange(state_.ring_pages, {}));
        return false;
    }
    state_.transmit_ring = *transmit;
    state_.receive_ring = *receive;
    state_.buffer_pages = std::move(*buffers);
    memory_.will_fill_pages(state_.buffer_pages);  // all are used, in turn
    state_.sent.assign(layout_.transmit_descriptors, {});
    for (std::uint32_t index = 0; index < layout_.receive_descriptors; ++index) post(index);
    return true;
}

void VfQueue::close() {
    platform_.pages().release(state_.ring_pages);
    platform_.pages().release(state_.buffer_pages);
    platform_.pages().release(state_.all_pages);
    state_ = {};
}

// -- To the device.

bool VfQueue::push(vmbus::OutgoingFrame&& frame) {
    if (full()) return false;
    state_.backlog.push_back(std::move(frame));
    return true;
}

std::uint32_t VfQueue::descriptors_for(const vmbus::OutgoingFrame& frame) const {
    const bool context = layout_.context_each || frame.vlan_tci || frame.large_send_mss != 0 ||
                         frame.fill_ip_checksum || frame.fill_tcp_checksum || frame.fill_udp_checksum;
    const auto pieces =
        static_cast<std::uint32_t>((frame.bytes.size() + transmit_piece_bytes - 1) / transmit_piece_bytes);
    return (context ? 1 : 0) + pieces;
}

VfQueue::Sending VfQueue::begin_send(std::uint32_t most) {
    Sending sending;
    // Each descriptor needs a page at most.
    const auto pages_for = [this](std::uint64_t descriptors) {
        const std::uint64_t own = state_.free_pages.size();
        return descriptors <= own || descriptors <= own + platform_.pages().available();
    };
    while (!state_.backlog.empty() && sending.frames < most) {
        const std::uint32_t needed = descriptors_for(state_.backlog.front());
        if (sending.descriptors + needed > room() || !pages_for(sending.descriptors + needed)) {
            state_.stopped = true;
            break;
        }
        ++sending.frames;
        sending.descriptors += needed;
        state_.sending.push_back(std::move(state_.backlog.front()));
        state_.backlog.pop_front();
    }
    return sending;
}

bool VfQueue::finish_send(sim::Time begun) {
    const bool any = !state_.sending.empty();
    sim::Journeys& journeys = platform_.scope().journeys();
    for (std::size_t n = 0; journeys.on() && n < state_.sending.size(); ++n) {
        const sim::RequestId id = journeys.identify(state_.sending[n].bytes);
        journeys.mark(id, "wait.processor", begun);
        journeys.mark(id, {"client.driver", "server.driver"}, sim::Travel::sent, platform_.scope().now());
    }
    for (vmbus::OutgoingFrame& frame : state_.sending) put_frame(frame);
    state_.sending.clear();
    return any;
}

std::uint64_t VfQueue::take_page() {
    if (state_.free_pages.empty()) {
        const auto more = platform_.pages().allocate(std::min(pages_at_once, platform_.pages().available()));
        VG_CHECK(more && !more->empty(), "a guest without memory for a frame");
        state_.all_pages.insert(state_.all_pages.end(), more->begin(), more->end());
        state_.free_pages.assign(more->rbegin(), more->rend());
    }
    const std::uint64_t page = state_.free_pages.back();
    state_.free_pages.pop_back();
    return page;
}

void VfQueue::put(const Descriptor& descriptor, std::uint64_t page) {
    store_descriptor(memory_, state_.transmit_ring + std::uint64_t{state_.next} * descriptor_bytes, descriptor);
    state_.sent[state_.next].page = page;
    state_.next = (state_.next + 1) & (layout_.transmit_descriptors - 1);
}

void VfQueue::put_frame(vmbus::OutgoingFrame& frame) {
    const std::uint32_t first = state_.next;
    const VfOffload offload = vf_offload(frame);
    std::uint32_t options = offload.options;
    if (layout_.context_each || offload.needed) {
        const std::uint32_t mode = offload.mode | tx::type_context | tx::extended;
        put({offload.macip, std::uint64_t{offload.mss} << 32 | mode}, 0);
        options |= tx::check_context;
    }
    const std::span<const std::byte> bytes{frame.bytes};
    for (std::size_t at = 0; at < bytes.size(); at += transmit_piece_bytes) {
        const auto piece = bytes.subspan(at, std::min<std::size_t>(transmit_piece_bytes, bytes.size() - at));
        const std::uint64_t page = take_page();
        VG_CHECK(memory_.write(page * queue_page_bytes, piece));
        std::uint32_t command =
            static_cast<std::uint32_t>(piece.size()) | tx::type_data | tx::extended | tx::insert_fcs | offload.command;
        if (at + piece.size() == bytes.size()) {
            state_.sent[first].last = state_.next;
            command |= tx::end_of_packet | tx::report_status;
        }
        put({page * queue_page_bytes, std::uint64_t{options} << 32 | command}, page);
    }
    state_.sent[first].bytes = static_cast<std::uint32_t>(bytes.size());
}

VfQueue::Cleaned VfQueue::clean(std::uint32_t most_frames) {
    Cleaned cleaned;
    while (state_.clean != state_.next) {
        if (cleaned.traffic.frames == most_frames) {
            cleaned.all = false;
            break;
        }
        const std::uint32_t last = state_.sent[state_.clean].last;
        const Descriptor done = load_descriptor(memory_, state_.transmit_ring + std::uint64_t{last} * descriptor_bytes);
        if ((done.high >> 32 & tx::done) == 0 || (done.high & tx::report_status) != 0) break;
        ++cleaned.traffic.frames;
        cleaned.traffic.bytes += state_.sent[state_.clean].bytes;
        const std::uint32_t end = (last + 1) & (layout_.transmit_descriptors - 1);
        for (std::uint32_t at = state_.clean; at != end; at = (at + 1) & (layout_.transmit_descriptors - 1)) {
            const std::uint64_t page = std::exchange(state_.sent[at].page, 0);
            if (page != 0) state_.free_pages.push_back(page);
        }
        state_.clean = end;
    }
    frames_sent_.add(cleaned.traffic.frames);
    bytes_sent_.add(cleaned.traffic.bytes);
    if (room() >= std::min(least_free_to_go_on, layout_.transmit_descriptors / 2)) state_.stopped = false;
    return cleaned;
}

// -- From the device.

std::uint64_t VfQueue::receive_buffer(std::uint32_t index) const {
    return state_.buffer_pages[index / 2] * queue_page_bytes + index % 2 * receive_buffer_bytes;
}

void VfQueue::post(std::uint32_t index) {
    store_descriptor(memory_, state_.receive_ring + std::uint64_t{index} * descriptor_bytes,
                     {receive_buffer(index), 0});
}

void VfQueue::fetch_places() const {
    if (!is_open()) return;
    sim::prefetch(&state_.buffer_pages[state_.take / 2]);
    if (!state_.free_pages.empty()) sim::prefetch(&state_.free_pages.back());
    sim::prefetch(&state_.sent[state_.next]);
}

void VfQueue::fetch_ahead() const {
    if (!is_open()) return;
    memory_.expect(state_.transmit_ring + std::uint64_t{state_.next} * descriptor_bytes);
    memory_.expect(state_.receive_ring + std::uint64_t{state_.take} * descriptor_bytes);
    memory_.expect(receive_buffer(state_.take));
    if (!state_.free_pages.empty()) memory_.expect(state_.free_pages.back() * queue_page_bytes);
}

ModeratedTraffic VfQueue::begin_receive(std::uint32_t budget) {
    ModeratedTraffic traffic;
    if (!is_open()) return traffic;
    // What has not been given back is not the device's to fill.
    while (traffic.frames < budget && state_.unposted + 1 < layout_.receive_descriptors) {
        const Descriptor d =
            load_descriptor(memory_, state_.receive_ring + std::uint64_t{state_.take} * descriptor_bytes);
        if ((d.high & rx::done) == 0) break;
        const std::uint64_t at = receive_buffer(state_.take);
        const std::size_t length = std::min<std::size_t>(d.high >> 32 & 0xffff, receive_buffer_bytes);
        const std::size_t before = state_.partial.size();
        state_.partial.resize(before + length);
        VG_CHECK(memory_.read(at, std::span{state_.partial}.subspan(before)));
        state_.take = (state_.take + 1) & (layout_.receive_descriptors - 1);
        ++state_.unposted;
        if ((d.high & rx::end_of_packet) == 0) continue;
        ++traffic.frames;
        traffic.bytes += state_.partial.size();
        deliver(d, std::exchange(state_.partial, {}));
    }
    return traffic;
}

void VfQueue::deliver(const Descriptor& d, std::vector<std::byte>&& bytes) {
    using vmbus::ChecksumState;
    const auto status = static_cast<std::uint32_t>(d.high);
    if ((status & rx::bad_frame) != 0) {
        ++bad_;
        return;
    }
    ++frames_received_;
    bytes_received_.add(bytes.size());
    vmbus::IncomingFrame& frame = state_.received.emplace_back();
    frame.bytes = std::move(bytes);
    if ((status & rx::ip_checksum) != 0) {
        frame.ip_checksum = (status & rx::ip_error) != 0 ? ChecksumState::bad : ChecksumState::good;
    }
    if ((status & rx::l4_checksum) != 0) {
        const ChecksumState verdict = (status & rx::l4_error) != 0 ? ChecksumState::bad : ChecksumState::good;
        const auto type = static_cast<std::uint32_t>(d.low) >> 4;
        if ((type & rx::type_tcp) != 0) frame.tcp_checksum = verdict;
        if ((type & rx::type_udp) != 0) frame.udp_checksum = verdict;
    }
    if ((status & rx::vlan) != 0) frame.vlan_tci = static_cast<std::uint16_t>(d.high >> 48);
    if ((d.low & 0xf) != 0) frame.hash = static_cast<std::uint32_t>(d.low >> 32);
}

bool VfQueue::finish_receive() {
    state_.received.clear();
    if (state_.unposted < std::min(layout_.refill_batch, layout_.receive_descriptors / 2)) return false;
    for (; state_.unposted > 0; --state_.unposted) {
        post((state_.take - state_.unposted) & (layout_.receive_descriptors - 1));
    }
    return true;
}

}  // namespace models
