// The 256 trap stubs, the catch-and-recover pair, and the way to CPL 3.
    .text
    .code64
    .balign 16
    .globl trap_stubs
trap_stubs:
    .set vector, 0
    .rept 256
    .balign 16
    // 8, 10-14, 17, 21, 29, 30 push an error code themselves.
    .if (vector == 8) || ((vector >= 10) && (vector <= 14)) || (vector == 17) || (vector == 21) || (vector == 29) || (vector == 30)
    .else
    pushq $0
    .endif
    pushq $vector
    jmp trap_common
    .set vector, vector + 1
    .endr

    .balign 16
trap_common:
    pushq %rax
    pushq %rbx
    pushq %rcx
    pushq %rdx
    pushq %rsi
    pushq %rdi
    pushq %rbp
    pushq %r8
    pushq %r9
    pushq %r10
    pushq %r11
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, %rdi
    movq %rsp, %rbx
    andq $-16, %rsp
    cld
    call trap_entry
    movq %rbx, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %r11
    popq %r10
    popq %r9
    popq %r8
    popq %rbp
    popq %rdi
    popq %rsi
    popq %rdx
    popq %rcx
    popq %rbx
    popq %rax
    addq $16, %rsp
    iretq

// Saves what a C caller expects to find again; RAX ends as this processor's struct cpu.
.macro enter_catch
    pushq %rbx
    pushq %rbp
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    pushfq
    movq %gs:0, %rax
    movq %rsp, 8(%rax)
    movq $1, 16(%rax)
.endm

// bool trap_catch(void* fn, u64 argument)
    .globl trap_catch
trap_catch:
    enter_catch
    movq %rdi, %rax
    movq %rsi, %rdi
    andq $-16, %rsp
    call *%rax
    movq %gs:0, %rax
    movq 8(%rax), %rsp
    movq $0, 16(%rax)
    xorl %eax, %eax
leave_catch:
    popfq
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbp
    popq %rbx
    ret

// trap_entry resumes here, with RSP = recover_rsp, after it has recorded a trap.
    .globl trap_recover
trap_recover:
    cld
    movl $0x10, %eax
    movl %eax, %ds
    movl %eax, %es
    movl $1, %eax
    jmp leave_catch

// bool run_user(void* fn, u64 argument), bool run_user32(...)
    .globl run_user, run_user32
run_user32:
    movl $0x23, %edx
    jmp 1f
run_user:
    movl $0x33, %edx
1:  enter_catch
    movl $0x2B, %ecx
    movl %ecx, %ds
    movl %ecx, %es
    pushq %rcx                          // SS
    leaq user_stack + 8192 - 64, %rcx
    pushq %rcx
    pushq $0x202                        // interrupts on
    pushq %rdx
    pushq %rdi
    movq %rsi, %rdi
    iretq
    .section .note.GNU-stack, "", @progbits
