// The writing session of a VHDX (see vhdx_image.h): headers, commits through the log, close.
#include "models/disk/crc32c.h"
#include "models/disk/image_structure.h"
#include "models/disk/vhdx_image.h"

namespace models::vhdx {
namespace {

// The most pages that one change touches: its table entry, the entry of its sector bitmap, and the bits of a block of
// 256 MiB in sectors of 512 bytes, not aligned to pages.
constexpr std::size_t most_pages_of_a_change = 2 + (most_block_bytes / 512 / 8) / log_sector_bytes + 1;
static_assert(most_pages_of_a_change < LogWriter::most_pages / 2);

// Both copies, so that one may be lost later.
IoStatus update_both(ByteFile& file, Headers& headers, const Header& header) {
    const auto status = update_header(file, headers, header);
    return status == IoStatus::ok ? update_header(file, headers, header) : status;
}

}  // namespace

// 2.2.2.1
IoStatus update_header(ByteFile& file, Headers& headers, Header header) {
    header.sequence_number = headers.get().sequence_number + 1;
    if (header.sequence_number == 0) return IoStatus::damaged;  // no number is greater
    header.checksum = 0;
    std::array<std::byte, header_bytes> bytes{};
    put_structure(bytes, 0, header);
    header.checksum = crc32c(bytes);
    put_structure(bytes, 0, header);
    const unsigned other = 1 - headers.current;
    auto status = file.write(header_offsets[other], bytes);
    if (status == IoStatus::ok) status = file.flush();
    if (status != IoStatus::ok) return status;
    headers.valid[other] = header;
    headers.current = other;
    return IoStatus::ok;
}

// What the file holds after a failed flush is unknown, so nothing may build on it.
IoStatus VhdxImage::fail(IoStatus status) {
    if (status != IoStatus::ok && failure_ == IoStatus::ok) failure_ = status;
    return status;
}

IoStatus VhdxImage::begin_change() {
    if (failure_ != IoStatus::ok) return failure_;
    if (session_ != Session::untouched) return IoStatus::ok;
    Header header = headers_.get();
    header.file_write_guid = draw_guid(guids_);
    header.data_write_guid = draw_guid(guids_);
    auto status = update_both(*file_, headers_, header);
    // Log entries tell the file's size in whole MiB (2.3.1.1).
    if (status == IoStatus::ok && file_->size() % mib != 0) status = file_->resize(round_up(file_->size(), mib));
    if (status == IoStatus::ok) session_ = Session::changing;
    return fail(status);
}

IoStatus VhdxImage::make_room() {
    const bool full = pages_.dirty().size() + most_pages_of_a_change > LogWriter::most_pages;
    return full ? commit() : IoStatus::ok;
}

IoStatus VhdxImage::commit() {
    auto status = file_->flush();  // step 1
    if (status != IoStatus::ok) return fail(status);
    if (session_ != Session::logging) {
        if (layout_.log.length == 0) return fail(IoStatus::damaged);
        log_ = LogWriter(layout_.log, draw_guid(guids_));
    }
    status = log_.append(*file_, pages_.dirty());  // step 2
    if (status == IoStatus::ok) status = file_->flush();
    if (status == IoStatus::ok && session_ != Session::logging) {
        // The log was empty, so the first entry may come before the header names it; the other way round, a power cut
        // in between would leave a file with a log and no valid entry in it, which must not be opened (2.3.3).
        Header header = headers_.get();
        header.log_guid = log_.guid();
        status = update_both(*file_, headers_, header);
    }
    if (status != IoStatus::ok) return fail(status);
    session_ = Session::logging;
    for (const auto& [offset, page] : pages_.dirty()) {  // step 3
        status = file_->write(offset, page);
        if (status != IoStatus::ok) return fail(status);
    }
    pages_.mark_written();
    for (const auto& [begin, count] : freed_) space_.release(begin, count);
    freed_.clear();
    return IoStatus::ok;
}

IoStatus VhdxImage::do_flush() {
    if (failure_ != IoStatus::ok) return failure_;
    return pages_.dirty().empty() ? fail(file_->flush()) : commit();
}

IoStatus VhdxImage::do_close() {
    auto status = do_flush();
    if (status != IoStatus::ok || session_ != Session::logging) return status;
    status = file_->flush();  // the pages of the last commit are in place
    if (status != IoStatus::ok) return fail(status);
    Header header = headers_.get();
    header.log_guid = Guid{};
    return fail(update_both(*file_, headers_, header));
}

}  // namespace models::vhdx
