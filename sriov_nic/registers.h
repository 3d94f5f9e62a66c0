// Offsets and bits of the 82599's registers (datasheet, chapter 8; VF registers in 8.3). Names are the datasheet's.
#pragma once

#include <cstdint>

namespace sriov_nic {

inline constexpr std::uint32_t physical_bar_bytes = 128 * 1024;
inline constexpr std::uint32_t virtual_bar_bytes = 16 * 1024;
inline constexpr unsigned physical_vectors = 64;
inline constexpr unsigned virtual_vectors = 3;

namespace reg {
inline constexpr std::uint32_t ctrl = 0x0000, status = 0x0008, ctrl_ext = 0x0018, links = 0x42a4, eec = 0x10010;
inline constexpr std::uint32_t vflre = 0x0600, vflrec = 0x0700, mbvficr = 0x0710, mbvfimr = 0x0720;
inline constexpr std::uint32_t eicr = 0x0800, eics = 0x0808, eiac = 0x0810, eitr = 0x0820, eims = 0x0880, eimc = 0x0888,
                               eiam = 0x0890, gpie = 0x0898, ivar = 0x0900, ivar_misc = 0x0a00, eics_ex = 0x0a90,
                               eims_ex = 0x0aa0, eimc_ex = 0x0ab0, eiam_ex = 0x0ad0, eitr_high = 0x12300;
inline constexpr std::uint32_t rdrxctl = 0x2f00, qde = 0x2f04, rxctrl = 0x3000, fcttv = 0x3200, fcrtl = 0x3220,
                               fcrth = 0x3260, fcrtv = 0x32a0, rxpbsize = 0x3c00, fccfg = 0x3d00;
inline constexpr std::uint32_t hlreg0 = 0x4240, maxfrs = 0x4268, mflcn = 0x4294;
inline constexpr std::uint32_t rttdcs = 0x4900, rttdqsel = 0x4904, rttdt1c = 0x4908, rttbcnrm = 0x4980,
                               rttbcnrc = 0x4984, dmatxctl = 0x4a80, dtxtcpflgl = 0x4a88, dtxtcpflgh = 0x4a8c;
inline constexpr std::uint32_t tdbal = 0x6000, pfmailbox = 0x4b00, pfmbmem = 0x13000;
inline constexpr std::uint32_t rxcsum = 0x5000, rfctl = 0x5008, fctrl = 0x5080, vlnctrl = 0x5088, mcstctrl = 0x5090,
                               vmtxsw = 0x5180, vt_ctl = 0x51b0, vfre = 0x51e0, mta = 0x5200, ral = 0x5400,
                               rah = 0x5404, psrtype = 0x5480, psrtype_table = 0xea00, mrqc = 0x5818, reta = 0x5c00,
                               rssrk = 0x5c80;
inline constexpr std::uint32_t vmvir = 0x8000, vfte = 0x8110, mtqc = 0x8120, pfvfspoof = 0x8200, pfdtxgswc = 0x8220,
                               ssvpc = 0x8780, vmecm = 0x8790, vfta = 0xa000, rar_table = 0xa200, mpsar = 0xa600,
                               lbdrpen = 0xca00;
inline constexpr std::uint32_t vmolr = 0xf000, vlvf = 0xf100, vlvfb = 0xf200, uta = 0xf400, mrctl = 0xf600,
                               vmrvlan = 0xf610, vmrvm = 0xf630;
inline constexpr std::uint32_t gcr_ext = 0x11050;
}  // namespace reg

namespace vf_reg {
inline constexpr std::uint32_t ctrl = 0x0000, status = 0x0008, links = 0x0010, frtimer = 0x0048, eicr = 0x0100,
                               eics = 0x0104, eims = 0x0108, eimc = 0x010c, eiac = 0x0110, eiam = 0x0114, ivar = 0x0120,
                               ivar_misc = 0x0140, rscint = 0x0180, mbmem = 0x0200, mailbox = 0x02fc, psrtype = 0x0300,
                               eitr = 0x0820, rdbal = 0x1000, gprc = 0x101c, gorc_low = 0x1020, gorc_high = 0x1024,
                               mprc = 0x1034, tdbal = 0x2000, gptc = 0x201c, gotc_low = 0x2020, gotc_high = 0x2024,
                               rxmemwrap = 0x3190;
}  // namespace vf_reg

// A queue's registers, by their offset in the queue's block of 0x40 bytes.
enum class RxRegister : std::uint8_t {
    rdbal = 0x00,
    rdbah = 0x04,
    rdlen = 0x08,
    dca_rxctrl = 0x0c,
    rdh = 0x10,
    srrctl = 0x14,
    rdt = 0x18,
    rxdctl = 0x28,
    rscctl = 0x2c,
};
enum class TxRegister : std::uint8_t {
    tdbal = 0x00,
    tdbah = 0x04,
    tdlen = 0x08,
    dca_txctrl = 0x0c,
    tdh = 0x10,
    tdt = 0x18,
    txdctl = 0x28,
    tdwbal = 0x38,
    tdwbah = 0x3c,
};

namespace ctrl {
inline constexpr std::uint32_t master_disable = 1u << 2, link_reset = 1u << 3, reset = 1u << 26;
}
namespace ctrl_ext {
inline constexpr std::uint32_t pf_reset_done = 1u << 14;
}
namespace links {
inline constexpr std::uint32_t up = 1u << 30, speed_10g = 3u << 28, speed_1g = 2u << 28, speed_100m = 1u << 28;
}
namespace cause {  // EICR, the bits above the queues'
inline constexpr unsigned mailbox = 19, link = 20, first_other = 16;
}
namespace ivar {
inline constexpr std::uint32_t valid = 0x80, vector = 0x3f;
}
namespace eitr {
inline constexpr std::uint32_t interval = 0xff8, counter_write_disable = 1u << 31, stored = 0xff8;
}
namespace mailbox {  // VFMAILBOX, 8.3.5.1.5
inline constexpr std::uint32_t request = 1u << 0, acknowledge = 1u << 1, vf_owns = 1u << 2, pf_owns = 1u << 3,
                               pf_status = 1u << 4, pf_acknowledge = 1u << 5, reset_indication = 1u << 6,
                               reset_done = 1u << 7;
inline constexpr std::uint32_t clear_on_read = pf_status | pf_acknowledge | reset_done;
inline constexpr unsigned dwords = 16;
}  // namespace mailbox
namespace pf_mailbox {  // PFMAILBOX, 8.2.3.27.11
inline constexpr std::uint32_t status = 1u << 0, acknowledge = 1u << 1, vf_owns = 1u << 2, pf_owns = 1u << 3,
                               reset_vf_owns = 1u << 4;
}
namespace rxdctl {
inline constexpr std::uint32_t length_limit = 0x3fff, length_limit_enable = 1u << 15, enable = 1u << 25,
                               vlan_strip = 1u << 30;
}
namespace txdctl {
inline constexpr std::uint32_t enable = 1u << 25, software_flush = 1u << 26;
constexpr std::uint32_t prefetch(std::uint32_t v) {
    return v & 0x7f;
}
constexpr std::uint32_t host(std::uint32_t v) {
    return v >> 8 & 0x7f;
}
constexpr std::uint32_t write_back(std::uint32_t v) {
    return v >> 16 & 0x7f;
}
}  // namespace txdctl
namespace srrctl {
inline constexpr std::uint32_t drop_enable = 1u << 28;
constexpr std::uint32_t buffer_bytes(std::uint32_t v) {
    return (v & 0x1f) << 10;
}
constexpr std::uint32_t header_bytes(std::uint32_t v) {
    return (v >> 8 & 0x3f) << 6;
}
constexpr std::uint32_t type(std::uint32_t v) {
    return v >> 25 & 7;
}
inline constexpr std::uint32_t legacy = 0, advanced_one = 1, advanced_split = 2, advanced_split_always = 5;
}  // namespace srrctl
namespace rscctl {
inline constexpr std::uint32_t enable = 1u << 0;
constexpr unsigned max_descriptors(std::uint32_t v) {
    return (v >> 2 & 3) == 0 ? 1 : 1u << (1 + (v >> 2 & 3));
}
}  // namespace rscctl
namespace rfctl {
inline constexpr std::uint32_t no_coalescing = 1u << 5;
}
namespace gpie {
constexpr unsigned coalescing_delay(std::uint32_t v) {
    return v >> 11 & 7;
}
}  // namespace gpie
namespace vmolr {
inline constexpr std::uint32_t untagged = 1u << 24, multicast_hash = 1u << 25, unicast_hash = 1u << 26,
                               broadcast = 1u << 27, all_multicast = 1u << 28;
}
namespace vt_ctl {
inline constexpr std::uint32_t enable = 1u << 0, no_default_pool = 1u << 29, replication = 1u << 30;
constexpr std::uint32_t default_pool(std::uint32_t v) {
    return v >> 7 & 0x3f;
}
}  // namespace vt_ctl
namespace fctrl {
inline constexpr std::uint32_t store_bad = 1u << 1, all_multicast = 1u << 8, all_unicast = 1u << 9,
                               broadcast = 1u << 10;
}
namespace vlnctrl {
inline constexpr std::uint32_t filter_enable = 1u << 30;
}
namespace rah {
inline constexpr std::uint32_t valid = 1u << 31;
}
namespace vlvf {
inline constexpr std::uint32_t valid = 1u << 31, id = 0xfff;
}
namespace vmvir {
inline constexpr std::uint32_t action = 3u << 30, always = 1u << 30, never = 2u << 30;
}
namespace hlreg0 {
inline constexpr std::uint32_t crc_strip = 1u << 1, jumbo = 1u << 2, pad = 1u << 10, loopback = 1u << 15;
}
namespace rxctrl {
inline constexpr std::uint32_t enable = 1u << 0;
}
namespace dmatxctl {
inline constexpr std::uint32_t enable = 1u << 0;
}
namespace qde {
inline constexpr std::uint32_t enable = 1u << 0, write = 1u << 16, read = 1u << 17;
constexpr unsigned index(std::uint32_t v) {
    return v >> 8 & 0x7f;
}
}  // namespace qde
namespace rttdcs {
inline constexpr std::uint32_t weighted_pools = 1u << 1;
}
namespace rttbcnrc {
inline constexpr std::uint32_t enable = 1u << 31, factor = 0x0fffffff;  // 14 bits integer, 14 fraction
}
namespace fcrth {
inline constexpr std::uint32_t enable = 1u << 31, threshold = 0x7ffe0;
}
namespace fcrtl {
inline constexpr std::uint32_t xon_enable = 1u << 31, threshold = 0x7ffe0;
}
namespace mflcn {
inline constexpr std::uint32_t receive_flow_control = 1u << 3;
}
namespace fccfg {
inline constexpr std::uint32_t transmit_flow_control = 1u << 3;
}
namespace mrqc {
// 8.2.3.7.12, the low four bits: RSS, VMDq with or without RSS.
inline constexpr std::uint32_t mode = 0xf, rss = 1, vmdq = 8, vmdq_rss_32 = 10, vmdq_rss_64 = 11;
inline constexpr std::uint32_t ipv4_tcp = 1u << 16, ipv4 = 1u << 17, ipv6 = 1u << 20, ipv6_tcp = 1u << 21,
                               ipv4_udp = 1u << 22, ipv6_udp = 1u << 23;
}  // namespace mrqc
namespace mtqc {
// 8.2.3.9.16: bit 1 virtualization, bits 3:2 how many pools (1: 64 of 2 queues, 2: 32 of 4).
inline constexpr std::uint32_t virtualization = 1u << 1;
constexpr std::uint32_t tc_or_queues(std::uint32_t v) {
    return v >> 2 & 3;
}
}  // namespace mtqc
namespace mrctl {
inline constexpr std::uint32_t pools = 1u << 0, uplink = 1u << 1, downlink = 1u << 2, vlans = 1u << 3;
constexpr unsigned destination(std::uint32_t v) {
    return v >> 8 & 0x3f;
}
}  // namespace mrctl

// Of a ring's base, length, head and tail (8.2.3.8.1 to .5, 8.2.3.9.5 to .9), either direction.
namespace ring_bits {
inline constexpr std::uint64_t base_low = 0xffff'ff80;
inline constexpr std::uint32_t length = 0xfff80, index = 0xffff;
}  // namespace ring_bits

}  // namespace sriov_nic
