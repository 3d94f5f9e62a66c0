// An ATAPI CD-ROM drive over a block device with an image, or empty: the packet commands that systems use to find,
// mount and read a disc (ATA/ATAPI-6, 9.8 and 9.9; SFF-8020i; MMC-3). Left out: audio, raw sectors, sessions, writing.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "models/legacy/ide_drive.h"
#include "sim/scope.h"
#include "vmbus/storage/block_device.h"

namespace models {

class AtapiCd final : public IdeDrive, private vmbus::BlockClient {
public:
    explicit AtapiCd(const sim::Scope& scope);
    ~AtapiCd() override;

    // Another disc, or none. The device must outlive its stay. Where a checkpoint is restored the same disc is in.
    void insert(vmbus::BlockDevice* disc);

    struct Sense {
        std::uint8_t key = 0;
        std::uint8_t code = 0;
        std::uint8_t qualifier = 0;
        bool operator==(const Sense&) const = default;
        template <class Archive>
        void fields(Archive& archive) {
            archive(key, code, qualifier);
        }
    };
    struct State {
        Sense sense;
        bool disc_changed = false;  // to be told once
        bool locked = false;
        bool by_dma = false;
        bool taking_packet = false;
        std::uint32_t limit = 0;       // bytes between interrupts of PIO
        std::vector<std::byte> reply;  // what is still to be sent
        std::uint64_t sent = 0;
        std::uint64_t lba = 0;
        std::uint64_t left = 0;  // sectors still to be read
        std::uint64_t waiting = 0;
        std::uint64_t last_tag = 0;

        bool operator==(const State&) const = default;
        template <class Archive>
        void fields(Archive& archive) {
            archive(sense, disc_changed, locked, by_dma, taking_packet, limit, reply, sent, lba, left, waiting,
                    last_tag);
        }
    };
    const State& state() const { return state_; }
    template <class Archive>
    void fields(Archive& archive) {
        common_fields(archive);
        archive(state_);
    }

private:
    using Packet = std::array<std::uint8_t, ata::packet::command_bytes>;
    struct Row;
    static std::span<const Row> commands();

    // IdeDrive
    void execute(std::uint8_t command) override;
    void transfer_done() override;
    void drive_reset() override;
    ata::Signature signature() const override { return ata::packet_signature; }
    // vmbus::BlockClient
    void block_done(std::uint64_t tag, vmbus::BlockStatus status, std::vector<std::byte> data) override;

    void take_packet();
    void run(const Packet& packet);
    // One handler per packet command.
    void test_unit_ready(const Packet&);
    void request_sense(const Packet& packet);
    void inquiry(const Packet& packet);
    void start_stop(const Packet& packet);
    void prevent_removal(const Packet& packet);
    void read_capacity(const Packet&);
    void read10(const Packet& packet);
    void read12(const Packet& packet);
    void read_toc(const Packet& packet);
    void get_configuration(const Packet& packet);
    void get_event_status(const Packet& packet);
    void mode_sense10(const Packet& packet);

    std::uint64_t sectors() const;
    void read_sectors(std::uint64_t lba, std::uint64_t count);
    void next_read();
    void reply(std::vector<std::byte> data, std::size_t allocation);
    void send_part();
    void done();
    void refuse(Sense sense);
    std::vector<std::byte> identify_data() const;

    sim::Scope scope_;
    vmbus::BlockDevice* disc_ = nullptr;
    sim::Counter& read_;
    sim::Counter& refused_;
    State state_;
};

}  // namespace models
