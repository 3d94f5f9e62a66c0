// Entry of every guest: multiboot-1 and PVH, both in 32-bit protected mode with paging off.
// A 64-bit guest goes on to long mode with the low 4 GiB identity-mapped; a 32-bit guest stays as it is.
#ifndef NO_MULTIBOOT
    .section .multiboot, "a"
    .balign 4
    .long 0x1BADB002
    .long 0x00000003                    // page-align modules, memory information wanted
    .long -(0x1BADB002 + 0x00000003)
#endif

#ifndef NO_PVH
    .section .note.pvh, "a", @note
    .balign 4
    .long 4, 8, 18                      // name size, descriptor size, XEN_ELFNOTE_PHYS32_ENTRY
    .asciz "Xen"
    .long pvh_entry, 0
#endif

    .text
    .code32
    .globl multiboot_entry, pvh_entry
pvh_entry:
    movl $0x336EC578, %eax              // PVH leaves EAX undefined: give it the magic of its own structure
multiboot_entry:
    movl %eax, entry_state
    movl %ebx, entry_state + 4
    movl $boot_stack_top, %esp
    pushfl
    popl entry_state + 16
    cli
    cld
    movl %cr0, %eax
    movl %eax, entry_state + 8
    movl %cr4, %eax
    movl %eax, entry_state + 12
    xorl %eax, %eax
    movw %cs, %ax
    movl %eax, entry_state + 20
    movw %ds, %ax
    movl %eax, entry_state + 24
    movw %es, %ax
    movl %eax, entry_state + 28
    movw %ss, %ax
    movl %eax, entry_state + 32
    // A firmware may have left the legacy interrupt controllers unmasked; a machine without them ignores this.
    movb $0xFF, %al
    outb %al, $0x21
    outb %al, $0xA1
    lgdt start_gdt_pointer
    ljmp $0x08, $1f
1:  movw $0x10, %ax
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %ss
    xorl %eax, %eax
    movw %ax, %fs
    movw %ax, %gs
#ifdef GUEST32
    call runtime_start32
    ud2
#else
    call build_identity_map
    movl $boot_pml4, %eax
    movl %eax, %cr3
    movl %cr4, %eax
    orl $0x20, %eax                     // PAE
    movl %eax, %cr4
    movl $0xC0000080, %ecx
    rdmsr
    orl $0x900, %eax                    // LME, NXE
    wrmsr
    movl %cr0, %eax
    andl $0x9FFFFFFF, %eax              // caches on
    orl $0x80010021, %eax               // PG, WP, NE, PE
    movl %eax, %cr0
    ljmp $0x18, $start64

// 4 page directories of 2 MiB pages; the user bit everywhere, so that tests decide at the top level.
build_identity_map:
    movl $boot_pd, %edi
    movl $0x87, %eax                    // present, writable, user, large
    movl $2048, %ecx
1:  movl %eax, (%edi)
    movl $0, 4(%edi)
    addl $0x200000, %eax
    addl $8, %edi
    loop 1b
    movl $boot_pd + 7, %eax
    movl $boot_pdpt, %edi
    movl $4, %ecx
2:  movl %eax, (%edi)
    addl $0x1000, %eax
    addl $8, %edi
    loop 2b
    movl $boot_pdpt + 7, boot_pml4
    ret

    .code64
start64:
    movl $0x10, %eax
    movl %eax, %ds
    movl %eax, %es
    movl %eax, %ss
    movl $boot_stack_top, %esp
    xorl %ebp, %ebp
    call runtime_start64
    ud2
#endif

    .section .rodata
    .balign 8
start_gdt:
    .quad 0
    .quad 0x00CF9B000000FFFF            // 0x08 code, 32-bit
    .quad 0x00CF93000000FFFF            // 0x10 data
    .quad 0x00AF9B000000FFFF            // 0x18 code, 64-bit
start_gdt_pointer:
    .word . - start_gdt - 1
    .long start_gdt

    .data
    .balign 4
    .globl entry_state
entry_state:
    .fill 9, 4, 0

    .bss
    .balign 4096
    .globl boot_stack_top
boot_stack:
    .skip 16384
boot_stack_top:
#ifndef GUEST32
    .globl boot_pml4, boot_pdpt, boot_pd
boot_pml4:
    .skip 4096
boot_pdpt:
    .skip 4096
boot_pd:
    .skip 4 * 4096
#endif
    .section .note.GNU-stack, "", @progbits
