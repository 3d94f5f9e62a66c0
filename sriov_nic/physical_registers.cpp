// The physical function's registers (82599 datasheet, 8.2): the table, and what those do that do something.
#include "sriov_nic/controller.h"

namespace sriov_nic {

namespace {

using C = Controller;
using R = Row<Controller>;
constexpr Access rw = Access::read_write, ro = Access::read_only, wo = Access::write_only, none = Access::not_modelled;
constexpr std::uint32_t all = ~0u;

// Vectors that have a bit in EICR itself.
constexpr std::uint64_t low_vectors = 0xffff;
constexpr std::uint32_t other_causes = 0x7fff'0000;

}  // namespace

std::span<const Row<Controller>> Controller::physical_rows() {
    using S = Statistics;
    using D = DirectionStatistics;
    static const R rows[] = {
        // 8.2.3.1 and 8.2.3.2: general and non-volatile memory
        {"CTRL", reg::ctrl, 1, 4, rw, 0, all, nullptr, &C::write_ctrl},
        {"STATUS", reg::status, 1, 4, ro, 0x0008'0000},
        {"CTRL_EXT", reg::ctrl_ext, 1, 4, rw, 0, all, nullptr, &C::write_ctrl_ext},
        {"ESDP", 0x0020, 1, 4, none},
        {"I2CCTL", 0x0028, 1, 4, none},
        {"LEDCTL", 0x0200, 1, 4, none},
        {"EEC", reg::eec, 1, 4, none, 0x0000'0300},  // EEPROM present, automatic read done
        {"EERD", 0x10014, 1, 4, none, 0x2},          // always done
        {"SWSM", 0x10140, 1, 4, none},
        {"FWSM", 0x10148, 1, 4, none},
        {"GSSR", 0x10160, 1, 4, none},
        {"FACTPS", 0x10150, 1, 4, none},
        {"GCR", 0x11000, 1, 4, none},
        {"GCR_EXT", reg::gcr_ext, 1, 4, rw},
        // 8.2.3.5: interrupts
        {"EICR", reg::eicr, 1, 4, rw, 0, 0, &C::read_eicr, &C::write_eicr},
        {"EICS", reg::eics, 1, 4, wo, 0, 0, nullptr, &C::write_eics},
        {"EIAC", reg::eiac, 1, 4, rw, 0, 0xffff, nullptr, &C::write_eiac},
        {"EITR", reg::eitr, 24, 4, rw, 0, 0, &C::read_eitr, &C::write_eitr},
        {"EIMS", reg::eims, 1, 4, rw, 0, 0, &C::read_eims, &C::write_eims},
        {"EIMC", reg::eimc, 1, 4, wo, 0, 0, nullptr, &C::write_eimc},
        {"EIAM", reg::eiam, 1, 4, rw, 0, all, nullptr, &C::write_eiam},
        {"GPIE", reg::gpie, 1, 4, rw},
        {"IVAR", reg::ivar, 64, 4, rw},
        {"IVAR_MISC", reg::ivar_misc, 1, 4, rw, 0, all, nullptr, &C::write_ivar_misc},
        {"EICS_EX", reg::eics_ex, 2, 4, wo, 0, 0, nullptr, &C::write_eics_ex},
        {"EIMS_EX", reg::eims_ex, 2, 4, rw, 0, 0, &C::read_eims_ex, &C::write_eims_ex},
        {"EIMC_EX", reg::eimc_ex, 2, 4, wo, 0, 0, nullptr, &C::write_eimc_ex},
        {"EIAM_EX", reg::eiam_ex, 2, 4, rw, 0, all, nullptr, &C::write_eiam_ex},
        {"EITR", reg::eitr_high, 40, 4, rw, 0, 0, &C::read_eitr_high, &C::write_eitr_high},
        // 8.2.3.6: flow control
        {"PFCTOP", 0x3008, 1, 4, none},
        {"FCTTV", reg::fcttv, 4, 4, rw},
        {"FCRTL", reg::fcrtl, 8, 4, rw},
        {"FCRTH", reg::fcrth, 8, 4, rw},
        {"FCRTV", reg::fcrtv, 1, 4, rw},
        {"FCCFG", reg::fccfg, 1, 4, rw},
        {"MFLCN", reg::mflcn, 1, 4, rw},
        // 8.2.3.7: receive
        {"FCTRL", reg::fctrl, 1, 4, rw, 0, all, nullptr, &C::write_filter},
        {"VLNCTRL", reg::vlnctrl, 1, 4, rw, 0x8100, all, nullptr, &C::write_filter},
        {"MCSTCTRL", reg::mcstctrl, 1, 4, rw, 0, all, nullptr, &C::write_filter},
        {"PSRTYPE", reg::psrtype, 16, 4, rw, 0, 0, &C::read_psrtype, &C::write_psrtype},
        {"PSRTYPE", reg::psrtype_table, 64, 4, rw},
        {"RXCSUM", reg::rxcsum, 1, 4, rw},
        {"RFCTL", reg::rfctl, 1, 4, rw},
        {"MTA", reg::mta, 128, 4, rw, 0, all, nullptr, &C::write_filter},
        {"RAL/RAH", reg::ral, 32, 4, rw, 0, all, nullptr, &C::write_filter},
        {"RAL/RAH", reg::rar_table + 16 * 8, 224, 4, rw, 0, all, nullptr, &C::write_filter},
        {"MPSAR", reg::mpsar, 256, 4, rw, 0, all, nullptr, &C::write_filter},
        {"VFTA", reg::vfta, 128, 4, rw, 0, all, nullptr, &C::write_filter},
        {"MRQC", reg::mrqc, 1, 4, rw},
        {"RQTC", 0xec70, 1, 4, none},
        {"RSSRK", reg::rssrk, 10, 4, rw, 0, all, nullptr, &C::write_rssrk},
        {"RETA", reg::reta, 32, 4, rw},
        {"RXCTRL", reg::rxctrl, 1, 4, rw, 0, all, nullptr, &C::write_receive_enables},
        {"RDRXCTL", reg::rdrxctl, 1, 4, rw, 0x0000'8008},  // DMA initialization is done
        {"RSCDBU", 0x3028, 1, 4, rw},
        {"RXPBSIZE", reg::rxpbsize, 8, 4, rw, 0x8'0000, 0xffc00, nullptr, &C::write_rxpbsize},
        {"RDBAL", 0x1000, 64, 0x40, rw, 0, 0, &C::read_rx<RxRegister::rdbal>, &C::write_rx<RxRegister::rdbal>},
        {"RDBAH", 0x1004, 64, 0x40, rw, 0, 0, &C::read_rx<RxRegister::rdbah>, &C::write_rx<RxRegister::rdbah>},
        {"RDLEN", 0x1008, 64, 0x40, rw, 0, 0, &C::read_rx<RxRegister::rdlen>, &C::write_rx<RxRegister::rdlen>},
        {"DCA_RXCTRL", 0x100c, 64, 0x40, rw, 0, 0, &C::read_rx<RxRegister::dca_rxctrl>,
         &C::write_rx<RxRegister::dca_rxctrl>},
        {"RDH", 0x1010, 64, 0x40, rw, 0, 0, &C::read_rx<RxRegister::rdh>, &C::write_rx<RxRegister::rdh>},
        {"SRRCTL", 0x1014, 64, 0x40, rw, 0, 0, &C::read_rx<RxRegister::srrctl>, &C::write_rx<RxRegister::srrctl>},
        {"RDT", 0x1018, 64, 0x40, rw, 0, 0, &C::read_rx<RxRegister::rdt>, &C::write_rx<RxRegister::rdt>},
        {"RXDCTL", 0x1028, 64, 0x40, rw, 0, 0, &C::read_rx<RxRegister::rxdctl>, &C::write_rx<RxRegister::rxdctl>},
        {"RSCCTL", 0x102c, 64, 0x40, rw, 0, 0, &C::read_rx<RxRegister::rscctl>, &C::write_rx<RxRegister::rscctl>},
        {"SRRCTL", 0x2100, 16, 4, rw, 0, 0, &C::read_rx<RxRegister::srrctl>, &C::write_rx<RxRegister::srrctl>},
        {"DCA_RXCTRL", 0x2200, 16, 4, rw, 0, 0, &C::read_rx<RxRegister::dca_rxctrl>,
         &C::write_rx<RxRegister::dca_rxctrl>},
        {"RDBAL", 0xd000, 64, 0x40, rw, 0, 0, &C::read_rx<RxRegister::rdbal, 64>, &C::write_rx<RxRegister::rdbal, 64>},
        {"RDBAH", 0xd004, 64, 0x40, rw, 0, 0, &C::read_rx<RxRegister::rdbah, 64>, &C::write_rx<RxRegister::rdbah, 64>},
        {"RDLEN", 0xd008, 64, 0x40, rw, 0, 0, &C::read_rx<RxRegister::rdlen, 64>, &C::write_rx<RxRegister::rdlen, 64>},
        {"DCA_RXCTRL", 0xd00c, 64, 0x40, rw, 0, 0, &C::read_rx<RxRegister::dca_rxctrl, 64>,
         &C::write_rx<RxRegister::dca_rxctrl, 64>},
        {"RDH", 0xd010, 64, 0x40, rw, 0, 0, &C::read_rx<RxRegister::rdh, 64>, &C::write_rx<RxRegister::rdh, 64>},
        {"SRRCTL", 0xd014, 64, 0x40, rw, 0, 0, &C::read_rx<RxRegister::srrctl, 64>,
         &C::write_rx<RxRegister::srrctl, 64>},
        {"RDT", 0xd018, 64, 0x40, rw, 0, 0, &C::read_rx<RxRegister::rdt, 64>, &C::write_rx<RxRegister::rdt, 64>},
        {"RXDCTL", 0xd028, 64, 0x40, rw, 0, 0, &C::read_rx<RxRegister::rxdctl, 64>,
         &C::write_rx<RxRegister::rxdctl, 64>},
        {"RSCCTL", 0xd02c, 64, 0x40, rw, 0, 0, &C::read_rx<RxRegister::rscctl, 64>,
         &C::write_rx<RxRegister::rscctl, 64>},
        // 8.2.3.8 and 8.2.3.9: transmit
        {"DMATXCTL", reg::dmatxctl, 1, 4, rw, 0x8100'0000, all, nullptr, &C::write_enables},
        {"DTXTCPFLGL", reg::dtxtcpflgl, 1, 4, rw, 0x0f76'0ff6},
        {"DTXTCPFLGH", reg::dtxtcpflgh, 1, 4, rw, 0x0000'0f7f},
        {"DTXMXSZRQ", 0x8100, 1, 4, none, 0x10},
        {"MTQC", reg::mtqc, 1, 4, rw, 0, all, nullptr, &C::write_mtqc},
        {"TXPBSIZE", 0xcc00, 8, 4, none, 0x2'8000},
        {"TXPBTHRESH", 0x4950, 8, 4, none, 0x96},
        {"TDBAL", 0x6000, 128, 0x40, rw, 0, 0, &C::read_tx<TxRegister::tdbal>, &C::write_tx<TxRegister::tdbal>},
        {"TDBAH", 0x6004, 128, 0x40, rw, 0, 0, &C::read_tx<TxRegister::tdbah>, &C::write_tx<TxRegister::tdbah>},
        {"TDLEN", 0x6008, 128, 0x40, rw, 0, 0, &C::read_tx<TxRegister::tdlen>, &C::write_tx<TxRegister::tdlen>},
        {"DCA_TXCTRL", 0x600c, 128, 0x40, rw, 0, 0, &C::read_tx<TxRegister::dca_txctrl>,
         &C::write_tx<TxRegister::dca_txctrl>},
        {"TDH", 0x6010, 128, 0x40, rw, 0, 0, &C::read_tx<TxRegister::tdh>, &C::write_tx<TxRegister::tdh>},
        {"TDT", 0x6018, 128, 0x40, rw, 0, 0, &C::read_tx<TxRegister::tdt>, &C::write_tx<TxRegister::tdt>},
        {"TXDCTL", 0x6028, 128, 0x40, rw, 0, 0, &C::read_tx<TxRegister::txdctl>, &C::write_tx<TxRegister::txdctl>},
        {"TDWBAL", 0x6038, 128, 0x40, rw, 0, 0, &C::read_tx<TxRegister::tdwbal>, &C::write_tx<TxRegister::tdwbal>},
        {"TDWBAH", 0x603c, 128, 0x40, rw, 0, 0, &C::read_tx<TxRegister::tdwbah>, &C::write_tx<TxRegister::tdwbah>},
        // 8.2.3.10: arbitration and rates
        {"RTTDCS", reg::rttdcs, 1, 4, rw},
        {"RTTDQSEL", reg::rttdqsel, 1, 4, rw, 0, all, nullptr, &C::write_rttdqsel},
        {"RTTDT1C", reg::rttdt1c, 1, 4, rw, 0, all, nullptr, &C::write_rttdt1c},
        {"RTTBCNRM", reg::rttbcnrm, 1, 4, rw},
        {"RTTBCNRC", reg::rttbcnrc, 1, 4, rw, 0, 0, &C::read_rttbcnrc, &C::write_rttbcnrc},
        {"RTTPCS", 0xcd00, 1, 4, none},
        // 8.2.3.22: MAC
        {"HLREG0", reg::hlreg0, 1, 4, rw, 0x0000'0c02},
        {"MAXFRS", reg::maxfrs, 1, 4, rw, 0x05ee'0000},
        {"AUTOC", 0x42a0, 1, 4, none, 0xc09c'6004},
        {"LINKS", reg::links, 1, 4, ro, 0, 0, &C::read_links},
        // 8.2.3.27: virtualization
        {"VT_CTL", reg::vt_ctl, 1, 4, rw, 0, all, nullptr, &C::write_enables},
        {"PFMAILBOX", reg::pfmailbox, 64, 4, rw, 0, 0, &C::read_pfmailbox, &C::write_pfmailbox},
        {"PFMBMEM", reg::pfmbmem, 1024, 4, rw, 0, 0, &C::read_pfmbmem, &C::write_pfmbmem},
        {"MBVFICR", reg::mbvficr, 4, 4, rw, 0, 0, &C::read_mbvficr, &C::write_mbvficr},
        {"MBVFIMR", reg::mbvfimr, 4, 4, rw},
        {"VFLRE", reg::vflre, 1, 4, ro, 0, 0, &C::read_vflre},
        {"VFLRE", 0x01c0, 1, 4, ro, 0, 0, &C::read_vflre_high},
        {"VFLREC", reg::vflrec, 2, 4, wo, 0, 0, nullptr, &C::write_vflrec},
        {"VFRE", reg::vfre, 2, 4, rw, 0, all, nullptr, &C::write_receive_enables},
        {"VFTE", reg::vfte, 2, 4, rw, 0, all, nullptr, &C::write_enables},
        {"QDE", reg::qde, 1, 4, rw, 0, all, nullptr, &C::write_qde},
        {"VMECM", reg::vmecm, 2, 4, rw},
        {"PFVFSPOOF", reg::pfvfspoof, 8, 4, rw},
        {"PFDTXGSWC", reg::pfdtxgswc, 1, 4, rw},
        {"VMTXSW", reg::vmtxsw, 2, 4, rw},
        {"VMVIR", reg::vmvir, 64, 4, rw},
        {"VMOLR", reg::vmolr, 64, 4, rw, 0, all, nullptr, &C::write_filter},
        {"VLVF", reg::vlvf, 64, 4, rw, 0, all, nullptr, &C::write_filter},
        {"VLVFB", reg::vlvfb, 128, 4, rw, 0, all, nullptr, &C::write_filter},
        {"UTA", reg::uta, 128, 4, rw, 0, all, nullptr, &C::write_filter},
        {"MRCTL", reg::mrctl, 4, 4, rw, 0, all, nullptr, &C::write_filter},
        {"VMRVLAN", reg::vmrvlan, 8, 4, rw},
        {"VMRVM", reg::vmrvm, 8, 4, rw},
        {"LBDRPEN", reg::lbdrpen, 1, 4, rw},
        // 8.2.3.23: statistics, cleared by reading
        {"CRCERRS", 0x4000, 1, 4, ro, 0, 0, &C::take<&S::crc_errors>},
        {"RLEC", 0x4040, 1, 4, ro, 0, 0, &C::take<&S::length_errors>},
        {"RUC", 0x40a4, 1, 4, ro, 0, 0, &C::take<&S::undersize>},
        {"ROC", 0x40ac, 1, 4, ro, 0, 0, &C::take<&S::oversize>},
        {"RJC", 0x40b0, 1, 4, ro, 0, 0, &C::take<&S::jabber>},
        {"MPC", 0x3fa0, 1, 4, ro, 0, 0, &C::take<&S::missed>},
        {"RNBC", 0x3fc0, 1, 4, ro, 0, 0, &C::take<&S::no_buffer>},
        {"LXONTXC", 0x3f60, 1, 4, ro, 0, 0, &C::take<&S::xon_sent>},
        {"LXOFFTXC", 0x3f68, 1, 4, ro, 0, 0, &C::take<&S::xoff_sent>},
        {"LXONRXCNT", 0x41a4, 1, 4, ro, 0, 0, &C::take<&S::xon_received>},
        {"LXOFFRXCNT", 0x41a8, 1, 4, ro, 0, 0, &C::take<&S::xoff_received>},
        {"PRC", 0x405c, 6, 4, ro, 0, 0, &C::take_size<&S::good_received>},
        {"GPRC", 0x4074, 1, 4, ro, 0, 0, &C::take_of<&S::good_received, &D::packets>},
        {"BPRC", 0x4078, 1, 4, ro, 0, 0, &C::take_of<&S::good_received, &D::broadcast>},
        {"MPRC", 0x407c, 1, 4, ro, 0, 0, &C::take_of<&S::good_received, &D::multicast>},
        {"GPTC", 0x4080, 1, 4, ro, 0, 0, &C::take_of<&S::sent, &D::packets>},
        {"GORCL", 0x4088, 1, 4, ro, 0, 0, &C::octets_low<&S::good_received>},
        {"GORCH", 0x408c, 1, 4, ro, 0, 0, &C::octets_high<&S::good_received>},
        {"GOTCL", 0x4090, 1, 4, ro, 0, 0, &C::octets_low<&S::sent>},
        {"GOTCH", 0x4094, 1, 4, ro, 0, 0, &C::octets_high<&S::sent>},
        {"TPR", 0x40d0, 1, 4, ro, 0, 0, &C::take<&S::total_received>},
        {"TORL", 0x40c0, 1, 4, ro, 0, 0, &C::count_low<&S::total_received_octets>},
        {"TORH", 0x40c4, 1, 4, ro, 0, 0, &C::take_high<&S::total_received_octets>},
        {"PTC", 0x40d8, 6, 4, ro, 0, 0, &C::take_size<&S::sent>},
        {"MPTC", 0x40f0, 1, 4, ro, 0, 0, &C::take_of<&S::sent, &D::multicast>},
        {"BPTC", 0x40f4, 1, 4, ro, 0, 0, &C::take_of<&S::sent, &D::broadcast>},
        {"SSVPC", reg::ssvpc, 1, 4, ro, 0, 0, &C::take<&S::spoofed>},
        {"QPRC", 0x1030, 16, 0x40, ro, 0, 0, &C::take_queue<&S::queue_received>},
        {"QBRC_L", 0x1034, 16, 0x40, ro, 0, 0, &C::queue_low<&S::queue_received_octets>},
        {"QBRC_H", 0x1038, 16, 0x40, ro, 0, 0, &C::take_queue_high<&S::queue_received_octets>},
        {"QPRDC", 0x1430, 16, 0x40, ro, 0, 0, &C::take_queue<&S::queue_dropped>},
        {"QPTC", 0x8680, 16, 4, ro, 0, 0, &C::take_queue<&S::queue_sent>},
        {"QBTC_L", 0x8700, 16, 8, ro, 0, 0, &C::queue_low<&S::queue_sent_octets>},
        {"QBTC_H", 0x8704, 16, 8, ro, 0, 0, &C::take_queue_high<&S::queue_sent_octets>},
    };
    return rows;
}

void Controller::write_ctrl(unsigned, std::uint32_t value) {
    if ((value & (ctrl::reset | ctrl::link_reset)) != 0) reset_everything();
}

void Controller::write_ctrl_ext(unsigned, std::uint32_t value) {
    if ((value & ctrl_ext::pf_reset_done) == 0) return;
    mailboxes_.physical_reset_done();
    for (unsigned vf = 0; vf < core_.vfs; ++vf) tell_virtual(vf);
}

std::uint32_t Controller::read_links(unsigned, std::uint32_t) {
    return core_.link_up ? links::up | links::speed_10g : 0;
}

std::uint32_t Controller::read_eicr(unsigned, std::uint32_t) {
    Interrupts& own = *core_.interrupts[physical_function];
    const std::uint32_t value = static_cast<std::uint32_t>(own.cause() & low_vectors) | own.other_cause();
    own.clear_cause(low_vectors & ~own.auto_clear(), other_causes);
    return value;
}

void Controller::write_eicr(unsigned, std::uint32_t value) {
    core_.interrupts[physical_function]->clear_cause(value & low_vectors, value & other_causes);
}

void Controller::write_eics(unsigned, std::uint32_t value) {
    Interrupts& own = *core_.interrupts[physical_function];
    own.set_causes(value & low_vectors);
    if ((value & other_causes) != 0) own.set_other(value & other_causes);
}

std::uint32_t Controller::read_eims(unsigned, std::uint32_t) {
    const Interrupts& own = *core_.interrupts[physical_function];
    return static_cast<std::uint32_t>(own.mask() & low_vectors) | own.other_mask();
}

void Controller::write_eims(unsigned, std::uint32_t value) {
    core_.interrupts[physical_function]->enable(value & low_vectors, value & other_causes);
}

void Controller::write_eimc(unsigned, std::uint32_t value) {
    core_.interrupts[physical_function]->disable(value & low_vectors, value & other_causes);
}

void Controller::write_eiac(unsigned, std::uint32_t value) {
    Interrupts& own = *core_.interrupts[physical_function];
    own.set_auto_clear((own.auto_clear() & ~low_vectors) | (value & low_vectors));
}

void Controller::write_eiam(unsigned, std::uint32_t value) {
    Interrupts& own = *core_.interrupts[physical_function];
    own.set_auto_mask((own.auto_mask() & ~low_vectors) | (value & low_vectors));
}

void Controller::write_eics_ex(unsigned index, std::uint32_t value) {
    core_.interrupts[physical_function]->set_causes(std::uint64_t{value} << 32 * index);
}

std::uint32_t Controller::read_eims_ex(unsigned index, std::uint32_t) {
    return static_cast<std::uint32_t>(core_.interrupts[physical_function]->mask() >> 32 * index);
}

void Controller::write_eims_ex(unsigned index, std::uint32_t value) {
    core_.interrupts[physical_function]->enable(std::uint64_t{value} << 32 * index, 0);
}

void Controller::write_eimc_ex(unsigned index, std::uint32_t value) {
    core_.interrupts[physical_function]->disable(std::uint64_t{value} << 32 * index, 0);
}

void Controller::write_eiam_ex(unsigned index, std::uint32_t value) {
    Interrupts& own = *core_.interrupts[physical_function];
    const std::uint64_t half = std::uint64_t{all} << 32 * index;
    own.set_auto_mask((own.auto_mask() & ~half) | std::uint64_t{value} << 32 * index);
}

std::uint32_t Controller::read_eitr(unsigned index, std::uint32_t) {
    return core_.interrupts[physical_function]->read_throttle(index);
}

void Controller::write_eitr(unsigned index, std::uint32_t value) {
    core_.interrupts[physical_function]->write_throttle(index, value);
}

// The upper byte is the vector of mailbox, link and their like (8.2.3.5.17).
void Controller::write_ivar_misc(unsigned, std::uint32_t value) {
    core_.interrupts[physical_function]->set_other_vector(value >> 8 & ivar::vector);
}

void Controller::write_enables(unsigned, std::uint32_t) {
    core_.bridge.invalidate();
    transmit_.enables_changed();
}

void Controller::write_mtqc(unsigned, std::uint32_t value) {
    const bool pools_of_four = (value & mtqc::virtualization) != 0 && mtqc::tc_or_queues(value) == 2;
    core_.pool_shift = pools_of_four ? 2 : 1;
}

std::uint32_t Controller::read_psrtype(unsigned index, std::uint32_t) {
    return bank_.values()[reg::psrtype_table + 4 * index];
}

void Controller::write_psrtype(unsigned index, std::uint32_t value) {
    bank_.values()[reg::psrtype_table + 4 * index] = value;
}

void Controller::write_rxpbsize(unsigned index, std::uint32_t) {
    if (index == 0) receive_.buffer_size_changed();
}

void Controller::write_qde(unsigned, std::uint32_t value) {
    const unsigned queue = qde::index(value);
    if ((value & qde::write) != 0) {
        receive_.set_drop_enable(queue, (value & qde::enable) != 0);
    } else if ((value & qde::read) != 0) {
        bank_.values()[reg::qde] = (value & ~qde::enable) | (receive_.drop_enable(queue) ? qde::enable : 0);
    }
}

std::uint32_t Controller::read_rttbcnrc(unsigned, std::uint32_t) {
    return transmit_.rate_factor(selected_queue_);
}

void Controller::write_rttbcnrc(unsigned, std::uint32_t value) {
    transmit_.set_rate_factor(selected_queue_, value);
}

void Controller::write_rttdt1c(unsigned, std::uint32_t value) {
    transmit_.set_share(selected_queue_, value);
}

std::uint32_t Controller::read_pfmailbox(unsigned vf, std::uint32_t) {
    return mailboxes_.read_physical(vf);
}

void Controller::write_pfmailbox(unsigned vf, std::uint32_t value) {
    if (mailboxes_.write_physical(vf, value) == Mailboxes::Tell::virtual_function) tell_virtual(vf);
}

void Controller::write_vflrec(unsigned index, std::uint32_t value) {
    vflre_ &= ~(std::uint64_t{value} << 32 * index);
}

}  // namespace sriov_nic
