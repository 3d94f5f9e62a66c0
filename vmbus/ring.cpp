#include "vmbus/ring.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "sim/check.h"

namespace vmbus {
namespace {

template <class T>
std::span<const std::byte> view(const T& value) {
    return std::as_bytes(std::span{&value, 1});
}
template <class T>
std::span<std::byte> writable(T& value) {
    return std::as_writable_bytes(std::span{&value, 1});
}
// Puts it at the front of `to`, and answers what is behind it.
std::span<std::byte> put(std::span<std::byte> to, std::span<const std::byte> bytes) {
    if (!bytes.empty()) std::memcpy(to.data(), bytes.data(), bytes.size());
    return to.subspan(bytes.size());
}

std::uint32_t used_bytes(std::uint32_t write, std::uint32_t read, std::uint32_t size) {
    return write >= read ? write - read : size - (read - write);
}
std::uint32_t advanced(std::uint32_t index, std::uint32_t by, std::uint32_t size) {
    const std::uint32_t sum = index + by;
    return sum >= size ? sum - size : sum;
}

constexpr std::array<std::string_view, ring_fault_count> fault_names{
    "none",          "memory",        "write_index", "read_index", "available", "packet_type",
    "packet_length", "packet_header", "range_count", "range",      "too_small"};

}  // namespace

std::string_view name_of(RingFault fault) {
    return fault_names[static_cast<std::size_t>(fault)];
}

// Reader
// ----------------------------------------------------------------------------------------------------------------

void RingReader::attach(PageList pages) {
    VG_CHECK(pages.size() >= 2 * page_bytes && pages.size() <= 0xffff'f000);
    pages_ = std::move(pages);
    data_bytes_ = static_cast<std::uint32_t>(pages_.size() - RingControl::data);
}

void RingReader::detach() {
    pages_ = {};
    data_bytes_ = 0;
    state_ = {};
}

bool RingReader::load(GuestMemory& memory, std::uint64_t at, std::uint32_t& word) const {
    return pages_.read(memory, at, writable(word));
}
bool RingReader::store(GuestMemory& memory, std::uint64_t at, std::uint32_t word) const {
    return pages_.write(memory, at, view(word));
}

bool RingReader::start(GuestMemory& memory) {
    state_ = {};
    std::uint32_t read = 0;
    if (!load(memory, RingControl::read_index, read)) return failed(RingFault::memory);
    if (read >= data_bytes_ || read % 8 != 0) return failed(RingFault::read_index);
    state_.read = state_.committed = read;
    if (!load_write_index(memory)) return false;
    return set_mask(memory, false);
}

bool RingReader::load_write_index(GuestMemory& memory) {
    std::uint32_t write = 0;
    if (!load(memory, RingControl::write_index, write)) return failed(RingFault::memory);
    if (write >= data_bytes_ || write % 8 != 0) return failed(RingFault::write_index);
    state_.write = write;
    return true;
}

bool RingReader::set_mask(GuestMemory& memory, bool masked) {
    if (!store(memory, RingControl::interrupt_mask, masked ? 1 : 0)) return failed(RingFault::memory);
    state_.masked = masked;
    return true;
}

bool RingReader::waiting(GuestMemory& memory) {
    if (state_.fault != RingFault::none || data_bytes_ == 0) return false;
    return state_.read != state_.write || (load_write_index(memory) && state_.read != state_.write);
}

bool RingReader::writer_supports_pending(GuestMemory& memory) const {
    std::uint32_t bits = 0;
    return load(memory, RingControl::feature_bits, bits) && (bits & RingControl::feature_pending_send_size) != 0;
}

RingReader::Result RingReader::receive(GuestMemory& memory, Packet& packet) {
    if (state_.fault != RingFault::none) return Result::fault;
    if (data_bytes_ == 0) return Result::empty;
    if (state_.read == state_.write) {
        if (!load_write_index(memory)) return Result::fault;
        if (state_.read == state_.write) {
            // The writer signals only an empty ring, as it sees it: first it must see it empty. What it wrote just
            // before it did is found by looking once more.
            const bool released = state_.read != state_.committed;
            if (!commit(memory)) return Result::fault;
            if (!released && !state_.masked) return Result::empty;
            if (state_.masked && !set_mask(memory, false)) return Result::fault;
            if (!load_write_index(memory)) return Result::fault;
            if (state_.read == state_.write) return Result::empty;
        }
    }
    if (mode_ == ReadMode::batched && !state_.masked && !set_mask(memory, true)) return Result::fault;
    return take(memory, packet) ? Result::packet : Result::fault;
}

bool RingReader::commit(GuestMemory& memory) {
    if (state_.fault != RingFault::none) return false;
    if (state_.read == state_.committed) return true;
    if (!store(memory, RingControl::read_index, state_.read)) return failed(RingFault::memory);
    const std::uint32_t before = state_.committed;
    state_.committed = state_.read;
    RingControl control;
    if (!pages_.read(memory, 0, writable(control))) return failed(RingFault::memory);
    if (control.write >= data_bytes_ || control.write % 8 != 0) return failed(RingFault::write_index);
    // Some writers ask for the whole ring but a byte: the low bits mean nothing.
    const std::uint32_t wanted = control.pending & ~7u;
    if (wanted == 0) return true;
    if (end_ == RingEnd::guest && !writer_supports_pending(memory)) return true;
    const std::uint32_t free_before = data_bytes_ - used_bytes(control.write, before, data_bytes_);
    const std::uint32_t free_now = data_bytes_ - used_bytes(control.write, state_.read, data_bytes_);
    if (free_before <= wanted && free_now > wanted) state_.signal = true;
    return true;
}

bool RingReader::copy_out(GuestMemory& memory, std::uint32_t at, std::span<std::byte> out) const {
    const std::uint32_t to_end = data_bytes_ - at;
    if (out.size() <= to_end) return pages_.read(memory, RingControl::data + at, out);
    return pages_.read(memory, RingControl::data + at, out.first(to_end)) &&
           pages_.read(memory, RingControl::data, out.subspan(to_end));
}

// One packet, of which nothing is used that was not copied and checked.
bool RingReader::take(GuestMemory& memory, Packet& packet) {
    const std::uint32_t available = used_bytes(state_.write, state_.read, data_bytes_);
    if (available < sizeof(PacketDescriptor)) return failed(RingFault::available);
    PacketDescriptor descriptor;
    if (!copy_out(memory, state_.read, writable(descriptor))) return failed(RingFault::memory);
    const std::uint32_t header_bytes = descriptor.offset8 * 8u;
    const std::uint32_t length = descriptor.length8 * 8u;
    if (length + packet_trailer_bytes > available) return failed(RingFault::packet_length);
    if (header_bytes < sizeof descriptor || header_bytes > length) return failed(RingFault::packet_header);

    packet.wants_completion = (descriptor.flags & PacketDescriptor::completion_requested) != 0;
    packet.transaction = descriptor.transaction;
    packet.page_set = 0;
    packet.transfers.clear();
    const std::uint32_t extension = header_bytes - static_cast<std::uint32_t>(sizeof descriptor);
    PacketBytes kept(extension);
    const std::span<std::byte> header = kept.bytes();
    const std::uint32_t extension_at = advanced(state_.read, sizeof descriptor, data_bytes_);
    if (extension != 0 && !copy_out(memory, extension_at, header)) return failed(RingFault::memory);
    packet.type = static_cast<PacketType>(descriptor.type);
    switch (packet.type) {
        case PacketType::inband:
        case PacketType::completion:
            packet.ranges.clear();
            break;
        case PacketType::transfer_pages:
            packet.ranges.clear();
            if (!parse_transfer_pages(header, packet)) return false;
            break;
        case PacketType::gpa_direct:
            if (!parse_gpa_direct(header, packet)) return false;
            break;
        default:
            return failed(RingFault::packet_type);
    }
    packet.payload.resize(length - header_bytes);
    const std::uint32_t payload_at = advanced(state_.read, header_bytes, data_bytes_);
    if (!packet.payload.empty() && !copy_out(memory, payload_at, packet.payload)) return failed(RingFault::memory);
    state_.read = advanced(state_.read, length + packet_trailer_bytes, data_bytes_);
    return true;
}

bool RingReader::parse_transfer_pages(std::span<const std::byte> header, Packet& packet) {
    TransferPagesHeader fixed;
    if (header.size() < sizeof fixed) return failed(RingFault::packet_header);
    std::memcpy(&fixed, header.data(), sizeof fixed);
    header = header.subspan(sizeof fixed);
    if (fixed.range_count > header.size() / sizeof(TransferRange)) return failed(RingFault::range_count);
    packet.page_set = fixed.page_set;
    packet.transfers.resize(fixed.range_count);
    if (fixed.range_count != 0)
        std::memcpy(packet.transfers.data(), header.data(), fixed.range_count * sizeof(TransferRange));
    return true;
}

bool RingReader::parse_gpa_direct(std::span<const std::byte> header, Packet& packet) {
    GpaDirectHeader fixed;
    if (header.size() < sizeof fixed) return failed(RingFault::packet_header);
    std::memcpy(&fixed, header.data(), sizeof fixed);
    header = header.subspan(sizeof fixed);
    // Each takes at least its own header and one page.
    if (fixed.range_count > header.size() / (2 * sizeof(std::uint64_t))) return failed(RingFault::range_count);
    packet.ranges.resize(fixed.range_count);
    for (GpaRange& range : packet.ranges) {
        GpaRangeHeader head;
        if (header.size() < sizeof head) return failed(RingFault::range);
        std::memcpy(&head, header.data(), sizeof head);
        header = header.subspan(sizeof head);
        if (head.length == 0 || head.offset >= page_bytes) return failed(RingFault::range);
        const std::uint64_t pages = (std::uint64_t{head.offset} + head.length + page_bytes - 1) / page_bytes;
        if (pages > header.size() / sizeof(std::uint64_t)) return failed(RingFault::range);
        range.length = head.length;
        range.offset = head.offset;
        range.pages.resize(static_cast<std::size_t>(pages));
        std::memcpy(range.pages.data(), header.data(), range.pages.size() * sizeof(std::uint64_t));
        header = header.subspan(range.pages.size() * sizeof(std::uint64_t));
    }
    return true;
}

// Writer
// ----------------------------------------------------------------------------------------------------------------

void RingWriter::attach(PageList pages) {
    VG_CHECK(pages.size() >= 2 * page_bytes && pages.size() <= 0xffff'f000);
    pages_ = std::move(pages);
    data_bytes_ = static_cast<std::uint32_t>(pages_.size() - RingControl::data);
}

void RingWriter::detach() {
    pages_ = {};
    data_bytes_ = 0;
    state_ = {};
}

bool RingWriter::store(GuestMemory& memory, std::uint64_t at, std::uint32_t word) const {
    return pages_.write(memory, at, view(word));
}

bool RingWriter::start(GuestMemory& memory) {
    state_ = {};
    RingControl control;
    if (!pages_.read(memory, 0, writable(control))) return failed(RingFault::memory);
    if (control.write >= data_bytes_ || control.write % 8 != 0) return failed(RingFault::write_index);
    state_.write = state_.committed = control.write;
    if (!load_read_index(memory) || !set_pending(memory, 0)) return false;
    if (!store(memory, RingControl::feature_bits, RingControl::feature_pending_send_size))
        return failed(RingFault::memory);
    return true;
}

bool RingWriter::make(GuestMemory& memory) {
    state_ = {};
    if (!pages_.write(memory, 0, view(RingControl{})) ||
        !store(memory, RingControl::feature_bits, RingControl::feature_pending_send_size)) {
        return failed(RingFault::memory);
    }
    return true;
}

bool RingWriter::load_read_index(GuestMemory& memory) {
    std::uint32_t read = 0;
    if (!pages_.read(memory, RingControl::read_index, writable(read))) return failed(RingFault::memory);
    if (read >= data_bytes_ || read % 8 != 0) return failed(RingFault::read_index);
    state_.read = read;
    return true;
}

bool RingWriter::set_pending(GuestMemory& memory, std::uint32_t bytes) {
    if (!store(memory, RingControl::pending_send_size, bytes)) return failed(RingFault::memory);
    state_.pending = bytes;
    return true;
}

bool RingWriter::copy_in(GuestMemory& memory, std::uint32_t at, std::span<const std::byte> data) const {
    const std::uint32_t to_end = data_bytes_ - at;
    if (data.size() <= to_end) return pages_.write(memory, RingControl::data + at, data);
    return pages_.write(memory, RingControl::data + at, data.first(to_end)) &&
           pages_.write(memory, RingControl::data, data.subspan(to_end));
}

RingWriter::Result RingWriter::write(GuestMemory& memory, PacketDescriptor descriptor,
                                     std::span<const std::byte> extension, std::span<const std::byte> payload) {
    if (state_.fault != RingFault::none) return Result::fault;
    const std::size_t header_bytes = sizeof descriptor + extension.size();
    const std::size_t length = (header_bytes + payload.size() + 7) / 8 * 8;
    VG_CHECK(extension.size() % 8 == 0 && length <= longest_packet);
    const auto total = static_cast<std::uint32_t>(length + packet_trailer_bytes);
    if (total >= data_bytes_) {
        (void)failed(RingFault::too_small);
        return Result::fault;
    }
    if (room() <= total) {
        if (!load_read_index(memory)) return Result::fault;
        if (room() <= total) {
            // Say how much is missing, then look again: the reader may have gone on meanwhile, and then it did not see
            // what it was asked for.
            if (!commit(memory) || !set_pending(memory, total) || !load_read_index(memory)) return Result::fault;
            if (room() <= total) return Result::full;
        }
    }
    if (state_.pending != 0 && !set_pending(memory, 0)) return Result::fault;
    descriptor.offset8 = static_cast<std::uint16_t>(header_bytes / 8);
    descriptor.length8 = static_cast<std::uint16_t>(length / 8);
    PacketBytes packet(total);
    std::span<std::byte> rest = put(put(put(packet.bytes(), view(descriptor)), extension), payload);
    const std::size_t padding = length - header_bytes - payload.size();
    std::ranges::fill(rest.first(padding), std::byte{});
    const std::uint64_t trailer = std::uint64_t{state_.write} << 32;
    (void)put(rest.subspan(padding), view(trailer));
    if (!copy_in(memory, state_.write, packet.bytes())) {
        (void)failed(RingFault::memory);
        return Result::fault;
    }
    state_.write = advanced(state_.write, total, data_bytes_);
    return Result::written;
}

bool RingWriter::commit(GuestMemory& memory) {
    if (state_.fault != RingFault::none) return false;
    if (state_.write == state_.committed) return true;
    if (!store(memory, RingControl::write_index, state_.write)) return failed(RingFault::memory);
    RingControl control;
    if (!pages_.read(memory, 0, writable(control))) return failed(RingFault::memory);
    if (control.read >= data_bytes_ || control.read % 8 != 0) return failed(RingFault::read_index);
    // Only a reader that may have seen the ring empty waits for a signal.
    if (control.mask == 0 && control.read == state_.committed) state_.signal = true;
    state_.read = control.read;
    state_.committed = state_.write;
    return true;
}

// Both
// ----------------------------------------------------------------------------------------------------------------

RingWriter::Result RingPair::send(GuestMemory& memory, PacketType type, std::uint64_t transaction,
                                  bool wants_completion, std::span<const std::byte> payload) {
    PacketDescriptor descriptor;
    descriptor.type = static_cast<std::uint16_t>(type);
    descriptor.flags = wants_completion ? PacketDescriptor::completion_requested : 0;
    descriptor.transaction = transaction;
    return out.write(memory, descriptor, {}, payload);
}

RingWriter::Result RingPair::send_transfer_pages(GuestMemory& memory, std::uint64_t transaction, std::uint16_t page_set,
                                                 std::span<const TransferRange> ranges,
                                                 std::span<const std::byte> payload) {
    PacketDescriptor descriptor;
    descriptor.type = static_cast<std::uint16_t>(PacketType::transfer_pages);
    descriptor.flags = PacketDescriptor::completion_requested;
    descriptor.transaction = transaction;
    TransferPagesHeader header;
    header.page_set = page_set;
    header.range_count = static_cast<std::uint32_t>(ranges.size());
    PacketBytes extension(sizeof header + ranges.size_bytes());
    (void)put(put(extension.bytes(), view(header)), std::as_bytes(ranges));
    return out.write(memory, descriptor, extension.bytes(), payload);
}

RingWriter::Result RingPair::send_gpa_direct(GuestMemory& memory, std::uint64_t transaction,
                                             std::span<const GpaRange> ranges, std::span<const std::byte> payload) {
    PacketDescriptor descriptor;
    descriptor.type = static_cast<std::uint16_t>(PacketType::gpa_direct);
    descriptor.flags = PacketDescriptor::completion_requested;
    descriptor.transaction = transaction;
    GpaDirectHeader header;
    header.range_count = static_cast<std::uint32_t>(ranges.size());
    std::size_t bytes = sizeof header;
    for (const GpaRange& range : ranges) bytes += sizeof(GpaRangeHeader) + range.pages.size() * sizeof range.pages[0];
    PacketBytes extension(bytes);
    std::span<std::byte> rest = put(extension.bytes(), view(header));
    for (const GpaRange& range : ranges) {
        rest = put(put(rest, view(GpaRangeHeader{range.length, range.offset})), std::as_bytes(std::span{range.pages}));
    }
    return out.write(memory, descriptor, extension.bytes(), payload);
}

}  // namespace vmbus
