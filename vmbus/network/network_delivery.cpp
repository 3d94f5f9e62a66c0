// Frames into the guest's receive buffer, many in one packet.
#include <array>
#include <cstring>
#include <utility>

#include "vmbus/network/network_queue.h"
#include "vmbus/network/rndis_packet.h"

namespace vmbus {

namespace {

constexpr std::size_t ranges_per_packet = 375;  // Hyper-V's, of a driver that knows NDIS 6

}  // namespace

void NetworkProvider::Queue::finish_frames() {
    std::vector<IncomingFrame> frames = std::exchange(state_.piece.to_deliver, {});
    auto& agreed = provider_.state_;
    ReceiveBuffer& buffer = agreed.receive_buffer;
    std::vector<std::uint32_t> sections;
    std::vector<TransferRange> ranges;
    const auto drop = [&](NetworkDrop reason, std::size_t count) {
        provider_.count_drop(reason, count);
        agreed.to_guest.discards += count;
        if (reason == NetworkDrop::no_sections) agreed.to_guest.no_buffer += count;
    };
    std::vector<std::size_t> packed;  // frames in `sections`
    const auto send = [&] {
        if (packed.empty()) return;
        if (deliver(sections, ranges)) {
            std::uint64_t bytes = 0;
            for (const std::size_t n : packed) {
                agreed.to_guest.add(frames[n].bytes);
                bytes += frames[n].bytes.size();
            }
            frames_received_.add(packed.size());
            bytes_received_.add(bytes);
            provider_.scope_.trace("network_to_guest", index_, packed.size(), bytes);
        } else {
            drop(NetworkDrop::ring_full, packed.size());
        }
        packed.clear();
        sections.clear();
        ranges.clear();
    };
    sim::Journeys& journeys = provider_.scope_.journeys();
    for (std::size_t n = 0; n < frames.size(); ++n) {
        const IncomingFrame& frame = frames[n];
        if (journeys.on()) journeys.mark_frame(frame.bytes, "root.network", provider_.scope_.now());
        if (!provider_.ready()) {
            drop(buffer.established() ? NetworkDrop::not_ready : NetworkDrop::no_buffer, 1);
            continue;
        }
        const std::size_t needed = sections_needed(frame.bytes.size(), buffer.section_bytes());
        if (ranges.size() + needed > ranges_per_packet) send();
        if (needed > buffer.free_for_frames()) {
            drop(NetworkDrop::no_sections, 1);
            continue;
        }
        const auto taken = buffer.take_for_frames(needed);
        const auto messages =
            receive_messages(frame, provider_.rndis_.offloads(), buffer.section_bytes(), agreed.packet_id);
        if (messages.size() > 1) ++agreed.packet_id;
        bool written = true;
        for (std::size_t k = 0; k < needed && written; ++k) {
            const std::uint64_t offset = buffer.offset(taken[k]);
            written = buffers().gpadl_write(buffer.gpadl(), offset, messages[k]);
            ranges.push_back({static_cast<std::uint32_t>(messages[k].size()), static_cast<std::uint32_t>(offset)});
        }
        if (!written) {
            // The guest has taken its buffer away without a word.
            buffer.give_back(taken);
            buffer.give_back(sections);
            drop(NetworkDrop::no_buffer, packed.size() + 1);
            packed.clear();
            sections.clear();
            ranges.clear();
            provider_.revoke_receive_buffer();
            continue;
        }
        sections.insert(sections.end(), taken.begin(), taken.end());
        packed.push_back(n);
    }
    send();
}

bool NetworkProvider::Queue::deliver(std::vector<std::uint32_t>& sections, std::vector<TransferRange>& ranges) {
    ReceiveBuffer& buffer = provider_.state_.receive_buffer;
    const nvsp::SendRndisPacket header;
    if (!channel_->send_transfer_pages(ReceiveBuffer::transaction_of(sections.front()), buffer.id(), ranges,
                                       nvsp::padded(header))) {
        buffer.give_back(sections);
        return false;
    }
    buffer.sent(index_, sections);
    return true;
}

}  // namespace vmbus
