// The three classes of errors end in three different ways. A simulator bug stops here and at once (VG_CHECK, in every
// build type). A user's mistake is a UserError: one clear line, exit 2. A guest's misbehaviour is neither: the model
// answers it as the hardware would.
#pragma once

#include <stdexcept>
#include <string>

namespace sim {

// What went wrong, where, and how to mend it, in one line.
class UserError : public std::runtime_error {
public:
    using std::runtime_error::runtime_error;
};

[[noreturn]] void check_failed(const char* file, int line, const char* condition, const std::string& detail);

}  // namespace sim

// VG_CHECK(condition) or VG_CHECK(condition, std::string detail): the detail is evaluated only on failure.
#define VG_CHECK(condition, ...)                                                           \
    do {                                                                                   \
        if (!(condition)) [[unlikely]]                                                     \
            ::sim::check_failed(__FILE__, __LINE__, #condition, std::string{__VA_ARGS__}); \
    } while (false)
