// Register-file images: loads and stores of the whole x87, MMX and SSE state for the C half.
    .text
    .code64
    .globl load_xmm, store_xmm, save_fx, restore_fx, x87_sum, x87_stack_of_eight, x87_control
// void load_xmm(const void* cells): XMM0..15 from 16 cells of 16 bytes
load_xmm:
    .irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
    movups 16*\n(%rdi), %xmm\n
    .endr
    ret
store_xmm:
    .irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
    movups %xmm\n, 16*\n(%rdi)
    .endr
    ret
save_fx:
    fxsave64 (%rdi)
    ret
restore_fx:
    fxrstor64 (%rdi)
    ret
// void x87_sum(const double* a, const double* b, double* sum)
x87_sum:
    fldl (%rdi)
    faddl (%rsi)
    fstpl (%rdx)
    ret
// Pushes 1.0 and the constants that the x87 knows: a full stack of 8.
x87_stack_of_eight:
    fninit
    fld1
    fldl2t
    fldl2e
    fldpi
    fldlg2
    fldln2
    fldz
    fld1
    ret
// void x87_control(u16 word)
x87_control:
    pushq %rdi
    fldcw (%rsp)
    popq %rdi
    ret
    .section .note.GNU-stack, "", @progbits
