// What CPUID may offer: SMEP, SMAP, PCID, global pages, large pages of both sizes, page attributes.
#include "cpu64.h"
#include "paging.h"
#include "x86.h"

extern u64 boot_pml4[512];
SNIPPET(access_with_ac, "stac", "movq (%rdi), %rax", "clac");
SNIPPET(write_with_ac, "stac", "movq %rdi, 8(%rdi)", "clac");

static u32 structured_features(void) {
    return cpuid(0, 0).eax >= 7 ? cpuid(7, 0).ebx : 0;
}

static void check_smep(void) {
    if (!(structured_features() >> 7 & 1)) {
        check_skip("smep");
        return;
    }
    kernel_is_user(false);
    window_set(7);
    group_begin("smep");
    group_expect("off", fault_of(access_call, WINDOW), no_fault);
    write_cr4(read_cr4() | cr4_smep);
    group_expect("fetch", fault_of(access_call, WINDOW), 0x11);
    group_expect("read", fault_of(access_read, WINDOW), no_fault);
    window_set(3);
    group_expect("supervisor_page", fault_of(access_call, WINDOW), no_fault);
    write_cr4(read_cr4() & ~(u64)cr4_smep);
    window_set(7);
    group_expect("off_again", fault_of(access_call, WINDOW), no_fault);
    group_end();
    kernel_is_user(true);
}

static void check_smap(void) {
    if (!(structured_features() >> 20 & 1)) {
        check_skip("smap");
        return;
    }
    kernel_is_user(false);
    window_set(7);
    group_begin("smap");
    write_cr4(read_cr4() | cr4_smap);
    group_expect("read", fault_of(access_read, WINDOW), 1);
    group_expect("write", fault_of(access_write, WINDOW), 3);
    group_expect("read_ac", fault_of(access_with_ac, WINDOW), no_fault);
    group_expect("write_ac", fault_of(write_with_ac, WINDOW), no_fault);
    window_set(3);
    group_expect("supervisor_page", fault_of(access_read, WINDOW), no_fault);
    write_cr4(read_cr4() & ~(u64)cr4_smap);
    window_set(7);
    group_expect("off_again", fault_of(access_read, WINDOW), no_fault);
    group_end();
    kernel_is_user(true);
}

static void check_large(void) {
    window_set(7);
    const u64 region = (u64)target_page & ~0x1FFFFFull;
    const u64 inside = WINDOW_LARGE + ((u64)target_page & 0x1FFFFF);
    *(volatile u64*)target_page = 0x1122334455667788;
    *window_entry(2) = region | 7 | pte_large;
    flush_all();
    group_begin("page_2m");
    group_expect("value", *(volatile u64*)inside, 0x1122334455667788);
    group_expect("accessed", *window_entry(2) & (pte_accessed | pte_dirty), pte_accessed);
    *(volatile u64*)inside = 0x99;
    group_expect("dirty", *window_entry(2) & pte_dirty, pte_dirty);
    group_expect("written", *(volatile u64*)target_page, 0x99);
    *window_entry(2) = region | 5 | pte_large;
    flush_all();
    group_expect("read_only", fault_of(access_write, inside), 3);
    *window_entry(2) = region | 7 | pte_large | 1 << 12;  // PAT, not reserved
    flush_all();
    group_expect("pat_bit12", fault_of(access_read, inside), no_fault);
    group_end();
    *window_entry(2) = region | 7 | pte_large | 1 << 13;
    flush_all();
    check_equal("page_2m_reserved_bit", fault_of(access_read, inside), 9);
    window_set(7);
    if (!(cpuid(0x80000001, 0).edx >> 26 & 1)) {
        check_skip("page_1g");
        check_skip("page_1g_reserved_bit");
        return;
    }
    *(volatile u64*)target_page = 0x55AA;
    *window_entry(3) = 0 | 7 | pte_large;
    flush_all();
    const u64 deep = (WINDOW & ~0x3FFFFFFFull) + (u64)target_page;
    check_equal("page_1g", *(volatile u64*)deep, 0x55AA);
    *window_entry(3) = 0 | 7 | pte_large | 1 << 14;
    flush_all();
    check_equal("page_1g_reserved_bit", fault_of(access_read, deep), 9);
    window_set(7);
}

