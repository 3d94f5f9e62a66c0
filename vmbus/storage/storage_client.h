// A guest's driver for the synthetic SCSI controller, for guests that execute no instructions: it initializes as Linux
// does, asks for sub-channels and puts requests on any of them. Its work is charged to the guest's processors.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "sim/processor.h"
#include "sim/scope.h"
#include "vmbus/client/bus_client.h"
#include "vmbus/costs.h"
#include "vmbus/storage/scsi.h"
#include "vmbus/storage/storage_address.h"
#include "vmbus/storage/vstor.h"

namespace vmbus {

// A SCSI command with the memory that it needs.
struct StorageIo {
    std::uint64_t tag = 0;  // the user's
    StorageAddress address;
    scsi::Cdb cdb{};
    std::uint8_t cdb_length = 0;
    std::uint32_t read_bytes = 0;     // room for what comes
    std::vector<std::byte> data_out;  // or what goes

    template <class Archive>
    void fields(Archive& archive) {
        archive(tag, address, cdb, cdb_length, read_bytes, data_out);
    }
};

StorageIo storage_read(std::uint64_t lba, std::uint32_t blocks, std::uint32_t block_bytes);
StorageIo storage_write(std::uint64_t lba, std::vector<std::byte> data, std::uint32_t block_bytes,
                        bool force_unit_access);
StorageIo storage_flush();
StorageIo storage_unmap(std::uint64_t lba, std::uint32_t blocks);

struct StorageAnswer {
    std::uint8_t srb_status = 0;
    std::uint8_t scsi_status = 0;
    std::uint32_t moved_bytes = 0;
    std::vector<std::byte> sense;    // if it came along
    std::vector<std::byte> data_in;  // moved_bytes of it

    bool succeeded() const { return srb_status == vstor::srb::success && scsi_status == 0; }
    bool operator==(const StorageAnswer&) const = default;
};

// Who uses it. Called at the time at which things happen, and may ask for more at once.
class StorageUser {
public:
    virtual ~StorageUser() = default;
    // Initialized: requests may come. Again after the controller was offered anew.
    virtual void storage_ready() {}
    // The host has no version that was asked for, or refused something else.
    virtual void storage_refused() {}
    virtual void storage_done(std::uint64_t tag, StorageAnswer answer) = 0;
    virtual void storage_reset_done() {}
    // Units came or went.
    virtual void storage_changed() {}
};

struct StorageClientConfig {
    std::uint16_t newest_version = vstor::version_server_2016;  // older ones are tried after it
    std::uint16_t sub_channels = 3;                             // at most; the host may offer fewer
    ClientChannel::RingPages ring{.to_host = 32, .to_guest = 32};
    std::uint32_t max_outstanding = 64;  // for each channel
    Costs costs;
    sim::Time per_request = sim::Time::us(2);  // the guest's block layer, both ways
};

class StorageClient final : public ChannelDriver {
public:
    // Which of the guest's processors works on a channel; it also gets that channel's interrupts.
    struct Place {
        sim::Processor* processor = nullptr;
        std::uint32_t vp = 0;
    };
    using Places = std::function<Place(std::uint16_t channel)>;

    StorageClient(const sim::Scope& scope, BusClient& bus, StorageUser& user, StorageClientConfig config,
                  const Places& places);
    ~StorageClient() override;

    // From BusDriver::offered(): takes the channel if it is this controller's, primary or further one.
    void offered(ClientChannel& channel);

    // On the channel of that number if it is open, else on the primary one. Waits here while too many are under way.
    void submit(StorageIo io, std::uint16_t queue = 0);
    void reset_bus();
    void close();
    // The guest is started anew: nothing is told to the host.
    void abandon();

    bool ready() const { return state_.phase == Phase::ready; }
    std::uint16_t version() const { return state_.version; }
    std::uint16_t channels_open() const;
    std::uint32_t max_transfer_bytes() const { return state_.max_transfer_bytes; }
    std::size_t outstanding() const { return state_.sent.size() + waiting(); }

