// What the random guest does: choosing an action, and doing it.
#include "apic.h"
#include "cpu64.h"
#include "hyperv.h"
#include "random_guest.h"
#include "x86.h"

static const struct {
    u32 first, count;
} msr_ranges[] = {
    {0x00000000, 0x100}, {0x00000100, 0x100}, {0x00000170, 0x20},  {0x00000200, 0x100}, {0x00000400, 0x80},
    {0x00000800, 0x100}, {0x40000000, 0x200}, {0x40000080, 0x40},  {0x400000B0, 0x10},  {0x40000100, 0x20},
    {0xC0000080, 0x80},  {0xC0000100, 0x10},  {0xC0010000, 0x140}, {0x000006E0, 1},     {0x00000D90, 0x20},
};

static u32 random_msr(void) {
    if (random_below(10) == 0) return (u32)random_u64();
    u32 range = random_below(ARRAY_LENGTH(msr_ranges));
    return msr_ranges[range].first + random_below(msr_ranges[range].count);
}

static bool may_read(u32 msr) {
    return msr != hv_msr_guest_idle;
}  // halts until an interrupt that may never come

static bool may_write(u32 msr) {
    switch (msr) {
        case msr_gs_base:    // this guest's own processor block
        case msr_apic_base:  // its interrupts
        case 0x40000003:     // reset
        case hv_msr_guest_idle:
        case hv_msr_crash_control:  // ends the guest
        case 0xC0010114:            // VM_CR and VM_HSAVE_PA: only on a machine that offers SVM to its guests
        case 0xC0010117:
            return false;
        default:
            return true;
    }
}

static u64 tame(u32 msr, u64 value) {
    bool interrupt_command = msr == 0x830 || msr == hv_msr_icr;
    // INIT would end the processor; SMI is a matter of the platform.
    if (interrupt_command && ((value >> 8 & 7) == 5 || (value >> 8 & 7) == 2)) value &= ~0x700ull;
    // An overlay page may lie anywhere but on this guest's code and tables.
    bool overlay = msr == hv_msr_hypercall || msr == hv_msr_reference_tsc || msr == hv_msr_vp_assist ||
                   msr == hv_msr_simp || msr == hv_msr_siefp;
    if (overlay && (value & ~0xFFFull) >= (u64)image_start && (value & ~0xFFFull) < (u64)image_end) {
        value = ((u64)scratch & ~0xFFFull) | (value & 0xF000) | (value & 0xFFF);
    }
    if (msr == msr_efer)
        value = (value & ~0x1000ull) | efer_lme | efer_lma;  // a machine that offers SVM would start it
    return value;
}

// Ports that end the guest or its output: debug exit, UART, resets, power management; and legacy controllers that a
// Hyper-V machine of the second generation has not, but another machine to run this on may.
static bool may_output(u32 port, u32 size) {
    static const struct {
        u16 first, last;
    } refused[] = {
        {0x20, 0x21},   {0x40, 0x43},   {0x60, 0x64},   {0x70, 0x71},   {0x80, 0x92},   {0xA0, 0xA1},
        {0xB2, 0xB3},   {0xF4, 0xF7},   {0x1F0, 0x1F7}, {0x170, 0x177}, {0x3B0, 0x3DF}, {0x3F0, 0x3FF},
        {0x400, 0x6FF}, {0xAE0, 0xB0F}, {0xCD6, 0xCD7}, {0xCF8, 0xCFF},
    };
    for (u32 i = 0; i < ARRAY_LENGTH(refused); i++) {
        if (port + size > refused[i].first && port <= refused[i].last) return false;
    }
    return port < 0xC000;  // where a firmware of a PCI machine puts its devices
}

static const u16 call_codes[] = {0x01, 0x02, 0x03, 0x04, 0x08, 0x0B, 0x13, 0x14, 0x15, 0x40, 0x41, 0x42,   0x43,
                                 0x44, 0x45, 0x46, 0x47, 0x48, 0x49, 0x4A, 0x4B, 0x4C, 0x4D, 0x4E, 0x4F,   0x50,
                                 0x51, 0x52, 0x53, 0x54, 0x56, 0x57, 0x58, 0x59, 0x5A, 0x5B, 0x5C, 0x5D,   0x6C,
                                 0x6D, 0x6E, 0x70, 0x7B, 0x7C, 0x7D, 0x7E, 0x82, 0x83, 0x8B, 0x91, 0x94,   0x95,
                                 0x96, 0x99, 0x9A, 0xAC, 0xAF, 0xB0, 0xC0, 0xC1, 0xE3, 0xE4, 0xF4, 0x8001, 0x8002};

