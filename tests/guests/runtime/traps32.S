// The 256 trap stubs of 32-bit guests, the catch-and-recover pair, and the way to CPL 3.
    .text
    .code32
    .balign 16
    .globl trap_stubs
trap_stubs:
    .set vector, 0
    .rept 256
    .balign 16
    .if (vector == 8) || ((vector >= 10) && (vector <= 14)) || (vector == 17) || (vector == 21) || (vector == 29) || (vector == 30)
    .else
    pushl $0
    .endif
    pushl $vector
    jmp trap_common
    .set vector, vector + 1
    .endr

    .balign 16
trap_common:
    pushal
    movl $0x10, %eax
    movw %ax, %ds
    movw %ax, %es
    cld
    pushl %esp
    call trap_entry
    addl $4, %esp
    testl %eax, %eax                    // 0: go back to the interrupted code; else the stack to recover with
    jnz 1f
    popal
    addl $8, %esp
    iret
1:  movl %eax, %esp
    movl $1, %eax
    jmp leave_catch

.macro enter_catch
    pushl %ebx
    pushl %ebp
    pushl %esi
    pushl %edi
    pushfl
    movl %esp, recover_esp
    movl $1, catching
.endm

// bool trap_catch(void* fn, u32 argument): fn gets the argument in EAX
    .globl trap_catch
trap_catch:
    movl 4(%esp), %ecx
    movl 8(%esp), %eax
    enter_catch
    call *%ecx
    movl recover_esp, %esp
    movl $0, catching
    xorl %eax, %eax
leave_catch:
    popfl
    popl %edi
    popl %esi
    popl %ebp
    popl %ebx
    ret

// bool run_user(void* fn, u32 argument)
    .globl run_user
run_user:
    movl 4(%esp), %ecx
    movl 8(%esp), %eax
    enter_catch
    movl $0x23, %edx
    movw %dx, %ds
    movw %dx, %es
    pushl %edx
    pushl $user_stack + 4096 - 16
    pushl $0x202
    pushl $0x1B
    pushl %ecx
    iret

    .bss
    .balign 4
    .globl recover_esp, catching
recover_esp:
    .skip 4
catching:
    .skip 4
    .section .note.GNU-stack, "", @progbits
