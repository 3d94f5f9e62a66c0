// Receive side coalescing (82599 datasheet, 7.11): segments of a TCP connection that follow each other become one large
// packet in the buffers, with the first one's header, made right at the end. Without virtualization only: the adapter
// does not coalesce in pools.
#include <algorithm>
#include <cstring>

#include "sriov_nic/receive.h"

namespace sriov_nic {

namespace {

constexpr std::uint32_t flag_push = 0x08, flag_acknowledge = 0x10;
constexpr std::uint32_t largest_packet = 0xffff;
// GPIE.RSC_DELAY: a merge ends this often times four microseconds and four after it began.
constexpr sim::Time delay_unit = sim::Time::us(4);

}  // namespace

bool Receive::coalesces(const Queue& q) const {
    return (q.coalescing & rscctl::enable) != 0 && srrctl::type(q.split) == srrctl::advanced_one &&
           srrctl::buffer_bytes(q.split) != 0 && !core_.bridge.virtualization() &&
           (core_.registers[reg::rfctl] & rfctl::no_coalescing) == 0;
}

// Plain TCP with payload, right sums, and no flags but acknowledge and push.
Receive::Segment Receive::segment_of(const Frame& frame) {
    Segment segment;
    const FrameInfo& info = frame.info;
    if ((info.types & rx::type_tcp) == 0) return segment;
    const std::byte* bytes = memory_.at(frame.place);
    const bool v4 = (info.types & rx::type_ipv4) != 0;
    std::memcpy(segment.key.data(), bytes + (v4 ? info.l3 + 12 : info.l3 + 8), v4 ? 8 : 32);
    std::memcpy(&segment.key[32], bytes + info.l4, 4);
    const auto flags = std::to_integer<std::uint32_t>(bytes[info.l4 + 13]);
    segment.sequence = load_be32(bytes + info.l4 + 4);
    const bool plain = info.types == ((v4 ? rx::type_ipv4 : rx::type_ipv6) | rx::type_tcp) && !info.tagged &&
                       (flags & ~flag_push) == flag_acknowledge && info.payload <= Flow::most_header &&
                       info.ip_end > info.payload && info.ip_end <= frame.length;
    if (!plain || (status_of(frame) & (rx::l4_error | rx::ip_error)) != 0) return segment;
    segment.payload = info.ip_end - std::uint32_t{info.payload};
    segment.joins = true;
    segment.last = (flags & flag_push) != 0;
    return segment;
}

Receive::Flow* Receive::flow_of(unsigned queue, const Segment& segment) {
    for (Flow& flow : flows_) {
        if (flow.active && flow.queue == queue && flow.key == segment.key) return &flow;
    }
    return nullptr;
}

std::optional<Receive::Outcome> Receive::coalesce(Frame& frame, unsigned queue) {
    Queue& q = queues_[queue];
    if ((frame.info.types & rx::type_tcp) == 0) return std::nullopt;
    const Segment segment = segment_of(frame);
    Flow* flow = flow_of(queue, segment);
    if (frame.step != 0 && flow != nullptr) return append(frame, *flow, flow->segments == 0 ? 0 : frame.info.payload);
    const std::uint32_t most = std::min(rscctl::max_descriptors(q.coalescing), Flow::most_descriptors);
    if (flow != nullptr) {
        const std::uint32_t more = (flow->fill + segment.payload + flow->buffer - 1) / flow->buffer - 1;
        const bool fits =
            flow->used + more <= most && flow->bytes + segment.payload <= largest_packet && q.fetched - q.used >= more;
        if (!segment.joins || segment.sequence != flow->next || flow->closing || !fits) {
            if (!close(*flow)) return Outcome::wait;
            flow = nullptr;
        } else {
            return append(frame, *flow, frame.info.payload);
        }
    }
    const std::uint32_t buffer = srrctl::buffer_bytes(q.split);
    const std::uint32_t needed = (frame.info.ip_end + buffer - 1u) / buffer;
    const auto place = std::find_if(flows_.begin(), flows_.end(), [](const Flow& f) { return !f.active; });
    if (!segment.joins || segment.last || place == flows_.end() || needed > most || q.fetched - q.used < needed) {
        return std::nullopt;
    }
    flow = &*place;
    *flow = {};
    ++open_flows_;
    flow->active = true;
    flow->queue = static_cast<std::uint8_t>(queue);
    flow->epoch = q.epoch;
    flow->buffer = buffer;
    flow->key = segment.key;
    flow->header_bytes = frame.info.payload;
    flow->l3 = frame.info.l3;
    flow->l4 = frame.info.l4;
    flow->types = frame.info.types;
    std::memcpy(flow->header.data(), memory_.at(frame.place), flow->header_bytes);
    flow->next = segment.sequence;
    flow->until = core_.scope.now() + delay_unit * (1 + gpie::coalescing_delay(core_.registers[reg::gpie]));
    if (!flow_timer_.armed()) flow_timer_.arm(flow->until);
    take_descriptor(*flow);
    return append(frame, *flow, 0);
}

void Receive::take_descriptor(Flow& flow) {
    Queue& q = queues_[flow.queue];
    flow.buffers[flow.used] = q.cache[q.used % cache_size].low;
    flow.places[flow.used] = static_cast<std::uint16_t>((q.first + q.used) % ring_size(q));
    flow.starts[flow.used] = 0;
    ++flow.used;
    take_descriptors(flow.queue, 1);
    flow.fill = 0;
    evaluate(flow.queue);
}

// The frame's bytes from `begin` on go behind those that are there. frame.step counts them, and one.
Receive::Outcome Receive::append(Frame& frame, Flow& flow, std::uint32_t begin) {
    const std::uint32_t bytes = frame.info.ip_end - begin;
    if (frame.step == 0) {
        ++flow.starts[flow.used - 1];
        frame.step = 1;
    }
    while (frame.step <= bytes) {
        const std::uint32_t done = frame.step - 1;
        if (flow.fill == flow.buffer) take_descriptor(flow);
        const std::uint32_t n = std::min(bytes - done, flow.buffer - flow.fill);
        if (!core_.bus.write(core_.function_of(flow.queue), flow.buffers[flow.used - 1] + flow.fill,
                             memory_.span(frame.place + begin + done, n))) {
            core_.bus_full = true;
            return Outcome::wait;
        }
        flow.fill += n;
        frame.step += n;
    }
    flow.bytes += bytes;
    flow.next += frame.info.ip_end - std::uint32_t{frame.info.payload};
    ++flow.segments;
    update_header(flow, frame);
    count(frame, flow.queue);
    const auto flags = std::to_integer<std::uint32_t>(flow.header[flow.l4 + 13]);
    if ((flags & flag_push) != 0) {
        flow.closing = true;
        close(flow);  // if the bus is full, later
    }
    return Outcome::done;
}

// Acknowledgement, window and push are the last segment's; lengths and sums the whole packet's.
void Receive::update_header(Flow& flow, const Frame& frame) {
    const std::byte* bytes = memory_.at(frame.place);
    std::memcpy(&flow.header[flow.l4 + 8], bytes + frame.info.l4 + 8, 4);
    std::memcpy(&flow.header[flow.l4 + 13], bytes + frame.info.l4 + 13, 3);
    const auto from_l3 = static_cast<std::uint16_t>(flow.bytes - flow.l3);
    if ((flow.types & rx::type_ipv4) != 0) {
        store_be16(&flow.header[flow.l3 + 2], from_l3);
        store_be16(&flow.header[flow.l3 + 10], 0);
        const auto ip = std::span{flow.header}.subspan(flow.l3, flow.l4 - flow.l3);
        store_be16(&flow.header[flow.l3 + 10], static_cast<std::uint16_t>(~fold(ones_sum(ip))));
    } else {
        store_be16(&flow.header[flow.l3 + 4], static_cast<std::uint16_t>(from_l3 - 40));
    }
}

// Descriptors but the last name the next one; each tells how many segments begin in it (7.1.6.2, RSCCNT and NEXTP).
Descriptor Receive::merged(const Flow& flow, std::uint32_t i) const {
    const bool last = i + 1 == flow.used;
    Descriptor d;
    d.low = std::uint64_t{flow.types << 4} | std::uint64_t{std::clamp<std::uint16_t>(flow.starts[i], 1, 15)} << 17;
    std::uint32_t status = rx::done;
    if (last) {
        status |= rx::end_of_packet | rx::l4_checksum | ((flow.types & rx::type_ipv4) != 0 ? rx::ip_checksum : 0);
    } else {
        status |= std::uint32_t{flow.places[i + 1]} << 4;
    }
    d.high = std::uint64_t{last ? flow.fill : flow.buffer} << 32 | status;
    return d;
}

// False: the bus is full, once more later.
bool Receive::close(Flow& flow) {
    Queue& q = queues_[flow.queue];
    flow.closing = true;
    if (flow.epoch == q.epoch) {
        const unsigned function = core_.function_of(flow.queue);
        for (; flow.step <= flow.used; ++flow.step) {
            bool sent = true;
            if (flow.step == 0) {
                const auto header = std::span<const std::byte>{flow.header}.first(flow.header_bytes);
                sent = flow.segments < 2 || core_.bus.write(function, flow.buffers[0], header);
            } else {
                const Descriptor d = merged(flow, flow.step - 1);
                const std::uint64_t at = q.base + std::uint64_t{flow.places[flow.step - 1]} * descriptor_bytes;
                sent = core_.bus.write(function, at, std::as_bytes(std::span{&d, 1}));
            }
            if (!sent) {
                core_.bus_full = true;
                return false;
            }
        }
        q.head = static_cast<std::uint32_t>((q.first + q.used) % ring_size(q));
        core_.raise(core_.vector_of(flow.queue, Direction::receive));
    }
    flow = {};
    --open_flows_;
    return true;
}

void Receive::close_due() {
    sim::Time next = sim::Time::never();
    for (Flow& flow : flows_) {
        if (!flow.active) continue;
        // One that a frame is being appended to stays until that is done.
        const bool busy = !frames_.empty() && frames_.front().step != 0 && frames_.front().queue == flow.queue;
        const bool due = flow.closing || flow.until <= core_.scope.now() || flow.epoch != queues_[flow.queue].epoch;
        if (due && !busy && !close(flow)) return;
        if (flow.active && !due) next = std::min(next, flow.until);
    }
    if (next.is_never()) {
        flow_timer_.disarm();
    } else {
        flow_timer_.arm(next);
    }
}

}  // namespace sriov_nic
