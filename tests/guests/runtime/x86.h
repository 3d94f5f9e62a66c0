// Thin wrappers around single instructions.
#pragma once
#include "guest.h"

static inline void outb(u8 value, u16 port) {
    __asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port) : "memory");
}
static inline void outw(u16 value, u16 port) {
    __asm__ volatile("outw %0, %1" : : "a"(value), "Nd"(port) : "memory");
}
static inline void outl(u32 value, u16 port) {
    __asm__ volatile("outl %0, %1" : : "a"(value), "Nd"(port) : "memory");
}
static inline u8 inb(u16 port) {
    u8 value;
    __asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port) : "memory");
    return value;
}
static inline u16 inw(u16 port) {
    u16 value;
    __asm__ volatile("inw %1, %0" : "=a"(value) : "Nd"(port) : "memory");
    return value;
}
static inline u32 inl(u16 port) {
    u32 value;
    __asm__ volatile("inl %1, %0" : "=a"(value) : "Nd"(port) : "memory");
    return value;
}

struct cpuid_result {
    u32 eax, ebx, ecx, edx;
};
static inline struct cpuid_result cpuid(u32 leaf, u32 subleaf) {
    struct cpuid_result r;
    __asm__ volatile("cpuid" : "=a"(r.eax), "=b"(r.ebx), "=c"(r.ecx), "=d"(r.edx) : "a"(leaf), "c"(subleaf));
    return r;
}
static inline u64 rdmsr(u32 msr) {
    u32 low, high;
    __asm__ volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(msr) : "memory");
    return (u64)high << 32 | low;
}
static inline void wrmsr(u32 msr, u64 value) {
    __asm__ volatile("wrmsr" : : "c"(msr), "a"((u32)value), "d"((u32)(value >> 32)) : "memory");
}
static inline u64 rdtsc(void) {
    u32 low, high;
    __asm__ volatile("rdtsc" : "=a"(low), "=d"(high) : : "memory");
    return (u64)high << 32 | low;
}

#define DEFINE_REGISTER(reg)                                               \
    static inline uptr read_##reg(void) {                                  \
        uptr value;                                                        \
        __asm__ volatile("mov %%" #reg ", %0" : "=r"(value) : : "memory"); \
        return value;                                                      \
    }                                                                      \
    static inline void write_##reg(uptr value) {                           \
        __asm__ volatile("mov %0, %%" #reg : : "r"(value) : "memory");     \
    }
DEFINE_REGISTER(cr0)
DEFINE_REGISTER(cr2)
DEFINE_REGISTER(cr3)
DEFINE_REGISTER(cr4)
DEFINE_REGISTER(dr0)
DEFINE_REGISTER(dr1)
DEFINE_REGISTER(dr2)
DEFINE_REGISTER(dr3)
DEFINE_REGISTER(dr6)
DEFINE_REGISTER(dr7)
#ifdef __x86_64__
DEFINE_REGISTER(cr8)
#endif

static inline uptr read_flags(void) {
    uptr value;
    __asm__ volatile("pushf; pop %0" : "=r"(value) : : "memory");
    return value;
}
static inline void cli(void) {
    __asm__ volatile("cli" : : : "memory");
}
static inline void sti(void) {
    __asm__ volatile("sti" : : : "memory");
}
static inline void pause(void) {
    __asm__ volatile("pause" : : : "memory");
}
static inline void hlt(void) {
    __asm__ volatile("hlt" : : : "memory");
}
static inline void sti_hlt(void) {
    __asm__ volatile("sti; hlt" : : : "memory");
}
static inline void invlpg(const volatile void* address) {
    __asm__ volatile("invlpg (%0)" : : "r"(address) : "memory");
}
static inline void compiler_barrier(void) {
    __asm__ volatile("" : : : "memory");
}
static inline void delay_tsc(u64 cycles) {
    u64 start = rdtsc();
    while (rdtsc() - start < cycles) pause();
}

static inline u32 atomic_add(volatile u32* cell, u32 amount) {
    return __atomic_fetch_add(cell, amount, __ATOMIC_SEQ_CST);
}

enum {
    cr0_pe = 1u << 0,
    cr0_mp = 1u << 1,
    cr0_em = 1u << 2,
    cr0_ts = 1u << 3,
    cr0_ne = 1u << 5,
    cr0_wp = 1u << 16,
    cr0_am = 1u << 18,
};
#define CR0_PG 0x80000000u
enum {
    cr4_tsd = 1u << 2,
    cr4_de = 1u << 3,
    cr4_pse = 1u << 4,
    cr4_pae = 1u << 5,
    cr4_pge = 1u << 7,
    cr4_osfxsr = 1u << 9,
    cr4_osxmmexcpt = 1u << 10,
    cr4_pcide = 1u << 17,
    cr4_smep = 1u << 20,
    cr4_smap = 1u << 21,
};
enum {
    flag_cf = 1,
    flag_zf = 0x40,
    flag_tf = 0x100,
    flag_if = 0x200,
    flag_df = 0x400,
    flag_of = 0x800,
    flag_rf = 0x10000
};
enum {
    msr_apic_base = 0x1B,
    msr_tsc = 0x10,
    msr_tsc_deadline = 0x6E0,
    msr_pat = 0x277,
    msr_efer = 0xC0000080,
    msr_star = 0xC0000081,
    msr_lstar = 0xC0000082,
    msr_fmask = 0xC0000084,
    msr_fs_base = 0xC0000100,
    msr_gs_base = 0xC0000101,
    msr_kernel_gs_base = 0xC0000102,
};
enum { efer_sce = 1, efer_lme = 0x100, efer_lma = 0x400, efer_nxe = 0x800 };
enum {
    vector_de = 0,
    vector_db = 1,
    vector_nmi = 2,
    vector_bp = 3,
    vector_of = 4,
    vector_br = 5,
    vector_ud = 6,
    vector_nm = 7,
    vector_df = 8,
    vector_ts = 10,
    vector_np = 11,
    vector_ss = 12,
    vector_gp = 13,
    vector_pf = 14,
    vector_mf = 16,
    vector_xm = 19,
};
