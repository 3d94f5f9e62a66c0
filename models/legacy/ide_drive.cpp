#include "models/legacy/ide_drive.h"

#include <utility>

#include "sim/check.h"

namespace models {

namespace status = ata::status;

std::uint8_t IdeDrive::read(unsigned number, bool high_order) const {
    VG_CHECK(number >= ata::error_features && number <= ata::device);
    const bool doubled = number >= ata::sector_count && number <= ata::lba_high;
    return high_order && doubled ? state_.before[number] : state_.now[number];
}

// Writes while a command runs are lost (ATA-6, 7): a driver does not do that, and a hostile one harms its own transfer.
void IdeDrive::write(unsigned number, std::uint8_t value) {
    VG_CHECK(number >= ata::error_features && number <= ata::device);
    if ((state_.status & (status::busy | status::data_request)) != 0) return;
    state_.before[number] = state_.now[number];
    state_.now[number] = value;
}

std::uint8_t IdeDrive::read_status() {
    const std::uint8_t value = state_.status;
    set_interrupt(false);
    return value;
}

void IdeDrive::set_interrupt(bool asserted) {
    if (state_.interrupt == asserted) return;
    state_.interrupt = asserted;
    if (cable_ != nullptr) cable_->interrupt_changed();
}

void IdeDrive::write_command(std::uint8_t command) {
    const bool resets = command == ata::command::device_reset;
    if ((state_.status & (status::busy | status::data_request)) != 0 && !resets) return;
    set_interrupt(false);
    state_.status = status::ready | status::seek_complete;
    state_.phase = Phase::idle;
    execute(command);
}

void IdeDrive::begin_data_in(std::vector<std::byte> data, Announce announce) {
    VG_CHECK(!data.empty() && data.size() % 2 == 0);
    state_.buffer = std::move(data);
    state_.position = 0;
    state_.phase = Phase::data_in;
    state_.status = status::ready | status::seek_complete | status::data_request;
    if (announce == Announce::interrupt) set_interrupt(true);
}

void IdeDrive::begin_data_out(std::size_t bytes, Announce announce) {
    VG_CHECK(bytes != 0 && bytes % 2 == 0);
    state_.buffer.assign(bytes, std::byte{0});
    state_.position = 0;
    state_.phase = Phase::data_out;
    state_.status = status::ready | status::seek_complete | status::data_request;
    if (announce == Announce::interrupt) set_interrupt(true);
}

void IdeDrive::begin_dma_in(std::vector<std::byte> data) {
    VG_CHECK(!data.empty());
    state_.buffer = std::move(data);
    state_.position = 0;
    state_.phase = Phase::dma_in;
    state_.status = status::ready | status::seek_complete | status::data_request;
    pump_dma();
}

void IdeDrive::begin_dma_out(std::size_t bytes) {
    state_.buffer.assign(bytes, std::byte{0});
    state_.position = 0;
    state_.phase = Phase::dma_out;
    state_.status = status::ready | status::seek_complete | status::data_request;
    pump_dma();
}

void IdeDrive::begin_waiting() {
    state_.phase = Phase::waiting;
    state_.status = status::busy;
}

void IdeDrive::finish() {
    state_.phase = Phase::idle;
    state_.buffer.clear();
    state_.status = status::ready | status::seek_complete;
    set_interrupt(true);
}

void IdeDrive::finish_error(std::uint8_t error, std::uint8_t further_status) {
    state_.phase = Phase::idle;
    state_.buffer.clear();
    state_.now[ata::error_features] = error;
    state_.status = static_cast<std::uint8_t>(status::ready | status::seek_complete | status::error | further_status);
    set_interrupt(true);
}

std::uint16_t IdeDrive::read_data() {
    if (state_.phase != Phase::data_in) return 0xffff;
    const auto low = std::to_integer<unsigned>(state_.buffer[state_.position]);
    const auto high = std::to_integer<unsigned>(state_.buffer[state_.position + 1]);
    state_.position += 2;
    if (state_.position == state_.buffer.size()) end_of_data();
    return static_cast<std::uint16_t>(low | high << 8);
}

void IdeDrive::write_data(std::uint16_t value) {
    if (state_.phase != Phase::data_out) return;
    state_.buffer[state_.position] = static_cast<std::byte>(value);
    state_.buffer[state_.position + 1] = static_cast<std::byte>(value >> 8);
    state_.position += 2;
    if (state_.position == state_.buffer.size()) end_of_data();
}

void IdeDrive::pump_dma() {
    if (state_.phase != Phase::dma_in && state_.phase != Phase::dma_out) return;
    const std::span<std::byte> rest = std::span{state_.buffer}.subspan(state_.position);
    state_.position += state_.phase == Phase::dma_in ? cable_->dma_to_host(rest) : cable_->dma_from_host(rest);
    if (state_.position == state_.buffer.size()) end_of_data();
}

void IdeDrive::end_of_data() {
    state_.phase = Phase::idle;
    state_.status = status::ready | status::seek_complete;
    transfer_done();
}

void IdeDrive::put_signature() {
    state_.now[ata::error_features] = ata::error::diagnostic_passed;
    state_.now[ata::sector_count] = 1;
    state_.now[ata::lba_low] = 1;
    state_.now[ata::lba_mid] = signature().lba_mid;
    state_.now[ata::lba_high] = signature().lba_high;
    state_.now[ata::device] = 0;
    state_.before = {};
}

void IdeDrive::reset() {
    state_.phase = Phase::idle;
    state_.buffer.clear();
    state_.position = 0;
    set_interrupt(false);
    drive_reset();
    put_signature();
    // A packet device is not ready before it has been given a packet (ATA-6, 9.12).
    const bool packet_device = signature().lba_mid == ata::packet_signature.lba_mid;
    state_.status = packet_device ? 0 : status::ready | status::seek_complete;
}

void IdeDrive::diagnose(bool announce) {
    reset();
    if (announce) set_interrupt(true);
}

}  // namespace models
