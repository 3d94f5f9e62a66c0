// What the leak check of a sanitizer build must not report: Unicorn frees its engine but for a small array per engine,
// and the interpreter keeps what its modules set up.
extern "C" {
__attribute__((visibility("default"))) const char* __lsan_default_suppressions();
__attribute__((visibility("default"))) const char* __lsan_default_options();
}

const char* __lsan_default_suppressions() {
    return "leak:g_array_new\nleak:libpython3\n";
}

const char* __lsan_default_options() {
    return "print_suppressions=0";
}
