// Linux' hv_storvsc of a behavioural guest, with one disk: vmbus::StorageClient as workloads see it. It asks how large
// the disk is, and then reads, writes and flushes; each channel's work and interrupts are one processor's.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "models/behavioural/driver_costs.h"
#include "models/behavioural/guest_platform.h"
#include "vmbus/client/bus_client.h"
#include "vmbus/storage/storage_client.h"

namespace models {

class StorageDriverUser {
public:
    virtual void storage_ready() = 0;
    // `data` is what was read. Called within a piece of the driver's.
    virtual void storage_done(std::uint64_t tag, bool succeeded, std::span<const std::byte> data) = 0;

protected:
    ~StorageDriverUser() = default;
};

class StorageDriver final : private vmbus::StorageUser, private vmbus::BusDriver {
public:
    struct Config {
        vmbus::StorageClientConfig client;
        vmbus::StorageAddress disk;
    };
    // `request`: what one takes in the guest's block layer.
    static Config config(const DriverCosts& costs, sim::Time request, std::uint16_t sub_channels);

    // Takes the first storage controller that the bus offers.
    StorageDriver(const sim::Scope& scope, GuestPlatform& platform, StorageDriverUser& user, const Config& config);
    StorageDriver(const StorageDriver&) = delete;

    bool is_ready() const { return state_.block_bytes != 0; }
    std::uint64_t blocks() const { return state_.blocks; }
    std::uint32_t block_bytes() const { return state_.block_bytes; }
    std::size_t outstanding() const { return client_.outstanding(); }

    // Tags are the user's, below 2^63. The channel is that of the processor, where there is one.
    void read(std::uint64_t tag, std::uint64_t block, std::uint32_t count, unsigned vp = 0);
    void write(std::uint64_t tag, std::uint64_t block, std::vector<std::byte> data, unsigned vp = 0);
    void flush(std::uint64_t tag, unsigned vp = 0);

    template <class Archive>
    void fields(Archive& archive) {
        archive(state_);
    }

private:
    struct State {
        std::uint64_t blocks = 0;
        std::uint32_t block_bytes = 0;
        std::uint32_t tries = 0;  // to ask for them

        template <class Archive>
        void fields(Archive& archive) {
            archive(blocks, block_bytes, tries);
        }
    };

    // vmbus::StorageUser
    void storage_ready() override;
    void storage_done(std::uint64_t tag, vmbus::StorageAnswer answer) override;
    // vmbus::BusDriver
    void offered(vmbus::ClientChannel& channel) override { client_.offered(channel); }
    vmbus::ChannelDriver* adopt(vmbus::ClientChannel&) override { return &client_; }

    void submit(std::uint64_t tag, vmbus::StorageIo io, unsigned vp);

    StorageDriverUser& user_;
    Config config_;
    State state_;
    vmbus::StorageClient client_;
    sim::StateRegistration registration_;
};

}  // namespace models
