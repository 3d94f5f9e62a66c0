#include "pci/bridge.h"

#include <utility>

#include "pci/capability_registers.h"
#include "sim/bits.h"
#include "sim/check.h"

namespace pci {

namespace {
enum Window : unsigned { io_window = 16, memory_window = 17, prefetch_window = 18 };
}

Bridge::Bridge(const sim::Scope& scope, Slot slot, std::shared_ptr<const FunctionLayout> layout)
    : upstream_(slot.upstream()),
      layout_(std::move(layout)),
      express_(layout_->config.capability(capability_id::express)),
      function_(scope, std::move(slot), layout_, *this),
      secondary_(*this, Wiring::rotated) {
    VG_CHECK(layout_->bridge);
    ConfigSpace& config = function_.config();
    for (const std::uint16_t bus : {header1::primary_bus, header1::secondary_bus, header1::subordinate_bus}) {
        config.listen(bus, 1, *this);
    }
    for (const std::uint16_t byte : {header1::io_base, header1::io_limit}) config.listen(byte, 1, *this);
    for (const std::uint16_t word :
         {header1::memory_base, header1::memory_limit, header1::prefetch_base, header1::prefetch_limit,
          header1::io_base_upper, header1::io_limit_upper, header1::bridge_control}) {
        config.listen(word, 2, *this);
    }
    for (const std::uint16_t half : {header1::prefetch_base_upper, header1::prefetch_limit_upper}) {
        config.listen(half, 4, *this);
    }
    if (express_ != 0) config.listen(static_cast<std::uint16_t>(express_ + express::device_control2), 2, *this);
    if (layout_->config.capability(capability_id::msi) != 0) msi_.emplace(function_);
    function_.set_route(*this);
    update_secondary();
}

std::uint64_t Bridge::read_bar(unsigned, std::uint64_t, unsigned) {
    return 0;
}

void Bridge::function_reset(ResetKind) {
    secondary_.reset_all(ResetKind::bus);
    update_secondary();
    slot_changed();
}

void Bridge::config_written(std::uint16_t, std::uint32_t, std::uint32_t) {
    update_secondary();
    update_windows();
}

void Bridge::update_secondary() {
    secondary_.set_number(static_cast<std::uint8_t>(get(header1::secondary_bus, 1)));
    secondary_.hold_in_reset((get(header1::bridge_control, 2) & bridge_control::secondary_bus_reset) != 0);
    if (express_ == 0) return;
    const bool ari =
        (get(static_cast<std::uint16_t>(express_ + express::device_control2), 2) & express::ari_forwarding) != 0;
    secondary_.set_only_device0(!ari);
}

Bus* Bridge::bus_towards(std::uint8_t number) {
    const std::uint32_t first = get(header1::secondary_bus, 1);
    const bool ours = first != 0 && number >= first && number <= get(header1::subordinate_bus, 1);
    return ours ? &secondary_ : nullptr;
}

// 3.2.5.6 to 3.2.5.10: a window whose limit is below its base is closed.
void Bridge::update_windows() {
    std::vector<Range> windows;
    closed_ = {};
    const auto open = [&](Space space, unsigned number, std::uint64_t base, std::uint64_t limit) {
        if (!function_.decodes(space) || base > limit) return;
        windows.push_back({space, base, limit, number, this});
        if (space == Space::memory) closed_[number - memory_window] = {base, limit};
    };
    const std::uint64_t io_base = (get(header1::io_base, 1) & 0xf0u) << 8 | get(header1::io_base_upper, 2) << 16;
    const std::uint64_t io_limit = (get(header1::io_limit, 1) & 0xf0u) << 8 | get(header1::io_limit_upper, 2) << 16;
    open(Space::io, io_window, io_base, io_limit | 0xfff);
    const std::uint64_t memory_base = std::uint64_t{get(header1::memory_base, 2) & 0xfff0u} << 16;
    const std::uint64_t memory_limit = std::uint64_t{get(header1::memory_limit, 2) & 0xfff0u} << 16;
    open(Space::memory, memory_window, memory_base, memory_limit | 0xf'ffff);
    const std::uint64_t prefetch_base = std::uint64_t{get(header1::prefetch_base, 2) & 0xfff0u} << 16 |
                                        std::uint64_t{get(header1::prefetch_base_upper, 4)} << 32;
    const std::uint64_t prefetch_limit = std::uint64_t{get(header1::prefetch_limit, 2) & 0xfff0u} << 16 |
                                         std::uint64_t{get(header1::prefetch_limit_upper, 4)} << 32;
    open(Space::memory, prefetch_window, prefetch_base, prefetch_limit | 0xf'ffff);
    function_.set_further_ranges(std::move(windows));
}

std::optional<std::uint64_t> Bridge::read_range(Space space, unsigned, std::uint64_t address, unsigned size) {
    const auto value = secondary_.read(space, address, size);
    if (!value) log_unclaimed(false);
    return value;
}

bool Bridge::write_range(Space space, unsigned, std::uint64_t address, unsigned size, std::uint64_t value) {
    const bool done = secondary_.write(space, address, size, value);
    if (!done) log_unclaimed(true);
    return done;
}

// On a link the device at its end is who cannot use the request, and the port receives its completion; an empty link's
// port answers itself. A conventional bridge ends the cycle with a master abort.
void Bridge::log_unclaimed(bool write) {
    if (express_ == 0 || !write) {
        function_.config().set_bits(header1::secondary_status, 2, status::received_master_abort);
    }
    if (express_ == 0) return;
    Function* device = secondary_.function_at(0);
    (device != nullptr && device->present() ? *device : function_).log_unsupported_request();
}

// A bridge takes upstream what is not for its own windows; what is stays below, and nothing there goes from device to
// device.
bool Bridge::below(std::uint64_t address, std::size_t bytes) const {
    if (bytes == 0) return false;
    for (const Closed& window : closed_) {
        if (address <= window.last && address + (bytes - 1) >= window.first) return true;
    }
    return false;
}

DmaStatus Bridge::dma_read(RequesterId requester, std::uint64_t address, std::span<std::byte> out) {
    if (!function_.master().enabled() || below(address, out.size())) return DmaStatus::unsupported;
    return upstream_.dma_read(requester, address, out);
}

DmaStatus Bridge::dma_write(RequesterId requester, std::uint64_t address, std::span<const std::byte> data) {
    if (!function_.master().enabled() || below(address, data.size())) return DmaStatus::unsupported;
    return upstream_.dma_write(requester, address, data);
}

void Bridge::message(const InterruptMessage& message) {
    if (function_.master().enabled()) upstream_.message(message);
}

void Bridge::line(unsigned, bool) {
    function_.set_forwarded_pins(secondary_.lines());
}

void Bridge::slot_changed() {
    if (express_ == 0 ||
        (get(static_cast<std::uint16_t>(express_ + express::capabilities), 2) & express::slot_implemented) == 0) {
        return;
    }
    ConfigSpace& config = function_.config();
    const Function* device = secondary_.function_at(0);
    const bool there = device != nullptr && device->present();
    const std::uint32_t before = config.get(express_ + express::slot_status, 2);
    const std::uint32_t link = config.get(express_ + express::link_status, 2);
    config.set(express_ + express::link_status, 2,
               there ? link | express::link_active : link & ~std::uint32_t{express::link_active});
    if (((before & express::slot_present) != 0) == there) return;
    std::uint32_t after = before | express::slot_presence_changed | express::slot_link_changed;
    after = there ? after | express::slot_present : after & ~std::uint32_t{express::slot_present};
    config.set(express_ + express::slot_status, 2, after);
    const std::uint32_t control = config.get(express_ + express::slot_control, 2);
    const bool wanted = (control & express::slot_interrupt_enable) != 0 &&
                        (control & (express::slot_presence_enable | express::slot_link_state_enable)) != 0;
    if (wanted && msi_) msi_->raise(0);
}

}  // namespace pci
