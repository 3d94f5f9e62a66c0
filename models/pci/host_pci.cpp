#include "models/pci/host_pci.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "pci/capabilities.h"
#include "pci/config_registers.h"
#include "sim/bits.h"
#include "sim/check.h"

namespace models {

namespace remap = pci::dma_remapping;
namespace ir = pci::interrupt_remapping;

namespace {

// Root port 1a of a Xeon E5 (Sandy Bridge-EP).
std::shared_ptr<const pci::FunctionLayout> root_port_layout() {
    pci::Identity identity;
    identity.vendor = 0x8086;
    identity.device = 0x3c02;
    identity.class_of = pci::class_of::pci_bridge;
    auto layout = std::make_shared<pci::FunctionLayout>(pci::bridge_function(identity, {}, 4096));
    pci::PciExpress express;
    express.type = pci::express::PortType::root_port;
    express.max_payload_bytes = 256;
    express.generation = 3;
    express.width = 8;
    express.ari_forwarding = true;
    pci::add_express(layout->config, express);
    pci::add_aer(layout->config, true);
    pci::add_acs(layout->config, 0);
    return layout;
}

// Vectors of root_message(), and of the unit's own fault event.
constexpr std::uint8_t first_root_vector = 0x30, fault_vector = 0xf1;

std::uint64_t bus_address(std::uint64_t spa) {
    return spa >= HostPci::low_alias ? spa - HostPci::low_alias : spa;
}

}  // namespace

HostPci::HostPci(const sim::Scope& scope, const PciCosts& costs, mmu::SystemMemory memory, std::uint64_t tables)
    : scope_(scope),
      costs_(costs),
      refused_dma_(scope.counter("refused_dma", "count", "accesses of functions to what is no memory")),
      stray_interrupts_(scope.counter("stray_interrupts", "count", "interrupt messages that nobody has asked for")),
      memory_(memory),
      tables_(tables),
      memory_timing_(costs.memory_read, costs.memory_write, *this),
      iommu_(scope.child("iommu"), memory, *this, memory_timing_, costs.iommu),
      root_(scope.child("root_complex"), iommu_, pci::Wiring::straight),
      registration_(scope.register_state(*this)) {
    VG_CHECK(memory_.fill(tables_, table_bytes, std::byte{0}));
    for (unsigned bus = 0; bus <= most_ports; ++bus) {
        memory_.store<std::uint64_t>(tables_ + bus * remap::entry_bytes,
                                     (tables_ + (1 + bus) * std::uint64_t{4096}) | remap::present);
    }
    iommu_.set_root_table(tables_);
    iommu_.enable_translation(true);
    static_assert(interrupt_entries == 2u << 13);
    iommu_.set_interrupt_table(tables_ + interrupts_at, 13);
    iommu_.enable_interrupt_remapping(true, false);
}

void HostPci::connect(DeviceInterrupts& interrupts, sim::Processor& processor) {
    interrupts_ = &interrupts;
    processor_ = &processor;
    const FunctionOwners& owners = *this;
    fault_reader_ = std::make_unique<FaultReader>(scope_.child("faults"), iommu_, owners, processor,
                                                  FaultCosts{costs_.fault_event, costs_.fault_record});
    iommu_.set_fault_event(pci::InterruptMessage{ir::address_base, fault_vector, {}});
}

void HostPci::disconnect() {
    iommu_.set_fault_event(std::nullopt);
    fault_reader_.reset();
    processor_ = nullptr;
    interrupts_ = nullptr;
}

// Devices before the ports above them.
HostPci::~HostPci() {
    devices_.clear();
    ports_.clear();
}

pci::Bus& HostPci::add_root_port() {
    if (ports_.size() == most_ports) {
        throw sim::UserError(
            fmt::format("the host has {} PCI Express devices already: there are no more ports", most_ports));
    }
    static const auto layout = root_port_layout();
    const auto number = static_cast<unsigned>(ports_.size() + 1);
    ports_.push_back(
        std::make_unique<Port>(scope_.child(fmt::format("port{}", number)), root_.bus().slot(number, 0), layout));
    pci::Bridge& bridge = ports_.back()->bridge;
    const pci::RequesterId id = bridge.function().id();
    const auto put = [&](unsigned offset, unsigned size, std::uint64_t value) {
        write_config(id, offset, size, static_cast<std::uint32_t>(value));
    };
    namespace h1 = pci::header1;
    put(h1::secondary_bus, 1, number);
    put(h1::subordinate_bus, 1, number);
    const std::uint64_t high = high_base + (number - 1) * high_bytes_per_port;
    const std::uint64_t high_last = high + high_bytes_per_port - 1;
    put(h1::prefetch_base, 2, high >> 16 & 0xfff0);
    put(h1::prefetch_limit, 2, high_last >> 16 & 0xfff0);
    put(h1::prefetch_base_upper, 4, high >> 32);
    put(h1::prefetch_limit_upper, 4, high_last >> 32);
    const std::uint64_t low = low_base + (number - 1) * low_bytes_per_port;
    put(h1::memory_base, 2, low >> 16 & 0xfff0);
    put(h1::memory_limit, 2, (low + low_bytes_per_port - 1) >> 16 & 0xfff0);
    put(h1::io_base, 1, 0xf0);  // none: the base is above the limit
    put(h1::io_limit, 1, 0);
    put(pci::header::command, 2, pci::command::memory_space | pci::command::bus_master);
    const std::uint16_t express = capability(id, pci::capability_id::express);
    put(express + pci::express::device_control2, 2, pci::express::ari_forwarding);
    return bridge.secondary();
}

std::uint64_t HostPci::reserve(std::uint8_t bus, std::uint64_t bytes, bool below_4g) {
    VG_CHECK(bus >= 1 && bus <= ports_.size());
    Port& port = *ports_[bus - 1u];
    std::uint64_t& used = below_4g ? port.low_used : port.high_used;
    const std::uint64_t all = below_4g ? low_bytes_per_port : high_bytes_per_port;
    const std::uint64_t first = sim::align_up(used, bytes);
    if (first + bytes > all) {
        throw sim::UserError(
            fmt::format("the devices behind PCI Express port {} want more than {} MiB of addresses", bus, all >> 20));
    }
    used = first + bytes;
    return (below_4g ? low_alias + low_base : high_base) + (bus - 1u) * all + first;
}

HostFunction HostPci::place(pci::Function& function) {
    HostFunction placed;
    placed.id = function.id();
    const auto sized = [&](unsigned bar) {
        const unsigned offset = pci::header::bar0 + 4 * bar;
        write_config(placed.id, offset, 4, ~std::uint32_t{0});
        return read_config(placed.id, offset, 4);
    };
    for (unsigned bar = 0; bar < placed.bars.size(); ++bar) {
        const std::uint32_t low = sized(bar);
        if (low == 0 || (low & pci::bar_bits::io) != 0) continue;
        const bool wide = (low & pci::bar_bits::memory64) != 0 && bar + 1 < placed.bars.size();
        const std::uint32_t high = wide ? sized(bar + 1) : ~std::uint32_t{0};
        const std::uint64_t mask = std::uint64_t{high} << 32 | (low & pci::bar_bits::memory_address);
        placed.bars[bar] = {wide ? pci::BarKind::memory64 : pci::BarKind::memory32, ~mask + 1,
                            (low & pci::bar_bits::prefetchable) != 0};
        placed.addresses[bar] = reserve(placed.id.bus(), placed.bars[bar].size_bytes, !wide);
        if (wide) ++bar;
    }
    vmbus::PciIdentity& who = placed.identity;
    const auto get = [&](unsigned offset, unsigned size) { return read_config(placed.id, offset, size); };
    namespace h = pci::header;
    who.vendor = static_cast<std::uint16_t>(get(h::vendor_id, 2));
    who.device = static_cast<std::uint16_t>(get(h::device_id, 2));
    who.revision = static_cast<std::uint8_t>(get(h::revision_id, 1));
    who.programming_interface = static_cast<std::uint8_t>(get(h::class_code, 1));
    who.class_of = static_cast<std::uint16_t>(get(h::class_code + 1, 2));
    who.subsystem_vendor = static_cast<std::uint16_t>(get(pci::header0::subsystem_vendor_id, 2));
    who.subsystem = static_cast<std::uint16_t>(get(pci::header0::subsystem_id, 2));
    restore(placed);
    return placed;
}

void HostPci::restore(const HostFunction& function) {
    for (unsigned bar = 0; bar < function.bars.size(); ++bar) {
        if (function.bars[bar].kind == pci::BarKind::absent) continue;
        const std::uint64_t address = bus_address(function.addresses[bar]);
        const unsigned offset = pci::header::bar0 + 4 * bar;
        write_config(function.id, offset, 4, static_cast<std::uint32_t>(address));
        if (function.bars[bar].kind != pci::BarKind::memory64) continue;
        write_config(function.id, offset + 4, 4, static_cast<std::uint32_t>(address >> 32));
    }
    const std::uint32_t command = read_config(function.id, pci::header::command, 2);
    write_config(function.id, pci::header::command, 2, command | pci::command::memory_space);
}

void HostPci::reset(const HostFunction& function) {
    write_config(function.id, pci::header::command, 2, 0);
    const std::uint16_t express = capability(function.id, pci::capability_id::express);
    if (express != 0) {
        const unsigned control = express + pci::express::device_control;
        write_config(function.id, control, 2, read_config(function.id, control, 2) | pci::express::initiate_flr);
    }
    restore(function);
}

std::uint16_t HostPci::capability(pci::RequesterId id, std::uint8_t wanted) {
    if ((read_config(id, pci::header::status, 2) & pci::status::capabilities_list) == 0) return 0;
    std::uint32_t at = read_config(id, pci::header::capabilities_pointer, 1) & 0xfc;
    // As many as fit: a list that runs in a circle ends, too.
    for (unsigned n = 0; n < 48 && at != 0; ++n) {
        const std::uint32_t header = read_config(id, at, 2);
        if ((header & 0xff) == wanted) return static_cast<std::uint16_t>(at);
        at = header >> 8 & 0xfc;
    }
    return 0;
}

// Registers
// ----------------------------------------------------------------------------------------------------------------

void HostPci::set_link(std::uint8_t bus, pci::Link& link) {
    VG_CHECK(bus >= 1 && bus <= ports_.size());
    ports_[bus - 1u]->link = &link;
}

pci::Link* HostPci::link_to(std::uint64_t spa) const {
    if (spa < high_base || spa >= high_base + ports_.size() * high_bytes_per_port) return nullptr;
    return ports_[(spa - high_base) / high_bytes_per_port]->link;
}

std::uint64_t HostPci::read(std::uint64_t spa, unsigned size, sim::Time& cost) {
    if (pci::Link* link = link_to(spa)) {
        const pci::Link::Value value = link->read_now(bus_address(spa), size);
        cost = value.at - scope_.now();
        return value.value;
    }
    read_time_ = sim::Time::zero();
    const std::uint64_t value = root_.read(pci::Space::memory, bus_address(spa), size);
    cost = costs_.mmio.read + read_time_;
    return value;
}

void HostPci::write(std::uint64_t spa, unsigned size, std::uint64_t value, sim::Time& cost) {
    cost = costs_.mmio.write;
    pci::Link* link = link_to(spa);
    if (link != nullptr && link->post_write(bus_address(spa), size, value) != sim::Time::zero()) return;
    // Without room the processor waits until there is: a read's time, since that pushes what is before it.
    if (link != nullptr) (void)link->read_now(bus_address(spa) & ~std::uint64_t{3}, 4);
    root_.write(pci::Space::memory, bus_address(spa), size, value);
}

// What functions do
// ----------------------------------------------------------------------------------------------------------------

void HostPci::set_context(pci::RequesterId function, std::uint64_t low, std::uint64_t high) {
    VG_CHECK(function.bus() <= most_ports);
    const std::uint64_t at =
        tables_ + (1 + function.bus()) * std::uint64_t{4096} + function.devfn() * remap::entry_bytes;
    memory_.store<std::uint64_t>(at, low);
    memory_.store<std::uint64_t>(at + 8, high);
    iommu_.invalidate_context(function);
}

void HostPci::let_use(pci::RequesterId function, vmbus::GuestMemory* memory) {
    if (memory != nullptr) {
        constexpr auto passes = static_cast<std::uint64_t>(pci::TranslationType::pass_through);
        memories_[function] = memory;
        set_context(function, passes << remap::translation_type_shift | remap::present, remap::width_4_levels);
    } else {
        memories_.erase(function);
        set_context(function, 0, 0);
    }
}

bool HostPci::join_domain(std::uint64_t device, std::uint64_t partition, const slat::SecondLevel& tables) {
    const pci::RequesterId function{static_cast<std::uint16_t>(device)};
    const bool usable = tables.format == slat::Format::npt && partition <= 0xffff && function.bus() <= most_ports;
    if (!usable || memories_.contains(function)) return false;
    const auto domain = static_cast<std::uint16_t>(partition);
    domains_[function] = domain;
    // What may be left of an earlier partition of that number.
    iommu_.invalidate_translations(domain);
    set_context(function, (tables.root & remap::address_mask) | remap::present,
                std::uint64_t{domain} << remap::domain_shift | remap::width_4_levels);
    return true;
}

void HostPci::leave_domain(std::uint64_t device) {
    const auto found = domains_.find(pci::RequesterId{static_cast<std::uint16_t>(device)});
    if (found == domains_.end()) return;
    set_context(found->first, 0, 0);
    iommu_.invalidate_translations(found->second);
    domains_.erase(found);
}

void HostPci::domain_changed(std::uint64_t partition, std::uint64_t gpa, std::uint64_t length) {
    const auto member = [&](const auto& entry) { return entry.second == partition; };
    if (length == 0 || std::ranges::none_of(domains_, member)) return;
    iommu_.invalidate_pages(static_cast<std::uint16_t>(partition), gpa, length);
}

void HostPci::add_needs(std::uint64_t device, sim::WorkingSet& set) {
    const pci::RequesterId id{static_cast<std::uint16_t>(device)};
    if (id.bus() == 0 || id.bus() > ports_.size()) return;
    if (const pci::Function* const function = ports_[id.bus() - 1]->bridge.secondary().function_at(id.devfn())) {
        function->add_needs(set);
        ports_[id.bus() - 1]->bridge.secondary().add_needs(id.devfn(), set);
        iommu_.add_needs(id, set);
    }
}

void HostPci::listen(pci::RequesterId function, RootInterrupts* listener) {
    if (listener != nullptr) {
        listeners_[function] = listener;
        return;
    }
    listeners_.erase(function);
    std::erase_if(root_handles_, [&](const auto& entry) {
        if (entry.second != function) return false;
        set_entry(entry.first, 0, 0);
        return true;
    });
}

std::uint64_t HostPci::partition_of(pci::RequesterId function) const {
    const auto found = domains_.find(function);
    return found != domains_.end() ? found->second : 0;
}

// Drivers of the root's own work beside their device.
std::uint32_t HostPci::listening_node(pci::RequesterId function) const {
    const auto home = homes_.find(partition_of(function));
    return home != homes_.end() ? home->second : memory_timing_.node_of(function.bus());
}

// Interrupts
// ----------------------------------------------------------------------------------------------------------------

void HostPci::set_entry(std::uint32_t handle, std::uint64_t low, std::uint64_t high) {
    const std::uint64_t at = tables_ + interrupts_at + handle * ir::entry_bytes;
    memory_.store<std::uint64_t>(at, low);
    memory_.store<std::uint64_t>(at + 8, high);
}

namespace {

std::uint64_t verified(std::uint16_t requester) {
    constexpr auto how = static_cast<std::uint64_t>(pci::SourceValidation::requester);
    return requester | how << ir::source_validation_shift;
}

}  // namespace

void HostPci::set_interrupt(std::uint32_t handle, const hypervisor::RemappedInterrupt& entry) {
    VG_CHECK(handle < first_root_handle);
    std::uint64_t low = ir::present | std::uint64_t{entry.vector} << ir::vector_shift;
    std::uint64_t high = verified(static_cast<std::uint16_t>(entry.device));
    if (entry.descriptor) {
        low |= ir::posted | (*entry.descriptor << 32 & ir::posted_address_low);
        high |= *entry.descriptor >> 32 << 32;
    } else {
        low |= std::uint64_t{entry.processor} << ir::destination_shift;
    }
    set_entry(handle, low, high);
}

void HostPci::clear_interrupt(std::uint32_t handle) {
    VG_CHECK(handle < first_root_handle);
    set_entry(handle, 0, 0);
}

pci::InterruptMessage HostPci::root_message(pci::RequesterId function, std::uint8_t number) {
    VG_CHECK(number < 128);
    std::uint32_t handle = first_root_handle;
    while (root_handles_.contains(handle)) ++handle;
    if (handle == interrupt_entries) {
        throw sim::UserError("the host's own PCI devices want more interrupts than the interrupt table has room for");
    }
    root_handles_[handle] = function;
    set_entry(handle, ir::present | (std::uint64_t{first_root_vector} + number) << ir::vector_shift,
              verified(function.value));
    return {ir::address_base | ir::address_remappable | std::uint64_t{handle} << 5, 0, function};
}

// From the IOMMU: the form that its send() makes, of a processor's number and a vector.
void HostPci::interrupt(const pci::InterruptMessage& message) {
    const auto vector = static_cast<std::uint8_t>(message.data);
    const auto own = listeners_.find(message.requester);
    if (own != listeners_.end()) return own->second->message(vector - std::uint32_t{first_root_vector});
    if (message.requester == pci::RequesterId{} && vector == fault_vector) return fault_reader_->interrupt();
    const auto processor =
        static_cast<std::uint32_t>((message.address >> 12 & 0xff) | (message.address >> 32 & 0xffff'ff00));
    if (interrupts_ == nullptr || !interrupts_->device_interrupt(processor, vector)) ++stray_interrupts_;
}

vmbus::GuestMemory* HostPci::memory_of(pci::RequesterId requester) const {
    const auto found = memories_.find(requester);
    return found != memories_.end() ? found->second : nullptr;
}

pci::DmaStatus HostPci::ended(pci::RequesterId requester, std::uint64_t address, bool done) {
    if (done) return pci::DmaStatus::ok;
    ++refused_dma_;
    scope_.trace("dma_refused", requester.value, address);
    return pci::DmaStatus::unsupported;
}

pci::DmaStatus HostPci::read_memory(pci::RequesterId requester, std::uint64_t address, std::span<std::byte> out) {
    vmbus::GuestMemory* own = memory_of(requester);
    return ended(requester, address, own != nullptr ? own->read(address, out) : memory_.read(address, out));
}

pci::DmaStatus HostPci::write_memory(pci::RequesterId requester, std::uint64_t address,
                                     std::span<const std::byte> data) {
    vmbus::GuestMemory* own = memory_of(requester);
    return ended(requester, address, own != nullptr ? own->write(address, data) : memory_.write(address, data));
}

}  // namespace models
