// A virtual function's registers (82599 datasheet, 8.3): its share of the physical function's, under offsets of its
// own.
#include "sriov_nic/controller.h"

namespace sriov_nic {

namespace {

using C = Controller;
using R = Row<Controller>;
constexpr Access rw = Access::read_write, ro = Access::read_only, wo = Access::write_only, none = Access::not_modelled;
constexpr std::uint32_t vector_bits = (1u << virtual_vectors) - 1;
constexpr unsigned no_queue = queues;

}  // namespace

std::span<const Row<Controller>> Controller::virtual_rows() {
    using F = FunctionStatistics;
    constexpr unsigned q = 8;
    static const R rows[] = {
        {"VFCTRL", vf_reg::ctrl, 1, 4, wo, 0, 0, nullptr, &C::vf_write_ctrl},
        {"VFSTATUS", vf_reg::status, 1, 4, ro, 0, 0, &C::vf_read_status},
        {"VFLINKS", vf_reg::links, 1, 4, ro, 0, 0, &C::vf_read_links},
        {"VFFRTIMER", vf_reg::frtimer, 1, 4, ro, 0, 0, &C::vf_read_frtimer},
        {"VFRXMEMWRAP", vf_reg::rxmemwrap, 1, 4, none},
        {"VTEICR", vf_reg::eicr, 1, 4, rw, 0, 0, &C::vf_read_eicr, &C::vf_write_eicr},
        {"VTEICS", vf_reg::eics, 1, 4, wo, 0, 0, nullptr, &C::vf_write_eics},
        {"VTEIMS", vf_reg::eims, 1, 4, rw, 0, 0, &C::vf_read_eims, &C::vf_write_eims},
        {"VTEIMC", vf_reg::eimc, 1, 4, wo, 0, 0, nullptr, &C::vf_write_eimc},
        {"VTEIAC", vf_reg::eiac, 1, 4, rw, 0, 0, &C::vf_read_eiac, &C::vf_write_eiac},
        {"VTEIAM", vf_reg::eiam, 1, 4, rw, 0, 0, &C::vf_read_eiam, &C::vf_write_eiam},
        {"VTIVAR", vf_reg::ivar, 4, 4, rw, 0, 0, &C::vf_read_ivar, &C::vf_write_ivar},
        {"VTIVAR_MISC", vf_reg::ivar_misc, 1, 4, rw, 0, 0, &C::vf_read_ivar_misc, &C::vf_write_ivar_misc},
        {"VTRSCINT", vf_reg::rscint, 3, 4, none},
        {"VFMBMEM", vf_reg::mbmem, 16, 4, rw, 0, 0, &C::vf_read_mbmem, &C::vf_write_mbmem},
        {"VFMAILBOX", vf_reg::mailbox, 1, 4, rw, 0, 0, &C::vf_read_mailbox, &C::vf_write_mailbox},
        {"VFPSRTYPE", vf_reg::psrtype, 1, 4, rw, 0, 0, &C::vf_read_psrtype, &C::vf_write_psrtype},
        {"VTEITR", vf_reg::eitr, virtual_vectors, 4, rw, 0, 0, &C::vf_read_eitr, &C::vf_write_eitr},
        {"VFRDBAL", 0x1000, q, 0x40, rw, 0, 0, &C::vf_read_rx<RxRegister::rdbal>, &C::vf_write_rx<RxRegister::rdbal>},
        {"VFRDBAH", 0x1004, q, 0x40, rw, 0, 0, &C::vf_read_rx<RxRegister::rdbah>, &C::vf_write_rx<RxRegister::rdbah>},
        {"VFRDLEN", 0x1008, q, 0x40, rw, 0, 0, &C::vf_read_rx<RxRegister::rdlen>, &C::vf_write_rx<RxRegister::rdlen>},
        {"VFDCA_RXCTRL", 0x100c, q, 0x40, rw, 0, 0, &C::vf_read_rx<RxRegister::dca_rxctrl>,
         &C::vf_write_rx<RxRegister::dca_rxctrl>},
        {"VFRDH", 0x1010, q, 0x40, rw, 0, 0, &C::vf_read_rx<RxRegister::rdh>, &C::vf_write_rx<RxRegister::rdh>},
        {"VFSRRCTL", 0x1014, q, 0x40, rw, 0, 0, &C::vf_read_rx<RxRegister::srrctl>,
         &C::vf_write_rx<RxRegister::srrctl>},
        {"VFRDT", 0x1018, q, 0x40, rw, 0, 0, &C::vf_read_rx<RxRegister::rdt>, &C::vf_write_rx<RxRegister::rdt>},
        {"VFGPRC", vf_reg::gprc, 1, 4, ro, 0, 0, &C::vf_count<&F::received>},
        {"VFGORC_LSB", vf_reg::gorc_low, 1, 4, ro, 0, 0, &C::vf_count<&F::received_octets>},
        {"VFGORC_MSB", vf_reg::gorc_high, 1, 4, ro, 0, 0, &C::vf_count<&F::received_octets, 32, 0xf>},
        {"VFRXDCTL", 0x1028, q, 0x40, rw, 0, 0, &C::vf_read_rx<RxRegister::rxdctl>,
         &C::vf_write_rx<RxRegister::rxdctl>},
        {"VFRSCCTL", 0x102c, q, 0x40, rw, 0, 0, &C::vf_read_rx<RxRegister::rscctl>,
         &C::vf_write_rx<RxRegister::rscctl>},
        {"VFMPRC", vf_reg::mprc, 1, 4, ro, 0, 0, &C::vf_count<&F::received_multicast>},
        {"VFTDBAL", 0x2000, q, 0x40, rw, 0, 0, &C::vf_read_tx<TxRegister::tdbal>, &C::vf_write_tx<TxRegister::tdbal>},
        {"VFTDBAH", 0x2004, q, 0x40, rw, 0, 0, &C::vf_read_tx<TxRegister::tdbah>, &C::vf_write_tx<TxRegister::tdbah>},
        {"VFTDLEN", 0x2008, q, 0x40, rw, 0, 0, &C::vf_read_tx<TxRegister::tdlen>, &C::vf_write_tx<TxRegister::tdlen>},
        {"VFDCA_TXCTRL", 0x200c, q, 0x40, rw, 0, 0, &C::vf_read_tx<TxRegister::dca_txctrl>,
         &C::vf_write_tx<TxRegister::dca_txctrl>},
        {"VFTDH", 0x2010, q, 0x40, rw, 0, 0, &C::vf_read_tx<TxRegister::tdh>, &C::vf_write_tx<TxRegister::tdh>},
        {"VFTDT", 0x2018, q, 0x40, rw, 0, 0, &C::vf_read_tx<TxRegister::tdt>, &C::vf_write_tx<TxRegister::tdt>},
        {"VFGPTC", vf_reg::gptc, 1, 4, ro, 0, 0, &C::vf_count<&F::sent>},
        {"VFGOTC_LSB", vf_reg::gotc_low, 1, 4, ro, 0, 0, &C::vf_count<&F::sent_octets>},
        {"VFGOTC_MSB", vf_reg::gotc_high, 1, 4, ro, 0, 0, &C::vf_count<&F::sent_octets, 32, 0xf>},
        {"VFTXDCTL", 0x2028, q, 0x40, rw, 0, 0, &C::vf_read_tx<TxRegister::txdctl>,
         &C::vf_write_tx<TxRegister::txdctl>},
        {"VFTDWBAL", 0x2038, q, 0x40, rw, 0, 0, &C::vf_read_tx<TxRegister::tdwbal>,
         &C::vf_write_tx<TxRegister::tdwbal>},
        {"VFTDWBAH", 0x203c, q, 0x40, rw, 0, 0, &C::vf_read_tx<TxRegister::tdwbah>,
         &C::vf_write_tx<TxRegister::tdwbah>},
    };
    return rows;
}

// A VF reaches the queues of its own pool alone.
unsigned Controller::vf_queue(unsigned index) const {
    return index < core_.queues_per_pool() ? (acting_ << core_.pool_shift) + index : no_queue;
}

template <RxRegister r>
std::uint32_t Controller::vf_read_rx(unsigned index, std::uint32_t) {
    const unsigned queue = vf_queue(index);
    return queue < queues ? receive_.read(queue, r) : 0;
}

template <RxRegister r>
void Controller::vf_write_rx(unsigned index, std::uint32_t value) {
    if (const unsigned queue = vf_queue(index); queue < queues) receive_.write(queue, r, value);
}

template <TxRegister r>
std::uint32_t Controller::vf_read_tx(unsigned index, std::uint32_t) {
    const unsigned queue = vf_queue(index);
    return queue < queues ? transmit_.read(queue, r) : 0;
}

template <TxRegister r>
void Controller::vf_write_tx(unsigned index, std::uint32_t value) {
    if (const unsigned queue = vf_queue(index); queue < queues) transmit_.write(queue, r, value);
}

// They wrap and are not cleared by reading.
template <std::uint64_t FunctionStatistics::*member, unsigned shift, std::uint32_t mask>
std::uint32_t Controller::vf_count(unsigned, std::uint32_t) {
    return static_cast<std::uint32_t>(core_.statistics.functions[acting_].*member >> shift) & mask;
}

void Controller::vf_write_ctrl(unsigned, std::uint32_t value) {
    if ((value & ctrl::reset) != 0) function_reset(acting_);
}

std::uint32_t Controller::vf_read_status(unsigned, std::uint32_t) {
    return bank_.values()[reg::status];
}

std::uint32_t Controller::vf_read_links(unsigned, std::uint32_t) {
    return read_links(0, 0);
}

// Counts quanta of interrupt moderation.
std::uint32_t Controller::vf_read_frtimer(unsigned, std::uint32_t) {
    return static_cast<std::uint32_t>(core_.scope.now() / core_.profile.moderation_quantum);
}

std::uint32_t Controller::vf_read_eicr(unsigned, std::uint32_t) {
    Interrupts& own = vf_interrupts();
    const auto value = static_cast<std::uint32_t>(own.cause()) & vector_bits;
    own.clear_cause(value, 0);
    return value;
}

void Controller::vf_write_eicr(unsigned, std::uint32_t value) {
    vf_interrupts().clear_cause(value & vector_bits, 0);
}

void Controller::vf_write_eics(unsigned, std::uint32_t value) {
    vf_interrupts().set_causes(value & vector_bits);
}

std::uint32_t Controller::vf_read_eims(unsigned, std::uint32_t) {
    return static_cast<std::uint32_t>(vf_interrupts().mask());
}

void Controller::vf_write_eims(unsigned, std::uint32_t value) {
    vf_interrupts().enable(value & vector_bits, 0);
}

void Controller::vf_write_eimc(unsigned, std::uint32_t value) {
    vf_interrupts().disable(value & vector_bits, 0);
}

std::uint32_t Controller::vf_read_eiac(unsigned, std::uint32_t) {
    return static_cast<std::uint32_t>(vf_interrupts().auto_clear());
}

void Controller::vf_write_eiac(unsigned, std::uint32_t value) {
    vf_interrupts().set_auto_clear(value & vector_bits);
}

std::uint32_t Controller::vf_read_eiam(unsigned, std::uint32_t) {
    return static_cast<std::uint32_t>(vf_interrupts().auto_mask());
}

void Controller::vf_write_eiam(unsigned, std::uint32_t value) {
    vf_interrupts().set_auto_mask(value & vector_bits);
}

std::uint32_t Controller::vf_read_ivar(unsigned index, std::uint32_t) {
    return core_.vf_ivar[acting_][index];
}

void Controller::vf_write_ivar(unsigned index, std::uint32_t value) {
    core_.vf_ivar[acting_][index] = value;
}

std::uint32_t Controller::vf_read_ivar_misc(unsigned, std::uint32_t) {
    return vf_ivar_misc_[acting_];
}

void Controller::vf_write_ivar_misc(unsigned, std::uint32_t value) {
    vf_ivar_misc_[acting_] = value & 0xff;
}

std::uint32_t Controller::vf_read_eitr(unsigned index, std::uint32_t) {
    return vf_interrupts().read_throttle(index);
}

void Controller::vf_write_eitr(unsigned index, std::uint32_t value) {
    vf_interrupts().write_throttle(index, value);
}

void Controller::vf_write_mailbox(unsigned, std::uint32_t value) {
    if (mailboxes_.write_virtual(acting_, value) == Mailboxes::Tell::physical) tell_physical();
}

}  // namespace sriov_nic
