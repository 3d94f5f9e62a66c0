#include "sriov_nic/controller.h"

#include <algorithm>

namespace sriov_nic {

namespace {

const RegisterMap<Controller>& physical_map() {
    static const RegisterMap<Controller> map{Controller::physical_rows(), physical_bar_bytes};
    return map;
}
const RegisterMap<Controller>& virtual_map() {
    static const RegisterMap<Controller> map{Controller::virtual_rows(), virtual_bar_bytes};
    return map;
}

}  // namespace

Controller::Controller(const sim::Scope& scope, const Profile& profile, BusPort& bus, Wire& wire)
    : bank_(physical_map()),
      virtual_map_(virtual_map()),
      core_(scope, profile, bus, wire, bank_.values()),
      mac_(core_),
      receive_(core_, mac_),
      transmit_(core_, receive_) {
    mac_.connect(transmit_, receive_);
}

void Controller::add_needs(unsigned vf, sim::WorkingSet& set) const {
    const unsigned queue = vf * core_.queues_per_pool();
    transmit_.add_needs(queue, set);
    receive_.add_needs(queue, set);
    core_.interrupts[vf]->add_needs(set);
    set.add(core_.interrupts[vf]);
    set.add(core_.vf_ivar[vf]);
    set.add(core_.statistics.functions[vf]);
    set.add(core_.statistics.queue_received[queue]);
    set.add(core_.statistics.queue_received_octets[queue]);
    set.add(core_.statistics.queue_sent[queue]);
}

// What a VF's table does not know reads 0; so does everything of a VF that is not enabled.
std::uint32_t Controller::read_virtual(unsigned vf, std::uint32_t offset) {
    const Row<Controller>* row = vf < core_.vfs ? virtual_map_.at(offset) : nullptr;
    if (row == nullptr || row->read == nullptr) {
        if (row == nullptr) ++touches_unknown_;
        return 0;
    }
    acting_ = vf;
    return (this->*row->read)((offset - row->offset) / row->stride, 0);
}

void Controller::write_virtual(unsigned vf, std::uint32_t offset, std::uint32_t value) {
    const Row<Controller>* row = vf < core_.vfs ? virtual_map_.at(offset) : nullptr;
    if (row == nullptr || row->write == nullptr) {
        if (row == nullptr) ++touches_unknown_;
        return;
    }
    acting_ = vf;
    (this->*row->write)((offset - row->offset) / row->stride, value);
}

void Controller::read_done(std::uint32_t cookie, bool ok, std::span<const std::byte> data) {
    switch (fetch_of(cookie)) {
        case Fetch::transmit_descriptors:
            return transmit_.descriptors_read(index_of(cookie) % queues, epoch_of(cookie), ok, data);
        case Fetch::transmit_data:
            return transmit_.data_read(index_of(cookie), ok, data);
        case Fetch::receive_descriptors:
            return receive_.descriptors_read(index_of(cookie) % queues, epoch_of(cookie), ok, data);
    }
}

void Controller::bus_ready() {
    if (!core_.bus_full) return;
    core_.bus_full = false;
    receive_.pump();
    transmit_.pump();
}

void Controller::set_link(bool up) {
    if (core_.link_up == up) return;
    core_.link_up = up;
    core_.scope.trace("link", up ? 1 : 0);
    core_.interrupts[physical_function]->set_other(1u << cause::link);
    transmit_.pump();
}

void Controller::set_virtual_functions(unsigned count) {
    count = std::min(count, max_pools);
    // A pool changes hands: nothing of its last owner's may act for the next.
    const auto [low, high] = std::minmax(count, core_.vfs);
    for (unsigned vf = low; vf < high; ++vf) {
        stop(vf);
        reset_virtual(vf);
    }
    core_.vfs = count;
    for (unsigned vf = 0; vf < count; ++vf) vflre_ &= ~(std::uint64_t{1} << vf);
}

void Controller::function_reset(unsigned function) {
    core_.scope.trace("function_reset", function);
    if (function == physical_function) return reset_everything();
    if (function >= core_.vfs) return;
    reset_virtual(function);
    vflre_ |= std::uint64_t{1} << function;
    tell_physical();
}

// What a VF's reset reaches: interrupts, mailbox, its enables; of its queues what is on chip, bases and lengths. Their
// other registers stay as they are (specification update, software clarification 5).
void Controller::reset_virtual(unsigned vf) {
    bank_.values()[reg::vfre + 4 * (vf >> 5)] &= ~(1u << (vf & 31));
    bank_.values()[reg::vfte + 4 * (vf >> 5)] &= ~(1u << (vf & 31));
    core_.interrupts[vf]->reset();
    core_.vf_ivar[vf] = {};
    vf_ivar_misc_[vf] = 0;
    mailboxes_.virtual_reset(vf);
    core_.bus.forget(vf);
    transmit_.forget(vf);
    receive_.forget(vf);
    transmit_.enables_changed();
    receive_.pump();
}

void Controller::quiesce(unsigned vf) {
    if (vf < core_.vfs) stop(vf);
}

void Controller::stop(unsigned vf) {
    for (unsigned i = 0; i < core_.queues_per_pool(); ++i) {
        const unsigned queue = (vf << core_.pool_shift) + i;
        if (queue >= queues) break;  // more functions than pools of four
        transmit_.write(queue, TxRegister::txdctl, 0);
        receive_.write(queue, RxRegister::rxdctl, 0);
    }
    core_.interrupts[vf]->reset();
    core_.vf_ivar[vf] = {};
    vf_ivar_misc_[vf] = 0;
}

void Controller::reset_everything() {
    for (unsigned f = 0; f < functions; ++f) {
        core_.bus.forget(f);
        core_.interrupts[f]->reset();
    }
    bank_.reset();
    transmit_.reset();
    receive_.reset();
    mac_.reset();
    mailboxes_.physical_reset();
    core_.vf_ivar = {};
    vf_ivar_misc_ = {};
    core_.statistics = {};
    core_.pool_shift = 1;
    core_.bus_full = false;
    core_.bridge.invalidate();
    vflre_ = 0;
    selected_queue_ = 0;
    // VFs hear of it, those that listen.
    for (unsigned vf = 0; vf < core_.vfs; ++vf) tell_virtual(vf);
}

void Controller::tell_physical() {
    std::uint32_t told = vflre_ != 0 ? 1 : 0;
    for (unsigned i = 0; i < 4; ++i) told |= mailboxes_.told(i) & bank_.values()[reg::mbvfimr + 4 * i];
    if (told != 0) core_.interrupts[physical_function]->set_other(1u << cause::mailbox);
}

// The mailbox's vector is the one of VTIVAR_MISC.
void Controller::tell_virtual(unsigned vf) {
    const std::uint32_t entry = vf_ivar_misc_[vf];
    if ((entry & ivar::valid) != 0 && (entry & ivar::vector) < virtual_vectors) {
        core_.interrupts[vf]->set_cause(entry & ivar::vector);
    }
}

}  // namespace sriov_nic