static void check_global(void) {
    write_cr4(read_cr4() | cr4_pge);
    window_set(7 | pte_global);
    *(volatile u64*)target_page = 1;
    *(volatile u64*)other_page = 2;
    volatile u64* window = (volatile u64*)WINDOW;
    u64 before = *window;
    *window_entry(1) = (u64)other_page | 7 | pte_global;
    write_cr3(read_cr3());
    // The processor may keep a global translation over a CR3 write, and may also have lost it: both are allowed.
    u64 kept = *window;
    invlpg((void*)WINDOW);
    group_begin("global_page");
    group_expect("before", before, 1);
    group_expect("after_cr3", kept == 1 || kept == 2, 1);
    group_expect("after_invlpg", *window, 2);
    *window_entry(1) = (u64)target_page | 7 | pte_global;
    write_cr4(read_cr4() & ~(u64)cr4_pge);
    group_expect("after_pge_toggle", *window, 1);
    group_end();
}

// Two address spaces that differ in the window, switched with the no-flush bit.
static u64 second_pml4[512] ALIGNED(4096),
    second_pdpt[512] ALIGNED(4096), second_pd[512] ALIGNED(4096), second_pt[512] ALIGNED(4096);

static void check_pcid(void) {
    if (!(cpuid(1, 0).ecx >> 17 & 1)) {
        check_skip("pcid");
        check_skip("invpcid");
        return;
    }
    window_set(7);
    *(volatile u64*)target_page = 1;
    *(volatile u64*)other_page = 2;
    memcpy(second_pml4, boot_pml4, sizeof(second_pml4));
    second_pml4[WINDOW >> 39 & 511] = (u64)second_pdpt | 7;
    second_pdpt[WINDOW >> 30 & 511] = (u64)second_pd | 7;
    second_pd[WINDOW >> 21 & 511] = (u64)second_pt | 7;
    second_pt[WINDOW >> 12 & 511] = (u64)other_page | 7;
    const u64 no_flush = 1ull << 63, first = (u64)boot_pml4, second = (u64)second_pml4 | 5;
    volatile u64* window = (volatile u64*)WINDOW;
    write_cr4(read_cr4() | cr4_pcide);
    group_begin("pcid");
    for (u32 round = 0; round < 4; round++) {
        write_cr3(second | no_flush);
        group_expect("second", *window, 2);
        write_cr3(first | no_flush);
        group_expect("first", *window, 1);
    }
    group_expect("cr3_reads_without_bit63", read_cr3(), first);
    write_cr3(second);
    second_pt[WINDOW >> 12 & 511] = (u64)target_page | 7;
    write_cr3(second);  // without bit 63: flushes this PCID
    group_expect("flushing_write", *window, 1);
    write_cr3(first);
    group_end();
    if (structured_features() >> 10 & 1) {
        static struct { u64 pcid, address; } descriptor ALIGNED(16);
        group_begin("invpcid");
        write_cr3(second | no_flush);
        u64 seen = *window;
        write_cr3(first | no_flush);
        second_pt[WINDOW >> 12 & 511] = (u64)other_page | 7;
        descriptor.pcid = 5;
        descriptor.address = WINDOW;
        u64 type = 0;
        __asm__ volatile("invpcid %0, %1" : : "m"(descriptor), "r"(type) : "memory");
        write_cr3(second | no_flush);
        group_expect("before", seen, 1);
        group_expect("after", *window, 2);
        write_cr3(first);
        group_end();
    } else {
        check_skip("invpcid");
    }
    write_cr4(read_cr4() & ~(u64)cr4_pcide);
}

void check_features(void) {
    check_smep();
    check_smap();
    check_large();
    check_global();
    check_pcid();
}
