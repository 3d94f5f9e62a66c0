#include "models/disk/vhdx_log.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "models/disk/crc32c.h"
#include "models/disk/image_structure.h"
#include "sim/check.h"

namespace models::vhdx {
namespace {

// A log is 1 MiB where Windows or we create it. A larger one than this is not read, and not all of it is used.
constexpr std::uint64_t most_log_bytes = 16 * mib;

std::uint64_t descriptor_sectors(std::uint64_t descriptors) {
    const std::uint64_t later = descriptors > first_sector_descriptors ? descriptors - first_sector_descriptors : 0;
    return 1 + divide_up(later, later_sector_descriptors);
}

// Finds and reads entries. An entry may wrap round the end of the log.
class LogReader final {
public:
    LogReader(const ByteFile& file, const Header& header)
        : file_(file), header_(header), checksum_budget_(4 * std::uint64_t{header.log_bytes}) {}

    struct Entry {
        std::uint64_t offset = 0;
        LogEntryHeader head;
    };
    using Sequence = std::vector<Entry>;

    // 2.3.3, steps 1 to 7.
    Sequence find_active() {
        Sequence candidate;
        std::uint64_t tail = 0;
        for (;;) {
            Sequence current;
            std::uint64_t at = tail, length = 0;
            while (const auto entry = entry_at(at, length)) {
                const bool follows =
                    current.empty() || entry->sequence_number == current.back().head.sequence_number + 1;
                if (!follows) break;
                current.push_back({at, *entry});
                length += entry->entry_bytes;
                at = (at + entry->entry_bytes) % header_.log_bytes;
            }
            const bool valid = !current.empty() && find_tail(current) < current.size();
            const std::uint64_t former_tail = tail;
            tail = valid ? at : (tail + log_sector_bytes) % header_.log_bytes;
            const bool newer = candidate.empty() ||
                               (valid && current.back().head.sequence_number > candidate.back().head.sequence_number);
            if (valid && newer) candidate = std::move(current);
            if (tail <= former_tail) return candidate;
        }
    }

    // Where in a sequence its replay begins; its size if nowhere.
    static std::size_t find_tail(const Sequence& sequence) {
        std::size_t i = 0;
        while (i < sequence.size() && sequence[i].offset != sequence.back().head.tail) ++i;
        return i;
    }

    void collect(const Entry& entry, std::vector<LoggedWrite>& writes) {
        const auto bytes = read(entry.offset, entry.head.entry_bytes);
        std::uint64_t sector = descriptor_sectors(entry.head.descriptor_count);
        for (std::uint32_t i = 0; i < entry.head.descriptor_count; ++i) {
            const auto descriptor = descriptor_of(bytes, i);
            LoggedWrite write;
            write.file_offset = descriptor.file_offset;
            if (descriptor.signature == zero_signature) {
                write.zeros = descriptor.leading_bytes;
            } else {
                const auto data = std::span{bytes}.subspan(log_sector_bytes * sector++, log_sector_bytes);
                write.sector.assign(data.begin(), data.end());
                put_structure(write.sector, 0, descriptor.leading_bytes);
                put_structure(write.sector, log_sector_bytes - 4, descriptor.trailing_bytes);
            }
            check_target(write);
            writes.push_back(std::move(write));
        }
    }

private:
    static LogDescriptor descriptor_of(std::span<const std::byte> entry, std::uint32_t i) {
        return structure_at<LogDescriptor>(entry, sizeof(LogEntryHeader) + i * sizeof(LogDescriptor));
    }

    std::vector<std::byte> read(std::uint64_t offset, std::uint64_t length) {
        std::vector<std::byte> bytes(length);
        const std::uint64_t first = std::min(length, header_.log_bytes - offset);
        if (file_.read(header_.log_offset + offset, std::span{bytes}.first(first)) != IoStatus::ok ||
            file_.read(header_.log_offset, std::span{bytes}.subspan(first)) != IoStatus::ok) {
            refuse(file_, "its log cannot be read");
        }
        return bytes;
    }

