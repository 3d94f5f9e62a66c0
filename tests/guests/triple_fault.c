// A fault that cannot be delivered shuts the processor down, which resets the machine: nothing after it runs.
#include "cpu64.h"
#include "x86.h"

void guest_main(void) {
    guest_begin("triple_fault");
    check_that("alive", true);
    print("guest triple_fault: about to fault\n");
    static u64 empty[2];
    load_idt(empty, 0);
    __asm__ volatile("ud2");
    guest_panic("a fault without a table was survived", 0, 0);
}