static void choose_hypercall(struct action* action) {
    u64 code = random_below(8) ? call_codes[random_below(ARRAY_LENGTH(call_codes))] : (u16)random_u64();
    u64 control = code;
    if (random_below(3) == 0) control |= HV_FAST;
    if (random_below(2))
        control |= HV_REPS(random_below(random_below(4) ? 8 : 4096), random_below(4) ? 0 : random_below(4096));
    if (random_below(4) == 0) control |= HV_VARIABLE(random_below(random_below(2) ? 4 : 1024));
    if (random_below(16) == 0) control ^= 1ull << random_below(64);
    action->value = control;
    action->input = control & HV_FAST ? random_value() : random_gpa();
    action->output = control & HV_FAST ? random_value() : random_gpa();
    // A call that writes may write anywhere but over this guest's code and tables.
    if (action->output >= (u64)image_start - 4096 && action->output < (u64)image_end &&
        (action->output < (u64)scratch || action->output > (u64)scratch + scratch_bytes - 4096)) {
        action->output = (u64)scratch;
    }
    // Some of the input memory is plausible: few small numbers, its own partition.
    for (u32 i = 0; i < 32; i++) {
        u64 cell = random_below(3) ? random_below(4) : random_value();
        ((u64*)scratch)[random_below(scratch_bytes / 8)] = i == 0 ? HV_SELF_PARTITION : cell;
    }
    if (random_below(2) && !(control & HV_FAST)) {
        u64* start = (u64*)(action->input & ~7ull);
        bool own = (u8*)start >= scratch && (u8*)start < scratch + scratch_bytes - 256;
        for (u32 i = 0; own && i < 32; i++) start[i] = random_below(3) ? random_below(8) : random_value();
        if (own && random_below(2)) start[0] = HV_SELF_PARTITION;
    }
}

void choose_action(struct action* action) {
    action->kind = (enum action_kind)random_below(8);
    action->size = 1u << random_below(3);
    action->value = random_value();
    switch (action->kind) {
        case action_read_msr:
            do action->number = random_msr();
            while (!may_read(action->number));
            break;
        case action_write_msr:
            do action->number = random_msr();
            while (!may_write(action->number));
            action->value = tame(action->number, action->value);
            break;
        case action_cpuid:
            action->number = random_below(2) ? 0x40000000 + random_below(0x100) : (u32)random_value();
            if (random_below(4) == 0) action->number = 0x80000000 + random_below(0x30);
            break;
        case action_in:
            action->number = (u16)random_u64() & (random_below(2) ? 0xFFFF : 0x3FF);
            // QEMU 7.2 stops at a read of its UART that is wider than a byte.
            if (!hv_present() && action->number >= 0x3F5 && action->number <= 0x3FF) action->size = 1;
            break;
        case action_out:
            do action->number = (u16)random_u64() & (random_below(2) ? 0xFFFF : 0x3FF);
            while (!may_output(action->number, action->size));
            break;
        case action_hypercall:
        case action_xmm_hypercall:
            choose_hypercall(action);
            break;
        case action_instruction:
            action->number = random_u64() >> 32;
            break;
    }
}

// Instructions that belong to hypervisors and firmware, or that a guest of this kind has no use for.
static void perform_instruction(u32 which, u64 value) {
    switch (which % 16) {
        case 0:
            __asm__ volatile("vmcall" : : "a"(value), "c"(value) : "memory");
            break;
        case 1:
            __asm__ volatile("vmmcall" : : "a"(value), "c"(value) : "memory");
            break;
        case 2:
            __asm__ volatile(".byte 0x0F, 0x01, 0xDA" : : "a"(value));
            break;  // VMLOAD
        case 3:
            __asm__ volatile(".byte 0x0F, 0x01, 0xDB" : : "a"(value));
            break;  // VMSAVE
        case 4:
            __asm__ volatile(".byte 0x0F, 0x01, 0xD8" : : "a"(value));
            break;  // VMRUN
        case 5:
            __asm__ volatile(".byte 0x0F, 0x01, 0xDE" : : "a"(value));
            break;  // SKINIT
        case 6:
            __asm__ volatile(".byte 0x0F, 0x01, 0xDF" : : "a"(value), "c"(0));
            break;  // INVLPGA
        case 7:
            __asm__ volatile("rdpmc" : : "c"((u32)value) : "eax", "edx");
            break;
        case 8:
            __asm__ volatile("wbinvd");
            break;
        case 9:
            __asm__ volatile("invd");
            break;
        case 10:
            __asm__ volatile("rsm");
            break;
        case 11:
            __asm__ volatile("xgetbv" : : "c"((u32)value) : "eax", "edx");
            break;
        case 12:
            __asm__ volatile("rdtscp" : : : "eax", "ecx", "edx");
            break;
        case 13:
            __asm__ volatile("monitor" : : "a"(scratch), "c"(value), "d"(0));
            break;
        case 14:
            __asm__ volatile("invlpg (%0)" : : "r"(value));
            break;
        default:
            __asm__ volatile(".byte 0x0F, 0x37" : : "a"(value));
            break;  // GETSEC
    }
}

void perform_action(struct action* action) {
    switch (action->kind) {
        case action_read_msr:
            rdmsr(action->number);
            break;
        case action_write_msr:
            wrmsr(action->number, action->value);
            break;
        case action_cpuid:
            cpuid(action->number, (u32)action->value & 7);
            break;
        case action_in:
            if (action->size == 1) inb((u16)action->number);
            if (action->size == 2) inw((u16)action->number);
            if (action->size == 4) inl((u16)action->number);
            break;
        case action_out:
            if (action->size == 1) outb((u8)action->value, (u16)action->number);
            if (action->size == 2) outw((u16)action->value, (u16)action->number);
            if (action->size == 4) outl((u32)action->value, (u16)action->number);
            break;
        case action_instruction:
            perform_instruction(action->number, action->value);
            break;
        case action_hypercall:
        case action_xmm_hypercall:
            if (!hv_present()) break;
            // A random write may have moved the page away or taken the identity.
            hv_set_up_hypercalls();
            if (action->kind == action_hypercall) {
                hv_call(action->value, action->input, action->output);
            } else {
                hv_call_xmm(action->value, action->input, action->output, scratch);
            }
            break;
    }
}
