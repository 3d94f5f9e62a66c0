// x87 and SSE state: saved and restored whole, kept across interrupts, context switches and processors; lazy switching
// by #NM; numeric exceptions.
#include "apic.h"
#include "cpu64.h"
#include "smp.h"
#include "x86.h"

void load_xmm(const void*cells), store_xmm(void*cells), save_fx(void*area), restore_fx(const void*area);
void x87_sum(const double*a, const double*b, double*sum), x87_stack_of_eight(void), x87_control(u16 word);

SNIPPET(use_x87, "", "fldz", "fstp %st(0)");
SNIPPET(use_sse, "", "xorps %xmm0, %xmm0", "");
SNIPPET(use_mmx, "", "pxor %mm0, %mm0", "emms");
SNIPPET(use_wait, "", "fwait", "");
SNIPPET(use_fxsave, "", "fxsave64 fx_scratch", "");
SNIPPET(x87_divide_by_zero, "fninit\n movw $0x37B, fx_word\n fldcw fx_word\n fld1\n fldz\n fdivrp", "fwait", "");
SNIPPET(x87_masked_divide, "fninit\n fld1\n fldz\n fdivrp", "fwait", "fnstsw %ax\n movw %ax, fx_word");
SNIPPET(sse_masked_divide, "movl $0x1F80, fx_word\n ldmxcsr fx_word\n xorps %xmm1, %xmm1\n movaps fx_ones, %xmm0",
        "divps %xmm1, %xmm0", "stmxcsr fx_word");
SNIPPET(save_unaligned, "", "fxsave64 fx_scratch + 8", "");
u8 fx_scratch[1024] ALIGNED(64);
u32 fx_word;
const u32 fx_ones[4] ALIGNED(16) = {0x3F800000, 0x3F800000, 0x3F800000, 0x3F800000};

static u8 cells[256] ALIGNED(16), seen[256] ALIGNED(16);
static u8 area_a[512] ALIGNED(16), area_b[512] ALIGNED(16), area_c[512] ALIGNED(16);

static void fill(u8* to, u32 size, u32 seed) {
    for (u32 i = 0; i < size; i++) to[i] = (u8)((seed += 0x9E3779B9) >> 24);
}

static void check_save_restore(void) {
    fill(cells, sizeof(cells), 1);
    load_xmm(cells);
    store_xmm(seen);
    check_equal("xmm_load_store", (u64)memcmp(cells, seen, sizeof(cells)), 0);

    x87_stack_of_eight();
    save_fx(area_a);
    group_begin("fxsave_image");
    group_expect("control", *(u16*)area_a, 0x37F);
    group_expect("tag", area_a[4], 0xFF);
    group_expect("mxcsr", *(u32*)(area_a + 24), 0x1F80);
    group_expect("st0_is_one", *(u64*)(area_a + 32), 0x8000000000000000);
    group_expect("st0_exponent", *(u16*)(area_a + 40), 0x3FFF);
    group_expect("st4_is_pi", *(u64*)(area_a + 32 + 4 * 16), 0xC90FDAA22168C235);
    group_expect("xmm", (u64)memcmp(area_a + 160, cells, 256), 0);
    group_end();

    memset(seen, 0, sizeof(seen));
    load_xmm(seen);
    __asm__ volatile("fninit");
    restore_fx(area_a);
    save_fx(area_b);
    check_equal("fxrstor_brings_all_back", (u64)memcmp(area_a + 24, area_b + 24, 416 - 24), 0);
    check_equal("fxrstor_tag", area_b[4], 0xFF);
    __asm__ volatile("fninit");
    save_fx(area_b);
    group_begin("fninit");
    group_expect("control", *(u16*)area_b, 0x37F);
    group_expect("status", *(u16*)(area_b + 2), 0);
    group_expect("tag", area_b[4], 0);
    group_end();
    static const double a = 1.5, b = 2.25;
    static double sum;
    x87_sum(&a, &b, &sum);
    check_equal("x87_adds", *(u64*)&sum, 0x400E000000000000);
}

static void check_not_available(void) {
    write_cr0(read_cr0() | cr0_ts | cr0_mp);
    check_trap("ts_x87", use_x87, 0, vector_nm, 0, use_x87_at);
    check_trap("ts_sse", use_sse, 0, vector_nm, 0, use_sse_at);
    check_trap("ts_mmx", use_mmx, 0, vector_nm, 0, use_mmx_at);
    check_trap("ts_wait_with_mp", use_wait, 0, vector_nm, 0, use_wait_at);
    check_trap("ts_fxsave", use_fxsave, 0, vector_nm, 0, use_fxsave_at);
    write_cr0(read_cr0() & ~(u64)cr0_mp);
    check_that("ts_wait_without_mp", !trap_catch(use_wait, 0));
    write_cr0(read_cr0() | cr0_mp);
    __asm__ volatile("clts");
    check_that("clts", !(read_cr0() & cr0_ts) && !trap_catch(use_x87, 0));
    write_cr0(read_cr0() | cr0_em);
    check_trap("em_x87", use_x87, 0, vector_nm, 0, use_x87_at);
    check_trap("em_sse", use_sse, 0, vector_ud, 0, use_sse_at);
    write_cr0(read_cr0() & ~(u64)cr0_em);
    write_cr4(read_cr4() & ~(u64)cr4_osfxsr);
    check_trap("osfxsr_off_sse", use_sse, 0, vector_ud, 0, use_sse_at);
    write_cr4(read_cr4() | cr4_osfxsr);
}

