// The host's side of a synthetic SCSI controller: a primary channel, sub-channels when the guest asks for them, and the
// logical units behind. As the IDE accelerator of a first-generation machine it is the same with one unit. Every
// request is answered exactly once, on the channel it came by, whatever the guest or the disk does.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <utility>
#include <vector>

#include "sim/processor.h"
#include "sim/scope.h"
#include "vmbus/bus.h"
#include "vmbus/channel.h"
#include "vmbus/costs.h"
#include "vmbus/storage/scsi_device.h"
#include "vmbus/storage/storage_address.h"
#include "vmbus/storage/vstor.h"

namespace vmbus {

struct StorageConfig {
    // The first generation's controller and place of a disk that also is on the emulated IDE bus.
    struct Ide {
        std::uint8_t channel = 0;
        std::uint8_t device = 0;
    };
    Guid instance;  // of a SCSI controller; an IDE accelerator's follows from its place
    std::optional<Ide> ide;
    std::uint16_t newest_version = vstor::version_server_2016;
    std::uint16_t max_sub_channels = 7;
    std::uint32_t max_transfer_bytes = 256u << 10;
    std::uint32_t max_outstanding = 256;  // for each channel; the rest waits in its ring
    Costs costs;
    sim::Time per_request = sim::Time::us(1);  // the way of a command through the storage stack, beside the bus's costs
};

class StorageProvider final : public ChannelDevice, private ScsiInitiator {
public:
    // Which processor serves the primary channel (0) and each further one. Asked when the provider is made.
    using ProcessorChoice = std::function<sim::Processor&(std::uint16_t channel)>;

    StorageProvider(const sim::Scope& scope, Bus& bus, StorageConfig config, const ProcessorChoice& processors);
    ~StorageProvider() override;

    // Units come and go at any time; the guest is told to look. What is under way on one that goes ends as "no such
    // unit".
    void add_disk(const StorageAddress& address, ScsiDevice& device);
    void remove_disk(const StorageAddress& address);
    bool has_disk(const StorageAddress& address) const { return device_at(address) != nullptr; }

    bool ready() const { return state_.phase == Phase::ready; }
    std::size_t outstanding() const { return state_.requests.size(); }
    std::size_t open_channels() const;

    std::uint32_t open(Channel& channel, std::span<const std::byte, 120> user_data) override;
    void closed(Channel& channel) override;
    void signalled(Channel& channel) override;
    void released(Channel& channel) override;
    ChannelDevice& adopt_sub_channel(Channel& primary, Channel& sub_channel) override;

    template <class Archive>
    void fields(Archive& archive) {
        std::set<StorageAddress> places;
        for (const auto& [address, unit] : units_) {
            if (unit.present) places.insert(address);
        }
        archive(state_, places);
        if constexpr (Archive::reading) restored(places);
    }

private:
    enum class Phase : std::uint8_t { begin, version, properties, end, ready };
    using Answer = std::array<std::byte, vstor::packet_bytes>;

    struct Request {
        enum class Kind : std::uint8_t { scsi, reset, control };
        Kind kind = Kind::control;
        std::uint16_t slot = 0;  // the channel
        bool orphaned = false;   // its channel is closed, the disk still at work
        bool done = false;       // the answer waits for its way out
        std::uint64_t transaction = 0;
        std::uint8_t answer_bytes = 0;
        Answer packet{};  // the guest's; becomes the answer
        StorageAddress address;
        std::vector<GpaRange> ranges;
        std::vector<std::byte> data_in;
        std::uint16_t sub_channels = 0;  // to offer with the answer

        template <class Archive>
        void fields(Archive& archive) {
            archive(kind, slot, orphaned, done, transaction, answer_bytes, packet, address, ranges, data_in,
                    sub_channels);
        }
    };
    // What a channel's task is at.
    enum class Piece : std::uint8_t { none, request, answer, notice };
    struct ChannelState {
        bool offered = false;
        std::uint16_t index = 0;  // the sub-channel's, as the bus counts them
        bool open = false;
        bool blocked = false;  // no room for an answer; signalled() ends it
        Piece piece = Piece::none;
        Request taken;                    // the piece's request
        std::uint32_t outstanding = 0;    // requests of this channel, with those of the channel that was here before
        std::deque<std::uint64_t> ready;  // answers, in order

