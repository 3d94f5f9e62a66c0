// The parts of the exceptions guest.
#pragma once

void check_faults(void);    // exceptions.c: the exceptions one by one, in ring 0
void check_delivery(void);  // exceptions_delivery.c: rings, stacks, faults while delivering
void check_compat(void);    // exceptions_compat.c: 32-bit code in long mode, system calls
