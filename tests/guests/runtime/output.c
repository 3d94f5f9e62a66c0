// Serial output, the formatted print, memory routines and the end of the machine.
#include <stdarg.h>

#include "guest.h"
#include "x86.h"

enum { serial_port = 0x3F8, line_status = 5, transmit_empty = 0x20, debug_exit_port = 0xF4 };

void* memset(void* destination, int value, usize size) {
    u8* to = destination;
    for (usize i = 0; i < size; i++) {
        to[i] = (u8)value;
        compiler_barrier();  // keeps the compiler from turning the loop into a call of itself
    }
    return destination;
}

void* memcpy(void* destination, const void* source, usize size) {
    return memmove(destination, source, size);
}

void* memmove(void* destination, const void* source, usize size) {
    u8* to = destination;
    const u8* from = source;
    if (to <= from) {
        for (usize i = 0; i < size; i++) {
            to[i] = from[i];
            compiler_barrier();
        }
    } else {
        for (usize i = size; i-- > 0;) {
            to[i] = from[i];
            compiler_barrier();
        }
    }
    return destination;
}

int memcmp(const void* a, const void* b, usize size) {
    const u8 *x = a, *y = b;
    for (usize i = 0; i < size; i++) {
        if (x[i] != y[i]) return x[i] < y[i] ? -1 : 1;
    }
    return 0;
}

bool text_equal(const char* a, const char* b) {
    while (*a && *a == *b) a++, b++;
    return *a == *b;
}

static void put(char c) {
    while (!(inb(serial_port + line_status) & transmit_empty)) pause();
    outb((u8)c, serial_port);
}

static void put_text(const char* text) {
    for (; *text; text++) put(*text);
}

static void put_decimal(u32 value) {
    char digits[10];
    int n = 0;
    do {
        digits[n++] = (char)('0' + value % 10);
        value /= 10;
    } while (value);
    while (n > 0) put(digits[--n]);
}

static void put_hexadecimal(u64 value) {
    put_text("0x");
    int shift = 60;
    while (shift > 0 && !(value >> shift & 15)) shift -= 4;
    for (; shift >= 0; shift -= 4) put("0123456789abcdef"[value >> shift & 15]);
}

static volatile u32 print_lock;

void print(const char* format, ...) {
    while (__atomic_exchange_n(&print_lock, 1, __ATOMIC_ACQUIRE)) pause();
    va_list arguments;
    va_start(arguments, format);
    for (; *format; format++) {
        if (*format != '%') {
            put(*format);
            continue;
        }
        switch (*++format) {
            case 's':
                put_text(va_arg(arguments, const char*));
                break;
            case 'u':
                put_decimal(va_arg(arguments, u32));
                break;
            case 'x':
                put_hexadecimal(va_arg(arguments, u64));
                break;
            default:
                put(*format);
                break;
        }
    }
    va_end(arguments);
    __atomic_store_n(&print_lock, 0, __ATOMIC_RELEASE);
}

void guest_exit(u32 value) {
    outl(value, debug_exit_port);
    for (;;) __asm__ volatile("cli; hlt");
}

void guest_panic(const char* format, u64 a, u64 b) {
    cli();
    print_lock = 0;
    print("panic: ");
    print(format, a, b);
    print("\n");
    guest_exit(0xFFFF);
}
