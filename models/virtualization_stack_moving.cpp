// The second half of the stack: partitions that leave for another host, and that come from one.
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "models/legacy/generation1_partition.h"
#include "models/virtualization_stack.h"
#include "sim/check.h"

namespace models {

namespace h = hypervisor;

sim::Processor& VirtualizationStack::Child::worker() {
    return stack_.emulation_processor(built_.id);
}

std::string VirtualizationStack::Child::obstacle() {
    if (!exists_ || state() != GuestState::running) return "its guest has ended";
    if (!behavioural_) return "its guest executes instructions; only guest=vg.Behavioural() can be moved";
    if (config_.generation == 1) return "it is of generation 1, whose devices cannot be moved";
    if (config_.screen) return "it has a screen, which cannot be moved";
    if (devices_.has_storage()) return "it has disks, and the hosts share no storage";
    if (pci_.holds_any()) return "it has a device of the host's; take it away first";
    if (!devices_.balloon_is_empty(config_.memory_bytes)) return "its memory is not what it was given at first";
    if (!behavioural_->connected()) return "its guest has not connected to its bus yet";
    return {};
}

// While the guest runs
// ----------------------------------------------------------------------------------------------------------------

bool VirtualizationStack::Child::track() {
    if (stack_.client_->track_accesses(built_.id, true) != h::HvStatus::success) return false;
    (void)log_.take();
    memory_.note_writes(&log_);
    devices_.bus().memory().note_writes(&log_);
    return true;
}

void VirtualizationStack::Child::end_tracking() {
    memory_.note_writes(nullptr);
    devices_.bus().memory().note_writes(nullptr);
    if (!exists_) return;
    VG_CHECK(stack_.client_->track_accesses(built_.id, false) == h::HvStatus::success);
}

std::vector<std::uint64_t> VirtualizationStack::Child::all_pages() const {
    std::vector<std::uint64_t> pages;
    for (const MemoryRun& run : built_.memory) {
        for (std::uint64_t n = 0; n < run.pages; ++n) pages.push_back(run.gpa / page_bytes + n);
    }
    return pages;
}

std::vector<std::uint64_t> VirtualizationStack::Child::take_dirty() {
    std::set<std::uint64_t> dirty = log_.take();
    for (const MemoryRun& run : built_.memory) {
        std::vector<std::uint8_t> states(run.pages);
        const std::uint64_t first = run.gpa / page_bytes;
        VG_CHECK(stack_.client_->take_access_states(built_.id, first, states) == h::HvStatus::success);
        for (std::uint64_t n = 0; n < run.pages; ++n) {
            if ((states[n] & h::gpa_access_state::dirty) != 0) dirty.insert(first + n);
        }
    }
    return {dirty.begin(), dirty.end()};
}

void VirtualizationStack::Child::read_page(std::uint64_t page, std::span<std::byte> out) {
    VG_CHECK(memory_.read(page * page_bytes, out));
}

// The guest stands
// ----------------------------------------------------------------------------------------------------------------

void VirtualizationStack::Child::hold() {
    for (unsigned vp = 0; vp < config_.vps; ++vp) {
        VG_CHECK(stack_.client_->set_register(built_.id, vp, h::HvRegister::explicit_suspend, {1, 0}) ==
                 h::HvStatus::success);
    }
    devices_.hold();
}

// The hypervisor says so of the processors: there is no state to be had of one that is in the middle of something.
bool VirtualizationStack::Child::at_rest() {
    return devices_.at_rest() && stack_.client_->save_state(built_.id).status == h::HvStatus::success;
}

void VirtualizationStack::Child::go_on() {
    if (!exists_ || state() != GuestState::running) return;
    VG_CHECK(stack_.builder_->start(built_, config_.vps) == h::HvStatus::success);
    devices_.go_on();
}

MovedState VirtualizationStack::Child::everything() {
    MovedState moved;
    auto state = stack_.client_->save_state(built_.id);
    VG_CHECK(state.status == h::HvStatus::success);
    moved.hypervisor = std::move(state.value);
    sim::Writer writer;
    writer(machine_);
    devices_.save_elsewhere(writer);
    moved.devices = writer.take();
    moved.connections = devices_.bus().connections();
    return moved;
}

std::size_t VirtualizationStack::Child::state_bytes() {
    return everything().bytes();
}

MovedState VirtualizationStack::Child::leave() {
    MovedState moved = everything();
    moved.software = std::move(behavioural_);
    return moved;
}

// Arrival
// ----------------------------------------------------------------------------------------------------------------

void VirtualizationStack::Child::write_page(std::uint64_t page, std::span<const std::byte> in) {
    // What is zero is so already, and pages that nobody has touched cost the computer nothing.
    const bool zeros = std::ranges::all_of(in, [](std::byte b) { return b == std::byte{0}; });
    std::vector<std::byte> there(zeros ? in.size() : 0);
    if (zeros) VG_CHECK(memory_.read(page * page_bytes, there));
    if (zeros && std::ranges::equal(there, in)) return;
    VG_CHECK(memory_.write(page * page_bytes, in));
}

void VirtualizationStack::Child::check_networks(MovablePartition& source) {
    for (const auto& nic : static_cast<Child&>(source).devices_.networks()) {
        const std::string& name = nic->network().name();
        if (stack_.networks_.find_switch(name) == nullptr) {
            throw sim::UserError(
                fmt::format("migration of partition {}: the other host has no virtual switch {}", config_.name, name));
        }
    }
}

// At one instant: the source has stood still for long.
void VirtualizationStack::Child::arrive(MovablePartition& source) {
    Child& from = static_cast<Child&>(source);
    MovedState moved = from.leave();
    VG_CHECK(stack_.client_->restore_state(built_.id, moved.hypervisor) == h::HvStatus::success);
    for (const auto& nic : from.devices_.networks()) {
        Network& network = *stack_.networks_.find_switch(nic->network().name());
        devices_.add_network(network, nic->config()).port().take_over(nic->port());
    }
    devices_.hold();
    devices_.bus().open_connections(moved.connections);
    sim::Reader reader{moved.devices};
    reader(machine_);
    devices_.restore_elsewhere(reader);
    VG_CHECK(reader.remaining() == 0);
    behavioural_ = std::move(moved.software);
    behavioural_->move_to(built_.id, *stack_.placement_, memory_);
    behavioural_->set_host_needs(devices_.bus().server().needs());

    from.end_tracking();
    from.left_ = true;
    from.take_down();
    for (const auto& nic : from.devices_.networks()) nic->port().leave();
    go_on();
    for (const auto& nic : devices_.networks()) nic->port().announce();
    stack_.want_attention();
}

void VirtualizationStack::Child::give_up() {
    left_ = true;
    take_down();
    stack_.want_attention();
}

}  // namespace models
