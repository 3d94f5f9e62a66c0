#include "models/legacy/generation1_devices.h"

#include <fmt/format.h>

#include "sim/bits.h"
#include "sim/check.h"

namespace models {

namespace {

constexpr std::uint16_t reset_control_port = 0xcf9;
constexpr std::uint32_t first_bus_port = 0x100, all_ports = 0x10000;

}  // namespace

Generation1Devices::Generation1Devices(const sim::Scope& scope, const Generation1Ports& ports)
    : scope_(scope),
      processors_(ports.processors),
      memory_(ports.memory),
      processor_line_(scope.counter("unheard_8259", "count", "interrupts of the 8259 pair that no processor hears")),
      pic_(scope.child("pic"), processor_line_),
      isa_(pic_, ports.io_apic),
      root_(scope.child("pci"), *this, pci::Wiring::straight),
      config_ports_(root_),
      host_bridge_(scope.child("host_bridge"), root_.bus().slot(0, 0)),
      isa_bridge_(scope.child("isa_bridge"), root_.bus().slot(chipset_device, 0), isa_),
      ide_(scope.child("ide"), root_.bus().slot(chipset_device, 1), isa_.line(Piix4Ide::primary_irq),
           isa_.line(Piix4Ide::secondary_irq)),
      power_(scope.child("power"), root_.bus().slot(chipset_device, 3), isa_.line(Piix4Power::sci_irq), ports.power),
      pit_(scope.child("pit"), isa_.line(Pit8254::irq)) {
    run_firmware();
}

Generation1Devices::~Generation1Devices() = default;

sim::Scope Generation1Devices::drive_scope(unsigned channel, unsigned position) const {
    if (channel > 1 || position > 1) {
        throw sim::UserError(
            fmt::format("IDE has channels 0 and 1 with positions 0 and 1 each, not {}.{}", channel, position));
    }
    if (ide_.channel(channel).has(position)) {
        throw sim::UserError(
            fmt::format("two IDE drives at {}.{}: give each a position of its own", channel, position));
    }
    return scope_.child(fmt::format("ide{}.{}", channel, position));
}

AtaDisk& Generation1Devices::add_disk(unsigned channel, unsigned position, vmbus::BlockDevice& blocks) {
    const sim::Scope scope = drive_scope(channel, position);
    const std::uint32_t sector = blocks.geometry().logical_sector_bytes;
    if (sector != ata::sector_bytes) {
        throw sim::UserError(fmt::format("the disk at {}.{} has sectors of {} bytes; an IDE disk has {}", channel,
                                         position, sector, ata::sector_bytes));
    }
    AtaDisk& disk = *disks_.emplace_back(std::make_unique<AtaDisk>(scope, blocks));
    ide_.channel(channel).attach(position, disk);
    return disk;
}

AtapiCd& Generation1Devices::add_cd(unsigned channel, unsigned position, vmbus::BlockDevice* disc) {
    AtapiCd& cd = *cds_.emplace_back(std::make_unique<AtapiCd>(drive_scope(channel, position)));
    if (disc != nullptr) cd.insert(disc);
    ide_.channel(channel).attach(position, cd);
    return cd;
}

Dec21140& Generation1Devices::add_adapter(const AddressFilter::Address& address, FramePort& port) {
    const auto number = static_cast<std::uint32_t>(adapters_.size());
    if (number == most_adapters) {
        throw sim::UserError(fmt::format("a partition has at most {} legacy network adapters", most_adapters));
    }
    auto adapter = std::make_unique<Dec21140>(scope_.child(fmt::format("legacy_nic{}", number)),
                                              root_.bus().slot(first_adapter_device + number, 0), port, address);
    place(*adapter, number);
    return *adapters_.emplace_back(std::move(adapter));
}

void Generation1Devices::connect(IoPortMap& ports, MmioMap& memory) {
    pic_.connect(ports);
    pit_.connect(ports);
    power_.connect(ports);
    ports.claim(pci::ConfigPorts::address_port, pci::ConfigPorts::ports, 4, *this);
    std::vector<std::pair<std::uint32_t, std::uint32_t>> gaps;
    std::uint32_t next = first_bus_port;
    ports.for_each_claim([&](std::uint32_t first, std::uint32_t last) {
        if (last < next) return;
        if (first > next) gaps.emplace_back(next, first);
        next = last + 1;
    });
    if (next < all_ports) gaps.emplace_back(next, all_ports);
    for (const auto& [first, end] : gaps) ports.claim(static_cast<std::uint16_t>(first), end - first, 4, *this);
    memory.claim(window_first, window_end - window_first, *this);
}

// What a Generation 1 machine's firmware writes into configuration space before it loads a system.
void Generation1Devices::run_firmware() {
    namespace header = pci::header;
    using pci::RequesterId;
    const auto set = [this](RequesterId who, unsigned offset, unsigned size, std::uint32_t value) {
        root_.write_config(who, offset, size, value);
    };
    const RequesterId ide = ide_.function().id(), power = power_.function().id();
    set(ide, header::bar0 + 4 * Piix4Ide::bus_master_bar, 4, bus_master_io);
    set(ide, header::command, 2, pci::command::io_space | pci::command::bus_master);
    set(power, 0x40, 4, Piix4Power::base);
    set(power, 0x80, 1, 1);
    set(power, header::interrupt_line, 1, Piix4Power::sci_irq);
    for (std::uint32_t n = 0; n < adapters_.size(); ++n) place(*adapters_[n], n);
}

void Generation1Devices::place(Dec21140& adapter, std::uint32_t number) {
    namespace header = pci::header;
    const pci::RequesterId who = adapter.function().id();
    const auto set = [&](unsigned offset, unsigned size, std::uint32_t value) {
        root_.write_config(who, offset, size, value);
    };
    set(header::bar0, 4, adapter_io - number * dec21140::csr_bytes);
    set(header::bar0 + 4, 4, adapter_memory - number * 0x1000);
    set(header::latency_timer, 1, 0x40);
    set(header::interrupt_line, 1, IsaBridge::lane_a_irq);
    set(header::command, 2, pci::command::io_space | pci::command::memory_space);
}

void Generation1Devices::reset() {
    root_.bus().reset_all(pci::ResetKind::cold);
    config_ports_.reset();
    pit_.reset();
    pic_.reset();
    run_firmware();
}

std::uint32_t Generation1Devices::read_port(std::uint16_t port, unsigned size) {
    if (port == reset_control_port && size == 1) return power_.read_port(port, size);
    if (port >= pci::ConfigPorts::address_port && port < pci::ConfigPorts::address_port + pci::ConfigPorts::ports) {
        return config_ports_.read(port, size);
    }
    return static_cast<std::uint32_t>(root_.read(pci::Space::io, port, size));
}

void Generation1Devices::write_port(std::uint16_t port, unsigned size, std::uint32_t value) {
    if (port == reset_control_port && size == 1) return power_.write_port(port, size, value);
    if (port >= pci::ConfigPorts::address_port && port < pci::ConfigPorts::address_port + pci::ConfigPorts::ports) {
        return config_ports_.write(port, size, value);
    }
    root_.write(pci::Space::io, port, size, value);
}

std::uint64_t Generation1Devices::read_mmio(std::uint64_t gpa, unsigned size) {
    return root_.read(pci::Space::memory, gpa, size);
}

void Generation1Devices::write_mmio(std::uint64_t gpa, unsigned size, std::uint64_t value) {
    root_.write(pci::Space::memory, gpa, size, value);
}

pci::DmaStatus Generation1Devices::read_memory(pci::RequesterId, std::uint64_t address, std::span<std::byte> out) {
    return memory_.read(address, out) ? pci::DmaStatus::ok : pci::DmaStatus::unsupported;
}

pci::DmaStatus Generation1Devices::write_memory(pci::RequesterId, std::uint64_t address,
                                                std::span<const std::byte> data) {
    return memory_.write(address, data) ? pci::DmaStatus::ok : pci::DmaStatus::unsupported;
}

// SDM volume 3A, 11.11: destination and its mode in the address, the rest in the data.
void Generation1Devices::interrupt(const pci::InterruptMessage& message) {
    InterruptMessage out;
    out.destination = static_cast<std::uint8_t>(sim::bits(message.address, 19, 12));
    out.destination_mode = sim::bit(message.address, 2) ? DestinationMode::logical : DestinationMode::physical;
    out.vector = static_cast<std::uint8_t>(message.data);
    out.mode = static_cast<DeliveryMode>(sim::bits(message.data, 10, 8));
    out.trigger = sim::bit(message.data, 15) ? TriggerMode::level : TriggerMode::edge;
    processors_.deliver(out);
}

void Generation1Devices::line(unsigned lane, bool asserted) {
    isa_bridge_.set_lane(lane, asserted);
}

}  // namespace models