    void opened(ClientChannel& channel, std::uint32_t status) override;
    void signalled(ClientChannel& channel) override;
    void rescinded(ClientChannel& channel) override;

    template <class Archive>
    void fields(Archive& archive) {
        archive(state_);
    }

private:
    enum class Phase : std::uint8_t { closed, begin, version, properties, end, sub_channels, ready, refused };
    enum class Piece : std::uint8_t { none, packet, request };
    using Bytes = std::array<std::byte, vstor::packet_bytes>;

    struct Sent {
        std::uint64_t tag = 0;
        std::uint16_t slot = 0;
        std::uint32_t read_bytes = 0;
        std::vector<std::uint64_t> pages;

        template <class Archive>
        void fields(Archive& archive) {
            archive(tag, slot, read_bytes, pages);
        }
    };
    struct Taken {  // a packet of the host's
        bool completion = false;
        std::uint64_t transaction = 0;
        Bytes bytes{};

        template <class Archive>
        void fields(Archive& archive) {
            archive(completion, transaction, bytes);
        }
    };
    struct ChannelState {
        std::uint16_t relid = 0;  // 0: not offered
        bool open = false;
        bool blocked = false;
        Piece piece = Piece::none;
        Taken taken;
        std::uint32_t outstanding = 0;
        std::deque<StorageIo> waiting;

        template <class Archive>
        void fields(Archive& archive) {
            archive(relid, open, blocked, piece, taken, outstanding, waiting);
        }
    };
    struct State {
        Phase phase = Phase::closed;
        bool control_due = false;  // the step's request has to be sent
        bool reset_due = false;
        std::uint16_t version = 0;
        std::uint16_t max_sub_channels = 0;
        std::uint32_t max_transfer_bytes = 0;
        std::uint64_t next_transaction = 1;
        std::map<std::uint64_t, Sent> sent;
        std::vector<ChannelState> channels;

        template <class Archive>
        void fields(Archive& archive) {
            archive(phase, control_due, reset_due, version, max_sub_channels, max_transfer_bytes, next_transaction,
                    sent, channels);
        }
    };
    class Worker final : public sim::Task {
    public:
        Worker(StorageClient& client, std::uint16_t slot, const Place& where)
            : vp(where.vp), client_(client), slot_(slot), place_(*where.processor, *this) {}
        std::optional<sim::Time> begin() override {
            const std::optional<sim::Time> cost = client_.begin_piece(slot_);
            cost_ = cost.value_or(sim::Time::zero());
            return cost;
        }
        void finish() override { client_.finish_piece(slot_); }
        void account(sim::Account& account) const override { account.add("guest.storage", cost_); }
        void wake() { place_.wake(); }

        const std::uint32_t vp;

    private:
        StorageClient& client_;
        std::uint16_t slot_;
        sim::Time cost_;  // of the piece that has begun
        sim::TaskSlot place_;
    };

    // As Linux numbers them; requests count from 1.
    static constexpr std::uint64_t initialization = 0xffff'ffff'ffff'fffd;
    static constexpr std::uint64_t reset = 0xffff'ffff'ffff'fffc;

    std::uint16_t slot_of(const ClientChannel& channel) const;
    ClientChannel* channel(std::uint16_t slot) { return bus_.find(state_.channels[slot].relid); }
    std::size_t waiting() const;
    std::size_t packet_bytes() const;
    std::optional<sim::Time> begin_piece(std::uint16_t slot);
    void finish_piece(std::uint16_t slot);
    bool send_control(ClientChannel& primary);
    bool send_io(std::uint16_t slot);
    void step(Phase next);
    void initialization_answered(const Bytes& bytes);
    void version_answered(bool accepted);
    void io_answered(const Taken& taken);
    void drop_channel(std::uint16_t slot);

    sim::Scope scope_;
    BusClient& bus_;
    StorageUser& user_;
    StorageClientConfig config_;
    std::vector<std::unique_ptr<Worker>> workers_;
    State state_;
    sim::Counter& requests_;
    sim::Counter& answers_;
    sim::Counter& strays_;
    sim::StateRegistration registration_;
};

}  // namespace vmbus
