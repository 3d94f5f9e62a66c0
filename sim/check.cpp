#include "sim/check.h"

#include <cstdio>
#include <cstdlib>

namespace sim {

void check_failed(const char* file, int line, const char* condition, const std::string& detail) {
    std::fprintf(stderr,
                 "verdigris: simulator bug at %s:%d: %s%s%s\nPlease report this with the command and the seed.\n", file,
                 line, condition, detail.empty() ? "" : ": ", detail.c_str());
    std::fflush(nullptr);
    std::abort();
}

}  // namespace sim
