// The mailboxes between the virtual functions and the physical one (82599 datasheet, 7.10.2.9 and 8.3.5.1.5): for each
// VF sixteen dwords, two owners, and bits by which each side tells the other.
#pragma once

#include <array>
#include <cstdint>

#include "sriov_nic/ports.h"
#include "sriov_nic/registers.h"

namespace sriov_nic {

class Mailboxes {
public:
    // Who is to be interrupted after an access.
    enum class Tell : std::uint8_t { nobody, physical, virtual_function };

    // VFMAILBOX, as the VF sees it; some bits are cleared by reading.
    std::uint32_t read_virtual(unsigned vf) {
        Box& box = boxes_[vf];
        const std::uint32_t value = box.bits;
        box.bits &= ~mailbox::clear_on_read;
        return value;
    }
    Tell write_virtual(unsigned vf, std::uint32_t value) {
        Box& box = boxes_[vf];
        if ((value & mailbox::vf_owns) == 0) {
            box.bits &= ~mailbox::vf_owns;
        } else if ((box.bits & mailbox::pf_owns) == 0) {
            box.bits |= mailbox::vf_owns;
        }
        std::uint32_t& told = icr_[vf >> 4];
        if ((value & mailbox::request) != 0) told |= 1u << (vf & 15);
        if ((value & mailbox::acknowledge) != 0) told |= 0x10000u << (vf & 15);
        return (value & (mailbox::request | mailbox::acknowledge)) != 0 ? Tell::physical : Tell::nobody;
    }
    // PFMAILBOX
    std::uint32_t read_physical(unsigned vf) const {
        return boxes_[vf].bits & (mailbox::vf_owns | mailbox::pf_owns);  // at the same places
    }
    Tell write_physical(unsigned vf, std::uint32_t value) {
        Box& box = boxes_[vf];
        if ((value & pf_mailbox::reset_vf_owns) != 0) box.bits &= ~mailbox::vf_owns;
        if ((value & pf_mailbox::pf_owns) == 0) {
            box.bits &= ~mailbox::pf_owns;
        } else if ((box.bits & mailbox::vf_owns) == 0) {
            box.bits |= mailbox::pf_owns;
        }
        if ((value & pf_mailbox::status) != 0) box.bits |= mailbox::pf_status;
        if ((value & pf_mailbox::acknowledge) != 0) box.bits |= mailbox::pf_acknowledge;
        return (value & (pf_mailbox::status | pf_mailbox::acknowledge)) != 0 ? Tell::virtual_function : Tell::nobody;
    }
    static_assert(pf_mailbox::vf_owns == mailbox::vf_owns && pf_mailbox::pf_owns == mailbox::pf_owns);

    std::uint32_t& memory(unsigned vf, unsigned dword) { return boxes_[vf].memory[dword % mailbox::dwords]; }
    // MBVFICR: requests in the low half, acknowledgements in the high one, of sixteen VFs.
    std::uint32_t& told(unsigned index) { return icr_[index & 3]; }

    // The physical function is being reset: every VF sees it until its driver says that it is done.
    void physical_reset() {
        boxes_ = {};
        for (Box& box : boxes_) box.bits = mailbox::reset_indication;
        icr_ = {};
    }
    void physical_reset_done() {
        for (Box& box : boxes_) {
            if ((box.bits & mailbox::reset_indication) != 0) box.bits = mailbox::reset_done;
        }
    }
    void virtual_reset(unsigned vf) {
        boxes_[vf].bits &= mailbox::reset_indication;
        icr_[vf >> 4] &= ~(0x10001u << (vf & 15));
    }

    template <class Archive>
    void fields(Archive& a) {
        a(boxes_, icr_);
    }

private:
    struct Box {
        std::uint32_t bits = mailbox::reset_indication;
        std::array<std::uint32_t, mailbox::dwords> memory{};
        template <class Archive>
        void fields(Archive& a) {
            a(bits, memory);
        }
    };
    std::array<Box, max_pools> boxes_{};
    std::array<std::uint32_t, 4> icr_{};
};

}  // namespace sriov_nic
