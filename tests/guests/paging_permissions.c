// 4-level paging: permissions by level, write protect, no-execute, accessed and dirty bits, stale translations.
#include "cpu64.h"
#include "paging.h"
#include "x86.h"

u64 window_pdpt[512] ALIGNED(4096), window_pd[512] ALIGNED(4096), window_pt[512] ALIGNED(4096);
u8 target_page[4096] ALIGNED(4096), other_page[4096] ALIGNED(4096);
extern u64 boot_pml4[512], boot_pdpt[512], boot_pd[2048];

#define DONE "int $0x81"
SNIPPET(access_read, "", "movq (%rdi), %rax", "");
SNIPPET(access_write, "", "movq %rdi, 8(%rdi)", "");
SNIPPET(access_call, "", "call *%rdi", "");
SNIPPET(access_locked, "", "lock addq $0, (%rdi)", "");
SNIPPET(access_bit_test, "", "btq $0, (%rdi)", "");
SNIPPET(user_access_read, "", "movq (%rdi), %rax", DONE);
SNIPPET(user_access_write, "", "movq %rdi, 8(%rdi)", DONE);
SNIPPET(user_access_call, "", "call *%rdi", DONE);

u64* window_entry(u32 level) {
    u64* const tables[] = {NULL, window_pt, window_pd, window_pdpt, boot_pml4};
    return &tables[level][WINDOW >> (12 + 9 * (level - 1)) & 511];
}

void flush_all(void) {
    u64 cr4 = read_cr4();
    write_cr4(cr4 & ~(u64)cr4_pge);
    write_cr3(read_cr3());
    write_cr4(cr4);
}

void window_set(u64 flags) {
    const u64 permissive = pte_present | pte_write | pte_user;
    *window_entry(4) = (u64)window_pdpt | permissive;
    *window_entry(3) = (u64)window_pd | permissive;
    *window_entry(2) = (u64)window_pt | permissive;
    *window_entry(1) = (u64)target_page | flags;
    flush_all();
}

void kernel_is_user(bool user) {
    boot_pml4[0] = user ? boot_pml4[0] | pte_user : boot_pml4[0] & ~(u64)pte_user;
    flush_all();
}

static u64 outcome(bool trapped) {
    const struct cpu* cpu = this_cpu();
    if (!trapped || cpu->trap.vector == vector_user_done) return no_fault;
    if (cpu->trap.vector != vector_pf) return 0x10000 + cpu->trap.vector;
    return cpu->trap.error;
}
u64 fault_of(void* code, u64 address) {
    return outcome(trap_catch(code, address));
}
u64 user_fault_of(void* code, u64 address) {
    return outcome(run_user(code, address));
}

// What each right of a page gives: six accesses, by supervisor and by user.
static void check_rights(void) {
    static const struct {
        const char* name;
        u64 flags;
        u64 read, write, call, user_read, user_write, user_call;
    } cases[] = {
        {"absent", 0, 0, 2, 0x10, 4, 6, 0x14},
        {"supervisor_read_only", 1, no_fault, 3, no_fault, 5, 7, 0x15},
        {"supervisor_writable", 3, no_fault, no_fault, no_fault, 5, 7, 0x15},
        {"user_read_only", 5, no_fault, 3, no_fault, no_fault, 7, no_fault},
        {"user_writable", 7, no_fault, no_fault, no_fault, no_fault, no_fault, no_fault},
        {"supervisor_data", 3 | PTE_NX, no_fault, no_fault, 0x11, 5, 7, 0x15},
        {"user_data", 7 | PTE_NX, no_fault, no_fault, 0x11, no_fault, no_fault, 0x15},
        {"user_constant", 5 | PTE_NX, no_fault, 3, 0x11, no_fault, 7, 0x15},
        {"absent_with_all_other_bits", ~1ull & ~0x000FFFFFFFFFF000ull, 0, 2, 0x10, 4, 6, 0x14},
    };
    for (u32 i = 0; i < ARRAY_LENGTH(cases); i++) {
        window_set(cases[i].flags);
        group_begin(cases[i].name);
        group_expect("read", fault_of(access_read, WINDOW), cases[i].read);
        group_expect("write", fault_of(access_write, WINDOW), cases[i].write);
        group_expect("call", fault_of(access_call, WINDOW), cases[i].call);
        group_expect("user_read", user_fault_of(user_access_read, WINDOW), cases[i].user_read);
        group_expect("user_write", user_fault_of(user_access_write, WINDOW), cases[i].user_write);
        group_expect("user_call", user_fault_of(user_access_call, WINDOW), cases[i].user_call);
        group_end();
    }
}

