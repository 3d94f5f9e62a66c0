// What happens to a frame between its last byte's arrival in the transmit buffer and the wire: offloads (7.2.4, 7.2.5),
// the switch, and the order in which frames leave.
#include <algorithm>
#include <cstring>

#include "sriov_nic/transmit.h"

namespace sriov_nic {

namespace {

constexpr unsigned tcp_flags_at = 13, tcp_checksum_at = 16, udp_checksum_at = 6, sctp_checksum_at = 8;

}  // namespace

void Transmit::pause(sim::Time until) {
    paused_until_ = until;
    pump();
}

void Transmit::send_control(std::span<const std::byte> frame) {
    if (!core_.link_up) return;
    const sim::Time start = std::max(core_.scope.now(), wire_free_);
    wire_free_ = start + core_.profile.wire_time(frame.size());
    too_early_until_ = {};
    core_.wire.transmit(frame, start, wire_free_);
}

void Transmit::pump() {
    if (pumping_) {
        again_ = true;
        return;
    }
    pumping_ = true;
    do {
        again_ = flush_again_ = false;
        write_back_and_fetch();
        if (may_cut()) cut_frames();
        if (finish_ != frames_.end()) finish_frames();
        if (frames_.first() != finish_) commit();
    } while (again_);
    if (flush_again_) write_back_and_fetch();
    pumping_ = false;
}

void Transmit::finish_frames() {
    for (; finish_ != frames_.end(); ++finish_) {
        Frame& f = frames_[finish_];
        if (!f.cut || f.outstanding != 0) return;
        finish(f);
    }
}

void Transmit::finish(Frame& frame) {
    const sim::Time now = core_.scope.now();
    if (frame.header_bytes != 0) {
        // Segments without the first one's header would go with that of a packet before.
        bool& header_read = queues_[frame.queue].header_read;
        if (frame.segment == 0) header_read = !frame.dropped;
        frame.dropped |= !header_read;
    }
    if (!frame.dropped) {
        offload(frame);
        parse_frame(memory_.span(frame.place, frame.length), frame.info);
        const Verdict verdict = core_.bridge.transmitted(frame.info, core_.pool_of(frame.queue));
        frame.pools = verdict.pools;
        frame.wire = verdict.wire;
        frame.inexact = verdict.inexact;
        if (verdict.spoofed) {
            frame.dropped = true;
            const unsigned pool = core_.pool_of(frame.queue);
            if ((core_.registers[reg::vmecm + 4 * (pool >> 5)] >> (pool & 31) & 1) != 0) ++core_.statistics.spoofed;
        }
    }
    frame.ready = now + core_.profile.transmit_path;
    complete(frame);
}

void Transmit::offload(Frame& frame) {
    if (frame.header_bytes != 0) {
        // Later segments are of the same queue and epoch, and come after the first: its header is kept by then.
        std::byte* at = memory_.at(frame.place);
        if (frame.segment == 0) {
            std::memcpy(headers_[frame.queue].data(), at, frame.header_bytes);
        } else {
            std::memcpy(at, headers_[frame.queue].data(), frame.header_bytes);
        }
        segment_headers(frame, memory_.span(frame.place, frame.length));
    }
    insert_checksums(frame, memory_.span(frame.place, frame.length));
    bool insert = (frame.flags & tx::vlan) != 0;
    std::uint16_t tag = tx::vlan_tag(frame.context.macip);
    if (core_.bridge.virtualization()) {
        const std::uint32_t policy = core_.registers[reg::vmvir + 4 * core_.pool_of(frame.queue)];
        if ((policy & vmvir::action) == vmvir::always) {
            insert = true;
            tag = static_cast<std::uint16_t>(policy);
        } else if ((policy & vmvir::action) != 0) {
            insert = false;
        }
    }
    if (insert) {
        std::memmove(memory_.at(frame.place - vlan_bytes), memory_.at(frame.place), 12);
        frame.place -= vlan_bytes;
        frame.length += vlan_bytes;
        store_be16(memory_.at(frame.place + 12), ethertype_vlan);
        store_be16(memory_.at(frame.place + 14), tag);
    }
    if (frame.length < least_frame) {
        std::memset(memory_.at(frame.place + frame.length), 0, least_frame - frame.length);
        frame.length = least_frame;
    }
}

// Each segment is a packet of its own: lengths, identification, sequence number and flags are made for it (7.2.4.7).
void Transmit::segment_headers(Frame& frame, std::span<std::byte> bytes) {
    const TxContext& c = frame.context;
    const std::size_t l3 = tx::mac_bytes(c.macip);
    const std::size_t l4 = l3 + tx::ip_bytes(c.macip);
    const auto from_l3 = static_cast<std::uint16_t>(bytes.size() - l3);
    if ((c.mode & tx::ipv4) != 0) {
        if (l3 + 20 > frame.header_bytes) return;
        store_be16(&bytes[l3 + 2], from_l3);
        store_be16(&bytes[l3 + 4], static_cast<std::uint16_t>(load_be16(&bytes[l3 + 4]) + frame.segment));
    } else {
        if (l3 + 40 > frame.header_bytes) return;
        store_be16(&bytes[l3 + 4], static_cast<std::uint16_t>(from_l3 - 40));
    }
    const std::uint32_t offset = frame.segment * tx::segment_bytes(c.mss);
    if ((c.mode & tx::l4_type) == tx::l4_tcp) {
        if (l4 + 20 > frame.header_bytes) return;
        store_be32(&bytes[l4 + 4], load_be32(&bytes[l4 + 4]) + offset);
        // DTXTCPFLGL and DTXTCPFLGH: which flags the first, the middle and the last segment keep.
        const std::uint32_t low = core_.registers[reg::dtxtcpflgl];
        const std::uint32_t mask = frame.last ? core_.registers[reg::dtxtcpflgh] : frame.segment == 0 ? low : low >> 16;
        if (!(frame.last && frame.segment == 0)) {
            bytes[l4 + tcp_flags_at] &= static_cast<std::byte>(mask);
        }
    } else if ((c.mode & tx::l4_type) == tx::l4_udp) {
        if (l4 + 8 > frame.header_bytes) return;
        store_be16(&bytes[l4 + 4], static_cast<std::uint16_t>(bytes.size() - l4));
    }
}

void Transmit::insert_checksums(const Frame& frame, std::span<std::byte> bytes) {
    if ((frame.flags & tx::extended) == 0) {
        const std::size_t start = frame.options >> 8 & 0xff;
        const std::size_t at = frame.flags >> 16 & 0xff;
        if ((frame.flags & tx::legacy_insert_checksum) != 0 && start < bytes.size() && at + 2 <= bytes.size()) {
            store_be16(&bytes[at], static_cast<std::uint16_t>(~fold(ones_sum(bytes.subspan(start)))));
        }
        return;
    }
    const TxContext& c = frame.context;
    const std::size_t l3 = tx::mac_bytes(c.macip);
    const std::size_t l4 = l3 + tx::ip_bytes(c.macip);
    if ((frame.options & tx::insert_ip_checksum) != 0 && (c.mode & tx::ipv4) != 0 && l3 + 20 <= l4 &&
        l4 <= bytes.size()) {
        store_be16(&bytes[l3 + 10], 0);
        store_be16(&bytes[l3 + 10], static_cast<std::uint16_t>(~fold(ones_sum(bytes.subspan(l3, l4 - l3)))));
    }
    if ((frame.options & tx::insert_l4_checksum) == 0 || l4 >= bytes.size()) return;
    const std::span<std::byte> packet = bytes.subspan(l4);
    const std::uint32_t type = c.mode & tx::l4_type;
    if (type == tx::l4_sctp) {
        if (packet.size() < 12) return;
        const std::uint32_t crc = sctp_crc(packet);
        std::memcpy(&packet[sctp_checksum_at], &crc, 4);
        return;
    }
    const std::size_t at = type == tx::l4_tcp ? tcp_checksum_at : udp_checksum_at;
    if (packet.size() < at + 2) return;
    // The field holds the pseudo header's sum; with segmentation that is without the length, which differs.
    std::uint64_t sum = ones_sum(packet);
    if (frame.header_bytes != 0) sum += packet.size();
    const auto checksum = static_cast<std::uint16_t>(~fold(sum));
    store_be16(&packet[at], type == tx::l4_udp && checksum == 0 ? 0xffff : checksum);
}

void Transmit::commit() {
    too_early_until_ = {};
    while (frames_.first() != finish_) {
        Frame& f = frames_.front();
        if (!f.dropped && !commit(f)) return;
        if (f.reserved != 0) memory_.release(f.place, f.reserved);
        frames_.pop();
        again_ = true;
    }
    if (frames_.empty()) {
        frames_.rewind();
        finish_ = 0;
    }
}

namespace {

// Descriptors and data are read; the adapter holds the frame; then it is under way to its end.
void mark_sent(const Core& core, std::span<const std::byte> frame, sim::Time read, sim::Time start, sim::Time end,
               sim::Cause last) {
    sim::Journeys& journeys = core.scope.journeys();
    const sim::RequestId id = journeys.identify(frame);
    journeys.mark(id, "pci.dma", read);
    journeys.mark(id, "nic", start);
    journeys.mark(id, last, end);
}

}  // namespace

// In the order of packet_record.h.
void Transmit::explain(PacketEnd end, const Frame& frame, sim::Time from, sim::Time to) const {
    const Moments& m = frame.moments;
    core_.scope.trace("packet", static_cast<unsigned>(end), frame.queue, frame.length, m.rung.ps(), m.asked.ps(),
                      m.came.ps(), frame.started.ps(), frame.read.ps(), in_order(frame).ps(), frame.ready.ps(),
                      from.ps(), to.ps());
}

// False: not yet.
bool Transmit::commit(Frame& frame) {
    const sim::Time now = core_.scope.now();
    const sim::Time limit = now + core_.profile.commit_ahead;
    const std::span<const std::byte> bytes = memory_.span(frame.place, frame.length);
    Statistics& counts = core_.statistics;
    if (frame.pools != 0) {
        const sim::Time start = std::max(frame.ready, loopback_free_);
        // Little ahead, so that frames from the wire do not wait behind it.
        const sim::Time ahead = core_.profile.transmit_path * 2;
        if (start > now + ahead) {
            wait_until(start - ahead / 2, start - ahead);
            return false;
        }
        const sim::Time end =
            start + sim::Time::ps(static_cast<std::int64_t>(frame.length) * core_.profile.loopback_byte_ps);
        if (loopback_.loop_back(bytes, frame.info, frame.pools, frame.inexact, core_.pool_of(frame.queue), end)) {
            ++counts.loopback;
            explain(PacketEnd::loopback, frame, start, end);
            if (core_.scope.journeys().on()) mark_sent(core_, bytes, in_order(frame), start, end, "nic");
        } else if ((core_.registers[reg::lbdrpen] & 1) != 0) {
            ++counts.loopback_drops;
        } else {
            return false;
        }
        loopback_free_ = end;
        frame.pools = 0;
    }
    if (frame.wire) {
        if (!core_.link_up) {
            ++counts.link_down_drops;
        } else {
            const sim::Time start = std::max({frame.ready, wire_free_, paused_until_});
            if (start > limit) {
                // Several at a time.
                wait_until(start - core_.profile.commit_ahead / 2, start - core_.profile.commit_ahead);
                return false;
            }
            const sim::Time end = start + core_.profile.wire_time(frame.length);
            wire_free_ = end;
            const std::uint32_t octets = frame.length + Profile::fcs_bytes;
            DirectionStatistics& sent = counts.sent;
            ++sent.packets;
            sent.octets += octets;
            ++sent.by_size[size_class(octets)];
            sent.broadcast += frame.info.destination == broadcast_mac ? 1 : 0;
            sent.multicast += is_multicast(frame.info.destination) && frame.info.destination != broadcast_mac ? 1 : 0;
            explain(PacketEnd::wire, frame, start, end);
            if (core_.scope.journeys().on()) mark_sent(core_, bytes, in_order(frame), start, end, "wire");
            core_.wire.transmit(bytes, start, end);
        }
    }
    const std::uint32_t octets = frame.length + Profile::fcs_bytes;
    ++counts.queue_sent[frame.queue];
    counts.queue_sent_octets[frame.queue] += octets;
    FunctionStatistics& function = counts.functions[core_.pool_of(frame.queue)];
    ++function.sent;
    function.sent_octets += octets;
    if (core_.watcher != nullptr) core_.watcher->sent(core_.pool_of(frame.queue), bytes);
    return true;
}

}  // namespace sriov_nic
