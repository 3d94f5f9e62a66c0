#include "models/legacy/dec21140.h"

#include <array>
#include <cstring>

#include "sim/bits.h"

namespace models {

using namespace dec21140;

namespace {

// What the emulated card says of itself in configuration space; 0xa00:0x2114 is the subsystem that guests see.
std::shared_ptr<const pci::FunctionLayout> adapter_layout() {
    static const auto shared = [] {
        pci::Identity who;
        who.vendor = 0x1011;
        who.device = 0x0009;
        who.revision = 0x20;
        who.class_of = pci::class_of::ethernet;
        who.subsystem_vendor = 0x0a00;
        who.subsystem = 0x2114;
        who.interrupt_pin = 1;
        who.status = pci::status::devsel_medium | pci::status::fast_back_to_back;
        who.command_writable |= pci::command::write_invalidate;
        who.min_gnt = 0x14;
        who.max_lat = 0x28;
        const pci::Bar bars[] = {{pci::BarKind::io, csr_bytes}, {pci::BarKind::memory32, 0x1000}};
        pci::FunctionLayout made = pci::device_function(who, bars, pci::legacy_config_bytes);
        made.config.add({"driver area", 0x40, 4, 0, 0xc000'ff00});  // CFDD: sleep, snooze, driver's own
        return std::make_shared<const pci::FunctionLayout>(std::move(made));
    }();
    return shared;
}

}  // namespace

SerialRom::Content adapter_rom(const AddressFilter::Address& address) {
    std::array<std::uint8_t, rom::bytes> bytes{};
    const auto put16 = [&](std::size_t at, unsigned value) {
        bytes[at] = static_cast<std::uint8_t>(value);
        bytes[at + 1] = static_cast<std::uint8_t>(value >> 8);
    };
    put16(rom::subsystem_vendor, 0x0a00);
    put16(rom::subsystem, 0x2114);
    bytes[rom::format_version] = 3;
    bytes[rom::controllers] = 1;
    for (std::size_t i = 0; i < address.size(); ++i) bytes[rom::address + i] = address[i];
    put16(rom::leaf_offset, rom::leaf);
    // The leaf: selected connection, direction of the general-purpose pins, and one block of four bytes per medium.
    struct Medium {
        std::uint8_t code;
        std::uint16_t command;
    };
    static constexpr Medium media[] = {
        {rom::ten_base_t, rom::serial_command},
        {rom::ten_base_t_full, rom::serial_command},
        {rom::hundred_base_tx, rom::symbol_command},
        {rom::hundred_base_tx_full, rom::symbol_command},
    };
    std::size_t at = rom::leaf;
    put16(at, rom::symbol_full_duplex);
    bytes[at + 2] = 0x0f;  // pins 3 to 0 are outputs
    bytes[at + 3] = std::size(media);
    at += 4;
    for (const Medium& medium : media) {
        bytes[at] = medium.code;
        put16(at + 2, medium.command);
        at += 4;
    }
    // The last two bytes check the others: the lower half of the inverted CRC (serial ROM format, appendix A).
    const std::uint32_t crc = ~ethernet_crc(std::as_bytes(std::span{bytes}).first(rom::bytes - 2));
    put16(rom::bytes - 2, crc & 0xffff);
    SerialRom::Content content{};
    for (std::size_t i = 0; i < content.size(); ++i) {
        content[i] = static_cast<std::uint16_t>(bytes[2 * i] | bytes[2 * i + 1] << 8);
    }
    return content;
}

std::span<const sim::Register<Dec21140>> Dec21140::table() {
    using enum sim::RegisterAccess;
    using D = Dec21140;
    constexpr std::uint64_t list = 0xffff'fffc;
    static constexpr sim::Register<D> rows[] = {
        {"CSR0 bus mode", csr(0), 4, read_write, bus_mode::reset, bus_mode::writable, nullptr, &D::write_bus_mode},
        {"CSR1 transmit poll demand", csr(1), 4, read_write, 0, 0, &D::read_demand, &D::write_transmit_demand},
        {"CSR2 receive poll demand", csr(2), 4, read_write, 0, 0, &D::read_demand, &D::write_receive_demand},
        {"CSR3 receive list", csr(3), 4, read_write, 0, list, nullptr, &D::write_receive_list},
        {"CSR4 transmit list", csr(4), 4, read_write, 0, list, nullptr, &D::write_transmit_list},
        {"CSR5 status", csr(5), 4, read_write, 0, 0, &D::read_status, &D::write_status},
        {"CSR6 operation mode", csr(6), 4, read_write, mode::reset, mode::writable, &D::read_mode, &D::write_mode},
        {"CSR7 interrupt mask", csr(7), 4, read_write, status::mask_reset, status::clearable, nullptr, &D::write_mask},
        {"CSR8 missed frames", csr(8), 4, read_only, 0, 0, &D::read_missed, nullptr},
        {"CSR9 ROM and MII management", csr(9), 4, read_write, 0, management::writable, &D::read_management,
         &D::write_management},
        {"CSR10 boot ROM address", csr(10), 4, not_modelled, 0},
        {"CSR11 general-purpose timer", csr(11), 4, read_write, timer::reset, timer::count_mask | timer::continuous,
         &D::read_timer, &D::write_timer},
        {"CSR12 general-purpose port", csr(12), 4, read_write, 0, 0, &D::read_general, &D::write_general},
        {"CSR13", csr(13), 4, not_modelled, 0xffff'ffff},
        {"CSR14", csr(14), 4, not_modelled, 0xffff'ffff},
        {"CSR15 watchdog timer", csr(15), 4, read_write, watchdog_reset, 0x37},
    };
    return rows;
}

Dec21140::Dec21140(const sim::Scope& scope, pci::Slot slot, FramePort& port, const AddressFilter::Address& address)
    : scope_(scope),
      port_(port),
      sent_(scope.counter("sent", "frames", "frames that the guest has sent")),
      received_(scope.counter("received", "frames", "frames stored for the guest")),
      filtered_(scope.counter("filtered", "frames", "frames that are not for this adapter")),
      missed_(scope.counter("missed", "frames", "frames for which the guest had no descriptor")),
      accesses_(scope.counter("accesses", "count", "accesses to the adapter's registers, each an intercept")),
      function_(scope, std::move(slot), adapter_layout(), *this),
      bank_(table()),
      rom_(adapter_rom(address)),
      transmit_timer_(scope.agenda(), scope.path() + ".transmit", [this] { transmit_due(); }),
      poll_timer_(scope.agenda(), scope.path() + ".poll", [this] { transmit_demand(); }),
      general_timer_(scope.agenda(), scope.path() + ".timer", [this] { general_timer_expired(); }) {}

// Registers are 32 bits wide and nothing else (3.2.1): the bank answers other accesses with all ones.
std::uint64_t Dec21140::read_bar(unsigned, std::uint64_t offset, unsigned size) {
    ++accesses_;
    const std::uint64_t value = bank_.read(*this, static_cast<std::uint32_t>(offset), size);
    scope_.trace("read", offset, value);
    return value;
}

void Dec21140::write_bar(unsigned, std::uint64_t offset, unsigned size, std::uint64_t value) {
    ++accesses_;
    scope_.trace("write", offset, value);
    bank_.write(*this, static_cast<std::uint32_t>(offset), size, value);
}

void Dec21140::function_reset(pci::ResetKind) {
    chip_reset();
}

void Dec21140::command_changed() {
    if (!function_.master().enabled()) return;
    if (state_.transmit_state == TransmitState::waiting_end) next_transmit();
}

void Dec21140::chip_reset() {
    const bool link = state_.link;
    state_ = {};
    state_.link = link;
    bank_.reset();
    filter_.reset();
    transmit_timer_.disarm();
    poll_timer_.disarm();
    general_timer_.disarm();
    update_interrupt();
}

void Dec21140::set_link(bool connected) {
    state_.link = connected;
    scope_.trace("link", connected ? 1 : 0);
}

void Dec21140::write_bus_mode(std::uint64_t value) {
    if ((value & bus_mode::software_reset) == 0) return;
    chip_reset();
}

std::uint64_t Dec21140::read_demand(std::uint64_t) {
    return 0xffff'ffff;
}
void Dec21140::write_transmit_demand(std::uint64_t) {
    transmit_demand();
}
void Dec21140::write_receive_demand(std::uint64_t) {
    receive_demand();
}
void Dec21140::write_receive_list(std::uint64_t) {
    state_.receive_descriptor = stored(3);
}
void Dec21140::write_transmit_list(std::uint64_t) {
    if (!transmit_timer_.armed()) state_.transmit_descriptor = stored(4);
}

// The summary bits are those of the events that CSR7 lets through (3.2.2.6).
std::uint64_t Dec21140::read_status(std::uint64_t) {
    std::uint32_t value = status::always_one | state_.events;
    const std::uint32_t unmasked = state_.events & stored(7);
    if ((unmasked & status::normal_events) != 0) value |= status::normal;
    if ((unmasked & status::abnormal_events) != 0) value |= status::abnormal;
    value |= static_cast<std::uint32_t>(state_.receive_state) << status::receive_state_low;
    value |= static_cast<std::uint32_t>(state_.transmit_state) << status::transmit_state_low;
    value |= static_cast<std::uint32_t>(state_.bus_error) << status::bus_error_low;
    return value;
}

void Dec21140::write_status(std::uint64_t value) {
    state_.events &= ~static_cast<std::uint32_t>(value);
    if ((value & status::fatal_bus_error) != 0) state_.bus_error = BusError::none;
    update_interrupt();
}

std::uint64_t Dec21140::read_mode(std::uint64_t stored_mode) {
    using Kind = AddressFilter::Kind;
    std::uint64_t value = stored_mode | mode::must_be_one;
    const Kind kind = filter_.kind();
    if (kind == Kind::hash_perfect || kind == Kind::hash_only) value |= mode::hash_perfect;
    if (kind == Kind::hash_only) value |= mode::hash_only;
    if (kind == Kind::inverse) value |= mode::inverse;
    return value;
}

void Dec21140::write_mode(std::uint64_t value) {
    if ((value & mode::start_receive) != 0) {
        start_receive();
    } else {
        stop_receive();
    }
    if ((value & mode::start_transmit) != 0) {
        start_transmit();
    } else {
        stop_transmit();
    }
}

void Dec21140::write_mask(std::uint64_t) {
    update_interrupt();
}

std::uint64_t Dec21140::read_missed(std::uint64_t) {
    const std::uint32_t count = state_.missed;
    state_.missed = 0;
    return missed::reset | (count > missed::counter_mask ? missed::overflow : 0) | (count & missed::counter_mask);
}

// Nobody drives the management data line, which is pulled up; the serial ROM answers while it is accessed.
std::uint64_t Dec21140::read_management(std::uint64_t stored_bits) {
    std::uint64_t value = (stored_bits & ~std::uint64_t{management::rom_data_out}) | management::reads_one;
    value |= management::mii_data_in;
    const bool accessed = (stored_bits & management::rom_access) != 0;
    if (!accessed || rom_.data_out()) value |= management::rom_data_out;
    return value;
}

void Dec21140::write_management(std::uint64_t value) {
    if ((value & management::rom_access) == 0) {
        rom_.set(false, false, false);
    } else {
        rom_.set((value & management::rom_select) != 0, (value & management::rom_clock) != 0,
                 (value & management::rom_data_in) != 0);
    }
}

std::uint64_t Dec21140::bits_per_second() const {
    return (stored(6) & mode::ten_megabit) != 0 ? 10'000'000 : 100'000'000;
}

sim::Time Dec21140::timer_tick() const {
    return sim::Time::ns(timer::tick_ns) * ((stored(6) & mode::ten_megabit) != 0 ? 10 : 1);
}

std::uint64_t Dec21140::read_timer(std::uint64_t stored_timer) {
    if (!general_timer_.armed()) return stored_timer & ~std::uint64_t{timer::count_mask};
    const sim::Time left = general_timer_.deadline() - scope_.now();
    const auto ticks = static_cast<std::uint64_t>((left + timer_tick() - sim::Time::ps(1)) / timer_tick());
    return (stored_timer & ~std::uint64_t{timer::count_mask}) | (ticks & timer::count_mask);
}

void Dec21140::write_timer(std::uint64_t value) {
    const auto count = static_cast<std::int64_t>(value & timer::count_mask);
    if (count == 0) return general_timer_.disarm();
    general_timer_.arm_after(timer_tick() * count);
}

void Dec21140::general_timer_expired() {
    const std::uint32_t value = stored(11);
    if ((value & timer::continuous) != 0 && (value & timer::count_mask) != 0) {
        general_timer_.arm_after(timer_tick() * static_cast<std::int64_t>(value & timer::count_mask));
    }
    raise(status::timer_expired);
}

// Outputs read back; of the inputs one senses the cable, the others are pulled up (3.2.2.12).
std::uint64_t Dec21140::read_general(std::uint64_t) {
    std::uint32_t inputs = general_purpose::pins;
    if (!state_.link) inputs &= ~(1u << rom::link_pin);
    const std::uint32_t outputs = state_.general_direction;
    return general_purpose::reset | (state_.general_output & outputs) | (inputs & ~outputs & general_purpose::pins);
}

void Dec21140::write_general(std::uint64_t value) {
    if ((value & general_purpose::control) != 0) {
        state_.general_direction = static_cast<std::uint8_t>(value);
    } else {
        state_.general_output = static_cast<std::uint8_t>(value);
    }
}

void Dec21140::raise(std::uint32_t events) {
    state_.events |= events;
    update_interrupt();
}

void Dec21140::update_interrupt() {
    const std::uint32_t mask = stored(7);
    const std::uint32_t unmasked = state_.events & mask;
    const bool normal = (unmasked & status::normal_events) != 0 && (mask & status::normal) != 0;
    const bool abnormal = (unmasked & status::abnormal_events) != 0 && (mask & status::abnormal) != 0;
    function_.set_intx(normal || abnormal);
}

// 4.3.7: both processes end at once and wait for a software reset.
void Dec21140::fatal(pci::DmaStatus cause) {
    state_.bus_error = cause == pci::DmaStatus::aborted ? BusError::target_abort : BusError::master_abort;
    state_.receive_state = ReceiveState::stopped;
    state_.transmit_state = TransmitState::stopped;
    state_.frame.clear();
    transmit_timer_.disarm();
    poll_timer_.disarm();
    scope_.trace("fatal_bus_error", static_cast<std::uint64_t>(cause));
    raise(status::fatal_bus_error);
}

std::optional<Dec21140::Descriptor> Dec21140::fetch(std::uint32_t address) {
    std::array<std::uint32_t, 4> words{};
    const pci::DmaStatus result = function_.master().read(address, std::as_writable_bytes(std::span{words}));
    if (result != pci::DmaStatus::ok) {
        fatal(result);
        return std::nullopt;
    }
    return Descriptor{address, words[0], words[1], words[2], words[3]};
}

// 4.2: a chain's next address is the second buffer's; a ring goes on behind the descriptor and the skipped longwords.
std::uint32_t Dec21140::next(const Descriptor& descriptor, std::uint32_t list) const {
    static_assert(rdes1::end_of_ring == tdes1::end_of_ring && rdes1::chained == tdes1::chained);
    if ((descriptor.control & rdes1::end_of_ring) != 0) return list;
    if ((descriptor.control & rdes1::chained) != 0) return descriptor.buffer2 & ~3u;
    const auto skip = static_cast<std::uint32_t>(sim::bits(stored(0), bus_mode::skip_high, bus_mode::skip_low));
    return descriptor.address + descriptor_bytes + 4 * skip;
}

bool Dec21140::write_back(std::uint32_t address, std::uint32_t value) {
    const pci::DmaStatus result = function_.master().write(address, std::as_bytes(std::span{&value, 1}));
    if (result == pci::DmaStatus::ok) return true;
    fatal(result);
    return false;
}

}  // namespace models
