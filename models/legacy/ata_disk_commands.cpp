// The disk's commands: one row each, and what they do with the registers.
#include <algorithm>
#include <array>
#include <cstring>
#include <string_view>

#include "models/legacy/ata_disk.h"
#include "sim/bits.h"

namespace models {

namespace cmd = ata::command;

namespace {
constexpr std::uint16_t most_trim_blocks = 8;
}

struct AtaDisk::Command {
    std::uint8_t code;
    std::string_view name;
    void (AtaDisk::*handler)(const Command&);
    Kind kind = Kind::none;
    bool extended = false;  // 48-bit address and 16-bit count
    bool multiple = false;
    bool force_unit_access = false;
};

std::span<const AtaDisk::Command> AtaDisk::commands() {
    using D = AtaDisk;
    static constexpr Command table[] = {
        {cmd::data_set_management, "DATA SET MANAGEMENT", &D::data_set_management, Kind::trim, true},
        {cmd::recalibrate, "RECALIBRATE", &D::no_data},
        {cmd::read_sectors, "READ SECTORS", &D::transfer, Kind::read_pio},
        {cmd::read_sectors_once, "READ SECTORS without retry", &D::transfer, Kind::read_pio},
        {cmd::read_sectors_ext, "READ SECTORS EXT", &D::transfer, Kind::read_pio, true},
        {cmd::read_dma_ext, "READ DMA EXT", &D::transfer, Kind::read_dma, true},
        {cmd::read_native_max_ext, "READ NATIVE MAX ADDRESS EXT", &D::native_max, Kind::none, true},
        {cmd::read_multiple_ext, "READ MULTIPLE EXT", &D::transfer, Kind::read_pio, true, true},
        {cmd::write_sectors, "WRITE SECTORS", &D::transfer, Kind::write_pio},
        {cmd::write_sectors_once, "WRITE SECTORS without retry", &D::transfer, Kind::write_pio},
        {cmd::write_sectors_ext, "WRITE SECTORS EXT", &D::transfer, Kind::write_pio, true},
        {cmd::write_dma_ext, "WRITE DMA EXT", &D::transfer, Kind::write_dma, true},
        {cmd::write_multiple_ext, "WRITE MULTIPLE EXT", &D::transfer, Kind::write_pio, true, true},
        {cmd::write_dma_fua_ext, "WRITE DMA FUA EXT", &D::transfer, Kind::write_dma, true, false, true},
        {cmd::verify, "READ VERIFY SECTORS", &D::transfer, Kind::verify},
        {cmd::verify_once, "READ VERIFY SECTORS without retry", &D::transfer, Kind::verify},
        {cmd::verify_ext, "READ VERIFY SECTORS EXT", &D::transfer, Kind::verify, true},
        {cmd::seek, "SEEK", &D::no_data},
        {cmd::initialize_parameters, "INITIALIZE DEVICE PARAMETERS", &D::initialize_parameters},
        {cmd::read_multiple, "READ MULTIPLE", &D::transfer, Kind::read_pio, false, true},
        {cmd::write_multiple, "WRITE MULTIPLE", &D::transfer, Kind::write_pio, false, true},
        {cmd::set_multiple, "SET MULTIPLE MODE", &D::set_multiple},
        {cmd::read_dma, "READ DMA", &D::transfer, Kind::read_dma},
        {cmd::read_dma_once, "READ DMA without retry", &D::transfer, Kind::read_dma},
        {cmd::write_dma, "WRITE DMA", &D::transfer, Kind::write_dma},
        {cmd::write_dma_once, "WRITE DMA without retry", &D::transfer, Kind::write_dma},
        {cmd::write_multiple_fua_ext, "WRITE MULTIPLE FUA EXT", &D::transfer, Kind::write_pio, true, true, true},
        {cmd::standby_immediate, "STANDBY IMMEDIATE", &D::power},
        {cmd::idle_immediate, "IDLE IMMEDIATE", &D::power},
        {cmd::standby, "STANDBY", &D::power},
        {cmd::idle, "IDLE", &D::power},
        {cmd::check_power, "CHECK POWER MODE", &D::check_power},
        {cmd::sleep, "SLEEP", &D::power},
        {cmd::flush_cache, "FLUSH CACHE", &D::flush, Kind::flush},
        {cmd::flush_cache_ext, "FLUSH CACHE EXT", &D::flush, Kind::flush, true},
        {cmd::identify, "IDENTIFY DEVICE", &D::identify},
        {cmd::set_features, "SET FEATURES", &D::set_features},
        {cmd::read_native_max, "READ NATIVE MAX ADDRESS", &D::native_max},
    };
    return table;
}

const AtaDisk::Command* AtaDisk::find(std::uint8_t code) {
    for (const Command& row : commands()) {
        if (row.code == code) return &row;
    }
    return nullptr;
}

void AtaDisk::execute(std::uint8_t code) {
    state_.transfer = {};
    const Command* row = find(code);
    // Recalibrate and seek have sixteen codes each, of which the lower half says nothing any more.
    if (row == nullptr && (code & 0xf0) == cmd::recalibrate) row = find(cmd::recalibrate);
    if (row == nullptr && (code & 0xf0) == cmd::seek) row = find(cmd::seek);
    scope_.trace("command", code, addressed(row != nullptr && row->extended).value_or(0), reg(ata::sector_count));
    if (row == nullptr) {
        ++refused_;
        return abort();
    }
    (this->*row->handler)(*row);
}

// ATA-6, 6.2: with the LBA bit 28 or 48 bits, without it cylinder, head and sector in the present translation.
std::optional<std::uint64_t> AtaDisk::addressed(bool extended) const {
    const std::uint64_t low =
        reg(ata::lba_low) | std::uint64_t{reg(ata::lba_mid)} << 8 | std::uint64_t{reg(ata::lba_high)} << 16;
    if (extended) {
        return low | std::uint64_t{old(ata::lba_low)} << 24 | std::uint64_t{old(ata::lba_mid)} << 32 |
               std::uint64_t{old(ata::lba_high)} << 40;
    }
    const std::uint64_t head = reg(ata::device) & ata::device_bits::head;
    if ((reg(ata::device) & ata::device_bits::lba) != 0) return low | head << 24;
    const std::uint64_t cylinder = low >> 8;
    const std::uint64_t sector = reg(ata::lba_low);
    if (sector == 0 || sector > state_.sectors_per_track || head >= state_.heads) return std::nullopt;
    return (cylinder * state_.heads + head) * state_.sectors_per_track + sector - 1;
}

std::uint64_t AtaDisk::counted(bool extended) const {
    const std::uint64_t low = reg(ata::sector_count);
    if (!extended) return low != 0 ? low : 256;
    const std::uint64_t count = low | std::uint64_t{old(ata::sector_count)} << 8;
    return count != 0 ? count : 65536;
}

void AtaDisk::put_address(std::uint64_t lba, bool extended) {
    if (!extended && (reg(ata::device) & ata::device_bits::lba) == 0) {
        const std::uint64_t track = lba / state_.sectors_per_track;
        lba = track / state_.heads << 8 | (lba % state_.sectors_per_track + 1);
        reg(ata::device) = static_cast<std::uint8_t>((reg(ata::device) & 0xf0) | track % state_.heads);
    } else if (!extended) {
        reg(ata::device) = static_cast<std::uint8_t>((reg(ata::device) & 0xf0) | (lba >> 24 & 0xf));
    }
    reg(ata::lba_low) = static_cast<std::uint8_t>(lba);
    reg(ata::lba_mid) = static_cast<std::uint8_t>(lba >> 8);
    reg(ata::lba_high) = static_cast<std::uint8_t>(lba >> 16);
    if (extended) set_old_address(lba >> 24);
}

void AtaDisk::transfer(const Command& command) {
    const bool writes = command.kind == Kind::write_pio || command.kind == Kind::write_dma;
    if (command.multiple && state_.multiple == 0) return abort();
    const auto lba = addressed(command.extended);
    const std::uint64_t count = counted(command.extended);
    if (!lba || *lba >= sectors_ || count > sectors_ - *lba) return finish_error(ata::error::id_not_found);
    if (writes && geometry_.read_only) return abort();
    Transfer& t = state_.transfer;
    t.kind = command.kind;
    t.lba = *lba;
    t.left = count;
    t.block = command.multiple ? state_.multiple : 1;
    t.extended = command.extended;
    t.force_unit_access = command.force_unit_access;
    state_.standby = false;
    next_piece();
}

void AtaDisk::flush(const Command& command) {
    state_.transfer.kind = Kind::flush;
    state_.transfer.extended = command.extended;
    submit(vmbus::BlockRequest::Operation::flush, 0, 0, {});
}

void AtaDisk::identify(const Command&) {
    begin_data_in(identify_data(), Announce::interrupt);
}

void AtaDisk::no_data(const Command&) {
    finish();
}

void AtaDisk::power(const Command& command) {
    state_.standby =
        command.code == cmd::standby_immediate || command.code == cmd::standby || command.code == cmd::sleep;
    finish();
}

void AtaDisk::check_power(const Command&) {
    constexpr std::uint8_t in_standby = 0x00, active = 0xff;
    reg(ata::sector_count) = state_.standby ? in_standby : active;
    finish();
}

void AtaDisk::native_max(const Command& command) {
    const std::uint64_t last = sectors_ - 1;
    put_address(command.extended ? last : std::min(last, ata::lba28_sectors), command.extended);
    finish();
}

void AtaDisk::set_multiple(const Command&) {
    const std::uint8_t count = reg(ata::sector_count);
    if (count > ata::most_sectors_per_block || (count & (count - 1)) != 0) return abort();
    state_.multiple = count;
    finish();
}

void AtaDisk::initialize_parameters(const Command&) {
    if (reg(ata::sector_count) == 0) return abort();
    state_.sectors_per_track = reg(ata::sector_count);
    state_.heads = static_cast<std::uint8_t>((reg(ata::device) & ata::device_bits::head) + 1);
    finish();
}

void AtaDisk::set_features(const Command&) {
    namespace feature = ata::feature;
    switch (reg(ata::error_features)) {
        case feature::enable_write_cache:
            state_.write_cache = true;
            return finish();
        case feature::disable_write_cache:
            // What the cache holds is on the medium before the command ends.
            state_.write_cache = false;
            state_.transfer.kind = Kind::flush;
            return submit(vmbus::BlockRequest::Operation::flush, 0, 0, {});
        case feature::enable_look_ahead:
            state_.look_ahead = true;
            return finish();
        case feature::disable_look_ahead:
            state_.look_ahead = false;
            return finish();
        case feature::set_transfer_mode: {
            const std::uint8_t mode = reg(ata::sector_count);
            const bool pio = mode <= 1 || (mode >= 0x08 && mode <= 0x0c);
            const bool multiword = mode >= 0x20 && mode <= 0x22;
            if (!pio && !multiword) return abort();
            if (multiword) state_.transfer_mode = mode;
            return finish();
        }
        case feature::disable_reverting:
        case feature::enable_reverting:
            return finish();
        default:
            return abort();
    }
}

// ACS-2, 7.10: blocks of 512 bytes with 64 ranges of 48-bit address and 16-bit count.
void AtaDisk::data_set_management(const Command&) {
    constexpr std::uint8_t trim = 1;
    if (!geometry_.unmap || reg(ata::error_features) != trim || counted(true) > most_trim_blocks) return abort();
    state_.transfer.kind = Kind::trim;
    state_.transfer.extended = true;
    state_.transfer.piece = 0;
    begin_dma_out(counted(true) * ata::sector_bytes);
}

void AtaDisk::trim_next() {
    Transfer& t = state_.transfer;
    while (std::size_t{t.piece} * 8 < buffer().size()) {
        std::uint64_t entry = 0;
        std::memcpy(&entry, &buffer()[std::size_t{t.piece++} * 8], sizeof entry);
        const std::uint64_t lba = sim::bits(entry, 47, 0);
        const std::uint64_t count = entry >> 48;
        if (count == 0) continue;
        if (lba >= sectors_ || count > sectors_ - lba) {
            t = {};
            return finish_error(ata::error::id_not_found);
        }
        return submit(vmbus::BlockRequest::Operation::unmap, lba, count, {});
    }
    t = {};
    finish();
}

// ATA/ATAPI-8 ACS, 7.16.7. Strings have their bytes swapped within each word.
std::vector<std::byte> AtaDisk::identify_data() const {
    std::array<std::uint16_t, 256> word{};
    const auto text = [&word](std::size_t first, std::size_t words, std::string_view what) {
        for (std::size_t i = 0; i < 2 * words; ++i) {
            const auto c = static_cast<std::uint8_t>(i < what.size() ? what[i] : ' ');
            word[first + i / 2] = static_cast<std::uint16_t>(word[first + i / 2] | (i % 2 == 0 ? c << 8 : c));
        }
    };
    const auto put32 = [&word](std::size_t first, std::uint64_t value) {
        word[first] = static_cast<std::uint16_t>(value);
        word[first + 1] = static_cast<std::uint16_t>(value >> 16);
    };
    constexpr std::uint64_t heads = 16, per_track = 63, most_cylinders = 16383;
    const std::uint64_t cylinders = std::min(sectors_ / (heads * per_track), most_cylinders);
    word[0] = 0x0040;  // fixed disk
    word[1] = static_cast<std::uint16_t>(cylinders);
    word[3] = heads;
    word[6] = per_track;
    text(10, 10, "");
    text(23, 4, "1.1.0");
    text(27, 20, "Virtual HD");
    word[47] = 0x8000 | ata::most_sectors_per_block;
    word[49] = 0x0f00;  // LBA, DMA, IORDY
    word[50] = 0x4000;
    word[51] = word[52] = 0x0200;
    word[53] = 0x0007;  // words 54 to 58, 64 to 70 and 88 mean something
    const std::uint64_t track_sectors = std::uint64_t{state_.heads} * state_.sectors_per_track;
    const std::uint64_t present = std::min<std::uint64_t>(sectors_ / track_sectors, 0xffff);
    word[54] = static_cast<std::uint16_t>(present);
    word[55] = state_.heads;
    word[56] = state_.sectors_per_track;
    put32(57, std::min(present * track_sectors, ata::lba28_sectors));
    word[59] = state_.multiple != 0 ? static_cast<std::uint16_t>(0x0100 | state_.multiple) : 0;
    put32(60, std::min(sectors_, ata::lba28_sectors));
    word[63] = static_cast<std::uint16_t>(0x0007 | (0x0100 << (state_.transfer_mode & 3)));
    word[64] = 0x0003;  // PIO modes 3 and 4
    for (const std::size_t cycle_ns : {65u, 66u, 67u, 68u}) word[cycle_ns] = 120;
    word[80] = 0x01fe;  // up to ATA8-ACS
    constexpr std::uint16_t write_cache = 1u << 5, look_ahead = 1u << 6;
    word[82] = write_cache | look_ahead;
    word[83] = 0x4000 | 1u << 10 | 1u << 12 | 1u << 13;  // 48-bit, FLUSH CACHE, FLUSH CACHE EXT
    word[84] = 0x4000 | 1u << 6;                         // WRITE DMA FUA EXT
    word[85] =
        static_cast<std::uint16_t>((state_.write_cache ? write_cache : 0) | (state_.look_ahead ? look_ahead : 0));
    word[86] = 1u << 10 | 1u << 12 | 1u << 13;
    word[87] = word[84];
    put32(100, sectors_);
    put32(102, sectors_ >> 32);
    if (geometry_.physical_sector_bytes > ata::sector_bytes) {
        unsigned log2 = 0;
        while (ata::sector_bytes << log2 < geometry_.physical_sector_bytes) ++log2;
        word[106] = static_cast<std::uint16_t>(0x6000 | log2);
        word[209] = 0x4000;
    }
    if (geometry_.unmap) {
        word[69] = 1u << 14 | 1u << 5;  // after a trim: deterministic, zeros
        word[105] = most_trim_blocks;
        word[169] = 1;
    }
    std::vector<std::byte> bytes(512);
    std::memcpy(bytes.data(), word.data(), bytes.size());
    // The integrity word: signature, and a sum of all bytes that is 0.
    bytes[510] = std::byte{0xa5};
    unsigned sum = 0;
    for (const std::byte b : bytes) sum += std::to_integer<unsigned>(b);
    bytes[511] = static_cast<std::byte>(0 - sum);
    return bytes;
}

}  // namespace models
