#include "vmbus/storage/storage_client.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "sim/check.h"
#include "vmbus/channel.h"

namespace vmbus {
namespace {

using vstor::Operation;

constexpr std::size_t body_at = sizeof(vstor::Header);
constexpr std::uint64_t page = 4096;

void put_cdb(scsi::Cdb& cdb, std::size_t at, std::size_t size, std::uint64_t value) {
    scsi::put_be(std::as_writable_bytes(std::span{cdb}), at, size, value);
}

StorageIo sixteen(scsi::Opcode opcode, std::uint64_t lba, std::uint64_t blocks) {
    StorageIo io;
    io.cdb_length = 16;
    io.cdb[0] = static_cast<std::uint8_t>(opcode);
    put_cdb(io.cdb, 2, 8, lba);
    put_cdb(io.cdb, 10, 4, blocks);
    return io;
}

}  // namespace

StorageIo storage_read(std::uint64_t lba, std::uint32_t blocks, std::uint32_t block_bytes) {
    StorageIo io = sixteen(scsi::Opcode::read_16, lba, blocks);
    io.read_bytes = blocks * block_bytes;
    return io;
}

StorageIo storage_write(std::uint64_t lba, std::vector<std::byte> data, std::uint32_t block_bytes,
                        bool force_unit_access) {
    StorageIo io = sixteen(scsi::Opcode::write_16, lba, data.size() / block_bytes);
    if (force_unit_access) io.cdb[1] = 0x08;
    io.data_out = std::move(data);
    return io;
}

StorageIo storage_flush() {
    StorageIo io;
    io.cdb_length = 10;
    io.cdb[0] = static_cast<std::uint8_t>(scsi::Opcode::synchronize_cache_10);
    return io;
}

StorageIo storage_unmap(std::uint64_t lba, std::uint32_t blocks) {
    StorageIo io;
    io.cdb_length = 10;
    io.cdb[0] = static_cast<std::uint8_t>(scsi::Opcode::unmap);
    put_cdb(io.cdb, 7, 2, 24);
    io.data_out.resize(24);
    scsi::put_be(io.data_out, 0, 2, 22);
    scsi::put_be(io.data_out, 2, 2, 16);
    scsi::put_be(io.data_out, 8, 8, lba);
    scsi::put_be(io.data_out, 16, 4, blocks);
    return io;
}

StorageClient::StorageClient(const sim::Scope& scope, BusClient& bus, StorageUser& user, StorageClientConfig config,
                             const Places& places)
    : scope_(scope),
      bus_(bus),
      user_(user),
      config_(std::move(config)),
      requests_(scope.counter("requests", "count", "SCSI requests sent")),
      answers_(scope.counter("answers", "count", "completions taken")),
      strays_(scope.counter("strays", "count", "completions of nothing that was sent")),
      registration_(scope.register_state(*this)) {
    for (std::uint16_t slot = 0; slot <= config_.sub_channels; ++slot) {
        workers_.push_back(std::make_unique<Worker>(*this, slot, places(slot)));
    }
    state_.channels.resize(workers_.size());
}

StorageClient::~StorageClient() = default;

// Channels and initialization, in the order of the Linux driver.

void StorageClient::offered(ClientChannel& channel) {
    const message::OfferChannel offer = channel.offer();
    std::uint16_t slot = 0;
    if (offer.sub_channel_index != 0) {
        for (slot = 1; slot < workers_.size() && state_.channels[slot].relid != 0;) ++slot;
    }
    if (slot >= workers_.size() || state_.channels[slot].relid != 0) return;
    state_.channels[slot].relid = channel.relid();
    channel.bind(*this);
    (void)channel.open(config_.ring, workers_[slot]->vp);
}

std::uint16_t StorageClient::slot_of(const ClientChannel& channel) const {
    std::uint16_t slot = 0;
    while (slot < workers_.size() && state_.channels[slot].relid != channel.relid()) ++slot;
    VG_CHECK(slot < workers_.size());
    return slot;
}

void StorageClient::opened(ClientChannel& channel, std::uint32_t status) {
    const std::uint16_t slot = slot_of(channel);
    ChannelState& c = state_.channels[slot];
    c.open = status == 0;
    if (!c.open) {
        c.relid = 0;
        if (slot == 0) user_.storage_refused();
        return;
    }
    if (slot == 0) {
        state_.version = config_.newest_version;
        step(Phase::begin);
    }
    workers_[slot]->wake();
}

void StorageClient::signalled(ClientChannel& channel) {
    const std::uint16_t slot = slot_of(channel);
    state_.channels[slot].blocked = false;
    workers_[slot]->wake();
}

void StorageClient::rescinded(ClientChannel& channel) {
    drop_channel(slot_of(channel));
}

void StorageClient::close() {
    for (std::uint16_t slot = static_cast<std::uint16_t>(workers_.size()); slot-- > 0;) {
        if (state_.channels[slot].relid == 0) continue;
        if (ClientChannel* c = channel(slot)) c->close();
        // The offer of the primary stays with the guest; that of a sub-channel goes.
        const std::uint16_t relid = state_.channels[slot].relid;
        drop_channel(slot);
        if (slot != 0) state_.channels[slot].relid = relid;
    }
}

void StorageClient::abandon() {
    for (std::uint16_t slot = 0; slot < workers_.size(); ++slot) drop_channel(slot);
    state_.control_due = false;
    state_.reset_due = false;
}

// What was under way or waiting on it ends as aborted.
void StorageClient::drop_channel(std::uint16_t slot) {
    std::vector<std::uint64_t> tags;
    for (auto next = state_.sent.begin(); next != state_.sent.end();) {
        if (next->second.slot == slot) {
            tags.push_back(next->second.tag);
            bus_.pages().release(next->second.pages);
            next = state_.sent.erase(next);
        } else {
            ++next;
        }
    }
    for (const StorageIo& io : state_.channels[slot].waiting) tags.push_back(io.tag);
    state_.channels[slot] = {};
    if (slot == 0) state_.phase = Phase::closed;
    for (const std::uint64_t tag : tags) user_.storage_done(tag, {.srb_status = vstor::srb::aborted});
}

void StorageClient::step(Phase next) {
    state_.phase = next;
    state_.control_due = next != Phase::ready && next != Phase::refused;
    if (next == Phase::ready) user_.storage_ready();
    if (next == Phase::refused) user_.storage_refused();
}

// Guests of old versions have shorter packets from the start.
std::size_t StorageClient::packet_bytes() const {
    return config_.newest_version < vstor::version_server_2012 ? vstor::packet_bytes_before_2012 : vstor::packet_bytes;
}

bool StorageClient::send_control(ClientChannel& primary) {
    Bytes packet{};
    vstor::Header header{.operation = Operation::reset_bus, .flags = vstor::flag_completion_wanted};
    if (state_.control_due) {
        switch (state_.phase) {
            case Phase::version: {
                header.operation = Operation::query_protocol_version;
                const vstor::ProtocolVersion version{.major_minor = state_.version};
                std::memcpy(packet.data() + body_at, &version, sizeof version);
                break;
            }
            case Phase::properties:
                header.operation = Operation::query_properties;
                break;
            case Phase::end:
                header.operation = Operation::end_initialization;
                break;
            case Phase::sub_channels: {
                header.operation = Operation::create_sub_channels;
                const std::uint16_t count = std::min(state_.max_sub_channels, config_.sub_channels);
                std::memcpy(packet.data() + body_at, &count, sizeof count);
                break;
            }
            default:
                header.operation = Operation::begin_initialization;
                break;
        }
    }
    std::memcpy(packet.data(), &header, sizeof header);
    if (!primary.send(state_.control_due ? initialization : reset, std::span{packet}.first(packet_bytes()), true)) {
        return false;
    }
    (state_.control_due ? state_.control_due : state_.reset_due) = false;
    return true;
}

void StorageClient::initialization_answered(const Bytes& bytes) {
    vstor::Header header;
    std::memcpy(&header, bytes.data(), sizeof header);
    const bool accepted = header.operation == Operation::complete_io && header.status == vstor::status::success;
    if (state_.phase == Phase::version) return version_answered(accepted);
    if (state_.phase == Phase::sub_channels) return step(Phase::ready);  // without them, if it must be
    if (!accepted) return step(Phase::refused);
    switch (state_.phase) {
        case Phase::begin:
            return step(Phase::version);
        case Phase::properties: {
            vstor::ChannelProperties properties;
            std::memcpy(&properties, bytes.data() + body_at, sizeof properties);
            state_.max_transfer_bytes = properties.max_transfer_bytes;
            const bool several = (properties.flags & vstor::supports_multi_channel) != 0;
            state_.max_sub_channels = several ? properties.max_sub_channels : std::uint16_t{0};
            return step(Phase::end);
        }
        case Phase::end:
            return step(std::min(state_.max_sub_channels, config_.sub_channels) != 0 ? Phase::sub_channels
                                                                                     : Phase::ready);
        default:
            ++strays_;
            return;
    }
}

void StorageClient::version_answered(bool accepted) {
    if (accepted) return step(Phase::properties);
    const auto next = std::find_if(vstor::versions.begin(), vstor::versions.end(),
                                   [this](std::uint16_t version) { return version < state_.version; });
    if (next == vstor::versions.end()) return step(Phase::refused);
    state_.version = *next;
    step(Phase::version);
}

// Requests.

void StorageClient::submit(StorageIo io, std::uint16_t queue) {
    VG_CHECK(io.data_out.empty() || io.read_bytes == 0);
    const std::uint16_t slot = queue < workers_.size() && state_.channels[queue].open ? queue : std::uint16_t{0};
    state_.channels[slot].waiting.push_back(std::move(io));
    workers_[slot]->wake();
}

void StorageClient::reset_bus() {
    state_.reset_due = true;
    workers_[0]->wake();
}

std::uint16_t StorageClient::channels_open() const {
    return static_cast<std::uint16_t>(
        std::count_if(state_.channels.begin(), state_.channels.end(), [](const auto& c) { return c.open; }));
}

std::size_t StorageClient::waiting() const {
    std::size_t count = 0;
    for (const ChannelState& c : state_.channels) count += c.waiting.size();
    return count;
}

std::optional<sim::Time> StorageClient::begin_piece(std::uint16_t slot) {
    ChannelState& c = state_.channels[slot];
    c.piece = Piece::none;
    ClientChannel* through = c.open ? channel(slot) : nullptr;
    if (through == nullptr) return std::nullopt;
    Packet packet;
    if (through->receive(packet)) {
        c.piece = Piece::packet;
        c.taken = {.completion = packet.type == PacketType::completion, .transaction = packet.transaction};
        std::copy_n(packet.payload.begin(), std::min(packet.payload.size(), c.taken.bytes.size()),
                    c.taken.bytes.begin());
        return config_.costs.packets(1, 0);
    }
    const bool control = slot == 0 && (state_.control_due || (state_.reset_due && state_.phase == Phase::ready));
    const bool io = state_.phase == Phase::ready && !c.waiting.empty() && c.outstanding < config_.max_outstanding;
    if (!c.blocked && (control || io)) {
        c.piece = Piece::request;
        return config_.costs.packets(1, 0) + (control ? config_.costs.per_message : config_.per_request);
    }
    through->flush();
    return std::nullopt;
}

void StorageClient::finish_piece(std::uint16_t slot) {
    ChannelState& c = state_.channels[slot];
    const Piece piece = std::exchange(c.piece, Piece::none);
    ClientChannel* through = c.open ? channel(slot) : nullptr;
    if (through == nullptr) return;
    if (piece == Piece::request) {
        const bool control = slot == 0 && (state_.control_due || (state_.reset_due && state_.phase == Phase::ready));
        const bool sent = control ? send_control(*through) : send_io(slot);
        if (!sent) c.blocked = true;
        through->flush();
    } else if (piece == Piece::packet) {
        const Taken taken = c.taken;
        if (!taken.completion) {
            user_.storage_changed();
        } else if (taken.transaction == initialization) {
            initialization_answered(taken.bytes);
        } else if (taken.transaction == reset) {
            user_.storage_reset_done();
        } else {
            io_answered(taken);
        }
    }
}

bool StorageClient::send_io(std::uint16_t slot) {
    ChannelState& c = state_.channels[slot];
    if (c.waiting.empty()) return true;
    StorageIo& io = c.waiting.front();
    const bool reads = io.read_bytes != 0;
    const std::uint32_t bytes = reads ? io.read_bytes : static_cast<std::uint32_t>(io.data_out.size());
    std::optional<std::vector<std::uint64_t>> pages = bus_.pages().allocate((bytes + page - 1) / page);
    if (!pages) {
        throw sim::UserError(
            fmt::format("{}: the guest has no {} KiB of memory left for one more request beside {} that "
                        "are under way: give it more, or let it ask for less at a time",
                        scope_.path(), bytes / 1024, state_.sent.size()));
    }
    vstor::ScsiRequest srb{};
    srb.length = static_cast<std::uint16_t>(packet_bytes() - body_at);
    srb.path = io.address.path;
    srb.target = io.address.target;
    srb.lun = io.address.lun;
    srb.cdb_length = io.cdb_length;
    const bool old = packet_bytes() == vstor::packet_bytes_before_2012;
    srb.sense_length = static_cast<std::uint8_t>(old ? vstor::sense_bytes_before_2012 : vstor::sense_bytes);
    srb.data_in = bytes == 0 ? vstor::srb::no_data : reads ? vstor::srb::data_from_device : vstor::srb::data_to_device;
    srb.transfer_length = bytes;
    std::copy(io.cdb.begin(), io.cdb.end(), srb.cdb_or_sense.begin());
    srb.queue_tag = 0xff;
    srb.queue_action = 0x20;
    srb.time_out_s = 60;
    Bytes packet{};
    const vstor::Header header{.operation = Operation::execute_srb, .flags = vstor::flag_completion_wanted};
    std::memcpy(packet.data(), &header, sizeof header);
    std::memcpy(packet.data() + body_at, &srb, sizeof srb);
    const auto payload = std::span{packet}.first(packet_bytes());
    const GpaRange range{bytes, 0, *pages};
    if (!reads && bytes != 0 && !write_range(bus_.memory(), range, 0, io.data_out)) VG_CHECK(false);
    ClientChannel& through = *channel(slot);
    const std::uint64_t transaction = state_.next_transaction;
    const bool sent = bytes == 0 ? through.send(transaction, payload, true)
                                 : through.send_gpa_direct(transaction, std::span{&range, 1}, payload);
    if (!sent) {
        bus_.pages().release(*pages);
        return false;
    }
    ++requests_;
    ++state_.next_transaction;
    ++c.outstanding;
    state_.sent.emplace(transaction, Sent{io.tag, slot, io.read_bytes, std::move(*pages)});
    scope_.trace("storage_io", transaction, slot, io.cdb[0]);
    c.waiting.pop_front();
    return true;
}

void StorageClient::io_answered(const Taken& taken) {
    const auto found = state_.sent.find(taken.transaction);
    if (found == state_.sent.end()) {
        ++strays_;
        return;
    }
    const Sent sent = std::move(found->second);
    state_.sent.erase(found);
    --state_.channels[sent.slot].outstanding;
    ++answers_;
    vstor::ScsiRequest srb;
    std::memcpy(&srb, taken.bytes.data() + body_at, sizeof srb);
    StorageAnswer answer{
        .srb_status = srb.srb_status, .scsi_status = srb.scsi_status, .moved_bytes = srb.transfer_length};
    if (sent.read_bytes != 0) {
        answer.data_in.resize(std::min(srb.transfer_length, sent.read_bytes));
        const GpaRange range{sent.read_bytes, 0, sent.pages};
        if (!read_range(bus_.memory(), range, 0, answer.data_in)) VG_CHECK(false);
    }
    if ((srb.srb_status & vstor::srb::autosense_valid) != 0) {
        const auto sense = std::as_bytes(std::span{srb.cdb_or_sense});
        answer.sense.assign(sense.begin(), sense.begin() + std::min<std::ptrdiff_t>(srb.sense_length, 20));
    }
    bus_.pages().release(sent.pages);
    scope_.trace("storage_io_done", taken.transaction, srb.srb_status, srb.transfer_length);
    user_.storage_done(sent.tag, std::move(answer));
}

}  // namespace vmbus
