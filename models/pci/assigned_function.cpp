#include "models/pci/assigned_function.h"

#include <algorithm>

#include "pci/capability_registers.h"
#include "sim/bits.h"
#include "sim/check.h"

namespace models {

namespace h = hypervisor;
namespace window = vmbus::virtual_pci::window;

namespace {
constexpr std::uint64_t page = 4096;
constexpr std::uint32_t rights = h::map_gpa_flag::readable | h::map_gpa_flag::writable | h::map_gpa_flag::not_cached;
}  // namespace

AssignedFunction::AssignedFunction(const sim::Scope& scope, const PciSurroundings& surroundings, std::uint16_t number)
    : scope_(scope),
      around_(surroundings),
      logical_(vmbus::VirtualPci::device_id_of(number)),
      config_(surroundings.host),
      config_window_(*this),
      misplaced_(scope.counter("misplaced", "count", "BARs that the guest has put where no device can be")),
      dropped_(scope.counter("dropped_interrupts", "count", "interrupts that the guest asked for in vain")),
      bus_(scope.child("bus"), surroundings.service, number, *this),
      registration_(scope.register_state(*this)) {
    for (unsigned bar = 0; bar < bar_windows_.size(); ++bar) {
        bar_windows_[bar].function = this;
        bar_windows_[bar].bar = bar;
    }
}

AssignedFunction::~AssignedFunction() {
    withdraw();
}

// Coming and going
// ----------------------------------------------------------------------------------------------------------------

bool AssignedFunction::give(const HostFunction& function) {
    VG_CHECK(!state_.given);
    const std::uint64_t device = h::device_id::of_pci(function.id.value);
    if (around_.client.attach_device(around_.partition, device, logical_) != h::HvStatus::success) return false;
    function_ = function;
    around_.host.reset(function_);
    config_.attach(function_);
    find_trapped_pages();
    state_ = State{};
    state_.given = true;
    scope_.trace("function_given", function_.id.value, function_.identity.serial);
    bus_.offer(function_.identity);
    return true;
}

void AssignedFunction::take() {
    if (!state_.given) return;
    state_.given = false;
    bus_.rescind();  // takes the window and the BARs, if there are any
    scope_.trace("function_taken", function_.id.value, function_.identity.serial);
    VG_CHECK(around_.client.detach_device(around_.partition, logical_) == h::HvStatus::success);
    around_.host.reset(function_);
    if (owner_ != nullptr) owner_->function_returned(*this);
}

// Another machine's state takes this one's place: claims and mappings of this object go, hypercalls are not made.
void AssignedFunction::withdraw() {
    release_claims();
}

void AssignedFunction::restored() {
    if (!state_.given) return;
    config_.rejoin(function_);
    find_trapped_pages();
    if (state_.window) (void)claim(*state_.window, window::bytes, config_window_);
    for (unsigned bar = 0; bar < state_.mapped.size(); ++bar) {
        if (!state_.mapped[bar]) continue;
        for (const std::uint64_t offset : trapped_pages_[bar]) {
            (void)claim(*state_.mapped[bar] + offset, std::min(page, function_.bars[bar].size_bytes),
                        bar_windows_[bar]);
        }
    }
}

// The configuration window
// ----------------------------------------------------------------------------------------------------------------

bool AssignedFunction::in_device_space(std::uint64_t gpa, std::uint64_t bytes) const {
    const auto within = [&](const AddressRange& range) {
        return gpa >= range.first && bytes <= range.length && gpa - range.first <= range.length - bytes;
    };
    return within(around_.layout.low_window) || within(around_.layout.high_window);
}

// A screen's memory lies where devices may be.
bool AssignedFunction::over_memory(std::uint64_t gpa, std::uint64_t bytes) const {
    std::byte probe{};
    for (std::uint64_t at = gpa; at < gpa + bytes; at += page) {
        if (around_.memory.read(at, {&probe, 1})) return true;
    }
    return around_.memory.read(gpa + bytes - 1, {&probe, 1});
}

bool AssignedFunction::claim(std::uint64_t gpa, std::uint64_t bytes, MmioDevice& device) {
    if (!around_.mmio.try_claim(gpa, bytes, device)) return false;
    claims_.push_back(gpa);
    return true;
}

void AssignedFunction::release_claims() {
    for (const std::uint64_t gpa : claims_) around_.mmio.release(gpa);
    claims_.clear();
}

bool AssignedFunction::place_window(std::uint64_t gpa) {
    if (!in_device_space(gpa, window::bytes) || !claim(gpa, window::bytes, config_window_)) return false;
    state_.window = gpa;
    return true;
}

// The guest has closed the bus, or its driver has put the function to rest: nothing that it set up goes on.
void AssignedFunction::remove_window() {
    unmap_bars();
    release_claims();
    state_.window.reset();
    state_.slot = 0;
    config_.reset();
    const std::uint64_t device = h::device_id::of_pci(function_.id.value);
    VG_CHECK(around_.client.detach_device(around_.partition, logical_) == h::HvStatus::success);
    VG_CHECK(around_.client.attach_device(around_.partition, device, logical_) == h::HvStatus::success);
    around_.host.reset(function_);
}

namespace {

// Accesses of eight bytes as two of four.
template <class Read>
std::uint64_t read_parts(unsigned size, Read read) {
    if (size <= 4) return read(0u, size);
    return read(0u, 4u) | std::uint64_t{read(4u, 4u)} << 32;
}

}  // namespace

std::uint64_t AssignedFunction::ConfigWindow::read_mmio(std::uint64_t gpa, unsigned size) {
    const std::uint64_t offset = gpa - *function.state_.window;
    return read_parts(size, [&](unsigned part, unsigned bytes) -> std::uint32_t {
        const std::uint64_t at = offset + part;
        if (at < window::config || function.state_.slot != 0) return ~std::uint32_t{0};
        return function.config_.read(static_cast<unsigned>(at - window::config), bytes);
    });
}

void AssignedFunction::ConfigWindow::write_mmio(std::uint64_t gpa, unsigned size, std::uint64_t value) {
    const std::uint64_t offset = gpa - *function.state_.window;
    for (unsigned part = 0; part < size; part += 4) {
        const std::uint64_t at = offset + part;
        const auto dword = static_cast<std::uint32_t>(value >> 8 * part);
        if (at == window::slot && size >= 4) function.state_.slot = dword;
        if (at < window::config || function.state_.slot != 0) continue;
        const auto in = static_cast<unsigned>(at - window::config);
        function.scope_.trace("config_write", in, std::min(size, 4u), dword);
        if (!function.config_.write(in, std::min(size, 4u), dword)) continue;
        function.unmap_bars();
        function.map_bars();
        if (function.config_.decodes() && function.owner_ != nullptr) function.owner_->function_in_use(function);
    }
}

// Registers
// ----------------------------------------------------------------------------------------------------------------

// The pages with the MSI-X table and its pending bits, and BARs that are smaller than a page.
void AssignedFunction::find_trapped_pages() {
    trapped_pages_ = {};
    const std::uint16_t msix = around_.host.capability(function_.id, pci::capability_id::msix);
    if (msix != 0) {
        const auto get = [&](unsigned offset) { return around_.host.read_config(function_.id, msix + offset, 4); };
        const std::uint64_t vectors = (get(0) >> 16 & pci::msix_cap::size_mask) + 1;
        const auto add = [&](std::uint32_t where, std::uint64_t bytes) {
            const unsigned bar = where & 7;
            if (bar >= trapped_pages_.size()) return;
            const std::uint64_t first = where & ~std::uint32_t{7};
            for (std::uint64_t at = sim::align_down(first, page); at < first + bytes; at += page) {
                if (at < function_.bars[bar].size_bytes && !trapped(bar, at)) trapped_pages_[bar].push_back(at);
            }
        };
        add(get(pci::msix_cap::table), vectors * pci::msix_cap::entry_bytes);
        add(get(pci::msix_cap::pending), (vectors + 63) / 64 * 8);
    }
    for (unsigned bar = 0; bar < trapped_pages_.size(); ++bar) {
        const bool small = function_.bars[bar].kind != pci::BarKind::absent && function_.bars[bar].size_bytes < page;
        if (small && trapped_pages_[bar].empty()) trapped_pages_[bar].push_back(0);
        std::ranges::sort(trapped_pages_[bar]);
    }
}

bool AssignedFunction::trapped(unsigned bar, std::uint64_t offset) const {
    return std::ranges::find(trapped_pages_[bar], offset) != trapped_pages_[bar].end();
}

void AssignedFunction::map_bars() {
    if (!config_.decodes()) return;
    for (unsigned bar = 0; bar < state_.mapped.size(); ++bar) {
        const pci::Bar& declared = function_.bars[bar];
        if (declared.kind == pci::BarKind::absent) continue;
        const std::uint64_t gpa = config_.bar_address(bar);
        if (!in_device_space(gpa, declared.size_bytes) || over_memory(gpa, declared.size_bytes)) {
            ++misplaced_;
            continue;
        }
        state_.mapped[bar] = gpa;
        scope_.trace("bar_mapped", bar, gpa, declared.size_bytes);
        for (std::uint64_t at = 0; at < declared.size_bytes;) {
            if (trapped(bar, at)) {
                if (!claim(gpa + at, std::min(page, declared.size_bytes), bar_windows_[bar])) ++misplaced_;
                at += page;
                continue;
            }
            std::uint64_t end = at;
            while (end < declared.size_bytes && !trapped(bar, end)) end += page;
            const std::uint64_t spa = function_.addresses[bar] + at;
            if (around_.client.map_range(around_.partition, (gpa + at) / page, spa / page, (end - at) / page, rights) !=
                h::HvStatus::success) {
                ++misplaced_;
            }
            at = end;
        }
    }
}

void AssignedFunction::unmap_bars() {
    for (unsigned bar = 0; bar < state_.mapped.size(); ++bar) {
        if (!state_.mapped[bar]) continue;
        const std::uint64_t gpa = *state_.mapped[bar];
        const std::uint64_t bytes = function_.bars[bar].size_bytes;
        if (bytes >= page) {
            VG_CHECK(around_.client.unmap_range(around_.partition, gpa / page, bytes / page) == h::HvStatus::success);
        }
        for (const std::uint64_t at : trapped_pages_[bar]) {
            const auto claimed = std::ranges::find(claims_, gpa + at);
            if (claimed == claims_.end()) continue;
            around_.mmio.release(*claimed);
            claims_.erase(claimed);
        }
        state_.mapped[bar].reset();
    }
}

std::uint64_t AssignedFunction::BarWindow::read_mmio(std::uint64_t gpa, unsigned size) {
    sim::Time cost;  // within the intercept's
    const std::uint64_t offset = gpa - *function->state_.mapped[bar];
    return function->around_.host.read(function->function_.addresses[bar] + offset, size, cost);
}

void AssignedFunction::BarWindow::write_mmio(std::uint64_t gpa, unsigned size, std::uint64_t value) {
    sim::Time cost;
    const std::uint64_t offset = gpa - *function->state_.mapped[bar];
    function->scope_.trace("bar_write", bar, offset, value);
    function->around_.host.write(function->function_.addresses[bar] + offset, size, value, cost);
}

// Interrupts
// ----------------------------------------------------------------------------------------------------------------

std::optional<vmbus::PciMessage> AssignedFunction::create_interrupt(const vmbus::PciInterrupt& interrupt) {
    constexpr std::uint8_t lowest_priority = 1;
    if (interrupt.delivery_mode > lowest_priority) {
        ++dropped_;
        return std::nullopt;
    }
    const h::InterruptTarget target{.vector = interrupt.vector, .processors = interrupt.processors};
    const auto message = around_.client.map_device_interrupt(around_.partition, logical_, target, interrupt.count);
    if (!message) {
        ++dropped_;
        return std::nullopt;
    }
    return vmbus::PciMessage{message->address, message->data, interrupt.count};
}

void AssignedFunction::delete_interrupt(const vmbus::PciMessage& message) {
    if (message.address >> 32 != 0) return;
    (void)around_.client.unmap_device_interrupt(around_.partition, logical_,
                                                {static_cast<std::uint32_t>(message.address), message.data});
}

}  // namespace models
