// The disk's transfers: pieces between the cable and the block device.
#include "models/legacy/ata_disk.h"

#include <algorithm>
#include <utility>

#include "sim/check.h"

namespace models {

using vmbus::BlockRequest;
using vmbus::BlockStatus;

namespace {
// A DMA command goes piece by piece, so that no command makes the host keep its whole length.
constexpr std::uint32_t dma_piece_sectors = 256;
}  // namespace

AtaDisk::AtaDisk(const sim::Scope& scope, vmbus::BlockDevice& blocks)
    : scope_(scope),
      blocks_(blocks),
      geometry_(blocks.geometry()),
      sectors_(geometry_.size_bytes / ata::sector_bytes),
      read_(scope.counter("read", "sectors", "sectors that the guest has read")),
      written_(scope.counter("written", "sectors", "sectors that the guest has written")),
      refused_(scope.counter("refused", "commands", "commands that the disk does not know")) {
    VG_CHECK(geometry_.logical_sector_bytes == ata::sector_bytes, "an IDE disk has sectors of 512 bytes");
    blocks_.attach(this);
    reset();
}

AtaDisk::~AtaDisk() {
    blocks_.attach(nullptr);
}

// Modes stay, as after a software reset of a disk that was told not to revert (SET FEATURES 66h).
void AtaDisk::drive_reset() {
    state_.transfer = {};
    state_.standby = false;
    state_.heads = 16;
    state_.sectors_per_track = 63;
}

void AtaDisk::submit(BlockRequest::Operation operation, std::uint64_t lba, std::uint64_t sectors,
                     std::vector<std::byte> data) {
    begin_waiting();
    BlockRequest request;
    request.tag = state_.transfer.waiting = ++state_.last_tag;
    request.operation = operation;
    request.offset_bytes = lba * ata::sector_bytes;
    request.length_bytes = sectors * ata::sector_bytes;
    request.force_unit_access =
        operation == BlockRequest::Operation::write && (state_.transfer.force_unit_access || !state_.write_cache);
    request.data = std::move(data);
    blocks_.submit(std::move(request));
}

void AtaDisk::next_piece() {
    Transfer& t = state_.transfer;
    const bool dma = t.kind == Kind::read_dma || t.kind == Kind::write_dma || t.kind == Kind::verify;
    t.piece = static_cast<std::uint32_t>(std::min<std::uint64_t>(t.left, dma ? dma_piece_sectors : t.block));
    switch (t.kind) {
        case Kind::read_pio:
        case Kind::read_dma:
        case Kind::verify:
            return submit(BlockRequest::Operation::read, t.lba, t.piece, {});
        case Kind::write_pio: {
            const Announce announce = t.announced ? Announce::interrupt : Announce::silently;
            t.announced = true;
            return begin_data_out(t.piece * ata::sector_bytes, announce);
        }
        case Kind::write_dma:
            return begin_dma_out(t.piece * ata::sector_bytes);
        default:
            return;
    }
}

// The buffer has passed the cable.
void AtaDisk::transfer_done() {
    switch (state_.transfer.kind) {
        case Kind::write_pio:
        case Kind::write_dma:
            return submit(BlockRequest::Operation::write, state_.transfer.lba, state_.transfer.piece,
                          std::move(buffer()));
        case Kind::read_pio:
        case Kind::read_dma:
            read_.add(state_.transfer.piece);
            return piece_done();
        case Kind::trim:
            return trim_next();
        default:
            return;  // IDENTIFY ends with its data
    }
}

void AtaDisk::piece_done() {
    Transfer& t = state_.transfer;
    t.lba += t.piece;
    t.left -= t.piece;
    if (t.left != 0) return next_piece();
    put_address(t.lba - 1, t.extended);
    reg(ata::sector_count) = 0;
    // A PIO read has announced its last block already.
    const bool silent = t.kind == Kind::read_pio;
    t = {};
    if (!silent) finish();
}

void AtaDisk::block_done(std::uint64_t tag, BlockStatus status, std::vector<std::byte> data) {
    Transfer& t = state_.transfer;
    if (tag != t.waiting || tag == 0) return;  // of a command that a reset has ended
    t.waiting = 0;
    if (status != BlockStatus::success) return fail(status);
    switch (t.kind) {
        case Kind::read_pio:
            return begin_data_in(std::move(data), Announce::interrupt);
        case Kind::read_dma:
            return begin_dma_in(std::move(data));
        case Kind::write_pio:
        case Kind::write_dma:
            written_.add(t.piece);
            return piece_done();
        case Kind::verify:
            return piece_done();
        case Kind::trim:
            return trim_next();
        case Kind::flush:
            t = {};
            return finish();
        case Kind::none:
            return;
    }
}

void AtaDisk::fail(BlockStatus status) {
    const Transfer t = std::exchange(state_.transfer, {});
    if (t.kind != Kind::flush && t.kind != Kind::trim) put_address(t.lba, t.extended);
    scope_.trace("failed", static_cast<std::uint64_t>(status), t.lba);
    switch (status) {
        case BlockStatus::out_of_range:
            return finish_error(ata::error::id_not_found);
        case BlockStatus::read_only:
            return finish_error(ata::error::aborted, ata::status::fault);
        default:
            return finish_error(ata::error::uncorrectable);
    }
}

}  // namespace models