    // Nothing if no valid entry is there, or if it would make a sequence longer than the log.
    std::optional<LogEntryHeader> entry_at(std::uint64_t offset, std::uint64_t sequence_bytes) {
        const auto known = known_.find(offset);
        const auto& entry =
            known != known_.end() ? known->second : known_.emplace(offset, read_entry(offset)).first->second;
        if (entry && entry->entry_bytes > header_.log_bytes - sequence_bytes) return std::nullopt;
        return entry;
    }

    std::optional<LogEntryHeader> read_entry(std::uint64_t offset) {
        const auto head = structure_at<LogEntryHeader>(read(offset, sizeof(LogEntryHeader)));
        if (head.signature != log_entry_signature || head.entry_bytes % log_sector_bytes != 0 ||
            head.entry_bytes == 0 || head.entry_bytes > header_.log_bytes || head.tail % log_sector_bytes != 0 ||
            head.tail >= header_.log_bytes || head.sequence_number == 0 || head.log_guid != header_.log_guid ||
            descriptor_sectors(head.descriptor_count) > head.entry_bytes / log_sector_bytes) {
            return std::nullopt;
        }
        // Entries do not lie inside each other in any log that was written as one.
        if (head.entry_bytes > checksum_budget_) refuse(file_, "its log consists of entries that overlap");
        checksum_budget_ -= head.entry_bytes;
        const auto bytes = read(offset, head.entry_bytes);
        constexpr std::array<std::byte, 4> zeros{};
        const std::uint32_t start = crc32c(zeros, crc32c(std::span{bytes}.first(4)));
        if (crc32c(std::span{bytes}.subspan(8), start) != head.checksum || !descriptors_valid(bytes, head)) {
            return std::nullopt;
        }
        return head;
    }

    static bool descriptors_valid(std::span<const std::byte> entry, const LogEntryHeader& head) {
        std::uint64_t sector = descriptor_sectors(head.descriptor_count);
        const std::uint64_t sectors = head.entry_bytes / log_sector_bytes;
        for (std::uint32_t i = 0; i < head.descriptor_count; ++i) {
            const auto descriptor = descriptor_of(entry, i);
            if (descriptor.sequence_number != head.sequence_number || descriptor.file_offset % log_sector_bytes != 0) {
                return false;
            }
            if (descriptor.signature == zero_signature) {
                if (descriptor.leading_bytes % log_sector_bytes != 0) return false;
                continue;
            }
            if (descriptor.signature != data_signature || sector == sectors) return false;
            const auto data = structure_at<LogDataSector>(entry, log_sector_bytes * sector++);
            const std::uint64_t number = std::uint64_t{data.sequence_high} << 32 | data.sequence_low;
            if (data.signature != data_sector_signature || number != head.sequence_number) return false;
        }
        return true;
    }

    void check_target(const LoggedWrite& write) {
        const std::uint64_t length = write.sector.empty() ? write.zeros : log_sector_bytes;
        const std::uint64_t offset = write.file_offset;
        if (offset > most_file_bytes || length > most_file_bytes - offset) {
            refuse(file_, fmt::format("its log writes to {:#x}, beyond 128 TiB", offset));
        }
        // 2.2.1 and 2.2.2: identifier and headers do not change through the log.
        if (offset < region_table_offsets[0]) {
            refuse(file_, fmt::format("its log writes to {:#x}, where the headers are", offset));
        }
        if (offset < header_.log_offset + header_.log_bytes && header_.log_offset < offset + length) {
            refuse(file_, fmt::format("its log writes to {:#x}, inside the log", offset));
        }
    }

