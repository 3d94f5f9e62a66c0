// A measurement in a process of its own: its memory is nobody else's, and what ran before has left nothing behind.
#pragma once

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdint>
#include <cstdio>
#include <ctime>
#include <optional>
#include <type_traits>

namespace python {

struct Clocks {
    double processor = 0;  // seconds of this process' processor time
    double wall = 0;

    static Clocks now() {
        const auto seconds = [](clockid_t clock) {
            timespec t{};
            clock_gettime(clock, &t);
            return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) * 1e-9;
        };
        return {seconds(CLOCK_PROCESS_CPUTIME_ID), seconds(CLOCK_MONOTONIC)};
    }
    Clocks operator-(const Clocks& since) const { return {processor - since.processor, wall - since.wall}; }
};

// The most memory that this process has held.
inline std::uint64_t peak_bytes() {
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    return static_cast<std::uint64_t>(usage.ru_maxrss) * 1024;
}

// Nothing: it did not come to its end, and has said why on the error output.
template <class Measure>
auto apart(Measure measure) -> std::optional<decltype(measure())> {
    using Result = decltype(measure());
    static_assert(std::is_trivially_copyable_v<Result>);
    int ends[2];
    if (pipe(ends) != 0) return std::nullopt;
    std::fflush(nullptr);
    const pid_t child = fork();
    if (child < 0) {
        close(ends[0]);
        close(ends[1]);
        return std::nullopt;
    }
    if (child == 0) {
        std::signal(SIGINT, SIG_DFL);  // the parent says the word
        std::signal(SIGTERM, SIG_DFL);
        close(ends[0]);
        int status = 0;
        {
            const Result result = measure();
            if (write(ends[1], &result, sizeof(result)) != static_cast<ssize_t>(sizeof(result))) status = 1;
        }
        std::fflush(nullptr);
        _exit(status);
    }
    close(ends[1]);
    Result result;
    const bool whole = read(ends[0], &result, sizeof(result)) == static_cast<ssize_t>(sizeof(result));
    close(ends[0]);
    int status = 0;
    const bool ended = waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0;
    return whole && ended ? std::optional{result} : std::nullopt;
}

}  // namespace python