static void check_numeric_exceptions(void) {
    write_cr0(read_cr0() | cr0_ne);
    check_trap("mf", x87_divide_by_zero, 0, vector_mf, 0, x87_divide_by_zero_at);
    __asm__ volatile("fnclex; fninit");
    group_begin("x87_masked");
    group_expect("trapped", trap_catch(x87_masked_divide, 0), 0);
    group_expect("zero_divide_flag", fx_word & 4, 4);
    group_end();
    __asm__ volatile("fnclex; fninit");
    write_cr4(read_cr4() | cr4_osxmmexcpt);
    group_begin("sse_masked");
    group_expect("trapped", trap_catch(sse_masked_divide, 0), 0);
    group_expect("mxcsr", fx_word, 0x1F84);
    group_end();
    check_trap("fxsave_unaligned", save_unaligned, 0, vector_gp, 0, save_unaligned_at);
    fx_word = 0x1F80;
    __asm__ volatile("ldmxcsr fx_word");
}

// A context switch as a kernel does it: lazily, on #NM, between two tasks that hold different state.
static u8* task_areas[2];
static u32 owner, current, switches;
static void switch_lazily(struct trap_frame* frame) {
    (void)frame;
    __asm__ volatile("clts");
    save_fx(task_areas[owner]);
    restore_fx(task_areas[current]);
    owner = current;
    switches++;
}

static void check_lazy_switch(void) {
    static u8 of_task[2][256] ALIGNED(16);
    task_areas[0] = area_b;
    task_areas[1] = area_c;
    __asm__ volatile("fninit");
    for (u32 i = 0; i < 2; i++) {
        fill(of_task[i], 256, 100 + i);
        load_xmm(of_task[i]);
        save_fx(task_areas[i]);
    }
    owner = 1;
    set_handler(vector_nm, switch_lazily);
    group_begin("lazy_switch");
    for (u32 i = 0; i < 20; i++) {
        current = i & 1;
        write_cr0(read_cr0() | cr0_ts);
        store_xmm(seen);
        group_expect("state", (u64)memcmp(seen, of_task[current], 256), 0);
    }
    group_expect("switches", switches, 20);
    group_end();
    set_handler(vector_nm, NULL);
}

// Interrupts, whose handler itself destroys the registers and puts them back, and other processors that hold other
// values.
enum { vector_disturb = 0x60 };
static volatile u32 disturbances;
static void disturb(struct trap_frame* frame) {
    (void)frame;
    static u8 kept[512] ALIGNED(16), junk[256] ALIGNED(16);
    save_fx(kept);
    fill(junk, sizeof(junk), disturbances);
    load_xmm(junk);
    __asm__ volatile("fninit");
    restore_fx(kept);
    disturbances++;
    apic_end_of_interrupt();
}

static volatile u32 others_ready, others_wrong, others_done, stop;
static void hold_state(struct cpu* cpu) {
    u8 mine[256] ALIGNED(16), now[256] ALIGNED(16);
    write_cr4(read_cr4() | cr4_osfxsr | cr4_osxmmexcpt);
    fill(mine, sizeof(mine), 1000 + cpu->index);
    load_xmm(mine);
    x87_control((u16)(0x37F & ~(cpu->index << 8)));
    atomic_add(&others_ready, 1);
    for (u32 round = 0; !stop; round++) {
        store_xmm(now);
        if (memcmp(mine, now, 256)) atomic_add(&others_wrong, 1);
        if ((round & 15) == 0) cpuid(0, 0);  // leaves the guest now and then
    }
    u16 control = 0;
    __asm__ volatile("fnstcw %0" : "=m"(control));
    if (control != (u16)(0x37F & ~(cpu->index << 8))) atomic_add(&others_wrong, 1);
    atomic_add(&others_done, 1);
}

static void check_interrupted(void) {
    set_handler(vector_disturb, disturb);
    fill(cells, sizeof(cells), 77);
    load_xmm(cells);
    x87_stack_of_eight();
    save_fx(area_a);
    apic_write(apic_timer_divide, divide_by_1);
    apic_write(apic_lvt_timer, vector_disturb | lvt_periodic);
    apic_write(apic_timer_initial, 50021);
    sti();
    u32 wrong = 0;
    while (disturbances < 200) {
        store_xmm(seen);
        wrong += memcmp(cells, seen, sizeof(cells)) != 0;
    }
    cli();
    apic_write(apic_timer_initial, 0);
    save_fx(area_b);
    group_begin("kept_over_interrupts");
    group_expect("wrong", wrong, 0);
    group_expect("image", (u64)memcmp(area_a + 24, area_b + 24, 416 - 24), 0);
    group_end();

    const u32 count = smp_count();
    check_that("others_started", count > 1 && smp_start(count, hold_state) && wait_for(&others_ready, count - 1));
    load_xmm(cells);
    wrong = 0;
    for (u32 i = 0; i < 20000; i++) {
        store_xmm(seen);
        wrong += memcmp(cells, seen, sizeof(cells)) != 0;
    }
    stop = 1;
    group_begin("kept_beside_other_processors");
    group_expect("done", wait_for(&others_done, count - 1), 1);
    group_expect("own_wrong", wrong, 0);
    group_expect("others_wrong", others_wrong, 0);
    group_end();
}

void guest_main(void) {
    guest_begin("fpu_sse");
    write_cr0((read_cr0() & ~(u64)(cr0_em | cr0_ts)) | cr0_mp | cr0_ne);
    write_cr4(read_cr4() | cr4_osfxsr | cr4_osxmmexcpt);
    apic_set_up_best();
    check_save_restore();
    check_not_available();
    check_numeric_exceptions();
    check_lazy_switch();
    check_interrupted();
    guest_end();
}
