// The adapter without its PCI functions: registers as the physical and the virtual functions see them, and the engines
// behind them. The bus and the wire are ports.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <utility>

#include "sriov_nic/core.h"
#include "sriov_nic/mac.h"
#include "sriov_nic/mailboxes.h"
#include "sriov_nic/receive.h"
#include "sriov_nic/register_bank.h"
#include "sriov_nic/transmit.h"

namespace sriov_nic {

class Controller final {
public:
    Controller(const sim::Scope& scope, const Profile& profile, BusPort& bus, Wire& wire);
    Controller(const Controller&) = delete;

    // BAR 0 of the physical function and of a VF, dwords. Nobody may be surprised by any access.
    std::uint32_t read(std::uint32_t offset) { return bank_.read(*this, offset); }
    void write(std::uint32_t offset, std::uint32_t value) { bank_.write(*this, offset, value); }
    std::uint32_t read_virtual(unsigned vf, std::uint32_t offset);
    void write_virtual(unsigned vf, std::uint32_t offset, std::uint32_t value);

    // The bus answers.
    void read_done(std::uint32_t cookie, bool ok, std::span<const std::byte> data);
    void bus_ready();
    void woken() { core_.throttle_clock.run(); }
    // The wire: a frame without FCS whose last bit came now.
    void received(std::span<const std::byte> frame, bool good_fcs = true) { mac_.received(frame, good_fcs); }
    void set_link(bool up);
    bool link_up() const { return core_.link_up; }

    // What a driver of the VF needs when it is at work (sim/working_set.h): of its first queues, if it has more.
    void add_needs(unsigned vf, sim::WorkingSet& set) const;

    // How many VFs software has enabled.
    void set_virtual_functions(unsigned count);
    unsigned virtual_functions() const { return core_.vfs; }
    // FLR, or the register that does the same; of the physical function it resets everything.
    void function_reset(unsigned function);
    // What a Hyper-V host does when a VF's driver starts: its queues are off and its interrupts masked; what the host
    // has granted stays.
    void quiesce(unsigned vf);

    // Null: nobody.
    void watch(FrameWatcher* watcher) { core_.watcher = watcher; }

    const Statistics& statistics() const { return core_.statistics; }
    const Interrupts& interrupts(unsigned function) const { return *core_.interrupts[function]; }
    std::uint32_t receive_buffered() const { return receive_.buffered_bytes(); }
    std::uint32_t transmit_buffered() const { return transmit_.buffered_bytes(); }
    std::uint64_t touches_unknown() const { return bank_.touches_unknown() + touches_unknown_; }

    static std::span<const Row<Controller>> physical_rows();
    static std::span<const Row<Controller>> virtual_rows();

