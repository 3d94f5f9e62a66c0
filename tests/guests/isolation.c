// One of two neighbours (`id=1`, `id=2`): fills its memory with a pattern of its own, then tries to reach anybody
// else's, by address, by page tables, by overlay pages and by hypercall, and looks whether its own is still whole.
// `rounds=` times. Nothing is mapped outside its memory, so a read there gives ones (or zeros) or traps; any other
// value is a leak.
#include "cpu64.h"
#include "hyperv.h"
#include "map.h"
#include "x86.h"

enum { mib = 1 << 20, writable = 3 };
#define WINDOW 0x0000400000000000ull
#define DEVICES_FROM 0xE0000000ull  // up to 4 GiB: interrupt controllers and other devices

static u64 id, memory_end, pattern_start, pattern_end;
static u64 pattern_at(u64 address) {
    return (address ^ id << 56 ^ 0x5EC2E7) * 0x9E3779B97F4A7C15;
}

static void fill_own(void) {
    for (u64 address = pattern_start; address < pattern_end; address += 8)
        *(volatile u64*)address = pattern_at(address);
}
static u64 wrong_own(void) {
    u64 wrong = 0;
    for (u64 address = pattern_start; address < pattern_end; address += 8) {
        wrong += *(volatile u64*)address != pattern_at(address);
    }
    return wrong;
}

SNIPPET(peek, "", "movq (%rdi), %rax", "movq %rax, peeked");
SNIPPET(poke, "movabsq $0x5715BADBADBAD157, %rax", "movq %rax, (%rdi)", "");
u64 peeked;
static u32 probes, leaks;
static u64 leaked_at;

static void probe_value(u64 physical, bool trapped) {
    probes++;
    if (trapped || peeked == 0 || peeked == ~0ull) return;
    if (!leaks++) leaked_at = physical;
}

// Reads, writes and reads again what the page tables say is at `physical`.
static void probe(u64 physical) {
    map_page(WINDOW, physical & ~0xFFFull, writable);
    const u64 address = WINDOW + (physical & 0xFF8);
    probe_value(physical, trap_catch(peek, address));
    trap_catch(poke, address);
    probe_value(physical, trap_catch(peek, address));
    map_page(WINDOW, 0, 0);
}

static void expect_no_leaks(const char* name) {
    group_begin(name);
    group_expect("probed", probes > 0, 1);
    group_expect("leaks", leaks, 0);
    group_expect("at", leaked_at, 0);
    group_expect("own_memory", wrong_own(), 0);
    group_end();
    probes = leaks = 0;
    leaked_at = 0;
}

static u32 address_bits(void) {
    u32 bits = cpuid(0x80000000, 0).eax >= 0x80000008 ? cpuid(0x80000008, 0).eax & 0xFF : 36;
    return bits > 52 ? 52 : bits;
}

static void probe_addresses(void) {
    probe(memory_end);
    for (u64 physical = (memory_end + mib - 1) & ~(u64)(mib - 1); physical < DEVICES_FROM; physical += 4 * mib) {
        probe(physical + 0x10);
    }
    expect_no_leaks("below_4g");
    for (u64 physical = 1ull << 32; physical < 1ull << 36; physical += 512ull * mib) probe(physical);
    for (u32 bit = 33; bit < address_bits(); bit++) {
        probe(1ull << bit);
        probe((1ull << bit) - 4096 + 0xFF8);
        probe((1ull << bit) + memory_end / 2);
    }
    probe((1ull << address_bits()) - 8);
    expect_no_leaks("above_4g");
    // What lies beyond the physical address width is a reserved bit.
    if (address_bits() < 52) {
        map_page(WINDOW, 1ull << address_bits(), writable);
        check_that("beyond_width_faults", trap_catch(peek, WINDOW) && (this_cpu()->trap.error & 8));
        map_page(WINDOW, 0, 0);
    } else {
        check_skip("beyond_width_faults");
    }
}

// Overlay pages put where the neighbour's memory might be.
static void overlay_pages(void) {
    if (!hv_present()) {
        check_skip("overlays");
        return;
    }
    static const u32 msrs[] = {hv_msr_reference_tsc, hv_msr_vp_assist, hv_msr_simp, hv_msr_siefp, hv_msr_hypercall};
    extern void isolation_write_msr(void);
    wrmsr(hv_msr_guest_os_id, HV_GUEST_OS_ID);
    for (u32 i = 0; i < ARRAY_LENGTH(msrs); i++) {
        u64 argument[2] = {msrs[i], (memory_end + 16 * mib) | 1};
        trap_catch(isolation_write_msr, (u64)argument);
        argument[1] = (1ull << 40) | 1;
        trap_catch(isolation_write_msr, (u64)argument);
        argument[1] = 0;
        trap_catch(isolation_write_msr, (u64)argument);
    }
    check_equal("overlays", wrong_own(), 0);
}
__asm__(
    ".text\n.globl isolation_write_msr\n"
    "isolation_write_msr: movl (%rdi), %ecx\n movl 8(%rdi), %eax\n movl 12(%rdi), %edx\n wrmsr\n ret\n");