// A right withheld at any level is withheld.
static void check_levels(void) {
    static const char* const names[] = {"", "level1", "level2", "level3", "level4"};
    for (u32 level = 4; level >= 1; level--) {
        group_begin(names[level]);
        window_set(7);
        u64* entry = window_entry(level);
        const u64 whole = *entry;
        *entry = whole & ~(u64)pte_present;
        flush_all();
        group_expect("absent", fault_of(access_read, WINDOW), 0);
        *entry = whole & ~(u64)pte_write;
        flush_all();
        group_expect("read_only", fault_of(access_write, WINDOW), 3);
        *entry = whole & ~(u64)pte_user;
        flush_all();
        group_expect("supervisor", user_fault_of(user_access_read, WINDOW), 5);
        *entry = whole | PTE_NX;
        flush_all();
        group_expect("no_execute", fault_of(access_call, WINDOW), 0x11);
        group_expect("no_execute_read", fault_of(access_read, WINDOW), no_fault);
        *entry = whole;
        flush_all();
        group_expect("whole_again", fault_of(access_write, WINDOW), no_fault);
        group_end();
    }
    // A reserved bit is only looked at in a present entry, so P goes with it in the error code.
    static const char* const reserved_names[] = {"", "reserved1", "reserved2", "reserved3", "reserved4"};
    for (u32 level = 4; level >= 1; level--) {
        window_set(7);
        *window_entry(level) |= 1ull << 51;
        flush_all();
        group_begin(reserved_names[level]);
        group_expect("read", fault_of(access_read, WINDOW), 9);
        group_expect("write", fault_of(access_write, WINDOW), 11);
        group_expect("user", user_fault_of(user_access_read, WINDOW), 13);
        group_end();
    }
    window_set(7);
    *window_entry(4) |= pte_large;
    flush_all();
    check_equal("large_bit_in_pml4e_is_reserved", fault_of(access_read, WINDOW), 9);
}

static void check_write_protect_and_nxe(void) {
    window_set(1);
    write_cr0(read_cr0() & ~(u64)cr0_wp);
    check_equal("wp_off_supervisor_writes", fault_of(access_write, WINDOW), no_fault);
    window_set(5);
    check_equal("wp_off_user_does_not", user_fault_of(user_access_write, WINDOW), 7);
    write_cr0(read_cr0() | cr0_wp);
    window_set(5);
    check_equal("wp_on", fault_of(access_write, WINDOW), 3);

    window_set(7);
    wrmsr(msr_efer, rdmsr(msr_efer) & ~(u64)efer_nxe);
    *window_entry(1) |= PTE_NX;
    flush_all();
    check_equal("nxe_off_makes_bit63_reserved", fault_of(access_read, WINDOW), 9);
    *window_entry(1) &= ~PTE_NX;
    flush_all();
    check_equal("nxe_off_fetch_fault_has_no_id_bit",
                (*window_entry(1) &= ~1ull, flush_all(), fault_of(access_call, WINDOW)), 0);
    wrmsr(msr_efer, rdmsr(msr_efer) | efer_nxe);
}

