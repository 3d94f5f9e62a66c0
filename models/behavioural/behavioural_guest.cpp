#include "models/behavioural/behavioural_guest.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

#include "hypervisor/tlfs.h"
#include "models/host_memory.h"
#include "sim/check.h"

namespace models {

namespace h = hypervisor;

namespace {

constexpr unsigned bus_sint = 2;
constexpr std::uint64_t linux_id = 0x8100'0000'0000'0000;  // TLFS 2.6: open source, Linux
constexpr std::uint64_t x2apic_base = 0xfee0'0c00;
constexpr std::uint64_t bootstrap_processor = 0x100;
constexpr std::uint32_t apic_base_msr = 0x1b;
constexpr std::uint32_t apic_spurious_msr = 0x80f;
constexpr std::uint64_t apic_enabled = 0x1ff;

// Pages that the kernel gives away: from 16 MiB on, or from 1 MiB in a small guest.
constexpr std::uint64_t kernel_bytes = 16ull << 20;
constexpr std::uint64_t small_kernel_bytes = 1ull << 20;

// What a processor takes at boot, and the first of them and the bus besides.
constexpr std::uint64_t pages_of_processor = 4, pages_of_guest = 1 + 3;

std::uint64_t first_free_page(const MemoryLayout& layout) {
    return (layout.low_ram.end() >= 2 * kernel_bytes ? kernel_bytes : small_kernel_bytes) / page_bytes;
}

vmbus::PageAllocator pages_of(const MemoryLayout& layout) {
    const std::uint64_t first = first_free_page(layout);
    return {first, layout.low_ram.end() / page_bytes - first};
}

constexpr std::uint64_t page_register(std::uint64_t page) {
    return page << h::page_register::gpfn_shift | h::page_register::enable;
}

// The bus's slots in those pages.
constexpr std::uint64_t events_at(std::uint64_t page) {
    return page * page_bytes + bus_sint * std::uint64_t{h::event_flags_bytes};
}
constexpr std::uint64_t messages_at(std::uint64_t page) {
    return page * page_bytes + bus_sint * std::uint64_t{h::message_bytes};
}

constexpr sim::Cause bus_cause = "guest.vmbus.message";

}  // namespace

BehaviouralGuest::BehaviouralGuest(const sim::Scope& scope, const Config& config, SoftwarePlacement& placement,
                                   vmbus::GuestMemory& memory)
    : scope_(scope),
      stores_(*this, memory),
      config_(config),
      placement_(&placement),
      pages_(pages_of(config.layout)),
      needed_pages_(config.vps * pages_of_processor + pages_of_guest),
      bus_port_(*this),
      registration_(scope.register_state(*this)),
      bus_(scope.child("bus"), stores_, bus_port_, pages_, *this) {
    state_.pages.resize(config.vps);
    boot_id_ = attach(*this);
    for (unsigned vp = 0; vp < config.vps; ++vp) {
        cpus_.push_back(std::make_unique<BehaviouralCpu>(static_cast<CpuOwner&>(*this), vp));
        boots_.push_back(std::make_unique<Boot>(*this, vp));
        messages_.push_back(std::make_unique<Messages>(*this, vp));
        cpus_.back()->needs().add(stores_);
        memory.add_needs(cpus_.back()->needs());
        cpus_.back()->needs().add(scope_);
        cpus_.back()->needs().add_elements(cpus_);
        cpus_.back()->needs().add(at_work_);
        cpus_.back()->call_needs().add(bus_port_);
        cpus_.back()->call_needs().add_elements(state_.pages);
        placement_->place(config.partition, vp, &cpus_.back()->software());
        boots_.back()->slot.wake();
    }
}

void BehaviouralGuest::will_need(std::uint64_t pages, std::string_view what) {
    constexpr std::uint64_t mib = (1 << 20) / page_bytes;
    const std::uint64_t end = config_.layout.low_ram.end() / page_bytes, all = end - first_free_page(config_.layout);
    const std::uint64_t wanted = needed_pages_ + pages;
    if (wanted <= all) {
        needed_pages_ = wanted;
        return;
    }
    const std::uint64_t enough = kernel_bytes / page_bytes + wanted;
    throw sim::UserError(
        fmt::format("partition {}: {} takes {} MiB of memory, and of its {} MiB {} are left: give it {} MiB",
                    config_.name, what, (pages + mib - 1) / mib, end / mib, (all - std::min(all, needed_pages_)) / mib,
                    (enough + 4 * mib - 1) / (4 * mib) * 4));
}

BehaviouralGuest::~BehaviouralGuest() {
    while (!kept_.empty()) kept_.pop_back();
    stop();
}

void BehaviouralGuest::stop() {
    for (unsigned vp = 0; vp < config_.vps; ++vp) placement_->place(config_.partition, vp, nullptr);
}

void BehaviouralGuest::move_to(h::PartitionId partition, SoftwarePlacement& placement, vmbus::GuestMemory& memory) {
    stop();
    config_.partition = partition;
    placement_ = &placement;
    stores_.memory = &memory;
    for (auto& cpu : cpus_) memory.add_needs(cpu->needs());
    for (unsigned vp = 0; vp < config_.vps; ++vp) placement_->place(partition, vp, &cpus_[vp]->software());
}

bool BehaviouralGuest::Stores::write(std::uint64_t gpa, std::span<const std::byte> data) {
    h::BehaviouralProcessor* processor = guest.cpus_.front()->vp();
    if (processor != nullptr && processor->stores_tracked()) return processor->memory().write(gpa, data);
    return memory->write(gpa, data);
}

// Boot: the Hyper-V interface of each processor, in the order of Linux' hyperv_init() and hv_synic_enable_regs()
// -----------------------------------------------------------------------------------------------------------------

std::optional<sim::Time> BehaviouralGuest::Boot::begin() {
    if ((guest.state_.booted >> vp & 1) != 0) return std::nullopt;
    guest.state_.booted |= std::uint64_t{1} << vp;
    return sim::Time::zero();
}

void BehaviouralGuest::boot(unsigned vp) {
    h::BehaviouralProcessor* processor = cpus_[vp]->vp();
    const auto taken = pages_.allocate(pages_of_processor + (vp == 0 ? 1 : 0));
    if (processor == nullptr || !taken) return;
    Pages& own = state_.pages[vp];
    own = {(*taken)[0], (*taken)[1], (*taken)[2], (*taken)[3]};
    processor->set_hypercall_page(own.hypercall_input * page_bytes);
    processor->write_msr(apic_base_msr, x2apic_base | (vp == 0 ? bootstrap_processor : 0));
    processor->write_msr(apic_spurious_msr, apic_enabled);
    if (vp == 0) {
        state_.hypercall_page = (*taken)[4];
        processor->write_msr(h::msr::guest_os_id, linux_id);
        processor->write_msr(h::msr::hypercall, page_register(state_.hypercall_page));
    }
    processor->write_msr(h::msr::vp_assist_page, page_register(own.assist));
    processor->write_msr(h::msr::simp, page_register(own.messages));
    processor->write_msr(h::msr::siefp, page_register(own.events));
    processor->write_msr(h::msr::sint0 + bus_sint, BehaviouralCpu::synthetic_vector);
    processor->write_msr(h::msr::scontrol, h::scontrol_enable, boot_id_, 0);
}

// A processor is ready. The bus may want any of them.
void BehaviouralGuest::resume(std::uint32_t, std::uint64_t) {
    if (++state_.ready == config_.vps) bus_.connect();
}

// The bus's interrupt, as Linux' vmbus_isr()
// -----------------------------------------------------------------------------------------------------------------

void BehaviouralGuest::synthetic_interrupt(unsigned vp) {
    h::BehaviouralProcessor* processor = cpus_[vp]->vp();
    if (processor == nullptr) return;
    std::array<std::uint64_t, h::event_flags_bytes / 8> flags{};
    const std::uint64_t at = events_at(state_.pages[vp].events);
    if (processor->memory().read(at, std::as_writable_bytes(std::span{flags}))) {
        for (std::size_t word = 0; word < flags.size(); ++word) {
            if (flags[word] == 0) continue;
            const std::uint64_t none = 0;
            (void)processor->memory().write(at + 8 * word, std::as_bytes(std::span{&none, 1}));
            for (std::uint64_t left = flags[word]; left != 0; left &= left - 1) {
                bus_.host_event(vp,
                                static_cast<std::uint16_t>(64 * word + static_cast<unsigned>(std::countr_zero(left))));
            }
        }
    }
    if (message_waits(vp)) messages_[vp]->slot.wake();
}

void BehaviouralGuest::expect_synthetic_interrupt(unsigned vp) const {
    const h::BehaviouralProcessor* const processor = cpus_[vp]->vp();
    if (processor == nullptr) return;
    const std::uint64_t events = events_at(state_.pages[vp].events);
    for (std::uint64_t at = 0; at < h::event_flags_bytes; at += sim::WorkingSet::line_bytes) {
        processor->expect(events + at);
    }
    processor->expect(messages_at(state_.pages[vp].messages));
}

bool BehaviouralGuest::message_waits(unsigned vp) {
    h::BehaviouralProcessor* processor = cpus_[vp]->vp();
    std::uint32_t type = 0;
    const std::uint64_t at = messages_at(state_.pages[vp].messages);
    return processor != nullptr && processor->memory().read(at, std::as_writable_bytes(std::span{&type, 1})) &&
           type != static_cast<std::uint32_t>(h::HvMessageType::none);
}

std::optional<sim::Time> BehaviouralGuest::Messages::begin() {
    if (!guest.message_waits(vp)) return std::nullopt;
    return guest.config_.costs.bus.per_message;
}

void BehaviouralGuest::Messages::account(sim::Account& account) const {
    account.add(bus_cause, guest.config_.costs.bus.per_message);
}

// Linux' vmbus_on_msg_dpc(): the slot is free when the message has been dealt with, and the hypervisor is told if it
// has said that more waits.
void BehaviouralGuest::take_message(unsigned vp) {
    h::BehaviouralProcessor* processor = cpus_[vp]->vp();
    if (processor == nullptr) return;
    h::HvMessage message{};
    const std::uint64_t at = messages_at(state_.pages[vp].messages);
    if (!processor->memory().read(at, std::as_writable_bytes(std::span{&message, 1}))) return;
    const auto length = std::min<std::size_t>(message.header.payload_size, sizeof message.payload);
    if (message.header.message_type == 1) bus_.host_message(std::as_bytes(std::span{message.payload}).first(length));
    const auto none = static_cast<std::uint32_t>(h::HvMessageType::none);
    (void)processor->memory().write(at, std::as_bytes(std::span{&none, 1}));
    std::uint8_t now_pending = 0;
    constexpr std::uint64_t flags_offset = 5;
    if (processor->memory().read(at + flags_offset, std::as_writable_bytes(std::span{&now_pending, 1})) &&
        (now_pending & h::message_flag_pending) != 0) {
        processor->write_msr(h::msr::eom, 0);
    }
}

// The bus's drivers
// -----------------------------------------------------------------------------------------------------------------

vmbus::BusDriver* BehaviouralGuest::driver_of(const vmbus::ClientChannel& channel) {
    const vmbus::Guid type = channel.offer().interface_type;
    const auto found = std::ranges::find(drivers_, type, &Driver::first);
    return found != drivers_.end() ? found->second : nullptr;
}

void BehaviouralGuest::add_driver(const vmbus::Guid& interface_type, vmbus::BusDriver& driver) {
    // Offers do not say whose they are: the first would get them all, and the other never come up.
    if (std::ranges::find(drivers_, interface_type, &Driver::first) != drivers_.end()) {
        throw sim::UserError(
            fmt::format("partition {}: a guest that executes no instructions drives one synthetic network adapter and "
                        "one SCSI controller, not two",
                        config_.name));
    }
    drivers_.emplace_back(interface_type, &driver);
    if (connected()) driver.connected(bus_.version());
    for (const std::uint16_t relid : std::vector<std::uint16_t>{state_.unclaimed}) {
        vmbus::ClientChannel* channel = bus_.find(relid);
        if (channel != nullptr && channel->offer().interface_type != interface_type) continue;
        std::erase(state_.unclaimed, relid);
        if (channel != nullptr) driver.offered(*channel);
    }
}

void BehaviouralGuest::connected(std::uint32_t version) {
    scope_.trace("bus_connected", version);
    for (const auto& [type, driver] : drivers_) driver->connected(version);
}

void BehaviouralGuest::refused() {
    for (const auto& [type, driver] : drivers_) driver->refused();
}

void BehaviouralGuest::unloaded() {
    for (const auto& [type, driver] : drivers_) driver->unloaded();
}

void BehaviouralGuest::offered(vmbus::ClientChannel& channel) {
    if (vmbus::BusDriver* driver = driver_of(channel)) return driver->offered(channel);
    std::erase(state_.unclaimed, channel.relid());
    state_.unclaimed.push_back(channel.relid());
}

vmbus::ChannelDriver* BehaviouralGuest::adopt(vmbus::ClientChannel& channel) {
    vmbus::BusDriver* driver = driver_of(channel);
    return driver != nullptr ? driver->adopt(channel) : nullptr;
}

// The platform
// -----------------------------------------------------------------------------------------------------------------

ContinuationId BehaviouralGuest::attach(Continuation& continuation) {
    continuations_.push_back(&continuation);
    return static_cast<ContinuationId>(continuations_.size() - 1);
}

void BehaviouralGuest::detach(ContinuationId id) {
    continuations_.at(id) = nullptr;
}

void BehaviouralGuest::resume(ContinuationId who, std::uint32_t step, std::uint64_t value) {
    if (who < continuations_.size() && continuations_[who] != nullptr) continuations_[who]->resume(step, value);
}

void BehaviouralGuest::send_ipi(std::uint64_t processors, std::uint8_t vector) {
    if (auto* processor = cpus_[at_work_]->vp()) processor->send_ipi(processors, vector);
}

std::uint8_t BehaviouralGuest::allocate_vector(unsigned vp, InterruptHandler& handler) {
    return cpus_.at(vp)->allocate_vector(handler);
}

void BehaviouralGuest::release_vector(unsigned vp, std::uint8_t vector) {
    cpus_.at(vp)->release_vector(vector);
}

void BehaviouralGuest::adopt_vector(unsigned vp, std::uint8_t vector, InterruptHandler& handler) {
    cpus_.at(vp)->adopt_vector(vector, handler);
}

void BehaviouralGuest::write_register(unsigned vp, std::uint64_t gpa, unsigned bytes, std::uint64_t value) {
    if (auto* processor = cpus_.at(vp)->vp()) processor->write_register(gpa, bytes, value);
}

void BehaviouralGuest::read_register(unsigned vp, std::uint64_t gpa, unsigned bytes, ContinuationId who,
                                     std::uint32_t step) {
    if (auto* processor = cpus_.at(vp)->vp()) processor->read_register(gpa, bytes, who, step);
}

void BehaviouralGuest::write_port(unsigned vp, std::uint16_t port, unsigned bytes, std::uint32_t value) {
    if (auto* processor = cpus_.at(vp)->vp()) processor->write_port(port, bytes, value);
}

void BehaviouralGuest::read_port(unsigned vp, std::uint16_t port, unsigned bytes, ContinuationId who,
                                 std::uint32_t step) {
    if (auto* processor = cpus_.at(vp)->vp()) processor->read_port(port, bytes, who, step);
}

}  // namespace models
