#include "hypervisor/assigned_devices.h"

namespace hypervisor {

namespace {

constexpr std::uint32_t message_base = 0xfee0'0000;
constexpr std::uint32_t remappable = 1u << 4;
constexpr std::uint32_t several = 1u << 3;  // the data holds which of them

constexpr std::uint32_t address_of(std::uint32_t handle, bool with_data) {
    const std::uint32_t low = handle & 0x7fff;
    return message_base | low << 5 | remappable | (with_data ? several : 0) | (handle >> 15 & 1) << 2;
}

// Vectors below 16 are illegal in a local APIC (SDM 10.5.2).
bool valid(const InterruptTarget& target, std::uint32_t count) {
    return target.vector >= 16 && target.vector + count - 1 <= 255 && target.vector <= 255 && target.processors != 0;
}

}  // namespace

HvStatus AssignedDevices::attach(std::uint64_t logical, std::uint64_t physical) {
    if (logical >> device_id::kind_shift != device_id::logical) return HvStatus::invalid_parameter;
    return state_.devices.emplace(logical, physical).second ? HvStatus::success : HvStatus::invalid_device_state;
}

template <class Which>
void AssignedDevices::release_messages(Which which) {
    std::erase_if(state_.messages, [&](const MessageKey& key) {
        if (!which(key)) return false;
        handles_.release(handle_of(key.second));
        return true;
    });
}

HvStatus AssignedDevices::detach(std::uint64_t logical) {
    if (state_.devices.erase(logical) == 0) return HvStatus::invalid_device_id;
    release_messages([logical](const MessageKey& key) { return key.first == logical; });
    return HvStatus::success;
}

void AssignedDevices::clear() {
    release_messages([](const MessageKey&) { return true; });
    state_ = {};
}

std::optional<std::uint64_t> AssignedDevices::physical(std::uint64_t logical) const {
    const auto found = state_.devices.find(logical);
    return found != state_.devices.end() ? std::optional{found->second} : std::nullopt;
}

HvStatus AssignedDevices::map_interrupt(std::uint64_t logical, const InterruptTarget& target, std::uint32_t count,
                                        DeviceMessage& message) {
    if (!attached(logical)) return HvStatus::invalid_device_id;
    if (count == 0 || count > most_at_once || !valid(target, count)) return HvStatus::invalid_parameter;
    if (state_.messages.size() + count > most_messages) return HvStatus::no_resources;
    const auto handle = handles_.find_free(count);
    if (!handle) return HvStatus::no_resources;
    message = {address_of(*handle, count > 1), 0};
    DeviceInterrupt entry{partition_, state_.devices.at(logical), target};
    for (std::uint32_t n = 0; n < count; ++n, ++entry.target.vector) {
        state_.messages.insert({logical, {message.address, n}});
        handles_.set(*handle + n, entry);
    }
    return HvStatus::success;
}

HvStatus AssignedDevices::unmap_interrupt(std::uint64_t logical, const DeviceMessage& message) {
    if (!attached(logical)) return HvStatus::invalid_device_id;
    if (find(logical, message) == nullptr) return HvStatus::not_found;
    release_messages(
        [&](const MessageKey& key) { return key.first == logical && key.second.address == message.address; });
    return HvStatus::success;
}

HvStatus AssignedDevices::retarget(std::uint64_t logical, const DeviceMessage& message, const InterruptTarget& target) {
    if (!attached(logical)) return HvStatus::invalid_device_id;
    if (!state_.messages.contains({logical, message}) || !valid(target, 1)) return HvStatus::invalid_parameter;
    handles_.set(handle_of(message), {partition_, state_.devices.at(logical), target});
    return HvStatus::success;
}

const InterruptTarget* AssignedDevices::find(std::uint64_t logical, const DeviceMessage& message) const {
    return state_.messages.contains({logical, message}) ? &handles_.find(handle_of(message))->target : nullptr;
}

void AssignedDevices::unmap_pages(std::uint64_t gpa_page, std::uint64_t count) {
    const auto first = state_.pages.lower_bound(gpa_page);
    state_.pages.erase(first, state_.pages.lower_bound(gpa_page + count));
}

std::optional<std::uint64_t> AssignedDevices::translate(std::uint64_t gpa) const {
    const auto found = state_.pages.find(gpa >> hv_page_shift);
    if (found == state_.pages.end()) return std::nullopt;
    return found->second << hv_page_shift | (gpa & (hv_page_size - 1));
}

}  // namespace hypervisor
