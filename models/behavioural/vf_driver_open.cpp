// How a virtual function's driver opens it and closes it: the accesses of Linux' PCI core and of ixgbevf in turn.
#include <algorithm>
#include <bit>
#include <utility>

#include "models/behavioural/vf_driver.h"
#include "pci/capability_registers.h"
#include "pci/config_registers.h"
#include "sriov_nic/adapter.h"
#include "sriov_nic/registers.h"

namespace models {

namespace nic = sriov_nic;
namespace vf_reg = sriov_nic::vf_reg;
using nic::RxRegister;
using nic::TxRegister;

namespace {

constexpr std::uint32_t queue_stride = 0x40;
constexpr unsigned capabilities_pointer = 0x34, first_bar = 0x10, table_bar = 0x1c;
constexpr std::uint32_t headers_and_fcs = 18, vlan_tag = 4;
// Descriptors written back by eight, at least one fetched, 32 of them ahead.
constexpr std::uint32_t transmit_control = nic::txdctl::enable | 8u << 16 | 1u << 8 | 32;
constexpr std::uint32_t split_types = 0x1330;
constexpr std::uint32_t receive_split =
    nic::srrctl::drop_enable | nic::srrctl::advanced_one << 25 | 4u << 8 | VfQueue::receive_buffer_bytes >> 10;
constexpr unsigned most_ring_reads = 10;

std::uint32_t rx_register(std::size_t queue, RxRegister r) {
    return vf_reg::rdbal + queue_stride * static_cast<std::uint32_t>(queue) + static_cast<std::uint32_t>(r);
}
std::uint32_t tx_register(std::size_t queue, TxRegister r) {
    return vf_reg::tdbal + queue_stride * static_cast<std::uint32_t>(queue) + static_cast<std::uint32_t>(r);
}

}  // namespace

// Each access to configuration space says which slot it is for.
void VfDriver::read_config(unsigned offset, std::uint8_t bytes) {
    list_.push_back({window() + vmbus::virtual_pci::window::slot, 4, false, false, 0});
    list_.push_back({window() + vmbus::virtual_pci::window::config + offset, bytes, true, false, 0});
}

void VfDriver::write_config(unsigned offset, std::uint8_t bytes, std::uint32_t value) {
    list_.push_back({window() + vmbus::virtual_pci::window::slot, 4, false, false, 0});
    list_.push_back({window() + vmbus::virtual_pci::window::config + offset, bytes, false, false, value});
}

void VfDriver::function_found(const vmbus::PciIdentity& identity) {
    const std::uint16_t device = config_.kind == nic::VfKind::hyper_v ? nic::hyper_v_device_id : nic::virtual_device_id;
    if (identity.vendor != nic::intel || identity.device != device) return give_up();
    state_.capability = 0;
    state_.tries = 0;
    state_.address = {};
    set_phase(Phase::capability);
    const auto place = [this](unsigned bar, std::uint64_t address) {
        write_config(bar, 4, static_cast<std::uint32_t>(address));
        write_config(bar + 4, 4, static_cast<std::uint32_t>(address >> 32));
    };
    place(first_bar, registers());
    place(table_bar, table());
    write_config(pci::header::command, 2, pci::command::memory_space | pci::command::bus_master);
    read_config(capabilities_pointer, 1);
    go();
}

void VfDriver::accessed(std::span<const std::uint64_t> answers) {
    switch (state_.phase) {
        case Phase::capability:
            return capability_read(answers);
        case Phase::address:
            for (std::size_t n = 0; n < 6; ++n) state_.address.bytes[n] = static_cast<std::uint8_t>(answers[n]);
            return addressed();
        case Phase::mailbox: {
            list_ = mailbox_.next(answers);
            if (!list_.empty()) return go();
            if (mailbox_.failed()) return give_up();
            state_.address = mailbox_.address();
            state_.queues = mailbox_.queues();
            return addressed();
        }
        case Phase::vectors:
            return open_rings();
        case Phase::rings:
            return rings_read(answers);
        case Phase::enabling:
            set_phase(Phase::up);
            for (auto& vector : vectors_) vector->open(registers());
            return user_.ready();
        case Phase::closing: {
            const bool eject = state_.eject;
            close_all();
            set_phase(Phase::closed);
            if (eject) pci_.eject();
            return;
        }
        default:
            return;
    }
}

// First the pointer, then each capability's number and the next one's place.
void VfDriver::capability_read(std::span<const std::uint64_t> answers) {
    const auto answer = static_cast<std::uint32_t>(answers.back());
    if (state_.capability != 0 && (answer & 0xff) == pci::capability_id::msix) {
        if (config_.kind == nic::VfKind::hyper_v) {
            set_phase(Phase::address);
            for (unsigned n = 0; n < 6; ++n) read_config(nic::hyper_v_mac_offset + n, 1);
            return go();
        }
        set_phase(Phase::mailbox);
        list_ = mailbox_.start(registers(), config_.mtu + headers_and_fcs, config_.queues);
        return go();
    }
    const std::uint32_t next = (state_.capability == 0 ? answer : answer >> 8) & 0xfc;
    if (next == 0 || ++state_.tries > 48) return give_up();
    state_.capability = static_cast<std::uint8_t>(next);
    read_config(next, 2);
    go();
}

void VfDriver::addressed() {
    // Of what the physical function gives, a power of two.
    if (config_.kind == nic::VfKind::mailbox) state_.queues = std::bit_floor(state_.queues);
    set_phase(Phase::vectors);
    for (std::size_t n = 0; n <= vectors_.size(); ++n) {
        pci_.create_interrupt(state_.vectors[n].number, static_cast<std::uint16_t>(state_.vectors[n].vp));
    }
}

void VfDriver::interrupt_created(std::uint32_t number, const std::optional<vmbus::PciMessage>& message) {
    if (state_.phase != Phase::vectors) return;
    if (!message) return give_up();
    const auto end = state_.vectors.begin() + static_cast<std::ptrdiff_t>(vectors_.size()) + 1;
    const auto found =
        std::find_if(state_.vectors.begin(), end, [&](const Vector& v) { return !v.made && v.number == number; });
    if (found == end) return;
    found->message = *message;
    found->made = true;
    if (std::all_of(state_.vectors.begin(), end, [](const Vector& v) { return v.made; })) write_table();
}

void VfDriver::write_table() {
    for (std::size_t n = 0; n <= vectors_.size(); ++n) {
        const vmbus::PciMessage& message = state_.vectors[n].message;
        const std::uint64_t entry = table() + n * pci::msix_cap::entry_bytes;
        list_.push_back({entry, 4, false, false, message.address & 0xffff'ffff});
        list_.push_back({entry + 4, 4, false, false, message.address >> 32});
        list_.push_back({entry + 8, 4, false, false, message.data});
        list_.push_back({entry + 12, 4, false, false, 0});
    }
    write_config(state_.capability + pci::msix_cap::control, 2, pci::msix_cap::enable);
    go();
}

void VfDriver::open_rings() {
    for (std::size_t n = 0; n < state_.queues; ++n) {
        if (!queues_[n]->open()) return give_up();
    }
    set_phase(Phase::rings);
    state_.tries = 0;
    for (std::size_t n = 0; n < state_.queues; ++n) {
        const std::uint64_t ring = queues_[n]->transmit_ring();
        write(tx_register(n, TxRegister::txdctl), nic::txdctl::software_flush);
        read(vf_reg::status);
        write(tx_register(n, TxRegister::tdbal), static_cast<std::uint32_t>(ring));
        write(tx_register(n, TxRegister::tdbah), static_cast<std::uint32_t>(ring >> 32));
        write(tx_register(n, TxRegister::tdlen), config_.layout.transmit_descriptors * nic::descriptor_bytes);
        write(tx_register(n, TxRegister::tdwbah), 0);
        write(tx_register(n, TxRegister::tdwbal), 0);
        write(tx_register(n, TxRegister::tdh), 0);
        write(tx_register(n, TxRegister::tdt), 0);
        write(tx_register(n, TxRegister::txdctl), transmit_control);
    }
    write(vf_reg::psrtype, split_types | static_cast<std::uint32_t>(std::countr_zero(state_.queues)) << 29);
    for (std::size_t n = 0; n < state_.queues; ++n) {
        const std::uint64_t ring = queues_[n]->receive_ring();
        write(rx_register(n, RxRegister::rxdctl), 0);
        write(rx_register(n, RxRegister::rdbal), static_cast<std::uint32_t>(ring));
        write(rx_register(n, RxRegister::rdbah), static_cast<std::uint32_t>(ring >> 32));
        write(rx_register(n, RxRegister::rdlen), config_.layout.receive_descriptors * nic::descriptor_bytes);
        write(rx_register(n, RxRegister::rdh), 0);
        write(rx_register(n, RxRegister::rdt), 0);
        write(rx_register(n, RxRegister::srrctl), receive_split);
        const std::uint32_t largest = config_.mtu + headers_and_fcs + vlan_tag;
        write(rx_register(n, RxRegister::rxdctl),
              nic::rxdctl::length_limit_enable | largest | nic::rxdctl::vlan_strip | nic::rxdctl::enable);
    }
    for (std::size_t n = 0; n < state_.queues; ++n) {
        read(tx_register(n, TxRegister::txdctl));
        read(rx_register(n, RxRegister::rxdctl));
    }
    go();
}

// Enabling takes effect a little later, as the device says; then it gets its buffers.
void VfDriver::rings_read(std::span<const std::uint64_t> answers) {
    const auto last = answers.last(2u * state_.queues);
    const bool all_on = std::ranges::all_of(last, [](std::uint64_t v) { return (v & nic::rxdctl::enable) != 0; });
    static_assert(nic::rxdctl::enable == nic::txdctl::enable);
    if (all_on) return enable();
    if (++state_.tries == most_ring_reads) return give_up();
    for (std::size_t n = 0; n < state_.queues; ++n) {
        read(tx_register(n, TxRegister::txdctl));
        read(rx_register(n, RxRegister::rxdctl));
    }
    go();
}

void VfDriver::enable() {
    set_phase(Phase::enabling);
    const unsigned used = std::min<unsigned>(state_.queues, other_vector());
    for (std::size_t n = 0; n < state_.queues; ++n) {
        write(rx_register(n, RxRegister::rdt), config_.layout.receive_descriptors - 1);
    }
    for (std::uint32_t n = 0; n < state_.queues; n += 2) {
        std::uint32_t both = 0;
        for (std::uint32_t q = n; q < std::min<std::uint32_t>(n + 2, state_.queues); ++q) {
            const std::uint32_t vector = nic::ivar::valid | q % used;
            both |= (vector | vector << 8) << 16 * (q & 1);
        }
        write(vf_reg::ivar + 4 * (n >> 1), both);
    }
    write(vf_reg::ivar_misc, nic::ivar::valid | other_vector());
    std::uint32_t mask = 1u << other_vector();
    for (unsigned n = 0; n < used; ++n) {
        write(vf_reg::eitr + 4 * n, vectors_[n]->interval() | nic::eitr::counter_write_disable);
        mask |= 1u << n;
    }
    read(vf_reg::eicr);
    write(vf_reg::eiam, mask);
    write(vf_reg::eiac, mask);
    write(vf_reg::eims, config_.vectors.polling ? 1u << other_vector() : mask);
    go();
}

void VfDriver::close_rings(bool was_up) {
    if (was_up) {
        for (std::size_t n = 0; n < state_.queues; ++n) write(rx_register(n, RxRegister::rxdctl), 0);
        write(vf_reg::eimc, ~std::uint32_t{0});
        for (std::size_t n = 0; n < state_.queues; ++n) {
            write(tx_register(n, TxRegister::txdctl), nic::txdctl::software_flush);
        }
    }
    if (state_.capability != 0) write_config(state_.capability + pci::msix_cap::control, 2, 0);
    write_config(pci::header::command, 2, 0);
    read_config(pci::header::command, 2);
    go();
}

}  // namespace models
