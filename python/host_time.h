// Where the host's time goes during a run, by sampling the program counter every millisecond of processor time. For
// people who make Verdigris faster; it looks at the program from outside and cannot change a result.
#pragma once

#include <cstdint>
#include <map>
#include <string>

namespace python {

class HostTime {
public:
    HostTime();   // starts sampling
    ~HostTime();  // ends it
    HostTime(const HostTime&) = delete;
    HostTime& operator=(const HostTime&) = delete;

    // Ends sampling: samples by part of the program, and by function.
    struct Shares {
        std::map<std::string, std::uint64_t> parts;
        std::map<std::string, std::uint64_t> functions;
    };
    Shares shares();
};

}  // namespace python
