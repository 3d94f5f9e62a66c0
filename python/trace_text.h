// The trace as text, one record a line: `time_ps component kind words...`, bytes as `hex:0a0b`. A frame of a network
// adapter is explained behind that, after ` | `.
#pragma once

#include <cstdint>
#include <cstdio>
#include <map>
#include <string>
#include <string_view>

#include "sim/trace.h"

namespace python {

class TraceText final : public sim::TraceSink {
public:
    // A file that cannot be written is a UserError, here or in close().
    explicit TraceText(std::string path);
    ~TraceText() override;
    TraceText(const TraceText&) = delete;
    TraceText& operator=(const TraceText&) = delete;

    void record(sim::Time time, std::string_view component, const char* kind, std::span<const std::uint64_t> words,
                std::span<const std::byte> bytes) override;
    void close();

    using Counts = std::map<std::string, std::uint64_t, std::less<>>;
    const Counts& counts() const { return counts_; }

private:
    void flush();

    std::string path_;
    std::FILE* file_;
    std::string pending_;
    bool failed_ = false;
    Counts counts_;
};

}  // namespace python
