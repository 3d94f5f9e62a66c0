// Real-mode half of the realmode guest. The C half copies everything between real_image and real_image_end to 0x7000 and
// calls real_run; results are read from the copy.
#define AT(label) (0x7000 + label - real_image)

    .section .rodata
    .code16
    .globl real_image, real_image_end
real_image:

// Entered from 32-bit protected mode in a 16-bit code segment with base 0. ES keeps a 4 GiB limit ("unreal" mode).
    .globl real_enter
real_enter:
    movw $0x40, %ax                     // 16-bit data segment
    movw %ax, %ds
    movw %ax, %ss
    movw %ax, %fs
    movw %ax, %gs
    movw $0x10, %ax
    movw %ax, %es
    lidtl AT(real_idt_pointer)
    movl %cr0, %eax
    andl $~1, %eax
    movl %eax, %cr0
    ljmp $0, $AT(1f)
1:  xorw %ax, %ax
    movw %ax, %ds
    movw %ax, %ss
    movw $0x7000, %sp

    smsww %ax
    movw %ax, AT(real_msw)
    movl $0x100000, %ebx
    movl %es:(%ebx), %eax
    movl %eax, AT(real_unreal)
    xorw %ax, %ax
    movw %ax, %es

// TEST name: the next instruction's record goes to record number `name`; execution goes on at 9f whatever happens.
#define TEST(number) movw $number, AT(real_current); movw $AT(9f), AT(real_resume)

    TEST(8)                             // an interrupt that became pending in protected mode
    sti
    nop
    nop
9:  cli
    TEST(0)                             // INT n, IF on before
    sti
    int $0x40
9:  cli
    TEST(1)                             // #DE
    xorw %cx, %cx
    divw %cx
9:  TEST(2)
    ud2
9:  TEST(3)
    int3
9:  TEST(4)
    movb $0x7F, %al
    addb $1, %al
    into
9:  TEST(5)
    movw $11, %ax
    .byte 0x62, 0x06                    // BOUND AX, [disp16]
    .word AT(real_bounds)
9:  TEST(6)                             // single step: the trap comes after the NOP
    pushfw
    popw %ax
    orw $0x100, %ax
    pushw %ax
    popfw
    nop
9:  TEST(7)                             // a handler in another code segment
    int $0x41
9:  TEST(9)                             // another vector table
    lidtl AT(real_other_pointer)
    int $0x42
9:  TEST(10)                            // a vector beyond the table: #GP
    lidtl AT(real_short_pointer)
    int $0x42
9:  lidtl AT(real_idt_pointer)

    // Addressing: segment * 16 + offset, string instructions across segments, 32-bit operands and addresses.
    movw $0x1234, %ax
    movw %ax, %es
    movl $0xCAFEF00D, %es:0x10
    movw $AT(real_text), %si
    movw $0x20, %di
    movw $8, %cx
    cld
    rep movsb
    movw $0xFFFF, %ax
    movw %ax, %es
    movl %es:0x10, %eax                 // 0x100000 with address line 20 open
    movl %eax, AT(real_high)
    movl $0x12340, %ebx
    xorw %ax, %ax
    movw %ax, %es
    movl $AT(real_text), %esi
    movl 4(%esi), %eax
    movl %eax, AT(real_wide)
    lcall $0x0700, $(real_far - real_image)
    movw %sp, AT(real_sp)
    xorl %eax, %eax
    cpuid
    movl %ebx, AT(real_cpuid)
    movl $0xC0000080, %ecx
    rdmsr
    movl %eax, AT(real_efer)
    movw $0x5A0, %dx
    inb %dx, %al
    movb %al, AT(real_port)

    // Back, by LMSW.
    lgdtl AT(real_gdt_pointer)
    movw $0x0011, %ax
    lmsw %ax
    ljmpl $0x08, $real_return

real_far:
    movw %cs, AT(real_far_cs)
    lret

// One handler per vector, 8 bytes apart.
    .balign 8
    .globl real_stubs
real_stubs:
    .set vector, 0
    .rept 0x51
    .balign 8
    pushw $vector
    jmp real_common
    .set vector, vector + 1
    .endr

// Record: vector, IP, flags, CS of the handler, flags inside, all 16 bits, at real_records + 16 * current.
real_common:
    movw %sp, %bp
    movw %cs:AT(real_current), %bx
    shlw $4, %bx
    movw (%bp), %ax
    movw %ax, AT(real_records)(%bx)
    movw 2(%bp), %ax
    movw %ax, AT(real_records) + 2(%bx)
    movw 6(%bp), %ax
    movw %ax, AT(real_records) + 4(%bx)
    movw 4(%bp), %ax
    movw %ax, AT(real_records) + 6(%bx)
    pushfw
    popw %ax
    movw %ax, AT(real_records) + 8(%bx)
    movw $1, AT(real_records) + 10(%bx)
    movw AT(real_resume), %ax
    movw %ax, 2(%bp)
    andw $~0x100, 6(%bp)
    addw $2, %sp
    iretw

// Reached as 0x0700:offset by vector 0x41.
    .globl real_elsewhere
real_elsewhere:
    movw AT(real_current), %bx
    shlw $4, %bx
    movw %cs, AT(real_records) + 6(%bx)
    movw $0x41, AT(real_records)(%bx)
    movw $1, AT(real_records) + 10(%bx)
    iretw

    .balign 8
real_idt_pointer:
    .word 0x3FF
    .long 0
real_other_pointer:
    .word 0x3FF
    .long 0x6000
real_short_pointer:
    .word 0x42 * 4 - 1
    .long 0
    .globl real_gdt_pointer
real_gdt_pointer:
    .word 0
    .long 0
real_bounds:
    .word 0, 10
real_text:
    .ascii "Verdigri"
    .balign 4
real_current: .word 0
real_resume: .word 0
    .globl real_records, real_msw, real_sp, real_far_cs, real_port, real_unreal, real_high, real_wide, real_cpuid, real_efer
real_msw: .word 0
real_sp: .word 0
real_far_cs: .word 0
real_port: .word 0
    .balign 4
real_unreal: .long 0
real_high: .long 0
real_wide: .long 0
real_cpuid: .long 0
real_efer: .long 0
    .balign 16
real_records:
    .fill 16 * 16, 1, 0
real_image_end:

    .text
    .code32
// void real_run(void): from protected mode through the real-mode code and back.
    .globl real_run
real_run:
    pushal
    pushfl
    movl %esp, real_saved_esp
    ljmp $0x38, $AT(real_enter)
real_return:
    movw $0x10, %ax
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %ss
    movw %ax, %fs
    movw %ax, %gs
    movl real_saved_esp, %esp
    lidt real_idt32_pointer
    popfl
    popal
    ret

    .data
real_saved_esp:
    .long 0
real_idt32_pointer:
    .word 256 * 8 - 1
    .long idt
    .section .note.GNU-stack, "", @progbits
