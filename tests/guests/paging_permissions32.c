// The two page-table formats of 32-bit protected mode: two-level with 4 MiB pages, and PAE with 2 MiB pages and
// no-execute.
#include "cpu32.h"
#include "x86.h"

enum {
    window = 0x80401000,  // directory entry 0x201, table entry 1
    pte_accessed = 0x20,
    pte_dirty = 0x40,
    pte_large = 0x80,
    no_fault = 0x1000,
};
#define PTE_NX (1ull << 63)

static u32 directory[1024] ALIGNED(4096), table[1024] ALIGNED(4096);
static u64 pae_pointers[4] ALIGNED(32), pae_directories[4][512] ALIGNED(4096), pae_table[512] ALIGNED(4096);
static u8 target_page[4096] ALIGNED(4096), other_page[4096] ALIGNED(4096);

#define DONE "int $0x81"
SNIPPET(access_read, "", "movl (%eax), %edx", "");
SNIPPET(access_write, "", "movl %eax, 4(%eax)", "");
SNIPPET(access_call, "", "call *%eax", "");
SNIPPET(user_read, "", "movl (%eax), %edx", DONE);
SNIPPET(user_write, "", "movl %eax, 4(%eax)", DONE);
SNIPPET(load_cr3_pae, "", "movl %eax, %cr3", "");

static u32 outcome(bool trapped) {
    if (!trapped || trap.frame.vector == vector_user_done) return no_fault;
    if (trap.frame.vector != vector_pf) return 0x10000 + trap.frame.vector;
    return trap.frame.error;
}
static u32 fault_of(void* code, u32 address) {
    return outcome(trap_catch(code, address));
}
static u32 user_fault_of(void* code, u32 address) {
    return outcome(run_user(code, address));
}
static void flush(void) {
    write_cr3(read_cr3());
}

struct rights {
    const char* name;
    u64 flags;
    u32 read, write, user_read, user_write;
};
static const struct rights two_level[] = {
    {"two_level_absent", 0, 0, 2, 4, 6},
    {"two_level_supervisor_read_only", 1, no_fault, 3, 5, 7},
    {"two_level_supervisor_writable", 3, no_fault, no_fault, 5, 7},
    {"two_level_user_read_only", 5, no_fault, 3, no_fault, 7},
    {"two_level_user_writable", 7, no_fault, no_fault, no_fault, no_fault},
};
static const struct rights pae[] = {
    {"pae_absent", 0, 0, 2, 4, 6},
    {"pae_supervisor_read_only", 1, no_fault, 3, 5, 7},
    {"pae_supervisor_writable", 3, no_fault, no_fault, 5, 7},
    {"pae_user_read_only", 5, no_fault, 3, no_fault, 7},
    {"pae_user_writable", 7, no_fault, no_fault, no_fault, no_fault},
    {"pae_user_data", 7 | PTE_NX, no_fault, no_fault, no_fault, no_fault},
};

static void check_rights(const struct rights* r, void (*set)(u64)) {
    set(r->flags);
    group_begin(r->name);
    group_expect("read", fault_of(access_read, window), r->read);
    group_expect("write", fault_of(access_write, window), r->write);
    group_expect("user_read", user_fault_of(user_read, window), r->user_read);
    group_expect("user_write", user_fault_of(user_write, window), r->user_write);
    group_end();
}

static void set_two_level(u64 flags) {
    directory[window >> 22] = (u32)table | 7;
    table[window >> 12 & 1023] = (u32)target_page | (u32)flags;
    flush();
}

static void check_two_level(void) {
    for (u32 i = 0; i < 1024; i++) directory[i] = i << 22 | 7 | pte_large;
    write_cr4(read_cr4() | cr4_pse);
    write_cr3((u32)directory);
    write_cr0(read_cr0() | CR0_PG | cr0_wp);
    for (u32 i = 0; i < ARRAY_LENGTH(two_level); i++) check_rights(&two_level[i], set_two_level);

    set_two_level(7);
    group_begin("two_level_accessed_dirty");
    group_expect("read", fault_of(access_read, window), no_fault);
    group_expect("pde", directory[window >> 22] & pte_accessed, pte_accessed);
    group_expect("pte", table[window >> 12 & 1023] & (pte_accessed | pte_dirty), pte_accessed);
    group_expect("write", fault_of(access_write, window), no_fault);
    group_expect("pte", table[window >> 12 & 1023] & (pte_accessed | pte_dirty), pte_accessed | pte_dirty);
    group_end();

    directory[window >> 22] = (u32)table | 5;
    flush();
    check_equal("two_level_directory_read_only", fault_of(access_write, window), 3);
    write_cr0(read_cr0() & ~(u32)cr0_wp);
    check_equal("two_level_wp_off", fault_of(access_write, window), no_fault);
    write_cr0(read_cr0() | cr0_wp);

    *(volatile u32*)target_page = 0x12345678;
    directory[window >> 22] = ((u32)target_page & 0xFFC00000) | 7 | pte_large;
    flush();
    const u32 inside = (window & 0xFFC00000) + ((u32)target_page & 0x3FFFFF);
    check_equal("page_4m", *(volatile u32*)inside, 0x12345678);
    check_equal("page_4m_accessed", directory[window >> 22] & (pte_accessed | pte_dirty), pte_accessed);
    *(volatile u32*)inside = 1;
    check_equal("page_4m_dirty", directory[window >> 22] & pte_dirty, pte_dirty);
    directory[window >> 22] = ((u32)target_page & 0xFFC00000) | 7 | pte_large | 1 << 21;
    flush();
    check_equal("page_4m_reserved_bit", fault_of(access_read, inside), 9);

    set_two_level(7);
    *(volatile u32*)target_page = 1;
    *(volatile u32*)other_page = 2;
    u32 before = *(volatile u32*)window;
    table[window >> 12 & 1023] = (u32)other_page | 7;
    invlpg((void*)window);
    group_begin("two_level_invlpg");
    group_expect("before", before, 1);
    group_expect("after", *(volatile u32*)window, 2);
    group_end();
    write_cr0(read_cr0() & ~CR0_PG);
    check_equal("paging_off_again", *(volatile u32*)target_page, 1);
}