    template <class Archive>
    void fields(Archive& a) {
        a(bank_, core_, transmit_, receive_, mac_, mailboxes_, vflre_, selected_queue_, touches_unknown_,
          vf_ivar_misc_);
    }

private:
    // physical_registers.cpp
    template <RxRegister r, unsigned first = 0>
    std::uint32_t read_rx(unsigned index, std::uint32_t) {
        return receive_.read(first + index, r);
    }
    template <RxRegister r, unsigned first = 0>
    void write_rx(unsigned index, std::uint32_t value) {
        receive_.write(first + index, r, value);
    }
    template <TxRegister r>
    std::uint32_t read_tx(unsigned index, std::uint32_t) {
        return transmit_.read(index, r);
    }
    template <TxRegister r>
    void write_tx(unsigned index, std::uint32_t value) {
        transmit_.write(index, r, value);
    }
    template <std::uint64_t Statistics::*member>
    std::uint32_t take(unsigned, std::uint32_t) {
        return static_cast<std::uint32_t>(std::exchange(core_.statistics.*member, 0));
    }
    template <DirectionStatistics Statistics::*direction, std::uint64_t DirectionStatistics::*member>
    std::uint32_t take_of(unsigned, std::uint32_t) {
        return static_cast<std::uint32_t>(std::exchange((core_.statistics.*direction).*member, 0));
    }
    template <DirectionStatistics Statistics::*direction>
    std::uint32_t take_size(unsigned index, std::uint32_t) {
        return static_cast<std::uint32_t>(std::exchange((core_.statistics.*direction).by_size[index], 0));
    }
    // 36-bit octet counts: the high dword is read second and clears both.
    template <std::uint64_t Statistics::*member>
    std::uint32_t count_low(unsigned, std::uint32_t) {
        return static_cast<std::uint32_t>(core_.statistics.*member);
    }
    template <std::uint64_t Statistics::*member>
    std::uint32_t take_high(unsigned, std::uint32_t) {
        return static_cast<std::uint32_t>(std::exchange(core_.statistics.*member, 0) >> 32) & 0xf;
    }
    template <std::array<std::uint64_t, queues> Statistics::*member>
    std::uint32_t queue_low(unsigned index, std::uint32_t) {
        return static_cast<std::uint32_t>((core_.statistics.*member)[index]);
    }
    template <std::array<std::uint64_t, queues> Statistics::*member>
    std::uint32_t take_queue_high(unsigned index, std::uint32_t) {
        return static_cast<std::uint32_t>(std::exchange((core_.statistics.*member)[index], 0) >> 32) & 0xf;
    }
    template <std::array<std::uint64_t, queues> Statistics::*member>
    std::uint32_t take_queue(unsigned index, std::uint32_t) {
        return static_cast<std::uint32_t>(std::exchange((core_.statistics.*member)[index], 0));
    }
    template <DirectionStatistics Statistics::*direction>
    std::uint32_t octets_low(unsigned, std::uint32_t) {
        return static_cast<std::uint32_t>((core_.statistics.*direction).octets);
    }
    template <DirectionStatistics Statistics::*direction>
    std::uint32_t octets_high(unsigned, std::uint32_t) {
        return static_cast<std::uint32_t>(std::exchange((core_.statistics.*direction).octets, 0) >> 32) & 0xf;
    }
    void write_ctrl(unsigned, std::uint32_t value);
    void write_ctrl_ext(unsigned, std::uint32_t value);
    std::uint32_t read_links(unsigned, std::uint32_t);
    std::uint32_t read_eicr(unsigned, std::uint32_t);
    void write_eicr(unsigned, std::uint32_t value);
    void write_eics(unsigned, std::uint32_t value);
    std::uint32_t read_eims(unsigned, std::uint32_t);
    void write_eims(unsigned, std::uint32_t value);
    void write_eimc(unsigned, std::uint32_t value);
    void write_eiac(unsigned, std::uint32_t value);
    void write_eiam(unsigned, std::uint32_t value);
    void write_eics_ex(unsigned index, std::uint32_t value);
    std::uint32_t read_eims_ex(unsigned index, std::uint32_t);
    void write_eims_ex(unsigned index, std::uint32_t value);
    void write_eimc_ex(unsigned index, std::uint32_t value);
    void write_eiam_ex(unsigned index, std::uint32_t value);
    std::uint32_t read_eitr(unsigned index, std::uint32_t);
    void write_eitr(unsigned index, std::uint32_t value);
    std::uint32_t read_eitr_high(unsigned index, std::uint32_t) { return read_eitr(24 + index, 0); }
    void write_eitr_high(unsigned index, std::uint32_t value) { write_eitr(24 + index, value); }
    void write_ivar_misc(unsigned, std::uint32_t value);
    void write_filter(unsigned, std::uint32_t) { core_.bridge.invalidate(); }
    void write_enables(unsigned, std::uint32_t);
    void write_receive_enables(unsigned, std::uint32_t) { receive_.pump(); }
    void write_mtqc(unsigned, std::uint32_t value);
    std::uint32_t read_psrtype(unsigned index, std::uint32_t);
    void write_psrtype(unsigned index, std::uint32_t value);
    void write_rssrk(unsigned, std::uint32_t) { receive_.key_changed(); }
    void write_rxpbsize(unsigned index, std::uint32_t);
    void write_qde(unsigned, std::uint32_t value);
    std::uint32_t read_rttbcnrc(unsigned, std::uint32_t);
    void write_rttdqsel(unsigned, std::uint32_t value) { selected_queue_ = value & (queues - 1); }
    void write_rttbcnrc(unsigned, std::uint32_t value);
    void write_rttdt1c(unsigned, std::uint32_t value);
    std::uint32_t read_pfmailbox(unsigned vf, std::uint32_t);
    void write_pfmailbox(unsigned vf, std::uint32_t value);
    std::uint32_t read_pfmbmem(unsigned index, std::uint32_t) { return mailboxes_.memory(index / 16, index % 16); }
    void write_pfmbmem(unsigned index, std::uint32_t value) { mailboxes_.memory(index / 16, index % 16) = value; }
    std::uint32_t read_mbvficr(unsigned index, std::uint32_t) { return mailboxes_.told(index); }
    void write_mbvficr(unsigned index, std::uint32_t value) { mailboxes_.told(index) &= ~value; }
    std::uint32_t read_vflre(unsigned, std::uint32_t) { return static_cast<std::uint32_t>(vflre_); }
    std::uint32_t read_vflre_high(unsigned, std::uint32_t) { return static_cast<std::uint32_t>(vflre_ >> 32); }
    void write_vflrec(unsigned index, std::uint32_t value);
    void tell_physical();
    void tell_virtual(unsigned vf);

