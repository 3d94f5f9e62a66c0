// The log of a VHDX ([MS-VHDX] 2.3): metadata reaches its place only after it is safe in the log, so that a power
// cut in between loses nothing and tears nothing.
#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "models/disk/byte_file.h"
#include "models/disk/vhdx_format.h"
#include "models/disk/vhdx_layout.h"

namespace models::vhdx {

using LogPages = std::map<std::uint64_t, std::vector<std::byte>>;  // 4 KiB each, by file offset

// One change that a log asks for.
struct LoggedWrite {
    std::uint64_t file_offset = 0;
    std::uint64_t zeros = 0;        // this many, or
    std::vector<std::byte> sector;  // 4 KiB
};

// The active sequence (2.3.3): the newest that is whole.
struct LogSequence {
    std::uint64_t sequence_number = 0;
    std::uint64_t entries = 0;
    std::uint64_t last_file_offset = 0;  // the file must become at least this long
    std::vector<LoggedWrite> writes;     // in order
};

// Throws sim::UserError where there is none, where the file was truncated, or where it would change what a log may not.
LogSequence read_log(const ByteFile& file, const Header& header);

// Makes the changes; flushing is the caller's.
IoStatus replay(const LogSequence& sequence, ByteFile& file);

// Writes entries one at a time. Each is a sequence by itself: the caller sees to it that all changes of the entry
// before are in place and flushed, when the next one is written.
class LogWriter final {
public:
    static constexpr std::size_t most_pages = first_sector_descriptors;  // in one entry

    LogWriter() = default;
    LogWriter(const Extent& log, const Guid& guid);

    const Guid& guid() const { return guid_; }
    // Does not flush.
    IoStatus append(ByteFile& file, const LogPages& pages);

private:
    Extent log_;
    Guid guid_;
    std::uint64_t next_offset_ = 0;
    std::uint64_t next_sequence_number_ = 1;
};

}  // namespace models::vhdx
