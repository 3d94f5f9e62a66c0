#include "vmbus/storage/scsi_dvd.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include "sim/check.h"

namespace vmbus {
namespace {

using scsi::be;
using scsi::Opcode;
using scsi::put_be;

void put_text(std::vector<std::byte>& data, std::size_t at, std::string_view text) {
    std::transform(text.begin(), text.end(), data.begin() + static_cast<std::ptrdiff_t>(at),
                   [](char c) { return static_cast<std::byte>(c); });
}

// A sector as minute, second and frame of an audio disc, whose first is at two seconds.
std::uint64_t as_time(std::uint64_t sector) {
    const std::uint64_t frame = sector + 150;
    return frame / 75 / 60 % 256 << 16 | frame / 75 % 60 << 8 | frame % 75;
}

// Feature descriptors (MMC-6 5.3): number, whether current without a disc, version and flags, data.
struct Feature {
    std::uint16_t number;
    bool always;
    std::uint8_t flags;
    std::array<std::uint8_t, 8> data;
    std::uint8_t length;
};
constexpr std::array<Feature, 5> features{{
    {0x0000, true, 0x03, {0x00, 0x10, 0x01, 0x00}, 4},                           // profiles: DVD-ROM
    {0x0001, true, 0x0b, {0x00, 0x00, 0x00, 0x01, 0x01, 0x00, 0x00, 0x00}, 8},   // core, over SCSI
    {0x0003, true, 0x0b, {0x29, 0x00, 0x00, 0x00}, 4},                           // a tray that locks and ejects
    {0x0010, false, 0x00, {0x00, 0x00, 0x08, 0x00, 0x00, 0x10, 0x00, 0x00}, 8},  // random reads of 2,048 bytes
    {0x001f, false, 0x04, {}, 4},                                                // DVD read
}};

constexpr std::uint8_t class_operational = 1;
constexpr std::uint8_t class_media = 4;

}  // namespace

const std::array<ScsiDvd::Row, 18> ScsiDvd::rows{{
    {Opcode::test_unit_ready, true, &ScsiDvd::test_unit_ready},
    {Opcode::request_sense, false, &ScsiDvd::request_sense},
    {Opcode::inquiry, false, &ScsiDvd::inquiry},
    {Opcode::mode_sense_6, false, &ScsiDvd::mode_sense},
    {Opcode::start_stop_unit, false, &ScsiDvd::start_stop},
    {Opcode::prevent_allow_medium_removal, false, &ScsiDvd::prevent_allow},
    {Opcode::read_capacity_10, true, &ScsiDvd::read_capacity},
    {Opcode::read_6, true, &ScsiDvd::read},
    {Opcode::read_10, true, &ScsiDvd::read},
    {Opcode::read_toc, true, &ScsiDvd::read_toc},
    {Opcode::get_configuration, false, &ScsiDvd::get_configuration},
    {Opcode::get_event_status, false, &ScsiDvd::get_event_status},
    {Opcode::read_disc_information, true, &ScsiDvd::read_disc_information},
    {Opcode::read_track_information, true, &ScsiDvd::read_track_information},
    {Opcode::mode_sense_10, false, &ScsiDvd::mode_sense},
    {Opcode::read_12, true, &ScsiDvd::read},
    {Opcode::read_16, true, &ScsiDvd::read},
    {Opcode::synchronize_cache_10, true, &ScsiDvd::test_unit_ready},  // there is nothing to write
}};

ScsiDvd::ScsiDvd(const sim::Scope& scope, BlockDevice& disc, std::array<std::uint8_t, 16> disk_id)
    : scope_(scope),
      disc_(disc),
      disk_id_(disk_id),
      commands_(scope.counter("commands", "count", "SCSI commands taken")),
      registration_(scope.register_state(*this)) {
    VG_CHECK(sector_bytes % disc_.geometry().logical_sector_bytes == 0);
    disc_.attach(this);
}

bool ScsiDvd::insert() {
    if (state_.loaded) return false;
    state_.loaded = true;
    state_.tray_open = false;
    state_.event = MediaEvent::new_disc;
    for (PerInitiator& initiator : state_.initiators) initiator.changed = true;
    return true;
}

bool ScsiDvd::eject() {
    if (!state_.loaded) return false;
    state_.loaded = false;
    state_.tray_open = true;
    state_.locked = false;
    state_.event = MediaEvent::removed;
    for (PerInitiator& initiator : state_.initiators) initiator.changed = false;
    return true;
}

ScsiDevice::InitiatorId ScsiDvd::attach(ScsiInitiator& initiator) {
    initiators_.push_back(&initiator);
    if (state_.initiators.size() < initiators_.size()) state_.initiators.emplace_back();
    return static_cast<InitiatorId>(initiators_.size() - 1);
}

void ScsiDvd::detach(InitiatorId id) {
    VG_CHECK(id < initiators_.size());
    initiators_[id] = nullptr;
}

std::uint64_t ScsiDvd::data_out_bytes(const scsi::Cdb&) const {
    return 0;
}

ScsiDvd::Result ScsiDvd::execute(InitiatorId initiator, const ScsiCommand& command) {
    VG_CHECK(initiator < initiators_.size() && initiators_[initiator] != nullptr);
    ++commands_;
    Result result = dispatch({initiator, command, command.cdb});
    if (result && command.cdb[0] != static_cast<std::uint8_t>(Opcode::request_sense)) {
        state_.initiators[initiator].kept = result->sense;
    }
    return result;
}

ScsiDvd::Result ScsiDvd::dispatch(const Call& call) {
    const auto row = std::find_if(rows.begin(), rows.end(),
                                  [&](const Row& r) { return static_cast<std::uint8_t>(r.opcode) == call.cdb[0]; });
    if (row == rows.end()) return refuse(scsi::sense::invalid_opcode);
    // What tells of the drive itself comes before the news of another disc.
    const bool tells = row->opcode == Opcode::inquiry || row->opcode == Opcode::request_sense ||
                       row->opcode == Opcode::get_configuration || row->opcode == Opcode::get_event_status;
    if (!tells && std::exchange(state_.initiators[call.initiator].changed, false)) {
        return refuse(scsi::sense::medium_changed);
    }
    if (row->needs_disc && !state_.loaded) {
        return refuse(state_.tray_open ? scsi::sense::no_medium_tray_open : scsi::sense::no_medium_tray_closed);
    }
    return (this->*row->handler)(call);
}

ScsiDvd::Result ScsiDvd::test_unit_ready(const Call&) {
    return ScsiResult{};
}

ScsiDvd::Result ScsiDvd::request_sense(const Call& call) {
    if ((call.cdb[1] & 1) != 0) return refuse(scsi::sense::invalid_field_in_cdb);
    PerInitiator& own = state_.initiators[call.initiator];
    scsi::Sense sense = std::exchange(own.kept, scsi::sense::none);
    if (std::exchange(own.changed, false)) sense = scsi::sense::medium_changed;
    const auto bytes = scsi::to_fixed_format(sense);
    const auto view = std::as_bytes(std::span{bytes});
    return data_in(call, {view.begin(), view.end()}, call.cdb[4]);
}

ScsiDvd::Result ScsiDvd::inquiry(const Call& call) {
    const std::uint64_t allocation = be(call.cdb, 3, 2);
    const bool vital = (call.cdb[1] & 1) != 0;
    if ((call.cdb[1] & 2) != 0 || (!vital && call.cdb[2] != 0)) return refuse(scsi::sense::invalid_field_in_cdb);
    std::vector<std::byte> data;
    if (!vital) {
        data.resize(36);
        put_be(data, 0, 5, 0x05'80'05'02'1f);  // a removable medium's drive, SPC-3
        put_be(data, 7, 1, 0x02);
        put_text(data, 8, "Msft    Virtual DVD-ROM 1.0 ");
    } else if (call.cdb[2] == 0x00) {
        data.resize(6);
        put_be(data, 0, 6, 0x05'00'00'02'00'83);
    } else if (call.cdb[2] == 0x83) {
        data.resize(32);
        put_be(data, 0, 4, 0x0583'001c);
        put_be(data, 4, 4, 0x0101'0018);
        put_text(data, 8, "Msft    ");
        std::copy_n(std::as_bytes(std::span{disk_id_}).begin(), 16, data.begin() + 16);
    } else {
        return refuse(scsi::sense::invalid_field_in_cdb);
    }
    return data_in(call, std::move(data), allocation);
}

ScsiDvd::Result ScsiDvd::read_capacity(const Call& call) {
    std::vector<std::byte> data(8);
    put_be(data, 0, 4, std::min<std::uint64_t>(std::max<std::uint64_t>(sector_count(), 1) - 1, 0xffff'ffff));
    put_be(data, 4, 4, sector_bytes);
    return data_in(call, std::move(data), 8);
}

ScsiDvd::Result ScsiDvd::read(const Call& call) {
    std::uint64_t lba = be(call.cdb, 2, 4);
    std::uint64_t count = be(call.cdb, 7, 2);
    if (call.cdb[0] == static_cast<std::uint8_t>(Opcode::read_6)) {
        lba = be(call.cdb, 1, 3) & 0x1f'ffff;
        count = call.cdb[4] == 0 ? 256 : call.cdb[4];
    } else if (call.cdb[0] == static_cast<std::uint8_t>(Opcode::read_12)) {
        count = be(call.cdb, 6, 4);
    } else if (call.cdb[0] == static_cast<std::uint8_t>(Opcode::read_16)) {
        lba = be(call.cdb, 2, 8);
        count = be(call.cdb, 10, 4);
    }
    if (lba > sector_count() || count > sector_count() - lba) return refuse(scsi::sense::lba_out_of_range);
    const std::uint64_t fits = std::min<std::uint64_t>(count, call.command.buffer_bytes / sector_bytes);
    ScsiResult result{.overrun = fits < count};
    if (fits == 0) return result;
    const std::uint64_t number = state_.next_number++;
    state_.active.emplace(number, Active{call.initiator, call.command.tag, std::move(result)});
    disc_.submit({.tag = number,
                  .operation = BlockRequest::Operation::read,
                  .offset_bytes = lba * sector_bytes,
                  .length_bytes = fits * sector_bytes});
    return std::nullopt;
}

void ScsiDvd::block_done(std::uint64_t number, BlockStatus status, std::vector<std::byte> data) {
    auto node = state_.active.extract(number);
    VG_CHECK(!node.empty());
    ScsiResult result = std::move(node.mapped().result);
    if (status == BlockStatus::success) {
        result.moved_bytes = static_cast<std::uint32_t>(data.size());
        result.data_in = std::move(data);
    } else {
        result = refuse(status == BlockStatus::out_of_range ? scsi::sense::lba_out_of_range
                                                            : scsi::sense::unrecovered_read_error);
    }
    state_.initiators[node.mapped().initiator].kept = result.sense;
    ScsiInitiator* initiator = initiators_[node.mapped().initiator];
    if (initiator != nullptr) initiator->scsi_done(node.mapped().tag, std::move(result));
}

// One session with one data track, and where it ends.
ScsiDvd::Result ScsiDvd::read_toc(const Call& call) {
    const std::uint8_t format = call.cdb[2] & 0x0f;
    const bool time = (call.cdb[1] & 2) != 0;
    const auto address = [&](std::uint64_t sector) { return time ? as_time(sector) : sector; };
    if (format > 1 || (format == 0 && call.cdb[6] > 1 && call.cdb[6] != 0xaa)) {
        return refuse(scsi::sense::invalid_field_in_cdb);
    }
    std::vector<std::byte> data(4);
    put_be(data, 2, 2, 0x0101);
    const auto track = [&](std::uint8_t number, std::uint64_t sector) {
        data.resize(data.size() + 8);
        put_be(data, data.size() - 8, 4, 0x0014'0000 | std::uint64_t{number} << 8);
        put_be(data, data.size() - 4, 4, address(sector));
    };
    if (format == 1 || call.cdb[6] <= 1) track(1, 0);
    if (format == 0) track(0xaa, sector_count());
    put_be(data, 0, 2, data.size() - 2);
    return data_in(call, std::move(data), be(call.cdb, 7, 2));
}

ScsiDvd::Result ScsiDvd::get_configuration(const Call& call) {
    const std::uint8_t wanted = call.cdb[1] & 3;  // 0 all, 1 the current ones, 2 one
    const std::uint64_t first = be(call.cdb, 2, 2);
    if (wanted == 3) return refuse(scsi::sense::invalid_field_in_cdb);
    std::vector<std::byte> data(8);
    put_be(data, 6, 2, state_.loaded ? 0x0010 : 0);
    for (const Feature& feature : features) {
        const bool current = feature.always || state_.loaded;
        if (wanted == 2 ? feature.number != first : feature.number < first) continue;
        if (wanted == 1 && !current) continue;
        const std::size_t at = data.size();
        data.resize(at + 4 + feature.length);
        put_be(data, at, 2, feature.number);
        put_be(data, at + 2, 1, (feature.flags & ~1u) | (current ? 1 : 0));
        put_be(data, at + 3, 1, feature.length);
        for (std::size_t n = 0; n < feature.length; ++n) put_be(data, at + 4 + n, 1, feature.data[n]);
        if (feature.number == 0) put_be(data, at + 6, 1, state_.loaded ? 1 : 0);
    }
    put_be(data, 0, 4, data.size() - 4);
    return data_in(call, std::move(data), be(call.cdb, 7, 2));
}

// Only when asked: the drive sends nothing by itself.
ScsiDvd::Result ScsiDvd::get_event_status(const Call& call) {
    if ((call.cdb[1] & 1) == 0) return refuse(scsi::sense::invalid_field_in_cdb);
    const std::uint8_t asked = call.cdb[4];
    constexpr std::uint8_t supported = 1 << class_operational | 1 << class_media;
    std::vector<std::byte> data(8);
    if ((asked & 1 << class_operational) != 0 && state_.event == MediaEvent::none) {
        put_be(data, 2, 1, class_operational);
    } else if ((asked & 1 << class_media) != 0) {
        put_be(data, 2, 1, class_media);
        put_be(data, 4, 1, static_cast<std::uint64_t>(state_.event));
        put_be(data, 5, 1, (state_.tray_open ? 1u : 0u) | (state_.loaded ? 2u : 0u));
        state_.event = MediaEvent::none;
    } else {
        data.resize(4);
        put_be(data, 2, 1, 0x80);  // no event of those classes
    }
    put_be(data, 0, 2, data.size() - 2);
    put_be(data, 3, 1, supported);
    return data_in(call, std::move(data), be(call.cdb, 7, 2));
}

ScsiDvd::Result ScsiDvd::read_disc_information(const Call& call) {
    if ((call.cdb[1] & 7) != 0) return refuse(scsi::sense::invalid_field_in_cdb);
    std::vector<std::byte> data(34);
    put_be(data, 0, 2, data.size() - 2);
    put_be(data, 2, 1, 0x0e);  // a complete disc whose last session is complete
    put_be(data, 3, 4, 0x0101'0101);
    put_be(data, 7, 1, 0x20);  // anybody may use it
    return data_in(call, std::move(data), be(call.cdb, 7, 2));
}

// The one track (MMC-6 6.27), asked for by a sector in it, by its number or by its session's.
ScsiDvd::Result ScsiDvd::read_track_information(const Call& call) {
    const std::uint64_t place = be(call.cdb, 2, 4);
    const bool known = (call.cdb[1] & 3) == 0 ? place < sector_count() : (call.cdb[1] & 3) != 3 && place == 1;
    if (!known) return refuse(scsi::sense::invalid_field_in_cdb);
    std::vector<std::byte> data(36);
    put_be(data, 0, 2, data.size() - 2);
    put_be(data, 2, 2, 0x0101);  // track and session 1
    put_be(data, 5, 2, 0x0401);  // data, of mode 1
    put_be(data, 24, 4, sector_count());
    return data_in(call, std::move(data), be(call.cdb, 7, 2));
}

// Capabilities (page 2Ah, MMC-3): what Linux looks at when it finds a drive.
ScsiDvd::Result ScsiDvd::mode_sense(const Call& call) {
    const bool six = call.cdb[0] == static_cast<std::uint8_t>(Opcode::mode_sense_6);
    const std::uint8_t code = call.cdb[2] & 0x3f;
    if (call.cdb[2] >> 6 == 3) return refuse(scsi::sense::saving_not_supported);
    if ((code != 0x2a && code != 0x3f) || call.cdb[3] != 0) return refuse(scsi::sense::invalid_field_in_cdb);
    std::vector<std::byte> data((six ? 4 : 8) + 20);
    const std::size_t at = six ? 4 : 8;
    if (call.cdb[2] >> 6 != 1) {
        put_be(data, at + 2, 1, 0x08);  // reads DVD-ROM
        put_be(data, at + 4, 1, 0x70);
        put_be(data, at + 6, 1, 0x29 | (state_.locked ? 2u : 0u));  // a tray that locks and ejects
        put_be(data, at + 8, 2, 0x1b90);                            // kB/s
        put_be(data, at + 14, 2, 0x1b90);
    }
    put_be(data, at, 2, 0x2a12);
    put_be(data, 0, six ? 1 : 2, data.size() - (six ? 1 : 2));
    return data_in(call, std::move(data), six ? call.cdb[4] : be(call.cdb, 7, 2));
}

ScsiDvd::Result ScsiDvd::start_stop(const Call& call) {
    const bool moves_tray = (call.cdb[4] & 2) != 0;
    const bool start = (call.cdb[4] & 1) != 0;
    if (!moves_tray) return ScsiResult{};
    if (!start) {
        if (state_.locked) return refuse(scsi::sense::medium_removal_prevented);
        (void)eject();
    } else {
        state_.tray_open = false;  // what was ejected is in the operator's hands
    }
    return ScsiResult{};
}

ScsiDvd::Result ScsiDvd::prevent_allow(const Call& call) {
    state_.locked = (call.cdb[4] & 1) != 0;
    return ScsiResult{};
}

ScsiResult ScsiDvd::refuse(const scsi::Sense& sense) {
    return {.status = scsi::Status::check_condition, .sense = sense};
}

ScsiResult ScsiDvd::data_in(const Call& call, std::vector<std::byte> data, std::uint64_t allocation) {
    if (data.size() > allocation) data.resize(allocation);
    ScsiResult result;
    result.overrun = data.size() > call.command.buffer_bytes;
    if (result.overrun) data.resize(call.command.buffer_bytes);
    result.moved_bytes = static_cast<std::uint32_t>(data.size());
    result.data_in = std::move(data);
    return result;
}

}  // namespace vmbus