    // virtual_registers.cpp: of VF `acting_`
    template <RxRegister r>
    std::uint32_t vf_read_rx(unsigned index, std::uint32_t);
    template <RxRegister r>
    void vf_write_rx(unsigned index, std::uint32_t value);
    template <TxRegister r>
    std::uint32_t vf_read_tx(unsigned index, std::uint32_t);
    template <TxRegister r>
    void vf_write_tx(unsigned index, std::uint32_t value);
    template <std::uint64_t FunctionStatistics::*member, unsigned shift = 0, std::uint32_t mask = ~0u>
    std::uint32_t vf_count(unsigned, std::uint32_t);
    void vf_write_ctrl(unsigned, std::uint32_t value);
    std::uint32_t vf_read_status(unsigned, std::uint32_t);
    std::uint32_t vf_read_links(unsigned, std::uint32_t);
    std::uint32_t vf_read_frtimer(unsigned, std::uint32_t);
    std::uint32_t vf_read_eicr(unsigned, std::uint32_t);
    void vf_write_eicr(unsigned, std::uint32_t value);
    void vf_write_eics(unsigned, std::uint32_t value);
    std::uint32_t vf_read_eims(unsigned, std::uint32_t);
    void vf_write_eims(unsigned, std::uint32_t value);
    void vf_write_eimc(unsigned, std::uint32_t value);
    std::uint32_t vf_read_eiac(unsigned, std::uint32_t);
    void vf_write_eiac(unsigned, std::uint32_t value);
    std::uint32_t vf_read_eiam(unsigned, std::uint32_t);
    void vf_write_eiam(unsigned, std::uint32_t value);
    std::uint32_t vf_read_ivar(unsigned index, std::uint32_t);
    void vf_write_ivar(unsigned index, std::uint32_t value);
    std::uint32_t vf_read_ivar_misc(unsigned, std::uint32_t);
    void vf_write_ivar_misc(unsigned, std::uint32_t value);
    std::uint32_t vf_read_eitr(unsigned index, std::uint32_t);
    void vf_write_eitr(unsigned index, std::uint32_t value);
    std::uint32_t vf_read_mbmem(unsigned index, std::uint32_t) { return mailboxes_.memory(acting_, index); }
    void vf_write_mbmem(unsigned index, std::uint32_t value) { mailboxes_.memory(acting_, index) = value; }
    std::uint32_t vf_read_mailbox(unsigned, std::uint32_t) { return mailboxes_.read_virtual(acting_); }
    void vf_write_mailbox(unsigned, std::uint32_t value);
    std::uint32_t vf_read_psrtype(unsigned, std::uint32_t) { return read_psrtype(acting_, 0); }
    void vf_write_psrtype(unsigned, std::uint32_t value) { write_psrtype(acting_, value); }
    unsigned vf_queue(unsigned index) const;
    Interrupts& vf_interrupts() { return *core_.interrupts[acting_]; }

    void stop(unsigned vf);
    void reset_everything();
    void reset_virtual(unsigned vf);

    Bank<Controller> bank_;
    const RegisterMap<Controller>& virtual_map_;
    Core core_;
    Mac mac_;
    Receive receive_;
    Transmit transmit_;
    Mailboxes mailboxes_;
    std::uint64_t vflre_ = 0;  // VFs that were reset and whose reset the physical driver has not seen
    std::uint32_t selected_queue_ = 0;
    std::uint64_t touches_unknown_ = 0;
    unsigned acting_ = 0;  // the VF whose access is being carried out
    std::array<std::uint32_t, max_pools> vf_ivar_misc_{};
};

}  // namespace sriov_nic
