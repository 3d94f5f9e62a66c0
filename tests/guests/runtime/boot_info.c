// What the loader told us: command line and memory, from multiboot 1 (spec 3.3) or the PVH start information.
#include "guest.h"

struct multiboot_info {
    u32 flags, mem_lower, mem_upper, boot_device, cmdline;
    u32 mods_count, mods_addr, syms[4], mmap_length, mmap_addr;
};
enum { multiboot_has_memory = 1, multiboot_has_command_line = 4, multiboot_has_map = 0x40 };

struct hvm_start_info {
    u32 magic, version, flags, nr_modules;
    u64 modlist_paddr, cmdline_paddr, rsdp_paddr, memmap_paddr;
    u32 memmap_entries, reserved;
};
struct hvm_memmap_entry {
    u64 address, size;
    u32 type, reserved;
};
enum { memory_type_ram = 1 };

const char* command_line(void) {
    uptr address = 0;
    if (entry_state.magic == boot_pvh) {
        address = (uptr)((const struct hvm_start_info*)(uptr)entry_state.info)->cmdline_paddr;
    } else if (entry_state.magic == boot_multiboot) {
        const struct multiboot_info* info = (const void*)(uptr)entry_state.info;
        if (info->flags & multiboot_has_command_line) address = info->cmdline;
    }
    return address ? (const char*)address : "";
}

u64 memory_bytes(void) {
    if (entry_state.magic == boot_pvh) {
        const struct hvm_start_info* info = (const void*)(uptr)entry_state.info;
        const struct hvm_memmap_entry* map = (const void*)(uptr)info->memmap_paddr;
        for (u32 i = 0; map && i < info->memmap_entries; i++) {
            bool holds_image = map[i].address <= 0x100000 && map[i].address + map[i].size > 0x100000;
            if (map[i].type == memory_type_ram && holds_image) return map[i].address + map[i].size;
        }
    } else if (entry_state.magic == boot_multiboot) {
        const struct multiboot_info* info = (const void*)(uptr)entry_state.info;
        if (info->flags & multiboot_has_memory) return 0x100000 + (u64)info->mem_upper * 1024;
    }
    return 0;
}

static int digit_of(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return 16;
}

static u64 parse_number(const char* text) {
    u32 base = 10;
    if (text[0] == '0' && text[1] == 'x') base = 16, text += 2;
    u64 value = 0;
    for (; digit_of(*text) < (int)base; text++) value = value * base + (u32)digit_of(*text);
    return value;
}

u64 option(const char* name, u64 otherwise) {
    for (const char* text = command_line(); *text;) {
        const char *a = text, *b = name;
        while (*b && *a == *b) a++, b++;
        if (!*b && *a == '=') return parse_number(a + 1);
        while (*text && *text != ' ') text++;
        while (*text == ' ') text++;
    }
    return otherwise;
}
