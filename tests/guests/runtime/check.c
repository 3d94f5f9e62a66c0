// The list of checks: one line each, a summary, the exit value.
#include "guest.h"

static const char* guest_name = "?";
static u32 number, passed, failed, first_failed;

static const char* group_name;
static const char* group_field;
static u64 group_got, group_want;

void guest_begin(const char* name) {
    guest_name = name;
    print("guest %s\n", name);
}

static void count(bool holds) {
    number++;
    if (holds) {
        passed++;
    } else {
        failed++;
        if (!first_failed) first_failed = number;
    }
}

void check_equal(const char* name, u64 got, u64 want) {
    count(got == want);
    if (got == want) {
        print("ok %s\n", name);
    } else {
        print("FAIL %s got %x want %x\n", name, got, want);
    }
}

void check_that(const char* name, bool holds) {
    check_equal(name, holds, 1);
}

void check_between(const char* name, u64 got, u64 low, u64 high) {
    bool holds = low <= got && got <= high;
    count(holds);
    if (holds) {
        print("ok %s\n", name);
    } else {
        print("FAIL %s got %x want %x..%x\n", name, got, low, high);
    }
}

void check_skip(const char* name) {
    number++;
    print("skip %s\n", name);
}

u32 check_count(void) {
    return number;
}

void group_begin(const char* name) {
    group_name = name;
    group_field = NULL;
}

void group_expect(const char* field, u64 got, u64 want) {
    if (got == want || group_field) return;
    group_field = field;
    group_got = got;
    group_want = want;
}

void group_end(void) {
    count(!group_field);
    if (!group_field) {
        print("ok %s\n", group_name);
    } else {
        print("FAIL %s.%s got %x want %x\n", group_name, group_field, group_got, group_want);
    }
}

void guest_end(void) {
    print("guest %s: %u checks passed, %u failed\n", guest_name, passed, failed);
    guest_exit(first_failed);
}
