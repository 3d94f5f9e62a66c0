// An ATA disk over a block device: PIO, multiple and DMA transfers with CHS, 28-bit and 48-bit addresses, flushing,
// modes and power (ATA/ATAPI-8 ACS). It calls itself what Hyper-V's emulated disk does. Left out: security, SMART,
// HPA, queued commands, logs.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "models/legacy/ide_drive.h"
#include "sim/scope.h"
#include "vmbus/storage/block_device.h"

namespace models {

class AtaDisk final : public IdeDrive, private vmbus::BlockClient {
public:
    // Blocks of 512 bytes. The device must outlive the disk.
    AtaDisk(const sim::Scope& scope, vmbus::BlockDevice& blocks);
    ~AtaDisk() override;

    enum class Kind : std::uint8_t { none, read_pio, write_pio, read_dma, write_dma, verify, flush, trim };
    // The command that is being carried out.
    struct Transfer {
        Kind kind = Kind::none;
        std::uint64_t lba = 0;
        std::uint64_t left = 0;   // sectors
        std::uint32_t piece = 0;  // sectors of the piece that is under way
        std::uint32_t block = 1;  // sectors between interrupts of PIO
        bool extended = false;
        bool force_unit_access = false;
        bool announced = false;     // a PIO write's first block needs no interrupt
        std::uint64_t waiting = 0;  // the block device's tag, 0 if none

        bool operator==(const Transfer&) const = default;
        template <class Archive>
        void fields(Archive& archive) {
            archive(kind, lba, left, piece, block, extended, force_unit_access, announced, waiting);
        }
    };
    struct State {
        Transfer transfer;
        std::uint64_t last_tag = 0;
        std::uint8_t multiple = 0;          // sectors per block, 0: not set
        std::uint8_t transfer_mode = 0x22;  // multiword DMA mode 2
        bool write_cache = true;
        bool look_ahead = true;
        std::uint8_t heads = 16;
        std::uint8_t sectors_per_track = 63;
        bool standby = false;

        bool operator==(const State&) const = default;
        template <class Archive>
        void fields(Archive& archive) {
            archive(transfer, last_tag, multiple, transfer_mode, write_cache, look_ahead, heads, sectors_per_track,
                    standby);
        }
    };
    const State& state() const { return state_; }
    std::uint64_t sectors() const { return sectors_; }
    // The 256 words of IDENTIFY DEVICE.
    std::vector<std::byte> identify_data() const;

    template <class Archive>
    void fields(Archive& archive) {
        common_fields(archive);
        archive(state_);
    }

private:
    struct Command;
    static std::span<const Command> commands();
    static const Command* find(std::uint8_t code);

    // IdeDrive
    void execute(std::uint8_t command) override;
    void transfer_done() override;
    void drive_reset() override;
    ata::Signature signature() const override { return ata::disk_signature; }
    // vmbus::BlockClient
    void block_done(std::uint64_t tag, vmbus::BlockStatus status, std::vector<std::byte> data) override;

    // One handler per command (ata_disk_commands.cpp).
    void identify(const Command&);
    void transfer(const Command& command);
    void flush(const Command& command);
    void set_features(const Command&);
    void set_multiple(const Command&);
    void initialize_parameters(const Command&);
    void no_data(const Command&);
    void power(const Command&);
    void check_power(const Command&);
    void native_max(const Command& command);
    void data_set_management(const Command&);

    void abort() { finish_error(ata::error::aborted); }
    std::optional<std::uint64_t> addressed(bool extended) const;
    std::uint64_t counted(bool extended) const;
    void put_address(std::uint64_t lba, bool extended);
    void next_piece();
    void submit(vmbus::BlockRequest::Operation operation, std::uint64_t lba, std::uint64_t sectors,
                std::vector<std::byte> data);
    void piece_done();
    void trim_next();
    void fail(vmbus::BlockStatus status);

    sim::Scope scope_;
    vmbus::BlockDevice& blocks_;
    vmbus::BlockDevice::Geometry geometry_;
    std::uint64_t sectors_;
    sim::Counter& read_;
    sim::Counter& written_;
    sim::Counter& refused_;
    State state_;
};

}  // namespace models
