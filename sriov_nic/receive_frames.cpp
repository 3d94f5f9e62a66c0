// Which queue of a pool a frame goes to, how it lies in the buffers, and what the descriptors tell of it.
#include <algorithm>
#include <array>

#include "sriov_nic/receive.h"

namespace sriov_nic {

namespace {

// PSRTYPE: up to which header a frame may be split, and how many bits of the redirection table count.
constexpr std::uint32_t split_tcp = 1u << 4, split_udp = 1u << 5, split_ipv4 = 1u << 8, split_ipv6 = 1u << 9,
                        split_l2 = 1u << 12;
constexpr unsigned redirection_bits(std::uint32_t psrtype) {
    return psrtype >> 29;
}

std::uint32_t split_at(const FrameInfo& info, std::uint32_t psrtype) {
    if ((info.types & rx::type_tcp) != 0 && (psrtype & split_tcp) != 0) return info.payload;
    if ((info.types & rx::type_udp) != 0 && (psrtype & split_udp) != 0) return info.payload;
    const bool v4 = (info.types & rx::type_ipv4) != 0 && (psrtype & split_ipv4) != 0;
    const bool v6 = (info.types & rx::type_ipv6) != 0 && (psrtype & split_ipv6) != 0;
    if ((v4 || v6) && info.l4 != 0) return info.l4;
    if ((psrtype & split_l2) != 0 && info.l3 != 0) return info.l3;
    return 0;
}

}  // namespace

Receive::Hash Receive::hash_of(const Frame& frame) {
    if (!hash_valid_) {
        std::array<std::byte, 40> key{};
        for (unsigned i = 0; i < 10; ++i) {
            const std::uint32_t word = core_.registers[reg::rssrk + 4 * i];
            std::memcpy(&key[4 * i], &word, 4);
        }
        std::array<std::byte, hash_bytes> input{};
        for (unsigned at = 0; at < hash_bytes; ++at) {
            auto& table = hash_table_[at];
            for (unsigned value = 1; value < 256; ++value) {
                const unsigned rest =
                    value & (value - 1);  // without the lowest bit: the hash of a sum is the sum of both
                input[at] = static_cast<std::byte>(value);
                table[value] =
                    rest != 0 ? table[rest] ^ table[value ^ rest] : toeplitz(std::span{input}.first(at + 1), key);
            }
            input[at] = {};
        }
        hash_valid_ = true;
    }
    const std::uint32_t kinds = core_.registers[reg::mrqc];
    const FrameInfo& info = frame.info;
    const std::byte* bytes = memory_.at(frame.place);
    const bool v4 = (info.types & rx::type_ipv4) != 0;
    if (!v4 && (info.types & rx::type_ipv6) == 0) return {};
    Hash hash;
    bool ports = false;
    if ((info.types & rx::type_tcp) != 0 && (kinds & (v4 ? mrqc::ipv4_tcp : mrqc::ipv6_tcp)) != 0) {
        hash.type = v4 ? rx::rss_ipv4_tcp : rx::rss_ipv6_tcp;
        ports = true;
    } else if ((info.types & rx::type_udp) != 0 && (kinds & (v4 ? mrqc::ipv4_udp : mrqc::ipv6_udp)) != 0) {
        hash.type = v4 ? rx::rss_ipv4_udp : rx::rss_ipv6_udp;
        ports = true;
    } else if ((kinds & (v4 ? mrqc::ipv4 : mrqc::ipv6)) != 0) {
        hash.type = v4 ? rx::rss_ipv4 : rx::rss_ipv6;
    } else {
        return {};
    }
    const std::size_t at = v4 ? info.l3 + 12u : info.l3 + 8u;
    const unsigned addresses = v4 ? 8 : 32;
    for (unsigned i = 0; i < addresses; ++i) hash.value ^= hash_table_[i][std::to_integer<unsigned>(bytes[at + i])];
    for (unsigned i = 0; ports && i < 4; ++i) {
        hash.value ^= hash_table_[addresses + i][std::to_integer<unsigned>(bytes[info.l4 + i])];
    }
    return hash;
}

unsigned Receive::queue_for(const Frame& frame, unsigned pool) {
    const std::uint32_t mode = core_.registers[reg::mrqc] & mrqc::mode;
    const unsigned first = pool << core_.pool_shift;
    unsigned bits = 4;  // without pools, 16 queues
    if (core_.bridge.virtualization()) {
        if (mode != mrqc::vmdq_rss_32 && mode != mrqc::vmdq_rss_64) return first;
        bits = std::min(redirection_bits(core_.registers[reg::psrtype_table + 4 * pool]), core_.pool_shift);
    } else if (mode != mrqc::rss) {
        return 0;
    }
    if (bits == 0) return first;
    const Hash hash = hash_of(frame);
    if (hash.type == 0) return first;
    const unsigned entry = hash.value & 0x7f;
    const std::uint32_t word = core_.registers[reg::reta + (entry & ~3u)];
    const unsigned queue = word >> (entry & 3) * 8 & ((1u << bits) - 1);
    return (core_.bridge.virtualization() ? first : 0) + queue;
}

Receive::Layout Receive::layout_of(const Frame& frame, unsigned queue) const {
    const Queue& q = queues_[queue];
    Layout layout;
    layout.skipped = frame.info.tagged && (q.control & rxdctl::vlan_strip) != 0 ? vlan_bytes : 0;
    layout.length = frame.length - layout.skipped;
    layout.buffer = srrctl::buffer_bytes(q.split);
    const std::uint32_t type = srrctl::type(q.split);
    if (type == srrctl::advanced_split || type == srrctl::advanced_split_always) {
        const std::uint32_t room = srrctl::header_bytes(q.split);
        std::uint32_t header = split_at(frame.info, core_.registers[reg::psrtype_table + 4 * core_.pool_of(queue)]);
        if (header > layout.skipped) header -= layout.skipped;
        layout.splits = header != 0 && header <= room;
        layout.overflow = header > room;
        if (layout.splits) layout.header = header;
        if (!layout.splits && type == srrctl::advanced_split_always) layout.header = std::min(layout.length, room);
    }
    const std::uint32_t data = layout.length - layout.header;
    layout.descriptors = layout.buffer == 0 ? cache_size + 1 : std::max(1u, (data + layout.buffer - 1) / layout.buffer);
    return layout;
}

// Checksums are verified, never corrected; what was not looked at has its bit clear (7.1.11).
std::uint32_t Receive::status_of(const Frame& frame) {
    const FrameInfo& info = frame.info;
    std::uint32_t status = 0;
    if (frame.looped) status |= rx::loopback;
    if (frame.inexact) status |= rx::inexact;
    if (info.l3 == 0) return status;
    const std::span<const std::byte> bytes = memory_.span(frame.place, frame.length);
    if ((info.types & rx::type_ipv4) != 0) {
        const std::size_t header = (std::to_integer<std::size_t>(bytes[info.l3]) & 15) * 4;
        status |= rx::ip_checksum;
        if (fold(ones_sum(bytes.subspan(info.l3, header))) != 0xffff) status |= rx::ip_error;
    }
    if (info.l4 == 0 || info.ip_end > frame.length || info.ip_end < info.payload) return status;
    const auto packet = bytes.subspan(info.l4, static_cast<std::size_t>(info.ip_end - info.l4));
    if ((info.types & rx::type_sctp) != 0) {
        std::uint32_t crc = 0;
        std::memcpy(&crc, &packet[8], 4);
        status |= rx::l4_checksum;
        if (crc != sctp_crc(packet)) status |= rx::l4_error;
        return status;
    }
    if ((info.types & rx::type_udp) != 0) {
        if (load_be16(&packet[6]) == 0) return status;  // the sender made none
        status |= rx::udp_checksum;
    }
    status |= rx::l4_checksum;
    const std::uint64_t sum = std::uint64_t{ones_sum(packet)} + pseudo_sum(bytes, info) + packet.size();
    if (fold(sum) != 0xffff) status |= rx::l4_error;
    return status;
}

// Descriptor `n` of the frame's, as software finds it.
Descriptor Receive::written_back(const Frame& frame, const Queue& q, const Layout& layout, std::uint32_t n) {
    const std::uint32_t data = layout.length - layout.header;
    const std::uint32_t begin = n * layout.buffer;
    const std::uint32_t bytes = std::min(data - std::min(data, begin), layout.buffer);
    const bool last = n + 1 == layout.descriptors;
    std::uint32_t status = rx::done;
    std::uint32_t tag = 0;
    if (last) {
        status |= rx::end_of_packet | status_of(frame);
        if (layout.skipped != 0) {
            status |= rx::vlan;
            tag = frame.info.vlan_tag;
        }
    }
    if (layout.overflow) status |= rx::header_overflow;
    if (srrctl::type(q.split) == srrctl::legacy) {
        const std::uint64_t errors = status >> 24 & 0xc0;  // TCPE and IPE
        Descriptor d = q.cache[(q.used + n) % cache_size];
        d.high = bytes | std::uint64_t{status & 0xff} << 32 | errors << 40 | std::uint64_t{tag} << 48;
        return d;
    }
    const Hash hash = last ? hash_of(frame) : Hash{};
    std::uint32_t first = hash.type | frame.info.types << 4;
    constexpr std::uint32_t header_length = 0x3ff;  // of ten bits
    if (n == 0 && layout.header != 0) {
        first |= (layout.header & header_length) << 21 | (layout.splits ? 1u << 31 : 0);
    }
    Descriptor d;
    d.low = std::uint64_t{hash.value} << 32 | first;
    d.high = std::uint64_t{tag} << 48 | std::uint64_t{bytes} << 32 | status;
    return d;
}

// The part of the frame that lies in buffer `n`. With a stripped tag the first one is in two pieces on chip.
bool Receive::write_data(const Frame& frame, std::uint64_t address, unsigned function, std::uint32_t skipped,
                         std::uint32_t begin, std::uint32_t bytes) {
    if (bytes == 0) return true;
    constexpr std::uint32_t addresses_bytes = 12;
    if (skipped != 0 && begin == 0) {
        // The tag lies behind the addresses: move them over it, once.
        std::byte* at = memory_.at(frame.place);
        std::array<std::byte, addresses_bytes> addresses;
        std::array<std::byte, vlan_bytes> tag;
        std::memcpy(addresses.data(), at, addresses_bytes);
        std::memcpy(tag.data(), at + addresses_bytes, vlan_bytes);
        std::memcpy(at + skipped, addresses.data(), addresses_bytes);
        const bool sent = core_.bus.write(function, address, memory_.span(frame.place + skipped, bytes));
        std::memcpy(at, addresses.data(), addresses_bytes);
        std::memcpy(at + addresses_bytes, tag.data(), vlan_bytes);
        return sent;
    }
    return core_.bus.write(function, address, memory_.span(frame.place + skipped + begin, bytes));
}

Receive::Outcome Receive::deliver(Frame& frame, unsigned pool) {
    if (!frame.placed) {
        // Filters have a bit for each of 64, of which there may be 32.
        if (pool >= core_.pools()) {
            ++core_.statistics.filtered;
            return Outcome::done;
        }
        frame.queue = static_cast<std::uint8_t>(queue_for(frame, pool));
        frame.placed = true;
        frame.step = 0;
        frame.taken = core_.scope.now();
    }
    const unsigned queue = frame.queue;
    Queue& q = queues_[queue];
    const auto drop = [&] {
        ++core_.statistics.queue_dropped[queue];
        return Outcome::done;
    };
    if (!listening(queue)) return drop();
    if ((q.control & rxdctl::length_limit_enable) != 0 &&
        frame.length + Profile::fcs_bytes > (q.control & rxdctl::length_limit)) {
        return drop();
    }
    if (coalesces(q)) {
        if (const std::optional<Outcome> outcome = coalesce(frame, queue)) return *outcome;
    }
    const Layout layout = layout_of(frame, queue);
    if (layout.descriptors > cache_size || layout.descriptors >= ring_size(q)) return drop();
    if (q.fetched - q.used < layout.descriptors) {
        evaluate(queue);
        if (q.fetched - q.used + q.fetching + waiting(q) >= layout.descriptors) return Outcome::wait;
        if (q.forced_drop || (q.split & srrctl::drop_enable) != 0) return drop();
        if (!frame.waited) ++core_.statistics.no_buffer;
        frame.waited = true;
        return Outcome::wait;
    }
    return write_out(frame, queue, layout);
}

// Step 0 is the header, then come the buffers, then the descriptors; where the bus is full it goes on later.
Receive::Outcome Receive::write_out(Frame& frame, unsigned queue, const Layout& layout) {
    Queue& q = queues_[queue];
    const unsigned function = core_.function_of(queue);
    const std::uint32_t n = layout.descriptors;
    const std::uint32_t data = layout.length - layout.header;
    for (; frame.step <= 2 * n; ++frame.step) {
        bool sent = true;
        if (frame.step == 0) frame.handed = core_.scope.now();
        if (frame.step == n + 1) frame.in_memory = last_write_done();
        if (frame.step == 0) {
            const std::uint64_t address = q.cache[q.used % cache_size].high & ~std::uint64_t{1};
            sent = write_data(frame, address, function, layout.skipped, 0, layout.header);
        } else if (frame.step <= n) {
            const std::uint32_t begin = (frame.step - 1) * layout.buffer;
            const std::uint32_t bytes = std::min(data - std::min(data, begin), layout.buffer);
            sent = write_data(frame, q.cache[(q.used + frame.step - 1) % cache_size].low, function, layout.skipped,
                              layout.header + begin, bytes);
        } else {
            const std::uint32_t i = frame.step - 1 - n;
            const auto at = static_cast<std::uint32_t>((q.first + q.used + i) % ring_size(q));
            const Descriptor d = written_back(frame, q, layout, i);
            sent = core_.bus.write(function, q.base + std::uint64_t{at} * descriptor_bytes,
                                   std::as_bytes(std::span{&d, 1}));
        }
        if (!sent) {
            core_.bus_full = true;
            return Outcome::wait;
        }
    }
    take_descriptors(queue, n);
    q.head = static_cast<std::uint32_t>((q.first + q.used) % ring_size(q));
    count(frame, queue);
    evaluate(queue);
    sim::Journeys& journeys = core_.scope.journeys();
    if (journeys.on()) {
        const sim::RequestId id = journeys.identify(memory_.span(frame.place, frame.length));
        journeys.mark(id, "wire", frame.arrived);
        journeys.mark(id, "nic", frame.ready);
        journeys.mark(id, "pci.dma", core_.scope.now());
        core_.interrupts[function]->follow(id);
    }
    const sim::Time written = last_write_done();
    explain(frame, queue, written, core_.raise(core_.vector_of(queue, Direction::receive)));
    return Outcome::done;
}

// In the order of packet_record.h. An interrupt's message goes behind the writes.
void Receive::explain(const Frame& frame, unsigned queue, sim::Time written, sim::Time told) {
    const std::size_t bytes = frame.length;
    const sim::Time transfer = frame.looped
                                   ? sim::Time::ps(static_cast<std::int64_t>(bytes) * core_.profile.loopback_byte_ps)
                                   : core_.profile.wire_time(bytes);
    core_.scope.trace("packet", static_cast<unsigned>(frame.looped ? PacketEnd::memory_looped : PacketEnd::memory),
                      queue, bytes, (frame.arrived - transfer).ps(), frame.arrived.ps(),
                      (frame.ready - core_.profile.classify).ps(), frame.ready.ps(), frame.taken.ps(),
                      frame.handed.ps(), frame.in_memory.ps(), written.ps(), std::max(written, told).ps());
}

void Receive::count(const Frame& frame, unsigned queue) {
    const std::uint32_t octets = frame.length + Profile::fcs_bytes;
    Statistics& counts = core_.statistics;
    ++counts.queue_received[queue];
    counts.queue_received_octets[queue] += octets;
    FunctionStatistics& function = counts.functions[core_.pool_of(queue)];
    ++function.received;
    function.received_octets += octets;
    if (is_multicast(frame.info.destination)) ++function.received_multicast;
    if (core_.watcher != nullptr) {
        core_.watcher->received(core_.pool_of(queue), memory_.span(frame.place, frame.length));
    }
}

}  // namespace sriov_nic