    const ByteFile& file_;
    const Header& header_;
    std::map<std::uint64_t, std::optional<LogEntryHeader>> known_;  // by offset
    std::uint64_t checksum_budget_;
};

}  // namespace

LogSequence read_log(const ByteFile& file, const Header& header) {
    if (header.log_bytes == 0) refuse(file, "not closed cleanly, and without a log");
    if (header.log_bytes > most_log_bytes) refuse(file, "not closed cleanly, and its log is larger than 16 MiB");
    LogReader reader(file, header);
    const LogReader::Sequence active = reader.find_active();
    if (active.empty()) refuse(file, "not closed cleanly, and its log holds no valid entries");
    const LogEntryHeader& head = active.back().head;
    if (file.size() < head.flushed_file_offset) {
        refuse(file, fmt::format("truncated: it has {:#x} bytes, and had {:#x} when its log was written", file.size(),
                                 head.flushed_file_offset));
    }
    if (head.last_file_offset > most_file_bytes) refuse(file, "its log asks for more than 128 TiB");
    LogSequence sequence;
    sequence.sequence_number = head.sequence_number;
    sequence.last_file_offset = head.last_file_offset;
    for (std::size_t i = LogReader::find_tail(active); i < active.size(); ++i) {
        reader.collect(active[i], sequence.writes);
        ++sequence.entries;
    }
    return sequence;
}

IoStatus replay(const LogSequence& sequence, ByteFile& file) {
    const auto lengthen = [&](std::uint64_t end) { return file.size() < end ? file.resize(end) : IoStatus::ok; };
    for (const LoggedWrite& write : sequence.writes) {
        auto status = IoStatus::ok;
        if (!write.sector.empty()) {
            status = file.write(write.file_offset, write.sector);
        } else {
            status = lengthen(write.file_offset + write.zeros);
            if (status == IoStatus::ok) status = file.zero(write.file_offset, write.zeros);
        }
        if (status != IoStatus::ok) return status;
    }
    return lengthen(sequence.last_file_offset);
}

LogWriter::LogWriter(const Extent& log, const Guid& guid) : log_(log), guid_(guid) {
    log_.length = std::min(log_.length, most_log_bytes);
}

IoStatus LogWriter::append(ByteFile& file, const LogPages& pages) {
    // Two entries fit at the same time, so that the former stays valid until the new one is.
    static_assert(2 * (1 + most_pages) * log_sector_bytes <= alignment);
    VG_CHECK(pages.size() <= most_pages);
    std::vector<std::byte> entry((1 + pages.size()) * log_sector_bytes);
    if (next_offset_ + entry.size() > log_.length) next_offset_ = 0;

    LogEntryHeader head;
    head.signature = log_entry_signature;
    head.entry_bytes = static_cast<std::uint32_t>(entry.size());
    head.tail = static_cast<std::uint32_t>(next_offset_);
    head.sequence_number = next_sequence_number_;
    head.descriptor_count = static_cast<std::uint32_t>(pages.size());
    head.log_guid = guid_;
    head.flushed_file_offset = file.size();
    head.last_file_offset = file.size();
    put_structure(entry, 0, head);
    std::size_t i = 0;
    for (const auto& [file_offset, page] : pages) {
        LogDescriptor descriptor;
        descriptor.signature = data_signature;
        descriptor.leading_bytes = structure_at<std::uint64_t>(page);
        descriptor.trailing_bytes = structure_at<std::uint32_t>(page, log_sector_bytes - 4);
        descriptor.file_offset = file_offset;
        descriptor.sequence_number = next_sequence_number_;
        put_structure(entry, sizeof head + i * sizeof descriptor, descriptor);

        const auto sector = std::span{entry}.subspan((1 + i) * log_sector_bytes, log_sector_bytes);
        std::copy(page.begin(), page.end(), sector.begin());
        put_structure(sector, 0, data_sector_signature);
        put_structure(sector, 4, static_cast<std::uint32_t>(next_sequence_number_ >> 32));
        put_structure(sector, log_sector_bytes - 4, static_cast<std::uint32_t>(next_sequence_number_));
        ++i;
    }
    put_structure(entry, 4, crc32c(entry));
    if (const auto status = file.write(log_.offset + next_offset_, entry); status != IoStatus::ok) return status;
    next_offset_ += entry.size();
    ++next_sequence_number_;
    return IoStatus::ok;
}

}  // namespace models::vhdx