static u64 input[512] ALIGNED(4096), output[512] ALIGNED(4096);

// The calls of a root, made by a child: on itself, on its root, on its neighbours. None may succeed or write a result.
static void forbidden_calls(void) {
    if (!hv_set_up_hypercalls()) {
        for (u32 i = 0; i < 3; i++) check_skip("hypercalls");
        return;
    }
    static const struct {
        u16 code;
        bool rep;
    } calls[] = {
        {0x40, false}, {0x41, false}, {0x42, false}, {0x43, false}, {0x44, false}, {0x45, false}, {0x47, false},
        {0x48, true},  {0x49, true},  {0x4A, false}, {0x4B, true},  {0x4C, true},  {0x4D, false}, {0x4E, false},
        {0x4F, false}, {0x52, false}, {0x53, false}, {0x54, false}, {0x56, false}, {0x58, false}, {0x5B, false},
        {0x6E, true},  {0x7B, false}, {0x7C, false}, {0x7D, false}, {0x82, false}, {0x83, false}, {0x91, false},
        {0x94, false}, {0x95, false}, {0x96, false}, {0xE3, false}, {0xE4, false},
    };
    u32 allowed = 0, first_allowed = 0, written = 0;
    for (u64 partition = 0; partition <= 12; partition++) {
        for (u32 i = 0; i < ARRAY_LENGTH(calls); i++) {
            memset(input, 0, sizeof(input));
            memset(output, 0xA5, sizeof(output));
            input[0] = partition == 12 ? HV_SELF_PARTITION : partition;
            input[2] = 0x8;  // a page number or a size, as the call takes it
            input[3] = 0x100;
            u64 result = hv_call(calls[i].code | (calls[i].rep ? HV_REPS(1, 0) : 0), (u64)input, (u64)output);
            if (HV_STATUS(result) == hv_success) {
                if (!allowed++) first_allowed = calls[i].code;
            }
            for (u32 n = 0; n < 512; n++) written += output[n] != 0xA5A5A5A5A5A5A5A5;
        }
    }
    group_begin("management_calls_denied");
    group_expect("first_allowed", first_allowed, 0);
    group_expect("allowed", allowed, 0);
    group_expect("written", written, 0);
    group_end();

    // Registers of other partitions and of processors that are not there.
    group_begin("foreign_registers_denied");
    for (u64 partition = 0; partition < 12; partition++) {
        for (u32 code = 0x50; code <= 0x51; code++) {
            memset(input, 0, sizeof(input));
            memset(output, 0xA5, sizeof(output));
            input[0] = partition;
            input[2] = 0x00020010;  // RIP
            u64 result = hv_call(code | HV_REPS(1, 0), (u64)input, (u64)output);
            bool own = HV_STATUS(result) == hv_success && (hv_ebx() >> 17 & 1) && (hv_ebx() >> 1 & 1);
            group_expect("status", HV_STATUS(result) != hv_success || own, 1);
            if (!own) group_expect("output", output[0], 0xA5A5A5A5A5A5A5A5);
        }
    }
    group_end();

    // Input and output where this guest has no memory.
    group_begin("foreign_parameters_refused");
    const u64 foreign[] = {memory_end, memory_end + 64 * mib, 1ull << 32, 1ull << 40, ~0xFFFull};
    for (u32 i = 0; i < ARRAY_LENGTH(foreign); i++) {
        group_expect("post_input", HV_STATUS(hv_call(0x5C, foreign[i], 0)) != hv_success, 1);
        group_expect("ipi_input", HV_STATUS(hv_call(0x15, foreign[i], 0)) != hv_success, 1);
        hv_call(0x46, 0, foreign[i]);
        hv_call(0x50 | HV_REPS(1, 0), (u64)input, foreign[i]);
        const u64 probed = foreign[i] & 0xFFFFFFFFFF;
        if (probed >= memory_end) probe(probed);  // what wraps around is the guest's own
    }
    group_expect("leaks", leaks, 0);
    group_end();
    probes = leaks = 0;
}

void guest_main(void) {
    guest_begin("isolation");
    id = option("id", 1);
    const u32 rounds = (u32)option("rounds", 3);
    // The map may leave out what firmware keeps for itself at the end of memory; `memory=` is the whole of it.
    memory_end = option("memory", memory_bytes()) & ~0xFFFull;
    const u64 usable_end = memory_bytes() & ~0xFFFull;
    pattern_start = ((u64)image_end + 0xFFFF) & ~0xFFFFull;
    // What the loader put above the image stays clear of the pattern.
    const bool above = entry_state.info >= pattern_start && entry_state.info < usable_end;
    pattern_end = above ? entry_state.info & ~0xFFFFull : usable_end;
    check_that("memory", pattern_end > pattern_start + mib);
    fill_own();
    for (u32 round = 0; round < rounds; round++) {
        check_equal("own_memory", wrong_own(), 0);
        probe_addresses();
        overlay_pages();
        forbidden_calls();
        print("guest isolation: round %u of %u\n", round + 1, rounds);
    }
    check_equal("own_memory_at_the_end", wrong_own(), 0);
    guest_end();
}
