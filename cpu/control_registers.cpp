#include "cpu/control_registers.h"

#include "mmu/paging.h"

namespace cpu {

bool write_cr0(Registers& r, u64 value) {
    if ((value >> 32) != 0) return false;
    value = (value & cr0::defined) | cr0::et;
    const bool pe = (value & cr0::pe) != 0;
    const bool pg = (value & cr0::pg) != 0;
    if (pg && !pe) return false;
    if ((value & cr0::nw) != 0 && (value & cr0::cd) == 0) return false;
    const bool was_paging = (r.cr0 & cr0::pg) != 0;
    if (pg && !was_paging && (r.efer & efer::lme) != 0) {
        if ((r.cr4 & cr4::pae) == 0 || r[SegmentName::cs].has(segment::long_mode)) return false;
        r.efer |= efer::lma;
    }
    if (!pg && was_paging) {
        if (r.code_64bit() || (r.cr4 & cr4::pcide) != 0) return false;
        r.efer &= ~efer::lma;
    }
    r.cr0 = value;
    return true;
}

bool write_cr3(Registers& r, u64 value, const ControlFeatures& features) {
    if (r.long_mode()) {
        if ((r.cr4 & cr4::pcide) != 0) value &= ~mmu::cr3::no_flush;
        if ((value >> features.phys_bits) != 0) return false;
    } else {
        value &= 0xffff'ffff;
    }
    r.cr3 = value;
    return true;
}

bool write_cr4(Registers& r, u64 value, const ControlFeatures& features) {
    if ((value & ~features.cr4_allowed) != 0) return false;
    if (r.long_mode() && (value & cr4::pae) == 0) return false;
    if ((value & cr4::pcide) != 0 && (r.cr4 & cr4::pcide) == 0) {
        if (!r.long_mode() || (r.cr3 & mmu::cr3::pcid_mask) != 0) return false;
    }
    if (r.long_mode() && ((value ^ r.cr4) & cr4::la57) != 0) return false;
    r.cr4 = value;
    return true;
}

bool write_efer(Registers& r, u64 value, const ControlFeatures& features) {
    if ((value & ~features.efer_allowed) != 0) return false;
    const bool paging = (r.cr0 & cr0::pg) != 0;
    if (paging && ((value ^ r.efer) & efer::lme) != 0) return false;
    r.efer = (value & ~efer::lma) | (r.efer & efer::lma);  // LMA follows LME and PG
    return true;
}

bool is_valid_pat(u64 value) {
    for (unsigned i = 0; i < 64; i += 8) {
        const u64 type = value >> i & 0xff;
        if (type > 7 || type == 2 || type == 3) return false;
    }
    return true;
}

bool make_consistent(Registers& r, const ControlFeatures& features) {
    const bool pg = (r.cr0 & cr0::pg) != 0;
    if ((r.cr0 >> 32) != 0 || (pg && (r.cr0 & cr0::pe) == 0)) return false;
    if ((r.cr0 & cr0::nw) != 0 && (r.cr0 & cr0::cd) == 0) return false;
    if ((r.cr4 & ~features.cr4_allowed) != 0 || (r.efer & ~features.efer_allowed) != 0) return false;
    if (((r.dr6 | r.dr7) >> 32) != 0 || !is_valid_pat(r.pat)) return false;
    r.cr0 = (r.cr0 & cr0::defined) | cr0::et;
    if (!pg || (r.efer & efer::lme) == 0) {
        r.efer &= ~efer::lma;
        r.cr3 &= 0xffff'ffff;
        return true;
    }
    r.efer |= efer::lma;
    const Segment& cs = r[SegmentName::cs];
    const bool both_sizes = cs.has(segment::long_mode) && cs.has(segment::default_big);
    return (r.cr4 & cr4::pae) != 0 && (r.cr3 >> features.phys_bits) == 0 && (r.rflags & rflags::vm) == 0 && !both_sizes;
}

bool needs_pdptes(const Registers& before, const Registers& after) {
    const auto pae = [](const Registers& r) {
        return (r.cr0 & cr0::pg) != 0 && (r.cr4 & cr4::pae) != 0 && !r.long_mode();
    };
    if (!pae(after)) return false;
    constexpr u64 cr0_bits = cr0::cd | cr0::nw | cr0::pg;
    constexpr u64 cr4_bits = cr4::pae | cr4::pge | cr4::pse | cr4::smep;
    return !pae(before) || ((before.cr0 ^ after.cr0) & cr0_bits) != 0 || ((before.cr4 ^ after.cr4) & cr4_bits) != 0;
}

DebugWrite write_debug_register(Registers& r, unsigned n, u64 value) {
    if (n == 4 || n == 5) {
        if ((r.cr4 & cr4::de) != 0) return DebugWrite::undefined;
        n += 2;
    }
    if ((r.dr7 & dr7::gd) != 0) {
        r.dr6 |= dr6::bd;
        r.dr7 &= ~dr7::gd;
        return DebugWrite::debug;
    }
    if (n < 4) {
        r.dr[n] = value;
        return DebugWrite::done;
    }
    if ((value >> 32) != 0) return DebugWrite::general_protection;
    if (n == 6) {
        r.dr6 = (value & (dr6::breakpoints | dr6::bd | dr6::bs | dr6::bt)) | dr6::fixed_one;
    } else {
        r.dr7 = (value & 0xffff'2bff) | dr7::fixed_one;
    }
    return DebugWrite::done;
}

}  // namespace cpu