        template <class Archive>
        void fields(Archive& archive) {
            archive(offered, index, open, blocked, piece, taken, outstanding, ready);
        }
    };
    struct State {
        Phase phase = Phase::begin;
        std::uint16_t version = 0;
        bool notice_due = false;  // the guest is to look at the bus again
        std::vector<ChannelState> channels;
        std::map<std::uint64_t, Request> requests;
        std::uint64_t next_number = 1;

        template <class Archive>
        void fields(Archive& archive) {
            archive(phase, version, notice_due, channels, requests, next_number);
        }
    };
    // One channel's work, on its processor.
    class Worker final : public sim::Task {
    public:
        Worker(StorageProvider& provider, std::uint16_t slot, sim::Processor& processor)
            : provider_(provider), slot_(slot), place_(processor, *this) {}
        std::optional<sim::Time> begin() override {
            const auto cost = provider_.begin_piece(slot_);
            cost_ = cost.value_or(sim::Time::zero());
            return cost;
        }
        void account(sim::Account& account) const override { account.add("root.storage", cost_); }
        void finish() override { provider_.finish_piece(slot_); }
        void wake() { place_.wake(); }

        Channel* channel = nullptr;

    private:
        StorageProvider& provider_;
        std::uint16_t slot_;
        sim::Time cost_;  // of the piece that has begun
        sim::TaskSlot place_;
    };
    struct Unit {
        ScsiDevice* device = nullptr;
        ScsiDevice::InitiatorId initiator = 0;
        bool present = false;
    };

    // storage_provider.cpp: channels, units, what a task does
    std::uint16_t slot_of(Channel& channel);
    void add_channel(Channel& channel, std::uint16_t slot);
    void bind_adopted();
    std::optional<sim::Time> begin_piece(std::uint16_t slot);
    void finish_piece(std::uint16_t slot);
    bool take_packet(std::uint16_t slot);
    void send_answer(std::uint16_t slot);
    void send_notice();
    void offer_sub_channels(std::uint16_t count);
    void answer_ready(std::uint64_t number);
    void forget(std::uint64_t number);
    void restored(const std::set<StorageAddress>& places);
    void notice();

    // storage_requests.cpp: what packets mean
    void handle(std::uint16_t slot);
    void execute(std::uint64_t number);
    void answer_absent(std::uint64_t number, const ScsiCommand& command);
    std::vector<std::byte> list_units(const StorageAddress& address) const;
    std::uint32_t initialize(const vstor::OperationRow& row, Request& request);
    std::uint32_t query_version(Request& request);
    std::uint32_t create_sub_channels(Request& request);
    void answer_scsi(std::uint64_t number, ScsiResult result);
    void answer_srb(std::uint64_t number, std::uint8_t srb_status, scsi::Status status, const scsi::Sense* sense);
    std::uint64_t bytes_to_take(const Request& request) const;
    ScsiDevice* device_at(const StorageAddress& address) const;
    ScsiDevice::InitiatorId initiator_of(ScsiDevice& device);
    void scsi_done(std::uint64_t number, ScsiResult result) override;

    sim::Scope scope_;
    Bus& bus_;
    StorageConfig config_;
    std::vector<std::unique_ptr<Worker>> workers_;
    std::vector<Channel*> adopted_;  // while a checkpoint is restored
    std::map<StorageAddress, Unit> units_;
    std::vector<std::pair<ScsiDevice*, ScsiDevice::InitiatorId>> attached_;  // what we are to each device that ever was
    State state_;
    sim::Counter& requests_;
    sim::Counter& answers_;
    sim::Counter& bytes_read_;
    sim::Counter& bytes_written_;
    sim::Counter& absent_;
    sim::Counter& malformed_;
    sim::Counter& blocked_;
    sim::StateRegistration registration_;
};

// Where the channels of a controller say which device they are.
Offer storage_offer(const StorageConfig& config);

}  // namespace vmbus