// Accessed bits in every level, dirty only in the last and only by a write.
static void check_accessed_dirty(void) {
    window_set(7);
    group_begin("read_sets_accessed");
    group_expect("fault", fault_of(access_read, WINDOW), no_fault);
    for (u32 level = 1; level <= 4; level++) {
        group_expect("accessed", *window_entry(level) & (pte_accessed | pte_dirty), pte_accessed);
    }
    group_end();
    group_begin("write_after_read_sets_dirty");
    group_expect("fault", fault_of(access_write, WINDOW), no_fault);
    group_expect("pte", *window_entry(1) & (pte_accessed | pte_dirty), pte_accessed | pte_dirty);
    group_expect("pde", *window_entry(2) & (pte_accessed | pte_dirty), pte_accessed);
    group_end();
    window_set(7);
    group_begin("locked_access_sets_dirty");
    group_expect("fault", fault_of(access_locked, WINDOW), no_fault);
    group_expect("pte", *window_entry(1) & pte_dirty, pte_dirty);
    group_end();
    window_set(7);
    group_begin("bit_test_does_not");
    group_expect("fault", fault_of(access_bit_test, WINDOW), no_fault);
    group_expect("pte", *window_entry(1) & (pte_accessed | pte_dirty), pte_accessed);
    group_end();
    window_set(3);
    group_begin("refused_access_leaves_pte");
    group_expect("fault", user_fault_of(user_access_write, WINDOW), 7);
    group_expect("pte", *window_entry(1) & pte_dirty, 0);
    group_end();
    window_set(1);
    group_begin("refused_write_leaves_dirty");
    group_expect("fault", fault_of(access_write, WINDOW), 3);
    group_expect("pte", *window_entry(1) & pte_dirty, 0);
    group_end();
    window_set(7);
    group_begin("fetch_sets_accessed");
    group_expect("fault", fault_of(access_call, WINDOW), no_fault);
    group_expect("pte", *window_entry(1) & (pte_accessed | pte_dirty), pte_accessed | 0);
    group_end();
}

// INVLPG drops one page; a present entry made from an absent one needs no flush.
static void check_stale(void) {
    window_set(7);
    *(volatile u64*)target_page = 0xAAAA;
    *(volatile u64*)other_page = 0xBBBB;
    volatile u64* window = (volatile u64*)WINDOW;
    group_begin("invlpg");
    group_expect("before", *window, 0xAAAA);
    *window_entry(1) = (u64)other_page | 7;
    invlpg((void*)WINDOW);
    group_expect("after", *window, 0xBBBB);
    group_end();
    group_begin("cr3_write");
    *window_entry(1) = (u64)target_page | 7;
    write_cr3(read_cr3());
    group_expect("after", *window, 0xAAAA);
    group_end();
    group_begin("absent_is_never_cached");
    *window_entry(1) = 0;
    invlpg((void*)WINDOW);
    group_expect("absent", fault_of(access_read, WINDOW), 0);
    *window_entry(1) = (u64)other_page | 7;
    group_expect("present", *window, 0xBBBB);
    group_end();
    group_begin("write_right_after_fault");
    *window_entry(1) = (u64)target_page | 5;
    invlpg((void*)WINDOW);
    group_expect("read", *window, 0xAAAA);
    group_expect("refused", fault_of(access_write, WINDOW), 3);
    *window_entry(1) |= pte_write;  // a fault drops the stale entry (SDM vol. 3 §4.10.4.1)
    group_expect("granted", fault_of(access_write, WINDOW), no_fault);
    group_end();
    *(volatile u64*)target_page = 0xC3C3C3C3C3C3C3C3;
}

static void check_page_crossing(void) {
    window_set(7);
    window_pt[(WINDOW >> 12 & 511) + 1] = 0;
    invlpg((void*)(WINDOW + 4096));
    group_begin("crossing_read_second_page_absent");
    group_expect("error", fault_of(access_read, WINDOW + 4092), 0);
    group_expect("cr2", this_cpu()->trap_cr2, WINDOW + 4096);
    group_end();
    memset(target_page + 4080, 0x11, 16);
    group_begin("crossing_write_second_page_absent");
    group_expect("error", fault_of(access_write, WINDOW + 4084), 2);  // writes at +8
    group_expect("cr2", this_cpu()->trap_cr2, WINDOW + 4096);
    group_expect("first_part_untouched", *(u32*)(target_page + 4092), 0x11111111);
    group_end();
}

void guest_main(void) {
    guest_begin("paging_permissions");
    memset(target_page, 0xC3, sizeof(target_page));  // RET everywhere
    memset(other_page, 0xC3, sizeof(other_page));
    check_rights();
    check_levels();
    check_write_protect_and_nxe();
    check_accessed_dirty();
    check_stale();
    check_page_crossing();
    check_features();
    guest_end();
}
