#include "vmbus/storage/storage_provider.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

#include "sim/check.h"

namespace vmbus {
namespace {

// The IDE accelerator's instance: guests take their device's number from it.
Guid ide_instance(const StorageConfig::Ide& place) {
    Guid instance;
    instance.bytes[0] = place.channel;
    instance.bytes[4] = place.device;
    instance.bytes[6] = 0x99;
    instance.bytes[7] = 0x88;
    return instance;
}

std::uint16_t sub_channels_of(const StorageConfig& config) {
    return config.ide ? std::uint16_t{0} : config.max_sub_channels;
}

}  // namespace

Offer storage_offer(const StorageConfig& config) {
    Offer offer{.type = interface_type::scsi, .instance = config.instance};
    if (config.ide) {
        offer.type = interface_type::ide;
        offer.instance = ide_instance(*config.ide);
        const vstor::OfferProperties properties{
            .path = config.ide->channel, .target = config.ide->device, .flags = vstor::offer_is_ide_device};
        std::memcpy(offer.user_defined.data(), &properties, sizeof properties);
    }
    return offer;
}

StorageProvider::StorageProvider(const sim::Scope& scope, Bus& bus, StorageConfig config,
                                 const ProcessorChoice& processors)
    : scope_(scope),
      bus_(bus),
      config_(std::move(config)),
      requests_(scope.counter("requests", "count", "packets taken from the guest")),
      answers_(scope.counter("answers", "count", "completions given to the guest")),
      bytes_read_(scope.counter("bytes_read", "byte", "data moved to the guest")),
      bytes_written_(scope.counter("bytes_written", "byte", "data moved from the guest")),
      absent_(scope.counter("absent", "count", "requests to units that are not there")),
      malformed_(scope.counter("malformed", "count", "requests that no driver sends")),
      blocked_(scope.counter("blocked", "count", "answers that found no room in the ring")),
      registration_(scope.register_state(*this)) {
    VG_CHECK(config_.max_outstanding >= 1 && config_.max_transfer_bytes >= 4096);
    for (std::uint16_t slot = 0; slot <= sub_channels_of(config_); ++slot) {
        workers_.push_back(std::make_unique<Worker>(*this, slot, processors(slot)));
    }
    state_.channels.resize(workers_.size());
    add_channel(bus_.offer(storage_offer(config_), *this), 0);
}

StorageProvider::~StorageProvider() = default;

void StorageProvider::add_disk(const StorageAddress& address, ScsiDevice& device) {
    Unit& unit = units_[address];
    VG_CHECK(!unit.present);
    unit = {&device, initiator_of(device), true};
    notice();
}

// A device that comes back knows us as who we were.
ScsiDevice::InitiatorId StorageProvider::initiator_of(ScsiDevice& device) {
    for (const auto& [known, id] : attached_) {
        if (known == &device) return id;
    }
    return attached_.emplace_back(&device, device.attach(*this)).second;
}

void StorageProvider::remove_disk(const StorageAddress& address) {
    Unit& unit = units_.at(address);
    VG_CHECK(unit.present);
    unit.present = false;
    std::vector<std::uint64_t> stranded;
    for (const auto& [number, request] : state_.requests) {
        if (request.kind == Request::Kind::scsi && !request.done && request.address == address) {
            stranded.push_back(number);
        }
    }
    for (const std::uint64_t number : stranded) {
        if (state_.requests.at(number).orphaned) {
            forget(number);
        } else {
            answer_srb(number, vstor::srb::invalid_lun, scsi::Status::check_condition, nullptr);
        }
    }
    notice();
}

void StorageProvider::notice() {
    if (state_.phase != Phase::ready) return;  // it has not looked yet
    state_.notice_due = true;
    workers_[0]->wake();
}

std::size_t StorageProvider::open_channels() const {
    return static_cast<std::size_t>(
        std::count_if(state_.channels.begin(), state_.channels.end(), [](const auto& c) { return c.open; }));
}

ScsiDevice* StorageProvider::device_at(const StorageAddress& address) const {
    const auto unit = units_.find(address);
    return unit != units_.end() && unit->second.present ? unit->second.device : nullptr;
}

void StorageProvider::restored(const std::set<StorageAddress>& places) {
    for (const StorageAddress& address : places) {
        if (!units_.contains(address)) {
            throw sim::UserError("checkpoint: " + scope_.path() + " has a disk that the scenario did not add: LUN " +
                                 std::to_string(address.lun));
        }
    }
    for (auto& [address, unit] : units_) unit.present = places.contains(address);
    if (state_.channels.size() != workers_.size()) {
        throw sim::UserError("checkpoint: " + scope_.path() + " has another number of channels");
    }
    for (std::size_t slot = 1; slot < workers_.size(); ++slot) workers_[slot]->channel = nullptr;
    bind_adopted();
    adopted_.clear();
}

// Channels.

void StorageProvider::add_channel(Channel& channel, std::uint16_t slot) {
    workers_[slot]->channel = &channel;
    state_.channels[slot].offered = true;
    state_.channels[slot].index = channel.offer().sub_channel_index;
}

// The bus may be restored before this device or after it.
ChannelDevice& StorageProvider::adopt_sub_channel(Channel&, Channel& sub_channel) {
    adopted_.push_back(&sub_channel);
    bind_adopted();
    return *this;
}

void StorageProvider::bind_adopted() {
    for (Channel* channel : adopted_) {
        for (std::size_t slot = 1; slot < workers_.size(); ++slot) {
            const ChannelState& c = state_.channels[slot];
            if (c.offered && c.index == channel->offer().sub_channel_index) workers_[slot]->channel = channel;
        }
    }
}

std::uint16_t StorageProvider::slot_of(Channel& channel) {
    std::uint16_t slot = 0;
    while (slot < workers_.size() && workers_[slot]->channel != &channel) ++slot;
    VG_CHECK(slot < workers_.size(), "a channel of another device");
    return slot;
}

std::uint32_t StorageProvider::open(Channel& channel, std::span<const std::byte, 120>) {
    const std::uint16_t slot = slot_of(channel);
    state_.channels[slot].open = true;
    workers_[slot]->wake();
    return vstor::status::success;
}

void StorageProvider::signalled(Channel& channel) {
    const std::uint16_t slot = slot_of(channel);
    state_.channels[slot].blocked = false;
    workers_[slot]->wake();
}

void StorageProvider::closed(Channel& channel) {
    const std::uint16_t slot = slot_of(channel);
    ChannelState& c = state_.channels[slot];
    c.open = false;
    c.blocked = false;
    c.piece = Piece::none;
    c.taken = {};
    c.ready.clear();
    std::vector<std::uint64_t> dropped;
    for (auto& [number, request] : state_.requests) {
        if (request.slot != slot || request.orphaned) continue;
        request.orphaned = true;
        const bool at_disk = request.kind == Request::Kind::scsi && !request.done;
        if (!at_disk) dropped.push_back(number);
    }
    for (const std::uint64_t number : dropped) forget(number);
    if (slot != 0) return;
    state_.phase = Phase::begin;
    state_.version = 0;
    state_.notice_due = false;
    // Its sub-channels went with it; a driver that comes anew asks for them anew.
    for (std::size_t other = 1; other < workers_.size(); ++other) {
        workers_[other]->channel = nullptr;
        state_.channels[other].offered = false;
    }
}

void StorageProvider::released(Channel& channel) {
    for (std::size_t slot = 0; slot < workers_.size(); ++slot) {
        if (workers_[slot]->channel != &channel) continue;
        workers_[slot]->channel = nullptr;
        state_.channels[slot].offered = false;
    }
}

void StorageProvider::offer_sub_channels(std::uint16_t count) {
    Channel* primary = workers_[0]->channel;
    for (std::uint16_t slot = 1; slot <= count && slot < workers_.size(); ++slot) {
        if (state_.channels[slot].offered) continue;
        add_channel(bus_.offer_sub_channel(*primary, *this), slot);
    }
}

// A channel's task: answers go before new requests, so that the guest's room is used for what is done.

std::optional<sim::Time> StorageProvider::begin_piece(std::uint16_t slot) {
    ChannelState& c = state_.channels[slot];
    Channel* channel = workers_[slot]->channel;
    c.piece = Piece::none;
    if (!c.open || channel == nullptr) return std::nullopt;
    if (!c.blocked) {
        if (!c.ready.empty()) {
            c.piece = Piece::answer;
            const std::size_t moved = state_.requests.at(c.ready.front()).data_in.size();
            return config_.costs.packets(1, moved) + (c.ready.size() == 1 ? config_.costs.signal : sim::Time{});
        }
        if (slot == 0 && state_.notice_due && state_.phase == Phase::ready) {
            c.piece = Piece::notice;
            return config_.costs.packets(1, 0) + config_.costs.signal;
        }
        if (c.outstanding < config_.max_outstanding && take_packet(slot)) {
            c.piece = Piece::request;
            const bool io = c.taken.kind == Request::Kind::scsi;
            return config_.costs.packets(1, bytes_to_take(c.taken)) +
                   (io ? config_.per_request : config_.costs.per_message);
        }
    }
    if (c.open) channel->flush();
    return std::nullopt;
}

void StorageProvider::finish_piece(std::uint16_t slot) {
    ChannelState& c = state_.channels[slot];
    switch (std::exchange(c.piece, Piece::none)) {
        case Piece::none:
            return;  // closed meanwhile
        case Piece::request:
            handle(slot);
            return;
        case Piece::answer:
            send_answer(slot);
            break;
        case Piece::notice:
            send_notice();
            break;
    }
    if (c.open && (c.ready.empty() || c.blocked)) workers_[slot]->channel->flush();
}

// Copies what the guest wrote and looks at its form; true if there is a request now. A packet that cannot even be
// answered closes the channel.
bool StorageProvider::take_packet(std::uint16_t slot) {
    ChannelState& c = state_.channels[slot];
    Channel& channel = *workers_[slot]->channel;
    Packet packet;
    if (!channel.receive(packet)) return false;
    ++requests_;
    const bool known_type = packet.type == PacketType::inband || packet.type == PacketType::gpa_direct;
    if (!known_type || !packet.wants_completion || packet.payload.size() < sizeof(vstor::Header)) {
        ++malformed_;
        channel.fault("a storage packet that asks for no answer");
        return false;
    }
    Request request{.slot = slot, .transaction = packet.transaction};
    const std::size_t size = std::min(packet.payload.size(), vstor::packet_bytes);
    request.answer_bytes = static_cast<std::uint8_t>(size);
    std::copy_n(packet.payload.begin(), size, request.packet.begin());
    vstor::Header header;
    std::memcpy(&header, request.packet.data(), sizeof header);
    switch (header.operation) {
        case vstor::Operation::execute_srb:
            if (size >= vstor::packet_bytes_before_2012) request.kind = Request::Kind::scsi;
            break;
        case vstor::Operation::reset_lun:
        case vstor::Operation::reset_adapter:
        case vstor::Operation::reset_bus:
            request.kind = Request::Kind::reset;
            break;
        default:
            break;
    }
    if (request.kind == Request::Kind::scsi) {
        vstor::ScsiRequest srb;
        std::memcpy(&srb, request.packet.data() + sizeof header, sizeof srb);
        request.address = {config_.ide ? config_.ide->channel : srb.path, srb.target, srb.lun};
        // No more is kept of the guest's list than one allowed transfer needs.
        if (packet.ranges.size() <= 1 && srb.transfer_length <= config_.max_transfer_bytes) {
            request.ranges = std::move(packet.ranges);
            for (GpaRange& range : request.ranges) {
                const std::uint64_t pages = (std::uint64_t{range.offset} + srb.transfer_length + 4095) / 4096;
                if (range.pages.size() > pages)
                    range.pages = {range.pages.begin(), range.pages.begin() + static_cast<std::ptrdiff_t>(pages)};
            }
        }
    }
    c.taken = std::move(request);
    return true;
}

void StorageProvider::answer_ready(std::uint64_t number) {
    Request& request = state_.requests.at(number);
    VG_CHECK(!request.done && !request.orphaned);
    request.done = true;
    state_.channels[request.slot].ready.push_back(number);
    workers_[request.slot]->wake();
}

void StorageProvider::send_answer(std::uint16_t slot) {
    ChannelState& c = state_.channels[slot];
    Channel& channel = *workers_[slot]->channel;
    const std::uint64_t number = c.ready.front();
    Request& request = state_.requests.at(number);
    if (!request.data_in.empty()) {
        if (write_range(channel.memory(), request.ranges.front(), 0, request.data_in)) {
            bytes_read_.add(request.data_in.size());
            request.data_in.clear();
        } else {
            ++malformed_;
            c.ready.pop_front();
            request.done = false;
            answer_srb(number, vstor::srb::error, scsi::Status::check_condition, &scsi::sense::invalid_field_in_cdb);
            return;
        }
    }
    if (!channel.complete(request.transaction, std::span{request.packet}.first(request.answer_bytes))) {
        if (!c.open) return;  // the ring itself was at fault
        c.blocked = true;
        ++blocked_;
        return;
    }
    ++answers_;
    scope_.trace("storage_answer", slot, request.transaction);
    c.ready.pop_front();
    const std::uint16_t sub_channels = request.sub_channels;
    forget(number);
    if (sub_channels == 0) return;
    channel.flush();
    if (c.open) offer_sub_channels(sub_channels);
}

void StorageProvider::send_notice() {
    ChannelState& c = state_.channels[0];
    const vstor::Header header{.operation = vstor::Operation::enumerate_bus};
    Answer packet{};
    std::memcpy(packet.data(), &header, sizeof header);
    const std::size_t size =
        state_.version < vstor::version_server_2012 ? vstor::packet_bytes_before_2012 : vstor::packet_bytes;
    if (workers_[0]->channel->send(0, std::span{packet}.first(size), false)) {
        state_.notice_due = false;
        scope_.trace("storage_enumerate");
    } else if (c.open) {
        c.blocked = true;
        ++blocked_;
    }
}

// The request is answered, or nobody waits for it. A reset whose turn it is now can be answered: nothing that came
// before it is under way any more.
void StorageProvider::forget(std::uint64_t number) {
    const auto node = state_.requests.extract(number);
    const std::uint16_t slot = node.mapped().slot;
    VG_CHECK(state_.channels[slot].outstanding > 0);
    --state_.channels[slot].outstanding;
    if (!state_.requests.empty()) {
        const auto& [first, request] = *state_.requests.begin();
        if (request.kind == Request::Kind::reset && !request.done && !request.orphaned) answer_ready(first);
    }
    if (state_.channels[slot].open) workers_[slot]->wake();
}

}  // namespace vmbus
