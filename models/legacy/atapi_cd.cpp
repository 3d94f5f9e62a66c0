#include "models/legacy/atapi_cd.h"

#include <algorithm>
#include <cstring>
#include <string_view>
#include <utility>

namespace models {

namespace packet = ata::packet;
using vmbus::BlockRequest;
using vmbus::BlockStatus;

namespace {

// Sense key, additional code and qualifier (MMC-3, annex A).
constexpr AtapiCd::Sense none{}, no_medium{2, 0x3a, 0}, medium_error{3, 0x11, 0}, unknown_command{5, 0x20, 0},
    out_of_range{5, 0x21, 0}, bad_field{5, 0x24, 0}, removal_prevented{5, 0x53, 2}, medium_changed{6, 0x28, 0};

constexpr std::uint64_t read_piece = 32;  // sectors

std::uint32_t big32(std::span<const std::uint8_t> bytes) {
    return std::uint32_t{bytes[0]} << 24 | std::uint32_t{bytes[1]} << 16 | std::uint32_t{bytes[2]} << 8 | bytes[3];
}
std::uint16_t big16(std::span<const std::uint8_t> bytes) {
    return static_cast<std::uint16_t>(bytes[0] << 8 | bytes[1]);
}
void put_big32(std::span<std::byte> at, std::uint64_t value) {
    for (unsigned i = 0; i < 4; ++i) at[i] = static_cast<std::byte>(value >> (24 - 8 * i));
}
void put_text(std::span<std::byte> at, std::string_view text) {
    for (std::size_t i = 0; i < at.size(); ++i) at[i] = static_cast<std::byte>(i < text.size() ? text[i] : ' ');
}
std::vector<std::byte> bytes_of(std::initializer_list<unsigned> values) {
    std::vector<std::byte> bytes;
    for (const unsigned value : values) bytes.push_back(static_cast<std::byte>(value));
    return bytes;
}

}  // namespace

struct AtapiCd::Row {
    std::uint8_t code;
    std::string_view name;
    void (AtapiCd::*handler)(const Packet&);
    bool needs_disc = false;
    bool even_if_changed = false;  // carried out though the host has not heard of a new disc
};

std::span<const AtapiCd::Row> AtapiCd::commands() {
    using D = AtapiCd;
    static constexpr Row table[] = {
        {0x00, "TEST UNIT READY", &D::test_unit_ready, true},
        {0x03, "REQUEST SENSE", &D::request_sense, false, true},
        {0x12, "INQUIRY", &D::inquiry, false, true},
        {0x1b, "START STOP UNIT", &D::start_stop},
        {0x1e, "PREVENT ALLOW MEDIUM REMOVAL", &D::prevent_removal},
        {0x25, "READ CAPACITY", &D::read_capacity, true},
        {0x28, "READ (10)", &D::read10, true},
        {0x43, "READ TOC", &D::read_toc, true},
        {0x46, "GET CONFIGURATION", &D::get_configuration, false, true},
        {0x4a, "GET EVENT STATUS NOTIFICATION", &D::get_event_status, false, true},
        {0x5a, "MODE SENSE (10)", &D::mode_sense10},
        {0xa8, "READ (12)", &D::read12, true},
    };
    return table;
}

AtapiCd::AtapiCd(const sim::Scope& scope)
    : scope_(scope),
      read_(scope.counter("read", "sectors", "sectors that the guest has read")),
      refused_(scope.counter("refused", "commands", "packet commands that the drive does not carry out")) {
    reset();
}

AtapiCd::~AtapiCd() {
    if (disc_ != nullptr) disc_->attach(nullptr);
}

void AtapiCd::insert(vmbus::BlockDevice* disc) {
    if (disc_ != nullptr) disc_->attach(nullptr);
    disc_ = disc;
    if (disc_ != nullptr) disc_->attach(this);
    if (state_.waiting != 0) {
        state_.waiting = 0;
        refuse(no_medium);
    }
    state_.disc_changed = disc_ != nullptr;
}

std::uint64_t AtapiCd::sectors() const {
    return disc_ != nullptr ? disc_->geometry().size_bytes / packet::cd_sector_bytes : 0;
}

void AtapiCd::drive_reset() {
    const bool changed = state_.disc_changed;
    const std::uint64_t tag = state_.last_tag;
    state_ = {};
    state_.disc_changed = changed;
    state_.last_tag = tag;
}

void AtapiCd::execute(std::uint8_t command) {
    scope_.trace("command", command);
    state_.taking_packet = false;
    switch (command) {
        case ata::command::packet:
            state_.by_dma = (reg(ata::error_features) & packet::dma_feature) != 0;
            state_.limit = reg(ata::lba_mid) | std::uint32_t{reg(ata::lba_high)} << 8;
            state_.taking_packet = true;
            reg(ata::sector_count) = packet::command_phase;
            return begin_data_out(packet::command_bytes, Announce::silently);
        case ata::command::identify_packet:
            state_.reply.clear();
            return begin_data_in(identify_data(), Announce::interrupt);
        case ata::command::device_reset:
            return reset();
        case ata::command::set_features:
            return finish();
        case ata::command::identify:
            // Not a disk, says the signature that an aborted IDENTIFY DEVICE leaves (ATA-6, 9.12).
            put_signature();
            return finish_error(ata::error::aborted);
        default:
            return finish_error(ata::error::aborted);
    }
}

void AtapiCd::transfer_done() {
    if (state_.taking_packet) return take_packet();
    if (state_.reply.empty()) return;  // IDENTIFY PACKET DEVICE ends with its data
    send_part();
}

void AtapiCd::take_packet() {
    state_.taking_packet = false;
    Packet received{};
    std::memcpy(received.data(), buffer().data(), received.size());
    scope_.trace("packet", received[0]);
    run(received);
}

void AtapiCd::run(const Packet& command) {
    const auto rows = commands();
    const auto row = std::find_if(rows.begin(), rows.end(), [&](const Row& r) { return r.code == command[0]; });
    if (row == rows.end()) {
        ++refused_;
        return refuse(unknown_command);
    }
    if (state_.disc_changed && !row->even_if_changed) {
        state_.disc_changed = false;
        return refuse(medium_changed);
    }
    if (row->needs_disc && disc_ == nullptr) return refuse(no_medium);
    if (command[0] != 0x03) state_.sense = none;
    (this->*row->handler)(command);
}

// The error register repeats the sense key; the rest is asked for by REQUEST SENSE.
void AtapiCd::refuse(Sense sense) {
    state_.sense = sense;
    state_.reply.clear();
    state_.left = 0;
    reg(ata::sector_count) = packet::command_phase | packet::to_host;
    finish_error(static_cast<std::uint8_t>(sense.key << 4 | ata::error::aborted));
}

void AtapiCd::done() {
    state_.reply.clear();
    reg(ata::sector_count) = packet::command_phase | packet::to_host;
    finish();
}

void AtapiCd::reply(std::vector<std::byte> data, std::size_t allocation) {
    data.resize(std::min(data.size(), allocation));
    if (data.empty()) return done();
    state_.reply = std::move(data);
    state_.sent = 0;
    send_part();
}

// The next part of the reply: all of it by DMA, or what the host's byte count allows through the data port. When all is
// sent the disc goes on, or the command ends.
void AtapiCd::send_part() {
    if (state_.sent == state_.reply.size()) {
        if (state_.left != 0) return next_read();
        return done();
    }
    const auto rest = std::span{state_.reply}.subspan(state_.sent);
    std::size_t part = rest.size();
    if (!state_.by_dma) {
        // 0 and odd limits are as good as the largest and the next lower ones.
        std::size_t limit = state_.limit == 0 || state_.limit == 0xffff ? 0xfffe : state_.limit & ~1u;
        if (limit == 0) limit = 2;
        part = std::min(part, limit);
        reg(ata::lba_mid) = static_cast<std::uint8_t>(part);
        reg(ata::lba_high) = static_cast<std::uint8_t>(part >> 8);
    }
    state_.sent += part;
    reg(ata::sector_count) = packet::to_host;
    std::vector<std::byte> data{rest.begin(), rest.begin() + static_cast<std::ptrdiff_t>(part)};
    data.resize((part + 1) & ~std::size_t{1});
    if (state_.by_dma) {
        begin_dma_in(std::move(data));
    } else {
        begin_data_in(std::move(data), Announce::interrupt);
    }
}

void AtapiCd::test_unit_ready(const Packet&) {
    done();
}

void AtapiCd::request_sense(const Packet& command) {
    Sense told = std::exchange(state_.sense, none);
    if (told == none && state_.disc_changed) {
        told = medium_changed;
        state_.disc_changed = false;
    }
    std::vector<std::byte> data(18);
    data[0] = std::byte{0x70};
    data[2] = static_cast<std::byte>(told.key);
    data[7] = std::byte{10};
    data[12] = static_cast<std::byte>(told.code);
    data[13] = static_cast<std::byte>(told.qualifier);
    reply(std::move(data), command[4]);
}

void AtapiCd::inquiry(const Packet& command) {
    if ((command[1] & 3) != 0 || command[2] != 0) return refuse(bad_field);
    std::vector<std::byte> data = bytes_of({0x05, 0x80, 0x00, 0x21, 31, 0, 0, 0});
    data.resize(36);
    put_text(std::span{data}.subspan(8, 8), "Msft");
    put_text(std::span{data}.subspan(16, 16), "Virtual CD/ROM");
    put_text(std::span{data}.subspan(32, 4), "1.0");
    reply(std::move(data), command[4]);
}

void AtapiCd::start_stop(const Packet& command) {
    constexpr unsigned eject = 2;
    if ((command[4] & 3) == eject && state_.locked) return refuse(removal_prevented);
    done();  // the image stays in: whoever runs the host decides about it
}

void AtapiCd::prevent_removal(const Packet& command) {
    state_.locked = (command[4] & 1) != 0;
    done();
}

void AtapiCd::read_capacity(const Packet&) {
    constexpr std::size_t bytes = 8;
    std::vector<std::byte> data(bytes);
    put_big32(data, sectors() - 1);
    put_big32(std::span{data}.subspan(4), packet::cd_sector_bytes);
    reply(std::move(data), bytes);
}

void AtapiCd::read10(const Packet& command) {
    read_sectors(big32(std::span{command}.subspan(2)), big16(std::span{command}.subspan(7)));
}

void AtapiCd::read12(const Packet& command) {
    read_sectors(big32(std::span{command}.subspan(2)), big32(std::span{command}.subspan(6)));
}

void AtapiCd::read_sectors(std::uint64_t lba, std::uint64_t count) {
    if (lba >= sectors() || count > sectors() - lba) return refuse(out_of_range);
    if (count == 0) return done();
    state_.lba = lba;
    state_.left = count;
    next_read();
}

void AtapiCd::next_read() {
    const std::uint64_t count = std::min(state_.left, read_piece);
    begin_waiting();
    BlockRequest request;
    request.tag = state_.waiting = ++state_.last_tag;
    request.offset_bytes = state_.lba * packet::cd_sector_bytes;
    request.length_bytes = count * packet::cd_sector_bytes;
    state_.lba += count;
    state_.left -= count;
    disc_->submit(std::move(request));
}

void AtapiCd::block_done(std::uint64_t tag, BlockStatus status, std::vector<std::byte> data) {
    if (tag != state_.waiting || tag == 0) return;
    state_.waiting = 0;
    if (status != BlockStatus::success) return refuse(medium_error);
    read_.add(data.size() / packet::cd_sector_bytes);
    const std::size_t size = data.size();
    reply(std::move(data), size);
}

// MMC-3, 5.23: one data track and the lead-out, in LBA or in minutes, seconds and frames.
void AtapiCd::read_toc(const Packet& command) {
    const bool in_time = (command[1] & 2) != 0;
    const auto address = [in_time](std::uint64_t lba) -> std::uint64_t {
        if (!in_time) return lba;
        const std::uint64_t frames = lba + 150;
        return frames / (60 * 75) % 100 << 16 | frames / 75 % 60 << 8 | frames % 75;
    };
    constexpr unsigned lead_out = 0xaa;
    const unsigned format = command[2] != 0 ? command[2] & 0xfu : command[9] >> 6;
    std::vector<std::byte> data = bytes_of({0, 0, 1, 1});
    const auto add = [&](unsigned track, std::uint64_t lba) {
        const std::size_t at = data.size();
        const auto entry = bytes_of({0, 0x14, track, 0, 0, 0, 0, 0});
        data.insert(data.end(), entry.begin(), entry.end());
        put_big32(std::span{data}.subspan(at + 4), address(lba));
    };
    if (format == 0) {
        if (command[6] > 1 && command[6] != lead_out) return refuse(bad_field);
        if (command[6] <= 1) add(1, 0);
        add(lead_out, sectors());
    } else if (format == 1) {
        add(1, 0);  // the only session begins with the first track
    } else {
        return refuse(bad_field);
    }
    data[1] = static_cast<std::byte>(data.size() - 2);
    reply(std::move(data), big16(std::span{command}.subspan(7)));
}

// MMC-3, 5.4: the profile list and the core feature.
void AtapiCd::get_configuration(const Packet& command) {
    const unsigned profile = disc_ != nullptr ? 0x08 : 0;
    std::vector<std::byte> data = bytes_of({0, 0, 0, 0, 0, 0, 0, profile});
    const unsigned from = big16(std::span{command}.subspan(2));
    const auto add = [&](unsigned feature, std::initializer_list<unsigned> bytes) {
        const auto made = bytes_of(bytes);
        if (feature >= from) data.insert(data.end(), made.begin(), made.end());
    };
    add(0, {0, 0, 3, 4, 0, 8, disc_ != nullptr ? 1u : 0u, 0});
    add(1, {0, 1, 3, 4, 0, 0, 0, 2});
    put_big32(data, data.size() - 4);
    reply(std::move(data), big16(std::span{command}.subspan(7)));
}

// MMC-3, 5.6: asked, not told; the media class alone.
void AtapiCd::get_event_status(const Packet& command) {
    constexpr unsigned polled = 1, media_class = 4;
    if ((command[1] & polled) == 0) return refuse(bad_field);
    const unsigned allocation = big16(std::span{command}.subspan(7));
    if ((command[4] >> media_class & 1) == 0) {
        return reply(bytes_of({0, 2, 0x80, 1u << media_class}), allocation);
    }
    const unsigned event = state_.disc_changed ? 2 : 0;
    reply(bytes_of({0, 6, media_class, 1u << media_class, event, disc_ != nullptr ? 2u : 0u, 0, 0}), allocation);
}

// MMC-3, annex C.4: capabilities and mechanical status; a drive that reads, with a tray.
void AtapiCd::mode_sense10(const Packet& command) {
    const unsigned page = command[2] & 0x3f;
    if (page != 0x2a && page != 0x3f) return refuse(bad_field);
    std::vector<std::byte> data = bytes_of({0, 26, 0, 0, 0, 0, 0, 0});
    const auto capabilities = bytes_of({0x2a, 0x12, 0x03, 0x00, 0x01, 0x00, state_.locked ? 0x2bu : 0x29u,
                                        0x00, 0x02, 0xc2, 0x00, 0x02, 0x00, 0x00,
                                        0x02, 0xc2, 0,    0,    0,    0});
    data.insert(data.end(), capabilities.begin(), capabilities.end());
    reply(std::move(data), big16(std::span{command}.subspan(7)));
}

// ATA/ATAPI-6, 8.16.
std::vector<std::byte> AtapiCd::identify_data() const {
    std::array<std::uint16_t, 256> word{};
    const auto text = [&word](std::size_t first, std::size_t words, std::string_view what) {
        for (std::size_t i = 0; i < 2 * words; ++i) {
            const auto c = static_cast<std::uint8_t>(i < what.size() ? what[i] : ' ');
            word[first + i / 2] = static_cast<std::uint16_t>(word[first + i / 2] | (i % 2 == 0 ? c << 8 : c));
        }
    };
    word[0] = 0x8580;  // packet device, CD-ROM, removable, 12-byte packets, answers within 3 ms
    text(10, 10, "");
    text(23, 4, "");
    text(27, 20, "Virtual CD");
    word[49] = 0x0f00;
    word[53] = 0x0003;
    word[63] = 0x0407;
    word[64] = 0x0003;
    for (const std::size_t cycle_ns : {65u, 66u, 67u, 68u}) word[cycle_ns] = 120;
    word[80] = 0x007e;
    word[82] = 0x0210;  // DEVICE RESET, PACKET
    word[83] = 0x4000;
    word[85] = 0x0210;
    std::vector<std::byte> bytes(512);
    std::memcpy(bytes.data(), word.data(), bytes.size());
    return bytes;
}

}  // namespace models