static void set_pae(u64 flags) {
    pae_directories[window >> 30][window >> 21 & 511] = (u32)pae_table | 7;
    pae_table[window >> 12 & 511] = (u32)target_page | flags;
    flush();
}

static void check_pae(void) {
    for (u32 i = 0; i < 2048; i++) pae_directories[i >> 9][i & 511] = (u64)i << 21 | 7 | pte_large;
    for (u32 i = 0; i < 4; i++) pae_pointers[i] = (u32)pae_directories[i] | 1;
    memset(target_page, 0xC3, sizeof(target_page));
    wrmsr(msr_efer, rdmsr(msr_efer) | efer_nxe);
    write_cr4(read_cr4() | cr4_pae);
    write_cr3((u32)pae_pointers);
    write_cr0(read_cr0() | CR0_PG | cr0_wp);
    check_equal("pae_not_long_mode", rdmsr(msr_efer) & efer_lma, 0);
    for (u32 i = 0; i < ARRAY_LENGTH(pae); i++) check_rights(&pae[i], set_pae);

    memset(target_page, 0xC3, sizeof(target_page));
    set_pae(7);
    check_equal("pae_execute", fault_of(access_call, window), no_fault);
    set_pae(7 | PTE_NX);
    check_equal("pae_no_execute", fault_of(access_call, window), 0x11);
    set_pae(7);
    pae_directories[window >> 30][window >> 21 & 511] |= PTE_NX;
    flush();
    check_equal("pae_no_execute_directory", fault_of(access_call, window), 0x11);
    set_pae(7);
    group_begin("pae_accessed_dirty");
    group_expect("write", fault_of(access_write, window), no_fault);
    group_expect("pte", pae_table[window >> 12 & 511] & (pte_accessed | pte_dirty), pte_accessed | pte_dirty);
    group_expect("pde", pae_directories[window >> 30][window >> 21 & 511] & pte_accessed, pte_accessed);
    group_end();
    check_equal("pae_pointer_has_no_accessed_bit", pae_pointers[window >> 30], (u32)pae_directories[window >> 30] | 1);

    *(volatile u32*)target_page = 0x1234;
    pae_directories[window >> 30][window >> 21 & 511] = ((u32)target_page & 0xFFE00000) | 7 | pte_large;
    flush();
    const u32 inside = (window & 0xFFE00000) + ((u32)target_page & 0x1FFFFF);
    check_equal("pae_page_2m", *(volatile u32*)inside, 0x1234);
    set_pae(7);
    pae_table[window >> 12 & 511] |= 1ull << 62;
    flush();
    check_equal("pae_reserved_bit", fault_of(access_read, window), 9);
    set_pae(7);
    // The four pointers are registers, loaded when CR3 is written: absent ones fault, ones with reserved bits refuse
    // the load.
    pae_pointers[window >> 30] &= ~1ull;
    flush();
    check_equal("pae_pointer_absent", fault_of(access_read, window), 0);
    pae_pointers[window >> 30] |= 1;
    flush();
    pae_pointers[window >> 30] |= 2;
    check_trap("pae_pointer_reserved", load_cr3_pae, (u32)pae_pointers, vector_gp, 0, load_cr3_pae_at);
    pae_pointers[window >> 30] &= ~2ull;
    flush();
    write_cr0(read_cr0() & ~CR0_PG);
    write_cr4(read_cr4() & ~(u32)cr4_pae);
}

void guest_main(void) {
    guest_begin("paging_permissions32");
    check_two_level();
    check_pae();
    guest_end();
}
