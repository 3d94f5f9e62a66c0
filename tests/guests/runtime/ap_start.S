// The trampoline of the other processors, one at a time. smp.c copies it to 0x8000 (start-up vector 8) and puts the stack
// of the processor that it starts next into ap_stack.
    .section .rodata
    .code16
    .globl ap_trampoline, ap_trampoline_end
ap_trampoline:
    // First of all what the state at start is; nothing but DS is touched before it is kept.
    movw %ds, %cs:(ap_ds - ap_trampoline)
    movl %esp, %cs:(ap_esp - ap_trampoline)
    movl %edx, %cs:(ap_edx - ap_trampoline)
    movw %ss, %cs:(ap_ss - ap_trampoline)
    movw %cs, %ax
    movw %ax, %ds
    movw %cs, ap_cs - ap_trampoline
    movw %ax, %ss
    movw $0xF00, %sp                    // 0x8F00, in the trampoline's page
    pushfl
    popl %eax
    movl %eax, ap_flags - ap_trampoline
    call 1f
1:  popw %ax
    subw $(1b - ap_trampoline), %ax
    movw %ax, ap_ip - ap_trampoline
    movl %cr0, %eax
    movl %eax, ap_cr0 - ap_trampoline
    cli
    lgdtl ap_gdt_pointer - ap_trampoline
    movl %cr0, %eax
    orl $1, %eax
    movl %eax, %cr0
    ljmpl $0x08, $0x8000 + (ap_protected - ap_trampoline)

    .code32
ap_protected:
    movw $0x10, %ax
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %ss
    movl $boot_pml4, %eax
    movl %eax, %cr3
    movl %cr4, %eax
    orl $0x20, %eax
    movl %eax, %cr4
    movl $0xC0000080, %ecx
    rdmsr
    orl $0x900, %eax
    wrmsr
    movl $0x80010021, %eax              // PG, WP, NE, PE; CD and NW clear
    movl %eax, %cr0
    ljmp $0x18, $0x8000 + (ap_long - ap_trampoline)

    .code64
ap_long:
    movl $0x10, %eax
    movl %eax, %ds
    movl %eax, %es
    movl %eax, %ss
    movl 0x8000 + (ap_stack - ap_trampoline), %esp
    movl $0x8000 + (ap_cs - ap_trampoline), %edi
    xorl %ebp, %ebp
    movl $ap_entry, %eax
    call *%rax
1:  cli
    hlt
    jmp 1b

    .balign 8
ap_gdt:
    .quad 0
    .quad 0x00CF9B000000FFFF
    .quad 0x00CF93000000FFFF
    .quad 0x00AF9B000000FFFF
ap_gdt_pointer:
    .word . - ap_gdt - 1
    .long 0x8000 + (ap_gdt - ap_trampoline)
    .balign 4
    // struct ap_state
ap_cs:    .long 0
ap_ip:    .long 0
ap_ds:    .long 0
ap_ss:    .long 0
ap_flags: .long 0
ap_cr0:   .long 0
ap_edx:   .long 0
ap_esp:   .long 0
    .globl ap_stack
ap_stack: .long 0
ap_trampoline_end:
    .section .note.GNU-stack, "", @progbits
