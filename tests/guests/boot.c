// The state that a loader must hand over (multiboot 1 §3.2, PVH boot ABI), and what it tells about the machine.
#include "x86.h"

void guest_main(void) {
#ifdef __x86_64__
    guest_begin("boot");
#else
    guest_begin("boot32");
#endif
    const struct entry_state* s = &entry_state;
    check_that("magic", s->magic == boot_multiboot || s->magic == boot_pvh);
    if (option("protocol", 0)) {
        check_equal("protocol", s->magic, option("protocol", 0));
    } else {
        check_skip("protocol");
    }
    check_equal("paging_off", s->cr0 & CR0_PG, 0);
    check_equal("protected_mode", s->cr0 & cr0_pe, cr0_pe);
    check_equal("cr4_clear", s->cr4, 0);
    check_equal("flags_if_vm_tf_clear", s->eflags & (flag_if | flag_tf | 0x20000), 0);
    check_equal("cs_ring0", s->cs & 3, 0);
    check_equal("data_segments_alike", s->ds == s->es && s->ds == s->ss, 1);
    check_equal("info_aligned", s->info & 3, 0);
    if (s->magic == boot_pvh) {
        const u32* info = (const u32*)(uptr)s->info;
        check_equal("pvh_info_magic", info[0], boot_pvh);
        check_that("pvh_info_version", info[1] >= 1);
    } else {
        check_skip("pvh_info_magic");
        check_skip("pvh_info_version");
    }

    // The image is whole: bss is zero, and RAM works from one end to the other.
    static volatile u32 zero[1024];
    u32 sum = 0;
    for (u32 i = 0; i < ARRAY_LENGTH(zero); i++) sum |= zero[i];
    check_equal("bss_zero", sum, 0);
    u64 memory = memory_bytes();
    check_that("memory_size", memory >= 0x200000);
    if (option("memory", 0)) {
        check_between("memory_as_given", memory, option("memory", 0) - 0x100000, option("memory", 0));
    } else {
        check_skip("memory_as_given");
    }
    if (memory > 0xC0000000) memory = 0xC0000000;
    u32 wrong = 0;
    const u32 first = ((u32)(uptr)image_end + 0x10FFFF) & ~0xFFFFu;
    for (u32 address = first; address < (u32)memory; address += 0x10000)
        *(volatile u32*)(uptr)address = address ^ 0x5A5A5A5A;
    for (u32 address = first; address < (u32)memory; address += 0x10000) {
        wrong += *(volatile u32*)(uptr)address != (address ^ 0x5A5A5A5A);
    }
    check_equal("ram_distinct", wrong, 0);
    check_equal("command_line_number", option("magic", 0), 0xC0FFEE);
    check_equal("command_line_absent", option("missing", 77), 77);

    // A machine of Hyper-V's second generation: no legacy devices, unclaimed ports read as ones.
    check_equal("unclaimed_port8", inb(0x5A0), 0xFF);
    check_equal("unclaimed_port16", inw(0x5A0), 0xFFFF);
    check_equal("unclaimed_port32", inl(0x5A0), 0xFFFFFFFF);
    guest_end();
}
